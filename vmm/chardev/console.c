/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console of the friendly command line: a serial port that the terminal of the process and any
 * number of `vireo console` share. All see what the guest prints, all may type. The last output is
 * kept, so that who comes later sees what was said. Only the terminal can hold the guest's output
 * up; a client that does not read loses the oldest of it.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/chardev/address.h"
#include "vmm/chardev/internal.h"

#define CONSOLE_KEPT    65536 /* bytes of output: a power of two */
#define CONSOLE_CLIENTS 16
#define LISTEN_AGAIN_MS 1000

typedef struct ConsoleChardev {
    Chardev base;
    CharFrontend *terminal; /* ours on the terminal's chardev; NULL: there is none */
    int listen_fd;
    GSource *listen_source, *timer;
    GPtrArray *clients; /* ConsoleClient *; changed under base.lock by the main thread */
    /* Under base.lock. */
    uint8_t *kept;
    uint64_t written;      /* bytes since the start; the last CONSOLE_KEPT are there */
    GSource *flush_source; /* will send to the clients */
} ConsoleChardev;

typedef struct ConsoleClient {
    ConsoleChardev *console;
    int fd;
    GSource *in_source, *out_source;
    uint64_t sent; /* position in the output */
} ConsoleClient;

/* ---- Output ---- */

static void client_close(ConsoleClient *client)
{
    ConsoleChardev *c = client->console;
    chardev_drop_source(&client->in_source);
    chardev_drop_source(&client->out_source);
    close(client->fd);
    g_mutex_lock(&c->base.lock);
    g_ptr_array_remove(c->clients, client);
    g_mutex_unlock(&c->base.lock);
    g_free(client);
}

/* The next bytes for the client; skips what is not kept any more. */
static size_t client_next(ConsoleClient *client, uint8_t *data, size_t room)
{
    ConsoleChardev *c = client->console;
    g_mutex_lock(&c->base.lock);
    if (c->written - client->sent > CONSOLE_KEPT) {
        client->sent = c->written - CONSOLE_KEPT;
    }
    uint32_t at = client->sent % CONSOLE_KEPT;
    size_t n = MIN(c->written - client->sent, CONSOLE_KEPT - at);
    n = MIN(n, room);
    if (n) {
        memcpy(data, c->kept + at, n);
    }
    g_mutex_unlock(&c->base.lock);
    return n;
}

static gboolean client_writable(int fd, GIOCondition condition, void *opaque);

/* False when the client is gone, and freed. */
static bool client_send(ConsoleClient *client)
{
    uint8_t data[CHAR_READ_CHUNK];
    size_t len;
    while ((len = client_next(client, data, sizeof(data))) > 0) {
        ssize_t n = send(client->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!client->out_source) {
                client->out_source =
                    chardev_watch_fd(client->fd, G_IO_OUT, client_writable, client);
            }
            return true;
        }
        if (n < 0 && errno != EINTR) {
            client_close(client);
            return false;
        }
        client->sent += MAX(n, 0);
    }
    chardev_drop_source(&client->out_source);
    return true;
}

static gboolean client_writable(int fd, GIOCondition condition, void *opaque)
{
    client_send(opaque);
    return G_SOURCE_CONTINUE;
}

static void send_to_all(ConsoleChardev *c)
{
    g_autoptr(GPtrArray) all = g_ptr_array_copy(c->clients, NULL, NULL);
    for (guint i = 0; i < all->len; i++) {
        client_send(g_ptr_array_index(all, i));
    }
}

static gboolean console_flush(void *opaque)
{
    ConsoleChardev *c = opaque;
    g_mutex_lock(&c->base.lock);
    chardev_drop_source(&c->flush_source);
    g_mutex_unlock(&c->base.lock);
    send_to_all(c);
    return G_SOURCE_REMOVE;
}

static void keep_locked(ConsoleChardev *c, const uint8_t *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        uint32_t at = c->written % CONSOLE_KEPT;
        size_t n = MIN(len - done, CONSOLE_KEPT - at);
        memcpy(c->kept + at, data + done, n);
        c->written += n;
        done += n;
    }
    if (len && c->clients->len && !c->flush_source) {
        c->flush_source = chardev_call_soon(console_flush, c);
    }
}

static size_t console_write(Chardev *base, const uint8_t *data, size_t len)
{
    ConsoleChardev *c = (ConsoleChardev *)base;
    size_t done = c->terminal ? char_write(c->terminal, data, len) : len;
    keep_locked(c, data, done);
    return done;
}

static void console_write_all(Chardev *base, const uint8_t *data, size_t len)
{
    ConsoleChardev *c = (ConsoleChardev *)base;
    if (c->terminal) {
        char_write_all(c->terminal, data, len);
    }
    keep_locked(c, data, len);
}

/* ---- Input ---- */

/* As in stream.c: `starved` is set before the second look. */
static size_t console_room(ConsoleChardev *c)
{
    size_t room = chardev_can_read(&c->base);
    if (!room) {
        g_atomic_int_set(&c->base.starved, 1);
        room = chardev_can_read(&c->base);
        if (room) {
            g_atomic_int_set(&c->base.starved, 0);
        }
    }
    return room;
}

static gboolean client_readable(int fd, GIOCondition condition, void *opaque);

static void client_watch(ConsoleClient *client, GIOCondition condition)
{
    chardev_drop_source(&client->in_source);
    client->in_source = chardev_watch_fd(client->fd, condition, client_readable, client);
}

static gboolean client_readable(int fd, GIOCondition condition, void *opaque)
{
    ConsoleClient *client = opaque;
    ConsoleChardev *c = client->console;
    uint8_t data[CHAR_READ_CHUNK];
    size_t room = console_room(c);
    if (!room) {
        if (condition & (G_IO_HUP | G_IO_ERR)) {
            client_close(client);
        } else {
            client_watch(client, 0); /* a hang-up alone */
        }
        return G_SOURCE_CONTINUE;
    }
    ssize_t n = recv(fd, data, MIN(room, sizeof(data)), MSG_DONTWAIT);
    if (n > 0) {
        chardev_deliver(&c->base, data, n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        client_close(client);
    }
    return G_SOURCE_CONTINUE;
}

static void console_accept_input(Chardev *base)
{
    ConsoleChardev *c = (ConsoleChardev *)base;
    for (guint i = 0; i < c->clients->len; i++) {
        client_watch(g_ptr_array_index(c->clients, i), G_IO_IN);
    }
    if (c->terminal) {
        char_accept_input(c->terminal);
    }
}

static size_t terminal_can_read(void *opaque)
{
    return console_room(opaque);
}

static void terminal_read(void *opaque, const uint8_t *data, size_t len)
{
    chardev_deliver(opaque, data, len);
}

static void terminal_event(void *opaque, CharEvent event)
{
    if (event == CHAR_EVENT_BREAK) {
        chardev_send_event(opaque, event);
    }
}

static void terminal_writable(void *opaque)
{
    chardev_writable_now(opaque);
}

static const CharFrontendOps terminal_ops = {
    .can_read = terminal_can_read,
    .read = terminal_read,
    .event = terminal_event,
    .writable = terminal_writable,
};

/* ---- Connections ---- */

static void client_new(ConsoleChardev *c, int fd)
{
    static const char full[] = "vireo: this console has as many users as it can have\r\n";
    if (c->clients->len == CONSOLE_CLIENTS) {
        ssize_t n = send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)n; /* who is gone already need not be told */
        close(fd);
        return;
    }
    ConsoleClient *client = g_new0(ConsoleClient, 1);
    client->console = c;
    client->fd = fd;
    g_mutex_lock(&c->base.lock);
    g_ptr_array_add(c->clients, client);
    g_mutex_unlock(&c->base.lock);
    client_watch(client, G_IO_IN);
    client_send(client);
}

static void console_listen(ConsoleChardev *c);

static gboolean listen_again(void *opaque)
{
    ConsoleChardev *c = opaque;
    chardev_drop_source(&c->timer);
    console_listen(c);
    return G_SOURCE_REMOVE;
}

static gboolean listen_ready(int fd, GIOCondition condition, void *opaque)
{
    ConsoleChardev *c = opaque;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client >= 0) {
        client_new(c, client);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
        /* It would be ready again at once. */
        chardev_drop_source(&c->listen_source);
        c->timer = chardev_call_after(LISTEN_AGAIN_MS, listen_again, c);
    }
    return G_SOURCE_CONTINUE;
}

static void console_listen(ConsoleChardev *c)
{
    c->listen_source = chardev_watch_fd(c->listen_fd, G_IO_IN, listen_ready, c);
}

static char *console_filename(const Chardev *base)
{
    const ConsoleChardev *c = (const ConsoleChardev *)base;
    struct sockaddr_storage address = { 0 };
    socklen_t len = sizeof(address);
    getsockname(c->listen_fd, (struct sockaddr *)&address, &len);
    g_autofree char *where = char_address_text(&address, len);
    return g_strdup_printf("%s,server=on", where);
}

static void console_close(Chardev *base)
{
    ConsoleChardev *c = (ConsoleChardev *)base;
    send_to_all(c); /* the guest's last words */
    chardev_drop_source(&c->listen_source);
    chardev_drop_source(&c->timer);
    while (c->clients->len) {
        client_close(g_ptr_array_index(c->clients, 0));
    }
    g_mutex_lock(&base->lock);
    chardev_drop_source(&c->flush_source);
    g_mutex_unlock(&base->lock);
    char_frontend_detach(c->terminal);
    close(c->listen_fd);
    g_ptr_array_unref(c->clients);
    g_free(c->kept);
}

const ChardevClass chardev_console_class = {
    .name = "console",
    .desc = "the console of the friendly command line",
    .size = sizeof(ConsoleChardev),
    .close = console_close,
    .write = console_write,
    .write_all = console_write_all,
    .accept_input = console_accept_input,
    .filename = console_filename,
};

Chardev *chardev_console_new(const char *id, Chardev *terminal, int listen_fd, GError **error)
{
    ConsoleChardev *c = (ConsoleChardev *)chardev_alloc(&chardev_console_class, id);
    c->listen_fd = listen_fd;
    c->clients = g_ptr_array_new();
    c->kept = g_malloc(CONSOLE_KEPT);
    c->base.connected = true;
    c->terminal = terminal ? char_frontend_attach(terminal, &terminal_ops, c, error) : NULL;
    if (terminal && !c->terminal) {
        chardev_free(&c->base);
        return NULL;
    }
    console_listen(c);
    return &c->base;
}
