/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID of the guest: what KVM supports on this host, minus what -cpu takes away, with the
 * machine's topology and KVM's paravirtual leaves (Intel SDM volume 2, CPUID; AMD APM volume 3,
 * appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst).
 */
#include "vmm/kvm/x86/x86.h"

#include <asm/prctl.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "vmm/machine/apic_id.h"

#ifndef ARCH_REQ_XCOMP_GUEST_PERM
#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025
#endif
#define XFEATURE_XTILEDATA 18

enum {
    LEAF_FEATURES = 1,
    LEAF_CACHE = 4,
    LEAF_PMU = 0xa,
    LEAF_TOPOLOGY = 0xb,
    LEAF_XSAVE = 0xd,
    LEAF_TOPOLOGY_V2 = 0x1f,
    LEAF_KVM = 0x40000000,
    LEAF_KVM_FEATURES = 0x40000001,
    LEAF_KVM_TIMING = 0x40000010,
    LEAF_EXTENDED = 0x80000000,
    LEAF_EXTENDED_FEATURES = 0x80000001,
    LEAF_ADDRESS_SIZES = 0x80000008,
    LEAF_AMD_CACHE = 0x8000001d,
    LEAF_AMD_TOPOLOGY = 0x8000001e,
};

#define BIT_HTT          28 /* 1 EDX */
#define BIT_TSC_DEADLINE 24 /* 1 ECX */
#define BIT_X2APIC       21
#define BIT_XSAVE        26
#define BIT_OSXSAVE      27
#define BIT_CMP_LEGACY   1 /* 80000001 ECX */
/* Bits of 80000001 EDX that repeat 1 EDX on AMD. */
#define AMD_REPEATED_EDX 0x0183f3ffu
#define KVM_BUS_KHZ      1000000 /* the local APIC timer counts nanoseconds */

static struct kvm_cpuid_entry2 *cpuid_entry(CpuidTable *table, uint32_t function, uint32_t index)
{
    for (uint32_t i = 0; i < table->count; i++) {
        struct kvm_cpuid_entry2 *entry = &table->entries[i];
        bool indexed = entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
        if (entry->function == function && (!indexed || entry->index == index)) {
            return entry;
        }
    }
    return NULL;
}

const struct kvm_cpuid_entry2 *cpuid_find(const CpuidTable *table, uint32_t function,
                                          uint32_t index)
{
    return cpuid_entry((CpuidTable *)table, function, index);
}

static uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *entry, CpuidReg reg)
{
    switch (reg) {
    case CPUID_EAX:
        return &entry->eax;
    case CPUID_EBX:
        return &entry->ebx;
    case CPUID_ECX:
        return &entry->ecx;
    default:
        return &entry->edx;
    }
}

bool cpuid_has(const CpuidTable *table, FeatureWordId word, unsigned bit)
{
    const FeatureWord *w = &feature_words[word];
    struct kvm_cpuid_entry2 *entry = cpuid_entry((CpuidTable *)table, w->function, w->index);
    return entry && (*cpuid_reg(entry, w->reg) >> bit & 1);
}

static struct kvm_cpuid_entry2 *cpuid_add(CpuidTable *table, uint32_t function, uint32_t index,
                                          bool indexed)
{
    if (table->count == X86_MAX_CPUID_ENTRIES) {
        return NULL;
    }
    struct kvm_cpuid_entry2 *entry = &table->entries[table->count++];
    *entry = (struct kvm_cpuid_entry2){
        .function = function,
        .index = index,
        .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
    };
    return entry;
}

static void cpuid_remove(CpuidTable *table, uint32_t function)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        if (table->entries[i].function != function) {
            table->entries[kept++] = table->entries[i];
        }
    }
    table->count = kept;
}

static bool cpuid_vendor_is(const CpuidTable *table, const char *vendor)
{
    const struct kvm_cpuid_entry2 *leaf = cpuid_find(table, 0, 0);
    return leaf && memcmp(&leaf->ebx, vendor, 4) == 0 && memcmp(&leaf->edx, vendor + 4, 4) == 0 &&
           memcmp(&leaf->ecx, vendor + 8, 4) == 0;
}

static bool cpuid_is_amd(const CpuidTable *table)
{
    return cpuid_vendor_is(table, "AuthenticAMD") || cpuid_vendor_is(table, "HygonGenuine");
}

/* What KVM can give a guest on this host. */
static bool cpuid_read_supported(KvmState *kvm, CpuidTable *table, GError **error)
{
    /* AMX tiles are given to guests only when asked for; hosts without AMX refuse, which is fine.
     */
    syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, XFEATURE_XTILEDATA);
    size_t size = sizeof(struct kvm_cpuid2) + sizeof(table->entries);
    g_autofree struct kvm_cpuid2 *cpuid = g_malloc0(size);
    cpuid->nent = X86_MAX_CPUID_ENTRIES;
    int result = kvm_ioctl(kvm->dev_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
    if (result < 0) {
        return error_set_errno(error, -result,
                               "KVM did not list the CPU features that it supports "
                               "(KVM_GET_SUPPORTED_CPUID)");
    }
    table->count = 0;
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        table->entries[table->count++] = cpuid->entries[i];
    }
    return true;
}

/* Features that the kernel emulates beyond what it lists. */
static void cpuid_add_emulated(KvmState *kvm, CpuidTable *table)
{
    struct kvm_cpuid_entry2 *leaf = cpuid_entry(table, LEAF_FEATURES, 0);
    if (!leaf) {
        return;
    }
    leaf->ecx |= 1u << 31; /* a hypervisor is here */
    leaf->ecx |= 1u << BIT_X2APIC;
    leaf->ecx &= ~(1u << BIT_OSXSAVE); /* follows CR4, by KVM */
    if (kvm_check_cap(kvm, KVM_CAP_TSC_DEADLINE_TIMER)) {
        leaf->ecx |= 1u << BIT_TSC_DEADLINE;
    }
}

static void cpuid_default_off(const KvmState *kvm, const CpuModel *model,
                              uint32_t off[FEATURE_WORDS])
{
    memset(off, 0, FEATURE_WORDS * sizeof(off[0]));
    off[FEATURE_KVM_HINTS] = ~0u; /* promises that only the user can make */
    if (model->migratable) {
        off[FEATURE_8000_0007_EDX] |= 1u << 8; /* invtsc */
    }
    if (!kvm->machine->config->irqchip_split) {
        /* The in-kernel IOAPIC knows only 8-bit destinations. */
        off[FEATURE_KVM] |= 1u << KVM_FEATURE_MSI_EXT_DEST_ID;
    }
}

static bool cpuid_missing(const FeatureWord *word, uint32_t missing, GError **error)
{
    unsigned bit = (unsigned)__builtin_ctz(missing);
    return error_set(error,
                     "-cpu: feature '%s' (%s bit %u) is not available: this host's CPU or "
                     "its KVM does not offer it",
                     word->names[bit] ? word->names[bit] : "?", word->label, bit);
}

static bool cpuid_apply_model(KvmState *kvm, CpuidTable *table, GError **error)
{
    CpuModel *model = &kvm->arch->model;
    uint32_t off[FEATURE_WORDS], user_off[FEATURE_WORDS];
    cpuid_default_off(kvm, model, off);
    memcpy(user_off, model->off, sizeof(user_off));
    if (!cpuid_has(table, FEATURE_1_ECX, BIT_XSAVE)) {
        /* KVM on a host that runs without XSAVE still lists AVX, which nobody can use then. */
        user_off[FEATURE_1_ECX] |= 1u << BIT_XSAVE;
    }
    feature_add_dependents(user_off);
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        const FeatureWord *word = &feature_words[i];
        struct kvm_cpuid_entry2 *entry = cpuid_entry(table, word->function, word->index);
        uint32_t *reg = entry ? cpuid_reg(entry, word->reg) : NULL;
        uint32_t supported = reg ? *reg : 0;
        if (i == FEATURE_KVM_HINTS && reg) {
            supported = ~0u;
        }
        if (i == FEATURE_1_EDX) {
            supported |= 1u << BIT_HTT; /* the topology decides */
        }
        /* A name can stand for several bits (kvmclock): one of them is enough. */
        uint32_t missing = model->on[i] & ~supported;
        if (missing && !(model->on[i] & supported && i == FEATURE_KVM)) {
            return cpuid_missing(word, missing, error);
        }
        if (reg) {
            *reg &= ~(off[i] & ~model->on[i]);
            *reg &= ~user_off[i];
            *reg |= model->on[i] & supported;
        }
    }
    struct kvm_cpuid_entry2 *extended = cpuid_entry(table, LEAF_EXTENDED_FEATURES, 0);
    if (extended && cpuid_is_amd(table)) {
        extended->edx &= ~(user_off[FEATURE_1_EDX] & AMD_REPEATED_EDX);
    }
    if (!model->pmu) {
        cpuid_remove(table, LEAF_PMU);
    }
    return true;
}

/* State components whose feature was taken away disappear from XCR0 (SDM volume 1, 13.2). */
static void cpuid_trim_xsave(CpuidTable *table)
{
    static const struct {
        uint32_t components;
        FeatureWordId word;
        unsigned bit;
    } needs[] = {
        { 1u << 2, FEATURE_1_ECX, 28 },               /* AVX */
        { 1u << 3 | 1u << 4, FEATURE_7_0_EBX, 14 },   /* MPX */
        { 7u << 5, FEATURE_7_0_EBX, 16 },             /* AVX-512 */
        { 1u << 9, FEATURE_7_0_ECX, 3 },              /* PKU */
        { 1u << 17 | 1u << 18, FEATURE_7_0_EDX, 24 }, /* AMX */
    };
    struct kvm_cpuid_entry2 *leaf = cpuid_entry(table, LEAF_XSAVE, 0);
    if (!leaf) {
        return;
    }
    if (!cpuid_has(table, FEATURE_1_ECX, BIT_XSAVE)) {
        cpuid_remove(table, LEAF_XSAVE);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(needs); i++) {
        if (!cpuid_has(table, needs[i].word, needs[i].bit)) {
            leaf->eax &= ~needs[i].components;
        }
    }
}

static void cpuid_set_max(CpuidTable *table, uint32_t base, uint32_t least)
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
static void cpuid_topology_levels(CpuidTable *table, const SmpConfig *smp)
{
    unsigned per_die = smp->threads * smp->cores;
    cpuid_remove(table, LEAF_TOPOLOGY);
    cpuid_remove(table, LEAF_TOPOLOGY_V2);
    cpuid_set_max(table, 0, LEAF_TOPOLOGY);
    cpuid_add_level(table, LEAF_TOPOLOGY, 0, 1, smp_core_shift(smp), smp->threads);
    cpuid_add_level(table, LEAF_TOPOLOGY, 1, 2, smp_package_shift(smp), per_die * smp->dies);
    cpuid_add_level(table, LEAF_TOPOLOGY, 2, 0, 0, 0);
    if (smp->dies > 1) {
        cpuid_set_max(table, 0, LEAF_TOPOLOGY_V2);
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

static void cpuid_topology(CpuidTable *table, const SmpConfig *smp)
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
    cpuid_topology_levels(table, smp);
    if (cpuid_is_amd(table)) {
        cpuid_topology_amd(table, smp, per_socket);
    }
}

static void cpuid_paravirtual(KvmState *kvm, CpuidTable *table)
{
    if (!kvm->arch->model.kvm) {
        cpuid_remove(table, LEAF_KVM);
        cpuid_remove(table, LEAF_KVM_FEATURES);
        return;
    }
    struct kvm_cpuid_entry2 *base = cpuid_entry(table, LEAF_KVM, 0);
    int khz = kvm_ioctl(kvm->vm_fd, KVM_GET_TSC_KHZ, NULL);
    uint64_t wanted = kvm->arch->model.tsc_frequency / 1000;
    if (wanted) {
        khz = (int)wanted;
    }
    if (base && khz > 0) {
        struct kvm_cpuid_entry2 *timing = cpuid_add(table, LEAF_KVM_TIMING, 0, false);
        if (timing) {
            base->eax = LEAF_KVM_TIMING;
            timing->eax = (uint32_t)khz;
            timing->ebx = KVM_BUS_KHZ;
        }
    }
}

static bool cpuid_address_bits(KvmState *kvm, CpuidTable *table, GError **error)
{
    struct kvm_cpuid_entry2 *sizes = cpuid_entry(table, LEAF_ADDRESS_SIZES, 0);
    unsigned wanted = kvm->arch->model.phys_bits;
    if (!sizes || wanted == 0) {
        return true;
    }
    if (wanted > (sizes->eax & 0xff)) {
        return error_set(error, "-cpu: phys-bits=%u: this host has %u physical address bits",
                         wanted, sizes->eax & 0xff);
    }
    /* Bits 23:16, the guest's own address bits, would overrule what was asked for. */
    sizes->eax = (sizes->eax & 0xff00ff00u) | wanted;
    return true;
}

bool cpuid_build(KvmState *kvm, CpuidTable *table, GError **error)
{
    if (!cpuid_read_supported(kvm, table, error)) {
        return false;
    }
    cpuid_add_emulated(kvm, table);
    if (!cpuid_apply_model(kvm, table, error) || !cpuid_address_bits(kvm, table, error)) {
        return false;
    }
    cpuid_trim_xsave(table);
    cpuid_topology(table, &kvm->machine->config->smp);
    cpuid_paravirtual(kvm, table);
    return true;
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
