/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The character back ends on files of the host: file, and pipe (FIFOs). */
#include "vmm/chardev/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/util/fdset.h"

typedef struct FileChardev {
    Chardev base;
    int in, out;
} FileChardev;

static void file_close(Chardev *c)
{
    FileChardev *f = (FileChardev *)c;
    int in = f->in, out = f->out;
    chardev_stream_clear(c);
    if (in > 0) {
        fdset_close(in);
    }
    if (out > 0 && out != in) {
        fdset_close(out);
    }
    f->in = f->out = 0;
}

static int open_path(const char *path, int flags, GError **error)
{
    int fd = fdset_open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (fd < 0) {
        fdset_open_failed(error, errno, path, flags);
    }
    return fd;
}

/* A file's end is not a hang-up: the input is over, the output goes on. */
static void input_over(Chardev *c)
{
    c->in_fd = -1;
}

static bool file_open(Chardev *c, Opts *options, GError **error)
{
    FileChardev *f = (FileChardev *)c;
    const char *path = opts_get(options, "path");
    const char *input = opts_get(options, "input-path");
    bool append = false;
    if (!path) {
        return error_set(error, "chardev '%s': file needs path=", c->id);
    }
    if (!opts_get_bool(options, "append", &append, error)) {
        return false;
    }
    f->out = open_path(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), error);
    if (f->out < 0) {
        return false;
    }
    if (input) {
        f->in = open_path(input, O_RDONLY, error);
        if (f->in < 0) {
            return false;
        }
    }
    chardev_stream_set(c, input ? f->in : -1, f->out);
    chardev_set_connected(c, true);
    return true;
}

static const char *const file_options[] = { "path", "input-path", "append", NULL };

const ChardevClass chardev_file_class = {
    .name = "file",
    .desc = "writes to a file (path=, append=on, input-path=)",
    .size = sizeof(FileChardev),
    .options = file_options,
    .open = file_open,
    .close = file_close,
    .hangup = input_over,
};

/* PATH.in and PATH.out where both exist, else PATH both ways. FIFOs are opened for both directions,
 * so that opening does not wait for the other side and its leaving is not an end. */
static bool pipe_open(Chardev *c, Opts *options, GError **error)
{
    FileChardev *f = (FileChardev *)c;
    const char *path = opts_get(options, "path");
    if (!path) {
        return error_set(error, "chardev '%s': pipe needs path=", c->id);
    }
    g_autofree char *in = g_strconcat(path, ".in", NULL);
    g_autofree char *out = g_strconcat(path, ".out", NULL);
    int in_fd = open(in, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int out_fd = open(out, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (in_fd < 0 || out_fd < 0) {
        if (in_fd >= 0) {
            close(in_fd);
        }
        if (out_fd >= 0) {
            close(out_fd);
        }
        in_fd = out_fd = open_path(path, O_RDWR, error);
        if (in_fd < 0) {
            g_prefix_error(
                error, "chardev '%s': neither '%s' and '%s' nor the path itself: ", c->id, in, out);
            return false;
        }
    }
    f->in = in_fd;
    f->out = out_fd;
    chardev_stream_set(c, in_fd, out_fd);
    chardev_set_connected(c, true);
    return true;
}

static const char *const pipe_options[] = { "path", NULL };

const ChardevClass chardev_pipe_class = {
    .name = "pipe",
    .desc = "two FIFOs, PATH.in and PATH.out (path=)",
    .size = sizeof(FileChardev),
    .options = pipe_options,
    .open = pipe_open,
    .close = file_close,
    .hangup = input_over,
};
