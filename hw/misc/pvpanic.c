/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic: one byte by which a guest's kernel says that it panicked, as a port (pvpanic) or behind
 * a PCI BAR (pvpanic-pci). The format is described in QEMU's docs/specs/pvpanic.
 */
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "hw/pci/pci.h"

#define PVPANIC_PANICKED    0x01
#define PVPANIC_CRASHLOADED 0x02
#define PVPANIC_BAR_SIZE    16

typedef struct PvPanic {
    Device *dev;
    MemRegion region;
    uint8_t events;
} PvPanic;

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned size)
{
    PvPanic *s = opaque;

    return offset == 0 ? s->events : 0;
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PvPanic *s = opaque;

    if (offset != 0) {
        return;
    }
    if (value & s->events & PVPANIC_PANICKED) {
        machine_guest_panicked(s->dev->machine, false);
    } else if (value & s->events & PVPANIC_CRASHLOADED) {
        machine_guest_panicked(s->dev->machine, true);
    }
}

static const MemOps pvpanic_ops = { .read = pvpanic_read, .write = pvpanic_write, .max_size = 1 };

static void pvpanic_init(PvPanic *s, Device *dev, uint64_t size)
{
    s->dev = dev;
    mem_region_init_io(&s->region, "pvpanic", size, &pvpanic_ops, s, &dev->lock);
}

static const Property pvpanic_props[] = {
    PROP_FIELD("events", PROP_TYPE_U8, PvPanic, events,
               "Events offered: 1 panicked, 2 crash-loaded",
               .def = PVPANIC_PANICKED | PVPANIC_CRASHLOADED, .min = 0, .max = 3),
    PROP_END,
};

/* ---- ISA ---- */

typedef struct PvPanicIsa {
    Device dev;
    PvPanic panic;
    uint16_t port;
} PvPanicIsa;

static bool pvpanic_isa_realize(Device *dev, GError **error)
{
    PvPanicIsa *s = (PvPanicIsa *)dev;

    pvpanic_init(&s->panic, dev, 1);
    isa_map_ports(dev, &s->panic.region, s->port);
    return true;
}

static void pvpanic_isa_unrealize(Device *dev)
{
    isa_unmap_ports(dev, &((PvPanicIsa *)dev)->panic.region);
}

uint16_t pvpanic_port(const Device *dev)
{
    return ((const PvPanicIsa *)dev)->port;
}

static const Property pvpanic_isa_props[] = {
    PROP_U16("ioport", PvPanicIsa, port, 0x505, "The port"),
    PROP_END,
};

static const PropertyGroup pvpanic_isa_groups[] = {
    { pvpanic_props, offsetof(PvPanicIsa, panic) },
    { NULL },
};

const DeviceClass pvpanic_class = {
    .name = "pvpanic",
    .desc = "A port by which the guest says that it panicked",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(PvPanicIsa),
    .props = pvpanic_isa_props,
    .groups = pvpanic_isa_groups,
    .realize = pvpanic_isa_realize,
    .unrealize = pvpanic_isa_unrealize,
};

/* ---- PCI ---- */

typedef struct PvPanicPci {
    PciDevice pci;
    PvPanic panic;
} PvPanicPci;

static bool pvpanic_pci_realize(Device *dev, GError **error)
{
    PvPanicPci *s = (PvPanicPci *)dev;

    if (!pci_device_realize(&s->pci, error)) {
        return false;
    }
    pvpanic_init(&s->panic, dev, PVPANIC_BAR_SIZE);
    pci_register_bar(&s->pci, 0, PCI_BAR_MEM32, &s->panic.region);
    return true;
}

static void pvpanic_pci_unrealize(Device *dev)
{
    pci_device_unrealize((PciDevice *)dev);
}

static void pvpanic_pci_reset(Device *dev)
{
    pci_device_reset((PciDevice *)dev);
}

static const PropertyGroup pvpanic_pci_groups[] = {
    { pci_device_props, offsetof(PvPanicPci, pci) },
    { pvpanic_props, offsetof(PvPanicPci, panic) },
    { NULL },
};

static const StateField pvpanic_pci_fields[] = {
    STATE_STRUCT(PvPanicPci, pci, &pci_device_state),
    STATE_END,
};

static const StateSection pvpanic_pci_state = {
    .name = "pvpanic-pci",
    .version = 1,
    .fields = pvpanic_pci_fields,
};

static const PciDeviceClass pvpanic_pci_ops = {
    .vendor_id = 0x1b36,
    .device_id = 0x0011,
    .revision = 1,
    .class_code = 0x088000,
};

const DeviceClass pvpanic_pci_class = {
    .name = "pvpanic-pci",
    .desc = "A PCI register by which the guest says that it panicked",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(PvPanicPci),
    .groups = pvpanic_pci_groups,
    .state = &pvpanic_pci_state,
    .realize = pvpanic_pci_realize,
    .unrealize = pvpanic_pci_unrealize,
    .reset = pvpanic_pci_reset,
    .ops = &pvpanic_pci_ops,
};
