/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that come and go while the machine runs. */
#include "vmm/machine/hotplug.h"

#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"

void device_delete(Device *dev)
{
    json_object *data = json_object_new_object();
    g_autofree char *path = device_path(dev);
    json_add_string(data, "device", dev->id);
    json_add_string(data, "path", path);
    device_unrealize(dev);
    device_free(dev);
    monitor_emit("DEVICE_DELETED", data);
}
