/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe with prebuilt 4 KiB reads at random places: a batch is the tail moved on, a doorbell if
 * wanted, and a wait for the last completion; the depth divides the queue. shadow=1: shadow
 * doorbells, as Linux has them. */
#include "bench.h"

#define BLOCK       4096u
#define ENTRIES     1024u
#define ADMIN       16u
#define VECTOR_NVME 0x51

enum { REG_CC = 0x14, REG_CSTS = 0x1c, REG_AQA = 0x24, REG_ASQ = 0x28, REG_ACQ = 0x30 };
enum { CREATE_SQ = 1, CREATE_CQ = 5, IDENTIFY = 6, DOORBELL_BUFFER = 0x7c, READ = 2 };

typedef struct Command {
    uint8_t opcode, flags;
    uint16_t cid;
    uint32_t nsid;
    uint64_t unused, mptr, prp1, prp2;
    uint32_t cdw[6];
} Command;

typedef struct Completion {
    uint32_t dw0, dw1;
    uint16_t sq_head, sq_id, cid;
    volatile uint16_t status;
} Completion;

typedef struct Queue {
    Command *sq;
    Completion *cq;
    uint32_t id, size, tail, head, phase;
} Queue;

static uint64_t bar;
static volatile uint32_t *shadow, *event;
static Queue admin, io;

static void queue_init(Queue *q, uint32_t id, uint32_t size)
{
    *q = (Queue){ .sq = page_alloc(size * sizeof(Command)),
                  .cq = page_alloc(size * sizeof(Completion)),
                  .id = id,
                  .size = size,
                  .phase = 1 };
}

/* A doorbell: its shadow, then the register if the controller asked for it. */
static void ring(Queue *q, bool cq, uint32_t old, uint32_t value)
{
    uint32_t index = 2 * q->id + cq;

    if (shadow && q->id) {
        shadow[index] = value;
        full_barrier();
        if ((uint16_t)(value - event[index] - 1) >= (uint16_t)(value - old)) {
            return;
        }
    }
    write32(bar + 0x1000 + 4 * index, value);
}

static void submit(Queue *q, uint32_t count)
{
    uint32_t old = q->tail;

    q->tail = (q->tail + count) & (q->size - 1);
    ring(q, false, old, q->tail);
}

/* Entries are posted in order: the last one of the batch stands for all of it. A batch does not
 * wrap. */
static void await(Queue *q, uint32_t count, bool by_interrupt)
{
    uint32_t old = q->head, statuses = 0;
    Completion *first = q->cq + old, *last = first + count - 1;

    while ((last->status & 1) != q->phase) {
        if (by_interrupt) {
            irq_disable();
            if ((last->status & 1) != q->phase) {
                irq_wait();
            }
        }
    }
    for (Completion *entry = first; entry <= last; entry++) {
        statuses |= entry->status;
    }
    expect(statuses >> 1 == 0, "a command ended with status %x", statuses >> 1);
    q->head += count;
    if (q->head == q->size) {
        q->head = 0;
        q->phase ^= 1;
    }
    ring(q, true, old, q->head);
}

static void admin_run(Command command)
{
    admin.sq[admin.tail] = command;
    submit(&admin, 1);
    await(&admin, 1, false);
}

static void on_nvme(IsrFrame *frame)
{
    (void)frame;
    lapic_eoi();
}

static void controller_start(Bdf bdf)
{
    bar = pci_bar_address(bdf, 0);
    pci_enable(bdf);
    write32(bar + REG_CC, 0);
    while (read32(bar + REG_CSTS) & 1) {
    }
    queue_init(&admin, 0, ADMIN);
    write32(bar + REG_AQA, (ADMIN - 1) << 16 | (ADMIN - 1));
    write32(bar + REG_ASQ, (uint32_t)(uintptr_t)admin.sq);
    write32(bar + REG_ASQ + 4, 0);
    write32(bar + REG_ACQ, (uint32_t)(uintptr_t)admin.cq);
    write32(bar + REG_ACQ + 4, 0);
    write32(bar + REG_CC, 1u | 6u << 16 | 4u << 20);
    while (!(read32(bar + REG_CSTS) & 1)) {
    }
}

static void queues_start(bool with_shadow, bool by_interrupt)
{
    uint32_t size = (ENTRIES - 1) << 16 | 1;

    queue_init(&io, 1, ENTRIES);
    admin_run((Command){ .opcode = CREATE_CQ,
                         .prp1 = (uintptr_t)io.cq,
                         .cdw = { size, by_interrupt ? 3 | 1u << 16 : 1 } });
    admin_run(
        (Command){ .opcode = CREATE_SQ, .prp1 = (uintptr_t)io.sq, .cdw = { size, 1u << 16 | 1 } });
    if (with_shadow) {
        volatile uint32_t *pages[2] = { page_alloc(4096), page_alloc(4096) };
        admin_run((Command){
            .opcode = DOORBELL_BUFFER, .prp1 = (uintptr_t)pages[0], .prp2 = (uintptr_t)pages[1] });
        shadow = pages[0];
        event = pages[1];
    }
}

static uint32_t disk_blocks(void)
{
    uint64_t *data = page_alloc(4096);

    admin_run((Command){ .opcode = IDENTIFY, .nsid = 1, .prp1 = (uintptr_t)data });
    return (uint32_t)(data[0] / (BLOCK / 512));
}

static void prebuild(uint32_t blocks)
{
    uint8_t *data = page_alloc(ENTRIES * BLOCK);

    for (uint32_t i = 0; i < ENTRIES; i++) {
        io.sq[i] = (Command){ .opcode = READ,
                              .cid = (uint16_t)i,
                              .nsid = 1,
                              .prp1 = (uintptr_t)(data + i * BLOCK),
                              .cdw = { bench_random() % blocks * (BLOCK / 512), 0, 7 } };
    }
}

static void batches_run(uint32_t depth, uint32_t batches, bool by_interrupt)
{
    for (uint32_t i = 0; i < batches; i++) {
        submit(&io, depth);
        await(&io, depth, by_interrupt);
    }
}

void bench_nvme(void)
{
    bool by_interrupt = arg_number("irq", 0) != 0;
    uint32_t depth = (uint32_t)arg_number("depth", 1);
    uint32_t batches = (uint32_t)arg_number("n", 10000) / depth;
    int bdf = pci_find(0x1b36, 0x0010, 0x0010, 0);

    expect(bdf >= 0, "no NVMe controller");
    if (by_interrupt) {
        irq_init();
        pic_disable();
        lapic_enable();
        irq_handle(VECTOR_NVME, on_nvme);
        pci_msix_route((Bdf)bdf, 1, VECTOR_NVME);
    }
    controller_start((Bdf)bdf);
    queues_start(arg_number("shadow", 1) != 0, by_interrupt);
    prebuild(disk_blocks());
    batches_run(depth, ENTRIES / depth, by_interrupt);
    mark_begin();
    batches_run(depth, batches, by_interrupt);
    mark_end();
}
