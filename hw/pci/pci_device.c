/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI functions: header, BARs, capabilities, INTx, reset, state. */
#include "hw/pci/pci_internal.h"

#include "vmm/trace/trace-pci.h"

#define QUMRANET_VENDOR_ID   0x1af4 /* the subsystem of functions that name none */
#define DEFAULT_SUBSYSTEM_ID 0x1100
#define BAR_UNMAPPED         UINT64_MAX
#define BAR_MEMORY_LAST      ((1ULL << 52) - 1)
#define BAR_PRIORITY         (-1) /* RAM and the board's registers stay where they are */

const Property pci_device_props[] = {
    PROP_DEVFN("addr", PciDevice, devfn, "Slot and function on the bus (hex slot[.function])"),
    PROP_BOOL("multifunction", PciDevice, multifunction, false,
              "The slot has more functions than this one"),
    PROP_STRING("romfile", PciDevice, romfile, NULL,
                "The expansion ROM's file; empty: none (default: the device's packaged one)"),
    PROP_FIELD("rombar", PROP_TYPE_U32, PciDevice, rombar, "1: the ROM has a BAR; 0: no ROM",
               .def = 1, .max = 1),
    PROP_END,
};

/* ---- Header ---- */

static void header_init(PciDevice *pci)
{
    const PciDeviceClass *cls = pci_class(pci);
    uint8_t *config = pci->config, *wmask = pci->wmask;

    store_le16(config + PCI_VENDOR_ID, cls->vendor_id);
    store_le16(config + PCI_DEVICE_ID, cls->device_id);
    config[PCI_REVISION_ID] = cls->revision;
    config[PCI_CLASS_PROG] = cls->class_code;
    store_le16(config + PCI_CLASS_DEVICE, cls->class_code >> 8);
    config[PCI_INTERRUPT_PIN] = cls->interrupt_pin;
    if (pci->multifunction) {
        config[PCI_HEADER_TYPE] |= 0x80;
    }
    store_le16(wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                                        PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
    store_le16(pci->w1cmask + PCI_STATUS,
               PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT |
                   PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR |
                   PCI_STATUS_DETECTED_PARITY);
    wmask[PCI_CACHE_LINE_SIZE] = 0xff;
    wmask[PCI_INTERRUPT_LINE] = 0xff;
    memset(pci->used, 0xff, PCI_STD_HEADER_SIZEOF);
    if (cls->is_bridge) {
        pci_bridge_header_init(pci);
        return;
    }
    store_le16(config + PCI_SUBSYSTEM_VENDOR_ID,
               cls->subsystem_vendor_id ? cls->subsystem_vendor_id : QUMRANET_VENDOR_ID);
    store_le16(config + PCI_SUBSYSTEM_ID,
               cls->subsystem_vendor_id ? cls->subsystem_id : DEFAULT_SUBSYSTEM_ID);
}

bool pci_device_realize(PciDevice *pci, GError **error)
{
    const PciDeviceClass *cls = pci_class(pci);

    for (unsigned i = 0; i < PCI_REGION_COUNT; i++) {
        pci->bars[i].mapped_at = BAR_UNMAPPED;
    }
    header_init(pci);
    if (cls->is_express && pci->bus->express && !pcie_capability_init(pci, error)) {
        return false;
    }
    return pci_rom_realize(pci, error);
}

void pci_device_unrealize(PciDevice *pci)
{
    Machine *machine = pci->bus->machine;

    pci_set_irq(pci, 0);
    machine_topology_lock(machine);
    for (unsigned i = 0; i < PCI_REGION_COUNT; i++) {
        if (pci->bars[i].region) {
            address_space_unmap(pci->bars[i].region);
        }
        pci->bars[i].region = NULL;
        pci->bars[i].mapped_at = BAR_UNMAPPED;
    }
    machine_topology_unlock(machine);
    pci_rom_unrealize(pci);
    g_clear_pointer(&pci->saved_config, g_free);
    g_clear_pointer(&pci->saved_msix, g_free);
}

/* ---- BARs ---- */

static bool bar_is_64bit(PciBarKind kind)
{
    return kind == PCI_BAR_MEM64 || kind == PCI_BAR_MEM64_PREFETCH;
}

void pci_register_bar(PciDevice *pci, unsigned index, PciBarKind kind, MemRegion *region)
{
    static const uint8_t type_bits[] = {
        [PCI_BAR_IO] = PCI_BASE_ADDRESS_SPACE_IO,
        [PCI_BAR_MEM32] = PCI_BASE_ADDRESS_MEM_TYPE_32,
        [PCI_BAR_MEM64] = PCI_BASE_ADDRESS_MEM_TYPE_64,
        [PCI_BAR_MEM64_PREFETCH] = PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
    };
    PciBar *bar = &pci->bars[index];
    uint64_t size = region->size;

    g_assert(index + bar_is_64bit(kind) < PCI_BAR_COUNT && (size & (size - 1)) == 0 &&
             size >= (kind == PCI_BAR_IO ? 4 : 16));
    *bar = (PciBar){ .region = region, .kind = kind, .size = size, .mapped_at = BAR_UNMAPPED };
    pci->config[pci_bar_offset(index)] = type_bits[kind];
    store_le32(pci->wmask + pci_bar_offset(index), ~(size - 1) & (kind == PCI_BAR_IO ? ~3U : ~15U));
    if (bar_is_64bit(kind)) {
        store_le32(pci->wmask + pci_bar_offset(index + 1), ~(size - 1) >> 32);
    }
}

uint64_t pci_bar_value(const PciDevice *pci, unsigned index)
{
    const PciBar *bar = &pci->bars[index];
    uint64_t value = load_le32(pci->config + pci_bar_offset(index));

    if (bar_is_64bit(bar->kind)) {
        value |= (uint64_t)load_le32(pci->config + pci_bar_offset(index + 1)) << 32;
    }
    return value & ~(bar->size - 1);
}

/* Where the BAR decodes now, or BAR_UNMAPPED. Address 0 and the pattern that sizing leaves behind
 * decode nothing. */
static uint64_t bar_target(const PciDevice *pci, unsigned index)
{
    const PciBar *bar = &pci->bars[index];
    uint16_t command = load_le16(pci->config + PCI_COMMAND);
    uint64_t last_allowed, start = pci_bar_value(pci, index);

    if (bar->kind == PCI_BAR_IO) {
        if (!(command & PCI_COMMAND_IO)) {
            return BAR_UNMAPPED;
        }
        last_allowed = UINT16_MAX;
    } else {
        bool disabled = index == PCI_ROM_REGION &&
                        !(pci->config[PCI_ROM_ADDRESS] & PCI_ROM_ADDRESS_ENABLE);
        if (!(command & PCI_COMMAND_MEMORY) || disabled) {
            return BAR_UNMAPPED;
        }
        last_allowed = bar_is_64bit(bar->kind) ? BAR_MEMORY_LAST : UINT32_MAX - 1;
    }
    if (start == 0 || start > last_allowed || bar->size - 1 > last_allowed - start) {
        return BAR_UNMAPPED;
    }
    for (const PciBus *bus = pci->bus; bus->bridge; bus = bus->bridge->bus) {
        if (!pci_bridge_forwards(bus->bridge, bar->kind, start, start + bar->size - 1)) {
            return BAR_UNMAPPED;
        }
    }
    return start;
}

static void bar_move(PciDevice *pci, unsigned index, uint64_t target)
{
    PciBar *bar = &pci->bars[index];
    AddressSpace *space = bar->kind == PCI_BAR_IO ? pci->bus->io : pci->bus->memory;

    address_space_begin(space);
    if (bar->mapped_at != BAR_UNMAPPED) {
        address_space_unmap(bar->region);
    }
    if (target != BAR_UNMAPPED) {
        address_space_map(space, bar->region, target, BAR_PRIORITY);
    }
    bar->mapped_at = target;
    address_space_commit(space);
}

void pci_update_mappings(PciDevice *pci)
{
    for (unsigned i = 0; i < PCI_REGION_COUNT; i++) {
        if (!pci->bars[i].region) {
            continue;
        }
        uint64_t target = bar_target(pci, i);
        if (target != pci->bars[i].mapped_at) {
            trace_pci_update_mappings(pci->dev.cls->name, pci->dev.id, i, target);
            bar_move(pci, i, target);
        }
    }
    if (!pci->secondary) {
        return;
    }
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if (pci->secondary->functions[devfn]) {
            pci_update_mappings(pci->secondary->functions[devfn]);
        }
    }
}

/* ---- Capabilities ---- */

static bool capability_fits(const PciDevice *pci, unsigned offset, unsigned size)
{
    if (offset < PCI_STD_HEADER_SIZEOF || offset + size > PCI_CONFIG_SIZE) {
        return false;
    }
    for (unsigned i = 0; i < size; i++) {
        if (pci->used[offset + i]) {
            return false;
        }
    }
    return true;
}

uint8_t pci_add_capability(PciDevice *pci, uint8_t id, uint8_t offset, uint8_t size, GError **error)
{
    unsigned at = offset ? offset : PCI_STD_HEADER_SIZEOF;

    while (!offset && at + size <= PCI_CONFIG_SIZE && !capability_fits(pci, at, size)) {
        at += 4;
    }
    if (!capability_fits(pci, at, size)) {
        error_set(error, "%s: no room in configuration space for capability 0x%02x of %u bytes",
                  pci->dev.cls->name, id, size);
        return 0;
    }
    memset(pci->used + at, 0xff, ALIGN_UP(size, 4));
    pci->config[at + PCI_CAP_LIST_ID] = id;
    pci->config[at + PCI_CAP_LIST_NEXT] = pci->config[PCI_CAPABILITY_LIST];
    pci->config[PCI_CAPABILITY_LIST] = at;
    pci->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    return at;
}

uint16_t pcie_add_extended_capability(PciDevice *pci, uint16_t id, uint8_t version, uint16_t size)
{
    uint32_t at = PCI_CONFIG_SIZE, previous = 0;

    while (load_le32(pci->config + at)) {
        previous = at;
        at = PCI_EXT_CAP_NEXT(load_le32(pci->config + at));
        if (!at) {
            break;
        }
    }
    if (previous) {
        at = previous;
        while (at < PCIE_CONFIG_SIZE && pci->used[at]) {
            at += 4;
        }
    }
    g_assert(at + size <= PCIE_CONFIG_SIZE);
    if (previous) {
        store_le32(pci->config + previous, load_le32(pci->config + previous) | at << 20);
    }
    memset(pci->used + at, 0xff, ALIGN_UP(size, 4));
    store_le32(pci->config + at, id | (uint32_t)version << 16);
    return at;
}

bool pci_bus_master(const PciDevice *pci)
{
    return __atomic_load_n(&pci->config[PCI_COMMAND], __ATOMIC_ACQUIRE) & PCI_COMMAND_MASTER;
}

bool pci_memory_enabled(const PciDevice *pci)
{
    return __atomic_load_n(&pci->config[PCI_COMMAND], __ATOMIC_ACQUIRE) & PCI_COMMAND_MEMORY;
}

AddressSpace *pci_dma_space(PciDevice *pci)
{
    return pci_bus_master(pci) ? pci->bus->machine->memory : pci->root->no_dma;
}

/* ---- INTx ---- */

/* Each bridge turns the pins by the slot number (PCI-to-PCI Bridge 1.2, 9.1). */
static void intx_update_locked(PciDevice *pci)
{
    bool level = pci->irq_level && !pci->intx_disabled;
    unsigned pin, slot = PCI_SLOT(pci->devfn);
    PciBus *bus = pci->bus;

    if (level == pci->irq_driven || !pci->config[PCI_INTERRUPT_PIN]) {
        return;
    }
    pci->irq_driven = level;
    pin = (pci->config[PCI_INTERRUPT_PIN] - 1) & 3;
    for (; bus->bridge; bus = bus->bridge->bus) {
        pin = (pin + slot) & 3;
        slot = PCI_SLOT(bus->bridge->devfn);
    }
    if (bus->set_irq) {
        bus->set_irq(bus->opaque, slot, pin, level);
    }
}

void pci_set_irq(PciDevice *pci, int level)
{
    g_mutex_lock(&pci->root->leaf);
    pci->irq_level = level != 0;
    intx_update_locked(pci);
    g_mutex_unlock(&pci->root->leaf);
}

void pci_intx_refresh(PciDevice *pci)
{
    g_mutex_lock(&pci->root->leaf);
    pci->intx_disabled = load_le16(pci->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
    intx_update_locked(pci);
    g_mutex_unlock(&pci->root->leaf);
}

/* ---- Reset and state ---- */

static void apply_registers(PciDevice *pci)
{
    pci_intx_refresh(pci);
    machine_topology_lock(pci->bus->machine);
    pci_update_mappings(pci);
    if (pci_class(pci)->remap) {
        pci_class(pci)->remap(pci);
    }
    machine_topology_unlock(pci->bus->machine);
}

void pci_device_reset(PciDevice *pci)
{
    pci_device_reset_keeping(pci, 0, 0);
}

void pci_device_reset_keeping(PciDevice *pci, unsigned first, unsigned count)
{
    bool waking = machine_waking(pci->dev.machine) != WAKEUP_NONE;

    pci_set_irq(pci, 0);
    g_mutex_lock(&pci->root->leaf);
    for (unsigned i = 0; i < PCIE_CONFIG_SIZE; i++) {
        if (!waking || i < first || i >= first + count) {
            pci->config[i] &= ~(pci->wmask[i] | pci->w1cmask[i]);
        }
    }
    if (pci->msi_cap) {
        memset(pci->config + pci->msi_cap + PCI_MSI_PENDING_64, 0,
               pci->config[pci->msi_cap + PCI_MSI_FLAGS + 1] & 1 ? 4 : 0);
    }
    g_mutex_unlock(&pci->root->leaf);
    msix_reset(pci);
    apply_registers(pci);
}

static void pci_pre_save(void *base)
{
    PciDevice *pci = base;

    g_free(pci->saved_config);
    pci->saved_config_len = pci->express_cap ? PCIE_CONFIG_SIZE : PCI_CONFIG_SIZE;
    pci->saved_config = g_memdup2(pci->config, pci->saved_config_len);
    msix_save(pci);
}

/* Of a stream only the bits are taken that a guest could have written. */
static bool pci_post_load(void *base, uint16_t version, GError **error)
{
    PciDevice *pci = base;
    g_autofree uint8_t *saved = g_steal_pointer(&pci->saved_config);
    uint32_t expected = pci->express_cap ? PCIE_CONFIG_SIZE : PCI_CONFIG_SIZE;
    bool level = pci->irq_level;

    if (!saved || pci->saved_config_len != expected) {
        return error_set(error, "%s: configuration space of %u bytes, expected %u",
                         pci->dev.cls->name, pci->saved_config_len, expected);
    }
    if (memcmp(saved, pci->config, 4) != 0) {
        return error_set(error, "%s: the saved function is %04x:%04x, not %04x:%04x",
                         pci->dev.cls->name, load_le16(saved), load_le16(saved + 2),
                         load_le16(pci->config), load_le16(pci->config + 2));
    }
    for (unsigned i = 0; i < expected; i++) {
        uint8_t mask = pci->wmask[i] | pci->w1cmask[i];
        pci->config[i] = (pci->config[i] & ~mask) | (saved[i] & mask);
    }
    if (!msix_load(pci, error)) {
        return false;
    }
    pci_set_irq(pci, level);
    apply_registers(pci);
    return true;
}

static const StateField pci_device_fields[] = {
    STATE_VBUFFER(PciDevice, saved_config, saved_config_len, PCIE_CONFIG_SIZE),
    STATE_VBUFFER(PciDevice, saved_msix, saved_msix_len, 2048 * 16 + 2048 / 8),
    STATE_INT(PciDevice, irq_level),
    STATE_END,
};

const StateSection pci_device_state = {
    .name = "pci",
    .version = 1,
    .fields = pci_device_fields,
    .pre_save = pci_pre_save,
    .post_load = pci_post_load,
};
