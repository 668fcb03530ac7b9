/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion ROMs of PCI functions: romfile and rombar. */
#include <glib/gstdio.h>
#include <string.h>
#include "tests/device/libqtest-fw-cfg.h"
#include "vmm/util/bytes.h"

#define FILE_NAME   "test-rom.bin"
#define KERNEL_NAME "test-rom.kernel"
#define FILE_SIZE   3000 /* a BAR of 4 KiB */
#define BAR_SIZE    4096
#define ROM_BAR     0x30
#define ADDRESS     0xc8000000U
#define DEVFN       (5 << 3)

static void write_rom(void)
{
    uint8_t data[FILE_SIZE];
    for (unsigned i = 0; i < FILE_SIZE; i++) {
        data[i] = (uint8_t)(i * 7);
    }
    g_assert_true(g_file_set_contents(FILE_NAME, (char *)data, FILE_SIZE, NULL));
}

static QTest *start(const char *props)
{
    write_rom();
    return qtest_start("-m 32 -device virtio-rng-pci,addr=5%s", props);
}

static void stop(QTest *qts)
{
    qtest_stop(qts);
    g_unlink(FILE_NAME);
}

static uint32_t bar_size(QTest *qts)
{
    qpci_config_write(qts, 0, DEVFN, ROM_BAR, 0xfffffffe, 4);
    return -(qpci_config_read(qts, 0, DEVFN, ROM_BAR, 4) & ~1U);
}

static void map(QTest *qts)
{
    qpci_config_write(qts, 0, DEVFN, ROM_BAR, ADDRESS | 1, 4);
    qpci_config_write(qts, 0, DEVFN, 4, 2, 2);
}

static void test_the_file_is_read_through_the_bar(void)
{
    QTest *qts = start(",romfile=" FILE_NAME);
    g_assert_cmphex(bar_size(qts), ==, BAR_SIZE);
    map(qts);
    for (unsigned i = 0; i < FILE_SIZE; i += 97) {
        g_assert_cmphex(qtest_read(qts, ADDRESS + i, 1), ==, (uint8_t)(i * 7));
    }
    g_assert_cmphex(qtest_read(qts, ADDRESS + BAR_SIZE - 4, 4), ==, 0xffffffff);
    qtest_write(qts, ADDRESS, 0, 4); /* it is ROM */
    g_assert_cmphex(qtest_read(qts, ADDRESS, 4), ==, 0x150e0700);
    stop(qts);
}

static void test_it_decodes_only_when_enabled(void)
{
    QTest *qts = start(",romfile=" FILE_NAME);
    map(qts);
    g_assert_cmphex(qtest_read(qts, ADDRESS, 4), ==, 0x150e0700);
    qpci_config_write(qts, 0, DEVFN, ROM_BAR, ADDRESS, 4);
    g_assert_cmphex(qtest_read(qts, ADDRESS, 4), ==, 0xffffffff);
    map(qts);
    qpci_config_write(qts, 0, DEVFN, 4, 0, 2);
    g_assert_cmphex(qtest_read(qts, ADDRESS, 4), ==, 0xffffffff);
    map(qts);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(qtest_read(qts, ADDRESS, 4), ==, 0xffffffff);
    g_assert_cmphex(qpci_config_read(qts, 0, DEVFN, ROM_BAR, 4), ==, 0);
    stop(qts);
}

static void test_no_rom_no_bar(void)
{
    static const char *const without[] = { "", ",romfile=", (",rombar=0,romfile=" FILE_NAME) };
    for (size_t i = 0; i < G_N_ELEMENTS(without); i++) {
        QTest *qts = start(without[i]);
        qpci_config_write(qts, 0, DEVFN, ROM_BAR, 0xffffffff, 4);
        g_assert_cmphex(qpci_config_read(qts, 0, DEVFN, ROM_BAR, 4), ==, 0);
        stop(qts);
    }
}

/* The packaged ROM of a network card names the card's own ids in each image. */
static void test_packaged_rom_has_the_cards_ids(void)
{
    QTest *qts = qtest_start("-m 32 -netdev user,id=n -device virtio-net-pci,netdev=n,addr=5,"
                             "disable-legacy=on");
    uint32_t size = bar_size(qts);
    if (size == 0) {
        g_test_skip("the package with network boot ROMs is not installed");
        qtest_stop(qts);
        return;
    }
    map(qts);
    unsigned images = 0;
    for (uint32_t at = 0; at < size && qtest_read(qts, ADDRESS + at, 2) == 0xaa55; images++) {
        uint32_t data = ADDRESS + at + (uint32_t)qtest_read(qts, ADDRESS + at + 0x18, 2);
        g_assert_cmphex(qtest_read(qts, data + 4, 4), ==, 0x10411af4);
        at += (uint32_t)qtest_read(qts, data + 0x10, 2) * 512;
    }
    g_assert_cmpuint(images, >=, 1);
    qtest_stop(qts);
}

static void test_roms_without_a_card(void)
{
    write_rom();
    QTest *qts = qtest_start(
        "-m 32 -option-rom " FILE_NAME ",bootindex=2 -no-fd-bootchk "
        "-netdev user,id=n -device virtio-net-pci,netdev=n,addr=5,bootindex=1 -boot strict=on");
    uint32_t size;
    g_autofree uint8_t *data = qfw_read(qts, "genroms/" FILE_NAME, &size);
    g_assert_nonnull(data);
    g_assert_cmpuint(size, ==, FILE_SIZE);
    g_assert_cmphex(data[97], ==, (uint8_t)(97 * 7));
    g_autofree uint8_t *order = qfw_read(qts, "bootorder", &size);
    g_assert_cmpstr((char *)order, ==,
                    "/pci@i0cf8/ethernet@5/ethernet-phy@0\n/rom@genroms/" FILE_NAME "\nHALT");
    qtest_outb(qts, 0x70, 0x38);
    g_assert_cmphex(qtest_inb(qts, 0x71) & 1, ==, 1); /* floppies without a signature boot */
    stop(qts);
}

static void test_wrong_roms_without_a_card(void)
{
    qtest_assert_refused("-option-rom nix", "-option-rom nix: could not open 'nix'");
    qtest_assert_refused("-option-rom bootindex=1", "'file' is missing");
    qtest_assert_refused("-option-rom x,bootindex=-1", "bootindex");
    qtest_assert_refused("-option-rom x,foo=1", "foo");
    qtest_assert_refused("-option-rom x,bootindex=1 -option-rom y,bootindex=1",
                         "is taken: by -option-rom x");
    write_rom();
    qtest_assert_refused("-option-rom " FILE_NAME " -option-rom ./" FILE_NAME, FILE_NAME);
    qtest_assert_refused("-option-rom " FILE_NAME ",bootindex=1 "
                         "-netdev user,id=n -device virtio-net-pci,netdev=n,bootindex=1",
                         "is taken: by -option-rom (" FILE_NAME ")");
    g_unlink(FILE_NAME);
}

/* Nothing would run the ROM: that is said. */
static void test_no_rom_for_a_kernel_without_firmware(void)
{
    const uint32_t multiboot[8] = { 0x1badb002, 0x10000,  0xe4514ffe, 0x100000,
                                    0x100000,   0x100020, 0x100020,   0x100000 };
    g_assert_true(
        g_file_set_contents(KERNEL_NAME, (const char *)multiboot, sizeof(multiboot), NULL));
    write_rom();
    qtest_assert_refused("-kernel " KERNEL_NAME " -option-rom " FILE_NAME, "started directly");
    qtest_stop(qtest_start("-m 32 -kernel " KERNEL_NAME));
    g_unlink(FILE_NAME);
    g_unlink(KERNEL_NAME);
}

static void test_wrong_files(void)
{
    qtest_assert_refused("-device virtio-rng-pci,romfile=nix", "romfile=nix: could not open 'nix'");
    qtest_assert_refused("-device virtio-rng-pci,romfile=.", "not a regular file");
    qtest_assert_refused("-device virtio-rng-pci,rombar=2", "rombar");
    write_rom();
    qtest_assert_refused("-device pcie-root-port,romfile=" FILE_NAME, "a bridge has no expansion");
    g_unlink(FILE_NAME);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rom/the-file-is-read-through-the-bar", test_the_file_is_read_through_the_bar);
    g_test_add_func("/rom/it-decodes-only-when-enabled", test_it_decodes_only_when_enabled);
    g_test_add_func("/rom/no-rom-no-bar", test_no_rom_no_bar);
    g_test_add_func("/rom/packaged-rom-has-the-cards-ids", test_packaged_rom_has_the_cards_ids);
    g_test_add_func("/rom/wrong-files", test_wrong_files);
    g_test_add_func("/rom/roms-without-a-card", test_roms_without_a_card);
    g_test_add_func("/rom/wrong-roms-without-a-card", test_wrong_roms_without_a_card);
    g_test_add_func("/rom/no-rom-for-a-kernel-without-firmware",
                    test_no_rom_for_a_kernel_without_firmware);
    return g_test_run();
}
