/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers by which a guest learns of memory that comes and goes: QEMU's
 * docs/specs/acpi_mem_hotplug. */
#ifndef HW_ACPI_MEMORY_HOTPLUG_H
#define HW_ACPI_MEMORY_HOTPLUG_H

#include "hw/acpi/slots.h"
#include "vmm/machine/machine.h"

#define MEMORY_HOTPLUG_GPE  3
#define MEMORY_HOTPLUG_PORT 0x0a00
#define MEMORY_HOTPLUG_LEN  24

/* The machine's, NULL: it has none. Main thread. */
AcpiSlots *memory_hotplug_slots(Machine *machine);

#endif
