/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making images and nodes, and changing nodes that are open: blockdev-create, -add, -reopen, -del,
 * block_resize; judged by qemu-img. */
#include <string.h>
#include <sys/stat.h>
#include "tests/device/block-kit.h"

static bool open_machine(BlockStage *s, const char *arguments)
{
    if (!block_stage_open(s)) {
        return false;
    }
    s->qts = qtest_start("%s", arguments);
    return true;
}

static void close_machine(BlockStage *s)
{
    qtest_stop(s->qts);
    block_stage_close(s);
}

static void add_file(BlockStage *s, const char *node, const char *file)
{
    json_object_put(qtest_qmp_ok(s->qts,
                                 "{'execute': 'blockdev-add', 'arguments': {'driver': 'file', "
                                 "'node-name': '%s', 'filename': '%s/%s'}}",
                                 node, s->folder, file));
}

static void delete_node(BlockStage *s, const char *node)
{
    json_object_put(qtest_qmp_ok(
        s->qts, "{'execute': 'blockdev-del', 'arguments': {'node-name': '%s'}}", node));
}

/* ---- Creating ---- */

/* Runs a job: what its error is, NULL: none; the caller frees. */
static char *create(BlockStage *s, const char *options)
{
    json_object_put(qtest_qmp_ok(s->qts,
                                 "{'execute': 'blockdev-create', 'arguments': {'job-id': 'j', "
                                 "'options': %s}}",
                                 options));
    block_wait_job(s->qts, "j", "concluded");
    json_object *list = qtest_qmp_ok(s->qts, "{'execute': 'query-jobs'}");
    json_object *job = json_object_array_get_idx(list, 0);
    g_assert_cmpstr(json_text(job, "type"), ==, "create");
    char *error = g_strdup(json_text(job, "error"));
    json_object_put(list);
    json_object_put(qtest_qmp_ok(s->qts, "{'execute': 'job-dismiss', 'arguments': {'id': 'j'}}"));
    return error;
}

static void create_ok(BlockStage *s, const char *options)
{
    g_autofree char *error = create(s, options);
    g_assert_cmpstr(error, ==, NULL);
}

static void create_file(BlockStage *s, const char *name, const char *more)
{
    g_autofree char *options =
        g_strdup_printf("{'driver': 'file', 'filename': '%s/%s', %s}", s->folder, name, more);
    create_ok(s, options);
}

static json_object *info_of(BlockStage *s, const char *image)
{
    g_autofree char *text = NULL;
    g_assert_cmpint(block_img(s, &text, "info -U --output=json %s", image), ==, 0);
    json_object *info = json_tokener_parse(text);
    g_assert_nonnull(info);
    return info;
}

static void test_files_and_raw_images_are_made(void)
{
    BlockStage s;
    if (!open_machine(&s, "")) {
        return;
    }
    create_file(&s, "plain", "'size': 1048577");
    g_autofree char *path = block_path(&s, "plain");
    g_autofree char *content = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &content, &length, NULL));
    g_assert_cmpuint(length, ==, 1048577);
    create_file(&s, "full", "'size': 2097152, 'preallocation': 'full'");
    json_object *info = info_of(&s, "full");
    g_assert_cmpint(json_object_get_int64(json_at(info, "actual-size")), >=, 2097152);
    json_object_put(info);
    add_file(&s, "f", "plain");
    create_ok(&s, "{'driver': 'raw', 'file': 'f', 'size': 3145728, 'preallocation': 'falloc'}");
    info = info_of(&s, "plain");
    g_assert_cmpstr(json_text(info, "virtual-size"), ==, "3145728");
    g_assert_cmpint(json_object_get_int64(json_at(info, "actual-size")), >=, 3145728);
    json_object_put(info);
    close_machine(&s);
}

static void test_a_qcow2_image_is_made_with_all_its_options(void)
{
    BlockStage s;
    if (!open_machine(&s, "")) {
        return;
    }
    create_file(&s, "base", "'size': 4194304");
    create_file(&s, "image", "'size': 0");
    add_file(&s, "f", "image");
    create_ok(&s, "{'driver': 'qcow2', 'file': 'f', 'size': 4194304, 'version': 'v3', "
                  "'cluster-size': 32768, 'refcount-bits': 32, 'lazy-refcounts': true, "
                  "'extended-l2': true, 'compression-type': 'zlib', 'backing-file': 'base', "
                  "'backing-fmt': 'raw'}");
    json_object *info = info_of(&s, "image");
    g_assert_cmpstr(json_text(info, "cluster-size"), ==, "32768");
    g_assert_cmpstr(json_text(info, "backing-filename"), ==, "base");
    g_assert_cmpstr(json_text(info, "backing-filename-format"), ==, "raw");
    g_assert_cmpstr(json_text(info, "format-specific.data.refcount-bits"), ==, "32");
    g_assert_cmpstr(json_text(info, "format-specific.data.extended-l2"), ==, "true");
    g_assert_cmpstr(json_text(info, "format-specific.data.lazy-refcounts"), ==, "true");
    json_object_put(info);
    /* Over what is there. */
    create_ok(&s, "{'driver': 'qcow2', 'file': 'f', 'size': 1048576, 'version': 'v2', "
                  "'preallocation': 'metadata'}");
    info = info_of(&s, "image");
    g_assert_cmpstr(json_text(info, "format-specific.data.compat"), ==, "0.10");
    json_object_put(info);
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'blockdev-add', 'arguments': {'driver': "
                                        "'qcow2', 'node-name': 'q', 'file': 'f', 'backing': "
                                        "null}}"));
    delete_node(&s, "q");
    delete_node(&s, "f");
    qtest_stop(s.qts);
    g_assert_cmpint(block_img(&s, NULL, "check -q image"), ==, 0);
    block_stage_close(&s);
}

/* ---- The monitor while an image is made ---- */

static void expect_job(BlockStage *s, const char *status)
{
    json_object *list = qtest_qmp_ok(s->qts, "{'execute': 'query-jobs'}");
    g_assert_cmpuint(json_object_array_length(list), ==, 1);
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 0), "status"), ==, status);
    json_object_put(list);
}

static void steer_job(BlockStage *s, const char *command)
{
    json_object_put(qtest_qmp_ok(s->qts, "{'execute': '%s', 'arguments': {'id': 'j'}}", command));
}

/* Each write takes two seconds: the job would need many of them. */
static void add_slow_file(BlockStage *s, const char *node, const char *file)
{
    json_object_put(qtest_qmp_ok(
        s->qts,
        "{'execute': 'blockdev-add', 'arguments': {'driver': 'blkdebug', 'node-name': '%s', "
        "'image': {'driver': 'file', 'filename': '%s/%s'}, 'inject-error': [{'event': "
        "'write_aio', 'errno': 0, 'delay-ns': 2000000000}]}}",
        node, s->folder, file));
}

static void test_the_monitor_goes_on_while_an_image_is_made(void)
{
    BlockStage s;
    if (!open_machine(&s, "")) {
        return;
    }
    create_file(&s, "image", "'size': 0");
    add_slow_file(&s, "f", "image");
    json_object_put(qtest_qmp_ok(
        s.qts, "{'execute': 'blockdev-create', 'arguments': {'job-id': 'j', 'options': "
               "{'driver': 'qcow2', 'file': 'f', 'size': 8388608, 'preallocation': 'metadata', "
               "'cluster-size': 512}}}"));
    expect_job(&s, "running");
    g_autofree char *busy = qtest_qmp_error(
        s.qts, "{'execute': 'blockdev-create', 'arguments': {'job-id': 'k', 'options': "
               "{'driver': 'qcow2', 'file': 'f', 'size': 65536}}}");
    g_assert_nonnull(strstr(busy, "create"));
    g_autofree char *used =
        qtest_qmp_error(s.qts, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'f'}}");
    g_assert_nonnull(strstr(used, "in use"));
    steer_job(&s, "job-pause");
    block_wait_job(s.qts, "j", "paused");
    steer_job(&s, "job-resume");
    steer_job(&s, "job-cancel");
    block_wait_job(s.qts, "j", "concluded");
    steer_job(&s, "job-dismiss");
    delete_node(&s, "f");
    /* What was not finished is no image. */
    add_file(&s, "f", "image");
    g_autofree char *none =
        qtest_qmp_error(s.qts, "{'execute': 'blockdev-add', 'arguments': {'driver': 'qcow2', "
                               "'node-name': 'q', 'file': 'f'}}");
    g_assert_nonnull(strstr(none, "it is not a qcow2 image"));
    delete_node(&s, "f");
    qtest_stop(s.qts);
    block_stage_close(&s);
}

static void test_space_is_taken_by_the_job(void)
{
    static const char *const modes[] = { "falloc", "full" };
    BlockStage s;
    if (!open_machine(&s, "")) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        g_autofree char *plain =
            g_strdup_printf("'size': 3000001, 'preallocation': '%s'", modes[i]);
        g_autofree char *qcow2 =
            g_strdup_printf("{'driver': 'qcow2', 'file': 'f', 'size': 40000000, "
                            "'preallocation': '%s'}",
                            modes[i]);
        g_autofree char *plain_path = block_path(&s, "plain");
        g_autofree char *image_path = block_path(&s, "image");
        struct stat st;
        create_file(&s, "plain", plain);
        g_assert_cmpint(stat(plain_path, &st), ==, 0);
        g_assert_cmpint(st.st_size, ==, 3000001);
        g_assert_cmpint(st.st_blocks, >=, 3000000 / 512);
        create_file(&s, "image", "'size': 0");
        add_file(&s, "f", "image");
        create_ok(&s, qcow2);
        delete_node(&s, "f");
        g_assert_cmpint(stat(image_path, &st), ==, 0);
        g_assert_cmpint(st.st_blocks, >=, 40000000 / 512);
        g_assert_cmpint(block_img(&s, NULL, "check -q image"), ==, 0);
    }
    qtest_stop(s.qts);
    block_stage_close(&s);
}

static void assert_not_created(BlockStage *s, const char *options, const char *says)
{
    g_autofree char *error = qtest_qmp_error(
        s->qts, "{'execute': 'blockdev-create', 'arguments': {'job-id': 'j', 'options': %s}}",
        options);
    g_assert_cmpstr(error, ==, says);
    block_wait_job(s->qts, "j", NULL);
}

static void test_what_cannot_be_made_says_why(void)
{
    BlockStage s;
    if (!open_machine(&s, "")) {
        return;
    }
    create_file(&s, "image", "'size': 0");
    add_file(&s, "f", "image");
    g_autofree char *cluster =
        create(&s, "{'driver': 'qcow2', 'file': 'f', 'size': 65536, 'cluster-size': 3}");
    g_assert_cmpstr(cluster, ==, "cluster_size: a power of two from 512 bytes to 2 MiB");
    g_autofree char *missing =
        create(&s, "{'driver': 'file', 'filename': '/nonexistent/folder/x', 'size': 512}");
    g_assert_nonnull(strstr(missing, "No such file or directory"));
    assert_not_created(&s, "{'driver': 'nbd', 'size': 512}",
                       "images of this driver cannot be created");
    assert_not_created(&s, "{'driver': 'qcow2', 'file': 'f'}", "Parameter 'size' is missing");
    assert_not_created(&s, "{'driver': 'qcow2', 'size': 512}", "Parameter 'file' is missing");
    assert_not_created(&s, "{'driver': 'qcow2', 'file': 'g', 'size': 512}",
                       "there is no node 'g' (query-named-block-nodes lists them)");
    assert_not_created(&s, "{'driver': 'qcow2', 'file': 'f', 'size': 512, 'colour': 1}",
                       "Parameter 'options.colour' is unexpected");
    close_machine(&s);
}

/* ---- Trees, and their end ---- */

static void test_trees_of_nodes_are_added_and_deleted(void)
{
    BlockStage s;
    if (!open_machine(&s, "-device virtio-blk-pci,drive=n,id=d -blockdev null-co,node-name=n")) {
        return;
    }
    g_assert_cmpint(block_img(&s, NULL, "create -q -f qcow2 base 1M"), ==, 0);
    g_assert_cmpint(block_img(&s, NULL, "create -q -f qcow2 -b base -F qcow2 top"), ==, 0);
    add_file(&s, "bf", "base");
    json_object_put(qtest_qmp_ok(s.qts,
                                 "{'execute': 'blockdev-add', 'arguments': {'driver': 'qcow2', "
                                 "'node-name': 'top', 'file': {'driver': 'file', 'filename': "
                                 "'%s/top', 'node-name': 'tf'}, 'backing': {'driver': 'qcow2', "
                                 "'node-name': 'base', 'file': 'bf', 'read-only': true}}}",
                                 s.folder));
    static const struct {
        const char *node, *says;
    } kept[] = {
        { "bf", "Node bf is in use" },
        { "base",
          "node base was not made by -blockdev or blockdev-add: it goes with what made it" },
        { "tf", "node tf was not made by -blockdev or blockdev-add: it goes with what made it" },
        { "n", "Node n is in use" },
        { "none", "there is no node 'none' (query-named-block-nodes lists them)" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(kept); i++) {
        g_autofree char *error = qtest_qmp_error(
            s.qts, "{'execute': 'blockdev-del', 'arguments': {'node-name': '%s'}}", kept[i].node);
        g_assert_cmpstr(error, ==, kept[i].says);
    }
    delete_node(&s, "top");
    delete_node(&s, "bf");
    close_machine(&s);
}

/* ---- Reopening ---- */

static json_object *node_of(json_object *list, const char *name)
{
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *node = json_object_array_get_idx(list, i);
        if (!g_strcmp0(json_text(node, "node-name"), name)) {
            return node;
        }
    }
    g_error("no node '%s'", name);
}

static void assert_node(BlockStage *s, const char *name, const char *path, const char *value)
{
    json_object *list = qtest_qmp_ok(s->qts, "{'execute': 'query-named-block-nodes'}");
    g_assert_cmpstr(json_text(node_of(list, name), path), ==, value);
    json_object_put(list);
}

static void reopen(BlockStage *s, const char *options)
{
    json_object_put(qtest_qmp_ok(
        s->qts, "{'execute': 'blockdev-reopen', 'arguments': {'options': [%s]}}", options));
}

static void assert_not_reopened(BlockStage *s, const char *options, const char *says)
{
    g_autofree char *error = qtest_qmp_error(
        s->qts, "{'execute': 'blockdev-reopen', 'arguments': {'options': [%s]}}", options);
    g_assert_cmpstr(error, ==, says);
}

#define Q "'driver': 'qcow2', 'node-name': 'q', 'file': 'f'"

static bool open_overlay(BlockStage *s)
{
    if (!block_stage_open(s)) {
        return false;
    }
    g_assert_cmpint(block_img(s, NULL, "create -q -f qcow2 image 1M"), ==, 0);
    g_assert_cmpint(block_img(s, NULL, "create -q -f raw base 1M"), ==, 0);
    s->qts = qtest_start("-blockdev driver=file,node-name=f,filename=%s/image "
                         "-blockdev driver=qcow2,node-name=q,file=f,l2-cache-size=1M "
                         "-blockdev driver=raw,node-name=b,read-only=on,file.driver=file,"
                         "file.filename=%s/base "
                         "-blockdev null-co,node-name=n,size=1M "
                         "-device virtio-blk-pci,drive=n,id=d",
                         s->folder, s->folder);
    return true;
}

static void test_options_change_while_a_node_is_open(void)
{
    BlockStage s;
    if (!open_overlay(&s)) {
        return;
    }
    reopen(&s, "{" Q ", 'l2-cache-size': 1048576, 'read-only': true}");
    assert_node(&s, "q", "ro", "true");
    assert_node(&s, "f", "ro", "true");
    reopen(&s, "{" Q ", 'l2-cache-size': 1048576, 'discard': 'unmap', 'detect-zeroes': 'unmap', "
               "'cache': {'no-flush': true}}");
    assert_node(&s, "q", "ro", "false");
    assert_node(&s, "q", "detect_zeroes", "unmap");
    assert_node(&s, "q", "cache.no-flush", "true");
    reopen(&s, "{" Q ", 'l2-cache-size': 1048576, 'backing': 'b'}");
    assert_node(&s, "q", "backing_file_depth", "1");
    assert_node(&s, "q", "detect_zeroes", "off");
    assert_node(&s, "q", "cache.no-flush", "false");
    assert_not_reopened(&s, "{" Q ", 'l2-cache-size': 1048576}",
                        "'backing' of node 'q' is missing: name the node below, or null");
    reopen(&s, "{" Q ", 'l2-cache-size': 1048576, 'backing': null}");
    assert_node(&s, "q", "backing_file_depth", "0");
    close_machine(&s);
}

static void test_what_cannot_change_says_so(void)
{
    BlockStage s;
    if (!open_overlay(&s)) {
        return;
    }
    assert_not_reopened(&s, "{" Q "}", "'l2-cache-size' of an open node stays as it is");
    assert_not_reopened(&s, "{" Q ", 'l2-cache-size': 4096}",
                        "'l2-cache-size' of an open node stays as it is");
    assert_not_reopened(&s, "{'driver': 'raw', 'node-name': 'q', 'file': 'f'}",
                        "'driver' of an open node stays as it is");
    assert_not_reopened(&s, "{'driver': 'qcow2', 'node-name': 'q', 'file': 'n'}",
                        "'file' of an open node stays as it is");
    assert_not_reopened(&s, "{'driver': 'file', 'node-name': 'f', 'filename': '/dev/null'}",
                        "'filename' of an open node stays as it is");
    assert_not_reopened(&s, "{'driver': 'qcow2', 'file': 'f'}",
                        "'node-name' is missing: which node shall be reopened?");
    assert_not_reopened(&s, "{'driver': 'qcow2', 'node-name': 'z'}",
                        "there is no node 'z' (query-named-block-nodes lists them)");
    close_machine(&s);
}

static void test_a_list_is_reopened_whole_or_not_at_all(void)
{
    BlockStage s;
    if (!open_overlay(&s)) {
        return;
    }
    assert_not_reopened(&s,
                        "{" Q ", 'l2-cache-size': 1048576, 'read-only': true, 'backing': 'b'},"
                        "{'driver': 'null-co', 'node-name': 'n', 'size': 1048576, "
                        "'read-only': true}",
                        "node 'n' cannot become read-only: somebody writes to it");
    assert_node(&s, "q", "ro", "false");
    assert_node(&s, "f", "ro", "false");
    assert_node(&s, "n", "ro", "false");
    assert_node(&s, "q", "backing_file_depth", "0");
    close_machine(&s);
}

/* Writes through the page cache and around it, in turn. */
static void test_o_direct_comes_and_goes_under_a_guest(void)
{
    BlockStage s;
    BlockDisk disk;
    if (!block_stage_open(&s)) {
        return;
    }
    g_assert_cmpint(block_img(&s, NULL, "create -q -f raw image 1M"), ==, 0);
    s.qts = qtest_start("-blockdev driver=file,node-name=f,filename=%s/image "
                        "-blockdev driver=raw,node-name=r,file=f "
                        "-device virtio-blk-pci,drive=r,id=d",
                        s.folder);
    block_disk_open(&disk, s.qts, 0);
    for (unsigned i = 0; i < 6; i++) {
        json_object *answer =
            qtest_qmp(s.qts,
                      "{'execute': 'blockdev-reopen', 'arguments': {'options': [{'driver': 'file', "
                      "'node-name': 'f', 'filename': '%s/image', 'cache': {'direct': %s}}]}}",
                      s.folder, i % 2 ? "false" : "true");
        bool refused = json_at(answer, "error");
        json_object_put(answer);
        if (refused) {
            g_test_skip("no O_DIRECT here");
            break;
        }
        assert_node(&s, "f", "cache.direct", i % 2 ? "false" : "true");
        g_assert_cmpuint(block_disk_write(&disk, 3, i + 100), ==, 0);
        g_assert_cmpuint(block_disk_read(&disk, 3), ==, i + 100);
    }
    block_disk_close(&disk);
    close_machine(&s);
}

/* ---- Sizes ---- */

static void test_a_qcow2_node_is_resized_under_its_guest(void)
{
    BlockStage s;
    BlockDisk disk;
    if (!block_stage_open(&s)) {
        return;
    }
    g_assert_cmpint(block_img(&s, NULL, "create -q -f qcow2 image 1M"), ==, 0);
    s.qts =
        qtest_start("-blockdev driver=qcow2,node-name=q,file.driver=file,file.filename=%s/image "
                    "-device virtio-blk-pci,drive=q,id=d",
                    s.folder);
    block_disk_open(&disk, s.qts, 0);
    g_assert_cmpuint(block_disk_write(&disk, 8191, 7), !=, 0);
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'block_resize', 'arguments': {'node-name': "
                                        "'q', 'size': 4194304}}"));
    g_assert_cmpuint(qvirtio_config(disk.dev, 0, 8), ==, 8192);
    g_assert_cmpuint(block_disk_write(&disk, 8191, 7), ==, 0);
    static const struct {
        const char *arguments, *says;
    } bad[] = {
        { "'node-name': 'none', 'size': 512",
          "there is no node 'none' (query-named-block-nodes lists them)" },
        { "'node-name': 'q', 'size': -5", "Parameter 'size' expects a >0 size" },
        { "'node-name': 'q', 'size': 1000", "a disk's size is a multiple of 512 bytes" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *error = qtest_qmp_error(
            s.qts, "{'execute': 'block_resize', 'arguments': {%s}}", bad[i].arguments);
        g_assert_cmpstr(error, ==, bad[i].says);
    }
    block_disk_close(&disk);
    qtest_stop(s.qts);
    g_assert_cmpint(block_img(&s, NULL, "check -q image"), ==, 0);
    json_object *info = info_of(&s, "image");
    g_assert_cmpstr(json_text(info, "virtual-size"), ==, "4194304");
    json_object_put(info);
    block_stage_close(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block-nodes/files_and_raw_images_are_made",
                    test_files_and_raw_images_are_made);
    g_test_add_func("/block-nodes/a_qcow2_image_is_made_with_all_its_options",
                    test_a_qcow2_image_is_made_with_all_its_options);
    g_test_add_func("/block-nodes/the_monitor_goes_on_while_an_image_is_made",
                    test_the_monitor_goes_on_while_an_image_is_made);
    g_test_add_func("/block-nodes/space_is_taken_by_the_job", test_space_is_taken_by_the_job);
    g_test_add_func("/block-nodes/what_cannot_be_made_says_why", test_what_cannot_be_made_says_why);
    g_test_add_func("/block-nodes/trees_of_nodes_are_added_and_deleted",
                    test_trees_of_nodes_are_added_and_deleted);
    g_test_add_func("/block-nodes/options_change_while_a_node_is_open",
                    test_options_change_while_a_node_is_open);
    g_test_add_func("/block-nodes/what_cannot_change_says_so", test_what_cannot_change_says_so);
    g_test_add_func("/block-nodes/a_list_is_reopened_whole_or_not_at_all",
                    test_a_list_is_reopened_whole_or_not_at_all);
    g_test_add_func("/block-nodes/o_direct_comes_and_goes_under_a_guest",
                    test_o_direct_comes_and_goes_under_a_guest);
    g_test_add_func("/block-nodes/a_qcow2_node_is_resized_under_its_guest",
                    test_a_qcow2_node_is_resized_under_its_guest);
    return g_test_run();
}
