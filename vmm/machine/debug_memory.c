/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A debugger's view of guest memory: x86 page tables (Intel SDM volume 3, chapter 4) walked by
 * hand, since accelerators translate only what their CPUs could run. */
#include "vmm/machine/debug.h"

#include "vmm/machine/machine.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

#define PAGE_SIZE  4096u
#define CR0_PG     (1u << 31)
#define CR4_PSE    (1u << 4)
#define CR4_PAE    (1u << 5)
#define CR4_LA57   (1u << 12)
#define EFER_LMA   (1u << 10)
#define PTE_VALID  1u
#define PTE_LARGE  (1u << 7)
#define FRAME_MASK 0x000ffffffffff000ULL /* bits 51:12 */

static bool read_entry(Machine *machine, uint64_t table, uint64_t index, unsigned size,
                       uint64_t *entry)
{
    uint8_t data[8] = { 0 };
    if (!dma_read(machine->memory, table + index * size, data, size)) {
        return false;
    }
    *entry = load_le(data, size);
    return *entry & PTE_VALID;
}

/* 32-bit paging (SDM 4.3): two levels of four-byte entries, 4 MiB pages with 40-bit addresses. */
static bool walk_legacy(Machine *machine, const DebugRegs *regs, uint32_t linear,
                        uint64_t *physical)
{
    uint64_t entry;
    if (!read_entry(machine, regs->cr3 & 0xfffff000u, linear >> 22, 4, &entry)) {
        return false;
    }
    if (entry & PTE_LARGE && regs->cr4 & CR4_PSE) {
        *physical = (entry & 0xffc00000u) | (entry >> 13 & 0xff) << 32 | (linear & 0x3fffff);
        return true;
    }
    if (!read_entry(machine, entry & 0xfffff000u, linear >> 12 & 0x3ff, 4, &entry)) {
        return false;
    }
    *physical = (entry & 0xfffff000u) | (linear & 0xfff);
    return true;
}

/* The levels below a table of eight-byte entries: `shift` is the lowest address bit that the
 * table's entries select by. */
static bool walk_wide(Machine *machine, uint64_t table, unsigned shift, uint64_t linear,
                      uint64_t *physical)
{
    uint64_t entry;
    for (;; shift -= 9) {
        if (!read_entry(machine, table, linear >> shift & 0x1ff, 8, &entry)) {
            return false;
        }
        bool large = entry & PTE_LARGE && (shift == 21 || shift == 30);
        if (large || shift == 12) {
            uint64_t offset = (1ULL << shift) - 1;
            *physical = (entry & FRAME_MASK & ~offset) | (linear & offset);
            return true;
        }
        table = entry & FRAME_MASK;
    }
}

/* PAE (SDM 4.4): four pointers, which have no large pages, above two levels. */
static bool walk_pae(Machine *machine, const DebugRegs *regs, uint32_t linear, uint64_t *physical)
{
    uint64_t entry;
    return read_entry(machine, regs->cr3 & 0xffffffe0u, linear >> 30, 8, &entry) &&
           walk_wide(machine, entry & FRAME_MASK, 21, linear, physical);
}

bool debug_translate(Machine *machine, const DebugRegs *regs, uint64_t linear, uint64_t *physical)
{
    if (!(regs->cr0 & CR0_PG)) {
        *physical = linear & 0xffffffffu;
        return linear <= 0xffffffffu;
    }
    if (regs->efer & EFER_LMA) {
        bool five = regs->cr4 & CR4_LA57;
        unsigned unused = five ? 7 : 16; /* address bits that repeat the highest used one */
        bool canonical = (uint64_t)((int64_t)(linear << unused) >> unused) == linear;
        return canonical &&
               walk_wide(machine, regs->cr3 & FRAME_MASK, five ? 48 : 39, linear, physical);
    }
    if (linear > 0xffffffffu) {
        return false;
    }
    return regs->cr4 & CR4_PAE ? walk_pae(machine, regs, (uint32_t)linear, physical)
                               : walk_legacy(machine, regs, (uint32_t)linear, physical);
}

static size_t copy(Machine *machine, const DebugRegs *regs, uint64_t addr, uint8_t *data,
                   size_t len, bool write)
{
    size_t done = 0;
    while (done < len) {
        uint64_t at = addr + done, physical = at;
        size_t part = MIN(len - done, PAGE_SIZE - at % PAGE_SIZE);
        if (at < addr || (regs && !debug_translate(machine, regs, at, &physical)) ||
            !(write ? dma_write(machine->memory, physical, data + done, part)
                    : dma_read(machine->memory, physical, data + done, part))) {
            break;
        }
        done += part;
    }
    return done;
}

size_t debug_memory_read(Machine *machine, const DebugRegs *regs, uint64_t addr, uint8_t *data,
                         size_t len)
{
    return copy(machine, regs, addr, data, len, false);
}

size_t debug_memory_write(Machine *machine, const DebugRegs *regs, uint64_t addr,
                          const uint8_t *data, size_t len)
{
    return copy(machine, regs, addr, (uint8_t *)data, len, true);
}
