/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entry points of the bare-metal guests (PVH, multiboot, Linux 32/64-bit), long mode, AP trampoline,
 * interrupt stubs. */
#include "boot.h"

    .section .head, "ax"
    .code32
    /* Offset 0: the Linux 32-bit entry; ESI holds boot_params. */
    .globl entry_linux32
entry_linux32:
    movl $BOOT_LINUX32, %ebp
    movl %esi, %ebx
    jmp enter_long_mode

    .globl entry_pvh
entry_pvh:
    movl $BOOT_PVH, %ebp
    jmp enter_long_mode

    .globl entry_multiboot
entry_multiboot:
    movl $BOOT_MULTIBOOT, %ebp
    cmpl $0x2badb002, %eax
    je enter_long_mode
    movl $BOOT_BAD, %ebp

enter_long_mode:
    cld
    lgdt gdt_pointer
    movl $kit_pml4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax
    movl %eax, %cr0
    ljmp $0x08, $start64

#ifdef WITH_MULTIBOOT
    .balign 8
multiboot_header:
    .long 0x1badb002
    .long 0x00000003                 /* aligned modules, memory information */
    .long -(0x1badb002 + 0x00000003)
#endif

    /* Offset 0x100: entered by the kit's own ROM; EBX holds the command line. */
    .org 0x100
entry_rom:
    movl $BOOT_ROM, %ebp
    jmp enter_long_mode

    /* Offset 0x200: the Linux 64-bit entry; RSI holds boot_params, paging is on. */
    .org 0x200
    .code64
    .globl entry_linux64
entry_linux64:
    cld
    movl $BOOT_LINUX64, %ebp
    movl %esi, %ebx
    movl $kit_pml4, %eax
    movq %rax, %cr3
    lgdt gdt_pointer
    movl $kit_stack_top, %esp
    pushq $0x08
    pushq $start64
    lretq

start64:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $bss_start, %edi
    movl $bss_end, %ecx
    subl %edi, %ecx
    shrl $3, %ecx
    rep stosq
    movl $kit_stack_top, %esp
    movl %ebp, %edi
    movl %ebx, %esi
    call kit_start
1:  hlt
    jmp 1b

    .text
    /* Copied to AP_TRAMPOLINE; an application processor starts here in real mode. */
    .code16
    .globl ap_trampoline, ap_trampoline_end
ap_trampoline:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl AP_TRAMPOLINE + (ap_gdt_pointer - ap_trampoline)
    movl $kit_pml4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax
    movl %eax, %cr0
    ljmpl $0x08, $ap_start64
    .balign 8
ap_gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
ap_trampoline_end:

    .code64
ap_start64:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $1, %edi
    lock xaddl %edi, ap_next
    movl %edi, %eax
    incl %eax
    shll $12, %eax
    movl $ap_stacks, %esp
    addl %eax, %esp
    incl %edi
    call ap_main
1:  hlt
    jmp 1b

    /* Interrupt stubs, 16 bytes each. The way back avoids IRETQ, which an interpreting KVM may lack:
     * RFLAGS and RIP are placed below the interrupted stack pointer, clear of the whole frame. */
    .globl isr_stubs
    .balign 16
isr_stubs:
vector = 0
    .rept 256
    .balign 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21
    .else
    pushq $0
    .endif
    pushq $vector
    jmp isr_common
vector = vector + 1
    .endr

isr_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    movq %rsp, %rbp
    andq $-16, %rsp
    call isr_dispatch
    movq %rbp, %rsp
    movq 160(%rsp), %rax             /* the interrupted RSP */
    movq 136(%rsp), %rcx             /* RIP */
    movq 152(%rsp), %rdx             /* RFLAGS */
    movq %rdx, -512(%rax)
    movq %rcx, -504(%rax)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    movq 40(%rsp), %rsp
    leaq -512(%rsp), %rsp
    popfq
    ret $496

    .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

    .globl ap_next
ap_next:
    .long 0

    /* Identity map of the first MAPPED_GIB gibibytes in 2 MiB pages, made at build time. */
    .balign 4096
    .globl kit_pml4
kit_pml4:
    .quad kit_pdpt + 3
    .fill 511, 8, 0
kit_pdpt:
gib = 0
    .rept MAPPED_GIB
    .quad kit_pd + gib * 4096 + 3
gib = gib + 1
    .endr
    .fill 512 - MAPPED_GIB, 8, 0
kit_pd:
page = 0
    .rept MAPPED_GIB * 512
    .quad page * 0x200000 + 0x83
page = page + 1
    .endr

    .bss
    .balign 4096
    .fill 16384
kit_stack_top:
    .globl ap_stacks
ap_stacks:
    .fill MAX_CPUS * 4096

#ifdef WITH_PVH
    /* XEN_ELFNOTE_PHYS32_ENTRY: this is a PVH kernel. */
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long entry_pvh
#endif
    .section .note.GNU-stack, "", @progbits
