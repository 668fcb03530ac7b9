/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Discards and writes of zeroes: whole clusters by their entries, the rest by writing zeroes. What
 * is discarded reads as zeroes afterwards, whatever the backing file has there, as far as the
 * version of the image can say so.
 */
#include "block/qcow2/qcow2.h"

static void zeroes_written(BlockRequest *io, int ret)
{
    block_request_release(io);
    qcow2_piece_done(io->opaque, ret);
}

/* The next bytes, as a write of the driver's own. */
static void write_zeroes(Qcow2Op *op, uint64_t bytes)
{
    Qcow2Piece *piece = qcow2_piece_new(op, bytes);
    piece->buffer = g_malloc0(bytes);
    piece->iov = g_new(struct iovec, 1);
    piece->iov[0] = (struct iovec){ piece->buffer, bytes };
    piece->iov_count = 1;
    block_request_init(&piece->io, op->loop, BLOCK_WRITE, piece->offset, bytes, piece->iov, 1, 0,
                       zeroes_written, piece);
    block_node_submit(op->s->node, &piece->io);
}

/* A part of a cluster. A discard of one is nothing. */
static bool part_step(Qcow2Op *op, uint64_t bytes)
{
    Qcow2 *s = op->s;
    if (op->parent->kind == BLOCK_DISCARD) {
        op->cursor += bytes;
        return true;
    }
    Qcow2Slice *slice;
    int error = 0;
    uint64_t cluster = op->cursor >> s->cluster_bits;
    Qcow2Need need = QCOW2_READY;
    g_mutex_lock(&s->lock);
    Qcow2Alloc *other = qcow2_alloc_find(s, cluster, 1);
    if (other) {
        qcow2_wait(&other->waiters, &op->waiter);
        need = QCOW2_PARKED;
    } else if (atomic_load(&s->l1[qcow2_l1_index(s, cluster)]) & QCOW2_L1_OFFSET) {
        need = qcow2_slice_need(s, cluster, &slice, &op->waiter, &error);
    }
    bool zero = need == QCOW2_READY && qcow2_reads_zero(s, op->cursor, bytes);
    g_mutex_unlock(&s->lock);
    if (need != QCOW2_READY) {
        return qcow2_op_took(op, need, error);
    }
    if (zero && s->data == s->node->file) {
        op->cursor += bytes;
    } else {
        write_zeroes(op, bytes);
    }
    return true;
}

/* What is not allocated may be other than zeroes: also where the image names a backing file that is
 * not open here (a backup's target). */
static bool has_backing(const Qcow2 *s)
{
    return s->node->backing || s->h.backing_file;
}

/* What the entry of a cluster becomes. False: the cluster has to be written. */
static bool new_entry(Qcow2Op *op, uint64_t old, uint64_t *entry, uint64_t *bitmap)
{
    Qcow2 *s = op->s;
    bool discard = op->parent->kind == BLOCK_DISCARD;
    bool has_host = old & (QCOW2_L2_OFFSET | QCOW2_COMPRESSED);
    bool keep = !discard && !(op->parent->kflags & BLOCK_REQ_UNMAP) && old & QCOW2_COPIED &&
                !(old & QCOW2_COMPRESSED);
    uint64_t all_zero = ((1ULL << 32) - 1) << 32;
    *bitmap = 0;
    *entry = 0;
    if (s->h.version < 3) {
        return !has_backing(s) || (discard && !has_host);
    }
    if (discard && !has_host && (!s->subclusters)) {
        *entry = old; /* nothing to give back, and nothing changes */
        return true;
    }
    if (!has_host && !has_backing(s) && !s->subclusters) {
        *entry = old;
        return true;
    }
    *entry = keep ? old & (QCOW2_L2_OFFSET | QCOW2_COPIED) : 0;
    if (s->subclusters) {
        *bitmap = all_zero;
    } else {
        *entry |= QCOW2_ZERO;
    }
    return true;
}

/* Whole clusters from the cursor on, as far as the slice goes. Lock held; clusters done. */
static uint64_t change_entries(Qcow2Op *op, Qcow2Slice *slice, uint64_t first, uint64_t count)
{
    Qcow2 *s = op->s;
    uint32_t index = qcow2_entry_index(s, first);
    uint64_t i;
    count = MIN(count, s->slice_entries - index);
    for (i = 0; i < count && !qcow2_alloc_find(s, first + i, 1); i++) {
        uint64_t old = qcow2_entry(s, slice, index + (uint32_t)i), entry, bitmap;
        uint64_t old_bitmap = s->subclusters ? qcow2_bitmap(s, slice, index + (uint32_t)i) : 0;
        if (!new_entry(op, old, &entry, &bitmap)) {
            if (op->parent->kind != BLOCK_DISCARD) {
                break;
            }
            continue;
        }
        if (entry == old && bitmap == old_bitmap) {
            continue;
        }
        qcow2_entry_set(s, slice, index + (uint32_t)i, entry, bitmap);
        if (!(entry & QCOW2_L2_OFFSET)) {
            qcow2_entry_free(s, old, true);
        }
    }
    return i;
}

static bool clusters_step(Qcow2Op *op, uint64_t first, uint64_t count)
{
    Qcow2 *s = op->s;
    uint64_t span = 1ULL << s->l2_bits, done = 0;
    Qcow2Slice *slice = NULL;
    int error = 0;
    bool discard = op->parent->kind == BLOCK_DISCARD;
    g_mutex_lock(&s->lock);
    bool has_table = atomic_load(&s->l1[qcow2_l1_index(s, first)]) & QCOW2_L1_OFFSET;
    Qcow2Need need = QCOW2_READY;
    Qcow2Alloc *other = qcow2_alloc_find(s, first, 1);
    if (other) {
        qcow2_wait(&other->waiters, &op->waiter);
        need = QCOW2_PARKED;
    } else if (!has_table && (discard || !has_backing(s))) {
        done = MIN(count, span - (first & (span - 1))); /* nothing there */
    } else {
        need = qcow2_table_need(s, first, &op->waiter, &error);
        if (need == QCOW2_READY) {
            need = qcow2_slice_need(s, first, &slice, &op->waiter, &error);
        }
        if (need == QCOW2_READY) {
            done = change_entries(op, slice, first, count);
        }
    }
    g_mutex_unlock(&s->lock);
    if (need != QCOW2_READY) {
        return qcow2_op_took(op, need, error);
    }
    if (!done) {
        write_zeroes(op, MIN(s->cluster_size, op->end - op->cursor));
    } else {
        op->cursor = MIN(op->end, op->cursor + (done << s->cluster_bits));
    }
    return true;
}

bool qcow2_zero_step(Qcow2Op *op)
{
    Qcow2 *s = op->s;
    uint64_t mask = s->cluster_size - 1, left = op->end - op->cursor;
    bool to_end = op->end == block_node_length(s->node);
    if (op->cursor & mask) {
        return part_step(op, MIN(left, s->cluster_size - (op->cursor & mask)));
    }
    uint64_t count = to_end ? (left + mask) >> s->cluster_bits : left >> s->cluster_bits;
    if (!count) {
        return part_step(op, left);
    }
    if (s->data != s->node->file) { /* the data file may be looked at by itself */
        return part_step(op, MIN(left, s->cluster_size));
    }
    return clusters_step(op, op->cursor >> s->cluster_bits, count);
}
