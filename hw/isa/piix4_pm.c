/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The power management function of PIIX4, 01.3 (Intel 82371AB, 290562, chapters 7, 8 and 11): ACPI,
 * and with it the hotplug of PCI devices; SMBus. */
#include "hw/acpi/pcihp.h"
#include "hw/devices.h"
#include "hw/isa/acpi_pm.h"
#include "hw/isa/isa.h"
#include "hw/isa/piix.h"
#include "hw/smbus/smbus.h"
#include "vmm/util/bytes.h"

#define PM_PMBASE    0x40
#define PM_DEVACTB   0x58
#define PM_DEVRESG   0x5f
#define PM_DEVRESH   0x63
#define PM_DEVRESI   0x67 /* enabled serial ports */
#define PM_PMREGMISC 0x80
#define PM_SMBBA     0x90
#define PM_SMBHSTCFG 0xd2

#define PMBASE_MASK      0xffc0
#define PMBASE_IO        1
#define PMREGMISC_ENABLE 0x01
#define DEVACTB_APMC     0x02 /* of its last byte: APM commands are SMIs, as firmware knows them */
#define DEVRESG_RESET    0x10
#define DEVRESH_RESET    0x60
#define DEVRESI_COM1     0x08
#define DEVRESI_COM2     0x90
#define PM_BLOCK_SIZE    64
#define SMBBA_IO         1
#define SMBHSTCFG_ON     0x09 /* enabled; interrupts, if there were any, by IRQ 9 */

typedef struct Piix4Pm {
    PciDevice pci;
    AcpiPm pm;
    AcpiPcihp pcihp;
    bool has_smbus;
    SmbusHost smbus;
} Piix4Pm;

static void pm_remap(PciDevice *pci)
{
    Piix4Pm *s = (Piix4Pm *)pci;
    uint16_t base = load_le16(pci->config + PM_PMBASE) & PMBASE_MASK;
    bool on = (pci->config[PM_PMREGMISC] & PMREGMISC_ENABLE) && base;
    MemRegion *region = &s->pm.region;

    g_mutex_lock(&pci->dev.lock);
    s->pm.apmc = pci->config[PM_DEVACTB + 3] & DEVACTB_APMC;
    g_mutex_unlock(&pci->dev.lock);
    if (on == (region->space != NULL) && (!on || region->addr == base)) {
        return;
    }
    address_space_begin(pci->dev.machine->io);
    address_space_unmap(region);
    if (on) {
        address_space_map(pci->dev.machine->io, region, base, 0);
    }
    address_space_commit(pci->dev.machine->io);
}

void piix4_pm_configure(Device *dev)
{
    PciDevice *pci = (PciDevice *)dev;

    store_le32(pci->config + PM_PMBASE, PIIX_PMBASE | PMBASE_IO);
    pci->config[PM_PMREGMISC] = PMREGMISC_ENABLE;
    pm_remap(pci);
}

void piix4_pm_raise_gpe(void *opaque, unsigned bit)
{
    acpi_pm_raise_gpe(&((Piix4Pm *)opaque)->pm, bit);
}

static void power_button(void *opaque)
{
    acpi_pm_power_button(&((Piix4Pm *)opaque)->pm);
}

static void slot_changed(void *opaque)
{
    acpi_pm_raise_gpe(&((Piix4Pm *)opaque)->pm, PIIX_GPE_PCIHP);
}

static const AcpiPmLayout pm_layout = {
    .size = PM_BLOCK_SIZE,
    .gpe_port = PIIX_GPE_BASE,
    .global = true,
    .acpi_enable = PIIX_APM_ACPI_ENABLE,
    .acpi_disable = PIIX_APM_ACPI_DISABLE,
};

static void config_init(PciDevice *pci, const MachineConfig *machine, bool smm)
{
    uint8_t *config = pci->config;

    store_le16(config + 6, 0x0280); /* status: fast back to back, medium decode */
    config[PM_PMBASE] = PMBASE_IO;
    store_le16(pci->wmask + PM_PMBASE, PMBASE_MASK);
    pci->wmask[PM_PMREGMISC] = PMREGMISC_ENABLE;
    if (smm) {
        pci->wmask[PM_DEVACTB + 3] = DEVACTB_APMC;
    } else { /* firmware is told that it is set up */
        config[PM_DEVACTB + 3] = DEVACTB_APMC;
    }
    config[PM_DEVRESG] = DEVRESG_RESET;
    config[PM_DEVRESH] = DEVRESH_RESET;
    config[PM_DEVRESI] = (machine->serial[0] ? DEVRESI_COM1 : 0) |
                         (machine->serial[1] ? DEVRESI_COM2 : 0);
}

/* Its place is fixed. */
bool piix4_pm_add_smbus(Device *dev, GError **error)
{
    Piix4Pm *s = (Piix4Pm *)dev;

    s->has_smbus = true;
    smbus_host_init(&s->smbus, dev, true, NULL);
    store_le32(s->pci.config + PM_SMBBA, PIIX_SMBUS_PORT | SMBBA_IO);
    s->pci.config[PM_SMBHSTCFG] = SMBHSTCFG_ON;
    isa_map_ports(dev, &s->smbus.region, PIIX_SMBUS_PORT);
    return smbus_host_add_modules(&s->smbus, error);
}

static bool pm_realize(Device *dev, GError **error)
{
    Piix4Pm *s = (Piix4Pm *)dev;
    Machine *machine = dev->machine;

    if (!pci_device_realize(&s->pci, error)) {
        return false;
    }
    config_init(&s->pci, machine->config, machine->smm_memory != NULL);
    acpi_pm_init(&s->pm, dev, &machine->gsi[PIIX_SCI_GSI], &pm_layout);
    acpi_pcihp_init(&s->pcihp, s->pci.bus, PIIX_PCIHP_PORT, slot_changed, s);
    machine_add_powerdown_notifier(machine, power_button, s);
    return true;
}

static void pm_unrealize(Device *dev)
{
    Piix4Pm *s = (Piix4Pm *)dev;

    if (s->has_smbus) {
        isa_unmap_ports(dev, &s->smbus.region);
        smbus_host_cleanup(&s->smbus);
    }
    machine_remove_powerdown_notifier(dev->machine, power_button, s);
    acpi_pcihp_cleanup(&s->pcihp);
    acpi_pm_cleanup(&s->pm);
    pci_device_unrealize(&s->pci);
}

static void pm_reset(Device *dev)
{
    Piix4Pm *s = (Piix4Pm *)dev;

    /* Firmware that wakes sets the SMI handler up again: by this bit it knows that it has to. */
    s->pci.config[PM_DEVACTB + 3] &= ~s->pci.wmask[PM_DEVACTB + 3];
    pci_device_reset_keeping(&s->pci, PM_PMBASE, PCI_CONFIG_SIZE - PM_PMBASE);
    acpi_pcihp_reset(&s->pcihp);
    acpi_pm_reset(&s->pm);
    if (s->has_smbus) {
        smbus_host_reset(&s->smbus);
    }
}

static bool has_smbus(const void *base)
{
    return ((const Piix4Pm *)base)->has_smbus;
}

static const StateField smbus_fields[] = {
    STATE_STRUCT(Piix4Pm, smbus, &smbus_host_state),
    STATE_END,
};

static const StateSection smbus_state = {
    .name = "smbus",
    .version = 1,
    .fields = smbus_fields,
    .needed = has_smbus,
};

static const StateSection *const pm_subsections[] = { &smbus_state, NULL };

static const StateField pm_fields[] = {
    STATE_STRUCT(Piix4Pm, pci, &pci_device_state),
    STATE_STRUCT(Piix4Pm, pm, &acpi_pm_state),
    STATE_STRUCT(Piix4Pm, pcihp, &acpi_pcihp_state),
    STATE_END,
};

static const StateSection pm_state = {
    .name = "PIIX4_PM",
    .version = 1,
    .fields = pm_fields,
    .subsections = pm_subsections,
};

static const PciDeviceClass pm_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x7113,
    .revision = 3,
    .class_code = 0x068000,
    .interrupt_pin = 1,
    .remap = pm_remap,
};

AcpiSleep piix4_pm_sleep(Device *pm, bool firmware)
{
    return acpi_pm_sleep(&((Piix4Pm *)pm)->pm, firmware);
}

static const PropertyGroup pm_groups[] = {
    { acpi_pm_props, offsetof(Piix4Pm, pm) },
    { pci_device_props, offsetof(Piix4Pm, pci) },
    { NULL },
};

const DeviceClass piix4_pm_class = {
    .name = "PIIX4_PM",
    .desc = "Power management of PIIX4: ACPI",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(Piix4Pm),
    .groups = pm_groups,
    .state = &pm_state,
    .internal = true,
    .has_child_bus = true,
    .child_bus = BUS_I2C,
    .realize = pm_realize,
    .unrealize = pm_unrealize,
    .reset = pm_reset,
    .ops = &pm_pci,
};
