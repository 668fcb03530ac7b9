/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/qom/props.h"

#include <string.h>
#include "vmm/kvm/x86/cpu_model.h"
#include "vmm/machine/options.h"

/* ---- Describing ---- */

static json_object *describe(json_object *list, const char *name, const char *type,
                             const char *desc)
{
    json_object *info = json_object_new_object();
    json_object_object_add(info, "name", json_object_new_string(name));
    json_object_object_add(info, "type", json_object_new_string(type));
    if (desc) {
        json_object_object_add(info, "description", json_object_new_string(desc));
    }
    json_object_array_add(list, info);
    return info;
}

static json_object *default_value(const Property *prop)
{
    static const char *const switches[] = { "auto", "on", "off" };
    switch (prop->type) {
    case PROP_TYPE_BOOL:
        return json_object_new_boolean(prop->def != 0);
    case PROP_TYPE_ENUM:
        return json_object_new_string(prop->names[prop->def]);
    case PROP_TYPE_ONOFFAUTO:
        return json_object_new_string(switches[prop->def]);
    case PROP_TYPE_STRING:
    case PROP_TYPE_MAC:
        return prop->def_string ? json_object_new_string(prop->def_string) : NULL;
    case PROP_TYPE_REF:
    case PROP_TYPE_JSON:
        return NULL;
    case PROP_TYPE_U64:
    case PROP_TYPE_SIZE:
        return json_object_new_uint64((uint64_t)prop->def);
    default:
        return json_object_new_int64(prop->def);
    }
}

static void describe_prop(const Property *prop, size_t base, void *opaque)
{
    json_object *info = describe(opaque, prop->name, property_type_name(prop), prop->desc);
    json_object *preset = default_value(prop);
    if (preset) {
        json_object_object_add(info, "default-value", preset);
    }
}

static void describe_props(json_object *list, const Property *props)
{
    for (const Property *prop = props; prop && prop->name; prop++) {
        describe_prop(prop, 0, list);
    }
}

static void describe_values(json_object *list, json_object *values)
{
    json_object_object_foreach(values, name, value)
    {
        json_type type = json_object_get_type(value);
        describe(list, name,
                 type == json_type_boolean ? "bool"
                 : type == json_type_int   ? "int"
                 : type == json_type_array ? "strList"
                                           : "string",
                 NULL);
    }
}

/* ---- What every device has ---- */

static json_object *get_bus(const Device *dev)
{
    QomNode node = { .kind = QOM_BUS, .bus = dev->bus };
    g_autofree char *path = dev->bus ? qom_node_path(&node) : g_strdup("");
    return json_object_new_string(path);
}

static json_object *get_realized(const Device *dev)
{
    return json_object_new_boolean(dev->stage == DEVICE_REALIZED);
}

static json_object *get_hotplugged(const Device *dev)
{
    return json_object_new_boolean(dev->hotplugged);
}

static json_object *get_hotpluggable(const Device *dev)
{
    return json_object_new_boolean(dev->cls->hotpluggable);
}

static const struct {
    const char *name, *type;
    json_object *(*get)(const Device *dev);
} device_facts[] = {
    { "parent_bus", "link<bus>", get_bus },
    { "realized", "bool", get_realized },
    { "hotplugged", "bool", get_hotplugged },
    { "hotpluggable", "bool", get_hotpluggable },
};

static void describe_facts(json_object *list)
{
    for (size_t i = 0; i < G_N_ELEMENTS(device_facts); i++) {
        describe(list, device_facts[i].name, device_facts[i].type, NULL);
    }
}

/* ---- Machines ---- */

static void describe_machine(json_object *list, const MachineClass *cls)
{
    for (const MachineOption *option = machine_options; option->name; option++) {
        describe(list, option->name, option->type, option->desc);
    }
    describe_props(list, cls->props);
}

/* ---- Types ---- */

static void describe_model(json_object *list, const char *type)
{
    static const uint32_t none[FEATURE_WORDS];
    g_autofree char *name = g_strndup(type, strlen(type) - strlen("-x86_64-cpu"));
    CpuModel model;
    if (cpu_model_init(&model, name, NULL, NULL)) {
        json_object *values = cpu_model_to_json(&model, none);
        describe_values(list, values);
        json_object_put(values);
    }
    describe(list, "unavailable-features", "strList", NULL);
}

json_object *qom_type_properties(const QomType *type, bool settable)
{
    json_object *list = json_object_new_array();
    if (!settable) {
        describe(list, "type", "string", NULL);
        if (qom_type_is_a(type, "device")) {
            describe_facts(list);
        }
    }
    if (type->device) {
        device_class_foreach_prop(type->device, describe_prop, list);
    }
    if (type->object) {
        describe_props(list, type->object->props);
    }
    if (type->machine) {
        describe_machine(list, type->machine);
    }
    if (type->cpu) {
        describe_model(list, type->name);
    }
    return list;
}

/* ---- Nodes ---- */

static bool is_cpu(const QomNode *node)
{
    return node->kind == QOM_CPU || (node->kind == QOM_DEVICE && qom_is_cpu_class(node->dev->cls));
}

static void describe_child(const char *name, const QomNode *child, void *opaque)
{
    g_autofree char *type = qom_node_type(child);
    g_autofree char *shown = g_strdup_printf("child<%s>", type);
    describe(opaque, name, shown, NULL);
}

static void describe_links(json_object *list, const Bus *bus)
{
    for (guint i = 0; i < bus->children->len; i++) {
        const Device *dev = g_ptr_array_index(bus->children, i);
        g_autofree char *name = g_strdup_printf("child[%u]", i);
        g_autofree char *type = g_strdup_printf("link<%s>", dev->cls->name);
        describe(list, name, type, NULL);
    }
}

json_object *qom_node_properties(const QomNode *node)
{
    json_object *list = json_object_new_array();
    describe(list, "type", "string", NULL);
    if (node->dev) {
        describe_facts(list);
        device_class_foreach_prop(node->dev->cls, describe_prop, list);
    }
    if (node->bus) {
        describe_links(list, node->bus);
    }
    if (node->object) {
        describe_props(list, node->object->cls->props);
    }
    if (node->kind == QOM_MACHINE) {
        describe_machine(list, machine_get()->cls);
    }
    if (is_cpu(node)) {
        json_object *values = cpu_model_of_machine(machine_get());
        describe_values(list, values);
        json_object_put(values);
    }
    qom_node_children(node, describe_child, list);
    return list;
}

/* ---- Values ---- */

static const Property *find_prop(const QomNode *node, const char *name, const void **base)
{
    const Property *props = NULL;
    size_t offset;
    if (node->dev) {
        const Property *prop = device_class_find_prop(node->dev->cls, name, &offset);
        *base = (const uint8_t *)node->dev + offset;
        return prop;
    }
    if (node->object) {
        props = node->object->cls->props;
        *base = node->object;
    } else if (node->kind == QOM_MACHINE) {
        props = machine_get()->cls->props;
        *base = machine_get()->board;
    }
    for (; props && props->name; props++) {
        if (g_str_equal(props->name, name)) {
            return props;
        }
    }
    return NULL;
}

typedef struct FindChild {
    const char *name;
    char *path;
} FindChild;

static void find_child(const char *name, const QomNode *child, void *opaque)
{
    FindChild *find = opaque;
    if (!find->path && g_str_equal(name, find->name)) {
        find->path = qom_node_path(child);
    }
}

/* child[N] of a bus. */
static json_object *get_link(const Bus *bus, const char *name)
{
    for (guint i = 0; i < bus->children->len; i++) {
        g_autofree char *link = g_strdup_printf("child[%u]", i);
        if (g_str_equal(link, name)) {
            g_autofree char *path = device_path(g_ptr_array_index(bus->children, i));
            return json_object_new_string(path);
        }
    }
    return NULL;
}

static json_object *get_cpu_value(const char *name)
{
    json_object *value = NULL;
    json_object *values = cpu_model_of_machine(machine_get());
    json_object_object_get_ex(values, name, &value);
    json_object_get(value);
    json_object_put(values);
    return value;
}

static json_object *get_derived(const QomNode *node, const char *name)
{
    FindChild find = { .name = name };
    for (size_t i = 0; node->dev && i < G_N_ELEMENTS(device_facts); i++) {
        if (g_str_equal(device_facts[i].name, name)) {
            return device_facts[i].get(node->dev);
        }
    }
    for (const MachineOption *option = machine_options; node->kind == QOM_MACHINE && option->name;
         option++) {
        if (g_str_equal(option->name, name)) {
            return option->get(machine_get()->config);
        }
    }
    qom_node_children(node, find_child, &find);
    g_autofree char *path = find.path;
    return path           ? json_object_new_string(path)
           : node->bus    ? get_link(node->bus, name)
           : is_cpu(node) ? get_cpu_value(name)
                          : NULL;
}

static json_object *not_found(const QomNode *node, const char *name, GError **error)
{
    g_autofree char *type = qom_node_type(node);
    error_set(error, "%s has no property '%s' (qom-list lists them)", type, name);
    return NULL;
}

json_object *qom_node_get(const QomNode *node, const char *name, GError **error)
{
    const void *base;
    if (g_str_equal(name, "type")) {
        g_autofree char *type = qom_node_type(node);
        return json_object_new_string(type);
    }
    const Property *prop = find_prop(node, name, &base);
    json_object *value = prop ? property_get_json(base, prop) : get_derived(node, name);
    return value ? value : not_found(node, name, error);
}

bool qom_node_set(const QomNode *node, const char *name, json_object *value, GError **error)
{
    const void *base;
    const Property *prop = find_prop(node, name, &base);
    g_autofree char *type = qom_node_type(node);
    if (prop && node->dev) {
        return device_set_prop_json(node->dev, name, value, error);
    }
    if (prop && prop->set_live) {
        return prop->set_live((void *)base, value, error);
    }
    if (prop && prop->live) {
        bool ok = property_set_json((void *)base, prop, value, error);
        if (ok && prop->changed) {
            prop->changed((void *)base);
        }
        return ok;
    }
    if (prop) {
        return error_set(error, "%s: '%s' can be set when the object is made only", type, name);
    }
    json_object *derived = qom_node_get(node, name, error);
    if (derived) {
        json_object_put(derived);
        error_set(error, "%s: '%s' can be read only", type, name);
    }
    return false;
}
