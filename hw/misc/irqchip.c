/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a board's GSI lines lead: see the header. */
#include "hw/misc/irqchip.h"
#include "vmm/machine/accel.h"

#define ISA_IRQS    16
#define CASCADE_IRQ 2
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

void irqchip_forget(Device *dev)
{
    chips.pic = chips.pic == dev ? NULL : chips.pic;
    chips.ioapic = chips.ioapic == dev ? NULL : chips.ioapic;
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
    return machine->config->pit_off || chip_new(machine, &i8254_class, error);
}

bool irqchip_create_user(Machine *machine, GError **error)
{
    bool kernel = machine->irqchip == IRQCHIP_KERNEL;
    machine->gsi_count = IRQCHIP_GSI_COUNT;
    machine->gsi = g_new0(IrqLine, IRQCHIP_GSI_COUNT);
    for (int i = 0; i < IRQCHIP_GSI_COUNT; i++) {
        irq_line_init(&machine->gsi[i], kernel ? gsi_to_accel : gsi_to_chips, machine, i);
    }
    return kernel || chips_create(machine, error);
}

void irqchip_destroy_user(Machine *machine)
{
    g_clear_pointer(&machine->gsi, g_free);
    machine->gsi_count = 0;
}
