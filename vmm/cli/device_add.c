/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -device, -global and device_add. */
#include "vmm/cli/device_add.h"

#include <string.h>
#include "vmm/cli/params.h"
#include "vmm/device/hotplug.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/machine.h"
#include "vmm/util/id.h"

static const DeviceClass *find_class(const char *driver, GError **error)
{
    const DeviceClass *cls = device_class_find(driver);
    if (!cls) {
        g_autofree char *near = device_class_suggest(driver);
        error_set(error, "there is no device '%s'%s%s%s", driver,
                  near ? " (did you mean '" : " (-device help lists them)", near ? near : "",
                  near ? "'?)" : "");
    }
    return cls;
}

/* QEMU's long form, for drivers whose names have a dot: driver=D,property=P,value=V. */
static bool add_global_opts(const char *text, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(text, NULL, error);
    if (!opts) {
        return false;
    }
    const char *driver = opts_get(opts, "driver"), *property = opts_get(opts, "property");
    const char *value = opts_get(opts, "value");
    if (!driver || !property || !value) {
        return error_set(error, "'%s': driver=, property= and value= go together", text);
    }
    const DeviceClass *cls = find_class(driver, error);
    return cls && cli_check_params(opts, "global", "global", error) &&
           device_global_add(cls, property, value, error);
}

bool device_add_global(const char *text, GError **error)
{
    const char *equals = strchr(text, '=');
    const char *dot = equals ? memchr(text, '.', (size_t)(equals - text)) : NULL;
    if (!dot && g_str_has_prefix(text, "driver=")) {
        return add_global_opts(text, error);
    }
    if (!dot) {
        return error_set(error, "'%s' is not of the form driver.property=value", text);
    }
    g_autofree char *driver = g_strndup(text, (gsize)(dot - text));
    g_autofree char *property = g_strndup(dot + 1, (gsize)(equals - dot - 1));
    const DeviceClass *cls = find_class(driver, error);
    return cls && device_global_add(cls, property, equals + 1, error);
}

typedef struct SetProps {
    Device *dev;
    Opts *options;
    GError **error;
    bool ok;
} SetProps;

/* Lists and structures (iothread-vq-mapping) come as dotted keys and are put together again. */
static void set_json_prop(const Property *prop, size_t base, void *opaque)
{
    SetProps *set = opaque;
    if (!set->ok || prop->type != PROP_TYPE_JSON) {
        return;
    }
    g_autoptr(Opts) part = opts_take_prefix(set->options, prop->name);
    if (part) {
        json_object *value = opts_to_json(part);
        set->ok = device_set_prop_json(set->dev, prop->name, value, set->error);
        json_object_put(value);
    }
}

static bool is_part_of_json_prop(const DeviceClass *cls, const char *key)
{
    const char *dot = strchr(key, '.');
    if (!dot) {
        return false;
    }
    size_t base;
    g_autofree char *name = g_strndup(key, (gsize)(dot - key));
    const Property *prop = device_class_find_prop(cls, name, &base);
    return prop && prop->type == PROP_TYPE_JSON;
}

static void set_prop(const char *key, const char *value, void *opaque)
{
    SetProps *set = opaque;
    static const char *const not_props[] = { "driver", "id", "bus", NULL };
    if (set->ok && !g_strv_contains(not_props, key) && !is_part_of_json_prop(set->dev->cls, key)) {
        set->ok = device_set_prop(set->dev, key, value, set->error);
    }
}

static bool set_props(Device *dev, Opts *options, GError **error)
{
    SetProps set = { dev, options, error, true };
    device_class_foreach_prop(dev->cls, set_json_prop, &set);
    if (set.ok) {
        opts_foreach_all(options, set_prop, &set);
    }
    return set.ok;
}

static Bus *find_bus(Machine *machine, const DeviceClass *cls, const char *name, GError **error)
{
    Bus *bus = bus_find(machine, name);
    if (!bus) {
        error_set(error, "there is no bus '%s' (`info qtree` shows them)", name);
        return NULL;
    }
    if (bus->type != cls->bus) {
        error_set(error, "device '%s' does not fit on a bus of kind %s", cls->name,
                  bus_type_name(bus->type));
        return NULL;
    }
    return bus;
}

static bool check_id(Machine *machine, const char *id, GError **error)
{
    if (!id) {
        return true;
    }
    if (!id_check(id, error)) {
        return false;
    }
    if (device_find(machine, id)) {
        return error_set(error, "there is a device '%s' already: ids are unique", id);
    }
    return true;
}

static Device *add_locked(Machine *machine, Opts *options, GError **error)
{
    const char *driver = opts_get(options, "driver");
    const char *id = opts_get(options, "id");
    const char *bus_name = opts_get(options, "bus");
    if (!driver) {
        error_set(error, "'driver' is missing: -device help lists what there is");
        return NULL;
    }
    const DeviceClass *cls = find_class(driver, error);
    if (!cls || !check_id(machine, id, error)) {
        return NULL;
    }
    if (cls->internal) {
        error_set(error,
                  "'%s' cannot be added: it is built into "
                  "the boards that have it",
                  driver);
        return NULL;
    }
    if (cls->category == DEVICE_CATEGORY_CPU) {
        g_autofree char *type = machine_cpu_type(machine);
        if (!g_str_equal(driver, type)) {
            error_set(error, "all CPUs of a machine are of one type: '%s'", type);
            return NULL;
        }
    }
    Bus *bus = bus_name ? find_bus(machine, cls, bus_name, error) : bus_find_for(machine, cls->bus);
    if ((bus_name && !bus) || !device_hotplug_check(machine, cls, bus, error)) {
        return NULL;
    }
    Device *dev = device_new(cls, id);
    dev->by_user = true;
    dev->hotplugged = machine_run_state(machine) != RUN_STATE_PRELAUNCH;
    if (set_props(dev, options, error) && device_realize(dev, machine, bus, error)) {
        if (dev->hotplugged) {
            device_hotplugged(dev);
        }
        return dev;
    }
    device_free(dev);
    return NULL;
}

Device *device_add(Machine *machine, Opts *options, GError **error)
{
    machine_topology_lock(machine);
    Device *dev = add_locked(machine, options, error);
    machine_topology_unlock(machine);
    return dev;
}
