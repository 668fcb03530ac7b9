/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about disks. */
#include "block/qmp.h"

#include <string.h>
#include "block/block.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"

BlockNode *block_device_node(const char *name, GError **error)
{
    const Drive *drive = drive_find(name);
    BlockNode *node = drive ? drive->node : block_node_find(name);
    if (!node && !drive) {
        BlockBackend *backend = block_backend_find(NULL, name, NULL);
        node = backend ? block_backend_node(backend) : NULL;
    }
    if (!node) {
        error_set_code(error, VIREO_ERROR_GENERIC,
                       drive ? "Device '%s' has no medium"
                             : "Cannot find device='%s' nor node-name='%s'",
                       name, name);
    }
    return node;
}

static json_object *query_block(const void *args, GError **error)
{
    return block_query();
}

static json_object *query_nodes(const void *args, GError **error)
{
    return block_query_nodes();
}

static json_object *query_stats(const void *args, GError **error)
{
    return block_query_stats();
}

static json_object *blockdev_add(const void *opaque, GError **error)
{
    const QmpBlockdevAddArgs *args = opaque;
    if (!args->node_name) {
        error_set(error, "'node-name' must be specified for the root node");
        return NULL;
    }
    json_object *all = json_object_get(args->rest);
    json_add_string(all, "driver", args->driver);
    json_add_string(all, "node-name", args->node_name);
    g_autoptr(Opts) options = opts_from_json(all, error);
    json_object_put(all);
    return options && block_node_open(options, error) ? qmp_ok() : NULL;
}

static json_object *blockdev_del(const void *opaque, GError **error)
{
    const QmpBlockdevDelArgs *args = opaque;
    return block_node_delete(args->node_name, error) ? qmp_ok() : NULL;
}

static BlockNode *find_resized(const QmpBlockResizeArgs *args, GError **error)
{
    const char *name = args->node_name ? args->node_name : args->device;
    if (!name || (args->node_name && args->device)) {
        error_set(error, "Need exactly one of 'device' and 'node-name'");
        return NULL;
    }
    const Drive *drive = args->device ? drive_find(args->device) : NULL;
    BlockNode *node = drive ? drive->node : block_node_find(name);
    if (!node) {
        error_set_code(error, args->node_name ? VIREO_ERROR_GENERIC : VIREO_ERROR_DEVICE_NOT_FOUND,
                       args->node_name ? "Cannot find device= nor node-name=%s"
                                       : "Device '%s' not found",
                       name);
    }
    return node;
}

static json_object *block_resize_command(const void *opaque, GError **error)
{
    const QmpBlockResizeArgs *args = opaque;
    BlockNode *node = find_resized(args, error);
    if (!node) {
        return NULL;
    }
    if (args->size < 0) {
        error_set(error, "Parameter 'size' expects a >0 size");
        return NULL;
    }
    return block_resize(node, (uint64_t)args->size, error) ? qmp_ok() : NULL;
}

/* ---- The human monitor ---- */

static const char *text_of(json_object *object, const char *name)
{
    json_object *value;
    return object && json_object_object_get_ex(object, name, &value) && value
               ? json_object_get_string(value)
               : NULL;
}

static void info_one(GString *out, json_object *item)
{
    const char *device = text_of(item, "device");
    json_object *inserted;
    if (!json_object_object_get_ex(item, "inserted", &inserted) || !inserted) {
        g_string_append_printf(out, "%s: [not inserted]\n", device);
        return;
    }
    bool readonly = g_strcmp0(text_of(inserted, "ro"), "true") == 0;
    g_string_append_printf(out, "%s (%s): %s (%s%s)\n", device && *device ? device : "#node",
                           text_of(inserted, "node-name"), text_of(inserted, "file"),
                           text_of(inserted, "drv"), readonly ? ", read-only" : "");
    if (text_of(item, "qdev")) {
        g_string_append_printf(out, "    Attached to:      %s\n", text_of(item, "qdev"));
    }
}

static void hmp_info_block(GString *out, char **args)
{
    json_object *list = block_query();
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        info_one(out, json_object_array_get_idx(list, i));
    }
    json_object_put(list);
}

static void hmp_info_blockstats(GString *out, char **args)
{
    json_object *list = block_query_stats();
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        json_object *stats;
        g_string_append_printf(out, "%s:", text_of(item, "device"));
        if (json_object_object_get_ex(item, "stats", &stats)) {
            json_object_object_foreach(stats, name, value)
            {
                if (json_object_is_type(value, json_type_int)) {
                    g_string_append_printf(out, " %s=%s", name, json_object_get_string(value));
                }
            }
        }
        g_string_append_c(out, '\n');
    }
    json_object_put(list);
}

static const QmpHandler qmp[] = {
    { "query-block", query_block },
    { "query-named-block-nodes", query_nodes },
    { "query-blockstats", query_stats },
    { "blockdev-add", blockdev_add },
    { "blockdev-del", blockdev_del },
    { "block_resize", block_resize_command },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info block", NULL, "the disks", hmp_info_block },
    { "info blockstats", NULL, "what the disks have done", hmp_info_blockstats },
    { NULL },
};

const MonitorCommands block_commands = { .qmp = qmp, .hmp = hmp };
