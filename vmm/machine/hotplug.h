/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that come and go while the machine runs. Main thread. */
#ifndef VMM_MACHINE_HOTPLUG_H
#define VMM_MACHINE_HOTPLUG_H

#include "vmm/device/device.h"

/* Takes the device out of the machine, frees it and sends DEVICE_DELETED. */
void device_delete(Device *dev);

#endif
