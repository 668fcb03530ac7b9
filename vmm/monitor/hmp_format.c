/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's formats of numbers, QEMU's and gdb's: "/4xb". */
#include "vmm/monitor/hmp.h"

#include <string.h>

static bool take_letter(char letter, HmpFormat *format)
{
    switch (letter) {
    case 'b':
        format->size = 1;
        return true;
    case 'h':
        format->size = 2;
        return true;
    case 'w':
        format->size = 4;
        return true;
    case 'g':
    case 'L':
        format->size = 8;
        return true;
    case 'x':
    case 'd':
    case 'u':
    case 'o':
    case 'c':
    case 'i':
        format->format = letter;
        return true;
    default:
        return false;
    }
}

bool hmp_take_format(const char **text, HmpFormat *format, GError **error)
{
    const char *at = *text;
    if (*at != '/') {
        return true;
    }
    at++;
    if (g_ascii_isdigit(*at)) {
        char *end;
        format->count = g_ascii_strtoull(at, &end, 10);
        at = end;
    }
    for (; *at && !g_ascii_isspace(*at); at++) {
        if (!take_letter(*at, format)) {
            return error_set(error,
                             "'%c' is no format: a count, one of x d u o c i, one of b h w g",
                             g_ascii_isprint(*at) ? *at : '?');
        }
    }
    *text = at + strspn(at, " \t\r\n\v\f");
    return true;
}

static void put_character(GString *out, char c)
{
    switch (c) {
    case '\n':
        g_string_append(out, "'\\n'");
        break;
    case '\r':
        g_string_append(out, "'\\r'");
        break;
    case '\'':
    case '\\':
        g_string_append_printf(out, "'\\%c'", c);
        break;
    default:
        g_string_append_printf(out, g_ascii_isprint(c) ? "'%c'" : "'\\x%02x'", (guchar)c);
        break;
    }
}

void hmp_put_value(GString *out, const HmpFormat *format, uint64_t value, bool padded)
{
    unsigned bits = format->size * 8, shift = 64 - bits;
    int decimal = padded ? (int)(bits * 10 + 32) / 33 : 0;
    switch (format->format) {
    case 'd':
        g_string_append_printf(out, "%*" G_GINT64_FORMAT, decimal,
                               (int64_t)(value << shift) >> shift);
        break;
    case 'u':
        g_string_append_printf(out, "%*" G_GUINT64_FORMAT, decimal, value);
        break;
    case 'o':
        g_string_append_printf(out, "%#*" G_GINT64_MODIFIER "o", padded ? (int)(bits + 2) / 3 : 0,
                               value);
        break;
    case 'c':
        put_character(out, (char)value);
        break;
    default:
        g_string_append_printf(out, "0x%0*" G_GINT64_MODIFIER "x", padded ? (int)bits / 4 : 1,
                               value);
        break;
    }
}
