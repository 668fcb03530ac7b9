/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clusters given out beforehand, for the part that a resize added. Nobody works on the image
 * meanwhile. A run of clusters is counted, its space in the file is made and reads as zeroes, and
 * then its entries are set; commits bring all that to the disk in the order of every write, so that
 * a crash leaves leaked clusters at most.
 */
#include "block/qcow2/layout.h"
#include "block/qcow2/qcow2.h"
#include "vmm/error.h"

#define MOST_DIRTY_SLICES 4096 /* between two commits */

typedef struct Preallocation {
    Qcow2 *s;
    Qcow2Preallocation mode;
    uint64_t from; /* bytes: what lies before keeps its content */
} Preallocation;

/* Clusters side by side that have no place yet. */
typedef struct Run {
    uint64_t first, count, host;
    bool fresh; /* the place reads as zeroes */
    Qcow2Slice *slice;
} Run;

static bool failed(const Qcow2 *s, int ret, GError **error)
{
    return error_set_errno(error, -ret, "'%s': cannot preallocate", s->node->filename);
}

/* ---- Which clusters ---- */

/* Whether the cluster gets a place. Lock held; its entry is in memory. */
static bool is_wanted(const Preallocation *p, uint64_t cluster, int *error)
{
    Qcow2 *s = p->s;
    Qcow2Extent e;
    uint64_t start = cluster << s->cluster_bits;
    bool partly_old = start < p->from;
    qcow2_map(s, start, 1, &e, error);
    if (*error) {
        return false;
    }
    if (s->subclusters) { /* their bitmap stays as it is */
        return e.kind == QCOW2_KIND_UNALLOCATED || e.kind == QCOW2_KIND_ZERO;
    }
    /* A backing file may show in the last cluster of before. */
    return e.kind == QCOW2_KIND_ZERO ||
           (e.kind == QCOW2_KIND_UNALLOCATED && !(partly_old && s->h.backing_file));
}

/* The entry of a cluster with subclusters says of the whole whether it has a place. Lock held. */
static bool has_place(const Qcow2 *s, const Qcow2Slice *slice, uint64_t cluster)
{
    uint64_t entry = qcow2_entry(s, slice, qcow2_entry_index(s, cluster));
    bool apart = s->data != s->node->file; /* offset 0 is as good as any other */
    return entry & (QCOW2_L2_OFFSET | QCOW2_COMPRESSED) || (apart && entry & QCOW2_COPIED);
}

/* Clusters from r->first on that want a place, up to end and to that of the slice; 0: the next one
 * does not. Lock held. */
static uint64_t count_wanted(const Preallocation *p, const Run *r, uint64_t end, int *error)
{
    const Qcow2 *s = p->s;
    uint64_t room = s->slice_entries - qcow2_entry_index(s, r->first), n = 0;
    while (n < room && r->first + n < end && !has_place(s, r->slice, r->first + n) &&
           is_wanted(p, r->first + n, error)) {
        n++;
    }
    return n;
}

/* ---- A run ---- */

/* Counts the clusters and holds the slice. Lock held. */
static int take_clusters(Preallocation *p, Run *r)
{
    Qcow2 *s = p->s;
    int error = 0;
    r->fresh = false;
    if (s->data != s->node->file) {
        r->host = r->first << s->cluster_bits;
    } else if (qcow2_alloc_clusters(s, r->count, 1, &r->host, &r->count, &r->fresh, NULL, &error) !=
               QCOW2_READY) {
        return error ? error : -EIO;
    }
    r->slice->pins++;
    return 0;
}

/* No entry stands for what lies behind the end of the file. */
static int reach(Qcow2 *s, uint64_t end)
{
    static const uint8_t sector[512];
    int ret = s->data == s->node->file
                  ? node_pwrite(s->data, end - sizeof(sector), sector, sizeof(sector))
                  : 0;
    if (end > block_node_length(s->data)) {
        node_refresh_length(s->data);
    }
    return ret;
}

/* Where the run's zeroes begin: what a raw file says of the part before is the disk's. */
static uint64_t zeroes_from(const Preallocation *p, const Run *r)
{
    const Qcow2 *s = p->s;
    bool raw = s->data != s->node->file && s->h.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
    return raw ? MAX(r->host, p->from) : r->host;
}

/* Space for the run, which reads as zeroes. */
static bool make_space(Preallocation *p, const Run *r, GError **error)
{
    Qcow2 *s = p->s;
    uint64_t from = zeroes_from(p, r), end = r->host + (r->count << s->cluster_bits);
    bool wanted = p->mode >= QCOW2_PREALLOCATION_FALLOC, is_file = s->data->driver == &file_driver;
    if (s->data != s->node->file) { /* it ends where the disk does */
        end = MIN(end, s->h.size);
    }
    int ret = reach(s, end);
    if (ret == 0 && (!r->fresh || (wanted && !is_file))) {
        ret = block_pwrite_zeroes(s->data, from, end - from, wanted ? 0 : BLOCK_REQ_UNMAP);
    }
    if (ret < 0) {
        return failed(s, ret, error);
    }
    bool full = p->mode == QCOW2_PREALLOCATION_FULL;
    return !wanted || !is_file || file_preallocate(s->data, from, end - from, full, error);
}

/* Lock held. */
static void set_entries(Preallocation *p, const Run *r)
{
    Qcow2 *s = p->s;
    for (uint64_t i = 0; i < r->count; i++) {
        uint32_t index = qcow2_entry_index(s, r->first + i);
        uint64_t bitmap = 0;
        uint64_t entry = (r->host + (i << s->cluster_bits)) | QCOW2_COPIED;
        if (s->subclusters) {
            bitmap = qcow2_bitmap(s, r->slice, index); /* it says what reads as zeroes */
        } else if (s->h.crypt_method) {                /* the cluster's bytes would be deciphered */
            entry |= QCOW2_ZERO;
        } else if (s->h.backing_file) {
            entry |= qcow2_entry(s, r->slice, index) & QCOW2_ZERO;
        }
        qcow2_entry_set(s, r->slice, index, entry, bitmap);
    }
}

static bool fill_run(Preallocation *p, Run *r, GError **error)
{
    Qcow2 *s = p->s;
    bool ok = make_space(p, r, error);
    g_mutex_lock(&s->lock);
    r->slice->pins--;
    if (ok) {
        set_entries(p, r);
    } else if (s->data == s->node->file) {
        qcow2_unalloc(s, r->host, r->count);
    }
    g_mutex_unlock(&s->lock);
    return ok;
}

/* Finds and counts the next run; r->count 0: r->first needs none. */
static int find_run(Preallocation *p, Run *r, uint64_t end)
{
    Qcow2 *s = p->s;
    int error = 0;
    g_mutex_lock(&s->lock);
    Qcow2Need need = qcow2_table_need(s, r->first, NULL, &error);
    if (need == QCOW2_READY) {
        need = qcow2_slice_need(s, r->first, &r->slice, NULL, &error);
    }
    if (need == QCOW2_READY) {
        r->count = count_wanted(p, r, end, &error);
    }
    if (need == QCOW2_READY && !error && r->count) {
        error = take_clusters(p, r);
    }
    g_mutex_unlock(&s->lock);
    return need == QCOW2_READY || error ? error : -EIO;
}

/* ---- The whole ---- */

static bool fill(Preallocation *p, uint64_t end, GError **error)
{
    Qcow2 *s = p->s;
    Run r = { .first = p->from >> s->cluster_bits };
    while (r.first < end) {
        int ret = find_run(p, &r, end);
        if (ret < 0) {
            return failed(s, ret, error);
        }
        if (r.count && !fill_run(p, &r, error)) {
            return false;
        }
        r.first += MAX(r.count, 1);
        if (s->dirty_slices > MOST_DIRTY_SLICES && !qcow2_flush_all(s, error)) {
            return false;
        }
    }
    return true;
}

static bool check_image(const Qcow2 *s, GError **error)
{
    if (s->node->readonly || atomic_load(&s->corrupt)) {
        return error_set(error, "'%s' cannot be written", s->node->filename);
    }
    if (s->h.crypt_method && s->h.version < 3) {
        return error_set(error, "'%s': preallocation of an encrypted image needs compat=1.1",
                         s->node->filename);
    }
    return true;
}

bool qcow2_preallocate(BlockNode *node, uint64_t offset, uint64_t bytes, const char *mode,
                       GError **error)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full", NULL };
    Qcow2 *s = node->state;
    Preallocation p = { .s = s, .from = offset };
    uint64_t end = (offset + bytes + s->cluster_size - 1) >> s->cluster_bits;
    while (modes[p.mode] && strcmp(modes[p.mode], mode) != 0) {
        p.mode++;
    }
    if (!modes[p.mode]) {
        return error_set(error, "preallocation=%s: off, metadata, falloc or full", mode);
    }
    if (!p.mode || !bytes) {
        return true;
    }
    bool ok = check_image(s, error) && qcow2_flush_all(s, error) && fill(&p, end, error);
    return qcow2_flush_all(s, ok ? error : NULL) && ok;
}
