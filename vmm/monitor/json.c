/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON out and in. */
#include "vmm/monitor/json.h"

#include <string.h>

#define MAX_BYTES  (64u << 20)
#define MAX_TOKENS (256u << 10)
#define MAX_DEPTH  128
#define MAX_CHUNK  (1u << 20)

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

static void write_string(GString *out, const char *text)
{
    json_object *quoted = json_object_new_string(text);
    g_string_append(out, json_object_to_json_string_ext(quoted, JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(quoted);
}

static void write_value(GString *out, json_object *value, bool pretty, unsigned depth);

static void write_object(GString *out, json_object *value, bool pretty, unsigned depth)
{
    bool first = true;
    g_string_append_c(out, '{');
    json_object_object_foreach(value, key, member)
    {
        write_separator(out, first, pretty, depth + 1);
        write_string(out, key);
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

/* ---- In ---- */

void json_reader_init(JsonReader *reader, void (*value)(void *opaque, json_object *value),
                      void (*error)(void *opaque, const char *message), void *opaque)
{
    *reader = (JsonReader){ .value = value, .error = error, .opaque = opaque };
    reader->tokener = json_tokener_new_ex(MAX_DEPTH);
    json_tokener_set_flags(reader->tokener, JSON_TOKENER_VALIDATE_UTF8);
}

void json_reader_cleanup(JsonReader *reader)
{
    json_tokener_free(reader->tokener);
    reader->tokener = NULL;
}

void json_reader_reset(JsonReader *reader)
{
    json_tokener_reset(reader->tokener);
    reader->bytes = 0;
    reader->tokens = 0;
    reader->skipping = false;
}

static void fail(JsonReader *reader, const char *message)
{
    json_reader_reset(reader);
    reader->skipping = true;
    reader->error(reader->opaque, message);
}

static size_t count_tokens(const char *data, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++) {
        count += data[i] == '[' || data[i] == '{' || data[i] == ',' || data[i] == ':';
    }
    return count;
}

/* Parses a piece; returns how many bytes were used. */
static size_t feed_piece(JsonReader *reader, const char *data, size_t len)
{
    if (reader->skipping) {
        const char *newline = memchr(data, '\n', len);
        reader->skipping = newline == NULL;
        return newline ? (size_t)(newline - data) + 1 : len;
    }
    if (reader->bytes == 0 && g_ascii_isspace(*data)) {
        return 1;
    }
    len = MIN(len, MAX_CHUNK);
    if (memchr(data, '\0', len)) {
        fail(reader, "JSON: a zero byte ('\\0') is not part of it");
        return 0;
    }
    json_object *value = json_tokener_parse_ex(reader->tokener, data, (int)len);
    enum json_tokener_error status = json_tokener_get_error(reader->tokener);
    size_t used = status == json_tokener_continue ? len
                                                  : json_tokener_get_parse_end(reader->tokener);
    if (status != json_tokener_success && status != json_tokener_continue) {
        g_autofree char *message = g_strdup_printf("JSON: %s", json_tokener_error_desc(status));
        json_object_put(value);
        fail(reader, message);
        return 0;
    }
    reader->bytes += used;
    reader->tokens += count_tokens(data, used);
    if (reader->bytes > MAX_BYTES || reader->tokens > MAX_TOKENS) {
        json_object_put(value);
        fail(reader, reader->bytes > MAX_BYTES ? "JSON: this value is too large"
                                               : "JSON: this value has too many parts");
    } else if (status == json_tokener_success) {
        json_reader_reset(reader);
        reader->value(reader->opaque, value);
    }
    return used;
}

void json_reader_feed(JsonReader *reader, const char *data, size_t len)
{
    while (len) {
        size_t used = feed_piece(reader, data, len);
        data += used;
        len -= used;
    }
}
