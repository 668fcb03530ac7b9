/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What firmware and q35 agree on about SMIs (QEMU, docs/specs: ICH9 SMI feature negotiation):
 * fw_cfg files with the features there are, those the firmware wants, and, when it selects the
 * third, whether it can have them. What was agreed holds until a reset. A part of the LPC bridge.
 */
#ifndef HW_ISA_ICH9_SMI_H
#define HW_ISA_ICH9_SMI_H

#include "hw/isa/acpi_pm.h"

typedef struct Ich9Smi {
    AcpiPm *pm;
    Device *fw_cfg; /* NULL: no such files */
    uint64_t agreed;
    bool valid; /* there is an agreement */
} Ich9Smi;

extern const StateSection ich9_smi_state;

/* Main thread. */
void ich9_smi_init(Ich9Smi *smi, AcpiPm *pm);
bool ich9_smi_add_files(Ich9Smi *smi, Device *fw_cfg, GError **error);
void ich9_smi_reset(Ich9Smi *smi);

#endif
