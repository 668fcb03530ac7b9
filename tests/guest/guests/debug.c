/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest to be looked at by gdb: functions and variables that it finds by name. It counts until
 * the debugger sets debug_done. */
#include "tests.h"

/* Not static, so that gdb's script may name them. */
extern volatile uint64_t debug_count, debug_written, debug_other, debug_done;
void debug_step(uint64_t n);
void debug_other_step(void);

volatile uint64_t debug_count, debug_written, debug_other, debug_done;

__attribute__((noinline)) void debug_step(uint64_t n)
{
    debug_count = n;
}

__attribute__((noinline)) void debug_other_step(void)
{
    debug_other++;
}

static void count_other(uint32_t index)
{
    (void)index;
    while (!debug_done) {
        debug_other_step();
    }
}

void test_debug(void)
{
    uint32_t want = (uint32_t)arg_number("cpus", 1);

    if (want > 1) {
        smp_start(0, count_other); /* they do not come back, so nobody waits for them */
    }
    print("debug ready\n");
    for (uint64_t n = 1; !debug_done; n++) {
        debug_step(n);
        if (n % 1000 == 0) {
            debug_written = n;
        }
    }
    print("debug done %lu, count %lu\n", debug_done, debug_count);
}
