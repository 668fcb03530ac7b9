/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flash memory of a PC board: firmware code that ends at 4 GiB and, right below it, its variables,
 * as QEMU's boards place them. -drive if=pflash, or -machine pflash0=NODE and pflash1=NODE.
 */
#include "block/block.h"
#include "hw/board/pc.h"
#include "hw/devices.h"
#include "hw/firmware/pflash.h"
#include "vmm/util/bytes.h"

#define FLASH_END       (4 * GIB)
#define FLASH_TOTAL_MAX (8 * MIB) /* what the address space below 4 GiB has room for */

typedef struct FlashSearch {
    int unit;
    const char *found;
    int beyond; /* a unit that no board has, or 0 */
} FlashSearch;

static void find_drive(Drive *drive, void *opaque)
{
    FlashSearch *search = opaque;

    if (!g_str_equal(drive->interface, "pflash")) {
        return;
    }
    if (drive->index == search->unit) {
        search->found = drive->id;
    }
    if (drive->index >= PC_FLASH_UNITS) {
        search->beyond = drive->index;
    }
}

/* The drive or block node of a unit, or NULL. */
static bool choose_drive(Machine *machine, int unit, const char **out, GError **error)
{
    PcBoard *pc = machine->board;
    FlashSearch search = { .unit = unit };

    drive_foreach(find_drive, &search);
    if (search.beyond) {
        return error_set(error,
                         "-drive if=pflash,unit=%d: the board has flash units 0 (code) and 1 "
                         "(variables)",
                         search.beyond);
    }
    if (search.found && pc->flash[unit]) {
        return error_set(error,
                         "-machine pflash%d=%s: -drive if=pflash,unit=%d is there too: give "
                         "one of them",
                         unit, pc->flash[unit], unit);
    }
    *out = search.found ? search.found : pc->flash[unit];
    return true;
}

static Device *add_unit(Machine *machine, const char *drive, uint64_t *end, GError **error)
{
    const char *props[] = { "drive", drive, NULL };
    Device *dev = pc_add_device(machine, pflash_cfi01_class.name, NULL, props, error);
    uint64_t size = dev ? pflash_size(dev) : 0;

    if (!dev) {
        return NULL;
    }
    if (FLASH_END - *end + size > FLASH_TOTAL_MAX) {
        error_set(error,
                  "flash memory '%s' of %llu KiB: all flash memory together has at "
                  "most %u MiB",
                  drive, size / KIB, (unsigned)(FLASH_TOTAL_MAX / MIB));
        return NULL;
    }
    *end -= size;
    pflash_map(dev, *end, *end + size == FLASH_END);
    return dev;
}

bool pc_add_flash(Machine *machine, bool *has_firmware, GError **error)
{
    uint64_t end = FLASH_END;

    *has_firmware = false;
    for (int unit = 0; unit < PC_FLASH_UNITS; unit++) {
        const char *drive = NULL;
        if (!choose_drive(machine, unit, &drive, error)) {
            return false;
        }
        if (!drive) {
            continue;
        }
        if (unit > 0 && !*has_firmware) {
            return error_set(error,
                             "pflash%d needs pflash0, where the firmware's code is: give "
                             "-drive if=pflash,unit=0,...",
                             unit);
        }
        if (!add_unit(machine, drive, &end, error)) {
            return false;
        }
        *has_firmware = true;
    }
    if (*has_firmware && machine->config->bios) {
        return error_set(error,
                         "-bios %s: the firmware is in flash memory already (pflash0): give "
                         "one of them",
                         machine->config->bios);
    }
    return true;
}
