/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU accesses: finding the range, splitting what the window does not take, calling handlers. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include "vmm/log.h"
#include "vmm/memory/flatmap.h"
#include "vmm/memory/ram-private.h"
#include "vmm/memory/rcu.h"
#include "vmm/trace/trace-memory.h"
#include "vmm/util/bytes.h"

static inline uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (1ULL << (size * 8)) - 1;
}

/* The largest aligned piece of at most `left` bytes at offset that is no wider than max. */
static unsigned piece_size(uint64_t offset, uint64_t left, unsigned max)
{
    unsigned size = max;
    while (size > 1 && (size > left || (offset & (size - 1)))) {
        size /= 2;
    }
    return size;
}

/* ---- Registers; the window's lock is held ---- */

static inline uint64_t window_read(const MapRange *range, uint64_t offset, unsigned size)
{
    uint64_t value = range->ops->read(range->opaque, offset, size) & size_mask(size);
    trace_memory_region_ops_read(range->flat.region->name, offset, size, value);
    return value;
}

static inline void window_write(const MapRange *range, uint64_t offset, uint64_t value,
                                unsigned size)
{
    trace_memory_region_ops_write(range->flat.region->name, offset, size, value);
    range->ops->write(range->opaque, offset, value, size);
}

static void io_read_split(const MapRange *range, uint64_t offset, uint8_t *data, uint64_t len)
{
    while (len) {
        unsigned size = piece_size(offset, len, range->max_size);
        unsigned width = MAX(size, range->min_size);
        uint64_t base = offset & ~(uint64_t)(width - 1);
        uint64_t skip = offset - base;
        size = (unsigned)MIN(len, width - skip);
        uint64_t value = UINT64_MAX;
        if (range_inside(base, width, range->region_size)) {
            value = window_read(range, base, width);
        }
        store_le(data, value >> (skip * 8), size);
        data += size;
        offset += size;
        len -= size;
    }
}

static void io_write_split(const MapRange *range, uint64_t offset, const uint8_t *data,
                           uint64_t len)
{
    while (len) {
        unsigned size = piece_size(offset, len, range->max_size);
        if (size >= range->min_size) {
            window_write(range, offset, load_le(data, size), size);
        }
        data += size;
        offset += size;
        len -= size;
    }
}

static inline bool io_direct(const MapRange *range, uint64_t offset, unsigned size)
{
    return size <= range->max_size && size >= range->min_size && (offset & (size - 1)) == 0 &&
           (size & (size - 1)) == 0;
}

static inline void range_lock(const MapRange *range)
{
    if (range->lock) {
        g_mutex_lock(range->lock);
    }
}

static inline void range_unlock(const MapRange *range)
{
    if (range->lock) {
        g_mutex_unlock(range->lock);
    }
}

static inline uint64_t io_load(const MapRange *range, uint64_t offset, unsigned size)
{
    uint64_t value;
    if (!range->ops->read) {
        return size_mask(size);
    }
    range_lock(range);
    if (G_LIKELY(io_direct(range, offset, size))) {
        value = window_read(range, offset, size);
    } else {
        uint8_t bytes[8];
        io_read_split(range, offset, bytes, size);
        value = load_le(bytes, size);
    }
    range_unlock(range);
    return value;
}

static inline void io_store(const MapRange *range, uint64_t offset, uint64_t value, unsigned size)
{
    if (!range->ops->write) {
        return;
    }
    range_lock(range);
    if (G_LIKELY(io_direct(range, offset, size))) {
        window_write(range, offset, value & size_mask(size), size);
    } else {
        uint8_t bytes[8];
        store_le(bytes, value, size);
        io_write_split(range, offset, bytes, size);
    }
    range_unlock(range);
}

/* Whether the write rang a doorbell, which then was signalled. */
static bool ring_doorbell(const FlatMap *map, const MapRange *range, uint64_t addr, uint64_t value,
                          unsigned size)
{
    const IoEventFd *list = map->eventfds + range->eventfd_first;
    uint32_t low = 0;
    uint32_t high = range->eventfd_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list[middle].addr < addr) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < range->eventfd_count && list[low].addr == addr; low++) {
        const IoEventFd *item = &list[low];
        if ((item->size == 0 || item->size == size) &&
            (!item->match || (item->value & size_mask(size)) == (value & size_mask(size)))) {
            uint64_t one = 1;
            /* A counter that is full is signalled already. */
            ssize_t written = write(item->fd, &one, sizeof(one));
            (void)written;
            trace_memory_doorbell(range->flat.region->name, addr, size, value);
            return true;
        }
    }
    return false;
}

/* ---- RAM ---- */

static uint64_t ram_load(const uint8_t *host, unsigned size)
{
    switch (size) {
    case 1:
        return __atomic_load_n(host, __ATOMIC_RELAXED);
    case 2:
        return load_le16(host);
    case 4:
        return load_le32(host);
    default:
        return load_le(host, size);
    }
}

static void ram_store(const MapRange *range, uint64_t at, const void *data, uint64_t len)
{
    memcpy(range->host + at, data, len);
    if (__atomic_load_n(&ram_dirty_logs, __ATOMIC_RELAXED)) {
        const MemRegion *region = range->flat.region;
        ram_block_mark_dirty(region->ram, region->ram_offset + range->flat.offset + at, len);
    }
}

/* ---- Any length ---- */

static bool read_map(const FlatMap *map, uint64_t addr, uint8_t *data, uint64_t len)
{
    bool all = true;
    while (len) {
        const MapRange *range = flat_map_find(map, addr);
        uint64_t at = range && range->flat.start <= addr ? addr - range->flat.start : 0;
        uint64_t run = len;
        if (!range || range->flat.start > addr) {
            run = range ? MIN(len, range->flat.start - addr) : len;
            memset(data, 0xff, run);
            trace_memory_unassigned_read(addr, run);
            all = false;
        } else {
            uint64_t room = range->flat.last - addr; /* room + 1 bytes */
            run = room < len ? room + 1 : len;
            if (range->kind == REGION_IO && range->ops->read) {
                range_lock(range);
                io_read_split(range, range->flat.offset + at, data, run);
                range_unlock(range);
            } else if (range->kind == REGION_IO) {
                memset(data, 0xff, run);
            } else {
                memcpy(data, range->host + at, run);
            }
        }
        data += run;
        len -= run;
        if (addr > UINT64_MAX - run) { /* nothing is behind the top */
            memset(data, 0xff, len);
            return all && len == 0;
        }
        addr += run;
    }
    return all;
}

static void write_io(const FlatMap *map, const MapRange *range, uint64_t addr, const uint8_t *data,
                     uint64_t run)
{
    uint64_t offset = range->flat.offset + (addr - range->flat.start);
    if (run <= 8 && range->eventfd_count &&
        ring_doorbell(map, range, addr, load_le(data, (unsigned)run), (unsigned)run)) {
        return;
    }
    if (range->ops->write) {
        range_lock(range);
        io_write_split(range, offset, data, run);
        range_unlock(range);
    }
}

static bool write_map(const FlatMap *map, uint64_t addr, const uint8_t *data, uint64_t len)
{
    bool all = true;
    while (len) {
        const MapRange *range = flat_map_find(map, addr);
        uint64_t run;
        if (!range || range->flat.start > addr) {
            run = range ? MIN(len, range->flat.start - addr) : len;
            trace_memory_unassigned_write(addr, run);
            all = false;
        } else {
            uint64_t room = range->flat.last - addr;
            run = room < len ? room + 1 : len;
            if (range->ops) {
                write_io(map, range, addr, data, run);
            } else if (range->kind == REGION_RAM && !range->flat.region->ram->readonly) {
                ram_store(range, addr - range->flat.start, data, run);
            }
        }
        data += run;
        len -= run;
        if (addr > UINT64_MAX - run) {
            return all && len == 0;
        }
        addr += run;
    }
    return all;
}

bool address_space_read(AddressSpace *space, uint64_t addr, void *data, uint64_t len)
{
    rcu_section_enter();
    bool all = read_map(address_space_map_get(space), addr, data, len);
    rcu_section_leave();
    return all;
}

bool address_space_write(AddressSpace *space, uint64_t addr, const void *data, uint64_t len)
{
    rcu_section_enter();
    bool all = write_map(address_space_map_get(space), addr, data, len);
    rcu_section_leave();
    return all;
}

/* ---- The vCPU's way ---- */

/* The range that holds the whole access, by the cache when it can tell; NULL when none does. The
 * cache names the map by its generation, so that a new map at a freed one's address is not taken
 * for it. */
static inline const MapRange *lookup(const FlatMap *map, DispatchCache *cache, uint64_t addr,
                                     unsigned size)
{
    const void *generation = (const void *)(uintptr_t)map->generation;
    const MapRange *range = cache->range;
    if (G_UNLIKELY(cache->map != generation || addr < range->flat.start ||
                   addr > range->flat.last)) {
        range = flat_map_find(map, addr);
        if (!range || range->flat.start > addr) {
            cache->map = NULL;
            cache->window = cache->windows ? &cache->windows->none : NULL;
            return NULL;
        }
        cache->map = generation;
        cache->range = range;
        if (cache->windows) {
            const MemRegion *region = range->flat.region;
            cache->window =
                exit_windows_find(cache->windows, region->id, region->name, region->addr);
        }
    }
    return range->flat.last - addr >= size - 1 ? range : NULL;
}

static void log_nobody(const AddressSpace *space, const char *what, uint64_t addr, unsigned size)
{
    if (log_wants(LOG_GUEST_ERRORS)) {
        log_line("%s of %u bytes at 0x%" PRIx64 " of '%s': nothing is there", what, size, addr,
                 space->name);
    }
}

uint64_t address_space_load(AddressSpace *space, DispatchCache *cache, uint64_t addr, unsigned size)
{
    uint64_t value;
    rcu_section_enter();
    const FlatMap *map = address_space_map_get(space);
    const MapRange *range = lookup(map, cache, addr, size);
    if (G_UNLIKELY(!range)) {
        uint8_t bytes[8];
        if (!read_map(map, addr, bytes, size)) {
            log_nobody(space, "read", addr, size);
        }
        value = load_le(bytes, size);
    } else if (G_LIKELY(range->kind == REGION_IO)) {
        value = io_load(range, range->flat.offset + (addr - range->flat.start), size);
    } else {
        value = ram_load(range->host + (addr - range->flat.start), size);
    }
    rcu_section_leave();
    return value;
}

void address_space_store(AddressSpace *space, DispatchCache *cache, uint64_t addr, uint64_t value,
                         unsigned size)
{
    rcu_section_enter();
    const FlatMap *map = address_space_map_get(space);
    const MapRange *range = lookup(map, cache, addr, size);
    if (G_LIKELY(range && range->kind == REGION_IO)) {
        if (range->eventfd_count == 0 || !ring_doorbell(map, range, addr, value, size)) {
            io_store(range, range->flat.offset + (addr - range->flat.start), value, size);
        }
    } else {
        uint8_t bytes[8];
        store_le(bytes, value, size);
        if (!write_map(map, addr, bytes, size)) {
            log_nobody(space, "write", addr, size);
        }
    }
    rcu_section_leave();
}
