/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP clients beside the kit's own. */
#include "tests/device/qmp-client.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

QTest *qmp_start_with_second(char **path, const char *options)
{
    g_autofree char *dir = g_dir_make_tmp("vireo-qmp-XXXXXX", NULL);
    *path = g_strdup_printf("%s/second", dir);
    return qtest_start("-m 16 -qmp unix:%s,server=on,wait=off %s", *path, options);
}

void qmp_remove_second(char *path)
{
    unlink(path);
    g_autofree char *dir = g_path_get_dirname(path);
    rmdir(dir);
    g_free(path);
}

QmpClient qmp_client_open(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    QmpClient client = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                         .in = g_string_new(NULL) };
    g_assert_cmpint(connect(client.fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    return client;
}

QmpClient qmp_client_ready(const char *path)
{
    QmpClient client = qmp_client_open(path);
    qmp_client_expect(&client, "QMP.version.qemu.major", "7");
    qmp_client_send(&client, "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}");
    qmp_client_expect(&client, "return", "{ }");
    return client;
}

void qmp_client_close(QmpClient *client)
{
    g_string_free(client->in, TRUE);
    close(client->fd);
}

void qmp_client_send_bytes(QmpClient *client, const void *data, size_t len)
{
    const char *at = data;
    while (len) {
        ssize_t n = send(client->fd, at, len, MSG_NOSIGNAL);
        g_assert_cmpint(n, >, 0);
        at += n;
        len -= (size_t)n;
    }
}

void qmp_client_send(QmpClient *client, const char *text)
{
    qmp_client_send_bytes(client, text, strlen(text));
}

/* Reads what there is: its length, 0 at the end. */
static ssize_t read_more(QmpClient *client)
{
    struct pollfd pfd = { .fd = client->fd, .events = POLLIN };
    g_assert_cmpint(poll(&pfd, 1, QTEST_TIMEOUT_MS), ==, 1);
    char data[65536];
    ssize_t n = read(client->fd, data, sizeof(data));
    if (n > 0) {
        g_string_append_len(client->in, data, n);
    }
    return n;
}

char *qmp_client_read_line(QmpClient *client)
{
    char *end;
    while (!(end = memchr(client->in->str, '\n', client->in->len))) {
        g_assert_cmpint(read_more(client), >, 0);
    }
    char *line = g_strndup(client->in->str, (size_t)(end - client->in->str));
    g_string_erase(client->in, 0, end + 1 - client->in->str);
    return line;
}

json_object *qmp_client_read(QmpClient *client)
{
    g_autofree char *line = qmp_client_read_line(client);
    json_object *value = json_tokener_parse(line);
    g_assert_nonnull(value);
    return value;
}

void qmp_client_expect(QmpClient *client, const char *path, const char *text)
{
    json_object *value = qmp_client_read(client);
    g_assert_cmpstr(json_text(value, path), ==, text);
    json_object_put(value);
}

void qmp_client_expect_error(QmpClient *client, const char *error_class, const char *part)
{
    json_object *value = qmp_client_read(client);
    const char *said = json_text(value, "error.desc");
    g_assert_cmpstr(json_text(value, "error.class"), ==, error_class);
    if (!strstr(said, part)) {
        g_error("'%s' does not say '%s'", said, part);
    }
    json_object_put(value);
}

void qmp_client_wait_closed(QmpClient *client)
{
    while (read_more(client) > 0) {
    }
}

/* Sanitizers keep what was freed, and shadows of it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

unsigned long qmp_resident_kib(GPid pid)
{
#ifdef SANITIZED
    return 0;
#endif
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", pid);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    unsigned long size, resident;
    g_assert_cmpint(sscanf(text, "%lu %lu", &size, &resident), ==, 2);
    return resident * 4;
}
