/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What convert copies, and how: workers take pieces of the sources in order, read them side by
 * side, and write them in turn, or in any order where that is asked for or each write is a cluster
 * to be compressed, which is what takes the time then.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "block/img/img.h"
#include "vmm/memory/rcu.h"
#include "vmm/util/bytes.h"

#define PIECE_BYTES (2 * MIB)

typedef enum PieceKind { PIECE_DATA, PIECE_ZERO, PIECE_SKIP } PieceKind;

typedef struct Piece {
    PieceKind kind;
    uint64_t offset, bytes;
    uint64_t turn;
} Piece;

typedef struct Job {
    const ImgCopy *copy;
    uint64_t *starts;    /* of the sources */
    GMutex lock;         /* of all below */
    GCond *turn_came;    /* one for each of the turns that can be out: turn % workers */
    uint64_t next;       /* where the next piece begins */
    uint64_t extent_end; /* up to here all is of one kind */
    PieceKind extent_kind;
    uint64_t turns, turn; /* given out; whose it is to write */
    uint64_t done;        /* bytes */
    int64_t began_us;
    bool failed;
    _Atomic bool no_offload; /* the host cannot */
} Job;

/* ---- What lies where ---- */

static int source_at(const Job *job, uint64_t offset)
{
    int i = job->copy->count - 1;
    while (i > 0 && job->starts[i] > offset) {
        i--;
    }
    return i;
}

static PieceKind kind_of(const ImgCopy *copy, const BlockStatus *status, uint64_t offset,
                         uint64_t *bytes)
{
    if (copy->target_has_backing && !(status->flags & BLOCK_STATUS_ALLOCATED)) {
        if (offset < copy->backing_length) {
            *bytes = MIN(*bytes, copy->backing_length - offset);
            return PIECE_SKIP;
        }
        return PIECE_ZERO;
    }
    bool zero = status->flags & BLOCK_STATUS_ZERO || !(status->flags & BLOCK_STATUS_DATA);
    return zero && copy->min_sparse ? PIECE_ZERO : PIECE_DATA;
}

/* Compressed writes are of whole clusters: what is not data ends where a cluster ends. */
static void align_extent(Job *job)
{
    uint64_t cluster = job->copy->cluster;
    if (!job->copy->compressed || job->extent_end == job->copy->total) {
        return;
    }
    uint64_t down = ALIGN_DOWN(job->extent_end, cluster);
    if (job->extent_kind != PIECE_DATA && down > job->next) {
        job->extent_end = down;
    } else {
        job->extent_kind = PIECE_DATA;
        job->extent_end = MIN(ALIGN_UP(job->extent_end, cluster), job->copy->total);
    }
}

static bool find_extent(Job *job)
{
    const ImgCopy *copy = job->copy;
    int i = source_at(job, job->next);
    BlockNode *node = copy->sources[i].node;
    uint64_t offset = job->next - job->starts[i];
    uint64_t left = block_node_length(node) - offset;
    BlockStatus status;
    int ret = block_status_above(node, copy->target_has_backing ? block_node_backing(node) : NULL,
                                 offset, left, &status, NULL);
    if (ret < 0 && !copy->salvage) {
        report_error("cannot find out what the source has at offset %" G_GUINT64_FORMAT ": %s",
                     job->next, g_strerror(-ret));
        return false;
    }
    if (ret < 0) {
        status = (BlockStatus){ .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED,
                                .bytes = MIN(left, PIECE_BYTES) };
    }
    uint64_t bytes = status.bytes;
    job->extent_kind = kind_of(copy, &status, job->next, &bytes);
    job->extent_end = job->next + bytes;
    align_extent(job);
    return true;
}

/* False: there are no more, or the job has failed. */
static bool take_piece(Job *job, Piece *piece)
{
    const ImgCopy *copy = job->copy;
    g_mutex_lock(&job->lock);
    bool ok = !job->failed && job->next < copy->total;
    if (ok && job->next >= job->extent_end && !find_extent(job)) {
        job->failed = true;
        ok = false;
    }
    if (ok) {
        uint64_t most = job->extent_kind == PIECE_DATA ? PIECE_BYTES : UINT64_MAX;
        most = copy->compressed && most == PIECE_BYTES ? copy->cluster : most;
        *piece = (Piece){ .kind = job->extent_kind,
                          .offset = job->next,
                          .bytes = MIN(job->extent_end - job->next, most),
                          .turn = job->turns++ };
        job->next += piece->bytes;
    }
    g_mutex_unlock(&job->lock);
    return ok;
}

/* ---- Reading ---- */

static int read_salvaging(const ImgCopy *copy, BlockNode *node, uint64_t offset, char *data,
                          uint64_t bytes)
{
    int ret = block_pread(node, offset, data, bytes);
    if (ret == 0 || !copy->salvage) {
        return ret;
    }
    for (uint64_t at = 0; at < bytes; at += 512) {
        ret = block_pread(node, offset + at, data + at, 512);
        if (ret < 0) {
            if (!copy->quiet) {
                report_warning("unreadable, zeroes in the copy: offset %" G_GUINT64_FORMAT ": %s",
                               offset + at, g_strerror(-ret));
            }
            memset(data + at, 0, 512);
        }
    }
    return 0;
}

static int read_piece(Job *job, const Piece *piece, char *data)
{
    uint64_t done = 0;
    while (done < piece->bytes) {
        int i = source_at(job, piece->offset + done);
        BlockNode *node = job->copy->sources[i].node;
        uint64_t offset = piece->offset + done - job->starts[i];
        uint64_t bytes = MIN(piece->bytes - done, block_node_length(node) - offset);
        int ret = read_salvaging(job->copy, node, offset, data + done, bytes);
        if (ret < 0) {
            report_error("cannot read the source at offset %" G_GUINT64_FORMAT ": %s",
                         piece->offset + done, g_strerror(-ret));
            return ret;
        }
        done += bytes;
    }
    return 0;
}

/* ---- Writing ---- */

static int write_zeroes(const ImgCopy *copy, uint64_t offset, uint64_t bytes)
{
    return copy->target_is_zero ? 0
                                : block_pwrite_zeroes(copy->target, offset, bytes, BLOCK_REQ_UNMAP);
}

static uint64_t run_of(const ImgCopy *copy, const char *data, uint64_t bytes, bool *zero)
{
    uint64_t unit = copy->min_sparse, end = MIN(unit, bytes);
    *zero = img_is_zero(data, end);
    while (end < bytes) {
        uint64_t n = MIN(unit, bytes - end);
        if (img_is_zero(data + end, n) != *zero) {
            break;
        }
        end += n;
    }
    return end;
}

static int write_data(const ImgCopy *copy, uint64_t offset, const char *data, uint64_t bytes)
{
    if (copy->compressed) {
        return copy->min_sparse && img_is_zero(data, bytes)
                   ? write_zeroes(copy, offset, bytes)
                   : block_pwrite_compressed(copy->target, offset, data, bytes);
    }
    if (!copy->min_sparse) {
        return block_pwrite(copy->target, offset, data, bytes);
    }
    int ret = 0;
    for (uint64_t done = 0, n; ret == 0 && done < bytes; done += n) {
        bool zero;
        n = run_of(copy, data + done, bytes - done, &zero);
        ret = zero ? write_zeroes(copy, offset + done, n)
                   : block_pwrite(copy->target, offset + done, data + done, n);
    }
    return ret;
}

static int write_piece(Job *job, const Piece *piece, const char *data)
{
    const ImgCopy *copy = job->copy;
    int ret = piece->kind == PIECE_SKIP   ? 0
              : piece->kind == PIECE_ZERO ? write_zeroes(copy, piece->offset, piece->bytes)
                                          : write_data(copy, piece->offset, data, piece->bytes);
    if (ret < 0) {
        report_error("cannot write the copy at offset %" G_GUINT64_FORMAT ": %s", piece->offset,
                     g_strerror(-ret));
    }
    return ret;
}

/* False: it is to be read and written. */
static bool offload_piece(Job *job, const Piece *piece)
{
    const ImgCopy *copy = job->copy;
    int i = source_at(job, piece->offset);
    if (!copy->offload || piece->kind != PIECE_DATA || atomic_load(&job->no_offload) ||
        source_at(job, piece->offset + piece->bytes - 1) != i) {
        return false;
    }
    int ret = block_copy_range(copy->sources[i].node, piece->offset - job->starts[i], copy->target,
                               piece->offset, piece->bytes);
    if (ret < 0) {
        atomic_store(&job->no_offload, true); /* an error is met again, and told, by the others */
    }
    return ret == 0;
}

/* ---- Workers ---- */

/* False: the job has failed meanwhile. */
static bool wait_for_turn(Job *job, const Piece *piece)
{
    g_mutex_lock(&job->lock);
    while (!job->failed && job->turn != piece->turn) {
        g_cond_wait(&job->turn_came[piece->turn % job->copy->workers], &job->lock);
    }
    bool ok = !job->failed;
    g_mutex_unlock(&job->lock);
    return ok;
}

/* How long to wait so that what is done took as long as the rate wants. */
static int64_t rate_delay_us(const Job *job)
{
    uint64_t rate = job->copy->rate;
    if (!rate) {
        return 0;
    }
    double wanted = (double)job->done / (double)rate * G_USEC_PER_SEC;
    return (int64_t)wanted - (g_get_monotonic_time() - job->began_us);
}

/* Wakes who is next, or all after a failure. */
static void wake(Job *job)
{
    unsigned workers = job->copy->workers;
    for (unsigned i = 0; i < (job->failed ? workers : 1); i++) {
        g_cond_signal(&job->turn_came[(job->turn + i) % workers]);
    }
}

static void piece_is_done(Job *job, const Piece *piece, bool ok)
{
    g_mutex_lock(&job->lock);
    job->failed |= !ok;
    job->turn++;
    job->done += piece->bytes;
    img_progress((double)job->done * 100.0 / (double)job->copy->total);
    int64_t delay = piece->kind == PIECE_DATA ? rate_delay_us(job) : 0;
    wake(job);
    g_mutex_unlock(&job->lock);
    if (delay > 0) {
        g_usleep((gulong)delay);
    }
}

static bool move_piece(Job *job, const Piece *piece, char *data, bool ordered)
{
    return (piece->kind != PIECE_DATA || read_piece(job, piece, data) == 0) &&
           (!ordered || wait_for_turn(job, piece)) && write_piece(job, piece, data) == 0;
}

static void *work(void *opaque)
{
    Job *job = opaque;
    bool ordered = !job->copy->out_of_order && !job->copy->compressed && !job->copy->offload;
    char *data = img_buffer_new(PIECE_BYTES);
    Piece piece;
    rcu_thread_register();
    while (take_piece(job, &piece)) {
        bool ok = offload_piece(job, &piece) || move_piece(job, &piece, data, ordered);
        piece_is_done(job, &piece, ok);
    }
    rcu_thread_unregister();
    free(data);
    return NULL;
}

int img_copy(const ImgCopy *copy)
{
    Job job = { .copy = copy, .began_us = g_get_monotonic_time() };
    g_autoptr(GPtrArray) threads = g_ptr_array_new();
    uint64_t start = 0;
    job.starts = g_new(uint64_t, copy->count);
    for (int i = 0; i < copy->count; i++) {
        job.starts[i] = start;
        start += block_node_length(copy->sources[i].node);
    }
    g_mutex_init(&job.lock);
    job.turn_came = g_new(GCond, copy->workers);
    for (unsigned i = 0; i < copy->workers; i++) {
        g_cond_init(&job.turn_came[i]);
    }
    for (unsigned i = 0; i < copy->workers; i++) {
        g_ptr_array_add(threads, g_thread_new("convert", work, &job));
    }
    for (guint i = 0; i < threads->len; i++) {
        g_thread_join(threads->pdata[i]);
    }
    g_mutex_clear(&job.lock);
    for (unsigned i = 0; i < copy->workers; i++) {
        g_cond_clear(&job.turn_came[i]);
    }
    g_free(job.turn_came);
    g_free(job.starts);
    if (!job.failed) {
        img_progress(100);
    }
    return job.failed ? 1 : 0;
}
