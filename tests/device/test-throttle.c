/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O limits over the command line and QMP: -drive throttling.*, block_set_io_throttle, and what
 * query-block shows. */
#include <string.h>
#include "tests/device/libqtest.h"

#define DISK "-drive driver=null-co,if=none,id=d0,%s -device virtio-blk-pci,drive=d0,id=disk0"

static void assert_limit(QTest *qts, const char *name, const char *value)
{
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-block'}");
    g_autofree char *path = g_strdup_printf("inserted.%s", name);
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 0), path), ==, value);
    json_object_put(list);
}

static void test_limits_of_a_drive_are_shown(void)
{
    QTest *qts = qtest_start(DISK, "throttling.iops-total=100,throttling.iops-total-max=200,"
                                   "bps_rd=1M,throttling.group=g");
    assert_limit(qts, "iops", "100");
    assert_limit(qts, "iops_max", "200");
    assert_limit(qts, "iops_max_length", "1");
    assert_limit(qts, "bps_rd", "1048576");
    assert_limit(qts, "bps", "0");
    assert_limit(qts, "group", "g");
    qtest_stop(qts);
}

#define SET                                                                                        \
    "{'execute': 'block_set_io_throttle', 'arguments': {'id': 'disk0', 'bps': %d, 'bps_rd': 0, "   \
    "'bps_wr': 0, 'iops': %d, 'iops_rd': %d, 'iops_wr': 0}}"

static void test_limits_are_set_and_lifted_while_it_runs(void)
{
    QTest *qts = qtest_start(DISK, "size=1M");
    json_object_put(qtest_qmp_ok(qts, SET, 4096, 10, 0));
    assert_limit(qts, "bps", "4096");
    assert_limit(qts, "iops", "10");
    assert_limit(qts, "group", "disk0");
    g_autofree char *error = qtest_qmp_error(qts, SET, 0, 1, 1);
    g_assert_nonnull(strstr(error, "exclude each other"));
    g_autofree char *negative = qtest_qmp_error(qts, SET, -1, 0, 0);
    g_assert_nonnull(strstr(negative, "bps"));
    assert_limit(qts, "iops", "10");
    json_object_put(qtest_qmp_ok(qts, SET, 0, 0, 0));
    assert_limit(qts, "iops", "0");
    assert_limit(qts, "group", NULL);
    qtest_stop(qts);
}

#define G0     "'path': '/objects/g0', 'property': 'limits'"
#define SET_G0 "{'execute': 'qom-set', 'arguments': {" G0 ", 'value': "

static char *limits_of_g0(QTest *qts)
{
    json_object *limits = qtest_qmp_ok(qts, "{'execute': 'qom-get', 'arguments': {" G0 "}}");
    char *text = g_strdup(json_object_to_json_string_ext(limits, JSON_C_TO_STRING_PLAIN));
    json_object_put(limits);
    return text;
}

static void test_a_group_is_an_object_and_a_filter(void)
{
    QTest *qts = qtest_start("-object throttle-group,id=g0,x-iops-total=50 "
                             "-blockdev driver=null-co,node-name=n0 "
                             "-blockdev driver=throttle,node-name=t0,throttle-group=g0,file=n0 "
                             "-device virtio-blk-pci,drive=t0,id=disk0");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'object-add', 'arguments': {'qom-type': "
                                      "'throttle-group', 'id': 'g1', 'limits': {'bps-total': "
                                      "1000}}}"));
    g_autofree char *error =
        qtest_qmp_error(qts, "{'execute': 'object-add', 'arguments': {'qom-type': "
                             "'throttle-group', 'id': 'g2', 'limits': {'bps-totl': 1}}}");
    g_assert_nonnull(strstr(error, "bps-totl"));
    g_autofree char *before = limits_of_g0(qts);
    g_assert_nonnull(strstr(before, "\"iops-total\":50,"));
    g_assert_nonnull(strstr(before, "\"bps-read-max-length\":1,"));
    g_autofree char *both = qtest_qmp_error(qts, SET_G0 "{'bps-total': 5, 'iops-read': 1}}}");
    g_autofree char *list = qtest_qmp_error(qts, SET_G0 "[1]}}");
    g_autofree char *unchanged = limits_of_g0(qts);
    g_assert_nonnull(strstr(both, "exclude each other"));
    g_assert_cmpstr(list, ==, "limits: a JSON object is expected");
    g_assert_cmpstr(unchanged, ==, before);
    json_object_put(qtest_qmp_ok(qts, SET_G0 "{'iops-total': 70, 'iops-total-max': 90}}}"));
    g_autofree char *after = limits_of_g0(qts);
    g_assert_nonnull(strstr(after, "\"iops-total\":70,\"iops-total-max\":90,"));
    qtest_stop(qts);
    qtest_assert_refused("-object throttle-group,id=g0,x-iops-total-max=5", "iops-total-max needs");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/throttle/limits_of_a_drive_are_shown", test_limits_of_a_drive_are_shown);
    g_test_add_func("/throttle/limits_are_set_and_lifted_while_it_runs",
                    test_limits_are_set_and_lifted_while_it_runs);
    g_test_add_func("/throttle/a_group_is_an_object_and_a_filter",
                    test_a_group_is_an_object_and_a_filter);
    return g_test_run();
}
