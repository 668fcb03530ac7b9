/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The QMP schema as constant tables, made by scripts/qapi-gen.py from vmm/monitor/schema, and the
 * check of a command's arguments against them. Main thread.
 */
#ifndef VMM_MONITOR_SCHEMA_H
#define VMM_MONITOR_SCHEMA_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/error.h"

typedef enum QmpKind {
    QMP_STR,
    QMP_INT,
    QMP_UINT,
    QMP_NUMBER,
    QMP_BOOL,
    QMP_ANY,
    QMP_ENUM,
    QMP_ARRAY,
    QMP_OBJECT,
} QmpKind;

typedef struct QmpType QmpType;

typedef struct QmpMember {
    const char *name; /* NULL ends the table */
    const QmpType *type;
    bool optional;
    size_t offset;     /* in the command's argument struct */
    size_t has_offset; /* of its has_ field, plus one; 0: none */
} QmpMember;

struct QmpType {
    const char *name;
    QmpKind kind;
    int64_t min; /* QMP_INT */
    uint64_t max;
    const char *const *values; /* QMP_ENUM */
    const QmpType *element;    /* QMP_ARRAY */
    const QmpMember *members;  /* QMP_OBJECT */
    bool open;                 /* members that are not listed are let through */
};

typedef struct QmpCommandDesc {
    const char *name; /* NULL ends the table */
    const QmpMember *members;
    size_t args_size; /* 0: no arguments */
    bool open;
    size_t rest_offset; /* open: the json_object * of what is not listed */
    bool oob;
    const QmpType *returns; /* NULL: nothing */
} QmpCommandDesc;

extern const QmpCommandDesc qmp_command_descs[]; /* sorted by name */
extern const char *const qmp_event_names[];
extern const char qmp_schema_json[];

const QmpCommandDesc *qmp_command_find(const char *name);

/* Whether value is of the type; name is how errors call it. */
bool qmp_check(const QmpType *type, const char *name, json_object *value, GError **error);

/* A command's arguments (NULL: none) as its struct, to be freed by qmp_args_free(). Strings and
 * objects in it belong to `arguments`, but `rest`. NULL and error when they do not fit. */
void *qmp_args_new(const QmpCommandDesc *desc, json_object *arguments, GError **error);
void qmp_args_free(const QmpCommandDesc *desc, void *args);

#endif
