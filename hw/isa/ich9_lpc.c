/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The LPC bridge of ICH9, function 1f.0 (ICH9, chapter 13 and 10.1): the ISA bus, interrupt routing
 * (PIRQ registers, chipset configuration registers behind RCBA), the ACPI block.
 */
#include "hw/devices.h"
#include "hw/isa/acpi_pm.h"
#include "hw/isa/ich9.h"
#include "hw/isa/ich9_smi.h"
#include "hw/isa/ich9_tco.h"
#include "vmm/device/registers.h"
#include "vmm/util/bytes.h"

#define LPC_PMBASE    0x40
#define LPC_ACPI_CNTL 0x44
#define LPC_GEN_PMCON 0xa0
#define LPC_RCBA      0xf0

#define PMBASE_MASK      0xff80
#define PMBASE_IO        1
#define ACPI_CNTL_ENABLE 0x80
#define GEN_PMCON_LOCK   0x10 /* SMI_LOCK */
#define RCBA_MASK        0xffffc000U
#define RCBA_ENABLE      1
#define RCBA_SIZE        0x4000

#define PIRQ_DISABLED 0x80
#define PIRQ_IRQ_MASK 0x0f
#define DIR_DEFAULT   0x3210 /* INTA to PIRQA ... INTD to PIRQD */
#define DIR_WRITABLE  0x7777
#define GCS_NO_REBOOT 0x20 /* the TCO timer cannot reset */

typedef struct Ich9Lpc {
    PciDevice pci;
    Bus *isa;
    AcpiPm pm;
    Ich9Tco tco;
    Ich9Smi smi;
    bool no_reboot; /* property: the strap of the speaker's pin */
    MemRegion rcba;
    /* Interrupt routing, under route_lock: a leaf below the root bus's. */
    GMutex route_lock;
    uint16_t dir[7]; /* D25IR to D31IR */
    uint32_t gcs;
    uint8_t intx[32]; /* levels of a slot's pins, a bit each */
    uint8_t pirq_route[ICH9_PIRQ_COUNT];
    bool pirq_level[ICH9_PIRQ_COUNT];
    bool isa_level[16]; /* as driven by PIRQs */
} Ich9Lpc;

/* ---- Interrupt routing ---- */

static unsigned route_pin(unsigned slot, unsigned pin, uint16_t dir)
{
    if (slot < 25) {
        return 4 + ((slot + pin) & 3);
    }
    if (slot == 30) {
        return 4 + pin;
    }
    return (dir >> (4 * pin)) & 7;
}

static unsigned pin_to_pirq(const Ich9Lpc *lpc, unsigned slot, unsigned pin)
{
    return route_pin(slot, pin, slot < 25 ? 0 : lpc->dir[slot - 25]);
}

static const uint8_t default_irqs[ICH9_PIRQ_COUNT] = { 10, 10, 11, 11, 10, 10, 11, 11 };

uint32_t ich9_default_gsi(unsigned slot, unsigned pin)
{
    return ICH9_PIRQ_FIRST_GSI + route_pin(slot & 31, pin & 3, DIR_DEFAULT);
}

uint8_t ich9_default_isa_irq(unsigned slot, unsigned pin)
{
    return default_irqs[route_pin(slot & 31, pin & 3, DIR_DEFAULT)];
}

/* Drives the lines from levels and routes. */
static void route_update(Ich9Lpc *lpc)
{
    Machine *machine = lpc->pci.dev.machine;
    bool pirq[ICH9_PIRQ_COUNT] = { false }, isa[16] = { false };

    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; lpc->intx[slot] && pin < 4; pin++) {
            if (lpc->intx[slot] & 1U << pin) {
                pirq[pin_to_pirq(lpc, slot, pin)] = true;
            }
        }
    }
    for (unsigned i = 0; i < ICH9_PIRQ_COUNT; i++) {
        if (pirq[i] && !(lpc->pirq_route[i] & PIRQ_DISABLED)) {
            isa[lpc->pirq_route[i] & PIRQ_IRQ_MASK] = true;
        }
        if (pirq[i] != lpc->pirq_level[i]) {
            irq_set(&machine->gsi[ICH9_PIRQ_FIRST_GSI + i], pirq[i]);
        }
        lpc->pirq_level[i] = pirq[i];
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(isa); i++) {
        if (isa[i] != lpc->isa_level[i]) {
            irq_set(&machine->gsi[i], isa[i]);
        }
        lpc->isa_level[i] = isa[i];
    }
}

void ich9_lpc_set_intx(void *opaque, unsigned slot, unsigned pin, int level)
{
    Ich9Lpc *lpc = opaque;

    g_mutex_lock(&lpc->route_lock);
    if (level) {
        lpc->intx[slot & 31] |= 1U << pin;
    } else {
        lpc->intx[slot & 31] &= ~(1U << pin);
    }
    route_update(lpc);
    g_mutex_unlock(&lpc->route_lock);
}

/* Takes the routes over from configuration space. */
static void routes_refresh(Ich9Lpc *lpc)
{
    g_mutex_lock(&lpc->route_lock);
    for (unsigned i = 0; i < ICH9_PIRQ_COUNT; i++) {
        lpc->pirq_route[i] =
            lpc->pci.config[(i < 4 ? ICH9_LPC_PIRQ_A_D : ICH9_LPC_PIRQ_E_H - 4) + i];
    }
    route_update(lpc);
    g_mutex_unlock(&lpc->route_lock);
}

uint8_t ich9_lpc_irq_line(void *opaque, uint8_t slot, uint8_t pin)
{
    Ich9Lpc *lpc = opaque;

    return lpc->pirq_route[pin_to_pirq(lpc, slot & 31, pin & 3)] & PIRQ_IRQ_MASK;
}

/* ---- Chipset configuration registers ---- */

#define DIR_REG(slot, at)                                                                          \
    {                                                                                              \
        .name = "D" #slot "IR", .offset = (at), .size = 2, .reset = DIR_DEFAULT,                   \
        .writable = (slot) == 30 ? 0 : DIR_WRITABLE, .field = offsetof(Ich9Lpc, dir[(slot)-25]),   \
    }

static const RegisterDesc rcba_regs[] = {
    DIR_REG(31, 0x3140),
    DIR_REG(30, 0x3142),
    DIR_REG(29, 0x3144),
    DIR_REG(28, 0x3146),
    DIR_REG(27, 0x3148),
    DIR_REG(26, 0x314c),
    DIR_REG(25, 0x3150),
    { .name = "GCS",
      .offset = 0x3410,
      .size = 4,
      .reset = GCS_NO_REBOOT,
      .writable = GCS_NO_REBOOT,
      .field = offsetof(Ich9Lpc, gcs) },
};

static const RegisterFile rcba_file = { rcba_regs, G_N_ELEMENTS(rcba_regs), 0 };

static uint64_t rcba_read(void *opaque, uint64_t offset, unsigned size)
{
    return register_read(&rcba_file, opaque, offset, size);
}

static void rcba_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Ich9Lpc *lpc = opaque;

    register_write(&rcba_file, lpc, offset, value, size);
    route_update(lpc);
}

static const MemOps rcba_ops = { .read = rcba_read, .write = rcba_write, .max_size = 4 };

/* ---- Windows that configuration registers move ---- */

static void window_move(AddressSpace *space, MemRegion *region, bool on, uint64_t base,
                        int priority)
{
    if (on == (region->space != NULL) && (!on || region->addr == base)) {
        return;
    }
    address_space_begin(space);
    address_space_unmap(region);
    if (on) {
        address_space_map(space, region, base, priority);
    }
    address_space_commit(space);
}

/* Locked until a reset. */
static void lpc_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    Ich9Lpc *lpc = (Ich9Lpc *)pci;

    if (lpc->pm.smi_locked) {
        pci->config[LPC_GEN_PMCON] |= GEN_PMCON_LOCK;
    }
    lpc->pm.smi_locked = pci->config[LPC_GEN_PMCON] & GEN_PMCON_LOCK;
}

static void lock_refresh(Ich9Lpc *lpc)
{
    g_mutex_lock(&lpc->pci.dev.lock);
    lpc->pm.smi_locked = lpc->pci.config[LPC_GEN_PMCON] & GEN_PMCON_LOCK;
    g_mutex_unlock(&lpc->pci.dev.lock);
}

static void lpc_remap(PciDevice *pci)
{
    Ich9Lpc *lpc = (Ich9Lpc *)pci;
    uint32_t pmbase = load_le32(pci->config + LPC_PMBASE) & PMBASE_MASK;
    uint32_t rcba = load_le32(pci->config + LPC_RCBA);

    routes_refresh(lpc);
    lock_refresh(lpc);
    bool pm_on = (pci->config[LPC_ACPI_CNTL] & ACPI_CNTL_ENABLE) && pmbase;
    window_move(pci->dev.machine->io, &lpc->pm.region, pm_on, pmbase, 0);
    window_move(pci->dev.machine->io, &lpc->tco.region, pm_on, pmbase + ICH9_TCO_OFFSET, 1);
    window_move(pci->dev.machine->memory, &lpc->rcba, rcba & RCBA_ENABLE, rcba & RCBA_MASK, 0);
}

void ich9_lpc_configure(Device *dev)
{
    uint8_t *config = ((PciDevice *)dev)->config;

    memcpy(config + ICH9_LPC_PIRQ_A_D, default_irqs, 4);
    memcpy(config + ICH9_LPC_PIRQ_E_H, default_irqs + 4, 4);
    store_le32(config + LPC_PMBASE, ICH9_PMBASE | PMBASE_IO);
    config[LPC_ACPI_CNTL] = ACPI_CNTL_ENABLE;
    store_le32(config + LPC_RCBA, ICH9_RCBA | RCBA_ENABLE);
    lpc_remap((PciDevice *)dev);
}

void ich9_lpc_raise_gpe(void *opaque, unsigned bit)
{
    acpi_pm_raise_gpe(&((Ich9Lpc *)opaque)->pm, bit);
}

Bus *ich9_lpc_isa_bus(Device *dev)
{
    return ((Ich9Lpc *)dev)->isa;
}

/* ---- The TCO timer ---- */

/* The strap has the last word: Linux clears the bit and leaves the timer running. */
static bool tco_no_reboot(void *opaque)
{
    Ich9Lpc *lpc = opaque;

    g_mutex_lock(&lpc->route_lock);
    bool no = lpc->no_reboot || lpc->gcs & GCS_NO_REBOOT;
    g_mutex_unlock(&lpc->route_lock);
    return no;
}

static void tco_event(void *opaque)
{
    acpi_pm_tco_event(&((Ich9Lpc *)opaque)->pm);
}

static bool tco_locked(Device *dev)
{
    return ich9_tco_smi_locked(&((Ich9Lpc *)dev)->tco);
}

static const Ich9TcoOps tco_ops = { .no_reboot = tco_no_reboot, .event = tco_event };

/* ---- Life ---- */

static const AcpiPmLayout pm_layout = {
    .size = ACPI_PM_SIZE,
    .acpi_enable = ICH9_APM_ACPI_ENABLE,
    .acpi_disable = ICH9_APM_ACPI_DISABLE,
};

static void power_button(void *opaque)
{
    Ich9Lpc *lpc = opaque;

    acpi_pm_power_button(&lpc->pm);
}

static bool lpc_realize(Device *dev, GError **error)
{
    Ich9Lpc *lpc = (Ich9Lpc *)dev;
    uint8_t *wmask = lpc->pci.wmask;
    Machine *machine = dev->machine;

    lpc->pci.multifunction = true;
    if (!pci_device_realize(&lpc->pci, error)) {
        return false;
    }
    g_mutex_init(&lpc->route_lock);
    lpc->pci.config[LPC_PMBASE] = PMBASE_IO;
    store_le32(wmask + LPC_PMBASE, PMBASE_MASK);
    wmask[LPC_ACPI_CNTL] = ACPI_CNTL_ENABLE;
    if (machine->smm_memory) {
        wmask[LPC_GEN_PMCON] = GEN_PMCON_LOCK;
    }
    memset(wmask + ICH9_LPC_PIRQ_A_D, PIRQ_DISABLED | PIRQ_IRQ_MASK, 4);
    memset(wmask + ICH9_LPC_PIRQ_E_H, PIRQ_DISABLED | PIRQ_IRQ_MASK, 4);
    store_le32(wmask + LPC_RCBA, RCBA_MASK | RCBA_ENABLE);

    acpi_pm_init(&lpc->pm, dev, &machine->gsi[ICH9_SCI_GSI], &pm_layout);
    lpc->pm.tco_locked = tco_locked;
    ich9_smi_init(&lpc->smi, &lpc->pm);
    ich9_tco_init(&lpc->tco, dev, &tco_ops);
    mem_region_init_io(&lpc->rcba, "lpc-rcrb", RCBA_SIZE, &rcba_ops, lpc, &lpc->route_lock);
    machine_add_powerdown_notifier(machine, power_button, lpc);
    lpc->isa = bus_new(BUS_ISA, "isa.0", machine, dev);
    return true;
}

static void lpc_unrealize(Device *dev)
{
    Ich9Lpc *lpc = (Ich9Lpc *)dev;

    g_clear_pointer(&lpc->isa, bus_free);
    machine_remove_powerdown_notifier(dev->machine, power_button, lpc);
    machine_topology_lock(dev->machine);
    address_space_unmap(&lpc->rcba);
    address_space_unmap(&lpc->tco.region);
    machine_topology_unlock(dev->machine);
    acpi_pm_cleanup(&lpc->pm);
    ich9_tco_cleanup(&lpc->tco);
    pci_device_unrealize(&lpc->pci);
    g_mutex_clear(&lpc->route_lock);
}

bool ich9_lpc_add_smi_features(Device *lpc, Device *fw_cfg, GError **error)
{
    return ich9_smi_add_files(&((Ich9Lpc *)lpc)->smi, fw_cfg, error);
}

AcpiSleep ich9_lpc_sleep(Device *lpc, bool firmware)
{
    return acpi_pm_sleep(&((Ich9Lpc *)lpc)->pm, firmware);
}

static void lpc_reset(Device *dev)
{
    Ich9Lpc *lpc = (Ich9Lpc *)dev;

    pci_device_reset_keeping(&lpc->pci, LPC_PMBASE, LPC_ACPI_CNTL + 1 - LPC_PMBASE);
    memset(lpc->pci.config + ICH9_LPC_PIRQ_A_D, PIRQ_DISABLED, 4);
    memset(lpc->pci.config + ICH9_LPC_PIRQ_E_H, PIRQ_DISABLED, 4);
    g_mutex_lock(&lpc->route_lock);
    register_reset(&rcba_file, lpc);
    lpc->gcs = GCS_NO_REBOOT;
    g_mutex_unlock(&lpc->route_lock);
    acpi_pm_reset(&lpc->pm);
    ich9_smi_reset(&lpc->smi);
    ich9_tco_reset(&lpc->tco);
    routes_refresh(lpc);
}

static bool lpc_post_load(void *base, uint16_t version, GError **error)
{
    Ich9Lpc *lpc = base;

    for (unsigned i = 0; i < G_N_ELEMENTS(lpc->dir); i++) {
        lpc->dir[i] &= DIR_WRITABLE;
    }
    lpc->gcs &= GCS_NO_REBOOT;
    routes_refresh(lpc);
    return true;
}

static const Property lpc_props[] = {
    PROP_BOOL("noreboot", Ich9Lpc, no_reboot, true,
              "The TCO timer never resets; false: when the guest allows it"),
    PROP_END,
};

static const StateField lpc_fields[] = {
    STATE_STRUCT(Ich9Lpc, pci, &pci_device_state),
    STATE_STRUCT(Ich9Lpc, pm, &acpi_pm_state),
    STATE_INT_ARRAY(Ich9Lpc, dir),
    STATE_FIELD(Ich9Lpc, gcs, STATE_KIND_UINT, .size = sizeof(uint32_t), .count = 1, .since = 2),
    STATE_FIELD(Ich9Lpc, tco, STATE_KIND_STRUCT, .size = sizeof(Ich9Tco), .count = 1, .since = 2,
                .section = &ich9_tco_state),
    STATE_END,
};

static bool has_smi_features(const void *base)
{
    return ((const Ich9Lpc *)base)->smi.pm->smm;
}

static const StateField smi_fields[] = {
    STATE_STRUCT(Ich9Lpc, smi, &ich9_smi_state),
    STATE_END,
};

static const StateSection smi_state = {
    .name = "smi",
    .version = 1,
    .fields = smi_fields,
    .needed = has_smi_features,
};

static const StateSection *const lpc_subsections[] = { &smi_state, NULL };

static const StateSection lpc_state = {
    .name = "ICH9-LPC",
    .version = 2,
    .fields = lpc_fields,
    .subsections = lpc_subsections,
    .post_load = lpc_post_load,
};

static const PciDeviceClass lpc_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x2918,
    .revision = 2,
    .class_code = 0x060100,
    .config_written = lpc_config_written,
    .remap = lpc_remap,
};

static const PropertyGroup lpc_groups[] = {
    { acpi_pm_props, offsetof(Ich9Lpc, pm) },
    { pci_device_props, offsetof(Ich9Lpc, pci) },
    { NULL },
};

const DeviceClass ich9_lpc_class = {
    .name = "ICH9-LPC",
    .desc = "LPC bridge of ICH9: ISA bus, interrupt routing, ACPI",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(Ich9Lpc),
    .props = lpc_props,
    .groups = lpc_groups,
    .state = &lpc_state,
    .internal = true,
    .has_child_bus = true,
    .child_bus = BUS_ISA,
    .realize = lpc_realize,
    .unrealize = lpc_unrealize,
    .reset = lpc_reset,
    .ops = &lpc_pci,
};
