/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The types that QMP speaks of (qom-list-types), derived from the tables: device, object, machine
 * and character device classes, CPU models, accelerators. Only the abstract types above them, which
 * QEMU's clients ask by, are listed here. Main thread.
 */
#ifndef VMM_QOM_TYPES_H
#define VMM_QOM_TYPES_H

#include "vmm/device/device.h"
#include "vmm/machine/machine.h"
#include "vmm/object/object.h"

typedef struct QomType {
    const char *name;
    const char *parent;        /* NULL: none */
    const char *interface;     /* "user-creatable", or NULL */
    bool abstract;             /* there are only objects of types below it */
    const DeviceClass *device; /* what it is derived from; at most one is set */
    const ObjectClass *object;
    const MachineClass *machine;
    bool cpu; /* a CPU model; the name's part before "-x86_64-cpu" */
} QomType;

/* Types come with strings that are valid during the call only. */
typedef void QomTypeFn(const QomType *type, void *opaque);
void qom_types_foreach(QomTypeFn *fn, void *opaque);
/* Calls fn once with the type of this name; false: there is none. */
bool qom_type_find(const char *name, QomTypeFn *fn, void *opaque);
bool qom_type_is_a(const QomType *type, const char *ancestor);

/* The virtio device that a virtio PCI function stands for, "virtio-net-device"; NULL: it is none.
 */
const DeviceClass *qom_virtio_device(const DeviceClass *function);

/* The class of all vCPUs, whose types are named after their models. */
bool qom_is_cpu_class(const DeviceClass *cls);

#endif
