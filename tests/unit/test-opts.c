/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option strings: QEMU's syntax, JSON, typed values, errors. */
#include "vmm/cli/opts.h"

static void test_first_word_takes_the_implied_key(void)
{
    g_autoptr(Opts) opts = opts_parse("user,id=n0,restrict", "type", NULL);
    g_assert_cmpstr(opts_get(opts, "type"), ==, "user");
    g_assert_cmpstr(opts_get(opts, "id"), ==, "n0");
    g_assert_cmpstr(opts_get(opts, "restrict"), ==, "on");
    g_assert_true(opts_check_unused(opts, "netdev", NULL, NULL));
}

static void test_doubled_comma_is_a_comma(void)
{
    g_autoptr(Opts) opts = opts_parse("file=a,,b,format=raw", "file", NULL);
    g_assert_cmpstr(opts_get(opts, "file"), ==, "a,b");
    g_autoptr(Opts) implied = opts_parse("x,,y=1,k=v", "file", NULL);
    g_assert_cmpstr(opts_get(implied, "k"), ==, "v");
}

static void test_no_prefix_turns_off_but_nodelay_is_a_flag(void)
{
    g_autoptr(Opts) opts = opts_parse("unix:/x,server,nowait,nodelay", "path", NULL);
    g_assert_cmpstr(opts_get(opts, "server"), ==, "on");
    g_assert_cmpstr(opts_get(opts, "wait"), ==, "off");
    g_assert_cmpstr(opts_get(opts, "nodelay"), ==, "on");
}

static void test_json_flattens_and_nests_back(void)
{
    g_autoptr(Opts) opts =
        opts_parse("{\"driver\":\"raw\",\"file\":{\"filename\":\"x\"},\"a\":[1,true]}", NULL, NULL);
    g_assert_cmpstr(opts_get(opts, "file.filename"), ==, "x");
    g_assert_cmpstr(opts_get(opts, "a.0"), ==, "1");
    g_assert_cmpstr(opts_get(opts, "a.1"), ==, "on");
    json_object *json = opts_to_json(opts);
    json_object *list;
    g_assert_true(json_object_object_get_ex(json, "a", &list));
    g_assert_cmpuint(json_object_array_length(list), ==, 2);
    json_object_put(json);
}

static void test_unused_option_is_named_with_a_suggestion(void)
{
    static const char *const known[] = { "hostfwd", "restrict", NULL };
    g_autoptr(Opts) opts = opts_parse("user,hostfwt=x", "type", NULL);
    g_autoptr(GError) error = NULL;
    opts_get(opts, "type");
    g_assert_false(opts_check_unused(opts, "-netdev user", known, &error));
    g_assert_cmpstr(error->message, ==,
                    "-netdev user: unknown option 'hostfwt' (did you mean 'hostfwd'?)");
}

static void test_prefix_becomes_its_own_options(void)
{
    g_autoptr(Opts) opts = opts_parse("driver=raw,file.driver=file,file.filename=x", NULL, NULL);
    g_autoptr(Opts) file = opts_take_prefix(opts, "file");
    g_assert_cmpstr(opts_get(file, "filename"), ==, "x");
    opts_get(opts, "driver");
    g_assert_true(opts_check_unused(opts, "x", NULL, NULL));
    g_assert_null(opts_take_prefix(opts, "backing"));
}

static void test_bad_texts_are_refused(void)
{
    static const char *const bad[] = {
        "a,,,b", "=x", "a=1,,,=2", "{\"a\":", "{\"a\":null}", "{} x"
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Opts) opts = opts_parse(bad[i], NULL, &error);
        g_assert_true(opts == NULL || i == 0 || i == 2);
        g_assert_true(opts != NULL || error != NULL);
    }
}

/* As -device, -blockdev and names of images have it. */
static void test_faults_of_json_are_named(void)
{
    static const char *const bad[][2] = {
        { "{\"driver\": \"raw\", \"driver\": \"qcow2\"}",
          "JSON: the name 'driver' comes twice in an object, at byte 18" },
        { "{\"driver\": \"raw\",}", "JSON: '}' does not belong here, at byte 17" },
        { "{\"driver\": \"raw\"},id=x", "JSON: there is more behind the value, at byte 17" },
        { "{\"size\": NaN}", "JSON: 'NaN' is no value, at byte 9" },
        { "{\"id\": \"\\udc00\"}", "JSON: \\udc00 is half of a surrogate pair, at byte 7" },
        { "{\"id\": ", "JSON: the text ends before its value does, at byte 7" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(opts_parse(bad[i][0], NULL, &error));
        g_assert_cmpstr(error->message, ==, bad[i][1]);
    }
}

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t unit, value;
        bool ok;
    } cases[] = {
        { "512", 1, 512, true },
        { "2G", 1, 2ULL << 30, true },
        { "2", 1 << 20, 2ULL << 20, true },
        { "1.5k", 1, 1536, true },
        { "0x1000", 1, 4096, true },
        { "16E", 1, 0, false },
        { "-1", 1, 0, false },
        { "", 1, 0, false },
        { "1x", 1, 0, false },
        { "1GG", 1, 0, false },
        { "1.", 1, 0, false },
        { "99999999999999999999", 1, 0, false },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t value = 0;
        g_assert_cmpint(parse_size(cases[i].text, cases[i].unit, &value), ==, cases[i].ok);
        if (cases[i].ok) {
            g_assert_cmpuint(value, ==, cases[i].value);
        }
    }
}

static void test_numbers_are_bounded(void)
{
    uint64_t value;
    g_assert_true(parse_uint("255", 255, &value));
    g_assert_false(parse_uint("256", 255, &value));
    g_assert_false(parse_uint("+1", 255, &value));
    g_assert_false(parse_uint("0x", 255, &value));
    g_assert_false(parse_uint("12a", 255, &value));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/opts/first-word-takes-the-implied-key",
                    test_first_word_takes_the_implied_key);
    g_test_add_func("/opts/doubled-comma-is-a-comma", test_doubled_comma_is_a_comma);
    g_test_add_func("/opts/no-prefix-turns-off", test_no_prefix_turns_off_but_nodelay_is_a_flag);
    g_test_add_func("/opts/json-flattens-and-nests-back", test_json_flattens_and_nests_back);
    g_test_add_func("/opts/unused-is-named", test_unused_option_is_named_with_a_suggestion);
    g_test_add_func("/opts/prefix", test_prefix_becomes_its_own_options);
    g_test_add_func("/opts/bad-texts-are-refused", test_bad_texts_are_refused);
    g_test_add_func("/opts/faults-of-json-are-named", test_faults_of_json_are_named);
    g_test_add_func("/opts/sizes", test_sizes);
    g_test_add_func("/opts/numbers-are-bounded", test_numbers_are_bounded);
    return g_test_run();
}
