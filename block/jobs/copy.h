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
} CopyTeam;
/* Runs the team's threads to their end: 0 or -errno. */
int copy_team_run(CopyTeam *team, unsigned threads);
void copy_team_fail(CopyTeam *team, int ret); /* the first one counts */

typedef struct CopyWay {
    BlockNode *source, *target;
    unsigned zero_flags; /* of what is written as zeroes */
    uint32_t compressed; /* written so, in clusters of this size; 0: plainly */
} CopyWay;
/* Copies what the source reads as to the target; what reads as zeroes there is written so. On
 * failure *reading says which of the two failed. Blocking. */
int copy_range(const CopyWay *way, uint64_t offset, uint64_t bytes, uint8_t *buffer, bool *reading);
/* log2 of the least that may be written at once, at least `bits`: a cluster where the image's
 * backing file is not open, from which the rest of it would have to come. */
unsigned copy_target_bits(BlockNode *target, unsigned bits);

#endif
