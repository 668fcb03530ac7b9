/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Properties: typed, named fields of a device or object, described by constant tables (DESIGN,
 * section 3). From them come option parsing with typed errors, `-device X,help`,
 * device-list-properties, qom-get and qom-set.
 */
#ifndef VMM_DEVICE_PROPERTY_H
#define VMM_DEVICE_PROPERTY_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum PropType {
    PROP_TYPE_BOOL, /* bool: on/off/yes/no/true/false */
    PROP_TYPE_U8,   /* numbers: decimal, 0x, bounded by min and max */
    PROP_TYPE_U16,
    PROP_TYPE_U32,
    PROP_TYPE_U64,
    PROP_TYPE_I32,
    PROP_TYPE_I64,
    PROP_TYPE_SIZE,      /* uint64_t bytes; suffixes b k M G T P E */
    PROP_TYPE_STRING,    /* char *, owned by the struct, NULL when unset */
    PROP_TYPE_ENUM,      /* int: index into names */
    PROP_TYPE_ONOFFAUTO, /* int: OnOffAuto */
    PROP_TYPE_MAC,       /* uint8_t[6] */
    PROP_TYPE_DEVFN,     /* int32_t: "slot[.function]" in hex, -1: any */
    PROP_TYPE_REF,       /* char *: the id of a back end; type_name says of what ("drive", "netdev",
                            "chardev", "iothread" ...) */
    PROP_TYPE_JSON,      /* json_object *: lists and structures (JSON syntax only) */
} PropType;

typedef enum OnOffAuto { ON_OFF_AUTO_AUTO, ON_OFF_AUTO_ON, ON_OFF_AUTO_OFF } OnOffAuto;

typedef struct Property {
    const char *name; /* NULL ends the table */
    PropType type;
    size_t offset;
    int64_t def;              /* numbers, booleans, enums */
    const char *def_string;   /* strings, MAC; NULL: unset */
    int64_t min, max;         /* numbers; both 0: the type's range */
    const char *const *names; /* enums, NULL-terminated */
    const char *type_name;    /* for REF and ENUM, as shown in help */
    const char *desc;
    bool live;                   /* may be set on a realized device (qom-set) */
    void (*changed)(void *base); /* after it was set live; main thread; may be NULL */
    /* Instead of setting the field of an object that is in use: checks the value and applies it, or
     * leaves all as it was. Main thread; may be NULL. */
    bool (*set_live)(void *base, json_object *value, GError **error);
    json_object *(*get)(const void *base); /* computed: read-only, has no field; new reference */
} Property;

#define PROP_FIELD(_name, _type, _struct, _field, _desc, ...)                                      \
    {                                                                                              \
        .name = (_name), .type = (_type), .offset = offsetof(_struct, _field), .desc = (_desc),    \
        __VA_ARGS__                                                                                \
    }
#define PROP_BOOL(n, s, f, d, desc)   PROP_FIELD(n, PROP_TYPE_BOOL, s, f, desc, .def = (d))
#define PROP_U8(n, s, f, d, desc)     PROP_FIELD(n, PROP_TYPE_U8, s, f, desc, .def = (d))
#define PROP_U16(n, s, f, d, desc)    PROP_FIELD(n, PROP_TYPE_U16, s, f, desc, .def = (d))
#define PROP_U32(n, s, f, d, desc)    PROP_FIELD(n, PROP_TYPE_U32, s, f, desc, .def = (d))
#define PROP_U64(n, s, f, d, desc)    PROP_FIELD(n, PROP_TYPE_U64, s, f, desc, .def = (d))
#define PROP_I32(n, s, f, d, desc)    PROP_FIELD(n, PROP_TYPE_I32, s, f, desc, .def = (d))
#define PROP_I64(n, s, f, d, desc)    PROP_FIELD(n, PROP_TYPE_I64, s, f, desc, .def = (d))
#define PROP_SIZE(n, s, f, d, desc)   PROP_FIELD(n, PROP_TYPE_SIZE, s, f, desc, .def = (d))
#define PROP_STRING(n, s, f, d, desc) PROP_FIELD(n, PROP_TYPE_STRING, s, f, desc, .def_string = (d))
#define PROP_ENUM(n, s, f, d, values, desc)                                                        \
    PROP_FIELD(n, PROP_TYPE_ENUM, s, f, desc, .def = (d), .names = (values))
#define PROP_ONOFFAUTO(n, s, f, d, desc) PROP_FIELD(n, PROP_TYPE_ONOFFAUTO, s, f, desc, .def = (d))
#define PROP_MAC(n, s, f, desc)          PROP_FIELD(n, PROP_TYPE_MAC, s, f, desc)
#define PROP_DEVFN(n, s, f, desc)        PROP_FIELD(n, PROP_TYPE_DEVFN, s, f, desc, .def = -1)
#define PROP_REF(n, s, f, kind, desc)    PROP_FIELD(n, PROP_TYPE_REF, s, f, desc, .type_name = (kind))
#define PROP_JSON(n, s, f, desc)         PROP_FIELD(n, PROP_TYPE_JSON, s, f, desc)
/* What a device tells (qom-get), computed by a function. */
#define PROP_COMPUTED(n, fn, _desc)                                                                \
    {                                                                                              \
        .name = (n), .type = PROP_TYPE_JSON, .get = (fn), .desc = (_desc)                          \
    }
#define PROP_RANGE_U16(n, s, f, d, lo, hi, desc)                                                   \
    PROP_FIELD(n, PROP_TYPE_U16, s, f, desc, .def = (d), .min = (lo), .max = (hi))
#define PROP_RANGE_U32(n, s, f, d, lo, hi, desc)                                                   \
    PROP_FIELD(n, PROP_TYPE_U32, s, f, desc, .def = (d), .min = (lo), .max = (hi))
#define PROP_END                                                                                   \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* More tables of the same struct, each for a part at its own offset. Ends with props NULL. */
typedef struct PropertyGroup {
    const Property *props;
    size_t base; /* offset of the part in the struct */
} PropertyGroup;

/* All functions: main thread (or the builder of the struct). `base` is the struct that the offsets
 * are of. */
void property_set_defaults(void *base, const Property *props);
bool property_set_string(void *base, const Property *prop, const char *value, GError **error);
bool property_set_json(void *base, const Property *prop, json_object *value, GError **error);
json_object *property_get_json(const void *base, const Property *prop); /* new reference */
char *property_get_string(const void *base, const Property *prop);      /* as info shows it */
void property_clear(void *base, const Property *props);                 /* frees strings and JSON */
const char *
property_type_name(const Property *prop); /* QEMU's: "bool", "uint32", "size", "str" ... */

#endif
