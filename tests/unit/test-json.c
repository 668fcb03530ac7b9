/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text that is one JSON value: what is read, what is refused, and where. */
#include "vmm/util/json.h"

#include <string.h>

static void test_values(void)
{
    static const char *const texts[][2] = {
        { "{\"a\": [1, -2, true, null]}", "{\"a\": [1, -2, true, null]}" },
        { " \t\r\n'x' \n", "\"x\"" },
        { "18446744073709551615", "18446744073709551615" },
        { "-9223372036854775808", "-9223372036854775808" },
        { "true", "true" },
        { "null", "null" },
        { "[]", "[]" },
        { "\"\\ud83d\\ude00\\u0000\"", "\"\xf0\x9f\x98\x80\\u0000\"" },
        { "{\"a\": {\"b\": 1}, \"b\": {\"a\": 1}}", "{\"a\": {\"b\": 1}, \"b\": {\"a\": 1}}" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) out = g_string_new(NULL);
        json_object *value = NULL;
        g_assert_true(json_parse(texts[i][0], &value, &error));
        g_assert_no_error(error);
        json_write(out, value, false);
        g_assert_cmpstr(out->str, ==, texts[i][1]);
        json_object_put(value);
    }
}

static void test_faults_are_named_with_their_place(void)
{
    static const char *const texts[][2] = {
        { "", "JSON: the text is empty" },
        { " \n", "JSON: the text is empty" },
        { "{", "JSON: the text ends before its value does, at byte 1" },
        { "[1", "JSON: the text ends before its value does, at byte 2" },
        { "\"a", "JSON: the text ends before its value does, at byte 2" },
        { "\"a\\", "JSON: the text ends before its value does, at byte 3" },
        { "{\"a\": 1, \"a\": 2}", "JSON: the name 'a' comes twice in an object, at byte 9" },
        { "{\"a\": 1, \"\\u0061\": 2}", "JSON: the name 'a' comes twice in an object, at byte 9" },
        { "{\"a\": 1,}", "JSON: '}' does not belong here, at byte 8" },
        { "[1,]", "JSON: ']' does not belong here, at byte 3" },
        { "[1 2]", "JSON: '2' does not belong here, at byte 3" },
        { "{} x", "JSON: there is more behind the value, at byte 3" },
        { "1 2", "JSON: there is more behind the value, at byte 2" },
        { "{}}", "JSON: there is more behind the value, at byte 2" },
        { "1,", "JSON: there is more behind the value, at byte 1" },
        { "NaN", "JSON: 'NaN' is no value, at byte 0" },
        { "[Infinity]", "JSON: 'Infinity' is no value, at byte 1" },
        { "01", "JSON: '01' is no value, at byte 0" },
        { "/* */ 1", "JSON: '/' does not belong here, at byte 0" },
        { "[\"\\ud800\"]", "JSON: \\ud800 is half of a surrogate pair, at byte 1" },
        { "\"\xc3(\"", "JSON: the string '\\xc3(' is not UTF-8, at byte 0" },
        { "\"\n\"", "JSON: a string has the control byte 0x0a; write it as \\u000a, at byte 0" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        json_object *value = NULL;
        g_assert_false(json_parse(texts[i][0], &value, &error));
        g_assert_cmpstr(error->message, ==, texts[i][1]);
        g_assert_null(value);
    }
}

static void test_depth_is_bounded(void)
{
    g_autofree char *deep = g_strnfill(1 << 20, '[');
    g_autoptr(GError) error = NULL;
    json_object *value = NULL;
    g_assert_false(json_parse(deep, &value, &error));
    g_assert_cmpstr(error->message, ==,
                    "JSON: nested too deeply, at most 1024 levels, at byte 1024");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/values", test_values);
    g_test_add_func("/json/faults-are-named", test_faults_are_named_with_their_place);
    g_test_add_func("/json/depth-is-bounded", test_depth_is_bounded);
    return g_test_run();
}
