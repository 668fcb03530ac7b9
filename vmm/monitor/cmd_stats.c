/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's statistics of the machine and its vCPUs: query-stats, query-stats-schemas. */
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"

#define THE_VM -1

/* What there is of the machine or a vCPU; without an accelerator that counts: nothing. */
static GPtrArray *read_stats(Machine *machine, int vcpu, GError **error)
{
    return machine->accel->stats ? machine->accel->stats(machine, vcpu, error) : g_ptr_array_new();
}

/* ---- Filters ---- */

static bool list_has(json_object *list, const char *text)
{
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        if (g_str_equal(json_object_get_string(json_object_array_get_idx(list, i)), text)) {
            return true;
        }
    }
    return false;
}

/* The names that are wanted of KVM's: false for none at all; *names NULL for all. */
static bool wanted_names(json_object *providers, json_object **names)
{
    *names = NULL;
    if (!providers) {
        return true;
    }
    for (size_t i = 0; i < json_object_array_length(providers); i++) {
        json_object *request = json_object_array_get_idx(providers, i), *provider = NULL;
        json_object_object_get_ex(request, "provider", &provider);
        if (g_str_equal(json_object_get_string(provider), "kvm")) {
            json_object_object_get_ex(request, "names", names);
            return true;
        }
    }
    return false;
}

/* ---- Values ---- */

static json_object *value_json(const AccelStat *stat)
{
    if (stat->count == 1) {
        return stat->unit == STAT_UNIT_BOOLEAN ? json_object_new_boolean(stat->values[0] != 0)
                                               : json_object_new_uint64(stat->values[0]);
    }
    json_object *list = json_object_new_array();
    for (unsigned i = 0; i < stat->count; i++) {
        json_object_array_add(list, json_object_new_uint64(stat->values[i]));
    }
    return list;
}

/* Nothing is added where nothing is wanted. */
static void add_result(json_object *results, const GPtrArray *stats, json_object *names,
                       const char *path)
{
    json_object *list = json_object_new_array();
    for (guint i = 0; i < stats->len; i++) {
        const AccelStat *stat = g_ptr_array_index(stats, i);
        if (!names || list_has(names, stat->name)) {
            json_object *item = json_object_new_object();
            json_add_string(item, "name", stat->name);
            json_object_object_add(item, "value", value_json(stat));
            json_object_array_add(list, item);
        }
    }
    if (json_object_array_length(list) == 0) {
        json_object_put(list);
        return;
    }
    json_object *result = json_object_new_object();
    json_add_string(result, "provider", "kvm");
    json_add_string(result, "qom-path", path);
    json_object_object_add(result, "stats", list);
    json_object_array_add(results, result);
}

static bool add_of(Machine *machine, int vcpu, json_object *names, const char *path,
                   json_object *results, GError **error)
{
    g_autoptr(GPtrArray) stats = read_stats(machine, vcpu, error);
    if (stats) {
        add_result(results, stats, names, path);
    }
    return stats != NULL;
}

static bool add_vcpus(Machine *machine, json_object *vcpus, json_object *names,
                      json_object *results, GError **error)
{
    for (unsigned i = 0; i < machine->config->smp.maxcpus; i++) {
        if (!machine_cpu_present(machine, i)) {
            continue;
        }
        g_autofree char *path = machine_cpu_path(machine, i);
        if ((!vcpus || list_has(vcpus, path)) &&
            !add_of(machine, (int)i, names, path, results, error)) {
            return false;
        }
    }
    return true;
}

static json_object *query_stats(const void *opaque, GError **error)
{
    const QmpQueryStatsArgs *args = opaque;
    Machine *machine = machine_get();
    json_object *names;
    if (args->target == QMP_STATS_TARGET_VM && args->vcpus) {
        error_set(error, "Parameter 'vcpus' is unexpected: the target is the machine");
        return NULL;
    }
    json_object *results = json_object_new_array();
    if (!wanted_names(args->providers, &names)) {
        return results;
    }
    bool ok = args->target == QMP_STATS_TARGET_VM
                  ? add_of(machine, THE_VM, names, NULL, results, error)
                  : add_vcpus(machine, args->vcpus, names, results, error);
    if (!ok) {
        json_object_put(results);
        return NULL;
    }
    return results;
}

/* ---- What they mean ---- */

static json_object *schema_json(const AccelStat *stat)
{
    static const char *const kinds[STAT_KIND_COUNT] = {
        [STAT_CUMULATIVE] = "cumulative",
        [STAT_INSTANT] = "instant",
        [STAT_PEAK] = "peak",
        [STAT_LINEAR_HISTOGRAM] = "linear-histogram",
        [STAT_LOG2_HISTOGRAM] = "log2-histogram",
    };
    static const char *const units[] = {
        [STAT_UNIT_NONE] = NULL,         [STAT_UNIT_BYTES] = "bytes",
        [STAT_UNIT_SECONDS] = "seconds", [STAT_UNIT_CYCLES] = "cycles",
        [STAT_UNIT_BOOLEAN] = "boolean",
    };
    json_object *item = json_object_new_object();
    json_add_string(item, "name", stat->name);
    json_add_string(item, "type", kinds[stat->kind]);
    json_add_string(item, "unit", units[stat->unit]);
    if (stat->exponent) {
        json_add_int(item, "base", stat->base);
    }
    json_add_int(item, "exponent", stat->exponent);
    if (stat->kind == STAT_LINEAR_HISTOGRAM) {
        json_add_int(item, "bucket-size", stat->bucket_size);
    }
    return item;
}

static bool add_schema(Machine *machine, int vcpu, json_object *schemas, GError **error)
{
    g_autoptr(GPtrArray) stats = read_stats(machine, vcpu, error);
    if (!stats || stats->len == 0) {
        return stats != NULL;
    }
    json_object *schema = json_object_new_object();
    json_object *list = json_object_new_array();
    for (guint i = 0; i < stats->len; i++) {
        json_object_array_add(list, schema_json(g_ptr_array_index(stats, i)));
    }
    json_add_string(schema, "provider", "kvm");
    json_add_string(schema, "target", vcpu == THE_VM ? "vm" : "vcpu");
    json_object_object_add(schema, "stats", list);
    json_object_array_add(schemas, schema);
    return true;
}

/* All vCPUs have the same. */
static json_object *query_stats_schemas(const void *opaque, GError **error)
{
    Machine *machine = machine_get();
    json_object *schemas = json_object_new_array();
    bool ok = machine->cls->bare || add_schema(machine, 0, schemas, error);
    if (!ok || !add_schema(machine, THE_VM, schemas, error)) {
        json_object_put(schemas);
        return NULL;
    }
    return schemas;
}

/* ---- The human monitor ---- */

static void print_stats(GString *out, const GPtrArray *stats, const char *name)
{
    for (guint i = 0; i < stats->len; i++) {
        const AccelStat *stat = g_ptr_array_index(stats, i);
        if (name && !g_str_equal(name, stat->name)) {
            continue;
        }
        g_string_append_printf(out, "    %s:", stat->name);
        for (unsigned j = 0; j < stat->count; j++) {
            g_string_append_printf(out, " %" G_GUINT64_FORMAT, stat->values[j]);
        }
        g_string_append_c(out, '\n');
    }
}

static void hmp_stats(GString *out, char **args)
{
    Machine *machine = machine_get();
    GError *error = NULL;
    bool vcpus = g_str_equal(args[0], "vcpu");
    if (!vcpus && !g_str_equal(args[0], "vm")) {
        error_set(&error, "'%s': say vm or vcpu", args[0]);
    }
    unsigned count = vcpus ? machine->config->smp.maxcpus : 1;
    for (unsigned i = 0; i < count && !error; i++) {
        if (vcpus && !machine_cpu_present(machine, i)) {
            continue;
        }
        g_autoptr(GPtrArray) stats = read_stats(machine, vcpus ? (int)i : THE_VM, &error);
        if (vcpus) {
            g_string_append_printf(out, "CPU %u\n", i);
        }
        if (stats) {
            print_stats(out, stats, args[1]);
        }
    }
    hmp_error(out, error);
}

static const QmpHandler qmp[] = {
    { "query-stats", query_stats },
    { "query-stats-schemas", query_stats_schemas },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info stats", "vm|vcpu [NAME]", "the kernel's statistics of the machine or its vCPUs",
      hmp_stats, .min_args = 1, .max_args = 2 },
    { NULL },
};

const MonitorCommands stats_commands = { .qmp = qmp, .hmp = hmp };
