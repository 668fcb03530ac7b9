/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line editor for a raw terminal (control sequences: ECMA-48). */
#include "vmm/monitor/line_editor.h"

#include <string.h>

#define MAX_HISTORY     64
#define MAX_PARAMETER   9999
#define MAX_LISTED      200 /* completions that are shown */
#define DEFAULT_COLUMNS 80
#define MIN_COLUMNS     16

#define CTRL(letter) ((letter)&0x1f)

enum { KEY_ESCAPE = 27, KEY_DELETE = 127 };

void line_editor_init(LineEditor *editor)
{
    editor->line = g_string_new(NULL);
    editor->history = g_ptr_array_new_with_free_func(g_free);
}

static void end_search(LineEditor *editor)
{
    if (editor->pattern) {
        g_string_free(editor->pattern, TRUE);
        editor->pattern = NULL;
    }
}

void line_editor_cleanup(LineEditor *editor)
{
    end_search(editor);
    g_string_free(editor->line, TRUE);
    g_ptr_array_unref(editor->history);
    g_free(editor->new_line);
}

void line_editor_reset(LineEditor *editor)
{
    end_search(editor);
    g_string_truncate(editor->line, 0);
    g_clear_pointer(&editor->new_line, g_free);
    editor->cursor = 0;
    editor->first = 0;
    editor->keys = KEYS_PLAIN;
    editor->character_len = 0;
    editor->history_at = editor->history->len;
}

/* ---- What is shown ---- */

static void put(LineEditor *editor, const char *text)
{
    editor->write(editor->opaque, text, strlen(text));
}

static unsigned cells(gunichar c)
{
    return g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
}

static unsigned text_cells(const char *from, const char *to)
{
    unsigned sum = 0;
    for (; from < to; from = g_utf8_next_char(from)) {
        sum += cells(g_utf8_get_char(from));
    }
    return sum;
}

static unsigned room(LineEditor *editor, unsigned prompt_cells)
{
    unsigned columns = editor->columns ? editor->columns(editor->opaque) : DEFAULT_COLUMNS;
    columns = MAX(columns, MIN_COLUMNS) - 1; /* the last one would make some terminals wrap */
    return columns > prompt_cells + MIN_COLUMNS / 2 ? columns - prompt_cells : MIN_COLUMNS / 2;
}

/* The first character from `first` on for which the cursor is on the screen. */
static const char *first_shown(const char *start, const char *cursor, gsize first, unsigned width)
{
    unsigned used = 0;
    const char *at = cursor;
    while (at > start + first) {
        const char *previous = g_utf8_prev_char(at);
        used += cells(g_utf8_get_char(previous));
        if (used >= width) {
            break;
        }
        at = previous;
    }
    return at;
}

/* The prompt, and as much of the text as there is room for, from editor->first on. */
static void draw(LineEditor *editor, const char *prompt, const GString *text, gsize cursor)
{
    unsigned width = room(editor, text_cells(prompt, prompt + strlen(prompt))), used = 0;
    const char *start = text->str, *at = start + cursor;
    const char *end = first_shown(start, at, MIN(editor->first, cursor), width);
    editor->first = (gsize)(end - start);
    while (*end && used + cells(g_utf8_get_char(end)) <= width) {
        used += cells(g_utf8_get_char(end));
        end = g_utf8_next_char(end);
    }
    g_autoptr(GString) out = g_string_new("\r\033[K");
    g_string_append(out, prompt);
    g_string_append_len(out, start + editor->first, end - start - (gssize)editor->first);
    unsigned back = text_cells(at, end);
    if (back) {
        g_string_append_printf(out, "\033[%uD", back);
    }
    editor->write(editor->opaque, out->str, out->len);
}

static void redraw(LineEditor *editor)
{
    draw(editor, editor->prompt, editor->line, editor->cursor);
}

void line_editor_show_prompt(LineEditor *editor)
{
    if (editor->line->len) {
        redraw(editor);
    } else {
        put(editor, editor->prompt);
    }
}

/* ---- Editing ---- */

static gsize before(const LineEditor *editor, gsize at)
{
    const char *start = editor->line->str;
    return at ? (gsize)(g_utf8_prev_char(start + at) - start) : 0;
}

static gsize after(const LineEditor *editor, gsize at)
{
    const char *start = editor->line->str;
    return start[at] ? (gsize)(g_utf8_next_char(start + at) - start) : at;
}

static gsize word_before(const LineEditor *editor)
{
    gsize at = editor->cursor;
    while (at && editor->line->str[at - 1] == ' ') {
        at--;
    }
    while (at && editor->line->str[at - 1] != ' ') {
        at--;
    }
    return at;
}

static gsize word_after(const LineEditor *editor)
{
    const char *at = editor->line->str + editor->cursor;
    at += strspn(at, " ");
    at += strcspn(at, " ");
    return (gsize)(at - editor->line->str);
}

static void move_to(LineEditor *editor, gsize at)
{
    editor->cursor = at;
    redraw(editor);
}

static void erase(LineEditor *editor, gsize from, gsize to)
{
    g_string_erase(editor->line, (gssize)from, (gssize)(to - from));
    move_to(editor, from);
}

static void insert(LineEditor *editor, const char *text)
{
    gsize len = strlen(text);
    if (editor->line->len + len > LINE_EDITOR_MAX) {
        put(editor, "\a");
        return;
    }
    bool at_end = editor->cursor == editor->line->len;
    g_string_insert(editor->line, (gssize)editor->cursor, text);
    editor->cursor += len;
    const char *shown = editor->line->str + editor->first;
    unsigned prompt_cells = text_cells(editor->prompt, editor->prompt + strlen(editor->prompt));
    if (at_end && text_cells(shown, shown + strlen(shown)) < room(editor, prompt_cells)) {
        put(editor, text);
    } else {
        redraw(editor);
    }
}

/* ---- History ---- */

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

static void set_line(LineEditor *editor, const char *text)
{
    g_string_assign(editor->line, text);
    editor->first = 0;
    move_to(editor, editor->line->len);
}

static void recall(LineEditor *editor, int step)
{
    guint length = editor->history->len, at = editor->history_at;
    if ((step < 0 && at == 0) || (step > 0 && at >= length)) {
        return;
    }
    if (at == length) {
        g_free(editor->new_line);
        editor->new_line = g_strdup(editor->line->str);
    }
    editor->history_at = at + (guint)step;
    set_line(editor, editor->history_at < length
                         ? g_ptr_array_index(editor->history, editor->history_at)
                         : editor->new_line);
}

/* ---- Searching the history ---- */

static void show_search(LineEditor *editor)
{
    bool found = editor->found_at < editor->history->len;
    g_autofree char *prompt =
        g_strdup_printf("(%s '%s') ", found ? "search" : "not found", editor->pattern->str);
    g_autoptr(GString)
        text = g_string_new(found ? g_ptr_array_index(editor->history, editor->found_at) : "");
    editor->first = 0;
    draw(editor, prompt, text, 0);
}

/* From the line before `at` back to the oldest. */
static void search(LineEditor *editor, guint at)
{
    editor->found_at = editor->history->len;
    while (at-- > 0) {
        if (strstr(g_ptr_array_index(editor->history, at), editor->pattern->str)) {
            editor->found_at = at;
            break;
        }
    }
    show_search(editor);
}

static void take_found(LineEditor *editor)
{
    guint at = editor->found_at;
    end_search(editor);
    editor->first = 0;
    if (at < editor->history->len) {
        set_line(editor, g_ptr_array_index(editor->history, at));
        editor->history_at = editor->history->len;
    } else {
        redraw(editor);
    }
}

static void begin_search(LineEditor *editor)
{
    editor->pattern = g_string_new(NULL);
    editor->found_at = editor->history->len;
    show_search(editor);
}

/* False: the key ends the search, and then means what it always does. */
static bool search_key(LineEditor *editor, char key)
{
    switch (key) {
    case CTRL('R'):
        search(editor, editor->found_at);
        return true;
    case CTRL('C'):
    case CTRL('G'):
        editor->found_at = editor->history->len;
        take_found(editor);
        return true;
    case '\b':
    case KEY_DELETE:
        if (editor->pattern->len) {
            const char *start = editor->pattern->str;
            g_string_truncate(editor->pattern,
                              (gsize)(g_utf8_prev_char(start + editor->pattern->len) - start));
        }
        search(editor, editor->history->len);
        return true;
    default:
        take_found(editor);
        return false;
    }
}

static void search_text(LineEditor *editor, const char *text)
{
    if (editor->pattern->len + strlen(text) <= LINE_EDITOR_MAX) {
        g_string_append(editor->pattern, text);
        search(editor, editor->history->len);
    }
}

/* ---- Completion ---- */

/* What all words have in common. */
static gsize common_length(const GPtrArray *words)
{
    const char *first = g_ptr_array_index(words, 0);
    gsize common = strlen(first);
    for (guint i = 1; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        gsize same = 0;
        while (same < common && word[same] == first[same]) {
            same++;
        }
        common = same;
    }
    while (common && ((guchar)first[common] & 0xc0) == 0x80) { /* whole characters */
        common--;
    }
    return common;
}

static void list_words(LineEditor *editor, const GPtrArray *words)
{
    g_autoptr(GString) out = g_string_new("\r\n");
    for (guint i = 0; i < MIN(words->len, MAX_LISTED); i++) {
        g_string_append_printf(out, "%s%s", i ? "  " : "",
                               (const char *)g_ptr_array_index(words, i));
    }
    if (words->len > MAX_LISTED) {
        g_string_append_printf(out, "  ... and %u more", words->len - MAX_LISTED);
    }
    g_string_append(out, "\r\n");
    editor->write(editor->opaque, out->str, out->len);
    redraw(editor);
}

static void complete(LineEditor *editor)
{
    if (!editor->complete) {
        return;
    }
    gsize from = editor->cursor;
    g_autofree char *start = g_strndup(editor->line->str, editor->cursor);
    g_autoptr(GPtrArray) words = editor->complete(editor->opaque, start, &from);
    if (!words || !words->len) {
        return;
    }
    const char *word = g_ptr_array_index(words, 0);
    gsize typed = editor->cursor - from, common = common_length(words);
    if (common > typed || words->len == 1) {
        bool ended = words->len == 1 && !(common && strchr("/=", word[common - 1]));
        g_autofree char *part = g_strndup(word + typed, common - typed);
        g_autofree char *rest = g_strconcat(part, ended ? " " : "", NULL);
        insert(editor, rest);
    } else {
        list_words(editor, words);
    }
}

/* ---- Keys ---- */

static void clear_screen(LineEditor *editor)
{
    put(editor, "\033[H\033[2J");
    redraw(editor);
}

static void abandon(LineEditor *editor)
{
    put(editor, "\r\n");
    line_editor_reset(editor);
    put(editor, editor->prompt);
}

static void moving_key(LineEditor *editor, char key)
{
    switch (key) {
    case CTRL('A'):
        move_to(editor, 0);
        break;
    case CTRL('B'):
        move_to(editor, before(editor, editor->cursor));
        break;
    case CTRL('E'):
        move_to(editor, editor->line->len);
        break;
    case CTRL('F'):
        move_to(editor, after(editor, editor->cursor));
        break;
    case CTRL('N'):
        recall(editor, 1);
        break;
    case CTRL('P'):
        recall(editor, -1);
        break;
    case CTRL('R'):
        begin_search(editor);
        break;
    default: /* NUL, and what has no meaning here */
        break;
    }
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
        erase(editor, before(editor, editor->cursor), editor->cursor);
        break;
    case CTRL('C'):
        abandon(editor);
        break;
    case CTRL('D'):
        erase(editor, editor->cursor, after(editor, editor->cursor));
        break;
    case CTRL('K'):
        erase(editor, editor->cursor, editor->line->len);
        break;
    case CTRL('L'):
        clear_screen(editor);
        break;
    case CTRL('U'):
        erase(editor, 0, editor->cursor);
        break;
    case CTRL('W'):
        erase(editor, word_before(editor), editor->cursor);
        break;
    default:
        moving_key(editor, key);
        break;
    }
}

/* "CSI number ~". */
static void numbered_key(LineEditor *editor)
{
    switch (editor->first_parameter) {
    case 1:
    case 7:
        move_to(editor, 0);
        break;
    case 3:
        erase(editor, editor->cursor, after(editor, editor->cursor));
        break;
    case 4:
    case 8:
        move_to(editor, editor->line->len);
        break;
    default: /* page keys, the marks of a pasted text ... */
        break;
    }
}

static void sequence_end(LineEditor *editor, char key)
{
    bool with_control = editor->parameter == 5 && editor->first_parameter == 1;
    switch (key) {
    case 'A':
        recall(editor, -1);
        break;
    case 'B':
        recall(editor, 1);
        break;
    case 'C':
        move_to(editor, with_control ? word_after(editor) : after(editor, editor->cursor));
        break;
    case 'D':
        move_to(editor, with_control ? word_before(editor) : before(editor, editor->cursor));
        break;
    case 'F':
        move_to(editor, editor->line->len);
        break;
    case 'H':
        move_to(editor, 0);
        break;
    case '~':
        numbered_key(editor);
        break;
    default:
        break;
    }
}

static void escape_key(LineEditor *editor, char key)
{
    editor->keys = KEYS_PLAIN;
    editor->parameter = editor->first_parameter = 0;
    switch (key) {
    case '[':
        editor->keys = KEYS_SEQUENCE;
        break;
    case 'O':
        editor->keys = KEYS_LAST;
        break;
    case 'b':
        move_to(editor, word_before(editor));
        break;
    case 'd':
        erase(editor, editor->cursor, word_after(editor));
        break;
    case 'f':
        move_to(editor, word_after(editor));
        break;
    default:
        break;
    }
}

/* ECMA-48 5.4: parameters 0x30 to 0x3f, intermediates 0x20 to 0x2f, one final byte. */
static void sequence_key(LineEditor *editor, char key)
{
    if (g_ascii_isdigit(key)) {
        editor->parameter = MIN(editor->parameter * 10 + (unsigned)(key - '0'), MAX_PARAMETER);
    } else if (key == ';') {
        editor->first_parameter = editor->parameter;
        editor->parameter = 0;
    } else if (key >= '@') {
        editor->keys = KEYS_PLAIN;
        editor->first_parameter = editor->first_parameter ? editor->first_parameter
                                                          : editor->parameter;
        sequence_end(editor, key);
    }
}

/* A byte of a character that has several; what does not become one is dropped. */
static void feed_wide(LineEditor *editor, char byte)
{
    char text[sizeof(editor->character) + 1] = { 0 };
    if ((byte & 0xc0) == 0xc0) {
        editor->character_len = 0;
    }
    editor->character[editor->character_len++] = byte;
    gunichar c = g_utf8_get_char_validated(editor->character, editor->character_len);
    if (c == (gunichar)-2 && editor->character_len < sizeof(editor->character)) {
        return;
    }
    memcpy(text, editor->character, editor->character_len);
    editor->character_len = 0;
    if (c != (gunichar)-1 && c != (gunichar)-2 && g_unichar_isprint(c)) {
        if (editor->pattern) {
            search_text(editor, text);
        } else {
            insert(editor, text);
        }
    }
}

static void feed_plain(LineEditor *editor, char key)
{
    bool line_end = key == '\n' && editor->after_return;
    editor->after_return = key == '\r';
    if (line_end) {
        return;
    }
    if ((guchar)key >= 0x80) {
        feed_wide(editor, key);
    } else if (key == KEY_ESCAPE) {
        if (editor->pattern) {
            take_found(editor);
        }
        editor->keys = KEYS_ESCAPE;
    } else if (key < ' ' || key == KEY_DELETE) {
        if (!editor->pattern || !search_key(editor, key)) {
            control_key(editor, key);
        }
    } else if (editor->pattern) {
        search_text(editor, (const char[]){ key, 0 });
    } else {
        insert(editor, (const char[]){ key, 0 });
    }
}

static void feed_one(LineEditor *editor, char key)
{
    if ((guchar)key < 0x80) {
        editor->character_len = 0;
    }
    if (editor->keys != KEYS_PLAIN && (guchar)key < ' ') {
        editor->keys = KEYS_PLAIN; /* the sequence was cut off */
    }
    switch (editor->keys) {
    case KEYS_ESCAPE:
        escape_key(editor, key);
        break;
    case KEYS_SEQUENCE:
        sequence_key(editor, key);
        break;
    case KEYS_LAST:
        editor->keys = KEYS_PLAIN;
        sequence_end(editor, key);
        break;
    default:
        feed_plain(editor, key);
        break;
    }
}

void line_editor_feed(LineEditor *editor, const char *data, gsize len)
{
    for (gsize i = 0; i < len; i++) {
        feed_one(editor, data[i]);
    }
}
