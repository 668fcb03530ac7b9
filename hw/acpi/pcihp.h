/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI hotplug by ACPI: the registers through which the DSDT learns which slots of the root bus have
 * a new device or one that is to go, and ejects (QEMU's interface, bus 0). Under the topology lock.
 */
#ifndef HW_ACPI_PCIHP_H
#define HW_ACPI_PCIHP_H

#include "hw/pci/pci.h"

#define ACPI_PCIHP_SIZE 0x18

/* Double words. */
enum {
    ACPI_PCIHP_UP = 0x00,        /* slots with a new device; reading clears */
    ACPI_PCIHP_DOWN = 0x04,      /* slots whose device is to go, until it is ejected */
    ACPI_PCIHP_EJECT = 0x08,     /* written: ejects; read: features, none */
    ACPI_PCIHP_REMOVABLE = 0x0c, /* slots that can change */
    ACPI_PCIHP_SELECT = 0x10,    /* the bus that the others mean */
    ACPI_PCIHP_INDEX = 0x14,     /* acpi-index of a slot: always 0 */
};

typedef struct AcpiPcihp {
    PciBus *bus;
    MemRegion region;
    void (*notify)(void *opaque); /* a slot changed: the event for the system */
    void *opaque;
    uint32_t up, down, selected;
} AcpiPcihp;

extern const StateSection acpi_pcihp_state;

/* The bus takes and gives up devices from now on. Main thread. */
void acpi_pcihp_init(AcpiPcihp *hp, PciBus *bus, uint16_t port, void (*notify)(void *opaque),
                     void *opaque);
void acpi_pcihp_cleanup(AcpiPcihp *hp);
void acpi_pcihp_reset(AcpiPcihp *hp); /* what was to go, goes */

#endif
