/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's snapshots: overlays over a running disk, and snapshots inside images. */
#include "block/graph.h"
#include "block/jobs/job.h"
#include "block/qmp.h"
#include "vmm/monitor/qmp-schema.h"

#define NS_PER_SECOND 1000000000ULL

static json_object *answer(bool ok)
{
    return ok ? qmp_ok() : NULL;
}

/* ---- Overlays ---- */

static json_object *blockdev_snapshot(const void *opaque, GError **error)
{
    const QmpBlockdevSnapshotArgs *args = opaque;
    BlockNode *node = block_device_node(args->node, error);
    BlockNode *overlay = node ? block_device_node(args->overlay, error) : NULL;
    return answer(overlay && graph_put_overlay(node, overlay, error));
}

static bool make_overlay(BlockNode *node, const QmpBlockdevSnapshotSyncArgs *args,
                         const char *format, GError **error)
{
    g_autoptr(Opts) options = opts_new();
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, block_node_length(node));
    opts_set(options, "size", size);
    BlockNode *image = graph_skip_filters(node);
    opts_set(options, "backing_file", image->filename);
    opts_set(options, "backing_fmt", image->driver->name);
    return block_image_create(args->snapshot_file, format, options, error);
}

BlockNode *snapshot_sync(const QmpBlockdevSnapshotSyncArgs *args, BlockNode **below, GError **error)
{
    const char *format = args->format ? args->format : "qcow2";
    const char *name = args->node_name ? args->node_name : args->device;
    BlockNode *node = name ? block_device_node(name, error) : NULL;
    if (!node) {
        if (!name) {
            error_set(error, "say either 'device' or 'node-name'");
        }
        return NULL;
    }
    /* Before a file is made. */
    if (args->snapshot_node_name && block_node_find(args->snapshot_node_name)) {
        error_set(error, "snapshot-node-name: there is a node '%s' already",
                  args->snapshot_node_name);
        return NULL;
    }
    bool existing = args->has_mode && args->mode == QMP_NEW_IMAGE_MODE_EXISTING;
    if (!job_check_free(node, error) || (!existing && !make_overlay(node, args, format, error))) {
        return NULL;
    }
    BlockOpenMode mode = { .writable = true,
                           .no_backing = true,
                           .cache_direct = node->cache_direct,
                           .no_flush = node->no_flush,
                           .discard = node->discard_unmap };
    g_autoptr(Opts) options = opts_new();
    if (args->snapshot_node_name) {
        opts_set(options, "node-name", args->snapshot_node_name);
    }
    BlockNode *overlay = block_image_open(args->snapshot_file, format, options, &mode, error);
    if (!overlay) {
        return NULL;
    }
    overlay->detect_zeroes = node->detect_zeroes;
    if (!graph_put_overlay(node, overlay, error)) {
        block_node_unref(overlay);
        return NULL;
    }
    *below = node;
    return overlay;
}

static json_object *blockdev_snapshot_sync(const void *args, GError **error)
{
    BlockNode *below, *overlay = snapshot_sync(args, &below, error);
    if (overlay) {
        block_node_unref(overlay);
    }
    return answer(overlay);
}

/* ---- Snapshots inside ---- */

static const BlockImageOps *snapshot_ops(BlockNode *node, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    if (!ops || !ops->snapshot_create) {
        error_set(error, "images of format '%s' (device '%s') cannot keep snapshots: qcow2 can",
                  node->driver->name, node->name);
        return NULL;
    }
    return ops;
}

/* QEMU lets two snapshots of a disk not have one name. */
static bool check_name(BlockNode *node, const BlockImageOps *ops,
                       const QmpBlockdevSnapshotInternalSyncArgs *args, GError **error)
{
    if (!args->name[0]) {
        return error_set(error, "Name is empty");
    }
    g_autoptr(GPtrArray) list = ops->snapshot_list(node, error);
    for (guint i = 0; list && i < list->len; i++) {
        if (!strcmp(((BlockSnapshot *)list->pdata[i])->name, args->name)) {
            return error_set(error, "there is a snapshot '%s' on '%s' already: give another name",
                             args->name, args->device);
        }
    }
    return list != NULL;
}

BlockNode *snapshot_internal_sync(const QmpBlockdevSnapshotInternalSyncArgs *args, char **id,
                                  GError **error)
{
    BlockNode *node = block_device_node(args->device, error);
    const BlockImageOps *ops = node ? snapshot_ops(node, error) : NULL;
    if (!ops || !job_check_free(node, error) || !check_name(node, ops, args, error)) {
        return NULL;
    }
    int64_t now = g_get_real_time();
    BlockSnapshot snapshot = { .name = (char *)args->name,
                               .disk_size = block_node_length(node),
                               .date_seconds = (uint64_t)(now / G_USEC_PER_SEC),
                               .date_ns = (uint32_t)(now % G_USEC_PER_SEC) * 1000,
                               .icount = UINT64_MAX };
    graph_change_begin();
    bool ok = ops->snapshot_create(node, &snapshot, error);
    graph_change_end();
    if (ok) {
        *id = g_steal_pointer(&snapshot.id);
    }
    g_free(snapshot.id);
    return ok ? node : NULL;
}

static json_object *snapshot_internal(const void *args, GError **error)
{
    g_autofree char *id = NULL;
    return answer(snapshot_internal_sync(args, &id, error));
}

static json_object *snapshot_json(const BlockSnapshot *s)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "id", s->id);
    json_add_string(info, "name", s->name);
    json_add_int(info, "vm-state-size", (int64_t)s->vm_state_size);
    json_add_int(info, "date-sec", (int64_t)s->date_seconds);
    json_add_int(info, "date-nsec", s->date_ns);
    json_add_int(info, "vm-clock-sec", (int64_t)(s->vm_clock_ns / NS_PER_SECOND));
    json_add_int(info, "vm-clock-nsec", (int64_t)(s->vm_clock_ns % NS_PER_SECOND));
    return info;
}

static json_object *delete_internal(const void *opaque, GError **error)
{
    const QmpBlockdevSnapshotDeleteInternalSyncArgs *args = opaque;
    BlockNode *node = block_device_node(args->device, error);
    const BlockImageOps *ops = node ? snapshot_ops(node, error) : NULL;
    if (ops && !args->id && !args->name) {
        error_set(error, "say which snapshot: 'id', 'name' or both");
        return NULL;
    }
    ops = ops && job_check_free(node, error) ? ops : NULL;
    g_autoptr(GPtrArray) list = ops ? ops->snapshot_list(node, error) : NULL;
    if (!list) {
        return NULL;
    }
    for (guint i = 0; i < list->len; i++) {
        const BlockSnapshot *s = list->pdata[i];
        if ((args->id && strcmp(args->id, s->id) != 0) ||
            (args->name && strcmp(args->name, s->name) != 0)) {
            continue;
        }
        graph_change_begin();
        bool ok = ops->snapshot_delete(node, s->id, error);
        graph_change_end();
        return ok ? snapshot_json(s) : NULL;
    }
    error_set(error, "no snapshot has the id '%s' and the name '%s' on '%s'",
              args->id ? args->id : "null", args->name ? args->name : "null", args->device);
    return NULL;
}

/* ---- The image's words ---- */

static json_object *change_backing_file(const void *opaque, GError **error)
{
    const QmpChangeBackingFileArgs *args = opaque;
    BlockNode *top = block_device_node(args->device, error);
    BlockNode *node = top ? block_device_node(args->image_node_name, error) : NULL;
    if (!node) {
        return NULL;
    }
    const BlockImageOps *ops = block_node_image_ops(node);
    if (!node_is_below(node, top) || !ops || !ops->set_backing || !node->backing) {
        error_set(error, "node '%s' has no backing image in the chain of '%s'", node->name,
                  args->device);
        return NULL;
    }
    graph_change_begin();
    bool was_readonly = node->readonly;
    bool ok = graph_set_readonly(node, false, error) &&
              ops->set_backing(node, args->backing_file, node->backing->driver->name, error);
    if (was_readonly) {
        graph_set_readonly(node, true, NULL);
    }
    graph_change_end();
    return answer(ok);
}

static const QmpHandler qmp[] = {
    { "blockdev-snapshot", blockdev_snapshot },
    { "blockdev-snapshot-sync", blockdev_snapshot_sync },
    { "blockdev-snapshot-internal-sync", snapshot_internal },
    { "blockdev-snapshot-delete-internal-sync", delete_internal },
    { "change-backing-file", change_backing_file },
    { NULL },
};

const MonitorCommands snapshot_commands = { .qmp = qmp };
