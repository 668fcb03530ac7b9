/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * L2 tables in memory, in slices. Look-ups take no lock; slices that nobody looked at for a while
 * are taken out of their table and freed when no look-up can still see them.
 */
#include "block/qcow2/qcow2.h"

#include "vmm/trace/trace-qcow2.h"

#define MIN_SLICES 128
#define REAP_BATCH 32

/* ---- Finding ---- */

Qcow2Slice *qcow2_slice_find(Qcow2 *s, uint64_t cluster)
{
    Qcow2Table *table =
        atomic_load_explicit(&s->tables[qcow2_l1_index(s, cluster)], memory_order_acquire);
    if (G_UNLIKELY(!table)) {
        return NULL;
    }
    Qcow2Slice *slice =
        atomic_load_explicit(&table->slices[qcow2_slice_number(s, cluster)], memory_order_acquire);
    if (G_UNLIKELY(!slice || !__atomic_load_n(&slice->ready, __ATOMIC_ACQUIRE))) {
        return NULL;
    }
    if (!__atomic_load_n(&slice->referenced, __ATOMIC_RELAXED)) {
        __atomic_store_n(&slice->referenced, true, __ATOMIC_RELAXED);
    }
    return slice;
}

/* ---- The ring of slices ---- */

static void ring_add(Qcow2 *s, Qcow2Slice *slice)
{
    Qcow2Slice *hand = s->clock_hand;
    if (!hand) {
        slice->clock_next = slice->clock_prev = slice;
        s->clock_hand = slice;
    } else { /* behind the hand: looked at last */
        slice->clock_next = hand;
        slice->clock_prev = hand->clock_prev;
        hand->clock_prev->clock_next = slice;
        hand->clock_prev = slice;
    }
    s->slice_count++;
}

static void ring_remove(Qcow2 *s, Qcow2Slice *slice)
{
    if (slice->clock_next == slice) {
        s->clock_hand = NULL;
    } else {
        slice->clock_prev->clock_next = slice->clock_next;
        slice->clock_next->clock_prev = slice->clock_prev;
        if (s->clock_hand == slice) {
            s->clock_hand = slice->clock_next;
        }
    }
    s->slice_count--;
}

/* Out of its table; look-ups that run may still see it. */
static void slice_retire(Qcow2 *s, Qcow2Slice *slice)
{
    Qcow2Table *table = atomic_load(&s->tables[slice->l1_index]);
    atomic_store_explicit(&table->slices[slice->number], NULL, memory_order_release);
    ring_remove(s, slice);
    g_ptr_array_add(s->retired, slice);
}

static bool can_go(const Qcow2Slice *slice)
{
    return slice->ready && !slice->dirty && !slice->writing && !slice->pins;
}

/* One round of the clock at most: where all are in use the cache grows. */
static void make_room(Qcow2 *s)
{
    for (uint32_t tries = 2 * s->slice_count; s->slice_count >= s->slice_limit && tries; tries--) {
        Qcow2Slice *slice = s->clock_hand;
        s->clock_hand = slice->clock_next;
        if (!can_go(slice)) {
            continue;
        }
        if (__atomic_load_n(&slice->referenced, __ATOMIC_RELAXED)) {
            __atomic_store_n(&slice->referenced, false, __ATOMIC_RELAXED);
        } else {
            slice_retire(s, slice);
        }
    }
}

static Qcow2Slice *slice_new(Qcow2 *s, uint32_t l1_index, uint32_t number)
{
    make_room(s);
    Qcow2Slice *slice = g_malloc0(sizeof(*slice) + s->slice_bytes);
    slice->image = s;
    slice->l1_index = l1_index;
    slice->number = number;
    slice->referenced = true;
    ring_add(s, slice);
    return slice;
}

/* ---- Freeing after a grace period ---- */

typedef struct Reaper {
    AioRequest aio;
    LoopTask task;
    Qcow2 *s;
    GPtrArray *slices;
} Reaper;

static int reap_wait(AioRequest *aio)
{
    Reaper *reaper = aio->opaque;
    rcu_wait();
    g_ptr_array_set_free_func(reaper->slices, g_free);
    g_ptr_array_unref(reaper->slices);
    return 0;
}

static void reap_done(AioRequest *aio, ssize_t res)
{
    Reaper *reaper = aio->opaque;
    Qcow2 *s = reaper->s;
    g_free(reaper);
    g_mutex_lock(&s->lock);
    if (--s->background == 0) {
        g_cond_broadcast(&s->idle);
    }
    g_mutex_unlock(&s->lock);
}

static void reap_start(void *opaque)
{
    Reaper *reaper = opaque;
    aio_run_worker(sync_loop_get(), &reaper->aio);
}

void qcow2_cache_reap(Qcow2 *s)
{
    g_mutex_lock(&s->lock);
    if (s->retired->len < REAP_BATCH) {
        g_mutex_unlock(&s->lock);
        return;
    }
    Reaper *reaper = g_new0(Reaper, 1);
    reaper->s = s;
    reaper->slices = s->retired;
    s->retired = g_ptr_array_new();
    s->background++;
    g_mutex_unlock(&s->lock);
    reaper->aio.call = reap_wait;
    reaper->aio.done = reap_done;
    reaper->aio.opaque = reaper;
    reaper->task = (LoopTask)LOOP_TASK_INIT(reap_start, reaper);
    event_loop_post(sync_loop_get(), &reaper->task);
}

/* ---- Loading ---- */

static Qcow2Table *table_get(Qcow2 *s, uint32_t l1_index)
{
    Qcow2Table *table = atomic_load(&s->tables[l1_index]);
    if (!table) {
        table = g_new0(Qcow2Table, 1);
        atomic_store_explicit(&s->tables[l1_index], table, memory_order_release);
    }
    return table;
}

static uint64_t slice_offset(Qcow2 *s, const Qcow2Slice *slice)
{
    return (atomic_load(&s->l1[slice->l1_index]) & QCOW2_L1_OFFSET) +
           (uint64_t)slice->number * s->slice_bytes;
}

static void loaded(Qcow2 *s, Qcow2Slice *slice, int ret)
{
    trace_qcow2_l2_loaded(s->node->name, slice->l1_index, slice->number, ret);
    if (ret < 0) {
        slice_retire(s, slice);
    } else {
        __atomic_store_n(&slice->ready, true, __ATOMIC_RELEASE);
    }
    qcow2_wake(&slice->waiters, ret);
}

static void load_complete(BlockRequest *io, int ret)
{
    Qcow2Slice *slice = io->opaque;
    Qcow2 *s = slice->image;
    block_request_release(io);
    g_mutex_lock(&s->lock);
    loaded(s, slice, ret);
    g_mutex_unlock(&s->lock);
}

Qcow2Need qcow2_slice_need(Qcow2 *s, uint64_t cluster, Qcow2Slice **found, Qcow2Waiter *waiter,
                           int *error)
{
    uint32_t l1_index = qcow2_l1_index(s, cluster), number = qcow2_slice_number(s, cluster);
    Qcow2Table *table = table_get(s, l1_index);
    Qcow2Slice *slice = atomic_load(&table->slices[number]);
    if (slice && slice->ready) {
        __atomic_store_n(&slice->referenced, true, __ATOMIC_RELAXED);
        *found = slice;
        return QCOW2_READY;
    }
    if (!slice) {
        uint64_t entry = atomic_load(&s->l1[l1_index]), table_offset = entry & QCOW2_L1_OFFSET;
        if (table_offset & (s->cluster_size - 1)) {
            qcow2_mark_corrupt(s,
                               "L2 table offset 0x%" G_GINT64_MODIFIER "x of L1 entry %u is not "
                               "a cluster's",
                               table_offset, l1_index);
            *error = -EIO;
            return QCOW2_FAILED;
        }
        trace_qcow2_l2_miss(s->node->name, l1_index, number);
        slice = slice_new(s, l1_index, number);
        atomic_store_explicit(&table->slices[number], slice, memory_order_release);
        slice->iov = (struct iovec){ slice->entries, s->slice_bytes };
        if (!waiter) {
            int ret =
                node_pread(s->node->file, slice_offset(s, slice), slice->entries, s->slice_bytes);
            loaded(s, slice, ret);
            *found = slice;
            *error = ret;
            return ret < 0 ? QCOW2_FAILED : QCOW2_READY;
        }
        block_request_init(&slice->io, waiter->loop, BLOCK_READ, slice_offset(s, slice),
                           s->slice_bytes, &slice->iov, 1, 0, load_complete, slice);
        block_node_submit(s->node->file, &slice->io);
    }
    qcow2_wait(&slice->waiters, waiter);
    return QCOW2_PARKED;
}

/* ---- Changing ---- */

void qcow2_slice_dirty(Qcow2 *s, Qcow2Slice *slice)
{
    if (!slice->dirty) {
        slice->dirty = true;
        __atomic_store_n(&s->dirty_slices, s->dirty_slices + 1, __ATOMIC_RELEASE);
    }
}

void qcow2_entry_set(Qcow2 *s, Qcow2Slice *slice, uint32_t index, uint64_t entry, uint64_t bitmap)
{
    uint64_t *p = &slice->entries[s->subclusters ? index * 2 : index];
    if (s->subclusters) {
        /* A look-up in between sees nothing allocated, or a cluster that stays until no look-up
         * can use it. */
        __atomic_store_n(p + 1, 0, __ATOMIC_RELEASE);
        __atomic_store_n(p, GUINT64_TO_BE(entry), __ATOMIC_RELEASE);
        __atomic_store_n(p + 1, GUINT64_TO_BE(bitmap), __ATOMIC_RELEASE);
    } else {
        __atomic_store_n(p, GUINT64_TO_BE(entry), __ATOMIC_RELEASE);
    }
    qcow2_slice_dirty(s, slice);
}

static void l1_set(Qcow2 *s, uint32_t l1_index, uint64_t entry)
{
    atomic_store_explicit(&s->l1[l1_index], entry, memory_order_release);
    g_array_append_val(s->l1_dirty, l1_index);
}

/* The slices of a table that nothing had; all of them will be written. */
static void fill_new_table(Qcow2 *s, uint32_t l1_index, uint64_t offset)
{
    Qcow2Table *table = table_get(s, l1_index);
    table->is_new = true;
    for (unsigned i = 0; i < s->slices_per_table; i++) {
        Qcow2Slice *slice = slice_new(s, l1_index, i);
        slice->ready = true;
        qcow2_slice_dirty(s, slice);
        atomic_store_explicit(&table->slices[i], slice, memory_order_release);
    }
    l1_set(s, l1_index, offset | QCOW2_COPIED);
}

/* A table that snapshots share is copied: all of it comes into memory, and goes to a new place. */
static Qcow2Need copy_table(Qcow2 *s, uint64_t cluster, Qcow2Waiter *waiter, int *error)
{
    uint32_t l1_index = qcow2_l1_index(s, cluster);
    uint64_t old = atomic_load(&s->l1[l1_index]) & QCOW2_L1_OFFSET, offset, got;
    uint64_t first = (uint64_t)l1_index << s->l2_bits;
    bool fresh;
    for (unsigned i = 0; i < s->slices_per_table; i++) {
        Qcow2Slice *slice;
        Qcow2Need need =
            qcow2_slice_need(s, first + ((uint64_t)i << s->slice_bits), &slice, waiter, error);
        if (need != QCOW2_READY) {
            return need;
        }
    }
    Qcow2Need need = qcow2_alloc_clusters(s, 1, 1, &offset, &got, &fresh, waiter, error);
    if (need != QCOW2_READY) {
        return need;
    }
    Qcow2Table *table = table_get(s, l1_index);
    for (unsigned i = 0; i < s->slices_per_table; i++) {
        qcow2_slice_dirty(s, atomic_load(&table->slices[i]));
    }
    table->is_new = true;
    l1_set(s, l1_index, offset | QCOW2_COPIED);
    qcow2_free_later(s, old, s->cluster_size, false);
    return QCOW2_READY;
}

Qcow2Need qcow2_table_need(Qcow2 *s, uint64_t cluster, Qcow2Waiter *waiter, int *error)
{
    uint32_t l1_index = qcow2_l1_index(s, cluster);
    uint64_t entry = atomic_load(&s->l1[l1_index]), offset, got;
    bool fresh;
    if (entry & QCOW2_COPIED) {
        return QCOW2_READY;
    }
    if (entry & QCOW2_L1_OFFSET) {
        return copy_table(s, cluster, waiter, error);
    }
    Qcow2Need need = qcow2_alloc_clusters(s, 1, 1, &offset, &got, &fresh, waiter, error);
    if (need == QCOW2_READY) {
        fill_new_table(s, l1_index, offset);
    }
    return need;
}

/* ---- Life ---- */

void qcow2_cache_init(Qcow2 *s, uint64_t bytes)
{
    s->slice_limit = (uint32_t)MAX(bytes / s->slice_bytes, MIN_SLICES);
    s->retired = g_ptr_array_new();
    s->l1_dirty = g_array_new(FALSE, FALSE, sizeof(uint32_t));
}

void qcow2_cache_free(Qcow2 *s)
{
    for (uint32_t i = 0; s->tables && i < s->l1_entries; i++) {
        Qcow2Table *table = atomic_load(&s->tables[i]);
        for (unsigned j = 0; table && j < s->slices_per_table; j++) {
            g_free(atomic_load(&table->slices[j]));
        }
        g_free(table);
    }
    for (guint i = 0; s->retired && i < s->retired->len; i++) {
        g_free(s->retired->pdata[i]);
    }
    g_clear_pointer(&s->retired, g_ptr_array_unref);
    g_clear_pointer(&s->l1_dirty, g_array_unref);
    g_clear_pointer(&s->tables, g_free);
    g_clear_pointer(&s->l1, g_free);
    s->clock_hand = NULL;
    s->slice_count = s->dirty_slices = 0;
}
