/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the directory of persistent bitmaps. */
#include "block/qcow2/bitmap_directory.h"
#include "vmm/error.h"

#define FIXED 24

static bool parse_entry(const uint8_t *data, uint64_t left, Qcow2BitmapEntry *entry,
                        uint64_t *length)
{
    if (left < FIXED) {
        return false;
    }
    *entry = (Qcow2BitmapEntry){
        .table_offset = load_be64(data),
        .table_size = load_be32(data + 8),
        .flags = load_be32(data + 12),
        .type = data[16],
        .granularity_bits = data[17],
        .name_size = load_be16(data + 18),
    };
    uint64_t extra = load_be32(data + 20);
    entry->extra_size = (uint32_t)extra;
    *length = ALIGN_UP(FIXED + extra + entry->name_size, 8);
    entry->name = (const char *)data + FIXED + extra;
    return *length <= left && entry->granularity_bits >= 9 && entry->granularity_bits <= 31;
}

bool qcow2_bitmaps_foreach(BlockNode *file, const Qcow2Header *h,
                           void (*fn)(const Qcow2BitmapEntry *entry, void *opaque), void *opaque,
                           GError **error)
{
    uint64_t size = h->bitmap_directory_size, at = 0;
    if (!range_inside(h->bitmap_directory_offset, size, block_node_length(file)) ||
        size > 64 * MIB) {
        return error_set(error, "the bitmap directory is not inside the file");
    }
    g_autofree uint8_t *data = g_malloc(size + 1);
    int ret = node_pread(file, h->bitmap_directory_offset, data, size);
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot read the bitmap directory");
    }
    for (uint32_t i = 0; i < h->nb_bitmaps; i++) {
        Qcow2BitmapEntry entry;
        uint64_t length;
        if (!parse_entry(data + at, size - at, &entry, &length)) {
            return error_set(error, "bitmap directory: entry %u makes no sense", i);
        }
        entry.flags_place = at + 12;
        fn(&entry, opaque);
        at += length;
    }
    return true;
}
