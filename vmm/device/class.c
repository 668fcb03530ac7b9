/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device classes: finding them and their properties, and describing them to the user. */
#include <stdlib.h>
#include <string.h>
#include "vmm/device/device.h"
#include "vmm/device/parse.h"

#define HELP_COLUMN 24

static GPtrArray *classes; /* const DeviceClass *, sorted by name */

static const char *const category_titles[DEVICE_CATEGORY_COUNT] = {
    [DEVICE_CATEGORY_BRIDGE] = "Controller/Bridge/Hub",
    [DEVICE_CATEGORY_STORAGE] = "Storage",
    [DEVICE_CATEGORY_NETWORK] = "Network",
    [DEVICE_CATEGORY_INPUT] = "Input",
    [DEVICE_CATEGORY_DISPLAY] = "Display",
    [DEVICE_CATEGORY_SOUND] = "Sound",
    [DEVICE_CATEGORY_MISC] = "Misc",
    [DEVICE_CATEGORY_CPU] = "CPU",
};

static int compare_classes(gconstpointer a, gconstpointer b)
{
    const DeviceClass *const *first = a;
    const DeviceClass *const *second = b;
    return strcmp((*first)->name, (*second)->name);
}

void device_classes_register(const DeviceClass *const *table)
{
    if (!classes) {
        classes = g_ptr_array_new();
    }
    for (; *table; table++) {
        g_assert(!device_class_find((*table)->name));
        g_ptr_array_add(classes, (gpointer)*table);
    }
    g_ptr_array_sort(classes, compare_classes);
}

const DeviceClass *device_class_find(const char *name)
{
    for (guint i = 0; classes && i < classes->len; i++) {
        const DeviceClass *cls = g_ptr_array_index(classes, i);
        if (strcmp(cls->name, name) == 0 || (cls->alias && strcmp(cls->alias, name) == 0)) {
            return cls;
        }
    }
    /* vCPUs are named after their model: "EPYC-x86_64-cpu". */
    bool cpu = g_str_has_suffix(name, "-x86_64-cpu");
    return cpu ? device_class_find("x86_64-cpu") : NULL;
}

void device_class_foreach(void (*fn)(const DeviceClass *cls, void *opaque), void *opaque)
{
    for (guint i = 0; classes && i < classes->len; i++) {
        fn(g_ptr_array_index(classes, i), opaque);
    }
}

char *device_class_suggest(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = G_MAXUINT;
    for (guint i = 0; classes && i < classes->len; i++) {
        const DeviceClass *cls = g_ptr_array_index(classes, i);
        const char *names[] = { cls->name, cls->alias };
        for (size_t j = 0; j < G_N_ELEMENTS(names) && !cls->internal; j++) {
            unsigned distance = names[j] ? word_distance(name, names[j]) : G_MAXUINT;
            if (distance < best_distance) {
                best = names[j];
                best_distance = distance;
            }
        }
    }
    return best && word_is_near(name, best_distance) ? g_strdup(best) : NULL;
}

/* ---- Properties ---- */

void device_class_foreach_prop(const DeviceClass *cls,
                               void (*fn)(const Property *prop, size_t base, void *opaque),
                               void *opaque)
{
    for (const Property *prop = cls->props; prop && prop->name; prop++) {
        fn(prop, 0, opaque);
    }
    for (const PropertyGroup *group = cls->groups; group && group->props; group++) {
        for (const Property *prop = group->props; prop->name; prop++) {
            fn(prop, group->base, opaque);
        }
    }
}

static const Property *find_in(const Property *props, const char *name)
{
    for (const Property *prop = props; prop && prop->name; prop++) {
        if (strcmp(prop->name, name) == 0) {
            return prop;
        }
    }
    return NULL;
}

const Property *device_class_find_prop(const DeviceClass *cls, const char *name, size_t *base)
{
    const Property *prop = find_in(cls->props, name);
    *base = 0;
    for (const PropertyGroup *group = cls->groups; !prop && group && group->props; group++) {
        prop = find_in(group->props, name);
        *base = group->base;
    }
    return prop;
}

/* ---- Help ---- */

static void help_line(const DeviceClass *cls, GString *out)
{
    g_string_append_printf(out, "name \"%s\", bus %s", cls->name, bus_type_name(cls->bus));
    if (cls->alias) {
        g_string_append_printf(out, ", alias \"%s\"", cls->alias);
    }
    if (cls->desc) {
        g_string_append_printf(out, ", desc \"%s\"", cls->desc);
    }
    g_string_append_c(out, '\n');
}

void device_help_list(GString *out)
{
    for (int category = 0; category < DEVICE_CATEGORY_COUNT; category++) {
        bool titled = false;
        for (guint i = 0; classes && i < classes->len; i++) {
            const DeviceClass *cls = g_ptr_array_index(classes, i);
            if ((int)cls->category != category || cls->internal) {
                continue;
            }
            if (!titled) {
                g_string_append_printf(out, "%s%s devices:\n", out->len ? "\n" : "",
                                       category_titles[category]);
                titled = true;
            }
            help_line(cls, out);
        }
    }
}

static char *default_text(const Property *prop)
{
    switch (prop->type) {
    case PROP_TYPE_BOOL:
        return g_strdup(prop->def ? "true" : "false");
    case PROP_TYPE_ENUM:
        return g_strdup_printf("\"%s\"", prop->names[prop->def]);
    case PROP_TYPE_ONOFFAUTO: {
        static const char *const names[] = { "auto", "on", "off" };
        return g_strdup_printf("\"%s\"", names[prop->def]);
    }
    case PROP_TYPE_STRING:
    case PROP_TYPE_MAC:
        return prop->def_string ? g_strdup_printf("\"%s\"", prop->def_string) : NULL;
    case PROP_TYPE_REF:
    case PROP_TYPE_JSON:
        return NULL;
    case PROP_TYPE_U64:
    case PROP_TYPE_SIZE:
        return g_strdup_printf("%" G_GUINT64_FORMAT, (uint64_t)prop->def);
    default:
        return g_strdup_printf("%" G_GINT64_FORMAT, prop->def);
    }
}

char *help_option_line(const char *name, const char *type, const char *desc, const char *preset)
{
    GString *line = g_string_new(NULL);
    g_string_append_printf(line, "  %s=<%s>", name, type);
    if (desc || preset) {
        while (line->len < HELP_COLUMN) {
            g_string_append_c(line, ' ');
        }
        g_string_append(line, " - ");
    }
    g_string_append(line, desc ? desc : "");
    if (preset) {
        g_string_append_printf(line, " (default: %s)", preset);
    }
    g_string_append_c(line, '\n');
    return g_string_free(line, FALSE);
}

char *property_help_line(const Property *prop)
{
    g_autofree char *preset = default_text(prop);
    const char *desc = prop->desc ? prop->desc : prop->type == PROP_TYPE_BOOL ? "on/off" : NULL;
    return help_option_line(prop->name, property_type_name(prop), desc, preset);
}

static void collect_line(const Property *prop, size_t base, void *opaque)
{
    if (!prop->get) {
        g_ptr_array_add(opaque, property_help_line(prop));
    }
}

static int compare_lines(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void help_options(const char *title, GPtrArray *lines, GString *out)
{
    g_ptr_array_sort(lines, compare_lines);
    g_string_append_printf(out, "%s options:\n", title);
    for (guint i = 0; i < lines->len; i++) {
        g_string_append(out, g_ptr_array_index(lines, i));
    }
}

void device_help_class(const DeviceClass *cls, GString *out)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    device_class_foreach_prop(cls, collect_line, lines);
    if (lines->len == 0) {
        g_string_append_printf(out, "%s has no options.\n", cls->name);
        return;
    }
    help_options(cls->name, lines, out);
}
