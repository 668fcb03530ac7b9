/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The boot order. */
#include "vmm/device/boot_order.h"

#include "vmm/machine/machine.h"

static int32_t device_bootindex(const Device *dev)
{
    size_t base;
    const Property *prop = device_class_find_prop(dev->cls, "bootindex", &base);
    if (!prop || prop->type != PROP_TYPE_I32) {
        return -1;
    }
    return *(const int32_t *)((const uint8_t *)dev + base + prop->offset);
}

typedef struct Clash {
    const Device *dev, *other;
} Clash;

static void find_clash(Device *dev, void *opaque)
{
    Clash *clash = opaque;
    if (dev != clash->dev && device_bootindex(dev) == device_bootindex(clash->dev)) {
        clash->other = dev;
    }
}

const OptionRom *option_rom_find(const GPtrArray *roms, int index)
{
    for (guint i = 0; roms && i < roms->len; i++) {
        const OptionRom *rom = g_ptr_array_index(roms, i);
        if (rom->bootindex == index) {
            return rom;
        }
    }
    return NULL;
}

bool boot_order_check(const Device *dev, GError **error)
{
    Clash clash = { .dev = dev };
    int32_t index = device_bootindex(dev);
    if (index < 0) {
        return true;
    }
    device_foreach(dev->machine, find_clash, &clash);
    const OptionRom *rom = option_rom_find(dev->machine->config->option_roms, index);
    if (!clash.other && !rom) {
        return true;
    }
    g_autofree char *path = clash.other ? device_path(clash.other) : g_strdup("-option-rom");
    return error_set(error, "bootindex=%d is taken: by %s (%s); give each device its own", index,
                     path, clash.other ? clash.other->cls->name : rom->file);
}

char *device_firmware_path(const Device *dev)
{
    g_autofree char *above = dev->bus && dev->bus->parent ? device_firmware_path(dev->bus->parent)
                                                          : g_strdup("");
    g_autofree char *name = NULL;
    if (dev->cls->firmware_name) {
        name = dev->cls->firmware_name(dev);
    } else if (dev->bus && dev->bus->firmware_name) {
        name = dev->bus->firmware_name(dev->bus, dev);
    }
    return g_strconcat(above, name ? "/" : NULL, name, NULL);
}

/* What firmware can boot from, by the name that firmware has for it. */
typedef struct BootEntry {
    int index;
    char *path;
} BootEntry;

static void clear_entry(gpointer data)
{
    g_free(((BootEntry *)data)->path);
}

static void collect(Device *dev, void *opaque)
{
    BootEntry entry = { .index = device_bootindex(dev) };
    if (entry.index >= 0) {
        entry.path = device_firmware_path(dev);
        g_array_append_val((GArray *)opaque, entry);
    }
}

static void collect_roms(const Machine *machine, GArray *entries)
{
    GPtrArray *roms = machine->config->option_roms;
    for (guint i = 0; roms && i < roms->len; i++) {
        const OptionRom *rom = g_ptr_array_index(roms, i);
        g_autofree char *name = g_path_get_basename(rom->file);
        if (rom->bootindex >= 0) {
            BootEntry entry = { rom->bootindex, g_strconcat("/rom@genroms/", name, NULL) };
            g_array_append_val(entries, entry);
        }
    }
}

static gint compare(gconstpointer a, gconstpointer b)
{
    const BootEntry *first = a, *second = b;
    return first->index < second->index ? -1 : first->index > second->index;
}

char *boot_order_text(Machine *machine, bool strict)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(BootEntry));
    g_array_set_clear_func(entries, clear_entry);
    device_foreach(machine, collect, entries);
    collect_roms(machine, entries);
    if (entries->len == 0) {
        return NULL;
    }
    g_array_sort(entries, compare);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < entries->len; i++) {
        g_string_append_printf(text, "%s%s", i ? "\n" : "",
                               g_array_index(entries, BootEntry, i).path);
    }
    if (strict) {
        g_string_append(text, "\nHALT");
    }
    return g_string_free(text, FALSE);
}
