/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An image described as QEMU's ImageInfo: for vireo-img info and for the monitor's queries. */
#include "block/internal.h"

#define NS_PER_SECOND 1000000000ULL

static void add_string(json_object *o, const char *key, const char *value)
{
    if (value) {
        json_object_object_add(o, key, json_object_new_string(value));
    }
}

static void add_flag(json_object *o, const char *key, bool on)
{
    if (on) {
        json_object_object_add(o, key, json_object_new_boolean(true));
    }
}

static json_object *snapshots_to_json(const GPtrArray *snapshots)
{
    json_object *list = json_object_new_array();
    for (guint i = 0; i < snapshots->len; i++) {
        const BlockSnapshot *s = snapshots->pdata[i];
        json_object *o = json_object_new_object();
        if (s->icount != UINT64_MAX) {
            json_object_object_add(o, "icount", json_object_new_uint64(s->icount));
        }
        json_object_object_add(o, "vm-clock-nsec",
                               json_object_new_int64((int64_t)(s->vm_clock_ns % NS_PER_SECOND)));
        json_object_object_add(o, "name", json_object_new_string(s->name));
        json_object_object_add(o, "date-sec", json_object_new_uint64(s->date_seconds));
        json_object_object_add(o, "date-nsec", json_object_new_int64(s->date_ns));
        json_object_object_add(o, "vm-clock-sec",
                               json_object_new_int64((int64_t)(s->vm_clock_ns / NS_PER_SECOND)));
        json_object_object_add(o, "id", json_object_new_string(s->id));
        json_object_object_add(o, "vm-state-size", json_object_new_uint64(s->vm_state_size));
        json_object_array_add(list, o);
    }
    return list;
}

BlockImageInfo block_image_describe(BlockNode *node)
{
    BlockImageInfo info = { 0 };
    const BlockImageOps *ops = block_node_image_ops(node);
    if (ops && ops->info) {
        ops->info(node, &info);
    }
    return info;
}

static void add_specific(json_object *o, BlockNode *node, json_object *data)
{
    if (data) {
        json_object *specific = json_object_new_object();
        add_string(specific, "type", block_node_driver(node));
        json_object_object_add(specific, "data", data);
        json_object_object_add(o, "format-specific", specific);
    }
}

json_object *block_image_to_json(BlockNode *node, const char *name, const GPtrArray *snapshots)
{
    BlockImageInfo info = block_image_describe(node);
    json_object *o = json_object_new_object();
    const char *backing = block_node_backing_file(node);
    g_autofree char *path = block_node_backing_path(node);
    if (snapshots && snapshots->len) {
        json_object_object_add(o, "snapshots", snapshots_to_json(snapshots));
    }
    if (backing && *backing) {
        add_string(o, "backing-filename-format", block_node_backing_format(node));
    }
    json_object_object_add(o, "virtual-size", json_object_new_uint64(block_node_length(node)));
    add_string(o, "filename", name);
    if (info.cluster_size) {
        json_object_object_add(o, "cluster-size", json_object_new_int64(info.cluster_size));
    }
    add_string(o, "format", block_node_driver(node));
    json_object_object_add(o, "actual-size", json_object_new_uint64(block_node_allocated(node)));
    add_flag(o, "compressed", info.compressed);
    add_specific(o, node, info.specific);
    add_flag(o, "encrypted", info.encrypted);
    if (backing && *backing) {
        add_string(o, "full-backing-filename", path);
        add_string(o, "backing-filename", backing);
    }
    json_object_object_add(o, "dirty-flag", json_object_new_boolean(info.dirty));
    return o;
}

/* ---- Chains ---- */

BlockNode *node_below(const BlockNode *node)
{
    return node->backing ? node->backing : node->driver->is_filter ? node->file : NULL;
}

json_object *block_chain_to_json(BlockNode *node, bool flat, int *depth)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    g_autoptr(GPtrArray) snapshots = ops && ops->snapshot_list ? ops->snapshot_list(node, NULL)
                                                               : NULL;
    const char *name = block_node_filename(node);
    json_object *image = block_image_to_json(node, name ? name : "", snapshots);
    BlockNode *below = node_below(node);
    *depth = 0;
    if (below && !flat) {
        json_object_object_add(image, "backing-image", block_chain_to_json(below, flat, depth));
    }
    for (*depth = 0; below; below = node_below(below)) {
        ++*depth;
    }
    return image;
}
