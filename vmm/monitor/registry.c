/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands there are, and small helps for those who write them. */
#include <string.h>
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"

static const MonitorCommands *const *registered;

void monitor_commands_register(const MonitorCommands *const *list)
{
    registered = list;
}

const QmpHandler *monitor_find_qmp(const char *name)
{
    for (const MonitorCommands *const *table = registered; table && *table; table++) {
        for (const QmpHandler *handler = (*table)->qmp; handler && handler->name; handler++) {
            if (strcmp(handler->name, name) == 0) {
                return handler;
            }
        }
    }
    return NULL;
}

void monitor_foreach_hmp(void (*fn)(const HmpCommand *command, void *opaque), void *opaque)
{
    for (const MonitorCommands *const *table = registered; table && *table; table++) {
        for (const HmpCommand *command = (*table)->hmp; command && command->name; command++) {
            fn(command, opaque);
        }
    }
}

GPtrArray *monitor_words(const char *kind)
{
    for (const MonitorCommands *const *table = registered; table && *table; table++) {
        for (const HmpWordKind *row = (*table)->words; row && row->name; row++) {
            if (strcmp(row->name, kind) == 0) {
                GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
                row->list(words);
                return words;
            }
        }
    }
    return NULL;
}

void monitor_words_from_qmp(GPtrArray *words, const char *command, const char *name)
{
    json_object *list = qmp_execute(command, NULL, NULL);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *word = json_object_object_get(json_object_array_get_idx(list, i), name);
        const char *text = json_object_get_string(word);
        if (text && *text) {
            g_ptr_array_add(words, g_strdup(text));
        }
    }
    json_object_put(list);
}

json_object *qmp_ok(void)
{
    return json_object_new_object();
}

void json_add_string(json_object *object, const char *name, const char *text)
{
    if (text) {
        json_object_object_add(object, name, json_object_new_string(text));
    }
}

void json_add_bool(json_object *object, const char *name, bool value)
{
    json_object_object_add(object, name, json_object_new_boolean(value));
}

void json_add_int(json_object *object, const char *name, int64_t value)
{
    json_object_object_add(object, name, json_object_new_int64(value));
}

void hmp_error(GString *out, GError *error)
{
    if (error) {
        g_string_append_printf(out, "Error: %s\n", error->message);
        g_error_free(error);
    }
}

void hmp_run_qmp(GString *out, const char *command, json_object *arguments)
{
    GError *error = NULL;
    json_object *value = qmp_execute(command, arguments, &error);
    hmp_error(out, error);
    json_object_put(value);
    json_object_put(arguments);
}
