/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a board's GSI lines lead: see the header. */
#include "hw/misc/irqchip.h"
#include "vmm/machine/accel.h"

#define ISA_IRQS    16
#define CASCADE_IRQ 2
#define RTC_IRQ     8
#define TIMER_PIN   2 /* of the IOAPIC, for ISA IRQ 0 */

static void gsi_to_accel(void *opaque, int pin, int level)
{
    Machine *machine = opaque;
    machine->accel->gsi_set(machine, (unsigned)pin, level);
}

/* The chips of the process's machine. */
static struct {
    Device *pic, *ioapic;
} chips;

static void gsi_to_chips(void *opaque, int pin, int level)
{
    if (chips.pic && pin < ISA_IRQS && pin != CASCADE_IRQ) {
        i8259_set_irq(chips.pic, (unsigned)pin, level);
    }
    if (chips.ioapic && pin != CASCADE_IRQ) {
        ioapic_set_irq(chips.ioapic, pin == 0 ? TIMER_PIN : (unsigned)pin, level);
    }
}

/* ---- ISA IRQ 0 and 8: of timer and clock, or of the HPET ---- */

static struct {
    GMutex lock; /* a leaf: above the chips' own only */
    bool replaced;
    bool level[2]; /* as timer and clock drive them */
    IrqLine line[2];
} legacy;

static void legacy_set(void *opaque, int pin, int level)
{
    Machine *machine = opaque;
    g_mutex_lock(&legacy.lock);
    legacy.level[pin] = level != 0;
    if (!legacy.replaced) {
        irq_set(&machine->gsi[pin == 0 ? 0 : RTC_IRQ], level);
    }
    g_mutex_unlock(&legacy.lock);
}

IrqLine *irqchip_timer_line(void)
{
    return &legacy.line[0];
}

IrqLine *irqchip_rtc_line(void)
{
    return &legacy.line[1];
}

void irqchip_replace_legacy(Machine *machine, bool on)
{
    g_mutex_lock(&legacy.lock);
    legacy.replaced = on;
    irq_set(&machine->gsi[0], !on && legacy.level[0]);
    irq_set(&machine->gsi[RTC_IRQ], !on && legacy.level[1]);
    g_mutex_unlock(&legacy.lock);
    if (machine->accel->timer_silence) {
        machine->accel->timer_silence(machine, on);
    }
}

void irqchip_forget(Device *dev)
{
    chips.pic = chips.pic == dev ? NULL : chips.pic;
    chips.ioapic = chips.ioapic == dev ? NULL : chips.ioapic;
}

bool irqchip_user_view(IrqchipView *view)
{
    if (!chips.pic || !chips.ioapic) {
        return false;
    }
    i8259_view(chips.pic, view);
    ioapic_view(chips.ioapic, view);
    return true;
}

static int acknowledge(void *opaque)
{
    return i8259_acknowledge(chips.pic);
}

static void end_of_interrupt(void *opaque, uint8_t vector)
{
    ioapic_eoi(chips.ioapic, vector);
}

static Device *chip_new(Machine *machine, const DeviceClass *cls, GError **error)
{
    Device *dev = device_new(cls, NULL);
    if (!device_realize(dev, machine, NULL, error)) {
        g_prefix_error(error, "%s: ", cls->name);
        device_free(dev);
        return NULL;
    }
    return dev;
}

static bool chips_create(Machine *machine, GError **error)
{
    chips.pic = chip_new(machine, &i8259_class, error);
    chips.ioapic = chips.pic ? chip_new(machine, &ioapic_class, error) : NULL;
    if (!chips.ioapic) {
        return false;
    }
    if (machine->accel->user_irqchip_set) {
        const UserIrqchip chip = { .pic_acknowledge = acknowledge, .ioapic_eoi = end_of_interrupt };
        machine->accel->user_irqchip_set(machine, &chip);
    }
    if (machine->config->pit_off) {
        return true;
    }
    Device *pit = chip_new(machine, &i8254_class, error);
    return pit && pcspk_create(machine, pit, error);
}

bool irqchip_create_user(Machine *machine, GError **error)
{
    bool kernel = machine->irqchip == IRQCHIP_KERNEL;
    machine->gsi_count = IRQCHIP_GSI_COUNT;
    machine->gsi = g_new0(IrqLine, IRQCHIP_GSI_COUNT);
    for (int i = 0; i < IRQCHIP_GSI_COUNT; i++) {
        irq_line_init(&machine->gsi[i], kernel ? gsi_to_accel : gsi_to_chips, machine, i);
    }
    legacy.replaced = false;
    for (int i = 0; i < 2; i++) {
        legacy.level[i] = false;
        irq_line_init(&legacy.line[i], legacy_set, machine, i);
    }
    return kernel || chips_create(machine, error);
}

void irqchip_destroy_user(Machine *machine)
{
    g_clear_pointer(&machine->gsi, g_free);
    machine->gsi_count = 0;
}
