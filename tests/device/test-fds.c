/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors that come over QMP or by -add-fd: names, sets, their use in disks and chardevs,
 * hostile clients; and chardevs that change. The process's descriptors are counted. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

#define MESSAGE_MAX 253 /* descriptors of one message: the kernel's SCM_MAX_FD */

/* Sends descriptors with a text. */
static void send_with(int socket_fd, const char *text, const int *fds, size_t count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MESSAGE_MAX * sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = (void *)text, .iov_len = strlen(text) };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    g_assert_cmpint(sendmsg(socket_fd, &msg, MSG_NOSIGNAL), ==, (ssize_t)strlen(text));
}

/* One for the next command, as Python's qemu.qmp sends it: with a byte of white space before. */
static void send_fd(QTest *qts, int fd)
{
    send_with(qts->qmp_fd, " ", &fd, 1);
}

static unsigned count_fds(QTest *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", qts->pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;
    while (g_dir_read_name(dir)) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

/* What happens after an answer needs another turn of the main loop. */
static void assert_fds(QTest *qts, unsigned count)
{
    for (int waited = 0; waited < QTEST_TIMEOUT_MS && count_fds(qts) != count; waited += 5) {
        g_usleep(5000);
    }
    g_assert_cmpuint(count_fds(qts), ==, count);
}

static void assert_error(QTest *qts, const char *says, const char *command)
{
    g_autofree char *error = qtest_qmp_error(qts, "%s", command);
    if (!strstr(error, says)) {
        g_error("%s: '%s' does not say '%s'", command, error, says);
    }
}

static void ok(QTest *qts, const char *command)
{
    json_object_put(qtest_qmp_ok(qts, "%s", command));
}

static void assert_sets(QTest *qts, const char *text)
{
    json_object *sets = qtest_qmp_ok(qts, "{'execute': 'query-fdsets'}");
    g_autoptr(GString) out = g_string_new(NULL);
    for (size_t i = 0; i < json_object_array_length(sets); i++) {
        json_object *set = json_object_array_get_idx(sets, i);
        g_string_append_printf(out, "%s%s:%zu", i ? " " : "", json_text(set, "fdset-id"),
                               json_object_array_length(json_at(set, "fds")));
    }
    g_assert_cmpstr(out->str, ==, text);
    json_object_put(sets);
}

static int64_t add_fd(QTest *qts, int fd, const char *arguments)
{
    send_fd(qts, fd);
    json_object *added = qtest_qmp_ok(qts, "{'execute': 'add-fd', 'arguments': {%s}}", arguments);
    int64_t number = json_object_get_int64(json_at(added, "fd"));
    json_object_put(added);
    return number;
}

/* ---- Names ---- */

static void test_names(void)
{
    QTest *qts = qtest_start("-m 16");
    int fd = open("/dev/null", O_RDONLY);
    unsigned before = count_fds(qts);
    assert_error(qts, "no file descriptor came",
                 "{'execute': 'getfd', 'arguments': {'fdname': 'a'}}");
    send_fd(qts, fd);
    ok(qts, "{'execute': 'getfd', 'arguments': {'fdname': 'a'}}");
    assert_fds(qts, before + 1);
    send_fd(qts, fd); /* the older one is closed */
    ok(qts, "{'execute': 'getfd', 'arguments': {'fdname': 'a'}}");
    assert_fds(qts, before + 1);
    send_fd(qts, fd);
    assert_error(qts, "digit", "{'execute': 'getfd', 'arguments': {'fdname': '1a'}}");
    assert_error(qts, "named 'b'", "{'execute': 'closefd', 'arguments': {'fdname': 'b'}}");
    assert_fds(qts, before + 1);
    ok(qts, "{'execute': 'closefd', 'arguments': {'fdname': 'a'}}");
    assert_error(qts, "named 'a'", "{'execute': 'closefd', 'arguments': {'fdname': 'a'}}");
    assert_fds(qts, before);
    /* In the same message, as libvirt sends it, and by the human monitor's commands. */
    send_with(qts->qmp_fd, "{'execute': 'getfd', 'arguments': {'fdname': 'c'}, 'id': 1}", &fd, 1);
    char answer[64] = "";
    g_assert_cmpint(read(qts->qmp_fd, answer, sizeof(answer) - 1), >, 0);
    g_assert_cmpstr(answer, ==, "{\"return\": {}, \"id\": 1}\r\n");
    send_fd(qts, fd);
    g_autofree char *text = qtest_hmp(qts, "getfd d");
    g_assert_cmpstr(text, ==, "");
    assert_fds(qts, before + 2);
    g_autofree char *closed = qtest_hmp(qts, "closefd c");
    g_assert_cmpstr(closed, ==, "");
    assert_fds(qts, before + 1);
    close(fd);
    qtest_stop(qts);
}

/* ---- Sets ---- */

static void test_sets(void)
{
    QTest *qts = qtest_start("-m 16");
    int fd = open("/dev/null", O_RDONLY);
    unsigned before = count_fds(qts);
    assert_sets(qts, "");
    assert_error(qts, "no file descriptor came", "{'execute': 'add-fd'}");
    add_fd(qts, fd, "");
    int64_t first = add_fd(qts, fd, "'fdset-id': 5, 'opaque': 'mine'");
    add_fd(qts, fd, "'fdset-id': 5");
    add_fd(qts, fd, ""); /* the least free number */
    assert_sets(qts, "5:2 1:1 0:1");
    json_object *sets = qtest_qmp_ok(qts, "{'execute': 'query-fdsets'}");
    json_object *member =
        json_object_array_get_idx(json_at(json_object_array_get_idx(sets, 0), "fds"), 0);
    g_assert_cmpstr(json_text(member, "opaque"), ==, "mine");
    g_assert_cmpint(json_object_get_int64(json_at(member, "fd")), ==, first);
    json_object_put(sets);
    assert_fds(qts, before + 4);
    static const char *const numbers[] = { "-1", "2147483648", "9223372036854775807" };
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        g_autofree char *command =
            g_strdup_printf("{'execute': 'add-fd', 'arguments': {'fdset-id': %s}}", numbers[i]);
        send_fd(qts, fd);
        assert_error(qts, numbers[i], command);
    }
    assert_error(qts, "no set 7", "{'execute': 'remove-fd', 'arguments': {'fdset-id': 7}}");
    assert_error(qts, "no descriptor 4000",
                 "{'execute': 'remove-fd', 'arguments': {'fdset-id': 5, 'fd': 4000}}");
    assert_error(qts, "fd=-1", "{'execute': 'remove-fd', 'arguments': {'fdset-id': 5, 'fd': -1}}");
    assert_fds(qts, before + 4);
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'remove-fd', 'arguments': {'fdset-id': 5, 'fd': %d}}", (int)first));
    assert_sets(qts, "5:1 1:1 0:1");
    ok(qts, "{'execute': 'remove-fd', 'arguments': {'fdset-id': 5}}");
    ok(qts, "{'execute': 'remove-fd', 'arguments': {'fdset-id': 1}}");
    assert_sets(qts, "0:1");
    assert_fds(qts, before + 1);
    close(fd);
    qtest_stop(qts);
}

static void reconnect(QTest *qts)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/qmp", qts->dir);
    close(qts->qmp_fd);
    qts->qmp_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(qts->qmp_fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    ok(qts, "{'execute': 'qmp_capabilities'}");
}

static void test_what_nobody_uses_goes_with_the_last_monitor(void)
{
    QTest *qts = qtest_start("-m 16");
    g_autofree char *path = g_strdup_printf("%s/disk", qts->dir);
    g_assert_true(g_file_set_contents(path, "disk", 4, NULL));
    int fd = open(path, O_RDONLY);
    add_fd(qts, fd, "'fdset-id': 1");
    add_fd(qts, fd, "'fdset-id': 2");
    ok(qts, "{'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': 'n', "
            "'filename': '/dev/fdset/2', 'read-only': true}}");
    reconnect(qts);
    assert_sets(qts, "2:1");
    /* A user that leaves later takes the set along only when nobody could ask for it. */
    ok(qts, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'n'}}");
    assert_sets(qts, "2:1");
    ok(qts, "{'execute': 'stop'}");
    reconnect(qts);
    assert_sets(qts, "2:1"); /* not while the machine is stopped */
    ok(qts, "{'execute': 'cont'}");
    reconnect(qts);
    assert_sets(qts, "");
    close(fd);
    g_unlink(path);
    qtest_stop(qts);
}

/* ---- Disks ---- */

#define ADD_NODE(more)                                                                             \
    "{'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': 'n', 'filename': "   \
    "'/dev/fdset/4'" more "}}"
#define DEL_NODE "{'execute': 'blockdev-del', 'arguments': {'node-name': 'n'}}"

/* Whether an image's locks are seen by others. */
static void assert_locked(const char *path, bool locked)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 200 };
    int fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &fl), ==, 0);
    close(fd);
    g_assert_true((fl.l_type != F_UNLCK) == locked);
}

static void test_disks_get_the_access_mode_that_they_need(void)
{
    QTest *qts = qtest_start("-m 16");
    g_autofree char *path = g_strdup_printf("%s/disk", qts->dir);
    g_autofree char *contents = g_strnfill(65536, 'd');
    g_assert_true(g_file_set_contents(path, contents, 65536, NULL));
    int reading = open(path, O_RDONLY), both = open(path, O_RDWR), writing = open(path, O_WRONLY);
    assert_error(qts, "no such set", ADD_NODE(""));
    add_fd(qts, reading, "'fdset-id': 4");
    add_fd(qts, writing, "'fdset-id': 4");
    assert_error(qts, "reading and writing", ADD_NODE(", 'read-only': false"));
    unsigned before = count_fds(qts);
    ok(qts, ADD_NODE(", 'auto-read-only': true"));
    ok(qts, DEL_NODE);
    assert_fds(qts, before);
    ok(qts, ADD_NODE(", 'read-only': true"));
    assert_fds(qts, before + 1);
    /* To write, it needs a descriptor that can; and keeps it when the set is emptied. */
    assert_error(qts, "reading and writing",
                 "{'execute': 'blockdev-reopen', 'arguments': {'options': [{'driver': 'file', "
                 "'node-name': 'n', 'filename': '/dev/fdset/4', 'read-only': false}]}}");
    add_fd(qts, both, "'fdset-id': 4");
    ok(qts, "{'execute': 'blockdev-reopen', 'arguments': {'options': [{'driver': 'file', "
            "'node-name': 'n', 'filename': '/dev/fdset/4', 'read-only': false}]}}");
    assert_fds(qts, before + 2);
    ok(qts, "{'execute': 'remove-fd', 'arguments': {'fdset-id': 4}}");
    assert_sets(qts, "4:0");
    assert_error(qts, "no descriptor of the set",
                 "{'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': 'm', "
                 "'filename': '/dev/fdset/4', 'read-only': true}}");
    ok(qts, "{'execute': 'block_resize', 'arguments': {'node-name': 'n', 'size': 4096}}");
    GStatBuf st;
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 4096);
    ok(qts, DEL_NODE);
    assert_sets(qts, "");
    assert_fds(qts, before - 2);
    close(reading);
    close(writing);
    close(both);
    g_unlink(path);
    qtest_stop(qts);
}

/* Although the set has the file still open. */
static void test_locks_go_with_the_disk(void)
{
    QTest *qts = qtest_start("-m 16 -S");
    g_autofree char *path = g_strdup_printf("%s/disk", qts->dir);
    g_autofree char *contents = g_strnfill(65536, 'd');
    g_assert_true(g_file_set_contents(path, contents, 65536, NULL));
    int fd = open(path, O_RDWR);
    add_fd(qts, fd, "'fdset-id': 4");
    ok(qts, ADD_NODE(""));
    ok(qts, "{'execute': 'device_add', 'arguments': {'driver': 'virtio-blk-pci', 'id': 'd', "
            "'drive': 'n'}}");
    assert_locked(path, true);
    ok(qts, "{'execute': 'device_del', 'arguments': {'id': 'd'}}");
    json_object_put(qtest_event(qts, "DEVICE_DELETED"));
    ok(qts, DEL_NODE);
    assert_sets(qts, "4:1");
    assert_locked(path, false);
    close(fd);
    g_unlink(path);
    qtest_stop(qts);
}

static void test_what_is_no_disk_is_refused(void)
{
    QTest *qts = qtest_start("-m 16");
    int pair[2];
    g_assert_cmpint(pipe(pair), ==, 0);
    int others[] = { open(qts->dir, O_RDONLY | O_DIRECTORY), epoll_create1(0), pair[0],
                     open("/dev/null", O_RDONLY), open(qts->dir, O_PATH) };
    unsigned before = count_fds(qts);
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        add_fd(qts, others[i], "'fdset-id': 4");
        assert_error(qts, "/dev/fdset/4", ADD_NODE(", 'read-only': true"));
        assert_error(qts, "/dev/fdset/4", ADD_NODE(""));
        ok(qts, "{'execute': 'remove-fd', 'arguments': {'fdset-id': 4}}");
        close(others[i]);
    }
    static const char *const names[] = {
        "", "x", "-1", "4x", "2147483648", "99999999999999999999"
    };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *command = g_strdup_printf(
            "{'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': 'n', "
            "'filename': '/dev/fdset/%s'}}",
            names[i]);
        assert_error(qts, "the number of a set", command);
    }
    close(pair[1]);
    assert_fds(qts, before);
    qtest_stop(qts);
}

/* ---- Hostile clients ---- */

static void test_descriptors_that_nobody_takes_are_closed(void)
{
    QTest *qts = qtest_start("-m 16");
    int fds[MESSAGE_MAX];
    int null = open("/dev/null", O_RDONLY);
    for (size_t i = 0; i < MESSAGE_MAX; i++) {
        fds[i] = null;
    }
    unsigned before = count_fds(qts);
    for (int i = 0; i < 20; i++) {
        send_with(qts->qmp_fd, " ", fds, MESSAGE_MAX);
        ok(qts, "{'execute': 'query-status'}");
        send_with(qts->qmp_fd, "\n", fds, MESSAGE_MAX);
        assert_error(qts, "no command", "{'execute': 'nonsense'}");
        /* One of a message is taken, the rest closed. */
        send_with(qts->qmp_fd, " ", fds, MESSAGE_MAX);
        ok(qts, "{'execute': 'getfd', 'arguments': {'fdname': 'x'}}");
        assert_error(qts, "no file descriptor came",
                     "{'execute': 'getfd', 'arguments': {'fdname': 'y'}}");
    }
    assert_fds(qts, before + 1);
    /* Messages without any command, and half a command with which the client leaves. */
    for (int i = 0; i < 100; i++) {
        send_with(qts->qmp_fd, "\n", fds, MESSAGE_MAX);
    }
    send_with(qts->qmp_fd, "{'execute': ", fds, MESSAGE_MAX);
    reconnect(qts);
    assert_fds(qts, before + 1);
    ok(qts, "{'execute': 'closefd', 'arguments': {'fdname': 'x'}}"); /* names are the monitor's */
    assert_fds(qts, before);
    close(null);
    qtest_stop(qts);
}

static void test_numbers_that_are_no_sockets_are_refused(void)
{
    QTest *qts = qtest_start("-m 16");
    unsigned before = count_fds(qts);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < (int)before + 10; fd++) { /* the process's own, and none */
        g_autofree char *error = qtest_qmp_error(
            qts,
            "{'execute': 'chardev-add', 'arguments': {'id': 'c', 'backend': {'type': "
            "'socket', 'data': {'addr': {'type': 'fd', 'data': {'str': '%d'}}}}}}",
            fd);
        g_assert_nonnull(strstr(error, "fd="));
        g_autofree char *tap = qtest_qmp_error(
            qts, "{'execute': 'netdev_add', 'arguments': {'type': 'tap', 'id': 'n', 'fd': '%d'}}",
            fd);
        g_assert_cmpstr(tap, !=, "");
    }
    send_fd(qts, null);
    ok(qts, "{'execute': 'getfd', 'arguments': {'fdname': 'no-tap'}}");
    assert_error(qts, "not a tap",
                 "{'execute': 'netdev_add', 'arguments': {'type': 'tap', 'id': "
                 "'n', 'fd': 'no-tap'}}");
    assert_error(qts, "named 'no-tap'",
                 "{'execute': 'netdev_add', 'arguments': {'type': 'tap', "
                 "'id': 'n', 'fds': 'no-tap:no-tap'}}");
    assert_fds(qts, before);
    close(null);
    qtest_stop(qts);
}

/* ---- Character devices ---- */

#define COM1 0x3f8
#define LSR  5

static void assert_reads(int fd, const char *text)
{
    char got[16] = "";
    g_assert_cmpint(read(fd, got, strlen(text)), ==, (ssize_t)strlen(text));
    g_assert_cmpstr(got, ==, text);
}

static void test_chardevs_on_descriptors(void)
{
    QTest *qts = qtest_start("-m 16 -chardev null,id=c -serial chardev:c");
    int pair[2], sockets[2];
    g_assert_cmpint(pipe(pair), ==, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), ==, 0);
    unsigned before = count_fds(qts);
    add_fd(qts, pair[1], "'fdset-id': 0");
    ok(qts, "{'execute': 'chardev-change', 'arguments': {'id': 'c', 'backend': {'type': 'file', "
            "'data': {'out': '/dev/fdset/0', 'append': true}}}}");
    qtest_outb(qts, COM1, 'p');
    assert_reads(pair[0], "p");
    send_fd(qts, sockets[1]);
    ok(qts, "{'execute': 'getfd', 'arguments': {'fdname': 's'}}");
    close(sockets[1]);
    ok(qts, "{'execute': 'chardev-change', 'arguments': {'id': 'c', 'backend': {'type': 'socket', "
            "'data': {'server': false, 'addr': {'type': 'fd', 'data': {'str': 's'}}}}}}");
    ok(qts, "{'execute': 'remove-fd', 'arguments': {'fdset-id': 0}}");
    assert_sets(qts, "");
    qtest_outb(qts, COM1, 's');
    assert_reads(sockets[0], "s");
    g_assert_cmpint(write(sockets[0], "i", 1), ==, 1);
    while (!(qtest_inb(qts, COM1 + LSR) & 1)) {
        g_usleep(1000);
    }
    g_assert_cmpuint(qtest_inb(qts, COM1), ==, 'i');
    assert_fds(qts, before + 1);
    ok(qts, "{'execute': 'chardev-change', 'arguments': {'id': 'c', 'backend': {'type': 'null', "
            "'data': {}}}}");
    g_assert_cmpint(read(sockets[0], (char[1]){ 0 }, 1), ==, 0);
    assert_fds(qts, before);
    close(pair[0]);
    close(pair[1]);
    close(sockets[0]);
    qtest_stop(qts);
}

static void test_change_and_break(void)
{
    QTest *qts = qtest_start("-m 16 -chardev ringbuf,id=c -serial chardev:c "
                             "-chardev null,id=m,mux=on -chardev null,id=h -mon chardev=h");
    qtest_outb(qts, COM1, 'a');
    assert_error(qts, "/nonexistent/x",
                 "{'execute': 'chardev-change', 'arguments': {'id': 'c', 'backend': {'type': "
                 "'file', 'data': {'out': '/nonexistent/x'}}}}");
    json_object *text =
        qtest_qmp_ok(qts, "{'execute': 'ringbuf-read', 'arguments': {'device': 'c', 'size': 10}}");
    g_assert_cmpstr(json_object_get_string(text), ==, "a");
    json_object_put(text);
    g_autofree char *hmp = qtest_hmp(qts, "chardev-change c ringbuf,size=16");
    g_assert_cmpstr(hmp, ==, "");
    qtest_outb(qts, COM1, 'b');
    text =
        qtest_qmp_ok(qts, "{'execute': 'ringbuf-read', 'arguments': {'device': 'c', 'size': 10}}");
    g_assert_cmpstr(json_object_get_string(text), ==, "b");
    json_object_put(text);
    static const struct {
        const char *id, *says;
    } refused[] = { { "m", "multiplexers" },
                    { "m-base", "cannot change" },
                    { "h", "cannot change" },
                    { "compat_qmp0", "cannot change" },
                    { "nobody", "no chardev 'nobody'" } };
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autofree char *command =
            g_strdup_printf("{'execute': 'chardev-change', 'arguments': {'id': '%s', 'backend': "
                            "{'type': 'null', 'data': {}}}}",
                            refused[i].id);
        assert_error(qts, refused[i].says, command);
    }
    ok(qts, "{'execute': 'chardev-send-break', 'arguments': {'id': 'c'}}");
    g_assert_cmpuint(qtest_inb(qts, COM1 + LSR) & 0x11, ==, 0x11); /* data, break */
    assert_error(qts, "no chardev 'nobody'",
                 "{'execute': 'chardev-send-break', 'arguments': {'id': 'nobody'}}");
    qtest_stop(qts);
}

/* ---- The NBD server ---- */

#define NBD_ON_FD(name)                                                                            \
    "{'execute': 'nbd-server-start', 'arguments': {'addr': {'type': 'fd', 'data': {'str': '" name  \
    "'}}}}"

static void test_an_nbd_server_on_a_descriptor(void)
{
    QTest *qts = qtest_start("-m 16");
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/nbd", qts->dir);
    int listening = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(listening, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    unsigned before = count_fds(qts);
    assert_error(qts, "named 'n'", NBD_ON_FD("n"));
    send_fd(qts, client);
    ok(qts, "{'execute': 'getfd', 'arguments': {'fdname': 'n'}}");
    assert_error(qts, "not a listening socket", NBD_ON_FD("n"));
    assert_fds(qts, before);
    g_assert_cmpint(listen(listening, 1), ==, 0);
    send_fd(qts, listening);
    ok(qts, "{'execute': 'getfd', 'arguments': {'fdname': 'n'}}");
    close(listening);
    ok(qts, NBD_ON_FD("n"));
    g_assert_cmpint(connect(client, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    assert_reads(client, "NBDMAGIC");
    close(client);
    ok(qts, "{'execute': 'nbd-server-stop'}");
    assert_fds(qts, before);
    g_unlink(addr.sun_path);
    qtest_stop(qts);
}

/* ---- -add-fd ---- */

/* A program that starts vireo with descriptor 8, open for reading, and 9, for both. */
static char *wrap(const char *folder, const char *disk)
{
    char *path = g_build_filename(folder, "vireo", NULL);
    g_autofree char *text = g_strdup_printf("#!/bin/sh\nexec '%s' \"$@\" 8<'%s' 9<>'%s'\n",
                                            g_getenv("VIREO"), disk, disk);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(g_chmod(path, 0755), ==, 0);
    return path;
}

static void test_inherited_descriptors(void)
{
    g_autofree char *folder = g_dir_make_tmp("vireo-fds-XXXXXX", NULL);
    g_autofree char *disk = g_build_filename(folder, "disk", NULL);
    g_autofree char *contents = g_strnfill(65536, 'd');
    g_autofree char *program = g_strdup(g_getenv("VIREO"));
    g_assert_true(g_file_set_contents(disk, contents, 65536, NULL));
    g_autofree char *wrapper = wrap(folder, disk);
    g_setenv("VIREO", wrapper, TRUE);
    qtest_assert_refused("-add-fd fd=1,set=0", "standard");
    qtest_assert_refused("-add-fd fd=77,set=0", "fd=77");
    qtest_assert_refused("-add-fd set=0", "fd=");
    qtest_assert_refused("-add-fd fd=8", "set=");
    qtest_assert_refused("-add-fd fd=8,set=-1", "set");
    qtest_assert_refused("-add-fd fd=8,set=0,opake=x", "opaque");
    qtest_assert_refused("-add-fd fd=8,set=0 -blockdev file,node-name=n,filename=/dev/fdset/0",
                         "reading and writing");
    QTest *qts = qtest_start("-m 16 -add-fd fd=8,set=3,opaque=ro -add-fd fd=9,set=3 "
                             "-add-fd fd=9,set=4 "
                             "-blockdev file,node-name=n,filename=/dev/fdset/3 "
                             "-device virtio-blk-pci,drive=n");
    assert_sets(qts, "4:1 3:2");
    g_autofree char *nine = g_strdup_printf("/proc/%d/fd/9", qts->pid);
    g_autofree char *target = g_file_read_link(nine, NULL);
    g_assert_cmpstr(target, !=, disk); /* duplicates are what is left */
    reconnect(qts);
    assert_sets(qts, "4:1 3:2"); /* given on the command line: they stay */
    qtest_stop(qts);
    g_setenv("VIREO", program, TRUE);
    g_unlink(wrapper);
    g_unlink(disk);
    g_rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fds/names", test_names);
    g_test_add_func("/fds/sets", test_sets);
    g_test_add_func("/fds/unused-ones-go-with-the-last-monitor",
                    test_what_nobody_uses_goes_with_the_last_monitor);
    g_test_add_func("/fds/disks-get-the-access-mode-that-they-need",
                    test_disks_get_the_access_mode_that_they_need);
    g_test_add_func("/fds/locks-go-with-the-disk", test_locks_go_with_the_disk);
    g_test_add_func("/fds/what-is-no-disk-is-refused", test_what_is_no_disk_is_refused);
    g_test_add_func("/fds/untaken-ones-are-closed", test_descriptors_that_nobody_takes_are_closed);
    g_test_add_func("/fds/numbers-that-are-no-sockets",
                    test_numbers_that_are_no_sockets_are_refused);
    g_test_add_func("/fds/chardevs", test_chardevs_on_descriptors);
    g_test_add_func("/fds/chardev-change-and-break", test_change_and_break);
    g_test_add_func("/fds/nbd-server", test_an_nbd_server_on_a_descriptor);
    g_test_add_func("/fds/inherited", test_inherited_descriptors);
    return g_test_run();
}
