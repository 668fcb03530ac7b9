/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a vCPU left the guest for: counts by reason, and by register window. Each vCPU has its own
 * counters, which its thread alone changes; anybody may read them meanwhile. The time that
 * handlers take is measured while exits_set_timing() is on.
 */
#ifndef VMM_TRACE_EXITS_H
#define VMM_TRACE_EXITS_H

#include <stdbool.h>
#include <stdint.h>

#define EXIT_REASONS     64
#define EXIT_WINDOWS     128 /* of a space that one vCPU can tell apart */
#define EXIT_WINDOW_NAME 32

typedef struct ExitWindow {
    uint64_t region; /* MemRegion.id; 0: a free place. Set last */
    uint64_t addr;   /* where it was when it was found */
    char name[EXIT_WINDOW_NAME];
    uint64_t reads, writes;
    uint64_t ns; /* in handlers */
} ExitWindow;

typedef struct ExitWindows {
    ExitWindow places[EXIT_WINDOWS]; /* a hash table by region */
    unsigned used;
    ExitWindow none;   /* accesses that no window takes */
    ExitWindow others; /* of windows that found no place */
} ExitWindows;

typedef struct VcpuExits {
    uint64_t reasons[EXIT_REASONS]; /* the accelerator's numbers */
    ExitWindows io, memory;
    int64_t since; /* when they were made, of exit_clock() */
} VcpuExits;

VcpuExits *vcpu_exits_new(void);
void vcpu_exits_free(VcpuExits *exits);
/* A consistent enough copy: each number by itself is one that was there. Any thread. */
void vcpu_exits_copy(VcpuExits *to, const VcpuExits *from);

/* The place of a window, made where there is none yet. The vCPU's thread. */
ExitWindow *exit_windows_find(ExitWindows *windows, uint64_t region, const char *name,
                              uint64_t addr);

/* Whether the time in handlers is measured: two clock reads an exit. Main thread. */
void exits_set_timing(bool on);
extern bool exits_timing; /* atomic */

static inline void exit_count(uint64_t *counter, uint64_t by)
{
    __atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

int64_t exit_clock(void); /* CLOCK_MONOTONIC in ns */

/* The time an access begins; 0 when it is not measured. */
static inline int64_t exit_begin(void)
{
    return __builtin_expect(__atomic_load_n(&exits_timing, __ATOMIC_RELAXED), 0) ? exit_clock() : 0;
}

/* An access to the window has ended. The vCPU's thread. */
static inline void exit_end(ExitWindow *window, bool write, int64_t begun)
{
    exit_count(write ? &window->writes : &window->reads, 1);
    if (__builtin_expect(begun != 0, 0)) {
        exit_count(&window->ns, (uint64_t)(exit_clock() - begun));
    }
}

#endif
