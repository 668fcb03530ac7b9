/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks an image: everything that refers to clusters is counted, and the counts are compared with
 * the refcounts. Lines read as those of qemu-img check.
 */
#include "block/qcow2/check.h"
#include "block/qcow2/bitmap_directory.h"
#include "block/qcow2/qcow2.h"
#include "block/qcow2/snapshot_table.h"

#define MAX_CLUSTERS INT32_MAX /* bounds memory, as QEMU does */

void qcow2_check_report(Qcow2Checker *c, const char *format, ...)
{
    if (!c->result->report) {
        return;
    }
    va_list ap;
    va_start(ap, format);
    g_autofree char *line = g_strdup_vprintf(format, ap);
    va_end(ap);
    c->result->report(line, c->result->opaque);
}

void qcow2_check_corrupt(Qcow2Checker *c, const char *format, ...)
{
    c->result->corruptions++;
    if (!c->result->report) {
        return;
    }
    va_list ap;
    va_start(ap, format);
    g_autofree char *line = g_strdup_vprintf(format, ap);
    va_end(ap);
    c->result->report(line, c->result->opaque);
}

void qcow2_check_refer(Qcow2Checker *c, uint64_t offset, uint64_t bytes, uint64_t weight)
{
    uint64_t cluster_size = qcow2_cluster_size(c->h);
    if (!bytes || !weight) {
        return;
    }
    /* The last cluster need not be there whole. */
    if (!range_inside(offset, bytes, c->file_length + cluster_size - 1)) {
        qcow2_check_corrupt(c,
                            "ERROR: counting reference for region exceeding the end of the file by "
                            "one cluster or more: offset 0x%" G_GINT64_MODIFIER
                            "x size 0x%" G_GINT64_MODIFIER "x",
                            offset, bytes);
        return;
    }
    uint64_t first = offset >> c->h->cluster_bits;
    uint64_t last = (offset + bytes - 1) >> c->h->cluster_bits;
    qcow2_counts_grow(&c->found, last + 1);
    for (uint64_t i = first; i <= last; i++) {
        qcow2_counts_add(&c->found, i, weight);
    }
}

/* ---- Snapshots ---- */

static bool snapshot_l1_usable(Qcow2Checker *c, const Qcow2Snapshot *s)
{
    if (s->l1_offset & (qcow2_cluster_size(c->h) - 1)) {
        qcow2_check_corrupt(c,
                            "ERROR snapshot %s (%s) l1_offset=0x%" G_GINT64_MODIFIER
                            "x: L1 table is not cluster aligned; snapshot table entry corrupted",
                            s->about.id, s->about.name, s->l1_offset);
        return false;
    }
    if (s->l1_size > QCOW2_MAX_L1_BYTES / 8) {
        qcow2_check_corrupt(c,
                            "ERROR snapshot %s (%s): its entry says an L1 table of 0x%x entries, "
                            "more than there can be",
                            s->about.id, s->about.name, s->l1_size);
        return false;
    }
    return true;
}

static bool count_snapshots(Qcow2Checker *c, GError **error)
{
    uint64_t bytes;
    if (!c->h->nb_snapshots) {
        return true;
    }
    if (c->h->data_file || c->h->incompatible & QCOW2_INCOMPAT_DATA_FILE) {
        qcow2_check_corrupt(c, "ERROR %u snapshots, though the data lies in a file of its own",
                            c->h->nb_snapshots);
    }
    g_autoptr(GPtrArray) list = qcow2_snapshots_read(c->file, c->h, &bytes, error);
    if (!list) {
        return false;
    }
    for (guint i = 0; i < list->len; i++) {
        const Qcow2Snapshot *s = list->pdata[i];
        if (!snapshot_l1_usable(c, s)) {
            c->incomplete = true;
        } else if (!qcow2_check_l1(c, s->l1_offset, s->l1_size, false, error)) {
            return false;
        }
    }
    qcow2_check_refer(c, c->h->snapshots_offset, bytes, 1);
    return true;
}

/* ---- Bitmaps ---- */

static void count_bitmap_entry(Qcow2Checker *c, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_BITMAP_ENTRY_OFFSET;
    if ((entry & QCOW2_BITMAP_ENTRY_RESERVED) || (offset && entry & 1)) {
        qcow2_check_corrupt(
            c,
            "ERROR an entry of a bitmap's table has bits set that must be 0: %" G_GINT64_MODIFIER
            "x",
            entry);
    }
    if (offset) {
        qcow2_check_refer(c, offset, qcow2_cluster_size(c->h), 1);
    }
}

static void count_bitmap(const Qcow2BitmapEntry *entry, void *opaque)
{
    Qcow2Checker *c = opaque;
    uint64_t bytes = (uint64_t)entry->table_size * 8;
    c->l1_bytes += bytes;
    if (!range_inside(entry->table_offset, bytes, c->file_length) || c->l1_bytes > c->file_length) {
        qcow2_check_corrupt(c, "ERROR bitmap table of %u entries is not inside the file",
                            entry->table_size);
        c->incomplete = true;
        return;
    }
    qcow2_check_refer(c, entry->table_offset, bytes, 1);
    uint8_t data[4096];
    for (uint64_t at = 0; at < bytes; at += sizeof(data)) {
        uint64_t n = MIN(bytes - at, sizeof(data));
        if (node_pread(c->file, entry->table_offset + at, data, n) < 0) {
            qcow2_check_report(c, "ERROR cannot read a bitmap table");
            c->result->check_errors++;
            c->incomplete = true;
            return;
        }
        for (uint64_t i = 0; i < n; i += 8) {
            count_bitmap_entry(c, load_be64(data + i));
        }
    }
}

static void count_bitmaps(Qcow2Checker *c)
{
    g_autoptr(GError) error = NULL;
    if (!c->h->has_bitmaps) {
        return;
    }
    qcow2_check_refer(c, c->h->bitmap_directory_offset, c->h->bitmap_directory_size, 1);
    if (!qcow2_bitmaps_foreach(c->file, c->h, count_bitmap, c, &error)) {
        qcow2_check_corrupt(c, "ERROR %s", error->message);
        c->incomplete = true;
    }
}

/* ---- All ---- */

static bool count_references(Qcow2Checker *c, GError **error)
{
    Qcow2Header *h = c->h;
    qcow2_check_refer(c, 0, qcow2_cluster_size(h), 1);
    if (!qcow2_check_l1(c, h->l1_offset, h->l1_size, true, error) || !count_snapshots(c, error) ||
        !qcow2_check_l2_tables(c, error)) {
        return false;
    }
    qcow2_check_refer(c, h->crypto_offset, h->crypto_length, 1);
    count_bitmaps(c);
    qcow2_check_refblocks(c);
    return true;
}

/* The marks of an image that was not closed, or found broken, go when nothing is wrong any more. */
static bool clear_marks(Qcow2Checker *c, GError **error)
{
    uint64_t marks = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
    uint8_t field[8];
    if (c->result->corruptions || c->result->check_errors || c->result->leaks ||
        !(c->h->incompatible & marks)) {
        return true;
    }
    store_be64(field, c->h->incompatible & ~marks);
    int ret = node_flush(c->file);
    ret = ret ? ret : node_pwrite(c->file, QCOW2_H_INCOMPATIBLE, field, sizeof(field));
    ret = ret ? ret : node_flush(c->file);
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot write the header");
    }
    c->h->incompatible &= ~marks;
    c->changed = true;
    return true;
}

static bool check_all(Qcow2Checker *c, GError **error)
{
    if (!qcow2_check_load_refcounts(c, error) || !count_references(c, error)) {
        return false;
    }
    if (c->incomplete) {
        c->fix &= ~(unsigned)BLOCK_FIX_LEAKS;
    }
    bool rebuild = c->rebuild && c->fix & BLOCK_FIX_ERRORS && !c->incomplete;
    return qcow2_check_compare(c, rebuild ? 0 : c->fix, error) &&
           (!rebuild || qcow2_check_rebuild(c, error)) && qcow2_check_copied(c, error) &&
           (!c->fix || clear_marks(c, error));
}

static void checker_free(Qcow2Checker *c)
{
    qcow2_counts_free(&c->found);
    qcow2_counts_free(&c->disk);
    g_array_unref(c->tables);
    g_array_unref(c->old_structures);
    g_free(c->l1);
    g_free(c->reftable);
}

static bool checker_init(Qcow2Checker *c, BlockNode *file, Qcow2Header *h, unsigned fix,
                         BlockCheckResult *result, GError **error)
{
    *c = (Qcow2Checker){ .file = file, .h = h, .fix = fix, .result = result };
    c->file_length = block_node_length(file);
    c->clusters =
        (c->file_length >> h->cluster_bits) + ((c->file_length & (qcow2_cluster_size(h) - 1)) != 0);
    if (c->clusters > MAX_CLUSTERS) {
        result->check_errors++;
        return error_set(error, "a file of %" G_GUINT64_FORMAT " clusters is too large to check",
                         c->clusters);
    }
    qcow2_counts_init(&c->found, c->clusters);
    qcow2_counts_init(&c->disk, c->clusters + 1); /* the last may lie behind the file's end */
    c->tables = g_array_new(FALSE, FALSE, sizeof(Qcow2TableRef));
    c->old_structures = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    result->total_clusters =
        (h->size >> h->cluster_bits) + ((h->size & (qcow2_cluster_size(h) - 1)) != 0);
    return true;
}

bool qcow2_check_file(BlockNode *file, Qcow2Header *h, unsigned fix, BlockCheckResult *result,
                      bool *changed, GError **error)
{
    Qcow2Checker c;
    *changed = false;
    if (!checker_init(&c, file, h, fix, result, error)) {
        return false;
    }
    bool ok = check_all(&c, error);
    if (!ok) {
        result->check_errors++;
    }
    *changed = c.changed;
    checker_free(&c);
    return ok;
}

static bool too_narrow(const Qcow2Checker *c, uint32_t order)
{
    Qcow2Header h = { .refcount_order = order };
    for (uint64_t i = qcow2_counts_next(&c->found, 0); i != UINT64_MAX;
         i = qcow2_counts_next(&c->found, i + 1)) {
        if (qcow2_counts_get(&c->found, i) > qcow2_max_refcount(&h)) {
            return true;
        }
    }
    return false;
}

static bool recount(Qcow2Checker *c, uint32_t order, GError **error)
{
    if (!qcow2_check_load_refcounts(c, error) || !count_references(c, error) ||
        !qcow2_check_compare(c, 0, error)) {
        return false;
    }
    if (c->result->corruptions || c->result->check_errors || c->incomplete) {
        return error_set(error, "the image has errors: 'check -r all' first");
    }
    if (too_narrow(c, order)) {
        return error_set(error, "refcounts of %u bits are too narrow for this image", 1u << order);
    }
    c->h->refcount_order = order;
    return qcow2_check_rebuild(c, error);
}

bool qcow2_check_recount(BlockNode *file, Qcow2Header *h, uint32_t order, BlockCheckResult *result,
                         GError **error)
{
    Qcow2Checker c;
    if (!checker_init(&c, file, h, 0, result, error)) {
        return false;
    }
    bool ok = recount(&c, order, error);
    checker_free(&c);
    return ok;
}

/* ---- The driver's ---- */

static bool mend_dirty(Qcow2 *s, void *opaque, GError **error)
{
    BlockCheckResult result = { 0 };
    bool changed;
    if (!qcow2_check_file(s->node->file, &s->h, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &result,
                          &changed, error)) {
        return false;
    }
    if (s->h.incompatible & QCOW2_INCOMPAT_DIRTY) {
        return error_set(error, "%" G_GUINT64_FORMAT " errors could not be repaired",
                         result.corruptions + result.leaks);
    }
    report_info("'%s' had not been closed: %" G_GUINT64_FORMAT " refcounts set right",
                s->node->filename, result.leaks_fixed + result.corruptions_fixed);
    return qcow2_reload(s, error);
}

bool qcow2_with_lock(Qcow2 *s, bool (*fn)(Qcow2 *s, void *opaque, GError **error), void *opaque,
                     GError **error)
{
    BlockNode *protocol = node_protocol(s->node->file);
    bool lock = protocol->driver->set_permissions && !protocol->permitted;
    if (lock && !protocol->driver->set_permissions(
                    protocol, BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                    BLOCK_PERM_CONSISTENT_READ, error)) {
        return false;
    }
    bool ok = fn(s, opaque, error);
    if (lock) {
        protocol->driver->set_permissions(protocol, 0, BLOCK_PERM_ALL, NULL);
    }
    return ok;
}

/* A dirty image may be one that runs elsewhere: only its lock says. */
bool qcow2_repair_dirty(Qcow2 *s, GError **error)
{
    return qcow2_with_lock(s, mend_dirty, NULL, error);
}

bool qcow2_check(BlockNode *node, unsigned fix, BlockCheckResult *result, GError **error)
{
    Qcow2 *s = node->state;
    bool changed = false;
    if (fix && node->readonly) {
        return error_set(error, "'%s' is read-only: it cannot be repaired", node->filename);
    }
    if (!qcow2_flush_all(s, error)) {
        return false;
    }
    node_refresh_length(node->file);
    bool ok = qcow2_check_file(node->file, &s->h, fix, result, &changed, error);
    if (changed && !qcow2_reload(s, ok ? error : NULL)) {
        return false;
    }
    return ok;
}
