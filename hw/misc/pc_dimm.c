/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc-dimm: see the header. */
#include "hw/misc/pc_dimm.h"

#include "hw/acpi/memory_hotplug.h"
#include "hw/devices.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/numa.h"
#include "vmm/memory/address_space.h"
#include "vmm/object/memory_backend.h"
#include "vmm/util/bytes.h"

#define DIMM_ALIGN (2 * MIB)

typedef struct PcDimm {
    Device dev;
    char *memdev;
    uint64_t addr; /* 0: the first that is free */
    int32_t slot;  /* -1: the same */
    uint32_t node;
    uint64_t size;
    RamBlock *block;
    MemRegion region;
} PcDimm;

PcDimmPlace pc_dimm_place(const Device *dev)
{
    const PcDimm *dimm = (const PcDimm *)dev;
    return (PcDimmPlace){ dimm->addr, dimm->size, dimm->node };
}

/* ---- Finding a place ---- */

static bool is_other_dimm(const Device *dev, const PcDimm *self)
{
    return dev->cls == &pc_dimm_class && dev != &self->dev;
}

/* The DIMM that overlaps, or NULL. */
static const PcDimm *find_overlap(const PcDimm *self, uint64_t addr)
{
    const GPtrArray *devices = self->dev.machine->devices;
    for (guint i = 0; i < devices->len; i++) {
        const PcDimm *other = g_ptr_array_index(devices, i);
        if (is_other_dimm(&other->dev, self) && addr < other->addr + other->size &&
            other->addr < addr + self->size) {
            return other;
        }
    }
    return NULL;
}

static bool find_address(PcDimm *dimm, GError **error)
{
    const Machine *machine = dimm->dev.machine;
    uint64_t base = machine->device_memory_base, end = base + machine->device_memory_size;
    uint64_t align = MAX(DIMM_ALIGN, dimm->block->page_size);
    if (dimm->addr) {
        const PcDimm *other = find_overlap(dimm, dimm->addr);
        if (dimm->addr % align) {
            return error_set(error, "addr= has to be a multiple of 0x%" G_GINT64_MODIFIER "x",
                             align);
        }
        if (dimm->addr < base || dimm->addr >= end || dimm->size > end - dimm->addr) {
            return error_set(error,
                             "address range [0x%" G_GINT64_MODIFIER "x:0x%" G_GINT64_MODIFIER
                             "x] must be inside [0x%" G_GINT64_MODIFIER "x:0x%" G_GINT64_MODIFIER
                             "x]",
                             dimm->addr, dimm->addr + dimm->size, base, end);
        }
        return !other || error_set(error, "addr= lies in the memory of device '%s'",
                                   other->dev.id ? other->dev.id : "(unnamed)");
    }
    uint64_t addr = ALIGN_UP(base, align);
    for (const PcDimm *other; (other = find_overlap(dimm, addr));) {
        addr = ALIGN_UP(other->addr + other->size, align);
    }
    if (addr >= end || dimm->size > end - addr) {
        return error_set(error, "no gap behind the other memory devices is large enough: raise "
                                "maxmem, or give addresses (addr=) that leave no gaps");
    }
    dimm->addr = addr;
    return true;
}

static bool find_slot(PcDimm *dimm, const AcpiSlots *slots, GError **error)
{
    if (dimm->slot >= (int32_t)slots->count || dimm->slot < -1) {
        return error_set(error, "there is no such slot: they have the numbers 0 to %u (-m slots=)",
                         slots->count - 1);
    }
    for (uint32_t i = 0; dimm->slot < 0 && i < slots->count; i++) {
        if (!slots->slots[i].enabled) {
            dimm->slot = (int32_t)i;
        }
    }
    if (dimm->slot < 0) {
        return error_set(error, "every memory slot is taken: -m slots= says how many there are");
    }
    return !slots->slots[dimm->slot].enabled || error_set(error, "slot %d is busy", dimm->slot);
}

static bool check_room(const PcDimm *dimm, GError **error)
{
    const Machine *machine = dimm->dev.machine;
    const NumaConfig *numa = machine->config->numa;
    uint64_t total = machine->config->ram_max - machine->config->ram_size;
    if (dimm->size % DIMM_ALIGN) {
        return error_set(error,
                         "the memory's size has to be a multiple of 0x%" G_GINT64_MODIFIER "x",
                         (uint64_t)DIMM_ALIGN);
    }
    if (dimm->size > total - machine->plugged_memory) {
        return error_set(error,
                         "this memory does not fit any more: 0x%" G_GINT64_MODIFIER
                         "x bytes of 0x%" G_GINT64_MODIFIER
                         "x (maxmem without size) are plugged in",
                         machine->plugged_memory, total);
    }
    if (dimm->node >= (numa ? numa->count : 1)) {
        return error_set(error, "node=%u: the machine has NUMA nodes up to, and not including, %u",
                         dimm->node, numa ? numa->count : 1);
    }
    return true;
}

/* ---- Life ---- */

static void dimm_map(PcDimm *dimm, bool on)
{
    AddressSpace *memory = dimm->dev.machine->memory;
    address_space_begin(memory);
    if (on) {
        mem_region_init_ram(&dimm->region, "pc-dimm", dimm->block, 0, dimm->size, false);
        address_space_map(memory, &dimm->region, dimm->addr, 0);
    } else {
        address_space_unmap(&dimm->region);
    }
    address_space_commit(memory);
}

static bool dimm_realize(Device *dev, GError **error)
{
    PcDimm *dimm = (PcDimm *)dev;
    AcpiSlots *slots = memory_hotplug_slots(dev->machine);
    if (!slots) {
        return error_set(error, "there are no slots for memory: -m SIZE,slots=N,maxmem=SIZE makes "
                                "them, on machines that have them");
    }
    if (!dimm->memdev) {
        return error_set(
            error,
            "'memdev' is missing: it names the -object memory-backend-... that has the memory");
    }
    if (!memory_backend_size(dimm->memdev, &dimm->size, error) || !check_room(dimm, error) ||
        !find_slot(dimm, slots, error)) {
        return false;
    }
    dimm->block = memory_backend_claim(dimm->memdev, dimm->size, error);
    if (!dimm->block) {
        return false;
    }
    if (!find_address(dimm, error)) {
        memory_backend_release(dimm->memdev);
        return false;
    }
    dimm_map(dimm, true);
    dev->machine->plugged_memory += dimm->size;
    acpi_slots_fill(slots, (unsigned)dimm->slot, dev, dev->machine->finished);
    return true;
}

static void dimm_unrealize(Device *dev)
{
    PcDimm *dimm = (PcDimm *)dev;
    AcpiSlots *slots = memory_hotplug_slots(dev->machine);
    if (slots) {
        acpi_slots_clear(slots, dev);
    }
    dimm_map(dimm, false);
    dev->machine->plugged_memory -= dimm->size;
    memory_backend_release(dimm->memdev);
}

/* The back end may be deleted next, so no request may still move data to or from it. */
void pc_dimm_drain(Device *dev)
{
    Machine *machine = dev->machine;
    machine_topology_lock(machine);
    dimm_map((PcDimm *)dev, false);
    machine_topology_unlock(machine);
    if (machine_is_running(machine)) {
        machine->accel->vcpus_pause(machine);
        devices_quiesce(machine);
        devices_resume(machine);
        machine->accel->vcpus_resume(machine);
    }
}

static bool dimm_request_unplug(Device *dev, GError **error)
{
    AcpiSlots *slots = memory_hotplug_slots(dev->machine);
    return slots && acpi_slots_request(slots, dev, error);
}

static json_object *dimm_json(const PcDimm *dimm)
{
    json_object *data = json_object_new_object();
    json_object *info = json_object_new_object();
    g_autofree char *memdev = g_strdup_printf("/objects/%s", dimm->memdev);
    if (dimm->dev.id) {
        json_object_object_add(data, "id", json_object_new_string(dimm->dev.id));
    }
    json_object_object_add(data, "addr", json_object_new_uint64(dimm->addr));
    json_object_object_add(data, "size", json_object_new_uint64(dimm->size));
    json_object_object_add(data, "slot", json_object_new_int(dimm->slot));
    json_object_object_add(data, "node", json_object_new_int64(dimm->node));
    json_object_object_add(data, "memdev", json_object_new_string(memdev));
    json_object_object_add(data, "hotplugged", json_object_new_boolean(dimm->dev.hotplugged));
    json_object_object_add(data, "hotpluggable", json_object_new_boolean(1));
    json_object_object_add(info, "type", json_object_new_string("dimm"));
    json_object_object_add(info, "data", data);
    return info;
}

void pc_dimms_to_json(Machine *machine, json_object *list)
{
    for (guint i = 0; i < machine->devices->len; i++) {
        const Device *dev = g_ptr_array_index(machine->devices, i);
        if (dev->cls == &pc_dimm_class) {
            json_object_array_add(list, dimm_json((const PcDimm *)dev));
        }
    }
}

static const Property dimm_props[] = {
    PROP_REF("memdev", PcDimm, memdev, "memory-backend", "The memory: a memory-backend-... object"),
    PROP_U64("addr", PcDimm, addr, 0, "Where the guest sees it; 0: the first free place"),
    PROP_I32("slot", PcDimm, slot, -1, "Its slot; -1: the first free one"),
    PROP_U32("node", PcDimm, node, 0, "Its NUMA node"),
    PROP_END,
};

const DeviceClass pc_dimm_class = {
    .name = "pc-dimm",
    .desc = "A DIMM: memory in one of -m's slots",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(PcDimm),
    .props = dimm_props,
    .hotpluggable = true,
    .realize = dimm_realize,
    .unrealize = dimm_unrealize,
    .request_unplug = dimm_request_unplug,
};
