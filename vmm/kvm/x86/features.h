/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID feature bits by QEMU's names. Constant tables; any thread. */
#ifndef VMM_KVM_X86_FEATURES_H
#define VMM_KVM_X86_FEATURES_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum FeatureWordId {
    FEATURE_1_EDX,
    FEATURE_1_ECX,
    FEATURE_7_0_EBX,
    FEATURE_7_0_ECX,
    FEATURE_7_0_EDX,
    FEATURE_7_1_EAX,
    FEATURE_7_1_EDX,
    FEATURE_7_2_EDX,
    FEATURE_8000_0001_EDX,
    FEATURE_8000_0001_ECX,
    FEATURE_8000_0007_EDX,
    FEATURE_8000_0008_EBX,
    FEATURE_8000_0021_EAX,
    FEATURE_SVM,
    FEATURE_XSAVE,
    FEATURE_6_EAX,
    FEATURE_KVM,
    FEATURE_KVM_HINTS,
    FEATURE_C000_0001_EDX,
    FEATURE_ARCH_CAPABILITIES, /* an MSR, as the next */
    FEATURE_CORE_CAPABILITY,
    FEATURE_WORDS,
} FeatureWordId;

typedef enum CpuidReg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX } CpuidReg;

typedef struct FeatureWord {
    uint32_t function, index;
    CpuidReg reg;
    const char *label; /* "CPUID 7.0 EBX" */
    const char *names[32];
    uint32_t msr; /* not 0: the word is the low half of this MSR, not CPUID's */
} FeatureWord;

extern const FeatureWord feature_words[FEATURE_WORDS];

/* A feature by QEMU's name ('_' and '-' are the same, some have aliases): masks[] gets its bits,
 * and only those. False: no such feature. */
bool feature_find(const char *name, uint32_t masks[FEATURE_WORDS]);
/* Adds to masks what cannot work without what is in masks. */
void feature_add_dependents(uint32_t masks[FEATURE_WORDS]);
/* The nearest name, or NULL. */
char *feature_suggest(const char *name);
/* The name of a bit, NULL: it has none. A bit that several names have gets the first. */
const char *feature_bit_name(FeatureWordId word, unsigned bit);
/* Adds the features of a list of names, "fpu vme de", to masks. All must be known. */
void feature_add_list(const char *names, uint32_t masks[FEATURE_WORDS]);
/* All names, sorted, for `-cpu help`. */
GPtrArray *feature_names(void);

#endif
