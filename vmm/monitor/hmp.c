/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor: lines to commands, and its servers. */
#include <string.h>
#include <unistd.h>
#include "config.h"
#include "vmm/device/parse.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/line_editor.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/server.h"
#include "vmm/util/passed_fds.h"

#define READ_CHUNK 1024

/* ---- Lines ---- */

typedef struct Lookup {
    const char *line;
    const HmpCommand *found;
    size_t used; /* of the line */
    const char *nearest;
    unsigned distance;
} Lookup;

static bool name_matches(const char *line, const char *name)
{
    size_t length = strlen(name);
    return strncmp(line, name, length) == 0 && (line[length] == '\0' || line[length] == ' ');
}

static void try_name(Lookup *lookup, const HmpCommand *command, const char *name)
{
    if (name && name_matches(lookup->line, name) && strlen(name) >= lookup->used) {
        lookup->found = command;
        lookup->used = strlen(name);
    }
}

static void try_command(const HmpCommand *command, void *opaque)
{
    Lookup *lookup = opaque;
    try_name(lookup, command, command->name);
    try_name(lookup, command, command->alias);
    unsigned distance = word_distance(lookup->line, command->name);
    if (distance < lookup->distance) {
        lookup->nearest = command->name;
        lookup->distance = distance;
    }
}

/* "a  b" to "a b", so that "info  status" is found. */
static char *squeeze(const char *line)
{
    g_autoptr(GString) out = g_string_new(NULL);
    for (const char *at = line; *at; at++) {
        bool space = g_ascii_isspace(*at);
        if (!space) {
            g_string_append_c(out, *at);
        } else if (out->len && out->str[out->len - 1] != ' ') {
            g_string_append_c(out, ' ');
        }
    }
    return g_strdup(g_strchomp(out->str));
}

static void run_command(const HmpCommand *command, const char *rest, GString *out)
{
    while (*rest == ' ') {
        rest++;
    }
    g_auto(GStrv) args = *rest && command->max_args ? g_strsplit(rest, " ", (gint)command->max_args)
                                                    : g_new0(char *, 1);
    if (g_strv_length(args) < command->min_args || (*rest && !command->max_args)) {
        g_string_append_printf(out, "usage: %s%s%s\n", command->name, command->params ? " " : "",
                               command->params ? command->params : "");
        return;
    }
    command->run(out, args);
}

void hmp_execute(const char *text, GString *out)
{
    g_autofree char *line = squeeze(text);
    if (!line[0]) {
        return;
    }
    Lookup lookup = { .line = line, .distance = G_MAXUINT };
    monitor_foreach_hmp(try_command, &lookup);
    if (lookup.found) {
        run_command(lookup.found, line + lookup.used, out);
        return;
    }
    g_string_append_printf(out, "unknown command: '%s'", line);
    if (lookup.nearest && word_is_near(line, lookup.distance)) {
        g_string_append_printf(out, " (did you mean '%s'?)", lookup.nearest);
    }
    g_string_append_c(out, '\n');
}

/* ---- Servers ---- */

typedef struct HmpSession {
    CharFrontend *frontend;
    LineEditor editor;
    bool hidden;  /* another has the mux's focus: say nothing */
    bool greeted; /* since the other side opened */
    bool connected;
    PassedFds fds;
} HmpSession;

static GPtrArray *sessions;

/* Terminals in raw mode want the carriage return. */
static void send_text(void *opaque, const char *text, gsize len)
{
    HmpSession *session = opaque;
    g_autoptr(GString) out = g_string_sized_new(len);
    for (gsize i = 0; i < len; i++) {
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) {
            g_string_append_c(out, '\r');
        }
        g_string_append_c(out, text[i]);
    }
    char_write_all(session->frontend, (const uint8_t *)out->str, out->len);
}

static int next_passed(void *opaque)
{
    return char_take_fd(((HmpSession *)opaque)->frontend);
}

static void close_untaken(HmpSession *session)
{
    int fd;
    while ((fd = next_passed(session)) >= 0) {
        close(fd);
    }
}

static void run_line(void *opaque, const char *line)
{
    HmpSession *session = opaque;
    g_autoptr(GString) out = g_string_new(NULL);
    PassedFds *before = passed_fds_set_current(&session->fds);
    hmp_execute(line, out);
    passed_fds_set_current(before);
    close_untaken(session);
    send_text(session, out->str, out->len);
    line_editor_show_prompt(&session->editor);
}

typedef struct Completion {
    const char *start;
    GPtrArray *words;
} Completion;

static void add_completion(const HmpCommand *command, void *opaque)
{
    Completion *completion = opaque;
    if (g_str_has_prefix(command->name, completion->start)) {
        g_ptr_array_add(completion->words, g_strdup(command->name));
    }
}

static char **complete(void *opaque, const char *start)
{
    Completion completion = { .start = start, .words = g_ptr_array_new() };
    monitor_foreach_hmp(add_completion, &completion);
    g_ptr_array_add(completion.words, NULL);
    return (char **)g_ptr_array_free(completion.words, FALSE);
}

static size_t on_can_read(void *opaque)
{
    return READ_CHUNK;
}

static void on_read(void *opaque, const uint8_t *data, size_t len)
{
    line_editor_feed(&((HmpSession *)opaque)->editor, (const char *)data, len);
}

static void show(HmpSession *session)
{
    static const char greeting[] = "Vireo " VIREO_VERSION
                                   " monitor - type 'help' for more information\n";
    line_editor_reset(&session->editor);
    if (!session->greeted) {
        session->greeted = true;
        send_text(session, greeting, strlen(greeting));
    }
    line_editor_show_prompt(&session->editor);
}

static void on_event(void *opaque, CharEvent event)
{
    HmpSession *session = opaque;
    session->greeted &= event != CHAR_EVENT_OPENED;
    if ((event == CHAR_EVENT_OPENED || event == CHAR_EVENT_CLOSED) &&
        session->connected != (event == CHAR_EVENT_OPENED)) {
        session->connected = event == CHAR_EVENT_OPENED;
        monitor_connected(session->connected);
    }
    if (event == CHAR_EVENT_MUX_IN || event == CHAR_EVENT_MUX_OUT) {
        session->hidden = event == CHAR_EVENT_MUX_OUT;
    }
    if (event == CHAR_EVENT_MUX_IN || (event == CHAR_EVENT_OPENED && !session->hidden)) {
        show(session);
    }
}

bool monitor_add_hmp(Chardev *chardev, GError **error)
{
    static const CharFrontendOps ops = {
        .can_read = on_can_read, .read = on_read, .event = on_event, .background = true
    };
    HmpSession *session = g_new0(HmpSession, 1);
    session->editor = (LineEditor){ .prompt = "(qemu) ",
                                    .write = send_text,
                                    .run = run_line,
                                    .complete = complete,
                                    .opaque = session };
    line_editor_init(&session->editor);
    session->frontend = char_frontend_attach(chardev, &ops, session, error);
    if (!session->frontend) {
        line_editor_cleanup(&session->editor);
        g_free(session);
        return false;
    }
    passed_fds_init(&session->fds, next_passed, session);
    if (!sessions) {
        sessions = g_ptr_array_new();
    }
    g_ptr_array_add(sessions, session);
    return true;
}

void hmp_sessions_close(void)
{
    for (guint i = 0; sessions && i < sessions->len; i++) {
        HmpSession *session = g_ptr_array_index(sessions, i);
        char_frontend_detach(session->frontend);
        line_editor_cleanup(&session->editor);
        passed_fds_clear(&session->fds);
        g_free(session);
    }
    g_clear_pointer(&sessions, g_ptr_array_unref);
}
