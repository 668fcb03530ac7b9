/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit's PCI: configuration access, enumeration, BARs, capabilities, MSI-X. */
#pragma once

#include "kit.h"

typedef uint16_t Bdf; /* bus << 8 | device << 3 | function */

uint8_t pci_read8(Bdf bdf, uint32_t reg);
uint16_t pci_read16(Bdf bdf, uint32_t reg);
uint32_t pci_read32(Bdf bdf, uint32_t reg);
void pci_write8(Bdf bdf, uint32_t reg, uint8_t v);
void pci_write16(Bdf bdf, uint32_t reg, uint16_t v);
void pci_write32(Bdf bdf, uint32_t reg, uint32_t v);

/* The base of the memory-mapped configuration space from the MCFG table or the q35 host bridge,
 * 0 if it is not enabled. */
uint64_t pci_ecam_base(void);
static inline uint64_t pci_ecam_address(uint64_t base, Bdf bdf, uint32_t reg)
{
    return base + ((uint64_t)bdf << 12) + reg;
}

/* Calls found() for every function of bus 0 and the buses behind bridges that have been numbered.
 */
void pci_for_each(void (*found)(Bdf bdf, uint32_t vendor_device));

/* The nth function with this vendor and a device in [first, last]; -1 if there is none. */
int pci_find(uint16_t vendor, uint16_t first, uint16_t last, uint32_t nth);

/* The address of a memory or I/O BAR; assigns one if the firmware has not. Size by probing. */
uint64_t pci_bar_address(Bdf bdf, uint32_t bar);
uint64_t pci_bar_size(Bdf bdf, uint32_t bar, bool *is_io);
void pci_enable(Bdf bdf);

/* The offset of the nth capability with this id, 0 if there is none. */
uint8_t pci_capability(Bdf bdf, uint8_t id, uint32_t nth);

/* Enables MSI-X and points `entry` at `vector` of the calling CPU's local APIC. */
void pci_msix_route(Bdf bdf, uint32_t entry, uint8_t vector);
