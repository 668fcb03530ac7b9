/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of functions in Open Firmware paths (IEEE 1275: PCI Bus Binding 2.1, table 1). */
#include "hw/pci/pci_internal.h"

static const struct {
    uint16_t class_code; /* class and subclass */
    const char *name;
} class_names[] = {
    { 0x0001, "display" }, { 0x0100, "scsi" },          { 0x0101, "ide" },
    { 0x0102, "fdc" },     { 0x0104, "raid" },          { 0x0200, "ethernet" },
    { 0x0300, "display" }, { 0x0400, "video" },         { 0x0401, "sound" },
    { 0x0403, "sound" },   { 0x0500, "memory" },        { 0x0501, "flash" },
    { 0x0600, "host" },    { 0x0601, "isa" },           { 0x0604, "pci-bridge" },
    { 0x0700, "serial" },  { 0x0701, "parallel" },      { 0x0c00, "firewire" },
    { 0x0c03, "usb" },     { 0x0c04, "fibre-channel" },
};

char *pci_firmware_name(const PciDevice *pci)
{
    uint16_t class_code = load_le16(pci->config + PCI_CLASS_DEVICE);
    g_autofree char *name = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(class_names) && !name; i++) {
        if (class_names[i].class_code == class_code) {
            name = g_strdup(class_names[i].name);
        }
    }
    if (!name) {
        name = g_strdup_printf("pci%04x,%04x", load_le16(pci->config + PCI_VENDOR_ID),
                               load_le16(pci->config + PCI_DEVICE_ID));
    }
    if (PCI_FUNC(pci->devfn)) {
        return g_strdup_printf("%s@%x,%x", name, PCI_SLOT(pci->devfn), PCI_FUNC(pci->devfn));
    }
    return g_strdup_printf("%s@%x", name, PCI_SLOT(pci->devfn));
}
