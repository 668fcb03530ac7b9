/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks: all times are nanoseconds in int64_t. Reading is lock-free, from any thread. */
#ifndef VMM_EVENT_CLOCK_H
#define VMM_EVENT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef enum VmClock {
    VM_CLOCK_REALTIME, /* monotonic, runs always */
    VM_CLOCK_VIRTUAL,  /* monotonic, stands still while the machine is stopped; starts at 0 */
    VM_CLOCK_HOST,     /* the host's wall clock, may jump */
    VM_CLOCK_COUNT,
} VmClock;

#define NS_PER_SEC 1000000000LL
#define NS_PER_MS  1000000LL
#define NS_PER_US  1000LL

int64_t clock_now(VmClock clock);

/* Starts and stops the virtual clock (initially stopped). Main thread. Timers on it are re-armed.
 */
void clock_virtual_run(bool running);

/* Test mode: the virtual clock moves only by clock_virtual_step(). Main thread, before loops start.
 */
void clock_set_manual(void);

/* Test mode: moves the virtual clock to `to` (never backwards), firing the due timers of the main
 * loop in order of expiry on the way, each seeing its own expiry as the time. Timers of other loops
 * have fired when it returns. Main thread. */
void clock_virtual_step(int64_t to);

/* Test mode: expiry of the earliest armed virtual timer, or -1. Main thread. */
int64_t clock_virtual_deadline(void);

/* State: sets the virtual clock's value while it is stopped. Main thread. */
void clock_virtual_set(int64_t now);

#endif
