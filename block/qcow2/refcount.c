/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reference counts of the image's clusters, and finding free ones. The table of blocks is in
 * memory whole, blocks as they are needed. New blocks, and a larger table, stand in the first
 * clusters of the range they begin to count.
 */
#include "block/qcow2/qcow2.h"

#include "vmm/trace/trace-qcow2.h"

#define MAX_OFFSET      (1ULL << 56)
#define CACHE_BYTES     (4 * MIB)
#define CACHE_MIN_COUNT 4

static uint64_t block_span(const Qcow2 *s)
{
    return 1ULL << qcow2_refblock_bits(&s->h);
}

/* ---- Blocks in memory ---- */

static Qcow2RefBlock *block_new(Qcow2 *s, uint64_t index)
{
    Qcow2RefBlock *block = g_new0(Qcow2RefBlock, 1);
    block->image = s;
    block->index = index;
    block->data = g_malloc0(s->cluster_size);
    block->referenced = true;
    s->refblocks[index] = block;
    block->place = s->loaded->len;
    g_ptr_array_add(s->loaded, block);
    return block;
}

static void block_forget(Qcow2 *s, Qcow2RefBlock *block)
{
    s->refblocks[block->index] = NULL;
    g_ptr_array_remove_index_fast(s->loaded, block->place);
    if (block->place < s->loaded->len) {
        ((Qcow2RefBlock *)s->loaded->pdata[block->place])->place = block->place;
    }
    g_free(block->data);
    g_free(block);
}

void qcow2_refblocks_trim(Qcow2 *s)
{
    guint limit = (guint)MAX(CACHE_BYTES / s->cluster_size, CACHE_MIN_COUNT);
    for (guint tries = 2 * s->loaded->len; s->loaded->len > limit && tries; tries--) {
        if (s->loaded_hand >= s->loaded->len) {
            s->loaded_hand = 0;
        }
        Qcow2RefBlock *b = s->loaded->pdata[s->loaded_hand];
        if (b->loading || b->dirty || b->writing || b->referenced) {
            b->referenced = false;
            s->loaded_hand++;
        } else {
            block_forget(s, b); /* another one takes its place under the hand */
        }
    }
}

static void block_loaded(Qcow2 *s, Qcow2RefBlock *block, int ret)
{
    Qcow2WaitList waiters = block->waiters;
    block->waiters = (Qcow2WaitList){ 0 };
    block->loading = false;
    if (ret < 0) {
        block_forget(s, block);
    }
    qcow2_wake(&waiters, ret);
}

static void load_complete(BlockRequest *io, int ret)
{
    Qcow2RefBlock *block = io->opaque;
    Qcow2 *s = block->image;
    block_request_release(io);
    g_mutex_lock(&s->lock);
    block_loaded(s, block, ret);
    g_mutex_unlock(&s->lock);
}

static Qcow2Need block_load(Qcow2 *s, uint64_t index, Qcow2RefBlock **found, Qcow2Waiter *waiter,
                            int *error)
{
    uint64_t offset = s->reftable[index] & QCOW2_REFTABLE_OFFSET;
    if (offset & (s->cluster_size - 1)) {
        qcow2_mark_corrupt(s,
                           "refcount block offset 0x%" G_GINT64_MODIFIER
                           "x of table entry %" G_GUINT64_FORMAT " is not a cluster's",
                           offset, index);
        *error = -EIO;
        return QCOW2_FAILED;
    }
    trace_qcow2_refblock_miss(s->node->name, index);
    qcow2_refblocks_trim(s);
    Qcow2RefBlock *block = block_new(s, index);
    block->loading = true;
    if (!waiter) {
        int ret = node_pread(s->node->file, offset, block->data, s->cluster_size);
        block_loaded(s, block, ret);
        *found = ret < 0 ? NULL : block;
        *error = ret;
        return ret < 0 ? QCOW2_FAILED : QCOW2_READY;
    }
    block->iov = (struct iovec){ block->data, s->cluster_size };
    block_request_init(&block->io, waiter->loop, BLOCK_READ, offset, s->cluster_size, &block->iov,
                       1, 0, load_complete, block);
    block_node_submit(s->node->file, &block->io);
    qcow2_wait(&block->waiters, waiter);
    return QCOW2_PARKED;
}

/* *found is NULL where the table has no block: all clusters of the range are free. */
static Qcow2Need block_need(Qcow2 *s, uint64_t index, Qcow2RefBlock **found, Qcow2Waiter *waiter,
                            int *error)
{
    *found = NULL;
    if (index >= s->reftable_entries || !(s->reftable[index] & QCOW2_REFTABLE_OFFSET)) {
        return QCOW2_READY;
    }
    Qcow2RefBlock *block = s->refblocks[index];
    if (!block) {
        return block_load(s, index, found, waiter, error);
    }
    if (block->loading) {
        qcow2_wait(&block->waiters, waiter);
        return QCOW2_PARKED;
    }
    block->referenced = true;
    *found = block;
    return QCOW2_READY;
}

static void set_count(Qcow2 *s, Qcow2RefBlock *block, uint64_t cluster, uint64_t value)
{
    uint64_t index = cluster & (block_span(s) - 1);
    uint32_t at = (uint32_t)((index << s->h.refcount_order) / 8);
    uint32_t end = at + MAX((1u << s->h.refcount_order) / 8, 1);
    qcow2_refcount_set(block->data, s->h.refcount_order, index, value);
    if (!block->dirty) {
        block->dirty = true;
        block->dirty_from = at;
        block->dirty_to = end;
        __atomic_store_n(&s->dirty_refblocks, s->dirty_refblocks + 1, __ATOMIC_RELEASE);
    } else {
        block->dirty_from = MIN(block->dirty_from, at);
        block->dirty_to = MAX(block->dirty_to, end);
    }
}

static uint64_t get_count(Qcow2 *s, const Qcow2RefBlock *block, uint64_t cluster)
{
    return qcow2_refcount_get(block->data, s->h.refcount_order, cluster & (block_span(s) - 1));
}

static void used_up_to(Qcow2 *s, uint64_t end)
{
    s->fresh_from = MAX(s->fresh_from, end);
}

/* ---- New blocks and tables ---- */

static Qcow2RefBlock *add_block(Qcow2 *s, uint64_t index, uint64_t cluster)
{
    Qcow2RefBlock *block = block_new(s, index);
    block->is_new = true;
    s->reftable[index] = cluster << s->cluster_bits;
    g_array_append_val(s->reftable_dirty, index);
    return block;
}

static void count_new(Qcow2 *s, uint64_t cluster)
{
    Qcow2RefBlock *block = s->refblocks[cluster >> qcow2_refblock_bits(&s->h)];
    set_count(s, block, cluster, 1);
    used_up_to(s, (cluster + 1) << s->cluster_bits);
}

/* A block for a range that had none, in the range's first cluster. */
static int make_block(Qcow2 *s, uint64_t index)
{
    uint64_t cluster = index << qcow2_refblock_bits(&s->h);
    if (cluster >= MAX_OFFSET >> s->cluster_bits) {
        return -EFBIG;
    }
    if (cluster == 0) { /* where the header is */
        qcow2_mark_corrupt(s, "the first clusters are not counted");
        return -EIO;
    }
    add_block(s, index, cluster);
    count_new(s, cluster);
    return 0;
}

/* A table that has room for `index` and more, with the blocks that count it, behind everything the
 * present one counts. */
static int grow_table(Qcow2 *s, uint64_t index)
{
    unsigned bits = qcow2_refblock_bits(&s->h);
    uint64_t per_cluster = s->cluster_size / 8, span = block_span(s);
    uint64_t wanted = MAX(index + 1, s->reftable_entries + s->reftable_entries / 2);
    uint64_t start = s->reftable_entries << bits, clusters, blocks = 1;
    for (;;) { /* until the blocks count themselves and the table */
        clusters = (MAX(wanted, s->reftable_entries + blocks) + per_cluster - 1) / per_cluster;
        uint64_t needed = (blocks + clusters + span - 1) / span;
        if (needed <= blocks) {
            break;
        }
        blocks = needed;
    }
    if (clusters << s->cluster_bits > QCOW2_MAX_REFTABLE) {
        return -EFBIG;
    }
    uint64_t entries = clusters * per_cluster, old = s->reftable_entries;
    s->reftable = g_renew(uint64_t, s->reftable, entries);
    s->refblocks = g_renew(Qcow2RefBlock *, s->refblocks, entries);
    memset(s->reftable + old, 0, (entries - old) * sizeof(uint64_t));
    memset(s->refblocks + old, 0, (entries - old) * sizeof(s->refblocks[0]));
    s->reftable_entries = entries;
    for (uint64_t i = 0; i < blocks; i++) {
        add_block(s, old + i, start + i);
    }
    for (uint64_t i = 0; i < blocks + clusters; i++) {
        count_new(s, start + i);
    }
    qcow2_free_later(s, s->h.reftable_offset, (uint64_t)s->h.reftable_clusters << s->cluster_bits,
                     false);
    s->h.reftable_offset = (start + blocks) << s->cluster_bits;
    s->h.reftable_clusters = (uint32_t)clusters;
    s->reftable_moved = true;
    return 0;
}

/* ---- Allocating ---- */

/* The block that counts `cluster`, made where there is none. */
static Qcow2Need block_for_alloc(Qcow2 *s, uint64_t cluster, Qcow2RefBlock **block,
                                 Qcow2Waiter *waiter, int *error)
{
    uint64_t index = cluster >> qcow2_refblock_bits(&s->h);
    Qcow2Need need = block_need(s, index, block, waiter, error);
    if (need != QCOW2_READY || *block) {
        return need;
    }
    *error = index >= s->reftable_entries ? grow_table(s, index) : make_block(s, index);
    if (*error) {
        return QCOW2_FAILED;
    }
    return block_need(s, index, block, waiter, error);
}

/* Clusters from `from` on, up to the end of its block, that are free; *first is the first one. */
static uint64_t free_run(Qcow2 *s, const Qcow2RefBlock *block, uint64_t from, uint64_t count,
                         uint64_t *first)
{
    uint64_t end = (block->index + 1) << qcow2_refblock_bits(&s->h);
    const uint8_t *data = block->data;
    if (s->h.refcount_order == 4) { /* the usual one: look at four at a time */
        uint64_t mask = block_span(s) - 1;
        while (from + 4 <= end && !(from & 3)) {
            uint64_t four;
            memcpy(&four, data + (from & mask) * 2, 8);
            uint64_t zeroes = (four - 0x0001000100010001ULL) & ~four & 0x8000800080008000ULL;
            if (zeroes) {
                break;
            }
            from += 4;
        }
    }
    while (from < end && get_count(s, block, from)) {
        from++;
        if (s->h.refcount_order == 4 && !(from & 3) && from < end) {
            return free_run(s, block, from, count, first);
        }
    }
    *first = from;
    uint64_t n = 0;
    while (from + n < end && n < count && !get_count(s, block, from + n)) {
        n++;
    }
    return n;
}

/* A crash leaves some clusters counted that the file does not even reach; a table that counts and
 * counts is made to keep us busy. */
static bool counted_behind_end(const Qcow2 *s, uint64_t cluster)
{
    return cluster > (s->fresh_from >> s->cluster_bits) + MAX(4 * block_span(s), 65536);
}

static void take(Qcow2 *s, uint64_t cluster, uint64_t count, bool *fresh)
{
    uint64_t start = cluster << s->cluster_bits, end = (cluster + count) << s->cluster_bits;
    for (uint64_t i = 0; i < count; i++) {
        Qcow2RefBlock *block = s->refblocks[(cluster + i) >> qcow2_refblock_bits(&s->h)];
        set_count(s, block, cluster + i, 1);
    }
    *fresh = start >= s->fresh_from;
    used_up_to(s, end);
}

Qcow2Need qcow2_alloc_clusters(Qcow2 *s, uint64_t count, uint64_t least, uint64_t *offset,
                               uint64_t *got, bool *fresh, Qcow2Waiter *waiter, int *error)
{
    uint64_t at = s->free_hint, run = 0, start = 0, lowest = UINT64_MAX;
    for (;;) {
        Qcow2RefBlock *block;
        uint64_t first;
        if (at >= MAX_OFFSET >> s->cluster_bits) {
            *error = -EFBIG;
            return QCOW2_FAILED;
        }
        Qcow2Need need = block_for_alloc(s, at, &block, waiter, error);
        if (need != QCOW2_READY) {
            return need;
        }
        uint64_t n = free_run(s, block, at, count - run, &first);
        if (n && lowest == UINT64_MAX) {
            lowest = first;
        }
        if (!n || first != start + run) {
            run = 0;
            start = first;
        }
        if (!n && counted_behind_end(s, first)) {
            qcow2_mark_corrupt(s, "all clusters behind the end of the file are counted as used");
            *error = -EIO;
            return QCOW2_FAILED;
        }
        run += n;
        if (run == count || (run >= least && run)) {
            break;
        }
        at = first + n;
    }
    if (s->node->file->limits.fixed_size &&
        (start + run) << s->cluster_bits > block_node_length(s->node->file)) {
        *error = -ENOSPC;
        return QCOW2_FAILED;
    }
    take(s, start, run, fresh);
    s->free_hint = lowest == start ? start + run : lowest;
    *offset = start << s->cluster_bits;
    *got = run;
    return QCOW2_READY;
}

Qcow2Need qcow2_alloc_bytes(Qcow2 *s, uint64_t bytes, uint64_t *offset, Qcow2Waiter *waiter,
                            int *error)
{
    uint64_t at = s->compressed_at, mask = s->cluster_size - 1, cluster, got;
    uint64_t room = at & mask ? s->cluster_size - (at & mask) : 0;
    bool fresh;
    if (room) { /* its count is going to change: have it in memory before anything is taken */
        Qcow2RefBlock *block;
        Qcow2Need need = block_need(s, at >> s->cluster_bits >> qcow2_refblock_bits(&s->h), &block,
                                    waiter, error);
        if (need != QCOW2_READY) {
            return need;
        }
    }
    if (room >= bytes) {
        Qcow2Need need = qcow2_refcount_add(s, at, 1, 1, waiter, error);
        if (need == QCOW2_READY) {
            *offset = at;
            s->compressed_at = at + bytes;
            return need;
        }
        if (need == QCOW2_PARKED || *error != -ERANGE) {
            return need;
        }
        s->compressed_at = room = 0; /* as often counted as it can be */
    }
    Qcow2Need need = qcow2_alloc_clusters(s, 1, 1, &cluster, &got, &fresh, waiter, error);
    if (need != QCOW2_READY) {
        return need;
    }
    *offset = cluster;
    if (room && cluster == (at | mask) + 1) { /* on into the next cluster */
        int ignored;
        Qcow2Need more = qcow2_refcount_add(s, at, 1, 1, NULL, &ignored);
        *offset = more == QCOW2_READY ? at : cluster;
    }
    s->compressed_at = *offset + bytes;
    return QCOW2_READY;
}

/* ---- Counting ---- */

static int add_one(Qcow2 *s, uint64_t cluster, int64_t add)
{
    Qcow2RefBlock *block = s->refblocks[cluster >> qcow2_refblock_bits(&s->h)];
    uint64_t old = get_count(s, block, cluster);
    uint64_t value = old + (uint64_t)add;
    if (add < 0 ? old < (uint64_t)-add : value > qcow2_max_refcount(&s->h) || value < old) {
        if (add < 0) {
            qcow2_mark_corrupt(s, "cluster %" G_GUINT64_FORMAT " is freed, and has no reference",
                               cluster);
        }
        return add < 0 ? -EIO : -ERANGE;
    }
    set_count(s, block, cluster, value);
    if (value == 0) {
        s->free_hint = MIN(s->free_hint, cluster);
        if (s->compressed_at && (s->compressed_at - 1) >> s->cluster_bits == cluster) {
            s->compressed_at = 0;
        }
    }
    return 0;
}

Qcow2Need qcow2_refcount_add(Qcow2 *s, uint64_t offset, uint64_t bytes, int64_t add,
                             Qcow2Waiter *waiter, int *error)
{
    uint64_t first = offset >> s->cluster_bits, last = (offset + bytes - 1) >> s->cluster_bits;
    unsigned bits = qcow2_refblock_bits(&s->h);
    /* Loading one may push another out: until all are there. */
    for (uint64_t i = first >> bits; i <= last >> bits; i++) {
        Qcow2RefBlock *block;
        bool was_there = i < s->reftable_entries && s->refblocks[i];
        Qcow2Need need = block_need(s, i, &block, waiter, error);
        if (need != QCOW2_READY) {
            return need;
        }
        if (!block) {
            qcow2_mark_corrupt(s, "clusters at 0x%" G_GINT64_MODIFIER "x are used, and not counted",
                               offset);
            *error = -EIO;
            return QCOW2_FAILED;
        }
        if (!was_there && i != first >> bits) {
            i = (first >> bits) - 1;
        }
    }
    for (uint64_t cluster = first; cluster <= last; cluster++) {
        *error = add_one(s, cluster, add);
        if (*error) {
            for (uint64_t back = first; back < cluster; back++) {
                add_one(s, back, -add);
            }
            return QCOW2_FAILED;
        }
    }
    return QCOW2_READY;
}

Qcow2Need qcow2_refcount_look(Qcow2 *s, uint64_t cluster, uint64_t *count, int *error)
{
    Qcow2RefBlock *block;
    Qcow2Need need = block_need(s, cluster >> qcow2_refblock_bits(&s->h), &block, NULL, error);
    *count = need == QCOW2_READY && block ? get_count(s, block, cluster) : 0;
    return need;
}

void qcow2_unalloc(Qcow2 *s, uint64_t offset, uint64_t clusters)
{
    qcow2_free_later(s, offset, clusters << s->cluster_bits, false);
}

/* What lies behind the last one is joined to it, as far as two blocks count. */
void qcow2_free_later(Qcow2 *s, uint64_t offset, uint64_t bytes, bool discard)
{
    uint64_t first = offset >> s->cluster_bits, last = (offset + bytes - 1) >> s->cluster_bits;
    Qcow2Free item = { .offset = first << s->cluster_bits,
                       .clusters = last - first + 1,
                       .discard = discard };
    GArray *frees = s->fresh_frees;
    Qcow2Free *before = frees->len ? &g_array_index(frees, Qcow2Free, frees->len - 1) : NULL;
    if (before && before->discard == discard &&
        before->offset + (before->clusters << s->cluster_bits) == item.offset &&
        before->clusters + item.clusters <= block_span(s)) {
        before->clusters += item.clusters;
    } else {
        g_array_append_val(frees, item);
        __atomic_store_n(&s->free_items, frees->len, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&s->free_bytes, s->free_bytes + (item.clusters << s->cluster_bits),
                     __ATOMIC_RELAXED);
}

/* ---- Life ---- */

bool qcow2_refcount_init(Qcow2 *s, GError **error)
{
    uint64_t bytes = (uint64_t)s->h.reftable_clusters << s->cluster_bits;
    s->reftable_entries = bytes / 8;
    s->reftable = g_malloc(bytes);
    s->refblocks = g_new0(Qcow2RefBlock *, s->reftable_entries);
    s->loaded = g_ptr_array_new();
    s->loaded_hand = 0;
    s->reftable_dirty = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    s->fresh_frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    s->stable_frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    s->old_frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    int ret = node_pread(s->node->file, s->h.reftable_offset, s->reftable, bytes);
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot read the refcount table");
    }
    for (uint64_t i = 0; i < s->reftable_entries; i++) {
        s->reftable[i] = GUINT64_FROM_BE(s->reftable[i]);
    }
    s->free_hint = 0;
    s->compressed_at = 0;
    s->fresh_from = ALIGN_UP(block_node_length(s->node->file), s->cluster_size);
    return true;
}

void qcow2_refcount_free(Qcow2 *s)
{
    while (s->loaded && s->loaded->len) {
        block_forget(s, s->loaded->pdata[s->loaded->len - 1]);
    }
    g_clear_pointer(&s->loaded, g_ptr_array_unref);
    g_clear_pointer(&s->refblocks, g_free);
    g_clear_pointer(&s->reftable, g_free);
    g_clear_pointer(&s->reftable_dirty, g_array_unref);
    g_clear_pointer(&s->fresh_frees, g_array_unref);
    g_clear_pointer(&s->stable_frees, g_array_unref);
    g_clear_pointer(&s->old_frees, g_array_unref);
    s->dirty_refblocks = 0;
    s->reftable_moved = s->reftable_shown = false;
}
