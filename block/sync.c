/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocking access for tools, boot and the main thread's own work on images. What a driver cannot do
 * without an event loop goes to a loop that the layer starts when it is first needed.
 */
#include <errno.h>
#include "block/internal.h"
#include "vmm/util/bytes.h"

static GMutex loop_lock; /* leaf */
static EventLoop *sync_loop;

EventLoop *sync_loop_get(void)
{
    g_mutex_lock(&loop_lock);
    if (!sync_loop) {
        g_autoptr(GError) error = NULL;
        sync_loop = event_loop_new("block", LOOP_ENGINE_AUTO, &error);
        if (!sync_loop || !event_loop_start(sync_loop, &error)) {
            report_error("the block layer's thread: %s", error->message);
            g_clear_pointer(&sync_loop, event_loop_free);
        }
    }
    EventLoop *loop = sync_loop;
    g_mutex_unlock(&loop_lock);
    return loop;
}

void sync_loop_stop(void)
{
    g_clear_pointer(&sync_loop, event_loop_free);
}

typedef struct SyncCall {
    BlockRequest request;
    LoopTask task;
    BlockNode *node;
    GMutex lock;
    GCond cond;
    bool done;
    int ret;
} SyncCall;

static void call_complete(BlockRequest *request, int ret)
{
    SyncCall *call = request->opaque;
    block_request_release(request);
    g_mutex_lock(&call->lock);
    call->ret = ret;
    call->done = true;
    g_cond_signal(&call->cond);
    g_mutex_unlock(&call->lock);
}

static void call_submit(void *opaque)
{
    SyncCall *call = opaque;
    block_node_submit(call->node, &call->request);
}

static int run(BlockNode *node, BlockOp op, uint64_t offset, uint64_t bytes,
               const struct iovec *iov, unsigned flags, BlockStatus *status)
{
    SyncCall call = { .node = node, .task = LOOP_TASK_INIT(call_submit, &call) };
    EventLoop *loop = sync_loop_get();
    if (!loop) {
        return -ENOMEM;
    }
    g_assert(!event_loop_current() || event_loop_is_main(event_loop_current()));
    block_request_init(&call.request, loop, op, offset, bytes, iov, iov ? 1 : 0, flags,
                       call_complete, &call);
    call.request.status = status;
    g_mutex_init(&call.lock);
    g_cond_init(&call.cond);
    event_loop_post(loop, &call.task);
    g_mutex_lock(&call.lock);
    while (!call.done) {
        g_cond_wait(&call.cond, &call.lock);
    }
    g_mutex_unlock(&call.lock);
    g_mutex_clear(&call.lock);
    g_cond_clear(&call.cond);
    return call.ret;
}

/* ---- Without a look at the length ---- */

static int transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write)
{
    if (!bytes) {
        return 0;
    }
    if (node->driver->transfer) {
        if (write && offset + bytes > atomic_load(&node->watermark)) {
            node_note_write(node, offset + bytes);
        }
        if (write && G_UNLIKELY(node->recording)) {
            node_record_write(node, offset, bytes);
        }
        return node->driver->transfer(node, offset, data, bytes, write);
    }
    struct iovec iov = { data, bytes };
    return run(node, write ? BLOCK_WRITE : BLOCK_READ, offset, bytes, &iov, 0, NULL);
}

int node_pread(BlockNode *node, uint64_t offset, void *data, uint64_t bytes)
{
    return transfer(node, offset, data, bytes, false);
}

int node_pwrite(BlockNode *node, uint64_t offset, const void *data, uint64_t bytes)
{
    return transfer(node, offset, (void *)data, bytes, true);
}

int node_flush(BlockNode *node)
{
    return node->driver->flush ? node->driver->flush(node)
                               : run(node, BLOCK_FLUSH, 0, 0, NULL, 0, NULL);
}

/* ---- Inside the length ---- */

static int check_range(BlockNode *node, uint64_t offset, uint64_t bytes, bool write)
{
    if (!range_inside(offset, bytes, block_node_length(node))) {
        return -EINVAL;
    }
    return write && node->readonly ? -EROFS : 0;
}

int block_pread(BlockNode *node, uint64_t offset, void *data, uint64_t bytes)
{
    int ret = check_range(node, offset, bytes, false);
    return ret ? ret : transfer(node, offset, data, bytes, false);
}

int block_pwrite(BlockNode *node, uint64_t offset, const void *data, uint64_t bytes)
{
    int ret = check_range(node, offset, bytes, true);
    return ret ? ret : transfer(node, offset, (void *)data, bytes, true);
}

int block_pwrite_compressed(BlockNode *node, uint64_t offset, const void *data, uint64_t bytes)
{
    struct iovec iov = { (void *)data, bytes };
    int ret = check_range(node, offset, bytes, true);
    return ret || !bytes ? ret
                         : run(node, BLOCK_WRITE, offset, bytes, &iov, BLOCK_REQ_COMPRESSED, NULL);
}

int block_pwrite_zeroes(BlockNode *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    int ret = check_range(node, offset, bytes, true);
    return ret || !bytes ? ret : run(node, BLOCK_WRITE_ZEROES, offset, bytes, NULL, flags, NULL);
}

int block_discard(BlockNode *node, uint64_t offset, uint64_t bytes)
{
    int ret = check_range(node, offset, bytes, true);
    return ret || !bytes ? ret : run(node, BLOCK_DISCARD, offset, bytes, NULL, 0, NULL);
}

int block_populate(BlockNode *node, uint64_t offset, uint64_t bytes)
{
    int ret = check_range(node, offset, bytes, true);
    return ret || !bytes || !node->backing
               ? ret
               : run(node, BLOCK_POPULATE, offset, bytes, NULL, 0, NULL);
}

int block_flush(BlockNode *node)
{
    return node_flush(node);
}

/* ---- Status ---- */

int block_status(BlockNode *node, uint64_t offset, uint64_t bytes, BlockStatus *status)
{
    int ret = bytes ? check_range(node, offset, bytes, false) : -EINVAL;
    *status = (BlockStatus){ 0 };
    return ret ? ret : run(node, BLOCK_STATUS, offset, bytes, NULL, 0, status);
}

/* The image that filters show. */
static BlockNode *image_of(BlockNode *node)
{
    while (node && node->driver->is_filter && node->file) {
        node = node->file;
    }
    return node;
}

int block_status_above(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t bytes,
                       BlockStatus *status, int *depth)
{
    int level = 0;
    base = image_of(base);
    for (; node && image_of(node) != base; node = node_below(node), level++) {
        if (node->driver->is_filter) {
            continue; /* it decides nothing */
        }
        uint64_t length = block_node_length(node);
        if (offset >= length) { /* the node above is longer than this one */
            *status = (BlockStatus){ .flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED,
                                     .bytes = bytes };
            break;
        }
        int ret = block_status(node, offset, MIN(bytes, length - offset), status);
        if (ret < 0) {
            return ret;
        }
        if (status->flags & BLOCK_STATUS_ALLOCATED) {
            break;
        }
        bytes = status->bytes;
    }
    if (!node || image_of(node) == base) {
        *status = (BlockStatus){ .flags = base ? 0 : BLOCK_STATUS_ZERO, .bytes = bytes };
    }
    if (depth) {
        *depth = level;
    }
    return 0;
}
