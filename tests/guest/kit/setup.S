/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Boot sector and real-mode setup of the fake bzImage (Linux boot protocol 2.12): the protected-mode
 * payload that follows is the guest kit, with its 32-bit entry at 0 and its 64-bit entry at 0x200. */
    .code16
    .globl _start
_start:
    .org 0x1f1
    .byte 1                          /* setup_sects */
    .word 1                          /* root_flags */
    .long PAYLOAD_SIZE / 16          /* syssize */
    .word 0, 0xffff, 0               /* ram_size, vid_mode, root_dev */
    .word 0xaa55
    jmp setup_code                   /* 0x200 */
    .org 0x202
    .ascii "HdrS"
    .word 0x020c
    .long 0
    .word 0x1000
    .word 0
    .byte 0                          /* type_of_loader */
    .byte 1                          /* loadflags: LOADED_HIGH */
    .word 0x8000
    .long 0x100000                   /* code32_start */
    .long 0, 0, 0                    /* ramdisk_image, ramdisk_size, bootsect_kludge */
    .word 0xfe00
    .word 0
    .long 0                          /* cmd_line_ptr */
    .long 0x7fffffff                 /* initrd_addr_max */
    .long 0x200000                   /* kernel_alignment */
    .byte 0                          /* relocatable_kernel */
    .byte 21
    .word 1                          /* xloadflags: XLF_KERNEL_64 */
    .long 2047                       /* cmdline_size */
    .long 0
    .quad 0
    .long 0, 0                       /* payload_offset, payload_length */
    .quad 0                          /* setup_data */
    .quad 0x100000                   /* pref_address */
    .long 0x400000                   /* init_size */
    .long 0                          /* handover_offset */
    .org 0x280
setup_code:
    cli
    movw %cs, %ax
    subw $0x20, %ax                  /* the zero page is the boot sector itself */
    movw %ax, %ds
    movzwl %ax, %esi
    shll $4, %esi
    leal setup_gdt(%esi), %eax
    movl %eax, setup_gdt_pointer + 2
    lgdtl setup_gdt_pointer
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    .byte 0x66, 0xea                 /* ljmpl $0x10, $0x100000 */
    .long 0x100000
    .word 0x10
    .balign 8
setup_gdt:
    .quad 0, 0
    .quad 0x00cf9b000000ffff         /* 0x10, the boot protocol's __BOOT_CS */
    .quad 0x00cf93000000ffff         /* 0x18, __BOOT_DS */
setup_gdt_pointer:
    .word 31
    .long 0
    .org 1024
