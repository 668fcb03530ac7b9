/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc's chipset: i440FX with PAM and SMRAM, PIIX3's interrupt routing and reset, PIIX4's ACPI block.
 */
#include "tests/device/libqtest.h"

#define PMC     0x00
#define PIIX3   0x08
#define PM_FN   0x0b
#define PM      0x600
#define GPE     0xafe0
#define SCI_GSI 9
#define SMRAM   0x72

static QTest *start(const char *args)
{
    QTest *qts = qtest_start("-machine pc -m 32 %s", args);

    qtest_intercept(qts);
    qpci_config_write(qts, 0, PM_FN, 0x40, PM, 4);
    qpci_config_write(qts, 0, PM_FN, 0x80, 1, 1);
    return qts;
}

static void test_functions(void)
{
    static const struct {
        uint8_t devfn;
        uint32_t id, class_revision;
        uint8_t header;
    } functions[] = {
        { PMC, 0x12378086, 0x06000002, 0x00 },
        { PIIX3, 0x70008086, 0x06010000, 0x80 },
        { 0x09, 0x70108086, 0x01018000, 0x00 },
        { PM_FN, 0x71138086, 0x06800003, 0x00 },
    };
    QTest *qts = start("");

    for (unsigned i = 0; i < G_N_ELEMENTS(functions); i++) {
        uint8_t devfn = functions[i].devfn;
        g_assert_cmphex(qpci_config_read(qts, 0, devfn, 0, 4), ==, functions[i].id);
        g_assert_cmphex(qpci_config_read(qts, 0, devfn, 8, 4), ==, functions[i].class_revision);
        g_assert_cmphex(qpci_config_read(qts, 0, devfn, 0xe, 1), ==, functions[i].header);
    }
    g_assert_cmphex(qpci_config_read(qts, 0, 0x10, 0, 4), ==, 0xffffffff);
    qtest_stop(qts);
}

static void test_reset_values(void)
{
    QTest *qts = start("");

    qpci_config_write(qts, 0, PIIX3, 0x4c, 0, 4);
    qpci_config_write(qts, 0, PIIX3, 0x60, 0x0b0a0b0a, 4);
    g_assert_cmphex(qpci_config_read(qts, 0, PIIX3, 0x60, 4), ==, 0x0b0a0b0a);
    qtest_outb(qts, 0xcf9, 0x06);
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(qpci_config_read(qts, 0, PIIX3, 0x4c, 4), ==, 0x0003004d);
    g_assert_cmphex(qpci_config_read(qts, 0, PIIX3, 0x60, 4), ==, 0x80808080);
    g_assert_cmphex(qpci_config_read(qts, 0, PIIX3, 0xa0, 4), ==, 0x00000008);
    g_assert_cmphex(qpci_config_read(qts, 0, PM_FN, 0x40, 4), ==, 1);
    g_assert_cmphex(qpci_config_read(qts, 0, PM_FN, 0x58, 4), ==, 0x02000000);
    g_assert_cmphex(qtest_inw(qts, PM), ==, 0xffff);
    qtest_stop(qts);
}

static void test_pam(void)
{
    QTest *qts = start("");

    g_assert_cmphex(qtest_read(qts, 0xf0000, 4), ==, 0xffffffff);
    qpci_config_write(qts, 0, PMC, 0x59, 0x30, 1);
    qtest_write(qts, 0xf0000, 0x12345678, 4);
    g_assert_cmphex(qtest_read(qts, 0xf0000, 4), ==, 0x12345678);
    qpci_config_write(qts, 0, PMC, 0x59, 0x10, 1);
    qtest_write(qts, 0xf0000, 0, 4);
    g_assert_cmphex(qtest_read(qts, 0xf0000, 4), ==, 0x12345678);
    qpci_config_write(qts, 0, PMC, 0x5a, 0x03, 1); /* 0xc0000 only */
    qtest_write(qts, 0xc0000, 0x55, 1);
    qtest_write(qts, 0xc4000, 0x55, 1);
    g_assert_cmphex(qtest_read(qts, 0xc0000, 1), ==, 0x55);
    g_assert_cmphex(qtest_read(qts, 0xc4000, 1), ==, 0xff);
    qtest_stop(qts);
}

static void test_smram(void)
{
    QTest *qts = start("");

    g_assert_cmphex(qpci_config_read(qts, 0, PMC, SMRAM, 1), ==, 0x02);
    qtest_write(qts, 0xa0000, 0x55, 1);
    g_assert_cmphex(qtest_read(qts, 0xa0000, 1), ==, 0xff);
    qpci_config_write(qts, 0, PMC, SMRAM, 0x4a, 1);
    qtest_write(qts, 0xa0000, 0x55, 1);
    g_assert_cmphex(qtest_read(qts, 0xa0000, 1), ==, 0x55);
    qpci_config_write(qts, 0, PMC, SMRAM, 0x5a, 1); /* open and locked: locked wins */
    g_assert_cmphex(qpci_config_read(qts, 0, PMC, SMRAM, 1), ==, 0x1a);
    g_assert_cmphex(qtest_read(qts, 0xa0000, 1), ==, 0xff);
    qpci_config_write(qts, 0, PMC, SMRAM, 0x4a, 1);
    g_assert_cmphex(qpci_config_read(qts, 0, PMC, SMRAM, 1), ==, 0x1a);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(qpci_config_read(qts, 0, PMC, SMRAM, 1), ==, 0x02);
    qpci_config_write(qts, 0, PMC, SMRAM, 0x4a, 1);
    g_assert_cmphex(qpci_config_read(qts, 0, PMC, SMRAM, 1), ==, 0x4a);
    qtest_stop(qts);
}

static void test_pm_block_moves(void)
{
    QTest *qts = start("");

    g_assert_cmphex(qpci_config_read(qts, 0, PM_FN, 0x40, 4), ==, PM | 1);
    qtest_outw(qts, PM + 2, 0x100);
    qpci_config_write(qts, 0, PM_FN, 0x40, 0xb000, 4);
    g_assert_cmphex(qtest_inw(qts, PM + 2), ==, 0xffff);
    g_assert_cmphex(qtest_inw(qts, 0xb002), ==, 0x100);
    g_assert_cmphex(qtest_inl(qts, 0xb020), ==, 0); /* GPE0 is not in the block */
    qpci_config_write(qts, 0, PM_FN, 0x80, 0, 1);
    g_assert_cmphex(qtest_inw(qts, 0xb002), ==, 0xffff);
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
    qtest_outb(qts, 0xb2, 0xf1);
    g_assert_cmphex(qtest_inw(qts, PM + 4), ==, 1);
    qtest_wait_irq(qts, SCI_GSI, true);
    qtest_outw(qts, PM, 0x100);
    qtest_wait_irq(qts, SCI_GSI, false);
    qtest_outb(qts, 0xb2, 0xf0);
    g_assert_cmphex(qtest_inw(qts, PM + 4), ==, 0);
    qtest_stop(qts);
}

static void test_gpe_block(void)
{
    QTest *qts = start("");

    qtest_outw(qts, GPE + 2, 0xffff);
    g_assert_cmphex(qtest_inl(qts, GPE), ==, 0xffff0000);
    qtest_outb(qts, GPE + 3, 0x00);
    g_assert_cmphex(qtest_inw(qts, GPE + 2), ==, 0x00ff);
    qtest_outw(qts, GPE, 0xffff);
    g_assert_cmphex(qtest_inw(qts, GPE), ==, 0);
    qtest_stop(qts);
}

static void test_soft_off(void)
{
    QTest *qts = start("");

    qtest_outw(qts, PM + 4, 0x2000);
    json_object_put(qtest_event(qts, "SHUTDOWN"));
    g_assert_cmpint(qtest_wait_exit(qts), ==, 0);
    qtest_free(qts);
}

/* A function without MSI-X raises INTA of slot 4: PIRQD, whose register names an ISA interrupt. */
static void test_intx_routing(void)
{
    QTest *qts = start("-device virtio-rng-pci,addr=4,vectors=0");
    QVirtio *dev = qvirtio_new(qpci_open(qts, 4 << 3));
    QVirtQueue *vq;
    QBuffer buffer = { .addr = qtest_alloc(qts, 16, 16), .len = 16, .write = true };

    qpci_config_write(qts, 0, PIIX3, 0x63, 0x0b, 1);
    qvirtio_reset(dev);
    qvirtio_negotiate(dev, 1ULL << 32);
    vq = qvirtqueue_new(dev, 0, 8, 0xffff);
    qvirtio_driver_ok(dev);
    qvirtqueue_add(vq, &buffer, 1);
    qvirtqueue_kick(vq);
    qtest_wait_irq(qts, 11, true);
    qpci_config_write(qts, 0, PIIX3, 0x63, 0x05, 1); /* another route takes the line along */
    qtest_wait_irq(qts, 5, true);
    g_assert_false(qts->irq[11]);
    qpci_config_write(qts, 0, PIIX3, 0x63, 0x80, 1);
    qtest_wait_irq(qts, 5, false);
    qpci_config_write(qts, 0, PIIX3, 0x63, 0x0a, 1);
    qtest_wait_irq(qts, 10, true);
    qpci_read(dev->pci, dev->isr.bar, dev->isr.offset, 1); /* reading it acknowledges */
    qtest_wait_irq(qts, 10, false);
    qvirtqueue_free(vq);
    qvirtio_free(dev);
    qtest_stop(qts);
}

/* HARDENING rows 16 and 24: any width at any place of ports and configuration space. */
static void test_nonsense(void)
{
    static const uint16_t ports[] = { 0x92,  0xb2,   PM,        PM + 0x3c, GPE,    0xcf8,
                                      0xcfc, 0xae00, GPE + 0x4, 0xae08,    0xae10, 0x4d0 };
    static const uint8_t functions[] = { PMC, PIIX3, 0x09, PM_FN, 0x0a };
    QTest *qts = start("-action reboot=reset,shutdown=pause");
    g_autoptr(GRand) random = g_rand_new_with_seed(5);

    for (unsigned i = 0; i < 3000; i++) {
        uint16_t port = ports[g_rand_int_range(random, 0, G_N_ELEMENTS(ports))] +
                        g_rand_int_range(random, 0, 4);
        unsigned size = 1U << g_rand_int_range(random, 0, 3);
        switch (g_rand_int_range(random, 0, 5)) {
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
            qtest_inl(qts, port);
            break;
        default:
            qpci_config_write(
                qts, 0, functions[g_rand_int_range(random, 0, G_N_ELEMENTS(functions))],
                g_rand_int_range(random, 0, 256 / size) * size, g_rand_int(random), size);
            break;
        }
    }
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
    g_assert_cmphex(qpci_config_read(qts, 0, 0, 0, 4), ==, 0x12378086);
    qtest_stop(qts);
}

static void test_refusals(void)
{
    qtest_assert_refused("-machine pc -device PIIX3", "PIIX3");
    qtest_assert_refused("-machine pc -device virtio-rng-pci,addr=1.0", "PIIX3");
    qtest_assert_refused("-machine pc -device pcie-root-port", "root port");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i440fx/functions", test_functions);
    g_test_add_func("/i440fx/reset-values", test_reset_values);
    g_test_add_func("/i440fx/pam", test_pam);
    g_test_add_func("/i440fx/smram-opens-and-locks", test_smram);
    g_test_add_func("/i440fx/pm-block-moves", test_pm_block_moves);
    g_test_add_func("/i440fx/power-button", test_power_button);
    g_test_add_func("/i440fx/gpe-block-stands-apart", test_gpe_block);
    g_test_add_func("/i440fx/soft-off", test_soft_off);
    g_test_add_func("/i440fx/intx-routing", test_intx_routing);
    g_test_add_func("/i440fx/nonsense-is-survived", test_nonsense);
    g_test_add_func("/i440fx/refusals-name-the-cause", test_refusals);
    return g_test_run();
}
