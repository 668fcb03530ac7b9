/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-block, query-named-block-nodes, query-blockstats: QEMU's BlockInfo, BlockDeviceInfo and
 * BlockStats. */
#include "block/bitmap.h"
#include "block/latency.h"

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

/* ---- Nodes ---- */

static json_object *cache_info(const BlockNode *node, bool writeback)
{
    json_object *cache = json_object_new_object();
    add_bool(cache, "writeback", writeback);
    add_bool(cache, "direct", node->cache_direct);
    add_bool(cache, "no-flush", node->no_flush);
    return cache;
}

/* BlockDeviceInfo; flat: without the images below. */
static json_object *node_info(BlockNode *node, BlockBackend *backend, bool writeback, bool flat)
{
    static const char *const detect[] = { "off", "on", "unmap" };
    json_object *info = json_object_new_object();
    int depth;
    json_object *image = block_chain_to_json(node, flat, &depth);
    json_object *encrypted = NULL;
    json_object_object_get_ex(image, "encrypted", &encrypted);
    add_string(info, "file", node->filename ? node->filename : "");
    add_string(info, "node-name", node->name);
    add_bool(info, "ro", node->readonly);
    add_string(info, "drv", node->driver->name);
    if (node->backing && node->backing->filename) {
        add_string(info, "backing_file", node->backing->filename);
    }
    add_uint(info, "backing_file_depth", flat ? 0 : (uint64_t)depth);
    add_bool(info, "encrypted", json_object_get_boolean(encrypted));
    add_string(info, "detect_zeroes", detect[node->detect_zeroes]);
    block_add_limits(info, backend);
    json_object_object_add(info, "image", image);
    json_object_object_add(info, "cache", cache_info(node, writeback));
    add_uint(info, "write_threshold", atomic_load(&node->threshold));
    json_object *bitmaps = bitmaps_describe(node);
    if (bitmaps) {
        json_object_object_add(info, "dirty-bitmaps", bitmaps);
    }
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

/* As QEMU names the device: by its id, or by its path where it has none. The disk of a virtio-blk
 * transport is a child of what the user named. */
static const char *qdev_name(const BlockBackend *backend)
{
    bool child = backend->qom_path && g_str_has_suffix(backend->qom_path, "/virtio-backend");
    bool named = backend->device_id[0] &&
                 (!backend->drive || strcmp(backend->drive->id, backend->device_id) != 0);
    return backend->qom_path && (child || !named) ? backend->qom_path : backend->device_id;
}

static void add_backend(json_object *info, BlockBackend *backend)
{
    bool failed = atomic_load(&backend->io_failed);
    add_string(info, "qdev", qdev_name(backend));
    add_string(info, "io-status",
               !failed                             ? "ok"
               : atomic_load(&backend->io_nospace) ? "nospace"
                                                   : "failed");
}

static json_object *block_info(const char *device, BlockBackend *backend, BlockNode *node,
                               bool removable, bool writeback)
{
    json_object *info = json_object_new_object();
    add_string(info, "device", device);
    if (backend) {
        add_backend(info, backend);
        writeback = block_backend_write_cache(backend);
    }
    add_string(info, "type", "unknown");
    add_bool(info, "removable", backend ? backend->removable : removable);
    add_bool(info, "locked", backend && atomic_load(&backend->locked));
    if (backend ? backend->has_tray : removable) {
        add_bool(info, "tray_open", backend && atomic_load(&backend->tray_open));
    }
    if (node) {
        json_object_object_add(info, "inserted", node_info(node, backend, writeback, false));
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
    if (!backend->drive && !backend->of_job) {
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

typedef struct NodeQuery {
    json_object *list;
    bool flat;
} NodeQuery;

static void query_node(BlockNode *node, void *opaque)
{
    const NodeQuery *query = opaque;
    json_object_array_add(query->list, node_info(node, NULL, true, query->flat));
}

json_object *block_query_nodes(bool flat)
{
    NodeQuery query = { json_object_new_array(), flat };
    block_node_foreach(query_node, &query);
    return query.list;
}

/* ---- query-blockstats ---- */

/* backend: what was counted there is complete; else only how far was written is known. */
static json_object *stats_object(const BlockStats *s, bool backend)
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
        { "invalid_rd_operations", s->invalid_rd },
        { "invalid_wr_operations", s->invalid_wr },
        { "invalid_flush_operations", s->invalid_flush },
        { "invalid_unmap_operations", s->invalid_unmap },
    };
    json_object *stats = json_object_new_object();
    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        add_uint(stats, fields[i].key, fields[i].value);
    }
    if (s->last_access_ns) {
        add_uint(stats, "idle_time_ns",
                 (uint64_t)MAX(event_loop_now(event_loop_main()) - (int64_t)s->last_access_ns, 0));
    }
    add_bool(stats, "account_invalid", backend);
    add_bool(stats, "account_failed", backend);
    json_object_object_add(stats, "timed_stats", json_object_new_array());
    return stats;
}

/* What the file driver counts of its own. */
static json_object *driver_stats(const BlockNode *node)
{
    json_object *info = json_object_new_object();
    add_string(info, "driver", node->driver->name);
    node->driver->add_stats(node, info);
    return info;
}

static void add_node_stats(json_object *entry, BlockNode *node, bool chain)
{
    add_string(entry, "node-name", node->name);
    if (node->driver->add_stats) {
        json_object_object_add(entry, "driver-specific", driver_stats(node));
    }
    BlockNode *below[] = { node->file, chain ? node->backing : NULL };
    static const char *const names[] = { "parent", "backing" };
    for (size_t i = 0; i < G_N_ELEMENTS(below); i++) {
        if (below[i]) {
            BlockStats stats = { .wr_highest_offset = atomic_load(&below[i]->written_to) };
            json_object *child = json_object_new_object();
            json_object_object_add(child, "stats", stats_object(&stats, false));
            add_node_stats(child, below[i], chain);
            json_object_object_add(entry, names[i], child);
        }
    }
}

static json_object *stats_entry(const char *device, BlockBackend *backend, BlockNode *node)
{
    BlockStats sum = { 0 };
    json_object *entry = json_object_new_object();
    add_string(entry, "device", device);
    if (backend) {
        add_string(entry, "qdev", qdev_name(backend));
        block_backend_stats(backend, &sum);
    }
    json_object *stats = stats_object(&sum, true);
    if (backend) {
        latency_describe(backend, stats);
    }
    json_object_object_add(entry, "stats", stats);
    if (node) {
        add_node_stats(entry, node, true);
    }
    return entry;
}

static void stats_drive(Drive *drive, void *opaque)
{
    json_object_array_add(opaque, stats_entry(drive->id, drive_backend(drive), drive->node));
}

static void stats_backend(BlockBackend *backend, void *opaque)
{
    if (!backend->drive && !backend->of_job) {
        json_object_array_add(opaque, stats_entry("", backend, backend->node));
    }
}

static void stats_node(BlockNode *node, void *opaque)
{
    BlockStats stats = { .wr_highest_offset = atomic_load(&node->written_to) };
    json_object *entry = json_object_new_object();
    json_object_object_add(entry, "stats", stats_object(&stats, false));
    add_node_stats(entry, node, false);
    json_object_array_add(opaque, entry);
}

json_object *block_query_stats(bool nodes)
{
    json_object *list = json_object_new_array();
    if (nodes) {
        block_node_foreach(stats_node, list);
    } else {
        drive_foreach(stats_drive, list);
        backend_foreach(stats_backend, list);
    }
    return list;
}
