/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of a qcow2 file: reading it from hostile bytes, writing it. */
#include <string.h>
#include "block/qcow2/format.h"
#include "vmm/error.h"

/* ---- Refcounts in a block ---- */

uint64_t qcow2_refcount_get(const uint8_t *block, unsigned order, uint64_t index)
{
    if (order < 3) {
        unsigned per_byte = 8 >> order, shift = (index % per_byte) << order;
        return (block[index / per_byte] >> shift) & ((1u << (1u << order)) - 1);
    }
    switch (order) {
    case 3:
        return block[index];
    case 4:
        return load_be16(block + index * 2);
    case 5:
        return load_be32(block + index * 4);
    default:
        return load_be64(block + index * 8);
    }
}

void qcow2_refcount_set(uint8_t *block, unsigned order, uint64_t index, uint64_t value)
{
    if (order < 3) {
        unsigned per_byte = 8 >> order, shift = (index % per_byte) << order;
        unsigned mask = ((1u << (1u << order)) - 1) << shift;
        uint8_t *byte = &block[index / per_byte];
        *byte = (uint8_t)((*byte & ~mask) | (value << shift));
        return;
    }
    switch (order) {
    case 3:
        block[index] = (uint8_t)value;
        break;
    case 4:
        store_be16(block + index * 2, (uint16_t)value);
        break;
    case 5:
        store_be32(block + index * 4, (uint32_t)value);
        break;
    default:
        store_be64(block + index * 8, value);
        break;
    }
}

/* ---- Reading ---- */

static bool check_features(Qcow2Header *h, GError **error)
{
    uint64_t unknown = h->incompatible & ~(uint64_t)QCOW2_INCOMPAT_KNOWN;
    if (unknown) {
        return error_set(error, "incompatible features 0x%" G_GINT64_MODIFIER "x are not known%s%s",
                         unknown, h->unknown_features ? ": " : "",
                         h->unknown_features ? h->unknown_features : "");
    }
    if (h->compression > QCOW2_COMPRESSION_ZSTD ||
        (h->compression != 0) != !!(h->incompatible & QCOW2_INCOMPAT_COMPRESSION)) {
        return error_set(
            error,
            "compression type %u does not fit the incompatible features 0x%" G_GINT64_MODIFIER "x",
            h->compression, h->incompatible);
    }
    return true;
}

static bool read_version3(Qcow2Header *h, const uint8_t *data, size_t length, GError **error)
{
    if (h->version == 2) {
        h->refcount_order = 4;
        h->header_length = QCOW2_H_V2_LENGTH;
        return true;
    }
    if (length < QCOW2_H_V3_LENGTH) {
        return error_set(error, "the file ends inside its header");
    }
    h->incompatible = load_be64(data + QCOW2_H_INCOMPATIBLE);
    h->compatible = load_be64(data + QCOW2_H_COMPATIBLE);
    h->autoclear = load_be64(data + QCOW2_H_AUTOCLEAR);
    h->refcount_order = load_be32(data + QCOW2_H_REFCOUNT_ORDER);
    h->header_length = load_be32(data + QCOW2_H_HEADER_LENGTH);
    if (h->header_length < QCOW2_H_V3_LENGTH || h->header_length > qcow2_cluster_size(h) ||
        h->header_length > length) {
        return error_set(error, "header length %u is not between %d and a cluster",
                         h->header_length, QCOW2_H_V3_LENGTH);
    }
    if (h->header_length > QCOW2_H_COMPRESSION) {
        h->compression = data[QCOW2_H_COMPRESSION];
    }
    if (h->refcount_order > 6) {
        return error_set(error, "refcount order %u: at most 6 (64 bits)", h->refcount_order);
    }
    return true;
}

static bool check_table(const Qcow2Header *h, const char *what, uint64_t offset, uint64_t bytes,
                        uint64_t most, GError **error)
{
    if (bytes > most) {
        return error_set(error, "%s of %" G_GUINT64_FORMAT " bytes: at most %" G_GUINT64_FORMAT,
                         what, bytes, most);
    }
    if (offset % qcow2_cluster_size(h) || offset > INT64_MAX - bytes || (bytes && !offset)) {
        return error_set(error, "%s offset 0x%" G_GINT64_MODIFIER "x is not a cluster's", what,
                         offset);
    }
    return true;
}

static bool check_tables(Qcow2Header *h, GError **error)
{
    uint64_t needed = qcow2_l1_entries(h, h->size);
    if (h->size > INT64_MAX) {
        return error_set(error, "size %" G_GUINT64_FORMAT ": more than 8 EiB", h->size);
    }
    if (h->l1_size < needed) {
        return error_set(error,
                         "L1 table of %u entries is too small: the size needs %" G_GUINT64_FORMAT,
                         h->l1_size, needed);
    }
    if (h->nb_snapshots > QCOW2_MAX_SNAPSHOTS) {
        return error_set(error, "%u snapshots: at most %u", h->nb_snapshots, QCOW2_MAX_SNAPSHOTS);
    }
    if (!h->reftable_clusters) {
        return error_set(error, "it has no refcount table");
    }
    return check_table(h, "L1 table", h->l1_offset, (uint64_t)h->l1_size * 8, QCOW2_MAX_L1_BYTES,
                       error) &&
           check_table(h, "refcount table", h->reftable_offset,
                       (uint64_t)h->reftable_clusters << h->cluster_bits, QCOW2_MAX_REFTABLE,
                       error) &&
           check_table(h, "snapshot table", h->snapshots_offset, h->nb_snapshots, UINT32_MAX,
                       error);
}

static char *take_text(const uint8_t *data, uint32_t length)
{
    return g_strndup((const char *)data, length);
}

static bool read_bitmaps(Qcow2Header *h, const uint8_t *data, uint32_t length, GError **error)
{
    if (length != 24) {
        return error_set(error, "bitmaps extension of %u bytes: 24 expected", length);
    }
    if (!(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        return true; /* written by a program that did not know them: no longer valid */
    }
    h->has_bitmaps = true;
    h->nb_bitmaps = load_be32(data);
    h->bitmap_directory_size = load_be64(data + 8);
    h->bitmap_directory_offset = load_be64(data + 16);
    if (!h->nb_bitmaps || h->nb_bitmaps > 65535) {
        return error_set(error, "%u bitmaps: 1 to 65535", h->nb_bitmaps);
    }
    return check_table(h, "bitmap directory", h->bitmap_directory_offset, h->bitmap_directory_size,
                       64 * MIB, error);
}

static void read_feature_names(Qcow2Header *h, const uint8_t *data, uint32_t length)
{
    g_autoptr(GString) names = g_string_new(NULL);
    for (uint32_t i = 0; i + 48 <= length; i += 48) {
        unsigned bit = data[i + 1];
        if (data[i] == 0 && bit < 64 && bit >= 5 && h->incompatible >> bit & 1) {
            g_autofree char *name = g_strndup((const char *)data + i + 2, 46);
            g_autofree char *plain = g_utf8_make_valid(name, -1);
            g_string_append_printf(names, "%s%s", names->len ? ", " : "", plain);
        }
    }
    if (names->len && !h->unknown_features) {
        h->unknown_features = g_strdup(names->str);
    }
}

static void keep_extension(Qcow2Header *h, uint32_t type, const uint8_t *data, uint32_t length)
{
    Qcow2Extension *e = g_new0(Qcow2Extension, 1);
    e->type = type;
    e->length = length;
    e->data = g_memdup2(data, length);
    if (!h->unknown) {
        h->unknown = g_ptr_array_new();
    }
    g_ptr_array_add(h->unknown, e);
}

static bool read_extension(Qcow2Header *h, uint32_t type, const uint8_t *data, uint32_t length,
                           GError **error)
{
    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
        g_free(h->backing_format);
        h->backing_format = take_text(data, length);
        return true;
    case QCOW2_EXT_DATA_FILE:
        g_free(h->data_file);
        h->data_file = take_text(data, length);
        return true;
    case QCOW2_EXT_FEATURES:
        read_feature_names(h, data, length);
        return true;
    case QCOW2_EXT_CRYPTO:
        if (length != 16) {
            return error_set(error, "encryption header extension of %u bytes: 16 expected", length);
        }
        h->crypto_offset = load_be64(data);
        h->crypto_length = load_be64(data + 8);
        return check_table(h, "encryption header", h->crypto_offset, h->crypto_length, 64 * MIB,
                           error);
    case QCOW2_EXT_BITMAPS:
        return read_bitmaps(h, data, length, error);
    default:
        keep_extension(h, type, data, length);
        return true;
    }
}

static bool read_extensions(Qcow2Header *h, const uint8_t *data, size_t end, GError **error)
{
    size_t at = h->header_length;
    while (at + 8 <= end) {
        uint32_t type = load_be32(data + at), length = load_be32(data + at + 4);
        at += 8;
        if (type == QCOW2_EXT_END) {
            return true;
        }
        if (length > end - at) {
            return error_set(error, "header extension 0x%08x of %u bytes does not fit", type,
                             length);
        }
        if (!read_extension(h, type, data + at, length, error)) {
            return false;
        }
        at += ALIGN_UP((size_t)length, 8);
    }
    return true;
}

static bool read_backing_name(Qcow2Header *h, const uint8_t *data, size_t length, size_t *end,
                              GError **error)
{
    uint64_t offset = load_be64(data + QCOW2_H_BACKING_OFFSET);
    uint32_t bytes = load_be32(data + QCOW2_H_BACKING_SIZE);
    *end = MIN(length, qcow2_cluster_size(h));
    if (!offset) {
        return true;
    }
    if (bytes > QCOW2_MAX_BACKING_NAME || offset < h->header_length ||
        !range_inside(offset, bytes, *end)) {
        return error_set(error,
                         "backing file name of %u bytes at 0x%" G_GINT64_MODIFIER
                         "x is not inside the first cluster",
                         bytes, offset);
    }
    if (bytes) {
        h->backing_file = take_text(data + offset, bytes);
    }
    *end = offset;
    return true;
}

bool qcow2_header_parse(Qcow2Header *h, const uint8_t *data, size_t length, uint64_t file_length,
                        GError **error)
{
    size_t end;
    memset(h, 0, sizeof(*h));
    if (length < QCOW2_H_V2_LENGTH || load_be32(data) != QCOW2_MAGIC) {
        return error_set(error, "it is not a qcow2 image");
    }
    h->version = load_be32(data + QCOW2_H_VERSION);
    h->cluster_bits = load_be32(data + QCOW2_H_CLUSTER_BITS);
    h->size = load_be64(data + QCOW2_H_SIZE);
    h->crypt_method = load_be32(data + QCOW2_H_CRYPT_METHOD);
    h->l1_size = load_be32(data + QCOW2_H_L1_SIZE);
    h->l1_offset = load_be64(data + QCOW2_H_L1_OFFSET);
    h->reftable_offset = load_be64(data + QCOW2_H_REFTABLE_OFFSET);
    h->reftable_clusters = load_be32(data + QCOW2_H_REFTABLE_CLUSTERS);
    h->nb_snapshots = load_be32(data + QCOW2_H_NB_SNAPSHOTS);
    h->snapshots_offset = load_be64(data + QCOW2_H_SNAPSHOTS_OFFSET);
    if (h->version != 2 && h->version != 3) {
        return error_set(error, "qcow2 version %u is not 2 or 3", h->version);
    }
    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS) {
        return error_set(error, "cluster bits %u: %d to %d", h->cluster_bits,
                         QCOW2_MIN_CLUSTER_BITS, QCOW2_MAX_CLUSTER_BITS);
    }
    if (h->crypt_method > QCOW2_CRYPT_LUKS) {
        return error_set(error, "encryption method %u is not known", h->crypt_method);
    }
    bool ok = read_version3(h, data, length, error) &&
              read_backing_name(h, data, length, &end, error) &&
              read_extensions(h, data, end, error) && check_features(h, error) &&
              (!qcow2_has_subclusters(h) || h->cluster_bits >= 14 ||
               error_set(error, "extended L2 entries need clusters of at least 16 KiB")) &&
              check_tables(h, error);
    if (!ok) {
        qcow2_header_clear(h);
    }
    return ok;
}

void qcow2_header_clear(Qcow2Header *h)
{
    for (guint i = 0; h->unknown && i < h->unknown->len; i++) {
        Qcow2Extension *e = h->unknown->pdata[i];
        g_free(e->data);
        g_free(e);
    }
    g_clear_pointer(&h->unknown, g_ptr_array_unref);
    g_clear_pointer(&h->backing_file, g_free);
    g_clear_pointer(&h->backing_format, g_free);
    g_clear_pointer(&h->data_file, g_free);
    g_clear_pointer(&h->unknown_features, g_free);
}

/* ---- Writing ---- */

typedef struct Writer {
    uint8_t *data;
    size_t at, length;
    bool full;
} Writer;

static void put_extension(Writer *w, uint32_t type, const void *data, size_t length)
{
    size_t padded = ALIGN_UP(length, 8);
    if (w->full || w->length - w->at < 8 + padded) {
        w->full = true;
        return;
    }
    store_be32(w->data + w->at, type);
    store_be32(w->data + w->at + 4, (uint32_t)length);
    if (length) {
        memcpy(w->data + w->at + 8, data, length);
    }
    w->at += 8 + padded;
}

static void put_text(Writer *w, uint32_t type, const char *text)
{
    if (text) {
        put_extension(w, type, text, strlen(text));
    }
}

static void put_feature(uint8_t *entry, uint8_t type, uint8_t bit, const char *name)
{
    entry[0] = type;
    entry[1] = bit;
    memcpy(entry + 2, name, strlen(name));
}

static void put_features(Writer *w)
{
    static const struct {
        uint8_t type, bit;
        const char *name;
    } names[] = {
        { 0, 0, "dirty bit" },
        { 0, 1, "corrupt bit" },
        { 0, 2, "external data file" },
        { 0, 3, "compression type" },
        { 0, 4, "extended L2 entries" },
        { 1, 0, "lazy refcounts" },
        { 2, 0, "bitmaps" },
        { 2, 1, "raw external data" },
    };
    uint8_t table[G_N_ELEMENTS(names) * 48] = { 0 };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        put_feature(table + i * 48, names[i].type, names[i].bit, names[i].name);
    }
    put_extension(w, QCOW2_EXT_FEATURES, table, sizeof(table));
}

static void put_extensions(Writer *w, const Qcow2Header *h, bool features)
{
    put_text(w, QCOW2_EXT_BACKING_FORMAT, h->backing_file ? h->backing_format : NULL);
    put_text(w, QCOW2_EXT_DATA_FILE, h->data_file);
    if (h->crypto_offset) {
        uint8_t crypto[16];
        store_be64(crypto, h->crypto_offset);
        store_be64(crypto + 8, h->crypto_length);
        put_extension(w, QCOW2_EXT_CRYPTO, crypto, sizeof(crypto));
    }
    if (h->version >= 3 && features) {
        put_features(w);
    }
    if (h->has_bitmaps && h->nb_bitmaps) {
        uint8_t bitmaps[24] = { 0 };
        store_be32(bitmaps, h->nb_bitmaps);
        store_be64(bitmaps + 8, h->bitmap_directory_size);
        store_be64(bitmaps + 16, h->bitmap_directory_offset);
        put_extension(w, QCOW2_EXT_BITMAPS, bitmaps, sizeof(bitmaps));
    }
    for (guint i = 0; h->unknown && i < h->unknown->len; i++) {
        const Qcow2Extension *e = h->unknown->pdata[i];
        put_extension(w, e->type, e->data, e->length);
    }
    put_extension(w, QCOW2_EXT_END, NULL, 0);
}

static void put_fields(const Qcow2Header *h, uint8_t *data)
{
    store_be32(data + QCOW2_H_MAGIC, QCOW2_MAGIC);
    store_be32(data + QCOW2_H_VERSION, h->version);
    store_be32(data + QCOW2_H_CLUSTER_BITS, h->cluster_bits);
    store_be64(data + QCOW2_H_SIZE, h->size);
    store_be32(data + QCOW2_H_CRYPT_METHOD, h->crypt_method);
    store_be32(data + QCOW2_H_L1_SIZE, h->l1_size);
    store_be64(data + QCOW2_H_L1_OFFSET, h->l1_offset);
    store_be64(data + QCOW2_H_REFTABLE_OFFSET, h->reftable_offset);
    store_be32(data + QCOW2_H_REFTABLE_CLUSTERS, h->reftable_clusters);
    store_be32(data + QCOW2_H_NB_SNAPSHOTS, h->nb_snapshots);
    store_be64(data + QCOW2_H_SNAPSHOTS_OFFSET, h->snapshots_offset);
    if (h->version >= 3) {
        store_be64(data + QCOW2_H_INCOMPATIBLE, h->incompatible);
        store_be64(data + QCOW2_H_COMPATIBLE, h->compatible);
        store_be64(data + QCOW2_H_AUTOCLEAR, h->autoclear);
        store_be32(data + QCOW2_H_REFCOUNT_ORDER, h->refcount_order);
        store_be32(data + QCOW2_H_HEADER_LENGTH, QCOW2_H_FULL_LENGTH);
        data[QCOW2_H_COMPRESSION] = h->compression;
    }
}

/* All but the name of the backing file; features: with their names, which are long. */
static uint64_t put_all(const Qcow2Header *h, uint8_t *data, size_t length, bool features)
{
    Writer w = { .data = data, .length = length };
    memset(data, 0, length);
    put_fields(h, data);
    w.at = h->version >= 3 ? QCOW2_H_FULL_LENGTH : QCOW2_H_V2_LENGTH;
    put_extensions(&w, h, features);
    return w.full ? length + 1 : w.at;
}

static void put_name(const Qcow2Header *h, uint8_t *data, uint64_t at, size_t name)
{
    memcpy(data + at, h->backing_file, name);
    store_be64(data + QCOW2_H_BACKING_OFFSET, at);
    store_be32(data + QCOW2_H_BACKING_SIZE, (uint32_t)name);
}

bool qcow2_header_write(const Qcow2Header *h, uint8_t *data, size_t length, GError **error)
{
    uint64_t end = put_all(h, data, length, length >= 1024);
    size_t name = h->backing_file ? strlen(h->backing_file) : 0;
    if (end > length || name > length - end || name > QCOW2_MAX_BACKING_NAME) {
        return error_set(error,
                         "the header with its extensions and the backing file's name does "
                         "not fit into a cluster of %zu bytes",
                         length);
    }
    if (name) {
        put_name(h, data, end, name);
    }
    return true;
}

bool qcow2_header_write_short(const Qcow2Header *h, uint8_t *data, size_t length, uint64_t name_at)
{
    size_t name = h->backing_file ? strlen(h->backing_file) : 0;
    uint64_t end = put_all(h, data, QCOW2_H_SECTOR, false), at = name_at ? name_at : end;
    if (end > QCOW2_H_SECTOR || name > QCOW2_MAX_BACKING_NAME ||
        (name && at + name > (name_at ? length : QCOW2_H_SECTOR))) {
        return false;
    }
    memset(data + QCOW2_H_SECTOR, 0, length - QCOW2_H_SECTOR);
    if (name) {
        put_name(h, data, at, name);
    }
    return true;
}
