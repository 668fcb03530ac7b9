/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's transaction: one point in time for several disks, and all or nothing. */
#include <string.h>
#include "tests/device/block-kit.h"

#define ROUNDS 8

static bool open_disks(BlockStage *s)
{
    if (!block_stage_open(s)) {
        return false;
    }
    g_assert_cmpint(block_img(s, NULL, "create -q -f qcow2 a0 1M"), ==, 0);
    g_assert_cmpint(block_img(s, NULL, "create -q -f qcow2 b0 1M"), ==, 0);
    s->qts = qtest_start("-drive file=%s/a0,format=qcow2,if=none,id=a "
                         "-device virtio-blk-pci,drive=a,id=da "
                         "-drive file=%s/b0,format=qcow2,if=none,id=b "
                         "-device virtio-blk-pci,drive=b,id=db",
                         s->folder, s->folder);
    return true;
}

static uint64_t value_in(BlockStage *s, const char *image)
{
    g_autofree char *raw = block_path(s, "raw");
    g_autofree char *data = NULL;
    g_assert_cmpint(block_img(s, NULL, "convert -O raw %s raw", image), ==, 0);
    g_assert_true(g_file_get_contents(raw, &data, NULL, NULL));
    uint64_t value;
    memcpy(&value, data, sizeof(value));
    return value;
}

/* ---- One point in time ---- */

typedef struct Writer {
    BlockDisk a, b;
    gint stop, rounds;
} Writer;

/* b is never ahead of a, and never more than one behind it. */
static void *write_both(void *opaque)
{
    Writer *w = opaque;
    for (uint64_t n = 1; !g_atomic_int_get(&w->stop); n++) {
        g_assert_cmpuint(block_disk_write(&w->a, 0, n), ==, 0);
        g_assert_cmpuint(block_disk_write(&w->b, 0, n), ==, 0);
        g_atomic_int_inc(&w->rounds);
    }
    return NULL;
}

static void snapshot_both(BlockStage *s, int i)
{
    json_object_put(qtest_qmp_ok(
        s->qts,
        "{'execute': 'transaction', 'arguments': {'actions': ["
        "{'type': 'blockdev-snapshot-sync', 'data': {'device': 'a', 'snapshot-file': '%s/a%d'}},"
        "{'type': 'blockdev-snapshot-sync', 'data': {'device': 'b', 'snapshot-file': "
        "'%s/b%d'}}]}}",
        s->folder, i, s->folder, i));
}

static void test_two_disks_have_one_point_in_time(void)
{
    BlockStage s;
    Writer w = { 0 };
    if (!open_disks(&s)) {
        return;
    }
    block_disk_open(&w.a, s.qts, 0);
    block_disk_open(&w.b, s.qts, 1);
    GThread *thread = g_thread_new("writer", write_both, &w);
    for (int i = 1; i <= ROUNDS; i++) {
        gint before = g_atomic_int_get(&w.rounds);
        while (g_atomic_int_get(&w.rounds) < before + 3) {
            g_usleep(100);
        }
        snapshot_both(&s, i);
    }
    g_atomic_int_set(&w.stop, 1);
    g_thread_join(thread);
    block_disk_close(&w.a);
    block_disk_close(&w.b);
    qtest_stop(s.qts);
    for (int i = 0; i <= ROUNDS; i++) {
        g_autofree char *a = g_strdup_printf("a%d", i), *b = g_strdup_printf("b%d", i);
        uint64_t x = value_in(&s, a), y = value_in(&s, b);
        g_assert_cmpuint(x, >, 0);
        g_assert_true(x == y || x == y + 1);
        g_assert_cmpint(block_img(&s, NULL, "check -q %s", a), ==, 0);
    }
    block_stage_close(&s);
}

/* ---- All or nothing ---- */

static char *file_of(BlockStage *s, unsigned disk)
{
    json_object *list = qtest_qmp_ok(s->qts, "{'execute': 'query-block'}");
    char *file =
        g_path_get_basename(json_text(json_object_array_get_idx(list, disk), "inserted.file"));
    json_object_put(list);
    return file;
}

static void assert_nothing_changed(BlockStage *s)
{
    g_autofree char *a = file_of(s, 0), *b = file_of(s, 1);
    g_autofree char *out = NULL;
    g_assert_cmpstr(a, ==, "a0");
    g_assert_cmpstr(b, ==, "b0");
    g_assert_cmpint(block_img(s, &out, "snapshot -U -l a0"), ==, 0);
    g_assert_cmpstr(out, ==, "");
    block_wait_job(s->qts, "j", NULL);
    block_wait_job(s->qts, "a", NULL);
}

#define OVERLAY(device, file)                                                                      \
    "{'type': 'blockdev-snapshot-sync', 'data': {'device': '" device "', 'snapshot-file': "        \
    "'%s/" file "'}},"
#define INTERNAL "{'type': 'blockdev-snapshot-internal-sync', 'data': {'device': 'a', 'name': 'x'}}"
#define BACKUP                                                                                     \
    "{'type': 'drive-backup', 'data': {'device': 'b', 'job-id': 'j', 'target': '%s/copy', "        \
    "'sync': 'full'}}"
#define ABORT "{'type': 'abort', 'data': {}}"

static void test_a_failed_action_undoes_those_before(void)
{
    static const char *const failing[] = {
        OVERLAY("a", "x1") OVERLAY("b", "x2") ABORT,
        INTERNAL "," OVERLAY("a", "x1") ABORT,
        OVERLAY("a", "x1") BACKUP "," ABORT,
        INTERNAL "," INTERNAL,
        OVERLAY("a", "x1") "{'type': 'blockdev-snapshot', 'data': {'node': 'none', 'overlay': "
                           "'nil'}}",
    };
    BlockStage s;
    BlockDisk disk;
    if (!open_disks(&s)) {
        return;
    }
    block_disk_open(&disk, s.qts, 0);
    g_assert_cmpuint(block_disk_write(&disk, 5, 77), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(failing); i++) {
        g_auto(GStrv) parts = g_strsplit(failing[i], "%s", -1);
        g_autofree char *actions = g_strjoinv(s.folder, parts);
        g_autofree char *error = qtest_qmp_error(
            s.qts, "{'execute': 'transaction', 'arguments': {'actions': [%s]}}", actions);
        g_test_message("%s", error);
        assert_nothing_changed(&s);
    }
    g_assert_cmpuint(block_disk_read(&disk, 5), ==, 77);
    g_assert_cmpuint(block_disk_write(&disk, 6, 78), ==, 0);
    block_disk_close(&disk);
    qtest_stop(s.qts);
    g_assert_cmpint(block_img(&s, NULL, "check -q a0"), ==, 0);
    g_assert_cmpint(block_img(&s, NULL, "check -q b0"), ==, 0);
    block_stage_close(&s);
}

static void assert_refused(BlockStage *s, const char *arguments, const char *says)
{
    g_autofree char *error =
        qtest_qmp_error(s->qts, "{'execute': 'transaction', 'arguments': %s}", arguments);
    g_assert_cmpstr(error, ==, says);
}

static void test_bad_transactions_are_refused(void)
{
    BlockStage s;
    if (!open_disks(&s)) {
        return;
    }
    assert_refused(&s, "{'actions': [{'type': 'abort', 'data': {}}]}",
                   "the action 'abort' was met: everything is undone");
    assert_refused(&s, "{'actions': [{'type': 'frob', 'data': {}}]}",
                   "'actions[0].type' cannot be 'frob'");
    assert_refused(&s, "{'properties': {'completion-mode': 'grouped'}, 'actions': [" INTERNAL "]}",
                   "action 'blockdev-snapshot-internal-sync' is no job that could end with others: "
                   "completion-mode=grouped takes jobs only");
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'transaction', 'arguments': "
                                        "{'actions': []}}"));
    qtest_stop(s.qts);
    block_stage_close(&s);
}

/* ---- Jobs of one group ---- */

#define GROUP                                                                                      \
    "{'execute': 'transaction', 'arguments': {'properties': {'completion-mode': 'grouped'}, "      \
    "'actions': [{'type': 'drive-backup', 'data': {'device': 'a', 'job-id': 'ja', 'target': "      \
    "'%s/ca', 'sync': 'full', 'speed': %d}}, {'type': 'drive-backup', 'data': {'device': 'b', "    \
    "'job-id': 'jb', 'target': '%s/cb', 'sync': 'full'}}]}}"

/* How each of the two jobs ended, in any order. */
static void await_both(QTest *qts, const char *name)
{
    for (int i = 0; i < 2; i++) {
        json_object_put(qtest_event(qts, name));
    }
    block_wait_job(qts, "ja", NULL);
    block_wait_job(qts, "jb", NULL);
}

static void test_grouped_jobs_end_together(void)
{
    BlockStage s;
    if (!open_disks(&s)) {
        return;
    }
    json_object_put(qtest_qmp_ok(s.qts, GROUP, s.folder, 0, s.folder));
    await_both(s.qts, "BLOCK_JOB_COMPLETED");
    qtest_stop(s.qts);
    g_assert_cmpint(block_img(&s, NULL, "compare -q a0 ca"), ==, 0);
    g_assert_cmpint(block_img(&s, NULL, "compare -q b0 cb"), ==, 0);
    block_stage_close(&s);
}

static void test_a_cancelled_job_takes_its_group_with_it(void)
{
    BlockStage s;
    if (!open_disks(&s)) {
        return;
    }
    json_object_put(qtest_qmp_ok(s.qts, GROUP, s.folder, 1, s.folder));
    block_wait_job(s.qts, "jb", "waiting");
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'job-cancel', 'arguments': {'id': 'ja'}}"));
    await_both(s.qts, "BLOCK_JOB_CANCELLED");
    json_object_put(qtest_qmp_ok(s.qts, GROUP, s.folder, 1, s.folder));
    block_wait_job(s.qts, "jb", "waiting");
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'job-cancel', 'arguments': {'id': 'jb'}}"));
    await_both(s.qts, "BLOCK_JOB_CANCELLED");
    qtest_stop(s.qts);
    block_stage_close(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/transaction/two_disks_have_one_point_in_time",
                    test_two_disks_have_one_point_in_time);
    g_test_add_func("/transaction/a_failed_action_undoes_those_before",
                    test_a_failed_action_undoes_those_before);
    g_test_add_func("/transaction/bad_transactions_are_refused", test_bad_transactions_are_refused);
    g_test_add_func("/transaction/grouped_jobs_end_together", test_grouped_jobs_end_together);
    g_test_add_func("/transaction/a_cancelled_job_takes_its_group_with_it",
                    test_a_cancelled_job_takes_its_group_with_it);
    return g_test_run();
}
