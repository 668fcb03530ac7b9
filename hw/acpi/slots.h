/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the hotplug registers of CPUs and of memory have in common: slots with a device or none, of
 * which the guest learns by a general-purpose event, and which it empties by an eject bit. A part
 * of a device and under its lock. The guest's selector can be any number: slots beyond the last
 * read as empty.
 */
#ifndef HW_ACPI_SLOTS_H
#define HW_ACPI_SLOTS_H

#include "vmm/device/device.h"

/* Status and control byte, the same in both interfaces. */
enum {
    ACPI_SLOT_ENABLED = 1 << 0,
    ACPI_SLOT_INSERTING = 1 << 1, /* write 1 to clear */
    ACPI_SLOT_REMOVING = 1 << 2,  /* write 1 to clear */
    ACPI_SLOT_EJECT = 1 << 3,     /* write only */
};

typedef struct AcpiSlot {
    Device *dev; /* NULL: empty, or what the machine was made with */
    bool enabled;
    bool inserting, removing, ejecting;
    uint32_t ost_event, ost_status;
} AcpiSlot;

typedef void AcpiRaiseGpe(void *opaque, unsigned bit);

typedef struct AcpiSlots {
    Device *owner;
    const char *type; /* of ACPI_DEVICE_OST: "CPU", "DIMM" */
    unsigned gpe;     /* the bit */
    AcpiRaiseGpe *raise;
    void *raise_opaque;
    void (*before_delete)(Device *dev); /* main thread, without locks; may be NULL */
    uint32_t selector;
    uint32_t count;
    AcpiSlot *slots;
    LoopTask eject_task;
} AcpiSlots;

extern const StateSection acpi_slots_state;

/* Main thread. */
void acpi_slots_init(AcpiSlots *slots, Device *owner, const char *type, unsigned count,
                     unsigned gpe);
void acpi_slots_cleanup(AcpiSlots *slots);
void acpi_slots_reset(AcpiSlots *slots);
/* The event's line; once, by the board. */
void acpi_slots_connect(AcpiSlots *slots, AcpiRaiseGpe *raise, void *opaque);
/* A device fills the slot; announce: the guest is told. */
void acpi_slots_fill(AcpiSlots *slots, unsigned index, Device *dev, bool announce);
void acpi_slots_clear(AcpiSlots *slots, Device *dev); /* it goes */
/* Asks the guest to let it go; the device goes when the guest ejects it. */
bool acpi_slots_request(AcpiSlots *slots, Device *dev, GError **error);
/* Appends an ACPIOSTInfo for each slot to the list. */
void acpi_slots_ospm_status(AcpiSlots *slots, json_object *list);

/* ---- Under the owner's lock: the guest's side ---- */
AcpiSlot *acpi_slots_selected(AcpiSlots *slots); /* NULL: there is none */
uint8_t acpi_slot_status(const AcpiSlot *slot);  /* NULL: 0 */
void acpi_slot_control(AcpiSlots *slots, uint8_t value);
/* The guest reports how an event went. */
void acpi_slot_ost(AcpiSlots *slots, uint32_t status);

#endif
