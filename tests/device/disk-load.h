/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device test kit: random work on a virtio-blk disk by several queues at once, with a model of
 * what it has to hold. Every read is compared with it.
 */
#ifndef TESTS_DEVICE_DISK_LOAD_H
#define TESTS_DEVICE_DISK_LOAD_H

#include "tests/device/libqtest.h"

#define LOAD_QUEUES 4
#define LOAD_DEPTH  4 /* requests of a queue at a time */
#define LOAD_PART   (32u << 10)

typedef struct LoadSlot {
    uint64_t header, data, status; /* guest addresses */
    bool busy;
    uint16_t head;
    unsigned number; /* of its queue's requests */
    uint32_t type;
    uint64_t offset, bytes;
    bool learns; /* a read of what a discard left */
} LoadSlot;

typedef struct DiskLoad {
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *queues[LOAD_QUEUES];
    unsigned numbers[LOAD_QUEUES]; /* of the next request */
    LoadSlot slots[LOAD_QUEUES][LOAD_DEPTH];
    GRand *rand;
    uint8_t *model; /* of `most` bytes: zeroes behind `size` */
    uint64_t size, most;
    /* While requests are waited for; may be NULL. Set after disk_load_open(). */
    void (*idle)(struct DiskLoad *d, void *opaque);
    void *opaque;
} DiskLoad;

/* The first virtio-blk function, with four queues; the disk is of `size` bytes, all zeroes, and
 * becomes `most` at most. */
void disk_load_open(DiskLoad *d, QTest *qts, uint64_t size, uint64_t most, GRand *rand);
void disk_load_close(DiskLoad *d); /* nothing is under way */
/* So many more requests; what is under way at the end stays so. */
void disk_load_work(DiskLoad *d, unsigned count);
void disk_load_wait(DiskLoad *d); /* until nothing is under way */
/* The disk has another size; nothing is under way. */
void disk_load_resized(DiskLoad *d, uint64_t size);
/* Flushes, and compares the whole disk with the model. */
void disk_load_check(DiskLoad *d);

#endif
