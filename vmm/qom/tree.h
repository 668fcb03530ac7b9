/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The running machine as one tree of objects, at QEMU's paths: /machine with its devices in
 * peripheral (those with an id), peripheral-anon (the user's without), unattached (the board's own,
 * and vCPUs), /objects, /chardevs, /backend. It holds nothing: each call looks at the devices,
 * buses, objects and character devices that there are. Main thread.
 */
#ifndef VMM_QOM_TREE_H
#define VMM_QOM_TREE_H

#include "vmm/chardev/chardev.h"
#include "vmm/device/device.h"
#include "vmm/machine/machine.h"
#include "vmm/object/object.h"

typedef enum QomKind {
    QOM_ROOT,
    QOM_MACHINE,
    QOM_PERIPHERAL,
    QOM_PERIPHERAL_ANON,
    QOM_UNATTACHED,
    QOM_OBJECTS,
    QOM_CHARDEVS,
    QOM_BACKEND,
    QOM_DEVICE,
    QOM_VIRTIO, /* the virtio device of a PCI function, which is one Device here */
    QOM_BUS,
    QOM_OBJECT,
    QOM_CHARDEV,
    QOM_CPU, /* a vCPU that came with the machine */
} QomKind;

typedef struct QomNode {
    QomKind kind;
    Device *dev; /* QOM_DEVICE, QOM_VIRTIO */
    Bus *bus;
    Object *object;
    Chardev *chardev;
    unsigned cpu;
} QomNode;

/* A path from "/", or an unambiguous end of one ("ID", "ID/virtio-backend"). False: error is
 * DeviceNotFound. */
bool qom_resolve(const char *path, QomNode *node, GError **error);
char *qom_node_path(const QomNode *node); /* new */
char *qom_node_type(const QomNode *node); /* new */

typedef void QomChildFn(const char *name, const QomNode *child, void *opaque);
void qom_node_children(const QomNode *node, QomChildFn *fn, void *opaque);

#endif
