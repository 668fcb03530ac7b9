/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which trace points are on: patterns, files of patterns. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "vmm/cli/opts.h"
#include "vmm/trace/private.h"

#define EVENTS_FILE_MAX (1024 * 1024)

bool trace_is_pattern(const char *text)
{
    return strpbrk(text, "*?") != NULL;
}

static bool point_logs(const TracePoint *point)
{
    return trace_word_logs(point->word);
}

/* The half of the word that is ours; the other one belongs to USDT tools. */
static void point_set(const TracePoint *point, bool on)
{
    __atomic_store_n((uint16_t *)point->word + 1, on ? 1 : 0, __ATOMIC_RELAXED);
}

/* Names are ASCII, patterns whatever came. */
static bool matches(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

unsigned trace_foreach(const char *pattern,
                       void (*fn)(const char *name, const char *format, bool on, void *opaque),
                       void *opaque)
{
    unsigned count = 0;
    for (const TracePoint *point = trace_points; point->name; point++) {
        if (!pattern || matches(pattern, point->name)) {
            count++;
            fn(point->name, point->format, point_logs(point), opaque);
        }
    }
    return count;
}

bool trace_unknown(const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const TracePoint *point = trace_points; point->name; point++) {
        g_ptr_array_add(names, (void *)point->name);
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *near = suggest_nearest(name, (const char *const *)names->pdata);
    return error_set(error, "there is no trace point '%s'%s%s%s", name,
                     near ? " (did you mean '" : " (-trace help lists them)", near ? near : "",
                     near ? "'?)" : "");
}

bool trace_set(const char *pattern, bool on, GError **error)
{
    bool found = false;
    for (const TracePoint *point = trace_points; point->name; point++) {
        if (matches(pattern, point->name)) {
            found = true;
            point_set(point, on);
        }
    }
    if (!found && trace_is_pattern(pattern)) {
        return error_set(error, "no trace point matches '%s' (-trace help lists them)", pattern);
    }
    return found || trace_unknown(pattern, error);
}

bool trace_apply(const char *text, GError **error)
{
    bool off = text[0] == '-';
    if (!text[off]) {
        return error_set(error, "a pattern of trace points is empty");
    }
    return trace_set(text + off, !off, error);
}

bool trace_apply_lines(const char *name, const char *text, size_t len, GError **error)
{
    const char *end = text + len;
    for (unsigned number = 1; text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        stop = stop ? stop : end;
        if (memchr(text, '\0', (size_t)(stop - text))) {
            return error_set(error, "%s:%u: not a text file", name, number);
        }
        g_autofree char *line = g_strstrip(g_strndup(text, (gsize)(stop - text)));
        if (line[0] && line[0] != '#' && !trace_apply(line, error)) {
            g_prefix_error(error, "%s:%u: ", name, number);
            return false;
        }
        text = stop < end ? stop + 1 : end;
    }
    return true;
}

bool trace_apply_file(const char *path, GError **error)
{
    g_autofree char *text = g_malloc(EVENTS_FILE_MAX + 1);
    FILE *file = fopen(path, "re");
    if (!file) {
        return error_set_errno(error, errno, "cannot open '%s'", path);
    }
    size_t len = fread(text, 1, EVENTS_FILE_MAX + 1, file);
    int failed = ferror(file) ? errno : 0;
    fclose(file);
    if (failed) {
        return error_set_errno(error, failed, "cannot read '%s'", path);
    }
    if (len > EVENTS_FILE_MAX) {
        return error_set(error, "'%s': longer than 1 MiB: not a list of trace points", path);
    }
    return trace_apply_lines(path, text, len, error);
}
