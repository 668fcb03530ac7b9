/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loading kernels: made-up images of each format, whole and broken in each way. */
#include <elf.h>
#include <string.h>
#include <urcu.h>
#include "vmm/boot/boot_private.h"
#include "vmm/memory/dma.h"

#define RAM_SIZE (64 * MIB)

static Machine machine;
static MemRegion ram_region;
static MemoryMap map;

static void guest_new(void)
{
    GError *error = NULL;
    RamOptions options = { .size = RAM_SIZE };
    machine = (Machine){ 0 };
    machine.memory = address_space_new("memory", UINT64_MAX);
    machine.ram = ram_block_new("ram", &options, &error);
    g_assert_no_error(error);
    mem_region_init_ram(&ram_region, "ram", machine.ram, 0, RAM_SIZE, false);
    address_space_map(machine.memory, &ram_region, 0, 0);
    map = (MemoryMap){ .entries = { { 0, 0x9fc00, MEMORY_MAP_RAM },
                                    { 0x9fc00, 0x400, MEMORY_MAP_RESERVED },
                                    { 0xf0000, 0x10000, MEMORY_MAP_RESERVED },
                                    { MIB, RAM_SIZE - 2 * MIB, MEMORY_MAP_RAM },
                                    { RAM_SIZE - MIB, MIB, MEMORY_MAP_ACPI } },
                       .count = 5 };
}

static void guest_free(void)
{
    address_space_unmap(&ram_region);
    address_space_free(machine.memory);
    mem_region_cleanup(&ram_region);
    ram_block_free(machine.ram);
}

static const uint8_t *guest(uint64_t addr)
{
    g_assert_cmpuint(addr, <, RAM_SIZE);
    return machine.ram->host + addr;
}

static BootImage *parse(const uint8_t *data, size_t len, const char *append, GError **error)
{
    return boot_image_new(boot_source_new_memory("made-up", data, len), append, error);
}

static BootImage *parse_ok(const uint8_t *data, size_t len, const char *append)
{
    GError *error = NULL;
    BootImage *image = parse(data, len, append, &error);
    g_assert_no_error(error);
    g_assert_nonnull(image);
    return image;
}

static void assert_refused(const uint8_t *data, size_t len, const char *append, const char *why)
{
    GError *error = NULL;
    g_assert_null(parse(data, len, append, &error));
    g_assert_nonnull(error);
    if (!strstr(error->message, why)) {
        g_error("expected '%s' in '%s'", why, error->message);
    }
    g_error_free(error);
}

static void add_module(BootImage *image, const uint8_t *data, size_t len, const char *args)
{
    BootModule *module = g_new0(BootModule, 1);
    module->source = boot_source_new_memory("initrd", data, len);
    module->args = g_strdup(args);
    g_ptr_array_add(image->modules, module);
}

static void place_ok(BootImage *image, BootCpu *cpu)
{
    GError *error = NULL;
    g_assert_true(boot_image_place(image, &machine, &map, 0xe0000, cpu, &error));
    g_assert_no_error(error);
}

static void assert_not_placed(BootImage *image, const char *why)
{
    GError *error = NULL;
    BootCpu cpu;
    g_assert_false(boot_image_place(image, &machine, &map, 0, &cpu, &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, why));
    g_error_free(error);
}

/* ---- bzImage ---- */

#define BZ_SETUP  (3 * 512)
#define BZ_KERNEL 8192
#define BZ_SIZE   (BZ_SETUP + BZ_KERNEL)

static uint8_t *bz_new(void)
{
    uint8_t *file = g_malloc0(BZ_SIZE);
    file[0x1f1] = 2; /* setup sectors */
    store_le32(file + 0x1f4, BZ_KERNEL / 16);
    store_le16(file + 0x1fe, 0xaa55);
    file[0x200] = 0xeb;
    file[0x201] = 0x66;
    memcpy(file + 0x202, "HdrS", 4);
    store_le16(file + 0x206, 0x020f);
    file[0x211] = 1; /* loaded high */
    store_le32(file + 0x22c, 0x7fffffff);
    store_le32(file + 0x230, 0x200000);
    file[0x234] = 1; /* relocatable */
    store_le16(file + 0x236, 1);
    store_le32(file + 0x238, 64); /* command line */
    store_le64(file + 0x258, 16 * MIB);
    store_le32(file + 0x260, MIB);
    memset(file + BZ_SETUP, 0xc3, BZ_KERNEL);
    return file;
}

static void test_bzimage_placed(void)
{
    static const uint8_t initrd[5000] = { 1, 2, 3, 4 };
    g_autofree uint8_t *file = bz_new();
    BootCpu cpu;
    guest_new();
    BootImage *image = parse_ok(file, BZ_SIZE, "console=ttyS0");
    g_assert_cmpstr(boot_image_format(image), ==, "bzImage");
    add_module(image, initrd, sizeof(initrd), "initrd");
    place_ok(image, &cpu);
    g_assert_cmpint(cpu.mode, ==, BOOT_CPU_LONG);
    g_assert_cmphex(cpu.rip, ==, 16 * MIB + 0x200);
    g_assert_cmphex(guest(16 * MIB)[BZ_KERNEL - 1], ==, 0xc3);
    g_assert_cmphex(guest(16 * MIB)[BZ_KERNEL], ==, 0);
    const uint8_t *zero = guest(cpu.rsi);
    g_assert_cmpstr((const char *)guest(load_le32(zero + 0x228)), ==, "console=ttyS0");
    g_assert_cmphex(load_le64(zero + 0x70), ==, 0xe0000);
    g_assert_cmpuint(zero[0x1e8], ==, 5);
    g_assert_cmphex(load_le64(zero + 0x2d0 + 3 * 20), ==, MIB);
    g_assert_cmphex(load_le32(zero + 0x2d0 + 4 * 20 + 16), ==, MEMORY_MAP_ACPI);
    uint32_t initrd_addr = load_le32(zero + 0x218);
    g_assert_cmpuint(load_le32(zero + 0x21c), ==, sizeof(initrd));
    g_assert_cmpmem(guest(initrd_addr), sizeof(initrd), initrd, sizeof(initrd));
    /* As high as the map's RAM goes, never into what ACPI has. */
    g_assert_cmphex(initrd_addr, ==, RAM_SIZE - MIB - 2 * 4096);
    boot_image_free(image);
    guest_free();
}

static void test_bzimage_page_tables(void)
{
    g_autofree uint8_t *file = bz_new();
    BootCpu cpu;
    guest_new();
    BootImage *image = parse_ok(file, BZ_SIZE, NULL);
    place_ok(image, &cpu);
    /* Every 2 MiB of the first 4 GiB maps to itself. */
    for (uint64_t addr = 0; addr < 4 * GIB; addr += 2 * MIB) {
        uint64_t pml4 = load_le64(guest(cpu.cr3));
        uint64_t pdpt = load_le64(guest((pml4 & ~0xfffULL) + (addr >> 30) * 8));
        uint64_t entry = load_le64(guest((pdpt & ~0xfffULL) + (addr >> 21 & 511) * 8));
        g_assert_cmphex(pml4 & 3, ==, 3);
        g_assert_cmphex(pdpt & 3, ==, 3);
        g_assert_cmphex(entry, ==, addr | 0x83);
    }
    g_assert_cmphex(load_le64(guest(cpu.gdt_base) + 16), ==, 0x00af9b000000ffffULL);
    boot_image_free(image);
    guest_free();
}

static void test_bzimage_32bit(void)
{
    g_autofree uint8_t *file = bz_new();
    BootCpu cpu;
    guest_new();
    store_le16(file + 0x236, 0);
    BootImage *image = parse_ok(file, BZ_SIZE, NULL);
    place_ok(image, &cpu);
    g_assert_cmpint(cpu.mode, ==, BOOT_CPU_PROTECTED);
    g_assert_cmphex(cpu.rip, ==, 16 * MIB);
    boot_image_free(image);
    /* Protocol 2.02 knows neither the preferred address nor relocation. */
    store_le16(file + 0x206, 0x0202);
    image = parse_ok(file, BZ_SIZE, NULL);
    place_ok(image, &cpu);
    g_assert_cmphex(cpu.rip, ==, MIB);
    boot_image_free(image);
    guest_free();
}

static void test_bzimage_relocated(void)
{
    g_autofree uint8_t *file = bz_new();
    BootCpu cpu;
    guest_new();
    map.entries[map.count++] = (MemoryMapEntry){ 16 * MIB, 4096, MEMORY_MAP_RESERVED };
    BootImage *image = parse_ok(file, BZ_SIZE, NULL);
    place_ok(image, &cpu);
    g_assert_cmphex(cpu.rip, ==, 18 * MIB + 0x200);
    boot_image_free(image);
    file[0x234] = 0;
    image = parse_ok(file, BZ_SIZE, NULL);
    assert_not_placed(image, "does not have");
    boot_image_free(image);
    guest_free();
}

static void test_bzimage_too_big(void)
{
    g_autofree uint8_t *file = bz_new();
    guest_new();
    store_le32(file + 0x260, 60 * MIB);
    BootImage *image = parse_ok(file, BZ_SIZE, NULL);
    assert_not_placed(image, "give it more with -m");
    boot_image_free(image);
    store_le32(file + 0x260, 40 * MIB);
    image = parse_ok(file, BZ_SIZE, NULL);
    g_autofree uint8_t *initrd = g_malloc0(48 * MIB);
    add_module(image, initrd, 48 * MIB, "initrd");
    assert_not_placed(image, "does not fit");
    boot_image_free(image);
    guest_free();
}

static void test_bzimage_refused(void)
{
    static const char long_line[] = "0123456789012345678901234567890123456789012345678901234567890"
                                    "1234";
    g_autofree uint8_t *file = bz_new();
    assert_refused(file, BZ_SETUP, NULL, "cut short");
    assert_refused(file, BZ_SIZE - 512, NULL, "cut short");
    assert_refused(file, 0x206, NULL, "older than 2.00");
    assert_refused(file, BZ_SIZE, long_line, "at most 64");
    file[0x1fe] = 0;
    assert_refused(file, BZ_SIZE, NULL, "signature");
    file[0x1fe] = 0x55;
    store_le16(file + 0x206, 0x01ff);
    assert_refused(file, BZ_SIZE, NULL, "older than 2.00");
    store_le16(file + 0x206, 0x020f);
    file[0x211] = 0;
    assert_refused(file, BZ_SIZE, NULL, "zImage");
    file[0x211] = 1;
    store_le32(file + 0x230, 0x300000);
    assert_refused(file, BZ_SIZE, NULL, "power of two");
    store_le32(file + 0x230, 0x200000);
    store_le64(file + 0x258, UINT64_MAX);
    assert_refused(file, BZ_SIZE, NULL, "below 4 GiB");
}

/* ---- ELF and PVH ---- */

#define ELF_SIZE  0x2000
#define ELF_ENTRY 0x1000040

static uint8_t *elf_new(bool with_note)
{
    uint8_t *file = g_malloc0(ELF_SIZE);
    Elf64_Ehdr ehdr = {
        .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_machine = EM_X86_64,
        .e_phoff = 64,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
        .e_entry = ELF_ENTRY,
    };
    Elf64_Phdr load = { .p_type = PT_LOAD,
                        .p_offset = 0x1000,
                        .p_paddr = 16 * MIB,
                        .p_filesz = 0x1000,
                        .p_memsz = 0x3000 };
    Elf64_Phdr note = { .p_type = PT_NOTE, .p_offset = 0x200, .p_filesz = 20, .p_align = 4 };
    memcpy(file, &ehdr, sizeof(ehdr));
    memcpy(file + 64, &load, sizeof(load));
    memcpy(file + 64 + sizeof(load), &note, sizeof(note));
    if (with_note) {
        store_le32(file + 0x200, 4);
        store_le32(file + 0x204, 4);
        store_le32(file + 0x208, 18);
        memcpy(file + 0x20c, "Xen", 4);
        store_le32(file + 0x210, ELF_ENTRY);
    }
    memset(file + 0x1000, 0x90, 0x1000);
    return file;
}

static void test_pvh_placed(void)
{
    static const uint8_t initrd[100] = { 9, 8, 7 };
    g_autofree uint8_t *file = elf_new(true);
    BootCpu cpu;
    guest_new();
    memset(machine.ram->host + 16 * MIB + 0x1000, 0xff, 0x2000); /* a former life's bss */
    BootImage *image = parse_ok(file, ELF_SIZE, "quiet");
    g_assert_cmpstr(boot_image_format(image), ==, "PVH");
    add_module(image, initrd, sizeof(initrd), "initrd");
    place_ok(image, &cpu);
    g_assert_cmpint(cpu.mode, ==, BOOT_CPU_PROTECTED);
    g_assert_cmphex(cpu.rip, ==, ELF_ENTRY);
    g_assert_cmphex(guest(16 * MIB)[0xfff], ==, 0x90);
    g_assert_cmphex(guest(16 * MIB)[0x1000], ==, 0);
    g_assert_cmphex(guest(16 * MIB)[0x2fff], ==, 0);
    const uint8_t *info = guest(cpu.rbx);
    g_assert_cmphex(load_le32(info), ==, 0x336ec578);
    g_assert_cmpuint(load_le32(info + 4), ==, 1);
    g_assert_cmpuint(load_le32(info + 12), ==, 1);
    const uint8_t *module = guest(load_le64(info + 16));
    g_assert_cmpmem(guest(load_le64(module)), 3, initrd, 3);
    g_assert_cmpuint(load_le64(module + 8), ==, sizeof(initrd));
    g_assert_cmpstr((const char *)guest(load_le64(info + 24)), ==, "quiet");
    g_assert_cmphex(load_le64(info + 32), ==, 0xe0000);
    g_assert_cmpuint(load_le32(info + 48), ==, map.count);
    const uint8_t *memmap = guest(load_le64(info + 40));
    g_assert_cmphex(load_le64(memmap + 3 * 24), ==, MIB);
    boot_image_free(image);
    guest_free();
}

static void elf_phdr_field(uint8_t *file, size_t field, uint64_t value)
{
    store_le64(file + 64 + field, value);
}

static void test_elf_refused(void)
{
    g_autofree uint8_t *plain = elf_new(false);
    g_autofree uint8_t *file = elf_new(true);
    assert_refused(plain, ELF_SIZE, NULL, "no PVH entry");
    assert_refused(file, 16, NULL, "not for x86");
    assert_refused(file, 100, NULL, "program headers");
    assert_refused(file, ELF_SIZE - 1, NULL, "cut short");
    file[EI_DATA] = ELFDATA2MSB;
    assert_refused(file, ELF_SIZE, NULL, "big-endian");
    file[EI_DATA] = ELFDATA2LSB;
    file[EI_CLASS] = 7;
    assert_refused(file, ELF_SIZE, NULL, "neither 32-bit nor 64-bit");
    file[EI_CLASS] = ELFCLASS64;
    store_le16(file + offsetof(Elf64_Ehdr, e_machine), EM_AARCH64);
    assert_refused(file, ELF_SIZE, NULL, "not for x86");
    store_le16(file + offsetof(Elf64_Ehdr, e_machine), EM_X86_64);
    store_le64(file + offsetof(Elf64_Ehdr, e_phoff), UINT64_MAX - 8);
    assert_refused(file, ELF_SIZE, NULL, "program headers");
    store_le64(file + offsetof(Elf64_Ehdr, e_phoff), 64);
    elf_phdr_field(file, offsetof(Elf64_Phdr, p_memsz), 0x800);
    assert_refused(file, ELF_SIZE, NULL, "larger in the file");
    elf_phdr_field(file, offsetof(Elf64_Phdr, p_memsz), 0x3000);
    elf_phdr_field(file, offsetof(Elf64_Phdr, p_paddr), UINT64_MAX - 0x1000);
    assert_refused(file, ELF_SIZE, NULL, "end of the address space");
    elf_phdr_field(file, offsetof(Elf64_Phdr, p_paddr), 32 * MIB);
    assert_refused(file, ELF_SIZE, NULL, "none of its segments");
}

static void test_elf_outside_ram(void)
{
    g_autofree uint8_t *file = elf_new(true);
    guest_new();
    elf_phdr_field(file, offsetof(Elf64_Phdr, p_memsz), 60 * MIB);
    BootImage *image = parse_ok(file, ELF_SIZE, NULL);
    assert_not_placed(image, "does not lie in free RAM");
    boot_image_free(image);
    guest_free();
}

/* ---- Multiboot ---- */

#define MB_SIZE 0x1000

static uint8_t *multiboot_new(void)
{
    uint8_t *file = g_malloc0(MB_SIZE);
    uint32_t flags = 1u << 16 | 3;
    store_le32(file + 0x20, 0x1badb002);
    store_le32(file + 0x24, flags);
    store_le32(file + 0x28, -(0x1badb002 + flags));
    store_le32(file + 0x2c, 0x200020); /* header */
    store_le32(file + 0x30, 0x200000); /* load */
    store_le32(file + 0x34, 0);        /* to the end of the file */
    store_le32(file + 0x38, 0x202000); /* bss end */
    store_le32(file + 0x3c, 0x200040); /* entry */
    return file;
}

static void test_multiboot_placed(void)
{
    static const uint8_t first[10] = { 1 }, second[20] = { 2 };
    g_autofree uint8_t *file = multiboot_new();
    BootCpu cpu;
    guest_new();
    BootImage *image = parse_ok(file, MB_SIZE, "arg");
    g_assert_cmpstr(boot_image_format(image), ==, "multiboot");
    add_module(image, first, sizeof(first), "one 1");
    add_module(image, second, sizeof(second), "two");
    place_ok(image, &cpu);
    g_assert_cmphex(cpu.rip, ==, 0x200040);
    g_assert_cmphex(cpu.rax, ==, 0x2badb002);
    const uint8_t *info = guest(cpu.rbx);
    g_assert_cmphex(load_le32(info), ==, 1 | 4 | 8 | 0x40 | 0x200);
    g_assert_cmpuint(load_le32(info + 8), ==, (RAM_SIZE - 2 * MIB) / KIB);
    g_assert_cmpstr((const char *)guest(load_le32(info + 16)), ==, "made-up arg");
    g_assert_cmpuint(load_le32(info + 20), ==, 2);
    const uint8_t *modules = guest(load_le32(info + 24));
    g_assert_cmphex(load_le32(modules), ==, 0x202000);
    g_assert_cmphex(load_le32(modules + 4), ==, 0x20200a);
    g_assert_cmpstr((const char *)guest(load_le32(modules + 8)), ==, "one 1");
    g_assert_cmphex(load_le32(modules + 16), ==, 0x203000);
    g_assert_cmphex(guest(0x203000)[0], ==, 2);
    g_assert_cmpuint(load_le32(info + 44), ==, 24 * map.count);
    boot_image_free(image);
    guest_free();
}

static void test_multiboot_refused(void)
{
    g_autofree uint8_t *file = multiboot_new();
    store_le32(file + 0x3c, 0x300000);
    assert_refused(file, MB_SIZE, NULL, "entry lies outside");
    store_le32(file + 0x3c, 0x200040);
    store_le32(file + 0x34, 0x300000);
    assert_refused(file, MB_SIZE, NULL, "cut short");
    store_le32(file + 0x34, 0x200800);
    store_le32(file + 0x38, 0x200400);
    assert_refused(file, MB_SIZE, NULL, "bss");
    store_le32(file + 0x30, 0x100000);
    assert_refused(file, MB_SIZE, NULL, "outside the file");
    store_le32(file + 0x24, 1u << 7);
    store_le32(file + 0x28, -(0x1badb002 + (1u << 7)));
    assert_refused(file, MB_SIZE, NULL, "requires features");
    store_le32(file + 0x24, 0);
    store_le32(file + 0x28, -0x1badb002u);
    assert_refused(file, MB_SIZE, NULL, "not an ELF file");
}

/* ---- Others ---- */

static void test_unknown(void)
{
    static const uint8_t nothing[600] = { 'M', 'Z' }, gzip[600] = { 0x1f, 0x8b };
    assert_refused(nothing, sizeof(nothing), NULL, "neither");
    assert_refused(gzip, sizeof(gzip), NULL, "gzip");
    assert_refused(nothing, 1, NULL, "neither");
}

static void test_files(void)
{
    GError *error = NULL;
    g_assert_null(boot_image_load("/nonexistent/vmlinuz", NULL, NULL, &error));
    g_assert_nonnull(strstr(error->message, "No such file"));
    g_clear_error(&error);
    g_assert_null(boot_image_load("/", NULL, NULL, &error));
    g_assert_nonnull(strstr(error->message, "not a regular file"));
    g_clear_error(&error);
}

static void test_room(void)
{
    BootRoom room;
    guest_new();
    boot_room_init(&room, &machine, &map);
    g_assert_true(boot_room_take(&room, MIB, 4096));
    g_assert_false(boot_room_take(&room, MIB + 4095, 1));
    g_assert_false(boot_room_take(&room, RAM_SIZE - 2 * MIB, 2 * MIB));
    g_assert_false(boot_room_take(&room, UINT64_MAX, 2));
    g_assert_false(boot_room_take(&room, MIB, 0));
    g_assert_cmphex(boot_room_take_low(&room, 100, 4096, MIB, 4 * GIB), ==, MIB + 4096);
    g_assert_cmphex(boot_room_take_low(&room, 100, 4096, MIB, MIB + 4096), ==, 0);
    g_assert_cmphex(boot_room_take_high(&room, 100, 4096, 4096, 0xa0000), ==, 0x9f000);
    g_assert_cmphex(boot_room_take_high(&room, 100, 4096, 4096, 0xa0000), ==, 0x9e000);
    g_assert_cmphex(boot_room_take_high(&room, UINT64_MAX, 4096, 0, UINT64_MAX), ==, 0);
    g_assert_cmphex(boot_room_take_low(&room, UINT64_MAX, 4096, 0, UINT64_MAX), ==, 0);
    boot_room_clear(&room);
    guest_free();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rcu_register_thread();
    g_test_add_func("/boot/bzimage/zero-page-initrd-and-command-line", test_bzimage_placed);
    g_test_add_func("/boot/bzimage/first-4-gib-map-to-themselves", test_bzimage_page_tables);
    g_test_add_func("/boot/bzimage/32-bit-and-old-protocols", test_bzimage_32bit);
    g_test_add_func("/boot/bzimage/moves-away-from-what-is-reserved", test_bzimage_relocated);
    g_test_add_func("/boot/bzimage/too-little-memory-is-said", test_bzimage_too_big);
    g_test_add_func("/boot/bzimage/malformed-is-refused-with-a-reason", test_bzimage_refused);
    g_test_add_func("/boot/pvh/start-info-and-cleared-bss", test_pvh_placed);
    g_test_add_func("/boot/pvh/malformed-is-refused-with-a-reason", test_elf_refused);
    g_test_add_func("/boot/pvh/segments-outside-ram-are-refused", test_elf_outside_ram);
    g_test_add_func("/boot/multiboot/information-and-modules", test_multiboot_placed);
    g_test_add_func("/boot/multiboot/malformed-is-refused-with-a-reason", test_multiboot_refused);
    g_test_add_func("/boot/what-is-no-kernel-is-refused", test_unknown);
    g_test_add_func("/boot/files-that-cannot-be-read-are-named", test_files);
    g_test_add_func("/boot/room-is-given-once-and-only-in-ram", test_room);
    return g_test_run();
}
