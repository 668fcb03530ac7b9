/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UNMAP and WRITE SAME: commands on ranges of any size, done step by step (SBC-3, 5.28, 5.43). */
#include "hw/scsi/internal.h"

#define UNMAP_HEADER     8
#define UNMAP_DESCRIPTOR 16
#define SAME_BUFFER      (512U << 10)
#define STEP_BYTES       (1ULL << 30) /* of one request to the block layer */

/* ---- UNMAP ---- */

static void unmap_step(ScsiRequest *request);

static void unmap_done(BlockRequest *block, int ret)
{
    ScsiRequest *request = block->opaque;
    if (scsi_work_done(request, ret)) {
        unmap_step(request);
    }
    scsi_request_step(request);
}

static ScsiRange descriptor(const ScsiRequest *request, uint64_t i)
{
    const uint8_t *at = request->reply + UNMAP_HEADER + i * UNMAP_DESCRIPTOR;
    return (ScsiRange){ load_be64(at), load_be32(at + 8) };
}

static unsigned descriptor_count(const ScsiRequest *request)
{
    return load_be16(request->reply + 2) / UNMAP_DESCRIPTOR;
}

/* The next descriptor that is not empty, whole; position counts descriptors. */
static void unmap_step(ScsiRequest *request)
{
    uint32_t size = request->lun->block_size;
    unsigned count = descriptor_count(request);
    while (request->position < count) {
        ScsiRange range = descriptor(request, request->position++);
        if (!scsi_range_ok(request->lun, range)) {
            scsi_fail(request, SENSE_LBA_RANGE);
            return;
        }
        if (range.blocks) {
            scsi_work(request, BLOCK_DISCARD, 0, range.lba * size, range.blocks * size, unmap_done);
            return;
        }
    }
    scsi_good(request);
}

void scsi_run_unmap(ScsiRequest *request)
{
    if (request->cdb[1] & 1) { /* ANCHOR */
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    scsi_collect(request);
}

void scsi_unmap_collected(ScsiRequest *request)
{
    const uint8_t *list = request->reply;
    unsigned len = MIN(request->moved, request->reply_len);
    if (!request->length) {
        scsi_good(request);
        return;
    }
    if (len < UNMAP_HEADER || len < load_be16(list) + 2U ||
        len < load_be16(list + 2) + (unsigned)UNMAP_HEADER ||
        load_be16(list + 2) % UNMAP_DESCRIPTOR) {
        scsi_fail(request, SENSE_PARAM_LENGTH);
        return;
    }
    for (unsigned i = 0; i < descriptor_count(request); i++) {
        if (!scsi_range_ok(request->lun, descriptor(request, i))) {
            scsi_fail(request, SENSE_LBA_RANGE);
            return;
        }
    }
    unmap_step(request);
}

/* ---- WRITE SAME ---- */

static bool is_zero(const uint8_t *data, uint32_t len)
{
    return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

static void same_step(ScsiRequest *request);

static void same_done(BlockRequest *block, int ret)
{
    ScsiRequest *request = block->opaque;
    if (scsi_work_done(request, ret)) {
        request->position += block->bytes;
        same_step(request);
    }
    scsi_request_step(request);
}

static bool no_block(const ScsiRequest *request)
{
    return request->cdb[0] == OP_WRITE_SAME_16 && request->cdb[1] & 1;
}

/* aux: the block is zero. */
static void same_step(ScsiRequest *request)
{
    ScsiRange range = scsi_format_range(request->command->format, request->cdb);
    uint32_t size = request->lun->block_size;
    uint64_t left = range.blocks * size - request->position;
    uint64_t at = range.lba * size + request->position;
    if (!left) {
        scsi_good(request);
    } else if (request->aux) {
        unsigned flags = request->cdb[1] & 8 ? BLOCK_REQ_UNMAP : 0;
        scsi_work(request, BLOCK_WRITE_ZEROES, flags, at, MIN(left, STEP_BYTES), same_done);
    } else {
        uint64_t bytes = MIN(left, request->reply_len / size * size);
        request->part_inline[0] = (struct iovec){ request->reply, bytes };
        request->block.iov = request->part_inline;
        request->block.iov_count = 1;
        scsi_work(request, BLOCK_WRITE, 0, at, bytes, same_done);
    }
}

void scsi_run_write_same(ScsiRequest *request)
{
    ScsiRange range = scsi_format_range(request->command->format, request->cdb);
    /* Protection, anchor, physical and logical block data. No blocks: VPD page B0 says so. */
    if (!range.blocks || request->cdb[1] & 0xf6 ||
        (request->cdb[0] == OP_WRITE_SAME_10 && request->cdb[1] & 1)) {
        scsi_fail(request, SENSE_INVALID_FIELD);
    } else if (!scsi_range_ok(request->lun, range)) {
        scsi_fail(request, SENSE_LBA_RANGE);
    } else if (no_block(request)) {
        request->aux = 1;
        request->position = 0;
        same_step(request);
    } else {
        scsi_collect(request);
    }
}

/* Many copies of the block, so that the medium gets large requests. */
static void repeat_block(ScsiRequest *request, uint64_t blocks)
{
    uint32_t size = request->lun->block_size;
    uint32_t len = MIN(blocks * size, SAME_BUFFER);
    uint8_t *data = g_malloc(len);
    for (uint32_t at = 0; at < len; at += size) {
        memcpy(data + at, request->reply, size);
    }
    g_free(request->reply);
    request->reply = data;
    request->reply_len = len;
}

void scsi_write_same_collected(ScsiRequest *request)
{
    ScsiRange range = scsi_format_range(request->command->format, request->cdb);
    uint32_t size = request->lun->block_size;
    if (request->moved < size || request->reply_len < size) {
        scsi_fail(request, SENSE_PARAM_LENGTH);
        return;
    }
    if (!scsi_range_ok(request->lun, range)) {
        scsi_fail(request, SENSE_LBA_RANGE);
        return;
    }
    request->position = 0;
    request->aux = is_zero(request->reply, size);
    if (!request->aux) {
        repeat_block(request, range.blocks);
    }
    same_step(request);
}
