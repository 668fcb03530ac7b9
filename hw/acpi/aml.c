/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A writer of ACPI Machine Language. */
#include "hw/acpi/aml.h"

#include <string.h>
#include "vmm/util/bytes.h"

enum {
    OP_ZERO = 0x00,
    OP_ONE = 0x01,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_DUAL_NAME = 0x2e,
    OP_MULTI_NAME = 0x2f,
    OP_EXTENDED = 0x5b,
    OP_LOCAL0 = 0x60,
    OP_ARG0 = 0x68,
    OP_IF = 0xa0,
    OP_ELSE = 0xa1,
    EXT_MUTEX = 0x01,
    EXT_ACQUIRE = 0x23,
    EXT_RELEASE = 0x27,
    EXT_REGION = 0x80,
    EXT_FIELD = 0x81,
    EXT_DEVICE = 0x82,
};

static void put_le(GByteArray *out, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    g_byte_array_append(out, bytes, size);
}

void aml_op(GByteArray *out, uint8_t op)
{
    g_byte_array_append(out, &op, 1);
}

/* Makes room for `size` bytes at `at`. */
static uint8_t *insert(GByteArray *out, gsize at, unsigned size)
{
    guint tail = out->len - (guint)at;
    g_byte_array_set_size(out, out->len + size);
    memmove(out->data + at + size, out->data + at, tail);
    return out->data + at;
}

/* PkgLength (20.2.4) counts itself. */
void aml_close(GByteArray *out, AmlMark mark)
{
    gsize body = out->len - mark;
    unsigned size = body + 1 < 0x40 ? 1 : body + 2 < 0x1000 ? 2 : body + 3 < 0x100000 ? 3 : 4;
    gsize len = body + size;
    uint8_t *p = insert(out, mark, size);
    if (size == 1) {
        p[0] = (uint8_t)len;
        return;
    }
    p[0] = (uint8_t)((size - 1) << 6 | (len & 0xf));
    for (unsigned i = 1; i < size; i++) {
        p[i] = (uint8_t)(len >> (8 * i - 4));
    }
}

static void put_segment(GByteArray *out, const char *name, size_t len)
{
    char segment[4] = { '_', '_', '_', '_' };
    g_assert(len >= 1 && len <= 4);
    memcpy(segment, name, len);
    g_byte_array_append(out, (const guint8 *)segment, 4);
}

void aml_path(GByteArray *out, const char *path)
{
    if (g_str_has_prefix(path, "Local") || g_str_has_prefix(path, "Arg")) {
        bool local = path[0] == 'L';
        aml_op(out, (uint8_t)((local ? OP_LOCAL0 : OP_ARG0) + (path[local ? 5 : 3] - '0')));
        return;
    }
    while (*path == '\\' || *path == '^') {
        aml_op(out, (uint8_t)*path++);
    }
    g_auto(GStrv) segments = g_strsplit(path, ".", -1);
    guint count = g_strv_length(segments);
    if (count == 0) {
        aml_op(out, OP_ZERO);
    } else if (count == 2) {
        aml_op(out, OP_DUAL_NAME);
    } else if (count > 2) {
        aml_op(out, OP_MULTI_NAME);
        aml_op(out, (uint8_t)count);
    }
    for (guint i = 0; i < count; i++) {
        put_segment(out, segments[i], strlen(segments[i]));
    }
}

void aml_integer(GByteArray *out, uint64_t value)
{
    if (value <= 1) {
        aml_op(out, value ? OP_ONE : OP_ZERO);
    } else if (value <= UINT8_MAX) {
        aml_op(out, OP_BYTE);
        put_le(out, value, 1);
    } else if (value <= UINT16_MAX) {
        aml_op(out, OP_WORD);
        put_le(out, value, 2);
    } else if (value <= UINT32_MAX) {
        aml_op(out, OP_DWORD);
        put_le(out, value, 4);
    } else {
        aml_op(out, OP_QWORD);
        put_le(out, value, 8);
    }
}

void aml_string(GByteArray *out, const char *text)
{
    aml_op(out, OP_STRING);
    g_byte_array_append(out, (const guint8 *)text, (guint)strlen(text) + 1);
}

/* Three letters of five bits and four hexadecimal digits, big-endian (6.1.5). */
void aml_eisa_id(GByteArray *out, const char *id)
{
    uint32_t value = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
                     (uint32_t)(id[2] - 0x40) << 16;
    for (unsigned i = 0; i < 4; i++) {
        value |= (uint32_t)g_ascii_xdigit_value(id[3 + i]) << (12 - 4 * i);
    }
    aml_op(out, OP_DWORD);
    put_le(out, GUINT32_SWAP_LE_BE(value), 4);
}

void aml_uuid(GByteArray *out, const char *uuid)
{
    /* Positions of the text's byte pairs in ToUUID's mixed-endian order (19.6.142). */
    static const uint8_t order[16] = { 6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34 };
    aml_op(out, OP_BUFFER);
    AmlMark mark = out->len;
    aml_integer(out, sizeof(order));
    for (size_t i = 0; i < sizeof(order); i++) {
        const char *pair = uuid + order[i];
        aml_op(out, (uint8_t)(g_ascii_xdigit_value(pair[0]) << 4 | g_ascii_xdigit_value(pair[1])));
    }
    aml_close(out, mark);
}

AmlMark aml_scope(GByteArray *out, const char *path)
{
    aml_op(out, OP_SCOPE);
    AmlMark mark = out->len;
    aml_path(out, path);
    return mark;
}

AmlMark aml_device(GByteArray *out, const char *name)
{
    aml_op(out, OP_EXTENDED);
    aml_op(out, EXT_DEVICE);
    AmlMark mark = out->len;
    aml_path(out, name);
    return mark;
}

AmlMark aml_method(GByteArray *out, const char *name, unsigned args, bool serialized)
{
    aml_op(out, OP_METHOD);
    AmlMark mark = out->len;
    aml_path(out, name);
    aml_op(out, (uint8_t)(args | (serialized ? 8 : 0)));
    return mark;
}

AmlMark aml_package(GByteArray *out, uint8_t elements)
{
    aml_op(out, OP_PACKAGE);
    AmlMark mark = out->len;
    aml_op(out, elements);
    return mark;
}

AmlMark aml_if(GByteArray *out)
{
    aml_op(out, OP_IF);
    return out->len;
}

AmlMark aml_else(GByteArray *out)
{
    aml_op(out, OP_ELSE);
    return out->len;
}

AmlMark aml_resources(GByteArray *out)
{
    aml_op(out, OP_BUFFER);
    return out->len;
}

void aml_close_resources(GByteArray *out, AmlMark mark)
{
    put_le(out, 0x0079, 2); /* end tag, checksum 0: not checked */
    GByteArray *size = g_byte_array_new();
    aml_integer(size, out->len - mark);
    memcpy(insert(out, mark, size->len), size->data, size->len);
    g_byte_array_unref(size);
    aml_close(out, mark);
}

void aml_name_integer(GByteArray *out, const char *name, uint64_t value)
{
    aml_op(out, AML_OP_NAME);
    aml_path(out, name);
    aml_integer(out, value);
}

void aml_name_string(GByteArray *out, const char *name, const char *text)
{
    aml_op(out, AML_OP_NAME);
    aml_path(out, name);
    aml_string(out, text);
}

void aml_name_eisa(GByteArray *out, const char *name, const char *id)
{
    aml_op(out, AML_OP_NAME);
    aml_path(out, name);
    aml_eisa_id(out, id);
}

void aml_operation_region(GByteArray *out, const char *name, uint8_t space, uint64_t addr,
                          uint64_t len)
{
    aml_op(out, OP_EXTENDED);
    aml_op(out, EXT_REGION);
    aml_path(out, name);
    aml_op(out, space);
    aml_integer(out, addr);
    aml_integer(out, len);
}

AmlMark aml_field_list(GByteArray *out, const char *region, uint8_t access)
{
    aml_op(out, OP_EXTENDED);
    aml_op(out, EXT_FIELD);
    AmlMark mark = out->len;
    aml_path(out, region);
    aml_op(out, access);
    return mark;
}

void aml_field_unit(GByteArray *out, const char *name, uint8_t bits)
{
    g_assert(bits < 0x40); /* its length has one byte */
    if (name) {
        put_segment(out, name, strlen(name));
    } else {
        aml_op(out, OP_ZERO);
    }
    aml_op(out, bits);
}

void aml_field(GByteArray *out, const char *region, uint8_t access, const char *field, uint8_t bits)
{
    AmlMark mark = aml_field_list(out, region, access);
    aml_field_unit(out, field, bits);
    aml_close(out, mark);
}

void aml_mutex(GByteArray *out, const char *name)
{
    aml_op(out, OP_EXTENDED);
    aml_op(out, EXT_MUTEX);
    aml_path(out, name);
    aml_op(out, 0); /* synchronization level */
}

void aml_acquire(GByteArray *out, const char *mutex)
{
    aml_op(out, OP_EXTENDED);
    aml_op(out, EXT_ACQUIRE);
    aml_path(out, mutex);
    put_le(out, UINT16_MAX, 2);
}

void aml_release(GByteArray *out, const char *mutex)
{
    aml_op(out, OP_EXTENDED);
    aml_op(out, EXT_RELEASE);
    aml_path(out, mutex);
}

void aml_create_dword_field(GByteArray *out, const char *buffer, unsigned offset, const char *name)
{
    aml_op(out, AML_OP_CREATE_DWORD_FIELD);
    aml_path(out, buffer);
    aml_integer(out, offset);
    aml_path(out, name);
}

/* ---- Resource descriptors ---- */

void aml_res_io(GByteArray *out, uint16_t base, uint8_t len)
{
    aml_op(out, 0x47); /* I/O port descriptor, 7 bytes */
    aml_op(out, 1);    /* decodes 16 bits */
    put_le(out, base, 2);
    put_le(out, base, 2);
    aml_op(out, 1); /* alignment */
    aml_op(out, len);
}

void aml_res_irq(GByteArray *out, uint8_t irq)
{
    aml_op(out, 0x22); /* IRQ descriptor, 2 bytes: edge, active high, exclusive */
    put_le(out, 1U << irq, 2);
}

void aml_res_dma(GByteArray *out, uint8_t channel)
{
    aml_op(out, 0x2a); /* DMA descriptor: compatible, no bus master, 8 bit */
    aml_op(out, (uint8_t)(1U << channel));
    aml_op(out, 0);
}

void aml_res_memory32_fixed(GByteArray *out, uint32_t base, uint32_t len, bool writable)
{
    aml_op(out, 0x86);
    put_le(out, 9, 2);
    aml_op(out, writable);
    put_le(out, base, 4);
    put_le(out, len, 4);
}

void aml_res_interrupt(GByteArray *out, uint32_t gsi, bool level)
{
    aml_op(out, 0x89); /* extended interrupt */
    put_le(out, 6, 2);
    aml_op(out, (uint8_t)(1 | (level ? 0 : 2))); /* consumer; edge bit; active high */
    aml_op(out, 1);
    put_le(out, gsi, 4);
}

void aml_res_shared_interrupts(GByteArray *out, const uint8_t *irqs, uint8_t count)
{
    aml_op(out, 0x89);
    put_le(out, 2 + 4 * count, 2);
    aml_op(out, 1 | 8); /* consumer, shared; level, active high */
    aml_op(out, count);
    for (unsigned i = 0; i < count; i++) {
        put_le(out, irqs[i], 4);
    }
}

/* Word, dword and qword address space descriptors (6.4.3.5): producer, minimum and maximum fixed.
 */
static void put_range(GByteArray *out, uint8_t tag, uint8_t type, uint8_t type_flags,
                      uint64_t first, uint64_t last, unsigned size)
{
    aml_op(out, tag);
    put_le(out, 3 + 5 * size, 2);
    aml_op(out, type);
    aml_op(out, 0x0c);
    aml_op(out, type_flags);
    put_le(out, 0, size); /* granularity */
    put_le(out, first, size);
    put_le(out, last, size);
    put_le(out, 0, size); /* translation */
    put_le(out, last - first + 1, size);
}

void aml_res_bus_range(GByteArray *out, uint16_t first, uint16_t last)
{
    put_range(out, 0x88, 2, 0, first, last, 2);
}

void aml_res_io_range(GByteArray *out, uint16_t first, uint16_t last)
{
    put_range(out, 0x88, 1, 3, first, last, 2); /* entire range */
}

void aml_res_memory32_range(GByteArray *out, uint32_t first, uint32_t last)
{
    put_range(out, 0x87, 0, 1, first, last, 4); /* read-write, not cacheable */
}

void aml_res_memory64_cached(GByteArray *out)
{
    put_range(out, 0x8a, 0, 3, 0, 0xfffffffffffffffeULL, 8); /* read-write, cacheable */
}

void aml_res_memory64_range(GByteArray *out, uint64_t first, uint64_t last)
{
    put_range(out, 0x8a, 0, 1, first, last, 8);
}
