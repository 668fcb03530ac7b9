/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk with prebuilt 4 KiB requests at random places: a batch is one index written, a
 * doorbell if wanted, and a wait for the used index. */
#include "bench.h"

#define BLOCK 4096u

static uint8_t *status;

static uint32_t random_next(void)
{
    static uint64_t seed = 88172645463325252ull;

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static void prebuild(VirtQueue *q, bool write, uint32_t blocks)
{
    VringDesc *tables = page_alloc(q->size * 4u * sizeof(VringDesc));
    BlkHeader *headers = page_alloc(q->size * sizeof(BlkHeader));
    uint8_t *data = page_alloc(q->size * BLOCK);

    status = page_alloc(q->size);
    for (uint16_t i = 0; i < q->size; i++) {
        Part parts[] = { { &headers[i], sizeof(BlkHeader), false },
                         { data + i * BLOCK, BLOCK, !write },
                         { &status[i], 1, true } };

        headers[i] = (BlkHeader){ write ? BLK_OUT : BLK_IN, 0,
                                  (uint64_t)(random_next() % blocks) * (BLOCK / 512) };
        status[i] = 0xff;
        queue_add(q, i, parts, 3, &tables[i * 4]);
    }
    q->avail_idx = 0;
    q->avail[1] = 0;
}

void bench_blk(void)
{
    VirtioDev dev;
    VirtQueue q;
    uint16_t depth = (uint16_t)arg_number("depth", 1);
    uint32_t batches = (uint32_t)arg_number("n", 10000) / depth;
    bool write = arg_number("write", 0) != 0;
    uint32_t blocks = 0;

    expect(virtio_find(&dev, VIRTIO_BLK, 0), "no virtio disk");
    virtio_begin(&dev, BLK_F_FLUSH | F_EVENT_IDX | F_INDIRECT);
    expect(dev.features & F_INDIRECT, "no indirect descriptors");
    virtio_queue_setup(&dev, &q, 0, 1024);
    blocks = read32(dev.config) / (BLOCK / 512);
    prebuild(&q, write, blocks);
    virtio_driver_ok(&dev);
    for (uint32_t i = 0; i < q.size / depth; i++) {
        ring_push(&q, depth);
        ring_wait(&q, q.avail_idx);
    }
    print("features %lx size %u ", dev.features, q.size);
    mark_begin();
    for (uint32_t i = 0; i < batches; i++) {
        ring_push(&q, depth);
        ring_wait(&q, q.avail_idx);
    }
    mark_end();
    for (uint16_t i = 0; i < q.size; i++) {
        expect(status[i] == 0, "request %u ended with status %u", i, status[i]);
    }
}
