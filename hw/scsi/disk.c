/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct-access units: the commands of a disk (SBC-3). */
#include "hw/scsi/internal.h"

/* ---- Reading and writing ---- */

void scsi_run_read(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    ScsiFormat format = request->command->format;
    ScsiRange range = scsi_format_range(format, request->cdb);
    bool six = format == FORMAT_BLOCKS_6;
    if (G_UNLIKELY(!six && request->cdb[1] & 0xe0)) { /* protection information */
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    if (G_UNLIKELY(!scsi_range_ok(lun, range))) {
        scsi_fail(request, SENSE_LBA_RANGE);
        return;
    }
    /* Forced unit access: asked for, or what "verified" means. */
    bool verify = request->cdb[0] == OP_WRITE_VERIFY_10 || request->cdb[0] == OP_WRITE_VERIFY_12 ||
                  request->cdb[0] == OP_WRITE_VERIFY_16;
    request->aux = (!six && request->cdb[1] & 8) || verify;
    scsi_move(request, range.lba * lun->block_size, request->length);
}

void scsi_run_verify(ScsiRequest *request)
{
    ScsiRange range = scsi_format_range(request->command->format, request->cdb);
    bool compares = request->command->format != FORMAT_NONE && request->cdb[1] & 6 &&
                    (request->cdb[0] == OP_VERIFY_10 || request->cdb[0] == OP_VERIFY_12 ||
                     request->cdb[0] == OP_VERIFY_16);
    if (compares) {
        scsi_fail(request, SENSE_INVALID_FIELD);
    } else if (!scsi_range_ok(request->lun, range)) {
        scsi_fail(request, SENSE_LBA_RANGE);
    } else {
        scsi_good(request);
    }
}

static void flushed(BlockRequest *block, int ret)
{
    ScsiRequest *request = block->opaque;
    if (scsi_work_done(request, ret)) {
        scsi_good(request);
    }
    scsi_request_step(request);
}

void scsi_run_sync(ScsiRequest *request)
{
    scsi_work(request, BLOCK_FLUSH, 0, 0, 0, flushed);
}

/* ---- Capacity ---- */

static void run_read_capacity_10(ScsiRequest *request)
{
    uint64_t blocks = scsi_block_count(request->lun);
    bool partial = request->cdb[8] & 1;
    if (!partial && load_be32(request->cdb + 2)) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    if (!blocks) {
        scsi_fail(request, SENSE_NOT_READY);
        return;
    }
    uint8_t *reply = scsi_reply_new(request, 8);
    store_be32(reply, MIN(blocks - 1, UINT32_MAX));
    store_be32(reply + 4, request->lun->block_size);
    scsi_reply(request, 8);
}

static void run_read_capacity_16(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    uint64_t blocks = scsi_block_count(lun);
    bool partial = request->cdb[14] & 1;
    if (!partial && load_be64(request->cdb + 2)) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    if (!blocks) {
        scsi_fail(request, SENSE_NOT_READY);
        return;
    }
    uint8_t *reply = scsi_reply_new(request, 32);
    store_be64(reply, blocks - 1);
    store_be32(reply + 8, lun->block_size);
    reply[13] = __builtin_ctz(lun->disk->physical_block / lun->block_size);
    reply[14] = lun->disk->discard_granularity ? 0x80 : 0; /* thin provisioning */
    scsi_reply(request, 32);
}

/* ---- Mode pages ---- */

enum { PAGE_RW_ERROR = 0x01, PAGE_GEOMETRY = 0x04, PAGE_CACHING = 0x08, PAGE_CONTROL = 0x0a };

static unsigned page_geometry(ScsiLun *lun, uint8_t *data)
{
    uint64_t cylinders = scsi_block_count(lun) / (16 * 63);
    uint32_t c = CLAMP(cylinders, 2, 16383);
    store_be32(data, c << 8 | 16);
    data[4] = data[7] = c >> 16; /* write precompensation and reduced current start there: never */
    store_be16(data + 5, c);
    store_be16(data + 8, c);
    store_be16(data + 10, 200); /* step rate */
    memset(data + 12, 0xff, 3); /* landing zone */
    store_be16(data + 18, 5400);
    return 0x16;
}

static unsigned disk_mode_page(ScsiLun *lun, unsigned page, bool changeable, uint8_t *data)
{
    switch (page) {
    case PAGE_RW_ERROR:
        data[0] = changeable ? 0 : 0x80; /* automatic reallocation */
        return 10;
    case PAGE_GEOMETRY:
        if (!changeable) {
            page_geometry(lun, data);
        }
        return 0x16;
    case PAGE_CACHING:
        data[0] = changeable || block_backend_write_cache(lun->disk->backend) ? 0x04 : 0;
        return 0x12;
    case PAGE_CONTROL:
        data[1] = changeable ? 0 : 0x10; /* commands may be reordered */
        return 0x0a;
    default:
        return 0;
    }
}

/* ---- The class ---- */

static bool disk_init(ScsiLun *lun, GError **error)
{
    if (lun->block_size > 4096) {
        return error_set(error, "logical_block_size=%u: a SCSI disk has 512 to 4096",
                         lun->block_size);
    }
    lun->has_tray = lun->identity->removable;
    scsi_media_events_init(lun);
    return true;
}

#define MOVES(op, _format, dir, _flags)                                                            \
    [op] = { _format, dir, _flags, .byte1 = 0xf8, .run = scsi_run_read }
#define RANGE(op, _format) [op] = { _format, .run = scsi_run_verify }

static const ScsiCommand disk_commands[256] = {
    SCSI_COMMON_COMMANDS,
    MOVES(OP_READ_6, FORMAT_BLOCKS_6, SCSI_DATA_IN, 0),
    MOVES(OP_READ_10, FORMAT_BLOCKS_10, SCSI_DATA_IN, 0),
    MOVES(OP_READ_12, FORMAT_BLOCKS_12, SCSI_DATA_IN, 0),
    MOVES(OP_READ_16, FORMAT_BLOCKS_16, SCSI_DATA_IN, 0),
    MOVES(OP_WRITE_6, FORMAT_BLOCKS_6, SCSI_DATA_OUT, COMMAND_WRITES),
    MOVES(OP_WRITE_10, FORMAT_BLOCKS_10, SCSI_DATA_OUT, COMMAND_WRITES),
    MOVES(OP_WRITE_12, FORMAT_BLOCKS_12, SCSI_DATA_OUT, COMMAND_WRITES),
    MOVES(OP_WRITE_16, FORMAT_BLOCKS_16, SCSI_DATA_OUT, COMMAND_WRITES),
    MOVES(OP_WRITE_VERIFY_10, FORMAT_BLOCKS_10, SCSI_DATA_OUT, COMMAND_WRITES),
    MOVES(OP_WRITE_VERIFY_12, FORMAT_BLOCKS_12, SCSI_DATA_OUT, COMMAND_WRITES),
    MOVES(OP_WRITE_VERIFY_16, FORMAT_BLOCKS_16, SCSI_DATA_OUT, COMMAND_WRITES),
    RANGE(OP_VERIFY_10, FORMAT_RANGE_10),
    RANGE(OP_VERIFY_12, FORMAT_RANGE_12),
    RANGE(OP_VERIFY_16, FORMAT_RANGE_16),
    RANGE(OP_SEEK_10, FORMAT_RANGE_10),
    RANGE(OP_PREFETCH_10, FORMAT_RANGE_10),
    RANGE(OP_PREFETCH_16, FORMAT_RANGE_16),
    [OP_REZERO_UNIT] = { FORMAT_NONE, .run = scsi_run_nothing },
    [OP_SEEK_6] = { FORMAT_NONE, .run = scsi_run_nothing },
    [OP_SEND_DIAGNOSTIC] = { FORMAT_NONE, .byte1 = 0x04, .run = scsi_run_nothing },
    [OP_RESERVE_10] = { FORMAT_NONE, .flags = COMMAND_NO_MEDIA, .run = scsi_run_nothing },
    [OP_RELEASE_10] = { FORMAT_NONE, .flags = COMMAND_NO_UA | COMMAND_NO_MEDIA,
                        .run = scsi_run_nothing },
    [OP_READ_CAPACITY_10] = { FORMAT_CAPACITY, SCSI_DATA_IN, .run = run_read_capacity_10 },
    [OP_SERVICE_ACTION_IN_16] = { FORMAT_ALLOC_16, SCSI_DATA_IN, .has_action = true,
                                  .action = SAI_READ_CAPACITY_16, .run = run_read_capacity_16 },
    [OP_SYNC_CACHE_10] = { FORMAT_RANGE_10, .byte1 = 0x02, .run = scsi_run_sync },
    [OP_SYNC_CACHE_16] = { FORMAT_RANGE_16, .byte1 = 0x02, .run = scsi_run_sync },
    [OP_UNMAP] = { FORMAT_ALLOC_10, SCSI_DATA_OUT, COMMAND_WRITES, .run = scsi_run_unmap,
                   .collected = scsi_unmap_collected },
    [OP_WRITE_SAME_10] = { FORMAT_SAME_10, SCSI_DATA_OUT, COMMAND_WRITES, .byte1 = 0x08,
                           .run = scsi_run_write_same, .collected = scsi_write_same_collected },
    [OP_WRITE_SAME_16] = { FORMAT_SAME_16, SCSI_DATA_OUT, COMMAND_WRITES, .byte1 = 0x09,
                           .run = scsi_run_write_same, .collected = scsi_write_same_collected },
};

const ScsiLunClass scsi_disk_lun = {
    .type = TYPE_DISK,
    .product = "QEMU HARDDISK",
    .commands = disk_commands,
    .init = disk_init,
    .mode_page = disk_mode_page,
    .mode_pages = { PAGE_RW_ERROR, PAGE_GEOMETRY, PAGE_CACHING, PAGE_CONTROL },
};
