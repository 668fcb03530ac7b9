/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs that come and go: the registers as a guest's ACPI code uses them, events, refusals. */
#include <string.h>
#include "tests/device/libqtest-fw-cfg.h"
#include "vmm/util/bytes.h"

#define PORT      0xcd8
#define LPC       0xf8
#define PM        0x600
#define SCI_GSI   9
#define GPE_STS   (PM + 0x20)
#define GPE_EN    (PM + 0x28)
#define GPE_CPU   (1 << 2)
#define ENABLED   1
#define INSERTING 2
#define REMOVING  4
#define EJECT     8

#define START "-m 32 -cpu EPYC -smp 1,maxcpus=4,sockets=2,cores=2,threads=1 "

static QTest *start(const char *args)
{
    QTest *qts = qtest_start(START "%s", args);

    qtest_intercept(qts);
    qpci_config_write(qts, 0, LPC, 0x40, PM, 4);
    qpci_config_write(qts, 0, LPC, 0x44, 0x80, 1);
    qtest_outw(qts, PM + 4, 1); /* SCI on */
    qtest_outb(qts, GPE_EN, GPE_CPU);
    return qts;
}

static uint8_t status(QTest *qts, uint32_t cpu)
{
    qtest_outl(qts, PORT, cpu);
    return qtest_inb(qts, PORT + 4);
}

static void add(QTest *qts, const char *id, int socket, int core)
{
    json_object_put(qtest_qmp_ok(
        qts,
        "{'execute': 'device_add', 'arguments': {'driver': 'EPYC-x86_64-cpu', 'id': '%s', "
        "'socket-id': %d, 'core-id': %d, 'thread-id': 0}}",
        id, socket, core));
}

static void run(QTest *qts)
{
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
}

static unsigned cpu_count(QTest *qts)
{
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-cpus-fast'}");
    unsigned count = (unsigned)json_object_array_length(list);
    json_object_put(list);
    return count;
}

static void test_cold(void)
{
    QTest *qts = start("-device EPYC-x86_64-cpu,id=c3,socket-id=1,core-id=1,thread-id=0");

    g_assert_cmphex(status(qts, 0), ==, ENABLED);
    g_assert_cmphex(status(qts, 1), ==, 0);
    g_assert_cmphex(status(qts, 3), ==, ENABLED);
    g_assert_cmpuint(cpu_count(qts), ==, 2);
    g_assert_false(qts->irq[SCI_GSI]);
    qtest_stop(qts);
}

/* As OVMF does: the number read back is the selected one, and 0 behind the last. */
static void test_firmware_counts(void)
{
    QTest *qts = start("");
    uint32_t possible = 0;

    qtest_outl(qts, PORT, 0);
    qtest_outl(qts, PORT, 0);
    qtest_outb(qts, PORT + 5, 0);
    g_assert_cmphex(qtest_inl(qts, PORT), ==, 0);
    do {
        qtest_outl(qts, PORT, ++possible);
    } while (qtest_inl(qts, PORT + 8) == possible);
    g_assert_cmphex(qtest_inl(qts, PORT + 8), ==, 0);
    g_assert_cmpuint(possible, ==, 4);
    qtest_stop(qts);
}

static void test_hot_add(void)
{
    QTest *qts = start("");

    run(qts);
    add(qts, "c2", 1, 0);
    qtest_wait_irq(qts, SCI_GSI, true);
    g_assert_cmphex(qtest_inb(qts, GPE_STS), ==, GPE_CPU);
    qtest_outb(qts, GPE_STS, GPE_CPU);
    g_assert_false(qts->irq[SCI_GSI]);
    qtest_outl(qts, PORT, 0);
    qtest_outb(qts, PORT + 5, 0); /* the next with an event */
    g_assert_cmpuint(qtest_inl(qts, PORT + 8), ==, 2);
    g_assert_cmphex(qtest_inb(qts, PORT + 4), ==, ENABLED | INSERTING);
    qtest_outb(qts, PORT + 4, INSERTING);
    g_assert_cmphex(qtest_inb(qts, PORT + 4), ==, ENABLED);
    qtest_outb(qts, PORT + 5, 3); /* its APIC id */
    g_assert_cmpuint(qtest_inl(qts, PORT + 8), ==, 2);
    g_assert_cmpuint(cpu_count(qts), ==, 2);
    qtest_stop(qts);
}

static void test_ost(void)
{
    QTest *qts = start("");

    run(qts);
    add(qts, "c1", 0, 1);
    qtest_outl(qts, PORT, 1);
    qtest_outb(qts, PORT + 5, 1);
    qtest_outl(qts, PORT + 8, 1);
    qtest_outb(qts, PORT + 5, 2);
    qtest_outl(qts, PORT + 8, 0x80);
    json_object *event = qtest_event(qts, "ACPI_DEVICE_OST");
    g_assert_cmpstr(json_text(event, "data.info.device"), ==, "c1");
    g_assert_cmpstr(json_text(event, "data.info.slot"), ==, "1");
    g_assert_cmpstr(json_text(event, "data.info.slot-type"), ==, "CPU");
    g_assert_cmpint(json_object_get_int(json_at(event, "data.info.source")), ==, 1);
    g_assert_cmpint(json_object_get_int(json_at(event, "data.info.status")), ==, 0x80);
    json_object *slots = qtest_qmp_ok(qts, "{'execute': 'query-acpi-ospm-status'}");
    g_assert_cmpstr(json_text(json_object_array_get_idx(slots, 0), "status"), ==, "0");
    g_assert_cmpstr(json_text(json_object_array_get_idx(slots, 0), "device"), ==, NULL);
    g_assert_true(
        json_object_equal(json_object_array_get_idx(slots, 1), json_at(event, "data.info")));
    json_object_put(slots);
    json_object_put(event);
    qtest_stop(qts);
}

static void test_remove(void)
{
    QTest *qts = start("");

    run(qts);
    add(qts, "c1", 0, 1);
    qtest_outb(qts, GPE_STS, GPE_CPU);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'device_del', 'arguments': {'id': 'c1'}}"));
    g_assert_cmphex(qtest_inb(qts, GPE_STS), ==, GPE_CPU);
    g_assert_cmphex(status(qts, 1), ==, ENABLED | INSERTING | REMOVING);
    qtest_outb(qts, PORT + 4, INSERTING | REMOVING);
    g_assert_cmpuint(cpu_count(qts), ==, 2);
    qtest_outb(qts, PORT + 4, EJECT);
    json_object *event = qtest_event(qts, "DEVICE_DELETED");
    g_assert_cmpstr(json_text(event, "data.device"), ==, "c1");
    json_object_put(event);
    g_assert_cmphex(status(qts, 1), ==, 0);
    g_assert_cmpuint(cpu_count(qts), ==, 1);
    add(qts, "again", 0, 1);
    g_assert_cmphex(status(qts, 1), ==, ENABLED | INSERTING);
    qtest_stop(qts);
}

static void test_first_cpu_stays(void)
{
    QTest *qts = start("");

    run(qts);
    status(qts, 0);
    qtest_outb(qts, PORT + 4, EJECT);
    g_assert_cmphex(status(qts, 0), ==, ENABLED);
    qtest_stop(qts);
}

/* Every selector, register, width: nothing beyond the last place, nothing worse. */
static void test_hostile_selectors(void)
{
    static const uint32_t selectors[] = { 4, 5, 255, 256, 0x7fffffff, 0x80000000, 0xffffffff };
    QTest *qts = start("");

    for (size_t i = 0; i < G_N_ELEMENTS(selectors); i++) {
        g_assert_cmphex(status(qts, selectors[i]), ==, 0);
        for (unsigned offset = 0; offset < 16; offset++) {
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
    for (unsigned command = 0; command < 256; command++) {
        qtest_outl(qts, PORT, 1);
        qtest_outb(qts, PORT + 5, (uint8_t)command);
        qtest_outl(qts, PORT + 8, 0xffffffff);
        qtest_inl(qts, PORT + 8);
    }
    g_assert_cmphex(status(qts, 0), ==, ENABLED);
    qtest_stop(qts);
}

static void test_refused(void)
{
    QTest *qts = start("");
    static const struct {
        const char *args, *why;
    } cases[] = {
        { "'driver': 'host-x86_64-cpu', 'socket-id': 1, 'core-id': 1, 'thread-id': 0",
          "all CPUs of a machine are of one type: 'EPYC-x86_64-cpu'" },
        { "'driver': 'EPYC-x86_64-cpu', 'core-id': 1, 'thread-id': 0", "CPU socket-id is not set" },
        { "'driver': 'EPYC-x86_64-cpu', 'socket-id': 2, 'core-id': 1, 'thread-id': 0",
          "Invalid CPU socket-id: 2 must be in range 0:1" },
        { "'driver': 'EPYC-x86_64-cpu', 'socket-id': 0, 'core-id': 0, 'thread-id': 0",
          "CPU 0 (APIC ID 0) is there already" },
        { "'driver': 'EPYC-x86_64-cpu', 'socket-id': 1, 'core-id': 0, 'thread-id': 0, 'node-id': 3",
          "node-id=3 must match" },
    };

    run(qts);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *error =
            qtest_qmp_error(qts, "{'execute': 'device_add', 'arguments': {%s}}", cases[i].args);
        if (!strstr(error, cases[i].why)) {
            g_error("expected '%s' in '%s'", cases[i].why, error);
        }
    }
    g_assert_cmpuint(cpu_count(qts), ==, 1);
    qtest_stop(qts);
}

static void test_reset_forgets_events(void)
{
    QTest *qts = start("");

    run(qts);
    add(qts, "c1", 0, 1);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(status(qts, 1), ==, ENABLED);
    qtest_stop(qts);
}

/* Of the MADT's entry for the APIC id: whether a system may use the vCPU from its start. */
static bool told_enabled(QTest *qts, uint8_t apic_id)
{
    uint32_t size, at = 0;
    g_autofree uint8_t *tables = qfw_read(qts, "etc/acpi/tables", &size);

    g_assert_nonnull(tables);
    while (at + 8 < size && memcmp(tables + at, "APIC", 4) != 0) {
        at++;
    }
    g_assert_cmpuint(at + 8, <, size);
    uint32_t end = at + load_le32(tables + at + 4);
    for (at += 44; at < end && tables[at + 1]; at += tables[at + 1]) {
        if (tables[at] == 0 && tables[at + 3] == apic_id) {
            return tables[at + 4] & 1;
        }
    }
    g_assert_not_reached();
}

static void test_tables_after_a_reset(gconstpointer board)
{
    QTest *qts = qtest_start("-machine %s -smp 1,maxcpus=4,sockets=2,cores=2 -cpu EPYC -S",
                             (const char *)board);

    g_assert_true(told_enabled(qts, 0));
    g_assert_false(told_enabled(qts, 2));
    run(qts);
    add(qts, "c2", 1, 0);
    g_assert_false(told_enabled(qts, 2)); /* tables stand while a system runs on them */
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_true(told_enabled(qts, 2));
    g_assert_false(told_enabled(qts, 3));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_true(told_enabled(qts, 2));
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-hotplug/firmware-counts-the-possible-cpus", test_firmware_counts);
    g_test_add_func("/cpu-hotplug/cpus-of-the-command-line-are-there", test_cold);
    g_test_add_func("/cpu-hotplug/a-new-cpu-is-announced", test_hot_add);
    g_test_add_func("/cpu-hotplug/the-guests-report-is-passed-on", test_ost);
    g_test_add_func("/cpu-hotplug/a-cpu-goes-when-the-guest-ejects-it", test_remove);
    g_test_add_func("/cpu-hotplug/the-first-cpu-stays", test_first_cpu_stays);
    g_test_add_func("/cpu-hotplug/hostile-selectors-and-widths", test_hostile_selectors);
    g_test_add_func("/cpu-hotplug/wrong-places-are-refused", test_refused);
    g_test_add_func("/cpu-hotplug/reset-forgets-events", test_reset_forgets_events);
    g_test_add_data_func("/cpu-hotplug/tables-know-the-cpu-after-a-reset/q35", "q35",
                         test_tables_after_a_reset);
    g_test_add_data_func("/cpu-hotplug/tables-know-the-cpu-after-a-reset/pc", "pc",
                         test_tables_after_a_reset);
    return g_test_run();
}
