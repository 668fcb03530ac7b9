/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command line sets up, seen from outside: configuration files, threads, the log. */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "tests/device/libqtest.h"

#define FW_CFG_DMA_LOW 0x518

static char *make_folder(void)
{
    g_autoptr(GError) error = NULL;
    char *folder = g_dir_make_tmp("vireo-cli-XXXXXX", &error);
    g_assert_no_error(error);
    return folder;
}

static char *in_folder(const char *folder, const char *name)
{
    return g_build_filename(folder, name, NULL);
}

static void test_a_machine_from_a_file(void)
{
    g_autofree char *folder = make_folder();
    g_autofree char *config = in_folder(folder, "vm.conf");
    g_assert_true(
        g_file_set_contents(config,
                            "[machine]\n  type = \"q35\"\n"
                            "[memory]\n  size = \"48\"\n"
                            "[name]\n  guest = \"from, a file\"\n"
                            "[object \"io0\"]\n  qom-type = \"iothread\"\n"
                            "[drive \"d0\"]\n  file = \"null-co://\"\n"
                            "  if = \"none\"\n  format = \"raw\"\n"
                            "[device \"disk0\"]\n  driver = \"virtio-blk-pci\"\n"
                            "  drive = \"d0\"\n  iothread = \"io0\"\n  serial = \"one\"\n",
                            -1, NULL));
    QTest *qts = qtest_start("-readconfig %s -set device.disk0.serial=two,three", config);
    json_object *name = qtest_qmp_ok(qts, "{'execute': 'query-name'}");
    g_assert_cmpstr(json_text(name, "name"), ==, "from, a file");
    json_object_put(name);
    json_object *memory = qtest_qmp_ok(qts, "{'execute': 'query-memory-size-summary'}");
    g_assert_cmpint(json_object_get_int(json_at(memory, "base-memory")), ==, 48 << 20);
    json_object_put(memory);
    json_object *serial = qtest_qmp_ok(qts, "{'execute': 'qom-get', 'arguments': {'path': "
                                            "'/machine/peripheral/disk0', 'property': 'serial'}}");
    g_assert_cmpstr(json_object_get_string(serial), ==, "two,three");
    json_object_put(serial);
    qtest_stop(qts);
    g_autofree char *wrong = g_strdup_printf("-readconfig %s -set device.disk0.seriall=x", config);
    qtest_assert_refused(wrong, "did you mean 'serial'");
    g_unlink(config);
    g_rmdir(folder);
}

/* A line of /proc/PID/task/TID/FILE, the value behind the key. */
static char *task_line(QTest *qts, int tid, const char *file, const char *key)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/%s", qts->pid, tid, file);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    char *value = strstr(text, key);
    g_assert_nonnull(value);
    value += strlen(key);
    return g_strndup(value, strcspn(value, "\n"));
}

static void test_iothreads_have_names_and_places(void)
{
    g_autofree char *mine = NULL;
    g_assert_true(g_file_get_contents("/proc/self/status", &mine, NULL, NULL));
    const char *list = strstr(mine, "Cpus_allowed_list:\t") + strlen("Cpus_allowed_list:\t");
    g_autofree char *all = g_strndup(list, strcspn(list, "\n"));
    g_autofree char *first = g_strndup(list, strspn(list, "0123456789"));
    QTest *qts = qtest_start("-object iothread,id=io0,cpu-affinity=%s -object iothread,id=io1 "
                             "-name x,debug-threads=on",
                             first);
    json_object *threads = qtest_qmp_ok(qts, "{'execute': 'query-iothreads'}");
    for (int i = 0; i < 2; i++) {
        json_object *thread = json_object_array_get_idx(threads, (size_t)i);
        int tid = json_object_get_int(json_at(thread, "thread-id"));
        g_autofree char *name = task_line(qts, tid, "comm", "");
        g_autofree char *cpus = task_line(qts, tid, "status", "Cpus_allowed_list:\t");
        g_assert_cmpstr(name, ==, i == 0 ? "IO io0" : "IO io1");
        g_assert_cmpstr(cpus, ==, i == 0 ? first : all);
    }
    json_object_put(threads);
    g_autofree char *refused =
        qtest_qmp_error(qts, "{'execute': 'object-add', 'arguments': {'qom-type': 'iothread', "
                             "'id': 'io2', 'cpu-affinity': '8191'}}");
    g_assert_nonnull(strstr(refused, "the host has no CPU 8191"));
    qtest_stop(qts);
    qtest_assert_refused("-object iothread,id=a,cpu-afinity=1", "did you mean 'cpu-affinity'");
    qtest_assert_refused("-object iothread,id=a,cpu-affinity=x", "'x' is not a list of CPUs");
    qtest_assert_refused("-vcpu vcpunum=0,affinity=0", "the accelerator 'qtest' has none");
}

/* The only file of the folder. */
static char *only_file(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    char *path = in_folder(folder, g_dir_read_name(dir));
    g_assert_null(g_dir_read_name(dir));
    return path;
}

static void test_the_guests_errors_are_logged_each_time(void)
{
    g_autofree char *folder = make_folder();
    QTest *qts = qtest_start("-m 32 -D %s/log-%%d -d guest_errors", folder);
    for (int i = 0; i < 3; i++) {
        qtest_outl(qts, FW_CFG_DMA_LOW, GUINT32_TO_BE(0x70000000u + (unsigned)i));
    }
    qtest_stop(qts);
    g_autofree char *log = only_file(folder);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, 4);
    for (int i = 0; i < 3; i++) {
        g_autofree char *address = g_strdup_printf("0x7000000%d", i);
        g_assert_nonnull(strstr(lines[i], "the guest's fault"));
        g_assert_nonnull(strstr(lines[i], address));
    }
    g_unlink(log);
    g_rmdir(folder);
    qtest_assert_refused("-D /nonexistent/x -d guest_errors", "-D /nonexistent/x: cannot create");
    qtest_assert_refused("-d in_asm", "QEMU has this item");
}

/* In the background messages go to -D's file. */
static void test_a_daemons_messages_are_in_the_file(void)
{
    g_autofree char *folder = make_folder();
    g_autofree char *log = in_folder(folder, "log");
    g_autofree char *pidfile = in_folder(folder, "pid");
    g_autofree char *text = NULL, *pid = NULL;
    g_autofree char *command =
        g_strdup_printf("'%s' -accel qtest -nodefaults -display none -daemonize -pidfile %s -D %s",
                        g_getenv("VIREO"), pidfile, log);
    int status;
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    g_assert_true(g_file_get_contents(pidfile, &pid, NULL, NULL));
    g_assert_cmpint(kill((pid_t)g_ascii_strtoll(pid, NULL, 10), SIGTERM), ==, 0);
    while (g_file_test(pidfile, G_FILE_TEST_EXISTS)) {
        g_usleep(10000);
    }
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    g_assert_nonnull(strstr(text, "ends: signal 15"));
    g_unlink(log);
    g_rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/command-line/machine-from-a-file", test_a_machine_from_a_file);
    g_test_add_func("/command-line/iothreads", test_iothreads_have_names_and_places);
    g_test_add_func("/command-line/guest-errors", test_the_guests_errors_are_logged_each_time);
    g_test_add_func("/command-line/daemons-messages", test_a_daemons_messages_are_in_the_file);
    return g_test_run();
}
