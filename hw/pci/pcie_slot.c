/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The slot of a PCI Express port: see the header. */
#include "hw/pci/pcie_slot.h"

#include "hw/pci/pci_internal.h"
#include "vmm/device/hotplug.h"

#define SLOT_VECTOR 0

#define CONTROL_WRITABLE                                                                           \
    (PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_CCIE | PCI_EXP_SLTCTL_HPIE |       \
     PCI_EXP_SLTCTL_AIC | PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_DLLSCE)
#define STATUS_EVENTS                                                                              \
    (PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_CC | PCI_EXP_SLTSTA_DLLSC)

static uint8_t *express(const PcieSlot *slot)
{
    return slot->port->config + slot->port->express_cap;
}

static uint16_t get(const PcieSlot *slot, unsigned offset)
{
    return load_le16(express(slot) + offset);
}

static void set(PcieSlot *slot, unsigned offset, uint16_t value)
{
    g_mutex_lock(&slot->port->root->leaf);
    store_le16(express(slot) + offset, value);
    g_mutex_unlock(&slot->port->root->leaf);
}

/* ---- Interrupts: port's device lock held ---- */

/* Events that are there and enabled. DLLSC's enable is not at its event's bit. */
static uint16_t pending_events(const PcieSlot *slot)
{
    uint16_t control = get(slot, PCI_EXP_SLTCTL), status = get(slot, PCI_EXP_SLTSTA);
    uint16_t enabled = control & (PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_CCIE);

    enabled |= control & PCI_EXP_SLTCTL_DLLSCE ? PCI_EXP_SLTSTA_DLLSC : 0;
    return status & enabled;
}

/* Brings the interrupt to what the registers say: a message for each time that it comes up. */
static void update_irq(PcieSlot *slot)
{
    PciDevice *port = slot->port;
    bool now = (get(slot, PCI_EXP_SLTCTL) & PCI_EXP_SLTCTL_HPIE) && pending_events(slot);

    bool messages = msix_enabled(port) || msi_enabled(port);

    if (msix_enabled(port)) {
        msix_vector_use(port, SLOT_VECTOR);
    }
    if (messages && now && !slot->notified) {
        msix_enabled(port) ? msix_notify(port, SLOT_VECTOR) : msi_notify(port, SLOT_VECTOR);
    }
    slot->notified = now;
    pci_set_irq(port, now && !messages);
}

static void event(PcieSlot *slot, uint16_t events)
{
    set(slot, PCI_EXP_SLTSTA, get(slot, PCI_EXP_SLTSTA) | events);
    update_irq(slot);
}

/* ---- What stands in the slot ---- */

static bool bus_occupied(const PcieSlot *slot)
{
    GPtrArray *children = pci_bus_base(slot->bus)->children;

    for (guint i = 0; i < children->len; i++) {
        if (!((const Device *)g_ptr_array_index(children, i))->ejected) {
            return true;
        }
    }
    return false;
}

/* Presence and the link follow; no event. Device lock held, or nobody runs. */
static void show_presence(PcieSlot *slot, bool occupied)
{
    uint16_t status = get(slot, PCI_EXP_SLTSTA) & ~PCI_EXP_SLTSTA_PDS;
    uint16_t link = get(slot, PCI_EXP_LNKSTA) & ~PCI_EXP_LNKSTA_DLLLA;

    slot->occupied = occupied;
    set(slot, PCI_EXP_SLTSTA, status | (occupied ? PCI_EXP_SLTSTA_PDS : 0));
    set(slot, PCI_EXP_LNKSTA, link | (occupied ? PCI_EXP_LNKSTA_DLLLA : 0));
}

static void slot_plugged(Bus *bus, Device *child)
{
    PcieSlot *slot = bus->hotplug_opaque;

    /* The system looks when function 0 came: the others go before it. */
    if (slot->bus->functions[0] && !slot->occupied) {
        g_mutex_lock(&slot->port->dev.lock);
        show_presence(slot, true);
        event(slot, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_DLLSC);
        g_mutex_unlock(&slot->port->dev.lock);
    }
}

static bool is_off(const PcieSlot *slot, uint16_t control)
{
    bool powered = slot->power_controller && !(control & PCI_EXP_SLTCTL_PCC);

    return !powered && (control & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_OFF;
}

/* The guest has taken the power off: everything in the slot goes. Topology and device lock held. */
static void eject_all(PcieSlot *slot)
{
    GPtrArray *children = pci_bus_base(slot->bus)->children;

    for (guint i = 0; i < children->len; i++) {
        device_eject(g_ptr_array_index(children, i));
    }
    show_presence(slot, false);
    event(slot, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
}

static bool slot_unplug_request(Bus *bus, Device *child, GError **error)
{
    PcieSlot *slot = bus->hotplug_opaque;
    uint16_t control = get(slot, PCI_EXP_SLTCTL);

    if ((control & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_BLINK) {
        return error_set(error,
                         "device %s was asked to leave already, or its guest is about it: "
                         "try again in a few seconds",
                         child->id);
    }
    g_mutex_lock(&slot->port->dev.lock);
    if (is_off(slot, control)) {
        eject_all(slot);
    } else {
        event(slot, PCI_EXP_SLTSTA_ABP);
    }
    g_mutex_unlock(&slot->port->dev.lock);
    return true;
}

static const BusHotplugOps slot_ops = { .plugged = slot_plugged,
                                        .unplug_request = slot_unplug_request };

/* ---- Registers ---- */

typedef struct SlotSearch {
    const PcieSlot *mine;
    bool taken;
} SlotSearch;

static void compare_slot(Device *dev, void *opaque)
{
    SlotSearch *search = opaque;

    for (guint i = 0; i < dev->child_buses->len; i++) {
        const Bus *bus = g_ptr_array_index(dev->child_buses, i);
        const PcieSlot *other = bus->hotplug_ops == &slot_ops ? bus->hotplug_opaque : NULL;
        if (other && other != search->mine && other->chassis == search->mine->chassis &&
            other->number == search->mine->number) {
            search->taken = true;
        }
    }
}

bool pcie_slot_check(const PcieSlot *slot, Machine *machine, GError **error)
{
    SlotSearch search = { .mine = slot };

    device_foreach(machine, compare_slot, &search);
    return !search.taken ||
           error_set(error, "chassis=%u,slot=%u is taken by another port; give each its own",
                     slot->chassis, slot->number);
}

void pcie_slot_init(PcieSlot *slot, PciDevice *port, PciBus *bus)
{
    uint8_t *cap = port->config + port->express_cap, *wmask = port->wmask + port->express_cap;
    uint32_t caps = (uint32_t)(slot->number & 0x1fff) << 19 | PCI_EXP_SLTCAP_ABP |
                    PCI_EXP_SLTCAP_AIP | PCI_EXP_SLTCAP_PIP;
    Bus *base = pci_bus_base(bus);

    slot->port = port;
    slot->bus = bus;
    caps |= slot->power_controller ? PCI_EXP_SLTCAP_PCP : 0;
    caps |= slot->hotplug ? PCI_EXP_SLTCAP_HPC | PCI_EXP_SLTCAP_HPS : 0;
    store_le16(cap + PCI_EXP_FLAGS, load_le16(cap + PCI_EXP_FLAGS) | PCI_EXP_FLAGS_SLOT);
    store_le32(cap + PCI_EXP_LNKCAP, load_le32(cap + PCI_EXP_LNKCAP) | PCI_EXP_LNKCAP_DLLLARC);
    store_le32(cap + PCI_EXP_SLTCAP, caps);
    store_le16(wmask + PCI_EXP_SLTCTL,
               CONTROL_WRITABLE | (slot->power_controller ? PCI_EXP_SLTCTL_PCC : 0));
    store_le16(port->w1cmask + port->express_cap + PCI_EXP_SLTSTA, STATUS_EVENTS);
    base->hotplug = slot->hotplug;
    base->hotplug_ops = &slot_ops;
    base->hotplug_opaque = slot;
}

void pcie_slot_config_written(PcieSlot *slot, uint32_t offset, unsigned size)
{
    uint32_t at = slot->port->express_cap;

    if (ranges_touch(offset, size, at + PCI_EXP_SLTCTL, 2)) {
        uint16_t old = slot->control, now = get(slot, PCI_EXP_SLTCTL);
        slot->control = now;
        if (slot->occupied && slot->hotplug && is_off(slot, now) && !is_off(slot, old)) {
            eject_all(slot);
        }
        event(slot, PCI_EXP_SLTSTA_CC);
    } else if (ranges_touch(offset, size, at + PCI_EXP_SLTSTA, 2) ||
               ranges_touch(offset, size, slot->port->msix_cap, 4) ||
               ranges_touch(offset, size, slot->port->msi_cap, 4)) {
        update_irq(slot);
    }
}

/* A guest that is reset cannot answer any more. */
static void end_removals(PcieSlot *slot)
{
    Machine *machine = slot->port->dev.machine;
    GPtrArray *children = pci_bus_base(slot->bus)->children;
    bool leaving = false;

    for (guint i = 0; i < children->len; i++) {
        leaving |= device_is_leaving(g_ptr_array_index(children, i));
    }
    machine_topology_lock(machine);
    for (guint i = 0; leaving && i < children->len; i++) {
        device_eject(g_ptr_array_index(children, i));
    }
    machine_topology_unlock(machine);
}

void pcie_slot_reset(PcieSlot *slot)
{
    end_removals(slot);
    bool occupied = bus_occupied(slot);
    uint16_t control = PCI_EXP_SLTCTL_ATTN_IND_OFF;

    control |= occupied ? PCI_EXP_SLTCTL_PWR_IND_ON : PCI_EXP_SLTCTL_PWR_IND_OFF;
    control |= !occupied && slot->power_controller ? PCI_EXP_SLTCTL_PCC : 0;
    show_presence(slot, occupied);
    set(slot, PCI_EXP_SLTCTL, control);
    slot->control = control;
    slot->notified = false;
    pci_set_irq(slot->port, 0);
}

static bool slot_post_load(void *base, uint16_t version, GError **error)
{
    PcieSlot *slot = base;

    slot->control = get(slot, PCI_EXP_SLTCTL);
    show_presence(slot, bus_occupied(slot));
    return true;
}

static const StateField slot_fields[] = {
    STATE_BOOL(PcieSlot, notified),
    STATE_END,
};

const StateSection pcie_slot_state = {
    .name = "pcie-slot",
    .version = 1,
    .fields = slot_fields,
    .post_load = slot_post_load,
};
