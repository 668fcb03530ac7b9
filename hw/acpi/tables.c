/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fixed ACPI tables: RSDP, XSDT, FADT, FACS, MADT, MCFG, WAET. */
#include "hw/acpi/acpi.h"

#include <string.h>
#include "hw/misc/hpet.h"
#include "vmm/machine/apic_id.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/numa.h"
#include "vmm/util/bytes.h"

#define OEM_ID       "VIREO "
#define OEM_TABLE_ID "VIREOPC "
#define CREATOR_ID   "VIRE"

#define RSDP_V1_SIZE   20
#define HEADER_SIZE    36
#define FADT_SIZE_6    276
#define FACS_SIZE      64
#define LAPIC_BASE     0xfee00000
#define MAX_XAPIC_ID   254
#define ALL_PROCESSORS 0xff

enum { TPM2_START_MMIO = 6, TPM2_START_CRB = 7 };

/* FADT flags (5.2.9). */
enum {
    FADT_WBINVD = 1 << 0,
    FADT_PROC_C1 = 1 << 2,
    FADT_PWR_BUTTON_CONTROL_METHOD = 1 << 4,
    FADT_SLP_BUTTON_NONE = 1 << 5,
    FADT_RTC_S4 = 1 << 7,
    FADT_RESET_REG = 1 << 10,
    FADT_APIC_PHYSICAL = 1 << 19,
    FADT_HW_REDUCED = 1 << 20,
};

/* IA-PC boot architecture flags (5.2.9.3). */
enum {
    BOOT_LEGACY_DEVICES = 1 << 0,
    BOOT_8042 = 1 << 1,
    BOOT_NO_VGA = 1 << 2,
    BOOT_NO_CMOS_RTC = 1 << 5,
};

typedef struct Builder {
    GByteArray *out;
    uint64_t base;
    GArray *listed;   /* uint64_t addresses for RSDT and XSDT */
    AcpiLinks *links; /* NULL: the block stays at base */
} Builder;

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    g_byte_array_append(out, bytes, size);
}

static void put_zeroes(GByteArray *out, unsigned count)
{
    guint len = out->len;
    g_byte_array_set_size(out, len + count);
    memset(out->data + len, 0, count);
}

static uint8_t checksum(const uint8_t *data, size_t len)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum = (uint8_t)(sum + data[i]);
    }
    return (uint8_t)-sum;
}

/* At `offset` is an address inside the block, or in a file, which a linker moves. */
static void note_pointer(Builder *b, guint offset, unsigned size, const char *file)
{
    if (b->links) {
        AcpiPointer pointer = { offset, size, file };
        g_array_append_val(b->links->pointers, pointer);
    }
}

static void note_address(Builder *b, guint offset, unsigned size)
{
    note_pointer(b, offset, size, NULL);
}

static void put_address(Builder *b, uint64_t addr, unsigned size)
{
    note_address(b, b->out->len, size);
    put(b->out, addr, size);
}

/* Sets the checksum at `offset` of [start, start + length), or leaves that to the linker. */
static void set_checksum(Builder *b, guint offset, guint start, guint length)
{
    b->out->data[offset] = 0;
    if (b->links) {
        AcpiChecksum sum = { offset, start, length };
        g_array_append_val(b->links->checksums, sum);
    } else {
        b->out->data[offset] = checksum(b->out->data + start, length);
    }
}

/* Starts a table at a 16-byte boundary, returns its offset. */
static guint table_begin(Builder *b, const char *signature, uint8_t revision, bool listed)
{
    put_zeroes(b->out, (16 - b->out->len % 16) % 16);
    guint start = b->out->len;
    if (listed) {
        uint64_t addr = b->base + start;
        g_array_append_val(b->listed, addr);
    }
    g_byte_array_append(b->out, (const guint8 *)signature, 4);
    put(b->out, 0, 4);
    put(b->out, revision, 1);
    put(b->out, 0, 1);
    g_byte_array_append(b->out, (const guint8 *)OEM_ID, 6);
    g_byte_array_append(b->out, (const guint8 *)OEM_TABLE_ID, 8);
    put(b->out, 1, 4);
    g_byte_array_append(b->out, (const guint8 *)CREATOR_ID, 4);
    put(b->out, 1, 4);
    return start;
}

static void table_end(Builder *b, guint start)
{
    store_le32(b->out->data + start + 4, b->out->len - start);
    set_checksum(b, start + 9, start, b->out->len - start);
}

/* Generic address structure (5.2.3.2). */
static void put_gas(GByteArray *out, uint8_t space, uint8_t bits, uint8_t access, uint64_t addr)
{
    put(out, space, 1);
    put(out, bits, 1);
    put(out, 0, 1);
    put(out, access, 1);
    put(out, addr, 8);
}

static void put_gas_io(GByteArray *out, uint16_t port, unsigned len, uint8_t access)
{
    if (port) {
        put_gas(out, 1, (uint8_t)(len * 8), access, port);
    } else {
        put_gas(out, 0, 0, 0, 0);
    }
}

/* ---- FADT ---- */

static uint32_t fadt_flags(const AcpiConfig *config)
{
    uint32_t flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON_NONE;
    if (config->ged) {
        flags |= FADT_HW_REDUCED | FADT_PWR_BUTTON_CONTROL_METHOD | FADT_RESET_REG;
    }
    if (config->reset_port) {
        flags |= FADT_RESET_REG;
    }
    if (config->smp->maxcpus > 8) {
        flags |= FADT_APIC_PHYSICAL;
    }
    return flags;
}

static uint16_t fadt_boot_flags(const AcpiConfig *config)
{
    uint16_t flags = BOOT_NO_VGA;
    flags |= config->pm ? BOOT_LEGACY_DEVICES : 0;
    flags |= config->has_i8042 ? BOOT_8042 : 0;
    flags |= config->has_rtc ? 0 : BOOT_NO_CMOS_RTC;
    return flags;
}

/* Bytes 36 to 108: the 32-bit register blocks. */
static void fadt_put_blocks(Builder *b, const AcpiConfig *config, uint64_t facs, uint64_t dsdt)
{
    GByteArray *out = b->out;
    static const AcpiPmBlock none;
    const AcpiPmBlock *pm = config->pm ? config->pm : &none;
    bool has = config->pm != NULL;
    if (config->ged) {
        put(out, 0, 4); /* hardware-reduced: no FACS */
    } else {
        put_address(b, facs, 4);
    }
    put_address(b, dsdt, 4);
    put(out, 1, 1); /* reserved, 1 for old systems */
    put(out, 0, 1); /* preferred profile: unspecified */
    put(out, pm->sci_irq, 2);
    put(out, pm->smi_command, 4);
    put(out, pm->acpi_enable, 1);
    put(out, pm->acpi_disable, 1);
    put(out, 0, 2); /* S4BIOS_REQ, PSTATE_CNT */
    put(out, pm->base, 4);
    put(out, 0, 4);
    put(out, has ? pm->base + 4 : 0, 4);
    put(out, 0, 4);
    put(out, 0, 4);
    put(out, has ? pm->base + 8 : 0, 4);
    put(out, pm->gpe_base, 4);
    put(out, 0, 4);
    put(out, has ? 4 : 0, 1);
    put(out, has ? 2 : 0, 1);
    put(out, 0, 1);
    put(out, has ? 4 : 0, 1);
    put(out, pm->gpe_len, 1);
    put(out, 0, 3);                          /* GPE1 length and base, CST_CNT */
    put(out, 0xfff, 2);                      /* C2 latency: not supported */
    put(out, 0xfff, 2);                      /* C3 latency: not supported */
    put(out, 0, 4);                          /* flush size and stride */
    put(out, 0, 2);                          /* duty offset and width */
    put(out, 0, 2);                          /* day and month alarm */
    put(out, config->has_rtc ? 0x32 : 0, 1); /* century byte of the CMOS */
    put(out, fadt_boot_flags(config), 2);
    put(out, 0, 1);
}

static void fadt_put_extended_blocks(const AcpiConfig *config, GByteArray *out)
{
    static const AcpiPmBlock none;
    const AcpiPmBlock *pm = config->pm ? config->pm : &none;
    uint16_t base = pm->base;
    put_gas_io(out, base, 4, 2);
    put_gas_io(out, 0, 0, 0);
    put_gas_io(out, base ? (uint16_t)(base + 4) : 0, 2, 2);
    put_gas_io(out, 0, 0, 0);
    put_gas_io(out, 0, 0, 0);
    put_gas_io(out, base ? (uint16_t)(base + 8) : 0, 4, 3);
    put_gas_io(out, pm->gpe_base, pm->gpe_len, 1);
    put_gas_io(out, 0, 0, 0);
    for (unsigned i = 0; i < 2; i++) { /* sleep control and status */
        if (config->ged) {
            put_gas(out, 0, 8, 1, config->ged->registers + i);
        } else {
            put_gas(out, 0, 0, 0, 0);
        }
    }
    put_zeroes(out, 8); /* hypervisor vendor identity */
}

static void build_fadt(Builder *b, const AcpiConfig *config, uint64_t facs, uint64_t dsdt)
{
    guint start = table_begin(b, "FACP", 6, true);
    fadt_put_blocks(b, config, facs, dsdt);
    put(b->out, fadt_flags(config), 4);
    if (config->ged) {
        put_gas(b->out, 0, 8, 1, config->ged->registers + 2);
        put(b->out, config->ged->reset_value, 1);
    } else {
        put_gas_io(b->out, config->reset_port, 1, 1);
        put(b->out, config->reset_value, 1);
    }
    put(b->out, 0, 2); /* ARM boot flags */
    put(b->out, 3, 1); /* minor version */
    put(b->out, 0, 8); /* X_FIRMWARE_CTRL: the 32-bit field is used */
    put_address(b, dsdt, 8);
    fadt_put_extended_blocks(config, b->out);
    g_assert(b->out->len - start == FADT_SIZE_6);
    table_end(b, start);
}

/* 64 bytes at a 64-byte boundary, no checksum (5.2.10). */
static uint64_t build_facs(Builder *b)
{
    while ((b->base + b->out->len) % FACS_SIZE) {
        put(b->out, 0, 1);
    }
    uint64_t addr = b->base + b->out->len;
    g_byte_array_append(b->out, (const guint8 *)"FACS", 4);
    put(b->out, FACS_SIZE, 4);
    put_zeroes(b->out, 24);
    put(b->out, 2, 1); /* version */
    put_zeroes(b->out, FACS_SIZE - 33);
    return addr;
}

/* ---- MADT ---- */

void acpi_put_madt_cpu(GByteArray *out, unsigned index, uint32_t apic_id, bool enabled)
{
    /* Flags: bit 0 enabled, bit 1 may come online. */
    uint32_t flags = enabled ? 1 : 2;
    if (apic_id <= MAX_XAPIC_ID) {
        put(out, 0, 1);
        put(out, 8, 1);
        put(out, index, 1);
        put(out, apic_id, 1);
        put(out, flags, 4);
    } else {
        put(out, 9, 1);
        put(out, 16, 1);
        put(out, 0, 2);
        put(out, apic_id, 4);
        put(out, flags, 4);
        put(out, index, 4);
    }
}

static void madt_put_override(GByteArray *out, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    put(out, 2, 1);
    put(out, 10, 1);
    put(out, 0, 1); /* ISA */
    put(out, irq, 1);
    put(out, gsi, 4);
    put(out, flags, 2);
}

static bool cpu_enabled(const AcpiConfig *config, unsigned index)
{
    return config->cpus ? config->cpus[index].present : index < config->smp->cpus;
}

static void build_madt(Builder *b, const AcpiConfig *config)
{
    GByteArray *out = b->out;
    guint start = table_begin(b, "APIC", 4, true);
    put(out, LAPIC_BASE, 4);
    put(out, config->has_pic ? 1 : 0, 4); /* PCAT_COMPAT */
    for (unsigned i = 0; i < config->smp->maxcpus; i++) {
        acpi_put_madt_cpu(out, i, smp_apic_id(config->smp, i), cpu_enabled(config, i));
    }
    put(out, 1, 1); /* I/O APIC */
    put(out, 12, 1);
    put(out, 0, 2);
    put(out, config->ioapic_base, 4);
    put(out, 0, 4);
    if (config->has_pic) {
        madt_put_override(out, 0, 2, 0);
    }
    for (uint8_t irq = 0; irq < 16; irq++) {
        if (config->level_isa_irqs & 1U << irq) {
            madt_put_override(out, irq, irq, 0xd); /* level, active high */
        }
    }
    put(out, 4, 1); /* local APIC NMI: LINT1 of all processors */
    put(out, 6, 1);
    put(out, ALL_PROCESSORS, 1);
    put(out, 0, 2);
    put(out, 1, 1);
    table_end(b, start);
}

static void build_mcfg(Builder *b, const AcpiPci *pci)
{
    guint start = table_begin(b, "MCFG", 1, true);
    put_zeroes(b->out, 8);
    put(b->out, pci->ecam_base, 8);
    put(b->out, 0, 2); /* segment */
    put(b->out, 0, 1);
    put(b->out, pci->last_bus, 1);
    put_zeroes(b->out, 4);
    table_end(b, start);
}

/* IA-PC HPET specification 1.0a, 3.2.4. */
static void build_hpet(Builder *b, uint32_t block_id)
{
    guint start = table_begin(b, "HPET", 1, true);
    put(b->out, block_id, 4);
    put_gas(b->out, 0, 64, 0, HPET_BASE);
    put(b->out, 0, 1); /* its number */
    put(b->out, HPET_MIN_TICK, 2);
    put(b->out, 0, 1); /* no page protection */
    table_end(b, start);
}

/* Windows ACPI Emulated devices Table: the PM timer needs to be read once only. */
static void build_waet(Builder *b)
{
    guint start = table_begin(b, "WAET", 1, true);
    put(b->out, 1 << 1, 4);
    table_end(b, start);
}

static void build_hotplug(Builder *b, const AcpiConfig *config)
{
    if (config->cpu_hotplug_port) {
        guint start = table_begin(b, "SSDT", 2, true);
        acpi_build_cpu_ssdt(config, b->out);
        table_end(b, start);
    }
    if (config->memory_hotplug_port) {
        guint start = table_begin(b, "SSDT", 2, true);
        acpi_build_memory_ssdt(config, b->out);
        table_end(b, start);
    }
}

static void build_vmgenid(Builder *b, const AcpiConfig *config)
{
    guint start = table_begin(b, "SSDT", 1, true);
    note_pointer(b, acpi_build_vmgenid_ssdt(config, b->out), 4, config->vmgenid->file);
    table_end(b, start);
}

/* TCG ACPI Specification, table 7. */
static void build_tpm2(Builder *b, const AcpiTpm *tpm)
{
    guint start = table_begin(b, "TPM2", 4, true);
    put(b->out, 0, 2); /* platform class: client */
    put(b->out, 0, 2);
    put(b->out, tpm->control, 8);
    put(b->out, tpm->control ? TPM2_START_CRB : TPM2_START_MMIO, 4);
    put_zeroes(b->out, 12); /* parameters of the start method */
    put(b->out, tpm->log_size, 4);
    note_pointer(b, b->out->len, 8, tpm->log.file);
    put(b->out, tpm->log.address, 8);
    table_end(b, start);
}

static void build_numa(Builder *b, const AcpiConfig *config)
{
    guint start = table_begin(b, "SRAT", 1, true);
    acpi_build_srat(config, b->out);
    table_end(b, start);
    if (config->numa->has_distances) {
        start = table_begin(b, "SLIT", 1, true);
        acpi_build_slit(config, b->out);
        table_end(b, start);
    }
    if (config->hmat) {
        start = table_begin(b, "HMAT", 2, true);
        acpi_build_hmat(config, b->out);
        table_end(b, start);
    }
}

/* The tables' addresses, of 4 bytes for systems of old or of 8. */
static uint64_t build_root(Builder *b, const char *signature, unsigned size)
{
    guint start = table_begin(b, signature, 1, false);
    for (guint i = 0; i < b->listed->len; i++) {
        put_address(b, g_array_index(b->listed, uint64_t, i), size);
    }
    table_end(b, start);
    return b->base + start;
}

static void build_rsdp(Builder *b, uint64_t rsdt, uint64_t xsdt)
{
    uint8_t *rsdp = b->out->data;
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, OEM_ID, 6);
    rsdp[15] = 2; /* revision */
    store_le32(rsdp + 16, (uint32_t)rsdt);
    store_le32(rsdp + 20, ACPI_RSDP_SIZE);
    store_le64(rsdp + 24, xsdt);
    note_address(b, 16, 4);
    note_address(b, 24, 8);
    set_checksum(b, 8, 0, RSDP_V1_SIZE);
    set_checksum(b, 32, 0, ACPI_RSDP_SIZE);
}

static GByteArray *build(const AcpiConfig *config, uint64_t base, AcpiLinks *links)
{
    Builder b = { g_byte_array_new(), base, g_array_new(FALSE, FALSE, sizeof(uint64_t)), links };
    put_zeroes(b.out, ACPI_TABLES_OFFSET);
    uint64_t facs = build_facs(&b);
    guint dsdt = table_begin(&b, "DSDT", 2, false);
    acpi_build_dsdt(config, b.out);
    table_end(&b, dsdt);
    build_fadt(&b, config, facs, base + dsdt);
    build_madt(&b, config);
    if (config->pci && config->pci->ecam_base) {
        build_mcfg(&b, config->pci);
    }
    if (config->hpet_id) {
        build_hpet(&b, config->hpet_id);
    }
    build_hotplug(&b, config);
    if (config->vmgenid) {
        build_vmgenid(&b, config);
    }
    if (config->tpm) {
        build_tpm2(&b, config->tpm);
    }
    if (config->numa) {
        build_numa(&b, config);
    }
    if (config->pm) {
        build_waet(&b);
    }
    uint64_t rsdt = build_root(&b, "RSDT", 4);
    build_rsdp(&b, rsdt, build_root(&b, "XSDT", 8));
    g_array_unref(b.listed);
    return b.out;
}

GByteArray *acpi_build(const AcpiConfig *config, uint64_t base)
{
    return build(config, base, NULL);
}

GByteArray *acpi_build_links(const AcpiConfig *config, AcpiLinks *links)
{
    *links = (AcpiLinks){ g_array_new(FALSE, FALSE, sizeof(AcpiPointer)),
                          g_array_new(FALSE, FALSE, sizeof(AcpiChecksum)) };
    return build(config, (uint64_t)-ACPI_TABLES_OFFSET, links);
}

void acpi_links_clear(AcpiLinks *links)
{
    g_array_unref(links->pointers);
    g_array_unref(links->checksums);
}
