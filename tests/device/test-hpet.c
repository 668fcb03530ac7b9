/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The high precision event timers by the stepped clock: counter, timers, routes, legacy
 * replacement, what firmware and systems are told of them. */
#include <string.h>
#include "tests/device/libqtest.h"

#define BASE       0xfed00000ULL
#define ID         0x000
#define CONFIG     0x010
#define STATUS     0x020
#define COUNTER    0x0f0
#define TIMER(n)   (0x100 + 0x20 * (n))
#define CMP(n)     (TIMER(n) + 8)
#define FSB(n)     (TIMER(n) + 0x10)
#define LEVEL      0x2
#define ENABLE     0x4
#define PERIODIC   0x8
#define SET_VALUE  0x40
#define ONLY_32    0x100
#define ROUTE(gsi) ((gsi) << 9)
#define USE_FSB    0x4000
#define TICK       10 /* ns */

static QTest *start(void)
{
    QTest *qts = qtest_start("-m 16 -machine q35,hpet=on -rtc clock=vm");
    qtest_intercept(qts);
    return qts;
}

static uint64_t get(QTest *qts, unsigned reg)
{
    return qtest_read(qts, BASE + reg, 8);
}

static void set(QTest *qts, unsigned reg, uint64_t value)
{
    qtest_write(qts, BASE + reg, value, 8);
}

static void test_identity(void)
{
    QTest *qts = start();
    g_assert_cmphex(get(qts, ID), ==, 0x009896808086a201);
    g_assert_cmphex(get(qts, TIMER(0)), ==, 0x00ff010400000030);
    g_assert_cmphex(qtest_read(qts, BASE + TIMER(2) + 4, 4), ==, 0x00ff0104);
    g_assert_cmphex(get(qts, TIMER(3)), ==, 0); /* there is none */
    g_assert_cmphex(get(qts, CMP(1)), ==, UINT64_MAX);
    qtest_stop(qts);
    qts = qtest_start("-m 16 -machine pc,hpet=on -global hpet.timers=32 -global hpet.msi=on");
    g_assert_cmphex(qtest_read(qts, BASE + ID, 4), ==, 0x8086bf01);
    g_assert_cmphex(get(qts, TIMER(23)), ==, 0x0000000400008030); /* the window's last */
    qtest_stop(qts);
}

static void test_off_unless_asked_for(void)
{
    static const char *const lines[] = { "-m 16", "-m 16 -machine pc",
                                         "-m 16 -machine hpet=on -no-hpet" };
    for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
        QTest *qts = qtest_start("%s", lines[i]);
        g_assert_cmphex(get(qts, ID), ==, UINT64_MAX);
        qtest_stop(qts);
    }
}

static void test_counter(void)
{
    QTest *qts = start();
    set(qts, COUNTER, 0xfffffffffffffff0); /* wraps */
    qtest_clock_step(qts, 1000);
    g_assert_cmphex(get(qts, COUNTER), ==, 0xfffffffffffffff0);
    set(qts, CONFIG, 1);
    qtest_clock_step(qts, 0x20 * TICK);
    g_assert_cmphex(get(qts, COUNTER), ==, 0x10);
    set(qts, COUNTER, 0x1234); /* not while it runs */
    g_assert_cmphex(get(qts, COUNTER), ==, 0x10);
    set(qts, CONFIG, 0);
    qtest_clock_step(qts, 1000);
    g_assert_cmphex(get(qts, COUNTER), ==, 0x10);
    qtest_write(qts, BASE + COUNTER + 4, 0xabcd, 4);
    g_assert_cmphex(get(qts, COUNTER), ==, 0xabcd00000010);
    qtest_write(qts, BASE + COUNTER, 0xff, 1); /* narrow writes are dropped */
    g_assert_cmphex(qtest_read(qts, BASE + COUNTER + 4, 4), ==, 0xabcd);
    g_assert_cmphex(qtest_read(qts, BASE + COUNTER, 2), ==, 0x10);
    qtest_stop(qts);
}

static void test_one_shot_edge(void)
{
    QTest *qts = start();
    set(qts, TIMER(2), ENABLE | ROUTE(16));
    set(qts, CMP(2), 1000);
    set(qts, CONFIG, 1);
    qtest_clock_step(qts, 999 * TICK);
    g_assert_cmpuint(qts->irq_raised[16], ==, 0);
    qtest_clock_step(qts, TICK);
    g_assert_cmpuint(qts->irq_raised[16], ==, 1);
    g_assert_false(qts->irq[16]);
    g_assert_cmphex(get(qts, STATUS), ==, 0);
    qtest_clock_step(qts, 100000000);
    g_assert_cmpuint(qts->irq_raised[16], ==, 1);
    set(qts, TIMER(2), ENABLE | ROUTE(5)); /* an input that it has no way to */
    set(qts, CMP(2), get(qts, COUNTER) + 10);
    qtest_clock_step(qts, 1000);
    g_assert_cmpuint(qts->irq_raised[5], ==, 0);
    qtest_stop(qts);
}

static void test_level(void)
{
    QTest *qts = start();
    set(qts, TIMER(1), LEVEL | ENABLE | ROUTE(17));
    set(qts, CMP(1), 100);
    set(qts, CONFIG, 1);
    qtest_clock_step(qts, 100 * TICK);
    g_assert_true(qts->irq[17]);
    g_assert_cmphex(get(qts, STATUS), ==, 1 << 1);
    set(qts, TIMER(1), LEVEL | ROUTE(17)); /* the line follows the enable bit */
    g_assert_false(qts->irq[17]);
    set(qts, TIMER(1), LEVEL | ENABLE | ROUTE(18)); /* and the route */
    g_assert_true(qts->irq[18]);
    set(qts, CONFIG, 0); /* and the overall enable */
    g_assert_false(qts->irq[18]);
    set(qts, CONFIG, 1);
    g_assert_true(qts->irq[18]);
    set(qts, STATUS, 1 << 0);
    g_assert_true(qts->irq[18]);
    set(qts, STATUS, 1 << 1);
    g_assert_false(qts->irq[18]);
    g_assert_cmphex(get(qts, STATUS), ==, 0);
    qtest_stop(qts);
}

static void test_periodic(void)
{
    QTest *qts = start();
    set(qts, TIMER(0), ENABLE | PERIODIC | SET_VALUE | ROUTE(16));
    g_assert_cmphex(get(qts, TIMER(0)) & SET_VALUE, ==, 0);
    set(qts, CMP(0), 5000);
    set(qts, CMP(0), 100000); /* the period alone */
    set(qts, CONFIG, 1);
    qtest_clock_step(qts, 5000 * TICK);
    g_assert_cmpuint(qts->irq_raised[16], ==, 1);
    g_assert_cmpuint(get(qts, CMP(0)), ==, 105000);
    qtest_clock_step(qts, 10 * 100000 * TICK);
    g_assert_cmpuint(qts->irq_raised[16], ==, 11);
    set(qts, TIMER(0), ROUTE(16));
    qtest_clock_step(qts, 10 * 100000 * TICK);
    g_assert_cmpuint(qts->irq_raised[16], ==, 11);
    qtest_stop(qts);
}

/* As Linux does it: 32 bits, one write of the comparator with SET_VALUE, one without. */
static void test_32_bit_timer_wraps(void)
{
    QTest *qts = start();
    set(qts, COUNTER, 0x1ffffff00);
    qtest_write(qts, BASE + TIMER(0), ENABLE | PERIODIC | SET_VALUE | ONLY_32 | ROUTE(16), 4);
    qtest_write(qts, BASE + CMP(0), 0x100, 4);
    qtest_write(qts, BASE + CMP(0), 0x10000, 4);
    set(qts, CONFIG, 1);
    qtest_clock_step(qts, 0x1ff * TICK);
    g_assert_cmpuint(qts->irq_raised[16], ==, 0);
    qtest_clock_step(qts, TICK);
    g_assert_cmpuint(qts->irq_raised[16], ==, 1);
    g_assert_cmphex(get(qts, CMP(0)), ==, 0x10100);
    /* A one-shot comes again with each turn of the low half. */
    set(qts, TIMER(2), ENABLE | ONLY_32 | ROUTE(17));
    set(qts, TIMER(0), 0);
    set(qts, CMP(2), get(qts, COUNTER) - 5);
    g_assert_cmpuint(qts->irq_raised[17], ==, 0);
    qtest_clock_step(qts, ((1LL << 32) - 5) * TICK);
    g_assert_cmpuint(qts->irq_raised[17], ==, 1);
    qtest_clock_step(qts, (1LL << 32) * TICK);
    g_assert_cmpuint(qts->irq_raised[17], ==, 2);
    qtest_stop(qts);
}

static void start_pit_and_rtc(QTest *qts)
{
    qtest_outb(qts, 0x43, 0x34); /* 100 Hz */
    qtest_outb(qts, 0x40, 0x9c);
    qtest_outb(qts, 0x40, 0x2e);
    qtest_outb(qts, 0x70, 0x0b); /* update-ended interrupt */
    qtest_outb(qts, 0x71, 0x12);
}

static void test_legacy_replacement(void)
{
    QTest *qts = start();
    start_pit_and_rtc(qts);
    set(qts, CONFIG, 3);
    unsigned timer = qts->irq_raised[0], clock = qts->irq_raised[8];
    qtest_clock_step(qts, 3000000000);
    g_assert_cmpuint(qts->irq_raised[0], ==, timer);
    g_assert_cmpuint(qts->irq_raised[8], ==, clock);
    /* Timer 0 and 1 have the places, whatever their routes. */
    uint64_t now = get(qts, COUNTER);
    set(qts, TIMER(0), ENABLE);
    set(qts, TIMER(1), ENABLE | ROUTE(20));
    set(qts, CMP(0), now + 10);
    set(qts, CMP(1), now + 20);
    qtest_clock_step(qts, 1000);
    g_assert_cmpuint(qts->irq_raised[0], ==, timer + 1);
    g_assert_cmpuint(qts->irq_raised[8], ==, clock + 1);
    g_assert_cmpuint(qts->irq_raised[20], ==, 0);
    set(qts, CONFIG, 1);
    g_assert_true(qts->irq[8]); /* the clock's, which nobody acknowledged */
    qtest_clock_step(qts, 100000000);
    g_assert_cmpuint(qts->irq_raised[0], >=, timer + 10);
    qtest_stop(qts);
}

static void test_fsb(void)
{
    QTest *qts = qtest_start("-m 16 -machine hpet=on -global hpet.msi=on");
    set(qts, FSB(1), 0x100000ULL << 32 | 0x4041);
    set(qts, TIMER(1), ENABLE | USE_FSB);
    g_assert_cmphex(get(qts, TIMER(1)) & 0xffff, ==, 0xc034);
    set(qts, CMP(1), 50);
    set(qts, CONFIG, 1);
    qtest_clock_step(qts, 50 * TICK);
    g_assert_cmphex(qtest_read(qts, 0x100000, 4), ==, 0x4041);
    qtest_stop(qts);
    qts = start(); /* without msi=on the bit does not stick */
    set(qts, TIMER(1), ENABLE | USE_FSB);
    g_assert_cmphex(get(qts, TIMER(1)) & 0xffff, ==, 0x34);
    qtest_stop(qts);
}

static void test_fastest_period_is_bounded(void)
{
    QTest *qts = start();
    for (unsigned period = 0; period < 3; period++) {
        set(qts, CONFIG, 0);
        set(qts, COUNTER, 0);
        set(qts, TIMER(0), ENABLE | PERIODIC | SET_VALUE | ROUTE(16));
        set(qts, CMP(0), period);
        unsigned before = qts->irq_raised[16];
        set(qts, CONFIG, 1);
        qtest_clock_step(qts, 1000000);
        g_assert_cmpuint(qts->irq_raised[16] - before, <=, 51);
    }
    qtest_stop(qts);
}

static void test_nonsense(void)
{
    static const uint64_t values[] = { 0, 1, 0xffffffff, UINT64_MAX, 0x8000000000000000 };
    QTest *qts = qtest_start("-m 16 -machine hpet=on -global hpet.timers=32 -global hpet.msi=on");
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        for (unsigned reg = 0; reg < 0x400; reg += 4) {
            qtest_write(qts, BASE + reg, values[i], 4);
            qtest_write(qts, BASE + reg, values[i], 8);
            qtest_write(qts, BASE + reg + 1, values[i], 2);
        }
        set(qts, CONFIG, i & 3);
        qtest_clock_step(qts, 12345678);
    }
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(get(qts, CONFIG), ==, 0);
    g_assert_cmphex(get(qts, COUNTER), ==, 0);
    g_assert_cmphex(get(qts, TIMER(0)) & 0x7fff, ==, 0x30);
    qtest_stop(qts);
}

static void test_firmware_is_told(void)
{
    static const uint8_t expected[] = { 1,    0x01, 0xa2, 0x86, 0x80, 0,   0, 0xd0,
                                        0xfe, 0,    0,    0,    0,    100, 0, 0 };
    QTest *qts = start();
    qtest_outw(qts, 0x510, 0x8004);
    for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_assert_cmphex(qtest_inb(qts, 0x511), ==, expected[i]);
    }
    qtest_stop(qts);
}

static void test_refusals(void)
{
    qtest_assert_refused("-machine hpet=on -global hpet.timers=2", "timers");
    qtest_assert_refused("-machine hpet=on -global hpet.timers=33", "timers");
    qtest_assert_refused("-device hpet", "hpet");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hpet/identity", test_identity);
    g_test_add_func("/hpet/off-unless-asked-for", test_off_unless_asked_for);
    g_test_add_func("/hpet/counter", test_counter);
    g_test_add_func("/hpet/one-shot-edge", test_one_shot_edge);
    g_test_add_func("/hpet/level", test_level);
    g_test_add_func("/hpet/periodic", test_periodic);
    g_test_add_func("/hpet/32-bit-timer-wraps", test_32_bit_timer_wraps);
    g_test_add_func("/hpet/legacy-replacement", test_legacy_replacement);
    g_test_add_func("/hpet/fsb", test_fsb);
    g_test_add_func("/hpet/fastest-period-is-bounded", test_fastest_period_is_bounded);
    g_test_add_func("/hpet/nonsense", test_nonsense);
    g_test_add_func("/hpet/firmware-is-told", test_firmware_is_told);
    g_test_add_func("/hpet/refusals", test_refusals);
    return g_test_run();
}
