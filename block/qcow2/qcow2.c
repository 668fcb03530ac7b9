/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qcow2 driver: opening, closing, describing an image. */
#include "block/qcow2/encrypt.h"

#include <stdarg.h>
#include "config.h"
#include "vmm/error.h"

/* ---- An image that contradicts itself ---- */

void qcow2_mark_corrupt(Qcow2 *s, const char *format, ...)
{
    const BlockErrorHooks *hooks = block_error_hooks();
    va_list args;
    if (atomic_exchange(&s->corrupt, true)) {
        return;
    }
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    report_error("'%s': %s: the image is corrupt, and is not written any more; 'vireo-img check' "
                 "says what is wrong",
                 s->node->filename, text);
    if (hooks && hooks->emit) {
        json_object *data = json_object_new_object();
        json_object_object_add(data, "device", json_object_new_string(""));
        json_object_object_add(data, "node-name", json_object_new_string(s->node->name));
        json_object_object_add(data, "msg", json_object_new_string(text));
        json_object_object_add(data, "fatal", json_object_new_boolean(true));
        hooks->emit("BLOCK_IMAGE_CORRUPTED", data);
    }
}

/* ---- Opening ---- */

static void derive(Qcow2 *s)
{
    const Qcow2Header *h = &s->h;
    s->cluster_bits = h->cluster_bits;
    s->cluster_size = qcow2_cluster_size(h);
    s->subclusters = qcow2_has_subclusters(h);
    s->entry_size = qcow2_l2_entry_size(h);
    s->l2_bits = qcow2_l2_bits(h);
    s->subcluster_size =
        (uint32_t)(s->subclusters ? s->cluster_size / QCOW2_SUBCLUSTERS : s->cluster_size);
    s->slice_bytes = (uint32_t)MIN(s->cluster_size, MAX(4096, s->cluster_size / 16));
    s->slices_per_table = (unsigned)(s->cluster_size / s->slice_bytes);
    s->slice_entries = s->slice_bytes / s->entry_size;
    s->slice_bits = (unsigned)__builtin_ctz(s->slice_entries);
}

static bool read_l1(Qcow2 *s, GError **error)
{
    s->l1_entries = s->h.l1_size;
    size_t count = MAX(s->l1_entries, 1);
    s->l1 = (_Atomic uint64_t *)g_new0(uint64_t, count);
    s->tables = (Qcow2Table * _Atomic *)g_new0(Qcow2Table *, count);
    int ret = node_pread(s->node->file, s->h.l1_offset, (void *)s->l1, s->l1_entries * 8);
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot read the L1 table");
    }
    for (uint32_t i = 0; i < s->l1_entries; i++) {
        uint64_t *p = (uint64_t *)&s->l1[i];
        *p = GUINT64_FROM_BE(*p);
    }
    return true;
}

static bool read_header(BlockNode *node, Qcow2 *s, GError **error)
{
    uint64_t length = block_node_length(node->file), bytes = MIN(length, 2 * MIB);
    uint8_t first[QCOW2_H_V2_LENGTH] = { 0 };
    int ret = node_pread(node->file, 0, first, MIN(length, sizeof(first)));
    uint32_t bits = load_be32(first + QCOW2_H_CLUSTER_BITS);
    if (ret == 0 && bits >= QCOW2_MIN_CLUSTER_BITS && bits <= QCOW2_MAX_CLUSTER_BITS) {
        bytes = MIN(length, 1ULL << bits);
    }
    g_autofree uint8_t *data = g_malloc(MAX(bytes, 1));
    ret = ret ? ret : node_pread(node->file, 0, data, bytes);
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot read the header");
    }
    return qcow2_header_parse(&s->h, data, bytes, length, error);
}

static bool read_cache_sizes(Qcow2 *s, Opts *options, uint64_t *bytes, GError **error)
{
    /* What maps the whole image, where that is up to 128 MiB: 1 TiB in clusters of 64 KiB. */
    uint64_t all = ((s->h.size >> s->cluster_bits) + 1) * s->entry_size;
    uint64_t total = 0;
    *bytes = MIN(all, 128 * MIB);
    if (!opts_get_size(options, "cache-size", &total, error)) {
        return false;
    }
    if (total) {
        *bytes = total;
    }
    return opts_get_size(options, "l2-cache-size", bytes, error);
}

static bool open_data_file(BlockNode *node, Qcow2 *s, Opts *options, GError **error)
{
    const char *reference = opts_get(options, "data-file");
    g_autoptr(Opts) nested = opts_take_prefix(options, "data-file");
    bool needed = s->h.incompatible & QCOW2_INCOMPAT_DATA_FILE;
    s->data = node->file;
    if (!needed) {
        return (!reference && !nested) ||
               error_set(error, "data-file is given, but the image has its data inside");
    }
    if (node->no_io && !reference && !nested) {
        return true; /* nothing of it is wanted: nothing that an image names is touched */
    }
    NodeDefaults defaults = { .readonly = node->readonly,
                              .auto_readonly = node->auto_readonly,
                              .force_share = node->force_share,
                              .cache_direct = node->cache_direct,
                              .no_flush = node->no_flush,
                              .discard_unmap = true };
    if (reference) {
        BlockNode *found = block_node_find(reference);
        if (!found) {
            return error_set(error, "data-file=%s: there is no block node of this name", reference);
        }
        node->data_file = block_node_ref(found);
    } else {
        g_autoptr(Opts) own = nested ? g_steal_pointer(&nested) : opts_new();
        if (!opts_has(own, "filename") && !opts_has(own, "file") && !opts_has(own, "driver")) {
            if (!s->h.data_file) {
                return error_set(error, "the image has an external data file, and does not say "
                                        "which: use data-file.filename");
            }
            /* A guest that made its raw disk look like an image would write to any file. */
            if (node->guessed && !(node->trusting && node->readonly)) {
                return error_set(error,
                                 "the image names the data file '%s', but its own format was "
                                 "not given: say format=qcow2 if you trust it",
                                 s->h.data_file);
            }
            /* As with QEMU, from the working directory. */
            opts_set(own, "filename", s->h.data_file);
        }
        if (!opts_has(own, "driver")) {
            opts_set(own, "driver", "file");
        }
        node->data_file = node_open(own, NULL, &defaults, error);
    }
    if (!node->data_file) {
        g_prefix_error(error, "data file: ");
        return false;
    }
    if (node_same_file(node_protocol(node->data_file), node_protocol(node->file))) {
        return error_set(error,
                         "data file '%s' is the image itself: its data would go over its "
                         "own tables",
                         node->data_file->filename);
    }
    s->data = node->data_file;
    return true;
}

static bool check_state(BlockNode *node, Qcow2 *s, GError **error)
{
#ifndef HAVE_ZSTD
    if (s->h.compression == QCOW2_COMPRESSION_ZSTD) {
        return error_set(error, "its compression is zstd, which is not built in");
    }
#endif
    if (s->h.incompatible & QCOW2_INCOMPAT_CORRUPT && !node->readonly && !node->for_check) {
        return error_set(error, "it is marked corrupt: 'vireo-img check -r all' may mend it; "
                                "read-only=on opens it as it is");
    }
    return true;
}

static void free_state(Qcow2 *s)
{
    int count = atomic_load(&s->loop_count);
    qcow2_bitmaps_free(s);
    qcow2_cache_free(s);
    qcow2_refcount_free(s);
    for (int i = 0; i < count; i++) {
        g_free(atomic_load(&s->loops[i]));
    }
    atomic_store(&s->loop_count, 0);
    qcow2_encrypt_close(s);
    qcow2_header_clear(&s->h);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->idle);
}

static const uint64_t max_slice_cache = 1ULL << 40;

/* What other programs said of the image and this one does not keep up to date is dropped. */
static bool make_writable(Qcow2 *s, GError **error)
{
    if (s->h.incompatible & QCOW2_INCOMPAT_DIRTY && !s->node->for_check &&
        !qcow2_repair_dirty(s, error)) {
        g_prefix_error(error, "its refcounts are not up to date (it was not closed): ");
        return false;
    }
    if (s->h.autoclear & ~(uint64_t)QCOW2_AUTOCLEAR_KNOWN) {
        s->h.autoclear &= QCOW2_AUTOCLEAR_KNOWN;
        if (!qcow2_update_header(s, error)) {
            return false;
        }
    }
    return qcow2_bitmaps_use(s, error);
}

static void set_limits(BlockNode *node, Qcow2 *s)
{
    node->limits = s->data->limits;
    node->limits.fixed_size = false;
    node->limits.discard_granularity = (uint32_t)s->cluster_size;
    node->limits.has_write_zeroes = true;
    node->limits.opt_io = 0;
    if (s->h.crypt_method) {
        node->limits.request_alignment = MAX(node->limits.request_alignment, SECTOR_BYTES);
    }
    atomic_store(&node->length, s->h.size);
}

static bool read_tables(Qcow2 *s, uint64_t cache_bytes, GError **error)
{
    if (!read_l1(s, error) || !qcow2_refcount_init(s, error)) {
        return false;
    }
    qcow2_cache_init(s, cache_bytes);
    return true;
}

static bool qcow2_open(BlockNode *node, Opts *options, GError **error)
{
    Qcow2 *s = node->state;
    uint64_t cache_bytes = 0;
    s->node = node;
    if (!sync_loop_get()) { /* commits may need it */
        return error_set(error, "the block layer's thread does not start");
    }
    g_mutex_init(&s->lock);
    g_cond_init(&s->idle);
    node->filename = g_strdup(node->file->filename);
    if (!read_header(node, s, error)) {
        g_prefix_error(error, "'%s': qcow2 header: ", node->filename);
        g_mutex_clear(&s->lock);
        g_cond_clear(&s->idle);
        return false;
    }
    derive(s);
    s->discard_passdown = node->discard_unmap;
    if (!check_state(node, s, error) || !read_cache_sizes(s, options, &cache_bytes, error) ||
        !opts_get_bool(options, "pass-discard-request", &s->discard_passdown, error) ||
        !open_data_file(node, s, options, error) || !qcow2_encrypt_open(s, options, error)) {
        goto fail;
    }
    s->protocol = node_protocol(s->data);
    s->cache_bytes = MIN(cache_bytes, max_slice_cache);
    set_limits(node, s);
    if (!read_tables(s, s->cache_bytes, error)) {
        goto fail;
    }
    node->backing_file = g_strdup(s->h.backing_file);
    node->backing_format = g_strdup(s->h.backing_format);
    if ((!node->for_check && !qcow2_bitmaps_load(s, error)) ||
        (!node->readonly && !make_writable(s, error))) {
        goto fail;
    }
    return true;
fail:
    g_prefix_error(error, "'%s': ", node->filename);
    free_state(s);
    return false;
}

/* ---- Rest and closing ---- */

static void qcow2_quiesce(BlockNode *node)
{
    Qcow2 *s = node->state;
    g_mutex_lock(&s->lock);
    while (s->background) {
        g_cond_wait(&s->idle, &s->lock);
    }
    g_mutex_unlock(&s->lock);
}

/* Clusters that were freed come back in some commits; each brings the next. */
int qcow2_settle(Qcow2 *s)
{
    bool dirty = true;
    for (int i = 0; dirty && i < 8; i++) {
        int ret = node_flush(s->node);
        qcow2_quiesce(s->node);
        if (ret < 0) {
            return ret;
        }
        g_mutex_lock(&s->lock);
        dirty = qcow2_is_dirty(s);
        g_mutex_unlock(&s->lock);
    }
    return 0;
}

bool qcow2_flush_all(Qcow2 *s, GError **error)
{
    int ret = s->node->readonly ? 0 : qcow2_settle(s);
    return ret == 0 ||
           error_set_errno(error, -ret, "'%s': cannot write its tables", s->node->filename);
}

static bool qcow2_reopen(BlockNode *node, bool readonly, GError **error)
{
    Qcow2 *s = node->state;
    return readonly || make_writable(s, error);
}

static int settle_node(BlockNode *node)
{
    Qcow2 *s = node->state;
    return atomic_load(&s->corrupt) ? 0 : qcow2_settle(s);
}

static bool retire(BlockNode *node, GError **error)
{
    return qcow2_bitmaps_retire(node->state, error);
}

static void qcow2_close(BlockNode *node)
{
    Qcow2 *s = node->state;
    g_autoptr(GError) error = NULL;
    if (!node->readonly && !atomic_load(&s->corrupt)) {
        int ret = qcow2_settle(s);
        if (ret < 0) {
            report_error("'%s': its tables could not be written: %s", node->filename,
                         g_strerror(-ret));
        } else if (!qcow2_bitmaps_retire(s, &error)) {
            report_error("%s", error->message);
        }
    }
    qcow2_quiesce(node);
    free_state(s);
}

/* ---- Reading again ---- */

/* What was open makes no sense any more: an empty disk that nothing is written to. */
static void close_up(Qcow2 *s)
{
    qcow2_cache_free(s);
    qcow2_refcount_free(s);
    qcow2_header_clear(&s->h);
    s->h = (Qcow2Header){ .version = 3, .cluster_bits = s->cluster_bits, .refcount_order = 4 };
    derive(s);
    set_limits(s->node, s);
    atomic_store(&s->corrupt, true);
    read_tables(s, 0, NULL); /* of no length: it cannot fail */
}

bool qcow2_reload(Qcow2 *s, GError **error)
{
    qcow2_cache_free(s);
    qcow2_refcount_free(s);
    qcow2_header_clear(&s->h);
    node_refresh_length(s->node->file);
    if (!read_header(s->node, s, error)) {
        g_prefix_error(error, "'%s': ", s->node->filename);
        close_up(s);
        return false;
    }
    derive(s);
    set_limits(s->node, s);
    atomic_store(&s->corrupt, false);
    if (!read_tables(s, s->cache_bytes, error)) {
        close_up(s);
        return false;
    }
    return true;
}

bool qcow2_show_tables(Qcow2 *s, uint64_t l1_offset, uint32_t l1_size, uint64_t size,
                       GError **error)
{
    qcow2_cache_free(s);
    qcow2_refcount_free(s);
    s->h.l1_offset = l1_offset;
    s->h.l1_size = l1_size;
    s->h.size = size;
    set_limits(s->node, s);
    if (!read_tables(s, s->cache_bytes, error)) {
        close_up(s);
        return false;
    }
    return true;
}

/* ---- Describing ---- */

static void qcow2_info(BlockNode *node, BlockImageInfo *info)
{
    Qcow2 *s = node->state;
    const Qcow2Header *h = &s->h;
    json_object *data = json_object_new_object();
    info->cluster_size = (uint32_t)s->cluster_size;
    info->dirty = h->incompatible & QCOW2_INCOMPAT_DIRTY;
    info->corrupt = h->incompatible & QCOW2_INCOMPAT_CORRUPT || atomic_load(&s->corrupt);
    info->encrypted = h->crypt_method;
    info->vm_state_offset = (qcow2_l1_entries(h, h->size) << (s->cluster_bits + s->l2_bits));
    json_object_object_add(data, "compat",
                           json_object_new_string(h->version == 2 ? "0.10" : "1.1"));
    if (h->version >= 3) {
        json_object_object_add(
            data, "compression-type",
            json_object_new_string(h->compression == QCOW2_COMPRESSION_ZSTD ? "zstd" : "zlib"));
        json_object_object_add(
            data, "lazy-refcounts",
            json_object_new_boolean(h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS));
        json_object *bitmaps = qcow2_bitmaps_describe(s);
        if (bitmaps) {
            json_object_object_add(data, "bitmaps", bitmaps);
        }
        json_object_object_add(data, "refcount-bits", json_object_new_int(1 << h->refcount_order));
    }
    if (s->encryption) {
        qcow2_encrypt_describe(s, data);
    }
    if (h->version >= 3) {
        json_object_object_add(data, "corrupt", json_object_new_boolean(info->corrupt));
        if (h->data_file) {
            json_object_object_add(data, "data-file", json_object_new_string(h->data_file));
        }
        if (h->incompatible & QCOW2_INCOMPAT_DATA_FILE) {
            json_object_object_add(
                data, "data-file-raw",
                json_object_new_boolean(h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW));
        }
        json_object_object_add(data, "extended-l2", json_object_new_boolean(s->subclusters));
    } else {
        json_object_object_add(data, "compression-type", json_object_new_string("zlib"));
        json_object_object_add(data, "refcount-bits", json_object_new_int(16));
    }
    info->specific = data;
}

static const BlockImageOps qcow2_image_ops = {
    .create_options = qcow2_create_options,
    .amend_options = qcow2_amend_options,
    .can_compress = true,
    .create = qcow2_create,
    .plan = qcow2_plan,
    .info = qcow2_info,
    .check = qcow2_check,
    .measure = qcow2_measure,
    .snapshot_list = qcow2_snapshot_list,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_delete = qcow2_snapshot_delete,
    .snapshot_load = qcow2_snapshot_load,
    .amend = qcow2_amend,
    .set_backing = qcow2_set_backing,
    .make_empty = qcow2_make_empty,
    .preallocate = qcow2_preallocate,
    .bitmap_can_store = qcow2_bitmap_can_store,
    .bitmap_remove_stored = qcow2_bitmap_remove_stored,
};

static const char *const qcow2_options[] = {
    "file",
    "backing",
    "data-file",
    "encrypt",
    "l2-cache-size",
    "cache-size",
    "pass-discard-request",
    NULL,
};

const BlockDriver qcow2_driver = {
    .name = "qcow2",
    .desc = "QEMU's image format, versions 2 and 3",
    .state_size = sizeof(Qcow2),
    .has_file = true,
    .has_backing = true,
    .options = qcow2_options,
    .open = qcow2_open,
    .close = qcow2_close,
    .submit = qcow2_submit,
    .quiesce = qcow2_quiesce,
    .settle = settle_node,
    .retire = retire,
    .reopen = qcow2_reopen,
    .resize = qcow2_resize,
    .image = &qcow2_image_ops,
};
