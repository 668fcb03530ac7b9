/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buses and the device tree: paths, walking, finding, showing. */
#include <stdio.h>
#include <string.h>
#include "vmm/device/device.h"
#include "vmm/machine/machine.h"

static const char *const bus_names[BUS_COUNT] = {
    [BUS_SYSTEM] = "System",
    [BUS_ISA] = "ISA",
    [BUS_PCI] = "PCI",
    [BUS_VIRTIO_MMIO] = "virtio-bus",
    [BUS_VIRTIO_SERIAL] = "virtio-serial-bus",
    [BUS_SCSI] = "SCSI",
    [BUS_NVME] = "nvme-bus",
    [BUS_IDE] = "IDE",
    [BUS_USB] = "usb-bus",
    [BUS_FLOPPY] = "floppy-bus",
    [BUS_I2C] = "i2c-bus",
};

const char *bus_type_name(BusType type)
{
    return bus_names[type];
}

Bus *bus_new(BusType type, const char *name, Machine *machine, Device *parent)
{
    Bus *bus = g_new0(Bus, 1);
    bus->type = type;
    bus->name = g_strdup(name);
    bus->machine = machine;
    bus->parent = parent;
    bus->children = g_ptr_array_new();
    g_ptr_array_add(machine->buses, bus);
    if (parent) {
        g_ptr_array_add(parent->child_buses, bus);
    }
    return bus;
}

void bus_free(Bus *bus)
{
    if (!bus) {
        return;
    }
    g_assert(bus->children->len == 0);
    g_ptr_array_remove(bus->machine->buses, bus);
    if (bus->parent) {
        g_ptr_array_remove(bus->parent->child_buses, bus);
    }
    g_ptr_array_unref(bus->children);
    g_free(bus->name);
    g_free(bus);
}

Bus *bus_find(Machine *machine, const char *name)
{
    for (guint i = 0; i < machine->buses->len; i++) {
        Bus *bus = g_ptr_array_index(machine->buses, i);
        if (strcmp(bus->name, name) == 0) {
            return bus;
        }
    }
    return NULL;
}

Bus *bus_find_for(Machine *machine, BusType type)
{
    for (guint i = 0; i < machine->buses->len; i++) {
        Bus *bus = g_ptr_array_index(machine->buses, i);
        if (bus->type == type && (!bus->max_children || bus->children->len < bus->max_children)) {
            return bus;
        }
    }
    return NULL;
}

/* ---- Walking ---- */

static void walk_list(GPtrArray *devices, void (*fn)(Device *dev, void *opaque), void *opaque)
{
    for (guint i = 0; i < devices->len; i++) {
        Device *dev = g_ptr_array_index(devices, i);
        fn(dev, opaque);
        for (guint j = 0; j < dev->child_buses->len; j++) {
            Bus *bus = g_ptr_array_index(dev->child_buses, j);
            walk_list(bus->children, fn, opaque);
        }
    }
}

void device_foreach(Machine *machine, void (*fn)(Device *dev, void *opaque), void *opaque)
{
    walk_list(machine->devices, fn, opaque);
    for (guint i = 0; i < machine->buses->len; i++) {
        Bus *bus = g_ptr_array_index(machine->buses, i);
        if (!bus->parent) {
            walk_list(bus->children, fn, opaque);
        }
    }
}

typedef struct Numbering {
    bool by_user;
    int highest;
} Numbering;

static void highest_number(Device *dev, void *opaque)
{
    Numbering *numbering = opaque;
    if (!dev->id && dev->by_user == numbering->by_user && dev->number > numbering->highest) {
        numbering->highest = dev->number;
    }
}

void device_number(Device *dev)
{
    Numbering numbering = { .by_user = dev->by_user, .highest = -1 };
    device_foreach(dev->machine, highest_number, &numbering);
    dev->number = numbering.highest + 1;
}

/* What the board calls it: a class that it has one of. */
static const char *board_name(const Device *dev)
{
    const BoardDevice *row = dev->machine && !dev->by_user ? dev->machine->cls->named : NULL;
    while (row && row->name && strcmp(row->driver, dev->cls->name) != 0) {
        row++;
    }
    return row ? row->name : NULL;
}

char *device_path(const Device *dev)
{
    const char *name = board_name(dev);
    return dev->id ? g_strdup_printf("/machine/peripheral/%s", dev->id)
           : name  ? g_strdup_printf("/machine/%s", name)
                   : g_strdup_printf("/machine/%s/device[%d]",
                                    dev->by_user ? "peripheral-anon" : "unattached", dev->number);
}

typedef struct Search {
    const char *wanted;
    Device *found;
} Search;

static void match_device(Device *dev, void *opaque)
{
    Search *search = opaque;
    if (search->found) {
        return;
    }
    g_autofree char *path = device_path(dev);
    if ((dev->id && strcmp(dev->id, search->wanted) == 0) || strcmp(path, search->wanted) == 0) {
        search->found = dev;
    }
}

Device *device_find(Machine *machine, const char *id_or_path)
{
    /* The virtio device of a PCI function, as QEMU names it: one device here. */
    g_autofree char *wanted = g_strdup(id_or_path);
    if (wanted[0] == '/' && g_str_has_suffix(wanted, "/virtio-backend")) {
        wanted[strlen(wanted) - strlen("/virtio-backend")] = '\0';
    }
    Search search = { .wanted = wanted };
    device_foreach(machine, match_device, &search);
    return search.found;
}

/* ---- `info qtree` ---- */

typedef struct TreeDump {
    GString *out;
    int indent;
    Device *dev;
} TreeDump;

static void dump_prop(const Property *prop, size_t base, void *opaque)
{
    TreeDump *dump = opaque;
    g_autofree char *text = property_get_string((uint8_t *)dump->dev + base, prop);
    g_string_append_printf(dump->out, "%*s%s = %s\n", dump->indent, "", prop->name, text);
}

static void dump_bus(Bus *bus, int indent, GString *out);

static void dump_device(Device *dev, int indent, GString *out)
{
    g_string_append_printf(out, "%*sdev: %s, id \"%s\"\n", indent, "", dev->cls->name,
                           dev->id ? dev->id : "");
    TreeDump dump = { .out = out, .indent = indent + 2, .dev = dev };
    device_class_foreach_prop(dev->cls, dump_prop, &dump);
    for (guint i = 0; i < dev->child_buses->len; i++) {
        dump_bus(g_ptr_array_index(dev->child_buses, i), indent + 2, out);
    }
}

static void dump_bus(Bus *bus, int indent, GString *out)
{
    g_string_append_printf(out, "%*sbus: %s\n%*s  type %s\n", indent, "", bus->name, indent, "",
                           bus_type_name(bus->type));
    for (guint i = 0; i < bus->children->len; i++) {
        dump_device(g_ptr_array_index(bus->children, i), indent + 2, out);
    }
}

void device_tree_dump(Machine *machine, GString *out)
{
    g_string_append(out, "bus: main-system-bus\n  type System\n");
    for (guint i = 0; i < machine->devices->len; i++) {
        dump_device(g_ptr_array_index(machine->devices, i), 2, out);
    }
    for (guint i = 0; i < machine->buses->len; i++) {
        Bus *bus = g_ptr_array_index(machine->buses, i);
        if (!bus->parent) {
            dump_bus(bus, 2, out);
        }
    }
}
