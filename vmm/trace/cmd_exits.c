/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vCPUs leave the guest for, as numbers a second: x-query-exits, info exits. */
#include "vmm/cli/opts.h"
#include "vmm/device/device.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/trace/commands.h"

/* ---- What was there when it was last asked ---- */

typedef struct Sample {
    VcpuExits *now, *before;
} Sample;

static struct {
    GPtrArray *samples; /* Sample *, by vCPU */
    int64_t asked;      /* when, 0: never */
} last;

static void sample_free(gpointer data)
{
    Sample *sample = data;
    vcpu_exits_free(sample->now);
    vcpu_exits_free(sample->before);
    g_free(sample);
}

/* The vCPU's numbers, and those of the last time; NULL: it never was. */
static const Sample *take_sample(Machine *machine, unsigned index)
{
    const VcpuExits *exits = machine->accel->exits->vcpu(machine, index);
    if (!exits) {
        return NULL;
    }
    while (last.samples->len <= index) {
        Sample *fresh = g_new(Sample, 1);
        *fresh = (Sample){ .now = vcpu_exits_new(), .before = vcpu_exits_new() };
        g_ptr_array_add(last.samples, fresh);
    }
    Sample *sample = g_ptr_array_index(last.samples, index);
    VcpuExits *oldest = sample->before;
    sample->before = sample->now;
    sample->now = oldest;
    vcpu_exits_copy(sample->now, exits);
    return sample;
}

/* ---- Whose window it is ---- */

typedef struct Owners {
    GHashTable *regions; /* MemRegion.id -> Device * */
    Machine *machine;
    const void *member; /* of the device that is looked for */
    Device *found;
} Owners;

static void find_holder(Device *dev, void *opaque)
{
    Owners *owners = opaque;
    const char *base = (const char *)dev, *member = owners->member;
    if (member >= base && member < base + dev->cls->size) {
        owners->found = dev;
    }
}

static void add_region(const FlatRange *range, void *opaque)
{
    Owners *owners = opaque;
    const MemRegion *region = range->region;
    const void *members[] = { region, region->opaque };
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        owners->found = NULL;
        owners->member = members[i];
        device_foreach(owners->machine, find_holder, owners);
        if (owners->found) {
            uint64_t *id = g_new(uint64_t, 1);
            *id = region->id;
            g_hash_table_replace(owners->regions, id, owners->found);
            return;
        }
    }
}

/* ---- As JSON ---- */

typedef struct Report {
    double seconds; /* that the rates are about */
    Owners owners;
    const AccelExitOps *ops;
} Report;

static void add_number(json_object *object, const char *name, double value)
{
    char text[32];
    g_ascii_formatd(text, sizeof(text), "%.1f", value);
    json_object_object_add(object, name, json_object_new_double_s(value, text));
}

static void add_rate(const Report *report, json_object *object, uint64_t now, uint64_t before)
{
    add_number(object, "per-second", (double)(now - before) / report->seconds);
}

static double number_of(json_object *item, const char *name)
{
    json_object *value = NULL;
    json_object_object_get_ex(item, name, &value);
    return json_object_get_double(value);
}

/* The most frequent of late first, then of all time. */
static int compare_items(const void *a, const void *b)
{
    static const char *const members[] = { "per-second", "count" };
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        double first = number_of(*(json_object *const *)a, members[i]);
        double second = number_of(*(json_object *const *)b, members[i]);
        if (first != second) {
            return first < second ? 1 : -1;
        }
    }
    return 0;
}

static uint64_t add_reasons(const Report *report, const Sample *sample, json_object *info,
                            uint64_t *before)
{
    json_object *list = json_object_new_array();
    uint64_t all = 0;
    for (unsigned i = 0; i < EXIT_REASONS; i++) {
        uint64_t count = sample->now->reasons[i];
        if (!count) {
            continue;
        }
        json_object *item = json_object_new_object();
        json_add_string(item, "name", report->ops->reason_name(i));
        json_add_int(item, "count", (int64_t)count);
        add_rate(report, item, count, sample->before->reasons[i]);
        json_object_array_add(list, item);
        all += count;
        *before += sample->before->reasons[i];
    }
    json_object_array_sort(list, compare_items);
    json_object_object_add(info, "reasons", list);
    return all;
}

static void add_window(const Report *report, json_object *list, const char *space,
                       const ExitWindow *now, const ExitWindow *before)
{
    uint64_t count = now->reads + now->writes;
    if (!count) {
        return;
    }
    const Device *dev = g_hash_table_lookup(report->owners.regions, &now->region);
    json_object *item = json_object_new_object();
    json_add_string(item, "space", space);
    json_add_string(item, "name", now->name);
    if (now->region) {
        json_add_int(item, "address", (int64_t)now->addr);
    }
    if (dev) {
        g_autofree char *path = device_path(dev);
        json_add_string(item, "driver", dev->cls->name);
        json_add_string(item, "device", path);
    }
    json_add_int(item, "count", (int64_t)count);
    json_add_int(item, "reads", (int64_t)now->reads);
    json_add_int(item, "writes", (int64_t)now->writes);
    add_rate(report, item, count, before->reads + before->writes);
    if (now->ns) {
        json_add_int(item, "time-ns", (int64_t)now->ns);
        add_number(item, "time-percent", (double)(now->ns - before->ns) / 1e7 / report->seconds);
    }
    json_object_array_add(list, item);
}

static void add_windows(const Report *report, json_object *list, const char *space,
                        const ExitWindows *now, const ExitWindows *before)
{
    for (unsigned i = 0; i < EXIT_WINDOWS; i++) {
        add_window(report, list, space, &now->places[i], &before->places[i]);
    }
    add_window(report, list, space, &now->none, &before->none);
    add_window(report, list, space, &now->others, &before->others);
}

static json_object *vcpu_json(const Report *report, unsigned index, const Sample *sample)
{
    json_object *info = json_object_new_object();
    json_object *windows = json_object_new_array();
    uint64_t before = 0;
    json_add_int(info, "cpu-index", index);
    uint64_t all = add_reasons(report, sample, info, &before);
    json_add_int(info, "count", (int64_t)all);
    add_rate(report, info, all, before);
    add_windows(report, windows, "io", &sample->now->io, &sample->before->io);
    add_windows(report, windows, "memory", &sample->now->memory, &sample->before->memory);
    json_object_array_sort(windows, compare_items);
    json_object_object_add(info, "windows", windows);
    return info;
}

static void add_vcpus(Machine *machine, Report *report, json_object *list)
{
    if (!machine->accel->exits) {
        return;
    }
    machine_topology_lock(machine);
    address_space_foreach(machine->io, add_region, &report->owners);
    address_space_foreach(machine->memory, add_region, &report->owners);
    for (unsigned i = 0; i < machine->config->smp.maxcpus; i++) {
        const Sample *sample = take_sample(machine, i);
        if (sample) {
            json_object_array_add(list, vcpu_json(report, i, sample));
        }
    }
    machine_topology_unlock(machine);
}

/* Since the last question, or else since there are vCPUs. */
static double period(Machine *machine, int64_t now)
{
    const VcpuExits *first = machine->accel->exits ? machine->accel->exits->vcpu(machine, 0) : NULL;
    int64_t since = last.asked ? last.asked : first ? first->since : now;
    return MAX((double)(now - since) / 1e9, 1e-3);
}

static json_object *query_exits(const void *opaque, GError **error)
{
    const QmpXQueryExitsArgs *args = opaque;
    Machine *machine = machine_get();
    int64_t now = exit_clock();
    if (!last.samples) {
        last.samples = g_ptr_array_new_with_free_func(sample_free);
    }
    if (args->has_timing) {
        exits_set_timing(args->timing);
    }
    Report report = { .seconds = period(machine, now), .ops = machine->accel->exits };
    report.owners.machine = machine;
    report.owners.regions = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    json_object *info = json_object_new_object();
    json_object *vcpus = json_object_new_array();
    add_number(info, "seconds", report.seconds);
    json_add_bool(info, "timing", exits_timing);
    add_vcpus(machine, &report, vcpus);
    json_object_object_add(info, "vcpus", vcpus);
    g_hash_table_unref(report.owners.regions);
    last.asked = now;
    return info;
}

/* ---- The human monitor ---- */

static json_object *member(json_object *object, const char *name)
{
    json_object *value = NULL;
    json_object_object_get_ex(object, name, &value);
    return value;
}

static const char *text_of(json_object *object, const char *name)
{
    json_object *value = member(object, name);
    return value ? json_object_get_string(value) : "";
}

static void print_window(GString *out, json_object *item)
{
    g_string_append_printf(out, "  %-7s %10s/s %12s  %-28s", text_of(item, "space"),
                           text_of(item, "per-second"), text_of(item, "count"),
                           text_of(item, "name"));
    if (member(item, "address")) {
        g_string_append_printf(out, " at 0x%" G_GINT64_MODIFIER "x",
                               (uint64_t)json_object_get_int64(member(item, "address")));
    }
    g_string_append_printf(out, " %s", text_of(item, "device"));
    if (member(item, "time-percent")) {
        g_string_append_printf(out, "  %s %% of the time", text_of(item, "time-percent"));
    }
    g_string_append_c(out, '\n');
}

static void print_vcpu(GString *out, json_object *vcpu)
{
    json_object *reasons = member(vcpu, "reasons"), *windows = member(vcpu, "windows");
    g_string_append_printf(out, "CPU %s: %s exits a second, %s in all\n",
                           text_of(vcpu, "cpu-index"), text_of(vcpu, "per-second"),
                           text_of(vcpu, "count"));
    for (size_t i = 0; i < json_object_array_length(reasons); i++) {
        json_object *item = json_object_array_get_idx(reasons, i);
        g_string_append_printf(out, "  %-7s %10s/s %12s  %s\n", "reason",
                               text_of(item, "per-second"), text_of(item, "count"),
                               text_of(item, "name"));
    }
    for (size_t i = 0; i < json_object_array_length(windows); i++) {
        print_window(out, json_object_array_get_idx(windows, i));
    }
}

static void hmp_exits(GString *out, char **words)
{
    GError *error = NULL;
    QmpXQueryExitsArgs args = { .has_timing = words[0] != NULL };
    if (words[0] && !parse_bool(words[0], &args.timing)) {
        error_set(&error, "'%s': say on or off", words[0]);
        hmp_error(out, error);
        return;
    }
    json_object *info = query_exits(&args, NULL);
    json_object *vcpus = member(info, "vcpus");
    g_string_append_printf(out, "Rates of the last %s s; the time in handlers is %smeasured\n",
                           text_of(info, "seconds"),
                           json_object_get_boolean(member(info, "timing")) ? "" : "not ");
    for (size_t i = 0; i < json_object_array_length(vcpus); i++) {
        print_vcpu(out, json_object_array_get_idx(vcpus, i));
    }
    json_object_put(info);
}

static const QmpHandler qmp[] = {
    { "x-query-exits", query_exits },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info exits", "[on|off]",
      "what vCPUs leave the guest for, since it was asked last; on: measure the time of handlers",
      hmp_exits, .max_args = 1 },
    { NULL },
};

const MonitorCommands exit_commands = { .qmp = qmp, .hmp = hmp };
