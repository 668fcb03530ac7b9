/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img amend. */
#include <string.h>
#include "block/img/img.h"

const ImgOption img_amend_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_PROGRESS,
    IMG_OPTION_QUIET,
    IMG_OPTION_FORMAT,
    IMG_OPTION_CACHE,
    { 'o', NULL, "OPTIONS", "what to change: NAME=VALUE,...; help lists them" },
    IMG_OPTIONS_END,
};

static const BlockCreateOption *amendable(const BlockImageOps *ops)
{
    return ops->amend_options ? ops->amend_options : ops->create_options;
}

static bool refuse_format(const char *format, GError **error)
{
    return error_set(error, "images of format '%s' have no options that 'amend' could change",
                     format);
}

static int show_options(const char *format)
{
    GError *error = NULL;
    const BlockImageOps *ops = block_image_ops(format, &error);
    if (!ops || (!ops->amend && !refuse_format(format, &error))) {
        return img_fail(error);
    }
    g_autofree char *title =
        g_strdup_printf("Options that 'amend' changes in images of format '%s':", format);
    img_show_create_options(format, amendable(ops), title, false);
    return 0;
}

static bool has_option(const BlockCreateOption *o, const char *key)
{
    while (o->name && strcmp(o->name, key) != 0) {
        o++;
    }
    return o->name;
}

typedef struct Unknown {
    const BlockCreateOption *table;
    const char *key;
} Unknown;

static void check_known(const char *key, const char *value, void *opaque)
{
    Unknown *unknown = opaque;
    if (!unknown->key && !has_option(unknown->table, key)) {
        unknown->key = key;
    }
}

static void show_progress(double percent, void *opaque)
{
    img_progress(percent);
}

static bool amend(ImgImage *image, Opts *options, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(image->node);
    const char *format = block_node_driver(image->node);
    if (!ops || !ops->amend) {
        return refuse_format(format, error);
    }
    Unknown unknown = { .table = amendable(ops) };
    opts_foreach_all(options, check_known, &unknown);
    if (unknown.key) {
        return error_set(error, "Invalid parameter '%s'%s", unknown.key,
                         has_option(ops->create_options, unknown.key)
                             ? "\nit is decided when an image is created"
                             : "");
    }
    return ops->amend(image->node, options, show_progress, NULL, error);
}

int img_amend_run(ImgArgs *args)
{
    GError *error = NULL;
    ImgImage image;
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .writable = true,
                    .cache = img_value(args, "t") };
    if (!img_has(args, "o")) {
        return img_usage_error("-o is missing: it says which options are to be changed");
    }
    if (how.format && img_wants_options_help(args)) {
        return show_options(how.format);
    }
    if (!img_expect_words(args, 1, "this command works on one image: give its file name")) {
        return 1;
    }
    g_autoptr(Opts) options = img_format_options(args);
    if (!options || !img_open(&image, args->words[0], &how)) {
        return 1;
    }
    if (img_wants_options_help(args)) {
        int status = show_options(block_node_driver(image.node));
        img_close(&image);
        return status;
    }
    img_progress_start(img_has(args, "p") && !img_has(args, "q"));
    bool ok = amend(&image, options, &error);
    if (ok) {
        img_progress(100);
    } else {
        img_fail(error);
    }
    img_progress_end();
    ok = ok && img_flush(&image);
    img_close(&image);
    return ok ? 0 : 1;
}
