/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The character back end "pty": a pseudo terminal of the host. While nobody has its slave side open
 * the master reports a hang-up: output is dropped, and the state is looked at once a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <string.h>
#include <unistd.h>
#include "vmm/chardev/internal.h"
#include "vmm/chardev/tty.h"

#define PTY_POLL_MS 1000

typedef struct PtyChardev {
    Chardev base;
    int master; /* 0: none */
    GSource *timer;
    char *name;
    char *link; /* path=: a symbolic link to the slave */
} PtyChardev;

static void pty_look(PtyChardev *p);

static gboolean pty_timer(void *opaque)
{
    PtyChardev *p = opaque;
    chardev_drop_source(&p->timer);
    pty_look(p);
    return G_SOURCE_REMOVE;
}

static void pty_look(PtyChardev *p)
{
    struct pollfd pfd = { .fd = p->master, .events = POLLIN };
    if (poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP)) {
        chardev_stream_set(&p->base, p->master, p->master);
        chardev_set_connected(&p->base, true);
    } else {
        p->timer = chardev_call_after(PTY_POLL_MS, pty_timer, p);
    }
}

static void pty_hangup(Chardev *c)
{
    PtyChardev *p = (PtyChardev *)c;
    chardev_stream_clear(c);
    chardev_set_connected(c, false);
    chardev_drop_source(&p->timer);
    p->timer = chardev_call_after(PTY_POLL_MS, pty_timer, p);
}

static bool pty_make_link(PtyChardev *p, const char *link, GError **error)
{
    if (!link) {
        return true;
    }
    if (symlink(p->name, link) < 0) {
        return error_set_errno(error, errno, "chardev '%s': cannot make the link '%s' to '%s'",
                               p->base.id, link, p->name);
    }
    p->link = g_strdup(link);
    return true;
}

static bool pty_open(Chardev *c, Opts *options, GError **error)
{
    PtyChardev *p = (PtyChardev *)c;
    struct termios mode;
    char name[64];
    int slave;
    const char *link = opts_get(options, "path");
    if (openpty(&p->master, &slave, NULL, NULL, NULL) < 0) {
        p->master = 0;
        return error_set_errno(error, errno, "chardev '%s': cannot make a pseudo terminal", c->id);
    }
    if (tcgetattr(slave, &mode) == 0) {
        cfmakeraw(&mode);
        tcsetattr(slave, TCSAFLUSH, &mode);
    }
    bool named = ttyname_r(slave, name, sizeof(name)) == 0;
    close(slave);
    if (!named || !fd_set_nonblocking(p->master) || fcntl(p->master, F_SETFD, FD_CLOEXEC) < 0) {
        return error_set_errno(error, errno, "chardev '%s': cannot set up the pseudo terminal",
                               c->id);
    }
    p->name = g_strdup(name);
    if (!pty_make_link(p, link, error)) {
        return false;
    }
    /* Scripts and libvirt look for this line, as QEMU prints it. */
    g_autofree char *line =
        g_strdup_printf("char device redirected to %s (label %s)\n", name, c->id);
    ssize_t written = write(STDERR_FILENO, line, strlen(line));
    (void)written;
    c->watch_hangup = true;
    pty_look(p);
    return true;
}

static void pty_close(Chardev *c)
{
    PtyChardev *p = (PtyChardev *)c;
    chardev_drop_source(&p->timer);
    chardev_stream_clear(c);
    if (p->link) {
        unlink(p->link);
    }
    if (p->master) {
        close(p->master);
    }
    g_free(p->link);
    g_free(p->name);
}

static char *pty_filename(const Chardev *c)
{
    return g_strdup_printf("pty:%s", ((const PtyChardev *)c)->name);
}

static const char *const pty_options[] = { "path", NULL };

const ChardevClass chardev_pty_class = {
    .name = "pty",
    .desc = "a new pseudo terminal, whose name is printed (path=: a link to it)",
    .size = sizeof(PtyChardev),
    .options = pty_options,
    .open = pty_open,
    .close = pty_close,
    .hangup = pty_hangup,
    .filename = pty_filename,
};
