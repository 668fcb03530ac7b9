/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Busy polling before sleep. Its length adapts between 0 and the maximum as QEMU's does: it grows
 * while events come a little too late for it, and shrinks when the loop slept longer than the
 * maximum anyway. Where the thread is preempted while it polls, or polls in vain again and again
 * (it may be in the way of the very vCPU that it waits for), others need the CPU more, and polling
 * pauses for a while that doubles each time.
 */
#include <sched.h>
#include "vmm/event/internal.h"
#include "vmm/trace/trace-event.h"

#define POLL_START_NS   4000
#define POLL_GROW       2
#define PREEMPTED_NS    150000 /* a gap this long between two looks at the clock */
#define PENALTY_MIN_NS  (2 * NS_PER_MS)
#define PENALTY_MAX_NS  (256 * NS_PER_MS)
#define POLLS_PER_CLOCK 4
#define FRUITLESS_MAX   16 /* polls in a row that found nothing */

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool host_has_cpus(void)
{
    static _Atomic int count;
    int n = atomic_load_explicit(&count, memory_order_relaxed);
    if (n == 0) {
        cpu_set_t set;
        n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 2;
        atomic_store(&count, n);
    }
    return n > 1;
}

void event_loop_set_polling(EventLoop *loop, int64_t max_ns, int64_t grow, int64_t shrink)
{
    atomic_store(&loop->poll_grow, grow);
    atomic_store(&loop->poll_shrink, shrink);
    atomic_store(&loop->poll_max, host_has_cpus() ? max_ns : 0);
    loop_wake(loop);
}

void loop_poller_add(LoopPoller *poller, EventLoop *loop)
{
    assert(loop_thread_ok(loop));
    poller->loop = loop;
    poller->next = loop->pollers;
    loop->pollers = poller;
    if (loop->polling && poller->begin) {
        poller->begin(poller->opaque);
    }
}

void loop_poller_remove(LoopPoller *poller)
{
    EventLoop *loop = poller->loop;
    if (!loop) {
        return;
    }
    assert(loop_thread_ok(loop));
    for (LoopPoller **p = &loop->pollers; *p; p = &(*p)->next) {
        if (*p == poller) {
            *p = poller->next;
            break;
        }
    }
    if (loop->poll_cursor == poller) {
        loop->poll_cursor = poller->next;
    }
    poller->loop = NULL;
    if (loop->polling && poller->end) {
        poller->end(poller->opaque);
    }
}

bool loop_poll_pollers(EventLoop *loop)
{
    bool work = false;
    for (LoopPoller *p = loop->pollers; p; p = loop->poll_cursor) {
        loop->poll_cursor = p->next;
        work |= p->poll(p->opaque);
    }
    loop->poll_cursor = NULL;
    return work;
}

static void poll_begin(EventLoop *loop)
{
    if (loop->polling) {
        return;
    }
    loop->polling = true;
    for (LoopPoller *p = loop->pollers; p; p = p->next) {
        if (p->begin) {
            p->begin(p->opaque);
        }
    }
}

bool loop_poll_end(EventLoop *loop)
{
    bool work = false;
    if (!loop->polling) {
        return false;
    }
    loop->polling = false;
    for (LoopPoller *p = loop->pollers; p; p = loop->poll_cursor) {
        loop->poll_cursor = p->next;
        work |= p->end && p->end(p->opaque);
    }
    loop->poll_cursor = NULL;
    return work;
}

bool loop_polling_allowed(EventLoop *loop, int64_t now)
{
    if (loop->poll_ns > atomic_load_explicit(&loop->poll_max, memory_order_relaxed)) {
        loop->poll_ns = atomic_load(&loop->poll_max);
    }
    return loop->poll_ns > 0 && now >= loop->poll_off_until &&
           (loop->pollers || loop->aio_inflight);
}

static void poll_punish(EventLoop *loop, int64_t now)
{
    loop->poll_penalty = CLAMP(loop->poll_penalty * 2, PENALTY_MIN_NS, PENALTY_MAX_NS);
    loop->poll_off_until = now + loop->poll_penalty;
}

bool loop_busy_poll(EventLoop *loop, int64_t now)
{
    int64_t last = now, end = now + loop->poll_ns;
    int64_t timer = loop_timer_timeout(loop);
    if (timer >= 0) {
        end = MIN(end, now + timer);
    }
    trace_loop_poll_begin(loop->name, end - now);
    poll_begin(loop);
    while (last < end) {
        for (int i = 0; i < POLLS_PER_CLOCK; i++) {
            if (loop_poll_pollers(loop) || loop->backend->ready(loop) || loop_has_queued(loop)) {
                loop->poll_penalty -= loop->poll_penalty / 64;
                loop->poll_fruitless = 0;
                trace_loop_poll_end(loop->name, true);
                return true;
            }
            cpu_relax();
        }
        now = clock_now(VM_CLOCK_REALTIME);
        if (now - last > PREEMPTED_NS) {
            poll_punish(loop, now);
            break;
        }
        last = now;
        loop->now = now;
    }
    if (++loop->poll_fruitless >= FRUITLESS_MAX) {
        loop->poll_fruitless = 0;
        loop->poll_ns = 0;
        poll_punish(loop, now);
    }
    trace_loop_poll_end(loop->name, false);
    return false;
}

void loop_poll_adapt(EventLoop *loop, int64_t blocked_ns)
{
    int64_t max = atomic_load_explicit(&loop->poll_max, memory_order_relaxed);
    int64_t old = loop->poll_ns;
    if (blocked_ns <= loop->poll_ns) {
        return;
    }
    if (blocked_ns > max) {
        int64_t shrink = atomic_load_explicit(&loop->poll_shrink, memory_order_relaxed);
        loop->poll_ns = shrink > 0 ? loop->poll_ns / shrink : 0;
        if (loop->poll_ns < POLL_START_NS / 2) {
            loop->poll_ns = 0;
        }
    } else if (loop->poll_ns < max) {
        int64_t grow = atomic_load_explicit(&loop->poll_grow, memory_order_relaxed);
        grow = grow > 0 ? grow : POLL_GROW;
        loop->poll_ns = loop->poll_ns ? MIN(loop->poll_ns, max / grow + 1) * grow : POLL_START_NS;
        loop->poll_ns = MIN(loop->poll_ns, max);
    }
    trace_loop_poll_adapt(loop->name, blocked_ns, old, loop->poll_ns);
}
