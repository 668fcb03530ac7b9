/* SPDX-License-Identifier: GPL-2.0-or-later */
/* APIC ids from the CPU topology: each level takes the bits that its count needs (Intel SDM
 * 3A, 9.9; AMD64 APM 3, E.5.2). */
#ifndef VMM_MACHINE_APIC_ID_H
#define VMM_MACHINE_APIC_ID_H

#include "vmm/machine/machine.h"

/* The APIC id of CPU `index` (0 to maxcpus - 1). Any thread. */
uint32_t smp_apic_id(const SmpConfig *smp, unsigned index);

/* Bits to shift an APIC id right by to get the core's, the die's, the package's number. Any thread.
 */
unsigned smp_core_shift(const SmpConfig *smp);
unsigned smp_die_shift(const SmpConfig *smp);
unsigned smp_package_shift(const SmpConfig *smp);

#endif
