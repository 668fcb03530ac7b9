/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk over qtest: requests good and bad, configuration, resets, interrupts, legacy. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include "tests/device/libqtest.h"

#define DISK_BYTES (4 << 20)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, S_UNTOUCHED = 0xee };
enum { CFG_BLK_SIZE = 20, CFG_WRITEBACK = 32, CFG_NUM_QUEUES = 34 };

#define F_RO        (1ULL << 5)
#define F_FLUSH     (1ULL << 9)
#define F_WCE       (1ULL << 11)
#define F_MQ        (1ULL << 12)
#define F_DISCARD   (1ULL << 13)
#define F_ZEROES    (1ULL << 14)
#define F_INDIRECT  (1ULL << 28)
#define F_EVENT     (1ULL << 29)
#define F_V1        (1ULL << 32)
#define F_PACKED    (1ULL << 34)
#define ALL         UINT64_MAX
#define NEEDS_RESET 0x40

typedef struct Disk {
    char *path;
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *vq;
    uint64_t header, data, status;
} Disk;

static char *make_file(void)
{
    char *path = g_strdup("test-virtio-blk-XXXXXX");
    int fd = g_mkstemp(path);
    g_autofree uint8_t *bytes = g_malloc(DISK_BYTES);
    for (int i = 0; i < DISK_BYTES; i++) {
        bytes[i] = i / 512 + i % 251;
    }
    g_assert_cmpint(write(fd, bytes, DISK_BYTES), ==, DISK_BYTES);
    close(fd);
    return path;
}

static void disk_open(Disk *d, const char *drive, const char *device, uint64_t features)
{
    d->path = make_file();
    d->qts = qtest_start("-drive if=none,id=d,format=raw,file=%s%s -device virtio-blk-pci,id=v,"
                         "drive=d,serial=ser-1%s",
                         d->path, drive, device);
    QPci *pci = qpci_find(d->qts, 0x1af4, 0x1001, 0);
    d->dev = qvirtio_new(pci ? pci : qpci_find(d->qts, 0x1af4, 0x1042, 0));
    qvirtio_reset(d->dev);
    qvirtio_negotiate(d->dev, features);
    d->vq = qvirtqueue_new(d->dev, 0, 64, 0xffff);
    qvirtio_driver_ok(d->dev);
    d->header = qtest_alloc(d->qts, 64, 64);
    d->status = qtest_alloc(d->qts, 64, 64);
    d->data = qtest_alloc(d->qts, 1 << 20, 4096);
}

static void disk_close(Disk *d)
{
    qvirtqueue_free(d->vq);
    qvirtio_free(d->dev);
    qtest_stop(d->qts);
    g_unlink(d->path);
    g_free(d->path);
}

static void put_header(Disk *d, uint32_t type, uint64_t sector)
{
    qtest_write(d->qts, d->header, type, 4);
    qtest_write(d->qts, d->header + 4, 0, 4);
    qtest_write(d->qts, d->header + 8, sector, 8);
    qtest_write(d->qts, d->status, S_UNTOUCHED, 1);
}

/* Submits and waits; the status. Data at d->data. */
static uint8_t request(Disk *d, uint32_t type, uint64_t sector, uint32_t len, bool to_guest)
{
    QBuffer buffers[3] = { { d->header, 16, false }, { d->data, len, to_guest } };
    unsigned count = len ? 3 : 2;
    buffers[count - 1] = (QBuffer){ d->status, 1, true };
    put_header(d, type, sector);
    qvirtqueue_add(d->vq, buffers, count);
    qvirtqueue_kick(d->vq);
    qvirtqueue_wait(d->vq, NULL);
    return qtest_read(d->qts, d->status, 1);
}

static void check_data(Disk *d)
{
    uint8_t bytes[4096];
    g_assert_cmpint(request(d, T_IN, 16, sizeof(bytes), true), ==, S_OK);
    qtest_memread(d->qts, d->data, bytes, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        g_assert_cmpuint(bytes[i], ==, (uint8_t)(16 + i / 512 + (16 * 512 + i) % 251));
    }
    memset(bytes, 0x5a, sizeof(bytes));
    qtest_memwrite(d->qts, d->data, bytes, sizeof(bytes));
    g_assert_cmpint(request(d, T_OUT, 1000, sizeof(bytes), false), ==, S_OK);
    g_assert_cmpint(request(d, T_FLUSH, 0, 0, false), ==, S_OK);
    qtest_memset(d->qts, d->data, 0, sizeof(bytes));
    g_assert_cmpint(request(d, T_IN, 1000, sizeof(bytes), true), ==, S_OK);
    uint8_t back[4096];
    qtest_memread(d->qts, d->data, back, sizeof(back));
    g_assert_cmpmem(back, sizeof(back), bytes, sizeof(bytes));
    int fd = open(d->path, O_RDONLY);
    g_assert_cmpint(pread(fd, back, sizeof(back), 1000 * 512), ==, sizeof(back));
    close(fd);
    g_assert_cmpmem(back, sizeof(back), bytes, sizeof(bytes));
}

static void test_data(gconstpointer data)
{
    Disk d;
    disk_open(&d, "", ",packed=on", *(const uint64_t *)data);
    check_data(&d);
    disk_close(&d);
}

static void test_get_id(void)
{
    Disk d;
    char id[21] = "";
    disk_open(&d, "", "", F_V1);
    g_assert_cmpint(request(&d, T_GET_ID, 0, 20, true), ==, S_OK);
    qtest_memread(d.qts, d.data, id, 20);
    g_assert_cmpstr(id, ==, "ser-1");
    /* A shorter buffer gets the beginning, and no byte more. */
    qtest_memset(d.qts, d.data, 0x77, 20);
    g_assert_cmpint(request(&d, T_GET_ID, 0, 3, true), ==, S_OK);
    qtest_memread(d.qts, d.data, id, 20);
    g_assert_cmpmem(id, 4, "ser\x77", 4);
    disk_close(&d);
}

static uint8_t range_request(Disk *d, uint32_t type, uint64_t sector, uint32_t sectors,
                             uint32_t flags)
{
    qtest_write(d->qts, d->data, sector, 8);
    qtest_write(d->qts, d->data + 8, sectors, 4);
    qtest_write(d->qts, d->data + 12, flags, 4);
    return request(d, type, 0, 16, false);
}

static bool file_is_zero(Disk *d, uint64_t offset, size_t len)
{
    g_autofree uint8_t *bytes = g_malloc(len);
    int fd = open(d->path, O_RDONLY);
    g_assert_cmpint(pread(fd, bytes, len, offset), ==, len);
    close(fd);
    for (size_t i = 0; i < len; i++) {
        if (bytes[i]) {
            return false;
        }
    }
    return true;
}

static void test_discard_and_zeroes(void)
{
    Disk d;
    disk_open(&d, ",discard=unmap", "", F_V1 | F_DISCARD | F_ZEROES);
    g_assert_cmpint(range_request(&d, T_ZEROES, 64, 64, 0), ==, S_OK);
    g_assert_true(file_is_zero(&d, 64 * 512, 64 * 512));
    g_assert_false(file_is_zero(&d, 128 * 512, 512));
    g_assert_cmpint(range_request(&d, T_ZEROES, 1024, 8, 1), ==, S_OK);
    g_assert_true(file_is_zero(&d, 1024 * 512, 4096));
    g_assert_cmpint(range_request(&d, T_DISCARD, 2048, 2048, 0), ==, S_OK);
    g_assert_true(file_is_zero(&d, 1 << 20, 1 << 20));
    /* Flags that are not for it, more than there is, a wrap. */
    g_assert_cmpint(range_request(&d, T_DISCARD, 0, 8, 1), ==, S_UNSUPP);
    g_assert_cmpint(range_request(&d, T_ZEROES, 0, 8, 2), ==, S_UNSUPP);
    g_assert_cmpint(range_request(&d, T_ZEROES, 8190, 8, 0), ==, S_IOERR);
    g_assert_cmpint(range_request(&d, T_ZEROES, UINT64_MAX - 3, 8, 0), ==, S_IOERR);
    g_assert_cmpint(range_request(&d, T_DISCARD, 0, UINT32_MAX, 0), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_DISCARD, 0, 15, false), ==, S_UNSUPP);
    g_assert_cmpint(request(&d, T_DISCARD, 0, 32, false), ==, S_UNSUPP);
    g_assert_false(file_is_zero(&d, 0, 4096));
    disk_close(&d);
}

/* HARDENING 10 */
static void test_bad_requests(void)
{
    Disk d;
    disk_open(&d, "", "", F_V1);
    g_assert_cmpint(request(&d, 77, 0, 512, true), ==, S_UNSUPP);
    g_assert_cmpint(request(&d, T_DISCARD, 0, 16, false), ==, S_UNSUPP); /* not agreed */
    g_assert_cmpint(request(&d, T_IN, 8192, 512, true), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_IN, 8191, 1024, true), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_IN, UINT64_MAX, 512, true), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_IN, UINT64_MAX / 512, 512, true), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_OUT, 1ULL << 55, 512, false), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_IN, 0, 100, true), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_OUT, 0, 513, false), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_IN, 0, 0, true), ==, S_OK);
    check_data(&d);
    disk_close(&d);
}

static void test_readonly(void)
{
    Disk d;
    disk_open(&d, ",readonly=on", "", ALL & ~F_PACKED);
    g_assert_true(d.dev->features & F_RO);
    g_assert_false(d.dev->features & (F_DISCARD | F_ZEROES));
    g_assert_cmpint(request(&d, T_OUT, 0, 512, false), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_IN, 0, 512, true), ==, S_OK);
    disk_close(&d);
}

static void test_block_size(void)
{
    Disk d;
    disk_open(&d, "", ",logical_block_size=4096,physical_block_size=4096", F_V1);
    g_assert_cmpuint(qvirtio_config(d.dev, CFG_BLK_SIZE, 4), ==, 4096);
    g_assert_cmpint(request(&d, T_IN, 0, 512, true), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_IN, 1, 4096, true), ==, S_IOERR);
    g_assert_cmpint(request(&d, T_IN, 8, 4096, true), ==, S_OK);
    disk_close(&d);
}

static void restart(Disk *d, uint64_t features)
{
    qvirtqueue_free(d->vq);
    qvirtio_reset(d->dev);
    qvirtio_negotiate(d->dev, features);
    d->vq = qvirtqueue_new(d->dev, 0, 64, 0xffff);
    qvirtio_driver_ok(d->dev);
}

/* Chains that are no requests: the device stops, says so, and is whole after a reset. */
static void test_malformed_chains(void)
{
    Disk d;
    disk_open(&d, "", "", F_V1);
    const struct {
        QBuffer buffers[2];
        unsigned count;
    } cases[] = {
        { { { d.header, 15, false }, { d.status, 1, true } }, 2 },
        { { { d.header, 16, false } }, 1 },
        { { { d.status, 1, true } }, 1 },
        { { { 0xfee00000, 16, false }, { d.status, 1, true } }, 2 },
        { { { d.header, 0, false }, { d.status, 1, true } }, 2 },
        { { { UINT64_MAX - 3, 16, false }, { d.status, 1, true } }, 2 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        put_header(&d, T_IN, 0);
        qvirtqueue_add(d.vq, cases[i].buffers, cases[i].count);
        qvirtqueue_kick(d.vq);
        while (!(qvirtio_status(d.dev) & NEEDS_RESET)) {
            g_usleep(1000);
        }
        restart(&d, F_V1);
        check_data(&d);
    }
    disk_close(&d);
}

/* Some reads of the same 64 KiB, made available at once and not waited for. */
static void kick_reads(Disk *d, int count)
{
    QBuffer buffers[] = { { d->header, 16, false },
                          { d->data, 65536, true },
                          { d->status, 1, true } };
    put_header(d, T_IN, 0);
    for (int i = 0; i < count; i++) {
        qvirtqueue_add(d->vq, buffers, 3);
    }
    qvirtqueue_kick(d->vq);
}

static void test_resets_with_requests_in_flight(void)
{
    Disk d;
    disk_open(&d, "", "", F_V1);
    for (int round = 0; round < 20; round++) {
        kick_reads(&d, 16);
        restart(&d, F_V1);
        g_assert_cmpint(request(&d, T_IN, 0, 512, true), ==, S_OK);
    }
    g_free(qtest_hmp(d.qts, "system_reset"));
    disk_close(&d);
}

static void test_stop_and_cont_under_load(void)
{
    Disk d;
    disk_open(&d, "", "", F_V1);
    for (int round = 0; round < 10; round++) {
        kick_reads(&d, 16);
        json_object_put(qtest_qmp_ok(d.qts, "{'execute':'stop'}"));
        json_object_put(qtest_qmp_ok(d.qts, "{'execute':'cont'}"));
        for (int i = 0; i < 16; i++) {
            g_assert_cmpuint(qvirtqueue_wait(d.vq, NULL), ==, 65537);
        }
    }
    disk_close(&d);
}

/* A driver that does not know flushes, nor the switch, gets a write-through disk. */
static void test_write_cache(void)
{
    Disk d;
    disk_open(&d, "", "", F_V1);
    g_assert_cmpuint(qvirtio_config(d.dev, CFG_WRITEBACK, 1), ==, 0);
    restart(&d, F_V1 | F_FLUSH);
    g_assert_cmpuint(qvirtio_config(d.dev, CFG_WRITEBACK, 1), ==, 1);
    restart(&d, F_V1 | F_FLUSH | F_WCE);
    qpci_write(d.dev->pci, d.dev->config.bar, d.dev->config.offset + CFG_WRITEBACK, 0, 1);
    g_assert_cmpuint(qvirtio_config(d.dev, CFG_WRITEBACK, 1), ==, 0);
    qvirtio_reset(d.dev);
    g_assert_cmpuint(qvirtio_config(d.dev, CFG_WRITEBACK, 1), ==, 1);
    disk_close(&d);
}

/* HARDENING 4: indices out of range; writes to what is read-only. */
static void test_registers_out_of_range(void)
{
    Disk d;
    disk_open(&d, "", ",num-queues=2", F_V1);
    QPci *pci = d.dev->pci;
    unsigned bar = d.dev->common.bar;
    uint64_t common = d.dev->common.offset;
    g_assert_cmpuint(qpci_read(pci, bar, common + 0x12, 2), ==, 2);
    qpci_write(pci, bar, common + 0x16, 2, 2);
    g_assert_cmpuint(qpci_read(pci, bar, common + 0x18, 2), ==, 0);
    qpci_write(pci, bar, common + 0x18, 64, 2);
    qpci_write(pci, bar, common + 0x1a, 0, 2);
    qpci_write(pci, bar, common + 0x1c, 1, 2);
    qpci_write(pci, bar, common + 0x16, 0xffff, 2);
    qpci_write(pci, bar, common + 0x1c, 1, 2);
    qpci_write(pci, bar, common + 0x16, 1, 2);
    qpci_write(pci, bar, common + 0x1a, 3, 2);
    g_assert_cmpuint(qpci_read(pci, bar, common + 0x1a, 2), ==, 0xffff);
    qpci_write(pci, bar, common + 0x1a, 2, 2);
    g_assert_cmpuint(qpci_read(pci, bar, common + 0x1a, 2), ==, 2);
    for (unsigned i = 0; i < 1024; i += 3) {
        qpci_write(pci, bar, d.dev->notify.offset + 4 * i, i, 2);
    }
    g_assert_cmpuint(qpci_read(pci, bar, d.dev->config.offset + 60, 4), ==, 0);
    check_data(&d);
    disk_close(&d);
}

/* HARDENING 1 */
static void test_queue_registers_after_driver_ok(void)
{
    Disk d;
    disk_open(&d, "", "", F_V1);
    QPci *pci = d.dev->pci;
    unsigned bar = d.dev->common.bar;
    uint64_t common = d.dev->common.offset;
    qpci_write(pci, bar, common + 0x16, 0, 2);
    uint64_t desc = qpci_read(pci, bar, common + 0x20, 4);
    qpci_write(pci, bar, common + 0x18, 256, 2);
    for (unsigned reg = 0x20; reg < 0x38; reg += 4) {
        qpci_write(pci, bar, common + reg, 0xdead0000, 4);
    }
    g_assert_cmphex(qpci_read(pci, bar, common + 0x20, 4), ==, desc);
    g_assert_cmpuint(qpci_read(pci, bar, common + 0x18, 2), ==, 64);
    check_data(&d);
    disk_close(&d);
}

static void test_msix(void)
{
    Disk d;
    disk_open(&d, "", "", F_V1);
    qvirtqueue_free(d.vq);
    qvirtio_reset(d.dev);
    uint64_t word = qpci_msix_aim(d.dev->pci, 1, 0x1234);
    qvirtio_negotiate(d.dev, F_V1);
    d.vq = qvirtqueue_new(d.dev, 0, 64, 1);
    qvirtio_driver_ok(d.dev);
    g_assert_cmpint(request(&d, T_IN, 0, 512, true), ==, S_OK);
    for (int i = 0; i < 5000 && qtest_read(d.qts, word, 4) != 0x1234; i++) {
        g_usleep(1000);
    }
    g_assert_cmphex(qtest_read(d.qts, word, 4), ==, 0x1234);
    disk_close(&d);
}

static void test_intx(void)
{
    Disk d;
    disk_open(&d, "", "", F_V1);
    QPci *pci = d.dev->pci;
    g_assert_cmpint(request(&d, T_IN, 0, 512, true), ==, S_OK);
    uint16_t status = 0;
    for (int i = 0; i < 5000 && !(status & PCI_STATUS_INTERRUPT); i++) {
        status = qpci_config_read(d.qts, pci->bus, pci->devfn, PCI_STATUS, 2);
        g_usleep(1000);
    }
    g_assert_true(status & PCI_STATUS_INTERRUPT);
    g_assert_cmphex(qpci_read(pci, d.dev->isr.bar, d.dev->isr.offset, 1), ==, 1);
    g_assert_cmphex(qpci_read(pci, d.dev->isr.bar, d.dev->isr.offset, 1), ==, 0);
    status = qpci_config_read(d.qts, pci->bus, pci->devfn, PCI_STATUS, 2);
    g_assert_false(status & PCI_STATUS_INTERRUPT);
    disk_close(&d);
}

static uint8_t window_cap(QPci *pci)
{
    uint8_t cap = 0;
    while ((cap = qpci_find_capability(pci, PCI_CAP_ID_VNDR, cap))) {
        if (qpci_config_read(pci->qts, pci->bus, pci->devfn, cap + 3, 1) == 5) {
            return cap;
        }
    }
    return 0;
}

static void test_configuration_window(void)
{
    Disk d;
    disk_open(&d, "", "", F_V1);
    QPci *pci = d.dev->pci;
    uint8_t cap = window_cap(pci);
    g_assert_cmpuint(cap, !=, 0);
    qpci_config_write(d.qts, pci->bus, pci->devfn, cap + 4, 4, 1);
    qpci_config_write(d.qts, pci->bus, pci->devfn, cap + 8, d.dev->config.offset, 4);
    qpci_config_write(d.qts, pci->bus, pci->devfn, cap + 12, 4, 4);
    g_assert_cmpuint(qpci_config_read(d.qts, pci->bus, pci->devfn, cap + 16, 4), ==, 8192);
    qpci_config_write(d.qts, pci->bus, pci->devfn, cap + 8, d.dev->common.offset + 0x16, 4);
    qpci_config_write(d.qts, pci->bus, pci->devfn, cap + 12, 2, 4);
    qpci_config_write(d.qts, pci->bus, pci->devfn, cap + 16, 7, 4);
    g_assert_cmpuint(qpci_read(pci, d.dev->common.bar, d.dev->common.offset + 0x16, 2), ==, 7);
    /* Nonsense selects nothing. */
    static const uint32_t offsets[] = { 0xffffffff, 0x4000, 0x3fff, 1 };
    for (unsigned i = 0; i < G_N_ELEMENTS(offsets); i++) {
        for (uint32_t len = 0; len < 9; len++) {
            qpci_config_write(d.qts, pci->bus, pci->devfn, cap + 8, offsets[i], 4);
            qpci_config_write(d.qts, pci->bus, pci->devfn, cap + 12, len, 4);
            qpci_config_write(d.qts, pci->bus, pci->devfn, cap + 16, 0, 4);
            qpci_config_read(d.qts, pci->bus, pci->devfn, cap + 16, 4);
        }
    }
    qpci_write(pci, d.dev->common.bar, d.dev->common.offset + 0x16, 0, 2);
    disk_close(&d);
}

static void test_legacy(void)
{
    g_autofree char *path = make_file();
    QTest *qts = qtest_start("-drive if=none,id=d,format=raw,file=%s -device "
                             "virtio-blk-pci-transitional,drive=d",
                             path);
    QPci *pci = qpci_find(qts, 0x1af4, 0x1001, 0);
    g_assert_cmphex(qpci_config_read(qts, 0, pci->devfn, PCI_SUBSYSTEM_ID, 2), ==, 2);
    g_assert_true(pci->bar_io[0]);
    g_assert_cmpuint(qpci_read(pci, 0, 0x14, 4), ==, 8192);
    qpci_write(pci, 0, 0x12, 3, 1);
    qpci_write(pci, 0, 4, 0, 4);
    uint16_t num = qpci_read(pci, 0, 0x0c, 2);
    g_assert_cmpuint(num, ==, 256);
    uint64_t ring = qtest_alloc(qts, 16384, 4096);
    uint64_t data = qtest_alloc(qts, 4096, 4096);
    qpci_write(pci, 0, 8, ring >> 12, 4);
    g_assert_cmpuint(qpci_read(pci, 0, 8, 4), ==, ring >> 12);
    qpci_write(pci, 0, 0x12, 7, 1);
    /* Header, 512 bytes, status; the used ring begins at the page behind the available one. */
    const uint64_t addr[] = { data, data + 512, data + 64 };
    const uint32_t len[] = { 16, 512, 1 };
    const uint16_t flags[] = { 1, 3, 2 };
    for (int i = 0; i < 3; i++) {
        qtest_write(qts, ring + 16 * i, addr[i], 8);
        qtest_write(qts, ring + 16 * i + 8, len[i], 4);
        qtest_write(qts, ring + 16 * i + 12, flags[i], 2);
        qtest_write(qts, ring + 16 * i + 14, i + 1, 2);
    }
    qtest_write(qts, data, 0, 8);
    qtest_write(qts, data + 8, 3, 8);
    qtest_write(qts, data + 64, S_UNTOUCHED, 1);
    qtest_write(qts, ring + 16 * num + 4, 0, 2);
    qtest_write(qts, ring + 16 * num + 2, 1, 2);
    qpci_write(pci, 0, 0x10, 0, 2);
    for (int i = 0; i < 5000 && qtest_read(qts, ring + 8192 + 2, 2) != 1; i++) {
        g_usleep(1000);
    }
    g_assert_cmpuint(qtest_read(qts, ring + 8192 + 2, 2), ==, 1);
    g_assert_cmpuint(qtest_read(qts, ring + 8192 + 8, 4), ==, 513);
    g_assert_cmpuint(qtest_read(qts, data + 64, 1), ==, S_OK);
    g_assert_cmpuint(qtest_read(qts, data + 512 + 7, 1), ==, (uint8_t)(3 + (3 * 512 + 7) % 251));
    g_assert_cmpuint(qpci_read(pci, 0, 0x13, 1), ==, 1);
    qpci_write(pci, 0, 8, 0, 4);
    g_assert_cmpuint(qpci_read(pci, 0, 0x12, 1), ==, 0);
    g_free(pci);
    qtest_stop(qts);
    g_unlink(path);
}

static void test_identity(void)
{
    g_autofree char *path = make_file();
    QTest *qts = qtest_start("-smp 4 -drive if=none,id=d,format=raw,file=%s -device pcie-root-port,"
                             "id=rp -device virtio-blk-pci-non-transitional,drive=d",
                             path);
    QPci *pci = qpci_find(qts, 0x1af4, 0x1042, 0);
    g_assert_nonnull(pci);
    g_assert_cmphex(qpci_config_read(qts, 0, pci->devfn, PCI_REVISION_ID, 1), ==, 1);
    g_assert_cmphex(qpci_config_read(qts, 0, pci->devfn, PCI_CLASS_DEVICE, 2), ==, 0x0100);
    QVirtio *dev = qvirtio_new(pci);
    g_assert_cmpuint(qvirtio_config(dev, CFG_NUM_QUEUES, 2), ==, 4);
    qvirtio_free(dev);
    qtest_stop(qts);
    g_unlink(path);
}

/* Four queues on two I/O threads, all with requests at a time. */
static void test_several_queues(void)
{
    Disk d = { .path = make_file() };
    d.qts = qtest_start("-drive if=none,id=d,format=raw,file=%s -object iothread,id=a "
                        "-object iothread,id=b -device '{\"driver\":\"virtio-blk-pci\","
                        "\"drive\":\"d\",\"num-queues\":4,\"iothread-vq-mapping\":["
                        "{\"iothread\":\"a\",\"vqs\":[0,3]},{\"iothread\":\"b\",\"vqs\":[2,1]}]}'",
                        d.path);
    QVirtQueue *queues[4];
    d.dev = qvirtio_new(qpci_find(d.qts, 0x1af4, 0x1001, 0));
    d.header = qtest_alloc(d.qts, 64, 64);
    d.data = qtest_alloc(d.qts, 1 << 20, 4096);
    d.status = qtest_alloc(d.qts, 64, 64);
    qvirtio_reset(d.dev);
    qvirtio_negotiate(d.dev, F_V1 | F_MQ);
    for (unsigned i = 0; i < 4; i++) {
        queues[i] = qvirtqueue_new(d.dev, i, 64, 0xffff);
    }
    qvirtio_driver_ok(d.dev);
    put_header(&d, T_IN, 16);
    for (unsigned i = 0; i < 64; i++) {
        QBuffer buffers[] = { { d.header, 16, false },
                              { d.data + i * 4096, 4096, true },
                              { d.status, 1, true } };
        qvirtqueue_add(queues[i % 4], buffers, 3);
    }
    for (unsigned i = 0; i < 4; i++) {
        qvirtqueue_kick(queues[i]);
    }
    for (unsigned i = 0; i < 64; i++) {
        g_assert_cmpuint(qvirtqueue_wait(queues[i % 4], NULL), ==, 4097);
    }
    for (unsigned i = 0; i < 4; i++) {
        d.vq = queues[i];
        check_data(&d);
    }
    for (unsigned i = 0; i < 3; i++) {
        qvirtqueue_free(queues[i]);
    }
    disk_close(&d);
}

static void check_mapping_refused(const char *mapping, const char *message)
{
    g_autofree char *path = make_file();
    g_autofree char *line =
        g_strdup_printf("-drive if=none,id=d,format=raw,file=%s -object iothread,id=a -device "
                        "'{\"driver\":\"virtio-blk-pci\",\"drive\":\"d\",\"num-queues\":2,"
                        "\"iothread-vq-mapping\":%s}'",
                        path, mapping);
    qtest_assert_refused(line, message);
    g_unlink(path);
}

static void test_refused_mappings(void)
{
    check_mapping_refused("[{\"iothread\":\"nix\"}]", "nix");
    check_mapping_refused("[{\"iothread\":\"a\",\"vqs\":[0]}]", "queue 1 has no I/O thread");
    check_mapping_refused("[{\"iothread\":\"a\",\"vqs\":[0,0]}]", "named twice");
    check_mapping_refused("[{\"iothread\":\"a\",\"vqs\":[0,1,2]}]", "does not exist");
    check_mapping_refused("[{\"iothread\":\"a\",\"vqs\":[0,1]},{\"iothread\":\"a\"}]",
                          "some have not");
}

/* ---- The command line ---- */

static void check_refused(const char *extra, const char *message)
{
    g_autofree char *path = make_file();
    g_autofree char *line = g_strdup_printf(
        "-drive if=none,id=d,format=raw,file=%s -device virtio-blk-pci%s", path, extra);
    qtest_assert_refused(line, message);
    g_unlink(path);
}

static void test_refused_properties(void)
{
    check_refused("", "drive=ID");
    check_refused(",drive=nix", "nix");
    check_refused(",drive=d,queue-size=100", "queue-size=100");
    check_refused(",drive=d,logical_block_size=1000", "logical_block_size=1000");
    check_refused(",drive=d,logical_block_size=4096,min_io_size=512", "min_io_size=512");
    check_refused(",drive=d,iothread=nix", "nix");
    check_refused(",drive=d,iommu_platform=on", "iommu_platform=on");
    check_refused(",drive=d,disable-modern=on,disable-legacy=on", "disable-legacy=on");
    check_refused(",drive=d,num-queues=0", "num-queues");
    check_refused(",drive=d,vectors=5000", "vectors=5000");
    check_refused(",drive=d,drvie=x", "drvie");
}

static const uint64_t split = F_V1, indirect = F_V1 | F_INDIRECT | F_EVENT,
                      packed = F_V1 | F_PACKED, packed_event = F_V1 | F_PACKED | F_EVENT;

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/virtio-blk/data/split", &split, test_data);
    g_test_add_data_func("/virtio-blk/data/indirect-and-event-index", &indirect, test_data);
    g_test_add_data_func("/virtio-blk/data/packed", &packed, test_data);
    g_test_add_data_func("/virtio-blk/data/packed-and-event-index", &packed_event, test_data);
    g_test_add_func("/virtio-blk/serial-number", test_get_id);
    g_test_add_func("/virtio-blk/discard-and-write-zeroes", test_discard_and_zeroes);
    g_test_add_func("/virtio-blk/bad-requests-fail-alone", test_bad_requests);
    g_test_add_func("/virtio-blk/read-only", test_readonly);
    g_test_add_func("/virtio-blk/block-size", test_block_size);
    g_test_add_func("/virtio-blk/malformed-chains-need-a-reset", test_malformed_chains);
    g_test_add_func("/virtio-blk/resets-with-requests-in-flight",
                    test_resets_with_requests_in_flight);
    g_test_add_func("/virtio-blk/stop-and-cont-under-load", test_stop_and_cont_under_load);
    g_test_add_func("/virtio-blk/write-cache-follows-the-driver", test_write_cache);
    g_test_add_func("/virtio-blk/registers-out-of-range", test_registers_out_of_range);
    g_test_add_func("/virtio-blk/queue-registers-are-locked", test_queue_registers_after_driver_ok);
    g_test_add_func("/virtio-blk/interrupt-by-msix", test_msix);
    g_test_add_func("/virtio-blk/interrupt-by-line", test_intx);
    g_test_add_func("/virtio-blk/window-in-configuration-space", test_configuration_window);
    g_test_add_func("/virtio-blk/legacy-interface", test_legacy);
    g_test_add_func("/virtio-blk/identity-and-queues", test_identity);
    g_test_add_func("/virtio-blk/several-queues-on-io-threads", test_several_queues);
    g_test_add_func("/virtio-blk/bad-properties-are-refused", test_refused_properties);
    g_test_add_func("/virtio-blk/bad-queue-mappings-are-refused", test_refused_mappings);
    return g_test_run();
}
