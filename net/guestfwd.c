/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guestfwd= rules of the user network: addresses of the guest's network that lead to a chardev or a
 * command of the host. The chardev is the main thread's, the connection the loop's: bytes for the
 * guest pass through a small buffer.
 */
#include <string.h>
#include "net/user.h"

#define FORWARD_BUFFER 16384

struct GuestForward {
    UserBackend *user;
    struct in_addr address;
    int port;
    Chardev *chardev; /* NULL: a command */
    bool own_chardev; /* made for the rule */
    CharFrontend *frontend;
    LoopTask wake;
    GMutex lock; /* of the buffer */
    size_t len;
    uint8_t buffer[FORWARD_BUFFER];
};

/* ---- Main thread: the chardev ---- */

static size_t forward_can_read(void *opaque)
{
    GuestForward *f = opaque;
    g_mutex_lock(&f->lock);
    size_t room = FORWARD_BUFFER - f->len;
    g_mutex_unlock(&f->lock);
    return room;
}

static void forward_read(void *opaque, const uint8_t *data, size_t len)
{
    GuestForward *f = opaque;
    g_mutex_lock(&f->lock);
    len = MIN(len, FORWARD_BUFFER - f->len);
    memcpy(f->buffer + f->len, data, len);
    f->len += len;
    g_mutex_unlock(&f->lock);
    EventLoop *loop = f->user->base.queues[0].loop;
    if (loop) {
        event_loop_post(loop, &f->wake);
    }
}

static const CharFrontendOps forward_ops = {
    .can_read = forward_can_read,
    .read = forward_read,
};

/* ---- The loop: the connection ---- */

static void forward_wake(void *opaque)
{
    user_update_soon(((GuestForward *)opaque)->user);
}

static void forward_pump(GuestForward *f)
{
    size_t room = slirp_socket_can_recv(f->user->slirp, f->address, f->port);
    g_mutex_lock(&f->lock);
    size_t n = MIN(room, f->len);
    if (n) {
        slirp_socket_recv(f->user->slirp, f->address, f->port, f->buffer, n);
        f->len -= n;
        memmove(f->buffer, f->buffer + n, f->len);
    }
    g_mutex_unlock(&f->lock);
    if (n) {
        char_accept_input(f->frontend);
    }
}

void user_guestfwd_poll(UserBackend *u)
{
    for (guint i = 0; i < u->forwards->len; i++) {
        GuestForward *f = g_ptr_array_index(u->forwards, i);
        if (f->frontend) {
            forward_pump(f);
        }
    }
}

void user_guestfwd_stop(UserBackend *u, EventLoop *loop)
{
    for (guint i = 0; i < u->forwards->len; i++) {
        GuestForward *f = g_ptr_array_index(u->forwards, i);
        event_loop_cancel_task(loop, &f->wake);
    }
}

static ssize_t forward_write(const void *data, size_t len, void *opaque)
{
    GuestForward *f = opaque;
    char_write_all(f->frontend, data, len);
    return len;
}

/* ---- Rules: main thread, before the queue starts ---- */

static bool forward_to_chardev(GuestForward *f, const char *target, GError **error)
{
    g_autofree char *id = g_strdup_printf("guestfwd.%s.%d", f->user->base.id, f->port);
    f->chardev = chardev_new_legacy(target, id, error);
    if (!f->chardev) {
        return error && *error ? false : error_set(error, "'%s' is not a chardev", target);
    }
    f->own_chardev = !g_str_has_prefix(target, "chardev:");
    f->frontend = char_frontend_attach(f->chardev, &forward_ops, f, error);
    if (!f->frontend) {
        return false;
    }
    if (slirp_add_guestfwd(f->user->slirp, forward_write, f, &f->address, f->port) < 0) {
        return error_set(error, "the address is outside the network, or taken");
    }
    return true;
}

static void forward_free(GuestForward *f)
{
    char_frontend_detach(f->frontend);
    if (f->own_chardev) {
        chardev_delete(chardev_id(f->chardev), NULL);
    }
    g_mutex_clear(&f->lock);
    g_free(f);
}

/* "[tcp]:SERVER:PORT-TARGET", TARGET "cmd:COMMAND" or a chardev in its short form. */
static bool parse_rule(GuestForward *f, const char *rule, const char **target, GError **error)
{
    const char *rest = g_str_has_prefix(rule, "tcp:") ? rule + 4 : *rule == ':' ? rule + 1 : NULL;
    const char *dash = rest ? strchr(rest, '-') : NULL;
    if (!dash || !dash[1]) {
        return error_set(error, "it is not [tcp]:SERVER:PORT-TARGET");
    }
    g_autofree char *end = g_strndup(rest, dash - rest);
    char *colon = strchr(end, ':');
    uint64_t port;
    if (!colon || !parse_uint(colon + 1, 65535, &port) || !port) {
        return error_set(error, "it has no port");
    }
    *colon = 0;
    if (*end && inet_pton(AF_INET, end, &f->address) != 1) {
        return error_set(error, "'%s' is not an IPv4 address", end);
    }
    f->port = port;
    *target = dash + 1;
    return true;
}

bool user_guestfwd_rule(UserBackend *u, const char *rule, GError **error)
{
    GuestForward *f = g_new0(GuestForward, 1);
    const char *target = NULL;
    f->user = u;
    f->wake = (LoopTask)LOOP_TASK_INIT(forward_wake, f);
    g_mutex_init(&f->lock);
    bool good = parse_rule(f, rule, &target, error);
    if (good && g_str_has_prefix(target, "cmd:")) {
        good = slirp_add_exec(u->slirp, target + strlen("cmd:"), &f->address, f->port) >= 0 ||
               error_set(error, "the address is outside the network, or taken");
    } else if (good) {
        good = forward_to_chardev(f, target, error);
    }
    if (!good) {
        g_prefix_error(error, "guestfwd=%s: ", rule);
        forward_free(f);
        return false;
    }
    g_ptr_array_add(u->forwards, f);
    return true;
}

void user_guestfwd_free_all(UserBackend *u)
{
    for (guint i = 0; i < u->forwards->len; i++) {
        GuestForward *f = g_ptr_array_index(u->forwards, i);
        if (u->slirp) {
            slirp_remove_guestfwd(u->slirp, f->address, f->port);
        }
        forward_free(f);
    }
    g_ptr_array_set_size(u->forwards, 0);
}
