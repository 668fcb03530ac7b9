/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's "info block" and "info blockstats", from what QMP's queries answer. */
#include <string.h>
#include "block/block.h"
#include "block/qmp.h"

static json_object *member(json_object *object, const char *name)
{
    json_object *value = NULL;
    return object && json_object_object_get_ex(object, name, &value) ? value : NULL;
}

static const char *text_of(json_object *object, const char *name)
{
    json_object *value = member(object, name);
    return value ? json_object_get_string(value) : NULL;
}

static bool is_true(json_object *object, const char *name)
{
    return json_object_get_boolean(member(object, name));
}

static void print_cache(GString *out, json_object *cache)
{
    g_string_append_printf(out, "    Cache mode:       %s%s%s\n",
                           is_true(cache, "writeback") ? "writeback" : "writethrough",
                           is_true(cache, "direct") ? ", direct" : "",
                           is_true(cache, "no-flush") ? ", ignore flushes" : "");
}

static void print_limits(GString *out, json_object *inserted)
{
    static const char *const names[] = { "bps",        "bps_rd",     "bps_wr",      "bps_max",
                                         "bps_rd_max", "bps_wr_max", "iops",        "iops_rd",
                                         "iops_wr",    "iops_max",   "iops_rd_max", "iops_wr_max",
                                         "iops_size" };
    if (!member(inserted, "group")) {
        return;
    }
    g_string_append(out, "    I/O throttling:  ");
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *value = text_of(inserted, names[i]);
        g_string_append_printf(out, " %s=%s", names[i], value ? value : "0");
    }
    g_string_append_printf(out, " group=%s\n", text_of(inserted, "group"));
}

static void print_inserted(GString *out, json_object *inserted)
{
    const char *zeroes = text_of(inserted, "detect_zeroes");
    print_cache(out, member(inserted, "cache"));
    if (text_of(inserted, "backing_file")) {
        g_string_append_printf(out, "    Backing file:     %s (chain depth: %s)\n",
                               text_of(inserted, "backing_file"),
                               text_of(inserted, "backing_file_depth"));
    }
    if (zeroes && strcmp(zeroes, "off") != 0) {
        g_string_append_printf(out, "    Detect zeroes:    %s\n", zeroes);
    }
    print_limits(out, inserted);
}

/* info: BlockInfo, NULL for a node by itself. */
static void print_one(GString *out, json_object *info, json_object *inserted)
{
    const char *device = text_of(info, "device"), *node = text_of(inserted, "node-name");
    bool has_device = device && *device;
    const char *qdev = text_of(info, "qdev");
    g_string_append(out, has_device ? device : node ? node : qdev ? qdev : "");
    if (has_device && node) {
        g_string_append_printf(out, " (%s)", node);
    }
    if (inserted) {
        g_string_append_printf(out, ": %s (%s%s%s)\n", text_of(inserted, "file"),
                               text_of(inserted, "drv"),
                               is_true(inserted, "ro") ? ", read-only" : "",
                               is_true(inserted, "encrypted") ? ", encrypted" : "");
    } else {
        g_string_append(out, ": [not inserted]\n");
    }
    if (qdev) {
        g_string_append_printf(out, "    Attached to:      %s\n", qdev);
    }
    const char *status = text_of(info, "io-status");
    if (status && strcmp(status, "ok") != 0) {
        g_string_append_printf(out, "    I/O status:       %s\n", status);
    }
    if (is_true(info, "removable")) {
        g_string_append_printf(out, "    Removable device: %slocked, tray %s\n",
                               is_true(info, "locked") ? "" : "not ",
                               is_true(info, "tray_open") ? "open" : "closed");
    }
    if (inserted) {
        print_inserted(out, inserted);
    }
}

/* "info block [-n] [-v] [NAME]": the devices, or the nodes. */
static void hmp_info_block(GString *out, char **args)
{
    bool nodes = false;
    for (; *args && (!strcmp(*args, "-n") || !strcmp(*args, "-v")); args++) {
        nodes |= (*args)[1] == 'n';
    }
    const char *wanted = args[0];
    json_object *list = nodes ? block_query_nodes(false) : block_query();
    bool any = false;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        json_object *inserted = nodes ? item : member(item, "inserted");
        const char *name = text_of(nodes ? NULL : item, "device");
        name = name && *name ? name : text_of(inserted, "node-name");
        if (wanted && g_strcmp0(wanted, name) != 0) {
            continue;
        }
        g_string_append(out, any ? "\n" : "");
        print_one(out, nodes ? NULL : item, inserted);
        any = true;
    }
    json_object_put(list);
}

static void hmp_info_blockstats(GString *out, char **args)
{
    static const char *const names[] = {
        "rd_bytes",         "wr_bytes",         "rd_operations",    "wr_operations",
        "flush_operations", "wr_total_time_ns", "rd_total_time_ns", "flush_total_time_ns",
        "rd_merged",        "wr_merged",        "idle_time_ns"
    };
    json_object *list = block_query_stats(false);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        json_object *stats = member(item, "stats");
        g_string_append_printf(out, "%s:", text_of(item, "device"));
        for (size_t n = 0; n < G_N_ELEMENTS(names); n++) {
            const char *value = text_of(stats, names[n]);
            g_string_append_printf(out, " %s=%s", names[n], value ? value : "0");
        }
        g_string_append_c(out, '\n');
    }
    json_object_put(list);
}

static void snapshot_lines(GString *out, const char *disk, json_object *snapshots)
{
    size_t count = snapshots ? json_object_array_length(snapshots) : 0;
    if (count) {
        g_string_append_printf(out, "Snapshots in the image of '%s':\n%-8s%-24s%12s %s\n", disk,
                               "ID", "TAG", "VM SIZE", "DATE");
    }
    for (size_t i = 0; i < count; i++) {
        json_object *item = json_object_array_get_idx(snapshots, i);
        g_autoptr(GDateTime)
            date = g_date_time_new_from_unix_local(json_object_get_int64(member(item, "date-sec")));
        g_autofree char *when = date ? g_date_time_format(date, "%Y-%m-%d %H:%M:%S") : NULL;
        g_string_append_printf(
            out, "%-8s%-24s%12" G_GINT64_FORMAT " %s\n", text_of(item, "id"), text_of(item, "name"),
            json_object_get_int64(member(item, "vm-state-size")), when ? when : "");
    }
}

static void hmp_info_snapshots(GString *out, char **args)
{
    json_object *list = block_query();
    gsize before = out->len;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        json_object *inserted = member(item, "inserted");
        const char *name = text_of(item, "device");
        name = name && *name ? name : text_of(inserted, "node-name");
        snapshot_lines(out, name, member(member(inserted, "image"), "snapshots"));
    }
    if (out->len == before) {
        g_string_append(out, "There are no snapshots\n");
    }
    json_object_put(list);
}

static void list_disks(GPtrArray *words)
{
    monitor_words_from_qmp(words, "query-block", "device");
    monitor_words_from_qmp(words, "query-named-block-nodes", "node-name");
}

static void list_drives(GPtrArray *words)
{
    monitor_words_from_qmp(words, "query-block", "device");
    monitor_words_from_qmp(words, "query-block", "qdev");
}

static void list_jobs(GPtrArray *words)
{
    monitor_words_from_qmp(words, "query-jobs", "id");
}

static void list_exports(GPtrArray *words)
{
    monitor_words_from_qmp(words, "query-block-exports", "id");
}

static void list_formats(GPtrArray *words)
{
    static const char *const formats[] = { "raw", "qcow2" };
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_ptr_array_add(words, g_strdup(formats[i]));
    }
}

static const HmpCommand hmp[] = {
    { "info block", "[-n] [-v] [DISK]",
      "the disks; -n: the block nodes; -v: changes nothing, all is shown", hmp_info_block, 0, 3 },
    { "info snapshots", NULL, "the snapshots inside the disks' images", hmp_info_snapshots },
    { "info blockstats", NULL, "what the disks have done", hmp_info_blockstats },
    { NULL },
};

static const HmpWordKind words[] = {
    { "DISK", list_disks },     { "DRIVE", list_drives },   { "JOB", list_jobs },
    { "EXPORT", list_exports }, { "FORMAT", list_formats }, { NULL },
};

const MonitorCommands block_info_commands = { .hmp = hmp, .words = words };
