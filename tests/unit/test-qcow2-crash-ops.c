/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The power fails in the middle of work on a whole qcow2 image: creation, snapshots, other sizes,
 * amended features, another backing file, a commit, repair itself. At any moment what is left is an
 * image that opens, in which check finds leaks at most, or which says that it is to be repaired
 * first; with all its snapshots, each as it was, and with every sector that was promised.
 */
#include <stdlib.h>
#include <unistd.h>
#include "config.h"
#include "tests/unit/crash-model.h"
#include "tests/unit/power-kit.h"
#include "tests/unit/qemu-img.h"
#include "vmm/memory/rcu.h"
#include "vmm/util/bytes.h"

#define SECTOR          POWER_SECTOR
#define BACKING         "backing.driver=raw,backing.file.driver=logged,backing.file.filename=base"
#define BASE_VALUE      0xba5eu
#define MOST_SNAPS      4
#define VERSION_AT      7  /* the lowest byte of the header's version */
#define INCOMPATIBLE_AT 79 /* the lowest byte of the header's incompatible features */

typedef struct Layout {
    const char *name, *options;
    uint64_t size, most; /* at first, and ever */
    uint64_t cluster;
    bool backing, old;
    int writes; /* between two changes of the image */
    int bytes;  /* of a write at most */
} Layout;

static const Layout layouts[] = {
    { "plain", "", 1 * MIB, 3 * MIB, 65536, false, false, 6, 300 * KIB },
    { "512", "cluster_size=512", 200 * KIB, 400 * KIB, 512, false, false, 12, 20 * KIB },
    { "growth", "cluster_size=512,refcount_bits=64", 1 * MIB, 3 * MIB, 512, false, false, 8,
      400 * KIB },
    { "4k", "cluster_size=4k,lazy_refcounts=on", 512 * KIB, 1 * MIB, 4096, false, false, 8,
      60 * KIB },
    { "extl2", "extended_l2=on,cluster_size=16k", 512 * KIB, 1 * MIB, 16384, false, false, 8,
      60 * KIB },
#ifdef HAVE_ZSTD
    { "zstd", "compression_type=zstd,cluster_size=4k", 512 * KIB, 1 * MIB, 4096, false, false, 8,
      60 * KIB },
#endif
    { "refcount1", "refcount_bits=1,cluster_size=4k", 512 * KIB, 1 * MIB, 4096, false, false, 8,
      60 * KIB },
    { "v2", "compat=0.10,cluster_size=4k", 512 * KIB, 1 * MIB, 4096, false, true, 8, 60 * KIB },
    { "metadata", "preallocation=metadata,cluster_size=4k", 256 * KIB, 512 * KIB, 4096, false,
      false, 8, 60 * KIB },
    { "backing", "cluster_size=4k", 512 * KIB, 1 * MIB, 4096, true, false, 8, 60 * KIB },
    { "backing-extl2", "extended_l2=on,cluster_size=16k", 512 * KIB, 1 * MIB, 16384, true, false, 8,
      60 * KIB },
};

/* Something that was asked for and done, and then undone. */
typedef struct Span {
    unsigned issued, ended; /* moments; ended 0: not yet */
} Span;

typedef struct Snap {
    char *id;
    Span made, gone;
    uint64_t sectors;
    uint32_t *values;
} Snap;

typedef struct Length {
    uint64_t sectors;
    Span set;
} Length;

typedef struct Life {
    const Layout *layout;
    uint32_t seed;
    GRand *rand;
    Power *power;
    BlockNode *node;
    CrashModel model;
    GArray *lengths; /* of Length */
    GPtrArray *snaps;
    Span created;
    const char *doing;
    GString *story; /* what was done when */
    unsigned cuts;
} Life;

static char *folder;

static uint64_t draw(Life *l, uint64_t below)
{
    return below ? (uint64_t)g_rand_int_range(l->rand, 0, (gint32)below) : 0;
}

static uint64_t sectors_now(const Life *l)
{
    return g_array_index(l->lengths, Length, l->lengths->len - 1).sectors;
}

/* ---- What the image may be ---- */

static void set_length(Life *l, uint64_t sectors, unsigned issued)
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

static Snap *find_snap(const Life *l, const char *id)
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
    BlockOpenMode mode = { .writable = writable, .no_backing = true };
    BlockOpenMode look = { .for_check = true, .no_backing = true };
    BlockNode *node = power_open("image", "qcow2", "", &look, &error);
    if (!node) {
        g_error("%s: it does not open: %s", c->what, error->message);
    }
    bool backed = check_backing_name(c, node);
    block_node_unref(node);
    mode.no_backing = !backed;
    node = power_open("image", "qcow2", backed ? BACKING : "", &mode, &error);
    if (!node) {
        g_error("%s: it does not open: %s", c->what, error->message);
    }
    return node;
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
        const Snap *snap = find_snap(c->life, ((BlockSnapshot *)list->pdata[i])->name);
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

static bool is_marked(Power *p)
{
    return power_byte(p, "image", INCOMPATIBLE_AT) & 1;
}

/* Version 2 has no mark: flags and counts that a crash left apart are errors to check, which it
 * mends; what the image holds is right all the same. */
static bool is_old(Power *p)
{
    return power_byte(p, "image", VERSION_AT) == 2;
}

static void check_sound(const Crash *c, unsigned fix)
{
    fix = is_old(power_used) ? BLOCK_FIX_ERRORS | BLOCK_FIX_LEAKS : fix;
    BlockCheckResult result = power_check("image", fix);
    if (result.corruptions || result.check_errors || (fix && result.leaks)) {
        g_error("%s: %d corruptions, %d leaks, %d errors", c->what, (int)result.corruptions,
                (int)result.leaks, (int)result.check_errors);
    }
}

static void check_by_qemu(const Crash *c, Power *cut)
{
    g_autofree char *path = g_build_filename(folder, "crashed.qcow2", NULL);
    g_autofree char *base = g_build_filename(folder, "base", NULL);
    power_save(cut, "image", path);
    if (c->life->layout->backing) {
        power_save(cut, "base", base);
    }
    if (is_marked(cut) || is_old(cut)) {
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
        g_assert_cmpint(block_pwrite(node, draw(l, sectors) * SECTOR, sector, SECTOR), ==, 0);
    }
    g_assert_cmpint(block_flush(node), ==, 0);
    block_node_unref(node);
    check_sound(c, 0);
    check_snaps(c);
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
        unsigned when = (unsigned)draw(c->life, end + 1);
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
    if (is_old(cut)) {
        check_usable_copy(&c, cut);
    } else if (!is_marked(cut)) {
        check_sound(&c, 0);
    }
    if (l->cuts++ % 16 == 0) {
        check_by_qemu(&c, cut);
    }
    if (is_marked(cut) || draw(l, 4) == 0) {
        check_repair(&c, cut, depth);
        check_disk(&c);
        check_snaps(&c);
    }
    if (!is_old(cut)) {
        check_usable(&c);
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

static void crash_at(Life *l, unsigned when)
{
    Power *cut = power_cut(l->power, when, l->rand);
    power_used = cut;
    if (is_over(l->created, when) || is_image(cut)) {
        check_cut(l, cut, when, 0);
    }
    power_used = l->power;
    power_free(cut);
}

/* ---- Changes ---- */

static void open_image(Life *l)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { .writable = true, .discard = true };
    l->node = power_open("image", "qcow2", l->layout->backing ? BACKING : "", &mode, &error);
    g_assert_no_error(error);
}

static void flush(Life *l)
{
    unsigned issued = power_tick(l->power);
    g_assert_cmpint(block_flush(l->node), ==, 0);
    crash_model_flushed(&l->model, issued, power_tick(l->power));
}

/* What a discard made of the sectors. */
static void learn(Life *l, uint64_t first, uint64_t count)
{
    g_autofree uint8_t *data = g_malloc(count * SECTOR);
    g_assert_cmpint(block_pread(l->node, first * SECTOR, data, count * SECTOR), ==, 0);
    for (uint64_t i = 0; i < count; i++) {
        crash_model_learn(&l->model, first + i, crash_value(data + i * SECTOR, first + i));
    }
}

static int write_range(Life *l, int kind, uint64_t first, uint64_t count, uint32_t value)
{
    g_autofree uint8_t *data = g_malloc(count * SECTOR);
    for (uint64_t i = 0; i < count; i++) {
        crash_fill(data + i * SECTOR, first + i, value);
    }
    switch (kind) {
    case 0:
        return block_discard(l->node, first * SECTOR, count * SECTOR);
    case 1:
        return block_pwrite_zeroes(l->node, first * SECTOR, count * SECTOR,
                                   draw(l, 2) ? BLOCK_REQ_UNMAP : 0);
    case 2:
        return block_pwrite_compressed(l->node, first * SECTOR, data, count * SECTOR);
    default:
        return block_pwrite(l->node, first * SECTOR, data, count * SECTOR);
    }
}

static bool is_unallocated(Life *l, uint64_t offset, uint64_t bytes)
{
    BlockStatus status;
    g_assert_cmpint(block_status(l->node, offset, bytes, &status), ==, 0);
    return !(status.flags & BLOCK_STATUS_ALLOCATED) && status.bytes == bytes;
}

static void one_write(Life *l)
{
    uint64_t sectors = sectors_now(l), cluster = l->layout->cluster / SECTOR;
    uint64_t most = MIN((uint64_t)l->layout->bytes / SECTOR, sectors);
    uint64_t count = 1 + draw(l, draw(l, 2) ? most : MIN(most, 8));
    uint64_t first = draw(l, sectors - count + 1);
    int kind = (int)draw(l, 9);
    if (kind == 2) {
        first = ALIGN_DOWN(first, cluster);
        count = cluster;
        if (first + count > sectors || !is_unallocated(l, first * SECTOR, count * SECTOR)) {
            kind = 3;
            count = MIN(count, sectors - first);
        }
    }
    uint32_t value = kind > 1 ? ++l->model.last_value : 0;
    crash_model_begin(&l->model, first, count, value, kind == 0, power_tick(l->power));
    g_assert_cmpint(write_range(l, kind, first, count, value), ==, 0);
    if (kind == 0) {
        learn(l, first, count);
    }
    crash_model_end(&l->model, first, count, power_tick(l->power));
}

static void write_some(Life *l)
{
    for (int i = (int)draw(l, (uint64_t)l->layout->writes) + 1; i > 0; i--) {
        one_write(l);
    }
    if (draw(l, 3) == 0) {
        flush(l);
    }
}

/* Everything until now is on the disk when a change of the whole image has ended. */
static unsigned begin(Life *l, const char *what)
{
    unsigned now = power_tick(l->power);
    l->doing = what;
    g_string_append_printf(l->story, " %u:%s", now, what);
    return now;
}

static Span end(Life *l, unsigned issued)
{
    Span span = { issued, power_tick(l->power) };
    crash_model_flushed(&l->model, span.ended, power_tick(l->power));
    return span;
}

/* For what promises nothing by itself: its user flushes. */
static Span end_by_flush(Life *l, unsigned issued)
{
    flush(l);
    return end(l, issued);
}

static const BlockImageOps *ops_of(Life *l)
{
    return block_node_image_ops(l->node);
}

static Snap *any_snap(Life *l)
{
    g_autoptr(GPtrArray) here = g_ptr_array_new();
    for (guint i = 0; i < l->snaps->len; i++) {
        Snap *snap = l->snaps->pdata[i];
        if (!snap->gone.issued) {
            g_ptr_array_add(here, snap);
        }
    }
    return here->len ? here->pdata[draw(l, here->len)] : NULL;
}

static guint count_snaps(Life *l)
{
    guint count = 0;
    for (guint i = 0; i < l->snaps->len; i++) {
        count += !((Snap *)l->snaps->pdata[i])->gone.issued;
    }
    return count;
}

static bool make_snapshot(Life *l)
{
    g_autoptr(GError) error = NULL;
    bool narrow = strstr(l->layout->options, "refcount_bits=1,") != NULL;
    if (count_snaps(l) >= MOST_SNAPS || narrow) {
        return false;
    }
    Snap *snap = g_new0(Snap, 1);
    snap->id = g_strdup_printf("s%u", l->snaps->len);
    snap->sectors = sectors_now(l);
    snap->values = g_new(uint32_t, snap->sectors);
    for (uint64_t i = 0; i < snap->sectors; i++) {
        snap->values[i] = crash_model_value(&l->model, i);
    }
    g_ptr_array_add(l->snaps, snap);
    BlockSnapshot about = { .name = g_strdup(snap->id), .icount = UINT64_MAX };
    snap->made.issued = begin(l, "snapshot");
    g_assert_true(ops_of(l)->snapshot_create(l->node, &about, &error));
    g_assert_no_error(error);
    snap->made = end(l, snap->made.issued);
    g_free(about.name);
    g_free(about.id);
    return true;
}

static bool delete_snapshot(Life *l)
{
    g_autoptr(GError) error = NULL;
    Snap *snap = any_snap(l);
    if (!snap) {
        return false;
    }
    snap->gone.issued = begin(l, "delete");
    g_assert_true(ops_of(l)->snapshot_delete(l->node, snap->id, &error));
    g_assert_no_error(error);
    snap->gone = end(l, snap->gone.issued);
    return true;
}

static bool apply_snapshot(Life *l)
{
    g_autoptr(GError) error = NULL;
    Snap *snap = any_snap(l);
    if (!snap) {
        return false;
    }
    unsigned issued = begin(l, "apply");
    set_length(l, snap->sectors, issued);
    for (uint64_t i = 0; i < l->model.sectors; i++) {
        uint32_t value = i < snap->sectors ? snap->values[i] : 0;
        crash_model_begin(&l->model, i, 1, value, false, issued);
    }
    g_assert_true(ops_of(l)->snapshot_apply(l->node, snap->id, &error));
    g_assert_no_error(error);
    crash_model_end(&l->model, 0, l->model.sectors, power_tick(l->power));
    g_array_index(l->lengths, Length, l->lengths->len - 1).set = end(l, issued);
    return true;
}

static void resize_to(Life *l, uint64_t sectors, const char *what)
{
    g_autoptr(GError) error = NULL;
    unsigned issued = begin(l, what);
    set_length(l, sectors, issued);
    crash_model_begin(&l->model, sectors, l->model.sectors - sectors, 0, false, issued);
    g_assert_true(block_resize(l->node, sectors * SECTOR, &error));
    g_assert_no_error(error);
    crash_model_end(&l->model, sectors, l->model.sectors - sectors, power_tick(l->power));
    g_array_index(l->lengths, Length, l->lengths->len - 1).set = end(l, issued);
}

static bool may_resize(Life *l)
{
    return !l->layout->old || !count_snaps(l);
}

static bool grow(Life *l)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full" };
    g_autoptr(GError) error = NULL;
    uint64_t old = sectors_now(l), room = l->model.sectors - old;
    const char *mode = modes[draw(l, 4)];
    if (!room || !may_resize(l)) {
        return false;
    }
    resize_to(l, old + 1 + draw(l, room), "grow");
    uint64_t bytes = (sectors_now(l) - old) * SECTOR;
    if (strcmp(mode, "off") != 0 && ops_of(l)->preallocate) {
        unsigned issued = begin(l, mode);
        g_assert_true(ops_of(l)->preallocate(l->node, old * SECTOR, bytes, mode, &error));
        g_assert_no_error(error);
        end_by_flush(l, issued);
    }
    return true;
}

static bool shrink(Life *l)
{
    uint64_t old = sectors_now(l);
    if (!may_resize(l) || old < 16) {
        return false;
    }
    resize_to(l, 8 + draw(l, old - 8), "shrink");
    return true;
}

static bool amend(Life *l)
{
    static const char *const new_ones[] = { "refcount_bits=8",   "refcount_bits=64",
                                            "refcount_bits=16",  "refcount_bits=32",
                                            "lazy_refcounts=on", "lazy_refcounts=off" };
    g_autoptr(GError) error = NULL;
    bool old = is_old(l->power);
    const char *text = old ? "compat=1.1" : new_ones[draw(l, G_N_ELEMENTS(new_ones))];
    if (l->layout->old && !old) {
        return false;
    }
    if (strstr(l->layout->options, "refcount_bits=1,") && strstr(text, "refcount")) {
        text = "refcount_bits=2";
    }
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    unsigned issued = begin(l, text);
    g_assert_true(ops_of(l)->amend(l->node, options, NULL, NULL, &error));
    g_assert_no_error(error);
    end_by_flush(l, issued);
    return true;
}

/* Everything the backing file decides comes into the image, which then names another or none. */
static bool rebase(Life *l)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) name = g_string_new("base");
    bool none = draw(l, 4) == 0 && !count_snaps(l); /* snapshots need what they stood on */
    if (!l->layout->backing) {
        return false;
    }
    for (uint64_t i = l->layout->cluster > 1024 ? draw(l, draw(l, 2) ? 500 : 4) : 0; i > 0; i--) {
        g_string_prepend(name, "./"); /* the same file by a longer name */
    }
    unsigned issued = begin(l, none ? "rebase" : "rename");
    if (none) {
        g_assert_cmpint(block_populate(l->node, 0, block_node_length(l->node)), ==, 0);
    }
    g_assert_true(
        ops_of(l)->set_backing(l->node, none ? NULL : name->str, none ? NULL : "raw", &error));
    g_assert_no_error(error);
    end_by_flush(l, issued);
    return true;
}

/* What the image decides goes into its backing file; then it is emptied. */
static bool commit(Life *l)
{
    g_autoptr(GError) error = NULL;
    uint64_t bytes = block_node_length(l->node);
    BlockOpenMode mode = { .writable = true };
    if (!l->layout->backing || count_snaps(l) || block_node_backing_file(l->node) == NULL) {
        return false;
    }
    unsigned issued = begin(l, "commit");
    g_autofree uint8_t *data = g_malloc(bytes);
    g_assert_cmpint(block_pread(l->node, 0, data, bytes), ==, 0);
    BlockNode *base = power_open("base", "raw", "", &mode, &error);
    g_assert_no_error(error);
    if (block_node_length(base) < bytes) {
        g_assert_true(block_resize(base, bytes, &error));
    }
    g_assert_cmpint(block_pwrite(base, 0, data, bytes), ==, 0);
    g_assert_cmpint(block_flush(base), ==, 0);
    block_node_unref(base);
    g_assert_true(ops_of(l)->make_empty(l->node, &error));
    g_assert_no_error(error);
    end(l, issued);
    return true;
}

static bool reopen(Life *l)
{
    unsigned issued = begin(l, "reopen");
    block_node_unref(l->node);
    end(l, issued);
    open_image(l);
    return true;
}

static bool repair(Life *l)
{
    g_autoptr(GError) error = NULL;
    BlockCheckResult result = { 0 };
    unsigned issued = begin(l, "check");
    g_assert_true(ops_of(l)->check(l->node, BLOCK_FIX_ERRORS | BLOCK_FIX_LEAKS, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(result.corruptions, ==, 0);
    end_by_flush(l, issued);
    return true;
}

/* ---- A life ---- */

static void make_base(Life *l)
{
    uint64_t sectors = l->layout->size / SECTOR * 5 / 4;
    g_autofree uint8_t *data = g_malloc0(sectors * SECTOR);
    for (uint64_t i = 0; i < sectors; i++) {
        if (i / 24 % 3) {
            crash_fill(data + i * SECTOR, i, BASE_VALUE);
            if (i < l->layout->size / SECTOR) {
                crash_model_learn(&l->model, i, BASE_VALUE);
            }
        }
    }
    power_add_file(l->power, "base", data, sectors * SECTOR);
}

static void create(Life *l)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { .writable = true };
    g_autofree char *text = g_strdup_printf(
        "size=%" G_GUINT64_FORMAT "%s%s%s", l->layout->size, *l->layout->options ? "," : "",
        l->layout->options, l->layout->backing ? ",backing_file=base,backing_fmt=raw" : "");
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    power_add_file(l->power, "image", NULL, 0);
    BlockNode *raw = power_open("image", "raw", "", &mode, &error);
    g_assert_no_error(error);
    set_length(l, l->layout->size / SECTOR, 0);
    unsigned issued = begin(l, "create");
    g_assert_true(block_image_ops("qcow2", NULL)->create(node_protocol(raw), options, &error));
    g_assert_no_error(error);
    g_assert_cmpint(block_flush(raw), ==, 0); /* as block_image_create() does */
    l->created = end(l, issued);
    block_node_unref(raw);
    open_image(l);
}

static void snap_free(void *opaque)
{
    Snap *snap = opaque;
    g_free(snap->id);
    g_free(snap->values);
    g_free(snap);
}

static void life_start(Life *l, const Layout *layout, uint32_t seed)
{
    *l = (Life){ .layout = layout, .seed = seed };
    l->rand = g_rand_new_with_seed(seed);
    l->power = power_used = power_new();
    l->lengths = g_array_new(FALSE, FALSE, sizeof(Length));
    l->snaps = g_ptr_array_new_with_free_func(snap_free);
    l->story = g_string_new(NULL);
    crash_model_init(&l->model, layout->most / SECTOR);
    if (layout->backing) {
        make_base(l);
    }
    create(l);
}

static void life_end(Life *l)
{
    crash_model_clear(&l->model);
    power_free(l->power);
    g_array_unref(l->lengths);
    g_ptr_array_unref(l->snaps);
    g_string_free(l->story, TRUE);
    g_rand_free(l->rand);
}

static void one_life(const Layout *layout, uint32_t seed)
{
    static bool (*const changes[])(Life *) = {
        make_snapshot, make_snapshot, apply_snapshot, delete_snapshot, grow,   shrink,
        amend,         rebase,        commit,         reopen,          repair,
    };
    Life l;
    life_start(&l, layout, seed);
    for (int i = 0; i < 8;) {
        write_some(&l);
        unsigned before = power_time(l.power);
        if (!changes[draw(&l, G_N_ELEMENTS(changes))](&l)) {
            continue;
        }
        unsigned after = power_time(l.power);
        for (int k = 0; k < 6; k++) { /* while it was done */
            crash_at(&l, before + (unsigned)draw(&l, after - before + 1));
        }
        i++;
    }
    block_node_unref(l.node);
    unsigned last = power_time(l.power);
    for (int i = 0; i < 16; i++) {
        crash_at(&l, (unsigned)draw(&l, last + 1));
    }
    crash_at(&l, last);
    life_end(&l);
}

static void a_lost_power_leaves_a_sound_image(gconstpointer data)
{
    const char *seeds = g_getenv("QCOW2_SEEDS"), *first = g_getenv("QCOW2_FIRST");
    uint32_t count = seeds ? (uint32_t)atoi(seeds) : 2, from = first ? (uint32_t)atoi(first) : 1;
    for (uint32_t seed = from; seed < from + count; seed++) {
        one_life(data, seed);
    }
}

/* ---- The disk below fails ---- */

static void try_write(Life *l)
{
    uint64_t sectors = sectors_now(l), count = 1 + draw(l, 40);
    uint64_t first = draw(l, sectors - count + 1);
    int kind = (int)draw(l, 9) ? 3 : 1;
    uint32_t value = kind == 3 ? ++l->model.last_value : 0;
    crash_model_begin(&l->model, first, count, value, false, power_tick(l->power));
    if (write_range(l, kind, first, count, value) == 0) {
        crash_model_end(&l->model, first, count, power_tick(l->power));
    }
}

static void try_flush(Life *l)
{
    unsigned issued = power_tick(l->power);
    if (block_flush(l->node) == 0) {
        crash_model_flushed(&l->model, issued, power_tick(l->power));
    }
}

static void try_amend(Life *l)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) options = opts_parse("refcount_bits=32", NULL, &error);
    begin(l, "amend");
    if (power_byte(l->power, "image", VERSION_AT) == 3 && draw(l, 2)) {
        (void)!ops_of(l)->amend(l->node, options, NULL, NULL, &error);
    }
}

static void failing_life(const Layout *layout, uint32_t seed)
{
    Life l;
    life_start(&l, layout, seed);
    write_some(&l);
    flush(&l);
    power_break(l.power, (unsigned)draw(&l, 60), 1 + (unsigned)draw(&l, 12));
    for (int i = 0; i < 30; i++) {
        try_write(&l);
        if (draw(&l, 6) == 0) {
            try_flush(&l);
        }
        if (draw(&l, 20) == 0) {
            try_amend(&l);
        }
    }
    try_flush(&l);
    block_node_unref(l.node);
    power_break(l.power, 0, 0);
    unsigned last = power_time(l.power);
    for (int i = 0; i < 6; i++) {
        crash_at(&l, (unsigned)draw(&l, last + 1));
        crash_at(&l, last);
    }
    life_end(&l);
}

/* Every kind of write and flush fails once: what was reported as flushed is there all the same. */
static void a_failing_disk_loses_nothing_that_was_promised(gconstpointer data)
{
    const char *seeds = g_getenv("QCOW2_SEEDS"), *first = g_getenv("QCOW2_FIRST");
    uint32_t count = seeds ? (uint32_t)atoi(seeds) : 4, from = first ? (uint32_t)atoi(first) : 1;
    for (uint32_t seed = from; seed < from + count; seed++) {
        failing_life(data, seed);
    }
}

int main(int argc, char **argv)
{
    rcu_thread_register();
    event_loop_main();
    block_test_driver = &power_driver;
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("test-qcow2-crash-ops-XXXXXX", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/crash/ops/%s", layouts[i].name);
        g_test_add_data_func(path, &layouts[i], a_lost_power_leaves_a_sound_image);
        g_autofree char *failing = g_strdup_printf("/qcow2/failing-disk/%s", layouts[i].name);
        g_test_add_data_func(failing, &layouts[i], a_failing_disk_loses_nothing_that_was_promised);
    }
    int ret = g_test_run();
    rmdir(folder);
    g_free(folder);
    return ret;
}
