/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device test kit: the process, the qtest protocol, QMP. */
#include "tests/device/libqtest.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <glib/gstdio.h>

#define HEAP_START 0x100000

/* ---- The process ---- */

static void child_setup(gpointer opaque)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static const char *program(void)
{
    const char *path = g_getenv("VIREO");
    g_assert_nonnull(path);
    return path;
}

G_GNUC_PRINTF(2, 0)
static char **command_line(const char *fixed, const char *format, va_list args)
{
    g_autofree char *own = g_strdup_vprintf(format, args);
    g_autofree char *line =
        g_strdup_printf("'%s' -accel qtest -display none %s %s", program(), fixed, own);
    char **argv = NULL;
    GError *error = NULL;
    g_shell_parse_argv(line, NULL, &argv, &error);
    g_assert_no_error(error);
    return argv;
}

static int connect_socket(QTest *qts, const char *name)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", qts->dir, name);
    for (int waited = 0; waited < QTEST_TIMEOUT_MS; waited += 5) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
            return fd;
        }
        close(fd);
        g_assert_cmpint(waitpid(qts->pid, &qts->status, WNOHANG), ==, 0);
        g_usleep(5000);
    }
    g_error("vireo did not open %s", addr.sun_path);
}

G_GNUC_PRINTF(2, 0)
static QTest *start(const char *defaults, const char *format, va_list args)
{
    QTest *qts = g_new0(QTest, 1);
    GError *error = NULL;
    qts->dir = g_dir_make_tmp("vireo-qtest-XXXXXX", &error);
    g_assert_no_error(error);
    g_autofree char *fixed = g_strdup_printf("%s -qtest 'unix:%s/qtest,server=on,wait=off' "
                                             "-qmp 'unix:%s/qmp,server=on,wait=off'",
                                             defaults, qts->dir, qts->dir);
    g_auto(GStrv) argv = command_line(fixed, format, args);
    g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, child_setup, NULL, &qts->pid,
                  &error);
    g_assert_no_error(error);
    qts->qtest_in = g_string_new(NULL);
    qts->qmp_in = g_string_new(NULL);
    qts->tokener = json_tokener_new();
    qts->heap = HEAP_START;
    qts->qtest_fd = connect_socket(qts, "qtest");
    qts->qmp_fd = connect_socket(qts, "qmp");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'qmp_capabilities'}"));
    return qts;
}

QTest *qtest_start(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    QTest *qts = start("-nodefaults", format, args);
    va_end(args);
    return qts;
}

QTest *qtest_start_with_defaults(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    QTest *qts = start("-serial null -monitor none", format, args);
    va_end(args);
    return qts;
}

static int decode_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int qtest_wait_exit(QTest *qts)
{
    for (int waited = 0; !qts->exited && waited < QTEST_TIMEOUT_MS; waited += 2) {
        qts->exited = waitpid(qts->pid, &qts->status, WNOHANG) == qts->pid;
        if (!qts->exited) {
            g_usleep(2000);
        }
    }
    g_assert_true(qts->exited);
    return decode_status(qts->status);
}

void qtest_free(QTest *qts)
{
    static const char *const names[] = { "qtest", "qmp" };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", qts->dir, names[i]);
        g_unlink(path);
    }
    g_rmdir(qts->dir);
    close(qts->qtest_fd);
    close(qts->qmp_fd);
    json_object *event;
    while ((event = g_queue_pop_head(&qts->events))) {
        json_object_put(event);
    }
    json_tokener_free(qts->tokener);
    g_string_free(qts->qtest_in, TRUE);
    g_string_free(qts->qmp_in, TRUE);
    g_free(qts->dir);
    g_free(qts);
}

void qtest_stop(QTest *qts)
{
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'quit'}"));
    g_assert_cmpint(qtest_wait_exit(qts), ==, 0);
    qtest_free(qts);
}

char *qtest_run_failing(int *status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_auto(GStrv) argv = command_line("-nodefaults", format, args);
    va_end(args);
    char *text = NULL;
    GError *error = NULL;
    int raw;
    g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, child_setup, NULL, NULL, &text, &raw,
                 &error);
    g_assert_no_error(error);
    *status = decode_status(raw);
    return text;
}

void qtest_assert_refused(const char *line, const char *says)
{
    int status;
    g_autofree char *message = qtest_run_failing(&status, "%s", line);
    g_assert_cmpint(status, ==, 1);
    if (!g_str_has_prefix(message, "vireo: ") || !strstr(message, says) ||
        strchr(message, '\n') != message + strlen(message) - 1) {
        g_error("%s: '%s' is not one line that says '%s'", line, message, says);
    }
}

/* ---- Lines ---- */

static void send_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        g_assert_cmpint(n, >, 0);
        text += n;
        len -= (size_t)n;
    }
}

/* More input; false when none came in time_ms. */
static bool fill(int fd, GString *in, int time_ms)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    if (poll(&pfd, 1, time_ms) <= 0) {
        return false;
    }
    char data[65536];
    ssize_t n = read(fd, data, sizeof(data));
    g_assert_cmpint(n, >, 0); /* else the process is gone */
    g_string_append_len(in, data, n);
    return true;
}

/* The next line without its end, or NULL when none came in time_ms. */
static char *take_line(int fd, GString *in, int time_ms)
{
    char *newline;
    while (!(newline = memchr(in->str, '\n', in->len))) {
        if (!fill(fd, in, time_ms)) {
            return NULL;
        }
    }
    char *line = g_strndup(in->str, (gsize)(newline - in->str));
    g_string_erase(in, 0, newline - in->str + 1);
    return g_strchomp(line);
}

/* ---- The qtest protocol ---- */

static bool take_irq(QTest *qts, const char *line)
{
    char what[8];
    unsigned pin;
    if (sscanf(line, "IRQ %7s %u", what, &pin) != 2) {
        return false;
    }
    g_assert_cmpuint(pin, <, QTEST_IRQS);
    qts->irq[pin] = strcmp(what, "raise") == 0;
    qts->irq_raised[pin] += qts->irq[pin];
    return true;
}

char *qtest_raw(QTest *qts, const char *line)
{
    g_autofree char *text = g_strconcat(line, "\n", NULL);
    send_all(qts->qtest_fd, text, strlen(text));
    for (;;) {
        char *answer = take_line(qts->qtest_fd, qts->qtest_in, QTEST_TIMEOUT_MS);
        g_assert_nonnull(answer);
        if (!take_irq(qts, answer)) {
            return answer;
        }
        g_free(answer);
    }
}

static char *expect_ok(QTest *qts, const char *line)
{
    g_autofree char *answer = qtest_raw(qts, line);
    if (!g_str_has_prefix(answer, "OK")) {
        g_error("'%s' was answered '%s'", line, answer);
    }
    return g_strdup(answer[2] ? answer + 3 : "");
}

char *qtest_command(QTest *qts, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    return expect_ok(qts, line);
}

static uint64_t command_value(QTest *qts, const char *command, uint64_t addr)
{
    g_autofree char *text = qtest_command(qts, "%s 0x%" G_GINT64_MODIFIER "x", command, addr);
    return g_ascii_strtoull(text, NULL, 0);
}

uint8_t qtest_inb(QTest *qts, uint16_t port)
{
    return (uint8_t)command_value(qts, "inb", port);
}

uint16_t qtest_inw(QTest *qts, uint16_t port)
{
    return (uint16_t)command_value(qts, "inw", port);
}

uint32_t qtest_inl(QTest *qts, uint16_t port)
{
    return (uint32_t)command_value(qts, "inl", port);
}

void qtest_outb(QTest *qts, uint16_t port, uint8_t value)
{
    g_free(qtest_command(qts, "outb 0x%x 0x%x", port, value));
}

void qtest_outw(QTest *qts, uint16_t port, uint16_t value)
{
    g_free(qtest_command(qts, "outw 0x%x 0x%x", port, value));
}

void qtest_outl(QTest *qts, uint16_t port, uint32_t value)
{
    g_free(qtest_command(qts, "outl 0x%x 0x%x", port, value));
}

static char width_letter(unsigned size)
{
    return size == 1 ? 'b' : size == 2 ? 'w' : size == 4 ? 'l' : 'q';
}

uint64_t qtest_read(QTest *qts, uint64_t addr, unsigned size)
{
    char command[8] = "read";
    command[4] = width_letter(size);
    return command_value(qts, command, addr);
}

void qtest_write(QTest *qts, uint64_t addr, uint64_t value, unsigned size)
{
    g_free(qtest_command(qts, "write%c 0x%" G_GINT64_MODIFIER "x 0x%" G_GINT64_MODIFIER "x",
                         width_letter(size), addr, value));
}

void qtest_memread(QTest *qts, uint64_t addr, void *data, size_t len)
{
    if (len) {
        g_autofree char *text =
            qtest_command(qts, "b64read 0x%" G_GINT64_MODIFIER "x %zu", addr, len);
        gsize got;
        g_autofree guchar *bytes = g_base64_decode(text, &got);
        g_assert_cmpuint(got, ==, len);
        memcpy(data, bytes, len);
    }
}

void qtest_memwrite(QTest *qts, uint64_t addr, const void *data, size_t len)
{
    if (len) {
        g_autofree char *text = g_base64_encode(data, len);
        g_free(qtest_command(qts, "b64write 0x%" G_GINT64_MODIFIER "x %zu %s", addr, len, text));
    }
}

void qtest_memset(QTest *qts, uint64_t addr, uint8_t value, size_t len)
{
    g_free(qtest_command(qts, "memset 0x%" G_GINT64_MODIFIER "x %zu %u", addr, len, value));
}

int64_t qtest_clock_step(QTest *qts, int64_t ns)
{
    g_autofree char *now = qtest_command(qts, "clock_step %" G_GINT64_FORMAT, ns);
    return g_ascii_strtoll(now, NULL, 10);
}

int64_t qtest_clock_step_next(QTest *qts)
{
    g_autofree char *now = qtest_command(qts, "clock_step");
    return g_ascii_strtoll(now, NULL, 10);
}

void qtest_intercept(QTest *qts)
{
    g_free(qtest_command(qts, "irq_intercept_in ioapic"));
}

void qtest_wait_irq(QTest *qts, unsigned gsi, bool level)
{
    while (qts->irq[gsi] != level) {
        g_autofree char *line = take_line(qts->qtest_fd, qts->qtest_in, QTEST_TIMEOUT_MS);
        g_assert_nonnull(line);
        g_assert_true(take_irq(qts, line));
    }
}

uint64_t qtest_alloc(QTest *qts, uint64_t size, uint64_t align)
{
    uint64_t addr = (qts->heap + align - 1) / align * align;
    qts->heap = addr + size;
    return addr;
}

/* ---- QMP ---- */

static json_object *take_message(QTest *qts, int time_ms)
{
    g_autofree char *line = take_line(qts->qmp_fd, qts->qmp_in, time_ms);
    json_object *message = line ? json_tokener_parse(line) : NULL;
    g_assert_true(!line || message);
    return message;
}

G_GNUC_PRINTF(2, 0)
static json_object *send_qmp(QTest *qts, const char *format, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    send_all(qts->qmp_fd, line, strlen(line));
    for (;;) {
        json_object *message = take_message(qts, QTEST_TIMEOUT_MS);
        g_assert_nonnull(message);
        if (json_object_object_get_ex(message, "return", NULL) ||
            json_object_object_get_ex(message, "error", NULL)) {
            return message;
        }
        if (json_object_object_get_ex(message, "event", NULL)) {
            g_queue_push_tail(&qts->events, message);
        } else {
            json_object_put(message); /* the greeting */
        }
    }
}

json_object *qtest_qmp(QTest *qts, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    json_object *response = send_qmp(qts, format, args);
    va_end(args);
    return response;
}

json_object *qtest_qmp_ok(QTest *qts, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    json_object *response = send_qmp(qts, format, args);
    va_end(args);
    json_object *value;
    if (!json_object_object_get_ex(response, "return", &value)) {
        g_error("'%s' failed: %s", format, json_object_to_json_string(response));
    }
    json_object_get(value);
    json_object_put(response);
    return value;
}

char *qtest_qmp_error(QTest *qts, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    json_object *response = send_qmp(qts, format, args);
    va_end(args);
    if (!json_at(response, "error.desc")) {
        g_error("'%s' worked: %s", format, json_object_to_json_string(response));
    }
    char *text = g_strdup(json_text(response, "error.desc"));
    json_object_put(response);
    return text;
}

json_object *qtest_next_event(QTest *qts)
{
    json_object *event = g_queue_pop_head(&qts->events);
    if (!event) {
        event = take_message(qts, QTEST_TIMEOUT_MS);
    }
    g_assert_nonnull(event);
    return event;
}

json_object *qtest_event(QTest *qts, const char *name)
{
    for (;;) {
        json_object *event = qtest_next_event(qts);
        if (g_strcmp0(json_text(event, "event"), name) == 0) {
            return event;
        }
        json_object_put(event);
    }
}

char *qtest_hmp(QTest *qts, const char *line)
{
    json_object *text = qtest_qmp_ok(
        qts, "{'execute': 'human-monitor-command', 'arguments': {'command-line': '%s'}}", line);
    char *copy = g_strdup(json_object_get_string(text));
    json_object_put(text);
    return copy;
}

json_object *json_at(json_object *object, const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, ".", -1);
    for (char **name = names; *name && object; name++) {
        json_object *next = NULL;
        if (!json_object_is_type(object, json_type_object) ||
            !json_object_object_get_ex(object, *name, &next)) {
            return NULL;
        }
        object = next;
    }
    return object;
}

const char *json_text(json_object *object, const char *path)
{
    json_object *value = json_at(object, path);
    return value ? json_object_get_string(value) : NULL;
}
