/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small frames for a tap, written in batches through an io_uring of their own. */
#include "net/tap-batch.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <unistd.h>
#include "net/internal.h"

#define RING_MIN 3 /* fewer frames go faster by write(2) */

struct TapBatch {
    int fd;
    bool use_ring, ring_ready;
    struct io_uring ring;
    unsigned count;
    size_t used; /* bytes of the arena */
    struct iovec frames[TAP_BATCH_FRAMES];
    bool kept[TAP_BATCH_FRAMES]; /* while flushing: the kernel had no room */
    uint8_t arena[TAP_BATCH_FRAMES * TAP_BATCH_FRAME_MAX];
};

TapBatch *tap_batch_new(int fd, bool use_ring)
{
    TapBatch *b = g_new0(TapBatch, 1);
    b->fd = fd;
    b->use_ring = use_ring;
    return b;
}

void tap_batch_free(TapBatch *b)
{
    if (b && b->ring_ready) {
        io_uring_queue_exit(&b->ring);
    }
    g_free(b);
}

bool tap_batch_full(const TapBatch *b)
{
    return b->count == TAP_BATCH_FRAMES;
}

bool tap_batch_empty(const TapBatch *b)
{
    return b->count == 0;
}

void tap_batch_drop(TapBatch *b)
{
    b->count = 0;
    b->used = 0;
}

void tap_batch_add(TapBatch *b, const struct iovec *iov, int iov_count)
{
    uint8_t *to = b->arena + b->used;
    size_t len = net_iov_gather(to, TAP_BATCH_FRAME_MAX, iov, iov_count);
    b->frames[b->count++] = (struct iovec){ .iov_base = to, .iov_len = len };
    b->used += len;
}

/* The file is not registered: the kernel would keep the interface for a while after the exit. */
static bool ring_open(TapBatch *b)
{
    if (!b->ring_ready && b->use_ring) {
        b->use_ring = io_uring_queue_init(TAP_BATCH_FRAMES, &b->ring, 0) == 0;
        b->ring_ready = b->use_ring;
    }
    return b->ring_ready;
}

/* Whether the kernel has no room for it. */
static bool write_one(TapBatch *b, unsigned i)
{
    ssize_t n;
    do {
        n = write(b->fd, b->frames[i].iov_base, b->frames[i].iov_len);
    } while (n < 0 && errno == EINTR);
    return n < 0 && errno == EAGAIN;
}

static void write_each(TapBatch *b)
{
    bool full = false;
    for (unsigned i = 0; i < b->count; i++) {
        full = full || write_one(b, i);
        b->kept[i] = full;
    }
}

/* The writes do not block, so they are done when the call returns. */
static void write_by_ring(TapBatch *b)
{
    unsigned left = b->count;
    for (unsigned i = 0; i < b->count; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);
        io_uring_prep_write(sqe, b->fd, b->frames[i].iov_base, b->frames[i].iov_len, 0);
        sqe->user_data = i;
    }
    while (left) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        int ret = io_uring_submit_and_wait(&b->ring, left);
        if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY) {
            break;
        }
        io_uring_for_each_cqe(&b->ring, head, cqe)
        {
            b->kept[cqe->user_data] = cqe->res == -EAGAIN && write_one(b, cqe->user_data);
            seen++;
        }
        io_uring_cq_advance(&b->ring, seen);
        left -= seen;
    }
}

/* Moves the kept frames to the front of the arena. */
static void keep_rest(TapBatch *b)
{
    unsigned count = 0;
    b->used = 0;
    for (unsigned i = 0; i < b->count; i++) {
        if (b->kept[i]) {
            struct iovec frame = b->frames[i];
            memmove(b->arena + b->used, frame.iov_base, frame.iov_len);
            b->frames[count++] = (struct iovec){ b->arena + b->used, frame.iov_len };
            b->used += frame.iov_len;
        }
    }
    b->count = count;
}

bool tap_batch_flush(TapBatch *b)
{
    memset(b->kept, 0, b->count);
    if (b->count >= RING_MIN && ring_open(b)) {
        write_by_ring(b);
    } else {
        write_each(b);
    }
    keep_rest(b);
    return b->count == 0;
}
