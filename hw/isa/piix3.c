/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ISA bridge of PIIX3, function 01.0 (Intel 82371SB, 290550, chapter 2): the ISA bus and the
 * routing of PCI interrupts. */
#include "hw/devices.h"
#include "hw/isa/piix.h"
#include "vmm/util/bytes.h"

#define PIRQ_DISABLED 0x80
#define PIRQ_IRQ_MASK 0x0f
#define ISA_IRQS      16

typedef struct Piix3 {
    PciDevice pci;
    Bus *isa;
    /* Interrupt routing, under route_lock: a leaf below the root bus's. */
    GMutex route_lock;
    uint8_t intx[32]; /* levels of a slot's pins, a bit each */
    uint8_t pirq_route[PIIX_PIRQ_COUNT];
    bool isa_level[ISA_IRQS]; /* as driven by PIRQs */
} Piix3;

/* The configuration registers: reset values and writable bits. */
typedef struct ConfigByte {
    uint8_t offset, reset, writable;
} ConfigByte;

static const ConfigByte config_bytes[] = {
    { 0x4c, 0x4d, 0xff },                       /* IORT: ISA I/O recovery */
    { 0x4e, 0x03, 0xff },                       /* XBCS: X-bus chip selects */
    { 0x4f, 0x00, 0x0f }, { 0x60, 0x80, 0x8f }, /* PIRQRC[A:D] */
    { 0x61, 0x80, 0x8f }, { 0x62, 0x80, 0x8f },
    { 0x63, 0x80, 0x8f }, { 0x69, 0x02, 0xfe }, /* TOM: top of memory */
    { 0x6a, 0x00, 0xff },                       /* MSTAT */
    { 0x70, 0x80, 0xaf },                       /* MBIRQ0 */
    { 0x76, 0x0c, 0x8f },                       /* MBDMA[0:1] */
    { 0x77, 0x0c, 0x8f }, { 0x78, 0x02, 0xff }, /* PCSC */
    { 0x79, 0x00, 0xff }, { 0x80, 0x00, 0x7f }, /* APICBASE */
    { 0x82, 0x00, 0x0f },                       /* DLC */
    { 0xa0, 0x08, 0x1d },                       /* SMICNTL */
    { 0xa2, 0x00, 0xff },                       /* SMIEN */
    { 0xa4, 0x00, 0xff },                       /* SEE */
    { 0xa5, 0x00, 0xff }, { 0xa6, 0x00, 0xff },
    { 0xa7, 0x00, 0xff }, { 0xa8, 0x0f, 0xff }, /* FTMR */
    { 0xac, 0x00, 0xff },                       /* CTLTMR */
    { 0xae, 0x00, 0xff },                       /* CTHTMR */
};

/* ---- Interrupt routing ---- */

static unsigned pin_to_pirq(unsigned slot, unsigned pin)
{
    return (slot + pin - 1) & (PIIX_PIRQ_COUNT - 1);
}

/* Drives the lines from levels and routes. */
static void route_update(Piix3 *piix)
{
    Machine *machine = piix->pci.dev.machine;
    bool isa[ISA_IRQS] = { false };

    for (unsigned slot = 0; slot < G_N_ELEMENTS(piix->intx); slot++) {
        for (unsigned pin = 0; piix->intx[slot] && pin < 4; pin++) {
            uint8_t route = piix->pirq_route[pin_to_pirq(slot, pin)];
            if ((piix->intx[slot] & 1U << pin) && !(route & PIRQ_DISABLED)) {
                isa[route & PIRQ_IRQ_MASK] = true;
            }
        }
    }
    for (unsigned i = 0; i < ISA_IRQS; i++) {
        if (isa[i] != piix->isa_level[i]) {
            irq_set(&machine->gsi[i], isa[i]);
        }
        piix->isa_level[i] = isa[i];
    }
}

void piix3_set_intx(void *opaque, unsigned slot, unsigned pin, int level)
{
    Piix3 *piix = opaque;

    g_mutex_lock(&piix->route_lock);
    if (level) {
        piix->intx[slot & 31] |= 1U << pin;
    } else {
        piix->intx[slot & 31] &= ~(1U << pin);
    }
    route_update(piix);
    g_mutex_unlock(&piix->route_lock);
}

static void piix3_remap(PciDevice *pci)
{
    Piix3 *piix = (Piix3 *)pci;

    g_mutex_lock(&piix->route_lock);
    memcpy(piix->pirq_route, pci->config + PIIX_PIRQ_ROUTES, PIIX_PIRQ_COUNT);
    route_update(piix);
    g_mutex_unlock(&piix->route_lock);
}

uint8_t piix3_irq_line(void *opaque, uint8_t slot, uint8_t pin)
{
    Piix3 *piix = opaque;

    return piix->pirq_route[pin_to_pirq(slot & 31, pin & 3)] & PIRQ_IRQ_MASK;
}

void piix3_configure(Device *dev)
{
    static const uint8_t routes[PIIX_PIRQ_COUNT] = { 10, 10, 11, 11 };
    PciDevice *pci = (PciDevice *)dev;

    memcpy(pci->config + PIIX_PIRQ_ROUTES, routes, sizeof(routes));
    piix3_remap(pci);
}

Bus *piix3_isa_bus(Device *dev)
{
    return ((Piix3 *)dev)->isa;
}

/* ---- Life ---- */

static bool piix3_realize(Device *dev, GError **error)
{
    Piix3 *piix = (Piix3 *)dev;

    piix->pci.multifunction = true;
    if (!pci_device_realize(&piix->pci, error)) {
        return false;
    }
    store_le16(piix->pci.config + 6, 0x0200); /* status: medium decode */
    for (unsigned i = 0; i < G_N_ELEMENTS(config_bytes); i++) {
        piix->pci.wmask[config_bytes[i].offset] = config_bytes[i].writable;
    }
    g_mutex_init(&piix->route_lock);
    piix->isa = bus_new(BUS_ISA, "isa.0", dev->machine, dev);
    return true;
}

static void piix3_unrealize(Device *dev)
{
    Piix3 *piix = (Piix3 *)dev;

    g_clear_pointer(&piix->isa, bus_free);
    pci_device_unrealize(&piix->pci);
    g_mutex_clear(&piix->route_lock);
}

static void piix3_reset(Device *dev)
{
    PciDevice *pci = (PciDevice *)dev;

    pci_device_reset(pci);
    for (unsigned i = 0; i < G_N_ELEMENTS(config_bytes); i++) {
        pci->config[config_bytes[i].offset] = config_bytes[i].reset;
    }
    piix3_remap(pci);
}

static const StateField piix3_fields[] = {
    STATE_STRUCT(Piix3, pci, &pci_device_state),
    STATE_END,
};

static const StateSection piix3_state = { .name = "PIIX3", .version = 1, .fields = piix3_fields };

static const PciDeviceClass piix3_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x7000,
    .class_code = 0x060100,
    .remap = piix3_remap,
};

static const PropertyGroup piix3_groups[] = {
    { pci_device_props, offsetof(Piix3, pci) },
    { NULL },
};

const DeviceClass piix3_class = {
    .name = "PIIX3",
    .desc = "ISA bridge of PIIX3: ISA bus, interrupt routing",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(Piix3),
    .groups = piix3_groups,
    .state = &piix3_state,
    .internal = true,
    .has_child_bus = true,
    .child_bus = BUS_ISA,
    .realize = piix3_realize,
    .unrealize = piix3_unrealize,
    .reset = piix3_reset,
    .ops = &piix3_pci,
};
