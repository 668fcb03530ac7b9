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

/* ---- Files that come with packages: firmware, option ROMs ---- */
/* -L: searched before the standard directories. The text must stay. */
void boot_data_add_dir(const char *dir);
void boot_data_foreach_dir(void (*fn)(const char *dir, void *opaque), void *opaque);
/* The path of a readable file: `name` as it is when it exists or has a slash, else from the
 * directories; NULL when there is none. New. */
char *boot_data_find(const char *name);
/* The whole file, 1 to `max` bytes; NULL and error. New. */
uint8_t *boot_data_read(const char *path, uint64_t max, size_t *len, GError **error);

/* ---- A Linux kernel that firmware starts (the option ROM linuxboot, OVMF) ---- */
typedef struct FirmwareKernel {
    uint8_t *setup, *kernel, *initrd; /* initrd NULL: none */
    uint32_t setup_size, kernel_size, initrd_size;
    uint32_t setup_addr, kernel_addr, initrd_addr, cmdline_addr;
    char *cmdline;
} FirmwareKernel;
/* Reads a bzImage and patches its setup header as a boot loader does; low RAM ends at ram_top. */
bool firmware_kernel_load(FirmwareKernel *out, const char *kernel, const char *initrd,
                          const char *append, uint64_t ram_top, GError **error);

/* A firmware file mapped so that it ends at 4 GiB, its last 128 KiB also below 1 MiB (bios_end:
 * 0x100000). Size: a multiple of 64 KiB up to 16 MiB; found by boot_data_find().
 * `writable`: for boards without shadow RAM, whose firmware keeps its variables in place. */
bool boot_firmware_map(Machine *machine, const char *file, bool writable, GError **error);
/* What the guest wrote into writable firmware is forgotten. vCPUs stopped. */
void boot_firmware_reset(void);

#endif
