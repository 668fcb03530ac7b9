/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/qom/types.h"

#include <string.h>
#include "vmm/chardev/chardev.h"
#include "vmm/kvm/x86/cpu_model.h"
#include "vmm/machine/accel.h"

#define CPU_SUFFIX "-x86_64-cpu"

typedef struct BaseType {
    const char *name, *parent;
} BaseType;

/* Above the types of the tables, QEMU's names. */
static const BaseType base_types[] = {
    { "accel", "object" },
    { "bus", "object" },
    { "chardev", "object" },
    { "cpu", "device" },
    { "device", "object" },
    { "event-loop-base", "object" },
    { "i2c-slave", "device" },
    { "ide-device", "device" },
    { "isa-device", "device" },
    { "machine", "object" },
    { "memory-backend", "object" },
    { "object", NULL },
    { "pci-device", "device" },
    { "rng-backend", "object" },
    { "scsi-device", "device" },
    { "secret_common", "object" },
    { "sys-bus-device", "device" },
    { "usb-device", "device" },
    { "user-creatable", "interface" },
    { "virtio-device", "device" },
    { "virtio-pci", "pci-device" },
    { "virtio-serial-port", "device" },
    { "x86_64-cpu", "cpu" },
};

static const char *const bus_parents[BUS_COUNT] = {
    [BUS_SYSTEM] = "sys-bus-device",
    [BUS_ISA] = "isa-device",
    [BUS_PCI] = "pci-device",
    [BUS_VIRTIO_MMIO] = "virtio-device",
    [BUS_VIRTIO_SERIAL] = "virtio-serial-port",
    [BUS_SCSI] = "scsi-device",
    [BUS_IDE] = "ide-device",
    [BUS_USB] = "usb-device",
    [BUS_I2C] = "i2c-slave",
};

const DeviceClass *qom_virtio_device(const DeviceClass *function)
{
    const char *end = function->bus == BUS_PCI && g_str_has_prefix(function->name, "virtio-")
                          ? strstr(function->name, "-pci")
                          : NULL;
    if (!end) {
        return NULL;
    }
    g_autofree char *name =
        g_strdup_printf("%.*s-device", (int)(end - function->name), function->name);
    return device_class_find(name);
}

bool qom_is_cpu_class(const DeviceClass *cls)
{
    return g_str_equal(cls->name, "x86_64-cpu");
}

/* ---- Walking ---- */

typedef struct Walk {
    QomTypeFn *fn;
    void *opaque;
} Walk;

static void walk_device(const DeviceClass *cls, void *opaque)
{
    const Walk *walk = opaque;
    const char *parent = bus_parents[cls->bus] ? bus_parents[cls->bus] : "device";
    QomType type = { .name = cls->name, .parent = parent, .device = cls };
    if (qom_is_cpu_class(cls)) {
        return; /* one of the base types */
    }
    if (qom_virtio_device(cls)) {
        type.parent = "virtio-pci";
    }
    walk->fn(&type, walk->opaque);
}

static void walk_object(const ObjectClass *cls, void *opaque)
{
    const Walk *walk = opaque;
    QomType type = { .name = cls->name,
                     .parent = cls->base ? cls->base : "object",
                     .interface = "user-creatable",
                     .object = cls };
    walk->fn(&type, walk->opaque);
}

static void walk_machine(const MachineClass *cls, void *opaque)
{
    const Walk *walk = opaque;
    g_autofree char *name = g_strconcat(cls->name, "-machine", NULL);
    QomType type = { .name = name, .parent = "machine", .machine = cls };
    walk->fn(&type, walk->opaque);
}

static void walk_plain(const Walk *walk, const char *name, const char *parent)
{
    QomType type = { .name = name, .parent = parent };
    walk->fn(&type, walk->opaque);
}

static void walk_chardev(const char *backend, void *opaque)
{
    g_autofree char *name = g_strconcat("chardev-", backend, NULL);
    walk_plain(opaque, name, "chardev");
}

static void walk_model(const char *model, const char *alias_of, const CpuDefinition *def,
                       const char *note, void *opaque)
{
    const Walk *walk = opaque;
    g_autofree char *name = g_strconcat(model, CPU_SUFFIX, NULL);
    QomType type = {
        .name = name, .parent = "x86_64-cpu", .device = device_class_find("x86_64-cpu"), .cpu = true
    };
    walk->fn(&type, walk->opaque);
}

void qom_types_foreach(QomTypeFn *fn, void *opaque)
{
    Walk walk = { fn, opaque };
    for (size_t i = 0; i < G_N_ELEMENTS(base_types); i++) {
        QomType type = { .name = base_types[i].name,
                         .parent = base_types[i].parent,
                         .abstract = true };
        fn(&type, opaque);
    }
    walk_plain(&walk, "container", "object");
    for (int bus = 0; bus < BUS_COUNT; bus++) {
        walk_plain(&walk, bus_type_name((BusType)bus), "bus");
    }
    walk_plain(&walk, "kvm-accel", "accel");
    walk_plain(&walk, "qtest-accel", "accel");
    chardev_backends_foreach(walk_chardev, &walk);
    device_class_foreach(walk_device, &walk);
    object_class_foreach(walk_object, &walk);
    machine_class_foreach(walk_machine, &walk);
    walk_model("max", NULL, NULL, NULL, &walk);
    walk_model("host", NULL, NULL, NULL, &walk);
    walk_model("base", NULL, NULL, NULL, &walk);
    cpu_models_foreach(walk_model, &walk);
}

typedef struct Find {
    const char *name;
    QomTypeFn *fn;
    void *opaque;
    bool found;
} Find;

static void find_type(const QomType *type, void *opaque)
{
    Find *find = opaque;
    if (!find->found && g_str_equal(type->name, find->name)) {
        find->found = true;
        find->fn(type, find->opaque);
    }
}

bool qom_type_find(const char *name, QomTypeFn *fn, void *opaque)
{
    const DeviceClass *cls = device_class_find(name); /* an alias means the same */
    bool alias = cls && !qom_is_cpu_class(cls);
    Find find = { .name = alias ? cls->name : name, .fn = fn, .opaque = opaque };
    qom_types_foreach(find_type, &find);
    return find.found;
}

static const char *base_parent(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(base_types); i++) {
        if (g_str_equal(base_types[i].name, name)) {
            return base_types[i].parent;
        }
    }
    return NULL;
}

bool qom_type_is_a(const QomType *type, const char *ancestor)
{
    if (g_str_equal(type->name, ancestor) || g_strcmp0(type->interface, ancestor) == 0) {
        return true;
    }
    for (const char *name = type->parent; name; name = base_parent(name)) {
        if (g_str_equal(name, ancestor)) {
            return true;
        }
    }
    return false;
}
