/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Maps of chunks that are still to be copied. */
#include "block/jobs/dirty.h"

DirtyMap *dirty_map_new(uint64_t length, unsigned chunk_bits)
{
    DirtyMap *map = g_new0(DirtyMap, 1);
    map->length = length;
    map->chunk_bits = chunk_bits;
    map->chunks = (length + (1ULL << chunk_bits) - 1) >> chunk_bits;
    map->words = (_Atomic uint64_t *)g_new0(uint64_t, map->chunks / 64 + 1);
    return map;
}

void dirty_map_free(DirtyMap *map)
{
    if (map) {
        g_free((void *)map->words);
        g_free(map);
    }
}

bool dirty_map_get(DirtyMap *map, uint64_t chunk)
{
    return atomic_load(&map->words[chunk / 64]) >> (chunk & 63) & 1;
}

static void set_chunk(DirtyMap *map, uint64_t chunk)
{
    uint64_t bit = 1ULL << (chunk & 63);
    if (!(atomic_fetch_or(&map->words[chunk / 64], bit) & bit)) {
        atomic_fetch_add(&map->count, 1);
    }
}

void dirty_map_set(DirtyMap *map, uint64_t offset, uint64_t bytes)
{
    if (!bytes || offset >= map->length) {
        return;
    }
    uint64_t last = (MIN(offset + bytes, map->length) - 1) >> map->chunk_bits;
    for (uint64_t chunk = offset >> map->chunk_bits; chunk <= last; chunk++) {
        set_chunk(map, chunk);
    }
}

void dirty_map_clear(DirtyMap *map, uint64_t chunk)
{
    uint64_t bit = 1ULL << (chunk & 63);
    if (atomic_fetch_and(&map->words[chunk / 64], ~bit) & bit) {
        atomic_fetch_sub(&map->count, 1);
    }
}

uint64_t dirty_map_bytes(DirtyMap *map)
{
    uint64_t last = map->chunks - 1, whole = 1ULL << map->chunk_bits;
    uint64_t bytes = dirty_map_count(map) << map->chunk_bits;
    if (map->chunks && dirty_map_get(map, last)) {
        bytes -= whole - dirty_map_chunk_bytes(map, last);
    }
    return bytes;
}

static bool take_between(DirtyMap *map, const DirtyMap *except, uint64_t from, uint64_t to,
                         uint64_t *chunk)
{
    for (uint64_t at = from; at < to;) {
        uint64_t word = atomic_load(&map->words[at / 64]) & (UINT64_MAX << (at & 63));
        if (except) {
            word &= ~atomic_load(&except->words[at / 64]);
        }
        if (!word) {
            at = (at | 63) + 1;
            continue;
        }
        uint64_t found = (at & ~63ULL) + (unsigned)__builtin_ctzll(word),
                 bit = 1ULL << (found & 63);
        if (found >= to) {
            return false;
        }
        if (atomic_fetch_and(&map->words[found / 64], ~bit) & bit) {
            atomic_fetch_sub(&map->count, 1);
            *chunk = found;
            return true;
        }
        at = found; /* another thread was faster */
    }
    return false;
}

bool dirty_map_take(DirtyMap *map, const DirtyMap *except, uint64_t from, uint64_t *chunk)
{
    from = from < map->chunks ? from : 0;
    return take_between(map, except, from, map->chunks, chunk) ||
           take_between(map, except, 0, from, chunk);
}
