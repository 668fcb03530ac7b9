/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Socket addresses of the command line: parsing, listening, connecting. */
#include "vmm/chardev/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

typedef struct addrinfo AddrInfo;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AddrInfo, freeaddrinfo)

bool char_address_parse(CharAddress *a, Opts *options, GError **error)
{
    bool ipv4 = true, ipv6 = true;
    *a = (CharAddress){ .tight = true, .family = AF_UNSPEC };
    if (!opts_get_bool(options, "abstract", &a->abstract, error) ||
        !opts_get_bool(options, "tight", &a->tight, error) ||
        !opts_get_bool(options, "ipv4", &ipv4, error) ||
        !opts_get_bool(options, "ipv6", &ipv6, error) ||
        !opts_get_uint(options, "to", 65535, &a->port_to, error)) {
        return false;
    }
    const char *path = opts_get(options, "path");
    const char *host = opts_get(options, "host");
    const char *port = opts_get(options, "port");
    if (path && (host || port)) {
        return error_set(error, "path= (a unix socket) and host=, port= exclude each other");
    }
    if (!path && !port) {
        return error_set(error, "a socket needs path= (unix) or host= and port= (TCP)");
    }
    if (path && strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        return error_set(error, "the unix socket path '%s' is too long: at most %zu bytes", path,
                         sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    }
    if (!ipv4 && !ipv6) {
        return error_set(error, "ipv4=off and ipv6=off leave no protocol");
    }
    /* "ipv4" alone means only IPv4. */
    bool only4 = opts_has(options, "ipv4") && !opts_has(options, "ipv6") && ipv4;
    bool only6 = opts_has(options, "ipv6") && !opts_has(options, "ipv4") && ipv6;
    a->family = only4 || !ipv6 ? AF_INET : only6 || !ipv4 ? AF_INET6 : AF_UNSPEC;
    a->path = g_strdup(path);
    a->host = g_strdup(path ? NULL : host ? host : "");
    a->port = g_strdup(port);
    return true;
}

void char_address_clear(CharAddress *a)
{
    struct stat st;
    if (a->bound && lstat(a->path, &st) == 0 && st.st_dev == a->device && st.st_ino == a->inode) {
        unlink(a->path);
    }
    g_free(a->path);
    g_free(a->host);
    g_free(a->port);
    *a = (CharAddress){ 0 };
}

static socklen_t unix_address(const CharAddress *a, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    size_t len = strlen(a->path);
    if (!a->abstract) {
        memcpy(out->sun_path, a->path, len);
        return offsetof(struct sockaddr_un, sun_path) + len + 1;
    }
    memcpy(out->sun_path + 1, a->path, MIN(len, sizeof(out->sun_path) - 1));
    return a->tight ? offsetof(struct sockaddr_un, sun_path) + 1 + len : sizeof(*out);
}

static int close_with_error(int fd, GError **error, const char *what, const char *where)
{
    int errnum = errno;
    if (fd >= 0) {
        close(fd);
    }
    error_set_errno(error, errnum, "cannot %s '%s'", what, where);
    return -1;
}

/* Removes a socket that an ended process left. A symbolic link, or a file that is no socket, is
 * somebody else's. */
static bool remove_stale(const char *path, GError **error)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        return errno == ENOENT ||
               error_set_errno(error, errno, "cannot look at the socket path '%s'", path);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return error_set(error,
                         "'%s' exists and is not a socket%s: remove it, or name another path", path,
                         S_ISLNK(st.st_mode) ? " but a symbolic link" : "");
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        return error_set_errno(error, errno, "cannot replace the old socket '%s'", path);
    }
    return true;
}

static int listen_unix(CharAddress *a, GError **error)
{
    struct sockaddr_un un;
    struct stat st;
    socklen_t len = unix_address(a, &un);
    if (!a->abstract && !remove_stale(a->path, error)) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&un, len) < 0 || listen(fd, 1) < 0) {
        return close_with_error(fd, error, "listen on unix socket", a->path);
    }
    if (!a->abstract && lstat(a->path, &st) == 0) {
        a->bound = true;
        a->device = st.st_dev;
        a->inode = st.st_ino;
    }
    return fd;
}

static AddrInfo *resolve(const char *host, const char *port, int family, int type, bool passive,
                         GError **error)
{
    AddrInfo hints = { .ai_family = family,
                       .ai_socktype = type,
                       .ai_flags = passive ? AI_PASSIVE : AI_ADDRCONFIG };
    AddrInfo *list = NULL;
    int failure = getaddrinfo(host && *host ? host : NULL, port, &hints, &list);
    if (failure == EAI_ADDRFAMILY || failure == EAI_NONAME) {
        hints.ai_flags &= ~AI_ADDRCONFIG;
        failure = getaddrinfo(host && *host ? host : NULL, port, &hints, &list);
    }
    if (failure) {
        error_set(error, "cannot resolve '%s:%s': %s", host ? host : "", port,
                  gai_strerror(failure));
        return NULL;
    }
    return list;
}

static int listen_one(const AddrInfo *info, unsigned port)
{
    struct sockaddr_storage address;
    int on = 1;
    memcpy(&address, info->ai_addr, info->ai_addrlen);
    if (info->ai_family == AF_INET6) {
        ((struct sockaddr_in6 *)&address)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)&address)->sin_port = htons(port);
    }
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, info->ai_addrlen) < 0 || listen(fd, 1) < 0) {
        int errnum = errno;
        close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

static int listen_inet(const CharAddress *a, GError **error)
{
    g_autoptr(AddrInfo) list = resolve(a->host, a->port, a->family, SOCK_STREAM, true, error);
    if (!list) {
        return -1;
    }
    unsigned first = ntohs(list->ai_family == AF_INET6
                               ? ((struct sockaddr_in6 *)list->ai_addr)->sin6_port
                               : ((struct sockaddr_in *)list->ai_addr)->sin_port);
    int errnum = EADDRINUSE;
    for (unsigned port = first; port <= MAX(first, a->port_to); port++) {
        for (const AddrInfo *i = list; i; i = i->ai_next) {
            int fd = listen_one(i, port);
            if (fd >= 0) {
                return fd;
            }
            errnum = errno;
        }
    }
    error_set_errno(error, errnum, "cannot listen on '%s:%s'", a->host, a->port);
    return -1;
}

int char_address_listen(CharAddress *a, GError **error)
{
    return a->path ? listen_unix(a, error) : listen_inet(a, error);
}

static int connect_one(int family, const struct sockaddr *address, socklen_t len, bool *in_progress)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    *in_progress = false;
    if (connect(fd, address, len) < 0) {
        if (errno == EINPROGRESS) {
            *in_progress = true;
            return fd;
        }
        int errnum = errno;
        close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

int char_address_connect(const CharAddress *a, bool *in_progress, GError **error)
{
    int fd = -1;
    if (a->path) {
        struct sockaddr_un un;
        socklen_t len = unix_address(a, &un);
        fd = connect_one(AF_UNIX, (struct sockaddr *)&un, len, in_progress);
        return fd >= 0 ? fd : close_with_error(-1, error, "connect to unix socket", a->path);
    }
    g_autoptr(AddrInfo) list = resolve(a->host, a->port, a->family, SOCK_STREAM, false, error);
    if (!list) {
        return -1;
    }
    for (const AddrInfo *i = list; i && fd < 0; i = i->ai_next) {
        fd = connect_one(i->ai_family, i->ai_addr, i->ai_addrlen, in_progress);
    }
    if (fd < 0) {
        error_set_errno(error, errno, "cannot connect to '%s:%s'", a->host, a->port);
    }
    return fd;
}

char *char_address_text(const struct sockaddr_storage *address, socklen_t len)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (address->ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)address;
        size_t room = len - MIN(len, offsetof(struct sockaddr_un, sun_path));
        bool abstract = room > 1 && !un->sun_path[0];
        return g_strdup_printf("unix:%.*s", (int)(abstract ? room - 1 : room),
                               abstract ? un->sun_path + 1 : un->sun_path);
    }
    if (getnameinfo((const struct sockaddr *)address, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        return g_strdup("?");
    }
    bool v6 = address->ss_family == AF_INET6;
    return g_strdup_printf("%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

char *char_address_configured(const CharAddress *a)
{
    if (a->path) {
        return g_strdup_printf("unix:%s", a->path);
    }
    bool v6 = strchr(a->host, ':');
    return g_strdup_printf("tcp:%s%s%s:%s", v6 ? "[" : "", a->host, v6 ? "]" : "", a->port);
}

int char_address_datagram(const char *host, const char *port, const char *local_host,
                          const char *local_port, int family, GError **error)
{
    g_autoptr(AddrInfo) remote =
        resolve(host && *host ? host : "localhost", port, family, SOCK_DGRAM, false, error);
    if (!remote) {
        return -1;
    }
    g_autoptr(AddrInfo) local = resolve(local_host, local_port ? local_port : "0",
                                        remote->ai_family, SOCK_DGRAM, true, error);
    if (!local) {
        return -1;
    }
    int on = 1;
    int fd = socket(remote->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    }
    if (fd < 0 || bind(fd, local->ai_addr, local->ai_addrlen) < 0) {
        return close_with_error(fd, error, "bind UDP port", local_port ? local_port : "0");
    }
    if (connect(fd, remote->ai_addr, remote->ai_addrlen) < 0) {
        return close_with_error(fd, error, "send UDP to port", port);
    }
    return fd;
}
