/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk with prebuilt 4 KiB requests at random places: a batch is one index written, a
 * doorbell if wanted, and a wait for the used index. */
#include "bench.h"

#define BLOCK       4096u
#define VECTOR_DISK 0x50

static uint8_t *status;
static BlkHeader *headers;
static uint32_t *places; /* with `spread`: the block of every request, or null */
static uint32_t next_place;

static uint64_t sector_of(uint32_t block)
{
    return (uint64_t)block * (BLOCK / 512);
}

static void prebuild(VirtQueue *q, bool write, uint32_t blocks)
{
    VringDesc *tables = page_alloc(q->size * 4u * sizeof(VringDesc));
    uint8_t *data = page_alloc(q->size * BLOCK);

    headers = page_alloc(q->size * sizeof(BlkHeader));
    status = page_alloc(q->size);
    for (uint16_t i = 0; i < q->size; i++) {
        Part parts[] = { { &headers[i], sizeof(BlkHeader), false },
                         { data + i * BLOCK, BLOCK, !write },
                         { &status[i], 1, true } };

        headers[i] = (BlkHeader){ write ? BLK_OUT : BLK_IN, 0, sector_of(bench_random() % blocks) };
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

/* Without this the slots of the queue go to the same places again and again, which is one store a
 * request cheaper, but allocates in a new image for the first round only. */
static void places_choose(uint32_t count, uint32_t blocks)
{
    places = page_alloc(count * sizeof(uint32_t));
    for (uint32_t i = 0; i < count; i++) {
        places[i] = bench_random() % blocks;
    }
}

static void batch_aim(const VirtQueue *q, uint16_t depth)
{
    for (uint16_t i = 0; i < depth; i++) {
        headers[(q->avail_idx + i) & (q->size - 1u)].sector = sector_of(places[next_place++]);
    }
}

static void batches_run(VirtQueue *q, uint16_t depth, uint32_t batches, bool by_interrupt)
{
    for (uint32_t i = 0; i < batches; i++) {
        if (places) {
            batch_aim(q, depth);
        }
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
    if (arg_number("spread", 0)) {
        places_choose((batches + q.size / depth) * depth, blocks);
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
