/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices: making, setting, realizing, resetting, freeing. */
#include "vmm/device/boot_order.h"
#include "vmm/device/device.h"

#include <string.h>
#include "vmm/device/parse.h"
#include "vmm/log.h"
#include "vmm/machine/machine.h"
#include "vmm/trace/trace-device.h"

Device *device_new(const DeviceClass *cls, const char *id)
{
    g_assert(cls->size >= sizeof(Device));
    Device *dev = g_malloc0(cls->size);
    dev->cls = cls;
    dev->id = g_strdup(id);
    dev->stage = DEVICE_CREATED;
    dev->child_buses = g_ptr_array_new();
    g_mutex_init(&dev->lock);
    property_set_defaults(dev, cls->props);
    for (const PropertyGroup *group = cls->groups; group && group->props; group++) {
        property_set_defaults((uint8_t *)dev + group->base, group->props);
    }
    if (cls->init) {
        cls->init(dev);
    }
    device_globals_apply(dev);
    return dev;
}

void device_free(Device *dev)
{
    if (!dev) {
        return;
    }
    g_assert(dev->stage != DEVICE_REALIZED);
    const DeviceClass *cls = dev->cls;
    if (dev->stage == DEVICE_UNREALIZED) {
        address_space_synchronize();
    }
    property_clear(dev, cls->props);
    for (const PropertyGroup *group = cls->groups; group && group->props; group++) {
        property_clear((uint8_t *)dev + group->base, group->props);
    }
    json_object_put(dev->set_props);
    g_ptr_array_unref(dev->child_buses);
    g_mutex_clear(&dev->lock);
    g_free(dev->id);
    g_free(dev);
}

/* ---- Properties ---- */

typedef struct Nearest {
    const char *word;
    const char *best;
    unsigned distance;
} Nearest;

static void find_nearest(const Property *prop, size_t base, void *opaque)
{
    Nearest *nearest = opaque;
    unsigned distance = word_distance(nearest->word, prop->name);
    if (distance < nearest->distance) {
        nearest->best = prop->name;
        nearest->distance = distance;
    }
}

static const Property *find_settable(Device *dev, const char *name, size_t *base, GError **error)
{
    const Property *prop = device_class_find_prop(dev->cls, name, base);
    if (!prop) {
        Nearest nearest = { .word = name, .distance = G_MAXUINT };
        device_class_foreach_prop(dev->cls, find_nearest, &nearest);
        if (nearest.best && word_is_near(name, nearest.distance)) {
            error_set(error, "%s has no property '%s'; did you mean '%s'?", dev->cls->name, name,
                      nearest.best);
        } else {
            error_set(error, "%s has no property '%s' (-device NAME,help lists them)",
                      dev->cls->name, name);
        }
        return NULL;
    }
    if (dev->stage == DEVICE_REALIZED && !prop->live) {
        error_set(error, "'%s' cannot change any more: device '%s' (%s) is made", name,
                  dev->id ? dev->id : "", dev->cls->name);
        return NULL;
    }
    return prop;
}

static void remember_set(Device *dev, const char *name)
{
    if (!dev->set_props) {
        dev->set_props = json_object_new_object();
    }
    json_object_object_add(dev->set_props, name, json_object_new_boolean(1));
}

static void tell_changed(Device *dev, const Property *prop, size_t base)
{
    if (dev->stage == DEVICE_REALIZED && prop->changed) {
        prop->changed((uint8_t *)dev + base);
    }
}

bool device_set_prop(Device *dev, const char *name, const char *value, GError **error)
{
    size_t base;
    const Property *prop = find_settable(dev, name, &base, error);
    if (!prop || !property_set_string((uint8_t *)dev + base, prop, value, error)) {
        return false;
    }
    remember_set(dev, name);
    tell_changed(dev, prop, base);
    return true;
}

bool device_set_prop_json(Device *dev, const char *name, json_object *value, GError **error)
{
    size_t base;
    const Property *prop = find_settable(dev, name, &base, error);
    if (!prop || !property_set_json((uint8_t *)dev + base, prop, value, error)) {
        return false;
    }
    remember_set(dev, name);
    tell_changed(dev, prop, base);
    return true;
}

json_object *device_get_prop(Device *dev, const char *name, GError **error)
{
    size_t base;
    const Property *prop = device_class_find_prop(dev->cls, name, &base);
    if (!prop) {
        error_set(error, "%s has no property '%s'", dev->cls->name, name);
        return NULL;
    }
    return property_get_json((uint8_t *)dev + base, prop);
}

bool device_prop_is_set(Device *dev, const char *name)
{
    return dev->set_props && json_object_object_get_ex(dev->set_props, name, NULL);
}

/* ---- Life ---- */

static bool check_bus(Device *dev, Machine *machine, Bus **bus, GError **error)
{
    const DeviceClass *cls = dev->cls;
    if (!*bus && cls->bus != BUS_SYSTEM) {
        *bus = bus_find_for(machine, cls->bus);
        if (!*bus) {
            return error_set(error,
                             "no %s bus for device '%s': the machine, or a controller (-device), "
                             "has to bring one",
                             bus_type_name(cls->bus), cls->name);
        }
    }
    if (*bus && (*bus)->type != cls->bus) {
        return error_set(error, "device '%s' does not fit on a bus of kind %s", cls->name,
                         bus_type_name((*bus)->type));
    }
    return true;
}

static GPtrArray *siblings(Device *dev)
{
    return dev->bus ? dev->bus->children : dev->machine->devices;
}

static bool realize_locked(Device *dev, Machine *machine, Bus *bus, GError **error)
{
    if (!check_bus(dev, machine, &bus, error)) {
        return false;
    }
    dev->machine = machine;
    dev->bus = bus;
    if (bus && bus->plug && !bus->plug(bus, dev, error)) {
        dev->bus = NULL;
        return false;
    }
    if (!boot_order_check(dev, error)) {
        if (bus && bus->unplug) {
            bus->unplug(bus, dev);
        }
        dev->bus = NULL;
        return false;
    }
    device_number(dev);
    g_ptr_array_add(siblings(dev), dev);
    if (dev->cls->realize && !dev->cls->realize(dev, error)) {
        g_ptr_array_remove(siblings(dev), dev);
        if (bus && bus->unplug) {
            bus->unplug(bus, dev);
        }
        dev->bus = NULL;
        return false;
    }
    dev->stage = DEVICE_REALIZED;
    trace_device_realize(dev->cls->name, dev->id);
    return true;
}

bool device_realize(Device *dev, Machine *machine, Bus *bus, GError **error)
{
    g_assert(dev->stage == DEVICE_CREATED);
    machine_topology_lock(machine);
    bool ok = realize_locked(dev, machine, bus, error);
    machine_topology_unlock(machine);
    return ok;
}

static void unrealize_locked(Device *dev)
{
    trace_device_unrealize(dev->cls->name, dev->id);
    for (guint i = dev->child_buses->len; i > 0; i--) {
        Bus *bus = g_ptr_array_index(dev->child_buses, i - 1);
        while (bus->children->len) {
            Device *child = g_ptr_array_index(bus->children, bus->children->len - 1);
            device_unrealize(child);
            device_free(child);
        }
    }
    if (dev->cls->unrealize) {
        dev->cls->unrealize(dev);
    }
    while (dev->child_buses->len) { /* those that the class did not free itself */
        bus_free(g_ptr_array_index(dev->child_buses, dev->child_buses->len - 1));
    }
    g_ptr_array_remove(siblings(dev), dev);
    if (dev->bus && dev->bus->unplug) {
        dev->bus->unplug(dev->bus, dev);
    }
    dev->bus = NULL;
    dev->stage = DEVICE_UNREALIZED;
}

void device_unrealize(Device *dev)
{
    g_assert(dev->stage == DEVICE_REALIZED);
    machine_topology_lock(dev->machine);
    unrealize_locked(dev);
    machine_topology_unlock(dev->machine);
}

static void reset_locked(Device *dev)
{
    trace_device_reset(dev->cls->name, dev->id);
    if (dev->cls->reset) {
        dev->cls->reset(dev);
    }
    for (guint i = 0; i < dev->child_buses->len; i++) {
        Bus *bus = g_ptr_array_index(dev->child_buses, i);
        for (guint j = 0; j < bus->children->len; j++) {
            reset_locked(g_ptr_array_index(bus->children, j));
        }
    }
}

void device_reset(Device *dev)
{
    machine_topology_lock(dev->machine);
    reset_locked(dev);
    machine_topology_unlock(dev->machine);
}

static void quiesce_one(Device *dev, void *opaque)
{
    if (dev->stage == DEVICE_REALIZED && dev->cls->quiesce) {
        dev->cls->quiesce(dev);
    }
}

static void resume_one(Device *dev, void *opaque)
{
    if (dev->stage == DEVICE_REALIZED && dev->cls->resume) {
        dev->cls->resume(dev);
    }
}

void devices_quiesce(Machine *machine)
{
    device_foreach(machine, quiesce_one, NULL);
}

void devices_resume(Machine *machine)
{
    device_foreach(machine, resume_one, NULL);
}

void device_guest_error(Device *dev, const char *format, ...)
{
    bool again = __atomic_exchange_n(&dev->broken_reported, true, __ATOMIC_ACQ_REL);
    if (again && !log_wants(LOG_GUEST_ERRORS) && !TRACE_ON_DEVICE_GUEST_ERROR) {
        return;
    }
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    trace_device_guest_error(dev->cls->name, dev->id, text);
    g_autofree char *whole = g_strdup_printf("%s%s%s%s: the guest's fault: %s", dev->cls->name,
                                             dev->id ? " '" : "", dev->id ? dev->id : "",
                                             dev->id ? "'" : "", text);
    if (log_wants(LOG_GUEST_ERRORS)) {
        log_line("%s", whole);
    } else if (!again) {
        report_warning("%s (said once)", whole);
    }
}
