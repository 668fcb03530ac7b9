/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PC's interrupt controllers and timer, wherever they are: in the kernel, in hw/ (split mode and
 * tests). GSI n is PIC input n (below 16) and IOAPIC pin n; ISA IRQ 0 arrives at pin 2, as the
 * MADT says.
 */
#ifndef HW_MISC_IRQCHIP_H
#define HW_MISC_IRQCHIP_H

#include "vmm/device/device.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/machine.h"

#define IRQCHIP_GSI_COUNT 24

/* Makes machine->gsi for machine->irqchip, and the chips that are not the accelerator's. Main
 * thread, topology lock, while the board is built. */
bool irqchip_create_user(Machine *machine, GError **error);

/* Undoes the lines, after the devices are gone. */
void irqchip_destroy_user(Machine *machine);

/* ISA IRQ 0 and 8 for the timer (i8254) and the clock (mc146818). */
IrqLine *irqchip_timer_line(void);
IrqLine *irqchip_rtc_line(void);
/* The HPET's legacy replacement: the two lines, and the accelerator's timer, are not heard while it
 * is on; the HPET drives GSI 0 and 8. Any thread. */
void irqchip_replace_legacy(Machine *machine, bool on);

/* The chips in hw/; false: the machine has them not here. Main thread. */
bool irqchip_user_view(IrqchipView *view);

/* ---- For irqchip.c and the chips ---- */

/* The i8259 pair: an input changed; the pending interrupt's vector, acknowledged, or -1. Any
 * thread. */
void i8259_set_irq(Device *dev, unsigned irq, int level);
int i8259_acknowledge(Device *dev);

/* The IOAPIC: a pin changed; a local APIC ended the interrupt. Any thread. */
void ioapic_set_irq(Device *dev, unsigned pin, int level);
void ioapic_eoi(Device *dev, uint8_t vector);

/* What the monitor shows of them. Any thread. */
void i8259_view(Device *dev, IrqchipView *view);
void ioapic_view(Device *dev, IrqchipView *view);

/* A chip is about to go: lines that still change (other devices' last words) lead nowhere. */
void irqchip_forget(Device *dev);

extern const DeviceClass i8259_class;
extern const DeviceClass ioapic_class;
extern const DeviceClass i8254_class;
extern const DeviceClass pcspk_class;

/* The speaker's port, with a timer of ours. Main thread. */
bool pcspk_create(Machine *machine, Device *pit, GError **error);

#endif
