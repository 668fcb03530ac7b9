/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The run directory: who may use it, whose names are taken, what dead machines leave. */
#include "vmm/client/rundir.h"

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "vmm/client/qmp_client.h"

static char *base; /* XDG_RUNTIME_DIR of the running test */

static void begin(void)
{
    base = g_dir_make_tmp("vireo-rundir-XXXXXX", NULL);
    g_assert_nonnull(base);
    g_setenv("XDG_RUNTIME_DIR", base, TRUE);
}

static void end(void)
{
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", base);
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
    g_clear_pointer(&base, g_free);
}

static char *path_of(const char *rest)
{
    return g_strdup_printf("%s/vireo%s%s", base, *rest ? "/" : "", rest);
}

static void assert_says(GError **error, const char *part)
{
    g_assert_nonnull(*error);
    if (!strstr((*error)->message, part)) {
        g_error("'%s' does not say '%s'", (*error)->message, part);
    }
    g_clear_error(error);
}

static RunDir *claim(const char *name)
{
    GError *error = NULL;
    RunDir *dir = rundir_claim(name, false, &error);
    g_assert_no_error(error);
    return dir;
}

static void assert_running(unsigned count)
{
    g_autoptr(GPtrArray) list = rundir_list(NULL);
    g_assert_nonnull(list);
    g_assert_cmpuint(list->len, ==, count);
}

static void test_any_text_gives_a_name(void)
{
    static const char *const pairs[][2] = {
        { "debian", "debian" }, { "a/b", "a_b" },        { "..", "_." },   { "", "machine" },
        { "-x", "_x" },         { "a\033[2J", "a_[2J" }, { "ä b", "ä_b" }, { "\xff", "_" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *name = rundir_clean_name(pairs[i][0]);
        g_assert_cmpstr(name, ==, pairs[i][1]);
    }
    g_autofree char *many = g_strnfill(1000, 'x');
    g_autofree char *name = rundir_clean_name(many);
    g_assert_cmpuint(strlen(name), <=, RUNDIR_NAME_MAX);
}

static void test_a_taken_name_is_refused_or_numbered(void)
{
    begin();
    GError *error = NULL;
    RunDir *first = claim("disk"), *second = rundir_claim("disk", true, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(rundir_name(second), ==, "disk-2");
    g_assert_null(rundir_claim("disk", false, &error));
    assert_says(&error, "'disk' runs already");
    assert_running(2);
    rundir_leave(first);
    rundir_leave(second);
    assert_running(0);
    g_autofree char *root = path_of("");
    g_autofree char *folder = path_of("disk");
    struct stat st;
    g_assert_cmpint(stat(root, &st), ==, 0);
    g_assert_cmphex(st.st_mode & 07777, ==, 0700);
    g_assert_cmpint(access(folder, F_OK), ==, -1);
    end();
}

/* As kill -9 leaves it. */
static void die_with_a_folder(const char *name)
{
    pid_t pid = fork();
    if (pid == 0) {
        RunDir *dir = rundir_claim(name, false, NULL);
        _exit(dir && rundir_listen(dir, RUNDIR_QMP, NULL) >= 0 ? 0 : 1);
    }
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
}

static void test_what_a_dead_machine_leaves_is_removed(void)
{
    begin();
    g_autofree char *folder = path_of("dead");
    g_autofree char *socket = path_of("dead/qmp");
    die_with_a_folder("dead");
    g_assert_cmpint(access(socket, F_OK), ==, 0);
    assert_running(0);
    g_assert_cmpint(access(folder, F_OK), ==, -1);
    die_with_a_folder("dead");
    RunDir *next = claim("dead"); /* the name is free, and the old socket gone */
    g_assert_cmpint(access(socket, F_OK), ==, -1);
    assert_running(1);
    rundir_leave(next);
    end();
}

static void test_a_directory_that_is_not_ours_alone_is_refused(void)
{
    begin();
    GError *error = NULL;
    g_autofree char *root = path_of("");
    g_assert_cmpint(g_mkdir(root, 0700), ==, 0);
    g_assert_cmpint(chmod(root, 0755), ==, 0);
    g_assert_null(rundir_claim("m", false, &error));
    assert_says(&error, "open to other users");
    g_assert_null(rundir_list(&error));
    assert_says(&error, "chmod 700");
    if (geteuid() == 0) {
        g_assert_cmpint(chmod(root, 0700), ==, 0);
        g_assert_cmpint(chown(root, 12345, 12345), ==, 0);
        g_assert_null(rundir_claim("m", false, &error));
        assert_says(&error, "belongs to another user (12345)");
    }
    end();
}

static void test_symbolic_links_are_not_followed(void)
{
    begin();
    GError *error = NULL;
    g_autofree char *elsewhere = g_build_filename(base, "elsewhere", NULL);
    g_autofree char *root = path_of("");
    g_autofree char *link = path_of("m");
    g_assert_cmpint(g_mkdir(elsewhere, 0700), ==, 0);
    g_assert_cmpint(symlink(elsewhere, root), ==, 0);
    g_assert_null(rundir_claim("m", false, &error));
    assert_says(&error, "symbolic link");
    g_assert_null(rundir_list(&error));
    assert_says(&error, "symbolic link");
    g_assert_cmpint(unlink(root), ==, 0);
    g_assert_cmpint(g_mkdir(root, 0700), ==, 0);
    g_assert_cmpint(symlink(elsewhere, link), ==, 0);
    g_assert_null(rundir_claim("m", false, &error));
    assert_says(&error, "'m'");
    assert_running(0);
    g_assert_cmpint(g_rmdir(elsewhere), ==, 0); /* nothing was put there */
    end();
}

static void test_strange_things_are_passed_over(void)
{
    begin();
    GError *error = NULL;
    RunDir *good = claim("good");
    g_autofree char *folder = path_of("fifo");
    g_autofree char *fifo = path_of("fifo/lock");
    g_autofree char *file = path_of("file");
    g_autofree char *info = path_of("good/info.json");
    g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    g_assert_true(g_file_set_contents(file, "x", 1, NULL));
    g_assert_true(g_file_set_contents(info, "{\"cpus\": [[[[[[[[[[[[", -1, NULL));
    assert_running(1);
    g_autoptr(RunEntry) entry = rundir_find("good", &error);
    g_assert_no_error(error);
    g_assert_null(entry->info);
    g_assert_cmpint(unlink(info), ==, 0);
    g_assert_cmpint(mkfifo(info, 0600), ==, 0);
    g_autoptr(RunEntry) again = rundir_find("good", &error);
    g_assert_no_error(error);
    g_assert_null(again->info);
    g_assert_null(rundir_claim("fifo", false, &error));
    assert_says(&error, "'fifo'");
    rundir_leave(good);
    end();
}

static void test_the_nearest_name_is_suggested(void)
{
    begin();
    GError *error = NULL;
    g_assert_null(rundir_find("debian", &error));
    assert_says(&error, "none does");
    RunDir *one = claim("debian");
    g_assert_null(rundir_find("debain", &error));
    assert_says(&error, "did you mean 'debian'?");
    g_autoptr(RunEntry) only = rundir_find(NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(only->name, ==, "debian");
    RunDir *two = claim("fedora");
    g_assert_null(rundir_find(NULL, &error));
    assert_says(&error, "'debian', 'fedora'");
    rundir_leave(one);
    g_assert_false(rundir_is_alive(only));
    rundir_leave(two);
    end();
}

static void test_sockets_work_below_a_long_path(void)
{
    begin();
    GError *error = NULL;
    g_autofree char *part = g_strnfill(200, 'p');
    g_autofree char *deep = g_build_filename(base, part, NULL);
    g_assert_cmpint(g_mkdir(deep, 0700), ==, 0);
    g_setenv("XDG_RUNTIME_DIR", deep, TRUE);
    g_autofree char *text = g_strnfill(500, 'n');
    g_autofree char *name = rundir_clean_name(text);
    RunDir *dir = claim(name);
    int listening = rundir_listen(dir, RUNDIR_CONSOLE, &error);
    g_assert_no_error(error);
    g_autoptr(RunEntry) entry = rundir_find(name, &error);
    g_assert_no_error(error);
    int fd = client_connect(entry, RUNDIR_CONSOLE, g_get_monotonic_time() + G_USEC_PER_SEC, &error);
    g_assert_no_error(error);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    close(listening);
    rundir_leave(dir);
    end();
}

static int listen_on(unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0;
    if (!good) {
        close(fd);
    }
    return good ? fd : -1;
}

static void test_ports_are_taken_once(void)
{
    begin();
    GError *error = NULL;
    RunDir *one = claim("one"), *two = claim("two");
    unsigned a = rundir_take_port(one, 38000, 38200, &error);
    unsigned b = rundir_take_port(two, 38000, 38200, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(a, !=, 0);
    g_assert_cmpuint(b, >, a);
    rundir_leave(one);
    rundir_leave(two);
    RunDir *three = claim("three");
    int fd = listen_on(a);
    if (fd >= 0) { /* else another program has it by now */
        g_assert_cmpuint(rundir_take_port(three, a, a, &error), ==, 0);
        assert_says(&error, "all taken");
        close(fd);
    }
    rundir_leave(three);
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rundir/names", test_any_text_gives_a_name);
    g_test_add_func("/rundir/taken", test_a_taken_name_is_refused_or_numbered);
    g_test_add_func("/rundir/dead", test_what_a_dead_machine_leaves_is_removed);
    g_test_add_func("/rundir/not-ours", test_a_directory_that_is_not_ours_alone_is_refused);
    g_test_add_func("/rundir/symbolic-links", test_symbolic_links_are_not_followed);
    g_test_add_func("/rundir/strange", test_strange_things_are_passed_over);
    g_test_add_func("/rundir/nearest", test_the_nearest_name_is_suggested);
    g_test_add_func("/rundir/long-path", test_sockets_work_below_a_long_path);
    g_test_add_func("/rundir/ports", test_ports_are_taken_once);
    return g_test_run();
}
