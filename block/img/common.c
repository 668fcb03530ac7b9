/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands share: messages, progress, opening images. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "block/img/img.h"

/* ---- Messages ---- */

int img_fail(GError *error)
{
    report_error("%s", error->message);
    g_error_free(error);
    return 1;
}

int img_usage_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    report_error("%s\n'vireo-img --help' tells how commands are used", text);
    return 1;
}

char *img_human_size(uint64_t bytes)
{
    static const char *const prefixes[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    int power;
    /* 1000 and above take the next unit: three digits always suffice. */
    frexp((double)bytes / (1000.0 / 1024.0), &power);
    power = MAX(power - 1, 0) / 10;
    return g_strdup_printf("%0.3g %sB", (double)bytes / (double)(1ULL << (power * 10)),
                           prefixes[power]);
}

static void print_value(json_object *value, int depth);

static void print_indent(int depth)
{
    printf("\n%*s", depth * 4, "");
}

static void print_children(json_object *value, int depth)
{
    bool list = json_object_is_type(value, json_type_array);
    int count = 0;
    putchar(list ? '[' : '{');
    if (list) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            fputs(count++ ? "," : "", stdout);
            print_indent(depth + 1);
            print_value(json_object_array_get_idx(value, i), depth + 1);
        }
    } else {
        json_object_object_foreach(value, key, child)
        {
            fputs(count++ ? "," : "", stdout);
            print_indent(depth + 1);
            g_autofree char *quoted = NULL;
            json_object *text = json_object_new_string(key);
            quoted = g_strdup(json_object_to_json_string_ext(text, JSON_C_TO_STRING_NOSLASHESCAPE));
            json_object_put(text);
            printf("%s: ", quoted);
            print_value(child, depth + 1);
        }
    }
    print_indent(depth);
    putchar(list ? ']' : '}');
}

static void print_value(json_object *value, int depth)
{
    if (json_object_is_type(value, json_type_array) ||
        json_object_is_type(value, json_type_object)) {
        print_children(value, depth);
    } else {
        fputs(json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE), stdout);
    }
}

void img_print_json(json_object *value)
{
    print_value(value, 0);
    putchar('\n');
    json_object_put(value);
}

static int compare_options(const void *a, const void *b)
{
    const BlockCreateOption *x = *(const BlockCreateOption *const *)a;
    const BlockCreateOption *y = *(const BlockCreateOption *const *)b;
    return strcmp(x->name, y->name);
}

void img_show_create_options(const char *format, const BlockCreateOption *options,
                             const char *title, bool hint)
{
    static const char *const types[] = { "str", "bool (on/off)", "num", "size" };
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();
    for (const BlockCreateOption *o = options; o && o->name; o++) {
        g_ptr_array_add(sorted, (void *)o);
    }
    qsort(sorted->pdata, sorted->len, sizeof(void *), compare_options);
    printf("%s\n", title);
    for (guint i = 0; i < sorted->len; i++) {
        const BlockCreateOption *o = sorted->pdata[i];
        g_autofree char *left = g_strdup_printf("  %s=<%s>", o->name, types[o->type]);
        printf("%-24s - %s\n", left, o->help);
    }
    if (hint) {
        printf("\nWhere the file is made may have options of its own:\n-o help together with the "
               "image's name shows them too.\n");
    }
}

/* ---- Progress ---- */

static struct Progress {
    bool shown;
    double last;
    volatile sig_atomic_t asked; /* by SIGUSR1 */
} progress;

static void progress_asked(int sig)
{
    progress.asked = 1;
}

void img_progress_start(bool shown)
{
    struct sigaction action = { .sa_handler = progress_asked, .sa_flags = SA_RESTART };
    progress.shown = shown;
    progress.last = -1;
    sigaction(SIGUSR1, &action, NULL);
    img_progress(0);
}

void img_progress(double percent)
{
    percent = CLAMP(percent, 0, 100);
    if (progress.asked) {
        progress.asked = 0;
        fprintf(stderr, "    (%3.2f/100%%)\n", percent);
    }
    if (progress.shown &&
        (percent >= progress.last + 1 || (percent >= 100 && progress.last < 100))) {
        printf("    (%3.2f/100%%)\r", percent);
        fflush(stdout);
        progress.last = percent;
    }
}

void img_progress_end(void)
{
    if (progress.shown) {
        putchar('\n');
    }
}

/* ---- Opening ---- */

static bool apply_cache(const char *cache, BlockOpenMode *mode, bool *writethrough)
{
    *writethrough = false;
    if (!cache || !strcmp(cache, "writeback")) {
        return true;
    }
    if (!strcmp(cache, "none") || !strcmp(cache, "off")) {
        mode->cache_direct = true;
    } else if (!strcmp(cache, "writethrough")) {
        *writethrough = true;
    } else if (!strcmp(cache, "directsync")) {
        mode->cache_direct = *writethrough = true;
    } else if (!strcmp(cache, "unsafe")) {
        mode->no_flush = true;
    } else {
        return false;
    }
    return true;
}

bool img_cache_is_valid(const char *cache, const char *what)
{
    BlockOpenMode mode;
    bool writethrough;
    if (!apply_cache(cache, &mode, &writethrough)) {
        report_error("Invalid %s option: %s", what, cache);
        return false;
    }
    return true;
}

/* The options that a name stands for: --image-opts, or "json:{...}". */
static bool parse_name(const char *filename, const ImgOpen *how, Opts **options, GError **error)
{
    *options = NULL;
    if (!how->image_opts && !g_str_has_prefix(filename, "json:")) {
        return true;
    }
    *options = how->image_opts ? opts_parse(filename, NULL, error)
                               : opts_parse_json(filename + strlen("json:"), error);
    return *options != NULL;
}

static bool open_node(ImgImage *image, const char *filename, const ImgOpen *how,
                      const BlockOpenMode *mode, GError **error)
{
    g_autoptr(Opts) options = NULL;
    if (!parse_name(filename, how, &options, error)) {
        return false;
    }
    if ((how->aio || how->key_secret) && !options) {
        options = opts_new();
        opts_set(options, "file", filename);
    }
    if (how->key_secret) {
        opts_set(options, how->key_option, how->key_secret);
    }
    if (how->aio) {
        opts_set(options, "aio", how->aio);
    }
    const char *format = how->format;
    if (options && format && opts_has(options, "driver")) {
        format = NULL; /* the options say it */
    }
    image->node = block_image_open(options ? NULL : filename, format, options, mode, error);
    return image->node && (!options || opts_check_unused(options, "image", NULL, error));
}

bool img_open_error(ImgImage *image, const char *filename, const ImgOpen *how, GError **error)
{
    BlockOpenMode mode = { .writable = how->writable,
                           .force_share = how->force_share,
                           .no_backing = how->no_backing,
                           .for_check = how->for_check,
                           .no_io = how->no_io,
                           .discard = how->writable,
                           .trusting = true };
    bool writethrough;
    *image = (ImgImage){ .name = filename };
    if (!apply_cache(how->cache, &mode, &writethrough)) {
        return error_set(
            error,
            "there is no cache mode '%s' (none, writeback, writethrough, directsync, unsafe)",
            how->cache);
    }
    bool ok = open_node(image, filename, how, &mode, error);
    if (ok) {
        image->backend = block_backend_attach(block_node_name(image->node), "vireo-img",
                                              !how->writable, false, error);
        ok = image->backend != NULL;
    }
    if (!ok) {
        img_close(image);
        g_prefix_error(error, "Could not open '%s': ", filename);
        return false;
    }
    if (writethrough) {
        block_backend_set_write_cache(image->backend, false);
    }
    return true;
}

void img_open_with_key(ImgOpen *how, Opts *options)
{
    static const char *const keys[] = { "encrypt.key-secret", "key-secret" };
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (opts_has(options, keys[i])) {
            how->key_option = keys[i];
            how->key_secret = opts_get(options, keys[i]);
        }
    }
}

bool img_open(ImgImage *image, const char *filename, const ImgOpen *how)
{
    GError *error = NULL;
    *image = (ImgImage){ .name = filename };
    if (!img_cache_is_valid(how->cache, how->cache_what ? how->cache_what : "cache")) {
        return false;
    }
    if (!img_open_error(image, filename, how, &error)) {
        img_fail(error);
        return false;
    }
    return true;
}

bool img_flush(ImgImage *image)
{
    int ret = block_flush(image->node);
    if (ret < 0) {
        report_error("%s: what was written could not be flushed: %s", image->name,
                     g_strerror(-ret));
    }
    return ret == 0;
}

static bool lost; /* an image could not be closed as it should */

void img_close(ImgImage *image)
{
    g_autoptr(GError) error = NULL;
    if (image->node && !block_node_retire(image->node, &error)) {
        report_error("%s", error->message);
        lost = true;
    }
    g_clear_pointer(&image->backend, block_backend_detach);
    g_clear_pointer(&image->node, block_node_unref);
}

int img_status(int status)
{
    return status == 0 && lost ? 1 : status;
}

/* ---- Data ---- */

bool img_is_zero(const void *data, size_t bytes)
{
    const char *p = data;
    return !bytes || (!p[0] && !memcmp(p, p + 1, bytes - 1));
}

int img_pread(BlockNode *node, uint64_t offset, void *data, uint64_t bytes)
{
    uint64_t length = node ? block_node_length(node) : 0;
    uint64_t here = offset < length ? MIN(bytes, length - offset) : 0;
    int ret = here ? block_pread(node, offset, data, here) : 0;
    memset((char *)data + here, 0, bytes - here);
    return ret;
}

void *img_buffer_new(size_t bytes)
{
    void *buffer = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!buffer) {
        g_error("no memory for a buffer of %zu bytes", bytes);
    }
    return buffer;
}
