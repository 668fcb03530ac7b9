/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID of a named model: every leaf is made from the model's table and its features, nothing of
 * the host shows but what the features need (XSAVE's layout, the counters).
 */
#include "vmm/kvm/x86/cpuid.h"

#include <string.h>

#define DEFAULT_PHYS_BITS 40
#define MWAIT_EXTENSIONS  3u /* leaf 5 ECX: enumerated, interrupts break */
#define CLFLUSH_SIZE      8u /* in units of 8 bytes */
#define SVM_ASIDS         0x10
#define MAX_BASIC_LEAF    0x1fffffff

/* Which leaf a feature needs to be seen: full-cpuid-auto-level raises the levels to it. */
static const struct {
    FeatureWordId word;
    uint32_t leaf;
} word_leaves[] = {
    { FEATURE_6_EAX, LEAF_POWER },
    { FEATURE_7_0_EBX, LEAF_MORE_FEATURES },
    { FEATURE_7_0_ECX, LEAF_MORE_FEATURES },
    { FEATURE_7_0_EDX, LEAF_MORE_FEATURES },
    { FEATURE_7_1_EAX, LEAF_MORE_FEATURES },
    { FEATURE_7_1_EDX, LEAF_MORE_FEATURES },
    { FEATURE_7_2_EDX, LEAF_MORE_FEATURES },
    { FEATURE_XSAVE, LEAF_XSAVE },
    { FEATURE_8000_0001_EDX, LEAF_EXTENDED_FEATURES },
    { FEATURE_8000_0001_ECX, LEAF_EXTENDED_FEATURES },
    { FEATURE_8000_0007_EDX, LEAF_POWER_MANAGEMENT },
    { FEATURE_8000_0008_EBX, LEAF_ADDRESS_SIZES },
    { FEATURE_SVM, LEAF_SVM },
    { FEATURE_8000_0021_EAX, LEAF_AMD_FEATURES_2 },
};

typedef struct Levels {
    uint32_t basic, extended;
} Levels;

static Levels find_levels(const CpuModel *model, const uint32_t words[FEATURE_WORDS],
                          const SmpConfig *smp)
{
    const CpuModelEntry *entry = model->def.entry;
    Levels levels = { entry ? entry->level : 0, entry ? entry->xlevel : 0 };
    if (model->min_level != CPU_NUMBER_UNSET) {
        levels.basic = (uint32_t)model->min_level;
    }
    if (model->min_xlevel != CPU_NUMBER_UNSET) {
        levels.extended = (uint32_t)model->min_xlevel;
    }
    for (size_t i = 0; model->auto_level && i < G_N_ELEMENTS(word_leaves); i++) {
        uint32_t *level = word_leaves[i].leaf < LEAF_EXTENDED ? &levels.basic : &levels.extended;
        if (words[word_leaves[i].word]) {
            *level = MAX(*level, word_leaves[i].leaf);
        }
    }
    if (model->auto_level && model->pmu) {
        levels.basic = MAX(levels.basic, LEAF_PMU);
    }
    if (model->auto_level && smp->dies > 1) {
        levels.basic = MAX(levels.basic, LEAF_TOPOLOGY_V2);
    }
    if (model->level != CPU_NUMBER_UNSET) {
        levels.basic = (uint32_t)model->level;
    }
    if (model->xlevel != CPU_NUMBER_UNSET) {
        levels.extended = (uint32_t)model->xlevel;
    }
    return levels;
}

static void put_text(CpuidTable *table, const char *id)
{
    char text[CPU_MODEL_ID_MAX] = { 0 };
    memcpy(text, id, MIN(strlen(id), sizeof(text)));
    for (uint32_t i = 0; i < 3; i++) {
        cpuid_remove(table, LEAF_BRAND + i);
        struct kvm_cpuid_entry2 *entry = cpuid_add(table, LEAF_BRAND + i, 0, false);
        if (entry) {
            memcpy(&entry->eax, text + 16 * i, 4);
            memcpy(&entry->ebx, text + 16 * i + 4, 4);
            memcpy(&entry->ecx, text + 16 * i + 8, 4);
            memcpy(&entry->edx, text + 16 * i + 12, 4);
        }
    }
}

static void put_vendor(struct kvm_cpuid_entry2 *entry, const char *vendor)
{
    memcpy(&entry->ebx, vendor, 4);
    memcpy(&entry->edx, vendor + 4, 4);
    memcpy(&entry->ecx, vendor + 8, 4);
}

/* SDM volume 2, figure 3-6: the extended fields come in when the short ones are full. */
static uint32_t signature(uint32_t family, uint32_t model, uint32_t stepping)
{
    uint32_t extended = family > 0xf ? family - 0xf : 0;
    return extended << 20 | (model >> 4) << 16 | MIN(family, 0xfu) << 8 | (model & 0xf) << 4 |
           stepping;
}

static uint32_t signature_override(const CpuModel *model, uint32_t eax)
{
    uint32_t family = (eax >> 8 & 0xf) + ((eax >> 8 & 0xf) == 0xf ? eax >> 20 & 0xff : 0);
    uint32_t number = (eax >> 4 & 0xf) | (eax >> 16 & 0xf) << 4;
    uint32_t stepping = eax & 0xf;
    family = model->family != CPU_NUMBER_UNSET ? (uint32_t)model->family : family;
    number = model->model != CPU_NUMBER_UNSET ? (uint32_t)model->model : number;
    stepping = model->stepping != CPU_NUMBER_UNSET ? (uint32_t)model->stepping : stepping;
    return signature(family, number, stepping);
}

void cpuid_override_identity(const CpuModel *model, CpuidTable *table)
{
    struct kvm_cpuid_entry2 *basic = cpuid_entry(table, 0, 0);
    struct kvm_cpuid_entry2 *extended = cpuid_entry(table, LEAF_EXTENDED, 0);
    struct kvm_cpuid_entry2 *features = cpuid_entry(table, LEAF_FEATURES, 0);
    struct kvm_cpuid_entry2 *more = cpuid_entry(table, LEAF_EXTENDED_FEATURES, 0);
    if (model->vendor[0] && basic) {
        put_vendor(basic, model->vendor);
    }
    if (model->vendor[0] && extended) {
        put_vendor(extended, model->vendor);
    }
    if (features) {
        features->eax = signature_override(model, features->eax);
    }
    if (features && more && more->eax) {
        more->eax = signature_override(model, more->eax);
    }
    if (model->has_id) {
        put_text(table, model->id);
    }
    if (model->host && basic && model->level != CPU_NUMBER_UNSET) {
        basic->eax = (uint32_t)model->level;
    }
    if (model->host && extended && model->xlevel != CPU_NUMBER_UNSET) {
        extended->eax = (uint32_t)model->xlevel;
    }
}

/* ---- Leaves ---- */

static void put_identity(const CpuModel *model, const CpuidTable *supported, Levels levels,
                         CpuidTable *table)
{
    const CpuModelEntry *entry = model->def.entry;
    const struct kvm_cpuid_entry2 *host = cpuid_find(supported, 0, 0);
    struct kvm_cpuid_entry2 *basic = cpuid_add(table, 0, 0, false);
    struct kvm_cpuid_entry2 *features = cpuid_add(table, LEAF_FEATURES, 0, false);
    struct kvm_cpuid_entry2 *extended = cpuid_add(table, LEAF_EXTENDED, 0, false);
    struct kvm_cpuid_entry2 *more = cpuid_add(table, LEAF_EXTENDED_FEATURES, 0, false);
    uint32_t version = entry ? signature(entry->family, model->def.model, model->def.stepping) : 0;
    *basic = (struct kvm_cpuid_entry2){ .function = 0, .eax = levels.basic };
    if (host) {
        /* The host's vendor: system calls of compatibility mode differ between vendors. */
        basic->ebx = host->ebx;
        basic->ecx = host->ecx;
        basic->edx = host->edx;
    }
    features->eax = version;
    features->ebx = CLFLUSH_SIZE << 8;
    extended->eax = levels.extended;
    extended->ebx = basic->ebx;
    extended->ecx = basic->ecx;
    extended->edx = basic->edx;
    more->eax = version;
    put_text(table, entry ? model->def.id : "");
}

static void put_words(const uint32_t words[FEATURE_WORDS], CpuidTable *table)
{
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        const FeatureWord *word = &feature_words[i];
        bool hypervisor = word->function >> 16 == LEAF_HYPERVISOR >> 16;
        if (word->msr || hypervisor || !words[i]) {
            continue;
        }
        struct kvm_cpuid_entry2 *entry = cpuid_entry(table, word->function, word->index);
        if (!entry) {
            bool indexed = word->function == LEAF_MORE_FEATURES || word->function == LEAF_XSAVE;
            entry = cpuid_add(table, word->function, word->index, indexed);
        }
        if (entry) {
            *cpuid_reg(entry, word->reg) = words[i];
        }
    }
    struct kvm_cpuid_entry2 *more = cpuid_entry(table, LEAF_MORE_FEATURES, 0);
    if (words[FEATURE_7_1_EAX] || words[FEATURE_7_1_EDX] || words[FEATURE_7_2_EDX]) {
        if (!more) {
            more = cpuid_add(table, LEAF_MORE_FEATURES, 0, true);
        }
        if (more) {
            more->eax = words[FEATURE_7_2_EDX] ? 2 : 1;
        }
    }
}

static void put_addresses(const CpuModel *model, const CpuidTable *supported,
                          const uint32_t words[FEATURE_WORDS], CpuidTable *table)
{
    const struct kvm_cpuid_entry2 *host = cpuid_find(supported, LEAF_ADDRESS_SIZES, 0);
    struct kvm_cpuid_entry2 *entry = cpuid_entry(table, LEAF_ADDRESS_SIZES, 0);
    unsigned host_bits = host ? host->eax & 0xff : 36;
    unsigned bits = MIN(DEFAULT_PHYS_BITS, host_bits);
    if (model->host_phys_bits) {
        bits = host_bits;
        if (model->host_phys_bits_limit) {
            bits = MIN(bits, (unsigned)model->host_phys_bits_limit);
        }
    }
    if (!entry) {
        entry = cpuid_add(table, LEAF_ADDRESS_SIZES, 0, false);
    }
    if (!entry) {
        return;
    }
    if (cpuid_word_has(words, "lm")) {
        entry->eax = bits | (cpuid_word_has(words, "la57") ? 57u : 48u) << 8;
    } else {
        entry->eax = cpuid_word_has(words, "pse36") ? 36 : 32;
    }
}

static void put_small_leaves(const CpuModel *model, const CpuidTable *supported,
                             const uint32_t words[FEATURE_WORDS], CpuidTable *table)
{
    struct kvm_cpuid_entry2 *mwait = cpuid_add(table, LEAF_MWAIT, 0, false);
    mwait->ecx = MWAIT_EXTENSIONS;
    if (model->pmu) {
        cpuid_copy(table, supported, LEAF_PMU);
    }
    if (cpuid_word_has(words, "amx-tile")) {
        cpuid_copy(table, supported, LEAF_TILES);
        cpuid_copy(table, supported, LEAF_TMUL);
    }
    if (cpuid_word_has(words, "svm")) {
        struct kvm_cpuid_entry2 *svm = cpuid_entry(table, LEAF_SVM, 0);
        svm = svm ? svm : cpuid_add(table, LEAF_SVM, 0, false);
        svm->eax = 1;
        svm->ebx = SVM_ASIDS;
    }
    if (cpuid_word_has(words, "topoext")) {
        cpuid_add(table, LEAF_AMD_TOPOLOGY, 0, false);
    }
    if (words[FEATURE_C000_0001_EDX]) {
        struct kvm_cpuid_entry2 *centaur = cpuid_add(table, LEAF_CENTAUR, 0, false);
        centaur->eax = LEAF_CENTAUR + 1;
    }
}

/* XSAVE's layout is the host's; cpuid.c takes away the components that no feature needs. */
static void put_xsave(const CpuidTable *supported, const uint32_t words[FEATURE_WORDS],
                      CpuidTable *table)
{
    if (!cpuid_word_has(words, "xsave")) {
        cpuid_remove(table, LEAF_XSAVE);
        return;
    }
    cpuid_copy(table, supported, LEAF_XSAVE);
    struct kvm_cpuid_entry2 *entry = cpuid_entry(table, LEAF_XSAVE, 1);
    if (entry) {
        entry->eax = words[FEATURE_XSAVE];
    }
}

static void drop_above(CpuidTable *table, Levels levels)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t function = table->entries[i].function;
        bool basic = function <= MAX_BASIC_LEAF;
        bool extended = function >= LEAF_EXTENDED && function < LEAF_CENTAUR;
        if ((basic && function > levels.basic) || (extended && function > levels.extended)) {
            continue;
        }
        table->entries[kept++] = table->entries[i];
    }
    table->count = kept;
}

void cpuid_named_build(const CpuModel *model, const CpuidTable *supported,
                       const uint32_t words[FEATURE_WORDS], const SmpConfig *smp, CpuidTable *table)
{
    Levels levels = find_levels(model, words, smp);
    table->count = 0;
    put_identity(model, supported, levels, table);
    put_words(words, table);
    put_addresses(model, supported, words, table);
    put_small_leaves(model, supported, words, table);
    put_xsave(supported, words, table);
    cpuid_override_identity(model, table);
    cpuid_caches(model, supported, table);
    cpuid_topology(table, smp, model->cpuid_0xb, false);
    drop_above(table, levels);
    cpuid_copy(table, supported, LEAF_HYPERVISOR);
    cpuid_copy(table, supported, LEAF_KVM_FEATURES);
}
