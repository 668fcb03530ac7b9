/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The i8254 by the stepped clock: counting, latches, read-back, interrupts, the speaker's gate. */
#include "tests/device/libqtest.h"

enum { COUNTER0 = 0x40, COUNTER1, COUNTER2, CONTROL, GATE = 0x61 };

#define HZ         1193182
#define TICKS(n)   (((int64_t)(n)*1000000000 + HZ - 1) / HZ)
#define GATE_OUT   0x20
#define ACCESS_LSB 0x10
#define ACCESS_MSB 0x20
#define ACCESS_TWO 0x30

static QTest *start(void)
{
    QTest *qts = qtest_start("-m 16");
    qtest_intercept(qts);
    return qts;
}

static void load(QTest *qts, unsigned counter, uint8_t mode, uint16_t count)
{
    qtest_outb(qts, CONTROL, (uint8_t)(counter << 6 | ACCESS_TWO | mode << 1));
    qtest_outb(qts, (uint16_t)(COUNTER0 + counter), (uint8_t)count);
    qtest_outb(qts, (uint16_t)(COUNTER0 + counter), (uint8_t)(count >> 8));
}

static uint16_t read_two(QTest *qts, unsigned counter)
{
    uint8_t low = qtest_inb(qts, (uint16_t)(COUNTER0 + counter));
    return (uint16_t)(low | qtest_inb(qts, (uint16_t)(COUNTER0 + counter)) << 8);
}

static void test_counts_down(void)
{
    QTest *qts = start();
    load(qts, 0, 2, 10000);
    qtest_clock_step(qts, TICKS(100));
    g_assert_cmpuint(read_two(qts, 0), ==, 9900);
    qtest_clock_step(qts, TICKS(9950));
    /* Rate generator: starts over. */
    g_assert_cmpuint(read_two(qts, 0), >, 9900);
    g_assert_cmpuint(read_two(qts, 0), <=, 10000);
    load(qts, 0, 0, 100);
    qtest_clock_step(qts, TICKS(150));
    /* Terminal count: goes on below zero. */
    g_assert_cmpuint(read_two(qts, 0), >=, 65480);
    qtest_stop(qts);
}

static void test_latch(void)
{
    QTest *qts = start();
    load(qts, 0, 2, 10000);
    qtest_clock_step(qts, TICKS(1000));
    qtest_outb(qts, CONTROL, 0);
    qtest_clock_step(qts, TICKS(1000));
    g_assert_cmpuint(read_two(qts, 0), ==, 9000);
    g_assert_cmpuint(read_two(qts, 0), <=, 8000);
    qtest_stop(qts);
}

static void test_read_back(void)
{
    QTest *qts = start();
    qtest_outb(qts, CONTROL, 2 << 6 | ACCESS_TWO | 3 << 1);
    qtest_outb(qts, CONTROL, 0xe0 | 1 << 3); /* the status of counter 2 */
    /* No count yet: the null bit; the output is high. */
    g_assert_cmphex(qtest_inb(qts, COUNTER2), ==, 0x80 | 0x40 | ACCESS_TWO | 3 << 1);
    load(qts, 2, 3, 1000);
    qtest_outb(qts, CONTROL, 0xc0 | 1 << 3); /* count and status */
    g_assert_cmphex(qtest_inb(qts, COUNTER2), ==, 0x80 | ACCESS_TWO | 3 << 1);
    g_assert_cmpuint(read_two(qts, 2), <=, 1000);
    qtest_stop(qts);
}

static void test_access_modes(void)
{
    QTest *qts = start();
    qtest_outb(qts, CONTROL, ACCESS_LSB | 2 << 1);
    qtest_outb(qts, COUNTER0, 200);
    qtest_clock_step(qts, TICKS(50));
    g_assert_cmpuint(qtest_inb(qts, COUNTER0), ==, 150);
    qtest_outb(qts, CONTROL, ACCESS_MSB | 2 << 1);
    qtest_outb(qts, COUNTER0, 0x40);
    g_assert_cmphex(qtest_inb(qts, COUNTER0), ==, 0x40);
    qtest_clock_step(qts, TICKS(0x100));
    g_assert_cmphex(qtest_inb(qts, COUNTER0), ==, 0x3f);
    /* BCD: 100 ticks below 1000 is 0900. */
    qtest_outb(qts, CONTROL, ACCESS_TWO | 2 << 1 | 1);
    qtest_outb(qts, COUNTER0, 0x00);
    qtest_outb(qts, COUNTER0, 0x10);
    qtest_clock_step(qts, TICKS(100));
    g_assert_cmphex(read_two(qts, 0), ==, 0x0900);
    qtest_stop(qts);
}

static void test_interrupts(void)
{
    QTest *qts = start();
    load(qts, 0, 2, 11932); /* 100 Hz */
    unsigned before = qts->irq_raised[0];
    qtest_clock_step(qts, 1000000000);
    g_assert_cmpuint(qts->irq_raised[0] - before, >=, 99);
    g_assert_cmpuint(qts->irq_raised[0] - before, <=, 101);
    load(qts, 0, 0, 1193);
    before = qts->irq_raised[0];
    qtest_clock_step(qts, 100000000);
    /* One shot. */
    g_assert_cmpuint(qts->irq_raised[0] - before, ==, 1);
    qtest_stop(qts);
}

static void test_fastest_period_is_bounded(void)
{
    QTest *qts = start();
    load(qts, 0, 2, 1);
    unsigned before = qts->irq_raised[0];
    qtest_clock_step(qts, 1000000);
    g_assert_cmpuint(qts->irq_raised[0] - before, <=, 60);
    qtest_stop(qts);
}

static void test_speaker(void)
{
    QTest *qts = start();
    qtest_outb(qts, GATE, 1);
    load(qts, 2, 0, 1000);
    g_assert_cmphex(qtest_inb(qts, GATE) & (GATE_OUT | 3), ==, 1);
    qtest_clock_step(qts, TICKS(1001));
    g_assert_cmphex(qtest_inb(qts, GATE) & GATE_OUT, ==, GATE_OUT);
    /* The refresh bit toggles. */
    uint8_t first = qtest_inb(qts, GATE), second = qtest_inb(qts, GATE);
    g_assert_cmphex((first ^ second) & 0x10, ==, 0x10);
    /* One shot: started by the gate. */
    qtest_outb(qts, GATE, 0);
    load(qts, 2, 1, 1000);
    qtest_clock_step(qts, TICKS(2000));
    qtest_outb(qts, GATE, 1);
    g_assert_cmphex(qtest_inb(qts, GATE) & GATE_OUT, ==, 0);
    qtest_clock_step(qts, TICKS(1001));
    g_assert_cmphex(qtest_inb(qts, GATE) & GATE_OUT, ==, GATE_OUT);
    qtest_stop(qts);
}

/* The enables of the NMI sources are kept; nothing raises one. The other bits are read-only. */
static void test_speaker_port(void)
{
    QTest *qts = start();
    g_assert_cmphex(qtest_inb(qts, GATE) & ~0x10, ==, GATE_OUT);
    qtest_outb(qts, GATE, 0xff);
    g_assert_cmphex(qtest_inb(qts, GATE) & 0xcf, ==, 0x0f);
    qtest_outb(qts, GATE, 0xf0);
    g_assert_cmphex(qtest_inb(qts, GATE) & 0xcf, ==, 0);
    qtest_stop(qts);
    qts = qtest_start("-m 16 -global isa-pcspk.iobase=0x62 -machine i8042=off");
    qtest_outb(qts, 0x62, 0x04);
    g_assert_cmphex(qtest_inb(qts, 0x62) & 0xcf, ==, 0x04);
    g_assert_cmphex(qtest_inb(qts, GATE), ==, 0xff);
    qtest_stop(qts);
    qtest_assert_refused("-machine pcspk-audiodev=a", "sound");
    qtest_assert_refused("-machine pc,pcspk-audiodev=a", "sound");
    qtest_assert_refused("-global isa-pcspk.audiodev=a", "sound");
    qtest_assert_refused("-device isa-pcspk", "isa-pcspk");
}

static void test_nonsense(void)
{
    QTest *qts = start();
    for (unsigned value = 0; value < 256; value++) {
        qtest_outb(qts, CONTROL, (uint8_t)value);
        for (uint16_t port = COUNTER0; port <= CONTROL; port++) {
            qtest_outb(qts, port == CONTROL ? COUNTER0 : port, (uint8_t)(value * 7));
            qtest_inb(qts, port);
        }
        qtest_outb(qts, GATE, (uint8_t)value);
        qtest_clock_step(qts, 3000);
    }
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8254/counts-down", test_counts_down);
    g_test_add_func("/i8254/latched-counts-stand", test_latch);
    g_test_add_func("/i8254/read-back", test_read_back);
    g_test_add_func("/i8254/access-modes-and-bcd", test_access_modes);
    g_test_add_func("/i8254/interrupts", test_interrupts);
    g_test_add_func("/i8254/the-fastest-period-is-bounded", test_fastest_period_is_bounded);
    g_test_add_func("/i8254/speaker-gate", test_speaker);
    g_test_add_func("/i8254/speaker-port", test_speaker_port);
    g_test_add_func("/i8254/nonsense-hurts-nothing", test_nonsense);
    return g_test_run();
}
