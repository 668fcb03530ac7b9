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
    while (nmis == 0) {
    }
    print("nmis %u\n", nmis);
}

#define HOTPLUG_PORT 0xcd8
#define INSERTING    2
#define REMOVING     4
#define EJECT        8

static volatile uint32_t visits;

static void visit(uint32_t index)
{
    (void)index;
    __atomic_fetch_add(&visits, 1, __ATOMIC_SEQ_CST);
}

static void wait_for(uint8_t bit)
{
    do {
        outl(HOTPLUG_PORT, 0);
        outb(HOTPLUG_PORT + 5, 0);
    } while ((inb(HOTPLUG_PORT + 4) & bit) == 0);
    outb(HOTPLUG_PORT + 4, bit);
}

/* A CPU comes, is started, and goes; and once more. */
void test_cpu_hotplug(void)
{
    irq_init();
    lapic_enable();
    print("ready\n");
    for (uint32_t round = 1; round <= 2; round++) {
        wait_for(INSERTING);
        visits = 0;
        smp_start(round + 1, visit); /* it counts visits of both rounds */
        expect(visits == 1, "%u CPUs were started", visits);
        print("round %u: 2 CPUs run\n", round);
        wait_for(REMOVING);
        outl(HOTPLUG_PORT, 1);
        outb(HOTPLUG_PORT + 4, EJECT);
        while (inb(HOTPLUG_PORT + 4) != 0) {
        }
        print("round %u: ejected\n", round);
    }
}
