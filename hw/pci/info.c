/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info pci`: what is on the buses, in QEMU's form. */
#include <inttypes.h>
#include "hw/pci/pci_internal.h"

const char *pci_class_name(uint16_t code)
{
    static const struct {
        uint16_t code;
        const char *name;
    } names[] = {
        { 0x0100, "SCSI controller" },    { 0x0101, "IDE controller" },
        { 0x0106, "SATA controller" },    { 0x0108, "NVME controller" },
        { 0x0180, "Storage controller" }, { 0x0200, "Ethernet controller" },
        { 0x0300, "VGA controller" },     { 0x0380, "Display controller" },
        { 0x0403, "Audio controller" },   { 0x0500, "RAM controller" },
        { 0x0600, "Host bridge" },        { 0x0601, "ISA bridge" },
        { 0x0604, "PCI bridge" },         { 0x0680, "Bridge" },
        { 0x0780, "Communication" },      { 0x0880, "System peripheral" },
        { 0x0c03, "USB controller" },     { 0x0c05, "SMBus" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (names[i].code == code) {
            return names[i].name;
        }
    }
    return NULL;
}

static void dump_bridge(const PciDevice *pci, GString *out)
{
    const uint8_t *c = pci->config;
    uint64_t pref_base = (uint64_t)load_le32(c + PCI_PREF_BASE_UPPER32) << 32 |
                         (load_le16(c + PCI_PREF_MEMORY_BASE) & 0xfff0U) << 16;
    uint64_t pref_limit = (uint64_t)load_le32(c + PCI_PREF_LIMIT_UPPER32) << 32 |
                          (load_le16(c + PCI_PREF_MEMORY_LIMIT) & 0xfff0U) << 16 | 0xfffff;

    g_string_append_printf(out, "      BUS %u.\n", c[PCI_PRIMARY_BUS]);
    g_string_append_printf(out, "      secondary bus %u.\n", c[PCI_SECONDARY_BUS]);
    g_string_append_printf(out, "      subordinate bus %u.\n", c[PCI_SUBORDINATE_BUS]);
    g_string_append_printf(out, "      IO range [0x%04x, 0x%04x]\n", (c[PCI_IO_BASE] & 0xf0) << 8,
                           (c[PCI_IO_LIMIT] & 0xf0) << 8 | 0xfff);
    g_string_append_printf(out, "      memory range [0x%08x, 0x%08x]\n",
                           (load_le16(c + PCI_MEMORY_BASE) & 0xfff0U) << 16,
                           (load_le16(c + PCI_MEMORY_LIMIT) & 0xfff0U) << 16 | 0xfffff);
    g_string_append_printf(out,
                           "      prefetchable memory range [0x%08" PRIx64 ", 0x%08" PRIx64 "]\n",
                           pref_base, pref_limit);
}

static void dump_bar(const PciDevice *pci, unsigned index, GString *out)
{
    const PciBar *bar = &pci->bars[index];
    uint64_t addr = bar->mapped_at;
    uint64_t last = addr + bar->size - 1;

    if (addr == UINT64_MAX) {
        last = bar->size - 1;
    }
    g_string_append_printf(out, "      BAR%u: ", index);
    if (bar->kind == PCI_BAR_IO) {
        g_string_append_printf(out, "I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\n", addr, last);
    } else {
        g_string_append_printf(out, "%d bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\n",
                               bar->kind == PCI_BAR_MEM32 ? 32 : 64,
                               bar->kind == PCI_BAR_MEM64_PREFETCH ? " prefetchable" : "", addr,
                               last);
    }
}

static void dump_function(PciDevice *pci, void *opaque)
{
    GString *out = opaque;
    uint16_t code = load_le16(pci->config + PCI_CLASS_DEVICE);
    const char *name = pci_class_name(code);

    g_string_append_printf(out, "  Bus %2u, device %3u, function %u:\n    ",
                           pci_bus_number(pci->bus), PCI_SLOT(pci->devfn), PCI_FUNC(pci->devfn));
    if (name) {
        g_string_append(out, name);
    } else {
        g_string_append_printf(out, "Class %04x", code);
    }
    g_string_append_printf(out, ": PCI device %04x:%04x\n", load_le16(pci->config + PCI_VENDOR_ID),
                           load_le16(pci->config + PCI_DEVICE_ID));
    if (!pci_class(pci)->is_bridge) {
        g_string_append_printf(out, "      PCI subsystem %04x:%04x\n",
                               load_le16(pci->config + PCI_SUBSYSTEM_VENDOR_ID),
                               load_le16(pci->config + PCI_SUBSYSTEM_ID));
    }
    if (pci->config[PCI_INTERRUPT_PIN]) {
        g_string_append_printf(out, "      IRQ %u, pin %c\n", pci->config[PCI_INTERRUPT_LINE],
                               'A' + pci->config[PCI_INTERRUPT_PIN] - 1);
    }
    if (pci_class(pci)->is_bridge) {
        dump_bridge(pci, out);
    }
    for (unsigned i = 0; i < PCI_REGION_COUNT; i++) {
        if (pci->bars[i].region) {
            dump_bar(pci, i, out);
        }
    }
    g_string_append_printf(out, "      id \"%s\"\n", pci->dev.id ? pci->dev.id : "");
    if (pci->secondary) {
        pci_bus_foreach(pci->secondary, dump_function, out);
    }
}

void pci_info_dump(Machine *machine, GString *out)
{
    PciBus *root = pci_bus_root(machine);

    machine_topology_lock(machine);
    if (root) {
        pci_bus_foreach(root, dump_function, out);
    }
    machine_topology_unlock(machine);
}
