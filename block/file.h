/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file and host_device drivers: state shared by file.c (opening), file_io.c (requests) and
 * file_grow.c, file_lock.c. */
#ifndef BLOCK_FILE_H
#define BLOCK_FILE_H

#include "block/internal.h"

typedef struct FileState {
    int fd;
    bool block_device;
    bool generic; /* a SCSI device without blocks: takes commands only */
    bool locking;
    AioEngine engine;
    bool engine_required; /* the user named it */
    AioLane *lane;        /* of writes through the page cache; NULL: the engine does them */
    uint32_t offset_mask; /* alignment - 1 of offsets and lengths: 0 without O_DIRECT */
    uint32_t memory_mask;
    _Atomic bool no_punch, no_zero_range, no_dsync;
    /* Once a flush failed, the kernel has dropped what it could not write: no later flush may claim
     * success. Not with O_DIRECT. */
    _Atomic bool flush_failed;
    /* Of query-blockstats. */
    _Atomic uint64_t discards_done, discards_failed, discarded_bytes;
    GMutex size_lock;          /* leaf; worker threads: who makes the file longer. file_grow.c. */
    _Atomic uint64_t used_end; /* of a regular file: more than this is only grown ahead */
    GMutex rmw_lock; /* leaf; worker threads: parts of aligned blocks are rewritten one by one */
} FileState;

/* file_lock.c */
bool file_lock_supported(int fd);
bool file_lock_apply(int fd, const char *filename, unsigned perm, unsigned shared, GError **error);

/* file_grow.c. A write up to `end` is about to be submitted: whether file_grow() must come first.
 * Any thread. */
bool file_must_grow(BlockNode *node, uint64_t end);
/* 0 or -errno; may block. */
int file_grow(BlockNode *node, uint64_t end);
/* The file has this size now. Nothing is under way. */
void file_set_size(BlockNode *node, uint64_t size);
/* Cuts what was only grown ahead. Nothing is under way. */
void file_trim(BlockNode *node);

/* file_io.c */
void file_submit(BlockNode *node, BlockRequest *request);
int file_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write);
int file_flush(BlockNode *node);
/* copy_file_range(2), whole; -ENOTSUP where the host does not do it. Any thread; blocking. */
int file_copy_range(BlockNode *from, uint64_t from_offset, BlockNode *to, uint64_t to_offset,
                    uint64_t bytes);

#endif
