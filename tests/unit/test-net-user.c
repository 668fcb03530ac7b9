/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user-mode network as a guest sees it: a fake NIC on an I/O thread sends and receives Ethernet
 * frames; a few lines of TCP make the guest.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/net.h"
#include "tests/unit/fake-nic.h"
#include "vmm/chardev/chardev.h"
#include "vmm/util/bytes.h"

#define GUEST_IP   0x0a00020f
#define GATEWAY_IP 0x0a000202

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

/* ---- Frames ---- */

static uint16_t checksum(const uint8_t *data, size_t len, uint32_t sum)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        sum += load_be16(data + i);
    }
    if (len & 1) {
        sum += data[len - 1] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum;
}

static void ether(Frame *f, const uint8_t *to, uint16_t type)
{
    memset(f, 0, sizeof(*f));
    memcpy(f->data, to, 6);
    memcpy(f->data + 6, guest_mac, 6);
    store_be16(f->data + 12, type);
    f->len = 14;
}

static void arp(Frame *f, uint16_t op, uint32_t target, const uint8_t *to)
{
    static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
    ether(f, to ? to : all, 0x0806);
    uint8_t *a = f->data + 14;
    memcpy(a, "\0\1\x08\0\6\4", 6);
    store_be16(a + 6, op);
    memcpy(a + 8, guest_mac, 6);
    store_be32(a + 14, GUEST_IP);
    if (to) {
        memcpy(a + 18, to, 6);
    }
    store_be32(a + 24, target);
    f->len = 60;
}

/* An IPv4 packet whose payload the caller has put at data + 34. */
static void ipv4(Frame *f, Nic *nic, uint8_t protocol, uint32_t from, uint32_t to, size_t payload)
{
    uint8_t *p = f->data + 14;
    memcpy(f->data, nic->gateway_mac, 6);
    memcpy(f->data + 6, guest_mac, 6);
    store_be16(f->data + 12, 0x0800);
    memset(p, 0, 20);
    p[0] = 0x45;
    store_be16(p + 2, 20 + payload);
    p[8] = 64;
    p[9] = protocol;
    store_be32(p + 12, from);
    store_be32(p + 16, to);
    store_be16(p + 10, checksum(p, 20, 0));
    f->len = MAX(34 + payload, 60u);
}

static bool is_ip(const Frame *f, uint8_t protocol)
{
    return load_be16(f->data + 12) == 0x0800 && f->data[23] == protocol;
}

/* The next IPv4 frame of the protocol; ARP requests on the way are answered. */
static Frame *next_ip(Nic *nic, uint8_t protocol)
{
    for (;;) {
        g_autofree Frame *f = next_frame(nic);
        if (load_be16(f->data + 12) == 0x0806 && load_be16(f->data + 20) == 1 &&
            load_be32(f->data + 38) == GUEST_IP) {
            Frame reply;
            memcpy(nic->gateway_mac, f->data + 6, 6);
            arp(&reply, 2, load_be32(f->data + 28), f->data + 6);
            nic_send(nic, &reply);
        } else if (is_ip(f, protocol)) {
            return g_steal_pointer(&f);
        }
    }
}

static void learn_gateway(Nic *nic)
{
    Frame f;
    arp(&f, 1, GATEWAY_IP, NULL);
    g_assert_cmpint(nic_send(nic, &f), ==, NET_SENT);
    for (;;) {
        g_autofree Frame *reply = next_frame(nic);
        if (load_be16(reply->data + 12) == 0x0806 && load_be16(reply->data + 20) == 2) {
            g_assert_cmphex(load_be32(reply->data + 28), ==, GATEWAY_IP);
            g_assert_cmpmem(reply->data, 6, guest_mac, 6);
            memcpy(nic->gateway_mac, reply->data + 22, 6);
            return;
        }
    }
}

/* ---- TCP, as little as will do on a network that loses nothing ---- */

enum { FIN = 1, SYN = 2, PSH = 8, ACK = 16 };

typedef struct Tcp {
    Nic *nic;
    uint32_t peer_ip;
    uint16_t port, peer_port;
    uint32_t seq, ack;
    GString *got;
    bool finished;
} Tcp;

static void tcp_send(Tcp *t, uint8_t flags, const void *data, size_t len)
{
    Frame f;
    memset(&f, 0, sizeof(f));
    uint8_t *p = f.data + 34;
    store_be16(p, t->port);
    store_be16(p + 2, t->peer_port);
    store_be32(p + 4, t->seq);
    store_be32(p + 8, flags & ACK ? t->ack : 0);
    p[12] = 5 << 4;
    p[13] = flags;
    store_be16(p + 14, 32000);
    memcpy(p + 20, data, len);
    uint32_t pseudo = (GUEST_IP >> 16) + (GUEST_IP & 0xffff) + (t->peer_ip >> 16) +
                      (t->peer_ip & 0xffff) + 6 + 20 + len;
    store_be16(p + 16, checksum(p, 20 + len, pseudo));
    ipv4(&f, t->nic, 6, GUEST_IP, t->peer_ip, 20 + len);
    g_assert_cmpint(nic_send(t->nic, &f), ==, NET_SENT);
    t->seq += len + !!(flags & (SYN | FIN));
}

/* Takes one segment and acknowledges what it brought. */
static void tcp_step(Tcp *t)
{
    g_autofree Frame *f = next_ip(t->nic, 6);
    const uint8_t *p = f->data + 34;
    size_t len = load_be16(f->data + 16) - 20 - (p[12] >> 4) * 4;
    const uint8_t *data = p + (p[12] >> 4) * 4;
    if (p[13] & SYN) {
        t->ack = load_be32(p + 4) + 1;
        t->peer_port = load_be16(p);
        t->port = load_be16(p + 2);
        t->peer_ip = load_be32(f->data + 26);
        tcp_send(t, p[13] & ACK ? ACK : SYN | ACK, "", 0);
        return;
    }
    if (load_be32(p + 4) != t->ack || (!len && !(p[13] & FIN))) {
        return; /* again, or an acknowledgement */
    }
    g_string_append_len(t->got, (const char *)data, len);
    t->ack += len + !!(p[13] & FIN);
    t->finished = p[13] & FIN;
    tcp_send(t, ACK, "", 0);
}

/* ---- Tests ---- */

static void test_gateway_answers_arp(void)
{
    Nic *nic = nic_new("user,id=n");
    learn_gateway(nic);
    nic_free(nic);
}

static void test_gateway_answers_ping(void)
{
    Nic *nic = nic_new("user,id=n");
    Frame f;
    memset(&f, 0, sizeof(f));
    learn_gateway(nic);
    memcpy(f.data + 34, "\x08\0\0\0\x12\x34\0\1payload!", 16);
    store_be16(f.data + 36, checksum(f.data + 34, 16, 0));
    ipv4(&f, nic, 1, GUEST_IP, GATEWAY_IP, 16);
    g_assert_cmpint(nic_send(nic, &f), ==, NET_SENT);
    g_autofree Frame *reply = next_ip(nic, 1);
    g_assert_cmpint(reply->data[34], ==, 0); /* echo reply */
    g_assert_cmpmem(reply->data + 38, 12, f.data + 38, 12);
    nic_free(nic);
}

static const uint8_t *dhcp_option(const Frame *f, uint8_t code)
{
    const uint8_t *p = f->data + 42 + 240, *end = f->data + f->len;
    while (p + 2 <= end && *p != 255) {
        if (*p == code) {
            return p + 1;
        }
        p += *p ? 2 + p[1] : 1;
    }
    g_error("no DHCP option %u", code);
}

static void dhcp_discover(Frame *f, Nic *nic)
{
    memset(f, 0, sizeof(*f));
    uint8_t *u = f->data + 34, *d = u + 8;
    store_be16(u, 68);
    store_be16(u + 2, 67);
    store_be16(u + 4, 8 + 300);
    memcpy(d, "\1\1\6\0\xde\xad\xbe\xef", 8);
    memcpy(d + 28, guest_mac, 6);
    memcpy(d + 236, "\x63\x82\x53\x63\x35\1\1\xff", 8);
    memset(nic->gateway_mac, 0xff, 6);
    ipv4(f, nic, 17, 0, 0xffffffff, 8 + 300);
}

static void test_dhcp_tells_what_was_asked_for(void)
{
    Nic *nic = nic_new("user,id=n,net=192.168.76.0/24,dhcpstart=192.168.76.9,hostname=guesty,"
                       "bootfile=boot.img,domainname=example.org,dnssearch=a.example,"
                       "dnssearch=b.example,dns=192.168.76.3,ipv6=off");
    Frame f;
    dhcp_discover(&f, nic);
    g_assert_cmpint(nic_send(nic, &f), ==, NET_SENT);
    g_autofree Frame *offer = next_ip(nic, 17);
    const uint8_t *d = offer->data + 42;
    g_assert_cmphex(load_be32(d + 4), ==, 0xdeadbeef);
    g_assert_cmphex(load_be32(d + 16), ==, 0xc0a84c09);
    g_assert_cmpstr((const char *)d + 108, ==, "boot.img");
    g_assert_cmpint(dhcp_option(offer, 53)[1], ==, 2); /* DHCPOFFER */
    g_assert_cmphex(load_be32(dhcp_option(offer, 3) + 1), ==, 0xc0a84c02);
    g_assert_cmphex(load_be32(dhcp_option(offer, 6) + 1), ==, 0xc0a84c03);
    g_assert_cmpmem(dhcp_option(offer, 12) + 1, 6, "guesty", 6);
    g_assert_cmpmem(dhcp_option(offer, 15) + 1, 11, "example.org", 11);
    g_assert_cmpint(dhcp_option(offer, 119)[0], >, 10);
    nic_free(nic);
}

static int connect_port(unsigned port)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&in, sizeof(in)), ==, 0);
    return fd;
}

static unsigned free_port(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, sizeof(in)), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&in, &len), ==, 0);
    close(fd);
    return ntohs(in.sin_port);
}

/* A connection to the host's port: bytes both ways, the end both ways. */
static void echo_once(Nic *nic, unsigned port)
{
    int fd = connect_port(port);
    Tcp t = { .nic = nic, .seq = 1000, .got = g_string_new(NULL) };
    while (!t.peer_port) {
        tcp_step(&t);
    }
    g_assert_cmpuint(t.port, ==, 22);
    g_assert_cmpint(send(fd, "hello guest", 11, 0), ==, 11);
    while (t.got->len < 11) {
        tcp_step(&t);
    }
    g_assert_cmpstr(t.got->str, ==, "hello guest");
    tcp_send(&t, PSH | ACK, "hello host", 10);
    char got[10];
    g_assert_cmpint(recv(fd, got, 10, MSG_WAITALL), ==, 10);
    g_assert_cmpmem(got, 10, "hello host", 10);
    shutdown(fd, SHUT_WR);
    while (!t.finished) {
        tcp_step(&t);
    }
    tcp_send(&t, FIN | ACK, "", 0);
    g_assert_cmpint(recv(fd, got, 1, 0), ==, 0);
    close(fd);
    g_string_free(t.got, TRUE);
}

static void test_forwarded_port_reaches_the_guest(void)
{
    unsigned port = free_port();
    g_autofree char *text = g_strdup_printf("user,id=n,hostfwd=tcp:127.0.0.1:%u-:22", port);
    Nic *nic = nic_new(text);
    learn_gateway(nic);
    echo_once(nic, port);
    echo_once(nic, port);
    nic_free(nic);
}

/* A stream in each direction, while the NIC has room only now and then. */
typedef struct Stream {
    int fd;
    size_t len;
    const uint8_t *data;
} Stream;

static void *stream_writer(void *opaque)
{
    Stream *s = opaque;
    for (size_t at = 0; at < s->len;) {
        ssize_t n = send(s->fd, s->data + at, s->len - at, 0);
        g_assert_cmpint(n, >, 0);
        at += n;
    }
    return NULL;
}

static void *stream_reader(void *opaque)
{
    Stream *s = opaque;
    uint8_t got[4096];
    for (size_t at = 0; at < s->len;) {
        ssize_t n = recv(s->fd, got, sizeof(got), 0);
        g_assert_cmpint(n, >, 0);
        g_assert_cmpmem(got, n, s->data + at, n);
        at += n;
    }
    return NULL;
}

static void *room_giver(void *opaque)
{
    Nic *nic = opaque;
    while (g_atomic_int_get(&nic->link_changes) == 0) {
        g_atomic_int_set(&nic->room, g_random_int_range(0, 20));
        event_loop_call(nic->loop, resume_in_loop, nic);
        g_usleep(200);
    }
    g_atomic_int_set(&nic->room, -1);
    event_loop_call(nic->loop, resume_in_loop, nic);
    return NULL;
}

static void test_long_streams_arrive_unchanged(void)
{
    enum { DOWN = 4 << 20, UP = 1 << 20, SEGMENT = 1400 };
    unsigned port = free_port();
    g_autofree char *text = g_strdup_printf("user,id=n,hostfwd=tcp:127.0.0.1:%u-:22", port);
    g_autofree uint8_t *data = g_malloc(DOWN);
    for (size_t i = 0; i < DOWN; i++) {
        data[i] = i * 2654435761u >> 24;
    }
    Nic *nic = nic_new(text);
    learn_gateway(nic);
    int fd = connect_port(port);
    Tcp t = { .nic = nic, .seq = 1, .got = g_string_new(NULL) };
    Stream down = { .fd = fd, .len = DOWN, .data = data };
    Stream up = { .fd = fd, .len = UP, .data = data };
    GThread *giver = g_thread_new("room", room_giver, nic);
    GThread *writer = g_thread_new("writer", stream_writer, &down);
    while (t.got->len < DOWN) {
        tcp_step(&t);
    }
    g_assert_cmpmem(t.got->str, t.got->len, data, DOWN);
    g_thread_join(writer);
    g_atomic_int_set(&nic->link_changes, 1);
    g_thread_join(giver);
    GThread *reader = g_thread_new("reader", stream_reader, &up);
    for (size_t at = 0; at < UP; at += SEGMENT) {
        tcp_send(&t, ACK, data + at, MIN(SEGMENT, UP - at));
        for (uint32_t acked = 0; acked != t.seq;) {
            g_autofree Frame *f = next_ip(nic, 6);
            acked = load_be32(f->data + 42);
        }
    }
    g_thread_join(reader);
    close(fd);
    g_string_free(t.got, TRUE);
    nic_free(nic);
}

/* Paused machines: the port is there, the connection waits for the start. */
static void test_ports_listen_while_stopped(void)
{
    unsigned port = free_port();
    g_autofree char *text = g_strdup_printf("user,id=n,hostfwd=tcp:127.0.0.1:%u-:22", port);
    Nic *nic = nic_new(text);
    learn_gateway(nic);
    net_queue_stop(nic->queue);
    int fd = connect_port(port);
    g_assert_cmpint(send(fd, "early", 5, 0), ==, 5);
    net_queue_start(nic->queue, nic->loop);
    Tcp t = { .nic = nic, .seq = 1, .got = g_string_new(NULL) };
    while (t.got->len < 5) {
        tcp_step(&t);
    }
    g_assert_cmpstr(t.got->str, ==, "early");
    g_string_free(t.got, TRUE);
    close(fd);
    nic_free(nic);
}

static void test_forwardings_come_and_go_while_running(void)
{
    g_autoptr(GError) error = NULL;
    unsigned port = free_port();
    g_autofree char *rule = g_strdup_printf("tcp:127.0.0.1:%u-:22", port);
    g_autofree char *gone = g_strdup_printf("tcp:127.0.0.1:%u", port);
    Nic *nic = nic_new("user,id=n");
    learn_gateway(nic);
    g_assert_true(net_user_hostfwd_add(nic->backend, rule, &error));
    echo_once(nic, port);
    g_assert_false(net_user_hostfwd_add(nic->backend, rule, &error));
    g_assert_nonnull(strstr(error->message, "Address already in use"));
    g_clear_error(&error);
    g_assert_true(net_user_hostfwd_remove(nic->backend, gone, &error));
    g_assert_false(net_user_hostfwd_remove(nic->backend, gone, &error));
    g_clear_error(&error);
    g_assert_false(net_user_hostfwd_add(nic->backend, "nonsense", &error));
    nic_free(nic);
}

static void test_taken_port_is_an_error_at_start(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, sizeof(in)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&in, &len), ==, 0);
    g_autofree char *text =
        g_strdup_printf("user,id=n,hostfwd=tcp:127.0.0.1:%u-:22", ntohs(in.sin_port));
    g_autofree char *expected =
        g_strdup_printf("hostfwd 'tcp:127.0.0.1:%u-:22': the host's port %u cannot be opened: "
                        "Address already in use",
                        ntohs(in.sin_port), ntohs(in.sin_port));
    g_autoptr(GError) error = NULL;
    g_assert_null(make(text, &error));
    g_assert_nonnull(strstr(error->message, expected));
    g_assert_null(net_backend_find("n"));
    close(fd);
}

static void test_guest_reaches_a_chardev(void)
{
    g_autoptr(GError) error = NULL;
    Chardev *c = chardev_new_legacy("ringbuf", "rb", &error);
    g_assert_no_error(error);
    Nic *nic = nic_new("user,id=n,restrict=on,guestfwd=tcp:10.0.2.100:1234-chardev:rb");
    learn_gateway(nic);
    Tcp t = { .nic = nic,
              .seq = 7,
              .port = 40000,
              .peer_ip = 0x0a000264,
              .peer_port = 1234,
              .got = g_string_new(NULL) };
    tcp_send(&t, SYN, "", 0);
    while (!t.ack) {
        tcp_step(&t);
    }
    tcp_send(&t, PSH | ACK, "to the host", 11);
    g_autoptr(GByteArray) out = g_byte_array_new();
    while (out->len < 11) {
        g_assert_true(chardev_ringbuf_read(c, 100, out, NULL));
        g_usleep(1000);
    }
    g_assert_cmpmem(out->data, out->len, "to the host", 11);
    g_string_free(t.got, TRUE);
    nic_free(nic);
    g_assert_true(chardev_delete("rb", NULL));
}

static void ping_numbered(Nic *nic, uint16_t number)
{
    Frame f;
    memset(&f, 0, sizeof(f));
    memcpy(f.data + 34, "\x08\0\0\0\x12\x34\0\0", 8);
    store_be16(f.data + 40, number);
    store_be16(f.data + 36, checksum(f.data + 34, 8, 0));
    ipv4(&f, nic, 1, GUEST_IP, GATEWAY_IP, 8);
    g_assert_cmpint(nic_send(nic, &f), ==, NET_SENT);
}

/* One part of a datagram: offset in bytes. */
static void send_part(Nic *nic, uint16_t id, const uint8_t *datagram, size_t offset, size_t len,
                      bool more)
{
    Frame f;
    memset(&f, 0, sizeof(f));
    memcpy(f.data + 34, datagram + MIN(offset, 1600 - len), len);
    ipv4(&f, nic, 1, GUEST_IP, GATEWAY_IP, len);
    store_be16(f.data + 18, id);
    store_be16(f.data + 20, offset / 8 | (more ? 0x2000 : 0));
    store_be16(f.data + 24, 0);
    store_be16(f.data + 24, checksum(f.data + 14, 20, 0));
    g_assert_cmpint(nic_send(nic, &f), ==, NET_SENT);
}

static void make_ping(uint8_t *datagram, size_t len, uint16_t number)
{
    for (size_t i = 0; i < len; i++) {
        datagram[i] = i * 3;
    }
    memcpy(datagram, "\x08\0\0\0\x12\x34", 6);
    store_be16(datagram + 6, number);
    store_be16(datagram + 2, checksum(datagram, len, 0));
}

static void test_fragments_are_joined_in_any_order(void)
{
    static const uint8_t orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 }, { 2, 0, 1 } };
    enum { LEN = 1200, PART = 400 };
    Nic *nic = nic_new("user,id=n,ipv6=off");
    uint8_t ping[1600];
    learn_gateway(nic);
    for (unsigned i = 0; i < G_N_ELEMENTS(orders); i++) {
        make_ping(ping, LEN, i);
        for (unsigned k = 0; k < 3; k++) {
            size_t offset = orders[i][k] * PART;
            send_part(nic, 100 + i, ping, offset, PART, offset + PART < LEN);
        }
        g_autofree Frame *reply = next_ip(nic, 1);
        g_assert_cmpint(reply->data[34], ==, 0);
        g_assert_cmpmem(reply->data + 38, LEN - 4, ping + 4, LEN - 4);
    }
    nic_free(nic);
}

/* Overlaps, holes, parts beyond the end, more datagrams than there is room for: dropped, and what
 * comes after them works. */
static void test_bad_fragments_are_dropped(void)
{
    Nic *nic = nic_new("user,id=n,ipv6=off");
    uint8_t ping[1600];
    learn_gateway(nic);
    make_ping(ping, 800, 1);
    send_part(nic, 1, ping, 0, 400, true);
    send_part(nic, 1, ping, 392, 408, false); /* overlaps */
    send_part(nic, 2, ping, 800, 8, true);
    send_part(nic, 2, ping, 48, 8, false); /* ends before the other part */
    send_part(nic, 2, ping, 0, 40, true);
    send_part(nic, 3, ping, 0, 0, true);     /* nothing in it */
    send_part(nic, 4, ping, 0, 13, true);    /* not in units of eight */
    send_part(nic, 5, ping, 65528, 8, true); /* beyond the longest datagram */
    for (unsigned id = 10; id < 200; id++) {
        send_part(nic, id, ping, 0, 400, true);
    }
    g_assert_cmpint(frames_waiting(nic), ==, 0);
    make_ping(ping, 800, 77);
    send_part(nic, 1000, ping, 400, 400, false);
    send_part(nic, 1000, ping, 0, 400, true);
    g_autofree Frame *reply = next_ip(nic, 1);
    g_assert_cmpuint(load_be16(reply->data + 40), ==, 77);
    nic_free(nic);
}

static void test_frames_wait_for_a_slow_nic_in_order_and_bounded(void)
{
    enum { PINGS = 1000, KEPT = 512 };
    Nic *nic = nic_new("user,id=n,ipv6=off");
    learn_gateway(nic);
    g_atomic_int_set(&nic->room, 0);
    for (unsigned i = 0; i < PINGS; i++) {
        ping_numbered(nic, i);
    }
    g_assert_cmpint(frames_waiting(nic), ==, 0);
    g_atomic_int_set(&nic->room, 100);
    event_loop_call(nic->loop, resume_in_loop, nic);
    g_assert_cmpint(frames_waiting(nic), ==, 100);
    g_atomic_int_set(&nic->room, -1);
    event_loop_call(nic->loop, resume_in_loop, nic);
    g_assert_cmpint(frames_waiting(nic), ==, KEPT);
    for (unsigned i = 0; i < KEPT; i++) {
        g_autofree Frame *f = next_ip(nic, 1);
        g_assert_cmpuint(load_be16(f->data + 40), ==, i);
    }
    ping_numbered(nic, 4711);
    g_autofree Frame *f = next_ip(nic, 1);
    g_assert_cmpuint(load_be16(f->data + 40), ==, 4711);
    nic_free(nic);
}

static void test_a_link_that_is_down_carries_nothing(void)
{
    g_autoptr(GError) error = NULL;
    Nic *nic = nic_new("user,id=n,ipv6=off");
    Frame f;
    learn_gateway(nic);
    g_assert_true(net_backend_set_link("n", false, &error));
    g_assert_cmpint(nic->link_changes, ==, 1);
    arp(&f, 1, GATEWAY_IP, NULL);
    g_assert_cmpint(nic_send(nic, &f), ==, NET_SEND_DROPPED);
    g_assert_cmpint(frames_waiting(nic), ==, 0);
    g_assert_true(net_backend_set_link("nic0", true, &error));
    g_assert_cmpint(nic->link_changes, ==, 2);
    g_assert_false(net_backend_set_link("nobody", true, &error));
    learn_gateway(nic);
    nic_free(nic);
}

static void test_odd_frames_do_no_harm(void)
{
    Nic *nic = nic_new("user,id=n");
    Frame f;
    g_test_message("short frames, then IP with lengths that lie");
    for (size_t len = 0; len <= 60; len++) {
        arp(&f, 1, GATEWAY_IP, NULL);
        f.len = len;
        nic_send(nic, &f);
    }
    for (unsigned lie = 0; lie < 2000; lie += 7) {
        memset(&f, 0, sizeof(f));
        ipv4(&f, nic, lie % 3 ? 6 : 17, GUEST_IP, GATEWAY_IP, 100);
        f.data[14] = 0x40 | (lie % 16);
        store_be16(f.data + 16, lie * 37);
        nic_send(nic, &f);
    }
    learn_gateway(nic);
    nic_free(nic);
}

static void test_bad_options_are_refused(void)
{
    assert_refused("user", "needs an id");
    assert_refused("usr,id=n", "did you mean 'user'");
    assert_refused("hubport,id=n", "QEMU has");
    assert_refused("user,id=n,wat=1", "wat");
    assert_refused("user,id=n,net=10.0.0.0/33", "mask");
    assert_refused("user,id=n,net=10.0.0.0/30", "too small");
    assert_refused("user,id=n,net=10.0.0.0/255.0.255.0", "holes");
    assert_refused("user,id=n,net=ten", "net=ten");
    assert_refused("user,id=n,host=10.9.9.9", "outside");
    assert_refused("user,id=n,host=10.0.2.255", "broadcast");
    assert_refused("user,id=n,dns=10.0.2.2", "differ");
    assert_refused("user,id=n,ipv4=off,ipv6=off", "no protocol");
    assert_refused("user,id=n,ipv6-prefix=wat", "IPv6 address");
    assert_refused("user,id=n,ipv6-host=2001::1", "IPv6 network");
    assert_refused("user,id=n,ipv6-prefixlen=200", "ipv6-prefixlen");
    assert_refused("user,id=n,tftp=/nonexistent", "tftp");
    assert_refused("user,id=n,smb=/tmp", "QEMU has");
    assert_refused("user,id=n,hostname=a-name-that-is-longer-than-dhcp-has-room-for", "too long");
    assert_refused("user,id=n,restrict=maybe", "restrict");
    assert_refused("user,id=n,hostfwd=22-22", "tcp:");
    assert_refused("user,id=n,hostfwd=sctp::1-:2", "tcp:");
    assert_refused("user,id=n,hostfwd=tcp::1", "GUESTPORT");
    assert_refused("user,id=n,hostfwd=tcp::1-:0", "port is 0");
    assert_refused("user,id=n,hostfwd=tcp::1-:99999", "port");
    assert_refused("user,id=n,hostfwd=tcp:wat:1-:2", "IPv4");
    assert_refused("user,id=n,guestfwd=udp:10.0.2.100:1-null", "SERVER:PORT");
    assert_refused("user,id=n,guestfwd=tcp:10.0.2.100:1-chardev:none", "no chardev");
    assert_refused("user,id=n,guestfwd=tcp:1.2.3.4:1-null", "outside");
}

static void test_json_form_is_the_same(void)
{
    g_autoptr(GError) error = NULL;
    unsigned port = free_port();
    g_autofree char *text = g_strdup_printf(
        "{\"type\":\"user\",\"id\":\"n\",\"ipv6\":false,\"dnssearch\":[{\"str\":\"x.example\"}],"
        "\"hostfwd\":[{\"str\":\"tcp:127.0.0.1:%u-:22\"}]}",
        port);
    NetBackend *b = make(text, &error);
    g_assert_no_error(error);
    int fd = connect_port(port);
    close(fd);
    g_autofree char *info = net_backend_info(b);
    g_assert_cmpstr(info, ==, "n: index=0,type=user,net=10.0.2.0,restrict=off");
    g_assert_true(net_backend_delete("n", &error));
}

static void test_default_macs_count_up(void)
{
    uint8_t first[6], second[6];
    net_default_mac(first);
    net_default_mac(second);
    g_assert_cmpmem(first, 6, "\x52\x54\x00\x12\x34\x56", 6);
    g_assert_cmpmem(second, 6, "\x52\x54\x00\x12\x34\x57", 6);
}

typedef struct EngineTest {
    LoopEngine engine;
    void (*fn)(void);
} EngineTest;

static void run_with_engine(const void *opaque)
{
    const EngineTest *test = opaque;
    engine = test->engine;
    test->fn();
}

static void add_tests(const char *name, LoopEngine loop_engine)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } tests[] = {
        { "gateway-answers-arp", test_gateway_answers_arp },
        { "gateway-answers-ping", test_gateway_answers_ping },
        { "dhcp-tells-what-was-asked-for", test_dhcp_tells_what_was_asked_for },
        { "forwarded-port-reaches-the-guest", test_forwarded_port_reaches_the_guest },
        { "long-streams-arrive-unchanged", test_long_streams_arrive_unchanged },
        { "ports-listen-while-stopped", test_ports_listen_while_stopped },
        { "forwardings-come-and-go", test_forwardings_come_and_go_while_running },
        { "guest-reaches-a-chardev", test_guest_reaches_a_chardev },
        { "frames-wait-for-a-slow-nic", test_frames_wait_for_a_slow_nic_in_order_and_bounded },
        { "fragments-are-joined-in-any-order", test_fragments_are_joined_in_any_order },
        { "bad-fragments-are-dropped", test_bad_fragments_are_dropped },
        { "a-link-that-is-down", test_a_link_that_is_down_carries_nothing },
        { "odd-frames-do-no-harm", test_odd_frames_do_no_harm },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/net-user/%s/%s", name, tests[i].name);
        EngineTest *test = g_new(EngineTest, 1);
        *test = (EngineTest){ .engine = loop_engine, .fn = tests[i].fn };
        g_test_add_data_func_full(path, test, run_with_engine, g_free);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    clock_virtual_run(true);
    g_test_add_func("/net-user/bad-options-are-refused", test_bad_options_are_refused);
    g_test_add_func("/net-user/taken-port-is-an-error", test_taken_port_is_an_error_at_start);
    g_test_add_func("/net-user/json-form-is-the-same", test_json_form_is_the_same);
    g_test_add_func("/net-user/default-macs-count-up", test_default_macs_count_up);
    add_tests("default", LOOP_ENGINE_AUTO);
    add_tests("epoll", LOOP_ENGINE_EPOLL);
    return g_test_run();
}
