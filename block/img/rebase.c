/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img rebase: with -u only the name changes; else also what the image must hold itself. */
#include <stdlib.h>
#include <string.h>
#include "block/img/img.h"
#include "vmm/util/bytes.h"

const ImgOption img_rebase_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_SHARE,
    IMG_OPTION_QUIET,
    IMG_OPTION_FORMAT,
    IMG_OPTION_CACHE,
    IMG_OPTION_SOURCE_CACHE,
    IMG_OPTION_PROGRESS,
    { 'u', NULL, NULL, "unsafe: change the name only" },
    { 'b', NULL, "FILENAME", "the new backing file; empty: none" },
    { 'F', NULL, "FMT", "format of the new backing file" },
    IMG_OPTIONS_END,
};

#define REBASE_BUFFER (2 * MIB)

typedef struct Rebase {
    const char *backing, *format;
    ImgImage image, fresh; /* fresh: the new backing file, opened; or not */
    BlockNode *old;        /* NULL: none */
    BlockNode *common;     /* of the old chain, what the new backing file is; NULL: it is apart */
    char *before, *after;
} Rebase;

static BlockNode *find_common(BlockNode *old, BlockNode *fresh)
{
    g_autofree char *wanted =
        fresh && block_node_filename(fresh) ? realpath(block_node_filename(fresh), NULL) : NULL;
    for (; old && wanted; old = block_node_backing(old)) {
        g_autofree char *path = block_node_filename(old) ? realpath(block_node_filename(old), NULL)
                                                         : NULL;
        if (path && !strcmp(path, wanted)) {
            return old;
        }
    }
    return NULL;
}

static int get_status(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t bytes,
                      BlockStatus *status)
{
    if (!node) {
        *status = (BlockStatus){ .flags = BLOCK_STATUS_ZERO, .bytes = bytes };
        return 0;
    }
    return block_status_above(node, base, offset, bytes, status, NULL);
}

/* How many bytes need nothing done, from offset on; 0: they must be compared. */
static int find_skip(Rebase *r, uint64_t offset, uint64_t *bytes, bool *skip)
{
    BlockStatus own, old, fresh;
    int ret = block_status(r->image.node, offset, *bytes, &own);
    if (ret < 0) {
        return ret;
    }
    *bytes = own.bytes;
    *skip = own.flags & BLOCK_STATUS_ALLOCATED;
    if (*skip || !r->old) {
        *skip |= !r->old && !r->fresh.node;
        return 0;
    }
    ret = get_status(r->old, r->common, offset, *bytes, &old);
    if (ret < 0) {
        return ret;
    }
    *bytes = MIN(*bytes, old.bytes);
    *skip = r->common && !(old.flags & BLOCK_STATUS_ALLOCATED);
    if (*skip) {
        return 0;
    }
    ret = get_status(r->fresh.node, NULL, offset, *bytes, &fresh);
    if (ret == 0) {
        *bytes = MIN(*bytes, fresh.bytes);
        *skip = old.flags & fresh.flags & BLOCK_STATUS_ZERO;
    }
    return ret;
}

/* Writes the runs of `before` that are not so in `after`. */
static int write_differences(Rebase *r, uint64_t offset, uint64_t bytes)
{
    const uint64_t unit = 4 * KIB;
    int ret = 0;
    for (uint64_t at = 0, n; ret == 0 && at < bytes; at += n) {
        n = MIN(unit, bytes - at);
        bool differs = memcmp(r->before + at, r->after + at, n) != 0;
        while (at + n < bytes) {
            uint64_t more = MIN(unit, bytes - at - n);
            if ((memcmp(r->before + at + n, r->after + at + n, more) != 0) != differs) {
                break;
            }
            n += more;
        }
        if (differs) {
            ret = img_is_zero(r->before + at, n)
                      ? block_pwrite_zeroes(r->image.node, offset + at, n, 0)
                      : block_pwrite(r->image.node, offset + at, r->before + at, n);
        }
    }
    return ret;
}

static bool copy_part(Rebase *r, uint64_t offset, uint64_t *bytes)
{
    bool skip = false;
    int ret = find_skip(r, offset, bytes, &skip);
    if (ret < 0) {
        report_error("cannot find out which clusters the image has: %s", g_strerror(-ret));
        return false;
    }
    if (skip) {
        return true;
    }
    *bytes = MIN(*bytes, REBASE_BUFFER);
    ret = img_pread(r->old, offset, r->before, *bytes);
    if (ret < 0) {
        report_error("cannot read the backing file that the image has had");
        return false;
    }
    ret = img_pread(r->fresh.node, offset, r->after, *bytes);
    if (ret < 0) {
        report_error("cannot read the backing file that the image shall have");
        return false;
    }
    ret = write_differences(r, offset, *bytes);
    if (ret < 0) {
        report_error("cannot write what differs into the image: %s", g_strerror(-ret));
    }
    return ret == 0;
}

static bool copy_differences(Rebase *r)
{
    uint64_t total = block_node_length(r->image.node);
    bool ok = true;
    r->old = block_node_backing(r->image.node);
    r->common = find_common(r->old, r->fresh.node);
    r->before = img_buffer_new(REBASE_BUFFER);
    r->after = img_buffer_new(REBASE_BUFFER);
    for (uint64_t offset = 0, bytes; ok && offset < total; offset += bytes) {
        bytes = total - offset;
        ok = copy_part(r, offset, &bytes);
        img_progress((double)(offset + bytes) * 100.0 / (double)total);
    }
    free(r->before);
    free(r->after);
    return ok;
}

static bool set_backing(Rebase *r)
{
    GError *error = NULL;
    const BlockImageOps *ops = block_node_image_ops(r->image.node);
    const char *name = *r->backing ? r->backing : NULL;
    bool ok;
    if (!ops || !ops->set_backing) {
        ok = error_set(&error, "Operation not supported");
    } else if (name && !r->format) {
        ok = error_set(&error, "backing format must be specified");
    } else {
        ok = ops->set_backing(r->image.node, name, name ? r->format : NULL, &error);
    }
    if (!ok) {
        g_prefix_error(&error, "the header could not be changed to name '%s': ", r->backing);
        img_fail(error);
    }
    return ok;
}

/* Its name is relative to the folder of the image. */
static bool open_fresh(Rebase *r, const ImgArgs *args)
{
    ImgOpen how = { .format = r->format,
                    .force_share = img_has(args, "U"),
                    .cache = img_value(args, "T"),
                    .cache_what = "source cache" };
    const char *own = block_node_filename(r->image.node);
    size_t n = strcspn(r->backing, ":/");
    GError *error = NULL;
    if (!*r->backing) {
        return true;
    }
    bool absolute = r->backing[0] == '/' || (r->backing[n] == ':' && n > 1) || !own;
    g_autofree char *folder = absolute ? NULL : g_path_get_dirname(own);
    g_autofree char *path = absolute || !strcmp(folder, ".")
                                ? g_strdup(r->backing)
                                : g_build_filename(folder, r->backing, NULL);
    if (!img_open_error(&r->fresh, path, &how, &error)) {
        g_prefix_error(&error,
                       "'%s', which is to be the backing file, cannot be opened: ", r->backing);
        img_fail(error);
        return false;
    }
    return true;
}

int img_rebase_run(ImgArgs *args)
{
    bool unsafe = img_has(args, "u");
    Rebase r = { .backing = img_value(args, "b"), .format = img_value(args, "F") };
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .writable = true,
                    .no_backing = unsafe,
                    .cache = img_value(args, "t") };
    if (!img_expect_words(args, 1, "this command works on one image: give its file name")) {
        return 1;
    }
    if (!r.backing && !unsafe) {
        return img_usage_error(
            "-b is missing: which backing file shall the image have? ('' for none)");
    }
    r.backing = r.backing ? r.backing : "";
    if (!img_cache_is_valid(how.cache, "cache") ||
        !img_cache_is_valid(img_value(args, "T"), "source cache") ||
        !img_open(&r.image, args->words[0], &how)) {
        return 1;
    }
    bool ok = true;
    if (r.format && !block_format_exists(r.format)) {
        report_error("-F: no format has the name '%s'", r.format);
        ok = false;
    }
    img_progress_start(ok && img_has(args, "p") && !img_has(args, "q"));
    const BlockImageOps *ops = block_node_image_ops(r.image.node);
    bool copies = !unsafe && ops && ops->set_backing && (!*r.backing || r.format);
    ok = ok && (!copies || (open_fresh(&r, args) && copy_differences(&r))) && set_backing(&r) &&
         img_flush(&r.image);
    img_progress(100);
    img_progress_end();
    img_close(&r.fresh);
    img_close(&r.image);
    return ok ? 0 : 1;
}
