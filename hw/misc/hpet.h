/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The high precision event timers, for the boards. */
#ifndef HW_MISC_HPET_H
#define HW_MISC_HPET_H

#include "vmm/device/device.h"

#define HPET_BASE     0xfed00000U
#define HPET_SIZE     0x400
#define HPET_MIN_TICK 100 /* shortest period that a system is advised to ask for, in ticks */

extern const DeviceClass hpet_class;

/* The machine's device at HPET_BASE; routes: a bit for each input of the I/O APIC that timers may
 * interrupt at. Made before the interrupt controllers, clock and timer, so that a snapshot brings
 * its legacy replacement before their lines. NULL and error; main thread. */
Device *hpet_new(Machine *machine, uint32_t routes, GError **error);

/* The low word of the capabilities register, which firmware and ACPI tables repeat. */
uint32_t hpet_block_id(const Device *dev);

#endif
