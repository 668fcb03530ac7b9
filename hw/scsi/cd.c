/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CD and DVD drives: reading, capacity, mode pages, the class (MMC-5). */
#include "hw/scsi/internal.h"

#define SECTOR      2048
#define RAW_SECTOR  2352
#define RAW_AT_ONCE 16

static void run_read(ScsiRequest *request)
{
    ScsiRange range = scsi_format_range(request->command->format, request->cdb);
    if (!scsi_range_ok(request->lun, range)) {
        scsi_fail(request, SENSE_LBA_RANGE);
        return;
    }
    scsi_move(request, range.lba * SECTOR, range.blocks * SECTOR);
}

/* ---- READ CD: sectors as they are on the disc ---- */

static uint8_t to_bcd(unsigned value)
{
    return value / 10 << 4 | value % 10;
}

/* Sync pattern and header around the data of a mode 1 sector; the codes behind it are zero. */
static void frame_sector(uint8_t *raw, uint64_t lba)
{
    uint64_t frame = lba + 150;
    memset(raw, 0xff, 12);
    raw[0] = raw[11] = 0;
    raw[12] = to_bcd(frame / (60 * 75) % 100);
    raw[13] = to_bcd(frame / 75 % 60);
    raw[14] = to_bcd(frame % 75);
    raw[15] = 1;
    memset(raw + 16 + SECTOR, 0, RAW_SECTOR - 16 - SECTOR);
}

static void raw_filled(BlockRequest *block, int ret)
{
    ScsiRequest *request = block->opaque;
    if (scsi_work_done(request, ret)) {
        for (uint64_t i = 0; i < block->bytes / SECTOR; i++) {
            frame_sector(request->reply + i * RAW_SECTOR, block->offset / SECTOR + i);
        }
        request->reply_base = ALIGN_DOWN(request->moved, RAW_SECTOR);
        request->reply_len = block->bytes / SECTOR * RAW_SECTOR;
        request->stage = STAGE_RAW;
    }
    scsi_request_step(request);
}

static void raw_fill(ScsiRequest *request)
{
    ScsiRange range = scsi_format_range(request->command->format, request->cdb);
    uint64_t done = request->moved / RAW_SECTOR;
    if (done >= range.blocks || !scsi_range_ok(request->lun, range)) {
        scsi_fail(request, SENSE_LBA_RANGE);
        return;
    }
    unsigned count = MIN(range.blocks - done, RAW_AT_ONCE);
    uint8_t *raw = scsi_reply_new(request, count * RAW_SECTOR);
    struct iovec *iov = scsi_part_new(request, count);
    for (unsigned i = 0; i < count; i++) {
        iov[i] = (struct iovec){ raw + i * RAW_SECTOR + 16, SECTOR };
    }
    scsi_work(request, BLOCK_READ, 0, (range.lba + done) * SECTOR, count * SECTOR, raw_filled);
}

static void run_read_cd(ScsiRequest *request)
{
    ScsiRange range = scsi_format_range(request->command->format, request->cdb);
    uint8_t type = request->cdb[1] >> 2 & 7, parts = request->cdb[9] & 0xf8;
    bool mode1 = type == 0 || type == 2;
    if (!mode1 || request->cdb[10] & 7 || (parts && parts != 0x10 && parts != 0xf8)) {
        scsi_fail(request, mode1 ? SENSE_INVALID_FIELD : SENSE(SCSI_ILLEGAL_REQUEST, 0x64, 0));
    } else if (!scsi_range_ok(request->lun, range)) {
        scsi_fail(request, SENSE_LBA_RANGE);
    } else if (parts == 0x10) {
        scsi_move(request, range.lba * SECTOR, range.blocks * SECTOR);
    } else {
        request->total = request->length;
        request->reply_len = 0;
        request->stage = STAGE_RAW;
    }
}

/* ---- Small ones ---- */

static void run_read_capacity(ScsiRequest *request)
{
    uint64_t blocks = scsi_block_count(request->lun);
    uint8_t *reply = scsi_reply_new(request, 8);
    store_be32(reply, CLAMP(blocks, 1, 1ULL << 32) - 1);
    store_be32(reply + 4, SECTOR);
    scsi_reply(request, 8);
}

static void run_mechanism_status(ScsiRequest *request)
{
    uint8_t *reply = scsi_reply_new(request, 8);
    reply[1] = block_backend_tray_open(request->lun->disk->backend) ? 0x10 : 0;
    reply[5] = 1; /* slots */
    scsi_reply(request, 8);
}

/* No audio plays: the position is not told. */
static void run_read_subchannel(ScsiRequest *request)
{
    bool data = request->cdb[2] & 0x40;
    uint8_t format = request->cdb[3];
    uint8_t *reply = scsi_reply_new(request, 24);
    reply[1] = 0x15; /* no audio status to return */
    if (!data) {
        scsi_reply(request, 4);
    } else if (format == 1) {
        store_be16(reply + 2, 12);
        reply[4] = 1;
        reply[5] = 0x14; /* data track */
        reply[6] = reply[7] = 1;
        scsi_reply(request, 16);
    } else if (format == 2 || format == 3) { /* catalogue number, recording code: none */
        store_be16(reply + 2, 20);
        reply[4] = format;
        scsi_reply(request, 24);
    } else {
        scsi_fail(request, SENSE_INVALID_FIELD);
    }
}

/* ---- Mode pages ---- */

enum { PAGE_RW_ERROR = 0x01, PAGE_CACHING = 0x08, PAGE_AUDIO = 0x0e, PAGE_CAPABILITIES = 0x2a };

static unsigned page_capabilities(ScsiLun *lun, uint8_t *data)
{
    enum { SPEED = 176 };
    data[0] = 0x3b; /* reads CD-R, CD-RW, DVD-ROM, DVD-R, DVD-RAM */
    data[2] = 0x7f; /* mode 2, several sessions, digital output */
    data[3] = 0xff;
    data[4] = 0x2d | (lun->mode.prevented ? 2 : 0); /* tray, eject, lock */
    store_be16(data + 6, 50 * SPEED);
    store_be16(data + 8, 2);
    store_be16(data + 10, 2048); /* KiB of buffer */
    store_be16(data + 12, 16 * SPEED);
    store_be16(data + 16, 16 * SPEED);
    store_be16(data + 18, 16 * SPEED);
    return 0x14;
}

static unsigned cd_mode_page(ScsiLun *lun, unsigned page, bool changeable, uint8_t *data)
{
    switch (page) {
    case PAGE_RW_ERROR:
        data[0] = changeable ? 0 : 0x80;
        data[1] = changeable ? 0 : 0x20; /* retries */
        return 10;
    case PAGE_CACHING:
        data[0] = changeable || block_backend_write_cache(lun->disk->backend) ? 0x04 : 0;
        return 0x12;
    case PAGE_AUDIO:
        return 14;
    case PAGE_CAPABILITIES:
        if (!changeable) {
            page_capabilities(lun, data);
        }
        return 0x14;
    default:
        return 0;
    }
}

/* ---- The class ---- */

static bool cd_init(ScsiLun *lun, GError **error)
{
    if (lun->block_size != SECTOR) {
        return error_set(error, "logical_block_size=%u: a CD drive has 2048", lun->block_size);
    }
    lun->has_tray = true;
    scsi_media_events_init(lun);
    return true;
}

#define READS(op, _format) [op] = { _format, SCSI_DATA_IN, .byte1 = 0x18, .run = run_read }

static const ScsiCommand cd_commands[256] = {
    SCSI_COMMON_COMMANDS,
    READS(OP_READ_6, FORMAT_BLOCKS_6),
    READS(OP_READ_10, FORMAT_BLOCKS_10),
    READS(OP_READ_12, FORMAT_BLOCKS_12),
    [OP_READ_CD] = { FORMAT_CD, SCSI_DATA_IN, .byte1 = 0x1c, .run = run_read_cd,
                     .collected = raw_fill },
    [OP_READ_CD_MSF] = { FORMAT_CD_MSF, SCSI_DATA_IN, .byte1 = 0x1c, .run = run_read_cd,
                         .collected = raw_fill },
    [OP_SEEK_10] = { FORMAT_RANGE_10, .run = scsi_run_verify },
    [OP_READ_CAPACITY_10] = { FORMAT_CAPACITY, SCSI_DATA_IN, .run = run_read_capacity },
    [OP_SYNC_CACHE_10] = { FORMAT_RANGE_10, .run = scsi_run_nothing },
    [OP_READ_TOC] = { FORMAT_ALLOC_10, SCSI_DATA_IN, .byte1 = 0x02, .byte2 = 0x0f,
                      .run = scsi_run_read_toc },
    [OP_READ_SUBCHANNEL] = { FORMAT_ALLOC_10, SCSI_DATA_IN, .byte1 = 0x02, .byte2 = 0x40,
                             .run = run_read_subchannel },
    [OP_GET_CONFIGURATION] = { FORMAT_ALLOC_10, SCSI_DATA_IN, COMMAND_NO_UA | COMMAND_NO_MEDIA,
                               .byte1 = 0x03, .byte2 = 0xff, .run = scsi_run_get_configuration },
    [OP_GET_EVENT_STATUS] = { FORMAT_ALLOC_10, SCSI_DATA_IN, COMMAND_NO_UA | COMMAND_NO_MEDIA,
                              .byte1 = 0x01, .run = scsi_run_get_event_status },
    [OP_READ_DISC_INFO] = { FORMAT_ALLOC_10, SCSI_DATA_IN, .byte1 = 0x07,
                            .run = scsi_run_read_disc_info },
    [OP_READ_TRACK_INFO] = { FORMAT_ALLOC_10, SCSI_DATA_IN, .byte1 = 0x03, .byte2 = 0xff,
                             .run = scsi_run_read_track_info },
    [OP_READ_DVD_STRUCTURE] = { FORMAT_ALLOC_12S, SCSI_DATA_IN, COMMAND_NO_MEDIA, .byte1 = 0x0f,
                                .run = scsi_run_read_dvd_structure },
    [OP_MECHANISM_STATUS] = { FORMAT_ALLOC_12S, SCSI_DATA_IN, COMMAND_NO_MEDIA,
                              .run = run_mechanism_status },
    [OP_SET_CD_SPEED] = { FORMAT_NONE, .flags = COMMAND_NO_MEDIA, .run = scsi_run_nothing },
};

const ScsiLunClass scsi_cd_lun = {
    .type = TYPE_CD,
    .product = "QEMU CD-ROM",
    .commands = cd_commands,
    .init = cd_init,
    .mode_page = cd_mode_page,
    .mode_pages = { PAGE_RW_ERROR, PAGE_CACHING, PAGE_AUDIO, PAGE_CAPABILITIES },
};
