/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User-creatable objects: creation from options, look-up, deletion. */
#include "vmm/object/object.h"

#include "vmm/cli/opts.h"
#include "vmm/object/iothread.h"
#include "vmm/object/memory_backend.h"
#include "vmm/object/rng.h"
#include "vmm/object/secret.h"
#include "vmm/object/throttle_group.h"
#include "vmm/util/id.h"

/* The table of contents of objects. */
static const ObjectClass *const object_classes[] = {
    &iothread_class,
    &memory_backend_file_class,
    &memory_backend_memfd_class,
    &memory_backend_ram_class,
    &rng_builtin_class,
    &rng_random_class,
    &secret_class,
    &throttle_group_class,
};

static GPtrArray *objects; /* Object *, in order of creation; main thread */

const ObjectClass *object_class_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(object_classes); i++) {
        if (g_str_equal(object_classes[i]->name, name)) {
            return object_classes[i];
        }
    }
    return NULL;
}

void object_class_foreach(void (*fn)(const ObjectClass *cls, void *opaque), void *opaque)
{
    for (size_t i = 0; i < G_N_ELEMENTS(object_classes); i++) {
        fn(object_classes[i], opaque);
    }
}

static char *suggest_class(const char *name)
{
    const char *names[G_N_ELEMENTS(object_classes) + 1] = { NULL };
    for (size_t i = 0; i < G_N_ELEMENTS(object_classes); i++) {
        names[i] = object_classes[i]->name;
    }
    return suggest_nearest(name, names);
}

Object *object_find(const char *id)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        Object *obj = g_ptr_array_index(objects, i);
        if (g_str_equal(obj->id, id)) {
            return obj;
        }
    }
    return NULL;
}

Object *object_find_type(const char *id, const char *type, GError **error)
{
    Object *obj = object_find(id);
    if (!obj) {
        error_set(error, "there is no object '%s' (-object %s,id=%s makes one)", id, type, id);
        return NULL;
    }
    if (!g_str_has_prefix(obj->cls->name, type)) {
        error_set(error, "object '%s' is a %s, not a %s", id, obj->cls->name, type);
        return NULL;
    }
    return obj;
}

static char *suggest_property(const ObjectClass *cls, const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const Property *prop = cls->props; prop->name; prop++) {
        g_ptr_array_add(names, (char *)prop->name);
    }
    g_ptr_array_add(names, NULL);
    return suggest_nearest(name, (const char *const *)names->pdata);
}

static bool set_one_prop(Object *obj, const char *name, json_object *value, GError **error)
{
    const Property *prop = obj->cls->props;
    while (prop->name && !g_str_equal(prop->name, name)) {
        prop++;
    }
    if (!prop->name) {
        g_autofree char *near = suggest_property(obj->cls, name);
        return error_set(error, "%s has no property '%s'%s%s%s", obj->cls->name, name,
                         near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    }
    if (json_object_is_type(value, json_type_string)) {
        return property_set_string(obj, prop, json_object_get_string(value), error);
    }
    return property_set_json(obj, prop, value, error);
}

static bool set_props(Object *obj, json_object *props, GError **error)
{
    if (!props) {
        return true;
    }
    json_object_object_foreach(props, name, value)
    {
        if (!set_one_prop(obj, name, value, error)) {
            return false;
        }
    }
    return true;
}

static void object_free(Object *obj)
{
    if (obj->completed && obj->cls->finalize) {
        obj->cls->finalize(obj);
    }
    property_clear(obj, obj->cls->props);
    g_free(obj->id);
    g_free(obj);
}

static bool check_new_id(const char *id, GError **error)
{
    if (!id_check(id, error)) {
        return false;
    }
    if (object_find(id)) {
        return error_set(error, "there is an object '%s' already: ids are unique", id);
    }
    return true;
}

Object *object_create(const char *type, const char *id, json_object *props, GError **error)
{
    const ObjectClass *cls = object_class_find(type);
    if (!cls) {
        g_autofree char *near = suggest_class(type);
        error_set(error, "there is no object type '%s'%s%s%s", type, near ? " (did you mean '" : "",
                  near ? near : "", near ? "'?)" : "");
        return NULL;
    }
    if (!check_new_id(id, error)) {
        return NULL;
    }
    Object *obj = g_malloc0(cls->size);
    obj->cls = cls;
    obj->id = g_strdup(id);
    property_set_defaults(obj, cls->props);
    if (!set_props(obj, props, error) || (cls->complete && !cls->complete(obj, error))) {
        g_prefix_error(error, "object %s '%s': ", type, id);
        object_free(obj);
        return NULL;
    }
    obj->completed = true;
    if (!objects) {
        objects = g_ptr_array_new();
    }
    g_ptr_array_add(objects, obj);
    return obj;
}

static void take_property(const char *key, const char *value, void *opaque)
{
    json_object_object_add(opaque, key, json_object_new_string(value));
}

bool object_create_from_text(const char *text, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(text, "qom-type", error);
    if (!opts) {
        return false;
    }
    g_autofree char *type = g_strdup(opts_get(opts, "qom-type"));
    g_autofree char *id = g_strdup(opts_get(opts, "id"));
    if (!type || !id) {
        return error_set(error, "--object: 'qom-type' and 'id' are needed");
    }
    json_object *props = json_object_new_object();
    opts_remove(opts, "qom-type");
    opts_remove(opts, "id");
    opts_foreach_all(opts, take_property, props);
    bool ok = object_create(type, id, props, error) != NULL;
    json_object_put(props);
    return ok;
}

bool object_delete(const char *id, GError **error)
{
    Object *obj = object_find(id);
    if (!obj) {
        return error_set(error, "there is no object '%s'", id);
    }
    if (obj->cls->can_be_deleted ? !obj->cls->can_be_deleted(obj, error) : obj->users > 0) {
        return error && *error
                   ? false
                   : error_set(error, "object '%s' is in use: first delete what uses it", id);
    }
    g_ptr_array_remove(objects, obj);
    object_free(obj);
    return true;
}

void objects_delete_all(void)
{
    while (objects && objects->len) {
        object_free(g_ptr_array_steal_index(objects, objects->len - 1));
    }
    g_clear_pointer(&objects, g_ptr_array_unref);
}

void object_foreach(void (*fn)(Object *obj, void *opaque), void *opaque)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        fn(g_ptr_array_index(objects, i), opaque);
    }
}
