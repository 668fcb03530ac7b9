/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user-mode network in the NIC's event loop. libslirp is written for a poll(2) loop that asks
 * before each sleep what to wait for. Here its descriptors stay watched, and it is asked only after
 * something happened that can change the answer, once a round of the loop.
 */
#include <string.h>
#include "net/user.h"
#include "vmm/util/bytes.h"

enum { ETHERTYPE_OFFSET = 12, ETHER_HEADER = 14, ARP_OPCODE_OFFSET = 20, ARP_REQUEST = 1 };
#define ETHERTYPE_ARP 0x0806

/* What slirp_pollfds_fill says when no timeout of its own is near. */
#define SLIRP_IDLE_MS 1000

/* libslirp keeps a clock, the list of its instances and the host's DNS server in globals. Leaf but
 * for the NIC's receive. */
static GMutex slirp_lock;

void user_enter(UserBackend *u)
{
    g_mutex_lock(&slirp_lock);
    u->busy = true;
}

void user_leave(UserBackend *u)
{
    u->busy = false;
    g_mutex_unlock(&slirp_lock);
}

/* ---- Descriptors ---- */

static void watch_ready(void *opaque, unsigned revents)
{
    UserWatch *w = opaque;
    w->revents |= revents;
    w->user->events_pending = true;
    user_update_soon(w->user);
}

static UserWatch *watch_for(UserBackend *u, int fd)
{
    if ((size_t)fd >= u->by_fd_count) {
        size_t count = MAX((size_t)fd + 1, u->by_fd_count * 2);
        u->by_fd = g_renew(UserWatch *, u->by_fd, count);
        memset(u->by_fd + u->by_fd_count, 0, (count - u->by_fd_count) * sizeof(*u->by_fd));
        u->by_fd_count = count;
    }
    if (!u->by_fd[fd]) {
        UserWatch *w = g_new0(UserWatch, 1);
        w->user = u;
        w->fd = fd;
        w->next = u->watches;
        u->watches = u->by_fd[fd] = w;
    }
    return u->by_fd[fd];
}

static void watch_apply(UserWatch *w, unsigned wanted)
{
    w->wanted = wanted;
    if (w->watch.loop) {
        fd_watch_set_events(&w->watch, wanted);
    } else if (wanted) {
        fd_watch_start(&w->watch, w->user->base.queues[0].loop, w->fd, wanted, watch_ready, w);
    }
}

/* libslirp's five flags are those of poll(2) by other numbers. */
static unsigned events_to_poll(int events)
{
    return (events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
           (events & SLIRP_POLL_PRI ? POLLPRI : 0) | (events & SLIRP_POLL_ERR ? POLLERR : 0) |
           (events & SLIRP_POLL_HUP ? POLLHUP : 0);
}

static int events_from_poll(unsigned revents)
{
    return (revents & POLLIN ? SLIRP_POLL_IN : 0) | (revents & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (revents & POLLPRI ? SLIRP_POLL_PRI : 0) | (revents & POLLERR ? SLIRP_POLL_ERR : 0) |
           (revents & POLLHUP ? SLIRP_POLL_HUP : 0);
}

/* The index that slirp remembers of a descriptor is the descriptor. */
static int on_add_poll(int fd, int events, void *opaque)
{
    UserBackend *u = opaque;
    UserWatch *w = watch_for(u, fd);
    unsigned wanted = events_to_poll(events);
    if (u->waiting) {
        wanted &= ~(POLLIN | POLLPRI); /* the guest has no room: let the host's side wait too */
    }
    w->stamp = u->stamp;
    watch_apply(w, wanted);
    return fd;
}

static int on_get_revents(int index, void *opaque)
{
    UserBackend *u = opaque;
    UserWatch *w = (size_t)index < u->by_fd_count ? u->by_fd[index] : NULL;
    return w ? events_from_poll(w->revents & (w->wanted | POLLERR | POLLHUP)) : 0;
}

static void on_register_fd(int fd, void *opaque)
{
}

/* Comes before the descriptor is closed. */
static void on_unregister_fd(int fd, void *opaque)
{
    UserBackend *u = opaque;
    if (fd < 0 || (size_t)fd >= u->by_fd_count || !u->by_fd[fd]) {
        return;
    }
    UserWatch *w = u->by_fd[fd];
    fd_watch_stop(&w->watch);
    for (UserWatch **p = &u->watches; *p; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            break;
        }
    }
    u->by_fd[fd] = NULL;
    g_free(w);
}

/* ---- Asking slirp ---- */

static void take_events(UserBackend *u)
{
    u->events_pending = false;
    slirp_pollfds_poll(u->slirp, 0, on_get_revents, u);
    for (UserWatch *w = u->watches; w; w = w->next) {
        w->revents = 0;
    }
}

static void fill_watches(UserBackend *u)
{
    uint32_t timeout = UINT32_MAX;
    u->stamp++;
    slirp_pollfds_fill(u->slirp, &timeout, on_add_poll, u);
    for (UserWatch *w = u->watches; w; w = w->next) {
        if (w->stamp != u->stamp) {
            watch_apply(w, 0);
        }
    }
    if (timeout < SLIRP_IDLE_MS) {
        timer_arm(&u->poll_timer, clock_now(VM_CLOCK_VIRTUAL) + timeout * NS_PER_MS);
    } else if (timer_expires(&u->poll_timer) >= 0) {
        timer_cancel(&u->poll_timer);
    }
}

static void update_run(void *opaque)
{
    UserBackend *u = opaque;
    if (!u->running) {
        return;
    }
    user_enter(u);
    if (u->events_pending) {
        take_events(u);
    }
    user_guestfwd_poll(u);
    fill_watches(u);
    user_leave(u);
    if (u->send_blocked) {
        u->send_blocked = false;
        net_queue_send_ready(&u->base.queues[0]);
    }
}

void user_update_soon(UserBackend *u)
{
    if (u->running) {
        event_loop_defer(u->base.queues[0].loop, &u->update);
    }
}

static void poll_timer_fired(void *opaque)
{
    UserBackend *u = opaque;
    u->events_pending = true;
    user_update_soon(u);
}

/* ---- slirp's timers ---- */

static void slirp_timer_fired(void *opaque)
{
    UserTimer *t = opaque;
    t->expires_ms = -1;
    user_enter(t->user);
    slirp_handle_timer(t->user->slirp, t->id, t->cb_opaque);
    user_leave(t->user);
    user_update_soon(t->user);
}

static void *on_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    UserBackend *u = opaque;
    UserTimer *t = g_new0(UserTimer, 1);
    *t = (UserTimer){
        .user = u, .id = id, .cb_opaque = cb_opaque, .expires_ms = -1, .next = u->timers
    };
    u->timers = t;
    if (u->running) {
        timer_init(&t->timer, u->base.queues[0].loop, VM_CLOCK_VIRTUAL, NULL, slirp_timer_fired, t);
    }
    return t;
}

static void on_timer_free(void *timer, void *opaque)
{
    UserBackend *u = opaque;
    UserTimer *t = timer;
    /* Stopped, it is cancelled, and its loop may be gone. */
    if (u->running) {
        timer_cancel(&t->timer);
    }
    for (UserTimer **p = &u->timers; *p; p = &(*p)->next) {
        if (*p == t) {
            *p = t->next;
            break;
        }
    }
    g_free(t);
}

static void on_timer_mod(void *timer, int64_t expires_ms, void *opaque)
{
    UserTimer *t = timer;
    t->expires_ms = expires_ms;
    if (t->user->running) {
        timer_arm(&t->timer, expires_ms * NS_PER_MS);
    }
}

static int64_t on_clock(void *opaque)
{
    return clock_now(VM_CLOCK_VIRTUAL);
}

/* ---- Frames ---- */

static void keep_frame(UserBackend *u, const void *data, size_t len)
{
    if (u->waiting_count >= USER_MAX_WAITING) {
        return; /* as a switch does when its port is slow: TCP sends it again */
    }
    UserFrame *f = g_malloc(sizeof(*f) + len);
    f->next = NULL;
    f->len = len;
    memcpy(f->data, data, len);
    *u->waiting_tail = f;
    u->waiting_tail = &f->next;
    u->waiting_count++;
}

static ssize_t on_send_packet(const void *data, size_t len, void *opaque)
{
    UserBackend *u = opaque;
    struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
    if (u->running && len <= NET_MAX_FRAME) {
        if (u->waiting || !net_queue_deliver(&u->base.queues[0], &iov, 1, len)) {
            keep_frame(u, data, len);
        }
    }
    return len;
}

static void drop_first_frame(UserBackend *u)
{
    UserFrame *f = u->waiting;
    u->waiting = f->next;
    u->waiting_count--;
    if (!u->waiting) {
        u->waiting_tail = &u->waiting;
    }
    g_free(f);
}

void user_resume(NetQueue *q)
{
    UserBackend *u = (UserBackend *)q->backend;
    bool had = u->waiting;
    while (u->waiting) {
        struct iovec iov = { .iov_base = u->waiting->data, .iov_len = u->waiting->len };
        if (!net_queue_deliver(q, &iov, 1, iov.iov_len)) {
            return;
        }
        drop_first_frame(u);
    }
    if (had) {
        user_update_soon(u);
    }
}

/* Answered at once, and no connection changes; whereas a reply frees packets that waited for it,
 * and IP opens, fills and closes connections. */
static bool is_arp_request(const uint8_t *frame, size_t size)
{
    return size > ARP_OPCODE_OFFSET + 1 && load_be16(frame + ETHERTYPE_OFFSET) == ETHERTYPE_ARP &&
           load_be16(frame + ARP_OPCODE_OFFSET) == ARP_REQUEST;
}

/* The frame as libslirp gets it, or NULL: a part of a datagram that is not complete. */
static const uint8_t *copy_frame(UserBackend *u, const struct iovec *iov, int iov_count,
                                 size_t *size)
{
    if (!u->linear) {
        u->linear = g_malloc(NET_MAX_FRAME);
        u->fragments = fragments_new();
    }
    *size = net_iov_gather(u->linear, NET_MAX_FRAME, iov, iov_count);
    return fragments_is_part(u->linear, *size)
               ? fragments_take(u->fragments, u->linear, size, clock_now(VM_CLOCK_VIRTUAL))
               : u->linear;
}

NetSendResult user_send(NetQueue *q, const struct iovec *iov, int iov_count, size_t size)
{
    UserBackend *u = (UserBackend *)q->backend;
    if (u->busy) {
        u->send_blocked = true; /* from inside receive: in a round of its own */
        user_update_soon(u);
        return NET_SEND_BUSY;
    }
    if (size < ETHER_HEADER || size > NET_MAX_FRAME) {
        return NET_SEND_DROPPED;
    }
    const uint8_t *frame = copy_frame(u, iov, iov_count, &size);
    if (!frame || size < ETHER_HEADER) {
        return NET_SENT;
    }
    user_enter(u);
    slirp_input(u->slirp, frame, size);
    user_leave(u);
    if (!is_arp_request(frame, size)) {
        u->events_pending = true;
        user_update_soon(u);
    }
    return NET_SENT;
}

/* ---- Life ---- */

static void on_guest_error(const char *message, void *opaque)
{
    /* libslirp has counted and dropped the packet; a guest must not fill the log. */
}

static void on_notify(void *opaque)
{
    user_update_soon(opaque);
}

const SlirpCb user_slirp_callbacks = {
    .send_packet = on_send_packet,
    .guest_error = on_guest_error,
    .clock_get_ns = on_clock,
    .timer_free = on_timer_free,
    .timer_mod = on_timer_mod,
    .register_poll_fd = on_register_fd,
    .unregister_poll_fd = on_unregister_fd,
    .notify = on_notify,
    .timer_new_opaque = on_timer_new,
};

void user_loop_init(UserBackend *u)
{
    u->waiting_tail = &u->waiting;
    u->update = (LoopTask)LOOP_TASK_INIT(update_run, u);
}

void user_start(NetQueue *q)
{
    UserBackend *u = (UserBackend *)q->backend;
    u->running = true;
    timer_init(&u->poll_timer, q->loop, VM_CLOCK_VIRTUAL, NULL, poll_timer_fired, u);
    for (UserTimer *t = u->timers; t; t = t->next) {
        timer_init(&t->timer, q->loop, VM_CLOCK_VIRTUAL, NULL, slirp_timer_fired, t);
        if (t->expires_ms >= 0) {
            timer_arm(&t->timer, t->expires_ms * NS_PER_MS);
        }
    }
    u->events_pending = true;
    user_update_soon(u);
    user_resume(q);
}

/* The loop may be gone when the timer is cancelled again. */
static void timer_release(Timer *timer)
{
    timer_cancel(timer);
    timer->loop = NULL;
}

void user_stop(NetQueue *q)
{
    UserBackend *u = (UserBackend *)q->backend;
    u->running = false;
    event_loop_cancel_task(q->loop, &u->update);
    user_guestfwd_stop(u, q->loop);
    timer_release(&u->poll_timer);
    for (UserTimer *t = u->timers; t; t = t->next) {
        timer_release(&t->timer);
    }
    for (UserWatch *w = u->watches; w; w = w->next) {
        fd_watch_stop(&w->watch);
        w->revents = 0;
    }
    u->send_blocked = false;
}

/* slirp_cleanup has unregistered its descriptors and freed its timers. */
void user_loop_cleanup(UserBackend *u)
{
    while (u->watches) {
        on_unregister_fd(u->watches->fd, u);
    }
    while (u->waiting) {
        drop_first_frame(u);
    }
    g_free(u->by_fd);
    g_free(u->linear);
    fragments_free(u->fragments);
}

typedef struct UserCall {
    UserBackend *user;
    void (*fn)(UserBackend *user, void *opaque);
    void *opaque;
} UserCall;

static void run_call(void *opaque)
{
    UserCall *call = opaque;
    user_enter(call->user);
    call->fn(call->user, call->opaque);
    user_leave(call->user);
    user_update_soon(call->user);
}

void user_call(UserBackend *u, void (*fn)(UserBackend *user, void *opaque), void *opaque)
{
    UserCall call = { .user = u, .fn = fn, .opaque = opaque };
    EventLoop *loop = u->base.queues ? u->base.queues[0].loop : NULL;
    if (loop) {
        event_loop_call(loop, run_call, &call);
    } else {
        run_call(&call);
    }
}
