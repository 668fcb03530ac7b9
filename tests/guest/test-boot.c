/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest starts by every boot protocol, sees its command line, its initrd, its memory and its
 * CPUs. */
#include "guest-run.h"

#include <string.h>

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        g_error("no '%s' in: %s", part, text);
    }
}

static void test_prints_on_both_consoles(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    g_autofree char *log = g_strdup_printf("%s.log", guest_run_disk(run, "serial", 4));
    g_autofree char *text = NULL;

    guest_run_args(run, "-serial file:%s", log);
    guest_run_boot(run, "pvh", "test=hello");
    assert_contains(guest_run_pass(run), "hello, debug console\n");
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "hello, serial\n");
}

static guint32 initrd_make(GuestRun *run, const char **path)
{
    g_autofree char *data = NULL;
    gsize n;
    guint32 sum = 0;

    *path = guest_run_disk(run, "initrd", 70001 & ~3);
    g_assert_true(g_file_get_contents(*path, &data, &n, NULL));
    for (gsize i = 0; i < n; i++) {
        sum = sum * 31 + (guint8)data[i];
    }
    return sum;
}

static void boots(const char *kind, const char *how)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    const char *initrd;
    g_autofree char *expected =
        g_strdup_printf("initrd 70000 sum %08x\n", initrd_make(run, &initrd));
    const char *out;

    guest_run_args(run, "-initrd %s", initrd);
    guest_run_boot(run, kind, "test=boot key=value with,commas,,and \"quotes\"");
    out = guest_run_pass(run);
    assert_contains(out, how);
    assert_contains(out, "test=boot key=value with,commas,,and \"quotes\">\n");
    assert_contains(out, expected);
}

static void test_pvh(void)
{
    boots("pvh", "booted by pvh\n");
}

static void test_multiboot(void)
{
    boots("mb", "booted by multiboot\n");
}

static void test_bzimage(void)
{
    boots("bz", guest_run_is_qemu() ? "booted by linux32\n" : "booted by linux64\n");
}

static void test_long_command_line(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    g_autofree char *fill = g_strnfill(1900, 'x');
    g_autofree char *cmdline = g_strdup_printf("test=boot %s end", fill);
    g_autofree char *expected = g_strdup_printf("%s>\n", cmdline);

    guest_run_boot(run, "bz", cmdline);
    assert_contains(guest_run_pass(run), expected);
}

static void memmap(const char *machine, const char *size, const char *expected)
{
    g_autoptr(GuestRun) run = guest_run_new(machine);

    guest_run_args(run, "-m %s", size);
    guest_run_boot(run, "pvh", "test=memmap");
    assert_contains(guest_run_pass(run), expected);
}

static void test_small_memory(void)
{
    memmap(NULL, "256M", "ram 256 MiB, 0 MiB above 4 GiB\n");
}

static void test_hole_below_4g(void)
{
    memmap(NULL, "5G", "ram 5120 MiB, ");
}

static void test_microvm_memory(void)
{
    if (guest_run_is_qemu()) {
        g_test_skip("qboot's map ends with an empty range");
        return;
    }
    memmap("microvm", "5G", "ram 5120 MiB, ");
}

static void test_smp(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_args(run, "-smp 4");
    guest_run_boot(run, "pvh", "test=smp cpus=4");
    assert_contains(guest_run_pass(run), "cpus 4, distinct APIC ids 4\n");
}

static void test_many_cpus(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_args(run, "-smp 17,sockets=17,cores=1,threads=1");
    guest_run_boot(run, "pvh", "test=smp cpus=17");
    assert_contains(guest_run_pass(run), "cpus 17, distinct APIC ids 17\n");
}

static void test_rom(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_boot(run, "rom", NULL);
    guest_run_start(run);
    /* Without a command line the guest finds no test and says so: it ran. */
    guest_run_expect(run, "FAIL: no test named");
    g_assert_cmpint(guest_run_wait(run), ==, 3);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/guest/boot/prints-on-both-consoles", test_prints_on_both_consoles);
    guest_test_add("/guest/boot/pvh", test_pvh);
    guest_test_add("/guest/boot/multiboot", test_multiboot);
    guest_test_add("/guest/boot/bzimage", test_bzimage);
    guest_test_add("/guest/boot/firmware-rom", test_rom);
    guest_test_add("/guest/boot/long-command-line-arrives-whole", test_long_command_line);
    guest_test_add("/guest/boot/small-memory", test_small_memory);
    guest_test_add("/guest/boot/hole-below-4g-is-left-free", test_hole_below_4g);
    guest_test_add("/guest/boot/microvm-memory", test_microvm_memory);
    guest_test_add("/guest/boot/every-cpu-starts", test_smp);
    guest_test_add("/guest/boot/seventeen-cpus-start", test_many_cpus);
    return g_test_run();
}
