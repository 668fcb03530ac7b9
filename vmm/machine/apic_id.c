/* SPDX-License-Identifier: GPL-2.0-or-later */
/* APIC ids from the CPU topology. */
#include "vmm/machine/apic_id.h"

/* Bits that number `count` things. */
static unsigned bits_for(unsigned count)
{
    unsigned bits = 0;
    while ((1U << bits) < count) {
        bits++;
    }
    return bits;
}

unsigned smp_core_shift(const SmpConfig *smp)
{
    return bits_for(smp->threads);
}

unsigned smp_die_shift(const SmpConfig *smp)
{
    return smp_core_shift(smp) + bits_for(smp->cores);
}

unsigned smp_package_shift(const SmpConfig *smp)
{
    return smp_die_shift(smp) + bits_for(smp->dies);
}

uint32_t smp_apic_id(const SmpConfig *smp, unsigned index)
{
    unsigned thread = index % smp->threads;
    unsigned core = index / smp->threads % smp->cores;
    unsigned die = index / (smp->threads * smp->cores) % smp->dies;
    unsigned socket = index / (smp->threads * smp->cores * smp->dies);
    return socket << smp_package_shift(smp) | die << smp_die_shift(smp) |
           core << smp_core_shift(smp) | thread;
}
