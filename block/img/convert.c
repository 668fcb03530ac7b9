/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img convert: options, sources and target; convert_copy.c moves the data. */
#include <stdio.h>
#include <string.h>
#include "block/bitmap_actions.h"
#include "block/img/img.h"
#include "vmm/util/bytes.h"

const ImgOption img_convert_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    { 0, "target-image-opts", NULL, "OUTPUT_FILENAME is a list of options; needs -n" },
    { 0, "target-is-zero", NULL, "the target reads as zeroes; needs -n" },
    { 0, "bitmaps", NULL, "copy the persistent bitmaps too" },
    { 0, "skip-broken-bitmaps", NULL, "but for those that are inconsistent" },
    IMG_OPTION_SHARE,
    { 'c', NULL, NULL, "compress" },
    { 'C', NULL, NULL, "let the host copy between files where nothing is converted" },
    IMG_OPTION_PROGRESS,
    IMG_OPTION_QUIET,
    { 'n', NULL, NULL, "write into an image that exists" },
    IMG_OPTION_FORMAT,
    IMG_OPTION_CACHE,
    IMG_OPTION_SOURCE_CACHE,
    { 'O', NULL, "FMT", "format of the output; raw when it is not given" },
    { 'B', NULL, "FILENAME", "backing file of the output: what the input's own holds is left out" },
    { 'F', NULL, "FMT", "format of that backing file" },
    { 'o', NULL, "OPTIONS", "options of the output's format; help lists them" },
    { 'l', NULL, "SNAPSHOT", "copy this internal snapshot" },
    { 'S', NULL, "BYTES", "zeroes of this length become holes (4k); 0: none" },
    { 'r', NULL, "BYTES", "write no more than this a second" },
    { 'm', NULL, "COUNT", "pieces copied at the same time (8)" },
    { 'W', NULL, NULL, "write out of order" },
    { 0, "salvage", NULL, "what cannot be read becomes zeroes" },
    IMG_OPTIONS_END,
};

#define MAX_SPARSE  (16 * MIB)
#define MAX_WORKERS 16

typedef struct Convert {
    const ImgArgs *args;
    ImgCopy copy;
    const char *format, *target_name, *backing, *backing_format, *snapshot, *cache;
    bool skip_create, target_image_opts, bitmaps, skip_broken_bitmaps, target_is_zero;
    Opts *options;
    ImgImage target;
} Convert;

/* ---- Options ---- */

static bool read_numbers(const ImgArgs *args, ImgCopy *copy)
{
    const char *sparse = img_value(args, "S"), *rate = img_value(args, "r");
    const char *workers = img_value(args, "m");
    uint64_t count = 8;
    copy->min_sparse = 4 * KIB;
    if (sparse) {
        uint64_t *value = &copy->min_sparse;
        if (!parse_size(sparse, 1, value) || *value % 512 || *value > MAX_SPARSE) {
            report_error("-S: zeroes are left out in parts of a multiple of 512 bytes, up to %llu; "
                         "0 writes all of them",
                         MAX_SPARSE);
            return false;
        }
    }
    if (workers && (!parse_uint(workers, MAX_WORKERS, &count) || !count)) {
        report_error("-m: 1 to %d requests can be in flight", MAX_WORKERS);
        return false;
    }
    copy->workers = (unsigned)count;
    return !rate || img_parse_size("rate limit", rate, 1, INT64_MAX, &copy->rate);
}

static bool refuse(const char *message)
{
    report_error("%s", message);
    return false;
}

static bool check_options(const Convert *c)
{
    const ImgArgs *args = c->args;
    if (args->count < 2) {
        return refuse("give at least two names: that of an image and that of the new one");
    }
    if (c->copy.out_of_order && c->copy.compressed) {
        return refuse("Out of order write and compress are mutually exclusive");
    }
    if (c->copy.offload && img_has(args, "S")) {
        return refuse(
            "-C leaves the copying to the file system, which does not look for zeroes (-S)");
    }
    if (c->copy.offload && c->copy.compressed) {
        return refuse("-C leaves the copying to the file system, which does not compress (-c)");
    }
    if (c->skip_create && img_has(args, "o")) {
        return refuse("-o describes a new image, and -n makes none");
    }
    if (c->skip_create && c->backing) {
        return refuse("-B describes a new image, and -n makes none");
    }
    if (!c->skip_create && c->target_image_opts) {
        return refuse("--target-image-opts describes an image that is there: use it with -n");
    }
    if (!c->skip_create && c->target_is_zero) {
        return refuse("--target-is-zero is said of an image that is there: use it with -n");
    }
    if (c->backing && c->copy.count > 1) {
        return refuse("several images in a row cannot share the backing file of one (-B)");
    }
    if (c->skip_broken_bitmaps && !c->bitmaps) {
        return refuse("--skip-broken-bitmaps says what becomes of --bitmaps, which is missing");
    }
    if (c->bitmaps && c->copy.count > 1) {
        return refuse("--bitmaps copies from one image: several in a row have no common bitmaps");
    }
    return img_cache_is_valid(c->cache, "cache") &&
           img_cache_is_valid(img_value(args, "T"), "source cache");
}

static bool read_options(Convert *c, const ImgArgs *args)
{
    const char *cache = img_value(args, "t"), *format = img_value(args, "O");
    *c = (Convert){
        .args = args,
        .copy = { .count = args->count - 1,
                  .compressed = img_has(args, "c"),
                  .offload = img_has(args, "C"),
                  .out_of_order = img_has(args, "W"),
                  .salvage = img_has(args, "salvage"),
                  .quiet = img_has(args, "q") },
        .format = format ? format : "raw",
        .backing = img_value(args, "B"),
        .backing_format = img_value(args, "F"),
        .snapshot = img_value(args, "l"),
        .cache = cache ? cache : "unsafe",
        .skip_create = img_has(args, "n"),
        .target_image_opts = img_has(args, "target-image-opts"),
        .bitmaps = img_has(args, "bitmaps"),
        .skip_broken_bitmaps = img_has(args, "skip-broken-bitmaps"),
        .target_is_zero = img_has(args, "target-is-zero"),
    };
    if (!read_numbers(args, &c->copy) || !check_options(c)) {
        return false;
    }
    c->target_name = args->words[args->count - 1];
    c->options = img_format_options(args);
    return c->options != NULL;
}

/* ---- Sources ---- */

/* "snapshot.id=ID,snapshot.name=NAME", or either of them by itself. */
static char *find_snapshot(BlockNode *node, const char *text, GError **error)
{
    g_autoptr(GPtrArray) all = img_list_snapshots(node, error);
    g_autoptr(Opts) parsed = g_str_has_prefix(text, "snapshot.") ? opts_parse(text, NULL, error)
                                                                 : NULL;
    const char *id = parsed ? opts_get(parsed, "snapshot.id") : NULL;
    const char *name = parsed ? opts_get(parsed, "snapshot.name") : NULL;
    for (guint i = 0; all && i < all->len; i++) {
        const BlockSnapshot *s = all->pdata[i];
        bool match = parsed ? (!id || !strcmp(s->id, id)) && (!name || !strcmp(s->name, name))
                            : !strcmp(s->name, text) || !strcmp(s->id, text);
        if (match) {
            return g_strdup(s->id);
        }
    }
    if (!error || !*error) {
        error_set(error, "the image has no such snapshot");
    }
    return NULL;
}

static bool load_snapshot(Convert *c)
{
    GError *error = NULL;
    BlockNode *node = c->copy.sources[0].node;
    const BlockImageOps *ops = block_node_image_ops(node);
    if (!c->snapshot) {
        return true;
    }
    if (c->copy.count > 1) {
        return refuse("-l takes a snapshot of one image, not of several in a row");
    }
    g_autofree char *id = find_snapshot(node, c->snapshot, &error);
    bool ok = id != NULL;
    if (ok && !ops->snapshot_load) {
        ok = error_set(&error, "format '%s' cannot show one", block_node_driver(node));
    }
    ok = ok && ops->snapshot_load(node, id, &error);
    if (!ok) {
        g_prefix_error(&error, "the snapshot cannot be read: ");
        img_fail(error);
    }
    return ok;
}

static bool open_sources(Convert *c)
{
    ImgOpen how = { .format = img_value(c->args, "f"),
                    .image_opts = img_has(c->args, "image-opts"),
                    .force_share = img_has(c->args, "U"),
                    .cache = img_value(c->args, "T"),
                    .cache_what = "source cache" };
    c->copy.sources = g_new0(ImgImage, c->copy.count);
    for (int i = 0; i < c->copy.count; i++) {
        if (!img_open(&c->copy.sources[i], c->args->words[i], &how)) {
            return false;
        }
    }
    if (!load_snapshot(c)) {
        return false;
    }
    for (int i = 0; i < c->copy.count; i++) {
        c->copy.total += block_node_length(c->copy.sources[i].node);
    }
    if (c->copy.total > INT64_MAX) {
        return refuse("the images are larger than 8 EiB together");
    }
    return true;
}

/* ---- Target ---- */

static void look_for_encryption(const char *key, const char *value, void *opaque)
{
    bool on = false, *encrypt = opaque;
    *encrypt |= !strcmp(key, "encrypt.format") ||
                (!strcmp(key, "encryption") && parse_bool(value, &on) && on);
}

static bool make_target(Convert *c)
{
    GError *error = NULL;
    const BlockImageOps *ops = block_image_ops(c->format, &error);
    if (!ops) {
        img_fail(error);
        return false;
    }
    if (c->copy.compressed && !ops->can_compress) {
        return refuse("-c: images of this format cannot be compressed");
    }
    bool encrypt = false;
    opts_foreach_all(c->options, look_for_encryption, &encrypt);
    if (c->copy.compressed && encrypt) {
        return refuse("-c: clusters are compressed or encrypted, never both: leave out one");
    }
    if (c->bitmaps && !ops->bitmap_can_store) {
        report_error(
            "images of format '%s' cannot keep bitmaps: leave out --bitmaps, or make a qcow2 image",
            c->format);
        return false;
    }
    if (c->backing && !c->backing_format && !opts_has(c->options, "backing_fmt")) {
        return refuse("the backing file's format is missing: say it with -F");
    }
    ImgCreate what = { .filename = c->target_name,
                       .format = c->format,
                       .backing = c->backing,
                       .backing_format = c->backing_format,
                       .quiet = true,
                       .has_size = !opts_has(c->options, "size"),
                       .size = c->copy.total };
    if (img_create(&what, c->options, &error)) {
        return true;
    }
    if (c->backing && strstr(error->message, "Backing file not supported")) {
        img_fail(error);
        return false;
    }
    g_prefix_error(&error, "%s: the copy as %s failed: ", c->target_name, c->format);
    img_fail(error);
    return false;
}

static bool open_target(Convert *c)
{
    BlockImageInfo info = { 0 };
    ImgOpen how = { .format = c->target_image_opts ? NULL : c->format,
                    .image_opts = c->target_image_opts,
                    .writable = true,
                    .cache = c->cache };
    img_open_with_key(&how, c->options);
    if (!img_open(&c->target, c->target_name, &how)) {
        return false;
    }
    BlockNode *node = c->target.node;
    const BlockImageOps *ops = block_node_image_ops(node);
    if (block_node_length(node) < c->copy.total) {
        return refuse("the image that is written to is smaller than what is copied");
    }
    if (c->copy.compressed && (!ops || !ops->can_compress)) {
        return refuse("-c: images of this format cannot be compressed");
    }
    if (ops && ops->info) {
        ops->info(node, &info);
    }
    json_object_put(info.specific);
    BlockNode *backing = block_node_backing(node);
    bool made = !c->skip_create && strcmp(block_node_driver(node), "host_device") != 0 &&
                block_node_file(node) &&
                strcmp(block_node_driver(block_node_file(node)), "host_device") != 0;
    /* What a new file has is not what is read of it. */
    made = made && strcmp(block_node_driver(node), "luks") != 0;
    c->copy.target = node;
    c->copy.cluster = info.cluster_size ? info.cluster_size : 64 * KIB;
    c->copy.target_has_backing = c->backing && backing;
    c->copy.backing_length = backing ? block_node_length(backing) : 0;
    c->copy.target_is_zero = (c->target_is_zero || made) && !backing;
    if (c->copy.compressed) {
        c->copy.workers = MAX(c->copy.workers, g_get_num_processors());
    }
    return true;
}

/* ---- Bitmaps ---- */

static bool copy_bitmap(Convert *c, BlockBitmap *from, GError **error)
{
    BlockNode *to = c->target.node;
    g_autoptr(GPtrArray) sources = g_ptr_array_new();
    BitmapAction *made = bitmap_action_add(to, from->name, 1ULL << from->granularity_bits, true,
                                           !from->enabled, error);
    if (!made) {
        g_prefix_error(error, "bitmap %s cannot be made in the new image: ", from->name);
        return false;
    }
    bitmap_action_commit(made);
    g_ptr_array_add(sources, from);
    BitmapAction *merged = bitmap_action_merge(to, from->name, sources, error);
    bitmap_action_commit(merged);
    if (!merged) {
        g_prefix_error(error, "bitmap %s was made, but not filled: ", from->name);
    }
    return merged != NULL;
}

static bool copy_bitmaps(Convert *c)
{
    GError *error = NULL;
    GPtrArray *all = c->copy.sources[0].node->bitmaps;
    for (guint i = 0; all && i < all->len; i++) {
        BlockBitmap *bitmap = all->pdata[i];
        if (bitmap->inconsistent) {
            report_warning("bitmap '%s' was not stored properly (in use): it is left out",
                           bitmap->name);
        } else if (bitmap->persistent && !copy_bitmap(c, bitmap, &error)) {
            img_fail(error);
            return false;
        }
    }
    return true;
}

static bool check_source_bitmaps(const Convert *c)
{
    const BlockNode *node = c->copy.sources[0].node;
    const BlockImageOps *ops = block_node_image_ops(node);
    if (!c->bitmaps) {
        return true;
    }
    if (!ops || !ops->bitmap_can_store) {
        return refuse("--bitmaps: images of the source's format have none");
    }
    for (guint i = 0; !c->skip_broken_bitmaps && node->bitmaps && i < node->bitmaps->len; i++) {
        const BlockBitmap *bitmap = node->bitmaps->pdata[i];
        if (bitmap->inconsistent) {
            report_error("bitmap '%s' was not stored properly (in use): nobody knows what it "
                         "lacks\n--skip-broken-bitmaps leaves it out; 'vireo-img bitmap --remove' "
                         "removes it from the image",
                         bitmap->name);
            return false;
        }
    }
    return true;
}

static bool convert(Convert *c)
{
    if (!open_sources(c) || !check_source_bitmaps(c) || (!c->skip_create && !make_target(c)) ||
        !open_target(c)) {
        return false;
    }
    return img_copy(&c->copy) == 0 && (!c->bitmaps || copy_bitmaps(c)) && img_flush(&c->target);
}

static int show_options(const char *format)
{
    GError *error = NULL;
    const BlockImageOps *ops = block_image_ops(format, &error);
    if (!ops) {
        return img_fail(error);
    }
    g_autofree char *title = g_strdup_printf("Supported %s options:", format);
    img_show_create_options(format, ops->create_options, title, true);
    return 0;
}

int img_convert_run(ImgArgs *args)
{
    Convert c = { 0 };
    if (img_wants_options_help(args)) {
        const char *format = img_value(args, "O");
        return show_options(format ? format : "raw");
    }
    bool ok = read_options(&c, args);
    if (ok) {
        img_progress_start(img_has(args, "p") && !c.copy.quiet);
        ok = convert(&c);
        img_progress_end();
    }
    img_close(&c.target);
    for (int i = 0; c.copy.sources && i < c.copy.count; i++) {
        img_close(&c.copy.sources[i]);
    }
    g_free(c.copy.sources);
    opts_free(c.options);
    return ok ? 0 : 1;
}
