/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command descriptor blocks: lengths, ranges and usage of every format. */
#include <string.h>
#include "hw/scsi/internal.h"

static void test_cdb_lengths(void)
{
    g_assert_cmpuint(scsi_cdb_length(OP_INQUIRY), ==, 6);
    g_assert_cmpuint(scsi_cdb_length(OP_READ_10), ==, 10);
    g_assert_cmpuint(scsi_cdb_length(OP_MODE_SENSE_10), ==, 10);
    g_assert_cmpuint(scsi_cdb_length(0x7f), ==, 0);
    g_assert_cmpuint(scsi_cdb_length(OP_READ_16), ==, 16);
    g_assert_cmpuint(scsi_cdb_length(OP_REPORT_LUNS), ==, 12);
    g_assert_cmpuint(scsi_cdb_length(0xff), ==, 0);
}

typedef struct Case {
    ScsiFormat format;
    uint8_t cdb[16];
    uint32_t block_size;
    uint64_t lba, blocks, length;
} Case;

static const Case cases[] = {
    { FORMAT_NONE, { 0 }, 512, 0, 0, 0 },
    { FORMAT_ALLOC_6, { 3, 0, 0, 0, 252 }, 512, 0, 252, 252 },
    { FORMAT_INQUIRY, { 0x12, 0, 0, 0x12, 0x34 }, 512, 0, 0x1234, 0x1234 },
    { FORMAT_ALLOC_12,
      { 0xa0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
      512,
      0,
      UINT32_MAX,
      UINT32_MAX },
    { FORMAT_CAPACITY, { 0x25 }, 512, 0, 0, 8 },
    { FORMAT_BLOCKS_6, { 8, 0xff, 0xff, 0xff, 0 }, 512, 0x1fffff, 256, 131072 },
    { FORMAT_BLOCKS_6, { 8, 0, 1, 2, 3 }, 4096, 0x102, 3, 12288 },
    { FORMAT_BLOCKS_10,
      { 0x28, 0, 1, 2, 3, 4, 0, 0xff, 0xff },
      512,
      0x01020304,
      65535,
      65535 * 512 },
    { FORMAT_BLOCKS_12,
      { 0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
      4096,
      UINT32_MAX,
      UINT32_MAX,
      UINT32_MAX * 4096ULL },
    { FORMAT_BLOCKS_16,
      { 0x88, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 1, 0 },
      512,
      0x0102030405060708,
      256,
      131072 },
    { FORMAT_RANGE_16, { 0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 7 }, 512, 9, 7, 0 },
    { FORMAT_SAME_10, { 0x41, 0, 0, 0, 0, 9, 0, 0, 7 }, 4096, 9, 7, 4096 },
    { FORMAT_SAME_16, { 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 7 }, 512, 9, 7, 0 },
    { FORMAT_CD, { 0xbe, 0, 0, 0, 0, 16, 1, 0, 0, 0x10 }, 2048, 16, 65536, 65536 * 2048 },
    { FORMAT_CD, { 0xbe, 0, 0, 0, 0, 16, 0, 0, 3, 0xf8 }, 2048, 16, 3, 3 * 2352 },
    { FORMAT_CD, { 0xbe, 0, 0, 0, 0, 16, 0, 0, 3, 0 }, 2048, 16, 3, 0 },
    { FORMAT_CD_MSF, { 0xb9, 0, 0, 0, 2, 16, 0, 2, 18, 0x10 }, 2048, 16, 2, 4096 },
    { FORMAT_CD_MSF, { 0xb9, 0, 0, 0, 0, 0, 0, 2, 18, 0x10 }, 2048, UINT32_MAX, 0, 0 },
    { FORMAT_CD_MSF, { 0xb9, 0, 0, 9, 9, 9, 0, 2, 18, 0x10 }, 2048, 41034, 0, 0 },
};

static void test_ranges_and_lengths(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];
        ScsiRange range = scsi_format_range(c->format, c->cdb);
        g_test_message("case %u", i);
        g_assert_cmpuint(range.lba, ==, c->lba);
        g_assert_cmpuint(range.blocks, ==, c->blocks);
        g_assert_cmpuint(scsi_format_length(c->format, c->cdb, c->block_size), ==, c->length);
    }
}

static void nothing(ScsiRequest *request)
{
}

static void test_usage(void)
{
    ScsiCommand command = { FORMAT_BLOCKS_16, SCSI_DATA_IN, .byte1 = 0xf8, .run = nothing };
    uint8_t usage[16];
    scsi_command_usage(&command, OP_READ_16, usage);
    g_assert_cmpmem(usage, 16, "\x88\xf8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0", 16);
    command = (ScsiCommand){ FORMAT_ALLOC_16, .has_action = true, .action = 0x10, .run = nothing };
    scsi_command_usage(&command, OP_SERVICE_ACTION_IN_16, usage);
    g_assert_cmphex(usage[1], ==, 0x10);
}

static void test_windows(void)
{
    uint8_t a[3], b[5], data[8] = "abcdefgh", back[8] = "";
    struct iovec iov[] = { { a, 3 }, { NULL, 0 }, { b, 5 } };
    ScsiWindow window = { iov, 3, 8 };
    scsi_window_copy(&window, 0, data, 8, false);
    g_assert_cmpmem(a, 3, "abc", 3);
    g_assert_cmpmem(b, 5, "defgh", 5);
    scsi_window_copy(&window, 2, back, 4, true);
    g_assert_cmpmem(back, 5, "cdef\0", 5);
    scsi_window_copy(&window, 8, back, 4, true); /* nothing is there */
    g_assert_cmpmem(back, 5, "cdef\0", 5);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi/cdb-lengths", test_cdb_lengths);
    g_test_add_func("/scsi/ranges-and-lengths", test_ranges_and_lengths);
    g_test_add_func("/scsi/usage-maps", test_usage);
    g_test_add_func("/scsi/windows", test_windows);
    return g_test_run();
}
