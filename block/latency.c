/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See latency.h. Bins are replaced on the loop that counts in them. */
#include "block/latency.h"

#include <string.h>
#include "block/backend.h"
#include "block/qmp.h"

/* Bins and where they end: the boundaries are the back end's, in a copy. */
typedef struct Histogram {
    unsigned count; /* boundaries; there is one more bin */
    uint64_t *bins, *bounds;
} Histogram;

struct QueueLatency {
    Histogram kinds[LATENCY_KINDS]; /* bins NULL: none */
};

/* ---- Counting ---- */

static void count_in(Histogram *h, uint64_t ns)
{
    unsigned low = 0, high = h->count;
    while (low < high) { /* the first boundary behind ns */
        unsigned middle = low + (high - low) / 2;
        if (h->bounds[middle] <= ns) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    __atomic_store_n(&h->bins[low], h->bins[low] + 1, __ATOMIC_RELAXED);
}

void latency_count(QueueLatency *latency, BlockOp op, uint64_t ns)
{
    LatencyKind kind = op == BLOCK_READ    ? LATENCY_READ
                       : op == BLOCK_FLUSH ? LATENCY_FLUSH
                                           : LATENCY_WRITE;
    bool counts = op == BLOCK_READ || op == BLOCK_WRITE || op == BLOCK_WRITE_ZEROES ||
                  op == BLOCK_FLUSH;
    if (counts && latency->kinds[kind].bins) {
        count_in(&latency->kinds[kind], ns);
    }
}

/* ---- Setting ---- */

static void clear_histogram(Histogram *h)
{
    g_clear_pointer(&h->bins, g_free);
    g_clear_pointer(&h->bounds, g_free);
    h->count = 0;
}

static void take_bounds(Histogram *h, const LatencyBounds *bounds)
{
    clear_histogram(h);
    if (bounds) {
        h->count = bounds->count;
        h->bins = g_new0(uint64_t, bounds->count + 1);
        h->bounds = g_new(uint64_t, bounds->count + 1);
        memcpy(h->bounds, bounds->at, bounds->count * sizeof(uint64_t));
    }
}

static void free_queue(BlockQueue *queue)
{
    for (int i = 0; queue->latency && i < LATENCY_KINDS; i++) {
        clear_histogram(&queue->latency->kinds[i]);
    }
    g_clear_pointer(&queue->latency, g_free);
}

typedef struct Change {
    BlockQueue *queue;
    LatencyKind kind;
} Change;

/* On the queue's loop. */
static void change_queue(void *opaque)
{
    const Change *change = opaque;
    BlockQueue *queue = change->queue;
    LatencyBounds *const *bounds = queue->backend->latency;
    if (!queue->latency) {
        queue->latency = g_new0(QueueLatency, 1);
    }
    take_bounds(&queue->latency->kinds[change->kind], bounds[change->kind]);
    if (!bounds[LATENCY_READ] && !bounds[LATENCY_WRITE] && !bounds[LATENCY_FLUSH]) {
        free_queue(queue);
    }
}

void latency_set(BlockBackend *backend, LatencyKind kind, LatencyBounds *bounds)
{
    int count = atomic_load(&backend->queue_count);
    if (!bounds && !backend->latency[kind]) {
        return;
    }
    g_free(backend->latency[kind]);
    backend->latency[kind] = bounds;
    for (int i = 0; i < count; i++) {
        Change change = { atomic_load(&backend->queues[i]), kind };
        event_loop_call(change.queue->loop, change_queue, &change);
    }
}

void latency_add_queue(BlockQueue *queue)
{
    for (int kind = 0; kind < LATENCY_KINDS; kind++) {
        if (queue->backend->latency[kind]) {
            Change change = { queue, (LatencyKind)kind };
            change_queue(&change);
        }
    }
}

void latency_free(BlockBackend *backend)
{
    int count = atomic_load(&backend->queue_count);
    for (int i = 0; i < count; i++) {
        free_queue(atomic_load(&backend->queues[i]));
    }
    for (int kind = 0; kind < LATENCY_KINDS; kind++) {
        g_clear_pointer(&backend->latency[kind], g_free);
    }
}

/* ---- Telling ---- */

static uint64_t sum_of(BlockBackend *backend, LatencyKind kind, unsigned bin)
{
    int count = atomic_load(&backend->queue_count);
    uint64_t sum = 0;
    for (int i = 0; i < count; i++) {
        const QueueLatency *latency = ((BlockQueue *)atomic_load(&backend->queues[i]))->latency;
        sum += latency ? __atomic_load_n(&latency->kinds[kind].bins[bin], __ATOMIC_RELAXED) : 0;
    }
    return sum;
}

void latency_describe(BlockBackend *backend, json_object *stats)
{
    static const char *const names[] = { "rd_latency_histogram", "wr_latency_histogram",
                                         "flush_latency_histogram" };
    for (int kind = 0; kind < LATENCY_KINDS; kind++) {
        const LatencyBounds *bounds = backend->latency[kind];
        if (!bounds) {
            continue;
        }
        json_object *info = json_object_new_object(), *at = json_object_new_array(),
                    *bins = json_object_new_array();
        for (unsigned i = 0; i <= bounds->count; i++) {
            uint64_t sum = sum_of(backend, (LatencyKind)kind, i);
            json_object_array_add(bins, json_object_new_uint64(sum));
            if (i < bounds->count) {
                json_object_array_add(at, json_object_new_uint64(bounds->at[i]));
            }
        }
        json_object_object_add(info, "boundaries", at);
        json_object_object_add(info, "bins", bins);
        json_object_object_add(stats, names[kind], info);
    }
}

/* ---- The command ---- */

static uint64_t number(json_object *list, size_t i)
{
    return json_object_get_uint64(json_object_array_get_idx(list, i));
}

/* NULL: they do not rise, or begin with 0. */
static LatencyBounds *read_bounds(json_object *list)
{
    size_t count = json_object_array_length(list);
    LatencyBounds *bounds = g_malloc(sizeof(*bounds) + count * sizeof(uint64_t));
    bounds->count = (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        bounds->at[i] = number(list, i);
        if (bounds->at[i] <= (i ? bounds->at[i - 1] : 0)) {
            g_free(bounds);
            return NULL;
        }
    }
    return bounds;
}

static json_object *set_histograms(const void *opaque, GError **error)
{
    const QmpBlockLatencyHistogramSetArgs *args = opaque;
    static const char *const names[] = { "read", "write", "flush" };
    json_object *const own[] = { args->boundaries_read, args->boundaries_write,
                                 args->boundaries_flush };
    BlockBackend *backend = block_backend_find(NULL, args->id, error);
    bool off = !args->boundaries && !own[0] && !own[1] && !own[2];
    if (!backend) {
        return NULL;
    }
    for (int kind = 0; kind < LATENCY_KINDS; kind++) {
        json_object *list = own[kind] ? own[kind] : args->boundaries;
        LatencyBounds *bounds = list ? read_bounds(list) : NULL;
        if (list && !bounds) {
            error_set(error, "'%s': the boundaries for %s do not rise from above 0", args->id,
                      names[kind]);
            return NULL;
        }
        if (bounds || off) {
            latency_set(backend, (LatencyKind)kind, bounds);
        }
    }
    return qmp_ok();
}

static const QmpHandler qmp[] = {
    { "block-latency-histogram-set", set_histograms },
    { NULL },
};

const MonitorCommands latency_commands = { .qmp = qmp };
