/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Work on an open image while it has no requests: what snapshot.c, resize.c and amend.c share
 * (offline.c). Tables are read from the file and written to it beside the driver's memory, which is
 * committed before and read again afterwards. Main thread; blocking.
 *
 * While references are moved the image is marked dirty (version 3), so that what a crash leaves
 * behind is mended when it is opened again.
 */
#ifndef BLOCK_QCOW2_OFFLINE_H
#define BLOCK_QCOW2_OFFLINE_H

#include "block/qcow2/qcow2.h"
#include "vmm/error.h"

typedef struct Qcow2Offline {
    Qcow2 *s;
    GArray *freed;  /* of Qcow2Free: nothing refers to them any more */
    bool committed; /* something is on the disk: what comes cannot be taken back */
} Qcow2Offline;

/* Commits and marks. */
bool qcow2_offline_begin(Qcow2Offline *o, Qcow2 *s, GError **error);
/* Commits, gives free space back, unmarks, and has the driver read its tables again. ok false: what
 * was not committed is forgotten; *error stays. Returns whether all went well. */
bool qcow2_offline_end(Qcow2Offline *o, bool ok, GError **error);
/* Counts and all that was written until now are on the disk. */
bool qcow2_offline_commit(Qcow2Offline *o, GError **error);

/* Clusters for `bytes`, in a row, counted; *offset 0 where bytes is 0. */
bool qcow2_offline_alloc(Qcow2Offline *o, uint64_t bytes, uint64_t *offset, GError **error);
/* References to a cluster: how many there are; so many more, or fewer (of which one stays). */
bool qcow2_offline_count(Qcow2Offline *o, uint64_t offset, uint64_t *count, GError **error);
bool qcow2_offline_share(Qcow2Offline *o, uint64_t offset, int more, GError **error);
/* Drops a reference to each cluster of the range: nothing on disk shows them. */
bool qcow2_offline_drop(Qcow2Offline *o, uint64_t offset, uint64_t bytes, GError **error);
/* Adds a reference to (add 1), or drops one of (add -1), everything that an L1 table in the host's
 * byte order shows. */
bool qcow2_offline_refer(Qcow2Offline *o, const uint64_t *l1, uint32_t entries, int add,
                         GError **error);
/* Makes COPIED of the active tables tell the truth; an entry of `all_shared` tables has it off. */
bool qcow2_offline_flags(Qcow2Offline *o, bool all_shared, GError **error);

/* A table of 64-bit entries, to and from the host's byte order. NULL: error. */
uint64_t *qcow2_offline_read(Qcow2Offline *o, uint64_t offset, uint32_t entries, GError **error);
bool qcow2_offline_write(Qcow2Offline *o, uint64_t offset, const uint64_t *table, uint32_t entries,
                         GError **error);
bool qcow2_offline_write_bytes(Qcow2Offline *o, uint64_t offset, const void *data, uint64_t bytes,
                               GError **error);
/* Writes size and L1 table, or the snapshot table, into the header in one sector, and flushes. */
bool qcow2_offline_show_l1(Qcow2Offline *o, uint64_t offset, uint32_t entries, uint64_t size,
                           GError **error);
bool qcow2_offline_show_snapshots(Qcow2Offline *o, uint64_t offset, uint32_t count, GError **error);
/* Another active L1 table, whose references are counted and which is on the disk, takes the place
 * of the present one; the old one's references are dropped. */
bool qcow2_offline_replace_l1(Qcow2Offline *o, uint64_t offset, uint32_t entries, uint64_t size,
                              GError **error);

#endif
