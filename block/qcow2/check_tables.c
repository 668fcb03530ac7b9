/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * L1 and L2 tables of an image that is checked. L2 tables are sorted and read in long runs, each
 * once, with the number of L1 entries that show it.
 */
#include "block/qcow2/check.h"

#define RUN_BYTES (2 * MIB)

/* ---- L1 ---- */

static int compare_offsets(const void *a, const void *b)
{
    uint64_t x = ((const Qcow2TableRef *)a)->offset, y = ((const Qcow2TableRef *)b)->offset;
    return x < y ? -1 : x > y;
}

static void merge_tables(Qcow2Checker *c)
{
    Qcow2TableRef *refs = (Qcow2TableRef *)(void *)c->tables->data;
    guint out = 0;
    if (!c->tables->len) {
        return; /* there is no array yet */
    }
    qsort(refs, c->tables->len, sizeof(*refs), compare_offsets);
    for (guint i = 0; i < c->tables->len; i++) {
        if (out && refs[out - 1].offset == refs[i].offset) {
            refs[out - 1].total += refs[i].total;
            refs[out - 1].active += refs[i].active;
        } else {
            refs[out++] = refs[i];
        }
    }
    g_array_set_size(c->tables, out);
    c->merged = out;
}

static void add_table(Qcow2Checker *c, uint64_t offset, bool active)
{
    Qcow2TableRef ref = { .offset = offset, .total = 1, .active = active };
    if (c->tables->len > 2 * c->merged + 65536) {
        merge_tables(c);
    }
    g_array_append_val(c->tables, ref);
}

static void check_l1_entry(Qcow2Checker *c, uint64_t entry, bool active)
{
    uint64_t offset = entry & QCOW2_L1_OFFSET;
    if (entry & QCOW2_L1_RESERVED) {
        qcow2_check_corrupt(
            c, "ERROR an L1 entry has bits set that must be 0: 0x%" G_GINT64_MODIFIER "x", entry);
    }
    if (!offset) {
        return;
    }
    qcow2_check_refer(c, offset, qcow2_cluster_size(c->h), 1);
    if (offset & (qcow2_cluster_size(c->h) - 1)) {
        qcow2_check_corrupt(c,
                            "ERROR l2_offset=%" G_GINT64_MODIFIER
                            "x: Table is not cluster aligned; L1 entry corrupted",
                            offset);
        c->incomplete = true;
    } else if (offset >= c->file_length) {
        c->incomplete = true; /* qcow2_check_refer() told of it */
    } else {
        add_table(c, offset, active);
    }
}

bool qcow2_check_l1(Qcow2Checker *c, uint64_t offset, uint32_t entries, bool active, GError **error)
{
    uint64_t bytes = (uint64_t)entries * 8;
    qcow2_check_refer(c, offset, bytes, 1);
    c->l1_bytes += bytes;
    if (!range_inside(offset, bytes, c->file_length + qcow2_cluster_size(c->h)) ||
        c->l1_bytes > c->file_length + qcow2_cluster_size(c->h)) {
        c->incomplete = true; /* no L1 tables that do not overlap can be so large */
        return error_set(error, "L1 tables of %" G_GUINT64_FORMAT " bytes do not fit into the file",
                         c->l1_bytes);
    }
    g_autofree uint64_t *l1 = g_malloc(bytes + 8);
    int ret = node_pread(c->file, offset, l1, bytes);
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot read an L1 table");
    }
    for (uint32_t i = 0; i < entries; i++) {
        l1[i] = GUINT64_FROM_BE(l1[i]);
        if (l1[i]) {
            check_l1_entry(c, l1[i], active);
        }
    }
    if (active) {
        c->l1 = g_steal_pointer(&l1);
    }
    return true;
}

/* ---- L2 entries ---- */

typedef struct Entry {
    uint64_t entry, bitmap, offset;
    bool compressed, data; /* neither: no cluster */
} Entry;

static bool has_data_file(const Qcow2Checker *c)
{
    return c->h->incompatible & QCOW2_INCOMPAT_DATA_FILE;
}

static Entry parse_entry(const Qcow2Checker *c, const uint8_t *p)
{
    Entry e = { .entry = load_be64(p) };
    e.bitmap = qcow2_has_subclusters(c->h) ? load_be64(p + 8) : 0;
    e.compressed = e.entry & QCOW2_COMPRESSED;
    e.offset = e.entry & QCOW2_L2_OFFSET;
    e.data = !e.compressed && (e.offset || (has_data_file(c) && e.entry & QCOW2_COPIED));
    return e;
}

static void check_compressed(Qcow2Checker *c, const Entry *e, unsigned index,
                             const Qcow2TableRef *ref)
{
    if (e->entry & QCOW2_COPIED) {
        qcow2_check_corrupt(c,
                            "ERROR: coffset=0x%" G_GINT64_MODIFIER
                            "x: copied flag must never be set for compressed clusters",
                            qcow2_compressed_offset(c->h, e->entry));
    }
    if (has_data_file(c)) {
        qcow2_check_corrupt(c,
                            "ERROR cluster %u is compressed, though the data lies in a file of its "
                            "own: entry 0x%" G_GINT64_MODIFIER "x",
                            index, e->entry);
        return;
    }
    if (e->bitmap) {
        qcow2_check_corrupt(c,
                            "ERROR cluster %u is compressed and has a bitmap of subclusters: entry "
                            "0x%" G_GINT64_MODIFIER "x",
                            index, e->entry);
        return;
    }
    qcow2_check_refer(c, qcow2_compressed_offset(c->h, e->entry),
                      qcow2_compressed_bytes(c->h, e->entry), ref->total);
    c->result->allocated_clusters += ref->active;
    c->result->compressed_clusters += ref->active;
    c->result->fragmented_clusters += ref->active; /* they never fill a cluster */
}

/* Whether the entry's contents are zeroes only, so that it can be dropped. */
static bool is_zero_entry(const Qcow2Checker *c, const Entry *e)
{
    return qcow2_has_subclusters(c->h) ? !(e->bitmap & UINT32_MAX) : e->entry & QCOW2_ZERO;
}

/* What is to be written instead of a misaligned entry without data; the table is marked. */
static bool mend_zero(Qcow2Checker *c, const Entry *e, uint8_t *p)
{
    bool mend = c->fix & BLOCK_FIX_ERRORS;
    const char *what = mend ? "Repairing" : "ERROR";
    qcow2_check_corrupt(c,
                        "%s offset=%" G_GINT64_MODIFIER "x: Preallocated cluster is not properly "
                        "aligned; L2 entry corrupted.",
                        what, e->offset);
    if (!mend) {
        return false;
    }
    store_be64(p, qcow2_has_subclusters(c->h) ? 0 : QCOW2_ZERO);
    c->result->corruptions--;
    c->result->corruptions_fixed++;
    return true;
}

/* True: the table was changed. */
static bool check_data(Qcow2Checker *c, const Entry *e, uint8_t *p, const Qcow2TableRef *ref,
                       uint64_t *next)
{
    if ((e->bitmap >> 32) & e->bitmap) {
        qcow2_check_corrupt(c,
                            "ERROR offset=%" G_GINT64_MODIFIER
                            "x: the bitmap of a cluster's subclusters "
                            "says both data and zeroes",
                            e->offset);
    }
    if (e->offset & (qcow2_cluster_size(c->h) - 1)) {
        if (is_zero_entry(c, e)) {
            if (mend_zero(c, e, p)) {
                return true;
            }
        } else {
            qcow2_check_corrupt(c,
                                "ERROR offset=%" G_GINT64_MODIFIER
                                "x: Data cluster is not properly aligned; L2 entry corrupted.",
                                e->offset);
        }
    }
    c->result->allocated_clusters += ref->active;
    c->result->fragmented_clusters += *next && e->offset != *next ? ref->active : 0;
    *next = e->offset + qcow2_cluster_size(c->h);
    if (!has_data_file(c)) {
        qcow2_check_refer(c, e->offset, qcow2_cluster_size(c->h), ref->total);
    }
    return false;
}

/* True: the table was changed and is to be written. */
typedef bool VisitTable(Qcow2Checker *c, uint8_t *table, const Qcow2TableRef *ref);

static bool count_table(Qcow2Checker *c, uint8_t *table, const Qcow2TableRef *ref)
{
    unsigned size = qcow2_l2_entry_size(c->h), entries = 1u << qcow2_l2_bits(c->h);
    uint64_t next = 0;
    bool changed = false;
    for (unsigned i = 0; i < entries; i++) {
        uint8_t *p = table + (size_t)i * size;
        Entry e = parse_entry(c, p);
        if (!e.entry && !e.bitmap) {
            continue;
        }
        if (!e.compressed && e.entry & QCOW2_L2_RESERVED) {
            qcow2_check_corrupt(
                c, "ERROR an L2 entry has bits set that must be 0: 0x%" G_GINT64_MODIFIER "x",
                e.entry);
        }
        if (e.compressed) {
            check_compressed(c, &e, i, ref);
        } else if (e.data) {
            changed |= check_data(c, &e, p, ref, &next);
        } else if (e.bitmap & UINT32_MAX) {
            qcow2_check_corrupt(c, "ERROR a cluster that lies nowhere has subclusters");
        }
    }
    return changed;
}

/* ---- Reading tables in runs ---- */

static bool write_table(Qcow2Checker *c, const uint8_t *table, uint64_t offset, GError **error)
{
    int ret = node_pwrite(c->file, offset, table, qcow2_cluster_size(c->h));
    c->changed = true;
    return ret == 0 || error_set_errno(error, -ret, "cannot write an L2 table");
}

static bool visit_tables(Qcow2Checker *c, VisitTable *visit, bool active_only, GError **error)
{
    const Qcow2TableRef *refs = (const Qcow2TableRef *)(const void *)c->tables->data;
    uint64_t cluster = qcow2_cluster_size(c->h);
    g_autofree uint8_t *data = g_malloc(MAX(RUN_BYTES, cluster));
    for (guint i = 0; i < c->tables->len;) {
        guint n = 1;
        if (active_only && !refs[i].active) {
            i++;
            continue;
        }
        while (i + n < c->tables->len && (n + 1) * cluster <= RUN_BYTES &&
               refs[i + n].offset == refs[i].offset + n * cluster) {
            n++;
        }
        int ret = node_pread(c->file, refs[i].offset, data, n * cluster);
        if (ret < 0) {
            return error_set_errno(error, -ret, "cannot read an L2 table");
        }
        for (guint t = 0; t < n; t++) {
            if ((!active_only || refs[i + t].active) &&
                visit(c, data + t * cluster, &refs[i + t]) &&
                !write_table(c, data + t * cluster, refs[i + t].offset, error)) {
                return false;
            }
        }
        i += n;
    }
    return true;
}

bool qcow2_check_l2_tables(Qcow2Checker *c, GError **error)
{
    merge_tables(c);
    return visit_tables(c, count_table, false, error);
}

/* ---- COPIED: the refcount is exactly one ---- */

static bool flag_wrong(Qcow2Checker *c, uint64_t offset, uint64_t entry, uint64_t *refcount)
{
    *refcount = qcow2_counts_get(&c->disk, offset >> c->h->cluster_bits);
    return (*refcount == 1) != !!(entry & QCOW2_COPIED);
}

static const char *verdict(Qcow2Checker *c)
{
    if (c->fix & BLOCK_FIX_ERRORS) {
        c->result->corruptions_fixed++;
        return "Repairing";
    }
    c->result->corruptions++;
    return "ERROR";
}

static bool copied_in_table(Qcow2Checker *c, uint8_t *table, const Qcow2TableRef *ref)
{
    unsigned size = qcow2_l2_entry_size(c->h), entries = 1u << qcow2_l2_bits(c->h);
    bool mend = c->fix & BLOCK_FIX_ERRORS, changed = false;
    for (unsigned i = 0; i < entries; i++) {
        uint8_t *p = table + (size_t)i * size;
        Entry e = parse_entry(c, p);
        uint64_t refcount;
        if (e.compressed && e.entry & QCOW2_COPIED && mend) {
            store_be64(p, e.entry & ~QCOW2_COPIED); /* told of before */
            c->result->corruptions--;
            c->result->corruptions_fixed++;
            changed = true;
        }
        if (!e.data || !flag_wrong(c, e.offset, e.entry, &refcount)) {
            continue;
        }
        qcow2_check_report(c,
                           "%s OFLAG_COPIED data cluster: l2_entry=%" G_GINT64_MODIFIER
                           "x refcount=%" G_GUINT64_FORMAT,
                           verdict(c), e.entry, refcount);
        if (mend) {
            store_be64(p, e.entry ^ QCOW2_COPIED);
            changed = true;
        }
    }
    return changed;
}

static bool write_l1_entry(Qcow2Checker *c, uint32_t index, GError **error)
{
    uint8_t entry[8];
    store_be64(entry, c->l1[index]);
    int ret = node_pwrite(c->file, c->h->l1_offset + index * 8ULL, entry, sizeof(entry));
    c->changed = true;
    return ret == 0 || error_set_errno(error, -ret, "cannot write the L1 table");
}

static bool copied_in_l1(Qcow2Checker *c, GError **error)
{
    for (uint32_t i = 0; i < c->h->l1_size; i++) {
        uint64_t offset = c->l1[i] & QCOW2_L1_OFFSET, refcount;
        if (!offset || !flag_wrong(c, offset, c->l1[i], &refcount)) {
            continue;
        }
        qcow2_check_report(c,
                           "%s OFLAG_COPIED L2 cluster: l1_index=%u l1_entry=%" G_GINT64_MODIFIER
                           "x refcount=%" G_GUINT64_FORMAT,
                           verdict(c), i, c->l1[i], refcount);
        if (c->fix & BLOCK_FIX_ERRORS) {
            c->l1[i] ^= QCOW2_COPIED;
            if (!write_l1_entry(c, i, error)) {
                return false;
            }
        }
    }
    return true;
}

bool qcow2_check_copied(Qcow2Checker *c, GError **error)
{
    return copied_in_l1(c, error) &&
           (has_data_file(c) || visit_tables(c, copied_in_table, true, error));
}
