/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that come and go on a running pc: what the ACPI registers say, events, refusals. */
#include <string.h>
#include "tests/device/libqtest.h"

#define HP        0xae00
#define HP_UP     HP
#define HP_DOWN   (HP + 4)
#define HP_EJECT  (HP + 8)
#define HP_REMOVE (HP + 0xc)
#define HP_SELECT (HP + 0x10)
#define GPE       0xafe0
#define GPE_PCIHP 2
#define PM_FN     0x0b
#define PM        0x600
#define SCI_GSI   9

static QTest *start(const char *args)
{
    QTest *qts = qtest_start("-machine pc -m 32 %s", args);

    qtest_intercept(qts);
    qpci_config_write(qts, 0, PM_FN, 0x40, PM, 4);
    qpci_config_write(qts, 0, PM_FN, 0x80, 1, 1);
    qtest_outb(qts, 0xb2, 0xf1);
    qtest_outw(qts, GPE + 2, GPE_PCIHP);
    return qts;
}

static void add_rng(QTest *qts, const char *id, unsigned slot)
{
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'device_add', 'arguments': {'driver': "
                                 "'virtio-rng-pci', 'id': '%s', 'addr': '%x'}}",
                                 id, slot));
}

static void ask_for(QTest *qts, const char *id)
{
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'device_del', 'arguments': {'id': '%s'}}", id));
}

static void expect_deleted(QTest *qts, const char *id)
{
    json_object *event = qtest_event(qts, "DEVICE_DELETED");
    g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", id);

    g_assert_cmpstr(json_text(event, "data.device"), ==, id);
    g_assert_cmpstr(json_text(event, "data.path"), ==, path);
    json_object_put(event);
}

static bool is_there(QTest *qts, unsigned slot)
{
    return qpci_config_read(qts, 0, slot << 3, 0, 4) != 0xffffffff;
}

static void test_a_device_comes(void)
{
    QTest *qts = start("");

    g_assert_false(is_there(qts, 5));
    add_rng(qts, "r", 5);
    qtest_wait_irq(qts, SCI_GSI, true);
    g_assert_cmphex(qtest_inw(qts, GPE), ==, GPE_PCIHP);
    qtest_outw(qts, GPE, GPE_PCIHP);
    qtest_wait_irq(qts, SCI_GSI, false);
    g_assert_cmphex(qtest_inl(qts, HP_UP), ==, 1 << 5);
    g_assert_cmphex(qtest_inl(qts, HP_UP), ==, 0); /* reading took it */
    g_assert_cmphex(qtest_inl(qts, HP_DOWN), ==, 0);
    g_assert_true(is_there(qts, 5));
    g_assert_cmphex(qpci_config_read(qts, 0, 5 << 3, 4, 2), ==, 0); /* as after a reset */
    qtest_stop(qts);
}

/* The new device works: its driver gets bytes, then it goes and its windows with it. */
static void test_a_device_that_came_works_and_goes(void)
{
    QTest *qts = start("");
    QBuffer buffer = { .addr = qtest_alloc(qts, 64, 64), .len = 64, .write = true };

    for (unsigned round = 0; round < 3; round++) {
        add_rng(qts, "r", 5);
        QVirtio *dev = qvirtio_new(qpci_open(qts, 5 << 3));
        uint64_t bar = dev->pci->bar[dev->common.bar];
        qvirtio_reset(dev);
        qvirtio_negotiate(dev, 1ULL << 32);
        QVirtQueue *vq = qvirtqueue_new(dev, 0, 8, 0xffff);
        qvirtio_driver_ok(dev);
        qvirtqueue_add(vq, &buffer, 1);
        qvirtqueue_kick(vq);
        g_assert_cmpuint(qvirtqueue_wait(vq, NULL), ==, 64);
        qvirtqueue_add(vq, &buffer, 1); /* on its way while the device goes */
        qvirtqueue_kick(vq);
        qvirtqueue_free(vq);
        ask_for(qts, "r");
        g_assert_cmphex(qtest_inl(qts, HP_DOWN), ==, 1 << 5);
        g_assert_true(is_there(qts, 5)); /* until the guest lets go */
        qtest_outl(qts, HP_EJECT, 1 << 5);
        expect_deleted(qts, "r");
        g_assert_cmphex(qtest_inl(qts, HP_DOWN), ==, 0);
        g_assert_false(is_there(qts, 5));
        g_assert_cmphex(qtest_read(qts, bar, 4), ==, 0xffffffff);
        qvirtio_free(dev);
        qtest_inl(qts, HP_UP);
    }
    qtest_stop(qts);
}

static void test_a_reset_completes_a_removal(void)
{
    QTest *qts = start("-device virtio-rng-pci,id=r,addr=6");

    g_assert_cmphex(qtest_inl(qts, HP_UP), ==, 0); /* it was there from the start */
    ask_for(qts, "r");
    g_autofree char *again =
        qtest_qmp_error(qts, "{'execute': 'device_del', 'arguments': {'id': 'r'}}");
    g_assert_nonnull(strstr(again, "Device 'r' was asked to leave already"));
    qtest_clock_step(qts, 6 * G_GINT64_CONSTANT(1000000000));
    ask_for(qts, "r"); /* asking again later is no error */
    g_assert_true(is_there(qts, 6));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    expect_deleted(qts, "r");
    g_assert_false(is_there(qts, 6));
    add_rng(qts, "r", 6);
    g_assert_true(is_there(qts, 6));
    qtest_stop(qts);
}

static void test_functions_go_together(void)
{
    QTest *qts = start("");

    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'id': 'b', "
             "'addr': '7.1'}}"));
    g_assert_cmphex(qtest_inl(qts, HP_UP), ==, 0); /* not before function 0 */
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'id': 'a', "
             "'addr': '7.0', 'multifunction': true}}"));
    g_assert_cmphex(qtest_inl(qts, HP_UP), ==, 1 << 7);
    ask_for(qts, "b");
    qtest_outl(qts, HP_EJECT, 1 << 7);
    json_object_put(qtest_event(qts, "DEVICE_DELETED"));
    json_object_put(qtest_event(qts, "DEVICE_DELETED"));
    g_assert_false(is_there(qts, 7));
    qtest_stop(qts);
}

static void test_what_is_on_its_buses_goes_first(void)
{
    QTest *qts = start("-chardev null,id=n");

    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtio-serial-pci', 'id': 's', "
             "'addr': '4'}}"));
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtserialport', 'id': 'p', "
             "'chardev': 'n', 'bus': 's.0'}}"));
    ask_for(qts, "s");
    qtest_outl(qts, HP_EJECT, 1 << 4);
    expect_deleted(qts, "p");
    expect_deleted(qts, "s");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'chardev-remove', 'arguments': {'id': 'n'}}"));
    qtest_stop(qts);
}

static void test_the_chipset_stays(void)
{
    QTest *qts = start("-device virtio-rng-pci,id=r,addr=6");

    g_assert_cmphex(qtest_inl(qts, HP_REMOVE), ==, 0xfffffffc);
    qtest_outl(qts, HP_EJECT, 3);
    g_assert_cmphex(qpci_config_read(qts, 0, 0, 0, 4), ==, 0x12378086);
    g_assert_cmphex(qpci_config_read(qts, 0, PM_FN, 0, 4), ==, 0x71138086);
    qtest_outl(qts, HP_SELECT, 1); /* a bus that is not there */
    qtest_outl(qts, HP_EJECT, 0xffffffff);
    g_assert_cmphex(qtest_inl(qts, HP_REMOVE), ==, 0);
    qtest_outl(qts, HP_SELECT, 0);
    g_assert_true(is_there(qts, 6));
    qtest_outb(qts, HP_EJECT, 0x40); /* HARDENING row 16: narrow writes are no writes */
    g_assert_true(is_there(qts, 6));
    qtest_stop(qts);
}

static void test_refusals(void)
{
    QTest *qts = start("-device virtio-rng-pci,id=r,addr=6");
    g_autofree char *taken = qtest_qmp_error(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'addr': '6'}}");
    g_autofree char *cold = qtest_qmp_error(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'isa-serial', 'chardev': 'x'}}");
    g_autofree char *chipset =
        qtest_qmp_error(qts, "{'execute': 'device_add', 'arguments': {'driver': 'PIIX3'}}");
    g_autofree char *unknown =
        qtest_qmp_error(qts, "{'execute': 'device_del', 'arguments': {'id': 'nobody'}}");

    g_assert_nonnull(strstr(taken, "taken"));
    g_assert_nonnull(strstr(cold, "bus 'isa.0' takes devices only before the machine starts"));
    g_assert_nonnull(strstr(chipset, "is built into"));
    g_assert_nonnull(strstr(unknown, "there is no device 'nobody'"));
    g_assert_cmphex(qtest_inl(qts, HP_UP), ==, 0); /* what failed was never there */
    qtest_stop(qts);
}

static void test_paused_machines_take_devices(void)
{
    QTest *qts = start("");

    json_object_put(qtest_qmp_ok(qts, "{'execute': 'stop'}"));
    add_rng(qts, "r", 5);
    g_assert_cmphex(qtest_inl(qts, HP_UP), ==, 1 << 5);
    ask_for(qts, "r");
    qtest_outl(qts, HP_EJECT, 1 << 5);
    expect_deleted(qts, "r");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hotplug-pc/a-device-comes", test_a_device_comes);
    g_test_add_func("/hotplug-pc/a-device-that-came-works-and-goes",
                    test_a_device_that_came_works_and_goes);
    g_test_add_func("/hotplug-pc/a-reset-completes-a-removal", test_a_reset_completes_a_removal);
    g_test_add_func("/hotplug-pc/functions-go-together", test_functions_go_together);
    g_test_add_func("/hotplug-pc/what-is-on-its-buses-goes-first",
                    test_what_is_on_its_buses_goes_first);
    g_test_add_func("/hotplug-pc/the-chipset-stays", test_the_chipset_stays);
    g_test_add_func("/hotplug-pc/refusals-name-the-cause", test_refusals);
    g_test_add_func("/hotplug-pc/paused-machines-take-devices", test_paused_machines_take_devices);
    return g_test_run();
}
