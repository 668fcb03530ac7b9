/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the tree of objects and its types. */
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/qom/props.h"

/* ---- Types ---- */

typedef struct Listing {
    json_object *list; /* NULL: the type is not of the kind asked for */
    bool devices;      /* device-list-properties */
} Listing;

static void list_properties(const QomType *type, void *opaque)
{
    Listing *listing = opaque;
    if (!listing->devices || (!type->abstract && qom_type_is_a(type, "device"))) {
        listing->list = qom_type_properties(type, listing->devices);
    }
}

static json_object *device_list_properties(const void *opaque, GError **error)
{
    const char *name = ((const QmpDeviceListPropertiesArgs *)opaque)->typename;
    Listing listing = { .devices = true };
    if (!qom_type_find(name, list_properties, &listing)) {
        g_autofree char *near = device_class_suggest(name);
        error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND, "there is no device '%s'%s%s%s", name,
                       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    } else if (!listing.list) {
        error_set(error, "'%s' is not the type of a device (qom-list-types lists them)", name);
    }
    return listing.list;
}

static json_object *qom_list_properties(const void *opaque, GError **error)
{
    const char *name = ((const QmpQomListPropertiesArgs *)opaque)->typename;
    Listing listing = { .devices = false };
    if (!qom_type_find(name, list_properties, &listing)) {
        error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND,
                       "there is no type '%s' (qom-list-types lists them)", name);
    }
    return listing.list;
}

typedef struct TypeList {
    json_object *list;
    const char *implements; /* NULL: all */
    bool abstract;          /* abstract ones too */
} TypeList;

static void add_type(const QomType *type, void *opaque)
{
    const TypeList *types = opaque;
    if ((type->abstract && !types->abstract) ||
        (types->implements && !qom_type_is_a(type, types->implements))) {
        return;
    }
    json_object *info = json_object_new_object();
    json_add_string(info, "name", type->name);
    json_add_string(info, "parent", type->parent);
    if (type->abstract) {
        json_add_bool(info, "abstract", true);
    }
    json_object_array_add(types->list, info);
}

static json_object *qom_list_types(const void *opaque, GError **error)
{
    const QmpQomListTypesArgs *args = opaque;
    TypeList types = { json_object_new_array(), args->implements,
                       args->has_abstract && args->abstract };
    qom_types_foreach(add_type, &types);
    return types.list;
}

/* ---- The tree ---- */

static json_object *qom_list(const void *opaque, GError **error)
{
    QomNode node;
    const QmpQomListArgs *args = opaque;
    return qom_resolve(args->path, &node, error) ? qom_node_properties(&node) : NULL;
}

static json_object *qom_get(const void *opaque, GError **error)
{
    QomNode node;
    const QmpQomGetArgs *args = opaque;
    return qom_resolve(args->path, &node, error) ? qom_node_get(&node, args->property, error)
                                                 : NULL;
}

static json_object *qom_set(const void *opaque, GError **error)
{
    QomNode node;
    const QmpQomSetArgs *args = opaque;
    return qom_resolve(args->path, &node, error) &&
                   qom_node_set(&node, args->property, args->value, error)
               ? qmp_ok()
               : NULL;
}

/* ---- The human monitor ---- */

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

static const QmpHandler qmp[] = {
    { "device-list-properties", device_list_properties },
    { "qom-list-properties", qom_list_properties },
    { "qom-list-types", qom_list_types },
    { "qom-list", qom_list },
    { "qom-get", qom_get },
    { "qom-set", qom_set },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "qom-list", "[PATH]", "children and properties", hmp_qom_list, 0, 1 },
    { "qom-get", "PATH PROPERTY", "show a property", hmp_qom_get, 2, 2 },
    { "qom-set", "PATH PROPERTY VALUE", "set a property", hmp_qom_set, 3, 3, .rest = true },
    { NULL },
};

const MonitorCommands qom_commands = { .qmp = qmp, .hmp = hmp };
