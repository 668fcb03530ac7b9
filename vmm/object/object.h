/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User-creatable objects: `-object TYPE,id=ID,...` and object-add. Like devices they are tables of
 * properties; unlike them they are back ends: iothread, memory-backend-ram, memory-backend-memfd,
 * memory-backend-file, rng-random, rng-builtin, secret. Main thread.
 */
#ifndef VMM_OBJECT_OBJECT_H
#define VMM_OBJECT_OBJECT_H

#include "vmm/device/property.h"
#include "vmm/error.h"

typedef struct Object Object;

typedef struct ObjectClass {
    const char *name; /* QEMU's */
    const char *base; /* the type above it, "memory-backend"; NULL: "object" */
    const char *desc;
    size_t size; /* the struct begins with an Object */
    const Property *props;
    bool (*complete)(Object *obj, GError **error);       /* properties are set: make it work */
    void (*finalize)(Object *obj);                       /* undoes complete */
    bool (*can_be_deleted)(Object *obj, GError **error); /* NULL: when users == 0 */
} ObjectClass;

struct Object {
    const ObjectClass *cls;
    char *id;
    unsigned users; /* devices that hold it */
    bool completed;
};

/* vmm/object/objects.c lists all classes. */
const ObjectClass *object_class_find(const char *name);
void object_class_foreach(void (*fn)(const ObjectClass *cls, void *opaque), void *opaque);
/* props: a JSON object without qom-type and id; values may be strings (command line) or typed. */
Object *object_create(const char *type, const char *id, json_object *props, GError **error);
/* What --object of a tool says: TYPE,id=ID,..., or JSON. */
bool object_create_from_text(const char *text, GError **error);
Object *object_find(const char *id); /* NULL */
Object *object_find_type(const char *id, const char *type,
                         GError **error); /* with a message when absent or of another type */
bool object_delete(const char *id, GError **error);
void objects_delete_all(void); /* at exit */
void object_foreach(void (*fn)(Object *obj, void *opaque), void *opaque);

#endif
