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

/* ---- For the human monitor: known registers, a page somewhere else, and then nothing ---- */

extern uint64_t kit_pml4[];
extern uint64_t regs_page[];

static uint64_t regs_pdpt[512] __attribute__((aligned(4096)));
static uint64_t regs_pd[512] __attribute__((aligned(4096)));
static uint64_t regs_pt[512] __attribute__((aligned(4096)));
uint64_t regs_page[512] __attribute__((aligned(4096)));

/* 0x12345678000 is regs_page, read-only; 0x12345679000 the same for user programs. */
static void map_page(void)
{
    kit_pml4[2] = (uint64_t)regs_pdpt | 7;
    regs_pdpt[0x8d] = (uint64_t)regs_pd | 7;
    regs_pd[0x2b] = (uint64_t)regs_pt | 7;
    regs_pt[0x78] = (uint64_t)regs_page | 1;
    regs_pt[0x79] = (uint64_t)regs_page | 7;
}

void test_registers(void)
{
    for (unsigned i = 0; i < 512; i++) {
        regs_page[i] = 0x1111111111111111u * (i % 16);
    }
    map_page();
    print("registers page 0x%lx, from 0x%lx\n", (uint64_t)regs_page,
          *(volatile uint64_t *)0x12345678008);
    __asm__ volatile("movq $0x1122334455667788, %%rbx\n"
                     "movq $0x8877665544332211, %%r8\n"
                     "movq $0x0123456789abcdef, %%r15\n"
                     "movq $0x12345678000, %%rsi\n"
                     "movq $0xcafe, %%rbp\n"
                     "movw $0xe9, %%dx\n"
                     "movb $'!', %%al\n"
                     "outb %%al, %%dx\n"
                     "1: cli; hlt; jmp 1b\n" ::
                         : "memory");
}
