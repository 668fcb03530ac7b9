/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trace points in the monitor: asking, switching. */
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/trace/commands.h"
#include "vmm/trace/trace.h"

static void ignore_point(const char *name, const char *format, bool on, void *opaque)
{
}

/* A name has to be there; a pattern may match nothing, as in QEMU. No point of Vireo's can be
 * switched for one vCPU. */
static bool check_name(const char *name, bool has_vcpu, GError **error)
{
    if (trace_is_pattern(name)) {
        return true;
    }
    if (trace_foreach(name, ignore_point, NULL) == 0) {
        return trace_unknown(name, error);
    }
    return !has_vcpu ||
           error_set(error, "trace point '%s' is for all vCPUs at once: leave 'vcpu' out", name);
}

static void add_state(const char *name, const char *format, bool on, void *opaque)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "name", name);
    json_add_string(info, "state", on ? "enabled" : "disabled");
    json_add_bool(info, "vcpu", false);
    json_object_array_add(opaque, info);
}

static json_object *trace_event_get_state(const void *opaque, GError **error)
{
    const QmpTraceEventGetStateArgs *args = opaque;
    if (!check_name(args->name, args->has_vcpu, error)) {
        return NULL;
    }
    json_object *list = json_object_new_array();
    if (!args->has_vcpu) {
        trace_foreach(args->name, add_state, list);
    }
    return list;
}

static json_object *trace_event_set_state(const void *opaque, GError **error)
{
    const QmpTraceEventSetStateArgs *args = opaque;
    if (!check_name(args->name, args->has_vcpu, error)) {
        return NULL;
    }
    if (!args->has_vcpu && trace_foreach(args->name, ignore_point, NULL) &&
        !trace_set(args->name, args->enable, error)) {
        return NULL;
    }
    return qmp_ok();
}

/* ---- The human monitor ---- */

static void hmp_trace_event(GString *out, char **args)
{
    GError *error = NULL;
    if (g_str_equal(args[1], "on") || g_str_equal(args[1], "off")) {
        trace_set(args[0], g_str_equal(args[1], "on"), &error);
    } else {
        error_set(&error, "'%s': say on or off", args[1]);
    }
    hmp_error(out, error);
}

static void print_state(const char *name, const char *format, bool on, void *opaque)
{
    g_string_append_printf(opaque, "%s : state %d\n", name, on);
}

static void hmp_trace_events(GString *out, char **args)
{
    GError *error = NULL;
    if (trace_foreach(args[0], print_state, out) == 0 && !trace_is_pattern(args[0])) {
        trace_unknown(args[0], &error);
    }
    hmp_error(out, error);
}

static const QmpHandler qmp[] = {
    { "trace-event-get-state", trace_event_get_state },
    { "trace-event-set-state", trace_event_set_state },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "trace-event", "NAME on|off", "switch trace points: a name, or a pattern with * and ?",
      hmp_trace_event, .min_args = 2, .max_args = 2 },
    { "info trace-events", "[NAME]", "which trace points there are, and which are on",
      hmp_trace_events, .max_args = 1 },
    { NULL },
};

const MonitorCommands trace_commands = { .qmp = qmp, .hmp = hmp };
