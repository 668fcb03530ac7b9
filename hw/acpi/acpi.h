/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables (ACPI 6.4) of a board: what it has, said once in an AcpiConfig, becomes RSDP, XSDT,
 * FADT, FACS, MADT, MCFG, WAET and DSDT. Main thread.
 */
#ifndef HW_ACPI_ACPI_H
#define HW_ACPI_ACPI_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/machine/machine.h"

/* The chipset's fixed power management block (ICH9: PMBASE). */
/* Sleep states and the types that are written to PM1_CNT for them; as QEMU's boards number them. */
typedef struct AcpiSleep {
    bool s3, s4;
    uint8_t s3_type, s4_type;
} AcpiSleep;

typedef struct AcpiPmBlock {
    uint16_t base; /* PM1 event at +0, control at +4, timer at +8, GPE0 at gpe_base */
    uint16_t gpe_base;
    uint8_t gpe_len;
    uint8_t sci_irq;
    uint16_t smi_command; /* port; 0: always in ACPI mode */
    uint8_t acpi_enable, acpi_disable;
    AcpiSleep sleep;
} AcpiPmBlock;

/* Hardware-reduced ACPI: a generic event device with sleep and reset registers (QEMU's microvm
 * layout). */
typedef struct AcpiGed {
    uint64_t base;      /* event selector, 4 bytes; bit 1: power button */
    uint64_t registers; /* sleep control, sleep status, reset: one byte each */
    uint32_t gsi;
    uint8_t reset_value;
} AcpiGed;

/* PCI hotplug by ACPI (hw/acpi/pcihp.h): the slots of the root bus that can change. */
typedef struct AcpiPciHotplug {
    uint16_t port; /* of the registers */
    uint8_t gpe;
    uint32_t slots; /* a bit each */
} AcpiPciHotplug;

typedef struct AcpiPci {
    uint64_t ecam_base; /* 0: none */
    uint8_t last_bus;
    uint64_t io_first, io_last; /* above the legacy ports; equal: none */
    uint32_t mem32_first, mem32_last;
    uint64_t mem64_first, mem64_last; /* 0: none */
    uint32_t (*gsi)(unsigned slot,
                    unsigned pin); /* of INTA (0) to INTD (3) of a root bus slot, with the IOAPIC */
    uint8_t (*isa_irq)(unsigned slot, unsigned pin); /* the same with the PICs; NULL: no PICs */
    bool express;
    bool piix_links; /* pins go through PIIX3's PIRQ registers; gsi and isa_irq are not asked */
    const AcpiPciHotplug *hotplug; /* NULL: none */
} AcpiPci;

typedef struct AcpiIsaDevice {
    const char *name;      /* AML name, "COM1" */
    const char *hid;       /* "PNP0501", or a string id such as "QEMU0001" */
    uint16_t io, io_len;   /* 0: none */
    uint16_t io2, io2_len; /* 0: none */
    uint8_t irq;           /* 0: none */
    uint8_t dma;           /* 0: none */
    uint8_t uid;
} AcpiIsaDevice;

typedef struct AcpiVirtioMmio {
    uint64_t base;
    uint32_t size, gsi;
} AcpiVirtioMmio;

/* Memory besides the tables that they point to: a file of fw_cfg for a linker, else where it is. */
typedef struct AcpiArea {
    const char *file;
    uint64_t address;
} AcpiArea;

/* A TPM 2.0: its registers and, CRB only, control area; its event log. */
typedef struct AcpiTpm {
    uint32_t base, size;
    uint64_t control; /* 0: FIFO interface */
    AcpiArea log;
    uint32_t log_size;
} AcpiTpm;

typedef struct AcpiConfig {
    const SmpConfig *smp;
    const struct MachineCpu *cpus; /* who is there; NULL: the first smp->cpus */
    uint16_t cpu_hotplug_port;     /* registers of CPU hotplug; 0: none */
    uint16_t memory_hotplug_port;  /* registers of memory hotplug; 0: none */
    unsigned memory_slots;
    const NumaConfig *numa; /* NULL: no SRAT, SLIT and HMAT */
    bool hmat;
    uint64_t ram_below_4g;                             /* with numa */
    uint64_t hotplug_memory_base, hotplug_memory_size; /* where pc-dimms go; 0: nowhere */
    bool has_pic;                                      /* two 8259s (PCAT_COMPAT), IRQ0 on GSI 2 */
    uint32_t level_isa_irqs; /* bits: ISA interrupts that are level-triggered, active high */
    uint32_t ioapic_base;
    const AcpiPmBlock *pm; /* one of pm and ged */
    const AcpiGed *ged;
    uint16_t reset_port; /* FADT reset register in I/O space, 0: none */
    uint8_t reset_value;
    bool has_i8042; /* with keyboard and mouse */
    bool has_rtc;
    uint32_t hpet_id;   /* event timer block id of the HPET at HPET_BASE; 0: none */
    const AcpiPci *pci; /* NULL: none */
    uint8_t isa_devfn;  /* of the ISA bridge, where the ISA devices stand; without pci they stand
                           under \_SB */
    const AcpiIsaDevice *isa_devices;
    unsigned isa_device_count;
    const AcpiVirtioMmio *virtio_mmio;
    unsigned virtio_mmio_count;
    const AcpiArea *vmgenid; /* the page of the generation ID; NULL: none */
    const AcpiTpm *tpm;      /* NULL: none */
} AcpiConfig;

/* All tables as one block to be placed at guest-physical `base` (16-byte aligned, below 4 GiB). The
 * RSDP stands at its beginning. */
GByteArray *acpi_build(const AcpiConfig *config, uint64_t base);

/* The same for a linker (fw_cfg's table loader), which decides where the RSDP and what is behind it
 * go: addresses are offsets from ACPI_TABLES_OFFSET, checksums are zero. */
#define ACPI_RSDP_SIZE     36
#define ACPI_TABLES_OFFSET 64

typedef struct AcpiPointer {
    uint32_t offset; /* in the block */
    uint32_t size;
    const char *file; /* into which it points; NULL: that of the tables */
} AcpiPointer;

typedef struct AcpiChecksum {
    uint32_t offset, start, length;
} AcpiChecksum;

typedef struct AcpiLinks {
    GArray *pointers;  /* AcpiPointer */
    GArray *checksums; /* AcpiChecksum, in the order in which they are to be computed */
} AcpiLinks;

GByteArray *acpi_build_links(const AcpiConfig *config, AcpiLinks *links);
void acpi_links_clear(AcpiLinks *links);

/* ---- Between tables.c and dsdt.c ---- */
/* hotplug_ssdt.c, numa_tables.c: bodies, as dsdt's. */
void acpi_build_cpu_ssdt(const AcpiConfig *config, GByteArray *out);

void acpi_build_memory_ssdt(const AcpiConfig *config, GByteArray *out);
/* A MADT entry of a CPU, which _MAT returns too. */
void acpi_put_madt_cpu(GByteArray *out, unsigned index, uint32_t apic_id, bool enabled);
void acpi_build_srat(const AcpiConfig *config, GByteArray *out);
void acpi_build_slit(const AcpiConfig *config, GByteArray *out);
void acpi_build_hmat(const AcpiConfig *config, GByteArray *out);
/* vmgenid_ssdt.c: where in `out` the address of the page is, 4 bytes. */
guint acpi_build_vmgenid_ssdt(const AcpiConfig *config, GByteArray *out);
void acpi_build_dsdt(const AcpiConfig *config, GByteArray *out); /* the body, without header */

/* ---- Between dsdt.c and dsdt_pc.c ---- */
void acpi_build_pirq_registers(GByteArray *out);              /* inside the ISA bridge's device */
void acpi_build_pirq_routing(GByteArray *out);                /* _PRT, inside the host bridge's */
void acpi_build_pirq_links(uint8_t sci_irq, GByteArray *out); /* LNKA ..., inside \_SB */
void acpi_build_pci_slots(const AcpiPciHotplug *hotplug, GByteArray *out);         /* inside PCI0 */
void acpi_build_pci_hotplug_event(const AcpiPciHotplug *hotplug, GByteArray *out); /* at the root */

#endif
