/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng, virtio-balloon and virtio-serial over qtest. */
#include <string.h>
#include <linux/virtio_config.h>
#include "tests/device/libqtest.h"

#define F_V1        (1ULL << 32)
#define NEEDS_RESET 0x40

static QVirtio *open_device(QTest *qts, uint16_t id, uint64_t features)
{
    QVirtio *dev = qvirtio_new(qpci_find(qts, 0x1af4, id, 0));
    qvirtio_reset(dev);
    qvirtio_negotiate(dev, features);
    return dev;
}

static void wait_needs_reset(QVirtio *dev)
{
    while (!(qvirtio_status(dev) & NEEDS_RESET)) {
        g_usleep(1000);
    }
}

static uint32_t give(QVirtQueue *vq, uint64_t addr, uint32_t len, bool write)
{
    QBuffer buffer = { addr, len, write };
    qvirtqueue_add(vq, &buffer, 1);
    qvirtqueue_kick(vq);
    return qvirtqueue_wait(vq, NULL);
}

/* ---- rng ---- */

static void test_rng(void)
{
    QTest *qts = qtest_start("-object rng-builtin,id=r -device virtio-rng-pci,rng=r");
    QVirtio *dev = open_device(qts, 0x1005, F_V1);
    QVirtQueue *vq = qvirtqueue_new(dev, 0, 8, 0xffff);
    uint64_t addr = qtest_alloc(qts, 4096, 4096);
    uint8_t first[64], second[64];
    qvirtio_driver_ok(dev);
    g_assert_cmpuint(give(vq, addr, 64, true), ==, 64);
    qtest_memread(qts, addr, first, 64);
    g_assert_cmpuint(give(vq, addr, 64, true), ==, 64);
    qtest_memread(qts, addr, second, 64);
    g_assert_cmpint(memcmp(first, second, 64), !=, 0);
    /* A buffer to be read is given back empty. */
    g_assert_cmpuint(give(vq, addr, 64, false), ==, 0);
    qvirtqueue_free(vq);
    qvirtio_free(dev);
    qtest_stop(qts);
}

static void test_rng_limit(void)
{
    QTest *qts = qtest_start("-device virtio-rng-pci,max-bytes=100,period=1000");
    QVirtio *dev = open_device(qts, 0x1005, F_V1);
    QVirtQueue *vq = qvirtqueue_new(dev, 0, 8, 0xffff);
    uint64_t addr = qtest_alloc(qts, 4096, 4096);
    QBuffer buffer = { addr, 64, true };
    uint16_t id;
    uint32_t len;
    qvirtio_driver_ok(dev);
    g_assert_cmpuint(give(vq, addr, 64, true), ==, 64);
    g_assert_cmpuint(give(vq, addr, 64, true), ==, 36);
    qvirtqueue_add(vq, &buffer, 1);
    qvirtqueue_kick(vq);
    g_usleep(20000);
    g_assert_false(qvirtqueue_used(vq, &id, &len));
    qtest_clock_step(qts, 1100 * 1000000LL);
    g_assert_cmpuint(qvirtqueue_wait(vq, NULL), ==, 64);
    qvirtqueue_free(vq);
    qvirtio_free(dev);
    qtest_stop(qts);
}

/* ---- balloon ---- */

#define BALLOON_FEATURES (F_V1 | 1 << 1 | 1 << 5)

typedef struct Balloon {
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *inflate, *deflate, *stats, *report;
    uint64_t page, pages;
} Balloon;

static void balloon_open(Balloon *b)
{
    b->qts = qtest_start("-m 64M -device virtio-balloon-pci,id=b,guest-stats-polling-interval=2");
    b->dev = open_device(b->qts, 0x1002, BALLOON_FEATURES);
    b->inflate = qvirtqueue_new(b->dev, 0, 128, 0xffff);
    b->deflate = qvirtqueue_new(b->dev, 1, 128, 0xffff);
    b->stats = qvirtqueue_new(b->dev, 2, 128, 0xffff);
    b->report = qvirtqueue_new(b->dev, 3, 32, 0xffff);
    b->page = qtest_alloc(b->qts, 4096, 4096);
    b->pages = qtest_alloc(b->qts, 64 << 10, 4096);
    qvirtio_driver_ok(b->dev);
}

static void balloon_close(Balloon *b)
{
    qvirtqueue_free(b->inflate);
    qvirtqueue_free(b->deflate);
    qvirtqueue_free(b->stats);
    qvirtqueue_free(b->report);
    qvirtio_free(b->dev);
    qtest_stop(b->qts);
}

static void test_inflate(void)
{
    Balloon b;
    balloon_open(&b);
    qtest_memset(b.qts, b.pages, 0x55, 16 << 12);
    static const int order[] = { 1, 2, 3, 9, 8, 7, 12 };
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        qtest_write(b.qts, b.page + 4 * i, (b.pages >> 12) + order[i], 4);
    }
    give(b.inflate, b.page, 4 * G_N_ELEMENTS(order), false);
    for (int i = 0; i < 16; i++) {
        bool gone = (i >= 1 && i <= 3) || (i >= 7 && i <= 9) || i == 12;
        g_assert_cmphex(qtest_read(b.qts, b.pages + i * 4096, 1), ==, gone ? 0 : 0x55);
    }
    give(b.deflate, b.page, 4 * G_N_ELEMENTS(order), false);
    /* Pages that are not RAM, and an odd length. */
    qtest_write(b.qts, b.page, 0xfee00, 4);
    qtest_write(b.qts, b.page + 4, 0xffffffff, 4);
    give(b.inflate, b.page, 11, false);
    g_assert_false(qvirtio_status(b.dev) & NEEDS_RESET);
    balloon_close(&b);
}

static void test_reporting(void)
{
    Balloon b;
    balloon_open(&b);
    qtest_memset(b.qts, b.pages, 0x66, 16 << 12);
    give(b.report, b.pages + 4096, 8192, true);
    g_assert_cmphex(qtest_read(b.qts, b.pages, 1), ==, 0x66);
    g_assert_cmphex(qtest_read(b.qts, b.pages + 4096, 1), ==, 0);
    g_assert_cmphex(qtest_read(b.qts, b.pages + 8192, 1), ==, 0);
    g_assert_cmphex(qtest_read(b.qts, b.pages + 12288, 1), ==, 0x66);
    balloon_close(&b);
}

/* The buffer comes back when new statistics are due. */
/* The device sees the buffer when it gets to it: the clock goes on until it has. */
static void wait_for_stats(Balloon *b, int64_t step)
{
    uint16_t id;
    uint32_t len;
    int rounds = 0;
    do {
        qtest_clock_step(b->qts, step);
        g_usleep(10000);
        g_assert_cmpint(rounds++, <, 2000);
    } while (!qvirtqueue_used(b->stats, &id, &len));
}

static void test_stats(void)
{
    Balloon b;
    uint16_t id;
    uint32_t len;
    balloon_open(&b);
    qtest_write(b.qts, b.page, 4, 2);
    qtest_write(b.qts, b.page + 2, 12345678, 8);
    QBuffer buffer = { b.page, 10, false };
    qvirtqueue_add(b.stats, &buffer, 1);
    qvirtqueue_kick(b.stats);
    g_usleep(20000);
    g_assert_false(qvirtqueue_used(b.stats, &id, &len));
    wait_for_stats(&b, 2100 * 1000000LL);
    json_object *stats = qtest_qmp_ok(b.qts, "{'execute':'qom-get','arguments':{'path':'b',"
                                             "'property':'guest-stats'}}");
    g_assert_cmpint(json_object_get_int64(json_at(stats, "stats.stat-free-memory")), ==, 12345678);
    json_object_put(stats);
    balloon_close(&b);
}

/* An interval that is set while the guest's buffer waits counts from then on; 0 stops. */
static void test_stats_interval_is_live(void)
{
    Balloon b;
    uint16_t id;
    uint32_t len;
    balloon_open(&b);
    QBuffer buffer = { b.page, 10, false };
    json_object_put(qtest_qmp_ok(b.qts, "{'execute':'qom-set','arguments':{'path':'b','property':"
                                        "'guest-stats-polling-interval','value':0}}"));
    qvirtqueue_add(b.stats, &buffer, 1);
    qvirtqueue_kick(b.stats);
    qtest_clock_step(b.qts, 5000 * 1000000LL);
    g_usleep(20000);
    g_assert_false(qvirtqueue_used(b.stats, &id, &len));
    json_object_put(qtest_qmp_ok(b.qts, "{'execute':'qom-set','arguments':{'path':'b','property':"
                                        "'guest-stats-polling-interval','value':1}}"));
    wait_for_stats(&b, 1100 * 1000000LL);
    balloon_close(&b);
}

static void test_balloon_change(void)
{
    Balloon b;
    balloon_open(&b);
    qpci_write(b.dev->pci, b.dev->config.bar, b.dev->config.offset + 4, 4096, 4);
    json_object *event = qtest_event(b.qts, "BALLOON_CHANGE");
    g_assert_cmpint(json_object_get_int64(json_at(event, "data.actual")), ==, 48 << 20);
    json_object_put(event);
    json_object_put(qtest_qmp_ok(b.qts, "{'execute':'balloon','arguments':{'value':33554432}}"));
    g_assert_cmpuint(qvirtio_config(b.dev, 0, 4), ==, 8192);
    balloon_close(&b);
}

/* The monitors' commands: the machine's size without the balloon, a target in config space. */
static void test_balloon_commands(void)
{
    Balloon b;
    balloon_open(&b);
    json_object *info = qtest_qmp_ok(b.qts, "{'execute':'query-balloon'}");
    g_assert_cmpint(json_object_get_int64(json_at(info, "actual")), ==, 64 << 20);
    json_object_put(info);
    g_autofree char *said = qtest_hmp(b.qts, "balloon 48");
    g_assert_cmpstr(said, ==, "");
    g_assert_cmpuint(qvirtio_config(b.dev, 0, 4), ==, 4096); /* num_pages, virtio 1.2, 5.5.4 */
    qpci_write(b.dev->pci, b.dev->config.bar, b.dev->config.offset + 4, 4096, 4);
    json_object_put(qtest_event(b.qts, "BALLOON_CHANGE"));
    g_autofree char *shown = qtest_hmp(b.qts, "info balloon");
    g_assert_cmpstr(g_strstrip(shown), ==, "balloon: actual=48");
    info = qtest_qmp_ok(b.qts, "{'execute':'query-balloon'}");
    g_assert_cmpint(json_object_get_int64(json_at(info, "actual")), ==, 48 << 20);
    json_object_put(info);
    g_autofree char *refused =
        qtest_qmp_error(b.qts, "{'execute':'balloon','arguments':{'value':0}}");
    g_assert_nonnull(strstr(refused, "size"));
    /* More than the machine has is the whole machine; less than a page is nearly nothing. */
    json_object_put(
        qtest_qmp_ok(b.qts, "{'execute':'balloon','arguments':{'value':1099511627776}}"));
    g_assert_cmpuint(qvirtio_config(b.dev, 0, 4), ==, 0);
    balloon_close(&b);
}

/* ---- serial ---- */

#define F_MULTIPORT (1ULL << 1)
#define F_EMERGENCY (1ULL << 2)

enum {
    DEVICE_READY = 0,
    PORT_ADD = 1,
    PORT_READY = 3,
    CONSOLE_PORT = 4,
    PORT_OPEN = 6,
    PORT_NAME = 7
};

typedef struct Serial {
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *in0, *out0, *control_in, *control_out, *in1, *out1;
    uint64_t data, control;
} Serial;

static void serial_open(Serial *s, uint64_t features)
{
    s->qts = qtest_start("-chardev ringbuf,id=c0,size=4096 -chardev ringbuf,id=c1,size=4096 "
                         "-device virtio-serial-pci,id=vs -device virtconsole,chardev=c0 "
                         "-device virtserialport,id=p1,chardev=c1,name=org.vireo.test");
    s->dev = open_device(s->qts, 0x1003, features);
    QVirtQueue **queues[] = {
        &s->in0, &s->out0, &s->control_in, &s->control_out, &s->in1, &s->out1
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(queues); i++) {
        *queues[i] = qvirtqueue_new(s->dev, i, 32, 0xffff);
    }
    s->data = qtest_alloc(s->qts, 65536, 4096);
    s->control = qtest_alloc(s->qts, 65536, 4096);
    qvirtio_driver_ok(s->dev);
}

static void serial_close(Serial *s)
{
    QVirtQueue *queues[] = { s->in0, s->out0, s->control_in, s->control_out, s->in1, s->out1 };
    for (unsigned i = 0; i < G_N_ELEMENTS(queues); i++) {
        qvirtqueue_free(queues[i]);
    }
    qvirtio_free(s->dev);
    qtest_stop(s->qts);
}

static void say(Serial *s, uint32_t id, uint16_t event, uint16_t value)
{
    uint64_t message = id | (uint64_t)event << 32 | (uint64_t)value << 48;
    qtest_write(s->qts, s->control, message, 8);
    give(s->control_out, s->control, 8, false);
}

/* The next message from the device must be this one; its text, if any, behind. */
static void expect(Serial *s, uint32_t id, uint16_t event, uint16_t value, const char *text)
{
    char bytes[64];
    uint16_t head;
    uint32_t len = qvirtqueue_wait(s->control_in, &head);
    uint64_t addr = qtest_read(s->qts, s->control_in->desc + 16 * head, 8);
    g_assert_cmphex(qtest_read(s->qts, addr, 8), ==,
                    id | (uint64_t)event << 32 | (uint64_t)value << 48);
    if (text) {
        g_assert_cmpuint(len, ==, 8 + strlen(text) + 1);
        qtest_memread(s->qts, addr + 8, bytes, strlen(text) + 1);
        g_assert_cmpstr(bytes, ==, text);
    }
}

static void read_ring(Serial *s, const char *chardev, const char *text)
{
    json_object *got = qtest_qmp_ok(s->qts,
                                    "{'execute':'ringbuf-read','arguments':{'device':'%s',"
                                    "'size':1000}}",
                                    chardev);
    g_assert_cmpstr(json_object_get_string(got), ==, text);
    json_object_put(got);
}

static void test_console_output(void)
{
    Serial s;
    serial_open(&s, F_V1);
    qtest_memwrite(s.qts, s.data, "hello console", 13);
    give(s.out0, s.data, 13, false);
    read_ring(&s, "c0", "hello console");
    serial_close(&s);
}

static void test_ports(void)
{
    Serial s;
    serial_open(&s, F_V1 | F_MULTIPORT);
    for (int i = 0; i < 16; i++) {
        QBuffer buffer = { s.control + 1024 + i * 64, 64, true };
        qvirtqueue_add(s.control_in, &buffer, 1);
    }
    qvirtqueue_kick(s.control_in);
    say(&s, 0, DEVICE_READY, 1);
    expect(&s, 0, PORT_ADD, 1, NULL);
    expect(&s, 1, PORT_ADD, 1, NULL);
    say(&s, 0, PORT_READY, 1);
    expect(&s, 0, CONSOLE_PORT, 1, NULL);
    expect(&s, 0, PORT_OPEN, 1, NULL);
    say(&s, 1, PORT_READY, 1);
    expect(&s, 1, PORT_NAME, 1, "org.vireo.test");
    expect(&s, 1, PORT_OPEN, 1, NULL);
    say(&s, 1, PORT_OPEN, 1);
    json_object *event = qtest_event(s.qts, "VSERPORT_CHANGE");
    g_assert_cmpstr(json_text(event, "data.id"), ==, "p1");
    g_assert_true(json_object_get_boolean(json_at(event, "data.open")));
    json_object_put(event);
    qtest_memwrite(s.qts, s.data, "to the host", 11);
    give(s.out1, s.data, 11, false);
    read_ring(&s, "c1", "to the host");
    serial_close(&s);
}

/* Ports that are not there, events that are none, messages that are cut off. */
static void test_bad_control(void)
{
    Serial s;
    serial_open(&s, F_V1 | F_MULTIPORT);
    say(&s, 0xffffffff, PORT_OPEN, 1);
    say(&s, 31, PORT_READY, 1);
    say(&s, 5, PORT_READY, 1);
    say(&s, 0, 999, 1);
    for (int i = 0; i < 200; i++) {
        say(&s, 0, DEVICE_READY, 1); /* nobody takes the answers */
    }
    g_assert_false(qvirtio_status(s.dev) & NEEDS_RESET);
    QBuffer buffer = { s.control, 7, false };
    qvirtqueue_add(s.control_out, &buffer, 1);
    qvirtqueue_kick(s.control_out);
    wait_needs_reset(s.dev);
    serial_close(&s);
}

static void test_emergency_write(void)
{
    Serial s;
    serial_open(&s, F_V1 | F_EMERGENCY);
    qpci_write(s.dev->pci, s.dev->config.bar, s.dev->config.offset + 8, 'E', 4);
    read_ring(&s, "c0", "E");
    serial_close(&s);
}

static void test_port_numbers(void)
{
    static const struct {
        const char *ports, *message;
    } cases[] = {
        { "-device virtserialport,nr=31", "nr=31" },
        { "-device virtserialport,nr=1 -device virtserialport,nr=1", "taken" },
        { "-device virtserialport,chardev=nix", "nix" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        int status;
        g_autofree char *text =
            qtest_run_failing(&status, "-device virtio-serial-pci %s", cases[i].ports);
        g_assert_cmpint(status, ==, 1);
        g_assert_nonnull(strstr(text, cases[i].message));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-rng/fills-buffers", test_rng);
    g_test_add_func("/virtio-rng/limit", test_rng_limit);
    g_test_add_func("/virtio-balloon/inflated-pages-go-back", test_inflate);
    g_test_add_func("/virtio-balloon/reported-pages-go-back", test_reporting);
    g_test_add_func("/virtio-balloon/statistics-are-asked-for", test_stats);
    g_test_add_func("/virtio-balloon/statistics-interval-is-live", test_stats_interval_is_live);
    g_test_add_func("/virtio-balloon/change-event", test_balloon_change);
    g_test_add_func("/virtio-balloon/monitor-commands", test_balloon_commands);
    g_test_add_func("/virtio-serial/console-output", test_console_output);
    g_test_add_func("/virtio-serial/ports", test_ports);
    g_test_add_func("/virtio-serial/bad-control-messages", test_bad_control);
    g_test_add_func("/virtio-serial/emergency-write", test_emergency_write);
    g_test_add_func("/virtio-serial/port-numbers", test_port_numbers);
    return g_test_run();
}
