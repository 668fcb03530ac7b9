/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk that a BIOS boots: the first sector prints through the BIOS's screen (int 10h), COM1 and
 * the debug console, reads the second sector through int 13h and prints the text in it, says how
 * much memory int 15h reports, and waits for a reset, or ends the machine when the text says so.
 */
#define DEBUG_CONSOLE 0xe9
#define COM1          0x3f8
#define EXIT_PORT     0x501
#define SECOND        0x8000

        .code16
        .globl _start
        .text
_start: ljmp    $0, $begin
begin:  cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        movb    %dl, drive
        movw    $banner, %si
        call    print
        movb    drive, %al
        call    print_byte
        movw    $newline, %si
        call    print

        movb    $0x42, %ah              /* extended read */
        movb    drive, %dl
        movw    $packet, %si
        int     $0x13
        jc      failed
        movw    $SECOND, %si
        call    print

        movw    $0xe801, %ax            /* memory: 64 KiB units above 16 MiB in DX */
        xorw    %bx, %bx
        xorw    %dx, %dx
        int     $0x15
        jc      failed
        movw    $memory, %si
        call    print
        movb    %bh, %al
        call    print_byte
        movb    %bl, %al
        call    print_byte
        movw    $newline, %si
        call    print

        cmpb    $'x', SECOND            /* a text that begins with x: exit */
        jne     halt
        movw    $EXIT_PORT, %dx
        movl    $0x10, %eax
        outl    %eax, %dx
halt:   hlt
        jmp     halt

failed: movw    $error, %si
        call    print
        jmp     halt

print_byte:                             /* AL in hexadecimal */
        pushw   %ax
        shrb    $4, %al
        call    digit
        popw    %ax
        andb    $15, %al
digit:  addb    $'0', %al
        cmpb    $'9', %al
        jbe     putc
        addb    $('a' - '0' - 10), %al
putc:   pushw   %dx
        pushw   %bx
        outb    %al, $DEBUG_CONSOLE
        movb    $0x0e, %ah              /* teletype */
        movw    $7, %bx
        int     $0x10
        popw    %bx
        popw    %dx
        ret

print:  lodsb
        testb   %al, %al
        jz      1f
        call    putc
        jmp     print
1:      ret

        .balign 4
packet: .byte   16, 0
        .word   1                       /* sectors */
        .word   SECOND, 0
        .quad   1                       /* from */
drive:  .byte   0
banner: .asciz  "boot sector, drive "
newline: .asciz "\r\n"
memory: .asciz  "memory above 16 MiB: "
error:  .asciz  "BIOS error\r\n"
        .org    _start + 446
        .fill   64
        .word   0xaa55
