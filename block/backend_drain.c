/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Back ends at rest: waiting for the requests under way, holding back new ones, and letting those
 * that an error policy keeps go on. */
#include <errno.h>
#include "block/backend.h"

/* ---- Draining ---- */

typedef struct DrainWaiter {
    BlockQueue *queue;
    bool cancel;
    GMutex lock;
    GCond cond;
    bool done;
} DrainWaiter;

void queue_drained(BlockQueue *queue)
{
    DrainWaiter *waiter = queue->drain;
    queue->drain = NULL;
    g_mutex_lock(&waiter->lock);
    waiter->done = true;
    g_cond_signal(&waiter->cond);
    g_mutex_unlock(&waiter->lock);
}

static BlockRequest *take_list(BlockRequest **head, BlockRequest ***tail)
{
    BlockRequest *list = *head;
    *head = NULL;
    *tail = head;
    return list;
}

static void drain_begin(void *opaque)
{
    DrainWaiter *waiter = opaque;
    BlockQueue *queue = waiter->queue;
    BlockRequest *kept = waiter->cancel ? take_list(&queue->kept, &queue->kept_tail) : NULL;
    while (kept) {
        BlockRequest *next = kept->next;
        queue->in_flight++;
        block_request_complete_later(kept, -ECANCELED);
        kept = next;
    }
    queue->drain = waiter;
    if (!queue->in_flight) {
        queue_drained(queue);
    }
}

static void drain_queue(BlockQueue *queue, bool cancel)
{
    DrainWaiter waiter = { .queue = queue, .cancel = cancel };
    g_mutex_init(&waiter.lock);
    g_cond_init(&waiter.cond);
    event_loop_call(queue->loop, drain_begin, &waiter);
    if (event_loop_is_current(queue->loop)) {
        while (!waiter.done) {
            g_main_context_iteration(NULL, TRUE);
        }
    }
    g_mutex_lock(&waiter.lock);
    while (!waiter.done) {
        g_cond_wait(&waiter.cond, &waiter.lock);
    }
    g_mutex_unlock(&waiter.lock);
    g_mutex_clear(&waiter.lock);
    g_cond_clear(&waiter.cond);
}

/* What drivers hold back goes at once, from begin to end. */
static void drain_tree(BlockNode *node, bool begin)
{
    if (node) {
        if (node->driver->drain) {
            node->driver->drain(node, begin);
        }
        for (guint i = 0; node->extents && i < node->extents->len; i++) {
            drain_tree(node->extents->pdata[i], begin);
        }
        drain_tree(node->backing, begin);
        drain_tree(node->data_file, begin);
        drain_tree(node->file, begin);
    }
}

static void drain_all(BlockBackend *backend, bool cancel)
{
    int count = atomic_load(&backend->queue_count);
    throttle_member_drain(&backend->throttle, true);
    drain_tree(backend->node, true);
    for (int i = 0; i < count; i++) {
        drain_queue(atomic_load(&backend->queues[i]), cancel);
    }
    drain_tree(backend->node, false);
    throttle_member_drain(&backend->throttle, false);
}

static void quiesce_tree(BlockNode *node)
{
    if (!node) {
        return;
    }
    if (node->driver->quiesce) {
        node->driver->quiesce(node);
    }
    for (guint i = 0; node->extents && i < node->extents->len; i++) {
        quiesce_tree(node->extents->pdata[i]);
    }
    quiesce_tree(node->backing);
    quiesce_tree(node->data_file);
    quiesce_tree(node->file);
}

void block_backend_drain(BlockBackend *backend)
{
    drain_all(backend, false);
    quiesce_tree(backend->node);
}

void block_backend_cancel_kept(BlockBackend *backend)
{
    drain_all(backend, true);
    quiesce_tree(backend->node);
}

/* ---- What a policy kept ---- */

static void resume_queue(void *opaque)
{
    BlockQueue *queue = opaque;
    queue_submit(queue, take_list(&queue->kept, &queue->kept_tail));
}

static void resume_backend(BlockBackend *backend, void *opaque)
{
    atomic_store(&backend->io_failed, false);
    atomic_store(&backend->io_nospace, false);
    backend_call_queues(backend, resume_queue);
}

void block_resume_stopped(void)
{
    backend_foreach(resume_backend, NULL);
}

/* ---- Pausing ---- */

void backend_call_queues(BlockBackend *backend, void (*fn)(void *queue))
{
    int count = atomic_load(&backend->queue_count);
    for (int i = 0; i < count; i++) {
        BlockQueue *queue = atomic_load(&backend->queues[i]);
        event_loop_call(queue->loop, fn, queue);
    }
}

static void pause_queue(void *opaque)
{
    ((BlockQueue *)opaque)->paused++;
}

static void unpause_queue(void *opaque)
{
    BlockQueue *queue = opaque;
    if (--queue->paused == 0) {
        queue_submit(queue, take_list(&queue->held, &queue->held_tail));
    }
}

static void pause_above(BlockBackend *backend, void *opaque)
{
    if (backend->node && node_is_below(opaque, backend->node)) {
        backend_call_queues(backend, pause_queue);
    }
}

static void drain_above(BlockBackend *backend, void *opaque)
{
    if (backend->node && node_is_below(opaque, backend->node)) {
        block_backend_drain(backend);
    }
}

static void unpause_above(BlockBackend *backend, void *opaque)
{
    if (backend->node && node_is_below(opaque, backend->node)) {
        backend_call_queues(backend, unpause_queue);
    }
}

void block_node_pause(BlockNode *node)
{
    backend_foreach(pause_above, node);
    backend_foreach(drain_above, node);
}

void block_node_resume(BlockNode *node)
{
    backend_foreach(unpause_above, node);
}

static void pause_one(BlockBackend *backend, void *opaque)
{
    backend_call_queues(backend, pause_queue);
}

static void drain_one(BlockBackend *backend, void *opaque)
{
    block_backend_drain(backend);
}

static void unpause_one(BlockBackend *backend, void *opaque)
{
    backend_call_queues(backend, unpause_queue);
}

void block_pause_all(void)
{
    backend_foreach(pause_one, NULL);
    backend_foreach(drain_one, NULL);
}

void block_resume_all(void)
{
    backend_foreach(unpause_one, NULL);
}
