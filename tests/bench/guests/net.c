/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net: prebuilt 60-byte frames sent in batches; ARP round trips to the user network's host.
 */
#include "bench.h"

#define HEADER 12u
#define FRAME  60u

static VirtioDev dev;
static VirtQueue rx, tx;

static void net_start(void)
{
    uint8_t *rx_data;

    expect(virtio_find(&dev, VIRTIO_NET, 0), "no virtio network card");
    virtio_begin(&dev, NET_F_MAC | F_EVENT_IDX);
    virtio_queue_setup(&dev, &rx, 0, 256);
    virtio_queue_setup(&dev, &tx, 1, 256);
    rx_data = page_alloc(rx.size * 2048u);
    for (uint16_t i = 0; i < rx.size; i++) {
        Part part = { rx_data + i * 2048u, 2048, true };

        queue_add(&rx, i, &part, 1, NULL);
    }
}

static void prebuild_tx(const uint8_t *frame)
{
    uint8_t *data = page_alloc(tx.size * 128u);

    for (uint16_t i = 0; i < tx.size; i++) {
        Part part = { data + i * 128u, HEADER + FRAME, false };

        memcpy(data + i * 128u + HEADER, frame, FRAME);
        queue_add(&tx, i, &part, 1, NULL);
    }
    tx.avail_idx = 0;
    tx.avail[1] = 0;
}

/* The ethertype is one for experiments: the host's side takes the frame and drops it. */
void bench_net_tx(void)
{
    static uint8_t frame[FRAME] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52,
                                    0x54, 0,    0x12, 0x34, 0x56, 0x88, 0xb5 };
    uint16_t depth = (uint16_t)arg_number("depth", 64);
    uint32_t batches = (uint32_t)arg_number("n", 10000) / depth;

    net_start();
    prebuild_tx(frame);
    virtio_driver_ok(&dev);
    print("features %lx size %u ", dev.features, tx.size);
    mark_begin();
    for (uint32_t i = 0; i < batches; i++) {
        ring_push(&tx, depth);
        ring_wait(&tx, tx.avail_idx);
    }
    mark_end();
}

void bench_net_arp(void)
{
    static uint8_t frame[FRAME] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0x12, 0x34, 0x56, 8,    6, /* Ethernet
                                                                                          */
        0,    1,    8,    0,    6,    4,    0,    1,    0x52, 0x54, 0,    0x12, 0x34, 0x56, 10,
        0,    2,    15,                                          /* sender */
        0,    0,    0,    0,    0,    0,    10,   0,    2,    2, /* target */
    };
    uint32_t n = (uint32_t)arg_number("n", 1000);
    uint16_t spent = 0;

    net_start();
    for (uint32_t i = 0; i < 6; i++) {
        frame[6 + i] = frame[22 + i] = read8(dev.config + i);
    }
    prebuild_tx(frame);
    virtio_driver_ok(&dev);
    virtio_notify(&rx);
    mark_begin();
    for (uint32_t i = 0; i < n; i++) {
        uint16_t target = (uint16_t)(rx.used[1] + 1);

        ring_push(&tx, 1);
        ring_wait(&rx, target);
        /* Buffers go back in large batches: the guest's own work is not what is measured. */
        if (++spent == rx.size / 2) {
            ring_push(&rx, spent);
            spent = 0;
        }
    }
    mark_end();
}
