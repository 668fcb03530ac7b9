/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The power fails in the middle of work on a whole qcow2 image: creation, snapshots, other sizes,
 * amended features, another backing file, a commit, bitmaps, repair itself. At any moment what is
 * left is an image that opens, in which check finds leaks at most, or which says that it is to be
 * repaired first; with all its snapshots, each as it was, with bitmaps that tell the truth or say
 * that they do not, and with every sector that was promised.
 */
#include <stdlib.h>
#include <unistd.h>
#include "config.h"
#include "tests/unit/crash-bitmaps.h"
#include "tests/unit/seeds.h"
#include "vmm/memory/rcu.h"

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
    { "data-file", "data_file=data,data_file_raw=on,cluster_size=4k", 512 * KIB, 1 * MIB, 4096,
      false, false, 8, 60 * KIB, .data_file = true },
    { "data-file-512", "data_file=data,data_file_raw=on,cluster_size=512", 200 * KIB, 400 * KIB,
      512, false, false, 8, 60 * KIB, .data_file = true },
};

/* ---- Changes ---- */

static void open_image(Life *l)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { .writable = true, .discard = true };
    unsigned issued = power_tick(l->power);
    l->node = power_open("image", "qcow2",
                         l->layout->backing     ? BACKING
                         : l->layout->data_file ? DATA_FILE
                                                : "",
                         &mode, &error);
    g_assert_no_error(error);
    life_bitmaps_opened(l, issued);
}

static void close_image(Life *l)
{
    life_bitmaps_closing(l, power_tick(l->power));
    block_node_unref(l->node);
    life_bitmaps_closed(l);
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
                                   life_draw(l, 2) ? BLOCK_REQ_UNMAP : 0);
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
    uint64_t sectors = life_sectors(l), cluster = l->layout->cluster / SECTOR;
    uint64_t most = MIN((uint64_t)l->layout->bytes / SECTOR, sectors);
    uint64_t count = 1 + life_draw(l, life_draw(l, 2) ? most : MIN(most, 8));
    uint64_t first = life_draw(l, sectors - count + 1);
    int kind = (int)life_draw(l, 9);
    if (kind == 2 && l->layout->data_file) {
        kind = 3; /* nothing is compressed there */
    }
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
    for (int i = (int)life_draw(l, (uint64_t)l->layout->writes) + 1; i > 0; i--) {
        one_write(l);
    }
    if (life_draw(l, 3) == 0) {
        flush(l);
    }
}

/* Everything until now is on the disk when a change of the whole image has ended. */
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
    return here->len ? here->pdata[life_draw(l, here->len)] : NULL;
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
    if (count_snaps(l) >= MOST_SNAPS || narrow || l->layout->data_file) {
        return false;
    }
    Snap *snap = g_new0(Snap, 1);
    snap->id = g_strdup_printf("s%u", l->snaps->len);
    snap->sectors = life_sectors(l);
    snap->values = g_new(uint32_t, snap->sectors);
    for (uint64_t i = 0; i < snap->sectors; i++) {
        snap->values[i] = crash_model_value(&l->model, i);
    }
    g_ptr_array_add(l->snaps, snap);
    BlockSnapshot about = { .name = g_strdup(snap->id), .icount = UINT64_MAX };
    snap->made.issued = life_begin(l, "snapshot");
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
    snap->gone.issued = life_begin(l, "delete");
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
    unsigned issued = life_begin(l, "apply");
    life_set_length(l, snap->sectors, issued);
    for (uint64_t i = 0; i < l->model.sectors; i++) {
        uint32_t value = i < snap->sectors ? snap->values[i] : 0;
        crash_model_begin(&l->model, i, 1, value, false, issued);
    }
    g_assert_true(ops_of(l)->snapshot_apply(l->node, snap->id, &error));
    g_assert_no_error(error);
    crash_model_end(&l->model, 0, l->model.sectors, power_tick(l->power));
    g_array_index(l->lengths, Length, l->lengths->len - 1).set = end(l, issued);
    life_bitmaps_resized(l);
    return true;
}

static void resize_to(Life *l, uint64_t sectors, const char *what)
{
    g_autoptr(GError) error = NULL;
    unsigned issued = life_begin(l, what);
    life_set_length(l, sectors, issued);
    crash_model_begin(&l->model, sectors, l->model.sectors - sectors, 0, false, issued);
    g_assert_true(block_resize(l->node, sectors * SECTOR, &error));
    g_assert_no_error(error);
    crash_model_end(&l->model, sectors, l->model.sectors - sectors, power_tick(l->power));
    g_array_index(l->lengths, Length, l->lengths->len - 1).set = end(l, issued);
    life_bitmaps_resized(l);
}

static bool may_resize(Life *l)
{
    return !l->layout->old || !count_snaps(l);
}

static bool grow(Life *l)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full" };
    g_autoptr(GError) error = NULL;
    uint64_t old = life_sectors(l), room = l->model.sectors - old;
    const char *mode = modes[life_draw(l, 4)];
    if (!room || !may_resize(l)) {
        return false;
    }
    resize_to(l, old + 1 + life_draw(l, room), "grow");
    uint64_t bytes = (life_sectors(l) - old) * SECTOR;
    if (strcmp(mode, "off") != 0 && ops_of(l)->preallocate) {
        unsigned issued = life_begin(l, mode);
        g_assert_true(ops_of(l)->preallocate(l->node, old * SECTOR, bytes, mode, &error));
        g_assert_no_error(error);
        end_by_flush(l, issued);
    }
    return true;
}

static bool shrink(Life *l)
{
    uint64_t old = life_sectors(l);
    if (!may_resize(l) || old < 16) {
        return false;
    }
    resize_to(l, 8 + life_draw(l, old - 8), "shrink");
    return true;
}

#define DOTS      "./././././././././././././././././././././././././././././././././"
#define LONG_NAME DOTS DOTS DOTS DOTS "data"

static bool amend(Life *l)
{
    static const char *const new_ones[] = { "refcount_bits=8",   "refcount_bits=64",
                                            "refcount_bits=16",  "refcount_bits=32",
                                            "lazy_refcounts=on", "lazy_refcounts=off" };
    static const char *const of_data_file[] = { "data_file_raw=off", "data_file=./data",
                                                "data_file=data", "data_file=" LONG_NAME };
    g_autoptr(GError) error = NULL;
    bool old = life_is_old(l->power);
    const char *text = old ? "compat=1.1" : new_ones[life_draw(l, G_N_ELEMENTS(new_ones))];
    if (l->layout->data_file && life_draw(l, 4)) {
        text = of_data_file[life_draw(l, G_N_ELEMENTS(of_data_file))];
    }
    if (l->layout->old && !old) {
        return false;
    }
    if (strstr(l->layout->options, "refcount_bits=1,") && strstr(text, "refcount")) {
        text = "refcount_bits=2";
    }
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    unsigned issued = life_begin(l, text);
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
    bool none = life_draw(l, 4) == 0 && !count_snaps(l); /* snapshots need what they stood on */
    if (!l->layout->backing) {
        return false;
    }
    for (uint64_t i = l->layout->cluster > 1024 ? life_draw(l, life_draw(l, 2) ? 500 : 4) : 0;
         i > 0; i--) {
        g_string_prepend(name, "./"); /* the same file by a longer name */
    }
    unsigned issued = life_begin(l, none ? "rebase" : "rename");
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
    unsigned issued = life_begin(l, "commit");
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
    node_refresh_length(block_node_backing(l->node)); /* it may be longer now */
    g_assert_true(ops_of(l)->make_empty(l->node, &error));
    g_assert_no_error(error);
    end(l, issued);
    return true;
}

static bool reopen(Life *l)
{
    unsigned issued = life_begin(l, "reopen");
    close_image(l);
    end(l, issued);
    open_image(l);
    return true;
}

static bool repair(Life *l)
{
    g_autoptr(GError) error = NULL;
    BlockCheckResult result = { 0 };
    unsigned issued = life_begin(l, "check");
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
    life_set_length(l, l->layout->size / SECTOR, 0);
    unsigned issued = life_begin(l, "create");
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
    if (layout->data_file) {
        g_autofree uint8_t *zeroes = g_malloc0(layout->size);
        power_add_file(l->power, "data", zeroes, layout->size);
    }
    create(l);
}

static void life_end(Life *l)
{
    crash_model_clear(&l->model);
    power_free(l->power);
    g_array_unref(l->lengths);
    g_ptr_array_unref(l->snaps);
    life_bitmaps_free(l);
    g_string_free(l->story, TRUE);
    g_rand_free(l->rand);
}

typedef bool Change(Life *l); /* false: not now */

static void one_life(const Layout *layout, uint32_t seed, Change *const *changes, guint count)
{
    Life l;
    life_start(&l, layout, seed);
    for (int i = 0; i < 8;) {
        write_some(&l);
        unsigned before = power_time(l.power);
        if (!changes[life_draw(&l, count)](&l)) {
            continue;
        }
        unsigned after = power_time(l.power);
        for (int k = 0; k < 6; k++) { /* while it was done */
            life_crash_at(&l, before + (unsigned)life_draw(&l, after - before + 1));
        }
        i++;
    }
    close_image(&l);
    unsigned last = power_time(l.power);
    for (int i = 0; i < 16; i++) {
        life_crash_at(&l, (unsigned)life_draw(&l, last + 1));
    }
    life_crash_at(&l, last);
    life_end(&l);
}

static void lives(const Layout *layout, Change *const *changes, guint change_count)
{
    Seeds seeds = seeds_of_environment(2);
    for (uint32_t seed = seeds.from; seed < seeds.end; seed++) {
        one_life(layout, seed, changes, change_count);
    }
}

static void a_lost_power_leaves_a_sound_image(gconstpointer data)
{
    static Change *const changes[] = {
        make_snapshot, make_snapshot, apply_snapshot, delete_snapshot, grow,   shrink,
        amend,         rebase,        commit,         reopen,          repair,
    };
    lives(data, changes, G_N_ELEMENTS(changes));
}

static void a_lost_power_leaves_no_bitmap_that_lies(gconstpointer data)
{
    static Change *const changes[] = {
        life_bitmap_add,
        life_bitmap_add,
        life_bitmap_add,
        life_bitmap_remove,
        life_bitmap_clear,
        life_bitmap_merge,
        reopen,
        reopen,
        reopen,
        life_bitmap_switch,
        make_snapshot,
        apply_snapshot,
        delete_snapshot,
        grow,
        shrink,
        amend,
        repair,
        rebase,
        commit,
    };
    lives(data, changes, G_N_ELEMENTS(changes));
}

/* ---- The disk below fails ---- */

static void try_write(Life *l)
{
    uint64_t sectors = life_sectors(l), count = 1 + life_draw(l, 40);
    uint64_t first = life_draw(l, sectors - count + 1);
    int kind = (int)life_draw(l, 9) ? 3 : 1;
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
    life_begin(l, "amend");
    if (power_byte(l->power, "image", VERSION_AT) == 3 && life_draw(l, 2)) {
        (void)!ops_of(l)->amend(l->node, options, NULL, NULL, &error);
    }
}

static void failing_life(const Layout *layout, uint32_t seed)
{
    Life l;
    life_start(&l, layout, seed);
    write_some(&l);
    flush(&l);
    power_break(l.power, (unsigned)life_draw(&l, 60), 1 + (unsigned)life_draw(&l, 12));
    for (int i = 0; i < 30; i++) {
        try_write(&l);
        if (life_draw(&l, 6) == 0) {
            try_flush(&l);
        }
        if (life_draw(&l, 20) == 0) {
            try_amend(&l);
        }
    }
    try_flush(&l);
    block_node_unref(l.node);
    power_break(l.power, 0, 0);
    unsigned last = power_time(l.power);
    for (int i = 0; i < 6; i++) {
        life_crash_at(&l, (unsigned)life_draw(&l, last + 1));
        life_crash_at(&l, last);
    }
    life_end(&l);
}

/* Every kind of write and flush fails once: what was reported as flushed is there all the same. */
static void a_failing_disk_loses_nothing_that_was_promised(gconstpointer data)
{
    Seeds seeds = seeds_of_environment(4);
    for (uint32_t seed = seeds.from; seed < seeds.end; seed++) {
        failing_life(data, seed);
    }
}

int main(int argc, char **argv)
{
    rcu_thread_register();
    event_loop_main();
    block_test_driver = &power_driver;
    g_test_init(&argc, &argv, NULL);
    life_folder = g_dir_make_tmp("test-qcow2-crash-ops-XXXXXX", NULL);
    g_assert_cmpint(chdir(life_folder), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/crash/ops/%s", layouts[i].name);
        g_test_add_data_func(path, &layouts[i], a_lost_power_leaves_a_sound_image);
        if (!layouts[i].old) {
            g_autofree char *bitmaps = g_strdup_printf("/qcow2/crash/bitmaps/%s", layouts[i].name);
            g_test_add_data_func(bitmaps, &layouts[i], a_lost_power_leaves_no_bitmap_that_lies);
        }
        g_autofree char *failing = g_strdup_printf("/qcow2/failing-disk/%s", layouts[i].name);
        g_test_add_data_func(failing, &layouts[i], a_failing_disk_loses_nothing_that_was_promised);
    }
    int ret = g_test_run();
    unlink("data"); /* that of images with DATA_FILE, as they were made */
    rmdir(life_folder);
    g_free(life_folder);
    return ret;
}
