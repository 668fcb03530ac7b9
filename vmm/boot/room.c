/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Room for boot data in guest RAM: what the memory map calls RAM, less what was taken. */
#include <string.h>
#include "vmm/boot/boot_private.h"
#include "vmm/memory/dma.h"

void boot_room_init(BootRoom *room, Machine *machine, const MemoryMap *map)
{
    room->machine = machine;
    room->map = map;
    room->taken = g_array_new(FALSE, FALSE, sizeof(BootRange));
}

void boot_room_clear(BootRoom *room)
{
    g_array_unref(room->taken);
}

/* The first taken range or non-RAM entry that [start, last] touches, or NULL. */
static bool room_conflict(const BootRoom *room, uint64_t start, uint64_t last, BootRange *conflict)
{
    for (guint i = 0; i < room->taken->len; i++) {
        const BootRange *range = &g_array_index(room->taken, BootRange, i);
        if (start <= range->last && range->start <= last) {
            *conflict = *range;
            return true;
        }
    }
    for (unsigned i = 0; i < room->map->count; i++) {
        const MemoryMapEntry *entry = &room->map->entries[i];
        uint64_t entry_last = entry->start + entry->length - 1;
        if (entry->type != MEMORY_MAP_RAM && entry->length && start <= entry_last &&
            entry->start <= last) {
            *conflict = (BootRange){ entry->start, entry_last };
            return true;
        }
    }
    return false;
}

static bool room_is_ram(const BootRoom *room, uint64_t start, uint64_t last)
{
    for (unsigned i = 0; i < room->map->count; i++) {
        const MemoryMapEntry *entry = &room->map->entries[i];
        if (entry->type == MEMORY_MAP_RAM && entry->length && start >= entry->start &&
            last <= entry->start + entry->length - 1) {
            return true;
        }
    }
    return false;
}

static void room_mark(BootRoom *room, uint64_t start, uint64_t len)
{
    BootRange range = { start, start + len - 1 };
    g_array_append_val(room->taken, range);
}

bool boot_room_take(BootRoom *room, uint64_t start, uint64_t len)
{
    BootRange conflict;
    if (len == 0 || start > UINT64_MAX - (len - 1) || !room_is_ram(room, start, start + len - 1) ||
        room_conflict(room, start, start + len - 1, &conflict)) {
        return false;
    }
    room_mark(room, start, len);
    return true;
}

static uint64_t room_high_in_entry(const BootRoom *room, uint64_t len, uint64_t align, uint64_t low,
                                   uint64_t last)
{
    /* Page 0 is never given out: its address means "none". */
    low = MAX(low, align);
    while (last >= low && last - low >= len - 1) {
        uint64_t start = ALIGN_DOWN(last - (len - 1), align);
        BootRange conflict;
        if (start < low) {
            return 0;
        }
        if (!room_conflict(room, start, start + len - 1, &conflict)) {
            return start;
        }
        if (conflict.start == 0) {
            return 0;
        }
        last = conflict.start - 1;
    }
    return 0;
}

uint64_t boot_room_take_high(BootRoom *room, uint64_t len, uint64_t align, uint64_t low,
                             uint64_t limit)
{
    uint64_t best = 0;
    for (unsigned i = 0; len && limit && i < room->map->count; i++) {
        const MemoryMapEntry *entry = &room->map->entries[i];
        if (entry->type == MEMORY_MAP_RAM && entry->length && entry->start < limit) {
            uint64_t last = MIN(entry->start + entry->length - 1, limit - 1);
            best = MAX(best, room_high_in_entry(room, len, align, MAX(low, entry->start), last));
        }
    }
    if (best) {
        room_mark(room, best, len);
    }
    return best;
}

static uint64_t room_low_in_entry(const BootRoom *room, uint64_t len, uint64_t align, uint64_t low,
                                  uint64_t last)
{
    uint64_t start = ALIGN_UP(MAX(low, 1), align);
    while (start >= low && start <= last && last - start >= len - 1) {
        BootRange conflict;
        if (!room_conflict(room, start, start + len - 1, &conflict)) {
            return start;
        }
        if (conflict.last >= last) {
            return 0;
        }
        start = ALIGN_UP(conflict.last + 1, align);
    }
    return 0;
}

uint64_t boot_room_take_low(BootRoom *room, uint64_t len, uint64_t align, uint64_t low,
                            uint64_t limit)
{
    uint64_t best = 0;
    for (unsigned i = 0; len && limit && i < room->map->count; i++) {
        const MemoryMapEntry *entry = &room->map->entries[i];
        if (entry->type != MEMORY_MAP_RAM || !entry->length || entry->start >= limit) {
            continue;
        }
        uint64_t last = MIN(entry->start + entry->length - 1, limit - 1);
        uint64_t found = room_low_in_entry(room, len, align, MAX(low, entry->start), last);
        if (found && (!best || found < best)) {
            best = found;
        }
    }
    if (best) {
        room_mark(room, best, len);
    }
    return best;
}

/* ---- Filling ---- */

static bool room_not_ram(uint64_t addr, uint64_t len, GError **error)
{
    return error_set(error,
                     "the memory map calls %" PRIu64 " bytes at 0x%" PRIx64
                     " RAM, but the machine has no RAM there",
                     len, addr);
}

/* Pages that are zero already are left alone: untouched memory stays untouched. */
static void zero_host(uint8_t *host, uint64_t len)
{
    static const uint8_t zeroes[BOOT_PAGE];
    while (len > 0) {
        uint64_t part = MIN(len, BOOT_PAGE - ((uintptr_t)host & (BOOT_PAGE - 1)));
        if (memcmp(host, zeroes, part) != 0) {
            memset(host, 0, part);
        }
        host += part;
        len -= part;
    }
}

bool boot_room_load(BootRoom *room, uint64_t addr, BootSource *source, uint64_t offset,
                    uint64_t file_len, uint64_t len, GError **error)
{
    AddressSpace *memory = room->machine->memory;
    uint8_t *host = dma_translate(memory, addr, len, true);
    if (!host) {
        return room_not_ram(addr, len, error);
    }
    if (!boot_source_read(source, offset, host, file_len, error)) {
        return false;
    }
    zero_host(host + file_len, len - file_len);
    dma_dirty(memory, addr, len);
    return true;
}

bool boot_room_write(BootRoom *room, uint64_t addr, const void *data, uint64_t len, GError **error)
{
    if (!dma_write(room->machine->memory, addr, data, len)) {
        return room_not_ram(addr, len, error);
    }
    return true;
}
