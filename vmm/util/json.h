/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON out in QEMU's layout ("key": value, ...), and a bounded reader of JSON in. Any thread, with
 * a reader or value of its own. */
#ifndef VMM_UTIL_JSON_H
#define VMM_UTIL_JSON_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>

/* Appends value; pretty: over several lines, indented by four. */
void json_write(GString *out, json_object *value, bool pretty);

/* Finds the values in a stream of bytes. A fault is reported once; what follows is skipped up to
 * the end of the value by its brackets, the next newline or a byte 0xff. Bounded in size, depth and
 * number of parts. Strings are UTF-8, with U+0000 as C0 80. */
typedef struct JsonParser JsonParser;
typedef struct JsonReader {
    JsonParser *parser;
    void (*value)(void *opaque, json_object *value); /* takes the reference; NULL: JSON's null */
    void (*error)(void *opaque, const char *message);
    void *opaque;
} JsonReader;

void json_reader_init(JsonReader *reader, void (*value)(void *opaque, json_object *value),
                      void (*error)(void *opaque, const char *message), void *opaque);
void json_reader_feed(JsonReader *reader, const char *data, size_t len);
void json_reader_reset(JsonReader *reader); /* forgets a value that is not complete */
void json_reader_cleanup(JsonReader *reader);

/* Reads text, which is one value and nothing else; same bounds, same strings. *value is a new
 * reference, NULL for JSON's null. False and an error that says what is wrong, and at which byte.
 */
bool json_parse(const char *text, json_object **value, GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
