/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a QMP client may send as JSON, in any pieces, and what is refused, with what is answered
 * next. */
#include <string.h>
#include "tests/device/qmp-client.h"

#define REQUEST(MORE) "{'execute': 'query-name'" MORE "}"

static void test_faults_are_named(void)
{
    static const struct {
        const char *input, *error;
    } cases[] = {
        { REQUEST(", 'id': NaN"), "'NaN' is no value" },
        { REQUEST(", 'id': TRUE"), "'TRUE' is no value" },
        { REQUEST(", 'id': 01"), "'01' is no value" },
        { REQUEST(", 'id': 1e"), "'1e' is no value" },
        { REQUEST(", 'id': 1."), "'1.' is no value" },
        { REQUEST(", 'id': -"), "'-' is no value" },
        { REQUEST(", 'id': 1e999"), "the number 1e999 is too large" },
        { REQUEST(", 'id': 1 2"), "'2' does not belong here" },
        { REQUEST(", 'id': 'a' 'b'"), "the string 'b' does not belong here" },
        { REQUEST(","), "'}' does not belong here" },
        { REQUEST(", 'id': [1,]"), "']' does not belong here" },
        { REQUEST(", 'id': [}"), "'}' does not belong here" },
        { REQUEST(", 5: 1"), "'5' does not belong here" },
        { REQUEST(" 'id': 1"), "the string 'id' does not belong here" },
        { REQUEST(", 'id': {[]}"), "'[' does not belong here" },
        { REQUEST(", 'execute': 'stop'"), "the name 'execute' comes twice in an object" },
        { REQUEST(", 'id': {'a': 1, 'b': 2, 'a': 3}"), "the name 'a' comes twice" },
        { REQUEST(", 'id': 'a\tb'"), "control byte 0x09; write it as \\u0009" },
        { REQUEST(", 'id': '\\x41'"), "'\\' before 0x78" },
        { REQUEST(", 'id': '\\u12g4'"), "four hexadecimal digits" },
        { REQUEST(", 'id': '\\ud800'"), "\\ud800 is half of a surrogate pair" },
        { REQUEST(", 'id': '\\ud800\\u0041'"), "\\ud800 is half of a surrogate pair" },
        { REQUEST(", 'id': '\\ud800\\n'"), "\\ud800 is half of a surrogate pair" },
        { REQUEST(", 'id': '\\udc00x'"), "\\udc00 is half of a surrogate pair" },
        { REQUEST(", 'id': '\xed\xa0\x80'"), "'\\xed\\xa0\\x80' is not UTF-8" },
        { REQUEST(", 'id': '\xf5\x80\x80\x80'"), "is not UTF-8" },
        { REQUEST(", 'id': 'cut\xc3'"), "'cut\\xc3' is not UTF-8" },
        { REQUEST(", 'id': '\xff'"), "the byte 0xff" },
        { "\xff", "the byte 0xff does not belong here" },
        { "\f", "the byte 0x0c does not belong here" },
        { "]", "']' does not belong here" },
        { "frob ", "'frob' is no value" },
    };
    char *path;
    QTest *qts = qmp_start_with_second(&path, "");
    QmpClient client = qmp_client_ready(path);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        /* No newline between: the next request is found by the brackets, or behind a byte 0xff. */
        const char *rest = strstr(cases[i].input, "'\xff'") ? "}\n" : "";
        qmp_client_send(&client, cases[i].input);
        qmp_client_send(&client, rest);
        qmp_client_expect_error(&client, "GenericError", cases[i].error);
        if (*rest) { /* what was behind the byte is looked at again */
            qmp_client_expect_error(&client, "GenericError", "control byte 0x0a");
        }
        qmp_client_send(&client, "{'execute': 'query-status', 'id': 'next'}");
        qmp_client_expect(&client, "id", "next");
    }
    json_object *status = qtest_qmp_ok(qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "running"); /* no 'stop' was run */
    json_object_put(status);
    qmp_client_close(&client);
    qtest_stop(qts);
    qmp_remove_second(path);
}

static void test_values_come_back(void)
{
    static const struct {
        const char *sent, *back;
    } cases[] = {
        { "'\\ud83d\\ude00'", "\"\xf0\x9f\x98\x80\"" },
        { "'\xc3\xa9\xe2\x82\xac'", "\"\xc3\xa9\xe2\x82\xac\"" },
        { "'a\\u0000b'", "\"a\\u0000b\"" },
        { "'it\\'s \\\"it\\\" \\\\ \\/ \\b\\f\\n\\r\\t'",
          "\"it's \\\"it\\\" \\\\ / \\b\\f\\n\\r\\t\"" },
        { "'\\u007f\\u001f'", "\"\\u007f\\u001f\"" },
        { "18446744073709551615", "18446744073709551615" },
        { "-9223372036854775808", "-9223372036854775808" },
        { "99999999999999999999999", "9.9999999999999992e+22" },
        { "-0.5e1", "-5.0" },
        { "null", "null" },
        { "[true, false, {}, [], {'a': {'b': [[]]}}]",
          "[true, false, {}, [], {\"a\": {\"b\": [[]]}}]" },
    };
    char *path;
    QTest *qts = qmp_start_with_second(&path, "");
    QmpClient client = qmp_client_ready(path);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        /* In one piece, then byte by byte. */
        g_autofree char *request = g_strdup_printf(REQUEST(", 'id': %s"), cases[i].sent);
        g_autofree char *expected =
            g_strdup_printf("{\"return\": {}, \"id\": %s}\r", cases[i].back);
        for (int slowly = 0; slowly < 2; slowly++) {
            for (size_t at = 0; slowly && at < strlen(request) - 1; at++) {
                qmp_client_send_bytes(&client, request + at, 1);
                g_usleep(100);
            }
            qmp_client_send(&client, slowly ? "}" : request);
            g_autofree char *line = qmp_client_read_line(&client);
            g_assert_cmpstr(line, ==, expected);
        }
    }
    qmp_client_close(&client);
    qtest_stop(qts);
    qmp_remove_second(path);
}

/* An error is answered where its turn is. */
static void test_answers_stay_in_order(void)
{
    char *path;
    QTest *qts = qmp_start_with_second(&path, "");
    QmpClient client = qmp_client_ready(path);
    for (int round = 0; round < 20; round++) {
        qmp_client_send(&client, "{'execute': 'query-commands', 'id': 1} ]"
                                 "{'execute': 'query-name', 'id': 2}{]"
                                 "{'execute': 'query-name', 'id': 3}\n");
        qmp_client_expect(&client, "id", "1");
        qmp_client_expect_error(&client, "GenericError", "']'");
        qmp_client_expect(&client, "id", "2");
        qmp_client_expect_error(&client, "GenericError", "']'");
        qmp_client_expect(&client, "id", "3");
    }
    qmp_client_close(&client);
    qtest_stop(qts);
    qmp_remove_second(path);
}

static void test_depth(void)
{
    char *path;
    QTest *qts = qmp_start_with_second(&path, "");
    QmpClient client = qmp_client_ready(path);
    for (unsigned depth = 1023; depth <= 1024; depth++) { /* and one for the request */
        g_autoptr(GString) request = g_string_new("{'execute': 'query-name', 'id': ");
        for (unsigned i = 0; i < depth; i++) {
            g_string_append_c(request, '[');
        }
        for (unsigned i = 0; i < depth; i++) {
            g_string_append_c(request, ']');
        }
        g_string_append(request, "}");
        qmp_client_send(&client, request->str);
        if (depth == 1023) {
            g_autofree char *line = qmp_client_read_line(&client);
            g_assert_true(g_str_has_prefix(line, "{\"return\": {}, \"id\": [[["));
        } else {
            qmp_client_expect_error(&client, "GenericError", "at most 1024 levels");
        }
    }
    qmp_client_send(&client, REQUEST(", 'id': 'next'"));
    qmp_client_expect(&client, "id", "next");
    /* Commands that look into such values do not run out of stack. */
    g_autoptr(GString) node = g_string_new("{'execute': 'blockdev-add', 'arguments': ");
    for (unsigned i = 0; i < 1000; i++) {
        g_string_append(node, "{'driver': 'raw', 'file': ");
    }
    g_string_append(node, "1");
    for (unsigned i = 0; i < 1001; i++) {
        g_string_append_c(node, '}');
    }
    qmp_client_send(&client, node->str);
    qmp_client_expect(&client, "error.class", "GenericError");
    qmp_client_close(&client);
    qtest_stop(qts);
    qmp_remove_second(path);
}

/* Names from the host that are no text do not make answers that are no JSON. */
static void test_answers_are_utf8(void)
{
    QTest *qts = qtest_start("-m 16 -name caf\xe9");
    json_object *name = qtest_qmp(qts, "{'execute': 'query-name'}");
    const char *text = json_text(name, "return.name");
    g_assert_true(g_utf8_validate(text, -1, NULL));
    json_object_put(name);
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp-json/faults-are-named", test_faults_are_named);
    g_test_add_func("/qmp-json/values-come-back", test_values_come_back);
    g_test_add_func("/qmp-json/answers-stay-in-order", test_answers_stay_in_order);
    g_test_add_func("/qmp-json/depth", test_depth);
    g_test_add_func("/qmp-json/answers-are-utf8", test_answers_are_utf8);
    return g_test_run();
}
