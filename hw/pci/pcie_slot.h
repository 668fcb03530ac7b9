/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slot of a PCI Express port: what stands in it, its buttons and lights, and devices that come
 * and go natively (PCI Express Base 4.0, 6.7 and 7.5.3.9 to 11). A part of root and downstream
 * ports.
 */
#ifndef HW_PCI_PCIE_SLOT_H
#define HW_PCI_PCIE_SLOT_H

#include "hw/pci/pci.h"

typedef struct PcieSlot {
    PciDevice *port;
    PciBus *bus; /* behind the port */
    /* properties */
    uint8_t chassis;
    uint16_t number;
    bool hotplug, power_controller;
    /* registers: topology and the port's device lock */
    uint16_t control; /* as written last */
    bool occupied;    /* what Presence Detect says */
    bool notified;    /* the interrupt is asked for */
} PcieSlot;

#define PCIE_SLOT_PROPS(Type, field)                                                               \
    PROP_U8("chassis", Type, field.chassis, 0, "Chassis number: with slot it names the place"),    \
        PROP_U16("slot", Type, field.number, 0, "Physical slot number"),                           \
        PROP_BOOL("hotplug", Type, field.hotplug, true,                                            \
                  "Devices come and go while the machine "                                         \
                  "runs"),                                                                         \
        PROP_BOOL("power_controller_present", Type, field.power_controller, true,                  \
                  "The slot's power can be switched")

/* Whether no other slot has the same chassis and slot number. Before pcie_slot_init(); main thread.
 */
bool pcie_slot_check(const PcieSlot *slot, Machine *machine, GError **error);
/* Fills in the port's registers and makes `bus` take devices. After the PCI Express capability.
 * Main thread. */
void pcie_slot_init(PcieSlot *slot, PciDevice *port, PciBus *bus);
/* For PciDeviceClass.config_written of the port. */
void pcie_slot_config_written(PcieSlot *slot, uint32_t offset, unsigned size);
/* After pci_device_reset(): what is in the slot has power, nothing is pending. Main thread. */
void pcie_slot_reset(PcieSlot *slot);

extern const StateSection pcie_slot_state;

#endif
