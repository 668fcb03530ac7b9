/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ACPI fixed hardware of ICH9 and PIIX4 (ACPI 6.4, 4.8; ICH9, 13.8.3; PIIX4, 7.1): PM1 event
 * and control block, PM timer, GPE0, SMI registers, and the APM ports, whose command turns ACPI on
 * and off as the SMI handler of a firmware would, and with system management mode is an SMI when
 * the guest has allowed it. A part of the bridge and under its lock.
 */
#ifndef HW_ISA_ACPI_PM_H
#define HW_ISA_ACPI_PM_H

#include "hw/acpi/acpi.h"
#include "vmm/device/device.h"
#include "vmm/memory/address_space.h"

#define ACPI_PM_SIZE     128  /* of ICH9 */
#define ACPI_PM_GPE0     0x20 /* offset of the GPE0 block: status, then enable */
#define ACPI_PM_GPE0_LEN 16
#define ACPI_PM_TIMER_HZ 3579545

/* How a chipset has it. */
typedef struct AcpiPmLayout {
    unsigned size;     /* of the PM block */
    uint16_t gpe_port; /* of GPE0 when it stands apart, two bytes each of status and enable; 0: in
                          the block at ACPI_PM_GPE0 */
    uint8_t acpi_enable, acpi_disable; /* APM commands */
    bool global;                       /* SMI registers are PIIX4's, GLBSTS and GLBCTL */
} AcpiPmLayout;

typedef struct AcpiPm {
    Device *dev;
    IrqLine *sci;
    const AcpiPmLayout *layout;
    MemRegion region, gpe, apm;
    uint8_t apm_control, apm_status;
    uint8_t disable_s3, disable_s4, s4_val; /* properties */
    bool s3;                                /* firmware is there to wake the system up */
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint64_t gpe0_sts, gpe0_en;
    uint32_t smi_en, smi_sts, timer_value; /* PIIX4: GLBCTL, GLBSTS */
    bool smm;                              /* there is system management mode */
    bool apmc;          /* PIIX4: the bridge's configuration makes SMIs of APM commands */
    bool smi_locked;    /* ICH9: SMI_EN.GBL_SMI_EN may not change */
    bool smi_broadcast; /* SMIs go to all vCPUs; atomic */
    bool (*tco_locked)(Device *dev); /* SMI_EN.TCO_EN may not change; NULL: there is no TCO timer */
    uint64_t overflow_ticks;         /* when the top bit of the timer turns next */
    Timer overflow;
} AcpiPm;

extern const StateSection acpi_pm_state;
extern const Property acpi_pm_props[]; /* their base is the AcpiPm */

/* Main thread, at realize and unrealize. The APM ports and a GPE0 apart are placed; the block is
 * the bridge's to place. */
void acpi_pm_init(AcpiPm *pm, Device *dev, IrqLine *sci, const AcpiPmLayout *layout);
void acpi_pm_cleanup(AcpiPm *pm);
void acpi_pm_reset(AcpiPm *pm);
/* The sleep states of this machine: S3 with firmware only. Before it starts; main thread. */
AcpiSleep acpi_pm_sleep(AcpiPm *pm, bool firmware);
void acpi_pm_tco_event(AcpiPm *pm);               /* SMI_STS.TCO_STS; with the lock */
void acpi_pm_power_button(AcpiPm *pm);            /* main thread; takes the lock */
void acpi_pm_raise_gpe(AcpiPm *pm, unsigned bit); /* any thread; takes the lock */

#endif
