/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86: the VM's set-up, vCPU creation, reset, clock, and exits of this architecture. */
#include "vmm/kvm/x86/x86.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include "vmm/machine/apic_id.h"

/* Where Intel CPUs without unrestricted guest mode keep KVM's pages: 16 KiB below the BIOS that no
 * memory map hands out. */
#define IDENTITY_MAP_ADDR 0xfeffc000ULL
#define TSS_ADDR          0xfeffd000UL
/* MISC_ENABLE at power-on: fast strings; branch trace and PEBS storage are not there. */
#define MISC_ENABLE_POWER_ON             0x1801ULL
#define LAPIC_LINT1                      0x360
#define LVT_MASKED                       (1u << 16)
#define LVT_MODE_NMI                     4
#define HV_STATUS_INVALID_HYPERCALL_CODE 2

static bool arch_required_caps(KvmState *kvm, GError **error)
{
    return kvm_require_cap(kvm, KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", "real mode", error) &&
           kvm_require_cap(kvm, KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "CPUID", error) &&
           kvm_require_cap(kvm, KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ", "the guest's clock",
                           error) &&
           kvm_require_cap(kvm, KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK", "the guest's clock",
                           error);
}

static bool arch_reserve_pages(KvmState *kvm, GError **error)
{
    uint64_t identity = IDENTITY_MAP_ADDR;
    int result = 0;
    if (kvm_check_cap(kvm, KVM_CAP_SET_IDENTITY_MAP_ADDR)) {
        result = kvm_ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    }
    if (result == 0) {
        result = kvm_ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, (void *)TSS_ADDR);
    }
    if (result < 0) {
        return error_set_errno(error, -result, "KVM could not reserve its pages at 0x%llx",
                               IDENTITY_MAP_ADDR);
    }
    return true;
}

/* APIC ids above 254 need messages with 32-bit destinations. */
static bool arch_enable_x2apic(KvmState *kvm, GError **error)
{
    const SmpConfig *smp = &kvm->machine->config->smp;
    uint32_t last = smp_apic_id(smp, smp->maxcpus - 1);
    int max_id = kvm_check_cap(kvm, KVM_CAP_MAX_VCPU_ID);
    if (max_id > 0 && last >= (uint32_t)max_id) {
        return error_set(error,
                         "-smp: this topology gives the last vCPU the APIC id %u; this "
                         "host's KVM takes ids below %d",
                         last, max_id);
    }
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X2APIC_API,
        .args = { KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
    };
    bool enabled = kvm_check_cap(kvm, KVM_CAP_X2APIC_API) &&
                   kvm_ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap) == 0;
    kvm->arch->x2apic_format = enabled;
    if (!enabled && last > 254) {
        return error_set_code(error, VIREO_ERROR_KVM_MISSING_CAP,
                              "this host's KVM lacks KVM_CAP_X2APIC_API, which is needed for APIC "
                              "ids above 254 (this topology goes up to %u)",
                              last);
    }
    return true;
}

/* -overcommit cpu-pm=on: vCPUs wait inside the guest. As QEMU does, without what the host lacks. */
static bool arch_disable_exits(KvmState *kvm, GError **error)
{
    if (!kvm->machine->config->cpu_pm) {
        return true;
    }
    int offered = kvm_check_cap(kvm, KVM_CAP_X86_DISABLE_EXITS);
    struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS };
    cap.args[0] = (uint64_t)(offered & KVM_X86_DISABLE_VALID_EXITS);
    int result = offered > 0 ? kvm_ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap) : -ENOTSUP;
    return result == 0 || error_set_errno(error, -result,
                                          "-overcommit cpu-pm=on: this host's KVM cannot let "
                                          "guests idle without an exit");
}

bool kvm_arch_init(KvmState *kvm, GError **error)
{
    kvm->arch = g_new0(KvmArch, 1);
    if (!cpu_model_parse(&kvm->arch->model, kvm->machine->config->cpu_model,
                         kvm->machine->cls->compat, error) ||
        !arch_required_caps(kvm, error) || !arch_reserve_pages(kvm, error) ||
        !arch_enable_x2apic(kvm, error) || !arch_disable_exits(kvm, error) ||
        !cpuid_build(kvm, &kvm->arch->cpuid, error)) {
        return false;
    }
    kvm->arch->ext_dest_id = kvm->arch->x2apic_format && kvm->arch->pv_ext_dest_id;
    x86_state_probe(kvm);
    return true;
}

bool cpu_features_offered(const Machine *machine, uint32_t words[FEATURE_WORDS])
{
    const KvmState *kvm = machine->accel == &kvm_accel ? machine->accel_data : NULL;
    memset(words, 0, FEATURE_WORDS * sizeof(words[0]));
    if (kvm) {
        memcpy(words, kvm->arch->offered, FEATURE_WORDS * sizeof(words[0]));
    }
    return kvm != NULL;
}

void kvm_arch_cleanup(KvmState *kvm)
{
    KvmArch *arch = kvm->arch;
    x86_debug_forget(kvm);
    x86_state_free(arch->power_on[0]);
    x86_state_free(arch->power_on[1]);
    g_free(arch->msr_list);
    g_free(arch);
}

uint64_t kvm_arch_processor_id(const Machine *machine)
{
    const KvmState *kvm = machine->accel_data;
    const struct kvm_cpuid_entry2 *leaf = cpuid_find(&kvm->arch->cpuid, 1, 0);
    return leaf ? (uint64_t)leaf->edx << 32 | leaf->eax : 0;
}

uint32_t kvm_arch_vcpu_id(KvmState *kvm, unsigned index)
{
    return smp_apic_id(&kvm->machine->config->smp, index);
}

static bool arch_set_cpuid(KvmVcpu *vcpu, GError **error)
{
    g_autofree CpuidTable *table = g_new(CpuidTable, 1);
    cpuid_set_ids(&vcpu->kvm->arch->cpuid, table, &vcpu->kvm->machine->config->smp, vcpu->arch_id);
    size_t entries = table->count * sizeof(table->entries[0]);
    g_autofree struct kvm_cpuid2 *cpuid = g_malloc0(sizeof(*cpuid) + entries);
    cpuid->nent = table->count;
    memcpy(cpuid->entries, table->entries, entries);
    int result = kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid);
    if (result < 0) {
        return error_set_errno(error, -result,
                               "KVM refused the CPU features of vCPU %u (KVM_SET_CPUID2)",
                               vcpu->index);
    }
    return true;
}

static bool arch_set_tsc_frequency(KvmVcpu *vcpu, GError **error)
{
    uint64_t khz = vcpu->kvm->arch->model.tsc_frequency / 1000;
    if (khz == 0) {
        return true;
    }
    int result = kvm_ioctl(vcpu->fd, KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
    if (result < 0) {
        return error_set_errno(error, -result,
                               "-cpu: tsc-frequency=%" PRIu64 ": KVM cannot give "
                               "a guest this frequency on this host",
                               vcpu->kvm->arch->model.tsc_frequency);
    }
    return true;
}

static bool vcpu_enable_cap(KvmVcpu *vcpu, unsigned cap, const char *name, const char *property,
                            GError **error)
{
    struct kvm_enable_cap enable = { .cap = cap, .args = { 1 } };
    if (kvm_ioctl(vcpu->fd, KVM_ENABLE_CAP, &enable) < 0) {
        return error_set(error, "-cpu: %s: this host's KVM lacks %s", property, name);
    }
    return true;
}

static bool arch_enable_paravirtual(KvmVcpu *vcpu, GError **error)
{
    const KvmArch *arch = vcpu->kvm->arch;
    return (!arch->hyperv_synic || vcpu_enable_cap(vcpu, KVM_CAP_HYPERV_SYNIC2,
                                                   "KVM_CAP_HYPERV_SYNIC2", "hv-synic", error)) &&
           (!arch->model.hyperv.enforce ||
            vcpu_enable_cap(vcpu, KVM_CAP_HYPERV_ENFORCE_CPUID, "KVM_CAP_HYPERV_ENFORCE_CPUID",
                            "hv-enforce-cpuid", error)) &&
           (!arch->model.enforce_pv ||
            vcpu_enable_cap(vcpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID,
                            "KVM_CAP_ENFORCE_PV_FEATURE_CPUID", "kvm-pv-enforce-cpuid", error));
}

/* MSRs that are part of the model. */
static void arch_set_model_msrs(KvmVcpu *vcpu)
{
    const KvmArch *arch = vcpu->kvm->arch;
    bool own = !arch->model.host ||
               arch->arch_capabilities != arch->offered[FEATURE_ARCH_CAPABILITIES];
    if (own && cpuid_has(&arch->cpuid, FEATURE_7_0_EDX, 29)) {
        x86_msr_set(vcpu, MSR_ARCH_CAPABILITIES, arch->arch_capabilities);
    }
    if (own && cpuid_has(&arch->cpuid, FEATURE_7_0_EDX, 30)) {
        x86_msr_set(vcpu, MSR_CORE_CAPABILITY, arch->core_capability);
    }
    if (arch->model.ucode_rev) {
        x86_msr_set(vcpu, MSR_UCODE_REV, arch->model.ucode_rev);
    }
}

bool kvm_arch_init_vcpu(KvmVcpu *vcpu, GError **error)
{
    KvmArch *arch = vcpu->kvm->arch;
    if (!arch_set_tsc_frequency(vcpu, error) || !arch_enable_paravirtual(vcpu, error) ||
        !arch_set_cpuid(vcpu, error)) {
        return false;
    }
    arch_set_model_msrs(vcpu);
    vcpu->extint = vcpu->kvm->machine->irqchip == IRQCHIP_SPLIT && vcpu->index == 0;
    x86_msr_set(vcpu, MSR_MISC_ENABLE, MISC_ENABLE_POWER_ON);
    unsigned kind = vcpu->index ? 1 : 0;
    if (!arch->power_on[kind]) {
        /* KVM makes vCPUs in their power-on state: kept for resets. */
        arch->power_on[kind] = x86_state_new(vcpu->kvm);
        return x86_state_get(vcpu, arch->power_on[kind], error);
    }
    return true;
}

/* ---- Reset ---- */

static void state_set_apic_id(X86VcpuState *state, uint32_t apic_id)
{
    /* Register 0x20 in xAPIC format: bits 31:24 (SDM volume 3, 11.4.6). */
    uint32_t value = apic_id << 24;
    memcpy(&state->lapic.regs[0x20], &value, sizeof(value));
}

static void state_zero_tsc(X86VcpuState *state)
{
    for (uint32_t i = 0; i < state->msrs->nmsrs; i++) {
        if (state->msrs->entries[i].index == MSR_TSC) {
            state->msrs->entries[i].data = 0;
        }
    }
}

static bool vcpu_power_on(KvmVcpu *vcpu, GError **error)
{
    X86VcpuState *state = vcpu->kvm->arch->power_on[vcpu->index ? 1 : 0];
    state_set_apic_id(state, vcpu->arch_id);
    return x86_state_put(vcpu, state, error);
}

/*
 * Setting the local APIC is what tells KVM that a vCPU made while others run can be reached;
 * without it INIT and SIPI find nobody. A counter set to zero is one that KVM sets to the others'
 * time.
 */
bool kvm_arch_vcpu_plugged(KvmVcpu *vcpu, GError **error)
{
    state_zero_tsc(vcpu->kvm->arch->power_on[vcpu->index ? 1 : 0]);
    return vcpu_power_on(vcpu, error) &&
           (x86_debug_plugged(vcpu) ||
            error_set(error, "KVM does not give vCPU %u gdb's breakpoints", vcpu->index));
}

void kvm_arch_vcpus_reset(KvmState *kvm)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kvm->arch->power_on); i++) {
        if (kvm->arch->power_on[i]) {
            state_zero_tsc(kvm->arch->power_on[i]);
        }
    }
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        g_autoptr(GError) error = NULL;
        if (kvm->vcpus[i].plugged && !vcpu_power_on(&kvm->vcpus[i], &error)) {
            kvm_fail(kvm, "could not reset: %s", error->message);
            return;
        }
    }
}

/* ---- The clock stands still while the machine is paused ---- */

void kvm_arch_paused(KvmState *kvm)
{
    kvm->arch->clock = (struct kvm_clock_data){ 0 };
    kvm->arch->clock_valid = kvm_ioctl(kvm->vm_fd, KVM_GET_CLOCK, &kvm->arch->clock) == 0;
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        /* Tells the guest's soft-lockup watchdog; guests without kvmclock refuse it. */
        if (kvm->vcpus[i].plugged) {
            kvm_ioctl(kvm->vcpus[i].fd, KVM_KVMCLOCK_CTRL, NULL);
        }
    }
}

void kvm_arch_resuming(KvmState *kvm)
{
    if (kvm->arch->clock_valid) {
        struct kvm_clock_data clock = { .clock = kvm->arch->clock.clock };
        kvm_ioctl(kvm->vm_fd, KVM_SET_CLOCK, &clock);
        kvm->arch->clock_valid = false;
    }
}

/* The NMI button is wired to LINT1 of every local APIC: it counts where the guest lets it through
 * (SDM volume 3, 11.5.1). */
void kvm_arch_vcpu_nmi(KvmVcpu *vcpu)
{
    struct kvm_lapic_state lapic = { 0 };
    if (kvm_ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic) == 0) {
        uint32_t lint1;
        memcpy(&lint1, &lapic.regs[LAPIC_LINT1], sizeof(lint1));
        if ((lint1 & LVT_MASKED) || (lint1 >> 8 & 7) != LVT_MODE_NMI) {
            return;
        }
    }
    kvm_ioctl(vcpu->fd, KVM_NMI, NULL);
}

/* ---- Exits ---- */

bool kvm_arch_handle_exit(KvmVcpu *vcpu)
{
    switch (vcpu->run->exit_reason) {
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_TPR_ACCESS:
        return true;
    case KVM_EXIT_HYPERV:
        /* No VMBus here: messages and events find no one. */
        if (vcpu->run->hyperv.type == KVM_EXIT_HYPERV_HCALL) {
            vcpu->run->hyperv.u.hcall.result = HV_STATUS_INVALID_HYPERCALL_CODE;
        }
        return true;
    case KVM_EXIT_IOAPIC_EOI:
        x86_ioapic_eoi(vcpu);
        return true;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
        vcpu->run->msr.error = 1; /* the guest gets a general protection fault */
        return true;
    case KVM_EXIT_X86_BUS_LOCK:
        return true;
    case KVM_EXIT_DEBUG:
        x86_debug_exit(vcpu);
        return true;
    default:
        return false;
    }
}

/* Extended destination ids: bits 11:5 of the address are bits 14:8 of the destination, which KVM
 * takes in bits 46:40 (Linux Documentation/virt/kvm/x86/cpuid.rst, KVM_FEATURE_MSI_EXT_DEST_ID).
 * With 32-bit destinations KVM refuses bits 39:32, which mean nothing. */
MsiMessage kvm_arch_fix_msi(KvmState *kvm, MsiMessage message)
{
    if (!kvm->arch->x2apic_format) {
        return message;
    }
    uint64_t high = message.address >> 32 & 0xffffff00ULL;
    uint64_t low = message.address & 0xffffffffULL;
    if (kvm->arch->ext_dest_id && high == 0 && !(low & 1u << 4)) {
        high = (low >> 5 & 0x7f) << 8;
        low &= ~0xfe0ULL;
    }
    message.address = high << 32 | low;
    return message;
}
