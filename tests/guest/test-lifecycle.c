/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a machine ends: reset and power-off by every way a guest has, panics, failed emulation; and
 * the same from outside by QMP and signals. */
#include "guest-run.h"

#include <signal.h>
#include <string.h>

static void ends_by(const char *machine, const char *how)
{
    g_autoptr(GuestRun) run = guest_run_new(machine);
    g_autofree char *cmdline = g_strdup_printf("test=reset how=%s", how);
    int status;

    guest_run_args(run, "-no-reboot");
    guest_run_boot(run, "pvh", cmdline);
    guest_run_start(run);
    status = guest_run_wait(run);
    g_assert_cmpint(status, ==, 0);
    g_assert_nonnull(strstr(guest_run_output(run), "reset by "));
    g_assert_null(strstr(guest_run_output(run), "FAIL"));
}

static void test_cf9(void)
{
    ends_by(NULL, "cf9");
}

static void test_i8042(void)
{
    ends_by(NULL, "i8042");
}

static void test_port92(void)
{
    ends_by(NULL, "port92");
}

static void test_triple_fault(void)
{
    ends_by(NULL, "triple");
}

static void test_s5(void)
{
    ends_by(NULL, "s5");
}

static void test_microvm_triple_fault(void)
{
    ends_by("microvm", "triple");
}

static void test_microvm_s5(void)
{
    ends_by("microvm", "ged-s5");
}

static void test_microvm_reset(void)
{
    ends_by("microvm", "ged-reset");
}

/* The count of guest starts so far, by what it prints each time. */
static guint starts(GuestRun *run)
{
    guint n = 0;

    for (const char *p = guest_run_output(run); (p = strstr(p, "reset by ")) != NULL; p++) {
        n++;
    }
    return n;
}

static void test_reset_starts_again(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_qmp(run);
    guest_run_boot(run, "pvh", "test=reset how=i8042");
    guest_run_start(run);
    for (guint i = 0; i < 3; i++) {
        g_autofree char *event = guest_run_event(run, "RESET");

        g_assert_nonnull(strstr(event, "\"guest\": true"));
    }
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
    /* A firmware may reset once more on its way (SeaBIOS does). */
    g_assert_cmpuint(starts(run), >=, guest_run_is_qemu() ? 2 : 3);
}

static void test_stop_and_cont(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    g_autofree char *status = NULL;

    guest_run_qmp(run);
    guest_run_boot(run, "pvh", "test=idle");
    guest_run_start(run);
    guest_run_expect(run, "idle\n");
    g_free(guest_run_command(run, "stop"));
    status = guest_run_command(run, "query-status");
    g_assert_nonnull(strstr(status, "\"paused\""));
    g_free(status);
    g_free(guest_run_command(run, "cont"));
    status = guest_run_command(run, "query-status");
    g_assert_nonnull(strstr(status, "\"running\""));
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

static void test_system_reset(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    g_autofree char *event = NULL;

    guest_run_qmp(run);
    guest_run_boot(run, "pvh", "test=idle");
    guest_run_start(run);
    guest_run_expect(run, "idle\n");
    g_free(guest_run_command(run, "system_reset"));
    event = guest_run_event(run, "RESET");
    guest_run_expect(run, "idle\nidle\n");
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

static void test_panic(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    g_autofree char *event = NULL, *status = NULL;

    guest_run_qmp(run);
    guest_run_args(run, "-device pvpanic -action panic=pause");
    guest_run_boot(run, "pvh", "test=pvpanic");
    guest_run_start(run);
    event = guest_run_event(run, "GUEST_PANICKED");
    g_assert_nonnull(strstr(event, "\"pause\""));
    status = guest_run_command(run, "query-status");
    g_assert_nonnull(strstr(status, "\"guest-panicked\""));
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

static void test_failed_emulation(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    g_autofree char *status = NULL, *event = NULL;

    guest_run_qmp(run);
    guest_run_boot(run, "pvh", "test=bad-instruction");
    guest_run_start(run);
    guest_run_expect(run, "running into MMIO\n");
    event = guest_run_event(run, "STOP");
    status = guest_run_command(run, "query-status");
    g_assert_nonnull(strstr(status, "\"internal-error\""));
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
    /* The report has the registers in it. */
    g_assert_nonnull(strstr(guest_run_errors(run), "RIP="));
}

static void ends_on_signal(int sig)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_args(run, "-drive if=none,id=d,file=%s,format=raw -device virtio-blk-pci,drive=d",
                   guest_run_disk(run, "disk", 65536));
    guest_run_boot(run, "pvh", "test=idle");
    guest_run_start(run);
    guest_run_expect(run, "idle\n");
    guest_run_signal(run, sig);
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

static void test_sigterm(void)
{
    ends_on_signal(SIGTERM);
}

static void test_sigint(void)
{
    ends_on_signal(SIGINT);
}

static void test_sighup(void)
{
    ends_on_signal(SIGHUP);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/guest/ends/reset-port-cf9", test_cf9);
    guest_test_add("/guest/ends/reset-by-keyboard-controller", test_i8042);
    guest_test_add("/guest/ends/reset-port-92", test_port92);
    guest_test_add("/guest/ends/triple-fault", test_triple_fault);
    guest_test_add("/guest/ends/acpi-s5", test_s5);
    guest_test_add("/guest/ends/microvm-triple-fault", test_microvm_triple_fault);
    guest_test_add("/guest/ends/microvm-s5", test_microvm_s5);
    guest_test_add("/guest/ends/microvm-reset-register", test_microvm_reset);
    guest_test_add("/guest/ends/on-sigterm", test_sigterm);
    guest_test_add("/guest/ends/on-sigint", test_sigint);
    guest_test_add("/guest/ends/on-sighup", test_sighup);
    guest_test_add("/guest/life/reset-starts-again", test_reset_starts_again);
    guest_test_add("/guest/life/stop-and-cont", test_stop_and_cont);
    guest_test_add("/guest/life/system-reset", test_system_reset);
    guest_test_add("/guest/life/panic-is-reported", test_panic);
    guest_test_add("/guest/life/failed-emulation-is-reported", test_failed_emulation);
    return g_test_run();
}
