/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe commands of several steps (NVMe 1.4, 5.23, 6.6, 6.7, 6.16): Compare and Verify read in
 * pieces, Dataset Management deallocates range by range, Format writes zeroes. On the loop; each
 * step is submitted by the completion of the one before.
 */
#include <errno.h>
#include <string.h>
#include "hw/nvme/nvme.h"
#include "vmm/util/bytes.h"

#define SCAN_PIECE         (128 * KIB)
#define FORMAT_PIECE       (1 * GIB)
#define MAX_RANGES         256
#define RANGE_SIZE         16
#define DATASET_DEALLOCATE (1u << 2)

static uint64_t slba_of(const NvmeCommand *cmd)
{
    return le32toh(cmd->cdw10) | (uint64_t)le32toh(cmd->cdw11) << 32;
}

/* A controller that is being reset waits for steps, not for commands. */
static int step_result(const NvmeRequest *request, int ret)
{
    return request->sq->ctrl->stopping ? -ECANCELED : ret;
}

static void finish(NvmeRequest *request, uint16_t status)
{
    g_clear_pointer(&request->buffer, g_free);
    nvme_complete(request, status);
}

/* ---- Compare, Verify ---- */

static void scan_done(BlockRequest *block, int ret);

static void scan_step(NvmeRequest *request)
{
    BlockRequest *block = &request->block;
    uint64_t bytes = MIN(request->end - request->position, SCAN_PIECE);
    request->step_iov = (struct iovec){ .iov_base = request->buffer, .iov_len = bytes };
    block->op = BLOCK_READ;
    block->flags = 0;
    block->offset = request->position;
    block->bytes = bytes;
    block->iov = &request->step_iov;
    block->iov_count = 1;
    block->done = scan_done;
    block->opaque = request;
    block_submit(request->ns->disk.backend, block);
}

/* Whether the piece read equals the host's data from its `done`th byte. */
static bool piece_equals(const NvmeRequest *request, uint64_t done, uint64_t bytes)
{
    const uint8_t *piece = request->buffer;
    for (unsigned i = 0; bytes && i < request->iov_count; i++) {
        const struct iovec *iov = &request->iov[i];
        if (done >= iov->iov_len) {
            done -= iov->iov_len;
            continue;
        }
        uint64_t n = MIN(iov->iov_len - done, bytes);
        if (memcmp((const uint8_t *)iov->iov_base + done, piece, n) != 0) {
            return false;
        }
        piece += n;
        bytes -= n;
        done = 0;
    }
    return true;
}

static void scan_done(BlockRequest *block, int ret)
{
    NvmeRequest *request = block->opaque;
    ret = step_result(request, ret);
    uint64_t done = request->bytes - (request->end - request->position);
    if (ret) {
        finish(request, nvme_block_status(request, ret));
        return;
    }
    if (request->cmd.opcode == NVME_IO_COMPARE && !piece_equals(request, done, block->bytes)) {
        finish(request, NVME_COMPARE_FAILURE | NVME_DNR);
        return;
    }
    request->position += block->bytes;
    if (request->position == request->end) {
        finish(request, NVME_SUCCESS);
    } else {
        scan_step(request);
    }
}

static uint16_t scan(NvmeRequest *request, unsigned limit_shift, bool with_data)
{
    NvmeNamespace *ns = request->ns;
    uint64_t slba = slba_of(&request->cmd);
    uint64_t blocks = (le32toh(request->cmd.cdw12) & 0xffff) + 1;
    uint64_t bytes = blocks << ns->lba_shift;
    uint16_t status;
    if (bytes > (uint64_t)NVME_PAGE << limit_shift) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if ((status = nvme_check_range(ns, slba, blocks)) ||
        (with_data && (status = nvme_map(request, bytes, false)))) {
        return status;
    }
    request->bytes = bytes;
    request->position = slba << ns->lba_shift;
    request->end = request->position + bytes;
    request->buffer = g_malloc(MIN(bytes, SCAN_PIECE));
    scan_step(request);
    return NVME_PENDING;
}

uint16_t nvme_compare(NvmeRequest *request)
{
    return scan(request, request->sq->ctrl->mdts, true);
}

uint16_t nvme_verify(NvmeRequest *request)
{
    return scan(request, request->sq->ctrl->vsl, false);
}

/* ---- Dataset Management ---- */

static void dataset_done(BlockRequest *block, int ret);

/* The next range that has something to deallocate; false: there is none. */
static bool dataset_step(NvmeRequest *request)
{
    NvmeNamespace *ns = request->ns;
    while (request->step < request->end) {
        const uint8_t *range = request->buffer + request->step++ * RANGE_SIZE;
        uint64_t blocks = load_le32(range + 4), slba = load_le64(range + 8);
        if (blocks == 0) {
            continue;
        }
        request->block = (BlockRequest){ .op = BLOCK_DISCARD,
                                         .offset = slba << ns->lba_shift,
                                         .bytes = blocks << ns->lba_shift,
                                         .done = dataset_done,
                                         .opaque = request };
        block_submit(ns->disk.backend, &request->block);
        return true;
    }
    return false;
}

static void dataset_done(BlockRequest *block, int ret)
{
    NvmeRequest *request = block->opaque;
    ret = step_result(request, ret);
    if (ret) {
        finish(request, nvme_block_status(request, ret));
    } else if (!dataset_step(request)) {
        finish(request, NVME_SUCCESS);
    }
}

uint16_t nvme_dataset(NvmeRequest *request)
{
    NvmeNamespace *ns = request->ns;
    unsigned count = (le32toh(request->cmd.cdw10) & 0xff) + 1;
    uint8_t ranges[MAX_RANGES * RANGE_SIZE];
    uint16_t status = nvme_copy_in(request, ranges, count * RANGE_SIZE);
    if (status || !(le32toh(request->cmd.cdw11) & DATASET_DEALLOCATE)) {
        return status; /* the other attributes are hints */
    }
    for (unsigned i = 0; i < count; i++) {
        status = nvme_check_range(ns, load_le64(ranges + i * RANGE_SIZE + 8),
                                  load_le32(ranges + i * RANGE_SIZE + 4));
        if (status) {
            return status;
        }
    }
    if (block_backend_readonly(ns->disk.backend)) {
        return NVME_WRITE_PROTECTED | NVME_DNR;
    }
    request->buffer = g_memdup2(ranges, count * RANGE_SIZE);
    request->step = 0;
    request->end = count;
    if (dataset_step(request)) {
        return NVME_PENDING;
    }
    return NVME_SUCCESS;
}

/* ---- Format ---- */

static void format_done(BlockRequest *block, int ret);

static bool format_covers(const NvmeRequest *request, uint32_t nsid)
{
    uint32_t asked = le32toh(request->cmd.nsid);
    return request->sq->ctrl->namespaces[nsid] && (asked == NVME_NSID_ALL || asked == nsid);
}

static void format_piece(NvmeRequest *request)
{
    request->block = (BlockRequest){ .op = BLOCK_WRITE_ZEROES,
                                     .flags = BLOCK_REQ_UNMAP,
                                     .offset = request->position,
                                     .bytes = MIN(request->end - request->position, FORMAT_PIECE),
                                     .done = format_done,
                                     .opaque = request };
    block_submit(request->ns->disk.backend, &request->block);
}

/* Starts with the next namespace; false: all are done. */
static bool format_step(NvmeRequest *request)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    while (++request->step <= NVME_MAX_NAMESPACES) {
        if (format_covers(request, request->step)) {
            request->ns = ctrl->namespaces[request->step];
            request->ns->formatting = true;
            request->position = 0;
            request->end = block_backend_length(request->ns->disk.backend) & ~(uint64_t)511;
            format_piece(request);
            return true;
        }
    }
    return false;
}

static void format_done(BlockRequest *block, int ret)
{
    NvmeRequest *request = block->opaque;
    NvmeNamespace *ns = request->ns;
    ret = step_result(request, ret);
    request->position += block->bytes;
    if (ret == 0 && request->position < request->end) {
        format_piece(request);
        return;
    }
    ns->formatting = false;
    if (ret) {
        finish(request, nvme_block_status(request, ret));
        return;
    }
    ns->lba_shift = le32toh(request->cmd.cdw10) & 0xf ? 12 : 9;
    if (!format_step(request)) {
        finish(request, NVME_SUCCESS);
    }
}

uint16_t nvme_format(NvmeRequest *request)
{
    uint32_t cdw10 = le32toh(request->cmd.cdw10), nsid = le32toh(request->cmd.nsid);
    bool any = false;
    if (nsid != NVME_NSID_ALL && (nsid == 0 || nsid > NVME_MAX_NAMESPACES)) {
        return NVME_INVALID_NAMESPACE | NVME_DNR;
    }
    /* Two formats without metadata and protection; erasing is all that is done to user data. */
    if ((cdw10 & 0xf) > 1 || cdw10 >> 4 & 0x1f) {
        return NVME_INVALID_FORMAT | NVME_DNR;
    }
    if ((cdw10 >> 9 & 7) > 1) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    for (uint32_t i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        if (!format_covers(request, i)) {
            continue;
        }
        any = true;
        const NvmeNamespace *ns = request->sq->ctrl->namespaces[i];
        if (block_backend_readonly(ns->disk.backend)) {
            return NVME_WRITE_PROTECTED | NVME_DNR;
        }
        if (ns->formatting) {
            return NVME_FORMAT_BUSY;
        }
    }
    if (!any) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    request->step = 0;
    return format_step(request) ? NVME_PENDING : NVME_SUCCESS;
}
