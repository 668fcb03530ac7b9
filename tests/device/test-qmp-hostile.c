/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP clients that do wrong: others and the machine go on, memory stays bounded. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/device/qmp-client.h"

#define MIB (1u << 20)

typedef struct Stage {
    QTest *qts;
    char *path; /* of the second monitor */
    unsigned long kib_before;
} Stage;

static void stage_open(Stage *s, const char *options)
{
    s->qts = qmp_start_with_second(&s->path, options);
    s->kib_before = qmp_resident_kib(s->qts->pid);
}

static void stage_close(Stage *s)
{
    qtest_stop(s->qts);
    qmp_remove_second(s->path);
}

static void first_client_is_answered(Stage *s)
{
    json_object *status = qtest_qmp_ok(s->qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "running");
    json_object_put(status);
}

static void assert_grown_less_than(Stage *s, unsigned long kib)
{
    g_assert_cmpuint(qmp_resident_kib(s->qts->pid), <, s->kib_before + kib);
}

/* ---- Too much of one value ---- */

typedef struct Flood {
    const char *begin, *unit, *error;
} Flood;

static void send_flood(Stage *s, QmpClient *client, const char *unit)
{
    enum { TOTAL = 100 * MIB, PIECE = MIB };
    g_autoptr(GString) piece = g_string_new(NULL);
    while (piece->len < PIECE) {
        g_string_append(piece, unit);
    }
    for (size_t sent = 0; sent < TOTAL; sent += piece->len) {
        qmp_client_send_bytes(client, piece->str, piece->len);
        if (sent / PIECE % 16 == 0) {
            first_client_is_answered(s);
            assert_grown_less_than(s, 200 * 1024);
        }
    }
}

static void test_100_megabytes(gconstpointer data)
{
    const Flood *flood = data;
    Stage s;
    stage_open(&s, "");
    QmpClient client = qmp_client_ready(s.path);
    qmp_client_send(&client, flood->begin);
    send_flood(&s, &client, flood->unit);
    qmp_client_expect_error(&client, "GenericError", flood->error);
    qmp_client_send(&client, "\n{'execute': 'query-name', 'id': 'next'}");
    qmp_client_expect(&client, "id", "next");
    qmp_client_close(&client);
    assert_grown_less_than(&s, 100 * 1024);
    stage_close(&s);
}

/* ---- Silence ---- */

static void test_half_an_object_then_silence(void)
{
    static const char *const halves[] = {
        "{", "{'execute'", "{'execute': 'qu", "{'execute': 'a\\u00", "[[[[", "tru", "12", "'"
    };
    Stage s;
    stage_open(&s, "");
    for (size_t i = 0; i < G_N_ELEMENTS(halves); i++) {
        QmpClient client = qmp_client_ready(s.path);
        qmp_client_send(&client, halves[i]);
        first_client_is_answered(&s);
        qmp_client_close(&client); /* the next one begins anew */
    }
    stage_close(&s);
}

/* A client that takes part in a session and no more in its answers: events to it are dropped at a
 * bound, and the others get theirs. */
static void test_events_nobody_reads(void)
{
    enum { ID_LENGTH = 60000, ROUNDS = 250 };
    Stage s;
    stage_open(&s, "-S");
    QmpClient client = qmp_client_ready(s.path);
    g_autofree char *id = g_strnfill(ID_LENGTH, 'x');
    for (int i = 0; i < ROUNDS; i++) {
        json_object_put(qtest_qmp_ok(s.qts,
                                     "{'execute': 'device_add', 'arguments': {'driver': "
                                     "'virtio-rng-pci', 'id': '%s'}}",
                                     id));
        json_object_put(
            qtest_qmp_ok(s.qts, "{'execute': 'device_del', 'arguments': {'id': '%s'}}", id));
        json_object *event = qtest_event(s.qts, "DEVICE_DELETED");
        g_assert_cmpstr(json_text(event, "data.device"), ==, id);
        json_object_put(event);
    }
    assert_grown_less_than(&s, 40 * 1024);
    qmp_client_expect(&client, "event", "DEVICE_DELETED"); /* the oldest are there */
    qmp_client_close(&client);
    QmpClient next = qmp_client_ready(s.path);
    qmp_client_close(&next);
    stage_close(&s);
}

static void test_errors_nobody_reads(void)
{
    Stage s;
    stage_open(&s, "");
    QmpClient client = qmp_client_ready(s.path);
    g_autofree char *faults = g_strnfill(MIB, ']');
    size_t sent = 0;
    for (int tries = 0; tries < 200; tries++) {
        ssize_t n = send(client.fd, faults, MIB, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        first_client_is_answered(&s);
    }
    g_assert_cmpuint(sent, <, 8 * MIB); /* it is not read any more */
    assert_grown_less_than(&s, 16 * 1024);
    qmp_client_close(&client);
    first_client_is_answered(&s);
    stage_close(&s);
}

/* ---- Out of band ---- */

/* The queue is full of requests, the first of which waits for the client to read: nothing is lost,
 * nothing is out of turn but what asked for it. */
static void test_a_full_queue(void)
{
    enum { REQUESTS = 200 };
    Stage s;
    stage_open(&s, "");
    QmpClient client = qmp_client_ready(s.path);
    for (int i = 0; i < REQUESTS; i++) {
        g_autofree char *request = g_strdup_printf(
            "{'execute': 'query-commands', 'id': %d}{'exec-oob': 'query-status', 'id': 'oob'}\n",
            i);
        qmp_client_send(&client, request);
    }
    first_client_is_answered(&s);
    int next = 0, overtaken = 0;
    while (next < REQUESTS || overtaken < REQUESTS) {
        json_object *answer = qmp_client_read(&client);
        g_assert_nonnull(json_at(answer, "return"));
        if (strcmp(json_text(answer, "id"), "oob") == 0) {
            overtaken++;
        } else {
            g_assert_cmpint(json_object_get_int(json_at(answer, "id")), ==, next++);
        }
        json_object_put(answer);
    }
    g_assert_cmpint(overtaken, ==, REQUESTS);
    qmp_client_close(&client);
    stage_close(&s);
}

/* ---- Connections ---- */

static int connect_now(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* One is served, a few wait, the others are turned away by the kernel. */
static void test_thousands_of_connections(void)
{
    enum { TRIES = 3000 };
    Stage s;
    stage_open(&s, "");
    QmpClient served = qmp_client_ready(s.path);
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    for (int i = 0; i < TRIES; i++) {
        int fd = connect_now(s.path);
        if (fd >= 0) {
            g_array_append_val(fds, fd);
        }
    }
    qmp_client_send(&served, "{'execute': 'query-name', 'id': 'still'}");
    qmp_client_expect(&served, "id", "still");
    first_client_is_answered(&s);
    assert_grown_less_than(&s, 4096);
    for (guint i = 0; i < fds->len; i++) {
        close(g_array_index(fds, int, i));
    }
    qmp_client_close(&served);
    QmpClient next = qmp_client_ready(s.path); /* behind those that gave up */
    qmp_client_close(&next);
    stage_close(&s);
}

static unsigned open_files(GPid pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;
    while (g_dir_read_name(dir)) {
        count++;
    }
    return count;
}

/* In clock ticks. */
static unsigned long cpu_time(GPid pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) words = g_strsplit(strrchr(text, ')'), " ", 0);
    return strtoul(words[12], NULL, 10) + strtoul(words[13], NULL, 10);
}

static void test_no_descriptors_left(void)
{
    Stage s;
    stage_open(&s, "");
    struct rlimit old, none;
    g_assert_cmpint(prlimit(s.qts->pid, RLIMIT_NOFILE, NULL, &old), ==, 0);
    none = (struct rlimit){ .rlim_cur = open_files(s.qts->pid), .rlim_max = old.rlim_max };
    g_assert_cmpint(prlimit(s.qts->pid, RLIMIT_NOFILE, &none, NULL), ==, 0);
    QmpClient client = qmp_client_open(s.path);
    first_client_is_answered(&s);
    unsigned long before = cpu_time(s.qts->pid);
    g_usleep(G_USEC_PER_SEC);
    unsigned long used = cpu_time(s.qts->pid) - before;
    g_assert_cmpuint(used, <, (unsigned long)sysconf(_SC_CLK_TCK) / 2); /* it does not spin */
    g_autofree char *error = qtest_qmp_error(
        s.qts, "{'execute': 'chardev-add', 'arguments': {'id': 'p', 'backend': {'type': 'pty', "
               "'data': {}}}}");
    g_assert_nonnull(strstr(error, "Too many open files"));
    g_assert_cmpint(prlimit(s.qts->pid, RLIMIT_NOFILE, &old, NULL), ==, 0);
    qmp_client_expect(&client, "QMP.version.qemu.major", "7");
    qmp_client_close(&client);
    stage_close(&s);
}

/* ---- Leaving in the midst ---- */

static void test_leaving_in_the_midst(void)
{
    static const char *const requests[] = {
        "{'execute': 'query-qmp-schema'}",
        "{'execute': 'human-monitor-command', 'arguments': {'command-line': 'help'}}",
        ("{'execute': 'blockdev-add', 'arguments': {'driver': 'null-co', 'node-name': 'n', "
         "'size': 1048576}}{'execute': 'blockdev-del', 'arguments': {'node-name': 'n'}}"),
        "{'execute': 'stop'}{'execute': 'cont'}",
    };
    Stage s;
    stage_open(&s, "");
    for (int i = 0; i < 100; i++) {
        QmpClient client = qmp_client_ready(s.path);
        qmp_client_send(&client, requests[(size_t)i % G_N_ELEMENTS(requests)]);
        qmp_client_close(&client);
    }
    QmpClient last = qmp_client_ready(s.path);
    qmp_client_close(&last);
    json_object_put(qtest_qmp(s.qts, "{'execute': 'cont'}"));
    first_client_is_answered(&s);
    assert_grown_less_than(&s, 16 * 1024);
    stage_close(&s);
}

/* A job belongs to the machine, not to who began it. */
static void test_a_job_outlives_its_client(void)
{
    Stage s;
    stage_open(&s, "-blockdev null-co,node-name=a,size=64M,read-zeroes=on "
                   "-blockdev null-co,node-name=b,size=64M");
    QmpClient client = qmp_client_ready(s.path);
    qmp_client_send(&client,
                    "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'j', 'device': "
                    "'a', 'target': 'b', 'sync': 'full'}}{'execute': 'query-jobs'}");
    qmp_client_close(&client);
    json_object_put(qtest_event(s.qts, "BLOCK_JOB_READY"));
    g_autofree char *taken =
        qtest_qmp_error(s.qts, "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'j', "
                               "'device': 'a', 'target': 'b', 'sync': 'full'}}");
    g_assert_nonnull(strstr(taken, "'j'"));
    json_object_put(qtest_qmp_ok(s.qts, "{'execute': 'job-complete', 'arguments': {'id': 'j'}}"));
    json_object_put(qtest_event(s.qts, "BLOCK_JOB_COMPLETED"));
    stage_close(&s);
}

/* What was asked behind `quit` has no machine any more; the process ends in order. */
static void test_requests_behind_quit(void)
{
    Stage s;
    stage_open(&s, "");
    QmpClient client = qmp_client_ready(s.path);
    qmp_client_send(&client, "{'execute': 'quit', 'id': 'q'}{'execute': 'stop'}{'execute': 'cont'}"
                             "{'execute': 'device_add', 'arguments': {'driver': 'virtio-rng-pci'}}"
                             "{'execute': 'quit'}{'execute': 'que");
    qmp_client_expect(&client, "id", "q");
    qmp_client_wait_closed(&client);
    g_assert_cmpint(qtest_wait_exit(s.qts), ==, 0);
    qmp_client_close(&client);
    qtest_free(s.qts);
    qmp_remove_second(s.path);
}

int main(int argc, char **argv)
{
    static const Flood floods[] = {
        { "{'execute': 'query-name', 'id': '", "aaaaaaaa", "too large" },
        { "{'execute': 'query-name', 'id': [1", ",1", "too many parts" },
        { "[1", ", {}", "too many parts" },
        { "{'execute'", "        ", "too large" },
        { "1", "11111111", "too large" },
        { "[", "[[[[[[[[", "nested too deeply" },
        { "", "{'a':", "nested too deeply" },
    };
    static const char *const names[] = { "string", "array", "objects",           "blanks",
                                         "number", "depth", "objects-in-objects" };
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(floods); i++) {
        g_autofree char *path = g_strdup_printf("/qmp-hostile/100-megabytes/%s", names[i]);
        g_test_add_data_func(path, &floods[i], test_100_megabytes);
    }
    g_test_add_func("/qmp-hostile/half-an-object", test_half_an_object_then_silence);
    g_test_add_func("/qmp-hostile/events-nobody-reads", test_events_nobody_reads);
    g_test_add_func("/qmp-hostile/errors-nobody-reads", test_errors_nobody_reads);
    g_test_add_func("/qmp-hostile/full-queue", test_a_full_queue);
    g_test_add_func("/qmp-hostile/thousands-of-connections", test_thousands_of_connections);
    g_test_add_func("/qmp-hostile/no-descriptors-left", test_no_descriptors_left);
    g_test_add_func("/qmp-hostile/leaving-in-the-midst", test_leaving_in_the_midst);
    g_test_add_func("/qmp-hostile/job-outlives-its-client", test_a_job_outlives_its_client);
    g_test_add_func("/qmp-hostile/requests-behind-quit", test_requests_behind_quit);
    return g_test_run();
}
