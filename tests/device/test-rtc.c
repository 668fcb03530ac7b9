/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real-time clock: time, alarm, periodic and update interrupts, CMOS. */
#include "tests/device/libqtest.h"

#define RTC_GSI 8
#define SECOND  1000000000LL

static QTest *start(const char *base)
{
    QTest *qts = qtest_start("-m 32 -rtc base=%s,clock=vm", base);

    qtest_intercept(qts);
    return qts;
}

static uint8_t get(QTest *qts, uint8_t index)
{
    qtest_outb(qts, 0x70, index);
    return qtest_inb(qts, 0x71);
}

static void set(QTest *qts, uint8_t index, uint8_t value)
{
    qtest_outb(qts, 0x70, index);
    qtest_outb(qts, 0x71, value);
}

static void expect_time(QTest *qts, const char *expected)
{
    g_autofree char *now = g_strdup_printf("%02x%02x-%02x-%02x %02x:%02x:%02x", get(qts, 0x32),
                                           get(qts, 9), get(qts, 8), get(qts, 7), get(qts, 4),
                                           get(qts, 2), get(qts, 0));

    g_assert_cmpstr(now, ==, expected);
}

static void test_time_passes(void)
{
    QTest *qts = start("2024-02-28T23:59:58");

    expect_time(qts, "2024-02-28 23:59:58");
    qtest_clock_step(qts, 1500000000);
    expect_time(qts, "2024-02-28 23:59:59");
    qtest_clock_step(qts, 500000000);
    expect_time(qts, "2024-02-29 00:00:00");
    g_assert_cmpuint(get(qts, 6), ==, 5); /* Thursday */
    qtest_stop(qts);
}

static void test_formats(void)
{
    QTest *qts = start("2031-12-31T00:30:45");

    set(qts, 0x0b, 0x06); /* binary, 24 hours */
    g_assert_cmpuint(get(qts, 9), ==, 31);
    g_assert_cmpuint(get(qts, 4), ==, 0);
    set(qts, 0x0b, 0x04); /* 12 hours */
    g_assert_cmphex(get(qts, 4), ==, 12);
    set(qts, 4, 0x80 | 11);
    set(qts, 0x0b, 0x02);
    g_assert_cmphex(get(qts, 4), ==, 0x23);
    qtest_stop(qts);
}

static void test_set_holds_time(void)
{
    QTest *qts = start("2024-01-01T00:00:00");

    set(qts, 0x0b, 0x82);
    set(qts, 0x32, 0x19);
    set(qts, 9, 0x99);
    set(qts, 8, 0x12);
    set(qts, 7, 0x31);
    set(qts, 4, 0x23);
    set(qts, 2, 0x59);
    set(qts, 0, 0x59);
    qtest_clock_step(qts, 5 * SECOND);
    expect_time(qts, "1999-12-31 23:59:59");
    set(qts, 0x0b, 0x02);
    expect_time(qts, "1999-12-31 23:59:59");
    qtest_clock_step(qts, SECOND);
    expect_time(qts, "2000-01-01 00:00:00");
    qtest_stop(qts);
}

static void test_alarm(void)
{
    QTest *qts = start("2024-02-28T23:59:58");

    set(qts, 5, 0x00);
    set(qts, 3, 0x00);
    set(qts, 1, 0x10);
    set(qts, 0x0b, 0x22);
    g_assert_cmpint(qtest_clock_step_next(qts), ==, 12 * SECOND);
    qtest_wait_irq(qts, RTC_GSI, true);
    g_assert_cmphex(get(qts, 0x0c) & 0xa0, ==, 0xa0);
    qtest_wait_irq(qts, RTC_GSI, false);
    g_assert_cmphex(get(qts, 0x0c), ==, 0);
    /* The next one is a day later. */
    g_assert_cmpint(qtest_clock_step_next(qts), ==, (12 + 86400) * SECOND);
    qtest_stop(qts);
}

static void test_alarm_any(void)
{
    QTest *qts = start("2024-01-01T00:00:00");

    set(qts, 5, 0xc0);
    set(qts, 3, 0xff);
    set(qts, 1, 0x30);
    set(qts, 0x0b, 0x22);
    g_assert_cmpint(qtest_clock_step_next(qts), ==, 30 * SECOND);
    get(qts, 0x0c);
    g_assert_cmpint(qtest_clock_step_next(qts), ==, 90 * SECOND);
    qtest_stop(qts);
}

static void test_periodic(void)
{
    QTest *qts = start("2024-01-01T00:00:00");
    int64_t first, second;

    set(qts, 0x0a, 0x26); /* 1024 Hz */
    set(qts, 0x0b, 0x42);
    first = qtest_clock_step_next(qts);
    g_assert_true(qts->irq[RTC_GSI]);
    g_assert_cmphex(get(qts, 0x0c), ==, 0xc0);
    g_assert_false(qts->irq[RTC_GSI]);
    second = qtest_clock_step_next(qts);
    g_assert_cmpint(second - first, ==, SECOND / 1024);
    g_assert_cmphex(get(qts, 0x0c), ==, 0xc0);
    set(qts, 0x0a, 0x20); /* rate 0: off */
    qtest_clock_step(qts, SECOND / 2);
    g_assert_false(qts->irq[RTC_GSI]);
    qtest_stop(qts);
}

static void test_update(void)
{
    QTest *qts = start("2024-01-01T00:00:00");

    set(qts, 0x0b, 0x12);
    g_assert_cmpint(qtest_clock_step_next(qts), ==, SECOND);
    g_assert_cmphex(get(qts, 0x0c) & 0x90, ==, 0x90);
    g_assert_cmpint(qtest_clock_step_next(qts), ==, 2 * SECOND);
    set(qts, 0x0b, 0x02);
    g_assert_false(qts->irq[RTC_GSI]);
    qtest_stop(qts);
}

static void test_update_in_progress(void)
{
    QTest *qts = start("2024-01-01T00:00:00");

    g_assert_cmphex(get(qts, 0x0a) & 0x80, ==, 0);
    qtest_clock_step(qts, SECOND - 100000);
    g_assert_cmphex(get(qts, 0x0a) & 0x80, ==, 0x80);
    qtest_clock_step(qts, 100000);
    g_assert_cmphex(get(qts, 0x0a) & 0x80, ==, 0);
    qtest_stop(qts);
}

static void test_cmos_memory(void)
{
    QTest *qts = start("2024-01-01T00:00:00");

    g_assert_cmphex(get(qts, 0x15) | get(qts, 0x16) << 8, ==, 640);
    g_assert_cmphex(get(qts, 0x30) | get(qts, 0x31) << 8, ==, 31 * 1024);
    g_assert_cmphex(get(qts, 0x34) | get(qts, 0x35) << 8, ==, 256);
    g_assert_cmphex(get(qts, 0x5f), ==, 0);
    g_assert_cmphex(get(qts, 0x0d), ==, 0x80);
    set(qts, 0x0d, 0);
    g_assert_cmphex(get(qts, 0x0d), ==, 0x80);
    qtest_stop(qts);
}

/* HARDENING row 15: the selector takes seven bits, and no value of any register breaks the clock.
 */
static void test_nonsense(void)
{
    QTest *qts = start("2024-01-01T00:00:00");
    g_autoptr(GRand) random = g_rand_new_with_seed(7);

    for (unsigned i = 0; i < 3000; i++) {
        set(qts, g_rand_int(random), g_rand_int(random));
        get(qts, g_rand_int(random));
        if (i % 16 == 0) {
            qtest_clock_step(qts, g_rand_int_range(random, 0, 1 << 30));
        }
    }
    qtest_outb(qts, 0x70, 0xff);
    qtest_outb(qts, 0x71, 0x55);
    g_assert_cmphex(get(qts, 0x7f), ==, 0x55);
    set(qts, 0x0a, 0x26);
    set(qts, 0x0b, 0x82);
    for (unsigned i = 0; i <= 4; i += 2) {
        set(qts, i, 0x07);
    }
    set(qts, 7, 0x01);
    set(qts, 8, 0x02);
    set(qts, 9, 0x30);
    set(qts, 0x32, 0x20);
    set(qts, 0x0b, 0x02);
    expect_time(qts, "2030-02-01 07:07:07");
    qtest_stop(qts);
}

static void test_change_is_told(void)
{
    QTest *qts = start("2024-01-01T00:00:00");

    set(qts, 4, 0x02);
    json_object *event = qtest_event(qts, "RTC_CHANGE");
    g_assert_cmpint(json_object_get_int64(json_at(event, "data.offset")), ==, 7200);
    g_assert_nonnull(json_text(event, "data.qom-path"));
    json_object_put(event);
    qtest_stop(qts);
}

/* driftfix=slew: each acknowledgement brings a period that was missed; without it they are gone. */
static void test_lost_ticks(void)
{
    for (int slew = 0; slew < 2; slew++) {
        QTest *qts =
            qtest_start("-m 32 -rtc base=2024-01-01,clock=vm,driftfix=%s", slew ? "slew" : "none");
        unsigned ticks = 0;

        qtest_intercept(qts);
        set(qts, 0x0a, 0x26);
        set(qts, 0x0b, 0x42);
        get(qts, 0x0c);
        qtest_clock_step(qts, 10 * (SECOND / 1024) + 100000);
        while (qts->irq[RTC_GSI] && ticks < 100) {
            g_assert_cmphex(get(qts, 0x0c), ==, 0xc0);
            ticks++;
        }
        g_assert_cmpuint(ticks, ==, slew ? 10 : 1);
        qtest_stop(qts);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rtc/time-passes", test_time_passes);
    g_test_add_func("/rtc/binary-and-12-hours", test_formats);
    g_test_add_func("/rtc/set-holds-the-time", test_set_holds_time);
    g_test_add_func("/rtc/alarm", test_alarm);
    g_test_add_func("/rtc/alarm-with-any-bytes", test_alarm_any);
    g_test_add_func("/rtc/periodic", test_periodic);
    g_test_add_func("/rtc/update-ended", test_update);
    g_test_add_func("/rtc/update-in-progress", test_update_in_progress);
    g_test_add_func("/rtc/cmos-memory-sizes", test_cmos_memory);
    g_test_add_func("/rtc/nonsense-is-survived", test_nonsense);
    g_test_add_func("/rtc/change-is-told", test_change_is_told);
    g_test_add_func("/rtc/lost-ticks", test_lost_ticks);
    return g_test_run();
}
