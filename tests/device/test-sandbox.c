/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the process gives up before the guest runs: -run-with user=, chroot=, async-teardown=, and
 * -sandbox; what still works afterwards. As root only, but for -sandbox. */
#include <errno.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

#define NOBODY 65534

static bool need_root(void)
{
    if (geteuid() != 0) {
        g_test_skip("only root can become somebody else");
        return false;
    }
    return true;
}

/* A folder that everybody can enter, with a disk that everybody can read, one that root can, and
 * one that a user may write. */
static char *make_folder(void)
{
    static const struct {
        const char *name;
        mode_t mode;
    } files[] = { { "open", 0644 }, { "secret", 0600 }, { "own", 0600 } };
    g_autofree char *contents = g_strnfill(65536, 'd');
    char *folder = g_dir_make_tmp("vireo-sandbox-XXXXXX", NULL);
    g_assert_cmpint(g_chmod(folder, 0755), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(folder, files[i].name, NULL);
        g_assert_true(g_file_set_contents(path, contents, 65536, NULL));
        g_assert_cmpint(g_chmod(path, files[i].mode), ==, 0);
        if (i == 2 && geteuid() == 0) {
            g_assert_cmpint(chown(path, NOBODY, NOBODY), ==, 0);
        }
    }
    return folder;
}

static void remove_folder(char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_remove(path);
    }
    g_dir_close(dir);
    g_rmdir(folder);
    g_free(folder);
}

/* A line of /proc/PID/status, without its name. */
static char *status_line(GPid pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_autofree char *start = g_strdup_printf("\n%s:", name);
    char *at = strstr(text, start);
    g_assert_nonnull(at);
    at += strlen(start);
    *strchrnul(at, '\n') = '\0';
    return g_strdup(g_strstrip(at));
}

/* All threads say the same. */
static void assert_status(QTest *qts, const char *name, const char *value)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", qts->pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *task;
    unsigned threads = 0;
    while ((task = g_dir_read_name(dir))) {
        g_autofree char *line = status_line(atoi(task), name);
        g_assert_cmpstr(line, ==, value);
        threads++;
    }
    g_dir_close(dir);
    g_assert_cmpuint(threads, >, 1);
}

static json_object *add_disk(QTest *qts, const char *node, const char *path, bool readonly)
{
    return qtest_qmp(qts,
                     "{'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': "
                     "'%s', 'filename': '%s', 'read-only': %s}}",
                     node, path, readonly ? "true" : "false");
}

static void assert_added(QTest *qts, const char *node, const char *folder, const char *name,
                         bool readonly, const char *fails)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    json_object *response = add_disk(qts, node, path, readonly);
    const char *desc = json_text(response, "error.desc");
    if (fails) {
        g_assert_nonnull(desc);
        g_assert_nonnull(strstr(desc, fails));
    } else {
        g_assert_cmpstr(desc, ==, NULL);
    }
    json_object_put(response);
}

static void ok(QTest *qts, const char *command)
{
    json_object_put(qtest_qmp_ok(qts, "%s", command));
}

/* ---- -run-with user=, chroot= ---- */

static void test_wrong_ones_are_refused(void)
{
    qtest_assert_refused("-run-with user=nonesuch", "no user 'nonesuch'");
    qtest_assert_refused("-runas nonesuch", "no user 'nonesuch'");
    qtest_assert_refused("-run-with user=", "no user ''");
    qtest_assert_refused("-run-with user=1", "UID:GID");
    qtest_assert_refused("-run-with user=1:2:3", "UID:GID");
    qtest_assert_refused("-run-with user=4294967295:1", "UID:GID");
    qtest_assert_refused("-run-with user=-1:1", "UID:GID");
    qtest_assert_refused("-run-with chroot=/nonexistent", "No such file");
    qtest_assert_refused("-chroot /dev/null", "not a directory");
    qtest_assert_refused("-run-with chrot=/", "did you mean 'chroot'?");
    qtest_assert_refused("-run-with async-teardown=maybe", "async-teardown");
}

static void test_who_is_not_root_cannot(void)
{
    g_autofree char *program = g_strdup(g_getenv("VIREO"));
    if (!need_root()) {
        return;
    }
    char *folder = make_folder();
    g_autofree char *wrapper = g_build_filename(folder, "vireo", NULL);
    g_autofree char *text = g_strdup_printf(
        "#!/bin/sh\nexec setpriv --reuid=%d --regid=%d --clear-groups '%s' \"$@\"\n", NOBODY,
        NOBODY, program);
    g_assert_true(g_file_set_contents(wrapper, text, -1, NULL));
    g_assert_cmpint(g_chmod(wrapper, 0755), ==, 0);
    g_setenv("VIREO", wrapper, TRUE);
    qtest_assert_refused("-m 16 -run-with user=0:0", "it takes root");
    qtest_assert_refused("-m 16 -run-with chroot=/", "it takes root");
    g_setenv("VIREO", program, TRUE);
    remove_folder(folder);
}

static void test_another_user(void)
{
    if (!need_root()) {
        return;
    }
    char *folder = make_folder();
    g_autofree char *pidfile = g_build_filename(folder, "pid", NULL);
    QTest *qts = qtest_start("-m 16 -object iothread,id=io0 -run-with user=%d:%d -pidfile %s "
                             "-blockdev file,node-name=s,filename=%s/secret "
                             "-device virtio-blk-pci,drive=s,iothread=io0",
                             NOBODY, NOBODY, pidfile, folder);
    assert_status(qts, "Uid", "65534\t65534\t65534\t65534");
    assert_status(qts, "Gid", "65534\t65534\t65534\t65534");
    assert_status(qts, "Groups", "65534");
    assert_status(qts, "CapPrm", "0000000000000000");
    assert_added(qts, "n", folder, "open", true, NULL);
    assert_added(qts, "o", folder, "own", false, NULL);
    assert_added(qts, "p", folder, "open", false, "Permission denied");
    assert_added(qts, "q", folder, "secret", true, "Permission denied");
    ok(qts, "{'execute': 'block_resize', 'arguments': {'node-name': 'o', 'size': 131072}}");
    ok(qts, "{'execute': 'object-add', 'arguments': {'qom-type': 'iothread', 'id': 'io1'}}");
    assert_status(qts, "Uid", "65534\t65534\t65534\t65534"); /* new threads too */
    g_autofree char *number = NULL;
    g_assert_true(g_file_get_contents(pidfile, &number, NULL, NULL));
    g_assert_cmpint(atoi(number), ==, qts->pid);
    qtest_stop(qts);
    /* The folder is not the user's: the file stays, empty. */
    GStatBuf st;
    g_assert_cmpint(g_stat(pidfile, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 0);
    remove_folder(folder);
}

static void test_a_named_user_has_all_its_groups(void)
{
    const struct passwd *account = getpwnam("nobody");
    if (!need_root()) {
        return;
    }
    if (!account) {
        g_test_skip("no user 'nobody'");
        return;
    }
    int count = 64;
    gid_t groups[64];
    g_assert_cmpint(getgrouplist("nobody", account->pw_gid, groups, &count), >, 0);
    g_autoptr(GString) expected = g_string_new(NULL);
    for (int i = 0; i < count; i++) {
        g_string_append_printf(expected, "%s%u", i ? " " : "", groups[i]);
    }
    char *folder = make_folder();
    g_assert_cmpint(chown(folder, account->pw_uid, account->pw_gid), ==, 0);
    g_autofree char *pidfile = g_build_filename(folder, "pid", NULL);
    QTest *qts = qtest_start("-m 16 -runas nobody -pidfile %s", pidfile);
    assert_status(qts, "Groups", expected->str);
    qtest_stop(qts);
    g_assert_false(g_file_test(pidfile, G_FILE_TEST_EXISTS)); /* in the user's own folder */
    remove_folder(folder);
}

static void test_another_root_directory(void)
{
    if (!need_root()) {
        return;
    }
    char *folder = make_folder();
    g_autofree char *pidfile = g_build_filename(folder, "pid", NULL);
    QTest *qts = qtest_start("-m 16 -run-with chroot=%s,user=%d:%d -pidfile %s", folder, NOBODY,
                             NOBODY, pidfile);
    assert_added(qts, "a", folder, "open", true, "No such file");
    assert_added(qts, "b", "/", "open", true, NULL);
    assert_added(qts, "c", "/../..", "own", false, NULL);
    g_autofree char *root = g_strdup_printf("/proc/%d/root", qts->pid);
    g_autofree char *target = g_file_read_link(root, NULL);
    g_assert_cmpstr(target, ==, folder);
    qtest_stop(qts);
    GStatBuf st;
    g_assert_cmpint(g_stat(pidfile, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 0);
    remove_folder(folder);
}

static pid_t read_pid(const char *path)
{
    for (int waited = 0; waited < QTEST_TIMEOUT_MS; waited += 5) {
        g_autofree char *text = NULL;
        if (g_file_get_contents(path, &text, NULL, NULL) && strchr(text, '\n')) {
            return atoi(text);
        }
        g_usleep(5000);
    }
    g_error("%s was not written", path);
}

static void test_in_the_background(void)
{
    if (!need_root()) {
        return;
    }
    char *folder = make_folder();
    g_autofree char *pidfile = g_build_filename(folder, "pid", NULL);
    int status;
    g_autofree char *error = qtest_run_failing(&status,
                                               "-machine none -daemonize -pidfile %s -run-with "
                                               "chroot=%s,user=%d:%d,async-teardown=on",
                                               pidfile, folder, NOBODY, NOBODY);
    g_assert_cmpstr(error, ==, "");
    g_assert_cmpint(status, ==, 0);
    pid_t pid = read_pid(pidfile);
    g_autofree char *uid = status_line(pid, "Uid");
    g_assert_cmpstr(uid, ==, "65534\t65534\t65534\t65534");
    g_assert_cmpint(kill(pid, SIGTERM), ==, 0);
    for (int waited = 0; waited < QTEST_TIMEOUT_MS && kill(pid, 0) == 0; waited += 5) {
        g_usleep(5000);
    }
    GStatBuf st;
    g_assert_cmpint(g_stat(pidfile, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 0);
    remove_folder(folder);
}

/* ---- -run-with async-teardown= ---- */

/* The process named vireo/teardown whose parent is pid, or 0. */
static GPid find_second(GPid pid)
{
    GDir *dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    GPid found = 0;
    while (!found && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_strdup_printf("/proc/%s/stat", name);
        g_autofree char *text = NULL;
        int parent = 0;
        if (g_ascii_isdigit(name[0]) && g_file_get_contents(path, &text, NULL, NULL) &&
            strstr(text, "(vireo/teardown)") &&
            sscanf(strrchr(text, ')'), ") %*c %d", &parent) == 1 && parent == pid) {
            found = atoi(name);
        }
    }
    g_dir_close(dir);
    return found;
}

static void assert_ends(GPid pid)
{
    for (int waited = 0; waited < QTEST_TIMEOUT_MS && kill(pid, 0) == 0; waited += 5) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
        g_autofree char *text = NULL;
        if (g_file_get_contents(path, &text, NULL, NULL) && strstr(text, ") Z ")) {
            return; /* nobody collects it here */
        }
        g_usleep(5000);
    }
    g_assert_cmpint(kill(pid, 0), ==, -1);
}

static void test_a_second_process_holds_the_memory(void)
{
    QTest *qts = qtest_start("-m 16 -run-with async-teardown=on");
    GPid second = find_second(qts->pid);
    g_assert_cmpint(second, >, 0);
    g_autofree char *strict = status_line(second, "Seccomp");
    g_assert_cmpstr(strict, ==, "1");
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", second);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned fds = 0;
    while (g_dir_read_name(dir)) {
        fds++;
    }
    g_dir_close(dir);
    g_assert_cmpuint(fds, ==, 1);
    ok(qts, "{'execute': 'query-status'}");
    kill(qts->pid, SIGKILL);
    g_assert_cmpint(qtest_wait_exit(qts), ==, 128 + SIGKILL);
    assert_ends(second);
    qtest_free(qts);
    /* And after an orderly end. */
    qts = qtest_start("-m 16 -async-teardown");
    second = find_second(qts->pid);
    g_assert_cmpint(second, >, 0);
    qtest_stop(qts);
    assert_ends(second);
}

/* ---- -sandbox ---- */

#define LIBVIRTS "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

static bool has_sandbox(void)
{
    int status;
    g_autofree char *error = qtest_run_failing(&status, "-machine none -sandbox on -chardev x");
    if (strstr(error, "libseccomp")) {
        g_test_skip("built without libseccomp");
        return false;
    }
    return true;
}

static void test_wrong_policies_are_refused(void)
{
    qtest_assert_refused("-sandbox foo", "enable");
    qtest_assert_refused("-sandbox on,obsolete=maybe", "obsolete");
    qtest_assert_refused("-sandbox on,spawn=children", "spawn");
    qtest_assert_refused("-sandbox on,spwan=deny", "did you mean 'spawn'?");
}

/* Waits for a job that ends well. */
static void finish_job(QTest *qts, const char *id)
{
    for (;;) {
        json_object *event = qtest_event(qts, "JOB_STATUS_CHANGE");
        bool done = g_str_equal(json_text(event, "data.id"), id) &&
                    g_str_equal(json_text(event, "data.status"), "concluded");
        json_object_put(event);
        if (done) {
            break;
        }
    }
    json_object *jobs = qtest_qmp_ok(qts, "{'execute': 'query-jobs'}");
    g_assert_cmpstr(json_text(json_object_array_get_idx(jobs, 0), "error"), ==, NULL);
    json_object_put(jobs);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'job-dismiss', 'arguments': {'id': '%s'}}", id));
}

/* What a manager does to a machine: disks with a format, snapshots, I/O threads, networks. */
static void test_machines_are_managed_as_ever(void)
{
    if (!has_sandbox()) {
        return;
    }
    char *folder = make_folder();
    QTest *qts = qtest_start("-M pc -m 16 -object iothread,id=io0 -run-with async-teardown=on "
                             "-netdev user,id=u0,hostfwd=tcp:127.0.0.1:0-:22 "
                             "-device virtio-net-pci,netdev=u0 -sandbox " LIBVIRTS);
    assert_status(qts, "Seccomp", "2");
    assert_status(qts, "NoNewPrivs", "1");
    ok(qts, "{'execute': 'object-add', 'arguments': {'qom-type': 'iothread', 'id': 'io1'}}");
    assert_added(qts, "f", folder, "own", false, NULL);
    ok(qts, "{'execute': 'blockdev-create', 'arguments': {'job-id': 'c', 'options': {'driver': "
            "'qcow2', 'file': 'f', 'size': 1048576}}}");
    finish_job(qts, "c");
    ok(qts, "{'execute': 'blockdev-add', 'arguments': {'driver': 'qcow2', 'node-name': 'q', "
            "'file': 'f'}}");
    ok(qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtio-blk-pci', 'id': 'd', "
            "'drive': 'q', 'iothread': 'io1'}}");
    json_object_put(
        qtest_qmp_ok(qts,
                     "{'execute': 'blockdev-snapshot-sync', 'arguments': {'node-name': 'q', "
                     "'snapshot-file': '%s/top', 'snapshot-node-name': 't', 'format': 'qcow2'}}",
                     folder));
    ok(qts, "{'execute': 'block-commit', 'arguments': {'job-id': 'm', 'device': 't', "
            "'auto-dismiss': false}}");
    for (;;) {
        json_object *event = qtest_event(qts, "JOB_STATUS_CHANGE");
        bool ready = g_str_equal(json_text(event, "data.status"), "ready");
        json_object_put(event);
        if (ready) {
            break;
        }
    }
    ok(qts, "{'execute': 'job-complete', 'arguments': {'id': 'm'}}");
    finish_job(qts, "m");
    ok(qts, "{'execute': 'netdev_add', 'arguments': {'type': 'user', 'id': 'u1', 'hostfwd': "
            "[{'str': 'tcp:127.0.0.1:0-:80'}]}}");
    ok(qts, "{'execute': 'chardev-add', 'arguments': {'id': 'p', 'backend': {'type': 'pty', "
            "'data': {}}}}");
    assert_status(qts, "Seccomp", "2"); /* threads that came later too */
    qtest_stop(qts);
    remove_folder(folder);
}

/* A program that may not be started is an error, not the end. */
static void test_helpers_are_refused_in_order(void)
{
    if (!has_sandbox()) {
        return;
    }
    QTest *qts = qtest_start("-m 16 -sandbox " LIBVIRTS);
    g_autofree char *error = qtest_qmp_error(
        qts, "{'execute': 'netdev_add', 'arguments': {'type': 'bridge', 'id': 'b'}}");
    g_assert_nonnull(strstr(error, "spawn=deny"));
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* Who became another user cannot look for leaks, nor who may start no process. */
    g_setenv("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=0", TRUE);
    g_test_add_func("/run-with/wrong-ones-are-refused", test_wrong_ones_are_refused);
    g_test_add_func("/run-with/who-is-not-root-cannot", test_who_is_not_root_cannot);
    g_test_add_func("/run-with/another-user", test_another_user);
    g_test_add_func("/run-with/named-users-have-their-groups",
                    test_a_named_user_has_all_its_groups);
    g_test_add_func("/run-with/another-root-directory", test_another_root_directory);
    g_test_add_func("/run-with/in-the-background", test_in_the_background);
    g_test_add_func("/run-with/async-teardown", test_a_second_process_holds_the_memory);
    g_test_add_func("/sandbox/wrong-policies-are-refused", test_wrong_policies_are_refused);
    g_test_add_func("/sandbox/machines-are-managed-as-ever", test_machines_are_managed_as_ever);
    g_test_add_func("/sandbox/helpers-are-refused-in-order", test_helpers_are_refused_in_order);
    return g_test_run();
}
