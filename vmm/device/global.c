/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties of all devices of a class, the board's own among them: those of the machine's version,
 * then -global. */
#include "vmm/device/device.h"

#include <string.h>

typedef struct Global {
    const DeviceClass *cls;
    char *property, *value;
} Global;

static GArray *globals;
static const CompatProp *const *compat_tables;

bool device_global_add(const DeviceClass *cls, const char *property, const char *value,
                       GError **error)
{
    Device *trial = device_new(cls, NULL);
    bool ok = device_set_prop(trial, property, value, error);
    device_free(trial);
    if (!ok) {
        return false;
    }
    if (!globals) {
        globals = g_array_new(FALSE, FALSE, sizeof(Global));
    }
    Global global = { cls, g_strdup(property), g_strdup(value) };
    g_array_append_val(globals, global);
    return true;
}

void device_compat_set(const CompatProp *const *tables)
{
    compat_tables = tables;
}

static void apply_compat(Device *dev)
{
    for (const CompatProp *const *table = compat_tables; table && *table; table++) {
        for (const CompatProp *row = *table; row->driver; row++) {
            size_t base;
            if (strcmp(row->driver, dev->cls->name) != 0 ||
                dev->cls->category == DEVICE_CATEGORY_CPU) {
                continue;
            }
            const Property *prop = device_class_find_prop(dev->cls, row->property, &base);
            bool ok = prop && property_set_string((uint8_t *)dev + base, prop, row->value, NULL);
            g_assert(ok); /* the tables are ours; a test reads them all */
        }
    }
}

void device_globals_apply(Device *dev)
{
    apply_compat(dev);
    for (guint i = 0; globals && i < globals->len; i++) {
        const Global *global = &g_array_index(globals, Global, i);
        if (global->cls == dev->cls) {
            /* It was tried when it was added. */
            device_set_prop(dev, global->property, global->value, NULL);
        }
    }
}
