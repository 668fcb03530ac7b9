/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "copy-before-write": what a write is about to change is copied to the node `target`
 * first, once, so that this becomes the disk as it was when the filter was made.
 */
#include <errno.h>
#include "block/internal.h"
#include "block/jobs/dirty.h"
#include "vmm/util/bytes.h"

#define CHUNK_BITS 16

/* A write of the guest's that has to have chunks copied, one after the other. */
typedef struct CbwWrite CbwWrite;
struct CbwWrite {
    BlockNode *node;
    BlockRequest *request; /* the one from above */
    BlockRequest below;
    uint64_t chunk, end;
    struct iovec iov;
    LoopTask task;
    CbwWrite *next; /* of those that wait */
};

typedef struct CbwState {
    BlockNode *target;
    bool break_snapshot;
    _Atomic bool broken; /* the target is no snapshot any more: nothing is copied */
    GMutex lock;         /* leaf */
    DirtyMap *todo, *busy;
    CbwWrite *waiting; /* for chunks that others copy */
} CbwState;

static void go_on(CbwWrite *w);

/* ---- The end of a chunk, and of a write ---- */

static void go_on_here(void *opaque)
{
    go_on(opaque);
}

/* Lock held: whoever waits looks again, on its own loop. */
static void wake_waiting(CbwState *s)
{
    for (CbwWrite *w = g_steal_pointer(&s->waiting), *next; w; w = next) {
        next = w->next;
        w->task = (LoopTask)LOOP_TASK_INIT(go_on_here, w);
        event_loop_post(w->request->loop, &w->task);
    }
}

static void write_free(CbwWrite *w)
{
    g_free(w->iov.iov_base);
    g_free(w);
}

/* The write itself: what is below ends it. */
static void pass(CbwWrite *w)
{
    BlockRequest *request = w->request;
    BlockNode *below = w->node->file;
    write_free(w);
    block_node_submit(below, request);
}

static void chunk_failed(CbwWrite *w, int ret)
{
    CbwState *s = w->node->state;
    BlockRequest *request = w->request;
    bool first = s->break_snapshot && !atomic_exchange(&s->broken, true);
    g_mutex_lock(&s->lock);
    dirty_map_clear(s->busy, w->chunk);
    dirty_map_set(s->todo, w->chunk << CHUNK_BITS, 1);
    wake_waiting(s);
    g_mutex_unlock(&s->lock);
    if (first) {
        report_warning("node '%s': cannot copy to '%s' (%s), which is no snapshot any more",
                       w->node->name, s->target->name, g_strerror(-ret));
    }
    if (s->break_snapshot) {
        pass(w);
        return;
    }
    write_free(w);
    block_request_complete(request, ret);
}

static void chunk_written(BlockRequest *below, int ret)
{
    CbwWrite *w = below->opaque;
    CbwState *s = w->node->state;
    block_request_release(below);
    if (ret < 0) {
        chunk_failed(w, ret);
        return;
    }
    g_mutex_lock(&s->lock);
    dirty_map_clear(s->busy, w->chunk);
    wake_waiting(s);
    g_mutex_unlock(&s->lock);
    w->chunk++;
    go_on(w);
}

/* ---- Copying ---- */

static void submit(CbwWrite *w, BlockNode *node, BlockOp op,
                   void (*complete)(BlockRequest *request, int ret))
{
    bool data = op != BLOCK_WRITE_ZEROES;
    block_request_init(&w->below, w->request->loop, op, w->chunk << CHUNK_BITS, w->iov.iov_len,
                       data ? &w->iov : NULL, data, 0, complete, w);
    block_node_submit(node, &w->below);
}

static void chunk_read(BlockRequest *below, int ret)
{
    CbwWrite *w = below->opaque;
    CbwState *s = w->node->state;
    block_request_release(below);
    if (ret < 0) {
        chunk_failed(w, ret);
    } else {
        submit(w, s->target, iov_is_zero(&w->iov, 1) ? BLOCK_WRITE_ZEROES : BLOCK_WRITE,
               chunk_written);
    }
}

static void copy_chunk(CbwWrite *w)
{
    CbwState *s = w->node->state;
    if (!w->iov.iov_base) {
        w->iov.iov_base = g_malloc(1 << CHUNK_BITS);
    }
    w->iov.iov_len = dirty_map_chunk_bytes(s->todo, w->chunk);
    submit(w, w->node->file, BLOCK_READ, chunk_read);
}

typedef enum CbwTurn { CBW_PASS, CBW_COPY, CBW_WAIT } CbwTurn;

/* Lock held. Takes the next chunk that is to be copied. */
static CbwTurn take_turn(CbwState *s, CbwWrite *w)
{
    for (; w->chunk < w->end && !atomic_load(&s->broken); w->chunk++) {
        if (dirty_map_get(s->busy, w->chunk)) {
            w->next = s->waiting;
            s->waiting = w;
            return CBW_WAIT;
        }
        if (dirty_map_get(s->todo, w->chunk)) {
            dirty_map_clear(s->todo, w->chunk);
            dirty_map_set(s->busy, w->chunk << CHUNK_BITS, 1);
            return CBW_COPY;
        }
    }
    return CBW_PASS;
}

static void go_on(CbwWrite *w)
{
    CbwState *s = w->node->state;
    g_mutex_lock(&s->lock);
    CbwTurn turn = take_turn(s, w);
    g_mutex_unlock(&s->lock);
    if (turn == CBW_COPY) {
        copy_chunk(w);
    } else if (turn == CBW_PASS) {
        pass(w);
    }
}

/* ---- Requests ---- */

static bool changes_data(const BlockRequest *request)
{
    return request->bytes && (request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES ||
                              request->kind == BLOCK_DISCARD);
}

static void cbw_submit(BlockNode *node, BlockRequest *request)
{
    CbwState *s = node->state;
    uint64_t end = request->position + request->bytes;
    if (!changes_data(request) || atomic_load(&s->broken)) {
        block_node_submit(node->file, request);
        return;
    }
    CbwWrite *w = g_new0(CbwWrite, 1);
    w->node = node;
    w->request = request;
    w->chunk = request->position >> CHUNK_BITS;
    w->end = MIN(ALIGN_UP(end, 1ULL << CHUNK_BITS) >> CHUNK_BITS, s->todo->chunks);
    go_on(w);
}

/* ---- The node ---- */

static BlockNode *open_target(BlockNode *node, Opts *options, GError **error)
{
    const char *reference = opts_get(options, "target");
    g_autoptr(Opts) nested = opts_take_prefix(options, "target");
    NodeDefaults defaults = { .cache_direct = node->cache_direct,
                              .no_flush = node->no_flush,
                              .discard_unmap = true };
    if (!reference == !nested) {
        error_set(error, "driver 'copy-before-write' needs 'target': a node name or target.* "
                         "options");
        return NULL;
    }
    BlockNode *found = nested ? node_open(nested, NULL, &defaults, error)
                              : block_node_find(reference);
    if (!found && !nested) {
        error_set(error, "target=%s: there is no block node of this name", reference);
    }
    return found && !nested ? block_node_ref(found) : found;
}

static bool check_target(BlockNode *node, BlockNode *target, GError **error)
{
    if (target->readonly) {
        return error_set(error,
                         "target '%s' was opened read-only: what is saved has to be written there",
                         target->name);
    }
    if (node_is_below(node->file, target) || node_is_below(target, node->file)) {
        return error_set(error, "target '%s' and file '%s' are of one tree", target->name,
                         node->file->name);
    }
    return block_node_length(target) >= block_node_length(node->file) ||
           error_set(error, "target '%s' is smaller than '%s'", target->name, node->file->name);
}

static bool cbw_open(BlockNode *node, Opts *options, GError **error)
{
    static const char *const actions[] = { "break-guest-write", "break-snapshot", NULL };
    CbwState *s = node->state;
    int action = 0;
    if (!opts_get_enum(options, "on-cbw-error", actions, &action, error)) {
        return false;
    }
    BlockNode *target = open_target(node, options, error);
    if (!target) {
        return false;
    }
    node->extents = g_ptr_array_new();
    g_ptr_array_add(node->extents, target);
    if (!check_target(node, target, error)) {
        return false;
    }
    uint64_t length = block_node_length(node->file);
    s->target = target;
    s->break_snapshot = action == 1;
    s->todo = dirty_map_new(length, CHUNK_BITS);
    s->busy = dirty_map_new(length, CHUNK_BITS);
    dirty_map_set(s->todo, 0, length);
    g_mutex_init(&s->lock);
    node->filename = g_strdup(node->file->filename);
    node->limits = node->file->limits;
    atomic_store(&node->length, length);
    return true;
}

static void cbw_close(BlockNode *node)
{
    CbwState *s = node->state;
    dirty_map_free(s->todo);
    dirty_map_free(s->busy);
    g_mutex_clear(&s->lock);
}

static int cbw_flush(BlockNode *node)
{
    return node_flush(node->file);
}

static const char *const cbw_options[] = { "file", "target", "on-cbw-error", NULL };

const BlockDriver copy_before_write_driver = {
    .name = "copy-before-write",
    .desc = "What is about to be overwritten is copied to another node first",
    .state_size = sizeof(CbwState),
    .has_file = true,
    .is_filter = true,
    .options = cbw_options,
    .open = cbw_open,
    .close = cbw_close,
    .submit = cbw_submit,
    .flush = cbw_flush,
};
