/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O APIC (Intel 82093AA data sheet; the EOI register of version 0x20 as in the ICH9 data sheet,
 * 13.5). It sends messages; a local APIC's end of interrupt comes back through ioapic_eoi(). It
 * takes interrupts on any thread: its lock is a leaf.
 */
#include <assert.h>
#include <string.h>
#include "hw/devices.h"
#include "hw/misc/irqchip.h"
#include "vmm/machine/accel.h"
#include "vmm/memory/address_space.h"

#define IOAPIC_BASE    0xfec00000ULL
#define IOAPIC_SIZE    0x1000
#define IOAPIC_PINS    IRQCHIP_GSI_COUNT
#define IOAPIC_VERSION 0x20

/* Windows, and the registers behind them. */
enum { WINDOW_SELECT = 0x00, WINDOW_DATA = 0x10, WINDOW_EOI = 0x40 };
enum { REG_ID = 0, REG_VERSION = 1, REG_ARBITRATION = 2, REG_ENTRIES = 0x10 };

#define ID_MASK  0x0f000000u
#define ID_SHIFT 24

/* Redirection entries. */
#define ENTRY_VECTOR     0xffULL
#define ENTRY_MODE_SHIFT 8
#define ENTRY_LOGICAL    (1ULL << 11)
#define ENTRY_DELIVERY   (1ULL << 12) /* read-only: never pending here */
#define ENTRY_REMOTE_IRR (1ULL << 14) /* read-only */
#define ENTRY_LEVEL      (1ULL << 15)
#define ENTRY_MASKED     (1ULL << 16)
#define ENTRY_DEST_SHIFT 56
#define ENTRY_WRITABLE   (0xff0000000001afffULL & ~ENTRY_DELIVERY)
#define ENTRY_EXT_DEST   (0x7fULL << 48) /* KVM's extended destination id */
#define MODE_LOWEST      1

#define MSI_BASE          0xfee00000ULL
#define MSI_LEVEL_ASSERT  (1u << 14)
#define MSI_LEVEL_TRIGGER (1u << 15)
#define MSI_LOGICAL       (1u << 2)
#define MSI_REDIRECT      (1u << 3)

typedef struct IoapicState {
    Device dev;
    MemRegion window;
    uint8_t select;
    uint32_t id;
    uint32_t irr;   /* interrupts that wait */
    uint32_t lines; /* the pins' levels */
    uint64_t entries[IOAPIC_PINS];
} IoapicState;

static MsiMessage entry_message(uint64_t entry)
{
    unsigned mode = entry >> ENTRY_MODE_SHIFT & 7;
    uint64_t address = MSI_BASE | (entry >> ENTRY_DEST_SHIFT) << 12;
    uint32_t data = (uint32_t)(entry & ENTRY_VECTOR) | mode << 8;
    /* Bits 54:48 are bits 14:8 of an extended destination: address bits 11:5 of a message. */
    address |= (entry & ENTRY_EXT_DEST) >> 48 << 5;
    address |= entry & ENTRY_LOGICAL ? MSI_LOGICAL : 0;
    address |= mode == MODE_LOWEST ? MSI_REDIRECT : 0;
    if (entry & ENTRY_LEVEL) {
        data |= MSI_LEVEL_TRIGGER | MSI_LEVEL_ASSERT;
    }
    return (MsiMessage){ .address = address, .data = data };
}

/* Sends what the pin has waiting, when its entry lets it. */
static void ioapic_service(IoapicState *ioapic, unsigned pin)
{
    uint64_t *entry = &ioapic->entries[pin];
    uint32_t bit = 1u << pin;
    if (!(ioapic->irr & bit) || (*entry & ENTRY_MASKED)) {
        return;
    }
    if (*entry & ENTRY_LEVEL) {
        if (*entry & ENTRY_REMOTE_IRR) {
            return;
        }
        *entry |= ENTRY_REMOTE_IRR;
    } else {
        ioapic->irr &= ~bit;
    }
    ioapic->dev.machine->accel->msi_send(ioapic->dev.machine, entry_message(*entry));
}

void ioapic_set_irq(Device *dev, unsigned pin, int level)
{
    IoapicState *ioapic = (IoapicState *)dev;
    uint32_t bit = 1u << pin;
    g_mutex_lock(&dev->lock);
    uint64_t entry = ioapic->entries[pin];
    bool rising = level && !(ioapic->lines & bit);
    ioapic->lines = level ? ioapic->lines | bit : ioapic->lines & ~bit;
    if (entry & ENTRY_LEVEL) {
        ioapic->irr = level ? ioapic->irr | bit : ioapic->irr & ~bit;
    } else if (rising && !(entry & ENTRY_MASKED)) {
        /* Edges at a masked pin are lost (82093AA, 3.2.4). */
        ioapic->irr |= bit;
    }
    ioapic_service(ioapic, pin);
    g_mutex_unlock(&dev->lock);
}

static void ioapic_eoi_locked(IoapicState *ioapic, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *entry = &ioapic->entries[pin];
        if ((*entry & ENTRY_VECTOR) == vector && (*entry & ENTRY_REMOTE_IRR)) {
            *entry &= ~ENTRY_REMOTE_IRR;
            ioapic_service(ioapic, pin);
        }
    }
}

void ioapic_eoi(Device *dev, uint8_t vector)
{
    g_mutex_lock(&dev->lock);
    ioapic_eoi_locked((IoapicState *)dev, vector);
    g_mutex_unlock(&dev->lock);
}

/* ---- Registers ---- */

static void entry_changed(IoapicState *ioapic, unsigned pin)
{
    uint64_t *entry = &ioapic->entries[pin];
    uint32_t bit = 1u << pin;
    const AccelOps *accel = ioapic->dev.machine->accel;
    if (*entry & ENTRY_LEVEL) {
        ioapic->irr = (ioapic->irr & ~bit) | (ioapic->lines & bit);
    } else {
        /* Remote IRR has no meaning for edges: this is how software clears it on old chips. */
        *entry &= ~ENTRY_REMOTE_IRR;
    }
    if (accel->ioapic_pin_set && !(*entry & ENTRY_MASKED)) {
        accel->ioapic_pin_set(ioapic->dev.machine, pin, entry_message(*entry));
    }
    ioapic_service(ioapic, pin);
}

static void entry_write(IoapicState *ioapic, unsigned reg, uint32_t value)
{
    unsigned pin = (reg - REG_ENTRIES) / 2;
    unsigned shift = (reg - REG_ENTRIES) % 2 * 32;
    uint64_t mask = 0xffffffffULL << shift & (ENTRY_WRITABLE | ENTRY_EXT_DEST);
    uint64_t *entry = &ioapic->entries[pin];
    *entry = (*entry & ~mask) | ((uint64_t)value << shift & mask);
    entry_changed(ioapic, pin);
}

static bool reg_is_entry(unsigned reg)
{
    return reg >= REG_ENTRIES && reg < REG_ENTRIES + 2 * IOAPIC_PINS;
}

static uint32_t reg_read(const IoapicState *ioapic, unsigned reg)
{
    switch (reg) {
    case REG_ID:
    case REG_ARBITRATION:
        return ioapic->id;
    case REG_VERSION:
        return IOAPIC_VERSION | (IOAPIC_PINS - 1) << 16;
    default:
        if (!reg_is_entry(reg)) {
            return 0;
        }
        return (uint32_t)(ioapic->entries[(reg - REG_ENTRIES) / 2] >>
                          ((reg - REG_ENTRIES) % 2 * 32));
    }
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
    IoapicState *ioapic = opaque;
    switch (offset) {
    case WINDOW_SELECT:
        return ioapic->select;
    case WINDOW_DATA:
        return reg_read(ioapic, ioapic->select);
    default:
        return 0;
    }
}

static void ioapic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IoapicState *ioapic = opaque;
    switch (offset) {
    case WINDOW_SELECT:
        ioapic->select = (uint8_t)value;
        break;
    case WINDOW_DATA:
        if (ioapic->select == REG_ID) {
            ioapic->id = (uint32_t)value & ID_MASK;
        } else if (reg_is_entry(ioapic->select)) {
            entry_write(ioapic, ioapic->select, (uint32_t)value);
        }
        break;
    case WINDOW_EOI:
        ioapic_eoi_locked(ioapic, (uint8_t)value);
        break;
    default:
        break;
    }
}

static const MemOps ioapic_ops = { .read = ioapic_read, .write = ioapic_write, .max_size = 4 };

/* ---- Life ---- */

static bool ioapic_realize(Device *dev, GError **error)
{
    IoapicState *ioapic = (IoapicState *)dev;
    AddressSpace *memory = dev->machine->memory;
    mem_region_init_io(&ioapic->window, "ioapic", IOAPIC_SIZE, &ioapic_ops, ioapic, &dev->lock);
    address_space_begin(memory);
    address_space_map(memory, &ioapic->window, IOAPIC_BASE, 0);
    address_space_commit(memory);
    return true;
}

static void ioapic_unrealize(Device *dev)
{
    IoapicState *ioapic = (IoapicState *)dev;
    irqchip_forget(dev);
    address_space_begin(dev->machine->memory);
    address_space_unmap(&ioapic->window);
    address_space_commit(dev->machine->memory);
}

static void ioapic_reset(Device *dev)
{
    IoapicState *ioapic = (IoapicState *)dev;
    g_mutex_lock(&dev->lock);
    ioapic->select = 0;
    ioapic->id = 0;
    ioapic->irr = 0;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ioapic->entries[pin] = ENTRY_MASKED;
    }
    g_mutex_unlock(&dev->lock);
}

static bool ioapic_post_load(void *base, uint16_t version, GError **error)
{
    IoapicState *ioapic = base;
    const uint64_t known = ENTRY_WRITABLE | ENTRY_EXT_DEST | ENTRY_REMOTE_IRR;
    const uint32_t pins = (1u << IOAPIC_PINS) - 1;
    g_mutex_lock(&ioapic->dev.lock);
    ioapic->id &= ID_MASK;
    ioapic->irr &= pins;
    ioapic->lines &= pins;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ioapic->entries[pin] &= known;
        const AccelOps *accel = ioapic->dev.machine->accel;
        if (accel->ioapic_pin_set && !(ioapic->entries[pin] & ENTRY_MASKED)) {
            accel->ioapic_pin_set(ioapic->dev.machine, pin, entry_message(ioapic->entries[pin]));
        }
    }
    g_mutex_unlock(&ioapic->dev.lock);
    return true;
}

static const StateField ioapic_fields[] = {
    STATE_INT(IoapicState, select),        STATE_INT(IoapicState, id),
    STATE_INT(IoapicState, irr),           STATE_INT(IoapicState, lines),
    STATE_INT_ARRAY(IoapicState, entries), STATE_END,
};

static const StateSection ioapic_section = {
    .name = "ioapic",
    .version = 1,
    .fields = ioapic_fields,
    .post_load = ioapic_post_load,
};

void ioapic_view(Device *dev, IrqchipView *view)
{
    static_assert(IOAPIC_PINS == IOAPIC_VIEW_PINS, "a view has all pins");
    IoapicState *ioapic = (IoapicState *)dev;
    g_mutex_lock(&dev->lock);
    view->ioapic.id = ioapic->id >> ID_SHIFT;
    view->ioapic.version = IOAPIC_VERSION;
    view->ioapic.select = ioapic->select;
    view->ioapic.irr = ioapic->irr;
    memcpy(view->ioapic.entries, ioapic->entries, sizeof(view->ioapic.entries));
    g_mutex_unlock(&dev->lock);
}

const DeviceClass ioapic_class = {
    .name = "ioapic",
    .desc = "I/O APIC (Intel 82093AA)",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(IoapicState),
    .state = &ioapic_section,
    .internal = true,
    .realize = ioapic_realize,
    .unrealize = ioapic_unrealize,
    .reset = ioapic_reset,
};
