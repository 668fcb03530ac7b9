/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ISA DMA and the floppy controller: commands, DMA and PIO, media, hostile registers. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

#define GSI     6
#define BUFFER  0x12000
#define SECTOR  512
#define SIZE144 (2880 * SECTOR)

static char *make_image(size_t size)
{
    char *path = g_build_filename(g_get_tmp_dir(), "fdc-XXXXXX", NULL);
    g_autofree uint8_t *data = g_malloc(size);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i / SECTOR * 7 + i);
    }
    int fd = g_mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    g_file_set_contents(path, (char *)data, (gssize)size, NULL);
    return path;
}

static void expect_sector(const uint8_t *data, unsigned sector)
{
    for (unsigned i = 0; i < SECTOR; i++) {
        g_assert_cmphex(data[i], ==, (uint8_t)(sector * 7 + sector * SECTOR + i));
    }
}

static uint8_t msr(QTest *qts)
{
    return qtest_inb(qts, 0x3f4);
}

static void wait_msr(QTest *qts, uint8_t bits)
{
    gint64 end = g_get_monotonic_time() + QTEST_TIMEOUT_MS * 1000LL;
    while ((msr(qts) & 0xc0) != bits) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

static void send(QTest *qts, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        wait_msr(qts, 0x80);
        qtest_outb(qts, 0x3f5, bytes[i]);
    }
}

#define SEND(qts, ...)                                                                             \
    send(qts, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* The result phase as text. */
static char *result(QTest *qts)
{
    GString *text = g_string_new(NULL);
    wait_msr(qts, 0xc0);
    for (unsigned i = 0; i < 16 && (msr(qts) & 0xd0) == 0xd0; i++) {
        g_string_append_printf(text, "%s%02x", i ? " " : "", qtest_inb(qts, 0x3f5));
    }
    return g_string_free(text, FALSE);
}

static void expect_result(QTest *qts, const char *expected)
{
    g_autofree char *got = result(qts);
    g_assert_cmpstr(got, ==, expected);
}

static void reset_controller(QTest *qts)
{
    qtest_outb(qts, 0x3f2, 0x08);
    g_assert_cmphex(msr(qts), ==, 0);
    qtest_outb(qts, 0x3f2, 0x1c);
    qtest_wait_irq(qts, GSI, true);
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *expected = g_strdup_printf("%02x 00", 0xc0 + i);
        SEND(qts, 0x08);
        expect_result(qts, expected);
    }
    g_assert_false(qts->irq[GSI]);
    qtest_outb(qts, 0x3f7, 0); /* 500 kbit/s */
    SEND(qts, 0x03, 0xaf, 0x02);
}

static QTest *start(const char *image, const char *more)
{
    QTest *qts = qtest_start("-m 32 -drive file=%s,format=raw,if=floppy%s", image, more);
    qtest_intercept(qts);
    reset_controller(qts);
    return qts;
}

/* Channel 2: mode 0x46 into memory, 0x4a out of it. */
static void aim_dma(QTest *qts, uint8_t mode, uint32_t addr, unsigned bytes)
{
    qtest_outb(qts, 0x0a, 0x06);
    qtest_outb(qts, 0x0c, 0);
    qtest_outb(qts, 0x0b, mode);
    qtest_outb(qts, 0x04, (uint8_t)addr);
    qtest_outb(qts, 0x04, (uint8_t)(addr >> 8));
    qtest_outb(qts, 0x81, (uint8_t)(addr >> 16));
    qtest_outb(qts, 0x05, (uint8_t)(bytes - 1));
    qtest_outb(qts, 0x05, (uint8_t)((bytes - 1) >> 8));
    qtest_outb(qts, 0x0a, 0x02);
}

static void test_dma_registers(void)
{
    QTest *qts = qtest_start("-m 32");
    g_assert_cmphex(qtest_inb(qts, 0x0f), ==, 0xff);
    aim_dma(qts, 0x46, 0x123456, 0x200);
    g_assert_cmphex(qtest_inb(qts, 0x0f), ==, 0xfb);
    qtest_outb(qts, 0x0c, 0);
    g_assert_cmphex(qtest_inb(qts, 0x04), ==, 0x56);
    g_assert_cmphex(qtest_inb(qts, 0x04), ==, 0x34);
    g_assert_cmphex(qtest_inb(qts, 0x05), ==, 0xff);
    g_assert_cmphex(qtest_inb(qts, 0x05), ==, 0x01);
    g_assert_cmphex(qtest_inb(qts, 0x81), ==, 0x12);
    qtest_outb(qts, 0x0d, 0);
    g_assert_cmphex(qtest_inb(qts, 0x0f), ==, 0xff);
    qtest_outb(qts, 0xd4, 0x01); /* the second chip, every other port */
    qtest_outb(qts, 0xc4, 0x78);
    qtest_outb(qts, 0xc4, 0x56);
    g_assert_cmphex(qtest_inb(qts, 0xc4), ==, 0x78);
    g_assert_cmphex(qtest_inb(qts, 0xc4), ==, 0x56);
    qtest_outb(qts, 0x80, 0xa5); /* POST code */
    g_assert_cmphex(qtest_inb(qts, 0x80), ==, 0xa5);
    qtest_stop(qts);
}

static void test_identity(void)
{
    g_autofree char *image = make_image(SIZE144);
    QTest *qts = start(image, "");
    SEND(qts, 0x10);
    expect_result(qts, "90");
    SEND(qts, 0x18);
    expect_result(qts, "41");
    SEND(qts, 0x13, 0x00, 0x57, 0x10);
    SEND(qts, 0x94);
    expect_result(qts, "10");
    SEND(qts, 0x12, 0x84);
    SEND(qts, 0x0e);
    expect_result(qts, "00 00 00 00 af 02 00 84 57 10");
    qtest_outb(qts, 0x3f4, 0x80); /* software reset: the lock keeps */
    SEND(qts, 0x0e);
    expect_result(qts, "00 00 00 00 af 02 00 84 57 10");
    SEND(qts, 0x14);
    expect_result(qts, "00");
    SEND(qts, 0x1f);
    expect_result(qts, "80");
    SEND(qts, 0x04, 0x00);
    expect_result(qts, "38");
    qtest_outb(qts, 0x70, 0x10);
    g_assert_cmphex(qtest_inb(qts, 0x71), ==, 0x40);
    qtest_stop(qts);
    g_unlink(image);
}

static void test_seek_and_change_line(void)
{
    g_autofree char *image = make_image(SIZE144);
    QTest *qts = start(image, "");
    g_assert_cmphex(qtest_inb(qts, 0x3f7) & 0x80, ==, 0x80);
    SEND(qts, 0x0f, 0x00, 0x05);
    qtest_wait_irq(qts, GSI, true);
    SEND(qts, 0x08);
    expect_result(qts, "20 05");
    g_assert_false(qts->irq[GSI]);
    g_assert_cmphex(qtest_inb(qts, 0x3f7) & 0x80, ==, 0);
    SEND(qts, 0x0a, 0x04);
    qtest_wait_irq(qts, GSI, true);
    expect_result(qts, "04 00 00 05 01 01 02");
    SEND(qts, 0x07, 0x00);
    SEND(qts, 0x08);
    expect_result(qts, "20 00");
    SEND(qts, 0x08); /* nothing to tell */
    expect_result(qts, "80");
    SEND(qts, 0x07, 0x01); /* no such drive */
    SEND(qts, 0x08);
    expect_result(qts, "71 00");
    qtest_stop(qts);
    g_unlink(image);
}

static void test_read_by_dma(void)
{
    g_autofree char *image = make_image(SIZE144);
    uint8_t data[SECTOR * 4];
    QTest *qts = start(image, "");
    aim_dma(qts, 0x46, BUFFER, sizeof(data));
    /* MT: the last two sectors of cylinder 1 head 0, then two of head 1 */
    SEND(qts, 0xe6, 0x00, 1, 0, 17, 2, 18, 0x1b, 0xff);
    qtest_wait_irq(qts, GSI, true);
    expect_result(qts, "04 00 00 01 01 03 02");
    g_assert_cmphex(qtest_inb(qts, 0x08) & 0x04, ==, 0x04);
    qtest_memread(qts, BUFFER, data, sizeof(data));
    for (unsigned i = 0; i < 4; i++) {
        expect_sector(data + i * SECTOR, 36 + 16 + i);
    }
    aim_dma(qts, 0x46, BUFFER, 0x2000);
    SEND(qts, 0x46, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff); /* the track ends first */
    expect_result(qts, "40 80 00 01 00 01 02");
    SEND(qts, 0x46, 0x00, 0, 0, 19, 2, 20, 0x1b, 0xff);
    expect_result(qts, "40 04 00 00 00 13 02");
    SEND(qts, 0x46, 0x00, 80, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(qts, "40 04 00 50 00 01 02");
    qtest_outb(qts, 0x3f7, 2); /* the wrong rate */
    SEND(qts, 0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(qts, "40 01 00 00 00 01 02");
    qtest_stop(qts);
    g_unlink(image);
}

static void test_dma_programmed_late(void)
{
    g_autofree char *image = make_image(SIZE144);
    uint8_t data[SECTOR];
    QTest *qts = start(image, "");
    SEND(qts, 0x46, 0x00, 0, 0, 3, 2, 18, 0x1b, 0xff);
    g_assert_cmphex(msr(qts) & 0x90, ==, 0x10);
    aim_dma(qts, 0x46, BUFFER, SECTOR);
    qtest_wait_irq(qts, GSI, true);
    expect_result(qts, "00 00 00 00 00 04 02");
    qtest_memread(qts, BUFFER, data, sizeof(data));
    expect_sector(data, 2);
    qtest_stop(qts);
    g_unlink(image);
}

static void test_write_and_format(void)
{
    g_autofree char *image = make_image(SIZE144);
    g_autofree char *contents = NULL;
    QTest *qts = start(image, "");
    qtest_memset(qts, BUFFER, 0x5a, SECTOR);
    aim_dma(qts, 0x4a, BUFFER, SECTOR);
    SEND(qts, 0xc5, 0x04, 0, 1, 1, 2, 18, 0x1b, 0xff);
    expect_result(qts, "04 00 00 00 01 02 02");
    uint8_t ids[18 * 4];
    for (unsigned i = 0; i < 18; i++) {
        memcpy(ids + i * 4, (const uint8_t[]){ 79, 0, (uint8_t)(i + 1), 2 }, 4);
    }
    qtest_memwrite(qts, BUFFER, ids, sizeof(ids));
    aim_dma(qts, 0x4a, BUFFER, sizeof(ids));
    SEND(qts, 0x0f, 0x00, 79);
    SEND(qts, 0x08);
    g_free(result(qts));
    SEND(qts, 0x4d, 0x00, 2, 18, 0x54, 0xf6);
    expect_result(qts, "00 00 00 4f 00 12 02");
    qtest_stop(qts);
    g_file_get_contents(image, &contents, NULL, NULL);
    g_assert_cmphex((uint8_t)contents[18 * SECTOR], ==, 0x5a);
    g_assert_cmphex((uint8_t)contents[19 * SECTOR], !=, 0x5a);
    g_assert_cmphex((uint8_t)contents[79 * 36 * SECTOR], ==, 0xf6);
    g_assert_cmphex((uint8_t)contents[(79 * 36 + 18) * SECTOR - 1], ==, 0xf6);
    expect_sector((uint8_t *)contents + (79 * 36 + 18) * SECTOR, 79 * 36 + 18);
    g_unlink(image);
}

static void test_read_only(void)
{
    g_autofree char *image = make_image(SIZE144);
    QTest *qts = start(image, ",readonly=on");
    SEND(qts, 0x04, 0x00);
    expect_result(qts, "78");
    SEND(qts, 0x45, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(qts, "40 02 00 00 00 01 02");
    SEND(qts, 0x4d, 0x00, 2, 18, 0x54, 0xf6);
    expect_result(qts, "40 02 00 00 00 01 02");
    qtest_stop(qts);
    g_unlink(image);
}

static void test_pio(void)
{
    g_autofree char *image = make_image(SIZE144);
    uint8_t data[2 * SECTOR];
    QTest *qts = start(image, "");
    SEND(qts, 0x03, 0xaf, 0x03); /* no DMA */
    SEND(qts, 0x46, 0x00, 0, 0, 1, 2, 2, 0x1b, 0xff);
    for (unsigned i = 0; i < sizeof(data); i++) {
        if (i % SECTOR == 0) {
            wait_msr(qts, 0xc0);
            g_assert_cmphex(msr(qts), ==, 0xf0);
        }
        data[i] = qtest_inb(qts, 0x3f5);
    }
    expect_sector(data, 0);
    expect_sector(data + SECTOR, 1);
    expect_result(qts, "40 80 00 01 00 01 02");
    SEND(qts, 0x45, 0x00, 0, 0, 5, 2, 5, 0x1b, 0xff);
    for (unsigned i = 0; i < SECTOR; i++) {
        qtest_outb(qts, 0x3f5, 0x77);
    }
    expect_result(qts, "40 80 00 01 00 01 02");
    qtest_stop(qts);
    g_unlink(image);
}

static void expect_type(size_t size, uint8_t rate, uint8_t cmos, uint8_t last)
{
    g_autofree char *image = make_image(size);
    QTest *qts = start(image, "");
    qtest_outb(qts, 0x70, 0x10);
    g_assert_cmphex(qtest_inb(qts, 0x71) >> 4, ==, cmos);
    qtest_outb(qts, 0x3f7, rate);
    aim_dma(qts, 0x46, BUFFER, SECTOR);
    SEND(qts, 0x46, 0x00, 0, 0, last, 2, last, 0x1b, 0xff);
    expect_result(qts, "00 00 00 01 00 01 02");
    SEND(qts, 0x46, 0x00, 0, 0, (uint8_t)(last + 1), 2, 60, 0x1b, 0xff);
    g_autofree char *behind = result(qts);
    g_assert_true(g_str_has_prefix(behind, "40 04"));
    qtest_stop(qts);
    g_unlink(image);
}

static void test_media_types(void)
{
    expect_type(720 * 1024, 2, 4, 9);
    expect_type(1200 * 1024, 0, 2, 15);
    expect_type(1440 * 1024, 0, 4, 18);
    expect_type(2880 * 1024, 3, 5, 36);
}

static void test_media_change(void)
{
    g_autofree char *image = make_image(SIZE144);
    g_autofree char *other = make_image(720 * 1024);
    QTest *qts = start(image, ",id=fd");
    SEND(qts, 0x0f, 0x00, 0x01);
    SEND(qts, 0x08);
    expect_result(qts, "20 01");
    g_assert_cmphex(qtest_inb(qts, 0x3f7) & 0x80, ==, 0);
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'blockdev-change-medium', 'arguments': "
                                 "{'device': 'fd', 'filename': '%s', 'format': 'raw'}}",
                                 other));
    g_assert_cmphex(qtest_inb(qts, 0x3f7) & 0x80, ==, 0x80);
    qtest_outb(qts, 0x3f7, 2);
    aim_dma(qts, 0x46, BUFFER, SECTOR);
    SEND(qts, 0x46, 0x00, 0, 0, 9, 2, 9, 0x1b, 0xff);
    expect_result(qts, "00 00 00 01 00 01 02");
    json_object_put(
        qtest_qmp_ok(qts, "{'execute': 'eject', 'arguments': {'device': 'fd', 'force': true}}"));
    SEND(qts, 0x46, 0x00, 0, 0, 1, 2, 9, 0x1b, 0xff);
    expect_result(qts, "40 01 00 00 00 01 02");
    qtest_stop(qts);
    g_unlink(image);
    g_unlink(other);
}

static void test_command_line(void)
{
    g_autofree char *image = make_image(SIZE144);
    QTest *qts = qtest_start("-m 32 -device isa-fdc -drive if=none,id=d,format=raw,file=%s -device "
                             "floppy,drive=d,unit=1,drive-type=288",
                             image);
    qtest_outb(qts, 0x70, 0x10);
    g_assert_cmphex(qtest_inb(qts, 0x71), ==, 0x05);
    qtest_stop(qts);
    g_autofree char *taken =
        g_strdup_printf("-drive if=floppy,format=raw,file=%s -device floppy,unit=0", image);
    qtest_assert_refused(taken, "taken");
    g_autofree char *absent =
        g_strdup_printf("-machine microvm -drive if=floppy,format=raw,file=%s", image);
    qtest_assert_refused(absent, "floppy");
    g_unlink(image);
}

/* HARDENING rows 11, 15, 24 (and CVE-2015-3456, a FIFO index that never stops): any bytes at any
 * moment, resets while sectors are on their way; then the controller works. */
static void test_nonsense(void)
{
    g_autofree char *image = make_image(SIZE144);
    QTest *qts = start(image, "");
    g_autoptr(GRand) random = g_rand_new_with_seed(3);
    aim_dma(qts, 0x56, BUFFER, SECTOR);
    for (unsigned i = 0; i < 6000; i++) {
        uint8_t value = (uint8_t)g_rand_int(random);
        uint16_t port = (uint16_t)(0x3f2 + g_rand_int_range(random, 0, 4));
        if (i % 97 == 0) {
            qtest_outb(qts, 0x3f2, (uint8_t)(0x18 | (value & 4)));
        } else {
            qtest_outb(qts, i % 5 ? 0x3f5 : port, i % 5 ? value : value | 0x1c);
        }
        qtest_inb(qts, port);
    }
    for (unsigned command = 0; command < 256; command++) {
        for (unsigned i = 0; i < 600; i++) {
            qtest_outb(qts, 0x3f5, i ? 0x41 : (uint8_t)command);
        }
        reset_controller(qts);
    }
    aim_dma(qts, 0x46, BUFFER, SECTOR);
    SEND(qts, 0x46, 0x00, 7, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(qts, "00 00 00 07 00 02 02");
    qtest_stop(qts);
    g_unlink(image);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fdc/dma-registers", test_dma_registers);
    g_test_add_func("/fdc/identity-and-settings", test_identity);
    g_test_add_func("/fdc/seek-and-disk-change-line", test_seek_and_change_line);
    g_test_add_func("/fdc/read-by-dma", test_read_by_dma);
    g_test_add_func("/fdc/dma-programmed-late", test_dma_programmed_late);
    g_test_add_func("/fdc/write-and-format", test_write_and_format);
    g_test_add_func("/fdc/read-only-medium", test_read_only);
    g_test_add_func("/fdc/pio", test_pio);
    g_test_add_func("/fdc/media-types", test_media_types);
    g_test_add_func("/fdc/media-change", test_media_change);
    g_test_add_func("/fdc/command-line", test_command_line);
    g_test_add_func("/fdc/nonsense-is-survived", test_nonsense);
    return g_test_run();
}
