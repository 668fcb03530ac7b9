/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices on sockets: servers and clients, telnet, UDP, descriptors, flow control both
 * ways. */
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/unit/chardev-kit.h"

static void test_server_takes_clients_in_turn(void)
{
    g_autofree char *path = NULL;
    Chardev *c = unix_server("seq", "", &path);
    Listener *l = listener_new(c);
    run_pending();
    g_assert_false(char_is_connected(l->fe));
    send_text(l, "nobody hears this");
    for (int i = 1; i <= 3; i++) {
        int fd = connect_unix(path);
        RUN_UNTIL(l->opened == i);
        g_assert_true(char_is_connected(l->fe));
        g_assert_cmpint(write(fd, "ping", 4), ==, 4);
        RUN_UNTIL(l->got->len == 4u * i);
        send_text(l, "pong");
        expect_bytes(fd, "pong", 4);
        close(fd);
        RUN_UNTIL(l->closed == i);
    }
    listener_free(l);
    drop("c");
    g_assert_cmpint(access(path, F_OK), ==, -1);
}

static void test_second_client_waits_for_the_first(void)
{
    g_autofree char *path = NULL;
    Listener *l = listener_new(unix_server("two", "", &path));
    int first = connect_unix(path);
    RUN_UNTIL(l->opened == 1);
    int second = connect_unix(path);
    g_assert_cmpint(write(second, "2", 1), ==, 1);
    g_assert_cmpint(write(first, "1", 1), ==, 1);
    RUN_UNTIL(l->got->len == 1);
    g_assert_cmpstr(l->got->str, ==, "1");
    close(first);
    RUN_UNTIL(l->got->len == 2);
    g_assert_cmpstr(l->got->str, ==, "12");
    close(second);
    listener_free(l);
    drop("c");
}

static void test_input_waits_for_room(void)
{
    g_autofree char *path = NULL;
    Listener *l = listener_new(unix_server("room", "", &path));
    l->room = 3;
    int fd = connect_unix(path);
    g_assert_cmpint(write(fd, "abcdefgh", 8), ==, 8);
    RUN_UNTIL(l->got->len == 3);
    for (int i = 0; i < 20; i++) {
        run_pending();
    }
    g_assert_cmpuint(l->got->len, ==, 3);
    l->room = 100;
    char_accept_input(l->fe);
    RUN_UNTIL(l->got->len == 8);
    close(fd);
    listener_free(l);
    drop("c");
}

static void test_hangup_is_seen_while_input_waits(void)
{
    g_autofree char *path = NULL;
    Listener *l = listener_new(unix_server("hup", "", &path));
    l->room = 0;
    int fd = connect_unix(path);
    RUN_UNTIL(l->opened == 1);
    close(fd);
    RUN_UNTIL(l->closed == 1);
    listener_free(l);
    drop("c");
}

/* Fills the socket; the writer is told how much went, and when it can go on. */
static void test_slow_reader_never_blocks_the_writer(void)
{
    g_autofree char *path = NULL;
    Listener *l = listener_new(unix_server("slow", "", &path));
    int fd = connect_unix(path);
    RUN_UNTIL(l->opened == 1);
    static uint8_t block[65536];
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] = i * 7 + i / 256;
    }
    size_t sent = 0, n;
    while ((n = char_write(l->fe, block, sizeof(block))) == sizeof(block)) {
        sent += n;
    }
    sent += n;
    g_assert_cmpint(l->writable, ==, 0);
    size_t received = 0;
    static uint8_t got[65536];
    while (received < sent) {
        ssize_t r = read(fd, got, sizeof(got) - received % sizeof(got));
        g_assert_cmpint(r, >, 0);
        g_assert_cmpmem(got, r, block + received % sizeof(block), r);
        received += r;
    }
    RUN_UNTIL(l->writable == 1);
    g_assert_cmpuint(char_write(l->fe, block, 10), ==, 10);
    close(fd);
    listener_free(l);
    drop("c");
}

static void test_write_all_queues_in_order(void)
{
    g_autofree char *path = NULL;
    Listener *l = listener_new(unix_server("queue", ",telnet=on", &path));
    int fd = connect_unix(path);
    RUN_UNTIL(l->opened == 1);
    enum { TOTAL = 3 << 20 };
    g_autofree uint8_t *data = g_malloc(TOTAL);
    for (size_t i = 0; i < TOTAL; i++) {
        data[i] = i % 251 == 7 ? 0xff : i;
    }
    char_write_all(l->fe, data, TOTAL);
    uint8_t greeting[12];
    g_assert_cmpint(read(fd, greeting, 12), ==, 12);
    g_assert_cmpuint(greeting[0], ==, 0xff);
    size_t at = 0;
    bool half = false;
    static uint8_t got[65536];
    while (at < TOTAL) {
        run_pending();
        ssize_t r = recv(fd, got, sizeof(got), MSG_DONTWAIT);
        for (ssize_t i = 0; i < r; i++) {
            g_assert_cmpuint(got[i], ==, data[at]);
            if (got[i] == 0xff && !half) {
                half = true; /* every IAC comes twice */
            } else {
                half = false;
                at++;
            }
        }
    }
    close(fd);
    listener_free(l);
    drop("c");
}

static void test_peer_that_vanishes_frees_the_writer(void)
{
    g_autofree char *path = NULL;
    Listener *l = listener_new(unix_server("gone", "", &path));
    int fd = connect_unix(path);
    RUN_UNTIL(l->opened == 1);
    static uint8_t block[65536];
    while (char_write(l->fe, block, sizeof(block)) == sizeof(block)) {
    }
    close(fd);
    RUN_UNTIL(l->closed == 1 && l->writable == 1);
    g_assert_cmpuint(char_write(l->fe, block, sizeof(block)), ==, sizeof(block));
    listener_free(l);
    drop("c");
}

static void test_stale_socket_is_replaced(void)
{
    g_autofree char *path = in_folder("stale");
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    close(fd);
    g_autofree char *same = NULL;
    Listener *l = listener_new(unix_server("stale", "", &same));
    fd = connect_unix(path);
    RUN_UNTIL(l->opened == 1);
    close(fd);
    listener_free(l);
    drop("c");
}

static void test_socket_path_never_follows_a_symbolic_link(void)
{
    g_autofree char *target = in_folder("target"), *link = in_folder("link");
    g_file_set_contents(target, "precious", -1, NULL);
    g_assert_cmpint(symlink(target, link), ==, 0);
    g_autofree char *text = g_strdup_printf("socket,id=c,path=%s,server=on,wait=off", link);
    assert_refused(text, "symbolic link");
    g_autofree char *file = g_strdup_printf("socket,id=c,path=%s,server=on,wait=off", target);
    assert_refused(file, "not a socket");
    g_autofree char *contents = NULL;
    g_assert_true(g_file_get_contents(target, &contents, NULL, NULL));
    g_assert_cmpstr(contents, ==, "precious");
}

static void send_fds(int socket_fd, const int *fds, size_t count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(253 * sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = "x", .iov_len = 1 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    g_assert_cmpint(sendmsg(socket_fd, &msg, 0), ==, 1);
}

static void test_descriptors_are_passed_and_bounded(void)
{
    g_autofree char *path = NULL;
    Listener *l = listener_new(unix_server("fds", "", &path));
    int client = connect_unix(path);
    RUN_UNTIL(l->opened == 1);
    g_assert_cmpint(char_take_fd(l->fe), ==, -1);
    int pair[2];
    g_assert_cmpint(pipe(pair), ==, 0);
    for (unsigned i = 1; i <= 40; i++) {
        send_fds(client, &pair[1], 1);
        RUN_UNTIL(l->got->len == i);
    }
    int taken = 0, fd;
    while ((fd = char_take_fd(l->fe)) >= 0) {
        g_assert_cmpint(write(fd, "!", 1), ==, 1);
        g_assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
        taken++;
    }
    g_assert_cmpint(taken, ==, 16);
    close(pair[0]);
    close(pair[1]);
    close(client);
    listener_free(l);
    drop("c");
}

static void test_of_a_message_one_descriptor_is_kept(void)
{
    g_autofree char *path = NULL;
    Listener *l = listener_new(unix_server("many", "", &path));
    int client = connect_unix(path);
    RUN_UNTIL(l->opened == 1);
    int fds[253];
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = client;
    }
    send_fds(client, fds, G_N_ELEMENTS(fds));
    RUN_UNTIL(l->got->len == 1);
    int fd = char_take_fd(l->fe);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    g_assert_cmpint(char_take_fd(l->fe), ==, -1);
    close(client);
    listener_free(l);
    drop("c");
}

static unsigned tcp_port_of(Chardev *c)
{
    g_autofree char *name = chardev_filename(c);
    const char *server = strstr(name, ",server");
    g_assert_nonnull(server);
    const char *p = server;
    while (p[-1] != ':') {
        p--;
    }
    return atoi(p);
}

static void test_telnet_negotiates_and_hides_its_protocol(void)
{
    Chardev *c = make("socket,id=c,host=127.0.0.1,port=0,server=on,wait=off,telnet=on,nodelay=on");
    g_autofree char *name = chardev_filename(c);
    g_assert_true(g_str_has_prefix(name, "disconnected:telnet:127.0.0.1:"));
    Listener *l = listener_new(c);
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(tcp_port_of(c)),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&in, sizeof(in)), ==, 0);
    RUN_UNTIL(l->opened == 1);
    expect_bytes(fd, "\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00", 12);
    static const char wire[] = "a\xff\xfd\x01"
                               "b\xff\xff"
                               "\xff\xfa\x18\x01\xff\xf0"
                               "\xff\xf3"
                               "c\r\0d";
    for (size_t i = 0; i < sizeof(wire) - 1; i++) {
        g_assert_cmpint(write(fd, wire + i, 1), ==, 1); /* split at every byte */
        run_pending();
    }
    RUN_UNTIL(l->got->len == 6);
    g_assert_cmpmem(l->got->str, l->got->len,
                    "ab\xff"
                    "c\rd",
                    6);
    g_assert_cmpint(l->breaks, ==, 1);
    send_text(l, "x\xffy");
    expect_bytes(fd, "x\xff\xffy", 4);
    close(fd);
    listener_free(l);
    drop("c");
}

static void test_client_connects_again(void)
{
    g_autofree char *path = in_folder("again");
    g_autofree char *text = g_strdup_printf("socket,id=c,path=%s,reconnect-ms=20", path);
    Listener *l = listener_new(make(text));
    run_pending();
    g_assert_cmpint(l->opened, ==, 0);
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(server, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    g_assert_cmpint(listen(server, 1), ==, 0);
    for (int i = 1; i <= 2; i++) {
        RUN_UNTIL(l->opened == i);
        int fd = accept(server, NULL, NULL);
        g_assert_cmpint(write(fd, "hi", 2), ==, 2);
        RUN_UNTIL(l->got->len == 2u * i);
        close(fd);
        RUN_UNTIL(l->closed == i);
    }
    close(server);
    listener_free(l);
    drop("c");
}

static void test_taken_port_is_an_error(void)
{
    Chardev *c = make("socket,id=first,host=127.0.0.1,port=0,server=on,wait=off");
    g_autofree char *text =
        g_strdup_printf("socket,id=c,host=127.0.0.1,port=%u,server=on,wait=off", tcp_port_of(c));
    assert_refused(text, "Address already in use");
    drop("first");
}

static void test_udp_keeps_what_has_no_room(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, sizeof(in)), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&in, &len), ==, 0);
    g_autofree char *text = g_strdup_printf("udp,id=c,host=127.0.0.1,port=%u", ntohs(in.sin_port));
    Listener *l = listener_new(make(text));
    l->room = 2;
    send_text(l, "hello");
    char buffer[16];
    g_assert_cmpint(recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&in, &len), ==, 5);
    g_assert_cmpint(sendto(fd, "abcdef", 6, 0, (struct sockaddr *)&in, len), ==, 6);
    RUN_UNTIL(l->got->len == 2);
    l->room = 100;
    char_accept_input(l->fe);
    RUN_UNTIL(l->got->len == 6);
    g_assert_cmpstr(l->got->str, ==, "abcdef");
    close(fd);
    listener_free(l);
    drop("c");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/chardev-socket/server-takes-clients-in-turn",
                    test_server_takes_clients_in_turn);
    g_test_add_func("/chardev-socket/second-client-waits", test_second_client_waits_for_the_first);
    g_test_add_func("/chardev-socket/input-waits-for-room", test_input_waits_for_room);
    g_test_add_func("/chardev-socket/hangup-is-seen-while-input-waits",
                    test_hangup_is_seen_while_input_waits);
    g_test_add_func("/chardev-socket/slow-reader-never-blocks",
                    test_slow_reader_never_blocks_the_writer);
    g_test_add_func("/chardev-socket/write-all-queues-in-order", test_write_all_queues_in_order);
    g_test_add_func("/chardev-socket/vanished-peer-frees-the-writer",
                    test_peer_that_vanishes_frees_the_writer);
    g_test_add_func("/chardev-socket/stale-socket-is-replaced", test_stale_socket_is_replaced);
    g_test_add_func("/chardev-socket/socket-path-follows-no-link",
                    test_socket_path_never_follows_a_symbolic_link);
    g_test_add_func("/chardev-socket/descriptors-are-passed-and-bounded",
                    test_descriptors_are_passed_and_bounded);
    g_test_add_func("/chardev-socket/telnet", test_telnet_negotiates_and_hides_its_protocol);
    g_test_add_func("/chardev-socket/client-connects-again", test_client_connects_again);
    g_test_add_func("/chardev-socket/taken-port-is-an-error", test_taken_port_is_an_error);
    g_test_add_func("/chardev-socket/udp-keeps-what-has-no-room", test_udp_keeps_what_has_no_room);
    g_test_add_func("/chardev-socket/of-a-message-one-descriptor-is-kept",
                    test_of_a_message_one_descriptor_is_kept);
    return chardev_kit_run();
}
