/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop: making it, its thread and its rounds, tasks, and calls from other threads. */
#include "vmm/event/loop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <urcu.h>
#include "vmm/error.h"
#include "vmm/event/internal.h"
#include "vmm/trace/trace-event.h"
#include "vmm/util/bytes.h"

static _Thread_local EventLoop *current_loop;
static LoopEngine default_engine = LOOP_ENGINE_AUTO;

/* All loops; the lock is a leaf. */
static GMutex loops_lock;
static GPtrArray *loops;

void event_loop_set_default_engine(LoopEngine engine)
{
    default_engine = engine;
}

void loop_foreach(void (*fn)(EventLoop *loop, void *opaque), void *opaque)
{
    g_mutex_lock(&loops_lock);
    for (guint i = 0; loops && i < loops->len; i++) {
        fn(loops->pdata[i], opaque);
    }
    g_mutex_unlock(&loops_lock);
}

void loop_set_current(EventLoop *loop)
{
    current_loop = loop;
}

EventLoop *event_loop_current(void)
{
    return current_loop;
}

bool event_loop_is_main(const EventLoop *loop)
{
    return loop->is_main;
}

bool event_loop_is_current(const EventLoop *loop)
{
    return current_loop == loop;
}

const char *event_loop_engine_name(const EventLoop *loop)
{
    return loop->backend->name;
}

int event_loop_thread_id(const EventLoop *loop)
{
    return atomic_load(&loop->tid);
}

bool event_loop_pin(EventLoop *loop, const HostCpus *cpus, GError **error)
{
    assert(loop->started);
    return host_cpus_pin(cpus, loop->thread, error);
}

int64_t event_loop_now(EventLoop *loop)
{
    if (!loop->now || loop->is_main) {
        loop->now = clock_now(VM_CLOCK_REALTIME);
    }
    return loop->now;
}

/* ---- Making and freeing ---- */

EventLoop *loop_alloc(const char *name)
{
    EventLoop *loop = g_new0(EventLoop, 1);
    loop->name = g_strdup(name);
    loop->deferred_tail = &loop->deferred;
    loop->slots = g_array_new(FALSE, TRUE, sizeof(WatchSlot));
    loop->free_slots = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    loop->wake.fd = -1;
    g_mutex_init(&loop->timer_lock);
    return loop;
}

static void loop_destroy(EventLoop *loop)
{
    if (loop->backend) {
        loop->backend->fini(loop);
    }
    aio_native_free(loop);
    event_notifier_cleanup(&loop->wake);
    for (int i = 0; i < VM_CLOCK_COUNT; i++) {
        g_free(loop->heaps[i].items);
    }
    g_mutex_clear(&loop->timer_lock);
    g_array_unref(loop->slots);
    g_array_unref(loop->free_slots);
    g_free(loop->name);
    g_free(loop);
}

static void wake_ready(void *opaque, unsigned revents)
{
    /* Edge-triggered: the counter need not be read. */
}

bool loop_setup(EventLoop *loop, const LoopBackend *backend, GError **error)
{
    if (!backend->init(loop, error)) {
        return false;
    }
    loop->backend = backend;
    if (!event_notifier_init(&loop->wake, error)) {
        return false;
    }
    fd_watch_start(&loop->wake_watch, loop, loop->wake.fd, POLLIN | FD_WATCH_EDGE, wake_ready,
                   loop);
    g_mutex_lock(&loops_lock);
    if (!loops) {
        loops = g_ptr_array_new();
    }
    g_ptr_array_add(loops, loop);
    g_mutex_unlock(&loops_lock);
    return true;
}

static LoopEngine choose_engine(LoopEngine engine)
{
    if (engine != LOOP_ENGINE_AUTO) {
        return engine;
    }
    const char *name = getenv("VIREO_LOOP");
    if (name && !strcmp(name, "epoll")) {
        return LOOP_ENGINE_EPOLL;
    }
    return default_engine;
}

EventLoop *event_loop_new(const char *name, LoopEngine engine, GError **error)
{
    EventLoop *loop = loop_alloc(name);
    g_autoptr(GError) uring_error = NULL;
    engine = choose_engine(engine);
    if (engine != LOOP_ENGINE_EPOLL) {
        if (loop_setup(loop, &uring_backend, &uring_error)) {
            return loop;
        }
        if (engine == LOOP_ENGINE_IO_URING) {
            g_propagate_error(error, g_steal_pointer(&uring_error));
            loop_destroy(loop);
            return NULL;
        }
    }
    if (!loop_setup(loop, &epoll_backend, error)) {
        g_prefix_error(error, "event loop '%s': ", name);
        loop_destroy(loop);
        return NULL;
    }
    return loop;
}

/* ---- Rounds ---- */

void loop_wake(EventLoop *loop)
{
    if (atomic_load(&loop->sleeping) && atomic_exchange(&loop->sleeping, false)) {
        trace_loop_wake(loop->name);
        event_notifier_signal(&loop->wake);
    }
}

bool loop_has_queued(EventLoop *loop)
{
    return loop->deferred || loop->pending || atomic_load(&loop->posted) ||
           atomic_load(&loop->completed) || (loop->native && aio_native_ready(loop));
}

static void task_run(LoopTask *task)
{
    void (*run)(void *opaque) = task->run;
    void *opaque = task->opaque;
    __atomic_store_n(&task->queued, false, __ATOMIC_SEQ_CST);
    run(opaque);
}

/* Moves what other threads posted to the end of `pending`, oldest first. */
static void take_posted(EventLoop *loop)
{
    LoopTask *list = atomic_exchange(&loop->posted, NULL), *ordered = NULL;
    while (list) {
        LoopTask *next = list->next;
        list->next = ordered;
        ordered = list;
        list = next;
    }
    LoopTask **tail = &loop->pending;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = ordered;
}

static bool run_posted(EventLoop *loop)
{
    bool work = false;
    if (!loop->pending && !atomic_load_explicit(&loop->posted, memory_order_relaxed)) {
        return false;
    }
    take_posted(loop);
    while (loop->pending) {
        LoopTask *task = loop->pending;
        loop->pending = task->next;
        task_run(task);
        work = true;
    }
    return work;
}

bool loop_run_queued(EventLoop *loop)
{
    bool work = aio_run_completed(loop);
    if (loop->native) {
        work |= aio_native_collect(loop);
    }
    work |= run_posted(loop);
    work |= loop_run_timers(loop);
    return work;
}

void loop_run_deferred(EventLoop *loop)
{
    /* One pass: what is deferred meanwhile by a task waits for the next round. */
    if (!loop->deferred) {
        return;
    }
    LoopTask *last = container_of(loop->deferred_tail, LoopTask, next);
    for (bool more = true; more && loop->deferred;) {
        LoopTask *task = loop->deferred;
        loop->deferred = task->next;
        if (!loop->deferred) {
            loop->deferred_tail = &loop->deferred;
        }
        more = task != last;
        task_run(task);
    }
}

static void loop_sleep(EventLoop *loop, int64_t since)
{
    atomic_store(&loop->sleeping, true);
    if (loop_has_queued(loop) || atomic_load(&loop->stop)) {
        atomic_store(&loop->sleeping, false);
        return;
    }
    int64_t timeout = loop_timer_timeout(loop);
    trace_loop_wait(loop->name, timeout);
    loop->backend->wait(loop, timeout);
    atomic_store(&loop->sleeping, false);
    trace_loop_wait_end(loop->name);
    if (since) {
        loop_poll_adapt(loop, clock_now(VM_CLOCK_REALTIME) - since);
    }
}

static void loop_round(EventLoop *loop)
{
    loop->now = 0;
    loop->backend->collect(loop);
    loop_run_queued(loop);
    if (loop->polling) {
        loop_poll_pollers(loop);
    }
    loop_run_deferred(loop);
    if (loop->native) {
        aio_native_flush(loop);
    }
    if (loop_has_queued(loop) || loop->backend->ready(loop)) {
        loop->backend->submit(loop);
        return;
    }
    int64_t now = 0;
    if (atomic_load_explicit(&loop->poll_max, memory_order_relaxed) > 0) {
        now = clock_now(VM_CLOCK_REALTIME);
        if (loop_polling_allowed(loop, now)) {
            loop->backend->submit(loop);
            if (loop_busy_poll(loop, now)) {
                return;
            }
        }
    }
    if (loop_poll_end(loop)) {
        loop_poll_pollers(loop);
        return;
    }
    loop_sleep(loop, now);
}

static void *loop_thread(void *opaque)
{
    EventLoop *loop = opaque;
    char name[16];
    g_strlcpy(name, loop->name, sizeof(name));
    pthread_setname_np(pthread_self(), name);
    rcu_register_thread();
    loop_set_current(loop);
    bool ok = loop->backend->enter_thread(loop);
    atomic_store(&loop->tid, ok ? (int)syscall(SYS_gettid) : -1);
    sem_post(&loop->up);
    while (ok && !atomic_load(&loop->stop)) {
        loop_round(loop);
    }
    if (ok) {
        loop_poll_end(loop);
        loop->backend->leave_thread(loop);
    }
    rcu_unregister_thread();
    return NULL;
}

int loop_create_thread(pthread_t *thread, void *(*fn)(void *), void *opaque)
{
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, LOOP_STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
    int ret = pthread_create(thread, &attr, fn, opaque);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return ret;
}

bool event_loop_start(EventLoop *loop, GError **error)
{
    assert(!loop->started && !loop->is_main);
    sem_init(&loop->up, 0, 0);
    int ret = loop_create_thread(&loop->thread, loop_thread, loop);
    if (ret != 0) {
        sem_destroy(&loop->up);
        return error_set_errno(error, ret, "cannot start the thread of event loop '%s'",
                               loop->name);
    }
    loop->started = true;
    while (sem_wait(&loop->up) < 0) {
    }
    sem_destroy(&loop->up);
    if (atomic_load(&loop->tid) < 0) {
        return error_set(error, "the thread of event loop '%s' cannot wait for events", loop->name);
    }
    return true;
}

void event_loop_free(EventLoop *loop)
{
    assert(!loop->is_main && !event_loop_is_current(loop));
    if (loop->started) {
        atomic_store(&loop->stop, true);
        event_notifier_signal(&loop->wake);
        pthread_join(loop->thread, NULL);
        loop->started = false;
    }
    run_posted(loop);
    loop_run_deferred(loop);
    while (atomic_load(&loop->wakers)) {
        sched_yield(); /* a few instructions */
    }
    g_mutex_lock(&loops_lock);
    g_ptr_array_remove(loops, loop);
    g_mutex_unlock(&loops_lock);
    fd_watch_stop(&loop->wake_watch);
    loop_destroy(loop);
}

/* ---- Tasks ---- */

void event_loop_defer(EventLoop *loop, LoopTask *task)
{
    assert(loop_thread_ok(loop));
    if (__atomic_exchange_n(&task->queued, true, __ATOMIC_SEQ_CST)) {
        return;
    }
    task->next = NULL;
    *loop->deferred_tail = task;
    loop->deferred_tail = &task->next;
}

void event_loop_hand_over(EventLoop *loop)
{
    assert(loop_thread_ok(loop));
    if (loop->native) {
        aio_native_flush(loop);
    }
    if (loop->backend->aio_hand_over) {
        loop->backend->aio_hand_over(loop);
    }
}

void event_loop_post(EventLoop *loop, LoopTask *task)
{
    if (__atomic_exchange_n(&task->queued, true, __ATOMIC_SEQ_CST)) {
        return;
    }
    LoopTask *head = atomic_load(&loop->posted);
    atomic_fetch_add(&loop->wakers, 1);
    do {
        task->next = head;
    } while (!atomic_compare_exchange_weak(&loop->posted, &head, task));
    loop_wake(loop);
    atomic_fetch_sub(&loop->wakers, 1);
}

static bool list_remove(LoopTask **list, LoopTask *task)
{
    for (LoopTask **p = list; *p; p = &(*p)->next) {
        if (*p == task) {
            *p = task->next;
            return true;
        }
    }
    return false;
}

void event_loop_cancel_task(EventLoop *loop, LoopTask *task)
{
    assert(loop_thread_ok(loop));
    if (!__atomic_load_n(&task->queued, __ATOMIC_SEQ_CST)) {
        return;
    }
    take_posted(loop);
    bool found = list_remove(&loop->pending, task) || list_remove(&loop->deferred, task);
    loop->deferred_tail = &loop->deferred;
    while (*loop->deferred_tail) {
        loop->deferred_tail = &(*loop->deferred_tail)->next;
    }
    if (found) {
        __atomic_store_n(&task->queued, false, __ATOMIC_SEQ_CST);
    }
}

typedef struct LoopCall {
    LoopTask task;
    void (*fn)(void *opaque);
    void *opaque;
    GMutex lock;
    GCond cond;
    bool done;
} LoopCall;

static void call_run(void *opaque)
{
    LoopCall *call = opaque;
    call->fn(call->opaque);
    g_mutex_lock(&call->lock);
    call->done = true;
    g_cond_signal(&call->cond);
    g_mutex_unlock(&call->lock);
}

void event_loop_call(EventLoop *loop, void (*fn)(void *opaque), void *opaque)
{
    if (event_loop_is_current(loop) || !(loop->started || loop->is_main)) {
        fn(opaque);
        return;
    }
    LoopCall call = { .fn = fn, .opaque = opaque };
    call.task = (LoopTask)LOOP_TASK_INIT(call_run, &call);
    g_mutex_init(&call.lock);
    g_cond_init(&call.cond);
    event_loop_post(loop, &call.task);
    g_mutex_lock(&call.lock);
    while (!call.done) {
        g_cond_wait(&call.cond, &call.lock);
    }
    g_mutex_unlock(&call.lock);
    g_mutex_clear(&call.lock);
    g_cond_clear(&call.cond);
}
