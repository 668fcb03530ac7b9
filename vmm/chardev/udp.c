/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The character back end "udp": each write is a datagram, each datagram is input. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "vmm/chardev/address.h"
#include "vmm/chardev/internal.h"

#define UDP_MAX 65536

typedef struct UdpChardev {
    Chardev base;
    int fd; /* 0: none */
    uint8_t buffer[UDP_MAX];
    size_t head, len; /* of a datagram that the front end had no room for */
} UdpChardev;

static bool udp_open(Chardev *c, Opts *options, GError **error)
{
    UdpChardev *u = (UdpChardev *)c;
    bool ipv4 = true, ipv6 = true;
    const char *port = opts_get(options, "port");
    if (!port) {
        return error_set(error, "chardev '%s': udp needs port=", c->id);
    }
    if (!opts_get_bool(options, "ipv4", &ipv4, error) ||
        !opts_get_bool(options, "ipv6", &ipv6, error)) {
        return false;
    }
    bool only6 = opts_has(options, "ipv6") && !opts_has(options, "ipv4") && ipv6;
    int fd = char_address_datagram(opts_get(options, "host"), port, opts_get(options, "localaddr"),
                                   opts_get(options, "localport"),
                                   !ipv4 || only6 ? AF_INET6
                                   : !ipv6        ? AF_INET
                                                  : AF_UNSPEC,
                                   error);
    if (fd < 0) {
        g_prefix_error(error, "chardev '%s': ", c->id);
        return false;
    }
    u->fd = fd;
    c->out_socket = true;
    chardev_stream_set(c, fd, fd);
    chardev_set_connected(c, true);
    return true;
}

static void udp_close(Chardev *c)
{
    UdpChardev *u = (UdpChardev *)c;
    chardev_stream_clear(c);
    if (u->fd) {
        close(u->fd);
    }
}

static ssize_t udp_read(Chardev *c, uint8_t *data, size_t len)
{
    UdpChardev *u = (UdpChardev *)c;
    if (u->head == u->len) {
        /* An ICMP "nobody there" is told as an error of the next call: it is not a hang-up. */
        ssize_t n = recv(u->fd, u->buffer, sizeof(u->buffer), MSG_DONTWAIT);
        u->head = 0;
        u->len = MAX(n, 0);
    }
    size_t n = MIN(len, u->len - u->head);
    memcpy(data, u->buffer + u->head, n);
    u->head += n;
    if (!n) {
        errno = EAGAIN;
        return -1;
    }
    return n;
}

static void udp_accept_input(Chardev *c)
{
    UdpChardev *u = (UdpChardev *)c;
    size_t room;
    while (u->head < u->len && (room = chardev_can_read(c)) > 0) {
        size_t n = MIN(room, u->len - u->head);
        u->head += n;
        chardev_deliver(c, u->buffer + u->head - n, n);
    }
    chardev_stream_update(c);
}

/* The socket may stay quiet while the rest of a datagram waits: go on with it soon. */
static size_t udp_received(Chardev *c, uint8_t *data, size_t len)
{
    UdpChardev *u = (UdpChardev *)c;
    if (u->head < u->len) {
        chardev_resume_soon(c);
    }
    return len;
}

static const char *const udp_options[] = { "host", "port", "localaddr", "localport",
                                           "ipv4", "ipv6", NULL };

const ChardevClass chardev_udp_class = {
    .name = "udp",
    .desc = "UDP datagrams (host=, port=, localaddr=, localport=)",
    .size = sizeof(UdpChardev),
    .options = udp_options,
    .open = udp_open,
    .close = udp_close,
    .read = udp_read,
    .received = udp_received,
    .accept_input = udp_accept_input,
};
