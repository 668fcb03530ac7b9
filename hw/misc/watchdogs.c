/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watchdogs: i6300esb (Intel 6300ESB I/O controller hub data sheet, chapter 16), a PCI function
 * with two stages, and ib700 (iBASE IB700 single board computer), two ISA ports. They count the
 * virtual clock; what an expiry does is `-action watchdog=`.
 */
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "hw/pci/pci.h"
#include "vmm/machine/watchdog.h"
#include "vmm/util/bytes.h"

/* ---- i6300esb ---- */

#define ESB_WINDOW     16
#define ESB_CONFIG     0x60   /* 16 bits, of configuration space */
#define ESB_LOCK       0x68   /* 8 bits */
#define CONFIG_FAST    0x0004 /* ticks of 1 us, else of 1 ms */
#define CONFIG_NO_BOOT 0x0020 /* an expiry of the second stage does nothing */
#define CONFIG_BITS    0x0027
#define CONFIG_TYPE    0x0003 /* of the first stage's interrupt: */
#define TYPE_IRQ       0      /* input 10 of the I/O APIC; 2: SMI, which there is not; 3: none */
#define ESB_GSI        10
#define STATUS_STAGE_1 0x01 /* its interrupt; a written 1 clears it */
#define LOCK_LOCKED    0x01
#define LOCK_ENABLED   0x02
#define LOCK_FREE_RUN  0x04 /* starts again by itself */
#define LOCK_BITS      0x07

enum { ESB_PRELOAD_1 = 0x0, ESB_PRELOAD_2 = 0x4, ESB_STATUS = 0x8, ESB_RELOAD = 0xc };

#define PRELOAD_MASK   0xfffff
#define RELOAD_PING    0x100
#define RELOAD_TIMEOUT 0x200 /* the second stage expired; a written 1 clears it */
#define UNLOCK_FIRST   0x80
#define UNLOCK_SECOND  0x86
#define PCI_CLOCK_NS   30 /* 33 MHz */
#define SLOW_SHIFT     15 /* PCI clocks of a tick */
#define FAST_SHIFT     5

typedef struct I6300Esb {
    PciDevice pci;
    MemRegion window;
    Timer timer;
    uint32_t preload[2];
    uint8_t stage;  /* 1 or 2 */
    uint8_t unlock; /* steps of the unlocking sequence done */
    bool rebooted;  /* RELOAD_TIMEOUT */
    uint8_t status; /* STATUS_STAGE_1 */
    bool level;     /* of the line */
} I6300Esb;

static bool esb_enabled(const I6300Esb *esb)
{
    return esb->pci.config[ESB_LOCK] & LOCK_ENABLED;
}

static void esb_update_irq(I6300Esb *esb)
{
    Machine *machine = esb->pci.dev.machine;
    bool level = esb->status & STATUS_STAGE_1;
    if (level != esb->level && machine->gsi_count > ESB_GSI) {
        irq_set(&machine->gsi[ESB_GSI], level);
    }
    esb->level = level;
}

static void esb_start(I6300Esb *esb, uint8_t stage)
{
    bool fast = load_le16(esb->pci.config + ESB_CONFIG) & CONFIG_FAST;
    int64_t ticks = esb->preload[stage - 1];
    esb->stage = stage;
    timer_arm(&esb->timer, clock_now(VM_CLOCK_VIRTUAL) +
                               (ticks << (fast ? FAST_SHIFT : SLOW_SHIFT)) * PCI_CLOCK_NS);
}

static void esb_fire(void *opaque)
{
    I6300Esb *esb = opaque;
    if (!esb_enabled(esb)) {
        return;
    }
    if (esb->stage == 1) {
        if ((load_le16(esb->pci.config + ESB_CONFIG) & CONFIG_TYPE) == TYPE_IRQ) {
            esb->status = STATUS_STAGE_1;
            esb_update_irq(esb);
        }
        esb_start(esb, 2);
        return;
    }
    if (!(load_le16(esb->pci.config + ESB_CONFIG) & CONFIG_NO_BOOT)) {
        esb->rebooted = true;
        watchdog_expired(esb->pci.dev.machine);
    }
    if (esb->pci.config[ESB_LOCK] & LOCK_FREE_RUN) {
        esb_start(esb, 1);
    }
}

static void esb_set_lock(I6300Esb *esb)
{
    esb->pci.wmask[ESB_LOCK] = esb->pci.config[ESB_LOCK] & LOCK_LOCKED ? 0 : LOCK_BITS;
}

static void esb_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    I6300Esb *esb = (I6300Esb *)pci;
    bool running = timer_expires(&esb->timer) >= 0;
    if (offset > ESB_LOCK || offset + size <= ESB_LOCK) {
        return;
    }
    esb_set_lock(esb);
    if (esb_enabled(esb) && !running) {
        esb_start(esb, 1);
    } else if (!esb_enabled(esb)) {
        timer_cancel(&esb->timer);
    }
}

static uint64_t esb_read(void *opaque, uint64_t offset, unsigned size)
{
    const I6300Esb *esb = opaque;
    uint32_t reload = esb->rebooted ? RELOAD_TIMEOUT : 0;
    if ((offset & ~3U) == ESB_RELOAD) {
        return reload >> 8 * (offset & 3);
    }
    return offset == ESB_STATUS ? esb->status : 0;
}

static void esb_reload_write(I6300Esb *esb, uint32_t value)
{
    if (value & RELOAD_TIMEOUT) {
        esb->rebooted = false;
    }
    if (value & RELOAD_PING && esb_enabled(esb)) {
        esb_start(esb, 1);
    }
}

/* Preloads and the reload register take one write after 0x80 and 0x86 were written to the latter.
 */
static void esb_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I6300Esb *esb = opaque;
    if (offset == ESB_STATUS) {
        esb->status &= ~(uint8_t)value;
        esb_update_irq(esb);
    } else if (offset == ESB_RELOAD && value == UNLOCK_FIRST) {
        esb->unlock = 1;
    } else if (offset == ESB_RELOAD && value == UNLOCK_SECOND && esb->unlock == 1) {
        esb->unlock = 2;
    } else if (esb->unlock == 2) {
        esb->unlock = 0;
        if (offset == ESB_RELOAD) {
            esb_reload_write(esb, (uint32_t)value);
        } else if (offset == ESB_PRELOAD_1 || offset == ESB_PRELOAD_2) {
            esb->preload[offset == ESB_PRELOAD_2] = value & PRELOAD_MASK;
        }
    }
}

static const MemOps esb_ops = { .read = esb_read, .write = esb_write, .max_size = 4 };

static bool esb_realize(Device *dev, GError **error)
{
    I6300Esb *esb = (I6300Esb *)dev;
    if (!pci_device_realize(&esb->pci, error)) {
        return false;
    }
    store_le16(esb->pci.wmask + ESB_CONFIG, CONFIG_BITS);
    esb->pci.wmask[ESB_LOCK] = LOCK_BITS;
    timer_init(&esb->timer, event_loop_main(), VM_CLOCK_VIRTUAL, &dev->lock, esb_fire, esb);
    mem_region_init_io(&esb->window, "i6300esb", ESB_WINDOW, &esb_ops, esb, &dev->lock);
    pci_register_bar(&esb->pci, 0, PCI_BAR_MEM32, &esb->window);
    return true;
}

static void esb_unrealize(Device *dev)
{
    I6300Esb *esb = (I6300Esb *)dev;
    g_mutex_lock(&dev->lock);
    timer_cancel(&esb->timer);
    esb->status = 0;
    esb_update_irq(esb);
    g_mutex_unlock(&dev->lock);
    pci_device_unrealize(&esb->pci);
}

/* The flag of an expiry survives the reset that it made: the system asks for it afterwards. */
static void esb_reset(Device *dev)
{
    I6300Esb *esb = (I6300Esb *)dev;
    pci_device_reset(&esb->pci);
    g_mutex_lock(&dev->lock);
    timer_cancel(&esb->timer);
    store_le16(esb->pci.config + ESB_CONFIG, 0);
    esb->pci.config[ESB_LOCK] = 0;
    esb_set_lock(esb);
    esb->preload[0] = esb->preload[1] = PRELOAD_MASK;
    esb->stage = 1;
    esb->unlock = 0;
    esb->status = 0;
    esb_update_irq(esb);
    g_mutex_unlock(&dev->lock);
}

static bool esb_post_load(void *base, uint16_t version, GError **error)
{
    I6300Esb *esb = base;
    esb->preload[0] &= PRELOAD_MASK;
    esb->preload[1] &= PRELOAD_MASK;
    esb->stage = esb->stage == 2 ? 2 : 1;
    esb->unlock = MIN(esb->unlock, 2);
    esb->status &= STATUS_STAGE_1;
    esb_set_lock(esb);
    esb_update_irq(esb);
    return true;
}

static const StateField esb_fields[] = {
    STATE_STRUCT(I6300Esb, pci, &pci_device_state),
    STATE_TIMER(I6300Esb, timer),
    STATE_INT_ARRAY(I6300Esb, preload),
    STATE_INT(I6300Esb, stage),
    STATE_INT(I6300Esb, unlock),
    STATE_BOOL(I6300Esb, rebooted),
    STATE_FIELD(I6300Esb, status, STATE_KIND_UINT, .size = 1, .count = 1, .since = 2),
    STATE_END,
};

static const StateSection esb_state = {
    .name = "i6300esb",
    .version = 2,
    .fields = esb_fields,
    .post_load = esb_post_load,
};

static const PropertyGroup esb_groups[] = {
    { pci_device_props, offsetof(I6300Esb, pci) },
    { NULL },
};

static const PciDeviceClass esb_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x25ab,
    .class_code = 0x088000,
    .config_written = esb_config_written,
};

const DeviceClass i6300esb_class = {
    .name = "i6300esb",
    .desc = "Watchdog of the Intel 6300ESB",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(I6300Esb),
    .groups = esb_groups,
    .state = &esb_state,
    .hotpluggable = true,
    .realize = esb_realize,
    .unrealize = esb_unrealize,
    .reset = esb_reset,
    .ops = &esb_pci,
};

/* ---- ib700 ---- */

#define IB700_DISABLE_PORT 0x441
#define IB700_ENABLE_PORT  0x443
#define IB700_LONGEST_S    30 /* value 0; each one more is two seconds less */

typedef struct Ib700 {
    Device dev;
    MemRegion disable, enable;
    Timer timer;
} Ib700;

static void ib700_fire(void *opaque)
{
    watchdog_expired(((Ib700 *)opaque)->dev.machine);
}

static uint64_t ib700_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0xff;
}

static void ib700_disable(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    timer_cancel(&((Ib700 *)opaque)->timer);
}

static void ib700_enable(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    int64_t seconds = IB700_LONGEST_S - 2 * (int64_t)(value & 15);
    timer_arm(&((Ib700 *)opaque)->timer, clock_now(VM_CLOCK_VIRTUAL) + seconds * NS_PER_SEC);
}

static const MemOps disable_ops = { .read = ib700_read, .write = ib700_disable, .max_size = 1 };
static const MemOps enable_ops = { .read = ib700_read, .write = ib700_enable, .max_size = 1 };

static bool ib700_realize(Device *dev, GError **error)
{
    Ib700 *s = (Ib700 *)dev;
    timer_init(&s->timer, event_loop_main(), VM_CLOCK_VIRTUAL, &dev->lock, ib700_fire, s);
    mem_region_init_io(&s->disable, "ib700-off", 1, &disable_ops, s, &dev->lock);
    mem_region_init_io(&s->enable, "ib700-on", 1, &enable_ops, s, &dev->lock);
    isa_map_ports(dev, &s->disable, IB700_DISABLE_PORT);
    isa_map_ports(dev, &s->enable, IB700_ENABLE_PORT);
    return true;
}

static void ib700_reset(Device *dev)
{
    g_mutex_lock(&dev->lock);
    timer_cancel(&((Ib700 *)dev)->timer);
    g_mutex_unlock(&dev->lock);
}

static void ib700_unrealize(Device *dev)
{
    Ib700 *s = (Ib700 *)dev;
    isa_unmap_ports(dev, &s->disable);
    isa_unmap_ports(dev, &s->enable);
    ib700_reset(dev);
}

static const StateField ib700_fields[] = { STATE_TIMER(Ib700, timer), STATE_END };

static const StateSection ib700_state = { .name = "ib700", .version = 1, .fields = ib700_fields };

const DeviceClass ib700_class = {
    .name = "ib700",
    .desc = "Watchdog of the iBASE IB700",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(Ib700),
    .state = &ib700_state,
    .realize = ib700_realize,
    .unrealize = ib700_unrealize,
    .reset = ib700_reset,
};
