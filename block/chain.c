/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backing files. An image may name a file of the host (HARDENING, row 17): it is believed where the
 * user said which format the image has, or where its overlay did; never where that was guessed.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/internal.h"

#define MAX_CHAIN 256

bool node_same_file(const BlockNode *a, const BlockNode *b)
{
    struct stat x, y;
    return a->filename && b->filename && !stat(a->filename, &x) && !stat(b->filename, &y) &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino && !S_ISBLK(x.st_mode);
}

static bool check_chain(BlockNode *node, GError **error)
{
    int depth = 0;
    for (const BlockNode *above = node->above; above; above = above->above) {
        if (node_same_file(node, above)) {
            return error_set(error, "'%s' is its own backing file, through a chain of images",
                             node->filename);
        }
        if (++depth > MAX_CHAIN) {
            return error_set(error, "a chain of more than %d backing files", MAX_CHAIN);
        }
    }
    return true;
}

char *node_relative_path(const BlockNode *node, const char *name)
{
    size_t n = strcspn(name, ":/");
    if (name[0] == '/' || (name[n] == ':' && n > 1) || !node->filename) {
        return g_strdup(name);
    }
    g_autofree char *folder = g_path_get_dirname(node->filename);
    return strcmp(folder, ".") ? g_build_filename(folder, name, NULL) : g_strdup(name);
}

char *block_node_backing_path(const BlockNode *node)
{
    const char *name = node->backing_file;
    return name && *name ? node_relative_path(node, name) : NULL;
}

/* Options that say all, as -blockdev's do: nothing is left to find out. */
static bool is_complete(Opts *options)
{
    const BlockDriver *driver =
        opts_has(options, "driver") ? block_driver_find(opts_get(options, "driver")) : NULL;
    const char *file = opts_has(options, "file") ? opts_get(options, "file") : NULL;
    return driver && (!driver->has_file || opts_has(options, "file.driver") ||
                      (file && block_node_find(file)));
}

static BlockNode *open_named(BlockNode *node, Opts *options, const NodeDefaults *defaults,
                             GError **error)
{
    g_autofree char *path = block_node_backing_path(node);
    const char *format = node->backing_format;
    if (!opts_has(options, "file") && !opts_has(options, "file.filename") &&
        !opts_has(options, "file.driver")) {
        if (!path) {
            error_set(error, "'%s' has no backing file, but backing.* options are given",
                      node->filename);
            return NULL;
        }
        if (node->guessed && !node->trusting) {
            error_set(error,
                      "'%s' names the backing file '%s', but its own format was not given: say "
                      "format=%s if you trust it",
                      node->filename, path, node->driver->name);
            return NULL;
        }
        opts_set(options, "file", path);
    }
    if (format && !opts_has(options, "driver") && !opts_has(options, "format")) {
        opts_set(options, "driver", format);
    }
    BlockNode *found = is_complete(options) ? node_open(options, NULL, defaults, error)
                                            : node_open_image(options, defaults, error);
    if (found && !opts_check_unused(options, "backing file", NULL, error)) {
        block_node_unref(found);
        found = NULL;
    }
    if (!found) {
        g_prefix_error(error, "backing file '%s' of '%s': ", path ? path : "", node->filename);
    }
    return found;
}

bool node_open_backing(BlockNode *node, Opts *options, GError **error)
{
    const char *reference = opts_get(options, "backing");
    g_autoptr(Opts) nested = opts_take_prefix(options, "backing");
    NodeDefaults defaults = { .readonly = true,
                              .force_share = node->force_share,
                              .cache_direct = node->cache_direct,
                              .no_flush = node->no_flush,
                              .trusting = node->trusting,
                              .above = node };
    if (!check_chain(node, error)) {
        return false;
    }
    if (reference && nested) {
        return error_set(error, "both a node 'backing=%s' and 'backing.' options are given",
                         reference);
    }
    if (reference && *reference) {
        BlockNode *found = block_node_find(reference);
        if (!found) {
            return error_set(error, "backing=%s: there is no block node of this name", reference);
        }
        node->backing = block_node_ref(found);
        return true;
    }
    if (reference || (!nested && (!node->backing_file || !*node->backing_file)) ||
        node->no_backing) {
        return true;
    }
    g_autoptr(Opts) made = nested ? NULL : opts_new();
    node->backing = open_named(node, nested ? nested : made, &defaults, error);
    return node->backing != NULL;
}

/* ---- Temporary overlays ---- */

static BlockNode *open_overlay(BlockNode *base, const char *path, GError **error)
{
    g_autoptr(Opts) make = opts_new();
    g_autoptr(Opts) options = opts_new();
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, block_node_length(base));
    NodeDefaults own = { .no_flush = true, .discard_unmap = true };
    opts_set(make, "size", size);
    if (!block_image_create(path, "qcow2", make, error)) {
        return NULL;
    }
    opts_set(options, "file.driver", "file");
    opts_set(options, "file.filename", path);
    opts_set(options, "backing", base->name);
    return node_open(options, "qcow2", &own, error);
}

bool node_put_overlay(BlockNode **node, GError **error)
{
    const char *folder = g_getenv("TMPDIR");
    g_autofree char *path =
        g_build_filename(folder && *folder ? folder : "/var/tmp", "vireo-XXXXXX", NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_set_errno(error, errno,
                               "snapshot=on: cannot make the temporary file '%s' "
                               "(TMPDIR names another folder)",
                               path);
    }
    close(fd);
    BlockNode *overlay = open_overlay(*node, path, error);
    unlink(path);
    if (!overlay) {
        g_prefix_error(error, "snapshot=on: ");
        return false;
    }
    block_node_unref(*node); /* the overlay has its own reference */
    *node = overlay;
    return true;
}
