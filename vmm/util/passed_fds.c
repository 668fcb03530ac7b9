/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/util/passed_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/cli/opts.h"

static PassedFds *current;

static void close_value(void *fd)
{
    close(GPOINTER_TO_INT(fd));
}

void passed_fds_init(PassedFds *fds, int (*next)(void *), void *opaque)
{
    *fds = (PassedFds){
        .names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_value),
        .next = next,
        .opaque = opaque,
    };
}

void passed_fds_clear(PassedFds *fds)
{
    g_clear_pointer(&fds->names, g_hash_table_unref);
}

PassedFds *passed_fds_set_current(PassedFds *fds)
{
    PassedFds *before = current;
    current = fds;
    return before;
}

int passed_fds_take(GError **error)
{
    int fd = current ? current->next(current->opaque) : -1;
    if (fd < 0) {
        error_set(error, "no file descriptor came with the command: it has to be sent along with "
                         "it, as SCM_RIGHTS of a unix socket");
    }
    return fd;
}

bool passed_fds_name(const char *name, int fd, GError **error)
{
    if (!current || g_ascii_isdigit(name[0])) {
        close(fd);
        return error_set(error, "fdname='%s': a name must not begin with a digit", name);
    }
    g_hash_table_insert(current->names, g_strdup(name), GINT_TO_POINTER(fd));
    return true;
}

bool passed_fds_close(const char *name, GError **error)
{
    return (current && g_hash_table_remove(current->names, name)) ||
           error_set(error, "there is no file descriptor named '%s' (getfd makes them)", name);
}

static int take_named(const char *name, GError **error)
{
    void *key, *value;
    if (!g_hash_table_steal_extended(current->names, name, &key, &value)) {
        error_set(error, "there is no file descriptor named '%s' (getfd makes them)", name);
        return -1;
    }
    g_free(key);
    return GPOINTER_TO_INT(value);
}

int passed_fd_param(const char *text, bool *named, GError **error)
{
    uint64_t fd;
    *named = current && !g_ascii_isdigit(text[0]);
    if (*named) {
        return take_named(text, error);
    }
    if (!parse_uint(text, G_MAXINT, &fd)) {
        error_set(error, "fd='%s' is not a descriptor number", text);
        return -1;
    }
    int flags = fcntl((int)fd, F_GETFD);
    if (flags < 0 || flags & FD_CLOEXEC) {
        error_set(error, "fd=%s is not a descriptor that Vireo was started with, or is in use",
                  text);
        return -1;
    }
    return (int)fd;
}

static bool set_up_socket(int fd, const char *text, bool listening, GError **error)
{
    int listens = 0;
    socklen_t len = sizeof(listens);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0) {
        return error_set_errno(error, errno, "fd=%s is not a socket", text);
    }
    if (!!listens != listening) {
        return error_set(error,
                         listening ? "fd=%s is not a listening socket, which a server needs"
                                   : "fd=%s is a listening socket, which is for servers "
                                     "(server=on)",
                         text);
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        return error_set_errno(error, errno, "fd=%s", text);
    }
    return true;
}

int passed_socket_param(const char *text, bool listening, GError **error)
{
    bool named;
    int fd = passed_fd_param(text, &named, error);
    if (fd >= 0 && !set_up_socket(fd, text, listening, error)) {
        if (named) {
            close(fd);
        }
        return -1;
    }
    return fd;
}
