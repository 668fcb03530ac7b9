/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about disks. */
#include "block/qmp.h"

#include <string.h>
#include "block/internal.h"
#include "block/jobs/job.h"
#include "vmm/monitor/later.h"
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
                       drive ? "drive '%s' is empty" : "there is no drive '%s' and no node '%s'",
                       name, name);
    }
    return node;
}

static json_object *query_block(const void *args, GError **error)
{
    return block_query();
}

static json_object *query_nodes(const void *opaque, GError **error)
{
    const QmpQueryNamedBlockNodesArgs *args = opaque;
    return block_query_nodes(args->flat);
}

static json_object *query_stats(const void *opaque, GError **error)
{
    const QmpQueryBlockstatsArgs *args = opaque;
    return block_query_stats(args->query_nodes);
}

static json_object *blockdev_add(const void *opaque, GError **error)
{
    const QmpBlockdevAddArgs *args = opaque;
    later_allow(); /* for the keys of encrypted images */
    if (!args->node_name) {
        error_set(error, "'node-name' is missing: without it nobody could use or delete the node");
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
        error_set(error, "say either 'device' or 'node-name'");
        return NULL;
    }
    const Drive *drive = args->device ? drive_find(args->device) : NULL;
    BlockNode *node = drive ? drive->node : block_node_find(name);
    if (!node && drive) {
        error_set(error, "drive '%s' is empty", name);
    } else if (!node) {
        error_set_code(error, args->node_name ? VIREO_ERROR_GENERIC : VIREO_ERROR_DEVICE_NOT_FOUND,
                       args->node_name
                           ? "there is no node '%s' (query-named-block-nodes lists them)"
                           : "there is no drive and no device '%s' (query-block lists them)",
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
    if (!job_check_free(node, NULL)) {
        error_set(error, "Device '%s' is in use", args->device ? args->device : node->name);
        return NULL;
    }
    return block_resize(node, (uint64_t)args->size, error) ? qmp_ok() : NULL;
}

static json_object *set_write_threshold(const void *opaque, GError **error)
{
    const QmpBlockSetWriteThresholdArgs *args = opaque;
    BlockNode *node = block_node_find(args->node_name);
    if (!node) {
        error_set(error, "there is no node '%s' (query-named-block-nodes lists them)",
                  args->node_name);
        return NULL;
    }
    node_set_threshold(node, args->write_threshold);
    return qmp_ok();
}

static const QmpHandler qmp[] = {
    { "query-block", query_block },
    { "query-named-block-nodes", query_nodes },
    { "query-blockstats", query_stats },
    { "blockdev-add", blockdev_add },
    { "blockdev-del", blockdev_del },
    { "block_resize", block_resize_command },
    { "block-set-write-threshold", set_write_threshold },
    { NULL },
};

const MonitorCommands block_commands = { .qmp = qmp };
