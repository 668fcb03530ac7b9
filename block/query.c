/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-block, query-named-block-nodes, query-blockstats: QEMU's BlockInfo, BlockDeviceInfo and
 * BlockStats. */
#include "block/internal.h"

static void add_string(json_object *to, const char *key, const char *value)
{
    json_object_object_add(to, key, json_object_new_string(value));
}

static void add_uint(json_object *to, const char *key, uint64_t value)
{
    json_object_object_add(to, key, json_object_new_int64((int64_t)MIN(value, INT64_MAX)));
}

static void add_bool(json_object *to, const char *key, bool value)
{
    json_object_object_add(to, key, json_object_new_boolean(value));
}

static json_object *image_info(BlockNode *node)
{
    json_object *image = json_object_new_object();
    BlockNode *protocol = node_protocol(node);
    add_string(image, "filename", node->filename ? node->filename : "");
    add_string(image, "format", node->driver->name);
    add_uint(image, "virtual-size", block_node_length(node));
    if (protocol->driver->allocated) {
        add_uint(image, "actual-size", protocol->driver->allocated(protocol));
    }
    add_bool(image, "dirty-flag", false);
    return image;
}

static json_object *node_info(BlockNode *node, BlockBackend *backend, bool writeback)
{
    static const char *const detect[] = { "off", "on", "unmap" };
    json_object *info = json_object_new_object(), *cache = json_object_new_object();
    add_string(info, "file", node->filename ? node->filename : "");
    add_string(info, "node-name", node->name);
    add_bool(info, "ro", node->readonly);
    add_string(info, "drv", node->driver->name);
    add_uint(info, "backing_file_depth", 0);
    add_bool(info, "encrypted", false);
    add_string(info, "detect_zeroes", detect[node->detect_zeroes]);
    block_add_limits(info, backend);
    json_object_object_add(info, "image", image_info(node));
    add_bool(cache, "writeback", writeback);
    add_bool(cache, "direct", node->cache_direct);
    add_bool(cache, "no-flush", node->no_flush);
    json_object_object_add(info, "cache", cache);
    add_uint(info, "write_threshold", 0);
    return info;
}

static BlockBackend *found_backend;

static void match_drive(BlockBackend *backend, void *opaque)
{
    if (backend->drive == opaque) {
        found_backend = backend;
    }
}

static BlockBackend *drive_backend(Drive *drive)
{
    found_backend = NULL;
    backend_foreach(match_drive, drive);
    return found_backend;
}

/* ---- query-block ---- */

static json_object *block_info(const char *device, BlockBackend *backend, BlockNode *node,
                               bool removable, bool writeback)
{
    json_object *info = json_object_new_object();
    add_string(info, "device", device);
    if (backend) {
        bool failed = atomic_load(&backend->io_failed);
        add_string(info, "qdev", backend->device_id);
        add_string(info, "io-status",
                   !failed                             ? "ok"
                   : atomic_load(&backend->io_nospace) ? "nospace"
                                                       : "failed");
        writeback = block_backend_write_cache(backend);
    }
    add_string(info, "type", "unknown");
    add_bool(info, "removable", backend ? backend->removable : removable);
    add_bool(info, "locked", backend && atomic_load(&backend->locked));
    if (backend ? backend->has_tray : removable) {
        add_bool(info, "tray_open", backend && atomic_load(&backend->tray_open));
    }
    if (node) {
        json_object_object_add(info, "inserted", node_info(node, backend, writeback));
    }
    return info;
}

static void query_drive(Drive *drive, void *opaque)
{
    json_object_array_add(opaque, block_info(drive->id, drive_backend(drive), drive->node,
                                             drive->is_cdrom, !drive->writethrough));
}

static void query_backend(BlockBackend *backend, void *opaque)
{
    if (!backend->drive) {
        json_object_array_add(opaque, block_info("", backend, backend->node, false, true));
    }
}

json_object *block_query(void)
{
    json_object *list = json_object_new_array();
    drive_foreach(query_drive, list);
    backend_foreach(query_backend, list);
    return list;
}

static void query_node(BlockNode *node, void *opaque)
{
    json_object_array_add(opaque, node_info(node, NULL, true));
}

json_object *block_query_nodes(void)
{
    json_object *list = json_object_new_array();
    block_node_foreach(query_node, list);
    return list;
}

/* ---- query-blockstats ---- */

static json_object *stats_object(const BlockStats *s)
{
    const struct {
        const char *key;
        uint64_t value;
    } fields[] = {
        { "rd_bytes", s->rd_bytes },
        { "wr_bytes", s->wr_bytes },
        { "unmap_bytes", s->unmap_bytes },
        { "rd_operations", s->rd_ops },
        { "wr_operations", s->wr_ops },
        { "flush_operations", s->flush_ops },
        { "unmap_operations", s->unmap_ops },
        { "rd_total_time_ns", s->rd_time_ns },
        { "wr_total_time_ns", s->wr_time_ns },
        { "flush_total_time_ns", s->flush_time_ns },
        { "unmap_total_time_ns", s->unmap_time_ns },
        { "wr_highest_offset", s->wr_highest_offset },
        { "rd_merged", 0 },
        { "wr_merged", 0 },
        { "unmap_merged", 0 },
        { "failed_rd_operations", s->failed_rd },
        { "failed_wr_operations", s->failed_wr },
        { "failed_flush_operations", s->failed_flush },
        { "failed_unmap_operations", s->failed_unmap },
        { "invalid_rd_operations", 0 },
        { "invalid_wr_operations", 0 },
        { "invalid_flush_operations", 0 },
        { "invalid_unmap_operations", 0 },
    };
    json_object *stats = json_object_new_object();
    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        add_uint(stats, fields[i].key, fields[i].value);
    }
    add_bool(stats, "account_invalid", true);
    add_bool(stats, "account_failed", true);
    json_object_object_add(stats, "timed_stats", json_object_new_array());
    return stats;
}

static json_object *stats_entry(const char *device, BlockBackend *backend, BlockNode *node)
{
    BlockStats sum = { 0 };
    json_object *entry = json_object_new_object();
    if (device) {
        add_string(entry, "device", device);
    }
    if (backend) {
        add_string(entry, "qdev", backend->device_id);
        block_backend_stats(backend, &sum);
    }
    if (node) {
        add_string(entry, "node-name", node->name);
    }
    json_object_object_add(entry, "stats", stats_object(&sum));
    if (node && node->file) {
        BlockStats none = { .wr_highest_offset = sum.wr_highest_offset };
        json_object *parent = json_object_new_object();
        add_string(parent, "node-name", node->file->name);
        json_object_object_add(parent, "stats", stats_object(&none));
        json_object_object_add(entry, "parent", parent);
    }
    return entry;
}

static void stats_drive(Drive *drive, void *opaque)
{
    json_object_array_add(opaque, stats_entry(drive->id, drive_backend(drive), drive->node));
}

static void stats_backend(BlockBackend *backend, void *opaque)
{
    if (!backend->drive) {
        json_object_array_add(opaque, stats_entry("", backend, backend->node));
    }
}

json_object *block_query_stats(void)
{
    json_object *list = json_object_new_array();
    drive_foreach(stats_drive, list);
    backend_foreach(stats_backend, list);
    return list;
}
