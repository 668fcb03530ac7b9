/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SSDT of the generation ID: \_SB.VGEN, whose ADDR() says where the GUID is, and its event. */
#include "hw/acpi/acpi.h"
#include "hw/acpi/aml.h"
#include "hw/acpi/vmgenid.h"
#include "vmm/util/bytes.h"

#define STATUS_HERE    0xf
#define NOTIFY_CHANGED 0x80
#define DWORD_PREFIX   0x0c

/* Name (VGIA, address): four bytes wherever the number is, which a linker fills in. */
static guint build_address(uint64_t page, GByteArray *out)
{
    uint8_t bytes[4];
    store_le32(bytes, (uint32_t)page);
    aml_op(out, AML_OP_NAME);
    aml_path(out, "VGIA");
    aml_op(out, DWORD_PREFIX);
    guint offset = out->len;
    g_byte_array_append(out, bytes, sizeof(bytes));
    return offset;
}

/* Not there until firmware has placed the page. */
static void build_status(GByteArray *out)
{
    AmlMark method = aml_method(out, "_STA", 0, false);
    aml_store_integer(out, STATUS_HERE, "Local0");
    AmlMark absent = aml_if(out);
    aml_equals_integer(out, "VGIA", 0);
    aml_store_integer(out, 0, "Local0");
    aml_close(out, absent);
    aml_return(out, "Local0");
    aml_close(out, method);
}

/* The low half of the address, then the high one. */
static void build_addr(GByteArray *out)
{
    AmlMark method = aml_method(out, "ADDR", 0, false);
    aml_op(out, AML_OP_STORE);
    AmlMark halves = aml_package(out, 2);
    aml_close(out, halves);
    aml_path(out, "Local0");
    aml_op(out, AML_OP_ADD);
    aml_path(out, "VGIA");
    aml_integer(out, VMGENID_OFFSET);
    aml_index(out, "Local0", 0);
    aml_op(out, AML_OP_STORE);
    aml_integer(out, 0);
    aml_index(out, "Local0", 1);
    aml_return(out, "Local0");
    aml_close(out, method);
}

guint acpi_build_vmgenid_ssdt(const AcpiConfig *config, GByteArray *out)
{
    guint offset = build_address(config->vmgenid->address, out);
    AmlMark scope = aml_scope(out, "\\_SB");
    AmlMark dev = aml_device(out, "VGEN");
    aml_name_string(out, "_HID", "QEMUVGID");
    aml_name_string(out, "_CID", "VM_Gen_Counter");
    aml_name_string(out, "_DDN", "VM_Gen_Counter");
    build_status(out);
    build_addr(out);
    aml_close(out, dev);
    aml_close(out, scope);
    g_autofree char *event = g_strdup_printf("\\_GPE._E%02X", VMGENID_GPE);
    AmlMark method = aml_method(out, event, 0, false);
    aml_op(out, AML_OP_NOTIFY);
    aml_path(out, "\\_SB.VGEN");
    aml_integer(out, NOTIFY_CHANGED);
    aml_close(out, method);
    return offset;
}
