/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the loader left in memory: PVH start_info, multiboot information, Linux boot_params. */
#include "kit.h"

typedef struct HvmStartInfo {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
} HvmStartInfo;

typedef struct HvmMemmapEntry {
    uint64_t addr, size;
    uint32_t type, reserved;
} HvmMemmapEntry;

typedef struct HvmModule {
    uint64_t paddr, size, cmdline, reserved;
} HvmModule;

typedef struct E820Entry {
    uint64_t addr, size;
    uint32_t type;
} __attribute__((packed)) E820Entry;

static void add_range(uint64_t start, uint64_t size, uint32_t type)
{
    if (boot_info.range_count < ARRAY_LEN(boot_info.ranges)) {
        boot_info.ranges[boot_info.range_count++] = (MemRange){ start, size, type };
    }
}

static void read_pvh(uint64_t at)
{
    const HvmStartInfo *info = (const void *)at;
    const HvmMemmapEntry *map = (const void *)info->memmap;
    const HvmModule *mod = (const void *)info->modlist;

    expect(info->magic == 0x336ec578, "PVH start_info magic %x", info->magic);
    boot_info.cmdline = (const char *)info->cmdline;
    boot_info.rsdp = info->rsdp;
    for (uint32_t i = 0; info->version >= 1 && i < info->memmap_entries; i++) {
        add_range(map[i].addr, map[i].size, map[i].type);
    }
    if (info->nr_modules > 0) {
        boot_info.initrd = mod[0].paddr;
        boot_info.initrd_size = mod[0].size;
    }
}

static void read_multiboot(uint64_t at)
{
    uint32_t flags = read32(at);

    if (flags & 0x04) {
        boot_info.cmdline = (const char *)(uint64_t)read32(at + 16);
    }
    if ((flags & 0x08) && read32(at + 20) > 0) {
        uint64_t mods = read32(at + 24);

        boot_info.initrd = read32(mods);
        boot_info.initrd_size = read32(mods + 4) - read32(mods);
    }
    if (flags & 0x40) {
        uint64_t p = read32(at + 48), end = p + read32(at + 44);

        while (p < end) {
            const E820Entry *e = (const void *)(p + 4);

            add_range(e->addr, e->size, e->type);
            p += read32(p) + 4;
        }
    }
}

static void read_linux(uint64_t at)
{
    const E820Entry *map = (const void *)(at + 0x2d0);
    uint32_t count = read8(at + 0x1e8);

    expect(read32(at + 0x202) == 0x53726448, "boot_params has no HdrS");
    boot_info.cmdline = (const char *)(uint64_t)read32(at + 0x228);
    boot_info.initrd = read32(at + 0x218);
    boot_info.initrd_size = read32(at + 0x21c);
    boot_info.rsdp = *(const uint64_t *)(at + 0x70);
    for (uint32_t i = 0; i < count && i < 128; i++) {
        add_range(map[i].addr, map[i].size, map[i].type);
    }
}

/* Called by head.S. */
void kit_start(uint32_t how, uint64_t info);

void kit_start(uint32_t how, uint64_t info)
{
    boot_info.how = how;
    if (how == BOOT_PVH) {
        read_pvh(info);
    } else if (how == BOOT_MULTIBOOT) {
        read_multiboot(info);
    } else if (how == BOOT_LINUX32 || how == BOOT_LINUX64) {
        read_linux(info);
    } else if (how == BOOT_ROM) {
        boot_info.cmdline = (const char *)info;
    } else {
        fail("unknown boot protocol");
    }
    guest_main();
    guest_exit(0);
}
