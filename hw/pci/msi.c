/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSI: message-signalled interrupts from configuration space (PCI 3.0, 6.8.1). */
#include "hw/pci/pci_internal.h"

#include "vmm/trace/trace-pci.h"

#define MSI_MAX_VECTORS 32

bool msi_init(PciDevice *pci, unsigned count, bool per_vector_mask, GError **error)
{
    unsigned log2 = g_bit_storage(count) - 1;
    uint16_t flags = PCI_MSI_FLAGS_64BIT | log2 << 1;

    g_assert(count >= 1 && count <= MSI_MAX_VECTORS && count == 1U << log2);
    pci->msi_cap = pci_add_capability(pci, PCI_CAP_ID_MSI, 0, per_vector_mask ? 24 : 14, error);
    if (!pci->msi_cap) {
        return false;
    }
    if (per_vector_mask) {
        flags |= PCI_MSI_FLAGS_MASKBIT;
        store_le32(pci->wmask + pci->msi_cap + PCI_MSI_MASK_64,
                   count == MSI_MAX_VECTORS ? UINT32_MAX : (1U << count) - 1);
    }
    store_le16(pci->config + pci->msi_cap + PCI_MSI_FLAGS, flags);
    store_le16(pci->wmask + pci->msi_cap + PCI_MSI_FLAGS,
               PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
    store_le32(pci->wmask + pci->msi_cap + PCI_MSI_ADDRESS_LO, ~3U);
    store_le32(pci->wmask + pci->msi_cap + PCI_MSI_ADDRESS_HI, UINT32_MAX);
    store_le16(pci->wmask + pci->msi_cap + PCI_MSI_DATA_64, UINT16_MAX);
    return true;
}

bool msi_enabled(const PciDevice *pci)
{
    return pci->msi_cap &&
           (__atomic_load_n(&pci->config[pci->msi_cap + PCI_MSI_FLAGS], __ATOMIC_ACQUIRE) &
            PCI_MSI_FLAGS_ENABLE);
}

/* The message of a vector; the low bits of the data carry the vector, as far as the guest allowed
 * several. Leaf lock held. */
static MsiMessage msi_message(const PciDevice *pci, unsigned vector)
{
    const uint8_t *cap = pci->config + pci->msi_cap;
    uint16_t flags = load_le16(cap + PCI_MSI_FLAGS);
    unsigned allowed = 1U << MIN((flags & PCI_MSI_FLAGS_QSIZE) >> 4, 5);
    uint32_t data = load_le16(cap + PCI_MSI_DATA_64);

    return (MsiMessage){
        .address = load_le32(cap + PCI_MSI_ADDRESS_LO) |
                   (uint64_t)load_le32(cap + PCI_MSI_ADDRESS_HI) << 32,
        .data = (data & ~(allowed - 1)) | (vector & (allowed - 1)),
    };
}

static bool msi_can_send(const PciDevice *pci)
{
    return msi_enabled(pci) && pci_bus_master(pci);
}

void msi_notify(PciDevice *pci, unsigned vector)
{
    Machine *machine = pci->bus->machine;
    uint8_t *cap = pci->config + pci->msi_cap;
    MsiMessage message;
    bool send = false;

    if (!pci->msi_cap || vector >= MSI_MAX_VECTORS) {
        return;
    }
    g_mutex_lock(&pci->root->leaf);
    if (msi_can_send(pci)) {
        bool maskable = load_le16(cap + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_MASKBIT;
        if (maskable && (load_le32(cap + PCI_MSI_MASK_64) & 1U << vector)) {
            store_le32(cap + PCI_MSI_PENDING_64,
                       load_le32(cap + PCI_MSI_PENDING_64) | 1U << vector);
        } else {
            message = msi_message(pci, vector);
            send = true;
        }
    }
    g_mutex_unlock(&pci->root->leaf);
    trace_msi_notify(pci->dev.cls->name, pci->dev.id, vector, send);
    if (send) {
        machine->accel->msi_send(machine, message);
    }
}

void msi_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    uint8_t *cap = pci->config + pci->msi_cap;
    uint32_t ready;

    if (!pci->msi_cap || !ranges_touch(offset, size, pci->msi_cap, 24) ||
        !(load_le16(cap + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_MASKBIT)) {
        return;
    }
    g_mutex_lock(&pci->root->leaf);
    ready = msi_can_send(pci)
                ? load_le32(cap + PCI_MSI_PENDING_64) & ~load_le32(cap + PCI_MSI_MASK_64)
                : 0;
    store_le32(cap + PCI_MSI_PENDING_64, load_le32(cap + PCI_MSI_PENDING_64) & ~ready);
    g_mutex_unlock(&pci->root->leaf);
    for (unsigned vector = 0; vector < MSI_MAX_VECTORS; vector++) {
        if (ready & 1U << vector) {
            msi_notify(pci, vector);
        }
    }
}
