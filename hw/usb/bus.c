/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB buses and ports: which device is where, and `info usb`. */
#include <string.h>
#include "hw/usb/usb.h"
#include "vmm/machine/machine.h"

static UsbPort *find_port(UsbBus *bus, const char *path)
{
    for (guint i = 0; i < bus->ports->len; i++) {
        UsbPort *port = g_ptr_array_index(bus->ports, i);
        if (strcmp(port->path, path) == 0) {
            return port;
        }
    }
    return NULL;
}

static bool port_suits(const UsbPort *port, const UsbDevice *dev)
{
    const UsbDesc *desc = usb_class(dev)->desc;
    for (unsigned speed = 0; speed < USB_SPEED_COUNT; speed++) {
        if (desc->speeds[speed] && (port->speeds & USB_SPEED_BIT(speed))) {
            return true;
        }
    }
    return false;
}

static UsbPort *first_free(UsbBus *bus, const UsbDevice *dev)
{
    for (guint i = 0; i < bus->ports->len; i++) {
        UsbPort *port = g_ptr_array_index(bus->ports, i);
        if (!port->dev && port_suits(port, dev)) {
            return port;
        }
    }
    return NULL;
}

static bool usb_bus_plug(Bus *base, Device *child, GError **error)
{
    UsbBus *bus = base->owner;
    UsbDevice *dev = (UsbDevice *)child;
    UsbPort *port = dev->port_path ? find_port(bus, dev->port_path) : first_free(bus, dev);
    if (!port) {
        return dev->port_path
                   ? error_set(error,
                               "usb port %s (bus %s) is not there or taken: `info usb` and the "
                               "controller's p2 and p3 say which there are",
                               dev->port_path, base->name)
                   : error_set(error,
                               "no free usb port for %s: add a usb-hub or another controller",
                               child->cls->name);
    }
    if (port->dev) {
        return error_set(error, "usb port %s (bus %s) is taken: %s%s%s is there", port->path,
                         base->name, port->dev->dev.cls->name, port->dev->dev.id ? " " : "",
                         port->dev->dev.id ? port->dev->dev.id : "");
    }
    dev->bus = bus;
    dev->port = port;
    return true;
}

static void usb_bus_unplug(Bus *base, Device *child)
{
    UsbDevice *dev = (UsbDevice *)child;
    dev->port = NULL;
}

static int next_number(Machine *machine)
{
    int number = 0;
    for (guint i = 0; i < machine->buses->len; i++) {
        const Bus *other = g_ptr_array_index(machine->buses, i);
        number += other->type == BUS_USB;
    }
    return number;
}

void usb_bus_init(UsbBus *bus, Device *controller, EventLoop *loop)
{
    bus->number = next_number(controller->machine);
    g_autofree char *name = controller->id ? g_strdup_printf("%s.0", controller->id)
                                           : g_strdup_printf("usb-bus.%d", bus->number);
    bus->bus = bus_new(BUS_USB, name, controller->machine, controller);
    bus->bus->owner = bus;
    bus->bus->plug = usb_bus_plug;
    bus->bus->unplug = usb_bus_unplug;
    bus->bus->hotplug = true;
    bus->loop = loop;
    bus->lock = &controller->lock;
    bus->ports = g_ptr_array_new();
}

void usb_bus_cleanup(UsbBus *bus)
{
    g_clear_pointer(&bus->bus, bus_free);
    g_clear_pointer(&bus->ports, g_ptr_array_unref);
    g_clear_pointer(&bus->path, g_free);
}

void usb_port_init(UsbPort *port, UsbBus *bus, UsbDevice *hub, unsigned number, unsigned speeds,
                   const UsbPortOps *ops, void *opaque)
{
    *port = (UsbPort){
        .bus = bus, .hub = hub, .number = number, .speeds = speeds, .ops = ops, .opaque = opaque
    };
    g_snprintf(port->path, sizeof(port->path), "%s%s%u", hub ? hub->port->path : "", hub ? "." : "",
               number);
    g_ptr_array_add(bus->ports, port);
}

void usb_port_cleanup(UsbPort *port)
{
    g_ptr_array_remove(port->bus->ports, port);
}

/* ---- `info usb` ---- */

static void dump_device(Device *child, void *opaque)
{
    GString *out = opaque;
    if (!child->bus || child->bus->type != BUS_USB) {
        return;
    }
    UsbDevice *dev = (UsbDevice *)child;
    g_mutex_lock(dev->bus->lock);
    g_string_append_printf(out, "  Device %d.%d, Port %s, Speed %s Mb/s, Product %s",
                           dev->bus->number, dev->address, dev->port->path,
                           usb_speed_names[dev->speed], usb_class(dev)->product);
    g_mutex_unlock(dev->bus->lock);
    g_string_append_printf(out, "%s%s\n", child->id ? ", ID: " : "", child->id ? child->id : "");
}

void usb_info_dump(Machine *machine, GString *out)
{
    for (guint i = 0; i < machine->buses->len; i++) {
        const Bus *bus = g_ptr_array_index(machine->buses, i);
        if (bus->type == BUS_USB) {
            device_foreach(machine, dump_device, out);
            return;
        }
    }
    g_string_append(out, "The machine has no USB controller.\n");
}
