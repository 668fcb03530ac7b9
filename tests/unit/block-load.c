/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random work on a disk, compared with a model. */
#include "tests/unit/block-load.h"

#include <stdlib.h>

#define SECTOR 512

void load_fill(GRand *rand, uint8_t *data, uint64_t bytes)
{
    uint32_t x = g_rand_int(rand) | 1;
    for (uint64_t i = 0; i < bytes; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)(x >> 24);
    }
}

static bool overlaps(const BlockLoad *b, uint64_t offset, uint64_t bytes)
{
    for (int i = 0; i < LOAD_SLOTS; i++) {
        const LoadSlot *s = &b->slots[i];
        if (s->busy && offset < s->offset + s->bytes && s->offset < offset + bytes) {
            return true;
        }
    }
    return false;
}

static void slot_free(LoadSlot *slot)
{
    BlockLoad *b = slot->load;
    g_free(slot->data);
    g_mutex_lock(&b->lock);
    slot->busy = false;
    b->in_flight--;
    g_cond_signal(&b->cond);
    g_mutex_unlock(&b->lock);
}

static void check_read(LoadSlot *slot)
{
    BlockLoad *b = slot->load;
    const uint8_t *model = b->model + slot->offset;
    for (uint64_t i = 0; i < slot->bytes; i++) {
        if (slot->data[i] != model[i]) {
            g_error("byte %" G_GUINT64_FORMAT " (of a read of %" G_GUINT64_FORMAT
                    " at %" G_GUINT64_FORMAT ") is %02x, not %02x",
                    slot->offset + i, slot->bytes, slot->offset, slot->data[i], model[i]);
        }
    }
}

/* A discard is a hint: each byte is what it was, or 0. */
static void learn_discard(LoadSlot *slot)
{
    uint8_t *model = slot->load->model + slot->offset;
    for (uint64_t i = 0; i < slot->bytes; i++) {
        g_assert_true(slot->data[i] == model[i] || slot->data[i] == 0);
        model[i] = slot->data[i];
    }
}

static void submit(LoadSlot *slot, BlockOp op, unsigned flags);

static void done(BlockRequest *request, int ret)
{
    LoadSlot *slot = request->opaque;
    g_assert_cmpint(ret, ==, 0);
    if (request->op == BLOCK_DISCARD) {
        slot->verify_discard = true;
        submit(slot, BLOCK_READ, 0);
        return;
    }
    if (request->op == BLOCK_READ && slot->verify_discard) {
        learn_discard(slot);
    } else if (request->op == BLOCK_READ) {
        check_read(slot);
    }
    slot_free(slot);
}

static void submit(LoadSlot *slot, BlockOp op, unsigned flags)
{
    BlockRequest *r = &slot->request;
    uint64_t third = slot->bytes / 3 / SECTOR * SECTOR;
    int n = 0;
    memset(r, 0xa5, sizeof(*r));
    if (third) {
        slot->iov[n++] = (struct iovec){ slot->data, third };
    }
    slot->iov[n++] = (struct iovec){ slot->data + third, slot->bytes - third };
    r->op = op;
    r->flags = flags;
    r->offset = slot->offset;
    r->bytes = op == BLOCK_FLUSH ? 0 : slot->bytes;
    r->iov = slot->iov;
    r->iov_count = n;
    r->done = done;
    r->opaque = slot;
    block_submit(slot->load->backend, r);
}

static void start_task(void *opaque)
{
    LoadSlot *slot = opaque;
    submit(slot, slot->request.op, slot->request.flags);
}

static BlockOp choose_op(BlockLoad *b)
{
    static const BlockOp ops[] = { BLOCK_READ,    BLOCK_READ,  BLOCK_READ,  BLOCK_WRITE,
                                   BLOCK_WRITE,   BLOCK_WRITE, BLOCK_WRITE, BLOCK_WRITE_ZEROES,
                                   BLOCK_DISCARD, BLOCK_FLUSH };
    return ops[g_rand_int_range(b->rand, 0, G_N_ELEMENTS(ops))];
}

static uint64_t choose_bytes(BlockLoad *b)
{
    uint64_t most = g_rand_boolean(b->rand) ? 8 * KIB : 200 * KIB;
    uint64_t n = g_rand_int_range(b->rand, 1, (gint32)(MIN(most, b->size) / SECTOR)) * SECTOR;
    return n;
}

static void start_one(BlockLoad *b)
{
    LoadSlot *slot = b->slots;
    BlockOp op = choose_op(b);
    uint64_t bytes = choose_bytes(b);
    uint64_t offset =
        g_rand_int_range(b->rand, 0, (gint32)((b->size - bytes) / SECTOR) + 1) * SECTOR;
    if (g_rand_int_range(b->rand, 0, 4) == 0) { /* whole clusters, often */
        offset = MIN(ALIGN_DOWN(offset, 65536), b->size - bytes);
    }
    while (slot->busy) {
        slot++;
    }
    if (overlaps(b, offset, bytes)) {
        return;
    }
    slot->load = b;
    slot->busy = true;
    slot->verify_discard = false;
    slot->offset = offset;
    slot->bytes = bytes;
    slot->data = aligned_alloc(4096, ALIGN_UP(bytes, 4096));
    slot->loop = g_rand_int_range(b->rand, 0, LOAD_LOOPS);
    slot->request.op = op;
    slot->request.flags = 0;
    if (op == BLOCK_WRITE) {
        if (g_rand_int_range(b->rand, 0, 8) == 0) {
            memset(slot->data, 0, bytes);
        } else {
            load_fill(b->rand, slot->data, bytes);
        }
        memcpy(b->model + offset, slot->data, bytes);
    } else if (op == BLOCK_WRITE_ZEROES) {
        memset(b->model + offset, 0, bytes);
        slot->request.flags = g_rand_boolean(b->rand) ? BLOCK_REQ_UNMAP : 0;
    }
    if (g_rand_int_range(b->rand, 0, 20) == 0 && op != BLOCK_READ) {
        slot->request.flags |= BLOCK_REQ_FUA;
    }
    b->in_flight++;
    slot->task = (LoopTask)LOOP_TASK_INIT(start_task, slot);
    event_loop_post(b->loops[slot->loop], &slot->task);
}

static void wait_for(BlockLoad *b, int most)
{
    while (b->in_flight > most) {
        g_cond_wait(&b->cond, &b->lock);
    }
}

void load_work(BlockLoad *b, int count)
{
    g_mutex_lock(&b->lock);
    for (int i = 0; i < count; i++) {
        wait_for(b, LOAD_SLOTS - 1);
        start_one(b);
    }
    wait_for(b, 0);
    g_mutex_unlock(&b->lock);
}

/* ---- Life ---- */

void load_init(BlockLoad *b, uint64_t size, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    memset(b, 0, sizeof(*b));
    b->size = size;
    b->rand = g_rand_new_with_seed(seed);
    b->model = g_malloc0(size);
    for (int i = 0; i < LOAD_LOOPS; i++) {
        b->loops[i] = event_loop_new("work", LOOP_ENGINE_AUTO, &error);
        g_assert_true(event_loop_start(b->loops[i], &error));
        g_assert_no_error(error);
    }
}

void load_attach(BlockLoad *b, BlockBackend *backend)
{
    g_autoptr(GError) error = NULL;
    b->backend = backend;
    for (int i = 0; i < LOAD_LOOPS; i++) {
        g_assert_true(block_backend_add_loop(backend, b->loops[i], &error));
        g_assert_no_error(error);
    }
}

void load_free(BlockLoad *b)
{
    for (int i = 0; i < LOAD_LOOPS; i++) {
        event_loop_free(b->loops[i]);
    }
    g_free(b->model);
    g_rand_free(b->rand);
}

/* ---- Beside the caller ---- */

static void *load_thread(void *opaque)
{
    BlockLoad *b = opaque;
    g_mutex_lock(&b->lock);
    while (!b->stop) {
        wait_for(b, LOAD_SLOTS - 1);
        start_one(b);
    }
    wait_for(b, 0);
    g_mutex_unlock(&b->lock);
    return NULL;
}

void load_begin(BlockLoad *b)
{
    b->stop = false;
    b->thread = g_thread_new("load", load_thread, b);
}

void load_end(BlockLoad *b)
{
    g_mutex_lock(&b->lock);
    b->stop = true;
    g_mutex_unlock(&b->lock);
    g_thread_join(b->thread);
}
