/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-scsi, scsi-hd and scsi-cd over qtest: commands good and bad, tasks, events, media, state.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/device/scsi-kit.h"
#include "vmm/util/bytes.h"

/* ---- Tests ---- */

static void test_data(void)
{
    Hba h;
    uint8_t bytes[4096], back[4096];
    hd_open(&h, "", "");
    g_assert_cmpuint(command(&h, CDB(0x28, 0, 0, 0, 0, 16, 0, 0, 8), 4096, 0), ==, GOOD);
    g_assert_cmpuint(h.residual, ==, 0);
    get_data(&h, bytes, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        g_assert_cmpuint(bytes[i], ==, (uint8_t)(16 + i / 512 + (16 * 512 + i) % 251));
    }
    memset(bytes, 0x5a, sizeof(bytes));
    qtest_memwrite(h.qts, h.data, bytes, sizeof(bytes));
    const uint8_t *writes[] = { CDB(0x0a, 0, 3, 0, 8), CDB(0x2a, 8, 0, 0, 3, 8, 0, 0, 8),
                                CDB(0x2e, 0, 0, 0, 3, 16, 0, 0, 8),
                                CDB(0xaa, 0, 0, 0, 3, 24, 0, 0, 0, 8),
                                CDB(0x8a, 0, 0, 0, 0, 0, 0, 0, 3, 32, 0, 0, 0, 8) };
    for (unsigned i = 0; i < G_N_ELEMENTS(writes); i++) {
        g_assert_cmpuint(command(&h, writes[i], 0, 4096), ==, GOOD);
    }
    g_assert_cmpuint(command(&h, CDB(0x35), 0, 0), ==, GOOD);
    int fd = open(h.path, O_RDONLY);
    for (unsigned i = 0; i < G_N_ELEMENTS(writes); i++) {
        g_assert_cmpint(pread(fd, back, sizeof(back), (0x300 + 8 * i) * 512), ==, sizeof(back));
        g_assert_cmpmem(back, sizeof(back), bytes, sizeof(bytes));
    }
    close(fd);
    /* A buffer that is longer than the data. */
    g_assert_cmpuint(command(&h, CDB(0x28, 0, 0, 0, 0, 16, 0, 0, 1), 4096, 0), ==, GOOD);
    g_assert_cmpuint(h.residual, ==, 4096 - 512);
    hba_close(&h);
}

/* A response that shares its buffer with the data, and data in many pieces. */
static void test_framing(void)
{
    Hba h;
    uint8_t bytes[1024];
    hd_open(&h, "", "");
    put_command(&h, 0, 0, 0, CDB(0x28, 0, 0, 0, 0, 16, 0, 0, 2), 1);
    QBuffer buffers[] = { { h.header, 20, false },
                          { h.header + 20, CMD_HEADER - 20, false },
                          { h.data, RESP_HEADER + 100, true },
                          { h.data + RESP_HEADER + 100, 513, true },
                          { h.data + RESP_HEADER + 613, 411, true } };
    qvirtqueue_add(h.request, buffers, G_N_ELEMENTS(buffers));
    qvirtqueue_kick(h.request);
    g_assert_cmpuint(qvirtqueue_wait(h.request, NULL), ==, RESP_HEADER + 1024);
    qtest_memread(h.qts, h.data + RESP_HEADER, bytes, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        g_assert_cmpuint(bytes[i], ==, (uint8_t)(16 + i / 512 + (16 * 512 + i) % 251));
    }
    hba_close(&h);
}

static void test_inquiry(void)
{
    Hba h;
    uint8_t b[256];
    hba_open(&h, "", ",wwn=0x5000c50015ea71ac,rotation_rate=1,vendor=ACME", "");
    /* Runs in spite of the attention, and leaves it. */
    g_assert_cmpuint(command(&h, CDB(0x12, 0, 0, 0, 255), 255, 0), ==, GOOD);
    g_assert_cmpuint(h.residual, ==, 255 - 36);
    get_data(&h, b, 36);
    g_assert_cmphex(b[0], ==, 0);
    g_assert_cmphex(b[2], ==, 5);
    g_assert_cmpmem(b + 8, 24, "ACME    QEMU HARDDISK   ", 24);
    clear_attention(&h, 0);
    command(&h, CDB(0x12, 1, 0, 0, 255), 255, 0);
    get_data(&h, b, 10);
    g_assert_cmpmem(b, 10, "\0\0\0\6\0\x80\x83\xb0\xb1\xb2", 10);
    command(&h, CDB(0x12, 1, 0x80, 0, 255), 255, 0);
    get_data(&h, b, 9);
    g_assert_cmpmem(b, 9, "\0\x80\0\5ser-1", 9);
    command(&h, CDB(0x12, 1, 0x83, 0, 255), 255, 0);
    get_data(&h, b, 25);
    g_assert_cmpmem(b, 25, "\0\x83\0\x15\2\0\0\5ser-1\1\3\0\x08\x50\0\xc5\0\x15\xea\x71\xac", 25);
    command(&h, CDB(0x12, 1, 0xb1, 0, 255), 255, 0);
    get_data(&h, b, 6);
    g_assert_cmpuint(load_be16(b + 4), ==, 1);
    command(&h, CDB(0x12, 1, 0xb5, 0, 255), 255, 0);
    assert_sense(&h, 5, 0x24, 0);
    command(&h, CDB(0x12, 0, 0x80, 0, 255), 255, 0);
    assert_sense(&h, 5, 0x24, 0);
    hba_close(&h);
}

static void test_bad_commands(void)
{
    Hba h;
    static const struct {
        uint8_t cdb[32];
        uint32_t in, out;
        uint8_t key, asc;
    } cases[] = {
        { { 0xff }, 0, 0, 5, 0x20 },
        { { 0x28, 0, 0, 0, 0x1f, 0xff, 0, 0, 2 }, 1024, 0, 5, 0x21 },
        { { 0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1 }, 512, 0, 5, 0x21 },
        { { 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1 }, 512, 0, 5, 0x24 },
        { { 0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1 },
          512,
          0,
          5,
          0x21 },
        { { 0x8a, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 8 },
          0,
          4096,
          5,
          0x21 },
        { { 0x2f, 0, 0, 0, 0x20, 0, 0, 0, 1 }, 0, 0, 5, 0x21 },
        { { 0x9e, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32 }, 32, 0, 5, 0x24 },
        { { 0x25, 0, 0, 0, 0, 1 }, 8, 0, 5, 0x24 },
        { { 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 8 }, 8, 0, 5, 0x24 },
        { { 0x5f }, 0, 0, 5, 0x20 },
        { { 0x1a, 0, 0xc8, 0, 255 }, 255, 0, 5, 0x39 },
        { { 0x1a, 0, 0x2a, 0, 255 }, 255, 0, 5, 0x24 },
        { { 0x15, 0x00, 0, 0, 24 }, 0, 24, 5, 0x24 },
        { { 0x15, 0x10, 0, 0, 3 }, 0, 3, 5, 0x1a },
        { { 0x42, 0, 0, 0, 0, 0, 0, 0, 7 }, 0, 7, 5, 0x1a },
        { { 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 0, 512, 5, 0x24 },
    };
    hd_open(&h, "", "");
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("case %u", i);
        qtest_memset(h.qts, h.data, 0, 4096);
        command(&h, cases[i].cdb, cases[i].in, cases[i].out);
        assert_sense(&h, cases[i].key, cases[i].asc, 0);
    }
    /* More data than the driver's buffer, and the wrong way. */
    command(&h, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 8), 512, 0);
    g_assert_cmpuint(h.reply, ==, S_OVERRUN);
    command(&h, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 8), 0, 4096);
    g_assert_cmpuint(h.reply, ==, S_OVERRUN);
    command(&h, CDB(0xa8, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff), 4096, 0);
    g_assert_cmpuint(h.reply, ==, S_OVERRUN);
    command(&h, CDB(0), 512, 512);
    g_assert_cmpuint(h.reply, ==, S_FAILURE);
    g_assert_cmpuint(command(&h, CDB(0), 0, 0), ==, GOOD);
    hba_close(&h);
}

static void test_addresses(void)
{
    Hba h;
    uint8_t b[64];
    hba_open(&h, "", ",scsi-id=2,lun=0",
             "-drive if=none,id=e,format=raw,file=@ -device scsi-hd,drive=e,scsi-id=2,lun=300 "
             "-drive if=none,id=f,driver=null-co,size=1M -device scsi-hd,drive=f,scsi-id=5,lun=1");
    command_at(&h, 0, 0, CDB(0), 0, 0);
    g_assert_cmpuint(h.reply, ==, S_BAD_TARGET);
    clear_attention(&h, 2);
    command_at(&h, 2, 300, CDB(0), 0, 0);
    assert_sense(&h, 6, 0x29, 0);
    g_assert_cmpuint(command_at(&h, 2, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64), 64, 0), ==, GOOD);
    get_data(&h, b, 24);
    g_assert_cmpuint(load_be32(b), ==, 16);
    g_assert_cmphex(load_be16(b + 8), ==, 0);
    g_assert_cmphex(load_be16(b + 16), ==, 0x412c);
    /* A target with no unit 0 answers for it. */
    g_assert_cmpuint(command_at(&h, 5, 0, CDB(0x12, 0, 0, 0, 36), 36, 0), ==, GOOD);
    get_data(&h, b, 36);
    g_assert_cmphex(b[0], ==, 0x3f);
    command_at(&h, 5, 0, CDB(0), 0, 0);
    assert_sense(&h, 5, 0x25, 0);
    command_at(&h, 5, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64), 64, 0);
    get_data(&h, b, 24);
    g_assert_cmpuint(load_be32(b), ==, 16);
    g_assert_cmphex(load_be16(b + 16), ==, 1);
    hba_close(&h);
}

static void test_capacity(void)
{
    Hba h = { .path = scsi_make_file(3ULL << 40), .path2 = scsi_make_file(DISK_BYTES) };
    uint8_t b[32];
    h.qts = qtest_start("-drive if=none,id=d,format=raw,file=%s -device virtio-scsi-pci "
                        "-device scsi-hd,drive=d -drive if=none,id=e,format=raw,file=%s "
                        "-device scsi-hd,drive=e,logical_block_size=4096,physical_block_size=8192",
                        h.path, h.path2);
    hba_find(&h);
    clear_attention(&h, 0);
    clear_attention(&h, 1);
    command(&h, CDB(0x25), 8, 0);
    get_data(&h, b, 8);
    g_assert_cmphex(load_be32(b), ==, UINT32_MAX);
    command(&h, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 32, 0);
    get_data(&h, b, 32);
    g_assert_cmphex(load_be64(b), ==, (3ULL << 31) - 1);
    g_assert_cmpuint(load_be32(b + 8), ==, 512);
    /* Beyond 2 TiB, to the last block. */
    qtest_memset(h.qts, h.data, 0x77, 512);
    g_assert_cmpuint(
        command(&h, CDB(0x8a, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1), 0, 512), ==,
        GOOD);
    int fd = open(h.path, O_RDONLY);
    g_assert_cmpint(pread(fd, b, 32, (off_t)(3ULL << 40) - 512), ==, 32);
    close(fd);
    g_assert_cmphex(b[31], ==, 0x77);
    command_at(&h, 1, 0, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 32, 0);
    get_data(&h, b, 32);
    g_assert_cmpuint(load_be64(b), ==, DISK_BYTES / 4096 - 1);
    g_assert_cmpuint(load_be32(b + 8), ==, 4096);
    g_assert_cmpuint(b[13], ==, 1);
    g_assert_cmpuint(command_at(&h, 1, 0, CDB(0x28, 0, 0, 0, 0, 2, 0, 0, 1), 4096, 0), ==, GOOD);
    get_data(&h, b, 1);
    g_assert_cmpuint(b[0], ==, (uint8_t)(16 + 8192 % 251));
    hba_close(&h);
}

static bool file_is(Hba *h, uint64_t offset, size_t len, uint8_t value)
{
    g_autofree uint8_t *bytes = g_malloc(len);
    int fd = open(h->path, O_RDONLY);
    g_assert_cmpint(pread(fd, bytes, len, (off_t)offset), ==, len);
    close(fd);
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != value) {
            return false;
        }
    }
    return true;
}

static void test_unmap_and_write_same(void)
{
    Hba h;
    uint8_t list[40] = { 0, 38, 0, 32 };
    hd_open(&h, ",discard=unmap", "");
    store_be64(list + 8, 2048);
    store_be32(list + 16, 2048);
    store_be64(list + 24, 512);
    store_be32(list + 32, 8);
    qtest_memwrite(h.qts, h.data, list, sizeof(list));
    g_assert_cmpuint(command(&h, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40), 0, 40), ==, GOOD);
    g_assert_true(file_is(&h, 1 << 20, 1 << 20, 0));
    g_assert_true(file_is(&h, 512 * 512, 4096, 0));
    g_assert_false(file_is(&h, 520 * 512, 512, 0));
    store_be32(list + 32, UINT32_MAX); /* beyond the end: nothing is done */
    store_be64(list + 8, 0);
    qtest_memwrite(h.qts, h.data, list, sizeof(list));
    command(&h, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40), 0, 40);
    assert_sense(&h, 5, 0x21, 0);
    g_assert_false(file_is(&h, 0, 512, 0));
    /* WRITE SAME with a pattern, with zeroes, without a block. */
    qtest_memset(h.qts, h.data, 0xa5, 512);
    g_assert_cmpuint(command(&h, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 8, 1), 0, 512), ==,
                     GOOD);
    g_assert_true(file_is(&h, 64 * 512, 0x801 * 512, 0xa5));
    g_assert_false(file_is(&h, (64 + 0x801) * 512, 512, 0xa5));
    qtest_memset(h.qts, h.data, 0, 512);
    g_assert_cmpuint(command(&h, CDB(0x41, 8, 0, 0, 0, 64, 0, 0, 8), 0, 512), ==, GOOD);
    g_assert_true(file_is(&h, 64 * 512, 4096, 0));
    g_assert_cmpuint(command(&h, CDB(0x93, 1, 0, 0, 0, 0, 0, 0, 0, 72, 0, 0, 0, 8), 0, 0), ==,
                     GOOD);
    g_assert_true(file_is(&h, 72 * 512, 4096, 0));
    g_assert_true(file_is(&h, 80 * 512, 4096, 0xa5));
    hba_close(&h);
}

static void test_readonly(void)
{
    Hba h;
    uint8_t b[4];
    hd_open(&h, ",readonly=on", "");
    command(&h, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1), 0, 512);
    assert_sense(&h, 7, 0x27, 0);
    qtest_memset(h.qts, h.data, 0, 512);
    command(&h, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), 0, 512);
    assert_sense(&h, 7, 0x27, 0);
    g_assert_cmpuint(command(&h, CDB(0x1a, 0, 0x3f, 0, 4), 4, 0), ==, GOOD);
    get_data(&h, b, 4);
    g_assert_cmphex(b[2], ==, 0x80);
    hba_close(&h);
}

static void test_mode_pages(void)
{
    Hba h;
    uint8_t b[64], list[24] = { 0, 0, 0, 0, 8, 0x12 };
    hd_open(&h, "", ",dpofua=on");
    g_assert_cmpuint(command(&h, CDB(0x1a, 0, 8, 0, 64), 64, 0), ==, GOOD);
    get_data(&h, b, 32);
    g_assert_cmpuint(b[0], ==, 31);
    g_assert_cmphex(b[2], ==, 0x10);
    g_assert_cmpuint(b[3], ==, 8);
    g_assert_cmpuint(load_be32(b + 4), ==, DISK_BYTES / 512);
    g_assert_cmphex(b[12], ==, 8);
    g_assert_cmphex(b[14], ==, 4);
    /* The write cache off, and only that can be changed. */
    qtest_memwrite(h.qts, h.data, list, sizeof(list));
    g_assert_cmpuint(command(&h, CDB(0x15, 0x10, 0, 0, 24), 0, 24), ==, GOOD);
    command(&h, CDB(0x5a, 8, 8, 0, 0, 0, 0, 0, 64), 64, 0);
    get_data(&h, b, 28);
    g_assert_cmpuint(load_be16(b), ==, 26);
    g_assert_cmphex(b[10], ==, 0);
    list[7] = 1;
    qtest_memwrite(h.qts, h.data, list, sizeof(list));
    command(&h, CDB(0x15, 0x10, 0, 0, 24), 0, 24);
    assert_sense(&h, 5, 0x26, 0);
    /* A reset of the unit brings it back. */
    hba_restart(&h);
    clear_attention(&h, 0);
    command(&h, CDB(0x1a, 8, 8, 0, 64), 64, 0);
    get_data(&h, b, 8);
    g_assert_cmphex(b[6], ==, 4);
    /* All pages lie in the reply, one after the other. */
    command(&h, CDB(0x1a, 8, 0x3f, 0, 255), 255, 0);
    get_data(&h, b, 64);
    unsigned at = 4, pages = 0;
    for (; at < b[0] + 1U; at += 2 + b[at + 1]) {
        pages++;
    }
    g_assert_cmpuint(at, ==, b[0] + 1);
    g_assert_cmpuint(pages, ==, 4);
    hba_close(&h);
}

static void test_supported_opcodes(void)
{
    Hba h;
    uint8_t b[36];
    hd_open(&h, "", "");
    g_assert_cmpuint(command(&h, CDB(0xa3, 0x0c, 1, 0x28, 0, 0, 0, 0, 0, 36), 36, 0), ==, GOOD);
    get_data(&h, b, 14);
    g_assert_cmpmem(b, 14, "\0\3\0\xa\x28\xf8\xff\xff\xff\xff\0\xff\xff\0", 14);
    command(&h, CDB(0xa3, 0x0c, 1, 0x46, 0, 0, 0, 0, 0, 36), 36, 0);
    get_data(&h, b, 4);
    g_assert_cmpuint(b[1], ==, 1);
    command(&h, CDB(0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 0, 36), 36, 0);
    assert_sense(&h, 5, 0x24, 0);
    command(&h, CDB(0xa3, 0x0c, 2, 0x9e, 0, 0x10, 0, 0, 0, 36), 36, 0);
    get_data(&h, b, 4);
    g_assert_cmpuint(b[1], ==, 3);
    command(&h, CDB(0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 16, 0), 4096, 0);
    get_data(&h, b, 4);
    g_assert_cmpuint(load_be32(b), ==, 4096 - h.residual - 4);
    hba_close(&h);
}

/* ---- Tasks ---- */

static uint8_t task_function(Hba *h, uint32_t subtype, unsigned target, unsigned lun, uint64_t tag)
{
    uint8_t bytes[24] = { 0 };
    store_le32(bytes + 4, subtype);
    bytes[8] = 1;
    bytes[9] = target;
    bytes[10] = 0x40 | lun >> 8;
    bytes[11] = lun;
    store_le64(bytes + 16, tag);
    qtest_memwrite(h->qts, h->control_data, bytes, sizeof(bytes));
    qtest_write(h->qts, h->control_data + 32, 0xee, 1);
    QBuffer buffers[] = { { h->control_data, 24, false }, { h->control_data + 32, 1, true } };
    qvirtqueue_add(h->control, buffers, 2);
    qvirtqueue_kick(h->control);
    qvirtqueue_wait(h->control, NULL);
    return qtest_read(h->qts, h->control_data + 32, 1);
}

static void test_task_management(void)
{
    Hba h;
    hd_open(&h, "", "");
    enum { ABORT = 0, ABORT_SET = 1, CLEAR_ACA = 2, NEXUS_RESET = 4, LUN_RESET = 5, QUERY = 6 };
    g_assert_cmpuint(task_function(&h, ABORT, 0, 0, 77), ==, S_OK);
    g_assert_cmpuint(task_function(&h, QUERY, 0, 0, 77), ==, S_OK);
    g_assert_cmpuint(task_function(&h, ABORT_SET, 0, 0, 0), ==, S_OK);
    g_assert_cmpuint(task_function(&h, CLEAR_ACA, 0, 0, 0), ==, S_REJECTED);
    g_assert_cmpuint(task_function(&h, 99, 0, 0, 0), ==, S_REJECTED);
    g_assert_cmpuint(task_function(&h, LUN_RESET, 9, 0, 0), ==, S_BAD_TARGET);
    g_assert_cmpuint(task_function(&h, LUN_RESET, 0, 5, 0), ==, 12);
    g_assert_cmpuint(command(&h, CDB(0), 0, 0), ==, GOOD);
    g_assert_cmpuint(task_function(&h, LUN_RESET, 0, 0, 0), ==, S_OK);
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 6, 0x29, 3);
    g_assert_cmpuint(task_function(&h, NEXUS_RESET, 0, 0, 0), ==, S_OK);
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 6, 0x29, 3);
    g_assert_cmpuint(command(&h, CDB(0), 0, 0), ==, GOOD);
    hba_close(&h);
}

static void slow_open(Hba *h)
{
    *h = (Hba){ .path = scsi_make_file(DISK_BYTES), .path2 = scsi_make_file(DISK_BYTES) };
    h->qts = qtest_start("-blockdev driver=null-co,node-name=n,size=64M,latency-ns=200000000 "
                         "-device virtio-scsi-pci,id=s -device scsi-hd,id=h,drive=n");
    hba_find(h);
    clear_attention(h, 0);
}

/* Requests that take a while are ended by a function; none is lost, none ends twice. */
static void test_abort_in_flight(void)
{
    Hba h;
    slow_open(&h);
    unsigned ended[8] = { 0 };
    uint16_t ids[8], id;
    for (unsigned i = 0; i < 8; i++) {
        put_command(&h, i, 0, 0, CDB(0x28, 0, 0, 0, 0, i, 0, 0, 1), 100 + i);
        QBuffer buffers[] = { { h.header + 64 * i, CMD_HEADER, false },
                              { h.response + 128 * i, RESP_HEADER, true },
                              { h.data + 4096 * i, 512, true } };
        ids[i] = qvirtqueue_add(h.request, buffers, 3);
    }
    qvirtqueue_kick(h.request);
    g_assert_cmpuint(task_function(&h, 6, 0, 0, 103), ==, S_SUCCEEDED);
    g_assert_cmpuint(task_function(&h, 0, 0, 0, 103), ==, S_OK);
    g_assert_cmpuint(task_function(&h, 5, 0, 0, 0), ==, S_OK);
    for (unsigned i = 0; i < 8; i++) {
        qvirtqueue_wait(h.request, &id);
        for (unsigned k = 0; k < 8; k++) {
            ended[k] += ids[k] == id;
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmpuint(ended[i], ==, 1);
    }
    read_response(&h, 3);
    g_assert_true(h.reply == 2 || h.reply == 4);
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 6, 0x29, 3);
    hba_close(&h);
}

/* HARDENING 11: the device is reset, and the machine, while requests are out. */
static void test_resets_in_flight(void)
{
    Hba h;
    slow_open(&h);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 8; i++) {
            put_command(&h, i, 0, 0, CDB(0x28, 0, 0, 0, 0, i, 0, 0, 1), i);
            add_command(&h, i, 512, 0);
        }
        qvirtqueue_kick(h.request);
        if (round == 2) {
            json_object_put(qtest_qmp_ok(h.qts, "{'execute':'system_reset'}"));
            json_object_put(qtest_event(h.qts, "RESET"));
            break;
        }
        hba_restart(&h);
        clear_attention(&h, 0);
    }
    hba_close(&h);
}

/* ---- Malformed requests ---- */

static void test_malformed(void)
{
    Hba h;
    hd_open(&h, "", "");
    const struct {
        unsigned queue;
        QBuffer buffers[2];
        unsigned count;
    } cases[] = {
        { 2, { { h.header, CMD_HEADER - 1, false }, { h.response, RESP_HEADER, true } }, 2 },
        { 2, { { h.header, CMD_HEADER, false }, { h.response, RESP_HEADER - 1, true } }, 2 },
        { 2, { { h.header, CMD_HEADER, false } }, 1 },
        { 0, { { h.header, 3, false }, { h.response, 8, true } }, 2 },
        { 0, { { h.header, 24, false } }, 1 },
        { 2, { { UINT64_MAX - 8, CMD_HEADER, false }, { h.response, RESP_HEADER, true } }, 2 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        QVirtQueue *vq = cases[i].queue ? h.request : h.control;
        g_test_message("case %u", i);
        qtest_memset(h.qts, h.header, 0, 64);
        qvirtqueue_add(vq, cases[i].buffers, cases[i].count);
        qvirtqueue_kick(vq);
        while (!(qvirtio_status(h.dev) & NEEDS_RESET)) {
            g_usleep(1000);
        }
        hba_restart(&h);
        clear_attention(&h, 0);
        g_assert_cmpuint(command(&h, CDB(0), 0, 0), ==, GOOD);
    }
    hba_close(&h);
}

/* A driver may want other sizes of CDB and sense. */
static void test_sizes(void)
{
    Hba h;
    uint8_t bytes[19 + 6] = { 1, 0, 0x40 };
    hd_open(&h, "", "");
    qpci_write(h.dev->pci, h.dev->config.bar, h.dev->config.offset + CFG_SENSE_SIZE, 4, 4);
    qpci_write(h.dev->pci, h.dev->config.bar, h.dev->config.offset + CFG_CDB_SIZE, 6, 4);
    json_object_put(qtest_qmp_ok(h.qts, "{'execute':'stop'}"));
    json_object_put(qtest_qmp_ok(h.qts, "{'execute':'cont'}"));
    bytes[19] = 0xff;
    qtest_memwrite(h.qts, h.header, bytes, sizeof(bytes));
    qtest_memset(h.qts, h.response, 0xee, 32);
    QBuffer buffers[] = { { h.header, sizeof(bytes), false }, { h.response, 16, true } };
    qvirtqueue_add(h.request, buffers, 2);
    qvirtqueue_kick(h.request);
    g_assert_cmpuint(qvirtqueue_wait(h.request, NULL), ==, 16);
    g_assert_cmpuint(qtest_read(h.qts, h.response, 4), ==, 4);
    g_assert_cmphex(qtest_read(h.qts, h.response + 12, 4), ==, 0x00050070);
    g_assert_cmphex(qtest_read(h.qts, h.response + 16, 1), ==, 0xee);
    qpci_write(h.dev->pci, h.dev->config.bar, h.dev->config.offset + CFG_SENSE_SIZE, 1 << 20, 4);
    g_assert_true(qvirtio_status(h.dev) & NEEDS_RESET);
    hba_restart(&h);
    g_assert_cmpuint(qvirtio_config(h.dev, CFG_SENSE_SIZE, 4), ==, 96);
    hba_close(&h);
}

/* ---- Events and resizing ---- */

static void add_event_buffer(Hba *h, unsigned slot)
{
    QBuffer buffer = { h->control_data + 1024 + 64 * slot, 16, true };
    qvirtqueue_add(h->event, &buffer, 1);
    qvirtqueue_kick(h->event);
}

static void test_resize(void)
{
    Hba h;
    hd_open(&h, "", "");
    add_event_buffer(&h, 0);
    json_object_put(qtest_qmp_ok(
        h.qts, "{'execute':'block_resize','arguments':{'device':'d','size':8388608}}"));
    g_assert_cmpuint(qvirtqueue_wait(h.event, NULL), ==, 16);
    uint64_t at = h.control_data + 1024;
    g_assert_cmpuint(qtest_read(h.qts, at, 4), ==, 3);
    g_assert_cmphex(qtest_read(h.qts, at + 4, 2), ==, 0x0001);
    g_assert_cmphex(qtest_read(h.qts, at + 12, 4), ==, 0x092a);
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 6, 0x2a, 9);
    command(&h, CDB(0x25), 8, 0);
    uint8_t b[8];
    get_data(&h, b, 8);
    g_assert_cmpuint(load_be32(b), ==, 16383);
    hba_close(&h);
}

/* HARDENING 11: units come and go in a running machine, with requests out. */
static void test_hotplug(void)
{
    Hba h;
    uint64_t at;
    slow_open(&h);
    at = h.control_data + 1024;
    add_event_buffer(&h, 0);
    json_object_put(qtest_qmp_ok(h.qts, "{'execute':'blockdev-add','arguments':{'driver':'null-co',"
                                        "'node-name':'m','size':1048576}}"));
    json_object_put(qtest_qmp_ok(h.qts,
                                 "{'execute':'device_add','arguments':{'driver':'scsi-hd',"
                                 "'id':'new','drive':'m','bus':'s.0','scsi-id':3,'lun':9}}"));
    g_assert_cmpuint(qvirtqueue_wait(h.event, NULL), ==, 16);
    g_assert_cmpuint(qtest_read(h.qts, at, 4), ==, 1);
    g_assert_cmphex(qtest_read(h.qts, at + 4, 4), ==, 0x09000301);
    g_assert_cmpuint(qtest_read(h.qts, at + 12, 4), ==, 1);
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 6, 0x3f, 0x0e);
    command_at(&h, 3, 9, CDB(0), 0, 0);
    assert_sense(&h, 6, 0x29, 0);
    for (unsigned i = 0; i < 8; i++) {
        put_command(&h, i, 0, 0, CDB(0x28, 0, 0, 0, 0, i, 0, 0, 1), i);
        add_command(&h, i, 512, 0);
    }
    qvirtqueue_kick(h.request);
    /* Without a buffer the event waits. */
    json_object_put(qtest_qmp_ok(h.qts, "{'execute':'device_del','arguments':{'id':'h'}}"));
    json_object_put(qtest_event(h.qts, "DEVICE_DELETED"));
    for (unsigned i = 0; i < 8; i++) {
        qvirtqueue_wait(h.request, NULL);
    }
    command(&h, CDB(0), 0, 0);
    g_assert_cmpuint(h.reply, ==, S_BAD_TARGET);
    add_event_buffer(&h, 0);
    g_assert_cmpuint(qvirtqueue_wait(h.event, NULL), ==, 16);
    g_assert_cmphex(qtest_read(h.qts, at + 4, 4), ==, 0x00000001);
    g_assert_cmpuint(qtest_read(h.qts, at + 12, 4), ==, 2);
    hba_close(&h);
}

static void test_registers(void)
{
    Hba h;
    hd_open(&h, "", "");
    g_assert_cmpuint(qvirtio_config(h.dev, CFG_NUM_QUEUES, 4), ==, 1);
    g_assert_cmpuint(qvirtio_config(h.dev, CFG_MAX_LUN, 4), ==, 16383);
    for (uint64_t offset = 0; offset < 64; offset++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            if (offset < CFG_SENSE_SIZE - 8 || offset >= CFG_CDB_SIZE + 4) {
                qpci_write(h.dev->pci, h.dev->config.bar, h.dev->config.offset + offset, UINT64_MAX,
                           size);
                qpci_read(h.dev->pci, h.dev->config.bar, h.dev->config.offset + offset, size);
            }
        }
    }
    g_assert_cmpuint(command(&h, CDB(0), 0, 0), ==, GOOD);
    hba_close(&h);
}

static void test_several_queues(void)
{
    Hba h = { .path = scsi_make_file(DISK_BYTES), .path2 = scsi_make_file(DISK_BYTES) };
    h.qts = qtest_start("-drive if=none,id=d,format=raw,file=%s -object iothread,id=a "
                        "-object iothread,id=b -device '{\"driver\":\"virtio-scsi-pci\","
                        "\"num_queues\":4,\"iothread-vq-mapping\":[{\"iothread\":\"a\","
                        "\"vqs\":[0,3]},{\"iothread\":\"b\",\"vqs\":[2,1]}]}' "
                        "-device scsi-hd,drive=d",
                        h.path);
    hba_find(&h);
    clear_attention(&h, 0);
    QVirtQueue *queues[4];
    qvirtqueue_free(h.request);
    qvirtqueue_free(h.control);
    qvirtqueue_free(h.event);
    qvirtio_reset(h.dev);
    qvirtio_negotiate(h.dev, h.features);
    h.control = qvirtqueue_new(h.dev, 0, 16, 0xffff);
    h.event = qvirtqueue_new(h.dev, 1, 16, 0xffff);
    for (unsigned i = 0; i < 4; i++) {
        queues[i] = qvirtqueue_new(h.dev, 2 + i, 64, 0xffff);
    }
    qvirtio_driver_ok(h.dev);
    h.request = queues[3];
    clear_attention(&h, 0);
    for (unsigned i = 0; i < 32; i++) {
        h.request = queues[i % 4];
        put_command(&h, i, 0, 0, CDB(0x28, 0, 0, 0, 0, i, 0, 0, 8), i);
        add_command(&h, i, 4096, 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        qvirtqueue_kick(queues[i]);
    }
    g_assert_cmpuint(task_function(&h, 7, 0, 0, 0) % S_SUCCEEDED, ==, S_OK);
    for (unsigned i = 0; i < 32; i++) {
        g_assert_cmpuint(qvirtqueue_wait(queues[i % 4], NULL), ==, RESP_HEADER + 4096);
    }
    for (unsigned i = 0; i < 3; i++) {
        qvirtqueue_free(queues[i]);
    }
    h.request = queues[3];
    hba_close(&h);
}

static void test_stop_and_cont(void)
{
    Hba h;
    hd_open(&h, "", "");
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 16; i++) {
            put_command(&h, i, 0, 0, CDB(0x28, 0, 0, 0, 0, i, 0, 0, 8), i);
            add_command(&h, i, 4096, 0);
        }
        qvirtqueue_kick(h.request);
        json_object_put(qtest_qmp_ok(h.qts, "{'execute':'stop'}"));
        json_object_put(qtest_qmp_ok(h.qts, "{'execute':'cont'}"));
        for (unsigned i = 0; i < 16; i++) {
            g_assert_cmpuint(qvirtqueue_wait(h.request, NULL), ==, RESP_HEADER + 4096);
        }
    }
    hba_close(&h);
}

static void test_refused(void)
{
    static const char *const lines[][2] = {
        { "-device scsi-hd,drive=n", "SCSI" },
        { "-device virtio-scsi-pci -device scsi-hd", "drive=ID" },
        { "-device virtio-scsi-pci -device scsi-hd,drive=n,scsi-id=256", "scsi-id=256" },
        { "-device virtio-scsi-pci -device scsi-hd,drive=n,lun=16384", "lun=16384" },
        { "-device virtio-scsi-pci -device scsi-hd,drive=n,channel=1", "channel=1" },
        { "-device virtio-scsi-pci -device scsi-hd,drive=n,scsi-id=1 "
          "-device scsi-hd,drive=m,scsi-id=1,lun=0",
          "already" },
        { "-device virtio-scsi-pci -device scsi-hd,drive=n,vendor=123456789", "vendor" },
        { "-device virtio-scsi-pci -device scsi-hd,drive=n,logical_block_size=8192", "8192" },
        { "-device virtio-scsi-pci,virtqueue_size=100", "virtqueue_size=100" },
        { "-device virtio-scsi-pci,iothread=nix", "nix" },
        { "-device virtio-scsi-pci -device scsi-cd,logical_block_size=512", "2048" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autofree char *line = g_strconcat("-blockdev driver=null-co,node-name=n,size=1M "
                                            "-blockdev driver=null-co,node-name=m,size=1M ",
                                            lines[i][0], NULL);
        qtest_assert_refused(line, lines[i][1]);
    }
}

static void test_passing_through_needs_a_scsi_device(void)
{
    char path[] = "/tmp/vireo-scsi-XXXXXX";
    int fd = g_mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, 1 << 20), ==, 0);
    close(fd);
    static const char *const devices[] = { "scsi-block", "scsi-generic" };
    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
        g_autofree char *image =
            g_strdup_printf("-device virtio-scsi-pci -drive if=none,id=d,format=raw,file=%s "
                            "-device %s,drive=d",
                            path, devices[i]);
        g_autofree char *null =
            g_strdup_printf("-device virtio-scsi-pci -blockdev null-co,node-name=d,size=1M "
                            "-device %s,drive=d",
                            devices[i]);
        g_autofree char *none = g_strdup_printf("-device virtio-scsi-pci -device %s", devices[i]);
        qtest_assert_refused(image, "is no SCSI device of the host");
        qtest_assert_refused(null, "not to an image");
        qtest_assert_refused(none, "give drive=ID");
    }
    qtest_assert_refused("-device virtio-scsi-pci -drive if=none,id=d,file=/dev/null,format=raw "
                         "-device scsi-generic,drive=d",
                         "no plain file");
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-scsi/data", test_data);
    g_test_add_func("/virtio-scsi/any-framing", test_framing);
    g_test_add_func("/virtio-scsi/inquiry-and-vital-product-data", test_inquiry);
    g_test_add_func("/virtio-scsi/bad-commands-fail-alone", test_bad_commands);
    g_test_add_func("/virtio-scsi/addresses", test_addresses);
    g_test_add_func("/virtio-scsi/large-disks-and-blocks", test_capacity);
    g_test_add_func("/virtio-scsi/unmap-and-write-same", test_unmap_and_write_same);
    g_test_add_func("/virtio-scsi/read-only", test_readonly);
    g_test_add_func("/virtio-scsi/mode-pages", test_mode_pages);
    g_test_add_func("/virtio-scsi/supported-opcodes", test_supported_opcodes);
    g_test_add_func("/virtio-scsi/task-management", test_task_management);
    g_test_add_func("/virtio-scsi/abort-in-flight", test_abort_in_flight);
    g_test_add_func("/virtio-scsi/resets-with-requests-in-flight", test_resets_in_flight);
    g_test_add_func("/virtio-scsi/malformed-requests-need-a-reset", test_malformed);
    g_test_add_func("/virtio-scsi/other-cdb-and-sense-sizes", test_sizes);
    g_test_add_func("/virtio-scsi/resize-is-told", test_resize);
    g_test_add_func("/virtio-scsi/units-come-and-go", test_hotplug);
    g_test_add_func("/virtio-scsi/registers-in-every-width", test_registers);
    g_test_add_func("/virtio-scsi/several-queues-on-io-threads", test_several_queues);
    g_test_add_func("/virtio-scsi/stop-and-cont-under-load", test_stop_and_cont);
    g_test_add_func("/virtio-scsi/bad-properties-are-refused", test_refused);
    g_test_add_func("/virtio-scsi/passing-through-needs-a-scsi-device",
                    test_passing_through_needs_a_scsi_device);
    return g_test_run();
}
