/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qtest protocol, word for word, and the machine behind it. */
#include <stdio.h>
#include <string.h>
#include "tests/device/libqtest.h"

static void expect(QTest *qts, const char *line, const char *answer)
{
    g_autofree char *got = qtest_raw(qts, line);
    g_assert_cmpstr(got, ==, answer);
}

static void test_memory_commands(void)
{
    QTest *qts = qtest_start("-m 16");
    expect(qts, "writeb 0x1000 0x11", "OK");
    expect(qts, "writew 0x1002 0x2233", "OK");
    expect(qts, "writel 0x1004 0x44556677", "OK");
    expect(qts, "writeq 4104 0x8899aabbccddeeff", "OK");
    expect(qts, "readb 0x1000", "OK 0x0000000000000011");
    expect(qts, "readw 0x1002", "OK 0x0000000000002233");
    expect(qts, "readl 0x1004", "OK 0x0000000044556677");
    expect(qts, "readq 0x1008", "OK 0x8899aabbccddeeff");
    expect(qts, "read 0x1000 0x8", "OK 0x1100332277665544");
    expect(qts, "write 0x2000 0x4 0x010203", "OK");
    expect(qts, "readl 0x2000", "OK 0x0000000000030201");
    expect(qts, "memset 0x2000 3 0xaa", "OK");
    expect(qts, "b64read 0x2000 4", "OK qqqqAA==");
    expect(qts, "b64write 0x2000 4 AQIDBA==", "OK");
    expect(qts, "readl 0x2000", "OK 0x0000000004030201");
    expect(qts, "endianness", "OK little");
    qtest_stop(qts);
}

static void test_refusals(void)
{
    QTest *qts = qtest_start("-m 16");
    expect(qts, "frobnicate", "FAIL no such command: 'frobnicate'");
    expect(qts, "readl", "ERR readl wants 1 arguments");
    expect(qts, "readl banana", "ERR 'banana' is not a number");
    expect(qts, "write 0 4 zz", "ERR the size is no number");
    expect(qts, "write 0 4 0xzz", "ERR 'z' is not a hexadecimal digit");
    expect(qts, "b64write 0 5 AQIDBA==", "ERR the data has 4 bytes, not 5");
    expect(qts, "irq_intercept_in nobody", "FAIL no such device");
    expect(qts, "set_irq_in ioapic unnamed 9999 1", "FAIL no such line");
    expect(qts, "read 0 0xffffffffffffffff", "ERR a transfer is at most 33554432 bytes");
    expect(qts, "readl 0xfffffffffffffffe", "OK 0x00000000ffffffff");
    expect(qts, "endianness", "OK little");
    qtest_stop(qts);
}

static void test_clock(void)
{
    QTest *qts = qtest_start("-m 16");
    expect(qts, "clock_step 1000", "OK 1000");
    expect(qts, "clock_set 5000", "OK 5000");
    expect(qts, "clock_set 10", "OK 5000");
    int64_t next = qtest_clock_step_next(qts);
    g_assert_cmpint(next, >=, 5000);
    g_assert_cmpint(qtest_clock_step(qts, 7), ==, next + 7);
    qtest_stop(qts);
}

/* Channel 0 of the PIT, 1 ms a period, on GSI 2; masked interrupts change lines too. */
static void test_pit_raises_its_line(void)
{
    QTest *qts = qtest_start("-m 16");
    qtest_intercept(qts);
    qtest_outb(qts, 0x43, 0x34); /* channel 0, both bytes, rate generator */
    qtest_outb(qts, 0x40, 1193 & 0xff);
    qtest_outb(qts, 0x40, 1193 >> 8);
    unsigned before = qts->irq_raised[2] + qts->irq_raised[0];
    qtest_clock_step(qts, 10 * 1000 * 1000);
    unsigned after = qts->irq_raised[2] + qts->irq_raised[0];
    g_assert_cmpuint(after - before, >=, 9);
    g_assert_cmpuint(after - before, <=, 11);
    qtest_stop(qts);
}

static void test_lines_can_be_set(void)
{
    QTest *qts = qtest_start("-m 16");
    qtest_intercept(qts);
    expect(qts, "set_irq_in ioapic unnamed-gpio-in 9 1", "OK");
    g_assert_true(qts->irq[9]);
    expect(qts, "set_irq_in ioapic unnamed-gpio-in 9 1", "OK");
    expect(qts, "set_irq_in ioapic unnamed-gpio-in 9 0", "OK");
    g_assert_false(qts->irq[9]);
    g_assert_cmpuint(qts->irq_raised[9], ==, 1);
    qtest_stop(qts);
}

static void test_a_log_is_written(void)
{
    g_autofree char *dir = g_dir_make_tmp("vireo-log-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "log", NULL);
    QTest *qts = qtest_start("-m 16 -qtest-log %s", path);
    expect(qts, "inb 0x70", "OK 0x00ff");
    qtest_stop(qts);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_nonnull(strstr(text, "] inb 0x70\n"));
    g_assert_nonnull(strstr(text, "] OK 0x00ff\n"));
    remove(path);
    remove(dir);
}

static void test_pci_is_there(void)
{
    QTest *qts = qtest_start("-m 16");
    g_assert_cmphex(qpci_config_read(qts, 0, 0, 0, 4), ==, 0x29c08086); /* Q35 host bridge */
    g_assert_cmphex(qpci_config_read(qts, 0, 31 << 3, 0, 4), ==, 0x29188086);
    g_assert_cmphex(qpci_config_read(qts, 0, 0x50, 0, 4), ==, 0xffffffff);
    qtest_stop(qts);
}

static void run_entropy(const char *options, uint64_t features)
{
    enum { BYTES = 64, ROUNDS = 20 };
    QTest *qts = qtest_start("-m 16 -device virtio-rng-pci,disable-legacy=on,id=rng%s", options);
    QVirtio *dev = qvirtio_new(qpci_find(qts, 0x1af4, 0x1044, 0));
    uint64_t word = qpci_msix_aim(dev->pci, 0, 0x1234);
    qvirtio_negotiate(dev, features);
    g_assert_cmphex(dev->features & features, ==, features);
    QVirtQueue *vq = qvirtqueue_new(dev, 0, 8, 0);
    qvirtio_driver_ok(dev);
    uint64_t data = qtest_alloc(qts, BYTES, 16);
    for (int round = 0; round < ROUNDS; round++) {
        uint8_t bytes[BYTES] = { 0 };
        uint16_t id;
        qtest_memwrite(qts, data, bytes, BYTES);
        qtest_write(qts, word, 0, 4);
        QBuffer buffers[] = { { data, BYTES / 2, true }, { data + BYTES / 2, BYTES / 2, true } };
        uint16_t sent = qvirtqueue_add(vq, buffers, 2);
        qvirtqueue_kick(vq);
        /* First the message: with the event index a driver that took the entry gets none. */
        while (qtest_read(qts, word, 4) != 0x1234) {
            g_usleep(200); /* a test that hangs times out */
        }
        uint32_t len = qvirtqueue_wait(vq, &id);
        g_assert_cmpuint(id, ==, sent);
        g_assert_cmpuint(len, >, 0);
        g_assert_cmpuint(len, <=, BYTES);
        qtest_memread(qts, data, bytes, BYTES);
        bool any = false;
        for (uint32_t i = 0; i < len; i++) {
            any |= bytes[i] != 0;
        }
        g_assert_true(any);
    }
    qvirtqueue_free(vq);
    qvirtio_free(dev);
    qtest_stop(qts);
}

static void test_split_queue(void)
{
    run_entropy("", 0);
}

static void test_split_queue_event_index(void)
{
    run_entropy("", 1ULL << 29 | 1ULL << 28);
}

static void test_packed_queue(void)
{
    run_entropy(",packed=on", 1ULL << 34);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qtest/memory-commands", test_memory_commands);
    g_test_add_func("/qtest/refusals", test_refusals);
    g_test_add_func("/qtest/clock", test_clock);
    g_test_add_func("/qtest/pit-raises-its-line", test_pit_raises_its_line);
    g_test_add_func("/qtest/lines-can-be-set", test_lines_can_be_set);
    g_test_add_func("/qtest/log", test_a_log_is_written);
    g_test_add_func("/qtest/pci", test_pci_is_there);
    g_test_add_func("/qtest/virtio-split", test_split_queue);
    g_test_add_func("/qtest/virtio-split-event-index", test_split_queue_event_index);
    g_test_add_func("/qtest/virtio-packed", test_packed_queue);
    return g_test_run();
}
