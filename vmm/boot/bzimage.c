/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux bzImage (Linux Documentation/arch/x86/boot.rst and zero-page.rst): the 64-bit boot protocol
 * for kernels that have it, else the 32-bit one.
 */
#include <string.h>
#include "vmm/boot/boot_private.h"

/* Offsets in the file, and in the zero page. */
enum {
    HDR_START = 0x1f1,
    HDR_SETUP_SECTS = 0x1f1,
    HDR_SYSSIZE = 0x1f4,
    HDR_BOOT_FLAG = 0x1fe,
    HDR_JUMP = 0x200, /* its second byte is the header's length from 0x202 on */
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_LOADER_TYPE = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_CODE32_START = 0x214,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_CMDLINE = 0x228,
    HDR_INITRD_MAX = 0x22c,
    HDR_ALIGNMENT = 0x230,
    HDR_RELOCATABLE = 0x234,
    HDR_XLOADFLAGS = 0x236,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_SETUP_DATA = 0x250,
    HDR_PREF_ADDRESS = 0x258,
    HDR_INIT_SIZE = 0x260,
    HDR_END = 0x290,
    ZERO_RSDP = 0x070,
    ZERO_EXT_RAMDISK_IMAGE = 0x0c0,
    ZERO_EXT_RAMDISK_SIZE = 0x0c4,
    ZERO_E820_COUNT = 0x1e8,
    ZERO_E820 = 0x2d0,
};

#define SECTOR              512
#define HDR_MAGIC_VALUE     0x53726448u /* "HdrS" */
#define LOADED_HIGH         (1u << 0)
#define KEEP_SEGMENTS       (1u << 6)
#define XLF_KERNEL_64       (1u << 0)
#define XLF_ABOVE_4G        (1u << 1)
#define LOADER_UNDEFINED    0xff
#define LOAD_HIGH           0x100000ULL
#define DEFAULT_INITRD_MAX  0x37ffffffULL
#define DEFAULT_CMDLINE_MAX 255
#define ENTRY_64            0x200
#define E820_MAX            128
#define E820_ENTRY_SIZE     20
/* Boot data lies in low memory, above the BIOS data area, where no kernel is loaded. */
#define LOW_START        0x1000ULL
#define LOW_LIMIT        0xa0000ULL
#define PAGE_TABLE_PAGES 6 /* one PML4, one PDPT, four directories of 2 MiB pages: 4 GiB */
#define STACK_SIZE       BOOT_PAGE

bool bzimage_probe(BootSource *source)
{
    uint8_t magic[4];
    return boot_source_read(source, HDR_MAGIC, magic, sizeof(magic), NULL) &&
           load_le32(magic) == HDR_MAGIC_VALUE;
}

static bool bz_refuse(const BootImage *image, GError **error, const char *reason)
{
    return error_set(error, "could not load kernel '%s' (bzImage): %s", image->kernel->name,
                     reason);
}

static bool bz_check_magic(BootImage *image, GError **error)
{
    BzImage *bz = &image->bz;
    uint64_t len = MIN(image->kernel->size, (uint64_t)sizeof(bz->header));
    memset(bz->header, 0, sizeof(bz->header));
    if (!boot_source_read(image->kernel, 0, bz->header, len, error)) {
        return false;
    }
    if (load_le16(bz->header + HDR_BOOT_FLAG) != 0xaa55) {
        return bz_refuse(image, error, "it has no boot sector signature");
    }
    bz->version = load_le16(bz->header + HDR_VERSION);
    if (bz->version < 0x0200) {
        return bz_refuse(image, error, "its boot protocol is older than 2.00");
    }
    if (!(bz->header[HDR_LOADFLAGS] & LOADED_HIGH)) {
        return bz_refuse(image, error, "it is a zImage, which is loaded low; build a bzImage");
    }
    /* What stands behind the header is code: not for the zero page. */
    size_t end = HDR_MAGIC + (size_t)bz->header[HDR_JUMP + 1];
    if (end < sizeof(bz->header)) {
        memset(bz->header + end, 0, sizeof(bz->header) - end);
    }
    return true;
}

static bool bz_check_payload(BootImage *image, GError **error)
{
    BzImage *bz = &image->bz;
    unsigned sectors = bz->header[HDR_SETUP_SECTS] ? bz->header[HDR_SETUP_SECTS] : 4;
    bz->kernel_offset = (sectors + 1ULL) * SECTOR;
    if (bz->kernel_offset >= image->kernel->size) {
        return bz_refuse(image, error, "it is cut short: there is nothing behind its setup code");
    }
    bz->kernel_size = image->kernel->size - bz->kernel_offset;
    uint64_t paragraphs = bz->version >= 0x0204 ? load_le32(bz->header + HDR_SYSSIZE)
                                                : load_le16(bz->header + HDR_SYSSIZE);
    if (bz->version >= 0x0204 && bz->kernel_size + 15 < paragraphs * 16) {
        return error_set(error,
                         "could not load kernel '%s' (bzImage): it is cut short: its header "
                         "says %" PRIu64 " bytes, the file has %" PRIu64,
                         image->kernel->name, paragraphs * 16, bz->kernel_size);
    }
    return true;
}

static void bz_read_fields(BzImage *bz)
{
    const uint8_t *h = bz->header;
    unsigned xloadflags = bz->version >= 0x020c ? load_le16(h + HDR_XLOADFLAGS) : 0;
    bz->is64 = xloadflags & XLF_KERNEL_64;
    bz->above_4g = xloadflags & XLF_ABOVE_4G;
    bz->initrd_max = bz->version >= 0x0203 ? load_le32(h + HDR_INITRD_MAX) : DEFAULT_INITRD_MAX;
    bz->cmdline_size = bz->version >= 0x0206 ? load_le32(h + HDR_CMDLINE_SIZE)
                                             : DEFAULT_CMDLINE_MAX;
    bz->relocatable = bz->version >= 0x0205 && h[HDR_RELOCATABLE];
    bz->alignment = bz->version >= 0x0205 ? load_le32(h + HDR_ALIGNMENT) : 0;
    bz->pref_address = LOAD_HIGH;
    bz->init_size = bz->kernel_size;
    if (bz->version >= 0x020a) {
        bz->pref_address = load_le64(h + HDR_PREF_ADDRESS);
        bz->init_size = MAX(load_le32(h + HDR_INIT_SIZE), bz->kernel_size);
    }
}

bool bzimage_parse(BootImage *image, GError **error)
{
    BzImage *bz = &image->bz;
    if (!bz_check_magic(image, error) || !bz_check_payload(image, error)) {
        return false;
    }
    bz_read_fields(bz);
    if (bz->relocatable && (bz->alignment == 0 || (bz->alignment & (bz->alignment - 1)))) {
        return bz_refuse(image, error, "its alignment is not a power of two");
    }
    if (bz->is64 && bz->kernel_size <= ENTRY_64) {
        return bz_refuse(image, error, "it is cut short before its 64-bit entry");
    }
    if (bz->pref_address == 0 || bz->pref_address >= 4 * GIB) {
        return bz_refuse(image, error, "its preferred load address is not below 4 GiB");
    }
    size_t len = strlen(image->append);
    if (len > bz->cmdline_size) {
        return error_set(error,
                         "-append: the command line has %zu bytes; kernel '%s' takes at "
                         "most %u",
                         len, image->kernel->name, bz->cmdline_size);
    }
    return true;
}

/* ---- Placing ---- */

/* Where the kernel unpacks itself it needs init_size bytes, so that much room it gets. */
static bool bz_place_kernel(BootImage *image, BootRoom *room, uint64_t *addr, GError **error)
{
    const BzImage *bz = &image->bz;
    *addr = bz->pref_address;
    if (!boot_room_take(room, *addr, bz->init_size)) {
        *addr = bz->relocatable ? boot_room_take_low(room, bz->init_size, bz->alignment,
                                                     bz->pref_address, 4 * GIB)
                                : 0;
    }
    if (*addr == 0) {
        return error_set(error,
                         "kernel '%s' needs %" PRIu64 " MiB of RAM from %" PRIu64
                         " MiB on, which this machine does not have; give it more with -m",
                         image->kernel->name, boot_mib(bz->init_size), boot_mib(bz->pref_address));
    }
    return boot_room_load(room, *addr, image->kernel, bz->kernel_offset, bz->kernel_size,
                          bz->kernel_size, error);
}

static bool bz_place_initrd(BootImage *image, BootRoom *room, uint8_t *zero, GError **error)
{
    const BzImage *bz = &image->bz;
    if (image->modules->len == 0) {
        return true;
    }
    BootSource *initrd = ((BootModule *)image->modules->pdata[0])->source;
    uint64_t limit = bz->above_4g ? 4 * GIB : MIN(bz->initrd_max + 1, 4 * GIB);
    uint64_t addr = boot_room_take_high(room, initrd->size, BOOT_PAGE, LOAD_HIGH, limit);
    if (!addr && bz->above_4g) {
        addr = boot_room_take_high(room, initrd->size, BOOT_PAGE, 4 * GIB, UINT64_MAX);
    }
    if (!addr) {
        return error_set(error,
                         "initrd '%s' of %" PRIu64 " MiB does not fit into the machine's "
                         "RAM beside the kernel; give it more with -m",
                         initrd->name, boot_mib(initrd->size));
    }
    store_le32(zero + HDR_RAMDISK_IMAGE, (uint32_t)addr);
    store_le32(zero + HDR_RAMDISK_SIZE, (uint32_t)initrd->size);
    store_le32(zero + ZERO_EXT_RAMDISK_IMAGE, (uint32_t)(addr >> 32));
    store_le32(zero + ZERO_EXT_RAMDISK_SIZE, (uint32_t)(initrd->size >> 32));
    return boot_room_load(room, addr, initrd, 0, initrd->size, initrd->size, error);
}

static uint64_t bz_low(BootRoom *room, uint64_t len, GError **error)
{
    uint64_t addr = boot_room_take_high(room, len, BOOT_PAGE, LOW_START, LOW_LIMIT);
    if (!addr) {
        error_set(error, "the machine has no room for boot data below 640 KiB");
    }
    return addr;
}

static bool bz_place_cmdline(BootImage *image, BootRoom *room, uint8_t *zero, GError **error)
{
    uint64_t len = strlen(image->append) + 1;
    uint64_t addr = boot_room_take_high(room, len, 16, LOW_START, LOW_LIMIT);
    if (!addr) {
        addr = boot_room_take_high(room, len, 16, LOAD_HIGH, 4 * GIB);
    }
    if (!addr) {
        return error_set(error, "the command line does not fit into the machine's RAM");
    }
    store_le32(zero + HDR_CMDLINE, (uint32_t)addr);
    return boot_room_write(room, addr, image->append, len, error);
}

static void bz_fill_e820(const BootRoom *room, uint8_t *zero)
{
    unsigned count = MIN(room->map->count, E820_MAX);
    for (unsigned i = 0; i < count; i++) {
        const MemoryMapEntry *entry = &room->map->entries[i];
        uint8_t *out = zero + ZERO_E820 + i * E820_ENTRY_SIZE;
        store_le64(out, entry->start);
        store_le64(out + 8, entry->length);
        store_le32(out + 16, entry->type);
    }
    zero[ZERO_E820_COUNT] = (uint8_t)count;
}

/* Identity map of the first 4 GiB, and the segments that the protocol asks for. */
static bool bz_place_tables(BootRoom *room, bool is64, BootCpu *cpu, GError **error)
{
    enum { PRESENT = 1, WRITABLE = 2, LARGE = 0x80 };
    uint64_t base = bz_low(room, (PAGE_TABLE_PAGES + 1) * BOOT_PAGE, error);
    if (!base) {
        return false;
    }
    g_autofree uint64_t *page = g_new0(uint64_t, (PAGE_TABLE_PAGES + 1) * BOOT_PAGE / 8);
    uint64_t *pdpt = page + 512, *directories = page + 1024;
    uint64_t *gdt = page + PAGE_TABLE_PAGES * 512;
    page[0] = htole64((base + BOOT_PAGE) | PRESENT | WRITABLE);
    for (unsigned i = 0; i < 4; i++) {
        pdpt[i] = htole64((base + (2 + i) * BOOT_PAGE) | PRESENT | WRITABLE);
    }
    for (uint64_t i = 0; i < 4 * 512; i++) {
        directories[i] = htole64(i << 21 | PRESENT | WRITABLE | LARGE);
    }
    gdt[2] = htole64(is64 ? 0x00af9b000000ffffULL : 0x00cf9b000000ffffULL);
    gdt[3] = htole64(0x00cf93000000ffffULL);
    cpu->cr3 = base;
    cpu->gdt_base = base + PAGE_TABLE_PAGES * BOOT_PAGE;
    cpu->gdt_limit = 4 * 8 - 1;
    return boot_room_write(room, base, page, (PAGE_TABLE_PAGES + 1) * BOOT_PAGE, error);
}

static void bz_fill_header(const BzImage *bz, uint8_t *zero, uint64_t kernel, uint64_t rsdp)
{
    memcpy(zero + HDR_START, bz->header + HDR_START, HDR_END - HDR_START);
    zero[HDR_LOADER_TYPE] = LOADER_UNDEFINED;
    zero[HDR_LOADFLAGS] |= LOADED_HIGH | (bz->is64 ? 0 : KEEP_SEGMENTS);
    store_le32(zero + HDR_CODE32_START, (uint32_t)kernel);
    store_le32(zero + HDR_RAMDISK_IMAGE, 0);
    store_le32(zero + HDR_RAMDISK_SIZE, 0);
    if (bz->version >= 0x0209) {
        store_le64(zero + HDR_SETUP_DATA, 0);
    }
    store_le64(zero + ZERO_RSDP, rsdp);
}

bool bzimage_place(BootImage *image, BootRoom *room, uint64_t rsdp, BootCpu *cpu, GError **error)
{
    const BzImage *bz = &image->bz;
    g_autofree uint8_t *zero = g_malloc0(BOOT_PAGE);
    uint64_t kernel, params, stack;
    if (!bz_place_kernel(image, room, &kernel, error)) {
        return false;
    }
    bz_fill_header(bz, zero, kernel, rsdp);
    bz_fill_e820(room, zero);
    if (!bz_place_tables(room, bz->is64, cpu, error) ||
        !(stack = bz_low(room, STACK_SIZE, error)) || !(params = bz_low(room, BOOT_PAGE, error)) ||
        !bz_place_cmdline(image, room, zero, error) || !bz_place_initrd(image, room, zero, error) ||
        !boot_room_write(room, params, zero, BOOT_PAGE, error)) {
        return false;
    }
    cpu->mode = bz->is64 ? BOOT_CPU_LONG : BOOT_CPU_PROTECTED;
    cpu->rip = bz->is64 ? kernel + ENTRY_64 : kernel;
    cpu->rsi = params;
    cpu->rsp = stack + STACK_SIZE;
    return true;
}
