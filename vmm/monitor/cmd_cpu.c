/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about vCPUs: which there are, where more can go, what models there are. */
#include "vmm/kvm/x86/cpu_model.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/numa.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/util/bytes.h"

static json_object *place_json(const Machine *machine, unsigned index)
{
    CpuPlace place = smp_place(&machine->config->smp, index);
    json_object *props = json_object_new_object();
    json_add_int(props, "thread-id", place.thread);
    json_add_int(props, "core-id", place.core);
    if (machine->config->smp.dies > 1) {
        json_add_int(props, "die-id", place.die);
    }
    json_add_int(props, "socket-id", place.socket);
    int node = machine_cpu_node(machine->config, index);
    if (node != NUMA_NO_NODE) {
        json_add_int(props, "node-id", node);
    }
    return props;
}

static json_object *query_cpus_fast(const void *args, GError **error)
{
    Machine *machine = machine_get();
    json_object *list = json_object_new_array();
    for (unsigned i = 0; i < machine->config->smp.maxcpus; i++) {
        if (!machine_cpu_present(machine, i)) {
            continue;
        }
        g_autofree char *path = machine_cpu_path(machine, i);
        json_object *info = json_object_new_object();
        json_add_int(info, "thread-id", machine->accel->vcpu_thread_id(machine, i));
        json_object_object_add(info, "props", place_json(machine, i));
        json_add_string(info, "qom-path", path);
        json_add_int(info, "cpu-index", i);
        json_add_string(info, "target", "x86_64");
        json_object_array_add(list, info);
    }
    return list;
}

static json_object *query_hotpluggable_cpus(const void *args, GError **error)
{
    Machine *machine = machine_get();
    g_autofree char *type = machine_cpu_type(machine);
    if (machine->cls->bare) {
        error_set(error, "machine '%s' has no places for CPUs", machine->cls->name);
        return NULL;
    }
    json_object *list = json_object_new_array();
    for (unsigned i = machine->config->smp.maxcpus; i-- > 0;) {
        json_object *info = json_object_new_object();
        json_object_object_add(info, "props", place_json(machine, i));
        json_add_int(info, "vcpus-count", 1);
        if (machine_cpu_present(machine, i)) {
            g_autofree char *path = machine_cpu_path(machine, i);
            json_add_string(info, "qom-path", path);
        }
        json_add_string(info, "type", type);
        json_object_array_add(list, info);
    }
    return list;
}

/* ---- Models ---- */

typedef struct Definitions {
    json_object *list;
    uint32_t offered[FEATURE_WORDS];
    bool known; /* offered is what a KVM said */
} Definitions;

static void add_definition(Definitions *definitions, const char *name, const char *alias_of,
                           const CpuDefinition *def, bool safe)
{
    g_autofree char *type = g_strdup_printf("%s-x86_64-cpu", name);
    json_object *info = json_object_new_object();
    json_object *missing = json_object_new_array();
    json_add_string(info, "name", name);
    json_add_string(info, "typename", type);
    json_add_bool(info, "migration-safe", safe);
    json_add_bool(info, "static", g_str_equal(name, "base"));
    json_add_bool(info, "deprecated", false);
    json_add_string(info, "alias-of", alias_of);
    for (unsigned word = 0; def && definitions->known && word < FEATURE_WORDS; word++) {
        uint32_t lacking = def->features[word] & ~definitions->offered[word];
        for (unsigned bit = 0; bit < 32; bit++) {
            if (lacking & 1u << bit) {
                json_object_array_add(missing, json_object_new_string(feature_bit_name(word, bit)));
            }
        }
    }
    json_object_object_add(info, "unavailable-features", missing);
    json_object_array_add(definitions->list, info);
}

static void add_model(const char *name, const char *alias_of, const CpuDefinition *def,
                      const char *note, void *opaque)
{
    add_definition(opaque, name, alias_of, def, true);
}

static json_object *query_cpu_definitions(const void *args, GError **error)
{
    Definitions definitions = { .list = json_object_new_array() };
    definitions.known = cpu_features_offered(machine_get(), definitions.offered);
    add_definition(&definitions, "max", NULL, NULL, false);
    add_definition(&definitions, "host", NULL, NULL, false);
    add_definition(&definitions, "base", NULL, NULL, true);
    cpu_models_foreach(add_model, &definitions);
    return definitions.list;
}

static bool set_props(CpuModel *model, json_object *props, GError **error)
{
    if (!props) {
        return true;
    }
    if (!json_object_is_type(props, json_type_object)) {
        return error_set(error, "'model.props' has to be of type object");
    }
    json_object_object_foreach(props, key, value)
    {
        const char *text = json_object_is_type(value, json_type_boolean)
                               ? json_object_get_boolean(value) ? "on" : "off"
                               : json_object_get_string(value);
        if (!cpu_model_set(model, key, text ? text : "", error)) {
            return false;
        }
    }
    return true;
}

static json_object *query_cpu_model_expansion(const void *opaque, GError **error)
{
    const QmpQueryCpuModelExpansionArgs *args = opaque;
    json_object *name = NULL, *props = NULL;
    uint32_t offered[FEATURE_WORDS];
    CpuModel model;
    json_object_object_get_ex(args->model, "name", &name);
    json_object_object_get_ex(args->model, "props", &props);
    if (!cpu_model_init(&model, json_object_get_string(name), machine_get()->cls->compat, error) ||
        !set_props(&model, props, error)) {
        return NULL;
    }
    cpu_features_offered(machine_get(), offered);
    json_object *info = json_object_new_object();
    json_object *expanded = json_object_new_object();
    bool is_static = args->type == QMP_CPU_MODEL_EXPANSION_TYPE_STATIC;
    json_add_string(expanded, "name", is_static ? "base" : model.name);
    json_object_object_add(expanded, "props", cpu_model_to_json(&model, offered));
    json_object_object_add(info, "model", expanded);
    return info;
}

/* ---- The human monitor ---- */

static void hmp_hotpluggable_cpus(GString *out, char **args)
{
    Machine *machine = machine_get();
    g_autofree char *type = machine_cpu_type(machine);
    g_string_append(out, "Hotpluggable CPUs:\n");
    for (unsigned i = machine->config->smp.maxcpus; i-- > 0;) {
        CpuPlace place = smp_place(&machine->config->smp, i);
        g_string_append_printf(out, "  type: \"%s\"\n  vcpus_count: \"1\"\n", type);
        if (machine_cpu_present(machine, i)) {
            g_autofree char *path = machine_cpu_path(machine, i);
            g_string_append_printf(out, "  qom_path: \"%s\"\n", path);
        }
        g_string_append_printf(out, "  CPUInstance Properties:\n    socket-id: \"%u\"\n",
                               place.socket);
        if (machine->config->smp.dies > 1) {
            g_string_append_printf(out, "    die-id: \"%u\"\n", place.die);
        }
        g_string_append_printf(out, "    core-id: \"%u\"\n    thread-id: \"%u\"\n", place.core,
                               place.thread);
    }
}

static void hmp_numa(GString *out, char **args)
{
    const Machine *machine = machine_get();
    const NumaConfig *numa = machine->config->numa;
    g_string_append_printf(out, "%u nodes\n", numa ? numa->count : 0);
    for (unsigned i = 0; numa && i < numa->count; i++) {
        g_string_append_printf(out, "node %u cpus:", i);
        for (unsigned cpu = 0; cpu < numa->cpu_nodes; cpu++) {
            if (machine_cpu_present(machine, cpu) && numa->cpu_node[cpu] == (int)i) {
                g_string_append_printf(out, " %u", cpu);
            }
        }
        g_string_append_printf(out,
                               "\nnode %u size: %" G_GUINT64_FORMAT
                               " MB\nnode %u plugged: %" G_GUINT64_FORMAT " MB\n",
                               i, (uint64_t)(numa->nodes[i].size / MIB), i, (uint64_t)0);
    }
}

static const QmpHandler qmp[] = {
    { "query-cpus-fast", query_cpus_fast },
    { "query-hotpluggable-cpus", query_hotpluggable_cpus },
    { "query-cpu-definitions", query_cpu_definitions },
    { "query-cpu-model-expansion", query_cpu_model_expansion },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info numa", NULL, "the nodes and what belongs to them", hmp_numa },
    { "info hotpluggable-cpus", NULL, "the places for vCPUs", hmp_hotpluggable_cpus },
    { NULL },
};

const MonitorCommands cpu_commands = { .qmp = qmp, .hmp = hmp };
