/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first MiB of q35: firmware's ROM and shadow RAM by the PAM registers. */
#include <glib/gstdio.h>
#include <string.h>
#include "tests/device/libqtest.h"
#include "vmm/util/bytes.h"

#define MCH      0
#define PAM0     0x90
#define ROM_SIZE (256 * KIB)

/* A ROM whose every 16-bit word is its number. */
static char *write_rom(void)
{
    g_autofree uint8_t *rom = g_malloc(ROM_SIZE);
    GError *error = NULL;
    char *path = NULL;
    for (unsigned i = 0; i < ROM_SIZE / 2; i++) {
        store_le16(rom + 2 * i, i);
    }
    int fd = g_file_open_tmp("vireo-rom-XXXXXX", &path, &error);
    g_assert_no_error(error);
    g_close(fd, NULL);
    g_file_set_contents(path, (const char *)rom, ROM_SIZE, &error);
    g_assert_no_error(error);
    return path;
}

static QTest *start(char **rom)
{
    *rom = write_rom();
    return qtest_start("-m 32 -bios %s", *rom);
}

static void stop(QTest *qts, char *rom)
{
    qtest_stop(qts);
    g_unlink(rom);
    g_free(rom);
}

static uint16_t rom_word(uint32_t addr)
{
    return (addr - (1 * MIB - ROM_SIZE)) / 2;
}

static void set_pam(QTest *qts, unsigned index, uint8_t value)
{
    qpci_config_write(qts, 0, MCH, PAM0 + index, value, 1);
}

static void test_reset_shows_the_rom(void)
{
    char *rom;
    QTest *qts = start(&rom);
    g_assert_cmphex(qtest_read(qts, 0xe0000, 2), ==, rom_word(0xe0000));
    g_assert_cmphex(qtest_read(qts, 0xffff0, 2), ==, rom_word(0xffff0));
    g_assert_cmphex(qtest_read(qts, 0xfffffff0, 2), ==, rom_word(0xffff0));
    g_assert_cmphex(qtest_read(qts, 0xc0000, 4), ==, 0xffffffff);
    g_assert_cmphex(qtest_read(qts, 0xa0000, 4), ==, 0xffffffff);
    qtest_write(qts, 0xf0000, 0x55aa, 2);
    qtest_write(qts, 0xc0000, 0x55aa, 2);
    g_assert_cmphex(qtest_read(qts, 0xf0000, 2), ==, rom_word(0xf0000));
    g_assert_cmphex(qtest_read(qts, 0xc0000, 2), ==, 0xffff);
    stop(qts, rom);
}

static void test_writes_to_ram_reads_from_rom(void)
{
    char *rom;
    QTest *qts = start(&rom);
    set_pam(qts, 0, 0x20);
    /* Copying a ROM onto itself is how firmware shadows it. */
    for (uint32_t at = 0xf0000; at < 0xf0010; at += 2) {
        uint16_t word = qtest_read(qts, at, 2);
        g_assert_cmphex(word, ==, rom_word(at));
        qtest_write(qts, at, word ^ 0xffff, 2);
        g_assert_cmphex(qtest_read(qts, at, 2), ==, rom_word(at));
    }
    set_pam(qts, 0, 0x10);
    g_assert_cmphex(qtest_read(qts, 0xf0002, 2), ==, rom_word(0xf0002) ^ 0xffff);
    qtest_write(qts, 0xf0002, 0, 2);
    g_assert_cmphex(qtest_read(qts, 0xf0002, 2), ==, rom_word(0xf0002) ^ 0xffff);
    set_pam(qts, 0, 0x30);
    qtest_write(qts, 0xf0002, 0x1234, 2);
    g_assert_cmphex(qtest_read(qts, 0xf0002, 2), ==, 0x1234);
    set_pam(qts, 0, 0x20);
    g_assert_cmphex(qtest_read(qts, 0xf0002, 2), ==, rom_word(0xf0002));
    set_pam(qts, 0, 0x00);
    g_assert_cmphex(qtest_read(qts, 0xf0002, 2), ==, rom_word(0xf0002));
    stop(qts, rom);
}

static void test_each_register_has_its_segment(void)
{
    char *rom;
    QTest *qts = start(&rom);
    for (unsigned i = 0; i < 12; i++) {
        uint32_t base = 0xc0000 + i * 0x4000;
        uint64_t before = qtest_read(qts, base + 0x4000, 4);
        set_pam(qts, 1 + i / 2, i & 1 ? 0x30 : 0x03);
        qtest_write(qts, base, 0xa5a50000 | i, 4);
        qtest_write(qts, base + 0x3ffc, 0x5a5a0000 | i, 4);
        g_assert_cmphex(qtest_read(qts, base, 4), ==, 0xa5a50000 | i);
        g_assert_cmphex(qtest_read(qts, base + 0x3ffc, 4), ==, 0x5a5a0000 | i);
        g_assert_cmphex(qtest_read(qts, base + 0x4000, 4), ==, before);
        set_pam(qts, 1 + i / 2, 0);
        g_assert_cmphex(qtest_read(qts, base, 4), !=, 0xa5a50000 | i);
    }
    /* Bits that do not exist stay 0. */
    set_pam(qts, 0, 0xff);
    g_assert_cmphex(qpci_config_read(qts, 0, MCH, PAM0, 1), ==, 0x30);
    set_pam(qts, 1, 0xff);
    g_assert_cmphex(qpci_config_read(qts, 0, MCH, PAM0 + 1, 1), ==, 0x33);
    stop(qts, rom);
}

static void test_reset_brings_the_rom_back(void)
{
    char *rom;
    QTest *qts = start(&rom);
    set_pam(qts, 0, 0x30);
    qtest_write(qts, 0xffff0, 0xdead, 2);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(qtest_read(qts, 0xffff0, 2), ==, rom_word(0xffff0));
    set_pam(qts, 0, 0x30);
    g_assert_cmphex(qtest_read(qts, 0xffff0, 2), ==, 0xdead);
    stop(qts, rom);
}

static void test_a_write_across_segments(void)
{
    char *rom;
    QTest *qts = start(&rom);
    set_pam(qts, 1, 0x32); /* 0xc0000 written only, 0xc4000 RAM */
    qtest_write(qts, 0xc3ffe, 0x44332211, 4);
    g_assert_cmphex(qtest_read(qts, 0xc3ffe, 4), ==, 0x4433ffff);
    set_pam(qts, 1, 0x33);
    g_assert_cmphex(qtest_read(qts, 0xc3ffe, 4), ==, 0x44332211);
    stop(qts, rom);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pam/reset-shows-the-rom", test_reset_shows_the_rom);
    g_test_add_func("/pam/writes-to-ram-reads-from-rom", test_writes_to_ram_reads_from_rom);
    g_test_add_func("/pam/each-register-has-its-segment", test_each_register_has_its_segment);
    g_test_add_func("/pam/reset-brings-the-rom-back", test_reset_brings_the_rom_back);
    g_test_add_func("/pam/a-write-across-segments", test_a_write_across_segments);
    return g_test_run();
}
