/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Latency histograms of back ends (QMP's block-latency-histogram-set). A back end has boundaries
 * for each kind of request, or none; each of its queues counts by itself.
 */
#ifndef BLOCK_LATENCY_H
#define BLOCK_LATENCY_H

#include <glib.h>
#include <json-c/json.h>
#include "block/block.h"

typedef enum LatencyKind { LATENCY_READ, LATENCY_WRITE, LATENCY_FLUSH, LATENCY_KINDS } LatencyKind;

/* Nanoseconds, rising; between two of them lies a bin, another before the first and one behind the
 * last. */
typedef struct LatencyBounds {
    unsigned count;
    uint64_t at[];
} LatencyBounds;

/* What a queue has counted; written by its loop only. */
typedef struct QueueLatency QueueLatency;

/* bounds NULL: no histogram of this kind any more; else they are taken over and all bins are 0.
 * Main thread. */
void latency_set(BlockBackend *backend, LatencyKind kind, LatencyBounds *bounds);
/* A new queue of a back end counts too. Before its first request; main thread. */
struct BlockQueue;
void latency_add_queue(struct BlockQueue *queue);
void latency_free(BlockBackend *backend); /* nothing is submitted any more */
/* A request has ended. On the queue's loop; latency not NULL. */
void latency_count(QueueLatency *latency, BlockOp op, uint64_t ns);
/* Adds "rd_latency_histogram" and its like to query-blockstats' object. Main thread. */
void latency_describe(BlockBackend *backend, json_object *stats);

#endif
