/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers and memory. */
#include <errno.h>
#include <string.h>
#include "vmm/gdbstub/registers.h"
#include "vmm/gdbstub/session.h"

#define MEMORY_MAX (GDB_PACKET_MAX / 2) /* bytes of one answer, two digits each */

static bool get_regs(GdbSession *session, DebugRegs *regs, unsigned groups)
{
    session->g_cpu = gdb_present_cpu(session, session->g_cpu);
    *regs = (DebugRegs){ 0 };
    return gdb_ops(session)->regs_get(session->machine, session->g_cpu, regs, groups);
}

static bool put_regs(GdbSession *session, const DebugRegs *regs, unsigned groups)
{
    return gdb_ops(session)->regs_put(session->machine, session->g_cpu, regs, groups);
}

static void reply_ok(GdbSession *session, bool ok, int errnum)
{
    if (ok) {
        gdb_reply(session, "OK");
    } else {
        gdb_reply_error(session, errnum);
    }
}

/* ---- Registers ---- */

static void append_register(GString *out, const DebugRegs *regs, unsigned number)
{
    uint8_t data[GDB_REGISTER_MAX];
    gdb_register_get(regs, number, data);
    gdb_append_hex(out, data, gdb_register_size(number));
}

void gdb_cmd_read_all(GdbSession *session, const char *args)
{
    DebugRegs regs;
    g_autoptr(GString) out = g_string_new(NULL);
    if (!get_regs(session, &regs, DEBUG_REGS_ALL)) {
        gdb_reply_error(session, EIO);
        return;
    }
    for (unsigned i = 0; i < gdb_register_count(); i++) {
        append_register(out, &regs, i);
    }
    gdb_reply_data(session, out);
}

/* Takes the value at *text; whether it is another than before is added to *changed. */
static bool set_register(DebugRegs *regs, unsigned number, const char **text, unsigned *changed)
{
    uint8_t data[GDB_REGISTER_MAX], before[GDB_REGISTER_MAX];
    unsigned size = gdb_register_size(number);
    if (!gdb_parse_hex(*text, data, size)) {
        return false;
    }
    gdb_register_get(regs, number, before);
    if (memcmp(data, before, size) != 0) {
        gdb_register_set(regs, number, data);
        *changed |= gdb_register_group(number);
    }
    *text += (size_t)size * 2;
    return true;
}

/* Fewer registers than there are: the first ones. */
void gdb_cmd_write_all(GdbSession *session, const char *args)
{
    DebugRegs regs;
    unsigned changed = 0;
    bool ok = get_regs(session, &regs, DEBUG_REGS_ALL);
    for (unsigned i = 0; ok && *args && i < gdb_register_count(); i++) {
        ok = set_register(&regs, i, &args, &changed);
    }
    reply_ok(session, ok && !*args && put_regs(session, &regs, changed), EINVAL);
}

void gdb_cmd_read_one(GdbSession *session, const char *args)
{
    DebugRegs regs;
    uint64_t number;
    g_autoptr(GString) out = g_string_new(NULL);
    if (!gdb_parse_number(&args, &number) || *args || number >= gdb_register_count() ||
        !get_regs(session, &regs, gdb_register_group((unsigned)number))) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    append_register(out, &regs, (unsigned)number);
    gdb_reply_data(session, out);
}

void gdb_cmd_write_one(GdbSession *session, const char *args)
{
    DebugRegs regs;
    uint64_t number;
    unsigned changed = 0;
    bool ok = gdb_parse_number_and(&args, &number, '=') && number < gdb_register_count() &&
              get_regs(session, &regs, gdb_register_group((unsigned)number)) &&
              set_register(&regs, (unsigned)number, &args, &changed) && !*args;
    reply_ok(session, ok && put_regs(session, &regs, changed), EINVAL);
}

/* ---- Memory ---- */

bool gdb_memory_view(GdbSession *session, DebugRegs *regs, const DebugRegs **view)
{
    *view = session->physical ? NULL : regs;
    return session->physical || get_regs(session, regs, DEBUG_REGS_SYSTEM);
}

void gdb_cmd_read_memory(GdbSession *session, const char *args)
{
    DebugRegs regs;
    const DebugRegs *view;
    uint64_t addr, len;
    if (!gdb_parse_number_and(&args, &addr, ',') || !gdb_parse_number(&args, &len) || *args ||
        !len) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    len = MIN(len, MEMORY_MAX);
    g_autofree uint8_t *data = g_malloc(len);
    size_t got = gdb_memory_view(session, &regs, &view)
                     ? debug_memory_read(session->machine, view, addr, data, len)
                     : 0;
    if (!got) {
        gdb_reply_error(session, EFAULT);
        return;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    gdb_append_hex(out, data, got);
    gdb_reply_data(session, out);
}

static void write_memory(GdbSession *session, uint64_t addr, const uint8_t *data, size_t len)
{
    DebugRegs regs;
    const DebugRegs *view;
    reply_ok(session,
             gdb_memory_view(session, &regs, &view) &&
                 debug_memory_write(session->machine, view, addr, data, len) == len,
             EFAULT);
}

void gdb_cmd_write_memory(GdbSession *session, const char *args)
{
    uint64_t addr, len;
    uint8_t data[MEMORY_MAX];
    if (!gdb_parse_number_and(&args, &addr, ',') || !gdb_parse_number_and(&args, &len, ':') ||
        len > MEMORY_MAX || strlen(args) != 2 * len || !gdb_parse_hex(args, data, len)) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    write_memory(session, addr, data, len);
}

void gdb_cmd_write_binary(GdbSession *session, const char *args)
{
    uint64_t addr, len;
    const GString *packet = session->reader.data;
    if (!gdb_parse_number_and(&args, &addr, ',') || !gdb_parse_number_and(&args, &len, ':') ||
        len != (uint64_t)(packet->str + packet->len - args)) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    write_memory(session, addr, (const uint8_t *)args, len);
}
