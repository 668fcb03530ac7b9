/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hyper-V enlightenments, `-cpu hv-*`: which there are, what they need, and the CPUID leaves that
 * tell a guest (Microsoft, Hypervisor Top Level Functional Specification, chapter 2). Main thread.
 */
#ifndef VMM_KVM_X86_HYPERV_H
#define VMM_KVM_X86_HYPERV_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/error.h"

#define HYPERV_NO_SPINLOCKS UINT32_MAX /* never tell the hypervisor of a long spin */
#define HYPERV_LEAVES       7          /* 40000000 to 40000006 */

typedef enum HypervFeature {
    HV_RELAXED,
    HV_VAPIC,
    HV_VPINDEX,
    HV_RUNTIME,
    HV_CRASH,
    HV_RESET,
    HV_SYNIC,
    HV_STIMER,
    HV_STIMER_DIRECT,
    HV_FREQUENCIES,
    HV_TIME,
    HV_REENLIGHTENMENT,
    HV_TLBFLUSH,
    HV_TLBFLUSH_EXT,
    HV_IPI,
    HV_AVIC,
    HV_XMM_INPUT,
    HV_FEATURES,
} HypervFeature;

typedef struct HypervOptions {
    uint32_t features; /* bits by HypervFeature */
    uint32_t spinlocks;
    bool passthrough;      /* everything that KVM has */
    bool enforce;          /* hv-enforce-cpuid: KVM refuses what the leaves do not tell */
    bool no_coresharing;   /* hv-no-nonarch-coresharing=on */
    bool coresharing_auto; /* ... =auto: as the host says */
    char vendor[13];
    uint32_t build, service_pack, service_number;
    uint16_t major, minor;
    uint8_t service_branch;
} HypervOptions;

typedef struct HypervLeaf {
    uint32_t eax, ebx, ecx, edx;
} HypervLeaf;

void hyperv_defaults(HypervOptions *hv);
/* key: with '-' for '_'. *known: the key is one of Hyper-V's; false: key's value is wrong. */
bool hyperv_set(HypervOptions *hv, const char *key, const char *value, bool *known, GError **error);
/* Whether the guest sees a Hyper-V at all. */
bool hyperv_enabled(const HypervOptions *hv);
/* Checks what features need of each other and of the host, and fills the leaves. supported: KVM's
 * own leaves from 40000000 on. vcpus: that the machine can have. */
bool hyperv_build(const HypervOptions *hv, const HypervLeaf supported[HYPERV_LEAVES],
                  unsigned vcpus, HypervLeaf out[HYPERV_LEAVES], GError **error);
bool hyperv_has(const HypervLeaf leaves[HYPERV_LEAVES], HypervFeature feature);
void hyperv_to_json(const HypervOptions *hv, json_object *out);
/* Nearest name and list, for errors and help. */
const char *const *hyperv_names(void);

#endif
