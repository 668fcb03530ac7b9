/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about disks. */
#ifndef BLOCK_QMP_H
#define BLOCK_QMP_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands block_commands, media_commands, export_commands, limit_commands;

#endif
