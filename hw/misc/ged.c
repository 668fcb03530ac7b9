/* SPDX-License-Identifier: GPL-2.0-or-later */
/* acpi-ged: see the header. */
#include "hw/misc/ged.h"
#include "hw/devices.h"
#include "vmm/memory/address_space.h"

#define REG_SLEEP_CONTROL 0
#define REG_SLEEP_STATUS  1
#define REG_RESET         2
#define SLEEP_ENABLE      0x20
#define SLEEP_TYPE_SHIFT  2
#define SLEEP_TYPE_MASK   7

typedef struct AcpiGedState {
    Device dev;
    uint64_t event_base, register_base;
    IrqLine *irq;
    MemRegion events, registers;
    uint32_t selector; /* events that wait */
    uint8_t sleep_control;
} AcpiGedState;

static uint64_t events_read(void *opaque, uint64_t offset, unsigned size)
{
    AcpiGedState *ged = opaque;
    uint32_t events = ged->selector;

    ged->selector = 0;
    return events;
}

static void events_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const MemOps event_ops = {
    .read = events_read,
    .write = events_write,
    .min_size = 4,
    .max_size = 4,
};

static uint64_t registers_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset == REG_SLEEP_CONTROL ? ((AcpiGedState *)opaque)->sleep_control : 0;
}

static void registers_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    AcpiGedState *ged = opaque;
    unsigned type = (value >> SLEEP_TYPE_SHIFT) & SLEEP_TYPE_MASK;

    switch (offset) {
    case REG_SLEEP_CONTROL:
        ged->sleep_control = value & ~SLEEP_ENABLE;
        if (!(value & SLEEP_ENABLE)) {
            break;
        }
        if (type == GED_SLEEP_TYPE_S5) {
            machine_request_shutdown(ged->dev.machine, SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        } else {
            device_guest_error(&ged->dev, "the guest asked for sleep type %u, which does not exist",
                               type);
        }
        break;
    case REG_RESET:
        if (value == GED_RESET_VALUE) {
            machine_request_reset(ged->dev.machine, SHUTDOWN_CAUSE_GUEST_RESET);
        }
        break;
    case REG_SLEEP_STATUS:
    default:
        break;
    }
}

static const MemOps register_ops = {
    .read = registers_read,
    .write = registers_write,
    .max_size = 1,
};

static void power_button(void *opaque)
{
    AcpiGedState *ged = opaque;

    g_mutex_lock(&ged->dev.lock);
    ged->selector |= GED_POWER_BUTTON;
    irq_pulse(ged->irq);
    g_mutex_unlock(&ged->dev.lock);
}

static bool ged_realize(Device *dev, GError **error)
{
    AcpiGedState *ged = (AcpiGedState *)dev;
    Machine *machine = dev->machine;

    mem_region_init_io(&ged->events, "acpi-ged", GED_EVENT_SIZE, &event_ops, ged, &dev->lock);
    mem_region_init_io(&ged->registers, "acpi-ged-regs", GED_REGISTER_SIZE, &register_ops, ged,
                       &dev->lock);
    machine_topology_lock(machine);
    address_space_begin(machine->memory);
    address_space_map(machine->memory, &ged->events, ged->event_base, 0);
    address_space_map(machine->memory, &ged->registers, ged->register_base, 0);
    address_space_commit(machine->memory);
    machine_topology_unlock(machine);
    machine_add_powerdown_notifier(machine, power_button, ged);
    return true;
}

static void ged_unrealize(Device *dev)
{
    AcpiGedState *ged = (AcpiGedState *)dev;

    machine_remove_powerdown_notifier(dev->machine, power_button, ged);
    machine_topology_lock(dev->machine);
    address_space_begin(dev->machine->memory);
    address_space_unmap(&ged->events);
    address_space_unmap(&ged->registers);
    address_space_commit(dev->machine->memory);
    machine_topology_unlock(dev->machine);
}

static void ged_reset(Device *dev)
{
    AcpiGedState *ged = (AcpiGedState *)dev;

    ged->selector = 0;
    ged->sleep_control = 0;
}

Device *acpi_ged_new(Machine *machine, uint64_t events, uint64_t registers, unsigned gsi,
                     GError **error)
{
    Device *dev = device_new(&acpi_ged_class, NULL);
    AcpiGedState *ged = (AcpiGedState *)dev;

    ged->event_base = events;
    ged->register_base = registers;
    ged->irq = &machine->gsi[gsi];
    if (device_realize(dev, machine, NULL, error)) {
        return dev;
    }
    device_free(dev);
    return NULL;
}

static const StateField ged_fields[] = {
    STATE_INT(AcpiGedState, selector),
    STATE_INT(AcpiGedState, sleep_control),
    STATE_END,
};

static const StateSection ged_state = { .name = "acpi-ged", .version = 1, .fields = ged_fields };

const DeviceClass acpi_ged_class = {
    .name = "acpi-ged",
    .desc = "ACPI generic event device: power button, soft off, reset",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(AcpiGedState),
    .state = &ged_state,
    .internal = true,
    .realize = ged_realize,
    .unrealize = ged_unrealize,
    .reset = ged_reset,
};
