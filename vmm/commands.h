/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of contents of the monitor. */
#ifndef VMM_COMMANDS_H
#define VMM_COMMANDS_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands *const all_monitor_commands[]; /* NULL-terminated */

#endif
