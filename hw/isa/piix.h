/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The south bridge of pc (Intel PIIX3, and the power management function of PIIX4): what the board
 * and the ACPI tables know of it. */
#ifndef HW_ISA_PIIX_H
#define HW_ISA_PIIX_H

#include "hw/acpi/acpi.h"
#include "hw/pci/pci.h"

#define PIIX_SLOT             1
#define PIIX_ISA_FUNCTION     0
#define PIIX_IDE_FUNCTION     1
#define PIIX_PM_FUNCTION      3
#define PIIX_PIRQ_COUNT       4
#define PIIX_PIRQ_ROUTES      0x60 /* configuration offset of PIRQRC[A:D] */
#define PIIX_PMBASE           0x600 /* where firmware, or the board in its place, puts the PM block */
#define PIIX_GPE_BASE         0xafe0
#define PIIX_GPE_LEN          4
#define PIIX_SCI_GSI          9
#define PIIX_APM_PORT         0xb2
#define PIIX_APM_ACPI_ENABLE  0xf1
#define PIIX_APM_ACPI_DISABLE 0xf0
#define PIIX_PCIHP_PORT       0xae00
#define PIIX_SMBUS_PORT       0xb100
#define PIIX_GPE_PCIHP        1 /* bit of GPE0: a slot changed */

/* INTx pins of the root bus: a PciSetIrq with the PIIX3 as opaque. Pin n of slot s goes to PIRQ (s
 * + n - 1) % 4, and that to the ISA interrupt its register names. */
void piix3_set_intx(void *piix3, unsigned slot, unsigned pin, int level);

/* What firmware programs: PIRQs to IRQ 10 and 11. Topology lock, after reset. */
void piix3_configure(Device *piix3);
uint8_t piix3_irq_line(void *piix3, uint8_t slot, uint8_t pin); /* PciApertures.irq_line */
Bus *piix3_isa_bus(Device *piix3);

/* The PM block in place. Topology lock, after reset. */
void piix4_pm_configure(Device *pm);
AcpiSleep piix4_pm_sleep(Device *pm, bool firmware); /* acpi_pm_sleep() */
bool piix4_pm_add_smbus(Device *pm, GError **error); /* when the board is built */
void piix4_pm_raise_gpe(void *pm, unsigned bit);     /* any thread */

#endif
