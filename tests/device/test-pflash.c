/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flash memory: Intel's commands, what reaches the image, what is refused. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

#define CODE_SIZE 0x40000
#define VARS_SIZE 0x10000
#define CODE      (0x100000000ULL - CODE_SIZE)
#define VARS      (CODE - VARS_SIZE)
#define BLOCK     4096

enum { READY = 0x80, ERASE_ERROR = 0x20, PROGRAM_ERROR = 0x10, LOCKED = 0x02 };

typedef struct Flash {
    char *code, *vars;
    QTest *qts;
} Flash;

static char *make_image(size_t size, uint8_t fill)
{
    g_autofree uint8_t *data = g_malloc(size + 1);
    char *path = NULL;
    int fd = g_file_open_tmp("vireo-flash-XXXXXX", &path, NULL);

    memset(data, fill, size);
    g_assert_cmpint(write(fd, data, size), ==, (ssize_t)size);
    close(fd);
    return path;
}

static void open_flash(Flash *f, const char *options)
{
    f->code = make_image(CODE_SIZE, 0xc0);
    f->vars = make_image(VARS_SIZE, 0xff);
    f->qts = qtest_start("-m 32 -drive if=pflash,unit=0,format=raw,readonly=on,file=%s "
                         "-drive if=pflash,unit=1,format=raw,file=%s %s",
                         f->code, f->vars, options);
}

static void close_flash(Flash *f)
{
    qtest_stop(f->qts);
    g_unlink(f->code);
    g_unlink(f->vars);
    g_free(f->code);
    g_free(f->vars);
}

static uint8_t wait_ready(Flash *f, uint64_t at)
{
    uint8_t status;

    qtest_write(f->qts, at, 0x70, 1);
    while (!((status = qtest_read(f->qts, at, 1)) & READY)) {
        g_usleep(100);
    }
    return status;
}

static uint8_t program(Flash *f, uint64_t at, uint8_t value)
{
    qtest_write(f->qts, at, 0x40, 1);
    qtest_write(f->qts, at, value, 1);
    return wait_ready(f, at);
}

static uint8_t erase(Flash *f, uint64_t at)
{
    qtest_write(f->qts, at, 0x20, 1);
    qtest_write(f->qts, at, 0xd0, 1);
    return wait_ready(f, at);
}

static void read_array(Flash *f, uint64_t at)
{
    qtest_write(f->qts, at, 0xff, 1);
}

static uint8_t image_byte(const char *path, size_t offset)
{
    g_autofree char *data = NULL;
    size_t size;

    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    g_assert_cmpuint(offset, <, size);
    return data[offset];
}

static void test_layout(void)
{
    Flash f;

    open_flash(&f, "");
    g_assert_cmphex(qtest_read(f.qts, CODE, 4), ==, 0xc0c0c0c0);
    g_assert_cmphex(qtest_read(f.qts, 0xfffffff0, 8), ==, 0xc0c0c0c0c0c0c0c0);
    g_assert_cmphex(qtest_read(f.qts, 0xffff0, 4), ==, 0xc0c0c0c0); /* below 1 MiB too */
    g_assert_cmphex(qtest_read(f.qts, VARS, 4), ==, 0xffffffff);
    close_flash(&f);
}

static void test_identification(void)
{
    Flash f;

    open_flash(&f, "");
    qtest_write(f.qts, VARS + 0x55, 0x98, 1);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x10, 1), ==, 'Q');
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x11, 2), ==, 'R' | 'Y' << 8);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x13, 1), ==, 0x01);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x27, 1), ==, 16); /* 64 KiB */
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x28, 2), ==, 2);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x2a, 2), ==, 8); /* buffers of 256 bytes */
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x2d, 4), ==, (VARS_SIZE / BLOCK - 1) | 0x10 << 16);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x31, 4), ==, 'P' | 'R' << 8 | 'I' << 16 | '1' << 24);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0xfff8, 8), ==, 0);
    qtest_write(f.qts, VARS, 0x90, 1);
    g_assert_cmphex(qtest_read(f.qts, VARS, 2), ==, 0); /* no chip's name */
    read_array(&f, VARS);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x10, 1), ==, 0xff);
    close_flash(&f);
}

static void test_program_and_erase_reach_the_image(void)
{
    Flash f;

    open_flash(&f, "");
    g_assert_cmphex(program(&f, VARS + 5, 0xf0), ==, READY);
    g_assert_cmphex(program(&f, VARS + 5, 0x3c), ==, READY); /* bits only go to 0 */
    g_assert_cmphex(image_byte(f.vars, 5), ==, 0x30);
    read_array(&f, VARS);
    g_assert_cmphex(qtest_read(f.qts, VARS + 5, 1), ==, 0x30);
    g_assert_cmphex(program(&f, VARS + BLOCK, 0), ==, READY);
    g_assert_cmphex(erase(&f, VARS + 7), ==, READY);
    g_assert_cmphex(image_byte(f.vars, 5), ==, 0xff);
    g_assert_cmphex(image_byte(f.vars, BLOCK), ==, 0); /* another block */
    close_flash(&f);
}

static void test_buffered_program(void)
{
    Flash f;

    open_flash(&f, "");
    qtest_write(f.qts, VARS + 0x810, 0xe8, 1);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x810, 1), ==, READY);
    qtest_write(f.qts, VARS + 0x810, 7, 1);
    qtest_write(f.qts, VARS + 0x810, 0x04030201, 4);
    qtest_write(f.qts, VARS + 0x814, 0x08070605, 4);
    qtest_write(f.qts, VARS + 0x810, 0xd0, 1);
    g_assert_cmphex(wait_ready(&f, VARS), ==, READY);
    read_array(&f, VARS);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x810, 8), ==, 0x0807060504030201);
    g_assert_cmphex(qtest_read(f.qts, VARS + 0x818, 1), ==, 0xff);
    g_assert_cmphex(image_byte(f.vars, 0x817), ==, 8);
    close_flash(&f);
}

/* What OVMF takes for flash memory: not a RAM, not a ROM, and a status of 0 once cleared. */
static void test_firmware_probes(void)
{
    Flash f;

    open_flash(&f, "");
    qtest_write(f.qts, VARS, 0x50, 1);
    g_assert_cmphex(qtest_read(f.qts, VARS, 1), ==, 0xff);
    qtest_write(f.qts, VARS, 0x70, 1);
    g_assert_cmphex(qtest_read(f.qts, VARS, 1), ==, 0);
    read_array(&f, VARS);
    qtest_write(f.qts, VARS, 0x60, 1);
    qtest_write(f.qts, VARS, 0xd0, 1); /* unlocks */
    g_assert_cmphex(wait_ready(&f, VARS), ==, READY);
    read_array(&f, VARS);
    g_assert_cmphex(qtest_read(f.qts, VARS, 1), ==, 0xff);
    close_flash(&f);
}

/* OVMF never looks whether the chip is ready. Scattered bytes fill every queue there is. */
static void test_unpolled_bursts(void)
{
    Flash f;
    uint32_t count = 600;

    open_flash(&f, "");
    for (uint32_t i = 0; i < count; i++) {
        qtest_write(f.qts, VARS + i, 0x10, 1);
        qtest_write(f.qts, VARS + i, i % 251, 1);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = BLOCK * (1 + i % 15) + i;
        qtest_write(f.qts, VARS + at, 0x40, 1);
        qtest_write(f.qts, VARS + at, i % 253, 1);
    }
    qtest_write(f.qts, VARS + 15 * BLOCK, 0x20, 1);
    qtest_write(f.qts, VARS + 15 * BLOCK, 0xd0, 1);
    g_assert_cmphex(wait_ready(&f, VARS), ==, READY);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t block = 1 + i % 15;
        g_assert_cmphex(image_byte(f.vars, i), ==, i % 251);
        g_assert_cmphex(image_byte(f.vars, BLOCK * block + i), ==, block == 15 ? 0xff : i % 253);
    }
    close_flash(&f);
}

static void test_bad_sequences(void)
{
    Flash f;

    open_flash(&f, "");
    qtest_write(f.qts, VARS, 0x20, 1);
    qtest_write(f.qts, VARS, 0x55, 1); /* not a confirmation */
    g_assert_cmphex(wait_ready(&f, VARS), ==, READY | ERASE_ERROR | PROGRAM_ERROR);
    qtest_write(f.qts, VARS, 0x50, 1);
    qtest_write(f.qts, VARS, 0x20, 1);
    qtest_write(f.qts, VARS, 0xff, 1); /* taken back */
    g_assert_cmphex(qtest_read(f.qts, VARS, 1), ==, 0xff);
    qtest_write(f.qts, VARS, 0x70, 1);
    g_assert_cmphex(qtest_read(f.qts, VARS, 1), ==, 0);
    qtest_write(f.qts, VARS, 0xe8, 1);
    qtest_write(f.qts, VARS, 0x10000, 4); /* more than a buffer */
    g_assert_cmphex(wait_ready(&f, VARS), ==, READY | ERASE_ERROR | PROGRAM_ERROR);
    qtest_write(f.qts, VARS, 0x50, 1);
    qtest_write(f.qts, VARS, 0xe8, 1);
    qtest_write(f.qts, VARS, 3, 1);
    qtest_write(f.qts, VARS + 0xfe, 0, 4); /* past the buffer's end */
    g_assert_cmphex(wait_ready(&f, VARS) & READY, ==, READY);
    qtest_write(f.qts, VARS, 0x50, 1);
    g_assert_cmphex(program(&f, VARS + VARS_SIZE - 1, 0), ==, READY);
    qtest_write(f.qts, VARS + VARS_SIZE - 4, 0xff, 1);
    g_assert_cmphex(qtest_read(f.qts, VARS + VARS_SIZE - 4, 4), ==, 0x00ffffff);
    close_flash(&f);
}

static void test_read_only(void)
{
    Flash f;

    open_flash(&f, "");
    g_assert_cmphex(program(&f, CODE, 0), ==, READY | PROGRAM_ERROR | LOCKED);
    qtest_write(f.qts, CODE, 0x50, 1);
    g_assert_cmphex(erase(&f, CODE), ==, READY | ERASE_ERROR | LOCKED);
    read_array(&f, CODE);
    g_assert_cmphex(qtest_read(f.qts, CODE, 1), ==, 0xc0);
    close_flash(&f);
}

static void test_reset_brings_the_array_back(void)
{
    Flash f;

    open_flash(&f, "");
    qtest_write(f.qts, VARS, 0x20, 1);
    g_assert_cmphex(qtest_read(f.qts, VARS, 1), ==, READY);
    g_free(qtest_hmp(f.qts, "system_reset"));
    json_object_put(qtest_event(f.qts, "RESET"));
    g_assert_cmphex(qtest_read(f.qts, VARS, 1), ==, 0xff);
    qtest_write(f.qts, VARS, 0xd0, 1); /* confirms nothing */
    g_assert_cmphex(qtest_read(f.qts, VARS, 1), ==, 0xff);
    close_flash(&f);
}

static void test_nodes_of_the_machine(void)
{
    g_autofree char *path = make_image(CODE_SIZE, 0x5a);
    QTest *qts = qtest_start("-m 32 -blockdev driver=file,node-name=f,filename=%s,read-only=on "
                             "-machine q35,pflash0=f",
                             path);

    g_assert_cmphex(qtest_read(qts, CODE, 1), ==, 0x5a);
    qtest_stop(qts);
    g_unlink(path);
}

static void expect_refused(size_t size, const char *options, const char *says)
{
    g_autofree char *path = make_image(size, 0);
    g_autofree char *line =
        g_strdup_printf("-drive if=pflash,format=raw,file=%s %s", path, options);

    qtest_assert_refused(line, says);
    g_unlink(path);
}

static void test_refusals(void)
{
    expect_refused(1000, "", "multiple of 4096");
    expect_refused(0, "", "0 bytes");
    expect_refused(9 << 20, "", "at most 8 MiB");
    expect_refused(CODE_SIZE, "-bios /dev/null", "give one of them");
    expect_refused(CODE_SIZE, "-global driver=cfi.pflash01,property=secure,value=on",
                   "system management mode");
    expect_refused(CODE_SIZE, "-machine microvm", "pflash");
    expect_refused(CODE_SIZE, "-drive if=pflash,unit=2,driver=null-co,size=4096", "unit=2");
    qtest_assert_refused("-blockdev driver=null-co,node-name=n,size=4096 -machine q35,pflash1=n",
                         "pflash1 needs pflash0");
    qtest_assert_refused("-device cfi.pflash01", "cfi.pflash01");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pflash/ends-at-4-GiB", test_layout);
    g_test_add_func("/pflash/identifies-itself", test_identification);
    g_test_add_func("/pflash/program-and-erase-reach-the-image",
                    test_program_and_erase_reach_the_image);
    g_test_add_func("/pflash/buffered-program", test_buffered_program);
    g_test_add_func("/pflash/looks-like-flash-to-firmware", test_firmware_probes);
    g_test_add_func("/pflash/commands-are-taken-while-writing", test_unpolled_bursts);
    g_test_add_func("/pflash/bad-sequences-are-errors", test_bad_sequences);
    g_test_add_func("/pflash/read-only-is-locked", test_read_only);
    g_test_add_func("/pflash/reset-brings-the-array-back", test_reset_brings_the_array_back);
    g_test_add_func("/pflash/nodes-of-the-machine", test_nodes_of_the_machine);
    g_test_add_func("/pflash/refusals-name-the-cause", test_refusals);
    return g_test_run();
}
