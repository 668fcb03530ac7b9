/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where guest bytes are: what L2 entries in memory say. Nothing here waits or changes a table. */
#include "block/qcow2/qcow2.h"

typedef struct Entry {
    Qcow2Kind kind;
    bool copied;
    uint64_t host;
} Entry;

static bool entry_is_sane(Qcow2 *s, uint64_t cluster, uint64_t entry, int *error)
{
    uint64_t host = entry & QCOW2_L2_OFFSET;
    if (G_LIKELY(!(host & (s->cluster_size - 1)))) {
        return true;
    }
    qcow2_mark_corrupt(s,
                       "data cluster offset 0x%" G_GINT64_MODIFIER
                       "x of guest cluster %" G_GUINT64_FORMAT " is not a cluster's",
                       host, cluster);
    *error = -EIO;
    return false;
}

static Entry decode(Qcow2 *s, const Qcow2Slice *slice, uint32_t index, unsigned sub)
{
    uint64_t bits = s->subclusters ? qcow2_bitmap(s, slice, index) : 0;
    uint64_t entry = qcow2_entry(s, slice, index), host = entry & QCOW2_L2_OFFSET;
    Entry e = { .copied = entry & QCOW2_COPIED, .host = host };
    if (entry & QCOW2_COMPRESSED) {
        e.kind = QCOW2_KIND_COMPRESSED;
        e.host = entry;
        e.copied = false;
    } else if (s->subclusters) {
        bool allocated = bits >> sub & 1, zero = bits >> (sub + 32) & 1;
        e.kind = zero        ? (host ? QCOW2_KIND_ZERO_ALLOC : QCOW2_KIND_ZERO)
                 : allocated ? QCOW2_KIND_DATA
                             : QCOW2_KIND_UNALLOCATED;
        if (e.kind == QCOW2_KIND_DATA && !host && !(entry & QCOW2_COPIED)) {
            e.kind = QCOW2_KIND_UNALLOCATED; /* in the middle of a change */
        }
    } else if (entry & QCOW2_ZERO && s->h.version >= 3) {
        e.kind = host || (s->data != s->node->file && e.copied) ? QCOW2_KIND_ZERO_ALLOC
                                                                : QCOW2_KIND_ZERO;
    } else {
        /* offset 0 of an external data file is as good as any other */
        e.kind = host || (s->data != s->node->file && e.copied) ? QCOW2_KIND_DATA
                                                                : QCOW2_KIND_UNALLOCATED;
    }
    return e;
}

bool qcow2_map(Qcow2 *s, uint64_t offset, uint64_t bytes, Qcow2Extent *extent, int *error)
{
    uint64_t cluster = offset >> s->cluster_bits;
    uint64_t table = atomic_load_explicit(&s->l1[qcow2_l1_index(s, cluster)], memory_order_acquire);
    *error = 0;
    if (!(table & QCOW2_L1_OFFSET)) {
        uint64_t span = (uint64_t)s->slice_entries << s->cluster_bits;
        *extent = (Qcow2Extent){ .kind = QCOW2_KIND_UNALLOCATED,
                                 .bytes = MIN(bytes, span - (offset & (span - 1))) };
        return true;
    }
    Qcow2Slice *slice = qcow2_slice_find(s, cluster);
    if (!slice) {
        return false;
    }
    uint32_t index = qcow2_entry_index(s, cluster);
    uint32_t unit = s->subcluster_size;
    uint64_t in_cluster = offset & (s->cluster_size - 1), done = unit - (offset & (unit - 1));
    unsigned sub = (unsigned)(in_cluster / unit), subs = (unsigned)(s->cluster_size / unit);
    Entry first = decode(s, slice, index, sub);
    if (first.kind != QCOW2_KIND_COMPRESSED &&
        !entry_is_sane(s, cluster, qcow2_entry(s, slice, index), error)) {
        return true;
    }
    *extent = (Qcow2Extent){ .kind = first.kind,
                             .copied = first.copied,
                             .host = first.kind == QCOW2_KIND_COMPRESSED
                                         ? first.host
                                         : first.host + in_cluster };
    bool linear = first.kind == QCOW2_KIND_DATA || first.kind == QCOW2_KIND_ZERO_ALLOC;
    uint64_t expected = first.host;
    if (first.kind == QCOW2_KIND_COMPRESSED) {
        extent->bytes = MIN(bytes, s->cluster_size - in_cluster);
        return true;
    }
    while (done < bytes) {
        if (++sub == subs) {
            sub = 0;
            index++;
            expected += s->cluster_size;
            if (index == s->slice_entries) {
                break;
            }
        }
        Entry next = decode(s, slice, index, sub);
        if (next.kind != first.kind || next.copied != first.copied ||
            (linear && next.host != expected)) {
            break;
        }
        done += unit;
    }
    extent->bytes = MIN(bytes, done);
    return true;
}

bool qcow2_reads_zero(Qcow2 *s, uint64_t offset, uint64_t bytes)
{
    BlockNode *backing = s->node->backing;
    while (bytes) {
        Qcow2Extent e;
        int error;
        if (!qcow2_map(s, offset, bytes, &e, &error) || error) {
            return false;
        }
        bool behind = backing ? offset >= block_node_length(backing) : !s->h.backing_file;
        if (e.kind != QCOW2_KIND_ZERO && e.kind != QCOW2_KIND_ZERO_ALLOC &&
            !(e.kind == QCOW2_KIND_UNALLOCATED && behind)) {
            return false;
        }
        offset += e.bytes;
        bytes -= e.bytes;
    }
    return true;
}
