/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/dump_notes.h"

#include <elf.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>

/* The note "QEMU", type 0, version 1: sizes and order are part of the format. */
typedef struct NoteSegment {
    uint32_t selector, limit, flags, pad;
    uint64_t base;
} NoteSegment;

typedef struct NoteCpu {
    uint32_t version, size;
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
    uint64_t r8_to_r15[8];
    uint64_t rip, rflags;
    NoteSegment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
    uint64_t cr[5];
    uint64_t kernel_gs_base;
} NoteCpu;
G_STATIC_ASSERT(sizeof(NoteCpu) == 440);

static void add_note(GByteArray *out, const char *name, uint32_t type, const void *data,
                     uint32_t len)
{
    static const uint8_t zeroes[4];
    uint32_t name_len = (uint32_t)strlen(name) + 1;
    Elf64_Nhdr head = { .n_namesz = name_len, .n_descsz = len, .n_type = type };
    g_byte_array_append(out, (const uint8_t *)&head, sizeof(head));
    g_byte_array_append(out, (const uint8_t *)name, name_len);
    g_byte_array_append(out, zeroes, -name_len & 3);
    g_byte_array_append(out, data, len);
    g_byte_array_append(out, zeroes, -len & 3);
}

enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8 }; /* in DebugRegs.gpr */

static void add_status(GByteArray *out, unsigned cpu, const DebugRegs *regs)
{
    const uint64_t *gpr = regs->gpr;
    struct user_regs_struct user = {
        .rax = gpr[RAX],
        .rbx = gpr[RBX],
        .rcx = gpr[RCX],
        .rdx = gpr[RDX],
        .rsi = gpr[RSI],
        .rdi = gpr[RDI],
        .rbp = gpr[RBP],
        .rsp = gpr[RSP],
        .r8 = gpr[R8],
        .r9 = gpr[R8 + 1],
        .r10 = gpr[R8 + 2],
        .r11 = gpr[R8 + 3],
        .r12 = gpr[R8 + 4],
        .r13 = gpr[R8 + 5],
        .r14 = gpr[R8 + 6],
        .r15 = gpr[R8 + 7],
        .orig_rax = UINT64_MAX, /* in no system call */
        .rip = regs->rip,
        .eflags = regs->rflags,
        .cs = regs->selector[SEG_CS],
        .ss = regs->selector[SEG_SS],
        .ds = regs->selector[SEG_DS],
        .es = regs->selector[SEG_ES],
        .fs = regs->selector[SEG_FS],
        .gs = regs->selector[SEG_GS],
        .fs_base = regs->fs_base,
        .gs_base = regs->gs_base,
    };
    struct elf_prstatus status = { .pr_pid = (pid_t)cpu + 1 };
    G_STATIC_ASSERT(sizeof(status.pr_reg) == sizeof(user));
    memcpy(&status.pr_reg, &user, sizeof(user));
    add_note(out, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

static NoteSegment segment_of(const DebugRegs *regs, unsigned n, uint64_t base)
{
    return (NoteSegment){ .selector = regs->selector[n], .base = base };
}

void dump_add_cpu_notes(GByteArray *out, unsigned cpu, const DebugRegs *regs)
{
    const uint64_t *gpr = regs->gpr;
    NoteCpu note = {
        .version = 1,
        .size = sizeof(note),
        .rax = gpr[RAX],
        .rbx = gpr[RBX],
        .rcx = gpr[RCX],
        .rdx = gpr[RDX],
        .rsi = gpr[RSI],
        .rdi = gpr[RDI],
        .rsp = gpr[RSP],
        .rbp = gpr[RBP],
        .rip = regs->rip,
        .rflags = regs->rflags,
        .cs = segment_of(regs, SEG_CS, 0),
        .ds = segment_of(regs, SEG_DS, 0),
        .es = segment_of(regs, SEG_ES, 0),
        .fs = segment_of(regs, SEG_FS, regs->fs_base),
        .gs = segment_of(regs, SEG_GS, regs->gs_base),
        .ss = segment_of(regs, SEG_SS, 0),
        .gdt = { .base = regs->gdt_base, .limit = regs->gdt_limit },
        .idt = { .base = regs->idt_base, .limit = regs->idt_limit },
        .cr = { regs->cr0, 0, regs->cr2, regs->cr3, regs->cr4 },
        .kernel_gs_base = regs->k_gs_base,
    };
    memcpy(note.r8_to_r15, &gpr[R8], sizeof(note.r8_to_r15));
    add_status(out, cpu, regs);
    add_note(out, "QEMU", 0, &note, sizeof(note));
}
