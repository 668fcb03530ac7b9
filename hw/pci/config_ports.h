/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2): the address register at port 0xCF8,
 * the data window at 0xCFC, and between them the chipset's reset control register at 0xCF9 (ICH9,
 * 13.7.5; PIIX3, 2.5.4.1). A part of a host bridge.
 */
#ifndef HW_PCI_CONFIG_PORTS_H
#define HW_PCI_CONFIG_PORTS_H

#include "hw/pci/pci.h"

#define PCI_CONFIG_ADDRESS_PORT 0xcf8

typedef struct PciConfigPorts {
    Machine *machine;
    PciBus *bus;
    MemRegion address_region, data_region;
    uint32_t address;
    uint8_t reset_control;
} PciConfigPorts;

extern const StateSection pci_config_ports_state;

/* At realize and unrealize of the bridge: main thread, the topology lock is taken. */
void pci_config_ports_init(PciConfigPorts *ports, PciBus *bus);
void pci_config_ports_cleanup(PciConfigPorts *ports);
void pci_config_ports_reset(PciConfigPorts *ports);

/* "pci@i0cf8": the firmware name of a bridge that has the ports; new. */
char *pci_config_ports_firmware_name(const Device *dev);

#endif
