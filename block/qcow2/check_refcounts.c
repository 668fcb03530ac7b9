/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The refcounts of an image that is checked: as the file has them, and single ones set right. */
#include "block/qcow2/check.h"

static uint64_t per_block(const Qcow2Checker *c)
{
    return 1ULL << qcow2_refblock_bits(c->h);
}

static bool block_usable(const Qcow2Checker *c, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_REFTABLE_OFFSET;
    return offset && !(entry & ~QCOW2_REFTABLE_OFFSET) &&
           !(offset & (qcow2_cluster_size(c->h) - 1)) && offset < c->file_length;
}

/* ---- Reading ---- */

static void take_block(Qcow2Checker *c, uint64_t index, const uint8_t *data)
{
    uint64_t first = index * per_block(c), count = MIN(per_block(c), c->disk.clusters - first);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t value = qcow2_refcount_get(data, c->h->refcount_order, i);
        if (value) {
            qcow2_counts_set(&c->disk, first + i, value);
        }
    }
}

static bool load_blocks(Qcow2Checker *c, GError **error)
{
    size_t size = qcow2_cluster_size(c->h);
    g_autofree uint8_t *data = g_malloc(size);
    for (uint64_t i = 0; i < c->reftable_entries && i * per_block(c) < c->disk.clusters; i++) {
        if (!block_usable(c, c->reftable[i])) {
            continue;
        }
        int ret = node_pread(c->file, c->reftable[i] & QCOW2_REFTABLE_OFFSET, data, size);
        if (ret < 0) {
            return error_set_errno(error, -ret, "cannot read refcount block %" G_GUINT64_FORMAT, i);
        }
        take_block(c, i, data);
    }
    return true;
}

bool qcow2_check_load_refcounts(Qcow2Checker *c, GError **error)
{
    uint64_t bytes = (uint64_t)c->h->reftable_clusters << c->h->cluster_bits;
    c->reftable_entries = bytes / 8;
    c->reftable = g_malloc(bytes);
    int ret = node_pread(c->file, c->h->reftable_offset, c->reftable, bytes);
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot read the refcount table");
    }
    for (uint64_t i = 0; i < c->reftable_entries; i++) {
        c->reftable[i] = GUINT64_FROM_BE(c->reftable[i]);
    }
    return load_blocks(c, error);
}

/* ---- Counting ---- */

static void count_block(Qcow2Checker *c, uint64_t index)
{
    uint64_t entry = c->reftable[index], offset = entry & QCOW2_REFTABLE_OFFSET;
    uint64_t cluster = offset >> c->h->cluster_bits;
    if (entry & ~QCOW2_REFTABLE_OFFSET) {
        qcow2_check_corrupt(c,
                            "ERROR entry %" G_GUINT64_FORMAT
                            " of the refcount table: bits are set that must be 0",
                            index);
    } else if (offset & (qcow2_cluster_size(c->h) - 1)) {
        qcow2_check_corrupt(c,
                            "ERROR refcount block %" G_GUINT64_FORMAT
                            " is not cluster aligned; refcount table entry corrupted",
                            index);
    } else if (offset >= c->file_length) {
        qcow2_check_corrupt(
            c, "ERROR refcount block %" G_GUINT64_FORMAT " lies behind the end of the file", index);
    } else {
        qcow2_check_refer(c, offset, qcow2_cluster_size(c->h), 1);
        g_array_append_val(c->old_structures, cluster);
        uint64_t references = qcow2_counts_get(&c->found, cluster);
        if (references == 1) {
            return;
        }
        qcow2_check_corrupt(
            c, "ERROR refcount block %" G_GUINT64_FORMAT " is counted %" G_GUINT64_FORMAT " times",
            index, references);
    }
    c->refcount_corruptions++;
    c->rebuild = true;
}

/* Whether every cluster that is referred to has a block that can count it. */
static bool blocks_suffice(const Qcow2Checker *c)
{
    for (uint64_t i = qcow2_counts_next(&c->found, 0); i != UINT64_MAX;
         i = qcow2_counts_next(&c->found, (i / per_block(c) + 1) * per_block(c))) {
        uint64_t block = i / per_block(c);
        if (block >= c->reftable_entries || !block_usable(c, c->reftable[block])) {
            return false;
        }
    }
    return true;
}

void qcow2_check_refblocks(Qcow2Checker *c)
{
    uint64_t bytes = (uint64_t)c->h->reftable_clusters << c->h->cluster_bits;
    uint64_t before = c->result->corruptions;
    qcow2_check_refer(c, c->h->reftable_offset, bytes, 1);
    if (c->result->corruptions == before) {
        for (uint64_t i = 0; i < c->h->reftable_clusters; i++) {
            uint64_t cluster = (c->h->reftable_offset >> c->h->cluster_bits) + i;
            g_array_append_val(c->old_structures, cluster);
        }
    } else {
        c->refcount_corruptions++;
        c->rebuild = true;
    }
    for (uint64_t i = 0; i < c->reftable_entries; i++) {
        if (c->reftable[i]) {
            count_block(c, i);
        }
    }
    c->rebuild |= !blocks_suffice(c);
}

/* ---- Comparing ---- */

static bool flush_block(Qcow2Checker *c, uint64_t index, GError **error)
{
    size_t size = qcow2_cluster_size(c->h);
    uint64_t first = index * per_block(c), offset = c->reftable[index] & QCOW2_REFTABLE_OFFSET;
    g_autofree uint8_t *data = g_malloc(size);
    int ret = node_pread(c->file, offset, data, size);
    for (uint64_t i = 0; !ret && i < per_block(c); i++) {
        if (first + i < c->disk.clusters) {
            qcow2_refcount_set(data, c->h->refcount_order, i,
                               qcow2_counts_get(&c->disk, first + i));
        } else if (c->fix & BLOCK_FIX_LEAKS) { /* behind the file's end, which this may move */
            qcow2_refcount_set(data, c->h->refcount_order, i, 0);
        }
    }
    ret = ret ? ret : node_pwrite(c->file, offset, data, size);
    c->changed = true;
    return ret == 0 ||
           error_set_errno(error, -ret, "cannot write refcount block %" G_GUINT64_FORMAT, index);
}

/* Whether one count can be set right where it is. */
static bool can_mend(const Qcow2Checker *c, uint64_t cluster, unsigned fix)
{
    uint64_t block = cluster / per_block(c), found = qcow2_counts_get(&c->found, cluster);
    return !c->rebuild && block < c->reftable_entries && block_usable(c, c->reftable[block]) &&
           found <= qcow2_max_refcount(c->h) &&
           fix & (qcow2_counts_get(&c->disk, cluster) > found ? BLOCK_FIX_LEAKS : BLOCK_FIX_ERRORS);
}

/* True: the count was changed in memory. */
static bool compare_cluster(Qcow2Checker *c, uint64_t cluster, unsigned fix)
{
    uint64_t disk = qcow2_counts_get(&c->disk, cluster),
             found = qcow2_counts_get(&c->found, cluster);
    bool leak = disk > found, mend = can_mend(c, cluster, fix);
    qcow2_check_report(c,
                       "%s cluster %" G_GUINT64_FORMAT " refcount=%" G_GUINT64_FORMAT
                       " reference=%" G_GUINT64_FORMAT,
                       mend   ? "Repairing"
                       : leak ? "Leaked"
                              : "ERROR",
                       cluster, disk, found);
    if (mend) {
        *(leak ? &c->result->leaks_fixed : &c->result->corruptions_fixed) += 1;
        qcow2_counts_set(&c->disk, cluster, found);
    } else {
        *(leak ? &c->result->leaks : &c->result->corruptions) += 1;
        c->refcount_corruptions += !leak;
    }
    return mend;
}

static bool chunk_is_empty(const Qcow2Checker *c, uint64_t cluster)
{
    uint64_t chunk = cluster / QCOW2_COUNTS_CHUNK;
    return (cluster >= c->found.clusters || !c->found.chunks[chunk]) &&
           (cluster >= c->disk.clusters || !c->disk.chunks[chunk]);
}

bool qcow2_check_compare(Qcow2Checker *c, unsigned fix, GError **error)
{
    uint64_t highest = 0, dirty = UINT64_MAX, end = MAX(c->clusters, c->found.clusters);
    qcow2_counts_grow(&c->disk, end);
    for (uint64_t i = 0; i < end; i++) {
        if (i % QCOW2_COUNTS_CHUNK == 0 && chunk_is_empty(c, i)) {
            i += QCOW2_COUNTS_CHUNK - 1;
            continue;
        }
        uint64_t disk = qcow2_counts_get(&c->disk, i), found = qcow2_counts_get(&c->found, i);
        highest = disk || found ? i : highest;
        if (dirty != UINT64_MAX && i / per_block(c) != dirty) {
            if (!flush_block(c, dirty, error)) {
                return false;
            }
            dirty = UINT64_MAX;
        }
        if (disk != found && compare_cluster(c, i, fix)) {
            dirty = i / per_block(c);
        }
    }
    c->result->image_end_offset = (highest + 1) << c->h->cluster_bits;
    if (dirty != UINT64_MAX && !flush_block(c, dirty, error)) {
        return false;
    }
    int ret = fix ? node_flush(c->file) : 0;
    return ret == 0 || error_set_errno(error, -ret, "cannot flush the image");
}
