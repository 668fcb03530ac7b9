/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU's registers and the code around its instruction pointer, as text in QEMU's form. */
#include "vmm/kvm/x86/x86.h"

#include "vmm/util/bytes.h"

#define CODE_BEFORE 43
#define CODE_BYTES  64

static void dump_general(GString *out, const struct kvm_regs *regs, bool wide)
{
    if (!wide) {
        g_string_append_printf(out,
                               "EAX=%08x EBX=%08x ECX=%08x EDX=%08x\n"
                               "ESI=%08x EDI=%08x EBP=%08x ESP=%08x\n",
                               (unsigned)regs->rax, (unsigned)regs->rbx, (unsigned)regs->rcx,
                               (unsigned)regs->rdx, (unsigned)regs->rsi, (unsigned)regs->rdi,
                               (unsigned)regs->rbp, (unsigned)regs->rsp);
        return;
    }
    g_string_append_printf(out,
                           "RAX=%016llx RBX=%016llx RCX=%016llx RDX=%016llx\n"
                           "RSI=%016llx RDI=%016llx RBP=%016llx RSP=%016llx\n"
                           "R8 =%016llx R9 =%016llx R10=%016llx R11=%016llx\n"
                           "R12=%016llx R13=%016llx R14=%016llx R15=%016llx\n",
                           regs->rax, regs->rbx, regs->rcx, regs->rdx, regs->rsi, regs->rdi,
                           regs->rbp, regs->rsp, regs->r8, regs->r9, regs->r10, regs->r11,
                           regs->r12, regs->r13, regs->r14, regs->r15);
}

static void dump_flags(GString *out, const struct kvm_regs *regs, const struct kvm_sregs *sregs,
                       bool wide, bool halted, bool smm)
{
    static const struct {
        unsigned bit;
        char letter;
    } flags[] = { { 10, 'D' }, { 11, 'O' }, { 7, 'S' }, { 6, 'Z' },
                  { 4, 'A' },  { 2, 'P' },  { 0, 'C' } };
    if (wide) {
        g_string_append_printf(out, "RIP=%016llx RFL=%08x [", regs->rip, (unsigned)regs->rflags);
    } else {
        g_string_append_printf(out, "EIP=%08x EFL=%08x [", (unsigned)regs->rip,
                               (unsigned)regs->rflags);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        g_string_append_c(out, regs->rflags >> flags[i].bit & 1 ? flags[i].letter : '-');
    }
    g_string_append_printf(out, "] CPL=%u II=0 A20=1 SMM=%d HLT=%d\n", sregs->ss.dpl, smm, halted);
}

static void dump_segment(GString *out, const char *name, const struct kvm_segment *s, bool wide)
{
    unsigned flags = (unsigned)(s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 12 |
                                s->l << 13 | s->db << 14 | s->g << 15)
                     << 8;
    if (wide) {
        g_string_append_printf(out, "%-3s=%04x %016llx %08x %08x\n", name, s->selector, s->base,
                               s->limit, flags);
    } else {
        g_string_append_printf(out, "%-3s=%04x %08x %08x %08x\n", name, s->selector,
                               (unsigned)s->base, s->limit, flags);
    }
}

static void dump_system(GString *out, const struct kvm_sregs *sregs, bool wide)
{
    dump_segment(out, "ES", &sregs->es, wide);
    dump_segment(out, "CS", &sregs->cs, wide);
    dump_segment(out, "SS", &sregs->ss, wide);
    dump_segment(out, "DS", &sregs->ds, wide);
    dump_segment(out, "FS", &sregs->fs, wide);
    dump_segment(out, "GS", &sregs->gs, wide);
    dump_segment(out, "LDT", &sregs->ldt, wide);
    dump_segment(out, "TR", &sregs->tr, wide);
    g_string_append_printf(out, "GDT=     %0*llx %08x\nIDT=     %0*llx %08x\n", wide ? 16 : 8,
                           sregs->gdt.base, sregs->gdt.limit, wide ? 16 : 8, sregs->idt.base,
                           sregs->idt.limit);
    g_string_append_printf(out, "CR0=%08x CR2=%0*llx CR3=%0*llx CR4=%08x\n", (unsigned)sregs->cr0,
                           wide ? 16 : 8, sregs->cr2, wide ? 16 : 8, sregs->cr3,
                           (unsigned)sregs->cr4);
}

static void dump_debug(GString *out, KvmVcpu *vcpu, const struct kvm_sregs *sregs)
{
    struct kvm_debugregs debug = { 0 };
    kvm_ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &debug);
    g_string_append_printf(out,
                           "DR0=%016llx DR1=%016llx DR2=%016llx DR3=%016llx\n"
                           "DR6=%016llx DR7=%016llx\nEFER=%016llx\n",
                           debug.db[0], debug.db[1], debug.db[2], debug.db[3], debug.dr6, debug.dr7,
                           sregs->efer);
}

static void dump_fpu(GString *out, KvmVcpu *vcpu, bool wide)
{
    struct kvm_fpu fpu = { 0 };
    if (kvm_ioctl(vcpu->fd, KVM_GET_FPU, &fpu) < 0) {
        return;
    }
    g_string_append_printf(out, "FCW=%04x FSW=%04x [ST=%d] FTW=%02x MXCSR=%08x\n", fpu.fcw, fpu.fsw,
                           fpu.fsw >> 11 & 7, fpu.ftwx, fpu.mxcsr);
    for (unsigned i = 0; i < G_N_ELEMENTS(fpu.fpr); i++) {
        g_string_append_printf(out, "FPR%u=%016" G_GINT64_MODIFIER "x %04x%c", i,
                               load_le(fpu.fpr[i], 8), (unsigned)load_le(fpu.fpr[i] + 8, 2),
                               i % 2 ? '\n' : ' ');
    }
    for (unsigned i = 0; i < (wide ? 16 : 8); i++) {
        g_string_append_printf(
            out, "XMM%02u=%016" G_GINT64_MODIFIER "x %016" G_GINT64_MODIFIER "x%c", i,
            load_le(fpu.xmm[i] + 8, 8), load_le(fpu.xmm[i], 8), i % 2 ? '\n' : ' ');
    }
}

/* One byte at a linear address; false when it is not mapped. */
static bool dump_read_code(KvmVcpu *vcpu, uint64_t linear, uint8_t *byte)
{
    struct kvm_translation translation = { .linear_address = linear };
    if (kvm_ioctl(vcpu->fd, KVM_TRANSLATE, &translation) < 0 || !translation.valid) {
        return false;
    }
    return address_space_read(vcpu->memory, translation.physical_address, byte, 1);
}

static void dump_code(GString *out, KvmVcpu *vcpu, uint64_t linear)
{
    uint64_t start = linear - MIN(linear, CODE_BEFORE);
    g_string_append(out, "Code=");
    for (unsigned i = 0; i < CODE_BYTES; i++) {
        uint8_t byte = 0;
        bool readable = dump_read_code(vcpu, start + i, &byte);
        bool here = start + i == linear;
        g_string_append(out, i ? " " : "");
        g_string_append(out, here ? "<" : "");
        if (readable) {
            g_string_append_printf(out, "%02x", byte);
        } else {
            g_string_append(out, "??");
        }
        g_string_append(out, here ? ">" : "");
    }
    g_string_append_c(out, '\n');
}

void kvm_arch_vcpu_dump(KvmVcpu *vcpu, GString *out)
{
    struct kvm_regs regs = { 0 };
    struct kvm_sregs sregs = { 0 };
    struct kvm_mp_state mp = { 0 };
    struct kvm_vcpu_events events = { 0 };
    if (kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 ||
        kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0) {
        g_string_append_printf(out, "CPU#%u: registers cannot be read\n", vcpu->index);
        return;
    }
    kvm_ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp);
    kvm_ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
    bool wide = sregs.efer & EFER_LMA;
    g_string_append_printf(out, "\nCPU#%u\n", vcpu->index);
    dump_general(out, &regs, wide);
    dump_flags(out, &regs, &sregs, wide, mp.mp_state == KVM_MP_STATE_HALTED, events.smi.smm);
    dump_system(out, &sregs, wide);
    dump_debug(out, vcpu, &sregs);
    dump_fpu(out, vcpu, wide);
    dump_code(out, vcpu, wide && sregs.cs.l ? regs.rip : sregs.cs.base + regs.rip);
}
