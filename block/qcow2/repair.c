/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New refcount structures for an image whose own cannot be mended. They go behind everything else
 * in the file; the header shows them when they are there whole, and until then the old ones stand.
 */
#include "block/qcow2/check.h"

typedef struct Rebuild {
    Qcow2Checker *c;
    uint64_t start;    /* first cluster of the new structures: blocks, then the table */
    uint64_t blocks;   /* that are not all zeroes */
    uint64_t table;    /* clusters */
    uint64_t *entries; /* of the table, big-endian */
} Rebuild;

static uint64_t per_block(const Qcow2Checker *c)
{
    return 1ULL << qcow2_refblock_bits(c->h);
}

static uint64_t used_blocks(const Qcow2Checker *c)
{
    uint64_t blocks = 0;
    for (uint64_t i = qcow2_counts_next(&c->found, 0); i != UINT64_MAX;
         i = qcow2_counts_next(&c->found, (i / per_block(c) + 1) * per_block(c))) {
        blocks++;
    }
    return blocks;
}

/* Reserves the clusters at the end: they count themselves. */
static bool plan(Rebuild *r, GError **error)
{
    Qcow2Checker *c = r->c;
    uint64_t counted = 0, wanted;
    for (;;) {
        r->blocks = used_blocks(c);
        r->table = (((r->start + counted) / per_block(c) + 1) * 8 >> c->h->cluster_bits) + 1;
        wanted = r->blocks + r->table;
        if (r->table << c->h->cluster_bits > QCOW2_MAX_REFTABLE) {
            return error_set(error, "the refcount table would be larger than %llu bytes",
                             QCOW2_MAX_REFTABLE);
        }
        if (wanted <= counted) {
            break;
        }
        qcow2_counts_grow(&c->found, r->start + wanted);
        for (; counted < wanted; counted++) {
            qcow2_counts_set(&c->found, r->start + counted, 1);
        }
    }
    r->table = counted - r->blocks;
    return true;
}

static int write_block(const Rebuild *r, uint64_t index, uint64_t offset)
{
    const Qcow2Checker *c = r->c;
    size_t size = qcow2_cluster_size(c->h);
    g_autofree uint8_t *data = g_malloc0(size);
    for (uint64_t i = 0; i < per_block(c); i++) {
        uint64_t value = qcow2_counts_get(&c->found, index * per_block(c) + i);
        qcow2_refcount_set(data, c->h->refcount_order, i, MIN(value, qcow2_max_refcount(c->h)));
    }
    return node_pwrite(c->file, offset, data, size);
}

static int write_structures(Rebuild *r)
{
    Qcow2Checker *c = r->c;
    uint64_t offset = r->start << c->h->cluster_bits;
    r->entries = g_malloc0(r->table << c->h->cluster_bits);
    for (uint64_t i = qcow2_counts_next(&c->found, 0); i != UINT64_MAX;
         i = qcow2_counts_next(&c->found, (i / per_block(c) + 1) * per_block(c))) {
        int ret = write_block(r, i / per_block(c), offset);
        if (ret < 0) {
            return ret;
        }
        r->entries[i / per_block(c)] = GUINT64_TO_BE(offset);
        offset += qcow2_cluster_size(c->h);
    }
    int ret = node_pwrite(c->file, offset, r->entries, r->table << c->h->cluster_bits);
    return ret ? ret : node_flush(c->file);
}

static int show_structures(Rebuild *r)
{
    Qcow2Checker *c = r->c;
    uint8_t fields[QCOW2_H_HEADER_LENGTH - QCOW2_H_REFTABLE_OFFSET];
    uint64_t offset = (r->start + r->blocks) << c->h->cluster_bits;
    size_t bytes = c->h->version < 3 ? 12 : sizeof(fields); /* up to the width, in one sector */
    int ret = node_pread(c->file, QCOW2_H_REFTABLE_OFFSET, fields, bytes);
    store_be64(fields, offset);
    store_be32(fields + 8, (uint32_t)r->table);
    if (c->h->version >= 3) {
        store_be32(fields + (QCOW2_H_REFCOUNT_ORDER - QCOW2_H_REFTABLE_OFFSET),
                   c->h->refcount_order);
    }
    ret = ret ? ret : node_pwrite(c->file, QCOW2_H_REFTABLE_OFFSET, fields, bytes);
    ret = ret ? ret : node_flush(c->file);
    c->changed = true;
    if (ret == 0) {
        c->h->reftable_offset = offset;
        c->h->reftable_clusters = (uint32_t)r->table;
    }
    return ret;
}

/* What was wrong with refcounts is no more: they are what was found. */
static void settle(Qcow2Checker *c)
{
    BlockCheckResult *result = c->result;
    result->corruptions -= c->refcount_corruptions;
    result->corruptions_fixed += c->refcount_corruptions;
    result->leaks_fixed += result->leaks;
    result->leaks = 0;
    uint64_t overflows = 0;
    qcow2_counts_free(&c->disk);
    qcow2_counts_init(&c->disk, c->found.clusters);
    for (uint64_t i = qcow2_counts_next(&c->found, 0); i != UINT64_MAX;
         i = qcow2_counts_next(&c->found, i + 1)) {
        uint64_t value = qcow2_counts_get(&c->found, i);
        overflows += value > qcow2_max_refcount(c->h);
        qcow2_counts_set(&c->disk, i, MIN(value, qcow2_max_refcount(c->h)));
        result->image_end_offset = (i + 1) << c->h->cluster_bits;
    }
    result->corruptions += overflows;
    result->corruptions_fixed -= MIN(overflows, result->corruptions_fixed);
}

bool qcow2_check_rebuild(Qcow2Checker *c, GError **error)
{
    Rebuild r = { .c = c };
    for (uint64_t i = qcow2_counts_next(&c->found, 0); i != UINT64_MAX;
         i = qcow2_counts_next(&c->found, i + 1)) {
        r.start = i + 1; /* behind the old structures too */
    }
    qcow2_check_report(c, "all counts of references are written anew");
    for (guint i = 0; i < c->old_structures->len; i++) {
        uint64_t cluster = g_array_index(c->old_structures, uint64_t, i);
        qcow2_counts_set(&c->found, cluster, qcow2_counts_get(&c->found, cluster) - 1);
    }
    if (!plan(&r, error)) {
        return false;
    }
    int ret = write_structures(&r);
    ret = ret ? ret : show_structures(&r);
    g_free(r.entries);
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot write new refcounts");
    }
    settle(c);
    return true;
}
