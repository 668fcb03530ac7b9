/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files that build the guest's CPUID. Main thread. */
#ifndef VMM_KVM_X86_CPUID_H
#define VMM_KVM_X86_CPUID_H

#include "vmm/kvm/x86/x86.h"

enum {
    LEAF_FEATURES = 1,
    LEAF_CACHE_DESCRIPTORS = 2,
    LEAF_CACHE = 4,
    LEAF_MWAIT = 5,
    LEAF_POWER = 6,
    LEAF_MORE_FEATURES = 7,
    LEAF_PMU = 0xa,
    LEAF_TOPOLOGY = 0xb,
    LEAF_XSAVE = 0xd,
    LEAF_TILES = 0x1d,
    LEAF_TMUL = 0x1e,
    LEAF_TOPOLOGY_V2 = 0x1f,
    LEAF_HYPERVISOR = 0x40000000,
    LEAF_KVM_FEATURES = 0x40000001,
    LEAF_KVM_TIMING = 0x40000010,
    LEAF_KVM_BEHIND_HYPERV = 0x40000100,
    LEAF_EXTENDED = 0x80000000,
    LEAF_EXTENDED_FEATURES = 0x80000001,
    LEAF_BRAND = 0x80000002,
    LEAF_AMD_L1 = 0x80000005,
    LEAF_AMD_L2 = 0x80000006,
    LEAF_POWER_MANAGEMENT = 0x80000007,
    LEAF_ADDRESS_SIZES = 0x80000008,
    LEAF_SVM = 0x8000000a,
    LEAF_AMD_CACHE = 0x8000001d,
    LEAF_AMD_TOPOLOGY = 0x8000001e,
    LEAF_AMD_FEATURES_2 = 0x80000021,
    LEAF_CENTAUR = 0xc0000000,
};

/* ---- cpuid.c ---- */
struct kvm_cpuid_entry2 *cpuid_entry(CpuidTable *table, uint32_t function, uint32_t index);
/* The entry, made when there is none. NULL when the table is full. */
struct kvm_cpuid_entry2 *cpuid_add(CpuidTable *table, uint32_t function, uint32_t index,
                                   bool indexed);
void cpuid_remove(CpuidTable *table, uint32_t function);
/* table gets all of from's entries of the function instead of its own. */
void cpuid_copy(CpuidTable *table, const CpuidTable *from, uint32_t function);
uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *entry, CpuidReg reg);
bool cpuid_is_amd(const CpuidTable *table);
bool cpuid_word_has(const uint32_t words[FEATURE_WORDS], const char *feature);

/* ---- cpuid_topology.c ---- */
void cpuid_set_max(CpuidTable *table, uint32_t base, uint32_t least);
/* extended: with leaf 0xb; raise: the highest leaf is raised to it. */
void cpuid_topology(CpuidTable *table, const SmpConfig *smp, bool extended, bool raise);

/* ---- cpuid_named.c ---- */
/* The leaves of a named model, whose features are words. */
void cpuid_named_build(const CpuModel *model, const CpuidTable *supported,
                       const uint32_t words[FEATURE_WORDS], const SmpConfig *smp,
                       CpuidTable *table);
/* Vendor, family, brand string and so on, as far as the user gave them. */
void cpuid_override_identity(const CpuModel *model, CpuidTable *table);

/* ---- cpuid_caches.c ---- */
/* The leaves of the caches: the host's, or the model's. */
void cpuid_caches(const CpuModel *model, const CpuidTable *supported, CpuidTable *table);

#endif
