/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The GDB stub's commands of the human monitor. */
#ifndef VMM_GDBSTUB_COMMANDS_H
#define VMM_GDBSTUB_COMMANDS_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands gdb_commands;

#endif
