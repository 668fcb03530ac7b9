/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the monitor itself. */
#include "vmm/cli/params.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/hmp.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/monitor/qmp.h"
#include "vmm/monitor/schema.h"
#include "vmm/util/json.h"

static json_object *query_version(const void *args, GError **error)
{
    return qmp_version();
}

static json_object *named(const char *name)
{
    json_object *item = json_object_new_object();
    json_add_string(item, "name", name);
    return item;
}

static json_object *query_commands(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    for (const QmpCommandDesc *desc = qmp_command_descs; desc->name; desc++) {
        json_object_array_add(list, named(desc->name));
    }
    return list;
}

static json_object *query_events(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    for (const char *const *name = qmp_event_names; *name; name++) {
        json_object_array_add(list, named(*name));
    }
    return list;
}

static json_object *query_qmp_schema(const void *args, GError **error)
{
    json_object *schema = NULL;
    return json_parse(qmp_schema_json, &schema, error) ? schema : NULL;
}

static json_object *query_command_line_options(const void *args, GError **error)
{
    return cli_params_to_json(((const QmpQueryCommandLineOptionsArgs *)args)->option, error);
}

static json_object *quit(const void *args, GError **error)
{
    machine_request_shutdown(machine_get(), SHUTDOWN_CAUSE_HOST_QMP_QUIT);
    return qmp_ok();
}

static json_object *human_monitor_command(const void *opaque, GError **error)
{
    const QmpHumanMonitorCommandArgs *args = opaque;
    g_autoptr(GString) out = g_string_new(NULL);
    HmpContext context = HMP_CONTEXT_INIT;
    if (args->has_cpu_index &&
        (args->cpu_index < 0 || args->cpu_index >= machine_get()->config->smp.maxcpus ||
         !machine_cpu_present(machine_get(), (unsigned)args->cpu_index))) {
        error_set(error, "Parameter 'cpu-index' expects a vCPU: there is no vCPU %" G_GINT64_FORMAT,
                  args->cpu_index);
        return NULL;
    }
    context.cpu = args->has_cpu_index ? (unsigned)args->cpu_index : 0;
    hmp_execute_in(&context, args->command_line, out);
    g_autofree char *text = g_utf8_make_valid(out->str, (gssize)out->len);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *wire = g_strjoinv("\r\n", lines);
    return json_object_new_string(wire);
}

/* The session itself answers it; here it comes only from within the program. */
static json_object *capabilities(const void *args, GError **error)
{
    return qmp_ok();
}

static void hmp_quit(GString *out, char **args)
{
    hmp_run_qmp(out, "quit", NULL);
}

static void hmp_version(GString *out, char **args)
{
    json_object *version = qmp_version();
    json_object *package;
    json_object_object_get_ex(version, "package", &package);
    g_string_append_printf(out, "7.2.0 (%s)\n", json_object_get_string(package));
    json_object_put(version);
}

static const QmpHandler qmp[] = {
    { "qmp_capabilities", capabilities },
    { "query-version", query_version },
    { "query-commands", query_commands },
    { "query-events", query_events },
    { "query-qmp-schema", query_qmp_schema },
    { "query-command-line-options", query_command_line_options },
    { "quit", quit },
    { "human-monitor-command", human_monitor_command },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info version", NULL, "the version", hmp_version },
    { "quit", NULL, "end the program", hmp_quit, .alias = "q" },
    { NULL },
};

const MonitorCommands control_commands = { .qmp = qmp, .hmp = hmp };
