/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices on descriptors: reading on demand, writing without blocking, front-end calls.
 */
#include "vmm/chardev/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/trace/trace-chardev.h"

bool fd_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static GSource *source_start(GSource *source, GSourceFunc fn, void *opaque)
{
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, fn, opaque, NULL);
    g_source_attach(source, NULL);
    return source;
}

GSource *chardev_call_soon(GSourceFunc fn, void *opaque)
{
    return source_start(g_idle_source_new(), fn, opaque);
}

GSource *chardev_call_after(unsigned milliseconds, GSourceFunc fn, void *opaque)
{
    return source_start(g_timeout_source_new(milliseconds), fn, opaque);
}

GSource *chardev_watch_fd(int fd, GIOCondition condition, GUnixFDSourceFunc fn, void *opaque)
{
    return source_start(g_unix_fd_source_new(fd, condition), G_SOURCE_FUNC(fn), opaque);
}

void chardev_drop_source(GSource **source)
{
    if (*source) {
        g_source_destroy(*source);
        g_source_unref(*source);
        *source = NULL;
    }
}

/* ---- Towards the front ends ---- */

size_t chardev_can_read(Chardev *c)
{
    if (c->frontends->len != 1) {
        return 0;
    }
    CharFrontend *fe = g_ptr_array_index(c->frontends, 0);
    return fe->opened && fe->ops->can_read ? fe->ops->can_read(fe->opaque) : 0;
}

void chardev_deliver(Chardev *c, const uint8_t *data, size_t len)
{
    trace_chardev_read(c->id, len);
    if (c->frontends->len == 1 && len) {
        CharFrontend *fe = g_ptr_array_index(c->frontends, 0);
        if (fe->ops->read) {
            fe->ops->read(fe->opaque, data, len);
        }
    }
}

/* A callback may detach any front end: walk a copy and look again before each call. */
static GPtrArray *frontends_copy(Chardev *c)
{
    return g_ptr_array_copy(c->frontends, NULL, NULL);
}

static void frontend_tell(CharFrontend *fe, CharEvent event)
{
    if (!fe->ops->event) {
        return;
    }
    if (event == CHAR_EVENT_OPENED && fe->unfocused) {
        fe->unfocused = false;
        fe->ops->event(fe->opaque, CHAR_EVENT_MUX_OUT);
    }
    fe->ops->event(fe->opaque, event);
}

void chardev_send_event(Chardev *c, CharEvent event)
{
    g_autoptr(GPtrArray) all = frontends_copy(c);
    for (unsigned i = 0; i < all->len; i++) {
        CharFrontend *fe = g_ptr_array_index(all, i);
        if (!g_ptr_array_find(c->frontends, fe, NULL)) {
            continue;
        }
        if (event == CHAR_EVENT_OPENED || event == CHAR_EVENT_CLOSED) {
            bool opened = event == CHAR_EVENT_OPENED;
            if (fe->opened == opened) {
                continue;
            }
            fe->opened = opened;
        }
        frontend_tell(fe, event);
    }
}

static void chardev_input_resume(Chardev *c)
{
    if (c->cls->accept_input) {
        c->cls->accept_input(c);
    } else {
        chardev_stream_update(c);
    }
}

void chardev_set_connected(Chardev *c, bool connected)
{
    if (g_atomic_int_get(&c->connected) == connected) {
        return;
    }
    g_atomic_int_set(&c->connected, connected);
    trace_chardev_connected(c->id, connected);
    chardev_send_event(c, connected ? CHAR_EVENT_OPENED : CHAR_EVENT_CLOSED);
    if (connected) {
        chardev_input_resume(c);
    } else {
        /* Writes are dropped from now on, so that whoever waits for room can go on. */
        chardev_writable_now(c);
    }
}

void chardev_writable_now(Chardev *c)
{
    g_autoptr(GPtrArray) all = frontends_copy(c);
    for (unsigned i = 0; i < all->len; i++) {
        CharFrontend *fe = g_ptr_array_index(all, i);
        if (!g_ptr_array_find(c->frontends, fe, NULL)) {
            continue;
        }
        g_mutex_lock(&c->lock);
        bool wanted = fe->want_writable;
        fe->want_writable = false;
        g_mutex_unlock(&c->lock);
        if (wanted && fe->ops->writable) {
            fe->ops->writable(fe->opaque);
        }
    }
}

/* ---- Input ---- */

static gboolean stream_readable(int fd, GIOCondition condition, void *opaque);

static void stream_watch(Chardev *c, GIOCondition condition)
{
    chardev_drop_source(&c->in_source);
    if (c->in_fd >= 0) {
        c->in_source = chardev_watch_fd(c->in_fd, condition, stream_readable, c);
    }
}

static void stream_pause(Chardev *c)
{
    if (c->watch_hangup) {
        stream_watch(c, 0);
    } else {
        chardev_drop_source(&c->in_source);
    }
}

/* Room at the front end, leaving `starved` set when there is none: set before the second look, so
 * that a char_accept_input() between the look and the pause is not lost. */
static size_t stream_room(Chardev *c)
{
    size_t room = chardev_can_read(c);
    if (!room) {
        g_atomic_int_set(&c->starved, 1);
        room = chardev_can_read(c);
        if (room) {
            g_atomic_int_set(&c->starved, 0);
        }
    }
    return room;
}

void chardev_stream_update(Chardev *c)
{
    if (c->in_fd < 0) {
        return;
    }
    if (stream_room(c)) {
        stream_watch(c, G_IO_IN);
    } else {
        stream_pause(c);
    }
}

static void stream_hangup(Chardev *c)
{
    chardev_drop_source(&c->in_source);
    if (c->cls->hangup) {
        c->cls->hangup(c);
    }
}

static gboolean stream_readable(int fd, GIOCondition condition, void *opaque)
{
    Chardev *c = opaque;
    uint8_t data[CHAR_READ_CHUNK];
    size_t room = stream_room(c);
    if (!room) {
        if (c->watch_hangup && (condition & (G_IO_HUP | G_IO_ERR))) {
            stream_hangup(c);
        } else {
            stream_pause(c);
        }
        return G_SOURCE_CONTINUE;
    }
    room = MIN(room, sizeof(data));
    ssize_t got = c->cls->read ? c->cls->read(c, data, room) : read(fd, data, room);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return G_SOURCE_CONTINUE;
    }
    if (got <= 0) {
        stream_hangup(c);
        return G_SOURCE_CONTINUE;
    }
    size_t len = c->cls->received ? c->cls->received(c, data, got) : (size_t)got;
    chardev_deliver(c, data, len);
    return G_SOURCE_CONTINUE;
}

/* ---- Output ---- */

size_t chardev_write_fd(Chardev *c, const uint8_t *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = c->out_socket
                        ? send(c->out_fd, data + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL)
                        : write(c->out_fd, data + done, len - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        if (n <= 0) {
            return len; /* nobody will ever read it: a hang-up comes on the input side */
        }
        done += n;
    }
    return done;
}

static size_t stream_write_locked(Chardev *c, const uint8_t *data, size_t len)
{
    if (c->cls->write) {
        return c->cls->write(c, data, len);
    }
    return c->out_fd >= 0 ? chardev_write_fd(c, data, len) : len;
}

bool chardev_queue_pending(Chardev *c, const uint8_t *data, size_t len)
{
    if (len > CHAR_PENDING_MAX - (c->pending->len - c->pending_head)) {
        return false;
    }
    if (c->pending_head && c->pending_head >= c->pending->len / 2) {
        g_byte_array_remove_range(c->pending, 0, c->pending_head);
        c->pending_head = 0;
    }
    g_byte_array_append(c->pending, data, len);
    return true;
}

/* Returns whether all of it went. */
static bool stream_drain_locked(Chardev *c)
{
    while (c->pending_head < c->pending->len) {
        /* The bytes went through the class's escaping when they were queued. */
        size_t left = c->pending->len - c->pending_head;
        size_t n = c->out_fd >= 0 ? chardev_write_fd(c, c->pending->data + c->pending_head, left)
                                  : left;
        c->pending_head += n;
        if (n < left) {
            return false;
        }
    }
    if (c->pending->len > CHAR_READ_CHUNK) {
        g_byte_array_unref(c->pending);
        c->pending = g_byte_array_new();
    }
    g_byte_array_set_size(c->pending, 0);
    c->pending_head = 0;
    return true;
}

static gboolean stream_writable(int fd, GIOCondition condition, void *opaque)
{
    Chardev *c = opaque;
    g_mutex_lock(&c->lock);
    bool empty = stream_drain_locked(c);
    if (empty) {
        chardev_drop_source(&c->out_source);
    }
    g_mutex_unlock(&c->lock);
    if (empty) {
        chardev_writable_now(c);
    }
    return G_SOURCE_CONTINUE;
}

static void stream_want_output_locked(Chardev *c)
{
    if (!c->out_source && c->out_fd >= 0) {
        c->out_source = chardev_watch_fd(c->out_fd, G_IO_OUT, stream_writable, c);
    }
}

void chardev_stream_set(Chardev *c, int in_fd, int out_fd)
{
    g_mutex_lock(&c->lock);
    c->out_fd = out_fd;
    g_mutex_unlock(&c->lock);
    c->in_fd = in_fd;
    chardev_stream_update(c);
}

void chardev_stream_clear(Chardev *c)
{
    chardev_drop_source(&c->in_source);
    c->in_fd = -1;
    g_mutex_lock(&c->lock);
    chardev_drop_source(&c->out_source);
    c->out_fd = -1;
    g_byte_array_set_size(c->pending, 0);
    c->pending_head = 0;
    g_mutex_unlock(&c->lock);
}

void chardev_stream_flush(Chardev *c)
{
    enum { ROUNDS = 20, ROUND_MS = 10 };
    g_mutex_lock(&c->lock);
    for (int i = 0; i < ROUNDS && c->out_fd >= 0 && !stream_drain_locked(c); i++) {
        struct pollfd pfd = { .fd = c->out_fd, .events = POLLOUT };
        poll(&pfd, 1, ROUND_MS);
    }
    g_mutex_unlock(&c->lock);
}

/* ---- The front end's functions ---- */

static gboolean frontend_opening(void *opaque)
{
    CharFrontend *fe = opaque;
    Chardev *c = fe->chardev;
    chardev_drop_source(&fe->opening);
    if (g_atomic_int_get(&c->connected) && !fe->opened) {
        fe->opened = true;
        frontend_tell(fe, CHAR_EVENT_OPENED);
        /* The callback may have detached it. */
        if (g_ptr_array_find(c->frontends, fe, NULL)) {
            char_accept_input(fe);
        }
    }
    return G_SOURCE_REMOVE;
}

CharFrontend *char_frontend_attach(Chardev *c, const CharFrontendOps *ops, void *opaque,
                                   GError **error)
{
    if (c->frontends->len >= MAX(c->cls->max_frontends, 1u)) {
        if (c->cls->max_frontends) {
            error_set(error, "chardev '%s' already has %u users, the most a mux can have", c->id,
                      c->frontends->len);
        } else {
            error_set(error, "chardev '%s' is in use; with mux=on several can share it", c->id);
        }
        return NULL;
    }
    CharFrontend *fe = g_new0(CharFrontend, 1);
    g_mutex_init(&fe->lock);
    fe->chardev = c;
    fe->ops = ops;
    fe->opaque = opaque;
    g_mutex_lock(&c->lock);
    g_ptr_array_add(c->frontends, fe);
    g_mutex_unlock(&c->lock);
    g_atomic_int_set(&c->starved, 1);
    fe->opening = chardev_call_soon(frontend_opening, fe);
    if (c->cls->attached) {
        c->cls->attached(c, fe);
    }
    return fe;
}

void char_frontend_detach(CharFrontend *fe)
{
    if (!fe) {
        return;
    }
    Chardev *c = fe->chardev;
    chardev_drop_source(&fe->opening);
    g_mutex_lock(&c->lock);
    g_ptr_array_remove(c->frontends, fe);
    g_mutex_unlock(&c->lock);
    if (c->cls->detached) {
        c->cls->detached(c, fe);
    }
    g_mutex_clear(&fe->lock);
    g_free(fe);
    if (!c->frontends->len) {
        chardev_stream_update(c);
    }
}

/* Afterwards nobody else has or gets a hold of from by this front end. Returns whether it waits
 * for room. */
static bool frontend_switch(CharFrontend *fe, Chardev *from, Chardev *to)
{
    g_mutex_lock(&fe->lock);
    g_mutex_lock(&from->lock);
    g_ptr_array_remove(from->frontends, fe);
    bool waits = fe->want_writable;
    fe->want_writable = false;
    g_mutex_unlock(&from->lock);
    fe->chardev = to;
    g_mutex_lock(&to->lock);
    g_ptr_array_add(to->frontends, fe);
    g_mutex_unlock(&to->lock);
    g_mutex_unlock(&fe->lock);
    return waits;
}

void chardev_move_frontend(Chardev *from, Chardev *to)
{
    CharFrontend *fe = g_ptr_array_index(from->frontends, 0);
    chardev_drop_source(&fe->opening);
    bool waits = frontend_switch(fe, from, to);
    if (fe->opened && !g_atomic_int_get(&to->connected)) {
        fe->opened = false;
        frontend_tell(fe, CHAR_EVENT_CLOSED);
    }
    if (fe->ops->changed) {
        fe->ops->changed(fe->opaque);
    }
    if (waits && fe->ops->writable) {
        fe->ops->writable(fe->opaque);
    }
    g_atomic_int_set(&to->starved, 1);
    if (fe->opened) {
        char_accept_input(fe);
    } else {
        fe->opening = chardev_call_soon(frontend_opening, fe);
    }
}

static void chardev_log(Chardev *c, const uint8_t *data, size_t len)
{
    if (c->log_fd >= 0 && len) {
        /* A log that cannot be written (disk full) must not disturb the guest. */
        ssize_t written = write(c->log_fd, data, len);
        (void)written;
    }
}

/* The chardev behind a front end, and that it stays so until frontend_let_go(). Any thread. */
static Chardev *frontend_hold(CharFrontend *fe)
{
    g_mutex_lock(&fe->lock);
    return fe->chardev;
}

static void frontend_let_go(CharFrontend *fe)
{
    g_mutex_unlock(&fe->lock);
}

size_t char_write(CharFrontend *fe, const uint8_t *data, size_t len)
{
    Chardev *c = frontend_hold(fe);
    g_mutex_lock(&c->lock);
    size_t done = 0;
    if (!g_atomic_int_get(&c->connected)) {
        done = len;
    } else if (c->pending_head >= c->pending->len) {
        done = stream_write_locked(c, data, len);
    }
    if (done < len) {
        fe->want_writable = true;
        stream_want_output_locked(c);
    } else if (c->pending_head < c->pending->len) {
        stream_want_output_locked(c); /* half of an escaped byte waits */
    }
    chardev_log(c, data, done);
    g_mutex_unlock(&c->lock);
    trace_chardev_write(c->id, len, done);
    frontend_let_go(fe);
    return done;
}

static void stream_write_all_locked(Chardev *c, const uint8_t *data, size_t len)
{
    size_t done = 0;
    if (c->pending_head >= c->pending->len) {
        done = stream_write_locked(c, data, len);
    }
    if (done < len) {
        chardev_queue_pending(c, data + done, len - done);
    }
}

void char_write_all(CharFrontend *fe, const uint8_t *data, size_t len)
{
    Chardev *c = frontend_hold(fe);
    g_mutex_lock(&c->lock);
    if (g_atomic_int_get(&c->connected)) {
        if (c->cls->write_all) {
            c->cls->write_all(c, data, len);
        } else {
            stream_write_all_locked(c, data, len);
        }
        if (c->pending_head < c->pending->len) {
            stream_want_output_locked(c);
        }
    }
    chardev_log(c, data, len);
    g_mutex_unlock(&c->lock);
    frontend_let_go(fe);
}

static gboolean input_resume(void *opaque)
{
    Chardev *c = opaque;
    g_mutex_lock(&c->lock);
    chardev_drop_source(&c->resume_source);
    g_mutex_unlock(&c->lock);
    chardev_input_resume(c);
    return G_SOURCE_REMOVE;
}

void chardev_resume_soon(Chardev *c)
{
    g_mutex_lock(&c->lock);
    if (!c->resume_source) {
        c->resume_source = chardev_call_soon(input_resume, c);
    }
    g_mutex_unlock(&c->lock);
}

void char_accept_input(CharFrontend *fe)
{
    Chardev *c = frontend_hold(fe);
    if (g_atomic_int_get(&c->starved) && g_atomic_int_compare_and_exchange(&c->starved, 1, 0)) {
        chardev_resume_soon(c);
    }
    frontend_let_go(fe);
}

bool char_is_connected(CharFrontend *fe)
{
    bool connected = g_atomic_int_get(&frontend_hold(fe)->connected);
    frontend_let_go(fe);
    return connected;
}

void char_set_line(CharFrontend *fe, unsigned baud, unsigned data_bits, unsigned stop_bits,
                   char parity, bool break_on)
{
    Chardev *c = frontend_hold(fe);
    if (c->cls->set_line) {
        g_mutex_lock(&c->lock);
        c->cls->set_line(c, baud, data_bits, stop_bits, parity, break_on);
        g_mutex_unlock(&c->lock);
    }
    frontend_let_go(fe);
}

int char_dup_connection(CharFrontend *fe)
{
    return fe->chardev->out_fd < 0 ? -1 : fcntl(fe->chardev->out_fd, F_DUPFD_CLOEXEC, 0);
}

int char_take_fd(CharFrontend *fe)
{
    Chardev *c = fe->chardev;
    return c->cls->take_fd ? c->cls->take_fd(c) : -1;
}
