/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Legacy devices are saved in the middle of a piece of work, reset, loaded and made to end it: the
 * half that was done before is not lost, nor done twice.
 */
#include <string.h>
#include "tests/fuzz/machine.h"
#include "hw/devices.h"
#include "hw/isa/i8237.h"
#include "hw/pci/pci.h"
#include "vmm/machine/life.h"
#include "vmm/util/bytes.h"

#define ROUNDS 100000 /* of looking for a state: a limit for what hangs */

static Machine *machine;

static uint64_t load(AddressSpace *space, uint64_t addr, unsigned size)
{
    DispatchCache cache = { 0 };
    return address_space_load(space, &cache, addr, size);
}

static void store(AddressSpace *space, uint64_t addr, uint64_t value, unsigned size)
{
    DispatchCache cache = { 0 };
    address_space_store(space, &cache, addr, value, size);
}

static uint8_t in(uint16_t port)
{
    return (uint8_t)load(machine->io, port, 1);
}

static void out(uint16_t port, uint8_t value)
{
    store(machine->io, port, value, 1);
}

static void step(int64_t ns)
{
    clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + ns);
    fuzz_machine_settle(machine);
}

static void begin(void)
{
    fuzz_machine_reset(machine);
    machine_cont(machine, NULL);
}

static void save_reset_load(void)
{
    GError *error = NULL;
    g_autoptr(GByteArray) stream = g_byte_array_new();
    machine_stop(machine, RUN_STATE_PAUSED);
    devices_save(machine, stream);
    machine_reset_now(machine);
    devices_load(machine, stream->data, stream->len, &error);
    g_assert_no_error(error);
    machine_cont(machine, NULL);
}

/* ---- HPET: a periodic timer between two matches ---- */

#define HPET        0xfed00000ULL
#define HPET_TIMER0 (HPET + 0x100)

static void test_hpet(void)
{
    begin();
    store(machine->memory, HPET_TIMER0, 0x2 | 0x4 | 0x8 | 0x40 | 16 << 9, 8); /* level, periodic */
    store(machine->memory, HPET_TIMER0 + 8, 100000, 8);                       /* a millisecond */
    store(machine->memory, HPET + 0x10, 3, 8); /* runs, in the place of timer and clock */
    step(1500000);
    g_assert_cmphex(load(machine->memory, HPET + 0x20, 8), ==, 1);
    store(machine->memory, HPET + 0x20, 1, 8);
    save_reset_load();
    g_assert_cmphex(load(machine->memory, HPET + 0x10, 8), ==, 3);
    g_assert_cmpuint(load(machine->memory, HPET + 0xf0, 8), ==, 150000);
    g_assert_cmpuint(load(machine->memory, HPET_TIMER0 + 8, 8), ==, 200000);
    g_assert_cmphex(load(machine->memory, HPET + 0x20, 8), ==, 0);
    step(500000); /* the rest of the period */
    g_assert_cmphex(load(machine->memory, HPET + 0x20, 8), ==, 1);
    g_assert_cmpuint(load(machine->memory, HPET_TIMER0 + 8, 8), ==, 300000);
    save_reset_load(); /* while its line is high */
    g_assert_cmphex(load(machine->memory, HPET + 0x20, 8), ==, 1);
    store(machine->memory, HPET + 0x20, 1, 8);
    step(1000000);
    g_assert_cmphex(load(machine->memory, HPET + 0x20, 8), ==, 1);
}

/* ---- TCO timer: between the two expiries, in the middle of a count ---- */

#define LPC_CONFIG  (1U << 31 | 0x1f << 11)
#define PM_BASE     0x600
#define TCO_RELOAD  (PM_BASE + 0x60)
#define TCO_STATUS1 (PM_BASE + 0x64)
#define TCO_STATUS2 (PM_BASE + 0x66)
#define TCO_TIMER   (PM_BASE + 0x72)
#define TCO_TICK_NS 600000000LL

static void test_tco(void)
{
    begin();
    store(machine->io, 0xcf8, LPC_CONFIG | 0x40, 4);
    store(machine->io, 0xcfc, PM_BASE | 1, 4);
    store(machine->io, 0xcf8, LPC_CONFIG | 0x44, 4);
    store(machine->io, 0xcfc, 0x80, 4);
    store(machine->io, TCO_STATUS2, 0xffff, 2);
    store(machine->io, TCO_TIMER, 10, 2);
    store(machine->io, TCO_RELOAD, 1, 2);
    step(13 * TCO_TICK_NS);
    save_reset_load();
    g_assert_cmphex(load(machine->io, TCO_STATUS1, 2), ==, 0x8);
    g_assert_cmpuint(load(machine->io, TCO_RELOAD, 2), ==, 7);
    step(7 * TCO_TICK_NS - 1);
    g_assert_cmphex(load(machine->io, TCO_STATUS2, 2), ==, 0);
    step(1); /* the second one: the first is not forgotten */
    g_assert_cmphex(load(machine->io, TCO_STATUS2, 2), ==, 0x6);
}

/* ---- Parallel port: within the strobe, and before its acknowledge was seen ---- */

static void test_parallel(void)
{
    begin();
    out(0x378, 'x');
    out(0x37a, 0x0d); /* strobe */
    save_reset_load();
    g_assert_cmphex(in(0x378), ==, 'x');
    g_assert_cmphex(in(0x379), ==, 0x59); /* busy */
    out(0x37a, 0x0c);
    save_reset_load();
    g_assert_cmphex(in(0x379), ==, 0x19); /* acknowledged */
    g_assert_cmphex(in(0x379), ==, 0xd9);
}

/* ---- i6300esb: in its second stage, the first one's interrupt not yet acknowledged ---- */

static void find_watchdog(Device *dev, void *opaque)
{
    if (dev->cls == &i6300esb_class) {
        *(PciDevice **)opaque = (PciDevice *)dev;
    }
}

static void test_i6300esb(void)
{
    const int64_t period = (100LL << 15) * 30;
    PciDevice *pci = NULL;
    begin();
    device_foreach(machine, find_watchdog, &pci);
    g_assert_nonnull(pci);
    uint64_t bar = load_le32(pci->config + 0x10) & ~0xfULL;
    uint32_t lock = 1U << 31 | (uint32_t)pci->devfn << 8 | 0x68;
    store(machine->memory, bar + 0xc, 0x80, 2);
    store(machine->memory, bar + 0xc, 0x86, 2);
    store(machine->memory, bar + 0xc, 0x200, 2); /* no expiry of before */
    for (unsigned stage = 0; stage < 2; stage++) {
        store(machine->memory, bar + 0xc, 0x80, 2);
        store(machine->memory, bar + 0xc, 0x86, 2);
        if (stage) {
            save_reset_load(); /* unlocked for one write */
        }
        store(machine->memory, bar + stage * 4, 100, 4);
    }
    store(machine->io, 0xcf8, lock, 4);
    store(machine->io, 0xcfc, 0x02, 1);
    step(period + period / 2);
    save_reset_load();
    g_assert_cmphex(load(machine->memory, bar + 8, 4), ==, 1);
    step(period / 2 - 1);
    g_assert_cmphex(load(machine->memory, bar + 0xc, 2), ==, 0);
    step(1);
    g_assert_cmphex(load(machine->memory, bar + 0xc, 2), ==, 0x200);
}

/* ---- i8042: a command whose byte is still to come, an answer of which half was read ---- */

#define KBD_DATA   0x60
#define KBD_STATUS 0x64

static void test_i8042(void)
{
    begin();
    out(KBD_STATUS, 0x60); /* write the command byte ... */
    save_reset_load();
    out(KBD_DATA, 0x47); /* ... which this is, and not one for the keyboard */
    out(KBD_STATUS, 0x20);
    g_assert_cmphex(in(KBD_DATA), ==, 0x47);
    out(KBD_STATUS, 0xd3); /* write the mouse's output buffer ... */
    save_reset_load();
    out(KBD_DATA, 0x5a);
    g_assert_cmphex(in(KBD_STATUS)&0x21, ==, 0x21);
    save_reset_load(); /* the byte has not been read yet, and is the mouse's */
    g_assert_cmphex(in(KBD_STATUS)&0x21, ==, 0x21);
    g_assert_cmphex(in(KBD_DATA), ==, 0x5a);
    out(KBD_DATA, 0xf2); /* the keyboard's identity: three bytes */
    g_assert_cmphex(in(KBD_DATA), ==, 0xfa);
    save_reset_load();
    g_assert_cmphex(in(KBD_DATA), ==, 0xab);
    save_reset_load();
    in(KBD_DATA); /* 0x83, translated or not */
    g_assert_cmphex(in(KBD_STATUS)&1, ==, 0);
    out(KBD_DATA, 0xed); /* its lamps ... */
    g_assert_cmphex(in(KBD_DATA), ==, 0xfa);
    save_reset_load();
    out(KBD_DATA, 0x07); /* ... an argument, not a command */
    g_assert_cmphex(in(KBD_DATA), ==, 0xfa);
}

/* ---- 8237: half a channel's bytes, half an address ---- */

#define BUFFER 0x20000

static void aim_channel(unsigned bytes)
{
    out(0x0a, 0x05); /* channel 1 masked */
    out(0x0c, 0);
    out(0x0b, 0x45); /* into memory, address up, single */
    out(0x02, BUFFER & 0xff);
    out(0x02, BUFFER >> 8 & 0xff);
    out(0x83, BUFFER >> 16);
    out(0x03, (uint8_t)(bytes - 1));
    out(0x03, (uint8_t)((bytes - 1) >> 8));
    out(0x0a, 0x01);
}

static void test_i8237(void)
{
    uint8_t data[64], seen[64];
    bool terminal;
    begin();
    Device *dma = i8237_find(machine);
    for (unsigned i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i + 1);
    }
    aim_channel(sizeof(data));
    g_assert_cmpuint(i8237_transfer(dma, 1, data, 32, true, &terminal), ==, 32);
    g_assert_false(terminal);
    out(0x0c, 0);
    g_assert_cmphex(in(0x02), ==, (BUFFER + 32) & 0xff); /* the low half of the address */
    save_reset_load();
    g_assert_cmphex(in(0x02), ==, BUFFER >> 8 & 0xff); /* and the high one */
    g_assert_cmpuint(i8237_transfer(dma, 1, data + 32, 64, true, &terminal), ==, 32);
    g_assert_true(terminal);
    g_assert_true(address_space_read(machine->memory, BUFFER, seen, sizeof(seen)));
    g_assert_cmpmem(seen, sizeof(seen), data, sizeof(data));
    save_reset_load(); /* what was reached is still said */
    g_assert_cmphex(in(0x08) & 0x02, ==, 0x02);
    g_assert_cmphex(in(0x08) & 0x02, ==, 0); /* and once only */
}

/* ---- Floppy: a command half given, a sector half moved by PIO, a result half read ---- */

#define FDC_DOR    0x3f2
#define FDC_STATUS 0x3f4
#define FDC_DATA   0x3f5
#define SECTOR     512

static void wait_fdc(uint8_t mask, uint8_t bits)
{
    for (unsigned i = 0; (in(FDC_STATUS)&mask) != bits; i++) {
        g_assert_cmpuint(i, <, ROUNDS);
        step(1000);
    }
}

static void give(const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        wait_fdc(0xc0, 0x80);
        out(FDC_DATA, bytes[i]);
    }
}

static void start_fdc(void)
{
    static const uint8_t specify[] = { 0x03, 0xaf, 0x03 }; /* without DMA */
    begin();
    out(FDC_DOR, 0x08);
    out(FDC_DOR, 0x1c);
    for (unsigned i = 0; i < 4; i++) {
        give((const uint8_t[]){ 0x08 }, 1);
        wait_fdc(0xc0, 0xc0);
        in(FDC_DATA);
        in(FDC_DATA);
    }
    out(0x3f7, 0);
    give(specify, sizeof(specify));
}

static void test_fdc(void)
{
    static const uint8_t read[] = { 0x46, 0x00, 0x00, 0x00, 0x01, 0x02, 0x01, 0x1b, 0xff };
    start_fdc();
    give(read, 4);
    save_reset_load(); /* half a command */
    give(read + 4, sizeof(read) - 4);
    unsigned moved = 0;
    for (; moved < SECTOR / 2; moved++) {
        wait_fdc(0xe0, 0xe0);
        in(FDC_DATA);
    }
    save_reset_load(); /* half a sector */
    for (; moved < SECTOR; moved++) {
        wait_fdc(0xe0, 0xe0);
        in(FDC_DATA);
    }
    wait_fdc(0xe0, 0xc0);                         /* the results: it was one sector, no more */
    g_assert_cmphex(in(FDC_DATA)&0xc7, ==, 0x40); /* ended by the end of the track: no TC */
    g_assert_cmphex(in(FDC_DATA), ==, 0x80);
    save_reset_load(); /* two results of seven */
    for (unsigned i = 2; i < 7; i++) {
        g_assert_cmphex(in(FDC_STATUS)&0xd0, ==, 0xd0);
        in(FDC_DATA);
    }
    g_assert_cmphex(in(FDC_STATUS)&0xd0, ==, 0x80);
}

/* The first half of a sector to be written is in the stream, and in the device after it. */
static void test_fdc_write(void)
{
    static const uint8_t write[] = { 0x45, 0x00, 0x00, 0x00, 0x01, 0x02, 0x01, 0x1b, 0xff };
    uint8_t half[SECTOR / 2];
    start_fdc();
    give(write, sizeof(write));
    for (unsigned i = 0; i < sizeof(half); i++) {
        half[i] = (uint8_t)(i * 7 + 3);
        wait_fdc(0xe0, 0xa0);
        out(FDC_DATA, half[i]);
    }
    save_reset_load();
    g_autoptr(GByteArray) stream = g_byte_array_new();
    machine_stop(machine, RUN_STATE_PAUSED);
    devices_save(machine, stream);
    machine_cont(machine, NULL);
    g_assert_nonnull(memmem(stream->data, stream->len, half, sizeof(half)));
    for (unsigned i = 0; i < SECTOR / 2; i++) {
        wait_fdc(0xe0, 0xa0);
        out(FDC_DATA, 0x11);
    }
    wait_fdc(0xe0, 0xc0);
    g_assert_cmphex(in(FDC_DATA)&0xc7, ==, 0x40);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine = fuzz_machine("q35");
    g_test_add_func("/midwork/hpet-between-two-matches", test_hpet);
    g_test_add_func("/midwork/tco-between-two-expiries", test_tco);
    g_test_add_func("/midwork/parallel-within-the-strobe", test_parallel);
    g_test_add_func("/midwork/i6300esb-in-its-second-stage", test_i6300esb);
    g_test_add_func("/midwork/i8042-command-half-written", test_i8042);
    g_test_add_func("/midwork/i8237-half-a-channel", test_i8237);
    g_test_add_func("/midwork/fdc-half-a-sector", test_fdc);
    g_test_add_func("/midwork/fdc-half-a-written-sector", test_fdc_write);
    return g_test_run();
}
