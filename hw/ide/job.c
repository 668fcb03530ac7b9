/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs: carrying out what an ATA command planned, on the I/O loop. */
#include <errno.h>
#include "hw/ide/ata.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

#define TRIM_RANGE_BYTES 8
#define VERIFY_STEP      ATA_BUFFER_SIZE

void ide_job_init(IdeJob *job, unsigned iov_max)
{
    job->iov = g_new(struct iovec, iov_max);
    job->iov_max = iov_max;
}

void ide_job_cleanup(IdeJob *job)
{
    g_clear_pointer(&job->iov, g_free);
}

void ide_job_finish(IdeJob *job, int ret)
{
    job->active = false;
    job->done(job, ret);
}

/* ---- Reading, writing, verifying ---- */

static void step_done(BlockRequest *block, int ret);

static void submit(IdeJob *job, BlockOp op, uint64_t offset, uint64_t bytes)
{
    BlockRequest *block = &job->block;
    bool data = op == BLOCK_READ || op == BLOCK_WRITE;
    block->op = op;
    block->flags = job->plan.fua ? BLOCK_REQ_FUA : 0;
    block->offset = offset;
    block->bytes = bytes;
    block->iov = data ? job->iov : NULL;
    block->iov_count = data ? (int)job->iov_count : 0;
    block->done = step_done;
    block->opaque = job;
    job->step = bytes;
    block_submit(job->drive->disk.backend, block);
}

/* The drive's buffer as the memory of the next step. */
static void use_buffer(IdeJob *job, uint64_t bytes)
{
    job->iov[0] = (struct iovec){ job->drive->buffer, bytes };
    job->iov_count = 1;
}

/* Whether a request was submitted; else *ret says how the job ends. */
static bool next_window(IdeJob *job, int *ret)
{
    AtaPlan *plan = &job->plan;
    uint64_t rest = plan->bytes - job->moved;
    int64_t bytes = ide_sg_map(&job->sg, rest, job->drive->disk.logical_block,
                               plan->action == ATA_READ, job->iov, job->iov_max, &job->iov_count);
    if (bytes <= 0) {
        *ret = bytes < 0 ? (int)bytes : -ENODATA;
        return false;
    }
    submit(job, plan->action == ATA_READ ? BLOCK_READ : BLOCK_WRITE, plan->offset + job->moved,
           (uint64_t)bytes);
    return true;
}

static void next_block(IdeJob *job, uint64_t most)
{
    AtaPlan *plan = &job->plan;
    uint64_t bytes = MIN(plan->bytes - job->moved, most);
    use_buffer(job, bytes);
    submit(job, plan->action == ATA_WRITE ? BLOCK_WRITE : BLOCK_READ, plan->offset + job->moved,
           bytes);
}

/* ---- TRIM ---- */

/* Discards the next range of the buffer that is not empty; false: none is left, or *ret. */
static bool next_range(IdeJob *job, int *ret)
{
    IdeDrive *drive = job->drive;
    uint32_t sector = drive->disk.logical_block;
    *ret = 0;
    while (job->moved < job->plan.bytes) {
        uint64_t entry = load_le64(drive->buffer + job->moved);
        uint64_t lba = entry & 0xffffffffffffULL, count = entry >> 48;
        if (!range_inside(lba, count, ata_sectors(drive))) {
            *ret = -ERANGE;
            return false;
        }
        job->moved += TRIM_RANGE_BYTES;
        if (count) {
            submit(job, BLOCK_DISCARD, lba * sector, count * sector);
            return true;
        }
    }
    return false;
}

/* ---- Steps ---- */

void ide_job_mark_dirty(IdeJob *job)
{
    if (job->windows && dma_logging()) {
        for (unsigned i = 0; i < job->iov_count; i++) {
            dma_dirty_host(job->sg.space, job->iov[i].iov_base, job->iov[i].iov_len);
        }
    }
}

/* Whether another request runs; else *ret is the job's end. */
static bool advance(IdeJob *job, int *ret)
{
    AtaPlan *plan = &job->plan;
    if (plan->action == ATA_TRIM) {
        return next_range(job, ret);
    }
    job->moved += job->step;
    *ret = 0;
    if (plan->action == ATA_FLUSH || job->moved >= plan->bytes) {
        return false;
    }
    if (plan->action == ATA_VERIFY) {
        next_block(job, VERIFY_STEP);
        return true;
    }
    return job->windows && next_window(job, ret);
}

static void step_done(BlockRequest *block, int ret)
{
    IdeJob *job = block->opaque;
    GMutex *lock = job->drive->port->lock;
    g_mutex_lock(lock);
    if (job->plan.action == ATA_READ) {
        ide_job_mark_dirty(job);
    }
    if (ret < 0 || !advance(job, &ret)) {
        ide_job_finish(job, ret);
    }
    g_mutex_unlock(lock);
}

/* A job that ends before it submits anything: by a request that does nothing, so that done is not
 * called inside start. */
static void nothing_done(BlockRequest *block, int ret)
{
    IdeJob *job = block->opaque;
    GMutex *lock = job->drive->port->lock;
    g_mutex_lock(lock);
    ide_job_finish(job, (int)(int64_t)job->step);
    g_mutex_unlock(lock);
}

static void end_later(IdeJob *job, int ret)
{
    job->step = (uint64_t)(int64_t)ret;
    job->block = (BlockRequest){ .op = BLOCK_READ, .done = nothing_done, .opaque = job };
    block_submit(job->drive->disk.backend, &job->block);
}

/* ---- Starting ---- */

static void start_data(IdeJob *job)
{
    int ret;
    if (!job->windows) {
        next_block(job, job->plan.block_bytes);
    } else if (!next_window(job, &ret)) {
        end_later(job, ret);
    }
}

static void start_trim(IdeJob *job)
{
    int ret = 0;
    if (job->windows) {
        int64_t bytes = ide_sg_copy(&job->sg, job->drive->buffer, job->plan.bytes, false);
        ret = bytes == (int64_t)job->plan.bytes ? 0 : bytes < 0 ? (int)bytes : -ENODATA;
    }
    if (ret < 0 || !next_range(job, &ret)) {
        end_later(job, ret);
    }
}

void ide_job_start(IdeJob *job)
{
    job->active = true;
    switch (job->plan.action) {
    case ATA_READ:
    case ATA_WRITE:
        start_data(job);
        break;
    case ATA_VERIFY:
        next_block(job, VERIFY_STEP);
        break;
    case ATA_TRIM:
        start_trim(job);
        break;
    case ATA_SCSI:
        job->drive->packet->start(job);
        break;
    default:
        job->iov_count = 0;
        submit(job, BLOCK_FLUSH, 0, 0);
        break;
    }
}
