/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A local APIC as text in QEMU's form (Intel SDM volume 3, chapter 11), and the chips in KVM. */
#include "vmm/kvm/x86/x86.h"

#include <string.h>

enum {
    APIC_TPR = 0x80,
    APIC_APR = 0x90,
    APIC_PPR = 0xa0,
    APIC_LDR = 0xd0,
    APIC_DFR = 0xe0,
    APIC_SPIV = 0xf0,
    APIC_ISR = 0x100,
    APIC_TMR = 0x180,
    APIC_IRR = 0x200,
    APIC_ESR = 0x280,
    APIC_ICR = 0x300,
    APIC_ICR2 = 0x310,
    APIC_LVTT = 0x320,
    APIC_LVTTHMR = 0x330,
    APIC_LVTPC = 0x340,
    APIC_LVT0 = 0x350,
    APIC_LVT1 = 0x360,
    APIC_LVTERR = 0x370,
    APIC_TIMER_INITIAL = 0x380,
    APIC_TIMER_CURRENT = 0x390,
    APIC_TIMER_DIVIDE = 0x3e0,
};

#define SPIV_ENABLED (1u << 8)
#define SPIV_FOCUS   (1u << 9) /* focus checking is off */

static const char *const delivery_names[] = { "Fixed", "LowPrio", "SMI",  "...",
                                              "NMI",   "INIT",    "SIPI", "ExtINT" };

static uint32_t apic_register(const struct kvm_lapic_state *lapic, unsigned offset)
{
    uint32_t value;
    memcpy(&value, lapic->regs + offset, sizeof(value));
    return value;
}

static void dump_lvt(GString *out, const char *name, uint32_t lvt, bool timer)
{
    static const char *const modes[] = { "one-shot", "periodic", "tsc-deadline", "..." };
    unsigned delivery = lvt >> 8 & 7;
    g_string_append_printf(out, "%s\t 0x%08x %s %-5s %-6s %-7s %-12s %-6s", name, lvt,
                           lvt >> 13 & 1 ? "active-lo" : "active-hi",
                           lvt >> 15 & 1 ? "level" : "edge", lvt >> 16 & 1 ? "masked" : "",
                           lvt >> 12 & 1 ? "pending" : "", timer ? modes[lvt >> 17 & 3] : "",
                           delivery_names[delivery]);
    if (delivery == 0) {
        g_string_append_printf(out, " (vec %u)", lvt & 0xff);
    }
    g_string_append_c(out, '\n');
}

static void dump_timer(GString *out, const struct kvm_lapic_state *lapic)
{
    uint32_t divide = apic_register(lapic, APIC_TIMER_DIVIDE);
    unsigned shift = ((divide & 3) | (divide >> 1 & 4)) + 1;
    g_string_append_printf(
        out, "Timer\t DCR=0x%x (divide by %u) initial_count = %u current_count = %u\n", divide,
        1u << (shift & 7), apic_register(lapic, APIC_TIMER_INITIAL),
        apic_register(lapic, APIC_TIMER_CURRENT));
}

static void dump_command(GString *out, const struct kvm_lapic_state *lapic)
{
    static const char *const shorthands[] = { "no-shorthand", "self", "all-self", "all" };
    uint32_t icr = apic_register(lapic, APIC_ICR), icr2 = apic_register(lapic, APIC_ICR2);
    bool logical = icr >> 11 & 1;
    g_string_append_printf(out, "ICR\t 0x%08x %s %s %s %s\n", icr, logical ? "logical" : "physical",
                           icr >> 15 & 1 ? "level" : "edge", icr >> 14 & 1 ? "assert" : "de-assert",
                           shorthands[icr >> 18 & 3]);
    g_string_append_printf(out, "ICR2\t 0x%08x %s %u%s\n", icr2, logical ? "mask" : "cpu",
                           icr2 >> 24, logical ? "" : " (APIC ID)");
}

/* One of the 256-bit fields; a vector in the TMR came by a level. */
static void dump_vectors(GString *out, const char *name, const struct kvm_lapic_state *lapic,
                         unsigned field)
{
    bool any = false;
    g_string_append_printf(out, "%s\t ", name);
    for (unsigned vector = 0; vector < 256; vector++) {
        unsigned offset = vector / 32 * 0x10;
        if (apic_register(lapic, field + offset) >> vector % 32 & 1) {
            bool level = apic_register(lapic, APIC_TMR + offset) >> vector % 32 & 1;
            g_string_append_printf(out, "%u%s ", vector, level ? "(level)" : "");
            any = true;
        }
    }
    g_string_append(out, any ? "\n" : "(none)\n");
}

uint32_t x86_apic_id(Machine *machine, unsigned cpu)
{
    const KvmState *kvm = machine->accel_data;
    return kvm->vcpus[cpu].arch_id;
}

void x86_lapic_dump(Machine *machine, unsigned cpu, GString *out)
{
    const KvmState *kvm = machine->accel_data;
    struct kvm_lapic_state lapic = { 0 };
    if (kvm_ioctl(kvm->vcpus[cpu].fd, KVM_GET_LAPIC, &lapic) < 0) {
        g_string_append_printf(out, "CPU#%u: the local APIC cannot be read\n", cpu);
        return;
    }
    uint32_t spurious = apic_register(&lapic, APIC_SPIV);
    g_string_append_printf(out, "dumping local APIC state for CPU %u\n\n",
                           x86_apic_id(machine, cpu));
    dump_lvt(out, "LVT0", apic_register(&lapic, APIC_LVT0), false);
    dump_lvt(out, "LVT1", apic_register(&lapic, APIC_LVT1), false);
    dump_lvt(out, "LVTPC", apic_register(&lapic, APIC_LVTPC), false);
    dump_lvt(out, "LVTERR", apic_register(&lapic, APIC_LVTERR), false);
    dump_lvt(out, "LVTTHMR", apic_register(&lapic, APIC_LVTTHMR), false);
    dump_lvt(out, "LVTT", apic_register(&lapic, APIC_LVTT), true);
    dump_timer(out, &lapic);
    g_string_append_printf(out, "SPIV\t 0x%08x APIC %s, focus=%s, spurious vec %u\n", spurious,
                           spurious & SPIV_ENABLED ? "enabled" : "disabled",
                           spurious & SPIV_FOCUS ? "on" : "off", spurious & 0xff);
    dump_command(out, &lapic);
    g_string_append_printf(out, "ESR\t 0x%08x\n", apic_register(&lapic, APIC_ESR));
    dump_vectors(out, "ISR", &lapic, APIC_ISR);
    dump_vectors(out, "IRR", &lapic, APIC_IRR);
    g_string_append_printf(out, "\nAPR 0x%02x TPR 0x%02x DFR 0x%02x LDR 0x%02x PPR 0x%02x\n",
                           apic_register(&lapic, APIC_APR), apic_register(&lapic, APIC_TPR),
                           apic_register(&lapic, APIC_DFR) >> 28,
                           apic_register(&lapic, APIC_LDR) >> 24, apic_register(&lapic, APIC_PPR));
}

bool x86_irqchip_view(Machine *machine, IrqchipView *view)
{
    const KvmState *kvm = machine->accel_data;
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
    if (machine->irqchip != IRQCHIP_KERNEL || kvm_ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &chip) < 0) {
        return false;
    }
    view->ioapic.id = chip.chip.ioapic.id;
    view->ioapic.version = 0x11; /* what KVM's register says */
    view->ioapic.select = chip.chip.ioapic.ioregsel;
    view->ioapic.irr = chip.chip.ioapic.irr;
    for (unsigned i = 0; i < IOAPIC_VIEW_PINS; i++) {
        view->ioapic.entries[i] = chip.chip.ioapic.redirtbl[i].bits;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(view->pic); i++) {
        chip =
            (struct kvm_irqchip){ .chip_id = i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER };
        if (kvm_ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &chip) < 0) {
            return false;
        }
        view->pic[i].irr = chip.chip.pic.irr;
        view->pic[i].imr = chip.chip.pic.imr;
        view->pic[i].isr = chip.chip.pic.isr;
        view->pic[i].elcr = chip.chip.pic.elcr;
        view->pic[i].base = chip.chip.pic.irq_base;
        view->pic[i].highest = chip.chip.pic.priority_add;
        view->pic[i].reads_isr = chip.chip.pic.read_reg_select;
        view->pic[i].fully_nested = chip.chip.pic.special_fully_nested_mode;
    }
    return true;
}
