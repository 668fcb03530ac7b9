/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img compare: 0 the same, 1 different, 2 cannot open, 3 no status, 4 cannot read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "block/img/img.h"
#include "vmm/util/bytes.h"

const ImgOption img_compare_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    { 'f', NULL, "FMT", "what the first image is, if it is not to be guessed" },
    { 'F', NULL, "FMT", "what the second image is, if it is not to be guessed" },
    IMG_OPTION_SOURCE_CACHE,
    IMG_OPTION_PROGRESS,
    IMG_OPTION_QUIET,
    { 's', NULL, NULL, "strict: sizes and allocation must be the same too" },
    IMG_OPTION_SHARE,
    IMG_OPTIONS_END,
};

#define COMPARE_BUFFER (2 * MIB)

enum { DIFFERENT = 1, CANNOT_OPEN = 2, CANNOT_STATUS = 3, CANNOT_READ = 4 };

typedef struct Compare {
    ImgImage image[2];
    bool strict, quiet;
    char *buffer[2];
    BlockStatus status[2]; /* of what lies behind `offset` */
    uint64_t offset, end;  /* end: of what both have */
} Compare;

static int tell(const Compare *c, const char *format, uint64_t offset)
{
    if (!c->quiet) {
        g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, offset);
        g_auto(GStrv) parts = g_strsplit(format, "@", 2);
        printf("%s%s%s\n", parts[0], parts[1] ? number : "", parts[1] ? parts[1] : "");
    }
    return DIFFERENT;
}

static int update_status(Compare *c, int i, uint64_t end)
{
    if (c->status[i].bytes) {
        return 0;
    }
    int ret =
        block_status_above(c->image[i].node, NULL, c->offset, end - c->offset, &c->status[i], NULL);
    if (ret < 0) {
        report_error("%s: cannot find out where it has data", c->image[i].name);
        return CANNOT_STATUS;
    }
    return 0;
}

static bool is_zero_part(const Compare *c, int i)
{
    return c->status[i].flags & BLOCK_STATUS_ZERO || !(c->status[i].flags & BLOCK_STATUS_DATA);
}

static int read_part(Compare *c, int i, uint64_t bytes)
{
    int ret = block_pread(c->image[i].node, c->offset, c->buffer[i], bytes);
    if (ret < 0) {
        report_error("cannot read at offset %" G_GUINT64_FORMAT " of %s: %s", c->offset,
                     c->image[i].name, g_strerror(-ret));
        return CANNOT_READ;
    }
    return 0;
}

static uint64_t first_difference(const char *a, const char *b, uint64_t bytes)
{
    uint64_t i = 0;
    while (i < bytes && a[i] == b[i]) {
        i++;
    }
    return i;
}

static int compare_part(Compare *c, uint64_t bytes)
{
    bool zero[2] = { is_zero_part(c, 0), is_zero_part(c, 1) };
    unsigned mask = BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
    if (c->strict && (c->status[0].flags ^ c->status[1].flags) & mask) {
        return tell(c, "Strict mode: Offset @ block status mismatch!", c->offset);
    }
    if (zero[0] && zero[1]) {
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        int status = zero[i] ? 0 : read_part(c, i, bytes);
        if (status) {
            return status;
        }
        if (zero[i]) {
            memset(c->buffer[i], 0, bytes);
        }
    }
    if (memcmp(c->buffer[0], c->buffer[1], bytes) != 0) {
        return tell(c, "Content mismatch at offset @!",
                    c->offset + first_difference(c->buffer[0], c->buffer[1], bytes) / 512 * 512);
    }
    return 0;
}

static void advance(Compare *c, uint64_t bytes, uint64_t total)
{
    c->offset += bytes;
    c->status[0].bytes -= MIN(bytes, c->status[0].bytes);
    c->status[1].bytes -= MIN(bytes, c->status[1].bytes);
    img_progress((double)c->offset * 100.0 / (double)total);
}

static uint64_t part_bytes(const Compare *c)
{
    uint64_t bytes = MIN(c->status[0].bytes, c->status[1].bytes);
    return is_zero_part(c, 0) && is_zero_part(c, 1) ? bytes : MIN(bytes, COMPARE_BUFFER);
}

static int compare_common(Compare *c, uint64_t total)
{
    while (c->offset < c->end) {
        int status = update_status(c, 0, c->end);
        status = status ? status : update_status(c, 1, c->end);
        if (status) {
            return status;
        }
        uint64_t bytes = part_bytes(c);
        status = compare_part(c, bytes);
        if (status) {
            return status;
        }
        advance(c, bytes, total);
    }
    return 0;
}

/* What the longer image has more must be zeroes. */
static int compare_rest(Compare *c, int longer, uint64_t total)
{
    c->status[longer].bytes = 0;
    while (c->offset < total) {
        int status = update_status(c, longer, total);
        uint64_t bytes = status ? 0 : c->status[longer].bytes;
        if (!status && !is_zero_part(c, longer)) {
            bytes = MIN(bytes, COMPARE_BUFFER);
            status = read_part(c, longer, bytes);
            if (!status && !img_is_zero(c->buffer[longer], bytes)) {
                memset(c->buffer[!longer], 0, bytes);
                uint64_t at = first_difference(c->buffer[0], c->buffer[1], bytes);
                return tell(c, "Content mismatch at offset @!", c->offset + at / 512 * 512);
            }
        }
        if (status) {
            return status;
        }
        advance(c, bytes, total);
    }
    return 0;
}

static int compare(Compare *c)
{
    uint64_t length[2] = { block_node_length(c->image[0].node),
                           block_node_length(c->image[1].node) };
    uint64_t total = MAX(length[0], length[1]);
    c->end = MIN(length[0], length[1]);
    if (c->strict && length[0] != length[1]) {
        return tell(c, "Strict mode: Image size mismatch!", 0);
    }
    int status = compare_common(c, total);
    if (!status && length[0] != length[1]) {
        tell(c, "Warning: Image size mismatch!", 0);
        status = compare_rest(c, length[1] > length[0], total);
    }
    if (!status) {
        tell(c, "Images are identical.", 0);
    }
    return status;
}

int img_compare_run(ImgArgs *args)
{
    Compare c = { .strict = img_has(args, "s"), .quiet = img_has(args, "q") };
    if (!img_expect_words(args, 2, "two images are compared: give their file names")) {
        return 1; /* as qemu-img does */
    }
    for (int i = 0; i < 2; i++) {
        ImgOpen how = { .format = img_value(args, i ? "F" : "f"),
                        .image_opts = img_has(args, "image-opts"),
                        .force_share = img_has(args, "U"),
                        .cache = img_value(args, "T"),
                        .cache_what = "source cache" };
        if (!img_open(&c.image[i], args->words[i], &how)) {
            img_close(&c.image[0]);
            return CANNOT_OPEN;
        }
    }
    c.buffer[0] = img_buffer_new(COMPARE_BUFFER);
    c.buffer[1] = img_buffer_new(COMPARE_BUFFER);
    img_progress_start(img_has(args, "p") && !c.quiet);
    int status = compare(&c);
    img_progress_end();
    for (int i = 0; i < 2; i++) {
        free(c.buffer[i]);
        img_close(&c.image[i]);
    }
    return status;
}
