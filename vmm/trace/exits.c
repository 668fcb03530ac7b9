/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters of a vCPU's exits. */
#include "vmm/trace/exits.h"

#include <glib.h>
#include <string.h>
#include <time.h>

#define CACHE_LINE 64
#define MAX_USED   (EXIT_WINDOWS * 3 / 4) /* so that searches stay short */

bool exits_timing;

void exits_set_timing(bool on)
{
    __atomic_store_n(&exits_timing, on, __ATOMIC_RELAXED);
}

int64_t exit_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void init_windows(ExitWindows *windows)
{
    g_strlcpy(windows->none.name, "unassigned", EXIT_WINDOW_NAME);
    g_strlcpy(windows->others.name, "others", EXIT_WINDOW_NAME);
}

/* A cache line is one vCPU's. */
VcpuExits *vcpu_exits_new(void)
{
    VcpuExits *exits = g_aligned_alloc0(1, sizeof(*exits), CACHE_LINE);
    init_windows(&exits->io);
    init_windows(&exits->memory);
    exits->since = exit_clock();
    return exits;
}

void vcpu_exits_free(VcpuExits *exits)
{
    g_aligned_free(exits);
}

ExitWindow *exit_windows_find(ExitWindows *windows, uint64_t region, const char *name,
                              uint64_t addr)
{
    for (uint64_t i = region * 0x9e3779b97f4a7c15ULL >> 32;; i++) {
        ExitWindow *window = &windows->places[i % EXIT_WINDOWS];
        if (window->region == region) {
            return window;
        }
        if (window->region == 0) {
            if (windows->used >= MAX_USED) {
                return &windows->others;
            }
            windows->used++;
            g_strlcpy(window->name, name ? name : "", EXIT_WINDOW_NAME);
            window->addr = addr;
            __atomic_store_n(&window->region, region, __ATOMIC_RELEASE);
            return window;
        }
    }
}

static uint64_t load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void copy_window(ExitWindow *to, const ExitWindow *from)
{
    memcpy(to->name, from->name, EXIT_WINDOW_NAME);
    to->addr = from->addr;
    to->reads = load(&from->reads);
    to->writes = load(&from->writes);
    to->ns = load(&from->ns);
}

static void copy_windows(ExitWindows *to, const ExitWindows *from)
{
    for (unsigned i = 0; i < EXIT_WINDOWS; i++) {
        to->places[i].region = __atomic_load_n(&from->places[i].region, __ATOMIC_ACQUIRE);
        if (to->places[i].region) {
            copy_window(&to->places[i], &from->places[i]);
        }
    }
    copy_window(&to->none, &from->none);
    copy_window(&to->others, &from->others);
}

void vcpu_exits_copy(VcpuExits *to, const VcpuExits *from)
{
    for (unsigned i = 0; i < EXIT_REASONS; i++) {
        to->reasons[i] = load(&from->reasons[i]);
    }
    copy_windows(&to->io, &from->io);
    copy_windows(&to->memory, &from->memory);
}
