/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the x86 boards share: placing RAM, interrupt lines, built-in devices, and starting a kernel
 * or a firmware image. Main thread.
 */
#ifndef HW_BOARD_PC_H
#define HW_BOARD_PC_H

#include "hw/misc/irqchip.h"
#include "hw/acpi/acpi.h"
#include "vmm/boot/boot.h"
#include "vmm/machine/machine.h"

#define PC_ABOVE_4G     (4ULL << 30)
#define PC_IOAPIC_BASE  0xfec00000U
#define PC_RSDP_ADDRESS 0xf0000ULL /* where systems that are not told look for it */
#define PC_SMBIOS_BASE  0xf0040ULL

/* First member of a board's struct. */
typedef struct PcBoard {
    MemRegion ram_low, ram_high;
    BootImage *image; /* NULL: firmware, or a test */
    uint64_t acpi_base;
    GByteArray *acpi;   /* NULL: no tables */
    GByteArray *smbios; /* NULL: no kernel */
    MemoryMap map;
} PcBoard;

/* A property of QEMU's board that Vireo's has not: `wrong` when the user asked for the other than
 * what there is. */
typedef struct PcAbsent {
    const char *setting; /* "hpet=on" */
    const char *what;    /* "a high precision event timer" */
    bool wrong;
} PcAbsent;
bool pc_check_absent(const PcAbsent *absent, unsigned count, GError **error);

/* RAM up to low_size at address 0, the rest at 4 GiB. */
void pc_map_ram(Machine *machine, uint64_t low_size);

/* A built-in device: properties as NULL-terminated pairs of strings. NULL and error. */
Device *pc_add_device(Machine *machine, const char *cls, Bus *bus, const char *const *props,
                      GError **error);
bool pc_add_serials(Machine *machine, Bus *bus, GError **error); /* -serial and -debugcon */

/* What ACPI tables say of an ISA device; false for devices that they do not name. */
bool pc_describe_isa(Device *dev, AcpiIsaDevice *out);

/* Reads the kernel and makes SMBIOS tables, or maps the firmware; an error when there is neither
 * (but under qtest). */
bool pc_load(Machine *machine, const char *append, GError **error);

/* Room for the ACPI tables is taken from the top of low RAM before the map is made. */
bool pc_build_acpi(Machine *machine, const AcpiConfig *config, GError **error);
void pc_make_map(Machine *machine, const MemoryMapEntry *reserved, unsigned count);

/* Tables and kernel into RAM, the first vCPU ready; nothing without a kernel. At each reset. */
bool pc_boot(Machine *machine, GError **error);
void pc_destroy(Machine *machine);

#endif
