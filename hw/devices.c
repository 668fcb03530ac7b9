/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of contents of the hardware: every device class and every board. */
#include "hw/devices.h"

const DeviceClass *const device_classes[] = {
    &isa_debugcon_class,
    &isa_serial_class,
    &pcie_root_port_class,
    NULL,
};

const MachineClass *const machine_classes[] = {
    NULL,
};
