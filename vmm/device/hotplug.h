/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that come and go while the machine runs. A bus that takes them says so (Bus.hotplug); one
 * whose guest has to let go first has BusHotplugOps, another gives a device up at once. Classes on
 * no bus (vCPUs) ask the guest themselves (DeviceClass.request_unplug). Before the machine starts
 * every device may come and go.
 */
#ifndef VMM_DEVICE_HOTPLUG_H
#define VMM_DEVICE_HOTPLUG_H

#include "vmm/device/device.h"

/* Whether a device of the class may come to the bus now. Main thread. */
bool device_hotplug_check(const Machine *machine, const DeviceClass *cls, const Bus *bus,
                          GError **error);
/* A device that came to a running machine is realized: resets it and tells the guest. Main thread,
 * topology lock held. */
void device_hotplugged(Device *dev);

/* device_del: removes the device, or asks the guest to let it go. Main thread. */
bool device_unplug(Device *dev, GError **error);
/* Whether a removal was asked for that the guest has not answered. Main thread. */
bool device_is_leaving(const Device *dev);

/* Takes the device out of the machine with what is on its buses, frees it and sends DEVICE_DELETED.
 * Main thread. */
void device_delete(Device *dev);

/* The guest let go of the device: it cannot be found any more, and the main thread removes it soon.
 * Any thread, topology lock held. */
void device_eject(Device *dev);

#endif
