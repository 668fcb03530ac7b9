/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img resize. */
#include <stdio.h>
#include <string.h>
#include "block/img/img.h"
#include "vmm/util/bytes.h"

const ImgOption img_resize_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_FORMAT,
    { 0, "preallocation", "MODE", "how the new part is allocated: off, metadata, falloc or full" },
    IMG_OPTION_QUIET,
    { 0, "shrink", NULL, "let data behind the new end be lost" },
    IMG_OPTIONS_END,
};

typedef struct Wish {
    char sign; /* '+', '-' or 0 */
    uint64_t bytes;
} Wish;

static bool parse_wish(const char *text, Wish *wish)
{
    wish->sign = *text == '+' || *text == '-' ? *text : 0;
    if (parse_size(text + (wish->sign ? 1 : 0), 1, &wish->bytes)) {
        return true;
    }
    report_error("'size' is 0 to 2^64 - 1 bytes, or + or - and a difference\nA letter may follow "
                 "the number: k is 1024 bytes, M 1024 times that, and so on with G, T, P, E.");
    return false;
}

static bool wished_size(const Wish *wish, uint64_t now, uint64_t *size)
{
    if (wish->sign == '-') {
        *size = wish->bytes < now ? now - wish->bytes : 0;
    } else if (wish->bytes > INT64_MAX - (wish->sign ? now : 0)) {
        report_error("the new size is 8 EiB or more: no disk can be so large");
        return false;
    } else {
        *size = wish->sign ? now + wish->bytes : wish->bytes;
    }
    if (!*size) {
        report_error("an image of 0 bytes is of no use: the new size has to be at least 1");
        return false;
    }
    *size = ALIGN_UP(*size, 512);
    return true;
}

static bool check_direction(uint64_t now, uint64_t size, bool shrink, const char *preallocation)
{
    if (size <= now && preallocation) {
        report_error(
            "--preallocation is about what is added, and nothing is: the image does not grow");
        return false;
    }
    if (size < now && !shrink) {
        report_error("What is behind the new end would be lost: say --shrink if that is meant.");
        report_warning("Shrinking an image will delete all data beyond the shrunken image's end. "
                       "Before performing such an operation, make sure there is no important "
                       "data there.");
        return false;
    }
    return true;
}

static bool resize_to(BlockNode *node, uint64_t size, const char *preallocation, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    uint64_t now = block_node_length(node);
    bool raw = !strcmp(block_node_driver(node), "raw");
    if (preallocation &&
        (!ops || !ops->preallocate || (raw && !strcmp(preallocation, "metadata")))) {
        return error_set(error, "images of this format have no preallocation=%s", preallocation);
    }
    if (!block_resize(node, size, error)) {
        return false;
    }
    GError *cause = NULL;
    if (preallocation && !ops->preallocate(node, now, size - now, preallocation, &cause)) {
        block_resize(node, now, NULL);
        g_propagate_error(error, cause);
        return false;
    }
    return true;
}

static int resize_open(ImgImage *image, const Wish *wish, bool shrink, const char *preallocation,
                       bool quiet)
{
    GError *error = NULL;
    uint64_t size, now = block_node_length(image->node);
    if (!wished_size(wish, now, &size) || !check_direction(now, size, shrink, preallocation)) {
        return 1;
    }
    if (!resize_to(image->node, size, preallocation, &error)) {
        return img_fail(error);
    }
    if (!img_flush(image)) {
        return 1;
    }
    if (!quiet) {
        printf("Image resized.\n");
    }
    return 0;
}

int img_resize_run(ImgArgs *args)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full", NULL };
    const char *preallocation = img_value(args, "preallocation");
    Wish wish;
    ImgImage image;
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .writable = true };
    if (preallocation && !g_strv_contains(modes, preallocation)) {
        report_error("there is no preallocation '%s' (off, metadata, falloc, full)", preallocation);
        return 1;
    }
    if (preallocation && !strcmp(preallocation, "off")) {
        preallocation = NULL;
    }
    if (args->count < 2) {
        return img_usage_error("a name and a size are needed");
    }
    if (!img_expect_words(
            args, 2, "one image gets one size: give its file name and then +SIZE, -SIZE or SIZE") ||
        !parse_wish(args->words[1], &wish) || !img_open(&image, args->words[0], &how)) {
        return 1;
    }
    int status =
        resize_open(&image, &wish, img_has(args, "shrink"), preallocation, img_has(args, "q"));
    img_close(&image);
    return status;
}
