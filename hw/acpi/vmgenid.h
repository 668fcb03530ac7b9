/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual machine generation ID (Microsoft, "Virtual Machine Generation ID", 2012; QEMU:
 * docs/specs/vmgenid.rst): a GUID in a page of guest memory that is another one whenever the
 * machine goes on from a saved state, and an event that says so. Firmware places the page and
 * writes its address back; without firmware the board does. Main thread.
 */
#ifndef HW_ACPI_VMGENID_H
#define HW_ACPI_VMGENID_H

#include "vmm/machine/machine.h"

#define VMGENID_GUID_FILE    "etc/vmgenid_guid" /* the page, in fw_cfg */
#define VMGENID_ADDRESS_FILE "etc/vmgenid_addr" /* where it went, 8 bytes, written by firmware */
#define VMGENID_PAGE_SIZE    4096
#define VMGENID_OFFSET       40 /* of the GUID in the page: behind what could be a table's header */
#define VMGENID_GPE          5

Device *vmgenid_find(Machine *machine); /* NULL: the machine has none */
const char *vmgenid_guid(const Device *dev);
/* How the board raises general-purpose events; before the machine runs. */
void vmgenid_connect(Device *dev, void (*raise)(void *opaque, unsigned bit), void *opaque);
/* Puts the page into memory, as firmware would. vCPUs stopped. */
void vmgenid_place(Device *dev, uint64_t page);

#endif
