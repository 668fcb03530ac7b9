/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading kernels without firmware: Linux bzImage (64-bit boot protocol,
 * Documentation/arch/x86/boot.rst), PVH ELF (Xen's pvh.pandoc, start_info), multiboot 1. And
 * firmware ROM images. Files are hostile: every field is bounded before use, and what is refused is
 * refused with a reason. Main thread.
 */
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include "vmm/machine/accel.h"
#include "vmm/machine/machine.h"

typedef enum MemoryMapType {
    MEMORY_MAP_RAM = 1, /* the E820 numbers */
    MEMORY_MAP_RESERVED = 2,
    MEMORY_MAP_ACPI = 3,
    MEMORY_MAP_NVS = 4,
} MemoryMapType;

typedef struct MemoryMapEntry {
    uint64_t start, length;
    MemoryMapType type;
} MemoryMapEntry;

typedef struct MemoryMap {
    MemoryMapEntry entries[64];
    unsigned count;
} MemoryMap;

typedef struct BootImage BootImage;

/* Reads and checks kernel and initrd; recognises the format. */
BootImage *boot_image_load(const char *kernel, const char *initrd, const char *append,
                           GError **error);
void boot_image_free(BootImage *image);
const char *boot_image_format(const BootImage *image); /* "bzImage", "PVH", "multiboot" */

/* Writes kernel, initrd, command line, boot structures and page tables into guest RAM, inside what
 * the map calls RAM, and fills *cpu. `rsdp` is the ACPI root pointer's address, 0: none. At first
 * start and again at each reset. */
bool boot_image_place(BootImage *image, Machine *machine, const MemoryMap *map, uint64_t rsdp,
                      BootCpu *cpu, GError **error);

/* A firmware file mapped so that it ends at 4 GiB, its last 128 KiB also below 1 MiB (bios_end:
 * 0x100000). Size: a multiple of 64 KiB up to 16 MiB; searched as given, then in the firmware
 * directories. */
bool boot_firmware_map(Machine *machine, const char *file, GError **error);

#endif
