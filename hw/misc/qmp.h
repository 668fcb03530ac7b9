/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about the interrupt controllers. */
#ifndef HW_MISC_QMP_H
#define HW_MISC_QMP_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands pic_commands;

#endif
