/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libvirt 9.0 asks of an emulator before it uses it, as its log has it, on `-machine none`:
 * every answer has the shape that QEMU's has where there is a QEMU on this host, and errors come
 * where they are expected.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

#define QEMU "/usr/bin/qemu-system-x86_64"

typedef struct Question {
    const char *command, *arguments;
    bool absent; /* an error: Vireo has no such type or command */
} Question;

#define PROPS(TYPE)                                                                                \
    {                                                                                              \
        "device-list-properties", "{\"typename\": \"" TYPE "\"}"                                   \
    }
#define NO_TYPE(T)                                                                                 \
    {                                                                                              \
        "device-list-properties", "{\"typename\": \"" T "\"}", true                                \
    }
#define OBJECT(TYPE)                                                                               \
    {                                                                                              \
        "qom-list-properties", "{\"typename\": \"" TYPE "\"}"                                      \
    }

#define OBJECT_TYPES "{\"implements\": \"user-creatable\", \"abstract\": true}"

static const Question dialogue[] = {
    { "query-version" },
    { "query-target" },
    { "query-qmp-schema" },
    { "query-commands" },
    { "query-kvm" },
    { "qom-list-types" },
    { "qom-list-types", OBJECT_TYPES },
    PROPS("virtio-blk-pci"),
    PROPS("virtio-net-pci"),
    PROPS("virtio-scsi-pci"),
    NO_TYPE("virtio-net-ccw"),
    NO_TYPE("virtio-scsi-ccw"),
    PROPS("scsi-hd"),
    PROPS("ide-hd"),
    PROPS("PIIX4_PM"),
    PROPS("usb-storage"),
    PROPS("ICH9-LPC"),
    PROPS("virtio-balloon-pci"),
    NO_TYPE("virtio-balloon-ccw"),
    PROPS("virtio-balloon-device"),
    PROPS("mch"),
    PROPS("pcie-root-port"),
    OBJECT("memory-backend-file"),
    OBJECT("memory-backend-memfd"),
    OBJECT("max-x86_64-cpu"),
    { "query-machines" },
    OBJECT("none-machine"),
    { "query-cpu-definitions" },
    { "query-tpm-models" },
    { "query-tpm-types" },
    { "query-command-line-options" },
    { "query-migrate-capabilities" },
    { "query-cpu-model-expansion", "{\"type\": \"static\", \"model\": {\"name\": \"max\"}}" },
    { "query-cpu-model-expansion", "{\"type\": \"full\", \"model\": {\"name\": \"max\", "
                                   "\"props\": {\"migratable\": false}}}" },
    { "query-hotpluggable-cpus", .absent = true },
    { "query-cpus-fast" },
    { "query-chardev" },
    { "query-iothreads" },
    { "query-name" },
    { "query-uuid" },
    { "query-status" },
};

/* ---- Asking ---- */

static char *all_questions(void)
{
    GString *text = g_string_new("{\"execute\": \"qmp_capabilities\"}\n");
    for (size_t i = 0; i < G_N_ELEMENTS(dialogue); i++) {
        const char *arguments = dialogue[i].arguments;
        g_string_append_printf(text, "{\"execute\": \"%s\", \"id\": \"libvirt-%zu\"%s%s}\n",
                               dialogue[i].command, i, arguments ? ", \"arguments\": " : "",
                               arguments ? arguments : "");
    }
    g_string_append(text, "{\"execute\": \"quit\"}\n");
    return g_string_free(text, FALSE);
}

static void free_json(void *json)
{
    json_object_put(json);
}

/* The answers in order, json_object * in a GPtrArray. */
static GPtrArray *ask(const char *program, const char *accel)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *file = NULL;
    g_autofree char *text = NULL;
    g_autofree char *questions = all_questions();
    int status, fd = g_file_open_tmp("vireo-libvirt-XXXXXX", &file, &error);
    g_assert_no_error(error);
    g_assert_cmpint(write(fd, questions, strlen(questions)), ==, (ssize_t)strlen(questions));
    close(fd);
    g_autofree char *command =
        g_strdup_printf("exec '%s' -S -no-user-config -nodefaults -nographic -machine "
                        "none,accel=%s -qmp stdio < '%s'",
                        program, accel, file);
    char *argv[] = { "/bin/sh", "-c", command, NULL };
    g_assert_true(g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, &text, NULL, &status, &error));
    g_assert_cmpint(status, ==, 0);
    unlink(file);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    GPtrArray *answers = g_ptr_array_new_with_free_func(free_json);
    for (char **line = lines; *line; line++) {
        json_object *answer = **line ? json_tokener_parse(*line) : NULL;
        if (answer && json_object_object_get_ex(answer, "id", NULL)) {
            g_ptr_array_add(answers, answer);
        } else {
            json_object_put(answer);
        }
    }
    g_assert_cmpuint(answers->len, ==, G_N_ELEMENTS(dialogue));
    return answers;
}

static json_object *answer_of(GPtrArray *answers, size_t question)
{
    json_object *value = NULL;
    json_object_object_get_ex(g_ptr_array_index(answers, question), "return", &value);
    return value;
}

/* ---- Shapes ---- */

/* Members whose values are of any type or whose names are data. */
static const char *const free_members[] = { "default-value", "default", "props", "members", NULL };

/* QEMU may tell them as well, where it has them. */
static const char *const optional_members[] = { "default-value", "description", NULL };

static const char *kind(json_object *value)
{
    return json_type_to_name(json_object_get_type(value));
}

/* Every element's members, and how many elements have each. */
static json_object *count_members(json_object *list)
{
    json_object *counts = json_object_new_object();
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        json_object_object_foreach(item, name, value)
        {
            json_object *count = NULL;
            json_object_object_get_ex(counts, name, &count);
            json_object_object_add(counts, name,
                                   json_object_new_int(count ? json_object_get_int(count) + 1 : 1));
        }
    }
    return counts;
}

static bool is_list_of_objects(json_object *value)
{
    return json_object_is_type(value, json_type_array) && json_object_array_length(value) &&
           json_object_is_type(json_object_array_get_idx(value, 0), json_type_object);
}

static void same_shape(const char *where, json_object *ours, json_object *theirs);

/* What all of theirs have, all of ours have; what ours have, some of theirs have. */
static void same_members(const char *where, json_object *ours, json_object *theirs)
{
    json_object *our_counts = count_members(ours), *their_counts = count_members(theirs);
    json_object *count;
    json_object_object_foreach(our_counts, ours_name, unused)
    {
        if (!json_object_object_get_ex(their_counts, ours_name, NULL) &&
            !g_strv_contains(optional_members, ours_name)) {
            g_error("%s: member '%s' is not QEMU's", where, ours_name);
        }
    }
    json_object_object_foreach(their_counts, name, number)
    {
        bool always = (size_t)json_object_get_int(number) == json_object_array_length(theirs);
        if (always && (!json_object_object_get_ex(our_counts, name, &count) ||
                       (size_t)json_object_get_int(count) != json_object_array_length(ours))) {
            g_error("%s: member '%s' is missing", where, name);
        }
    }
    json_object_put(our_counts);
    json_object_put(their_counts);
}

static void same_objects(const char *where, json_object *ours, json_object *theirs)
{
    json_object *other;
    json_object_object_foreach(ours, name, value)
    {
        g_autofree char *path = g_strconcat(where, ".", name, NULL);
        if (!g_strv_contains(free_members, name) &&
            json_object_object_get_ex(theirs, name, &other)) {
            same_shape(path, value, other);
        }
    }
}

static void same_shape(const char *where, json_object *ours, json_object *theirs)
{
    if (!g_str_equal(kind(ours), kind(theirs))) {
        g_error("%s: %s, QEMU has %s", where, kind(ours), kind(theirs));
    }
    if (is_list_of_objects(ours) && is_list_of_objects(theirs)) {
        if (!g_str_has_prefix(where, "query-qmp-schema")) {
            same_members(where, ours, theirs);
        }
        same_objects(where, json_object_array_get_idx(ours, 0),
                     json_object_array_get_idx(theirs, 0));
    } else if (json_object_is_type(ours, json_type_object)) {
        same_objects(where, ours, theirs);
    }
}

/* ---- Tests ---- */

static void test_probing_is_answered(void)
{
    g_autoptr(GPtrArray) answers = ask(g_getenv("VIREO"), "qtest");
    for (size_t i = 0; i < G_N_ELEMENTS(dialogue); i++) {
        json_object *answer = g_ptr_array_index(answers, i);
        g_test_message("%s %s", dialogue[i].command,
                       dialogue[i].arguments ? dialogue[i].arguments : "");
        g_assert_true((answer_of(answers, i) == NULL) == dialogue[i].absent);
        if (dialogue[i].absent) {
            bool type = g_str_equal(dialogue[i].command, "device-list-properties");
            g_assert_cmpstr(json_text(answer, "error.class"), ==,
                            type ? "DeviceNotFound" : "GenericError");
        }
    }
}

/* Properties that both have are of the same type; libvirt chooses by names alone. */
static void same_types_of_properties(const char *where, json_object *ours, json_object *theirs)
{
    for (size_t i = 0; i < json_object_array_length(ours); i++) {
        json_object *item = json_object_array_get_idx(ours, i);
        for (size_t j = 0; j < json_object_array_length(theirs); j++) {
            json_object *other = json_object_array_get_idx(theirs, j);
            bool number = g_str_has_prefix(json_text(other, "type"), "uint") ||
                          g_str_has_prefix(json_text(other, "type"), "int");
            if (g_str_equal(json_text(item, "name"), json_text(other, "name")) &&
                g_str_equal(json_text(other, "type"), "bool")) {
                g_test_message("%s %s", where, json_text(item, "name"));
                g_assert_cmpstr(json_text(item, "type"), !=, "str");
                g_assert_false(number);
            }
        }
    }
}

static void test_shapes_are_qemus(void)
{
    if (!g_file_test(QEMU, G_FILE_TEST_IS_EXECUTABLE)) {
        g_test_skip("there is no " QEMU);
        return;
    }
    g_autoptr(GPtrArray) ours = ask(g_getenv("VIREO"), "qtest");
    g_autoptr(GPtrArray) theirs = ask(QEMU, "tcg");
    for (size_t i = 0; i < G_N_ELEMENTS(dialogue); i++) {
        json_object *our = answer_of(ours, i), *their = answer_of(theirs, i);
        g_autofree char *where = g_strconcat(dialogue[i].command, " ", dialogue[i].arguments, NULL);
        g_test_message("%s", where);
        g_assert_true((our != NULL) == (their != NULL));
        if (our) {
            same_shape(where, our, their);
        }
        if (our && strstr(dialogue[i].command, "list-properties")) {
            same_types_of_properties(where, our, their);
        }
    }
}

static json_object *find_named(json_object *list, const char *key, const char *name)
{
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        if (g_strcmp0(json_text(item, key), name) == 0) {
            return item;
        }
    }
    return NULL;
}

static json_object *answer_to(GPtrArray *answers, const char *command)
{
    for (size_t i = 0; i < G_N_ELEMENTS(dialogue); i++) {
        if (g_str_equal(dialogue[i].command, command)) {
            return answer_of(answers, i);
        }
    }
    g_assert_not_reached();
}

/* docs/qmp-differences.md names every command of QEMU's that is not there, and no other. */
static void test_what_is_left_out_is_written_down(void)
{
    if (!g_file_test(QEMU, G_FILE_TEST_IS_EXECUTABLE)) {
        g_test_skip("there is no " QEMU);
        return;
    }
    g_autofree char *path =
        g_build_filename(g_getenv("G_TEST_SRCDIR"), "../../docs/qmp-differences.md", NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    const char *page = strstr(text, "| commands |");
    *strstr(text, "Further differences") = '\0';
    g_autoptr(GPtrArray) our_answers = ask(g_getenv("VIREO"), "qtest");
    g_autoptr(GPtrArray) their_answers = ask(QEMU, "tcg");
    json_object *ours = answer_to(our_answers, "query-qmp-schema");
    json_object *theirs = answer_to(their_answers, "query-qmp-schema");
    for (size_t i = 0; i < json_object_array_length(theirs); i++) {
        json_object *item = json_object_array_get_idx(theirs, i);
        const char *name = json_text(item, "name"), *meta = json_text(item, "meta-type");
        g_autofree char *quoted = g_strdup_printf("`%s`", name);
        if (!g_str_equal(meta, "command") && !g_str_equal(meta, "event")) {
            continue;
        }
        bool is_there = find_named(ours, "name", name) != NULL;
        bool excused = g_str_equal(name, "migrate-set-capabilities") ||
                       g_str_equal(name, "query-migrate-capabilities");
        g_test_message("%s", name);
        g_assert_true(is_there ? excused || !strstr(page, quoted) : strstr(page, quoted) != NULL);
    }
}

static void test_the_empty_machine(void)
{
    g_autoptr(GPtrArray) answers = ask(g_getenv("VIREO"), "qtest");
    g_assert_cmpuint(json_object_array_length(answer_to(answers, "query-cpus-fast")), ==, 0);
    json_object *none = find_named(answer_to(answers, "query-machines"), "name", "none");
    g_assert_nonnull(none);
    g_assert_null(json_at(none, "default-cpu-type"));
    qtest_assert_refused("-machine none -m 64 -accel qtest", "neither memory nor CPUs");
    qtest_assert_refused("-machine none -smp 2 -accel qtest", "1 at most");
}

/* Each parameter that is told is taken, and options without a name in it are not told. */
static void test_told_parameters_are_taken(void)
{
    static const char *const values[][2] = {
        { "smp-opts", "-smp cpus=1,maxcpus=1,sockets=1,dies=1,cores=1,threads=1" },
        { "memory", "-m size=16M,slots=2,maxmem=1G" },
        { "boot-opts", "-boot order=c,once=d,menu=off,splash-time=1,reboot-timeout=1,strict=on" },
        { "rtc", "-rtc base=utc,clock=host,driftfix=none" },
        { "name", "-name guest=x,process=x,debug-threads=on" },
        { "msg", "-msg timestamp=on" },
        { "overcommit", "-overcommit mem-lock=off,cpu-pm=off" },
        { "run-with", "-run-with async-teardown=off,chroot=/,user=0:0" },
        { "action", "-action reboot=reset,shutdown=poweroff,panic=none,watchdog=none" },
    };
    g_autoptr(GPtrArray) answers = ask(g_getenv("VIREO"), "qtest");
    json_object *options = answer_to(answers, "query-command-line-options");
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        json_object *told = find_named(options, "option", values[i][0]);
        json_object *params = json_at(told, "parameters");
        for (size_t j = 0; j < json_object_array_length(params); j++) {
            const char *name = json_text(json_object_array_get_idx(params, j), "name");
            g_autofree char *key = g_strconcat(name, "=", NULL);
            g_test_message("%s.%s", values[i][0], name);
            g_assert_true(strstr(values[i][1], key) || g_str_equal(name, "splash"));
        }
        if (geteuid() == 0 || !strstr(values[i][1], "chroot=")) {
            qtest_stop(qtest_start("%s", values[i][1]));
        }
    }
    g_assert_null(find_named(options, "option", "spice"));
}

/* -object's types in the schema are those that there are. */
static void test_object_types_are_in_the_schema(void)
{
    g_autoptr(GPtrArray) answers = ask(g_getenv("VIREO"), "qtest");
    json_object *schema = answer_to(answers, "query-qmp-schema");
    json_object *command = find_named(schema, "name", "object-add");
    json_object *arguments = find_named(schema, "name", json_text(command, "arg-type"));
    json_object *type = find_named(json_at(arguments, "members"), "name", "qom-type");
    json_object *values = json_at(find_named(schema, "name", json_text(type, "type")), "values");
    unsigned found = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(dialogue); i++) {
        if (g_strcmp0(dialogue[i].arguments, OBJECT_TYPES) != 0) {
            continue;
        }
        json_object *types = answer_of(answers, i);
        for (size_t j = 0; j < json_object_array_length(types); j++) {
            json_object *item = json_object_array_get_idx(types, j);
            bool in_schema = json_at(item, "abstract") != NULL;
            for (size_t k = 0; k < json_object_array_length(values); k++) {
                const char *value = json_object_get_string(json_object_array_get_idx(values, k));
                if (g_str_equal(value, json_text(item, "name"))) {
                    in_schema = true;
                    found++;
                }
            }
            g_test_message("%s", json_text(item, "name"));
            g_assert_true(in_schema);
        }
    }
    g_assert_cmpuint(found, ==, json_object_array_length(values));
}

/* What libvirt writes on every command line, and its first commands. */
static void test_a_domain_starts(void)
{
    QTest *qts = qtest_start(
        "-name guest=x,debug-threads=on -S -machine pc-q35-7.2,usb=off,dump-guest-core=off,"
        "memory-backend=pc.ram,hpet=off,acpi=on -m 64 "
        "-object '{\"qom-type\":\"memory-backend-ram\",\"id\":\"pc.ram\",\"size\":67108864}' "
        "-overcommit mem-lock=off -smp 2,sockets=2,cores=1,threads=1 "
        "-object '{\"qom-type\":\"iothread\",\"id\":\"iothread1\"}' -no-user-config "
        "-rtc base=utc,driftfix=slew -no-shutdown -boot strict=on "
        "-chardev null,id=charmonitor -mon chardev=charmonitor,id=monitor,mode=control "
        "-global ICH9-LPC.disable_s3=1 -global ICH9-LPC.disable_s4=1 "
        "-device '{\"driver\":\"pcie-root-port\",\"port\":8,\"chassis\":1,\"id\":\"pci.1\","
        "\"bus\":\"pcie.0\",\"multifunction\":true,\"addr\":\"0x1\"}' "
        "-device '{\"driver\":\"virtio-balloon-pci\",\"id\":\"balloon0\",\"bus\":\"pci.1\","
        "\"addr\":\"0x0\"}' -audiodev '{\"id\":\"audio1\",\"driver\":\"none\"}' "
        "-msg timestamp=on");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'migrate-set-capabilities', 'arguments': "
                                      "{'capabilities': [{'capability': 'events', 'state': true}]"
                                      "}}"));
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-migrate-capabilities'}");
    json_object *events = find_named(list, "capability", "events");
    g_assert_true(json_object_get_boolean(json_at(events, "state")));
    json_object_put(list);
    g_autofree char *other =
        qtest_qmp_error(qts, "{'execute': 'migrate-set-capabilities', 'arguments': "
                             "{'capabilities': [{'capability': 'rdma', 'state': true}]}}");
    g_assert_nonnull(strstr(other, "rdma"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
    qtest_stop(qts);
    qtest_assert_refused("-accel qtest -audiodev alsa,id=a", "the only driver is 'none'");
    qtest_assert_refused("-accel qtest -audiodev none,id=a -audiodev none,id=a",
                         "the audiodev 'a' is there already");
    qtest_assert_refused("-accel qtest -chardev null,id=a -chardev null,id=b -mon a,id=m "
                         "-mon b,id=m",
                         "the mon 'm' is there already");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/libvirt/probing-is-answered", test_probing_is_answered);
    g_test_add_func("/libvirt/shapes-are-qemus", test_shapes_are_qemus);
    g_test_add_func("/libvirt/left-out-is-written-down", test_what_is_left_out_is_written_down);
    g_test_add_func("/libvirt/empty-machine", test_the_empty_machine);
    g_test_add_func("/libvirt/told-parameters-are-taken", test_told_parameters_are_taken);
    g_test_add_func("/libvirt/object-types-are-in-the-schema", test_object_types_are_in_the_schema);
    g_test_add_func("/libvirt/a-domain-starts", test_a_domain_starts);
    return g_test_run();
}
