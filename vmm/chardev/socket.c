/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The character back end "socket": unix and TCP, server and client, telnet. A server has one client
 * at a time; the next ones wait in the listen queue until it leaves.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "vmm/chardev/address.h"
#include "vmm/chardev/internal.h"
#include "vmm/chardev/telnet.h"
#include "vmm/util/passed_fds.h"

#define SOCKET_MAX_FDS     16  /* passed and not yet taken */
#define MESSAGE_MAX_FDS    253 /* of one message: the kernel's SCM_MAX_FD */
#define CONNECT_TIMEOUT_MS 30000
#define RETRY_MS           1000

typedef struct SocketChardev {
    Chardev base;
    CharAddress address;
    bool is_set_up; /* the descriptors below are valid or -1 */
    bool server, telnet, delay;
    uint64_t reconnect_ms;
    int listen_fd, fd, connecting_fd;
    GSource *listen_source, *connecting_source, *timer;
    char *local, *peer; /* of the connection */
    TelnetParser telnet_in;
    int fds[SOCKET_MAX_FDS];
    unsigned fd_count;
} SocketChardev;

static void socket_listen_on(SocketChardev *s);
static void socket_connect_later(SocketChardev *s);

/* ---- Data ---- */

/* Length of data up to the next IAC. */
static size_t plain_run(const uint8_t *data, size_t len)
{
    const uint8_t *iac = memchr(data, TELNET_IAC, len);
    return iac ? (size_t)(iac - data) : len;
}

/* IAC is sent twice; when only its first half goes, the second waits in the pending output. */
static size_t telnet_write(Chardev *c, const uint8_t *data, size_t len)
{
    static const uint8_t escaped[2] = { TELNET_IAC, TELNET_IAC };
    size_t done = 0;
    while (done < len) {
        size_t run = plain_run(data + done, len - done);
        size_t n = run ? chardev_write_fd(c, data + done, run) : 0;
        done += n;
        if (n < run || done == len) {
            break;
        }
        n = chardev_write_fd(c, escaped, sizeof(escaped));
        if (n == 0) {
            break;
        }
        done++;
        if (n == 1) {
            chardev_queue_pending(c, escaped, 1);
            break;
        }
    }
    return done;
}

static size_t socket_write(Chardev *c, const uint8_t *data, size_t len)
{
    if (c->out_fd < 0) {
        return len;
    }
    return ((SocketChardev *)c)->telnet ? telnet_write(c, data, len)
                                        : chardev_write_fd(c, data, len);
}

static void socket_write_all(Chardev *c, const uint8_t *data, size_t len)
{
    size_t done = 0;
    if (c->pending_head >= c->pending->len) {
        done = socket_write(c, data, len);
    }
    bool telnet = ((SocketChardev *)c)->telnet;
    while (done < len) {
        size_t run = telnet ? plain_run(data + done, len - done) : len - done;
        size_t take = run + (done + run < len ? 1 : 0); /* with the IAC that ends the run */
        if (!chardev_queue_pending(c, data + done, take) ||
            (take > run && !chardev_queue_pending(c, data + done + run, 1))) {
            return;
        }
        done += take;
    }
}

/* Of each message the first is kept: no command takes more than one. */
static void keep_fd(SocketChardev *s, struct msghdr *msg)
{
    bool kept = s->fd_count == SOCKET_MAX_FDS;
    for (struct cmsghdr *m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
        if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(m) + i * sizeof(int), sizeof(int));
            if (kept) {
                close(fd);
            } else {
                s->fds[s->fd_count++] = fd;
                kept = true;
            }
        }
    }
}

static ssize_t socket_read(Chardev *c, uint8_t *data, size_t len)
{
    SocketChardev *s = (SocketChardev *)c;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MESSAGE_MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n >= 0) {
        keep_fd(s, &msg);
    }
    return n;
}

static size_t socket_received(Chardev *c, uint8_t *data, size_t len)
{
    SocketChardev *s = (SocketChardev *)c;
    if (!s->telnet) {
        return len;
    }
    unsigned breaks;
    len = telnet_decode(&s->telnet_in, data, len, &breaks);
    if (breaks) {
        chardev_send_event(c, CHAR_EVENT_BREAK);
    }
    return len;
}

static int socket_take_fd(Chardev *c)
{
    SocketChardev *s = (SocketChardev *)c;
    if (!s->fd_count) {
        return -1;
    }
    int fd = s->fds[0];
    s->fd_count--;
    memmove(s->fds, s->fds + 1, s->fd_count * sizeof(int));
    return fd;
}

/* ---- Connections ---- */

static void drop_connection(SocketChardev *s)
{
    chardev_stream_clear(&s->base);
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
    while (s->fd_count) {
        close(s->fds[--s->fd_count]);
    }
    g_clear_pointer(&s->peer, g_free);
    g_clear_pointer(&s->local, g_free);
}

static void socket_hangup(Chardev *c)
{
    SocketChardev *s = (SocketChardev *)c;
    drop_connection(s);
    chardev_set_connected(c, false);
    if (s->server) {
        socket_listen_on(s);
    } else if (s->reconnect_ms) {
        socket_connect_later(s);
    }
}

static void take_connection(SocketChardev *s, int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    int on = !s->delay;
    s->fd = fd;
    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0) {
        s->local = char_address_text(&address, len);
        if (address.ss_family == AF_INET || address.ss_family == AF_INET6) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        }
    }
    len = sizeof(address);
    if (getpeername(fd, (struct sockaddr *)&address, &len) == 0) {
        s->peer = char_address_text(&address, len);
    }
    telnet_reset(&s->telnet_in);
    if (s->telnet && s->server) {
        ssize_t n = send(fd, telnet_greeting, sizeof(telnet_greeting), MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)n; /* a client that is gone already shows as a hang-up */
    }
    chardev_stream_set(&s->base, fd, fd);
    chardev_set_connected(&s->base, true);
}

/* After a failed accept4(). */
static bool out_of_descriptors(void)
{
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
}

static gboolean listen_ready(int fd, GIOCondition condition, void *opaque)
{
    SocketChardev *s = opaque;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client >= 0) {
        chardev_drop_source(&s->listen_source);
        take_connection(s, client);
    } else if (out_of_descriptors()) {
        /* It would be ready again at once: look again in a second. */
        chardev_drop_source(&s->listen_source);
        socket_connect_later(s);
    }
    return G_SOURCE_CONTINUE;
}

static void socket_listen_on(SocketChardev *s)
{
    if (!s->listen_source && s->listen_fd >= 0 && s->fd < 0) {
        s->listen_source = chardev_watch_fd(s->listen_fd, G_IO_IN, listen_ready, s);
    }
}

static void connect_finished(SocketChardev *s, int fd)
{
    int failure = 0;
    socklen_t len = sizeof(failure);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len);
    if (failure) {
        close(fd);
        socket_connect_later(s);
    } else {
        take_connection(s, fd);
    }
}

static gboolean connect_ready(int fd, GIOCondition condition, void *opaque)
{
    SocketChardev *s = opaque;
    chardev_drop_source(&s->connecting_source);
    s->connecting_fd = -1;
    connect_finished(s, fd);
    return G_SOURCE_REMOVE;
}

static void connect_now(SocketChardev *s)
{
    bool in_progress;
    int fd = char_address_connect(&s->address, &in_progress, NULL);
    if (fd < 0) {
        socket_connect_later(s);
    } else if (in_progress) {
        s->connecting_fd = fd;
        s->connecting_source = chardev_watch_fd(fd, G_IO_OUT, connect_ready, s);
    } else {
        take_connection(s, fd);
    }
}

static gboolean later(void *opaque)
{
    SocketChardev *s = opaque;
    chardev_drop_source(&s->timer);
    if (s->server) {
        socket_listen_on(s);
    } else {
        connect_now(s);
    }
    return G_SOURCE_REMOVE;
}

static void socket_connect_later(SocketChardev *s)
{
    if (!s->timer) {
        s->timer = chardev_call_after(s->reconnect_ms ? s->reconnect_ms : RETRY_MS, later, s);
    }
}

/* ---- Opening ---- */

/* Ctrl-C and the like are blocked already, to be taken by the main loop, which does not run yet. */
static int ending_signal_fd(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool wait_for_client(SocketChardev *s, GError **error)
{
    g_autofree char *where = chardev_filename(&s->base);
    report_info("info: the machine waits for a client of %s", where);
    struct pollfd fds[] = { { .fd = s->listen_fd, .events = POLLIN },
                            { .fd = ending_signal_fd(), .events = POLLIN } };
    while (s->fd < 0 && !(fds[1].revents & POLLIN)) {
        poll(fds, G_N_ELEMENTS(fds), -1);
        int client = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client >= 0) {
            take_connection(s, client);
        } else if (out_of_descriptors()) {
            poll(fds + 1, 1, RETRY_MS);
        }
    }
    close(fds[1].fd);
    return s->fd >= 0 || error_set(error, "ended by a signal while waiting for a connection");
}

static bool open_server(SocketChardev *s, bool wait, GError **error)
{
    if (s->listen_fd < 0) {
        s->listen_fd = char_address_listen(&s->address, error);
    }
    if (s->listen_fd < 0) {
        return false;
    }
    if (wait) {
        return wait_for_client(s, error);
    }
    socket_listen_on(s);
    return true;
}

/* Without reconnect a client that cannot connect is an error at once. */
static bool open_client(SocketChardev *s, GError **error)
{
    bool in_progress;
    if (s->reconnect_ms) {
        connect_now(s);
        return true;
    }
    int fd = char_address_connect(&s->address, &in_progress, error);
    if (fd < 0) {
        return false;
    }
    if (in_progress) {
        struct pollfd pfd = { .fd = fd, .events = POLLOUT };
        int failure = ETIMEDOUT;
        socklen_t len = sizeof(failure);
        if (poll(&pfd, 1, CONNECT_TIMEOUT_MS) > 0) {
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len);
        }
        if (failure) {
            g_autofree char *where = char_address_configured(&s->address);
            close(fd);
            return error_set_errno(error, failure, "cannot connect to '%s'", where);
        }
    }
    take_connection(s, fd);
    return true;
}

/* fd=: a socket that was inherited or came over a monitor, listening with server=on. */
static bool open_inherited(SocketChardev *s, const char *text, bool wait, GError **error)
{
    int fd = passed_socket_param(text, s->server, error);
    if (fd < 0) {
        return false;
    }
    if (s->server) {
        s->listen_fd = fd;
        return open_server(s, wait, error);
    }
    take_connection(s, fd);
    return true;
}

static bool refuse_missing(Opts *options, GError **error)
{
    static const struct {
        const char *key;
        const char *why;
    } missing[] = {
        { "tls-creds", "it has no TLS; put stunnel or ssh in front" },
        { "tls-authz", "it has no TLS; put stunnel or ssh in front" },
        { "websocket", "it serves WebSockets for VNC only; put websockify in front" },
        { "tn3270", "it has no s390 machines" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(missing); i++) {
        const char *value = opts_get(options, missing[i].key);
        bool on = true;
        if (value && !(parse_bool(value, &on) && !on)) {
            return error_set(error, "QEMU has the socket option '%s', Vireo does not: %s",
                             missing[i].key, missing[i].why);
        }
    }
    return true;
}

static bool parse_options(SocketChardev *s, Opts *options, bool *wait, GError **error)
{
    uint64_t seconds = 0;
    bool nodelay = false;
    *wait = opts_has(options, "wait");
    s->delay = true;
    if (!refuse_missing(options, error) || !opts_get_bool(options, "server", &s->server, error) ||
        !opts_get_bool(options, "telnet", &s->telnet, error) ||
        !opts_get_bool(options, "delay", &s->delay, error) ||
        !opts_get_bool(options, "nodelay", &nodelay, error) ||
        !opts_get_uint(options, "reconnect", 86400, &seconds, error) ||
        !opts_get_uint(options, "reconnect-ms", 86400 * 1000, &s->reconnect_ms, error)) {
        return false;
    }
    s->delay = s->delay && !nodelay;
    if (seconds) {
        s->reconnect_ms = seconds * 1000;
    }
    if (s->server && s->reconnect_ms) {
        return error_set(error, "reconnect= is for clients, server=on waits by itself");
    }
    if (*wait && !s->server) {
        return error_set(error, "wait= is for servers: add server=on");
    }
    *wait = s->server;
    return opts_get_bool(options, "wait", wait, error);
}

static bool socket_open(Chardev *c, Opts *options, GError **error)
{
    SocketChardev *s = (SocketChardev *)c;
    bool wait, good;
    s->listen_fd = s->fd = s->connecting_fd = -1;
    s->is_set_up = true;
    c->watch_hangup = true;
    c->out_socket = true;
    const char *inherited = opts_get(options, "fd");
    if (!parse_options(s, options, &wait, error)) {
        good = false;
    } else if (inherited) {
        good = open_inherited(s, inherited, wait, error);
    } else {
        good = char_address_parse(&s->address, options, error) &&
               (s->server ? open_server(s, wait, error) : open_client(s, error));
    }
    if (!good) {
        g_prefix_error(error, "chardev '%s': ", c->id);
    }
    return good;
}

static void socket_close(Chardev *c)
{
    SocketChardev *s = (SocketChardev *)c;
    if (!s->is_set_up) {
        return;
    }
    chardev_drop_source(&s->timer);
    chardev_drop_source(&s->listen_source);
    chardev_drop_source(&s->connecting_source);
    drop_connection(s);
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
    }
    if (s->connecting_fd >= 0) {
        close(s->connecting_fd);
    }
    char_address_clear(&s->address);
}

static char *listening_text(const SocketChardev *s)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (s->listen_fd >= 0 && getsockname(s->listen_fd, (struct sockaddr *)&address, &len) == 0) {
        g_autofree char *text = char_address_text(&address, len);
        return address.ss_family == AF_UNIX ? g_steal_pointer(&text)
                                            : g_strdup_printf("tcp:%s", text);
    }
    return s->address.path || s->address.host ? char_address_configured(&s->address)
                                              : g_strdup("socket");
}

static char *socket_filename(const Chardev *c)
{
    const SocketChardev *s = (const SocketChardev *)c;
    const char *server = s->server ? ",server=on" : "";
    if (s->fd < 0) {
        g_autofree char *where = listening_text(s);
        const char *plain = s->telnet && g_str_has_prefix(where, "tcp:") ? where + 4 : where;
        return g_strdup_printf("disconnected:%s%s%s", plain == where ? "" : "telnet:", plain,
                               server);
    }
    if (s->local && g_str_has_prefix(s->local, "unix:")) {
        bool unnamed = !s->local[5];
        return g_strdup_printf("%s%s", unnamed && s->peer ? s->peer : s->local, server);
    }
    return g_strdup_printf("%s:%s%s <-> %s", s->telnet ? "telnet" : "tcp",
                           s->local ? s->local : "?", server, s->peer ? s->peer : "?");
}

static const char *const socket_options[] = {
    "path", "abstract", "tight",   "host",   "port",      "to",           "ipv4", "ipv6", "server",
    "wait", "delay",    "nodelay", "telnet", "reconnect", "reconnect-ms", "fd",   NULL,
};

const ChardevClass chardev_socket_class = {
    .name = "socket",
    .desc =
        "a unix or TCP socket (path= or host=, port=; server=on, wait=off, telnet=on, reconnect=)",
    .size = sizeof(SocketChardev),
    .options = socket_options,
    .open = socket_open,
    .close = socket_close,
    .write = socket_write,
    .write_all = socket_write_all,
    .read = socket_read,
    .received = socket_received,
    .hangup = socket_hangup,
    .filename = socket_filename,
    .take_fd = socket_take_fd,
};
