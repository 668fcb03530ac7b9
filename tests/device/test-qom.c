/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tree of objects: paths as QEMU's, every property readable, types and what they implement. */
#include <string.h>
#include "tests/device/libqtest.h"

#define MACHINE                                                                                    \
    "-machine q35 -m 16 -cpu qemu64 -smp 2,maxcpus=3 -object iothread,id=io0 -chardev null,id=c0 " \
    "-device virtio-rng-pci,id=rng0,max-bytes=64,period=1000 -device virtio-rng-pci "              \
    "-device pcie-root-port,id=rp0 -device nvme,id=nv0,serial=1,bus=rp0"

static json_object *list(QTest *qts, const char *path)
{
    return qtest_qmp_ok(qts, "{'execute': 'qom-list', 'arguments': {'path': '%s'}}", path);
}

static json_object *get(QTest *qts, const char *path, const char *name)
{
    return qtest_qmp_ok(
        qts, "{'execute': 'qom-get', 'arguments': {'path': '%s', 'property': '%s'}}", path, name);
}

static void assert_text(QTest *qts, const char *path, const char *name, const char *expected)
{
    json_object *value = get(qts, path, name);
    g_assert_cmpstr(json_object_get_string(value), ==, expected);
    json_object_put(value);
}

/* Reads everything below a path: each child's type is what its parent says, each property has a
 * value. Returns how many nodes there are. */
static unsigned walk(QTest *qts, const char *path)
{
    unsigned count = 1;
    json_object *items = list(qts, path);
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        json_object *item = json_object_array_get_idx(items, i);
        const char *type = json_text(item, "type");
        json_object *value = get(qts, path, json_text(item, "name"));
        if (g_str_has_prefix(type, "child<")) {
            const char *below = json_object_get_string(value);
            json_object *own = get(qts, below, "type");
            g_autofree char *said = g_strdup_printf("child<%s>", json_object_get_string(own));
            g_assert_cmpstr(type, ==, said);
            json_object_put(own);
            count += walk(qts, below);
        }
        json_object_put(value);
    }
    json_object_put(items);
    return count;
}

static void test_everything_can_be_read(void)
{
    QTest *qts = qtest_start(MACHINE);
    g_assert_cmpuint(walk(qts, "/"), >, 40);
    qtest_stop(qts);
    qts = qtest_start("-machine pc -m 16");
    walk(qts, "/");
    qtest_stop(qts);
    qts = qtest_start("-machine microvm -m 16 -device virtio-rng-device");
    walk(qts, "/");
    qtest_stop(qts);
}

static void test_paths_are_qemus(void)
{
    QTest *qts = qtest_start(MACHINE);
    assert_text(qts, "/machine", "type", "pc-q35-7.2-machine");
    assert_text(qts, "/machine", "peripheral", "/machine/peripheral");
    assert_text(qts, "/machine/q35", "type", "q35-pcihost");
    assert_text(qts, "/machine/fw_cfg", "type", "fw_cfg_io");
    assert_text(qts, "/machine/q35/pcie.0", "type", "PCI");
    assert_text(qts, "/machine/peripheral/rng0", "parent_bus", "/machine/q35/pcie.0");
    assert_text(qts, "/machine/peripheral/rng0", "realized", "true");
    assert_text(qts, "/machine/peripheral/rng0", "hotplugged", "false");
    assert_text(qts, "/machine/peripheral/rng0/virtio-backend", "type", "virtio-rng-device");
    assert_text(qts, "/machine/peripheral/rng0/virtio-backend", "max-bytes", "64");
    assert_text(qts, "/machine/peripheral-anon/device[0]", "type", "virtio-rng-pci");
    assert_text(qts, "/machine/peripheral/nv0", "parent_bus", "/machine/peripheral/rp0/rp0");
    assert_text(qts, "/machine/peripheral/rp0/rp0", "child[0]", "/machine/peripheral/nv0");
    assert_text(qts, "/objects/io0", "type", "iothread");
    assert_text(qts, "/chardevs/c0", "type", "chardev-null");
    /* The end of a path is enough where it is the only one. */
    assert_text(qts, "rng0/virtio-backend", "type", "virtio-rng-device");
    assert_text(qts, "io0", "type", "iothread");
    qtest_stop(qts);
}

static void test_vcpus_are_there(void)
{
    QTest *qts = qtest_start(MACHINE);
    json_object *cpus = qtest_qmp_ok(qts, "{'execute': 'query-cpus-fast'}");
    for (size_t i = 0; i < json_object_array_length(cpus); i++) {
        const char *path = json_text(json_object_array_get_idx(cpus, i), "qom-path");
        assert_text(qts, path, "type", "qemu64-x86_64-cpu");
        assert_text(qts, path, "unavailable-features", "[ ]");
        assert_text(qts, path, "lm", "true");
        assert_text(qts, path, "avx2", "false");
    }
    json_object_put(cpus);
    qtest_stop(qts);
}

static void assert_error(QTest *qts, const char *command, const char *class, const char *text)
{
    json_object *answer = qtest_qmp(qts, "%s", command);
    g_assert_cmpstr(json_text(answer, "error.class"), ==, class);
    g_assert_cmpstr(json_text(answer, "error.desc"), ==, text);
    json_object_put(answer);
}

static void test_errors(void)
{
    QTest *qts = qtest_start(MACHINE);
    assert_error(qts, "{'execute': 'qom-list', 'arguments': {'path': '/machine/nothing'}}",
                 "DeviceNotFound", "there is no object at '/machine/nothing'");
    assert_error(qts, "{'execute': 'qom-list', 'arguments': {'path': ''}}", "DeviceNotFound",
                 "there is no object at ''");
    assert_error(qts, "{'execute': 'qom-list', 'arguments': {'path': 'device[0]'}}", "GenericError",
                 "'device[0]' is the end of several paths: give a whole one");
    assert_error(qts, "{'execute': 'qom-get', 'arguments': {'path': '/machine', 'property': 'x'}}",
                 "GenericError", "pc-q35-7.2-machine has no property 'x' (qom-list lists them)");
    assert_error(qts,
                 "{'execute': 'qom-set', 'arguments': {'path': '/machine', 'property': 'type', "
                 "'value': 'x'}}",
                 "GenericError", "pc-q35-7.2-machine: 'type' can be read only");
    assert_error(qts,
                 "{'execute': 'qom-set', 'arguments': {'path': 'rng0', 'property': 'realized', "
                 "'value': false}}",
                 "GenericError", "virtio-rng-pci: 'realized' can be read only");
    assert_error(qts, "{'execute': 'qom-list-properties', 'arguments': {'typename': 'nothing'}}",
                 "DeviceNotFound", "there is no type 'nothing' (qom-list-types lists them)");
    assert_error(
        qts, "{'execute': 'device-list-properties', 'arguments': {'typename': 'iothread'}}",
        "GenericError", "'iothread' is not the type of a device (qom-list-types lists them)");
    qtest_stop(qts);
}

static bool has_type(QTest *qts, const char *implements, bool abstract, const char *name)
{
    bool found = false;
    json_object *types = qtest_qmp_ok(qts,
                                      "{'execute': 'qom-list-types', 'arguments': {'implements': "
                                      "'%s', 'abstract': %s}}",
                                      implements, abstract ? "true" : "false");
    for (size_t i = 0; i < json_object_array_length(types); i++) {
        json_object *item = json_object_array_get_idx(types, i);
        found |= g_str_equal(json_text(item, "name"), name);
        g_assert_true(abstract || !json_at(item, "abstract"));
    }
    json_object_put(types);
    return found;
}

static void test_types(void)
{
    QTest *qts = qtest_start(MACHINE);
    g_assert_true(has_type(qts, "device", false, "virtio-rng-pci"));
    g_assert_true(has_type(qts, "pci-device", false, "virtio-rng-pci"));
    g_assert_true(has_type(qts, "object", false, "virtio-rng-pci"));
    g_assert_false(has_type(qts, "isa-device", false, "virtio-rng-pci"));
    g_assert_false(has_type(qts, "device", false, "iothread"));
    g_assert_false(has_type(qts, "device", false, "pci-device"));
    g_assert_true(has_type(qts, "device", true, "pci-device"));
    g_assert_true(has_type(qts, "user-creatable", false, "iothread"));
    g_assert_true(has_type(qts, "cpu", false, "EPYC-x86_64-cpu"));
    g_assert_false(has_type(qts, "cpu", false, "x86_64-cpu"));
    g_assert_true(has_type(qts, "machine", false, "none-machine"));
    g_assert_true(has_type(qts, "chardev", false, "chardev-socket"));
    g_assert_false(has_type(qts, "nothing", true, "device"));
    qtest_stop(qts);
}

static void test_objects_come_and_go(void)
{
    QTest *qts = qtest_start(MACHINE);
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'object-add', 'arguments': {'qom-type': 'iothread', 'id': 'io1'}}"));
    assert_text(qts, "/objects/io1", "type", "iothread");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'qom-set', 'arguments': {'path': '/objects/io1',"
                                      " 'property': 'poll-max-ns', 'value': 1000}}"));
    assert_text(qts, "io1", "poll-max-ns", "1000");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'object-del', 'arguments': {'id': 'io1'}}"));
    assert_error(qts, "{'execute': 'qom-list', 'arguments': {'path': '/objects/io1'}}",
                 "DeviceNotFound", "there is no object at '/objects/io1'");
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qom/everything-can-be-read", test_everything_can_be_read);
    g_test_add_func("/qom/paths", test_paths_are_qemus);
    g_test_add_func("/qom/vcpus", test_vcpus_are_there);
    g_test_add_func("/qom/errors", test_errors);
    g_test_add_func("/qom/types", test_types);
    g_test_add_func("/qom/objects-come-and-go", test_objects_come_and_go);
    return g_test_run();
}
