/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo console: the terminal, or standard input and output, and a machine's serial console. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>
#include "vmm/chardev/tty.h"
#include "vmm/client/commands.h"

#define LEAVE_KEY 0x1d /* Ctrl-] */
#define CHUNK     4096

typedef struct Session {
    int socket;
    bool terminal; /* standard input is one */
    bool input_over, left;
    uint8_t out[CHUNK]; /* typed, not sent yet */
    size_t out_len;
} Session;

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EAGAIN) { /* the terminal was left so by another program */
            struct pollfd pfd = { .fd = fd, .events = POLLOUT };
            poll(&pfd, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            return false;
        }
        data += MAX(n, 0);
        len -= MAX(n, 0);
    }
    return true;
}

static void take_input(Session *s)
{
    ssize_t n = read(STDIN_FILENO, s->out, sizeof(s->out));
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
        s->input_over = true;
        s->left = s->terminal; /* it was closed */
        return;
    }
    const uint8_t *key = s->terminal && n > 0 ? memchr(s->out, LEAVE_KEY, n) : NULL;
    s->left = key != NULL;
    s->out_len = key ? (size_t)(key - s->out) : (size_t)MAX(n, 0);
}

/* False when the machine is gone. */
static bool send_input(Session *s)
{
    ssize_t n = send(s->socket, s->out, s->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    s->out_len -= n;
    memmove(s->out, s->out + n, s->out_len);
    return true;
}

/* False when the machine, or the reader of our output, is gone. */
static bool take_output(Session *s)
{
    uint8_t data[CHUNK];
    ssize_t n = recv(s->socket, data, sizeof(data), MSG_DONTWAIT);
    if (n > 0) {
        return write_all(STDOUT_FILENO, data, n);
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Until the user leaves (true) or the machine ends. */
static bool talk(Session *s, int signals)
{
    for (;;) {
        bool reads = !s->input_over && !s->out_len;
        struct pollfd fds[] = {
            { .fd = s->socket, .events = POLLIN | (s->out_len ? POLLOUT : 0) },
            { .fd = reads ? STDIN_FILENO : -1, .events = POLLIN },
            { .fd = signals, .events = POLLIN },
        };
        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0) {
            continue;
        }
        if ((fds[0].revents & ~POLLOUT) && !take_output(s)) {
            return false;
        }
        if (fds[1].revents) {
            take_input(s);
        }
        if (s->out_len && !send_input(s)) {
            return false;
        }
        if (s->left || fds[2].revents) {
            return true;
        }
    }
}

/* A signal ends the loop, so that the terminal is put back. */
static int block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static bool run(Session *s)
{
    struct termios before, raw;
    int signals = block_signals();
    s->terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    if (s->terminal) {
        raw = before;
        tty_make_raw(&raw, false);
        raw.c_oflag &= ~(tcflag_t)OPOST; /* all output is the guest's, ready for a terminal */
        tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    }
    bool left = talk(s, signals);
    if (s->terminal) {
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    }
    close(signals);
    return left;
}

int client_run_console(const ClientArgs *args, GError **error)
{
    g_autoptr(RunEntry) entry = rundir_find(args->name, error);
    if (!entry) {
        return 1;
    }
    GError *cause = NULL;
    Session s = { 0 };
    s.socket = client_connect(entry, RUNDIR_CONSOLE,
                              g_get_monotonic_time() + CLIENT_TIMEOUT_MS * 1000, &cause);
    if (s.socket < 0) {
        if (faccessat(entry->dir, RUNDIR_CONSOLE, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
            g_clear_error(&cause);
            error_set(error, "machine '%s' has no console here: its serial port leads elsewhere",
                      entry->name);
        } else {
            g_propagate_error(error, cause);
        }
        return 1;
    }
    if (isatty(STDIN_FILENO)) {
        report_info("the console of '%s'; Ctrl-] leaves", entry->name);
    }
    bool left = run(&s);
    close(s.socket);
    if (isatty(STDIN_FILENO)) {
        report_info("%s '%s'", left ? "left the console of" : "the console was closed by",
                    entry->name);
    }
    return 0;
}
