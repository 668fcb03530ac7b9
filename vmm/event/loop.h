/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event loops (DESIGN, section 5).
 *
 * An EventLoop belongs to one thread: an I/O thread's loop stands on one io_uring (or, where that
 * is forbidden, on epoll); the main loop is an epoll-based EventLoop that runs as a source of the
 * GLib main context. Fd watches, timers, tasks, pollers and file requests have the same interface
 * on all of them. Structures are embedded by their users; nothing is allocated per event.
 *
 * Unless a comment says "any thread", a function may be called by the loop's own thread only, or
 * by any thread before event_loop_start().
 */
#ifndef VMM_EVENT_LOOP_H
#define VMM_EVENT_LOOP_H

#include <glib.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/event/clock.h"
#include "vmm/util/host_cpus.h"

typedef struct EventLoop EventLoop;

typedef enum LoopEngine {
    LOOP_ENGINE_AUTO, /* io_uring, else epoll */
    LOOP_ENGINE_IO_URING,
    LOOP_ENGINE_EPOLL,
} LoopEngine;

/* What the next event_loop_new(AUTO) may use; `VIREO_LOOP=epoll` in the environment and tests set
 * it. */
void event_loop_set_default_engine(LoopEngine engine);

/* A loop with no thread yet. The name becomes its thread's (15 bytes shown by the kernel). */
EventLoop *event_loop_new(const char *name, LoopEngine engine, GError **error);

/* Starts the loop's thread (registered with liburcu), and returns once it is up: its id is known.
 * Main thread. */
bool event_loop_start(EventLoop *loop, GError **error);

/* Stops and joins the thread, frees the loop. All watches, timers and requests must be gone. */
void event_loop_free(EventLoop *loop);

/* The main loop: exists from the first call (made by the main thread), never freed. */
EventLoop *event_loop_main(void);

/* The loop whose thread is calling, or NULL. Any thread. */
EventLoop *event_loop_current(void);
bool event_loop_is_current(const EventLoop *loop);         /* any thread */
bool event_loop_is_main(const EventLoop *loop);            /* any thread */
const char *event_loop_engine_name(const EventLoop *loop); /* "io_uring" or "epoll"; any thread */
int event_loop_thread_id(
    const EventLoop *loop); /* Linux tid, 0 before start, -1 when it failed; any thread */
/* The thread runs on these CPUs of the host only; after start. Main thread. */
bool event_loop_pin(EventLoop *loop, const HostCpus *cpus, GError **error);

/* Longer than one round trip through a sleeping thread (a wake-up takes 20 to 60 us), so that
 * the adaptation finds the way from sleeping to polling. */
#define LOOP_DEFAULT_POLL_MAX_NS 100000

/* Bounded adaptive busy polling before the loop sleeps: at most max_ns (0: never); grow and shrink
 * are QEMU's poll-grow and poll-shrink factors (0: defaults). Polling is off by itself while the
 * host has no CPU to spare (one CPU, or the thread was found preempted). Any thread. */
void event_loop_set_polling(EventLoop *loop, int64_t max_ns, int64_t grow, int64_t shrink);

/* VM_CLOCK_REALTIME as of this round, read at most once in it: for statistics. */
int64_t event_loop_now(EventLoop *loop);

/* ---- Fd watches ---- */
typedef void FdReady(void *opaque, unsigned revents); /* POLLIN, POLLOUT, POLLERR, POLLHUP */

typedef struct FdWatch {
    EventLoop *loop; /* NULL while stopped */
    int fd;
    unsigned events;
    FdReady *ready;
    void *opaque;
    /* private */
    uint32_t generation;
    uint32_t slot;
} FdWatch;

/* Among the events: edge-triggered. ready is called once for each new wake-up and need not read the
 * fd: for eventfds that only ring (ioeventfds, wake-ups), it saves a system call and a re-arming.
 */
#define FD_WATCH_EDGE (1u << 31)

/* Level-triggered semantics: ready is called as long as the condition holds. Stop a watch before
 * its fd is closed. */
void fd_watch_start(FdWatch *watch, EventLoop *loop, int fd, unsigned events, FdReady *ready,
                    void *opaque);
void fd_watch_set_events(FdWatch *watch, unsigned events); /* 0 pauses it */
/* After it returns, ready is not called again. Safe inside any callback of the loop, on a stopped
 * watch too. */
void fd_watch_stop(FdWatch *watch);

/* ---- Eventfds ---- */
typedef struct EventNotifier {
    int fd; /* -1 when closed; non-blocking, close-on-exec */
} EventNotifier;

bool event_notifier_init(EventNotifier *notifier, GError **error);
void event_notifier_cleanup(EventNotifier *notifier);
void event_notifier_signal(EventNotifier *notifier);         /* any thread */
bool event_notifier_test_and_clear(EventNotifier *notifier); /* any thread */

/* ---- Tasks ---- */
typedef struct LoopTask {
    void (*run)(void *opaque);
    void *opaque;
    /* private */
    struct LoopTask *next;
    bool queued;
} LoopTask;

#define LOOP_TASK_INIT(fn, arg)                                                                    \
    {                                                                                              \
        .run = (fn), .opaque = (arg)                                                               \
    }

/* Runs the task once, after the callbacks of this round and before the loop submits and sleeps:
 * where completions are batched. Already queued: nothing. */
void event_loop_defer(EventLoop *loop, LoopTask *task);

/* Runs the task once in the loop's thread, waking it. Already queued: nothing. Any thread. */
void event_loop_post(EventLoop *loop, LoopTask *task);

/* Hands over the file requests of this round so far, without waiting: the disk begins while the
 * rest of a big batch is still prepared. */
void event_loop_hand_over(EventLoop *loop);

/* Takes a task that waits to run out of its queue. Not while another thread may post it. */
void event_loop_cancel_task(EventLoop *loop, LoopTask *task);

/* Runs fn in the loop's thread and waits for it; runs it directly when called there, or when the
 * loop has no thread yet. Main thread, or a thread the loop's thread never waits for. */
void event_loop_call(EventLoop *loop, void (*fn)(void *opaque), void *opaque);

/* ---- Pollers: sources that can be looked at without a system call ---- */
typedef struct LoopPoller {
    bool (*poll)(void *opaque); /* does the work that is there; true if there was some */
    void (*begin)(
        void *opaque); /* busy polling starts: the other side need not notify; may be NULL */
    bool (*end)(void *opaque); /* it ends: notifications on again; true if work came meanwhile */
    void *opaque;
    /* private */
    struct LoopPoller *next;
    EventLoop *loop;
} LoopPoller;

void loop_poller_add(LoopPoller *poller, EventLoop *loop);
void loop_poller_remove(LoopPoller *poller);

/* ---- Timers ---- */
typedef struct Timer {
    EventLoop *loop;
    VmClock clock;
    void (*fire)(void *opaque);
    void *opaque;
    GMutex *lock; /* held around fire when not NULL: the device's lock */
    /* private */
    int64_t expires; /* -1: not armed */
    uint32_t heap_index;
} Timer;

/* lock may be NULL. Any thread. */
void timer_init(Timer *timer, EventLoop *loop, VmClock clock, GMutex *lock,
                void (*fire)(void *opaque), void *opaque);

/* Arms it for an absolute time of its clock (past: fires at once), replacing an earlier time. Any
 * thread; with a lock: its holder. fire runs on the loop's thread. */
void timer_arm(Timer *timer, int64_t expires);

/* After it returns the timer is not armed. Any thread; with a lock: its holder, and then fire is
 * not called until armed again. Without a lock, only the loop's own thread has that guarantee. */
void timer_cancel(Timer *timer);
int64_t
timer_expires(const Timer *timer); /* -1 when not armed; any thread, with a lock: its holder */

#endif
