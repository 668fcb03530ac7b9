/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AML: terms that methods are made of. */
#include "hw/acpi/aml.h"

#define OP_ZERO   0x00
#define OP_BUFFER 0x11
#define OP_ARG0   0x68
#define OP_INDEX  0x88
#define OP_WHILE  0xa2

AmlMark aml_while(GByteArray *out)
{
    aml_op(out, OP_WHILE);
    return out->len;
}

void aml_name_buffer(GByteArray *out, const char *name, const void *data, uint8_t len)
{
    aml_op(out, AML_OP_NAME);
    aml_path(out, name);
    aml_op(out, OP_BUFFER);
    AmlMark mark = out->len;
    aml_integer(out, len);
    g_byte_array_append(out, data, len);
    aml_close(out, mark);
}

void aml_store(GByteArray *out, const char *from, const char *to)
{
    aml_op(out, AML_OP_STORE);
    aml_path(out, from);
    aml_path(out, to);
}

void aml_store_integer(GByteArray *out, uint64_t value, const char *to)
{
    aml_op(out, AML_OP_STORE);
    aml_integer(out, value);
    aml_path(out, to);
}

void aml_equals_integer(GByteArray *out, const char *name, uint64_t value)
{
    aml_op(out, AML_OP_LEQUAL);
    aml_path(out, name);
    aml_integer(out, value);
}

void aml_compute(GByteArray *out, uint8_t op, const char *left, const char *right,
                 const char *result)
{
    aml_op(out, op);
    aml_path(out, left);
    aml_path(out, right);
    if (result) {
        aml_path(out, result);
    } else {
        aml_op(out, OP_ZERO);
    }
}

void aml_return(GByteArray *out, const char *name)
{
    aml_op(out, AML_OP_RETURN);
    aml_path(out, name);
}

void aml_index(GByteArray *out, const char *name, unsigned at)
{
    aml_op(out, OP_INDEX);
    aml_path(out, name);
    aml_integer(out, at);
    aml_op(out, OP_ZERO);
}

void aml_forward(GByteArray *out, const char *name, unsigned args, const char *target,
                 uint64_t argument, bool value)
{
    AmlMark method = aml_method(out, name, args, false);
    if (value) {
        aml_op(out, AML_OP_RETURN);
    }
    aml_path(out, target);
    aml_integer(out, argument);
    for (unsigned i = 0; i < args; i++) {
        aml_op(out, (uint8_t)(OP_ARG0 + i));
    }
    aml_close(out, method);
}
