/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img info. */
#include <stdio.h>
#include <string.h>
#include "block/img/img.h"

const ImgOption img_info_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_FORMAT,
    IMG_OPTION_OUTPUT,
    { 0, "backing-chain", NULL, "describe the backing files too" },
    IMG_OPTION_SHARE,
    IMG_OPTIONS_END,
};

GPtrArray *img_list_snapshots(BlockNode *node, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    return ops && ops->snapshot_list ? ops->snapshot_list(node, error) : NULL;
}

/* ---- For people ---- */

static void print_specific(json_object *value, int depth);

static bool has_children(json_object *value)
{
    return json_object_is_type(value, json_type_array) ||
           json_object_is_type(value, json_type_object);
}

static void print_pair(const char *key, json_object *value, int depth)
{
    printf("%*s%s:", depth * 4, "", key);
    if (has_children(value)) {
        putchar('\n');
        print_specific(value, depth + 1);
    } else {
        printf(" %s\n", json_object_get_string(value));
    }
}

static void print_specific(json_object *value, int depth)
{
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            g_autofree char *key = g_strdup_printf("[%zu]", i);
            print_pair(key, json_object_array_get_idx(value, i), depth);
        }
        return;
    }
    json_object_object_foreach(value, name, child)
    {
        g_autofree char *key = g_strdelimit(g_strdup(name), "-", ' ');
        print_pair(key, child, depth);
    }
}

static void print_backing(BlockNode *node)
{
    const char *backing = block_node_backing_file(node);
    const char *format = block_node_backing_format(node);
    g_autofree char *path = block_node_backing_path(node);
    if (!backing || !*backing) {
        return;
    }
    printf("backing file: %s", backing);
    if (path && strcmp(path, backing) != 0) {
        printf(" (actual path: %s)", path);
    }
    putchar('\n');
    if (format) {
        printf("backing file format: %s\n", format);
    }
}

static void print_image(const char *name, BlockNode *node, GPtrArray *snapshots)
{
    BlockImageInfo info = block_image_describe(node);
    g_autofree char *size = img_human_size(block_node_length(node));
    g_autofree char *disk = img_human_size(block_node_allocated(node));
    printf("image: %s\nfile format: %s\nvirtual size: %s (%" G_GUINT64_FORMAT " bytes)\n"
           "disk size: %s\n",
           name, block_node_driver(node), size, block_node_length(node), disk);
    if (info.encrypted) {
        printf("encrypted: yes\n");
    }
    if (info.cluster_size) {
        printf("cluster_size: %u\n", info.cluster_size);
    }
    if (info.dirty) {
        printf("cleanly shut down: no\n");
    }
    print_backing(node);
    if (snapshots && snapshots->len) {
        printf("Snapshot list:\n");
        img_print_snapshots(snapshots);
    }
    if (info.specific) {
        printf("Format specific information:\n");
        print_specific(info.specific, 1);
        json_object_put(info.specific);
    }
}

/* ---- One image, or a chain ---- */

typedef struct InfoRun {
    bool json, chain;
    json_object *list;
    GHashTable *seen; /* names */
} InfoRun;

/* *next: name and format of the backing file, which the caller frees; NULL at the end. */
static bool show_one(InfoRun *run, const char *filename, const ImgOpen *how, char **next,
                     char **next_format)
{
    GError *error = NULL;
    ImgImage image;
    *next = *next_format = NULL;
    if (g_hash_table_contains(run->seen, filename)) {
        report_error("'%s' is met twice in the chain of backing files: it would never end",
                     filename);
        return false;
    }
    g_hash_table_add(run->seen, g_strdup(filename));
    if (!img_open(&image, filename, how)) {
        return false;
    }
    g_autoptr(GPtrArray) snapshots = img_list_snapshots(image.node, &error);
    if (error) {
        img_close(&image);
        img_fail(error);
        return false;
    }
    const char *own = block_node_filename(image.node);
    bool plain = !how->image_opts && !g_str_has_prefix(filename, "json:") &&
                 !g_str_has_prefix(filename, "file:");
    const char *name = plain || !own ? filename : own;
    if (run->json) {
        json_object_array_add(run->list, block_image_to_json(image.node, name, snapshots));
    } else {
        if (g_hash_table_size(run->seen) > 1) {
            putchar('\n');
        }
        print_image(name, image.node, snapshots);
    }
    *next = block_node_backing_path(image.node);
    *next_format = g_strdup(block_node_backing_format(image.node));
    img_close(&image);
    return true;
}

static bool show_chain(InfoRun *run, const char *filename, ImgOpen how)
{
    g_autofree char *name = g_strdup(filename), *format = NULL;
    do {
        char *next, *next_format;
        if (!show_one(run, name, &how, &next, &next_format)) {
            return false;
        }
        g_free(name);
        g_free(format);
        name = next;
        format = next_format;
        how.format = format;
        how.image_opts = false;
    } while (name && run->chain);
    return true;
}

static void print_list(InfoRun *run)
{
    if (run->chain) {
        img_print_json(json_object_get(run->list));
    } else {
        img_print_json(json_object_get(json_object_array_get_idx(run->list, 0)));
    }
}

int img_info_run(ImgArgs *args)
{
    InfoRun run = { .chain = img_has(args, "backing-chain") };
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .force_share = img_has(args, "U"),
                    .no_backing = true,
                    .no_io = true };
    if (!img_output_is_json(args, &run.json) ||
        !img_expect_words(args, 1, "this command works on one image: give its file name")) {
        return 1;
    }
    run.list = json_object_new_array();
    run.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    bool ok = show_chain(&run, args->words[0], how);
    if (ok && run.json) {
        print_list(&run);
    }
    g_hash_table_unref(run.seen);
    json_object_put(run.list);
    return ok ? 0 : 1;
}
