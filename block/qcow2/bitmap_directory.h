/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory of an image's persistent bitmaps, read from hostile bytes. Section "Bitmaps". */
#ifndef BLOCK_QCOW2_BITMAP_DIRECTORY_H
#define BLOCK_QCOW2_BITMAP_DIRECTORY_H

#include "block/internal.h"
#include "block/qcow2/format.h"

enum { QCOW2_BITMAP_IN_USE = 1 << 0, QCOW2_BITMAP_AUTO = 1 << 1 };

#define QCOW2_BITMAP_ENTRY_OFFSET   0x00fffffffffffe00ULL
#define QCOW2_BITMAP_ENTRY_RESERVED 0xff000000000001feULL

typedef struct Qcow2BitmapEntry {
    uint64_t table_offset;
    uint32_t table_size; /* entries */
    uint32_t flags;
    uint8_t type, granularity_bits;
    uint16_t name_size;
    uint32_t extra_size;  /* bytes that belong to other versions of the format */
    uint64_t flags_place; /* of the flags, in the directory */
    const char *name;     /* without an end */
} Qcow2BitmapEntry;

/* Calls `fn` for each entry of h's directory; blocking. */
bool qcow2_bitmaps_foreach(BlockNode *file, const Qcow2Header *h,
                           void (*fn)(const Qcow2BitmapEntry *entry, void *opaque), void *opaque,
                           GError **error);

#endif
