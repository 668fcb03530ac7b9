/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps: which parts of a node were written to since somebody began to ask. A write sets
 * its bits when it is submitted, by an atomic OR for each word that does not have them yet; no lock
 * is taken. What changes which bitmaps there are, or takes bits away, is done by the main thread
 * inside a graph change, when no request is under way.
 *
 * A bitmap that is persistent is kept by the image: read when it is opened, written when it is
 * closed. One that was being used when its writer died is inconsistent: it can only be removed.
 * While a backup copies what a bitmap says, writes go to the bitmap's successor.
 */
#ifndef BLOCK_BITMAP_H
#define BLOCK_BITMAP_H

#include "block/internal.h"

#define BITMAP_NAME_MAX      1023
#define BITMAP_MEMORY        (512ULL << 20) /* bytes of all bitmaps of a node together */
#define BITMAP_MAX_GRAN_BITS 31

typedef struct BlockBitmap {
    BlockNode *node;
    char *name; /* NULL: of no use to users */
    unsigned granularity_bits;
    uint64_t length; /* of the disk, bytes */
    uint64_t bits;
    _Atomic uint64_t *words;
    _Atomic uint64_t count; /* bits that are set */
    bool enabled;           /* records writes */
    bool persistent, inconsistent;
    unsigned busy;                 /* users that need it as it is */
    bool gone;                     /* the last of them frees it */
    struct BlockBitmap *successor; /* records in its place; NULL: it does so itself */
} BlockBitmap;

/* ---- Any thread ---- */
/* The range was, or is about to be, written to. */
void bitmap_mark(BlockBitmap *bitmap, uint64_t offset, uint64_t bytes);
/* The first of the bits [from, to) that is set (or is not); none: `to`, or bitmap->bits where that
 * is less. */
uint64_t bitmap_next(BlockBitmap *bitmap, uint64_t from, uint64_t to, bool set);
static inline uint64_t bitmap_count(BlockBitmap *bitmap)
{
    return atomic_load(&bitmap->count);
}

/* ---- Main thread ---- */
BlockBitmap *bitmap_find(BlockNode *node, const char *name);
/* Empty, enabled, of the node's. granularity: bytes, 0: chosen. Users' checks are made, with QEMU's
 * messages. The caller of this and the next has a graph change open, or the node to itself. */
BlockBitmap *bitmap_new(BlockNode *node, const char *name, uint64_t granularity, GError **error);
void bitmap_free(BlockBitmap *bitmap);
/* Out of the node's list, and in again. */
void bitmap_hide(BlockBitmap *bitmap);
void bitmap_show(BlockBitmap *bitmap);
void bitmap_set_enabled(BlockBitmap *bitmap, bool enabled);
uint64_t bitmap_default_granularity(BlockNode *node);

/* Sets the bits of word `index`, as an image has them; those behind the end are left out. */
void bitmap_load_word(BlockBitmap *bitmap, uint64_t index, uint64_t word);

/* What a user wants to do with it is possible: it is not busy, and (else: `allow` says so) can be
 * changed, and has contents. */
enum { BITMAP_ALLOW_READONLY = 1, BITMAP_ALLOW_INCONSISTENT = 2 };
bool bitmap_check(const BlockBitmap *bitmap, unsigned allow, GError **error);
static inline bool bitmap_readonly(const BlockBitmap *bitmap)
{
    return bitmap->persistent && bitmap->node->readonly;
}

/* Contents. Inside a graph change. */
typedef struct BitmapContents {
    _Atomic uint64_t *words;
    uint64_t count;
} BitmapContents;
/* Empties it, and gives back what it had: to be put back, or cleared. */
bool bitmap_take(BlockBitmap *bitmap, BitmapContents *contents, GError **error);
void bitmap_put_back(BlockBitmap *bitmap, BitmapContents *contents);
void bitmap_contents_clear(BitmapContents *contents);
/* A copy of what it has. */
bool bitmap_copy(BlockBitmap *bitmap, BitmapContents *contents, GError **error);
/* Adds what `from` has, whatever its granularity; both are of disks of the same size. */
void bitmap_merge(BlockBitmap *to, BlockBitmap *from);

/* From here on writes go to a successor, and the bitmap stays as it is; it is busy. */
bool bitmap_freeze(BlockBitmap *bitmap, GError **error);
/* The end of that: forget: what it had then is done with, only the successor's writes stay. The
 * bitmap may be gone then. */
void bitmap_thaw(BlockBitmap *bitmap, bool forget);

/* ---- The node's, as a whole: main thread ---- */
void bitmaps_free(BlockNode *node);
/* Whether the node may get another size; says which bitmap does not. */
bool bitmaps_check_resize(BlockNode *node, GError **error);
/* The node has another size: no request is under way. */
void bitmaps_resize(BlockNode *node);
/* The node has other contents altogether. */
void bitmaps_mark_all(BlockNode *node);
/* QEMU's BlockDirtyInfo of each; NULL: there are none. */
json_object *bitmaps_describe(BlockNode *node);

#endif
