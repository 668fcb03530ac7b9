/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `-cpu MODEL,+feature,-feature,feature=on|off,key=value`: what the text asks for. Whether the host
 * has it is cpuid.c's question. Main thread.
 */
#ifndef VMM_KVM_X86_CPU_MODEL_H
#define VMM_KVM_X86_CPU_MODEL_H

#include "vmm/error.h"
#include "vmm/kvm/x86/features.h"

typedef struct CpuModel {
    const char *name; /* "host" */
    uint32_t on[FEATURE_WORDS];
    uint32_t off[FEATURE_WORDS];
    bool kvm;               /* kvm=off hides KVM's paravirtual leaves */
    bool pmu;               /* performance counters */
    bool migratable;        /* no invtsc unless asked for by name */
    unsigned phys_bits;     /* 0: the host's */
    uint64_t tsc_frequency; /* Hz, 0: the host's */
} CpuModel;

/* text: the whole -cpu argument, NULL: "host". */
bool cpu_model_parse(CpuModel *model, const char *text, GError **error);

/* What `-cpu help` prints. */
void cpu_model_help(GString *out);

#endif
