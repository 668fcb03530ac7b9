/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel images: any file is refused or placed inside RAM. */
#include <stddef.h>
#include <urcu.h>
#include "vmm/boot/boot_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_SIZE (32 * MIB)

static Machine machine;
static MemRegion ram_region;
static const MemoryMap map = {
    .entries = { { 0, 0x9fc00, MEMORY_MAP_RAM },
                 { 0x9fc00, 0x400, MEMORY_MAP_RESERVED },
                 { MIB, RAM_SIZE - MIB, MEMORY_MAP_RAM } },
    .count = 3,
};

static void guest_new(void)
{
    RamOptions options = { .size = RAM_SIZE };
    rcu_register_thread();
    machine.memory = address_space_new("memory", UINT64_MAX);
    machine.ram = ram_block_new("ram", &options, NULL);
    mem_region_init_ram(&ram_region, "ram", machine.ram, 0, RAM_SIZE, false);
    address_space_map(machine.memory, &ram_region, 0, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    BootCpu cpu;
    if (!machine.memory) {
        guest_new();
    }
    BootImage *image =
        boot_image_new(boot_source_new_memory("fuzz", data, size), "command line", &error);
    g_assert((image == NULL) == (error != NULL));
    if (image) {
        bool placed = boot_image_place(image, &machine, &map, 0, &cpu, &error);
        g_assert(placed == (error == NULL));
    }
    boot_image_free(image);
    return 0;
}
