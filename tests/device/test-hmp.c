/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor on a machine without vCPUs: looks, changes, refusals; and on a terminal. */
#include <glib/gstdio.h>
#include <poll.h>
#include <pty.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/device/libqtest.h"
#include "tests/device/qmp-client.h"

static void expect(QTest *qts, const char *line, const char *pattern)
{
    g_autofree char *wire = qtest_hmp(qts, line);
    g_auto(GStrv) lines = g_strsplit(wire, "\r\n", -1);
    g_autofree char *text = g_strchomp(g_strjoinv("\n", lines));
    if (!g_pattern_match_simple(pattern, text)) {
        g_error("'%s' says '%.2000s', not '%s'", line, text, pattern);
    }
}

static void test_memory_and_ports(void)
{
    QTest *qts = qtest_start("-m 16");
    qtest_write(qts, 0x1000, 0x41424344, 4);
    expect(qts, "xp 0x1000", "0000000000001000: 0x41424344");
    expect(qts, "xp/4cb 0x1000", "0000000000001000: 'D' 'C' 'B' 'A'");
    expect(qts, "xp/2dh 0x0fff + 1", "0000000000001000: 17220 16706");
    expect(qts, "xp 0x40000000", "0000000040000000: no RAM here");
    expect(qts, "xp/70000 0", "Error: at most 65536 items*");
    expect(qts, "xp/z 0", "Error: 'z' is no format*");
    expect(qts, "xp", "usage: xp /FMT ADDRESS");
    expect(qts, "xp 0 0", "Error: the expression ends before '0'");
    expect(qts, "sum 0x1000 4", "16507");
    expect(qts, "sum 0x1000 2000000000", "Error: at most 1 GiB*");
    expect(qts, "sum 0x40000000 1", "Error: there is no RAM at 0x40000000");
    expect(qts, "gpa2hva 0x1000", "Host virtual address for 0x1000 (pc.ram) is 0x*");
    expect(qts, "gpa2hva 0xfec00000", "Error: there is no RAM at 0xfec00000");
    expect(qts, "o/b 0x70 0x0f", "");
    expect(qts, "o/b 0x71 0x5a", "");
    expect(qts, "i/b 0x71", "portb?0x0071? = 0x5a");
    expect(qts, "o/b 0x70 0", "");
    expect(qts, "i/b 0x70.0x0f", "portb?0x0071? = 0x5a");
    expect(qts, "i/h 0x10000", "Error: ports are numbers up to 0xffff");
    expect(qts, "o/b 0x70", "Error: the expression ends*");
    expect(qts, "i/g 0x70", "Error: a port is read and written in 1, 2 or 4 bytes");
    expect(qts, "print 4+3&1", "0x5");
    expect(qts, "p/d -1", "-1");
    expect(qts, "p 16", "0x10"); /* a format stays within its session only */
    qtest_stop(qts);
}

static void test_flags_of_the_memory_map(void)
{
    QTest *qts = qtest_start("-m 16");
    g_autofree char *map = qtest_hmp(qts, "info mtree");
    g_autofree char *flat = qtest_hmp(qts, "info mtree -f");
    g_assert_true(g_str_has_prefix(map, "address-space: memory\r\n"));
    g_assert_true(g_str_has_prefix(flat, "address-space: memory\r\n"));
    /* The PAM windows hide the RAM below them: placed it is whole, and seen in parts. */
    g_assert_nonnull(strstr(map, "  0000000000000000-0000000000ffffff (prio 0, ram): "));
    g_assert_null(strstr(flat, "0000000000000000-0000000000ffffff"));
    g_assert_nonnull(strstr(flat, "  0000000000000000-"));
    g_assert_null(strstr(map, " @"));
    expect(qts, "info mtree -d", "Error: info mtree has no -d: *");
    expect(qts, "info mtree -f -o", "Error: info mtree has no -o: *");
    expect(qts, "info mtree -D", "Error: info mtree has no -D: *");
    expect(qts, "info mtree memory", "Error: info mtree takes -f, not 'memory'");
    expect(qts, "info mtree -fd", "Error: info mtree takes -f, not '-fd'");
    qtest_stop(qts);
}

static void test_what_needs_vcpus(void)
{
    QTest *qts = qtest_start("-m 16");
    expect(qts, "x 0", "Error: the machine has no vCPUs*");
    expect(qts, "x/i 0", "Error: the machine has no vCPUs*");
    expect(qts, "xp/i 0", "Error: the machine has no vCPUs*");
    expect(qts, "gva2gpa 0", "Error: the machine has no vCPUs*");
    expect(qts, "info lapic", "Error: the machine has no vCPUs*");
    expect(qts, "info tlb", "Error: the machine has no vCPUs*");
    expect(qts, "info mem", "Error: the machine has no vCPUs*");
    expect(qts, "p $rip", "Error: there is no register 'rip' to be read");
    expect(qts, "cpu 0", "");
    expect(qts, "cpu 1", "Error: there is no vCPU 1*");
    expect(qts, "cpu x", "Error: 'x' is not a vCPU's number");
    expect(qts, "info cpus", "? CPU #0: thread_id=*");
    g_autofree char *wrong = qtest_qmp_error(
        qts, "{'execute': 'human-monitor-command', 'arguments': {'command-line': 'info status', "
             "'cpu-index': 7}}");
    g_assert_nonnull(strstr(wrong, "'cpu-index'"));
    qtest_stop(qts);
}

static void test_interrupt_controllers(void)
{
    QTest *qts = qtest_start("-m 16");
    qtest_write(qts, 0xfec00000, 0x12, 4);
    qtest_write(qts, 0xfec00010, 0x8031, 4);
    qtest_outb(qts, 0x21, 0x5a);
    expect(qts, "info pic",
           "*pin 1  0x*8031 dest=0 vec=49  active-hi level        fixed  physical*");
    expect(qts, "info pic", "*pic0: irr=?? imr=5a isr=00*");
    qtest_stop(qts);
}

static void test_memory_is_saved(void)
{
    QTest *qts = qtest_start("-m 16");
    g_autofree char *path = g_build_filename(qts->dir, "memory", NULL);
    g_autofree char *line = g_strdup_printf("pmemsave 0x1000 4 %s", path);
    g_autofree char *beyond = g_strdup_printf("pmemsave 0xfffffc 8 %s", path);
    g_autofree char *data = NULL;
    gsize len;
    qtest_write(qts, 0x1000, 0x41424344, 4);
    expect(qts, line, "");
    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    g_assert_cmpuint(len, ==, 4);
    g_assert_cmpint(memcmp(data, "DCBA", 4), ==, 0);
    expect(qts, beyond, "Error: there is no memory at 0x1000000; *");
    expect(qts, "pmemsave 0 4 /nonexistent/file", "Error: '/nonexistent/file' cannot be opened*");
    expect(qts, "pmemsave 0 -1 /dev/null", "Error: Parameter 'size'*");
    expect(qts, "memsave 0 4 /dev/null", "Error: the accelerator 'qtest' has no vCPUs*");
    g_unlink(path);
    qtest_stop(qts);
}

static void test_machine_and_objects(void)
{
    QTest *qts = qtest_start("-m 16 -device virtio-rng-pci,id=rng0 -object "
                             "memory-backend-ram,id=extra,size=4M -device i6300esb");
    expect(qts, "info memdev", "*memory backend: extra\n  size: 4194304\n*host nodes:*");
    expect(qts, "info ramblock", "*pc.ram    4 KiB 0x0000000001000000 *0x*");
    expect(qts, "info qom-tree", "/machine (*/rng0 (virtio-rng-pci)*");
    expect(qts, "info qom-tree /objects", "/objects (container)\n  /extra (memory-backend-ram)");
    expect(qts, "info qom-tree /nowhere", "Error: *");
    expect(qts, "watchdog_action pause", "");
    expect(qts, "watchdog_action bite", "Error: *");
    expect(qts, "info snapshots", "There are no snapshots");
    expect(qts, "info dump", "Status: none");
    expect(qts, "dump-guest-memory -d", "Error: into which file?");
    expect(qts, "dump-guest-memory /nonexistent/file 0 1+", "Error: the expression ends*");
    expect(qts, "dump-guest-memory /nonexistent/file", "Error: *");
    qtest_stop(qts);
}

static void test_virtio(void)
{
    static const char backend[] = "/machine/peripheral/rng0/virtio-backend";
    QTest *qts = qtest_start("-m 16 -device virtio-rng-pci,id=rng0,addr=5");
    QVirtio *dev = qvirtio_new(qpci_open(qts, 5 << 3));
    g_autofree char *status = g_strdup_printf("info virtio-status %s", backend);
    g_autofree char *queue = g_strdup_printf("info virtio-queue-status %s 0", backend);
    g_autofree char *no_queue = g_strdup_printf("info virtio-queue-status %s 1", backend);
    expect(qts, "info virtio", "/machine/peripheral/rng0/virtio-backend [virtio-rng]");
    expect(qts, status, "*started:         false*status:          0x00\n*");
    qvirtio_reset(dev);
    qvirtio_negotiate(dev, 1ULL << 32);
    QVirtQueue *vq = qvirtqueue_new(dev, 0, 8, 0xffff);
    qvirtio_driver_ok(dev);
    expect(qts, status,
           "*started:         true*ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK\n*"
           "guest features:  0x0000000100000000");
    expect(qts, queue, "*enabled:         true\n  size:            8 of *vector:          -1*");
    expect(qts, no_queue, "Error: '1' is not the number of one of its 1 queues");
    expect(qts, "info virtio-status nobody", "Error: there is no virtio device 'nobody'*");
    qvirtqueue_free(vq);
    qvirtio_free(dev);
    qtest_stop(qts);
}

static void test_no_devices(void)
{
    QTest *qts = qtest_start("-m 16");
    expect(qts, "info virtio", "No VirtIO devices");
    expect(qts, "netdev_add user,id=net0", "");
    expect(qts, "netdev_add user,id=net0", "Error: *");
    expect(qts, "info network", "net0: index=0,type=user,*");
    expect(qts, "info usernet", "net0:*Protocol*");
    expect(qts, "netdev_del net0", "");
    expect(qts, "netdev_del net0", "Error: there is no netdev*");
    qtest_stop(qts);
}

/* ---- On a terminal ---- */

typedef struct Terminal {
    int master;
    pid_t pid;
    GString *shown;
} Terminal;

static Terminal terminal_start(unsigned short columns)
{
    struct winsize size = { .ws_row = 24, .ws_col = columns };
    Terminal t = { .shown = g_string_new(NULL) };
    int slave;
    g_assert_cmpint(openpty(&t.master, &slave, NULL, NULL, &size), ==, 0);
    t.pid = fork();
    if (t.pid == 0) {
        for (int fd = 0; fd <= STDERR_FILENO; fd++) {
            dup2(slave, fd);
        }
        execl(g_getenv("VIREO"), "vireo", "-accel", "qtest", "-nodefaults", "-display", "none",
              "-device", "virtio-rng-pci,id=rng-one", "-netdev", "user,id=net-one", "-monitor",
              "stdio", NULL);
        _exit(127);
    }
    close(slave);
    return t;
}

/* Reads until the text has been shown behind what was waited for before. */
static void terminal_wait(Terminal *t, const char *text)
{
    char *at;
    while (!(at = strstr(t->shown->str, text))) {
        char data[4096];
        struct pollfd fd = { .fd = t->master, .events = POLLIN };
        if (poll(&fd, 1, QTEST_TIMEOUT_MS) <= 0) {
            g_error("no '%s' in '%s'", text, t->shown->str);
        }
        ssize_t got = read(t->master, data, sizeof(data));
        if (got <= 0) {
            g_error("the end, and no '%s' in '%s'", text, t->shown->str);
        }
        for (ssize_t i = 0; i < got; i++) { /* the terminal makes a CR of its own */
            bool again = data[i] == '\r' && g_str_has_suffix(t->shown->str, "\r");
            g_string_append_len(t->shown, &data[i], !again);
        }
    }
    g_string_erase(t->shown, 0, at + strlen(text) - t->shown->str);
}

static void terminal_type(Terminal *t, const char *keys)
{
    g_assert_cmpint(write(t->master, keys, strlen(keys)), ==, (ssize_t)strlen(keys));
}

static void terminal_end(Terminal *t)
{
    int status;
    terminal_type(t, "\025quit\r");
    g_assert_cmpint(waitpid(t->pid, &status, 0), ==, t->pid);
    g_assert_cmpint(status, ==, 0);
    close(t->master);
    g_string_free(t->shown, TRUE);
}

static void test_keys_of_a_terminal(void)
{
    Terminal t = terminal_start(80);
    terminal_wait(&t, "(qemu) ");
    terminal_type(&t, "xinfo statu\001\033[3~\005s\r");
    terminal_wait(&t, "VM status: running\r\n(qemu) ");
    terminal_type(&t, "info name\r");
    terminal_wait(&t, "(qemu) ");
    terminal_type(&t, "\033[A\033[A\r");
    terminal_wait(&t, "VM status: running\r\n(qemu) ");
    terminal_type(&t, "\022nam\r");
    terminal_wait(&t, "info name\r\n(qemu) ");
    terminal_type(&t, "info history\r");
    terminal_wait(&t, "0: 'info status'\r\n1: 'info name'\r\n2: 'info status'");
    terminal_end(&t);
}

static void test_tab_key(void)
{
    Terminal t = terminal_start(80);
    terminal_wait(&t, "(qemu) ");
    terminal_type(&t, "info statu\t\r");
    terminal_wait(&t, "VM status: running");
    terminal_type(&t, "device_del r\t");
    terminal_wait(&t, "rng-one ");
    terminal_type(&t, "\025set_link n\t of\t");
    terminal_wait(&t, "net-one ");
    terminal_wait(&t, "off ");
    terminal_type(&t, "\025device_add virtio-rng-p\t");
    terminal_wait(&t, "ci");
    terminal_type(&t, ",max-b\t");
    terminal_wait(&t, "ytes=");
    terminal_type(&t, "\025qom-list /machine/periph\t");
    terminal_wait(&t, "eral");
    terminal_type(&t, "\025qom-get /machine/peripheral/rng-one max-\t");
    terminal_wait(&t, "bytes ");
    terminal_type(&t, "\025help info uu\t\r");
    terminal_wait(&t, "info uuid -- ");
    terminal_end(&t);
}

/* A row of 20 columns: what is typed beyond stays on it. */
static void test_a_narrow_terminal(void)
{
    Terminal t = terminal_start(20);
    terminal_wait(&t, "(qemu) ");
    terminal_type(&t, "info status of the whole machine\001");
    terminal_wait(&t, "\r\033[K(qemu) info status \033[12D");
    terminal_type(&t, "\r");
    terminal_wait(&t, "usage: info status");
    terminal_end(&t);
}

/* ---- Clients that mean no good ---- */

static int connect_to(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    return fd;
}

/* Writes until the other side takes no more, or it was all taken so many times. */
static void flood(int fd, const char *data, size_t len, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        struct pollfd room = { .fd = fd, .events = POLLOUT };
        if (poll(&room, 1, 500) <= 0 || write(fd, data, len) < 0) {
            return;
        }
    }
}

static void test_clients_that_do_not_read(void)
{
    g_autofree char *dir = g_dir_make_tmp("hmp-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "monitor", NULL);
    QTest *qts = qtest_start("-m 16 -monitor unix:%s,server=on,wait=off", path);
    g_autoptr(GString) helps = g_string_new(NULL);
    for (unsigned i = 0; i < 1000; i++) {
        g_string_append(helps, "help\r");
    }
    unsigned long before = qmp_resident_kib(qts->pid);
    int fd = connect_to(path);
    flood(fd, helps->str, helps->len, 2000); /* 10 MB, for which 16 GB would be the answer */
    expect(qts, "info status", "VM status: running");
    g_assert_cmpuint(qmp_resident_kib(qts->pid), <, before + (8 << 10));
    close(fd);
    fd = connect_to(path);
    g_autofree char *nonsense = g_malloc(1 << 20);
    for (unsigned i = 0; i < 1 << 20; i++) {
        nonsense[i] = (char)(i * 2654435761u >> 13);
    }
    flood(fd, nonsense, 1 << 20, 2);
    close(fd);
    expect(qts, "info status", "VM status: *");
    qtest_stop(qts);
    g_unlink(path);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hmp/memory-and-ports", test_memory_and_ports);
    g_test_add_func("/hmp/flags-of-the-memory-map", test_flags_of_the_memory_map);
    g_test_add_func("/hmp/what-needs-vcpus", test_what_needs_vcpus);
    g_test_add_func("/hmp/interrupt-controllers", test_interrupt_controllers);
    g_test_add_func("/hmp/memory-is-saved", test_memory_is_saved);
    g_test_add_func("/hmp/machine-and-objects", test_machine_and_objects);
    g_test_add_func("/hmp/virtio", test_virtio);
    g_test_add_func("/hmp/no-devices", test_no_devices);
    g_test_add_func("/hmp/keys-of-a-terminal", test_keys_of_a_terminal);
    g_test_add_func("/hmp/tab-key", test_tab_key);
    g_test_add_func("/hmp/a-narrow-terminal", test_a_narrow_terminal);
    g_test_add_func("/hmp/clients-that-do-not-read", test_clients_that_do_not_read);
    return g_test_run();
}
