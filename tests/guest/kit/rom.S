/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit as a 256 KiB firmware image: the reset vector copies the payload to 1 MiB and enters
 * it. The command line is text at ROM_CMDLINE, which whoever builds the image fills in. */
#define ROM_SIZE 0x40000
#define ROM_CMDLINE 0x3e000
#define ROM_CODE 0x3ff00
#define ROM_BASE (0x100000000 - ROM_SIZE)
#define BOOT_ROM 5

    .globl _start
_start:
    .incbin PAYLOAD
payload_end:
    .org ROM_CMDLINE
    .fill 2048, 1, 0
    .org ROM_CODE
    .code16
rom_start:
    cli
    movw %cs, %ax
    movw %ax, %ds
    lgdtl %cs:(rom_gdt_pointer - _start) & 0xffff
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x08, $ROM_BASE + (rom_start32 - _start)
    .code32
rom_start32:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    cld
    movl $ROM_BASE, %esi
    movl $0x100000, %edi
    movl $(payload_end - _start + 3) / 4, %ecx
    rep movsl
    movl $ROM_BASE + ROM_CMDLINE, %ebx
    movl $0x100100, %eax
    jmp *%eax
    .balign 8
rom_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
rom_gdt_pointer:
    .word 23
    .long ROM_BASE + (rom_gdt - _start)
    .org ROM_SIZE - 16
    .code16
    jmp rom_start
    .org ROM_SIZE
