/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Continuing, stepping, stopping: what changes whether the machine runs, and what gdb is told of
 * it. */
#include <errno.h>
#include <string.h>
#include "vmm/gdbstub/session.h"
#include "vmm/machine/machine.h"

/* ---- Stops ---- */

static unsigned signal_of(RunState state)
{
    switch (state) {
    case RUN_STATE_DEBUG:
        return GDB_SIGNAL_TRAP;
    case RUN_STATE_SHUTDOWN:
        return GDB_SIGNAL_QUIT;
    case RUN_STATE_INTERNAL_ERROR:
    case RUN_STATE_GUEST_PANICKED:
        return GDB_SIGNAL_ABRT;
    case RUN_STATE_IO_ERROR:
        return GDB_SIGNAL_IO;
    case RUN_STATE_WATCHDOG:
        return GDB_SIGNAL_ALRM;
    default:
        return GDB_SIGNAL_INT;
    }
}

static void append_reason(GdbSession *session, GString *out)
{
    static const char *const names[] = {
        [DEBUG_WATCH_WRITE] = "watch", [DEBUG_WATCH_ACCESS] = "awatch"
    };
    const GdbWatch *watch = session->stop.kind == DEBUG_STOP_HARDWARE
                                ? gdb_watch_of_slot(session, session->stop.slot)
                                : NULL;
    if (session->stop.kind == DEBUG_STOP_SOFTWARE && session->swbreak) {
        g_string_append(out, "swbreak:;");
    } else if (watch && watch->kind != DEBUG_BREAK_HARDWARE) {
        g_string_append_printf(out, "%s:%" G_GINT64_MODIFIER "x;", names[watch->kind], watch->addr);
    } else if (watch && session->hwbreak) {
        g_string_append(out, "hwbreak:;");
    }
}

/* The T packet of the last stop. */
void gdb_send_stop(GdbSession *session)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_string_append_printf(out, "T%02xthread:", session->stop_signal);
    gdb_append_thread(session, out, gdb_present_cpu(session, session->stop_cpu));
    g_string_append_c(out, ';');
    append_reason(session, out);
    session->reply_owed = false;
    gdb_reply_data(session, out);
}

/* Which vCPU it was, and why; the others' reasons are still there when they go on. */
static void find_stopper(GdbSession *session)
{
    session->stop = (DebugStop){ DEBUG_STOP_NONE, 0 };
    for (unsigned cpu = 0; cpu < gdb_cpu_count(session); cpu++) {
        DebugStop stop = { DEBUG_STOP_NONE, 0 };
        if (machine_cpu_present(session->machine, cpu)) {
            stop = gdb_ops(session)->take_stop(session->machine, cpu);
        }
        if (stop.kind != DEBUG_STOP_NONE && session->stop.kind == DEBUG_STOP_NONE) {
            session->stop = stop;
            session->stop_cpu = cpu;
        }
    }
}

/* A guest that sleeps has not stopped for gdb: it goes on. Whether one that has shut down is still
 * there to be looked at (-no-shutdown), gdb_session_settled() knows. */
void gdb_stopped(GdbSession *session, RunState state)
{
    if (state == RUN_STATE_SUSPENDED) {
        return;
    }
    session->stop_signal = signal_of(state);
    session->stop_cpu = gdb_present_cpu(session, session->stop_cpu);
    find_stopper(session);
    session->g_cpu = session->c_cpu = session->stop_cpu;
    if (session->reply_owed && state != RUN_STATE_SHUTDOWN) {
        gdb_send_stop(session);
    }
}

void gdb_session_settled(GdbSession *session)
{
    if (session->reply_owed && machine_run_state(session->machine) == RUN_STATE_SHUTDOWN) {
        gdb_send_stop(session);
    }
}

void gdb_interrupt(GdbSession *session)
{
    if (machine_is_running(session->machine)) {
        machine_stop(session->machine, RUN_STATE_PAUSED); /* answers by gdb_stopped() */
    } else if (session->reply_owed) {
        session->stop_signal = GDB_SIGNAL_INT; /* the guest sleeps */
        gdb_send_stop(session);
    }
}

void gdb_cmd_reason(GdbSession *session, const char *args)
{
    gdb_send_stop(session);
}

/* ---- Going on ---- */

static void plan_all(GdbSession *session, DebugRun run)
{
    for (unsigned cpu = 0; cpu < gdb_cpu_count(session); cpu++) {
        session->plan[cpu] = run;
    }
}

static DebugRun step_kind(const GdbSession *session)
{
    if (!(session->sstep & SSTEP_ENABLE)) {
        return DEBUG_RUN_ON;
    }
    return session->sstep & SSTEP_NOIRQ ? DEBUG_RUN_STEP_NO_IRQ : DEBUG_RUN_STEP;
}

void gdb_follow_plan(GdbSession *session)
{
    for (unsigned cpu = 0; cpu < gdb_cpu_count(session); cpu++) {
        g_autoptr(GError) error = NULL;
        DebugRun run = session->resuming ? session->plan[cpu] : DEBUG_RUN_ON;
        if (machine_cpu_present(session->machine, cpu) &&
            !gdb_ops(session)->set_run(session->machine, cpu, run, &error)) {
            report_warning("gdb: %s", error->message);
        }
    }
    session->resuming = false;
}

/* Does what the plan says; the answer comes when the machine stops. */
static void resume(GdbSession *session)
{
    g_autoptr(GError) error = NULL;
    session->resuming = true;
    session->reply_owed = true;
    if (!machine_cont(session->machine, &error)) {
        g_autofree char *text = g_strdup_printf("The machine cannot go on: %s\n", error->message);
        session->resuming = false;
        gdb_console(session, text);
        gdb_send_stop(session);
    }
}

/* An address to go on at, if there is one. */
static bool jump(GdbSession *session, const char *args)
{
    DebugRegs regs;
    if (!*args) {
        return true;
    }
    session->c_cpu = gdb_present_cpu(session, session->c_cpu);
    return gdb_ops(session)->regs_get(session->machine, session->c_cpu, &regs,
                                      DEBUG_REGS_GENERAL) &&
           gdb_parse_number(&args, &regs.rip) && !*args &&
           gdb_ops(session)->regs_put(session->machine, session->c_cpu, &regs, DEBUG_REGS_GENERAL);
}

void gdb_cmd_continue(GdbSession *session, const char *args)
{
    if (!jump(session, args)) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    plan_all(session, DEBUG_RUN_ON);
    resume(session);
}

void gdb_cmd_step(GdbSession *session, const char *args)
{
    if (!jump(session, args)) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    plan_all(session, DEBUG_RUN_ON);
    session->plan[gdb_present_cpu(session, session->c_cpu)] = step_kind(session);
    resume(session);
}

/* "SIGNAL[;ADDRESS]": a machine takes no signals, as QEMU's does not. */
static bool skip_signal(const char **args)
{
    uint64_t number;
    if (!gdb_parse_number(args, &number)) {
        return false;
    }
    if (**args == ';') {
        (*args)++;
        return true;
    }
    return !**args;
}

void gdb_cmd_continue_signal(GdbSession *session, const char *args)
{
    if (skip_signal(&args)) {
        gdb_cmd_continue(session, args);
    } else {
        gdb_reply_error(session, EINVAL);
    }
}

void gdb_cmd_step_signal(GdbSession *session, const char *args)
{
    if (skip_signal(&args)) {
        gdb_cmd_step(session, args);
    } else {
        gdb_reply_error(session, EINVAL);
    }
}

/* ---- vCont ---- */

/* c, s, C05, S05, t. */
static bool parse_action(GdbSession *session, const char **at, DebugRun *run)
{
    char action = *(*at)++;
    uint64_t number;
    *run = action == 't'                    ? DEBUG_RUN_HELD
           : action == 's' || action == 'S' ? step_kind(session)
                                            : DEBUG_RUN_ON;
    return strchr("cst", action) || (strchr("CS", action) && gdb_parse_number(at, &number));
}

/* ";ACTION[:THREAD]..." to the plan: the leftmost action that names a vCPU counts, and who is not
 * named stays where it is. */
static bool parse_vcont(GdbSession *session, const char *at)
{
    g_autofree bool *named = g_new0(bool, gdb_cpu_count(session));
    plan_all(session, DEBUG_RUN_HELD);
    while (*at == ';' && at[1]) {
        DebugRun run;
        int which = GDB_THREAD_ALL;
        at++;
        if (!parse_action(session, &at, &run)) {
            return false;
        }
        if (*at == ':') {
            at++;
            if (!gdb_parse_thread(session, &at, &which)) {
                return false;
            }
        }
        if (which == GDB_THREAD_ANY) {
            which = (int)gdb_present_cpu(session, session->c_cpu);
        }
        for (unsigned cpu = 0; cpu < gdb_cpu_count(session); cpu++) {
            if (!named[cpu] && (which == GDB_THREAD_ALL || which == (int)cpu)) {
                named[cpu] = true;
                session->plan[cpu] = run;
            }
        }
    }
    return !*at;
}

static bool plan_moves(const GdbSession *session)
{
    for (unsigned cpu = 0; cpu < gdb_cpu_count(session); cpu++) {
        if (machine_cpu_present(session->machine, cpu) && session->plan[cpu] != DEBUG_RUN_HELD) {
            return true;
        }
    }
    return false;
}

static void cmd_vcont(GdbSession *session, const char *args)
{
    if (*args != ';' || !parse_vcont(session, args)) {
        gdb_reply_error(session, EINVAL);
    } else if (plan_moves(session)) {
        resume(session);
    } else {
        session->stop_signal = GDB_SIGNAL_0;
        session->stop = (DebugStop){ DEBUG_STOP_NONE, 0 };
        gdb_send_stop(session);
    }
}

/* ---- The end of a session ---- */

static bool parse_own_process(const char *args)
{
    uint64_t process;
    return gdb_parse_number(&args, &process) && process == 1 && !*args;
}

static void end_machine(GdbSession *session)
{
    machine_request_shutdown(session->machine, SHUTDOWN_CAUSE_HOST_UI);
}

void gdb_cmd_kill(GdbSession *session, const char *args)
{
    end_machine(session);
}

/* "D" or "D;PID": the guest goes on as if nobody had been there. */
void gdb_cmd_detach(GdbSession *session, const char *args)
{
    g_autoptr(GError) error = NULL;
    if (*args && (*args != ';' || !parse_own_process(args + 1))) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    gdb_breaks_clear(session);
    session->resuming = false;
    if (!machine_cont(session->machine, &error)) {
        report_info("gdb has gone, the machine stays stopped: %s", error->message);
    }
    gdb_reply(session, "OK");
}

void gdb_cmd_v(GdbSession *session, const char *args)
{
    if (g_str_equal(args, "Cont?")) {
        gdb_reply(session, "vCont;c;C;s;S;t");
    } else if (g_str_has_prefix(args, "Cont")) {
        cmd_vcont(session, args + strlen("Cont"));
    } else if (g_str_equal(args, "CtrlC")) {
        gdb_reply(session, "OK"); /* that there was a packet has stopped the machine */
    } else if (g_str_has_prefix(args, "Attach;") && parse_own_process(args + strlen("Attach;"))) {
        gdb_send_stop(session);
    } else if (g_str_has_prefix(args, "Kill;") && parse_own_process(args + strlen("Kill;"))) {
        gdb_reply(session, "OK");
        end_machine(session);
    } else if (g_str_has_prefix(args, "Attach;") || g_str_has_prefix(args, "Kill;")) {
        gdb_reply_error(session, ESRCH);
    } else {
        gdb_reply(session, "%s", "");
    }
}
