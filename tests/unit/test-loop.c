/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop on both engines, and the main loop: watches, tasks, timers, pollers. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "vmm/event/loop.h"

typedef struct Fixture {
    EventLoop *loop;
} Fixture;

static void set_up(Fixture *f, gconstpointer engine)
{
    g_autoptr(GError) error = NULL;
    f->loop = event_loop_new("test", GPOINTER_TO_INT(engine), &error);
    if (!f->loop && GPOINTER_TO_INT(engine) == LOOP_ENGINE_IO_URING) {
        g_test_skip(error->message);
        return;
    }
    g_assert_no_error(error);
    g_assert_true(event_loop_start(f->loop, &error));
    g_assert_cmpint(event_loop_thread_id(f->loop), >, 0); /* at once: libvirt asks at once */
}

static void tear_down(Fixture *f, gconstpointer engine)
{
    if (f->loop) {
        event_loop_free(f->loop);
    }
}

/* A counter other threads wait on. */
typedef struct Counter {
    GMutex lock;
    GCond cond;
    int value;
    EventLoop *seen_loop;
} Counter;

static void counter_add(Counter *c)
{
    g_mutex_lock(&c->lock);
    c->value++;
    c->seen_loop = event_loop_current();
    g_cond_broadcast(&c->cond);
    g_mutex_unlock(&c->lock);
}

static void counter_wait(Counter *c, int value)
{
    g_mutex_lock(&c->lock);
    while (c->value < value) {
        g_cond_wait(&c->cond, &c->lock);
    }
    g_mutex_unlock(&c->lock);
}

static int counter_get(Counter *c)
{
    g_mutex_lock(&c->lock);
    int value = c->value;
    g_mutex_unlock(&c->lock);
    return value;
}

static void count_task(void *opaque)
{
    counter_add(opaque);
}

static void nothing(void *opaque)
{
}

static void posted_task_runs_on_the_loop(Fixture *f, gconstpointer engine)
{
    Counter c = { 0 };
    LoopTask task = LOOP_TASK_INIT(count_task, &c);
    if (!f->loop) {
        return;
    }
    for (int i = 1; i <= 1000; i++) {
        event_loop_post(f->loop, &task);
        counter_wait(&c, i);
    }
    g_assert_true(c.seen_loop == f->loop);
    g_assert_cmpint(event_loop_thread_id(f->loop), >, 0);
}

static void call_waits_for_the_function(Fixture *f, gconstpointer engine)
{
    Counter c = { 0 };
    if (!f->loop) {
        return;
    }
    for (int i = 1; i <= 100; i++) {
        event_loop_call(f->loop, count_task, &c);
        g_assert_cmpint(c.value, ==, i);
    }
}

static gpointer post_many(gpointer opaque)
{
    void **args = opaque;
    for (int i = 0; i < 2000; i++) {
        event_loop_post(args[0], args[1]);
        event_loop_call(args[0], nothing, NULL);
    }
    return NULL;
}

static void tasks_posted_by_many_threads_are_not_lost(Fixture *f, gconstpointer engine)
{
    enum { THREADS = 4 };
    Counter c = { 0 };
    LoopTask tasks[THREADS];
    GThread *threads[THREADS];
    void *args[THREADS][2];
    if (!f->loop) {
        return;
    }
    for (int i = 0; i < THREADS; i++) {
        tasks[i] = (LoopTask)LOOP_TASK_INIT(count_task, &c);
        args[i][0] = f->loop;
        args[i][1] = &tasks[i];
        threads[i] = g_thread_new("poster", post_many, args[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
    }
    g_assert_cmpint(counter_get(&c), ==, THREADS * 2000);
}

/* ---- Deferred tasks ---- */
typedef struct Deferring {
    EventLoop *loop;
    LoopTask task;
    Counter *counter;
    GString *order;
} Deferring;

static void deferred_run(void *opaque)
{
    Deferring *d = opaque;
    g_string_append_c(d->order, 'd');
    counter_add(d->counter);
}

static void defer_from_task(void *opaque)
{
    Deferring *d = opaque;
    event_loop_defer(d->loop, &d->task);
    event_loop_defer(d->loop, &d->task); /* queued already */
    g_string_append_c(d->order, 't');
}

static void deferred_task_runs_once_after_the_callbacks(Fixture *f, gconstpointer engine)
{
    Counter c = { 0 };
    g_autoptr(GString) order = g_string_new(NULL);
    if (!f->loop) {
        return;
    }
    Deferring d = { .loop = f->loop, .counter = &c, .order = order };
    d.task = (LoopTask)LOOP_TASK_INIT(deferred_run, &d);
    event_loop_call(f->loop, defer_from_task, &d);
    counter_wait(&c, 1);
    event_loop_call(f->loop, nothing, NULL);
    g_assert_cmpstr(order->str, ==, "td");
}

static void cancel_it(void *opaque)
{
    Deferring *d = opaque;
    LoopTask other = LOOP_TASK_INIT(nothing, NULL);
    event_loop_defer(d->loop, &d->task);
    event_loop_cancel_task(d->loop, &d->task);
    event_loop_defer(d->loop, &other);
    event_loop_cancel_task(d->loop, &other);
    event_loop_post(d->loop, &d->task);
    event_loop_cancel_task(d->loop, &d->task);
}

static void cancelled_task_does_not_run(Fixture *f, gconstpointer engine)
{
    Counter c = { 0 };
    g_autoptr(GString) order = g_string_new(NULL);
    if (!f->loop) {
        return;
    }
    Deferring d = { .loop = f->loop, .counter = &c, .order = order };
    d.task = (LoopTask)LOOP_TASK_INIT(deferred_run, &d);
    event_loop_call(f->loop, cancel_it, &d);
    event_loop_call(f->loop, nothing, NULL);
    event_loop_call(f->loop, nothing, NULL);
    g_assert_cmpint(counter_get(&c), ==, 0);
    event_loop_post(f->loop, &d.task); /* and can be queued again */
    counter_wait(&c, 1);
}

/* ---- Watches ---- */
typedef struct Watching {
    FdWatch watch;
    EventLoop *loop;
    int fd;
    unsigned events;
    Counter counter;
    int read_bytes; /* at each call */
    unsigned last;
} Watching;

static void watch_ready(void *opaque, unsigned revents)
{
    Watching *w = opaque;
    char buffer[64];
    w->last = revents;
    if (w->read_bytes && read(w->fd, buffer, w->read_bytes) <= 0) {
        fd_watch_set_events(&w->watch, 0);
    }
    counter_add(&w->counter);
}

static void watch_begin(void *opaque)
{
    Watching *w = opaque;
    fd_watch_start(&w->watch, w->loop, w->fd, w->events, watch_ready, w);
}

static void watch_end(void *opaque)
{
    Watching *w = opaque;
    fd_watch_stop(&w->watch);
    fd_watch_stop(&w->watch);
}

static void level_watch_fires_while_the_condition_holds(Fixture *f, gconstpointer engine)
{
    int fds[2];
    if (!f->loop) {
        return;
    }
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), ==, 0);
    Watching w = { .loop = f->loop, .fd = fds[0], .events = POLLIN, .read_bytes = 1 };
    event_loop_call(f->loop, watch_begin, &w);
    g_assert_cmpint(write(fds[1], "hello", 5), ==, 5);
    counter_wait(&w.counter, 5); /* one byte is read a call */
    event_loop_call(f->loop, watch_end, &w);
    g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
    event_loop_call(f->loop, nothing, NULL);
    event_loop_call(f->loop, nothing, NULL);
    g_assert_cmpint(counter_get(&w.counter), ==, 5);
    close(fds[0]);
    close(fds[1]);
}

static void edge_watch_fires_once_a_signal_without_reading(Fixture *f, gconstpointer engine)
{
    EventNotifier n;
    if (!f->loop) {
        return;
    }
    g_assert_true(event_notifier_init(&n, NULL));
    Watching w = { .loop = f->loop, .fd = n.fd, .events = POLLIN | FD_WATCH_EDGE };
    event_loop_call(f->loop, watch_begin, &w);
    for (int i = 1; i <= 300; i++) {
        event_notifier_signal(&n);
        counter_wait(&w.counter, i);
    }
    for (int i = 0; i < 5; i++) {
        event_loop_call(f->loop, nothing, NULL);
    }
    g_assert_cmpint(counter_get(&w.counter), ==, 300);
    event_loop_call(f->loop, watch_end, &w);
    event_notifier_cleanup(&n);
}

static void set_in(void *opaque)
{
    fd_watch_set_events(&((Watching *)opaque)->watch, POLLIN);
}

static void set_none(void *opaque)
{
    fd_watch_set_events(&((Watching *)opaque)->watch, 0);
}

static void paused_watch_is_silent_and_resumes(Fixture *f, gconstpointer engine)
{
    int fds[2];
    if (!f->loop) {
        return;
    }
    g_assert_cmpint(pipe2(fds, O_NONBLOCK), ==, 0);
    Watching w = { .loop = f->loop, .fd = fds[0], .events = POLLIN, .read_bytes = 1 };
    event_loop_call(f->loop, watch_begin, &w);
    event_loop_call(f->loop, set_none, &w);
    g_assert_cmpint(write(fds[1], "a", 1), ==, 1);
    for (int i = 0; i < 5; i++) {
        event_loop_call(f->loop, nothing, NULL);
    }
    g_assert_cmpint(counter_get(&w.counter), ==, 0);
    event_loop_call(f->loop, set_in, &w);
    counter_wait(&w.counter, 1);
    close(fds[1]);
    counter_wait(&w.counter, 2);
    g_assert_true(w.last & POLLHUP);
    event_loop_call(f->loop, watch_end, &w);
    close(fds[0]);
}

static void regular_file_is_always_readable(Fixture *f, gconstpointer engine)
{
    if (!f->loop) {
        return;
    }
    g_autofree char *name = NULL;
    int fd = g_file_open_tmp("vireo-XXXXXX", &name, NULL);
    g_assert_cmpint(write(fd, "abcd", 4), ==, 4);
    g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
    Watching w = { .loop = f->loop, .fd = fd, .events = POLLIN, .read_bytes = 1 };
    event_loop_call(f->loop, watch_begin, &w);
    counter_wait(&w.counter, 4);
    event_loop_call(f->loop, watch_end, &w);
    close(fd);
    unlink(name);
}

static void many_watches_more_than_the_ring_holds(Fixture *f, gconstpointer engine)
{
    enum { COUNT = 400 };
    if (!f->loop) {
        return;
    }
    g_autofree Watching *all = g_new0(Watching, COUNT);
    g_autofree EventNotifier *n = g_new0(EventNotifier, COUNT);
    for (int i = 0; i < COUNT; i++) {
        g_assert_true(event_notifier_init(&n[i], NULL));
        all[i] = (Watching){ .loop = f->loop, .fd = n[i].fd, .events = POLLIN, .read_bytes = 8 };
        event_loop_call(f->loop, watch_begin, &all[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        event_notifier_signal(&n[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        counter_wait(&all[i].counter, 1);
    }
    for (int i = 0; i < COUNT; i++) {
        event_loop_call(f->loop, watch_end, &all[i]);
        event_notifier_cleanup(&n[i]);
    }
}

/* ---- Timers ---- */
static void timer_fires_and_rearms_from_another_thread(Fixture *f, gconstpointer engine)
{
    Counter c = { 0 };
    Timer timer;
    if (!f->loop) {
        return;
    }
    timer_init(&timer, f->loop, VM_CLOCK_REALTIME, NULL, count_task, &c);
    for (int i = 1; i <= 20; i++) {
        int64_t at = clock_now(VM_CLOCK_REALTIME) + NS_PER_MS;
        timer_arm(&timer, at);
        counter_wait(&c, i);
        g_assert_cmpint(clock_now(VM_CLOCK_REALTIME), >=, at);
    }
    g_assert_cmpint(timer_expires(&timer), ==, -1);
    timer_arm(&timer, 0); /* in the past */
    counter_wait(&c, 21);
}

static void timer_with_a_held_lock_waits_and_can_be_cancelled(Fixture *f, gconstpointer engine)
{
    Counter c = { 0 };
    GMutex lock = { 0 };
    Timer timer;
    if (!f->loop) {
        return;
    }
    timer_init(&timer, f->loop, VM_CLOCK_REALTIME, &lock, count_task, &c);
    g_mutex_lock(&lock);
    timer_arm(&timer, 0);
    for (int i = 0; i < 20; i++) {
        event_loop_call(f->loop, nothing, NULL); /* the loop stays alive meanwhile */
    }
    g_assert_cmpint(counter_get(&c), ==, 0);
    timer_cancel(&timer);
    g_mutex_unlock(&lock);
    event_loop_call(f->loop, nothing, NULL);
    g_assert_cmpint(counter_get(&c), ==, 0);
    g_mutex_lock(&lock);
    timer_arm(&timer, 0);
    g_mutex_unlock(&lock);
    counter_wait(&c, 1);
    event_loop_call(f->loop, nothing, NULL); /* the loop let the lock go */
}

static GString *fired;

static void append_letter(void *opaque)
{
    g_string_append_c(fired, GPOINTER_TO_INT(opaque));
}

static void arm_in_disorder(void *opaque)
{
    Timer *timers = opaque;
    int64_t now = clock_now(VM_CLOCK_REALTIME);
    static const int delay[] = { 5, 1, 3, 2, 4, 6, 8, 7 };
    for (int i = 0; i < 8; i++) {
        timer_arm(&timers[i], now + delay[i] * NS_PER_US);
    }
    timer_cancel(&timers[3]);
    timer_arm(&timers[5], now);
}

static void timers_fire_in_order_of_expiry(Fixture *f, gconstpointer engine)
{
    Timer timers[8];
    Counter c = { 0 };
    Timer last;
    if (!f->loop) {
        return;
    }
    fired = g_string_new(NULL);
    for (int i = 0; i < 8; i++) {
        timer_init(&timers[i], f->loop, VM_CLOCK_REALTIME, NULL, append_letter,
                   GINT_TO_POINTER('a' + i));
    }
    timer_init(&last, f->loop, VM_CLOCK_REALTIME, NULL, count_task, &c);
    event_loop_call(f->loop, arm_in_disorder, timers);
    timer_arm(&last, clock_now(VM_CLOCK_REALTIME) + NS_PER_MS);
    counter_wait(&c, 1);
    g_assert_cmpstr(fired->str, ==, "fbceahg");
    g_string_free(fired, TRUE);
}

/* ---- Pollers ---- */
typedef struct Polling {
    LoopPoller poller;
    EventLoop *loop;
    _Atomic int work, begun, ended, seen;
    Counter *counter;
} Polling;

static bool polling_poll(void *opaque)
{
    Polling *p = opaque;
    if (atomic_exchange(&p->work, 0)) {
        counter_add(p->counter);
        return true;
    }
    return false;
}

static void polling_begin(void *opaque)
{
    atomic_fetch_add(&((Polling *)opaque)->begun, 1);
}

static bool polling_end(void *opaque)
{
    Polling *p = opaque;
    atomic_fetch_add(&p->ended, 1);
    return atomic_load(&p->work);
}

static void polling_add(void *opaque)
{
    Polling *p = opaque;
    loop_poller_add(&p->poller, p->loop);
}

static void polling_remove(void *opaque)
{
    loop_poller_remove(&((Polling *)opaque)->poller);
}

static void polling_notified(void *opaque)
{
    polling_poll(opaque);
}

static void poller_sees_all_work_and_ends_before_sleep(Fixture *f, gconstpointer engine)
{
    Counter c = { 0 };
    if (!f->loop) {
        return;
    }
    Polling p = { .loop = f->loop, .counter = &c };
    p.poller = (LoopPoller){
        .poll = polling_poll, .begin = polling_begin, .end = polling_end, .opaque = &p
    };
    event_loop_set_polling(f->loop, 200000, 0, 0);
    event_loop_call(f->loop, polling_add, &p);
    for (int i = 1; i <= 500; i++) {
        /* As a virtqueue does: work, then a notification unless the other side is polling. */
        atomic_store(&p.work, 1);
        if (atomic_load(&p.begun) == atomic_load(&p.ended)) {
            event_loop_call(f->loop, polling_notified, &p);
        }
        counter_wait(&c, i);
    }
    event_loop_call(f->loop, polling_remove, &p);
    g_assert_cmpint(atomic_load(&p.begun), ==, atomic_load(&p.ended));
}

/* ---- Hosts without io_uring ---- */

/* In the child: io_uring_setup fails with EPERM, as with kernel.io_uring_disabled=2. */
static bool forbid_io_uring(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = G_N_ELEMENTS(filter), .filter = filter };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void forbidden_io_uring_falls_back_to_epoll(void)
{
    if (g_test_subprocess()) {
        g_autoptr(GError) error = NULL;
        Counter c = { 0 };
        g_assert_true(forbid_io_uring());
        g_assert_null(event_loop_new("none", LOOP_ENGINE_IO_URING, &error));
        g_assert_nonnull(strstr(error->message, "io_uring"));
        g_clear_error(&error);
        EventLoop *loop = event_loop_new("auto", LOOP_ENGINE_AUTO, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(event_loop_engine_name(loop), ==, "epoll");
        g_assert_true(event_loop_start(loop, &error));
        event_loop_call(loop, count_task, &c);
        g_assert_cmpint(c.value, ==, 1);
        event_loop_free(loop);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

/* ---- Clocks and the main loop ---- */
static void iterate_until(Counter *c, int value)
{
    while (counter_get(c) < value) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void main_loop_runs_timers_tasks_and_watches(void)
{
    EventLoop *loop = event_loop_main();
    Counter c = { 0 };
    Timer timer;
    LoopTask task = LOOP_TASK_INIT(count_task, &c);
    int fds[2];
    g_assert_true(event_loop_is_current(loop));
    timer_init(&timer, loop, VM_CLOCK_REALTIME, NULL, count_task, &c);
    timer_arm(&timer, clock_now(VM_CLOCK_REALTIME) + NS_PER_MS);
    iterate_until(&c, 1);
    event_loop_post(loop, &task);
    iterate_until(&c, 2);
    event_loop_defer(loop, &task);
    iterate_until(&c, 3);
    g_assert_cmpint(pipe2(fds, O_NONBLOCK), ==, 0);
    Watching w = { .loop = loop, .fd = fds[0], .events = POLLIN, .read_bytes = 1 };
    watch_begin(&w);
    g_assert_cmpint(write(fds[1], "ab", 2), ==, 2);
    iterate_until(&w.counter, 2);
    watch_end(&w);
    close(fds[0]);
    close(fds[1]);
}

static void post_to_main(void *opaque)
{
    event_loop_post(event_loop_main(), opaque);
}

static void main_loop_is_woken_by_other_threads(Fixture *f, gconstpointer engine)
{
    Counter c = { 0 };
    LoopTask task = LOOP_TASK_INIT(count_task, &c);
    event_loop_main();
    if (!f->loop) {
        return;
    }
    for (int i = 1; i <= 200; i++) {
        event_loop_call(f->loop, post_to_main, &task);
        iterate_until(&c, i);
    }
    g_assert_true(c.seen_loop == event_loop_main());
}

static void virtual_clock_stands_still_while_stopped(void)
{
    event_loop_main();
    int64_t start = clock_now(VM_CLOCK_VIRTUAL);
    g_usleep(2000);
    g_assert_cmpint(clock_now(VM_CLOCK_VIRTUAL), ==, start);
    Counter c = { 0 };
    Timer timer;
    timer_init(&timer, event_loop_main(), VM_CLOCK_VIRTUAL, NULL, count_task, &c);
    timer_arm(&timer, start);
    while (g_main_context_iteration(NULL, FALSE)) {
    }
    g_assert_cmpint(counter_get(&c), ==, 0);
    clock_virtual_run(true);
    iterate_until(&c, 1);
    int64_t at = clock_now(VM_CLOCK_VIRTUAL);
    g_assert_cmpint(at, >=, start);
    clock_virtual_run(false);
    int64_t stopped = clock_now(VM_CLOCK_VIRTUAL);
    g_usleep(2000);
    g_assert_cmpint(clock_now(VM_CLOCK_VIRTUAL), ==, stopped);
    clock_virtual_set(12345);
    g_assert_cmpint(clock_now(VM_CLOCK_VIRTUAL), ==, 12345);
}

typedef struct Stepping {
    Timer timer;
    int64_t seen[8];
    int count;
    int64_t period;
} Stepping;

static void stepping_fire(void *opaque)
{
    Stepping *s = opaque;
    s->seen[s->count++] = clock_now(VM_CLOCK_VIRTUAL);
    if (s->period && s->count < 8) {
        timer_arm(&s->timer, s->seen[s->count - 1] + s->period);
    }
}

/* Runs last: the clock stays manual. */
static void manual_clock_steps_through_the_timers(void)
{
    g_autoptr(GError) error = NULL;
    EventLoop *other = event_loop_new("other", LOOP_ENGINE_AUTO, &error);
    g_assert_no_error(error);
    g_assert_true(event_loop_start(other, &error));
    clock_virtual_set(0);
    clock_set_manual();
    Stepping a = { .period = 100 }, b = { 0 };
    timer_init(&a.timer, event_loop_main(), VM_CLOCK_VIRTUAL, NULL, stepping_fire, &a);
    timer_init(&b.timer, other, VM_CLOCK_VIRTUAL, NULL, stepping_fire, &b);
    g_assert_cmpint(clock_virtual_deadline(), ==, -1);
    timer_arm(&a.timer, 100);
    timer_arm(&b.timer, 250);
    g_assert_cmpint(clock_virtual_deadline(), ==, 100);
    clock_virtual_step(99);
    g_assert_cmpint(a.count, ==, 0);
    clock_virtual_step(350);
    g_assert_cmpint(clock_now(VM_CLOCK_VIRTUAL), ==, 350);
    g_assert_cmpint(a.count, ==, 3);
    g_assert_cmpint(a.seen[0], ==, 100);
    g_assert_cmpint(a.seen[2], ==, 300);
    g_assert_cmpint(b.count, ==, 1);
    g_assert_cmpint(b.seen[0], ==, 250);
    clock_virtual_step(10); /* never backwards */
    g_assert_cmpint(clock_now(VM_CLOCK_VIRTUAL), ==, 350);
    timer_cancel(&a.timer);
    event_loop_free(other);
}

/* ---- Urgent data ---- */
typedef struct TcpWatch {
    FdWatch watch;
    EventLoop *loop;
    int fd;
    unsigned seen;
    Counter got;
} TcpWatch;

static void tcp_ready(void *opaque, unsigned revents)
{
    TcpWatch *t = opaque;
    char data[64];
    t->seen |= revents;
    while (recv(t->fd, data, sizeof(data), MSG_DONTWAIT) > 0) {
    }
    counter_add(&t->got);
}

static void tcp_watch_start(void *opaque)
{
    TcpWatch *t = opaque;
    fd_watch_start(&t->watch, t->loop, t->fd, POLLIN | POLLPRI, tcp_ready, t);
}

static void tcp_watch_stop(void *opaque)
{
    fd_watch_stop(&((TcpWatch *)opaque)->watch);
}

static void tcp_pair(int fds[2])
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(server, (struct sockaddr *)&address, len), ==, 0);
    g_assert_cmpint(listen(server, 1), ==, 0);
    g_assert_cmpint(getsockname(server, (struct sockaddr *)&address, &len), ==, 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fds[0], (struct sockaddr *)&address, len), ==, 0);
    fds[1] = accept(server, NULL, NULL);
    g_assert_cmpint(fds[1], >=, 0);
    close(server);
}

/* libslirp takes POLLPRI at its word and loses a byte of the stream for it. */
static void plain_tcp_data_is_not_called_urgent(Fixture *f, gconstpointer engine)
{
    int fds[2];
    TcpWatch t = { .loop = f->loop };
    if (!f->loop) {
        return;
    }
    tcp_pair(fds);
    t.fd = fds[1];
    event_loop_call(f->loop, tcp_watch_start, &t);
    for (int i = 1; i <= 20; i++) {
        g_assert_cmpint(send(fds[0], "data", 4, 0), ==, 4);
        counter_wait(&t.got, i);
    }
    event_loop_call(f->loop, tcp_watch_stop, &t);
    g_assert_cmphex(t.seen, ==, POLLIN);
    close(fds[0]);
    close(fds[1]);
}

#define ADD(name)                                                                                  \
    do {                                                                                           \
        g_test_add("/loop/io_uring/" #name, Fixture, GINT_TO_POINTER(LOOP_ENGINE_IO_URING),        \
                   set_up, name, tear_down);                                                       \
        g_test_add("/loop/epoll/" #name, Fixture, GINT_TO_POINTER(LOOP_ENGINE_EPOLL), set_up,      \
                   name, tear_down);                                                               \
    } while (0)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(posted_task_runs_on_the_loop);
    ADD(call_waits_for_the_function);
    ADD(tasks_posted_by_many_threads_are_not_lost);
    ADD(deferred_task_runs_once_after_the_callbacks);
    ADD(cancelled_task_does_not_run);
    ADD(level_watch_fires_while_the_condition_holds);
    ADD(edge_watch_fires_once_a_signal_without_reading);
    ADD(paused_watch_is_silent_and_resumes);
    ADD(regular_file_is_always_readable);
    ADD(plain_tcp_data_is_not_called_urgent);
    ADD(many_watches_more_than_the_ring_holds);
    ADD(timer_fires_and_rearms_from_another_thread);
    ADD(timer_with_a_held_lock_waits_and_can_be_cancelled);
    ADD(timers_fire_in_order_of_expiry);
    ADD(poller_sees_all_work_and_ends_before_sleep);
    ADD(main_loop_is_woken_by_other_threads);
    g_test_add_func("/loop/fallback", forbidden_io_uring_falls_back_to_epoll);
    g_test_add_func("/loop/main/runs", main_loop_runs_timers_tasks_and_watches);
    g_test_add_func("/clock/virtual_stands_still", virtual_clock_stands_still_while_stopped);
    g_test_add_func("/clock/manual_steps", manual_clock_steps_through_the_timers);
    return g_test_run();
}
