/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PVH boot (Xen docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h): an ELF kernel entered in
 * flat 32-bit mode with EBX pointing at hvm_start_info, version 1. */
#include <string.h>
#include "vmm/boot/boot_private.h"

#define START_INFO_MAGIC   0x336ec578u
#define START_INFO_VERSION 1
#define START_INFO_SIZE    56
#define MEMMAP_SIZE        24
#define MAX_MEMMAP         64
/* The structures follow each other in one block of low memory. */
#define MODULE_OFFSET 64
#define MEMMAP_OFFSET 128
#define GDT_OFFSET    (MEMMAP_OFFSET + MAX_MEMMAP * MEMMAP_SIZE)
#define GDT_SIZE      32
#define STACK_SIZE    512
#define BLOCK_SIZE    (GDT_OFFSET + GDT_SIZE + STACK_SIZE)
#define LOW_START     0x1000ULL
#define LOW_LIMIT     0xa0000ULL

bool pvh_parse(BootImage *image, GError **error)
{
    const ElfImage *elf = &image->elf;
    if (!elf->has_pvh) {
        return error_set(error,
                         "could not load kernel '%s' (ELF): it has no PVH entry (no Xen note "
                         "of type 18) and is no multiboot image; Linux has one when built "
                         "with CONFIG_PVH",
                         image->kernel->name);
    }
    for (unsigned i = 0; i < elf->count; i++) {
        const ElfSegment *segment = &elf->segments[i];
        if (elf->pvh_entry >= segment->addr && elf->pvh_entry - segment->addr < segment->size &&
            elf->pvh_entry < 4 * GIB) {
            return true;
        }
    }
    return error_set(error,
                     "could not load kernel '%s' (PVH): its entry 0x%" PRIx64
                     " lies in none of its segments",
                     image->kernel->name, elf->pvh_entry);
}

static bool pvh_place_cmdline(BootImage *image, BootRoom *room, uint64_t *addr, GError **error)
{
    uint64_t len = strlen(image->append) + 1;
    *addr = boot_room_take_high(room, len, 16, LOW_START, LOW_LIMIT);
    if (!*addr) {
        *addr = boot_room_take_high(room, len, 16, MIB, 4 * GIB);
    }
    if (!*addr) {
        return error_set(error, "the command line does not fit into the machine's RAM");
    }
    return boot_room_write(room, *addr, image->append, len, error);
}

static bool pvh_place_initrd(BootImage *image, BootRoom *room, uint8_t *block, uint64_t base,
                             GError **error)
{
    if (image->modules->len == 0) {
        return true;
    }
    BootSource *initrd = ((BootModule *)image->modules->pdata[0])->source;
    uint64_t addr = boot_room_take_high(room, initrd->size, BOOT_PAGE, MIB, 4 * GIB);
    if (!addr) {
        return error_set(error,
                         "initrd '%s' of %" PRIu64 " MiB does not fit into the machine's "
                         "RAM below 4 GiB beside the kernel; give it more with -m",
                         initrd->name, boot_mib(initrd->size));
    }
    store_le32(block + 12, 1);
    store_le64(block + 16, base + MODULE_OFFSET);
    store_le64(block + MODULE_OFFSET, addr);
    store_le64(block + MODULE_OFFSET + 8, initrd->size);
    return boot_room_load(room, addr, initrd, 0, initrd->size, initrd->size, error);
}

static void pvh_fill_memmap(const BootRoom *room, uint8_t *block, uint64_t base)
{
    unsigned count = MIN(room->map->count, MAX_MEMMAP);
    for (unsigned i = 0; i < count; i++) {
        const MemoryMapEntry *entry = &room->map->entries[i];
        uint8_t *out = block + MEMMAP_OFFSET + i * MEMMAP_SIZE;
        store_le64(out, entry->start);
        store_le64(out + 8, entry->length);
        store_le32(out + 16, entry->type);
    }
    store_le64(block + 40, base + MEMMAP_OFFSET);
    store_le32(block + 48, count);
}

bool pvh_place(BootImage *image, BootRoom *room, uint64_t rsdp, BootCpu *cpu, GError **error)
{
    uint8_t block[BLOCK_SIZE] = { 0 };
    uint64_t last, cmdline;
    if (!elf_place(&image->elf, image->kernel, room, &last, error)) {
        return false;
    }
    uint64_t base = boot_room_take_high(room, BLOCK_SIZE, BOOT_PAGE, LOW_START, LOW_LIMIT);
    if (!base) {
        return error_set(error, "the machine has no room for boot data below 640 KiB");
    }
    if (!pvh_place_cmdline(image, room, &cmdline, error) ||
        !pvh_place_initrd(image, room, block, base, error)) {
        return false;
    }
    store_le32(block, START_INFO_MAGIC);
    store_le32(block + 4, START_INFO_VERSION);
    store_le64(block + 24, cmdline);
    store_le64(block + 32, rsdp);
    pvh_fill_memmap(room, block, base);
    store_le64(block + GDT_OFFSET + 16, 0x00cf9b000000ffffULL);
    store_le64(block + GDT_OFFSET + 24, 0x00cf93000000ffffULL);
    *cpu = (BootCpu){
        .mode = BOOT_CPU_PROTECTED,
        .rip = image->elf.pvh_entry,
        .rbx = base,
        .rsp = base + BLOCK_SIZE,
        .gdt_base = base + GDT_OFFSET,
        .gdt_limit = GDT_SIZE - 1,
    };
    return boot_room_write(room, base, block, BLOCK_SIZE, error);
}
