/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img check. */
#include <stdio.h>
#include <string.h>
#include "block/img/img.h"

const ImgOption img_check_options[] = {
    IMG_OPTION_OBJECT,       IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_QUIET,        IMG_OPTION_FORMAT,
    IMG_OPTION_OUTPUT,       { 'r', "repair", "WHAT", "repair what is found: leaks or all" },
    IMG_OPTION_SOURCE_CACHE, IMG_OPTION_SHARE,
    IMG_OPTIONS_END,
};

enum { STATUS_ERROR = 1, STATUS_CORRUPT = 2, STATUS_LEAKS = 3, STATUS_UNSUPPORTED = 63 };

static void print_finding(const char *line, void *opaque)
{
    fflush(stdout);
    fprintf(stderr, "%s\n", line);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? (double)part * 100.0 / (double)whole : 0;
}

static void print_faults(const BlockCheckResult *r)
{
    if (!r->corruptions && !r->leaks && !r->check_errors) {
        printf("No errors were found on the image.\n");
    }
    if (r->corruptions) {
        printf("\n%" G_GUINT64_FORMAT " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               r->corruptions);
    }
    if (r->leaks) {
        printf("\n%" G_GUINT64_FORMAT " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               r->leaks);
    }
    if (r->check_errors) {
        printf("\n%" G_GUINT64_FORMAT " internal errors have occurred during the check.\n",
               r->check_errors);
    }
}

static void print_human(const BlockCheckResult *r)
{
    print_faults(r);
    if (r->total_clusters && r->allocated_clusters) {
        printf("%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " = %0.2f%% allocated, %0.2f%% "
               "fragmented, %0.2f%% compressed clusters\n",
               r->allocated_clusters, r->total_clusters,
               percent(r->allocated_clusters, r->total_clusters),
               percent(r->fragmented_clusters, r->allocated_clusters),
               percent(r->compressed_clusters, r->allocated_clusters));
    }
    if (r->image_end_offset) {
        printf("Image end offset: %" G_GUINT64_FORMAT "\n", r->image_end_offset);
    }
}

static void add_count(json_object *o, const char *key, uint64_t count, bool always)
{
    if (count || always) {
        json_object_object_add(o, key, json_object_new_uint64(count));
    }
}

static void print_json(const BlockCheckResult *r, const char *filename, const char *format)
{
    json_object *o = json_object_new_object();
    add_count(o, "corruptions", r->corruptions, false);
    add_count(o, "image-end-offset", r->image_end_offset, false);
    add_count(o, "total-clusters", r->total_clusters, false);
    add_count(o, "corruptions-fixed", r->corruptions_fixed, false);
    add_count(o, "check-errors", r->check_errors, true);
    add_count(o, "leaks", r->leaks, false);
    add_count(o, "leaks-fixed", r->leaks_fixed, false);
    add_count(o, "fragmented-clusters", r->fragmented_clusters, false);
    add_count(o, "allocated-clusters", r->allocated_clusters, false);
    add_count(o, "compressed-clusters", r->compressed_clusters, false);
    json_object_object_add(o, "filename", json_object_new_string(filename));
    json_object_object_add(o, "format", json_object_new_string(format));
    img_print_json(o);
}

/* Checks, and once more what was repaired. */
static bool check_twice(BlockNode *node, unsigned fix, bool quiet, bool json, BlockCheckResult *r,
                        GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    *r = (BlockCheckResult){ .report = print_finding };
    if (!ops->check(node, fix, r, error)) {
        return false;
    }
    uint64_t leaks = r->leaks_fixed, corruptions = r->corruptions_fixed;
    if (!leaks && !corruptions) {
        return true;
    }
    bool tell = !quiet && !json;
    if (tell) {
        printf("The following inconsistencies were found and repaired:\n\n    %" G_GUINT64_FORMAT
               " leaked clusters\n    %" G_GUINT64_FORMAT
               " corruptions\n\nDouble checking the fixed image now...\n",
               leaks, corruptions);
        fflush(stdout);
    }
    *r = (BlockCheckResult){ .report = print_finding };
    bool ok = ops->check(node, 0, r, error);
    r->leaks_fixed = leaks;
    r->corruptions_fixed = corruptions;
    return ok;
}

static int check_open(ImgImage *image, unsigned fix, bool quiet, bool json)
{
    GError *error = NULL;
    BlockCheckResult r;
    const BlockImageOps *ops = block_node_image_ops(image->node);
    if (!ops || !ops->check) {
        report_error("the image's format has nothing that could be checked");
        return STATUS_UNSUPPORTED;
    }
    if (!check_twice(image->node, fix, quiet, json, &r, &error)) {
        g_prefix_error(&error, "Check failed: ");
        return img_fail(error);
    }
    if (!quiet && json) {
        print_json(&r, image->name, block_node_driver(image->node));
    } else if (!quiet) {
        print_human(&r);
    }
    return r.check_errors  ? STATUS_ERROR
           : r.corruptions ? STATUS_CORRUPT
           : r.leaks       ? STATUS_LEAKS
                           : 0;
}

int img_check_run(ImgArgs *args)
{
    bool json;
    unsigned fix = 0;
    const char *repair = img_value(args, "r");
    if (repair && !strcmp(repair, "leaks")) {
        fix = BLOCK_FIX_LEAKS;
    } else if (repair && !strcmp(repair, "all")) {
        fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS;
    } else if (repair) {
        return img_usage_error("-r takes 'leaks' or 'all', not '%s'", repair);
    }
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .force_share = img_has(args, "U"),
                    .no_backing = true,
                    .for_check = true,
                    .writable = fix != 0,
                    .cache = img_value(args, "T"),
                    .cache_what = "source cache" };
    ImgImage image;
    if (!img_expect_words(args, 1, "this command works on one image: give its file name") ||
        !img_output_is_json(args, &json) || !img_open(&image, args->words[0], &how)) {
        return 1;
    }
    int status = check_open(&image, fix, img_has(args, "q"), json);
    if (fix && !img_flush(&image) && status == 0) {
        status = STATUS_ERROR;
    }
    img_close(&image);
    return status;
}
