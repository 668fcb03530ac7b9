/* SPDX-License-Identifier: GPL-2.0-or-later */
/* microvm: its slots, the generic event device, the optional parts. */
#include "tests/device/libqtest.h"

#define GED_EVENTS 0xfea00000
#define GED_REGS   0xfea00200
#define GED_GSI    9
#define SLOTS      0xfeb00000
#define MAGIC      0x74726976
#define ECAM       0xe0000000

static void test_slots(void)
{
    QTest *qts = qtest_start("-machine microvm -m 32 -device virtio-rng-device");
    unsigned used = 0;

    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmphex(qtest_read(qts, SLOTS + 0x200 * i, 4), ==, MAGIC);
        used += qtest_read(qts, SLOTS + 0x200 * i + 8, 4) == 4;
    }
    g_assert_cmpuint(used, ==, 1);
    g_assert_cmphex(qtest_read(qts, SLOTS + 0x200 * 8, 4), ==, 0xffffffff);
    g_assert_cmphex(qtest_read(qts, ECAM, 4), ==, 0xffffffff);
    qtest_stop(qts);
}

static void test_power_button(void)
{
    QTest *qts = qtest_start("-machine microvm -m 32");

    qtest_intercept(qts);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_powerdown'}"));
    json_object_put(qtest_event(qts, "POWERDOWN"));
    g_assert_cmphex(qtest_read(qts, GED_EVENTS, 4), ==, 2);
    g_assert_cmpuint(qts->irq_raised[GED_GSI], ==, 1); /* an edge */
    g_assert_false(qts->irq[GED_GSI]);
    g_assert_cmphex(qtest_read(qts, GED_EVENTS, 4), ==, 0);
    qtest_stop(qts);
}

static void test_reset_and_off(void)
{
    QTest *qts = qtest_start("-machine microvm -m 32");

    qtest_write(qts, GED_REGS + 2, 0x41, 1); /* not the value */
    qtest_write(qts, GED_REGS, 0x34 & ~0x20, 1);
    g_assert_cmphex(qtest_read(qts, GED_REGS, 1), ==, 0x14);
    qtest_write(qts, GED_REGS + 2, 0x42, 1);
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(qtest_read(qts, GED_REGS, 1), ==, 0);
    qtest_write(qts, GED_REGS, 0x20 | 3 << 2, 1); /* no such sleep */
    qtest_write(qts, GED_REGS, 0x20 | 5 << 2, 1);
    json_object_put(qtest_event(qts, "SHUTDOWN"));
    g_assert_cmpint(qtest_wait_exit(qts), ==, 0);
    qtest_free(qts);
}

static void test_pcie(void)
{
    QTest *qts = qtest_start("-machine microvm,pcie=on -m 32 -device pvpanic-pci,addr=3 "
                             "-action panic=none");

    g_assert_cmphex(qtest_read(qts, ECAM, 4), ==, 0x00081b36);
    g_assert_cmphex(qtest_read(qts, ECAM + (3 << 15), 4), ==, 0x00111b36);
    g_assert_cmphex(qtest_read(qts, ECAM + (4 << 15), 4), ==, 0xffffffff);
    qtest_write(qts, ECAM + (3 << 15) + 0x10, 0xc0000000, 4);
    qtest_write(qts, ECAM + (3 << 15) + 4, 2, 2);
    g_assert_cmphex(qtest_read(qts, 0xc0000000, 1), ==, 3);
    qtest_stop(qts);
}

static void test_without_acpi(void)
{
    QTest *qts = qtest_start("-machine microvm,acpi=off -m 32");

    g_assert_cmphex(qtest_read(qts, GED_REGS, 1), ==, 0xff);
    qtest_outb(qts, 0x64, 0xfe);
    json_object_put(qtest_event(qts, "RESET"));
    qtest_stop(qts);
}

static void test_refusals(void)
{
    qtest_assert_refused("-machine microvm,acpi=off,pcie=on", "pcie=on");
    qtest_assert_refused("-machine microvm,ioapic2=on", "ioapic2=on");
    qtest_assert_refused("-machine microvm,pit=maybe", "pit");
    qtest_assert_refused("-machine microvm,rtc=off -boot c", "rtc=on");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/microvm/slots", test_slots);
    g_test_add_func("/microvm/power-button", test_power_button);
    g_test_add_func("/microvm/reset-and-soft-off", test_reset_and_off);
    g_test_add_func("/microvm/pcie", test_pcie);
    g_test_add_func("/microvm/without-acpi", test_without_acpi);
    g_test_add_func("/microvm/refusals-name-the-cause", test_refusals);
    return g_test_run();
}
