/* SPDX-License-Identifier: GPL-2.0-or-later */
/* port92: system control port A of the PS/2: fast reset and the A20 bit. */
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "vmm/machine/machine.h"

#define PORT92       0x92
#define PORT92_RESET 0x01
#define PORT92_A20   0x02

typedef struct Port92 {
    Device dev;
    MemRegion port;
    uint8_t value;
} Port92;

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((Port92 *)opaque)->value;
}

static void port92_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Port92 *s = opaque;
    uint8_t old = s->value;

    s->value = value;
    if ((value & PORT92_RESET) && !(old & PORT92_RESET)) {
        machine_request_reset(s->dev.machine, SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

static const MemOps port92_ops = { .read = port92_read, .write = port92_write, .max_size = 1 };

static bool port92_realize(Device *dev, GError **error)
{
    Port92 *s = (Port92 *)dev;

    mem_region_init_io(&s->port, "port92", 1, &port92_ops, s, &dev->lock);
    isa_map_ports(dev, &s->port, PORT92);
    return true;
}

static void port92_unrealize(Device *dev)
{
    isa_unmap_ports(dev, &((Port92 *)dev)->port);
}

static void port92_reset(Device *dev)
{
    ((Port92 *)dev)->value = PORT92_A20;
}

static const StateField port92_fields[] = { STATE_INT(Port92, value), STATE_END };

static const StateSection port92_state = {
    .name = "port92",
    .version = 1,
    .fields = port92_fields,
};

const DeviceClass port92_class = {
    .name = "port92",
    .desc = "System control port A: fast reset, A20",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(Port92),
    .state = &port92_state,
    .internal = true,
    .realize = port92_realize,
    .unrealize = port92_unrealize,
    .reset = port92_reset,
};
