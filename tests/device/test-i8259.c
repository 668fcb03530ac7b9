/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The i8259 pair, by polling: there is no CPU to acknowledge. */
#include "tests/device/libqtest.h"

enum { MASTER = 0x20, MASTER_DATA = 0x21, SLAVE = 0xa0, SLAVE_DATA = 0xa1, ELCR = 0x4d0 };

#define EOI        0x20
#define ROTATE_EOI 0xa0
#define READ_IRR   0x0a
#define READ_ISR   0x0b
#define POLL       0x0c
#define POLL_VALID 0x80

static void set_irq(QTest *qts, unsigned gsi, int level)
{
    g_autofree char *line = g_strdup_printf("set_irq_in ioapic unnamed %u %d", gsi, level);
    g_autofree char *answer = qtest_raw(qts, line);
    g_assert_cmpstr(answer, ==, "OK");
}

static void pulse(QTest *qts, unsigned gsi)
{
    set_irq(qts, gsi, 1);
    set_irq(qts, gsi, 0);
}

static void initialise(QTest *qts, uint8_t icw4)
{
    qtest_outb(qts, MASTER, 0x11);
    qtest_outb(qts, MASTER_DATA, 0x20);
    qtest_outb(qts, MASTER_DATA, 0x04);
    qtest_outb(qts, MASTER_DATA, icw4);
    qtest_outb(qts, SLAVE, 0x11);
    qtest_outb(qts, SLAVE_DATA, 0x28);
    qtest_outb(qts, SLAVE_DATA, 0x02);
    qtest_outb(qts, SLAVE_DATA, icw4);
}

static QTest *start(uint8_t icw4)
{
    QTest *qts = qtest_start("-m 16");
    initialise(qts, icw4);
    return qts;
}

static uint8_t command_read(QTest *qts, uint16_t port, uint8_t command)
{
    qtest_outb(qts, port, command);
    return qtest_inb(qts, port);
}

static void test_edges(void)
{
    QTest *qts = start(1);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, 0);
    pulse(qts, 4);
    g_assert_cmphex(command_read(qts, MASTER, READ_IRR), ==, 1 << 4);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 4);
    g_assert_cmphex(command_read(qts, MASTER, READ_ISR), ==, 1 << 4);
    g_assert_cmphex(command_read(qts, MASTER, READ_IRR), ==, 0);
    /* A line that stays high is one interrupt. */
    set_irq(qts, 3, 1);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 3);
    qtest_outb(qts, MASTER, EOI);
    qtest_outb(qts, MASTER, EOI);
    set_irq(qts, 3, 1);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, 0);
    qtest_stop(qts);
}

static void test_priority(void)
{
    QTest *qts = start(1);
    pulse(qts, 5);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 5);
    pulse(qts, 6);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, 0);
    pulse(qts, 1);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 1);
    /* A plain EOI ends the highest one. */
    qtest_outb(qts, MASTER, EOI);
    g_assert_cmphex(command_read(qts, MASTER, READ_ISR), ==, 1 << 5);
    qtest_outb(qts, MASTER, 0x60 | 5);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 6);
    qtest_outb(qts, MASTER, ROTATE_EOI);
    /* Now 6 is the lowest and 7 the highest. */
    pulse(qts, 6);
    pulse(qts, 7);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 7);
    qtest_stop(qts);
}

static void test_masks(void)
{
    QTest *qts = start(1);
    qtest_outb(qts, MASTER_DATA, 1 << 4);
    g_assert_cmphex(qtest_inb(qts, MASTER_DATA), ==, 1 << 4);
    pulse(qts, 4);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, 0);
    qtest_outb(qts, MASTER_DATA, 0);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 4);
    /* Special mask: what is in service and masked blocks nobody. */
    pulse(qts, 6);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, 0);
    qtest_outb(qts, MASTER_DATA, 1 << 4);
    qtest_outb(qts, MASTER, 0x68);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 6);
    qtest_stop(qts);
}

static void test_cascade(void)
{
    QTest *qts = start(1);
    pulse(qts, 12);
    g_assert_cmphex(command_read(qts, MASTER, READ_IRR), ==, 1 << 2);
    g_assert_cmphex(command_read(qts, SLAVE, POLL), ==, POLL_VALID | 4);
    g_assert_cmphex(command_read(qts, SLAVE, READ_ISR), ==, 1 << 4);
    qtest_stop(qts);
}

static void test_level(void)
{
    QTest *qts = start(1);
    qtest_outb(qts, ELCR, 0xff);
    qtest_outb(qts, ELCR + 1, 0xff);
    g_assert_cmphex(qtest_inb(qts, ELCR), ==, 0xf8);
    g_assert_cmphex(qtest_inb(qts, ELCR + 1), ==, 0xde);
    set_irq(qts, 5, 1);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 5);
    qtest_outb(qts, MASTER, EOI);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 5);
    set_irq(qts, 5, 0);
    qtest_outb(qts, MASTER, EOI);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, 0);
    qtest_stop(qts);
}

static void test_auto_eoi(void)
{
    QTest *qts = start(3);
    pulse(qts, 4);
    g_assert_cmphex(command_read(qts, MASTER, POLL), ==, POLL_VALID | 4);
    g_assert_cmphex(command_read(qts, MASTER, READ_ISR), ==, 0);
    qtest_stop(qts);
}

static void test_initialisation(void)
{
    QTest *qts = start(1);
    pulse(qts, 4);
    qtest_outb(qts, MASTER_DATA, 0xff);
    initialise(qts, 1);
    /* Edges of before and the mask are gone. */
    g_assert_cmphex(qtest_inb(qts, MASTER_DATA), ==, 0);
    g_assert_cmphex(command_read(qts, MASTER, READ_IRR), ==, 0);
    /* ICW1 in the middle begins anew; without ICW4 the sequence is shorter. */
    qtest_outb(qts, MASTER, 0x11);
    qtest_outb(qts, MASTER, 0x12);
    qtest_outb(qts, MASTER_DATA, 0x20);
    qtest_outb(qts, MASTER_DATA, 0x55);
    g_assert_cmphex(qtest_inb(qts, MASTER_DATA), ==, 0x55);
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8259/edges-are-latched-once", test_edges);
    g_test_add_func("/i8259/priority-nests-and-rotates", test_priority);
    g_test_add_func("/i8259/masks", test_masks);
    g_test_add_func("/i8259/cascade", test_cascade);
    g_test_add_func("/i8259/levels-stand-until-they-fall", test_level);
    g_test_add_func("/i8259/automatic-end-of-interrupt", test_auto_eoi);
    g_test_add_func("/i8259/initialisation", test_initialisation);
    return g_test_run();
}
