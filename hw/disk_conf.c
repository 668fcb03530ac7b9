/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every disk device has in common. */
#include "hw/disk_conf.h"

#define MAX_BLOCK_SIZE (2 * 1024 * 1024)

const char *const disk_error_names[] = { "auto", "report", "ignore", "stop", "enospc", NULL };
enum { ERROR_AUTO, ERROR_REPORT, ERROR_IGNORE, ERROR_STOP, ERROR_ENOSPC };

static BlockErrorAction choose_action(int property, BlockErrorAction of_drive)
{
    static const BlockErrorAction actions[] = {
        [ERROR_REPORT] = BLOCK_ERROR_REPORT,
        [ERROR_IGNORE] = BLOCK_ERROR_IGNORE,
        [ERROR_STOP] = BLOCK_ERROR_STOP,
        [ERROR_ENOSPC] = BLOCK_ERROR_ENOSPC,
    };
    return property == ERROR_AUTO ? of_drive : actions[property];
}

static bool drive_is_readonly(const char *name)
{
    const Drive *drive = drive_find(name);
    const BlockNode *node = drive ? drive->node : block_node_find(name);
    return (drive && drive->readonly) || (node && block_node_readonly(node));
}

/* What follows from the properties once the back end is there. */
static void configure(DiskConf *conf, const Device *dev, const char *child)
{
    g_autofree char *path = device_path(dev);
    g_autofree char *qom_path = g_strconcat(path, child, NULL);
    const Drive *drive = block_backend_drive(conf->backend);
    block_backend_set_qom_path(conf->backend, qom_path);
    block_backend_set_error_actions(
        conf->backend, choose_action(conf->rerror, drive ? drive->rerror : BLOCK_ERROR_REPORT),
        choose_action(conf->werror, drive ? drive->werror : BLOCK_ERROR_ENOSPC));
    if (conf->write_cache != ON_OFF_AUTO_AUTO) {
        block_backend_set_write_cache(conf->backend, conf->write_cache == ON_OFF_AUTO_ON);
    }
    conf->initial_write_cache = block_backend_write_cache(conf->backend);
}

bool disk_conf_attach(DiskConf *conf, const Device *dev, const char *child, GError **error)
{
    if (!conf->drive) {
        return error_set(error, "no drive is named: give drive=ID");
    }
    conf->backend = block_backend_attach(conf->drive, dev->id, drive_is_readonly(conf->drive),
                                         conf->share_rw, error);
    if (!conf->backend) {
        return false;
    }
    configure(conf, dev, child);
    return true;
}

bool disk_conf_attach_removable(DiskConf *conf, const Device *dev, const char *child, bool readonly,
                                bool has_tray, GError **error)
{
    conf->backend = block_backend_attach_removable(conf->drive, dev->id, readonly, has_tray, error);
    if (!conf->backend) {
        return false;
    }
    configure(conf, dev, child);
    return true;
}

void disk_conf_detach(DiskConf *conf)
{
    g_clear_pointer(&conf->backend, block_backend_detach);
}

bool disk_conf_size_ok(const char *name, uint32_t value, uint32_t least, GError **error)
{
    if (value < least || value > MAX_BLOCK_SIZE || value & (value - 1)) {
        return error_set(error, "%s=%u is not a power of two from %u to %u", name, value, least,
                         MAX_BLOCK_SIZE);
    }
    return true;
}

static void fill_sizes(DiskConf *conf)
{
    const BlockLimits *limits = block_backend_limits(conf->backend);
    if (!conf->logical_block) {
        conf->logical_block = MAX(limits->logical_block, DISK_SECTOR);
    }
    if (!conf->physical_block) {
        conf->physical_block = MAX(limits->physical_block, conf->logical_block);
    }
    if (conf->discard_granularity == UINT32_MAX) {
        conf->discard_granularity = MIN(limits->discard_granularity, MAX_BLOCK_SIZE);
        conf->discard_granularity = MAX(conf->discard_granularity, conf->logical_block);
    }
    if (!conf->opt_io && limits->opt_io <= UINT32_MAX && conf->logical_block) {
        conf->opt_io = limits->opt_io / conf->logical_block * conf->logical_block;
    }
}

bool disk_conf_sizes(DiskConf *conf, GError **error)
{
    fill_sizes(conf);
    if (!disk_conf_size_ok("logical_block_size", conf->logical_block, DISK_SECTOR, error) ||
        !disk_conf_size_ok("physical_block_size", conf->physical_block, conf->logical_block,
                           error)) {
        return false;
    }
    if (conf->min_io % conf->logical_block || conf->opt_io % conf->logical_block ||
        conf->discard_granularity % conf->logical_block ||
        conf->min_io / conf->logical_block > UINT16_MAX) {
        return error_set(error,
                         "min_io_size=%u, opt_io_size=%u and discard_granularity=%u must be "
                         "multiples of logical_block_size=%u",
                         conf->min_io, conf->opt_io, conf->discard_granularity,
                         conf->logical_block);
    }
    return true;
}

const char *disk_conf_serial(const DiskConf *conf)
{
    return conf->serial ? conf->serial : "";
}
