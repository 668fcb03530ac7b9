/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that come and go while the machine runs: see the header. */
#include "vmm/device/hotplug.h"

#include "vmm/machine/life.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/trace/trace-device.h"

#define LEAVING_SECONDS 5 /* in which a guest is not asked again, as in QEMU */

bool device_hotplug_check(const Machine *machine, const DeviceClass *cls, const Bus *bus,
                          GError **error)
{
    bool no_room = !bus && cls->bus != BUS_SYSTEM; /* realize says which bus is missing */
    if (machine_run_state(machine) == RUN_STATE_PRELAUNCH || no_room) {
        return true;
    }
    if (cls->bus == BUS_SYSTEM && cls->hotpluggable) {
        return true; /* vCPUs, memory: the board tells of them */
    }
    if (!bus || !bus->hotplug) {
        return error_set(error,
                         "bus '%s' takes devices only before the machine starts; start with -S, or "
                         "name the device on the command line",
                         bus ? bus->name : "main-system-bus");
    }
    return cls->hotpluggable ||
           error_set(error, "a device '%s' cannot come or go while the machine runs", cls->name);
}

void device_hotplugged(Device *dev)
{
    const Bus *bus = dev->bus;

    trace_device_hotplugged(dev->cls->name, dev->id);
    device_reset(dev);
    if (bus && bus->hotplug_ops) {
        bus->hotplug_ops->plugged(dev->bus, dev);
    }
}

/* ---- Going ---- */

static json_object *describe(const Device *dev)
{
    json_object *data = json_object_new_object();
    g_autofree char *path = device_path(dev);

    json_add_string(data, "device", dev->id);
    json_add_string(data, "path", path);
    return data;
}

/* The events of a device and of those on its buses, which go first. */
static void list_deleted(const Device *dev, GPtrArray *events)
{
    for (guint i = 0; i < dev->child_buses->len; i++) {
        const Bus *bus = g_ptr_array_index(dev->child_buses, i);
        for (guint j = 0; j < bus->children->len; j++) {
            list_deleted(g_ptr_array_index(bus->children, j), events);
        }
    }
    g_ptr_array_add(events, describe(dev));
}

/* With vCPUs out and all I/O quiesced nobody is in the middle of the device. */
void device_delete(Device *dev)
{
    g_autoptr(GPtrArray) events = g_ptr_array_new();
    Machine *machine = dev->machine;

    trace_device_delete(dev->cls->name, dev->id);
    list_deleted(dev, events);
    machine_halt(machine);
    device_unrealize(dev);
    device_free(dev);
    machine_unhalt(machine);
    for (guint i = 0; i < events->len; i++) {
        monitor_emit("DEVICE_DELETED", g_ptr_array_index(events, i));
    }
}

bool device_is_leaving(const Device *dev)
{
    return dev->leaving_until != 0;
}

bool device_unplug(Device *dev, GError **error)
{
    Machine *machine = dev->machine;
    Bus *bus = dev->bus;

    trace_device_unplug_request(dev->cls->name, dev->id);
    if (!device_hotplug_check(machine, dev->cls, bus, error)) {
        return false;
    }
    if (machine_run_state(machine) == RUN_STATE_PRELAUNCH ||
        !(dev->cls->request_unplug || (bus && bus->hotplug_ops))) {
        device_delete(dev);
        return true;
    }
    if (dev->cls->request_unplug) {
        return dev->cls->request_unplug(dev, error);
    }
    if (dev->leaving_until > clock_now(VM_CLOCK_VIRTUAL)) {
        return error_set(error,
                         "Device '%s' was asked to leave already: its guest has %d seconds to "
                         "answer, a reset of the machine needs no answer",
                         dev->id, LEAVING_SECONDS);
    }
    machine_topology_lock(machine);
    bool ok = bus->hotplug_ops->unplug_request(bus, dev, error);
    machine_topology_unlock(machine);
    if (ok) {
        dev->leaving_until = clock_now(VM_CLOCK_VIRTUAL) + LEAVING_SECONDS * NS_PER_SEC;
    }
    return ok;
}

static void find_ejected(Device *dev, void *opaque)
{
    Device **found = opaque;

    if (dev->ejected && !*found) {
        *found = dev;
    }
}

static void remove_ejected(void *opaque)
{
    Machine *machine = machine_get();

    for (;;) {
        Device *dev = NULL;
        if (machine) {
            machine_topology_lock(machine);
            device_foreach(machine, find_ejected, &dev);
            machine_topology_unlock(machine);
        }
        if (!dev) {
            return;
        }
        device_delete(dev);
    }
}

void device_eject(Device *dev)
{
    static LoopTask task = LOOP_TASK_INIT(remove_ejected, NULL);

    g_assert(machine_topology_held(dev->machine));
    trace_device_eject(dev->cls->name, dev->id);
    dev->ejected = true;
    event_loop_post(event_loop_main(), &task);
}
