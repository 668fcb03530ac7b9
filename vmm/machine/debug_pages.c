/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that the guest's page tables map (Intel SDM volume 3, chapter 4), for the monitor. */
#include "vmm/machine/debug.h"

#include "vmm/machine/machine.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

#define CR0_PG      (1u << 31)
#define CR4_PSE     (1u << 4)
#define CR4_PAE     (1u << 5)
#define CR4_LA57    (1u << 12)
#define EFER_LMA    (1u << 10)
#define ENTRY_VALID 1u
#define ENTRY_LARGE (1u << 7)
#define ENTRY_BOTH  6u /* writable, user: hold when all levels say so */
#define ENTRY_NX    (1ULL << 63)
#define FRAME_MASK  0x000ffffffffff000ULL /* bits 51:12 */

typedef struct PageWalk {
    Machine *machine;
    const DebugRegs *regs;
    uint64_t left; /* entries that may still be read */
    bool (*fn)(const DebugPage *page, void *opaque);
    void *opaque;
    bool told_to_stop;
} PageWalk;

/* One level's table: its entries select by `bits` address bits from `shift` on. */
typedef struct PageLevel {
    uint64_t table;
    unsigned shift, bits, entry_size;
    uint64_t linear; /* of its first entry */
    uint64_t access;
    bool top_of_pae; /* whose entries have no flags */
    unsigned sign;   /* bits of an address whose highest is repeated above; 0: not here */
} PageLevel;

static uint64_t page_frame(const PageLevel *level, uint64_t entry, uint64_t size)
{
    if (level->entry_size == 4 && size > 4096) { /* 4 MiB with 40-bit addresses */
        return (entry & 0xffc00000u) | (entry >> 13 & 0xff) << 32;
    }
    return entry & (level->entry_size == 4 ? 0xfffff000u : FRAME_MASK) & ~(size - 1);
}

static bool is_page(const PageWalk *walk, const PageLevel *level, uint64_t entry)
{
    if (level->shift == 12) {
        return true;
    }
    if (!(entry & ENTRY_LARGE) || level->top_of_pae) {
        return false;
    }
    return level->entry_size == 4 ? walk->regs->cr4 & CR4_PSE
                                  : level->shift == 21 || level->shift == 30;
}

static bool walk_level(PageWalk *walk, const PageLevel *level);

static bool walk_entry(PageWalk *walk, const PageLevel *level, uint64_t entry, uint64_t linear)
{
    uint64_t size = 1ULL << level->shift;
    uint64_t access = level->access;
    if (!level->top_of_pae) {
        access = (access & entry & ENTRY_BOTH) | ((access | entry) & ENTRY_NX);
    }
    if (is_page(walk, level, entry)) {
        DebugPage page = { .linear = linear,
                           .physical = page_frame(level, entry, size),
                           .size = size,
                           .entry = entry,
                           .access = access };
        walk->told_to_stop = !walk->fn(&page, walk->opaque);
        return !walk->told_to_stop;
    }
    unsigned bits = level->entry_size == 4 ? 10 : 9;
    PageLevel next = { .table = page_frame(level, entry, 4096),
                       .shift = level->shift - bits,
                       .bits = bits,
                       .entry_size = level->entry_size,
                       .linear = linear,
                       .access = access };
    return walk_level(walk, &next);
}

static bool walk_level(PageWalk *walk, const PageLevel *level)
{
    for (uint64_t i = 0; i < 1ULL << level->bits; i++) {
        uint8_t data[8] = { 0 };
        if (walk->left == 0) {
            return false;
        }
        walk->left--;
        if (!dma_read(walk->machine->memory, level->table + i * level->entry_size, data,
                      level->entry_size)) {
            return true; /* the table is nowhere */
        }
        uint64_t entry = load_le(data, level->entry_size);
        uint64_t linear = level->linear | i << level->shift;
        if (level->sign) {
            unsigned unused = 64 - level->sign;
            linear = (uint64_t)((int64_t)(linear << unused) >> unused);
        }
        if (entry & ENTRY_VALID && !walk_entry(walk, level, entry, linear)) {
            return false;
        }
    }
    return true;
}

bool debug_pages_foreach(Machine *machine, const DebugRegs *regs, uint64_t max_entries,
                         bool (*fn)(const DebugPage *page, void *opaque), void *opaque)
{
    PageWalk walk = {
        .machine = machine, .regs = regs, .left = max_entries, .fn = fn, .opaque = opaque
    };
    PageLevel root = { .bits = 9, .entry_size = 8, .access = ENTRY_BOTH };
    if (!(regs->cr0 & CR0_PG)) {
        return true;
    }
    if (regs->efer & EFER_LMA) {
        root.table = regs->cr3 & FRAME_MASK;
        root.shift = regs->cr4 & CR4_LA57 ? 48 : 39;
        root.sign = root.shift + root.bits;
    } else if (regs->cr4 & CR4_PAE) {
        root.table = regs->cr3 & 0xffffffe0u;
        root.shift = 30;
        root.bits = 2;
        root.top_of_pae = true;
    } else {
        root.table = regs->cr3 & 0xfffff000u;
        root.shift = 22;
        root.bits = 10;
        root.entry_size = 4;
    }
    return walk_level(&walk, &root) || walk.told_to_stop;
}
