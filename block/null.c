/* SPDX-License-Identifier: GPL-2.0-or-later */
/* null-co and null-aio: a disk without storage, to measure everything above it. */
#include "block/internal.h"

typedef struct NullState {
    uint64_t latency_ns;
    bool read_zeroes;
} NullState;

static_assert(sizeof(Timer) <= sizeof(((AioRequest *)0)->engine_data), "the timer fits");

static bool null_open(BlockNode *node, Opts *options, GError **error)
{
    NullState *s = node->state;
    uint64_t size = 1ULL << 30;
    if (!opts_get_size(options, "size", &size, error) ||
        !opts_get_uint(options, "latency-ns", INT64_MAX, &s->latency_ns, error) ||
        !opts_get_bool(options, "read-zeroes", &s->read_zeroes, error)) {
        return false;
    }
    if (size > INT64_MAX) {
        return error_set(error, "size %" G_GUINT64_FORMAT ": a disk has at most 2^63 - 1 bytes",
                         size);
    }
    node->filename = g_strdup_printf("%s://", node->driver->name);
    atomic_store(&node->length, size);
    node->limits = (BlockLimits){ .request_alignment = 1,
                                  .logical_block = 512,
                                  .physical_block = 512,
                                  .max_iov = 1024,
                                  .discard_granularity = 512,
                                  .has_write_zeroes = true };
    return true;
}

static void null_close(BlockNode *node)
{
}

static void null_fire(void *opaque)
{
    block_request_complete(opaque, 0);
}

static void null_submit(BlockNode *node, BlockRequest *request)
{
    NullState *s = node->state;
    if (request->kind == BLOCK_STATUS) {
        *request->status = (BlockStatus){
            .flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET |
                     (s->read_zeroes ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA),
            .bytes = request->bytes,
            .host_offset = request->position,
            .file = node,
        };
    }
    if (request->kind == BLOCK_READ && s->read_zeroes) {
        iov_zero_from(request->kiov, request->kiov_count, 0);
    }
    if (!s->latency_ns) {
        block_request_complete_later(request, 0);
        return;
    }
    Timer *timer = (Timer *)request->aio.engine_data;
    timer_init(timer, request->loop, VM_CLOCK_REALTIME, NULL, null_fire, request);
    timer_arm(timer, clock_now(VM_CLOCK_REALTIME) + (int64_t)s->latency_ns);
}

static int null_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write)
{
    NullState *s = node->state;
    if (!write && s->read_zeroes) {
        memset(data, 0, bytes);
    }
    return 0;
}

static int null_flush(BlockNode *node)
{
    return 0;
}

static const char *const null_options[] = { "size", "latency-ns", "read-zeroes", NULL };

#define NULL_DRIVER(id)                                                                            \
    {                                                                                              \
        .name = id, .desc = "A disk without storage", .state_size = sizeof(NullState),             \
        .options = null_options, .open = null_open, .close = null_close, .submit = null_submit,    \
        .transfer = null_transfer, .flush = null_flush,                                            \
    }

const BlockDriver null_co_driver = NULL_DRIVER("null-co");
const BlockDriver null_aio_driver = NULL_DRIVER("null-aio");
