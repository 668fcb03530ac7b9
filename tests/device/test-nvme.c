/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nvme over qtest: data, namespaces, features, logs, interrupts, shadow doorbells, resets. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>
#include "tests/device/libqtest-nvme.h"

#define DISK_BYTES (8 << 20)

typedef struct Disk {
    char *path;
    QTest *qts;
    QNvme *nvme;
} Disk;

static uint8_t disk_byte(uint64_t at)
{
    return (uint8_t)(at / 512 + at % 251);
}

static void disk_open(Disk *d, const char *drive, const char *device)
{
    g_autofree uint8_t *bytes = g_malloc(DISK_BYTES);
    for (int i = 0; i < DISK_BYTES; i++) {
        bytes[i] = disk_byte(i);
    }
    d->path = g_strdup("test-nvme-XXXXXX");
    int fd = g_mkstemp(d->path);
    g_assert_cmpint(write(fd, bytes, DISK_BYTES), ==, DISK_BYTES);
    close(fd);
    d->qts = qtest_start("-drive if=none,id=d,format=raw,file=%s%s -device nvme,id=n,serial=ser-1,"
                         "drive=d%s",
                         d->path, drive, device);
    d->nvme = qnvme_new(d->qts, 0);
    qnvme_enable(d->nvme);
    qnvme_make_queue(d->nvme, 1, QNVME_DEPTH, -1);
}

static void disk_close(Disk *d)
{
    qnvme_free(d->nvme);
    qtest_stop(d->qts);
    g_unlink(d->path);
    g_free(d->path);
}

static void check_bytes(Disk *d, uint64_t addr, uint64_t at, size_t len)
{
    g_autofree uint8_t *bytes = g_malloc(len);
    qtest_memread(d->qts, addr, bytes, len);
    for (size_t i = 0; i < len; i++) {
        g_assert_cmphex(bytes[i], ==, disk_byte(at + i));
    }
}

/* ---- Data ---- */

static void test_data(void)
{
    Disk d;
    uint8_t block[4096], back[4096];
    disk_open(&d, "", "");
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 16, 16), ==, 0);
    check_bytes(&d, d.nvme->data, 16 * 512, 8192);
    memset(block, 0x5a, sizeof(block));
    qtest_memwrite(d.qts, d.nvme->data, block, sizeof(block));
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_WRITE, 1000, 8), ==, 0);
    NvmeCommand flush = { .opcode = NVME_IO_FLUSH, .nsid = NVME_NSID_ALL };
    g_assert_cmphex(qnvme_run(d.nvme, 1, flush, NULL), ==, 0);
    flush.nsid = 1;
    g_assert_cmphex(qnvme_run(d.nvme, 1, flush, NULL), ==, 0);
    int fd = open(d.path, O_RDONLY);
    g_assert_cmpint(pread(fd, back, sizeof(back), 1000 * 512), ==, sizeof(back));
    close(fd);
    g_assert_cmpmem(back, sizeof(back), block, sizeof(block));
    disk_close(&d);
}

/* 64 KiB that begin in the middle of a page, by a list that is itself in the middle of one. */
static void test_prp_list(void)
{
    Disk d;
    disk_open(&d, "", "");
    uint64_t base = qtest_alloc(d.qts, 20 * 4096, 4096), list = qtest_alloc(d.qts, 4096, 4096) + 64;
    for (unsigned i = 0; i < 16; i++) {
        qtest_write(d.qts, list + 8 * i, base + (18 - i) * 4096, 8);
    }
    NvmeCommand read = { .opcode = NVME_IO_READ,
                         .nsid = 1,
                         .prp1 = base + 0x800,
                         .prp2 = list,
                         .cdw10 = 40,
                         .cdw12 = 127 };
    g_assert_cmphex(qnvme_run(d.nvme, 1, read, NULL), ==, 0);
    check_bytes(&d, base + 0x800, 40 * 512, 0x800);
    for (unsigned i = 0; i < 15; i++) {
        check_bytes(&d, base + (18 - i) * 4096, 40 * 512 + 0x800 + i * 4096, 4096);
    }
    check_bytes(&d, base + 3 * 4096, 40 * 512 + 0x800 + 15 * 4096, 0x800);
    disk_close(&d);
}

/* 2 MiB: the list goes on in a second page. */
static void test_prp_chain(void)
{
    Disk d;
    disk_open(&d, "", ",mdts=0");
    uint64_t base = qtest_alloc(d.qts, 512 * 4096, 4096), lists = qtest_alloc(d.qts, 8192, 4096);
    uint64_t list = lists + 4096 - 16 * 8;
    for (unsigned i = 1; i < 512; i++) {
        uint64_t at = i < 16 ? list + (i - 1) * 8 : lists + 4096 + (i - 16) * 8;
        qtest_write(d.qts, at, base + i * 4096, 8);
    }
    qtest_write(d.qts, list + 15 * 8, lists + 4096, 8);
    NvmeCommand read = {
        .opcode = NVME_IO_READ, .nsid = 1, .prp1 = base, .prp2 = list, .cdw12 = 4095
    };
    g_assert_cmphex(qnvme_run(d.nvme, 1, read, NULL), ==, 0);
    check_bytes(&d, base, 0, 512 * 4096);
    disk_close(&d);
}

static void put_sgl(QTest *qts, uint64_t at, uint64_t address, uint32_t length, uint8_t type)
{
    NvmeSgl sgl = { .address = address, .length = length, .type = (uint8_t)(type << 4) };
    qtest_memwrite(qts, at, &sgl, sizeof(sgl));
}

static void test_sgl(void)
{
    Disk d;
    disk_open(&d, "", "");
    uint64_t segment = qtest_alloc(d.qts, 4096, 4096), last = segment + 1024, to = d.nvme->data;
    put_sgl(d.qts, segment, to + 7, 100, NVME_SGL_DATA);
    put_sgl(d.qts, segment + 16, to + 2000, 0, NVME_SGL_DATA);
    put_sgl(d.qts, segment + 32, last, 32, NVME_SGL_LAST_SEGMENT);
    put_sgl(d.qts, last, to + 1000, 412, NVME_SGL_DATA);
    put_sgl(d.qts, last + 16, to + 8192, 4096, NVME_SGL_DATA);
    NvmeCommand read = { .opcode = NVME_IO_READ, .flags = 0x40, .nsid = 1, .cdw12 = 1 };
    read.sgl = (NvmeSgl){ .address = segment, .length = 48, .type = NVME_SGL_SEGMENT_TYPE << 4 };
    g_assert_cmphex(qnvme_run(d.nvme, 1, read, NULL), ==, 0);
    check_bytes(&d, to + 7, 0, 100);
    check_bytes(&d, to + 1000, 100, 412);
    check_bytes(&d, to + 8192, 512, 512);
    /* Too short; a segment that leads to itself; types that are none. */
    read.sgl = (NvmeSgl){ .address = to, .length = 512 };
    g_assert_cmphex(qnvme_run(d.nvme, 1, read, NULL), ==, NVME_SGL_LENGTH | NVME_DNR);
    put_sgl(d.qts, segment, segment, 16, NVME_SGL_SEGMENT_TYPE);
    read.sgl = (NvmeSgl){ .address = segment, .length = 16, .type = NVME_SGL_SEGMENT_TYPE << 4 };
    g_assert_cmphex(qnvme_run(d.nvme, 1, read, NULL), ==, NVME_SGL_COUNT | NVME_DNR);
    read.sgl.type = 0x50;
    g_assert_cmphex(qnvme_run(d.nvme, 1, read, NULL), ==, NVME_SGL_TYPE | NVME_DNR);
    read.sgl = (NvmeSgl){ .address = segment, .length = 15, .type = NVME_SGL_LAST_SEGMENT << 4 };
    g_assert_cmphex(qnvme_run(d.nvme, 1, read, NULL), ==, NVME_SGL_SEGMENT | NVME_DNR);
    disk_close(&d);
}

static void test_compare_and_verify(void)
{
    Disk d;
    disk_open(&d, "", "");
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 3, 16), ==, 0);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_COMPARE, 3, 16), ==, 0);
    qtest_write(d.qts, d.nvme->data + 8191, disk_byte(3 * 512 + 8191) ^ 1, 1);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_COMPARE, 3, 16), ==, NVME_COMPARE_FAILURE | NVME_DNR);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_VERIFY, 0, 1024), ==, 0);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_VERIFY, DISK_BYTES / 512 - 1, 2), ==,
                    NVME_LBA_RANGE | NVME_DNR);
    disk_close(&d);
}

static void expect_zeroes(Disk *d, uint64_t slba)
{
    uint8_t zero[512] = { 0 }, got[512];
    g_assert_cmphex(qnvme_rw(d->nvme, NVME_IO_READ, slba, 1), ==, 0);
    qtest_memread(d->qts, d->nvme->data, got, sizeof(got));
    g_assert_cmpmem(got, sizeof(got), zero, sizeof(zero));
}

static void test_zeroes_and_discard(void)
{
    Disk d;
    disk_open(&d, ",discard=unmap", "");
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_WRITE_ZEROES, 100, 8), ==, 0);
    expect_zeroes(&d, 100);
    expect_zeroes(&d, 107);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 108, 1), ==, 0);
    check_bytes(&d, d.nvme->data, 108 * 512, 512);
    NvmeCommand dsm = { .opcode = NVME_IO_DATASET, .nsid = 1, .cdw10 = 2, .cdw11 = 4 };
    const uint64_t slba[] = { 1024, 0, 2048 };
    for (unsigned i = 0; i < 3; i++) {
        qtest_write(d.qts, d.nvme->data + 16 * i, 0, 4);
        qtest_write(d.qts, d.nvme->data + 16 * i + 4, i == 1 ? 0 : 8, 4);
        qtest_write(d.qts, d.nvme->data + 16 * i + 8, slba[i], 8);
    }
    g_assert_cmphex(qnvme_run(d.nvme, 1, dsm, NULL), ==, 0);
    expect_zeroes(&d, 1024);
    expect_zeroes(&d, 2055);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 0, 1), ==, 0);
    check_bytes(&d, d.nvme->data, 0, 512);
    qtest_write(d.qts, d.nvme->data + 4, 0xffffffff, 4);
    qtest_write(d.qts, d.nvme->data + 8, UINT64_MAX, 8);
    g_assert_cmphex(qnvme_run(d.nvme, 1, dsm, NULL), ==, NVME_LBA_RANGE | NVME_DNR);
    disk_close(&d);
}

static void test_format(void)
{
    Disk d;
    disk_open(&d, "", "");
    NvmeCommand format = { .opcode = NVME_ADMIN_FORMAT, .nsid = 1, .cdw10 = 1 };
    g_assert_cmphex(qnvme_run(d.nvme, 0, format, NULL), ==, 0);
    g_assert_cmphex(qnvme_identify(d.nvme, 0, 1), ==, 0);
    g_assert_cmpuint(qtest_read(d.qts, d.nvme->data, 8), ==, DISK_BYTES / 4096);
    g_assert_cmpuint(qtest_read(d.qts, d.nvme->data + 26, 1), ==, 1);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, DISK_BYTES / 4096 - 1, 1), ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data, 8), ==, 0);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, DISK_BYTES / 4096, 1), ==,
                    NVME_LBA_RANGE | NVME_DNR);
    format.cdw10 = 7;
    g_assert_cmphex(qnvme_run(d.nvme, 0, format, NULL), ==, NVME_INVALID_FORMAT | NVME_DNR);
    disk_close(&d);
}

static void test_readonly(void)
{
    Disk d;
    disk_open(&d, ",readonly=on", "");
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 0, 1), ==, 0);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_WRITE, 0, 1), ==, NVME_WRITE_PROTECTED | NVME_DNR);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_WRITE_ZEROES, 0, 1), ==,
                    NVME_WRITE_PROTECTED | NVME_DNR);
    g_assert_cmphex(qnvme_identify(d.nvme, 0, 1), ==, 0);
    g_assert_cmpuint(qtest_read(d.qts, d.nvme->data + 99, 1), ==, 1);
    disk_close(&d);
}

/* ---- Identity ---- */

static void test_identify(void)
{
    Disk d;
    char text[41] = "";
    disk_open(&d, "", "");
    g_assert_cmphex(qpci_config_read(d.qts, 0, d.nvme->pci->devfn, PCI_CLASS_REVISION, 4), ==,
                    0x01080202);
    g_assert_cmphex(qpci_read(d.nvme->pci, 0, NVME_REG_CAP, 8), ==, 0x004018200f0107ffULL);
    g_assert_cmphex(qnvme_reg(d.nvme, NVME_REG_VS), ==, 0x10400);
    g_assert_cmphex(qnvme_identify(d.nvme, 1, 0), ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data, 4), ==, 0x1af41b36);
    qtest_memread(d.qts, d.nvme->data + 4, text, 20);
    g_assert_cmpstr(text, ==, "ser-1               ");
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data + 80, 4), ==, 0x10400);
    g_assert_cmphex(qnvme_identify(d.nvme, 0, 1), ==, 0);
    g_assert_cmpuint(qtest_read(d.qts, d.nvme->data, 8), ==, DISK_BYTES / 512);
    g_assert_cmphex(qnvme_identify(d.nvme, 0, 2), ==, 0);
    g_assert_cmpuint(qtest_read(d.qts, d.nvme->data, 8), ==, 0);
    g_assert_cmphex(qnvme_identify(d.nvme, 0, 0), ==, NVME_INVALID_NAMESPACE | NVME_DNR);
    g_assert_cmphex(qnvme_identify(d.nvme, 2, 0), ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data, 8), ==, 1);
    g_assert_cmphex(qnvme_identify(d.nvme, 0x7f, 0), ==, NVME_INVALID_FIELD | NVME_DNR);
    disk_close(&d);
}

static void test_namespaces(void)
{
    QTest *qts = qtest_start(
        "-blockdev driver=null-co,node-name=a,size=1M,read-zeroes=on "
        "-blockdev driver=null-co,node-name=b,size=2M,read-zeroes=on "
        "-device nvme,id=n,serial=s -device nvme-ns,bus=n,drive=a,nsid=7 "
        "-device nvme-ns,bus=n,drive=b,logical_block_size=4096,physical_block_size=4096,"
        "uuid=12345678-1234-1234-1234-123456789abc,eui64=0x1122334455667788");
    QNvme *nvme = qnvme_new(qts, 0);
    qnvme_enable(nvme);
    g_assert_cmphex(qnvme_identify(nvme, 2, 0), ==, 0);
    g_assert_cmphex(qtest_read(qts, nvme->data, 8), ==, 0x700000001);
    g_assert_cmphex(qtest_read(qts, nvme->data + 8, 4), ==, 0);
    g_assert_cmphex(qnvme_identify(nvme, 2, 1), ==, 0);
    g_assert_cmphex(qtest_read(qts, nvme->data, 8), ==, 7);
    g_assert_cmphex(qnvme_identify(nvme, 3, 1), ==, 0);
    g_assert_cmphex(qtest_read(qts, nvme->data, 8), ==, 0x7856341200001003);
    g_assert_cmphex(qtest_read(qts, nvme->data + 24, 8), ==, 0x8877665544332211);
    g_assert_cmphex(qnvme_identify(nvme, 0, 1), ==, 0);
    g_assert_cmphex(qtest_read(qts, nvme->data, 8), ==, 512);
    qnvme_make_queue(nvme, 1, 8, -1);
    g_assert_cmphex(qnvme_rw(nvme, NVME_IO_READ, 511, 1), ==, 0);
    g_assert_cmphex(qnvme_rw(nvme, NVME_IO_READ, 512, 1), ==, NVME_LBA_RANGE | NVME_DNR);
    NvmeCommand read = { .opcode = NVME_IO_READ, .nsid = 7, .cdw10 = 2047 };
    g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, 0);
    read.nsid = 2;
    g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_INVALID_FIELD | NVME_DNR);
    read.nsid = 5000;
    g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_INVALID_NAMESPACE | NVME_DNR);
    qnvme_free(nvme);
    qtest_stop(qts);
}

static void test_refusals(void)
{
    qtest_assert_refused("-device nvme", "needs serial=");
    qtest_assert_refused("-device nvme,serial=123456789012345678901", "needs serial=");
    qtest_assert_refused("-device nvme,serial=s,drive=none", "none");
    qtest_assert_refused("-device nvme,serial=s,mdts=10", "mdts");
    qtest_assert_refused("-blockdev driver=null-co,node-name=a,size=1M -device "
                         "nvme,id=n,serial=s,drive=a,logical_block_size=1024",
                         "512 or 4096");
    qtest_assert_refused("-blockdev driver=null-co,node-name=a,size=1M -device nvme,id=n,serial=s "
                         "-device nvme-ns,drive=a,uuid=nonsense",
                         "is not a UUID");
    qtest_assert_refused(
        "-blockdev driver=null-co,node-name=a,size=1M -blockdev driver=null-co,node-name=b,size=1M "
        "-device nvme,id=n,serial=s -device nvme-ns,drive=a,nsid=3 -device nvme-ns,drive=b,nsid=3",
        "nsid=3 is taken");
}

/* ---- Features, logs, events ---- */

static void test_features(void)
{
    Disk d;
    uint32_t result;
    disk_open(&d, "", "");
    g_assert_cmphex(
        qnvme_feature(d.nvme, NVME_ADMIN_SET_FEATURES, NVME_FEATURE_QUEUES, 0x70007, &result), ==,
        0);
    g_assert_cmphex(result, ==, 0x3f003f);
    qnvme_feature(d.nvme, NVME_ADMIN_GET_FEATURES, NVME_FEATURE_WRITE_CACHE, 0, &result);
    g_assert_cmphex(result, ==, 1);
    g_assert_cmphex(
        qnvme_feature(d.nvme, NVME_ADMIN_SET_FEATURES, NVME_FEATURE_WRITE_CACHE, 0, NULL), ==, 0);
    qnvme_feature(d.nvme, NVME_ADMIN_GET_FEATURES, NVME_FEATURE_WRITE_CACHE, 0, &result);
    g_assert_cmphex(result, ==, 0);
    g_assert_cmphex(qnvme_feature(d.nvme, NVME_ADMIN_SET_FEATURES, NVME_FEATURE_POWER, 1, NULL), ==,
                    NVME_NOT_CHANGEABLE | NVME_DNR);
    qtest_write(d.qts, d.nvme->data, 1234567890123, 8);
    g_assert_cmphex(qnvme_feature(d.nvme, NVME_ADMIN_SET_FEATURES, NVME_FEATURE_TIMESTAMP, 0, NULL),
                    ==, 0);
    qtest_clock_step(d.qts, 5000000000);
    g_assert_cmphex(qnvme_feature(d.nvme, NVME_ADMIN_GET_FEATURES, NVME_FEATURE_TIMESTAMP, 0, NULL),
                    ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data, 8), ==, 1234567895123ULL | 2ULL << 48);
    disk_close(&d);
}

static uint16_t get_log(QNvme *nvme, uint8_t id, unsigned dwords)
{
    NvmeCommand cmd = { .opcode = NVME_ADMIN_GET_LOG,
                        .nsid = NVME_NSID_ALL,
                        .cdw10 = id | (dwords - 1) << 16 };
    qtest_memset(nvme->qts, nvme->data, 0xee, 8192);
    return qnvme_run(nvme, 0, cmd, NULL);
}

static void test_logs(void)
{
    Disk d;
    disk_open(&d, "", "");
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 0, 16), ==, 0);
    g_assert_cmphex(get_log(d.nvme, NVME_LOG_SMART, 128), ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data, 4), ==, 0x14300);
    g_assert_cmpuint(qtest_read(d.qts, d.nvme->data + 32, 8), ==, 1);
    g_assert_cmpuint(qtest_read(d.qts, d.nvme->data + 64, 8), ==, 1);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data + 512, 1), ==, 0xee);
    g_assert_cmphex(get_log(d.nvme, NVME_LOG_SMART, 1024), ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data + 512, 1), ==, 0xee);
    g_assert_cmphex(get_log(d.nvme, NVME_LOG_FIRMWARE, 128), ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data, 1), ==, 1);
    g_assert_cmphex(get_log(d.nvme, NVME_LOG_COMMANDS, 1024), ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data + 4 * NVME_ADMIN_IDENTIFY, 4), ==, 1);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data + 1024 + 4 * NVME_IO_WRITE, 4), ==, 3);
    g_assert_cmphex(get_log(d.nvme, 0x7f, 1), ==, NVME_INVALID_FIELD | NVME_DNR);
    NvmeCommand cmd = { .opcode = NVME_ADMIN_GET_LOG, .cdw10 = 2, .cdw12 = 516 };
    g_assert_cmphex(qnvme_run(d.nvme, 0, cmd, NULL), ==, NVME_INVALID_FIELD | NVME_DNR);
    cmd.cdw12 = 0xfffffffc;
    cmd.cdw13 = 0xffffffff;
    g_assert_cmphex(qnvme_run(d.nvme, 0, cmd, NULL), ==, NVME_INVALID_FIELD | NVME_DNR);
    disk_close(&d);
}

/* A temperature above the threshold: one event, and the next after the log was read. */
static void test_events(void)
{
    Disk d;
    NvmeCompletion entry;
    NvmeCommand listen = { .opcode = NVME_ADMIN_ASYNC_EVENT };
    disk_open(&d, "", "");
    qnvme_feature(d.nvme, NVME_ADMIN_SET_FEATURES, NVME_FEATURE_ASYNC_EVENT, 2, NULL);
    uint16_t first = qnvme_put(d.nvme, 0, listen);
    qnvme_put(d.nvme, 0, listen);
    qnvme_ring(d.nvme, 0);
    qnvme_put(d.nvme, 0,
              (NvmeCommand){ .opcode = NVME_ADMIN_SET_FEATURES,
                             .cdw10 = NVME_FEATURE_TEMPERATURE,
                             .cdw11 = 0x100 });
    qnvme_ring(d.nvme, 0);
    g_assert_cmphex(qnvme_wait(d.nvme, 0, &entry), ==, 0);
    g_assert_cmpuint(entry.cid, ==, first);
    g_assert_cmphex(entry.dw0, ==, 0x020101);
    g_assert_cmphex(qnvme_wait(d.nvme, 0, &entry), ==, 0);
    g_assert_cmphex(get_log(d.nvme, NVME_LOG_SMART, 128), ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data, 1), ==, 2);
    /* More listeners than aerl allows. */
    for (int i = 0; i < 4; i++) {
        qnvme_put(d.nvme, 0, listen);
    }
    qnvme_ring(d.nvme, 0);
    g_assert_cmphex(qnvme_wait(d.nvme, 0, &entry), ==, NVME_TOO_MANY_EVENTS | NVME_DNR);
    disk_close(&d);
}

static void test_resize(void)
{
    Disk d;
    NvmeCompletion entry;
    disk_open(&d, "", "");
    qnvme_feature(d.nvme, NVME_ADMIN_SET_FEATURES, NVME_FEATURE_ASYNC_EVENT, 0x100, NULL);
    qnvme_put(d.nvme, 0, (NvmeCommand){ .opcode = NVME_ADMIN_ASYNC_EVENT });
    qnvme_ring(d.nvme, 0);
    json_object_put(qtest_qmp_ok(d.qts, "{'execute':'block_resize','arguments':"
                                        "{'device':'d','size':16777216}}"));
    g_assert_cmphex(qnvme_wait(d.nvme, 0, &entry), ==, 0);
    g_assert_cmphex(entry.dw0, ==, 0x040002);
    g_assert_cmphex(get_log(d.nvme, NVME_LOG_CHANGED_NS, 1024), ==, 0);
    g_assert_cmphex(qtest_read(d.qts, d.nvme->data, 8), ==, 1);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 32767, 1), ==, 0);
    disk_close(&d);
}

/* ---- Interrupts, shadow doorbells ---- */

static void wait_word(QTest *qts, uint64_t addr, uint32_t value)
{
    for (int i = 0; i < 5000 && qtest_read(qts, addr, 4) != value; i++) {
        g_usleep(1000);
    }
    g_assert_cmphex(qtest_read(qts, addr, 4), ==, value);
}

static void test_msix(void)
{
    Disk d;
    disk_open(&d, "", "");
    qnvme_disable(d.nvme);
    uint64_t admin = qpci_msix_aim(d.nvme->pci, 0, 0x11), io = qpci_msix_aim(d.nvme->pci, 5, 0x22);
    qnvme_enable(d.nvme);
    qnvme_make_queue(d.nvme, 1, 16, 5);
    wait_word(d.qts, admin, 0x11);
    g_assert_cmphex(qtest_read(d.qts, io, 4), ==, 0);
    for (int i = 0; i < 40; i++) {
        qtest_write(d.qts, io, 0, 4);
        g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, i, 1), ==, 0);
        wait_word(d.qts, io, 0x22);
    }
    disk_close(&d);
}

static bool line_up(Disk *d)
{
    uint16_t status = qpci_config_read(d->qts, 0, d->nvme->pci->devfn, PCI_STATUS, 2);
    return status & PCI_STATUS_INTERRUPT;
}

static void test_intx(void)
{
    Disk d;
    disk_open(&d, "", "");
    g_assert_false(line_up(&d)); /* the driver took every admin completion */
    qnvme_make_queue(d.nvme, 2, 8, 0);
    qnvme_put(d.nvme, 2, (NvmeCommand){ .opcode = NVME_IO_FLUSH, .nsid = 1 });
    qnvme_ring(d.nvme, 2);
    for (int i = 0; i < 5000 && !line_up(&d); i++) {
        g_usleep(1000);
    }
    g_assert_true(line_up(&d));
    qnvme_set_reg(d.nvme, NVME_REG_INTMS, 1);
    g_assert_false(line_up(&d));
    g_assert_cmphex(qnvme_reg(d.nvme, NVME_REG_INTMC), ==, 1);
    qnvme_set_reg(d.nvme, NVME_REG_INTMC, 1);
    g_assert_true(line_up(&d));
    g_assert_cmphex(qnvme_wait(d.nvme, 2, NULL), ==, 0);
    g_assert_false(line_up(&d));
    disk_close(&d);
}

static void test_shadow_doorbells(void)
{
    Disk d;
    disk_open(&d, "", "");
    uint64_t pages = qtest_alloc(d.qts, 8192, 4096);
    qtest_memset(d.qts, pages, 0, 8192);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 0, 1), ==, 0);
    NvmeCommand config = { .opcode = NVME_ADMIN_DOORBELL_BUFFER,
                           .prp1 = pages,
                           .prp2 = pages + 4096 };
    g_assert_cmphex(qnvme_run(d.nvme, 0, config, NULL), ==, 0);
    /* What was rung before has been taken over. */
    g_assert_cmpuint(qtest_read(d.qts, pages + 8, 4), ==, 1);
    d.nvme->shadow = pages;
    for (int i = 0; i < 100; i++) {
        g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, i, 1), ==, 0);
        check_bytes(&d, d.nvme->data, i * 512, 512);
    }
    qnvme_make_queue(d.nvme, 2, 8, -1);
    NvmeCommand read = { .opcode = NVME_IO_READ, .nsid = 1 };
    for (int i = 0; i < 20; i++) {
        g_assert_cmphex(qnvme_run(d.nvme, 2, read, NULL), ==, 0);
    }
    /* A tail outside of the queue is no work, and the controller goes on. */
    qtest_write(d.qts, pages + 8, 0xffffffff, 4);
    qnvme_set_reg(d.nvme, NVME_REG_DOORBELLS + 8, 0);
    g_assert_cmphex(qnvme_identify(d.nvme, 1, 0), ==, 0);
    qtest_write(d.qts, pages + 8, d.nvme->queues[1].tail, 4);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 7, 1), ==, 0);
    config.prp2 = pages + 64;
    g_assert_cmphex(qnvme_run(d.nvme, 0, config, NULL), ==, NVME_INVALID_FIELD | NVME_DNR);
    /* Gone with a reset: doorbells carry values again. */
    qnvme_disable(d.nvme);
    qnvme_enable(d.nvme);
    qnvme_make_queue(d.nvme, 1, 8, -1);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 7, 1), ==, 0);
    disk_close(&d);
}

/* ---- Life ---- */

static void test_shutdown(void)
{
    Disk d;
    disk_open(&d, "", "");
    qnvme_set_reg(d.nvme, NVME_REG_CC, qnvme_reg(d.nvme, NVME_REG_CC) | 1u << 14);
    for (int i = 0; i < 5000 && (qnvme_reg(d.nvme, NVME_REG_CSTS) & 0xc) != 8; i++) {
        g_usleep(1000);
    }
    g_assert_cmphex(qnvme_reg(d.nvme, NVME_REG_CSTS), ==, 9);
    qnvme_disable(d.nvme);
    g_assert_cmphex(qnvme_reg(d.nvme, NVME_REG_CC), ==, 0);
    disk_close(&d);
}

static void test_system_reset(void)
{
    Disk d;
    disk_open(&d, "", "");
    json_object_put(qtest_qmp_ok(d.qts, "{'execute':'system_reset'}"));
    json_object_put(qtest_event(d.qts, "RESET"));
    g_free(d.nvme->pci);
    d.nvme->pci = qpci_find(d.qts, 0x1b36, 0x0010, 0);
    g_assert_cmphex(qnvme_reg(d.nvme, NVME_REG_CSTS), ==, 0);
    g_assert_cmphex(qnvme_reg(d.nvme, NVME_REG_CC), ==, 0);
    qnvme_enable(d.nvme);
    qnvme_make_queue(d.nvme, 1, 8, -1);
    g_assert_cmphex(qnvme_rw(d.nvme, NVME_IO_READ, 7, 1), ==, 0);
    disk_close(&d);
}

static void test_pause(void)
{
    Disk d;
    disk_open(&d, "", "");
    json_object_put(qtest_qmp_ok(d.qts, "{'execute':'stop'}"));
    qnvme_put(d.nvme, 1, (NvmeCommand){ .opcode = NVME_IO_FLUSH, .nsid = 1 });
    qnvme_ring(d.nvme, 1);
    g_usleep(20000);
    g_assert_false(qnvme_poll(d.nvme, 1, NULL));
    json_object_put(qtest_qmp_ok(d.qts, "{'execute':'cont'}"));
    g_assert_cmphex(qnvme_wait(d.nvme, 1, NULL), ==, 0);
    disk_close(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nvme/read-write-flush", test_data);
    g_test_add_func("/nvme/prp-list", test_prp_list);
    g_test_add_func("/nvme/prp-list-of-two-pages", test_prp_chain);
    g_test_add_func("/nvme/sgl", test_sgl);
    g_test_add_func("/nvme/compare-and-verify", test_compare_and_verify);
    g_test_add_func("/nvme/write-zeroes-and-deallocate", test_zeroes_and_discard);
    g_test_add_func("/nvme/format", test_format);
    g_test_add_func("/nvme/readonly", test_readonly);
    g_test_add_func("/nvme/identify", test_identify);
    g_test_add_func("/nvme/namespaces", test_namespaces);
    g_test_add_func("/nvme/refusals", test_refusals);
    g_test_add_func("/nvme/features", test_features);
    g_test_add_func("/nvme/logs", test_logs);
    g_test_add_func("/nvme/events", test_events);
    g_test_add_func("/nvme/resize-is-announced", test_resize);
    g_test_add_func("/nvme/msix", test_msix);
    g_test_add_func("/nvme/intx", test_intx);
    g_test_add_func("/nvme/shadow-doorbells", test_shadow_doorbells);
    g_test_add_func("/nvme/shutdown", test_shutdown);
    g_test_add_func("/nvme/system-reset", test_system_reset);
    g_test_add_func("/nvme/pause", test_pause);
    return g_test_run();
}
