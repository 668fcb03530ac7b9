/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers for the clusters of a file. */
#include "block/qcow2/counts.h"

static uint64_t chunks_for(uint64_t clusters)
{
    return (clusters + QCOW2_COUNTS_CHUNK - 1) / QCOW2_COUNTS_CHUNK;
}

void qcow2_counts_init(Qcow2Counts *c, uint64_t clusters)
{
    c->clusters = clusters;
    c->chunks = g_new0(uint16_t *, chunks_for(clusters));
    c->large = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
}

void qcow2_counts_grow(Qcow2Counts *c, uint64_t clusters)
{
    uint64_t old = chunks_for(c->clusters), new = chunks_for(clusters);
    if (clusters <= c->clusters) {
        return;
    }
    c->chunks = g_renew(uint16_t *, c->chunks, new);
    for (uint64_t i = old; i < new; i++) {
        c->chunks[i] = NULL;
    }
    c->clusters = clusters;
}

void qcow2_counts_free(Qcow2Counts *c)
{
    for (uint64_t i = 0; c->chunks && i < chunks_for(c->clusters); i++) {
        g_free(c->chunks[i]);
    }
    g_clear_pointer(&c->chunks, g_free);
    g_clear_pointer(&c->large, g_hash_table_unref);
}

uint64_t qcow2_counts_get_large(const Qcow2Counts *c, uint64_t cluster)
{
    const uint64_t *value = g_hash_table_lookup(c->large, &cluster);
    return value ? *value : UINT16_MAX;
}

void qcow2_counts_set(Qcow2Counts *c, uint64_t cluster, uint64_t value)
{
    uint16_t **chunk = &c->chunks[cluster / QCOW2_COUNTS_CHUNK];
    if (!*chunk) {
        if (!value) {
            return;
        }
        *chunk = g_new0(uint16_t, QCOW2_COUNTS_CHUNK);
    }
    uint16_t *slot = &(*chunk)[cluster % QCOW2_COUNTS_CHUNK];
    if (value >= UINT16_MAX) {
        g_hash_table_insert(c->large, g_memdup2(&cluster, 8), g_memdup2(&value, 8));
    } else if (*slot == UINT16_MAX) {
        g_hash_table_remove(c->large, &cluster);
    }
    *slot = (uint16_t)MIN(value, UINT16_MAX);
}

uint64_t qcow2_counts_next(const Qcow2Counts *c, uint64_t from)
{
    for (uint64_t i = from; i < c->clusters; i++) {
        const uint16_t *chunk = c->chunks[i / QCOW2_COUNTS_CHUNK];
        if (!chunk) {
            i |= QCOW2_COUNTS_CHUNK - 1;
        } else if (chunk[i % QCOW2_COUNTS_CHUNK]) {
            return i;
        }
    }
    return UINT64_MAX;
}
