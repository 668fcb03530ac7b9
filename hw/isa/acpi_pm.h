/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ACPI fixed hardware of ICH9 (ACPI 6.4, 4.8; ICH9, 13.8.3): PM1 event and control block, PM
 * timer, GPE0, SMI registers. A part of the LPC bridge and under its lock.
 */
#ifndef HW_ISA_ACPI_PM_H
#define HW_ISA_ACPI_PM_H

#include "vmm/device/device.h"
#include "vmm/memory/address_space.h"

#define ACPI_PM_SIZE     128
#define ACPI_PM_GPE0     0x20 /* offset of the GPE0 block: status, then enable */
#define ACPI_PM_GPE0_LEN 16
#define ACPI_PM_TIMER_HZ 3579545

typedef struct AcpiPm {
    Device *dev;
    IrqLine *sci;
    MemRegion region;
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint64_t gpe0_sts, gpe0_en;
    uint32_t smi_en, smi_sts, timer_value;
    uint64_t overflow_ticks; /* when the top bit of the timer turns next */
    Timer overflow;
} AcpiPm;

extern const StateSection acpi_pm_state;

void acpi_pm_init(AcpiPm *pm, Device *dev, IrqLine *sci); /* main thread, at realize */
void acpi_pm_cleanup(AcpiPm *pm);
void acpi_pm_reset(AcpiPm *pm);
void acpi_pm_set_sci_enabled(AcpiPm *pm, bool on); /* lock held */
void acpi_pm_power_button(AcpiPm *pm);             /* main thread; takes the lock */

#endif
