/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The GDB stub's character device, and the monitor's command for it. */
#include "vmm/gdbstub/gdbstub.h"

#include <string.h>
#include "vmm/chardev/chardev.h"
#include "vmm/gdbstub/commands.h"
#include "vmm/gdbstub/session.h"

#define CHARDEV_ID  "gdb"
#define READ_CHUNK  1024
#define OUTPUT_HIGH (64u << 10) /* answers that wait for the client: nothing is read meanwhile */

typedef struct GdbServer {
    GdbSession session;
    CharFrontend *frontend;
    char *chardev_id; /* NULL: of a -chardev, which stays */
    bool connected;
    bool busy;        /* a packet is being answered */
    LoopTask telling; /* of a stop */
} GdbServer;

static GdbServer *server;

static void flush(GdbServer *s)
{
    GString *output = s->session.output;
    if (output->len) {
        size_t taken = char_write(s->frontend, (const uint8_t *)output->str, output->len);
        g_string_erase(output, 0, (gssize)taken);
    }
}

static size_t on_can_read(void *opaque)
{
    GdbServer *s = opaque;
    return s->session.output->len < OUTPUT_HIGH ? READ_CHUNK : 0;
}

static void on_read(void *opaque, const uint8_t *data, size_t len)
{
    GdbServer *s = opaque;
    s->busy = true;
    gdb_session_feed(&s->session, data, len);
    s->busy = false;
    flush(s);
}

static void on_writable(void *opaque)
{
    GdbServer *s = opaque;
    flush(s);
    char_accept_input(s->frontend);
}

static void set_connected(GdbServer *s, bool connected)
{
    if (connected == s->connected) {
        return;
    }
    s->connected = connected;
    if (connected) {
        gdb_session_opened(&s->session);
    } else {
        gdb_session_closed(&s->session);
    }
}

static void on_event(void *opaque, CharEvent event)
{
    if (event == CHAR_EVENT_OPENED || event == CHAR_EVENT_CLOSED) {
        set_connected(opaque, event == CHAR_EVENT_OPENED);
    }
}

/* A stop of the machine, told from the loop: when the process ends with it, gdbstub_stop() tells.
 */
static void tell_stop(void *opaque)
{
    GdbServer *s = opaque;
    gdb_session_settled(&s->session);
    flush(s);
}

static void machine_changed(void *opaque, RunState state, bool running)
{
    GdbServer *s = opaque;
    if (!running && s->connected) {
        event_loop_post(event_loop_main(), &s->telling);
    }
}

/* ---- Starting and stopping ---- */

/* The text with ",server=on" and ",wait=off" where it says nothing of them: gdb connects, and when
 * is its user's affair. */
static char *complete_device(const char *device, GError **error)
{
    bool tcp = g_str_has_prefix(device, "tcp:"), local = g_str_has_prefix(device, "unix:");
    if (!tcp && !local) {
        return g_strdup(device);
    }
    const char *comma = strchr(device, ',');
    g_autoptr(Opts) opts = comma ? opts_parse(comma + 1, NULL, error) : opts_new();
    bool server_on = tcp && !opts_has(opts, "server");
    if (!opts) {
        return NULL;
    }
    bool listens = server_on;
    if (!listens && !opts_get_bool(opts, "server", &listens, error)) {
        return NULL;
    }
    return g_strconcat(device, server_on ? ",server=on" : "",
                       tcp && !opts_has(opts, "nodelay") && !opts_has(opts, "delay") ? ",nodelay=on"
                                                                                     : "",
                       listens && !opts_has(opts, "wait") ? ",wait=off" : "", NULL);
}

static void server_free(GdbServer *s)
{
    event_loop_cancel_task(event_loop_main(), &s->telling);
    machine_remove_run_notifier(s->session.machine, machine_changed, s);
    set_connected(s, false);
    if (s->frontend) {
        char_frontend_detach(s->frontend);
    }
    if (s->chardev_id) {
        (void)chardev_delete(s->chardev_id, NULL);
    }
    gdb_session_cleanup(&s->session);
    g_free(s->chardev_id);
    g_free(s);
}

void gdbstub_stop(void)
{
    GdbServer *s = g_steal_pointer(&server);
    if (!s) {
        return;
    }
    if (s->connected) {
        gdb_session_exited(&s->session);
        flush(s);
    }
    server_free(s);
}

static bool open_server(Machine *machine, const char *device, GError **error)
{
    static const CharFrontendOps ops = {
        .can_read = on_can_read, .read = on_read, .event = on_event, .writable = on_writable
    };
    bool own = !g_str_has_prefix(device, "chardev:");
    g_autofree char *text = complete_device(device, error);
    GError *cause = NULL;
    Chardev *chardev = text ? chardev_new_legacy(text, CHARDEV_ID, &cause) : NULL;
    if (!chardev) {
        if (cause) {
            g_propagate_error(error, cause);
        }
        return false;
    }
    GdbServer *s = g_new0(GdbServer, 1);
    gdb_session_init(&s->session, machine);
    s->chardev_id = own ? g_strdup(chardev_id(chardev)) : NULL;
    s->telling = (LoopTask)LOOP_TASK_INIT(tell_stop, s);
    s->frontend = char_frontend_attach(chardev, &ops, s, error);
    if (!s->frontend) {
        server_free(s);
        return false;
    }
    machine_add_run_notifier(machine, machine_changed, s);
    server = s;
    return true;
}

bool gdbstub_start(Machine *machine, const char *device, GError **error)
{
    if (server && server->busy) {
        return error_set(error, "gdb itself cannot end its connection this way: use its detach");
    }
    bool none = g_str_equal(device, "none");
    if (!none && !machine->accel->debug) {
        return error_set(error, "the accelerator '%s' has no vCPUs that gdb could look at",
                         machine->accel->name);
    }
    if (!none && !machine->accel->debug->check(machine, error)) {
        return false;
    }
    gdbstub_stop();
    return none || open_server(machine, device, error);
}

/* ---- The human monitor ---- */

static void hmp_gdbserver(GString *out, char **args)
{
    const char *device = args[0] ? args[0] : GDBSTUB_DEFAULT;
    GError *error = NULL;
    if (!gdbstub_start(machine_get(), device, &error)) {
        g_prefix_error(&error, "gdbserver %s: ", device);
        hmp_error(out, error);
    } else if (g_str_equal(device, "none")) {
        g_string_append(out, "gdb is not served any more\n");
    } else {
        g_string_append_printf(out, "gdb is served on %s\n", device);
    }
}

static const HmpCommand hmp[] = {
    { "gdbserver", "[DEVICE]", "serve gdb on a device, tcp::1234 if none is named; none: no more",
      hmp_gdbserver, 0, 1 },
    { NULL },
};

const MonitorCommands gdb_commands = { .hmp = hmp };
