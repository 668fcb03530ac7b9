/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net over qtest, on the user network: packets both ways, the control queue, bad buffers. */
#include <string.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include "tests/device/libqtest.h"

#define F_MAC       (1ULL << 5)
#define F_MRG_RXBUF (1ULL << 15)
#define F_STATUS    (1ULL << 16)
#define F_CTRL_VQ   (1ULL << 17)
#define F_CTRL_RX   (1ULL << 18)
#define F_CTRL_VLAN (1ULL << 19)
#define F_CTRL_MAC  (1ULL << 23)
#define F_V1        (1ULL << 32)
#define F_PACKED    (1ULL << 34)
#define F_CTRL      (F_CTRL_VQ | F_CTRL_RX | F_CTRL_VLAN | F_CTRL_MAC)
#define NEEDS_RESET 0x40
#define HEADER      12
#define ARP_LEN     42

typedef struct Nic {
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *rx, *tx, *ctrl;
    uint64_t out, in, command;
} Nic;

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x11, 0x22, 0x33 };

static void nic_start(Nic *n, uint64_t features)
{
    qvirtio_reset(n->dev);
    qvirtio_negotiate(n->dev, features);
    n->rx = qvirtqueue_new(n->dev, 0, 64, 0xffff);
    n->tx = qvirtqueue_new(n->dev, 1, 64, 0xffff);
    n->ctrl = features & F_CTRL_VQ ? qvirtqueue_new(n->dev, 2, 64, 0xffff) : NULL;
    qvirtio_driver_ok(n->dev);
}

static void nic_stop(Nic *n)
{
    qvirtqueue_free(n->rx);
    qvirtqueue_free(n->tx);
    if (n->ctrl) {
        qvirtqueue_free(n->ctrl);
    }
}

static void nic_open(Nic *n, uint64_t features)
{
    n->qts = qtest_start("-netdev user,id=n -device virtio-net-pci,id=nic,netdev=n,packed=on,"
                         "mac=52:54:00:11:22:33");
    n->dev = qvirtio_new(qpci_find(n->qts, 0x1af4, 0x1000, 0));
    n->out = qtest_alloc(n->qts, 4096, 4096);
    n->in = qtest_alloc(n->qts, 65536, 4096);
    n->command = qtest_alloc(n->qts, 4096, 4096);
    nic_start(n, features);
}

static void nic_close(Nic *n)
{
    nic_stop(n);
    qvirtio_free(n->dev);
    qtest_stop(n->qts);
}

/* Asks who has 10.0.2.2, behind a header of `header` bytes. */
static void post_arp(Nic *n, unsigned header)
{
    uint8_t packet[64 + ARP_LEN] = { 0 };
    uint8_t *arp = packet + header;
    memset(arp, 0xff, 6);
    memcpy(arp + 6, mac, 6);
    memcpy(arp + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01", 10);
    memcpy(arp + 22, mac, 6);
    memcpy(arp + 28, "\x0a\x00\x02\x0f", 4);
    memcpy(arp + 38, "\x0a\x00\x02\x02", 4);
    qtest_memwrite(n->qts, n->out, packet, header + ARP_LEN);
    QBuffer buffers[] = { { n->out, header, false }, { n->out + header, ARP_LEN, false } };
    qvirtqueue_add(n->tx, buffers, 2);
    qvirtqueue_kick(n->tx);
}

static void send_arp(Nic *n, unsigned header)
{
    post_arp(n, header);
    qvirtqueue_wait(n->tx, NULL);
}

static void give_buffers(Nic *n, unsigned count, uint32_t len)
{
    for (unsigned i = 0; i < count; i++) {
        QBuffer buffer = { n->in + i * 2048, len, true };
        qvirtqueue_add(n->rx, &buffer, 1);
    }
    qvirtqueue_kick(n->rx);
}

static void check_arp_reply(const uint8_t *frame)
{
    g_assert_cmpmem(frame, 6, mac, 6);
    g_assert_cmpmem(frame + 12, 2, "\x08\x06", 2);
    g_assert_cmpmem(frame + 20, 2, "\x00\x02", 2);
    g_assert_cmpmem(frame + 28, 4, "\x0a\x00\x02\x02", 4);
}

static void test_arp(gconstpointer data)
{
    Nic n;
    uint8_t bytes[HEADER + ARP_LEN];
    nic_open(&n, *(const uint64_t *)data);
    for (int i = 0; i < 100; i++) {
        give_buffers(&n, 1, 1526);
        send_arp(&n, HEADER);
        uint32_t len = qvirtqueue_wait(n.rx, NULL);
        g_assert_cmpuint(len, >=, sizeof(bytes));
        qtest_memread(n.qts, n.in, bytes, sizeof(bytes));
        g_assert_cmpuint(bytes[10], ==, 1);
        check_arp_reply(bytes + HEADER);
    }
    nic_close(&n);
}

/* A frame over several small buffers, the count in the first. */
static void test_mergeable_buffers(gconstpointer data)
{
    Nic n;
    uint8_t frame[256];
    uint32_t total = 0, len;
    nic_open(&n, *(const uint64_t *)data | F_MRG_RXBUF);
    give_buffers(&n, 60, 16);
    send_arp(&n, HEADER);
    len = qvirtqueue_wait(n.rx, NULL);
    uint16_t count = qtest_read(n.qts, n.in + 10, 2);
    g_assert_cmpuint(count, >=, 4);
    for (unsigned i = 0;; i++) {
        g_assert_cmpuint(len, <=, 16);
        qtest_memread(n.qts, n.in + i * 2048, frame + total, len);
        total += len;
        if (i + 1 == count) {
            break;
        }
        len = qvirtqueue_wait(n.rx, NULL);
    }
    g_assert_cmpuint(total, >=, HEADER + ARP_LEN);
    check_arp_reply(frame + HEADER);
    nic_close(&n);
}

/* A frame waits until there is a buffer for it. */
static void test_late_buffers(gconstpointer data)
{
    Nic n;
    nic_open(&n, *(const uint64_t *)data | F_MRG_RXBUF);
    give_buffers(&n, 1, 16);
    send_arp(&n, HEADER);
    g_usleep(20000);
    uint16_t id;
    uint32_t len;
    g_assert_false(qvirtqueue_used(n.rx, &id, &len));
    give_buffers(&n, 8, 16);
    qvirtqueue_wait(n.rx, NULL);
    nic_close(&n);
}

static void wait_needs_reset(Nic *n)
{
    while (!(qvirtio_status(n->dev) & NEEDS_RESET)) {
        g_usleep(1000);
    }
}

/* HARDENING 9 */
static void test_short_buffers(void)
{
    Nic n;
    nic_open(&n, F_V1);
    QBuffer header_only = { n.out, HEADER, false }, too_short = { n.out, 5, false };
    qvirtqueue_add(n.tx, &header_only, 1);
    qvirtqueue_kick(n.tx);
    wait_needs_reset(&n);
    nic_stop(&n);

    nic_start(&n, F_V1);
    qvirtqueue_add(n.tx, &too_short, 1);
    qvirtqueue_kick(n.tx);
    wait_needs_reset(&n);
    nic_stop(&n);

    nic_start(&n, F_V1);
    give_buffers(&n, 1, 8);
    post_arp(&n, HEADER);
    wait_needs_reset(&n);
    nic_stop(&n);

    /* Room for the header but not for the frame: the frame is dropped, the card lives. */
    nic_start(&n, F_V1);
    give_buffers(&n, 1, HEADER + 10);
    send_arp(&n, HEADER);
    g_usleep(20000);
    g_assert_false(qvirtio_status(n.dev) & NEEDS_RESET);
    nic_close(&n);
}

/* One command; the acknowledgement. */
static uint8_t command(Nic *n, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
    uint8_t head[2] = { class, cmd };
    qtest_memwrite(n->qts, n->command, head, 2);
    if (len) {
        qtest_memwrite(n->qts, n->command + 16, data, len);
    }
    qtest_write(n->qts, n->command + 2048, 0xee, 1);
    QBuffer buffers[3] = { { n->command, 2, false }, { n->command + 16, len, false } };
    unsigned count = len ? 3 : 2;
    buffers[count - 1] = (QBuffer){ n->command + 2048, 1, true };
    qvirtqueue_add(n->ctrl, buffers, count);
    qvirtqueue_kick(n->ctrl);
    qvirtqueue_wait(n->ctrl, NULL);
    return qtest_read(n->qts, n->command + 2048, 1);
}

static void test_control(gconstpointer data)
{
    Nic n;
    uint8_t on = 1;
    nic_open(&n, *(const uint64_t *)data | F_CTRL);
    for (uint8_t cmd = 0; cmd < 2; cmd++) {
        g_assert_cmpuint(command(&n, 0, cmd, &on, 1), ==, 0);
    }
    g_assert_cmpuint(command(&n, 0, 6, &on, 1), ==, 1);
    g_assert_cmpuint(command(&n, 0, 0, "xx", 2), ==, 1);
    g_assert_cmpuint(command(&n, 0, 0, NULL, 0), ==, 1);
    g_assert_cmpuint(command(&n, 1, 1, "\x52\x54\x00\x99\x99\x99", 6), ==, 0);
    g_assert_cmpuint(qvirtio_config(n.dev, 5, 1), ==, 0x99);
    g_assert_cmpuint(command(&n, 1, 1, "short", 5), ==, 1);
    g_assert_cmpuint(command(&n, 2, 0, "\xff\x0f", 2), ==, 0);
    g_assert_cmpuint(command(&n, 2, 1, "\x00\x10", 2), ==, 1);
    g_assert_cmpuint(command(&n, 4, 0, "\x02\x00", 2), ==, 1);
    g_assert_cmpuint(command(&n, 99, 0, "x", 1), ==, 1);
    /* Address tables: whole, too many, a count beyond the data, rubbish behind. */
    uint8_t table[1024] = { 1 };
    g_assert_cmpuint(command(&n, 1, 0, table, 4 + 6 + 4), ==, 0);
    table[0] = 100;
    g_assert_cmpuint(command(&n, 1, 0, table, 4 + 600 + 4), ==, 0);
    g_assert_cmpuint(command(&n, 1, 0, table, 4 + 60), ==, 1);
    table[3] = 0xff;
    g_assert_cmpuint(command(&n, 1, 0, table, 4 + 600 + 4), ==, 1);
    table[0] = table[3] = 0;
    g_assert_cmpuint(command(&n, 1, 0, table, 9), ==, 1);
    nic_close(&n);
}

static void test_control_without_acknowledgement(void)
{
    Nic n;
    nic_open(&n, F_V1 | F_CTRL);
    QBuffer buffer = { n.command, 2, false };
    qvirtqueue_add(n.ctrl, &buffer, 1);
    qvirtqueue_kick(n.ctrl);
    wait_needs_reset(&n);
    nic_close(&n);
}

/* What is not for the card does not come in. */
static void test_filter(void)
{
    Nic n;
    uint8_t off = 0;
    uint16_t id;
    uint32_t len;
    nic_open(&n, F_V1 | F_CTRL);
    g_assert_cmpuint(command(&n, 0, 0, &off, 1), ==, 0);
    g_assert_cmpuint(command(&n, 1, 1, "\x52\x54\x00\x99\x99\x99", 6), ==, 0);
    give_buffers(&n, 4, 1526);
    send_arp(&n, HEADER); /* the answer goes to another address */
    g_usleep(50000);
    g_assert_false(qvirtqueue_used(n.rx, &id, &len));
    g_assert_cmpuint(command(&n, 1, 1, mac, 6), ==, 0);
    send_arp(&n, HEADER);
    qvirtqueue_wait(n.rx, NULL);
    nic_close(&n);
}

static void test_link(void)
{
    Nic n;
    nic_open(&n, F_V1 | F_STATUS);
    g_assert_cmpuint(qvirtio_config(n.dev, 6, 2), ==, 1);
    json_object_put(
        qtest_qmp_ok(n.qts, "{'execute':'set_link','arguments':{'name':'n','up':false}}"));
    g_assert_cmpuint(qvirtio_config(n.dev, 6, 2), ==, 0);
    json_object_put(
        qtest_qmp_ok(n.qts, "{'execute':'set_link','arguments':{'name':'n','up':true}}"));
    g_assert_cmpuint(qvirtio_config(n.dev, 6, 2), ==, 1);
    nic_close(&n);
}

/* HARDENING 11 */
static void test_resets_and_pauses_under_load(void)
{
    Nic n;
    nic_open(&n, F_V1);
    for (int i = 0; i < 20; i++) {
        give_buffers(&n, 16, 1526);
        send_arp(&n, HEADER);
        json_object_put(qtest_qmp_ok(n.qts, "{'execute':'stop'}"));
        json_object_put(qtest_qmp_ok(n.qts, "{'execute':'cont'}"));
        qvirtqueue_wait(n.rx, NULL);
        send_arp(&n, HEADER);
        nic_stop(&n);
        nic_start(&n, F_V1);
    }
    nic_close(&n);
}

static const uint64_t split = F_V1, packed = F_V1 | F_PACKED;

static void add_both(const char *name, GTestDataFunc test)
{
    g_autofree char *split_path = g_strdup_printf("/virtio-net/split/%s", name);
    g_autofree char *packed_path = g_strdup_printf("/virtio-net/packed/%s", name);
    g_test_add_data_func(split_path, &split, test);
    g_test_add_data_func(packed_path, &packed, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_both("packets-go-and-come", test_arp);
    add_both("mergeable-buffers", test_mergeable_buffers);
    add_both("a-frame-waits-for-buffers", test_late_buffers);
    add_both("control-commands", test_control);
    g_test_add_func("/virtio-net/short-buffers", test_short_buffers);
    g_test_add_func("/virtio-net/control-without-acknowledgement",
                    test_control_without_acknowledgement);
    g_test_add_func("/virtio-net/filter", test_filter);
    g_test_add_func("/virtio-net/link-state", test_link);
    g_test_add_func("/virtio-net/resets-and-pauses-under-load", test_resets_and_pauses_under_load);
    return g_test_run();
}
