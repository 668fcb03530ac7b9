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
#define PC_FLASH_UNITS  2

enum { SMBIOS_ENTRY_32, SMBIOS_ENTRY_64 };
extern const char *const pc_smbios_entries[];
#define PC_SMBIOS_PROP(Type)                                                                       \
    PROP_ENUM("smbios-entry-point-type", Type, pc.smbios_entry, SMBIOS_ENTRY_32,                   \
              pc_smbios_entries, "SMBIOS entry point for firmware: 32 (2.1) or 64 (3.0)")

#define PC_FLASH_PROPS(Type)                                                                       \
    PROP_REF("pflash0", Type, pc.flash[0], "drive", "The flash memory of the firmware's code"),    \
        PROP_REF("pflash1", Type, pc.flash[1], "drive", "The flash memory of its variables")

#define PC_SMM_HELP                                                                                \
    "System management mode, for firmware with Secure Boot; auto: off, on: needs KVM's"

/* First member of a board's struct. */
typedef struct PcBoard {
    MemRegion ram_low, ram_high;
    BootImage *image; /* NULL: firmware, or a test */
    Device *fw_cfg;
    Device *hpet;                /* NULL: none */
    char *flash[PC_FLASH_UNITS]; /* properties: drives or block nodes, or NULL */
    int smbios_entry;            /* property; SMBIOS_ENTRY_... */
    AcpiSleep sleep;             /* what the guest is offered */
    bool firmware_kernel;        /* firmware starts -kernel */
    bool booted;                 /* -boot once= has had its time */
    char *boot_order;            /* set while the machine runs; NULL: -boot's */
    bool described;              /* there are ACPI tables */
    uint64_t acpi_base;
    GByteArray *acpi;   /* NULL: no tables */
    GByteArray *smbios; /* NULL: no kernel */
    MemoryMap map;
    void (*raise_gpe)(void *opaque, unsigned bit); /* NULL: no general-purpose events */
    void *gpe_opaque;
    AcpiArea vmgenid; /* pc_areas.c */
    AcpiTpm tpm;
    uint64_t areas_base; /* of them, up to the end of low RAM */
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
/* The high precision event timers, unless -no-hpet; before irqchip_create_user(). */
bool pc_add_hpet(Machine *machine, uint32_t routes, GError **error);
uint32_t pc_hpet_id(const PcBoard *pc); /* for AcpiConfig; 0: none */
/* Flash memory (pc_flash.c), when the drives are there; *has_firmware: unit 0 has the firmware. */
bool pc_add_flash(Machine *machine, bool *has_firmware, GError **error);
bool pc_add_serials(Machine *machine, Bus *bus,
                    GError **error); /* -serial, -parallel and -debugcon */

/* The registers of vCPU hotplug, at port, and of memory hotplug; raise: of the board's
 * general-purpose events. */
bool pc_add_hotplug(Machine *machine, unsigned port, void (*raise)(void *opaque, unsigned bit),
                    void *opaque, GError **error);
/* What the ACPI tables say of them. */
void pc_describe_hotplug(const Machine *machine, unsigned cpu_port, AcpiConfig *config);
/* Behind all memory, that of DIMMs included. */
uint64_t pc_memory_end(const Machine *machine);

/* ---- What firmware is told (pc_firmware.c) ---- */
/* The fw_cfg device, with what is known from the start. When the board is built. */
bool pc_add_fw_cfg(Machine *machine, GError **error);
/* -kernel with -bios: the kernel's parts and the option ROM that starts it. */
bool pc_add_firmware_kernel(Machine *machine, GError **error);
/* The ACPI tables for the firmware to place. */
bool pc_add_acpi_files(Machine *machine, const AcpiConfig *config, GError **error);
/* All devices are there: memory map, SMBIOS, waiting times, the user's files; the directory is
 * made. mem64_first: where BARs above 4 GiB may begin, 0: not said. */
bool pc_finish_fw_cfg(Machine *machine, uint64_t mem64_first, GError **error);
/* Boot order in fw_cfg and CMOS; writable firmware as it was. After devices were reset. */
bool pc_reset_firmware(Machine *machine, GError **error);
bool pc_set_boot_order(Machine *machine, const char *order, GError **error);
/* A machine's device of a class; NULL. */
Device *pc_find_device(Machine *machine, const DeviceClass *cls);

/* ---- Memory that tables point to (pc_areas.c) ---- */
/* What there is, for the tables. */
bool pc_areas_describe(Machine *machine, AcpiConfig *config, GError **error);
/* For a kernel started directly: places them below `top`; where they begin. */
uint64_t pc_areas_reserve(Machine *machine, uint64_t top);
void pc_areas_place(Machine *machine); /* their contents into RAM, as firmware would */
/* For firmware: commands that come before all others, and those behind. */
void pc_areas_allocate(Machine *machine, GByteArray *script);
void pc_areas_write_back(Machine *machine, GByteArray *script);

/* What ACPI tables say of an ISA device; false for devices that they do not name. */
bool pc_describe_isa(Device *dev, AcpiIsaDevice *out);

/* Without -bios: reads the kernel and makes SMBIOS tables. Else, and without a kernel, maps the
 * firmware, -bios or the board's own (under qtest only -bios). */
bool pc_load(Machine *machine, const char *append, GError **error);

/* For a kernel started directly room is taken from the top of low RAM, before the map is made; for
 * firmware the tables go to fw_cfg. */
bool pc_build_acpi(Machine *machine, const AcpiConfig *config, GError **error);
/* Tables are made again at each reset but the first, as vCPUs come and go, and stay for a guest
 * that wakes; before pc_reset_firmware(). */
bool pc_tables_stale(const Machine *machine);
void pc_make_map(Machine *machine, const MemoryMapEntry *reserved, unsigned count);

/* Tables and kernel into RAM, the first vCPU ready; nothing without a kernel. After each reset. */
void pc_boot(Machine *machine);
/* A reset's outcome: an error is said and ends the machine. */
bool pc_check_reset(Machine *machine, bool ok, const GError *error);
void pc_destroy(Machine *machine);

#endif
