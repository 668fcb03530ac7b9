/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of back ends share: backend.c, backend_drain.c. */
#ifndef BLOCK_BACKEND_H
#define BLOCK_BACKEND_H

#include "block/internal.h"

/* Written by the loop's thread only; statistics are read from others. */
struct BlockQueue {
    EventLoop *loop;
    BlockBackend *backend;
    BlockNode *node;          /* where requests go; NULL: no medium */
    ThrottleMember *throttle; /* NULL: no limits */
    unsigned in_flight;
    struct DrainWaiter *drain;
    BlockRequest *kept, **kept_tail; /* by a "stop" policy */
    BlockRequest *held, **held_tail; /* came while paused */
    unsigned paused;
    struct QueueLatency *latency; /* NULL: no histograms are wanted */
    BlockStats stats;
};

/* backend.c. On the queue's loop: what was kept or held back goes its way. */
void queue_submit(BlockQueue *queue, BlockRequest *list);

/* backend_drain.c. On the queue's loop: the last request that a drain waits for has ended. */
void queue_drained(BlockQueue *queue);
/* Calls fn for each queue, on its loop, and waits. Main thread. */
void backend_call_queues(BlockBackend *backend, void (*fn)(void *queue));

#endif
