/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiboot 1 (Multiboot Specification version 0.6.96): the address fields of the header, or ELF.
 * Modules come from `-initrd "file arguments,file2"`. */
#include <string.h>
#include "vmm/boot/boot_private.h"

#define HEADER_MAGIC  0x1badb002u
#define LOADER_MAGIC  0x2badb002u
#define HEADER_SEARCH 8192
#define HEADER_SIZE   32
#define LOADER_NAME   "vireo"

enum {
    HEADER_ALIGN_MODULES = 1u << 0,
    HEADER_MEMORY_INFO = 1u << 1,
    HEADER_VIDEO_MODE = 1u << 2,
    HEADER_ADDRESSES = 1u << 16,
    HEADER_REQUIRED = 0xffff,
    HEADER_KNOWN = HEADER_ALIGN_MODULES | HEADER_MEMORY_INFO | HEADER_VIDEO_MODE,
};

enum {
    INFO_MEMORY = 1u << 0,
    INFO_CMDLINE = 1u << 2,
    INFO_MODULES = 1u << 3,
    INFO_MEMORY_MAP = 1u << 6,
    INFO_LOADER_NAME = 1u << 9,
};

#define INFO_SIZE   120
#define MODULE_SIZE 16
#define MMAP_SIZE   24
#define GDT_SIZE    32
#define STACK_SIZE  512
#define MAX_MODULES 1024
#define LOW_START   0x1000ULL
#define LOW_LIMIT   0xa0000ULL
#define LOWER_KIB   640

/* The header's offset in the file's first 8 KiB, or -1; `header` gets its fields. */
static int64_t multiboot_find(BootSource *source, uint8_t header[HEADER_SIZE])
{
    uint8_t start[HEADER_SEARCH + HEADER_SIZE] = { 0 };
    uint64_t len = MIN(source->size, (uint64_t)sizeof(start));
    if (!boot_source_read(source, 0, start, len, NULL)) {
        return -1;
    }
    for (uint64_t i = 0; i + 12 <= MIN(len, (uint64_t)HEADER_SEARCH); i += 4) {
        uint32_t flags = load_le32(start + i + 4), checksum = load_le32(start + i + 8);
        if (load_le32(start + i) == HEADER_MAGIC && HEADER_MAGIC + flags + checksum == 0) {
            memcpy(header, start + i, HEADER_SIZE);
            return (int64_t)i;
        }
    }
    return -1;
}

bool multiboot_probe(BootSource *source)
{
    uint8_t header[HEADER_SIZE];
    return multiboot_find(source, header) >= 0;
}

static bool multiboot_refuse(const BootImage *image, GError **error, const char *reason)
{
    return error_set(error, "could not load kernel '%s' (multiboot): %s", image->kernel->name,
                     reason);
}

static bool multiboot_parse_addresses(BootImage *image, const uint8_t *header, uint64_t at,
                                      GError **error)
{
    MultibootImage *mb = &image->multiboot;
    uint32_t header_addr = load_le32(header + 12), load_addr = load_le32(header + 16);
    uint32_t load_end = load_le32(header + 20), bss_end = load_le32(header + 24);
    if (header_addr < load_addr || header_addr - load_addr > at) {
        return multiboot_refuse(image, error, "its load address lies outside the file");
    }
    mb->has_addresses = true;
    mb->file_offset = at - (header_addr - load_addr);
    mb->load_addr = load_addr;
    mb->entry = load_le32(header + 28);
    mb->load_size = image->kernel->size - mb->file_offset;
    if (load_end) {
        if (load_end <= load_addr || load_end - load_addr > mb->load_size) {
            return multiboot_refuse(image, error,
                                    "it is cut short, or its load end address is wrong");
        }
        mb->load_size = load_end - load_addr;
    }
    mb->memory_size = mb->load_size;
    if (bss_end) {
        if (bss_end < load_addr || bss_end - load_addr < mb->load_size) {
            return multiboot_refuse(image, error, "its bss ends before its data");
        }
        mb->memory_size = bss_end - load_addr;
    }
    if (mb->entry < load_addr || mb->entry - load_addr >= mb->memory_size) {
        return multiboot_refuse(image, error, "its entry lies outside what is loaded");
    }
    return true;
}

bool multiboot_parse(BootImage *image, GError **error)
{
    uint8_t header[HEADER_SIZE];
    int64_t at = multiboot_find(image->kernel, header);
    if (at < 0) {
        return multiboot_refuse(image, error, "its header is missing");
    }
    uint32_t flags = load_le32(header + 4);
    if (flags & HEADER_REQUIRED & ~HEADER_KNOWN) {
        return error_set(error,
                         "could not load kernel '%s' (multiboot): it requires features that "
                         "do not exist (flags 0x%x)",
                         image->kernel->name, flags & HEADER_REQUIRED & ~HEADER_KNOWN);
    }
    if (flags & HEADER_ADDRESSES) {
        return multiboot_parse_addresses(image, header, (uint64_t)at, error);
    }
    if (image->elf.count == 0) {
        return multiboot_refuse(image, error, "it has no address fields and is not an ELF file");
    }
    if (image->elf.entry >= 4 * GIB) {
        return multiboot_refuse(image, error, "its entry is above 4 GiB");
    }
    image->multiboot.entry = (uint32_t)image->elf.entry;
    return true;
}

/* ---- Placing ---- */

static bool multiboot_place_kernel(BootImage *image, BootRoom *room, uint64_t *last, GError **error)
{
    const MultibootImage *mb = &image->multiboot;
    if (!mb->has_addresses) {
        return elf_place(&image->elf, image->kernel, room, last, error);
    }
    if (!boot_room_take(room, mb->load_addr, mb->memory_size)) {
        return error_set(error,
                         "could not load kernel '%s' (multiboot): its %" PRIu64
                         " bytes at 0x%" PRIx64 " do not lie in RAM of this machine",
                         image->kernel->name, mb->memory_size, mb->load_addr);
    }
    *last = mb->load_addr + mb->memory_size - 1;
    return boot_room_load(room, mb->load_addr, image->kernel, mb->file_offset, mb->load_size,
                          mb->memory_size, error);
}

/* A string in low memory, or above when there is no room; its address. */
static bool multiboot_place_string(BootRoom *room, const char *text, uint32_t *addr, GError **error)
{
    uint64_t len = strlen(text) + 1;
    uint64_t at = boot_room_take_high(room, len, 4, LOW_START, LOW_LIMIT);
    if (!at) {
        at = boot_room_take_high(room, len, 4, MIB, 4 * GIB);
    }
    if (!at) {
        return error_set(error, "the command line does not fit into the machine's RAM");
    }
    *addr = (uint32_t)at;
    return boot_room_write(room, at, text, len, error);
}

/* Modules follow the kernel, as most kernels expect. */
static bool multiboot_place_modules(BootImage *image, BootRoom *room, uint64_t last, uint8_t *list,
                                    GError **error)
{
    for (guint i = 0; i < image->modules->len; i++) {
        BootModule *module = image->modules->pdata[i];
        uint64_t size = module->source->size;
        uint64_t addr = boot_room_take_low(room, size, BOOT_PAGE, MAX(last + 1, MIB), 4 * GIB);
        uint32_t text;
        if (!addr) {
            return error_set(error,
                             "module '%s' of %" PRIu64 " MiB does not fit into the "
                             "machine's RAM below 4 GiB; give it more with -m",
                             module->source->name, boot_mib(size));
        }
        if (!multiboot_place_string(room, module->args, &text, error) ||
            !boot_room_load(room, addr, module->source, 0, size, size, error)) {
            return false;
        }
        uint8_t *entry = list + i * MODULE_SIZE;
        store_le32(entry, (uint32_t)addr);
        store_le32(entry + 4, (uint32_t)(addr + size));
        store_le32(entry + 8, text);
    }
    return true;
}

static void multiboot_fill_memory(const BootRoom *room, uint8_t *info, uint8_t *mmap)
{
    uint64_t upper = 0;
    for (unsigned i = 0; i < room->map->count; i++) {
        const MemoryMapEntry *entry = &room->map->entries[i];
        uint8_t *out = mmap + i * MMAP_SIZE;
        store_le32(out, MMAP_SIZE - 4); /* the entry's size, without this field */
        store_le64(out + 4, entry->start);
        store_le64(out + 12, entry->length);
        store_le32(out + 20, entry->type);
        if (entry->type == MEMORY_MAP_RAM && entry->start <= MIB &&
            entry->start + entry->length > MIB) {
            upper = entry->start + entry->length - MIB;
        }
    }
    store_le32(info + 4, LOWER_KIB);
    store_le32(info + 8, (uint32_t)MIN(upper / KIB, UINT32_MAX));
}

static bool multiboot_fill_info(BootImage *image, BootRoom *room, uint64_t last, uint8_t *block,
                                uint64_t base, GError **error)
{
    unsigned modules = image->modules->len;
    uint64_t list_offset = INFO_SIZE, mmap_offset = INFO_SIZE + modules * MODULE_SIZE;
    g_autofree char *cmdline =
        g_strdup_printf("%s%s%s", image->kernel_path, image->append[0] ? " " : "", image->append);
    uint32_t cmdline_addr, name_addr;
    if (!multiboot_place_string(room, cmdline, &cmdline_addr, error) ||
        !multiboot_place_string(room, LOADER_NAME, &name_addr, error) ||
        !multiboot_place_modules(image, room, last, block + list_offset, error)) {
        return false;
    }
    multiboot_fill_memory(room, block, block + mmap_offset);
    store_le32(block,
               INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME);
    store_le32(block + 16, cmdline_addr);
    store_le32(block + 20, modules);
    store_le32(block + 24, modules ? (uint32_t)(base + list_offset) : 0);
    store_le32(block + 44, room->map->count * MMAP_SIZE);
    store_le32(block + 48, (uint32_t)(base + mmap_offset));
    store_le32(block + 64, name_addr);
    return true;
}

bool multiboot_place(BootImage *image, BootRoom *room, BootCpu *cpu, GError **error)
{
    uint64_t last;
    if (image->modules->len > MAX_MODULES) {
        return error_set(error, "-initrd: more than %u modules", MAX_MODULES);
    }
    if (!multiboot_place_kernel(image, room, &last, error)) {
        return false;
    }
    uint64_t tables = ALIGN_UP(
        INFO_SIZE + image->modules->len * MODULE_SIZE + room->map->count * MMAP_SIZE, 16ULL);
    uint64_t size = tables + GDT_SIZE + STACK_SIZE;
    uint64_t base = boot_room_take_high(room, size, 16, LOW_START, LOW_LIMIT);
    if (!base) {
        return error_set(error, "the machine has no room for boot data below 640 KiB");
    }
    g_autofree uint8_t *block = g_malloc0(size);
    if (!multiboot_fill_info(image, room, last, block, base, error)) {
        return false;
    }
    store_le64(block + tables + 16, 0x00cf9b000000ffffULL);
    store_le64(block + tables + 24, 0x00cf93000000ffffULL);
    *cpu = (BootCpu){
        .mode = BOOT_CPU_PROTECTED,
        .rip = image->multiboot.entry,
        .rax = LOADER_MAGIC,
        .rbx = base,
        .rsp = base + size,
        .gdt_base = base + tables,
        .gdt_limit = GDT_SIZE - 1,
    };
    return boot_room_write(room, base, block, size, error);
}
