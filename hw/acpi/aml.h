/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A writer of ACPI Machine Language (ACPI 6.4, chapter 20). Terms are appended in order; what has a
 * length is opened and closed: AmlMark dev = aml_device(out, "PCI0"); ... aml_close(out, dev);
 */
#ifndef HW_ACPI_AML_H
#define HW_ACPI_AML_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef gsize AmlMark; /* where the package length of an open term goes */

void aml_close(GByteArray *out, AmlMark mark);

AmlMark aml_scope(GByteArray *out, const char *path);
AmlMark aml_device(GByteArray *out, const char *name);
AmlMark aml_method(GByteArray *out, const char *name, unsigned args, bool serialized);
AmlMark aml_package(GByteArray *out, uint8_t elements);
AmlMark aml_if(GByteArray *out); /* then the predicate, then the terms */
AmlMark aml_else(GByteArray *out);
/* A buffer of descriptors that ends with the end tag when closed by aml_close_resources(). */
AmlMark aml_resources(GByteArray *out);
void aml_close_resources(GByteArray *out, AmlMark mark);

void aml_path(GByteArray *out, const char *path); /* "\\_SB.PCI0", "_HID", "Local0", "Arg1" */
void aml_integer(GByteArray *out, uint64_t value);
void aml_string(GByteArray *out, const char *text);
void aml_eisa_id(GByteArray *out, const char *id); /* "PNP0A03" */
void aml_uuid(GByteArray *out, const char *uuid);  /* a buffer in ToUUID's order */
void aml_op(GByteArray *out, uint8_t op);

void aml_name_integer(GByteArray *out, const char *name, uint64_t value);
void aml_name_string(GByteArray *out, const char *name, const char *text);
void aml_name_eisa(GByteArray *out, const char *name, const char *id);

/* OperationRegion(name, space, address, length) and Field(name, access, NoLock, Preserve) { first,
 * bits; ... } */
enum { AML_SYSTEM_MEMORY = 0, AML_SYSTEM_IO = 1, AML_PCI_CONFIG = 2 };
enum { AML_ACCESS_BYTE = 1, AML_ACCESS_DWORD = 3 };
void aml_operation_region(GByteArray *out, const char *name, uint8_t space, uint64_t addr,
                          uint64_t len);
void aml_field(GByteArray *out, const char *region, uint8_t access, const char *field,
               uint8_t bits);

/* A field of several units in the order of its bits: open, units (NULL: a gap), aml_close(). access
 * can have a rule for bits that are not written. */
enum { AML_WRITE_AS_ZEROS = 2 << 5 };
AmlMark aml_field_list(GByteArray *out, const char *region, uint8_t access);
void aml_field_unit(GByteArray *out, const char *name, uint8_t bits);

void aml_mutex(GByteArray *out, const char *name);
void aml_acquire(GByteArray *out, const char *mutex); /* waits for ever */
void aml_release(GByteArray *out, const char *mutex);
/* CreateDWordField(buffer, offset, name) */
void aml_create_dword_field(GByteArray *out, const char *buffer, unsigned offset, const char *name);

/* ---- aml_code.c ---- */
AmlMark aml_while(GByteArray *out); /* then the predicate, then the terms */
void aml_name_buffer(GByteArray *out, const char *name, const void *data, uint8_t len);
/* Store(what, where), and the comparison of a name with a number. */
void aml_store(GByteArray *out, const char *from, const char *to);
void aml_store_integer(GByteArray *out, uint64_t value, const char *to);
void aml_equals_integer(GByteArray *out, const char *name, uint64_t value);
/* Operator(left, right, result) of AML_OP_AND and its like; NULL: no result. */
void aml_compute(GByteArray *out, uint8_t op, const char *left, const char *right,
                 const char *result);
void aml_return(GByteArray *out, const char *name);
/* Index (name, at): an element of a package, as a target too. */
void aml_index(GByteArray *out, const char *name, unsigned at);
/* A method of one line: NAME(args) { TARGET(argument, Arg0, ... Arg(args - 1)) }, whose value it
 * returns where there is one. */
void aml_forward(GByteArray *out, const char *name, unsigned args, const char *target,
                 uint64_t argument, bool value);

/* Opcodes that the tables use by themselves. */
enum {
    AML_OP_NAME = 0x08,
    AML_OP_STORE = 0x70,
    AML_OP_ADD = 0x72,
    AML_OP_SUBTRACT = 0x74,
    AML_OP_SHIFT_LEFT = 0x79,
    AML_OP_AND = 0x7b,
    AML_OP_OR = 0x7d,
    AML_OP_NOTIFY = 0x86,
    AML_OP_CREATE_DWORD_FIELD = 0x8a,
    AML_OP_CREATE_QWORD_FIELD = 0x8f,
    AML_OP_LNOT = 0x92,
    AML_OP_LEQUAL = 0x93,
    AML_OP_LLESS = 0x95,
    AML_OP_RETURN = 0xa4,
};

/* ---- Resource descriptors (6.4), inside aml_resources() ---- */
void aml_res_io(GByteArray *out, uint16_t base, uint8_t len);
void aml_res_irq(GByteArray *out, uint8_t irq);
void aml_res_dma(GByteArray *out, uint8_t channel);
void aml_res_memory32_fixed(GByteArray *out, uint32_t base, uint32_t len, bool writable);
void aml_res_interrupt(GByteArray *out, uint32_t gsi, bool level);
/* Level-triggered and shared: one of these. */
void aml_res_shared_interrupts(GByteArray *out, const uint8_t *irqs, uint8_t count);
void aml_res_bus_range(GByteArray *out, uint16_t first, uint16_t last);
void aml_res_io_range(GByteArray *out, uint16_t first, uint16_t last);
void aml_res_memory32_range(GByteArray *out, uint32_t first, uint32_t last);
/* Cacheable memory whose numbers are filled in later. */
void aml_res_memory64_cached(GByteArray *out);
void aml_res_memory64_range(GByteArray *out, uint64_t first, uint64_t last);

#endif
