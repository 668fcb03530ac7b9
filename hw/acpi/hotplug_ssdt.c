/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SSDTs of hotplug: vCPUs with their places (\_SB.CPUS) and memory slots (\_SB.MHPC), which the
 * guest's system asks and empties through the registers of cpu_hotplug.c and memory_hotplug.c
 * (ACPI 6.4, 6.3, 8.4, 9.11).
 */
#include "hw/acpi/acpi.h"
#include "hw/acpi/aml.h"
#include "hw/acpi/cpu_hotplug.h"
#include "hw/acpi/memory_hotplug.h"
#include "vmm/machine/apic_id.h"
#include "vmm/machine/numa.h"

#define STATUS_HERE  0xf /* present, enabled, shown, working */
#define NOTIFY_CHECK 1
#define NOTIFY_EJECT 3
#define GPE_SCOPE    "\\_GPE"

/* \_GPE._Exx: what the event's bit runs. */
static void build_event(const char *name, const char *scan, GByteArray *out)
{
    AmlMark scope = aml_scope(out, GPE_SCOPE);
    AmlMark method = aml_method(out, name, 0, false);
    aml_path(out, scan);
    aml_close(out, method);
    aml_close(out, scope);
}

/* NAME(slot, what): Notify of the slot's device. */
static void build_notify(const char *name, const char *prefix, unsigned count, GByteArray *out)
{
    AmlMark method = aml_method(out, name, 2, false);
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *device = g_strdup_printf("%s%0*X", prefix, 4 - (int)strlen(prefix), i);
        AmlMark this = aml_if(out);
        aml_equals_integer(out, "Arg0", i);
        aml_op(out, AML_OP_NOTIFY);
        aml_path(out, device);
        aml_path(out, "Arg1");
        aml_close(out, this);
    }
    aml_close(out, method);
}

/* NAME(slot): selects it and, under the mutex, stores 1 in a bit. */
static void build_eject(const char *name, const char *mutex, const char *selector, const char *bit,
                        GByteArray *out)
{
    AmlMark method = aml_method(out, name, 2, true); /* slot, _EJ0's argument */
    aml_acquire(out, mutex);
    aml_store(out, "Arg0", selector);
    aml_store_integer(out, 1, bit);
    aml_release(out, mutex);
    aml_close(out, method);
}

/* NAME(slot): _STA. */
static void build_status(const char *name, const char *mutex, const char *selector, const char *bit,
                         GByteArray *out)
{
    AmlMark method = aml_method(out, name, 1, true);
    aml_acquire(out, mutex);
    aml_store(out, "Arg0", selector);
    aml_store_integer(out, 0, "Local0");
    AmlMark here = aml_if(out);
    aml_equals_integer(out, bit, 1);
    aml_store_integer(out, STATUS_HERE, "Local0");
    aml_close(out, here);
    aml_release(out, mutex);
    aml_return(out, "Local0");
    aml_close(out, method);
}

/* If (bit) { notify(slot, what), clear the bit }; more: Local0 says to go on looking. */
static void build_pending(const char *bit, const char *notify, const char *slot, unsigned what,
                          bool more, GByteArray *out)
{
    AmlMark pending = aml_if(out);
    aml_equals_integer(out, bit, 1);
    aml_path(out, notify);
    aml_path(out, slot);
    aml_integer(out, what);
    aml_store_integer(out, 1, bit);
    if (more) {
        aml_store_integer(out, 1, "Local0");
    }
    aml_close(out, pending);
}

/* ---- CPUs ---- */

static void build_cpu_registers(uint16_t port, GByteArray *out)
{
    aml_operation_region(out, "PRST", AML_SYSTEM_IO, port, CPU_HOTPLUG_LEN);
    AmlMark bytes = aml_field_list(out, "PRST", AML_ACCESS_BYTE | AML_WRITE_AS_ZEROS);
    aml_field_unit(out, NULL, 32);
    aml_field_unit(out, "CPEN", 1);
    aml_field_unit(out, "CINS", 1);
    aml_field_unit(out, "CRMV", 1);
    aml_field_unit(out, "CEJB", 1);
    aml_field_unit(out, NULL, 4);
    aml_field_unit(out, "CCMD", 8);
    aml_close(out, bytes);
    AmlMark words = aml_field_list(out, "PRST", AML_ACCESS_DWORD);
    aml_field_unit(out, "CSEL", 32);
    aml_field_unit(out, NULL, 32);
    aml_field_unit(out, "CDAT", 32);
    aml_close(out, words);
    aml_mutex(out, "CPLK");
}

/* Command 0 selects the next CPU with an event, until there is none. */
static void build_cpu_scan(GByteArray *out)
{
    AmlMark method = aml_method(out, "CSCN", 0, true);
    aml_acquire(out, "CPLK");
    aml_store_integer(out, 1, "Local0");
    AmlMark loop = aml_while(out);
    aml_equals_integer(out, "Local0", 1);
    aml_store_integer(out, 0, "Local0");
    aml_store_integer(out, 0, "CCMD");
    build_pending("CINS", "CTFY", "CDAT", NOTIFY_CHECK, true, out);
    build_pending("CRMV", "CTFY", "CDAT", NOTIFY_EJECT, true, out);
    aml_close(out, loop);
    aml_release(out, "CPLK");
    aml_close(out, method);
}

static void build_cpu_ost(GByteArray *out)
{
    AmlMark method = aml_method(out, "COST", 4, true); /* CPU, event, status, information */
    aml_acquire(out, "CPLK");
    aml_store(out, "Arg0", "CSEL");
    aml_store_integer(out, 1, "CCMD");
    aml_store(out, "Arg1", "CDAT");
    aml_store_integer(out, 2, "CCMD");
    aml_store(out, "Arg2", "CDAT");
    aml_release(out, "CPLK");
    aml_close(out, method);
}

static void build_cpu(const AcpiConfig *config, unsigned index, GByteArray *out)
{
    g_autofree char *name = g_strdup_printf("C%03X", index);
    g_autoptr(GByteArray) entry = g_byte_array_new();
    AmlMark dev = aml_device(out, name);
    aml_name_string(out, "_HID", "ACPI0007");
    aml_name_integer(out, "_UID", index);
    aml_forward(out, "_STA", 0, "CSTA", index, true);
    acpi_put_madt_cpu(entry, index, smp_apic_id(config->smp, index), true);
    aml_name_buffer(out, "_MAT", entry->data, (uint8_t)entry->len);
    if (index > 0) { /* the first never goes */
        aml_forward(out, "_EJ0", 1, "CEJ0", index, false);
    }
    aml_forward(out, "_OST", 3, "COST", index, false);
    if (config->numa) {
        aml_name_integer(out, "_PXM", (uint64_t)config->numa->cpu_node[index]);
    }
    aml_close(out, dev);
}

void acpi_build_cpu_ssdt(const AcpiConfig *config, GByteArray *out)
{
    AmlMark scope = aml_scope(out, "\\_SB");
    AmlMark bus = aml_device(out, "CPUS");
    aml_name_string(out, "_HID", "ACPI0010");
    aml_name_eisa(out, "_CID", "PNP0A05");
    build_cpu_registers(config->cpu_hotplug_port, out);
    build_notify("CTFY", "C", config->smp->maxcpus, out);
    build_status("CSTA", "CPLK", "CSEL", "CPEN", out);
    build_eject("CEJ0", "CPLK", "CSEL", "CEJB", out);
    build_cpu_scan(out);
    build_cpu_ost(out);
    for (unsigned i = 0; i < config->smp->maxcpus; i++) {
        build_cpu(config, i, out);
    }
    aml_close(out, bus);
    aml_close(out, scope);
    build_event("_E02", "\\_SB.CPUS.CSCN", out);
}

/* ---- Memory ---- */

static void build_memory_registers(uint16_t port, GByteArray *out)
{
    aml_operation_region(out, "HPMR", AML_SYSTEM_IO, port, MEMORY_HOTPLUG_LEN);
    AmlMark words = aml_field_list(out, "HPMR", AML_ACCESS_DWORD);
    aml_field_unit(out, "MRBL", 32); /* read: address */
    aml_field_unit(out, "MRBH", 32);
    aml_field_unit(out, "MRLL", 32); /* read: size */
    aml_field_unit(out, "MRLH", 32);
    aml_field_unit(out, "MPX", 32);
    aml_close(out, words);
    AmlMark written = aml_field_list(out, "HPMR", AML_ACCESS_DWORD);
    aml_field_unit(out, "MSEL", 32);
    aml_field_unit(out, "MOEV", 32);
    aml_field_unit(out, "MOSC", 32);
    aml_close(out, written);
    AmlMark bytes = aml_field_list(out, "HPMR", AML_ACCESS_BYTE | AML_WRITE_AS_ZEROS);
    for (unsigned i = 0; i < 5; i++) {
        aml_field_unit(out, NULL, 32);
    }
    aml_field_unit(out, "MES", 1);
    aml_field_unit(out, "MINS", 1);
    aml_field_unit(out, "MRMV", 1);
    aml_field_unit(out, "MEJ", 1);
    aml_close(out, bytes);
    aml_mutex(out, "MLCK");
}

/* Each slot in turn. */
static void build_memory_scan(unsigned slots, GByteArray *out)
{
    AmlMark method = aml_method(out, "MSCN", 0, true);
    aml_acquire(out, "MLCK");
    aml_store_integer(out, 0, "Local1");
    AmlMark loop = aml_while(out);
    aml_op(out, AML_OP_LLESS);
    aml_path(out, "Local1");
    aml_integer(out, slots);
    aml_store(out, "Local1", "MSEL");
    build_pending("MINS", "MTFY", "Local1", NOTIFY_CHECK, false, out);
    build_pending("MRMV", "MTFY", "Local1", NOTIFY_EJECT, false, out);
    aml_op(out, AML_OP_ADD);
    aml_path(out, "Local1");
    aml_integer(out, 1);
    aml_path(out, "Local1");
    aml_close(out, loop);
    aml_release(out, "MLCK");
    aml_close(out, method);
}

static void qword_field(GByteArray *out, unsigned offset, const char *name)
{
    aml_op(out, AML_OP_CREATE_QWORD_FIELD);
    aml_path(out, "MR64");
    aml_integer(out, offset);
    aml_path(out, name);
}

/* high << 32 | low, under the mutex. */
static void build_join(const char *low, const char *high, const char *result, GByteArray *out)
{
    aml_op(out, AML_OP_SHIFT_LEFT);
    aml_path(out, high);
    aml_integer(out, 32);
    aml_path(out, result);
    aml_compute(out, AML_OP_OR, result, low, result);
}

/* MCRS(slot): a 64-bit memory range with the slot's numbers (6.4.3.5.1: minimum at 14, maximum at
 * 22, length at 38). */
static void build_memory_resources(GByteArray *out)
{
    AmlMark method = aml_method(out, "MCRS", 1, true);
    aml_acquire(out, "MLCK");
    aml_store(out, "Arg0", "MSEL");
    aml_op(out, AML_OP_NAME);
    aml_path(out, "MR64");
    AmlMark range = aml_resources(out);
    aml_res_memory64_cached(out);
    aml_close_resources(out, range);
    qword_field(out, 14, "MINA");
    qword_field(out, 22, "MAXA");
    qword_field(out, 38, "LENA");
    build_join("MRBL", "MRBH", "Local0", out);
    build_join("MRLL", "MRLH", "Local1", out);
    aml_store(out, "Local0", "MINA");
    aml_store(out, "Local1", "LENA");
    aml_compute(out, AML_OP_ADD, "Local0", "Local1", "Local2");
    aml_op(out, AML_OP_SUBTRACT);
    aml_path(out, "Local2");
    aml_integer(out, 1);
    aml_path(out, "MAXA");
    aml_release(out, "MLCK");
    aml_return(out, "MR64");
    aml_close(out, method);
}

static void build_memory_ost(GByteArray *out)
{
    AmlMark method = aml_method(out, "MOST", 4, true); /* slot, event, status, information */
    aml_acquire(out, "MLCK");
    aml_store(out, "Arg0", "MSEL");
    aml_store(out, "Arg1", "MOEV");
    aml_store(out, "Arg2", "MOSC");
    aml_release(out, "MLCK");
    aml_close(out, method);
}

static void build_memory_node(GByteArray *out)
{
    AmlMark method = aml_method(out, "MPXM", 1, true);
    aml_acquire(out, "MLCK");
    aml_store(out, "Arg0", "MSEL");
    aml_store(out, "MPX", "Local0");
    aml_release(out, "MLCK");
    aml_return(out, "Local0");
    aml_close(out, method);
}

static void build_dimm(const AcpiConfig *config, unsigned slot, GByteArray *out)
{
    g_autofree char *name = g_strdup_printf("MP%02X", slot);
    AmlMark dev = aml_device(out, name);
    aml_name_eisa(out, "_HID", "PNP0C80");
    aml_name_integer(out, "_UID", slot);
    aml_forward(out, "_CRS", 0, "MCRS", slot, true);
    aml_forward(out, "_STA", 0, "MSTA", slot, true);
    if (config->numa) {
        aml_forward(out, "_PXM", 0, "MPXM", slot, true);
    }
    aml_forward(out, "_OST", 3, "MOST", slot, false);
    aml_forward(out, "_EJ0", 1, "MEJ0", slot, false);
    aml_close(out, dev);
}

void acpi_build_memory_ssdt(const AcpiConfig *config, GByteArray *out)
{
    AmlMark scope = aml_scope(out, "\\_SB");
    AmlMark bus = aml_device(out, "MHPC");
    aml_name_eisa(out, "_HID", "PNP0A06");
    aml_name_string(out, "_UID", "Memory hotplug");
    build_memory_registers(config->memory_hotplug_port, out);
    build_notify("MTFY", "MP", config->memory_slots, out);
    build_status("MSTA", "MLCK", "MSEL", "MES", out);
    build_eject("MEJ0", "MLCK", "MSEL", "MEJ", out);
    build_memory_scan(config->memory_slots, out);
    build_memory_resources(out);
    build_memory_ost(out);
    build_memory_node(out);
    for (unsigned i = 0; i < config->memory_slots; i++) {
        build_dimm(config, i, out);
    }
    aml_close(out, bus);
    aml_close(out, scope);
    build_event("_E03", "\\_SB.MHPC.MSCN", out);
}
