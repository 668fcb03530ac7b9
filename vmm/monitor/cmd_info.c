/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's looks at the machine. */
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/object/object.h"

static void hmp_info_status(GString *out, char **args)
{
    Machine *machine = machine_get();
    bool running = machine_is_running(machine);
    g_string_append_printf(out, "VM status: %s", running ? "running" : "paused");
    if (!running && machine_run_state(machine) != RUN_STATE_PAUSED) {
        g_string_append_printf(out, " (%s)", run_state_name(machine_run_state(machine)));
    }
    g_string_append_c(out, '\n');
}

static void hmp_info_name(GString *out, char **args)
{
    const char *name = machine_get()->config->name;
    if (name) {
        g_string_append_printf(out, "%s\n", name);
    }
}

static void hmp_info_uuid(GString *out, char **args)
{
    json_object *info = qmp_execute("query-uuid", NULL, NULL);
    json_object *uuid;
    if (info && json_object_object_get_ex(info, "UUID", &uuid)) {
        g_string_append_printf(out, "%s\n", json_object_get_string(uuid));
    }
    json_object_put(info);
}

static void hmp_info_kvm(GString *out, char **args)
{
    bool kvm = g_str_equal(machine_get()->accel->name, "kvm");
    g_string_append_printf(out, "kvm support: %s\n", kvm ? "enabled" : "disabled");
}

static void hmp_info_iothreads(GString *out, char **args)
{
    json_object *list = qmp_execute("query-iothreads", NULL, NULL);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        g_string_append_printf(out, "%s:\n",
                               json_object_get_string(json_object_object_get(item, "id")));
        json_object_object_foreach(item, name, value)
        {
            if (!g_str_equal(name, "id")) {
                g_string_append_printf(out, "  %s=%s\n", name, json_object_get_string(value));
            }
        }
    }
    json_object_put(list);
}

static void object_line(Object *obj, void *opaque)
{
    g_string_append_printf(opaque, "%s: %s, users=%u\n", obj->id, obj->cls->name, obj->users);
}

static void hmp_info_objects(GString *out, char **args)
{
    object_foreach(object_line, out);
}

static const HmpCommand hmp[] = {
    { "info status", NULL, "whether the machine runs", hmp_info_status },
    { "info name", NULL, "its name", hmp_info_name },
    { "info uuid", NULL, "its UUID", hmp_info_uuid },
    { "info kvm", NULL, "whether KVM is used", hmp_info_kvm },
    { "info iothreads", NULL, "the I/O threads", hmp_info_iothreads },
    { "info objects", NULL, "the back-end objects", hmp_info_objects },
    { NULL },
};

const MonitorCommands info_commands = { .hmp = hmp };
