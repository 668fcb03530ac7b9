/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The I/O APIC: registers, remote IRR, end of interrupt. */
#include "tests/device/libqtest.h"

#define SELECT 0xfec00000
#define DATA   0xfec00010
#define EOI    0xfec00040

#define REMOTE_IRR (1u << 14)
#define LEVEL      (1u << 15)
#define MASKED     (1u << 16)

static uint32_t reg_read(QTest *qts, uint8_t reg)
{
    qtest_write(qts, SELECT, reg, 4);
    return (uint32_t)qtest_read(qts, DATA, 4);
}

static void reg_write(QTest *qts, uint8_t reg, uint32_t value)
{
    qtest_write(qts, SELECT, reg, 4);
    qtest_write(qts, DATA, value, 4);
}

static uint32_t entry_read(QTest *qts, unsigned pin)
{
    return reg_read(qts, (uint8_t)(0x10 + 2 * pin));
}

static void entry_write(QTest *qts, unsigned pin, uint32_t low)
{
    reg_write(qts, (uint8_t)(0x10 + 2 * pin), low);
}

static void set_irq(QTest *qts, unsigned gsi, int level)
{
    g_autofree char *line = g_strdup_printf("set_irq_in ioapic unnamed %u %d", gsi, level);
    g_autofree char *answer = qtest_raw(qts, line);
    g_assert_cmpstr(answer, ==, "OK");
}

static void test_registers(void)
{
    QTest *qts = qtest_start("-m 16");
    g_assert_cmphex(reg_read(qts, 1), ==, 0x170020);
    reg_write(qts, 0, 0xffffffff);
    g_assert_cmphex(reg_read(qts, 0), ==, 0x0f000000);
    g_assert_cmphex(reg_read(qts, 2), ==, 0x0f000000);
    reg_write(qts, 1, 0);
    g_assert_cmphex(reg_read(qts, 1), ==, 0x170020);
    for (unsigned pin = 0; pin < 24; pin++) {
        g_assert_cmphex(entry_read(qts, pin), ==, MASKED);
    }
    /* Delivery status and remote IRR cannot be written. */
    entry_write(qts, 3, 0xffffffff);
    g_assert_cmphex(entry_read(qts, 3), ==, 0x1afff);
    reg_write(qts, 0x17, 0xffffffff);
    g_assert_cmphex(reg_read(qts, 0x17), ==, 0xff7f0000);
    /* No such registers. */
    reg_write(qts, 0x40, 0xffffffff);
    g_assert_cmphex(reg_read(qts, 0x40), ==, 0);
    g_assert_cmphex(reg_read(qts, 0xff), ==, 0);
    qtest_stop(qts);
}

static void test_level(void)
{
    QTest *qts = qtest_start("-m 16");
    entry_write(qts, 10, LEVEL | 0x41);
    set_irq(qts, 10, 1);
    g_assert_cmphex(entry_read(qts, 10), ==, LEVEL | REMOTE_IRR | 0x41);
    /* Another vector's end is not ours. */
    qtest_write(qts, EOI, 0x42, 4);
    g_assert_cmphex(entry_read(qts, 10) & REMOTE_IRR, !=, 0);
    /* The line is still up: it is sent again. */
    qtest_write(qts, EOI, 0x41, 4);
    g_assert_cmphex(entry_read(qts, 10) & REMOTE_IRR, !=, 0);
    set_irq(qts, 10, 0);
    qtest_write(qts, EOI, 0x41, 4);
    g_assert_cmphex(entry_read(qts, 10) & REMOTE_IRR, ==, 0);
    qtest_stop(qts);
}

static void test_mask(void)
{
    QTest *qts = qtest_start("-m 16");
    entry_write(qts, 11, MASKED | LEVEL | 0x50);
    set_irq(qts, 11, 1);
    g_assert_cmphex(entry_read(qts, 11) & REMOTE_IRR, ==, 0);
    entry_write(qts, 11, LEVEL | 0x50);
    g_assert_cmphex(entry_read(qts, 11) & REMOTE_IRR, !=, 0);
    /* Becoming an edge forgets it. */
    entry_write(qts, 11, 0x50);
    g_assert_cmphex(entry_read(qts, 11) & REMOTE_IRR, ==, 0);
    qtest_stop(qts);
}

static void test_timer_pin(void)
{
    QTest *qts = qtest_start("-m 16");
    entry_write(qts, 0, LEVEL | 0x60);
    entry_write(qts, 2, LEVEL | 0x61);
    set_irq(qts, 0, 1);
    g_assert_cmphex(entry_read(qts, 0) & REMOTE_IRR, ==, 0);
    g_assert_cmphex(entry_read(qts, 2) & REMOTE_IRR, !=, 0);
    qtest_stop(qts);
}

static void test_odd_accesses(void)
{
    QTest *qts = qtest_start("-m 16");
    for (uint64_t offset = 0; offset < 0x1000; offset += 4) {
        if (offset != 0x10 && offset != 0x40) {
            qtest_write(qts, SELECT + offset, 0xffffffff, 4);
        }
        qtest_read(qts, SELECT + offset, 4);
    }
    qtest_write(qts, SELECT + 0xffc, 0xffffffffffffffff, 8);
    qtest_write(qts, DATA + 1, 0xffff, 2);
    g_assert_cmphex(reg_read(qts, 1), ==, 0x170020);
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ioapic/registers-and-their-writable-bits", test_registers);
    g_test_add_func("/ioapic/levels-wait-for-their-end", test_level);
    g_test_add_func("/ioapic/masked-levels-come-when-unmasked", test_mask);
    g_test_add_func("/ioapic/irq-0-is-pin-2", test_timer_pin);
    g_test_add_func("/ioapic/odd-accesses-hurt-nothing", test_odd_accesses);
    return g_test_run();
}
