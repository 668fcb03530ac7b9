/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON out. */
#include "vmm/util/json.h"

#include <string.h>

static void write_newline(GString *out, bool pretty, unsigned depth)
{
    if (pretty) {
        g_string_append_c(out, '\n');
        for (unsigned i = 0; i < depth * 4; i++) {
            g_string_append_c(out, ' ');
        }
    }
}

static void write_separator(GString *out, bool first, bool pretty, unsigned depth)
{
    if (!first) {
        g_string_append(out, pretty ? "," : ", ");
    }
    write_newline(out, pretty, depth);
}

static bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* Writes a byte that is not plain, or the character that begins with it: its length. U+0000 is C0
 * 80 inside of strings; what is no text becomes U+FFFD. */
static size_t write_special(GString *out, const char *at, size_t len)
{
    static const char letters[] = "\b\t\n\f\r\"\\";
    static const char escapes[] = "btnfr\"\\";
    uint8_t byte = (uint8_t)*at;
    if (byte < 0x80) {
        const char *letter = byte ? strchr(letters, *at) : NULL;
        if (letter) {
            g_string_append_printf(out, "\\%c", escapes[letter - letters]);
        } else {
            g_string_append_printf(out, "\\u%04x", byte);
        }
        return 1;
    }
    gunichar character = g_utf8_get_char_validated(at, (gssize)len);
    if (character < 0x110000) {
        size_t size = (size_t)(g_utf8_next_char(at) - at);
        g_string_append_len(out, at, (gssize)size);
        return size;
    }
    bool zero = len > 1 && memcmp(at, "\xc0\x80", 2) == 0;
    g_string_append(out, zero ? "\\u0000" : "\\ufffd");
    return zero ? 2 : 1;
}

static void write_string(GString *out, const char *text, size_t len)
{
    g_string_append_c(out, '"');
    while (len) {
        size_t run = 0;
        while (run < len && is_plain((uint8_t)text[run])) {
            run++;
        }
        g_string_append_len(out, text, (gssize)run);
        run += run < len ? write_special(out, text + run, len - run) : 0;
        text += run;
        len -= run;
    }
    g_string_append_c(out, '"');
}

static void write_value(GString *out, json_object *value, bool pretty, unsigned depth);

static void write_object(GString *out, json_object *value, bool pretty, unsigned depth)
{
    bool first = true;
    g_string_append_c(out, '{');
    json_object_object_foreach(value, key, member)
    {
        write_separator(out, first, pretty, depth + 1);
        write_string(out, key, strlen(key));
        g_string_append(out, ": ");
        write_value(out, member, pretty, depth + 1);
        first = false;
    }
    if (!first) {
        write_newline(out, pretty, depth);
    }
    g_string_append_c(out, '}');
}

static void write_array(GString *out, json_object *value, bool pretty, unsigned depth)
{
    size_t length = json_object_array_length(value);
    g_string_append_c(out, '[');
    for (size_t i = 0; i < length; i++) {
        write_separator(out, i == 0, pretty, depth + 1);
        write_value(out, json_object_array_get_idx(value, i), pretty, depth + 1);
    }
    if (length) {
        write_newline(out, pretty, depth);
    }
    g_string_append_c(out, ']');
}

static void write_value(GString *out, json_object *value, bool pretty, unsigned depth)
{
    switch (json_object_get_type(value)) {
    case json_type_object:
        write_object(out, value, pretty, depth);
        break;
    case json_type_array:
        write_array(out, value, pretty, depth);
        break;
    case json_type_string:
        write_string(out, json_object_get_string(value), (size_t)json_object_get_string_len(value));
        break;
    default:
        g_string_append(out, json_object_to_json_string_ext(
                                 value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        break;
    }
}

void json_write(GString *out, json_object *value, bool pretty)
{
    write_value(out, value, pretty, 0);
}
