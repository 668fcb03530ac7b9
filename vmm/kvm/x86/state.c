/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing all of a vCPU's state (Linux Documentation/virt/kvm/api.rst). */
#include "vmm/kvm/x86/x86.h"

#include <errno.h>
#include <string.h>

void x86_state_probe(KvmState *kvm)
{
    KvmArch *arch = kvm->arch;
    int xsave2 = kvm_check_cap(kvm, KVM_CAP_XSAVE2);
    arch->xsave_size = MAX((size_t)xsave2, sizeof(struct kvm_xsave));
    arch->has_xsave = kvm_check_cap(kvm, KVM_CAP_XSAVE);
    arch->has_xcrs = kvm_check_cap(kvm, KVM_CAP_XCRS);
    arch->has_sregs2 = kvm_check_cap(kvm, KVM_CAP_SREGS2);
    arch->has_debugregs = kvm_check_cap(kvm, KVM_CAP_DEBUGREGS);
}

/* MSRs that KVM saves besides what it lists: the MTRRs. */
static const uint32_t mtrr_msrs[] = {
    MSR_MTRR_DEF_TYPE,
    MSR_MTRR_FIX64K,
    MSR_MTRR_FIX16K_80000,
    MSR_MTRR_FIX16K_A0000,
    0x268,
    0x269,
    0x26a,
    0x26b,
    0x26c,
    0x26d,
    0x26e,
    0x26f,
    0x200,
    0x201,
    0x202,
    0x203,
    0x204,
    0x205,
    0x206,
    0x207,
    0x208,
    0x209,
    0x20a,
    0x20b,
    0x20c,
    0x20d,
    0x20e,
    0x20f,
};

/* Capabilities and results, which a restored guest finds in its new host. */
static bool msr_is_read_only(uint32_t index)
{
    switch (index) {
    case 0x8b:  /* microcode revision */
    case 0xce:  /* platform info */
    case 0x10a: /* architectural capabilities */
    case 0x345: /* performance capabilities */
    case 0x34:  /* SMI count */
        return true;
    default:
        return (index >= 0x480 && index <= 0x493) ||         /* VMX capabilities */
               (index >= 0x40000000 && index <= 0x400001ff); /* Hyper-V */
    }
}

static void state_fill_msr_list(KvmState *kvm)
{
    KvmArch *arch = kvm->arch;
    if (arch->msr_list) {
        return;
    }
    struct kvm_msr_list probe = { .nmsrs = 0 };
    kvm_ioctl(kvm->dev_fd, KVM_GET_MSR_INDEX_LIST, &probe);
    g_autofree struct kvm_msr_list *list =
        g_malloc0(sizeof(*list) + probe.nmsrs * sizeof(uint32_t));
    list->nmsrs = probe.nmsrs;
    if (kvm_ioctl(kvm->dev_fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
        list->nmsrs = 0;
    }
    arch->msr_list = g_new0(uint32_t, list->nmsrs + G_N_ELEMENTS(mtrr_msrs));
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        if (!msr_is_read_only(list->indices[i])) {
            arch->msr_list[arch->msr_count++] = list->indices[i];
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(mtrr_msrs); i++) {
        arch->msr_list[arch->msr_count++] = mtrr_msrs[i];
    }
}

X86VcpuState *x86_state_new(const KvmState *kvm)
{
    X86VcpuState *state = g_new0(X86VcpuState, 1);
    state_fill_msr_list((KvmState *)kvm);
    state->xsave = g_malloc0(kvm->arch->xsave_size);
    state->msrs =
        g_malloc0(sizeof(struct kvm_msrs) + kvm->arch->msr_count * sizeof(struct kvm_msr_entry));
    return state;
}

void x86_state_free(X86VcpuState *state)
{
    if (state) {
        g_free(state->xsave);
        g_free(state->msrs);
        g_free(state);
    }
}

bool x86_msr_set(KvmVcpu *vcpu, uint32_t index, uint64_t value)
{
    uint64_t buffer[(sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)) / 8] = { 0 };
    struct kvm_msrs *msrs = (struct kvm_msrs *)buffer;
    msrs->nmsrs = 1;
    msrs->entries[0] = (struct kvm_msr_entry){ .index = index, .data = value };
    return kvm_ioctl(vcpu->fd, KVM_SET_MSRS, msrs) == 1;
}

uint64_t x86_feature_msr(KvmState *kvm, uint32_t index)
{
    uint64_t buffer[(sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)) / 8] = { 0 };
    struct kvm_msrs *msrs = (struct kvm_msrs *)buffer;
    msrs->nmsrs = 1;
    msrs->entries[0].index = index;
    return kvm_ioctl(kvm->dev_fd, KVM_GET_MSRS, msrs) == 1 ? msrs->entries[0].data : 0;
}

/* KVM reads in order up to one that it does not know: that one is struck off the list for good. */
static bool state_get_msrs(KvmVcpu *vcpu, struct kvm_msrs *msrs)
{
    KvmArch *arch = vcpu->kvm->arch;
    for (;;) {
        for (unsigned i = 0; i < arch->msr_count; i++) {
            msrs->entries[i] = (struct kvm_msr_entry){ .index = arch->msr_list[i] };
        }
        msrs->nmsrs = arch->msr_count;
        int done = kvm_ioctl(vcpu->fd, KVM_GET_MSRS, msrs);
        if (done < 0) {
            return false;
        }
        if ((unsigned)done == arch->msr_count) {
            return true;
        }
        memmove(&arch->msr_list[done], &arch->msr_list[done + 1],
                (arch->msr_count - (unsigned)done - 1) * sizeof(uint32_t));
        arch->msr_count--;
    }
}

/* An MSR that KVM refuses keeps its value; the others are still written. */
static void state_put_msrs(KvmVcpu *vcpu, const struct kvm_msrs *msrs)
{
    size_t size = sizeof(*msrs) + msrs->nmsrs * sizeof(struct kvm_msr_entry);
    g_autofree struct kvm_msrs *rest = g_malloc(size);
    uint32_t next = 0;
    while (next < msrs->nmsrs) {
        *rest = (struct kvm_msrs){ .nmsrs = msrs->nmsrs - next };
        memcpy(rest->entries, &msrs->entries[next], rest->nmsrs * sizeof(struct kvm_msr_entry));
        int done = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, rest);
        if (done < 0) {
            return;
        }
        next += (uint32_t)done + 1;
    }
}

static bool state_ioctl(KvmVcpu *vcpu, unsigned long request, void *arg, const char *what,
                        GError **error)
{
    int result = kvm_ioctl(vcpu->fd, request, arg);
    if (result < 0) {
        return error_set_errno(error, -result, "vCPU %u: %s", vcpu->index, what);
    }
    return true;
}

static bool state_get_sregs(KvmVcpu *vcpu, struct kvm_sregs2 *sregs, GError **error)
{
    if (vcpu->kvm->arch->has_sregs2) {
        return state_ioctl(vcpu, KVM_GET_SREGS2, sregs, "KVM_GET_SREGS2", error);
    }
    struct kvm_sregs old = { 0 };
    if (!state_ioctl(vcpu, KVM_GET_SREGS, &old, "KVM_GET_SREGS", error)) {
        return false;
    }
    *sregs = (struct kvm_sregs2){ 0 };
    memcpy(sregs, &old, offsetof(struct kvm_sregs, interrupt_bitmap));
    return true;
}

static bool state_put_sregs(KvmVcpu *vcpu, struct kvm_sregs2 *sregs, GError **error)
{
    if (vcpu->kvm->arch->has_sregs2) {
        return state_ioctl(vcpu, KVM_SET_SREGS2, sregs, "KVM_SET_SREGS2", error);
    }
    struct kvm_sregs old = { 0 };
    memcpy(&old, sregs, offsetof(struct kvm_sregs, interrupt_bitmap));
    return state_ioctl(vcpu, KVM_SET_SREGS, &old, "KVM_SET_SREGS", error);
}

bool x86_state_get(KvmVcpu *vcpu, X86VcpuState *state, GError **error)
{
    const KvmArch *arch = vcpu->kvm->arch;
    unsigned long get_xsave = arch->xsave_size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2
                                                                          : KVM_GET_XSAVE;
    /* mp_state first: reading it makes KVM take pending INIT and SIPI into the other registers. */
    if (!state_ioctl(vcpu, KVM_GET_MP_STATE, &state->mp_state, "KVM_GET_MP_STATE", error) ||
        !state_ioctl(vcpu, KVM_GET_REGS, &state->regs, "KVM_GET_REGS", error) ||
        !state_get_sregs(vcpu, &state->sregs, error) ||
        !state_ioctl(vcpu, KVM_GET_LAPIC, &state->lapic, "KVM_GET_LAPIC", error) ||
        !state_ioctl(vcpu, KVM_GET_VCPU_EVENTS, &state->events, "KVM_GET_VCPU_EVENTS", error)) {
        return false;
    }
    if (arch->has_xsave && !state_ioctl(vcpu, get_xsave, state->xsave, "KVM_GET_XSAVE", error)) {
        return false;
    }
    if (arch->has_xcrs && !state_ioctl(vcpu, KVM_GET_XCRS, &state->xcrs, "KVM_GET_XCRS", error)) {
        return false;
    }
    if (arch->has_debugregs &&
        !state_ioctl(vcpu, KVM_GET_DEBUGREGS, &state->debugregs, "KVM_GET_DEBUGREGS", error)) {
        return false;
    }
    return state_get_msrs(vcpu, state->msrs) ||
           error_set(error, "vCPU %u: KVM_GET_MSRS failed", vcpu->index);
}

bool x86_state_put(KvmVcpu *vcpu, X86VcpuState *state, GError **error)
{
    const KvmArch *arch = vcpu->kvm->arch;
    /* Events of before must not survive a reset: the flags say which fields count. */
    state->events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
                           KVM_VCPUEVENT_VALID_SHADOW;
    if (arch->has_sregs2 && !(state->sregs.cr0 & CR0_PG)) {
        state->sregs.flags = 0;
    }
    /* The local APIC's format follows the APIC base in sregs; the extended state's, XCR0. */
    if (!state_put_sregs(vcpu, &state->sregs, error) ||
        !state_ioctl(vcpu, KVM_SET_REGS, &state->regs, "KVM_SET_REGS", error) ||
        (arch->has_xcrs && !state_ioctl(vcpu, KVM_SET_XCRS, &state->xcrs, "KVM_SET_XCRS", error)) ||
        (arch->has_xsave &&
         !state_ioctl(vcpu, KVM_SET_XSAVE, state->xsave, "KVM_SET_XSAVE", error)) ||
        (arch->has_debugregs &&
         !state_ioctl(vcpu, KVM_SET_DEBUGREGS, &state->debugregs, "KVM_SET_DEBUGREGS", error))) {
        return false;
    }
    state_put_msrs(vcpu, state->msrs);
    return state_ioctl(vcpu, KVM_SET_LAPIC, &state->lapic, "KVM_SET_LAPIC", error) &&
           state_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &state->events, "KVM_SET_VCPU_EVENTS", error) &&
           state_ioctl(vcpu, KVM_SET_MP_STATE, &state->mp_state, "KVM_SET_MP_STATE", error);
}
