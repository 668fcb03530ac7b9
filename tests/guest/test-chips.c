/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The board's own parts as a guest sees them: interrupts, PCI configuration, ACPI tables. */
#include "guest-run.h"

#include <string.h>

static void test_interrupts_arrive(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_args(run, "-serial null");
    guest_run_boot(run, "pvh", "test=irq");
    guest_run_pass(run);
}

static void test_split_irqchip_interrupts_arrive(void)
{
    g_autoptr(GuestRun) run = guest_run_new("q35,kernel-irqchip=split");

    guest_run_args(run, "-serial null");
    guest_run_boot(run, "pvh", "test=irq");
    guest_run_pass(run);
}

static void run_hpet(const char *machine)
{
    g_autoptr(GuestRun) run = guest_run_new(machine);

    guest_run_boot(run, "pvh", "test=hpet");
    g_assert_nonnull(strstr(guest_run_pass(run), "the PIT ticks again"));
}

/* The PIT is KVM's. */
static void test_hpet_silences_the_kernels_timer(void)
{
    run_hpet("q35,hpet=on");
}

static void test_hpet_silences_our_timer(void)
{
    run_hpet("pc,hpet=on,kernel-irqchip=split");
}

static void test_every_function_is_enumerated(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    const char *out;

    guest_run_args(run,
                   "-drive if=none,id=d,file=%s,format=raw -device virtio-blk-pci,drive=d,addr=5",
                   guest_run_disk(run, "disk", 65536));
    guest_run_args(run, "-netdev user,id=n -device virtio-net-pci,netdev=n,addr=6.0");
    guest_run_args(run, "-device virtio-rng-pci,addr=7");
    guest_run_boot(run, "pvh", "test=pci");
    out = guest_run_pass(run);
    g_assert_nonnull(strstr(out, "pci 00:00.0 8086:29c0 class 0600"));
    g_assert_nonnull(strstr(out, "pci 00:1f.0 8086:2918 class 0601"));
    g_assert_nonnull(strstr(out, "pci 00:05.0 1af4:"));
    g_assert_nonnull(strstr(out, "pci 00:06.0 1af4:"));
    g_assert_nonnull(strstr(out, "pci 00:07.0 1af4:"));
}

static void test_ecam_shows_what_the_ports_show(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_args(run, "-device virtio-rng-pci");
    guest_run_boot(run, "pvh", "test=ecam");
    guest_run_pass(run);
}

static void test_acpi_tables_are_sound(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    const char *out;

    guest_run_args(run, "-smp 3");
    guest_run_boot(run, "pvh", "test=acpi");
    out = guest_run_pass(run);
    g_assert_nonnull(strstr(out, "table FACP"));
    g_assert_nonnull(strstr(out, "table MCFG"));
    g_assert_nonnull(strstr(out, "madt cpus 3\n"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/guest/chips/interrupts-arrive", test_interrupts_arrive);
    guest_test_add("/guest/chips/split-irqchip-interrupts-arrive",
                   test_split_irqchip_interrupts_arrive);
    guest_test_add("/guest/chips/hpet-silences-the-kernels-timer",
                   test_hpet_silences_the_kernels_timer);
    guest_test_add("/guest/chips/hpet-silences-our-timer", test_hpet_silences_our_timer);
    guest_test_add("/guest/chips/every-function-is-enumerated", test_every_function_is_enumerated);
    guest_test_add("/guest/chips/ecam-shows-what-the-ports-show",
                   test_ecam_shows_what_the_ports_show);
    guest_test_add("/guest/chips/acpi-tables-are-sound", test_acpi_tables_are_sound);
    return g_test_run();
}
