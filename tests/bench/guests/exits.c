/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exits: n accesses of one kind between the marks, in a loop of three instructions. */
#include "bench.h"

static void loop_in(uint16_t port, uint32_t n)
{
    __asm__ volatile("1: inb %w1,%%al; decl %0; jnz 1b" : "+c"(n) : "d"(port) : "eax", "cc");
}

static void loop_out(uint16_t port, uint32_t n)
{
    __asm__ volatile("1: outb %%al,%w1; decl %0; jnz 1b" : "+c"(n) : "d"(port), "a"('x') : "cc");
}

static void loop_load(uint64_t at, uint32_t n)
{
    __asm__ volatile("1: movb (%1),%%al; decl %0; jnz 1b" : "+c"(n) : "d"(at) : "eax", "cc");
}

static void loop_store(uint64_t at, uint32_t n)
{
    __asm__ volatile("1: movw %%ax,(%1); decl %0; jnz 1b"
                     : "+c"(n)
                     : "d"(at), "a"(0)
                     : "memory", "cc");
}

static void disk_start(VirtioDev *dev, VirtQueue *q)
{
    uint64_t at = arg_number("addr", 0);

    if (at != 0) {
        *dev = (VirtioDev){ .common = at };
        *q = (VirtQueue){ .dev = dev, .doorbell = at };
        return;
    }
    expect(virtio_find(dev, VIRTIO_BLK, 0), "no virtio disk");
    virtio_begin(dev, BLK_F_FLUSH);
    virtio_queue_setup(dev, q, 0, 64);
    virtio_driver_ok(dev);
}

void bench_exits(void)
{
    uint32_t n = (uint32_t)arg_number("n", 100000);
    uint16_t port = (uint16_t)arg_number("port", DEBUGCON_PORT);
    VirtioDev dev;
    VirtQueue q;
    char what = arg_string("what")[0];

    if (what == 'm' || what == 'd') {
        disk_start(&dev, &q);
    }
    mark_begin();
    if (what == 'i') {
        loop_in(port, n);
    } else if (what == 'o') {
        loop_out(port, n);
    } else if (what == 'm') {
        loop_load(dev.is_mmio ? dev.common + 0x70 : dev.common + 20, n);
    } else if (what == 'd') {
        loop_store(q.doorbell, n);
    } else {
        while (--n != 0) {
            barrier();
        }
    }
    mark_end();
}
