/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New qcow2 images. From the file's start on, without gaps: the header's cluster, the refcount
 * table, refcount blocks, the L1 table; of preallocated images then all L2 tables and all data
 * clusters. The header goes last: until then the file is no image.
 */
#include "block/qcow2/layout.h"
#include "block/qcow2/qcow2.h"
#include "config.h"
#include "vmm/error.h"

#define CHUNK MIB
#define SPACE (16 * MIB) /* that is taken at once */

const BlockCreateOption qcow2_create_options[] = {
    { "backing_file", BLOCK_OPTION_STRING, "The image that lies below this one", NULL },
    { "backing_fmt", BLOCK_OPTION_STRING, "What the image below is: raw, qcow2 ...", NULL },
    { "cluster_size", BLOCK_OPTION_SIZE, "Bytes that are allocated at a time", "65536" },
    { "compat", BLOCK_OPTION_STRING, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL },
    { "compression_type", BLOCK_OPTION_STRING, "How clusters are compressed: zlib, zstd", "zlib" },
    { "data_file", BLOCK_OPTION_STRING,
      "The file that has the guest's data; this one then has tables only", NULL },
    { "data_file_raw", BLOCK_OPTION_BOOL, "The data file can be read as raw at any time", NULL },
    { "encrypt.cipher-alg", BLOCK_OPTION_STRING, "Encryption's cipher algorithm", NULL },
    { "encrypt.cipher-mode", BLOCK_OPTION_STRING, "Encryption's cipher mode", NULL },
    { "encrypt.format", BLOCK_OPTION_STRING, "How the image is encrypted: 'aes', 'luks'", NULL },
    { "encrypt.hash-alg", BLOCK_OPTION_STRING, "Encryption's hash algorithm", NULL },
    { "encrypt.iter-time", BLOCK_OPTION_NUMBER, "Milliseconds to spend in PBKDF", NULL },
    { "encrypt.ivgen-alg", BLOCK_OPTION_STRING, "How initialisation vectors are made", NULL },
    { "encrypt.ivgen-hash-alg", BLOCK_OPTION_STRING, "Hash algorithm of their generator", NULL },
    { "encrypt.key-secret", BLOCK_OPTION_STRING, "ID of the secret with the key or passphrase",
      NULL },
    { "encryption", BLOCK_OPTION_BOOL, "Encrypt with format 'aes' (deprecated)", NULL },
    { "extended_l2", BLOCK_OPTION_BOOL, "Extended L2 tables", "off" },
    { "lazy_refcounts", BLOCK_OPTION_BOOL,
      "Counts on the disk follow later (faster, repaired after a crash)", "off" },
    { "preallocation", BLOCK_OPTION_STRING, "What is allocated now: off, metadata, falloc, full",
      "off" },
    { "refcount_bits", BLOCK_OPTION_NUMBER, "Bits of each reference count: 1, 2, 4 ... 64", "16" },
    { "size", BLOCK_OPTION_SIZE, "Size of the disk that the guest sees", NULL },
    { NULL },
};

/* ---- Options ---- */

static bool take_cluster_size(Qcow2Header *h, Opts *options, GError **error)
{
    uint64_t size = 65536;
    if (!opts_get_size(options, "cluster_size", &size, error)) {
        return false;
    }
    if (!size || (size & (size - 1)) || size < (1u << QCOW2_MIN_CLUSTER_BITS) ||
        size > (1u << QCOW2_MAX_CLUSTER_BITS)) {
        return error_set(error, "cluster_size: a power of two from 512 bytes to 2 MiB");
    }
    h->cluster_bits = (uint32_t)__builtin_ctzll(size);
    return true;
}

static bool take_refcount_bits(Qcow2Header *h, Opts *options, GError **error)
{
    uint64_t bits = 16;
    if (!opts_get_uint(options, "refcount_bits", UINT32_MAX, &bits, error)) {
        return false;
    }
    if (!bits || bits > 64 || (bits & (bits - 1))) {
        return error_set(error, "refcount_bits: 1, 2, 4, 8, 16, 32 or 64");
    }
    h->refcount_order = (uint32_t)__builtin_ctzll(bits);
    return true;
}

static bool take_version(Qcow2Header *h, Opts *options, GError **error)
{
    const char *compat = opts_get(options, "compat");
    if (!compat || !strcmp(compat, "1.1") || !strcmp(compat, "v3")) {
        h->version = 3;
    } else if (!strcmp(compat, "0.10") || !strcmp(compat, "v2")) {
        h->version = 2;
    } else {
        return error_set(error, "compat=%s: there are 0.10 (v2) and 1.1 (v3)", compat);
    }
    return true;
}

static bool take_compression(Qcow2Header *h, Opts *options, GError **error)
{
    static const char *const types[] = { "zlib", "zstd", NULL };
    int type = QCOW2_COMPRESSION_ZLIB;
    if (!opts_get_enum(options, "compression_type", types, &type, error)) {
        return false;
    }
#ifndef HAVE_ZSTD
    if (type == QCOW2_COMPRESSION_ZSTD) {
        return error_set(error, "compression_type=zstd: this "
                                "program was built without libzstd");
    }
#endif
    h->compression = (uint8_t)type;
    h->incompatible |= type ? QCOW2_INCOMPAT_COMPRESSION : 0;
    return true;
}

static bool take_flags(Qcow2Header *h, Opts *options, GError **error)
{
    bool lazy = false, extended = false, raw = false;
    if (!opts_get_bool(options, "lazy_refcounts", &lazy, error) ||
        !opts_get_bool(options, "extended_l2", &extended, error) ||
        !opts_get_bool(options, "data_file_raw", &raw, error)) {
        return false;
    }
    h->data_file = g_strdup(opts_get(options, "data_file"));
    h->compatible |= lazy ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0;
    h->incompatible |= extended ? QCOW2_INCOMPAT_EXTL2 : 0;
    h->incompatible |= h->data_file ? QCOW2_INCOMPAT_DATA_FILE : 0;
    h->autoclear |= raw ? QCOW2_AUTOCLEAR_DATA_FILE_RAW : 0;
    return true;
}

static bool take_backing(Qcow2Header *h, Opts *options, GError **error)
{
    const char *file = opts_get(options, "backing_file");
    const char *format = opts_get(options, "backing_fmt");
    if (format && !(file && *file)) {
        return error_set(error, "backing_fmt says the format of backing_file, which is missing");
    }
    if (file && *file) {
        if (strlen(file) > QCOW2_MAX_BACKING_NAME) {
            return error_set(error, "the backing file's name has more than %d bytes",
                             QCOW2_MAX_BACKING_NAME);
        }
        h->backing_file = g_strdup(file);
        h->backing_format = g_strdup(format);
    }
    return true;
}

static bool check_version2(const Qcow2Header *h, GError **error)
{
    const char *what = h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS ? "lazy_refcounts=on"
                       : h->refcount_order != 4                    ? "refcount_bits other than 16"
                       : qcow2_has_subclusters(h)                  ? "extended_l2=on"
                       : h->compression ? "compression_type other than zlib"
                       : h->data_file   ? "data_file"
                                        : NULL;
    return h->version > 2 || !what ||
           error_set(error, "%s needs an image of version 3: leave out compat=0.10", what);
}

static bool check_together(const Qcow2Header *h, Qcow2Preallocation mode, GError **error)
{
    bool raw = h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
    if (raw && !h->data_file) {
        return error_set(error, "data_file_raw=on is about a data file: data_file= is missing");
    }
    if (raw && h->backing_file) {
        return error_set(error, "data_file_raw=on promises a whole raw image, which an overlay "
                                "(backing_file) never is");
    }
    if (qcow2_has_subclusters(h) && h->cluster_bits < 14) {
        return error_set(error,
                         "extended_l2=on needs clusters of at least 16 KiB (cluster_size=16k)");
    }
    if (mode != QCOW2_PREALLOCATION_OFF && h->backing_file && !qcow2_has_subclusters(h)) {
        return error_set(error, "an overlay with preallocation needs extended_l2=on: else new "
                                "clusters would hide the backing file");
    }
    return check_version2(h, error);
}

bool qcow2_header_from_options(Qcow2Header *h, Opts *options, Qcow2Preallocation *mode,
                               Qcow2EncryptOptions *e, GError **error)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full", NULL };
    int preallocation = QCOW2_PREALLOCATION_OFF;
    memset(h, 0, sizeof(*h));
    bool ok = qcow2_encrypt_take(e, options, error) && take_version(h, options, error) &&
              take_cluster_size(h, options, error) && take_refcount_bits(h, options, error) &&
              take_compression(h, options, error) && take_flags(h, options, error) &&
              take_backing(h, options, error) &&
              opts_get_enum(options, "preallocation", modes, &preallocation, error) &&
              check_together(h, (Qcow2Preallocation)preallocation, error);
    *mode = (Qcow2Preallocation)preallocation;
    if ((h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) && *mode == QCOW2_PREALLOCATION_OFF) {
        *mode = QCOW2_PREALLOCATION_METADATA; /* tables must not deny what the raw file has */
    }
    h->crypt_method = e->method;
    h->crypto_length = e->method == QCOW2_CRYPT_LUKS ? luks_header_bytes(&e->luks) : 0;
    if (!ok) {
        qcow2_header_clear(h);
        g_clear_pointer(&e->key_secret, g_free);
    }
    return ok;
}

/* ---- The layout ---- */

uint64_t qcow2_refcount_structures(const Qcow2Header *h, uint64_t others, uint64_t *blocks,
                                   uint64_t *table)
{
    uint64_t total = others, before;
    *blocks = *table = 0;
    do {
        before = total;
        *blocks = ((total - 1) >> qcow2_refblock_bits(h)) + 1;
        *table = ((*blocks * 8 - 1) >> h->cluster_bits) + 1;
        total = others + *blocks + *table;
    } while (total != before);
    return total;
}

static uint64_t clusters_of(const Qcow2Header *h, uint64_t bytes)
{
    return (bytes >> h->cluster_bits) + ((bytes & (qcow2_cluster_size(h) - 1)) != 0);
}

bool qcow2_layout_plan(Qcow2Layout *l, Qcow2Header *h, bool preallocated, GError **error)
{
    uint64_t l1 = qcow2_l1_entries(h, h->size);
    if (l1 > QCOW2_MAX_L1_BYTES / 8 || h->size > INT64_MAX) {
        return error_set(error, "the disk is too large for clusters of this size: use larger "
                                "ones (cluster_size)");
    }
    uint64_t l1_clusters = clusters_of(h, l1 * 8), crypto = clusters_of(h, h->crypto_length);
    l->data_clusters = preallocated ? clusters_of(h, h->size) : 0;
    l->tables = preallocated ? l1 : 0;
    l->clusters = qcow2_refcount_structures(
        h, 1 + l1_clusters + crypto + l->tables + (h->data_file ? 0 : l->data_clusters), &l->blocks,
        &l->reftable_clusters);
    if (l->reftable_clusters << h->cluster_bits > QCOW2_MAX_REFTABLE) {
        return error_set(error, "The image is too large for its refcount table (try using larger "
                                "clusters or fewer refcount bits)");
    }
    l->blocks_offset = (1 + l->reftable_clusters) << h->cluster_bits;
    h->reftable_offset = qcow2_cluster_size(h);
    h->reftable_clusters = (uint32_t)l->reftable_clusters;
    h->l1_size = (uint32_t)l1;
    h->l1_offset = l->blocks_offset + (l->blocks << h->cluster_bits);
    if (!l1) {
        h->l1_offset = 0;
    }
    l->l1_clusters = l1_clusters;
    uint64_t end = l->blocks_offset + ((l->blocks + l1_clusters) << h->cluster_bits);
    h->crypto_offset = crypto ? end : 0;
    l->tables_offset = end + (crypto << h->cluster_bits);
    l->data_offset = h->data_file ? 0 : l->tables_offset + (l->tables << h->cluster_bits);
    return true;
}

/* ---- Writing ---- */

/* Fills `bytes` of a table (a multiple of 512) that begin `offset` bytes inside it. */
typedef void FillTable(const Qcow2Header *h, const Qcow2Layout *l, uint64_t offset, uint8_t *data,
                       size_t bytes);

static void fill_reftable(const Qcow2Header *h, const Qcow2Layout *l, uint64_t offset,
                          uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes / 8; i++) {
        uint64_t block = offset / 8 + i;
        store_be64(data + i * 8,
                   block < l->blocks ? l->blocks_offset + (block << h->cluster_bits) : 0);
    }
}

static void fill_blocks(const Qcow2Header *h, const Qcow2Layout *l, uint64_t offset, uint8_t *data,
                        size_t bytes)
{
    uint64_t first = offset * 8 >> h->refcount_order, count = bytes * 8 >> h->refcount_order;
    memset(data, 0, bytes);
    for (uint64_t i = 0; i < count && first + i < l->clusters; i++) {
        qcow2_refcount_set(data, h->refcount_order, i, 1);
    }
}

static void fill_l1(const Qcow2Header *h, const Qcow2Layout *l, uint64_t offset, uint8_t *data,
                    size_t bytes)
{
    for (size_t i = 0; i < bytes / 8; i++) {
        uint64_t table = offset / 8 + i;
        bool used = table < l->tables;
        store_be64(data + i * 8,
                   used ? (l->tables_offset + (table << h->cluster_bits)) | QCOW2_COPIED : 0);
    }
}

/* With subclusters, their bitmaps stay empty: the clusters are there, their contents are not. */
static void fill_l2(const Qcow2Header *h, const Qcow2Layout *l, uint64_t offset, uint8_t *data,
                    size_t bytes)
{
    unsigned size = qcow2_l2_entry_size(h);
    /* What is in clusters of an encrypted image would be deciphered. */
    uint64_t zero = h->crypt_method && !qcow2_has_subclusters(h) ? QCOW2_ZERO : 0;
    memset(data, 0, bytes);
    for (size_t i = 0; i < bytes / size; i++) {
        uint64_t cluster = offset / size + i;
        if (cluster < l->data_clusters) {
            store_be64(data + i * size,
                       (l->data_offset + (cluster << h->cluster_bits)) | QCOW2_COPIED | zero);
        }
    }
}

/* The image that is being made. */
typedef struct Creation {
    BlockCreation creation;
    BlockNode *file;
    BlockNode *data_file; /* whose space is still to be taken, or NULL */
    Qcow2Header h;
    Qcow2Layout l;
    Qcow2Preallocation mode;
    Qcow2EncryptOptions encrypt;
    bool old;         /* the file has content of before */
    BlockGoOn *go_on; /* or NULL */
    void *opaque;
} Creation;

static bool write_failed(BlockNode *file, int ret, GError **error)
{
    return error_set_errno(error, -ret, "Could not write to '%s'",
                           file->filename ? file->filename : file->name);
}

static bool goes_on(const Creation *c, GError **error)
{
    return !c->go_on || c->go_on(c->opaque) ||
           error_set_errno(error, ECANCELED, "creation of the image");
}

static bool write_table(const Creation *c, FillTable *fill, uint64_t where, uint64_t bytes,
                        GError **error)
{
    g_autofree uint8_t *data = g_malloc(CHUNK);
    for (uint64_t done = 0; done < bytes;) {
        size_t n = MIN(bytes - done, CHUNK);
        fill(&c->h, &c->l, done, data, n);
        int ret = node_pwrite(c->file, where + done, data, n);
        if (ret < 0) {
            return write_failed(c->file, ret, error);
        }
        if (!goes_on(c, error)) {
            return false;
        }
        done += n;
    }
    return true;
}

static bool write_tables(const Creation *c, GError **error)
{
    const Qcow2Header *h = &c->h;
    const Qcow2Layout *l = &c->l;
    unsigned bits = h->cluster_bits;
    return write_table(c, fill_reftable, h->reftable_offset, l->reftable_clusters << bits, error) &&
           write_table(c, fill_blocks, l->blocks_offset, l->blocks << bits, error) &&
           write_table(c, fill_l1, h->l1_offset, l->l1_clusters << bits, error) &&
           write_table(c, fill_l2, l->tables_offset, l->tables << bits, error);
}

/* What was on a device must neither pass for an image while this one is made, nor show as data of
 * clusters that are given out beforehand. */
static bool clear_old(const Creation *c, GError **error)
{
    uint8_t sector[QCOW2_H_SECTOR] = { 0 };
    uint64_t bytes = c->h.data_file ? 0 : c->l.data_clusters << c->h.cluster_bits;
    int ret = node_pwrite(c->file, 0, sector, sizeof(sector));
    for (uint64_t done = 0, n; ret == 0 && done < bytes; done += n) {
        n = MIN(bytes - done, SPACE);
        ret = block_pwrite_zeroes(c->file, c->l.data_offset + done, n, 0);
        if (ret == 0 && !goes_on(c, error)) {
            return false;
        }
    }
    ret = ret ? ret : node_flush(c->file);
    return ret == 0 || write_failed(c->file, ret, error);
}

static bool take_space(const Creation *c, BlockNode *file, uint64_t offset, uint64_t bytes,
                       GError **error)
{
    bool full = c->mode == QCOW2_PREALLOCATION_FULL;
    for (uint64_t done = 0, n; done < bytes; done += n) {
        n = MIN(bytes - done, SPACE);
        if (!file_preallocate(file, offset + done, n, full, error) || !goes_on(c, error)) {
            return false;
        }
    }
    return true;
}

static bool make_space(const Creation *c, GError **error)
{
    if (c->mode < QCOW2_PREALLOCATION_FALLOC) {
        return true;
    }
    if (c->h.data_file) {
        return take_space(c, node_protocol(c->data_file), 0, c->h.size, error);
    }
    return take_space(c, c->file, c->l.data_offset, c->l.data_clusters << c->h.cluster_bits, error);
}

/* As QEMU does, a relative name counts from the working directory, not from the image's. */
static bool create_data_file(Creation *c, GError **error)
{
    const char *name = c->h.data_file;
    BlockOpenMode mode = { .writable = true };
    g_autoptr(Opts) options = opts_new();
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, c->h.size);
    opts_set(options, "size", size);
    bool ok = block_image_create(name, "raw", options, error);
    if (ok && c->mode >= QCOW2_PREALLOCATION_FALLOC) {
        c->data_file = block_image_open(name, "raw", NULL, &mode, error);
        ok = c->data_file;
    }
    if (!ok) {
        g_prefix_error(error, "data file '%s': ", name);
    }
    return ok;
}

/* Its first sector makes the file an image: that goes when all the rest is on the disk. */
static bool write_header(BlockNode *file, const Qcow2Header *h, GError **error)
{
    size_t size = qcow2_cluster_size(h);
    g_autofree uint8_t *cluster = g_malloc(size);
    if (!qcow2_header_write(h, cluster, size, error)) {
        return false;
    }
    uint64_t behind = size - QCOW2_H_SECTOR;
    int ret = behind ? node_pwrite(file, QCOW2_H_SECTOR, cluster + QCOW2_H_SECTOR, behind) : 0;
    ret = ret ? ret : node_flush(file);
    ret = ret ? ret : node_pwrite(file, 0, cluster, QCOW2_H_SECTOR);
    return ret == 0 || write_failed(file, ret, error);
}

static bool fill_image(BlockCreation *creation, BlockGoOn *go_on, void *opaque, GError **error)
{
    Creation *c = (Creation *)creation;
    c->go_on = go_on;
    c->opaque = opaque;
    return (!c->old || clear_old(c, error)) && make_space(c, error) && write_tables(c, error) &&
           qcow2_encrypt_create(&c->encrypt, &c->h, c->file, error) &&
           write_header(c->file, &c->h, error);
}

static void free_creation(BlockCreation *creation)
{
    Creation *c = (Creation *)creation;
    if (c->data_file) {
        block_node_unref(c->data_file);
    }
    qcow2_encrypt_forget(&c->encrypt);
    qcow2_header_clear(&c->h);
    g_free(c);
}

/* Everything but what is written. */
static bool plan_image(Creation *c, GError **error)
{
    bool preallocated = c->mode != QCOW2_PREALLOCATION_OFF;
    uint64_t length = block_node_length(c->file);
    if (!qcow2_encrypt_check(&c->encrypt, &c->h, preallocated, error) ||
        !qcow2_layout_plan(&c->l, &c->h, preallocated, error) ||
        (c->h.data_file && !create_data_file(c, error))) {
        return false;
    }
    uint64_t end = c->l.clusters << c->h.cluster_bits;
    c->old = length > 0;
    return length >= end || block_resize(c->file, end, error);
}

static bool read_options(Creation *c, Opts *options, GError **error)
{
    uint64_t size = 0;
    if (!opts_has(options, "size")) {
        return error_set(error, "the size is missing: a disk of how many bytes?");
    }
    if (!opts_get_size(options, "size", &size, error)) {
        return false;
    }
    if (size > INT64_MAX - 511) {
        return error_set(
            error, "a disk has 0 to %" G_GINT64_FORMAT " bytes: the size is out of this range",
            INT64_MAX);
    }
    if (!qcow2_header_from_options(&c->h, options, &c->mode, &c->encrypt, error)) {
        return false;
    }
    c->h.size = ALIGN_UP(size, 512);
    return true;
}

BlockCreation *qcow2_plan(BlockNode *file, Opts *options, GError **error)
{
    Creation *c = g_new0(Creation, 1);
    c->creation = (BlockCreation){ fill_image, free_creation };
    c->file = file;
    if (!read_options(c, options, error) || !plan_image(c, error)) {
        free_creation(&c->creation);
        return NULL;
    }
    return &c->creation;
}

bool qcow2_create(BlockNode *file, Opts *options, GError **error)
{
    return block_creation_run(qcow2_plan(file, options, error), error);
}
