/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of an EventLoop, shared by the files of this folder only. */
#ifndef VMM_EVENT_INTERNAL_H
#define VMM_EVENT_INTERNAL_H

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include "vmm/event/aio.h"
#include "vmm/event/loop.h"
#include "vmm/trace/trace-event.h"

#define LOOP_STACK_SIZE (256 * 1024)

/* A place in the loop's watch table. Kernel events name slot and generation, so that an event of a
 * watch that was stopped meanwhile finds nothing. */
typedef struct WatchSlot {
    FdWatch *watch; /* NULL: free */
    uint32_t generation;
    unsigned armed; /* events the kernel watches for, 0: none */
    int dup_fd;     /* epoll: a second watch of one fd needs its own descriptor; -1: none */
    bool dirty;     /* io_uring: to be armed at the next submission */
    bool always;    /* epoll: a file without poll(), always ready */
} WatchSlot;

/* What an engine does for the loop. */
typedef struct LoopBackend {
    const char *name;
    bool (*init)(EventLoop *loop, GError **error);
    bool (*enter_thread)(EventLoop *loop); /* on the loop's thread, first */
    void (*leave_thread)(EventLoop *loop); /* on the loop's thread, last */
    void (*fini)(EventLoop *loop);
    void (*watch_changed)(EventLoop *loop, uint32_t slot); /* slot->watch->events is new */
    void (*watch_removed)(EventLoop *loop, uint32_t slot, int fd);
    bool (*ready)(EventLoop *loop);                    /* events are there; reads memory only */
    bool (*collect)(EventLoop *loop);                  /* calls back for what is there */
    void (*submit)(EventLoop *loop);                   /* hands over what is queued; no waiting */
    void (*wait)(EventLoop *loop, int64_t timeout);    /* hands over and sleeps; ns, -1: for ever */
    void (*aio)(EventLoop *loop, AioRequest *request); /* NULL: no file requests of its own */
    void (*aio_hand_over)(EventLoop *loop);            /* with aio: what is queued, no waiting */
} LoopBackend;

typedef struct TimerHeap {
    Timer **items;
    uint32_t count, size;
} TimerHeap;

typedef struct AioNative AioNative;
typedef struct UringEngine UringEngine;
typedef struct EpollEngine EpollEngine;

struct EventLoop {
    char *name;
    const LoopBackend *backend;
    UringEngine *uring;
    EpollEngine *epoll;
    pthread_t thread;
    bool started;
    bool is_main;
    _Atomic int tid;
    sem_t up; /* the thread has its tid, or has failed: for event_loop_start() */
    _Atomic bool stop;

    /* Waking: the loop sets `sleeping` before its last look at what others queue. */
    _Atomic bool sleeping;
    /* Threads between queueing something and having woken the loop: what they queued may be done,
     * and the loop be on its way out, before they are. */
    _Atomic unsigned wakers;
    EventNotifier wake;
    FdWatch wake_watch;

    LoopTask *_Atomic posted;      /* newest first */
    AioRequest *_Atomic completed; /* from worker threads, newest first */
    LoopTask *pending;             /* taken from posted, oldest first */
    LoopTask *deferred, **deferred_tail;

    GArray *slots; /* of WatchSlot */
    GArray *free_slots;

    GMutex timer_lock; /* leaf: taken below any device lock */
    TimerHeap heaps[VM_CLOCK_COUNT];
    _Atomic uint32_t timer_count;
    int64_t timer_retry; /* ns until a timer whose device is busy is tried again, 0: none */

    LoopPoller *pollers;
    LoopPoller *poll_cursor; /* next to visit, so that removal is safe inside poll() */
    bool polling;            /* pollers were told begin() */
    _Atomic int64_t poll_max, poll_grow, poll_shrink;
    int64_t poll_ns; /* the present length */
    int64_t poll_off_until;
    int64_t poll_penalty;
    unsigned poll_fruitless; /* polls in a row that found nothing */

    AioNative *native;
    int64_t now;           /* of this round, 0: not read yet */
    unsigned aio_inflight; /* file requests in the kernel or with workers */
};

/* loop.c */
void loop_wake(EventLoop *loop); /* any thread */
void loop_foreach(void (*fn)(EventLoop *loop, void *opaque), void *opaque);
bool loop_has_queued(EventLoop *loop);
bool loop_run_queued(EventLoop *loop); /* posted tasks, timers, worker completions */
void loop_run_deferred(EventLoop *loop);
EventLoop *loop_alloc(const char *name);
bool loop_setup(EventLoop *loop, const LoopBackend *backend, GError **error);
void loop_set_current(EventLoop *loop);
int loop_create_thread(pthread_t *thread, void *(*fn)(void *), void *opaque); /* 0 or errno */
static inline bool loop_thread_ok(const EventLoop *loop)
{
    return !(loop->started || loop->is_main) || event_loop_is_current(loop);
}

/* watch.c */
static inline WatchSlot *loop_slot(EventLoop *loop, uint32_t slot)
{
    return &g_array_index(loop->slots, WatchSlot, slot);
}
/* The slot when the event is still wanted, else NULL. */
WatchSlot *loop_slot_find(EventLoop *loop, uint32_t slot, uint32_t generation);

/* timer.c */
bool loop_run_timers(EventLoop *loop);
int64_t loop_timer_timeout(EventLoop *loop);                 /* ns from now, 0: due, -1: none */
int64_t loop_timer_deadline(EventLoop *loop, VmClock clock); /* -1: none; any thread */
bool clock_is_ticking(VmClock clock);
bool clock_is_manual(void);

/* poller.c */
bool loop_poll_pollers(EventLoop *loop);
bool loop_busy_poll(EventLoop *loop, int64_t now); /* true: there is work */
bool loop_polling_allowed(EventLoop *loop, int64_t now);
bool loop_poll_end(EventLoop *loop); /* true: work came meanwhile */
void loop_poll_adapt(EventLoop *loop, int64_t blocked_ns);

/* workers.c */
void worker_submit(AioRequest *request);  /* any thread */
ssize_t aio_perform(AioRequest *request); /* blocks; bytes or -errno */
/* Hands back requests of one loop, linked from the newest to the oldest. Any thread. */
void aio_post_completed(AioRequest *newest, AioRequest *oldest);

/* aio.c: completions arrive here, on the loop. */
static inline void aio_complete(AioRequest *request, ssize_t res)
{
    EventLoop *loop = request->loop;
    loop->aio_inflight--;
    trace_aio_complete(request, loop->name, res);
    request->done(request, res);
}
bool aio_run_completed(EventLoop *loop);

/* aio_native.c */
void aio_native_submit(EventLoop *loop, AioRequest *request);
void aio_native_flush(EventLoop *loop);
bool aio_native_pending(EventLoop *loop);
bool aio_native_ready(EventLoop *loop);
bool aio_native_collect(EventLoop *loop);
void aio_native_free(EventLoop *loop);
bool aio_native_available(GError **error);

extern const LoopBackend uring_backend, epoll_backend;
/* epoll: for the main loop's GSource. */
int epoll_engine_fd(EventLoop *loop);
void epoll_engine_arm_timer(EventLoop *loop, int64_t timeout);
bool epoll_engine_has_always(EventLoop *loop);

#endif
