/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests about interrupts: PIT through the I/O APIC, self IPI, serial line, MSI-X of a disk. */
#include "tests.h"

#define VECTOR_TIMER  0x40
#define VECTOR_SERIAL 0x41
#define VECTOR_DISK   0x42
#define VECTOR_SELF   0x43

static volatile uint32_t ticks, selves, serials, disks;

static void on_tick(IsrFrame *frame)
{
    (void)frame;
    ticks++;
    lapic_eoi();
}

static void on_self(IsrFrame *frame)
{
    (void)frame;
    selves++;
    lapic_eoi();
}

static void on_serial(IsrFrame *frame)
{
    (void)frame;
    serials++;
    outb(COM1_PORT + 1, 0);
    inb(COM1_PORT + 2);
    lapic_eoi();
}

static void on_disk(IsrFrame *frame)
{
    (void)frame;
    disks++;
    lapic_eoi();
}

static void apic_setup(void)
{
    irq_init();
    pic_disable();
    lapic_enable();
}

void test_irq(void)
{
    apic_setup();
    irq_handle(VECTOR_SELF, on_self);
    write32(LAPIC_BASE + LAPIC_ICR_LOW, 0x00040000 | VECTOR_SELF);
    while (selves == 0) {
        irq_wait();
    }
    print("self IPI delivered\n");

    irq_handle(VECTOR_TIMER, on_tick);
    ioapic_route(2, VECTOR_TIMER, false);
    outb(0x43, 0x34);
    outb(0x40, 0x9c);
    outb(0x40, 0x2e);
    while (ticks < 5) {
        irq_wait();
    }
    outb(0x43, 0x30);
    print("PIT ticks delivered\n");

    irq_handle(VECTOR_SERIAL, on_serial);
    ioapic_route(4, VECTOR_SERIAL, false);
    outb(COM1_PORT + 4, 0x0b);
    outb(COM1_PORT + 1, 0x02);
    while (serials == 0) {
        irq_wait();
    }
    print("serial transmitter interrupt delivered\n");
}

#define HPET             0xfed00000u
#define HPET_CONFIG      (HPET + 0x10)
#define HPET_COUNTER     (HPET + 0xf0)
#define HPET_TIMER0      (HPET + 0x100)
#define HPET_COMPARATOR0 (HPET + 0x108)
#define HPET_MS          100000u

static void wait_ticks(uint32_t count, const char *what)
{
    uint32_t before = ticks;
    while (ticks - before < count) {
        irq_wait();
    }
    print("%s\n", what);
}

/* What was on its way may still come; then nothing does for 50 ms. */
static void wait_silence(void)
{
    uint32_t start = read32(HPET_COUNTER), since = start, seen = ticks, now = start;
    irq_enable();
    while (now - since < 50 * HPET_MS) {
        now = read32(HPET_COUNTER);
        if (ticks != seen) {
            seen = ticks;
            since = now;
        }
        expect(now - start < 10000 * HPET_MS, "the PIT ticks in the HPET's place");
    }
    irq_disable();
}

/* Timer 0 takes the place of the PIT, which is silent then, and gives it back. */
void test_hpet(void)
{
    apic_setup();
    expect(read32(HPET) == 0x8086a201, "no HPET: %x", read32(HPET));
    irq_handle(VECTOR_TIMER, on_tick);
    ioapic_route(2, VECTOR_TIMER, false);
    outb(0x43, 0x34); /* 1 kHz */
    outb(0x40, 0xa9);
    outb(0x40, 0x04);
    wait_ticks(5, "the PIT ticks");

    write32(HPET_CONFIG, 3);
    wait_silence();
    print("the PIT is silent\n");

    write32(HPET_TIMER0, 0x14c); /* enabled, periodic, of 32 bits; the value is set */
    write32(HPET_COMPARATOR0, read32(HPET_COUNTER) + HPET_MS);
    write32(HPET_COMPARATOR0, HPET_MS);
    wait_ticks(5, "the HPET ticks");

    write32(HPET_TIMER0, 0);
    write32(HPET_CONFIG, 1);
    wait_ticks(5, "the PIT ticks again");
}

void test_msix(void)
{
    VirtioDev dev;
    VirtQueue q;
    static BlkHeader header;
    static uint8_t status = 0xff;
    uint8_t *data = page_alloc(4096);
    Part parts[] = { { &header, sizeof(header), false },
                     { data, 512, true },
                     { &status, 1, true } };

    apic_setup();
    expect(virtio_find(&dev, VIRTIO_BLK, 0), "no virtio disk");
    irq_handle(VECTOR_DISK, on_disk);
    pci_msix_route(dev.bdf, 1, VECTOR_DISK);
    virtio_begin(&dev, 0);
    virtio_queue_setup(&dev, &q, 0, 8);
    virtio_queue_vector(&q, 1);
    virtio_driver_ok(&dev);
    queue_add(&q, 0, parts, 3, NULL);
    queue_kick(&q, 1);
    while (disks == 0) {
        irq_wait();
    }
    expect(q.used[1] == 1, "the interrupt came before the used index");
    expect(status == 0, "read failed with status %u", status);
    print("MSI-X delivered\n");
}
