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
