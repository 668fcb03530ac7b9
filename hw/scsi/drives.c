/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scsi-hd and scsi-cd: units with a drive behind them, as devices on a SCSI bus. */
#include "hw/devices.h"
#include "hw/scsi/internal.h"

typedef struct ScsiDrive {
    ScsiBusDevice bus;
    DiskConf disk;
    ScsiIdentity identity;
} ScsiDrive;

#define COMMON_PROPS DISK_CONF_PROPS(ScsiDrive, disk), SCSI_IDENTITY_PROPS(ScsiDrive, identity)

static const Property hd_props[] = {
    COMMON_PROPS,
    PROP_BOOL("removable", ScsiDrive, identity.removable, false, "The medium can be taken out"),
    PROP_BOOL("dpofua", ScsiDrive, identity.dpofua, false,
              "Say that forced unit access is understood (the driver may then leave flushes out)"),
    PROP_U16("rotation_rate", ScsiDrive, identity.rotation_rate, 0,
             "Turns a minute; 0: not said, 1: solid state"),
    PROP_SIZE("max_unmap_size", ScsiDrive, identity.max_unmap_size, 1ULL << 30,
              "Bytes of one unmapped range at most"),
    PROP_END,
};

static const Property cd_props[] = {
    COMMON_PROPS,
    PROP_END,
};

static const PropertyGroup drive_groups[] = {
    { scsi_bus_device_props, 0 },
    { NULL },
};

static bool check_identity(const ScsiDrive *drive, GError **error)
{
    static const uint8_t most[] = { 8, 16, 4 };
    const char *const texts[] = { drive->identity.vendor, drive->identity.product,
                                  drive->identity.version };
    static const char *const names[] = { "vendor", "product", "ver" };
    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (texts[i] && strlen(texts[i]) > most[i]) {
            return error_set(error, "%s=%s: at most %u characters", names[i], texts[i], most[i]);
        }
    }
    if (strlen(disk_conf_serial(&drive->disk)) > 36) {
        return error_set(error, "serial=%s: at most 36 characters", disk_conf_serial(&drive->disk));
    }
    return true;
}

static bool attach(ScsiDrive *drive, bool cd, GError **error)
{
    const Device *dev = &drive->bus.dev;
    DiskConf *disk = &drive->disk;
    if (cd || drive->identity.removable) {
        return disk_conf_attach_removable(disk, dev, "", cd, true, error);
    }
    return disk_conf_attach(disk, dev, "", error);
}

static void drive_unmake(ScsiDrive *drive)
{
    scsi_lun_cleanup(&drive->bus.lun);
    disk_conf_detach(&drive->disk);
}

static bool drive_make(ScsiDrive *drive, const ScsiLunClass *cls, GError **error)
{
    bool cd = cls == &scsi_cd_lun;
    if (cd && !drive->disk.logical_block) {
        drive->disk.logical_block = 2048;
    }
    if (!attach(drive, cd, error)) {
        return false;
    }
    if (disk_conf_sizes(&drive->disk, error) && check_identity(drive, error) &&
        scsi_lun_init(&drive->bus.lun, cls, &drive->bus.dev, &drive->disk, &drive->identity,
                      error) &&
        scsi_bus_attach(&drive->bus, error)) {
        return true;
    }
    drive_unmake(drive);
    return false;
}

static bool hd_realize(Device *dev, GError **error)
{
    return drive_make((ScsiDrive *)dev, &scsi_disk_lun, error);
}

static bool cd_realize(Device *dev, GError **error)
{
    return drive_make((ScsiDrive *)dev, &scsi_cd_lun, error);
}

static void drive_unrealize(Device *dev)
{
    scsi_bus_detach((ScsiBusDevice *)dev);
    drive_unmake((ScsiDrive *)dev);
}

/* The adapter was reset before: its requests are gone. */
static void drive_reset(Device *dev)
{
    scsi_lun_reset(&((ScsiBusDevice *)dev)->lun, true);
}

static const StateField drive_fields[] = {
    STATE_STRUCT(ScsiBusDevice, lun, &scsi_lun_state),
    STATE_END,
};

static const StateSection drive_state = {
    .name = "scsi-drive",
    .version = 1,
    .fields = drive_fields,
};

#define SCSI_DRIVE_CLASS(_name, _desc, _props, _realize)                                           \
    {                                                                                              \
        .name = (_name), .desc = (_desc), .bus = BUS_SCSI, .category = DEVICE_CATEGORY_STORAGE,    \
        .size = sizeof(ScsiDrive), .props = (_props), .groups = drive_groups,                      \
        .state = &drive_state, .hotpluggable = true, .realize = (_realize),                        \
        .unrealize = drive_unrealize, .reset = drive_reset                                         \
    }

const DeviceClass scsi_hd_class =
    SCSI_DRIVE_CLASS("scsi-hd", "SCSI disk (SBC-3)", hd_props, hd_realize);
const DeviceClass scsi_cd_class =
    SCSI_DRIVE_CLASS("scsi-cd", "SCSI CD/DVD drive (MMC-5)", cd_props, cd_realize);
