/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O limits of drives: -drive throttling.* and its older names, block_set_io_throttle, and what
 * query-block tells of them. */
#include "block/internal.h"
#include "block/qmp.h"
#include "vmm/monitor/qmp-schema.h"

/* QMP's names, in the order of throttle_limit_names. */
static const char *const old_names[THROTTLE_LIMITS] = { "bps",  "bps_rd",  "bps_wr",
                                                        "iops", "iops_rd", "iops_wr" };

/* ---- -drive ---- */

static void take_old(Opts *from, Opts *to, const char *old, const char *name,
                     const char *old_suffix, const char *suffix)
{
    g_autofree char *key = g_strconcat(old, old_suffix, NULL);
    g_autofree char *into = g_strconcat(name, suffix, NULL);
    const char *value = opts_get(from, key);
    if (value) {
        opts_set(to, into, value);
    }
}

static void take_old_names(Opts *from, Opts *to)
{
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        take_old(from, to, old_names[i], throttle_limit_names[i], "", "");
        take_old(from, to, old_names[i], throttle_limit_names[i], "_max", "-max");
        take_old(from, to, old_names[i], throttle_limit_names[i], "_max_length", "-max-length");
    }
    take_old(from, to, "iops_size", "iops-size", "", "");
    take_old(from, to, "group", "group", "", "");
}

bool drive_read_limits(Drive *drive, Opts *options, GError **error)
{
    ThrottleConfig config = { 0 };
    g_autoptr(Opts) limits = opts_take_prefix(options, "throttling");
    limits = limits ? limits : opts_new();
    take_old_names(options, limits);
    const char *group = opts_get(limits, "group");
    if (!throttle_config_parse(&config, limits, error) ||
        !opts_check_unused(limits, "throttling", NULL, error)) {
        return false;
    }
    if (!throttle_config_enabled(&config)) {
        return true;
    }
    drive->throttle = throttle_group_get(group ? group : drive->id, true, error);
    if (!drive->throttle) {
        return false;
    }
    throttle_group_set(drive->throttle, &config);
    return true;
}

/* ---- block_set_io_throttle ---- */

static bool set_limit(uint64_t *to, int64_t value, const char *name, GError **error)
{
    *to = (uint64_t)value;
    return value >= 0 || error_set(error, "Parameter '%s' is negative", name);
}

static bool read_args(const QmpBlockSetIoThrottleArgs *a, ThrottleConfig *config, GError **error)
{
    const int64_t avg[] = { a->bps, a->bps_rd, a->bps_wr, a->iops, a->iops_rd, a->iops_wr };
    const int64_t max[] = { a->bps_max,  a->bps_rd_max,  a->bps_wr_max,
                            a->iops_max, a->iops_rd_max, a->iops_wr_max };
    const int64_t length[] = { a->bps_max_length,  a->bps_rd_max_length,  a->bps_wr_max_length,
                               a->iops_max_length, a->iops_rd_max_length, a->iops_wr_max_length };
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        ThrottleLimit *limit = &config->limits[i];
        if (!set_limit(&limit->avg, avg[i], old_names[i], error) ||
            !set_limit(&limit->max, max[i], old_names[i], error) ||
            !set_limit(&limit->length, length[i], old_names[i], error)) {
            return false;
        }
    }
    return set_limit(&config->iops_size, a->iops_size, "iops_size", error) &&
           throttle_config_check(config, error);
}

static const char *default_group(const BlockBackend *backend, const QmpBlockSetIoThrottleArgs *args)
{
    return args->group               ? args->group
           : backend->throttle.group ? throttle_group_name(backend->throttle.group)
           : args->device            ? args->device
                                     : args->id;
}

static json_object *set_io_throttle(const void *opaque, GError **error)
{
    const QmpBlockSetIoThrottleArgs *args = opaque;
    ThrottleConfig config = { 0 };
    BlockBackend *backend = block_backend_find(args->device, args->id, error);
    if (!backend || !read_args(args, &config, error)) {
        return NULL;
    }
    if (!throttle_config_enabled(&config)) {
        block_backend_set_throttle(backend, NULL);
        return qmp_ok();
    }
    ThrottleGroup *group = throttle_group_get(default_group(backend, args), true, error);
    if (!group) {
        return NULL;
    }
    throttle_group_set(group, &config);
    block_backend_set_throttle(backend, group);
    throttle_group_unref(group);
    return qmp_ok();
}

static const QmpHandler qmp[] = {
    { "block_set_io_throttle", set_io_throttle },
    { NULL },
};

const MonitorCommands limit_commands = { .qmp = qmp };

/* ---- query-block ---- */

static void add_nonzero(json_object *info, const char *name, const char *suffix, uint64_t value)
{
    g_autofree char *key = g_strconcat(name, suffix, NULL);
    if (value) {
        json_add_int(info, key, (int64_t)value);
    }
}

void block_add_limits(json_object *info, BlockBackend *backend)
{
    ThrottleConfig config = { 0 };
    ThrottleGroup *group = backend ? backend->throttle.group : NULL;
    if (group) {
        throttle_group_config(group, &config);
    }
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        const ThrottleLimit *limit = &config.limits[i];
        json_add_int(info, old_names[i], (int64_t)limit->avg);
        add_nonzero(info, old_names[i], "_max", limit->max);
        add_nonzero(info, old_names[i], "_max_length", limit->max ? MAX(limit->length, 1) : 0);
    }
    add_nonzero(info, "iops_size", "", config.iops_size);
    if (group) {
        json_add_string(info, "group", throttle_group_name(group));
    }
}
