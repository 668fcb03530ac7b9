/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img bitmap: a list of actions on one bitmap, in the order given. */
#include <string.h>
#include "block/bitmap_actions.h"
#include "block/img/img.h"

const ImgOption img_bitmap_options[] = {
    { 0, "add", NULL, "make the bitmap" },
    { 0, "remove", NULL, "delete it" },
    { 0, "clear", NULL, "mark everything clean" },
    { 0, "enable", NULL, "let it record from the next opening on" },
    { 0, "disable", NULL, "let it record no more" },
    { 0, "merge", "SOURCE", "add what the bitmap SOURCE has" },
    { 'b', "source-file", "FILENAME", "the image that has SOURCE, when it is another" },
    { 'F', "source-format", "FMT", "format of that image" },
    { 'g', "granularity", "BYTES", "what a bit stands for (with --add)" },
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_FORMAT,
    IMG_OPTIONS_END,
};

static const char *const actions[] = { "add", "remove", "clear", "enable", "disable", "merge" };

typedef struct Bitmap {
    const ImgArgs *args;
    BlockNode *node, *source;
    const char *name;
    uint64_t granularity;
} Bitmap;

static const char *action_of(const ImgGiven *given)
{
    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (given->option->name && !strcmp(given->option->name, actions[i])) {
            return actions[i];
        }
    }
    return NULL;
}

static BitmapAction *merge(const Bitmap *b, const char *name, GError **error)
{
    BlockBitmap *source = bitmap_lookup(b->source, name, error);
    g_autoptr(GPtrArray) sources = g_ptr_array_new();
    if (!source || !bitmap_lookup(b->node, b->name, error)) {
        return NULL;
    }
    g_ptr_array_add(sources, source);
    return bitmap_action_merge(b->node, b->name, sources, error);
}

static bool act(const Bitmap *b, const char *action, const char *value, GError **error)
{
    BitmapAction *done;
    switch (action[0]) {
    case 'a':
        done = bitmap_action_add(b->node, b->name, b->granularity, true, false, error);
        break;
    case 'r':
        done = bitmap_action_remove(b->node, b->name, error);
        break;
    case 'c':
        done = bitmap_action_clear(b->node, b->name, error);
        break;
    case 'm':
        done = merge(b, value, error);
        break;
    case 'e':
        done = bitmap_action_enable(b->node, b->name, error);
        break;
    default:
        done = bitmap_action_disable(b->node, b->name, error);
        break;
    }
    bitmap_action_commit(done);
    return done != NULL;
}

static bool act_all(const Bitmap *b)
{
    for (guint i = 0; i < b->args->given->len; i++) {
        const ImgGiven *given = &g_array_index(b->args->given, ImgGiven, i);
        const char *action = action_of(given);
        GError *error = NULL;
        if (action && !act(b, action, given->value, &error)) {
            g_prefix_error(&error, "%s of bitmap %s: ", action, b->name);
            img_fail(error);
            return false;
        }
    }
    return true;
}

static bool refuse(const char *message)
{
    report_error("%s", message);
    return false;
}

static bool check_options(Bitmap *b)
{
    const ImgArgs *args = b->args;
    const char *granularity = img_value(args, "g");
    unsigned count = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
        count += img_times(args, actions[i]);
    }
    if (granularity && !img_parse_size("granularity", granularity, 1, INT64_MAX, &b->granularity)) {
        return false;
    }
    if (args->count != 2) {
        return refuse("give two names: that of the image and that of the bitmap");
    }
    if (!count) {
        return refuse(
            "nothing to do: --add, --remove, --clear, --enable, --disable and --merge say what");
    }
    if (b->granularity && !img_has(args, "add")) {
        return refuse("-g (granularity) is of use with --add alone");
    }
    if (b->granularity && (b->granularity < 512 || b->granularity & (b->granularity - 1))) {
        report_error("add of bitmap %s: a granularity is a power of two, 512 bytes or more",
                     args->words[1]);
        return false;
    }
    if (img_has(args, "F") && !img_has(args, "b")) {
        return refuse("-F says the format of the file given by -b, which is missing");
    }
    if (img_has(args, "b") && !img_has(args, "merge")) {
        return refuse("-b says where the bitmap of --merge is, and there is no --merge");
    }
    return true;
}

int img_bitmap_run(ImgArgs *args)
{
    Bitmap b = { .args = args };
    ImgImage image, source = { 0 };
    const char *source_file = img_value(args, "b");
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .writable = true,
                    .no_backing = true };
    ImgOpen how_source = { .format = img_value(args, "F"), .no_backing = true };
    if (!check_options(&b) || !img_open(&image, args->words[0], &how)) {
        return 1;
    }
    bool ok = !source_file || img_open(&source, source_file, &how_source);
    b.node = image.node;
    b.source = source_file ? source.node : image.node;
    b.name = args->words[1];
    ok = ok && act_all(&b) && img_flush(&image);
    img_close(&source);
    img_close(&image);
    return ok ? 0 : 1;
}
