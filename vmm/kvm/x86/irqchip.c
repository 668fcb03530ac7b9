/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The in-kernel interrupt controllers and timer, and the split arrangement: local APICs in KVM,
 * PIC, IOAPIC and PIT in hw/. */
#include "vmm/kvm/x86/x86.h"

#include <errno.h>
#include <sys/ioctl.h>

#define ISA_IRQS 16

/* ISA IRQ 0 arrives at IOAPIC pin 2, as the MADT says; pin 0 and PIC input 2 (the cascade) have
 * no GSI. */
static void irqchip_default_routes(KvmState *kvm)
{
    for (unsigned gsi = 0; gsi < X86_IOAPIC_PINS; gsi++) {
        if (gsi < ISA_IRQS && gsi != 2) {
            unsigned chip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
            kvm_routing_add_irqchip(kvm, gsi, chip, gsi % 8);
        }
        if (gsi != 2) {
            kvm_routing_add_irqchip(kvm, gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi);
        }
    }
}

/* KVM watches for the end of interrupts whose routes it finds at these GSIs. */
static void irqchip_split_routes(KvmState *kvm)
{
    MsiMessage none = { .address = 0xfee00000, .data = 0 };
    for (unsigned gsi = 0; gsi < X86_IOAPIC_PINS; gsi++) {
        kvm_routing_set_msi(kvm, gsi, &none);
    }
}

static bool irqchip_create_split(KvmState *kvm, GError **error)
{
    if (!kvm_require_cap(kvm, KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP",
                         "-machine kernel-irqchip=split", error)) {
        return false;
    }
    struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { X86_IOAPIC_PINS } };
    int result = kvm_ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap);
    if (result < 0) {
        return error_set_errno(error, -result, "KVM could not make a split irqchip");
    }
    irqchip_split_routes(kvm);
    return true;
}

static bool irqchip_create_kernel(KvmState *kvm, GError **error)
{
    int result = kvm_ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, NULL);
    if (result < 0) {
        return error_set_errno(error, -result,
                               "KVM could not make its interrupt controllers "
                               "(KVM_CREATE_IRQCHIP)");
    }
    irqchip_default_routes(kvm);
    if (kvm->machine->config->pit_off) {
        return true;
    }
    if (!kvm_require_cap(kvm, KVM_CAP_PIT2, "KVM_CAP_PIT2",
                         "the timer (-machine pit=off runs "
                         "without it)",
                         error)) {
        return false;
    }
    struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
    result = kvm_ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &config);
    if (result < 0) {
        return error_set_errno(error, -result, "KVM could not make its timer (KVM_CREATE_PIT2)");
    }
    return true;
}

/* KVM_PIT_FLAGS_HPET_LEGACY stops counter 0's timer; KVM starts it again when the flag goes. */
void kvm_arch_timer_silence(Machine *machine, bool on)
{
    KvmState *kvm = machine->accel_data;
    struct kvm_pit_state2 pit = { 0 };
    if (machine->irqchip != IRQCHIP_KERNEL || machine->config->pit_off ||
        kvm_ioctl(kvm->vm_fd, KVM_GET_PIT2, &pit) < 0) {
        return;
    }
    uint32_t flags = on ? pit.flags | KVM_PIT_FLAGS_HPET_LEGACY
                        : pit.flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY;
    if (flags != pit.flags) {
        pit.flags = flags;
        kvm_ioctl(kvm->vm_fd, KVM_SET_PIT2, &pit);
    }
}

bool kvm_arch_create_irqchip(KvmState *kvm, GError **error)
{
    if (kvm->machine->irqchip == IRQCHIP_SPLIT) {
        return irqchip_create_split(kvm, error);
    }
    return irqchip_create_kernel(kvm, error);
}

void kvm_arch_user_irqchip_set(Machine *machine, const UserIrqchip *chip)
{
    KvmState *kvm = machine->accel_data;
    kvm->arch->user_chip = *chip;
}

/* The PIC is wired to the first vCPU. */
void kvm_arch_extint_set(Machine *machine, int level)
{
    KvmState *kvm = machine->accel_data;
    __atomic_store_n(&kvm->arch->extint_level, level, __ATOMIC_SEQ_CST);
    if (level && kvm->vcpu_count > 0) {
        kvm_vcpu_request(&kvm->vcpus[0], VCPU_REQUEST_EXTINT);
    }
}

/* Before the guest is entered: an interrupt of the user PIC goes in when the vCPU takes one now,
 * otherwise KVM is asked to come back when it does. */
void kvm_arch_before_run(KvmVcpu *vcpu)
{
    KvmArch *arch = vcpu->kvm->arch;
    struct kvm_run *run = vcpu->run;
    run->request_interrupt_window = 0;
    if (!__atomic_load_n(&arch->extint_level, __ATOMIC_SEQ_CST)) {
        return;
    }
    if (!run->ready_for_interrupt_injection) {
        run->request_interrupt_window = 1;
        return;
    }
    int vector = arch->user_chip.pic_acknowledge
                     ? arch->user_chip.pic_acknowledge(arch->user_chip.opaque)
                     : -1;
    if (vector >= 0) {
        struct kvm_interrupt interrupt = { .irq = (uint32_t)vector };
        kvm_ioctl(vcpu->fd, KVM_INTERRUPT, &interrupt);
    }
    if (__atomic_load_n(&arch->extint_level, __ATOMIC_SEQ_CST)) {
        run->request_interrupt_window = 1;
    }
}

void kvm_arch_ioapic_pin_set(Machine *machine, unsigned pin, MsiMessage message)
{
    KvmState *kvm = machine->accel_data;
    if (pin >= X86_IOAPIC_PINS) {
        return;
    }
    kvm_routing_set_msi(kvm, pin, &message);
    if (__atomic_load_n(&kvm->routing.ready, __ATOMIC_ACQUIRE)) {
        g_autoptr(GError) error = NULL;
        kvm_routing_commit(kvm, &error);
    }
}

void x86_ioapic_eoi(KvmVcpu *vcpu)
{
    KvmArch *arch = vcpu->kvm->arch;
    if (arch->user_chip.ioapic_eoi) {
        arch->user_chip.ioapic_eoi(arch->user_chip.opaque, vcpu->run->eoi.vector);
    }
}
