/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Message routes: an eventfd whose signal is an interrupt message (accel.h). */
#include "vmm/machine/accel.h"

#include "vmm/trace/trace-pci.h"

MsiRoute *msi_route_new(Machine *machine, GError **error)
{
    MsiRoute *route = g_new0(MsiRoute, 1);
    route->machine = machine;
    route->gsi = -1;
    if (!event_notifier_init(&route->notifier, error)) {
        g_free(route);
        return NULL;
    }
    return route;
}

void msi_route_set(MsiRoute *route, MsiMessage message)
{
    bool changed = route->message.address != message.address || route->message.data != message.data;
    route->message = message;
    if (!route->bound) {
        g_autoptr(GError) error = NULL;
        if (!route->machine->accel->msi_route_bind(route->machine, route, &error)) {
            report_warning("an interrupt message has no route, the guest will miss it: %s",
                           error->message);
            return;
        }
        route->bound = true;
    } else if (changed) {
        route->machine->accel->msi_route_update(route->machine, route);
    }
}

void msi_route_disable(MsiRoute *route)
{
    if (route->bound) {
        route->machine->accel->msi_route_unbind(route->machine, route);
        route->bound = false;
    }
}

void msi_route_free(MsiRoute *route)
{
    if (route) {
        msi_route_disable(route);
        event_notifier_cleanup(&route->notifier);
        g_free(route);
    }
}

void msi_route_signal(MsiRoute *route)
{
    trace_msi_route_signal(route->gsi, route->message.address, route->message.data);
    event_notifier_signal(&route->notifier);
}
