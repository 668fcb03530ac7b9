/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of hw/pci share among themselves. */
#ifndef HW_PCI_PCI_INTERNAL_H
#define HW_PCI_PCI_INTERNAL_H

#include <linux/pci_regs.h>
#include "hw/pci/pci.h"
#include "vmm/util/bytes.h"

struct PciBus {
    Bus *base;
    Machine *machine;
    PciDevice *bridge; /* NULL: a root bus */
    bool express;
    AddressSpace *memory, *io;
    AddressSpace *no_dma; /* root buses: what a function without bus mastering sees */
    PciSetIrq *set_irq;
    void *opaque;
    /* Root buses: leaf lock of the INTx levels below, and of configuration bytes where threads
     * other than the holder of the device lock read several of them. */
    GMutex leaf;
    PciDevice *functions[256]; /* topology lock */
};

static inline const PciDeviceClass *pci_class(const PciDevice *pci)
{
    return pci->dev.cls->ops;
}

static inline bool ranges_touch(uint32_t a, uint32_t a_len, uint32_t b, uint32_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

/* The bus inside a switch, where downstream ports are. */
static inline bool pci_bus_is_switch(const PciBus *bus)
{
    return bus->bridge && pci_class(bus->bridge)->express_type == PCI_EXP_TYPE_UPSTREAM;
}

/* Places the BARs where the registers say, and those of everything behind a bridge. Topology lock
 * held, the device lock not. */
void pci_update_mappings(PciDevice *pci);
uint64_t pci_bar_value(const PciDevice *pci, unsigned index); /* address bits of the register */
void pci_intx_refresh(PciDevice *pci); /* after Interrupt Disable changed; takes the leaf lock */

static inline unsigned pci_bar_offset(unsigned index)
{
    return index == PCI_ROM_REGION ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + 4 * index;
}

/* The expansion ROM (PCI 3.0, 6.2.5.2): reads the file of the property or of the class. */
bool pci_rom_realize(PciDevice *pci, GError **error);
void pci_rom_unrealize(PciDevice *pci); /* not mapped any more */

/* Bridges (PCI-to-PCI Bridge Architecture 1.2). */
void pci_bridge_header_init(PciDevice *pci);
bool pci_bridge_forwards(const PciDevice *bridge, PciBarKind kind, uint64_t start, uint64_t last);

bool pcie_capability_init(PciDevice *pci, GError **error);

/* After a configuration write of these bytes; device lock held. */
void msi_config_written(PciDevice *pci, uint32_t offset, unsigned size);
void msix_config_written(PciDevice *pci, uint32_t offset, unsigned size);
void msix_reset(PciDevice *pci);
void msix_save(PciDevice *pci);
bool msix_load(PciDevice *pci, GError **error);

#endif
