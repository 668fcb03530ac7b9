/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about disks. */
#ifndef BLOCK_QMP_H
#define BLOCK_QMP_H

#include "block/block.h"
#include "vmm/monitor/commands.h"

extern const MonitorCommands block_commands, media_commands, export_commands, limit_commands,
    job_commands, copy_commands, snapshot_commands;

/* The node that a command's `device` means: a drive's id, a device's, or a node's name. Main
 * thread. */
BlockNode *block_device_node(const char *name, GError **error);

#endif
