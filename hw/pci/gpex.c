/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The generic PCI Express host: an ECAM window at a fixed place, a root bus, four interrupt lines
 * (PCI Express Base 4.0, 7.2.2); function 00.0 is a host bridge without registers.
 */
#include "hw/devices.h"
#include "hw/pci/host.h"
#include "hw/pci/pci_internal.h"

typedef struct GpexHost {
    Device dev;
    PciBus *bus;
    uint64_t ecam_base;
    unsigned first_gsi;
    MemRegion ecam;
    unsigned levels[4]; /* devices that hold the line up; the root bus's leaf lock */
} GpexHost;

static void gpex_set_irq(void *opaque, unsigned slot, unsigned pin, int level)
{
    GpexHost *host = opaque;
    unsigned line = (slot + pin) & 3;

    host->levels[line] += level ? 1 : -1;
    irq_set(&host->dev.machine->gsi[host->first_gsi + line], host->levels[line] > 0);
}

PciBus *gpex_host_bus(Device *dev)
{
    return ((GpexHost *)dev)->bus;
}

static bool gpex_realize(Device *dev, GError **error)
{
    GpexHost *host = (GpexHost *)dev;
    Machine *machine = dev->machine;

    host->bus =
        pci_bus_new("pcie.0", machine, dev, true, machine->memory, machine->io, gpex_set_irq, host);
    mem_region_init_io(&host->ecam, "pcie-ecam", ECAM_SIZE, &pci_ecam_ops, host->bus, NULL);
    machine_topology_lock(machine);
    address_space_begin(machine->memory);
    address_space_map(machine->memory, &host->ecam, host->ecam_base, 0);
    address_space_commit(machine->memory);
    machine_topology_unlock(machine);
    return true;
}

static void gpex_unrealize(Device *dev)
{
    GpexHost *host = (GpexHost *)dev;

    machine_topology_lock(dev->machine);
    address_space_begin(dev->machine->memory);
    address_space_unmap(&host->ecam);
    address_space_commit(dev->machine->memory);
    machine_topology_unlock(dev->machine);
    g_clear_pointer(&host->bus, pci_bus_free);
}

Device *gpex_host_new(Machine *machine, uint64_t ecam_base, unsigned first_gsi, GError **error)
{
    Device *dev = device_new(&gpex_host_class, NULL);
    GpexHost *host = (GpexHost *)dev;

    host->ecam_base = ecam_base;
    host->first_gsi = first_gsi;
    if (device_realize(dev, machine, NULL, error)) {
        return dev;
    }
    device_free(dev);
    return NULL;
}

static char *gpex_firmware_name(const Device *dev)
{
    return g_strdup_printf("pci@%016" PRIx64, ((const GpexHost *)dev)->ecam_base);
}

const DeviceClass gpex_host_class = {
    .name = "gpex-pcihost",
    .desc = "Generic PCI Express host",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(GpexHost),
    .internal = true,
    .has_child_bus = true,
    .child_bus = BUS_PCI,
    .realize = gpex_realize,
    .unrealize = gpex_unrealize,
    .firmware_name = gpex_firmware_name,
};

/* ---- Function 00.0 ---- */

static bool gpex_root_realize(Device *dev, GError **error)
{
    return pci_device_realize((PciDevice *)dev, error);
}

static void gpex_root_unrealize(Device *dev)
{
    pci_device_unrealize((PciDevice *)dev);
}

static void gpex_root_reset(Device *dev)
{
    pci_device_reset((PciDevice *)dev);
}

static const PropertyGroup gpex_root_groups[] = { { pci_device_props, 0 }, { NULL } };

static const PciDeviceClass gpex_root_pci = {
    .vendor_id = 0x1b36,
    .device_id = 0x0008,
    .class_code = 0x060000,
};

const DeviceClass gpex_root_class = {
    .name = "gpex-root",
    .desc = "Host bridge of the generic PCI Express host",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(PciDevice),
    .groups = gpex_root_groups,
    .state = &pci_device_state,
    .internal = true,
    .realize = gpex_root_realize,
    .unrealize = gpex_root_unrealize,
    .reset = gpex_root_reset,
    .ops = &gpex_root_pci,
};
