/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hotplug slots: see the header. */
#include "hw/acpi/slots.h"

#include "vmm/device/hotplug.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/monitor.h"

AcpiSlot *acpi_slots_selected(AcpiSlots *slots)
{
    return slots->selector < slots->count ? &slots->slots[slots->selector] : NULL;
}

uint8_t acpi_slot_status(const AcpiSlot *slot)
{
    if (!slot) {
        return 0;
    }
    return (uint8_t)((slot->enabled ? ACPI_SLOT_ENABLED : 0) |
                     (slot->inserting ? ACPI_SLOT_INSERTING : 0) |
                     (slot->removing ? ACPI_SLOT_REMOVING : 0));
}

/* ---- Ejecting: asked for on a vCPU's thread, done on the main thread ---- */

static Device *take_ejected(AcpiSlots *slots)
{
    Device *dev = NULL;
    g_mutex_lock(&slots->owner->lock);
    for (uint32_t i = 0; !dev && i < slots->count; i++) {
        if (slots->slots[i].ejecting) {
            slots->slots[i].ejecting = false;
            dev = slots->slots[i].dev;
        }
    }
    g_mutex_unlock(&slots->owner->lock);
    return dev;
}

static void eject(void *opaque)
{
    AcpiSlots *slots = opaque;
    Device *dev;
    while ((dev = take_ejected(slots))) {
        if (slots->before_delete) {
            slots->before_delete(dev);
        }
        device_delete(dev);
    }
}

void acpi_slot_control(AcpiSlots *slots, uint8_t value)
{
    AcpiSlot *slot = acpi_slots_selected(slots);
    if (!slot) {
        return;
    }
    if (value & ACPI_SLOT_INSERTING) {
        slot->inserting = false;
    }
    if (value & ACPI_SLOT_REMOVING) {
        slot->removing = false;
    }
    if ((value & ACPI_SLOT_EJECT) && slot->enabled && slot->dev) {
        slot->ejecting = true;
        event_loop_post(event_loop_main(), &slots->eject_task);
    }
}

/* ---- _OST ---- */

static json_object *ost_json(const AcpiSlots *slots, const AcpiSlot *slot)
{
    g_autofree char *number = g_strdup_printf("%u", (unsigned)(slot - slots->slots));
    json_object *info = json_object_new_object();
    if (slot->dev && slot->dev->id) {
        json_object_object_add(info, "device", json_object_new_string(slot->dev->id));
    }
    json_object_object_add(info, "slot", json_object_new_string(number));
    json_object_object_add(info, "slot-type", json_object_new_string(slots->type));
    json_object_object_add(info, "source", json_object_new_int64(slot->ost_event));
    json_object_object_add(info, "status", json_object_new_int64(slot->ost_status));
    return info;
}

void acpi_slot_ost(AcpiSlots *slots, uint32_t status)
{
    AcpiSlot *slot = acpi_slots_selected(slots);
    if (slot) {
        slot->ost_status = status;
        json_object *data = json_object_new_object();
        json_object_object_add(data, "info", ost_json(slots, slot));
        monitor_emit("ACPI_DEVICE_OST", data);
    }
}

void acpi_slots_ospm_status(AcpiSlots *slots, json_object *list)
{
    g_mutex_lock(&slots->owner->lock);
    for (uint32_t i = 0; i < slots->count; i++) {
        json_object_array_add(list, ost_json(slots, &slots->slots[i]));
    }
    g_mutex_unlock(&slots->owner->lock);
}

/* ---- The machine's side ---- */

static void raise_event(AcpiSlots *slots)
{
    if (slots->raise) {
        slots->raise(slots->raise_opaque, slots->gpe);
    }
}

void acpi_slots_fill(AcpiSlots *slots, unsigned index, Device *dev, bool announce)
{
    g_assert(index < slots->count);
    g_mutex_lock(&slots->owner->lock);
    AcpiSlot *slot = &slots->slots[index];
    slot->dev = dev;
    slot->enabled = true;
    slot->inserting = announce;
    slot->removing = slot->ejecting = false;
    g_mutex_unlock(&slots->owner->lock);
    if (announce) {
        raise_event(slots);
    }
}

static AcpiSlot *find_slot(AcpiSlots *slots, const Device *dev)
{
    for (uint32_t i = 0; i < slots->count; i++) {
        if (slots->slots[i].dev == dev) {
            return &slots->slots[i];
        }
    }
    return NULL;
}

void acpi_slots_clear(AcpiSlots *slots, Device *dev)
{
    g_mutex_lock(&slots->owner->lock);
    AcpiSlot *slot = find_slot(slots, dev);
    if (slot) {
        slot->dev = NULL;
        slot->enabled = slot->inserting = slot->removing = slot->ejecting = false;
    }
    g_mutex_unlock(&slots->owner->lock);
}

bool acpi_slots_request(AcpiSlots *slots, Device *dev, GError **error)
{
    g_mutex_lock(&slots->owner->lock);
    AcpiSlot *slot = find_slot(slots, dev);
    if (slot) {
        slot->removing = true;
    }
    g_mutex_unlock(&slots->owner->lock);
    if (!slot) {
        return error_set(error, "Device '%s' is in no slot", dev->id ? dev->id : dev->cls->name);
    }
    raise_event(slots);
    return true;
}

void acpi_slots_connect(AcpiSlots *slots, AcpiRaiseGpe *raise, void *opaque)
{
    slots->raise = raise;
    slots->raise_opaque = opaque;
}

void acpi_slots_init(AcpiSlots *slots, Device *owner, const char *type, unsigned count,
                     unsigned gpe)
{
    slots->owner = owner;
    slots->type = type;
    slots->gpe = gpe;
    slots->count = count;
    slots->slots = g_new0(AcpiSlot, count);
    slots->eject_task = (LoopTask)LOOP_TASK_INIT(eject, slots);
}

void acpi_slots_cleanup(AcpiSlots *slots)
{
    event_loop_cancel_task(event_loop_main(), &slots->eject_task);
    g_clear_pointer(&slots->slots, g_free);
    slots->count = 0;
}

/* A system that starts anew looks at all slots by itself. */
void acpi_slots_reset(AcpiSlots *slots)
{
    g_mutex_lock(&slots->owner->lock);
    slots->selector = 0;
    for (uint32_t i = 0; i < slots->count; i++) {
        AcpiSlot *slot = &slots->slots[i];
        slot->inserting = slot->removing = false;
        slot->ost_event = slot->ost_status = 0;
    }
    g_mutex_unlock(&slots->owner->lock);
}

static const StateField slot_fields[] = {
    STATE_BOOL(AcpiSlot, inserting), STATE_BOOL(AcpiSlot, removing),
    STATE_BOOL(AcpiSlot, ejecting),  STATE_INT(AcpiSlot, ost_event),
    STATE_INT(AcpiSlot, ost_status), STATE_END,
};

static const StateSection slot_state = {
    .name = "acpi-slot",
    .version = 1,
    .fields = slot_fields,
};

/* Who is in a slot is the command line's; a stream can only speak of events. */
static bool slots_post_load(void *base, uint16_t version, GError **error)
{
    AcpiSlots *slots = base;
    bool ejecting = false;
    for (uint32_t i = 0; i < slots->count; i++) {
        AcpiSlot *slot = &slots->slots[i];
        slot->inserting = slot->inserting && slot->enabled;
        slot->removing = slot->removing && slot->dev;
        slot->ejecting = slot->ejecting && slot->dev;
        ejecting |= slot->ejecting;
    }
    if (ejecting) {
        event_loop_post(event_loop_main(), &slots->eject_task);
    }
    return true;
}

static const StateField slots_fields[] = {
    STATE_INT(AcpiSlots, selector),
    STATE_STRUCT_PTR(AcpiSlots, slots, count, &slot_state),
    STATE_END,
};

const StateSection acpi_slots_state = {
    .name = "acpi-slots",
    .version = 1,
    .fields = slots_fields,
    .post_load = slots_post_load,
};
