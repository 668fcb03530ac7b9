/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzes SCSI units: commands as an initiator could send them, with parameter lists and windows of
 * any size. Every command ends, and moves no more than it said.
 *
 * Input: byte 0: the kind of unit; then records: a CDB of 16 bytes, a window size, a count of list
 * bytes and these.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <scsi/sg.h>
#include <unistd.h>
#include "block/internal.h"
#include "tests/unit/scsi-unit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A host's device whose answers the CDB's last bytes choose. */
static int fake_ioctl(int fd, unsigned long request, void *arg)
{
    struct sg_io_hdr *io = arg;
    if (request != SG_IO) {
        errno = ENOTTY;
        return -1;
    }
    const uint8_t *cdb = io->cmdp;
    uint8_t word = cdb[io->cmd_len - 1];
    if (word == 0xee) {
        errno = EIO;
        return -1;
    }
    if (io->dxfer_direction == SG_DXFER_FROM_DEV) {
        memset(io->dxferp, word, io->dxfer_len);
    }
    io->resid = cdb[2] - 64;
    io->status = word & 0x40 ? SCSI_CHECK_CONDITION : SCSI_GOOD;
    io->host_status = word & 0x80 ? cdb[3] : 0;
    io->sb_len_wr = word & 0x40 ? MIN(cdb[4], io->mx_sb_len) : 0;
    memset(io->sbp, cdb[5], io->sb_len_wr);
    return 0;
}

static void open_pass(Unit *unit, const ScsiLunClass *cls)
{
    static ScsiPass pass;
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("vireo-fuzz-XXXXXX", &path, NULL);
    g_assert_true(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
    close(fd);
    g_autofree char *options = g_strdup_printf("format=raw,file=%s", path);
    unit_open(unit, cls, options);
    g_unlink(path);
    block_sg_ioctl = fake_ioctl;
    pass = (ScsiPass){ .timeout = 1, .max_transfer = 64 * KIB, .reservations = true };
    unit->lun.opaque = &pass;
    unit->lun.autosense = cls->type == TYPE_DISK;
    unit->lun.block_size = cls->type == TYPE_CD ? 2048 : 512;
}

static Unit *get_unit(unsigned wanted)
{
    static Unit units[1];
    static int kind = -1;
    static const ScsiLunClass *const classes[] = { &scsi_disk_lun, &scsi_cd_lun,
                                                   &scsi_generic_disk_lun, &scsi_pass_cd_lun };
    if (kind != (int)wanted) {
        if (kind >= 0) {
            unit_close(units);
        }
        if (wanted >= 2) {
            open_pass(units, classes[wanted]);
        } else {
            unit_open(units, classes[wanted],
                      wanted ? "driver=null-co,size=8M,media=cdrom" : "driver=null-co,size=8M");
        }
        kind = (int)wanted;
    }
    return units;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    Unit *unit = get_unit(data[0] & 3);
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
