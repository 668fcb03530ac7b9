/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of contents of the hardware: every device class and every board. */
#include "hw/devices.h"

const DeviceClass *const device_classes[] = {
    &isa_debugcon_class,
    &isa_serial_class,
    &q35_host_class,
    &q35_mch_class,
    &gpex_host_class,
    &gpex_root_class,
    &pcie_root_port_class,
    &ich9_lpc_class,
    &mc146818rtc_class,
    &i8042_class,
    &port92_class,
    &isa_debug_exit_class,
    &acpi_ged_class,
    &pvpanic_class,
    &pvpanic_pci_class,
    &virtio_mmio_class,
    &virtio_blk_pci_class,
    &virtio_blk_pci_transitional_class,
    &virtio_blk_pci_non_transitional_class,
    &virtio_blk_device_class,
    &virtio_net_pci_class,
    &virtio_net_pci_transitional_class,
    &virtio_net_pci_non_transitional_class,
    &virtio_net_device_class,
    NULL,
};

const MachineClass *const machine_classes[] = {
    &q35_machine_class,
    &microvm_machine_class,
    NULL,
};
