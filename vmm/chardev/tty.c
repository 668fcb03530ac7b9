/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The character back end "serial" (alias tty): a terminal device or serial port of the host. */
#include "vmm/chardev/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "vmm/chardev/internal.h"
#include "vmm/util/fdset.h"

typedef struct TtyChardev {
    Chardev base;
    int fd; /* 0: none */
    struct termios saved;
    char *path;
} TtyChardev;

void tty_make_raw(struct termios *mode, bool keep_signals)
{
    tcflag_t output = mode->c_oflag & (OPOST | ONLCR);
    tcflag_t signals = mode->c_lflag & ISIG;
    cfmakeraw(mode);
    mode->c_oflag |= output;
    if (keep_signals) {
        mode->c_lflag |= signals;
    }
    mode->c_cc[VMIN] = 1;
    mode->c_cc[VTIME] = 0;
}

static const struct {
    unsigned baud;
    speed_t speed;
} speeds[] = {
    { 50, B50 },         { 75, B75 },         { 110, B110 },       { 134, B134 },
    { 150, B150 },       { 200, B200 },       { 300, B300 },       { 600, B600 },
    { 1200, B1200 },     { 1800, B1800 },     { 2400, B2400 },     { 4800, B4800 },
    { 9600, B9600 },     { 19200, B19200 },   { 38400, B38400 },   { 57600, B57600 },
    { 115200, B115200 }, { 230400, B230400 }, { 460800, B460800 }, { 921600, B921600 },
};

/* The next standard speed at or above what the guest's divisor gives. */
static speed_t speed_of(unsigned baud)
{
    for (size_t i = 0; i < G_N_ELEMENTS(speeds); i++) {
        if (baud <= speeds[i].baud) {
            return speeds[i].speed;
        }
    }
    return B921600;
}

static void serial_set_line(Chardev *c, unsigned baud, unsigned data_bits, unsigned stop_bits,
                            char parity, bool break_on)
{
    static const tcflag_t sizes[] = { CS5, CS6, CS7, CS8 };
    TtyChardev *t = (TtyChardev *)c;
    struct termios mode;
    if (tcgetattr(t->fd, &mode) < 0) {
        return;
    }
    cfsetspeed(&mode, speed_of(baud));
    mode.c_cflag &= ~(CSIZE | CSTOPB | PARENB | PARODD);
    mode.c_cflag |= CREAD | CLOCAL | sizes[CLAMP(data_bits, 5, 8) - 5];
    if (stop_bits == 2) {
        mode.c_cflag |= CSTOPB;
    }
    if (parity == 'E' || parity == 'O') {
        mode.c_cflag |= PARENB | (parity == 'O' ? PARODD : 0);
    }
    tcsetattr(t->fd, TCSANOW, &mode);
    ioctl(t->fd, break_on ? TIOCSBRK : TIOCCBRK);
}

static bool serial_open(Chardev *c, Opts *options, GError **error)
{
    TtyChardev *t = (TtyChardev *)c;
    const char *path = opts_get(options, "path");
    if (!path) {
        return error_set(error, "chardev '%s': serial needs path=", c->id);
    }
    int fd = fdset_open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0) {
        fdset_open_failed(error, errno, path, O_RDWR);
        g_prefix_error(error, "chardev '%s': ", c->id);
        return false;
    }
    struct termios mode;
    if (tcgetattr(fd, &mode) < 0) {
        int errnum = errno;
        fdset_close(fd);
        return error_set_errno(error, errnum,
                               "chardev '%s': '%s' is not a terminal or serial port; file= and "
                               "pipe= take other files",
                               c->id, path);
    }
    t->fd = fd;
    t->saved = mode;
    t->path = g_strdup(path);
    cfmakeraw(&mode);
    cfsetspeed(&mode, B115200);
    mode.c_cflag |= CREAD | CLOCAL;
    tcsetattr(fd, TCSANOW, &mode);
    chardev_stream_set(c, fd, fd);
    chardev_set_connected(c, true);
    return true;
}

static void serial_close(Chardev *c)
{
    TtyChardev *t = (TtyChardev *)c;
    chardev_stream_clear(c);
    if (t->fd) {
        tcsetattr(t->fd, TCSANOW, &t->saved);
        fdset_close(t->fd);
    }
    g_free(t->path);
}

static char *serial_filename(const Chardev *c)
{
    return g_strdup(((const TtyChardev *)c)->path);
}

/* The line was hung up or unplugged: no more bytes either way. */
static void serial_hangup(Chardev *c)
{
    chardev_stream_clear(c);
    chardev_set_connected(c, false);
}

static const char *const serial_options[] = { "path", NULL };

const ChardevClass chardev_serial_class = {
    .name = "serial",
    .desc = "a serial port or terminal of the host (path=; alias tty)",
    .size = sizeof(TtyChardev),
    .options = serial_options,
    .open = serial_open,
    .close = serial_close,
    .hangup = serial_hangup,
    .filename = serial_filename,
    .set_line = serial_set_line,
};
