/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AHCI host bus adapters "ahci" and "ich9-ahci": generic registers, interrupts, life. */
#include "hw/devices.h"
#include "hw/ide/ahci.h"
#include "vmm/util/bytes.h"

#define REGISTERS_BAR  5
#define REGISTERS_SIZE 0x1000
#define INDEX_BAR      4
#define INDEX_SIZE     32
#define INDEX_PORT     0x10
#define INDEX_DATA     0x14
#define SATA_CAP       0xa8
#define SATA_CAP_ID    0x12
#define MAP_REGISTER   0x90
#define PCS_REGISTER   0x92
#define MSI_CAP        0x80
#define VERSION        0x00010000 /* what QEMU's says; nothing of later versions is claimed */

enum { HBA_CAP = 0x00, HBA_GHC = 0x04, HBA_IS = 0x08, HBA_PI = 0x0c, HBA_VS = 0x10 };

/* 64-bit addresses, NCQ, AHCI only, 1.5 Gb/s, 32 slots. */
#define CAP_BITS (1U << 31 | 1U << 30 | 1U << 20 | 1U << 18 | 31U << 8)

static const PropertyGroup ahci_groups[] = {
    { pci_device_props, offsetof(Ahci, pci) },
    { NULL, 0 },
};

/* ---- Interrupts (10.6.2) ---- */

/* The line follows IS; a message goes when bits come up, or stay after some were cleared. */
static void update_irq(Ahci *ahci, bool news)
{
    bool level = ahci->is && ahci->ghc & AHCI_GHC_IE;
    if (msi_enabled(&ahci->pci)) {
        if (level && (news || !ahci->level)) {
            msi_notify(&ahci->pci, 0);
        }
    } else {
        pci_set_irq(&ahci->pci, level);
    }
    ahci->level = level;
}

static uint32_t pending_ports(const Ahci *ahci)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        bits |= ahci->ports[i].is & ahci->ports[i].ie ? 1U << i : 0;
    }
    return bits;
}

static void collect(Ahci *ahci)
{
    uint32_t before = ahci->is;
    ahci->is |= pending_ports(ahci);
    update_irq(ahci, ahci->is & ~before);
}

void ahci_port_raise(AhciPort *ap, uint32_t bits)
{
    ap->is |= bits;
    collect(ap->ahci);
}

/* ---- Registers ---- */

static void hba_reset(Ahci *ahci)
{
    ahci->ghc = AHCI_GHC_AE;
    ahci->is = 0;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        AhciPort *ap = &ahci->ports[i];
        uint64_t list = ap->list, fis = ap->fis;
        ahci_port_reset(ap);
        ap->list = list; /* 10.4.3: these stay */
        ap->fis = fis;
    }
    update_irq(ahci, false);
}

/* A reset of the adapter ends when all that its ports had with the host has ended. */
static bool still_running(Ahci *ahci)
{
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (ahci->ports[i].running) {
            return true;
        }
    }
    ahci->resetting = false;
    return false;
}

static uint32_t hba_read(Ahci *ahci, unsigned offset)
{
    switch (offset) {
    case HBA_CAP:
        return CAP_BITS | (AHCI_PORTS - 1);
    case HBA_GHC:
        return ahci->ghc | (ahci->resetting && still_running(ahci) ? AHCI_GHC_HR : 0);
    case HBA_IS:
        return ahci->is;
    case HBA_PI:
        return (1U << AHCI_PORTS) - 1;
    case HBA_VS:
        return VERSION;
    default:
        return 0;
    }
}

static void hba_write(Ahci *ahci, unsigned offset, uint32_t value)
{
    if (offset == HBA_GHC) {
        if (value & AHCI_GHC_HR) {
            hba_reset(ahci);
            ahci->resetting = true;
            return;
        }
        ahci->ghc = AHCI_GHC_AE | (value & AHCI_GHC_IE);
        update_irq(ahci, false);
    } else if (offset == HBA_IS) {
        ahci->is = (ahci->is & ~value) | pending_ports(ahci);
        update_irq(ahci, true);
    }
}

static uint32_t read32(Ahci *ahci, unsigned offset)
{
    unsigned port = (offset - AHCI_PORT_BASE) / AHCI_PORT_SIZE;
    if (offset < AHCI_PORT_BASE) {
        return hba_read(ahci, offset);
    }
    return port < AHCI_PORTS ? ahci_port_read(&ahci->ports[port], offset % AHCI_PORT_SIZE) : 0;
}

static void write32(Ahci *ahci, unsigned offset, uint32_t value)
{
    unsigned port = (offset - AHCI_PORT_BASE) / AHCI_PORT_SIZE;
    if (offset < AHCI_PORT_BASE) {
        hba_write(ahci, offset, value);
    } else if (port < AHCI_PORTS) {
        ahci_port_write(&ahci->ports[port], offset % AHCI_PORT_SIZE, value);
        collect(ahci);
    }
}

/* The ports whose task a write has made something to do for. */
static uint32_t take_kicks(Ahci *ahci)
{
    uint32_t posts = 0, left = ahci->kicks;
    ahci->kicks = 0;
    for (; left; left &= left - 1) {
        unsigned number = (unsigned)__builtin_ctz(left);
        posts |= ahci_port_has_work(&ahci->ports[number]) ? 1U << number : 0;
    }
    return posts;
}

static uint32_t locked_read(Ahci *ahci, unsigned offset)
{
    g_mutex_lock(&ahci->pci.dev.lock);
    uint32_t value = read32(ahci, offset);
    g_mutex_unlock(&ahci->pci.dev.lock);
    return value;
}

static void locked_write(Ahci *ahci, unsigned offset, uint32_t value)
{
    g_mutex_lock(&ahci->pci.dev.lock);
    write32(ahci, offset, value);
    uint32_t posts = take_kicks(ahci);
    g_mutex_unlock(&ahci->pci.dev.lock);
    for (; posts; posts &= posts - 1) {
        AhciPort *ap = &ahci->ports[__builtin_ctz(posts)];
        event_loop_post(ap->port.loop, &ap->task);
    }
}

static uint64_t registers_read(void *opaque, uint64_t offset, unsigned size)
{
    return locked_read(opaque, (unsigned)offset);
}

static void registers_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    locked_write(opaque, (unsigned)offset, (uint32_t)value);
}

static const MemOps registers_ops = {
    .read = registers_read, .write = registers_write, .min_size = 4, .max_size = 4
};

/* The index-data pair (10.14 of ICH9's data sheet): the registers through two ports. */
static uint32_t load_index(const Ahci *ahci)
{
    return __atomic_load_n(&ahci->index, __ATOMIC_RELAXED);
}

static uint64_t index_read(void *opaque, uint64_t offset, unsigned size)
{
    Ahci *ahci = opaque;
    if (offset == INDEX_PORT) {
        return load_index(ahci);
    }
    return offset == INDEX_DATA ? locked_read(ahci, load_index(ahci)) : 0;
}

static void index_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Ahci *ahci = opaque;
    if (offset == INDEX_PORT) {
        __atomic_store_n(&ahci->index, (uint32_t)value & (REGISTERS_SIZE - 4), __ATOMIC_RELAXED);
    } else if (offset == INDEX_DATA) {
        locked_write(ahci, load_index(ahci), (uint32_t)value);
    }
}

static const MemOps index_ops = {
    .read = index_read, .write = index_write, .min_size = 4, .max_size = 4
};

/* ---- Life ---- */

static void ahci_unrealize(Device *dev)
{
    Ahci *ahci = (Ahci *)dev;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        ahci_port_cleanup(&ahci->ports[i]);
    }
    pci_device_unrealize(&ahci->pci);
}

/* QEMU's places: MSI at 80h, the SATA capability at a8h. */
static bool add_capabilities(Ahci *ahci, GError **error)
{
    PciDevice *pci = &ahci->pci;
    memset(pci->used + 0x40, 1, MSI_CAP - 0x40);
    if (!pci_add_capability(pci, SATA_CAP_ID, SATA_CAP, 8, error) ||
        !msi_init(pci, 1, false, error)) {
        return false;
    }
    memset(pci->used + 0x40, 0, MSI_CAP - 0x40);
    store_le16(pci->config + SATA_CAP + 2, 0x0010);              /* revision 1.0 */
    store_le32(pci->config + SATA_CAP + 4, INDEX_PORT << 2 | 8); /* the pair is in BAR 4 */
    pci->config[MAP_REGISTER] = 1 << 6;                          /* AHCI mode */
    pci->wmask[PCS_REGISTER] = (1 << AHCI_PORTS) - 1;            /* the ports that are on */
    return true;
}

static bool make_ports(Ahci *ahci, GError **error)
{
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (!ahci_port_init(&ahci->ports[i], ahci, i, error)) {
            return false;
        }
    }
    return true;
}

static bool ahci_realize(Device *dev, GError **error)
{
    Ahci *ahci = (Ahci *)dev;
    if (!pci_device_realize(&ahci->pci, error)) {
        return false;
    }
    mem_region_init_io(&ahci->registers, "ahci", REGISTERS_SIZE, &registers_ops, ahci, NULL);
    mem_region_init_io(&ahci->index_data, "ahci-idp", INDEX_SIZE, &index_ops, ahci, NULL);
    pci_register_bar(&ahci->pci, INDEX_BAR, PCI_BAR_IO, &ahci->index_data);
    pci_register_bar(&ahci->pci, REGISTERS_BAR, PCI_BAR_MEM32, &ahci->registers);
    if (!add_capabilities(ahci, error) || !make_ports(ahci, error)) {
        ahci_unrealize(dev);
        return false;
    }
    return true;
}

static void ahci_reset(Device *dev)
{
    Ahci *ahci = (Ahci *)dev;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        ahci_port_stop(&ahci->ports[i]);
    }
    pci_device_reset(&ahci->pci);
    g_mutex_lock(&dev->lock);
    __atomic_store_n(&ahci->index, 0, __ATOMIC_RELAXED);
    hba_reset(ahci);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        ahci->ports[i].list = ahci->ports[i].fis = 0;
    }
    g_mutex_unlock(&dev->lock);
}

static void ahci_quiesce(Device *dev)
{
    Ahci *ahci = (Ahci *)dev;
    g_mutex_lock(&dev->lock);
    ahci->paused = true;
    g_mutex_unlock(&dev->lock);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        ahci_port_quiesce(&ahci->ports[i]);
    }
}

static void ahci_resume(Device *dev)
{
    Ahci *ahci = (Ahci *)dev;
    g_mutex_lock(&dev->lock);
    ahci->paused = false;
    g_mutex_unlock(&dev->lock);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        ahci_port_resume(&ahci->ports[i]);
    }
}

/* ---- Description ---- */

static bool ahci_post_load(void *base, uint16_t version, GError **error)
{
    Ahci *ahci = base;
    ahci->ghc = AHCI_GHC_AE | (ahci->ghc & AHCI_GHC_IE);
    ahci->index &= REGISTERS_SIZE - 4;
    ahci->is &= (1U << AHCI_PORTS) - 1;
    update_irq(ahci, false);
    return true;
}

static const StateField ahci_fields[] = {
    STATE_STRUCT(Ahci, pci, &pci_device_state),
    STATE_INT(Ahci, ghc),
    STATE_INT(Ahci, is),
    STATE_INT(Ahci, index),
    STATE_BOOL(Ahci, level),
    STATE_STRUCT_ARRAY(Ahci, ports, &ahci_port_state),
    STATE_END,
};

static const StateSection ahci_state = {
    .name = "ahci",
    .version = 1,
    .fields = ahci_fields,
    .post_load = ahci_post_load,
};

static const PciDeviceClass ahci_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x2922,
    .revision = 2,
    .class_code = 0x010601,
    .interrupt_pin = 1,
};

const DeviceClass ich9_ahci_class = {
    .name = "ich9-ahci",
    .alias = "ahci",
    .desc = "SATA controller (ICH9, AHCI)",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_STORAGE,
    .size = sizeof(Ahci),
    .groups = ahci_groups,
    .state = &ahci_state,
    .hotpluggable = true,
    .has_child_bus = true,
    .child_bus = BUS_IDE,
    .realize = ahci_realize,
    .unrealize = ahci_unrealize,
    .reset = ahci_reset,
    .quiesce = ahci_quiesce,
    .resume = ahci_resume,
    .ops = &ahci_pci,
};
