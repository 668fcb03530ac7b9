/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From compatibility level 1.1 to 0.10, which has no zero clusters: those of all L2 tables, the
 * snapshots' too, become clusters of written zeroes, or nothing where no backing file would show.
 */
#include "block/qcow2/offline.h"
#include "block/qcow2/snapshot_table.h"

typedef struct Downgrade {
    Qcow2Offline *o;
    uint8_t *zeroes;  /* a cluster of them */
    uint64_t sharers; /* of the table at hand: its refcount */
    GArray *dropped;  /* uint64_t: clusters that the table at hand shows no more */
} Downgrade;

/* ---- Clusters ---- */

static bool write_zeroes(Downgrade *d, uint64_t offset, GError **error)
{
    return qcow2_offline_write_bytes(d->o, offset, d->zeroes, d->o->s->cluster_size, error);
}

/* A cluster of its own, with a reference for each table that shows this one. */
static bool allocate(Downgrade *d, uint64_t *entry, GError **error)
{
    uint64_t offset;
    if (!qcow2_offline_alloc(d->o, d->o->s->cluster_size, &offset, error) ||
        !qcow2_offline_share(d->o, offset, (int)d->sharers - 1, error) ||
        !write_zeroes(d, offset, error)) {
        return false;
    }
    *entry = offset | (d->sharers == 1 ? QCOW2_COPIED : 0);
    return true;
}

static bool expand_entry(Downgrade *d, uint64_t *entry, GError **error)
{
    uint64_t offset = *entry & QCOW2_L2_OFFSET, count = 0;
    bool backed = d->o->s->h.backing_file;
    if (offset && !qcow2_offline_count(d->o, offset, &count, error)) {
        return false;
    }
    if (offset && backed && count == d->sharers) { /* space was kept for it */
        *entry &= ~QCOW2_ZERO;
        return write_zeroes(d, offset, error);
    }
    if (offset) {
        g_array_append_val(d->dropped, offset);
    }
    *entry = 0;
    return !backed || allocate(d, entry, error);
}

/* ---- Tables ---- */

/* Nothing shows the clusters any more. */
static bool drop_old(Downgrade *d, GError **error)
{
    for (guint i = 0; i < d->dropped->len; i++) {
        uint64_t offset = g_array_index(d->dropped, uint64_t, i);
        if (!qcow2_offline_share(d->o, offset, 1 - (int)d->sharers, error) ||
            !qcow2_offline_drop(d->o, offset, d->o->s->cluster_size, error)) {
            return false;
        }
    }
    g_array_set_size(d->dropped, 0);
    return true;
}

static bool expand_table(Downgrade *d, uint64_t offset, GError **error)
{
    Qcow2Offline *o = d->o;
    uint32_t entries = (uint32_t)(o->s->cluster_size / 8);
    bool changed = false;
    if (!qcow2_offline_count(o, offset, &d->sharers, error)) {
        return false;
    }
    if (!d->sharers) {
        return error_set(error, "'%s': an L2 table is not counted: 'check' says more",
                         o->s->node->filename);
    }
    g_autofree uint64_t *table = qcow2_offline_read(o, offset, entries, error);
    for (uint32_t i = 0; table && i < entries; i++) {
        if (!(table[i] & QCOW2_COMPRESSED) && table[i] & QCOW2_ZERO) {
            changed = true;
            if (!expand_entry(d, &table[i], error)) {
                return false;
            }
        }
    }
    return table && (!changed ||
                     (qcow2_offline_commit(o, error) &&
                      qcow2_offline_write(o, offset, table, entries, error) && drop_old(d, error)));
}

static bool expand_l1(Downgrade *d, uint64_t offset, uint32_t entries, GError **error)
{
    g_autofree uint64_t *l1 = qcow2_offline_read(d->o, offset, entries, error);
    for (uint32_t i = 0; l1 && i < entries; i++) {
        uint64_t table = l1[i] & QCOW2_L1_OFFSET;
        if (table & (d->o->s->cluster_size - 1)) {
            return error_set(error,
                             "'%s': an L2 table's offset is not a cluster's: 'check' says "
                             "more",
                             d->o->s->node->filename);
        }
        if (table && !expand_table(d, table, error)) {
            return false;
        }
    }
    return l1;
}

static bool expand_all(Qcow2Offline *o, const GPtrArray *snapshots, GError **error)
{
    Qcow2 *s = o->s;
    Downgrade d = { .o = o,
                    .zeroes = g_malloc0(s->cluster_size),
                    .dropped = g_array_new(FALSE, FALSE, sizeof(uint64_t)) };
    bool ok = expand_l1(&d, s->h.l1_offset, s->h.l1_size, error);
    for (guint i = 0; ok && i < snapshots->len; i++) {
        const Qcow2Snapshot *snapshot = snapshots->pdata[i];
        ok = expand_l1(&d, snapshot->l1_offset, snapshot->l1_size, error);
    }
    g_array_unref(d.dropped);
    g_free(d.zeroes);
    return ok;
}

/* ---- The whole ---- */

static bool check_features(const Qcow2 *s, GError **error)
{
    const Qcow2Header *h = &s->h;
    uint64_t others = h->incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY;
    if (h->incompatible & QCOW2_INCOMPAT_DATA_FILE) {
        return error_set(
            error,
            "the data lies in a file of its own, which version 2 does not know: keep compat=1.1");
    }
    if (h->refcount_order != 4) {
        return error_set(
            error,
            "an image of version 2 has counts of 16 bits: refcount_bits=16 has to come first");
    }
    if (others) {
        return error_set(error,
                         "the image uses features that version 2 does not know: "
                         "incompatible_features 0x%" G_GINT64_MODIFIER "x",
                         others);
    }
    return !h->nb_bitmaps ||
           error_set(error,
                     "'%s' has bitmaps, which compat=0.10 does not have: 'bitmap --remove' "
                     "them",
                     s->node->filename);
}

/* Version 2 says neither how large a snapshot's disk was nor how large its saved machine is. */
static bool check_snapshots(const Qcow2 *s, const GPtrArray *snapshots, GError **error)
{
    for (guint i = 0; i < snapshots->len; i++) {
        const Qcow2Snapshot *snapshot = snapshots->pdata[i];
        if (snapshot->about.vm_state_size || snapshot->about.disk_size != s->h.size) {
            return error_set(error, "a snapshot has another size than the disk, which version 2 "
                                    "does not know: delete it first");
        }
        if (snapshot->l1_offset & (s->cluster_size - 1) ||
            snapshot->l1_size > QCOW2_MAX_L1_BYTES / 8) {
            return error_set(error, "'%s': the L1 table of snapshot '%s' makes no sense",
                             s->node->filename, snapshot->about.name);
        }
    }
    return true;
}

static bool write_version(Qcow2 *s, GError **error)
{
    Qcow2Header was = s->h;
    s->h.version = 2;
    s->h.incompatible = s->h.compatible = s->h.autoclear = 0;
    s->h.header_length = QCOW2_H_V2_LENGTH;
    if (qcow2_update_header(s, error)) {
        return true;
    }
    s->h = was;
    return false;
}

bool qcow2_downgrade(Qcow2 *s, GError **error)
{
    Qcow2Offline o;
    uint64_t bytes;
    g_autoptr(GPtrArray) snapshots = check_features(s, error) && qcow2_flush_all(s, error)
                                         ? qcow2_snapshots_read(s->node->file, &s->h, &bytes, error)
                                         : NULL;
    return snapshots && check_snapshots(s, snapshots, error) && qcow2_offline_begin(&o, s, error) &&
           qcow2_offline_end(
               &o, expand_all(&o, snapshots, error) && qcow2_offline_commit(&o, error), error) &&
           write_version(s, error);
}
