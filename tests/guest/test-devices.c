/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio devices driven by a guest's own drivers, on PCI and on microvm's MMIO slots. */
#include "guest-run.h"

#include <string.h>
#include <unistd.h>

#define DISK_BYTES (1024 * 1024)

static const char *transport(const char *machine)
{
    return machine != NULL ? "device" : "pci";
}

static GuestRun *machine_new(const char *machine)
{
    GuestRun *run = guest_run_new(machine);

    if (machine != NULL && guest_run_is_qemu()) {
        guest_run_args(run, "-global virtio-mmio.force-legacy=false");
    }
    return run;
}

/* The guest's sum over the disk's first page, and its writes behind it. */
static void check_disk(const char *path, const char *out)
{
    g_autofree guint32 *data = NULL;
    g_autofree char *expected = NULL;
    guint32 sum = 0;
    gsize n;

    g_assert_true(g_file_get_contents(path, (char **)&data, &n, NULL));
    g_assert_cmpuint(n, ==, DISK_BYTES);
    for (guint i = 0; i < 1024; i++) {
        sum = sum * 31 + data[i];
    }
    expected = g_strdup_printf("first page sum %08x\n", sum);
    g_assert_nonnull(strstr(out, expected));
    for (guint block = 0; block < 20; block++) {
        const guint32 *at = data + (64 + block * 16) * 512 / 4;

        g_assert_cmpuint(at[0], ==, block);
        for (guint i = 1; i < 2048; i++) {
            g_assert_cmpuint(at[i], ==, i * 2654435761u);
        }
    }
}

static void disk(const char *machine, const char *ring, const char *drive, const char *device)
{
    g_autoptr(GuestRun) run = machine_new(machine);
    g_autofree char *cmdline = g_strdup_printf("test=blk ring=%s", ring);
    const char *path = guest_run_disk(run, "disk", DISK_BYTES), *out;

    guest_run_args(run, "-drive if=none,id=d,file=%s,format=raw%s", path, drive);
    guest_run_args(run, "-device virtio-blk-%s,drive=d,serial=A-serial-123%s", transport(machine),
                   device);
    guest_run_boot(run, "pvh", cmdline);
    out = guest_run_pass(run);
    g_assert_nonnull(strstr(out, "serial <A-serial-123>\n"));
    check_disk(path, out);
}

static void test_disk_split(void)
{
    disk(NULL, "split", "", "");
}

static void test_disk_packed(void)
{
    disk(NULL, "packed", "", ",packed=on");
}

static void test_disk_indirect(void)
{
    disk(NULL, "indirect", "", "");
}

static void test_disk_event_index(void)
{
    disk(NULL, "event", "", "");
}

static void test_disk_direct(void)
{
    disk(NULL, "split", ",cache=none,aio=native", "");
}

static void test_disk_threads(void)
{
    disk(NULL, "split", ",aio=threads", "");
}

static void test_disk_iothread(void)
{
    g_autoptr(GuestRun) run = machine_new(NULL);
    const char *path = guest_run_disk(run, "disk", DISK_BYTES);

    guest_run_args(
        run, "-object iothread,id=io -drive if=none,id=d,file=%s,format=raw,aio=io_uring", path);
    guest_run_args(run, "-device virtio-blk-pci,drive=d,iothread=io");
    guest_run_boot(run, "pvh", "test=blk ring=event");
    check_disk(path, guest_run_pass(run));
}

static void test_disk_mmio(void)
{
    disk("microvm", "event", "", "");
}

static void test_disk_mmio_packed(void)
{
    disk("microvm", "packed", "", ",packed=on");
}

static void test_disk_interrupts_by_msix(void)
{
    g_autoptr(GuestRun) run = machine_new(NULL);

    guest_run_args(run, "-drive if=none,id=d,file=%s,format=raw -device virtio-blk-pci,drive=d",
                   guest_run_disk(run, "disk", DISK_BYTES));
    guest_run_boot(run, "pvh", "test=msix");
    guest_run_pass(run);
}

static void arp(const char *machine, const char *ring, const char *device)
{
    g_autoptr(GuestRun) run = machine_new(machine);
    g_autofree char *cmdline = g_strdup_printf("test=net-arp ring=%s", ring);

    guest_run_args(run, "-netdev user,id=n -device virtio-net-%s,netdev=n%s", transport(machine),
                   device);
    guest_run_boot(run, "pvh", cmdline);
    g_assert_nonnull(strstr(guest_run_pass(run), "10.0.2.2 is at 52:55:0a:00:02:02"));
}

static void test_net_split(void)
{
    arp(NULL, "split", "");
}

static void test_net_packed(void)
{
    arp(NULL, "packed", ",packed=on");
}

static void test_net_mmio(void)
{
    arp("microvm", "event", "");
}

static void rng(const char *machine)
{
    g_autoptr(GuestRun) run = machine_new(machine);

    guest_run_args(run, "-device virtio-rng-%s", transport(machine));
    guest_run_boot(run, "pvh", "test=rng");
    guest_run_pass(run);
}

static void test_rng_pci(void)
{
    rng(NULL);
}

static void test_rng_mmio(void)
{
    rng("microvm");
}

static void test_disk_legacy(void)
{
    g_autoptr(GuestRun) run = machine_new(NULL);
    const char *path = guest_run_disk(run, "disk", DISK_BYTES);
    g_autofree guint32 *data = NULL;
    g_autofree char *expected = NULL;
    guint32 sum = 0;

    g_assert_true(g_file_get_contents(path, (char **)&data, NULL, NULL));
    for (guint i = 0; i < 1024; i++) {
        sum = sum * 31 + data[i];
    }
    expected = g_strdup_printf("capacity 2048 sectors\nfirst page sum %08x\n", sum);
    guest_run_args(run, "-drive if=none,id=d,file=%s,format=raw", path);
    guest_run_args(run, "-device virtio-blk-pci-transitional,drive=d");
    guest_run_boot(run, "pvh", "test=legacy-blk");
    g_assert_nonnull(strstr(guest_run_pass(run), expected));
}

static void test_console(void)
{
    g_autoptr(GuestRun) run = machine_new(NULL);
    g_autofree char *reply = NULL;

    guest_run_qmp(run);
    guest_run_args(run, "-chardev ringbuf,id=con,size=4096 -device virtio-serial-pci -device "
                        "virtconsole,chardev=con");
    guest_run_boot(run, "pvh", "test=console");
    guest_run_start(run);
    guest_run_expect(run, "console ready\n");
    reply = guest_run_command(run, "{\"execute\":\"ringbuf-read\",\"arguments\":{\"device\":"
                                   "\"con\",\"size\":100}}");
    g_assert_nonnull(strstr(reply, "hello, virtio console\\n"));
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

static void test_console_input(void)
{
    g_autoptr(GuestRun) run = machine_new(NULL);
    g_autofree char *path = g_strdup_printf("%s.sock", guest_run_disk(run, "console", 4));
    int fd;

    guest_run_args(run, "-chardev socket,id=con,path=%s,server=on,wait=off", path);
    guest_run_args(run, "-device virtio-serial-pci -device virtconsole,chardev=con");
    guest_run_boot(run, "pvh", "test=console");
    guest_run_start(run);
    guest_run_expect(run, "console ready\n");
    fd = guest_run_connect(path);
    g_assert_cmpint(write(fd, "typed.", 6), ==, 6);
    guest_run_expect(run, "typed <typed.>\n");
    close(fd);
    g_assert_cmpint(guest_run_wait(run), ==, 1);
}

static void test_balloon(void)
{
    g_autoptr(GuestRun) run = machine_new(NULL);

    guest_run_args(run, "-device virtio-balloon-pci");
    guest_run_boot(run, "pvh", "test=balloon");
    g_assert_nonnull(strstr(guest_run_pass(run), "page after inflation 00\n"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/guest/disk/split-ring", test_disk_split);
    guest_test_add("/guest/disk/packed-ring", test_disk_packed);
    guest_test_add("/guest/disk/indirect-descriptors", test_disk_indirect);
    guest_test_add("/guest/disk/event-index", test_disk_event_index);
    guest_test_add("/guest/disk/direct-native", test_disk_direct);
    guest_test_add("/guest/disk/threads", test_disk_threads);
    guest_test_add("/guest/disk/named-iothread", test_disk_iothread);
    guest_test_add("/guest/disk/mmio", test_disk_mmio);
    guest_test_add("/guest/disk/mmio-packed-ring", test_disk_mmio_packed);
    guest_test_add("/guest/disk/interrupts-by-msix", test_disk_interrupts_by_msix);
    guest_test_add("/guest/disk/legacy-interface", test_disk_legacy);
    guest_test_add("/guest/console/what-the-guest-writes-comes-out", test_console);
    guest_test_add("/guest/console/what-is-typed-arrives", test_console_input);
    guest_test_add("/guest/balloon/inflates-and-deflates", test_balloon);
    guest_test_add("/guest/net/arp-split-ring", test_net_split);
    guest_test_add("/guest/net/arp-packed-ring", test_net_packed);
    guest_test_add("/guest/net/arp-mmio", test_net_mmio);
    guest_test_add("/guest/rng/pci", test_rng_pci);
    guest_test_add("/guest/rng/mmio", test_rng_mmio);
    return g_test_run();
}
