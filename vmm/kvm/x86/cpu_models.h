/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The named CPU models: QEMU's names, versions and contents, as one table. What a model is called
 * after is a processor that was sold; what it contains is what its guests have come to rely on.
 * Constant; any thread.
 */
#ifndef VMM_KVM_X86_CPU_MODELS_H
#define VMM_KVM_X86_CPU_MODELS_H

#include "vmm/kvm/x86/features.h"

#define CPU_MODEL_VERSIONS 6
#define CPU_MODEL_ID_MAX   48
#define CPU_VENDOR_LEN     12

typedef struct CpuCache {
    uint8_t level;
    enum { CACHE_NONE, CACHE_DATA, CACHE_CODE, CACHE_UNIFIED } type; /* as in CPUID leaf 4 */
    uint32_t kib;
    uint16_t ways;
    uint8_t lines_per_tag;   /* AMD's leaves 80000005 and 80000006 */
    bool inclusive, complex; /* of lower levels; indexing */
    bool set_up;             /* by firmware: not self-initializing */
    bool no_flush_below;     /* WBINVD does not act upon the caches of the other threads */
} CpuCache;                  /* all have lines of 64 bytes */

typedef struct CpuCaches {
    CpuCache l1d, l1i, l2, l3;
} CpuCaches;

/* From the second version on: what differs from the one before. NULL and 0: nothing. */
typedef struct CpuModelVersion {
    const char *alias; /* "Haswell-noTSX" */
    const char *id;
    const char *note;   /* for `-cpu help` */
    const char *change; /* "+spec-ctrl -hle"; NULL: no such version */
    uint8_t model, stepping;
} CpuModelVersion;

typedef struct CpuModelEntry {
    const char *name; /* "Haswell": the first version, as machine types have had it */
    const char *id;   /* the brand string */
    const char *vendor;
    uint16_t family;
    uint8_t model, stepping;
    uint32_t level, xlevel;
    const CpuCaches *caches; /* NULL: those that all models without their own have */
    const char *features;
    CpuModelVersion versions[CPU_MODEL_VERSIONS];
} CpuModelEntry;

extern const CpuModelEntry cpu_model_entries[];
extern const unsigned cpu_model_entry_count;
/* Caches of models without their own: by the leaf that tells them (2, 4, or AMD's). */
extern const CpuCaches legacy_caches, legacy_caches_leaf2, legacy_caches_amd;

/* A version of a model, with everything that leads up to it applied. */
typedef struct CpuDefinition {
    const CpuModelEntry *entry;
    unsigned version; /* from 1 */
    const char *id;
    uint8_t model, stepping;
    uint32_t features[FEATURE_WORDS];
} CpuDefinition;

/* name: "Haswell", "Haswell-v3", "Haswell-IBRS". False: there is none. */
bool cpu_models_find(const char *name, CpuDefinition *out);

/* Every name: of models (version 1), versions and aliases. alias_of: NULL for versions. note: NULL
 * when there is none. */
typedef void CpuModelFn(const char *name, const char *alias_of, const CpuDefinition *def,
                        const char *note, void *opaque);
void cpu_models_foreach(CpuModelFn *fn, void *opaque);

#endif
