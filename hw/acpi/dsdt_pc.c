/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DSDT's parts for the i440FX machine: interrupt link devices behind PIIX3's PIRQ registers,
 * and the slots whose devices come and go by ACPI. */
#include "hw/acpi/acpi.h"
#include "hw/acpi/aml.h"
#include "hw/acpi/pcihp.h"

#define PIRQ_COUNT     4
#define PIRQ_REGISTERS 0x60 /* PIRQRC[A:D] in the ISA bridge's configuration space */
#define PIRQ_DISABLED  0x80
#define STA_DISABLED   0x09
#define STA_ENABLED    0x0b
#define ROOT_SLOTS     32
#define PM_SLOT        1

/* ---- Interrupt links (6.2.13): INTx pins to PIRQs, PIRQs to ISA interrupts ---- */

void acpi_build_pirq_registers(GByteArray *out)
{
    aml_operation_region(out, "P40C", AML_PCI_CONFIG, PIRQ_REGISTERS, PIRQ_COUNT);
}

static void put_route(unsigned slot, unsigned pin, const char *link, GByteArray *out)
{
    AmlMark entry = aml_package(out, 4);
    aml_integer(out, (uint64_t)slot << 16 | 0xffff);
    aml_integer(out, pin);
    aml_path(out, link);
    aml_integer(out, 0);
    aml_close(out, entry);
}

/* The power management function's INTA is the SCI. */
void acpi_build_pirq_routing(GByteArray *out)
{
    static const char *const links[PIRQ_COUNT] = { "LNKA", "LNKB", "LNKC", "LNKD" };
    AmlMark method = aml_method(out, "_PRT", 0, false);
    aml_op(out, AML_OP_RETURN);
    AmlMark table = aml_package(out, ROOT_SLOTS * PIRQ_COUNT);
    for (unsigned slot = 0; slot < ROOT_SLOTS; slot++) {
        for (unsigned pin = 0; pin < PIRQ_COUNT; pin++) {
            bool sci = slot == PM_SLOT && pin == 0;
            put_route(slot, pin, sci ? "LNKS" : links[(slot + pin - 1) % PIRQ_COUNT], out);
        }
    }
    aml_close(out, table);
    aml_close(out, method);
}

static void build_link_methods(GByteArray *out)
{
    static const uint8_t none[] = { 0 };
    AmlMark status = aml_method(out, "IQST", 1, false);
    AmlMark off = aml_if(out);
    aml_op(out, AML_OP_AND);
    aml_path(out, "Arg0");
    aml_integer(out, PIRQ_DISABLED);
    aml_op(out, 0); /* no target */
    aml_op(out, AML_OP_RETURN);
    aml_integer(out, STA_DISABLED);
    aml_close(out, off);
    aml_op(out, AML_OP_RETURN);
    aml_integer(out, STA_ENABLED);
    aml_close(out, status);

    AmlMark current = aml_method(out, "IQCR", 1, true);
    aml_op(out, AML_OP_NAME);
    aml_path(out, "PRR0");
    AmlMark crs = aml_resources(out);
    aml_res_shared_interrupts(out, none, 1);
    aml_close_resources(out, crs);
    aml_create_dword_field(out, "PRR0", 5, "PRRI");
    AmlMark on = aml_if(out);
    aml_op(out, AML_OP_LLESS);
    aml_path(out, "Arg0");
    aml_integer(out, PIRQ_DISABLED);
    aml_op(out, AML_OP_STORE);
    aml_path(out, "Arg0");
    aml_path(out, "PRRI");
    aml_close(out, on);
    aml_op(out, AML_OP_RETURN);
    aml_path(out, "PRR0");
    aml_close(out, current);
}

static void build_possible(const uint8_t *irqs, uint8_t count, const char *name, GByteArray *out)
{
    aml_op(out, AML_OP_NAME);
    aml_path(out, name);
    AmlMark prs = aml_resources(out);
    aml_res_shared_interrupts(out, irqs, count);
    aml_close_resources(out, prs);
}

/* Method(name) { Return(helper(field)) } */
static void build_asking(const char *name, const char *helper, const char *field, GByteArray *out)
{
    AmlMark method = aml_method(out, name, 0, false);
    aml_op(out, AML_OP_RETURN);
    aml_path(out, helper);
    aml_path(out, field);
    aml_close(out, method);
}

static void build_link(unsigned index, GByteArray *out)
{
    static const uint8_t possible[] = { 5, 10, 11 };
    char name[] = "LNKA", field[] = "PRQ0";
    name[3] += index;
    field[3] += index;
    AmlMark dev = aml_device(out, name);
    aml_name_eisa(out, "_HID", "PNP0C0F");
    aml_name_integer(out, "_UID", index);
    build_possible(possible, sizeof(possible), "_PRS", out);
    build_asking("_STA", "IQST", field, out);
    build_asking("_CRS", "IQCR", field, out);
    AmlMark disable = aml_method(out, "_DIS", 0, false);
    aml_op(out, AML_OP_OR);
    aml_path(out, field);
    aml_integer(out, PIRQ_DISABLED);
    aml_path(out, field);
    aml_close(out, disable);
    AmlMark set = aml_method(out, "_SRS", 1, true);
    aml_create_dword_field(out, "Arg0", 5, "PRRI");
    aml_op(out, AML_OP_STORE);
    aml_path(out, "PRRI");
    aml_path(out, field);
    aml_close(out, set);
    aml_close(out, dev);
}

/* The SCI's link cannot be changed. */
static void build_sci_link(uint8_t irq, GByteArray *out)
{
    AmlMark dev = aml_device(out, "LNKS");
    aml_name_eisa(out, "_HID", "PNP0C0F");
    aml_name_integer(out, "_UID", PIRQ_COUNT);
    aml_name_integer(out, "_STA", STA_ENABLED);
    build_possible(&irq, 1, "_PRS", out);
    build_possible(&irq, 1, "_CRS", out);
    aml_close(out, aml_method(out, "_DIS", 0, false));
    aml_close(out, aml_method(out, "_SRS", 1, false));
    aml_close(out, dev);
}

void acpi_build_pirq_links(uint8_t sci_irq, GByteArray *out)
{
    AmlMark fields = aml_field_list(out, "PCI0.ISA.P40C", AML_ACCESS_BYTE);
    for (unsigned i = 0; i < PIRQ_COUNT; i++) {
        char field[] = "PRQ0";
        field[3] += i;
        aml_field_unit(out, field, 8);
    }
    aml_close(out, fields);
    build_link_methods(out);
    for (unsigned i = 0; i < PIRQ_COUNT; i++) {
        build_link(i, out);
    }
    build_sci_link(sci_irq, out);
}

/* ---- Slots ---- */

/* Another part of the window as a region, and its double words as fields. */
static void build_window(const char *region, uint16_t port, const char *first, const char *second,
                         GByteArray *out)
{
    aml_operation_region(out, region, AML_SYSTEM_IO, port, second ? 8 : 4);
    AmlMark fields = aml_field_list(out, region, AML_ACCESS_DWORD);
    aml_field_unit(out, first, 32);
    if (second) {
        aml_field_unit(out, second, 32);
    }
    aml_close(out, fields);
}

static void build_hotplug_claim(uint16_t port, GByteArray *out)
{
    AmlMark dev = aml_device(out, "PHPR");
    aml_name_eisa(out, "_HID", "PNP0A06");
    aml_name_string(out, "_UID", "PCI Hotplug resources");
    aml_name_integer(out, "_STA", STA_ENABLED);
    aml_op(out, AML_OP_NAME);
    aml_path(out, "_CRS");
    AmlMark crs = aml_resources(out);
    aml_res_io(out, port, ACPI_PCIHP_SIZE);
    aml_close_resources(out, crs);
    aml_close(out, dev);
}

/* PCEJ(bus, slot): ejects what is in the slot. */
static void build_eject(GByteArray *out)
{
    AmlMark method = aml_method(out, "PCEJ", 2, true);
    aml_acquire(out, "BLCK");
    aml_op(out, AML_OP_STORE);
    aml_path(out, "Arg0");
    aml_path(out, "BNUM");
    aml_op(out, AML_OP_SHIFT_LEFT);
    aml_integer(out, 1);
    aml_path(out, "Arg1");
    aml_path(out, "B0EJ");
    aml_release(out, "BLCK");
    aml_close(out, method);
}

static void build_slot(unsigned slot, GByteArray *out)
{
    char name[8];
    g_snprintf(name, sizeof(name), "S%02X", slot << 3);
    AmlMark dev = aml_device(out, name);
    aml_name_integer(out, "_ADR", (uint64_t)slot << 16);
    aml_name_integer(out, "_SUN", slot);
    AmlMark eject = aml_method(out, "_EJ0", 1, false);
    aml_path(out, "PCEJ");
    aml_path(out, "BSEL");
    aml_path(out, "_SUN");
    aml_close(out, eject);
    aml_close(out, dev);
}

/* DVNT(slots, event): tells the system what happened in each of the slots. */
static void build_notify(uint32_t slots, GByteArray *out)
{
    AmlMark method = aml_method(out, "DVNT", 2, false);
    for (unsigned slot = 0; slot < ROOT_SLOTS; slot++) {
        char name[8];
        if (!(slots & 1U << slot)) {
            continue;
        }
        g_snprintf(name, sizeof(name), "S%02X", slot << 3);
        AmlMark concerned = aml_if(out);
        aml_op(out, AML_OP_AND);
        aml_path(out, "Arg0");
        aml_integer(out, 1U << slot);
        aml_op(out, 0); /* no target */
        aml_op(out, AML_OP_NOTIFY);
        aml_path(out, name);
        aml_path(out, "Arg1");
        aml_close(out, concerned);
    }
    aml_close(out, method);
}

/* PCNT: device check for what came, eject request for what is to go. */
static void build_count(GByteArray *out)
{
    AmlMark method = aml_method(out, "PCNT", 0, false);
    aml_op(out, AML_OP_STORE);
    aml_path(out, "BSEL");
    aml_path(out, "BNUM");
    aml_path(out, "DVNT");
    aml_path(out, "PCIU");
    aml_integer(out, 1);
    aml_path(out, "DVNT");
    aml_path(out, "PCID");
    aml_integer(out, 3);
    aml_close(out, method);
}

void acpi_build_pci_slots(const AcpiPciHotplug *hotplug, GByteArray *out)
{
    build_hotplug_claim(hotplug->port, out);
    build_window("PCST", hotplug->port + ACPI_PCIHP_UP, "PCIU", "PCID", out);
    build_window("SEJ", hotplug->port + ACPI_PCIHP_EJECT, "B0EJ", NULL, out);
    build_window("BNMR", hotplug->port + ACPI_PCIHP_SELECT, "BNUM", NULL, out);
    aml_mutex(out, "BLCK");
    build_eject(out);
    aml_name_integer(out, "BSEL", 0);
    for (unsigned slot = 0; slot < ROOT_SLOTS; slot++) {
        if (hotplug->slots & 1U << slot) {
            build_slot(slot, out);
        }
    }
    build_notify(hotplug->slots, out);
    build_count(out);
}

void acpi_build_pci_hotplug_event(const AcpiPciHotplug *hotplug, GByteArray *out)
{
    char name[8];
    g_snprintf(name, sizeof(name), "_E%02X", hotplug->gpe);
    AmlMark scope = aml_scope(out, "\\_GPE");
    AmlMark method = aml_method(out, name, 0, true);
    aml_acquire(out, "\\_SB.PCI0.BLCK");
    aml_path(out, "\\_SB.PCI0.PCNT");
    aml_release(out, "\\_SB.PCI0.BLCK");
    aml_close(out, method);
    aml_close(out, scope);
}
