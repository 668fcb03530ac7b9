/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps in memory. */
#include "block/bitmap.h"

#include "vmm/error.h"
#include "vmm/monitor/commands.h"
#include "vmm/util/bytes.h"

/* ---- Bits ---- */

static uint64_t bits_of(uint64_t length, unsigned granularity_bits)
{
    return (length >> granularity_bits) + ((length & ((1ULL << granularity_bits) - 1)) != 0);
}

static uint64_t words_of(uint64_t bits)
{
    return bits / 64 + 1;
}

/* Zeroed; large ones are pages that the kernel makes when they are touched. */
static _Atomic uint64_t *new_words(uint64_t bits, GError **error)
{
    void *words = g_try_malloc0(words_of(bits) * 8);
    if (!words) {
        error_set(error, "not enough memory for a bitmap of %" G_GUINT64_FORMAT " bits", bits);
    }
    return words;
}

static void mark_word(BlockBitmap *bitmap, uint64_t word, uint64_t mask)
{
    uint64_t old = atomic_load_explicit(&bitmap->words[word], memory_order_relaxed);
    if ((old & mask) != mask) {
        old = atomic_fetch_or(&bitmap->words[word], mask);
        atomic_fetch_add(&bitmap->count, (uint64_t)__builtin_popcountll(mask & ~old));
    }
}

/* Bits first to last. */
static void mark_bits(BlockBitmap *bitmap, uint64_t first, uint64_t last)
{
    for (uint64_t word = first / 64; word <= last / 64; word++) {
        uint64_t mask = UINT64_MAX;
        if (word == first / 64) {
            mask &= UINT64_MAX << (first & 63);
        }
        if (word == last / 64) {
            mask &= UINT64_MAX >> (63 - (last & 63));
        }
        mark_word(bitmap, word, mask);
    }
}

void bitmap_mark(BlockBitmap *bitmap, uint64_t offset, uint64_t bytes)
{
    if (bytes && offset < bitmap->length) {
        uint64_t end = offset + MIN(bytes, bitmap->length - offset);
        mark_bits(bitmap, offset >> bitmap->granularity_bits,
                  (end - 1) >> bitmap->granularity_bits);
    }
}

void bitmap_load_word(BlockBitmap *bitmap, uint64_t index, uint64_t word)
{
    if (word && index * 64 < bitmap->bits) {
        uint64_t left = bitmap->bits - index * 64;
        mark_word(bitmap, index, left < 64 ? word & ((1ULL << left) - 1) : word);
    }
}

void node_record_write(BlockNode *node, uint64_t offset, uint64_t bytes)
{
    for (BlockBitmap **p = node->recording; *p; p++) {
        bitmap_mark(*p, offset, bytes);
    }
}

uint64_t bitmap_next(BlockBitmap *bitmap, uint64_t from, uint64_t to, bool set)
{
    uint64_t flip = set ? 0 : UINT64_MAX;
    to = MIN(to, bitmap->bits);
    for (uint64_t at = from; at < to; at = (at | 63) + 1) {
        uint64_t word =
            (atomic_load_explicit(&bitmap->words[at / 64], memory_order_relaxed) ^ flip) &
            (UINT64_MAX << (at & 63));
        if (word) {
            return MIN((at & ~63ULL) + (unsigned)__builtin_ctzll(word), to);
        }
    }
    return to;
}

/* ---- Which ones record ---- */

/* No request is under way. */
static void update_recording(BlockNode *node)
{
    guint count = node->bitmaps ? node->bitmaps->len : 0, used = 0;
    BlockBitmap **list = g_new0(BlockBitmap *, count + 1);
    for (guint i = 0; i < count; i++) {
        BlockBitmap *bitmap = node->bitmaps->pdata[i];
        BlockBitmap *writer = bitmap->successor ? bitmap->successor : bitmap;
        if (writer->enabled && !bitmap->inconsistent) {
            list[used++] = writer;
        }
    }
    g_free(node->recording);
    node->recording = used ? list : NULL;
    if (!used) {
        g_free(list);
    }
}

void bitmap_set_enabled(BlockBitmap *bitmap, bool enabled)
{
    bitmap->enabled = enabled;
    update_recording(bitmap->node);
}

/* ---- Making and finding ---- */

BlockBitmap *bitmap_find(BlockNode *node, const char *name)
{
    for (guint i = 0; node->bitmaps && i < node->bitmaps->len; i++) {
        BlockBitmap *bitmap = node->bitmaps->pdata[i];
        if (!strcmp(bitmap->name, name)) {
            return bitmap;
        }
    }
    return NULL;
}

uint64_t bitmap_default_granularity(BlockNode *node)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    BlockImageInfo info = { 0 };
    if (ops && ops->info) {
        ops->info(node, &info);
        json_object_put(info.specific);
    }
    return info.cluster_size ? CLAMP(info.cluster_size, 4096, 65536) : 65536;
}

static uint64_t memory_of(BlockNode *node)
{
    uint64_t sum = 0;
    for (guint i = 0; node->bitmaps && i < node->bitmaps->len; i++) {
        const BlockBitmap *bitmap = node->bitmaps->pdata[i];
        sum += words_of(bitmap->bits) * 8;
    }
    return sum;
}

static BlockBitmap *make(BlockNode *node, const char *name, unsigned granularity_bits,
                         GError **error)
{
    uint64_t length = block_node_length(node), bits = bits_of(length, granularity_bits);
    _Atomic uint64_t *words = new_words(bits, error);
    if (!words) {
        return NULL;
    }
    BlockBitmap *bitmap = g_new0(BlockBitmap, 1);
    bitmap->node = node;
    bitmap->name = g_strdup(name);
    bitmap->granularity_bits = granularity_bits;
    bitmap->length = length;
    bitmap->bits = bits;
    bitmap->words = words;
    bitmap->enabled = true;
    return bitmap;
}

static void destroy(BlockBitmap *bitmap)
{
    if (bitmap->successor) {
        destroy(bitmap->successor);
    }
    g_free((void *)bitmap->words);
    g_free(bitmap->name);
    g_free(bitmap);
}

static bool check_new(BlockNode *node, const char *name, uint64_t granularity, GError **error)
{
    if (!*name) {
        return error_set(error, "a bitmap needs a name that is not empty");
    }
    if (granularity < 512 || granularity & (granularity - 1)) {
        return error_set(error, "a bitmap's granularity is a power of two, 512 bytes or more");
    }
    if (bitmap_find(node, name)) {
        return error_set(error, "the node has a bitmap of this name already: %s", name);
    }
    if (strlen(name) > BITMAP_NAME_MAX) {
        return error_set(error, "the bitmap's name is longer than 1023 bytes: %s", name);
    }
    uint64_t bytes = words_of(bits_of(block_node_length(node), __builtin_ctzll(granularity))) * 8;
    return bytes + memory_of(node) <= BITMAP_MEMORY ||
           error_set(error,
                     "Bitmap '%s' of granularity %" G_GUINT64_FORMAT " needs %" G_GUINT64_FORMAT
                     " MiB: those of a node may have %" G_GUINT64_FORMAT " MiB together",
                     name, granularity, bytes >> 20, (uint64_t)BITMAP_MEMORY >> 20);
}

BlockBitmap *bitmap_new(BlockNode *node, const char *name, uint64_t granularity, GError **error)
{
    granularity = granularity ? granularity : bitmap_default_granularity(node);
    BlockBitmap *bitmap = check_new(node, name, granularity, error)
                              ? make(node, name, (unsigned)__builtin_ctzll(granularity), error)
                              : NULL;
    if (bitmap) {
        bitmap_show(bitmap);
    }
    return bitmap;
}

void bitmap_hide(BlockBitmap *bitmap)
{
    g_ptr_array_remove(bitmap->node->bitmaps, bitmap);
    update_recording(bitmap->node);
}

void bitmap_show(BlockBitmap *bitmap)
{
    if (!bitmap->node->bitmaps) {
        bitmap->node->bitmaps = g_ptr_array_new();
    }
    g_ptr_array_add(bitmap->node->bitmaps, bitmap);
    update_recording(bitmap->node);
}

void bitmap_free(BlockBitmap *bitmap)
{
    if (bitmap_find(bitmap->node, bitmap->name) == bitmap) {
        bitmap_hide(bitmap);
    }
    bitmap->gone = true;
    if (!bitmap->busy) { /* else whoever uses it does so */
        destroy(bitmap);
    }
}

void bitmaps_free(BlockNode *node)
{
    for (guint i = 0; node->bitmaps && i < node->bitmaps->len; i++) {
        destroy(node->bitmaps->pdata[i]);
    }
    g_clear_pointer(&node->bitmaps, g_ptr_array_unref);
    g_clear_pointer(&node->recording, g_free);
}

bool bitmap_check(const BlockBitmap *bitmap, unsigned allow, GError **error)
{
    if (bitmap->busy) {
        return error_set(error,
                         "bitmap '%s' is busy: a job or an export works with it; wait for its end",
                         bitmap->name);
    }
    if (!(allow & BITMAP_ALLOW_READONLY) && bitmap_readonly(bitmap)) {
        return error_set(error, "bitmap '%s' cannot change: its image is open read-only",
                         bitmap->name);
    }
    return allow & BITMAP_ALLOW_INCONSISTENT || !bitmap->inconsistent ||
           error_set(error,
                     "bitmap '%s' is inconsistent: it was not stored when its image was last "
                     "closed, so it can only be removed",
                     bitmap->name);
}

/* ---- Contents ---- */

bool bitmap_take(BlockBitmap *bitmap, BitmapContents *contents, GError **error)
{
    _Atomic uint64_t *fresh = new_words(bitmap->bits, error);
    if (!fresh) {
        return false;
    }
    *contents = (BitmapContents){ bitmap->words, bitmap_count(bitmap) };
    bitmap->words = fresh;
    atomic_store(&bitmap->count, 0);
    return true;
}

void bitmap_contents_clear(BitmapContents *contents)
{
    g_free((void *)contents->words);
    contents->words = NULL;
}

bool bitmap_copy(BlockBitmap *bitmap, BitmapContents *contents, GError **error)
{
    _Atomic uint64_t *copy = new_words(bitmap->bits, error);
    if (!copy) {
        return false;
    }
    for (uint64_t at = bitmap_next(bitmap, 0, bitmap->bits, true); at < bitmap->bits;
         at = bitmap_next(bitmap, (at | 63) + 1, bitmap->bits, true)) {
        atomic_init(&copy[at / 64], atomic_load(&bitmap->words[at / 64]));
    }
    *contents = (BitmapContents){ copy, bitmap_count(bitmap) };
    return true;
}

static void add_bits(BlockBitmap *to, BlockBitmap *from)
{
    for (uint64_t at = bitmap_next(from, 0, from->bits, true), end; at < from->bits;
         at = bitmap_next(from, end, from->bits, true)) {
        end = bitmap_next(from, at, from->bits, false);
        bitmap_mark(to, at << from->granularity_bits, (end - at) << from->granularity_bits);
    }
}

void bitmap_put_back(BlockBitmap *bitmap, BitmapContents *contents)
{
    g_free((void *)bitmap->words);
    bitmap->words = contents->words;
    atomic_store(&bitmap->count, contents->count);
    contents->words = NULL;
    if (bitmap->successor) { /* whatever becomes of it */
        add_bits(bitmap->successor, bitmap);
    }
}

void bitmap_merge(BlockBitmap *to, BlockBitmap *from)
{
    if (to != from) {
        add_bits(to, from);
    }
}

/* ---- Successors ---- */

bool bitmap_freeze(BlockBitmap *bitmap, GError **error)
{
    BlockBitmap *successor = make(bitmap->node, NULL, bitmap->granularity_bits, error);
    if (!successor) {
        return false;
    }
    successor->enabled = bitmap->enabled;
    bitmap->successor = successor;
    bitmap->busy++;
    update_recording(bitmap->node);
    return true;
}

void bitmap_thaw(BlockBitmap *bitmap, bool forget)
{
    BlockBitmap *successor = bitmap->successor;
    if (forget) {
        _Atomic uint64_t *old = bitmap->words;
        bitmap->words = successor->words;
        atomic_store(&bitmap->count, bitmap_count(successor));
        successor->words = old;
    } else {
        add_bits(bitmap, successor);
    }
    bitmap->successor = NULL;
    bitmap->busy--;
    destroy(successor);
    update_recording(bitmap->node);
    if (bitmap->gone && !bitmap->busy) {
        destroy(bitmap);
    }
}

/* ---- All of a node ---- */

bool bitmaps_check_resize(BlockNode *node, GError **error)
{
    for (guint i = 0; node->bitmaps && i < node->bitmaps->len; i++) {
        if (!bitmap_check(node->bitmaps->pdata[i], BITMAP_ALLOW_READONLY, error)) {
            return false;
        }
    }
    return true;
}

/* What is new is clean; what is gone is forgotten. */
static void resize(BlockBitmap *bitmap, uint64_t length)
{
    uint64_t bits = bits_of(length, bitmap->granularity_bits);
    _Atomic uint64_t *words = new_words(bits, NULL), *old = bitmap->words;
    if (!words) { /* it cannot follow: nothing that it says holds any more */
        report_warning("bitmap '%s': not enough memory for the new size: it is inconsistent now",
                       bitmap->name);
        bitmap->inconsistent = true;
        return;
    }
    BlockBitmap before = *bitmap;
    before.words = old;
    before.bits = MIN(bitmap->bits, bits);
    bitmap->words = words;
    bitmap->bits = bits;
    bitmap->length = length;
    atomic_store(&bitmap->count, 0);
    add_bits(bitmap, &before);
    g_free((void *)old);
}

void bitmaps_resize(BlockNode *node)
{
    uint64_t length = block_node_length(node);
    for (guint i = 0; node->bitmaps && i < node->bitmaps->len; i++) {
        BlockBitmap *bitmap = node->bitmaps->pdata[i];
        if (bitmap->length != length && !bitmap->inconsistent) {
            resize(bitmap, length);
        }
    }
    update_recording(node);
}

void bitmaps_mark_all(BlockNode *node)
{
    for (guint i = 0; node->bitmaps && i < node->bitmaps->len; i++) {
        BlockBitmap *bitmap = node->bitmaps->pdata[i];
        if (bitmap->enabled && !bitmap->inconsistent) {
            bitmap_mark(bitmap, 0, bitmap->length);
        }
    }
}

static json_object *describe(BlockBitmap *bitmap)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "name", bitmap->name);
    json_add_bool(info, "recording", bitmap->enabled && !bitmap->inconsistent);
    json_add_bool(info, "persistent", bitmap->persistent);
    json_add_bool(info, "busy", bitmap->busy > 0);
    if (bitmap->inconsistent) {
        json_add_bool(info, "inconsistent", true);
    }
    json_add_int(info, "granularity", (int64_t)(1ULL << bitmap->granularity_bits));
    json_add_int(info, "count", (int64_t)(bitmap_count(bitmap) << bitmap->granularity_bits));
    return info;
}

json_object *bitmaps_describe(BlockNode *node)
{
    if (!node->bitmaps || !node->bitmaps->len) {
        return NULL;
    }
    json_object *list = json_object_new_array();
    for (guint i = 0; i < node->bitmaps->len; i++) {
        json_object_array_add(list, describe(node->bitmaps->pdata[i]));
    }
    return list;
}
