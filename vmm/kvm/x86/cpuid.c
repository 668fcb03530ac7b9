/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID of the guest: what KVM supports on this host and -cpu asks for, with the machine's
 * topology, KVM's paravirtual leaves and Hyper-V's (Intel SDM volume 2, CPUID; AMD APM volume 3,
 * appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst).
 */
#include "vmm/kvm/x86/cpuid.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef ARCH_REQ_XCOMP_GUEST_PERM
#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025
#endif
#define XFEATURE_XTILEDATA 18

#define BIT_HTT          28 /* 1 EDX */
#define BIT_TSC_DEADLINE 24 /* 1 ECX */
#define BIT_X2APIC       21
#define BIT_XSAVE        26
#define BIT_OSXSAVE      27
#define BIT_HYPERVISOR   31
#define BIT_ARAT         2 /* 6 EAX */
/* Bits of 80000001 EDX that repeat 1 EDX on AMD. */
#define AMD_REPEATED_EDX 0x0183f3ffu
#define KVM_BUS_KHZ      1000000 /* the local APIC timer counts nanoseconds */
#define AMD_CACHES_MAX   4
#define XSAVE_LEGACY     576 /* the area before the first component (SDM volume 1, 13.4) */

struct kvm_cpuid_entry2 *cpuid_entry(CpuidTable *table, uint32_t function, uint32_t index)
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

uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *entry, CpuidReg reg)
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

struct kvm_cpuid_entry2 *cpuid_add(CpuidTable *table, uint32_t function, uint32_t index,
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

void cpuid_remove(CpuidTable *table, uint32_t function)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        if (table->entries[i].function != function) {
            table->entries[kept++] = table->entries[i];
        }
    }
    table->count = kept;
}

void cpuid_copy(CpuidTable *table, const CpuidTable *from, uint32_t function)
{
    cpuid_remove(table, function);
    for (uint32_t i = 0; i < from->count && table->count < X86_MAX_CPUID_ENTRIES; i++) {
        if (from->entries[i].function == function) {
            table->entries[table->count++] = from->entries[i];
        }
    }
}

bool cpuid_word_has(const uint32_t words[FEATURE_WORDS], const char *feature)
{
    uint32_t masks[FEATURE_WORDS];
    bool has = false;
    if (feature_find(feature, masks)) {
        for (unsigned i = 0; i < FEATURE_WORDS; i++) {
            has |= (words[i] & masks[i]) != 0;
        }
    }
    return has;
}

static bool cpuid_vendor_is(const CpuidTable *table, const char *vendor)
{
    const struct kvm_cpuid_entry2 *leaf = cpuid_find(table, 0, 0);
    return leaf && memcmp(&leaf->ebx, vendor, 4) == 0 && memcmp(&leaf->edx, vendor + 4, 4) == 0 &&
           memcmp(&leaf->ecx, vendor + 8, 4) == 0;
}

bool cpuid_is_amd(const CpuidTable *table)
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

static void read_host_leaf(CpuidTable *table, uint32_t function, uint32_t index, bool indexed)
{
    struct kvm_cpuid_entry2 *entry = cpuid_entry(table, function, index);
    if (!entry) {
        entry = cpuid_add(table, function, index, indexed);
    }
    if (entry && !(entry->eax | entry->ebx | entry->ecx | entry->edx)) {
        __cpuid_count(function, index, entry->eax, entry->ebx, entry->ecx, entry->edx);
    }
}

/* What KVM leaves out although it only describes: the brand, and AMD's caches. */
static void cpuid_add_description(CpuidTable *table)
{
    const uint32_t last = __get_cpuid_max(LEAF_EXTENDED, NULL);
    for (uint32_t function = LEAF_BRAND; function <= LEAF_AMD_L2 && function <= last; function++) {
        read_host_leaf(table, function, 0, false);
    }
    if (cpuid_is_amd(table) && last >= LEAF_AMD_CACHE) {
        for (uint32_t i = 0; i < AMD_CACHES_MAX; i++) {
            read_host_leaf(table, LEAF_AMD_CACHE, i, true);
        }
    }
}

/* Features that the kernel emulates beyond what it lists. */
static void cpuid_add_emulated(KvmState *kvm, CpuidTable *table)
{
    struct kvm_cpuid_entry2 *leaf = cpuid_entry(table, LEAF_FEATURES, 0);
    if (!leaf) {
        return;
    }
    leaf->ecx |= 1u << BIT_HYPERVISOR;
    leaf->ecx |= 1u << BIT_X2APIC;
    leaf->ecx &= ~(1u << BIT_OSXSAVE); /* follows CR4, by KVM */
    if (kvm_check_cap(kvm, KVM_CAP_TSC_DEADLINE_TIMER)) {
        leaf->ecx |= 1u << BIT_TSC_DEADLINE;
    }
}

/* What KVM offers of each word, MSRs included. */
static void supported_words(KvmState *kvm, const CpuidTable *supported,
                            uint32_t words[FEATURE_WORDS])
{
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        const FeatureWord *word = &feature_words[i];
        struct kvm_cpuid_entry2 *entry =
            cpuid_entry((CpuidTable *)supported, word->function, word->index);
        words[i] = word->msr ? (uint32_t)x86_feature_msr(kvm, word->msr)
                   : entry   ? *cpuid_reg(entry, word->reg)
                             : 0;
    }
    words[FEATURE_1_EDX] |= 1u << BIT_HTT;  /* the topology decides */
    words[FEATURE_6_EAX] |= 1u << BIT_ARAT; /* KVM's timer never stops */
    if (cpuid_find(supported, LEAF_KVM_FEATURES, 0)) {
        words[FEATURE_KVM_HINTS] = ~0u; /* promises of the user */
    }
    if (!kvm->machine->config->irqchip_split) {
        /* The in-kernel IOAPIC knows only 8-bit destinations. */
        words[FEATURE_KVM] &= ~(1u << KVM_FEATURE_MSI_EXT_DEST_ID);
    }
    if (!(words[FEATURE_1_ECX] & 1u << BIT_XSAVE)) {
        /* KVM on a host that runs without XSAVE still lists AVX, which nobody can use then. */
        uint32_t gone[FEATURE_WORDS] = { [FEATURE_1_ECX] = 1u << BIT_XSAVE };
        feature_add_dependents(gone);
        for (unsigned i = 0; i < FEATURE_WORDS; i++) {
            words[i] &= ~gone[i];
        }
    }
}

static bool report_missing(const CpuModel *model, const uint32_t supported[FEATURE_WORDS],
                           GError **error)
{
    g_autofree char *text = model->check || model->enforce ? cpu_model_missing(model, supported)
                                                           : NULL;
    if (!text) {
        return true;
    }
    if (model->enforce) {
        return error_set(error,
                         "-cpu %s: this host's CPU or its KVM does not offer %s, and enforce "
                         "forbids to go without",
                         model->name, text);
    }
    report_warning("-cpu %s: this host's CPU or its KVM does not offer %s; the guest goes without",
                   model->name, text);
    return true;
}

/* The host's leaves with the words in their place. */
static void host_build(const CpuModel *model, const CpuidTable *supported,
                       const uint32_t words[FEATURE_WORDS], CpuidTable *table)
{
    table->count = supported->count;
    memcpy(table->entries, supported->entries, supported->count * sizeof(table->entries[0]));
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        const FeatureWord *word = &feature_words[i];
        struct kvm_cpuid_entry2 *entry =
            word->msr ? NULL : cpuid_entry(table, word->function, word->index);
        if (entry) {
            *cpuid_reg(entry, word->reg) = words[i];
        }
    }
    if (!model->pmu) {
        cpuid_remove(table, LEAF_PMU);
    }
    cpuid_override_identity(model, table);
    if (!model->host_cache_info) {
        cpuid_caches(model, supported, table);
    }
}

static void amd_repeated_bits(CpuidTable *table)
{
    struct kvm_cpuid_entry2 *features = cpuid_entry(table, LEAF_FEATURES, 0);
    struct kvm_cpuid_entry2 *extended = cpuid_entry(table, LEAF_EXTENDED_FEATURES, 0);
    if (features && extended) {
        extended->edx &= ~AMD_REPEATED_EDX;
        if (cpuid_is_amd(table)) {
            extended->edx |= features->edx & AMD_REPEATED_EDX;
        }
    }
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
    uint32_t before = leaf->eax;
    for (size_t i = 0; i < G_N_ELEMENTS(needs); i++) {
        if (!cpuid_has(table, needs[i].word, needs[i].bit)) {
            leaf->eax &= ~needs[i].components;
        }
    }
    if (leaf->eax == before) {
        return;
    }
    leaf->ecx = XSAVE_LEGACY;
    for (uint32_t i = 2; i < 32; i++) {
        struct kvm_cpuid_entry2 *part = cpuid_entry(table, LEAF_XSAVE, i);
        if (part && leaf->eax & 1u << i) {
            leaf->ecx = MAX(leaf->ecx, part->ebx + part->eax);
        } else if (part && before & 1u << i) {
            part->eax = part->ebx = part->ecx = part->edx = 0;
        }
    }
}

static void cpuid_paravirtual(KvmState *kvm, const uint32_t words[FEATURE_WORDS], CpuidTable *table)
{
    const CpuModel *model = &kvm->arch->model;
    struct kvm_cpuid_entry2 *features = cpuid_entry(table, LEAF_KVM_FEATURES, 0);
    struct kvm_cpuid_entry2 *base = cpuid_entry(table, LEAF_HYPERVISOR, 0);
    if (!model->kvm || !base || !features) {
        cpuid_remove(table, LEAF_HYPERVISOR);
        cpuid_remove(table, LEAF_KVM_FEATURES);
        return;
    }
    features->eax = words[FEATURE_KVM];
    features->edx = words[FEATURE_KVM_HINTS];
    int khz = kvm_ioctl(kvm->vm_fd, KVM_GET_TSC_KHZ, NULL);
    uint64_t wanted = model->tsc_frequency / 1000;
    if (wanted) {
        khz = (int)wanted;
    }
    if (model->frequency_leaf && khz > 0 && !hyperv_enabled(&model->hyperv)) {
        base->eax = LEAF_KVM_TIMING;
        struct kvm_cpuid_entry2 *timing = cpuid_add(table, LEAF_KVM_TIMING, 0, false);
        if (timing) {
            timing->eax = (uint32_t)khz;
            timing->ebx = KVM_BUS_KHZ;
        }
    }
}

/* ---- Hyper-V ---- */

static bool hyperv_supported(KvmState *kvm, HypervLeaf leaves[HYPERV_LEAVES], GError **error)
{
    g_autofree struct kvm_cpuid2 *cpuid =
        g_malloc0(sizeof(*cpuid) + 64 * sizeof(struct kvm_cpuid_entry2));
    cpuid->nent = 64;
    if (!kvm_check_cap(kvm, KVM_CAP_SYS_HYPERV_CPUID) ||
        kvm_ioctl(kvm->dev_fd, KVM_GET_SUPPORTED_HV_CPUID, cpuid) < 0) {
        return error_set(error, "-cpu: hv-*: this host's KVM has no Hyper-V enlightenments "
                                "(KVM_CAP_SYS_HYPERV_CPUID)");
    }
    memset(leaves, 0, HYPERV_LEAVES * sizeof(leaves[0]));
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        uint32_t index = entry->function - LEAF_HYPERVISOR;
        if (index < HYPERV_LEAVES) {
            leaves[index] = (HypervLeaf){ entry->eax, entry->ebx, entry->ecx, entry->edx };
        }
    }
    return true;
}

/* Hyper-V's leaves stand at 40000000; KVM's move behind them. */
static bool cpuid_hyperv(KvmState *kvm, CpuidTable *table, GError **error)
{
    const HypervOptions *hv = &kvm->arch->model.hyperv;
    HypervLeaf supported[HYPERV_LEAVES], leaves[HYPERV_LEAVES];
    if (!hyperv_enabled(hv)) {
        return true;
    }
    if (!hyperv_supported(kvm, supported, error) ||
        !hyperv_build(hv, supported, kvm->machine->config->smp.maxcpus, leaves, error)) {
        return false;
    }
    for (uint32_t i = 0; i < table->count; i++) {
        struct kvm_cpuid_entry2 *entry = &table->entries[i];
        if (entry->function == LEAF_HYPERVISOR || entry->function == LEAF_KVM_FEATURES) {
            entry->function += LEAF_KVM_BEHIND_HYPERV - LEAF_HYPERVISOR;
        }
    }
    struct kvm_cpuid_entry2 *base = cpuid_entry(table, LEAF_KVM_BEHIND_HYPERV, 0);
    if (base) {
        base->eax = LEAF_KVM_BEHIND_HYPERV + 1;
    }
    for (uint32_t i = 0; i < HYPERV_LEAVES; i++) {
        struct kvm_cpuid_entry2 *entry = cpuid_add(table, LEAF_HYPERVISOR + i, 0, false);
        if (entry) {
            entry->eax = leaves[i].eax;
            entry->ebx = leaves[i].ebx;
            entry->ecx = leaves[i].ecx;
            entry->edx = leaves[i].edx;
        }
    }
    kvm->arch->hyperv_synic = hyperv_has(leaves, HV_SYNIC);
    return true;
}

static bool cpuid_address_bits(KvmState *kvm, const CpuidTable *supported, CpuidTable *table,
                               GError **error)
{
    const CpuModel *model = &kvm->arch->model;
    const struct kvm_cpuid_entry2 *host = cpuid_find(supported, LEAF_ADDRESS_SIZES, 0);
    struct kvm_cpuid_entry2 *sizes = cpuid_entry(table, LEAF_ADDRESS_SIZES, 0);
    unsigned wanted = (unsigned)model->phys_bits;
    unsigned limit = (unsigned)model->host_phys_bits_limit;
    if (!sizes || !host) {
        return true;
    }
    if (wanted == 0 && model->host && limit && limit < (host->eax & 0xff)) {
        wanted = limit;
    }
    if (wanted == 0) {
        return true;
    }
    if (wanted > (host->eax & 0xff)) {
        return error_set(error, "-cpu: phys-bits=%u: this host has %u physical address bits",
                         wanted, host->eax & 0xff);
    }
    /* Bits 23:16, the guest's own address bits, would overrule what was asked for. */
    sizes->eax = (sizes->eax & 0xff00ff00u) | wanted;
    return true;
}

static void read_words(KvmState *kvm, const CpuidTable *supported, uint32_t words[FEATURE_WORDS])
{
    supported_words(kvm, supported, words);
    if (!kvm_check_cap(kvm, KVM_CAP_GET_MSR_FEATURES)) {
        words[FEATURE_ARCH_CAPABILITIES] = words[FEATURE_CORE_CAPABILITY] = 0;
    }
}

bool cpuid_build(KvmState *kvm, CpuidTable *table, GError **error)
{
    const CpuModel *model = &kvm->arch->model;
    const SmpConfig *smp = &kvm->machine->config->smp;
    g_autofree CpuidTable *supported = g_new0(CpuidTable, 1);
    uint32_t offered[FEATURE_WORDS], words[FEATURE_WORDS];
    if (!cpuid_read_supported(kvm, supported, error)) {
        return false;
    }
    cpuid_add_emulated(kvm, supported);
    cpuid_add_description(supported);
    read_words(kvm, supported, offered);
    memcpy(kvm->arch->offered, offered, sizeof(offered));
    if (!report_missing(model, offered, error)) {
        return false;
    }
    cpu_model_resolve(model, offered, words);
    if (model->host) {
        host_build(model, supported, words, table);
        cpuid_topology(table, smp, model->cpuid_0xb, true);
    } else {
        cpuid_named_build(model, supported, words, smp, table);
    }
    amd_repeated_bits(table);
    cpuid_trim_xsave(table);
    cpuid_paravirtual(kvm, words, table);
    kvm->arch->arch_capabilities = words[FEATURE_ARCH_CAPABILITIES];
    kvm->arch->core_capability = words[FEATURE_CORE_CAPABILITY];
    kvm->arch->pv_ext_dest_id = model->kvm &&
                                words[FEATURE_KVM] & 1u << KVM_FEATURE_MSI_EXT_DEST_ID;
    return cpuid_address_bits(kvm, supported, table, error) && cpuid_hyperv(kvm, table, error);
}
