/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps over QMP: incremental backups while a guest writes, images that keep them, exports.
 */
#include <signal.h>
#include <string.h>
#include "tests/device/block-kit.h"

#define SECTORS 4096 /* 2 MiB */
#define ROUNDS  3

static void start(BlockStage *s)
{
    s->qts = qtest_start("-drive file=%s/disk,format=qcow2,if=none,id=a,node-name=n "
                         "-device virtio-blk-pci,drive=a,id=da",
                         s->folder);
}

static bool open_stage(BlockStage *s)
{
    if (!block_stage_open(s)) {
        return false;
    }
    g_assert_cmpint(block_img(s, NULL, "create -q -f qcow2 -o cluster_size=4k disk 2M"), ==, 0);
    start(s);
    return true;
}

static void bitmap_command(BlockStage *s, const char *command, const char *more)
{
    json_object_put(qtest_qmp_ok(s->qts,
                                 "{'execute': 'block-dirty-bitmap-%s', 'arguments': {'node': 'n', "
                                 "%s}}",
                                 command, more));
}

/* What query-block says of a bitmap (put by the caller), or NULL. */
static json_object *describe(BlockStage *s, const char *name)
{
    json_object *blocks = qtest_qmp_ok(s->qts, "{'execute': 'query-block'}");
    json_object *list = json_at(json_object_array_get_idx(blocks, 0), "inserted.dirty-bitmaps");
    json_object *found = NULL;
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        if (!g_strcmp0(json_text(item, "name"), name)) {
            found = json_object_get(item);
        }
    }
    json_object_put(blocks);
    return found;
}

static void assert_member(BlockStage *s, const char *name, const char *member, const char *value)
{
    json_object *info = describe(s, name);
    g_assert_nonnull(info);
    g_assert_cmpstr(json_text(info, member), ==, value);
    json_object_put(info);
}

/* ---- Incremental backups ---- */

typedef struct Writer {
    BlockDisk disk;
    uint64_t model[SECTORS];
    GRand *rand;
    uint64_t next;
    gint stop, written;
} Writer;

static void write_some(Writer *w, int count)
{
    for (int i = 0; i < count; i++) {
        uint64_t sector = (uint64_t)g_rand_int_range(w->rand, 0, SECTORS);
        g_assert_cmpuint(block_disk_write(&w->disk, sector, ++w->next), ==, 0);
        w->model[sector] = w->next;
        g_atomic_int_inc(&w->written);
    }
}

static void *write_on(void *opaque)
{
    Writer *w = opaque;
    while (!g_atomic_int_get(&w->stop)) {
        write_some(w, 1);
    }
    return NULL;
}

static void assert_holds(BlockStage *s, const char *image, const uint64_t *model)
{
    g_autofree char *raw = block_path(s, "raw"), *data = NULL;
    gsize length;
    g_assert_cmpint(block_img(s, NULL, "check -q %s", image), ==, 0);
    g_assert_cmpint(block_img(s, NULL, "convert -O raw %s raw", image), ==, 0);
    g_assert_true(g_file_get_contents(raw, &data, &length, NULL));
    g_assert_cmpuint(length, ==, SECTORS * 512);
    for (size_t i = 0; i < SECTORS; i++) {
        uint64_t value;
        memcpy(&value, data + i * 512, sizeof(value));
        g_assert_cmpuint(value, ==, model[i]);
    }
}

/* Each increment stands on the one before. */
static void take_increment(BlockStage *s, Writer *w, int i)
{
    g_autofree char *name = g_strdup_printf("inc%d", i);
    g_autofree uint64_t *then = g_memdup2(w->model, sizeof(w->model));
    if (i) {
        g_assert_cmpint(block_img(s, NULL, "create -q -f qcow2 -b inc%d -F qcow2 %s", i - 1, name),
                        ==, 0);
    }
    json_object_put(qtest_qmp_ok(s->qts,
                                 "{'execute': 'drive-backup', 'arguments': {'device': 'a', "
                                 "'job-id': 'j', 'target': '%s/%s', 'format': 'qcow2', 'mode': "
                                 "'%s', 'sync': '%s', 'bitmap': 'b', 'bitmap-mode': 'on-success', "
                                 "'speed': 4000000}}",
                                 s->folder, name, i ? "existing" : "absolute-paths",
                                 i ? "incremental" : "full"));
    g_atomic_int_set(&w->stop, 0);
    GThread *thread = g_thread_new("writer", write_on, w);
    block_wait_job(s->qts, "j", NULL);
    json_object_put(qtest_event(s->qts, "BLOCK_JOB_COMPLETED"));
    gint until = g_atomic_int_get(&w->written) + 20;
    while (g_atomic_int_get(&w->written) < until) {
        g_usleep(100);
    }
    g_atomic_int_set(&w->stop, 1);
    g_thread_join(thread);
    assert_holds(s, name, then);
}

static void test_increments_hold_the_disk_as_it_was(void)
{
    BlockStage s;
    Writer w = { .rand = g_rand_new_with_seed(1) };
    if (!open_stage(&s)) {
        g_rand_free(w.rand);
        return;
    }
    block_disk_open(&w.disk, s.qts, 0);
    write_some(&w, 100);
    bitmap_command(&s, "add", "'name': 'b', 'persistent': true");
    for (int i = 0; i <= ROUNDS; i++) {
        take_increment(&s, &w, i);
    }
    block_disk_close(&w.disk);
    qtest_stop(s.qts);
    assert_holds(&s, "disk", w.model);
    block_stage_close(&s);
    g_rand_free(w.rand);
}

/* ---- Images that keep them ---- */

static void write_sector(BlockStage *s, uint64_t sector)
{
    BlockDisk disk;
    block_disk_open(&disk, s->qts, 0);
    g_assert_cmpuint(block_disk_write(&disk, sector, 1), ==, 0);
    block_disk_close(&disk);
}

static void test_a_bitmap_lives_in_its_image(void)
{
    BlockStage s;
    g_autofree char *out = NULL;
    if (!open_stage(&s)) {
        return;
    }
    bitmap_command(&s, "add", "'name': 'b', 'persistent': true, 'granularity': 4096");
    bitmap_command(&s, "add", "'name': 't'");
    write_sector(&s, 100);
    qtest_stop(s.qts);
    g_assert_cmpint(block_img(&s, NULL, "check -q disk"), ==, 0);
    g_assert_cmpint(block_img(&s, &out, "info disk"), ==, 0);
    g_assert_nonnull(strstr(out, "name: b"));
    g_assert_nonnull(strstr(out, "[0]: auto"));
    g_assert_null(strstr(out, "name: t"));
    start(&s);
    assert_member(&s, "b", "count", "4096");
    assert_member(&s, "b", "recording", "true");
    assert_member(&s, "b", "persistent", "true");
    write_sector(&s, 200);
    assert_member(&s, "b", "count", "8192");
    bitmap_command(&s, "disable", "'name': 'b'");
    write_sector(&s, 300);
    assert_member(&s, "b", "count", "8192");
    bitmap_command(&s, "add", "'name': 'sum'");
    bitmap_command(&s, "merge", "'target': 'sum', 'bitmaps': ['b', {'node': 'n', 'name': 'b'}]");
    assert_member(&s, "sum", "count", "8192");
    bitmap_command(&s, "clear", "'name': 'sum'");
    assert_member(&s, "sum", "count", "0");
    bitmap_command(&s, "remove", "'name': 'b'");
    g_assert_null(describe(&s, "b"));
    qtest_stop(s.qts);
    g_assert_cmpint(block_img(&s, NULL, "check -q disk"), ==, 0);
    block_stage_close(&s);
}

/* The same bytes in a file of its own: a killed process's locks stay for a moment. */
static void copy_disk(BlockStage *s)
{
    g_autofree char *path = block_path(s, "disk"), *data = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    g_assert_true(g_file_set_contents(path, data, (gssize)length, NULL)); /* it replaces the file */
}

static void test_a_killed_machine_leaves_inconsistent_bitmaps(void)
{
    BlockStage s;
    if (!open_stage(&s)) {
        return;
    }
    bitmap_command(&s, "add", "'name': 'b', 'persistent': true");
    qtest_stop(s.qts);
    start(&s);
    write_sector(&s, 1);
    kill(s.qts->pid, SIGKILL);
    g_assert_cmpint(qtest_wait_exit(s.qts), ==, 128 + SIGKILL);
    qtest_free(s.qts);
    copy_disk(&s);
    start(&s);
    assert_member(&s, "b", "inconsistent", "true");
    assert_member(&s, "b", "recording", "false");
    g_autofree char *error = qtest_qmp_error(
        s.qts, "{'execute': 'block-dirty-bitmap-clear', 'arguments': {'node': 'n', 'name': 'b'}}");
    g_assert_cmpstr(error, ==,
                    "bitmap 'b' is inconsistent: it was not stored when its image was last closed, "
                    "so it can only be removed");
    bitmap_command(&s, "remove", "'name': 'b'");
    g_assert_null(describe(&s, "b"));
    qtest_stop(s.qts);
    block_stage_close(&s);
}

/* ---- Wrong commands, and transactions ---- */

#define BACKUP(more)                                                                               \
    "{'execute': 'blockdev-backup', 'arguments': {'device': 'a', 'target': 't', " more "}}"

static void test_wrong_commands_are_refused_as_by_qemu(void)
{
    static const char *const cases[][2] = {
        { "{'execute': 'block-dirty-bitmap-add', 'arguments': {'node': 'none', 'name': 'x'}}",
          "there is no drive 'none' and no node 'none'" },
        { "{'execute': 'block-dirty-bitmap-add', 'arguments': {'node': 'n', 'name': 'b'}}",
          "the node has a bitmap of this name already: b" },
        { "{'execute': 'block-dirty-bitmap-add', 'arguments': {'node': 'n', 'name': ''}}",
          "a bitmap needs a name that is not empty" },
        { "{'execute': 'block-dirty-bitmap-add', 'arguments': {'node': 'n', 'name': 'x', "
          "'granularity': 1000}}",
          "a bitmap's granularity is a power of two, 512 bytes or more" },
        { "{'execute': 'block-dirty-bitmap-add', 'arguments': {'node': 't', 'name': 'x', "
          "'persistent': true}}",
          "'t' cannot keep bitmaps in its image (persistent=on): only qcow2 can" },
        { "{'execute': 'block-dirty-bitmap-remove', 'arguments': {'node': 'none', 'name': 'b'}}",
          "there is no node 'none' (query-named-block-nodes lists them)" },
        { "{'execute': 'block-dirty-bitmap-enable', 'arguments': {'node': 'n', 'name': 'x'}}",
          "the node has no bitmap 'x'" },
        { "{'execute': 'block-dirty-bitmap-merge', 'arguments': {'node': 'n', 'target': 'b', "
          "'bitmaps': [{'node': 't', 'name': 's'}]}}",
          "bitmaps of disks of different sizes cannot be merged: the target is of 2097152 bytes, "
          "the source of 1048576" },
        { BACKUP("'sync': 'incremental'"),
          "sync=incremental needs 'bitmap': the name of the bitmap that says what to copy" },
        { BACKUP("'sync': 'bitmap', 'bitmap': 'b'"),
          "'bitmap' needs 'bitmap-mode', which says what becomes of it" },
        { BACKUP("'sync': 'bitmap', 'bitmap': 'x', 'bitmap-mode': 'never'"),
          "the source has no bitmap 'x'" },
        { BACKUP("'sync': 'incremental', 'bitmap': 'b', 'bitmap-mode': 'always'"),
          "bitmap-mode has to be on-success (or left out) with sync=incremental" },
        { BACKUP("'sync': 'none', 'bitmap': 'b', 'bitmap-mode': 'always'"),
          "sync=none copies nothing by itself: no bitmap could follow it" },
        { BACKUP("'sync': 'full', 'bitmap': 'b', 'bitmap-mode': 'never'"),
          "bitmap-mode=never leaves nothing to do with sync=full: the bitmap would be neither read "
          "nor changed" },
        { BACKUP("'sync': 'full', 'bitmap-mode': 'never'"),
          "bitmap-mode says what becomes of 'bitmap', which is missing" },
        { "{'execute': 'blockdev-mirror', 'arguments': {'device': 'a', 'target': 't', 'sync': "
          "'incremental'}}",
          "sync=incremental: only full, top and none are there" },
    };
    BlockStage s;
    if (!open_stage(&s)) {
        return;
    }
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'blockdev-add', 'arguments': {'driver': "
                                        "'null-co', 'node-name': 't', 'size': 1048576}}"));
    bitmap_command(&s, "add", "'name': 'b'");
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'block-dirty-bitmap-add', 'arguments': "
                                        "{'node': 't', 'name': 's'}}"));
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *error = qtest_qmp_error(s.qts, "%s", cases[i][0]);
        g_assert_cmpstr(error, ==, cases[i][1]);
    }
    qtest_stop(s.qts);
    block_stage_close(&s);
}

#define ACTION(type, more)                                                                         \
    "{'type': 'block-dirty-bitmap-" type "', 'data': {'node': 'n', " more "}}"

static void test_transactions_do_all_or_nothing(void)
{
    BlockStage s;
    if (!open_stage(&s)) {
        return;
    }
    bitmap_command(&s, "add", "'name': 'b', 'granularity': 512");
    write_sector(&s, 7);
    for (int i = 0; i < 2; i++) {
        g_autofree char *error = qtest_qmp_error(
            s.qts,
            "{'execute': 'transaction', 'arguments': {'actions': [" ACTION(
                "clear",
                "'name': 'b'") "," ACTION("add",
                                          "'name': 'x', 'persistent': "
                                          "true") "," ACTION("disable",
                                                             "'name': 'b'") ","
                                                                            "{'type': "
                                                                            "'drive-backup', "
                                                                            "'data': {'device': "
                                                                            "'a', 'job-id': 'j', "
                                                                            "'target': '%s/t%d', "
                                                                            "'sync': 'full', "
                                                                            "'bitmap': '%s', "
                                                                            "'bitmap-mode': "
                                                                            "'always'}},"
                                                                            "{'type': 'abort', "
                                                                            "'data': {}}]}}",
            s.folder, i, i ? "b" : "x");
        g_assert_cmpstr(error, ==, "the action 'abort' was met: everything is undone");
        block_wait_job(s.qts, "j", NULL);
        g_assert_null(describe(&s, "x"));
        assert_member(&s, "b", "count", "512");
        assert_member(&s, "b", "recording", "true");
        assert_member(&s, "b", "busy", "false");
    }
    json_object_put(
        qtest_qmp_ok(s.qts, "{'execute': 'transaction', 'arguments': {'actions': [" ACTION(
                                "clear", "'name': 'b'") "," ACTION("add", "'name': 'x'") "]}}"));
    write_sector(&s, 9);
    assert_member(&s, "b", "count", "512");
    assert_member(&s, "x", "count", "4096");
    qtest_stop(s.qts);
    g_assert_cmpint(block_img(&s, NULL, "check -q disk"), ==, 0);
    block_stage_close(&s);
}

/* ---- Exports ---- */

static void test_an_export_shows_a_bitmap(void)
{
    BlockStage s;
    g_autofree char *out = NULL;
    if (!open_stage(&s)) {
        return;
    }
    bitmap_command(&s, "add", "'name': 'b', 'granularity': 4096");
    write_sector(&s, 16);
    json_object_put(qtest_qmp_ok(s.qts,
                                 "{'execute': 'nbd-server-start', 'arguments': {'addr': {'type': "
                                 "'unix', 'data': {'path': '%s/nbd'}}}}",
                                 s.folder));
    g_autofree char *enabled = qtest_qmp_error(
        s.qts, "{'execute': 'block-export-add', 'arguments': {'type': 'nbd', 'id': 'e', "
               "'node-name': 'n', 'bitmaps': ['b']}}");
    g_assert_cmpstr(enabled, ==,
                    "bitmap 'b' records writes, and nothing writes to a read-only export: disable "
                    "the bitmap first");
    bitmap_command(&s, "disable", "'name': 'b'");
    json_object_put(qtest_qmp_ok(
        s.qts, "{'execute': 'block-export-add', 'arguments': {'type': 'nbd', 'id': 'e', "
               "'node-name': 'n', 'bitmaps': ['b']}}"));
    g_autofree char *busy = qtest_qmp_error(
        s.qts, "{'execute': 'block-dirty-bitmap-clear', 'arguments': {'node': 'n', 'name': 'b'}}");
    g_assert_nonnull(strstr(busy, "'b' is busy"));
    g_assert_cmpint(block_img(&s, &out,
                              "map --output=json --image-opts driver=nbd,export=n,server.type=unix,"
                              "server.path=nbd,x-dirty-bitmap=qemu:dirty-bitmap:b"),
                    ==, 0);
    g_assert_nonnull(strstr(out, "{ \"start\": 8192, \"length\": 4096, \"depth\": 0, \"present\": "
                                 "false, \"zero\": false, \"data\": false}"));
    /* hard: the server may hear only later that the client has gone */
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'block-export-del', 'arguments': {'id': 'e', "
                                        "'mode': 'hard'}}"));
    bitmap_command(&s, "clear", "'name': 'b'");
    qtest_stop(s.qts);
    block_stage_close(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bitmaps/increments_hold_the_disk_as_it_was",
                    test_increments_hold_the_disk_as_it_was);
    g_test_add_func("/bitmaps/a_bitmap_lives_in_its_image", test_a_bitmap_lives_in_its_image);
    g_test_add_func("/bitmaps/a_killed_machine_leaves_inconsistent_bitmaps",
                    test_a_killed_machine_leaves_inconsistent_bitmaps);
    g_test_add_func("/bitmaps/wrong_commands_are_refused_as_by_qemu",
                    test_wrong_commands_are_refused_as_by_qemu);
    g_test_add_func("/bitmaps/transactions_do_all_or_nothing", test_transactions_do_all_or_nothing);
    g_test_add_func("/bitmaps/an_export_shows_a_bitmap", test_an_export_shows_a_bitmap);
    return g_test_run();
}
