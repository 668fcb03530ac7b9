/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every disk device has in common: the drive behind it, its block sizes, its error policies,
 * its place in the boot order. A device embeds a DiskConf, lists DISK_CONF_PROPS() among its
 * properties, and attaches it in realize. Main thread.
 */
#ifndef HW_DISK_CONF_H
#define HW_DISK_CONF_H

#include "block/block.h"
#include "vmm/device/device.h"

#define DISK_SECTOR 512

typedef struct DiskConf {
    /* properties */
    char *drive, *serial;
    uint32_t logical_block, physical_block, min_io, opt_io; /* bytes; 0: as the image wants */
    uint32_t discard_granularity;                           /* UINT32_MAX: as the image wants */
    int write_cache;                                        /* OnOffAuto */
    int rerror, werror;
    bool share_rw;
    int32_t bootindex; /* -1: not in the boot order */
    /* as attached */
    BlockBackend *backend;
    bool initial_write_cache; /* what a reset brings back */
} DiskConf;

extern const char *const disk_error_names[];

#define DISK_CONF_PROPS(Type, field)                                                               \
    PROP_REF("drive", Type, field.drive, "drive", "The drive or block node behind the disk"),      \
        PROP_STRING("serial", Type, field.serial, NULL, "Serial number, up to 20 characters"),     \
        PROP_U32("logical_block_size", Type, field.logical_block, 0,                               \
                 "Bytes of a logical block; 0: as the image wants"),                               \
        PROP_U32("physical_block_size", Type, field.physical_block, 0,                             \
                 "Bytes of a physical block; 0: as the image wants"),                              \
        PROP_U32("min_io_size", Type, field.min_io, 0,                                             \
                 "Bytes of the least good request; 0: unknown"),                                   \
        PROP_U32("opt_io_size", Type, field.opt_io, 0, "Bytes of the best request; 0: unknown"),   \
        PROP_U32("discard_granularity", Type, field.discard_granularity, UINT32_MAX,               \
                 "Bytes that a discard is aligned to; 4294967295: as the image wants"),            \
        PROP_ONOFFAUTO("write-cache", Type, field.write_cache, ON_OFF_AUTO_AUTO,                   \
                       "The write cache at the start (auto: as the drive's cache mode says)"),     \
        PROP_BOOL("share-rw", Type, field.share_rw, false, "Let others write to the image"),       \
        PROP_ENUM("rerror", Type, field.rerror, 0, disk_error_names, "What a read error does"),    \
        PROP_ENUM("werror", Type, field.werror, 0, disk_error_names, "What a write error does"),   \
        PROP_I32("bootindex", Type, field.bootindex, -1,                                           \
                 "Place in the firmware's boot order, the least first; -1: none")

/* Opens the way to the drive: permissions, error policies, write cache. `child` is what follows the
 * device's path where the object tree of QEMU has the disk ("/virtio-backend"), or "". An error
 * names the remedy; nothing is left behind. */
bool disk_conf_attach(DiskConf *conf, const Device *dev, const char *child, GError **error);
/* The same for a drive with removable media: read-only media when `readonly`; drive= may be left
 * out or be empty. */
bool disk_conf_attach_removable(DiskConf *conf, const Device *dev, const char *child, bool readonly,
                                bool has_tray, GError **error);
void disk_conf_detach(DiskConf *conf); /* drained; harmless when never attached */

/* Fills in the sizes that the user left to the image and checks all of them: powers of two of at
 * least a sector, the others multiples of the logical block. After attach. */
bool disk_conf_sizes(DiskConf *conf, GError **error);

/* `name=value` is a power of two in [least, 2 MiB], or an error. */
bool disk_conf_size_ok(const char *name, uint32_t value, uint32_t least, GError **error);

/* The serial number; "" when none. */
const char *disk_conf_serial(const DiskConf *conf);

#endif
