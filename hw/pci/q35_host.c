/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host bridge of q35: root bus pcie.0, configuration ports, and the memory controller hub with
 * PCIEXBAR (Intel 3 Series Express Chipset, 5.1.15).
 */
#include "hw/devices.h"
#include "hw/pci/config_ports.h"
#include "hw/pci/host.h"
#include "hw/pci/pam.h"
#include "hw/pci/pci_internal.h"

#define MCH_PCIEXBAR        0x60
#define MCH_PCIEXBAR_ENABLE 1
#define MCH_PCIEXBAR_LENGTH 0x06 /* 0: 256 MiB, 2: 128 MiB, 4: 64 MiB */
#define MCH_PAM0            0x90

typedef struct Q35Host {
    Device dev;
    PciBus *bus;
    PciSetIrq *set_irq;
    void *set_irq_opaque;
    PciConfigPorts ports;
} Q35Host;

typedef struct Mch {
    PciDevice pci;
    MemRegion ecam;
    Pam pam;
} Mch;

/* ---- ECAM ---- */

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size)
{
    return pci_config_read(opaque, offset >> 20, offset >> 12, offset & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    pci_config_write(opaque, offset >> 20, offset >> 12, offset & 0xfff, value, size);
}

const MemOps pci_ecam_ops = { .read = ecam_read, .write = ecam_write, .max_size = 4 };

/* ---- The host: what has the root bus ---- */

static void host_set_irq(void *opaque, unsigned slot, unsigned pin, int level)
{
    Q35Host *host = opaque;

    if (host->set_irq) {
        host->set_irq(host->set_irq_opaque, slot, pin, level);
    }
}

void q35_host_connect_intx(Device *dev, PciSetIrq *set_irq, void *opaque)
{
    Q35Host *host = (Q35Host *)dev;

    host->set_irq = set_irq;
    host->set_irq_opaque = opaque;
}

PciBus *q35_host_bus(Device *dev)
{
    return ((Q35Host *)dev)->bus;
}

static bool host_realize(Device *dev, GError **error)
{
    Q35Host *host = (Q35Host *)dev;
    Machine *machine = dev->machine;

    host->bus =
        pci_bus_new("pcie.0", machine, dev, true, machine->memory, machine->io, host_set_irq, host);
    pci_config_ports_init(&host->ports, host->bus);
    return true;
}

static void host_unrealize(Device *dev)
{
    Q35Host *host = (Q35Host *)dev;

    pci_config_ports_cleanup(&host->ports);
    g_clear_pointer(&host->bus, pci_bus_free);
}

static void host_reset(Device *dev)
{
    pci_config_ports_reset(&((Q35Host *)dev)->ports);
}

static const StateField host_fields[] = {
    STATE_STRUCT(Q35Host, ports, &pci_config_ports_state),
    STATE_END,
};

static const StateSection host_state = {
    .name = "q35-pcihost",
    .version = 1,
    .fields = host_fields,
};

const DeviceClass q35_host_class = {
    .name = "q35-pcihost",
    .desc = "Q35 PCI host: configuration ports and root bus",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(Q35Host),
    .state = &host_state,
    .internal = true,
    .has_child_bus = true,
    .child_bus = BUS_PCI,
    .realize = host_realize,
    .unrealize = host_unrealize,
    .reset = host_reset,
    .firmware_name = pci_config_ports_firmware_name,
};

/* ---- The hub: function 00.0 ---- */

static void ecam_place(PciDevice *pci)
{
    Mch *mch = (Mch *)pci;
    uint64_t bar = load_le64(pci->config + MCH_PCIEXBAR);
    unsigned length = (bar & MCH_PCIEXBAR_LENGTH) >> 1;
    bool on = (bar & MCH_PCIEXBAR_ENABLE) && length < 3;
    uint64_t size = ECAM_SIZE >> length;
    uint64_t base = bar & ~(size - 1);

    if (on == (mch->ecam.space != NULL) &&
        (!on || (mch->ecam.addr == base && mch->ecam.size == size))) {
        return;
    }
    address_space_begin(pci->bus->memory);
    address_space_unmap(&mch->ecam);
    mch->ecam.size = size;
    if (on) {
        address_space_map(pci->bus->memory, &mch->ecam, base, -1);
    }
    address_space_commit(pci->bus->memory);
}

static void mch_remap(PciDevice *pci)
{
    ecam_place(pci);
    pam_update(&((Mch *)pci)->pam, pci->config + MCH_PAM0);
}

void q35_mch_configure(PciDevice *pci, uint64_t base)
{
    store_le64(pci->config + MCH_PCIEXBAR, base | MCH_PCIEXBAR_ENABLE);
    pam_open(pci->config + MCH_PAM0);
    mch_remap(pci);
}

static bool mch_realize(Device *dev, GError **error)
{
    Mch *mch = (Mch *)dev;

    if (!pci_device_realize(&mch->pci, error)) {
        return false;
    }
    store_le64(mch->pci.wmask + MCH_PCIEXBAR,
               0xff0000000ULL | 0x0c000000 | MCH_PCIEXBAR_LENGTH | MCH_PCIEXBAR_ENABLE);
    mem_region_init_io(&mch->ecam, "pcie-mmcfg", ECAM_SIZE, &pci_ecam_ops, mch->pci.bus, NULL);
    pam_wmask(mch->pci.wmask + MCH_PAM0);
    machine_topology_lock(dev->machine);
    pam_init(&mch->pam, dev->machine);
    machine_topology_unlock(dev->machine);
    return true;
}

static void mch_unrealize(Device *dev)
{
    Mch *mch = (Mch *)dev;

    machine_topology_lock(dev->machine);
    address_space_unmap(&mch->ecam);
    pam_cleanup(&mch->pam);
    machine_topology_unlock(dev->machine);
    pci_device_unrealize(&mch->pci);
}

static void mch_reset(Device *dev)
{
    Mch *mch = (Mch *)dev;

    pci_device_reset_keeping(&mch->pci, MCH_PAM0, PAM_REGISTERS);
    store_le64(mch->pci.config + MCH_PCIEXBAR, Q35_ECAM_BASE);
}

static const StateField mch_fields[] = {
    STATE_STRUCT(Mch, pci, &pci_device_state),
    STATE_END,
};

static const StateSection mch_state = { .name = "mch", .version = 1, .fields = mch_fields };

static const PciDeviceClass mch_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x29c0,
    .class_code = 0x060000,
    .remap = mch_remap,
};

static const PropertyGroup mch_groups[] = {
    { pci_device_props, offsetof(Mch, pci) },
    { NULL },
};

const DeviceClass q35_mch_class = {
    .name = "mch",
    .desc = "Q35 host bridge (Intel 82G33)",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(Mch),
    .groups = mch_groups,
    .state = &mch_state,
    .internal = true,
    .realize = mch_realize,
    .unrealize = mch_unrealize,
    .reset = mch_reset,
    .ops = &mch_pci,
};
