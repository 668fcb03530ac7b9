/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Linux kernel started by firmware: the parts of a bzImage as the boot loaders in firmware fetch
 * them, its setup header filled in (Linux Documentation/arch/x86/boot.rst).
 */
#include <string.h>
#include "vmm/boot/boot_private.h"

enum {
    HDR_LOADER_TYPE = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_HEAP_END = 0x224,
    HDR_CMDLINE = 0x228,
};

#define LOADER_QEMU    0xb0
#define CAN_USE_HEAP   0x80
#define SETUP_ADDR     0x10000
#define CMDLINE_ADDR   0x20000
#define KERNEL_ADDR    0x100000
#define HEAP_END       (CMDLINE_ADDR - SETUP_ADDR - 0x200)
#define TABLES_ROOM    (256 * KIB) /* firmware's own, at the top of low RAM */
#define SETUP_MAX      (64 * KIB)
#define VERSION_OLDEST 0x0202 /* 32-bit pointer to the command line */

static uint8_t *read_part(BootSource *source, uint64_t offset, uint64_t len, GError **error)
{
    uint8_t *data = g_try_malloc(len);
    if (!data) {
        error_set(error, "no memory for %" PRIu64 " MiB of '%s'", boot_mib(len), source->name);
    } else if (!boot_source_read(source, offset, data, len, error)) {
        g_clear_pointer(&data, g_free);
    }
    return data;
}

static bool load_initrd(FirmwareKernel *out, const BootImage *image, uint64_t ram_top,
                        GError **error)
{
    if (image->modules->len == 0) {
        return true;
    }
    BootSource *source = ((BootModule *)image->modules->pdata[0])->source;
    uint64_t limit = MIN(image->bz.initrd_max + 1, ram_top - TABLES_ROOM);
    uint64_t lowest = KERNEL_ADDR + image->bz.init_size;
    if (limit < lowest || source->size > limit - lowest) {
        return error_set(error,
                         "initrd '%s' of %" PRIu64
                         " MiB does not fit into the machine's RAM beside "
                         "the kernel; give it more with -m",
                         source->name, boot_mib(source->size));
    }
    out->initrd_size = (uint32_t)source->size;
    out->initrd_addr = (uint32_t)ALIGN_DOWN(limit - source->size, BOOT_PAGE);
    out->initrd = read_part(source, 0, source->size, error);
    return out->initrd != NULL;
}

static void patch_setup(FirmwareKernel *out)
{
    uint8_t *setup = out->setup;
    setup[HDR_LOADER_TYPE] = LOADER_QEMU;
    setup[HDR_LOADFLAGS] |= CAN_USE_HEAP;
    store_le16(setup + HDR_HEAP_END, HEAP_END);
    store_le32(setup + HDR_CMDLINE, CMDLINE_ADDR);
    store_le32(setup + HDR_RAMDISK_IMAGE, out->initrd_addr);
    store_le32(setup + HDR_RAMDISK_SIZE, out->initrd_size);
}

static bool load_parts(FirmwareKernel *out, const BootImage *image, uint64_t ram_top,
                       GError **error)
{
    const BzImage *bz = &image->bz;
    if (image->format != BOOT_BZIMAGE || bz->version < VERSION_OLDEST) {
        return error_set(error,
                         "kernel '%s': with -bios only a Linux bzImage of boot protocol 2.02 or "
                         "newer is started; leave out -bios to start this one directly",
                         image->kernel->name);
    }
    if (bz->kernel_offset > SETUP_MAX || ram_top < KERNEL_ADDR + TABLES_ROOM ||
        bz->kernel_size > ram_top - KERNEL_ADDR - TABLES_ROOM) {
        return error_set(error,
                         "kernel '%s' does not fit into the machine's RAM; give it more with "
                         "-m",
                         image->kernel->name);
    }
    out->setup_size = (uint32_t)bz->kernel_offset;
    out->kernel_size = (uint32_t)bz->kernel_size;
    out->setup = read_part(image->kernel, 0, bz->kernel_offset, error);
    out->kernel = out->setup ? read_part(image->kernel, bz->kernel_offset, bz->kernel_size, error)
                             : NULL;
    return out->kernel && load_initrd(out, image, ram_top, error);
}

bool firmware_kernel_load(FirmwareKernel *out, const char *kernel, const char *initrd,
                          const char *append, uint64_t ram_top, GError **error)
{
    BootImage *image = boot_image_load(kernel, initrd, append, error);
    *out = (FirmwareKernel){ .setup_addr = SETUP_ADDR,
                             .kernel_addr = KERNEL_ADDR,
                             .cmdline_addr = CMDLINE_ADDR };
    if (!image) {
        return false;
    }
    bool ok = load_parts(out, image, ram_top, error);
    boot_image_free(image);
    if (!ok) {
        g_free(out->setup);
        g_free(out->kernel);
        g_free(out->initrd);
        return false;
    }
    patch_setup(out);
    out->cmdline = g_strdup(append ? append : "");
    return true;
}
