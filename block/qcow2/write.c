/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes that do not just overwrite: clusters are made, and what the guest did not write of them
 * (of subclusters, where the image has these) is copied along. Where a new cluster is known to read
 * as zeroes, as what it replaces did, its entry stands at once and nobody waits; else it stands
 * when the data does, and writes to the same clusters wait until then.
 */
#include <stdlib.h>
#include "block/qcow2/qcow2.h"
#include "vmm/trace/trace-qcow2.h"

/* ---- Allocations under way: lock held ---- */

Qcow2Alloc *qcow2_alloc_find(Qcow2 *s, uint64_t first, uint64_t count)
{
    for (Qcow2Alloc *a = s->allocs; a; a = a->next) {
        if (first < a->first + a->count && a->first < first + count) {
            return a;
        }
    }
    return NULL;
}

void qcow2_alloc_begin(Qcow2 *s, Qcow2Alloc *alloc, uint64_t first, uint64_t count)
{
    alloc->first = first;
    alloc->count = count;
    alloc->next = s->allocs;
    alloc->link = &s->allocs;
    if (s->allocs) {
        s->allocs->link = &alloc->next;
    }
    s->allocs = alloc;
}

void qcow2_alloc_end(Qcow2 *s, Qcow2Alloc *alloc)
{
    *alloc->link = alloc->next;
    if (alloc->next) {
        alloc->next->link = alloc->link;
    }
    qcow2_wake(&alloc->waiters, 0);
}

void qcow2_entry_free(Qcow2 *s, uint64_t entry, bool discard)
{
    uint64_t host = entry & QCOW2_L2_OFFSET;
    if (entry & QCOW2_COMPRESSED) {
        qcow2_free_later(s, qcow2_compressed_offset(&s->h, entry),
                         qcow2_compressed_bytes(&s->h, entry), false);
    } else if (host && s->data == s->node->file) {
        /* A snapshot may need what is not ours alone. */
        qcow2_free_later(s, host, s->cluster_size, discard && entry & QCOW2_COPIED);
    }
}

/* ---- What a write is going to do ---- */

typedef struct Plan {
    uint64_t first, count; /* clusters */
    uint64_t start, bytes; /* of the guest's data */
    uint64_t head, tail;   /* bytes around it that are written too */
    uint64_t host;         /* of the first cluster */
    bool reuse;            /* the cluster is there already */
    bool fresh;            /* the new clusters read as zeroes */
    bool whole;            /* all subclusters become allocated */
    Qcow2Slice *slice;
} Plan;

/* Bits of the subclusters that [from, to) of a cluster touches. */
static uint64_t sub_bits(const Qcow2 *s, uint64_t from, uint64_t to)
{
    uint64_t first = from / s->subcluster_size, last = (to - 1) / s->subcluster_size;
    return ((1ULL << (last - first + 1)) - 1) << first;
}

/* The entries of the plan's clusters, as they are when the data is there. Lock held. */
static void publish(Qcow2 *s, const Plan *p)
{
    for (uint64_t i = 0; i < p->count; i++) {
        uint32_t index = qcow2_entry_index(s, p->first + i);
        uint64_t old = qcow2_entry(s, p->slice, index), bitmap = 0;
        uint64_t entry = (p->host + (i << s->cluster_bits)) | QCOW2_COPIED;
        if (s->subclusters) {
            uint64_t begin = (p->first + i) << s->cluster_bits, all = (1ULL << 32) - 1;
            uint64_t from = MAX(p->start - p->head, begin) - begin;
            uint64_t to = MIN(p->start + p->bytes + p->tail - begin, s->cluster_size);
            uint64_t now = p->whole ? all : sub_bits(s, from, to);
            uint64_t before = old & QCOW2_COMPRESSED ? 0 : qcow2_bitmap(s, p->slice, index);
            bitmap = (before & ~(now | now << 32)) | now;
        }
        qcow2_entry_set(s, p->slice, index, entry, bitmap);
        if (!p->reuse) {
            qcow2_entry_free(s, old, false);
        }
    }
}

/* Clusters from the cursor on that this write can make in one go. */
static uint64_t count_clusters(Qcow2Op *op, uint64_t first)
{
    Qcow2 *s = op->s;
    uint64_t end = (op->end - 1) >> s->cluster_bits, n = 1;
    uint64_t room = s->slice_entries - qcow2_entry_index(s, first);
    if (s->subclusters) {
        return 1;
    }
    for (uint64_t cluster = first + 1; cluster <= end && n < room; cluster++, n++) {
        Qcow2Extent e;
        int error;
        if (qcow2_alloc_find(s, cluster, 1) ||
            !qcow2_map(s, cluster << s->cluster_bits, 1, &e, &error) || error ||
            (e.copied && (e.kind == QCOW2_KIND_DATA || e.kind == QCOW2_KIND_ZERO_ALLOC))) {
            break;
        }
    }
    return n;
}

static void set_edges(Qcow2 *s, Plan *p, uint64_t unit)
{
    uint64_t end = p->start + p->bytes;
    p->head = p->start & (unit - 1);
    p->tail = -end & (unit - 1);
}

/* Where the data goes. Lock held; nothing is taken unless it is ready. */
static Qcow2Need make_plan(Qcow2Op *op, Plan *p, const Qcow2Extent *e, int *error)
{
    Qcow2 *s = op->s;
    uint64_t entry = qcow2_entry(s, p->slice, qcow2_entry_index(s, p->first));
    bool ours = entry & QCOW2_COPIED && !(entry & QCOW2_COMPRESSED);
    p->start = op->cursor;
    p->reuse = ours && (e->kind == QCOW2_KIND_ZERO_ALLOC || s->subclusters);
    p->count = p->reuse ? 1 : count_clusters(op, p->first);
    if (p->reuse) {
        p->host = entry & QCOW2_L2_OFFSET;
    } else if (s->data != s->node->file) {
        p->host = p->first << s->cluster_bits;
    } else {
        Qcow2Need need = qcow2_alloc_clusters(s, p->count, 1, &p->host, &p->count, &p->fresh,
                                              &op->waiter, error);
        if (need != QCOW2_READY) {
            return need;
        }
        /* Zeroes of the file would be deciphered. */
        p->fresh = p->fresh && !s->encryption;
    }
    p->bytes = MIN(op->end, (p->first + p->count) << s->cluster_bits) - p->start;
    /* A cluster that others use too, or a compressed one, is replaced whole. */
    p->whole = !p->reuse && entry & (QCOW2_L2_OFFSET | QCOW2_COMPRESSED);
    set_edges(s, p, p->whole ? s->cluster_size : s->subcluster_size);
    trace_qcow2_alloc(s->node->name, p->start, p->host, p->count, p->reuse);
    return QCOW2_READY;
}

/* ---- Carrying it out ---- */

static void alloc_written(BlockRequest *io, int ret)
{
    Qcow2Piece *piece = io->opaque;
    Qcow2 *s = piece->op->s;
    Plan p = { .first = piece->alloc.first,
               .count = piece->clusters,
               .start = piece->offset,
               .bytes = piece->bytes,
               .head = piece->head,
               .tail = piece->tail,
               .host = piece->host,
               .reuse = !piece->new_clusters,
               .whole = piece->skip,
               .slice = piece->slice };
    block_request_release(io);
    g_mutex_lock(&s->lock);
    piece->slice->pins--;
    if (ret == 0) {
        publish(s, &p);
    } else if (piece->new_clusters && s->data == s->node->file) {
        qcow2_unalloc(s, piece->host, piece->clusters);
    }
    qcow2_alloc_end(s, &piece->alloc);
    g_mutex_unlock(&s->lock);
    qcow2_piece_done(piece, ret);
}

/* What came from the backing node is nothing but zeroes: the entries say so, no cluster is used. */
static void publish_zeroes(Qcow2Piece *piece)
{
    Qcow2 *s = piece->op->s;
    uint64_t all = (1ULL << 32) - 1;
    g_mutex_lock(&s->lock);
    for (uint64_t i = 0; i < piece->clusters; i++) {
        uint32_t index = qcow2_entry_index(s, piece->alloc.first + i);
        uint64_t old = qcow2_entry(s, piece->slice, index);
        qcow2_entry_set(s, piece->slice, index, s->subclusters ? 0 : QCOW2_ZERO, all << 32);
        qcow2_entry_free(s, old, false);
    }
    piece->slice->pins--;
    if (s->data == s->node->file) {
        qcow2_unalloc(s, piece->host, piece->clusters);
    }
    qcow2_alloc_end(s, &piece->alloc);
    g_mutex_unlock(&s->lock);
    qcow2_piece_done(piece, 0);
}

static bool is_populated_by_zeroes(const Qcow2Piece *piece)
{
    const Qcow2 *s = piece->op->s;
    struct iovec iov = { piece->head_data, piece->head };
    return piece->op->parent->kind == BLOCK_POPULATE && s->h.version >= 3 && piece->new_clusters &&
           piece->head == piece->clusters << s->cluster_bits && iov_is_zero(&iov, 1);
}

/* All that is to be written is in memory. */
static void write_around(Qcow2Piece *piece)
{
    Qcow2 *s = piece->op->s;
    if (is_populated_by_zeroes(piece)) {
        publish_zeroes(piece);
        return;
    }
    uint64_t in_cluster = (piece->offset - piece->head) & (s->cluster_size - 1);
    int n = 0;
    piece->write_iov = g_new(struct iovec, piece->iov_count + 2);
    if (piece->head) {
        piece->write_iov[n++] = (struct iovec){ piece->head_data, piece->head };
    }
    if (piece->iov_count) { /* populating has none */
        memcpy(piece->write_iov + n, piece->iov, piece->iov_count * sizeof(struct iovec));
    }
    n += piece->iov_count;
    if (piece->tail) {
        piece->write_iov[n++] = (struct iovec){ piece->tail_data, piece->tail };
    }
    block_request_init(&piece->io, piece->op->loop, BLOCK_WRITE, piece->host + in_cluster,
                       piece->head + piece->bytes + piece->tail, piece->write_iov, n, 0,
                       alloc_written, piece);
    qcow2_data_submit(s, &piece->io, piece->offset - piece->head);
}

static void fill_tail(Qcow2Piece *piece);

static void read_edge(Qcow2Piece *piece, uint64_t offset, uint8_t *data, uint64_t bytes,
                      void (*complete)(BlockRequest *io, int ret))
{
    struct iovec *iov = g_new(struct iovec, 1);
    *iov = (struct iovec){ data, bytes };
    g_free(piece->write_iov);
    piece->write_iov = iov;
    block_request_init(&piece->io, piece->op->loop, BLOCK_READ, offset, bytes, iov, 1, 0, complete,
                       piece);
    block_node_submit(piece->op->s->node, &piece->io); /* through the entries as they are now */
}

static void head_read(BlockRequest *io, int ret)
{
    if (ret < 0) {
        alloc_written(io, ret);
        return;
    }
    block_request_release(io);
    fill_tail(io->opaque);
}

static void tail_read(BlockRequest *io, int ret)
{
    Qcow2Piece *piece = io->opaque;
    if (ret < 0) {
        alloc_written(io, ret);
        return;
    }
    block_request_release(io);
    g_clear_pointer(&piece->write_iov, g_free);
    write_around(piece);
}

static uint8_t *edge_buffer(uint64_t bytes, bool zero)
{
    uint64_t size = ALIGN_UP(bytes, 4096);
    uint8_t *data = aligned_alloc(4096, size);
    if (data && zero) {
        memset(data, 0, size);
    }
    return data;
}

static void edge_failed(Qcow2Piece *piece)
{
    block_request_init(&piece->io, piece->op->loop, BLOCK_WRITE, 0, 0, NULL, 0, 0, alloc_written,
                       piece);
    block_request_complete_later(&piece->io, -ENOMEM);
}

static bool edge_is_zero(Qcow2Piece *piece, uint64_t offset, uint64_t bytes)
{
    Qcow2 *s = piece->op->s;
    g_mutex_lock(&s->lock);
    bool zero = qcow2_reads_zero(s, offset, bytes);
    g_mutex_unlock(&s->lock);
    return zero;
}

static void fill_tail(Qcow2Piece *piece)
{
    uint64_t offset = piece->offset + piece->bytes;
    bool zero = piece->tail && edge_is_zero(piece, offset, piece->tail);
    g_clear_pointer(&piece->write_iov, g_free);
    if (piece->tail && !(piece->tail_data = edge_buffer(piece->tail, zero))) {
        edge_failed(piece);
    } else if (piece->tail && !zero) {
        read_edge(piece, offset, piece->tail_data, piece->tail, tail_read);
    } else {
        write_around(piece);
    }
}

static void fill_head(Qcow2Piece *piece)
{
    uint64_t offset = piece->offset - piece->head;
    bool zero = piece->head && edge_is_zero(piece, offset, piece->head);
    if (piece->head && !(piece->head_data = edge_buffer(piece->head, zero))) {
        edge_failed(piece);
    } else if (piece->head && !zero) {
        read_edge(piece, offset, piece->head_data, piece->head, head_read);
    } else {
        fill_tail(piece);
    }
}

static void write_done(BlockRequest *io, int ret)
{
    block_request_release(io);
    qcow2_piece_done(io->opaque, ret);
}

static void write_in_place(Qcow2Op *op, uint64_t host, uint64_t bytes)
{
    Qcow2Piece *piece = qcow2_piece_new(op, bytes);
    block_request_init(&piece->io, op->loop, BLOCK_WRITE, host, bytes, piece->iov, piece->iov_count,
                       0, write_done, piece);
    qcow2_data_submit(op->s, &piece->io, piece->offset);
}

/* Lock held. */
static void begin_alloc(Qcow2Piece *piece, const Plan *p)
{
    piece->offset = p->start;
    piece->host = p->host;
    piece->clusters = p->count;
    piece->new_clusters = !p->reuse;
    piece->head = p->head;
    piece->tail = p->tail;
    piece->skip = p->whole;
    piece->slice = p->slice;
    piece->slice->pins++;
    qcow2_alloc_begin(piece->op->s, &piece->alloc, p->first, p->count);
}

/* Lock held; gives it back. */
static void carry_out(Qcow2Op *op, Plan *p)
{
    Qcow2 *s = op->s;
    uint64_t in_cluster = p->start & (s->cluster_size - 1);
    uint64_t end = p->host + (p->count << s->cluster_bits);
    /* No entry ever stands for what lies behind the end of the file. */
    bool there = end <= atomic_load_explicit(&s->protocol->reach, memory_order_acquire);
    if (p->fresh && there &&
        qcow2_reads_zero(s, p->start - p->head, p->head + p->bytes + p->tail)) {
        p->whole |= !s->node->backing;
        publish(s, p);
        g_mutex_unlock(&s->lock);
        write_in_place(op, p->host + in_cluster, p->bytes);
        return;
    }
    Qcow2Piece *piece = qcow2_piece_new(op, p->bytes);
    begin_alloc(piece, p);
    g_mutex_unlock(&s->lock);
    fill_head(piece);
}

/* Brings in memory what the plan needs; lock held. */
static Qcow2Need prepare(Qcow2Op *op, uint64_t cluster, Qcow2Slice **slice, int *error)
{
    Qcow2 *s = op->s;
    Qcow2Alloc *other = qcow2_alloc_find(s, cluster, 1);
    if (other) {
        qcow2_wait(&other->waiters, &op->waiter);
        return QCOW2_PARKED;
    }
    Qcow2Need need = qcow2_table_need(s, cluster, &op->waiter, error);
    return need == QCOW2_READY ? qcow2_slice_need(s, cluster, slice, &op->waiter, error) : need;
}

bool qcow2_write_step(Qcow2Op *op)
{
    Qcow2 *s = op->s;
    Plan p = { .first = op->cursor >> s->cluster_bits };
    Qcow2Extent e;
    int error = 0;
    g_mutex_lock(&s->lock);
    Qcow2Need need = prepare(op, p.first, &p.slice, &error);
    if (need == QCOW2_READY) {
        qcow2_map(s, op->cursor, op->end - op->cursor, &e, &error);
        need = error ? QCOW2_FAILED : QCOW2_READY;
    }
    if (need == QCOW2_READY && e.kind == QCOW2_KIND_DATA && e.copied) {
        g_mutex_unlock(&s->lock);
        write_in_place(op, e.host, e.bytes);
        return true;
    }
    if (need == QCOW2_READY) {
        need = make_plan(op, &p, &e, &error);
    }
    if (need == QCOW2_READY) {
        carry_out(op, &p);
        return true;
    }
    g_mutex_unlock(&s->lock);
    return qcow2_op_took(op, need, error);
}

/* ---- Populating: what the backing node decides comes in ---- */

#define POPULATE_BYTES (512 * KIB)

/* Clusters from `first` on that nothing here decides. Lock held; entries in memory. */
static uint64_t count_unallocated(Qcow2Op *op, uint64_t first)
{
    Qcow2 *s = op->s;
    uint64_t most = MAX(POPULATE_BYTES >> s->cluster_bits, 1), n = 1;
    uint64_t end = (op->end + s->cluster_size - 1) >> s->cluster_bits;
    uint64_t room = s->slice_entries - qcow2_entry_index(s, first);
    for (; n < most && n < room && first + n < end; n++) {
        Qcow2Extent e;
        int error;
        if (qcow2_alloc_find(s, first + n, 1) ||
            !qcow2_map(s, (first + n) << s->cluster_bits, 1, &e, &error) || error ||
            e.kind != QCOW2_KIND_UNALLOCATED) {
            break;
        }
    }
    return n;
}

/* A write of nothing, with all around it that is to come in. Lock held. */
static Qcow2Need plan_population(Qcow2Op *op, Plan *p, const Qcow2Extent *e, int *error)
{
    Qcow2 *s = op->s;
    uint64_t entry = qcow2_entry(s, p->slice, qcow2_entry_index(s, p->first));
    uint64_t begin = p->first << s->cluster_bits, mask = s->subcluster_size - 1;
    p->reuse = s->subclusters && entry & QCOW2_COPIED && !(entry & QCOW2_COMPRESSED);
    p->count = s->subclusters ? 1 : count_unallocated(op, p->first);
    if (p->reuse) {
        p->host = entry & QCOW2_L2_OFFSET;
    } else if (s->data != s->node->file) {
        p->host = begin;
    } else {
        Qcow2Need need = qcow2_alloc_clusters(s, p->count, 1, &p->host, &p->count, &p->fresh,
                                              &op->waiter, error);
        if (need != QCOW2_READY) {
            return need;
        }
    }
    p->whole = !p->reuse && entry & QCOW2_L2_OFFSET;
    if (s->subclusters && !p->whole) { /* the run of subclusters that nothing here decides */
        begin = op->cursor & ~mask;
        p->start = MIN((op->cursor + e->bytes + mask) & ~mask, (p->first + 1) << s->cluster_bits);
    } else {
        p->start = (p->first + p->count) << s->cluster_bits;
    }
    p->head = p->start - begin;
    return QCOW2_READY;
}

bool qcow2_populate_step(Qcow2Op *op)
{
    Qcow2 *s = op->s;
    Plan p = { .first = op->cursor >> s->cluster_bits };
    Qcow2Extent e;
    int error = 0;
    g_mutex_lock(&s->lock);
    Qcow2Need need = prepare(op, p.first, &p.slice, &error);
    if (need == QCOW2_READY) {
        qcow2_map(s, op->cursor, op->end - op->cursor, &e, &error);
        need = error ? QCOW2_FAILED : QCOW2_READY;
    }
    if (need == QCOW2_READY && e.kind != QCOW2_KIND_UNALLOCATED) {
        g_mutex_unlock(&s->lock);
        op->cursor += e.bytes;
        return true;
    }
    if (need == QCOW2_READY) {
        need = plan_population(op, &p, &e, &error);
    }
    if (need != QCOW2_READY) {
        g_mutex_unlock(&s->lock);
        return qcow2_op_took(op, need, error);
    }
    Qcow2Piece *piece = qcow2_piece_new(op, 0);
    begin_alloc(piece, &p);
    g_mutex_unlock(&s->lock);
    op->cursor = MIN(op->end, p.start);
    fill_head(piece);
    return true;
}
