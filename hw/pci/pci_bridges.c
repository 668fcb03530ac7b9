/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bridges without slots of their own: PCI to PCI, PCI Express to PCI, the upstream port of a
 * PCI Express switch. */
#include "hw/devices.h"
#include "hw/pci/pci_internal.h"

typedef struct Bridge {
    PciDevice pci;
    PciBus *bus;
    uint8_t number; /* port, or chassis */
    int msi;        /* OnOffAuto */
} Bridge;

/* DeviceClass.ops: begins with what the PCI bus wants. */
typedef struct BridgeClass {
    PciDeviceClass pci;
    bool express_behind;
} BridgeClass;

static const Property upstream_props[] = {
    PROP_U8("port", Bridge, number, 0, "Port number, shown in the link capabilities"),
    PROP_END,
};

static const Property bridge_props[] = {
    PROP_U8("chassis_nr", Bridge, number, 0, "Chassis number"),
    PROP_ONOFFAUTO("msi", Bridge, msi, ON_OFF_AUTO_AUTO, "Offer MSI (auto: yes)"),
    PROP_END,
};

static const Property pcie_bridge_props[] = {
    PROP_ONOFFAUTO("msi", Bridge, msi, ON_OFF_AUTO_AUTO, "Offer MSI (auto: yes)"),
    PROP_END,
};

static const PropertyGroup bridge_groups[] = {
    { pci_device_props, offsetof(Bridge, pci) },
    { NULL },
};

static const BridgeClass *class_of(const Bridge *bridge)
{
    return bridge->pci.dev.cls->ops;
}

static bool check_place(const Bridge *bridge, GError **error)
{
    const PciBus *bus = bridge->pci.bus;
    const PciDeviceClass *cls = &class_of(bridge)->pci;

    if (cls->is_express && !bus->express) {
        return error_set(error, "%s needs a PCI Express bus; '%s' is conventional PCI",
                         bridge->pci.dev.cls->name, bus->base->name);
    }
    if (cls->express_type == PCI_EXP_TYPE_UPSTREAM && (!bus->bridge || pci_bus_is_switch(bus))) {
        return error_set(error,
                         "bus '%s' is not behind a port: an upstream port goes to the bus of "
                         "a root port or downstream port",
                         bus->base->name);
    }
    return true;
}

static bool bridge_realize(Device *dev, GError **error)
{
    Bridge *bridge = (Bridge *)dev;
    PciDevice *pci = &bridge->pci;
    g_autofree char *name = NULL;

    if (!check_place(bridge, error) || !pci_device_realize(pci, error) ||
        (bridge->msi != ON_OFF_AUTO_OFF && !msi_init(pci, 1, true, error))) {
        return false;
    }
    if (pci->express_cap) {
        uint8_t *cap = pci->config + pci->express_cap;
        store_le32(cap + PCI_EXP_LNKCAP,
                   load_le32(cap + PCI_EXP_LNKCAP) | (uint32_t)bridge->number << 24);
    }
    name = dev->id ? g_strdup(dev->id)
                   : g_strdup_printf("%s.%02x", pci->bus->base->name, pci->devfn);
    bridge->bus = pci_bus_new(name, dev->machine, dev, class_of(bridge)->express_behind,
                              pci->bus->memory, pci->bus->io, NULL, NULL);
    return true;
}

static void bridge_unrealize(Device *dev)
{
    Bridge *bridge = (Bridge *)dev;

    g_clear_pointer(&bridge->bus, pci_bus_free);
    pci_device_unrealize(&bridge->pci);
}

static void bridge_reset(Device *dev)
{
    pci_device_reset((PciDevice *)dev);
}

static const StateField bridge_fields[] = {
    STATE_STRUCT(Bridge, pci, &pci_device_state),
    STATE_END,
};

static const StateSection bridge_state = {
    .name = "pci-bridge",
    .version = 1,
    .fields = bridge_fields,
};

#define BRIDGE_OPS(var, vendor, device, type, behind)                                              \
    static const BridgeClass var = {                                                               \
        .pci = { .vendor_id = (vendor),                                                            \
                 .device_id = (device),                                                            \
                 .class_code = 0x060400,                                                           \
                 .interrupt_pin = 1,                                                               \
                 .is_bridge = true,                                                                \
                 .is_express = (type) != 0,                                                        \
                 .express_type = (type) },                                                         \
        .express_behind = (behind),                                                                \
    }

#define BRIDGE_CLASS(var, _name, _desc, _props, _ops)                                              \
    const DeviceClass var = {                                                                      \
        .name = (_name),                                                                           \
        .desc = (_desc),                                                                           \
        .bus = BUS_PCI,                                                                            \
        .category = DEVICE_CATEGORY_BRIDGE,                                                        \
        .size = sizeof(Bridge),                                                                    \
        .props = (_props),                                                                         \
        .groups = bridge_groups,                                                                   \
        .state = &bridge_state,                                                                    \
        .has_child_bus = true,                                                                     \
        .child_bus = BUS_PCI,                                                                      \
        .realize = bridge_realize,                                                                 \
        .unrealize = bridge_unrealize,                                                             \
        .reset = bridge_reset,                                                                     \
        .ops = &(_ops),                                                                            \
    }

BRIDGE_OPS(upstream_ops, 0x104c, 0x8232, PCI_EXP_TYPE_UPSTREAM, true);
BRIDGE_OPS(pci_bridge_ops, 0x1b36, 0x0001, 0, false);
BRIDGE_OPS(pcie_pci_bridge_ops, 0x1b36, 0x000e, PCI_EXP_TYPE_PCI_BRIDGE, false);

BRIDGE_CLASS(x3130_upstream_class, "x3130-upstream",
             "TI X3130 upstream port of a PCI Express switch", upstream_props, upstream_ops);
BRIDGE_CLASS(pci_bridge_class, "pci-bridge", "PCI-to-PCI bridge", bridge_props, pci_bridge_ops);
BRIDGE_CLASS(pcie_pci_bridge_class, "pcie-pci-bridge", "PCI Express to PCI bridge",
             pcie_bridge_props, pcie_pci_bridge_ops);
