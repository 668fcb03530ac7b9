/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copying jobs, as the monitor starts them. Main thread. */
#ifndef BLOCK_JOBS_MIRROR_H
#define BLOCK_JOBS_MIRROR_H

#include "block/jobs/job.h"

typedef enum MirrorSync { MIRROR_FULL, MIRROR_TOP, MIRROR_NONE, MIRROR_BITMAP } MirrorSync;

typedef struct JobCommon {
    const char *id; /* NULL: the device's name */
    uint64_t speed;
    bool auto_finalize, auto_dismiss;
} JobCommon;

typedef struct MirrorOptions {
    JobCommon common;
    MirrorSync sync;
    uint64_t granularity; /* bytes, 0: chosen */
    bool commit;          /* the target is in the source's own chain: block-commit's active form */
    bool target_is_zero;  /* new: what reads as zeroes need not be written */
} MirrorOptions;
/* `device`: the name that answers give the source. */
bool mirror_start(BlockNode *source, BlockNode *target, const char *device,
                  const MirrorOptions *options, GError **error);

/* Copies what nodes between top and base decide into top, which then stands on base (NULL: on
 * nothing). backing_file: what the image shall say; NULL: base's name. */
bool stream_start(BlockNode *top, BlockNode *base, const char *device, const char *backing_file,
                  const JobCommon *common, GError **error);

/* Copies what top and nodes below it down to base decide into base; what stood on top stands on
 * base then. active: the chain's first node. */
bool commit_start(BlockNode *active, BlockNode *top, BlockNode *base, const char *device,
                  const char *backing_file, const JobCommon *common, GError **error);

/* What becomes of a backup's bitmap: what was copied is forgotten ... */
typedef enum BackupBitmapMode {
    BACKUP_BITMAP_ON_SUCCESS, /* when all of it was */
    BACKUP_BITMAP_NEVER,
    BACKUP_BITMAP_ALWAYS, /* also when only a part of it was */
} BackupBitmapMode;

/* Copies the disk as it is now, whatever is written to it meanwhile. bitmap (NULL: none) is of the
 * source; with MIRROR_BITMAP it says what is copied. */
bool backup_start(BlockNode *source, BlockNode *target, MirrorSync sync, struct BlockBitmap *bitmap,
                  BackupBitmapMode bitmap_mode, const char *device, const JobCommon *common,
                  GError **error);

#endif
