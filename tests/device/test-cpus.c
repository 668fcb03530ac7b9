/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs and CPU models as QMP tells them. */
#include <string.h>
#include "tests/device/libqtest.h"

static json_object *find_named(json_object *list, const char *name)
{
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        if (g_strcmp0(json_text(item, "name"), name) == 0) {
            return item;
        }
    }
    return NULL;
}

static void test_definitions(void)
{
    QTest *qts = qtest_start("-m 32");
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-cpu-definitions'}");
    json_object *alias = find_named(list, "Haswell-noTSX");

    g_assert_cmpuint(json_object_array_length(list), >, 130);
    g_assert_nonnull(alias);
    g_assert_cmpstr(json_text(alias, "alias-of"), ==, "Haswell-v2");
    g_assert_cmpstr(json_text(alias, "typename"), ==, "Haswell-noTSX-x86_64-cpu");
    g_assert_nonnull(find_named(list, "host"));
    g_assert_nonnull(find_named(list, "SapphireRapids"));
    json_object_put(list);
    qtest_stop(qts);
}

static void test_expansion(void)
{
    QTest *qts = qtest_start("-m 32");
    json_object *full = qtest_qmp_ok(
        qts, "{'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'full', 'model': "
             "{'name': 'EPYC', 'props': {'aes': false, 'stepping': 7, 'hv-relaxed': true}}}}");
    json_object *base = qtest_qmp_ok(
        qts, "{'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'static', 'model': "
             "{'name': 'kvm64'}}}");

    g_assert_cmpstr(json_text(full, "model.name"), ==, "EPYC");
    g_assert_cmpstr(json_text(full, "model.props.model-id"), ==, "AMD EPYC Processor");
    g_assert_cmpint(json_object_get_int(json_at(full, "model.props.family")), ==, 23);
    g_assert_cmpint(json_object_get_int(json_at(full, "model.props.stepping")), ==, 7);
    g_assert_false(json_object_get_boolean(json_at(full, "model.props.aes")));
    g_assert_true(json_object_get_boolean(json_at(full, "model.props.avx2")));
    g_assert_true(json_object_get_boolean(json_at(full, "model.props.hv-relaxed")));
    g_assert_cmpstr(json_text(base, "model.name"), ==, "base");
    g_assert_true(json_object_get_boolean(json_at(base, "model.props.lm")));
    json_object_put(full);
    json_object_put(base);
    qtest_stop(qts);
}

static void test_bad_expansion(void)
{
    QTest *qts = qtest_start("-m 32");
    g_autofree char *model = qtest_qmp_error(
        qts, "{'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'full', 'model': "
             "{'name': 'Haswall'}}}");
    g_autofree char *prop = qtest_qmp_error(
        qts, "{'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'full', 'model': "
             "{'name': 'EPYC', 'props': {'avx3': true}}}}");
    g_autofree char *kind = qtest_qmp_error(
        qts, "{'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'full', 'model': "
             "{'name': 'EPYC', 'props': [1]}}}");

    g_assert_cmpstr(model, ==, "there is no CPU model 'Haswall'; did you mean 'Haswell'?");
    g_assert_nonnull(strstr(prop, "unknown feature 'avx3'"));
    g_assert_nonnull(strstr(kind, "of type object"));
    qtest_stop(qts);
}

static void test_places(void)
{
    QTest *qts = qtest_start("-m 32 -cpu EPYC -smp 2,sockets=2,cores=2,threads=2,maxcpus=8");
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-hotpluggable-cpus'}");
    json_object *last = json_object_array_get_idx(list, 0);
    json_object *first = json_object_array_get_idx(list, 7);

    g_assert_cmpuint(json_object_array_length(list), ==, 8);
    g_assert_cmpstr(json_text(last, "type"), ==, "EPYC-x86_64-cpu");
    g_assert_cmpint(json_object_get_int(json_at(last, "props.socket-id")), ==, 1);
    g_assert_cmpint(json_object_get_int(json_at(last, "props.core-id")), ==, 1);
    g_assert_cmpint(json_object_get_int(json_at(last, "props.thread-id")), ==, 1);
    g_assert_null(json_at(last, "props.die-id")); /* each socket is one die */
    g_assert_null(json_at(last, "qom-path"));
    g_assert_nonnull(json_at(first, "qom-path"));
    json_object_put(list);
    list = qtest_qmp_ok(qts, "{'execute': 'query-cpus-fast'}");
    g_assert_cmpuint(json_object_array_length(list), ==, 2);
    json_object_put(list);
    qtest_stop(qts);
    qts = qtest_start("-m 32 -smp 1,dies=2,maxcpus=2");
    g_autofree char *text = qtest_hmp(qts, "info hotpluggable-cpus");
    list = qtest_qmp_ok(qts, "{'execute': 'query-hotpluggable-cpus'}");
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 0), "props.die-id"), ==, "1");
    g_assert_nonnull(strstr(text, "die-id: \"1\""));
    json_object_put(list);
    qtest_stop(qts);
}

static void test_refused(void)
{
    qtest_assert_refused("-cpu EPIC", "did you mean 'EPYC'?");
    qtest_assert_refused("-cpu EPYC,vendor=me", "expected 12 characters");
    qtest_assert_refused("-cpu EPYC,+avx3", "unknown feature 'avx3'");
    qtest_assert_refused("-cpu EPYC,hv-evmcs", "known from QEMU but not supported");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpus/definitions-are-listed", test_definitions);
    g_test_add_func("/cpus/a-model-expands-with-changes", test_expansion);
    g_test_add_func("/cpus/bad-expansions-are-named", test_bad_expansion);
    g_test_add_func("/cpus/places-are-listed-last-first", test_places);
    g_test_add_func("/cpus/bad-models-are-refused", test_refused);
    return g_test_run();
}
