/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of block drivers. */
#include "block/internal.h"

static const BlockDriver *const drivers[] = {
    &raw_driver,         &qcow2_driver,        &file_driver,
    &host_device_driver, &null_co_driver,      &null_aio_driver,
    &vdi_driver,         &vhdx_driver,         &vmdk_driver,
    &vpc_driver,         &nbd_driver,          &throttle_driver,
    &blkdebug_driver,    &copy_on_read_driver, &copy_before_write_driver,
    &luks_driver,
};

const BlockDriver *block_test_driver;

const BlockDriver *block_driver_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (!strcmp(drivers[i]->name, name)) {
            return drivers[i];
        }
    }
    return block_test_driver && !strcmp(block_test_driver->name, name) ? block_test_driver : NULL;
}

bool block_driver_unknown(const char *what, const char *name, GError **error)
{
    const char *names[G_N_ELEMENTS(drivers) + 1] = { NULL };
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        names[i] = drivers[i]->name;
    }
    g_autofree char *near = suggest_nearest(name, names);
    return error_set(error, "%s '%s' is not known to this version of Vireo%s%s%s", what, name,
                     near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

void block_drivers_help(GString *out)
{
    g_string_append(out, "Block drivers:\n");
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        g_string_append_printf(out, "  %-14s %s\n", drivers[i]->name, drivers[i]->desc);
    }
}
