/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI: configuration space, BARs, bridges and their windows, MSI-X. */
#include <linux/pci_regs.h>
#include <string.h>
#include "tests/device/libqtest.h"

#define ECAM  0xb0000000u
#define PANIC (5 << 3)
#define BAR   0xc5000000u

static QTest *start(const char *args)
{
    return qtest_start("-m 32 -action panic=none %s", args);
}

static uint32_t get(QTest *qts, uint8_t devfn, uint16_t reg)
{
    return qpci_config_read(qts, 0, devfn, reg, 4);
}

static void set(QTest *qts, uint8_t devfn, uint16_t reg, uint32_t value)
{
    qpci_config_write(qts, 0, devfn, reg, value, 4);
}

static void test_identity(void)
{
    QTest *qts = start("-device pvpanic-pci,addr=5");

    g_assert_cmphex(get(qts, PANIC, 0), ==, 0x00111b36);
    g_assert_cmphex(get(qts, PANIC, 0x2c), ==, 0x11001af4);
    g_assert_cmphex(get(qts, 0, 0), ==, 0x29c08086);
    g_assert_cmphex(get(qts, 0xf8, 0), ==, 0x29188086);
    g_assert_cmphex(get(qts, 0xf8, 8), ==, 0x06010002);
    g_assert_cmphex(get(qts, 6 << 3, 0), ==, 0xffffffff);
    g_assert_cmphex(qpci_config_read(qts, 7, 0, 0, 4), ==, 0xffffffff);
    set(qts, PANIC, 0, 0);
    g_assert_cmphex(get(qts, PANIC, 0), ==, 0x00111b36);
    qtest_stop(qts);
}

static void test_config_ports(void)
{
    QTest *qts = start("");

    qtest_outl(qts, 0xcf8, 0x80000000);
    g_assert_cmphex(qtest_inw(qts, 0xcfe), ==, 0x29c0);
    g_assert_cmphex(qtest_inb(qts, 0xcfd), ==, 0x80);
    qtest_outb(qts, 0xcf8, 0x55); /* only a double word reaches the register */
    qtest_outw(qts, 0xcfa, 0x5555);
    g_assert_cmphex(qtest_inl(qts, 0xcf8), ==, 0x80000000);
    qtest_outl(qts, 0xcf8, 0); /* not enabled */
    g_assert_cmphex(qtest_inl(qts, 0xcfc), ==, 0xffffffff);
    qtest_stop(qts);
}

static void test_ecam(void)
{
    QTest *qts = start("-device pvpanic-pci,addr=5");

    g_assert_cmphex(qtest_read(qts, ECAM, 4), ==, 0xffffffff);
    set(qts, 0, 0x60, ECAM | 1);
    g_assert_cmphex(qtest_read(qts, ECAM, 4), ==, 0x29c08086);
    g_assert_cmphex(qtest_read(qts, ECAM + (PANIC << 12) + 2, 2), ==, 0x0011);
    g_assert_cmphex(qtest_read(qts, ECAM + (PANIC << 12) + 0x100, 4), ==, 0xffffffff);
    g_assert_cmphex(qtest_read(qts, ECAM + (PANIC << 12) + 0xfff, 4) & 0xff, ==, 0xff);
    g_assert_cmphex(qtest_read(qts, ECAM + 0x0ffffffc, 4), ==, 0xffffffff);
    qtest_write(qts, ECAM + (PANIC << 12) + 0x3c, 0x0b, 1);
    g_assert_cmphex(get(qts, PANIC, 0x3c) & 0xff, ==, 0x0b);
    set(qts, 0, 0x60, 0x80000003); /* 128 MiB elsewhere */
    g_assert_cmphex(qtest_read(qts, ECAM, 4), ==, 0xffffffff);
    g_assert_cmphex(qtest_read(qts, 0x80000000, 4), ==, 0x29c08086);
    g_assert_cmphex(qtest_read(qts, 0x88000000, 4), ==, 0xffffffff);
    qtest_stop(qts);
}

static void test_bar(void)
{
    QTest *qts = start("-device pvpanic-pci,addr=5");

    set(qts, PANIC, 0x10, 0xffffffff);
    g_assert_cmphex(get(qts, PANIC, 0x10), ==, 0xfffffff0);
    set(qts, PANIC, 4, 2); /* decoding on with the sizing pattern: nothing happens */
    g_assert_cmphex(get(qts, PANIC, 0), ==, 0x00111b36);
    set(qts, PANIC, 0x10, BAR + 7);
    g_assert_cmphex(get(qts, PANIC, 0x10), ==, BAR);
    g_assert_cmphex(qtest_read(qts, BAR, 1), ==, 3);
    set(qts, PANIC, 0x10, BAR + 0x100);
    g_assert_cmphex(qtest_read(qts, BAR, 1), ==, 0xff);
    g_assert_cmphex(qtest_read(qts, BAR + 0x100, 1), ==, 3);
    set(qts, PANIC, 4, 0);
    g_assert_cmphex(qtest_read(qts, BAR + 0x100, 1), ==, 0xff);
    qtest_stop(qts);
}

/* A BAR put over RAM or over the board's registers hides neither. */
static void test_bar_over_others(void)
{
    QTest *qts = start("-device pvpanic-pci,addr=5");

    qtest_write(qts, 0x100000, 0x12345678, 4);
    set(qts, PANIC, 4, 2);
    set(qts, PANIC, 0x10, 0x100000);
    g_assert_cmphex(qtest_read(qts, 0x100000, 4), ==, 0x12345678);
    set(qts, PANIC, 0x10, 0);
    g_assert_cmphex(get(qts, PANIC, 0), ==, 0x00111b36);
    qtest_stop(qts);
}

static void test_multifunction(void)
{
    QTest *qts =
        start("-device pvpanic-pci,addr=5.0,multifunction=on -device pvpanic-pci,addr=5.3");

    g_assert_cmphex(get(qts, PANIC, 0x0c) & 0x800000, ==, 0x800000);
    g_assert_cmphex(get(qts, PANIC + 3, 0), ==, 0x00111b36);
    g_assert_cmphex(get(qts, PANIC + 1, 0), ==, 0xffffffff);
    qtest_stop(qts);
    qtest_assert_refused("-device pvpanic-pci,addr=5 -device pvpanic-pci,addr=5", "taken");
    qtest_assert_refused("-device pvpanic-pci,addr=5 -device pvpanic-pci,addr=5.1",
                         "multifunction=on");
}

#define PORT (1 << 3)

static QTest *start_behind_port(void)
{
    return start("-device pcie-root-port,id=rp,addr=1,chassis=1,slot=3,port=2 "
                 "-device pvpanic-pci,bus=rp");
}

static void test_bridge_numbers(void)
{
    QTest *qts = start_behind_port();

    g_assert_cmphex(get(qts, PORT, 0), ==, 0x000c1b36);
    g_assert_cmphex(get(qts, PORT, 0x0c) & 0x7f0000, ==, 0x010000);
    g_assert_cmphex(qpci_config_read(qts, 1, 0, 0, 4), ==, 0xffffffff);
    set(qts, PORT, 0x18, 0x00020200);
    g_assert_cmphex(qpci_config_read(qts, 2, 0, 0, 4), ==, 0x00111b36);
    g_assert_cmphex(qpci_config_read(qts, 1, 0, 0, 4), ==, 0xffffffff);
    set(qts, PORT, 0x18, 0x00ffff00);
    g_assert_cmphex(qpci_config_read(qts, 0xff, 0, 0, 4), ==, 0x00111b36);
    set(qts, PORT, 0x18, 0);
    g_assert_cmphex(qpci_config_read(qts, 0xff, 0, 0, 4), ==, 0xffffffff);
    qtest_stop(qts);
}

static void test_bridge_windows(void)
{
    QTest *qts = start_behind_port();

    set(qts, PORT, 0x18, 0x00010100);
    qpci_config_write(qts, 1, 0, 0x10, BAR, 4);
    qpci_config_write(qts, 1, 0, 4, 2, 2);
    g_assert_cmphex(qtest_read(qts, BAR, 1), ==, 0xff);
    set(qts, PORT, 0x20, 0xc500c500); /* one megabyte at 0xc5000000 */
    g_assert_cmphex(qtest_read(qts, BAR, 1), ==, 0xff);
    set(qts, PORT, 4, 2);
    g_assert_cmphex(qtest_read(qts, BAR, 1), ==, 3);
    set(qts, PORT, 0x20, 0xc400c600); /* base above limit: closed */
    g_assert_cmphex(qtest_read(qts, BAR, 1), ==, 0xff);
    set(qts, PORT, 0x24, 0xc510c4f0); /* through the prefetchable one */
    g_assert_cmphex(qtest_read(qts, BAR, 1), ==, 3);
    set(qts, PORT, 4, 0);
    g_assert_cmphex(qtest_read(qts, BAR, 1), ==, 0xff);
    qtest_stop(qts);
}

static void test_bridge_slot(void)
{
    QTest *qts = start_behind_port();
    uint8_t cap = get(qts, PORT, 0x34);

    while (cap && (get(qts, PORT, cap) & 0xff) != PCI_CAP_ID_EXP) {
        cap = get(qts, PORT, cap) >> 8;
    }
    g_assert_cmphex(cap, !=, 0);
    g_assert_cmphex(get(qts, PORT, cap) >> 16, ==, 0x0142); /* root port with a slot */
    g_assert_cmphex(get(qts, PORT, cap + PCI_EXP_SLTCAP) >> 19, ==, 3);
    g_assert_cmphex(get(qts, PORT, cap + PCI_EXP_LNKCAP) >> 24, ==, 2);
    qtest_stop(qts);
    qtest_assert_refused("-device pcie-root-port,id=a,chassis=1 "
                         "-device pcie-root-port,id=b,chassis=1",
                         "chassis=1");
    qtest_assert_refused("-device pcie-root-port,id=a -device pvpanic-pci,bus=a,addr=1", "slot 0");
}

/* A masked vector's message waits, shows in the pending bits, and goes out when the mask does. */
static void test_msix_mask(void)
{
    QTest *qts = start("-device virtio-rng-pci,addr=4");
    QVirtio *dev = qvirtio_new(qpci_open(qts, 4 << 3));
    uint8_t cap = qpci_find_capability(dev->pci, PCI_CAP_ID_MSIX, 0);
    uint32_t table = get(qts, 4 << 3, cap + PCI_MSIX_TABLE);
    uint32_t pba = get(qts, 4 << 3, cap + PCI_MSIX_PBA);
    unsigned bar = table & 7;
    uint64_t target = qpci_msix_aim(dev->pci, 0, 0xcafe);
    QBuffer buffer = { .addr = qtest_alloc(qts, 16, 16), .len = 16, .write = true };

    qvirtio_reset(dev);
    qvirtio_negotiate(dev, 1ULL << 32);
    QVirtQueue *vq = qvirtqueue_new(dev, 0, 8, 0);
    qvirtio_driver_ok(dev);
    qpci_write(dev->pci, bar, (table & ~7) + PCI_MSIX_ENTRY_VECTOR_CTRL, 1, 4);
    qvirtqueue_add(vq, &buffer, 1);
    qvirtqueue_kick(vq);
    qvirtqueue_wait(vq, NULL);
    while (!(qpci_read(dev->pci, bar, pba & ~7, 4) & 1)) {
        g_usleep(1000); /* the used ring is seen before the interrupt */
    }
    g_assert_cmphex(qtest_read(qts, target, 4), ==, 0);
    qpci_write(dev->pci, bar, pba & ~7, 0, 4); /* read-only */
    g_assert_cmphex(qpci_read(dev->pci, bar, pba & ~7, 8) & 1, ==, 1);
    qpci_write(dev->pci, bar, (table & ~7) + PCI_MSIX_ENTRY_VECTOR_CTRL, 0, 4);
    for (unsigned i = 0; i < 5000 && qtest_read(qts, target, 4) != 0xcafe; i++) {
        g_usleep(1000);
    }
    g_assert_cmphex(qtest_read(qts, target, 4), ==, 0xcafe);
    g_assert_cmphex(qpci_read(dev->pci, bar, pba & ~7, 4), ==, 0);
    qvirtqueue_free(vq);
    qvirtio_free(dev);
    qtest_stop(qts);
}

/* HARDENING rows 4, 16, 24: every function's every byte, any width; the machine lives. */
static void test_nonsense(void)
{
    QTest *qts = start("-device pcie-root-port,id=rp,addr=1,chassis=1 -device "
                       "virtio-rng-pci,bus=rp -device virtio-rng-pci,addr=4 -device "
                       "pvpanic-pci,addr=5");
    static const uint8_t devfns[] = { 0, PORT, 4 << 3, PANIC, 0xf8 };
    g_autoptr(GRand) random = g_rand_new_with_seed(5);

    set(qts, PORT, 0x18, 0x00010100);
    for (unsigned i = 0; i < 4000; i++) {
        uint8_t bus = g_rand_int_range(random, 0, 2);
        uint8_t devfn = bus ? 0 : devfns[g_rand_int_range(random, 0, G_N_ELEMENTS(devfns))];
        unsigned size = 1 << g_rand_int_range(random, 0, 3);
        uint16_t reg = g_rand_int_range(random, 0, 256 / size) * size;
        if (devfn == PORT && reg / 4 == 6) {
            continue; /* the bus number stays */
        }
        qpci_config_write(qts, bus, devfn, reg, g_rand_int(random), size);
        qpci_config_read(qts, bus, devfn, reg, size);
        qtest_read(qts, (uint64_t)g_rand_int(random) & ~7ULL, 8);
    }
    g_assert_cmphex(get(qts, 0, 0), ==, 0x29c08086);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(get(qts, PANIC, 4) & 0xffff, ==, 0);
    g_assert_cmphex(get(qts, PANIC, 0x10), ==, 0);
    qtest_stop(qts);
}

static void test_info_pci(void)
{
    QTest *qts = start_behind_port();
    g_autofree char *text = qtest_hmp(qts, "info pci");

    g_assert_nonnull(strstr(text, "Host bridge: PCI device 8086:29c0"));
    g_assert_nonnull(strstr(text, "secondary bus"));
    g_assert_nonnull(strstr(text, "1b36:0011"));
    qtest_stop(qts);
}

static json_object *function_at(json_object *devices, unsigned slot)
{
    for (size_t i = 0; i < json_object_array_length(devices); i++) {
        json_object *function = json_object_array_get_idx(devices, i);
        if (json_object_get_int(json_at(function, "slot")) == (int)slot) {
            return function;
        }
    }
    return NULL;
}

/* The same for programs, before and after a guest has numbered the bus and placed the BAR. */
static void test_query_pci(void)
{
    QTest *qts = start_behind_port();
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-pci'}");
    g_assert_cmpuint(json_object_array_length(list), ==, 1);
    json_object *devices = json_at(json_object_array_get_idx(list, 0), "devices");
    json_object *port = function_at(devices, 1);

    g_assert_cmpint(json_object_get_int(json_at(function_at(devices, 0), "id.device")), ==, 0x29c0);
    g_assert_null(function_at(devices, 5));
    g_assert_cmpstr(json_text(port, "qdev_id"), ==, "rp");
    g_assert_cmpint(json_object_get_int(json_at(port, "class_info.class")), ==, 0x604);
    g_assert_cmpstr(json_text(port, "class_info.desc"), ==, "PCI bridge");
    g_assert_cmpstr(json_text(port, "pci_bridge.bus.secondary"), ==, "0");
    g_assert_null(json_at(port, "pci_bridge.devices")); /* there is no address yet behind it */
    json_object_put(list);

    set(qts, PORT, 0x18, 0x00030300);
    set(qts, PORT, 0x20, 0xc500c500);
    set(qts, PORT, 4, 2);
    qpci_config_write(qts, 3, 0, 0x10, BAR, 4);
    qpci_config_write(qts, 3, 0, 4, 2, 2);
    list = qtest_qmp_ok(qts, "{'execute': 'query-pci'}");
    port = function_at(json_at(json_object_array_get_idx(list, 0), "devices"), 1);
    g_assert_cmpstr(json_text(port, "pci_bridge.bus.secondary"), ==, "3");
    g_assert_cmpint(json_object_get_int64(json_at(port, "pci_bridge.bus.memory_range.base")), ==,
                    BAR);
    g_assert_cmpint(json_object_get_int64(json_at(port, "pci_bridge.bus.memory_range.limit")), ==,
                    BAR + 0xfffff);
    json_object *panic = function_at(json_at(port, "pci_bridge.devices"), 0);
    g_assert_cmpstr(json_text(panic, "bus"), ==, "3");
    g_assert_cmpint(json_object_get_int(json_at(panic, "id.vendor")), ==, 0x1b36);
    g_assert_cmpint(json_object_get_int(json_at(panic, "id.subsystem")), ==, 0x1100);
    json_object *region = json_object_array_get_idx(json_at(panic, "regions"), 0);
    g_assert_cmpstr(json_text(region, "type"), ==, "memory");
    g_assert_cmpint(json_object_get_int64(json_at(region, "address")), ==, BAR);
    json_object_put(list);
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pci/identity-is-read-only", test_identity);
    g_test_add_func("/pci/configuration-ports", test_config_ports);
    g_test_add_func("/pci/ecam", test_ecam);
    g_test_add_func("/pci/bar-sizing-and-moving", test_bar);
    g_test_add_func("/pci/bar-hides-nothing", test_bar_over_others);
    g_test_add_func("/pci/multifunction", test_multifunction);
    g_test_add_func("/pci/bridge-bus-numbers", test_bridge_numbers);
    g_test_add_func("/pci/bridge-windows", test_bridge_windows);
    g_test_add_func("/pci/root-port-slot", test_bridge_slot);
    g_test_add_func("/pci/msix-mask-and-pending", test_msix_mask);
    g_test_add_func("/pci/nonsense-is-survived", test_nonsense);
    g_test_add_func("/pci/info-pci", test_info_pci);
    g_test_add_func("/pci/query-pci", test_query_pci);
    return g_test_run();
}
