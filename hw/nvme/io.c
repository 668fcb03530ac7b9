/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVM commands of one step (NVMe 1.4, 6): on the queue's loop, nothing allocated, no lock. */
#include <errno.h>
#include "hw/nvme/nvme.h"
#include "vmm/util/bytes.h"

#define CDW12_FUA  (1u << 30)
#define CDW12_DEAC (1u << 25)

uint64_t nvme_blocks(const NvmeNamespace *ns)
{
    return block_backend_length(ns->disk.backend) >> ns->lba_shift;
}

uint16_t nvme_check_range(const NvmeNamespace *ns, uint64_t slba, uint64_t blocks)
{
    return range_inside(slba, blocks, nvme_blocks(ns)) ? NVME_SUCCESS : NVME_LBA_RANGE | NVME_DNR;
}

uint16_t nvme_block_status(const NvmeRequest *request, int ret)
{
    if (G_LIKELY(ret == 0)) {
        return NVME_SUCCESS;
    }
    if (ret == -ECANCELED) {
        return NVME_ABORTED;
    }
    if (ret == -ENOSPC) {
        return NVME_CAPACITY;
    }
    switch (request->sq->id ? request->cmd.opcode : NVME_ADMIN_FORMAT) {
    case NVME_IO_READ:
    case NVME_IO_COMPARE:
    case NVME_IO_VERIFY:
        return NVME_READ_ERROR;
    case NVME_IO_WRITE:
    case NVME_IO_WRITE_ZEROES:
    case NVME_IO_FLUSH:
        return NVME_WRITE_FAULT;
    default:
        return NVME_INTERNAL;
    }
}

static void request_done(BlockRequest *block, int ret)
{
    NvmeRequest *request = block->opaque;
    if (G_UNLIKELY(dma_logging()) && request->to_guest && block->op == BLOCK_READ) {
        nvme_data_dirty(request);
    }
    nvme_complete(request, nvme_block_status(request, ret));
}

static uint16_t submit(NvmeRequest *request, BlockOp op, unsigned flags, uint64_t offset,
                       uint64_t bytes)
{
    BlockRequest *block = &request->block;
    block->op = op;
    block->flags = flags;
    block->offset = offset;
    block->bytes = bytes;
    block->iov = op == BLOCK_READ || op == BLOCK_WRITE ? request->iov : NULL;
    block->iov_count = block->iov ? (int)request->iov_count : 0;
    block->done = request_done;
    block->opaque = request;
    block_submit(request->ns->disk.backend, block);
    return NVME_PENDING;
}

static inline uint64_t slba_of(const NvmeCommand *cmd)
{
    return le32toh(cmd->cdw10) | (uint64_t)le32toh(cmd->cdw11) << 32;
}

static uint16_t do_data(NvmeRequest *request, bool write)
{
    NvmeNamespace *ns = request->ns;
    uint32_t cdw12 = le32toh(request->cmd.cdw12);
    uint64_t slba = slba_of(&request->cmd), blocks = (cdw12 & 0xffff) + 1;
    uint64_t bytes = blocks << ns->lba_shift;
    uint16_t status;
    if (G_UNLIKELY(bytes > (uint64_t)NVME_PAGE << request->sq->ctrl->mdts)) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (G_UNLIKELY((status = nvme_check_range(ns, slba, blocks)))) {
        return status;
    }
    if (G_UNLIKELY(write && block_backend_readonly(ns->disk.backend))) {
        return NVME_WRITE_PROTECTED | NVME_DNR;
    }
    if (G_UNLIKELY((status = nvme_map(request, bytes, !write)))) {
        return status;
    }
    return submit(request, write ? BLOCK_WRITE : BLOCK_READ,
                  write && cdw12 & CDW12_FUA ? BLOCK_REQ_FUA : 0, slba << ns->lba_shift, bytes);
}

static uint16_t do_write_zeroes(NvmeRequest *request)
{
    NvmeNamespace *ns = request->ns;
    uint32_t cdw12 = le32toh(request->cmd.cdw12);
    uint64_t slba = slba_of(&request->cmd), blocks = (cdw12 & 0xffff) + 1;
    uint16_t status = nvme_check_range(ns, slba, blocks);
    if (status) {
        return status;
    }
    if (block_backend_readonly(ns->disk.backend)) {
        return NVME_WRITE_PROTECTED | NVME_DNR;
    }
    unsigned flags = (cdw12 & CDW12_DEAC ? BLOCK_REQ_UNMAP : 0) |
                     (cdw12 & CDW12_FUA ? BLOCK_REQ_FUA : 0);
    return submit(request, BLOCK_WRITE_ZEROES, flags, slba << ns->lba_shift,
                  blocks << ns->lba_shift);
}

/* All namespaces: one after the other. */
static void flush_next(BlockRequest *block, int ret)
{
    NvmeRequest *request = block->opaque;
    NvmeCtrl *ctrl = request->sq->ctrl;
    uint16_t status = nvme_block_status(request, ret);
    while (!status && ++request->step <= NVME_MAX_NAMESPACES) {
        request->ns = ctrl->namespaces[request->step];
        if (request->ns) {
            block->done = flush_next;
            block_submit(request->ns->disk.backend, block);
            return;
        }
    }
    nvme_complete(request, status);
}

static uint16_t flush_all(NvmeRequest *request)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    for (request->step = 1; request->step <= NVME_MAX_NAMESPACES; request->step++) {
        request->ns = ctrl->namespaces[request->step];
        if (request->ns) {
            request->block =
                (BlockRequest){ .op = BLOCK_FLUSH, .done = flush_next, .opaque = request };
            block_submit(request->ns->disk.backend, &request->block);
            return NVME_PENDING;
        }
    }
    return NVME_SUCCESS;
}

uint16_t nvme_io(NvmeRequest *request)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    const NvmeCommand *cmd = &request->cmd;
    uint32_t nsid = le32toh(cmd->nsid);
    if (G_UNLIKELY(NVME_CC_CSS(ctrl->cc_active) == NVME_CSS_ADMIN_ONLY)) {
        return NVME_INVALID_OPCODE | NVME_DNR;
    }
    if (G_UNLIKELY(NVME_FLAG_FUSE(cmd->flags))) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (cmd->opcode == NVME_IO_FLUSH && nsid == NVME_NSID_ALL) {
        return flush_all(request);
    }
    if (G_UNLIKELY(nsid == 0 || nsid > NVME_MAX_NAMESPACES)) {
        return NVME_INVALID_NAMESPACE | NVME_DNR;
    }
    request->ns = ctrl->namespaces[nsid];
    if (G_UNLIKELY(!request->ns)) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (G_UNLIKELY(request->ns->formatting)) {
        return NVME_FORMAT_BUSY;
    }
    switch (cmd->opcode) {
    case NVME_IO_READ:
        return do_data(request, false);
    case NVME_IO_WRITE:
        return do_data(request, true);
    case NVME_IO_FLUSH:
        return submit(request, BLOCK_FLUSH, 0, 0, 0);
    case NVME_IO_WRITE_ZEROES:
        return do_write_zeroes(request);
    case NVME_IO_DATASET:
        return nvme_dataset(request);
    case NVME_IO_COMPARE:
        return nvme_compare(request);
    case NVME_IO_VERIFY:
        return nvme_verify(request);
    default:
        return NVME_INVALID_OPCODE | NVME_DNR;
    }
}
