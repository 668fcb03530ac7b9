/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON in and out: what is read can be written, and reads back as the same. */
#include <string.h>
#include "vmm/util/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *write_text(json_object *value)
{
    GString *text = g_string_new(NULL);
    json_write(text, value, false);
    return g_string_free(text, FALSE);
}

static void on_second(void *opaque, json_object *value)
{
    g_autofree char *text = write_text(value);
    g_assert_cmpstr(text, ==, opaque);
    json_object_put(value);
}

static void on_error(void *opaque, const char *message)
{
}

static void on_first(void *opaque, json_object *value)
{
    if (json_object_is_type(value, json_type_object)) {
        g_autofree char *text = write_text(value);
        JsonReader again;
        json_reader_init(&again, on_second, on_error, text);
        json_reader_feed(&again, text, strlen(text));
        json_reader_cleanup(&again);
    }
    json_object_put(value);
}

/* As one text: a value or an error. */
static void parse_whole(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    json_object *value = NULL;
    bool good = json_parse(text, &value, &error);
    g_assert_true(good == !error);
    json_object_put(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse_whole(data, size);
    JsonReader reader;
    json_reader_init(&reader, on_first, on_error, NULL);
    for (size_t at = 0; at < size; at += 7) { /* in pieces, as from a socket */
        json_reader_feed(&reader, (const char *)data + at, MIN((size_t)7, size - at));
    }
    json_reader_cleanup(&reader);
    return 0;
}
