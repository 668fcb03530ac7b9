/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit: what a bare-metal test guest has instead of a C library. Output goes to the debug
 * console (port 0xe9); the exit code to isa-debug-exit at port 0x501. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot.h"

#define DEBUGCON_PORT 0xe9
#define EXIT_PORT     0x501
#define COM1_PORT     0x3f8

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define barrier()    __asm__ volatile("" ::: "memory")

/* A store followed by a load of another location must not be swapped: a locked instruction orders
 * them on every CPU without SSE2's MFENCE. */
#define full_barrier() __asm__ volatile("lock; addl $0,-4(%%rsp)" ::: "memory", "cc")

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0,%1" ::"a"(v), "Nd"(port));
}
static inline void outw(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0,%1" ::"a"(v), "Nd"(port));
}
static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0,%1" ::"a"(v), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1,%0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t inw(uint16_t port)
{
    uint16_t v;
    __asm__ volatile("inw %1,%0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1,%0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint8_t read8(uint64_t a)
{
    return *(volatile uint8_t *)a;
}
static inline uint16_t read16(uint64_t a)
{
    return *(volatile uint16_t *)a;
}
static inline uint32_t read32(uint64_t a)
{
    return *(volatile uint32_t *)a;
}
static inline void write8(uint64_t a, uint8_t v)
{
    *(volatile uint8_t *)a = v;
}
static inline void write16(uint64_t a, uint16_t v)
{
    *(volatile uint16_t *)a = v;
}
static inline void write32(uint64_t a, uint32_t v)
{
    *(volatile uint32_t *)a = v;
}
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return ((uint64_t)hi << 32) | lo;
}
static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return ((uint64_t)hi << 32) | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

void *memset(void *p, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);

/* Prints to the debug console: %s %c %d %u %x %lx %lu %08x-style widths. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void serial_put(uint16_t port, char c);

/* Ends the machine through isa-debug-exit: the VMM exits with (code << 1) | 1. */
_Noreturn void guest_exit(uint8_t code);

/* Prints the message with "FAIL: " before it and exits with code 1 (the VMM with 3). */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define expect(cond, ...)                                                                          \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fail(__VA_ARGS__);                                                                     \
        }                                                                                          \
    } while (0)

/* -- How the guest was booted -- */
typedef struct MemRange {
    uint64_t start, size;
    uint32_t type; /* E820: 1 RAM, 2 reserved, 3 ACPI ... */
} MemRange;

typedef struct BootInfo {
    uint32_t how; /* BOOT_... */
    const char *cmdline;
    uint64_t initrd, initrd_size;
    uint64_t rsdp;
    MemRange ranges[64];
    uint32_t range_count;
} BootInfo;

extern BootInfo boot_info;

/* The value of "key=..." on the command line, copied to a static buffer, or NULL. */
const char *arg_string(const char *key);
uint64_t arg_number(const char *key, uint64_t otherwise);

/* Page-aligned, zeroed memory from a bump allocator that starts behind the image. */
void *page_alloc(size_t bytes);

/* -- Interrupts -- */
typedef struct IsrFrame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
} IsrFrame;
typedef void (*IsrHandler)(IsrFrame *frame);

void irq_init(void);
void irq_handle(uint8_t vector, IsrHandler handler);
static inline void irq_enable(void)
{
    __asm__ volatile("sti");
}
static inline void irq_disable(void)
{
    __asm__ volatile("cli");
}
/* Enables interrupts and halts until one arrives, without losing one in between. */
static inline void irq_wait(void)
{
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}

#define LAPIC_BASE     0xfee00000u
#define IOAPIC_BASE    0xfec00000u
#define LAPIC_ID       0x20
#define LAPIC_EOI      0xb0
#define LAPIC_SVR      0xf0
#define LAPIC_ICR_LOW  0x300
#define LAPIC_ICR_HIGH 0x310

void lapic_enable(void);
uint32_t lapic_id(void);
void lapic_eoi(void);
void ioapic_route(uint32_t gsi, uint8_t vector, bool level_low);
void pic_disable(void);

/* Starts the other CPUs with INIT and SIPI to all but self; returns how many CPUs (with this one)
 * ran entry(index) when `want` had or the patience ended. */
uint32_t smp_start(uint32_t want, void (*entry)(uint32_t index));
uint32_t smp_running(void);
void ap_main(uint32_t index);

/* One of these is the guest: it is called with boot_info filled in. */
void guest_main(void);
