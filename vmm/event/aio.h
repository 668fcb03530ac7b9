/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous file requests of an event loop: SQEs of the loop's own io_uring, libaio, or a pool
 * of worker threads. An AioRequest is embedded in its user's request and belongs to the engine from
 * aio_submit() until done is called, on the same loop, never inside aio_submit(). It completes
 * exactly once.
 */
#ifndef VMM_EVENT_AIO_H
#define VMM_EVENT_AIO_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "vmm/event/loop.h"

typedef enum AioEngine {
    AIO_ENGINE_IO_URING, /* needs a loop that runs on io_uring, else aio_engine_usable() fails */
    AIO_ENGINE_NATIVE,   /* libaio; the file must be O_DIRECT */
    AIO_ENGINE_THREADS,
} AioEngine;

typedef enum AioOp {
    AIO_READ,
    AIO_WRITE,
    AIO_FSYNC,      /* fdatasync */
    AIO_PUNCH_HOLE, /* fallocate, or BLKDISCARD on a block device */
    AIO_ZERO_RANGE, /* fallocate ZERO_RANGE / BLKZEROOUT; -ENOTSUP when the file cannot */
    AIO_ALLOCATE,   /* fallocate(0) */
    AIO_CALL,       /* runs .call in a worker thread; res is what it returns */
} AioOp;

typedef struct AioRequest AioRequest;
struct AioRequest {
    AioOp op;
    int fd;
    int rw_flags; /* RWF_DSYNC for forced unit access */
    bool block_device;
    const struct iovec *iov; /* stays valid until done */
    int iov_count;
    uint64_t offset;
    uint64_t length; /* of fallocate-like operations */
    int (*call)(AioRequest *request);
    void (*done)(AioRequest *request, ssize_t res); /* bytes (may be short) or -errno */
    void *opaque;
    /* private to the engine */
    EventLoop *loop;
    AioRequest *next;
    ssize_t res;
    int64_t engine_data[10];
};

/* Queues the request on the calling thread's loop; what one round queued goes to the kernel in one
 * system call. A request is never refused: where the ring is full it waits its turn. */
void aio_submit(EventLoop *loop, AioEngine engine, AioRequest *request);

/* One worker thread carries out what is submitted to a lane, in order: for writes through the page
 * cache to one file, which the kernel takes one by one. Any number of loops may share it. */
typedef struct AioLane AioLane;
AioLane *aio_lane_new(void);        /* any thread */
void aio_lane_unref(AioLane *lane); /* any thread; NULL is allowed */
void aio_submit_lane(EventLoop *loop, AioLane *lane, AioRequest *request); /* as aio_submit() */

/* Whether the engine works on this host and loop; says why not. Any thread. */
bool aio_engine_usable(EventLoop *loop, AioEngine engine, GError **error);

/* Runs call in a worker thread and done on the loop: AIO_CALL by another name. The loop's thread.
 */
void aio_run_worker(EventLoop *loop, AioRequest *request);

#endif
