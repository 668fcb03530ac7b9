/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: negotiation, checking, errors, events, hostile clients, the commands. */
#include <string.h>
#include <sys/socket.h>
#include "tests/device/qmp-client.h"

static void test_negotiation(void)
{
    char *path;
    QTest *qts = qmp_start_with_second(&path, "");
    QmpClient client = qmp_client_open(path);
    json_object *greeting = qmp_client_read(&client);
    g_assert_cmpstr(json_text(greeting, "QMP.version.qemu.major"), ==, "7");
    g_assert_cmpstr(json_text(greeting, "QMP.capabilities"), ==, "[ \"oob\" ]");
    json_object_put(greeting);
    qmp_client_send(&client, "{'execute': 'query-status', 'id': [1, {}]}\n");
    json_object *refused = qmp_client_read(&client);
    g_assert_cmpstr(json_text(refused, "error.class"), ==, "CommandNotFound");
    g_assert_cmpstr(json_text(refused, "id"), ==, "[ 1, { } ]");
    json_object_put(refused);
    qmp_client_send(&client, "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['fly']}}\n");
    qmp_client_expect(&client, "error.desc", "'enable[0]' cannot be 'fly'");
    qmp_client_send(&client, "{'execute': 'qmp_capabilities'}\n");
    qmp_client_expect(&client, "return", "{ }");
    qmp_client_send(&client, "{'execute': 'qmp_capabilities'}\n");
    qmp_client_expect(&client, "error.class", "CommandNotFound");
    qmp_client_send(&client, "{'exec-oob': 'query-status'}\n");
    qmp_client_expect(&client, "error.desc", "a request has no member 'exec-oob'");
    qmp_client_close(&client);
    qtest_stop(qts);
    qmp_remove_second(path);
}

static void test_out_of_band_overtakes(void)
{
    char *path;
    QTest *qts = qmp_start_with_second(&path, "");
    QmpClient client = qmp_client_open(path);
    json_object_put(qmp_client_read(&client));
    qmp_client_send(&client, "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}\n");
    qmp_client_expect(&client, "return", "{ }");
    qmp_client_send(&client, "{'execute': 'query-commands', 'id': 'in'}"
                             "{'exec-oob': 'query-name', 'id': 'out'}\n");
    qmp_client_expect(&client, "id", "out");
    qmp_client_expect(&client, "id", "in");
    qmp_client_send(&client, "{'exec-oob': 'stop'}\n");
    qmp_client_expect(&client, "error.desc",
                      "the command stop has to wait its turn: use 'execute', not 'exec-oob'");
    qmp_client_close(&client);
    qtest_stop(qts);
    qmp_remove_second(path);
}

static void test_argument_errors(void)
{
    static const struct {
        const char *request, *error;
    } cases[] = {
        { "{'execute': 'qom-get', 'arguments': {'path': '/'}}", "Parameter 'property' is missing" },
        { "{'execute': 'qom-get', 'arguments': {'path': 1, 'property': 'x'}}",
          "'path' has to be of type string" },
        { "{'execute': 'stop', 'arguments': {'now': true}}", "Parameter 'now' is unexpected" },
        { "{'execute': 'balloon', 'arguments': {'value': 'big'}}",
          "'value' has to be of type integer" },
        { "{'execute': 'chardev-add', 'arguments': {'id': 'a', 'backend': {'type': 'null'}}}",
          "Parameter 'backend.data' is missing" },
        { "{'execute': 'set_link', 'arguments': {'name': 'x', 'up': 1}}",
          "'up' has to be of type boolean" },
        { "{'execute': 'frob'}", "there is no command frob (query-commands lists them)" },
        { "{'execute': 5}", "a request's 'execute' has to be a string" },
        { "{'execute': 'stop', 'arguments': []}", "a request's 'arguments' have to be an object" },
        { "{'execute': 'stop', 'x': 1}", "a request has no member 'x'" },
        { "{}", "a request without 'execute' asks for nothing" },
        { "[]", "a request is a JSON object: {\"execute\": ...}" },
        { "null ", "a request is a JSON object: {\"execute\": ...}" },
    };
    QTest *qts = qtest_start("-m 16");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *error = qtest_qmp_error(qts, "%s", cases[i].request);
        g_assert_cmpstr(error, ==, cases[i].error);
    }
    qtest_stop(qts);
}

static void test_malformed_input_is_reported_and_skipped(void)
{
    QTest *qts = qtest_start("-m 16");
    g_autofree char *brace = qtest_qmp_error(qts, "{oops}");
    g_assert_true(g_str_has_prefix(brace, "JSON: "));
    g_autoptr(GString) deep = g_string_new(NULL);
    for (int i = 0; i < 5000; i++) {
        g_string_append_c(deep, '[');
    }
    g_autofree char *depth = qtest_qmp_error(qts, "%s", deep->str);
    g_assert_true(g_str_has_prefix(depth, "JSON: "));
    g_autofree char *utf8 = qtest_qmp_error(qts, "{'execute': '\xfe\xfe'}");
    g_assert_true(g_str_has_prefix(utf8, "JSON: "));
    g_autoptr(GString) many = g_string_new("[");
    for (int i = 0; i < 300000; i++) {
        g_string_append(many, "[],");
    }
    g_autofree char *tokens = qtest_qmp_error(qts, "%s", many->str);
    g_assert_cmpstr(tokens, ==, "JSON: this value has too many parts");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
    qtest_stop(qts);
}

static void test_half_open_clients_leave_nothing(void)
{
    char *path;
    QTest *qts = qmp_start_with_second(&path, "");
    for (int i = 0; i < 50; i++) {
        QmpClient client = qmp_client_open(path);
        qmp_client_send(&client, "{'execute': 'qmp_capabilities'}{'execute': 'query-qmp-schema'}");
        qmp_client_send(&client, "{'execute': 'que");
        qmp_client_close(&client);
    }
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
    qtest_stop(qts);
    qmp_remove_second(path);
}

/* A client that asks and does not listen is not read on; others are served, nothing grows. */
static void test_a_qmp_client_that_stops_reading(void)
{
    enum { REQUESTS = 20000 };
    char *path;
    QTest *qts = qmp_start_with_second(&path, "");
    QmpClient client = qmp_client_open(path);
    qmp_client_send(&client, "{'execute': 'qmp_capabilities'}");
    static const char request[] = "{'execute': 'query-qmp-schema'}";
    unsigned long before = qmp_resident_kib(qts->pid);
    int sent = 0;
    while (sent < REQUESTS) {
        ssize_t n = send(client.fd, request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) { /* the way in is full: is it so for good? */
            json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
            n = send(client.fd, request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0) {
                break;
            }
        }
        sent++;
    }
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
    g_assert_cmpint(sent, <, REQUESTS);
    g_assert_cmpuint(qmp_resident_kib(qts->pid), <, before + 16384);
    qmp_client_expect(&client, "QMP.version.qemu.major", "7");
    qmp_client_expect(&client, "return", "{ }");
    qmp_client_close(&client);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
    qtest_stop(qts);
    qmp_remove_second(path);
}

static void test_states_and_events(void)
{
    QTest *qts = qtest_start("-m 16 -name fred -uuid 12345678-1234-5678-9abc-def012345678");
    json_object *status = qtest_qmp_ok(qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "running");
    json_object_put(status);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'stop'}"));
    json_object_put(qtest_event(qts, "STOP"));
    status = qtest_qmp_ok(qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "paused");
    json_object_put(status);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
    json_object_put(qtest_event(qts, "RESUME"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object *reset = qtest_event(qts, "RESET");
    g_assert_cmpstr(json_text(reset, "data.guest"), ==, "false");
    g_assert_cmpstr(json_text(reset, "data.reason"), ==, "host-qmp-system-reset");
    json_object_put(reset);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_powerdown'}"));
    json_object_put(qtest_event(qts, "POWERDOWN"));
    json_object *name = qtest_qmp_ok(qts, "{'execute': 'query-name'}");
    g_assert_cmpstr(json_text(name, "name"), ==, "fred");
    json_object_put(name);
    json_object *uuid = qtest_qmp_ok(qts, "{'execute': 'query-uuid'}");
    g_assert_cmpstr(json_text(uuid, "UUID"), ==, "12345678-1234-5678-9abc-def012345678");
    json_object_put(uuid);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'quit'}"));
    json_object *shutdown = qtest_event(qts, "SHUTDOWN");
    g_assert_cmpstr(json_text(shutdown, "data.reason"), ==, "host-qmp-quit");
    json_object_put(shutdown);
    g_assert_cmpint(qtest_wait_exit(qts), ==, 0);
    qtest_free(qts);
}

static void test_every_schema_command_is_there(void)
{
    QTest *qts = qtest_start("-m 16");
    json_object *commands = qtest_qmp_ok(qts, "{'execute': 'query-commands'}");
    g_assert_cmpuint(json_object_array_length(commands), >, 40);
    for (size_t i = 0; i < json_object_array_length(commands); i++) {
        const char *name = json_text(json_object_array_get_idx(commands, i), "name");
        /* With an argument that nobody takes a command is refused, but not as unknown. */
        g_autofree char *error =
            qtest_qmp_error(qts, "{'execute': '%s', 'arguments': {'-': 1}}", name);
        g_assert_cmpstr(error, !=, "");
        if (strcmp(name, "qmp_capabilities") != 0) {
            g_assert_null(strstr(error, "no command"));
        }
    }
    json_object_put(commands);
    qtest_stop(qts);
}

/* Every query without required arguments answers. */
static void test_every_query_answers(void)
{
    QTest *qts = qtest_start("-m 16 -object iothread,id=io0 "
                             "-object memory-backend-ram,id=m0,size=1M "
                             "-blockdev driver=null-co,node-name=n0,size=1M "
                             "-device virtio-blk-pci,drive=n0,id=d0 -device vmgenid");
    json_object *commands = qtest_qmp_ok(qts, "{'execute': 'query-commands'}");
    for (size_t i = 0; i < json_object_array_length(commands); i++) {
        const char *name = json_text(json_object_array_get_idx(commands, i), "name");
        if (g_str_has_prefix(name, "query-") && strcmp(name, "query-balloon") != 0 &&
            strcmp(name, "query-cpu-model-expansion") != 0 && strcmp(name, "query-stats") != 0) {
            json_object_put(qtest_qmp_ok(qts, "{'execute': '%s'}", name));
        }
    }
    json_object_put(commands);
    json_object *memdev = qtest_qmp_ok(qts, "{'execute': 'query-memdev'}");
    g_assert_cmpstr(json_text(json_object_array_get_idx(memdev, 0), "id"), ==, "m0");
    json_object_put(memdev);
    json_object *block = qtest_qmp_ok(qts, "{'execute': 'query-block'}");
    g_assert_cmpuint(json_object_array_length(block), ==, 1);
    json_object_put(block);
    g_autofree char *none = qtest_qmp_error(qts, "{'execute': 'query-balloon'}");
    g_assert_cmpstr(none, ==, "the machine has no balloon: -device virtio-balloon-pci");
    qtest_stop(qts);
}

static void assert_answer(QTest *qts, const char *command, const char *answer)
{
    json_object *value = qtest_qmp_ok(qts, "{'execute': '%s'}", command);
    g_assert_cmpstr(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN), ==, answer);
    json_object_put(value);
}

static void test_program_and_machine(void)
{
    QTest *qts = qtest_start("-m 16");
    json_object *version = qtest_qmp_ok(qts, "{'execute': 'query-version'}");
    g_assert_cmpstr(json_text(version, "qemu"), ==, "{ \"micro\": 0, \"minor\": 2, \"major\": 7 }");
    g_assert_true(g_str_has_prefix(json_text(version, "package"), "vireo-"));
    json_object_put(version);
    json_object *kvm = qtest_qmp_ok(qts, "{'execute': 'query-kvm'}");
    g_assert_cmpstr(json_text(kvm, "enabled"), ==, "false");
    g_assert_true(json_object_is_type(json_at(kvm, "present"), json_type_boolean));
    json_object_put(kvm);
    assert_answer(qts, "query-target", "{\"arch\":\"x86_64\"}");
    assert_answer(qts, "query-current-machine", "{\"wakeup-suspend-support\":true}");
    qtest_stop(qts);
    qts = qtest_start("-m 16 -machine microvm");
    assert_answer(qts, "query-current-machine", "{\"wakeup-suspend-support\":false}");
    qtest_stop(qts);
}

/* query-events names the schema's events, all of them and nothing else. */
static void test_events_are_the_schemas(void)
{
    QTest *qts = qtest_start("-m 16");
    json_object *events = qtest_qmp_ok(qts, "{'execute': 'query-events'}");
    json_object *schema = qtest_qmp_ok(qts, "{'execute': 'query-qmp-schema'}");
    g_autoptr(GHashTable) named = g_hash_table_new(g_str_hash, g_str_equal);
    unsigned in_schema = 0;
    for (size_t i = 0; i < json_object_array_length(events); i++) {
        const char *name = json_text(json_object_array_get_idx(events, i), "name");
        g_assert_true(g_hash_table_add(named, (char *)name));
    }
    for (size_t i = 0; i < json_object_array_length(schema); i++) {
        json_object *item = json_object_array_get_idx(schema, i);
        if (g_str_equal(json_text(item, "meta-type"), "event")) {
            g_assert_true(g_hash_table_contains(named, json_text(item, "name")));
            in_schema++;
        }
    }
    g_assert_true(g_hash_table_contains(named, "SHUTDOWN"));
    g_assert_cmpuint(g_hash_table_size(named), ==, in_schema);
    json_object_put(events);
    json_object_put(schema);
    qtest_stop(qts);
}

/* chardev-add knows each kind that is listed, and says which there are of one that is not. */
static void test_kinds_of_chardevs(void)
{
    QTest *qts = qtest_start("-m 16");
    json_object *kinds = qtest_qmp_ok(qts, "{'execute': 'query-chardev-backends'}");
    static const char add[] = "{'execute': 'chardev-add', 'arguments': {'id': 'c%zu', 'backend': "
                              "{'type': '%s', 'data': {'no-such-option': 1}}}}";
    g_autofree char *unknown = qtest_qmp_error(qts, add, (size_t)0, "no-such-kind");
    g_assert_nonnull(strstr(unknown, "'no-such-kind' is not a chardev back end"));
    g_assert_cmpuint(json_object_array_length(kinds), >=, 9);
    for (size_t i = 0; i < json_object_array_length(kinds); i++) {
        const char *name = json_text(json_object_array_get_idx(kinds, i), "name");
        g_autofree char *error = qtest_qmp_error(qts, add, i, name);
        g_test_message("%s: %s", name, error);
        g_assert_null(strstr(error, "is not a chardev back end"));
    }
    json_object_put(kinds);
    qtest_stop(qts);
}

static void test_objects_and_devices(void)
{
    QTest *qts = qtest_start("-m 16 -device virtio-rng-pci,id=rng0,max-bytes=64,period=1000");
    json_object *value = qtest_qmp_ok(
        qts, "{'execute': 'qom-get', 'arguments': {'path': 'rng0', 'property': 'max-bytes'}}");
    g_assert_cmpint(json_object_get_int(value), ==, 64);
    json_object_put(value);
    g_autofree char *unknown = qtest_qmp_error(
        qts, "{'execute': 'qom-get', 'arguments': {'path': 'rng9', 'property': 'type'}}");
    g_assert_cmpstr(unknown, ==, "there is no object at 'rng9'");
    g_autofree char *late = qtest_qmp_error(
        qts, "{'execute': 'qom-set', 'arguments': {'path': 'rng0', 'property': 'max-bytes', "
             "'value': 1}}");
    g_assert_nonnull(strstr(late, "cannot change any more"));
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'object-add', 'arguments': {'qom-type': 'iothread', 'id': 'io'}}"));
    json_object *list =
        qtest_qmp_ok(qts, "{'execute': 'qom-list', 'arguments': {'path': '/objects'}}");
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 1), "name"), ==, "io");
    json_object_put(list);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'object-del', 'arguments': {'id': 'io'}}"));
    g_autofree char *hot = qtest_qmp_error(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'id': 'x'}}");
    g_assert_nonnull(strstr(hot, "takes devices only before the machine starts"));
    g_autofree char *near = qtest_qmp_error(
        qts, "{'execute': 'device-list-properties', 'arguments': {'typename': 'virtio-rng-pcl'}}");
    g_assert_nonnull(strstr(near, "did you mean 'virtio-rng-pci'?"));
    qtest_stop(qts);
}

static void test_devices_come_and_go_before_the_start(void)
{
    QTest *qts = qtest_start("-m 16 -S");
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'id': 'r', "
             "'max-bytes': 8, 'period': 10}}"));
    QPci *pci = qpci_find(qts, 0x1af4, 0x1005, 0);
    g_assert_nonnull(pci);
    g_free(pci);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'device_del', 'arguments': {'id': 'r'}}"));
    json_object_put(qtest_event(qts, "DEVICE_DELETED"));
    g_assert_null(qpci_find(qts, 0x1af4, 0x1005, 0));
    g_autofree char *wrong = qtest_qmp_error(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci', 'id': 'r', "
             "'max-bites': 8}}");
    g_assert_nonnull(strstr(wrong, "did you mean 'max-bytes'?"));
    g_assert_null(qpci_find(qts, 0x1af4, 0x1005, 0));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
    qtest_stop(qts);
}

static void test_ring_buffers(void)
{
    QTest *qts = qtest_start("-m 16");
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'chardev-add', 'arguments': {'id': 'r', 'backend': {'type': 'ringbuf', "
             "'data': {'size': 16}}}}"));
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'ringbuf-write', 'arguments': {'device': 'r', 'data': 'AAEC/w==', "
             "'format': 'base64'}}"));
    json_object *text = qtest_qmp_ok(
        qts, "{'execute': 'ringbuf-read', 'arguments': {'device': 'r', 'size': 99, 'format': "
             "'base64'}}");
    g_assert_cmpstr(json_object_get_string(text), ==, "AAEC/w==");
    json_object_put(text);
    g_autofree char *wrong = qtest_qmp_error(
        qts, "{'execute': 'ringbuf-write', 'arguments': {'device': 'r', 'data': 'AA!C', "
             "'format': 'base64'}}");
    g_assert_cmpstr(wrong, ==, "'data': it is not base64");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'chardev-remove', 'arguments': {'id': 'r'}}"));
    g_autofree char *gone =
        qtest_qmp_error(qts, "{'execute': 'chardev-remove', 'arguments': {'id': 'r'}}");
    g_assert_cmpstr(gone, ==, "there is no chardev 'r' (query-chardev lists them)");
    qtest_stop(qts);
}

static void test_human_monitor(void)
{
    QTest *qts = qtest_start("-m 16 -device virtio-rng-pci,id=rng0");
    static const struct {
        const char *line, *part;
    } cases[] = {
        { "info status", "VM status: running" },
        { "info version", "7.2.0" },
        { "info mtree", "ram-below-4g" },
        { "info qtree", "dev: virtio-rng-pci, id \\\"rng0\\\"" },
        { "info pci", "1af4:1005" },
        { "info cpus", "CPU #0" },
        { "help", "system_reset -- " },
        { "xp /4xb 0x1000", "0x00 0x00 0x00 0x00" },
        { "qom-get rng0 type", "virtio-rng-pci" },
        { "inof status", "did you mean 'info status'?" },
        { "device_del nobody", "Error: there is no device 'nobody'" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = qtest_hmp(qts, cases[i].line);
        g_autofree char *part = g_strcompress(cases[i].part);
        if (!strstr(text, part)) {
            g_error("'%s' says '%s', without '%s'", cases[i].line, text, part);
        }
    }
    g_autofree char *stop = qtest_hmp(qts, "stop");
    g_assert_cmpstr(stop, ==, "");
    json_object_put(qtest_event(qts, "STOP"));
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp/negotiation", test_negotiation);
    g_test_add_func("/qmp/out-of-band-overtakes", test_out_of_band_overtakes);
    g_test_add_func("/qmp/argument-errors", test_argument_errors);
    g_test_add_func("/qmp/malformed-input", test_malformed_input_is_reported_and_skipped);
    g_test_add_func("/qmp/half-open-clients", test_half_open_clients_leave_nothing);
    g_test_add_func("/qmp/client-that-stops-reading", test_a_qmp_client_that_stops_reading);
    g_test_add_func("/qmp/states-and-events", test_states_and_events);
    g_test_add_func("/qmp/schema-and-handlers-agree", test_every_schema_command_is_there);
    g_test_add_func("/qmp/queries-answer", test_every_query_answers);
    g_test_add_func("/qmp/program-and-machine", test_program_and_machine);
    g_test_add_func("/qmp/events-are-the-schemas", test_events_are_the_schemas);
    g_test_add_func("/qmp/kinds-of-chardevs", test_kinds_of_chardevs);
    g_test_add_func("/qmp/objects-and-devices", test_objects_and_devices);
    g_test_add_func("/qmp/devices-before-the-start", test_devices_come_and_go_before_the_start);
    g_test_add_func("/qmp/ring-buffers", test_ring_buffers);
    g_test_add_func("/qmp/human-monitor", test_human_monitor);
    return g_test_run();
}
