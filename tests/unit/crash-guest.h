/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that works on drive "d0", several requests at a time, with a model of what the disk may
 * hold when the power fails.
 */
#ifndef TESTS_UNIT_CRASH_GUEST_H
#define TESTS_UNIT_CRASH_GUEST_H

#include "block/block.h"
#include "tests/unit/crash-model.h"
#include "tests/unit/power-kit.h"

#define GUEST_SLOTS 8

typedef struct GuestSlot {
    BlockRequest request;
    struct CrashGuest *guest;
    bool busy;
    uint8_t *data;
    struct iovec iov;
    LoopTask task;
    uint64_t first, count; /* sectors */
    uint32_t value;
    unsigned issued;
} GuestSlot;

typedef struct CrashGuest {
    Power *power;
    BlockBackend *backend;
    EventLoop *loop;
    GRand *rand;
    CrashModel model;
    GMutex lock; /* guards model, slots, in_flight, stop */
    GCond cond;
    int in_flight;
    GuestSlot slots[GUEST_SLOTS];
    GThread *thread; /* of crash_guest_begin() */
    bool stop;
} CrashGuest;

/* Its power (which is power_used then), its model of a disk of zeroes, its loop. */
void crash_guest_init(CrashGuest *g, uint64_t sectors, uint32_t seed);
void crash_guest_attach(CrashGuest *g); /* to drive d0 */
void crash_guest_detach(CrashGuest *g); /* drives are closed */
void crash_guest_clear(CrashGuest *g);
/* So many requests, all of them waited for. */
void crash_guest_work(CrashGuest *g, int count);
/* Work beside the caller until crash_guest_end(). */
void crash_guest_begin(CrashGuest *g);
void crash_guest_end(CrashGuest *g);

#endif
