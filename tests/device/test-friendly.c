/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo FILE, and the commands that find the machine by its name: real processes, a run directory
 * of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

static char *dir; /* images, qtest sockets and the run directory */

/* Runs a shell line in the test's directory, V for the program: what it prints, with the errors. */
G_GNUC_PRINTF(2, 3)
static char *run(int expected, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *whole =
        g_strdup_printf("cd '%s' && V='%s'; { %s; } 2>&1", dir, g_getenv("VIREO"), line);
    const char *argv[] = { "sh", "-c", whole, NULL };
    char *out = NULL;
    int status;
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out,
                               NULL, &status, NULL));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != expected) {
        g_error("%s: status %d: %s", line, status, out);
    }
    return out;
}

#define RUN(expected, ...) g_free(run(expected, __VA_ARGS__))

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        g_error("'%s' does not say '%s'", text, part);
    }
}

G_GNUC_PRINTF(3, 4)
static void assert_says(int expected, const char *part, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *out = run(expected, "%s", line);
    assert_has(out, part);
}

static json_object *list(void)
{
    g_autofree char *out = run(0, "$V list --output=json");
    json_object *list = json_tokener_parse(out);
    g_assert_true(json_object_is_type(list, json_type_array));
    return list;
}

/* A member of the machine's row; "" when there is none. */
static char *fact(const char *name, const char *key)
{
    json_object *all = list();
    char *value = g_strdup("");
    for (size_t i = 0; i < json_object_array_length(all); i++) {
        json_object *row = json_object_array_get_idx(all, i), *member = NULL;
        if (strcmp(json_text(row, "name"), name) == 0 &&
            json_object_object_get_ex(row, key, &member)) {
            g_free(value);
            value = g_strdup(json_object_get_string(member));
        }
    }
    json_object_put(all);
    return value;
}

static void child_setup(gpointer opaque)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Runs NAME.img until end(); its qtest socket is NAME.qtest. */
static GPid start(const char *name, const char *more)
{
    g_autofree char *line = g_strdup_printf(
        "'%s' %s.img -accel qtest -m 64 -display none -qtest unix:%s.qtest,server=on,wait=off %s",
        g_getenv("VIREO"), name, name, more);
    g_auto(GStrv) argv = NULL;
    GPid pid;
    g_autofree char *socket = g_strdup_printf("%s/%s.qtest", dir, name);
    g_unlink(socket);
    g_assert_true(g_shell_parse_argv(line, NULL, &argv, NULL));
    g_assert_true(g_spawn_async(dir, argv, NULL,
                                G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL, child_setup,
                                NULL, &pid, NULL));
    for (bool up = false; !up;) {
        g_autofree char *status = fact(name, "status");
        up = *status && strcmp(status, "no answer") != 0;
        g_assert_cmpint(waitpid(pid, NULL, WNOHANG), ==, 0);
    }
    return pid;
}

static void reap(GPid pid)
{
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static void end(const char *name, GPid pid)
{
    RUN(0, "$V stop %s --force", name);
    reap(pid);
}

static int connect_to(const char *rest)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, rest);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return fd;
}

/* Reads until the text is there. */
static void expect_text(int fd, const char *text)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    char byte;
    while (!strstr(seen->str, text)) {
        g_assert_cmpint(read(fd, &byte, 1), ==, 1);
        g_string_append_c(seen, byte);
    }
}

/* A command of the qtest protocol: the answer's value, 0 without one. */
static uint64_t qtest_line(int fd, const char *line)
{
    g_autoptr(GString) answer = g_string_new(NULL);
    char byte = 0;
    g_assert_cmpint(write(fd, line, strlen(line)), ==, (ssize_t)strlen(line));
    while (byte != '\n') {
        g_assert_cmpint(read(fd, &byte, 1), ==, 1);
        g_string_append_c(answer, byte);
    }
    g_assert_true(g_str_has_prefix(answer->str, "OK"));
    return g_ascii_strtoull(answer->str + 2, NULL, 0);
}

static void test_list_info_and_stop(void)
{
    GPid one = start("one", ""), two = start("two", "-nic none -smp 1");
    g_autofree char *status = fact("one", "status"), *cpus = fact("two", "cpus");
    g_autofree char *memory = fact("one", "memory"), *port = fact("two", "ssh-port");
    g_assert_cmpstr(status, ==, "running");
    g_assert_cmpstr(cpus, ==, "1");
    g_assert_cmpstr(memory, ==, "67108864");
    g_assert_cmpstr(port, ==, "");
    assert_says(0, "one.img (raw", "$V info one");
    assert_says(0, "leads to the guest's 10.0.2.15:22", "$V info one");
    assert_says(1, "which machine? These run: 'one', 'two'", "$V info");
    assert_says(1, "did you mean 'one'?", "$V info onee");
    assert_says(1, "has not shut down within 0 s", "$V stop one --timeout=0");
    end("one", one);
    assert_says(0, "name:      two", "$V info"); /* it is the only one */
    end("two", two);
    assert_says(0, "no machine runs", "$V list");
    assert_says(1, "no machine 'two' runs", "$V stop two");
}

static void test_a_paused_machine_is_not_waited_for(void)
{
    GPid one = start("one", "-S");
    assert_says(1, "does not run (prelaunch)", "$V stop one");
    end("one", one);
}

static void test_same_names(void)
{
    GPid one = start("one", "-snapshot");
    RUN(0, "mkdir -p other && cp one.img other");
    RUN(0, "$V other/one.img -accel qtest -m 64 -daemonize");
    g_autofree char *status = fact("one-2", "status");
    g_assert_cmpstr(status, ==, "running");
    assert_says(1, "a machine called 'one-2' runs already",
                "$V two.img -accel qtest -m 64 -daemonize -name one-2");
    g_autofree char *first = fact("one", "ssh-port"), *second = fact("one-2", "ssh-port");
    g_assert_cmpstr(first, !=, second);
    RUN(0, "$V stop one-2 --force");
    end("one", one);
}

static void test_a_killed_machine_is_forgotten(void)
{
    GPid one = start("one", "");
    g_assert_cmpint(kill(one, SIGKILL), ==, 0);
    reap(one);
    RUN(0, "test -e run/vireo/one");
    assert_says(0, "no machine runs", "$V list");
    RUN(0, "test ! -e run/vireo/one");
    one = start("one", "");
    end("one", one);
}

static void test_stop_ends_what_does_not_answer(void)
{
    GPid one = start("one", "");
    g_assert_cmpint(kill(one, SIGSTOP), ==, 0);
    assert_says(1, "does not answer", "$V stop one");
    assert_says(0, "no answer", "$V list");
    end("one", one);
    assert_says(0, "no machine runs", "$V list");
}

static void test_the_console_is_shared_and_kept(void)
{
    GPid one = start("one", "");
    int qtest = connect_to("one.qtest");
    qtest_line(qtest, "outb 0x3f8 0x41\n"); /* before anybody looks */
    int first = connect_to("run/vireo/one/console"), second = connect_to("run/vireo/one/console");
    expect_text(first, "A");
    expect_text(second, "A");
    qtest_line(qtest, "outb 0x3f8 0x42\n");
    expect_text(first, "B");
    expect_text(second, "B");
    g_assert_cmpint(write(second, "z", 1), ==, 1);
    while (!(qtest_line(qtest, "inb 0x3fd\n") & 1)) { /* line status: no data yet */
        g_usleep(1000);
    }
    g_assert_cmpuint(qtest_line(qtest, "inb 0x3f8\n"), ==, 'z');
    assert_says(0, "AB", "timeout 2 $V console one </dev/null; true");
    end("one", one);
    char byte;
    g_assert_cmpint(read(first, &byte, 1), ==, 0); /* told of the end */
    close(first);
    close(second);
    close(qtest);
}

static void test_a_client_that_does_not_read_holds_nobody_up(void)
{
    GPid one = start("one", "");
    int qtest = connect_to("one.qtest"), deaf = connect_to("run/vireo/one/console");
    int size = 4096;
    setsockopt(deaf, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    g_autoptr(GString) many = g_string_new(NULL);
    for (int i = 0; i < 200; i++) {
        g_string_append(many, "outb 0x3f8 0x2e\n");
    }
    for (int i = 0; i < 1500; i++) { /* 300000 bytes: more than is kept and than sockets hold */
        g_assert_cmpint(write(qtest, many->str, many->len), ==, (ssize_t)many->len);
        for (int answers = 0; answers < 200;) {
            char data[1024];
            ssize_t n = read(qtest, data, sizeof(data));
            g_assert_cmpint(n, >, 0);
            for (ssize_t j = 0; j < n; j++) {
                answers += data[j] == '\n';
            }
        }
    }
    qtest_line(qtest, "outb 0x3f8 0x45\n");
    expect_text(deaf, "E"); /* the newest is there */
    end("one", one);
    close(deaf);
    close(qtest);
}

static void test_ssh_gets_the_port(void)
{
    GPid one = start("one", ""), two = start("two", "-nic none");
    RUN(0, "mkdir -p bin && printf '#!/bin/sh\\necho \"$@\"\\nexit 7\\n' >bin/ssh && "
           "chmod +x bin/ssh");
    g_autofree char *port = fact("one", "ssh-port");
    g_autofree char *expected = g_strdup_printf("-p %s me@127.0.0.1 -v uname -a", port);
    assert_says(7, expected, "PATH=$PWD/bin:$PATH $V ssh me@one -v uname -a");
    assert_says(1, "forwards no port to the guest's port 22", "$V ssh two");
    assert_says(1, "ssh is not installed", "PATH=/nonexistent $V ssh one");
    assert_says(1, "no user before the '@'", "$V ssh @one");
    assert_says(1, "which machine?", "$V ssh");
    end("one", one);
    end("two", two);
}

/* A folder whose lock the test holds, as a running machine's. */
static int make_evil(const char *name)
{
    RUN(0, "mkdir -m 700 -p run/vireo/%s", name);
    g_autofree char *path = g_strdup_printf("%s/run/vireo/%s/lock", dir, name);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &lock), ==, 0);
    return fd;
}

static int listen_at(const char *rest)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, rest);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 0), ==, 0);
    return fd;
}

static void test_hostile_entries_do_not_stop_the_others(void)
{
    GPid one = start("one", "");
    int locks[] = { make_evil("silent"), make_evil("garbage"), make_evil("fifo") };
    int sockets[] = { listen_at("run/vireo/silent/qmp"), listen_at("run/vireo/silent/console") };
    RUN(0, "head -c 100000 /dev/urandom >run/vireo/garbage/info.json; "
           "echo 'not a socket' >run/vireo/garbage/qmp; "
           "mkfifo run/vireo/fifo/info.json run/vireo/fifo/qmp; mkfifo run/vireo/pipe; "
           "ln -s one run/vireo/link");
    static const char *const names[] = { "silent", "garbage", "fifo" };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *status = fact(names[i], "status");
        g_assert_cmpstr(status, ==, "no answer");
        RUN(1, "$V info %s", names[i]);
        RUN(1, "$V stop %s", names[i]);
    }
    g_autofree char *good = fact("one", "status"), *link = fact("link", "status");
    g_assert_cmpstr(good, ==, "running");
    g_assert_cmpstr(link, ==, "");
    end("one", one);
    for (size_t i = 0; i < G_N_ELEMENTS(locks); i++) {
        close(locks[i]);
    }
    close(sockets[0]);
    close(sockets[1]);
    RUN(0, "rm -rf run/vireo");
}

static void test_commands_are_checked(void)
{
    assert_says(1, "unknown option '--nonsense'", "$V list --nonsense");
    assert_says(1, "it is one of human, json", "$V list --output=xml");
    assert_says(1, "one word too many", "$V list more");
    assert_says(1, "not a number of seconds", "$V stop x --timeout=soon");
    assert_says(1, "did you mean 'list'?", "$V help lits");
    assert_says(0, "--force", "$V stop --help");
    assert_says(0, "vireo console", "$V help");
    assert_says(1, "did you mean 'vireo list'?", "$V lits -accel qtest");
    RUN(0, "cp one.img list");
    RUN(0, "$V ./list -accel qtest -m 64 -daemonize && $V stop list --force");
}

static void test_only_who_wants_to_is_found(void)
{
    RUN(0, "$V one.img -accel qtest -m 64 -run-dir off -daemonize -pidfile one.pid");
    RUN(0, "$V -accel qtest -m 64 -name three -daemonize -pidfile three.pid");
    assert_says(0, "no machine runs", "$V list");
    RUN(0, "kill $(cat one.pid three.pid)");
    RUN(0, "$V -accel qtest -m 64 -name four -run-dir on -daemonize");
    g_autofree char *status = fact("four", "status");
    g_assert_cmpstr(status, ==, "running");
    RUN(0, "$V stop four --force");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("vireo-friendly-XXXXXX", NULL);
    g_autofree char *run_dir = g_build_filename(dir, "run", NULL);
    g_assert_cmpint(g_mkdir(run_dir, 0700), ==, 0);
    g_setenv("XDG_RUNTIME_DIR", run_dir, TRUE);
    RUN(0, "truncate -s 1M one.img two.img");
    g_test_add_func("/friendly/list-info-stop", test_list_info_and_stop);
    g_test_add_func("/friendly/paused", test_a_paused_machine_is_not_waited_for);
    g_test_add_func("/friendly/same-names", test_same_names);
    g_test_add_func("/friendly/killed", test_a_killed_machine_is_forgotten);
    g_test_add_func("/friendly/hangs", test_stop_ends_what_does_not_answer);
    g_test_add_func("/friendly/console", test_the_console_is_shared_and_kept);
    g_test_add_func("/friendly/deaf-client", test_a_client_that_does_not_read_holds_nobody_up);
    g_test_add_func("/friendly/ssh", test_ssh_gets_the_port);
    g_test_add_func("/friendly/hostile", test_hostile_entries_do_not_stop_the_others);
    g_test_add_func("/friendly/commands", test_commands_are_checked);
    g_test_add_func("/friendly/run-dir", test_only_who_wants_to_is_found);
    int status = g_test_run();
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", dir);
    g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL);
    g_free(dir);
    return status;
}
