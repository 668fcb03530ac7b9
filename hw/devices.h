/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of contents of the hardware: every device class and every board. */
#ifndef HW_DEVICES_H
#define HW_DEVICES_H

#include "vmm/device/device.h"
#include "vmm/machine/machine.h"

extern const DeviceClass *const device_classes[];   /* NULL-terminated */
extern const MachineClass *const machine_classes[]; /* NULL-terminated */

/* hw/ide */
extern const DeviceClass ich9_ahci_class, ide_cd_class, ide_hd_class, piix3_ide_class,
    piix4_ide_class;

/* hw/isa */
extern const DeviceClass isa_debugcon_class, isa_parallel_class, isa_serial_class;

/* hw/nvme */
extern const DeviceClass nvme_class, nvme_ns_class;

/* hw/pci */
extern const DeviceClass pcie_root_port_class, ioh3420_class;
extern const DeviceClass x3130_upstream_class, xio3130_downstream_class;
extern const DeviceClass pci_bridge_class, pcie_pci_bridge_class;
extern const DeviceClass gpex_host_class;
extern const DeviceClass gpex_root_class;
extern const DeviceClass i440fx_class;
extern const DeviceClass i440fx_host_class;
extern const DeviceClass q35_host_class;
extern const DeviceClass q35_mch_class;

/* hw/isa */
extern const DeviceClass floppy_class;
extern const DeviceClass i8042_class;
extern const DeviceClass i8237_class;
extern const DeviceClass isa_fdc_class;
extern const DeviceClass ich9_lpc_class;
extern const DeviceClass mc146818rtc_class;
extern const DeviceClass piix3_class;
extern const DeviceClass piix4_pm_class;
extern const DeviceClass port92_class;

/* hw/misc */
extern const DeviceClass acpi_cpu_hotplug_class;
extern const DeviceClass acpi_memory_hotplug_class;
extern const DeviceClass pc_dimm_class;
extern const DeviceClass acpi_ged_class;
extern const DeviceClass x86_cpu_class;
extern const DeviceClass isa_debug_exit_class;
extern const DeviceClass pflash_cfi01_class;
extern const DeviceClass i6300esb_class;
extern const DeviceClass ib700_class;
extern const DeviceClass pvpanic_class;
extern const DeviceClass pvpanic_pci_class;
extern const DeviceClass vmcoreinfo_class;
extern const DeviceClass vmgenid_class;

/* hw/firmware */
extern const DeviceClass fw_cfg_class;

/* hw/smbus */
extern const DeviceClass ich9_smb_class;
extern const DeviceClass smbus_eeprom_class;

/* hw/tpm */
extern const DeviceClass tpm_crb_class;
extern const DeviceClass tpm_tis_class;

/* hw/usb */
extern const DeviceClass qemu_xhci_class, nec_xhci_class;
extern const DeviceClass usb_hub_class, usb_storage_class;
extern const DeviceClass usb_kbd_class, usb_mouse_class, usb_tablet_class;

/* hw/virtio: on PCI as NAME-pci, -pci-transitional and -pci-non-transitional; on MMIO slots as
 * NAME-device */
#define VIRTIO_CLASSES(name)                                                                       \
    extern const DeviceClass name##_pci_class, name##_pci_transitional_class,                      \
        name##_pci_non_transitional_class, name##_device_class
extern const DeviceClass virtio_mmio_class;
VIRTIO_CLASSES(virtio_blk);
VIRTIO_CLASSES(virtio_scsi);
VIRTIO_CLASSES(virtio_net);
VIRTIO_CLASSES(virtio_serial);
VIRTIO_CLASSES(virtio_rng);
VIRTIO_CLASSES(virtio_balloon);
extern const DeviceClass virtconsole_class, virtserialport_class;

/* hw/scsi */
extern const DeviceClass scsi_hd_class, scsi_cd_class, scsi_block_class, scsi_generic_class;

/* hw/board */
extern const MachineClass microvm_machine_class;
extern const MachineClass i440fx_machine_classes[]; /* by PcVersion: hw/board/versions.h */
extern const MachineClass q35_machine_classes[];
extern const MachineClass none_machine_class;

#endif
