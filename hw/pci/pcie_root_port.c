/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pcie-root-port: a PCI Express root port with one slot (PCI Express Base 4.0, 1.3.1). */
#include "hw/devices.h"
#include "hw/pci/pci_internal.h"
#include "hw/pci/pcie_slot.h"

#define ROOT_PORT_MSIX_BAR 0

typedef struct RootPort {
    PciDevice pci;
    PciBus *bus;
    uint8_t port;
    PcieSlot slot;
} RootPort;

static const Property root_port_props[] = {
    PROP_U8("port", RootPort, port, 0, "Port number, shown in the link capabilities"),
    PCIE_SLOT_PROPS(RootPort, slot),
    PROP_END,
};

static const PropertyGroup root_port_groups[] = {
    { pci_device_props, offsetof(RootPort, pci) },
    { NULL },
};

typedef struct SlotSearch {
    RootPort *mine;
    bool taken;
} SlotSearch;

static void compare_slot(Device *dev, void *opaque)
{
    SlotSearch *search = opaque;
    RootPort *other = (RootPort *)dev;

    if (dev->cls == &pcie_root_port_class && other != search->mine && other->pci.express_cap &&
        other->slot.chassis == search->mine->slot.chassis &&
        other->slot.number == search->mine->slot.number) {
        search->taken = true;
    }
}

static void port_capability_init(RootPort *port)
{
    PciDevice *pci = &port->pci;
    uint8_t *cap = pci->config + pci->express_cap;

    store_le32(cap + PCI_EXP_LNKCAP, load_le32(cap + PCI_EXP_LNKCAP) | (uint32_t)port->port << 24);
    store_le16(pci->wmask + pci->express_cap + PCI_EXP_RTCTL,
               PCI_EXP_RTCTL_SECEE | PCI_EXP_RTCTL_SENFEE | PCI_EXP_RTCTL_SEFEE |
                   PCI_EXP_RTCTL_PMEIE);
}

static bool root_port_realize(Device *dev, GError **error)
{
    RootPort *port = (RootPort *)dev;
    SlotSearch search = { .mine = port };
    g_autofree char *name = NULL;

    if (!port->pci.bus->express || port->pci.bus->bridge) {
        return error_set(error, "bus '%s' is no PCI Express root bus: root ports go to pcie.0",
                         port->pci.bus->base->name);
    }
    device_foreach(dev->machine, compare_slot, &search);
    if (search.taken) {
        return error_set(error,
                         "chassis=%u,slot=%u is taken by another root port; give each its own",
                         port->slot.chassis, port->slot.number);
    }
    if (!pci_device_realize(&port->pci, error)) {
        return false;
    }
    port_capability_init(port);
    if (!msix_init(&port->pci, 1, ROOT_PORT_MSIX_BAR, error)) {
        return false;
    }
    name = dev->id ? g_strdup(dev->id) : g_strdup_printf("rp%02x", port->pci.devfn);
    port->bus = pci_bus_new(name, dev->machine, dev, true, port->pci.bus->memory, port->pci.bus->io,
                            NULL, NULL);
    pcie_slot_init(&port->slot, &port->pci, port->bus);
    return true;
}

static void root_port_unrealize(Device *dev)
{
    RootPort *port = (RootPort *)dev;

    g_clear_pointer(&port->bus, pci_bus_free);
    msix_uninit(&port->pci);
    pci_device_unrealize(&port->pci);
}

static void root_port_reset(Device *dev)
{
    RootPort *port = (RootPort *)dev;

    pci_device_reset(&port->pci);
    pcie_slot_reset(&port->slot);
}

static void root_port_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    pcie_slot_config_written(&((RootPort *)pci)->slot, offset, size);
}

static const StateField root_port_fields[] = {
    STATE_STRUCT(RootPort, pci, &pci_device_state),
    STATE_STRUCT(RootPort, slot, &pcie_slot_state),
    STATE_END,
};

static const StateSection root_port_state = {
    .name = "pcie-root-port",
    .version = 1,
    .fields = root_port_fields,
};

static const PciDeviceClass root_port_pci = {
    .vendor_id = 0x1b36,
    .device_id = 0x000c,
    .class_code = 0x060400,
    .interrupt_pin = 1,
    .is_bridge = true,
    .is_express = true,
    .config_written = root_port_config_written,
};

const DeviceClass pcie_root_port_class = {
    .name = "pcie-root-port",
    .desc = "PCI Express root port",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(RootPort),
    .props = root_port_props,
    .groups = root_port_groups,
    .state = &root_port_state,
    .has_child_bus = true,
    .child_bus = BUS_PCI,
    .realize = root_port_realize,
    .unrealize = root_port_unrealize,
    .reset = root_port_reset,
    .ops = &root_port_pci,
};
