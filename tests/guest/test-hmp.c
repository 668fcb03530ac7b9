/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's looks at a guest whose registers, memory and page tables are known. */
#include "guest-run.h"

#include <stdint.h>
#include <string.h>

/* What the line prints, out of the answer's JSON. */
static char *hmp_at(GuestRun *run, const char *line, const char *more)
{
    g_autofree char *escaped = g_strescape(line, NULL);
    g_autofree char *command = g_strdup_printf(
        "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"%s\"%s}}",
        escaped, more);
    g_autofree char *answer = guest_run_command(run, command);
    const char *start = strstr(answer, "\"return\": \"");
    g_assert_nonnull(start);
    g_autofree char *text = g_strdup(start + strlen("\"return\": \""));
    *strrchr(text, '"') = '\0';
    g_autofree char *plain = g_strcompress(text);
    g_auto(GStrv) lines = g_strsplit(plain, "\r\n", -1);
    return g_strjoinv("\n", lines);
}

static void expect_at(GuestRun *run, const char *line, const char *more, const char *part)
{
    g_autofree char *said = hmp_at(run, line, more);
    if (!strstr(said, part)) {
        g_error("'%s' says '%.2000s', without '%s'", line, said, part);
    }
}

static void expect(GuestRun *run, const char *line, const char *part)
{
    expect_at(run, line, "", part);
}

static GuestRun *start(const char *cmdline, unsigned cpus)
{
    GuestRun *run = guest_run_new(NULL);
    guest_run_qmp(run);
    guest_run_args(run, "-smp %u", cpus);
    guest_run_boot(run, "pvh", cmdline);
    guest_run_start(run);
    g_free(guest_run_command(run, "cont"));
    return run;
}

/* A machine whose guest has set all up and halted; the address of its page. */
static GuestRun *registers_run(uint64_t *page)
{
    GuestRun *run = start("test=registers", 2);
    guest_run_expect(run, "!");
    const char *said = strstr(guest_run_output(run), "registers page 0x");
    *page = g_ascii_strtoull(said + strlen("registers page "), NULL, 16);
    g_assert_nonnull(strstr(said, "from 0x1111111111111111"));
    return run;
}

static void end(GuestRun *run)
{
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
    guest_run_free(run);
}

static void look_at_registers(GuestRun *run)
{
    expect(run, "info registers", "RBX=1122334455667788");
    expect(run, "info registers", "RSI=0000012345678000");
    expect(run, "info registers", "R8 =8877665544332211");
    expect(run, "info registers", "R15=0123456789abcdef");
    expect(run, "info registers", "CS =0008 ");
    expect(run, "info registers", "EFER=0000000000000500");
    expect(run, "info registers", "XMM15=");
    expect(run, "info registers -a", "CPU#1");
    expect(run, "info registers 1", "CPU#1");
    expect(run, "info registers 2", "Error: there is no vCPU 2");
    expect(run, "p $rbx", "0x1122334455667788");
    expect(run, "p/x $ebp + 2", "0xcb00");
    expect(run, "p/x $cs", "0x8");
    expect(run, "p/x $cr0 & 0x80000001", "0x80000001");
    expect_at(run, "p/x $rbx", ",\"cpu-index\":0", "0x1122334455667788");
}

static void test_registers(void)
{
    uint64_t page;
    GuestRun *run = registers_run(&page);
    look_at_registers(run);
    g_free(guest_run_command(run, "stop"));
    look_at_registers(run);
    /* The other vCPU never ran, and waits in real mode. */
    expect_at(run, "info registers", ",\"cpu-index\":1", "CPU#1");
    expect_at(run, "p/x $rbx", ",\"cpu-index\":1", "0x0");
    end(run);
}

static void test_memory(void)
{
    uint64_t page;
    GuestRun *run = registers_run(&page);
    g_autofree char *physical = g_strdup_printf("xp/2xg 0x%" G_GINT64_MODIFIER "x", page);
    g_autofree char *translated = g_strdup_printf("gpa: 0x%" G_GINT64_MODIFIER "x", page);
    g_autofree char *inside = g_strdup_printf("gpa: 0x%" G_GINT64_MODIFIER "x", page + 0x123);
    expect(run, physical, ": 0x0000000000000000 0x1111111111111111");
    expect(run, "x/2xg 0x12345678000", ": 0x0000000000000000 0x1111111111111111");
    expect(run, "x/2xg $rsi + 8", "0000012345678008: 0x1111111111111111 0x2222222222222222");
    expect(run, "x/4xb 0x12345678008", ": 0x11 0x11 0x11 0x11");
    expect(run, "x/1dw 0x12345678040", "-2004318072");
    expect(run, "x 0x12345677000", "not mapped");
    expect(run, "x/4xw 0x12345679ff8", "not mapped");
    expect(run, "gva2gpa 0x12345678000", translated);
    expect(run, "gva2gpa $rsi+0x1123", inside);
    expect(run, "gva2gpa 0x12345677fff", "Unmapped");
    expect(run, "gva2gpa 0x8000000000000000", "Unmapped");
    end(run);
}

/* The guest printed '!' and sleeps: b0 21, ee, fa, f4, eb fc. */
static void test_instructions(void)
{
    uint64_t page;
    GuestRun *run = registers_run(&page);
    expect(run, "x/4i $pc - 5", ":  b0 21                    movb $0x21, %al\n");
    expect(run, "x/4i $pc - 5", ":  ee                       outb %al, %dx\n");
    expect(run, "x/4i $pc - 5", ":  f4                       hlt\n");
    expect(run, "xp/i $pc - 1", ":  f4                       hlt\n");
    expect(run, "x/i $pc", ":  eb fc                    jmp 0x");
    expect(run, "p 17", "0x11"); /* not an instruction, though that was the last format */
    expect(run, "x/2i 0x12345677fff", "not mapped");
    /* The mapped memory ends in the middle of an instruction. */
    expect(run, "x/i 0x12345679fff", ":  ff                       .byte 0xff\n");
    expect(run, "x/70000i 0", "Error: at most 65536 items");
    end(run);
}

static void test_page_tables(void)
{
    uint64_t page;
    GuestRun *run = registers_run(&page);
    g_autofree char *first =
        g_strdup_printf("0000012345678000: %016" G_GINT64_MODIFIER "x ----A----\n", page);
    g_autofree char *second =
        g_strdup_printf("0000012345679000: %016" G_GINT64_MODIFIER "x -------UW\n", page);
    expect(run, "info tlb", first);
    expect(run, "info tlb", second);
    expect(run, "info tlb", "0000000000200000: 0000000000200000 --P");
    expect(run, "info mem", "0000012345678000-0000012345679000 0000000000001000 -r-\n");
    expect(run, "info mem", "0000012345679000-000001234567a000 0000000000001000 urw\n");
    expect_at(run, "info tlb", ",\"cpu-index\":1", "PG disabled");
    end(run);
}

static void test_saved_memory(void)
{
    uint64_t page;
    GuestRun *run = registers_run(&page);
    const char *path = guest_run_path(run, "memory");
    g_autofree char *virtual = g_strdup_printf("memsave 0x12345678008 16 %s", path);
    g_autofree char *beyond = g_strdup_printf("memsave 0x12345679ff8 16 %s", path);
    g_autofree char *data = NULL;
    gsize len;
    g_autofree char *said = hmp_at(run, virtual, "");
    g_assert_cmpstr(said, ==, "");
    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    g_assert_cmpuint(len, ==, 16);
    g_assert_cmpint(
        memcmp(data, "\x11\x11\x11\x11\x11\x11\x11\x11\x22\x22\x22\x22\x22\x22\x22\x22", 16), ==,
        0);
    expect(run, beyond, "there is no memory at 0x1234567a000");
    end(run);
}

/* For programs: memsave through the vCPU's page tables, pmemsave where the page is. */
static void test_saved_by_programs(void)
{
    uint64_t page;
    GuestRun *run = registers_run(&page);
    const char *by_cpu = guest_run_path(run, "by-cpu"), *by_page = guest_run_path(run, "by-page");
    g_autofree char *memsave =
        g_strdup_printf("{\"execute\":\"memsave\",\"arguments\":{\"val\":%" G_GINT64_FORMAT
                        ",\"size\":4096,\"cpu-index\":0,\"filename\":\"%s\"}}",
                        G_GINT64_CONSTANT(0x12345678000), by_cpu);
    g_autofree char *pmemsave =
        g_strdup_printf("{\"execute\":\"pmemsave\",\"arguments\":{\"val\":%" G_GUINT64_FORMAT
                        ",\"size\":4096,\"filename\":\"%s\"}}",
                        page, by_page);
    g_free(guest_run_command(run, memsave));
    g_free(guest_run_command(run, pmemsave));
    g_autofree char *a = NULL, *b = NULL;
    gsize a_len, b_len;
    g_assert_true(g_file_get_contents(by_cpu, &a, &a_len, NULL));
    g_assert_true(g_file_get_contents(by_page, &b, &b_len, NULL));
    g_assert_cmpuint(a_len, ==, 4096);
    g_assert_cmpmem(a, a_len, b, b_len);
    g_assert_cmpmem(a + 8, 8, "\x11\x11\x11\x11\x11\x11\x11\x11", 8);
    g_autofree char *nobody =
        guest_run_command(run, "{\"execute\":\"memsave\",\"arguments\":{\"val\":4096,\"size\":1,"
                               "\"cpu-index\":2,\"filename\":\"/dev/null\"}}");
    g_assert_nonnull(strstr(nobody, "there is no vCPU 2"));
    end(run);
}

static void test_interrupts(void)
{
    uint64_t page;
    GuestRun *run = registers_run(&page);
    expect(run, "info lapic", "dumping local APIC state for CPU 0");
    expect(run, "info lapic 1", "dumping local APIC state for CPU 1");
    expect(run, "info lapic 7", "Error: no vCPU has the APIC ID 7");
    expect(run, "info pic", "ioapic0: ");
    expect(run, "info pic", "pic1: irr=");
    end(run);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/hmp/registers", test_registers);
    guest_test_add("/hmp/memory", test_memory);
    guest_test_add("/hmp/instructions", test_instructions);
    guest_test_add("/hmp/page-tables", test_page_tables);
    guest_test_add("/hmp/saved-memory", test_saved_memory);
    guest_test_add("/hmp/saved-by-programs", test_saved_by_programs);
    guest_test_add("/hmp/interrupts", test_interrupts);
    return g_test_run();
}
