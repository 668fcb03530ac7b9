/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests on files and block devices. The usual one is a single AioRequest straight between the
 * caller's memory and the file. Short transfers go on where they stopped; what O_DIRECT cannot do
 * as it is goes through a bounce buffer in a worker thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/file.h"
#include "vmm/util/bytes.h"

#define BOUNCE_SIZE  (256 * KIB)
#define BOUNCE_ALIGN 4096
#define IOV_PARTS    1024 /* IOV_MAX */

static void submit_aio(BlockNode *node, BlockRequest *request, AioOp op,
                       void (*done)(AioRequest *aio, ssize_t res))
{
    FileState *s = node->state;
    AioRequest *aio = &request->aio;
    aio->op = op;
    aio->fd = s->fd;
    aio->block_device = s->block_device;
    aio->done = done;
    aio->opaque = request;
    if (op == AIO_WRITE && s->lane && !node->cache_direct && !aio->rw_flags) {
        aio_submit_lane(request->loop, s->lane, aio);
    } else {
        aio_submit(request->loop, s->engine, aio);
    }
}

/* ---- The end of a request, which may still want to reach the disk ---- */

static void flush_done(AioRequest *aio, ssize_t res)
{
    BlockRequest *request = aio->opaque;
    FileState *s = request->node->state;
    if (res < 0 && !request->node->cache_direct) {
        atomic_store(&s->flush_failed, true);
    }
    block_request_complete(request, res < 0 ? (int)res : 0);
}

static void finish(BlockRequest *request, int ret, bool durable)
{
    BlockNode *node = request->node;
    if (ret == 0 && request->kflags & BLOCK_REQ_FUA && !durable) {
        submit_aio(node, request, AIO_FSYNC, flush_done);
        return;
    }
    block_request_complete(request, ret);
}

/* ---- Bounce: in a worker thread ---- */

static int pread_full(int fd, char *data, uint64_t bytes, uint64_t offset)
{
    uint64_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(fd, data + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n == 0 || (n < 0 && errno == EINVAL && done & 511)) { /* the end of the file */
            memset(data + done, 0, bytes - done);
            break;
        }
        if (n < 0) {
            return -errno;
        }
        done += n;
    }
    return 0;
}

static int pwrite_full(int fd, const char *data, uint64_t bytes, uint64_t offset)
{
    uint64_t done = 0;
    while (done < bytes) {
        ssize_t n = pwrite(fd, data + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        done += n;
    }
    return 0;
}

/* Where the data of a bounced transfer is: a vector, plain memory, or zeroes. */
typedef struct BounceData {
    const struct iovec *iov;
    int iov_count;
    bool zeroes;
} BounceData;

static int bounce_write(FileState *s, char *buffer, const BounceData *data, uint64_t skip,
                        uint64_t offset, uint64_t bytes)
{
    uint64_t mask = s->offset_mask;
    uint64_t start = offset & ~mask, end = (offset + bytes + mask) & ~mask;
    bool partial = start != offset || end != offset + bytes;
    int ret = 0;
    if (partial) {
        g_mutex_lock(&s->rmw_lock);
        ret = pread_full(s->fd, buffer, end - start, start);
    }
    if (ret == 0) {
        if (data->zeroes) {
            memset(buffer + (offset - start), 0, bytes);
        } else {
            iov_copy(data->iov, data->iov_count, skip, buffer + (offset - start), bytes, false);
        }
        ret = pwrite_full(s->fd, buffer, end - start, start);
    }
    if (partial) {
        g_mutex_unlock(&s->rmw_lock);
    }
    return ret;
}

static int bounce_read(FileState *s, char *buffer, const BounceData *data, uint64_t skip,
                       uint64_t offset, uint64_t bytes)
{
    uint64_t mask = s->offset_mask;
    uint64_t start = offset & ~mask, end = (offset + bytes + mask) & ~mask;
    int ret = pread_full(s->fd, buffer, end - start, start);
    if (ret < 0) {
        return ret;
    }
    iov_copy(data->iov, data->iov_count, skip, buffer + (offset - start), bytes, true);
    return 0;
}

/* Any transfer, whatever its alignment; blocking. 0 or -errno. */
static int bounce_transfer(FileState *s, const BounceData *data, uint64_t offset, uint64_t bytes,
                           bool write)
{
    char *buffer = aligned_alloc(BOUNCE_ALIGN, BOUNCE_SIZE);
    int ret = buffer ? 0 : -ENOMEM;
    for (uint64_t done = 0; done < bytes && ret == 0;) {
        uint64_t n = MIN(bytes - done, BOUNCE_SIZE - ((offset + done) & s->offset_mask));
        n = MIN(n, BOUNCE_SIZE - BOUNCE_ALIGN);
        ret = write ? bounce_write(s, buffer, data, done, offset + done, n)
                    : bounce_read(s, buffer, data, done, offset + done, n);
        done += n;
    }
    free(buffer);
    return ret;
}

static int bounce_call(AioRequest *aio)
{
    BlockRequest *request = aio->opaque;
    BounceData data = { .iov = request->kiov,
                        .iov_count = request->kiov_count,
                        .zeroes = request->kind == BLOCK_WRITE_ZEROES };
    return bounce_transfer(request->node->state, &data, request->position, request->bytes,
                           request->kind != BLOCK_READ);
}

static void bounce_done(AioRequest *aio, ssize_t res)
{
    finish(aio->opaque, (int)res, false);
}

static void submit_bounce(BlockNode *node, BlockRequest *request)
{
    request->aio.call = bounce_call;
    submit_aio(node, request, AIO_CALL, bounce_done);
}

static bool is_misaligned(const FileState *s, const BlockRequest *request)
{
    uint64_t bits = request->position | request->bytes;
    uint64_t memory = 0;
    for (int i = 0; i < request->kiov_count; i++) {
        memory |= (uintptr_t)request->kiov[i].iov_base;
        bits |= request->kiov[i].iov_len;
    }
    return (bits & s->offset_mask) || (memory & s->memory_mask);
}

/* ---- Reads and writes ---- */

static void transfer_done(AioRequest *aio, ssize_t res);

static void submit_transfer(BlockNode *node, BlockRequest *request)
{
    FileState *s = node->state;
    AioRequest *aio = &request->aio;
    bool write = request->kind == BLOCK_WRITE;
    aio->iov = request->kiov;
    aio->iov_count = MIN(request->kiov_count, IOV_PARTS);
    aio->offset = request->position;
    aio->rw_flags = 0;
    if (write && request->kflags & BLOCK_REQ_FUA &&
        !atomic_load_explicit(&s->no_dsync, memory_order_relaxed)) {
        aio->rw_flags = RWF_DSYNC;
    }
    submit_aio(node, request, write ? AIO_WRITE : AIO_READ, transfer_done);
}

static void submit_rest(BlockRequest *request)
{
    FileState *s = request->node->state;
    AioRequest *aio = &request->aio;
    int count;
    request->progress &= ~(uint64_t)s->offset_mask;
    g_free(request->rest);
    request->rest =
        iov_rest(request->kiov, request->kiov_count, request->progress, IOV_PARTS, &count);
    aio->iov = request->rest;
    aio->iov_count = count;
    aio->offset = request->position + request->progress;
    submit_aio(request->node, request, aio->op, transfer_done);
}

/* A transfer that did not do everything at once. */
static void transfer_partly_done(BlockRequest *request, ssize_t res)
{
    FileState *s = request->node->state;
    AioRequest *aio = &request->aio;
    bool write = aio->op == AIO_WRITE;
    if (res == -EINTR || res == -EAGAIN) {
        submit_rest(request);
        return;
    }
    if (aio->rw_flags && (res == -EOPNOTSUPP || res == -EINVAL)) { /* no RWF_DSYNC here */
        atomic_store(&s->no_dsync, true);
        aio->rw_flags = 0;
        submit_rest(request);
        return;
    }
    if (res == -EINVAL && request->node->cache_direct && !request->progress) {
        submit_bounce(request->node, request); /* stricter than the probe found */
        return;
    }
    if (res < 0) {
        finish(request, (int)res, false);
        return;
    }
    request->progress += res;
    if (request->progress >= request->bytes) {
        finish(request, 0, aio->rw_flags != 0);
    } else if (res > 0 && (write || !(request->progress & s->offset_mask))) {
        submit_rest(request);
    } else if (write) {
        finish(request, -EIO, false);
    } else { /* the end of the file: what lies behind reads as zeroes */
        iov_zero_from(request->kiov, request->kiov_count, request->progress);
        finish(request, 0, true);
    }
}

static void transfer_done(AioRequest *aio, ssize_t res)
{
    BlockRequest *request = aio->opaque;
    if (G_LIKELY(res == (ssize_t)request->bytes && !request->progress &&
                 (aio->rw_flags || !(request->kflags & BLOCK_REQ_FUA)))) {
        block_request_complete(request, 0);
        return;
    }
    transfer_partly_done(request, res);
}

/* ---- Discard and write zeroes ---- */

static void submit_zeroes(BlockNode *node, BlockRequest *request);

static bool is_unsupported(ssize_t res)
{
    return res == -EOPNOTSUPP || res == -ENOTSUP || res == -ENOSYS || res == -ENODEV ||
           res == -ENOTTY;
}

static void discard_done(AioRequest *aio, ssize_t res)
{
    BlockRequest *request = aio->opaque;
    FileState *s = request->node->state;
    if (is_unsupported(res)) {
        atomic_store(&s->no_punch, true);
        atomic_fetch_add_explicit(&s->discards_failed, 1, memory_order_relaxed);
        res = 0; /* a discard is a hint */
    } else if (res < 0) {
        atomic_fetch_add_explicit(&s->discards_failed, 1, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&s->discards_done, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->discarded_bytes, request->bytes, memory_order_relaxed);
    }
    block_request_complete(request, (int)res);
}

static void submit_discard(BlockNode *node, BlockRequest *request)
{
    FileState *s = node->state;
    uint64_t start = request->position, end = request->position + request->bytes;
    if (s->block_device) {
        start = ALIGN_UP(start, node->limits.logical_block);
        end = ALIGN_DOWN(end, node->limits.logical_block);
    }
    if (!node->discard_unmap || start >= end || atomic_load(&s->no_punch)) {
        block_request_complete_later(request, 0);
        return;
    }
    request->aio.offset = start;
    request->aio.length = end - start;
    submit_aio(node, request, AIO_PUNCH_HOLE, discard_done);
}

static void zeroes_done(AioRequest *aio, ssize_t res)
{
    BlockRequest *request = aio->opaque;
    FileState *s = request->node->state;
    if (is_unsupported(res) || (s->block_device && res == -EINVAL)) {
        atomic_store(aio->op == AIO_PUNCH_HOLE ? &s->no_punch : &s->no_zero_range, true);
        submit_zeroes(request->node, request);
        return;
    }
    finish(request, (int)res, false);
}

static void no_zeroes_done(AioRequest *aio, ssize_t res)
{
    block_request_complete(aio->opaque, -ENOTSUP);
}

static int no_zeroes_call(AioRequest *aio)
{
    return 0;
}

static void submit_zeroes(BlockNode *node, BlockRequest *request)
{
    FileState *s = node->state;
    request->aio.offset = request->position;
    request->aio.length = request->bytes;
    /* What a discarded block device holds is not known; BLKZEROOUT unmaps where it can. */
    if (request->kflags & BLOCK_REQ_UNMAP && node->discard_unmap && !s->block_device &&
        !atomic_load(&s->no_punch)) {
        submit_aio(node, request, AIO_PUNCH_HOLE, zeroes_done);
    } else if (!atomic_load(&s->no_zero_range)) {
        submit_aio(node, request, AIO_ZERO_RANGE, zeroes_done);
    } else if (request->kflags & BLOCK_REQ_NO_FALLBACK) {
        request->aio.call = no_zeroes_call;
        submit_aio(node, request, AIO_CALL, no_zeroes_done);
    } else {
        submit_bounce(node, request);
    }
}

/* ---- Flush ---- */

static void submit_flush(BlockNode *node, BlockRequest *request)
{
    FileState *s = node->state;
    if (node->no_flush) {
        block_request_complete_later(request, 0);
    } else if (atomic_load(&s->flush_failed)) {
        block_request_complete_later(request, -EIO);
    } else {
        submit_aio(node, request, AIO_FSYNC, flush_done);
    }
}

/* ---- Status: holes of the file ---- */

static int status_call(AioRequest *aio)
{
    BlockRequest *request = aio->opaque;
    FileState *s = request->node->state;
    BlockStatus *status = request->status;
    off_t start = (off_t)request->position, data = start, hole;
    status->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET;
    status->bytes = request->bytes;
    status->host_offset = request->position;
    status->file = request->node;
    if (s->block_device || ((data = lseek(s->fd, start, SEEK_DATA)) < 0 && errno != ENXIO)) {
        return 0; /* a file system that cannot say */
    }
    if (data != start) { /* ENXIO: a hole up to the end */
        status->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET;
        status->bytes = data < 0 ? request->bytes : MIN(request->bytes, (uint64_t)(data - start));
        return 0;
    }
    hole = lseek(s->fd, start, SEEK_HOLE);
    if (hole > start) {
        status->bytes = MIN(request->bytes, (uint64_t)(hole - start));
    }
    return 0;
}

static void status_done(AioRequest *aio, ssize_t res)
{
    block_request_complete(aio->opaque, (int)res);
}

/* ---- Writes behind the end ---- */

static void dispatch(BlockNode *node, BlockRequest *request);

static int grow_call(AioRequest *aio)
{
    BlockRequest *request = aio->opaque;
    return file_grow(request->node, request->position + request->bytes);
}

static void grow_done(AioRequest *aio, ssize_t res)
{
    BlockRequest *request = aio->opaque;
    if (res < 0) {
        block_request_complete(request, (int)res);
        return;
    }
    dispatch(request->node, request);
}

static bool is_behind_end(BlockNode *node, const BlockRequest *request)
{
    return (request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES) &&
           G_UNLIKELY(file_must_grow(node, request->position + request->bytes));
}

void file_submit(BlockNode *node, BlockRequest *request)
{
    request->node = node;
    if (node->no_flush) {
        request->kflags &= ~(unsigned)BLOCK_REQ_FUA;
    }
    if (is_behind_end(node, request)) {
        request->aio.call = grow_call;
        submit_aio(node, request, AIO_CALL, grow_done);
        return;
    }
    dispatch(node, request);
}

static void dispatch(BlockNode *node, BlockRequest *request)
{
    FileState *s = node->state;
    switch (request->kind) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        if (G_UNLIKELY(node->cache_direct && is_misaligned(s, request))) {
            submit_bounce(node, request);
        } else {
            submit_transfer(node, request);
        }
        break;
    case BLOCK_FLUSH:
        submit_flush(node, request);
        break;
    case BLOCK_DISCARD:
        submit_discard(node, request);
        break;
    case BLOCK_STATUS:
        request->aio.call = status_call;
        submit_aio(node, request, AIO_CALL, status_done);
        break;
    default:
        submit_zeroes(node, request);
        break;
    }
}

/* ---- Blocking access ---- */

int file_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write)
{
    FileState *s = node->state;
    int ret = write && file_must_grow(node, offset + bytes) ? file_grow(node, offset + bytes) : 0;
    if (ret < 0) {
        return ret;
    }
    if (node->cache_direct) {
        struct iovec iov = { data, bytes };
        BounceData bounce = { .iov = &iov, .iov_count = 1 };
        return bounce_transfer(s, &bounce, offset, bytes, write);
    }
    if (write) {
        return pwrite_full(s->fd, data, bytes, offset);
    }
    return pread_full(s->fd, data, bytes, offset);
}

int file_flush(BlockNode *node)
{
    FileState *s = node->state;
    if (node->no_flush || node->readonly) {
        return 0;
    }
    if (atomic_load(&s->flush_failed)) {
        return -EIO;
    }
    int ret = fdatasync(s->fd) < 0 ? -errno : 0;
    if (ret < 0 && !node->cache_direct) {
        atomic_store(&s->flush_failed, true);
    }
    return ret;
}

int file_copy_range(BlockNode *from, uint64_t from_offset, BlockNode *to, uint64_t to_offset,
                    uint64_t bytes)
{
    int source = ((FileState *)from->state)->fd, target = ((FileState *)to->state)->fd;
    loff_t in = (loff_t)from_offset, out = (loff_t)to_offset;
    while (bytes) {
        ssize_t n = copy_file_range(source, &in, target, &out, bytes, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) { /* the source's last sector may not be whole */
            return n < 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT) ? -errno
                                                                                 : -ENOTSUP;
        }
        bytes -= (uint64_t)n;
    }
    return 0;
}
