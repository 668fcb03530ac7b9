/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PVH kernel whose first instruction writes a port. */
    .text
    .code32
    .globl entry_pvh
entry_pvh:
    outb %al, $0xe9
1:  hlt
    jmp 1b
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long entry_pvh
    .section .note.GNU-stack, "", @progbits
