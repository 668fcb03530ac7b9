/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: each back end from both sides, flow control both ways, the mux and its keys.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include "vmm/chardev/chardev.h"

/* ---- A front end that records ---- */

typedef struct Listener {
    CharFrontend *fe;
    GString *got;
    size_t room;
    int opened, closed, breaks, mux_in, mux_out, writable;
} Listener;

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

static const CharFrontendOps listener_ops = {
    .can_read = listener_can_read,
    .read = listener_read,
    .event = listener_event,
    .writable = listener_writable,
    .changeable = true,
};

static Listener *listener_new(Chardev *c)
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

static void listener_free(Listener *l)
{
    char_frontend_detach(l->fe);
    g_string_free(l->got, TRUE);
    g_free(l);
}

static gboolean on_tick(void *opaque)
{
    return G_SOURCE_CONTINUE;
}

/* Runs the main context until the condition holds; the test's own time limit ends a vain wait. */
#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        guint tick_ = g_timeout_add(5, on_tick, NULL);                                             \
        while (!(condition)) {                                                                     \
            g_main_context_iteration(NULL, TRUE);                                                  \
        }                                                                                          \
        g_source_remove(tick_);                                                                    \
    } while (0)

static void run_pending(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static Chardev *make(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) o = opts_parse(text, "backend", &error);
    g_assert_no_error(error);
    Chardev *c = chardev_new(o, &error);
    g_assert_no_error(error);
    g_assert_nonnull(c);
    return c;
}

static void assert_refused(const char *text, const char *expected)
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

static void drop(const char *id)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(chardev_delete(id, &error));
    g_assert_no_error(error);
}

static void send_text(Listener *l, const char *text)
{
    g_assert_cmpuint(char_write(l->fe, (const uint8_t *)text, strlen(text)), ==, strlen(text));
}

/* ---- A temporary folder ---- */

static char *folder;

static char *in_folder(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

/* Reads exactly len bytes while the main loop runs. */
static void expect_bytes(int fd, const void *bytes, size_t len)
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

/* ---- Options ---- */

static void test_bad_options_are_refused(void)
{
    assert_refused("file,id=c", "path=");
    assert_refused("nosuch,id=c", "not a chardev back end");
    assert_refused("sokcet,id=c", "did you mean 'socket'");
    assert_refused("vc,id=c", "QEMU has");
    assert_refused("null", "needs an id");
    assert_refused("null,id=7up", "not valid");
    assert_refused("null,id=c,wat=1", "wat");
    assert_refused("null,id=c,mux=perhaps", "mux");
    assert_refused("ringbuf,id=c,size=1000", "power of two");
    assert_refused("ringbuf,id=c,size=1T", "power of two");
    assert_refused("socket,id=c", "path=");
    assert_refused("socket,id=c,path=/x,port=1", "exclude");
    assert_refused("socket,id=c,path=/nonexistent/x", "/nonexistent/x");
    assert_refused("socket,id=c,port=1,host=127.0.0.1,tls-creds=t", "QEMU has");
    assert_refused("socket,id=c,port=1,host=127.0.0.1,wait=on", "server=on");
    assert_refused("socket,id=c,port=1,server=on,reconnect=1", "reconnect");
    assert_refused("socket,id=c,fd=9999", "started with");
    assert_refused("udp,id=c", "port=");
    assert_refused("serial,id=c,path=/dev/null", "not a terminal");
    assert_refused("file,id=c,path=/nonexistent/x", "No such file");
    assert_refused("null,id=c,logfile=/nonexistent/x", "log file");
    assert_refused("pipe,id=c,path=/nonexistent/x", "No such file");
}

static void test_an_id_is_taken_once(void)
{
    make("null,id=c0");
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) o = opts_parse("null,id=c0", "backend", NULL);
    g_assert_null(chardev_new(o, &error));
    g_assert_nonnull(strstr(error->message, "chardev 'c0' already"));
    drop("c0");
}

static void test_a_device_in_use_is_not_deleted_nor_shared(void)
{
    g_autoptr(GError) error = NULL;
    Chardev *c = make("null,id=c");
    Listener *l = listener_new(c);
    g_assert_false(chardev_delete("c", &error));
    g_clear_error(&error);
    g_assert_null(char_frontend_attach(c, &listener_ops, l, &error));
    g_assert_nonnull(error);
    listener_free(l);
    drop("c");
}

/* ---- ringbuf, file, pipe, null ---- */

static void test_ringbuf_keeps_the_newest(void)
{
    Chardev *c = make("ringbuf,id=c,size=8");
    Listener *l = listener_new(c);
    send_text(l, "abcdefghij");
    send_text(l, "kl");
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_assert_true(chardev_ringbuf_read(c, 5, out, NULL));
    g_assert_cmpmem(out->data, out->len, "efghi", 5);
    g_assert_true(chardev_ringbuf_read(c, 100, out, NULL));
    g_assert_cmpmem(out->data, out->len, "efghijkl", 8);
    listener_free(l);
    drop("c");
}

static void test_file_appends_and_reads(void)
{
    g_autofree char *path = in_folder("out"), *input = in_folder("in"), *log = in_folder("log");
    g_file_set_contents(path, "old ", -1, NULL);
    g_file_set_contents(input, "typed", -1, NULL);
    g_autofree char *text =
        g_strdup_printf("file,id=c,path=%s,append=on,input-path=%s,logfile=%s", path, input, log);
    Listener *l = listener_new(make(text));
    RUN_UNTIL(l->got->len == 5);
    g_assert_cmpstr(l->got->str, ==, "typed");
    g_assert_cmpint(l->opened, ==, 1);
    send_text(l, "new");
    listener_free(l);
    drop("c");
    g_autofree char *contents = NULL, *logged = NULL;
    g_file_get_contents(path, &contents, NULL, NULL);
    g_file_get_contents(log, &logged, NULL, NULL);
    g_assert_cmpstr(contents, ==, "old new");
    g_assert_cmpstr(logged, ==, "new");
}

static void test_pipe_carries_both_ways(void)
{
    g_autofree char *in = in_folder("p.in"), *out = in_folder("p.out"), *path = in_folder("p");
    g_assert_cmpint(mkfifo(in, 0600), ==, 0);
    g_assert_cmpint(mkfifo(out, 0600), ==, 0);
    g_autofree char *text = g_strdup_printf("pipe,id=c,path=%s", path);
    Listener *l = listener_new(make(text));
    int to = open(in, O_WRONLY), from = open(out, O_RDONLY | O_NONBLOCK);
    g_assert_cmpint(write(to, "hi", 2), ==, 2);
    RUN_UNTIL(l->got->len == 2);
    send_text(l, "yo");
    expect_bytes(from, "yo", 2);
    close(to);
    close(from);
    listener_free(l);
    drop("c");
}

/* ---- Sockets ---- */

static Chardev *unix_server(const char *name, const char *more, char **path)
{
    *path = in_folder(name);
    g_autofree char *text =
        g_strdup_printf("socket,id=c,path=%s,server=on,wait=off%s", *path, more);
    return make(text);
}

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

/* ---- pty ---- */

static void test_pty_follows_its_slave(void)
{
    Chardev *c = make("pty,id=c");
    g_autofree char *name = chardev_filename(c);
    g_assert_true(g_str_has_prefix(name, "pty:/dev/pts/"));
    Listener *l = listener_new(c);
    int fd = open(name + 4, O_RDWR | O_NOCTTY | O_NONBLOCK);
    g_assert_cmpint(fd, >=, 0);
    RUN_UNTIL(l->opened == 1);
    g_assert_cmpint(write(fd, "in", 2), ==, 2);
    RUN_UNTIL(l->got->len == 2);
    send_text(l, "out\n");
    expect_bytes(fd, "out\n", 4);
    close(fd);
    RUN_UNTIL(l->closed == 1);
    send_text(l, "dropped");
    listener_free(l);
    drop("c");
}

/* ---- mux ---- */

static int quits;

static void on_quit(void)
{
    quits++;
}

static void test_mux_keys(void)
{
    g_autofree char *path = NULL;
    chardev_set_mux_hooks(&(CharMuxHooks){ .quit = on_quit });
    Chardev *c = unix_server("mux", ",mux=on", &path);
    Listener *monitor = listener_new(c), *console = listener_new(c);
    int fd = connect_unix(path);
    RUN_UNTIL(console->opened == 1 && monitor->opened == 1);
    g_assert_cmpint(monitor->mux_out, ==, 1); /* the newest has the focus */
    g_assert_cmpint(console->mux_out, ==, 0);
    static const char keys[] = "A\001\001B"
                               "\001b"
                               "\001cC"
                               "\001cD"
                               "\001x";
    g_assert_cmpint(write(fd, keys, sizeof(keys) - 1), ==, sizeof(keys) - 1);
    RUN_UNTIL(quits == 1);
    g_assert_cmpstr(console->got->str, ==, "A\001BD");
    g_assert_cmpstr(monitor->got->str, ==, "C");
    g_assert_cmpint(console->breaks, ==, 1);
    g_assert_cmpint(console->mux_out, ==, 1);
    g_assert_cmpint(console->mux_in, ==, 1);
    g_assert_cmpint(monitor->mux_in, ==, 1);
    expect_bytes(fd, "vireo: terminated\r\n", 19);
    send_text(console, "one ");
    send_text(monitor, "two");
    expect_bytes(fd, "one two", 7);
    g_assert_cmpint(write(fd, "\001h", 2), ==, 2);
    expect_bytes(fd, "\r\nCtrl-a h ", 11);
    close(fd);
    listener_free(console);
    listener_free(monitor);
    drop("c");
    g_assert_null(chardev_find("c-base"));
}

/* A monitor that comes after the console leaves it the focus. */
static void test_mux_focus_stays_with_the_console(void)
{
    static const CharFrontendOps background_ops = {
        .can_read = listener_can_read,
        .read = listener_read,
        .event = listener_event,
        .background = true,
    };
    g_autofree char *path = NULL;
    Chardev *c = unix_server("focus", ",mux=on", &path);
    Listener *console = listener_new(c);
    Listener monitor = { .got = g_string_new(NULL), .room = 100 };
    monitor.fe = char_frontend_attach(c, &background_ops, &monitor, NULL);
    int fd = connect_unix(path);
    RUN_UNTIL(console->opened == 1 && monitor.opened == 1);
    g_assert_cmpint(monitor.mux_out, ==, 1);
    g_assert_cmpint(write(fd, "a\001cb", 4), ==, 4);
    RUN_UNTIL(monitor.got->len == 1);
    g_assert_cmpstr(console->got->str, ==, "a");
    g_assert_cmpstr(monitor.got->str, ==, "b");
    g_assert_cmpint(monitor.mux_in, ==, 1);
    close(fd);
    char_frontend_detach(monitor.fe);
    g_string_free(monitor.got, TRUE);
    listener_free(console);
    drop("c");
}

/* The escape works while the guest takes nothing. */
static void test_mux_escape_passes_a_hung_guest(void)
{
    g_autofree char *path = NULL;
    quits = 0;
    chardev_set_mux_hooks(&(CharMuxHooks){ .quit = on_quit });
    Listener *console = listener_new(unix_server("hung", ",mux=on", &path));
    console->room = 0;
    int fd = connect_unix(path);
    g_autofree char *typed = g_strnfill(1000, 'x');
    g_assert_cmpint(write(fd, typed, 1000), ==, 1000);
    g_assert_cmpint(write(fd, "\001x", 2), ==, 2);
    RUN_UNTIL(quits == 1);
    console->room = 600;
    char_accept_input(console->fe);
    RUN_UNTIL(console->got->len == 600);
    console->room = 600;
    char_accept_input(console->fe);
    RUN_UNTIL(console->got->len == 1000);
    close(fd);
    listener_free(console);
    drop("c");
}

static void test_mux_time_stamps(void)
{
    g_autofree char *path = NULL;
    Listener *console = listener_new(unix_server("stamp", ",mux=on", &path));
    int fd = connect_unix(path);
    RUN_UNTIL(console->opened == 1);
    g_assert_cmpint(write(fd, "\001tz", 3), ==, 3);
    RUN_UNTIL(console->got->len == 1);
    send_text(console, "a\nb");
    enum { STAMP = 15, TOTAL = 2 * STAMP + 3 };
    char got[TOTAL + 1] = { 0 };
    g_assert_cmpint(recv(fd, got, TOTAL, MSG_WAITALL), ==, TOTAL);
    g_assert_cmpint(got[0], ==, '[');
    g_assert_cmpint(strncmp(got + STAMP - 1, " a\n[", 4), ==, 0);
    g_assert_true(g_str_has_suffix(got, "] b"));
    close(fd);
    listener_free(console);
    drop("c");
}

/* ---- The short forms, chardev-add ---- */

/* ---- Changing ---- */

static Chardev *change_to(const char *text, GError **error)
{
    g_autoptr(Opts) options = opts_parse(text, "backend", NULL);
    return chardev_change("c", options, error);
}

static void write_text(Listener *l, const char *text)
{
    g_assert_cmpuint(char_write(l->fe, (const uint8_t *)text, strlen(text)), ==, strlen(text));
}

static void assert_ringbuf(const char *text)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_assert_true(chardev_ringbuf_read(chardev_find("c"), 100, out, NULL));
    g_assert_cmpmem(out->data, out->len, text, strlen(text));
}

static void test_change_keeps_the_front_end(void)
{
    g_autoptr(GError) error = NULL;
    Listener *l = listener_new(make("ringbuf,id=c,size=16"));
    RUN_UNTIL(l->opened == 1);
    write_text(l, "one");
    g_assert_nonnull(change_to("ringbuf,id=c,size=32", &error));
    g_assert_no_error(error);
    write_text(l, "two");
    assert_ringbuf("two");
    g_assert_cmpint(l->closed, ==, 0);
    /* A socket without a client is closed until one comes; what it says arrives. */
    g_autofree char *path = g_build_filename(folder, "change", NULL);
    g_autofree char *server = g_strdup_printf("socket,id=c,path=%s,server=on,wait=off", path);
    g_assert_nonnull(change_to(server, &error));
    g_assert_cmpint(l->closed, ==, 1);
    int client = connect_unix(path);
    RUN_UNTIL(l->opened == 2);
    g_assert_cmpint(write(client, "in", 2), ==, 2);
    RUN_UNTIL(l->got->len == 2);
    write_text(l, "out");
    char got[4] = "";
    g_assert_cmpint(read(client, got, 3), ==, 3);
    g_assert_cmpstr(got, ==, "out");
    /* Its socket goes with it. */
    g_assert_nonnull(change_to("null,id=c", &error));
    g_assert_cmpint(read(client, got, 1), ==, 0);
    close(client);
    chardev_send_break(chardev_find("c"));
    g_assert_cmpint(l->breaks, ==, 1);
    listener_free(l);
    drop("c");
}

typedef struct Writer {
    CharFrontend *fe;
    int stop;
} Writer;

static gpointer write_always(gpointer opaque)
{
    Writer *w = opaque;
    while (!g_atomic_int_get(&w->stop)) {
        char_write(w->fe, (const uint8_t *)"x", 1);
        char_accept_input(w->fe);
    }
    return NULL;
}

static void test_change_under_writes(void)
{
    Listener *l = listener_new(make("ringbuf,id=c,size=16"));
    RUN_UNTIL(l->opened == 1);
    Writer writer = { .fe = l->fe };
    GThread *thread = g_thread_new("writer", write_always, &writer);
    for (int i = 0; i < 200; i++) {
        g_assert_nonnull(change_to(i % 2 ? "ringbuf,id=c,size=16" : "null,id=c", NULL));
        g_main_context_iteration(NULL, FALSE);
    }
    g_atomic_int_set(&writer.stop, 1);
    g_thread_join(thread);
    listener_free(l);
    drop("c");
}

static void test_change_is_refused(void)
{
    static const CharFrontendOps stays = { 0 };
    g_autoptr(GError) error = NULL;
    make("ringbuf,id=c,size=16");
    g_assert_null(change_to("file,id=c,path=/nonexistent/x", &error));
    g_assert_nonnull(strstr(error->message, "No such file"));
    g_clear_error(&error);
    g_assert_null(change_to("null,id=c,mux=on", &error));
    g_clear_error(&error);
    CharFrontend *fe = char_frontend_attach(chardev_find("c"), &stays, NULL, &error);
    g_assert_null(change_to("null,id=c", &error));
    g_assert_nonnull(strstr(error->message, "cannot change"));
    g_clear_error(&error);
    char_write(fe, (const uint8_t *)"still", 5);
    assert_ringbuf("still");
    char_frontend_detach(fe);
    drop("c");
    make("null,id=c,mux=on");
    g_assert_null(change_to("null,id=c", &error));
    g_assert_nonnull(strstr(error->message, "multiplexers"));
    g_clear_error(&error);
    drop("c");
    g_assert_null(change_to("null,id=c", &error));
    g_assert_nonnull(strstr(error->message, "no chardev 'c'"));
}

static void test_short_forms(void)
{
    g_autofree char *path = in_folder("f,with=comma");
    g_autofree char *file = g_strdup_printf("file:%s", path);
    g_autofree char *sock = g_strdup_printf("unix:%s/s,server,nowait", folder);
    g_autofree char *named = g_strdup_printf("unix:path=%s/a,,b,server=on,wait=off", folder);
    const char *forms[] = { "null",
                            "tcp:127.0.0.1:0,server=on,wait=off",
                            "telnet::0,server,nowait",
                            "mon:tcp:[::1]:0,server,nowait,nodelay",
                            "udp::9",
                            file,
                            sock,
                            named,
                            "ringbuf,size=4k" };
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_nonnull(chardev_new_legacy(forms[i], "c", &error));
        g_assert_no_error(error);
        drop("c");
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(chardev_new_legacy("none", "c", &error));
    g_assert_no_error(error);
    Chardev *c = make("null,id=c");
    g_assert_true(chardev_new_legacy("chardev:c", "d", &error) == c);
    drop("c");
    const char *bad[] = { "chardev:c", "tcp:123", "vc", "wat", "udp:1", "/dev/nonexistent" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_null(chardev_new_legacy(bad[i], "c", &error));
        g_assert_nonnull(error);
        g_clear_error(&error);
    }
}

static void test_chardev_add_arguments(void)
{
    g_autofree char *path = in_folder("qmp");
    g_autofree char *json = g_strdup_printf(
        "{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"unix\","
        "\"data\":{\"path\":\"%s\"}},\"server\":true}}}",
        path);
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) o = opts_parse(json, NULL, &error);
    g_assert_no_error(error);
    Chardev *c = chardev_new(o, &error);
    g_assert_no_error(error);
    g_autofree char *name = chardev_filename(c);
    g_autofree char *expected = g_strdup_printf("disconnected:unix:%s,server=on", path);
    g_assert_cmpstr(name, ==, expected);
    drop("c");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("vireo-chardev-XXXXXX", NULL);
    g_test_add_func("/chardev/bad-options-are-refused", test_bad_options_are_refused);
    g_test_add_func("/chardev/an-id-is-taken-once", test_an_id_is_taken_once);
    g_test_add_func("/chardev/in-use-is-not-deleted-nor-shared",
                    test_a_device_in_use_is_not_deleted_nor_shared);
    g_test_add_func("/chardev/ringbuf-keeps-the-newest", test_ringbuf_keeps_the_newest);
    g_test_add_func("/chardev/file-appends-and-reads", test_file_appends_and_reads);
    g_test_add_func("/chardev/pipe-carries-both-ways", test_pipe_carries_both_ways);
    g_test_add_func("/chardev/server-takes-clients-in-turn", test_server_takes_clients_in_turn);
    g_test_add_func("/chardev/second-client-waits", test_second_client_waits_for_the_first);
    g_test_add_func("/chardev/input-waits-for-room", test_input_waits_for_room);
    g_test_add_func("/chardev/hangup-is-seen-while-input-waits",
                    test_hangup_is_seen_while_input_waits);
    g_test_add_func("/chardev/slow-reader-never-blocks", test_slow_reader_never_blocks_the_writer);
    g_test_add_func("/chardev/write-all-queues-in-order", test_write_all_queues_in_order);
    g_test_add_func("/chardev/vanished-peer-frees-the-writer",
                    test_peer_that_vanishes_frees_the_writer);
    g_test_add_func("/chardev/stale-socket-is-replaced", test_stale_socket_is_replaced);
    g_test_add_func("/chardev/socket-path-follows-no-link",
                    test_socket_path_never_follows_a_symbolic_link);
    g_test_add_func("/chardev/descriptors-are-passed-and-bounded",
                    test_descriptors_are_passed_and_bounded);
    g_test_add_func("/chardev/telnet", test_telnet_negotiates_and_hides_its_protocol);
    g_test_add_func("/chardev/client-connects-again", test_client_connects_again);
    g_test_add_func("/chardev/taken-port-is-an-error", test_taken_port_is_an_error);
    g_test_add_func("/chardev/udp-keeps-what-has-no-room", test_udp_keeps_what_has_no_room);
    g_test_add_func("/chardev/pty-follows-its-slave", test_pty_follows_its_slave);
    g_test_add_func("/chardev/mux-keys", test_mux_keys);
    g_test_add_func("/chardev/mux-focus-stays-with-the-console",
                    test_mux_focus_stays_with_the_console);
    g_test_add_func("/chardev/mux-escape-passes-a-hung-guest", test_mux_escape_passes_a_hung_guest);
    g_test_add_func("/chardev/mux-time-stamps", test_mux_time_stamps);
    g_test_add_func("/chardev/of-a-message-one-descriptor-is-kept",
                    test_of_a_message_one_descriptor_is_kept);
    g_test_add_func("/chardev/change-keeps-the-front-end", test_change_keeps_the_front_end);
    g_test_add_func("/chardev/change-under-writes", test_change_under_writes);
    g_test_add_func("/chardev/change-is-refused", test_change_is_refused);
    g_test_add_func("/chardev/short-forms", test_short_forms);
    g_test_add_func("/chardev/chardev-add-arguments", test_chardev_add_arguments);
    int status = g_test_run();
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", folder);
    status |= system(remove);
    g_free(folder);
    return status;
}
