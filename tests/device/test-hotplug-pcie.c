/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that come and go at a PCI Express root port: slot registers, interrupts, refusals. */
#include <linux/pci_regs.h>
#include <string.h>
#include "tests/device/libqtest.h"

#define PORT     0x08 /* 01.0 */
#define PORT_BAR 0xc0100000u

typedef struct Slot {
    QTest *qts;
    QPci *port;
    uint8_t cap;
} Slot;

static void slot_open(Slot *s, const char *args)
{
    s->qts = qtest_start("-m 32 -device pcie-root-port,id=rp,addr=1,chassis=1,slot=3%s", args);
    s->port = g_new0(QPci, 1); /* not qpci_open(): a bridge has two BARs */
    *s->port = (QPci){ .qts = s->qts, .devfn = PORT, .bar = { PORT_BAR }, .bar_size = { 4096 } };
    qpci_config_write(s->qts, 0, PORT, PCI_BASE_ADDRESS_0, PORT_BAR, 4);
    qpci_config_write(s->qts, 0, PORT, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    s->cap = qpci_find_capability(s->port, PCI_CAP_ID_EXP, 0);
    qpci_config_write(s->qts, 0, PORT, PCI_PRIMARY_BUS, 0x010100, 4);
    qpci_config_write(s->qts, 0, PORT, PCI_MEMORY_BASE, 0xc8f0c800, 4);
}

static void slot_close(Slot *s)
{
    g_free(s->port);
    qtest_stop(s->qts);
}

static uint32_t get(Slot *s, unsigned offset, unsigned size)
{
    return qpci_config_read(s->qts, 0, PORT, s->cap + offset, size);
}

static void set(Slot *s, unsigned offset, uint16_t value)
{
    qpci_config_write(s->qts, 0, PORT, s->cap + offset, value, 2);
}

static void add_rng(Slot *s, const char *id, const char *more)
{
    json_object_put(qtest_qmp_ok(s->qts,
                                 "{'execute': 'device_add', 'arguments': {'driver': "
                                 "'virtio-rng-pci', 'id': '%s', 'bus': 'rp'%s}}",
                                 id, more));
}

static void ask_for(Slot *s, const char *id)
{
    json_object_put(
        qtest_qmp_ok(s->qts, "{'execute': 'device_del', 'arguments': {'id': '%s'}}", id));
}

static void expect_deleted(Slot *s, const char *id)
{
    json_object *event = qtest_event(s->qts, "DEVICE_DELETED");
    g_assert_cmpstr(json_text(event, "data.device"), ==, id);
    json_object_put(event);
}

static bool is_there(Slot *s)
{
    return qpci_config_read(s->qts, 1, 0, 0, 4) != 0xffffffff;
}

static void power_off(Slot *s)
{
    set(s, PCI_EXP_SLTCTL,
        PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_ATTN_IND_OFF);
}

static void power_on(Slot *s)
{
    set(s, PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_PWR_IND_ON | PCI_EXP_SLTCTL_ATTN_IND_OFF);
}

static void test_an_empty_slot(void)
{
    Slot s;
    slot_open(&s, "");
    uint32_t caps = get(&s, PCI_EXP_SLTCAP, 4);
    g_assert_cmphex(caps & 0x7f, ==, 0x7b); /* button, power, lights, hotplug, surprise */
    g_assert_cmphex(get(&s, PCI_EXP_SLTSTA, 2), ==, 0);
    g_assert_cmphex(get(&s, PCI_EXP_LNKSTA, 2) & PCI_EXP_LNKSTA_DLLLA, ==, 0);
    g_assert_true(get(&s, PCI_EXP_SLTCTL, 2) & PCI_EXP_SLTCTL_PCC);
    slot_close(&s);
}

static void test_a_cold_device_has_power(void)
{
    Slot s;
    slot_open(&s, " -device virtio-rng-pci,bus=rp,id=r");
    g_assert_cmphex(get(&s, PCI_EXP_SLTSTA, 2), ==, PCI_EXP_SLTSTA_PDS);
    g_assert_true(get(&s, PCI_EXP_LNKSTA, 2) & PCI_EXP_LNKSTA_DLLLA);
    g_assert_cmphex(get(&s, PCI_EXP_SLTCTL, 2) & (PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC), ==,
                    PCI_EXP_SLTCTL_PWR_IND_ON);
    g_assert_true(is_there(&s));
    slot_close(&s);
}

static void wait_word(QTest *qts, uint64_t addr, uint32_t value)
{
    for (int i = 0; i < 5000 && qtest_read(qts, addr, 4) != value; i++) {
        g_usleep(1000);
    }
    g_assert_cmphex(qtest_read(qts, addr, 4), ==, value);
}

static void test_come_and_go(void)
{
    Slot s;
    slot_open(&s, "");
    uint64_t word = qpci_msix_aim(s.port, 0, 0x77);
    for (unsigned round = 0; round < 3; round++) {
        qtest_write(s.qts, word, 0, 4);
        set(&s, PCI_EXP_SLTSTA, 0x11f);
        set(&s, PCI_EXP_SLTCTL,
            get(&s, PCI_EXP_SLTCTL, 2) | PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_PDCE |
                PCI_EXP_SLTCTL_ABPE);
        g_assert_cmphex(qtest_read(s.qts, word, 4), ==, 0);
        add_rng(&s, "r", "");
        wait_word(s.qts, word, 0x77);
        uint16_t status = (uint16_t)get(&s, PCI_EXP_SLTSTA, 2);
        g_assert_cmphex(status & ~PCI_EXP_SLTSTA_CC, ==,
                        PCI_EXP_SLTSTA_PDS | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_ABP |
                            PCI_EXP_SLTSTA_DLLSC);
        g_assert_true(get(&s, PCI_EXP_LNKSTA, 2) & PCI_EXP_LNKSTA_DLLLA);
        set(&s, PCI_EXP_SLTSTA, status);
        g_assert_cmphex(get(&s, PCI_EXP_SLTSTA, 2), ==, PCI_EXP_SLTSTA_PDS);
        power_on(&s);
        g_assert_true(get(&s, PCI_EXP_SLTSTA, 2) & PCI_EXP_SLTSTA_CC);
        g_assert_true(is_there(&s));
        ask_for(&s, "r");
        g_assert_true(get(&s, PCI_EXP_SLTSTA, 2) & PCI_EXP_SLTSTA_ABP);
        g_assert_true(is_there(&s)); /* until the guest takes the power off */
        power_off(&s);
        g_assert_false(get(&s, PCI_EXP_SLTSTA, 2) & PCI_EXP_SLTSTA_PDS);
        expect_deleted(&s, "r");
        g_assert_false(is_there(&s));
    }
    slot_close(&s);
}

static void test_intx(void)
{
    Slot s;
    slot_open(&s, "");
    set(&s, PCI_EXP_SLTSTA, 0x11f);
    set(&s, PCI_EXP_SLTCTL,
        PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_PCC |
            PCI_EXP_SLTCTL_PWR_IND_OFF);
    g_assert_false(qpci_config_read(s.qts, 0, PORT, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    add_rng(&s, "r", "");
    g_assert_true(qpci_config_read(s.qts, 0, PORT, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    set(&s, PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_PDC);
    g_assert_false(qpci_config_read(s.qts, 0, PORT, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    slot_close(&s);
}

/* The system looks at the slot when function 0 came. */
static void test_functions_before_the_first(void)
{
    Slot s;
    slot_open(&s, "");
    add_rng(&s, "b", ", 'addr': '0.1', 'multifunction': true");
    g_assert_false(get(&s, PCI_EXP_SLTSTA, 2) & PCI_EXP_SLTSTA_PDS);
    add_rng(&s, "a", ", 'addr': '0.0', 'multifunction': true");
    g_assert_true(get(&s, PCI_EXP_SLTSTA, 2) & PCI_EXP_SLTSTA_PDS);
    power_on(&s);
    ask_for(&s, "a");
    power_off(&s);
    json_object_put(qtest_event(s.qts, "DEVICE_DELETED"));
    json_object_put(qtest_event(s.qts, "DEVICE_DELETED"));
    g_assert_false(is_there(&s));
    slot_close(&s);
}

static void test_refusals(void)
{
    Slot s;
    slot_open(&s, " -device virtio-rng-pci,bus=rp,id=r -device pcie-root-port,id=fixed,chassis=2,"
                  "hotplug=off");
    g_autofree char *full = qtest_qmp_error(s.qts, "{'execute': 'device_add', 'arguments': "
                                                   "{'driver': 'virtio-rng-pci', 'bus': 'rp'}}");
    g_assert_nonnull(strstr(full, "rp"));
    g_autofree char *fixed = qtest_qmp_error(s.qts,
                                             "{'execute': 'device_add', 'arguments': "
                                             "{'driver': 'virtio-rng-pci', 'bus': 'fixed'}}");
    g_assert_nonnull(strstr(fixed, "takes devices only before the machine starts"));
    /* The guest is busy with the slot: its light blinks. */
    set(&s, PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_PWR_IND_BLINK);
    g_autofree char *busy =
        qtest_qmp_error(s.qts, "{'execute': 'device_del', 'arguments': {'id': 'r'}}");
    g_assert_nonnull(strstr(busy, "asked to leave"));
    slot_close(&s);
}

/* HARDENING 16: the registers in every width and order, with a device coming and going. */
static void test_nonsense(void)
{
    Slot s;
    slot_open(&s, " -device virtio-rng-pci,bus=rp,id=r");
    for (unsigned i = 0; i < 2000; i++) {
        qpci_config_write(s.qts, 0, PORT, s.cap + 0x18 + i % 4, i * 0x9e3779b1u, 1 << i % 3);
    }
    json_object_put(qtest_qmp_ok(s.qts, "{'execute':'system_reset'}"));
    json_object_put(qtest_event(s.qts, "RESET"));
    g_assert_cmphex(get(&s, PCI_EXP_SLTSTA, 2) & ~PCI_EXP_SLTSTA_PDS, ==, 0);
    slot_close(&s);
}

static void number(QTest *qts, uint8_t bus, uint8_t devfn, unsigned secondary, unsigned last)
{
    qpci_config_write(qts, bus, devfn, PCI_PRIMARY_BUS, bus | secondary << 8 | last << 16, 4);
}

/* A switch: its ports are functions of the bus inside, devices hang behind them. */
static void test_switch(void)
{
    QTest *qts = qtest_start(
        "-m 32 -device pcie-root-port,id=rp,addr=1,chassis=1 -device x3130-upstream,id=up,bus=rp "
        "-device xio3130-downstream,id=d0,bus=up,chassis=2 "
        "-device xio3130-downstream,id=d1,bus=up,chassis=3 -device virtio-rng-pci,bus=d1,id=r");
    number(qts, 0, PORT, 1, 4);
    number(qts, 1, 0, 2, 4);
    number(qts, 2, 0, 3, 3);
    number(qts, 2, 8, 4, 4);
    g_assert_cmphex(qpci_config_read(qts, 1, 0, 0, 4), ==, 0x8232104c);
    g_assert_cmphex(qpci_config_read(qts, 2, 0, 0, 4), ==, 0x8233104c);
    g_assert_cmphex(qpci_config_read(qts, 2, 8, 0, 4), ==, 0x8233104c);
    g_assert_cmphex(qpci_config_read(qts, 4, 0, 0, 2), ==, 0x1af4);
    g_assert_cmphex(qpci_config_read(qts, 3, 0, 0, 4), ==, 0xffffffff);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'device_add', 'arguments': {'driver': "
                                      "'virtio-rng-pci', 'id': 's', 'bus': 'd0'}}"));
    g_assert_cmphex(qpci_config_read(qts, 3, 0, 0, 2), ==, 0x1af4);
    qtest_stop(qts);
    qtest_assert_refused("-device xio3130-downstream,chassis=1", "not inside a switch");
    qtest_assert_refused("-device x3130-upstream", "not behind a port");
    qtest_assert_refused("-device pcie-root-port,id=rp,chassis=1 -device ioh3420,chassis=1",
                         "taken by another port");
}

static void test_conventional_bridges(void)
{
    QTest *qts =
        qtest_start("-m 32 -device pci-bridge,id=b,addr=1,chassis_nr=1 "
                    "-device virtio-rng-pci,bus=b,addr=1e "
                    "-device pcie-pci-bridge,id=p,addr=2 -device virtio-rng-pci,bus=p,addr=3 "
                    "-device ioh3420,id=i,addr=3,chassis=7");
    number(qts, 0, 0x08, 1, 1);
    number(qts, 0, 0x10, 2, 2);
    g_assert_cmphex(qpci_config_read(qts, 0, 0x08, 0, 4), ==, 0x00011b36);
    g_assert_cmphex(qpci_config_read(qts, 0, 0x10, 0, 4), ==, 0x000e1b36);
    g_assert_cmphex(qpci_config_read(qts, 0, 0x18, 0, 4), ==, 0x34208086);
    g_assert_cmphex(qpci_config_read(qts, 1, 0x1e << 3, 0, 2), ==, 0x1af4);
    g_assert_cmphex(qpci_config_read(qts, 2, 3 << 3, 0, 2), ==, 0x1af4);
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hotplug-pcie/empty-slot", test_an_empty_slot);
    g_test_add_func("/hotplug-pcie/cold-device-has-power", test_a_cold_device_has_power);
    g_test_add_func("/hotplug-pcie/come-and-go", test_come_and_go);
    g_test_add_func("/hotplug-pcie/intx", test_intx);
    g_test_add_func("/hotplug-pcie/functions-before-the-first", test_functions_before_the_first);
    g_test_add_func("/hotplug-pcie/refusals", test_refusals);
    g_test_add_func("/hotplug-pcie/nonsense", test_nonsense);
    g_test_add_func("/hotplug-pcie/switch", test_switch);
    g_test_add_func("/hotplug-pcie/conventional-bridges", test_conventional_bridges);
    return g_test_run();
}
