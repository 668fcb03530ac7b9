/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots. The order of writing: counts up; marks of sole ownership off; the new
 * snapshot table; the header, which shows it; then the old table is let go. Whatever a crash
 * leaves is at most counted too high.
 */
#include "block/bitmap.h"
#include "block/qcow2/snapshot_table.h"
#include "block/qcow2/offline.h"

/* ---- Looking ---- */

static BlockSnapshot *copy_about(const BlockSnapshot *from)
{
    BlockSnapshot *copy = g_memdup2(from, sizeof(*from));
    copy->id = g_strdup(from->id);
    copy->name = g_strdup(from->name);
    return copy;
}

static GPtrArray *read_list(Qcow2 *s, uint64_t *bytes, GError **error)
{
    GPtrArray *list = qcow2_snapshots_read(s->node->file, &s->h, bytes, error);
    if (!list) {
        g_prefix_error(error, "'%s': ", s->node->filename);
    }
    return list;
}

GPtrArray *qcow2_snapshot_list(BlockNode *node, GError **error)
{
    uint64_t bytes;
    g_autoptr(GPtrArray) list = read_list(node->state, &bytes, error);
    GPtrArray *result = list ? block_snapshots_new() : NULL;
    for (guint i = 0; list && i < list->len; i++) {
        g_ptr_array_add(result, copy_about(&((Qcow2Snapshot *)list->pdata[i])->about));
    }
    return result;
}

/* By id, else by name; -1: none. */
static int find(const GPtrArray *list, const char *id)
{
    for (guint i = 0; i < list->len; i++) {
        if (!strcmp(((Qcow2Snapshot *)list->pdata[i])->about.id, id)) {
            return (int)i;
        }
    }
    for (guint i = 0; i < list->len; i++) {
        if (!strcmp(((Qcow2Snapshot *)list->pdata[i])->about.name, id)) {
            return (int)i;
        }
    }
    return -1;
}

static bool check_l1(const Qcow2 *s, const Qcow2Snapshot *snapshot, GError **error)
{
    return (!(snapshot->l1_offset & (s->cluster_size - 1)) &&
            snapshot->l1_size <= QCOW2_MAX_L1_BYTES / 8 &&
            snapshot->l1_size >= qcow2_l1_entries(&s->h, snapshot->about.disk_size) &&
            snapshot->about.disk_size <= INT64_MAX) ||
           error_set(error, "'%s': the L1 table of snapshot '%s' makes no sense", s->node->filename,
                     snapshot->about.name);
}

static Qcow2Snapshot *find_usable(Qcow2 *s, const GPtrArray *list, const char *id, int *index,
                                  GError **error)
{
    *index = find(list, id);
    if (*index < 0) {
        error_set(error, "'%s': there is no snapshot '%s'", s->node->filename, id);
        return NULL;
    }
    Qcow2Snapshot *snapshot = list->pdata[*index];
    return check_l1(s, snapshot, error) ? snapshot : NULL;
}

/* ---- The table ---- */

/* Writes the list to new clusters; the header does not show them yet. */
static bool write_list(Qcow2Offline *o, const GPtrArray *list, uint64_t *offset, GError **error)
{
    g_autoptr(GByteArray) bytes = qcow2_snapshots_write(list);
    if (bytes->len > QCOW2_MAX_SNAPSHOT_TABLE) {
        return error_set(error, "'%s': the snapshot table would be larger than 64 MiB",
                         o->s->node->filename);
    }
    return qcow2_offline_alloc(o, bytes->len, offset, error) &&
           qcow2_offline_write_bytes(o, *offset, bytes->data, bytes->len, error);
}

/* ---- Creating ---- */

static bool take_id(const GPtrArray *list, BlockSnapshot *snapshot, GError **error)
{
    uint64_t highest = 0;
    for (guint i = 0; i < list->len; i++) {
        const BlockSnapshot *other = &((Qcow2Snapshot *)list->pdata[i])->about;
        highest = MAX(highest, g_ascii_strtoull(other->id, NULL, 10));
        if (snapshot->id && !strcmp(snapshot->id, other->id)) {
            return error_set(error, "there is a snapshot with id '%s' already", other->id);
        }
    }
    if (!snapshot->id || !*snapshot->id) {
        g_free(snapshot->id);
        snapshot->id = g_strdup_printf("%" G_GUINT64_FORMAT, highest + 1);
    }
    if (!snapshot->name) {
        snapshot->name = g_strdup("");
    }
    return (strlen(snapshot->id) <= UINT16_MAX && strlen(snapshot->name) <= UINT16_MAX) ||
           error_set(error, "the snapshot's name is too long");
}

/* A copy of the active L1 table, with everything it shows counted once more. */
static bool copy_l1(Qcow2Offline *o, Qcow2Snapshot *new, GError **error)
{
    Qcow2 *s = o->s;
    g_autofree uint64_t *l1 = qcow2_offline_read(o, s->h.l1_offset, s->h.l1_size, error);
    new->l1_size = s->h.l1_size;
    if (!l1 || !qcow2_offline_alloc(o, new->l1_size * 8ULL, &new->l1_offset, error) ||
        !qcow2_offline_refer(o, l1, new->l1_size, 1, error)) {
        return false;
    }
    for (uint32_t i = 0; i < new->l1_size; i++) {
        l1[i] &= ~QCOW2_COPIED;
    }
    return !new->l1_size || qcow2_offline_write(o, new->l1_offset, l1, new->l1_size, error);
}

static bool create(Qcow2Offline *o, GPtrArray *list, uint64_t old_bytes, const BlockSnapshot *about,
                   GError **error)
{
    Qcow2 *s = o->s;
    uint64_t offset, old_offset = s->h.snapshots_offset;
    Qcow2Snapshot *new = g_new0(Qcow2Snapshot, 1);
    new->about = *about;
    new->about.id = g_strdup(about->id);
    new->about.name = g_strdup(about->name);
    g_ptr_array_add(list, new);
    return copy_l1(o, new, error) && write_list(o, list, &offset, error) &&
           qcow2_offline_commit(o, error) && qcow2_offline_flags(o, true, error) &&
           qcow2_offline_show_snapshots(o, offset, list->len, error) &&
           qcow2_offline_drop(o, old_offset, old_bytes, error);
}

bool qcow2_snapshot_create(BlockNode *node, BlockSnapshot *snapshot, GError **error)
{
    Qcow2 *s = node->state;
    Qcow2Offline o;
    uint64_t bytes;
    if (s->data != node->file) {
        return error_set(error, "'%s': an image with an external data file has no snapshots",
                         node->filename);
    }
    g_autoptr(GPtrArray) list = read_list(s, &bytes, error);
    if (!list || !take_id(list, snapshot, error)) {
        return false;
    }
    if (list->len >= QCOW2_MAX_SNAPSHOTS) {
        return error_set(error, "'%s' has %u snapshots: no more are possible", node->filename,
                         list->len);
    }
    snapshot->disk_size = s->h.size;
    return qcow2_offline_begin(&o, s, error) &&
           qcow2_offline_end(&o, create(&o, list, bytes, snapshot, error), error);
}

/* ---- Applying ---- */

static bool apply(Qcow2Offline *o, const Qcow2Snapshot *snapshot, GError **error)
{
    uint64_t offset;
    uint32_t entries = snapshot->l1_size;
    g_autofree uint64_t *l1 = qcow2_offline_read(o, snapshot->l1_offset, entries, error);
    if (!l1 || !qcow2_offline_alloc(o, entries * 8ULL, &offset, error) ||
        !qcow2_offline_refer(o, l1, entries, 1, error)) {
        return false;
    }
    for (uint32_t i = 0; i < entries; i++) {
        l1[i] &= ~QCOW2_COPIED;
    }
    return qcow2_offline_write(o, offset, l1, entries, error) &&
           qcow2_offline_replace_l1(o, offset, entries, snapshot->about.disk_size, error);
}

bool qcow2_snapshot_apply(BlockNode *node, const char *id, GError **error)
{
    Qcow2 *s = node->state;
    Qcow2Offline o;
    uint64_t bytes;
    int index;
    g_autoptr(GPtrArray) list = read_list(s, &bytes, error);
    Qcow2Snapshot *snapshot = list ? find_usable(s, list, id, &index, error) : NULL;
    if (!snapshot || !qcow2_offline_begin(&o, s, error) ||
        !qcow2_offline_end(&o, apply(&o, snapshot, error), error)) {
        return false;
    }
    bitmaps_resize(node);
    bitmaps_mark_all(node);
    node_length_changed(node);
    return true;
}

/* ---- Deleting ---- */

static bool delete_one(Qcow2Offline *o, GPtrArray *list, uint64_t old_bytes, int index,
                       GError **error)
{
    Qcow2 *s = o->s;
    Qcow2Snapshot *gone = list->pdata[index];
    uint64_t offset, old_offset = s->h.snapshots_offset, l1_offset = gone->l1_offset;
    uint32_t entries = gone->l1_size;
    g_autofree uint64_t *l1 = qcow2_offline_read(o, l1_offset, entries, error);
    if (!l1) {
        return false;
    }
    g_ptr_array_remove_index(list, (guint)index);
    return write_list(o, list, &offset, error) && qcow2_offline_commit(o, error) &&
           qcow2_offline_show_snapshots(o, offset, list->len, error) &&
           qcow2_offline_refer(o, l1, entries, -1, error) &&
           qcow2_offline_drop(o, l1_offset, entries * 8ULL, error) &&
           qcow2_offline_drop(o, old_offset, old_bytes, error) && qcow2_offline_commit(o, error) &&
           qcow2_offline_flags(o, false, error);
}

bool qcow2_snapshot_delete(BlockNode *node, const char *id, GError **error)
{
    Qcow2 *s = node->state;
    Qcow2Offline o;
    uint64_t bytes;
    int index;
    g_autoptr(GPtrArray) list = read_list(s, &bytes, error);
    return list && find_usable(s, list, id, &index, error) && qcow2_offline_begin(&o, s, error) &&
           qcow2_offline_end(&o, delete_one(&o, list, bytes, index, error), error);
}

/* ---- Reading one ---- */

bool qcow2_snapshot_load(BlockNode *node, const char *id, GError **error)
{
    Qcow2 *s = node->state;
    uint64_t bytes;
    int index;
    if (!node->readonly) {
        return error_set(error, "'%s' is open for writing", node->filename);
    }
    g_autoptr(GPtrArray) list = read_list(s, &bytes, error);
    Qcow2Snapshot *snapshot = list ? find_usable(s, list, id, &index, error) : NULL;
    return snapshot && qcow2_show_tables(s, snapshot->l1_offset, snapshot->l1_size,
                                         snapshot->about.disk_size, error);
}
