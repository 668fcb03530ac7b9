/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vireo-img commit. The images above the base are opened each by itself, without what lies below,
 * so that the base can be opened for writing beside them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "block/commit_copy.h"
#include "block/img/img.h"
#include "vmm/util/bytes.h"

const ImgOption img_commit_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_QUIET,
    IMG_OPTION_FORMAT,
    IMG_OPTION_CACHE,
    { 'b', NULL, "FILENAME", "commit down to this image of the chain; keeps the top as -d does" },
    { 'r', NULL, "BYTES", "write no more than this a second" },
    { 'd', NULL, NULL, "do not empty the image afterwards" },
    IMG_OPTION_PROGRESS,
    IMG_OPTIONS_END,
};

typedef struct Link {
    char *path, *format, *recorded; /* recorded: as the overlay names it */
} Link;

typedef struct Commit {
    GPtrArray *links; /* of Link, the top first, the base last */
    ImgImage *images; /* of them */
    uint64_t rate;
    char *data;
} Commit;

static void link_free(void *data)
{
    Link *link = data;
    g_free(link->path);
    g_free(link->format);
    g_free(link->recorded);
    g_free(link);
}

static void add_link(GPtrArray *links, BlockNode *node, const char *path, const char *recorded)
{
    Link *link = g_new0(Link, 1);
    link->path = g_strdup(path);
    link->format = g_strdup(block_node_driver(node));
    link->recorded = g_strdup(recorded);
    g_ptr_array_add(links, link);
}

static bool is_file(const char *a, const char *b)
{
    g_autofree char *x = realpath(a, NULL), *y = realpath(b, NULL);
    return !strcmp(a, b) || (x && y && !strcmp(x, y));
}

/* Names of the chain down to base (NULL: the next one). */
static bool list_chain(Commit *c, BlockNode *node, const char *filename, const char *base)
{
    BlockNode *top = node;
    add_link(c->links, node, filename, filename);
    if (!block_node_backing(node)) {
        report_error("the image has no backing file to commit to");
        return false;
    }
    while (block_node_backing(node)) {
        const char *recorded = block_node_backing_file(node);
        node = block_node_backing(node);
        const char *path = block_node_filename(node);
        add_link(c->links, node, path, recorded);
        if (!base || is_file(path, base) || (recorded && !strcmp(recorded, base))) {
            return true;
        }
    }
    report_error("'%s' is none of the images that '%s' stands on", base, block_node_filename(top));
    return false;
}

static bool read_chain(Commit *c, const ImgArgs *args)
{
    ImgImage top;
    ImgOpen how = { .format = img_value(args, "f"), .image_opts = img_has(args, "image-opts") };
    if (!img_open(&top, args->words[0], &how)) {
        return false;
    }
    const char *own = block_node_filename(top.node);
    bool ok = list_chain(c, top.node, own ? own : top.name, img_value(args, "b"));
    img_close(&top);
    return ok;
}

/* The top for writing: it is emptied; its data must not change meanwhile, which its lock says. */
static bool open_chain(Commit *c, const char *cache)
{
    c->images = g_new0(ImgImage, c->links->len);
    for (guint i = 0; i < c->links->len; i++) {
        const Link *link = c->links->pdata[i];
        bool base = i == c->links->len - 1;
        ImgOpen how = {
            .format = link->format, .writable = i == 0 || base, .no_backing = !base, .cache = cache
        };
        if (!img_open(&c->images[i], link->path, &how)) {
            return false;
        }
    }
    return true;
}

static ImgImage *base_of(Commit *c)
{
    return &c->images[c->links->len - 1];
}

static bool copy_all(Commit *c)
{
    uint64_t total = block_node_length(c->images[0].node), copied = 0;
    gint64 began = g_get_monotonic_time();
    guint above = c->links->len - 1;
    g_autofree BlockNode **nodes = g_new(BlockNode *, above);
    CommitCopy copy = {
        .images = nodes, .count = above, .base = base_of(c)->node, .buffer = c->data
    };
    for (guint i = 0; i < above; i++) {
        nodes[i] = c->images[i].node;
    }
    for (uint64_t offset = 0, bytes; offset < total; offset += bytes) {
        bool data;
        bytes = total - offset;
        int ret = commit_copy_part(&copy, offset, &bytes, &data);
        if (ret < 0) {
            report_error("Block job failed at offset %" G_GUINT64_FORMAT ": %s", offset,
                         g_strerror(-ret));
            return false;
        }
        copied += data ? bytes : 0;
        img_progress((double)(offset + bytes) * 100.0 / (double)total);
        gint64 wanted = c->rate ? (gint64)((double)copied / (double)c->rate * G_USEC_PER_SEC) : 0;
        gint64 delay = wanted - (g_get_monotonic_time() - began);
        if (c->rate && delay > 0) {
            g_usleep((gulong)delay);
        }
    }
    return true;
}

static bool prepare_base(Commit *c)
{
    GError *error = NULL;
    uint64_t size = block_node_length(c->images[0].node);
    if (block_node_length(base_of(c)->node) >= size) {
        return true;
    }
    if (!block_resize(base_of(c)->node, size, &error)) {
        g_prefix_error(&error, "'%s' is smaller than its overlay: ", base_of(c)->name);
        img_fail(error);
        return false;
    }
    return true;
}

/* After the base is on stable storage. */
static bool empty_top(Commit *c)
{
    GError *error = NULL;
    BlockNode *top = c->images[0].node;
    const BlockImageOps *ops = block_node_image_ops(top);
    if (!ops || !ops->make_empty) {
        return true; /* what it keeps is the same */
    }
    if (!ops->make_empty(top, &error)) {
        g_prefix_error(&error, "%s was committed, but not emptied: ", c->images[0].name);
        img_fail(error);
        return false;
    }
    return img_flush(&c->images[0]);
}

static bool commit(Commit *c, const ImgArgs *args, const char *cache)
{
    bool keep = img_has(args, "d") || img_has(args, "b");
    return read_chain(c, args) && open_chain(c, cache) && prepare_base(c) && copy_all(c) &&
           img_flush(base_of(c)) && (keep || empty_top(c));
}

int img_commit_run(ImgArgs *args)
{
    const char *cache = img_value(args, "t"), *rate = img_value(args, "r");
    bool quiet = img_has(args, "q");
    Commit c = { 0 };
    if (!img_expect_words(args, 1, "this command works on one image: give its file name") ||
        !img_cache_is_valid(cache, "cache") ||
        (rate && !img_parse_size("rate limit", rate, 1, INT64_MAX, &c.rate))) {
        return 1;
    }
    c.links = g_ptr_array_new_with_free_func(link_free);
    c.data = img_buffer_new(COMMIT_PIECE);
    img_progress_start(img_has(args, "p") && !quiet);
    bool ok = commit(&c, args, cache);
    img_progress_end();
    for (guint i = 0; c.images && i < c.links->len; i++) {
        img_close(&c.images[i]);
    }
    g_free(c.images);
    g_ptr_array_unref(c.links);
    free(c.data);
    if (ok && !quiet) {
        printf("Image committed.\n");
    }
    return ok ? 0 : 1;
}
