/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about disks. */
#ifndef BLOCK_QMP_H
#define BLOCK_QMP_H

#include "block/block.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/qmp-schema.h"

extern const MonitorCommands block_commands, block_info_commands, media_commands, export_commands,
    limit_commands, job_commands, copy_commands, snapshot_commands, transaction_commands,
    create_commands, reopen_commands, bitmap_commands, latency_commands, disk_commands,
    commit_commands;

/* The node that a command's `device` means: a drive's id, a device's, or a node's name. Main
 * thread. */
BlockNode *block_device_node(const char *name, GError **error);

/* ---- What transactions share with commands of their own: main thread ---- */
/* The new overlay (a reference), and the node that it stands on now. */
BlockNode *snapshot_sync(const QmpBlockdevSnapshotSyncArgs *args, BlockNode **below,
                         GError **error);
/* The node that has the snapshot now (no reference), and the snapshot's id (g_free). */
BlockNode *snapshot_internal_sync(const QmpBlockdevSnapshotInternalSyncArgs *args, char **id,
                                  GError **error);

/* qmp_bitmaps.c: what the commands prepare, also for a transaction (bitmap_actions.h). */
struct BitmapAction *qmp_bitmap_add(const QmpBlockDirtyBitmapAddArgs *args, GError **error);
struct BitmapAction *qmp_bitmap_merge(const QmpBlockDirtyBitmapMergeArgs *args, GError **error);

#endif
