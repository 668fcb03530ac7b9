/* SPDX-License-Identifier: GPL-2.0-or-later */
/* q and Q packets: what the stub can do, threads, the target description, monitor commands, and
 * QEMU's own (its manual, "GDB usage"). */
#include <errno.h>
#include <string.h>
#include "vmm/gdbstub/registers.h"
#include "vmm/gdbstub/session.h"
#include "vmm/monitor/commands.h"

#define THREADS_ROOM 64 /* bytes that one more thread in a list may need */

static void query_supported(GdbSession *session, const char *args)
{
    g_auto(GStrv) features = g_strsplit(args, ";", -1);
    session->multiprocess = g_strv_contains((const char *const *)features, "multiprocess+");
    session->swbreak = g_strv_contains((const char *const *)features, "swbreak+");
    session->hwbreak = g_strv_contains((const char *const *)features, "hwbreak+");
    gdb_reply(session,
              "PacketSize=%x;qXfer:features:read+;vContSupported+;multiprocess+;swbreak+;hwbreak+;"
              "QStartNoAckMode+",
              GDB_PACKET_MAX);
}

/* ---- Threads ---- */

static void query_current(GdbSession *session, const char *args)
{
    g_autoptr(GString) out = g_string_new("QC");
    session->g_cpu = gdb_present_cpu(session, session->g_cpu);
    gdb_append_thread(session, out, session->g_cpu);
    gdb_reply_data(session, out);
}

static void query_more_threads(GdbSession *session, const char *args)
{
    g_autoptr(GString) out = g_string_new(NULL);
    unsigned cpu = session->list_next;
    for (; cpu < gdb_cpu_count(session) && out->len + THREADS_ROOM < GDB_PACKET_MAX; cpu++) {
        if (machine_cpu_present(session->machine, cpu)) {
            g_string_append_c(out, out->len ? ',' : 'm');
            gdb_append_thread(session, out, cpu);
        }
    }
    session->list_next = cpu;
    gdb_reply(session, "%s", out->len ? out->str : "l");
}

static void query_threads(GdbSession *session, const char *args)
{
    session->list_next = 0;
    query_more_threads(session, args);
}

static void query_thread_text(GdbSession *session, const char *args)
{
    int cpu;
    if (!gdb_parse_thread(session, &args, &cpu) || cpu < 0 || *args) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    g_autofree char *text = g_strdup_printf("CPU#%d", cpu);
    g_autoptr(GString) out = g_string_new(NULL);
    gdb_append_hex(out, text, strlen(text));
    gdb_reply_data(session, out);
}

static void query_attached(GdbSession *session, const char *args)
{
    gdb_reply(session, "1"); /* at its end gdb detaches, it does not kill */
}

/* ---- The target description ---- */

/* "target.xml:OFFSET,LENGTH". */
static void query_features(GdbSession *session, const char *args)
{
    static const char name[] = "target.xml:";
    uint64_t offset, len;
    g_autoptr(GString) xml = g_string_new(NULL);
    gdb_target_xml(xml);
    if (!g_str_has_prefix(args, name)) {
        gdb_reply(session, "E00");
        return;
    }
    args += strlen(name);
    if (!gdb_parse_number_and(&args, &offset, ',') || !gdb_parse_number(&args, &len) || *args ||
        offset > xml->len) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    /* Every byte may become two. */
    len = MIN(MIN(len, GDB_PACKET_MAX / 2 - 1), xml->len - offset);
    g_autoptr(GString) out = g_string_new(offset + len < xml->len ? "m" : "l");
    gdb_append_escaped(out, xml->str + offset, len);
    gdb_reply_data(session, out);
}

/* ---- Monitor commands ---- */

static void query_command(GdbSession *session, const char *args)
{
    size_t len = strlen(args) / 2;
    g_autofree char *line = g_malloc0(len + 1);
    if (strlen(args) % 2 || !gdb_parse_hex(args, (uint8_t *)line, len)) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    hmp_execute(line, out);
    gdb_console(session, out->str);
    gdb_reply(session, "OK");
}

/* ---- QEMU's own: physical addresses, how steps are made ---- */

static unsigned sstep_supported(const GdbSession *session)
{
    return SSTEP_ENABLE |
           (gdb_ops(session)->step_keeps_irqs_away(session->machine) ? SSTEP_NOIRQ : 0);
}

static void query_sstep_bits(GdbSession *session, const char *args)
{
    gdb_reply(session, "ENABLE=%x%s", SSTEP_ENABLE,
              sstep_supported(session) & SSTEP_NOIRQ ? ",NOIRQ=2" : "");
}

static void query_sstep(GdbSession *session, const char *args)
{
    gdb_reply(session, "0x%x", session->sstep);
}

static void set_sstep(GdbSession *session, const char *args)
{
    uint64_t flags;
    if (!gdb_parse_number(&args, &flags) || *args || flags & ~(uint64_t)sstep_supported(session)) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    session->sstep = (unsigned)flags;
    gdb_reply(session, "OK");
}

static void query_physical(GdbSession *session, const char *args)
{
    gdb_reply(session, "%d", session->physical);
}

static void set_physical(GdbSession *session, const char *args)
{
    uint64_t on;
    if (!gdb_parse_number(&args, &on) || *args) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    session->physical = on != 0;
    gdb_reply(session, "OK");
}

static void set_no_ack(GdbSession *session, const char *args)
{
    gdb_reply(session, "OK");
    session->no_ack = true;
}

static void query_supported_by_qemu(GdbSession *session, const char *args)
{
    gdb_reply(session, "sstepbits;sstep;PhyMemMode");
}

typedef struct Query {
    const char *name; /* with the character that separates arguments, where there are some */
    void (*run)(GdbSession *session, const char *args);
    bool exact; /* the name is all of it */
} Query;

static const Query queries[] = {
    { "Supported:", query_supported },
    { "Supported", query_supported, true },
    { "C", query_current, true },
    { "fThreadInfo", query_threads, true },
    { "sThreadInfo", query_more_threads, true },
    { "ThreadExtraInfo,", query_thread_text },
    { "Attached", query_attached, true },
    { "Attached:", query_attached },
    { "Xfer:features:read:", query_features },
    { "Rcmd,", query_command },
    { "qemu.sstepbits", query_sstep_bits, true },
    { "qemu.sstep", query_sstep, true },
    { "qemu.PhyMemMode", query_physical, true },
    { "qemu.Supported", query_supported_by_qemu, true },
};

static const Query settings[] = {
    { "StartNoAckMode", set_no_ack, true },
    { "qemu.sstep=", set_sstep },
    { "qemu.PhyMemMode:", set_physical },
};

static void run_query(GdbSession *session, const Query *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(list[i].name);
        if (list[i].exact ? g_str_equal(text, list[i].name)
                          : strncmp(text, list[i].name, len) == 0) {
            list[i].run(session, text + len);
            return;
        }
    }
    gdb_reply(session, "%s", "");
}

void gdb_cmd_query(GdbSession *session, const char *args)
{
    run_query(session, queries, G_N_ELEMENTS(queries), args);
}

void gdb_cmd_set(GdbSession *session, const char *args)
{
    run_query(session, settings, G_N_ELEMENTS(settings), args);
}
