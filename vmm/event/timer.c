/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timers: a binary heap for each clock of a loop. A timer with a device lock is fired with that
 * lock held. The lock order is device, then heap, so the loop, which starts from the heap, only
 * tries the device's lock: when it is busy the timer stays in the heap and is tried again soon. No
 * timer is touched after the heap was let go, so a holder of the lock may cancel and free it.
 */
#include "vmm/event/internal.h"

#include "vmm/trace/trace-event.h"

#define TIMER_BUDGET    256       /* fired in one round */
#define TIMER_LATE_NS   NS_PER_MS /* what the point timer_late tells of */
#define TIMER_RETRY_MIN 5000
#define TIMER_RETRY_MAX NS_PER_MS

static void heap_place(TimerHeap *heap, uint32_t index, Timer *timer)
{
    heap->items[index] = timer;
    timer->heap_index = index;
}

static void heap_up(TimerHeap *heap, uint32_t index)
{
    Timer *timer = heap->items[index];
    while (index > 0 && heap->items[(index - 1) / 2]->expires > timer->expires) {
        heap_place(heap, index, heap->items[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_place(heap, index, timer);
}

static void heap_down(TimerHeap *heap, uint32_t index)
{
    Timer *timer = heap->items[index];
    for (;;) {
        uint32_t child = index * 2 + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count &&
            heap->items[child + 1]->expires < heap->items[child]->expires) {
            child++;
        }
        if (heap->items[child]->expires >= timer->expires) {
            break;
        }
        heap_place(heap, index, heap->items[child]);
        index = child;
    }
    heap_place(heap, index, timer);
}

static void set_expires(Timer *timer, int64_t expires)
{
    __atomic_store_n(&timer->expires, expires, __ATOMIC_RELAXED);
}

static void heap_insert(TimerHeap *heap, Timer *timer)
{
    if (heap->count == heap->size) {
        heap->size = MAX(8, heap->size * 2);
        heap->items = g_renew(Timer *, heap->items, heap->size);
    }
    heap_place(heap, heap->count++, timer);
    heap_up(heap, timer->heap_index);
}

static void heap_remove(TimerHeap *heap, Timer *timer)
{
    uint32_t index = timer->heap_index;
    Timer *last = heap->items[--heap->count];
    set_expires(timer, -1);
    if (last != timer) {
        heap_place(heap, index, last);
        heap_up(heap, index);
        heap_down(heap, last->heap_index);
    }
}

void timer_init(Timer *timer, EventLoop *loop, VmClock clock, GMutex *lock,
                void (*fire)(void *opaque), void *opaque)
{
    *timer = (Timer){
        .loop = loop, .clock = clock, .lock = lock, .fire = fire, .opaque = opaque, .expires = -1
    };
}

void timer_arm(Timer *timer, int64_t expires)
{
    EventLoop *loop = timer->loop;
    TimerHeap *heap = &loop->heaps[timer->clock];
    expires = MAX(expires, 0);
    g_mutex_lock(&loop->timer_lock);
    if (timer->expires >= 0) {
        set_expires(timer, expires);
        heap_up(heap, timer->heap_index);
        heap_down(heap, timer->heap_index);
    } else {
        set_expires(timer, expires);
        heap_insert(heap, timer);
        atomic_fetch_add(&loop->timer_count, 1);
    }
    bool first = timer->heap_index == 0;
    g_mutex_unlock(&loop->timer_lock);
    if (first && !event_loop_is_current(loop)) {
        loop_wake(loop);
    }
}

void timer_cancel(Timer *timer)
{
    EventLoop *loop = timer->loop;
    if (!loop) {
        return;
    }
    g_mutex_lock(&loop->timer_lock);
    if (timer->expires >= 0) {
        heap_remove(&loop->heaps[timer->clock], timer);
        atomic_fetch_sub(&loop->timer_count, 1);
    }
    g_mutex_unlock(&loop->timer_lock);
}

int64_t timer_expires(const Timer *timer)
{
    return timer->loop ? __atomic_load_n(&timer->expires, __ATOMIC_RELAXED) : -1;
}

typedef enum FireResult { FIRE_NONE, FIRE_DONE, FIRE_BUSY } FireResult;

static FireResult fire_first(EventLoop *loop, VmClock clock, int64_t now)
{
    TimerHeap *heap = &loop->heaps[clock];
    g_mutex_lock(&loop->timer_lock);
    Timer *timer = heap->count ? heap->items[0] : NULL;
    if (!timer || timer->expires > now) {
        g_mutex_unlock(&loop->timer_lock);
        return FIRE_NONE;
    }
    GMutex *lock = timer->lock;
    if (lock && !g_mutex_trylock(lock)) {
        g_mutex_unlock(&loop->timer_lock);
        trace_timer_busy(loop->name, clock);
        return FIRE_BUSY;
    }
    void (*fire)(void *opaque) = timer->fire;
    void *opaque = timer->opaque;
    int64_t expires = timer->expires;
    heap_remove(heap, timer);
    atomic_fetch_sub(&loop->timer_count, 1);
    g_mutex_unlock(&loop->timer_lock);
    trace_timer_fire(loop->name, clock, expires);
    if (now - expires >= TIMER_LATE_NS) {
        trace_timer_late(loop->name, clock, now - expires);
    }
    fire(opaque);
    if (lock) {
        g_mutex_unlock(lock);
    }
    return FIRE_DONE;
}

bool loop_run_timers(EventLoop *loop)
{
    bool fired = false, busy = false;
    if (!atomic_load_explicit(&loop->timer_count, memory_order_relaxed)) {
        loop->timer_retry = 0;
        return false;
    }
    for (VmClock clock = 0; clock < VM_CLOCK_COUNT; clock++) {
        if (!clock_is_ticking(clock)) {
            continue;
        }
        int64_t now = clock_now(clock);
        for (int i = 0; i < TIMER_BUDGET; i++) {
            FireResult result = fire_first(loop, clock, now);
            busy |= result == FIRE_BUSY;
            fired |= result == FIRE_DONE;
            if (result != FIRE_DONE) {
                break;
            }
        }
    }
    loop->timer_retry = busy ? CLAMP(loop->timer_retry * 2, TIMER_RETRY_MIN, TIMER_RETRY_MAX) : 0;
    return fired;
}

int64_t loop_timer_deadline(EventLoop *loop, VmClock clock)
{
    TimerHeap *heap = &loop->heaps[clock];
    g_mutex_lock(&loop->timer_lock);
    int64_t deadline = heap->count ? heap->items[0]->expires : -1;
    g_mutex_unlock(&loop->timer_lock);
    return deadline;
}

int64_t loop_timer_timeout(EventLoop *loop)
{
    int64_t timeout = -1;
    if (!atomic_load(&loop->timer_count)) {
        return -1;
    }
    for (VmClock clock = 0; clock < VM_CLOCK_COUNT; clock++) {
        int64_t deadline = clock_is_ticking(clock) ? loop_timer_deadline(loop, clock) : -1;
        if (deadline < 0) {
            continue;
        }
        int64_t now = clock_now(clock);
        int64_t left = deadline > now ? deadline - now : loop->timer_retry;
        if (clock == VM_CLOCK_VIRTUAL && deadline > now && clock_is_manual()) {
            continue; /* clock_virtual_step() fires it */
        }
        if (clock == VM_CLOCK_HOST) {
            left = MIN(left, NS_PER_SEC); /* the wall clock may be set meanwhile */
        }
        timeout = timeout < 0 ? left : MIN(timeout, left);
    }
    return timeout;
}
