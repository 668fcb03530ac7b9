/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter on system calls: what it ends, what it refuses, what goes on. Each in a process of its
 * own. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "vmm/sandbox/filter.h"

static void enter(const char *text)
{
    g_autoptr(GError) error = NULL;
    SandboxPolicy policy = { 0 };
    g_assert_true(sandbox_parse(&policy, text, &error));
    if (!sandbox_enter(&policy, &error)) {
        g_error("%s", error->message);
    }
}

/* The subprocess ended by the filter, with this on its standard error. */
static void assert_ended(const char *says)
{
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr(says);
}

static void assert_went_on(void)
{
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

static void test_mounting_ends_the_process(void)
{
    if (g_test_subprocess()) {
        enter("on");
        syscall(SYS_mount, "", "", "", 0, NULL);
        return;
    }
    assert_ended("*ended by -sandbox on: it made the system call mount\n*");
}

static gpointer become_root(gpointer go)
{
    while (!g_atomic_int_get((int *)go)) {
        g_usleep(1000);
    }
    syscall(SYS_setuid, 0);
    return NULL;
}

/* One that is there already, too. */
static void test_threads_are_filtered(void)
{
    if (g_test_subprocess()) {
        int go = 0;
        GThread *thread = g_thread_new("other", become_root, &go);
        enter("on,elevateprivileges=deny");
        g_atomic_int_set(&go, 1);
        g_thread_join(thread);
        return;
    }
    assert_ended("*ended by -sandbox elevateprivileges=deny: it made the system call setuid\n*");
}

static void test_processes_end_it_threads_do_not(void)
{
    if (g_test_subprocess()) {
        int go = 1;
        enter("on,spawn=deny,elevateprivileges=allow");
        g_thread_join(g_thread_new("later", (GThreadFunc)become_root, &go));
        g_assert_false(sandbox_may_spawn(NULL));
        if (write(STDERR_FILENO, "thread\n", 7) == 7 && fork() == 0) {
            _exit(0);
        }
        return;
    }
    assert_ended("*thread\n*ended by -sandbox spawn=deny: it made the system call *");
}

static void test_programs_end_it(void)
{
    if (g_test_subprocess()) {
        enter("on,spawn=deny");
        execl("/bin/true", "true", NULL);
        return;
    }
    assert_ended("*spawn=deny: it made the system call execve\n*");
}

static void test_resources_are_refused(void)
{
    if (g_test_subprocess()) {
        cpu_set_t set;
        g_assert_cmpint(sched_getaffinity(0, sizeof(set), &set), ==, 0);
        g_assert_cmpint(sched_setaffinity(0, sizeof(set), &set), ==, 0);
        enter("on,resourcecontrol=deny");
        g_assert_cmpint(sched_setaffinity(0, sizeof(set), &set), ==, -1);
        g_assert_cmpint(errno, ==, EPERM);
        g_assert_cmpint(setpriority(PRIO_PROCESS, 0, 5), ==, -1);
        return;
    }
    assert_went_on();
}

/* Without more than "on" programs run; with "children" they can, as can nobody become another. */
static void test_what_is_allowed_goes_on(void)
{
    if (g_test_subprocess()) {
        int status;
        enter("on,elevateprivileges=children");
        g_assert_true(sandbox_may_spawn(NULL));
        pid_t pid = fork();
        if (pid == 0) {
            execl("/bin/true", "true", NULL);
            _exit(1);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
        return;
    }
    assert_went_on();
}

static void test_off_is_off(void)
{
    if (g_test_subprocess()) {
        enter("off,spawn=deny");
        g_assert_true(sandbox_may_spawn(NULL));
        pid_t pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
        return;
    }
    assert_went_on();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sandbox/mounting-ends-the-process", test_mounting_ends_the_process);
    g_test_add_func("/sandbox/all-threads-are-filtered", test_threads_are_filtered);
    g_test_add_func("/sandbox/processes-end-it-threads-do-not",
                    test_processes_end_it_threads_do_not);
    g_test_add_func("/sandbox/programs-end-it", test_programs_end_it);
    g_test_add_func("/sandbox/resources-are-refused", test_resources_are_refused);
    g_test_add_func("/sandbox/what-is-allowed-goes-on", test_what_is_allowed_goes_on);
    g_test_add_func("/sandbox/off-is-off", test_off_is_off);
    return g_test_run();
}
