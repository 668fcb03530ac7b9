/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmm/gdbstub: one client's session. Main thread. It is fed bytes and gives bytes, so
 * that tests drive it without a socket.
 */
#ifndef VMM_GDBSTUB_SESSION_H
#define VMM_GDBSTUB_SESSION_H

#include "vmm/gdbstub/packet.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/debug.h"

/* GDB's own numbers of signals (include/gdb/signals.def), and errno values as error codes. */
enum {
    GDB_SIGNAL_0 = 0,
    GDB_SIGNAL_INT = 2,
    GDB_SIGNAL_QUIT = 3,
    GDB_SIGNAL_TRAP = 5,
    GDB_SIGNAL_ABRT = 6,
    GDB_SIGNAL_ALRM = 14,
    GDB_SIGNAL_IO = 23,
};

#define GDB_BREAKS_MAX 1024 /* software breakpoints, so that a client cannot grow the process */

/* Which bits qqemu.sstep has. */
enum { SSTEP_ENABLE = 1, SSTEP_NOIRQ = 2 };

typedef struct GdbBreak {
    uint64_t addr;     /* as the client named it */
    uint64_t physical; /* where the int3 goes */
    uint8_t saved;     /* the byte that was there */
    bool inserted;
} GdbBreak;

/* One of the client's hardware break- or watchpoints: in one or more of the CPU's slots. */
typedef struct GdbWatch {
    DebugBreakKind kind;
    uint64_t addr, length;
} GdbWatch;

typedef struct GdbSession {
    Machine *machine;
    GdbReader reader;
    GString *output; /* bytes for the client; who owns the session takes them */
    GString *last;   /* the last packet, for '-' */
    bool no_ack, multiprocess, swbreak, hwbreak;
    bool physical;         /* addresses are guest-physical: Qqemu.PhyMemMode */
    bool reply_owed;       /* the client waits for the machine to stop */
    unsigned sstep;        /* SSTEP_... */
    unsigned g_cpu, c_cpu; /* of Hg, Hc */
    unsigned list_next;    /* of qsThreadInfo */
    GArray *breaks;        /* GdbBreak */
    GArray *watches;       /* GdbWatch */
    DebugRun *plan;        /* by vCPU, for the next resume */
    bool resuming;         /* the plan is to be followed; else all vCPUs just run */
    /* The last stop. */
    unsigned stop_signal, stop_cpu;
    DebugStop stop;
} GdbSession;

/* ---- session.c ---- */
void gdb_session_init(GdbSession *session, Machine *machine);
void gdb_session_cleanup(GdbSession *session);
void gdb_session_opened(GdbSession *session); /* a client is there: the machine stops */
void gdb_session_closed(GdbSession *session); /* it is gone: its breakpoints too */
void gdb_session_feed(GdbSession *session, const uint8_t *data, size_t len);
void gdb_session_settled(GdbSession *session); /* the loop goes on after the machine has stopped */
void gdb_session_exited(GdbSession *session);  /* the process ends, or the service */

void gdb_reply(GdbSession *session, const char *format, ...) G_GNUC_PRINTF(2, 3);
void gdb_reply_data(GdbSession *session, const GString *data);
void gdb_reply_error(GdbSession *session, int errnum);
void gdb_console(GdbSession *session, const char *text); /* shown by gdb */

const AccelDebugOps *gdb_ops(const GdbSession *session);
unsigned gdb_cpu_count(const GdbSession *session); /* places; not all are filled */
/* The vCPU, or the first one if that has left. */
unsigned gdb_present_cpu(const GdbSession *session, unsigned cpu);
/* "p1.2", "2", "-1", "0": the vCPU's index, or GDB_THREAD_ANY, GDB_THREAD_ALL. */
bool gdb_parse_thread(GdbSession *session, const char **text, int *cpu);
void gdb_append_thread(const GdbSession *session, GString *out, unsigned cpu);
enum { GDB_THREAD_ALL = -1, GDB_THREAD_ANY = -2 };

/* ---- control.c ---- */
void gdb_cmd_reason(GdbSession *session, const char *args);
void gdb_cmd_continue(GdbSession *session, const char *args);
void gdb_cmd_continue_signal(GdbSession *session, const char *args);
void gdb_cmd_step(GdbSession *session, const char *args);
void gdb_cmd_step_signal(GdbSession *session, const char *args);
void gdb_cmd_v(GdbSession *session, const char *args);
void gdb_cmd_detach(GdbSession *session, const char *args);
void gdb_cmd_kill(GdbSession *session, const char *args);
void gdb_interrupt(GdbSession *session);
void gdb_stopped(GdbSession *session, RunState state);
void gdb_send_stop(GdbSession *session);
void gdb_follow_plan(GdbSession *session); /* before vCPUs resume */

/* ---- data.c ---- */
void gdb_cmd_read_all(GdbSession *session, const char *args);
void gdb_cmd_write_all(GdbSession *session, const char *args);
void gdb_cmd_read_one(GdbSession *session, const char *args);
void gdb_cmd_write_one(GdbSession *session, const char *args);
void gdb_cmd_read_memory(GdbSession *session, const char *args);
void gdb_cmd_write_memory(GdbSession *session, const char *args);
void gdb_cmd_write_binary(GdbSession *session, const char *args);
/* The registers that memory is seen through, NULL with physical addresses; false: not readable. */
bool gdb_memory_view(GdbSession *session, DebugRegs *regs, const DebugRegs **view);

/* ---- breaks.c ---- */
void gdb_cmd_insert(GdbSession *session, const char *args);
void gdb_cmd_remove(GdbSession *session, const char *args);
void gdb_breaks_write(GdbSession *session, bool insert); /* the int3s; vCPUs paused */
void gdb_breaks_clear(GdbSession *session);              /* all of them; vCPUs paused */
/* The watchpoint behind a slot, or NULL. */
const GdbWatch *gdb_watch_of_slot(const GdbSession *session, unsigned slot);

/* ---- query.c ---- */
void gdb_cmd_query(GdbSession *session, const char *args);
void gdb_cmd_set(GdbSession *session, const char *args);

#endif
