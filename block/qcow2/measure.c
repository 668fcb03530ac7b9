/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How large a file an image needs: an upper bound, with all tables that a full image has. */
#include "block/qcow2/bitmap_directory.h"
#include "block/qcow2/layout.h"
#include "block/qcow2/qcow2.h"
#include "vmm/error.h"

static uint64_t fully_allocated(const Qcow2Header *h, uint64_t size)
{
    uint64_t cluster = qcow2_cluster_size(h), blocks, table;
    uint64_t data = ALIGN_UP(size, cluster) / cluster;
    uint64_t l2 = ALIGN_UP(data, 1ULL << qcow2_l2_bits(h)) >> qcow2_l2_bits(h);
    uint64_t l1 = ALIGN_UP(l2 * 8, cluster) / cluster;
    return qcow2_refcount_structures(h, 1 + l2 + l1 + data, &blocks, &table) << h->cluster_bits;
}

/* Bytes in clusters of the new image that the old one has data for. */
static bool count_data(BlockNode *in, uint64_t cluster, uint64_t *sum, GError **error)
{
    uint64_t length = block_node_length(in), offset = 0;
    *sum = 0;
    while (offset < length) {
        BlockStatus status;
        int ret = block_status_above(in, NULL, offset, length - offset, &status, NULL);
        if (ret < 0 || !status.bytes) {
            return error_set_errno(error, ret ? -ret : EIO,
                                   "cannot find out where the source has data");
        }
        uint64_t end = offset + status.bytes;
        if (!(status.flags & BLOCK_STATUS_ZERO) && (status.flags & BLOCK_STATUS_DATA)) {
            end = ALIGN_UP(end, cluster);
            *sum += offset % cluster + (end - offset);
        }
        offset = end;
    }
    return true;
}

typedef struct BitmapSizes {
    uint64_t cluster, disk; /* of the new image */
    uint64_t bytes, directory;
} BitmapSizes;

static void add_bitmap(const Qcow2BitmapEntry *entry, void *opaque)
{
    BitmapSizes *sizes = opaque;
    if (entry->flags & QCOW2_BITMAP_IN_USE) {
        return; /* its content is lost: not copied */
    }
    uint64_t granularity = 1ULL << entry->granularity_bits;
    uint64_t bits = sizes->disk / granularity + (sizes->disk % granularity != 0);
    uint64_t clusters = ALIGN_UP(ALIGN_UP(bits, 8) / 8, sizes->cluster) / sizes->cluster;
    sizes->bytes += clusters * sizes->cluster + ALIGN_UP(clusters * 8, sizes->cluster);
    sizes->directory += ALIGN_UP(24 + entry->name_size, 8);
}

static bool measure_bitmaps(BlockNode *in, const Qcow2Header *new, uint64_t *bytes, GError **error)
{
    const Qcow2Header *old = &((Qcow2 *)in->state)->h;
    BitmapSizes sizes = { .cluster = qcow2_cluster_size(new), .disk = block_node_length(in) };
    *bytes = 0;
    if (old->has_bitmaps) {
        if (!qcow2_bitmaps_foreach(in->file, old, add_bitmap, &sizes, error)) {
            return false;
        }
        *bytes = sizes.bytes + ALIGN_UP(sizes.directory, sizes.cluster);
    }
    return true;
}

static bool measure(const Qcow2Header *h, Qcow2Preallocation mode, BlockNode *in,
                    BlockMeasure *result, GError **error)
{
    uint64_t cluster = qcow2_cluster_size(h), size = ALIGN_UP(h->size, cluster), required = 0;
    if (h->size > INT64_MAX || qcow2_l1_entries(h, size) > QCOW2_MAX_L1_BYTES / 8) {
        return error_set(error, "clusters of this size cannot hold so large a disk: the L1 table "
                                "would be over 32 MiB; use larger ones (cluster_size)");
    }
    if (in && !h->backing_file && !count_data(in, cluster, &required, error)) {
        return false;
    }
    if ((in && h->backing_file) || mode >= QCOW2_PREALLOCATION_FALLOC) {
        required = size; /* what the backing file holds is not known */
    }
    result->fully_allocated = fully_allocated(h, size) + ALIGN_UP(h->crypto_length, cluster);
    result->required = result->fully_allocated - size + required;
    result->bitmaps = UINT64_MAX;
    if (!in || h->version < 3 || strcmp(in->driver->name, "qcow2") != 0 ||
        ((Qcow2 *)in->state)->h.version < 3) {
        return true;
    }
    return measure_bitmaps(in, h, &result->bitmaps, error);
}

bool qcow2_measure(Opts *options, BlockNode *in, BlockMeasure *result, GError **error)
{
    Qcow2Header h;
    Qcow2Preallocation mode;
    Qcow2EncryptOptions encrypt;
    uint64_t size = 0;
    if (!opts_get_size(options, "size", &size, error) ||
        !qcow2_header_from_options(&h, options, &mode, &encrypt, error)) {
        return false;
    }
    h.size = in ? block_node_length(in) : size;
    bool ok = measure(&h, mode, in, result, error);
    g_free(encrypt.key_secret);
    qcow2_header_clear(&h);
    return ok;
}
