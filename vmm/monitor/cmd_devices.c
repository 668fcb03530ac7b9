/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about devices, objects and their properties. */
#include <string.h>
#include "vmm/cli/device_add.h"
#include "vmm/device/hotplug.h"
#include "vmm/machine/life.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/object/object.h"

/* ---- Describing ---- */

static json_object *describe(const char *name, const char *type, const char *desc)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "name", name);
    json_add_string(info, "type", type);
    json_add_string(info, "description", desc);
    return info;
}

static void add_default(json_object *info, const Property *prop)
{
    json_object *value = NULL;
    switch (prop->type) {
    case PROP_TYPE_BOOL:
        value = json_object_new_boolean(prop->def != 0);
        break;
    case PROP_TYPE_ENUM:
        value = json_object_new_string(prop->names[prop->def]);
        break;
    case PROP_TYPE_ONOFFAUTO:
        value = json_object_new_string(prop->def == ON_OFF_AUTO_AUTO ? "auto"
                                       : prop->def == ON_OFF_AUTO_ON ? "on"
                                                                     : "off");
        break;
    case PROP_TYPE_STRING:
    case PROP_TYPE_MAC:
        value = prop->def_string ? json_object_new_string(prop->def_string) : NULL;
        break;
    case PROP_TYPE_REF:
    case PROP_TYPE_JSON:
        break;
    case PROP_TYPE_U64:
    case PROP_TYPE_SIZE:
        value = json_object_new_uint64((uint64_t)prop->def);
        break;
    default:
        value = json_object_new_int64(prop->def);
        break;
    }
    if (value) {
        json_object_object_add(info, "default-value", value);
    }
}

static void add_prop(const Property *prop, size_t base, void *opaque)
{
    json_object *info = describe(prop->name, property_type_name(prop), prop->desc);
    add_default(info, prop);
    json_object_array_add(opaque, info);
}

static json_object *list_type(const char *type, bool devices_only, GError **error)
{
    const DeviceClass *cls = device_class_find(type);
    const ObjectClass *object = cls || devices_only ? NULL : object_class_find(type);
    if (!cls && !object) {
        g_autofree char *near = device_class_suggest(type);
        error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND, "there is no device '%s'%s%s%s", type,
                       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return NULL;
    }
    json_object *list = json_object_new_array();
    if (cls) {
        device_class_foreach_prop(cls, add_prop, list);
    }
    for (const Property *prop = object ? object->props : NULL; prop && prop->name; prop++) {
        add_prop(prop, 0, list);
    }
    return list;
}

static json_object *device_list_properties(const void *opaque, GError **error)
{
    return list_type(((const QmpDeviceListPropertiesArgs *)opaque)->typename, true, error);
}

static json_object *qom_list_properties(const void *opaque, GError **error)
{
    return list_type(((const QmpQomListPropertiesArgs *)opaque)->typename, false, error);
}

typedef struct TypeList {
    json_object *list;
    const char *implements;
} TypeList;

static void add_type(TypeList *types, const char *name, const char *parent)
{
    if (types->implements && strcmp(types->implements, parent) != 0 &&
        strcmp(types->implements, "object") != 0 && strcmp(types->implements, name) != 0) {
        return;
    }
    json_object *info = json_object_new_object();
    json_add_string(info, "name", name);
    json_add_string(info, "parent", parent);
    json_object_array_add(types->list, info);
}

static void add_device_type(const DeviceClass *cls, void *opaque)
{
    add_type(opaque, cls->name, "device");
}

static void add_object_type(const ObjectClass *cls, void *opaque)
{
    add_type(opaque, cls->name, "user-creatable");
}

static void add_machine_type(const MachineClass *cls, void *opaque)
{
    g_autofree char *name = g_strconcat(cls->name, "-machine", NULL);
    add_type(opaque, name, "machine");
}

static json_object *qom_list_types(const void *opaque, GError **error)
{
    const QmpQomListTypesArgs *args = opaque;
    TypeList types = { .list = json_object_new_array(), .implements = args->implements };
    device_class_foreach(add_device_type, &types);
    object_class_foreach(add_object_type, &types);
    machine_class_foreach(add_machine_type, &types);
    return types.list;
}

/* ---- Paths: /machine, /machine/peripheral/ID, /machine/unattached/device[N], /objects/ID ---- */

static Object *find_object(const char *path)
{
    return g_str_has_prefix(path, "/objects/") ? object_find(path + strlen("/objects/")) : NULL;
}

typedef struct Children {
    json_object *list;
    const char *prefix; /* of the paths that count */
} Children;

static void add_child(json_object *list, const char *name, const char *type)
{
    g_autofree char *shown = g_strdup_printf("child<%s>", type);
    json_object_array_add(list, describe(name, shown, NULL));
}

static void add_device_child(Device *dev, void *opaque)
{
    Children *children = opaque;
    g_autofree char *path = device_path(dev);
    if (g_str_has_prefix(path, children->prefix)) {
        add_child(children->list, path + strlen(children->prefix), dev->cls->name);
    }
}

static void add_object_child(Object *obj, void *opaque)
{
    add_child(opaque, obj->id, obj->cls->name);
}

/* The folders of the tree; false when the path is none. */
static bool list_folder(const char *path, json_object *list)
{
    Children children = { .list = list };
    if (strcmp(path, "/") == 0) {
        g_autofree char *type = g_strconcat(machine_get()->cls->name, "-machine", NULL);
        add_child(list, "machine", type);
        add_child(list, "objects", "container");
    } else if (strcmp(path, "/machine") == 0) {
        add_child(list, "peripheral", "container");
        add_child(list, "unattached", "container");
    } else if (strcmp(path, "/objects") == 0) {
        object_foreach(add_object_child, list);
    } else if (strcmp(path, "/machine/peripheral") == 0 ||
               strcmp(path, "/machine/unattached") == 0) {
        g_autofree char *prefix = g_strconcat(path, "/", NULL);
        children.prefix = prefix;
        device_foreach(machine_get(), add_device_child, &children);
    } else {
        return false;
    }
    return true;
}

static void *no_path(const char *path, GError **error)
{
    error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND, "there is no device '%s'", path);
    return NULL;
}

static json_object *qom_list(const void *opaque, GError **error)
{
    const QmpQomListArgs *args = opaque;
    Device *dev = device_find(machine_get(), args->path);
    Object *obj = dev ? NULL : find_object(args->path);
    json_object *list = json_object_new_array();
    json_object_array_add(list, describe("type", "string", NULL));
    if (!dev && !obj && !list_folder(args->path, list)) {
        json_object_put(list);
        return no_path(args->path, error);
    }
    if (dev) {
        device_class_foreach_prop(dev->cls, add_prop, list);
    }
    for (const Property *prop = obj ? obj->cls->props : NULL; prop && prop->name; prop++) {
        add_prop(prop, 0, list);
    }
    return list;
}

static const Property *object_prop(const Object *obj, const char *name, GError **error)
{
    for (const Property *prop = obj->cls->props; prop && prop->name; prop++) {
        if (strcmp(prop->name, name) == 0) {
            return prop;
        }
    }
    error_set(error, "%s has no property '%s' (qom-list lists them)", obj->cls->name, name);
    return NULL;
}

static json_object *qom_get(const void *opaque, GError **error)
{
    const QmpQomGetArgs *args = opaque;
    bool type = strcmp(args->property, "type") == 0;
    Device *dev = device_find(machine_get(), args->path);
    Object *obj = dev ? NULL : find_object(args->path);
    if (dev) {
        return type ? json_object_new_string(dev->cls->name)
                    : device_get_prop(dev, args->property, error);
    }
    if (obj) {
        const Property *prop = type ? NULL : object_prop(obj, args->property, error);
        return type   ? json_object_new_string(obj->cls->name)
               : prop ? property_get_json(obj, prop)
                      : NULL;
    }
    if (type && strcmp(args->path, "/machine") == 0) {
        g_autofree char *name = g_strconcat(machine_get()->cls->name, "-machine", NULL);
        return json_object_new_string(name);
    }
    return no_path(args->path, error);
}

static json_object *qom_set(const void *opaque, GError **error)
{
    const QmpQomSetArgs *args = opaque;
    Device *dev = device_find(machine_get(), args->path);
    Object *obj = dev ? NULL : find_object(args->path);
    if (dev) {
        return device_set_prop_json(dev, args->property, args->value, error) ? qmp_ok() : NULL;
    }
    if (!obj) {
        return no_path(args->path, error);
    }
    const Property *prop = object_prop(obj, args->property, error);
    if (prop && !prop->live) {
        error_set(error, "Property '%s.%s' can be set when the object is made only", obj->cls->name,
                  args->property);
        return NULL;
    }
    return prop && property_set_json(obj, prop, args->value, error) ? qmp_ok() : NULL;
}

/* ---- Making and removing ---- */

/* Firmware's boot order follows the devices. */
static void reset_before_start(Machine *machine)
{
    if (machine_run_state(machine) == RUN_STATE_PRELAUNCH) {
        machine_reset_now(machine);
    }
}

static json_object *qmp_device_add(const void *opaque, GError **error)
{
    const QmpDeviceAddArgs *args = opaque;
    Machine *machine = machine_get();
    json_object *all = json_object_get(args->rest);
    json_add_string(all, "driver", args->driver);
    json_add_string(all, "bus", args->bus);
    json_add_string(all, "id", args->id);
    g_autoptr(Opts) options = opts_from_json(all, error);
    json_object_put(all);
    if (!options || !device_add(machine, options, error)) {
        return NULL;
    }
    reset_before_start(machine);
    return qmp_ok();
}

static json_object *qmp_device_del(const void *opaque, GError **error)
{
    const QmpDeviceDelArgs *args = opaque;
    Machine *machine = machine_get();
    Device *dev = device_find(machine, args->id);
    if (!dev) {
        return no_path(args->id, error);
    }
    if (!dev->id) {
        error_set(error, "Device '%s' belongs to the machine", args->id);
        return NULL;
    }
    if (!device_unplug(dev, error)) {
        return NULL;
    }
    reset_before_start(machine);
    return qmp_ok();
}

static json_object *object_add(const void *opaque, GError **error)
{
    const QmpObjectAddArgs *args = opaque;
    return object_create(args->qom_type, args->id, args->rest, error) ? qmp_ok() : NULL;
}

static json_object *object_del(const void *opaque, GError **error)
{
    return object_delete(((const QmpObjectDelArgs *)opaque)->id, error) ? qmp_ok() : NULL;
}

/* ---- The human monitor ---- */

static void run_options(GString *out, const char *command, const char *text, const char *implied)
{
    GError *error = NULL;
    g_autoptr(Opts) options = opts_parse(text, implied, &error);
    if (options) {
        hmp_run_qmp(out, command, opts_to_json(options));
    }
    hmp_error(out, error);
}

static void hmp_device_add(GString *out, char **args)
{
    run_options(out, "device_add", args[0], "driver");
}

static void hmp_object_add(GString *out, char **args)
{
    run_options(out, "object-add", args[0], "qom-type");
}

static void run_with(GString *out, const char *command, const char *name, const char *value)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, name, value);
    hmp_run_qmp(out, command, arguments);
}

static void hmp_device_del(GString *out, char **args)
{
    run_with(out, "device_del", "id", args[0]);
}

static void hmp_object_del(GString *out, char **args)
{
    run_with(out, "object-del", "id", args[0]);
}

static void hmp_qom_list(GString *out, char **args)
{
    GError *error = NULL;
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "path", args[0] ? args[0] : "/");
    json_object *list = qmp_execute("qom-list", arguments, &error);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        g_string_append_printf(out, "%s (%s)\n",
                               json_object_get_string(json_object_object_get(item, "name")),
                               json_object_get_string(json_object_object_get(item, "type")));
    }
    hmp_error(out, error);
    json_object_put(list);
    json_object_put(arguments);
}

static void hmp_qom_get(GString *out, char **args)
{
    GError *error = NULL;
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "path", args[0]);
    json_add_string(arguments, "property", args[1]);
    json_object *value = qmp_execute("qom-get", arguments, &error);
    if (value) {
        g_string_append_printf(out, "%s\n", json_object_to_json_string(value));
    }
    hmp_error(out, error);
    json_object_put(value);
    json_object_put(arguments);
}

static void hmp_qom_set(GString *out, char **args)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "path", args[0]);
    json_add_string(arguments, "property", args[1]);
    json_add_string(arguments, "value", args[2]);
    hmp_run_qmp(out, "qom-set", arguments);
}

static void hmp_info_qtree(GString *out, char **args)
{
    device_tree_dump(machine_get(), out);
}

static const QmpHandler qmp[] = {
    { "device-list-properties", device_list_properties },
    { "qom-list-properties", qom_list_properties },
    { "qom-list-types", qom_list_types },
    { "qom-list", qom_list },
    { "qom-get", qom_get },
    { "qom-set", qom_set },
    { "device_add", qmp_device_add },
    { "device_del", qmp_device_del },
    { "object-add", object_add },
    { "object-del", object_del },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "device_add", "DRIVER[,PROP=VALUE...]", "add a device", hmp_device_add, 1, 1 },
    { "device_del", "ID", "remove a device", hmp_device_del, 1, 1 },
    { "object_add", "TYPE,id=ID[,PROP=VALUE...]", "make an object", hmp_object_add, 1, 1 },
    { "object_del", "ID", "delete an object", hmp_object_del, 1, 1 },
    { "qom-list", "[PATH]", "children and properties", hmp_qom_list, 0, 1 },
    { "qom-get", "PATH PROPERTY", "show a property", hmp_qom_get, 2, 2 },
    { "qom-set", "PATH PROPERTY VALUE", "set a property", hmp_qom_set, 3, 3 },
    { "info qtree", NULL, "the device tree", hmp_info_qtree },
    { NULL },
};

const MonitorCommands device_commands = { .qmp = qmp, .hmp = hmp };
