/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "copy-on-read": what a read finds in a backing file is written into the image above
 * it. A copy and a write of the guest's that overlap take turns: else old data could land on new.
 */
#include <errno.h>
#include "block/internal.h"

typedef struct CorRequest CorRequest;
struct CorRequest {
    BlockNode *node;
    BlockRequest *request; /* the one from above */
    BlockRequest below;
    CorRequest *next;
    bool copies; /* a read */
    LoopTask task;
    uint64_t done, piece; /* of a read */
    bool copy_piece;
    BlockStatus status;
    struct iovec *iov;
    int iov_count;
};

typedef struct CorState {
    GMutex lock; /* leaf */
    CorRequest *active;
    CorRequest *waiting, **waiting_tail;
} CorState;

static void start(CorRequest *cor);

/* ---- Turns ---- */

static bool conflict(const CorRequest *a, const CorRequest *b)
{
    const BlockRequest *x = a->request, *y = b->request;
    return a->copies != b->copies && x->position < y->position + y->bytes &&
           y->position < x->position + x->bytes;
}

static bool must_wait(const CorRequest *cor, const CorRequest *active, const CorRequest *ahead)
{
    for (; active; active = active->next) {
        if (conflict(cor, active)) {
            return true;
        }
    }
    for (; ahead && ahead != cor; ahead = ahead->next) {
        if (conflict(cor, ahead)) {
            return true;
        }
    }
    return false;
}

static void begin(CorRequest *cor)
{
    CorState *s = cor->node->state;
    g_mutex_lock(&s->lock);
    bool wait = must_wait(cor, s->active, s->waiting);
    if (wait) {
        cor->next = NULL;
        *s->waiting_tail = cor;
        s->waiting_tail = &cor->next;
    } else {
        cor->next = s->active;
        s->active = cor;
    }
    g_mutex_unlock(&s->lock);
    if (!wait) {
        start(cor);
    }
}

static void start_here(void *opaque)
{
    start(opaque);
}

/* Lock held: those of the row that may go now, on their own loops. */
static void wake_waiting(CorState *s)
{
    CorRequest **p = &s->waiting;
    while (*p) {
        CorRequest *cor = *p;
        if (must_wait(cor, s->active, s->waiting)) {
            p = &cor->next;
            continue;
        }
        *p = cor->next;
        cor->next = s->active;
        s->active = cor;
        cor->task = (LoopTask)LOOP_TASK_INIT(start_here, cor);
        event_loop_post(cor->request->loop, &cor->task);
    }
    s->waiting_tail = p;
}

static void finish(CorRequest *cor, int ret)
{
    CorState *s = cor->node->state;
    BlockRequest *request = cor->request;
    g_mutex_lock(&s->lock);
    CorRequest **p = &s->active;
    while (*p != cor) {
        p = &(*p)->next;
    }
    *p = cor->next;
    wake_waiting(s);
    g_mutex_unlock(&s->lock);
    g_free(cor->iov);
    g_free(cor);
    block_request_complete(request, ret);
}

/* ---- Reads ---- */

static void next_piece(CorRequest *cor);

static void submit_below(CorRequest *cor, BlockOp op, const struct iovec *iov, int count,
                         void (*complete)(BlockRequest *request, int ret))
{
    BlockRequest *request = cor->request;
    block_request_init(&cor->below, request->loop, op, request->position + cor->done, cor->piece,
                       iov, count, 0, complete, cor);
    block_node_submit(cor->node->file, &cor->below);
}

/* A copy that failed is not the reader's trouble: it has its data. */
static void piece_copied(BlockRequest *below, int ret)
{
    CorRequest *cor = below->opaque;
    block_request_release(below);
    cor->done += cor->piece;
    next_piece(cor);
}

static void piece_read(BlockRequest *below, int ret)
{
    CorRequest *cor = below->opaque;
    block_request_release(below);
    if (ret < 0) {
        finish(cor, ret);
    } else if (!cor->copy_piece) {
        piece_copied(below, 0);
    } else if (iov_is_zero(cor->iov, cor->iov_count)) {
        submit_below(cor, BLOCK_WRITE_ZEROES, NULL, 0, piece_copied);
    } else {
        submit_below(cor, BLOCK_WRITE, cor->iov, cor->iov_count, piece_copied);
    }
}

static void cut_vector(CorRequest *cor)
{
    const BlockRequest *request = cor->request;
    uint64_t left = cor->piece;
    g_free(cor->iov);
    cor->iov = iov_rest(request->kiov, request->kiov_count, cor->done, request->kiov_count,
                        &cor->iov_count);
    for (int i = 0; i < cor->iov_count; i++) {
        cor->iov[i].iov_len = MIN(cor->iov[i].iov_len, left);
        left -= cor->iov[i].iov_len;
        if (!left) {
            cor->iov_count = i + 1;
        }
    }
}

static void piece_known(BlockRequest *below, int ret)
{
    CorRequest *cor = below->opaque;
    block_request_release(below);
    if (ret < 0) {
        finish(cor, ret);
        return;
    }
    cor->copy_piece = !(cor->status.flags & BLOCK_STATUS_ALLOCATED);
    cor->piece = CLAMP(cor->status.bytes, 1, cor->piece);
    cut_vector(cor);
    submit_below(cor, BLOCK_READ, cor->iov, cor->iov_count, piece_read);
}

static void next_piece(CorRequest *cor)
{
    BlockRequest *request = cor->request;
    if (cor->done == request->bytes) {
        finish(cor, 0);
        return;
    }
    cor->piece = request->bytes - cor->done;
    block_request_init(&cor->below, request->loop, BLOCK_STATUS, request->position + cor->done,
                       cor->piece, NULL, 0, 0, piece_known, cor);
    cor->below.status = &cor->status;
    block_node_submit(cor->node->file, &cor->below);
}

/* ---- Requests ---- */

static void write_done(BlockRequest *below, int ret)
{
    block_request_release(below);
    finish(below->opaque, ret);
}

static void start(CorRequest *cor)
{
    BlockRequest *request = cor->request;
    if (cor->copies) {
        next_piece(cor);
        return;
    }
    block_request_init(&cor->below, request->loop, request->kind, request->position, request->bytes,
                       request->kiov, request->kiov_count, request->kflags, write_done, cor);
    block_node_submit(cor->node->file, &cor->below);
}

static bool has_backing(const BlockNode *node)
{
    for (; node; node = node->file) {
        if (node->backing) {
            return true;
        }
    }
    return false;
}

static void cor_submit(BlockNode *node, BlockRequest *request)
{
    if (node->readonly || request->kind == BLOCK_FLUSH || request->kind == BLOCK_STATUS ||
        !request->bytes || !has_backing(node->file)) {
        block_node_submit(node->file, request);
        return;
    }
    CorRequest *cor = g_new0(CorRequest, 1);
    cor->node = node;
    cor->request = request;
    cor->copies = request->kind == BLOCK_READ;
    begin(cor);
}

/* ---- The node ---- */

static void cor_refresh(BlockNode *node)
{
    atomic_store(&node->length, block_node_length(node->file));
}

static bool cor_open(BlockNode *node, Opts *options, GError **error)
{
    CorState *s = node->state;
    g_mutex_init(&s->lock);
    s->waiting_tail = &s->waiting;
    node->filename = g_strdup(node->file->filename);
    node->limits = node->file->limits;
    cor_refresh(node);
    return true;
}

static void cor_close(BlockNode *node)
{
    g_mutex_clear(&((CorState *)node->state)->lock);
}

static bool cor_resize(BlockNode *node, uint64_t size, GError **error)
{
    return block_resize(node->file, size, error);
}

static int cor_flush(BlockNode *node)
{
    return node_flush(node->file);
}

static const char *const cor_options[] = { "file", NULL };

const BlockDriver copy_on_read_driver = {
    .name = "copy-on-read",
    .desc = "Reads bring the data of backing files into the image",
    .state_size = sizeof(CorState),
    .has_file = true,
    .is_filter = true,
    .options = cor_options,
    .open = cor_open,
    .close = cor_close,
    .submit = cor_submit,
    .flush = cor_flush,
    .resize = cor_resize,
    .refresh = cor_refresh,
};
