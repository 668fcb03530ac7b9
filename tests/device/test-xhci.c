/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xHCI over qtest: registers, commands, transfers, mass storage, hub, input, hostile rings. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/device/libqtest-xhci.h"
#include "vmm/util/bytes.h"

#define DISK_BYTES (1 << 20)
#define USB3_PORT  1 /* the registers of connector 1 */
#define USB2_PORT  5
#define HUB_ARGS   " -device usb-hub,bus=x.0,port=1,id=h"

typedef struct Disk {
    char *path;
    QXhci *x;
} Disk;

static char *make_file(void)
{
    char *path = g_strdup("test-xhci-XXXXXX");
    int fd = g_mkstemp(path);
    g_autofree uint8_t *bytes = g_malloc(DISK_BYTES);
    for (int i = 0; i < DISK_BYTES; i++) {
        bytes[i] = i / 512 + i % 251;
    }
    g_assert_cmpint(write(fd, bytes, DISK_BYTES), ==, DISK_BYTES);
    close(fd);
    return path;
}

static QXhci *open_with(const char *args)
{
    return qxhci_new(qtest_start("-device qemu-xhci,id=x%s", args));
}

static void disk_open(Disk *d, const char *before, const char *device)
{
    d->path = make_file();
    g_autofree char *args = g_strdup_printf("%s -drive if=none,id=d,format=raw,file=%s "
                                            "-device usb-storage,bus=x.0,id=s,drive=d%s",
                                            before, d->path, device);
    d->x = open_with(args);
}

static void disk_close(Disk *d)
{
    qxhci_free(d->x);
    g_unlink(d->path);
    g_free(d->path);
}

static uint8_t disk_byte(int i)
{
    return i / 512 + i % 251;
}

/* ---- Registers ---- */

static void test_capabilities(void)
{
    QXhci *x = open_with(",p2=3,p3=2,slots=8,intrs=4");
    g_assert_cmphex(qpci_read(x->pci, 0, 0, 4), ==, 0x01000040);
    g_assert_cmphex(qpci_read(x->pci, 0, 4, 4), ==, 0x05000408);
    g_assert_cmphex(qpci_read(x->pci, 0, 0x20, 4), ==, 0x02000402);
    g_assert_cmphex(qpci_read(x->pci, 0, 0x24, 4), ==, 0x20425355);
    g_assert_cmphex(qpci_read(x->pci, 0, 0x28, 4), ==, 0x0303); /* 3 ports from port 3 */
    g_assert_cmphex(qpci_read(x->pci, 0, 0x38, 4), ==, 0x0201);
    g_assert_cmphex(qpci_config_read(x->qts, 0, x->pci->devfn, 0x08, 4), ==, 0x0c033001);
    g_assert_cmphex(qpci_config_read(x->qts, 0, x->pci->devfn, 0x60, 1), ==, 0x30);
    qxhci_free(x);
}

static void test_ports_show_devices(void)
{
    QXhci *x = open_with(" -device usb-hub,bus=x.0,port=2"
                         " -blockdev driver=null-co,node-name=n,size=1M"
                         " -device usb-storage,bus=x.0,port=1,drive=n");
    g_assert_cmphex(qxhci_portsc(x, 1) & 0x3fff, ==, 0x1203); /* connected, enabled, 5 Gb/s */
    g_assert_cmphex(qxhci_portsc(x, 2) & 0x3fff, ==, 0x02a0); /* nothing: receiver detection */
    g_assert_cmphex(qxhci_portsc(x, 5) & 1, ==, 0);
    g_assert_cmphex(qxhci_portsc(x, 6) & 0x3fff, ==, 0x06e1); /* full speed, polling */
    qxhci_reset_port(x, 6);
    g_assert_cmphex(qxhci_portsc(x, 6) & 0x3fff, ==, 0x0603);
    g_autofree char *text = qtest_hmp(x->qts, "info usb");
    g_assert_nonnull(strstr(text, "Port 2, Speed 12 Mb/s, Product QEMU USB Hub"));
    g_assert_nonnull(strstr(text, "Port 1, Speed 5000 Mb/s, Product QEMU USB MSD"));
    qxhci_free(x);
}

static void test_refused(void)
{
    qtest_assert_refused("-device usb-hub", "no usb-bus bus");
    qtest_assert_refused("-device qemu-xhci,p2=16", "0 to 15 ports");
    qtest_assert_refused("-device qemu-xhci,slots=65", "slots=65");
    qtest_assert_refused("-device qemu-xhci -device usb-hub,port=9", "usb port 9 (bus usb-bus.0)");
    qtest_assert_refused("-device qemu-xhci -device usb-hub,port=1 -device usb-hub,port=1",
                         "usb port 1 (bus usb-bus.0) is taken");
    qtest_assert_refused("-device qemu-xhci,p2=1 -device usb-hub -device usb-hub,port=1.2 "
                         "-device usb-hub,port=1.2.1 -device usb-hub,port=1.2.1.1 "
                         "-device usb-hub,port=1.2.1.1.1 -device usb-hub,port=1.2.1.1.1.1",
                         "5 hubs");
    qtest_assert_refused("-device qemu-xhci -device usb-storage", "drive");
}

/* ---- Commands ---- */

static void test_slots(void)
{
    QXhci *x = open_with(",slots=2");
    unsigned slot = 0;
    g_assert_cmpuint(qxhci_command(x, XCMD_NOOP, 0, 0, NULL), ==, XCC_SUCCESS);
    for (unsigned i = 1; i <= 2; i++) {
        g_assert_cmpuint(qxhci_command(x, XCMD_ENABLE, 0, 0, &slot), ==, XCC_SUCCESS);
        g_assert_cmpuint(slot, ==, i);
    }
    g_assert_cmpuint(qxhci_command(x, XCMD_ENABLE, 0, 0, &slot), ==, XCC_NO_SLOTS);
    slot = 1;
    g_assert_cmpuint(qxhci_command(x, XCMD_DISABLE, 0, 0, &slot), ==, XCC_SUCCESS);
    g_assert_cmpuint(qxhci_command(x, XCMD_DISABLE, 0, 0, &slot), ==, XCC_NOT_ENABLED);
    /* Slots that are not there; nothing plugged in; endpoints that are not enabled. */
    for (unsigned bad = 0; bad < 256; bad += 51) {
        slot = bad;
        g_assert_cmpuint(qxhci_command(x, XCMD_STOP_EP, 0, 3 << 16, &slot), ==, XCC_TRB);
    }
    slot = 2;
    g_assert_cmpuint(qxhci_address(x, slot, 1, 0, false), ==, XCC_TRANSACTION);
    g_assert_cmpuint(qxhci_address(x, slot, 200, 0, false), ==, XCC_TRANSACTION);
    g_assert_cmpuint(qxhci_command(x, XCMD_STOP_EP, 0, 3 << 16, &slot), ==, XCC_EP_DISABLED);
    g_assert_cmpuint(qxhci_command(x, XCMD_RESET_EP, 0, 0, &slot), ==, XCC_TRB);
    g_assert_cmpuint(qxhci_command(x, 60, 0, 0, &slot), ==, XCC_TRB);
    qxhci_free(x);
}

static void test_many_commands_wrap_the_rings(void)
{
    QXhci *x = open_with("");
    for (unsigned i = 0; i < 700; i++) {
        g_assert_cmpuint(qxhci_command(x, XCMD_NOOP, 0, 0, NULL), ==, XCC_SUCCESS);
    }
    qxhci_free(x);
}

static void test_device_states(void)
{
    Disk d;
    disk_open(&d, "", ",port=1");
    QXhci *x = d.x;
    static const uint8_t types[] = { 6, 2 }, wrong[] = { 2 };
    unsigned slot = 0;
    qxhci_command(x, XCMD_ENABLE, 0, 0, &slot);
    g_assert_cmpuint(qxhci_configure(x, slot, 1 << 3, types), ==, XCC_CONTEXT);
    g_assert_cmpuint(qxhci_address(x, slot, USB3_PORT, 0, true), ==, XCC_SUCCESS);
    g_assert_cmphex(qxhci_context(x, slot, 0, 3), ==, 1U << 27);
    g_assert_cmpuint(qxhci_address(x, slot, USB3_PORT, 0, false), ==, XCC_SUCCESS);
    g_assert_cmphex(qxhci_context(x, slot, 0, 3), ==, 2U << 27 | slot);
    g_assert_cmpuint(qxhci_address(x, slot, USB3_PORT, 0, false), ==, XCC_CONTEXT);
    g_assert_cmpuint(qxhci_configure(x, slot, 1 << 3, wrong), ==, XCC_PARAMETER);
    g_assert_cmpuint(qxhci_configure(x, slot, 3 << 3, types), ==, XCC_SUCCESS);
    g_assert_cmphex(qxhci_context(x, slot, 0, 3), ==, 3U << 27 | slot);
    g_assert_cmphex(qxhci_context(x, slot, 3, 0) & 7, ==, 1);
    /* A second slot for the same device. */
    unsigned other = 0;
    qxhci_command(x, XCMD_ENABLE, 0, 0, &other);
    g_assert_cmpuint(qxhci_address(x, other, USB3_PORT, 0, false), ==, XCC_TRB);
    /* Endpoint states. */
    g_assert_cmpuint(qxhci_command(x, XCMD_RESET_EP, 0, 3 << 16, &slot), ==, XCC_CONTEXT);
    g_assert_cmpuint(qxhci_command(x, XCMD_SET_DEQUEUE, 1, 3 << 16, &slot), ==, XCC_CONTEXT);
    g_assert_cmpuint(qxhci_command(x, XCMD_STOP_EP, 0, 3 << 16, &slot), ==, XCC_SUCCESS);
    g_assert_cmphex(qxhci_context(x, slot, 3, 0) & 7, ==, 3);
    g_assert_cmpuint(qxhci_command(x, XCMD_SET_DEQUEUE, 0x5001, 3 << 16, &slot), ==, XCC_SUCCESS);
    g_assert_cmphex(qxhci_context(x, slot, 3, 2), ==, 0x5001);
    g_assert_cmpuint(qxhci_command(x, XCMD_RESET_DEVICE, 0, 0, &slot), ==, XCC_SUCCESS);
    g_assert_cmphex(qxhci_context(x, slot, 0, 3), ==, 1U << 27);
    g_assert_cmphex(qxhci_context(x, slot, 3, 0) & 7, ==, 0);
    disk_close(&d);
}

/* ---- Control transfers ---- */

static void test_descriptors(void)
{
    Disk d;
    disk_open(&d, "", ",port=1,serial=abc");
    QXhci *x = d.x;
    uint8_t data[256];
    unsigned moved, slot = qxhci_attach(x, USB3_PORT, 0);
    g_assert_cmpuint(qxhci_control(x, slot, 0x80, 6, 0x100, 0, 18, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmpuint(moved, ==, 18);
    g_assert_cmphex(load_le16(data + 2), ==, 0x0300);
    g_assert_cmphex(load_le32(data + 8), ==, 0x000146f4);
    g_assert_cmpuint(qxhci_control(x, slot, 0x80, 6, 0x200, 0, 255, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmpuint(moved, ==, 9 + 9 + 2 * (7 + 6));
    g_assert_cmpuint(load_le16(data + 2), ==, moved);
    g_assert_cmpuint(qxhci_control(x, slot, 0x80, 6, 0x200, 0, 9, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmpuint(moved, ==, 9);
    g_assert_cmpuint(qxhci_control(x, slot, 0x80, 6, 0x303, 0x409, 255, data, &moved), ==,
                     XCC_SUCCESS);
    g_assert_cmpmem(data, moved, "\x08\x03\x61\0\x62\0\x63\0", 8);
    g_assert_cmpuint(qxhci_control(x, slot, 0x80, 6, 0xf00, 0, 255, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmpuint(moved, ==, 22);
    g_assert_cmpuint(qxhci_control(x, slot, 0xa1, 0xfe, 0, 0, 1, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmpuint(data[0], ==, 0);
    /* Configuration, status, features. */
    g_assert_cmpuint(qxhci_control(x, slot, 0, 9, 1, 0, 0, NULL, NULL), ==, XCC_SUCCESS);
    g_assert_cmpuint(qxhci_control(x, slot, 0x80, 8, 0, 0, 1, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmpuint(data[0], ==, 1);
    g_assert_cmpuint(qxhci_control(x, slot, 2, 3, 0, 0x81, 0, NULL, NULL), ==, XCC_SUCCESS);
    g_assert_cmpuint(qxhci_control(x, slot, 0x82, 0, 0, 0x81, 2, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmphex(load_le16(data), ==, 1);
    g_assert_cmpuint(qxhci_control(x, slot, 2, 1, 0, 0x81, 0, NULL, NULL), ==, XCC_SUCCESS);
    g_assert_cmpuint(qxhci_control(x, slot, 0x82, 0, 0, 0x81, 2, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmphex(load_le16(data), ==, 0);
    disk_close(&d);
}

static void recover(QXhci *x, unsigned slot, unsigned epid)
{
    QXhciRing *ring = &x->rings[slot][epid];
    g_assert_cmphex(qxhci_context(x, slot, epid, 0) & 7, ==, 2);
    g_assert_cmpuint(qxhci_command(x, XCMD_RESET_EP, 0, epid << 16, &slot), ==, XCC_SUCCESS);
    g_assert_cmpuint(qxhci_command(x, XCMD_SET_DEQUEUE,
                                   (ring->addr + 16 * ring->next) | ring->cycle, epid << 16, &slot),
                     ==, XCC_SUCCESS);
}

static void test_bad_setup_packets_stall(void)
{
    static const struct {
        uint8_t type, request;
        uint16_t value, index, length;
    } bad[] = {
        { 0x80, 6, 0x4200, 0, 64 },   { 0x80, 6, 0x0305, 0x409, 255 + 0xff00 },
        { 0x80, 6, 0x03ff, 0, 64 },   { 0x00, 9, 7, 0, 0 },
        { 0x01, 11, 1, 0, 0 },        { 0x01, 11, 0, 0xffff, 0 },
        { 0x81, 10, 0, 0x1234, 1 },   { 0x82, 0, 0, 0xff0f, 2 },
        { 0x02, 3, 0, 0x0f, 0 },      { 0xff, 0xff, 0xffff, 0xffff, 0xffff },
        { 0x21, 0x33, 0, 0, 0xffff }, { 0x00, 5, 300, 0, 0 },
        { 0x00, 3, 99, 0, 0 },
    };
    Disk d;
    disk_open(&d, "", ",port=1");
    QXhci *x = d.x;
    g_autofree uint8_t *data = g_malloc0(65536);
    unsigned slot = qxhci_attach(x, USB3_PORT, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_cmpuint(qxhci_control(x, slot, bad[i].type, bad[i].request, bad[i].value,
                                       bad[i].index, bad[i].length, data, NULL),
                         ==, XCC_STALL);
        recover(x, slot, 1);
    }
    g_assert_cmpuint(qxhci_control(x, slot, 0x80, 6, 0x100, 0, 18, data, NULL), ==, XCC_SUCCESS);
    disk_close(&d);
}

/* The data stage, the setup packet and the buffer need not agree. */
static void test_setup_length_is_bounded_by_the_buffer(void)
{
    Disk d;
    disk_open(&d, "", ",port=1");
    QXhci *x = d.x;
    unsigned slot = qxhci_attach(x, USB3_PORT, 0);
    QXhciRing *ring = &x->rings[slot][1];
    qtest_memset(x->qts, x->buffer, 0xee, 64);
    qxhci_put(x, ring, 0x00ff000002000680ULL, 8, XTRB_SETUP << XTRB_TYPE | XTRB_IDT | 3 << 16);
    qxhci_put(x, ring, x->buffer, 5, XTRB_DATA << XTRB_TYPE | XTRB_IN);
    qxhci_put(x, ring, 0, 0, XTRB_STATUS << XTRB_TYPE | XTRB_IOC);
    qxhci_doorbell(x, slot, 1);
    QXhciTrb event = qxhci_event(x, XEV_TRANSFER);
    g_assert_cmpuint(qxhci_code(&event), ==, XCC_SUCCESS);
    g_assert_cmphex(qtest_read(x->qts, x->buffer + 4, 2), ==, 0xee01);
    disk_close(&d);
}

/* ---- Mass storage ---- */

static void storage_round(QXhci *x, unsigned slot)
{
    static const uint8_t inquiry[6] = { 0x12, 0, 0, 0, 36, 0 };
    uint8_t data[4096];
    uint32_t residue;
    qbot_ready(x, slot);
    g_assert_cmpuint(qbot_run(x, slot, inquiry, 6, 36, true, &residue), ==, 0);
    g_assert_cmpuint(residue, ==, 0);
    qtest_memread(x->qts, x->buffer, data, 36);
    g_assert_cmpmem(data + 8, 8, "QEMU    ", 8);
    g_assert_cmpuint(qbot_rw(x, slot, 3, 8, false), ==, 0);
    qtest_memread(x->qts, x->buffer, data, sizeof(data));
    for (unsigned i = 0; i < sizeof(data); i++) {
        g_assert_cmpuint(data[i], ==, disk_byte(3 * 512 + i));
    }
    for (unsigned i = 0; i < sizeof(data); i++) {
        data[i] = 255 - i % 253;
    }
    qtest_memwrite(x->qts, x->buffer, data, sizeof(data));
    g_assert_cmpuint(qbot_rw(x, slot, 100, 8, true), ==, 0);
    qtest_memset(x->qts, x->buffer, 0, sizeof(data));
    g_assert_cmpuint(qbot_rw(x, slot, 100, 8, false), ==, 0);
    uint8_t again[4096];
    qtest_memread(x->qts, x->buffer, again, sizeof(again));
    g_assert_cmpmem(again, sizeof(again), data, sizeof(data));
}

static void test_storage(void)
{
    Disk d;
    disk_open(&d, "", ",port=1");
    storage_round(d.x, qbot_open(d.x, USB3_PORT, 0));
    disk_close(&d);
}

static void test_storage_usb2(void)
{
    Disk d;
    d.path = make_file();
    g_autofree char *args = g_strdup_printf(",p3=0 -drive if=none,id=d,format=raw,file=%s "
                                            "-device usb-storage,bus=x.0,drive=d",
                                            d.path);
    d.x = open_with(args);
    qxhci_reset_port(d.x, 1);
    g_assert_cmphex(qxhci_portsc(d.x, 1) >> 10 & 0xf, ==, 3); /* high speed */
    storage_round(d.x, qbot_open(d.x, 1, 0));
    disk_close(&d);
}

/* Data in many pieces, over pages and TRBs, by one descriptor. */
static void test_chained_buffers(void)
{
    static const unsigned lengths[] = { 1, 511, 3, 1021, 4096, 2560 };
    Disk d;
    disk_open(&d, "", ",port=1");
    QXhci *x = d.x;
    unsigned slot = qbot_open(x, USB3_PORT, 0), at = 7, done = 0;
    uint8_t cdb[10] = { 0x28, [8] = 16 }, data[8192];
    QXhciRing *ring = &x->rings[slot][QBOT_IN];
    qbot_ready(x, slot);
    for (unsigned round = 0; round < 20; round++) {
        qbot_command(x, slot, 9, cdb, 10, 8192, true);
        at = 7;
        for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
            bool last = i == G_N_ELEMENTS(lengths) - 1;
            qxhci_put(x, ring, x->buffer + at, lengths[i],
                      XTRB_NORMAL << XTRB_TYPE | (last ? XTRB_IOC : XTRB_CHAIN));
            at += lengths[i] + 100;
        }
        qxhci_doorbell(x, slot, QBOT_IN);
        QXhciTrb event = qxhci_event(x, XEV_TRANSFER);
        g_assert_cmpuint(qxhci_code(&event), ==, XCC_SUCCESS);
        g_assert_cmpuint(qbot_status(x, slot, 9, NULL), ==, 0);
    }
    at = 7;
    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        qtest_memread(x->qts, x->buffer + at, data, lengths[i]);
        for (unsigned j = 0; j < lengths[i]; j++) {
            g_assert_cmpuint(data[j], ==, disk_byte(done++));
        }
        at += lengths[i] + 100;
    }
    disk_close(&d);
}

/* A data phase in several transfers; the host's length above and below the unit's. */
static void test_data_phases(void)
{
    Disk d;
    disk_open(&d, "", ",port=1");
    QXhci *x = d.x;
    uint32_t rest, residue;
    unsigned slot = qbot_open(x, USB3_PORT, 0);
    uint8_t read4[10] = { 0x28, [8] = 4 }, write1[10] = { 0x2a, [8] = 1 }, ready[6] = { 0 };
    uint8_t bad[6] = { 0xee };
    qbot_ready(x, slot);
    qbot_command(x, slot, 1, read4, 10, 2048, true);
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmpuint(qxhci_transfer(x, slot, QBOT_IN, x->buffer, 512, &rest), ==, XCC_SUCCESS);
        g_assert_cmpuint(qtest_read(x->qts, x->buffer + 5, 1), ==, disk_byte(512 * i + 5));
    }
    g_assert_cmpuint(qbot_status(x, slot, 1, &residue), ==, 0);
    /* The host expects more (case 5): zeros, and how many. */
    qtest_memset(x->qts, x->buffer, 0xaa, 4096);
    g_assert_cmpuint(qbot_run(x, slot, read4, 10, 4096, true, &residue), ==, 0);
    g_assert_cmpuint(residue, ==, 2048);
    g_assert_cmphex(qtest_read(x->qts, x->buffer + 2048, 4), ==, 0);
    /* Less (case 7), nothing (case 2), the other direction (case 10): phase errors. */
    g_assert_cmpuint(qbot_run(x, slot, read4, 10, 1024, true, &residue), ==, 2);
    g_assert_cmpuint(qbot_run(x, slot, read4, 10, 0, true, &residue), ==, 2);
    g_assert_cmpuint(qbot_run(x, slot, write1, 10, 512, true, &residue), ==, 2);
    g_assert_cmpuint(residue, ==, 512);
    g_assert_cmpuint(qbot_run(x, slot, read4, 10, 512, false, &residue), ==, 2);
    /* A command without data and one that fails, with a data phase. */
    g_assert_cmpuint(qbot_run(x, slot, ready, 6, 64, true, &residue), ==, 0);
    g_assert_cmpuint(residue, ==, 64);
    g_assert_cmpuint(qbot_run(x, slot, bad, 6, 64, true, &residue), ==, 1);
    g_assert_cmpuint(residue, ==, 64);
    g_assert_cmpuint(qbot_run(x, slot, bad, 6, 0, true, &residue), ==, 1);
    /* A transfer that is longer than what is left is short. */
    qbot_command(x, slot, 2, read4, 10, 2048, true);
    g_assert_cmpuint(qxhci_transfer(x, slot, QBOT_IN, x->buffer, 8192, &rest), ==, XCC_SHORT);
    g_assert_cmpuint(rest, ==, 8192 - 2048);
    g_assert_cmpuint(qbot_status(x, slot, 2, &residue), ==, 0);
    g_assert_cmpuint(qbot_rw(x, slot, 0, 1, false), ==, 0);
    disk_close(&d);
}

static void test_invalid_command_needs_recovery(void)
{
    Disk d;
    disk_open(&d, "", ",port=1");
    QXhci *x = d.x;
    unsigned slot = qbot_open(x, USB3_PORT, 0);
    qbot_ready(x, slot);
    for (unsigned length = 1; length < 64; length += 6) {
        qtest_memset(x->qts, x->buffer, 0x55, 64);
        g_assert_cmpuint(qxhci_transfer(x, slot, QBOT_OUT, x->buffer, length, NULL), ==, XCC_STALL);
        recover(x, slot, QBOT_OUT);
        /* Still halted before the reset and the features are cleared. */
        g_assert_cmpuint(qxhci_transfer(x, slot, QBOT_OUT, x->buffer, 31, NULL), ==, XCC_STALL);
        recover(x, slot, QBOT_OUT);
        g_assert_cmpuint(qxhci_control(x, slot, 0x21, 0xff, 0, 0, 0, NULL, NULL), ==, XCC_SUCCESS);
        g_assert_cmpuint(qxhci_control(x, slot, 2, 1, 0, 0x81, 0, NULL, NULL), ==, XCC_SUCCESS);
        g_assert_cmpuint(qxhci_control(x, slot, 2, 1, 0, 0x02, 0, NULL, NULL), ==, XCC_SUCCESS);
        g_assert_cmpuint(qbot_rw(x, slot, 0, 1, false), ==, 0);
    }
    disk_close(&d);
}

/* A status that is asked for before the command waits; stopping it gives it back. */
static void test_stop_endpoint_gives_the_packet_back(void)
{
    Disk d;
    disk_open(&d, "", ",port=1");
    QXhci *x = d.x;
    unsigned slot = qbot_open(x, USB3_PORT, 0);
    QXhciRing *ring = &x->rings[slot][QBOT_IN];
    uint64_t at = ring->addr + 16 * ring->next;
    qxhci_put(x, ring, x->buffer, 13, XTRB_NORMAL << XTRB_TYPE | XTRB_IOC);
    qxhci_doorbell(x, slot, QBOT_IN);
    qxhci_put(x, &x->commands, 0, 0, XCMD_STOP_EP << XTRB_TYPE | slot << 24 | QBOT_IN << 16);
    qxhci_doorbell(x, 0, 0);
    QXhciTrb event = qxhci_event(x, XEV_TRANSFER);
    g_assert_cmpuint(qxhci_code(&event), ==, XCC_STOPPED);
    g_assert_cmphex(event.parameter, ==, at);
    g_assert_cmpuint(event.status & 0xffffff, ==, 13);
    event = qxhci_event(x, XEV_COMMAND);
    g_assert_cmpuint(qxhci_code(&event), ==, XCC_SUCCESS);
    g_assert_cmphex(qxhci_context(x, slot, QBOT_IN, 2), ==, at | 1);
    /* The bell starts it again, where it stood. */
    qxhci_doorbell(x, slot, QBOT_IN);
    static const uint8_t ready[6] = { 0 };
    uint8_t cbw[31] = { 'U', 'S', 'B', 'C', [14] = 6 };
    memcpy(cbw + 15, ready, 6);
    qtest_memwrite(x->qts, x->buffer + 64, cbw, 31);
    qxhci_put(x, &x->rings[slot][QBOT_OUT], x->buffer + 64, 31, XTRB_NORMAL << XTRB_TYPE);
    qxhci_doorbell(x, slot, QBOT_OUT);
    event = qxhci_event(x, XEV_TRANSFER);
    g_assert_cmpuint(qxhci_code(&event), ==, XCC_SUCCESS);
    g_assert_cmphex(qtest_read(x->qts, x->buffer, 4), ==, 0x53425355);
    disk_close(&d);
}

/* ---- Hub, hot-plug ---- */

static void test_hub(void)
{
    Disk d;
    disk_open(&d, HUB_ARGS, ",port=1.3");
    QXhci *x = d.x;
    uint8_t data[64];
    unsigned moved;
    qxhci_reset_port(x, USB2_PORT);
    unsigned hub = qxhci_attach(x, USB2_PORT, 0);
    g_assert_cmpuint(qxhci_control(x, hub, 0xa0, 6, 0x2900, 0, 64, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmpuint(data[2], ==, 8);
    g_assert_cmpuint(qxhci_control(x, hub, 0, 9, 1, 0, 0, NULL, NULL), ==, XCC_SUCCESS);
    for (unsigned port = 1; port <= 8; port++) {
        g_assert_cmpuint(qxhci_control(x, hub, 0xa3, 0, 0, port, 4, data, &moved), ==, XCC_SUCCESS);
        g_assert_cmphex(load_le16(data), ==, port == 3 ? 0x101 : 0x100);
    }
    g_assert_cmpuint(qxhci_control(x, hub, 0xa3, 0, 0, 9, 4, data, &moved), ==, XCC_STALL);
    recover(x, hub, 1);
    g_assert_cmpuint(qxhci_control(x, hub, 0x23, 3, 4, 3, 0, NULL, NULL), ==, XCC_SUCCESS);
    g_assert_cmpuint(qxhci_control(x, hub, 0xa3, 0, 0, 3, 4, data, &moved), ==, XCC_SUCCESS);
    g_assert_cmphex(load_le32(data), ==, 0x00110103);
    storage_round(x, qbot_open(x, USB2_PORT, 3));
    disk_close(&d);
}

static void test_unplug_ends_transfers(void)
{
    Disk d;
    disk_open(&d, HUB_ARGS, ",port=1.3");
    QXhci *x = d.x;
    static const uint8_t types[] = { 7 };
    qxhci_reset_port(x, USB2_PORT);
    unsigned hub = qxhci_attach(x, USB2_PORT, 0);
    g_assert_cmpuint(qxhci_configure(x, hub, 1 << 3, types), ==, XCC_SUCCESS);
    g_assert_cmpuint(qxhci_control(x, hub, 0, 9, 1, 0, 0, NULL, NULL), ==, XCC_SUCCESS);
    unsigned slot = qbot_open(x, USB2_PORT, 3);
    /* The hub's status tells of the disk that is there, then of nothing, then that it goes. */
    g_assert_cmpuint(qxhci_transfer(x, hub, 3, x->buffer, 2, NULL), ==, XCC_SUCCESS);
    g_assert_cmphex(qtest_read(x->qts, x->buffer, 2), ==, 1 << 3);
    g_assert_cmpuint(qxhci_control(x, hub, 0x23, 1, 16, 3, 0, NULL, NULL), ==, XCC_SUCCESS);
    qxhci_put(x, &x->rings[hub][3], x->buffer, 2, XTRB_NORMAL << XTRB_TYPE | XTRB_IOC);
    qxhci_doorbell(x, hub, 3);
    qxhci_put(x, &x->rings[slot][QBOT_IN], x->buffer + 64, 13, XTRB_NORMAL << XTRB_TYPE | XTRB_IOC);
    qxhci_doorbell(x, slot, QBOT_IN);
    json_object_put(qtest_qmp_ok(x->qts, "{'execute':'device_del','arguments':{'id':'s'}}"));
    json_object_put(qtest_event(x->qts, "DEVICE_DELETED"));
    bool hub_told = false, failed = false;
    for (unsigned i = 0; i < 2; i++) {
        QXhciTrb event = qxhci_event(x, XEV_TRANSFER);
        hub_told |= event.control >> 24 == hub && qxhci_code(&event) == XCC_SUCCESS;
        failed |= event.control >> 24 == slot && qxhci_code(&event) == XCC_TRANSACTION;
    }
    g_assert_true(hub_told && failed);
    g_assert_cmphex(qtest_read(x->qts, x->buffer, 2), ==, 1 << 3);
    json_object_put(qtest_qmp_ok(x->qts, "{'execute':'device_add','arguments':{'driver':"
                                         "'usb-storage','drive':'d','bus':'x.0','port':'2',"
                                         "'id':'t'}}"));
    storage_round(x, qbot_open(x, 2, 0));
    disk_close(&d);
}

/* ---- Input ---- */

static unsigned hid_open(QXhci *x, unsigned port)
{
    static const uint8_t types[] = { 7 };
    qxhci_reset_port(x, port);
    unsigned slot = qxhci_attach(x, port, 0);
    g_assert_cmpuint(qxhci_configure(x, slot, 1 << 3, types), ==, XCC_SUCCESS);
    g_assert_cmpuint(qxhci_control(x, slot, 0, 9, 1, 0, 0, NULL, NULL), ==, XCC_SUCCESS);
    return slot;
}

/* A report that the endpoint waits for, or that waits for it. */
static void expect_report(QXhci *x, unsigned slot, const uint8_t *report, uint32_t len)
{
    uint8_t data[8];
    uint32_t rest;
    unsigned code = qxhci_transfer(x, slot, 3, x->buffer, 8, &rest);
    g_assert_cmpuint(code, ==, len == 8 ? XCC_SUCCESS : XCC_SHORT);
    g_assert_cmpuint(8 - rest, ==, len);
    qtest_memread(x->qts, x->buffer, data, len);
    g_assert_cmpmem(data, len, report, len);
}

static void test_keyboard(void)
{
    QXhci *x = open_with(" -device usb-kbd,bus=x.0,port=1");
    uint8_t data[128], leds = 2;
    unsigned moved, slot = hid_open(x, USB2_PORT);
    g_assert_cmphex(qxhci_portsc(x, USB2_PORT) >> 10 & 0xf, ==, 3);
    g_assert_cmpuint(qxhci_control(x, slot, 0x81, 6, 0x2200, 0, 128, data, &moved), ==,
                     XCC_SUCCESS);
    g_assert_cmpuint(moved, ==, 63);
    g_assert_cmpuint(qxhci_control(x, slot, 0x21, 9, 0x200, 0, 1, &leds, NULL), ==, XCC_SUCCESS);
    /* A waiting packet is completed by the key; later keys wait for packets. */
    qxhci_put(x, &x->rings[slot][3], x->buffer, 8, XTRB_NORMAL << XTRB_TYPE | XTRB_IOC);
    qxhci_doorbell(x, slot, 3);
    json_object_put(qtest_qmp_ok(x->qts, "{'execute':'input-send-event','arguments':{'events':["
                                         "{'type':'key','data':{'down':true,'key':"
                                         "{'type':'qcode','data':'shift'}}},"
                                         "{'type':'key','data':{'down':true,'key':"
                                         "{'type':'qcode','data':'a'}}},"
                                         "{'type':'key','data':{'down':false,'key':"
                                         "{'type':'qcode','data':'a'}}}]}}"));
    QXhciTrb event = qxhci_event(x, XEV_TRANSFER);
    g_assert_cmpuint(qxhci_code(&event), ==, XCC_SUCCESS);
    g_assert_cmphex(qtest_read(x->qts, x->buffer, 8), ==, 0x02);
    expect_report(x, slot, (const uint8_t[]){ 2, 0, 4, 0, 0, 0, 0, 0 }, 8);
    expect_report(x, slot, (const uint8_t[]){ 2, 0, 0, 0, 0, 0, 0, 0 }, 8);
    qxhci_free(x);
}

static void test_pointers(void)
{
    QXhci *x = open_with(" -device usb-tablet,bus=x.0,port=1");
    unsigned slot = hid_open(x, USB2_PORT);
    json_object_put(qtest_qmp_ok(x->qts, "{'execute':'input-send-event','arguments':{'events':["
                                         "{'type':'abs','data':{'axis':'x','value':4660}},"
                                         "{'type':'abs','data':{'axis':'y','value':22136}},"
                                         "{'type':'btn','data':{'down':true,'button':'left'}},"
                                         "{'type':'btn','data':{'down':true,'button':'wheel-up'}}"
                                         "]}}"));
    expect_report(x, slot, (const uint8_t[]){ 1, 0x34, 0x12, 0x78, 0x56, 1 }, 6);
    qxhci_free(x);
    x = open_with(" -device usb-mouse,bus=x.0,port=1,usb_version=1");
    slot = hid_open(x, USB2_PORT);
    g_assert_cmphex(qxhci_portsc(x, USB2_PORT) >> 10 & 0xf, ==, 1);
    json_object_put(qtest_qmp_ok(x->qts, "{'execute':'input-send-event','arguments':{'events':["
                                         "{'type':'rel','data':{'axis':'x','value':200}},"
                                         "{'type':'rel','data':{'axis':'y','value':-5}},"
                                         "{'type':'btn','data':{'down':true,'button':'right'}}"
                                         "]}}"));
    expect_report(x, slot, (const uint8_t[]){ 2, 127, 0xfb, 0 }, 4);
    expect_report(x, slot, (const uint8_t[]){ 2, 73, 0, 0 }, 4);
    qxhci_free(x);
}

/* ---- Hostile rings ---- */

static void still_works(Disk *d)
{
    qxhci_start(d->x);
    storage_round(d->x, qbot_open(d->x, USB3_PORT, 0));
}

static void test_rings_without_end(void)
{
    Disk d;
    disk_open(&d, "", ",port=1");
    QXhci *x = d.x;
    unsigned slot = qbot_open(x, USB3_PORT, 0);
    uint64_t ring = x->rings[slot][QBOT_IN].addr + 16 * x->rings[slot][QBOT_IN].next;
    /* A link to itself. */
    qtest_write(x->qts, ring, ring, 8);
    qtest_write(x->qts, ring + 8, (uint64_t)(XTRB_LINK << XTRB_TYPE | 1) << 32, 8);
    qxhci_doorbell(x, slot, QBOT_IN);
    QXhciTrb event = qxhci_event(x, XEV_TRANSFER);
    g_assert_cmpuint(qxhci_code(&event), ==, XCC_TRB);
    g_assert_cmphex(qxhci_context(x, slot, QBOT_IN, 0) & 7, ==, 4);
    /* A descriptor that chains in a circle, and no-ops in one. */
    for (unsigned i = 0; i < 2; i++) {
        slot = 0;
        qxhci_start(x);
        slot = qbot_open(x, USB3_PORT, 0);
        ring = x->rings[slot][QBOT_IN].addr + 16 * x->rings[slot][QBOT_IN].next;
        qtest_write(x->qts, ring, x->buffer, 8);
        uint32_t control = i == 0 ? XTRB_NORMAL << XTRB_TYPE | XTRB_CHAIN | 1
                                  : XTRB_NOOP << XTRB_TYPE | 1;
        qtest_write(x->qts, ring + 8, (uint64_t)control << 32 | 16, 8);
        qtest_write(x->qts, ring + 16, ring, 8);
        qtest_write(x->qts, ring + 24, (uint64_t)(XTRB_LINK << XTRB_TYPE | 1) << 32, 8);
        qxhci_doorbell(x, slot, QBOT_IN);
        event = qxhci_event(x, XEV_TRANSFER);
        g_assert_cmpuint(qxhci_code(&event), ==, XCC_TRB);
    }
    still_works(&d);
    disk_close(&d);
}

static void test_dma_to_registers_fails(void)
{
    Disk d;
    disk_open(&d, "", ",port=1");
    QXhci *x = d.x;
    uint64_t bar = x->pci->bar[0];
    unsigned slot = qbot_open(x, USB3_PORT, 0);
    g_assert_cmpuint(qxhci_transfer(x, slot, QBOT_OUT, bar + 0x2000, 31, NULL), ==, XCC_BUFFER);
    g_assert_cmpuint(qxhci_transfer(x, slot, QBOT_IN, bar + 0x40, 64, NULL), ==, XCC_BUFFER);
    /* Contexts, rings and the event ring there. */
    g_assert_cmpuint(qxhci_command(x, XCMD_EVALUATE, bar, 0, &slot), ==, XCC_TRB);
    qxhci_start(x);
    slot = 0;
    qxhci_command(x, XCMD_ENABLE, 0, 0, &slot);
    qxhci_set_oper(x, 0x30, bar + 0x2000);
    g_assert_cmpuint(qxhci_command(x, XCMD_ADDRESS, bar, 0, &slot), ==, XCC_TRB);
    qxhci_start(x);
    qxhci_set_oper(x, 0x18, (bar + 0x2000) | 1);
    qxhci_doorbell(x, 0, 0);
    for (unsigned i = 0; !(qxhci_oper(x, 4) & 1 << 12); i++) { /* host controller error */
        g_assert_cmpuint(i, <, 20000);
        g_usleep(1000);
    }
    still_works(&d);
    disk_close(&d);
}

static void test_random_registers_and_trbs(void)
{
    Disk d;
    disk_open(&d, HUB_ARGS, ",port=1.2");
    QXhci *x = d.x;
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    for (unsigned round = 0; round < 40; round++) {
        qxhci_start(x);
        for (unsigned i = 0; i < 60; i++) {
            qxhci_put(x, &x->commands, x->buffer + (g_rand_int(random) & 0xffff0),
                      g_rand_int(random),
                      (9 + g_rand_int(random) % 16) << XTRB_TYPE |
                          (1 + g_rand_int(random) % 3) << 24 | (g_rand_int(random) % 8) << 16);
        }
        for (unsigned i = 0; i < 256; i++) {
            qtest_write(x->qts, x->buffer + (g_rand_int(random) & 0xffff8),
                        g_rand_int(random) & (i & 1 ? 3 : ~0U), 8);
        }
        qxhci_doorbell(x, 0, 0);
        for (unsigned i = 0; i < 60; i++) {
            unsigned offset = g_rand_int(random) & 0x2fff;
            qpci_write(x->pci, 0, i & 1 ? 0x2000 + (offset & 0xc) : offset & ~3U,
                       i & 1 ? g_rand_int(random) & 0x1f : g_rand_int(random), 4);
        }
    }
    qxhci_start(x);
    g_assert_cmpuint(qxhci_command(x, XCMD_NOOP, 0, 0, NULL), ==, XCC_SUCCESS);
    disk_close(&d);
}

/* ---- Interrupts ---- */

static void test_msix_and_moderation(void)
{
    QXhci *x = open_with("");
    uint64_t word = qpci_msix_aim(x->pci, 0, 0x77);
    QXhciTrb event;
    g_assert_cmpuint(qxhci_command(x, XCMD_NOOP, 0, 0, NULL), ==, XCC_SUCCESS);
    g_assert_cmphex(qtest_read(x->qts, word, 4), ==, 0x77);
    /* 1 ms between two: the second comes with the timer. */
    qpci_write(x->pci, 0, 0x1024, 4000, 4);
    g_assert_cmpuint(qxhci_command(x, XCMD_NOOP, 0, 0, NULL), ==, XCC_SUCCESS);
    qtest_clock_step(x->qts, 2000000);
    qtest_write(x->qts, word, 0, 4);
    g_assert_cmpuint(qxhci_command(x, XCMD_NOOP, 0, 0, NULL), ==, XCC_SUCCESS);
    g_assert_cmphex(qtest_read(x->qts, word, 4), ==, 0x77);
    qtest_write(x->qts, word, 0, 4);
    qxhci_put(x, &x->commands, 0, 0, XCMD_NOOP << XTRB_TYPE);
    qxhci_doorbell(x, 0, 0);
    event = qxhci_event(x, XEV_COMMAND);
    g_assert_cmpuint(qxhci_code(&event), ==, XCC_SUCCESS);
    g_assert_cmphex(qtest_read(x->qts, word, 4), ==, 0);
    qxhci_put(x, &x->commands, 0, 0, XCMD_NOOP << XTRB_TYPE);
    qxhci_doorbell(x, 0, 0);
    for (unsigned i = 0; qtest_read(x->qts, word, 4) != 0x77; i++) {
        g_assert_cmpuint(i, <, 20000);
        qtest_clock_step(x->qts, 1000000);
    }
    qxhci_free(x);
}

/* What the guest takes before its handler ends needs no second message, and leaves nothing busy. */
static void test_events_taken_are_not_told_again(void)
{
    QXhci *x = open_with("");
    uint64_t word = qpci_msix_aim(x->pci, 0, 0x77);
    qpci_write(x->pci, 0, 0x1024, 0, 4); /* no moderation */
    g_assert_cmpuint(qxhci_command(x, XCMD_NOOP, 0, 0, NULL), ==, XCC_SUCCESS);
    qtest_write(x->qts, word, 0, 4);
    uint64_t last = x->events.addr + 16 * (x->events.next + 1);
    qxhci_put(x, &x->commands, 0, 0, XCMD_NOOP << XTRB_TYPE);
    qxhci_put(x, &x->commands, 0, 0, XCMD_NOOP << XTRB_TYPE);
    qxhci_doorbell(x, 0, 0);
    for (unsigned i = 0; !(qtest_read(x->qts, last + 12, 4) & 1); i++) {
        g_assert_cmpuint(i, <, 20000);
        g_usleep(100);
    }
    g_assert_cmphex(qtest_read(x->qts, word, 4), ==, 0x77);
    qtest_write(x->qts, word, 0, 4);
    x->events.next += 2;
    qpci_write(x->pci, 0, 0x1038, (last + 16) | 8, 4);
    qpci_write(x->pci, 0, 0x103c, 0, 4);
    g_assert_cmphex(qpci_read(x->pci, 0, 0x1038, 4), ==, last + 16);
    g_assert_cmphex(qtest_read(x->qts, word, 4), ==, 0);
    g_assert_cmpuint(qxhci_command(x, XCMD_NOOP, 0, 0, NULL), ==, XCC_SUCCESS);
    g_assert_cmphex(qtest_read(x->qts, word, 4), ==, 0x77);
    qxhci_free(x);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xhci/capabilities-follow-the-properties", test_capabilities);
    g_test_add_func("/xhci/ports-show-what-is-plugged-in", test_ports_show_devices);
    g_test_add_func("/xhci/impossible-machines-are-refused", test_refused);
    g_test_add_func("/xhci/slots-are-bounded", test_slots);
    g_test_add_func("/xhci/rings-wrap", test_many_commands_wrap_the_rings);
    g_test_add_func("/xhci/device-and-endpoint-states", test_device_states);
    g_test_add_func("/xhci/descriptors", test_descriptors);
    g_test_add_func("/xhci/bad-setup-packets-stall", test_bad_setup_packets_stall);
    g_test_add_func("/xhci/setup-length-is-bounded-by-the-buffer",
                    test_setup_length_is_bounded_by_the_buffer);
    g_test_add_func("/xhci/storage-reads-and-writes", test_storage);
    g_test_add_func("/xhci/storage-at-high-speed", test_storage_usb2);
    g_test_add_func("/xhci/chained-buffers", test_chained_buffers);
    g_test_add_func("/xhci/data-phases-that-do-not-agree", test_data_phases);
    g_test_add_func("/xhci/invalid-command-needs-reset-recovery",
                    test_invalid_command_needs_recovery);
    g_test_add_func("/xhci/stop-endpoint-gives-the-packet-back",
                    test_stop_endpoint_gives_the_packet_back);
    g_test_add_func("/xhci/hub", test_hub);
    g_test_add_func("/xhci/unplug-ends-transfers", test_unplug_ends_transfers);
    g_test_add_func("/xhci/keyboard-reports", test_keyboard);
    g_test_add_func("/xhci/pointer-reports", test_pointers);
    g_test_add_func("/xhci/rings-without-end-are-bounded", test_rings_without_end);
    g_test_add_func("/xhci/dma-to-registers-fails", test_dma_to_registers_fails);
    g_test_add_func("/xhci/random-registers-and-trbs", test_random_registers_and_trbs);
    g_test_add_func("/xhci/msix-and-moderation", test_msix_and_moderation);
    g_test_add_func("/xhci/events-taken-are-not-told-again", test_events_taken_are_not_told_again);
    return g_test_run();
}
