/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A firmware-sized (256 KiB) image whose first instruction, at the reset vector, writes a port. */
    .globl _start
_start:
    .code16
    .org 0x3fff0
    outb %al, $0xe9
1:  hlt
    jmp 1b
    .org 0x40000
