/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that comes and goes: DIMMs, the registers as a guest's ACPI code uses them, refusals. */
#include <string.h>
#include "tests/device/libqtest.h"

#define PORT       0xa00
#define STATUS     (PORT + 0x14)
#define LPC        0xf8
#define PM         0x600
#define SCI_GSI    9
#define GPE_STS    (PM + 0x20)
#define GPE_EN     (PM + 0x28)
#define GPE_MEMORY (1 << 3)
#define ENABLED    1
#define INSERTING  2
#define REMOVING   4
#define EJECT      8
#define BASE       (4ULL << 30) /* DIMMs begin above the machine's own memory */
#define MIB_       (1ULL << 20)

static QTest *start(const char *args)
{
    QTest *qts = qtest_start("-m 32M,slots=3,maxmem=1G %s", args);

    qtest_intercept(qts);
    qpci_config_write(qts, 0, LPC, 0x40, PM, 4);
    qpci_config_write(qts, 0, LPC, 0x44, 0x80, 1);
    qtest_outw(qts, PM + 4, 1); /* SCI on */
    qtest_outb(qts, GPE_EN, GPE_MEMORY);
    return qts;
}

static uint8_t status(QTest *qts, uint32_t slot)
{
    qtest_outl(qts, PORT, slot);
    return qtest_inb(qts, STATUS);
}

static void add(QTest *qts, const char *id, unsigned mib)
{
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'object-add', 'arguments': {'qom-type': "
                                 "'memory-backend-ram', 'id': 'm-%s', 'size': %llu}}",
                                 id, mib * MIB_));
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'device_add', 'arguments': {'driver': 'pc-dimm', "
                                 "'id': '%s', 'memdev': 'm-%s'}}",
                                 id, id));
}

static void run(QTest *qts)
{
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
}

static int64_t plugged(QTest *qts)
{
    json_object *info = qtest_qmp_ok(qts, "{'execute': 'query-memory-size-summary'}");
    int64_t bytes = json_object_get_int64(json_at(info, "plugged-memory"));
    json_object_put(info);
    return bytes;
}

static void test_cold(void)
{
    QTest *qts = start("-object memory-backend-ram,id=m0,size=64M "
                       "-object memory-backend-ram,id=m1,size=128M "
                       "-device pc-dimm,id=d0,memdev=m0 -device pc-dimm,id=d1,memdev=m1,slot=2");

    g_assert_cmphex(status(qts, 0), ==, ENABLED);
    g_assert_cmphex(status(qts, 1), ==, 0);
    g_assert_cmphex(status(qts, 2), ==, ENABLED);
    g_assert_cmphex(qtest_inl(qts, PORT), ==, 64 * MIB_);
    g_assert_cmphex(qtest_inl(qts, PORT + 4), ==, 1);
    g_assert_cmphex(qtest_inl(qts, PORT + 8), ==, 128 * MIB_);
    g_assert_cmphex(qtest_inl(qts, PORT + 12), ==, 0);
    qtest_write(qts, BASE + 64 * MIB_ - 4, 0x1122334455667788, 8); /* both DIMMs */
    g_assert_cmphex(qtest_read(qts, BASE + 64 * MIB_ - 4, 8), ==, 0x1122334455667788);
    g_assert_cmpint(plugged(qts), ==, 192 * MIB_);
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-memory-devices'}");
    json_object *second = json_object_array_get_idx(list, 1);
    g_assert_cmpstr(json_text(second, "type"), ==, "dimm");
    g_assert_cmpstr(json_text(second, "data.memdev"), ==, "/objects/m1");
    g_assert_cmpint(json_object_get_int64(json_at(second, "data.addr")), ==, BASE + 64 * MIB_);
    g_assert_false(json_object_get_boolean(json_at(second, "data.hotplugged")));
    json_object_put(list);
    qtest_stop(qts);
}

static void test_hot_add(void)
{
    QTest *qts = start("");

    run(qts);
    g_assert_cmphex(qtest_read(qts, BASE, 8), !=, 0x55aa);
    add(qts, "d0", 128);
    qtest_wait_irq(qts, SCI_GSI, true);
    g_assert_cmphex(qtest_inb(qts, GPE_STS), ==, GPE_MEMORY);
    qtest_outb(qts, GPE_STS, GPE_MEMORY);
    g_assert_cmphex(status(qts, 0), ==, ENABLED | INSERTING);
    qtest_outb(qts, STATUS, INSERTING);
    g_assert_cmphex(qtest_inb(qts, STATUS), ==, ENABLED);
    qtest_write(qts, BASE + 128 * MIB_ - 8, 0x55aa, 8);
    g_assert_cmphex(qtest_read(qts, BASE + 128 * MIB_ - 8, 8), ==, 0x55aa);
    qtest_outl(qts, PORT + 4, 1);
    qtest_outl(qts, PORT + 8, 0);
    json_object *event = qtest_event(qts, "ACPI_DEVICE_OST");
    g_assert_cmpstr(json_text(event, "data.info.slot-type"), ==, "DIMM");
    g_assert_cmpstr(json_text(event, "data.info.device"), ==, "d0");
    json_object *slots = qtest_qmp_ok(qts, "{'execute': 'query-acpi-ospm-status'}");
    unsigned said = 0;
    for (size_t i = 0; i < json_object_array_length(slots); i++) {
        said += json_object_equal(json_object_array_get_idx(slots, i), json_at(event, "data.info"));
    }
    g_assert_cmpuint(said, ==, 1);
    json_object_put(slots);
    json_object_put(event);
    qtest_stop(qts);
}

static void test_remove(void)
{
    QTest *qts = start("");

    run(qts);
    add(qts, "d0", 64);
    g_autofree char *used =
        qtest_qmp_error(qts, "{'execute': 'object-del', 'arguments': {'id': 'm-d0'}}");
    g_assert_nonnull(strstr(used, "in use"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'device_del', 'arguments': {'id': 'd0'}}"));
    g_assert_cmphex(status(qts, 0), ==, ENABLED | INSERTING | REMOVING);
    qtest_outb(qts, STATUS, INSERTING | REMOVING);
    qtest_outb(qts, STATUS, EJECT);
    json_object_put(qtest_event(qts, "DEVICE_DELETED"));
    g_assert_cmphex(status(qts, 0), ==, 0);
    g_assert_cmpint(plugged(qts), ==, 0);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'object-del', 'arguments': {'id': 'm-d0'}}"));
    qtest_write(qts, BASE, 1, 8); /* nothing is there */
    add(qts, "d0", 128);
    g_assert_cmphex(status(qts, 0), ==, ENABLED | INSERTING);
    qtest_stop(qts);
}

static void test_hostile(void)
{
    static const uint32_t selectors[] = { 3, 4, 255, 256, 0x80000000, 0xffffffff };
    QTest *qts = start("");

    for (size_t i = 0; i < G_N_ELEMENTS(selectors); i++) {
        g_assert_cmphex(status(qts, selectors[i]), ==, 0);
        for (unsigned offset = 0; offset < 24; offset++) {
            qtest_outb(qts, (uint16_t)(PORT + offset), 0xff);
            qtest_outl(qts, PORT, selectors[i]);
            qtest_outw(qts, (uint16_t)(PORT + offset), 0xffff);
            qtest_outl(qts, PORT, selectors[i]);
            if (offset != 0) {
                qtest_outl(qts, (uint16_t)(PORT + offset), 0xffffffff);
            }
            qtest_inb(qts, (uint16_t)(PORT + offset));
            qtest_inw(qts, (uint16_t)(PORT + offset));
            qtest_inl(qts, (uint16_t)(PORT + offset));
        }
    }
    status(qts, 0);
    qtest_outb(qts, STATUS, EJECT); /* an empty slot */
    g_assert_cmphex(status(qts, 0), ==, 0);
    qtest_stop(qts);
}

static void test_refused(void)
{
#define WITH(SIZE) "-m 32M,slots=2,maxmem=288M -object memory-backend-ram,id=m,size=" SIZE " "
    qtest_assert_refused("-object memory-backend-ram,id=m,size=64M -device pc-dimm,memdev=m",
                         "no slots for memory");
    qtest_assert_refused(
        WITH("64M") "-device pc-dimm",
        "'memdev' is missing: it names the -object memory-backend-... that has the memory");
    qtest_assert_refused(WITH("64M") "-device pc-dimm,memdev=x", "there is no object 'x'");
    qtest_assert_refused(WITH("1M") "-device pc-dimm,memdev=m", "has to be a multiple of");
    qtest_assert_refused(WITH("512M") "-device pc-dimm,memdev=m", "does not fit any more");
    qtest_assert_refused(WITH("64M") "-device pc-dimm,memdev=m,slot=2", "numbers 0 to 1");
    qtest_assert_refused(WITH("64M") "-device pc-dimm,memdev=m,node=1", "not including, 1");
    qtest_assert_refused(WITH("64M") "-device pc-dimm,memdev=m,addr=0x1000",
                         "addr= has to be a multiple");
    qtest_assert_refused(WITH("64M") "-device pc-dimm,memdev=m,addr=0x80000000", "must be inside");
    qtest_assert_refused(WITH("64M") "-device pc-dimm,memdev=m,addr=0xffffffffffe00000",
                         "must be inside");
    qtest_assert_refused(WITH("64M") "-device pc-dimm,memdev=m -device pc-dimm,memdev=m",
                         "is used already");
    qtest_assert_refused(WITH("64M") "-device pc-dimm,memdev=m,slot=0 "
                                     "-object memory-backend-ram,id=n,size=64M "
                                     "-device pc-dimm,memdev=n,slot=0",
                         "slot 0 is busy");
    qtest_assert_refused(WITH("64M") "-device pc-dimm,memdev=m,id=d "
                                     "-object memory-backend-ram,id=n,size=64M "
                                     "-device pc-dimm,memdev=n,addr=0x102000000",
                         "in the memory of device 'd'");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory-hotplug/dimms-of-the-command-line-are-there", test_cold);
    g_test_add_func("/memory-hotplug/a-new-dimm-is-announced", test_hot_add);
    g_test_add_func("/memory-hotplug/a-dimm-goes-when-the-guest-ejects-it", test_remove);
    g_test_add_func("/memory-hotplug/hostile-selectors-and-widths", test_hostile);
    g_test_add_func("/memory-hotplug/bad-dimms-are-refused", test_refused);
    return g_test_run();
}
