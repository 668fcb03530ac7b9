/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Watchdogs and what their expiry does. */
#include <string.h>
#include "tests/device/libqtest.h"

#define SECOND 1000000000LL

static void expect_expiry(QTest *qts, const char *action)
{
    json_object *event = qtest_event(qts, "WATCHDOG");
    g_assert_cmpstr(json_text(event, "data.action"), ==, action);
    json_object_put(event);
}

static void expect_event(QTest *qts, const char *name)
{
    json_object_put(qtest_event(qts, name));
}

static void test_ib700(void)
{
    QTest *qts = qtest_start("-m 32 -device ib700 -action watchdog=none");
    qtest_outb(qts, 0x443, 0x05); /* 20 s */
    g_assert_cmpint(qtest_clock_step_next(qts), ==, 20 * SECOND);
    expect_expiry(qts, "none");
    qtest_outb(qts, 0x443, 0x00);
    qtest_clock_step(qts, 29 * SECOND);
    qtest_outb(qts, 0x443, 0x0f); /* at once */
    expect_expiry(qts, "none");
    qtest_outb(qts, 0x443, 0x0e);
    qtest_outb(qts, 0x441, 0); /* off */
    qtest_clock_step(qts, 60 * SECOND);
    json_object *status = qtest_qmp_ok(qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "running");
    json_object_put(status);
    qtest_stop(qts);
}

static void unlock(QPci *pci)
{
    qpci_write(pci, 0, 0xc, 0x80, 2);
    qpci_write(pci, 0, 0xc, 0x86, 2);
}

static void test_i6300esb(void)
{
    QTest *qts = qtest_start("-m 32 -device i6300esb,addr=4 -watchdog-action reset");
    QPci *pci = qpci_open(qts, 4 << 3);
    g_assert_cmphex(qpci_config_read(qts, 0, 4 << 3, 0, 4), ==, 0x25ab8086);
    unlock(pci);
    qpci_write(pci, 0, 0, 1000, 4); /* about a second */
    qpci_write(pci, 0, 4, 7, 4);    /* locked again: ignored */
    unlock(pci);
    qpci_write(pci, 0, 4, 1000, 4);
    qpci_config_write(qts, 0, 4 << 3, 0x68, 0x02, 1);
    int64_t period = (1000LL << 15) * 30;
    qtest_clock_step(qts, period / 2);
    unlock(pci);
    qpci_write(pci, 0, 0xc, 0x100, 2); /* pinged */
    qtest_clock_step(qts, 2 * period - 1000);
    g_assert_cmphex(qpci_read(pci, 0, 0xc, 2), ==, 0);
    qtest_clock_step(qts, 1000);
    expect_expiry(qts, "reset");
    expect_event(qts, "RESET");
    g_free(pci);
    pci = qpci_open(qts, 4 << 3);
    g_assert_cmphex(qpci_read(pci, 0, 0xc, 2), ==, 0x200); /* it was the watchdog */
    unlock(pci);
    qpci_write(pci, 0, 0xc, 0x200, 2);
    g_assert_cmphex(qpci_read(pci, 0, 0xc, 2), ==, 0);
    g_assert_cmphex(qpci_config_read(qts, 0, 4 << 3, 0x68, 1), ==, 0);
    qpci_config_write(qts, 0, 4 << 3, 0x68, 0x01, 1); /* locked off */
    qpci_config_write(qts, 0, 4 << 3, 0x68, 0x02, 1);
    g_assert_cmphex(qpci_config_read(qts, 0, 4 << 3, 0x68, 1), ==, 0x01);
    g_free(pci);
    qtest_stop(qts);
}

static void start_stages(QPci *pci, uint16_t config)
{
    qpci_config_write(pci->qts, 0, 4 << 3, 0x60, config, 2);
    for (unsigned stage = 0; stage < 2; stage++) {
        unlock(pci);
        qpci_write(pci, 0, stage * 4, 1000, 4);
    }
    qpci_config_write(pci->qts, 0, 4 << 3, 0x68, 0x02, 1);
}

/* The first stage interrupts and leaves its status; with another type it does neither. */
static void test_first_stage(void)
{
    QTest *qts = qtest_start("-m 32 -device i6300esb,addr=4 -action watchdog=none");
    int64_t period = (1000LL << 15) * 30;
    QPci *pci = qpci_open(qts, 4 << 3);
    qtest_intercept(qts);
    start_stages(pci, 0);
    qtest_clock_step(qts, period - 1);
    g_assert_false(qts->irq[10]);
    qtest_clock_step(qts, 1);
    g_assert_true(qts->irq[10]);
    g_assert_cmphex(qpci_read(pci, 0, 8, 4), ==, 1);
    qpci_write(pci, 0, 8, 0, 4);
    g_assert_true(qts->irq[10]);
    qpci_write(pci, 0, 8, 1, 4);
    g_assert_false(qts->irq[10]);
    g_assert_cmphex(qpci_read(pci, 0, 8, 4), ==, 0);
    qtest_clock_step(qts, period); /* the second stage is the watchdog's */
    expect_expiry(qts, "none");
    qpci_config_write(qts, 0, 4 << 3, 0x68, 0, 1);
    for (uint16_t type = 1; type <= 3; type++) {
        start_stages(pci, type);
        qtest_clock_step(qts, period);
        g_assert_false(qts->irq[10]);
        g_assert_cmphex(qpci_read(pci, 0, 8, 4), ==, 0);
        qpci_config_write(qts, 0, 4 << 3, 0x68, 0, 1);
    }
    g_free(pci);
    qtest_stop(qts);
}

static void test_set_action(void)
{
    QTest *qts = qtest_start("-m 32 -device ib700");
    json_object_put(
        qtest_qmp_ok(qts, "{'execute': 'watchdog-set-action', 'arguments': {'action': 'pause'}}"));
    qtest_outb(qts, 0x443, 0x0e);
    qtest_clock_step(qts, 2 * SECOND);
    expect_expiry(qts, "pause");
    expect_event(qts, "STOP");
    json_object *status = qtest_qmp_ok(qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "watchdog");
    json_object_put(status);
    qtest_stop(qts);
    qtest_assert_refused("-watchdog-action nonsense", "nonsense");
}

static void test_set_action_changes_what_it_names(void)
{
    QTest *qts = qtest_start("-m 32 -device ib700 -no-reboot");
    json_object_put(
        qtest_qmp_ok(qts, "{'execute': 'set-action', 'arguments': {'watchdog': 'none'}}"));
    qtest_outb(qts, 0x443, 0x0f);
    expect_expiry(qts, "none");
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'set-action', 'arguments': {'reboot': 'reset', 'watchdog': 'reset'}}"));
    qtest_outb(qts, 0x443, 0x0f);
    expect_event(qts, "RESET"); /* -no-reboot is no longer in force */
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'set-action', 'arguments': "
                                      "{'reboot': 'shutdown', 'shutdown': 'pause'}}"));
    qtest_outb(qts, 0x443, 0x0f);
    expect_event(qts, "SHUTDOWN");
    expect_event(qts, "STOP");
    g_free(qtest_qmp_error(qts, "{'execute': 'set-action', 'arguments': {'panic': 'reset'}}"));
    qtest_stop(qts);
}

static void test_poweroff(void)
{
    QTest *qts = qtest_start("-m 32 -device ib700 -action watchdog=poweroff");
    qtest_outb(qts, 0x443, 0x0f);
    g_assert_cmpint(qtest_wait_exit(qts), ==, 0);
    qtest_free(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/watchdog/ib700", test_ib700);
    g_test_add_func("/watchdog/i6300esb", test_i6300esb);
    g_test_add_func("/watchdog/first-stage", test_first_stage);
    g_test_add_func("/watchdog/set-action", test_set_action);
    g_test_add_func("/watchdog/set-action-changes-what-it-names",
                    test_set_action_changes_what_it_names);
    g_test_add_func("/watchdog/poweroff", test_poweroff);
    return g_test_run();
}
