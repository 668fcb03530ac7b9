/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking arguments against the schema, with QEMU's messages. */
#include "vmm/monitor/schema.h"

#include <stdlib.h>
#include <string.h>

static bool fail_type(const char *name, const char *expected, GError **error)
{
    return error_set(error, "'%s' has to be of type %s", name, expected);
}

static bool fail_range(const QmpType *type, const char *name, GError **error)
{
    const char *shown = strcmp(type->name, "int") == 0 ? "int64" : type->name;
    bool suffix = g_ascii_isdigit(shown[strlen(shown) - 1]);
    return error_set(error, "Parameter '%s' expects %s%s", name, shown, suffix ? "_t" : "");
}

static const QmpMember *find_member(const QmpMember *members, const char *name)
{
    for (; members->name; members++) {
        if (strcmp(members->name, name) == 0) {
            return members;
        }
    }
    return NULL;
}

/* The members of an object; prefix is "" or "outer.". */
static bool check_members(const QmpMember *members, bool open, const char *prefix,
                          json_object *object, GError **error)
{
    for (const QmpMember *member = members; member->name; member++) {
        json_object *value;
        bool present = json_object_object_get_ex(object, member->name, &value);
        if (!present && !member->optional) {
            return error_set(error, "Parameter '%s%s' is missing", prefix, member->name);
        }
        if (present) {
            g_autofree char *name = g_strconcat(prefix, member->name, NULL);
            if (!qmp_check(member->type, name, value, error)) {
                return false;
            }
        }
    }
    json_object_object_foreach(object, key, unused)
    {
        (void)unused;
        if (!open && !find_member(members, key)) {
            return error_set(error, "Parameter '%s%s' is unexpected", prefix, key);
        }
    }
    return true;
}

static int enum_index(const QmpType *type, const char *value)
{
    for (int i = 0; type->values[i]; i++) {
        if (strcmp(type->values[i], value) == 0) {
            return i;
        }
    }
    return -1;
}

static bool check_enum(const QmpType *type, const char *name, json_object *value, GError **error)
{
    if (!json_object_is_type(value, json_type_string)) {
        return fail_type(name, "string", error);
    }
    const char *text = json_object_get_string(value);
    return enum_index(type, text) >= 0 || error_set(error, "'%s' cannot be '%s'", name, text);
}

static bool check_integer(const QmpType *type, const char *name, json_object *value, GError **error)
{
    if (!json_object_is_type(value, json_type_int)) {
        return fail_type(name, "integer", error);
    }
    int64_t number = json_object_get_int64(value);
    uint64_t large = json_object_get_uint64(value);
    bool fits;
    if (type->kind == QMP_UINT) {
        fits = number >= 0 && large <= type->max;
    } else {
        fits = number >= type->min && (number < 0 || large <= type->max);
    }
    return fits || fail_range(type, name, error);
}

static bool check_array(const QmpType *type, const char *name, json_object *value, GError **error)
{
    if (!json_object_is_type(value, json_type_array)) {
        return fail_type(name, "array", error);
    }
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        g_autofree char *element = g_strdup_printf("%s[%zu]", name, i);
        if (!qmp_check(type->element, element, json_object_array_get_idx(value, i), error)) {
            return false;
        }
    }
    return true;
}

static bool check_object(const QmpType *type, const char *name, json_object *value, GError **error)
{
    if (!json_object_is_type(value, json_type_object)) {
        return fail_type(name, "object", error);
    }
    g_autofree char *prefix = g_strconcat(name, ".", NULL);
    return check_members(type->members, type->open, prefix, value, error);
}

bool qmp_check(const QmpType *type, const char *name, json_object *value, GError **error)
{
    switch (type->kind) {
    case QMP_STR:
        return json_object_is_type(value, json_type_string) || fail_type(name, "string", error);
    case QMP_INT:
    case QMP_UINT:
        return check_integer(type, name, value, error);
    case QMP_NUMBER:
        return json_object_is_type(value, json_type_double) ||
               json_object_is_type(value, json_type_int) || fail_type(name, "number", error);
    case QMP_BOOL:
        return json_object_is_type(value, json_type_boolean) || fail_type(name, "boolean", error);
    case QMP_ENUM:
        return check_enum(type, name, value, error);
    case QMP_ARRAY:
        return check_array(type, name, value, error);
    case QMP_OBJECT:
        return check_object(type, name, value, error);
    case QMP_ANY:
        return true;
    }
    return false;
}

static int compare_name(const void *key, const void *item)
{
    return strcmp(key, ((const QmpCommandDesc *)item)->name);
}

const QmpCommandDesc *qmp_command_find(const char *name)
{
    static size_t count;
    while (qmp_command_descs[count].name) {
        count++;
    }
    return bsearch(name, qmp_command_descs, count, sizeof(qmp_command_descs[0]), compare_name);
}

static void store(const QmpMember *member, void *args, json_object *value)
{
    void *at = (uint8_t *)args + member->offset;
    switch (member->type->kind) {
    case QMP_STR:
        *(const char **)at = json_object_get_string(value);
        break;
    case QMP_INT:
        *(int64_t *)at = json_object_get_int64(value);
        break;
    case QMP_UINT:
        *(uint64_t *)at = json_object_get_uint64(value);
        break;
    case QMP_NUMBER:
        *(double *)at = json_object_get_double(value);
        break;
    case QMP_BOOL:
        *(bool *)at = json_object_get_boolean(value);
        break;
    case QMP_ENUM:
        *(int *)at = enum_index(member->type, json_object_get_string(value));
        break;
    default:
        *(json_object **)at = value;
        break;
    }
    if (member->has_offset) {
        *((bool *)args + member->has_offset - 1) = true;
    }
}

static json_object *unlisted(const QmpMember *members, json_object *arguments)
{
    json_object *rest = json_object_new_object();
    json_object_object_foreach(arguments, key, value)
    {
        if (!find_member(members, key)) {
            json_object_object_add(rest, key, json_object_get(value));
        }
    }
    return rest;
}

void *qmp_args_new(const QmpCommandDesc *desc, json_object *arguments, GError **error)
{
    json_object *none = arguments ? NULL : json_object_new_object();
    json_object *given = arguments ? arguments : none;
    void *args = NULL;
    if (check_members(desc->members, desc->open, "", given, error)) {
        args = g_malloc0(MAX(desc->args_size, 1));
        for (const QmpMember *member = desc->members; member->name; member++) {
            json_object *value;
            if (json_object_object_get_ex(given, member->name, &value)) {
                store(member, args, value);
            }
        }
        if (desc->open) {
            *(json_object **)(void *)((uint8_t *)args + desc->rest_offset) =
                unlisted(desc->members, given);
        }
    }
    json_object_put(none);
    return args;
}

void qmp_args_free(const QmpCommandDesc *desc, void *args)
{
    if (args && desc->open) {
        json_object_put(*(json_object **)(void *)((uint8_t *)args + desc->rest_offset));
    }
    g_free(args);
}
