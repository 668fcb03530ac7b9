/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line editor for a raw terminal: echo, cursor keys, history, completion. Main thread. */
#ifndef VMM_MONITOR_LINE_EDITOR_H
#define VMM_MONITOR_LINE_EDITOR_H

#include <glib.h>

typedef struct LineEditor {
    const char *prompt;
    GString *line;
    gsize cursor;
    GPtrArray *history; /* char *, oldest first */
    guint history_at;   /* == history->len: the new line */
    int escape;         /* of a cursor-key sequence: 0 none, 1 ESC, 2 ESC [ */
    char parameter;     /* of ESC [ n ~ */
    void (*write)(void *opaque, const char *text, gsize len);
    void (*run)(void *opaque, const char *line);
    /* The words that can complete `start`, in a NULL-terminated new list. */
    char **(*complete)(void *opaque, const char *start);
    void *opaque;
} LineEditor;

void line_editor_init(LineEditor *editor);
void line_editor_cleanup(LineEditor *editor);
void line_editor_show_prompt(LineEditor *editor);
void line_editor_feed(LineEditor *editor, const char *data, gsize len);
void line_editor_reset(LineEditor *editor); /* forgets the line */

#endif
