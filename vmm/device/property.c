/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Typed fields described by tables: setting from text and JSON, reading back. */
#include "vmm/device/property.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/device/parse.h"
#include "vmm/error.h"
#include "vmm/util/json.h"

static const char *const on_off_auto_names[] = { "auto", "on", "off", NULL };

static void *field(const void *base, const Property *prop)
{
    return (uint8_t *)base + prop->offset;
}

static const char *const *enum_names(const Property *prop)
{
    return prop->type == PROP_TYPE_ONOFFAUTO ? on_off_auto_names : prop->names;
}

static bool is_unsigned(const Property *prop)
{
    return prop->type == PROP_TYPE_U8 || prop->type == PROP_TYPE_U16 ||
           prop->type == PROP_TYPE_U32 || prop->type == PROP_TYPE_U64 ||
           prop->type == PROP_TYPE_SIZE;
}

const char *property_type_name(const Property *prop)
{
    static const char *const names[] = {
        [PROP_TYPE_BOOL] = "bool",  [PROP_TYPE_U8] = "uint8",
        [PROP_TYPE_U16] = "uint16", [PROP_TYPE_U32] = "uint32",
        [PROP_TYPE_U64] = "uint64", [PROP_TYPE_I32] = "int32",
        [PROP_TYPE_I64] = "int64",  [PROP_TYPE_SIZE] = "size",
        [PROP_TYPE_STRING] = "str", [PROP_TYPE_ONOFFAUTO] = "OnOffAuto",
        [PROP_TYPE_MAC] = "str",    [PROP_TYPE_DEVFN] = "int32",
        [PROP_TYPE_REF] = "str",    [PROP_TYPE_JSON] = "list",
    };
    if (prop->type == PROP_TYPE_ENUM) {
        return prop->type_name ? prop->type_name : "str";
    }
    return names[prop->type];
}

/* ---- Storing ---- */

static void number_store(void *base, const Property *prop, uint64_t value)
{
    void *at = field(base, prop);
    switch (prop->type) {
    case PROP_TYPE_BOOL:
        *(bool *)at = value != 0;
        break;
    case PROP_TYPE_U8:
        *(uint8_t *)at = (uint8_t)value;
        break;
    case PROP_TYPE_U16:
        *(uint16_t *)at = (uint16_t)value;
        break;
    case PROP_TYPE_U32:
        *(uint32_t *)at = (uint32_t)value;
        break;
    case PROP_TYPE_I32:
    case PROP_TYPE_DEVFN:
        *(int32_t *)at = (int32_t)value;
        break;
    case PROP_TYPE_ENUM:
    case PROP_TYPE_ONOFFAUTO:
        *(int *)at = (int)value;
        break;
    default:
        *(uint64_t *)at = value;
        break;
    }
}

static void string_store(void *base, const Property *prop, const char *value)
{
    char **at = field(base, prop);
    g_free(*at);
    *at = g_strdup(value);
}

static bool fail_expects(const Property *prop, const char *what, GError **error)
{
    return error_set(error, "Parameter '%s' expects %s", prop->name, what);
}

static bool fail_range(const Property *prop, GError **error)
{
    if (prop->min || prop->max) {
        return error_set(
            error, "Parameter '%s' expects a number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
            prop->name, prop->min, prop->max);
    }
    g_autofree char *type = g_strdup_printf("%s_t", property_type_name(prop));
    return fail_expects(prop, type, error);
}

static unsigned type_bits(const Property *prop)
{
    switch (prop->type) {
    case PROP_TYPE_U8:
        return 8;
    case PROP_TYPE_U16:
        return 16;
    case PROP_TYPE_U32:
    case PROP_TYPE_I32:
        return 32;
    default:
        return 64;
    }
}

static bool unsigned_store(void *base, const Property *prop, uint64_t value, GError **error)
{
    unsigned bits = type_bits(prop);
    bool bounded = prop->min || prop->max;
    if ((bits < 64 && value >> bits) ||
        (bounded && (value < (uint64_t)prop->min || value > (uint64_t)prop->max))) {
        return fail_range(prop, error);
    }
    number_store(base, prop, value);
    return true;
}

static bool signed_store(void *base, const Property *prop, int64_t value, GError **error)
{
    bool bounded = prop->min || prop->max;
    if ((type_bits(prop) == 32 && (value < INT32_MIN || value > INT32_MAX)) ||
        (bounded && (value < prop->min || value > prop->max))) {
        return fail_range(prop, error);
    }
    number_store(base, prop, (uint64_t)value);
    return true;
}

static bool enum_store(void *base, const Property *prop, const char *value, GError **error)
{
    const char *const *names = enum_names(prop);
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], value) == 0) {
            number_store(base, prop, (uint64_t)i);
            return true;
        }
    }
    g_autofree char *all = g_strjoinv(", ", (char **)names);
    return error_set(error, "'%s' cannot be '%s'; it can be: %s", prop->name, value, all);
}

static bool mac_store(void *base, const Property *prop, const char *value, GError **error)
{
    uint8_t mac[6];
    if (!value_parse_mac(value, mac)) {
        return error_set(error,
                         "Parameter '%s' expects a MAC address like 52:54:00:12:34:56, not '%s'",
                         prop->name, value);
    }
    memcpy(field(base, prop), mac, sizeof(mac));
    return true;
}

static bool devfn_store(void *base, const Property *prop, const char *value, GError **error)
{
    int32_t devfn;
    if (!value_parse_devfn(value, &devfn)) {
        return error_set(error,
                         "Parameter '%s' expects a slot and optional function in hexadecimal, like "
                         "'06.0' or '1f', not '%s'",
                         prop->name, value);
    }
    number_store(base, prop, (uint64_t)(int64_t)devfn);
    return true;
}

static bool json_store_text(void *base, const Property *prop, const char *value, GError **error)
{
    bool plain = prop->type_name && !strchr("[{", value[0]); /* its owner reads other forms too */
    json_object *parsed = plain ? json_object_new_string(value) : NULL;
    g_autoptr(GError) cause = NULL;
    if (!plain && !json_parse(value, &parsed, &cause)) {
        return error_set(error, "Parameter '%s' expects a value in JSON syntax (%s)", prop->name,
                         cause->message);
    }
    if (!parsed) {
        return fail_expects(prop, "a value in JSON syntax that is not null", error);
    }
    json_object **at = field(base, prop);
    json_object_put(*at);
    *at = parsed;
    return true;
}

static bool number_set_string(void *base, const Property *prop, const char *value, GError **error)
{
    uint64_t number;
    int64_t sign;
    if (prop->type == PROP_TYPE_SIZE) {
        return value_parse_size(value, &number) ? unsigned_store(base, prop, number, error)
                                                : fail_expects(prop, "size", error);
    }
    if (is_unsigned(prop)) {
        return value_parse_uint(value, &number) ? unsigned_store(base, prop, number, error)
                                                : fail_expects(prop, "integer", error);
    }
    return value_parse_int(value, &sign) ? signed_store(base, prop, sign, error)
                                         : fail_expects(prop, "integer", error);
}

bool property_set_string(void *base, const Property *prop, const char *value, GError **error)
{
    bool on;
    if (prop->get) {
        return error_set(error, "property '%s' can be read, but not set", prop->name);
    }
    switch (prop->type) {
    case PROP_TYPE_BOOL:
        if (!value_parse_bool(value, &on)) {
            return fail_expects(prop, "'on' or 'off'", error);
        }
        number_store(base, prop, on);
        return true;
    case PROP_TYPE_STRING:
    case PROP_TYPE_REF:
        string_store(base, prop, value);
        return true;
    case PROP_TYPE_ENUM:
    case PROP_TYPE_ONOFFAUTO:
        return enum_store(base, prop, value, error);
    case PROP_TYPE_MAC:
        return mac_store(base, prop, value, error);
    case PROP_TYPE_DEVFN:
        return devfn_store(base, prop, value, error);
    case PROP_TYPE_JSON:
        return json_store_text(base, prop, value, error);
    default:
        return number_set_string(base, prop, value, error);
    }
}

/* ---- JSON ---- */

static bool fail_type(const Property *prop, const char *expected, GError **error)
{
    return error_set(error, "'%s' has to be of type %s", prop->name, expected);
}

static bool number_set_json(void *base, const Property *prop, json_object *value, GError **error)
{
    if (prop->type == PROP_TYPE_DEVFN) {
        int64_t devfn = json_object_get_int64(value);
        if (devfn < -1 || devfn > 255) {
            return fail_range(prop, error);
        }
        number_store(base, prop, (uint64_t)devfn);
        return true;
    }
    if (!is_unsigned(prop)) {
        uint64_t large = json_object_get_uint64(value);
        int64_t small = json_object_get_int64(value);
        return large > INT64_MAX && small >= 0 ? fail_range(prop, error)
                                               : signed_store(base, prop, small, error);
    }
    if (json_object_get_int64(value) < 0) {
        return fail_range(prop, error);
    }
    return unsigned_store(base, prop, json_object_get_uint64(value), error);
}

bool property_set_json(void *base, const Property *prop, json_object *value, GError **error)
{
    enum json_type type = json_object_get_type(value);
    if (prop->get) {
        return error_set(error, "property '%s' can be read, but not set", prop->name);
    }
    if (prop->type == PROP_TYPE_JSON) {
        if (type != json_type_array && type != json_type_object) {
            return fail_type(prop, "array", error);
        }
        json_object **at = field(base, prop);
        json_object_get(value);
        json_object_put(*at);
        *at = value;
        return true;
    }
    if (type == json_type_string) { /* the command line's form is taken from everybody */
        return property_set_string(base, prop, json_object_get_string(value), error);
    }
    switch (prop->type) {
    case PROP_TYPE_BOOL:
        if (type != json_type_boolean) {
            return fail_type(prop, "boolean", error);
        }
        number_store(base, prop, json_object_get_boolean(value));
        return true;
    case PROP_TYPE_STRING:
    case PROP_TYPE_REF:
    case PROP_TYPE_ENUM:
    case PROP_TYPE_ONOFFAUTO:
    case PROP_TYPE_MAC:
        return fail_type(prop, "string", error);
    default:
        return type == json_type_int ? number_set_json(base, prop, value, error)
                                     : fail_type(prop, "integer", error);
    }
}

static int64_t number_load(const void *base, const Property *prop)
{
    const void *at = field(base, prop);
    switch (prop->type) {
    case PROP_TYPE_BOOL:
        return *(const bool *)at;
    case PROP_TYPE_U8:
        return *(const uint8_t *)at;
    case PROP_TYPE_U16:
        return *(const uint16_t *)at;
    case PROP_TYPE_U32:
        return *(const uint32_t *)at;
    case PROP_TYPE_I32:
    case PROP_TYPE_DEVFN:
        return *(const int32_t *)at;
    case PROP_TYPE_ENUM:
    case PROP_TYPE_ONOFFAUTO:
        return *(const int *)at;
    default:
        return *(const int64_t *)at;
    }
}

static char *mac_text(const uint8_t *mac)
{
    return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                           mac[5]);
}

static const char *enum_text(const void *base, const Property *prop)
{
    const char *const *names = enum_names(prop);
    return names[number_load(base, prop)];
}

json_object *property_get_json(const void *base, const Property *prop)
{
    if (prop->get) {
        return prop->get(base);
    }
    switch (prop->type) {
    case PROP_TYPE_BOOL:
        return json_object_new_boolean((json_bool)number_load(base, prop));
    case PROP_TYPE_U64:
    case PROP_TYPE_SIZE:
        return json_object_new_uint64((uint64_t)number_load(base, prop));
    case PROP_TYPE_STRING:
    case PROP_TYPE_REF: {
        const char *text = *(char **)field(base, prop);
        return json_object_new_string(text ? text : "");
    }
    case PROP_TYPE_ENUM:
    case PROP_TYPE_ONOFFAUTO:
        return json_object_new_string(enum_text(base, prop));
    case PROP_TYPE_JSON: {
        json_object *value = *(json_object **)field(base, prop);
        return value ? json_object_get(value) : json_object_new_array();
    }
    case PROP_TYPE_MAC:
    case PROP_TYPE_DEVFN: {
        g_autofree char *text = property_get_string(base, prop);
        return json_object_new_string(text);
    }
    default:
        return json_object_new_int64(number_load(base, prop));
    }
}

char *property_get_string(const void *base, const Property *prop)
{
    if (prop->get) {
        json_object *value = prop->get(base);
        char *text = g_strdup(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
        json_object_put(value);
        return text;
    }
    switch (prop->type) {
    case PROP_TYPE_BOOL:
        return g_strdup(number_load(base, prop) ? "true" : "false");
    case PROP_TYPE_U64:
        return g_strdup_printf("%" G_GUINT64_FORMAT, (uint64_t)number_load(base, prop));
    case PROP_TYPE_SIZE: {
        uint64_t bytes = (uint64_t)number_load(base, prop);
        g_autofree char *human = g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);
        return g_strdup_printf("%" G_GUINT64_FORMAT " (%s)", bytes, human);
    }
    case PROP_TYPE_STRING:
    case PROP_TYPE_REF: {
        const char *text = *(char **)field(base, prop);
        return g_strdup_printf("\"%s\"", text ? text : "");
    }
    case PROP_TYPE_ENUM:
    case PROP_TYPE_ONOFFAUTO:
        return g_strdup_printf("\"%s\"", enum_text(base, prop));
    case PROP_TYPE_MAC:
        return mac_text(field(base, prop));
    case PROP_TYPE_DEVFN: {
        int64_t devfn = number_load(base, prop);
        return devfn < 0 ? g_strdup("<unset>")
                         : g_strdup_printf("%02x.%x", (unsigned)devfn >> 3, (unsigned)devfn & 7);
    }
    case PROP_TYPE_JSON: {
        json_object *value = *(json_object **)field(base, prop);
        return g_strdup(value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN)
                              : "[]");
    }
    default:
        return g_strdup_printf("%" G_GINT64_FORMAT, number_load(base, prop));
    }
}

/* ---- A whole table ---- */

void property_set_defaults(void *base, const Property *props)
{
    for (const Property *prop = props; prop && prop->name; prop++) {
        switch (prop->type) {
        case PROP_TYPE_STRING:
        case PROP_TYPE_REF:
            string_store(base, prop, prop->def_string);
            break;
        case PROP_TYPE_MAC:
            if (prop->def_string) {
                mac_store(base, prop, prop->def_string, NULL);
            } else {
                memset(field(base, prop), 0, 6);
            }
            break;
        case PROP_TYPE_JSON:
            if (!prop->get) { /* computed: there is no field */
                *(json_object **)field(base, prop) = NULL;
            }
            break;
        default:
            number_store(base, prop, (uint64_t)prop->def);
            break;
        }
    }
}

void property_clear(void *base, const Property *props)
{
    for (const Property *prop = props; prop && prop->name; prop++) {
        if (prop->type == PROP_TYPE_STRING || prop->type == PROP_TYPE_REF) {
            string_store(base, prop, NULL);
        } else if (prop->type == PROP_TYPE_JSON && !prop->get) {
            json_object **at = field(base, prop);
            json_object_put(*at);
            *at = NULL;
        }
    }
}
