/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMware disk images (Virtual Disk Format 5.0): one sparse file with its descriptor inside
 * (monolithicSparse, streamOptimized), or a text that names the files of its extents, sparse
 * ("KDMV", "COWD") or flat.
 *
 * A text may name files of the host (HARDENING, row 17): only those beside it, unless the user said
 * that it is a vmdk image.
 */
#include "block/vmdk.h"

#include <sys/stat.h>
#include <zlib.h>
#include "block/file.h"
#include "vmm/util/bytes.h"

#define SECTOR          512ULL
#define MAX_SECTORS     (INT64_MAX / SECTOR)
#define MIN_GRAIN       8     /* sectors */
#define MAX_GRAIN       32768 /* 16 MiB */
#define MAX_PACKED      4096  /* 2 MiB: a worker thread holds three times this much */
#define MAX_TABLE       512   /* grains of a table */
#define GD_AT_END       UINT64_MAX
#define FOOTER_BYTES    1536 /* marker, header, end-of-stream marker */
#define MARKER_BYTES    12   /* before the data of a grain: sector, size */
#define FOOTER_MARKER   3
#define COWD_TABLE      4096
#define FLAG_ZERO_GRAIN (1u << 2)
#define FLAG_MARKERS    (1u << 17)
#define GRAIN_ZEROES    1

/* Offsets of the fields of a sparse extent's header. */
enum {
    F_VERSION = 4,
    F_FLAGS = 8,
    F_CAPACITY = 12,
    F_GRAIN = 20,
    F_TEXT_OFFSET = 28,
    F_TEXT_SECTORS = 36,
    F_TABLE_GRAINS = 44,
    F_DIRECTORY = 56,
    F_DATA = 64,
    F_COMPRESSION = 77,
};
enum {
    COWD_VERSION = 4,
    COWD_SECTORS = 12,
    COWD_GRAIN = 16,
    COWD_DIRECTORY = 20,
    COWD_DIRECTORY_ENTRIES = 24,
};

typedef enum VmdkKind { VMDK_ZERO, VMDK_FLAT, VMDK_SPARSE } VmdkKind;

typedef struct VmdkExtent {
    VmdkKind kind;
    const char *type; /* as the text says; "" without one */
    BlockNode *file;
    uint64_t start, bytes;     /* of the disk */
    uint64_t file_offset;      /* FLAT: where its data begins */
    uint64_t grain_bytes;      /* SPARSE, as all below */
    uint64_t directory_offset; /* bytes */
    uint64_t capacity;         /* bytes that the header speaks of */
    uint32_t table_grains;
    bool packed, markers, zero_grains;
    uint64_t text_offset, text_bytes;
} VmdkExtent;

typedef struct VmdkState {
    Mapped mapped;
    VmdkText text;
    const char *create_type;
    GArray *extents; /* of VmdkExtent, in order of start */
    GMutex lock;     /* leaf; guards the last unpacked grain: */
    uint64_t last_start, last_bytes;
    uint8_t *last;
} VmdkState;

/* ---- A sparse extent's header ---- */

static bool check_grain(const VmdkExtent *e, uint64_t grain, uint64_t least, GError **error)
{
    uint64_t most = e->packed ? MAX_PACKED : MAX_GRAIN;
    if (grain < least || grain > most || grain & (grain - 1)) {
        return error_set(error,
                         "vmdk grain size %" G_GUINT64_FORMAT
                         " is not a power of two of %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                         " sectors",
                         grain, least, most);
    }
    return true;
}

/* Directory and capacity are of the header; sectors and an index are bounded here. */
static bool set_directory(VmdkExtent *e, uint64_t capacity, uint64_t directory, uint64_t entries,
                          GError **error)
{
    if (capacity > MAX_SECTORS) {
        return error_set(error, "capacity %" G_GUINT64_FORMAT " sectors is too large", capacity);
    }
    e->capacity = capacity * SECTOR;
    uint64_t covered = e->grain_bytes * e->table_grains;
    uint64_t needed = e->capacity / covered + (e->capacity % covered != 0);
    if (!directory || directory > MAX_SECTORS || needed > entries ||
        !range_inside(directory * SECTOR, needed * 4, block_node_length(e->file))) {
        return error_set(error,
                         "the grain directory (%" G_GUINT64_FORMAT
                         " entries at sector %" G_GUINT64_FORMAT
                         ") is not inside the file: the image is truncated or corrupt",
                         needed, directory);
    }
    e->directory_offset = directory * SECTOR;
    return true;
}

/* The header whose directory counts: in a stream it comes last. */
static bool find_footer(const VmdkExtent *e, uint8_t *header, GError **error)
{
    uint8_t footer[FOOTER_BYTES];
    uint64_t length = ALIGN_DOWN(block_node_length(e->file), SECTOR);
    static const uint8_t none[16];
    if (!mapped_read_header(e->file, "the vmdk footer",
                            length < FOOTER_BYTES ? 0 : length - FOOTER_BYTES, footer,
                            sizeof(footer), error)) {
        return false;
    }
    const uint8_t *end = footer + 2 * SECTOR;
    if (load_le32(footer + 8) || load_le32(footer + 12) != FOOTER_MARKER ||
        memcmp(footer + SECTOR, "KDMV", 4) != 0 || memcmp(end, none, sizeof(none)) != 0) {
        return error_set(error, "no footer at the end, which the header says has the grain "
                                "directory: the image is truncated");
    }
    memcpy(header, footer + SECTOR, SECTOR);
    return true;
}

static bool check_header(const VmdkExtent *e, const uint8_t *header, GError **error)
{
    uint32_t version = load_le32(header + F_VERSION);
    uint16_t compression = load_le16(header + F_COMPRESSION);
    uint64_t data = load_le64(header + F_DATA);
    if (version < 1 || version > 3) {
        return error_set(error, "vmdk version %u: 1 to 3 are supported", version);
    }
    if (compression > 1) {
        return error_set(error, "compression method %u is not deflate (1)", compression);
    }
    if (data > MAX_SECTORS || data * SECTOR > ALIGN_UP(block_node_length(e->file), SECTOR)) {
        return error_set(error,
                         "its data begins at sector %" G_GUINT64_FORMAT
                         ", behind the end of the file: the image is truncated",
                         data);
    }
    return true;
}

static bool open_sparse(VmdkExtent *e, GError **error)
{
    uint8_t header[SECTOR];
    if (!mapped_read_header(e->file, "the vmdk header", 0, header, sizeof(header), error)) {
        return false;
    }
    if (memcmp(header, "KDMV", 4) != 0) {
        return error_set(error, "no vmdk signature: this is not a sparse extent");
    }
    e->text_offset = load_le64(header + F_TEXT_OFFSET);
    e->text_bytes = load_le64(header + F_TEXT_SECTORS);
    if ((load_le64(header + F_DIRECTORY) == GD_AT_END && !find_footer(e, header, error)) ||
        !check_header(e, header, error)) {
        return false;
    }
    uint32_t flags = load_le32(header + F_FLAGS);
    uint64_t grain = load_le64(header + F_GRAIN);
    e->kind = VMDK_SPARSE;
    e->packed = load_le16(header + F_COMPRESSION) == 1;
    e->markers = flags & FLAG_MARKERS;
    e->zero_grains = flags & FLAG_ZERO_GRAIN;
    e->table_grains = load_le32(header + F_TABLE_GRAINS);
    if (!check_grain(e, grain, MIN_GRAIN, error)) {
        return false;
    }
    if (!e->table_grains || e->table_grains > MAX_TABLE) {
        return error_set(error, "a grain table of %u entries: not 1 to %d", e->table_grains,
                         MAX_TABLE);
    }
    e->grain_bytes = grain * SECTOR;
    return set_directory(e, load_le64(header + F_CAPACITY), load_le64(header + F_DIRECTORY),
                         UINT64_MAX, error);
}

static bool open_cowd(VmdkExtent *e, GError **error)
{
    uint8_t header[SECTOR];
    if (!mapped_read_header(e->file, "the vmdk header", 0, header, sizeof(header), error)) {
        return false;
    }
    uint32_t version = load_le32(header + COWD_VERSION), grain = load_le32(header + COWD_GRAIN);
    if (memcmp(header, "COWD", 4) != 0 || version != 1) {
        return error_set(error, "no vmdk COWD signature, or version %u, not 1", version);
    }
    e->kind = VMDK_SPARSE;
    e->table_grains = COWD_TABLE;
    if (!check_grain(e, grain, 1, error)) {
        return false;
    }
    e->grain_bytes = grain * SECTOR;
    return set_directory(e, load_le32(header + COWD_SECTORS), load_le32(header + COWD_DIRECTORY),
                         load_le32(header + COWD_DIRECTORY_ENTRIES), error);
}

/* ---- Extents ---- */

static bool add_extent(BlockNode *node, VmdkExtent *e, uint64_t bytes, GError **error)
{
    VmdkState *s = node->state;
    uint64_t length = block_node_length(node);
    if (!range_inside(length, bytes, INT64_MAX)) {
        return error_set(error, "its extents are of more than 8 EiB");
    }
    e->start = length;
    e->bytes = bytes;
    g_array_append_vals(s->extents, e, 1);
    atomic_store(&node->length, length + bytes);
    return true;
}

static char *extent_path(BlockNode *node, const char *name, GError **error)
{
    if (node_protocol(node)->driver != &file_driver) {
        error_set(error, "extent '%s' is looked for beside a local file only, not beside '%s'",
                  name, node->filename);
        return NULL;
    }
    if (node->guessed && (strchr(name, '/') || !*name)) {
        error_set(
            error,
            "it names the file '%s', but its own format was not given: say format=vmdk if you "
            "trust it",
            name);
        return NULL;
    }
    g_autofree char *folder = g_path_get_dirname(node_protocol(node)->filename);
    return g_path_is_absolute(name) || !strcmp(folder, ".") ? g_strdup(name)
                                                            : g_build_filename(folder, name, NULL);
}

static BlockNode *open_extent_file(BlockNode *node, const char *name, GError **error)
{
    struct stat st;
    NodeDefaults defaults = { .readonly = true,
                              .force_share = node->force_share,
                              .cache_direct = node->cache_direct,
                              .no_flush = node->no_flush };
    g_autofree char *path = extent_path(node, name, error);
    if (!path) {
        return NULL;
    }
    bool device = !node->guessed && stat(path, &st) == 0 && S_ISBLK(st.st_mode);
    g_autoptr(Opts) options = opts_new();
    opts_set(options, "filename", path);
    BlockNode *file = node_open(options, device ? "host_device" : "file", &defaults, error);
    if (file) {
        if (!node->extents) {
            node->extents = g_ptr_array_new();
        }
        g_ptr_array_add(node->extents, file);
    }
    return file;
}

static const struct VmdkType {
    const char *name;
    VmdkKind kind;
    bool cowd;
} extent_types[] = {
    { "FLAT", VMDK_FLAT, false },        { "VMFS", VMDK_FLAT, false },
    { "ZERO", VMDK_ZERO, false },        { "SPARSE", VMDK_SPARSE, false },
    { "VMFSSPARSE", VMDK_SPARSE, true },
};

static bool open_line(BlockNode *node, const VmdkLine *line, GError **error)
{
    const struct VmdkType *type = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(extent_types) && !type; i++) {
        type = !strcmp(extent_types[i].name, line->type) ? &extent_types[i] : NULL;
    }
    if (!type) {
        return error_set(error,
                         "extent type %s is not supported: FLAT, VMFS, ZERO, SPARSE and "
                         "VMFSSPARSE are",
                         line->type);
    }
    VmdkExtent e = { .kind = type->kind, .type = type->name };
    uint64_t bytes = line->sectors * SECTOR;
    e.file_offset = line->offset * SECTOR;
    if (e.kind == VMDK_ZERO) {
        return add_extent(node, &e, bytes, error);
    }
    e.file = open_extent_file(node, line->name, error);
    if (!e.file || (e.kind == VMDK_SPARSE && !(type->cowd ? open_cowd : open_sparse)(&e, error))) {
        g_prefix_error(error, "extent '%s': ", line->name);
        return false;
    }
    uint64_t there = block_node_length(e.file);
    if (e.kind == VMDK_SPARSE ? bytes > e.capacity : !range_inside(e.file_offset, bytes, there)) {
        return error_set(error,
                         "extent '%s' is described as of %" G_GUINT64_FORMAT
                         " sectors, which its file does not have: it is truncated or another one",
                         line->name, line->sectors);
    }
    return add_extent(node, &e, bytes, error);
}

/* ---- Opening ---- */

static bool read_text(BlockNode *node, uint64_t offset, uint64_t bytes, GError **error)
{
    VmdkState *s = node->state;
    uint64_t length = block_node_length(node->file);
    bytes = offset < length ? MIN(bytes, length - offset) : bytes;
    if (bytes > VMDK_TEXT_MAX) {
        return error_set(error,
                         "no vmdk signature, and %" G_GUINT64_FORMAT
                         " bytes are too long for a descriptor: at most 1 MiB",
                         bytes);
    }
    g_autofree char *data = g_malloc(bytes + 1);
    return mapped_read_header(node->file, "the vmdk descriptor", offset, data, bytes, error) &&
           vmdk_text_parse(&s->text, data, bytes, error);
}

/* The file is a text that names extents. */
static bool open_text(BlockNode *node, uint64_t offset, uint64_t bytes, GError **error)
{
    static const char *const types[] = {
        "monolithicFlat",
        "monolithicSparse",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
        "vmfs",
        "vmfsSparse",
        "vmfsThin",
        "vmfsPreallocated",
        "vmfsEagerZeroedThick",
        "fullDevice",
        "partitionedDevice",
        "custom",
        NULL,
    };
    VmdkState *s = node->state;
    if (!read_text(node, offset, bytes, error)) {
        return false;
    }
    const char *type = s->text.create_type;
    if (!type || !g_strv_contains(types, type)) {
        return error_set(error, "no vmdk signature, nor a createType that is supported ('%s')",
                         type ? type : "");
    }
    if (!s->text.lines->len) {
        return error_set(error, "its descriptor names no extent");
    }
    s->create_type = type;
    for (guint i = 0; i < s->text.lines->len; i++) {
        if (!open_line(node, &g_array_index(s->text.lines, VmdkLine, i), error)) {
            return false;
        }
    }
    return true;
}

/* One sparse file, its descriptor inside. */
static bool open_hosted(BlockNode *node, GError **error)
{
    VmdkState *s = node->state;
    VmdkExtent e = { .type = "", .file = node->file };
    if (!open_sparse(&e, error)) {
        return false;
    }
    s->create_type = e.packed ? "streamOptimized" : "monolithicSparse";
    if (e.text_offset > MAX_SECTORS || e.text_bytes > MAX_SECTORS) {
        return error_set(error,
                         "descriptor of %" G_GUINT64_FORMAT " sectors at sector %" G_GUINT64_FORMAT,
                         e.text_bytes, e.text_offset);
    }
    if (e.text_offset && e.text_bytes &&
        !read_text(node, e.text_offset * SECTOR, e.text_bytes * SECTOR, error)) {
        return false;
    }
    return add_extent(node, &e, e.capacity, error);
}

static bool open_single_cowd(BlockNode *node, GError **error)
{
    VmdkState *s = node->state;
    VmdkExtent e = { .type = "", .file = node->file };
    s->create_type = "vmfsSparse";
    return open_cowd(&e, error) && add_extent(node, &e, e.capacity, error);
}

/* A header of capacity 0 only holds a descriptor. */
static bool open_by_header(BlockNode *node, const uint8_t *header, GError **error)
{
    uint64_t offset = load_le64(header + F_TEXT_OFFSET),
             sectors = load_le64(header + F_TEXT_SECTORS);
    if (!memcmp(header, "COWD", 4)) {
        return open_single_cowd(node, error);
    }
    if (memcmp(header, "KDMV", 4) != 0) {
        return open_text(node, 0, block_node_length(node->file), error);
    }
    if (load_le64(header + F_CAPACITY) || load_le64(header + F_DIRECTORY) == GD_AT_END || !offset ||
        offset > MAX_SECTORS || sectors > MAX_SECTORS) {
        return open_hosted(node, error);
    }
    return open_text(node, offset * SECTOR, sectors * SECTOR, error);
}

static bool vmdk_parse(BlockNode *node, Opts *options, GError **error)
{
    VmdkState *s = node->state;
    uint8_t header[SECTOR] = { 0 };
    uint64_t bytes = MIN(sizeof(header), block_node_length(node->file));
    s->extents = g_array_new(FALSE, FALSE, sizeof(VmdkExtent));
    g_mutex_init(&s->lock);
    if (!mapped_read_header(node->file, "the vmdk header", 0, header, bytes, error) ||
        !open_by_header(node, header, error)) {
        return false;
    }
    if (s->text.parent_hint && *s->text.parent_hint) {
        node->backing_file = g_strdup(s->text.parent_hint);
        node->backing_format = g_strdup("vmdk");
    }
    return true;
}

static void vmdk_free(BlockNode *node)
{
    VmdkState *s = node->state;
    if (s->extents) {
        g_array_unref(s->extents);
        g_mutex_clear(&s->lock);
    }
    vmdk_text_clear(&s->text);
    g_free(s->last);
}

/* ---- Mapping ---- */

static const VmdkExtent *find_extent(const VmdkState *s, uint64_t offset)
{
    guint low = 0, high = s->extents->len - 1;
    while (low < high) {
        guint middle = low + (high - low + 1) / 2;
        if (g_array_index(s->extents, VmdkExtent, middle).start <= offset) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return &g_array_index(s->extents, VmdkExtent, low);
}

/* offset is in the extent. */
static int map_sparse(VmdkState *s, const VmdkExtent *e, uint64_t offset, bool wait,
                      MappedExtent *extent)
{
    uint64_t grain = offset / e->grain_bytes, inside = offset % e->grain_bytes;
    uint64_t index = grain % e->table_grains;
    uint8_t data[4];
    int ret = mapped_read_table(&s->mapped, e->file,
                                e->directory_offset + grain / e->table_grains * 4, data,
                                sizeof(data), wait);
    if (ret < 0) {
        return ret;
    }
    uint64_t table = load_le32(data) * SECTOR;
    if (!table) { /* none of its grains is there */
        extent->bytes = (e->table_grains - index) * e->grain_bytes - inside;
        return 0;
    }
    ret = mapped_read_table(&s->mapped, e->file, table + index * 4, data, sizeof(data), wait);
    if (ret < 0) {
        return ret;
    }
    uint32_t sector = load_le32(data);
    extent->bytes = e->grain_bytes - inside;
    if (sector == GRAIN_ZEROES && e->zero_grains) {
        extent->kind = MAPPED_ZERO;
    } else if (sector) {
        extent->kind = e->packed ? MAPPED_PACKED : MAPPED_DATA;
        extent->file = e->file;
        extent->host_offset = sector * SECTOR + (e->packed ? 0 : inside);
    }
    return 0;
}

static int vmdk_map(BlockNode *node, uint64_t offset, bool wait, MappedExtent *extent)
{
    VmdkState *s = node->state;
    const VmdkExtent *e = find_extent(s, offset);
    uint64_t inside = offset - e->start;
    int ret = 0;
    extent->bytes = e->bytes - inside;
    if (e->kind == VMDK_ZERO) {
        extent->kind = MAPPED_ZERO;
    } else if (e->kind == VMDK_FLAT) {
        extent->kind = MAPPED_DATA;
        extent->holes = true;
        extent->file = e->file;
        extent->host_offset = e->file_offset + inside;
    } else {
        ret = map_sparse(s, e, inside, wait, extent);
        extent->bytes = MIN(extent->bytes, e->bytes - inside);
    }
    if (ret == -EIO) {
        return mapped_corrupt(node,
                              "the grain table of offset %" G_GUINT64_FORMAT
                              " cannot be read, or is not inside '%s'",
                              offset, e->file->filename);
    }
    return ret;
}

/* ---- Compressed grains ---- */

static bool copy_last(VmdkState *s, uint64_t start, uint64_t skip, void *data, uint64_t bytes)
{
    g_mutex_lock(&s->lock);
    bool hit = s->last && s->last_start == start && range_inside(skip, bytes, s->last_bytes);
    if (hit) {
        memcpy(data, s->last + skip, bytes);
    }
    g_mutex_unlock(&s->lock);
    return hit;
}

static void keep_last(VmdkState *s, uint64_t start, uint8_t *grain, uint64_t bytes)
{
    g_mutex_lock(&s->lock);
    uint8_t *old = s->last;
    s->last = grain;
    s->last_start = start;
    s->last_bytes = bytes;
    g_mutex_unlock(&s->lock);
    g_free(old);
}

/* The compressed bytes of a grain: as many as its marker says, else as many as could be. */
static int read_packed(const VmdkExtent *e, uint64_t place, uint8_t *data, uLong *bytes)
{
    uint64_t length = block_node_length(e->file), most = 2 * e->grain_bytes;
    uint8_t marker[MARKER_BYTES];
    if (e->markers) {
        if (!range_inside(place, sizeof(marker), length)) {
            return -EIO;
        }
        int ret = node_pread(e->file, place, marker, sizeof(marker));
        if (ret < 0) {
            return ret;
        }
        place += sizeof(marker);
        *bytes = load_le32(marker + 8);
        if (!*bytes || *bytes > most || !range_inside(place, *bytes, length)) {
            return -EIO;
        }
    } else {
        *bytes = place < length ? MIN(most, length - place) : 0;
    }
    return node_pread(e->file, place, data, *bytes);
}

static int unpack_grain(const VmdkExtent *e, uint64_t place, uint8_t *grain, uLong *bytes)
{
    uLong packed_bytes = 0;
    g_autofree uint8_t *packed = g_try_malloc(2 * e->grain_bytes);
    if (!packed) {
        return -ENOMEM;
    }
    int ret = read_packed(e, place, packed, &packed_bytes);
    if (ret == 0 && uncompress(grain, bytes, packed, packed_bytes) != Z_OK) {
        ret = -EIO;
    }
    return ret;
}

static int vmdk_unpack(BlockNode *node, uint64_t offset, void *data, uint64_t bytes)
{
    VmdkState *s = node->state;
    const VmdkExtent *e = find_extent(s, offset);
    uint64_t skip = (offset - e->start) % e->grain_bytes, start = offset - skip;
    if (copy_last(s, start, skip, data, bytes)) {
        return 0;
    }
    MappedExtent found = { 0 };
    int ret = map_sparse(s, e, offset - e->start, true, &found);
    g_autofree uint8_t *grain = g_try_malloc(e->grain_bytes);
    uLong there = e->grain_bytes;
    if (ret < 0 || !grain) {
        return ret < 0 ? ret : -ENOMEM;
    }
    ret = unpack_grain(e, found.host_offset, grain, &there);
    if (ret == -EIO || (ret == 0 && !range_inside(skip, bytes, there))) {
        return mapped_corrupt(node,
                              "the compressed grain of offset %" G_GUINT64_FORMAT
                              " is damaged or not inside '%s'",
                              start, e->file->filename);
    }
    if (ret == 0) {
        memcpy(data, grain + skip, bytes);
        keep_last(s, start, g_steal_pointer(&grain), there);
    }
    return ret;
}

/* ---- The parent ---- */

static bool vmdk_backing_fits(BlockNode *node)
{
    VmdkState *s = node->state;
    if (node->backing->driver != &vmdk_driver) {
        return true;
    }
    const VmdkState *parent = node->backing->state;
    if (parent->text.cid == s->text.parent_cid) {
        return true;
    }
    mapped_corrupt(node, "its parent '%s' was changed: it has the CID %08x, not %08x",
                   node->backing->filename, parent->text.cid, s->text.parent_cid);
    return false;
}

static const MappedOps vmdk_ops = {
    .open = vmdk_parse,
    .close = vmdk_free,
    .map = vmdk_map,
    .unpack = vmdk_unpack,
    .backing_fits = vmdk_backing_fits,
};

static bool vmdk_open(BlockNode *node, Opts *options, GError **error)
{
    return mapped_open(node, &vmdk_ops, options, error);
}

/* ---- Info ---- */

static json_object *extent_info(BlockNode *node, const VmdkExtent *e)
{
    json_object *info = json_object_new_object();
    if (e->packed) {
        json_object_object_add(info, "compressed", json_object_new_boolean(true));
    }
    json_object_object_add(info, "virtual-size", json_object_new_int64((int64_t)e->bytes));
    json_object_object_add(info, "filename",
                           json_object_new_string(e->file ? e->file->filename : ""));
    if (e->grain_bytes) {
        json_object_object_add(info, "cluster-size",
                               json_object_new_int64((int64_t)e->grain_bytes));
    }
    json_object_object_add(info, "format", json_object_new_string(e->type));
    return info;
}

static void vmdk_info(BlockNode *node, BlockImageInfo *info)
{
    VmdkState *s = node->state;
    json_object *extents = json_object_new_array(), *specific = json_object_new_object();
    uint64_t grain = g_array_index(s->extents, VmdkExtent, 0).grain_bytes;
    for (guint i = 0; i < s->extents->len; i++) {
        const VmdkExtent *e = &g_array_index(s->extents, VmdkExtent, i);
        json_object_array_add(extents, extent_info(node, e));
        grain = e->grain_bytes == grain ? grain : 0;
    }
    json_object_object_add(specific, "cid", json_object_new_int64(s->text.cid));
    json_object_object_add(specific, "parent-cid", json_object_new_int64(s->text.parent_cid));
    json_object_object_add(specific, "create-type", json_object_new_string(s->create_type));
    json_object_object_add(specific, "extents", extents);
    info->cluster_size = (uint32_t)grain;
    info->specific = specific;
}

static const BlockImageOps vmdk_image_ops = {
    .create_options = mapped_no_options,
    .info = vmdk_info,
};

static const char *const vmdk_options[] = { "file", "backing", NULL };

const BlockDriver vmdk_driver = {
    .name = "vmdk",
    .desc = "VMware disk image (read only)",
    .state_size = sizeof(VmdkState),
    .has_file = true,
    .has_backing = true,
    .options = vmdk_options,
    .open = vmdk_open,
    .close = mapped_close,
    .submit = mapped_submit,
    .transfer = mapped_transfer,
    .flush = mapped_flush,
    .image = &vmdk_image_ops,
};
