/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's sessions: a line editor on a character device each. */
#include "vmm/monitor/hmp.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "config.h"
#include "vmm/monitor/line_editor.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/server.h"
#include "vmm/util/passed_fds.h"

#define READ_CHUNK      1024
#define OUTPUT_HIGH     (64u << 10) /* that waits for its reader: nothing is read meanwhile */
#define OUTPUT_MAX      (16u << 20) /* of one command; the rest is cut off */
#define DEFAULT_COLUMNS 80

typedef struct HmpSession {
    CharFrontend *frontend;
    LineEditor editor;
    HmpContext context;
    GString *output; /* that the other side has not read yet */
    bool on_stdio;
    bool hidden;  /* another has the mux's focus: say nothing */
    bool greeted; /* since the other side opened */
    bool connected;
    PassedFds fds;
} HmpSession;

static GPtrArray *sessions;

/* ---- Output ---- */

static void flush(HmpSession *session)
{
    GString *output = session->output;
    if (output->len) {
        size_t taken = char_write(session->frontend, (const uint8_t *)output->str, output->len);
        g_string_erase(output, 0, (gssize)taken);
    }
}

/* Terminals in raw mode want the carriage return. */
static void send_text(void *opaque, const char *text, gsize len)
{
    HmpSession *session = opaque;
    for (gsize i = 0; i < len; i++) {
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) {
            g_string_append_c(session->output, '\r');
        }
        g_string_append_c(session->output, text[i]);
    }
    flush(session);
}

static unsigned columns(void *opaque)
{
    HmpSession *session = opaque;
    struct winsize size = { 0 };
    bool known = session->on_stdio && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col;
    return known ? size.ws_col : DEFAULT_COLUMNS;
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
    hmp_execute_in(&session->context, line, out);
    passed_fds_set_current(before);
    close_untaken(session);
    if (out->len > OUTPUT_MAX) {
        g_string_truncate(out, OUTPUT_MAX);
        g_string_append(out, "\n... and more: this is too long to be shown\n");
    }
    send_text(session, out->str, out->len);
    line_editor_show_prompt(&session->editor);
}

static GPtrArray *complete(void *opaque, const char *start, gsize *from)
{
    return hmp_complete(start, from);
}

/* ---- Input ---- */

static size_t on_can_read(void *opaque)
{
    return ((HmpSession *)opaque)->output->len < OUTPUT_HIGH ? READ_CHUNK : 0;
}

static void on_read(void *opaque, const uint8_t *data, size_t len)
{
    line_editor_feed(&((HmpSession *)opaque)->editor, (const char *)data, len);
}

static void on_writable(void *opaque)
{
    HmpSession *session = opaque;
    flush(session);
    char_accept_input(session->frontend);
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

static void set_connected(HmpSession *session, bool connected)
{
    session->greeted &= !connected;
    g_string_truncate(session->output, 0);
    if (session->connected != connected) {
        session->connected = connected;
        monitor_connected(connected);
    }
}

static void on_event(void *opaque, CharEvent event)
{
    HmpSession *session = opaque;
    if (event == CHAR_EVENT_OPENED || event == CHAR_EVENT_CLOSED) {
        set_connected(session, event == CHAR_EVENT_OPENED);
    }
    if (event == CHAR_EVENT_MUX_IN || event == CHAR_EVENT_MUX_OUT) {
        session->hidden = event == CHAR_EVENT_MUX_OUT;
    }
    if (event == CHAR_EVENT_MUX_IN || (event == CHAR_EVENT_OPENED && !session->hidden)) {
        show(session);
    }
}

static void session_free(HmpSession *session)
{
    line_editor_cleanup(&session->editor);
    passed_fds_clear(&session->fds);
    g_string_free(session->output, TRUE);
    g_free(session);
}

bool monitor_add_hmp(Chardev *chardev, GError **error)
{
    static const CharFrontendOps ops = { .can_read = on_can_read,
                                         .read = on_read,
                                         .event = on_event,
                                         .writable = on_writable,
                                         .background = true };
    HmpSession *session = g_new0(HmpSession, 1);
    g_autofree char *filename = chardev_filename(chardev);
    session->on_stdio = g_str_has_suffix(filename, "stdio");
    session->output = g_string_new(NULL);
    session->editor = (LineEditor){ .prompt = "(qemu) ",
                                    .write = send_text,
                                    .run = run_line,
                                    .columns = columns,
                                    .complete = complete,
                                    .opaque = session };
    line_editor_init(&session->editor);
    session->context = (HmpContext)HMP_CONTEXT_INIT;
    session->context.history = session->editor.history;
    session->frontend = char_frontend_attach(chardev, &ops, session, error);
    if (!session->frontend) {
        session_free(session);
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
        flush(session);
        char_frontend_detach(session->frontend);
        session_free(session);
    }
    g_clear_pointer(&sessions, g_ptr_array_unref);
}
