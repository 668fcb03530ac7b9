/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vCPUs left KVM_RUN for: the reasons' names, and counters for who asks. */
#include "vmm/kvm/kvm.h"

/* As in <linux/kvm.h>, KVM_EXIT_NAME; "intr" is a signal: somebody wanted the vCPU out. */
static const char *const names[] = {
    [KVM_EXIT_UNKNOWN] = "unknown",
    [KVM_EXIT_EXCEPTION] = "exception",
    [KVM_EXIT_IO] = "io",
    [KVM_EXIT_HYPERCALL] = "hypercall",
    [KVM_EXIT_DEBUG] = "debug",
    [KVM_EXIT_HLT] = "hlt",
    [KVM_EXIT_MMIO] = "mmio",
    [KVM_EXIT_IRQ_WINDOW_OPEN] = "irq-window-open",
    [KVM_EXIT_SHUTDOWN] = "shutdown",
    [KVM_EXIT_FAIL_ENTRY] = "fail-entry",
    [KVM_EXIT_INTR] = "intr",
    [KVM_EXIT_SET_TPR] = "set-tpr",
    [KVM_EXIT_TPR_ACCESS] = "tpr-access",
    [KVM_EXIT_NMI] = "nmi",
    [KVM_EXIT_INTERNAL_ERROR] = "internal-error",
    [KVM_EXIT_SYSTEM_EVENT] = "system-event",
    [KVM_EXIT_IOAPIC_EOI] = "ioapic-eoi",
    [KVM_EXIT_HYPERV] = "hyperv",
    [KVM_EXIT_X86_RDMSR] = "rdmsr",
    [KVM_EXIT_X86_WRMSR] = "wrmsr",
    [KVM_EXIT_DIRTY_RING_FULL] = "dirty-ring-full",
    [KVM_EXIT_X86_BUS_LOCK] = "bus-lock",
    [KVM_EXIT_XEN] = "xen",
    [KVM_EXIT_NOTIFY] = "notify",
};

const char *kvm_exit_name(unsigned reason)
{
    const char *name = reason < G_N_ELEMENTS(names) ? names[reason] : NULL;
    return name ? name : "other";
}

static const VcpuExits *vcpu_exits(Machine *machine, unsigned index)
{
    const KvmState *kvm = machine->accel_data;
    return index < kvm->vcpu_count ? kvm->vcpus[index].exits : NULL;
}

const AccelExitOps kvm_exit_ops = { .vcpu = vcpu_exits, .reason_name = kvm_exit_name };
