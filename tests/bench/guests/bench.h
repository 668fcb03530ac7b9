/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the benchmark guests share: the marks by which the host takes the time. */
#pragma once

#include "../../guest/kit/virtio.h"

/* The measured part lies between the two bytes on the debug console. */
static inline void mark_begin(void)
{
    outb(DEBUGCON_PORT, '<');
}
static inline void mark_end(void)
{
    outb(DEBUGCON_PORT, '>');
}

static inline uint32_t bench_random(void)
{
    static uint64_t seed = 88172645463325252ull;

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

/* Makes `count` prebuilt chains available (the ring wraps onto the same ones), with the doorbell if
 * the device wants it and an interrupt when the used index passes `event`. */
static inline void ring_push_event(VirtQueue *q, uint16_t count, uint16_t event)
{
    uint16_t now = (uint16_t)(q->avail_idx + count);
    bool event_idx = q->dev->features & F_EVENT_IDX;

    q->avail_idx = now;
    if (event_idx) {
        *queue_used_event(q) = event;
    }
    q->avail[1] = now;
    full_barrier();
    if (event_idx ? (uint16_t)(now - *queue_avail_event(q) - 1) < count : !(q->used[0] & 1)) {
        virtio_notify(q);
    }
}

/* The same without any interrupt: for a guest that polls. */
static inline void ring_push(VirtQueue *q, uint16_t count)
{
    ring_push_event(q, count, (uint16_t)(q->avail_idx - 1));
}

static inline void ring_wait(VirtQueue *q, uint16_t target)
{
    while (q->used[1] != target) {
    }
}

void bench_exits(void);
void bench_blk(void);
void bench_nvme(void);
void bench_ahci(void);
void bench_net_tx(void);
void bench_net_arp(void);
