/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Break- and watchpoints. A software breakpoint is an int3 in guest memory: it is there only while
 * the machine runs, so that everybody else sees the guest's own bytes while it is stopped. Hardware
 * ones are the CPUs' four debug registers, which all vCPUs get alike.
 */
#include <errno.h>
#include "vmm/gdbstub/session.h"
#include "vmm/memory/dma.h"

#define INT3     0xcc
#define PART_MAX 8 /* bytes that one debug register watches */

/* ---- Software ---- */

static int find_break(const GdbSession *session, uint64_t addr)
{
    for (guint i = 0; i < session->breaks->len; i++) {
        if (g_array_index(session->breaks, GdbBreak, i).addr == addr) {
            return (int)i;
        }
    }
    return -1;
}

/* What the guest has written over an int3 is left alone. */
void gdb_breaks_write(GdbSession *session, bool insert)
{
    AddressSpace *memory = session->machine->memory;
    const uint8_t int3 = INT3;
    for (guint i = 0; i < session->breaks->len; i++) {
        GdbBreak *item = &g_array_index(session->breaks, GdbBreak, i);
        uint8_t byte = 0;
        if (insert && !item->inserted) {
            item->inserted = dma_read(memory, item->physical, &item->saved, 1) &&
                             dma_write(memory, item->physical, &int3, 1);
        } else if (!insert && item->inserted) {
            item->inserted = false;
            if (dma_read(memory, item->physical, &byte, 1) && byte == INT3) {
                (void)dma_write(memory, item->physical, &item->saved, 1);
            }
        }
    }
}

static bool resolve(GdbSession *session, uint64_t addr, uint64_t *physical)
{
    DebugRegs regs;
    const DebugRegs *view;
    *physical = addr;
    return gdb_memory_view(session, &regs, &view) &&
           (!view || debug_translate(session->machine, view, addr, physical)) &&
           dma_translate(session->machine->memory, *physical, 1, true) != NULL;
}

/* ---- Hardware ---- */

/* The largest part at the beginning of [addr, addr + length) that one debug register covers. */
static unsigned part_length(uint64_t addr, uint64_t length)
{
    unsigned part = PART_MAX;
    while (part > length || addr % part) {
        part /= 2;
    }
    return part;
}

/* The slots that all watches need, and whose each is; false when there are not enough. */
static bool fill_slots(const GdbSession *session, DebugBreaks *breaks, guint *owner)
{
    breaks->count = 0;
    for (guint i = 0; i < session->watches->len; i++) {
        const GdbWatch *watch = &g_array_index(session->watches, GdbWatch, i);
        for (uint64_t done = 0; done < watch->length;) {
            unsigned part = part_length(watch->addr + done, watch->length - done);
            if (breaks->count == DEBUG_SLOTS) {
                return false;
            }
            owner[breaks->count] = i;
            breaks->slots[breaks->count++] = (DebugSlot){ watch->kind, watch->addr + done, part };
            done += part;
        }
    }
    return true;
}

const GdbWatch *gdb_watch_of_slot(const GdbSession *session, unsigned slot)
{
    DebugBreaks breaks;
    guint owner[DEBUG_SLOTS];
    return fill_slots(session, &breaks, owner) && slot < breaks.count
               ? &g_array_index(session->watches, GdbWatch, owner[slot])
               : NULL;
}

static int find_watch(const GdbSession *session, const GdbWatch *wanted)
{
    for (guint i = 0; i < session->watches->len; i++) {
        const GdbWatch *watch = &g_array_index(session->watches, GdbWatch, i);
        if (watch->kind == wanted->kind && watch->addr == wanted->addr &&
            watch->length == wanted->length) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- Both, to the vCPUs ---- */

/* 0, or what gdb is told: ENOSPC when the debug registers do not suffice. */
static int apply(GdbSession *session)
{
    guint owner[DEBUG_SLOTS];
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) software = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    DebugBreaks breaks = { .software = software };
    if (!fill_slots(session, &breaks, owner)) {
        return ENOSPC;
    }
    for (guint i = 0; i < session->breaks->len; i++) {
        g_array_append_val(software, g_array_index(session->breaks, GdbBreak, i).physical);
    }
    bool any = breaks.count || software->len;
    if (!gdb_ops(session)->set_breaks(session->machine, any ? &breaks : NULL, &error)) {
        report_warning("gdb: %s", error->message);
        return EIO;
    }
    return 0;
}

void gdb_breaks_clear(GdbSession *session)
{
    g_array_set_size(session->breaks, 0);
    g_array_set_size(session->watches, 0);
    (void)apply(session);
}

static void reply_result(GdbSession *session, int errnum)
{
    if (errnum) {
        gdb_reply_error(session, errnum);
    } else {
        gdb_reply(session, "OK");
    }
}

static int insert_software(GdbSession *session, uint64_t addr)
{
    GdbBreak item = { .addr = addr };
    if (find_break(session, addr) >= 0) {
        return 0;
    }
    if (session->breaks->len >= GDB_BREAKS_MAX) {
        return ENOSPC;
    }
    if (!resolve(session, addr, &item.physical)) {
        return EFAULT;
    }
    g_array_append_val(session->breaks, item);
    int errnum = apply(session);
    if (errnum) {
        g_array_set_size(session->breaks, session->breaks->len - 1);
        (void)apply(session);
    }
    return errnum;
}

static int insert_hardware(GdbSession *session, const GdbWatch *watch)
{
    if (find_watch(session, watch) >= 0) {
        return 0;
    }
    if (!watch->length || watch->length > PART_MAX * DEBUG_SLOTS) {
        return EINVAL;
    }
    g_array_append_val(session->watches, *watch);
    int errnum = apply(session);
    if (errnum) {
        g_array_set_size(session->watches, session->watches->len - 1);
        (void)apply(session);
    }
    return errnum;
}

/* "TYPE,ADDRESS,KIND". Type 3 stops at reads only, which x86 CPUs cannot: gdb is told that there is
 * no such packet, and takes type 4 for it. */
typedef enum PointType {
    POINT_SOFTWARE,
    POINT_HARDWARE,
    POINT_WRITE,
    POINT_READ,
    POINT_ACCESS,
} PointType;

static bool parse_point(const char *args, uint64_t *type, GdbWatch *point)
{
    if (!gdb_parse_number_and(&args, type, ',') || *type > POINT_ACCESS ||
        !gdb_parse_number_and(&args, &point->addr, ',') ||
        !gdb_parse_number(&args, &point->length) || *args) {
        return false;
    }
    point->kind = *type == POINT_WRITE    ? DEBUG_WATCH_WRITE
                  : *type == POINT_ACCESS ? DEBUG_WATCH_ACCESS
                                          : DEBUG_BREAK_HARDWARE;
    if (*type == POINT_HARDWARE) {
        point->length = 1; /* an instruction is caught by its first byte */
    }
    return true;
}

void gdb_cmd_insert(GdbSession *session, const char *args)
{
    uint64_t type;
    GdbWatch point;
    if (!parse_point(args, &type, &point)) {
        gdb_reply_error(session, EINVAL);
    } else if (type == POINT_READ) {
        gdb_reply(session, "%s", "");
    } else {
        reply_result(session, type == POINT_SOFTWARE ? insert_software(session, point.addr)
                                                     : insert_hardware(session, &point));
    }
}

void gdb_cmd_remove(GdbSession *session, const char *args)
{
    uint64_t type;
    GdbWatch point;
    if (!parse_point(args, &type, &point)) {
        gdb_reply_error(session, EINVAL);
        return;
    }
    if (type == POINT_READ) {
        gdb_reply(session, "%s", "");
        return;
    }
    GArray *list = type == POINT_SOFTWARE ? session->breaks : session->watches;
    int index = type == POINT_SOFTWARE ? find_break(session, point.addr)
                                       : find_watch(session, &point);
    if (index >= 0) {
        g_array_remove_index(list, (guint)index);
    }
    reply_result(session, apply(session));
}
