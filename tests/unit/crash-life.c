/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See crash-life.h. */
#include <stdlib.h>
#include <unistd.h>
#include "tests/unit/crash-bitmaps.h"
#include "tests/unit/crash-life.h"
#include "tests/unit/qemu-img.h"

char *life_folder;

uint64_t life_draw(Life *l, uint64_t below)
{
    return below ? (uint64_t)g_rand_int_range(l->rand, 0, (gint32)below) : 0;
}

uint64_t life_sectors(const Life *l)
{
    return g_array_index(l->lengths, Length, l->lengths->len - 1).sectors;
}

unsigned life_begin(Life *l, const char *what)
{
    unsigned now = power_tick(l->power);
    g_string_append_printf(l->story, " %u:%s", now, what);
    return now;
}

/* ---- What the image may be ---- */

void life_set_length(Life *l, uint64_t sectors, unsigned issued)
{
    Length length = { .sectors = sectors, .set.issued = issued };
    g_array_append_val(l->lengths, length);
}

static bool length_is_allowed(const Life *l, uint64_t sectors, unsigned when)
{
    bool allowed = false;
    for (guint i = 0; i < l->lengths->len; i++) {
        const Length *length = &g_array_index(l->lengths, Length, i);
        if (length->set.issued > when) {
            break;
        }
        if (length->set.ended && length->set.ended <= when) {
            allowed = false;
        }
        allowed |= length->sectors == sectors;
    }
    return allowed;
}

Snap *life_find_snap(const Life *l, const char *id)
{
    for (guint i = l->snaps->len; i > 0; i--) {
        Snap *snap = l->snaps->pdata[i - 1];
        if (!strcmp(snap->id, id)) {
            return snap;
        }
    }
    return NULL;
}

static bool is_over(Span span, unsigned when)
{
    return span.ended && span.ended <= when;
}

static bool has_begun(Span span, unsigned when)
{
    return span.issued && span.issued <= when;
}

/* ---- Looking at what a crash left ---- */

typedef struct Crash {
    Life *life;
    unsigned when;
    char *what;
} Crash;

/* The backing file is named by one of the names it ever had, whole. */
static bool check_backing_name(const Crash *c, const BlockNode *node)
{
    const char *name = block_node_backing_file(node), *rest = name;
    while (rest && g_str_has_prefix(rest, "./")) {
        rest += 2;
    }
    if (rest &&
        (strcmp(rest, "base") != 0 || g_strcmp0(block_node_backing_format(node), "raw") != 0)) {
        g_error("%s: its backing file is '%s'", c->what, name);
    }
    return name != NULL;
}

static BlockNode *crash_open(const Crash *c, bool writable)
{
    g_autoptr(GError) error = NULL;
    const char *more = c->life->layout->data_file ? DATA_FILE : "";
    BlockOpenMode mode = { .writable = writable, .no_backing = true };
    BlockOpenMode look = { .for_check = true, .no_backing = true };
    BlockNode *node = power_open("image", "qcow2", more, &look, &error);
    if (!node) {
        g_error("%s: it does not open: %s", c->what, error->message);
    }
    bool backed = check_backing_name(c, node);
    block_node_unref(node);
    mode.no_backing = !backed;
    node = power_open("image", "qcow2", backed ? BACKING : more, &mode, &error);
    if (!node) {
        g_error("%s: it does not open: %s", c->what, error->message);
    }
    return node;
}

static const char *word(json_object *specific, const char *key)
{
    return json_object_get_string(json_object_object_get(specific, key));
}

/* An external data file has one of the names that it ever had, whole; it is the disk where it is
 * said to be raw. */
static void check_data_file(const Crash *c, BlockNode *node, const uint8_t *disk)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { 0 };
    uint64_t bytes = block_node_length(node);
    BlockImageInfo info = block_image_describe(node);
    const char *name = word(info.specific, "data-file");
    while (name && g_str_has_prefix(name, "./")) {
        name += 2;
    }
    if (g_strcmp0(name, "data") != 0) {
        g_error("%s: its data file is '%s'", c->what, name);
    }
    if (!strcmp(word(info.specific, "data-file-raw"), "true")) {
        BlockNode *raw = power_open("data", "raw", "", &mode, &error);
        g_assert_no_error(error);
        g_autofree uint8_t *data = g_malloc0(bytes);
        g_assert_cmpint(block_pread(raw, 0, data, MIN(bytes, block_node_length(raw))), ==, 0);
        if (memcmp(disk, data, bytes) != 0) {
            g_error("%s: the raw data file is not the disk", c->what);
        }
        block_node_unref(raw);
    }
    json_object_put(info.specific);
}

static void check_disk(const Crash *c)
{
    Life *l = c->life;
    BlockNode *node = crash_open(c, false);
    uint64_t bytes = block_node_length(node);
    g_autofree uint8_t *data = g_malloc(bytes);
    if (!length_is_allowed(l, bytes / SECTOR, c->when)) {
        g_error("%s: the disk has %d sectors", c->what, (int)(bytes / SECTOR));
    }
    g_assert_cmpint(block_pread(node, 0, data, bytes), ==, 0);
    crash_model_check(&l->model, data, bytes / SECTOR, c->when, c->what);
    if (l->layout->data_file) {
        check_data_file(c, node, data);
    }
    block_node_unref(node);
}

static void check_snap(const Crash *c, const Snap *snap)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = crash_open(c, false);
    g_assert_true(block_node_image_ops(node)->snapshot_load(node, snap->id, &error));
    g_assert_no_error(error);
    g_autofree uint8_t *data = g_malloc(snap->sectors * SECTOR);
    g_assert_cmpuint(block_node_length(node), ==, snap->sectors * SECTOR);
    g_assert_cmpint(block_pread(node, 0, data, snap->sectors * SECTOR), ==, 0);
    for (uint64_t i = 0; i < snap->sectors; i++) {
        uint32_t value = crash_value(data + i * SECTOR, i);
        if (value != snap->values[i]) {
            g_error("%s: sector %d of snapshot %s is %u, not %u", c->what, (int)i, snap->id, value,
                    snap->values[i]);
        }
    }
    block_node_unref(node);
}

static void check_snaps(const Crash *c)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = crash_open(c, false);
    g_autoptr(GPtrArray) list = block_node_image_ops(node)->snapshot_list(node, &error);
    g_assert_no_error(error);
    block_node_unref(node);
    for (guint i = 0; i < list->len; i++) {
        const Snap *snap = life_find_snap(c->life, ((BlockSnapshot *)list->pdata[i])->name);
        if (!snap || !has_begun(snap->made, c->when) || is_over(snap->gone, c->when)) {
            g_error("%s: there is a snapshot too many", c->what);
        }
        check_snap(c, snap);
    }
    for (guint i = 0; i < c->life->snaps->len; i++) {
        const Snap *snap = c->life->snaps->pdata[i];
        bool found = false;
        for (guint k = 0; k < list->len; k++) {
            found |= !strcmp(((BlockSnapshot *)list->pdata[k])->name, snap->id);
        }
        if (!found && is_over(snap->made, c->when) && !has_begun(snap->gone, c->when)) {
            g_error("%s: snapshot %s is lost", c->what, snap->id);
        }
    }
}

static void check_bitmaps(const Crash *c, bool touched)
{
    BlockNode *node = crash_open(c, false);
    crash_bitmaps_check(c->life, node, c->when, touched, c->what);
    block_node_unref(node);
}

static bool is_marked(Power *p)
{
    return power_byte(p, "image", INCOMPATIBLE_AT) & 1;
}

/* Version 2 has no mark: flags and counts that a crash left apart are errors to check, which it
 * mends; what the image holds is right all the same. */
bool life_is_old(Power *p)
{
    return power_byte(p, "image", VERSION_AT) == 2;
}

static void check_sound(const Crash *c, unsigned fix)
{
    fix = life_is_old(power_used) ? BLOCK_FIX_ERRORS | BLOCK_FIX_LEAKS : fix;
    BlockCheckResult result = power_check("image", fix);
    if (result.corruptions || result.check_errors || (fix && result.leaks)) {
        g_error("%s: %d corruptions, %d leaks, %d errors", c->what, (int)result.corruptions,
                (int)result.leaks, (int)result.check_errors);
    }
}

static void check_by_qemu(const Crash *c, Power *cut)
{
    g_autofree char *path = g_build_filename(life_folder, "crashed.qcow2", NULL);
    g_autofree char *base = g_build_filename(life_folder, "base", NULL);
    power_save(cut, "image", path);
    if (c->life->layout->backing) {
        power_save(cut, "base", base);
    }
    if (is_marked(cut) || life_is_old(cut)) {
        g_assert_cmpint(command_run(NULL, NULL, "qemu-img check -q -r all %s", path), ==, 0);
    }
    int code = qemu_img_check(path);
    if (code != 0 && code != 3) {
        g_error("%s: qemu-img check says %d", c->what, code);
    }
    unlink(path);
    unlink(base);
}

/* It can be worked with again, and what is written there harms nothing else. */
static void check_usable(const Crash *c)
{
    Life *l = c->life;
    uint8_t sector[SECTOR];
    BlockNode *node = crash_open(c, true);
    uint64_t sectors = block_node_length(node) / SECTOR;
    for (int i = 0; i < 4; i++) {
        crash_fill(sector, 0, 0xdead);
        g_assert_cmpint(block_pwrite(node, life_draw(l, sectors) * SECTOR, sector, SECTOR), ==, 0);
    }
    g_assert_cmpint(block_flush(node), ==, 0);
    block_node_unref(node);
    check_sound(c, 0);
    check_snaps(c);
}

/* Its bitmaps too: what is in use can be removed, the others go on. */
static void check_bitmaps_usable(const Crash *c)
{
    BlockNode *node = crash_open(c, true);
    crash_bitmaps_use(c->life, node);
    block_node_unref(node);
    node = crash_open(c, false);
    crash_bitmaps_check_used(node, c->what);
    block_node_unref(node);
    check_sound(c, 0);
}

/* The same, as it is, before any repair. */
static void check_usable_copy(const Crash *c, Power *cut)
{
    Power *copy = power_cut(cut, 0, c->life->rand);
    power_used = copy;
    check_usable(c);
    power_used = cut;
    power_free(copy);
}

static void check_cut(Life *l, Power *cut, unsigned when, int depth);

/* Repairs, and has the power fail while it does. */
static void check_repair(Crash *c, Power *cut, int depth)
{
    if (is_marked(cut)) {
        block_node_unref(crash_open(c, true));
        g_assert_false(is_marked(cut));
    } else {
        check_sound(c, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
    }
    unsigned end = power_time(cut);
    for (int i = 0; depth == 0 && end > 0 && i < 2; i++) {
        unsigned when = (unsigned)life_draw(c->life, end + 1);
        Power *again = power_cut(cut, when, c->life->rand);
        power_used = again;
        check_cut(c->life, again, c->when, 1);
        power_used = cut;
        power_free(again);
    }
    check_sound(c, 0);
}

/* power_used is cut. */
static void check_cut(Life *l, Power *cut, unsigned when, int depth)
{
    Crash c = { .life = l, .when = when };
    c.what = g_strdup_printf("%s, seed %u: power lost at %u%s (%s)", l->layout->name, l->seed, when,
                             depth ? " and in the repair" : "", l->story->str);
    check_disk(&c);
    check_snaps(&c);
    check_bitmaps(&c, depth > 0);
    if (life_is_old(cut)) {
        check_usable_copy(&c, cut);
    } else if (!is_marked(cut)) {
        check_sound(&c, 0);
    }
    if (l->cuts++ % 16 == 0) {
        check_by_qemu(&c, cut);
    }
    if (is_marked(cut) || life_draw(l, 4) == 0) {
        check_repair(&c, cut, depth);
        check_disk(&c);
        check_snaps(&c);
        check_bitmaps(&c, true);
    }
    if (!life_is_old(cut)) {
        check_usable(&c);
        check_bitmaps_usable(&c);
    }
    g_free(c.what);
}

/* An image that was not made to its end may be none. */
static bool is_image(Power *cut)
{
    static const uint8_t magic[] = { 'Q', 'F', 'I', 0xfb };
    for (unsigned i = 0; i < sizeof(magic); i++) {
        if (power_byte(cut, "image", i) != magic[i]) {
            return false;
        }
    }
    return true;
}

void life_crash_at(Life *l, unsigned when)
{
    Power *cut = power_cut(l->power, when, l->rand);
    power_used = cut;
    if (is_over(l->created, when) || is_image(cut)) {
        check_cut(l, cut, when, 0);
    }
    power_used = l->power;
    power_free(cut);
}
