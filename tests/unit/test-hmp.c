/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's lines, words, expressions, formats and completion, with commands of its own.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include "vmm/monitor/hmp.h"

/* ---- Expressions ---- */

static bool known_register(void *opaque, const char *name, uint64_t *value)
{
    *value = 0x1000;
    return g_str_equal(name, "rip") || g_str_equal(name, "cs.base");
}

static void gives(const char *text, int64_t expected)
{
    GError *error = NULL;
    int64_t value;
    const char *at = text;
    if (!hmp_expression(&at, known_register, NULL, &value, &error)) {
        g_error("'%s': %s", text, error->message);
    }
    if (value != expected) {
        g_error("'%s' gives %" G_GINT64_FORMAT, text, value);
    }
    g_assert_cmpint(at[strspn(at, " ")], ==, '\0');
}

static void refused(const char *text, const char *says)
{
    g_autoptr(GError) error = NULL;
    int64_t value;
    const char *at = text;
    g_assert_false(hmp_expression(&at, known_register, NULL, &value, &error));
    if (!strstr(error->message, says)) {
        g_error("'%s' says: %s", text, error->message);
    }
}

/* The values are those of QEMU 7.2's `print`. */
static void test_expressions(void)
{
    gives("10", 10);
    gives(" 0x10 ", 16);
    gives("010", 8);
    gives("-1", -1);
    gives("~0", -1);
    gives("1+2*3", 7);
    gives("(1+2)*3", 9);
    gives("4+3&1", 5);
    gives("2*3|8", 14);
    gives("6^3", 5);
    gives("7%4", 3);
    gives("-7/2", -3);
    gives("10-3-2", 5);
    gives("'A'", 65);
    gives("$rip+4", 0x1004);
    gives("$cs.base", 0x1000);
    gives("- - 3", 3);
    gives("0xffffffffffffffff", -1);
    gives("0x8000000000000000/-1", INT64_MIN);
    gives("0x8000000000000000%-1", 0);
}

static void test_expressions_that_are_none(void)
{
    g_autofree char *deep = g_strnfill(100000, '(');
    g_autofree char *minus = g_strnfill(100000, '-');
    refused("", "ends where a number");
    refused("1+", "ends where a number");
    refused("(1", "has no )");
    refused("1/0", "division by zero");
    refused("1%0", "division by zero");
    refused("$nope", "no register 'nope'");
    refused("$", "register's name");
    refused("$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "register's name");
    refused("'", "between two '");
    refused("'ab'", "between two '");
    refused("abc", "neither a number");
    refused("12abc", "no digit");
    refused("0x10000000000000000", "64 bits");
    refused("\"a\"", "neither a number");
    refused(deep, "no deeper");
    refused(minus, "no deeper");
}

static void test_formats(void)
{
    static const struct {
        const char *format;
        uint64_t value;
        const char *padded, *bare;
    } cases[] = {
        { "/xb", 5, "0x05", "0x5" },          { "/xg", 5, "0x0000000000000005", "0x5" },
        { "/db", 0xff, " -1", "-1" },         { "/dw", 7, "         7", "7" },
        { "/uh", 7, "    7", "7" },           { "/ob", 8, "010", "010" },
        { "/c", 'A', "'A'", "'A'" },          { "/c", '\n', "'\\n'", "'\\n'" },
        { "/c", 0x80, "'\\x80'", "'\\x80'" }, { "/c", '\'', "'\\''", "'\\''" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        HmpFormat format = { .count = 1, .format = 'x', .size = 4 };
        g_autoptr(GString) padded = g_string_new(NULL), bare = g_string_new(NULL);
        const char *at = cases[i].format;
        g_assert_true(hmp_take_format(&at, &format, NULL));
        hmp_put_value(padded, &format, cases[i].value, true);
        hmp_put_value(bare, &format, cases[i].value, false);
        g_assert_cmpstr(padded->str, ==, cases[i].padded);
        g_assert_cmpstr(bare->str, ==, cases[i].bare);
    }
    HmpFormat format = { .count = 1, .format = 'x', .size = 4 };
    const char *good = "/12dh  rest", *bad = "/z";
    g_assert_true(hmp_take_format(&good, &format, NULL));
    g_assert_cmpstr(good, ==, "rest");
    g_assert_cmpuint(format.count, ==, 12);
    g_assert_cmpint(format.format, ==, 'd');
    g_assert_cmpuint(format.size, ==, 2);
    g_assert_false(hmp_take_format(&bad, &format, NULL));
}

/* ---- Lines ---- */

static void echo(GString *out, char **args)
{
    g_autofree char *all = g_strjoinv("|", args);
    g_string_append_printf(out, "[%s]", all);
}

static const HmpCommand commands[] = {
    { "none", NULL, "takes nothing", echo },
    { "two", "[-f] [-n] COLOR on|off [FILE]", "takes two or three", echo, 2, 4, .alias = "t" },
    { "text", "COLOR TEXT", "takes text", echo, 1, 2, .rest = true },
    { "show", "/FMT ADDRESS", "takes an expression", echo, 1, 1, .rest = true },
    { "info one", NULL, "one", echo },
    { "info onerous", NULL, "more", echo },
    { "either", "COLOR|all", "one or all", echo, 1, 1 },
    { "explain", "[COMMAND]", "explains", echo, 0, 1, .rest = true },
    { NULL },
};

static void list_colors(GPtrArray *words)
{
    g_ptr_array_add(words, g_strdup("red"));
    g_ptr_array_add(words, g_strdup("rose"));
    g_ptr_array_add(words, g_strdup("blue"));
}

static const HmpWordKind kinds[] = { { "COLOR", list_colors }, { NULL } };
static const MonitorCommands own = { .hmp = commands, .words = kinds };
static const MonitorCommands *const all[] = { &own, NULL };

static void prints(const char *line, const char *expected)
{
    g_autoptr(GString) out = g_string_new(NULL);
    hmp_execute(line, out);
    g_strchomp(out->str);
    if (!g_pattern_match_simple(expected, out->str)) {
        g_error("'%s' prints '%s', not '%s'", line, out->str, expected);
    }
}

static void test_lines_become_words(void)
{
    prints("", "");
    prints("   ", "");
    prints("# a remark", "");
    prints("none", "[]");
    prints(" \tnone \t", "[]");
    prints("info   one", "[]");
    prints("two red on", "[red|on]");
    prints("t\tred  on", "[red|on]");
    prints("two \"dark red\" on \"a\\\"b\\\\c\\nd\"", "[dark red|on|a\"b\\c\nd]");
    prints("text red  some  more text ", "[red|some  more text]");
    prints("text red \"quoted \"", "[red|quoted ]");
    prints("show/4xb 1 + 2", "[/4xb 1 + 2]");
    prints("show /4xb 1", "[/4xb 1]");
}

static void test_wrong_lines(void)
{
    prints("none 1", "usage: none");
    prints("two red", "usage: two [-f] [-n] COLOR on|off [FILE]");
    prints("two 1 2 3 4 5", "usage: two*");
    prints("two \"red on", "Error: *has no \" at its end");
    prints("two \"\\x\" on", "Error: after a \\*");
    prints("nono", "unknown command: 'nono' (did you mean 'none'?)");
    prints("info o", "unknown command: 'info o' (did you mean 'info one', 'info onerous'?)");
    prints("info  onerus", "unknown command: 'info onerus' (did you mean 'info onerous'?)");
    prints("nonex", "unknown command: 'nonex' (did you mean 'none'?)");
    prints("x\033[2J\377", "unknown command: 'x?[2J*'");
    prints("savevm a", "Error: 'savevm' is QEMU's, and not in this version: *");
    g_autofree char *much = g_strnfill(10 << 20, 'a');
    g_autoptr(GString) out = g_string_new(NULL);
    hmp_execute(much, out);
    g_assert_cmpuint(out->len, <, 200);
    g_autofree char *blanks = g_strnfill(1 << 20, ' ');
    prints(blanks, "");
}

/* ---- Completion ---- */

static void completes(const char *start, const char *expected)
{
    gsize from = 0;
    g_autoptr(GPtrArray) words = hmp_complete(start, &from);
    g_ptr_array_add(words, NULL);
    g_autofree char *text = g_strjoinv(" ", (char **)words->pdata);
    g_autofree char *result = g_strdup_printf("%" G_GSIZE_FORMAT ":%s", from, text);
    if (!g_str_equal(result, expected)) {
        g_error("'%s' completes to '%s', not '%s'", start, result, expected);
    }
}

static void test_completion(void)
{
    completes("n", "0:none");
    completes("  n", "2:none");
    completes("inf", "0:info");
    completes("info ", "5:one onerous");
    completes("info   oner", "7:onerous");
    completes("e", "0:either explain");
    completes("two r", "4:red rose");
    completes("two -f r", "7:red rose");
    completes("two -", "4:-f -n");
    completes("two red ", "8:off on");
    completes("two \"dark red\" of", "15:off");
    completes("t b", "2:blue");
    completes("either a", "7:all");
    completes("either ", "7:all blue red rose");
    completes("explain inf", "8:info");
    completes("explain info on", "13:one onerous");
    completes("none ", "5:");
    completes("nonsense ", "9:");
    completes("two a b c d e f", "14:");
    completes("show /4xb ", "10:");
}

static void test_file_names(void)
{
    g_autofree char *dir = g_dir_make_tmp("hmp-XXXXXX", NULL);
    g_autofree char *disk = g_build_filename(dir, "disk.img", NULL);
    g_autofree char *folder = g_build_filename(dir, "disks", NULL);
    g_autofree char *start = g_strdup_printf("two red on %s/di", dir);
    g_autofree char *expected = g_strdup_printf("11:%s %s/", disk, folder);
    g_assert_true(g_file_set_contents(disk, "", 0, NULL));
    g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
    completes(start, expected);
    g_assert_cmpint(g_rmdir(folder), ==, 0);
    g_assert_cmpint(g_unlink(disk), ==, 0);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
    completes(start, "11:");
}

/* Names that are no UTF-8, or would command the terminal. */
static void test_what_is_no_text_is_not_offered(void)
{
    static const char *const names[] = { "dis\xff", "dis\xfc", "dis\033[2J", "dis\xc0\x80",
                                         "disk" };
    g_autofree char *dir = g_dir_make_tmp("hmp-XXXXXX", NULL);
    g_autofree char *start = g_strdup_printf("two red on %s/di", dir);
    g_autofree char *expected = g_strdup_printf("11:%s/disk", dir);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(dir, names[i], NULL);
        g_assert_true(g_file_set_contents(path, "", 0, NULL));
    }
    completes(start, expected);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(dir, names[i], NULL);
        g_assert_cmpint(g_unlink(path), ==, 0);
    }
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    monitor_commands_register(all);
    g_test_add_func("/hmp/expressions", test_expressions);
    g_test_add_func("/hmp/expressions-that-are-none", test_expressions_that_are_none);
    g_test_add_func("/hmp/formats", test_formats);
    g_test_add_func("/hmp/lines-become-words", test_lines_become_words);
    g_test_add_func("/hmp/wrong-lines", test_wrong_lines);
    g_test_add_func("/hmp/completion", test_completion);
    g_test_add_func("/hmp/file-names", test_file_names);
    g_test_add_func("/hmp/what-is-no-text-is-not-offered", test_what_is_no_text_is_not_offered);
    return g_test_run();
}
