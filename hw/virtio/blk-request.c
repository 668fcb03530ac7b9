/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk requests (VIRTIO 1.2, 5.2.6): on the queue's loop, nothing allocated, no lock. */
#include <errno.h>
#include <string.h>
#include "hw/virtio/blk.h"
#include "hw/virtio/virtqueue-internal.h"
#include "vmm/util/bytes.h"

enum {
    BLK_T_IN = 0,
    BLK_T_OUT = 1,
    BLK_T_FLUSH = 4,
    BLK_T_GET_ID = 8,
    BLK_T_DISCARD = 11,
    BLK_T_WRITE_ZEROES = 13,
};

/* Legacy: a barrier before the request; every request is ordered by its flushes anyhow. */
#define BLK_T_BARRIER 0x80000000U

enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };

#define BLK_ZEROES_UNMAP 1

typedef struct BlkHeader {
    uint32_t type;
    uint32_t ioprio;
    uint64_t sector;
} BlkHeader;

typedef struct BlkRange {
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
} BlkRange;

static inline VirtioBlk *blk_of(const BlkRequest *request)
{
    return (VirtioBlk *)request->vr.vq->vdev;
}

static void complete(BlkRequest *request, uint8_t status, uint32_t written)
{
    *request->status = status;
    virtq_push(&request->vr, written + 1);
}

static void request_done(BlockRequest *block, int ret)
{
    BlkRequest *request = container_of(block, BlkRequest, block);
    if (G_LIKELY(ret == 0)) {
        complete(request, BLK_S_OK, block->op == BLOCK_READ ? request->vr.in_bytes : 0);
    } else {
        complete(request, ret == -ENOTSUP ? BLK_S_UNSUPP : BLK_S_IOERR, 0);
    }
}

static inline void submit(BlkRequest *request, BlockOp op, uint64_t offset, uint64_t bytes)
{
    BlockRequest *block = &request->block;
    block->op = op;
    block->flags = 0;
    block->offset = offset;
    block->bytes = bytes;
    block->iov = NULL;
    block->iov_count = 0;
    block->done = request_done;
    block->opaque = request;
    if (op == BLOCK_READ) {
        block->iov = request->vr.in;
        block->iov_count = request->vr.in_count;
    } else if (op == BLOCK_WRITE) {
        block->iov = request->vr.out;
        block->iov_count = request->vr.out_count;
    }
    block_submit(blk_of(request)->disk.backend, block);
}

/* Whether [sector, +bytes) is whole logical blocks of the disk. */
static bool range_ok(VirtioBlk *blk, uint64_t sector, uint64_t bytes)
{
    uint64_t sectors = block_backend_length(blk->disk.backend) / BLK_SECTOR;
    unsigned per_block = blk->disk.logical_block / BLK_SECTOR;
    return bytes % blk->disk.logical_block == 0 && sector % per_block == 0 &&
           range_inside(sector, bytes / BLK_SECTOR, sectors);
}

static void do_data(BlkRequest *request, bool write, uint64_t sector)
{
    VirtioBlk *blk = blk_of(request);
    uint64_t bytes = write ? request->vr.out_bytes : request->vr.in_bytes;
    if (G_UNLIKELY(!range_ok(blk, sector, bytes) ||
                   (write && block_backend_readonly(blk->disk.backend)))) {
        complete(request, BLK_S_IOERR, 0);
    } else if (G_UNLIKELY(bytes == 0)) {
        complete(request, BLK_S_OK, 0);
    } else {
        submit(request, write ? BLOCK_WRITE : BLOCK_READ, sector * BLK_SECTOR, bytes);
    }
}

static void do_get_id(BlkRequest *request)
{
    VirtioBlk *blk = blk_of(request);
    uint32_t written = virtq_write(&request->vr, 0, blk->id, BLK_SERIAL_LEN);
    complete(request, BLK_S_OK, written);
}

static uint8_t range_check(VirtioBlk *blk, BlkRequest *request, bool discard, BlkRange *range)
{
    uint32_t most = discard ? blk->max_discard_sectors : blk->max_zeroes_sectors;
    unsigned bit = discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;
    if (!virtio_has_feature(&blk->vdev, bit) || request->vr.out_bytes != sizeof(*range) ||
        !virtq_read(&request->vr, range, sizeof(*range))) {
        return BLK_S_UNSUPP;
    }
    if (range->flags & ~(discard ? 0U : BLK_ZEROES_UNMAP)) {
        return BLK_S_UNSUPP;
    }
    if (range->sectors > most ||
        !range_ok(blk, range->sector, (uint64_t)range->sectors * BLK_SECTOR) ||
        block_backend_readonly(blk->disk.backend)) {
        return BLK_S_IOERR;
    }
    return BLK_S_OK;
}

static void do_range(BlkRequest *request, bool discard)
{
    BlkRange range = { 0 };
    uint8_t status = range_check(blk_of(request), request, discard, &range);
    if (status != BLK_S_OK || range.sectors == 0) {
        complete(request, status, 0);
        return;
    }
    BlockRequest *block = &request->block;
    block->op = discard ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES;
    block->flags = range.flags & BLK_ZEROES_UNMAP ? BLOCK_REQ_UNMAP : 0;
    block->offset = range.sector * BLK_SECTOR;
    block->bytes = (uint64_t)range.sectors * BLK_SECTOR;
    block->iov = NULL;
    block->iov_count = 0;
    block->done = request_done;
    block->opaque = request;
    block_submit(blk_of(request)->disk.backend, block);
}

static bool handle_one(VirtQueue *vq, BlkRequest *request)
{
    BlkHeader header;
    if (!virtq_read(&request->vr, &header, sizeof(header))) {
        virtq_fault(vq, "a disk request without a whole header");
        return false;
    }
    request->status = virtq_take_status(&request->vr);
    if (!request->status) {
        virtq_fault(vq, "a disk request without room for its status");
        return false;
    }
    switch (header.type & ~BLK_T_BARRIER) {
    case BLK_T_IN:
        do_data(request, false, header.sector);
        break;
    case BLK_T_OUT:
        do_data(request, true, header.sector);
        break;
    case BLK_T_FLUSH:
        submit(request, BLOCK_FLUSH, 0, 0);
        break;
    case BLK_T_GET_ID:
        do_get_id(request);
        break;
    case BLK_T_DISCARD:
        do_range(request, true);
        break;
    case BLK_T_WRITE_ZEROES:
        do_range(request, false);
        break;
    default:
        complete(request, BLK_S_UNSUPP, 0);
        break;
    }
    return true;
}

void virtio_blk_handle(VirtQueue *vq)
{
    VirtqRequest *vr;
    while ((vr = virtq_pop(vq))) {
        if (!handle_one(vq, container_of(vr, BlkRequest, vr))) {
            virtq_request_free(vr);
            return;
        }
    }
}
