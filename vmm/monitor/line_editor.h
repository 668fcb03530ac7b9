/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A line editor for a raw terminal in UTF-8: echo, cursor keys, history and a search in it,
 * completion. A line that is wider than the terminal is shown in part, around the cursor. What it
 * takes is bounded: a line in length, the history in lines. Main thread.
 */
#ifndef VMM_MONITOR_LINE_EDITOR_H
#define VMM_MONITOR_LINE_EDITOR_H

#include <glib.h>
#include <stdbool.h>

#define LINE_EDITOR_MAX 4095 /* bytes of a line */

typedef struct LineEditor {
    /* The owner's; columns and complete may be NULL. */
    const char *prompt;
    void (*write)(void *opaque, const char *text, gsize len);
    void (*run)(void *opaque, const char *line);
    unsigned (*columns)(void *opaque); /* of the terminal now */
    /* The words that can stand at the end of `start` in place of what is behind *from, in a new
     * list that frees them. */
    GPtrArray *(*complete)(void *opaque, const char *start, gsize *from);
    void *opaque;
    /* The editor's. */
    GPtrArray *history; /* char *, oldest first; may be looked at */
    GString *line;
    gsize cursor;     /* bytes */
    gsize first;      /* of what is shown */
    guint history_at; /* == history->len: the new line */
    char *new_line;   /* while an older one is shown */
    enum { KEYS_PLAIN, KEYS_ESCAPE, KEYS_SEQUENCE, KEYS_LAST } keys;
    unsigned parameter; /* the last number of a sequence, and the one before it */
    unsigned first_parameter;
    char character[4]; /* the bytes so far of one that has several */
    unsigned character_len;
    bool after_return; /* a line feed that follows belongs to it */
    GString *pattern;  /* of a search; NULL: there is none */
    guint found_at;    /* the line that is shown for it; history->len: none */
} LineEditor;

void line_editor_init(LineEditor *editor);
void line_editor_cleanup(LineEditor *editor);
void line_editor_show_prompt(LineEditor *editor); /* with what has been typed */
void line_editor_feed(LineEditor *editor, const char *data, gsize len);
void line_editor_reset(LineEditor *editor); /* forgets the line */

#endif
