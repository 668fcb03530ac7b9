/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads that read lock-free snapshots. */
#include "vmm/memory/rcu.h"

#ifdef RCU_TSAN
int rcu_tsan_token;
#endif

static __thread unsigned registrations;

void rcu_thread_register(void)
{
    if (registrations++ == 0) {
        urcu_memb_register_thread();
    }
}

void rcu_thread_unregister(void)
{
    if (registrations && --registrations == 0) {
        urcu_memb_unregister_thread();
    }
}
