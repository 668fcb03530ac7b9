/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copying jobs, as the monitor starts them. Main thread. */
#ifndef BLOCK_JOBS_MIRROR_H
#define BLOCK_JOBS_MIRROR_H

#include "block/jobs/job.h"

typedef enum MirrorSync { MIRROR_FULL, MIRROR_TOP, MIRROR_NONE, MIRROR_BITMAP } MirrorSync;

typedef struct JobCommon {
    const char *id; /* NULL: the drive's name */
    uint64_t speed;
    bool auto_finalize, auto_dismiss;
    JobOnError on_source, on_target; /* jobs with one policy have it in on_source */
    const char *filter;              /* a node of this name stands for the job; NULL: none */
} JobCommon;

typedef struct MirrorOptions {
    JobCommon common;
    MirrorSync sync;
    uint64_t granularity; /* bytes, a power of 2; 0: chosen */
    uint64_t buf_size;    /* bytes that are on their way together at most; 0: chosen */
    bool keep_zeroes;     /* what reads as zeroes takes space at the target all the same */
    bool write_blocking;  /* a write of the guest's has reached the target too when it ends */
    bool commit;          /* the target is in the source's own chain: block-commit's active form */
    bool was_readonly;    /* so the target becomes again when it does not take the source's place */
    bool target_is_zero;  /* new: what reads as zeroes need not be written */
    bool set_backing;     /* the target stands on `backing` (NULL: nothing) when it takes over */
    BlockNode *backing;
    BlockNode *replaces; /* whose place the target takes; NULL: the source's */
} MirrorOptions;
bool mirror_start(BlockNode *source, BlockNode *target, const MirrorOptions *options,
                  GError **error);

/* Copies what nodes between top and base decide into top, which then stands on base (NULL: on
 * nothing). backing_file: what the image shall say; NULL: base's name. */
bool stream_start(BlockNode *top, BlockNode *base, const char *backing_file,
                  const JobCommon *common, GError **error);

/* Copies what top and nodes below it down to base decide into base; what stood on top stands on
 * base then. active: the chain's first node. */
bool commit_start(BlockNode *active, BlockNode *top, BlockNode *base, const char *backing_file,
                  const JobCommon *common, GError **error);

/* What becomes of a backup's bitmap: what was copied is forgotten ... */
typedef enum BackupBitmapMode {
    BACKUP_BITMAP_ON_SUCCESS, /* when all of it was */
    BACKUP_BITMAP_NEVER,
    BACKUP_BITMAP_ALWAYS, /* also when only a part of it was */
} BackupBitmapMode;

/* Copies the disk as it is now, whatever is written to it meanwhile. bitmap (NULL: none) is of the
 * source; with MIRROR_BITMAP it says what is copied. compress: the target's format does. */
typedef struct BackupOptions {
    JobCommon common;
    MirrorSync sync;
    struct BlockBitmap *bitmap;
    BackupBitmapMode bitmap_mode;
    bool compress;
} BackupOptions;
bool backup_start(BlockNode *source, BlockNode *target, const BackupOptions *options,
                  GError **error);

#endif
