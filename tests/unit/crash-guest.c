/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See crash-guest.h. */
#include "tests/unit/crash-guest.h"

#include <stdlib.h>
#include "block/internal.h"
#include "vmm/util/bytes.h"

static void done(BlockRequest *request, int ret)
{
    GuestSlot *slot = request->opaque;
    CrashGuest *g = slot->guest;
    g_assert_cmpint(ret, ==, 0);
    g_mutex_lock(&g->lock);
    if (request->op == BLOCK_FLUSH) {
        crash_model_flushed(&g->model, slot->issued, power_tick(g->power));
    } else {
        crash_model_end(&g->model, slot->first, slot->count, power_tick(g->power));
    }
    g_free(slot->data);
    slot->busy = false;
    g->in_flight--;
    g_cond_signal(&g->cond);
    g_mutex_unlock(&g->lock);
}

static void submit(void *opaque)
{
    GuestSlot *slot = opaque;
    block_submit(slot->guest->backend, &slot->request);
}

static bool overlaps(const CrashGuest *g, uint64_t first, uint64_t count)
{
    for (int i = 0; i < GUEST_SLOTS; i++) {
        const GuestSlot *s = &g->slots[i];
        if (s->busy && first < s->first + s->count && s->first < first + count) {
            return true;
        }
    }
    return false;
}

static BlockOp choose_op(CrashGuest *g)
{
    static const BlockOp ops[] = { BLOCK_WRITE,   BLOCK_WRITE,        BLOCK_WRITE, BLOCK_WRITE,
                                   BLOCK_DISCARD, BLOCK_WRITE_ZEROES, BLOCK_FLUSH, BLOCK_WRITE };
    return ops[g_rand_int_range(g->rand, 0, G_N_ELEMENTS(ops))];
}

static void prepare(CrashGuest *g, GuestSlot *slot, BlockOp op, uint64_t first, uint64_t count)
{
    memset(&slot->request, 0, sizeof(slot->request));
    slot->guest = g;
    slot->busy = true;
    slot->first = first;
    slot->count = op == BLOCK_FLUSH ? 0 : count;
    slot->value = op == BLOCK_WRITE ? ++g->model.last_value : 0;
    slot->data = aligned_alloc(4096, ALIGN_UP(count * POWER_SECTOR, 4096));
    for (uint64_t i = 0; i < count; i++) {
        crash_fill(slot->data + i * POWER_SECTOR, first + i, slot->value);
    }
    slot->iov = (struct iovec){ slot->data, count * POWER_SECTOR };
    slot->request = (BlockRequest){ .op = op,
                                    .flags = g_rand_boolean(g->rand) ? BLOCK_REQ_UNMAP : 0,
                                    .offset = first * POWER_SECTOR,
                                    .bytes = slot->count * POWER_SECTOR,
                                    .iov = &slot->iov,
                                    .iov_count = 1,
                                    .done = done,
                                    .opaque = slot };
    slot->issued = power_tick(g->power);
    crash_model_begin(&g->model, first, slot->count, slot->value, op == BLOCK_DISCARD,
                      slot->issued);
    g->in_flight++;
    slot->task = (LoopTask)LOOP_TASK_INIT(submit, slot);
}

/* With the lock. */
static void start_one(CrashGuest *g)
{
    uint64_t most = g_rand_boolean(g->rand) ? 16 : 200;
    uint64_t n = (uint64_t)g_rand_int_range(g->rand, 1, (gint32)MIN(most, g->model.sectors / 2));
    uint64_t first = (uint64_t)g_rand_int_range(g->rand, 0, (gint32)(g->model.sectors - n) + 1);
    while (g->in_flight == GUEST_SLOTS) {
        g_cond_wait(&g->cond, &g->lock);
    }
    if (overlaps(g, first, n)) {
        return;
    }
    GuestSlot *slot = g->slots;
    while (slot->busy) {
        slot++;
    }
    prepare(g, slot, choose_op(g), first, n);
    event_loop_post(g->loop, &slot->task);
}

/* With the lock. */
static void wait_for_all(CrashGuest *g)
{
    while (g->in_flight) {
        g_cond_wait(&g->cond, &g->lock);
    }
}

void crash_guest_work(CrashGuest *g, int count)
{
    g_mutex_lock(&g->lock);
    for (int i = 0; i < count; i++) {
        start_one(g);
    }
    wait_for_all(g);
    g_mutex_unlock(&g->lock);
}

/* What it leaves behind is looked at all through; and it tires, so that a job which is slower than
 * the guest, as under a sanitizer, still ends. */
static void *guest_thread(void *opaque)
{
    CrashGuest *g = opaque;
    unsigned rest = 100; /* microseconds */
    g_mutex_lock(&g->lock);
    while (!g->stop) {
        start_one(g);
        g_mutex_unlock(&g->lock);
        g_usleep(rest++);
        g_mutex_lock(&g->lock);
    }
    wait_for_all(g);
    g_mutex_unlock(&g->lock);
    return NULL;
}

void crash_guest_begin(CrashGuest *g)
{
    g->stop = false;
    g->thread = g_thread_new("guest", guest_thread, g);
}

void crash_guest_end(CrashGuest *g)
{
    g_mutex_lock(&g->lock);
    g->stop = true;
    g_mutex_unlock(&g->lock);
    g_thread_join(g->thread);
}

/* ---- Life ---- */

void crash_guest_init(CrashGuest *g, uint64_t sectors, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    memset(g, 0, sizeof(*g));
    g->rand = g_rand_new_with_seed(seed);
    g->power = power_used = power_new();
    crash_model_init(&g->model, sectors);
    g->loop = event_loop_new("work", LOOP_ENGINE_AUTO, &error);
    g_assert_no_error(error);
    g_assert_true(event_loop_start(g->loop, &error));
}

void crash_guest_attach(CrashGuest *g)
{
    g_autoptr(GError) error = NULL;
    g->backend = block_backend_attach("d0", "dev0", false, false, &error);
    g_assert_no_error(error);
    g_assert_true(block_backend_add_loop(g->backend, g->loop, &error));
}

void crash_guest_detach(CrashGuest *g)
{
    block_backend_drain(g->backend);
    block_backend_detach(g->backend);
    drives_close();
}

void crash_guest_clear(CrashGuest *g)
{
    event_loop_free(g->loop);
    crash_model_clear(&g->model);
    power_free(g->power);
    g_rand_free(g->rand);
}
