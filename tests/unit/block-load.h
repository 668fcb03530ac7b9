/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's work on a disk, at random and from several loops at once, with a model of what the disk
 * has to hold. Every read is compared with it.
 */
#ifndef TESTS_UNIT_BLOCK_LOAD_H
#define TESTS_UNIT_BLOCK_LOAD_H

#include "block/internal.h"
#include "vmm/util/bytes.h"

#define LOAD_SLOTS 24
#define LOAD_LOOPS 3

typedef struct BlockLoad BlockLoad;

typedef struct LoadSlot {
    BlockRequest request;
    BlockLoad *load;
    int loop;
    bool busy, verify_discard;
    struct iovec iov[3];
    uint8_t *data;
    uint64_t offset, bytes;
    LoopTask task;
} LoadSlot;

struct BlockLoad {
    BlockBackend *backend;
    EventLoop *loops[LOAD_LOOPS];
    uint8_t *model; /* of size bytes */
    uint64_t size;
    GRand *rand;
    GMutex lock;
    GCond cond;
    int in_flight;
    LoadSlot slots[LOAD_SLOTS];
    GThread *thread; /* of load_begin() */
    bool stop;
};

void load_init(BlockLoad *load, uint64_t size, uint32_t seed); /* with loops that run */
void load_free(BlockLoad *load);
/* The disk that is worked on; adds the loops to it. */
void load_attach(BlockLoad *load, BlockBackend *backend);
/* So many requests, all of them waited for. */
void load_work(BlockLoad *load, int count);
/* Work without end, beside the caller; load_end() waits until the last request has ended. */
void load_begin(BlockLoad *load);
void load_end(BlockLoad *load);
void load_fill(GRand *rand, uint8_t *data, uint64_t bytes); /* random bytes */

#endif
