/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The character back end "stdio": the terminal (or pipes) that the process was started on. The
 * terminal is raw while it is open and is restored however the process ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/chardev/internal.h"
#include "vmm/chardev/tty.h"

typedef struct StdioChardev {
    Chardev base;
    int in, out; /* 0: not open */
} StdioChardev;

/* Read by signal handlers: written before the flag is set. */
static struct termios saved_mode, raw_mode;
static volatile sig_atomic_t terminal_changed;
static int saved_flags[2] = { -1, -1 }; /* of descriptors 0 and 1, where they had to be changed */
static StdioChardev *stdio_open_now;

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

void chardev_restore_terminal(void)
{
    if (terminal_changed) {
        terminal_changed = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &saved_mode);
    }
    for (int fd = 0; fd < 2; fd++) {
        if (saved_flags[fd] >= 0) {
            fcntl(fd, F_SETFL, saved_flags[fd]);
            saved_flags[fd] = -1;
        }
    }
}

/* The default action follows when the handler returns: it was reset by SA_RESETHAND. */
static void on_fatal_signal(int number)
{
    chardev_restore_terminal();
    raise(number);
}

/* After Ctrl-Z and fg the shell has put its own mode back. */
static void on_continue(int number)
{
    int keep = errno;
    if (terminal_changed) {
        tcsetattr(STDIN_FILENO, TCSANOW, &raw_mode);
    }
    errno = keep;
}

static void handle_default(int number, void (*handler)(int), int flags)
{
    struct sigaction old, new = { .sa_handler = handler, .sa_flags = flags };
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_DFL) {
        sigaction(number, &new, NULL);
    }
}

static void install_restorers(void)
{
    static bool installed;
    if (installed) {
        return;
    }
    installed = true;
    atexit(chardev_restore_terminal);
    for (size_t i = 0; i < G_N_ELEMENTS(fatal_signals); i++) {
        handle_default(fatal_signals[i], on_fatal_signal, SA_RESETHAND);
    }
    handle_default(SIGCONT, on_continue, SA_RESTART);
}

static void terminal_raw(bool keep_signals)
{
    if (tcgetattr(STDIN_FILENO, &saved_mode) < 0) {
        return; /* not a terminal */
    }
    install_restorers();
    raw_mode = saved_mode;
    tty_make_raw(&raw_mode, keep_signals);
    terminal_changed = 1;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw_mode);
}

/* A non-blocking descriptor for standard input or output. O_NONBLOCK belongs to the open file,
 * which the shell and stderr may share: terminals and FIFOs are opened anew; where that is refused
 * the flag is set and put back at exit. Files never block. */
static int stdio_fd(int fd, int mode, bool *is_socket)
{
    struct stat st;
    *is_socket = false;
    if (fstat(fd, &st) < 0) {
        return -1;
    }
    if (S_ISSOCK(st.st_mode)) {
        *is_socket = true;
        return fcntl(fd, F_DUPFD_CLOEXEC, 3);
    }
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
        char path[32];
        g_snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int own = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own >= 0) {
            return own;
        }
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && !(flags & O_NONBLOCK)) {
            install_restorers();
            saved_flags[fd] = flags;
            fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        }
    }
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static bool stdio_open(Chardev *c, Opts *options, GError **error)
{
    StdioChardev *s = (StdioChardev *)c;
    bool keep_signals = true, in_socket;
    if (!opts_get_bool(options, "signal", &keep_signals, error)) {
        return false;
    }
    if (stdio_open_now) {
        return error_set(
            error,
            "chardev '%s': stdio is used by chardev '%s' already; -serial mon:stdio or "
            "mux=on shares it",
            c->id, stdio_open_now->base.id);
    }
    int in = stdio_fd(STDIN_FILENO, O_RDONLY, &in_socket);
    int out = stdio_fd(STDOUT_FILENO, O_WRONLY, &c->out_socket);
    s->in = MAX(in, 0);
    s->out = MAX(out, 0);
    stdio_open_now = s;
    terminal_raw(keep_signals);
    chardev_stream_set(c, in, out);
    chardev_set_connected(c, true);
    return true;
}

static void stdio_close(Chardev *c)
{
    StdioChardev *s = (StdioChardev *)c;
    if (stdio_open_now != s) {
        return;
    }
    chardev_stream_clear(c);
    stdio_open_now = NULL;
    chardev_restore_terminal();
    if (s->in) {
        close(s->in);
    }
    if (s->out) {
        close(s->out);
    }
}

/* End of input (a pipe's writer left, </dev/null): output goes on. */
static void stdio_input_over(Chardev *c)
{
    c->in_fd = -1;
}

static const char *const stdio_options[] = { "signal", NULL };

const ChardevClass chardev_stdio_class = {
    .name = "stdio",
    .desc = "the terminal that Vireo was started on (signal=off: Ctrl-C goes to the guest)",
    .size = sizeof(StdioChardev),
    .options = stdio_options,
    .open = stdio_open,
    .close = stdio_close,
    .hangup = stdio_input_over,
};
