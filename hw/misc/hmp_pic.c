/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info pic`: the interrupt controllers, wherever they are, in QEMU's form. */
#include "hw/misc/irqchip.h"
#include "hw/misc/qmp.h"
#include "vmm/machine/accel.h"

static void put_pins(GString *out, const char *name, uint32_t pins)
{
    g_string_append_printf(out, "  %s", name);
    for (unsigned pin = 0; pin < IOAPIC_VIEW_PINS; pin++) {
        if (pins >> pin & 1) {
            g_string_append_printf(out, " %u", pin);
        }
    }
    g_string_append(out, pins ? "\n" : " (none)\n");
}

/* A redirection entry (Intel 82093AA, 3.2.4). */
static void put_entry(GString *out, unsigned pin, uint64_t entry)
{
    static const char *const modes[] = { "fixed", "lowest", "SMI",  "...",
                                         "NMI",   "INIT",   "SIPI", "ExtINT" };
    g_string_append_printf(
        out, "  pin %-2u 0x%016" G_GINT64_MODIFIER "x dest=%x vec=%-3u %s %-5s %-6s %-6s %s%s\n",
        pin, entry, (unsigned)(entry >> 56), (unsigned)(entry & 0xff),
        entry >> 13 & 1 ? "active-lo" : "active-hi", entry >> 15 & 1 ? "level" : "edge",
        entry >> 16 & 1 ? "masked" : "", modes[entry >> 8 & 7],
        entry >> 11 & 1 ? "logical" : "physical", entry >> 12 & 1 ? " pending" : "");
}

static void put_view(GString *out, const IrqchipView *view)
{
    uint32_t remote = 0;
    g_string_append_printf(out, "ioapic0: ver=0x%x id=0x%02x sel=0x%02x\n", view->ioapic.version,
                           view->ioapic.id, view->ioapic.select);
    for (unsigned pin = 0; pin < IOAPIC_VIEW_PINS; pin++) {
        uint64_t entry = view->ioapic.entries[pin];
        remote |= (uint32_t)(entry >> 14 & entry >> 15 & 1) << pin;
        put_entry(out, pin, entry);
    }
    put_pins(out, "IRR     ", view->ioapic.irr);
    put_pins(out, "Remote IRR", remote);
    for (unsigned i = G_N_ELEMENTS(view->pic); i-- > 0;) {
        g_string_append_printf(
            out,
            "pic%u: irr=%02x imr=%02x isr=%02x hprio=%u irq_base=%02x rr_sel=%d elcr=%02x "
            "fnm=%d\n",
            i, view->pic[i].irr, view->pic[i].imr, view->pic[i].isr, view->pic[i].highest,
            view->pic[i].base, view->pic[i].reads_isr, view->pic[i].elcr,
            view->pic[i].fully_nested);
    }
}

static void hmp_info_pic(GString *out, char **args)
{
    Machine *machine = machine_get();
    IrqchipView view = { 0 };
    bool kernel = machine->irqchip == IRQCHIP_KERNEL && machine->accel->debug;
    if (kernel ? machine->accel->debug->irqchip_view(machine, &view) : irqchip_user_view(&view)) {
        put_view(out, &view);
    } else {
        g_string_append(out, "Error: the machine has no interrupt controllers to be read\n");
    }
}

static const HmpCommand hmp[] = {
    { "info pic", NULL, "the interrupt controllers", hmp_info_pic },
    { NULL },
};

const MonitorCommands pic_commands = { .hmp = hmp };
