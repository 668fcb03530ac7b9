/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzes SCSI units: commands as an initiator could send them, with parameter lists and windows of
 * any size. Every command ends, and moves no more than it said.
 *
 * Input: byte 0: the kind of unit; then records: a CDB of 16 bytes, a window size, a count of list
 * bytes and these.
 */
#include "tests/unit/scsi-unit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Unit *get_unit(bool cd)
{
    static Unit units[1];
    static const ScsiLunClass *kind;
    const ScsiLunClass *wanted = cd ? &scsi_cd_lun : &scsi_disk_lun;
    if (kind != wanted) {
        if (kind) {
            unit_close(units);
        }
        unit_open(units, wanted,
                  cd ? "driver=null-co,size=8M,media=cdrom" : "driver=null-co,size=8M");
        kind = wanted;
    }
    return units;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    Unit *unit = get_unit(data[0] & 1);
    const uint8_t *at = data + 1, *end = data + size;
    for (unsigned n = 0; n < 32 && end - at >= 18; n++) {
        /* Windows of a few bytes, or of one. */
        uint16_t sizes[] = { at[16] ? at[16] * 32 : 8192, 8192, 0 };
        size_t list = MIN((size_t)at[17], (size_t)(end - at - 18));
        g_byte_array_set_size(unit->data, 0);
        g_byte_array_append(unit->data, at + 18, (guint)list);
        unit_run(unit, at, sizes, 64);
        if (unit->stopped) {
            unit_wait(unit, unit_cancel_on_loop);
        }
        g_assert_true(unit->done);
        g_assert_cmpuint(unit->request.moved, <=, unit->request.length);
        at += 18 + list;
    }
    return 0;
}
