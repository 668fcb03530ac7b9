/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile guests: nonsense in every register, broken rings. The machine stays steerable and the
 * other devices alive (HARDENING rows 1-6, 9-11, 24). */
#include "guest-run.h"

#include <string.h>

static void add_disk(GuestRun *run, const char *name, const char *bus)
{
    guest_run_args(run, "-drive if=none,id=%s,file=%s,format=raw -device virtio-blk-%s,drive=%s",
                   name, guest_run_disk(run, name, 1024 * 1024), bus, name);
}

static void add_everything(GuestRun *run, const char *bus)
{
    add_disk(run, "d0", bus);
    add_disk(run, "d1", bus);
    guest_run_args(run, "-netdev user,id=n -device virtio-net-%s,netdev=n", bus);
    guest_run_args(run, "-device virtio-rng-%s -device virtio-balloon-%s", bus, bus);
    guest_run_args(run, "-device virtio-serial-%s -serial null", bus);
}

/* The guest may wreck itself on the way (a device may rightly write where it was told to): then the
 * machine stands still, but it stands. */
static void hostile(const char *machine, const char *target, guint seed)
{
    g_autoptr(GuestRun) run = guest_run_new(machine);
    g_autofree char *cmdline = g_strdup_printf("test=hostile target=%s seed=%u", target, seed);
    g_autofree char *status = NULL;

    guest_run_qmp(run);
    add_everything(run, machine == NULL ? "pci" : "device");
    if (machine != NULL && guest_run_is_qemu()) {
        guest_run_args(run, "-global virtio-mmio.force-legacy=false");
    }
    guest_run_args(run, "-action reboot=shutdown,shutdown=pause");
    guest_run_boot(run, "pvh", cmdline);
    guest_run_start(run);
    guest_run_expect(run, "hostile begins\n");
    for (guint i = 0; i < 1000 && strstr(guest_run_output(run), "hostile done") == NULL; i++) {
        g_clear_pointer(&status, g_free);
        status = guest_run_command(run, "query-status");
        g_assert_nonnull(strstr(status, "\"return\""));
        if (strstr(status, "\"running\"") == NULL) {
            break;
        }
        guest_run_poll(run, 100);
    }
    g_clear_pointer(&status, g_free);
    status = guest_run_command(run, "query-status");
    g_assert_nonnull(strstr(status, "\"return\""));
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
    g_assert_null(strstr(guest_run_output(run), "FAIL"));
}

static void test_bars(void)
{
    for (guint seed = 1; seed <= 3; seed++) {
        hostile(NULL, "bars", seed);
    }
}

static void test_ports(void)
{
    hostile(NULL, "ports", 1);
}

static void test_chips(void)
{
    hostile(NULL, "chips", 1);
}

static void test_config(void)
{
    hostile(NULL, "config", 1);
}

static void test_mmio(void)
{
    for (guint seed = 1; seed <= 3; seed++) {
        hostile("microvm", "mmio", seed);
    }
}

static void broken_rings(const char *machine)
{
    g_autoptr(GuestRun) run = guest_run_new(machine);

    add_disk(run, "victim", machine == NULL ? "pci" : "device");
    add_disk(run, "witness", machine == NULL ? "pci" : "device");
    if (machine != NULL && guest_run_is_qemu()) {
        guest_run_args(run, "-global virtio-mmio.force-legacy=false");
    }
    guest_run_boot(run, "pvh", "test=broken-rings");
    guest_run_pass(run);
}

static void test_broken_rings_pci(void)
{
    broken_rings(NULL);
}

static void test_broken_rings_mmio(void)
{
    broken_rings("microvm");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/guest/hostile/nonsense-in-every-bar", test_bars);
    guest_test_add("/guest/hostile/nonsense-in-every-port", test_ports);
    guest_test_add("/guest/hostile/nonsense-in-the-chips", test_chips);
    guest_test_add("/guest/hostile/nonsense-in-configuration-space", test_config);
    guest_test_add("/guest/hostile/nonsense-in-every-mmio-slot", test_mmio);
    guest_test_add("/guest/hostile/broken-rings-hurt-one-device-only", test_broken_rings_pci);
    guest_test_add("/guest/hostile/broken-rings-mmio", test_broken_rings_mmio);
    return g_test_run();
}
