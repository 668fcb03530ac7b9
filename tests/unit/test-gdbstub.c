/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The GDB stub without a wire: packets, the target description, page tables, threads, plans. */
#include "tests/unit/gdb-kit.h"

#include <string.h>
#include "vmm/gdbstub/gdbstub.h"
#include "vmm/gdbstub/registers.h"

static Machine *machine;

/* ---- Packets ---- */

static GdbInput feed(GdbReader *reader, const char *bytes)
{
    GdbInput last = GDB_INPUT_NONE;
    for (const char *p = bytes; *p; p++) {
        last = gdb_reader_feed(reader, (uint8_t)*p);
    }
    return last;
}

static void test_reader(void)
{
    GdbReader reader;
    gdb_reader_init(&reader);
    g_assert_cmpint(feed(&reader, "noise$m0,10#2a"), ==, GDB_INPUT_PACKET);
    g_assert_cmpstr(reader.data->str, ==, "m0,10");
    g_assert_cmpint(feed(&reader, "$m0,10#2b"), ==, GDB_INPUT_BAD);
    g_assert_cmpint(feed(&reader, "$m0,10#x"), ==, GDB_INPUT_BAD);
    g_assert_cmpint(feed(&reader, "$cut off$#00"), ==, GDB_INPUT_PACKET);
    g_assert_cmpuint(reader.data->len, ==, 0);
    g_assert_cmpint(feed(&reader, "+"), ==, GDB_INPUT_ACK);
    g_assert_cmpint(feed(&reader, "-"), ==, GDB_INPUT_NAK);
    g_assert_cmpint(feed(&reader, "\003"), ==, GDB_INPUT_INTERRUPT);
    /* Escaped: the checksum is of what was sent. */
    g_assert_cmpint(feed(&reader, "$X}\003}]#b2"), ==, GDB_INPUT_PACKET);
    g_assert_cmpmem(reader.data->str, reader.data->len, "X#}", 3);
    gdb_reader_cleanup(&reader);
}

static void test_reader_is_bounded(void)
{
    GdbReader reader;
    gdb_reader_init(&reader);
    gdb_reader_feed(&reader, '$');
    for (int i = 0; i < 100 * GDB_PACKET_MAX; i++) {
        g_assert_cmpint(gdb_reader_feed(&reader, 0), ==, GDB_INPUT_NONE);
    }
    g_assert_cmpuint(reader.data->len, <=, GDB_PACKET_MAX);
    g_assert_cmpint(feed(&reader, "#00"), ==, GDB_INPUT_TOO_LONG);
    g_assert_cmpint(feed(&reader, "$qC#b4"), ==, GDB_INPUT_PACKET);
    gdb_reader_cleanup(&reader);
}

static void test_numbers(void)
{
    uint64_t value;
    uint8_t bytes[2];
    const char *text = "ffffffffffffffff,1";
    g_assert_true(gdb_parse_number_and(&text, &value, ','));
    g_assert_cmphex(value, ==, UINT64_MAX);
    text = "10000000000000000";
    g_assert_false(gdb_parse_number(&text, &value));
    text = "";
    g_assert_false(gdb_parse_number(&text, &value));
    g_assert_true(gdb_parse_hex("a1B2", bytes, 2));
    g_assert_cmphex(bytes[1], ==, 0xb2);
    g_assert_false(gdb_parse_hex("a1B", bytes, 2));
}

static void test_description(void)
{
    g_autoptr(GString) xml = g_string_new(NULL);
    unsigned bytes = 0;
    gdb_target_xml(xml);
    for (unsigned i = 0; i < gdb_register_count(); i++) {
        g_assert_cmpuint(gdb_register_size(i), <=, GDB_REGISTER_MAX);
        bytes += gdb_register_size(i);
    }
    g_assert_cmpuint(bytes * 2, <, GDB_PACKET_MAX);
    g_assert_nonnull(strstr(xml->str, "org.gnu.gdb.i386.core"));
    g_assert_nonnull(strstr(xml->str, "org.gnu.gdb.i386.sse"));
    g_assert_nonnull(
        strstr(xml->str, "<reg name=\"rip\" bitsize=\"64\" type=\"code_ptr\" regnum=\"16\"/>"));
    g_assert_nonnull(strstr(xml->str, "<reg name=\"st0\" bitsize=\"80\""));
}

/* ---- A session ---- */

/* The data of the answers to one packet, with '|' between them. */
static char *ask(GdbSession *session, const char *packet)
{
    g_autoptr(GString) data = g_string_new(packet);
    g_autoptr(GString) wire = g_string_new(NULL);
    GString *said = g_string_new(NULL);
    gdb_append_packet(wire, data);
    g_string_truncate(session->output, 0);
    gdb_session_feed(session, (const uint8_t *)wire->str, wire->len);
    for (const char *p = session->output->str; (p = strchr(p, '$'));) {
        const char *end = strchr(p, '#');
        g_string_append_printf(said, "%s%.*s", said->len ? "|" : "", (int)(end - p - 1), p + 1);
        p = end;
    }
    return g_string_free(said, FALSE);
}

#define assert_answer(session, packet, answer)                                                     \
    do {                                                                                           \
        g_autofree char *said_ = ask(session, packet);                                             \
        g_assert_cmpstr(said_, ==, answer);                                                        \
    } while (0)

typedef struct Fixture {
    GdbSession session;
} Fixture;

static void set_up(Fixture *f, const void *data)
{
    if (!machine) {
        machine = gdb_kit_machine();
    }
    kit = (GdbKit){ .refuse_breaks = false };
    gdb_session_init(&f->session, machine);
    gdb_session_opened(&f->session);
}

static void tear_down(Fixture *f, const void *data)
{
    gdb_session_closed(&f->session);
    gdb_session_cleanup(&f->session);
    if (machine_is_running(machine)) {
        machine_stop(machine, RUN_STATE_PAUSED);
    }
}

static void test_acknowledgements(Fixture *f, const void *data)
{
    GdbSession *s = &f->session;
    gdb_session_feed(s, (const uint8_t *)"$qC#b4", 6);
    g_assert_cmpstr(s->output->str, ==, "+$QC1#c5");
    g_string_truncate(s->output, 0);
    gdb_session_feed(s, (const uint8_t *)"-", 1);
    g_assert_cmpstr(s->output->str, ==, "$QC1#c5");
    g_string_truncate(s->output, 0);
    gdb_session_feed(s, (const uint8_t *)"$qC#b5", 6);
    g_assert_cmpstr(s->output->str, ==, "-");
    assert_answer(s, "QStartNoAckMode", "OK");
    g_string_truncate(s->output, 0);
    gdb_session_feed(s, (const uint8_t *)"+$qC#b4$qC#00", 13);
    g_assert_cmpstr(s->output->str, ==, "$QC1#c5");
}

/* A client that only says '-' makes no output without end. */
static void test_resend_is_bounded(Fixture *f, const void *data)
{
    g_free(ask(&f->session, "g"));
    for (int i = 0; i < 100000; i++) {
        gdb_session_feed(&f->session, (const uint8_t *)"-", 1);
    }
    g_assert_cmpuint(f->session.output->len, <, 8 * GDB_PACKET_MAX);
}

static void test_registers(Fixture *f, const void *data)
{
    GdbSession *s = &f->session;
    kit.regs[0].gpr[0] = 0x1122334455667788;
    assert_answer(s, "p0", "8877665544332211");
    assert_answer(s, "P10=0010000000000000", "OK");
    g_assert_cmphex(kit.regs[0].rip, ==, 0x1000);
    assert_answer(s, "P11=46000000", "OK");
    g_assert_cmphex(kit.regs[0].rflags, ==, 0x46);
    assert_answer(s, "P10=00", "E16");
    assert_answer(s, "pff", "E16");
    g_autofree char *all = ask(s, "g");
    g_autofree char *back = g_strconcat("G", all, NULL);
    back[1] = '9';
    assert_answer(s, back, "OK");
    g_assert_cmphex(kit.regs[0].gpr[0], ==, 0x1122334455667798);
    g_autofree char *more = g_strconcat(back, "00", NULL);
    assert_answer(s, more, "E16");
}

static void test_memory(Fixture *f, const void *data)
{
    GdbSession *s = &f->session;
    assert_answer(s, "M1000,4:01020304", "OK");
    assert_answer(s, "X1004,2:ab", "OK");
    assert_answer(s, "m1000,6", "010203046162");
    assert_answer(s, "m1000,0", "E16");
    assert_answer(s, "mfee00000,4", "E0e"); /* registers of a device are not touched */
    assert_answer(s, "mffffffffffffffff,2", "E0e");
    assert_answer(s, "M1000,4:010203", "E16");
    assert_answer(s, "X1000,4:abc", "E16");
    /* What is there of what was asked for: RAM ends at 32 MiB. */
    g_autofree char *end = ask(s, "m1fffffe,8");
    g_assert_cmpuint(strlen(end), ==, 4);
}

static void put_entry(uint64_t table, unsigned index, uint64_t entry, unsigned size)
{
    pc_write(machine->memory, table + (uint64_t)index * size, entry, size);
}

static void assert_maps(const DebugRegs *regs, uint64_t linear, uint64_t wanted)
{
    uint64_t physical;
    g_assert_true(debug_translate(machine, regs, linear, &physical));
    g_assert_cmphex(physical, ==, wanted);
}

static void test_page_tables(Fixture *f, const void *data)
{
    DebugRegs regs = { .cr3 = 0x10000 };
    uint64_t physical;
    assert_maps(&regs, 0x12345, 0x12345); /* paging off */
    g_assert_false(debug_translate(machine, &regs, 0x100000000, &physical));

    regs.cr0 = 0x80000001; /* 32-bit paging */
    put_entry(0x10000, 1, 0x11000 | 1, 4);
    put_entry(0x11000, 2, 0x7000 | 1, 4);
    put_entry(0x10000, 2, 0x00c02000 | 0x81, 4); /* 4 MiB; bits 20:13 are address bits 39:32 */
    assert_maps(&regs, 0x402123, 0x7123);
    g_assert_false(debug_translate(machine, &regs, 0x403000, &physical));
    regs.cr4 = 1 << 4;
    assert_maps(&regs, 0x812345, 0x100c12345);

    regs.cr4 = 1 << 5; /* PAE */
    regs.cr3 = 0x12020;
    put_entry(0x12020, 3, 0x13000 | 1, 8);
    put_entry(0x13000, 5, 0x14000 | 1, 8);
    put_entry(0x14000, 6, 0x8000000000009001, 8);
    put_entry(0x13000, 6, 0x00400081, 8);
    assert_maps(&regs, 0xc0a06abc, 0x9abc);
    assert_maps(&regs, 0xc0c12345, 0x412345);

    regs.efer = 0x500; /* long mode */
    regs.cr3 = 0x20000;
    put_entry(0x20000, 511, 0x21000 | 1, 8);
    put_entry(0x21000, 510, 0x22000 | 1, 8);
    put_entry(0x22000, 8, 0x23000 | 1, 8);
    put_entry(0x23000, 1, 0x1234001, 8);
    put_entry(0x21000, 1, 0x40000081, 8); /* 1 GiB */
    assert_maps(&regs, 0xffffffff81001010, 0x1234010);
    assert_maps(&regs, 0xffffff8040000123, 0x40000123);
    g_assert_false(debug_translate(machine, &regs, 0x7fff81001010, &physical));
    g_assert_false(debug_translate(machine, &regs, 0x0001000000000000, &physical));
    regs.cr4 |= 1 << 12; /* five levels */
    put_entry(0x24000, 511, 0x20000 | 1, 8);
    regs.cr3 = 0x24000;
    assert_maps(&regs, 0xffffffff81001010, 0x1234010);
}

static void test_physical_mode(Fixture *f, const void *data)
{
    GdbSession *s = &f->session;
    kit.regs[0].cr0 = 0x80000001; /* and nothing is mapped */
    kit.regs[0].cr3 = 0x30000;
    assert_answer(s, "qqemu.PhyMemMode", "0");
    assert_answer(s, "m1000,1", "E0e");
    assert_answer(s, "Qqemu.PhyMemMode:1", "OK");
    assert_answer(s, "qqemu.PhyMemMode", "1");
    assert_answer(s, "M1000,1:5a", "OK");
    assert_answer(s, "m1000,1", "5a");
}

static void test_breakpoints(Fixture *f, const void *data)
{
    GdbSession *s = &f->session;
    assert_answer(s, "M2000,1:90", "OK");
    assert_answer(s, "Z0,2000,1", "OK");
    assert_answer(s, "Z0,2000,1", "OK");
    g_assert_cmpuint(kit.software_count, ==, 1);
    assert_answer(s, "m2000,1", "90"); /* an int3 is there only while the machine runs */
    assert_answer(s, "c", "");
    g_assert_cmphex(pc_read(machine->memory, 0x2000, 1), ==, 0xcc);
    machine_stop(machine, RUN_STATE_PAUSED);
    g_assert_cmphex(pc_read(machine->memory, 0x2000, 1), ==, 0x90);
    /* What the guest has written over it meanwhile is the guest's. */
    assert_answer(s, "c", "");
    pc_write(machine->memory, 0x2000, 0x77, 1);
    machine_stop(machine, RUN_STATE_PAUSED);
    g_assert_cmphex(pc_read(machine->memory, 0x2000, 1), ==, 0x77);
    assert_answer(s, "z0,2000,1", "OK");
    assert_answer(s, "z0,2000,1", "OK");
    g_assert_cmpuint(kit.software_count, ==, 0);
    assert_answer(s, "Z0,fffffff0,1", "E0e"); /* no RAM */
}

static void test_watchpoints(Fixture *f, const void *data)
{
    GdbSession *s = &f->session;
    assert_answer(s, "Z3,1000,4", ""); /* gdb takes type 4 then */
    assert_answer(s, "Z2,1001,7", "OK");
    g_assert_cmpuint(kit.slot_count, ==, 3);
    g_assert_cmphex(kit.slots[1].addr, ==, 0x1002);
    g_assert_cmpuint(kit.slots[1].length, ==, 2);
    g_assert_cmphex(kit.slots[2].addr, ==, 0x1004);
    g_assert_cmpuint(kit.slots[2].length, ==, 4);
    assert_answer(s, "Z4,3000,10", "E1c");
    assert_answer(s, "Z4,3000,8", "OK");
    g_assert_cmpuint(kit.slot_count, ==, 4);
    assert_answer(s, "Z1,4000,1", "E1c");
    assert_answer(s, "z2,1001,7", "OK");
    g_assert_cmpuint(kit.slot_count, ==, 1);
    g_assert_cmpint(kit.slots[0].kind, ==, DEBUG_WATCH_ACCESS);
    kit.refuse_breaks = true;
    assert_answer(s, "Z1,4000,1", "E05");
    kit.refuse_breaks = false;
    assert_answer(s, "Z1,4000,1", "OK");
    g_assert_cmpuint(kit.slot_count, ==, 2);
    /* Which watchpoint it was. */
    g_free(ask(s, "qSupported:hwbreak+"));
    g_string_truncate(s->output, 0);
    assert_answer(s, "c", "");
    kit.stop[0] = (DebugStop){ DEBUG_STOP_HARDWARE, 0 };
    g_string_truncate(s->output, 0);
    machine_stop(machine, RUN_STATE_DEBUG);
    g_assert_nonnull(strstr(s->output->str, "$T05thread:1;awatch:3000;#"));
    assert_answer(s, "c", "");
    kit.stop[0] = (DebugStop){ DEBUG_STOP_HARDWARE, 1 };
    machine_stop(machine, RUN_STATE_DEBUG);
    g_assert_nonnull(strstr(s->output->str, "$T05thread:1;hwbreak:;#"));
}

static void test_too_many_breakpoints(Fixture *f, const void *data)
{
    for (unsigned i = 0; i <= GDB_BREAKS_MAX; i++) {
        g_autofree char *packet = g_strdup_printf("Z0,%x,1", 0x10000 + i);
        assert_answer(&f->session, packet, i < GDB_BREAKS_MAX ? "OK" : "E1c");
    }
}

static void plug(unsigned cpu, bool present)
{
    machine->cpus[cpu].present = present;
}

static void test_threads(Fixture *f, const void *data)
{
    GdbSession *s = &f->session;
    plug(2, true);
    assert_answer(s, "qfThreadInfo", "m1,3");
    assert_answer(s, "qsThreadInfo", "l");
    assert_answer(s, "T3", "OK");
    assert_answer(s, "T2", "E16");
    assert_answer(s, "Hg3", "OK");
    assert_answer(s, "qC", "QC3");
    kit.regs[2].gpr[0] = 0x5a;
    assert_answer(s, "p0", "5a00000000000000");
    g_free(ask(s, "qSupported:multiprocess+;swbreak+"));
    assert_answer(s, "qfThreadInfo", "mp1.1,p1.3");
    assert_answer(s, "Hgp1.1", "OK");
    assert_answer(s, "Hgp2.1", "E16");
    assert_answer(s, "Hgp0.0", "OK");
    assert_answer(s, "qC", "QCp1.1");
    /* The one that gdb looked at leaves. */
    assert_answer(s, "Hgp1.3", "OK");
    plug(2, false);
    assert_answer(s, "qC", "QCp1.1");
    assert_answer(s, "p0", "0000000000000000");
}

static void test_plans(Fixture *f, const void *data)
{
    GdbSession *s = &f->session;
    plug(1, true);
    assert_answer(s, "vCont;s:2;c", "");
    g_assert_cmpint(kit.run[0], ==, DEBUG_RUN_ON);
    g_assert_cmpint(kit.run[1], ==, DEBUG_RUN_STEP_NO_IRQ);
    kit.stop[1] = (DebugStop){ DEBUG_STOP_STEP, 0 };
    g_string_truncate(s->output, 0);
    machine_stop(machine, RUN_STATE_DEBUG);
    g_assert_nonnull(strstr(s->output->str, "$T05thread:2;#"));
    assert_answer(s, "Qqemu.sstep=1", "OK");
    assert_answer(s, "Qqemu.sstep=8", "E16");
    assert_answer(s, "vCont;s:2", ""); /* who is not named stays */
    g_assert_cmpint(kit.run[0], ==, DEBUG_RUN_HELD);
    g_assert_cmpint(kit.run[1], ==, DEBUG_RUN_STEP);
    /* Another packet stops it, and the stop is told first. */
    assert_answer(s, "qC", "T02thread:2;|QC2");
    /* A continue by the monitor knows no plan. */
    g_assert_true(machine_cont(machine, NULL));
    g_assert_cmpint(kit.run[0], ==, DEBUG_RUN_ON);
    machine_stop(machine, RUN_STATE_PAUSED);
    assert_answer(s, "vCont;t:1;t", "T00thread:2;");
    g_assert_false(machine_is_running(machine));
    plug(1, false);
}

static void test_stop_reasons(Fixture *f, const void *data)
{
    static const struct {
        RunState state;
        const char *answer;
    } cases[] = {
        { RUN_STATE_PAUSED, "$T02" },         { RUN_STATE_SHUTDOWN, "$T03" },
        { RUN_STATE_GUEST_PANICKED, "$T06" }, { RUN_STATE_INTERNAL_ERROR, "$T06" },
        { RUN_STATE_IO_ERROR, "$T17" },       { RUN_STATE_WATCHDOG, "$T0e" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        machine_stop(machine, RUN_STATE_PAUSED);
        assert_answer(&f->session, "c", "");
        g_assert_true(machine_is_running(machine));
        machine_stop(machine, cases[i].state);
        gdb_session_settled(&f->session);
        g_assert_nonnull(strstr(f->session.output->str, cases[i].answer));
    }
    /* From an internal error nothing goes on: gdb is told why, and that it has stopped. */
    machine_stop(machine, RUN_STATE_INTERNAL_ERROR);
    g_autofree char *said = ask(&f->session, "c");
    g_assert_true(said[0] == 'O' && strstr(said, "|T0e"));
    machine_stop(machine, RUN_STATE_PAUSED);
}

static void test_refused_devices(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(gdbstub_start(machine, "tcp:nowhere", &error));
    g_assert_nonnull(error);
    g_clear_error(&error);
    g_assert_false(gdbstub_start(machine, "chardev:nobody", &error));
    g_assert_nonnull(strstr(error->message, "nobody"));
    g_clear_error(&error);
    g_assert_true(gdbstub_start(machine, "none", &error));
    g_assert_no_error(error);
}

static void add(const char *path, void (*fn)(Fixture *, const void *))
{
    g_test_add(path, Fixture, NULL, set_up, fn, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gdbstub/reader", test_reader);
    g_test_add_func("/gdbstub/reader-is-bounded", test_reader_is_bounded);
    g_test_add_func("/gdbstub/numbers", test_numbers);
    g_test_add_func("/gdbstub/description", test_description);
    add("/gdbstub/acknowledgements", test_acknowledgements);
    add("/gdbstub/resend-is-bounded", test_resend_is_bounded);
    add("/gdbstub/registers", test_registers);
    add("/gdbstub/memory", test_memory);
    add("/gdbstub/page-tables", test_page_tables);
    add("/gdbstub/physical-mode", test_physical_mode);
    add("/gdbstub/breakpoints", test_breakpoints);
    add("/gdbstub/watchpoints", test_watchpoints);
    add("/gdbstub/too-many-breakpoints", test_too_many_breakpoints);
    add("/gdbstub/threads", test_threads);
    add("/gdbstub/plans", test_plans);
    add("/gdbstub/stop-reasons", test_stop_reasons);
    g_test_add_func("/gdbstub/refused-devices", test_refused_devices);
    return g_test_run();
}
