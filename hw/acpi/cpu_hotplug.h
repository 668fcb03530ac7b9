/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers by which a guest learns of vCPUs that come and go: QEMU's
 * docs/specs/acpi_cpu_hotplug, the modern interface. */
#ifndef HW_ACPI_CPU_HOTPLUG_H
#define HW_ACPI_CPU_HOTPLUG_H

#include "hw/acpi/slots.h"
#include "vmm/machine/machine.h"

#define CPU_HOTPLUG_GPE      2
#define CPU_HOTPLUG_PORT_Q35 0x0cd8
#define CPU_HOTPLUG_PORT_PC  0xaf00
#define CPU_HOTPLUG_LEN      12

/* The machine's, NULL: it has none. Main thread. */
AcpiSlots *cpu_hotplug_slots(Machine *machine);

#endif
