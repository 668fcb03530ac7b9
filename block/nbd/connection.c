/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD client's connection: connecting, losing and finding the server again; see
 * connection.h. The requests themselves are in commands.c. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include "block/nbd/commands.h"

#define HANDSHAKE_NS  (30 * NS_PER_SEC)
#define RETRY_NS      (1 * NS_PER_SEC)
#define RETRY_MAX_NS  (16 * NS_PER_SEC)
#define OPEN_RETRY_NS (200 * NS_PER_MS)

static void begin(NbdConnection *c);
static void socket_ready(void *opaque, unsigned revents);

/* ---- Telling who opens ---- */

static void tell_opener(NbdConnection *c, bool ok)
{
    g_mutex_lock(&c->lock);
    c->opened = ok;
    c->open_done = true;
    g_cond_signal(&c->cond);
    g_mutex_unlock(&c->lock);
}

/* ---- Losing the server ---- */

static void drop_handle(NbdConnection *c)
{
    fd_watch_stop(&c->watch);
    if (c->handle) {
        libnbd.close(c->handle);
        c->handle = NULL;
    }
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    timer_cancel(&c->handshake_timer);
}

static void schedule_retry(NbdConnection *c)
{
    int64_t now = clock_now(VM_CLOCK_REALTIME);
    if (!c->was_open) {
        if (now >= c->open_deadline) {
            tell_opener(c, false);
            return;
        }
        timer_arm(&c->retry_timer, now + OPEN_RETRY_NS);
        return;
    }
    timer_arm(&c->retry_timer, now + c->retry_ns);
    c->retry_ns = MIN(2 * c->retry_ns, RETRY_MAX_NS);
}

static void attempt_failed(NbdConnection *c, const char *why)
{
    bool was_ready = c->state == NBD_CONNECTION_READY;
    g_clear_pointer(&c->why, g_free);
    c->why = g_strdup(why);
    c->state = NBD_CONNECTION_LOST;
    drop_handle(c);
    if (was_ready) {
        g_autofree char *where = char_address_configured(&c->address);
        report_warning("NBD server %s: connection lost (%s)%s", where, why,
                       c->reconnect_ns ? ": requests wait for it" : "");
        c->failing = !c->reconnect_ns;
        c->retry_ns = RETRY_NS;
        if (c->reconnect_ns) {
            timer_arm(&c->deadline_timer, clock_now(VM_CLOCK_REALTIME) + (int64_t)c->reconnect_ns);
        }
    }
    nbd_commands_lost(c);
    schedule_retry(c);
}

static void deadline_passed(void *opaque)
{
    NbdConnection *c = opaque;
    if (c->state != NBD_CONNECTION_READY) {
        c->failing = true;
        nbd_commands_fail_waiting(c);
    }
}

static void retry(void *opaque)
{
    begin(opaque);
}

static void handshake_timeout(void *opaque)
{
    attempt_failed(opaque, "the server does not answer");
}

/* ---- Connecting ---- */

static void read_info(NbdConnection *c, NbdConnectionInfo *info)
{
    struct nbd_handle *h = c->handle;
    int64_t size = libnbd.get_size(h), max = libnbd.get_block_size(h, LIBNBD_SIZE_MAXIMUM);
    *info = (NbdConnectionInfo){
        .size = size < 0 ? 0 : (uint64_t)size,
        .readonly = libnbd.is_read_only(h) > 0,
        .flush = libnbd.can_flush(h) > 0,
        .fua = libnbd.can_fua(h) > 0,
        .trim = libnbd.can_trim(h) > 0,
        .zero = libnbd.can_zero(h) > 0,
        .fast_zero = libnbd.can_fast_zero(h) > 0,
        .status = libnbd.can_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0,
        .max_request = max > 0 ? MIN((uint64_t)max, NBD_PIECE_MAX) : NBD_PIECE_MAX,
    };
}

static void connected(NbdConnection *c)
{
    NbdConnectionInfo info;
    read_info(c, &info);
    timer_cancel(&c->handshake_timer);
    if (c->was_open && (info.size != c->info.size || (info.readonly && !c->info.readonly))) {
        attempt_failed(c, "the export is another one than before");
        return;
    }
    timer_cancel(&c->deadline_timer);
    c->state = NBD_CONNECTION_READY;
    c->failing = false;
    c->info = info;
    if (!c->was_open) {
        c->was_open = true;
        tell_opener(c, true);
    } else {
        g_autofree char *where = char_address_configured(&c->address);
        report_info("NBD server %s: connected again", where);
    }
    nbd_commands_resume(c);
}

void nbd_connection_update(NbdConnection *c)
{
    if (!c->handle) {
        return;
    }
    if (libnbd.aio_is_dead(c->handle) || libnbd.aio_is_closed(c->handle)) {
        const char *why = libnbd.get_error();
        attempt_failed(c, why ? why : "the server hung up");
        return;
    }
    if (c->state == NBD_CONNECTION_HANDSHAKE && libnbd.aio_is_ready(c->handle)) {
        connected(c);
        if (!c->handle) {
            return;
        }
    }
    unsigned direction = libnbd.aio_get_direction(c->handle);
    fd_watch_set_events(&c->watch, (direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                                       (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

static bool make_handle(NbdConnection *c)
{
    c->handle = libnbd.create();
    return c->handle && libnbd.set_export_name(c->handle, c->export_name) == 0 &&
           libnbd.set_handshake_flags(c->handle, LIBNBD_HANDSHAKE_FLAG_MASK) == 0 &&
           libnbd.add_meta_context(c->handle, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0;
}

/* The socket is connected: libnbd gets one descriptor of it, the watch keeps another. */
static void begin_handshake(NbdConnection *c)
{
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
    c->state = NBD_CONNECTION_HANDSHAKE;
    if (fd < 0 || !make_handle(c)) {
        if (fd >= 0) {
            close(fd);
        }
        attempt_failed(c, "no memory or no descriptors for the connection");
        return;
    }
    if (libnbd.aio_connect_socket(c->handle, fd) < 0) {
        attempt_failed(c, libnbd.get_error());
        return;
    }
    nbd_connection_update(c);
}

static void socket_connected(NbdConnection *c)
{
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
    if (errnum) {
        attempt_failed(c, g_strerror(errnum));
    } else {
        begin_handshake(c);
    }
}

static void begin(NbdConnection *c)
{
    g_autoptr(GError) error = NULL;
    bool in_progress;
    c->state = NBD_CONNECTION_CONNECTING;
    c->fd = char_address_connect(&c->address, &in_progress, &error);
    if (c->fd < 0) {
        attempt_failed(c, error->message);
        return;
    }
    timer_arm(&c->handshake_timer, clock_now(VM_CLOCK_REALTIME) + HANDSHAKE_NS);
    fd_watch_start(&c->watch, c->loop, c->fd, in_progress ? POLLOUT : 0, socket_ready, c);
    if (!in_progress) {
        begin_handshake(c);
    }
}

static void socket_ready(void *opaque, unsigned revents)
{
    NbdConnection *c = opaque;
    if (c->state == NBD_CONNECTION_CONNECTING) {
        socket_connected(c);
        return;
    }
    unsigned direction = libnbd.aio_get_direction(c->handle);
    bool failed = revents & (POLLERR | POLLHUP);
    if (direction & LIBNBD_AIO_DIRECTION_READ && (revents & POLLIN || failed)) {
        libnbd.aio_notify_read(c->handle);
    } else if (direction & LIBNBD_AIO_DIRECTION_WRITE && (revents & POLLOUT || failed)) {
        libnbd.aio_notify_write(c->handle);
    }
    nbd_commands_collect(c);
}

/* ---- Life ---- */

static void begin_here(void *opaque)
{
    NbdConnection *c = opaque;
    c->open_deadline = clock_now(VM_CLOCK_REALTIME) + (int64_t)c->open_timeout_ns;
    begin(c);
}

static void stop_here(void *opaque)
{
    NbdConnection *c = opaque;
    timer_cancel(&c->retry_timer);
    timer_cancel(&c->deadline_timer);
    event_loop_cancel_task(c->loop, &c->collect_task);
    if (c->state == NBD_CONNECTION_READY && libnbd.aio_is_ready(c->handle)) {
        libnbd.aio_disconnect(c->handle, 0);
    }
    drop_handle(c);
}

static void connection_free(NbdConnection *c)
{
    event_loop_free(c->loop);
    nbd_commands_free(c);
    char_address_clear(&c->address);
    g_mutex_clear(&c->lock);
    g_cond_clear(&c->cond);
    g_free(c->export_name);
    g_free(c->why);
    g_free(c);
}

static void init_timers(NbdConnection *c)
{
    timer_init(&c->retry_timer, c->loop, VM_CLOCK_REALTIME, NULL, retry, c);
    timer_init(&c->deadline_timer, c->loop, VM_CLOCK_REALTIME, NULL, deadline_passed, c);
    timer_init(&c->handshake_timer, c->loop, VM_CLOCK_REALTIME, NULL, handshake_timeout, c);
}

static void wait_for_opening(NbdConnection *c)
{
    g_mutex_lock(&c->lock);
    while (!c->open_done) {
        g_cond_wait(&c->cond, &c->lock);
    }
    g_mutex_unlock(&c->lock);
}

NbdConnection *nbd_connection_open(const NbdConnectionOptions *o, NbdConnectionInfo *info,
                                   GError **error)
{
    if (!libnbd_load(error)) {
        return NULL;
    }
    NbdConnection *c = g_new0(NbdConnection, 1);
    c->fd = -1;
    c->address = o->address;
    c->export_name = g_strdup(o->export_name);
    c->reconnect_ns = o->reconnect_ns;
    c->open_timeout_ns = o->open_timeout_ns;
    c->retry_ns = RETRY_NS;
    g_mutex_init(&c->lock);
    g_cond_init(&c->cond);
    nbd_commands_init(c);
    c->loop = event_loop_new("NBD client", LOOP_ENGINE_AUTO, error);
    if (!c->loop || !event_loop_start(c->loop, error)) {
        g_clear_pointer(&c->loop, event_loop_free);
        connection_free(c);
        return NULL;
    }
    event_loop_set_polling(c->loop, 0, 0, 0);
    init_timers(c);
    event_loop_call(c->loop, begin_here, c);
    wait_for_opening(c);
    if (!c->opened) {
        g_autofree char *where = char_address_configured(&c->address);
        error_set(error, "NBD server %s, export '%s': %s", where, c->export_name, c->why);
        nbd_connection_close(c);
        return NULL;
    }
    *info = c->info;
    return c;
}

void nbd_connection_close(NbdConnection *c)
{
    event_loop_call(c->loop, stop_here, c);
    connection_free(c);
}
