/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first vCPU as a directly loaded kernel expects it: flat segments, 32 or 64 bit. */
#include "vmm/kvm/x86/x86.h"

#include "vmm/util/bytes.h"

#define SELECTOR_CODE   0x10
#define SELECTOR_DATA   0x18
#define MTRR_WB         6
#define MTRR_DEF_ENABLE (1u << 11 | 1u << 10) /* MTRRs and fixed ranges on */
#define MTRR_MASK_VALID (1u << 11)

static struct kvm_segment flat_segment(unsigned selector, unsigned type, bool long_mode)
{
    return (struct kvm_segment){
        .limit = 0xffffffff,
        .selector = (uint16_t)selector,
        .type = (uint8_t)type,
        .present = 1,
        .s = 1,
        .g = 1,
        .l = long_mode,
        .db = !long_mode,
    };
}

static void boot_segments(struct kvm_sregs *sregs, const BootCpu *boot)
{
    bool long_mode = boot->mode == BOOT_CPU_LONG;
    sregs->cs = flat_segment(SELECTOR_CODE, 0xb, long_mode);
    struct kvm_segment data = flat_segment(SELECTOR_DATA, 0x3, false);
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->tr = (struct kvm_segment){ .limit = 0x67, .type = 0xb, .present = 1 };
    sregs->ldt = (struct kvm_segment){ .type = 2, .unusable = 1 };
    sregs->gdt.base = boot->gdt_base;
    sregs->gdt.limit = boot->gdt_limit;
    sregs->idt.base = 0;
    sregs->idt.limit = 0;
    if (long_mode) {
        sregs->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
        sregs->cr3 = boot->cr3;
        sregs->cr4 = CR4_PAE;
        sregs->efer = EFER_LME | EFER_LMA;
    } else {
        sregs->cr0 = CR0_PE | CR0_ET;
        sregs->cr3 = sregs->cr4 = sregs->efer = 0;
    }
}

/* What firmware leaves behind: RAM write-back, the VGA window and the hole below 4 GiB uncached.
 * Linux says so when the MTRRs are off. */
static void boot_mtrrs(KvmState *kvm, KvmVcpu *vcpu)
{
    const struct kvm_cpuid_entry2 *sizes = cpuid_find(&kvm->arch->cpuid, 0x80000008, 0);
    unsigned bits = sizes ? sizes->eax & 0xff : 36;
    uint64_t ram = kvm->machine->ram_below_4g;
    uint64_t hole = ram <= 2 * GIB ? 2 * GIB : 3 * GIB; /* one variable range: a power of two */
    if (ram <= hole) {
        uint64_t mask = ((1ULL << bits) - 1) & ~(4 * GIB - hole - 1);
        x86_msr_set(vcpu, MSR_MTRR_PHYS_BASE0, hole);
        x86_msr_set(vcpu, MSR_MTRR_PHYS_MASK0, mask | MTRR_MASK_VALID);
    }
    x86_msr_set(vcpu, MSR_MTRR_FIX64K, 0x0606060606060606ULL);
    x86_msr_set(vcpu, MSR_MTRR_FIX16K_80000, 0x0606060606060606ULL);
    x86_msr_set(vcpu, MSR_MTRR_FIX16K_A0000, 0);
    for (unsigned i = 0; i < 8; i++) {
        x86_msr_set(vcpu, MSR_MTRR_FIX4K_C0000 + i, 0x0505050505050505ULL);
    }
    x86_msr_set(vcpu, MSR_MTRR_DEF_TYPE, MTRR_DEF_ENABLE | MTRR_WB);
}

void kvm_arch_vcpu_set_boot(KvmVcpu *vcpu, const BootCpu *boot)
{
    KvmState *kvm = vcpu->kvm;
    struct kvm_sregs sregs = { 0 };
    struct kvm_regs regs = {
        .rip = boot->rip,
        .rsp = boot->rsp,
        .rax = boot->rax,
        .rbx = boot->rbx,
        .rsi = boot->rsi,
        .rdi = boot->rdi,
        .rflags = 2,
    };
    int result = kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
    if (result == 0) {
        boot_segments(&sregs, boot);
        result = kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
    }
    if (result == 0) {
        result = kvm_ioctl(vcpu->fd, KVM_SET_REGS, &regs);
    }
    if (result < 0) {
        kvm_fail(kvm, "KVM refused the boot state of the first vCPU: %s", g_strerror(-result));
        return;
    }
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        if (kvm->vcpus[i].plugged) {
            boot_mtrrs(kvm, &kvm->vcpus[i]);
        }
    }
}
