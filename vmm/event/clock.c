/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clocks; the virtual one stops with the machine, and in test mode moves by hand. */
#include "vmm/event/clock.h"

#include <time.h>
#include "vmm/event/internal.h"

/* The virtual clock: `value` while stopped or manual, else host monotonic time plus `value`.
 * Written by the main thread under an even/odd sequence number. */
static struct {
    _Atomic uint32_t sequence;
    _Atomic bool running;
    _Atomic int64_t value;
    _Atomic bool manual;
} virtual_clock;

static int64_t host_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static int64_t virtual_now(void)
{
    if (atomic_load_explicit(&virtual_clock.manual, memory_order_relaxed)) {
        return atomic_load(&virtual_clock.value);
    }
    for (;;) {
        uint32_t before = atomic_load(&virtual_clock.sequence);
        bool running = atomic_load(&virtual_clock.running);
        int64_t value = atomic_load(&virtual_clock.value);
        int64_t now = running ? host_clock(CLOCK_MONOTONIC) + value : value;
        if (!(before & 1) && atomic_load(&virtual_clock.sequence) == before) {
            return now;
        }
    }
}

int64_t clock_now(VmClock clock)
{
    switch (clock) {
    case VM_CLOCK_VIRTUAL:
        return virtual_now();
    case VM_CLOCK_HOST:
        return host_clock(CLOCK_REALTIME);
    default:
        return host_clock(CLOCK_MONOTONIC);
    }
}

bool clock_is_ticking(VmClock clock)
{
    return clock != VM_CLOCK_VIRTUAL || atomic_load(&virtual_clock.manual) ||
           atomic_load(&virtual_clock.running);
}

bool clock_is_manual(void)
{
    return atomic_load(&virtual_clock.manual);
}

static void virtual_write(bool running, int64_t value)
{
    atomic_fetch_add(&virtual_clock.sequence, 1);
    atomic_store(&virtual_clock.running, running);
    atomic_store(&virtual_clock.value, value);
    atomic_fetch_add(&virtual_clock.sequence, 1);
}

static void wake_loop(EventLoop *loop, void *opaque)
{
    loop_wake(loop);
}

void clock_virtual_run(bool running)
{
    if (atomic_load(&virtual_clock.manual) || running == atomic_load(&virtual_clock.running)) {
        return;
    }
    int64_t mono = host_clock(CLOCK_MONOTONIC);
    int64_t value = atomic_load(&virtual_clock.value);
    virtual_write(running, running ? value - mono : value + mono);
    loop_foreach(wake_loop, NULL);
}

void clock_set_manual(void)
{
    atomic_store(&virtual_clock.manual, true);
}

void clock_virtual_set(int64_t now)
{
    virtual_write(false, now);
    loop_foreach(wake_loop, NULL);
}

static void find_earliest(EventLoop *loop, void *opaque)
{
    int64_t *best = opaque;
    int64_t deadline = loop_timer_deadline(loop, VM_CLOCK_VIRTUAL);
    if (deadline >= 0 && (*best < 0 || deadline < *best)) {
        *best = deadline;
    }
}

int64_t clock_virtual_deadline(void)
{
    int64_t best = -1;
    loop_foreach(find_earliest, &best);
    return best;
}

static void run_timers_now(void *opaque)
{
    loop_run_timers(opaque);
}

static void collect_due(EventLoop *loop, void *opaque)
{
    int64_t deadline = loop_timer_deadline(loop, VM_CLOCK_VIRTUAL);
    if (deadline >= 0 && deadline <= virtual_now()) {
        g_ptr_array_add(opaque, loop);
    }
}

/* Runs the due timers of all loops; loops are not made or freed meanwhile (main thread). */
static void run_due_everywhere(void)
{
    g_autoptr(GPtrArray) due = g_ptr_array_new();
    loop_foreach(collect_due, due);
    for (guint i = 0; i < due->len; i++) {
        event_loop_call(due->pdata[i], run_timers_now, due->pdata[i]);
    }
}

void clock_virtual_step(int64_t to)
{
    event_loop_main();
    for (;;) {
        int64_t next = clock_virtual_deadline();
        if (next < 0 || next > to) {
            break;
        }
        if (next > virtual_now()) {
            atomic_store(&virtual_clock.value, next);
        }
        run_due_everywhere();
    }
    if (to > virtual_now()) {
        atomic_store(&virtual_clock.value, to);
    }
}
