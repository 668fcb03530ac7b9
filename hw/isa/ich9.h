/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The south bridge of q35 (Intel ICH9): what the board and the ACPI tables know of it. */
#ifndef HW_ISA_ICH9_H
#define HW_ISA_ICH9_H

#include "hw/acpi/acpi.h"
#include "hw/pci/pci.h"

#define ICH9_LPC_SLOT         0x1f
#define ICH9_PMBASE           0x600 /* where firmware, or the board in its place, puts the PM block */
#define ICH9_RCBA             0xfed1c000ULL
#define ICH9_SCI_GSI          9
#define ICH9_APM_PORT         0xb2
#define ICH9_APM_ACPI_ENABLE  0x02
#define ICH9_APM_ACPI_DISABLE 0x03
#define ICH9_PIRQ_COUNT       8
#define ICH9_PIRQ_FIRST_GSI   16   /* PIRQA */
#define ICH9_LPC_PIRQ_A_D     0x60 /* configuration offsets of the PIRQ routing registers */
#define ICH9_LPC_PIRQ_E_H     0x68

/* INTx pins of the root bus: a PciSetIrq with the LPC bridge as opaque. Slots 0 to 24 go to PIRQE
 * to PIRQH turning by slot; 25 to 31 by the DxxIR registers (reset: pin A to PIRQA ... D to PIRQD),
 * 30 to PIRQE to PIRQH. PIRQA to PIRQH are GSI 16 to 23. */
void ich9_lpc_set_intx(void *lpc, unsigned slot, unsigned pin, int level);

/* What firmware programs: PM block and RCBA in place, PIRQs to IRQ 10 and 11. Topology lock, after
 * reset. */
void ich9_lpc_configure(Device *lpc);
uint8_t ich9_lpc_irq_line(void *lpc, uint8_t slot, uint8_t pin); /* PciApertures.irq_line */
void ich9_lpc_raise_gpe(void *lpc, unsigned bit);                /* any thread */
Bus *ich9_lpc_isa_bus(Device *lpc);
/* The fw_cfg files by which firmware asks that SMIs go to all vCPUs. When the board is built. */
bool ich9_lpc_add_smi_features(Device *lpc, Device *fw_cfg, GError **error);
AcpiSleep ich9_lpc_sleep(Device *lpc, bool firmware); /* acpi_pm_sleep() */

/* Where ich9_lpc_configure() leaves the pins, for the ACPI tables. */
uint32_t ich9_default_gsi(unsigned slot, unsigned pin);
uint8_t ich9_default_isa_irq(unsigned slot, unsigned pin);

#endif
