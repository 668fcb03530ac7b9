/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing what a whole image says of itself: backing file, features, refcount width, contents. */
#include "block/qcow2/check.h"
#include "block/qcow2/encrypt.h"
#include "block/qcow2/offline.h"

const BlockCreateOption qcow2_amend_options[] = {
    { "backing_file", BLOCK_OPTION_STRING, "The image that lies below this one", NULL },
    { "backing_fmt", BLOCK_OPTION_STRING, "What the image below is: raw, qcow2 ...", NULL },
    { "compat", BLOCK_OPTION_STRING, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL },
    { "data_file", BLOCK_OPTION_STRING,
      "The file that has the guest's data; this one then has tables only", NULL },
    { "data_file_raw", BLOCK_OPTION_BOOL, "The data file can be read as raw at any time", NULL },
    { "encrypt.iter-time", BLOCK_OPTION_NUMBER, "Milliseconds to spend in PBKDF", NULL },
    { "encrypt.keyslot", BLOCK_OPTION_NUMBER, "The key slot that is changed", NULL },
    { "encrypt.new-secret", BLOCK_OPTION_STRING, "ID of the secret with a password to add", NULL },
    { "encrypt.old-secret", BLOCK_OPTION_STRING, "Slots of this secret's password are erased",
      NULL },
    { "encrypt.state", BLOCK_OPTION_STRING, "What slots become: active, inactive", NULL },
    { "lazy_refcounts", BLOCK_OPTION_BOOL,
      "Counts on the disk follow later (faster, repaired after a crash)", "off" },
    { "refcount_bits", BLOCK_OPTION_NUMBER, "Bits of each reference count: 1, 2, 4 ... 64", "16" },
    { "size", BLOCK_OPTION_SIZE, "Size of the disk that the guest sees", NULL },
    { NULL },
};

/* ---- Backing file ---- */

bool qcow2_set_backing(BlockNode *node, const char *file, const char *format, GError **error)
{
    Qcow2 *s = node->state;
    char *old_file = s->h.backing_file, *old_format = s->h.backing_format;
    bool named = file && *file;
    if (named && strlen(file) > QCOW2_MAX_BACKING_NAME) {
        return error_set(error, "the backing file's name has more than %d bytes",
                         QCOW2_MAX_BACKING_NAME);
    }
    if (named && s->h.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) {
        return error_set(error, "'%s': an image whose data file is raw can have no backing file",
                         node->filename);
    }
    if (!qcow2_flush_all(s, error)) {
        return false;
    }
    s->h.backing_file = named ? g_strdup(file) : NULL;
    s->h.backing_format = named ? g_strdup(format) : NULL;
    if (!qcow2_update_header(s, error)) {
        g_free(s->h.backing_file);
        g_free(s->h.backing_format);
        s->h.backing_file = old_file;
        s->h.backing_format = old_format;
        return false;
    }
    g_free(old_file);
    g_free(old_format);
    g_free(node->backing_file);
    g_free(node->backing_format);
    node->backing_file = g_strdup(s->h.backing_file);
    node->backing_format = g_strdup(s->h.backing_format);
    return true;
}

/* ---- Contents ---- */

static bool empty_l1(Qcow2Offline *o, GError **error)
{
    Qcow2 *s = o->s;
    uint32_t entries = s->h.l1_size;
    uint64_t offset;
    g_autofree uint64_t *l1 = g_new0(uint64_t, MAX(entries, 1));
    return qcow2_offline_alloc(o, entries * 8ULL, &offset, error) &&
           (!entries || qcow2_offline_write(o, offset, l1, entries, error)) &&
           qcow2_offline_replace_l1(o, offset, entries, s->h.size, error);
}

bool qcow2_make_empty(BlockNode *node, GError **error)
{
    Qcow2 *s = node->state;
    Qcow2Offline o;
    if (node->data_file) {
        return error_set(error, "'%s' has an external data file: it cannot be emptied",
                         node->filename);
    }
    return qcow2_offline_begin(&o, s, error) && qcow2_offline_end(&o, empty_l1(&o, error), error);
}

/* ---- Refcount width ---- */

static bool set_refcount_order(Qcow2 *s, uint32_t order, GError **error)
{
    BlockCheckResult result = { 0 };
    if (order == s->h.refcount_order) {
        return true;
    }
    if (!qcow2_flush_all(s, error)) {
        return false;
    }
    node_refresh_length(s->node->file);
    bool ok = qcow2_check_recount(s->node->file, &s->h, order, &result, error);
    if (!ok) {
        g_prefix_error(error, "'%s': ", s->node->filename);
    }
    return qcow2_reload(s, ok ? error : NULL) && ok;
}

/* ---- Options ---- */

static bool take_compat(Qcow2 *s, Opts *options, GError **error)
{
    const char *compat = opts_get(options, "compat");
    bool newer = !compat || !strcmp(compat, "1.1") || !strcmp(compat, "v3");
    if (!compat || (newer && s->h.version == 3)) {
        return true;
    }
    if (!newer && strcmp(compat, "0.10") != 0 && strcmp(compat, "v2") != 0) {
        return error_set(error, "compat=%s: there are 0.10 (v2) and 1.1 (v3)", compat);
    }
    if (!newer) {
        return s->h.version == 2 || qcow2_downgrade(s, error);
    }
    s->h.version = 3;
    s->h.header_length = QCOW2_H_FULL_LENGTH;
    if (qcow2_flush_all(s, error) && qcow2_update_header(s, error)) {
        return true;
    }
    s->h.version = 2;
    return false;
}

static bool take_lazy(Qcow2 *s, Opts *options, GError **error)
{
    bool was = s->h.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS, lazy = was;
    if (!opts_get_bool(options, "lazy_refcounts", &lazy, error)) {
        return false;
    }
    if (lazy == was) {
        return true;
    }
    if (s->h.version < 3) {
        return error_set(error, "lazy_refcounts=on needs an image of version 3: use compat=1.1");
    }
    s->h.compatible ^= QCOW2_COMPAT_LAZY_REFCOUNTS;
    return qcow2_flush_all(s, error) && qcow2_update_header(s, error);
}

static bool take_refcount_bits(Qcow2 *s, Opts *options, GError **error)
{
    uint64_t bits = 1u << s->h.refcount_order;
    if (!opts_get_uint(options, "refcount_bits", UINT32_MAX, &bits, error)) {
        return false;
    }
    if (!bits || bits > 64 || (bits & (bits - 1))) {
        return error_set(error, "refcount_bits: 1, 2, 4, 8, 16, 32 or 64");
    }
    if (s->h.version < 3 && bits != 16) {
        return error_set(
            error, "an image of version 2 has counts of 16 bits: refcount_bits=16, or compat=1.1");
    }
    return set_refcount_order(s, (uint32_t)__builtin_ctzll(bits), error);
}

static bool take_backing(BlockNode *node, Opts *options, GError **error)
{
    const char *file = opts_get(options, "backing_file");
    const char *format = opts_get(options, "backing_fmt");
    return (!file && !format) || qcow2_set_backing(node, file ? file : node->backing_file,
                                                   format ? format : node->backing_format, error);
}

static bool take_size(BlockNode *node, Opts *options, GError **error)
{
    uint64_t size = block_node_length(node);
    return opts_get_size(options, "size", &size, error) &&
           (size == block_node_length(node) || block_resize(node, size, error));
}

/* Off: from here on the file alone may be out of date. All that the tables say is on the disk
 * before; the flag then changes in one sector. */
static bool take_data_file_raw(Qcow2 *s, Opts *options, GError **error)
{
    bool was = s->h.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW, raw = was;
    uint8_t field[8];
    if (!opts_get_bool(options, "data_file_raw", &raw, error)) {
        return false;
    }
    if (raw && !was) {
        return error_set(error,
                         "data_file_raw=on: the data file of an image that exists may be out of "
                         "date already");
    }
    if (raw == was) {
        return true;
    }
    if (!qcow2_flush_all(s, error)) {
        return false;
    }
    store_be64(field, s->h.autoclear & ~(uint64_t)QCOW2_AUTOCLEAR_DATA_FILE_RAW);
    int ret = node_pwrite(s->node->file, QCOW2_H_AUTOCLEAR, field, sizeof(field));
    ret = ret ? ret : node_flush(s->node->file);
    if (ret < 0) {
        return error_set_errno(error, -ret, "'%s': cannot write its header", s->node->filename);
    }
    s->h.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_DATA_FILE_RAW;
    return true;
}

/* Whether the header with its new name changes in one sector. */
static bool fits_sector(const Qcow2 *s)
{
    g_autofree uint8_t *data = g_malloc0(s->cluster_size);
    return qcow2_header_write_short(&s->h, data, s->cluster_size, QCOW2_H_SECTOR);
}

/* Another name for the data file, or none (""); its content is the user's care. */
static bool take_data_file(Qcow2 *s, Opts *options, GError **error)
{
    const char *name = opts_get(options, "data_file");
    char *old = s->h.data_file;
    if (!name) {
        return true;
    }
    if (!(s->h.incompatible & QCOW2_INCOMPAT_DATA_FILE)) {
        return error_set(error,
                         "data_file: the image has its data inside, not in a file of its own");
    }
    s->h.data_file = *name ? g_strdup(name) : NULL;
    bool fits = fits_sector(s);
    if (!fits) {
        error_set(error,
                  "'%s': a data file's name of %zu bytes does not fit into the header's "
                  "first sector",
                  s->node->filename, strlen(name));
    }
    if (fits && qcow2_flush_all(s, error) && qcow2_update_header(s, error)) {
        g_free(old);
        return true;
    }
    g_free(s->h.data_file);
    s->h.data_file = old;
    return false;
}

/* Options that say what is so already are no error. */
static bool check_fixed(Qcow2 *s, Opts *options, GError **error)
{
    static const char *const fixed[] = { "preallocation", "encryption" };
    uint64_t cluster = s->cluster_size;
    bool extended = s->subclusters;
    const char *type = opts_get(options, "compression_type");
    if (!opts_get_size(options, "cluster_size", &cluster, error) ||
        !opts_get_bool(options, "extended_l2", &extended, error)) {
        return false;
    }
    const char *what = cluster != s->cluster_size   ? "the cluster size"
                       : extended != s->subclusters ? "extended L2 entries"
                       : type && strcmp(type, s->h.compression ? "zstd" : "zlib") != 0
                           ? "the compression type"
                           : NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(fixed) && !what; i++) {
        const char *value = opts_get(options, fixed[i]);
        what = value && strcmp(value, "off") != 0 ? fixed[i] : NULL;
    }
    return !what || error_set(error, "'%s': changing %s is not supported", s->node->filename, what);
}

bool qcow2_amend(BlockNode *node, Opts *options, BlockProgress *progress, void *opaque,
                 GError **error)
{
    Qcow2 *s = node->state;
    if (node->readonly) {
        return error_set(error, "'%s' is read-only", node->filename);
    }
    bool ok = check_fixed(s, options, error) && take_compat(s, options, error) &&
              take_lazy(s, options, error) && take_refcount_bits(s, options, error) &&
              take_data_file_raw(s, options, error) && take_data_file(s, options, error) &&
              take_backing(node, options, error) && take_size(node, options, error) &&
              qcow2_encrypt_amend(s, options, error);
    if (ok && progress) {
        progress(100, opaque);
    }
    return ok;
}
