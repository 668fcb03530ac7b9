/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests through encrypted sectors. A request goes through a buffer of up to CHUNK_BYTES, piece
 * by piece; buffers of all requests of an image are at most BUFFERS_BYTES, and who finds them taken
 * waits in a row. A write of parts of sectors reads them first: what touches the same sectors takes
 * turns with it.
 */
#include <errno.h>
#include <stdlib.h>
#include "block/crypto/internal.h"

#define CHUNK_BYTES   (512 * KIB)
#define BUFFERS_BYTES (32 * MIB)

struct SectorRequest {
    Sectors *sectors;
    BlockNode *below;
    BlockRequest *request, child;
    struct iovec iov;
    uint64_t host, number; /* of the request's first byte */
    uint64_t done;         /* bytes of the request */
    uint64_t skip, part;   /* of the piece: bytes before the request's, and of them */
    bool write, zero, partial, encrypting;
    uint8_t *buffer;
    uint64_t room;
    AioRequest aio;
    LoopTask task;
    SectorRequest *next, **link; /* of `active`, or of `waiting` (next only) */
};

static void begin_piece(SectorRequest *r);
static void written(BlockRequest *child, int ret);

/* ---- Turns; lock held ---- */

static uint64_t sector_from(const SectorRequest *r)
{
    return r->host / SECTOR_BYTES;
}

static uint64_t sector_to(const SectorRequest *r)
{
    return (r->host + r->request->bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;
}

static bool must_wait(const Sectors *s, const SectorRequest *r)
{
    if (s->buffered && s->buffered + r->room > BUFFERS_BYTES) {
        return true;
    }
    if (!r->write || !(r->partial || s->partial)) {
        return false;
    }
    for (const SectorRequest *a = s->active; a; a = a->next) {
        if (a->write && (a->partial || r->partial) && sector_from(a) < sector_to(r) &&
            sector_from(r) < sector_to(a)) {
            return true;
        }
    }
    return false;
}

static void activate(Sectors *s, SectorRequest *r)
{
    s->buffered += r->room;
    s->partial += r->write && r->partial;
    r->next = s->active;
    r->link = &s->active;
    if (s->active) {
        s->active->link = &r->next;
    }
    s->active = r;
}

static void begin(void *opaque)
{
    SectorRequest *r = opaque;
    r->buffer = aligned_alloc(4096, r->room);
    if (r->buffer) {
        begin_piece(r);
        return;
    }
    block_request_init(&r->child, r->request->loop, BLOCK_WRITE, 0, 0, NULL, 0, 0, written, r);
    block_request_complete_later(&r->child, -ENOMEM);
}

/* In the row's order: who is ahead is never overtaken. */
static void wake_waiting(Sectors *s)
{
    while (s->waiting && !must_wait(s, s->waiting)) {
        SectorRequest *r = s->waiting;
        s->waiting = r->next;
        if (!s->waiting) {
            s->waiting_tail = &s->waiting;
        }
        activate(s, r);
        r->task = (LoopTask)LOOP_TASK_INIT(begin, r);
        event_loop_post(r->request->loop, &r->task);
    }
}

static void end(SectorRequest *r, int ret)
{
    Sectors *s = r->sectors;
    BlockRequest *request = r->request;
    g_mutex_lock(&s->lock);
    s->buffered -= r->room;
    s->partial -= r->write && r->partial;
    *r->link = r->next;
    if (r->next) {
        r->next->link = r->link;
    }
    wake_waiting(s);
    g_mutex_unlock(&s->lock);
    free(r->buffer);
    g_free(r);
    block_request_complete(request, ret);
}

/* ---- A piece ---- */

static uint64_t piece_bytes(const SectorRequest *r)
{
    return ALIGN_UP(r->skip + r->part, SECTOR_BYTES);
}

static void move_on(SectorRequest *r)
{
    r->done += r->part;
    if (r->done < r->request->bytes) {
        begin_piece(r);
    } else {
        end(r, 0);
    }
}

static void written(BlockRequest *child, int ret)
{
    SectorRequest *r = child->opaque;
    block_request_release(child);
    if (ret < 0) {
        end(r, ret);
    } else {
        move_on(r);
    }
}

static void transfer(SectorRequest *r, bool write, void (*complete)(BlockRequest *child, int ret))
{
    unsigned flags = write ? r->request->kflags & BLOCK_REQ_FUA : 0;
    r->iov = (struct iovec){ r->buffer, piece_bytes(r) };
    block_request_init(&r->child, r->request->loop, write ? BLOCK_WRITE : BLOCK_READ,
                       r->host + r->done - r->skip, piece_bytes(r), &r->iov, 1, flags, complete, r);
    block_node_submit(r->below, &r->child);
}

/* Between the request's memory and the buffer. */
static void copy_data(SectorRequest *r)
{
    if (r->zero) {
        memset(r->buffer + r->skip, 0, r->part);
    } else {
        iov_copy(r->request->kiov, r->request->kiov_count, r->done, r->buffer + r->skip, r->part,
                 !r->write);
    }
}

static int run_cipher(AioRequest *aio)
{
    SectorRequest *r = aio->opaque;
    if (r->encrypting) {
        copy_data(r);
    }
    int ret = sectors_run(r->sectors, r->encrypting, (r->number + r->done) / SECTOR_BYTES,
                          r->buffer, piece_bytes(r));
    if (ret == 0 && !r->write) {
        copy_data(r);
    }
    return ret;
}

static void ciphered(AioRequest *aio, ssize_t res);

/* By a worker, or here and now. */
static void cipher(SectorRequest *r, bool encrypt)
{
    r->encrypting = encrypt;
    r->aio = (AioRequest){ .call = run_cipher, .done = ciphered, .opaque = r };
    if (piece_bytes(r) > r->sectors->inline_bytes) {
        aio_run_worker(r->request->loop, &r->aio);
    } else {
        ciphered(&r->aio, run_cipher(&r->aio));
    }
}

/* A failed cipher inside submit ends later, as everything does. */
static void ciphered(AioRequest *aio, ssize_t res)
{
    SectorRequest *r = aio->opaque;
    if (res < 0) {
        block_request_init(&r->child, r->request->loop, BLOCK_WRITE, 0, 0, NULL, 0, 0, written, r);
        block_request_complete_later(&r->child, (int)res);
    } else if (r->encrypting) {
        transfer(r, true, written);
    } else if (r->write) {
        cipher(r, true);
    } else {
        move_on(r);
    }
}

static void piece_read(BlockRequest *child, int ret)
{
    SectorRequest *r = child->opaque;
    block_request_release(child);
    if (ret < 0) {
        end(r, ret);
    } else {
        cipher(r, false);
    }
}

static void begin_piece(SectorRequest *r)
{
    r->skip = (r->host + r->done) % SECTOR_BYTES;
    r->part = MIN(r->request->bytes - r->done, r->room / SECTOR_BYTES * SECTOR_BYTES - r->skip);
    if (!r->write || r->skip || r->part % SECTOR_BYTES) {
        transfer(r, false, piece_read);
    } else {
        cipher(r, true);
    }
}

void sectors_submit(Sectors *s, BlockNode *below, BlockRequest *request, uint64_t host,
                    uint64_t number)
{
    SectorRequest *r = g_new0(SectorRequest, 1);
    uint64_t skip = host % SECTOR_BYTES;
    r->sectors = s;
    r->below = below;
    r->request = request;
    r->host = host;
    r->number = number;
    r->write = request->kind != BLOCK_READ;
    r->zero = request->kind == BLOCK_WRITE_ZEROES;
    r->partial = skip || request->bytes % SECTOR_BYTES;
    r->room = MIN(ALIGN_UP(skip + MIN(request->bytes, CHUNK_BYTES), 4096), CHUNK_BYTES);
    g_mutex_lock(&s->lock);
    bool wait = s->waiting || must_wait(s, r);
    if (wait) {
        *s->waiting_tail = r;
        s->waiting_tail = &r->next;
    } else {
        activate(s, r);
    }
    g_mutex_unlock(&s->lock);
    if (!wait) {
        begin(r);
    }
}
