/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host bridges: the root buses of the boards and the ways into configuration space. */
#ifndef HW_PCI_HOST_H
#define HW_PCI_HOST_H

#include "hw/pci/pci.h"

#define Q35_ECAM_BASE 0xb0000000ULL
#define ECAM_SIZE     (256ULL << 20) /* 256 buses */

/* Where the root bus's interrupt pins go, set once after realize. Main thread. */
void q35_host_connect_intx(Device *host, PciSetIrq *set_irq, void *opaque);
PciBus *q35_host_bus(Device *host);

/* What firmware does first: ECAM at its base, enabled; the RAM below 1 MiB open. At each reset, and
 * once before the accelerator takes the map, which the first reset then leaves as it is. Topology
 * lock. */
void q35_mch_configure(PciDevice *mch, uint64_t base);

/* The same of pc: i440FX with root bus pci.0; after reset firmware opens the RAM below 1 MiB. */
void i440fx_host_connect_intx(Device *host, PciSetIrq *set_irq, void *opaque);
PciBus *i440fx_host_bus(Device *host);
void i440fx_configure(PciDevice *pmc);

/* The generic host of microvm: ECAM at a fixed place; pin n of slot s drives GSI first_gsi + (s +
 * n) % 4. NULL and error. Main thread. */
Device *gpex_host_new(Machine *machine, uint64_t ecam_base, unsigned first_gsi, GError **error);
PciBus *gpex_host_bus(Device *host);

/* An ECAM window onto a root bus (PCI Express Base 4.0, 7.2.2); opaque is the PciBus. */
extern const MemOps pci_ecam_ops;

#endif
