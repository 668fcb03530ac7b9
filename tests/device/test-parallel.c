/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parallel port: bytes at the strobe, busy and acknowledge, interrupt, a chardev that is slow,
 * where ports are. */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

enum { DATA = 0x378, STATUS, CONTROL };

#define READY  0xd9
#define BUSY   0x59
#define ACK    0x19
#define IDLE   0x0c /* selected, not being initialized */
#define STROBE 0x01
#define IRQ    0x10
#define GSI    7

static void strobe(QTest *qts, uint8_t byte, uint8_t control)
{
    qtest_outb(qts, DATA, byte);
    qtest_outb(qts, CONTROL, control | STROBE);
    qtest_outb(qts, CONTROL, control);
}

static void print(QTest *qts, const char *text)
{
    for (; *text; text++) {
        strobe(qts, (uint8_t)*text, IDLE);
    }
}

static void expect_printed(QTest *qts, const char *text)
{
    json_object *got = qtest_qmp_ok(
        qts, "{'execute': 'ringbuf-read', 'arguments': {'device': 'c', 'size': 4096}}");
    g_assert_cmpstr(json_object_get_string(got), ==, text);
    json_object_put(got);
}

static QTest *start(const char *more)
{
    QTest *qts = qtest_start("-m 16 -chardev ringbuf,id=c,size=4096 -parallel chardev:c %s", more);
    qtest_intercept(qts);
    return qts;
}

static void test_reset_values(void)
{
    QTest *qts = start("");
    g_assert_cmphex(qtest_inb(qts, DATA), ==, 0xff);
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, READY);
    g_assert_cmphex(qtest_inb(qts, CONTROL), ==, 0xcc);
    g_assert_cmphex(qtest_inb(qts, DATA + 3), ==, 0xff); /* no EPP */
    qtest_outb(qts, DATA, 0xaa);
    g_assert_cmphex(qtest_inb(qts, DATA), ==, 0xaa);
    qtest_outb(qts, CONTROL, 0x20 | IDLE); /* data lines turned round: nobody drives them */
    g_assert_cmphex(qtest_inb(qts, DATA), ==, 0xff);
    qtest_outb(qts, STATUS, 0);
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, READY);
    qtest_stop(qts);
}

static void test_prints_at_the_strobe(void)
{
    QTest *qts = start("");
    qtest_outb(qts, DATA, 'x');
    expect_printed(qts, "");
    qtest_outb(qts, CONTROL, IDLE | STROBE);
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, BUSY);
    qtest_outb(qts, CONTROL, IDLE | STROBE); /* no second edge */
    qtest_outb(qts, CONTROL, IDLE);
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, ACK);
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, READY);
    expect_printed(qts, "x");
    print(qts, "Hello, printer\n");
    expect_printed(qts, "Hello, printer\n");
    strobe(qts, 'y', 0x04); /* not selected */
    strobe(qts, 'y', 0x08); /* held in reset */
    expect_printed(qts, "");
    qtest_stop(qts);
}

static void test_interrupt(void)
{
    QTest *qts = start("");
    strobe(qts, 'a', IDLE);
    g_assert_cmpuint(qts->irq_raised[GSI], ==, 0);
    strobe(qts, 'b', IDLE | IRQ);
    g_assert_true(qts->irq[GSI]);
    qtest_inb(qts, STATUS);
    g_assert_false(qts->irq[GSI]);
    strobe(qts, 'c', IDLE | IRQ);
    g_assert_cmpuint(qts->irq_raised[GSI], ==, 2);
    qtest_outb(qts, CONTROL, IDLE);
    g_assert_false(qts->irq[GSI]);
    qtest_stop(qts);
}

static void test_where_ports_are(void)
{
    QTest *qts = qtest_start("-m 16 -chardev null,id=a -parallel null -parallel none "
                             "-device isa-parallel,chardev=a -device isa-parallel,chardev=b,irq=5 "
                             "-chardev null,id=b");
    g_assert_cmphex(qtest_inb(qts, 0x37a), ==, 0xcc);
    g_assert_cmphex(qtest_inb(qts, 0x27a), ==, 0xcc);
    g_assert_cmphex(qtest_inb(qts, 0x3be), ==, 0xcc);
    qtest_stop(qts);
    qts = qtest_start("-m 16 -chardev null,id=a -device isa-parallel,chardev=a,iobase=0x500,irq=3");
    g_assert_cmphex(qtest_inb(qts, 0x37a), ==, 0xff);
    g_assert_cmphex(qtest_inb(qts, 0x502), ==, 0xcc);
    qtest_stop(qts);
    qts = qtest_start("-m 16");
    g_assert_cmphex(qtest_inb(qts, 0x37a), ==, 0xff);
    qtest_stop(qts);
}

static void test_to_a_file(void)
{
    g_autofree char *dir = g_dir_make_tmp("parallel-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "printout", NULL), *text = NULL;
    QTest *qts = qtest_start("-m 16 -parallel file:%s -machine pc", path);
    print(qts, "on paper");
    qtest_stop(qts);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "on paper");
    g_unlink(path);
    g_rmdir(dir);
}

static int listen_at(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

/* Prints the bytes 0, 1 ... until the printer stays busy; how many it was given. */
static unsigned print_until_busy(QTest *qts)
{
    unsigned count = 0;
    for (; count < 1 << 22; count++) {
        strobe(qts, (uint8_t)count, IDLE | IRQ);
        if (qtest_inb(qts, STATUS) == BUSY) {
            return count + 1;
        }
    }
    g_assert_not_reached();
}

/* The other side does not read: the port is busy, loses nothing, and acknowledges in the end. */
static void test_waits_for_a_slow_printer(void)
{
    g_autofree char *dir = g_dir_make_tmp("parallel-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "sock", NULL);
    int listener = listen_at(path);
    QTest *qts = qtest_start("-m 16 -parallel unix:%s", path);
    int fd = accept(listener, NULL, NULL);
    g_assert_cmpint(fd, >=, 0);
    qtest_intercept(qts);
    unsigned count = print_until_busy(qts);
    strobe(qts, 0xee, IDLE | IRQ); /* lost: it was busy */
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, BUSY);
    for (unsigned i = 0; i < count; i++) {
        uint8_t byte;
        g_assert_cmpint(read(fd, &byte, 1), ==, 1);
        g_assert_cmphex(byte, ==, (uint8_t)i);
    }
    qtest_wait_irq(qts, GSI, true);
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, ACK);
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, READY);
    qtest_stop(qts);
    close(fd);
    close(listener);
    g_unlink(path);
    g_rmdir(dir);
}

static void test_nonsense(void)
{
    QTest *qts = start("");
    for (unsigned value = 0; value < 256; value++) {
        for (uint16_t port = DATA; port < DATA + 8; port++) {
            qtest_outb(qts, port, (uint8_t)value);
            qtest_outw(qts, port, (uint16_t)(value << 8 | value));
            qtest_outl(qts, port, value * 0x01010101);
            qtest_inl(qts, port);
        }
    }
    qtest_outb(qts, CONTROL, 0);
    qtest_outb(qts, CONTROL, IDLE);
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, READY);
    qtest_stop(qts);
}

static void test_refusals(void)
{
    qtest_assert_refused("-device isa-parallel", "chardev");
    qtest_assert_refused("-device isa-parallel,chardev=nobody", "nobody");
    qtest_assert_refused("-parallel null -parallel null -parallel null -parallel null",
                         "these are more");
    qtest_assert_refused("-chardev null,id=a -device isa-parallel,chardev=a,index=3", "at most 3");
    qtest_assert_refused("-chardev null,id=a -parallel null -device isa-parallel,chardev=a,index=0",
                         "index=0");
    qtest_assert_refused("-chardev null,id=a -device isa-parallel,chardev=a,iobase=0xfffe",
                         "0xffff");
    qtest_assert_refused("-machine microvm -parallel null", "microvm");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/parallel/reset-values", test_reset_values);
    g_test_add_func("/parallel/prints-at-the-strobe", test_prints_at_the_strobe);
    g_test_add_func("/parallel/interrupt", test_interrupt);
    g_test_add_func("/parallel/where-ports-are", test_where_ports_are);
    g_test_add_func("/parallel/to-a-file", test_to_a_file);
    g_test_add_func("/parallel/waits-for-a-slow-printer", test_waits_for_a_slow_printer);
    g_test_add_func("/parallel/nonsense", test_nonsense);
    g_test_add_func("/parallel/refusals", test_refusals);
    return g_test_run();
}
