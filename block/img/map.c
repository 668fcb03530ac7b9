/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img map. */
#include <stdio.h>
#include <string.h>
#include "block/img/img.h"

const ImgOption img_map_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_FORMAT,
    { 's', "start-offset", "OFFSET", "begin here" },
    { 'l', "max-length", "BYTES", "and show no more than this" },
    IMG_OPTION_OUTPUT,
    IMG_OPTION_SHARE,
    IMG_OPTIONS_END,
};

typedef struct MapEntry {
    uint64_t start, length, offset;
    bool data, zero, present, has_offset, compressed;
    int depth;
    const char *filename;
} MapEntry;

static void set_entry(MapEntry *e, const BlockStatus *s)
{
    e->data = s->flags & BLOCK_STATUS_DATA;
    e->zero = s->flags & BLOCK_STATUS_ZERO;
    e->present = s->flags & BLOCK_STATUS_ALLOCATED;
    e->has_offset = s->flags & BLOCK_STATUS_OFFSET;
    e->offset = e->has_offset ? s->host_offset : 0;
    e->filename = e->has_offset && s->file ? block_node_filename(s->file) : NULL;
}

/* Down the chain, until a node knows. What no node has reads as zeroes. */
static int get_entry(BlockNode *node, uint64_t start, uint64_t bytes, MapEntry *e)
{
    *e = (MapEntry){ .start = start };
    for (;; e->depth++) {
        BlockStatus status;
        int ret = block_status(node, start, MIN(bytes, block_node_length(node) - start), &status);
        if (ret < 0) {
            return ret;
        }
        BlockNode *backing = block_node_backing(node);
        bool known = status.flags & (BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED);
        bool below = !known && backing && start < block_node_length(backing);
        bytes = e->length = status.bytes;
        if (!below) {
            set_entry(e, &status);
            e->zero |= !known;
            return 0;
        }
        node = backing;
    }
}

static bool merge(MapEntry *a, const MapEntry *b)
{
    if (a->data != b->data || a->zero != b->zero || a->present != b->present ||
        a->has_offset != b->has_offset || a->depth != b->depth ||
        g_strcmp0(a->filename, b->filename) != 0 ||
        (a->has_offset && a->offset + a->length != b->offset)) {
        return false;
    }
    a->length += b->length;
    return true;
}

static const char *word(bool value)
{
    return value ? "true" : "false";
}

static bool print_entry(const MapEntry *e, bool json, bool last)
{
    if (json) {
        printf("{ \"start\": %" G_GUINT64_FORMAT ", \"length\": %" G_GUINT64_FORMAT
               ", \"depth\": %d, \"present\": %s, \"zero\": %s, \"data\": %s",
               e->start, e->length, e->depth, word(e->present), word(e->zero), word(e->data));
        if (e->has_offset) {
            printf(", \"offset\": %" G_GUINT64_FORMAT, e->offset);
        }
        fputs(last ? "}" : "},\n", stdout);
        return true;
    }
    if (e->data && !e->has_offset) {
        report_error("some of the disk lies where no offset of a file can be said: compressed, "
                     "encrypted or in another kind of image (--output=json shows it)");
        return false;
    }
    if (e->data && !e->zero) {
        printf("%#-16" G_GINT64_MODIFIER "x%#-16" G_GINT64_MODIFIER "x%#-16" G_GINT64_MODIFIER
               "x%s\n",
               e->start, e->length, e->offset, e->filename ? e->filename : "");
    }
    return true;
}

static int show(BlockNode *node, uint64_t start, uint64_t end, bool json)
{
    MapEntry current = { 0 };
    if (json) {
        putchar('[');
    } else {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    while (start < end) {
        MapEntry next;
        int ret = get_entry(node, start, end - start, &next);
        if (ret < 0) {
            report_error("Failed to read image metadata: %s", g_strerror(-ret));
            return 1;
        }
        start += next.length;
        if (current.length && !merge(&current, &next)) {
            if (!print_entry(&current, json, false)) {
                return 1;
            }
            current = next;
        } else if (!current.length) {
            current = next;
        }
    }
    if (current.length && !print_entry(&current, json, true)) {
        return 1;
    }
    fputs(json ? "]\n" : "", stdout);
    return 0;
}

int img_map_run(ImgArgs *args)
{
    bool json;
    uint64_t start = 0, bytes = INT64_MAX;
    const char *s = img_value(args, "s"), *l = img_value(args, "l");
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .force_share = img_has(args, "U") };
    ImgImage image;
    if ((s && !img_parse_size("start offset", s, 0, INT64_MAX, &start)) ||
        (l && !img_parse_size("max length", l, 0, INT64_MAX, &bytes)) ||
        !img_expect_words(args, 1, "this command works on one image: give its file name") ||
        !img_output_is_json(args, &json) || !img_open(&image, args->words[0], &how)) {
        return 1;
    }
    uint64_t length = block_node_length(image.node);
    start = MIN(start, length);
    int status = show(image.node, start, start + MIN(bytes, length - start), json);
    img_close(&image);
    return status;
}
