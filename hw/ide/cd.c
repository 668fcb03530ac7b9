/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ide-cd": a packet device whose commands a SCSI logical unit carries out (MMC-5, ATA/ATAPI-7). */
#include <errno.h>
#include "hw/devices.h"
#include "hw/ide/ata.h"
#include "vmm/util/bytes.h"

#define CD_SECTOR 2048

typedef struct IdeCd {
    IdeDrive drive;
    ScsiLun lun;
    ScsiIdentity identity;
} IdeCd;

/* ---- PACKET ---- */

static void request_done(ScsiRequest *scsi)
{
    IdeJob *job = scsi->opaque;
    IdeCd *cd = (IdeCd *)job->drive;
    GMutex *lock = job->drive->port->lock;
    g_mutex_lock(lock);
    job->moved = scsi->moved;
    if (scsi->status != SCSI_GOOD) {
        const uint8_t *sense = scsi->sense_len ? scsi->sense : cd->lun.mode.sense;
        job->drive->sense_key = sense[2] & 0xf;
    }
    if (scsi->direction == SCSI_DATA_IN) {
        ide_job_mark_dirty(job);
    }
    ide_job_finish(job, scsi->status == SCSI_GOOD ? 0 : -EIO);
    g_mutex_unlock(lock);
}

/* The next pieces of the host's memory as the request's window. */
static bool map_window(IdeJob *job)
{
    ScsiRequest *scsi = &job->scsi;
    bool in = scsi->direction == SCSI_DATA_IN;
    uint64_t rest = scsi->length - scsi->moved;
    int64_t bytes = ide_sg_map(&job->sg, rest, 1, in, job->iov, job->iov_max, &job->iov_count);
    if (bytes <= 0) {
        return false;
    }
    *(in ? &scsi->in : &scsi->out) =
        (ScsiWindow){ .iov = job->iov, .count = (int)job->iov_count, .bytes = (uint64_t)bytes };
    return true;
}

static void request_next(ScsiRequest *scsi)
{
    IdeJob *job = scsi->opaque;
    GMutex *lock = job->drive->port->lock;
    bool more = false;
    g_mutex_lock(lock);
    bool windows = job->windows;
    job->moved = scsi->moved;
    if (windows) {
        if (scsi->direction == SCSI_DATA_IN) {
            ide_job_mark_dirty(job);
        }
        more = map_window(job);
    } else {
        job->packet_next(job);
    }
    g_mutex_unlock(lock);
    if (more) {
        scsi_request_continue(scsi);
    } else if (windows) {
        scsi_request_cancel(scsi); /* the host's memory ended first */
    }
}

static void use_buffer(IdeJob *job, uint64_t bytes)
{
    bool in = job->scsi.direction == SCSI_DATA_IN;
    job->one = (struct iovec){ job->drive->buffer, bytes };
    *(in ? &job->scsi.in : &job->scsi.out) =
        (ScsiWindow){ .iov = &job->one, .count = 1, .bytes = bytes };
}

static void packet_start(IdeJob *job)
{
    IdeCd *cd = (IdeCd *)job->drive;
    ScsiRequest *scsi = &job->scsi;
    job->iov_count = 0;
    scsi_request_init(scsi, &cd->lun);
    memcpy(scsi->cdb, job->drive->cdb, ATA_CDB_BYTES);
    scsi->done = request_done;
    scsi->next = request_next;
    scsi->opaque = job;
    scsi_request_prepare(scsi);
    if (!job->windows && scsi->direction == SCSI_DATA_IN) {
        use_buffer(job, job->plan.block_bytes);
    }
    scsi_request_submit(scsi);
}

static void packet_proceed(IdeJob *job, uint64_t bytes)
{
    use_buffer(job, bytes);
    scsi_request_continue(&job->scsi);
}

static void packet_cancel(IdeJob *job)
{
    scsi_request_cancel(&job->scsi);
}

static void packet_drain(IdeDrive *drive, bool cancel)
{
    scsi_lun_drain(&((IdeCd *)drive)->lun, cancel);
}

static const IdePacketOps packet_ops = {
    .start = packet_start,
    .proceed = packet_proceed,
    .cancel = packet_cancel,
    .drain = packet_drain,
};

/* ---- Life ---- */

static bool attach(IdeCd *cd, GError **error)
{
    IdeDrive *drive = &cd->drive;
    cd->identity = (ScsiIdentity){ .vendor = g_strdup("QEMU"),
                                   .product = g_strdup("QEMU DVD-ROM"),
                                   .version = g_strdup("2.5+"),
                                   .scsi_version = 5,
                                   .max_io_size = INT32_MAX,
                                   .removable = true };
    drive->disk.logical_block = drive->disk.physical_block = CD_SECTOR;
    drive->heads = 16;
    drive->secs = 63;
    if (!disk_conf_attach_removable(&drive->disk, &drive->dev, "", true, true, error) ||
        !disk_conf_sizes(&drive->disk, error) ||
        !scsi_lun_init(&cd->lun, &scsi_cd_lun, &drive->dev, &drive->disk, &cd->identity, error)) {
        return false;
    }
    cd->lun.autosense = false;
    cd->lun.atapi = true;
    return true;
}

static void detach(IdeCd *cd)
{
    scsi_lun_cleanup(&cd->lun);
    disk_conf_detach(&cd->drive.disk);
    g_free(cd->identity.vendor);
    g_free(cd->identity.product);
    g_free(cd->identity.version);
}

static bool cd_realize(Device *dev, GError **error)
{
    IdeCd *cd = (IdeCd *)dev;
    cd->drive.is_cd = true;
    cd->drive.packet = &packet_ops;
    if (!attach(cd, error) || !ide_drive_plug(&cd->drive, error)) {
        detach(cd);
        return false;
    }
    return true;
}

static void cd_unrealize(Device *dev)
{
    IdeCd *cd = (IdeCd *)dev;
    cd->drive.port->unplugged(cd->drive.port, &cd->drive);
    detach(cd);
}

static void cd_reset(Device *dev)
{
    IdeCd *cd = (IdeCd *)dev;
    g_mutex_lock(cd->drive.port->lock);
    ata_reset(&cd->drive, true);
    g_mutex_unlock(cd->drive.port->lock);
    scsi_lun_reset(&cd->lun, true);
}

/* ---- Description ---- */

static const StateField cd_fields[] = {
    STATE_STRUCT(IdeCd, drive, &ide_drive_state),
    STATE_STRUCT(IdeCd, lun, &scsi_lun_state),
    STATE_END,
};

static const StateSection cd_state = {
    .name = "ide-cd",
    .version = 1,
    .fields = cd_fields,
};

static const Property cd_props[] = {
    IDE_DRIVE_PROPS,
    PROP_END,
};

const DeviceClass ide_cd_class = {
    .name = "ide-cd",
    .desc = "ATAPI CD-ROM and DVD drive",
    .bus = BUS_IDE,
    .category = DEVICE_CATEGORY_STORAGE,
    .size = sizeof(IdeCd),
    .props = cd_props,
    .state = &cd_state,
    .hotpluggable = true,
    .realize = cd_realize,
    .unrealize = cd_unrealize,
    .reset = cd_reset,
};
