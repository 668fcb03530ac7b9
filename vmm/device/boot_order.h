/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boot order. A device from which firmware can boot has a property "bootindex" (INT32, -1:
 * none); no two devices have the same one. Firmware gets the devices' Open Firmware paths (IEEE
 * 1275) in that order. Main thread.
 */
#ifndef VMM_DEVICE_BOOT_ORDER_H
#define VMM_DEVICE_BOOT_ORDER_H

#include "vmm/device/device.h"

/* A ROM that firmware runs beside the devices': -option-rom. */
typedef struct OptionRom {
    char *file;
    int bootindex; /* -1: none */
} OptionRom;

/* A device that is being realized: an error when another one has its bootindex. */
bool boot_order_check(const Device *dev, GError **error);

/* "/pci@i0cf8/scsi@3/disk@0,0": the firmware names from the machine to the device; new. */
char *device_firmware_path(const Device *dev);

/* The one of these ROMs (OptionRom *, or NULL: none) with that bootindex, or NULL. */
const OptionRom *option_rom_find(const GPtrArray *roms, int index);

/* The paths of the devices and option ROMs with a bootindex, least first, a line feed between them.
 * With `strict` a last line "HALT" forbids to boot from anything else. NULL: none has one. New. */
char *boot_order_text(Machine *machine, bool strict);

#endif
