/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line editor for a raw terminal. */
#include "vmm/monitor/line_editor.h"

#include <stdbool.h>
#include <string.h>

#define MAX_LINE    4095
#define MAX_HISTORY 64

enum {
    KEY_CTRL_A = 1,
    KEY_CTRL_D = 4,
    KEY_CTRL_E = 5,
    KEY_CTRL_K = 11,
    KEY_CTRL_U = 21,
    KEY_CTRL_W = 23,
    KEY_ESCAPE = 27,
    KEY_DELETE = 127
};

void line_editor_init(LineEditor *editor)
{
    editor->line = g_string_new(NULL);
    editor->history = g_ptr_array_new_with_free_func(g_free);
}

void line_editor_cleanup(LineEditor *editor)
{
    g_string_free(editor->line, TRUE);
    g_ptr_array_unref(editor->history);
}

static void put(LineEditor *editor, const char *text)
{
    editor->write(editor->opaque, text, strlen(text));
}

void line_editor_show_prompt(LineEditor *editor)
{
    put(editor, editor->prompt);
}

void line_editor_reset(LineEditor *editor)
{
    g_string_truncate(editor->line, 0);
    editor->cursor = 0;
    editor->escape = 0;
    editor->history_at = editor->history->len;
}

/* Shows the line again and puts the cursor where it is. */
static void redraw(LineEditor *editor)
{
    g_autoptr(GString) out = g_string_new("\r\033[K");
    g_string_append(out, editor->prompt);
    g_string_append_len(out, editor->line->str, (gssize)editor->line->len);
    if (editor->cursor < editor->line->len) {
        g_string_append_printf(out, "\033[%uD", (unsigned)(editor->line->len - editor->cursor));
    }
    editor->write(editor->opaque, out->str, out->len);
}

static void remember(LineEditor *editor)
{
    GPtrArray *history = editor->history;
    bool repeated = history->len &&
                    strcmp(g_ptr_array_index(history, history->len - 1), editor->line->str) == 0;
    if (editor->line->len && !repeated) {
        if (history->len == MAX_HISTORY) {
            g_ptr_array_remove_index(history, 0);
        }
        g_ptr_array_add(history, g_strdup(editor->line->str));
    }
}

static void enter(LineEditor *editor)
{
    put(editor, "\r\n");
    remember(editor);
    g_autofree char *line = g_strdup(editor->line->str);
    line_editor_reset(editor);
    editor->run(editor->opaque, line);
}

static void recall(LineEditor *editor, int step)
{
    guint length = editor->history->len;
    guint at = editor->history_at;
    if ((step < 0 && at == 0) || (step > 0 && at >= length)) {
        return;
    }
    editor->history_at = at + (guint)step;
    g_string_assign(editor->line, editor->history_at < length
                                      ? g_ptr_array_index(editor->history, editor->history_at)
                                      : "");
    editor->cursor = editor->line->len;
    redraw(editor);
}

static void erase(LineEditor *editor, gsize from, gsize to)
{
    g_string_erase(editor->line, (gssize)from, (gssize)(to - from));
    editor->cursor = from;
    redraw(editor);
}

static void erase_word(LineEditor *editor)
{
    gsize from = editor->cursor;
    while (from && editor->line->str[from - 1] == ' ') {
        from--;
    }
    while (from && editor->line->str[from - 1] != ' ') {
        from--;
    }
    erase(editor, from, editor->cursor);
}

static void insert(LineEditor *editor, const char *text)
{
    if (editor->line->len + strlen(text) > MAX_LINE) {
        return;
    }
    bool at_end = editor->cursor == editor->line->len;
    g_string_insert(editor->line, (gssize)editor->cursor, text);
    editor->cursor += strlen(text);
    if (at_end) {
        put(editor, text);
    } else {
        redraw(editor);
    }
}

/* What all words have in common, at least as long as start. */
static gsize common_length(char **words)
{
    gsize common = strlen(words[0]);
    for (char **word = words + 1; *word; word++) {
        gsize same = 0;
        while (same < common && (*word)[same] == words[0][same]) {
            same++;
        }
        common = same;
    }
    return common;
}

static void complete(LineEditor *editor)
{
    if (!editor->complete || editor->cursor != editor->line->len) {
        return;
    }
    g_auto(GStrv) words = editor->complete(editor->opaque, editor->line->str);
    if (!words || !words[0]) {
        return;
    }
    gsize typed = editor->line->len;
    gsize common = common_length(words);
    if (common > typed || !words[1]) {
        g_autofree char *rest = g_strndup(words[0] + typed, common > typed ? common - typed : 0);
        insert(editor, rest);
        if (!words[1]) {
            insert(editor, " ");
        }
        return;
    }
    put(editor, "\r\n");
    for (char **word = words; *word; word++) {
        put(editor, *word);
        put(editor, word[1] ? "  " : "\r\n");
    }
    redraw(editor);
}

static void control_key(LineEditor *editor, char key)
{
    switch (key) {
    case '\r':
    case '\n':
        enter(editor);
        break;
    case '\t':
        complete(editor);
        break;
    case '\b':
    case KEY_DELETE:
        if (editor->cursor) {
            erase(editor, editor->cursor - 1, editor->cursor);
        }
        break;
    case KEY_CTRL_A:
        editor->cursor = 0;
        redraw(editor);
        break;
    case KEY_CTRL_D:
        if (editor->cursor < editor->line->len) {
            erase(editor, editor->cursor, editor->cursor + 1);
        }
        break;
    case KEY_CTRL_E:
        editor->cursor = editor->line->len;
        redraw(editor);
        break;
    case KEY_CTRL_K:
        erase(editor, editor->cursor, editor->line->len);
        break;
    case KEY_CTRL_U:
        erase(editor, 0, editor->cursor);
        break;
    case KEY_CTRL_W:
        erase_word(editor);
        break;
    case KEY_ESCAPE:
        editor->escape = 1;
        break;
    default:
        break;
    }
}

static void sequence_end(LineEditor *editor, char key)
{
    gsize length = editor->line->len;
    editor->escape = 0;
    if (key == 'A' || key == 'B') {
        recall(editor, key == 'A' ? -1 : 1);
        return;
    }
    if (key == 'C') {
        editor->cursor = MIN(editor->cursor + 1, length);
    } else if (key == 'D') {
        editor->cursor -= editor->cursor > 0;
    } else if (key == 'H' || (key == '~' && editor->parameter == '1')) {
        editor->cursor = 0;
    } else if (key == 'F' || (key == '~' && editor->parameter == '4')) {
        editor->cursor = length;
    } else if (key == '~' && editor->parameter == '3' && editor->cursor < length) {
        g_string_erase(editor->line, (gssize)editor->cursor, 1);
    }
    redraw(editor);
}

static void feed_one(LineEditor *editor, char key)
{
    if (editor->escape == 1) {
        editor->escape = key == '[' || key == 'O' ? 2 : 0;
        editor->parameter = 0;
    } else if (editor->escape == 2) {
        if (g_ascii_isdigit(key) || key == ';') {
            editor->parameter = key;
        } else {
            sequence_end(editor, key);
        }
    } else if ((guchar)key < ' ' || key == KEY_DELETE) {
        control_key(editor, key);
    } else {
        insert(editor, (const char[]){ key, 0 });
    }
}

void line_editor_feed(LineEditor *editor, const char *data, gsize len)
{
    for (gsize i = 0; i < len; i++) {
        feed_one(editor, data[i]);
    }
}
