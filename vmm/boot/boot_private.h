/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmm/boot: sources of bytes, room in guest RAM, and the formats. Main thread. */
#ifndef VMM_BOOT_BOOT_PRIVATE_H
#define VMM_BOOT_BOOT_PRIVATE_H

#include "vmm/boot/boot.h"
#include "vmm/error.h"
#include "vmm/util/bytes.h"

#define BOOT_PAGE 4096ULL

/* For messages. */
static inline uint64_t boot_mib(uint64_t bytes)
{
    return bytes / MIB + (bytes % MIB != 0);
}

/* ---- A file, or bytes in memory (tests) ---- */

typedef struct BootSource {
    char *name; /* for messages */
    int fd;     /* -1: memory */
    const uint8_t *memory;
    uint64_t size;
} BootSource;

BootSource *boot_source_open(const char *path, GError **error);
BootSource *boot_source_new_memory(const char *name, const uint8_t *data, uint64_t size);
void boot_source_free(BootSource *source);
/* Exactly len bytes, or an error that names the file. */
bool boot_source_read(BootSource *source, uint64_t offset, void *data, uint64_t len,
                      GError **error);

/* ---- Room in guest RAM ---- */

typedef struct BootRoom {
    Machine *machine;
    const MemoryMap *map;
    GArray *taken; /* BootRange */
} BootRoom;

typedef struct BootRange {
    uint64_t start, last; /* inclusive */
} BootRange;

void boot_room_init(BootRoom *room, Machine *machine, const MemoryMap *map);
void boot_room_clear(BootRoom *room);
/* This very range: false when it is not all RAM or partly taken. len > 0. */
bool boot_room_take(BootRoom *room, uint64_t start, uint64_t len);
/* The highest, or the lowest, free range inside [low, limit); 0 when there is none. align: a power
 * of two. */
uint64_t boot_room_take_high(BootRoom *room, uint64_t len, uint64_t align, uint64_t low,
                             uint64_t limit);
uint64_t boot_room_take_low(BootRoom *room, uint64_t len, uint64_t align, uint64_t low,
                            uint64_t limit);
/* Into RAM that was taken. The file's part goes there directly; the rest of [0, len) is zeroed. */
bool boot_room_load(BootRoom *room, uint64_t addr, BootSource *source, uint64_t offset,
                    uint64_t file_len, uint64_t len, GError **error);
bool boot_room_write(BootRoom *room, uint64_t addr, const void *data, uint64_t len, GError **error);

/* ---- Formats ---- */

typedef struct BootModule {
    BootSource *source;
    char *args; /* multiboot: the module's string */
} BootModule;

typedef struct ElfSegment {
    uint64_t offset, file_size, addr, size;
} ElfSegment;

typedef struct ElfImage {
    ElfSegment *segments;
    unsigned count;
    uint64_t entry;
    bool is64;
    bool has_pvh;
    uint64_t pvh_entry;
} ElfImage;

typedef struct BzImage {
    uint8_t header[0x290]; /* the start of the file, through the setup header */
    unsigned version;
    uint64_t kernel_offset, kernel_size;
    uint64_t pref_address, init_size, alignment;
    uint64_t initrd_max;
    uint32_t cmdline_size;
    bool relocatable, is64, above_4g;
} BzImage;

typedef struct MultibootImage {
    bool has_addresses;
    uint64_t file_offset, load_addr, load_size, memory_size; /* has_addresses */
    uint32_t entry;
} MultibootImage;

typedef enum BootFormat { BOOT_BZIMAGE, BOOT_PVH, BOOT_MULTIBOOT } BootFormat;

struct BootImage {
    BootFormat format;
    BootSource *kernel;
    GPtrArray *modules; /* BootModule *; Linux and PVH: the initrd, or none */
    char *append;
    char *kernel_path;
    BzImage bz;
    ElfImage elf;
    MultibootImage multiboot;
};

/* The magic numbers only: is it this format? */
bool bzimage_probe(BootSource *source);
bool elf_probe(BootSource *source);
bool multiboot_probe(BootSource *source);

bool bzimage_parse(BootImage *image, GError **error);
bool bzimage_place(BootImage *image, BootRoom *room, uint64_t rsdp, BootCpu *cpu, GError **error);
bool elf_parse(BootSource *source, ElfImage *elf, GError **error);
void elf_clear(ElfImage *elf);
/* Takes and fills the segments' ranges. *last is the highest byte's address. */
bool elf_place(const ElfImage *elf, BootSource *source, BootRoom *room, uint64_t *last,
               GError **error);
bool pvh_parse(BootImage *image, GError **error);
bool pvh_place(BootImage *image, BootRoom *room, uint64_t rsdp, BootCpu *cpu, GError **error);
bool multiboot_parse(BootImage *image, GError **error);
bool multiboot_place(BootImage *image, BootRoom *room, BootCpu *cpu, GError **error);

/* Recognises and parses a kernel that is open already; takes ownership of `kernel` in any case. */
BootImage *boot_image_new(BootSource *kernel, const char *append, GError **error);

#endif
