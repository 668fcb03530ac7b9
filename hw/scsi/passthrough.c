/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scsi-block and scsi-generic: a SCSI disk or CD drive of the host, whole. Commands go to it by
 * SG_IO (pass_commands.c says which); scsi-block reads and writes disks through the block layer,
 * with its error policies.
 */
#include "hw/devices.h"
#include "hw/scsi/internal.h"

#define TIMEOUT_MAX  (24 * 3600)
#define START_MS     30000 /* for what is asked when the device is made */
#define INQUIRY_SIZE 36
#define SECTOR_CD    2048
#define SECTOR_MAX   65536

typedef struct ScsiPassDevice {
    ScsiBusDevice bus;
    DiskConf disk;
    ScsiIdentity identity; /* the host's device has its own: this one stays empty */
    ScsiPass pass;
} ScsiPassDevice;

#define COMMON_PROPS                                                                               \
    PROP_REF("drive", ScsiPassDevice, disk.drive, "drive", "The drive of the host's device"),      \
        PROP_BOOL("share-rw", ScsiPassDevice, disk.share_rw, false, "Let others write to it"),     \
        PROP_RANGE_U32("io_timeout", ScsiPassDevice, pass.timeout, 30, 1, TIMEOUT_MAX,             \
                       "Seconds that the host's device has for a command"),                        \
        PROP_BOOL("persistent-reservations", ScsiPassDevice, pass.reservations, false,             \
                  "Pass reservations, which shut other users of the device out"),                  \
        PROP_I32("bootindex", ScsiPassDevice, disk.bootindex, -1,                                  \
                 "Place in the firmware's boot order, the least first; -1: none")

static const Property generic_props[] = {
    COMMON_PROPS,
    PROP_END,
};

static const Property block_props[] = {
    COMMON_PROPS,
    PROP_ENUM("rerror", ScsiPassDevice, disk.rerror, 0, disk_error_names, "What a read error does"),
    PROP_ENUM("werror", ScsiPassDevice, disk.werror, 0, disk_error_names,
              "What a write error does"),
    PROP_END,
};

static const PropertyGroup pass_groups[] = {
    { scsi_bus_device_props, 0 },
    { NULL },
};

/* ---- What the device is ---- */

static bool ask(ScsiPassDevice *self, const uint8_t *cdb, unsigned cdb_len, uint8_t *data,
                uint32_t length)
{
    BlockScsi command = {
        .cdb_len = cdb_len,
        .data = data,
        .length = length,
        .timeout_ms = START_MS,
    };
    memcpy(command.cdb, cdb, cdb_len);
    /* The first command after a reset may get no more than an attention. */
    for (unsigned i = 0; i < 3; i++) {
        if (block_scsi_run(self->disk.backend, &command) < 0) {
            return false;
        }
        if (command.status == SCSI_GOOD) {
            return command.residual < length;
        }
    }
    return false;
}

static const ScsiLunClass *find_class(ScsiPassDevice *self, bool generic, GError **error)
{
    static const uint8_t inquiry[6] = { OP_INQUIRY, 0, 0, 0, INQUIRY_SIZE };
    uint8_t data[INQUIRY_SIZE] = { 0 };
    if (!ask(self, inquiry, sizeof(inquiry), data, sizeof(data))) {
        error_set(error, "drive '%s': the host's device does not answer INQUIRY", self->disk.drive);
        return NULL;
    }
    switch (data[0]) {
    case TYPE_DISK:
        return generic ? &scsi_generic_disk_lun : &scsi_block_disk_lun;
    case TYPE_CD:
        return &scsi_pass_cd_lun;
    default:
        error_set(error,
                  "drive '%s': the host's device is of SCSI type 0x%02x; disks (0x00) and CD "
                  "drives (0x05) can be passed through",
                  self->disk.drive, data[0]);
        return NULL;
    }
}

/* Bytes of a block: they say how much data a command moves. */
static uint32_t find_block_size(ScsiPassDevice *self, const ScsiLunClass *cls)
{
    static const uint8_t read_capacity[10] = { OP_READ_CAPACITY_10 };
    uint8_t data[8] = { 0 };
    if (cls->type == TYPE_CD) {
        return SECTOR_CD;
    }
    if (ask(self, read_capacity, sizeof(read_capacity), data, sizeof(data))) {
        uint32_t size = load_be32(data + 4);
        if (size >= DISK_SECTOR && size <= SECTOR_MAX && !(size & (size - 1))) {
            return size;
        }
    }
    return MAX(block_backend_limits(self->disk.backend)->logical_block, DISK_SECTOR);
}

/* ---- Life ---- */

static void pass_unmake(ScsiPassDevice *self)
{
    scsi_lun_cleanup(&self->bus.lun);
    disk_conf_detach(&self->disk);
}

static bool pass_make(ScsiPassDevice *self, bool generic, GError **error)
{
    DiskConf *disk = &self->disk;
    ScsiLun *lun = &self->bus.lun;
    const ScsiLunClass *cls;
    if (!disk_conf_attach(disk, &self->bus.dev, "", error)) {
        return false;
    }
    lun->opaque = &self->pass;
    if (block_scsi_check(disk->backend, error) && (cls = find_class(self, generic, error))) {
        self->pass.max_transfer = block_scsi_max_transfer(disk->backend);
        disk->logical_block = disk->physical_block = find_block_size(self, cls);
        if (scsi_lun_init(lun, cls, &self->bus.dev, disk, &self->identity, error) &&
            scsi_bus_attach(&self->bus, error)) {
            return true;
        }
    }
    pass_unmake(self);
    return false;
}

static bool generic_realize(Device *dev, GError **error)
{
    return pass_make((ScsiPassDevice *)dev, true, error);
}

static bool block_realize(Device *dev, GError **error)
{
    return pass_make((ScsiPassDevice *)dev, false, error);
}

static void pass_unrealize(Device *dev)
{
    scsi_bus_detach((ScsiBusDevice *)dev);
    pass_unmake((ScsiPassDevice *)dev);
}

static void pass_reset(Device *dev)
{
    scsi_lun_reset(&((ScsiBusDevice *)dev)->lun, true);
}

/* What the device itself remembers (mode pages, locks) stays with the host. */
static const StateField pass_fields[] = {
    STATE_STRUCT(ScsiBusDevice, lun, &scsi_lun_state),
    STATE_END,
};

static const StateSection pass_state = {
    .name = "scsi-pass",
    .version = 1,
    .fields = pass_fields,
};

#define PASS_CLASS(_name, _desc, _props, _realize)                                                 \
    {                                                                                              \
        .name = (_name), .desc = (_desc), .bus = BUS_SCSI, .category = DEVICE_CATEGORY_STORAGE,    \
        .size = sizeof(ScsiPassDevice), .props = (_props), .groups = pass_groups,                  \
        .state = &pass_state, .hotpluggable = true, .realize = (_realize),                         \
        .unrealize = pass_unrealize, .reset = pass_reset                                           \
    }

const DeviceClass scsi_block_class =
    PASS_CLASS("scsi-block", "SCSI disk or CD drive of the host; reading and writing as a drive's",
               block_props, block_realize);
const DeviceClass scsi_generic_class =
    PASS_CLASS("scsi-generic", "SCSI disk or CD drive of the host, all of its commands",
               generic_props, generic_realize);
