/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a job still has to copy: a bit for each chunk of a disk. Writers of the disk set bits from
 * any thread without a lock; the job's threads take chunks one by one.
 */
#ifndef BLOCK_JOBS_DIRTY_H
#define BLOCK_JOBS_DIRTY_H

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct DirtyMap {
    uint64_t length;     /* of the disk, bytes */
    unsigned chunk_bits; /* log2 of a chunk's bytes */
    uint64_t chunks;
    _Atomic uint64_t *words;
    _Atomic uint64_t count; /* bits that are set */
} DirtyMap;

/* All clean. */
DirtyMap *dirty_map_new(uint64_t length, unsigned chunk_bits);
void dirty_map_free(DirtyMap *map);
/* Every chunk that the range touches. Any thread. */
void dirty_map_set(DirtyMap *map, uint64_t offset, uint64_t bytes);
bool dirty_map_get(DirtyMap *map, uint64_t chunk); /* any thread */
/* Clears the first dirty chunk at or behind `from`, going round once; false: all are clean. Any
 * thread. `except` (may be NULL): chunks that are left alone. */
bool dirty_map_take(DirtyMap *map, const DirtyMap *except, uint64_t from, uint64_t *chunk);
void dirty_map_clear(DirtyMap *map, uint64_t chunk); /* any thread */
/* Bytes of all chunks that are set; nobody changes it meanwhile. */
uint64_t dirty_map_bytes(DirtyMap *map);

static inline uint64_t dirty_map_count(DirtyMap *map)
{
    return atomic_load(&map->count);
}

static inline uint64_t dirty_map_chunk_bytes(const DirtyMap *map, uint64_t chunk)
{
    uint64_t offset = chunk << map->chunk_bits;
    return MIN(1ULL << map->chunk_bits, map->length - offset);
}

#endif
