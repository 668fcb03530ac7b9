/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of the mirror job, shared by its background copying and its writes to both sides. */
#ifndef BLOCK_JOBS_MIRROR_STATE_H
#define BLOCK_JOBS_MIRROR_STATE_H

#include "block/jobs/copy.h"
#include "block/jobs/mirror.h"

typedef struct Mirror {
    Job job;
    NodeTracker tracker;
    BlockNode *source, *target;
    BlockBackend *target_backend; /* holds the permissions and locks */
    MirrorOptions options;
    CopyWay way;
    DirtyMap *dirty, *busy;
    GMutex lock; /* looking at chunks, taking them and marking them busy is one step */
    _Atomic uint64_t both_chunks; /* busy with writes to both sides */
    uint64_t cursor;
    CopyTeam team;
    bool tracking, replaced;
} Mirror;

/* mirror_both.c: copy-mode write-blocking. */
/* The loops that write to the source may write to the target. Main thread. */
bool mirror_prepare_loops(Mirror *m, GError **error);
/* Takes over a write whose chunks nobody copies and that are the same on both sides: it goes to
 * both. False: it is followed in the ordinary way. Loop thread. */
bool mirror_write_both(Mirror *m, BlockNode *node, BlockRequest *request);

#endif
