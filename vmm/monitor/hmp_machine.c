/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's looks at the machine's memory blocks and objects, and its watchdog. */
#include "vmm/monitor/hmp.h"

#include <string.h>
#include "vmm/machine/machine.h"
#include "vmm/monitor/monitor.h"
#include "vmm/util/bytes.h"

#define TREE_DEPTH 16
#define HEX16      "%016" G_GINT64_MODIFIER "x"

/* ---- Memory ---- */

static void memdev_lines(GString *out, json_object *memdev)
{
    static const char *const members[] = { "size",  "merge",   "dump",  "prealloc",
                                           "share", "reserve", "policy" };
    g_string_append_printf(out, "memory backend: %s\n",
                           json_object_get_string(json_object_object_get(memdev, "id")));
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        json_object *value = json_object_object_get(memdev, members[i]);
        if (value) {
            g_string_append_printf(out, "  %s: %s\n", members[i], json_object_get_string(value));
        }
    }
    json_object *nodes = json_object_object_get(memdev, "host-nodes");
    g_string_append(out, "  host nodes:");
    for (size_t i = 0; nodes && i < json_object_array_length(nodes); i++) {
        g_string_append_printf(out, " %s",
                               json_object_get_string(json_object_array_get_idx(nodes, i)));
    }
    g_string_append_c(out, '\n');
}

static void hmp_info_memdev(GString *out, char **args)
{
    json_object *list = qmp_execute("query-memdev", NULL, NULL);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        memdev_lines(out, json_object_array_get_idx(list, i));
    }
    json_object_put(list);
}

static void collect_block(const FlatRange *range, void *opaque)
{
    GPtrArray *blocks = opaque;
    if (range->region->ram && !g_ptr_array_find(blocks, range->region->ram, NULL)) {
        g_ptr_array_add(blocks, range->region->ram);
    }
}

static void hmp_info_ramblock(GString *out, char **args)
{
    g_autoptr(GPtrArray) blocks = g_ptr_array_new();
    Machine *machine = machine_get();
    machine_topology_lock(machine);
    address_space_foreach(machine->memory, collect_block, blocks);
    g_string_append_printf(out, "%24s %8s %18s %18s\n", "Block Name", "PSize", "Total", "Host");
    for (guint i = 0; i < blocks->len; i++) {
        const RamBlock *block = g_ptr_array_index(blocks, i);
        g_string_append_printf(out, "%24s %4" G_GUINT64_FORMAT " KiB 0x" HEX16 " %18p\n", block->id,
                               (uint64_t)(block->page_size / KIB), block->size,
                               (void *)block->host);
    }
    machine_topology_unlock(machine);
}

static void rom_line(const FlatRange *range, void *opaque)
{
    if (range->region->kind == REGION_ROM) {
        g_string_append_printf(
            opaque, "addr=" HEX16 " size=0x%06" G_GINT64_MODIFIER "x mem=rom name=\"%s\"\n",
            range->start, range->last - range->start + 1, range->region->name);
    }
}

static void hmp_info_roms(GString *out, char **args)
{
    address_space_foreach(machine_get()->memory, rom_line, out);
}

static void hmp_info_dump(GString *out, char **args)
{
    json_object *dump = qmp_execute("query-dump", NULL, NULL);
    const char *status = json_object_get_string(json_object_object_get(dump, "status"));
    double total = json_object_get_double(json_object_object_get(dump, "total"));
    double done = json_object_get_double(json_object_object_get(dump, "completed"));
    g_string_append_printf(out, "Status: %s\n", status ? status : "none");
    if (g_strcmp0(status, "active") == 0 && total > 0) {
        g_string_append_printf(out, "Finished: %.2f %%\n", 100 * done / total);
    }
    json_object_put(dump);
}

static bool add_range(json_object *arguments, char **args, GError **error)
{
    static const char *const names[] = { "begin", "length" };
    for (size_t i = 0; i < G_N_ELEMENTS(names) && args[i]; i++) {
        const char *text = args[i];
        uint64_t value;
        if (!hmp_value(&text, &value, true, error)) {
            return false;
        }
        json_add_int(arguments, names[i], (int64_t)value);
    }
    return true;
}

static void hmp_dump(GString *out, char **args)
{
    GError *error = NULL;
    json_object *arguments = json_object_new_object();
    bool detach = g_str_equal(*args, "-d");
    args += detach;
    g_autofree char *protocol = g_strconcat("file:", *args ? *args : "", NULL);
    json_add_bool(arguments, "paging", false);
    json_add_bool(arguments, "detach", detach);
    json_add_string(arguments, "protocol", protocol);
    if (!*args) {
        error_set(&error, "into which file?");
    }
    if (!error && add_range(arguments, args + 1, &error)) {
        hmp_run_qmp(out, "dump-guest-memory", json_object_get(arguments));
    }
    hmp_error(out, error);
    json_object_put(arguments);
}

/* ---- Objects ---- */

static void put_tree(GString *out, const char *path, unsigned depth)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "path", path);
    json_object *list = depth < TREE_DEPTH ? qmp_execute("qom-list", arguments, NULL) : NULL;
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        const char *name = json_object_get_string(json_object_object_get(item, "name"));
        const char *type = json_object_get_string(json_object_object_get(item, "type"));
        if (!name || !type || !g_str_has_prefix(type, "child<")) {
            continue;
        }
        g_autofree char *child = g_strconcat(path[1] ? path : "", "/", name, NULL);
        type += strlen("child<");
        g_string_append_printf(out, "%*s/%s (%.*s)\n", (int)depth * 2, "", name,
                               (int)strcspn(type, ">"), type);
        put_tree(out, child, depth + 1);
    }
    json_object_put(list);
    json_object_put(arguments);
}

static void hmp_info_qom_tree(GString *out, char **args)
{
    GError *error = NULL;
    const char *path = args[0] ? args[0] : "/machine";
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "path", path);
    json_add_string(arguments, "property", "type");
    json_object *type = qmp_execute("qom-get", arguments, &error);
    if (type) {
        g_string_append_printf(out, "%s (%s)\n", path, json_object_get_string(type));
        put_tree(out, path, 1);
    }
    hmp_error(out, error);
    json_object_put(type);
    json_object_put(arguments);
}

/* ---- Starting anew ---- */

static void hmp_boot_set(GString *out, char **args)
{
    Machine *machine = machine_get();
    GError *error = NULL;
    if (machine->cls->set_boot_order) {
        machine->cls->set_boot_order(machine, args[0], &error);
    } else {
        error_set(&error, "the machine '%s' keeps no order of boot drives", machine->cls->name);
    }
    hmp_error(out, error);
}

/* ---- The watchdog ---- */

static void hmp_watchdog_action(GString *out, char **args)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "action", args[0]);
    hmp_run_qmp(out, "watchdog-set-action", arguments);
}

static const HmpCommand hmp[] = {
    { "info memdev", NULL, "the memory back ends", hmp_info_memdev },
    { "info ramblock", NULL, "the blocks of memory, and where this process has them",
      hmp_info_ramblock },
    { "info roms", NULL, "the read-only memory that the guest sees", hmp_info_roms },
    { "info dump", NULL, "how far a dump of the guest's memory is", hmp_info_dump },
    { "dump-guest-memory", "[-d] FILE [BEGIN LENGTH]",
      "write the guest's memory as an ELF core file (-d: do not wait)", hmp_dump, 1, 4 },
    { "info qom-tree", "[PATH]", "the objects below a path (/machine)", hmp_info_qom_tree, 0, 1 },
    { "boot_set", "DRIVES",
      "what is booted from at the next reset: letters as of -boot order=", hmp_boot_set, 1, 1 },
    { "watchdog_action", "reset|shutdown|poweroff|pause|debug|none|inject-nmi",
      "what an expired watchdog does", hmp_watchdog_action, 1, 1 },
    { NULL },
};

const MonitorCommands hmp_machine_commands = { .hmp = hmp };
