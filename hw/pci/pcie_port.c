/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI Express ports with one slot (PCI Express Base 4.0, 1.3): root ports, downstream ports of
 * switches. */
#include "hw/devices.h"
#include "hw/pci/pci_internal.h"
#include "hw/pci/pcie_slot.h"

#define PORT_MSIX_BAR 0

typedef struct PciePort {
    PciDevice pci;
    PciBus *bus;
    uint8_t port;
    PcieSlot slot;
} PciePort;

static const Property port_props[] = {
    PROP_U8("port", PciePort, port, 0, "Port number, shown in the link capabilities"),
    PCIE_SLOT_PROPS(PciePort, slot),
    PROP_END,
};

static const PropertyGroup port_groups[] = {
    { pci_device_props, offsetof(PciePort, pci) },
    { NULL },
};

/* DeviceClass.ops: begins with what the PCI bus wants. */
typedef struct PciePortClass {
    PciDeviceClass pci;
    bool msi; /* else MSI-X */
} PciePortClass;

static const PciePortClass *class_of(const PciePort *port)
{
    return port->pci.dev.cls->ops;
}

static bool is_downstream(const PciePort *port)
{
    return class_of(port)->pci.express_type == PCI_EXP_TYPE_DOWNSTREAM;
}

static void port_capability_init(PciePort *port)
{
    PciDevice *pci = &port->pci;
    uint8_t *cap = pci->config + pci->express_cap;

    store_le32(cap + PCI_EXP_LNKCAP, load_le32(cap + PCI_EXP_LNKCAP) | (uint32_t)port->port << 24);
    if (!is_downstream(port)) {
        store_le16(pci->wmask + pci->express_cap + PCI_EXP_RTCTL,
                   PCI_EXP_RTCTL_SECEE | PCI_EXP_RTCTL_SENFEE | PCI_EXP_RTCTL_SEFEE |
                       PCI_EXP_RTCTL_PMEIE);
    }
}

static bool check_place(const PciePort *port, GError **error)
{
    const PciBus *bus = port->pci.bus;

    if (is_downstream(port)) {
        return pci_bus_is_switch(bus) ||
               error_set(error,
                         "bus '%s' is not inside a switch: downstream ports go to the bus of an "
                         "x3130-upstream",
                         bus->base->name);
    }
    return (bus->express && !bus->bridge) ||
           error_set(error, "bus '%s' is no PCI Express root bus: root ports go to pcie.0",
                     bus->base->name);
}

static bool port_realize(Device *dev, GError **error)
{
    PciePort *port = (PciePort *)dev;
    g_autofree char *name = NULL;

    if (!check_place(port, error) || !pcie_slot_check(&port->slot, dev->machine, error) ||
        !pci_device_realize(&port->pci, error)) {
        return false;
    }
    port_capability_init(port);
    if (!(class_of(port)->msi ? msi_init(&port->pci, 1, true, error)
                              : msix_init(&port->pci, 1, PORT_MSIX_BAR, error))) {
        return false;
    }
    name = dev->id ? g_strdup(dev->id) : g_strdup_printf("rp%02x", port->pci.devfn);
    port->bus = pci_bus_new(name, dev->machine, dev, true, port->pci.bus->memory, port->pci.bus->io,
                            NULL, NULL);
    pcie_slot_init(&port->slot, &port->pci, port->bus);
    return true;
}

static void port_unrealize(Device *dev)
{
    PciePort *port = (PciePort *)dev;

    g_clear_pointer(&port->bus, pci_bus_free);
    msix_uninit(&port->pci);
    pci_device_unrealize(&port->pci);
}

static void port_reset(Device *dev)
{
    PciePort *port = (PciePort *)dev;

    pci_device_reset(&port->pci);
    pcie_slot_reset(&port->slot);
}

static void port_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    pcie_slot_config_written(&((PciePort *)pci)->slot, offset, size);
}

static const StateField port_fields[] = {
    STATE_STRUCT(PciePort, pci, &pci_device_state),
    STATE_STRUCT(PciePort, slot, &pcie_slot_state),
    STATE_END,
};

static const StateSection port_state = {
    .name = "pcie-port",
    .version = 1,
    .fields = port_fields,
};

#define PORT_OPS(var, vendor, device, type, with_msi)                                              \
    static const PciePortClass var = {                                                             \
        .pci = { .vendor_id = (vendor),                                                            \
                 .device_id = (device),                                                            \
                 .class_code = 0x060400,                                                           \
                 .interrupt_pin = 1,                                                               \
                 .is_bridge = true,                                                                \
                 .is_express = true,                                                               \
                 .express_type = (type),                                                           \
                 .config_written = port_config_written },                                          \
        .msi = (with_msi),                                                                         \
    }

#define PORT_CLASS(var, _name, _desc, _ops)                                                        \
    const DeviceClass var = {                                                                      \
        .name = (_name),                                                                           \
        .desc = (_desc),                                                                           \
        .bus = BUS_PCI,                                                                            \
        .category = DEVICE_CATEGORY_BRIDGE,                                                        \
        .size = sizeof(PciePort),                                                                  \
        .props = port_props,                                                                       \
        .groups = port_groups,                                                                     \
        .state = &port_state,                                                                      \
        .has_child_bus = true,                                                                     \
        .child_bus = BUS_PCI,                                                                      \
        .realize = port_realize,                                                                   \
        .unrealize = port_unrealize,                                                               \
        .reset = port_reset,                                                                       \
        .ops = &(_ops),                                                                            \
    }

PORT_OPS(root_port_ops, 0x1b36, 0x000c, PCI_EXP_TYPE_ROOT_PORT, false);
PORT_OPS(ioh3420_ops, 0x8086, 0x3420, PCI_EXP_TYPE_ROOT_PORT, true);
PORT_OPS(xio3130_ops, 0x104c, 0x8233, PCI_EXP_TYPE_DOWNSTREAM, true);

PORT_CLASS(pcie_root_port_class, "pcie-root-port", "PCI Express root port", root_port_ops);
PORT_CLASS(ioh3420_class, "ioh3420", "Intel IOH PCI Express root port", ioh3420_ops);
PORT_CLASS(xio3130_downstream_class, "xio3130-downstream",
           "TI XIO3130 downstream port of a PCI Express switch", xio3130_ops);
