/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mirror with copy-mode write-blocking: a write of the guest's goes to the source, then to the
 * target, and ends when both have it. Its chunks are busy meanwhile, so that neither a thread that
 * copies nor another write of this kind is at them; a write that meets such a chunk is followed in
 * the ordinary way. The data is copied first: the guest may change it between the two.
 */
#include "block/jobs/mirror_state.h"
#include "vmm/util/bytes.h"

#define ALIGNMENT 4096

typedef struct BothWrite {
    Mirror *mirror;
    BlockRequest *request;
    BlockRequest second; /* to the target */
    void (*complete)(BlockRequest *request, int ret);
    uint64_t offset, bytes;
    uint64_t first, last; /* chunks */
    BlockOp kind;
    unsigned flags;
    struct iovec iov;
    const struct iovec *guest_iov;
    int guest_iov_count;
    int ret;
} BothWrite;

/* ---- Chunks ---- */

/* All of them are the same on both sides, and nobody is at them: now they are busy. */
static bool take_chunks(Mirror *m, uint64_t first, uint64_t last)
{
    bool free = true;
    g_mutex_lock(&m->lock);
    for (uint64_t chunk = first; free && chunk <= last; chunk++) {
        free = !dirty_map_get(m->dirty, chunk) && !dirty_map_get(m->busy, chunk);
    }
    for (uint64_t chunk = first; free && chunk <= last; chunk++) {
        dirty_map_set(m->busy, chunk << m->busy->chunk_bits, 1);
        atomic_fetch_add(&m->both_chunks, 1);
    }
    g_mutex_unlock(&m->lock);
    return free;
}

static void give_back_chunks(Mirror *m, uint64_t first, uint64_t last)
{
    g_mutex_lock(&m->lock);
    for (uint64_t chunk = first; chunk <= last; chunk++) {
        dirty_map_clear(m->busy, chunk);
        atomic_fetch_sub(&m->both_chunks, 1);
    }
    g_mutex_unlock(&m->lock);
}

/* ---- The write ---- */

static void end_write(BothWrite *w)
{
    BlockRequest *request = w->request;
    int ret = w->ret;
    give_back_chunks(w->mirror, w->first, w->last);
    request->tracked = NULL;
    request->complete = w->complete;
    request->kiov = w->guest_iov;
    request->kiov_count = w->guest_iov_count;
    g_aligned_free(w->iov.iov_base);
    g_free(w);
    request->complete(request, ret);
}

static void second_done(BlockRequest *second, int ret)
{
    BothWrite *w = second->opaque;
    Mirror *m = w->mirror;
    block_request_release(second);
    if (ret < 0) {
        dirty_map_set(m->dirty, w->offset, w->bytes);
        if (!job_io_error(&m->job, m->options.common.on_target, false, ret)) {
            copy_team_fail(&m->team, ret);
        }
    }
    end_write(w);
}

static void first_done(BlockRequest *request, int ret)
{
    BothWrite *w = request->tracked;
    w->ret = ret;
    if (ret < 0) { /* nobody knows what the source has now */
        dirty_map_set(w->mirror->dirty, w->offset, w->bytes);
        end_write(w);
        return;
    }
    bool data = w->kind == BLOCK_WRITE;
    block_request_init(&w->second, request->loop, data ? BLOCK_WRITE : BLOCK_WRITE_ZEROES,
                       w->offset, w->bytes, data ? &w->iov : NULL, data ? 1 : 0, w->flags,
                       second_done, w);
    block_node_submit(w->mirror->target, &w->second);
}

bool mirror_write_both(Mirror *m, BlockNode *node, BlockRequest *request)
{
    uint64_t first = request->position >> m->dirty->chunk_bits;
    uint64_t last = (request->position + MAX(request->bytes, 1) - 1) >> m->dirty->chunk_bits;
    /* A discard leaves behind what nobody knows. */
    if (!request->bytes || request->kind == BLOCK_DISCARD || last >= m->dirty->chunks ||
        !take_chunks(m, first, last)) {
        return false;
    }
    BothWrite *w = g_new0(BothWrite, 1);
    *w = (BothWrite){ .mirror = m,
                      .request = request,
                      .complete = request->complete,
                      .offset = request->position,
                      .bytes = request->bytes,
                      .first = first,
                      .last = last,
                      .kind = request->kind,
                      .guest_iov = request->kiov,
                      .guest_iov_count = request->kiov_count };
    w->flags = request->kind == BLOCK_WRITE ? 0 : m->way.zero_flags & request->kflags;
    if (request->kind == BLOCK_WRITE) {
        w->iov = (struct iovec){ g_aligned_alloc(1, request->bytes, ALIGNMENT), request->bytes };
        iov_copy(request->kiov, request->kiov_count, 0, w->iov.iov_base, request->bytes, false);
        request->kiov = &w->iov;
        request->kiov_count = 1;
    }
    request->tracked = w;
    request->complete = first_done;
    block_node_pass(node, request);
    return true;
}

/* ---- Loops ---- */

typedef struct LoopCheck {
    Mirror *mirror;
    GError **error;
    bool failed;
} LoopCheck;

static void check_backend(BlockBackend *backend, void *opaque)
{
    LoopCheck *check = opaque;
    if (!check->failed && backend->node && node_is_below(check->mirror->source, backend->node)) {
        check->failed = !backend_check_loops(backend, check->mirror->target, check->error);
    }
}

bool mirror_prepare_loops(Mirror *m, GError **error)
{
    LoopCheck check = { m, error, false };
    if (m->options.write_blocking) {
        backend_foreach(check_backend, &check);
    }
    return !check.failed;
}
