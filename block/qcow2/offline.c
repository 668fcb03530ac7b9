/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moving references of an image without requests. */
#include "block/qcow2/offline.h"

#include <errno.h>

static bool failed(Qcow2 *s, int ret, const char *what, GError **error)
{
    if (ret == -ERANGE) {
        return error_set(error,
                         "'%s': refcounts of %u bits cannot count one more reference: 'amend -o "
                         "refcount_bits=' widens them",
                         s->node->filename, 1u << s->h.refcount_order);
    }
    return error_set_errno(error, -ret, "'%s': %s", s->node->filename, what);
}

/* ---- Beginning and ending ---- */

static bool set_dirty(Qcow2 *s, bool on, GError **error)
{
    uint8_t field[8];
    uint64_t bits = on ? s->h.incompatible | QCOW2_INCOMPAT_DIRTY
                       : s->h.incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY;
    if (s->h.version < 3 || bits == s->h.incompatible) {
        return true;
    }
    store_be64(field, bits);
    int ret = node_pwrite(s->node->file, QCOW2_H_INCOMPATIBLE, field, sizeof(field));
    ret = ret ? ret : node_flush(s->node->file);
    if (ret < 0) {
        return failed(s, ret, "cannot write the header", error);
    }
    s->h.incompatible = bits;
    return true;
}

bool qcow2_offline_begin(Qcow2Offline *o, Qcow2 *s, GError **error)
{
    *o = (Qcow2Offline){ .s = s };
    if (s->node->readonly) {
        return error_set(error, "'%s' is read-only", s->node->filename);
    }
    if (atomic_load(&s->corrupt)) {
        return error_set(error, "'%s' is corrupt", s->node->filename);
    }
    if (!qcow2_flush_all(s, error) || !set_dirty(s, true, error)) {
        return false;
    }
    o->freed = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    return true;
}

bool qcow2_offline_commit(Qcow2Offline *o, GError **error)
{
    o->committed = true;
    if (!qcow2_flush_all(o->s, error)) {
        return false;
    }
    int ret = node_flush(o->s->node->file);
    return ret == 0 || failed(o->s, ret, "cannot flush", error);
}

static void discard_freed(Qcow2Offline *o)
{
    for (guint i = 0; i < o->freed->len; i++) { /* a hint: its failure is nobody's */
        const Qcow2Free *item = &g_array_index(o->freed, Qcow2Free, i);
        uint64_t length = block_node_length(o->s->node->file);
        uint64_t bytes = item->clusters << o->s->cluster_bits;
        if (item->offset < length) {
            block_discard(o->s->node->file, item->offset, MIN(bytes, length - item->offset));
        }
    }
}

bool qcow2_offline_end(Qcow2Offline *o, bool ok, GError **error)
{
    Qcow2 *s = o->s;
    bool unmark = ok || !o->committed;
    if (ok) {
        ok = qcow2_offline_commit(o, error);
        unmark = ok;
    }
    if (ok) {
        discard_freed(o);
    }
    g_array_unref(o->freed);
    g_autoptr(GError) second = NULL;
    if (!qcow2_reload(s, &second) || (unmark && !set_dirty(s, false, &second))) {
        if (ok) {
            g_propagate_error(error, g_steal_pointer(&second));
        }
        ok = false;
    }
    return ok;
}

/* ---- Clusters ---- */

bool qcow2_offline_alloc(Qcow2Offline *o, uint64_t bytes, uint64_t *offset, GError **error)
{
    Qcow2 *s = o->s;
    uint64_t count = ALIGN_UP(bytes, s->cluster_size) >> s->cluster_bits, got;
    bool fresh;
    int ret = 0;
    *offset = 0;
    if (!count) {
        return true;
    }
    g_mutex_lock(&s->lock);
    Qcow2Need need = qcow2_alloc_clusters(s, count, count, offset, &got, &fresh, NULL, &ret);
    g_mutex_unlock(&s->lock);
    return need == QCOW2_READY || failed(s, ret, "cannot allocate clusters", error);
}

static bool add_references(Qcow2Offline *o, uint64_t offset, uint64_t bytes, int add,
                           GError **error)
{
    Qcow2 *s = o->s;
    int ret = 0;
    g_mutex_lock(&s->lock);
    Qcow2Need need = qcow2_refcount_add(s, offset, bytes, add, NULL, &ret);
    g_mutex_unlock(&s->lock);
    return need == QCOW2_READY || failed(s, ret, "cannot count references", error);
}

static bool count_of(Qcow2Offline *o, uint64_t offset, uint64_t *count, GError **error)
{
    Qcow2 *s = o->s;
    int ret = 0;
    g_mutex_lock(&s->lock);
    Qcow2Need need = qcow2_refcount_look(s, offset >> s->cluster_bits, count, &ret);
    g_mutex_unlock(&s->lock);
    return need == QCOW2_READY || failed(s, ret, "cannot read refcounts", error);
}

bool qcow2_offline_count(Qcow2Offline *o, uint64_t offset, uint64_t *count, GError **error)
{
    return count_of(o, offset, count, error);
}

bool qcow2_offline_share(Qcow2Offline *o, uint64_t offset, int more, GError **error)
{
    return !more || add_references(o, offset, o->s->cluster_size, more, error);
}

static void note_freed(Qcow2Offline *o, uint64_t offset)
{
    GArray *freed = o->freed;
    Qcow2Free *last = freed->len ? &g_array_index(freed, Qcow2Free, freed->len - 1) : NULL;
    if (last && last->offset + (last->clusters << o->s->cluster_bits) == offset) {
        last->clusters++;
        return;
    }
    Qcow2Free item = { .offset = offset, .clusters = 1 };
    g_array_append_val(freed, item);
}

bool qcow2_offline_drop(Qcow2Offline *o, uint64_t offset, uint64_t bytes, GError **error)
{
    uint64_t end = offset + bytes, cluster = o->s->cluster_size;
    if (!bytes) {
        return true;
    }
    if (!add_references(o, offset, bytes, -1, error)) {
        return false;
    }
    for (uint64_t at = ALIGN_DOWN(offset, cluster); at < end; at += cluster) {
        uint64_t count;
        if (!count_of(o, at, &count, error)) {
            return false;
        }
        if (!count) {
            note_freed(o, at);
        }
    }
    return true;
}

static bool refer(Qcow2Offline *o, uint64_t offset, uint64_t bytes, int add, GError **error)
{
    return add > 0 ? add_references(o, offset, bytes, add, error)
                   : qcow2_offline_drop(o, offset, bytes, error);
}

/* ---- Tables ---- */

uint64_t *qcow2_offline_read(Qcow2Offline *o, uint64_t offset, uint32_t entries, GError **error)
{
    g_autofree uint64_t *table = g_malloc(entries * 8ULL + 8);
    int ret = node_pread(o->s->node->file, offset, table, entries * 8ULL);
    if (ret < 0) {
        failed(o->s, ret, "cannot read a table", error);
        return NULL;
    }
    for (uint32_t i = 0; i < entries; i++) {
        table[i] = GUINT64_FROM_BE(table[i]);
    }
    return g_steal_pointer(&table);
}

bool qcow2_offline_write_bytes(Qcow2Offline *o, uint64_t offset, const void *data, uint64_t bytes,
                               GError **error)
{
    int ret = node_pwrite(o->s->node->file, offset, data, bytes);
    return ret == 0 || failed(o->s, ret, "cannot write a table", error);
}

bool qcow2_offline_write(Qcow2Offline *o, uint64_t offset, const uint64_t *table, uint32_t entries,
                         GError **error)
{
    uint64_t bytes = ALIGN_UP(entries * 8ULL, o->s->cluster_size);
    g_autofree uint64_t *out = g_malloc0(bytes + 8);
    for (uint32_t i = 0; i < entries; i++) {
        out[i] = GUINT64_TO_BE(table[i]);
    }
    return qcow2_offline_write_bytes(o, offset, out, bytes, error);
}

static bool table_offset(Qcow2Offline *o, uint64_t entry, uint64_t *offset, GError **error)
{
    *offset = entry & QCOW2_L1_OFFSET;
    return !(*offset & (o->s->cluster_size - 1)) ||
           error_set(error,
                     "'%s': L2 table offset 0x%" G_GINT64_MODIFIER
                     "x is not a cluster's: 'check' says more",
                     o->s->node->filename, *offset);
}

/* The plain cluster of an entry; 0: none. */
static uint64_t data_offset(const Qcow2 *s, uint64_t entry)
{
    return entry & QCOW2_COMPRESSED || s->data != s->node->file ? 0 : entry & QCOW2_L2_OFFSET;
}

/* Clusters that lie side by side are counted at once. */
static bool refer_entries(Qcow2Offline *o, const uint64_t *table, int add, GError **error)
{
    const Qcow2 *s = o->s;
    unsigned step = s->entry_size / 8, words = (unsigned)(s->cluster_size / 8);
    uint64_t start = 0, end = 0;
    for (unsigned i = 0; i < words; i += step) {
        uint64_t at = data_offset(s, table[i]);
        if (at && at == end) {
            end += s->cluster_size;
            continue;
        }
        if (end != start && !refer(o, start, end - start, add, error)) {
            return false;
        }
        start = at;
        end = at ? at + s->cluster_size : 0;
        if (table[i] & QCOW2_COMPRESSED &&
            !refer(o, qcow2_compressed_offset(&s->h, table[i]),
                   qcow2_compressed_bytes(&s->h, table[i]), add, error)) {
            return false;
        }
    }
    return end == start || refer(o, start, end - start, add, error);
}

bool qcow2_offline_refer(Qcow2Offline *o, const uint64_t *l1, uint32_t entries, int add,
                         GError **error)
{
    uint64_t offset;
    for (uint32_t i = 0; i < entries; i++) {
        if (!table_offset(o, l1[i], &offset, error)) {
            return false;
        }
        if (!offset) {
            continue;
        }
        g_autofree uint64_t *table =
            qcow2_offline_read(o, offset, (uint32_t)(o->s->cluster_size / 8), error);
        if (!table || !refer_entries(o, table, add, error) ||
            !refer(o, offset, o->s->cluster_size, add, error)) {
            return false;
        }
    }
    return true;
}

/* ---- COPIED ---- */

/* *entry as it should be; true when it was not. */
static bool flag_entry(Qcow2Offline *o, uint64_t offset, uint64_t *entry, bool shared,
                       bool *changed, GError **error)
{
    uint64_t count = 2;
    if (!shared && !count_of(o, offset, &count, error)) {
        return false;
    }
    uint64_t right = count == 1 ? *entry | QCOW2_COPIED : *entry & ~QCOW2_COPIED;
    *changed |= right != *entry;
    *entry = right;
    return true;
}

static bool flag_table(Qcow2Offline *o, uint64_t offset, bool shared, GError **error)
{
    const Qcow2 *s = o->s;
    unsigned words = (unsigned)(s->cluster_size / 8);
    bool changed = false;
    g_autofree uint64_t *table = qcow2_offline_read(o, offset, words, error);
    if (!table) {
        return false;
    }
    for (unsigned i = 0; i < words; i += s->entry_size / 8) {
        uint64_t at = data_offset(s, table[i]);
        if (at && !flag_entry(o, at, &table[i], shared, &changed, error)) {
            return false;
        }
    }
    return !changed || qcow2_offline_write(o, offset, table, words, error);
}

bool qcow2_offline_flags(Qcow2Offline *o, bool all_shared, GError **error)
{
    Qcow2 *s = o->s;
    bool changed = false;
    g_autofree uint64_t *l1 = qcow2_offline_read(o, s->h.l1_offset, s->h.l1_size, error);
    for (uint32_t i = 0; l1 && i < s->h.l1_size; i++) {
        uint64_t offset;
        if (!table_offset(o, l1[i], &offset, error)) {
            return false;
        }
        if (offset && (!flag_table(o, offset, all_shared, error) ||
                       !flag_entry(o, offset, &l1[i], all_shared, &changed, error))) {
            return false;
        }
    }
    if (!l1 || (changed && !qcow2_offline_write(o, s->h.l1_offset, l1, s->h.l1_size, error))) {
        return false;
    }
    int ret = node_flush(s->node->file);
    return ret == 0 || failed(s, ret, "cannot flush", error);
}

/* ---- The header ---- */

static bool write_fields(Qcow2Offline *o, uint64_t at, const void *data, uint64_t bytes,
                         GError **error)
{
    Qcow2 *s = o->s;
    int ret = node_flush(s->node->file);
    ret = ret ? ret : node_pwrite(s->node->file, at, data, bytes);
    ret = ret ? ret : node_flush(s->node->file);
    return ret == 0 || failed(s, ret, "cannot write the header", error);
}

bool qcow2_offline_show_l1(Qcow2Offline *o, uint64_t offset, uint32_t entries, uint64_t size,
                           GError **error)
{
    Qcow2Header *h = &o->s->h;
    uint8_t fields[QCOW2_H_REFTABLE_OFFSET - QCOW2_H_SIZE];
    store_be64(fields, size);
    store_be32(fields + (QCOW2_H_CRYPT_METHOD - QCOW2_H_SIZE), h->crypt_method);
    store_be32(fields + (QCOW2_H_L1_SIZE - QCOW2_H_SIZE), entries);
    store_be64(fields + (QCOW2_H_L1_OFFSET - QCOW2_H_SIZE), offset);
    if (!write_fields(o, QCOW2_H_SIZE, fields, sizeof(fields), error)) {
        return false;
    }
    h->size = size;
    h->l1_size = entries;
    h->l1_offset = offset;
    return true;
}

bool qcow2_offline_show_snapshots(Qcow2Offline *o, uint64_t offset, uint32_t count, GError **error)
{
    Qcow2Header *h = &o->s->h;
    uint8_t fields[12];
    store_be32(fields, count);
    store_be64(fields + 4, offset);
    if (!write_fields(o, QCOW2_H_NB_SNAPSHOTS, fields, sizeof(fields), error)) {
        return false;
    }
    h->nb_snapshots = count;
    h->snapshots_offset = offset;
    return true;
}

bool qcow2_offline_replace_l1(Qcow2Offline *o, uint64_t offset, uint32_t entries, uint64_t size,
                              GError **error)
{
    Qcow2 *s = o->s;
    uint64_t old_offset = s->h.l1_offset;
    uint32_t old_entries = s->h.l1_size;
    g_autofree uint64_t *old = qcow2_offline_read(o, old_offset, old_entries, error);
    /* The driver's own table must not be written any more: its commit has nothing of it. */
    return old && qcow2_offline_commit(o, error) &&
           qcow2_offline_show_l1(o, offset, entries, size, error) &&
           qcow2_offline_refer(o, old, old_entries, -1, error) &&
           qcow2_offline_drop(o, old_offset, old_entries * 8ULL, error) &&
           qcow2_offline_commit(o, error) && qcow2_offline_flags(o, false, error);
}
