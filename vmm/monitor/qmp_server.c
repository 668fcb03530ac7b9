/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP servers on character devices. A request read in band waits its turn in the session's queue
 * and is executed from the main loop; one out of band is executed as it is read. A full queue stops
 * reading.
 */
#include <string.h>
#include <unistd.h>
#include "vmm/event/loop.h"
#include "vmm/util/json.h"
#include "vmm/monitor/later.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp.h"
#include "vmm/monitor/server.h"
#include "vmm/util/passed_fds.h"

#define MAX_QUEUED 8
#define MAX_PASSED 16 /* descriptors that no command has taken yet; more are closed */
#define READ_CHUNK 4096
#define OUTPUT_HIGH                                                                                \
    (256u << 10)                /* answers that wait for the client: no more requests meanwhile    \
                                 */
#define OUTPUT_MAX  (16u << 20) /* with events; more of them are lost */
#define OUTPUT_KEPT (64u << 10) /* of memory when all is sent */

/* What waits its turn: a request, or what was wrong with the input there. */
typedef struct QmpInput {
    json_object *request;
    char *malformed;
} QmpInput;

/* A descriptor that the client sent along: for a request that was read with it or next. */
typedef struct PassedFd {
    int fd;
    uint64_t first, last; /* requests that may take it */
} PassedFd;

typedef struct QmpSession {
    CharFrontend *frontend;
    bool pretty;
    bool connected;
    QmpMode mode;
    JsonReader reader;
    GQueue inputs;       /* QmpInput * */
    json_object *held;   /* is answered later; NULL: none */
    LaterCommand *later; /* of held */
    GByteArray *output;  /* of which output_head bytes are taken */
    size_t output_head;
    LoopTask task;
    PassedFds fds;
    GArray *passed;          /* PassedFd, in the order in which they came */
    uint64_t requests_read;  /* in band, on this connection */
    uint64_t requests_begun; /* of those */
} QmpSession;

static GPtrArray *sessions;

static size_t output_left(const QmpSession *session)
{
    return session->output->len - session->output_head;
}

static void output_clear(QmpSession *session)
{
    if (session->output->len > OUTPUT_KEPT) {
        g_byte_array_unref(session->output);
        session->output = g_byte_array_new();
    }
    g_byte_array_set_size(session->output, 0);
    session->output_head = 0;
}

static void flush(QmpSession *session)
{
    size_t left = output_left(session);
    if (left) {
        session->output_head +=
            char_write(session->frontend, session->output->data + session->output_head, left);
    }
    if (!output_left(session)) {
        output_clear(session);
    } else if (session->output_head >= session->output->len / 2) {
        g_byte_array_remove_range(session->output, 0, (guint)session->output_head);
        session->output_head = 0;
    }
}

static void send_json(QmpSession *session, json_object *value)
{
    g_autoptr(GString) out = g_string_new(NULL);
    json_write(out, value, session->pretty);
    g_string_append(out, "\r\n");
    bool waiting = output_left(session) > 0; /* for on_writable() */
    g_byte_array_append(session->output, (const uint8_t *)out->str, (guint)out->len);
    if (!waiting) {
        flush(session);
    }
}

/* ---- Descriptors ---- */

static int next_passed(void *opaque)
{
    QmpSession *session = opaque;
    PassedFd *oldest = session->passed->len ? &g_array_index(session->passed, PassedFd, 0) : NULL;
    if (!oldest || oldest->first > session->requests_begun) {
        return -1;
    }
    int fd = oldest->fd;
    g_array_remove_index(session->passed, 0);
    return fd;
}

/* Closes what requests up to this one could have taken. */
static void close_passed(QmpSession *session, uint64_t request)
{
    while (session->passed->len && g_array_index(session->passed, PassedFd, 0).last <= request) {
        close(g_array_index(session->passed, PassedFd, 0).fd);
        g_array_remove_index(session->passed, 0);
    }
}

static void keep_passed(QmpSession *session)
{
    uint64_t next = session->requests_read + 1;
    int fd;
    while ((fd = char_take_fd(session->frontend)) >= 0) {
        PassedFd passed = { .fd = fd, .first = next, .last = next };
        if (session->passed->len < MAX_PASSED) {
            g_array_append_val(session->passed, passed);
        } else {
            close(fd);
        }
    }
}

/* The bytes that came with the newest descriptors held these requests. */
static void extend_passed(QmpSession *session, uint64_t read_before)
{
    for (guint i = 0; i < session->passed->len; i++) {
        PassedFd *passed = &g_array_index(session->passed, PassedFd, i);
        if (passed->first == read_before + 1) {
            passed->last = MAX(passed->last, session->requests_read);
        }
    }
}

/* ---- Requests ---- */

static json_object *dispatch(QmpSession *session, json_object *request)
{
    PassedFds *before = passed_fds_set_current(&session->fds);
    json_object *response = qmp_dispatch(&session->mode, request);
    passed_fds_set_current(before);
    return response;
}

static void answer(QmpSession *session, json_object *request)
{
    json_object *response = dispatch(session, request);
    send_json(session, response);
    json_object_put(response);
}

static void answer_malformed(QmpSession *session, const char *message)
{
    json_object *response = qmp_error_response(VIREO_ERROR_GENERIC, message);
    send_json(session, response);
    json_object_put(response);
}

static void run_again(void *opaque);

/* Takes the references of both. */
static void run(QmpSession *session, LaterCommand *later, json_object *request)
{
    later_command_begin(later);
    json_object *response = dispatch(session, request);
    if (later_command_end(later) && session->connected) {
        session->later = later;
        session->held = request;
    } else {
        later_command_free(later);
        close_passed(session, session->requests_begun);
        send_json(session, response);
        json_object_put(request);
    }
    json_object_put(response);
}

static void input_free(QmpInput *input)
{
    if (input) {
        json_object_put(input->request);
        g_free(input->malformed);
        g_free(input);
    }
}

static void run_next(void *opaque)
{
    QmpSession *session = opaque;
    if (session->held || output_left(session) >= OUTPUT_HIGH) {
        return; /* run_again() or on_writable() goes on */
    }
    QmpInput *input = g_queue_pop_head(&session->inputs);
    if (input) {
        session->requests_begun++;
    }
    if (input && input->malformed) {
        answer_malformed(session, input->malformed);
        close_passed(session, session->requests_begun);
    } else if (input) {
        run(session, later_command_new(run_again, session), g_steal_pointer(&input->request));
    }
    input_free(input);
    if (!g_queue_is_empty(&session->inputs)) {
        event_loop_post(event_loop_main(), &session->task);
    }
    char_accept_input(session->frontend);
}

static void run_again(void *opaque)
{
    QmpSession *session = opaque;
    run(session, g_steal_pointer(&session->later), g_steal_pointer(&session->held));
    event_loop_post(event_loop_main(), &session->task);
}

static void enqueue(QmpSession *session, json_object *request, const char *malformed)
{
    QmpInput *input = g_new(QmpInput, 1);
    *input = (QmpInput){ .request = request, .malformed = g_strdup(malformed) };
    session->requests_read++;
    g_queue_push_tail(&session->inputs, input);
    event_loop_post(event_loop_main(), &session->task);
}

static void on_request(void *opaque, json_object *request)
{
    QmpSession *session = opaque;
    if (qmp_request_is_oob(&session->mode, request)) {
        answer(session, request);
        json_object_put(request);
        return;
    }
    enqueue(session, request, NULL);
}

static void on_malformed(void *opaque, const char *message)
{
    enqueue(opaque, NULL, message);
}

static void forget_inputs(QmpSession *session)
{
    QmpInput *input;
    while ((input = g_queue_pop_head(&session->inputs))) {
        input_free(input);
    }
    g_clear_pointer(&session->held, json_object_put);
    g_clear_pointer(&session->later, later_command_free);
}

/* ---- The character device's side ---- */

static size_t on_can_read(void *opaque)
{
    QmpSession *session = opaque;
    bool room = session->inputs.length < MAX_QUEUED && output_left(session) < OUTPUT_HIGH;
    return room ? READ_CHUNK : 0;
}

static void on_writable(void *opaque)
{
    QmpSession *session = opaque;
    flush(session);
    if (output_left(session) < OUTPUT_HIGH) {
        event_loop_post(event_loop_main(), &session->task);
    }
}

static void on_read(void *opaque, const uint8_t *data, size_t len)
{
    QmpSession *session = opaque;
    uint64_t before = session->requests_read;
    keep_passed(session);
    json_reader_feed(&session->reader, (const char *)data, len);
    extend_passed(session, before);
}

static void on_event(void *opaque, CharEvent event)
{
    QmpSession *session = opaque;
    if (event != CHAR_EVENT_OPENED && event != CHAR_EVENT_CLOSED) {
        return;
    }
    json_reader_reset(&session->reader);
    forget_inputs(session);
    output_clear(session);
    session->mode = (QmpMode){ 0 };
    close_passed(session, UINT64_MAX);
    session->requests_read = session->requests_begun = 0;
    if (session->connected != (event == CHAR_EVENT_OPENED)) {
        session->connected = event == CHAR_EVENT_OPENED;
        monitor_connected(session->connected);
    }
    if (session->connected) {
        json_object *greeting = qmp_greeting();
        send_json(session, greeting);
        json_object_put(greeting);
    }
}

bool monitor_add_qmp(Chardev *chardev, bool pretty, GError **error)
{
    static const CharFrontendOps ops = {
        .can_read = on_can_read, .read = on_read, .event = on_event, .writable = on_writable
    };
    QmpSession *session = g_new0(QmpSession, 1);
    session->pretty = pretty;
    session->task = (LoopTask)LOOP_TASK_INIT(run_next, session);
    session->output = g_byte_array_new();
    session->passed = g_array_new(FALSE, FALSE, sizeof(PassedFd));
    g_queue_init(&session->inputs);
    json_reader_init(&session->reader, on_request, on_malformed, session);
    session->frontend = char_frontend_attach(chardev, &ops, session, error);
    if (!session->frontend) {
        json_reader_cleanup(&session->reader);
        g_byte_array_unref(session->output);
        g_array_unref(session->passed);
        g_free(session);
        return false;
    }
    passed_fds_init(&session->fds, next_passed, session);
    if (!sessions) {
        sessions = g_ptr_array_new();
    }
    g_ptr_array_add(sessions, session);
    return true;
}

void qmp_sessions_send_event(json_object *event)
{
    for (guint i = 0; sessions && i < sessions->len; i++) {
        QmpSession *session = g_ptr_array_index(sessions, i);
        if (session->connected && session->mode.negotiated && output_left(session) < OUTPUT_MAX) {
            send_json(session, event);
        }
    }
}

void qmp_sessions_close(void)
{
    for (guint i = 0; sessions && i < sessions->len; i++) {
        QmpSession *session = g_ptr_array_index(sessions, i);
        flush(session);
        char_frontend_detach(session->frontend);
        forget_inputs(session);
        json_reader_cleanup(&session->reader);
        output_clear(session);
        close_passed(session, UINT64_MAX);
        passed_fds_clear(&session->fds);
        g_array_unref(session->passed);
        if (!session->task.queued) { /* else the loop, which ends too, still points to it */
            g_byte_array_unref(session->output);
            g_free(session);
        }
    }
    g_clear_pointer(&sessions, g_ptr_array_unref);
}
