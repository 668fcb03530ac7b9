/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATA commands (ACS-2, ATA/ATAPI-7): decoding, addresses, results, reset. */
#include <errno.h>
#include "hw/ide/ata.h"
#include "vmm/util/bytes.h"

enum { ON_DISK = 1, ON_CD = 2, ON_BOTH = 3 };

/* What a data command is. */
enum {
    RW_WRITE = 1 << 0,
    RW_DMA = 1 << 1,
    RW_LBA48 = 1 << 2,
    RW_MULTIPLE = 1 << 3,
    RW_FUA = 1 << 4,
    RW_VERIFY = 1 << 5,
    RW_QUEUED = 1 << 6,
};

typedef struct AtaCommand {
    uint8_t kinds; /* 0: no such command */
    uint8_t rw;    /* data commands: RW_* */
    bool (*decode)(IdeDrive *drive, AtaPlan *plan);
} AtaCommand;

static const AtaCommand commands[256];

/* ---- Addresses ---- */

uint64_t ata_sectors(const IdeDrive *drive)
{
    return block_backend_length(drive->disk.backend) / drive->disk.logical_block;
}

static uint64_t lba48_of(const AtaRegs *r)
{
    return (uint64_t)r->now[ATA_LBA_LOW] | (uint64_t)r->now[ATA_LBA_MID] << 8 |
           (uint64_t)r->now[ATA_LBA_HIGH] << 16 | (uint64_t)r->before[ATA_LBA_LOW] << 24 |
           (uint64_t)r->before[ATA_LBA_MID] << 32 | (uint64_t)r->before[ATA_LBA_HIGH] << 40;
}

/* 28-bit LBA, or cylinder, head and sector. False: a sector that no cylinder has. */
static bool lba28_of(const IdeDrive *drive, uint64_t *lba)
{
    const AtaRegs *r = &drive->regs;
    uint64_t head = r->device & 0xf, cylinder = r->now[ATA_LBA_MID] | r->now[ATA_LBA_HIGH] << 8;
    uint64_t sector = r->now[ATA_LBA_LOW];
    if (r->device & ATA_DEVICE_LBA) {
        *lba = head << 24 | cylinder << 8 | sector;
        return true;
    }
    *lba = (cylinder * drive->current_heads + head) * drive->current_secs + sector - 1;
    return sector >= 1 && sector <= drive->current_secs && head < drive->current_heads;
}

static void set_chs(IdeDrive *drive, uint64_t lba)
{
    AtaRegs *r = &drive->regs;
    uint64_t track = lba / drive->current_secs, cylinder = track / drive->current_heads;
    r->now[ATA_LBA_LOW] = (uint8_t)(lba % drive->current_secs + 1);
    r->now[ATA_LBA_MID] = (uint8_t)cylinder;
    r->now[ATA_LBA_HIGH] = (uint8_t)(cylinder >> 8);
    r->device = (r->device & 0xf0) | (uint8_t)(track % drive->current_heads);
}

void ata_set_lba(IdeDrive *drive, uint64_t lba, bool lba48)
{
    AtaRegs *r = &drive->regs;
    if (!lba48 && !(r->device & ATA_DEVICE_LBA)) {
        set_chs(drive, lba);
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        r->now[ATA_LBA_LOW + i] = (uint8_t)(lba >> (8 * i));
        if (lba48) {
            r->before[ATA_LBA_LOW + i] = (uint8_t)(lba >> (24 + 8 * i));
        }
    }
    if (!lba48) {
        r->device = (r->device & 0xf0) | (uint8_t)(lba >> 24 & 0xf);
    }
}

static bool refuse(IdeDrive *drive, uint8_t error)
{
    ata_abort(drive, error);
    return false;
}

void ata_abort(IdeDrive *drive, uint8_t error)
{
    drive->regs.status = ATA_STATUS_IDLE | ATA_STATUS_ERR;
    drive->regs.error = error;
}

/* ---- Reading and writing ---- */

static uint32_t count_of(const AtaRegs *r, unsigned rw)
{
    unsigned at = rw & RW_QUEUED ? ATA_FEATURE : ATA_COUNT;
    uint32_t count = r->now[at];
    if (rw & (RW_LBA48 | RW_QUEUED)) {
        count |= (uint32_t)r->before[at] << 8;
        return count ? count : 65536;
    }
    return count ? count : 256;
}

static uint8_t protocol_of(unsigned rw)
{
    if (rw & RW_VERIFY) {
        return ATA_NO_DATA;
    }
    if (rw & RW_DMA) {
        return rw & RW_WRITE ? ATA_DMA_OUT : ATA_DMA_IN;
    }
    return rw & RW_WRITE ? ATA_PIO_OUT : ATA_PIO_IN;
}

static bool decode_rw(IdeDrive *drive, AtaPlan *plan)
{
    const AtaRegs *r = &drive->regs;
    unsigned rw = commands[r->command].rw;
    uint32_t sector = drive->disk.logical_block;
    uint64_t lba = 0;
    plan->lba48 = rw & (RW_LBA48 | RW_QUEUED);
    plan->ncq = rw & RW_QUEUED;
    plan->tag = r->now[ATA_COUNT] >> 3;
    plan->fua = rw & RW_FUA || (plan->ncq && r->device & ATA_DEVICE_FUA && rw & RW_WRITE);
    plan->protocol = protocol_of(rw);
    plan->action = rw & RW_VERIFY ? ATA_VERIFY : rw & RW_WRITE ? ATA_WRITE : ATA_READ;
    uint32_t count = count_of(r, rw);
    if ((rw & RW_MULTIPLE && !drive->mult) || (plan->ncq && !drive->port->sata) ||
        (rw & RW_WRITE && block_backend_readonly(drive->disk.backend))) {
        return refuse(drive, ATA_ERROR_ABRT);
    }
    if (plan->lba48) {
        lba = lba48_of(r);
    } else if (!lba28_of(drive, &lba)) {
        return refuse(drive, ATA_ERROR_IDNF);
    }
    if (!range_inside(lba, count, ata_sectors(drive))) {
        return refuse(drive, ATA_ERROR_IDNF);
    }
    plan->offset = lba * sector;
    plan->bytes = (uint64_t)count * sector;
    plan->block_bytes = rw & RW_MULTIPLE ? drive->mult * sector : sector;
    return true;
}

static bool decode_trim(IdeDrive *drive, AtaPlan *plan)
{
    uint32_t blocks = drive->regs.now[ATA_COUNT] | drive->regs.before[ATA_COUNT] << 8;
    if (drive->regs.now[ATA_FEATURE] != 1 || !drive->disk.discard_granularity || !blocks ||
        blocks > ATA_TRIM_BLOCKS || block_backend_readonly(drive->disk.backend)) {
        return refuse(drive, ATA_ERROR_ABRT);
    }
    plan->protocol = ATA_DMA_OUT;
    plan->action = ATA_TRIM;
    plan->bytes = (uint64_t)blocks * 512;
    plan->block_bytes = (uint32_t)plan->bytes;
    return true;
}

static bool decode_flush(IdeDrive *drive, AtaPlan *plan)
{
    plan->action = block_backend_readonly(drive->disk.backend) ? ATA_DONE : ATA_FLUSH;
    return true;
}

/* ---- Without data ---- */

static bool decode_abort(IdeDrive *drive, AtaPlan *plan)
{
    return refuse(drive, ATA_ERROR_ABRT);
}

static bool decode_nothing(IdeDrive *drive, AtaPlan *plan)
{
    return true;
}

static bool decode_native_max(IdeDrive *drive, AtaPlan *plan)
{
    bool lba48 = commands[drive->regs.command].rw & RW_LBA48;
    uint64_t last = ata_sectors(drive) ? ata_sectors(drive) - 1 : 0;
    drive->regs.device |= ATA_DEVICE_LBA;
    ata_set_lba(drive, lba48 ? last : MIN(last, 0xfffffff), lba48);
    return true;
}

static bool decode_set_multiple(IdeDrive *drive, AtaPlan *plan)
{
    uint8_t count = drive->regs.now[ATA_COUNT];
    if (count > ATA_MULT_MAX || count & (count - 1)) {
        return refuse(drive, ATA_ERROR_ABRT);
    }
    drive->mult = count;
    return true;
}

static bool decode_init_params(IdeDrive *drive, AtaPlan *plan)
{
    if (!drive->regs.now[ATA_COUNT]) {
        return refuse(drive, ATA_ERROR_ABRT);
    }
    drive->current_secs = drive->regs.now[ATA_COUNT];
    drive->current_heads = (drive->regs.device & 0xf) + 1;
    return true;
}

static bool decode_seek(IdeDrive *drive, AtaPlan *plan)
{
    uint64_t lba = 0;
    if (!lba28_of(drive, &lba) || lba >= ata_sectors(drive)) {
        return refuse(drive, ATA_ERROR_IDNF);
    }
    return true;
}

/* Controllers that have two drives run the other's part. */
static bool decode_diagnostic(IdeDrive *drive, AtaPlan *plan)
{
    ata_signature(drive);
    return true;
}

/* ---- Power: STANDBY and SLEEP spin down, IDLE spins up, any access too ---- */

static bool decode_standby(IdeDrive *drive, AtaPlan *plan)
{
    drive->standby = true;
    return decode_flush(drive, plan);
}

static bool decode_idle(IdeDrive *drive, AtaPlan *plan)
{
    drive->standby = false;
    return true;
}

static bool decode_check_power(IdeDrive *drive, AtaPlan *plan)
{
    drive->regs.now[ATA_COUNT] = drive->standby ? 0x00 : 0xff;
    return true;
}

static bool decode_sleep(IdeDrive *drive, AtaPlan *plan)
{
    return decode_standby(drive, plan);
}

/* ---- Identification, logs ---- */

bool ata_plan_buffer(AtaPlan *plan, uint64_t bytes)
{
    plan->protocol = ATA_PIO_IN;
    plan->action = ATA_BUFFER;
    plan->bytes = bytes;
    plan->block_bytes = 512;
    return true;
}

static bool decode_identify(IdeDrive *drive, AtaPlan *plan)
{
    if (drive->is_cd) { /* 9.12: a packet device aborts, with its signature */
        ata_signature(drive);
        return refuse(drive, ATA_ERROR_ABRT);
    }
    ata_identify(drive);
    return ata_plan_buffer(plan, 512);
}

static bool decode_identify_packet(IdeDrive *drive, AtaPlan *plan)
{
    ata_identify_packet(drive);
    return ata_plan_buffer(plan, 512);
}

static bool decode_read_cd(IdeDrive *drive, AtaPlan *plan)
{
    ata_signature(drive);
    return refuse(drive, ATA_ERROR_ABRT);
}

static bool decode_read_sectors(IdeDrive *drive, AtaPlan *plan)
{
    return drive->is_cd ? decode_read_cd(drive, plan) : decode_rw(drive, plan);
}

/* ---- PACKET ---- */

static bool decode_packet(IdeDrive *drive, AtaPlan *plan)
{
    uint32_t limit = drive->regs.now[ATA_LBA_MID] | drive->regs.now[ATA_LBA_HIGH] << 8;
    bool dma = drive->regs.now[ATA_FEATURE] & 1;
    if (drive->regs.now[ATA_FEATURE] & 2) { /* overlapped */
        return refuse(drive, ATA_ERROR_ABRT);
    }
    plan->protocol = ATA_PACKET;
    plan->action = ATA_SCSI;
    limit = limit == 0xffff || !limit ? 0xfffe : limit; /* 7.18: as large as can be */
    plan->block_bytes = MAX(limit & ~1U, 2);
    plan->packet_dma = dma;
    return true;
}

/* A packet device is reset by command, even while it is busy: the controller sees to that. */
static bool decode_device_reset(IdeDrive *drive, AtaPlan *plan)
{
    ata_signature(drive);
    return true;
}

static const AtaCommand commands[256] = {
    [0x00] = { ON_BOTH, 0, decode_abort }, /* NOP */
    [0x06] = { ON_DISK, 0, decode_trim },
    [0x08] = { ON_CD, 0, decode_device_reset },
    [0x10] = { ON_DISK, 0, decode_nothing }, /* RECALIBRATE */
    [0x20] = { ON_BOTH, 0, decode_read_sectors },
    [0x21] = { ON_DISK, 0, decode_rw },
    [0x24] = { ON_DISK, RW_LBA48, decode_rw },
    [0x25] = { ON_DISK, RW_LBA48 | RW_DMA, decode_rw },
    [0x27] = { ON_DISK, RW_LBA48, decode_native_max },
    [0x29] = { ON_DISK, RW_LBA48 | RW_MULTIPLE, decode_rw },
    [0x2f] = { ON_DISK, 0, ata_read_log },
    [0x30] = { ON_DISK, RW_WRITE, decode_rw },
    [0x31] = { ON_DISK, RW_WRITE, decode_rw },
    [0x34] = { ON_DISK, RW_WRITE | RW_LBA48, decode_rw },
    [0x35] = { ON_DISK, RW_WRITE | RW_LBA48 | RW_DMA, decode_rw },
    [0x39] = { ON_DISK, RW_WRITE | RW_LBA48 | RW_MULTIPLE, decode_rw },
    [0x3c] = { ON_DISK, RW_WRITE, decode_rw }, /* WRITE VERIFY */
    [0x3d] = { ON_DISK, RW_WRITE | RW_LBA48 | RW_DMA | RW_FUA, decode_rw },
    [0x40] = { ON_DISK, RW_VERIFY, decode_rw },
    [0x41] = { ON_DISK, RW_VERIFY, decode_rw },
    [0x42] = { ON_DISK, RW_VERIFY | RW_LBA48, decode_rw },
    [0x60] = { ON_DISK, RW_QUEUED | RW_DMA, decode_rw },
    [0x61] = { ON_DISK, RW_QUEUED | RW_DMA | RW_WRITE, decode_rw },
    [0x70] = { ON_DISK, 0, decode_seek },
    [0x90] = { ON_BOTH, 0, decode_diagnostic },
    [0x91] = { ON_DISK, 0, decode_init_params },
    [0x94] = { ON_DISK, 0, decode_standby },
    [0x95] = { ON_DISK, 0, decode_idle },
    [0x96] = { ON_DISK, 0, decode_standby },
    [0x97] = { ON_DISK, 0, decode_idle },
    [0x98] = { ON_DISK, 0, decode_check_power },
    [0x99] = { ON_DISK, 0, decode_sleep },
    [0xa0] = { ON_CD, 0, decode_packet },
    [0xa1] = { ON_CD, 0, decode_identify_packet },
    [0xb0] = { ON_DISK, 0, ata_smart },
    [0xc4] = { ON_DISK, RW_MULTIPLE, decode_rw },
    [0xc5] = { ON_DISK, RW_WRITE | RW_MULTIPLE, decode_rw },
    [0xc6] = { ON_DISK, 0, decode_set_multiple },
    [0xc8] = { ON_DISK, RW_DMA, decode_rw },
    [0xc9] = { ON_DISK, RW_DMA, decode_rw },
    [0xca] = { ON_DISK, RW_WRITE | RW_DMA, decode_rw },
    [0xcb] = { ON_DISK, RW_WRITE | RW_DMA, decode_rw },
    [0xce] = { ON_DISK, RW_WRITE | RW_LBA48 | RW_MULTIPLE | RW_FUA, decode_rw },
    [0xe0] = { ON_BOTH, 0, decode_standby },
    [0xe1] = { ON_BOTH, 0, decode_idle },
    [0xe2] = { ON_BOTH, 0, decode_standby },
    [0xe3] = { ON_BOTH, 0, decode_idle },
    [0xe5] = { ON_BOTH, 0, decode_check_power },
    [0xe6] = { ON_BOTH, 0, decode_sleep },
    [0xe7] = { ON_BOTH, 0, decode_flush },
    [0xea] = { ON_DISK, 0, decode_flush },
    [0xec] = { ON_BOTH, 0, decode_identify },
    [0xef] = { ON_BOTH, 0, ata_set_features },
    [0xf8] = { ON_DISK, 0, decode_native_max },
};

bool ata_decode(IdeDrive *drive, AtaPlan *plan)
{
    AtaRegs *r = &drive->regs;
    const AtaCommand *command = &commands[r->command];
    *plan = (AtaPlan){ .protocol = ATA_NO_DATA, .action = ATA_DONE };
    r->status = ATA_STATUS_IDLE;
    r->error = 0;
    if (!(command->kinds & (drive->is_cd ? ON_CD : ON_DISK))) {
        return refuse(drive, ATA_ERROR_ABRT);
    }
    if (!command->decode(drive, plan)) {
        return false;
    }
    if (plan->action == ATA_READ || plan->action == ATA_WRITE || plan->action == ATA_VERIFY) {
        drive->standby = false;
    }
    return true;
}

/* ---- Results ---- */

static void finish_packet(IdeDrive *drive, int ret)
{
    AtaRegs *r = &drive->regs;
    r->now[ATA_COUNT] = ATAPI_REASON_COD | ATAPI_REASON_IO;
    r->status = ATA_STATUS_IDLE;
    r->error = 0;
    if (ret < 0) {
        r->status |= ATA_STATUS_ERR;
        r->error = (uint8_t)(drive->sense_key << 4) | ATA_ERROR_ABRT;
    }
}

static void finish_data(IdeDrive *drive, const AtaPlan *plan, uint64_t moved, int ret)
{
    uint32_t sector = drive->disk.logical_block;
    uint64_t done = MIN(moved, plan->bytes) / sector;
    uint64_t left = plan->bytes / sector - done;
    if (plan->ncq) { /* several run: the task file is nobody's */
        return;
    }
    ata_set_lba(drive, plan->offset / sector + done - (ret == 0 && done), plan->lba48);
    drive->regs.now[ATA_COUNT] = (uint8_t)left;
    drive->regs.before[ATA_COUNT] = (uint8_t)(left >> 8);
}

static uint8_t error_of(const AtaPlan *plan, int ret)
{
    bool reading = plan->action == ATA_READ || plan->action == ATA_VERIFY;
    bool medium = ret != -EFAULT && ret != -ENODATA && ret != -ECANCELED;
    return reading && medium ? ATA_ERROR_UNC : ret == -ERANGE ? ATA_ERROR_IDNF : ATA_ERROR_ABRT;
}

void ata_finish(IdeDrive *drive, const AtaPlan *plan, uint64_t moved, int ret)
{
    if (plan->action == ATA_SCSI) {
        finish_packet(drive, ret);
        return;
    }
    if (plan->action == ATA_READ || plan->action == ATA_WRITE || plan->action == ATA_VERIFY) {
        finish_data(drive, plan, moved, ret);
    }
    if (ret < 0) {
        ata_abort(drive, error_of(plan, ret));
    } else {
        drive->regs.status = ATA_STATUS_IDLE;
        drive->regs.error = 0;
    }
}

/* ---- Reset ---- */

void ata_signature(IdeDrive *drive)
{
    AtaRegs *r = &drive->regs;
    memset(r->before, 0, sizeof(r->before));
    memset(r->now, 0, sizeof(r->now));
    r->now[ATA_COUNT] = 1;
    r->now[ATA_LBA_LOW] = 1;
    r->now[ATA_LBA_MID] = drive->is_cd ? 0x14 : 0;
    r->now[ATA_LBA_HIGH] = drive->is_cd ? 0xeb : 0;
    r->device &= ATA_DEVICE_UNIT;
    r->error = ATA_ERROR_DIAG_PASSED;
    r->status = drive->is_cd ? 0 : ATA_STATUS_IDLE;
}

void ata_reset(IdeDrive *drive, bool power_on)
{
    ata_signature(drive);
    drive->standby = false;
    if (!power_on) {
        return;
    }
    drive->regs.device = 0;
    drive->regs.command = 0;
    drive->mult = ATA_MULT_MAX;
    drive->current_heads = drive->heads;
    drive->current_secs = drive->secs;
    drive->mwdma = drive->swdma = 0;
    drive->udma = 1 << 5;
    drive->look_ahead = true;
    drive->smart_enabled = true;
    drive->smart_autosave = true;
    drive->queued_error = (AtaQueuedError){ 0 };
    drive->self_test_status = 0;
    block_backend_set_write_cache(drive->disk.backend, drive->disk.initial_write_cache);
}

bool ata_post_load(IdeDrive *drive, GError **error)
{
    bool ok = drive->mult <= ATA_MULT_MAX && !(drive->mult & (drive->mult - 1)) &&
              drive->current_heads >= 1 && drive->current_heads <= 16 && drive->current_secs >= 1 &&
              drive->current_secs <= 255 && drive->self_test_count <= ATA_SELF_TESTS &&
              drive->self_test_next < ATA_SELF_TESTS;
    return ok || error_set(error, "%s: the saved settings are out of range", drive->dev.cls->name);
}
