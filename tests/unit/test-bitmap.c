/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps: what was written is marked, from any loop; images keep them, for us and for QEMU,
 * and after a crash none is believed; incremental backups hold the disk as it was.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "block/bitmap_actions.h"
#include "block/graph.h"
#include "block/image.h"
#include "block/jobs/mirror.h"
#include "tests/unit/block-load.h"
#include "tests/unit/qemu-img.h"
#include "vmm/error.h"
#include "vmm/memory/rcu.h"

#define SIZE (6 * MIB + 512)

static char *folder;

/* ---- Images ---- */

static char *path_of(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

static void make_image(const char *name, const char *options_text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = path_of(name);
    g_autoptr(Opts) options = opts_parse(options_text, NULL, &error);
    g_assert_no_error(error);
    unlink(path);
    if (!opts_has(options, "size")) {
        g_autofree char *size = g_strdup_printf("%d", (int)SIZE);
        opts_set(options, "size", size);
    }
    g_assert_true(block_image_create(path, "qcow2", options, &error));
    g_assert_no_error(error);
}

static BlockNode *try_open(const char *name, bool writable, GError **error)
{
    g_autofree char *path = path_of(name);
    g_autoptr(Opts) options = opts_new();
    BlockOpenMode mode = { .writable = writable, .no_backing = true, .discard = true };
    opts_set(options, "node-name", name);
    return block_image_open(path, "qcow2", options, &mode, error);
}

static BlockNode *open_image(const char *name, bool writable)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = try_open(name, writable, &error);
    g_assert_no_error(error);
    return node;
}

static void check_image(const char *name)
{
    g_autofree char *path = path_of(name);
    if (qemu_is_here()) {
        g_assert_cmpint(qemu_img_check(path), ==, 0);
    }
}

static BlockBitmap *add(BlockNode *node, const char *name, uint64_t granularity, bool persistent)
{
    g_autoptr(GError) error = NULL;
    BitmapAction *action = bitmap_action_add(node, name, granularity, persistent, false, &error);
    g_assert_no_error(error);
    bitmap_action_commit(action);
    return bitmap_find(node, name);
}

static bool is_set(BlockBitmap *bitmap, uint64_t bit)
{
    return bitmap_next(bitmap, bit, bit + 1, true) == bit;
}

/* ---- Marking ---- */

static void a_write_marks_what_it_touches_and_no_more(void)
{
    static uint8_t data[10000];
    make_image("a", "cluster_size=4k");
    BlockNode *node = open_image("a", true);
    BlockBitmap *bitmap = add(node, "b", 512, false);
    g_assert_cmpint(block_pwrite(node, 1000, data, 1), ==, 0);
    g_assert_cmpint(block_pwrite_zeroes(node, 65536, 1536, 0), ==, 0);
    g_assert_cmpint(block_discard(node, 5 * 4096, 4096), ==, 0);
    g_assert_cmpint(block_pwrite(node, SIZE - 1, data, 1), ==, 0);
    g_assert_cmpint(block_pread(node, 32768, data, sizeof(data)), ==, 0);
    for (uint64_t bit = 0; bit < bitmap->bits; bit++) {
        bool expected = bit == 1 || (bit >= 128 && bit < 131) || (bit >= 40 && bit < 48) ||
                        bit == (SIZE - 1) / 512;
        g_assert_cmpint(is_set(bitmap, bit), ==, expected);
    }
    g_assert_cmpuint(bitmap_count(bitmap), ==, 1 + 3 + 8 + 1);
    g_assert_cmpuint(bitmap_next(bitmap, 40, UINT64_MAX, false), ==, 48);
    g_assert_cmpuint(bitmap_next(bitmap, 40, 45, false), ==, 45);
    block_node_unref(node);
}

static void disabled_bitmaps_record_nothing(void)
{
    g_autoptr(GError) error = NULL;
    make_image("a", "cluster_size=64k");
    BlockNode *node = open_image("a", true);
    BlockBitmap *bitmap = add(node, "b", 0, false);
    g_assert_cmpuint(1ULL << bitmap->granularity_bits, ==, 65536);
    bitmap_action_commit(bitmap_action_disable(node, "b", &error));
    g_assert_cmpint(block_pwrite(node, 0, "x", 1), ==, 0);
    g_assert_cmpuint(bitmap_count(bitmap), ==, 0);
    bitmap_action_commit(bitmap_action_enable(node, "b", &error));
    g_assert_cmpint(block_pwrite(node, 0, "x", 1), ==, 0);
    g_assert_cmpuint(bitmap_count(bitmap), ==, 1);
    block_node_unref(node);
}

static void aborted_actions_leave_everything_as_it_was(void)
{
    g_autoptr(GError) error = NULL;
    make_image("a", "cluster_size=64k");
    BlockNode *node = open_image("a", true);
    BlockBitmap *bitmap = add(node, "b", 4096, false), *other = add(node, "c", 65536, false);
    g_assert_cmpint(block_pwrite(node, 70000, "x", 1), ==, 0);
    bitmap_action_commit(bitmap_action_disable(node, "b", &error));
    g_assert_cmpint(block_pwrite(node, 3 * MIB, "x", 1), ==, 0);
    g_autoptr(GPtrArray) sources = g_ptr_array_new();
    g_ptr_array_add(sources, other);
    BitmapAction *merge = bitmap_action_merge(node, "b", sources, &error);
    g_assert_cmpuint(bitmap_count(bitmap), ==, 32); /* two of 64 KiB */
    BitmapAction *clear = bitmap_action_clear(node, "b", &error);
    BitmapAction *enable = bitmap_action_enable(node, "b", &error);
    BitmapAction *remove = bitmap_action_remove(node, "b", &error);
    BitmapAction *again = bitmap_action_add(node, "b", 0, false, false, &error);
    g_assert_no_error(error);
    g_assert_null(bitmap_action_add(node, "c", 0, false, false, &error));
    g_assert_nonnull(strstr(error->message, "already"));
    bitmap_action_abort(again);
    bitmap_action_abort(remove);
    g_assert_true(bitmap_find(node, "b") == bitmap);
    bitmap_action_abort(enable);
    g_assert_false(bitmap->enabled);
    bitmap_action_abort(clear);
    g_assert_cmpuint(bitmap_count(bitmap), ==, 32);
    bitmap_action_abort(merge);
    g_assert_cmpuint(bitmap_count(bitmap), ==, 1);
    g_assert_true(is_set(bitmap, 70000 / 4096));
    block_node_unref(node);
}

static void wrong_wishes_are_refused(void)
{
    static const struct {
        const char *name;
        uint64_t granularity;
        bool persistent;
        const char *why;
    } wishes[] = {
        { "", 0, false, "not empty" },         { "b", 511, false, "power of two" },
        { "b", 3000, true, "power of two" },   { "b", 1ULL << 32, true, "cannot be stored" },
        { "b", 512, false, "needs 1024 MiB" },
    };
    make_image("a", "cluster_size=64k,size=4T");
    BlockNode *node = open_image("a", true);
    for (size_t i = 0; i < G_N_ELEMENTS(wishes); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(bitmap_action_add(node, wishes[i].name, wishes[i].granularity,
                                        wishes[i].persistent, false, &error));
        g_assert_nonnull(strstr(error->message, wishes[i].why));
    }
    block_node_unref(node);
    make_image("a", "compat=0.10");
    node = open_image("a", true);
    g_autoptr(GError) error = NULL;
    g_assert_null(bitmap_action_add(node, "b", 0, true, false, &error));
    g_assert_nonnull(strstr(error->message, "version 2"));
    block_node_unref(node);
}

/* ---- Under load ---- */

typedef struct Stage {
    BlockLoad load;
    Drive *drive;
    BlockNode *node;
} Stage;

static void stage_start(Stage *s, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    load_init(&s->load, SIZE, seed);
    make_image("a", "cluster_size=16k");
    g_autofree char *path = path_of("a");
    g_autofree char *text =
        g_strdup_printf("file=%s,format=qcow2,if=none,id=d0,node-name=a,discard=unmap", path);
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    s->drive = drive_add(options, NULL, &error);
    g_assert_no_error(error);
    s->node = s->drive->node;
    load_attach(&s->load, block_backend_attach("d0", "dev0", false, false, &error));
    load_work(&s->load, 200);
}

static void stage_end(Stage *s)
{
    block_backend_drain(s->load.backend);
    block_backend_detach(s->load.backend);
    drives_close();
    g_assert_null(block_node_find("a"));
    load_free(&s->load);
}

/* Whatever differs from `then` is marked. */
static void check_marks(Stage *s, BlockBitmap *bitmap, const uint8_t *then)
{
    uint64_t granularity = 1ULL << bitmap->granularity_bits, counted = 0;
    for (uint64_t bit = 0; bit < bitmap->bits; bit++) {
        uint64_t offset = bit * granularity, bytes = MIN(granularity, SIZE - offset);
        bool set = is_set(bitmap, bit);
        counted += set;
        if (memcmp(then + offset, s->load.model + offset, bytes) != 0) {
            g_assert_true(set);
        }
    }
    g_assert_cmpuint(counted, ==, bitmap_count(bitmap));
}

static void what_several_loops_write_is_marked(void)
{
    for (uint32_t seed = 1; seed <= 4; seed++) {
        g_autoptr(GError) error = NULL;
        g_autofree uint8_t *then = g_malloc(SIZE);
        Stage s = { 0 };
        stage_start(&s, seed);
        BlockBitmap *fine = add(s.node, "fine", 512, false);
        BlockBitmap *coarse = add(s.node, "coarse", 65536, true);
        memcpy(then, s.load.model, SIZE);
        load_begin(&s.load);
        for (int i = 0; i < 5; i++) { /* bitmaps come and go meanwhile */
            add(s.node, "passing", 4096, i & 1);
            g_usleep(2000);
            bitmap_action_commit(bitmap_action_clear(s.node, "passing", &error));
            bitmap_action_commit(bitmap_action_remove(s.node, "passing", &error));
            g_assert_no_error(error);
        }
        load_end(&s.load);
        check_marks(&s, fine, then);
        check_marks(&s, coarse, then);
        stage_end(&s);
        check_image("a");
    }
}

/* ---- Images that keep them ---- */

static void random_bits(BlockBitmap *bitmap, GRand *rand)
{
    for (int i = 0; i < 40; i++) {
        uint64_t offset = g_rand_double(rand) * (double)bitmap->length;
        bitmap_mark(bitmap, offset, g_rand_boolean(rand) ? 1 : g_rand_int_range(rand, 1, 2000000));
    }
}

static void same_bits(BlockBitmap *a, BlockBitmap *b)
{
    g_assert_cmpuint(bitmap_count(a), ==, bitmap_count(b));
    g_assert_cmpuint(a->bits, ==, b->bits);
    for (uint64_t i = 0; i < a->bits / 64 + 1; i++) {
        g_assert_cmphex(atomic_load(&a->words[i]), ==, atomic_load(&b->words[i]));
    }
}

/* A copy that no image has. */
static BlockBitmap *remember(BlockNode *node, BlockBitmap *bitmap, const char *name)
{
    BlockBitmap *copy = add(node, name, 1ULL << bitmap->granularity_bits, false);
    bitmap_merge(copy, bitmap);
    return copy;
}

static void round_trip(const char *options, uint64_t granularity, uint32_t seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    make_image("a", options);
    make_image("model", options);
    BlockNode *node = open_image("a", true), *model = open_image("model", true);
    BlockBitmap *b0 = add(node, "b0", granularity, true), *b1 = add(node, "b1", 0, true);
    random_bits(b0, rand);
    bitmap_mark(b1, 0, b1->length); /* all of it */
    bitmap_action_commit(bitmap_action_disable(node, "b1", NULL));
    BlockBitmap *kept = remember(model, b0, "kept");
    block_node_unref(node);
    check_image("a");

    node = open_image("a", false);
    b0 = bitmap_find(node, "b0");
    b1 = bitmap_find(node, "b1");
    g_assert_true(b0 && b1 && b0->persistent && b0->enabled && !b1->enabled);
    same_bits(b0, kept);
    g_assert_cmpuint(bitmap_count(b1), ==, b1->bits);
    block_node_unref(node);

    node = open_image("a", true); /* and once more, with a change */
    g_assert_cmpint(block_pwrite(node, 12345, "x", 1), ==, 0);
    bitmap_mark(kept, 12345, 1);
    bitmap_action_commit(bitmap_action_remove(node, "b1", NULL));
    block_node_unref(node);
    check_image("a");
    node = open_image("a", false);
    g_assert_null(bitmap_find(node, "b1"));
    same_bits(bitmap_find(node, "b0"), kept);
    block_node_unref(node);
    block_node_unref(model);
}

static void images_keep_bitmaps(void)
{
    round_trip("cluster_size=64k", 65536, 1);
    round_trip("cluster_size=512", 512, 2);
    round_trip("cluster_size=4k,refcount_bits=1", 4096, 3);
    round_trip("cluster_size=2M,extended_l2=on", 1024, 4);
    round_trip("cluster_size=512,size=256M", 512, 5);
    round_trip("cluster_size=64k,size=100G", 4096, 6);
}

/* qemu-img adds ours to one of its own; and it marks what it writes. */
static void qemu_reads_our_bitmaps_and_we_read_qemus(void)
{
    if (!qemu_is_here()) {
        g_test_skip("no qemu-img");
        return;
    }
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    make_image("a", "cluster_size=1k,size=64M");
    make_image("model", "size=64M");
    BlockNode *node = open_image("a", true), *model = open_image("model", true);
    BlockBitmap *ours = add(node, "ours", 512, true);
    random_bits(ours, rand);
    BlockBitmap *kept = remember(model, ours, "kept");
    block_node_unref(node);
    g_free(command_output(folder, "qemu-img bitmap --add --merge ours -g 512 a theirs && "
                                  "qemu-io -c 'write 5000 100' -c 'discard 1M 64k' a && "
                                  "qemu-img check -q a"));
    bitmap_mark(kept, 5000, 100);
    bitmap_mark(kept, 1 * MIB, 64 * KIB);
    node = open_image("a", true);
    same_bits(bitmap_find(node, "ours"), kept);
    same_bits(bitmap_find(node, "theirs"), kept);
    block_node_unref(node);
    check_image("a");
    block_node_unref(model);
}

static void a_crash_makes_bitmaps_inconsistent(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = path_of("a"), *copy = path_of("copy");
    g_autofree char *bytes = NULL;
    gsize length;
    make_image("a", "cluster_size=4k");
    BlockNode *node = open_image("a", true);
    bitmap_mark(add(node, "old", 4096, true), 0, 100);
    block_node_unref(node);
    node = open_image("a", true);
    add(node, "new", 4096, true);
    g_assert_cmpint(block_pwrite(node, 65536, "x", 1), ==, 0);
    g_assert_cmpint(block_flush(node), ==, 0);
    g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
    g_assert_true(g_file_set_contents(copy, bytes, (gssize)length, NULL));
    block_node_unref(node);

    node = open_image("copy", true);
    BlockBitmap *old = bitmap_find(node, "old");
    g_assert_true(old && old->inconsistent && !bitmap_find(node, "new"));
    g_assert_null(bitmap_action_enable(node, "old", &error));
    g_assert_nonnull(strstr(error->message, "inconsistent"));
    block_node_unref(node);
    check_image("copy");
    node = open_image("copy", true); /* it stays so */
    g_assert_true(bitmap_find(node, "old")->inconsistent);
    bitmap_action_commit(bitmap_action_remove(node, "old", NULL));
    block_node_unref(node);
    check_image("copy");
}

static void a_read_only_reopen_stores_them(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = path_of("a"), *copy = path_of("copy");
    g_autofree char *bytes = NULL;
    gsize length;
    make_image("a", "cluster_size=4k");
    BlockNode *node = open_image("a", true);
    BlockBitmap *bitmap = add(node, "b", 4096, true);
    bitmap_mark(bitmap, 8192, 1);
    graph_change_begin();
    g_assert_true(graph_set_readonly(node, true, &error));
    graph_change_end();
    g_assert_null(bitmap_action_clear(node, "b", &error));
    g_assert_nonnull(strstr(error->message, "read-only"));
    g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
    g_assert_true(g_file_set_contents(copy, bytes, (gssize)length, NULL));
    BlockNode *other = open_image("copy", false);
    same_bits(bitmap_find(other, "b"), bitmap);
    g_assert_false(bitmap_find(other, "b")->inconsistent);
    block_node_unref(other);
    graph_change_begin();
    g_assert_true(graph_set_readonly(node, false, NULL));
    graph_change_end();
    g_assert_cmpint(block_pwrite(node, 0, "x", 1), ==, 0);
    block_node_unref(node);
    check_image("a");
    node = open_image("a", false);
    g_assert_cmpuint(bitmap_count(bitmap_find(node, "b")), ==, 2);
    block_node_unref(node);
}

static void other_sizes_keep_what_is_there(void)
{
    g_autoptr(GError) error = NULL;
    make_image("a", "cluster_size=4k");
    BlockNode *node = open_image("a", true);
    BlockBitmap *bitmap = add(node, "b", 4096, true);
    bitmap_mark(bitmap, 5 * MIB, 4096);
    bitmap_mark(bitmap, 4096, 4096);
    g_assert_true(block_resize(node, 20 * MIB, &error));
    bitmap_mark(bitmap, 20 * MIB - 1, 1);
    g_assert_true(is_set(bitmap, 1) && is_set(bitmap, 5 * 256) && is_set(bitmap, 5119));
    block_node_unref(node);
    check_image("a");
    node = open_image("a", true);
    bitmap = bitmap_find(node, "b");
    g_assert_true(is_set(bitmap, 1) && is_set(bitmap, 5 * 256) && is_set(bitmap, 5119));
    g_assert_true(block_resize(node, 1 * MIB, &error));
    g_assert_cmpuint(bitmap->bits, ==, 256);
    g_assert_true(is_set(bitmap, 1));
    block_node_unref(node);
    check_image("a");
}

/* ---- Hostile directories ---- */

/* Opens the image with `value` of `bytes` at the place in the directory's first entry, or (entry
 * false) in the extension. */
static void poke(const char *original, gsize length, bool in_entry, unsigned place, uint64_t value,
                 unsigned bytes, const char *why)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = path_of("copy"), *data = g_memdup2(original, length);
    static const uint8_t magic[4] = { 0x23, 0x85, 0x28, 0x75 };
    char *at = memmem(data, 4096, magic, 4);
    g_assert_nonnull(at);
    at += 8;
    if (in_entry) {
        at = data + load_be64((uint8_t *)at + 16);
    }
    for (unsigned i = 0; i < bytes; i++) {
        at[place + i] = (char)(value >> (bytes - 1 - i) * 8);
    }
    g_assert_true(g_file_set_contents(path, data, (gssize)length, NULL));
    BlockNode *node = try_open("copy", true, &error);
    if (why) {
        g_assert_null(node);
        g_assert_nonnull(strstr(error->message, why));
        return;
    }
    g_assert_no_error(error); /* the disk can be used; the bitmap cannot */
    g_assert_true(bitmap_find(node, "b")->inconsistent);
    bitmap_action_commit(bitmap_action_remove(node, "b", &error));
    g_assert_no_error(error);
    block_node_unref(node);
}

static void hostile_directories_are_refused(void)
{
    g_autofree char *path = path_of("a"), *data = NULL;
    gsize length;
    make_image("a", "cluster_size=4k");
    BlockNode *node = open_image("a", true);
    bitmap_mark(add(node, "b", 512, true), 0, 100);
    block_node_unref(node);
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    poke(data, length, false, 0, 0, 4, "0 bitmaps");
    poke(data, length, false, 0, 70000, 4, "70000 bitmaps");
    poke(data, length, false, 0, 4097, 4, "at most 4096 are supported");
    poke(data, length, false, 0, 2, 4, "entry 1 makes no sense");
    poke(data, length, false, 8, 1ULL << 40, 8, "at most");
    poke(data, length, false, 16, 0, 8, "not a cluster's");
    poke(data, length, false, 16, 1ULL << 40, 8, "not inside the file");
    poke(data, length, true, 12, 0x80, 4, "unknown flags");
    poke(data, length, true, 16, 7, 1, "unknown type");
    poke(data, length, true, 17, 63, 1, "makes no sense");
    poke(data, length, true, 18, 0xffff, 2, "makes no sense");
    poke(data, length, true, 18, 0, 2, "its name");
    poke(data, length, true, 20, 8, 4, "makes no sense");
    poke(data, length, true, 0, 1 << 30, 8, NULL);
    poke(data, length, true, 0, 12345, 8, NULL);
    poke(data, length, true, 8, UINT32_MAX, 4, NULL);
    poke(data, length, true, 8, 0, 4, NULL);
    poke(data, length, true, 8, 2, 4, NULL); /* the bits need one cluster */
}

/* ---- Backups ---- */

static const JobCommon common = { .id = "job", .auto_finalize = true, .auto_dismiss = true };

static void wait_for_job(void)
{
    while (job_find("job")) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
    }
}

static void start_backup(Stage *s, const char *target, MirrorSync sync, const char *bitmap,
                         BackupBitmapMode mode, uint64_t speed)
{
    g_autoptr(GError) error = NULL;
    JobCommon job = common;
    job.speed = speed;
    BlockNode *node = open_image(target, true);
    BackupOptions options = {
        .common = job, .sync = sync, .bitmap = bitmap_find(s->node, bitmap), .bitmap_mode = mode
    };
    g_assert_true(backup_start(s->node, node, &options, &error));
    g_assert_no_error(error);
    block_node_unref(node);
}

/* A full backup and two increments, each while the guest goes on. */
static void increments_hold_the_disk_as_it_was(void)
{
    for (uint32_t seed = 1; seed <= 3; seed++) {
        g_autofree uint8_t *then = g_malloc(SIZE);
        g_autoptr(GError) error = NULL;
        Stage s = { 0 };
        stage_start(&s, seed);
        add(s.node, "b", 0, true);
        make_image("full", "cluster_size=64k");
        start_backup(&s, "full", MIRROR_FULL, "b", BACKUP_BITMAP_ON_SUCCESS, 0);
        load_begin(&s.load);
        wait_for_job();
        g_usleep(3000);
        load_end(&s.load);
        for (int i = 0; i < 2; i++) {
            const char *names[] = { "full", "inc0", "inc1" };
            g_autofree char *options = g_strdup_printf(
                "cluster_size=%s,backing_file=%s,backing_fmt=qcow2", i ? "4k" : "256k", names[i]);
            make_image(names[i + 1], options);
            memcpy(then, s.load.model, SIZE);
            start_backup(&s, names[i + 1], MIRROR_BITMAP, "b", BACKUP_BITMAP_ON_SUCCESS, 8 * MIB);
            BlockBitmap *bitmap = bitmap_find(s.node, "b");
            g_assert_null(bitmap_action_remove(s.node, "b", &error));
            g_assert_nonnull(strstr(error->message, "is busy"));
            g_clear_error(&error);
            load_begin(&s.load);
            wait_for_job();
            load_end(&s.load);
            check_marks(&s, bitmap, then);
            if (qemu_is_here()) {
                g_autofree char *path = path_of(names[i + 1]);
                qemu_img_judge(path, then, SIZE);
            }
        }
        stage_end(&s);
        check_image("a");
    }
}

static void a_cancelled_backup_forgets_nothing(void)
{
    for (int mode = BACKUP_BITMAP_ON_SUCCESS; mode <= BACKUP_BITMAP_ALWAYS; mode++) {
        g_autofree uint8_t *then = g_malloc(SIZE);
        g_autoptr(GError) error = NULL;
        Stage s = { 0 };
        stage_start(&s, 9);
        memcpy(then, s.load.model, SIZE);
        BlockBitmap *bitmap = add(s.node, "b", 0, false);
        load_work(&s.load, 100);
        make_image("full", "cluster_size=64k");
        start_backup(&s, "full", MIRROR_BITMAP, "b", mode, 1);
        g_assert_true(job_cancel(job_find("job"), true, &error));
        load_begin(&s.load);
        wait_for_job();
        load_end(&s.load);
        g_assert_cmpuint(bitmap->busy, ==, 0);
        if (mode != BACKUP_BITMAP_ALWAYS) { /* there, what was copied is forgotten */
            check_marks(&s, bitmap, then);
        } else {
            g_assert_cmpuint(bitmap_count(bitmap), >, 0);
        }
        stage_end(&s);
    }
}

static void never_keeps_the_bitmap_whatever_comes(void)
{
    Stage s = { 0 };
    stage_start(&s, 3);
    BlockBitmap *bitmap = add(s.node, "b", 0, false);
    load_work(&s.load, 20);
    uint64_t count = bitmap_count(bitmap);
    make_image("full", "cluster_size=64k");
    start_backup(&s, "full", MIRROR_BITMAP, "b", BACKUP_BITMAP_NEVER, 0);
    wait_for_job();
    g_assert_cmpuint(bitmap_count(bitmap), ==, count);
    start_backup(&s, "full", MIRROR_BITMAP, "b", BACKUP_BITMAP_ALWAYS, 0);
    wait_for_job();
    g_assert_cmpuint(bitmap_count(bitmap), ==, 0);
    stage_end(&s);
}

#define ADD(name) g_test_add_func("/bitmap/" #name, name)

int main(int argc, char **argv)
{
    rcu_thread_register();
    event_loop_main();
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("vireo-bitmap-XXXXXX", NULL);
    ADD(a_write_marks_what_it_touches_and_no_more);
    ADD(disabled_bitmaps_record_nothing);
    ADD(aborted_actions_leave_everything_as_it_was);
    ADD(wrong_wishes_are_refused);
    ADD(what_several_loops_write_is_marked);
    ADD(images_keep_bitmaps);
    ADD(qemu_reads_our_bitmaps_and_we_read_qemus);
    ADD(a_crash_makes_bitmaps_inconsistent);
    ADD(a_read_only_reopen_stores_them);
    ADD(other_sizes_keep_what_is_there);
    ADD(hostile_directories_are_refused);
    ADD(increments_hold_the_disk_as_it_was);
    ADD(a_cancelled_backup_forgets_nothing);
    ADD(never_keeps_the_bitmap_whatever_comes);
    int ret = g_test_run();
    g_free(command_output(NULL, "rm -rf '%s'", folder));
    g_free(folder);
    return ret;
}
