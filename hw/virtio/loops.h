/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which I/O thread runs which queue: iothread, iothread-vq-mapping, or the machine's. Main thread.
 */
#ifndef HW_VIRTIO_LOOPS_H
#define HW_VIRTIO_LOOPS_H

#include "vmm/device/device.h"
#include "vmm/event/loop.h"

typedef struct VirtioLoops {
    /* properties */
    char *iothread;
    json_object *mapping;
    /* private */
    GPtrArray *claimed;
    unsigned count;
} VirtioLoops;

#define VIRTIO_LOOPS_PROPS(Type, field)                                                            \
    PROP_REF("iothread", Type, field.iothread, "iothread", "The I/O thread of all queues"),        \
        PROP_JSON("iothread-vq-mapping", Type, field.mapping, "I/O threads of single queues")

/* A loop for each of `count` queues. On failure too: release. */
bool virtio_loops_choose(VirtioLoops *conf, Machine *machine, unsigned count, EventLoop **loops,
                         GError **error);
void virtio_loops_release(VirtioLoops *conf);

#endif
