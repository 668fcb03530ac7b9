/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about memory: sizes, back ends, the balloon, the map, its contents. */
#include <string.h>
#include "vmm/device/parse.h"
#include "vmm/machine/machine.h"
#include "vmm/memory/dma.h"
#include "vmm/monitor/balloon.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/object/memory_backend.h"
#include "vmm/util/bytes.h"

static const BalloonOps *balloon_ops;
static void *balloon_opaque;

bool balloon_register(const BalloonOps *ops, void *opaque, GError **error)
{
    if (balloon_ops) {
        return error_set(error, "a machine has one balloon only");
    }
    balloon_ops = ops;
    balloon_opaque = opaque;
    return true;
}

void balloon_unregister(void *opaque)
{
    if (balloon_opaque == opaque) {
        balloon_ops = NULL;
        balloon_opaque = NULL;
    }
}

static bool need_balloon(GError **error)
{
    return balloon_ops || error_set_code(error, VIREO_ERROR_DEVICE_NOT_ACTIVE,
                                         "the machine has no balloon: -device virtio-balloon-pci");
}

static json_object *query_balloon(const void *args, GError **error)
{
    if (!need_balloon(error)) {
        return NULL;
    }
    json_object *info = json_object_new_object();
    json_object_object_add(info, "actual",
                           json_object_new_uint64(balloon_ops->actual(balloon_opaque)));
    return info;
}

static json_object *balloon(const void *opaque, GError **error)
{
    const QmpBalloonArgs *args = opaque;
    if (!need_balloon(error)) {
        return NULL;
    }
    if (args->value <= 0) {
        error_set(error, "Parameter 'target' expects a size");
        return NULL;
    }
    balloon_ops->set_target(balloon_opaque, (uint64_t)args->value);
    return qmp_ok();
}

static json_object *query_memory_size_summary(const void *args, GError **error)
{
    json_object *info = json_object_new_object();
    json_object_object_add(info, "base-memory",
                           json_object_new_uint64(machine_get()->config->ram_size));
    json_object_object_add(info, "plugged-memory",
                           json_object_new_uint64(machine_get()->plugged_memory));
    return info;
}

static void add_memdev(Object *obj, void *opaque)
{
    static const char *const shown[] = {
        "merge", "dump", "prealloc", "share", "reserve", "policy"
    };
    if (!g_str_has_prefix(obj->cls->name, "memory-backend-")) {
        return;
    }
    const RamBlock *block = memory_backend_block(obj);
    json_object *info = json_object_new_object();
    json_add_string(info, "id", obj->id);
    json_object_object_add(info, "size", json_object_new_uint64(block ? block->size : 0));
    for (const Property *prop = obj->cls->props; prop->name; prop++) {
        for (size_t i = 0; i < G_N_ELEMENTS(shown); i++) {
            if (strcmp(prop->name, shown[i]) == 0) {
                json_object_object_add(info, prop->name, property_get_json(obj, prop));
            }
        }
    }
    json_object_object_add(info, "host-nodes", memory_backend_host_nodes(obj));
    json_object_array_add(opaque, info);
}

static json_object *query_memdev(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    object_foreach(add_memdev, list);
    return list;
}

/* ---- The human monitor ---- */

static void hmp_info_balloon(GString *out, char **args)
{
    GError *error = NULL;
    if (need_balloon(&error)) {
        g_string_append_printf(out, "balloon: actual=%" G_GUINT64_FORMAT "\n",
                               (uint64_t)(balloon_ops->actual(balloon_opaque) / MIB));
    }
    hmp_error(out, error);
}

static void hmp_balloon(GString *out, char **args)
{
    uint64_t mebibytes;
    if (!value_parse_uint(args[0], &mebibytes) || mebibytes > INT64_MAX / MIB) {
        g_string_append_printf(out, "Error: '%s' is not a number of MiB\n", args[0]);
        return;
    }
    json_object *arguments = json_object_new_object();
    json_add_int(arguments, "value", (int64_t)(mebibytes * MIB));
    hmp_run_qmp(out, "balloon", arguments);
}

static void hmp_info_memory_size(GString *out, char **args)
{
    g_string_append_printf(
        out, "base memory: %" G_GUINT64_FORMAT "\nplugged memory: %" G_GUINT64_FORMAT "\n",
        machine_get()->config->ram_size, machine_get()->plugged_memory);
}

static const char *const region_kinds[] = {
    [REGION_IO] = "i/o", [REGION_RAM] = "ram", [REGION_ROM] = "rom"
};

static void flat_line(const FlatRange *range, void *opaque)
{
    g_string_append_printf(opaque,
                           "  %016" G_GINT64_MODIFIER "x-%016" G_GINT64_MODIFIER
                           "x (prio %d, %s): %s @%016" G_GINT64_MODIFIER "x\n",
                           range->start, range->last, range->region->priority,
                           region_kinds[range->region->kind], range->region->name, range->offset);
}

static void collect_region(const MemRegion *region, void *opaque)
{
    g_ptr_array_add(opaque, (void *)region);
}

/* By address; what contains others before them. */
static int compare_regions(gconstpointer a, gconstpointer b)
{
    const MemRegion *one = *(const MemRegion *const *)a, *two = *(const MemRegion *const *)b;
    if (one->addr != two->addr) {
        return one->addr < two->addr ? -1 : 1;
    }
    if (one->size != two->size) {
        return one->size > two->size ? -1 : 1;
    }
    return two->priority - one->priority;
}

/* Each region is indented below the ones it is inside of. */
static void placed_lines(GString *out, AddressSpace *space)
{
    g_autoptr(GPtrArray) regions = g_ptr_array_new();
    g_autoptr(GArray) around = g_array_new(false, false, sizeof(uint64_t)); /* last addresses */
    address_space_foreach_placed(space, collect_region, regions);
    g_ptr_array_sort(regions, compare_regions);
    for (guint i = 0; i < regions->len; i++) {
        const MemRegion *region = g_ptr_array_index(regions, i);
        uint64_t last = region->addr + region->size - 1;
        while (around->len && g_array_index(around, uint64_t, around->len - 1) < last) {
            g_array_set_size(around, around->len - 1);
        }
        g_string_append_printf(
            out, "  %*s%016" G_GINT64_MODIFIER "x-%016" G_GINT64_MODIFIER "x (prio %d, %s): %s\n",
            (int)around->len * 2, "", region->addr, last, region->priority,
            region_kinds[region->kind], region->name);
        g_array_append_val(around, last);
    }
}

/* QEMU's flags. */
static bool mtree_flag_known(const char *flag, GError **error)
{
    static const char *const reasons[][2] = {
        { "-d", "accesses are looked up in the map that -f shows, there is no table besides" },
        { "-o", "regions do not say which device they belong to" },
        { "-D", "regions that are switched off are in no map" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++) {
        if (strcmp(flag, reasons[i][0]) == 0) {
            return error_set(error, "info mtree has no %s: %s", flag, reasons[i][1]);
        }
    }
    return strcmp(flag, "-f") == 0 || error_set(error, "info mtree takes -f, not '%s'", flag);
}

static void mtree_space(GString *out, const char *name, AddressSpace *space, bool flat)
{
    g_string_append_printf(out, "address-space: %s\n", name);
    if (flat) {
        address_space_foreach(space, flat_line, out);
    } else {
        placed_lines(out, space);
    }
}

static void hmp_info_mtree(GString *out, char **args)
{
    Machine *machine = machine_get();
    GError *error = NULL;
    for (char **flag = args; *flag; flag++) {
        if (!mtree_flag_known(*flag, &error)) {
            hmp_error(out, error);
            return;
        }
    }
    machine_topology_lock(machine);
    mtree_space(out, "memory", machine->memory, *args);
    if (machine->smm_memory) {
        mtree_space(out, "cpu-smm", machine->smm_memory, *args);
    }
    mtree_space(out, "I/O", machine->io, *args);
    machine_topology_unlock(machine);
}

static const QmpHandler qmp[] = {
    { "query-balloon", query_balloon },
    { "balloon", balloon },
    { "query-memory-size-summary", query_memory_size_summary },
    { "query-memdev", query_memdev },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info balloon", NULL, "what the balloon leaves to the guest", hmp_info_balloon },
    { "balloon", "MIB", "ask the guest to keep so much memory", hmp_balloon, 1, 1 },
    { "info memory_size_summary", NULL, "how much memory the machine has", hmp_info_memory_size },
    { "info mtree", "[-f]", "what is placed at which address; -f: what the guest sees of it",
      hmp_info_mtree, 0, 4 },
    { NULL },
};

const MonitorCommands memory_commands = { .qmp = qmp, .hmp = hmp };
