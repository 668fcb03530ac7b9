/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DSDT: processors, PCI host bridge with its resources and interrupt routing, ISA and
 * virtio-mmio devices, sleep states. */
#include "hw/acpi/acpi.h"
#include "hw/acpi/aml.h"
#include "hw/misc/hpet.h"
#include "vmm/util/bytes.h"

#define PCI_HOST_OSC_UUID   "33db4d5b-1ff7-401c-9657-7441c03dd766" /* PCI Firmware 3.2, 4.5.1 */
#define OSC_STATUS_BAD_UUID 0x04
#define OSC_STATUS_BAD_REV  0x08
#define OSC_STATUS_MASKED   0x10
/* Native hotplug, PME, AER and the capability structure. */
#define OSC_GRANTED      0x1d
#define GED_POWER_BUTTON 0x02

static void build_processors(const AcpiConfig *config, GByteArray *out)
{
    AmlMark scope = aml_scope(out, "\\_SB");
    for (unsigned i = 0; i < config->smp->maxcpus; i++) {
        char name[8];
        g_snprintf(name, sizeof(name), "C%03X", i);
        AmlMark dev = aml_device(out, name);
        aml_name_string(out, "_HID", "ACPI0007");
        aml_name_integer(out, "_UID", i);
        aml_close(out, dev);
    }
    aml_close(out, scope);
}

/* ---- PCI host bridge ---- */

/* CDWn is a dword field of Arg3 at byte offset n * 4. */
static void osc_field(GByteArray *out, const char *name, unsigned offset)
{
    aml_create_dword_field(out, "Arg3", offset, name);
}

static void osc_set_status(GByteArray *out, unsigned bit)
{
    aml_op(out, AML_OP_OR);
    aml_path(out, "CDW1");
    aml_integer(out, bit);
    aml_path(out, "CDW1");
}

/* _OSC (6.2.11): grants what OSC_GRANTED has of what the system asks for. */
static void build_osc(GByteArray *out)
{
    AmlMark method = aml_method(out, "_OSC", 4, true);
    osc_field(out, "CDW1", 0);
    AmlMark known = aml_if(out);
    aml_op(out, AML_OP_LEQUAL);
    aml_path(out, "Arg0");
    aml_uuid(out, PCI_HOST_OSC_UUID);
    osc_field(out, "CDW3", 8);
    aml_op(out, AML_OP_AND);
    aml_path(out, "CDW3");
    aml_integer(out, OSC_GRANTED);
    aml_path(out, "Local0");
    AmlMark revision = aml_if(out);
    aml_op(out, AML_OP_LNOT);
    aml_op(out, AML_OP_LEQUAL);
    aml_path(out, "Arg1");
    aml_integer(out, 1);
    osc_set_status(out, OSC_STATUS_BAD_REV);
    aml_close(out, revision);
    AmlMark masked = aml_if(out);
    aml_op(out, AML_OP_LNOT);
    aml_op(out, AML_OP_LEQUAL);
    aml_path(out, "CDW3");
    aml_path(out, "Local0");
    osc_set_status(out, OSC_STATUS_MASKED);
    aml_close(out, masked);
    aml_op(out, AML_OP_STORE);
    aml_path(out, "Local0");
    aml_path(out, "CDW3");
    aml_close(out, known);
    AmlMark unknown = aml_else(out);
    osc_set_status(out, OSC_STATUS_BAD_UUID);
    aml_close(out, unknown);
    aml_op(out, AML_OP_RETURN);
    aml_path(out, "Arg3");
    aml_close(out, method);
}

#define PCI_ROOT_SLOTS 32
#define PCI_PINS       4

/* One routing table: a package for each slot and pin, its interrupt given directly (6.2.13). */
static void build_routing(const AcpiPci *pci, bool apic, const char *name, GByteArray *out)
{
    aml_op(out, AML_OP_NAME);
    aml_path(out, name);
    AmlMark table = aml_package(out, PCI_ROOT_SLOTS * PCI_PINS);
    for (unsigned slot = 0; slot < PCI_ROOT_SLOTS; slot++) {
        for (unsigned pin = 0; pin < PCI_PINS; pin++) {
            AmlMark entry = aml_package(out, 4);
            aml_integer(out, (uint64_t)slot << 16 | 0xffff);
            aml_integer(out, pin);
            aml_integer(out, 0);
            aml_integer(out, apic ? pci->gsi(slot, pin) : pci->isa_irq(slot, pin));
            aml_close(out, entry);
        }
    }
    aml_close(out, table);
}

/* _PRT picks the table by what the system said through \_PIC: 0 is the PICs. */
static void build_prt(const AcpiPci *pci, GByteArray *out)
{
    build_routing(pci, true, "PRTA", out);
    if (pci->isa_irq) {
        build_routing(pci, false, "PRTP", out);
    }
    AmlMark method = aml_method(out, "_PRT", 0, false);
    if (pci->isa_irq) {
        AmlMark pic = aml_if(out);
        aml_op(out, AML_OP_LEQUAL);
        aml_path(out, "\\PICF");
        aml_integer(out, 0);
        aml_op(out, AML_OP_RETURN);
        aml_path(out, "PRTP");
        aml_close(out, pic);
    }
    aml_op(out, AML_OP_RETURN);
    aml_path(out, "PRTA");
    aml_close(out, method);
}

static void build_pic_method(GByteArray *out)
{
    aml_name_integer(out, "PICF", 0);
    AmlMark method = aml_method(out, "_PIC", 1, false);
    aml_op(out, AML_OP_STORE);
    aml_path(out, "Arg0");
    aml_path(out, "PICF");
    aml_close(out, method);
}

#define PCI_CONFIG_PORT     0xcf8
#define PCI_CONFIG_PORT_LEN 8
#define VGA_WINDOW_FIRST    0xa0000
#define VGA_WINDOW_LAST     0xbffff

static void build_pci_resources(const AcpiPci *pci, GByteArray *out)
{
    aml_op(out, AML_OP_NAME);
    aml_path(out, "_CRS");
    AmlMark crs = aml_resources(out);
    aml_res_bus_range(out, 0, pci->last_bus);
    if (pci->io_last > pci->io_first) {
        aml_res_io(out, PCI_CONFIG_PORT, PCI_CONFIG_PORT_LEN);
        aml_res_io_range(out, 0, PCI_CONFIG_PORT - 1);
        aml_res_io_range(out, (uint16_t)pci->io_first, (uint16_t)pci->io_last);
        aml_res_memory32_range(out, VGA_WINDOW_FIRST, VGA_WINDOW_LAST);
    }
    aml_res_memory32_range(out, pci->mem32_first, pci->mem32_last);
    if (pci->mem64_first) {
        aml_res_memory64_range(out, pci->mem64_first, pci->mem64_last);
    }
    aml_close_resources(out, crs);
}

/* The ECAM is claimed by a motherboard resource, as PCI Firmware 3.2 (4.1.2) asks. */
static void build_ecam_claim(const AcpiPci *pci, GByteArray *out)
{
    AmlMark dev = aml_device(out, "DRAC");
    aml_name_eisa(out, "_HID", "PNP0C01");
    aml_op(out, AML_OP_NAME);
    aml_path(out, "_CRS");
    AmlMark crs = aml_resources(out);
    uint64_t size = ((uint64_t)pci->last_bus + 1) * MIB;
    if (pci->ecam_base <= UINT32_MAX) {
        aml_res_memory32_fixed(out, (uint32_t)pci->ecam_base, (uint32_t)size, false);
    } else {
        aml_res_memory64_range(out, pci->ecam_base, pci->ecam_base + size - 1);
    }
    aml_close_resources(out, crs);
    aml_close(out, dev);
}

/* ---- ISA devices ---- */

static void build_isa_device(const AcpiIsaDevice *isa, GByteArray *out)
{
    AmlMark dev = aml_device(out, isa->name);
    if (g_str_has_prefix(isa->hid, "PNP")) {
        aml_name_eisa(out, "_HID", isa->hid);
    } else {
        aml_name_string(out, "_HID", isa->hid);
    }
    aml_name_integer(out, "_UID", isa->uid);
    aml_name_integer(out, "_STA", 0xf);
    aml_op(out, AML_OP_NAME);
    aml_path(out, "_CRS");
    AmlMark crs = aml_resources(out);
    if (isa->io_len) {
        aml_res_io(out, isa->io, (uint8_t)isa->io_len);
    }
    if (isa->io2_len) {
        aml_res_io(out, isa->io2, (uint8_t)isa->io2_len);
    }
    if (isa->irq) {
        aml_res_irq(out, isa->irq);
    }
    if (isa->dma) {
        aml_res_dma(out, isa->dma);
    }
    aml_close_resources(out, crs);
    aml_close(out, dev);
}

/* The keyboard controller is one chip and two devices. */
static void build_i8042(GByteArray *out)
{
    static const AcpiIsaDevice devices[] = {
        { .name = "KBD",
          .hid = "PNP0303",
          .io = 0x60,
          .io_len = 1,
          .io2 = 0x64,
          .io2_len = 1,
          .irq = 1 },
        { .name = "MOU", .hid = "PNP0F13", .irq = 12 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
        build_isa_device(&devices[i], out);
    }
}

static void build_isa_devices(const AcpiConfig *config, GByteArray *out)
{
    if (config->has_i8042) {
        build_i8042(out);
    }
    for (unsigned i = 0; i < config->isa_device_count; i++) {
        build_isa_device(&config->isa_devices[i], out);
    }
}

static void build_pci_host(const AcpiConfig *config, GByteArray *out)
{
    const AcpiPci *pci = config->pci;
    if (!pci->piix_links) {
        build_pic_method(out);
    }
    AmlMark scope = aml_scope(out, "\\_SB");
    AmlMark host = aml_device(out, "PCI0");
    aml_name_eisa(out, "_HID", pci->express ? "PNP0A08" : "PNP0A03");
    if (pci->express) {
        aml_name_eisa(out, "_CID", "PNP0A03");
    }
    aml_name_integer(out, "_UID", 0);
    aml_name_integer(out, "_SEG", 0);
    aml_name_integer(out, "_BBN", 0);
    if (pci->express) {
        build_osc(out);
    }
    if (pci->piix_links) {
        acpi_build_pirq_routing(out);
    } else {
        build_prt(pci, out);
    }
    build_pci_resources(pci, out);
    if (pci->hotplug) {
        acpi_build_pci_slots(pci->hotplug, out);
    }
    if (config->isa_device_count || pci->piix_links) {
        AmlMark isa = aml_device(out, "ISA");
        aml_name_integer(out, "_ADR",
                         (uint64_t)(config->isa_devfn >> 3) << 16 | (config->isa_devfn & 7));
        if (pci->piix_links) {
            acpi_build_pirq_registers(out);
        }
        build_isa_devices(config, out);
        aml_close(out, isa);
    }
    aml_close(out, host);
    if (pci->piix_links) {
        acpi_build_pirq_links(config->pm->sci_irq, out);
    }
    if (pci->ecam_base) {
        build_ecam_claim(pci, out);
    }
    aml_close(out, scope);
}

static void build_hpet(GByteArray *out)
{
    AmlMark dev = aml_device(out, "HPET");
    aml_name_eisa(out, "_HID", "PNP0103");
    aml_name_integer(out, "_UID", 0);
    aml_op(out, AML_OP_NAME);
    aml_path(out, "_CRS");
    AmlMark crs = aml_resources(out);
    aml_res_memory32_fixed(out, HPET_BASE, HPET_SIZE, false);
    aml_close_resources(out, crs);
    aml_close(out, dev);
}

/* ---- Hardware-reduced machines ---- */

static void build_ged(const AcpiGed *ged, GByteArray *out)
{
    AmlMark button = aml_device(out, "PWRB");
    aml_name_eisa(out, "_HID", "PNP0C0C");
    aml_name_integer(out, "_UID", 0);
    aml_close(out, button);

    AmlMark dev = aml_device(out, "GED");
    aml_name_string(out, "_HID", "ACPI0013");
    aml_name_integer(out, "_UID", 0);
    aml_op(out, AML_OP_NAME);
    aml_path(out, "_CRS");
    AmlMark crs = aml_resources(out);
    aml_res_interrupt(out, ged->gsi, false);
    aml_close_resources(out, crs);
    aml_operation_region(out, "EREG", AML_SYSTEM_MEMORY, ged->base, 4);
    aml_field(out, "EREG", AML_ACCESS_DWORD, "ESEL", 32);
    AmlMark event = aml_method(out, "_EVT", 1, true);
    aml_op(out, AML_OP_STORE);
    aml_path(out, "ESEL");
    aml_path(out, "Local0");
    AmlMark pressed = aml_if(out);
    aml_op(out, AML_OP_AND);
    aml_path(out, "Local0");
    aml_integer(out, GED_POWER_BUTTON);
    aml_op(out, 0); /* no target */
    aml_op(out, AML_OP_NOTIFY);
    aml_path(out, "PWRB");
    aml_integer(out, 0x80); /* pressed */
    aml_close(out, pressed);
    aml_close(out, event);
    aml_close(out, dev);
}

static void build_virtio_mmio(const AcpiConfig *config, GByteArray *out)
{
    for (unsigned i = 0; i < config->virtio_mmio_count; i++) {
        const AcpiVirtioMmio *slot = &config->virtio_mmio[i];
        char name[8];
        g_snprintf(name, sizeof(name), "VR%02u", i);
        AmlMark dev = aml_device(out, name);
        aml_name_string(out, "_HID", "LNRO0005");
        aml_name_integer(out, "_UID", i);
        aml_name_integer(out, "_CCA", 1);
        aml_op(out, AML_OP_NAME);
        aml_path(out, "_CRS");
        AmlMark crs = aml_resources(out);
        aml_res_memory32_fixed(out, (uint32_t)slot->base, slot->size, true);
        aml_res_interrupt(out, slot->gsi, true);
        aml_close_resources(out, crs);
        aml_close(out, dev);
    }
}

static void build_sleep_state(const char *name, unsigned type, GByteArray *out)
{
    aml_op(out, AML_OP_NAME);
    aml_path(out, name);
    AmlMark package = aml_package(out, 4);
    aml_integer(out, type);
    aml_integer(out, type);
    aml_integer(out, 0);
    aml_integer(out, 0);
    aml_close(out, package);
}

/* No interrupt: IRQ 5, which the FIFO interface has, belongs to others too. */
static void build_tpm(const AcpiTpm *tpm, GByteArray *out)
{
    AmlMark dev = aml_device(out, "TPM");
    aml_name_string(out, "_HID", "MSFT0101");
    aml_name_buffer(out, "_STR", u"TPM 2.0 Device", sizeof(u"TPM 2.0 Device"));
    aml_name_integer(out, "_UID", 1);
    aml_name_integer(out, "_STA", 0xf);
    aml_op(out, AML_OP_NAME);
    aml_path(out, "_CRS");
    AmlMark crs = aml_resources(out);
    aml_res_memory32_fixed(out, tpm->base, tpm->size, true);
    aml_close_resources(out, crs);
    aml_close(out, dev);
}

/* Soft off: SLP_TYP 0 on a PC's chipset, 5 on the generic event device. */
static void build_sleep_states(const AcpiConfig *config, GByteArray *out)
{
    if (config->pm && config->pm->sleep.s3) {
        build_sleep_state("\\_S3", config->pm->sleep.s3_type, out);
    }
    if (config->pm && config->pm->sleep.s4) {
        build_sleep_state("\\_S4", config->pm->sleep.s4_type, out);
    }
    build_sleep_state("\\_S5", config->ged ? 5 : 0, out);
}

/* Devices on no bus. No scope without any: SeaBIOS' parser stumbles over an empty one and does not
 * read what follows. */
static void build_system_devices(const AcpiConfig *config, GByteArray *out)
{
    guint before = out->len;
    AmlMark scope = aml_scope(out, "\\_SB");
    guint empty = out->len;
    if (!config->pci) {
        build_isa_devices(config, out);
    }
    if (config->hpet_id) {
        build_hpet(out);
    }
    build_virtio_mmio(config, out);
    if (config->ged) {
        build_ged(config->ged, out);
    }
    if (config->tpm) {
        build_tpm(config->tpm, out);
    }
    if (out->len == empty) {
        g_byte_array_set_size(out, before);
    } else {
        aml_close(out, scope);
    }
}

void acpi_build_dsdt(const AcpiConfig *config, GByteArray *out)
{
    if (!config->cpu_hotplug_port) {
        build_processors(config, out);
    }
    if (config->pci) {
        build_pci_host(config, out);
    }
    if (config->pci && config->pci->hotplug) {
        acpi_build_pci_hotplug_event(config->pci->hotplug, out);
    }
    build_system_devices(config, out);
    build_sleep_states(config, out);
}
