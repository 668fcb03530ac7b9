/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver that breaks its ring in every way (HARDENING rows 1-6, 9-11). After each, the other disk
 * must work, and the broken one must work again once it is reset. */
#include "tests.h"

static VirtioDev victim, witness;
static VirtQueue bad, good;
static BlkHeader header;
static volatile uint8_t status;
static uint8_t *buffer, *check;

static void chain(uint16_t head, uint64_t addr, uint32_t len)
{
    bad.desc[head] =
        (VringDesc){ (uint64_t)&header, sizeof(header), DESC_NEXT, (uint16_t)(head + 1) };
    bad.desc[head + 1] = (VringDesc){ addr, len, DESC_NEXT | DESC_WRITE, (uint16_t)(head + 2) };
    bad.desc[head + 2] = (VringDesc){ (uint64_t)&status, 1, DESC_WRITE, 0 };
}

static void push(uint16_t head)
{
    bad.avail[2 + bad.avail_idx % bad.size] = head;
    bad.avail_idx++;
    barrier();
    bad.avail[1] = bad.avail_idx;
    full_barrier();
    virtio_notify(&bad);
}

static void loop_chain(void)
{
    chain(0, (uint64_t)buffer, 512);
    bad.desc[1].next = 0;
    push(0);
}

static void head_out_of_range(void)
{
    push(0xffff);
}

static void next_out_of_range(void)
{
    chain(0, (uint64_t)buffer, 512);
    bad.desc[1].next = 0x7fff;
    push(0);
}

static void avail_runs_away(void)
{
    chain(0, (uint64_t)buffer, 512);
    bad.avail_idx = 0x7000;
    push(0);
}

static void zero_length(void)
{
    chain(0, (uint64_t)buffer, 0);
    push(0);
}

static void address_wraps(void)
{
    chain(0, ~0ull - 255, 0x2000);
    push(0);
}

static void address_outside(void)
{
    chain(0, 0x700000000000ull, 512);
    push(0);
}

static void spans_the_hole(void)
{
    MemRange *r = &boot_info.ranges[0];

    for (uint32_t i = 0; i < boot_info.range_count; i++) {
        if (boot_info.ranges[i].type == 1 && boot_info.ranges[i].start < 0x100000000) {
            r = &boot_info.ranges[i];
        }
    }
    chain(0, r->start + r->size - 512, 0x1000000);
    push(0);
}

static void own_registers(void)
{
    chain(0, victim.common & ~0xfffull, 4096);
    push(0);
}

static void huge_length(void)
{
    chain(0, (uint64_t)buffer, 0xffffffff);
    push(0);
}

static void same_head_twice(void)
{
    chain(0, (uint64_t)buffer, 4096);
    for (uint32_t i = 0; i < 6; i++) {
        bad.avail[2 + bad.avail_idx % bad.size] = 0;
        bad.avail_idx++;
    }
    bad.avail_idx--;
    push(0);
}

static void no_status_byte(void)
{
    chain(0, (uint64_t)buffer, 512);
    bad.desc[0].flags = 0;
    push(0);
}

static void short_header(void)
{
    chain(0, (uint64_t)buffer, 512);
    bad.desc[0].len = 3;
    push(0);
}

static void readable_after_writable(void)
{
    chain(0, (uint64_t)buffer, 512);
    bad.desc[2].flags = 0;
    push(0);
}

static void nested_indirect(void)
{
    static VringDesc table[4];

    table[0] = (VringDesc){ (uint64_t)table, 64, DESC_INDIRECT, 0 };
    bad.desc[0] = (VringDesc){ (uint64_t)table, 16, DESC_INDIRECT, 0 };
    push(0);
}

static void odd_indirect(void)
{
    bad.desc[0] = (VringDesc){ (uint64_t)buffer, 17, DESC_INDIRECT | DESC_NEXT, 1 };
    push(0);
}

static void huge_indirect(void)
{
    bad.desc[0] = (VringDesc){ (uint64_t)buffer, 0xfffffff0, DESC_INDIRECT, 0 };
    push(0);
}

static void queue_changed_while_live(void)
{
    if (!victim.is_mmio) {
        write16(victim.common + 22, 0);
        write32(victim.common + 32, 0xfffff000);
        write32(victim.common + 36, 0xffffffff);
        write16(victim.common + 24, 0x8000);
        write16(victim.common + 28, 1);
    } else {
        write32(victim.common + 0x38, 0x8000);
        write32(victim.common + 0x80, 0xfffff000);
        write32(victim.common + 0x84, 0xffffffff);
    }
    chain(0, (uint64_t)buffer, 512);
    push(0);
}

static void queue_out_of_range(void)
{
    if (victim.is_mmio) {
        write32(victim.common + 0x30, 0xffff);
        write32(victim.common + 0x38, 4);
        write32(victim.common + 0x44, 1);
        write32(victim.common + 0x50, 0xffff);
        return;
    }
    write16(victim.common + 22, 0xffff);
    write16(victim.common + 24, 4);
    write16(victim.common + 26, 0xfffe);
    write16(victim.common + 28, 1);
    write32(victim.common + 32, 0x1000);
    write16(victim.notify, 0xffff);
    write16(victim.notify + 4 * 1000, 7);
}

static void reset_in_flight(void)
{
    for (uint16_t i = 0; i < 5; i++) {
        chain((uint16_t)(i * 3), (uint64_t)buffer + i * 4096u, 4096);
        push((uint16_t)(i * 3));
    }
    virtio_set_status(&victim, 0);
}

static const struct {
    const char *name;
    void (*run)(void);
} ways[] = {
    { "loop_chain", loop_chain },
    { "head_out_of_range", head_out_of_range },
    { "next_out_of_range", next_out_of_range },
    { "avail_runs_away", avail_runs_away },
    { "zero_length", zero_length },
    { "address_wraps", address_wraps },
    { "address_outside", address_outside },
    { "spans_the_hole", spans_the_hole },
    { "own_registers", own_registers },
    { "huge_length", huge_length },
    { "same_head_twice", same_head_twice },
    { "no_status_byte", no_status_byte },
    { "short_header", short_header },
    { "readable_after_writable", readable_after_writable },
    { "nested_indirect", nested_indirect },
    { "odd_indirect", odd_indirect },
    { "huge_indirect", huge_indirect },
    { "queue_changed_while_live", queue_changed_while_live },
    { "queue_out_of_range", queue_out_of_range },
    { "reset_in_flight", reset_in_flight },
};

static void start(VirtioDev *dev, VirtQueue *q)
{
    virtio_begin(dev, F_INDIRECT | BLK_F_FLUSH);
    if (q->dev == NULL) {
        virtio_queue_setup(dev, q, 0, 16);
    } else {
        virtio_queue_restart(q);
    }
    virtio_driver_ok(dev);
}

void test_broken_rings(void)
{
    uint64_t patience = arg_number("patience", 3000);

    expect(virtio_find(&victim, VIRTIO_BLK, 0), "no first disk");
    expect(virtio_find(&witness, VIRTIO_BLK, 1), "no second disk");
    buffer = page_alloc(65536);
    check = page_alloc(4096);
    start(&witness, &good);
    for (uint32_t i = 0; i < ARRAY_LEN(ways); i++) {
        start(&victim, &bad);
        status = 0xff;
        header = (BlkHeader){ BLK_IN, 0, 0 };
        ways[i].run();
        for (uint64_t n = 0; n < patience && bad.used[1] == 0; n++) {
            __asm__ volatile("pause");
        }
        print("%s: device status %02x, used %u, request status %02x\n", ways[i].name,
              virtio_status(&victim), bad.used[1], status);
        expect(bad.used[1] <= bad.size, "more chains used than the ring has");
        expect(blk_request(&good, BLK_IN, 0, check, 512) == 0, "the other disk died");
        start(&victim, &bad);
        expect(blk_request(&bad, BLK_IN, 0, check, 512) == 0, "a reset does not heal the disk");
    }
}
