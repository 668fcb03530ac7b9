/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client of the GDB stub: bytes in, packets to their commands, answers out. */
#include "vmm/gdbstub/session.h"

#include <errno.h>
#include <string.h>
#include "vmm/machine/machine.h"

#define PROCESS 1 /* the machine, where the client speaks of processes */
#define RESEND_LIMIT                                                                               \
    (4u * GDB_PACKET_MAX) /* output that waits: a client's '-' does not add to it */
#define CONSOLE_CHUNK (GDB_PACKET_MAX / 2 - 1)

/* ---- Answers ---- */

void gdb_reply_data(GdbSession *session, const GString *data)
{
    g_string_truncate(session->last, 0);
    gdb_append_packet(session->last, data);
    g_string_append_len(session->output, session->last->str, (gssize)session->last->len);
}

void gdb_reply(GdbSession *session, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autoptr(GString) data = g_string_new(NULL);
    g_string_append_vprintf(data, format, args);
    va_end(args);
    gdb_reply_data(session, data);
}

void gdb_reply_error(GdbSession *session, int errnum)
{
    gdb_reply(session, "E%02x", (unsigned)errnum & 0xff);
}

void gdb_console(GdbSession *session, const char *text)
{
    for (size_t left = strlen(text); left;) {
        size_t part = MIN(left, CONSOLE_CHUNK);
        g_autoptr(GString) data = g_string_new("O");
        gdb_append_hex(data, text, part);
        gdb_reply_data(session, data);
        text += part;
        left -= part;
    }
}

/* ---- vCPUs as threads: number 1 is the first ---- */

const AccelDebugOps *gdb_ops(const GdbSession *session)
{
    return session->machine->accel->debug;
}

unsigned gdb_cpu_count(const GdbSession *session)
{
    return session->machine->config->smp.maxcpus;
}

unsigned gdb_present_cpu(const GdbSession *session, unsigned cpu)
{
    if (machine_cpu_present(session->machine, cpu)) {
        return cpu;
    }
    for (cpu = 0; cpu + 1 < gdb_cpu_count(session); cpu++) {
        if (machine_cpu_present(session->machine, cpu)) {
            break;
        }
    }
    return cpu;
}

static bool parse_id(const char **text, int64_t *id)
{
    uint64_t value;
    if (g_str_has_prefix(*text, "-1")) {
        *text += 2;
        *id = -1;
        return true;
    }
    if (!gdb_parse_number(text, &value) || value > INT32_MAX) {
        return false;
    }
    *id = (int64_t)value;
    return true;
}

bool gdb_parse_thread(GdbSession *session, const char **text, int *cpu)
{
    int64_t process = PROCESS, thread = -1;
    if (**text == 'p') {
        (*text)++;
        if (!parse_id(text, &process) || (process > 0 && process != PROCESS)) {
            return false;
        }
        if (**text == '.') {
            (*text)++;
            if (!parse_id(text, &thread)) {
                return false;
            }
        }
    } else if (!parse_id(text, &thread)) {
        return false;
    }
    if (thread <= 0) {
        *cpu = thread ? GDB_THREAD_ALL : GDB_THREAD_ANY;
        return true;
    }
    *cpu = (int)thread - 1;
    return machine_cpu_present(session->machine, (unsigned)*cpu);
}

void gdb_append_thread(const GdbSession *session, GString *out, unsigned cpu)
{
    if (session->multiprocess) {
        g_string_append_printf(out, "p%x.%x", PROCESS, cpu + 1);
    } else {
        g_string_append_printf(out, "%x", cpu + 1);
    }
}

/* ---- Packets to commands ---- */

/* Hg, Hc: which vCPU the following commands mean. */
static void cmd_thread(GdbSession *session, const char *args)
{
    char kind = *args;
    int cpu;
    const char *at = args + 1;
    if ((kind != 'g' && kind != 'c') || !gdb_parse_thread(session, &at, &cpu) || *at) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    if (cpu >= 0) {
        *(kind == 'g' ? &session->g_cpu : &session->c_cpu) = (unsigned)cpu;
    }
    gdb_reply(session, "OK");
}

static void cmd_thread_alive(GdbSession *session, const char *args)
{
    int cpu;
    if (!gdb_parse_thread(session, &args, &cpu) || cpu < 0 || *args) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    gdb_reply(session, "OK");
}

static void cmd_extended(GdbSession *session, const char *args)
{
    gdb_reply(session, "OK");
}

static const struct {
    char letter;
    void (*run)(GdbSession *session, const char *args);
} commands[] = {
    { '!', cmd_extended },
    { '?', gdb_cmd_reason },
    { 'c', gdb_cmd_continue },
    { 'C', gdb_cmd_continue_signal },
    { 'D', gdb_cmd_detach },
    { 'g', gdb_cmd_read_all },
    { 'G', gdb_cmd_write_all },
    { 'H', cmd_thread },
    { 'k', gdb_cmd_kill },
    { 'm', gdb_cmd_read_memory },
    { 'M', gdb_cmd_write_memory },
    { 'p', gdb_cmd_read_one },
    { 'P', gdb_cmd_write_one },
    { 'q', gdb_cmd_query },
    { 'Q', gdb_cmd_set },
    { 's', gdb_cmd_step },
    { 'S', gdb_cmd_step_signal },
    { 'T', cmd_thread_alive },
    { 'v', gdb_cmd_v },
    { 'X', gdb_cmd_write_binary },
    { 'z', gdb_cmd_remove },
    { 'Z', gdb_cmd_insert },
};

/* A client that talks while the machine runs wants to see it: it stops first, as under QEMU. */
static void run_packet(GdbSession *session)
{
    const char *packet = session->reader.data->str;
    if (machine_is_running(session->machine)) {
        gdb_interrupt(session);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (packet[0] == commands[i].letter) {
            commands[i].run(session, packet + 1);
            return;
        }
    }
    gdb_reply(session, "%s", "");
}

static void acknowledge(GdbSession *session, char sign)
{
    if (!session->no_ack) {
        g_string_append_c(session->output, sign);
    }
}

static void take_byte(GdbSession *session, uint8_t byte)
{
    switch (gdb_reader_feed(&session->reader, byte)) {
    case GDB_INPUT_PACKET:
        acknowledge(session, '+');
        run_packet(session);
        break;
    case GDB_INPUT_TOO_LONG:
        acknowledge(session, '+');
        gdb_reply_error(session, E2BIG);
        break;
    case GDB_INPUT_BAD:
        acknowledge(session, '-');
        break;
    case GDB_INPUT_NAK:
        if (!session->no_ack && session->output->len < RESEND_LIMIT) {
            g_string_append_len(session->output, session->last->str, (gssize)session->last->len);
        }
        break;
    case GDB_INPUT_INTERRUPT:
        gdb_interrupt(session);
        break;
    case GDB_INPUT_ACK:
    case GDB_INPUT_NONE:
        break;
    }
}

void gdb_session_feed(GdbSession *session, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        take_byte(session, data[i]);
    }
}

/* ---- Life ---- */

void gdb_session_init(GdbSession *session, Machine *machine)
{
    *session = (GdbSession){ .machine = machine };
    gdb_reader_init(&session->reader);
    session->output = g_string_new(NULL);
    session->last = g_string_new(NULL);
    session->breaks = g_array_new(FALSE, FALSE, sizeof(GdbBreak));
    session->watches = g_array_new(FALSE, FALSE, sizeof(GdbWatch));
    session->plan = g_new0(DebugRun, gdb_cpu_count(session));
}

void gdb_session_cleanup(GdbSession *session)
{
    gdb_reader_cleanup(&session->reader);
    g_string_free(session->output, TRUE);
    g_string_free(session->last, TRUE);
    g_array_unref(session->breaks);
    g_array_unref(session->watches);
    g_free(session->plan);
}

static void machine_changed(void *opaque, RunState state, bool running)
{
    GdbSession *session = opaque;
    if (running) {
        gdb_follow_plan(session);
        gdb_breaks_write(session, true);
    } else {
        gdb_breaks_write(session, false);
        gdb_stopped(session, state);
    }
}

void gdb_session_opened(GdbSession *session)
{
    gdb_reader_reset(&session->reader);
    g_string_truncate(session->output, 0);
    g_string_truncate(session->last, 0);
    session->no_ack = session->multiprocess = session->swbreak = session->hwbreak = false;
    session->physical = session->reply_owed = session->resuming = false;
    session->sstep = SSTEP_ENABLE |
                     (gdb_ops(session)->step_keeps_irqs_away(session->machine) ? SSTEP_NOIRQ : 0);
    session->stop_signal = GDB_SIGNAL_TRAP;
    session->stop = (DebugStop){ DEBUG_STOP_NONE, 0 };
    session->g_cpu = session->c_cpu = session->stop_cpu = gdb_present_cpu(session, 0);
    if (machine_is_running(session->machine)) {
        machine_stop(session->machine, RUN_STATE_PAUSED);
    }
    machine_add_run_notifier(session->machine, machine_changed, session);
}

/* What the client left behind is undone; whether the machine runs does not change. */
void gdb_session_closed(GdbSession *session)
{
    Machine *machine = session->machine;
    bool running = machine_is_running(machine);
    machine_remove_run_notifier(machine, machine_changed, session);
    if (running) {
        machine->accel->vcpus_pause(machine);
    }
    gdb_breaks_write(session, false);
    gdb_breaks_clear(session);
    session->resuming = false;
    gdb_follow_plan(session);
    if (running) {
        machine->accel->vcpus_resume(machine);
    }
}

void gdb_session_exited(GdbSession *session)
{
    if (session->reply_owed) {
        gdb_reply(session, "W00");
    }
}
