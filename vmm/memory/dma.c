/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DMA: devices' accesses to RAM. */
#include "vmm/memory/dma.h"

#include <string.h>
#include "vmm/memory/flatmap.h"
#include "vmm/memory/ram-private.h"
#include "vmm/memory/rcu.h"
#include "vmm/trace/trace-memory.h"

/* The RAM range that holds addr, or NULL. */
static const RamRange *find_ram(const FlatMap *map, uint64_t addr)
{
    uint32_t low = 0;
    uint32_t high = map->ram_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->ram[middle].last < addr) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < map->ram_count && map->ram[low].start <= addr ? &map->ram[low] : NULL;
}

typedef struct DmaPiece {
    const RamRange *range;
    uint8_t *host;
    uint64_t offset; /* in the block */
    uint64_t len;
} DmaPiece;

/* The longest piece at addr of at most len bytes; false when addr is not (writable) RAM or the
 * range would wrap. */
static bool next_piece(const FlatMap *map, uint64_t addr, uint64_t len, bool write, DmaPiece *piece)
{
    if (len == 0 || addr > UINT64_MAX - (len - 1)) {
        return false;
    }
    const RamRange *range = find_ram(map, addr);
    if (!range || (write && range->readonly)) {
        return false;
    }
    uint64_t room = range->last - addr; /* room + 1 bytes */
    piece->range = range;
    piece->offset = range->offset + (addr - range->start);
    piece->host = range->block->host + piece->offset;
    piece->len = room < len ? room + 1 : len;
    return true;
}

static inline bool logging(void)
{
    return __atomic_load_n(&ram_dirty_logs, __ATOMIC_RELAXED) != 0;
}

static bool copy(AddressSpace *space, uint64_t addr, uint8_t *data, uint64_t len, bool write)
{
    bool ok = true;
    rcu_section_enter();
    const FlatMap *map = address_space_map_get(space);
    while (ok && len) {
        DmaPiece piece;
        ok = next_piece(map, addr, len, write, &piece);
        if (!ok) {
            trace_dma_failed(addr, len, write);
            break;
        }
        if (write) {
            memcpy(piece.host, data, piece.len);
            if (logging()) {
                ram_block_mark_dirty(piece.range->block, piece.offset, piece.len);
            }
        } else {
            memcpy(data, piece.host, piece.len);
        }
        addr += piece.len;
        data += piece.len;
        len -= piece.len;
    }
    rcu_section_leave();
    return ok;
}

bool dma_read(AddressSpace *space, uint64_t addr, void *data, uint64_t len)
{
    return copy(space, addr, data, len, false);
}

bool dma_write(AddressSpace *space, uint64_t addr, const void *data, uint64_t len)
{
    return copy(space, addr, (uint8_t *)data, len, true);
}

void *dma_translate(AddressSpace *space, uint64_t addr, uint64_t len, bool write)
{
    DmaPiece piece;
    rcu_section_enter();
    bool ok = next_piece(address_space_map_get(space), addr, len, write, &piece);
    uint8_t *host = ok && piece.len == len ? piece.host : NULL;
    rcu_section_leave();
    if (!host) {
        trace_dma_failed(addr, len, write);
    }
    return host;
}

bool dma_map(AddressSpace *space, uint64_t addr, uint64_t len, bool write, struct iovec *iov,
             unsigned max, unsigned *count)
{
    bool ok = len != 0;
    rcu_section_enter();
    const FlatMap *map = address_space_map_get(space);
    unsigned used = *count;
    while (ok && len) {
        DmaPiece piece;
        ok = used < max && next_piece(map, addr, len, write, &piece);
        if (ok) {
            iov[used++] = (struct iovec){ .iov_base = piece.host, .iov_len = piece.len };
            addr += piece.len;
            len -= piece.len;
        }
    }
    rcu_section_leave();
    if (ok) {
        *count = used;
    }
    return ok;
}

void dma_dirty(AddressSpace *space, uint64_t addr, uint64_t len)
{
    if (!logging()) {
        return;
    }
    rcu_section_enter();
    const FlatMap *map = address_space_map_get(space);
    DmaPiece piece;
    while (len && next_piece(map, addr, len, false, &piece)) {
        ram_block_mark_dirty(piece.range->block, piece.offset, piece.len);
        addr += piece.len;
        len -= piece.len;
    }
    rcu_section_leave();
}

bool dma_logging(void)
{
    return logging();
}

/* The RAM range that host points into, and how far; NULL when none. */
static const RamRange *find_host(const FlatMap *map, const uint8_t *host, uint64_t *in_range)
{
    for (uint32_t i = 0; i < map->ram_count; i++) {
        const RamRange *range = &map->ram[i];
        const uint8_t *first = range->block->host + range->offset;
        if (host >= first && (uint64_t)(host - first) <= range->last - range->start) {
            *in_range = host - first;
            return range;
        }
    }
    return NULL;
}

void dma_dirty_host(AddressSpace *space, const void *host, uint64_t len)
{
    uint64_t in_range;
    rcu_section_enter();
    const RamRange *range = find_host(address_space_map_get(space), host, &in_range);
    if (range && len) {
        uint64_t room = range->last - range->start - in_range;
        ram_block_mark_dirty(range->block, range->offset + in_range, MIN(len - 1, room) + 1);
    }
    rcu_section_leave();
}

bool dma_guest_address(AddressSpace *space, const void *host, uint64_t *addr)
{
    uint64_t in_range;
    rcu_section_enter();
    const RamRange *range = find_host(address_space_map_get(space), host, &in_range);
    if (range) {
        *addr = range->start + in_range;
    }
    rcu_section_leave();
    return range != NULL;
}

bool dma_find_ram(AddressSpace *space, uint64_t addr, uint64_t len, RamBlock **block,
                  uint64_t *offset)
{
    DmaPiece piece;
    rcu_section_enter();
    bool ok = next_piece(address_space_map_get(space), addr, len, false, &piece) &&
              piece.len == len;
    if (ok) {
        *block = piece.range->block;
        *offset = piece.offset;
    }
    rcu_section_leave();
    return ok;
}
