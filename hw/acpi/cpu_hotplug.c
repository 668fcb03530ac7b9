/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPU hotplug registers: see the header. */
#include "hw/acpi/cpu_hotplug.h"

#include "hw/devices.h"
#include "vmm/machine/apic_id.h"
#include "vmm/machine/cpus.h"

/* Offsets. What is read and what is written there differ. */
enum {
    REG_SELECTOR = 0, /* written; read: the high half of the command's data */
    REG_STATUS = 4,   /* control when written */
    REG_COMMAND = 5,  /* written */
    REG_DATA = 8,
};

enum {
    COMMAND_NEXT_EVENT = 0, /* selects the next CPU with an event; data: its number */
    COMMAND_OST_EVENT = 1,
    COMMAND_OST_STATUS = 2,
    COMMAND_ARCH_ID = 3, /* data: the APIC id */
};

typedef struct CpuHotplug {
    Device dev;
    AcpiSlots slots;
    uint8_t command;
    uint32_t iobase;
    MemRegion region;
} CpuHotplug;

static uint32_t data_read(CpuHotplug *s)
{
    const SmpConfig *smp = &s->dev.machine->config->smp;

    if (!acpi_slots_selected(&s->slots)) { /* by this 0 OVMF counts the possible CPUs */
        return 0;
    }
    switch (s->command) {
    case COMMAND_NEXT_EVENT:
        return s->slots.selector;
    case COMMAND_ARCH_ID:
        return smp_apic_id(smp, s->slots.selector);
    default:
        return 0;
    }
}

static void select_next_event(CpuHotplug *s)
{
    AcpiSlots *slots = &s->slots;
    uint32_t from = slots->selector < slots->count ? slots->selector : 0;
    for (uint32_t i = 0; i < slots->count; i++) {
        uint32_t index = (from + i) % slots->count;
        if (slots->slots[index].inserting || slots->slots[index].removing) {
            slots->selector = index;
            return;
        }
    }
}

static void data_written(CpuHotplug *s, uint32_t value)
{
    AcpiSlot *slot = acpi_slots_selected(&s->slots);
    if (slot && s->command == COMMAND_OST_EVENT) {
        slot->ost_event = value;
    } else if (slot && s->command == COMMAND_OST_STATUS) {
        acpi_slot_ost(&s->slots, value);
    }
}

static uint64_t cpu_hotplug_read(void *opaque, uint64_t offset, unsigned size)
{
    CpuHotplug *s = opaque;
    if (offset == REG_STATUS) {
        return acpi_slot_status(acpi_slots_selected(&s->slots));
    }
    return offset == REG_DATA && size == 4 ? data_read(s) : 0;
}

static void cpu_hotplug_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    CpuHotplug *s = opaque;
    if (offset == REG_SELECTOR && size == 4) {
        s->slots.selector = (uint32_t)value;
    } else if (offset == REG_STATUS && size == 1) {
        acpi_slot_control(&s->slots, (uint8_t)value);
    } else if (offset == REG_COMMAND && size == 1) {
        if (value <= COMMAND_ARCH_ID && acpi_slots_selected(&s->slots)) {
            s->command = (uint8_t)value;
            if (value == COMMAND_NEXT_EVENT) {
                select_next_event(s);
            }
        }
    } else if (offset == REG_DATA && size == 4) {
        data_written(s, (uint32_t)value);
    }
}

static const MemOps cpu_hotplug_ops = {
    .read = cpu_hotplug_read,
    .write = cpu_hotplug_write,
    .max_size = 4,
};

/* ---- Life ---- */

static void stop_cpu(Device *dev)
{
    machine_cpu_stop(dev->machine, dev);
}

static bool cpu_hotplug_realize(Device *dev, GError **error)
{
    CpuHotplug *s = (CpuHotplug *)dev;
    Machine *machine = dev->machine;
    unsigned count = machine->config->smp.maxcpus;
    acpi_slots_init(&s->slots, dev, "CPU", count, CPU_HOTPLUG_GPE);
    s->slots.before_delete = stop_cpu;
    for (unsigned i = 0; i < count; i++) {
        s->slots.slots[i].enabled = machine_cpu_present(machine, i);
    }
    mem_region_init_io(&s->region, "acpi-cpu-hotplug", CPU_HOTPLUG_LEN, &cpu_hotplug_ops, s,
                       &dev->lock);
    address_space_begin(machine->io);
    address_space_map(machine->io, &s->region, s->iobase, 0);
    address_space_commit(machine->io);
    return true;
}

static void cpu_hotplug_unrealize(Device *dev)
{
    CpuHotplug *s = (CpuHotplug *)dev;
    address_space_begin(dev->machine->io);
    address_space_unmap(&s->region);
    address_space_commit(dev->machine->io);
    acpi_slots_cleanup(&s->slots);
}

static void cpu_hotplug_reset(Device *dev)
{
    CpuHotplug *s = (CpuHotplug *)dev;
    acpi_slots_reset(&s->slots);
    s->command = 0;
}

AcpiSlots *cpu_hotplug_slots(Machine *machine)
{
    for (guint i = 0; i < machine->devices->len; i++) {
        Device *dev = g_ptr_array_index(machine->devices, i);
        if (dev->cls == &acpi_cpu_hotplug_class) {
            return &((CpuHotplug *)dev)->slots;
        }
    }
    return NULL;
}

static const Property cpu_hotplug_props[] = {
    PROP_RANGE_U32("iobase", CpuHotplug, iobase, CPU_HOTPLUG_PORT_Q35, 0, 0xff00, "First port"),
    PROP_END,
};

static const StateField cpu_hotplug_fields[] = {
    STATE_STRUCT(CpuHotplug, slots, &acpi_slots_state),
    STATE_INT(CpuHotplug, command),
    STATE_END,
};

static const StateSection cpu_hotplug_state = {
    .name = "acpi-cpu-hotplug",
    .version = 1,
    .fields = cpu_hotplug_fields,
};

const DeviceClass acpi_cpu_hotplug_class = {
    .name = "acpi-cpu-hotplug",
    .desc = "Registers of vCPU hotplug",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_CPU,
    .size = sizeof(CpuHotplug),
    .props = cpu_hotplug_props,
    .state = &cpu_hotplug_state,
    .internal = true,
    .realize = cpu_hotplug_realize,
    .unrealize = cpu_hotplug_unrealize,
    .reset = cpu_hotplug_reset,
};
