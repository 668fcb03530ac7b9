/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: options, each back end but sockets from both sides, the mux and its keys,
 * change of the back end. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/unit/chardev-kit.h"

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
    CharFrontendOps background_ops = listener_ops;
    background_ops.background = true;
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
    g_autofree char *path = in_folder("change");
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

/* ---- The short forms, chardev-add ---- */

static void test_short_forms(void)
{
    g_autofree char *path = in_folder("f,with=comma");
    g_autofree char *file = g_strdup_printf("file:%s", path);
    g_autofree char *socket_path = in_folder("s"), *named_path = in_folder("a,,b");
    g_autofree char *sock = g_strdup_printf("unix:%s,server,nowait", socket_path);
    g_autofree char *named = g_strdup_printf("unix:path=%s,server=on,wait=off", named_path);
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
    g_test_add_func("/chardev/bad-options-are-refused", test_bad_options_are_refused);
    g_test_add_func("/chardev/an-id-is-taken-once", test_an_id_is_taken_once);
    g_test_add_func("/chardev/in-use-is-not-deleted-nor-shared",
                    test_a_device_in_use_is_not_deleted_nor_shared);
    g_test_add_func("/chardev/ringbuf-keeps-the-newest", test_ringbuf_keeps_the_newest);
    g_test_add_func("/chardev/file-appends-and-reads", test_file_appends_and_reads);
    g_test_add_func("/chardev/pipe-carries-both-ways", test_pipe_carries_both_ways);
    g_test_add_func("/chardev/pty-follows-its-slave", test_pty_follows_its_slave);
    g_test_add_func("/chardev/mux-keys", test_mux_keys);
    g_test_add_func("/chardev/mux-focus-stays-with-the-console",
                    test_mux_focus_stays_with_the_console);
    g_test_add_func("/chardev/mux-escape-passes-a-hung-guest", test_mux_escape_passes_a_hung_guest);
    g_test_add_func("/chardev/mux-time-stamps", test_mux_time_stamps);
    g_test_add_func("/chardev/change-keeps-the-front-end", test_change_keeps_the_front_end);
    g_test_add_func("/chardev/change-under-writes", test_change_under_writes);
    g_test_add_func("/chardev/change-is-refused", test_change_is_refused);
    g_test_add_func("/chardev/short-forms", test_short_forms);
    g_test_add_func("/chardev/chardev-add-arguments", test_chardev_add_arguments);
    return chardev_kit_run();
}
