/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img dd. */
#include <stdlib.h>
#include <string.h>
#include "block/img/img.h"
#include "vmm/util/bytes.h"

const ImgOption img_dd_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_SHARE,
    IMG_OPTION_FORMAT,
    { 'O', NULL, "FMT", "format of the output; raw when it is not given" },
    IMG_OPTIONS_END,
};

#define DD_BUFFER MIB

typedef struct Dd {
    const char *in, *out;
    uint64_t bs, count, skip;
    bool has_count;
} Dd;

static bool read_operand(Dd *dd, const char *word)
{
    g_auto(GStrv) parts = g_strsplit(word, "=", 2);
    const char *name = parts[0], *value = parts[1] ? strchr(word, '=') + 1 : NULL;
    if (value && !strcmp(name, "if")) {
        dd->in = value;
    } else if (value && !strcmp(name, "of")) {
        dd->out = value;
    } else if (value && !strcmp(name, "bs")) {
        return img_parse_size("bs", value, 1, INT32_MAX, &dd->bs);
    } else if (value && !strcmp(name, "count")) {
        dd->has_count = true;
        return img_parse_size("count", value, 0, INT64_MAX, &dd->count);
    } else if (value && !strcmp(name, "skip")) {
        return img_parse_size("skip", value, 0, INT64_MAX, &dd->skip);
    } else {
        report_error("unrecognized operand %s", name ? name : word);
        return false;
    }
    return true;
}

/* a * b, at most max. */
static uint64_t product(uint64_t a, uint64_t b, uint64_t max)
{
    return b && a > max / b ? max : MIN(a * b, max);
}

static bool copy(BlockNode *from, uint64_t offset, BlockNode *to, uint64_t bytes)
{
    char *data = img_buffer_new(DD_BUFFER);
    int ret = 0;
    for (uint64_t done = 0, n; ret == 0 && done < bytes; done += n) {
        n = MIN(bytes - done, DD_BUFFER);
        ret = block_pread(from, offset + done, data, n);
        if (ret < 0) {
            report_error("if=: cannot read: %s", g_strerror(-ret));
            break;
        }
        ret = block_pwrite(to, done, data, n);
        if (ret < 0) {
            report_error("of=: cannot write: %s", g_strerror(-ret));
        }
    }
    free(data);
    return ret == 0;
}

static bool run(const Dd *dd, ImgImage *in, const char *format)
{
    GError *error = NULL;
    g_autoptr(Opts) options = opts_new();
    uint64_t length = block_node_length(in->node);
    uint64_t size = dd->has_count ? product(dd->count, dd->bs, length) : length;
    uint64_t offset = product(dd->skip, dd->bs, UINT64_MAX / 2);
    /* count= counts from the beginning of the input, as skip= does. */
    uint64_t bytes = offset < size ? size - offset : 0;
    ImgCreate what = {
        .filename = dd->out, .format = format, .quiet = true, .has_size = true, .size = bytes
    };
    ImgOpen how = { .format = format, .writable = true };
    ImgImage out;
    if (!img_create(&what, options, &error)) {
        g_prefix_error(&error, "%s: error while creating output image of type '%s': ", dd->out,
                       format);
        img_fail(error);
        return false;
    }
    if (dd->skip && offset > length) {
        report_error("%s: skip= goes behind its end: nothing is copied", dd->in);
    }
    if (!img_open(&out, dd->out, &how)) {
        return false;
    }
    bool ok = copy(in->node, offset, out.node, bytes) && img_flush(&out);
    img_close(&out);
    return ok;
}

int img_dd_run(ImgArgs *args)
{
    Dd dd = { .bs = 512 };
    const char *format = img_value(args, "O");
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .force_share = img_has(args, "U") };
    ImgImage in;
    format = format ? format : "raw";
    for (int i = 0; i < args->count; i++) {
        if (!read_operand(&dd, args->words[i])) {
            return 1;
        }
    }
    if (!dd.in || !dd.out) {
        report_error("if= and of= are both needed: what is copied, and where to");
        return 1;
    }
    if (!img_open(&in, dd.in, &how)) {
        return 1;
    }
    if (!block_format_exists(format)) {
        report_error("-f or -O: no format has this name");
        img_close(&in);
        return 1;
    }
    bool ok = run(&dd, &in, format);
    img_close(&in);
    return ok ? 0 : 1;
}
