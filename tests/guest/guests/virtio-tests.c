/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that drive virtio devices as drivers do: disk, network, random numbers. */
#include "tests.h"

static uint64_t ring_features(void)
{
    const char *ring = arg_string("ring");
    uint64_t features = 0;

    if (ring == NULL) {
        return 0;
    }
    features |= strcmp(ring, "packed") == 0 ? F_PACKED : 0;
    features |= strcmp(ring, "event") == 0 ? F_EVENT_IDX : 0;
    features |= strcmp(ring, "indirect") == 0 ? F_INDIRECT : 0;
    return features;
}

static uint32_t checksum(const uint32_t *data, uint32_t words)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < words; i++) {
        sum = sum * 31 + data[i];
    }
    return sum;
}

static void blk_start(VirtioDev *dev, VirtQueue *q)
{
    uint64_t wanted = ring_features();

    expect(virtio_find(dev, VIRTIO_BLK, 0), "no virtio disk");
    virtio_begin(dev, wanted | BLK_F_FLUSH);
    expect((dev->features & wanted) == wanted, "ring features %lx not offered", wanted);
    virtio_queue_setup(dev, q, 0, 16);
    virtio_driver_ok(dev);
}

/* Reads the sectors, prints their checksum, writes a pattern behind them, flushes, reads it back.
 */
void test_blk(void)
{
    VirtioDev dev;
    VirtQueue q;
    uint32_t *data = page_alloc(8192), *back = page_alloc(8192);
    char id[21] = { 0 };

    blk_start(&dev, &q);
    print("capacity %lu sectors\n", (uint64_t)read32(dev.config) | (uint64_t)read32(dev.config + 4)
                                                                       << 32);
    expect(blk_request(&q, BLK_IN, 0, data, 4096) == 0, "read failed");
    print("first page sum %08x\n", checksum(data, 1024));
    for (uint32_t i = 0; i < 2048; i++) {
        data[i] = i * 2654435761u;
    }
    for (uint32_t n = 0; n < 20; n++) {
        data[0] = n;
        expect(blk_request(&q, BLK_OUT, 64 + n * 16, data, 8192) == 0, "write %u failed", n);
    }
    if (dev.features & BLK_F_FLUSH) {
        expect(blk_request(&q, BLK_FLUSH, 0, NULL, 0) == 0, "flush failed");
    }
    for (uint32_t n = 0; n < 20; n++) {
        data[0] = n;
        expect(blk_request(&q, BLK_IN, 64 + n * 16, back, 8192) == 0, "read %u failed", n);
        expect(memcmp(data, back, 8192) == 0, "block %u reads back wrong", n);
    }
    expect(blk_request(&q, BLK_IN, 1ull << 50, back, 512) == 1, "a read past the end succeeds");
    expect(blk_request(&q, BLK_OUT, ~0ull, data, 512) == 1, "a write past the end succeeds");
    expect(blk_request(&q, 77, 0, back, 512) == 2, "an unknown request is not UNSUPP");
    expect(blk_request(&q, BLK_GET_ID, 0, id, 20) == 0, "get id failed");
    print("serial <%s>\n", id);
}

static const uint8_t arp_template[60] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0x12, 0x34, 0x56, 8,    6, /* Ethernet */
    0,    1,    8,    0,    6,    4,    0,    1,    0x52, 0x54, 0,    0x12, 0x34, 0x56,
    10,   0,    2,    15,                                    /* sender */
    0,    0,    0,    0,    0,    0,    10,   0,    2,    2, /* target */
};

void test_net_arp(void)
{
    VirtioDev dev;
    VirtQueue rx, tx;
    uint8_t *in = page_alloc(4096), *out = page_alloc(4096);
    uint32_t id, len;
    Part to_guest = { in, 2048, true }, from_guest = { out, 72, false };

    expect(virtio_find(&dev, VIRTIO_NET, 0), "no virtio network card");
    virtio_begin(&dev, NET_F_MAC | ring_features());
    virtio_queue_setup(&dev, &rx, 0, 16);
    virtio_queue_setup(&dev, &tx, 1, 16);
    virtio_driver_ok(&dev);
    memcpy(out + 12, arp_template, sizeof(arp_template));
    for (uint32_t i = 0; i < 6; i++) {
        out[12 + 6 + i] = out[12 + 22 + i] = read8(dev.config + i);
    }
    queue_add(&rx, 0, &to_guest, 1, NULL);
    queue_kick(&rx, 1);
    queue_add(&tx, 0, &from_guest, 1, NULL);
    queue_kick(&tx, 1);
    expect(queue_wait(&tx, &id, &len), "the ARP request was not sent");
    expect(queue_wait(&rx, &id, &len), "no ARP reply");
    expect(in[12 + 12] == 8 && in[12 + 13] == 6 && in[12 + 21] == 2, "not an ARP reply");
    expect(memcmp(in + 12 + 28, arp_template + 38, 4) == 0, "the reply is not from 10.0.2.2");
    print("10.0.2.2 is at %02x:%02x:%02x:%02x:%02x:%02x, %u bytes\n", in[34], in[35], in[36],
          in[37], in[38], in[39], len);
}

void test_rng(void)
{
    VirtioDev dev;
    VirtQueue q;
    uint8_t *data = page_alloc(4096);
    uint32_t id, len, bits = 0;
    Part part = { data, 64, true };

    expect(virtio_find(&dev, VIRTIO_RNG, 0), "no virtio-rng");
    virtio_begin(&dev, ring_features());
    virtio_queue_setup(&dev, &q, 0, 8);
    virtio_driver_ok(&dev);
    queue_add(&q, 0, &part, 1, NULL);
    queue_kick(&q, 1);
    expect(queue_wait(&q, &id, &len), "no random numbers came");
    expect(len > 0 && len <= 64, "used length %u", len);
    for (uint32_t i = 0; i < len * 8; i++) {
        bits += (data[i / 8] >> (i % 8)) & 1;
    }
    expect(bits > len && bits < len * 7, "%u bits of %u bytes are set", bits, len);
    print("%u random bytes\n", len);
}
