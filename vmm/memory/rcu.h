/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Read-side sections over liburcu's memb flavour, with what ThreadSanitizer must be told: it cannot
 * see the ordering that membarrier(2) gives.
 */
#ifndef VMM_MEMORY_RCU_H
#define VMM_MEMORY_RCU_H

#ifdef __SANITIZE_THREAD__
#define RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_TSAN 1
#endif
#endif

/* The library is LGPL, the program GPL: its inline functions may be used, which take a quarter of
 * the time. ThreadSanitizer does better with calls. */
#if !defined(RCU_TSAN) && !defined(_LGPL_SOURCE)
#define _LGPL_SOURCE
#endif
#include <urcu/urcu-memb.h>

#ifdef RCU_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
extern int rcu_tsan_token;
#endif

static inline void rcu_section_enter(void)
{
    urcu_memb_read_lock();
}

static inline void rcu_section_leave(void)
{
#ifdef RCU_TSAN
    __tsan_release(&rcu_tsan_token);
#endif
    urcu_memb_read_unlock();
}

/* Returns when all sections that were open have ended. Not from within one. */
static inline void rcu_wait(void)
{
    urcu_memb_synchronize_rcu();
#ifdef RCU_TSAN
    __tsan_acquire(&rcu_tsan_token);
#endif
}

/* Once for each thread that reads; the count makes a second call harmless. */
void rcu_thread_register(void);
void rcu_thread_unregister(void);

#endif
