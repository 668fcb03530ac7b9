/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a debugger does with the machine's vCPUs, offered by accelerators that have some. All of it
 * on the main thread. Registers are looked at and changed while vCPUs are paused.
 */
#ifndef VMM_MACHINE_DEBUG_H
#define VMM_MACHINE_DEBUG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Machine Machine;

/* Which part of DebugRegs is meant. */
enum {
    DEBUG_REGS_GENERAL = 1 << 0, /* gpr, rip, rflags */
    DEBUG_REGS_SYSTEM = 1 << 1,  /* segments, control registers, efer, k_gs_base */
    DEBUG_REGS_FPU = 1 << 2,     /* x87 and SSE */
    DEBUG_REGS_ALL = (1 << 3) - 1,
};

enum { SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_COUNT };

/* An x86 vCPU's registers, in host byte order. */
typedef struct DebugRegs {
    uint64_t gpr[16]; /* rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 ... r15 */
    uint64_t rip;
    uint32_t rflags;
    uint32_t selector[SEG_COUNT];
    uint64_t fs_base, gs_base, k_gs_base;
    uint64_t segment_base[SEG_COUNT]; /* regs_put() does not look at these two */
    uint32_t segment_limit[SEG_COUNT];
    bool code_64, code_32; /* what the code segment says of its instructions; neither: 16 bit */
    uint64_t cr0, cr2, cr3, cr4, cr8, efer;
    uint64_t gdt_base, idt_base; /* with their limits: looked at, never put */
    uint32_t gdt_limit, idt_limit;
    uint8_t st[8][10];
    uint32_t fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop;
    uint8_t xmm[16][16];
    uint32_t mxcsr;
} DebugRegs;

typedef enum DebugBreakKind {
    DEBUG_BREAK_HARDWARE,
    DEBUG_WATCH_WRITE,
    DEBUG_WATCH_ACCESS, /* read or written */
} DebugBreakKind;

#define DEBUG_SLOTS 4 /* an x86 CPU's address breakpoints */

/* One address breakpoint: the address is linear, a multiple of length (1, 2, 4 or 8). */
typedef struct DebugSlot {
    DebugBreakKind kind;
    uint64_t addr;
    unsigned length;
} DebugSlot;

/* What all vCPUs stop at. */
typedef struct DebugBreaks {
    DebugSlot slots[DEBUG_SLOTS];
    unsigned count;
    GArray *software; /* uint64_t: guest-physical addresses of int3 written there; may be NULL */
} DebugBreaks;

/* How a vCPU goes on when the machine does. */
typedef enum DebugRun {
    DEBUG_RUN_ON,
    DEBUG_RUN_STEP,        /* one instruction, then it stops the machine */
    DEBUG_RUN_STEP_NO_IRQ, /* the same, with interrupts kept away where the accelerator can */
    DEBUG_RUN_HELD,        /* not at all, until the machine has stopped and goes on again */
} DebugRun;

typedef enum DebugStopKind {
    DEBUG_STOP_NONE, /* this vCPU is not the one */
    DEBUG_STOP_STEP,
    DEBUG_STOP_SOFTWARE, /* an int3 of ours */
    DEBUG_STOP_HARDWARE, /* slot */
} DebugStopKind;

typedef struct DebugStop {
    DebugStopKind kind;
    unsigned slot;
} DebugStop;

/* The chips between devices and the vCPUs' local APICs, as a debugger sees them. */
#define IOAPIC_VIEW_PINS 24
typedef struct IrqchipView {
    struct {
        uint8_t irr, imr, isr, elcr, base, highest; /* highest: the first input in priority */
        bool reads_isr, fully_nested;
    } pic[2];
    struct {
        uint32_t id, version, select, irr;
        uint64_t entries[IOAPIC_VIEW_PINS];
    } ioapic;
} IrqchipView;

typedef struct AccelDebugOps {
    /* Whether it can be done here at all; the error names what is missing. */
    bool (*check)(Machine *machine, GError **error);
    /* Fills the groups (DEBUG_REGS_...) of *regs; false when the vCPU could not be read. */
    bool (*regs_get)(Machine *machine, unsigned cpu, DebugRegs *regs, unsigned groups);
    /* Writes the groups; false when the vCPU refuses a value, and then nothing of that group has
     * changed. In a group of DEBUG_REGS_SYSTEM a changed selector is loaded as real mode does; in
     * protected mode it is refused. */
    bool (*regs_put)(Machine *machine, unsigned cpu, const DebugRegs *regs, unsigned groups);
    /* What vCPUs stop at from now on; vCPUs paused. NULL: nothing, and the guest has its own debug
     * registers again. False when a vCPU refuses. */
    bool (*set_breaks)(Machine *machine, const DebugBreaks *breaks, GError **error);
    /* How the vCPU goes on at the next resume; vCPUs paused. */
    bool (*set_run)(Machine *machine, unsigned cpu, DebugRun run, GError **error);
    /* Why the vCPU stopped the machine last (RUN_STATE_DEBUG), and forgets it. */
    DebugStop (*take_stop)(Machine *machine, unsigned cpu);
    /* Whether steps can keep interrupts away. */
    bool (*step_keeps_irqs_away)(Machine *machine);
    uint32_t (*apic_id)(Machine *machine, unsigned cpu);
    /* The vCPU's local APIC as text; vCPUs paused. */
    void (*lapic_dump)(Machine *machine, unsigned cpu, GString *out);
    /* The accelerator's own chips; false: it has none, or they cannot be read. */
    bool (*irqchip_view)(Machine *machine, IrqchipView *view);
} AccelDebugOps;

/* ---- Memory as a vCPU sees it (vmm/machine/debug_memory.c) ---- */

/* The guest-physical address behind a linear one, by the page tables that regs point to (groups
 * SYSTEM); real mode and paging off: itself. False when it is not mapped. Main thread, or a vCPU's
 * for its own. */
bool debug_translate(Machine *machine, const DebugRegs *regs, uint64_t linear, uint64_t *physical);

/* A page that the page tables map. */
typedef struct DebugPage {
    uint64_t linear, physical;
    uint64_t size;
    uint64_t entry;  /* the last level's */
    uint64_t access; /* the flags (bits 1, 2 and 63) that hold after all levels; 63: set in one */
} DebugPage;
/* Calls fn for each mapped page, in order, until it returns false. At most so many table entries
 * are read; false: there were more. The page tables are the guest's: they may be anything. */
bool debug_pages_foreach(Machine *machine, const DebugRegs *regs, uint64_t max_entries,
                         bool (*fn)(const DebugPage *page, void *opaque), void *opaque);

/* Copies through the page tables, or with regs NULL at physical addresses: RAM, and for reads ROM;
 * a debugger's look touches no registers of devices. Returns the bytes that went before the first
 * that did not. */
size_t debug_memory_read(Machine *machine, const DebugRegs *regs, uint64_t addr, uint8_t *data,
                         size_t len);
size_t debug_memory_write(Machine *machine, const DebugRegs *regs, uint64_t addr,
                          const uint8_t *data, size_t len);

#endif
