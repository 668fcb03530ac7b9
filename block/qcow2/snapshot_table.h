/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of internal snapshots: section "Snapshots". */
#ifndef BLOCK_QCOW2_SNAPSHOT_TABLE_H
#define BLOCK_QCOW2_SNAPSHOT_TABLE_H

#include "block/internal.h"
#include "block/qcow2/format.h"

#define QCOW2_MAX_SNAPSHOT_TABLE (64 * MIB)

typedef struct Qcow2Snapshot {
    uint64_t l1_offset;
    uint32_t l1_size; /* entries */
    BlockSnapshot about;
    uint8_t *more; /* extra data that is not known here: kept */
    uint32_t more_size;
} Qcow2Snapshot;

void qcow2_snapshot_free(Qcow2Snapshot *snapshot);
/* Reads the table that h names; *bytes is its length. NULL and an error when it makes no sense.
 * L1 tables are not looked at. Blocking. */
GPtrArray *qcow2_snapshots_read(BlockNode *file, const Qcow2Header *h, uint64_t *bytes,
                                GError **error);
/* The table's bytes. */
GByteArray *qcow2_snapshots_write(const GPtrArray *snapshots);

#endif
