/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img measure. */
#include <stdio.h>
#include <string.h>
#include "block/img/img.h"

const ImgOption img_measure_options[] = {
    IMG_OPTION_OUTPUT,
    { 'O', NULL, "FMT", "format of the image to be made; raw when it is not given" },
    { 'o', NULL, "OPTIONS", "options of that format, as create takes them" },
    { 0, "size", "SIZE", "measure an image of this size, not a given one" },
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_FORMAT,
    { 'l', NULL, "SNAPSHOT", "of this internal snapshot" },
    IMG_OPTION_SHARE,
    IMG_OPTIONS_END,
};

static void print_measure(const BlockMeasure *m, bool json)
{
    if (json) {
        json_object *o = json_object_new_object();
        if (m->bitmaps != UINT64_MAX) {
            json_object_object_add(o, "bitmaps", json_object_new_uint64(m->bitmaps));
        }
        json_object_object_add(o, "required", json_object_new_uint64(m->required));
        json_object_object_add(o, "fully-allocated", json_object_new_uint64(m->fully_allocated));
        img_print_json(o);
        return;
    }
    printf("required size: %" G_GUINT64_FORMAT "\nfully allocated size: %" G_GUINT64_FORMAT "\n",
           m->required, m->fully_allocated);
    if (m->bitmaps != UINT64_MAX) {
        printf("bitmaps size: %" G_GUINT64_FORMAT "\n", m->bitmaps);
    }
}

static bool load_snapshot(BlockNode *node, const char *snapshot, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    if (!snapshot) {
        return true;
    }
    if (!ops || !ops->snapshot_load) {
        return error_set(error, "images of format '%s' have no snapshots (-l)",
                         block_node_driver(node));
    }
    return ops->snapshot_load(node, snapshot, error);
}

static int measure(const char *format, Opts *options, BlockNode *in, bool json)
{
    GError *error = NULL;
    BlockMeasure result = { 0 };
    const BlockImageOps *ops = block_image_ops(format, &error);
    if (!ops) {
        return img_fail(error);
    }
    if (!ops->measure) {
        report_error("it is not known how much an image of format '%s' would need", format);
        return 1;
    }
    if (!ops->measure(options, in, &result, &error) ||
        !opts_check_unused(options, "measure -o", NULL, &error)) {
        return img_fail(error);
    }
    print_measure(&result, json);
    return 0;
}

int img_measure_run(ImgArgs *args)
{
    bool json;
    uint64_t bytes;
    GError *error = NULL;
    const char *size = img_value(args, "size"), *format = img_value(args, "O");
    const char *snapshot = img_value(args, "l");
    format = format ? format : "raw";
    if (!img_output_is_json(args, &json)) {
        return 1;
    }
    if (args->count > 1) {
        report_error("the needs of one image are measured at a time: more than one name is given");
        return 1;
    }
    if (size && args->count) {
        report_error("the size comes from --size or from the image that is named: both were given");
        return 1;
    }
    if (!size && !args->count) {
        report_error("nothing to measure: give --size or the name of an image");
        return 1;
    }
    g_autoptr(Opts) options = img_format_options(args);
    if (!options || (size && !img_parse_size("image size", size, 0, INT64_MAX, &bytes))) {
        return 1;
    }
    if (size) {
        opts_set(options, "size", size);
        return measure(format, options, NULL, json);
    }
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .force_share = img_has(args, "U") };
    ImgImage image;
    if (!img_open(&image, args->words[0], &how)) {
        return 1;
    }
    int status = load_snapshot(image.node, snapshot, &error)
                     ? measure(format, options, image.node, json)
                     : img_fail(error);
    img_close(&image);
    return status;
}
