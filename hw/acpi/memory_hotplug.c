/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory hotplug registers: see the header. */
#include "hw/acpi/memory_hotplug.h"

#include "hw/devices.h"
#include "hw/misc/pc_dimm.h"

/* Offsets. What is read and what is written there differ. */
enum {
    REG_SELECTOR = 0x00,   /* written; read: the address, low half */
    REG_OST_EVENT = 0x04,  /* written; read: the address, high half */
    REG_OST_STATUS = 0x08, /* written; read: the size, low half */
    REG_SIZE_HIGH = 0x0c,
    REG_NODE = 0x10,
    REG_STATUS = 0x14, /* control when written */
};

typedef struct MemoryHotplug {
    Device dev;
    AcpiSlots slots;
    MemRegion region;
} MemoryHotplug;

static uint64_t memory_hotplug_read(void *opaque, uint64_t offset, unsigned size)
{
    MemoryHotplug *s = opaque;
    AcpiSlot *slot = acpi_slots_selected(&s->slots);
    PcDimmPlace place = slot && slot->dev ? pc_dimm_place(slot->dev) : (PcDimmPlace){ 0 };
    if (offset == REG_STATUS) {
        return acpi_slot_status(slot);
    }
    switch (size == 4 ? offset : UINT64_MAX) {
    case REG_SELECTOR:
        return (uint32_t)place.addr;
    case REG_OST_EVENT:
        return place.addr >> 32;
    case REG_OST_STATUS:
        return (uint32_t)place.size;
    case REG_SIZE_HIGH:
        return place.size >> 32;
    case REG_NODE:
        return place.node;
    default:
        return 0;
    }
}

static void memory_hotplug_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    MemoryHotplug *s = opaque;
    AcpiSlot *slot = acpi_slots_selected(&s->slots);
    if (offset == REG_STATUS && size == 1) {
        acpi_slot_control(&s->slots, (uint8_t)value);
    } else if (offset == REG_SELECTOR && size == 4) {
        s->slots.selector = (uint32_t)value;
    } else if (offset == REG_OST_EVENT && size == 4 && slot) {
        slot->ost_event = (uint32_t)value;
    } else if (offset == REG_OST_STATUS && size == 4) {
        acpi_slot_ost(&s->slots, (uint32_t)value);
    }
}

static const MemOps memory_hotplug_ops = {
    .read = memory_hotplug_read,
    .write = memory_hotplug_write,
    .max_size = 4,
};

static bool memory_hotplug_realize(Device *dev, GError **error)
{
    MemoryHotplug *s = (MemoryHotplug *)dev;
    Machine *machine = dev->machine;
    acpi_slots_init(&s->slots, dev, "DIMM", machine->config->ram_slots, MEMORY_HOTPLUG_GPE);
    s->slots.before_delete = pc_dimm_drain;
    mem_region_init_io(&s->region, "acpi-mem-hotplug", MEMORY_HOTPLUG_LEN, &memory_hotplug_ops, s,
                       &dev->lock);
    address_space_begin(machine->io);
    address_space_map(machine->io, &s->region, MEMORY_HOTPLUG_PORT, 0);
    address_space_commit(machine->io);
    return true;
}

static void memory_hotplug_unrealize(Device *dev)
{
    MemoryHotplug *s = (MemoryHotplug *)dev;
    address_space_begin(dev->machine->io);
    address_space_unmap(&s->region);
    address_space_commit(dev->machine->io);
    acpi_slots_cleanup(&s->slots);
}

static void memory_hotplug_reset(Device *dev)
{
    acpi_slots_reset(&((MemoryHotplug *)dev)->slots);
}

AcpiSlots *memory_hotplug_slots(Machine *machine)
{
    for (guint i = 0; i < machine->devices->len; i++) {
        Device *dev = g_ptr_array_index(machine->devices, i);
        if (dev->cls == &acpi_memory_hotplug_class) {
            return &((MemoryHotplug *)dev)->slots;
        }
    }
    return NULL;
}

static const StateField memory_hotplug_fields[] = {
    STATE_STRUCT(MemoryHotplug, slots, &acpi_slots_state),
    STATE_END,
};

static const StateSection memory_hotplug_state = {
    .name = "acpi-memory-hotplug",
    .version = 1,
    .fields = memory_hotplug_fields,
};

const DeviceClass acpi_memory_hotplug_class = {
    .name = "acpi-memory-hotplug",
    .desc = "Registers of memory hotplug",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(MemoryHotplug),
    .state = &memory_hotplug_state,
    .internal = true,
    .realize = memory_hotplug_realize,
    .unrealize = memory_hotplug_unrealize,
    .reset = memory_hotplug_reset,
};
