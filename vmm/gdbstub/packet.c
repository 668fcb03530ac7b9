/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The packet layer of GDB's remote protocol. */
#include "vmm/gdbstub/packet.h"

#include <string.h>

#define INTERRUPT_BYTE 0x03
#define ESCAPE_FLIP    0x20 /* '}' is followed by the byte with this bit turned over */

void gdb_reader_init(GdbReader *reader)
{
    *reader = (GdbReader){ .data = g_string_new(NULL) };
}

void gdb_reader_cleanup(GdbReader *reader)
{
    g_string_free(reader->data, TRUE);
    reader->data = NULL;
}

void gdb_reader_reset(GdbReader *reader)
{
    g_string_truncate(reader->data, 0);
    reader->state = GDB_READ_IDLE;
    reader->sum = 0;
    reader->too_long = false;
}

static void begin(GdbReader *reader)
{
    gdb_reader_reset(reader);
    reader->state = GDB_READ_DATA;
}

static GdbInput feed_idle(GdbReader *reader, uint8_t byte)
{
    switch (byte) {
    case '$':
        begin(reader);
        return GDB_INPUT_NONE;
    case '+':
        return GDB_INPUT_ACK;
    case '-':
        return GDB_INPUT_NAK;
    case INTERRUPT_BYTE:
        return GDB_INPUT_INTERRUPT;
    default:
        return GDB_INPUT_NONE; /* noise */
    }
}

static void keep(GdbReader *reader, uint8_t byte)
{
    if (reader->data->len < GDB_PACKET_MAX) {
        g_string_append_c(reader->data, (char)byte);
    } else {
        reader->too_long = true;
    }
}

/* A '$' is never part of a packet: one that was cut off is followed by a new one. */
static void feed_data(GdbReader *reader, uint8_t byte)
{
    if (byte == '$') {
        begin(reader);
        return;
    }
    if (byte == '#') {
        reader->state = GDB_READ_SUM1;
        return;
    }
    reader->sum += byte;
    if (reader->state == GDB_READ_ESCAPED) {
        reader->state = GDB_READ_DATA;
        keep(reader, byte ^ ESCAPE_FLIP);
    } else if (byte == '}') {
        reader->state = GDB_READ_ESCAPED;
    } else {
        keep(reader, byte);
    }
}

static GdbInput finish(GdbReader *reader, int digit)
{
    reader->state = GDB_READ_IDLE;
    if (digit < 0 || (reader->given << 4 | digit) != reader->sum) {
        return GDB_INPUT_BAD;
    }
    return reader->too_long ? GDB_INPUT_TOO_LONG : GDB_INPUT_PACKET;
}

GdbInput gdb_reader_feed(GdbReader *reader, uint8_t byte)
{
    int digit = g_ascii_xdigit_value((char)byte);
    switch (reader->state) {
    case GDB_READ_IDLE:
        return feed_idle(reader, byte);
    case GDB_READ_DATA:
    case GDB_READ_ESCAPED:
        feed_data(reader, byte);
        return GDB_INPUT_NONE;
    case GDB_READ_SUM1:
        if (digit < 0) {
            reader->state = GDB_READ_IDLE;
            return GDB_INPUT_BAD;
        }
        reader->given = (uint8_t)digit;
        reader->state = GDB_READ_SUM2;
        return GDB_INPUT_NONE;
    case GDB_READ_SUM2:
        return finish(reader, digit);
    }
    return GDB_INPUT_NONE;
}

/* ---- Answers ---- */

void gdb_append_packet(GString *out, const GString *data)
{
    uint8_t sum = 0;
    for (gsize i = 0; i < data->len; i++) {
        sum += (uint8_t)data->str[i];
    }
    g_string_append_c(out, '$');
    g_string_append_len(out, data->str, (gssize)data->len);
    g_string_append_printf(out, "#%02x", sum);
}

void gdb_append_escaped(GString *out, const void *data, size_t len)
{
    const char *bytes = data;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '$' || bytes[i] == '#' || bytes[i] == '}' || bytes[i] == '*') {
            g_string_append_c(out, '}');
            g_string_append_c(out, (char)(bytes[i] ^ ESCAPE_FLIP));
        } else {
            g_string_append_c(out, bytes[i]);
        }
    }
}

void gdb_append_hex(GString *out, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) {
        g_string_append_c(out, digits[bytes[i] >> 4]);
        g_string_append_c(out, digits[bytes[i] & 15]);
    }
}

bool gdb_parse_hex(const char *text, uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int high = g_ascii_xdigit_value(text[2 * i]);
        int low = high < 0 ? -1 : g_ascii_xdigit_value(text[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        data[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool gdb_parse_number(const char **text, uint64_t *value)
{
    const char *at = *text;
    *value = 0;
    for (; g_ascii_isxdigit(*at); at++) {
        if (*value >> 60) {
            return false;
        }
        *value = *value << 4 | (uint64_t)g_ascii_xdigit_value(*at);
    }
    bool found = at != *text;
    *text = at;
    return found;
}

bool gdb_parse_number_and(const char **text, uint64_t *value, char c)
{
    if (!gdb_parse_number(text, value) || **text != c) {
        return false;
    }
    (*text)++;
    return true;
}
