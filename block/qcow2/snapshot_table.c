/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of internal snapshots: reading it from hostile bytes, writing it. */
#include "block/qcow2/snapshot_table.h"
#include "vmm/error.h"

#define FIXED     40 /* of an entry, before its extra data */
#define EXTRA     24 /* that are known: VM state size, disk size, instruction count */
#define MAX_EXTRA 1024

void qcow2_snapshot_free(Qcow2Snapshot *snapshot)
{
    g_free(snapshot->about.id);
    g_free(snapshot->about.name);
    g_free(snapshot->more);
    g_free(snapshot);
}

static void free_snapshot(void *snapshot)
{
    qcow2_snapshot_free(snapshot);
}

/* ---- Reading ---- */

typedef struct Reader {
    BlockNode *file;
    uint64_t at, end; /* of the file */
    const Qcow2Header *h;
} Reader;

static bool take(Reader *r, void *data, uint64_t bytes, GError **error)
{
    if (bytes > r->end - r->at) {
        return error_set(error, "the snapshot table does not end inside the file, or is larger "
                                "than 64 MiB");
    }
    int ret = node_pread(r->file, r->at, data, bytes);
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot read the snapshot table");
    }
    r->at += bytes;
    return true;
}

static void take_extra(const Reader *r, Qcow2Snapshot *s, const uint8_t *data, uint32_t bytes,
                       uint32_t vm_state_size)
{
    s->about.vm_state_size = bytes >= 8 ? load_be64(data) : vm_state_size;
    s->about.disk_size = bytes >= 16 ? load_be64(data + 8) : r->h->size;
    s->about.icount = bytes >= 24 ? load_be64(data + 16) : UINT64_MAX;
    if (bytes > EXTRA) {
        s->more_size = bytes - EXTRA;
        s->more = g_memdup2(data + EXTRA, s->more_size);
    }
}

static bool take_entry(Reader *r, Qcow2Snapshot *s, GError **error)
{
    uint8_t fixed[FIXED], extra[MAX_EXTRA];
    if (!take(r, fixed, FIXED, error)) {
        return false;
    }
    s->l1_offset = load_be64(fixed);
    s->l1_size = load_be32(fixed + 8);
    uint16_t id_size = load_be16(fixed + 12), name_size = load_be16(fixed + 14);
    s->about.date_seconds = load_be32(fixed + 16);
    s->about.date_ns = load_be32(fixed + 20);
    s->about.vm_clock_ns = load_be64(fixed + 24);
    uint32_t extra_size = load_be32(fixed + 36);
    if (extra_size > MAX_EXTRA) {
        return error_set(error, "a snapshot's extra data of %u bytes: at most %d", extra_size,
                         MAX_EXTRA);
    }
    if (!take(r, extra, extra_size, error)) {
        return false;
    }
    take_extra(r, s, extra, extra_size, load_be32(fixed + 32));
    s->about.id = g_malloc0(id_size + 1u);
    s->about.name = g_malloc0(name_size + 1u);
    return take(r, s->about.id, id_size, error) && take(r, s->about.name, name_size, error);
}

GPtrArray *qcow2_snapshots_read(BlockNode *file, const Qcow2Header *h, uint64_t *bytes,
                                GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(free_snapshot);
    uint64_t length = block_node_length(file), start = h->snapshots_offset;
    Reader r = { .file = file, .at = start, .h = h };
    r.end = MAX(start, MIN(length, start + QCOW2_MAX_SNAPSHOT_TABLE));
    *bytes = 0;
    for (uint32_t i = 0; i < h->nb_snapshots; i++) {
        Qcow2Snapshot *s = g_new0(Qcow2Snapshot, 1);
        g_ptr_array_add(list, s);
        if (!take_entry(&r, s, error)) {
            g_prefix_error(error, "snapshot %u of %u: ", i + 1, h->nb_snapshots);
            return NULL;
        }
        *bytes = r.at - start;
        r.at = MIN(start + ALIGN_UP(*bytes, 8), r.end);
    }
    return g_steal_pointer(&list);
}

/* ---- Writing ---- */

GByteArray *qcow2_snapshots_write(const GPtrArray *snapshots)
{
    static const uint8_t padding[8] = { 0 };
    GByteArray *out = g_byte_array_new();
    for (guint i = 0; i < snapshots->len; i++) {
        const Qcow2Snapshot *s = snapshots->pdata[i];
        uint8_t fixed[FIXED + EXTRA] = { 0 };
        size_t id = strlen(s->about.id), name = strlen(s->about.name);
        bool large = s->about.vm_state_size > UINT32_MAX;
        store_be64(fixed, s->l1_offset);
        store_be32(fixed + 8, s->l1_size);
        store_be16(fixed + 12, (uint16_t)id);
        store_be16(fixed + 14, (uint16_t)name);
        store_be32(fixed + 16, (uint32_t)s->about.date_seconds);
        store_be32(fixed + 20, s->about.date_ns);
        store_be64(fixed + 24, s->about.vm_clock_ns);
        store_be32(fixed + 32, large ? 0 : (uint32_t)s->about.vm_state_size);
        store_be32(fixed + 36, EXTRA + s->more_size);
        store_be64(fixed + FIXED, s->about.vm_state_size);
        store_be64(fixed + FIXED + 8, s->about.disk_size);
        store_be64(fixed + FIXED + 16, s->about.icount);
        g_byte_array_append(out, padding, -out->len & 7);
        g_byte_array_append(out, fixed, sizeof(fixed));
        if (s->more_size) {
            g_byte_array_append(out, s->more, s->more_size);
        }
        g_byte_array_append(out, (const uint8_t *)s->about.id, (guint)id);
        g_byte_array_append(out, (const uint8_t *)s->about.name, (guint)name);
    }
    return out;
}
