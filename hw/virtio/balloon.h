/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-balloon towards the monitor: `balloon`, `query-balloon`. Main thread. */
#ifndef HW_VIRTIO_BALLOON_H
#define HW_VIRTIO_BALLOON_H

#include <json-c/json.h>
#include "vmm/device/device.h"

/* The machine's balloon, or NULL with an error of class DeviceNotActive. */
Device *virtio_balloon_find(GError **error);
/* Asks the guest to shrink or grow to this many bytes of memory. */
bool virtio_balloon_set_target(Device *dev, uint64_t bytes, GError **error);
/* What the guest has now, in bytes. */
uint64_t virtio_balloon_actual(Device *dev);
/* The last statistics that the guest gave: { "stats": {...}, "last-update": SECONDS }. */
json_object *virtio_balloon_guest_stats(Device *dev);

#endif
