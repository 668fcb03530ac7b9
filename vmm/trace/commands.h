/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about trace points and exits. */
#ifndef VMM_TRACE_COMMANDS_H
#define VMM_TRACE_COMMANDS_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands trace_commands, exit_commands;

#endif
