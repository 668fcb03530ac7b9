/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host bridge of pc: root bus pci.0, configuration ports, and the PCI and memory controller
 * with its PAM and SMRAM registers (Intel 82441FX, 290549).
 */
#include "hw/devices.h"
#include "hw/pci/config_ports.h"
#include "hw/pci/host.h"
#include "hw/pci/pam.h"
#include "hw/pci/pci_internal.h"
#include "hw/pci/smram.h"

#define PMC_DRAM_CONTROL 0x57
#define PMC_PAM0         0x59
#define PMC_SMRAM        0x72

#define DRAM_CONTROL_RESET 0x10
#define SMRAM_BASE_SEGMENT 0x02 /* 0xa0000: the only one */
#define SMRAM_ENABLE       0x08
#define SMRAM_LOCK         0x10
#define SMRAM_CLOSED       0x20
#define SMRAM_OPEN         0x40

typedef struct I440fxHost {
    Device dev;
    PciBus *bus;
    PciSetIrq *set_irq;
    void *set_irq_opaque;
    PciConfigPorts ports;
} I440fxHost;

typedef struct Pmc {
    PciDevice pci;
    Pam pam;
    Smram smram;
    uint8_t accepted; /* PMC_SMRAM as it was before it is written */
} Pmc;

/* ---- The host: what has the root bus ---- */

static void host_set_irq(void *opaque, unsigned slot, unsigned pin, int level)
{
    I440fxHost *host = opaque;

    if (host->set_irq) {
        host->set_irq(host->set_irq_opaque, slot, pin, level);
    }
}

void i440fx_host_connect_intx(Device *dev, PciSetIrq *set_irq, void *opaque)
{
    I440fxHost *host = (I440fxHost *)dev;

    host->set_irq = set_irq;
    host->set_irq_opaque = opaque;
}

PciBus *i440fx_host_bus(Device *dev)
{
    return ((I440fxHost *)dev)->bus;
}

static bool host_realize(Device *dev, GError **error)
{
    I440fxHost *host = (I440fxHost *)dev;
    Machine *machine = dev->machine;

    host->bus =
        pci_bus_new("pci.0", machine, dev, false, machine->memory, machine->io, host_set_irq, host);
    pci_config_ports_init(&host->ports, host->bus);
    return true;
}

static void host_unrealize(Device *dev)
{
    I440fxHost *host = (I440fxHost *)dev;

    pci_config_ports_cleanup(&host->ports);
    g_clear_pointer(&host->bus, pci_bus_free);
}

static void host_reset(Device *dev)
{
    pci_config_ports_reset(&((I440fxHost *)dev)->ports);
}

static const StateField host_fields[] = {
    STATE_STRUCT(I440fxHost, ports, &pci_config_ports_state),
    STATE_END,
};

static const StateSection host_state = {
    .name = "i440FX-pcihost",
    .version = 1,
    .fields = host_fields,
};

const DeviceClass i440fx_host_class = {
    .name = "i440FX-pcihost",
    .desc = "i440FX PCI host: configuration ports and root bus",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(I440fxHost),
    .state = &host_state,
    .internal = true,
    .has_child_bus = true,
    .child_bus = BUS_PCI,
    .realize = host_realize,
    .unrealize = host_unrealize,
    .reset = host_reset,
    .firmware_name = pci_config_ports_firmware_name,
};

/* ---- The controller: function 00.0 ---- */

/* Open, closed for data or locked (3.2.19); locking closes it until a reset. */
static void smram_written(Pmc *pmc)
{
    uint8_t *reg = &pmc->pci.config[PMC_SMRAM];

    if (pmc->accepted & SMRAM_LOCK) {
        *reg = (pmc->accepted & ~SMRAM_CLOSED) | (*reg & SMRAM_CLOSED);
    }
    if (*reg & SMRAM_LOCK) {
        *reg &= ~SMRAM_OPEN;
    }
}

static void pmc_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    if (ranges_touch(offset, size, PMC_SMRAM, 1)) {
        smram_written((Pmc *)pci);
    }
}

static void pmc_remap(PciDevice *pci)
{
    Pmc *pmc = (Pmc *)pci;
    uint8_t smram = pci->config[PMC_SMRAM];
    const SmramView view = {
        .enabled = smram & SMRAM_ENABLE,
        .open = (smram & SMRAM_OPEN) && !(smram & (SMRAM_CLOSED | SMRAM_LOCK)),
        .tseg = -1,
    };

    pam_update(&pmc->pam, pci->config + PMC_PAM0);
    pmc->accepted = smram;
    smram_update(&pmc->smram, &view);
}

void i440fx_configure(PciDevice *pci)
{
    pam_open(pci->config + PMC_PAM0);
    pmc_remap(pci);
}

static bool pmc_realize(Device *dev, GError **error)
{
    Pmc *pmc = (Pmc *)dev;
    Machine *machine = dev->machine;

    if (!pci_device_realize(&pmc->pci, error)) {
        return false;
    }
    pmc->pci.config[PMC_DRAM_CONTROL] = DRAM_CONTROL_RESET;
    pmc->pci.wmask[PMC_SMRAM] = SMRAM_ENABLE | SMRAM_LOCK | SMRAM_CLOSED | SMRAM_OPEN;
    pmc->pci.config[PMC_SMRAM] = SMRAM_BASE_SEGMENT;
    pam_wmask(pmc->pci.wmask + PMC_PAM0);
    smram_init(&pmc->smram, machine, NULL);
    machine_topology_lock(machine);
    pam_init(&pmc->pam, machine);
    machine_topology_unlock(machine);
    return true;
}

static void pmc_unrealize(Device *dev)
{
    Pmc *pmc = (Pmc *)dev;

    machine_topology_lock(dev->machine);
    smram_cleanup(&pmc->smram);
    pam_cleanup(&pmc->pam);
    machine_topology_unlock(dev->machine);
    pci_device_unrealize(&pmc->pci);
}

static void pmc_reset(Device *dev)
{
    pci_device_reset_keeping((PciDevice *)dev, PMC_PAM0, PAM_REGISTERS);
}

static const StateField pmc_fields[] = {
    STATE_STRUCT(Pmc, pci, &pci_device_state),
    STATE_END,
};

static const StateSection pmc_state = { .name = "i440FX", .version = 1, .fields = pmc_fields };

static const PciDeviceClass pmc_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x1237,
    .revision = 2,
    .class_code = 0x060000,
    .config_written = pmc_config_written,
    .remap = pmc_remap,
};

static const PropertyGroup pmc_groups[] = {
    { pci_device_props, offsetof(Pmc, pci) },
    { NULL },
};

const DeviceClass i440fx_class = {
    .name = "i440FX",
    .desc = "Host bridge (Intel 82441FX)",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(Pmc),
    .groups = pmc_groups,
    .state = &pmc_state,
    .internal = true,
    .realize = pmc_realize,
    .unrealize = pmc_unrealize,
    .reset = pmc_reset,
    .ops = &pmc_pci,
};
