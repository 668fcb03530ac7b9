/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trace points: named places of the code that tell what happens, in a log and to USDT tools.
 *
 * The points stand in vmm/trace/events/SUBJECT.events, from which scripts/trace-gen.py makes
 * vmm/trace/trace-SUBJECT.h: trace_POINT(arguments), and TRACE_ON_POINT for arguments that take
 * several lines to make. A point that nobody listens to costs one load and one branch that is not
 * taken; its arguments are not looked at.
 *
 * A line of the log is "PID@SECONDS.MICROSECONDS:NAME KEY=VALUE ...". Lines go through a bounded
 * buffer to a thread that writes them: whoever passes a point never waits for the file. Lines that
 * find no room are counted, and a line trace_lost tells how many there were.
 *
 * Control functions: main thread; points: any thread.
 */
#ifndef VMM_TRACE_TRACE_H
#define VMM_TRACE_TRACE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/error.h"

/* The low half counts USDT tools that listen; they change it from outside. The high half is 1 when
 * the point is logged. Together one load tells whether there is anything to do. */
typedef uint32_t TraceWord;

static inline bool trace_word_on(const TraceWord *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED) != 0;
}

static inline bool trace_word_logs(const TraceWord *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED) >> 16 != 0;
}

/* Switches points by a pattern: a name, or a text with `*` for any characters and `?` for one. A
 * name that no point has is an error with the nearest; so is a pattern that matches none. */
bool trace_set(const char *pattern, bool on, GError **error);
/* What -trace enable= and a line of an events file hold: PATTERN, or -PATTERN to switch off. */
bool trace_apply(const char *text, GError **error);
/* A file of such lines, with empty ones and comments (`#`) between them. */
bool trace_apply_file(const char *path, GError **error);
/* The same from memory; `name` is for messages. */
bool trace_apply_lines(const char *name, const char *text, size_t len, GError **error);

/* Calls fn for each point that the pattern matches (NULL: for all), in the lists' order; how many
 * there were. `format` is what the log has behind the name. */
unsigned trace_foreach(const char *pattern,
                       void (*fn)(const char *name, const char *format, bool on, void *opaque),
                       void *opaque);
/* Sets an error that names the nearest point. False. */
bool trace_unknown(const char *name, GError **error);
bool trace_is_pattern(const char *text);

/* The log goes to this file, which is made new; without it to that of -D, or else to standard
 * error. Once. */
bool trace_set_file(const char *path, GError **error);
/* What was logged so far is written, within 2 s, and nothing more is. At the end of the process. */
void trace_finish(void);

/* What points call when they are on: a line of the log. */
void trace_log(const char *name, const char *format, ...) G_GNUC_PRINTF(2, 3);

#endif
