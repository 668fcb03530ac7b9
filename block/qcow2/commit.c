/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commits: how tables in memory reach the file, in the order that qcow2.h tells of. One commit at a
 * time; it runs on the loop of the request that began it. Flushes that come meanwhile wait for the
 * next one, which then serves all of them.
 */
#include <stdlib.h>
#include "block/qcow2/qcow2.h"
#include "vmm/trace/trace-qcow2.h"

/* More of these, and a commit begins on its own. */
#define MAX_FREE_ITEMS  65536
#define MAX_FREE_BYTES  (64 * MIB) /* that nobody can use again before: the file grows meanwhile */
#define MAX_DIRTY_BYTES (32 * MIB) /* of slices */

enum { STEP_UNREACHED, STEP_COUNTS, STEP_POINTERS, STEPS };

/* A piece of a table, as it was when the commit began. */
typedef struct Write {
    uint64_t offset;
    uint32_t bytes;
    uint8_t *data;
} Write;

/* Writes that lie side by side, as one request. */
typedef struct Run {
    BlockRequest io;
    Qcow2Commit *commit;
    struct iovec *iov;
} Run;

struct Qcow2Commit {
    Qcow2 *s;
    EventLoop *loop;
    Qcow2WaitList waiters;
    GArray *writes[STEPS]; /* of Write */
    int step, ret;
    int reached; /* the last step of which something was written */
    unsigned pending;
    BlockRequest flush[2];
    /* What was taken, to be put back where the commit fails. */
    GPtrArray *slices;  /* written */
    GArray *new_tables; /* uint32_t */
    GPtrArray *blocks;  /* written */
    GPtrArray *new_blocks;
    GArray *l1, *reftable, *frees;
    bool table_moved, table_shown;
    /* Counting freed clusters down. */
    guint next_free;
    Qcow2Waiter waiter;
    BlockRequest discard;
    AioRequest grace;
};

bool qcow2_is_dirty(const Qcow2 *s)
{
    return s->dirty_slices || s->dirty_refblocks || s->l1_dirty->len || s->reftable_dirty->len ||
           s->reftable_moved || s->reftable_shown || s->fresh_frees->len || s->stable_frees->len ||
           s->old_frees->len;
}

/* ---- Taking what is dirty: lock held ---- */

static uint8_t *add_write(Qcow2Commit *c, int step, uint64_t offset, const void *data,
                          uint32_t bytes)
{
    Write w = { .offset = offset, .bytes = bytes, .data = g_malloc(bytes) };
    if (data) {
        memcpy(w.data, data, bytes);
    }
    g_array_append_val(c->writes[step], w);
    return w.data;
}

static void take_blocks(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    for (uint64_t i = 0; s->dirty_refblocks && i < s->reftable_entries; i++) {
        Qcow2RefBlock *b = s->refblocks[i];
        if (!b || !b->dirty) {
            continue;
        }
        uint64_t offset = s->reftable[i] & QCOW2_REFTABLE_OFFSET;
        uint32_t from = b->is_new ? 0 : ALIGN_DOWN(b->dirty_from, 512u);
        uint32_t to = b->is_new ? (uint32_t)s->cluster_size : ALIGN_UP(b->dirty_to, 512u);
        add_write(c, b->is_new ? STEP_UNREACHED : STEP_COUNTS, offset + from, b->data + from,
                  to - from);
        g_ptr_array_add(c->blocks, b);
        if (b->is_new) {
            g_ptr_array_add(c->new_blocks, b);
        }
        b->dirty = b->is_new = false;
        b->writing = true;
        __atomic_store_n(&s->dirty_refblocks, s->dirty_refblocks - 1, __ATOMIC_RELEASE);
    }
}

static void take_big_endian(Qcow2Commit *c, int step, uint64_t offset, const uint64_t *from,
                            uint64_t count)
{
    uint8_t *data = add_write(c, step, offset, NULL, (uint32_t)(count * 8));
    for (uint64_t i = 0; i < count; i++) {
        store_be64(data + i * 8, from[i]);
    }
}

static void show_reftable(Qcow2Commit *c)
{
    const Qcow2Header *h = &c->s->h;
    uint8_t fields[12];
    store_be64(fields, h->reftable_offset);
    store_be32(fields + 8, h->reftable_clusters);
    add_write(c, STEP_COUNTS, QCOW2_H_REFTABLE_OFFSET, fields, sizeof(fields));
}

static void take_reftable(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    if (s->reftable_moved || s->reftable_shown) {
        show_reftable(c);
    }
    if (s->reftable_moved) {
        take_big_endian(c, STEP_UNREACHED, s->h.reftable_offset, s->reftable, s->reftable_entries);
    } else {
        uint64_t last = UINT64_MAX;
        for (guint i = 0; i < s->reftable_dirty->len; i++) {
            uint64_t sector = g_array_index(s->reftable_dirty, uint64_t, i) / 64;
            if (sector != last) {
                take_big_endian(c, STEP_COUNTS, s->h.reftable_offset + sector * 512,
                                s->reftable + sector * 64, 64);
            }
            last = sector;
        }
    }
    c->table_moved = s->reftable_moved;
    c->table_shown = s->reftable_shown;
    s->reftable_moved = s->reftable_shown = false;
    c->reftable = s->reftable_dirty;
    s->reftable_dirty = g_array_new(FALSE, FALSE, sizeof(uint64_t));
}

static void take_slice(Qcow2Commit *c, Qcow2Slice *slice)
{
    Qcow2 *s = c->s;
    uint64_t table = atomic_load(&s->l1[slice->l1_index]) & QCOW2_L1_OFFSET;
    bool is_new = atomic_load(&s->tables[slice->l1_index])->is_new;
    add_write(c, is_new ? STEP_COUNTS : STEP_POINTERS,
              table + (uint64_t)slice->number * s->slice_bytes, slice->entries, s->slice_bytes);
    g_ptr_array_add(c->slices, slice);
    slice->dirty = false;
    slice->writing = true;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void take_l1(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    uint32_t last = UINT32_MAX;
    g_array_sort(s->l1_dirty, compare_u32);
    for (guint i = 0; i < s->l1_dirty->len; i++) {
        uint32_t index = g_array_index(s->l1_dirty, uint32_t, i);
        Qcow2Table *table = atomic_load(&s->tables[index]);
        if (table && table->is_new) {
            table->is_new = false;
            g_array_append_val(c->new_tables, index);
        }
        if (index / 64 != last) {
            uint32_t first = index / 64 * 64;
            take_big_endian(c, STEP_POINTERS, s->h.l1_offset + (uint64_t)first * 8,
                            (const uint64_t *)s->l1 + first, MIN(64, s->l1_entries - first));
        }
        last = index / 64;
    }
    c->l1 = s->l1_dirty;
    s->l1_dirty = g_array_new(FALSE, FALSE, sizeof(uint32_t));
}

static void take_slices(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    Qcow2Slice *slice = s->clock_hand;
    for (uint32_t left = s->dirty_slices; left && slice; slice = slice->clock_next) {
        if (slice->dirty) {
            take_slice(c, slice);
            left--;
        }
    }
    __atomic_store_n(&s->dirty_slices, 0, __ATOMIC_RELEASE);
}

static Qcow2Commit *take_all(Qcow2 *s, EventLoop *loop)
{
    Qcow2Commit *c = g_new0(Qcow2Commit, 1);
    c->s = s;
    c->loop = loop;
    for (int i = 0; i < STEPS; i++) {
        c->writes[i] = g_array_new(FALSE, FALSE, sizeof(Write));
    }
    c->slices = g_ptr_array_new();
    c->blocks = g_ptr_array_new();
    c->new_blocks = g_ptr_array_new();
    c->new_tables = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    take_blocks(c);
    take_reftable(c);
    take_slices(c);
    take_l1(c);
    c->frees = s->fresh_frees;
    s->fresh_frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    __atomic_store_n(&s->free_items, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&s->free_bytes, 0, __ATOMIC_RELAXED);
    return c;
}

/* ---- The end: lock held ---- */

/* What a step that failed wrote may be on the disk, or not: what it made reachable is not new any
 * more, and is changed with the care that everything else is. */
static void put_back_new(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    for (guint i = 0; c->reached < STEP_COUNTS && i < c->new_blocks->len; i++) {
        ((Qcow2RefBlock *)c->new_blocks->pdata[i])->is_new = true;
    }
    for (guint i = 0; c->reached < STEP_POINTERS && i < c->new_tables->len; i++) {
        atomic_load(&s->tables[g_array_index(c->new_tables, uint32_t, i)])->is_new = true;
    }
    if (c->reached < STEP_COUNTS) {
        s->reftable_moved |= c->table_moved;
        s->reftable_shown |= c->table_shown;
    } else {
        s->reftable_shown |= c->table_moved || c->table_shown;
    }
}

static void put_back(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    for (guint i = 0; i < c->slices->len; i++) {
        qcow2_slice_dirty(s, c->slices->pdata[i]);
    }
    for (guint i = 0; i < c->blocks->len; i++) {
        Qcow2RefBlock *b = c->blocks->pdata[i];
        b->dirty_from = 0; /* which part of it is not known any more */
        b->dirty_to = (uint32_t)s->cluster_size;
        if (!b->dirty) {
            b->dirty = true;
            __atomic_store_n(&s->dirty_refblocks, s->dirty_refblocks + 1, __ATOMIC_RELEASE);
        }
    }
    put_back_new(c);
    g_array_append_vals(s->l1_dirty, c->l1->data, c->l1->len);
    g_array_append_vals(s->reftable_dirty, c->reftable->data, c->reftable->len);
    g_array_append_vals(s->fresh_frees, c->frees->data, c->frees->len);
}

static void drop_writes(Qcow2Commit *c)
{
    for (int step = 0; step < STEPS; step++) {
        for (guint i = 0; i < c->writes[step]->len; i++) {
            g_free(g_array_index(c->writes[step], Write, i).data);
        }
        g_array_set_size(c->writes[step], 0);
    }
}

static void commit_free(Qcow2Commit *c)
{
    drop_writes(c);
    for (int i = 0; i < STEPS; i++) {
        g_array_unref(c->writes[i]);
    }
    g_ptr_array_unref(c->slices);
    g_ptr_array_unref(c->blocks);
    g_ptr_array_unref(c->new_blocks);
    g_array_unref(c->new_tables);
    g_array_unref(c->l1);
    g_array_unref(c->reftable);
    g_array_unref(c->frees);
    g_free(c);
}

static void run_step(Qcow2Commit *c);
static void begin(Qcow2 *s, EventLoop *loop, Qcow2WaitList waiters);

/* All is done; the next one begins where somebody waits for it. */
static void finish(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    EventLoop *loop = c->loop;
    trace_qcow2_commit_end(s->node->name, c->ret);
    g_mutex_lock(&s->lock);
    qcow2_refblocks_trim(s);
    commit_free(c);
    s->commit = NULL;
    s->commits++;
    Qcow2WaitList next = s->next_commit;
    s->next_commit = (Qcow2WaitList){ 0 };
    if (next.first) {
        begin(s, loop, next);
    }
    if (--s->background == 0) {
        g_cond_broadcast(&s->idle);
    }
    g_mutex_unlock(&s->lock);
}

/* ---- Freed clusters ---- */

static void count_down(void *opaque);

static void discarded(BlockRequest *io, int ret)
{
    Qcow2Commit *c = io->opaque; /* a discard is a hint: an error is nobody's */
    Qcow2 *s = c->s;
    block_request_release(io);
    g_mutex_lock(&s->lock);
    g_array_index(s->old_frees, Qcow2Free, c->next_free).discard = false;
    g_mutex_unlock(&s->lock);
    count_down(c);
}

/* One after the other; blocks that are not in memory are waited for. Where something cannot be read
 * the clusters stay counted: they are leaked, which check mends. */
static void count_down(void *opaque)
{
    Qcow2Commit *c = opaque;
    Qcow2 *s = c->s;
    g_mutex_lock(&s->lock);
    if (c->waiter.error) {
        c->waiter.error = 0;
        c->next_free++;
    }
    while (c->next_free < s->old_frees->len) {
        Qcow2Free *item = &g_array_index(s->old_frees, Qcow2Free, c->next_free);
        uint64_t bytes = item->clusters << s->cluster_bits;
        int error = 0;
        if (item->discard && s->discard_passdown) {
            block_request_init(&c->discard, c->loop, BLOCK_DISCARD, item->offset, bytes, NULL, 0, 0,
                               discarded, c);
            g_mutex_unlock(&s->lock);
            block_node_submit(s->data, &c->discard);
            return;
        }
        if (qcow2_refcount_add(s, item->offset, bytes, -1, &c->waiter, &error) == QCOW2_PARKED) {
            g_mutex_unlock(&s->lock);
            return;
        }
        c->next_free++;
    }
    g_array_set_size(s->old_frees, 0);
    g_mutex_unlock(&s->lock);
    finish(c);
}

static int grace_wait(AioRequest *aio)
{
    rcu_wait();
    return 0;
}

static void grace_done(AioRequest *aio, ssize_t res)
{
    finish(aio->opaque);
}

/* The disk has forgotten what was freed before this commit. Look-ups that still found it have an
 * epoch of their own, which has to run empty. */
static void free_clusters(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    unsigned other = !atomic_load(&s->epoch);
    g_mutex_lock(&s->lock);
    bool empty = qcow2_epoch_is_empty(s, other);
    bool ready = s->old_frees->len && empty;
    bool turn = !s->old_frees->len && s->stable_frees->len && empty;
    if (turn) {
        GArray *old = s->old_frees;
        s->old_frees = s->stable_frees;
        s->stable_frees = old;
        atomic_store(&s->epoch, other);
    }
    g_mutex_unlock(&s->lock);
    if (ready) {
        c->next_free = 0;
        qcow2_waiter_init(&c->waiter, c->loop, count_down, c);
        count_down(c);
    } else if (turn) {
        c->grace.call = grace_wait;
        c->grace.done = grace_done;
        c->grace.opaque = c;
        aio_run_worker(c->loop, &c->grace);
    } else {
        finish(c);
    }
}

/* ---- The steps ---- */

static void written(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    g_mutex_lock(&s->lock);
    for (guint i = 0; i < c->slices->len; i++) {
        ((Qcow2Slice *)c->slices->pdata[i])->writing = false;
    }
    for (guint i = 0; i < c->blocks->len; i++) {
        ((Qcow2RefBlock *)c->blocks->pdata[i])->writing = false;
    }
    if (c->ret < 0) {
        put_back(c);
    } else {
        g_array_append_vals(s->stable_frees, c->frees->data, c->frees->len);
    }
    qcow2_wake(&c->waiters, c->ret);
    g_mutex_unlock(&s->lock);
    drop_writes(c);
    if (c->ret < 0) {
        finish(c);
    } else {
        free_clusters(c);
    }
}

static void flush_complete(BlockRequest *io, int ret)
{
    Qcow2Commit *c = io->opaque;
    block_request_release(io);
    c->ret = c->ret ? c->ret : ret;
    if (--c->pending == 0) {
        c->step++;
        run_step(c);
    }
}

static void flush_files(Qcow2Commit *c)
{
    Qcow2 *s = c->s;
    BlockNode *nodes[] = { s->node->file, s->data };
    int count = s->data == s->node->file ? 1 : 2;
    c->pending = (unsigned)count;
    for (int i = 0; i < count; i++) {
        block_request_init(&c->flush[i], c->loop, BLOCK_FLUSH, 0, 0, NULL, 0, 0, flush_complete, c);
    }
    for (int i = 0; i < count; i++) {
        block_node_submit(nodes[i], &c->flush[i]);
    }
}

static void step_written(Qcow2Commit *c)
{
    if (c->ret < 0) {
        written(c);
    } else {
        flush_files(c);
    }
}

static void run_complete(BlockRequest *io, int ret)
{
    Run *run = io->opaque;
    Qcow2Commit *c = run->commit;
    block_request_release(io);
    g_free(run->iov);
    g_free(run);
    c->ret = c->ret ? c->ret : ret;
    if (--c->pending == 0) {
        step_written(c);
    }
}

static int compare_writes(const void *a, const void *b)
{
    const Write *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static guint submit_run(Qcow2Commit *c, GArray *writes, guint first)
{
    const Write *w = &g_array_index(writes, Write, first);
    guint n = 1;
    uint64_t bytes = w->bytes;
    while (first + n < writes->len && n < 256 && w[n].offset == w->offset + bytes) {
        bytes += w[n].bytes;
        n++;
    }
    Run *run = g_new0(Run, 1);
    run->commit = c;
    run->iov = g_new(struct iovec, n);
    for (guint i = 0; i < n; i++) {
        run->iov[i] = (struct iovec){ w[i].data, w[i].bytes };
    }
    block_request_init(&run->io, c->loop, BLOCK_WRITE, w->offset, bytes, run->iov, (int)n, 0,
                       run_complete, run);
    c->pending++;
    block_node_submit(c->s->node->file, &run->io);
    return n;
}

static void run_step(Qcow2Commit *c)
{
    if (c->ret < 0) {
        written(c);
        return;
    }
    while (c->step < STEPS && !c->writes[c->step]->len && c->step != STEP_COUNTS) {
        c->step++;
    }
    if (c->step == STEPS) {
        written(c);
        return;
    }
    c->reached = c->step;
    GArray *writes = c->writes[c->step];
    g_array_sort(writes, compare_writes);
    c->pending = 1;
    for (guint i = 0; i < writes->len;) {
        i += submit_run(c, writes, i);
    }
    if (--c->pending == 0) {
        step_written(c);
    }
}

static void begin_task(void *opaque)
{
    run_step(opaque);
}

/* Lock held; the first step runs later, without it. Never on the main loop, whose thread may wait
 * for the commit. */
static void begin(Qcow2 *s, EventLoop *loop, Qcow2WaitList waiters)
{
    trace_qcow2_commit_begin(s->node->name);
    loop = event_loop_is_main(loop) ? sync_loop_get() : loop;
    Qcow2Commit *c = take_all(s, loop);
    c->waiters = waiters;
    s->commit = c;
    s->background++;
    c->flush[0].task = (LoopTask)LOOP_TASK_INIT(begin_task, c);
    if (event_loop_is_current(loop)) {
        event_loop_defer(loop, &c->flush[0].task);
    } else {
        event_loop_post(loop, &c->flush[0].task);
    }
}

/* ---- Asking for one ---- */

typedef struct Flush {
    Qcow2 *s;
    BlockRequest *request;
    Qcow2Waiter waiter;
} Flush;

static void flush_done(void *opaque)
{
    Flush *flush = opaque;
    BlockRequest *request = flush->request;
    int ret = flush->waiter.error;
    g_free(flush);
    block_request_complete(request, ret);
}

void qcow2_flush(Qcow2 *s, BlockRequest *request)
{
    g_mutex_lock(&s->lock);
    if (!qcow2_is_dirty(s) && !s->commit && s->data == s->node->file) {
        g_mutex_unlock(&s->lock);
        block_node_submit(s->node->file, request);
        return;
    }
    Flush *flush = g_new0(Flush, 1);
    flush->s = s;
    flush->request = request;
    qcow2_waiter_init(&flush->waiter, request->loop, flush_done, flush);
    if (s->commit) {
        qcow2_wait(&s->next_commit, &flush->waiter);
    } else {
        Qcow2WaitList list = { 0 };
        qcow2_wait(&list, &flush->waiter);
        begin(s, request->loop, list);
    }
    g_mutex_unlock(&s->lock);
}

/* A cache that cannot hold the whole image needs slices that can go. */
static uint32_t max_dirty_slices(const Qcow2 *s)
{
    uint32_t most = (uint32_t)(MAX_DIRTY_BYTES / s->slice_bytes);
    bool all_fit = (uint64_t)s->l1_entries * s->slices_per_table <= s->slice_limit;
    return all_fit ? most : MIN(most, s->slice_limit / 4);
}

void qcow2_commit_if_full(Qcow2 *s, EventLoop *loop)
{
    if (G_LIKELY(__atomic_load_n(&s->dirty_slices, __ATOMIC_RELAXED) < max_dirty_slices(s) &&
                 __atomic_load_n(&s->free_items, __ATOMIC_RELAXED) < MAX_FREE_ITEMS &&
                 __atomic_load_n(&s->free_bytes, __ATOMIC_RELAXED) < MAX_FREE_BYTES)) {
        return;
    }
    g_mutex_lock(&s->lock);
    if (!s->commit) {
        begin(s, loop, (Qcow2WaitList){ 0 });
    }
    g_mutex_unlock(&s->lock);
}
