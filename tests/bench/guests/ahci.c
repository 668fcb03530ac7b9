/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AHCI with queued 4 KiB commands at random places. irq=1, as an operating system drives it: an
 * interrupt (MSI), one look at PxSACT, the slots that are free used again. Else batches as deep as
 * the queue, whose end is seen in the received FIS and then in PxSACT. single=1: a command is
 * issued by itself, as Linux does. The commands are prebuilt: the guest's part stays small. */
#include "bench.h"

#define BLOCK       4096u
#define TABLE       256u
#define PLACES      4096u
#define RX_SDB_TAGS 0x5c
#define VECTOR_DISK 0x50
#define CAP_MSI     0x05
#define CLASS_AHCI  0x01060100u

enum { GHC = 0x04, HBA_IS = 0x08, PORT = 0x100 };
enum {
    PX_CLB = PORT + 0x00,
    PX_FB = PORT + 0x08,
    PX_IS = PORT + 0x10,
    PX_IE = PORT + 0x14,
    PX_CMD = PORT + 0x18,
    PX_SACT = PORT + 0x34,
    PX_CI = PORT + 0x38,
};

static Bdf adapter;
static bool found_adapter;
static uint64_t bar;
static uint8_t *tables;
static volatile uint32_t *tags_told; /* by the last Set Device Bits FIS */
static uint32_t places[PLACES + 32], place;

static void look(Bdf bdf, uint32_t vendor_device)
{
    (void)vendor_device;
    if ((pci_read32(bdf, 0x08) & 0xffffff00u) == CLASS_AHCI) {
        adapter = bdf;
        found_adapter = true;
    }
}

static void on_disk(IsrFrame *frame)
{
    (void)frame;
    lapic_eoi();
}

static void msi_setup(void)
{
    uint8_t cap = pci_capability(adapter, CAP_MSI, 0);

    expect(cap != 0, "the adapter has no MSI");
    irq_init();
    pic_disable();
    lapic_enable();
    irq_handle(VECTOR_DISK, on_disk);
    pci_write32(adapter, cap + 4u, LAPIC_BASE | lapic_id() << 12);
    pci_write32(adapter, cap + 8u, 0);
    pci_write16(adapter, cap + 12u, VECTOR_DISK);
    pci_write16(adapter, cap + 2u, (uint16_t)(pci_read16(adapter, cap + 2u) | 1));
}

/* READ or WRITE FPDMA QUEUED; the place comes with the issue. */
static void build(uint32_t slot, uint8_t *data, bool write)
{
    uint8_t *fis = tables + slot * TABLE;

    fis[0] = 0x27;
    fis[1] = 0x80;
    fis[2] = write ? 0x61 : 0x60;
    fis[3] = BLOCK / 512;
    fis[12] = (uint8_t)(slot << 3);
    write32((uint64_t)fis + 0x80, (uint32_t)(uint64_t)data);
    write32((uint64_t)fis + 0x8c, BLOCK - 1);
}

/* Bytes 4 to 7 of the FIS: LBA bits 0 to 23 and the device register. */
static void choose_places(uint32_t blocks)
{
    for (uint32_t i = 0; i < PLACES + 32; i++) {
        places[i] = bench_random() % blocks * (BLOCK / 512) | 0x40000000;
    }
}

static void port_setup(uint32_t depth, bool write)
{
    uint8_t *list = page_alloc(4096), *fis = page_alloc(4096), *data = page_alloc(depth * BLOCK);

    tables = page_alloc(depth * TABLE);
    tags_told = (volatile uint32_t *)(fis + RX_SDB_TAGS);
    for (uint32_t i = 0; i < depth; i++) {
        write32((uint64_t)list + 32 * i, 5 | 1u << 16 | (write ? 1u << 6 : 0));
        write32((uint64_t)list + 32 * i + 8, (uint32_t)(uint64_t)(tables + i * TABLE));
        build(i, data + i * BLOCK, write);
    }
    write32(bar + GHC, 0x80000002);
    write32(bar + PX_CLB, (uint32_t)(uint64_t)list);
    write32(bar + PX_CLB + 4, 0);
    write32(bar + PX_FB, (uint32_t)(uint64_t)fis);
    write32(bar + PX_FB + 4, 0);
    write32(bar + PX_CMD, 1 << 4 | 1 << 1 | 1 << 2);
    write32(bar + PX_CMD, 1 << 4 | 1 << 1 | 1 << 2 | 1);
}

static inline void move_slot(uint32_t slot, uint32_t to)
{
    *(volatile uint32_t *)(tables + slot * TABLE + 4) = to;
}

static void move_all(const uint32_t *to)
{
#pragma GCC unroll 32
    for (uint32_t slot = 0; slot < 32; slot++) {
        move_slot(slot, to[slot]);
    }
}

/* Gives the slots new places. How many they are. */
static uint32_t move(uint32_t slots)
{
    const uint32_t *to = places + place;
    uint32_t count = 0;

    if (slots == 0xffffffffu) {
        move_all(to);
        count = 32;
    }
    for (uint32_t left = count ? 0 : slots; left; left &= left - 1) {
        move_slot((uint32_t)__builtin_ctz(left), to[count++]);
    }
    place = (place + count) % PLACES;
    return count;
}

static uint32_t issue(uint32_t slots, bool single)
{
    uint32_t count = move(slots);

    for (uint32_t left = single ? slots : 0; left; left &= left - 1) {
        write32(bar + PX_SACT, left & -left);
        write32(bar + PX_CI, left & -left);
    }
    if (!single) {
        write32(bar + PX_SACT, slots);
        write32(bar + PX_CI, slots);
    }
    return count;
}

/* Keeps all slots busy until n commands have been issued, and waits for the rest. */
static void run_by_interrupt(uint32_t n, uint32_t all, bool single)
{
    uint32_t issued = issue(all, single), busy = all;

    while (busy) {
        uint32_t is, done;

        irq_wait();
        is = read32(bar + PX_IS);
        write32(bar + PX_IS, is);
        expect(!(is & 1u << 30), "a command failed");
        done = busy & ~read32(bar + PX_SACT);
        write32(bar + HBA_IS, 1);
        busy &= ~done;
        if (done && issued < n) {
            issued += issue(done, single);
            busy |= done;
        }
    }
}

/* PxSACT is read only after a FIS told of an end: a look at memory costs no exit. */
static void run_batches(uint32_t n, uint32_t all, bool single)
{
    for (uint32_t issued = 0; issued < n;) {
        *tags_told = 0;
        issued += issue(all, single);
        do {
            while (!*tags_told) {
            }
            *tags_told = 0;
        } while (read32(bar + PX_SACT));
    }
    expect(!(read32(bar + PX_IS) & 1u << 30), "a command failed");
}

void bench_ahci(void)
{
    uint32_t depth = (uint32_t)arg_number("depth", 1), n = (uint32_t)arg_number("n", 10000);
    uint32_t all = depth == 32 ? 0xffffffffu : (1u << depth) - 1;
    bool write = arg_number("write", 0) != 0, single = arg_number("single", 0) != 0;
    bool by_interrupt = arg_number("irq", 1) != 0;
    void (*run)(uint32_t n, uint32_t all, bool single) = by_interrupt ? run_by_interrupt
                                                                      : run_batches;

    pci_for_each(look);
    expect(found_adapter, "no AHCI adapter");
    bar = pci_bar_address(adapter, 5);
    pci_enable(adapter);
    choose_places((uint32_t)arg_number("blocks", 65536));
    msi_setup();
    port_setup(depth, write);
    write32(bar + PX_IE, by_interrupt ? 0x7d8000ff : 0);
    run(1000, all, single);
    mark_begin();
    run(n, all, single);
    mark_end();
}
