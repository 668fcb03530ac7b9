/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands at the wrong time and with names that are taken: the error's class, and what it names.
 */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/device/qmp-client.h"

#define PM          0x600 /* ACPI power management of the pc board */
#define PM_FUNCTION 0x0b
#define SLP_S5      0x2000
#define SECONDS     G_GINT64_CONSTANT(1000000000)

static void expect_error(QTest *qts, const char *error_class, const char *names,
                         const char *request)
{
    json_object *answer = qtest_qmp(qts, "%s", request);
    const char *said = json_text(answer, "error.desc");
    g_assert_cmpstr(json_text(answer, "error.class"), ==, error_class);
    if (!strstr(said, names)) {
        g_error("%s: '%s' does not name '%s'", request, said, names);
    }
    json_object_put(answer);
}

/* ---- Names ---- */

static void test_ids_are_identifiers(void)
{
    static const char *const requests[] = {
        "{'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'id': '%s'}}",
        "{'execute': 'netdev_add', 'arguments': {'type': 'user', 'id': '%s'}}",
        "{'execute': 'chardev-add', 'arguments': {'id': '%s', 'backend': {'type': 'null', "
        "'data': {}}}}",
        "{'execute': 'object-add', 'arguments': {'qom-type': 'iothread', 'id': '%s'}}",
        "{'execute': 'blockdev-add', 'arguments': {'driver': 'null-co', 'node-name': '%s'}}",
        "{'execute': 'block-export-add', 'arguments': {'type': 'nbd', 'node-name': 'n', 'id': "
        "'%s'}}",
    };
    static const char *const ids[] = { "", "1", "_a", "a b", "a/b", "a\xc3\xa4", "a:b" };
    QTest *qts = qtest_start("-m 16 -S -blockdev null-co,node-name=n,size=65536");
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'nbd-server-start', 'arguments': {'addr': {'type': 'inet', 'data': "
             "{'host': '127.0.0.1', 'port': '0'}}}}"));
    for (size_t i = 0; i < G_N_ELEMENTS(requests); i++) {
        for (size_t j = 0; j < G_N_ELEMENTS(ids); j++) {
            g_auto(GStrv) parts = g_strsplit(requests[i], "%s", 2);
            g_autofree char *request = g_strjoinv(ids[j], parts);
            expect_error(qts, "GenericError", "letter", request);
        }
    }
    qtest_stop(qts);
}

#define TWICE(COMMAND, ARGUMENTS)                                                                  \
    {                                                                                              \
        "{'execute': '" COMMAND "', 'arguments': {" ARGUMENTS "}}"                                 \
    }

static void test_names_are_taken_once(void)
{
    static const struct {
        const char *request;
    } cases[] = {
        TWICE("device_add", "'driver': 'virtio-rng-pci', 'id': 'twice'"),
        TWICE("netdev_add", "'type': 'user', 'id': 'twice'"),
        TWICE("chardev-add", "'id': 'twice', 'backend': {'type': 'null', 'data': {}}"),
        TWICE("object-add", "'qom-type': 'iothread', 'id': 'twice'"),
        TWICE("blockdev-add", "'driver': 'null-co', 'node-name': 'twice', 'size': 65536"),
        TWICE("block-dirty-bitmap-add", "'node': 'twice', 'name': 'twice'"),
    };
    QTest *qts = qtest_start("-m 16 -S");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        json_object_put(qtest_qmp_ok(qts, "%s", cases[i].request));
        expect_error(qts, "GenericError", "twice", cases[i].request);
    }
    /* The first of each works on. */
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'device_del', 'arguments': {'id': 'twice'}}"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'netdev_del', 'arguments': {'id': 'twice'}}"));
    json_object_put(
        qtest_qmp_ok(qts, "{'execute': 'chardev-remove', 'arguments': {'id': 'twice'}}"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'object-del', 'arguments': {'id': 'twice'}}"));
    json_object_put(
        qtest_qmp_ok(qts, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'twice'}}"));
    qtest_stop(qts);
}

static void test_names_that_nobody_has(void)
{
    static const struct {
        const char *request, *error_class;
    } cases[] = {
        { "{'execute': 'device_del', 'arguments': {'id': 'nobody'}}", "DeviceNotFound" },
        { "{'execute': 'netdev_del', 'arguments': {'id': 'nobody'}}", "DeviceNotFound" },
        { "{'execute': 'set_link', 'arguments': {'name': 'nobody', 'up': true}}",
          "DeviceNotFound" },
        { "{'execute': 'qom-get', 'arguments': {'path': '/machine/nobody', 'property': 'x'}}",
          "DeviceNotFound" },
        { "{'execute': 'eject', 'arguments': {'device': 'nobody'}}", "DeviceNotFound" },
        { "{'execute': 'block_resize', 'arguments': {'device': 'nobody', 'size': 1}}",
          "DeviceNotFound" },
        { "{'execute': 'block-job-cancel', 'arguments': {'device': 'nobody'}}", "DeviceNotActive" },
        { "{'execute': 'job-cancel', 'arguments': {'id': 'nobody'}}", "GenericError" },
        { "{'execute': 'chardev-remove', 'arguments': {'id': 'nobody'}}", "GenericError" },
        { "{'execute': 'object-del', 'arguments': {'id': 'nobody'}}", "GenericError" },
        { "{'execute': 'blockdev-del', 'arguments': {'node-name': 'nobody'}}", "GenericError" },
        { "{'execute': 'nobody'}", "CommandNotFound" },
    };
    QTest *qts = qtest_start("-m 16");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        expect_error(qts, cases[i].error_class, "nobody", cases[i].request);
    }
    qtest_stop(qts);
}

/* ---- States ---- */

static void test_before_the_negotiation(void)
{
    static const char *const requests[] = { "stop", "quit", "query-qmp-schema", "frob", "" };
    char *path;
    QTest *qts = qmp_start_with_second(&path, "");
    QmpClient client = qmp_client_open(path);
    qmp_client_expect(&client, "QMP.version.qemu.major", "7");
    for (size_t i = 0; i < G_N_ELEMENTS(requests); i++) {
        g_autofree char *request = g_strdup_printf("{'execute': '%s'}", requests[i]);
        qmp_client_send(&client, request);
        qmp_client_expect_error(&client, "CommandNotFound", "qmp_capabilities");
    }
    qmp_client_send(&client, "{'exec-oob': 'query-name'}");
    qmp_client_expect_error(&client, "GenericError", "exec-oob");
    /* Events do not come before it either: the next line is the answer. */
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'stop'}"));
    qmp_client_send(&client, "{'execute': 'qmp_capabilities', 'id': 1}");
    qmp_client_expect(&client, "id", "1");
    qmp_client_close(&client);
    qtest_stop(qts);
    qmp_remove_second(path);
}

static void test_a_machine_that_was_shut_down(void)
{
    QTest *qts = qtest_start("-M pc -m 16 -no-shutdown");
    qpci_config_write(qts, 0, PM_FUNCTION, 0x40, PM, 4);
    qpci_config_write(qts, 0, PM_FUNCTION, 0x80, 1, 1);
    qtest_outw(qts, PM + 4, SLP_S5);
    json_object_put(qtest_event(qts, "SHUTDOWN"));
    json_object *status = qtest_qmp_ok(qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "shutdown");
    json_object_put(status);
    expect_error(qts, "GenericError", "system_reset", "{'execute': 'cont'}");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'stop'}"));
    expect_error(qts, "GenericError", "not suspended", "{'execute': 'system_wakeup'}");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
    json_object_put(qtest_event(qts, "RESUME"));
    qtest_stop(qts);
}

static void test_twice_the_same_state(void)
{
    QTest *qts = qtest_start("-m 16");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'stop'}"));
    json_object_put(qtest_event(qts, "STOP"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'stop'}"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
    json_object *next = qtest_next_event(qts); /* one STOP only */
    g_assert_cmpstr(json_text(next, "event"), ==, "RESUME");
    json_object_put(next);
    qtest_stop(qts);
}

/* ---- Removals ---- */

static void expect_deleted(QTest *qts, const char *id)
{
    json_object *event = qtest_event(qts, "DEVICE_DELETED");
    g_assert_cmpstr(json_text(event, "data.device"), ==, id);
    json_object_put(event);
}

#define DEL "{'execute': 'device_del', 'arguments': {'id': 'r'}}"

/* The name stays taken, another request is refused for a while, a reset ends it. */
static void test_a_guest_that_never_answers(gconstpointer data)
{
    QTest *qts = qtest_start("-m 32 %s", (const char *)data);
    json_object_put(qtest_qmp_ok(qts, DEL));
    expect_error(qts, "GenericError", "Device 'r' was asked to leave already", DEL);
    expect_error(qts, "GenericError", "'r'",
                 "{'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'id': 'r'}}");
    qtest_clock_step(qts, 6 * SECONDS);
    json_object_put(qtest_qmp_ok(qts, DEL));
    expect_error(qts, "GenericError", "Device 'r' was asked to leave already", DEL);
    g_assert_true(g_queue_is_empty(&qts->events));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    expect_deleted(qts, "r");
    expect_error(qts, "DeviceNotFound", "'r'", DEL);
    qtest_stop(qts);
}

static void test_devices_that_stay(void)
{
    QTest *qts = qtest_start("-M pc -m 16 -device isa-serial,id=port,chardev=c -chardev null,id=c");
    expect_error(qts, "GenericError", "isa",
                 "{'execute': 'device_del', 'arguments': {'id': 'port'}}");
    expect_error(qts, "GenericError", "'c'",
                 "{'execute': 'chardev-remove', 'arguments': {'id': 'c'}}");
    qtest_stop(qts);
}

/* ---- Other lines ---- */

static unsigned monitor_port(QTest *qts)
{
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-chardev'}");
    unsigned port = 0;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        const char *name = json_text(json_object_array_get_idx(list, i), "filename");
        const char *host = strstr(name, "127.0.0.1:");
        port = host ? (unsigned)strtoul(host + strlen("127.0.0.1:"), NULL, 10) : port;
    }
    json_object_put(list);
    g_assert_cmpuint(port, !=, 0);
    return port;
}

/* A slow line: telnet's own bytes come between those of the request, all of them one at a time. */
static void test_a_slow_telnet_line(void)
{
    static const char request[] =
        "{'execute': 'qmp\xff\xf1_capabilities', 'id': '\xc3\xff\xf1\xa9'}\r\n";
    QTest *qts = qtest_start("-m 16 -qmp telnet:127.0.0.1:0,server=on,wait=off");
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons((uint16_t)monitor_port(qts)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    QmpClient client = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                         .in = g_string_new(NULL) };
    g_assert_cmpint(connect(client.fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_free(qmp_client_read_line(&client)); /* telnet's options and the greeting */
    for (size_t i = 0; i < strlen(request); i++) {
        qmp_client_send_bytes(&client, request + i, 1);
        g_usleep(1000);
        json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-name'}"));
    }
    qmp_client_expect(&client, "id", "\xc3\xa9");
    qmp_client_close(&client);
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp-refusals/ids-are-identifiers", test_ids_are_identifiers);
    g_test_add_func("/qmp-refusals/names-are-taken-once", test_names_are_taken_once);
    g_test_add_func("/qmp-refusals/names-that-nobody-has", test_names_that_nobody_has);
    g_test_add_func("/qmp-refusals/before-the-negotiation", test_before_the_negotiation);
    g_test_add_func("/qmp-refusals/shut-down", test_a_machine_that_was_shut_down);
    g_test_add_func("/qmp-refusals/twice-the-same-state", test_twice_the_same_state);
    g_test_add_data_func("/qmp-refusals/never-answered/q35",
                         "-device pcie-root-port,id=rp,addr=1,chassis=1 "
                         "-device virtio-rng-pci,bus=rp,id=r",
                         test_a_guest_that_never_answers);
    g_test_add_data_func("/qmp-refusals/never-answered/pc", "-M pc -device virtio-rng-pci,id=r",
                         test_a_guest_that_never_answers);
    g_test_add_func("/qmp-refusals/devices-that-stay", test_devices_that_stay);
    g_test_add_func("/qmp-refusals/slow-telnet", test_a_slow_telnet_line);
    return g_test_run();
}
