/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a client of the GDB stub sends, to a machine whose vCPUs never run: nothing crashes, and
 * what comes back is whole packets. */
#include <string.h>
#include "tests/unit/gdb-kit.h"
#include "vmm/monitor/commands.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Machine *machine;

static void check_answers(const GString *output)
{
    for (gsize i = 0; i < output->len; i++) {
        if (output->str[i] == '+' || output->str[i] == '-') {
            continue;
        }
        g_assert_cmpint(output->str[i], ==, '$');
        const char *end = memchr(output->str + i, '#', output->len - i);
        g_assert_nonnull(end);
        i = (gsize)(end - output->str) + 2;
        g_assert_cmpuint(i, <, output->len);
    }
}

/* Input: lines; each but those that begin with '!' becomes a packet with its checksum, those go to
 * the stub as they are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    GdbSession session;
    static const MonitorCommands *const commands[] = { &machine_commands, NULL };
    if (!machine) {
        monitor_commands_register(commands);
        machine = gdb_kit_machine();
    }
    gdb_session_init(&session, machine);
    gdb_session_opened(&session);
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - (data + at)) : size - at;
        if (len && data[at] == '!') {
            gdb_session_feed(&session, data + at + 1, len - 1);
        } else {
            g_autoptr(GString) line = g_string_new_len((const char *)data + at, (gssize)len);
            g_autoptr(GString) packet = g_string_new(NULL);
            gdb_append_packet(packet, line);
            gdb_session_feed(&session, (const uint8_t *)packet->str, packet->len);
        }
        check_answers(session.output);
        g_string_truncate(session.output, 0);
        at += len + 1;
    }
    gdb_session_closed(&session);
    gdb_session_cleanup(&session);
    if (machine_is_running(machine)) {
        machine_stop(machine, RUN_STATE_PAUSED);
    }
    return 0;
}
