/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration header of bridges and their windows (PCI-to-PCI Bridge Architecture 1.2). */
#include "hw/pci/pci_internal.h"

void pci_bridge_header_init(PciDevice *pci)
{
    uint8_t *config = pci->config, *wmask = pci->wmask;

    config[PCI_HEADER_TYPE] = (config[PCI_HEADER_TYPE] & 0x80) | PCI_HEADER_TYPE_BRIDGE;
    wmask[PCI_PRIMARY_BUS] = 0xff;
    wmask[PCI_SECONDARY_BUS] = 0xff;
    wmask[PCI_SUBORDINATE_BUS] = 0xff;
    wmask[PCI_IO_BASE] = 0xf0;
    wmask[PCI_IO_LIMIT] = 0xf0;
    store_le16(wmask + PCI_MEMORY_BASE, 0xfff0);
    store_le16(wmask + PCI_MEMORY_LIMIT, 0xfff0);
    store_le16(wmask + PCI_PREF_MEMORY_BASE, 0xfff0);
    store_le16(wmask + PCI_PREF_MEMORY_LIMIT, 0xfff0);
    store_le16(config + PCI_PREF_MEMORY_BASE, PCI_PREF_RANGE_TYPE_64);
    store_le16(config + PCI_PREF_MEMORY_LIMIT, PCI_PREF_RANGE_TYPE_64);
    store_le32(wmask + PCI_PREF_BASE_UPPER32, UINT32_MAX);
    store_le32(wmask + PCI_PREF_LIMIT_UPPER32, UINT32_MAX);
    store_le16(wmask + PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_PARITY | PCI_BRIDGE_CTL_SERR |
                                               PCI_BRIDGE_CTL_ISA | PCI_BRIDGE_CTL_MASTER_ABORT);
    store_le16(pci->w1cmask + PCI_SEC_STATUS,
               PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT |
                   PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR |
                   PCI_STATUS_DETECTED_PARITY);
}

static bool window_holds(uint64_t base, uint64_t limit, uint64_t start, uint64_t last)
{
    return base <= limit && start >= base && last <= limit;
}

bool pci_bridge_forwards(const PciDevice *bridge, PciBarKind kind, uint64_t start, uint64_t last)
{
    const uint8_t *config = bridge->config;
    uint16_t command = load_le16(config + PCI_COMMAND);
    uint64_t base, limit;

    if (kind == PCI_BAR_IO) {
        base = (config[PCI_IO_BASE] & 0xf0) << 8;
        limit = (config[PCI_IO_LIMIT] & 0xf0) << 8 | 0xfff;
        return (command & PCI_COMMAND_IO) && window_holds(base, limit, start, last);
    }
    if (!(command & PCI_COMMAND_MEMORY)) {
        return false;
    }
    base = (uint64_t)(load_le16(config + PCI_MEMORY_BASE) & 0xfff0) << 16;
    limit = (uint64_t)(load_le16(config + PCI_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff;
    if (window_holds(base, limit, start, last)) {
        return true;
    }
    base = (uint64_t)(load_le16(config + PCI_PREF_MEMORY_BASE) & 0xfff0) << 16 |
           (uint64_t)load_le32(config + PCI_PREF_BASE_UPPER32) << 32;
    limit = (uint64_t)(load_le16(config + PCI_PREF_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff |
            (uint64_t)load_le32(config + PCI_PREF_LIMIT_UPPER32) << 32;
    return window_holds(base, limit, start, last);
}
