/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way of a request: where its range is mapped whole to clusters that are there, it goes
 * straight on to the file. Everything else becomes an operation (op.c).
 */
#include "block/qcow2/qcow2.h"

/* ---- Epochs ---- */

/* A loop's own counters; those that come when all are given away share the last ones. */
static Qcow2LoopCount *loop_count(Qcow2 *s, EventLoop *loop)
{
    int count = atomic_load_explicit(&s->loop_count, memory_order_acquire);
    for (int i = 0; i < count; i++) {
        Qcow2LoopCount *c = atomic_load_explicit(&s->loops[i], memory_order_relaxed);
        if (c->loop == loop) {
            return c;
        }
    }
    g_mutex_lock(&s->lock);
    count = atomic_load(&s->loop_count);
    Qcow2LoopCount *c = count ? atomic_load(&s->loops[count - 1]) : NULL;
    if (count < QCOW2_MAX_LOOPS) {
        c = g_new0(Qcow2LoopCount, 1);
        c->loop = count < QCOW2_MAX_LOOPS - 1 ? loop : NULL;
        atomic_store(&s->loops[count], c);
        atomic_store_explicit(&s->loop_count, count + 1, memory_order_release);
    }
    g_mutex_unlock(&s->lock);
    return c;
}

static void count_add(Qcow2LoopCount *c, unsigned epoch, uint32_t n)
{
    _Atomic uint32_t *counter = &c->in_flight[epoch];
    if (G_UNLIKELY(!c->loop)) {
        atomic_fetch_add(counter, n);
        return;
    }
    uint32_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + n, memory_order_release);
}

unsigned qcow2_enter(Qcow2 *s, EventLoop *loop)
{
    unsigned epoch = atomic_load_explicit(&s->epoch, memory_order_acquire);
    count_add(loop_count(s, loop), epoch, 1);
    return epoch;
}

void qcow2_leave(Qcow2 *s, EventLoop *loop, unsigned epoch)
{
    count_add(loop_count(s, loop), epoch, (uint32_t)-1);
}

bool qcow2_epoch_is_empty(Qcow2 *s, unsigned epoch)
{
    int count = atomic_load(&s->loop_count);
    uint32_t sum = 0;
    for (int i = 0; i < count; i++) {
        sum += atomic_load(&atomic_load(&s->loops[i])->in_flight[epoch]);
    }
    return sum == 0;
}

/* ---- The straight way ---- */

static void straight_done(BlockRequest *request, int ret)
{
    Qcow2 *s = request->format;
    qcow2_leave(s, request->loop, request->format_epoch);
    request->format = NULL;
    request->complete = request->format_complete;
    request->complete(request, ret);
}

/* Whether the request is on its way; an answer without I/O is one too. */
static bool go_straight(Qcow2 *s, BlockRequest *request)
{
    bool write = request->kind == BLOCK_WRITE;
    Qcow2Extent e;
    int error;
    rcu_section_enter();
    bool straight = qcow2_map(s, request->position, request->bytes, &e, &error) && !error &&
                    e.bytes == request->bytes && e.kind == QCOW2_KIND_DATA &&
                    (!write || e.copied) && !request->format;
    if (straight) {
        request->format_epoch = qcow2_enter(s, request->loop);
    }
    rcu_section_leave();
    if (!straight) {
        return false;
    }
    request->format = s;
    request->format_complete = request->complete;
    request->complete = straight_done;
    uint64_t guest = request->position;
    request->position = e.host;
    qcow2_data_submit(s, request, guest);
    return true;
}

static void op_start(Qcow2 *s, BlockRequest *request);

void qcow2_submit(BlockNode *node, BlockRequest *request)
{
    Qcow2 *s = node->state;
    bool changes = request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES ||
                   request->kind == BLOCK_DISCARD || request->kind == BLOCK_POPULATE;
    if (G_UNLIKELY(changes && atomic_load_explicit(&s->corrupt, memory_order_relaxed))) {
        block_request_complete_later(request, -EIO);
        return;
    }
    switch (request->kind) {
    case BLOCK_FLUSH:
        qcow2_flush(s, request);
        return;
    case BLOCK_READ:
        if (G_LIKELY(go_straight(s, request))) {
            return;
        }
        break;
    case BLOCK_WRITE:
        /* What makes it durable may need more than the file's own word. */
        if (G_LIKELY(!(request->kflags & (BLOCK_REQ_FUA | BLOCK_REQ_COMPRESSED)) &&
                     go_straight(s, request))) {
            return;
        }
        break;
    default:
        break;
    }
    op_start(s, request);
}

/* ---- Operations ---- */

static void op_woken(void *opaque)
{
    Qcow2Op *op = opaque;
    if (op->waiter.error) {
        op->ret = op->ret ? op->ret : op->waiter.error;
    }
    qcow2_op_run(op);
}

static void op_start(Qcow2 *s, BlockRequest *request)
{
    Qcow2Op *op = g_new0(Qcow2Op, 1);
    op->s = s;
    op->parent = request;
    op->loop = request->loop;
    op->start = op->cursor = request->position;
    op->end = request->position + request->bytes;
    op->pending = 1;
    qcow2_waiter_init(&op->waiter, op->loop, op_woken, op);
    rcu_section_enter();
    op->epoch = qcow2_enter(s, op->loop);
    rcu_section_leave();
    /* Nothing may complete inside submit: it begins in the deferred round. */
    op->waiter.task = (LoopTask)LOOP_TASK_INIT(op_woken, op);
    event_loop_defer(op->loop, &op->waiter.task);
}

static void op_end(Qcow2Op *op)
{
    Qcow2 *s = op->s;
    BlockRequest *request = op->parent;
    int ret = op->ret;
    qcow2_leave(s, op->loop, op->epoch);
    g_free(op);
    if (ret == 0 && request->kind != BLOCK_READ && request->kind != BLOCK_STATUS) {
        qcow2_commit_if_full(s, request->loop);
        if (request->kflags & BLOCK_REQ_FUA) {
            request->kflags &= ~(unsigned)BLOCK_REQ_FUA;
            request->kind = BLOCK_FLUSH;
            qcow2_flush(s, request);
            return;
        }
    }
    qcow2_cache_reap(s);
    block_request_complete(request, ret);
}

static void op_unref(Qcow2Op *op)
{
    if (--op->pending == 0) {
        op_end(op);
    }
}

Qcow2Piece *qcow2_piece_new(Qcow2Op *op, uint64_t bytes)
{
    Qcow2Piece *piece = g_new0(Qcow2Piece, 1);
    BlockRequest *parent = op->parent;
    piece->op = op;
    piece->offset = op->cursor;
    piece->bytes = bytes;
    if (parent->kind == BLOCK_READ || parent->kind == BLOCK_WRITE) {
        piece->iov = iov_slice(parent->kiov, parent->kiov_count, op->cursor - op->start, bytes,
                               &piece->iov_count);
    }
    op->pending++;
    op->cursor += bytes;
    return piece;
}

void qcow2_piece_done(Qcow2Piece *piece, int ret)
{
    Qcow2Op *op = piece->op;
    op->ret = op->ret ? op->ret : ret;
    g_free(piece->iov);
    g_free(piece->write_iov);
    g_free(piece->head_data);
    g_free(piece->tail_data);
    g_free(piece->buffer);
    g_free(piece);
    op_unref(op);
}

bool qcow2_op_took(Qcow2Op *op, Qcow2Need need, int error)
{
    if (need == QCOW2_FAILED) {
        op->ret = error ? error : -EIO;
    }
    return need != QCOW2_PARKED;
}

/* ---- Reading ---- */

static void piece_complete(BlockRequest *io, int ret)
{
    Qcow2Piece *piece = io->opaque;
    block_request_release(io);
    qcow2_piece_done(piece, ret);
}

static void read_from(Qcow2Piece *piece, BlockNode *node, uint64_t offset)
{
    block_request_init(&piece->io, piece->op->loop, BLOCK_READ, offset, piece->bytes, piece->iov,
                       piece->iov_count, 0, piece_complete, piece);
    block_node_submit(node, &piece->io);
}

static void read_data(Qcow2Piece *piece, uint64_t host)
{
    block_request_init(&piece->io, piece->op->loop, BLOCK_READ, host, piece->bytes, piece->iov,
                       piece->iov_count, 0, piece_complete, piece);
    qcow2_data_submit(piece->op->s, &piece->io, piece->offset);
}

static void read_backing(Qcow2Piece *piece)
{
    BlockNode *backing = piece->op->s->node->backing;
    uint64_t length = backing ? block_node_length(backing) : 0;
    uint64_t there = piece->offset < length ? MIN(piece->bytes, length - piece->offset) : 0;
    if (there < piece->bytes) {
        iov_zero_from(piece->iov, piece->iov_count, there);
    }
    if (!there) {
        qcow2_piece_done(piece, 0);
        return;
    }
    if (there < piece->bytes) {
        int count;
        struct iovec *part = iov_slice(piece->iov, piece->iov_count, 0, there, &count);
        g_free(piece->iov);
        piece->iov = part;
        piece->iov_count = count;
        piece->bytes = there;
    }
    read_from(piece, backing, piece->offset);
}

/* Finds the next extent, bringing its slice into memory; false: parked. */
static bool find_extent(Qcow2Op *op, Qcow2Extent *extent)
{
    Qcow2 *s = op->s;
    int error = 0;
    rcu_section_enter();
    bool there = qcow2_map(s, op->cursor, op->end - op->cursor, extent, &error);
    rcu_section_leave();
    if (there) {
        op->ret = op->ret ? op->ret : error;
        return true;
    }
    Qcow2Slice *slice;
    g_mutex_lock(&s->lock);
    Qcow2Need need =
        qcow2_slice_need(s, op->cursor >> s->cluster_bits, &slice, &op->waiter, &error);
    if (need == QCOW2_READY) { /* it came meanwhile */
        qcow2_map(s, op->cursor, op->end - op->cursor, extent, &error);
        op->ret = op->ret ? op->ret : error;
    }
    g_mutex_unlock(&s->lock);
    return qcow2_op_took(op, need, error);
}

static bool read_step(Qcow2Op *op)
{
    Qcow2 *s = op->s;
    Qcow2Extent e;
    if (!find_extent(op, &e)) {
        return false;
    }
    if (op->ret) {
        return true;
    }
    uint64_t skip = op->cursor & (s->cluster_size - 1);
    Qcow2Piece *piece = qcow2_piece_new(op, e.bytes);
    switch (e.kind) {
    case QCOW2_KIND_DATA:
        read_data(piece, e.host);
        break;
    case QCOW2_KIND_UNALLOCATED:
        read_backing(piece);
        break;
    case QCOW2_KIND_COMPRESSED:
        qcow2_read_compressed(piece, e.host, skip);
        break;
    default:
        iov_zero_from(piece->iov, piece->iov_count, 0);
        qcow2_piece_done(piece, 0);
        break;
    }
    return true;
}

/* ---- Status ---- */

static bool status_step(Qcow2Op *op)
{
    Qcow2 *s = op->s;
    BlockStatus *status = op->parent->status;
    Qcow2Extent e;
    if (!find_extent(op, &e)) {
        return false;
    }
    if (op->ret) {
        return true;
    }
    static const unsigned flags[] = {
        [QCOW2_KIND_UNALLOCATED] = 0,
        [QCOW2_KIND_ZERO] = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED,
        [QCOW2_KIND_ZERO_ALLOC] = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET,
        [QCOW2_KIND_DATA] = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET,
        [QCOW2_KIND_COMPRESSED] = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED |
                                  BLOCK_STATUS_COMPRESSED,
    };
    unsigned found = flags[e.kind];
    if (s->encryption) { /* what is there is not what is read */
        found &= ~(unsigned)BLOCK_STATUS_OFFSET;
    }
    bool begun = op->cursor != op->start;
    bool joins =
        begun && status->flags == found &&
        (!(status->flags & BLOCK_STATUS_OFFSET) || status->host_offset + status->bytes == e.host);
    if (begun && !joins) {
        op->end = op->cursor;
        return true;
    }
    if (!begun) {
        *status = (BlockStatus){ .flags = found };
        if (status->flags & BLOCK_STATUS_OFFSET) {
            status->host_offset = e.host;
            status->file = s->data;
        }
    }
    status->bytes += e.bytes;
    op->cursor += e.bytes;
    return true;
}

/* ---- The runner ---- */

static bool step(Qcow2Op *op)
{
    switch (op->parent->kind) {
    case BLOCK_READ:
        return read_step(op);
    case BLOCK_WRITE:
        return op->parent->kflags & BLOCK_REQ_COMPRESSED ? qcow2_compressed_step(op)
                                                         : qcow2_write_step(op);
    case BLOCK_STATUS:
        return status_step(op);
    case BLOCK_POPULATE:
        return qcow2_populate_step(op);
    default:
        return qcow2_zero_step(op);
    }
}

void qcow2_op_run(Qcow2Op *op)
{
    while (op->ret == 0 && op->cursor < op->end) {
        if (!step(op)) {
            return;
        }
    }
    op_unref(op);
}
