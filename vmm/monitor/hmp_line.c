/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of the human monitor to commands and their words. */
#include "vmm/monitor/hmp.h"

#include <string.h>
#include "vmm/device/parse.h"
#include "vmm/machine/machine.h"
#include "vmm/trace/trace-monitor.h"

#define SIMILAR_MAX  8
#define COMPARE_MAX  64 /* characters of a wrong line that are compared with the names there are */
#define BLANKS       " \t\r\n\v\f"
#define ESCAPES      "nr\\'\""
#define ESCAPES_MEAN "\n\r\\'\""

static HmpContext *current;

HmpContext *hmp_context(void)
{
    return current;
}

/* ---- Names ---- */

const char *hmp_match_name(const char *line, const char *name)
{
    for (; *name; name++) {
        if (*name == ' ') {
            if (!g_ascii_isspace(*line)) {
                return NULL;
            }
            line += strspn(line, BLANKS);
        } else if (*line++ != *name) {
            return NULL;
        }
    }
    return !*line || *line == '/' || g_ascii_isspace(*line) ? line : NULL;
}

typedef struct Lookup {
    const char *line;
    const HmpCommand *found;
    const char *rest;
} Lookup;

static void try_name(Lookup *lookup, const HmpCommand *command, const char *name)
{
    const char *rest = name ? hmp_match_name(lookup->line, name) : NULL;
    bool group = rest && g_str_equal(name, "info") && rest[strspn(rest, BLANKS)];
    if (rest && !group && (!lookup->found || rest > lookup->rest)) {
        lookup->found = command;
        lookup->rest = rest;
    }
}

static void try_command(const HmpCommand *command, void *opaque)
{
    try_name(opaque, command, command->name);
    try_name(opaque, command, command->alias);
}

const HmpCommand *hmp_find(const char *line, const char **rest)
{
    Lookup lookup = { .line = line };
    monitor_foreach_hmp(try_command, &lookup);
    *rest = lookup.rest;
    return lookup.found;
}

/* ---- What is no command ---- */

typedef struct Similar {
    const char *line;
    GString *longer; /* names that begin with the line */
    unsigned count;
    const char *nearest;
    unsigned distance;
} Similar;

static void look_at(const HmpCommand *command, void *opaque)
{
    Similar *similar = opaque;
    unsigned distance = word_distance(similar->line, command->name);
    if (g_str_has_prefix(command->name, similar->line) && similar->count++ < SIMILAR_MAX) {
        g_string_append_printf(similar->longer, "%s'%s'", similar->longer->len ? ", " : "",
                               command->name);
    }
    if (distance < similar->distance) {
        similar->nearest = command->name;
        similar->distance = distance;
    }
}

static const HmpMissing *find_missing(const char *line)
{
    for (const HmpMissing *row = hmp_missing; row->name; row++) {
        if (hmp_match_name(line, row->name)) {
            return row;
        }
    }
    return NULL;
}

/* The line's beginning with one blank between its words and nothing that a terminal obeys. */
static char *printable(const char *line)
{
    g_autofree char *valid = g_utf8_make_valid(line, (gssize)MIN(strlen(line), COMPARE_MAX * 4));
    g_autoptr(GString) out = g_string_new(NULL);
    unsigned count = 0;
    for (const char *at = valid; *at && count < COMPARE_MAX; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);
        bool blank = g_unichar_isspace(c);
        if (blank && (!out->len || out->str[out->len - 1] == ' ')) {
            continue;
        }
        g_string_append_unichar(out, blank ? ' ' : g_unichar_isprint(c) ? c : '?');
        count++;
    }
    return g_strdup(g_strchomp(out->str));
}

static void say_unknown(GString *out, const char *line)
{
    const HmpMissing *missing = find_missing(line);
    if (missing) {
        g_string_append_printf(out, "Error: '%s' is QEMU's, and not in this version: %s\n",
                               missing->name, missing->reason);
        return;
    }
    g_autofree char *shown = printable(line);
    g_autoptr(GString) longer = g_string_new(NULL);
    Similar similar = { .line = shown, .longer = longer, .distance = G_MAXUINT };
    monitor_foreach_hmp(look_at, &similar);
    g_string_append_printf(out, "unknown command: '%s'", shown);
    if (similar.count) {
        g_string_append_printf(out, " (did you mean %s%s?)", longer->str,
                               similar.count > SIMILAR_MAX ? ", ..." : "");
    } else if (similar.nearest && word_is_near(shown, similar.distance)) {
        g_string_append_printf(out, " (did you mean '%s'?)", similar.nearest);
    }
    g_string_append_c(out, '\n');
}

/* ---- Words ---- */

static char *quoted_word(const char **at, GError **error)
{
    g_autoptr(GString) word = g_string_new(NULL);
    const char *p = *at + 1;
    for (; *p && *p != '"'; p++) {
        const char *escape = *p == '\\' && p[1] ? strchr(ESCAPES, p[1]) : NULL;
        if (*p == '\\' && !escape) {
            error_set(error, "after a \\ in quotes comes one of %s", ESCAPES);
            return NULL;
        }
        g_string_append_c(word, escape ? ESCAPES_MEAN[escape - ESCAPES] : *p);
        p += escape != NULL;
    }
    if (!*p) {
        error_set(error, "the word that begins with a \" has no \" at its end");
        return NULL;
    }
    *at = p + 1;
    return g_strdup(word->str);
}

char *hmp_next_word(const char **at, GError **error)
{
    *at += strspn(*at, BLANKS);
    if (**at == '"') {
        return quoted_word(at, error);
    }
    size_t length = strcspn(*at, BLANKS);
    char *word = length ? g_strndup(*at, length) : NULL;
    *at += length;
    return word;
}

void hmp_put_usage(GString *out, const HmpCommand *command)
{
    g_string_append_printf(out, "%s%s%s", command->name, command->params ? " " : "",
                           command->params ? command->params : "");
}

/* The words as the command wants them; NULL: more than it takes, or (error) not words at all. */
static char **split(const HmpCommand *command, const char *rest, GError **error)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    for (;;) {
        rest += strspn(rest, BLANKS);
        if (!*rest) {
            break;
        }
        if (words->len >= command->max_args) {
            return NULL;
        }
        bool text = command->rest && words->len + 1 == command->max_args && *rest != '"';
        char *word = text ? g_strchomp(g_strdup(rest)) : hmp_next_word(&rest, error);
        if (!word) {
            return NULL;
        }
        g_ptr_array_add(words, word);
        rest = text ? "" : rest;
    }
    g_ptr_array_add(words, NULL);
    g_ptr_array_set_free_func(words, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&words), FALSE);
}

static void run_command(const HmpCommand *command, const char *rest, GString *out)
{
    GError *error = NULL;
    g_auto(GStrv) args = split(command, rest, &error);
    if (error) {
        hmp_error(out, error);
    } else if (!args || g_strv_length(args) < command->min_args) {
        g_string_append(out, "usage: ");
        hmp_put_usage(out, command);
        g_string_append_c(out, '\n');
    } else {
        command->run(out, args);
    }
}

void hmp_execute_in(HmpContext *context, const char *line, GString *out)
{
    HmpContext *before = current;
    const char *rest;
    trace_hmp_command(line);
    line += strspn(line, BLANKS);
    if (!*line || *line == '#') {
        return;
    }
    const HmpCommand *command = hmp_find(line, &rest);
    current = context;
    if (command) {
        run_command(command, rest, out);
    } else {
        say_unknown(out, line);
    }
    current = before;
}

void hmp_execute(const char *line, GString *out)
{
    HmpContext context = HMP_CONTEXT_INIT;
    hmp_execute_in(&context, line, out);
}
