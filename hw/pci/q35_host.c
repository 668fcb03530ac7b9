/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host bridge of q35: root bus pcie.0, configuration ports, and the memory controller hub with
 * PCIEXBAR and, with system management mode, SMRAM and TSEG (Intel 3 Series Express Chipset, 5.1.15
 * and 5.1.28 to 5.1.33). Without that mode their registers read as they do where there are none.
 */
#include <string.h>
#include "hw/devices.h"
#include "hw/pci/config_ports.h"
#include "hw/pci/host.h"
#include "hw/pci/pam.h"
#include "hw/pci/pci_internal.h"
#include "hw/pci/smram.h"

#define MCH_PCIEXBAR        0x60
#define MCH_PCIEXBAR_ENABLE 1
#define MCH_PCIEXBAR_LENGTH 0x06 /* 0: 256 MiB, 2: 128 MiB, 4: 64 MiB */
#define MCH_PAM0            0x90

/* QEMU's register: MiB of the extended TSEG; firmware writes ffffh, then reads. */
#define MCH_EXT_TSEG 0x50
#define MCH_GGC      0x52 /* graphics memory: storage */
#define MCH_SMRAM    0x9d
#define MCH_ESMRAMC  0x9e
#define MCH_F_SMBASE 0x9f /* QEMU's: SMRAM where vCPUs first look for their handler */
#define MCH_GBSM     0xa4 /* where firmware decided that graphics memory, TSEG and RAM end: storage */
#define MCH_TOLUD    0xb0
#define MCH_SMM_LAST (MCH_TOLUD + 1)

#define SMRAM_BASE_SEGMENT 0x02 /* 0xa0000: the only one */
#define SMRAM_ENABLE       0x08
#define SMRAM_LOCK         0x10
#define SMRAM_CLOSED       0x20
#define SMRAM_OPEN         0x40
#define ESMRAMC_RESET      0x38 /* cached, as all memory is */
#define ESMRAMC_HIGH       0x80
#define ESMRAMC_TSEG_SIZE  0x06
#define ESMRAMC_TSEG       0x01
#define F_SMBASE_QUERY     0xff
#define F_SMBASE_IN_RAM    0x01
#define F_SMBASE_LOCKED    0x02
#define EXT_TSEG_MAX       0xfff /* MiB */

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
    uint16_t ext_tseg_mib; /* properties */
    bool smbase_smram;
    Smram smram;                        /* with system management mode */
    uint8_t accepted[MCH_SMM_LAST + 1]; /* configuration before it is written */
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

/* ---- System management mode ---- */

static bool has_smm(const PciDevice *pci)
{
    return pci->dev.machine->smm_memory != NULL;
}

/* Locked: until a reset only closing for data can be changed. */
static void keep_locked(Mch *mch)
{
    uint8_t *config = mch->pci.config, smram = config[MCH_SMRAM];

    memcpy(config + MCH_EXT_TSEG, mch->accepted + MCH_EXT_TSEG, MCH_GGC + 2 - MCH_EXT_TSEG);
    memcpy(config + MCH_GBSM, mch->accepted + MCH_GBSM, MCH_SMM_LAST + 1 - MCH_GBSM);
    config[MCH_ESMRAMC] = mch->accepted[MCH_ESMRAMC];
    config[MCH_SMRAM] = (mch->accepted[MCH_SMRAM] & ~SMRAM_CLOSED) | (smram & SMRAM_CLOSED);
}

static uint8_t accept_f_smbase(uint8_t old, uint8_t now)
{
    if (old == F_SMBASE_LOCKED) {
        return old;
    }
    if (now == F_SMBASE_QUERY) {
        return F_SMBASE_IN_RAM;
    }
    return old == F_SMBASE_IN_RAM && (now & F_SMBASE_LOCKED) ? F_SMBASE_LOCKED : old;
}

static void mch_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    Mch *mch = (Mch *)pci;

    if (!has_smm(pci) ||
        !ranges_touch(offset, size, MCH_EXT_TSEG, MCH_SMM_LAST + 1 - MCH_EXT_TSEG)) {
        return;
    }
    if (mch->accepted[MCH_SMRAM] & SMRAM_LOCK) {
        keep_locked(mch);
    }
    if (pci->config[MCH_SMRAM] & SMRAM_LOCK) {
        pci->config[MCH_SMRAM] &= ~SMRAM_OPEN;
    }
    pci->config[MCH_F_SMBASE] =
        accept_f_smbase(mch->accepted[MCH_F_SMBASE], pci->config[MCH_F_SMBASE]);
}

static void smram_place(PciDevice *pci)
{
    Mch *mch = (Mch *)pci;
    uint8_t smram = pci->config[MCH_SMRAM], extended = pci->config[MCH_ESMRAMC];
    bool enabled = smram & SMRAM_ENABLE;
    const SmramView view = {
        .enabled = enabled,
        .open = (smram & SMRAM_OPEN) && !(smram & (SMRAM_CLOSED | SMRAM_LOCK)),
        .high = extended & ESMRAMC_HIGH,
        .tseg = enabled && (extended & ESMRAMC_TSEG) ? (extended & ESMRAMC_TSEG_SIZE) >> 1 : -1,
        .base = pci->config[MCH_F_SMBASE] == F_SMBASE_LOCKED,
    };

    memcpy(mch->accepted, pci->config, sizeof(mch->accepted));
    smram_update(&mch->smram, &view);
}

static void smm_realize(Mch *mch)
{
    const uint64_t sizes[SMRAM_TSEG_SIZES] = { MIB, 2 * MIB, 8 * MIB, mch->ext_tseg_mib * MIB };
    uint8_t *config = mch->pci.config, *wmask = mch->pci.wmask;

    if (mch->ext_tseg_mib) {
        store_le16(config + MCH_EXT_TSEG, mch->ext_tseg_mib);
    } else {
        store_le16(wmask + MCH_EXT_TSEG, UINT16_MAX);
    }
    store_le16(wmask + MCH_GGC, 0x0072);
    config[MCH_SMRAM] = SMRAM_BASE_SEGMENT;
    wmask[MCH_SMRAM] = SMRAM_ENABLE | SMRAM_LOCK | SMRAM_CLOSED | SMRAM_OPEN;
    config[MCH_ESMRAMC] = ESMRAMC_RESET;
    wmask[MCH_ESMRAMC] = ESMRAMC_HIGH | ESMRAMC_TSEG_SIZE | ESMRAMC_TSEG;
    wmask[MCH_F_SMBASE] = mch->smbase_smram ? UINT8_MAX : 0;
    for (unsigned at = MCH_GBSM; at < MCH_TOLUD; at += 4) {
        store_le32(wmask + at, 0xfff00000);
    }
    store_le16(wmask + MCH_TOLUD, 0xfff0);
    smram_init(&mch->smram, mch->pci.dev.machine, sizes);
}

/* ---- Life ---- */

static void mch_remap(PciDevice *pci)
{
    ecam_place(pci);
    pam_update(&((Mch *)pci)->pam, pci->config + MCH_PAM0);
    if (has_smm(pci)) {
        smram_place(pci);
    }
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

    if (mch->ext_tseg_mib > EXT_TSEG_MAX) {
        return error_set(error, "extended-tseg-mbytes=%u: at most %u MiB", mch->ext_tseg_mib,
                         EXT_TSEG_MAX);
    }
    if (!pci_device_realize(&mch->pci, error)) {
        return false;
    }
    store_le64(mch->pci.wmask + MCH_PCIEXBAR,
               0xff0000000ULL | 0x0c000000 | MCH_PCIEXBAR_LENGTH | MCH_PCIEXBAR_ENABLE);
    mem_region_init_io(&mch->ecam, "pcie-mmcfg", ECAM_SIZE, &pci_ecam_ops, mch->pci.bus, NULL);
    pam_wmask(mch->pci.wmask + MCH_PAM0);
    machine_topology_lock(dev->machine);
    pam_init(&mch->pam, dev->machine);
    if (has_smm(&mch->pci)) {
        smm_realize(mch);
    }
    machine_topology_unlock(dev->machine);
    return true;
}

static void mch_unrealize(Device *dev)
{
    Mch *mch = (Mch *)dev;

    machine_topology_lock(dev->machine);
    address_space_unmap(&mch->ecam);
    if (has_smm(&mch->pci)) {
        smram_cleanup(&mch->smram);
    }
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
    .config_written = mch_config_written,
    .remap = mch_remap,
};

static const Property mch_props[] = {
    PROP_U16("extended-tseg-mbytes", Mch, ext_tseg_mib, 16,
             "Size in MiB of the extended TSEG, with -machine smm=on"),
    PROP_BOOL("smbase-smram", Mch, smbase_smram, true,
              "Firmware can make SMRAM of the vCPUs' first SMBASE, with -machine smm=on"),
    PROP_END,
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
    .props = mch_props,
    .groups = mch_groups,
    .state = &mch_state,
    .internal = true,
    .realize = mch_realize,
    .unrealize = mch_unrealize,
    .reset = mch_reset,
    .ops = &mch_pci,
};
