/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that go to a device of the host, and which ones may: reading, writing, asking, and what
 * a guest needs to handle a medium. Not passed: vendors' commands, READ and WRITE BUFFER
 * (firmware), FORMAT UNIT, SANITIZE, diagnostics, ATA PASS-THROUGH and SECURITY PROTOCOL (they
 * carry anything), saving of mode pages, copying between devices; reservations unless the user
 * asked for them (SPC-4, SBC-3, MMC-5).
 */
#include <errno.h>
#include "hw/scsi/internal.h"

#define PASS_RUNNING_MAX 16 /* of one unit: bounds memory, and worker threads that may hang */
#define PAGE_LIMITS      0xb0
#define LIMITS_TRANSFER  8 /* offsets in the page: longest transfer, best transfer, in blocks */
#define LIMITS_OPTIMAL   12
#define SENSE_DESCRIPTOR 0x72 /* response codes from here on: descriptor format */

typedef struct PassCommand {
    BlockScsi host;
    ScsiRequest *request;
} PassCommand;

/* ---- What comes back ---- */

static ScsiSense sense_of_host_error(int error)
{
    switch (error) {
    case ENXIO:
    case ENODEV:
        return SENSE_INVALID_LUN;
    case ETIMEDOUT:
        return SENSE(SCSI_ABORTED_COMMAND, 0x2e, 2); /* command timeout during processing */
    case EPERM:
    case EACCES: /* the host's own filter, for a user without CAP_SYS_RAWIO */
    case ENOTTY:
        return SENSE_INVALID_OPCODE;
    default:
        return scsi_sense_of_errno(error);
    }
}

static void take_sense(ScsiRequest *request, const BlockScsi *host)
{
    request->status = host->status;
    request->stage = STAGE_STATUS;
    if (host->status != SCSI_CHECK_CONDITION) {
        return;
    }
    if (host->sense_len < 8) { /* the host lost it */
        scsi_fail(request, SENSE_TARGET_FAILURE);
        return;
    }
    if (!request->lun->autosense) { /* what is kept for REQUEST SENSE has the fixed format */
        bool descriptor = (host->sense[0] & 0x7f) >= SENSE_DESCRIPTOR;
        bool full = host->sense_len >= 14;
        ScsiSense sense = descriptor ? SENSE(host->sense[1] & 0xf, host->sense[2], host->sense[3])
                                     : SENSE(host->sense[2] & 0xf, full ? host->sense[12] : 0,
                                             full ? host->sense[13] : 0);
        scsi_fail(request, sense);
        return;
    }
    request->sense_len = MIN(host->sense_len, SCSI_SENSE_MAX);
    memcpy(request->sense, host->sense, request->sense_len);
}

static void limit_field(uint8_t *field, uint32_t most)
{
    uint32_t value = load_be32(field);
    store_be32(field, value ? MIN(value, most) : most);
}

/* The guest must not ask for more than the host takes at once. */
static void limit_transfers(ScsiRequest *request, uint32_t len)
{
    const ScsiPass *pass = request->lun->opaque;
    uint32_t most = pass->max_transfer / request->lun->block_size;
    bool limits = request->cdb[0] == OP_INQUIRY && request->cdb[1] & 1 &&
                  request->cdb[2] == PAGE_LIMITS;
    if (limits && len >= LIMITS_TRANSFER + 4) {
        limit_field(request->reply + LIMITS_TRANSFER, most);
    }
    if (limits && len >= LIMITS_OPTIMAL + 4 && load_be32(request->reply + LIMITS_OPTIMAL) > most) {
        store_be32(request->reply + LIMITS_OPTIMAL, most);
    }
}

static void host_done(BlockScsi *host, int ret)
{
    g_autofree PassCommand *command = host->opaque;
    ScsiRequest *request = command->request;
    ScsiPass *pass = request->lun->opaque;
    request->with_host = false;
    __atomic_fetch_sub(&pass->running, 1, __ATOMIC_RELEASE);
    if (ret == -EBUSY || ret == -EAGAIN) {
        request->status = SCSI_BUSY;
        request->stage = STAGE_STATUS;
    } else if (ret < 0) {
        scsi_fail(request, sense_of_host_error(-ret));
    } else if (host->status != SCSI_GOOD) {
        take_sense(request, host);
    } else if (request->direction == SCSI_DATA_IN) {
        limit_transfers(request, host->length - host->residual);
        scsi_reply(request, host->length - host->residual);
    } else {
        scsi_good(request);
    }
    scsi_request_step(request);
}

/* ---- What goes there ---- */

static void start(ScsiRequest *request, uint32_t length)
{
    ScsiLun *lun = request->lun;
    ScsiPass *pass = lun->opaque;
    if (__atomic_fetch_add(&pass->running, 1, __ATOMIC_ACQUIRE) >= PASS_RUNNING_MAX) {
        __atomic_fetch_sub(&pass->running, 1, __ATOMIC_RELEASE);
        request->status = SCSI_TASK_SET_FULL;
        request->stage = STAGE_STATUS;
        return;
    }
    if (length && request->direction == SCSI_DATA_IN) {
        scsi_reply_new(request, length);
    }
    PassCommand *command = g_new0(PassCommand, 1);
    command->request = request;
    command->host = (BlockScsi){
        .cdb_len = scsi_cdb_length(request->cdb[0]),
        .data = length ? request->reply : NULL,
        .length = length,
        .to_device = request->direction == SCSI_DATA_OUT,
        .timeout_ms = pass->timeout * 1000,
        .done = host_done,
        .opaque = command,
    };
    memcpy(command->host.cdb, request->cdb, command->host.cdb_len);
    request->stage = STAGE_WORK;
    request->with_host = true;
    block_scsi_submit(lun->disk->backend, &command->host);
}

void scsi_pass_collected(ScsiRequest *request)
{
    if (request->moved < request->length) { /* the initiator has less memory than it says */
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    start(request, (uint32_t)request->length);
}

/* Fields that make more or other data move than the format's length says. */
static bool moves_something_else(const ScsiRequest *request)
{
    const uint8_t *cdb = request->cdb;
    switch (request->command->format) {
    case FORMAT_BLOCKS_10:
    case FORMAT_BLOCKS_12:
    case FORMAT_BLOCKS_16:
    case FORMAT_SAME_10:
    case FORMAT_SAME_16:
    case FORMAT_RANGE_10:
    case FORMAT_RANGE_12:
    case FORMAT_RANGE_16:
        return cdb[1] & 0xe0; /* protection information */
    case FORMAT_CD:
    case FORMAT_CD_MSF: /* a part of the sector, error flags, subchannels */
        return (cdb[9] && !request->length) || cdb[9] & 0x06 || cdb[10];
    default: /* a list of 64 KiB and more */
        return cdb[0] == OP_PERSISTENT_RESERVE_OUT && (cdb[5] || cdb[6]);
    }
}

void scsi_run_pass(ScsiRequest *request)
{
    const ScsiPass *pass = request->lun->opaque;
    if (request->length > pass->max_transfer || moves_something_else(request)) {
        scsi_fail(request, SENSE_INVALID_FIELD);
    } else if (request->direction == SCSI_DATA_OUT) {
        scsi_collect(request);
    } else {
        start(request, (uint32_t)request->length);
    }
}

void scsi_run_pass_reservation(ScsiRequest *request)
{
    const ScsiPass *pass = request->lun->opaque;
    if (!pass->reservations) {
        scsi_fail(request, SENSE_INVALID_OPCODE);
    } else {
        scsi_run_pass(request);
    }
}

/* VERIFY with BYTCHK brings data to compare, whose amount its CDB does not say alone. */
void scsi_run_pass_verify(ScsiRequest *request)
{
    if (request->cdb[1] & 6) {
        scsi_fail(request, SENSE_INVALID_FIELD);
    } else {
        scsi_run_pass(request);
    }
}

/* The device may be told how to work now, not for ever: SP saves what mode and log pages say. */
void scsi_run_pass_unsaved(ScsiRequest *request)
{
    if (request->cdb[1] & 1) {
        scsi_fail(request, SENSE_INVALID_FIELD);
    } else {
        scsi_run_pass(request);
    }
}

/* ---- The lists ---- */

/* clang-format off */
#define ASKS(_format) { _format, SCSI_DATA_IN, COMMAND_NO_MEDIA, .byte1 = 0xff, .byte2 = 0xff, .run = scsi_run_pass }
#define DOES(_format) { _format, .flags = COMMAND_NO_MEDIA, .byte1 = 0xff, .byte2 = 0xff, .run = scsi_run_pass }
#define CHECKS(_format) { _format, .flags = COMMAND_NO_MEDIA, .byte1 = 0xf9, .run = scsi_run_pass_verify }
#define GIVES(_format) { _format, SCSI_DATA_OUT, COMMAND_NO_MEDIA | COMMAND_WRITES, .byte1 = 0xff, \
                         .run = scsi_run_pass, .collected = scsi_pass_collected }
#define RESERVES(_format, _direction) { _format, _direction, COMMAND_NO_MEDIA, .byte1 = 0x1f, \
                                        .byte2 = 0xff, .run = scsi_run_pass_reservation, \
                                        .collected = scsi_pass_collected }
#define SELECTS(_format) { _format, SCSI_DATA_OUT, COMMAND_NO_MEDIA, .byte1 = 0x10, \
                           .run = scsi_run_pass_unsaved, .collected = scsi_pass_collected }
#define MOVES(_format, _direction, _flags) { _format, _direction, _flags, .byte1 = 0xf8, .run = scsi_run_read }

/* What disks and CD drives have. Units and commands are reported as the guest sees them. */
#define PASS_COMMON \
    [OP_TEST_UNIT_READY] = DOES(FORMAT_NONE), \
    [OP_REQUEST_SENSE] = { FORMAT_ALLOC_6, SCSI_DATA_IN, COMMAND_NO_UA | COMMAND_NO_MEDIA, \
                           .byte1 = 1, .run = scsi_run_request_sense }, \
    [OP_INQUIRY] = { FORMAT_INQUIRY, SCSI_DATA_IN, COMMAND_NO_UA | COMMAND_NO_MEDIA, .byte1 = 1, \
                     .byte2 = 0xff, .run = scsi_run_pass }, \
    [OP_MODE_SELECT_6] = SELECTS(FORMAT_ALLOC_6), \
    [OP_MODE_SELECT_10] = SELECTS(FORMAT_ALLOC_10), \
    [OP_MODE_SENSE_6] = ASKS(FORMAT_ALLOC_6), \
    [OP_MODE_SENSE_10] = ASKS(FORMAT_ALLOC_10), \
    [OP_START_STOP_UNIT] = DOES(FORMAT_NONE), \
    [OP_PREVENT_ALLOW] = DOES(FORMAT_NONE), \
    [OP_READ_CAPACITY_10] = ASKS(FORMAT_CAPACITY), \
    [OP_LOG_SENSE] = { FORMAT_ALLOC_10, SCSI_DATA_IN, COMMAND_NO_MEDIA, .byte2 = 0xff, \
                       .run = scsi_run_pass_unsaved }, \
    [OP_SEEK_10] = DOES(FORMAT_RANGE_10), \
    [OP_VERIFY_10] = CHECKS(FORMAT_RANGE_10), \
    [OP_REPORT_LUNS] = { FORMAT_ALLOC_12, SCSI_DATA_IN, COMMAND_NO_UA | COMMAND_NO_MEDIA, \
                         .byte2 = 0xff, .run = scsi_run_report_luns }, \
    [OP_MAINTENANCE_IN] = { FORMAT_ALLOC_12, SCSI_DATA_IN, COMMAND_NO_MEDIA, .byte1 = 0x1f, \
                            .byte2 = 0x87, .has_action = true, .action = MI_REPORT_OPCODES, \
                            .run = scsi_run_report_opcodes }

#define PASS_DISK \
    PASS_COMMON, \
    [OP_REZERO_UNIT] = DOES(FORMAT_NONE), \
    [OP_SEEK_6] = DOES(FORMAT_NONE), \
    [OP_RESERVE_6] = RESERVES(FORMAT_NONE, SCSI_NO_DATA), \
    [OP_RELEASE_6] = RESERVES(FORMAT_NONE, SCSI_NO_DATA), \
    [OP_RESERVE_10] = RESERVES(FORMAT_NONE, SCSI_NO_DATA), \
    [OP_RELEASE_10] = RESERVES(FORMAT_NONE, SCSI_NO_DATA), \
    [OP_PERSISTENT_RESERVE_IN] = RESERVES(FORMAT_ALLOC_10, SCSI_DATA_IN), \
    [OP_PERSISTENT_RESERVE_OUT] = RESERVES(FORMAT_ALLOC_10, SCSI_DATA_OUT), \
    [OP_PREFETCH_10] = DOES(FORMAT_RANGE_10), \
    [OP_PREFETCH_16] = DOES(FORMAT_RANGE_16), \
    [OP_READ_DEFECTS_10] = ASKS(FORMAT_ALLOC_10), \
    [OP_VERIFY_12] = CHECKS(FORMAT_RANGE_12), \
    [OP_VERIFY_16] = CHECKS(FORMAT_RANGE_16), \
    [OP_UNMAP] = GIVES(FORMAT_ALLOC_10), \
    [OP_WRITE_SAME_10] = GIVES(FORMAT_SAME_10), \
    [OP_WRITE_SAME_16] = GIVES(FORMAT_SAME_16), \
    [OP_SERVICE_ACTION_IN_16] = { FORMAT_ALLOC_16, SCSI_DATA_IN, COMMAND_NO_MEDIA, .byte1 = 0x1f, \
                                  .has_action = true, .action = SAI_READ_CAPACITY_16, \
                                  .run = scsi_run_pass }

static const ScsiCommand generic_disk_commands[256] = {
    PASS_DISK,
    [OP_READ_6] = ASKS(FORMAT_BLOCKS_6),
    [OP_READ_10] = ASKS(FORMAT_BLOCKS_10),
    [OP_READ_12] = ASKS(FORMAT_BLOCKS_12),
    [OP_READ_16] = ASKS(FORMAT_BLOCKS_16),
    [OP_WRITE_6] = GIVES(FORMAT_BLOCKS_6),
    [OP_WRITE_10] = GIVES(FORMAT_BLOCKS_10),
    [OP_WRITE_12] = GIVES(FORMAT_BLOCKS_12),
    [OP_WRITE_16] = GIVES(FORMAT_BLOCKS_16),
    [OP_WRITE_VERIFY_10] = GIVES(FORMAT_BLOCKS_10),
    [OP_WRITE_VERIFY_12] = GIVES(FORMAT_BLOCKS_12),
    [OP_WRITE_VERIFY_16] = GIVES(FORMAT_BLOCKS_16),
    [OP_SYNC_CACHE_10] = DOES(FORMAT_RANGE_10),
    [OP_SYNC_CACHE_16] = DOES(FORMAT_RANGE_16),
};

static const ScsiCommand block_disk_commands[256] = {
    PASS_DISK,
    [OP_READ_6] = MOVES(FORMAT_BLOCKS_6, SCSI_DATA_IN, 0),
    [OP_READ_10] = MOVES(FORMAT_BLOCKS_10, SCSI_DATA_IN, 0),
    [OP_READ_12] = MOVES(FORMAT_BLOCKS_12, SCSI_DATA_IN, 0),
    [OP_READ_16] = MOVES(FORMAT_BLOCKS_16, SCSI_DATA_IN, 0),
    [OP_WRITE_6] = MOVES(FORMAT_BLOCKS_6, SCSI_DATA_OUT, COMMAND_WRITES),
    [OP_WRITE_10] = MOVES(FORMAT_BLOCKS_10, SCSI_DATA_OUT, COMMAND_WRITES),
    [OP_WRITE_12] = MOVES(FORMAT_BLOCKS_12, SCSI_DATA_OUT, COMMAND_WRITES),
    [OP_WRITE_16] = MOVES(FORMAT_BLOCKS_16, SCSI_DATA_OUT, COMMAND_WRITES),
    [OP_WRITE_VERIFY_10] = MOVES(FORMAT_BLOCKS_10, SCSI_DATA_OUT, COMMAND_WRITES),
    [OP_WRITE_VERIFY_12] = MOVES(FORMAT_BLOCKS_12, SCSI_DATA_OUT, COMMAND_WRITES),
    [OP_WRITE_VERIFY_16] = MOVES(FORMAT_BLOCKS_16, SCSI_DATA_OUT, COMMAND_WRITES),
    [OP_SYNC_CACHE_10] = { FORMAT_RANGE_10, .byte1 = 0x02, .run = scsi_run_sync },
    [OP_SYNC_CACHE_16] = { FORMAT_RANGE_16, .byte1 = 0x02, .run = scsi_run_sync },
};

/* Reading only: discs are not written. */
static const ScsiCommand cd_commands[256] = {
    PASS_COMMON,
    [OP_READ_6] = ASKS(FORMAT_BLOCKS_6),
    [OP_READ_10] = ASKS(FORMAT_BLOCKS_10),
    [OP_READ_12] = ASKS(FORMAT_BLOCKS_12),
    [OP_SYNC_CACHE_10] = DOES(FORMAT_RANGE_10),
    [OP_READ_CD] = ASKS(FORMAT_CD),
    [OP_READ_CD_MSF] = ASKS(FORMAT_CD_MSF),
    [OP_READ_TOC] = ASKS(FORMAT_ALLOC_10),
    [OP_READ_SUBCHANNEL] = ASKS(FORMAT_ALLOC_10),
    [OP_READ_HEADER] = ASKS(FORMAT_ALLOC_10),
    [OP_GET_CONFIGURATION] = ASKS(FORMAT_ALLOC_10),
    [OP_GET_EVENT_STATUS] = ASKS(FORMAT_ALLOC_10),
    [OP_READ_DISC_INFO] = ASKS(FORMAT_ALLOC_10),
    [OP_READ_TRACK_INFO] = ASKS(FORMAT_ALLOC_10),
    [OP_READ_BUFFER_CAPACITY] = ASKS(FORMAT_ALLOC_10),
    [OP_READ_DVD_STRUCTURE] = ASKS(FORMAT_ALLOC_12S),
    [OP_REPORT_KEY] = ASKS(FORMAT_ALLOC_12S),
    [OP_MECHANISM_STATUS] = ASKS(FORMAT_ALLOC_12S),
    [OP_SET_CD_SPEED] = DOES(FORMAT_NONE),
};
/* clang-format on */

const ScsiLunClass scsi_generic_disk_lun = { .type = TYPE_DISK, .commands = generic_disk_commands };
const ScsiLunClass scsi_block_disk_lun = { .type = TYPE_DISK, .commands = block_disk_commands };
const ScsiLunClass scsi_pass_cd_lun = { .type = TYPE_CD, .commands = cd_commands };
