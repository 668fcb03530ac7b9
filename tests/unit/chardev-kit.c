/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/chardev-kit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static size_t listener_can_read(void *opaque)
{
    return ((Listener *)opaque)->room;
}

static void listener_read(void *opaque, const uint8_t *data, size_t len)
{
    Listener *l = opaque;
    g_assert_cmpuint(len, <=, l->room);
    g_string_append_len(l->got, (const char *)data, len);
    l->room -= len;
}

static void listener_event(void *opaque, CharEvent event)
{
    Listener *l = opaque;
    l->opened += event == CHAR_EVENT_OPENED;
    l->closed += event == CHAR_EVENT_CLOSED;
    l->breaks += event == CHAR_EVENT_BREAK;
    l->mux_in += event == CHAR_EVENT_MUX_IN;
    l->mux_out += event == CHAR_EVENT_MUX_OUT;
}

static void listener_writable(void *opaque)
{
    ((Listener *)opaque)->writable++;
}

const CharFrontendOps listener_ops = {
    .can_read = listener_can_read,
    .read = listener_read,
    .event = listener_event,
    .writable = listener_writable,
    .changeable = true,
};

Listener *listener_new(Chardev *c)
{
    g_autoptr(GError) error = NULL;
    Listener *l = g_new0(Listener, 1);
    l->got = g_string_new(NULL);
    l->room = 1 << 20;
    l->fe = char_frontend_attach(c, &listener_ops, l, &error);
    g_assert_no_error(error);
    g_assert_nonnull(l->fe);
    return l;
}

void listener_free(Listener *l)
{
    char_frontend_detach(l->fe);
    g_string_free(l->got, TRUE);
    g_free(l);
}

gboolean chardev_kit_tick(void *opaque)
{
    return G_SOURCE_CONTINUE;
}

void run_pending(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

Chardev *make(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) o = opts_parse(text, "backend", &error);
    g_assert_no_error(error);
    Chardev *c = chardev_new(o, &error);
    g_assert_no_error(error);
    g_assert_nonnull(c);
    return c;
}

void assert_refused(const char *text, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) o = opts_parse(text, "backend", &error);
    g_assert_no_error(error);
    g_assert_null(chardev_new(o, &error));
    g_assert_nonnull(error);
    if (!strstr(error->message, expected)) {
        g_error("'%s' does not say '%s'", error->message, expected);
    }
    g_assert_null(chardev_find("c"));
    g_assert_null(chardev_find("c-base"));
}

void drop(const char *id)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(chardev_delete(id, &error));
    g_assert_no_error(error);
}

void send_text(Listener *l, const char *text)
{
    g_assert_cmpuint(char_write(l->fe, (const uint8_t *)text, strlen(text)), ==, strlen(text));
}

/* ---- A temporary folder ---- */

static char *folder;

char *in_folder(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

int connect_unix(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

void expect_bytes(int fd, const void *bytes, size_t len)
{
    g_autofree char *got = g_malloc0(len + 1);
    size_t have = 0;
    while (have < len) {
        run_pending();
        ssize_t n = recv(fd, got + have, len - have, MSG_DONTWAIT);
        if (n < 0 && errno == ENOTSOCK) {
            n = read(fd, got + have, len - have);
        }
        g_assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        have += MAX(n, 0);
        g_usleep(n > 0 ? 0 : 1000);
    }
    g_assert_cmpmem(got, len, bytes, len);
}

Chardev *unix_server(const char *name, const char *more, char **path)
{
    *path = in_folder(name);
    g_autofree char *text =
        g_strdup_printf("socket,id=c,path=%s,server=on,wait=off%s", *path, more);
    return make(text);
}

int chardev_kit_run(void)
{
    folder = g_dir_make_tmp("vireo-chardev-XXXXXX", NULL);
    int status = g_test_run();
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", folder);
    status |= system(remove);
    g_free(folder);
    return status;
}
