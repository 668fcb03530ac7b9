/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of the block layer: a drive on a file, a loop that works on it, requests that are waited
 * for. */
#ifndef TESTS_UNIT_DISK_KIT_H
#define TESTS_UNIT_DISK_KIT_H

#include "block/block.h"
#include "block/internal.h"

#define IMAGE_SIZE (4 * 1024 * 1024)

typedef struct Disk {
    EventLoop *loop;
    char *path;
    Drive *drive;
    BlockBackend *backend;
    GMutex lock;
    GCond cond;
    int pending;
} Disk;

typedef struct Io {
    BlockRequest request;
    Disk *disk;
    int ret, calls;
    bool inside; /* done was called inside block_submit() */
} Io;

/* A file of that content (NULL: zeroes) in the build tree, not /tmp: tmpfs has no O_DIRECT. The
 * name is disk_open()'s. */
char *disk_make_image(const void *data, size_t size);
/* Takes over the path. False, and the test skipped: there is no such engine here. */
bool disk_open(Disk *disk, LoopEngine engine, char *path, const char *options);
void disk_close(Disk *disk);
/* Begins a request, on the disk's loop. */
void io_start(Disk *disk, Io *io, BlockOp op, uint64_t offset, uint64_t bytes,
              const struct iovec *iov, int count, unsigned flags);
/* Until all requests have ended. */
void disk_wait(Disk *disk);
/* One request, waited for: its result. */
int io_run(Disk *disk, BlockOp op, uint64_t offset, uint64_t bytes, void *data, unsigned flags);
void disk_fill(uint8_t *data, size_t bytes, unsigned seed);
/* The whole file (g_free). */
uint8_t *disk_read_image(Disk *disk, size_t *size);

#endif
