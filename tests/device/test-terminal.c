/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The terminal that a machine runs on is put back as it was, however the process ends. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

typedef struct Terminal {
    int master, slave;
    struct termios before;
    pid_t pid;
} Terminal;

static bool same_mode(const struct termios *a, const struct termios *b)
{
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
           a->c_lflag == b->c_lflag && !memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc));
}

/* Under a sanitizer the process still ends by the signal that it gets. */
static void leave_signals_alone(const char *variable)
{
    const char *present = getenv(variable);
    g_autofree char *options =
        g_strdup_printf("%s:handle_segv=0:handle_abort=0:handle_sigbus=0", present ? present : "");
    setenv(variable, options, 1);
}

static void run_vireo(int slave)
{
    leave_signals_alone("ASAN_OPTIONS");
    leave_signals_alone("UBSAN_OPTIONS");
    leave_signals_alone("TSAN_OPTIONS");
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        dup2(slave, fd);
    }
    execl(getenv("VIREO"), "vireo", "-accel", "qtest", "-nographic", NULL);
    _exit(127);
}

/* A machine on a new terminal, once it has made it raw. */
static Terminal start(void)
{
    Terminal t;
    struct termios now;
    g_assert_cmpint(openpty(&t.master, &t.slave, NULL, NULL, NULL), ==, 0);
    g_assert_cmpint(tcgetattr(t.slave, &t.before), ==, 0);
    t.pid = fork();
    if (t.pid == 0) {
        run_vireo(t.slave);
    }
    do {
        g_usleep(1000);
        g_assert_cmpint(waitpid(t.pid, NULL, WNOHANG), ==, 0);
        g_assert_cmpint(tcgetattr(t.slave, &now), ==, 0);
    } while (now.c_lflag & (ECHO | ICANON | ISIG));
    return t;
}

static void expect_restored(Terminal *t, int status)
{
    struct termios after;
    int ended;
    g_assert_cmpint(waitpid(t->pid, &ended, 0), ==, t->pid);
    g_assert_cmphex(ended & ~WCOREFLAG, ==, status);
    g_assert_cmpint(tcgetattr(t->slave, &after), ==, 0);
    g_assert_true(same_mode(&after, &t->before));
    g_assert_cmpint(fcntl(t->slave, F_GETFL) & O_NONBLOCK, ==, 0);
    close(t->master);
    close(t->slave);
}

static void test_signals(void)
{
    static const struct {
        int number, status;
    } signals[] = { { SIGINT, 0 },        { SIGTERM, 0 },       { SIGHUP, 0 },
                    { SIGSEGV, SIGSEGV }, { SIGABRT, SIGABRT }, { SIGBUS, SIGBUS } };
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        Terminal t = start();
        g_assert_cmpint(kill(t.pid, signals[i].number), ==, 0);
        expect_restored(&t, signals[i].status);
    }
}

static void test_quit_key(void)
{
    Terminal t = start();
    g_assert_cmpint(write(t.master, "\001x", 2), ==, 2);
    expect_restored(&t, 0);
}

/* Ctrl-C is the guest's under -nographic. */
static void test_ctrl_c_goes_to_the_guest(void)
{
    Terminal t = start();
    g_assert_cmpint(write(t.master, "\003\003\003\001x", 5), ==, 5);
    expect_restored(&t, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/terminal/signals", test_signals);
    g_test_add_func("/terminal/quit-key", test_quit_key);
    g_test_add_func("/terminal/ctrl-c-goes-to-the-guest", test_ctrl_c_goes_to_the_guest);
    return g_test_run();
}
