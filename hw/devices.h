/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of contents of the hardware: every device class and every board. */
#ifndef HW_DEVICES_H
#define HW_DEVICES_H

#include "vmm/device/device.h"
#include "vmm/machine/machine.h"

extern const DeviceClass *const device_classes[];   /* NULL-terminated */
extern const MachineClass *const machine_classes[]; /* NULL-terminated */

/* hw/isa */
extern const DeviceClass isa_debugcon_class, isa_serial_class;

/* hw/pci */
extern const DeviceClass pcie_root_port_class;

#endif
