/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/client/qmp_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/util/json.h"

#define ANSWER_MAX   (8u << 20) /* bytes of one answer, with the events before it */
#define CONNECT_STEP 20         /* ms between looks at a full listen queue */

struct QmpClient {
    int fd;
    pid_t pid;
    int64_t deadline;
    char *name;
    GString *in;
};

static int time_left_ms(int64_t deadline)
{
    int64_t left = (deadline - g_get_monotonic_time() + 999) / 1000;
    return (int)CLAMP(left, 0, G_MAXINT);
}

static bool no_answer(const char *name, GError **error)
{
    return error_set(error,
                     "machine '%s' does not answer: another program may be using its monitor, or "
                     "it hangs",
                     name);
}

int client_connect(const RunEntry *entry, const char *name, int64_t deadline, GError **error)
{
    struct sockaddr_un address;
    rundir_socket_address(entry->dir, name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int errnum = fd < 0 ? errno : EAGAIN;
    while (fd >= 0 && errnum == EAGAIN && time_left_ms(deadline)) {
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            return fd;
        }
        errnum = errno;
        if (errnum == EAGAIN) { /* its queue of connections is full */
            g_usleep(CONNECT_STEP * 1000);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    if (errnum == EAGAIN) {
        no_answer(entry->name, error);
    } else {
        error_set_errno(error, errnum, "cannot connect to '%s' of machine '%s'", name, entry->name);
    }
    return -1;
}

static bool send_all(QmpClient *client, const char *text, GError **error)
{
    size_t len = strlen(text);
    while (len) {
        ssize_t n = send(client->fd, text, len, MSG_NOSIGNAL);
        if (n > 0) {
            text += n;
            len -= n;
            continue;
        }
        struct pollfd pfd = { .fd = client->fd, .events = POLLOUT };
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return error_set_errno(error, errno, "machine '%s'", client->name);
        }
        if (poll(&pfd, 1, time_left_ms(client->deadline)) == 0) {
            return no_answer(client->name, error);
        }
    }
    return true;
}

/* Reads on until there is a whole line in client->in. */
static char *read_line(QmpClient *client, GError **error)
{
    char data[4096];
    size_t looked = 0;
    for (;;) {
        char *newline = memchr(client->in->str + looked, '\n', client->in->len - looked);
        if (newline) {
            char *line = g_strndup(client->in->str, newline - client->in->str);
            g_string_erase(client->in, 0, newline - client->in->str + 1);
            return line;
        }
        looked = client->in->len;
        struct pollfd pfd = { .fd = client->fd, .events = POLLIN };
        int ready = poll(&pfd, 1, time_left_ms(client->deadline));
        if (ready == 0) {
            no_answer(client->name, error);
            return NULL;
        }
        ssize_t n = ready < 0 ? -1 : recv(client->fd, data, sizeof(data), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (n <= 0 || client->in->len + n > ANSWER_MAX) {
            error_set(error, "machine '%s' %s", client->name,
                      n <= 0 ? "has closed the connection" : "answers without an end");
            return NULL;
        }
        g_string_append_len(client->in, data, n);
    }
}

static json_object *read_object(QmpClient *client, GError **error)
{
    g_autofree char *line = read_line(client, error);
    if (!line) {
        return NULL;
    }
    json_object *object = NULL;
    if (!json_parse(line, &object, NULL) || !json_object_is_type(object, json_type_object)) {
        json_object_put(object);
        error_set(error, "machine '%s' answers something that is not QMP", client->name);
        return NULL;
    }
    return object;
}

static bool expect_greeting(QmpClient *client, GError **error)
{
    json_object *greeting = read_object(client, error);
    bool good = greeting && json_object_object_get_ex(greeting, "QMP", NULL);
    if (greeting && !good) {
        error_set(error, "machine '%s' answers something that is not QMP", client->name);
    }
    json_object_put(greeting);
    return good;
}

QmpClient *qmp_client_open(const RunEntry *entry, unsigned timeout_ms, GError **error)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int64_t deadline = g_get_monotonic_time() + (int64_t)timeout_ms * 1000;
    int fd = client_connect(entry, RUNDIR_QMP, deadline, error);
    if (fd < 0) {
        return NULL;
    }
    g_autoptr(QmpClient) client = g_new0(QmpClient, 1);
    client->fd = fd;
    client->deadline = deadline;
    client->name = g_strdup(entry->name);
    client->in = g_string_new(NULL);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
        client->pid = peer.pid;
    }
    json_object *answer = NULL;
    if (expect_greeting(client, error)) {
        answer = qmp_client_run(client, "qmp_capabilities", NULL, error);
    }
    if (!answer) {
        return NULL;
    }
    json_object_put(answer);
    return g_steal_pointer(&client);
}

/* "return" or "error" of a response; NULL without error for anything else. */
static json_object *take_answer(QmpClient *client, json_object *response, GError **error)
{
    json_object *value = NULL, *desc = NULL;
    if (json_object_object_get_ex(response, "return", &value)) {
        return json_object_get(value);
    }
    if (json_object_object_get_ex(response, "error", &value)) {
        json_object_object_get_ex(value, "desc", &desc);
        error_set(error, "machine '%s': %s", client->name,
                  desc ? json_object_get_string(desc) : "an error without a description");
    }
    return NULL;
}

json_object *qmp_client_run(QmpClient *client, const char *command, json_object *arguments,
                            GError **error)
{
    json_object *request = json_object_new_object(), *answer = NULL;
    json_object_object_add(request, "execute", json_object_new_string(command));
    if (arguments) {
        json_object_object_add(request, "arguments", arguments);
    }
    const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
    GError *failure = NULL;
    bool sent = send_all(client, text, &failure) && send_all(client, "\n", &failure);
    json_object_put(request);
    while (sent && !answer && !failure) {
        json_object *response = read_object(client, &failure);
        answer = response ? take_answer(client, response, &failure) : NULL;
        json_object_put(response);
    }
    if (failure) {
        g_propagate_error(error, failure);
    }
    return answer;
}

char *qmp_client_hmp(QmpClient *client, const char *line, GError **error)
{
    json_object *arguments = json_object_new_object();
    json_object_object_add(arguments, "command-line", json_object_new_string(line));
    json_object *answer = qmp_client_run(client, "human-monitor-command", arguments, error);
    char *text = answer ? g_strdup(json_object_get_string(answer)) : NULL;
    json_object_put(answer);
    return text;
}

pid_t qmp_client_pid(const QmpClient *client)
{
    return client->pid;
}

void qmp_client_free(QmpClient *client)
{
    close(client->fd);
    g_string_free(client->in, TRUE);
    g_free(client->name);
    g_free(client);
}
