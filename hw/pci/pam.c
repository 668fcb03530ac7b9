/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programmable attribute maps. */
#include "hw/pci/pam.h"

#include <string.h>
#include "vmm/util/bytes.h"

#define HOLE_START    0xa0000ULL
#define FIRST_SEGMENT 0xc0000ULL
#define SEGMENT_SIZE  (16 * KIB)
#define LAST_SEGMENT  0xf0000ULL

enum { MODE_READ = 1, MODE_WRITE = 2, MODE_MASK = 3 };

static const MemOps hole_ops = { .max_size = 8 };

static void to_ram(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PamSegment *segment = opaque;
    RamBlock *ram = segment->machine->ram;

    store_le(ram->host + segment->base + offset, value, size);
    ram_block_mark_dirty(ram, segment->base + offset, size);
}

static const MemOps to_ram_ops = { .write = to_ram, .max_size = 8 };

void pam_init(Pam *pam, Machine *machine)
{
    mem_region_init_io(&pam->hole, "legacy-hole", MIB - HOLE_START, &hole_ops, pam, NULL);
    address_space_map(machine->memory, &pam->hole, HOLE_START, LEGACY_PRIORITY_HOLE);
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        PamSegment *segment = &pam->segments[i];
        segment->machine = machine;
        segment->base = i ? FIRST_SEGMENT + (i - 1) * SEGMENT_SIZE : LAST_SEGMENT;
        segment->size = i ? SEGMENT_SIZE : MIB - LAST_SEGMENT;
        if (range_inside(segment->base, segment->size, machine->ram_below_4g)) {
            mem_region_init_ram(&segment->regions[MODE_READ], "pam-rom", machine->ram,
                                segment->base, segment->size, true);
            mem_region_init_ram(&segment->regions[MODE_READ | MODE_WRITE], "pam-ram", machine->ram,
                                segment->base, segment->size, false);
        }
    }
}

void pam_cleanup(Pam *pam)
{
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        address_space_unmap(&pam->segments[i].regions[pam->segments[i].mode]);
    }
    address_space_unmap(&pam->hole);
    g_clear_pointer(&pam->copy, ram_block_free);
}

/* ---- A segment whose writes go to RAM and whose reads do not ---- */

typedef struct CopyJob {
    uint8_t *to;
    uint64_t base, last;
} CopyJob;

static void copy_range(const FlatRange *range, void *opaque)
{
    const CopyJob *job = opaque;
    const MemRegion *region = range->region;
    uint64_t start = MAX(range->start, job->base), last = MIN(range->last, job->last);

    if (region->kind == REGION_IO || start > last) {
        return;
    }
    memcpy(job->to + (start - job->base),
           region->ram->host + region->ram_offset + range->offset + (start - range->start),
           last - start + 1);
}

/* The bus's side is the firmware's ROM, which does not change: reads come from a copy of it. */
static bool copy_bus_side(Pam *pam, PamSegment *segment)
{
    RamOptions options = { .size = MIB - FIRST_SEGMENT };
    g_autoptr(GError) error = NULL;

    if (!pam->copy) {
        pam->copy = ram_block_new("pam-copy", &options, &error);
    }
    if (!pam->copy) {
        return false;
    }
    CopyJob job = { pam->copy->host + (segment->base - FIRST_SEGMENT), segment->base,
                    segment->base + segment->size - 1 };
    memset(job.to, 0xff, segment->size);
    address_space_foreach(segment->machine->memory, copy_range, &job);
    return true;
}

/* ---- Following the registers ---- */

static void segment_place(Pam *pam, PamSegment *segment)
{
    MemRegion *region = &segment->regions[segment->mode];
    MemRegion *plain = &segment->regions[MODE_READ | MODE_WRITE];

    if (segment->mode == 0 || plain->size == 0) {
        return;
    }
    if (segment->mode == MODE_WRITE) {
        if (!copy_bus_side(pam, segment)) {
            segment->mode = MODE_READ | MODE_WRITE;
            region = plain;
        } else if (region->size == 0) {
            mem_region_init_rom_ops(region, "pam-write", pam->copy, segment->base - FIRST_SEGMENT,
                                    segment->size, &to_ram_ops, segment, NULL);
        }
    }
    address_space_map(segment->machine->memory, region, segment->base, LEGACY_PRIORITY_SHADOW);
}

static uint8_t register_mode(const uint8_t *registers, unsigned segment)
{
    uint8_t pair = registers[(segment + 1) / 2];

    return (segment & 1 ? pair : pair >> 4) & MODE_MASK;
}

void pam_update(Pam *pam, const uint8_t *registers)
{
    AddressSpace *memory = pam->segments[0].machine->memory;
    bool changed[PAM_SEGMENTS], copies = false;

    address_space_begin(memory);
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        PamSegment *segment = &pam->segments[i];
        uint8_t mode = register_mode(registers, i);
        changed[i] = mode != segment->mode;
        copies |= changed[i] && mode == MODE_WRITE;
        if (changed[i]) {
            address_space_unmap(&segment->regions[segment->mode]);
        }
        segment->mode = mode;
    }
    if (copies) { /* what is below must be in the map to be copied */
        address_space_commit(memory);
        address_space_begin(memory);
    }
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        if (changed[i]) {
            segment_place(pam, &pam->segments[i]);
        }
    }
    address_space_commit(memory);
}

void pam_wmask(uint8_t *wmask)
{
    wmask[0] = MODE_MASK << 4;
    memset(wmask + 1, MODE_MASK << 4 | MODE_MASK, PAM_REGISTERS - 1);
}

void pam_open(uint8_t *registers)
{
    pam_wmask(registers);
}
