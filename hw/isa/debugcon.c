/* SPDX-License-Identifier: GPL-2.0-or-later */
/* isa-debugcon: a port whose written bytes go to a chardev (firmware's debug output). */
#include "hw/devices.h"
#include "vmm/chardev/chardev.h"
#include "vmm/device/device.h"
#include "vmm/machine/machine.h"

typedef struct IsaDebugcon {
    Device dev;
    MemRegion io;
    CharFrontend *frontend;
    char *chardev;
    uint32_t iobase;
    uint32_t readback; /* what a read gives: guests look whether the port is there */
} IsaDebugcon;

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((IsaDebugcon *)opaque)->readback;
}

static void debugcon_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IsaDebugcon *d = opaque;
    uint8_t byte = value;
    if (d->frontend) {
        char_write_all(d->frontend, &byte, 1);
    }
}

static const MemOps debugcon_ops = {
    .read = debugcon_read,
    .write = debugcon_write,
    .min_size = 1,
    .max_size = 1,
};

static const CharFrontendOps debugcon_frontend_ops = { 0 };

static bool debugcon_realize(Device *dev, GError **error)
{
    IsaDebugcon *d = (IsaDebugcon *)dev;
    Chardev *chardev = d->chardev ? chardev_find(d->chardev) : NULL;
    if (!chardev) {
        return d->chardev
                   ? error_set(error, "chardev=%s: there is no chardev of that id", d->chardev)
                   : error_set(error, "it needs chardev=ID: where the bytes go");
    }
    d->frontend = char_frontend_attach(chardev, &debugcon_frontend_ops, d, error);
    if (!d->frontend) {
        return false;
    }
    mem_region_init_io(&d->io, "debugcon", 1, &debugcon_ops, d, &dev->lock);
    machine_topology_lock(dev->machine);
    address_space_map(dev->machine->io, &d->io, d->iobase, 0);
    machine_topology_unlock(dev->machine);
    return true;
}

static void debugcon_unrealize(Device *dev)
{
    IsaDebugcon *d = (IsaDebugcon *)dev;
    machine_topology_lock(dev->machine);
    address_space_unmap(&d->io);
    machine_topology_unlock(dev->machine);
    address_space_synchronize();
    char_frontend_detach(d->frontend);
    mem_region_cleanup(&d->io);
}

static const Property debugcon_props[] = {
    PROP_RANGE_U32("iobase", IsaDebugcon, iobase, 0xe9, 0, 0xffff, "the port"),
    PROP_RANGE_U32("readback", IsaDebugcon, readback, 0xe9, 0, 0xff, "what reading it gives"),
    PROP_REF("chardev", IsaDebugcon, chardev, "chardev", "where the bytes go"),
    PROP_END,
};

const DeviceClass isa_debugcon_class = {
    .name = "isa-debugcon",
    .desc = "Debug console port",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(IsaDebugcon),
    .props = debugcon_props,
    .realize = debugcon_realize,
    .unrealize = debugcon_unrealize,
};
