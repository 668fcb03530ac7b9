/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about TPMs. */
#ifndef HW_TPM_QMP_H
#define HW_TPM_QMP_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands tpm_commands;

#endif
