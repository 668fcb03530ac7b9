/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit's interrupts: IDT, local APIC, I/O APIC, PIC, and the start of the other CPUs. */
#include "kit.h"

typedef struct IdtGate {
    uint16_t offset0, selector, flags, offset1;
    uint32_t offset2, reserved;
} IdtGate;

typedef struct __attribute__((packed)) IdtPointer {
    uint16_t limit;
    uint64_t base;
} IdtPointer;

extern char isr_stubs[], ap_trampoline[], ap_trampoline_end[];
extern volatile uint32_t ap_next;

static IdtGate idt[256];
static IsrHandler handlers[256];
static void (*ap_entry)(uint32_t index);
static volatile uint32_t ap_running;

/* Called by head.S. */
void isr_dispatch(IsrFrame *frame);

void isr_dispatch(IsrFrame *frame)
{
    IsrHandler handler = handlers[frame->vector & 255];

    if (handler == NULL) {
        fail("unexpected vector %lu error %lx at rip %lx", frame->vector, frame->error, frame->rip);
    }
    handler(frame);
}

static void idt_load(void)
{
    IdtPointer p = { sizeof(idt) - 1, (uint64_t)idt };

    __asm__ volatile("lidt %0" ::"m"(p));
}

void irq_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint64_t at = (uint64_t)isr_stubs + i * 16;

        idt[i].offset0 = (uint16_t)at;
        idt[i].offset1 = (uint16_t)(at >> 16);
        idt[i].selector = 8;
        idt[i].flags = 0x8e00;
    }
    idt_load();
}

void irq_handle(uint8_t vector, IsrHandler handler)
{
    handlers[vector] = handler;
}

void lapic_enable(void)
{
    write32(LAPIC_BASE + LAPIC_SVR, 0x1ff);
}

uint32_t lapic_id(void)
{
    return read32(LAPIC_BASE + LAPIC_ID) >> 24;
}

void lapic_eoi(void)
{
    write32(LAPIC_BASE + LAPIC_EOI, 0);
}

void ioapic_route(uint32_t gsi, uint8_t vector, bool level_low)
{
    write32(IOAPIC_BASE, 0x11 + gsi * 2);
    write32(IOAPIC_BASE + 0x10, lapic_id() << 24);
    write32(IOAPIC_BASE, 0x10 + gsi * 2);
    write32(IOAPIC_BASE + 0x10, vector | (level_low ? 0xa000 : 0));
}

void pic_disable(void)
{
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

void ap_main(uint32_t index)
{
    idt_load();
    lapic_enable();
    if (ap_entry != NULL) {
        ap_entry(index);
    }
    __asm__ volatile("lock; incl %0" : "+m"(ap_running)::"memory");
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

uint32_t smp_running(void)
{
    return ap_running + 1;
}

uint32_t smp_start(uint32_t want, void (*entry)(uint32_t index))
{
    memcpy((void *)AP_TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
    ap_entry = entry;
    barrier();
    write32(LAPIC_BASE + LAPIC_ICR_LOW, 0x000c4500);
    for (uint32_t i = 0; i < 1000; i++) {
        inb(0x80);
    }
    write32(LAPIC_BASE + LAPIC_ICR_LOW, 0x000c4600 | (AP_TRAMPOLINE >> 12));
    for (uint32_t i = 0; i < 2000000 && smp_running() < want; i++) {
        __asm__ volatile("pause");
    }
    return smp_running();
}
