/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID of the guest: packages, dies, cores and threads, and who shares which cache (Intel SDM
 * volume 2, CPUID; AMD APM volume 3, appendix E). */
#include "vmm/kvm/x86/cpuid.h"

#include <string.h>
#include "vmm/machine/apic_id.h"

#define BIT_HTT        28 /* 1 EDX */
#define BIT_CMP_LEGACY 1  /* 80000001 ECX */

void cpuid_set_max(CpuidTable *table, uint32_t base, uint32_t least)
{
    struct kvm_cpuid_entry2 *leaf = cpuid_entry(table, base, 0);
    if (leaf && leaf->eax < least) {
        leaf->eax = least;
    }
}

static void cpuid_add_level(CpuidTable *table, uint32_t function, uint32_t index, unsigned type,
                            unsigned shift, unsigned count)
{
    struct kvm_cpuid_entry2 *entry = cpuid_add(table, function, index, true);
    if (entry) {
        entry->eax = shift;
        entry->ebx = count;
        entry->ecx = index | type << 8;
    }
}

/* SDM, CPUID leaves 0xb and 0x1f: level types 1 thread, 2 core, 5 die. */
static void cpuid_topology_levels(CpuidTable *table, const SmpConfig *smp, bool raise)
{
    unsigned per_die = smp->threads * smp->cores;
    cpuid_remove(table, LEAF_TOPOLOGY);
    cpuid_remove(table, LEAF_TOPOLOGY_V2);
    if (raise) {
        cpuid_set_max(table, 0, LEAF_TOPOLOGY);
    }
    cpuid_add_level(table, LEAF_TOPOLOGY, 0, 1, smp_core_shift(smp), smp->threads);
    cpuid_add_level(table, LEAF_TOPOLOGY, 1, 2, smp_package_shift(smp), per_die * smp->dies);
    cpuid_add_level(table, LEAF_TOPOLOGY, 2, 0, 0, 0);
    if (smp->dies > 1) {
        if (raise) {
            cpuid_set_max(table, 0, LEAF_TOPOLOGY_V2);
        }
        cpuid_add_level(table, LEAF_TOPOLOGY_V2, 0, 1, smp_core_shift(smp), smp->threads);
        cpuid_add_level(table, LEAF_TOPOLOGY_V2, 1, 2, smp_die_shift(smp), per_die);
        cpuid_add_level(table, LEAF_TOPOLOGY_V2, 2, 5, smp_package_shift(smp), per_die * smp->dies);
        cpuid_add_level(table, LEAF_TOPOLOGY_V2, 3, 0, 0, 0);
    } else {
        struct kvm_cpuid_entry2 *leaf = cpuid_entry(table, 0, 0);
        if (leaf && leaf->eax == LEAF_TOPOLOGY_V2) {
            leaf->eax = LEAF_TOPOLOGY_V2 - 1;
        }
    }
}

/* Who shares each cache: threads share levels 1 and 2, a die shares level 3. Leaf 4 counts in
 * positions of the APIC id, AMD's leaf in threads. */
static void cpuid_cache_sharing(CpuidTable *table, uint32_t function, const SmpConfig *smp,
                                bool positions)
{
    unsigned per_core = positions ? 1u << smp_core_shift(smp) : smp->threads;
    unsigned per_die = positions ? 1u << smp_die_shift(smp) : smp->threads * smp->cores;
    unsigned cores = 1u << (smp_package_shift(smp) - smp_core_shift(smp));
    for (uint32_t i = 0; i < table->count; i++) {
        struct kvm_cpuid_entry2 *entry = &table->entries[i];
        if (entry->function != function || (entry->eax & 0x1f) == 0) {
            continue;
        }
        unsigned level = entry->eax >> 5 & 7;
        unsigned sharing = MIN((level < 3 ? per_core : per_die) - 1, 0xfffu);
        entry->eax = (entry->eax & 0x3fff) | sharing << 14;
        if (positions) {
            entry->eax |= MIN(cores - 1, 0x3fu) << 26;
        }
    }
}

static void cpuid_topology_amd(CpuidTable *table, const SmpConfig *smp, unsigned per_socket)
{
    struct kvm_cpuid_entry2 *sizes = cpuid_entry(table, LEAF_ADDRESS_SIZES, 0);
    struct kvm_cpuid_entry2 *features = cpuid_entry(table, LEAF_EXTENDED_FEATURES, 0);
    if (sizes) {
        sizes->ecx &= ~0xf0ffu;
        if (per_socket > 1) {
            sizes->ecx |= MIN(per_socket - 1, 0xffu) | MIN(smp_package_shift(smp), 15u) << 12;
        }
    }
    if (features) {
        features->ecx &= ~(1u << BIT_CMP_LEGACY);
        if (per_socket > 1) {
            features->ecx |= 1u << BIT_CMP_LEGACY;
        }
    }
    cpuid_cache_sharing(table, LEAF_AMD_CACHE, smp, false);
    struct kvm_cpuid_entry2 *ids = cpuid_entry(table, LEAF_AMD_TOPOLOGY, 0);
    if (ids) {
        ids->eax = 0;
        ids->ebx = (smp->threads - 1) << 8;
        ids->ecx = (smp->dies - 1) << 8;
        ids->edx = 0;
    }
}

void cpuid_topology(CpuidTable *table, const SmpConfig *smp, bool extended, bool raise)
{
    unsigned per_socket = smp->threads * smp->cores * smp->dies;
    struct kvm_cpuid_entry2 *leaf = cpuid_entry(table, LEAF_FEATURES, 0);
    if (leaf) {
        leaf->ebx &= 0xff00ffffu;
        leaf->edx &= ~(1u << BIT_HTT);
        if (per_socket > 1) {
            leaf->ebx |= MIN(1u << smp_package_shift(smp), 0xffu) << 16;
            leaf->edx |= 1u << BIT_HTT;
        }
    }
    cpuid_cache_sharing(table, LEAF_CACHE, smp, true);
    if (extended) {
        cpuid_topology_levels(table, smp, raise);
    } else {
        cpuid_remove(table, LEAF_TOPOLOGY);
        cpuid_remove(table, LEAF_TOPOLOGY_V2);
    }
    if (cpuid_is_amd(table)) {
        cpuid_topology_amd(table, smp, per_socket);
    }
}

void cpuid_set_ids(const CpuidTable *table, CpuidTable *out, const SmpConfig *smp, uint32_t apic_id)
{
    out->count = table->count;
    memcpy(out->entries, table->entries, table->count * sizeof(table->entries[0]));
    for (uint32_t i = 0; i < out->count; i++) {
        struct kvm_cpuid_entry2 *entry = &out->entries[i];
        switch (entry->function) {
        case LEAF_FEATURES:
            entry->ebx = (entry->ebx & 0x00ffffffu) | (apic_id & 0xff) << 24;
            break;
        case LEAF_TOPOLOGY:
        case LEAF_TOPOLOGY_V2:
            entry->edx = apic_id;
            break;
        case LEAF_AMD_TOPOLOGY:
            entry->eax = apic_id;
            entry->ebx |= (apic_id >> smp_core_shift(smp)) & 0xff;
            entry->ecx |= (apic_id >> smp_die_shift(smp)) & 0xff;
            break;
        default:
            break;
        }
    }
}
