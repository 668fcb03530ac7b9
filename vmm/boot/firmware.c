/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Firmware images: a ROM that ends at 4 GiB, its end seen below 1 MiB too. */
#include <string.h>
#include "vmm/boot/boot_private.h"

#define ROM_UNIT         (64 * KIB)
#define ROM_MAX          (16 * MIB)
#define LOW_ROM_SIZE     (128 * KIB)
#define LOW_ROM_END      (1 * MIB)
#define LOW_ROM_PRIORITY 2 /* above main memory and the hole in it, below shadow RAM */
#define PAGE             (4 * KIB)

/* Lives as long as the process: the machine's map refers to it until the end. */
typedef struct Firmware {
    RamBlock *block;
    MemRegion high, low;
    uint8_t *pristine; /* of one that can be written: what a reset brings back */
} Firmware;

static GSList *firmwares;

static bool firmware_check(const BootSource *source, GError **error)
{
    if (source->size % ROM_UNIT != 0 || source->size > ROM_MAX) {
        return error_set(error,
                         "could not load firmware '%s': it has %" PRIu64 " bytes; firmware "
                         "images are multiples of 64 KiB up to 16 MiB",
                         source->name, source->size);
    }
    return true;
}

/* Images are padded with zeroes, and fresh memory has them already: pages that are the same stay
 * untouched. changed, not NULL, learns of the others. */
static void copy_pages(uint8_t *to, const uint8_t *from, uint64_t size, RamBlock *changed)
{
    for (uint64_t at = 0; at < size; at += PAGE) {
        if (memcmp(to + at, from + at, PAGE) != 0) {
            memcpy(to + at, from + at, PAGE);
            if (changed) {
                ram_block_mark_dirty(changed, at, PAGE);
            }
        }
    }
}

static bool firmware_read(BootSource *source, uint8_t *host, GError **error)
{
    uint8_t part[4 * PAGE];
    for (uint64_t at = 0; at < source->size; at += sizeof(part)) {
        if (!boot_source_read(source, at, part, sizeof(part), error)) {
            return false;
        }
        copy_pages(host + at, part, sizeof(part), NULL);
    }
    return true;
}

static uint8_t *firmware_copy(const uint8_t *host, uint64_t size)
{
    uint8_t *copy = g_malloc0(size);
    copy_pages(copy, host, size, NULL);
    return copy;
}

bool boot_firmware_map(Machine *machine, const char *file, bool writable, GError **error)
{
    g_autofree char *path = boot_data_find(file);
    BootSource *source = boot_source_open(path ? path : file, error);
    if (!source) {
        g_prefix_error(error, "firmware: ");
        return false;
    }
    RamOptions options = { .size = source->size };
    Firmware *firmware = g_new0(Firmware, 1);
    if (!firmware_check(source, error) ||
        !(firmware->block = ram_block_new("pc.bios", &options, error)) ||
        !firmware_read(source, firmware->block->host, error)) {
        if (firmware->block) {
            ram_block_free(firmware->block);
        }
        g_free(firmware);
        boot_source_free(source);
        return false;
    }
    uint64_t size = source->size, low = MIN(size, LOW_ROM_SIZE);
    boot_source_free(source);
    mem_region_init_ram(&firmware->high, "pc.bios", firmware->block, 0, size, !writable);
    mem_region_init_ram(&firmware->low, "isa-bios", firmware->block, size - low, low, !writable);
    firmware->pristine = writable ? firmware_copy(firmware->block->host, size) : NULL;
    firmwares = g_slist_prepend(firmwares, firmware);
    machine_topology_lock(machine);
    address_space_begin(machine->memory);
    address_space_map(machine->memory, &firmware->high, 4 * GIB - size, 0);
    address_space_map(machine->memory, &firmware->low, LOW_ROM_END - low, LOW_ROM_PRIORITY);
    address_space_commit(machine->memory);
    machine_topology_unlock(machine);
    return true;
}

void boot_firmware_reset(void)
{
    for (GSList *item = firmwares; item; item = item->next) {
        const Firmware *firmware = item->data;
        if (firmware->pristine) {
            copy_pages(firmware->block->host, firmware->pristine, firmware->high.size,
                       firmware->block);
        }
    }
}
