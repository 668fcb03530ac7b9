/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi-ged: the generic event device of hardware-reduced ACPI (ACPI 6.4, 5.6.9) with the sleep and
 * reset registers (4.8.3.7, 4.8.3.6), in QEMU's layout: an event selector that reads and clears,
 * and three bytes.
 */
#ifndef HW_MISC_GED_H
#define HW_MISC_GED_H

#include "vmm/device/device.h"

#define GED_EVENT_SIZE    4
#define GED_REGISTER_SIZE 3 /* sleep control, sleep status, reset */
#define GED_POWER_BUTTON  0x02
#define GED_SLEEP_TYPE_S5 5
#define GED_RESET_VALUE   0x42

/* The device at its addresses and interrupt. NULL and error. Main thread. */
Device *acpi_ged_new(Machine *machine, uint64_t events, uint64_t registers, unsigned gsi,
                     GError **error);

#endif
