/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `-cpu MODEL,+feature,-feature,feature=on|off,key=value`: what the text asks for. Whether the host
 * has it is cpuid.c's question. Main thread.
 */
#ifndef VMM_KVM_X86_CPU_MODEL_H
#define VMM_KVM_X86_CPU_MODEL_H

#include <json-c/json.h>
#include "vmm/error.h"
#include "vmm/kvm/x86/cpu_models.h"
#include "vmm/kvm/x86/features.h"
#include "vmm/kvm/x86/hyperv.h"
#include "vmm/machine/machine.h"

#define CPU_NUMBER_UNSET UINT64_MAX

typedef struct CpuModel {
    char name[40];                   /* as the user wrote it: "host", "EPYC-v3" */
    bool host;                       /* host and max: what KVM offers, not a table's entry */
    CpuDefinition def;               /* of a named model; .entry NULL: host, max, base */
    uint32_t usual[FEATURE_WORDS];   /* what KVM adds to every named model; missing is no news */
    uint32_t unusual[FEATURE_WORDS]; /* what KVM takes from every named model */
    uint32_t on[FEATURE_WORDS];      /* what the user wrote */
    uint32_t off[FEATURE_WORDS];
    bool check, enforce;                          /* say what is missing; refuse */
    bool kvm;                                     /* kvm=off hides KVM's paravirtual leaves */
    bool pmu;                                     /* performance counters */
    bool migratable;                              /* no invtsc unless asked for by name */
    bool l3_cache, legacy_cache, host_cache_info; /* which caches are told */
    bool vendor_cpuid_only;        /* x-vendor-cpuid-only: no leaves 2 and 4 on AMD's processors */
    bool cpuid_0xb;                /* leaf 0xb */
    bool frequency_leaf;           /* vmware-cpuid-freq: 40000010 */
    bool enforce_pv;               /* kvm-pv-enforce-cpuid */
    bool auto_level;               /* full-cpuid-auto-level */
    bool host_phys_bits;           /* the host's number of address bits */
    uint64_t host_phys_bits_limit; /* 0: none */
    uint64_t phys_bits;            /* 0: host_phys_bits decides */
    uint64_t tsc_frequency;        /* Hz, 0: the host's */
    uint64_t family, model, stepping;              /* CPU_NUMBER_UNSET: the model's */
    uint64_t level, xlevel, min_level, min_xlevel; /* the same */
    uint64_t ucode_rev;                            /* 0: KVM's */
    char vendor[CPU_VENDOR_LEN + 1];               /* "": the model's */
    char id[CPU_MODEL_ID_MAX + 1];                 /* the brand string, if has_id */
    bool has_id;
    HypervOptions hyperv;
} CpuModel;

/* text: the whole -cpu argument, NULL: "host". compat: the machine version's tables, or NULL. */
bool cpu_model_parse(CpuModel *model, const char *text, const CompatProp *const *compat,
                     GError **error);
/* The model of this name without properties. */
bool cpu_model_init(CpuModel *model, const char *name, const CompatProp *const *compat,
                    GError **error);
/* A feature or property by name, value as in `-cpu`. */
bool cpu_model_set(CpuModel *model, const char *key, const char *value, GError **error);

/* The features asked for: a named model's own and what the user changed. */
void cpu_model_features(const CpuModel *model, uint32_t features[FEATURE_WORDS]);
/* What is asked for and not offered: "'avx2' (CPUID 7.0 EBX bit 5), ..."; NULL: nothing. What KVM
 * adds to every named model is not asked for. */
char *cpu_model_missing(const CpuModel *model, const uint32_t supported[FEATURE_WORDS]);
/* The features that a guest gets where KVM offers `supported`. */
void cpu_model_resolve(const CpuModel *model, const uint32_t supported[FEATURE_WORDS],
                       uint32_t words[FEATURE_WORDS]);
/* Properties and features with their values, as query-cpu-model-expansion tells them. supported:
 * what host and max stand for. */
json_object *cpu_model_to_json(const CpuModel *model, const uint32_t supported[FEATURE_WORDS]);

/* What the machine's vCPUs have: cpu_model_to_json()'s values, features as the host could give
 * them, and "unavailable-features", the names of those that it could not. New reference. */
json_object *cpu_model_of_machine(const Machine *machine);

/* What this host's KVM offers; false, and zeroes, when the machine is not KVM's. */
bool cpu_features_offered(const Machine *machine, uint32_t words[FEATURE_WORDS]);

/* What `-cpu help` prints. */
void cpu_model_help(GString *out);

#endif
