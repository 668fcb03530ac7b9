/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI buses: slots, finding functions by number, configuration cycles. */
#include "hw/pci/pci_internal.h"

#include "vmm/trace/trace-pci.h"

static bool slot_is_free(const PciBus *bus, unsigned slot)
{
    for (unsigned fn = 0; fn < 8; fn++) {
        if (bus->functions[PCI_DEVFN(slot, fn)]) {
            return false;
        }
    }
    return true;
}

/* A link has one device at its other end. */
static bool has_one_slot(const PciBus *bus)
{
    return bus->bridge && bus->express && !pci_bus_is_switch(bus);
}

static bool bus_find_free(PciBus *bus, PciDevice *pci, GError **error)
{
    unsigned slots = has_one_slot(bus) ? 1 : 32;

    for (unsigned slot = 0; slot < slots; slot++) {
        if (slot_is_free(bus, slot)) {
            pci->devfn = PCI_DEVFN(slot, 0);
            return true;
        }
    }
    return error_set(error, "bus '%s' has no free slot%s", bus->base->name,
                     slots == 1 ? ": it takes one device" : "");
}

static bool bus_check_devfn(PciBus *bus, PciDevice *pci, GError **error)
{
    unsigned slot = PCI_SLOT(pci->devfn), fn = PCI_FUNC(pci->devfn);
    PciDevice *taken = bus->functions[pci->devfn];
    PciDevice *first = bus->functions[PCI_DEVFN(slot, 0)];

    if (has_one_slot(bus) && slot != 0) {
        return error_set(error, "addr=%x.%x: behind '%s' only slot 0 exists", slot, fn,
                         bus->bridge->dev.cls->name);
    }
    if (taken) {
        return error_set(error, "addr=%x.%x: taken on bus '%s' by %s%s%s", slot, fn,
                         bus->base->name, taken->dev.cls->name, taken->dev.id ? " " : "",
                         taken->dev.id ? taken->dev.id : "");
    }
    if (fn != 0 && first && !first->multifunction) {
        return error_set(error,
                         "addr=%x.%x: function 0 of the slot (%s) has no multifunction=on; give it "
                         "to that device, or use another slot",
                         slot, fn, first->dev.cls->name);
    }
    if (fn == 0 && !pci->multifunction && !slot_is_free(bus, slot)) {
        return error_set(error, "addr=%x.0: the slot has other functions; add multifunction=on",
                         slot);
    }
    return true;
}

static bool bus_plug(Bus *base, Device *child, GError **error)
{
    PciBus *bus = base->owner;
    PciDevice *pci = (PciDevice *)child;

    if (pci->devfn < 0 ? !bus_find_free(bus, pci, error) : !bus_check_devfn(bus, pci, error)) {
        return false;
    }
    pci->bus = bus;
    pci->root = bus;
    while (pci->root->bridge) {
        pci->root = pci->root->bridge->bus;
    }
    machine_topology_lock(bus->machine);
    bus->functions[pci->devfn] = pci;
    machine_topology_unlock(bus->machine);
    return true;
}

static void bus_unplug(Bus *base, Device *child)
{
    PciBus *bus = base->owner;
    PciDevice *pci = (PciDevice *)child;

    machine_topology_lock(bus->machine);
    if (bus->functions[pci->devfn] == pci) {
        bus->functions[pci->devfn] = NULL;
    }
    machine_topology_unlock(bus->machine);
}

static char *bus_firmware_name(const Bus *base, const Device *child)
{
    return pci_firmware_name((const PciDevice *)child);
}

PciBus *pci_bus_new(const char *name, Machine *machine, Device *parent, bool express,
                    AddressSpace *memory, AddressSpace *io, PciSetIrq *set_irq, void *opaque)
{
    PciBus *bus = g_new0(PciBus, 1);

    bus->machine = machine;
    bus->express = express;
    bus->memory = memory;
    bus->io = io;
    bus->set_irq = set_irq;
    bus->opaque = opaque;
    g_mutex_init(&bus->leaf);
    if (parent && parent->cls->bus == BUS_PCI) {
        bus->bridge = (PciDevice *)parent;
        bus->bridge->secondary = bus;
    } else {
        bus->no_dma = address_space_new("pci-no-dma", UINT64_MAX);
    }
    bus->base = bus_new(BUS_PCI, name, machine, parent);
    bus->base->owner = bus;
    bus->base->plug = bus_plug;
    bus->base->unplug = bus_unplug;
    bus->base->firmware_name = bus_firmware_name;
    return bus;
}

void pci_bus_free(PciBus *bus)
{
    if (!bus) {
        return;
    }
    if (bus->bridge) {
        bus->bridge->secondary = NULL;
    }
    bus_free(bus->base);
    if (bus->no_dma) {
        address_space_free(bus->no_dma);
    }
    g_mutex_clear(&bus->leaf);
    g_free(bus);
}

Bus *pci_bus_base(PciBus *bus)
{
    return bus->base;
}

bool pci_is_express_bus(const PciBus *bus)
{
    return bus->express;
}

PciBus *pci_bus_root(Machine *machine)
{
    for (unsigned i = 0; i < machine->buses->len; i++) {
        Bus *base = g_ptr_array_index(machine->buses, i);
        if (base->type == BUS_PCI && !((PciBus *)base->owner)->bridge) {
            return base->owner;
        }
    }
    return NULL;
}

uint8_t pci_bus_number(const PciBus *bus)
{
    return bus->bridge ? bus->bridge->config[PCI_SECONDARY_BUS] : 0;
}

static PciBus *bus_by_number(PciBus *bus, uint8_t number)
{
    if (number == pci_bus_number(bus)) {
        return bus;
    }
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        PciDevice *pci = bus->functions[devfn];
        if (!pci || !pci->secondary) {
            continue;
        }
        uint8_t secondary = pci->config[PCI_SECONDARY_BUS];
        if (secondary && number >= secondary && number <= pci->config[PCI_SUBORDINATE_BUS]) {
            return bus_by_number(pci->secondary, number);
        }
    }
    return NULL;
}

PciDevice *pci_find_device(PciBus *root, uint8_t bus, uint8_t devfn)
{
    PciBus *found = bus == 0 ? root : bus_by_number(root, bus);

    PciDevice *pci = found ? found->functions[devfn] : NULL;

    return pci && !pci->dev.ejected ? pci : NULL;
}

void pci_bus_foreach(PciBus *bus, void (*fn)(PciDevice *pci, void *opaque), void *opaque)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if (bus->functions[devfn]) {
            fn(bus->functions[devfn], opaque);
        }
    }
}

/* A configuration cycle reaches only what the function has: 256 bytes, or 4096 when express. */
static bool config_offset_valid(const PciDevice *pci, uint32_t offset, unsigned size)
{
    uint32_t limit = pci->express_cap ? PCIE_CONFIG_SIZE : PCI_CONFIG_SIZE;

    return (size == 1 || size == 2 || size == 4) && range_inside(offset, size, limit);
}

uint32_t pci_config_read(PciBus *root, uint8_t bus, uint8_t devfn, uint32_t offset, unsigned size)
{
    uint32_t value = UINT32_MAX >> (32 - 8 * MIN(size, 4));

    machine_topology_lock(root->machine);
    PciDevice *pci = pci_find_device(root, bus, devfn);
    if (pci && config_offset_valid(pci, offset, size)) {
        if (pci_class(pci)->config_reading) {
            g_mutex_lock(&pci->dev.lock);
            pci_class(pci)->config_reading(pci, offset, size);
            g_mutex_unlock(&pci->dev.lock);
        }
        g_mutex_lock(&root->leaf);
        value = load_le(pci->config + offset, size);
        if (pci->irq_level && offset <= PCI_STATUS && PCI_STATUS < offset + size) {
            value |= PCI_STATUS_INTERRUPT << (8 * (PCI_STATUS - offset));
        }
        g_mutex_unlock(&root->leaf);
    }
    machine_topology_unlock(root->machine);
    trace_pci_cfg_read(bus, devfn, offset, size, value);
    return value;
}

static void config_store(PciDevice *pci, uint32_t offset, uint32_t value, unsigned size)
{
    g_mutex_lock(&pci->root->leaf);
    for (unsigned i = 0; i < size; i++, value >>= 8) {
        uint8_t *byte = &pci->config[offset + i];
        uint8_t wmask = pci->wmask[offset + i], w1c = pci->w1cmask[offset + i];
        uint8_t now = ((*byte & ~wmask) | (value & wmask)) & ~(value & w1c);
        __atomic_store_n(byte, now, __ATOMIC_RELEASE);
    }
    g_mutex_unlock(&pci->root->leaf);
}

void pci_config_write(PciBus *root, uint8_t bus, uint8_t devfn, uint32_t offset, uint32_t value,
                      unsigned size)
{
    trace_pci_cfg_write(bus, devfn, offset, size, value);
    machine_topology_lock(root->machine);
    PciDevice *pci = pci_find_device(root, bus, devfn);
    if (pci && config_offset_valid(pci, offset, size)) {
        const PciDeviceClass *cls = pci_class(pci);
        g_mutex_lock(&pci->dev.lock);
        config_store(pci, offset, value, size);
        if (ranges_touch(offset, size, PCI_COMMAND, 2)) {
            pci_intx_refresh(pci);
        }
        msi_config_written(pci, offset, size);
        msix_config_written(pci, offset, size);
        if (cls->config_written) {
            cls->config_written(pci, offset, size);
        }
        g_mutex_unlock(&pci->dev.lock);
        if (offset < PCI_STD_HEADER_SIZEOF) {
            pci_update_mappings(pci);
        }
        if (cls->remap) {
            cls->remap(pci);
        }
    }
    machine_topology_unlock(root->machine);
}
