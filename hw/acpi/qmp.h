/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about ACPI's slots and the generation ID. */
#ifndef HW_ACPI_QMP_H
#define HW_ACPI_QMP_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands acpi_commands;

#endif
