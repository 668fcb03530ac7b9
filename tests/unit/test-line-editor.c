/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The line editor: keys in, and what it runs and shows. A small terminal follows what it shows. */
#include <glib.h>
#include <string.h>
#include "vmm/monitor/line_editor.h"

#define ROW_MAX 8192

typedef struct Terminal {
    LineEditor editor;
    GString *ran; /* lines, each with a '|' behind it */
    unsigned columns;
    /* The row that the cursor is in; ASCII only. */
    char row[ROW_MAX];
    unsigned at, widest;
    unsigned bells, bytes;
} Terminal;

/* The few sequences that the editor uses: CR, CSI K, CSI n D. */
static void show(void *opaque, const char *text, gsize len)
{
    Terminal *t = opaque;
    t->bytes += len;
    for (gsize i = 0; i < len; i++) {
        if (g_str_has_prefix(text + i, "\033[K")) {
            memset(t->row + t->at, 0, ROW_MAX - t->at);
            i += 2;
        } else if (text[i] == '\033') {
            unsigned n = 0;
            for (i += 2; g_ascii_isdigit(text[i]); i++) {
                n = n * 10 + (unsigned)(text[i] - '0');
            }
            t->at -= text[i] == 'D' ? n : 0;
        } else if (text[i] == '\r') {
            t->at = 0;
        } else if (text[i] == '\n') {
            memset(t->row, 0, ROW_MAX);
        } else if (text[i] == '\a') {
            t->bells++;
        } else {
            t->row[t->at++] = text[i];
            t->widest = MAX(t->widest, t->at);
        }
    }
}

static void run(void *opaque, const char *line)
{
    Terminal *t = opaque;
    g_string_append_printf(t->ran, "%s|", line);
    line_editor_show_prompt(&t->editor);
}

static unsigned columns(void *opaque)
{
    return ((Terminal *)opaque)->columns;
}

static GPtrArray *complete(void *opaque, const char *start, gsize *from)
{
    static const char *const known[] = { "device_add", "device_del", "folder/", "quit" };
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
    const char *blank = strrchr(start, ' ');
    *from = blank ? (gsize)(blank + 1 - start) : 0;
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
        if (g_str_has_prefix(known[i], start + *from)) {
            g_ptr_array_add(words, g_strdup(known[i]));
        }
    }
    return words;
}

static Terminal *terminal_new(void)
{
    Terminal *t = g_new0(Terminal, 1);
    t->ran = g_string_new(NULL);
    t->columns = 80;
    t->editor = (LineEditor){ .prompt = "> ",
                              .write = show,
                              .run = run,
                              .columns = columns,
                              .complete = complete,
                              .opaque = t };
    line_editor_init(&t->editor);
    line_editor_show_prompt(&t->editor);
    return t;
}

static void terminal_free(Terminal *t)
{
    line_editor_cleanup(&t->editor);
    g_string_free(t->ran, TRUE);
    g_free(t);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Terminal, terminal_free)

static void type(Terminal *t, const char *keys)
{
    line_editor_feed(&t->editor, keys, strlen(keys));
}

/* The keys, from an empty line on, run just that line. */
static void runs(const char *keys, const char *line)
{
    g_autoptr(Terminal) t = terminal_new();
    g_autofree char *expected = g_strconcat(line, "|", NULL);
    type(t, keys);
    type(t, "\r");
    g_assert_cmpstr(t->ran->str, ==, expected);
}

static void test_keys_change_the_line(void)
{
    runs("info status", "info status");
    runs("bc\001a", "abc");
    runs("bc\033[Ha", "abc");
    runs("bc\033[1~a", "abc");
    runs("bc\033OHa", "abc");
    runs("bc\033[D\033[Da", "abc");
    runs("ab\002\002\006\005c", "abc");
    runs("ac\033[Db\033[Fd\033[4~e", "abcde");
    runs("abcx\177", "abc");
    runs("abcx\b", "abc");
    runs("xabc\001\004", "abc");
    runs("xabc\001\033[3~", "abc");
    runs("abc def\033[1;5D\013", "abc ");
    runs("abc def\033bx", "abc xdef");
    runs("abc def\001\033fx", "abcx def");
    runs("abc def\001\033d", " def");
    runs("nonsense\025abc", "abc");
    runs("abc nonsense  \027def", "abc def");
    runs("wrong\003abc", "abc");
}

static void test_history(void)
{
    runs("one\r\033[A", "one|one");
    runs("one\rtwo\r\033[A\033[A", "one|two|one");
    runs("one\rtwo\r\033[A\033[A\033[B", "one|two|two");
    runs("one\rdraft\033[A\033[B!", "one|draft!");
    runs("one\rone\rtwo\r\020\020\020", "one|one|two|one");
    runs("\033[A\033[Babc", "abc");
}

static void test_search(void)
{
    runs("info one\rinfo two\rquit\r\022inf", "info one|info two|quit|info two");
    runs("info one\rinfo two\rquit\r\022inf\022", "info one|info two|quit|info one");
    runs("info one\r\022on\033[D\033[D\033[Ds", "info one|info sone");
    runs("info one\rdraft\022none\007", "info one|draft");
    runs("info one\r\022ox\177n", "info one|info one");
    runs("abc\022", "abc");
}

static void test_completion(void)
{
    runs("q\t", "quit ");
    runs("dev\t", "device_");
    runs("dev\tadd\t", "device_add ");
    runs("fo\t", "folder/");
    runs("x q\tde\tdel", "x quit device_del");
    runs("unknown\t", "unknown");
    runs("qx\033[D\t", "quit x");
}

static void test_characters_of_several_bytes(void)
{
    runs("\303\244\303\266\177b", "\303\244b");
    runs("\303\244\303\266\001\004", "\303\266");
    runs("a\303\244\033[D\033[Dx", "xa\303\244");
    runs("a\344\270\255b\033[D\177", "ab");
    /* Cut off, out of place, too long, a surrogate: nothing of it stays. */
    runs("a\303b", "ab");
    runs("a\244b", "ab");
    runs("a\377\376b", "ab");
    runs("a\300\200b", "ab");
    runs("a\355\240\200b", "ab");
    runs("\360\237\230\200\303", "\360\237\230\200");
}

static void test_sequences_that_end_nowhere(void)
{
    runs("a\033", "a");
    runs("a\033[", "a");
    runs("a\033[12;", "a");
    runs("a\033O", "a");
    runs("a\033[99999999999999999999~b", "ab");
    runs("\033[200~pasted\033[201~", "pasted");
    runs("a\033[?1;2$zb", "ab");
    g_autoptr(Terminal) t = terminal_new();
    line_editor_feed(&t->editor, "a\0b\0\033\0c\r", 8);
    g_assert_cmpstr(t->ran->str, ==, "abc|");
}

static void test_line_ends(void)
{
    g_autoptr(Terminal) t = terminal_new();
    type(t, "one\r\ntwo\nthree\r\rfour\r");
    g_assert_cmpstr(t->ran->str, ==, "one|two|three||four|");
}

static void test_a_line_is_bounded(void)
{
    g_autoptr(Terminal) t = terminal_new();
    g_autofree char *much = g_strnfill(3 * LINE_EDITOR_MAX, 'a');
    type(t, much);
    g_assert_cmpuint(t->editor.line->len, ==, LINE_EDITOR_MAX);
    g_assert_cmpuint(t->bells, ==, 2 * LINE_EDITOR_MAX);
    type(t, "\r");
    g_assert_cmpuint(t->ran->len, ==, LINE_EDITOR_MAX + 1);
    for (unsigned i = 0; i < 1000; i++) {
        g_autofree char *line = g_strdup_printf("line %u\r", i);
        type(t, line);
    }
    g_assert_cmpuint(t->editor.history->len, <=, 64);
}

/* The cursor never leaves the row, and what is around it is on the screen. */
static void test_wide_lines_are_shown_in_part(void)
{
    g_autoptr(Terminal) t = terminal_new();
    t->columns = 20;
    for (unsigned i = 0; i < 100; i++) {
        char key[2] = { (char)('a' + i % 26), 0 };
        type(t, key);
        g_assert_cmpuint(t->at, <, 20);
        g_assert_cmpint(t->row[t->at - 1], ==, key[0]);
    }
    for (unsigned i = 100; i-- > 0;) {
        type(t, "\033[D");
        g_assert_cmpuint(t->at, >=, 2);
        g_assert_cmpint(t->row[t->at], ==, (char)('a' + i % 26));
        g_assert_true(g_str_has_prefix(t->row, "> "));
    }
    g_assert_cmpuint(t->widest, <, 20);
    type(t, "\005\014\r");
    g_assert_cmpuint(t->ran->len, ==, 101);
    t->columns = 1;
    type(t, "abcdefghijklmnopqrstuvwxyz\r");
}

static void test_a_key_costs_little_in_a_long_line(void)
{
    g_autoptr(Terminal) t = terminal_new();
    g_autofree char *much = g_strnfill(LINE_EDITOR_MAX, 'a');
    type(t, much);
    unsigned before = t->bytes;
    type(t, "\033[D");
    g_assert_cmpuint(t->bytes - before, <, 200);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/line-editor/keys-change-the-line", test_keys_change_the_line);
    g_test_add_func("/line-editor/history", test_history);
    g_test_add_func("/line-editor/search", test_search);
    g_test_add_func("/line-editor/completion", test_completion);
    g_test_add_func("/line-editor/characters-of-several-bytes", test_characters_of_several_bytes);
    g_test_add_func("/line-editor/sequences-that-end-nowhere", test_sequences_that_end_nowhere);
    g_test_add_func("/line-editor/line-ends", test_line_ends);
    g_test_add_func("/line-editor/a-line-is-bounded", test_a_line_is_bounded);
    g_test_add_func("/line-editor/wide-lines-are-shown-in-part", test_wide_lines_are_shown_in_part);
    g_test_add_func("/line-editor/a-key-costs-little-in-a-long-line",
                    test_a_key_costs_little_in_a_long_line);
    return g_test_run();
}
