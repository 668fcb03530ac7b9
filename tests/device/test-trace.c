/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -trace, the monitor's commands for it, and USDT probes. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "config.h"
#include "tests/device/libqtest.h"

#define MACHINE "-machine q35 -m 16 "

#ifdef HAVE_SDT
#define PROBES 1
#else
#define PROBES 0
#endif

static char *temp_path(const char *name)
{
    return g_strdup_printf("%s/vireo-test-trace-%d-%s", g_get_tmp_dir(), getpid(), name);
}

static char *take_file(const char *path)
{
    char *text;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_unlink(path);
    return text;
}

static unsigned count(const char *text, const char *word)
{
    unsigned found = 0;
    for (const char *at = text; (at = strstr(at, word)); at++) {
        found++;
    }
    return found;
}

/* "PID@SECONDS.MICROSECONDS:NAME ..." each, nothing else. */
static void assert_lines(const char *text, GPid pid)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; **line; line++) {
        int process, micro, used = 0;
        long long seconds;
        g_assert_cmpint(sscanf(*line, "%d@%lld.%6d:%n", &process, &seconds, &micro, &used), ==, 3);
        g_assert_cmpint(process, ==, pid);
        g_assert_true(g_ascii_isalpha((*line)[used]));
    }
}

static void test_file(void)
{
    g_autofree char *path = temp_path("file");
    QTest *qts = qtest_start(MACHINE "-device virtio-rng-pci,id=r0 -trace device_* "
                                     "-trace enable=-device_reset -trace "
                                     "enable=memory_region_ops_*,file=%s",
                             path);
    GPid pid = qts->pid;
    qtest_outb(qts, 0x70, 0x0f);
    qtest_inb(qts, 0x71);
    qtest_stop(qts);
    g_autofree char *log = take_file(path);
    assert_lines(log, pid);
    g_assert_nonnull(strstr(log, ":device_realize driver=virtio-rng-pci id=r0\n"));
    g_assert_nonnull(strstr(log, ":memory_region_ops_write region=rtc offset=0x0 size=1 "
                                 "value=0xf\n"));
    g_assert_cmpuint(count(log, ":memory_region_ops_read region=rtc offset=0x1 size=1"), ==, 1);
    g_assert_null(strstr(log, "device_reset"));
    g_assert_nonnull(strstr(log, ":device_unrealize driver=virtio-rng-pci id=r0\n"));
}

static void test_events_file(void)
{
    g_autofree char *path = temp_path("out"), *list = temp_path("list");
    g_assert_true(g_file_set_contents(list, "# a list\nqmp_*\n-qmp_respond\n", -1, NULL));
    QTest *qts = qtest_start(MACHINE "-trace events=%s,file=%s", list, path);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-name'}"));
    qtest_stop(qts);
    g_autofree char *log = take_file(path);
    g_assert_nonnull(strstr(log, ":qmp_command name=query-name oob=0 arguments=-\n"));
    g_assert_nonnull(strstr(log, ":qmp_event name=SHUTDOWN "));
    g_assert_null(strstr(log, ":qmp_respond"));
    g_unlink(list);
}

static void test_log_of_d(void)
{
    g_autofree char *path = temp_path("d");
    QTest *qts = qtest_start(MACHINE "-d guest_errors,trace:runstate_* -D %s", path);
    qtest_stop(qts);
    g_autofree char *log = take_file(path);
    g_assert_nonnull(strstr(log, ":runstate_set state=running running=1\n"));
    qtest_assert_refused("-d trace:runstate_sat", "did you mean 'runstate_set'");
}

static const char *state_of(QTest *qts, const char *name, json_object **list)
{
    *list = qtest_qmp_ok(qts, "{'execute': 'trace-event-get-state', 'arguments': {'name': '%s'}}",
                         name);
    return json_object_array_length(*list) ? json_text(json_object_array_get_idx(*list, 0), "state")
                                           : NULL;
}

static void assert_state(QTest *qts, const char *name, const char *expected)
{
    json_object *list;
    g_assert_cmpstr(state_of(qts, name, &list), ==, expected);
    json_object_put(list);
}

static void set_state(QTest *qts, const char *name, bool on)
{
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'trace-event-set-state', 'arguments': "
                                 "{'name': '%s', 'enable': %s}}",
                                 name, on ? "true" : "false"));
}

static void test_set_state_while_running(void)
{
    g_autofree char *path = temp_path("set");
    QTest *qts = qtest_start(MACHINE "-trace file=%s", path);
    assert_state(qts, "memory_region_ops_write", "disabled");
    qtest_outb(qts, 0x70, 0x01);
    set_state(qts, "memory_region_ops_w*", true);
    assert_state(qts, "memory_region_ops_write", "enabled");
    assert_state(qts, "memory_region_ops_read", "disabled");
    qtest_outb(qts, 0x70, 0x02);
    set_state(qts, "memory_region_ops_write", false);
    qtest_outb(qts, 0x70, 0x03);
    assert_state(qts, "nix*", NULL);
    set_state(qts, "nix*", true);
    qtest_stop(qts);
    g_autofree char *log = take_file(path);
    g_assert_null(strstr(log, "value=0x1\n"));
    g_assert_nonnull(strstr(log, "region=rtc offset=0x0 size=1 value=0x2\n"));
    g_assert_null(strstr(log, "value=0x3\n"));
}

static void assert_error(QTest *qts, const char *request, const char *says)
{
    g_autofree char *text = qtest_qmp_error(qts, "%s", request);
    g_test_message("%s", text);
    g_assert_nonnull(strstr(text, says));
}

static void test_errors_of_commands(void)
{
    QTest *qts = qtest_start(MACHINE);
    assert_error(qts, "{'execute': 'trace-event-get-state', 'arguments': {'name': 'irq_sett'}}",
                 "'irq_sett' (did you mean 'irq_set'?)");
    assert_error(qts,
                 "{'execute': 'trace-event-set-state', 'arguments': {'name': 'irq_sett', "
                 "'enable': true}}",
                 "'irq_sett' (did you mean 'irq_set'?)");
    assert_error(qts,
                 "{'execute': 'trace-event-set-state', 'arguments': {'name': 'irq_set', "
                 "'enable': true, 'vcpu': 0}}",
                 "'vcpu'");
    assert_state(qts, "irq_set", "disabled");
    qtest_stop(qts);
}

/* Without vCPUs there are no exits, and no kernel that counts. */
static void test_statistics_without_vcpus(void)
{
    static const char *const empty[] = {
        "{'execute': 'query-stats-schemas'}",
        "{'execute': 'query-stats-schemas', 'arguments': {'provider': 'kvm'}}",
        "{'execute': 'query-stats', 'arguments': {'target': 'vm'}}",
        "{'execute': 'query-stats', 'arguments': {'target': 'vcpu', 'vcpus': ['/x']}}",
        "{'execute': 'query-stats', 'arguments': {'target': 'vm', 'providers': []}}",
    };
    QTest *qts = qtest_start(MACHINE);
    for (size_t i = 0; i < G_N_ELEMENTS(empty); i++) {
        json_object *list = qtest_qmp_ok(qts, "%s", empty[i]);
        g_assert_cmpuint(json_object_array_length(list), ==, 0);
        json_object_put(list);
    }
    assert_error(qts, "{'execute': 'query-stats', 'arguments': {'target': 'vm', 'vcpus': ['/x']}}",
                 "'vcpus'");
    assert_error(qts, "{'execute': 'query-stats', 'arguments': {'target': 'cryptodev'}}",
                 "'cryptodev'");
    json_object *exits = qtest_qmp_ok(qts, "{'execute': 'x-query-exits'}");
    g_assert_cmpuint(json_object_array_length(json_at(exits, "vcpus")), ==, 0);
    json_object_put(exits);
    qtest_stop(qts);
}

static void assert_hmp(QTest *qts, const char *line, const char *says)
{
    g_autofree char *text = qtest_hmp(qts, line);
    g_test_message("%s: %s", line, text);
    g_assert_nonnull(strstr(text, says));
}

static void test_human_monitor(void)
{
    QTest *qts = qtest_start(MACHINE "-trace file=/dev/null");
    assert_hmp(qts, "info trace-events irq_set", "irq_set : state 0");
    assert_hmp(qts, "trace-event irq_* on", "");
    assert_hmp(qts, "info trace-events irq_*", "irq_set : state 1");
    assert_hmp(qts, "info trace-events", "virtqueue_pop : state 0");
    assert_hmp(qts, "trace-event irq_set off", "");
    assert_hmp(qts, "info trace-events irq_set", "irq_set : state 0");
    assert_hmp(qts, "trace-event irq_set maybe", "on or off");
    assert_hmp(qts, "trace-event irq_sett on", "did you mean 'irq_set'");
    assert_hmp(qts, "info trace-events irq_sett", "did you mean 'irq_set'");
    assert_hmp(qts, "info exits on", "the time in handlers is measured");
    assert_hmp(qts, "info exits off", "the time in handlers is not measured");
    assert_hmp(qts, "info exits maybe", "on or off");
    assert_hmp(qts, "info stats vcpu", "CPU 0");
    assert_hmp(qts, "info stats all", "vm or vcpu");
    qtest_stop(qts);
}

static void test_bad_options(void)
{
    qtest_assert_refused("-trace irq_sett", "did you mean 'irq_set'");
    qtest_assert_refused("-trace enable=nix*", "no trace point matches 'nix*'");
    qtest_assert_refused("-trace enable=", "empty");
    qtest_assert_refused("-trace events=/nonexistent/x", "'/nonexistent/x': No such file");
    qtest_assert_refused("-trace file=/nonexistent/x", "'/nonexistent/x': No such file");
    qtest_assert_refused("-trace file=/dev/null -trace file=/dev/zero", "was given before");
    qtest_assert_refused("-trace files=x", "did you mean 'file'");
}

/* The machine goes on; the fault is told once. */
static void test_full_file(void)
{
    QTest *qts = qtest_start(MACHINE "-trace *,file=/dev/full");
    for (int i = 0; i < 2000; i++) {
        qtest_outb(qts, 0x70, 0x01);
    }
    set_state(qts, "*", false);
    assert_state(qts, "irq_set", "disabled");
    qtest_stop(qts);
}

/* A reader that does not read: lines are lost, nobody waits for it but the end, for a while. */
static void test_a_pipe_that_nobody_reads(void)
{
    g_autofree char *path = temp_path("pipe");
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    QTest *qts = qtest_start(MACHINE "-trace *,file=%s", path);
    for (int i = 0; i < 5000; i++) {
        qtest_outb(qts, 0x70, 0x01);
    }
    qtest_stop(qts);
    close(fd);
    g_unlink(path);
}

static void test_every_point_has_a_probe(void)
{
    g_autofree char *list = NULL, *notes = NULL;
    const char *vireo = g_getenv("VIREO");
    g_autofree char *help = g_strdup_printf("%s -trace help", vireo);
    g_autofree char *readelf = g_strdup_printf("readelf -n %s", vireo);
    int status;
    g_assert_true(g_spawn_command_line_sync(help, &list, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    g_assert_true(g_spawn_command_line_sync(readelf, &notes, NULL, &status, NULL));
    g_auto(GStrv) lines = g_strsplit(list, "\n", -1);
    unsigned points = 0;
    for (char **line = lines; **line; line++, points++) {
        *strchr(*line, ' ') = '\0';
        g_autofree char *note = g_strdup_printf("    Provider: vireo\n    Name: %s\n", *line);
        g_test_message("%s", *line);
        g_assert_cmpuint(count(notes, note), ==, PROBES);
    }
    g_assert_cmpuint(points, >=, 60);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/trace/file", test_file);
    g_test_add_func("/trace/events-file", test_events_file);
    g_test_add_func("/trace/log-of-d", test_log_of_d);
    g_test_add_func("/trace/set-state-while-running", test_set_state_while_running);
    g_test_add_func("/trace/errors-of-commands", test_errors_of_commands);
    g_test_add_func("/trace/statistics-without-vcpus", test_statistics_without_vcpus);
    g_test_add_func("/trace/human-monitor", test_human_monitor);
    g_test_add_func("/trace/bad-options", test_bad_options);
    g_test_add_func("/trace/full-file", test_full_file);
    g_test_add_func("/trace/pipe-that-nobody-reads", test_a_pipe_that_nobody_reads);
    g_test_add_func("/trace/every-point-has-a-probe", test_every_point_has_a_probe);
    return g_test_run();
}
