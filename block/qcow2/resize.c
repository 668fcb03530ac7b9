/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other sizes. A larger L1 table goes to new clusters and the header shows it last; what lies
 * behind a smaller size is dropped before the header tells of it. Whatever was behind the end once
 * reads as zeroes when the disk grows over it: it does so before the header shows the new size.
 */
#include "block/qcow2/offline.h"

static bool io_failed(BlockNode *node, int ret, GError **error)
{
    return ret == 0 || error_set_errno(error, -ret, "'%s': cannot resize", node->filename);
}

/* The L1 table as it is, with room for more. */
static bool grow_l1(Qcow2Offline *o, uint32_t entries, uint64_t size, GError **error)
{
    Qcow2 *s = o->s;
    uint64_t offset, old_offset = s->h.l1_offset;
    uint32_t old_entries = s->h.l1_size;
    g_autofree uint64_t *l1 = qcow2_offline_read(o, old_offset, old_entries, error);
    if (!l1) {
        return false;
    }
    l1 = g_renew(uint64_t, l1, entries);
    memset(l1 + old_entries, 0, (entries - old_entries) * 8ULL);
    return qcow2_offline_alloc(o, entries * 8ULL, &offset, error) &&
           qcow2_offline_write(o, offset, l1, entries, error) && qcow2_offline_commit(o, error) &&
           qcow2_offline_show_l1(o, offset, entries, size, error) &&
           qcow2_offline_drop(o, old_offset, old_entries * 8ULL, error);
}

/* The disk's size, with tables for `reach` bytes. */
static bool set_size(Qcow2 *s, uint64_t reach, uint64_t size, GError **error)
{
    uint64_t entries = qcow2_l1_entries(&s->h, reach);
    Qcow2Offline o;
    if (entries > QCOW2_MAX_L1_BYTES / 8) {
        return error_set(
            error, "'%s': %" G_GUINT64_FORMAT " bytes are too large for clusters of this size",
            s->node->filename, reach);
    }
    if (!qcow2_offline_begin(&o, s, error)) {
        return false;
    }
    bool ok = entries > s->h.l1_size
                  ? grow_l1(&o, (uint32_t)entries, size, error)
                  : qcow2_offline_show_l1(&o, s->h.l1_offset, s->h.l1_size, size, error);
    return qcow2_offline_end(&o, ok, error);
}

/* What the new part would show (the rest of a cluster, and the backing file behind the old end)
 * becomes zeroes before anybody sees it. */
static bool hide_old(BlockNode *node, uint64_t old, uint64_t size, GError **error)
{
    Qcow2 *s = node->state;
    uint64_t end = MIN(ALIGN_UP(old, s->cluster_size), size);
    if (node->backing) {
        end = MAX(end, MIN(size, block_node_length(node->backing)));
    }
    if (old == end) {
        return true;
    }
    if (!set_size(s, size, old, error)) {
        return false;
    }
    atomic_store(&node->length, size);
    int ret = block_pwrite_zeroes(node, old, end - old, 0);
    bool ok = io_failed(node, ret, error) && qcow2_flush_all(s, error);
    atomic_store(&node->length, old);
    return ok;
}

static bool grow_data_file(BlockNode *node, uint64_t size, GError **error)
{
    return !node->data_file || block_node_length(node->data_file) >= size ||
           block_resize(node->data_file, size, error);
}

/* Entries of an external data file stay, discarded or not: they must not show old data when the
 * disk grows again. */
static int clear_data_file(BlockNode *node, uint64_t from, uint64_t to)
{
    Qcow2 *s = node->state;
    if (s->encryption) { /* zeroes of the file would be deciphered */
        return block_pwrite_zeroes(node, from, to - from, 0);
    }
    to = MIN(to, block_node_length(node->data_file));
    return from < to ? block_pwrite_zeroes(node->data_file, from, to - from, BLOCK_REQ_UNMAP) : 0;
}

static int drop_data(BlockNode *node, uint64_t old, uint64_t size)
{
    Qcow2 *s = node->state;
    uint64_t from = ALIGN_UP(size, s->cluster_size), to = ALIGN_DOWN(old, s->cluster_size);
    int ret = 0;
    if (node->data_file) {
        return clear_data_file(node, size, old);
    }
    if (to < old && size < old) { /* the last cluster is not whole: it cannot be discarded */
        uint64_t start = MAX(to, size);
        ret = block_pwrite_zeroes(node, start, old - start, BLOCK_REQ_UNMAP);
    }
    if (ret == 0 && from < to) {
        ret = block_discard(node, from, to - from);
    }
    return ret;
}

static bool shrink(BlockNode *node, uint64_t old, uint64_t size, GError **error)
{
    Qcow2 *s = node->state;
    int ret = drop_data(node, old, size);
    if (!io_failed(node, ret, error) || !qcow2_flush_all(s, error) ||
        !set_size(s, size, size, error)) {
        return false;
    }
    return !(s->h.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) || !node->data_file ||
           block_resize(node->data_file, size, error);
}

/* Entries must not deny what somebody who looks at the raw file alone writes to it. */
static bool show_raw_file(BlockNode *node, uint64_t old, uint64_t size, GError **error)
{
    Qcow2 *s = node->state;
    return !(s->h.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) || !node->data_file ||
           qcow2_preallocate(node, old, size - old, "metadata", error);
}

static bool grow(BlockNode *node, uint64_t old, uint64_t size, GError **error)
{
    return grow_data_file(node, size, error) && hide_old(node, old, size, error) &&
           set_size(node->state, size, size, error) && show_raw_file(node, old, size, error);
}

bool qcow2_resize(BlockNode *node, uint64_t size, GError **error)
{
    Qcow2 *s = node->state;
    uint64_t old = s->h.size;
    if (size % 512 || size > INT64_MAX) {
        return error_set(error, "a disk's size is a multiple of 512 bytes");
    }
    if (s->h.nb_snapshots && s->h.version < 3) {
        return error_set(error, "the image has snapshots, whose sizes version 2 does not know: the "
                                "size stays ('vireo-img amend -o compat=1.1' helps)");
    }
    if (s->h.has_bitmaps && size != old && !s->stored_bitmaps) {
        return error_set(error, "the image stores bitmaps that were not read, and whose sizes "
                                "would be wrong: open it so that they are");
    }
    if (size == old) {
        return true;
    }
    bool ok = size < old ? shrink(node, old, size, error) : grow(node, old, size, error);
    if (ok) {
        node_length_changed(node);
    }
    return ok;
}
