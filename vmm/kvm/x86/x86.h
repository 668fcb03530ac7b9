/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to vmm/kvm/x86: the machine's and the vCPUs' x86 parts. Main thread unless said. */
#ifndef VMM_KVM_X86_X86_H
#define VMM_KVM_X86_X86_H

#include <asm/kvm_para.h>
#include <linux/kvm.h>
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/x86/cpu_model.h"

#define X86_MAX_CPUID_ENTRIES 256
#define X86_IOAPIC_PINS       24

/* Intel SDM volume 4. */
enum {
    MSR_TSC = 0x10,
    MSR_APIC_BASE = 0x1b,
    MSR_FEATURE_CONTROL = 0x3a,
    MSR_UCODE_REV = 0x8b,
    MSR_CORE_CAPABILITY = 0xcf,
    MSR_MTRR_CAP = 0xfe,
    MSR_ARCH_CAPABILITIES = 0x10a,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_MTRR_PHYS_BASE0 = 0x200,
    MSR_MTRR_PHYS_MASK0 = 0x201,
    MSR_MTRR_FIX64K = 0x250,
    MSR_MTRR_FIX16K_80000 = 0x258,
    MSR_MTRR_FIX16K_A0000 = 0x259,
    MSR_MTRR_FIX4K_C0000 = 0x268,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_EFER = 0xc0000080,
    MSR_TSC_AUX = 0xc0000103,
};

enum {
    CR0_PE = 1u << 0,
    CR0_MP = 1u << 1,
    CR0_ET = 1u << 4,
    CR0_NE = 1u << 5,
    CR0_WP = 1u << 16,
    CR0_PG = 1u << 31,
    CR4_PAE = 1u << 5,
    EFER_LME = 1u << 8,
    EFER_LMA = 1u << 10,
};

typedef struct CpuidTable {
    uint32_t count;
    struct kvm_cpuid_entry2 entries[X86_MAX_CPUID_ENTRIES];
} CpuidTable;

/* All of a vCPU that KVM lets us read and write. */
typedef struct X86VcpuState {
    struct kvm_regs regs;
    struct kvm_sregs2 sregs;
    struct kvm_debugregs debugregs;
    struct kvm_xcrs xcrs;
    struct kvm_lapic_state lapic;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp_state;
    uint8_t *xsave; /* arch->xsave_size bytes */
    struct kvm_msrs *msrs;
} X86VcpuState;

struct KvmArch {
    CpuModel model;
    CpuidTable cpuid; /* of all vCPUs, but for their ids */
    uint32_t *msr_list;
    unsigned msr_count;
    size_t xsave_size;
    bool has_xsave, has_xcrs, has_sregs2, has_debugregs;
    bool x2apic_format;                          /* messages carry 32-bit destination ids */
    uint32_t offered[FEATURE_WORDS];             /* what KVM has on this host */
    uint32_t arch_capabilities, core_capability; /* of the guest */
    bool pv_ext_dest_id;                         /* the guest's CPUID tells of them */
    bool hyperv_synic;                           /* each vCPU's is turned on */
    bool ext_dest_id; /* guests may use 15-bit destination ids in messages */
    UserIrqchip user_chip;
    int extint_level; /* atomic: the user PIC's output */
    /* Power-on state as KVM made it: of the first vCPU and of any other. */
    X86VcpuState *power_on[2];
    struct kvm_clock_data clock; /* at the pause */
    bool clock_valid;
    DebugBreaks breaks; /* gdb's; changed while vCPUs are parked */
};

/* ---- cpuid.c ---- */
bool cpuid_build(KvmState *kvm, CpuidTable *table, GError **error);
void cpuid_set_ids(const CpuidTable *table, CpuidTable *out, const SmpConfig *smp,
                   uint32_t apic_id);
const struct kvm_cpuid_entry2 *cpuid_find(const CpuidTable *table, uint32_t function,
                                          uint32_t index);
bool cpuid_has(const CpuidTable *table, FeatureWordId word, unsigned bit);

/* ---- state.c ---- */
void x86_state_probe(KvmState *kvm);
X86VcpuState *x86_state_new(const KvmState *kvm);
void x86_state_free(X86VcpuState *state);
bool x86_state_get(KvmVcpu *vcpu, X86VcpuState *state, GError **error);
bool x86_state_put(KvmVcpu *vcpu, X86VcpuState *state, GError **error);
bool x86_msr_set(KvmVcpu *vcpu, uint32_t index, uint64_t value);
/* What KVM offers in an MSR that lists features; 0 when it has none. */
uint64_t x86_feature_msr(KvmState *kvm, uint32_t index);

/* ---- debug.c ---- */
void x86_debug_exit(KvmVcpu *vcpu); /* the vCPU's thread */
/* A vCPU that comes stops at the machine's breakpoints too; false: KVM refuses. */
bool x86_debug_plugged(KvmVcpu *vcpu);
void x86_debug_forget(KvmState *kvm);

/* ---- dump_apic.c: AccelDebugOps ---- */
uint32_t x86_apic_id(Machine *machine, unsigned cpu);
void x86_lapic_dump(Machine *machine, unsigned cpu, GString *out);
bool x86_irqchip_view(Machine *machine, IrqchipView *view);

/* ---- irqchip.c ---- */
void x86_ioapic_eoi(KvmVcpu *vcpu); /* the vCPU's thread */

#endif
