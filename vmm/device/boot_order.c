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

bool boot_order_check(const Device *dev, GError **error)
{
    Clash clash = { .dev = dev };
    if (device_bootindex(dev) < 0) {
        return true;
    }
    device_foreach(dev->machine, find_clash, &clash);
    if (!clash.other) {
        return true;
    }
    g_autofree char *path = device_path(clash.other);
    return error_set(error,
                     "The bootindex %d has already been used: by %s (%s); give each device its own",
                     device_bootindex(dev), path, clash.other->cls->name);
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

static void collect(Device *dev, void *opaque)
{
    if (device_bootindex(dev) >= 0) {
        g_ptr_array_add(opaque, dev);
    }
}

static gint compare(gconstpointer a, gconstpointer b)
{
    int32_t first = device_bootindex(*(const Device *const *)a);
    int32_t second = device_bootindex(*(const Device *const *)b);
    return first < second ? -1 : first > second;
}

char *boot_order_text(Machine *machine, bool strict)
{
    g_autoptr(GPtrArray) devices = g_ptr_array_new();
    device_foreach(machine, collect, devices);
    if (devices->len == 0) {
        return NULL;
    }
    g_ptr_array_sort(devices, compare);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < devices->len; i++) {
        g_autofree char *path = device_firmware_path(g_ptr_array_index(devices, i));
        g_string_append_printf(text, "%s%s", i ? "\n" : "", path);
    }
    if (strict) {
        g_string_append(text, "\nHALT");
    }
    return g_string_free(text, FALSE);
}
