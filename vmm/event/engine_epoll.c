/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The epoll engine: the main loop's, and of hosts where io_uring is not to be had. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "vmm/error.h"
#include "vmm/event/internal.h"

#define EVENT_BATCH 64
#define TIMER_DATA  UINT64_MAX
#define REARM_SLACK 1000 /* ns: a timer this close to the wanted time is left alone */

struct EpollEngine {
    int fd;
    int timer_fd;     /* the main loop's: wakes GLib's poll(); -1 until used */
    int64_t timer_at; /* host monotonic, -1: not armed */
    unsigned always;  /* watches on files that cannot be polled */
    int count;        /* events to be handled */
    struct epoll_event events[EVENT_BATCH];
};

static bool epoll_init(EventLoop *loop, GError **error)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(error, errno, "cannot create an epoll instance");
    }
    loop->epoll = g_new0(EpollEngine, 1);
    loop->epoll->fd = fd;
    loop->epoll->timer_fd = -1;
    loop->epoll->timer_at = -1;
    return true;
}

static bool epoll_enter_thread(EventLoop *loop)
{
    return true;
}

static void epoll_leave_thread(EventLoop *loop)
{
}

static void epoll_fini(EventLoop *loop)
{
    if (loop->epoll->timer_fd >= 0) {
        close(loop->epoll->timer_fd);
    }
    close(loop->epoll->fd);
    g_free(loop->epoll);
}

int epoll_engine_fd(EventLoop *loop)
{
    return loop->epoll->fd;
}

bool epoll_engine_has_always(EventLoop *loop)
{
    return loop->epoll->always > 0;
}

/* ---- Watches ---- */

static int slot_add(EventLoop *loop, WatchSlot *s, struct epoll_event *event)
{
    int fd = s->watch->fd;
    if (epoll_ctl(loop->epoll->fd, EPOLL_CTL_ADD, fd, event) == 0) {
        return 0;
    }
    if (errno == EEXIST) { /* watched already: epoll wants another descriptor of the file */
        s->dup_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (s->dup_fd >= 0 && epoll_ctl(loop->epoll->fd, EPOLL_CTL_ADD, s->dup_fd, event) == 0) {
            return 0;
        }
    }
    return -errno;
}

static void set_always(EventLoop *loop, WatchSlot *s, bool always)
{
    if (s->always != always) {
        s->always = always;
        loop->epoll->always += always ? 1 : -1;
    }
}

static void slot_drop(EventLoop *loop, WatchSlot *s, int fd)
{
    set_always(loop, s, false);
    if (s->armed) {
        epoll_ctl(loop->epoll->fd, EPOLL_CTL_DEL, s->dup_fd >= 0 ? s->dup_fd : fd, NULL);
        s->armed = 0;
    }
    if (s->dup_fd >= 0) {
        close(s->dup_fd);
        s->dup_fd = -1;
    }
}

static void epoll_watch_changed(EventLoop *loop, uint32_t slot)
{
    WatchSlot *s = loop_slot(loop, slot);
    unsigned events = s->watch->events;
    struct epoll_event event = {
        .events = (events & ~FD_WATCH_EDGE) | (events & FD_WATCH_EDGE ? EPOLLET : 0),
        .data.u64 = (uint64_t)s->generation << 32 | slot,
    };
    if (!events) {
        slot_drop(loop, s, s->watch->fd);
        return;
    }
    if (s->armed) {
        int fd = s->dup_fd >= 0 ? s->dup_fd : s->watch->fd;
        epoll_ctl(loop->epoll->fd, EPOLL_CTL_MOD, fd, &event);
        s->armed = events;
        return;
    }
    int ret = slot_add(loop, s, &event);
    if (ret == 0) {
        s->armed = events;
    } else if (ret == -EPERM) { /* a regular file: always ready */
        set_always(loop, s, true);
        loop_wake(loop);
    } else {
        report_warning("event loop '%s': cannot watch fd %d: %s", loop->name, s->watch->fd,
                       g_strerror(-ret));
    }
}

static void epoll_watch_removed(EventLoop *loop, uint32_t slot, int fd)
{
    slot_drop(loop, loop_slot(loop, slot), fd);
}

static void call_always(EventLoop *loop)
{
    for (uint32_t i = 0; i < loop->slots->len && loop->epoll->always; i++) {
        WatchSlot *s = loop_slot(loop, i);
        if (s->watch && s->always && s->watch->events & (POLLIN | POLLOUT)) {
            s->watch->ready(s->watch->opaque, s->watch->events & (POLLIN | POLLOUT));
        }
    }
}

/* ---- Rounds ---- */

static bool epoll_ready(EventLoop *loop)
{
    return loop->epoll->count > 0 || loop->epoll->always > 0;
}

static void epoll_look(EventLoop *loop, int64_t timeout)
{
    EpollEngine *engine = loop->epoll;
    struct timespec ts = { .tv_sec = timeout / NS_PER_SEC, .tv_nsec = timeout % NS_PER_SEC };
    int n = epoll_pwait2(engine->fd, engine->events, EVENT_BATCH, timeout < 0 ? NULL : &ts, NULL);
    if (n < 0 && errno == ENOSYS) { /* before Linux 5.11 */
        int ms = timeout < 0 ? -1 : (int)MIN((timeout + NS_PER_MS - 1) / NS_PER_MS, INT32_MAX);
        n = epoll_wait(engine->fd, engine->events, EVENT_BATCH, ms);
    }
    engine->count = MAX(n, 0);
}

static void timer_event(EpollEngine *engine)
{
    uint64_t expirations;
    if (read(engine->timer_fd, &expirations, sizeof(expirations)) > 0) {
        engine->timer_at = -1;
    }
}

static bool epoll_collect(EventLoop *loop)
{
    EpollEngine *engine = loop->epoll;
    /* A callback may run this loop again (a nested GLib iteration), so take the events away. */
    int count = engine->count;
    struct epoll_event events[EVENT_BATCH];
    memcpy(events, engine->events, count * sizeof(events[0]));
    engine->count = 0;
    for (int i = 0; i < count; i++) {
        uint64_t data = events[i].data.u64;
        if (data == TIMER_DATA) {
            timer_event(engine);
            continue;
        }
        WatchSlot *s = loop_slot_find(loop, (uint32_t)data, (uint32_t)(data >> 32));
        unsigned wanted = s ? (s->watch->events & ~FD_WATCH_EDGE) | POLLERR | POLLHUP : 0;
        if (s && s->watch->events && events[i].events & wanted) {
            s->watch->ready(s->watch->opaque, events[i].events & wanted);
        }
    }
    if (engine->always) {
        call_always(loop);
    }
    return count > 0;
}

static void epoll_submit(EventLoop *loop)
{
    if (loop->epoll->count == 0) {
        epoll_look(loop, 0);
    }
}

static void epoll_sleep(EventLoop *loop, int64_t timeout)
{
    epoll_look(loop, loop->epoll->always ? 0 : timeout);
}

void epoll_engine_arm_timer(EventLoop *loop, int64_t timeout)
{
    EpollEngine *engine = loop->epoll;
    if (timeout < 0 && engine->timer_at < 0) {
        return;
    }
    int64_t at = timeout < 0 ? -1 : clock_now(VM_CLOCK_REALTIME) + timeout;
    if (engine->timer_at >= 0 && at >= 0 && llabs(at - engine->timer_at) < REARM_SLACK) {
        return;
    }
    if (engine->timer_fd < 0) {
        engine->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = TIMER_DATA };
        epoll_ctl(engine->fd, EPOLL_CTL_ADD, engine->timer_fd, &event);
    }
    struct itimerspec spec = { 0 };
    if (at >= 0) {
        spec.it_value = (struct timespec){ .tv_sec = at / NS_PER_SEC, .tv_nsec = at % NS_PER_SEC };
    }
    timerfd_settime(engine->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    engine->timer_at = at;
}

const LoopBackend epoll_backend = {
    .name = "epoll",
    .init = epoll_init,
    .enter_thread = epoll_enter_thread,
    .leave_thread = epoll_leave_thread,
    .fini = epoll_fini,
    .watch_changed = epoll_watch_changed,
    .watch_removed = epoll_watch_removed,
    .ready = epoll_ready,
    .collect = epoll_collect,
    .submit = epoll_submit,
    .wait = epoll_sleep,
};
