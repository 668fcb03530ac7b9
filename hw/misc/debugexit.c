/* SPDX-License-Identifier: GPL-2.0-or-later */
/* isa-debug-exit: a written value v ends the process with status (v << 1) | 1. */
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "vmm/machine/machine.h"

typedef struct DebugExit {
    Device dev;
    uint32_t iobase, iosize;
    MemRegion ports;
} DebugExit;

static uint64_t debug_exit_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    DebugExit *s = opaque;

    machine_request_exit(s->dev.machine, ((value << 1) | 1) & 0xff);
}

static const MemOps debug_exit_ops = {
    .read = debug_exit_read,
    .write = debug_exit_write,
    .max_size = 4,
};

static bool debug_exit_realize(Device *dev, GError **error)
{
    DebugExit *s = (DebugExit *)dev;

    if (s->iobase + s->iosize > 0x10000) {
        return error_set(error, "iobase=0x%x,iosize=%u: ports end at 0xffff", s->iobase, s->iosize);
    }
    mem_region_init_io(&s->ports, "isa-debug-exit", s->iosize, &debug_exit_ops, s, &dev->lock);
    isa_map_ports(dev, &s->ports, s->iobase);
    return true;
}

static void debug_exit_unrealize(Device *dev)
{
    isa_unmap_ports(dev, &((DebugExit *)dev)->ports);
}

static const Property debug_exit_props[] = {
    PROP_RANGE_U32("iobase", DebugExit, iobase, 0x501, 0, 0xffff, "First port"),
    PROP_RANGE_U32("iosize", DebugExit, iosize, 0x02, 1, 0x10000, "Number of ports"),
    PROP_END,
};

const DeviceClass isa_debug_exit_class = {
    .name = "isa-debug-exit",
    .desc = "A port that ends the process with the status written",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(DebugExit),
    .props = debug_exit_props,
    .realize = debug_exit_realize,
    .unrealize = debug_exit_unrealize,
};
