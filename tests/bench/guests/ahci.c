/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AHCI with queued 4 KiB commands at random places, as an operating system drives it: an interrupt
 * (MSI), one look at PxSACT, the slots that are free used again. */
#include "bench.h"

#define BLOCK       4096u
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

static void look(Bdf bdf, uint32_t vendor_device)
{
    (void)vendor_device;
    if ((pci_read32(bdf, 0x08) & 0xffffff00u) == CLASS_AHCI) {
        adapter = bdf;
        found_adapter = true;
    }
}

static uint32_t random_next(void)
{
    static uint64_t seed = 88172645463325252ull;

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
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

static void port_setup(uint32_t depth)
{
    uint8_t *list = page_alloc(4096), *fis = page_alloc(4096), *data = page_alloc(depth * BLOCK);

    tables = page_alloc(depth * 4096);
    for (uint32_t i = 0; i < depth; i++) {
        uint64_t table = (uint64_t)(tables + i * 4096);
        write32((uint64_t)list + 32 * i, 5 | 1u << 16);
        write32((uint64_t)list + 32 * i + 8, (uint32_t)table);
        write32(table + 0x80, (uint32_t)(uint64_t)(data + i * BLOCK));
        write32(table + 0x8c, BLOCK - 1);
    }
    write32(bar + GHC, 0x80000002);
    write32(bar + PX_CLB, (uint32_t)(uint64_t)list);
    write32(bar + PX_CLB + 4, 0);
    write32(bar + PX_FB, (uint32_t)(uint64_t)fis);
    write32(bar + PX_FB + 4, 0);
    write32(bar + PX_IE, 0x7d8000ff);
    write32(bar + PX_CMD, 1 << 4 | 1 << 1 | 1 << 2);
    write32(bar + PX_CMD, 1 << 4 | 1 << 1 | 1 << 2 | 1);
}

/* READ or WRITE FPDMA QUEUED at a random block. */
static void build(uint32_t slot, bool write, uint32_t blocks)
{
    uint8_t *fis = tables + slot * 4096;
    uint32_t lba = random_next() % blocks * (BLOCK / 512);

    fis[0] = 0x27;
    fis[1] = 0x80;
    fis[2] = write ? 0x61 : 0x60;
    fis[3] = BLOCK / 512;
    fis[4] = (uint8_t)lba;
    fis[5] = (uint8_t)(lba >> 8);
    fis[6] = (uint8_t)(lba >> 16);
    fis[7] = 0x40;
    fis[8] = (uint8_t)(lba >> 24);
    fis[12] = (uint8_t)(slot << 3);
}

static void issue(uint32_t slots, bool write, uint32_t blocks)
{
    for (uint32_t left = slots; left; left &= left - 1) {
        build((uint32_t)__builtin_ctz(left), write, blocks);
    }
    write32(bar + PX_SACT, slots);
    write32(bar + PX_CI, slots);
}

static uint32_t count_bits(uint32_t bits)
{
    uint32_t count = 0;

    for (; bits; bits &= bits - 1) {
        count++;
    }
    return count;
}

/* Keeps all slots busy until n commands have ended. */
static void run(uint32_t n, uint32_t all, bool write, uint32_t blocks)
{
    uint32_t ended = 0, busy = all;

    issue(all, write, blocks);
    while (busy) {
        uint32_t is, done;

        irq_wait();
        is = read32(bar + PX_IS);
        write32(bar + PX_IS, is);
        expect(!(is & 1u << 30), "a command failed");
        done = busy & ~read32(bar + PX_SACT);
        write32(bar + HBA_IS, 1);
        ended += count_bits(done);
        busy &= ~done;
        if (done && ended < n) {
            issue(done, write, blocks);
            busy |= done;
        }
    }
}

void bench_ahci(void)
{
    uint32_t depth = (uint32_t)arg_number("depth", 1), n = (uint32_t)arg_number("n", 10000);
    uint32_t blocks = (uint32_t)arg_number("blocks", 65536);
    uint32_t all = depth == 32 ? 0xffffffffu : (1u << depth) - 1;
    bool write = arg_number("write", 0) != 0;

    pci_for_each(look);
    expect(found_adapter, "no AHCI adapter");
    bar = pci_bar_address(adapter, 5);
    pci_enable(adapter);
    msi_setup();
    port_setup(depth);
    run(1000, all, write, blocks);
    mark_begin();
    run(n, all, write, blocks);
    mark_end();
}
