/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directly loaded kernels: recognising the format, the initrd, and what is common to placing. */
#include <string.h>
#include "vmm/boot/boot_private.h"

static void module_free(gpointer data)
{
    BootModule *module = data;
    boot_source_free(module->source);
    g_free(module->args);
    g_free(module);
}

void boot_image_free(BootImage *image)
{
    if (!image) {
        return;
    }
    boot_source_free(image->kernel);
    g_ptr_array_unref(image->modules);
    elf_clear(&image->elf);
    g_free(image->append);
    g_free(image->kernel_path);
    g_free(image);
}

const char *boot_image_format(const BootImage *image)
{
    switch (image->format) {
    case BOOT_BZIMAGE:
        return "bzImage";
    case BOOT_PVH:
        return "PVH";
    default:
        return "multiboot";
    }
}

static bool image_unknown(BootImage *image, GError **error)
{
    uint8_t magic[2] = { 0 };
    if (image->kernel->size >= 2) {
        boot_source_read(image->kernel, 0, magic, 2, NULL);
    }
    if (magic[0] == 0x1f && magic[1] == 0x8b) {
        return error_set(error,
                         "could not load kernel '%s': it is compressed with gzip as a whole; "
                         "unpack it first (gunzip)",
                         image->kernel->name);
    }
    return error_set(error,
                     "could not load kernel '%s': it is neither a Linux bzImage, nor an ELF "
                     "file with a PVH entry, nor a multiboot image",
                     image->kernel->name);
}

static bool image_parse(BootImage *image, GError **error)
{
    if (bzimage_probe(image->kernel)) {
        image->format = BOOT_BZIMAGE;
        return bzimage_parse(image, error);
    }
    if (elf_probe(image->kernel)) {
        if (!elf_parse(image->kernel, &image->elf, error)) {
            return false;
        }
        /* Multiboot wins for 32-bit files, as in QEMU; 64-bit ones with both want PVH. */
        if (multiboot_probe(image->kernel) && !(image->elf.is64 && image->elf.has_pvh)) {
            image->format = BOOT_MULTIBOOT;
            return multiboot_parse(image, error);
        }
        image->format = BOOT_PVH;
        return pvh_parse(image, error);
    }
    if (multiboot_probe(image->kernel)) {
        image->format = BOOT_MULTIBOOT;
        return multiboot_parse(image, error);
    }
    return image_unknown(image, error);
}

BootImage *boot_image_new(BootSource *kernel, const char *append, GError **error)
{
    BootImage *image = g_new0(BootImage, 1);
    image->kernel = kernel;
    image->kernel_path = g_strdup(kernel->name);
    image->append = g_strdup(append ? append : "");
    image->modules = g_ptr_array_new_with_free_func(module_free);
    if (!image_parse(image, error)) {
        boot_image_free(image);
        return NULL;
    }
    return image;
}

static bool image_add_module(BootImage *image, const char *path, const char *args, GError **error)
{
    BootSource *source = boot_source_open(path, error);
    if (!source) {
        g_prefix_error(error, "initrd: ");
        return false;
    }
    BootModule *module = g_new0(BootModule, 1);
    module->source = source;
    module->args = g_strdup(args);
    g_ptr_array_add(image->modules, module);
    return true;
}

/* The next element of "file args,file2 args": ",," stands for a comma. */
static char *module_next(const char **text)
{
    GString *element = g_string_new(NULL);
    const char *p = *text;
    while (*p && !(p[0] == ',' && p[1] != ',')) {
        g_string_append_c(element, *p);
        p += p[0] == ',' ? 2 : 1;
    }
    *text = *p ? p + 1 : p;
    return g_string_free(element, FALSE);
}

static bool image_add_module_list(BootImage *image, const char *list, GError **error)
{
    const char *rest = list;
    do {
        g_autofree char *args = module_next(&rest);
        const char *space = strchr(args, ' ');
        g_autofree char *path = space ? g_strndup(args, (gsize)(space - args)) : g_strdup(args);
        if (!image_add_module(image, path, args, error)) {
            return false;
        }
    } while (*rest);
    return true;
}

BootImage *boot_image_load(const char *kernel, const char *initrd, const char *append,
                           GError **error)
{
    BootSource *source = boot_source_open(kernel, error);
    if (!source) {
        g_prefix_error(error, "kernel: ");
        return NULL;
    }
    BootImage *image = boot_image_new(source, append, error);
    if (!image || !initrd) {
        return image;
    }
    bool done = image->format == BOOT_MULTIBOOT ? image_add_module_list(image, initrd, error)
                                                : image_add_module(image, initrd, initrd, error);
    if (!done) {
        boot_image_free(image);
        return NULL;
    }
    return image;
}

bool boot_image_place(BootImage *image, Machine *machine, const MemoryMap *map, uint64_t rsdp,
                      BootCpu *cpu, GError **error)
{
    BootRoom room;
    bool done;
    *cpu = (BootCpu){ 0 };
    boot_room_init(&room, machine, map);
    switch (image->format) {
    case BOOT_BZIMAGE:
        done = bzimage_place(image, &room, rsdp, cpu, error);
        break;
    case BOOT_PVH:
        done = pvh_place(image, &room, rsdp, cpu, error);
        break;
    default:
        done = multiboot_place(image, &room, cpu, error);
        break;
    }
    boot_room_clear(&room);
    return done;
}
