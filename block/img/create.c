/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img create; convert and dd make their targets here too. */
#include <stdio.h>
#include <string.h>
#include "block/img/img.h"

const ImgOption img_create_options[] = {
    IMG_OPTION_OBJECT,
    { 'f', NULL, "FMT", "what the image shall be; raw when it is not given" },
    { 'b', NULL, "FILENAME", "backing file: the image is an overlay of it" },
    { 'F', NULL, "FMT", "what the backing file is" },
    { 'u', NULL, NULL, "do not open the backing file; SIZE is needed then" },
    { 'o', NULL, "OPTIONS", "options of the format: NAME=VALUE,...; help lists them" },
    IMG_OPTION_QUIET,
    IMG_OPTIONS_END,
};

/* ---- The line "Formatting ..." ---- */

/* The order in which qemu-img tells the options of its formats; others come behind. */
static const char *const printed_order[] = {
    "encryption",
    "encrypt.format",
    "encrypt.key-secret",
    "encrypt.cipher-alg",
    "encrypt.cipher-mode",
    "encrypt.ivgen-alg",
    "encrypt.ivgen-hash-alg",
    "encrypt.hash-alg",
    "encrypt.iter-time",
    "cluster_size",
    "extended_l2",
    "preallocation",
    "compression_type",
    "size",
    "compat",
    "data_file",
    "data_file_raw",
    "backing_file",
    "backing_fmt",
    "lazy_refcounts",
    "refcount_bits",
};
/* Of raw images the size comes first. */
static const char *const raw_order[] = { "size", "preallocation" };

static const BlockCreateOption *find_option(const BlockCreateOption *table, const char *name)
{
    for (; table->name; table++) {
        if (!strcmp(table->name, name)) {
            return table;
        }
    }
    return NULL;
}

static void append_option(GString *line, const BlockCreateOption *option, Opts *options)
{
    const char *value = opts_has(options, option->name) ? opts_get(options, option->name)
                                                        : option->value;
    uint64_t number;
    /* Preallocation is told when somebody asked for it. */
    if (!value || (!opts_has(options, option->name) && !strcmp(option->name, "preallocation"))) {
        return;
    }
    if (!opts_has(options, option->name) &&
        (!strcmp(option->name, "compat") || !strcmp(option->name, "encryption") ||
         !strcmp(option->name, "data_file_raw"))) {
        return;
    }
    if (option->type == BLOCK_OPTION_SIZE && parse_size(value, 1, &number)) {
        g_string_append_printf(line, " %s=%" G_GUINT64_FORMAT, option->name, number);
    } else {
        g_string_append_printf(line, " %s=%s", option->name, value);
    }
}

static void print_formatting(const ImgCreate *what, const BlockCreateOption *table, Opts *options)
{
    g_autoptr(GString) line = g_string_new(NULL);
    bool raw = !strcmp(what->format, "raw");
    const char *const *order = raw ? raw_order : printed_order;
    size_t count = raw ? G_N_ELEMENTS(raw_order) : G_N_ELEMENTS(printed_order);
    g_autoptr(GHashTable) done = g_hash_table_new(g_str_hash, g_str_equal);
    g_string_append_printf(line, "Formatting '%s', fmt=%s", what->filename, what->format);
    for (size_t i = 0; i < count; i++) {
        const BlockCreateOption *option = find_option(table, order[i]);
        if (option) {
            append_option(line, option, options);
            g_hash_table_add(done, (void *)option->name);
        }
    }
    for (; table->name; table++) {
        if (!g_hash_table_contains(done, table->name)) {
            append_option(line, table, options);
        }
    }
    printf("%s\n", line->str);
    fflush(stdout);
}

/* ---- Checks ---- */

typedef struct Unknown {
    const BlockCreateOption *table;
    const char *key;
} Unknown;

static void check_known(const char *key, const char *value, void *opaque)
{
    Unknown *unknown = opaque;
    if (!find_option(unknown->table, key) && !unknown->key) {
        unknown->key = key;
    }
}

static bool check_values(const BlockCreateOption *table, Opts *options, GError **error)
{
    for (; table->name; table++) {
        const char *value = opts_get(options, table->name);
        uint64_t number;
        bool flag;
        if (!value) {
            continue;
        }
        if (table->type == BLOCK_OPTION_BOOL && !parse_bool(value, &flag)) {
            return error_set(error, "Parameter '%s' expects 'on' or 'off'", table->name);
        }
        if (table->type == BLOCK_OPTION_NUMBER && !parse_uint(value, UINT64_MAX, &number)) {
            return error_set(error, "Parameter '%s' expects a number", table->name);
        }
        if (table->type == BLOCK_OPTION_SIZE && !parse_size(value, 1, &number)) {
            return error_set(error,
                             "'%s' is a size: 0 to 2^64 - 1 bytes\nA letter may follow the number: "
                             "k is 1024 bytes, M 1024 times that, and so on with G, T, P, E.",
                             table->name);
        }
    }
    return true;
}

static bool set_backing(const ImgCreate *what, const BlockCreateOption *table, Opts *options,
                        GError **error)
{
    if ((what->backing && !find_option(table, "backing_file")) ||
        (what->backing_format && !find_option(table, "backing_fmt"))) {
        return error_set(error, "no backing %s: images of format '%s' cannot stand on another",
                         what->backing ? "file" : "format", what->format);
    }
    if (what->backing) {
        opts_set(options, "backing_file", what->backing);
    }
    if (what->backing_format) {
        opts_set(options, "backing_fmt", what->backing_format);
    }
    return true;
}

/* A backing file's name is relative to the folder of its overlay. */
static char *backing_path(const char *filename, const char *backing)
{
    size_t n = strcspn(backing, ":/");
    if (backing[0] == '/' || (backing[n] == ':' && n > 1)) {
        return g_strdup(backing);
    }
    g_autofree char *folder = g_path_get_dirname(filename);
    return strcmp(folder, ".") ? g_build_filename(folder, backing, NULL) : g_strdup(backing);
}

static bool inspect_backing(const ImgCreate *what, Opts *options, GError **error)
{
    const char *backing = opts_get(options, "backing_file");
    const char *format = opts_get(options, "backing_fmt");
    if (!backing || !*backing) {
        return true;
    }
    if (!strcmp(backing, what->filename)) {
        return error_set(error,
                         "the new image and its backing file would be one and the same file");
    }
    if (format && !block_format_exists(format)) {
        return error_set(error, "no format has the name '%s' that is given for the backing file",
                         format);
    }
    if (what->unsafe) {
        return true;
    }
    g_autofree char *path = backing_path(what->filename, backing);
    ImgOpen how = { .format = format };
    ImgImage image;
    if (!img_open_error(&image, path, &how, error)) {
        g_prefix_error(error, "the backing file cannot be opened: ");
        return false;
    }
    bool ok = format || error_set(error,
                                  "the backing file's format must be said with -F: what a guest "
                                  "wrote there may look like another\nIt looks like %s.",
                                  block_node_driver(image.node));
    if (ok && !opts_has(options, "size")) {
        g_autofree char *size =
            g_strdup_printf("%" G_GUINT64_FORMAT, block_node_length(image.node));
        opts_set(options, "size", size);
    }
    img_close(&image);
    return ok;
}

static const BlockImageOps *creating_ops(const char *format, GError **error)
{
    const BlockImageOps *ops = block_image_ops(format, error);
    if (ops && !ops->create) {
        error_set(error, "images of format '%s' can be read, but not made", format);
        return NULL;
    }
    return ops;
}

bool img_create(const ImgCreate *what, Opts *options, GError **error)
{
    const BlockImageOps *ops = creating_ops(what->format, error);
    if (!ops) {
        return false;
    }
    Unknown unknown = { .table = ops->create_options };
    opts_foreach_all(options, check_known, &unknown);
    if (unknown.key) {
        return error_set(error, "Invalid parameter '%s'", unknown.key);
    }
    if (what->has_size) {
        g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, what->size);
        opts_set(options, "size", size);
    }
    if (!check_values(ops->create_options, options, error) ||
        !set_backing(what, ops->create_options, options, error) ||
        !inspect_backing(what, options, error)) {
        return false;
    }
    if (!opts_has(options, "size")) {
        return error_set(
            error, "the size is missing: give it behind the name, or a backing file that has it");
    }
    if (!what->quiet) {
        print_formatting(what, ops->create_options, options);
    }
    return block_image_create(what->filename, what->format, options, error);
}

static bool read_size(const ImgArgs *args, ImgCreate *what)
{
    what->has_size = args->count > 1;
    return !what->has_size ||
           img_parse_size("image size", args->words[1], 0, INT64_MAX, &what->size);
}

int img_create_run(ImgArgs *args)
{
    GError *error = NULL;
    ImgCreate what = { .format = img_value(args, "f"),
                       .backing = img_value(args, "b"),
                       .backing_format = img_value(args, "F"),
                       .quiet = img_has(args, "q"),
                       .unsafe = img_has(args, "u") };
    what.format = what.format ? what.format : "raw";
    if (img_wants_options_help(args)) {
        const BlockImageOps *ops = creating_ops(what.format, &error);
        if (!ops) {
            return img_fail(error);
        }
        g_autofree char *title = args->count
                                     ? g_strdup("Supported options:")
                                     : g_strdup_printf("Supported %s options:", what.format);
        img_show_create_options(what.format, ops->create_options, title, !args->count);
        return 0;
    }
    if (args->count < 1) {
        return img_usage_error("give the name of the file that is to be made");
    }
    if (!read_size(args, &what)) {
        return 1;
    }
    if (args->count > 2) {
        return img_usage_error("Unexpected argument: %s", args->words[2]);
    }
    what.filename = args->words[0];
    g_autoptr(Opts) options = img_format_options(args);
    if (!options) {
        return 1;
    }
    if (!img_create(&what, options, &error)) {
        g_prefix_error(&error, "%s: ", what.filename);
        return img_fail(error);
    }
    return 0;
}
