/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The immutable snapshot of an address space that dispatch and DMA read. Private to vmm/memory. */
#ifndef VMM_MEMORY_FLATMAP_H
#define VMM_MEMORY_FLATMAP_H

#include "vmm/memory/address_space.h"

/* A flat range with what dispatch needs of its region at hand. */
typedef struct MapRange {
    FlatRange flat;
    const MemOps *ops;
    void *opaque;
    GMutex *lock;
    uint64_t region_size;
    uint8_t *host; /* of flat.start, RAM and ROM */
    RegionKind kind;
    uint8_t min_size;
    uint8_t max_size;
    uint32_t eventfd_first; /* its doorbells in the map's list */
    uint32_t eventfd_count;
} MapRange;

/* RAM as DMA sees it: neighbours that are contiguous on the host are one. */
typedef struct RamRange {
    uint64_t start;
    uint64_t last;
    RamBlock *block;
    uint64_t offset; /* of start in the block */
    bool readonly;
} RamRange;

typedef struct FlatMap {
    uint64_t generation; /* unique in the process */
    struct FlatMap *next_retired;
    uint32_t range_count;
    uint32_t ram_count;
    uint32_t eventfd_count;
    MapRange *ranges;
    RamRange *ram;
    IoEventFd *eventfds; /* sorted by address */
} FlatMap;

typedef struct RegionEventfd {
    uint64_t offset;
    unsigned size;
    bool match;
    uint64_t value;
    int fd;
} RegionEventfd;

struct AddressSpace {
    char *name;
    uint64_t limit;
    GPtrArray *regions; /* MemRegion *, in order of placement */
    FlatMap *map;       /* atomic */
    unsigned depth;     /* of begin */
    bool changed;
    const MemListener *listener;
    AddressSpace *base; /* of a view; NULL */
    AddressSpace *view; /* of this one; NULL */
};

FlatMap *flat_map_build(const AddressSpace *space);
void flat_map_free(FlatMap *map);
int io_eventfd_compare(const void *a, const void *b);

/* The present map; inside a read section. */
static inline const FlatMap *address_space_map_get(const AddressSpace *space)
{
    return __atomic_load_n(&space->map, __ATOMIC_ACQUIRE);
}

/* The range that holds addr, or else the first behind it, or NULL. */
static inline const MapRange *flat_map_find(const FlatMap *map, uint64_t addr)
{
    uint32_t low = 0;
    uint32_t high = map->range_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->ranges[middle].flat.last < addr) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < map->range_count ? &map->ranges[low] : NULL;
}

#endif
