/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-block, query-named-block-nodes, query-blockstats and the human monitor's forms of them;
 * write thresholds. */
#include <string.h>
#include "tests/device/block-kit.h"

#define CHAIN                                                                                      \
    "-drive file=%s/top.qcow2,format=qcow2,if=none,id=d0 -device virtio-blk-pci,drive=d0,id=disk0"

static bool open_chain(BlockStage *s)
{
    if (!block_stage_open(s)) {
        return false;
    }
    g_assert_cmpint(block_img(s, NULL, "create -q -f qcow2 base.qcow2 4M"), ==, 0);
    g_assert_cmpint(block_img(s, NULL, "create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2"), ==,
                    0);
    g_assert_cmpint(block_img(s, NULL, "snapshot -c one mid.qcow2"), ==, 0);
    g_assert_cmpint(block_img(s, NULL, "create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2"), ==,
                    0);
    s->qts = qtest_start(CHAIN, s->folder);
    return true;
}

static void close_chain(BlockStage *s)
{
    qtest_stop(s->qts);
    block_stage_close(s);
}

static json_object *first(json_object *list)
{
    return json_object_array_get_idx(list, 0);
}

static void test_query_block_shows_the_chain(void)
{
    BlockStage s;
    if (!open_chain(&s)) {
        return;
    }
    json_object *list = qtest_qmp_ok(s.qts, "{'execute': 'query-block'}");
    json_object *in = json_at(first(list), "inserted");
    g_assert_cmpstr(json_text(first(list), "qdev"), ==, "/machine/peripheral/disk0/virtio-backend");
    g_assert_true(g_str_has_suffix(json_text(in, "backing_file"), "mid.qcow2"));
    g_assert_cmpstr(json_text(in, "backing_file_depth"), ==, "2");
    g_assert_cmpstr(json_text(in, "image.format-specific.data.compat"), ==, "1.1");
    g_assert_cmpstr(json_text(in, "image.backing-filename"), ==, "mid.qcow2");
    g_assert_cmpstr(json_text(in, "image.backing-image.backing-image.virtual-size"), ==, "4194304");
    g_assert_null(json_at(in, "image.backing-image.backing-image.backing-image"));
    json_object *snapshots = json_at(in, "image.backing-image.snapshots");
    g_assert_cmpstr(json_text(first(snapshots), "name"), ==, "one");
    json_object_put(list);
    close_chain(&s);
}

static void test_flat_leaves_what_is_below_out(void)
{
    BlockStage s;
    if (!open_chain(&s)) {
        return;
    }
    for (int flat = 0; flat < 2; flat++) {
        unsigned below = 0;
        json_object *list =
            qtest_qmp_ok(s.qts, "{'execute': 'query-named-block-nodes', 'arguments': {'flat': %s}}",
                         flat ? "true" : "false");
        g_assert_cmpuint(json_object_array_length(list), ==, 6);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
            below += json_at(json_object_array_get_idx(list, i), "image.backing-image") != NULL;
        }
        g_assert_cmpuint(below, ==, flat ? 0 : 2);
        json_object_put(list);
    }
    close_chain(&s);
}

static void test_stats_know_how_far_was_written(void)
{
    BlockStage s;
    BlockDisk disk;
    if (!open_chain(&s)) {
        return;
    }
    block_disk_open(&disk, s.qts, 0);
    g_assert_cmpuint(block_disk_write(&disk, 100, 1), ==, 0);
    json_object *list = qtest_qmp_ok(s.qts, "{'execute': 'query-blockstats'}");
    json_object *entry = first(list);
    g_assert_cmpstr(json_text(entry, "stats.wr_operations"), ==, "1");
    g_assert_cmpstr(json_text(entry, "stats.wr_highest_offset"), ==, "51712");
    g_assert_nonnull(json_at(entry, "stats.idle_time_ns"));
    g_assert_cmpstr(json_text(entry, "parent.driver-specific.driver"), ==, "file");
    /* The cluster of the data lies behind those of the tables. */
    g_assert_cmpint(json_object_get_int64(json_at(entry, "parent.stats.wr_highest_offset")), >,
                    4 * 65536);
    g_assert_cmpstr(json_text(entry, "backing.backing.stats.wr_highest_offset"), ==, "0");
    json_object_put(list);
    list =
        qtest_qmp_ok(s.qts, "{'execute': 'query-blockstats', 'arguments': {'query-nodes': true}}");
    g_assert_cmpuint(json_object_array_length(list), ==, 6);
    g_assert_null(json_at(first(list), "device"));
    json_object_put(list);
    block_disk_close(&disk);
    close_chain(&s);
}

static void test_people_see_the_same(void)
{
    BlockStage s;
    if (!open_chain(&s)) {
        return;
    }
    g_autofree char *info = qtest_hmp(s.qts, "info block d0");
    g_assert_nonnull(strstr(info, "top.qcow2 (qcow2)\r\n    Attached to:      /machine/peripheral/"
                                  "disk0/virtio-backend\r\n    Cache mode:       writeback\r\n"));
    g_assert_nonnull(strstr(info, "mid.qcow2 (chain depth: 2)\r\n"));
    g_autofree char *nodes = qtest_hmp(s.qts, "info block -n");
    g_assert_nonnull(strstr(nodes, "base.qcow2 (file, read-only)\r\n"));
    g_autofree char *stats = qtest_hmp(s.qts, "info blockstats");
    g_assert_nonnull(strstr(stats, "d0: rd_bytes=0 wr_bytes=0"));
    close_chain(&s);
}

#define SET_THRESHOLD                                                                              \
    "{'execute': 'block-set-write-threshold', 'arguments': {'node-name': 'f', "                    \
    "'write-threshold': %d}}"

static void assert_threshold(QTest *qts, const char *value)
{
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-named-block-nodes'}");
    g_assert_cmpstr(json_text(first(list), "write_threshold"), ==, value);
    json_object_put(list);
}

static void test_a_write_behind_the_threshold_is_an_event_once(void)
{
    BlockStage s;
    BlockDisk disk;
    if (!block_stage_open(&s)) {
        return;
    }
    g_assert_cmpint(block_img(&s, NULL, "create -q -f raw disk.img 1M"), ==, 0);
    s.qts = qtest_start("-blockdev driver=file,filename=%s/disk.img,node-name=f "
                        "-blockdev driver=raw,file=f,node-name=r "
                        "-device virtio-blk-pci,drive=r,id=disk0",
                        s.folder);
    block_disk_open(&disk, s.qts, 0);
    g_assert_cmpuint(block_disk_write(&disk, 1000, 1), ==, 0);
    json_object_put(qtest_qmp_ok(s.qts, SET_THRESHOLD, 65536));
    assert_threshold(s.qts, "65536");
    g_assert_cmpuint(block_disk_write(&disk, 127, 1), ==, 0); /* up to it */
    assert_threshold(s.qts, "65536");
    g_assert_cmpuint(block_disk_write(&disk, 200, 1), ==, 0); /* lower than the highest write */
    json_object *event = qtest_event(s.qts, "BLOCK_WRITE_THRESHOLD");
    g_assert_cmpstr(json_text(event, "data.node-name"), ==, "f");
    g_assert_cmpstr(json_text(event, "data.write-threshold"), ==, "65536");
    g_assert_cmpstr(json_text(event, "data.amount-exceeded"), ==, "37376");
    json_object_put(event);
    assert_threshold(s.qts, "0");
    json_object_put(qtest_qmp_ok(s.qts, SET_THRESHOLD, 65536));
    json_object_put(qtest_qmp_ok(s.qts, SET_THRESHOLD, 0));
    g_assert_cmpuint(block_disk_write(&disk, 300, 1), ==, 0);
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'query-status'}"));
    g_assert_cmpuint(g_queue_get_length(&s.qts->events), ==, 0);
    block_disk_close(&disk);
    qtest_stop(s.qts);
    block_stage_close(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block-query/query_block_shows_the_chain", test_query_block_shows_the_chain);
    g_test_add_func("/block-query/flat_leaves_what_is_below_out",
                    test_flat_leaves_what_is_below_out);
    g_test_add_func("/block-query/stats_know_how_far_was_written",
                    test_stats_know_how_far_was_written);
    g_test_add_func("/block-query/people_see_the_same", test_people_see_the_same);
    g_test_add_func("/block-query/a_write_behind_the_threshold_is_an_event_once",
                    test_a_write_behind_the_threshold_is_an_event_once);
    return g_test_run();
}
