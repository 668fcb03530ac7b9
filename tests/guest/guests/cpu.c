/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that prints what CPUID tells it. */
#include "tests.h"

typedef struct Leaf {
    uint32_t eax, ebx, ecx, edx;
} Leaf;

static Leaf cpuid(uint32_t function, uint32_t index)
{
    Leaf leaf;
    __asm__ volatile("cpuid"
                     : "=a"(leaf.eax), "=b"(leaf.ebx), "=c"(leaf.ecx), "=d"(leaf.edx)
                     : "a"(function), "c"(index));
    return leaf;
}

static void show(uint32_t function, uint32_t index)
{
    Leaf leaf = cpuid(function, index);
    print("cpuid %08x.%x %08x %08x %08x %08x\n", function, index, leaf.eax, leaf.ebx, leaf.ecx,
          leaf.edx);
}

static void show_range(uint32_t first)
{
    uint32_t last = cpuid(first, 0).eax;
    for (uint32_t function = first; function <= last && function - first < 0x40; function++) {
        bool several = function == 4 || function == 0xb || function == 0x8000001d;
        for (uint32_t index = 0; index < (several                            ? 4
                                          : function == 7 || function == 0xd ? 2
                                                                             : 1);
             index++) {
            show(function, index);
        }
    }
}

void test_cpuid(void)
{
    show_range(0);
    show_range(0x40000000);
    show_range(0x40000100);
    show_range(0x80000000);
}

static volatile uint32_t nmis;

static void on_nmi(IsrFrame *frame)
{
    (void)frame;
    nmis++;
}

/* The NMI button reaches CPUs whose LINT1 lets it through. */
void test_nmi(void)
{
    irq_init();
    pic_disable();
    lapic_enable();
    irq_handle(2, on_nmi);
    if (arg_number("masked", 0) == 0) {
        write32(LAPIC_BASE + 0x360, 0x400); /* LINT1: NMI, not masked */
    }
    print("ready\n");
    for (uint64_t from = rdtsc(); nmis == 0 && rdtsc() - from < arg_number("patience", ~0u);) {
    }
    print("nmis %u\n", nmis);
}
