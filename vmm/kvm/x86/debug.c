/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A debugger's hands on vCPUs: registers, KVM_SET_GUEST_DEBUG, and the exits it brings (Linux
 * Documentation/virt/kvm/api.rst; debug registers: Intel SDM volume 3, chapter 18). */
#include "vmm/kvm/x86/x86.h"

#include <string.h>
#include "vmm/machine/cpus.h"
#include "vmm/machine/debug.h"

#ifndef KVM_GUESTDBG_BLOCKIRQ
#define KVM_GUESTDBG_BLOCKIRQ 0x00100000
#endif

#define VECTOR_DB 1
#define VECTOR_BP 3

#define DR6_STEP      (1u << 14)
#define DR6_SLOTS     0xfu
#define DR7_EXACT     0x600u /* GE, and a bit that is always set */
#define DR7_GLOBAL(n) (2u << (n)*2)
#define DR7_KIND(n)   (16 + (n)*4)
#define DR7_LENGTH(n) (18 + (n)*4)
#define RFLAGS_VM     (1u << 17)
#define MSR_KERNEL_GS 0xc0000102
#define FTW_EMPTY     3u /* a tag of the full tag word: two bits a register */

static KvmVcpu *vcpu_of(Machine *machine, unsigned cpu)
{
    KvmState *kvm = machine->accel_data;
    return &kvm->vcpus[cpu];
}

static bool has_blockirq(const KvmState *kvm)
{
    return kvm_check_cap(kvm, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ;
}

static bool debug_check(Machine *machine, GError **error)
{
    return kvm_require_cap(machine->accel_data, KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG",
                           "gdb", error);
}

static bool step_keeps_irqs_away(Machine *machine)
{
    return has_blockirq(machine->accel_data);
}

/* ---- Registers ---- */

/* KVM's order of general registers to gdb's. */
static uint64_t *general_register(struct kvm_regs *regs, unsigned n)
{
    __u64 *const order[16] = { &regs->rax, &regs->rbx, &regs->rcx, &regs->rdx,
                               &regs->rsi, &regs->rdi, &regs->rbp, &regs->rsp,
                               &regs->r8,  &regs->r9,  &regs->r10, &regs->r11,
                               &regs->r12, &regs->r13, &regs->r14, &regs->r15 };
    return (uint64_t *)order[n];
}

static struct kvm_segment *segment(struct kvm_sregs *sregs, unsigned n)
{
    struct kvm_segment *const order[SEG_COUNT] = {
        [SEG_CS] = &sregs->cs, [SEG_SS] = &sregs->ss, [SEG_DS] = &sregs->ds,
        [SEG_ES] = &sregs->es, [SEG_FS] = &sregs->fs, [SEG_GS] = &sregs->gs,
    };
    return order[n];
}

static bool get_general(KvmVcpu *vcpu, DebugRegs *out)
{
    struct kvm_regs regs = { 0 };
    if (kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(out->gpr); i++) {
        out->gpr[i] = *general_register(&regs, i);
    }
    out->rip = regs.rip;
    out->rflags = (uint32_t)regs.rflags;
    return true;
}

static bool put_general(KvmVcpu *vcpu, const DebugRegs *in)
{
    struct kvm_regs regs = { .rip = in->rip, .rflags = in->rflags };
    for (unsigned i = 0; i < G_N_ELEMENTS(in->gpr); i++) {
        *general_register(&regs, i) = in->gpr[i];
    }
    return kvm_ioctl(vcpu->fd, KVM_SET_REGS, &regs) >= 0;
}

static uint64_t get_kernel_gs(KvmVcpu *vcpu)
{
    uint64_t buffer[(sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)) / 8] = { 0 };
    struct kvm_msrs *msrs = (struct kvm_msrs *)buffer;
    msrs->nmsrs = 1;
    msrs->entries[0].index = MSR_KERNEL_GS;
    return kvm_ioctl(vcpu->fd, KVM_GET_MSRS, msrs) == 1 ? msrs->entries[0].data : 0;
}

static bool get_system(KvmVcpu *vcpu, DebugRegs *out)
{
    struct kvm_sregs sregs = { 0 };
    if (kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0) {
        return false;
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        out->selector[i] = segment(&sregs, i)->selector;
        out->segment_base[i] = segment(&sregs, i)->base;
        out->segment_limit[i] = segment(&sregs, i)->limit;
    }
    out->code_64 = sregs.efer & EFER_LMA && sregs.cs.l;
    out->code_32 = !out->code_64 && sregs.cs.db;
    out->fs_base = sregs.fs.base;
    out->gs_base = sregs.gs.base;
    out->k_gs_base = get_kernel_gs(vcpu);
    out->cr0 = sregs.cr0;
    out->cr2 = sregs.cr2;
    out->cr3 = sregs.cr3;
    out->cr4 = sregs.cr4;
    out->cr8 = sregs.cr8;
    out->efer = sregs.efer;
    out->gdt_base = sregs.gdt.base;
    out->gdt_limit = sregs.gdt.limit;
    out->idt_base = sregs.idt.base;
    out->idt_limit = sregs.idt.limit;
    return true;
}

/* In protected mode a selector stands for a descriptor, which only the guest can load. */
static bool load_selectors(KvmVcpu *vcpu, struct kvm_sregs *sregs, const DebugRegs *in)
{
    struct kvm_regs regs = { 0 };
    bool real = !(sregs->cr0 & CR0_PE) ||
                (kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs) >= 0 && regs.rflags & RFLAGS_VM);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        struct kvm_segment *seg = segment(sregs, i);
        if (seg->selector == in->selector[i]) {
            continue;
        }
        if (!real || in->selector[i] > UINT16_MAX) {
            return false;
        }
        seg->selector = (uint16_t)in->selector[i];
        seg->base = (uint64_t)in->selector[i] << 4;
    }
    return true;
}

static bool put_system(KvmVcpu *vcpu, const DebugRegs *in)
{
    struct kvm_sregs sregs = { 0 };
    if (kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0 || !load_selectors(vcpu, &sregs, in)) {
        return false;
    }
    if (in->fs_base != sregs.fs.base && in->selector[SEG_FS] == sregs.fs.selector) {
        sregs.fs.base = in->fs_base;
    }
    if (in->gs_base != sregs.gs.base && in->selector[SEG_GS] == sregs.gs.selector) {
        sregs.gs.base = in->gs_base;
    }
    sregs.cr0 = in->cr0;
    sregs.cr2 = in->cr2;
    sregs.cr3 = in->cr3;
    sregs.cr4 = in->cr4;
    sregs.cr8 = in->cr8;
    sregs.efer = in->efer;
    return kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) >= 0 &&
           (in->k_gs_base == get_kernel_gs(vcpu) ||
            x86_msr_set(vcpu, MSR_KERNEL_GS, in->k_gs_base));
}

/* The tag word as FNSTENV has it, from FXSAVE's bit a register: what is in use counts as valid. */
static uint32_t full_tags(uint8_t abridged)
{
    uint32_t tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        tags |= abridged >> i & 1 ? 0 : FTW_EMPTY << i * 2;
    }
    return tags;
}

static uint8_t abridged_tags(uint32_t tags)
{
    uint8_t abridged = 0;
    for (unsigned i = 0; i < 8; i++) {
        abridged |= (uint8_t)((tags >> i * 2 & FTW_EMPTY) != FTW_EMPTY) << i;
    }
    return abridged;
}

static bool get_fpu(KvmVcpu *vcpu, DebugRegs *out)
{
    struct kvm_fpu fpu = { 0 };
    if (kvm_ioctl(vcpu->fd, KVM_GET_FPU, &fpu) < 0) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(out->st); i++) {
        memcpy(out->st[i], fpu.fpr[i], sizeof(out->st[i]));
    }
    memcpy(out->xmm, fpu.xmm, sizeof(out->xmm));
    out->fctrl = fpu.fcw;
    out->fstat = fpu.fsw;
    out->ftag = full_tags(fpu.ftwx);
    out->fop = fpu.last_opcode;
    out->fioff = (uint32_t)fpu.last_ip;
    out->fiseg = (uint32_t)(fpu.last_ip >> 32);
    out->fooff = (uint32_t)fpu.last_dp;
    out->foseg = (uint32_t)(fpu.last_dp >> 32);
    out->mxcsr = fpu.mxcsr;
    return true;
}

static bool put_fpu(KvmVcpu *vcpu, const DebugRegs *in)
{
    struct kvm_fpu fpu = { 0 };
    if (kvm_ioctl(vcpu->fd, KVM_GET_FPU, &fpu) < 0) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(in->st); i++) {
        memcpy(fpu.fpr[i], in->st[i], sizeof(in->st[i]));
    }
    memcpy(fpu.xmm, in->xmm, sizeof(in->xmm));
    fpu.fcw = (uint16_t)in->fctrl;
    fpu.fsw = (uint16_t)in->fstat;
    fpu.ftwx = abridged_tags(in->ftag);
    fpu.last_opcode = (uint16_t)in->fop;
    fpu.last_ip = (uint64_t)in->fiseg << 32 | in->fioff;
    fpu.last_dp = (uint64_t)in->foseg << 32 | in->fooff;
    fpu.mxcsr = in->mxcsr;
    return kvm_ioctl(vcpu->fd, KVM_SET_FPU, &fpu) >= 0;
}

static bool regs_get(Machine *machine, unsigned cpu, DebugRegs *regs, unsigned groups)
{
    KvmVcpu *vcpu = vcpu_of(machine, cpu);
    return (!(groups & DEBUG_REGS_GENERAL) || get_general(vcpu, regs)) &&
           (!(groups & DEBUG_REGS_SYSTEM) || get_system(vcpu, regs)) &&
           (!(groups & DEBUG_REGS_FPU) || get_fpu(vcpu, regs));
}

static bool regs_put(Machine *machine, unsigned cpu, const DebugRegs *regs, unsigned groups)
{
    KvmVcpu *vcpu = vcpu_of(machine, cpu);
    vcpu->kvm->fresh = false;
    return (!(groups & DEBUG_REGS_SYSTEM) || put_system(vcpu, regs)) &&
           (!(groups & DEBUG_REGS_GENERAL) || put_general(vcpu, regs)) &&
           (!(groups & DEBUG_REGS_FPU) || put_fpu(vcpu, regs));
}

/* ---- What vCPUs stop at ---- */

static uint32_t slot_control(const DebugSlot *slot, unsigned n)
{
    static const uint32_t kinds[] = {
        [DEBUG_BREAK_HARDWARE] = 0, [DEBUG_WATCH_WRITE] = 1, [DEBUG_WATCH_ACCESS] = 3
    };
    static const uint32_t lengths[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
    return DR7_GLOBAL(n) | kinds[slot->kind] << DR7_KIND(n) |
           (slot->kind == DEBUG_BREAK_HARDWARE ? 0 : lengths[slot->length] << DR7_LENGTH(n));
}

/* Tells KVM of the machine's breakpoints and the vCPU's step; with `inject`, an exception of the
 * guest's own is delivered to it besides. */
static int update_guest_debug(KvmVcpu *vcpu, uint32_t inject)
{
    const DebugBreaks *breaks = &vcpu->kvm->arch->breaks;
    struct kvm_guest_debug debug = { .control = inject };
    if (breaks->count) {
        debug.control |= KVM_GUESTDBG_USE_HW_BP;
        debug.arch.debugreg[7] = DR7_EXACT;
        for (unsigned i = 0; i < breaks->count; i++) {
            debug.arch.debugreg[i] = breaks->slots[i].addr;
            debug.arch.debugreg[7] |= slot_control(&breaks->slots[i], i);
        }
    }
    if (breaks->software && breaks->software->len) {
        debug.control |= KVM_GUESTDBG_USE_SW_BP;
    }
    if (vcpu->debug_run == DEBUG_RUN_STEP || vcpu->debug_run == DEBUG_RUN_STEP_NO_IRQ) {
        debug.control |= KVM_GUESTDBG_SINGLESTEP;
    }
    if (vcpu->debug_run == DEBUG_RUN_STEP_NO_IRQ && has_blockirq(vcpu->kvm)) {
        debug.control |= KVM_GUESTDBG_BLOCKIRQ;
    }
    if (debug.control) {
        debug.control |= KVM_GUESTDBG_ENABLE;
    }
    return kvm_ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
}

void x86_debug_forget(KvmState *kvm)
{
    g_clear_pointer(&kvm->arch->breaks.software, g_array_unref);
    kvm->arch->breaks.count = 0;
}

static bool set_breaks(Machine *machine, const DebugBreaks *breaks, GError **error)
{
    KvmState *kvm = machine->accel_data;
    x86_debug_forget(kvm);
    if (breaks) {
        kvm->arch->breaks = *breaks;
        kvm->arch->breaks.software = breaks->software ? g_array_copy(breaks->software) : NULL;
    }
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        int result = kvm->vcpus[i].plugged ? update_guest_debug(&kvm->vcpus[i], 0) : 0;
        if (result < 0) {
            return error_set_errno(error, -result,
                                   "this host's KVM does not take these breakpoints "
                                   "(KVM_SET_GUEST_DEBUG)");
        }
    }
    return true;
}

bool x86_debug_plugged(KvmVcpu *vcpu)
{
    vcpu->debug_run = DEBUG_RUN_ON;
    vcpu->debug_stop = (DebugStop){ DEBUG_STOP_NONE, 0 };
    const DebugBreaks *breaks = &vcpu->kvm->arch->breaks;
    return (!breaks->count && !breaks->software) || update_guest_debug(vcpu, 0) >= 0;
}

static bool set_run(Machine *machine, unsigned cpu, DebugRun run, GError **error)
{
    KvmVcpu *vcpu = vcpu_of(machine, cpu);
    bool stepping = vcpu->debug_run == DEBUG_RUN_STEP || vcpu->debug_run == DEBUG_RUN_STEP_NO_IRQ;
    bool steps = run == DEBUG_RUN_STEP || run == DEBUG_RUN_STEP_NO_IRQ;
    vcpu->debug_run = run;
    vcpu->debug_stop = (DebugStop){ DEBUG_STOP_NONE, 0 };
    if (!stepping && !steps) {
        return true;
    }
    int result = update_guest_debug(vcpu, 0);
    return result >= 0 ||
           error_set_errno(error, -result, "KVM does not step vCPU %u (KVM_SET_GUEST_DEBUG)", cpu);
}

static DebugStop take_stop(Machine *machine, unsigned cpu)
{
    KvmVcpu *vcpu = vcpu_of(machine, cpu);
    DebugStop stop = vcpu->debug_stop;
    vcpu->debug_stop = (DebugStop){ DEBUG_STOP_NONE, 0 };
    return stop;
}

/* ---- Exits: the vCPU's thread; breakpoints change only while it is parked ---- */

static bool is_our_int3(KvmVcpu *vcpu, uint64_t pc)
{
    const GArray *software = vcpu->kvm->arch->breaks.software;
    DebugRegs regs;
    uint64_t physical;
    if (!software || !get_system(vcpu, &regs) ||
        !debug_translate(vcpu->kvm->machine, &regs, pc, &physical)) {
        return false;
    }
    for (guint i = 0; i < software->len; i++) {
        if (g_array_index(software, uint64_t, i) == physical) {
            return true;
        }
    }
    return false;
}

static DebugStop find_reason(KvmVcpu *vcpu, const struct kvm_debug_exit_arch *arch)
{
    const DebugBreaks *breaks = &vcpu->kvm->arch->breaks;
    if (arch->exception == VECTOR_BP) {
        return (DebugStop){ is_our_int3(vcpu, arch->pc) ? DEBUG_STOP_SOFTWARE : DEBUG_STOP_NONE,
                            0 };
    }
    for (unsigned i = 0; arch->dr6 & DR6_SLOTS && i < breaks->count; i++) {
        if (arch->dr6 >> i & 1) {
            return (DebugStop){ DEBUG_STOP_HARDWARE, i };
        }
    }
    bool steps = vcpu->debug_run == DEBUG_RUN_STEP || vcpu->debug_run == DEBUG_RUN_STEP_NO_IRQ;
    return (DebugStop){ steps && arch->dr6 & DR6_STEP ? DEBUG_STOP_STEP : DEBUG_STOP_NONE, 0 };
}

/* An int3 or a trap that the guest has asked for itself. */
static void give_to_guest(KvmVcpu *vcpu, const struct kvm_debug_exit_arch *arch)
{
    struct kvm_debugregs guest = { 0 };
    if (arch->exception == VECTOR_BP) {
        update_guest_debug(vcpu, KVM_GUESTDBG_INJECT_BP);
        return;
    }
    if (kvm_ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &guest) >= 0) {
        guest.dr6 |= arch->dr6 & (DR6_STEP | DR6_SLOTS);
        kvm_ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &guest);
    }
    update_guest_debug(vcpu, KVM_GUESTDBG_INJECT_DB);
}

static void stop_machine(KvmVcpu *vcpu, DebugStop stop)
{
    vcpu->debug_stop = stop;
    kvm_vcpu_request(vcpu, VCPU_REQUEST_PARK);
    machine_request_stop(vcpu->kvm->machine, RUN_STATE_DEBUG);
}

void x86_debug_exit(KvmVcpu *vcpu)
{
    const struct kvm_debug_exit_arch *arch = &vcpu->run->debug.arch;
    DebugStop stop = find_reason(vcpu, arch);
    if (stop.kind == DEBUG_STOP_NONE) {
        give_to_guest(vcpu, arch);
    } else {
        stop_machine(vcpu, stop);
    }
}

/* A KVM that interprets the guest may not know int3. */
bool kvm_arch_failed_at_breakpoint(KvmVcpu *vcpu)
{
    struct kvm_regs regs = { 0 };
    struct kvm_sregs sregs = { 0 };
    if (kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 ||
        kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0 ||
        !is_our_int3(vcpu, sregs.cs.base + regs.rip)) {
        return false;
    }
    stop_machine(vcpu, (DebugStop){ DEBUG_STOP_SOFTWARE, 0 });
    return true;
}

const AccelDebugOps kvm_arch_debug = {
    .check = debug_check,
    .regs_get = regs_get,
    .regs_put = regs_put,
    .set_breaks = set_breaks,
    .set_run = set_run,
    .take_stop = take_stop,
    .step_keeps_irqs_away = step_keeps_irqs_away,
    .apic_id = x86_apic_id,
    .lapic_dump = x86_lapic_dump,
    .irqchip_view = x86_irqchip_view,
};
