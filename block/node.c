/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block nodes: opening from options, finding, permissions, closing; blocking access. */
#include <errno.h>
#include "block/bitmap.h"
#include "block/graph.h"
#include "block/jobs/job.h"
#include "vmm/util/bytes.h"
#include "vmm/util/id.h"

static GPtrArray *nodes; /* of BlockNode, in order of creation */
static unsigned name_counter;

static const char *const detect_zeroes_names[] = { "off", "on", "unmap", NULL };
static const char *const discard_names[] = { "ignore", "unmap", "off", "on", NULL };

/* ---- Finding ---- */

BlockNode *block_node_find(const char *node_name)
{
    for (guint i = 0; nodes && i < nodes->len; i++) {
        BlockNode *node = nodes->pdata[i];
        if (!strcmp(node->name, node_name)) {
            return node;
        }
    }
    return NULL;
}

void block_node_foreach(void (*fn)(BlockNode *node, void *opaque), void *opaque)
{
    for (guint i = 0; nodes && i < nodes->len; i++) {
        fn(nodes->pdata[i], opaque);
    }
}

BlockNode *node_protocol(BlockNode *node)
{
    while (node->file) {
        node = node->file;
    }
    return node;
}

const char *block_node_name(const BlockNode *node)
{
    return node->name;
}

const char *block_node_driver(const BlockNode *node)
{
    return node->driver->name;
}

const char *block_node_filename(const BlockNode *node)
{
    return node->filename;
}

uint64_t block_node_length(BlockNode *node)
{
    return atomic_load_explicit(&node->length, memory_order_relaxed);
}

bool block_node_readonly(const BlockNode *node)
{
    return node->readonly;
}

/* ---- Opening ---- */

static bool name_is_valid(const char *name)
{
    return strlen(name) <= 31 && id_is_wellformed(name);
}

static bool set_name(BlockNode *node, const char *name, GError **error)
{
    if (!name) {
        do {
            g_free(node->name);
            node->name = g_strdup_printf("#block%03u", ++name_counter);
        } while (block_node_find(node->name));
        return true;
    }
    if (!name_is_valid(name)) {
        return error_set(error,
                         "node-name '%s' is invalid: up to 31 letters, digits, '-', '.' and '_', "
                         "beginning with a letter",
                         name);
    }
    if (block_node_find(name)) {
        return error_set(error, "node-name '%s' is taken: choose another", name);
    }
    node->name = g_strdup(name);
    return true;
}

static bool read_common(BlockNode *node, Opts *options, const NodeDefaults *d, GError **error)
{
    int discard = d->discard_unmap ? 1 : 0, detect = 0;
    node->readonly = d->readonly;
    node->auto_readonly = d->auto_readonly;
    node->force_share = d->force_share;
    node->cache_direct = d->cache_direct;
    node->no_flush = d->no_flush;
    node->guessed = d->guessed;
    node->trusting = d->trusting;
    node->no_backing = d->no_backing;
    node->for_check = d->for_check;
    node->no_io = d->no_io;
    node->above = d->above;
    if (!opts_get_bool(options, "read-only", &node->readonly, error) ||
        !opts_get_bool(options, "auto-read-only", &node->auto_readonly, error) ||
        !opts_get_bool(options, "force-share", &node->force_share, error) ||
        !opts_get_bool(options, "cache.direct", &node->cache_direct, error) ||
        !opts_get_bool(options, "cache.no-flush", &node->no_flush, error) ||
        !opts_get_enum(options, "discard", discard_names, &discard, error) ||
        !opts_get_enum(options, "detect-zeroes", detect_zeroes_names, &detect, error)) {
        return false;
    }
    node->discard_unmap = discard & 1;
    node->detect_zeroes = detect;
    if (detect == DETECT_ZEROES_UNMAP && !node->discard_unmap) {
        return error_set(error, "detect-zeroes=unmap needs discard=unmap");
    }
    if (node->force_share && !node->readonly) {
        return error_set(error, "force-share=on is for read-only=on alone: without locks two "
                                "writers would destroy the image");
    }
    return true;
}

static bool open_file_child(BlockNode *node, Opts *options, GError **error)
{
    NodeDefaults inherited = { .readonly = node->readonly,
                               .auto_readonly = node->auto_readonly,
                               .force_share = node->force_share,
                               .cache_direct = node->cache_direct,
                               .no_flush = node->no_flush,
                               .discard_unmap = true }; /* the node above decides */
    const char *key = node->driver->file_option ? node->driver->file_option : "file";
    const char *reference = opts_get(options, key);
    g_autoptr(Opts) nested = opts_take_prefix(options, key);
    if (reference && nested) {
        return error_set(error, "both a node '%s=%s' and '%s.' options are given", key, reference,
                         key);
    }
    if (reference) {
        BlockNode *found = block_node_find(reference);
        if (!found) {
            return error_set(error, "%s=%s: there is no block node of this name", key, reference);
        }
        node->file = block_node_ref(found);
    } else if (nested) {
        node->file = node_open(nested, NULL, &inherited, error);
    } else {
        error_set(error, "driver '%s' needs '%s': a node name or %s.* options", node->driver->name,
                  key, key);
    }
    if (node->file && node->file->readonly && !node->readonly) {
        if (!node->auto_readonly) {
            return error_set(error,
                             "node '%s', which lies below, cannot be written to: use read-only=on",
                             node->file->name);
        }
        node->readonly = true;
    }
    return node->file != NULL;
}

static void node_free(BlockNode *node)
{
    bitmaps_free(node);
    if (node->backing) {
        block_node_unref(node->backing);
    }
    if (node->data_file) {
        block_node_unref(node->data_file);
    }
    for (guint i = 0; node->extents && i < node->extents->len; i++) {
        block_node_unref(node->extents->pdata[i]);
    }
    g_clear_pointer(&node->extents, g_ptr_array_unref);
    if (node->file) {
        block_node_unref(node->file);
    }
    opts_free(node->given);
    g_free(node->name);
    g_free(node->filename);
    g_free(node->backing_file);
    g_free(node->backing_format);
    g_free(node->state);
    g_free(node);
}

static const char *const common_options[] = {
    "driver",       "node-name", "read-only",      "auto-read-only", "force-share",
    "cache.direct", "discard",   "cache.no-flush", "detect-zeroes",  NULL,
};

static bool check_unknown(BlockNode *node, Opts *options, GError **error)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    for (int i = 0; common_options[i]; i++) {
        g_ptr_array_add(known, (void *)common_options[i]);
    }
    for (int i = 0; node->driver->options && node->driver->options[i]; i++) {
        g_ptr_array_add(known, (void *)node->driver->options[i]);
    }
    g_ptr_array_add(known, NULL);
    g_autofree char *what = g_strdup_printf("block driver '%s'", node->driver->name);
    return opts_check_unused(options, what, (const char *const *)known->pdata, error);
}

static const BlockDriver *choose_driver(Opts *options, const char *name, GError **error)
{
    const char *given = opts_get(options, "driver");
    name = given ? given : name;
    if (!name) {
        error_set(error, "the option 'driver' is missing");
        return NULL;
    }
    const BlockDriver *driver = block_driver_find(name);
    if (!driver) {
        block_driver_unknown("block driver", name, error);
    }
    return driver;
}

static void keep_option(const char *key, const char *value, void *opaque)
{
    opts_set(opaque, key, value);
}

static BlockNode *node_new(const BlockDriver *driver)
{
    BlockNode *node = g_new0(BlockNode, 1);
    node->driver = driver;
    node->refs = 1;
    atomic_init(&node->reach, UINT64_MAX);
    node->shared = BLOCK_PERM_ALL;
    node->given = opts_new();
    node->state = g_malloc0(MAX(driver->state_size, 1));
    return node;
}

static void list_node(BlockNode *node)
{
    if (!nodes) {
        nodes = g_ptr_array_new();
    }
    g_ptr_array_add(nodes, node);
}

BlockNode *node_put_filter(const BlockDriver *driver, const char *name, BlockNode *below,
                           GError **error)
{
    BlockNode *node = node_new(driver);
    node->file = block_node_ref(below);
    node->readonly = below->readonly;
    node->cache_direct = below->cache_direct;
    node->no_flush = below->no_flush;
    node->discard_unmap = true;
    if (!set_name(node, name, error) || !driver->open(node, NULL, error)) {
        node_free(node);
        return NULL;
    }
    list_node(node);
    return node;
}

BlockNode *node_open(Opts *options, const char *driver_name, const NodeDefaults *defaults,
                     GError **error)
{
    const BlockDriver *driver = choose_driver(options, driver_name, error);
    if (!driver) {
        return NULL;
    }
    BlockNode *node = node_new(driver);
    opts_foreach_unused(options, keep_option, node->given);
    if (!set_name(node, opts_get(options, "node-name"), error) ||
        !read_common(node, options, defaults, error) ||
        (driver->has_file && !open_file_child(node, options, error)) ||
        !driver->open(node, options, error)) {
        node_free(node);
        return NULL;
    }
    if ((driver->has_backing && !node_open_backing(node, options, error)) ||
        !check_unknown(node, options, error)) {
        driver->close(node);
        node_free(node);
        return NULL;
    }
    node->above = NULL;
    list_node(node);
    return node;
}

BlockNode *block_node_open(Opts *options, GError **error)
{
    NodeDefaults defaults = { 0 };
    if (!opts_has(options, "node-name")) {
        error_set(error, "-blockdev: the option 'node-name' is missing");
        return NULL;
    }
    BlockNode *node = node_open(options, NULL, &defaults, error);
    if (node) {
        node->monitor_owned = true;
    }
    return node;
}

/* ---- References and closing ---- */

BlockNode *block_node_ref(BlockNode *node)
{
    node->refs++;
    return node;
}

void block_node_unref(BlockNode *node)
{
    if (--node->refs > 0) {
        return;
    }
    g_ptr_array_remove(nodes, node);
    if (!node->readonly && (!node->file || node->driver->has_backing)) {
        block_flush(node);
    }
    node->driver->close(node);
    node_free(node);
}

bool block_node_delete(const char *node_name, GError **error)
{
    BlockNode *node = block_node_find(node_name);
    if (!node) {
        return error_set(error, "there is no node '%s' (query-named-block-nodes lists them)",
                         node_name);
    }
    if (!node->monitor_owned) {
        return error_set(
            error, "node %s was not made by -blockdev or blockdev-add: it goes with what made it",
            node_name);
    }
    if (node->refs > 1) {
        return error_set(error, "Node %s is in use", node_name);
    }
    block_node_unref(node);
    return true;
}

bool block_node_retire(BlockNode *node, GError **error)
{
    if (node->readonly || !node->driver->retire) {
        return true;
    }
    int ret = node->driver->settle ? node->driver->settle(node) : 0;
    if (ret < 0) {
        return error_set_errno(error, -ret, "'%s': its tables cannot be written", node->filename);
    }
    return node->driver->retire(node, error);
}

static void flush_one(BlockNode *node, void *opaque)
{
    bool plain = node->file && !node->driver->has_backing;
    int ret = node->readonly || plain ? 0
              : node->driver->settle  ? node->driver->settle(node)
                                      : block_flush(node);
    if (ret < 0) {
        report_error("block node '%s': flush failed: %s", node->name, g_strerror(-ret));
        return;
    }
    g_autoptr(GError) error = NULL;
    if (!block_node_retire(node, &error)) {
        report_error("%s", error->message);
    }
}

void block_jobs_end(void)
{
    jobs_cancel_all();
}

void block_close_all(void)
{
    jobs_cancel_all();
    block_exports_close();
    block_node_foreach(flush_one, NULL);
    sync_loop_stop();
}

/* ---- Length ---- */

bool node_is_below(const BlockNode *node, const BlockNode *top)
{
    for (guint i = 0; top && top->extents && i < top->extents->len; i++) {
        if (node_is_below(node, top->extents->pdata[i])) {
            return true;
        }
    }
    return top && (top == node || node_is_below(node, top->file) ||
                   node_is_below(node, top->data_file) || node_is_below(node, top->backing));
}

static void refresh_above(BlockNode *node, void *opaque)
{
    if (node->file == opaque && node->driver->refresh) {
        node->driver->refresh(node);
        block_node_foreach(refresh_above, node);
    }
}

static void notify_resized(BlockBackend *backend, void *opaque)
{
    for (BlockNode *n = backend->node; n; n = n->file) {
        if (n == opaque) {
            atomic_store(&backend->length, block_node_length(backend->node));
            if (backend->events && backend->events->resized) {
                backend->events->resized(backend->events_opaque);
            }
        }
    }
}

void node_refresh_length(BlockNode *node)
{
    if (node->file) {
        node_refresh_length(node->file);
    }
    if (node->driver->refresh) {
        node->driver->refresh(node);
    }
}

void node_length_changed(BlockNode *node)
{
    block_node_foreach(refresh_above, node);
    backend_foreach(notify_resized, node);
}

/* The nodes above have another length too. */
static void resize_bitmaps(BlockNode *node, void *opaque)
{
    if (node->bitmaps && node->bitmaps->len) {
        graph_change_begin();
        bitmaps_resize(node);
        graph_change_end();
    }
}

bool block_resize(BlockNode *node, uint64_t size, GError **error)
{
    if (node->readonly) {
        return error_set(error, "the size cannot change: node '%s' was opened read-only",
                         node->name);
    }
    if (size % 512) {
        return error_set(error, "a disk's size is a multiple of 512 bytes");
    }
    if (size > INT64_MAX) {
        return error_set(
            error, "%" G_GUINT64_FORMAT " bytes are more than a disk can have (2^63 - 1)", size);
    }
    if (!node->driver->resize) {
        return error_set(error, "block driver '%s' cannot resize", node->driver->name);
    }
    if (!bitmaps_check_resize(node, error)) {
        return false;
    }
    block_node_pause(node);
    bool ok = node->driver->resize(node, size, error);
    block_node_foreach(resize_bitmaps, NULL);
    block_node_resume(node);
    return ok;
}
