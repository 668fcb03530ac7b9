/* SPDX-License-Identifier: GPL-2.0-or-later */
/* q35's chipset: ACPI power management, reset and shutdown, interrupt routing, small ISA devices.
 */
#include "tests/device/libqtest.h"

#define LPC      0xf8
#define PM       0x600
#define SCI_GSI  9
#define SECOND   1000000000LL
#define TIMER_HZ 3579545

static void place_pm(QTest *qts)
{
    qpci_config_write(qts, 0, LPC, 0x40, PM, 4);
    qpci_config_write(qts, 0, LPC, 0x44, 0x80, 1);
}

static QTest *start(const char *args)
{
    QTest *qts = qtest_start("-m 32 %s", args);

    qtest_intercept(qts);
    place_pm(qts);
    return qts;
}

static void test_pmbase_moves(void)
{
    QTest *qts = start("");

    g_assert_cmphex(qpci_config_read(qts, 0, LPC, 0x40, 4), ==, PM | 1);
    qtest_outw(qts, PM + 2, 0x100);
    qpci_config_write(qts, 0, LPC, 0x40, 0xb000, 4);
    g_assert_cmphex(qtest_inw(qts, PM + 2), ==, 0xffff);
    g_assert_cmphex(qtest_inw(qts, 0xb002), ==, 0x100);
    qpci_config_write(qts, 0, LPC, 0x44, 0, 1);
    g_assert_cmphex(qtest_inw(qts, 0xb002), ==, 0xffff);
    qtest_stop(qts);
}

static void test_pm_timer(void)
{
    QTest *qts = start("");
    uint32_t then = qtest_inl(qts, PM + 8);

    qtest_clock_step(qts, SECOND);
    g_assert_cmpuint((qtest_inl(qts, PM + 8) - then) & 0xffffff, ==, TIMER_HZ);
    qtest_outl(qts, PM + 8, 0x1234);
    g_assert_cmpuint((qtest_inl(qts, PM + 8) - then) & 0xffffff, ==, TIMER_HZ);
    g_assert_cmphex(qtest_inb(qts, PM + 10), ==, qtest_inl(qts, PM + 8) >> 16);
    qtest_stop(qts);
}

static void test_pm_timer_overflow(void)
{
    QTest *qts = start("");
    int64_t expected = (0x800000LL * SECOND + TIMER_HZ - 1) / TIMER_HZ;

    qtest_outw(qts, PM + 2, 1);
    qtest_outw(qts, PM + 4, 1);
    g_assert_false(qts->irq[SCI_GSI]);
    qtest_clock_step(qts, expected - 1);
    g_assert_cmphex(qtest_inw(qts, PM), ==, 0);
    qtest_clock_step(qts, 1);
    qtest_wait_irq(qts, SCI_GSI, true);
    g_assert_cmphex(qtest_inw(qts, PM), ==, 1);
    qtest_outw(qts, PM, 1);
    qtest_wait_irq(qts, SCI_GSI, false);
    /* Polled, it is there without an interrupt as well. */
    qtest_outw(qts, PM + 2, 0);
    qtest_clock_step(qts, expected);
    g_assert_cmphex(qtest_inw(qts, PM), ==, 1);
    g_assert_false(qts->irq[SCI_GSI]);
    qtest_stop(qts);
}

static void test_power_button(void)
{
    QTest *qts = start("");

    qtest_outw(qts, PM + 2, 0x100);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_powerdown'}"));
    json_object_put(qtest_event(qts, "POWERDOWN"));
    g_assert_cmphex(qtest_inw(qts, PM), ==, 0x100);
    g_assert_false(qts->irq[SCI_GSI]); /* not in ACPI mode */
    qtest_outb(qts, 0xb2, 2);
    g_assert_cmphex(qtest_inw(qts, PM + 4), ==, 1);
    qtest_wait_irq(qts, SCI_GSI, true);
    qtest_outw(qts, PM, 0x100);
    qtest_wait_irq(qts, SCI_GSI, false);
    qtest_outb(qts, 0xb2, 3);
    g_assert_cmphex(qtest_inw(qts, PM + 4), ==, 0);
    qtest_stop(qts);
}

static void expect_exit(QTest *qts, const char *event, int status)
{
    if (event) {
        json_object_put(qtest_event(qts, event));
    }
    g_assert_cmpint(qtest_wait_exit(qts), ==, status);
    qtest_free(qts);
}

static void test_soft_off(void)
{
    QTest *qts = start("");

    qtest_outw(qts, PM + 4, 0x0c00 | 0x2000); /* a sleep type that is not there */
    g_assert_cmphex(qtest_inw(qts, PM + 4), ==, 0x0c00);
    qtest_outw(qts, PM + 4, 0x2000);
    expect_exit(qts, "SHUTDOWN", 0);
}

static void expect_reset(QTest *qts)
{
    json_object *event = qtest_event(qts, "RESET");

    g_assert_cmpstr(json_text(event, "data.reason"), ==, "guest-reset");
    json_object_put(event);
}

static const char *status_of(QTest *qts)
{
    g_autofree char *text = qtest_hmp(qts, "info status");

    return strstr(text, "suspended") ? "suspended" : strstr(text, "running") ? "running" : "other";
}

static void fall_asleep(QTest *qts)
{
    qtest_outw(qts, PM + 4, 0x0400 | 0x2000);
    json_object_put(qtest_event(qts, "SUSPEND"));
    g_assert_cmpstr(status_of(qts), ==, "suspended");
}

/* Firmware finds the reason in CMOS; memory and its shadow in the first MiB are as they were. */
static void test_sleep_and_wake_up(void)
{
    QTest *qts = start("");

    qpci_config_write(qts, 0, 0, 0x90, 0x30, 1);
    qtest_write(qts, 0xf1000, 0x5678, 2);
    qtest_write(qts, 0x5000, 0x1234, 2);
    fall_asleep(qts);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'stop'}"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
    g_assert_cmpstr(status_of(qts), ==, "suspended");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_wakeup'}"));
    json_object_put(qtest_event(qts, "WAKEUP"));
    g_assert_cmpstr(status_of(qts), ==, "running");
    qtest_outb(qts, 0x70, 0x0f);
    g_assert_cmphex(qtest_inb(qts, 0x71), ==, 0xfe);
    g_assert_cmphex(qtest_read(qts, 0x5000, 2), ==, 0x1234);
    g_assert_cmphex(qtest_read(qts, 0xf1000, 2), ==, 0x5678);
    g_assert_cmphex(qtest_inw(qts, PM), ==, 0x8100);
    g_autofree char *awake = qtest_qmp_error(qts, "{'execute': 'system_wakeup'}");
    g_assert_nonnull(strstr(awake, "not suspended"));
    qtest_stop(qts);
}

static void test_alarm_wakes(void)
{
    QTest *qts = start("-rtc base=2024-01-01T00:00:00,clock=vm");

    qtest_outb(qts, 0x70, 0x01);
    qtest_outb(qts, 0x71, 0x05); /* at second 5 */
    qtest_outb(qts, 0x70, 0x03);
    qtest_outb(qts, 0x71, 0xff);
    qtest_outb(qts, 0x70, 0x05);
    qtest_outb(qts, 0x71, 0xff);
    qtest_outb(qts, 0x70, 0x0b);
    qtest_outb(qts, 0x71, 0x22);
    fall_asleep(qts); /* PM1_EN does not let the alarm through */
    qtest_clock_step(qts, 10000000000);
    g_assert_cmpstr(status_of(qts), ==, "suspended");
    g_free(qtest_hmp(qts, "system_wakeup"));
    json_object_put(qtest_event(qts, "WAKEUP"));
    place_pm(qts);
    qtest_outb(qts, 0x70, 0x0b);
    qtest_outb(qts, 0x71, 0x22);
    qtest_outw(qts, PM + 2, 0x400);
    fall_asleep(qts);
    qtest_clock_step(qts, 60000000000);
    json_object_put(qtest_event(qts, "WAKEUP"));
    place_pm(qts);
    g_assert_cmphex(qtest_inw(qts, PM), ==, 0x8400);
    qtest_stop(qts);
}

static void test_reset_ends_the_sleep(void)
{
    QTest *qts = start("");

    fall_asleep(qts);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmpstr(status_of(qts), ==, "running");
    place_pm(qts);
    g_assert_cmphex(qtest_inw(qts, PM), ==, 0);
    fall_asleep(qts);
    qtest_stop(qts);
}

static void test_sleep_on_disk(void)
{
    QTest *qts = start("");

    qtest_outw(qts, PM + 4, 0x0800 | 0x2000);
    json_object_put(qtest_event(qts, "SUSPEND_DISK"));
    expect_exit(qts, "SHUTDOWN", 0);
    qts = start("-global ICH9-LPC.disable_s3=1 -global ICH9-LPC.disable_s4=1");
    qtest_outw(qts, PM + 4, 0x0800 | 0x2000);
    qtest_outw(qts, PM + 4, 0x0400 | 0x2000);
    g_assert_cmpstr(status_of(qts), ==, "running");
    g_autofree char *unable = qtest_qmp_error(qts, "{'execute': 'system_wakeup'}");
    g_assert_nonnull(strstr(unable, "does not sleep"));
    qtest_stop(qts);
}

static void test_resets(void)
{
    QTest *qts = start("");

    qtest_outb(qts, 0xcf9, 0x02);
    g_assert_cmphex(qtest_inb(qts, 0xcf9), ==, 0x02);
    qtest_outb(qts, 0xcf9, 0x06);
    expect_reset(qts);
    g_assert_cmphex(qpci_config_read(qts, 0, LPC, 0x40, 4), ==, 1);
    qtest_outb(qts, 0x64, 0xfe);
    expect_reset(qts);
    qtest_outb(qts, 0x92, 0x01);
    expect_reset(qts);
    g_assert_cmphex(qtest_inb(qts, 0x92), ==, 0x02);
    qtest_outb(qts, 0x64, 0xd1);
    qtest_outb(qts, 0x60, 0x02);
    expect_reset(qts);
    qtest_stop(qts);
}

static void test_reset_ends_work(void)
{
    QTest *qts = start("");

    qtest_outw(qts, PM + 2, 0x101);
    qtest_outw(qts, PM + 4, 1);
    qtest_clock_step(qts, 3 * SECOND);
    qtest_wait_irq(qts, SCI_GSI, true);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    qtest_wait_irq(qts, SCI_GSI, false);
    qtest_clock_step(qts, 10 * SECOND);
    g_assert_false(qts->irq[SCI_GSI]);
    qtest_stop(qts);
}

static void test_keyboard_controller(void)
{
    QTest *qts = start("");

    g_assert_cmphex(qtest_inb(qts, 0x64) & 3, ==, 0);
    qtest_outb(qts, 0x64, 0xaa);
    g_assert_cmphex(qtest_inb(qts, 0x64) & 5, ==, 5);
    g_assert_cmphex(qtest_inb(qts, 0x60), ==, 0x55);
    g_assert_cmphex(qtest_inb(qts, 0x64) & 1, ==, 0);
    qtest_outb(qts, 0x64, 0x60);
    qtest_outb(qts, 0x60, 0x41);
    qtest_outb(qts, 0x64, 0x20);
    g_assert_cmphex(qtest_inb(qts, 0x60), ==, 0x41);
    qtest_outb(qts, 0x64, 0xd0);
    g_assert_cmphex(qtest_inb(qts, 0x60), ==, 0xcf);
    qtest_stop(qts);
}

static void test_debug_exit(void)
{
    QTest *qts = start("-device isa-debug-exit,iobase=0xf4,iosize=4");

    qtest_outl(qts, 0xf4, 0x10);
    expect_exit(qts, NULL, 33);
}

static void test_panic(void)
{
    QTest *qts = start("-device pvpanic,ioport=0x510 -device pvpanic-pci,addr=5,events=1 "
                       "-action panic=none");
    QPci *pci = qpci_open(qts, 5 << 3);

    g_assert_cmphex(qtest_inb(qts, 0x510), ==, 3);
    g_assert_cmphex(qpci_read(pci, 0, 0, 1), ==, 1);
    qtest_outb(qts, 0x510, 0xfc); /* nothing that is known */
    qtest_outb(qts, 0x510, 2);
    json_object_put(qtest_event(qts, "GUEST_CRASHLOADED"));
    qpci_write(pci, 0, 0, 1, 1);
    json_object_put(qtest_event(qts, "GUEST_PANICKED"));
    g_free(pci);
    qtest_stop(qts);
}

/* A legacy virtio function without MSI-X raises INTA of slot 4: PIRQE, GSI 20, and through PIRQE's
 * route register also an ISA interrupt. */
static void test_intx_routing(void)
{
    QTest *qts = start("-device virtio-rng-pci,addr=4,vectors=0");
    QPci *pci = qpci_open(qts, 4 << 3);
    QVirtio *dev = qvirtio_new(pci);
    QVirtQueue *vq;
    QBuffer buffer = { .addr = qtest_alloc(qts, 16, 16), .len = 16, .write = true };

    qpci_config_write(qts, 0, LPC, 0x68, 0x0b, 1);
    qvirtio_reset(dev);
    qvirtio_negotiate(dev, 1ULL << 32);
    vq = qvirtqueue_new(dev, 0, 8, 0xffff);
    qvirtio_driver_ok(dev);
    qvirtqueue_add(vq, &buffer, 1);
    qvirtqueue_kick(vq);
    qtest_wait_irq(qts, 20, true);
    qtest_wait_irq(qts, 11, true);
    g_assert_cmphex(qpci_config_read(qts, 0, 4 << 3, 6, 2) & 8, ==, 8);
    qpci_config_write(qts, 0, LPC, 0x68, 0x80, 1); /* the route goes, the line stays */
    qtest_wait_irq(qts, 11, false);
    g_assert_true(qts->irq[20]);
    qpci_config_write(qts, 0, 4 << 3, 4, 0x407, 2); /* interrupt disable */
    qtest_wait_irq(qts, 20, false);
    qpci_config_write(qts, 0, 4 << 3, 4, 0x007, 2);
    qtest_wait_irq(qts, 20, true);
    qpci_read(dev->pci, dev->isr.bar, dev->isr.offset, 1); /* reading it acknowledges */
    qtest_wait_irq(qts, 20, false);
    qvirtqueue_free(vq);
    qvirtio_free(dev);
    qtest_stop(qts);
}

/* Two functions on one line: it falls when the last lets go. */
static void test_shared_line(void)
{
    QTest *qts = start("-device virtio-rng-pci,addr=4,vectors=0 "
                       "-device virtio-rng-pci,addr=8,vectors=0");
    QVirtio *dev[2];
    QVirtQueue *vq[2];

    for (unsigned i = 0; i < 2; i++) {
        QBuffer buffer = { .addr = qtest_alloc(qts, 16, 16), .len = 16, .write = true };
        dev[i] = qvirtio_new(qpci_open(qts, (4 + 4 * i) << 3));
        qvirtio_reset(dev[i]);
        qvirtio_negotiate(dev[i], 1ULL << 32);
        vq[i] = qvirtqueue_new(dev[i], 0, 8, 0xffff);
        qvirtio_driver_ok(dev[i]);
        qvirtqueue_add(vq[i], &buffer, 1);
        qvirtqueue_kick(vq[i]);
        qvirtqueue_wait(vq[i], NULL);
    }
    qtest_wait_irq(qts, 20, true);
    while (qpci_read(dev[0]->pci, dev[0]->isr.bar, dev[0]->isr.offset, 1) == 0) {
        g_usleep(1000); /* the used ring is seen before the interrupt */
    }
    g_assert_true(qts->irq[20]);
    while (qpci_read(dev[1]->pci, dev[1]->isr.bar, dev[1]->isr.offset, 1) == 0) {
        g_usleep(1000);
    }
    qtest_wait_irq(qts, 20, false);
    for (unsigned i = 0; i < 2; i++) {
        qvirtqueue_free(vq[i]);
        qvirtio_free(dev[i]);
    }
    qtest_stop(qts);
}

/* HARDENING rows 16 and 24: any width at any place of the ports, and the machine lives. */
static void test_nonsense(void)
{
    static const uint16_t ports[] = { 0x60, 0x64,      0x70,      0x92,  0xb2,
                                      PM,   PM + 0x20, PM + 0x7c, 0xcf8, 0xcfc };
    QTest *qts = start("-device pvpanic -action panic=none,reboot=reset,shutdown=pause");
    g_autoptr(GRand) random = g_rand_new_with_seed(3);

    for (unsigned i = 0; i < 4000; i++) {
        uint16_t port = ports[g_rand_int_range(random, 0, G_N_ELEMENTS(ports))] +
                        g_rand_int_range(random, 0, 4);
        switch (g_rand_int_range(random, 0, 6)) {
        case 0:
            qtest_outb(qts, port, g_rand_int(random));
            break;
        case 1:
            qtest_outw(qts, port, g_rand_int(random));
            break;
        case 2:
            qtest_outl(qts, port, g_rand_int(random));
            break;
        case 3:
            qtest_inb(qts, port);
            break;
        case 4:
            qtest_inw(qts, port);
            break;
        default:
            qtest_inl(qts, port);
            break;
        }
    }
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
    g_assert_cmphex(qpci_config_read(qts, 0, 0, 0, 4), ==, 0x29c08086);
    qtest_stop(qts);
}

static void test_refusals(void)
{
    qtest_assert_refused("-device isa-debug-exit,iobase=0xffff,iosize=2", "0xffff");
    qtest_assert_refused("-device pvpanic,events=9", "events");
    qtest_assert_refused("-device mch", "mch");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/q35/pmbase-moves", test_pmbase_moves);
    g_test_add_func("/q35/pm-timer-counts", test_pm_timer);
    g_test_add_func("/q35/pm-timer-overflow", test_pm_timer_overflow);
    g_test_add_func("/q35/power-button", test_power_button);
    g_test_add_func("/q35/soft-off", test_soft_off);
    g_test_add_func("/q35/sleep-and-wake-up", test_sleep_and_wake_up);
    g_test_add_func("/q35/the-alarm-wakes-where-allowed", test_alarm_wakes);
    g_test_add_func("/q35/reset-ends-the-sleep", test_reset_ends_the_sleep);
    g_test_add_func("/q35/sleep-on-disk", test_sleep_on_disk);
    g_test_add_func("/q35/reset-ports", test_resets);
    g_test_add_func("/q35/reset-ends-the-work", test_reset_ends_work);
    g_test_add_func("/q35/keyboard-controller", test_keyboard_controller);
    g_test_add_func("/q35/debug-exit", test_debug_exit);
    g_test_add_func("/q35/panic-devices", test_panic);
    g_test_add_func("/q35/intx-routing", test_intx_routing);
    g_test_add_func("/q35/shared-line", test_shared_line);
    g_test_add_func("/q35/nonsense-is-survived", test_nonsense);
    g_test_add_func("/q35/refusals-name-the-cause", test_refusals);
    return g_test_run();
}
