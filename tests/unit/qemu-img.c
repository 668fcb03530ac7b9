/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See qemu-img.h. */
#include "tests/unit/qemu-img.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

bool qemu_is_here(void)
{
    g_autofree char *img = g_find_program_in_path("qemu-img");
    g_autofree char *io = g_find_program_in_path("qemu-io");
    return img && io;
}

static int run_line(const char *folder, const char *line, char **out)
{
    const char *argv[] = { "/bin/sh", "-c", line, NULL };
    g_autofree char *text = NULL, *errors = NULL;
    g_autoptr(GError) error = NULL;
    int status;
    g_spawn_sync(folder, (char **)argv, NULL, 0, NULL, NULL, &text, &errors, &status, &error);
    g_assert_no_error(error);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code) {
        g_test_message("%s: %d\n%s%s", line, code, text, errors);
    }
    if (out) {
        *out = g_steal_pointer(&text);
    }
    return code;
}

int command_run(const char *folder, char **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    return run_line(folder, line, out);
}

char *command_output(const char *folder, const char *format, ...)
{
    va_list args;
    char *out = NULL;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    if (run_line(folder, line, &out)) {
        g_error("%s: it failed", line);
    }
    return out;
}

void image_wait_unlocked(const char *path)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    for (;;) {
        struct flock lock = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 200
        };
        g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &lock), ==, 0);
        if (lock.l_type == F_UNLCK) {
            break;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    close(fd);
}

int qemu_img_check(const char *path)
{
    return command_run(NULL, NULL, "qemu-img check -q -f qcow2 '%s'", path);
}

void qemu_img_judge(const char *path, const void *data, gsize bytes)
{
    g_autofree char *raw = g_strdup_printf("%s.model", path);
    g_assert_cmpint(qemu_img_check(path), ==, 0);
    g_assert_true(g_file_set_contents(raw, data, (gssize)bytes, NULL));
    g_assert_cmpint(
        command_run(NULL, NULL, "qemu-img compare -q -f qcow2 -F raw '%s' '%s'", path, raw), ==, 0);
    unlink(raw);
}
