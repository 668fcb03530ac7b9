/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI hotplug by ACPI: see the header. */
#include "hw/acpi/pcihp.h"

#include "vmm/device/hotplug.h"

/* Calls fn for each function in one of the slots. Topology lock held. */
static void foreach_in_slots(AcpiPcihp *hp, uint32_t slots, void (*fn)(Device *dev, void *opaque),
                             void *opaque)
{
    GPtrArray *children = pci_bus_base(hp->bus)->children;

    for (guint i = 0; i < children->len; i++) {
        Device *dev = g_ptr_array_index(children, i);
        if (slots & 1U << PCI_SLOT(((PciDevice *)dev)->devfn)) {
            fn(dev, opaque);
        }
    }
}

/* ---- Registers ---- */

static void note_fixed(Device *dev, void *opaque)
{
    uint32_t *slots = opaque;

    if (!dev->cls->hotpluggable) {
        *slots &= ~(1U << PCI_SLOT(((PciDevice *)dev)->devfn));
    }
}

static void eject(Device *dev, void *opaque)
{
    if (dev->cls->hotpluggable) {
        device_eject(dev);
    }
}

static void eject_slots(AcpiPcihp *hp, uint32_t slots)
{
    hp->down &= ~slots;
    foreach_in_slots(hp, slots, eject, NULL);
}

static uint32_t read_register(AcpiPcihp *hp, uint64_t offset)
{
    uint32_t value;

    switch (offset) {
    case ACPI_PCIHP_UP:
        value = hp->up;
        hp->up = 0;
        return value;
    case ACPI_PCIHP_DOWN:
        return hp->down;
    case ACPI_PCIHP_REMOVABLE:
        value = UINT32_MAX;
        foreach_in_slots(hp, value, note_fixed, &value);
        return value;
    default:
        return 0;
    }
}

/* Only bus 0 has slots that change. */
static uint64_t hp_read(void *opaque, uint64_t offset, unsigned size)
{
    AcpiPcihp *hp = opaque;
    Machine *machine = pci_bus_base(hp->bus)->machine;
    uint32_t value = 0;

    machine_topology_lock(machine);
    if (offset == ACPI_PCIHP_SELECT) {
        value = hp->selected;
    } else if (hp->selected == 0) {
        value = read_register(hp, offset);
    }
    machine_topology_unlock(machine);
    return value;
}

static void hp_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    AcpiPcihp *hp = opaque;
    Machine *machine = pci_bus_base(hp->bus)->machine;

    machine_topology_lock(machine);
    if (offset == ACPI_PCIHP_SELECT) {
        hp->selected = value;
    } else if (offset == ACPI_PCIHP_EJECT && hp->selected == 0) {
        eject_slots(hp, value);
    }
    machine_topology_unlock(machine);
}

static const MemOps hp_ops = { .read = hp_read, .write = hp_write, .min_size = 4, .max_size = 4 };

/* ---- Coming and going ---- */

/* The guest looks at a slot when its function 0 came: the others go before it. */
static void plugged(Bus *bus, Device *dev)
{
    AcpiPcihp *hp = bus->hotplug_opaque;
    PciDevice *pci = (PciDevice *)dev;
    unsigned slot = PCI_SLOT(pci->devfn);

    if (pci_find_device(hp->bus, 0, PCI_DEVFN(slot, 0))) {
        hp->up |= 1U << slot;
        hp->notify(hp->opaque);
    }
}

static bool unplug_request(Bus *bus, Device *dev, GError **error)
{
    AcpiPcihp *hp = bus->hotplug_opaque;

    hp->down |= 1U << PCI_SLOT(((PciDevice *)dev)->devfn);
    hp->notify(hp->opaque);
    return true;
}

static const BusHotplugOps hotplug_ops = { .plugged = plugged, .unplug_request = unplug_request };

/* ---- Life ---- */

void acpi_pcihp_init(AcpiPcihp *hp, PciBus *bus, uint16_t port, void (*notify)(void *opaque),
                     void *opaque)
{
    Bus *base = pci_bus_base(bus);

    hp->bus = bus;
    hp->notify = notify;
    hp->opaque = opaque;
    mem_region_init_io(&hp->region, "acpi-pci-hotplug", ACPI_PCIHP_SIZE, &hp_ops, hp, NULL);
    machine_topology_lock(base->machine);
    address_space_map(base->machine->io, &hp->region, port, 0);
    machine_topology_unlock(base->machine);
    base->hotplug = true;
    base->hotplug_ops = &hotplug_ops;
    base->hotplug_opaque = hp;
}

void acpi_pcihp_cleanup(AcpiPcihp *hp)
{
    Bus *base = pci_bus_base(hp->bus);

    base->hotplug = false;
    base->hotplug_ops = NULL;
    machine_topology_lock(base->machine);
    address_space_unmap(&hp->region);
    machine_topology_unlock(base->machine);
}

void acpi_pcihp_reset(AcpiPcihp *hp)
{
    Machine *machine = pci_bus_base(hp->bus)->machine;

    machine_topology_lock(machine);
    eject_slots(hp, hp->down);
    hp->up = hp->selected = 0;
    machine_topology_unlock(machine);
}

static const StateField hp_fields[] = {
    STATE_INT(AcpiPcihp, up),
    STATE_INT(AcpiPcihp, down),
    STATE_INT(AcpiPcihp, selected),
    STATE_END,
};

const StateSection acpi_pcihp_state = {
    .name = "acpi-pcihp",
    .version = 1,
    .fields = hp_fields,
};
