/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk with prebuilt 4 KiB requests at random places: a batch is one index written, a
 * doorbell if wanted, and a wait for the used index. */
#include "bench.h"

#define BLOCK       4096u
#define VECTOR_DISK 0x50

static uint8_t *status;

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
                                  (uint64_t)(bench_random() % blocks) * (BLOCK / 512) };
        status[i] = 0xff;
        queue_add(q, i, parts, 3, &tables[i * 4]);
    }
    q->avail_idx = 0;
    q->avail[1] = 0;
}

static void on_disk(IsrFrame *frame)
{
    (void)frame;
    lapic_eoi();
}

static void interrupt_setup(VirtQueue *q)
{
    irq_init();
    pic_disable();
    lapic_enable();
    irq_handle(VECTOR_DISK, on_disk);
    pci_msix_route(q->dev->bdf, 0, VECTOR_DISK);
    virtio_queue_vector(q, 0);
}

/* One batch whose end is waited for in HLT, by one interrupt for the last request. */
static void batch_by_interrupt(VirtQueue *q, uint16_t depth)
{
    uint16_t target = (uint16_t)(q->avail_idx + depth);

    ring_push_event(q, depth, (uint16_t)(target - 1));
    while (q->used[1] != target) {
        irq_disable();
        if (q->used[1] == target) {
            break;
        }
        irq_wait();
    }
}

static void batches_run(VirtQueue *q, uint16_t depth, uint32_t batches, bool by_interrupt)
{
    for (uint32_t i = 0; i < batches; i++) {
        if (by_interrupt) {
            batch_by_interrupt(q, depth);
        } else {
            ring_push(q, depth);
            ring_wait(q, q->avail_idx);
        }
    }
}

void bench_blk(void)
{
    bool by_interrupt = arg_number("irq", 0) != 0;
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
    if (by_interrupt) {
        interrupt_setup(&q);
    }
    virtio_driver_ok(&dev);
    batches_run(&q, depth, q.size / depth, by_interrupt);
    print("features %lx size %u ", dev.features, q.size);
    mark_begin();
    batches_run(&q, depth, batches, by_interrupt);
    mark_end();
    for (uint16_t i = 0; i < q.size; i++) {
        expect(status[i] == 0, "request %u ended with status %u", i, status[i]);
    }
}
