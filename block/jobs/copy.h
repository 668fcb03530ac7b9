/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the copying jobs share: the target, and copying a piece of a disk to it. */
#ifndef BLOCK_JOBS_COPY_H
#define BLOCK_JOBS_COPY_H

#include "block/graph.h"
#include "block/jobs/dirty.h"
#include "block/jobs/job.h"

#define COPY_CHUNK_BITS 20 /* 1 MiB: what one copy moves */
#define COPY_THREADS    4

/* Threads that call step() until it returns false (nothing to do, or the end). */
typedef struct CopyTeam {
    bool (*step)(struct CopyTeam *team, uint8_t *buffer); /* buffer: of a chunk */
    size_t buffer_bytes;
    _Atomic int ret;
    const char *_Atomic what; /* that failed: a constant text */
} CopyTeam;
/* Runs the team's threads to their end: 0 or -errno. */
int copy_team_run(CopyTeam *team, unsigned threads);
void copy_team_fail(CopyTeam *team, int ret, const char *what); /* the first one counts */

/* Copies what `source` reads as to the target; what reads as zeroes there is written so. Blocking.
 */
int copy_range(BlockNode *source, BlockNode *target, uint64_t offset, uint64_t bytes,
               uint8_t *buffer);

#endif
