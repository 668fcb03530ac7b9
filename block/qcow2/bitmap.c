/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps that an image keeps (section "Bitmaps"): read when it is opened, marked as in use
 * before the first write, written anew when it is closed. So whatever a crash leaves is either the
 * truth, or is marked and then inconsistent.
 *
 * Writing: data, tables and directory go to new clusters; the header's bit that says that bitmaps
 * are valid goes off, the extension changes, the bit goes on, each on the disk before the next;
 * then the old clusters are let go.
 */
#include "block/bitmap.h"
#include "block/qcow2/bitmap_directory.h"
#include "block/qcow2/offline.h"
#include "vmm/monitor/commands.h"

#define MAX_BITMAPS   4096 /* the format allows 65535; each is compared with all others */
#define MAX_DIRECTORY (MAX_BITMAPS * 1024ULL)
#define TYPE_TRACKING 1
#define ENTRY_ONES    1ULL /* of a bitmap table: all bits are set */
#define FIXED         24

/* An entry of the directory. */
typedef struct Stored {
    char *name;
    uint64_t table_offset, flags_place;
    uint32_t table_size, flags;
    uint8_t granularity_bits;
    bool broken; /* what it points to makes no sense: left alone */
} Stored;

static void stored_free(void *data)
{
    Stored *stored = data;
    g_free(stored->name);
    g_free(stored);
}

static GPtrArray *new_list(void)
{
    return g_ptr_array_new_with_free_func(stored_free);
}

static Stored *find(const GPtrArray *list, const char *name)
{
    for (guint i = 0; list && i < list->len; i++) {
        Stored *stored = list->pdata[i];
        if (!strcmp(stored->name, name)) {
            return stored;
        }
    }
    return NULL;
}

void qcow2_bitmaps_free(Qcow2 *s)
{
    g_clear_pointer(&s->stored_bitmaps, g_ptr_array_unref);
}

/* ---- The directory ---- */

typedef struct Reader {
    GPtrArray *list;
    char *wrong; /* the first thing, or NULL */
} Reader;

static const char *what_is_wrong(const Qcow2BitmapEntry *e)
{
    uint32_t known = QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO;
    return e->extra_size              ? "it has extra data that nobody explained"
           : e->type != TYPE_TRACKING ? "it is of an unknown type"
           : e->flags & ~known        ? "it has unknown flags"
           : !e->name_size || e->name_size > BITMAP_NAME_MAX ||
                   !g_utf8_validate(e->name, e->name_size, NULL)
               ? "its name is not a text of 1 to 1023 bytes"
               : NULL;
}

static void take_entry(const Qcow2BitmapEntry *e, void *opaque)
{
    Reader *r = opaque;
    const char *wrong = what_is_wrong(e);
    g_autofree char *name = wrong ? NULL : g_strndup(e->name, e->name_size);
    wrong = !wrong && find(r->list, name) ? "another one has its name" : wrong;
    if (wrong) {
        r->wrong = r->wrong ? r->wrong : g_strdup_printf("entry %u: %s", r->list->len, wrong);
        return;
    }
    Stored *stored = g_new0(Stored, 1);
    stored->name = g_steal_pointer(&name);
    stored->table_offset = e->table_offset;
    stored->table_size = e->table_size;
    stored->flags = e->flags;
    stored->flags_place = e->flags_place;
    stored->granularity_bits = e->granularity_bits;
    g_ptr_array_add(r->list, stored);
}

static bool overlaps(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a_bytes && b_bytes && a < b + b_bytes && b < a + a_bytes;
}

/* Where the driver writes, nothing else may be. */
static bool check_place(const Qcow2 *s, GError **error)
{
    const Qcow2Header *h = &s->h;
    uint64_t at = h->bitmap_directory_offset, bytes = h->bitmap_directory_size;
    const char *other =
        overlaps(at, bytes, 0, s->cluster_size)                ? "the header"
        : overlaps(at, bytes, h->l1_offset, h->l1_size * 8ULL) ? "the L1 table"
        : overlaps(at, bytes, h->reftable_offset, (uint64_t)h->reftable_clusters << s->cluster_bits)
            ? "the refcount table"
            : NULL;
    return !other || error_set(error, "the bitmap directory overlaps %s", other);
}

static bool read_directory(Qcow2 *s, GError **error)
{
    Reader r = { .list = new_list() };
    s->stored_bitmaps = r.list;
    if (!s->h.has_bitmaps) {
        return true;
    }
    if (s->h.nb_bitmaps > MAX_BITMAPS) {
        return error_set(error, "it has %u bitmaps: at most %d are supported",
                         (unsigned)s->h.nb_bitmaps, MAX_BITMAPS);
    }
    bool ok = check_place(s, error) &&
              qcow2_bitmaps_foreach(s->node->file, &s->h, take_entry, &r, error);
    if (ok && r.wrong) {
        ok = error_set(error, "bitmap directory: %s", r.wrong);
    }
    g_free(r.wrong);
    return ok;
}

/* ---- Reading bits ---- */

static uint64_t table_entries(const Qcow2 *s, const BlockBitmap *bitmap)
{
    uint64_t bytes = (bitmap->bits + 7) / 8;
    return (bytes >> s->cluster_bits) + ((bytes & (s->cluster_size - 1)) != 0);
}

/* Bits that one cluster of the file holds. */
static uint64_t bits_per_cluster(const Qcow2 *s)
{
    return s->cluster_size * 8;
}

static void take_bits(BlockBitmap *bitmap, uint64_t first, const uint8_t *data, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        bitmap_load_word(bitmap, first / 64 + i / 8, GUINT64_FROM_LE(word));
    }
}

static void take_ones(BlockBitmap *bitmap, uint64_t first, uint64_t bits)
{
    for (uint64_t i = 0; i < bits / 64 && first + i * 64 < bitmap->bits; i++) {
        bitmap_load_word(bitmap, first / 64 + i, UINT64_MAX);
    }
}

static bool entry_is_usable(const Qcow2 *s, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_BITMAP_ENTRY_OFFSET;
    return !(entry & QCOW2_BITMAP_ENTRY_RESERVED) && !(offset && entry & ENTRY_ONES) &&
           !(offset & (s->cluster_size - 1)) &&
           (!offset ||
            range_inside(offset, 1, ALIGN_UP(block_node_length(s->node->file), s->cluster_size)));
}

/* The table in the host's byte order; NULL: it makes no sense, or cannot be read. */
static uint64_t *read_table(Qcow2 *s, const Stored *stored)
{
    uint64_t bytes = stored->table_size * 8ULL;
    if (!stored->table_size || !stored->table_offset ||
        stored->table_offset & (s->cluster_size - 1) || bytes > BITMAP_MEMORY ||
        !range_inside(stored->table_offset, bytes, block_node_length(s->node->file))) {
        return NULL;
    }
    uint64_t *table = g_malloc(bytes);
    if (node_pread(s->node->file, stored->table_offset, table, bytes) < 0) {
        g_free(table);
        return NULL;
    }
    for (uint32_t i = 0; i < stored->table_size; i++) {
        table[i] = GUINT64_FROM_BE(table[i]);
        if (!entry_is_usable(s, table[i])) {
            g_free(table);
            return NULL;
        }
    }
    return table;
}

static bool read_bits(Qcow2 *s, const Stored *stored, BlockBitmap *bitmap)
{
    g_autofree uint64_t *table = NULL;
    g_autofree uint8_t *data = g_malloc(s->cluster_size);
    uint64_t left = block_node_length(s->node->file); /* no cluster is of two entries */
    if (stored->table_size != table_entries(s, bitmap) || !(table = read_table(s, stored))) {
        return false;
    }
    for (uint32_t i = 0; i < stored->table_size; i++) {
        uint64_t first = i * bits_per_cluster(s), offset = table[i] & QCOW2_BITMAP_ENTRY_OFFSET;
        if (offset) {
            if (!left || node_pread(s->node->file, offset, data, s->cluster_size) < 0) {
                return false;
            }
            left -= MIN(left, s->cluster_size);
            take_bits(bitmap, first, data, s->cluster_size);
        } else if (table[i] & ENTRY_ONES) {
            take_ones(bitmap, first, bits_per_cluster(s));
        }
    }
    return true;
}

/* ---- Opening ---- */

static bool load_one(Qcow2 *s, Stored *stored, unsigned *unreadable, GError **error)
{
    BlockBitmap *bitmap =
        bitmap_new(s->node, stored->name, 1ULL << stored->granularity_bits, error);
    if (!bitmap) {
        return false;
    }
    bitmap->persistent = true;
    bitmap->inconsistent = stored->flags & QCOW2_BITMAP_IN_USE;
    if (!bitmap->inconsistent && !read_bits(s, stored, bitmap)) {
        if (!(*unreadable)++) {
            report_warning("'%s': the contents of bitmap '%s' cannot be read: it is inconsistent",
                           s->node->filename, stored->name);
        }
        bitmap->inconsistent = stored->broken = true;
    }
    bitmap_set_enabled(bitmap, !bitmap->inconsistent && stored->flags & QCOW2_BITMAP_AUTO);
    return true;
}

bool qcow2_bitmaps_load(Qcow2 *s, GError **error)
{
    if (!read_directory(s, error)) {
        return false;
    }
    unsigned unreadable = 0; /* a warning an image */
    for (guint i = 0; i < s->stored_bitmaps->len; i++) {
        if (!load_one(s, s->stored_bitmaps->pdata[i], &unreadable, error)) {
            return false;
        }
    }
    return true;
}

static bool write_in_use(Qcow2 *s, void *opaque, GError **error)
{
    int ret = 0;
    for (guint i = 0; i < s->stored_bitmaps->len && ret == 0; i++) {
        Stored *stored = s->stored_bitmaps->pdata[i];
        uint8_t field[4];
        if (stored->flags & QCOW2_BITMAP_IN_USE) {
            continue;
        }
        store_be32(field, stored->flags | QCOW2_BITMAP_IN_USE);
        ret = node_pwrite(s->node->file, s->h.bitmap_directory_offset + stored->flags_place, field,
                          sizeof(field));
        stored->flags |= QCOW2_BITMAP_IN_USE;
    }
    ret = ret ? ret : node_flush(s->node->file);
    return ret == 0 || error_set_errno(error, -ret, "'%s': cannot mark its bitmaps as in use",
                                       s->node->filename);
}

bool qcow2_bitmaps_use(Qcow2 *s, GError **error)
{
    s->bitmaps_retired = false;
    for (guint i = 0; s->stored_bitmaps && i < s->stored_bitmaps->len; i++) {
        const Stored *stored = s->stored_bitmaps->pdata[i];
        if (!(stored->flags & QCOW2_BITMAP_IN_USE)) {
            return qcow2_with_lock(s, write_in_use, NULL, error);
        }
    }
    return true;
}

/* ---- Writing ---- */

typedef struct Range {
    uint64_t offset, bytes;
} Range;

typedef struct Writer {
    Qcow2 *s;
    Qcow2Offline o;
    GArray *taken;   /* of Range: clusters of what is being written */
    GPtrArray *list; /* the new directory */
    bool shown;      /* the header may point to it */
} Writer;

static bool take_clusters(Writer *w, uint64_t bytes, uint64_t *offset, GError **error)
{
    if (!qcow2_offline_alloc(&w->o, bytes, offset, error)) {
        return false;
    }
    Range range = { *offset, ALIGN_UP(bytes, w->s->cluster_size) };
    g_array_append_val(w->taken, range);
    return true;
}

/* What the table says of cluster i's bits; *data is filled where they are mixed. */
static uint64_t gather(Qcow2 *s, BlockBitmap *bitmap, uint64_t i, uint8_t *data)
{
    uint64_t first = i * bits_per_cluster(s), end = first + bits_per_cluster(s);
    if (bitmap_next(bitmap, first, end, true) >= MIN(end, bitmap->bits)) {
        return 0;
    }
    if (end <= bitmap->bits && bitmap_next(bitmap, first, end, false) >= end) {
        return ENTRY_ONES;
    }
    memset(data, 0, s->cluster_size);
    for (uint64_t bit = first; bit < MIN(end, bitmap->bits); bit += 64) {
        uint64_t word = GUINT64_TO_LE(atomic_load(&bitmap->words[bit / 64]));
        memcpy(data + (bit - first) / 8, &word, 8);
    }
    return UINT64_MAX;
}

static bool write_bits(Writer *w, BlockBitmap *bitmap, uint64_t *table, uint64_t entries,
                       GError **error)
{
    Qcow2 *s = w->s;
    g_autofree uint8_t *data = g_malloc(s->cluster_size);
    for (uint64_t i = 0; i < entries; i++) {
        table[i] = gather(s, bitmap, i, data);
        if (table[i] == UINT64_MAX &&
            (!take_clusters(w, s->cluster_size, &table[i], error) ||
             !qcow2_offline_write_bytes(&w->o, table[i], data, s->cluster_size, error))) {
            return false;
        }
    }
    return true;
}

static bool write_bitmap(Writer *w, BlockBitmap *bitmap, GError **error)
{
    uint64_t entries = MAX(table_entries(w->s, bitmap), 1);
    g_autofree uint64_t *table = g_new0(uint64_t, entries);
    uint64_t offset;
    if (bitmap->successor) { /* whoever uses it does so no longer */
        bitmap_merge(bitmap, bitmap->successor);
    }
    if (!write_bits(w, bitmap, table, entries, error) ||
        !take_clusters(w, entries * 8, &offset, error) ||
        !qcow2_offline_write(&w->o, offset, table, (uint32_t)entries, error)) {
        g_prefix_error(error, "bitmap '%s': ", bitmap->name);
        return false;
    }
    Stored *stored = g_new0(Stored, 1);
    stored->name = g_strdup(bitmap->name);
    stored->table_offset = offset;
    stored->table_size = (uint32_t)entries;
    stored->flags = bitmap->enabled ? QCOW2_BITMAP_AUTO : 0;
    stored->granularity_bits = (uint8_t)bitmap->granularity_bits;
    g_ptr_array_add(w->list, stored);
    return true;
}

static void keep(Writer *w, const Stored *old)
{
    Stored *stored = g_memdup2(old, sizeof(*old));
    stored->name = g_strdup(old->name);
    g_ptr_array_add(w->list, stored);
}

static GByteArray *directory_bytes(GPtrArray *list)
{
    GByteArray *out = g_byte_array_new();
    for (guint i = 0; i < list->len; i++) {
        Stored *stored = list->pdata[i];
        uint8_t fixed[FIXED], padding[8] = { 0 };
        size_t name = strlen(stored->name);
        stored->flags_place = out->len + 12;
        store_be64(fixed, stored->table_offset);
        store_be32(fixed + 8, stored->table_size);
        store_be32(fixed + 12, stored->flags);
        fixed[16] = TYPE_TRACKING;
        fixed[17] = stored->granularity_bits;
        store_be16(fixed + 18, (uint16_t)name);
        store_be32(fixed + 20, 0);
        g_byte_array_append(out, fixed, sizeof(fixed));
        g_byte_array_append(out, (const uint8_t *)stored->name, (guint)name);
        g_byte_array_append(out, padding, -out->len & 7);
    }
    return out;
}

static bool set_valid(Qcow2 *s, bool valid, GError **error)
{
    uint8_t field[8];
    uint64_t bits = valid ? s->h.autoclear | QCOW2_AUTOCLEAR_BITMAPS
                          : s->h.autoclear & ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
    if (bits == s->h.autoclear) {
        return true;
    }
    store_be64(field, bits);
    int ret = node_pwrite(s->node->file, QCOW2_H_AUTOCLEAR, field, sizeof(field));
    ret = ret ? ret : node_flush(s->node->file);
    s->h.autoclear = bits;
    return ret == 0 ||
           error_set_errno(error, -ret, "'%s': cannot write its header", s->node->filename);
}

static bool header_fits(Qcow2 *s, GError **error)
{
    g_autofree uint8_t *scratch = g_malloc(s->cluster_size);
    return qcow2_header_write(&s->h, scratch, s->cluster_size, error);
}

static void name_directory(Qcow2 *s, guint count, uint64_t offset, uint64_t bytes)
{
    s->h.has_bitmaps = count > 0;
    s->h.nb_bitmaps = count;
    s->h.bitmap_directory_offset = count ? offset : 0;
    s->h.bitmap_directory_size = count ? bytes : 0;
}

/* The header shows the new directory. */
static bool show(Writer *w, uint64_t offset, uint64_t bytes, GError **error)
{
    Qcow2 *s = w->s;
    Qcow2Header old = s->h;
    name_directory(s, w->list->len, offset, bytes);
    if (!header_fits(s, error)) {
        name_directory(s, old.nb_bitmaps, old.bitmap_directory_offset, old.bitmap_directory_size);
        s->h.has_bitmaps = old.has_bitmaps;
        return false;
    }
    w->shown = true;
    return set_valid(s, false, error) && qcow2_update_header(s, error) &&
           (!w->list->len || set_valid(s, true, error));
}

/* The clusters of an entry that the directory had and has no longer. */
static bool drop_stored(Writer *w, const Stored *stored, GError **error)
{
    Qcow2 *s = w->s;
    g_autofree uint64_t *table = stored->broken ? NULL : read_table(s, stored);
    if (!table) {
        return true; /* leaked: `check -r leaks` finds what it was */
    }
    for (uint32_t i = 0; i < stored->table_size; i++) {
        uint64_t offset = table[i] & QCOW2_BITMAP_ENTRY_OFFSET;
        if (offset && !qcow2_offline_drop(&w->o, offset, s->cluster_size, error)) {
            return false;
        }
    }
    return qcow2_offline_drop(&w->o, stored->table_offset, stored->table_size * 8ULL, error);
}

static bool drop_old(Writer *w, uint64_t offset, uint64_t bytes, GError **error)
{
    const GPtrArray *old = w->s->stored_bitmaps;
    for (guint i = 0; i < old->len; i++) {
        const Stored *stored = old->pdata[i], *now = find(w->list, stored->name);
        if ((!now || now->table_offset != stored->table_offset) && !drop_stored(w, stored, error)) {
            return false;
        }
    }
    return qcow2_offline_drop(&w->o, offset, bytes, error) && qcow2_offline_commit(&w->o, error);
}

/* The new list takes the old one's place, on the disk and in memory. */
static bool replace(Writer *w, GError **error)
{
    Qcow2 *s = w->s;
    uint64_t old_offset = s->h.bitmap_directory_offset, old_bytes = s->h.bitmap_directory_size;
    uint64_t offset = 0;
    bool had = s->h.has_bitmaps;
    g_autoptr(GByteArray) bytes = directory_bytes(w->list);
    if (bytes->len && (!take_clusters(w, bytes->len, &offset, error) ||
                       !qcow2_offline_write_bytes(&w->o, offset, bytes->data, bytes->len, error))) {
        return false;
    }
    return qcow2_offline_commit(&w->o, error) && show(w, offset, bytes->len, error) &&
           (!had || drop_old(w, old_offset, old_bytes, error));
}

static void writer_begin(Writer *w, Qcow2 *s)
{
    *w = (Writer){ .s = s, .o = { .s = s }, .list = new_list() };
    w->o.freed = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    node_refresh_length(s->node->file);
    w->taken = g_array_new(FALSE, FALSE, sizeof(Range));
}

static void writer_end(Writer *w, bool ok)
{
    Qcow2 *s = w->s;
    for (guint i = 0; !ok && !w->shown && i < w->taken->len; i++) {
        const Range *range = &g_array_index(w->taken, Range, i);
        qcow2_offline_drop(&w->o, range->offset, range->bytes, NULL);
    }
    if (!ok && !w->shown) {
        qcow2_offline_commit(&w->o, NULL);
    }
    if (w->shown) {
        g_ptr_array_unref(s->stored_bitmaps);
        s->stored_bitmaps = g_steal_pointer(&w->list);
    } else {
        g_ptr_array_unref(w->list);
    }
    g_array_unref(w->taken);
    g_array_unref(w->o.freed);
}

/* ---- Closing ---- */

static bool write_all(Writer *w, GError **error)
{
    Qcow2 *s = w->s;
    GPtrArray *all = s->node->bitmaps;
    for (guint i = 0; i < s->stored_bitmaps->len; i++) {
        const Stored *stored = s->stored_bitmaps->pdata[i];
        const BlockBitmap *bitmap = bitmap_find(s->node, stored->name);
        if (!bitmap || bitmap->inconsistent) {
            keep(w, stored);
        }
    }
    for (guint i = 0; all && i < all->len; i++) {
        BlockBitmap *bitmap = all->pdata[i];
        if (bitmap->persistent && !bitmap->inconsistent && !write_bitmap(w, bitmap, error)) {
            return false;
        }
    }
    return replace(w, error);
}

static bool store(Qcow2 *s, void *opaque, GError **error)
{
    Writer w;
    writer_begin(&w, s);
    bool ok = write_all(&w, error);
    writer_end(&w, ok);
    return ok;
}

static bool has_work(const Qcow2 *s)
{
    const GPtrArray *all = s->node->bitmaps;
    for (guint i = 0; all && i < all->len; i++) {
        const BlockBitmap *bitmap = all->pdata[i];
        if (bitmap->persistent && !bitmap->inconsistent) {
            return true;
        }
    }
    return false;
}

bool qcow2_bitmaps_retire(Qcow2 *s, GError **error)
{
    if (s->bitmaps_retired || s->node->readonly || !s->stored_bitmaps || !has_work(s) ||
        atomic_load(&s->corrupt)) {
        return true;
    }
    s->bitmaps_retired = true; /* one try */
    if (!qcow2_with_lock(s, store, NULL, error)) {
        g_prefix_error(error, "'%s': its bitmaps could not be written: ", s->node->filename);
        return false;
    }
    return true;
}

/* ---- What users do ---- */

bool qcow2_bitmap_can_store(BlockNode *node, const char *name, uint64_t granularity, GError **error)
{
    const Qcow2 *s = node->state;
    uint64_t directory = ALIGN_UP(FIXED + strlen(name), 8);
    guint count = 1;
    if (s->h.version < 3) {
        return error_set(error, "an image of version 2 keeps no bitmaps: 'vireo-img amend -o "
                                "compat=1.1' makes version 3 of it");
    }
    if (!s->stored_bitmaps) {
        return error_set(error, "the image was opened to be checked");
    }
    if (granularity > 1ULL << BITMAP_MAX_GRAN_BITS) {
        return error_set(error, "a granularity of more than %llu bytes cannot be stored",
                         1ULL << BITMAP_MAX_GRAN_BITS);
    }
    for (guint i = 0; node->bitmaps && i < node->bitmaps->len; i++) {
        const BlockBitmap *bitmap = node->bitmaps->pdata[i];
        if (bitmap->persistent) {
            count++;
            directory += ALIGN_UP(FIXED + strlen(bitmap->name), 8);
        }
    }
    return count > MAX_BITMAPS
               ? error_set(error, "an image stores at most 4096 bitmaps: remove one first")
               : directory <= MAX_DIRECTORY ||
                     error_set(error,
                               "the bitmaps' names fill the image's bitmap directory: remove one");
}

static bool remove_one(Qcow2 *s, void *name, GError **error)
{
    Writer w;
    writer_begin(&w, s);
    for (guint i = 0; i < s->stored_bitmaps->len; i++) {
        const Stored *stored = s->stored_bitmaps->pdata[i];
        if (strcmp(stored->name, name) != 0) {
            keep(&w, stored);
        }
    }
    bool ok = replace(&w, error);
    writer_end(&w, ok);
    return ok;
}

bool qcow2_bitmap_remove_stored(BlockNode *node, const char *name, GError **error)
{
    Qcow2 *s = node->state;
    return !find(s->stored_bitmaps, name) ||
           (qcow2_flush_all(s, error) && qcow2_with_lock(s, remove_one, (void *)name, error));
}

json_object *qcow2_bitmaps_describe(Qcow2 *s)
{
    if (!s->stored_bitmaps || !s->stored_bitmaps->len) {
        return NULL;
    }
    json_object *list = json_object_new_array();
    for (guint i = 0; i < s->stored_bitmaps->len; i++) {
        const Stored *stored = s->stored_bitmaps->pdata[i];
        json_object *info = json_object_new_object(), *flags = json_object_new_array();
        if (stored->flags & QCOW2_BITMAP_IN_USE) {
            json_object_array_add(flags, json_object_new_string("in-use"));
        }
        if (stored->flags & QCOW2_BITMAP_AUTO) {
            json_object_array_add(flags, json_object_new_string("auto"));
        }
        json_object_object_add(info, "flags", flags);
        json_add_string(info, "name", stored->name);
        json_add_int(info, "granularity", (int64_t)(1ULL << stored->granularity_bits));
        json_object_array_add(list, info);
    }
    return list;
}
