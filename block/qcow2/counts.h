/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A number for each cluster of a file, mostly small and mostly in few places. */
#ifndef BLOCK_QCOW2_COUNTS_H
#define BLOCK_QCOW2_COUNTS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define QCOW2_COUNTS_CHUNK 4096u

typedef struct Qcow2Counts {
    uint64_t clusters;
    uint16_t **chunks; /* NULL: all zero; UINT16_MAX: see `large` */
    GHashTable *large; /* cluster to uint64_t */
} Qcow2Counts;

void qcow2_counts_init(Qcow2Counts *c, uint64_t clusters);
void qcow2_counts_grow(Qcow2Counts *c, uint64_t clusters);
void qcow2_counts_free(Qcow2Counts *c);
void qcow2_counts_set(Qcow2Counts *c, uint64_t cluster, uint64_t value);
/* The next cluster at or after `from` whose number is not 0; UINT64_MAX: none. */
uint64_t qcow2_counts_next(const Qcow2Counts *c, uint64_t from);
uint64_t qcow2_counts_get_large(const Qcow2Counts *c, uint64_t cluster);

static inline uint64_t qcow2_counts_get(const Qcow2Counts *c, uint64_t cluster)
{
    if (cluster >= c->clusters || !c->chunks[cluster / QCOW2_COUNTS_CHUNK]) {
        return 0;
    }
    uint16_t value = c->chunks[cluster / QCOW2_COUNTS_CHUNK][cluster % QCOW2_COUNTS_CHUNK];
    return value == UINT16_MAX ? qcow2_counts_get_large(c, cluster) : value;
}

/* Adds, up to UINT64_MAX. */
static inline void qcow2_counts_add(Qcow2Counts *c, uint64_t cluster, uint64_t n)
{
    uint64_t old = qcow2_counts_get(c, cluster);
    qcow2_counts_set(c, cluster, old > UINT64_MAX - n ? UINT64_MAX : old + n);
}

#endif
