/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System management RAM: see the header. */
#include "hw/pci/smram.h"

#include "hw/pci/pam.h"
#include "vmm/util/bytes.h"

#define LEGACY_START 0xa0000ULL
#define LEGACY_SIZE  (128 * KIB)
#define HIGH_START   0xfeda0000ULL
#define BASE_START   0x30000ULL
#define BASE_SIZE    (128 * KIB)

static const MemOps hidden_ops = { .max_size = 8 };

static void part_init(SmramPart *part, Smram *smram, const char *name, uint64_t addr,
                      uint64_t offset, uint64_t size)
{
    Machine *machine = smram->machine;

    part->addr = addr;
    if (!range_inside(offset, size, machine->ram_below_4g)) {
        return;
    }
    mem_region_init_ram(&part->open, name, machine->ram, offset, size, false);
    mem_region_init_ram(&part->smm, name, machine->ram, offset, size, false);
    mem_region_init_io(&part->hidden, name, size, &hidden_ops, smram, NULL);
}

void smram_init(Smram *smram, Machine *machine, const uint64_t tseg_sizes[SMRAM_TSEG_SIZES])
{
    smram->machine = machine;
    part_init(&smram->legacy, smram, "smram", LEGACY_START, LEGACY_START, LEGACY_SIZE);
    part_init(&smram->high, smram, "smram-high", HIGH_START, LEGACY_START, LEGACY_SIZE);
    part_init(&smram->base, smram, "smram-base", BASE_START, BASE_START, BASE_SIZE);
    for (unsigned i = 0; tseg_sizes && i < SMRAM_TSEG_SIZES; i++) {
        uint64_t size = tseg_sizes[i], top = machine->ram_below_4g;
        if (size && top > MIB && size <= top - MIB) {
            part_init(&smram->tseg[i], smram, "tseg", top - size, top - size, size);
        }
    }
}

static void region_show(AddressSpace *space, MemRegion *region, uint64_t addr, bool shown)
{
    if (!space || region->size == 0 || shown == (region->space != NULL)) {
        return;
    }
    if (shown) {
        address_space_map(space, region, addr, LEGACY_PRIORITY_SHADOW);
    } else {
        address_space_unmap(region);
    }
}

static void part_show(const Smram *smram, SmramPart *part, bool open, bool smm, bool hidden)
{
    const Machine *machine = smram->machine;

    region_show(machine->memory, &part->open, part->addr, open);
    region_show(machine->memory, &part->hidden, part->addr, hidden);
    region_show(machine->smm_memory, &part->smm, part->addr, smm);
}

void smram_update(Smram *smram, const SmramView *view)
{
    AddressSpace *memory = smram->machine->memory;
    bool low = view->enabled && !view->high, high = view->enabled && view->high;

    address_space_begin(memory);
    part_show(smram, &smram->legacy, low && view->open, low, false);
    part_show(smram, &smram->high, high && view->open, high, false);
    for (int i = 0; i < SMRAM_TSEG_SIZES; i++) {
        part_show(smram, &smram->tseg[i], false, view->tseg == i, view->tseg == i);
    }
    part_show(smram, &smram->base, false, view->base, view->base);
    address_space_commit(memory);
}

void smram_cleanup(Smram *smram)
{
    static const SmramView nothing = { .tseg = -1 };

    smram_update(smram, &nothing);
}
