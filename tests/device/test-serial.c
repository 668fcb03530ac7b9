/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serial ports and the debug console in a machine: ports, interrupts, chardevs, hostile accesses.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

static const uint16_t ports[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
static const unsigned irqs[] = { 4, 3, 4, 3 };

/* What a ringbuf chardev has collected. */
static char *collected(QTest *qts, const char *id)
{
    json_object *text =
        qtest_qmp_ok(qts, "{'execute':'ringbuf-read','arguments':{'device':'%s','size':4096}}", id);
    char *copy = g_strdup(json_object_get_string(text));
    json_object_put(text);
    return copy;
}

static void expect_collected(QTest *qts, const char *id, const char *expected)
{
    g_autofree char *text = collected(qts, id);
    g_assert_cmpstr(text, ==, expected);
}

static void test_four_ports(void)
{
    QTest *qts = qtest_start("-chardev ringbuf,id=c0 -chardev ringbuf,id=c1 -chardev ringbuf,id=c2 "
                             "-chardev ringbuf,id=c3 -serial chardev:c0 -serial chardev:c1 "
                             "-serial chardev:c2 -serial chardev:c3");
    qtest_intercept(qts);
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *id = g_strdup_printf("c%u", i);
        char text[] = { 'p', 'o', 'r', 't', '0' + i, 0 };
        g_assert_cmphex(qtest_inb(qts, ports[i] + 5), ==, 0x60);
        for (const char *p = text; *p; p++) {
            qtest_outb(qts, ports[i], *p);
        }
        expect_collected(qts, id, text);
        qtest_outb(qts, ports[i] + 1, 0x02);
        qtest_wait_irq(qts, irqs[i], true);
        g_assert_cmphex(qtest_inb(qts, ports[i] + 2), ==, 0x02);
        qtest_wait_irq(qts, irqs[i], false);
        qtest_outb(qts, ports[i] + 1, 0);
    }
    qtest_stop(qts);
}

/* COM1 and COM3 are on one line: it stays up while either wants it. */
static void test_two_ports_share_a_line(void)
{
    QTest *qts = qtest_start("-serial null -serial null -serial null");
    qtest_intercept(qts);
    qtest_outb(qts, 0x3f8 + 1, 0x02);
    qtest_outb(qts, 0x3e8 + 1, 0x02);
    qtest_wait_irq(qts, 4, true);
    qtest_inb(qts, 0x3f8 + 2);
    g_assert_true(qts->irq[4]);
    qtest_inb(qts, 0x3e8 + 2);
    qtest_wait_irq(qts, 4, false);
    qtest_stop(qts);
}

static void test_device_option_takes_the_next_port(void)
{
    QTest *qts = qtest_start("-serial null -chardev ringbuf,id=c -device isa-serial,chardev=c,id=s "
                             "-chardev ringbuf,id=d "
                             "-device isa-serial,chardev=d,iobase=0x200,irq=5,index=3");
    qtest_intercept(qts);
    qtest_outb(qts, 0x2f8, 'x');
    expect_collected(qts, "c", "x");
    qtest_outb(qts, 0x200, 'y');
    expect_collected(qts, "d", "y");
    qtest_outb(qts, 0x201, 0x02);
    qtest_wait_irq(qts, 5, true);
    qtest_stop(qts);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

static void test_input_interrupts_and_times_out(void)
{
    g_autofree char *dir = g_dir_make_tmp("vireo-serial-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL);
    QTest *qts = qtest_start("-serial unix:%s,server=on,wait=off", path);
    qtest_intercept(qts);
    int fd = connect_unix(path);
    qtest_outb(qts, 0x3f8 + 3, 0x03);
    qtest_outb(qts, 0x3f8 + 2, 0xc1); /* FIFOs, interrupt at 14 bytes */
    qtest_outb(qts, 0x3f8 + 1, 0x01);
    g_assert_cmpint(send(fd, "abc", 3, 0), ==, 3);
    while (!(qtest_inb(qts, 0x3f8 + 5) & 1)) {
    }
    qtest_clock_step(qts, 10000000); /* more than four characters at 9600 bit/s */
    qtest_wait_irq(qts, 4, true);
    g_assert_cmphex(qtest_inb(qts, 0x3f8 + 2), ==, 0xcc);
    for (const char *p = "abc"; *p; p++) {
        g_assert_cmphex(qtest_inb(qts, 0x3f8), ==, *p);
    }
    qtest_wait_irq(qts, 4, false);
    qtest_outb(qts, 0x3f8, '!');
    char byte;
    g_assert_cmpint(recv(fd, &byte, 1, 0), ==, 1);
    g_assert_cmpint(byte, ==, '!');
    close(fd);
    qtest_stop(qts);
    g_assert_cmpint(g_access(path, F_OK), ==, -1); /* the socket went with its process */
    g_rmdir(dir);
}

static void test_wide_accesses_are_split(void)
{
    QTest *qts = qtest_start("-chardev ringbuf,id=c -serial chardev:c");
    qtest_outl(qts, 0x3f8 + 4, 0x5a00001b); /* MCR, and the scratch register three on */
    g_assert_cmphex(qtest_inb(qts, 0x3f8 + 7), ==, 0x5a);
    g_assert_cmphex(qtest_inb(qts, 0x3f8 + 4), ==, 0x1b);
    g_assert_cmphex(qtest_inl(qts, 0x3f8 + 4) & 0xff0000ff, ==, 0x5a00001b);
    qtest_stop(qts);
}

static void test_reset_clears_the_port(void)
{
    QTest *qts = qtest_start("-serial null");
    qtest_outb(qts, 0x3f8 + 7, 0x77);
    qtest_outb(qts, 0x3f8 + 3, 0x83);
    json_object_put(qtest_qmp_ok(qts, "{'execute':'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    while (qtest_inb(qts, 0x3f8 + 3) != 0) {
    }
    g_assert_cmphex(qtest_inb(qts, 0x3f8 + 7), ==, 0);
    g_assert_cmphex(qtest_inb(qts, 0x3f8 + 5), ==, 0x60);
    qtest_stop(qts);
}

static void test_nonsense_in_every_register(void)
{
    QTest *qts = qtest_start("-serial null -chardev null,id=d -device isa-debugcon,chardev=d");
    for (unsigned i = 0; i < 3000; i++) {
        uint16_t port = i % 9 == 8 ? 0xe9 : 0x3f8 + i % 8;
        unsigned value = g_test_rand_int();
        if (value & 1) {
            qtest_outb(qts, port, value >> 8);
        } else if (value & 2) {
            qtest_outl(qts, port, value);
        } else {
            qtest_inl(qts, port);
        }
    }
    qtest_stop(qts);
}

static void test_debug_console(void)
{
    QTest *qts = qtest_start("-chardev ringbuf,id=c -device isa-debugcon,chardev=c "
                             "-chardev ringbuf,id=d "
                             "-device isa-debugcon,iobase=0x402,readback=0x55,chardev=d");
    g_assert_cmphex(qtest_inb(qts, 0xe9), ==, 0xe9);
    g_assert_cmphex(qtest_inb(qts, 0x402), ==, 0x55);
    for (const char *p = "firmware"; *p; p++) {
        qtest_outb(qts, 0xe9, *p);
        qtest_outb(qts, 0x402, *p);
    }
    expect_collected(qts, "c", "firmware");
    expect_collected(qts, "d", "firmware");
    qtest_stop(qts);
}

static void test_bad_options_are_refused(void)
{
    qtest_assert_refused("-device isa-serial,chardev=nobody", "nobody");
    qtest_assert_refused("-device isa-serial,index=4", "index");
    qtest_assert_refused("-device isa-serial,irq=16", "irq");
    qtest_assert_refused("-device isa-serial,iobase=0x10000", "iobase");
    qtest_assert_refused("-serial null -serial null -serial null -serial null -device isa-serial",
                         "at most 4");
    qtest_assert_refused(
        "-chardev null,id=c -device isa-serial,chardev=c -device isa-serial,chardev=c", "in use");
    qtest_assert_refused("-device isa-debugcon", "chardev=");
    qtest_assert_refused("-serial wat", "wat");
    qtest_assert_refused("-serial file:/nonexistent/x", "/nonexistent/x");
    qtest_assert_refused("-serial tcp:127.0.0.1:1", "Connection refused");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/serial/four-ports", test_four_ports);
    g_test_add_func("/serial/two-ports-share-a-line", test_two_ports_share_a_line);
    g_test_add_func("/serial/device-option-takes-the-next-port",
                    test_device_option_takes_the_next_port);
    g_test_add_func("/serial/input-interrupts-and-times-out", test_input_interrupts_and_times_out);
    g_test_add_func("/serial/wide-accesses-are-split", test_wide_accesses_are_split);
    g_test_add_func("/serial/reset-clears-the-port", test_reset_clears_the_port);
    g_test_add_func("/serial/nonsense-in-every-register", test_nonsense_in_every_register);
    g_test_add_func("/serial/debug-console", test_debug_console);
    g_test_add_func("/serial/bad-options-are-refused", test_bad_options_are_refused);
    return g_test_run();
}
