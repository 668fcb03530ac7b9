/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-pci and `info pci`. */
#include "hw/pci/qmp.h"

#include "hw/pci/pci_internal.h"

static json_object *function_list(PciBus *bus);

static json_object *ids(const PciDevice *pci)
{
    json_object *id = json_object_new_object();
    json_add_int(id, "device", load_le16(pci->config + PCI_DEVICE_ID));
    json_add_int(id, "vendor", load_le16(pci->config + PCI_VENDOR_ID));
    if (!pci_class(pci)->is_bridge) {
        json_add_int(id, "subsystem", load_le16(pci->config + PCI_SUBSYSTEM_ID));
        json_add_int(id, "subsystem-vendor", load_le16(pci->config + PCI_SUBSYSTEM_VENDOR_ID));
    }
    return id;
}

static json_object *regions(const PciDevice *pci)
{
    json_object *list = json_object_new_array();
    for (unsigned i = 0; i < PCI_REGION_COUNT; i++) {
        const PciBar *bar = &pci->bars[i];
        if (!bar->region) {
            continue;
        }
        json_object *region = json_object_new_object();
        json_add_int(region, "bar", i);
        json_add_string(region, "type", bar->kind == PCI_BAR_IO ? "io" : "memory");
        json_object_object_add(region, "address", json_object_new_int64((int64_t)bar->mapped_at));
        json_object_object_add(region, "size", json_object_new_uint64(bar->size));
        if (bar->kind != PCI_BAR_IO) {
            json_add_bool(region, "prefetch", bar->kind == PCI_BAR_MEM64_PREFETCH);
            json_add_bool(region, "mem_type_64", bar->kind != PCI_BAR_MEM32);
        }
        json_object_array_add(list, region);
    }
    return list;
}

static json_object *range(uint64_t base, uint64_t limit)
{
    json_object *object = json_object_new_object();
    json_object_object_add(object, "base", json_object_new_uint64(base));
    json_object_object_add(object, "limit", json_object_new_uint64(limit));
    return object;
}

static json_object *bridge_info(PciDevice *pci)
{
    const uint8_t *config = pci->config;
    uint64_t high_base = (uint64_t)load_le32(config + PCI_PREF_BASE_UPPER32) << 32;
    uint64_t high_limit = (uint64_t)load_le32(config + PCI_PREF_LIMIT_UPPER32) << 32;
    json_object *bus = json_object_new_object();
    json_add_int(bus, "number", config[PCI_PRIMARY_BUS]);
    json_add_int(bus, "secondary", config[PCI_SECONDARY_BUS]);
    json_add_int(bus, "subordinate", config[PCI_SUBORDINATE_BUS]);
    json_object_object_add(
        bus, "io_range",
        range((config[PCI_IO_BASE] & 0xf0U) << 8, (config[PCI_IO_LIMIT] & 0xf0U) << 8 | 0xfff));
    json_object_object_add(
        bus, "memory_range",
        range((load_le16(config + PCI_MEMORY_BASE) & 0xfff0U) << 16,
              (load_le16(config + PCI_MEMORY_LIMIT) & 0xfff0U) << 16 | 0xfffffU));
    json_object_object_add(
        bus, "prefetchable_range",
        range(high_base | (load_le16(config + PCI_PREF_MEMORY_BASE) & 0xfff0U) << 16,
              high_limit | (load_le16(config + PCI_PREF_MEMORY_LIMIT) & 0xfff0U) << 16 | 0xfffffU));
    json_object *info = json_object_new_object();
    json_object_object_add(info, "bus", bus);
    if (config[PCI_SECONDARY_BUS]) { /* without a number nothing behind it can be addressed */
        json_object_object_add(info, "devices", function_list(pci->secondary));
    }
    return info;
}

static void add_function(PciDevice *pci, void *opaque)
{
    uint16_t code = load_le16(pci->config + PCI_CLASS_DEVICE);
    json_object *class_info = json_object_new_object();
    json_add_int(class_info, "class", code);
    if (pci_class_name(code)) {
        json_add_string(class_info, "desc", pci_class_name(code));
    }
    json_object *info = json_object_new_object();
    json_add_int(info, "bus", pci_bus_number(pci->bus));
    json_add_int(info, "slot", PCI_SLOT(pci->devfn));
    json_add_int(info, "function", PCI_FUNC(pci->devfn));
    json_object_object_add(info, "class_info", class_info);
    json_object_object_add(info, "id", ids(pci));
    json_add_string(info, "qdev_id", pci->dev.id ? pci->dev.id : "");
    json_add_int(info, "irq_pin", pci->config[PCI_INTERRUPT_PIN]);
    if (pci->config[PCI_INTERRUPT_PIN]) {
        json_add_int(info, "irq", pci->config[PCI_INTERRUPT_LINE]);
    }
    json_object_object_add(info, "regions", regions(pci));
    if (pci->secondary) {
        json_object_object_add(info, "pci_bridge", bridge_info(pci));
    }
    json_object_array_add(opaque, info);
}

static json_object *function_list(PciBus *bus)
{
    json_object *list = json_object_new_array();
    pci_bus_foreach(bus, add_function, list);
    return list;
}

static json_object *query_pci(const void *args, GError **error)
{
    Machine *machine = machine_get();
    json_object *list = json_object_new_array();
    machine_topology_lock(machine);
    PciBus *root = pci_bus_root(machine);
    if (root) {
        json_object *bus = json_object_new_object();
        json_add_int(bus, "bus", pci_bus_number(root));
        json_object_object_add(bus, "devices", function_list(root));
        json_object_array_add(list, bus);
    }
    machine_topology_unlock(machine);
    return list;
}

static void hmp_info_pci(GString *out, char **args)
{
    pci_info_dump(machine_get(), out);
}

static const QmpHandler qmp[] = {
    { "query-pci", query_pci },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info pci", NULL, "what is on the PCI buses", hmp_info_pci },
    { NULL },
};

const MonitorCommands pci_commands = { .qmp = qmp, .hmp = hmp };
