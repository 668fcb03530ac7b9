/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The TCO timer of ICH9 (iTCO): counting, both expiries, GCS.NO_REBOOT, locks, status bits. */
#include "tests/device/libqtest.h"

#define LPC  (0x1f << 3)
#define PM   0x600
#define RCBA 0xfed1c000u
#define GCS  (RCBA + 0x3410)
#define TICK 600000000LL

enum { /* ports */
       SMI_EN = PM + 0x30,
       SMI_STS = PM + 0x34,
       TCO = PM + 0x60,
       RLD = TCO,
       DAT_IN = TCO + 2,
       DAT_OUT = TCO + 3,
       STS1 = TCO + 4,
       STS2 = TCO + 6,
       CNT1 = TCO + 8,
       CNT2 = TCO + 0xa,
       TMR = TCO + 0x12,
};

#define HALT    0x0800
#define LOCK    0x1000
#define TIMEOUT 0x0008
#define SECOND  0x0002
#define BOOT    0x0004
#define TCO_EN  0x2000

static void place(QTest *qts)
{
    qpci_config_write(qts, 0, LPC, 0x40, PM | 1, 4);
    qpci_config_write(qts, 0, LPC, 0x44, 0x80, 1);
    qpci_config_write(qts, 0, LPC, 0xf0, RCBA | 1, 4);
}

static QTest *start(const char *more)
{
    QTest *qts = qtest_start("-m 32 -machine q35 %s", more);
    place(qts);
    return qts;
}

/* Strap and guest allow the timer to reset. */
static QTest *start_allowed(const char *more)
{
    g_autofree char *all = g_strconcat("-global ICH9-LPC.noreboot=false ", more, NULL);
    QTest *qts = start(all);
    qtest_write(qts, GCS, 0, 4); /* as Linux does */
    return qts;
}

static void load(QTest *qts, uint16_t ticks)
{
    qtest_outw(qts, CNT1, HALT);
    qtest_outw(qts, TMR, ticks);
    qtest_outw(qts, RLD, 1);
    qtest_outw(qts, CNT1, 0);
}

static void expect_expiry(QTest *qts, const char *action)
{
    json_object *event = qtest_event(qts, "WATCHDOG");
    g_assert_cmpstr(json_text(event, "data.action"), ==, action);
    json_object_put(event);
}

static void test_reset_values(void)
{
    static const uint8_t expected[] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 3, 0, 4, 0
    };
    QTest *qts = start("");
    for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_assert_cmphex(qtest_inb(qts, (uint16_t)(TCO + i)), ==, expected[i]);
    }
    g_assert_cmphex(qtest_read(qts, GCS, 4), ==, 0x20);
    qtest_write(qts, GCS, 0, 4);
    g_assert_cmphex(qtest_read(qts, GCS, 4), ==, 0);
    qtest_stop(qts);
}

static void test_counts_down(void)
{
    QTest *qts = start("");
    load(qts, 10);
    g_assert_cmpuint(qtest_inw(qts, RLD), ==, 10);
    qtest_clock_step(qts, 3 * TICK);
    g_assert_cmpuint(qtest_inw(qts, RLD), ==, 7);
    qtest_outw(qts, CNT1, HALT); /* stands still */
    qtest_clock_step(qts, 20 * TICK);
    g_assert_cmpuint(qtest_inw(qts, RLD), ==, 7);
    g_assert_cmphex(qtest_inw(qts, STS1), ==, 0);
    qtest_outw(qts, CNT1, 0); /* and goes on */
    qtest_clock_step(qts, 2 * TICK);
    g_assert_cmpuint(qtest_inw(qts, RLD), ==, 5);
    qtest_outw(qts, RLD, 0);
    g_assert_cmpuint(qtest_inw(qts, RLD), ==, 10);
    qtest_outw(qts, TMR, 1); /* too short: ignored */
    g_assert_cmpuint(qtest_inw(qts, TMR), ==, 10);
    qtest_stop(qts);
}

static void test_two_expiries_reset(void)
{
    QTest *qts = start_allowed("-action watchdog=reset");
    load(qts, 4);
    qtest_clock_step(qts, 4 * TICK - 1);
    g_assert_cmphex(qtest_inw(qts, STS1), ==, 0);
    qtest_clock_step(qts, 1);
    g_assert_cmphex(qtest_inw(qts, STS1), ==, TIMEOUT);
    g_assert_cmphex(qtest_inw(qts, STS2), ==, 0);
    g_assert_cmphex(qtest_inl(qts, SMI_STS) & TCO_EN, ==, TCO_EN);
    qtest_clock_step(qts, 4 * TICK);
    expect_expiry(qts, "reset");
    json_object_put(qtest_event(qts, "RESET"));
    place(qts);
    g_assert_cmphex(qtest_read(qts, GCS, 4), ==, 0x20);
    g_assert_cmphex(qtest_inw(qts, STS2), ==, SECOND | BOOT); /* who it was */
    g_assert_cmphex(qtest_inw(qts, STS1), ==, 0);
    qtest_outw(qts, STS2, SECOND);
    qtest_outw(qts, STS2, BOOT);
    g_assert_cmphex(qtest_inw(qts, STS2), ==, 0);
    qtest_stop(qts);
}

static void test_reload_starts_over(void)
{
    QTest *qts = start_allowed("-action watchdog=none");
    load(qts, 4);
    for (unsigned i = 0; i < 4; i++) { /* each time after one expiry */
        qtest_clock_step(qts, 5 * TICK);
        g_assert_cmphex(qtest_inw(qts, STS1), ==, TIMEOUT);
        qtest_outw(qts, STS1, TIMEOUT);
        qtest_outw(qts, RLD, 1);
    }
    g_assert_cmphex(qtest_inw(qts, STS2), ==, 0);
    qtest_clock_step(qts, 8 * TICK);
    expect_expiry(qts, "none");
    qtest_clock_step(qts, 100 * TICK); /* it has stopped */
    g_assert_cmpuint(qtest_inw(qts, RLD), ==, 0);
    qtest_stop(qts);
}

static void expect_no_action(QTest *qts)
{
    load(qts, 4);
    qtest_clock_step(qts, 20 * TICK);
    g_assert_cmphex(qtest_inw(qts, STS2), ==, SECOND | BOOT);
    json_object *status = qtest_qmp_ok(qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "running");
    json_object_put(status);
}

/* As on QEMU's versions up to 7.2: what the guest says does not matter. */
static void test_strap(void)
{
    QTest *qts = start("-action watchdog=poweroff");
    qtest_write(qts, GCS, 0, 4);
    expect_no_action(qts);
    qtest_stop(qts);
}

static void test_no_reboot(void)
{
    QTest *qts = start("-global ICH9-LPC.noreboot=false -action watchdog=poweroff");
    g_assert_cmphex(qtest_read(qts, GCS, 4), ==, 0x20);
    expect_no_action(qts);
    qtest_write(qts, GCS, 0, 4); /* as Linux does */
    qtest_outw(qts, RLD, 1);
    qtest_clock_step(qts, 4 * TICK);
    g_free(qtest_raw(qts, "clock_step 2400000000"));
    g_assert_cmpint(qtest_wait_exit(qts), ==, 0);
    qtest_free(qts);
}

static void test_locks_and_messages(void)
{
    QTest *qts = start("");
    uint32_t smi = qtest_inl(qts, SMI_EN);
    qtest_outl(qts, SMI_EN, smi | TCO_EN);
    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, smi | TCO_EN);
    qtest_outw(qts, CNT1, LOCK | HALT);
    qtest_outw(qts, CNT1, HALT);
    g_assert_cmphex(qtest_inw(qts, CNT1), ==, LOCK | HALT);
    qtest_outl(qts, SMI_EN, smi);
    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, smi | TCO_EN);
    qtest_outb(qts, DAT_IN, 0x55);
    qtest_outb(qts, DAT_OUT, 0xaa);
    g_assert_cmphex(qtest_inw(qts, STS1), ==, 0x6);
    g_assert_cmphex(qtest_inw(qts, DAT_IN), ==, 0xaa55);
    qtest_outw(qts, STS1, 0x2);
    g_assert_cmphex(qtest_inw(qts, STS1), ==, 0x4);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    place(qts);
    g_assert_cmphex(qtest_inw(qts, CNT1), ==, 0); /* a reset unlocks */
    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, smi);
    qtest_stop(qts);
}

static void test_nonsense(void)
{
    static const uint32_t values[] = { 0xffffffff, 0, 0x5555aaaa, 0x08000800 };
    QTest *qts = start("-action watchdog=none");
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        for (unsigned offset = 0; offset < 0x20; offset++) {
            uint16_t port = (uint16_t)(TCO + offset);
            qtest_outb(qts, port, (uint8_t)values[i]);
            qtest_outw(qts, port, (uint16_t)values[i]);
            qtest_outl(qts, port, values[i]);
            qtest_inl(qts, port);
        }
        qtest_clock_step(qts, 700 * TICK);
    }
    g_assert_cmphex(qtest_inw(qts, STS2) & ~(SECOND | BOOT), ==, 0);
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tco/reset-values", test_reset_values);
    g_test_add_func("/tco/counts-down", test_counts_down);
    g_test_add_func("/tco/two-expiries-reset", test_two_expiries_reset);
    g_test_add_func("/tco/reload-starts-over", test_reload_starts_over);
    g_test_add_func("/tco/the-strap-keeps-it-from-resetting", test_strap);
    g_test_add_func("/tco/no-reboot-until-the-guest-allows-it", test_no_reboot);
    g_test_add_func("/tco/locks-and-messages", test_locks_and_messages);
    g_test_add_func("/tco/nonsense", test_nonsense);
    return g_test_run();
}
