/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images as tools open and make them. */
#include "block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/internal.h"
#include "vmm/util/fdset.h"

void block_snapshot_free(BlockSnapshot *snapshot)
{
    g_free(snapshot->id);
    g_free(snapshot->name);
    g_free(snapshot);
}

static void free_item(void *snapshot)
{
    block_snapshot_free(snapshot);
}

GPtrArray *block_snapshots_new(void)
{
    return g_ptr_array_new_with_free_func(free_item);
}

/* ---- Drivers ---- */

bool block_format_exists(const char *driver)
{
    return block_driver_find(driver) != NULL;
}

bool block_is_protocol(const char *driver)
{
    const BlockDriver *found = block_driver_find(driver);
    return found && !found->has_file;
}

const BlockImageOps *block_image_ops(const char *driver, GError **error)
{
    const BlockDriver *found = block_driver_find(driver);
    if (!found) {
        error_set(error, "no format has the name '%s'", driver);
        return NULL;
    }
    if (!found->image) {
        error_set(error, "images of format '%s' can be read, but not made", driver);
    }
    return found->image;
}

/* ---- Opening ---- */

BlockNode *block_image_open(const char *filename, const char *format, Opts *options,
                            const BlockOpenMode *mode, GError **error)
{
    g_autoptr(Opts) own = options ? NULL : opts_new();
    NodeDefaults defaults = { .readonly = !mode->writable,
                              .force_share = mode->force_share,
                              .cache_direct = mode->cache_direct,
                              .no_flush = mode->no_flush,
                              .discard_unmap = mode->discard,
                              .no_backing = mode->no_backing,
                              .for_check = mode->for_check,
                              .no_io = mode->no_io,
                              .trusting = mode->trusting };
    options = options ? options : own;
    if (filename) {
        opts_set(options, "file", filename);
    }
    if (format) {
        opts_set(options, "format", format);
    }
    return node_open_image(options, &defaults, error);
}

/* ---- Creating ---- */

bool block_creation_run(BlockCreation *creation, GError **error)
{
    if (!creation) {
        return false;
    }
    bool ok = creation->fill(creation, NULL, NULL, error);
    creation->free(creation);
    return ok;
}

static bool make_file(const char *filename, GError **error)
{
    struct stat st;
    if (!stat(filename, &st) && S_ISBLK(st.st_mode)) {
        return true;
    }
    int fd = fdset_open(filename, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0) {
        return error_set_errno(error, errno, "Could not create '%s'", filename);
    }
    fdset_close(fd);
    return true;
}

/* Takes the locks, then the old content goes. */
static bool empty_file(BlockNode *file, GError **error)
{
    return block_node_length(file) == 0 || file->driver != &file_driver ||
           block_resize(file, 0, error);
}

static bool check_leftovers(Opts *options, const char *format, const BlockImageOps *ops,
                            GError **error)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    for (const BlockCreateOption *o = ops->create_options; o->name; o++) {
        g_ptr_array_add(known, (void *)o->name);
    }
    g_ptr_array_add(known, NULL);
    g_autofree char *what = g_strdup_printf("format '%s'", format);
    return opts_check_unused(options, what, (const char *const *)known->pdata, error);
}

static bool create_in(const char *path, const char *format, const BlockImageOps *ops, Opts *options,
                      GError **error)
{
    BlockOpenMode mode = { .writable = true };
    BlockNode *file =
        block_image_open(path, block_is_protocol(format) ? format : "raw", NULL, &mode, error);
    if (!file) {
        return false;
    }
    BlockBackend *backend = block_backend_attach(file->name, "image", false, false, error);
    bool ok = backend && empty_file(node_protocol(file), error) &&
              ops->create(node_protocol(file), options, error) &&
              check_leftovers(options, format, ops, error);
    if (ok && node_flush(node_protocol(file)) < 0) {
        ok = error_set(error, "Could not write '%s'", path);
    }
    if (backend) {
        block_backend_detach(backend);
    }
    block_node_unref(file);
    return ok;
}

bool block_image_create(const char *filename, const char *format, Opts *options, GError **error)
{
    const BlockImageOps *ops = block_image_ops(format, error);
    if (!ops) {
        return false;
    }
    if (!ops->create) {
        return error_set(error, "images of format '%s' can be read, but not made", format);
    }
    const char *path = g_str_has_prefix(filename, "file:") ? filename + 5 : filename;
    bool local = path != filename || !strchr(filename, ':') || strchr(filename, '/') == filename ||
                 g_str_has_prefix(filename, "./");
    return (!local || make_file(path, error)) && create_in(filename, format, ops, options, error);
}

/* ---- Structure ---- */

BlockNode *block_node_backing(BlockNode *node)
{
    return node->backing;
}

BlockNode *block_node_file(BlockNode *node)
{
    return node->file;
}

const char *block_node_backing_file(const BlockNode *node)
{
    return node->backing_file;
}

const char *block_node_backing_format(const BlockNode *node)
{
    return node->backing_format;
}

const BlockImageOps *block_node_image_ops(const BlockNode *node)
{
    return node->driver->image;
}

uint64_t block_node_allocated(BlockNode *node)
{
    uint64_t sum = 0;
    if (node->data_file) {
        sum += block_node_allocated(node->data_file);
    }
    for (guint i = 0; node->extents && i < node->extents->len; i++) {
        sum += block_node_allocated(node->extents->pdata[i]);
    }
    if (node->file) {
        return sum + block_node_allocated(node->file);
    }
    return node->driver->allocated ? node->driver->allocated(node) : 0;
}
