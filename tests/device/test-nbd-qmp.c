/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD server inside a machine: nbd-server-*, block-export-*, what qemu-img sees of it. */
#include <string.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

#define START                                                                                      \
    "{'execute': 'nbd-server-start', 'arguments': {'addr': {'type': 'unix', 'data': {'path': "     \
    "'%s'}}}}"

static QTest *start(char **socket)
{
    QTest *qts = qtest_start("-m 16 -blockdev driver=null-co,node-name=n0,size=1M,read-zeroes=on "
                             "-drive driver=null-co,size=2M,read-zeroes=on,if=none,id=d0 "
                             "-device virtio-blk-pci,drive=d0,id=disk0");
    *socket = g_strdup_printf("%s/nbd", qts->dir);
    return qts;
}

static int info(const char *socket, const char *name, char **out)
{
    int status;
    g_autofree char *program = g_find_program_in_path("qemu-img");
    g_autofree char *uri = g_strdup_printf("nbd+unix:///%s?socket=%s", name, socket);
    char *argv[] = { program, "info", "--output=json", uri, NULL };
    g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, out, NULL, &status,
                 NULL);
    return status;
}

static bool have_qemu_img(void)
{
    g_autofree char *program = g_find_program_in_path("qemu-img");
    if (!program) {
        g_test_skip("qemu-img is not installed");
    }
    return program != NULL;
}

static void assert_size(const char *socket, const char *name, const char *bytes)
{
    g_autofree char *out = NULL;
    g_autofree char *line = g_strdup_printf("\"virtual-size\": %s", bytes);
    g_assert_cmpint(info(socket, name, &out), ==, 0);
    g_assert_nonnull(strstr(out, line));
}

static void test_nodes_and_drives_of_a_guest_are_exported(void)
{
    g_autofree char *socket = NULL, *out = NULL;
    if (!have_qemu_img()) {
        return;
    }
    QTest *qts = start(&socket);
    json_object_put(qtest_qmp_ok(qts, START, socket));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'nbd-server-add', 'arguments': {'device': 'n0', "
                                      "'writable': true, 'name': 'a'}}"));
    json_object_put(
        qtest_qmp_ok(qts, "{'execute': 'nbd-server-add', 'arguments': {'device': 'd0'}}"));
    assert_size(socket, "a", "1048576");
    assert_size(socket, "d0", "2097152");
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-block-exports'}");
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 0), "id"), ==, "a");
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 0), "node-name"), ==, "n0");
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 1), "id"), ==, "d0");
    json_object_put(list);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'nbd-server-remove', 'arguments': {'name': 'a', "
                                      "'mode': 'hard'}}"));
    json_object *event = qtest_event(qts, "BLOCK_EXPORT_DELETED");
    g_assert_cmpstr(json_text(event, "data.id"), ==, "a");
    json_object_put(event);
    g_assert_cmpint(info(socket, "a", &out), !=, 0);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'blockdev-del', 'arguments': {'node-name': "
                                      "'n0'}}"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'nbd-server-stop'}"));
    g_assert_false(g_file_test(socket, G_FILE_TEST_EXISTS));
    qtest_stop(qts);
}

static void test_block_exports_have_ids(void)
{
    g_autofree char *socket = NULL;
    if (!have_qemu_img()) {
        return;
    }
    QTest *qts = start(&socket);
    json_object_put(qtest_qmp_ok(qts, START, socket));
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'block-export-add', 'arguments': {'type': 'nbd', "
                                 "'id': 'e0', 'node-name': 'n0', 'writable': true, 'name': 'x'}}"));
    assert_size(socket, "x", "1048576");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'block-export-del', 'arguments': {'id': 'e0', "
                                      "'mode': 'hard'}}"));
    json_object_put(qtest_event(qts, "BLOCK_EXPORT_DELETED"));
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-block-exports'}");
    g_assert_cmpuint(json_object_array_length(list), ==, 0);
    json_object_put(list);
    qtest_stop(qts); /* with the server running */
}

static void assert_error(QTest *qts, const char *command, const char *says)
{
    g_autofree char *error = qtest_qmp_error(qts, "%s", command);
    g_assert_nonnull(strstr(error, says));
}

static void test_mistakes_are_named(void)
{
    g_autofree char *socket = NULL;
    QTest *qts = start(&socket);
    assert_error(qts, "{'execute': 'nbd-server-add', 'arguments': {'device': 'n0'}}",
                 "there is no NBD server: nbd-server-start starts it");
    assert_error(qts, "{'execute': 'nbd-server-stop'}",
                 "there is no NBD server: nbd-server-start starts it");
    assert_error(qts, "{'execute': 'nbd-server-start', 'arguments': {'addr': 5}}", "addr");
    assert_error(qts, "{'execute': 'nbd-server-start', 'arguments': {'addr': {'type': 'fd'}}}",
                 "addr.data.str");
    assert_error(qts,
                 "{'execute': 'nbd-server-start', 'arguments': {'addr': {'type': 'unix', 'data': "
                 "{'path': '/nowhere/at/all'}}}}",
                 "/nowhere/at/all");
    json_object_put(qtest_qmp_ok(qts, START, socket));
    g_autofree char *again = qtest_qmp_error(qts, START, socket);
    g_assert_nonnull(strstr(again, "an NBD server already"));
    assert_error(qts, "{'execute': 'nbd-server-add', 'arguments': {'device': 'none'}}", "none");
    assert_error(qts,
                 "{'execute': 'nbd-server-add', 'arguments': {'device': 'd0', 'writable': true}}",
                 "in use by device");
    assert_error(qts, "{'execute': 'nbd-server-remove', 'arguments': {'name': 'x'}}",
                 "the NBD server has no export 'x'");
    assert_error(qts, "{'execute': 'block-export-del', 'arguments': {'id': 'x'}}",
                 "there is no export 'x'");
    json_object_put(
        qtest_qmp_ok(qts, "{'execute': 'nbd-server-add', 'arguments': {'device': 'n0'}}"));
    assert_error(qts, "{'execute': 'nbd-server-add', 'arguments': {'device': 'n0'}}",
                 "an export 'n0' already");
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nbd-qmp/nodes_and_drives_of_a_guest_are_exported",
                    test_nodes_and_drives_of_a_guest_are_exported);
    g_test_add_func("/nbd-qmp/block_exports_have_ids", test_block_exports_have_ids);
    g_test_add_func("/nbd-qmp/mistakes_are_named", test_mistakes_are_named);
    return g_test_run();
}
