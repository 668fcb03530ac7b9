/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The floppy controller's commands (Intel 82077AA, "Command set/descriptions"). */
#include "hw/isa/fdc.h"

#define FLAG_MULTI_TRACK 0x80
#define SIZE_512         2 /* N */
#define HEAD_SELECT      0x04
#define RATE_MASK        0x03

enum {
    CMD_READ_TRACK = 0x02,
    CMD_SPECIFY = 0x03,
    CMD_SENSE_DRIVE = 0x04,
    CMD_WRITE = 0x05,
    CMD_READ = 0x06,
    CMD_RECALIBRATE = 0x07,
    CMD_SENSE_INTERRUPT = 0x08,
    CMD_WRITE_DELETED = 0x09,
    CMD_READ_ID = 0x0a,
    CMD_READ_DELETED = 0x0c,
    CMD_FORMAT = 0x0d,
    CMD_DUMPREG = 0x0e,
    CMD_SEEK = 0x0f,
    CMD_VERSION = 0x10,
    CMD_PERPENDICULAR = 0x12,
    CMD_CONFIGURE = 0x13,
    CMD_LOCK = 0x14, /* bit 7: lock, else unlock */
    CMD_VERIFY = 0x16,
    CMD_PART_ID = 0x18,
    CMD_RELATIVE_SEEK = 0x8f, /* bit 6: towards the centre */
};

#define VERSION_82077 0x90
#define PART_ID       0x41

/* ---- Helpers ---- */

static FdcDrive *select_drive(FdcState *fdc, uint8_t select)
{
    fdc->unit = select & FDC_DOR_SELECT;
    fdc->head = select & HEAD_SELECT ? 1 : 0;
    return &fdc->drives[fdc->unit];
}

static void invalid(FdcState *fdc)
{
    fdc_answer(fdc, (const uint8_t[]){ FDC_ST0_INVALID }, 1, false);
}

/* A change of media is seen no longer once the heads moved over one. */
static void move_heads(FdcState *fdc, FdcDrive *drive, uint8_t track)
{
    drive->track = track;
    if (fdc_drive_loaded(drive)) {
        drive->changed = false;
    }
}

/* ---- Data ---- */

/* What the command names: place, end of track, flags. */
static bool set_place(FdcState *fdc, FdcDrive *drive)
{
    const uint8_t *p = fdc->params;
    fdc->multi_track = p[0] & FLAG_MULTI_TRACK;
    fdc->cylinder = p[2];
    fdc->head = p[3] & 1;
    fdc->record = p[4];
    fdc->end = fdc->last_sector = p[6];
    if (!fdc_drive_loaded(drive) || drive->format->rate != (fdc->dsr & RATE_MASK) ||
        p[5] != SIZE_512) {
        fdc_finish(fdc, FDC_ST0_ABNORMAL, FDC_ST1_NO_ID, 0);
        return false;
    }
    move_heads(fdc, drive, fdc->cylinder); /* the implied seek */
    return true;
}

static void cmd_read(FdcState *fdc)
{
    FdcDrive *drive = select_drive(fdc, fdc->params[1]);
    if (set_place(fdc, drive)) {
        fdc_start(fdc, FDC_READ);
    }
}

static void cmd_read_track(FdcState *fdc)
{
    fdc->params[0] = 0;
    fdc->params[4] = 1; /* from the index hole */
    cmd_read(fdc);
}

static void cmd_write(FdcState *fdc)
{
    FdcDrive *drive = select_drive(fdc, fdc->params[1]);
    if (!set_place(fdc, drive)) {
        return;
    }
    if (fdc_drive_readonly(drive)) {
        fdc_finish(fdc, FDC_ST0_ABNORMAL, FDC_ST1_READONLY, 0);
        return;
    }
    fdc_start(fdc, FDC_WRITE);
}

/* What is on the medium reads well: only the place is looked at. With EC the byte behind the gap
 * counts the sectors. */
static void cmd_verify(FdcState *fdc)
{
    FdcDrive *drive = select_drive(fdc, fdc->params[1]);
    bool counted = fdc->params[1] & 0x80;
    uint64_t offset;
    if (!set_place(fdc, drive)) {
        return;
    }
    unsigned count = counted ? fdc->params[8] : fdc->end + 1U - MIN(fdc->record, fdc->end);
    for (unsigned i = 0; i < count; i++) {
        if (!fdc_drive_offset(drive, fdc->cylinder, fdc->head, fdc->record, &offset)) {
            fdc_finish(fdc, FDC_ST0_ABNORMAL, FDC_ST1_NO_DATA, 0);
            return;
        }
        if (fdc->record < fdc->end) {
            fdc->record++;
        } else {
            fdc->record = 1;
            fdc->head ^= fdc->multi_track;
            fdc->cylinder = (uint8_t)(fdc->cylinder + (fdc->head == 0 || !fdc->multi_track));
        }
    }
    fdc_finish(fdc, 0, 0, 0);
}

static void cmd_format(FdcState *fdc)
{
    FdcDrive *drive = select_drive(fdc, fdc->params[1]);
    fdc->cylinder = drive->track;
    fdc->record = 1;
    fdc->todo = fdc->params[3];
    fdc->last_sector = fdc->params[3];
    fdc->filler = fdc->params[5];
    fdc->multi_track = false;
    if (!fdc_drive_loaded(drive) || fdc->params[2] != SIZE_512 || !fdc->todo) {
        fdc_finish(fdc, FDC_ST0_ABNORMAL, FDC_ST1_NO_ID, 0);
    } else if (fdc_drive_readonly(drive)) {
        fdc_finish(fdc, FDC_ST0_ABNORMAL, FDC_ST1_READONLY, 0);
    } else {
        fdc_start(fdc, FDC_FORMAT);
    }
}

static void cmd_read_id(FdcState *fdc)
{
    FdcDrive *drive = select_drive(fdc, fdc->params[1]);
    bool found = fdc_drive_loaded(drive) && drive->format->rate == (fdc->dsr & RATE_MASK) &&
                 drive->track < drive->format->tracks && fdc->head < drive->format->heads;
    fdc->cylinder = drive->track;
    fdc->record = 1;
    fdc_finish(fdc, found ? 0 : FDC_ST0_ABNORMAL, found ? 0 : FDC_ST1_NO_ID, 0);
}

/* ---- Heads ---- */

/* A seek ends at once and tells so by an interrupt; SENSE INTERRUPT STATUS follows. */
static void seek_ended(FdcState *fdc, uint8_t status)
{
    fdc->seeking |= (uint8_t)(1u << fdc->unit);
    fdc->sense_status = (uint8_t)(status | fdc->head << 2 | fdc->unit);
    fdc_to_command(fdc);
    fdc_set_interrupt(fdc, true);
}

static void cmd_recalibrate(FdcState *fdc)
{
    FdcDrive *drive = select_drive(fdc, fdc->params[1] & FDC_DOR_SELECT);
    move_heads(fdc, drive, 0);
    seek_ended(fdc, drive->floppy ? FDC_ST0_SEEK_END
                                  : FDC_ST0_SEEK_END | FDC_ST0_EQUIP | FDC_ST0_ABNORMAL);
}

static void cmd_seek(FdcState *fdc)
{
    FdcDrive *drive = select_drive(fdc, fdc->params[1]);
    move_heads(fdc, drive, fdc->params[2]);
    seek_ended(fdc, FDC_ST0_SEEK_END);
}

static void cmd_relative_seek(FdcState *fdc)
{
    FdcDrive *drive = select_drive(fdc, fdc->params[1]);
    bool inwards = fdc->params[0] & 0x40;
    int track = inwards ? drive->track + fdc->params[2] : drive->track - fdc->params[2];
    move_heads(fdc, drive, (uint8_t)CLAMP(track, 0, UINT8_MAX));
    seek_ended(fdc, FDC_ST0_SEEK_END);
}

static void cmd_sense_interrupt(FdcState *fdc)
{
    uint8_t result[2];
    if (fdc->reset_senses) {
        unsigned unit = FDC_ADDRESSED - fdc->reset_senses--;
        result[0] = (uint8_t)(FDC_ST0_POLLED | unit);
        result[1] = fdc->drives[unit].track;
    } else if (fdc->seeking) {
        result[0] = fdc->sense_status;
        result[1] = fdc->drives[fdc->sense_status & FDC_DOR_SELECT].track;
        fdc->seeking = 0;
    } else {
        invalid(fdc);
        return;
    }
    fdc_set_interrupt(fdc, false);
    fdc_answer(fdc, result, sizeof(result), false);
}

static void cmd_sense_drive(FdcState *fdc)
{
    const FdcDrive *drive = select_drive(fdc, fdc->params[1]);
    bool protected = drive->floppy && fdc_drive_readonly(drive);
    uint8_t st3 = (uint8_t)(0x28 | (protected ? 0x40 : 0) | (drive->track ? 0 : 0x10) |
                            fdc->head << 2 | fdc->unit);
    fdc_answer(fdc, &st3, 1, false);
}

/* ---- Settings ---- */

static void cmd_specify(FdcState *fdc)
{
    fdc->timing[0] = fdc->params[1];
    fdc->timing[1] = fdc->params[2];
    fdc_to_command(fdc);
}

static void cmd_configure(FdcState *fdc)
{
    fdc->config = fdc->params[2];
    fdc->precompensation = fdc->params[3];
    fdc_to_command(fdc);
}

static void cmd_perpendicular(FdcState *fdc)
{
    if (fdc->params[1] & 0x80) {
        fdc->perpendicular = fdc->params[1] & 0x3f;
    } else {
        fdc->perpendicular = (fdc->perpendicular & ~3) | (fdc->params[1] & 3);
    }
    fdc_to_command(fdc);
}

static void cmd_lock(FdcState *fdc)
{
    fdc->locked = fdc->params[0] & FDC_LOCK_FIFO;
    fdc_answer(fdc, (const uint8_t[]){ fdc->locked ? 0x10 : 0 }, 1, false);
}

static void cmd_version(FdcState *fdc)
{
    fdc_answer(fdc, (const uint8_t[]){ VERSION_82077 }, 1, false);
}

static void cmd_part_id(FdcState *fdc)
{
    fdc_answer(fdc, (const uint8_t[]){ PART_ID }, 1, false);
}

static void cmd_dumpreg(FdcState *fdc)
{
    const uint8_t result[] = {
        fdc->drives[0].track, fdc->drives[1].track,
        fdc->drives[2].track, fdc->drives[3].track,
        fdc->timing[0],       fdc->timing[1],
        fdc->last_sector,     (uint8_t)((fdc->locked ? 0x80 : 0) | fdc->perpendicular),
        fdc->config,          fdc->precompensation
    };
    fdc_answer(fdc, result, sizeof(result), false);
}

/* ---- The table ---- */

typedef struct FdcCommand {
    uint8_t value, mask;
    uint8_t bytes; /* with the command */
    void (*run)(FdcState *fdc);
} FdcCommand;

static const FdcCommand commands[] = {
    { CMD_READ, 0x1f, 9, cmd_read },
    { CMD_READ_DELETED, 0x1f, 9, cmd_read },
    { CMD_WRITE, 0x3f, 9, cmd_write },
    { CMD_WRITE_DELETED, 0x3f, 9, cmd_write },
    { CMD_READ_TRACK, 0x9f, 9, cmd_read_track },
    { CMD_VERIFY, 0x1f, 9, cmd_verify },
    { CMD_FORMAT, 0xbf, 6, cmd_format },
    { CMD_READ_ID, 0xbf, 2, cmd_read_id },
    { CMD_RELATIVE_SEEK, 0xbf, 3, cmd_relative_seek },
    { CMD_SEEK, 0xff, 3, cmd_seek },
    { CMD_RECALIBRATE, 0xff, 2, cmd_recalibrate },
    { CMD_SENSE_INTERRUPT, 0xff, 1, cmd_sense_interrupt },
    { CMD_SENSE_DRIVE, 0xff, 2, cmd_sense_drive },
    { CMD_SPECIFY, 0xff, 3, cmd_specify },
    { CMD_CONFIGURE, 0xff, 4, cmd_configure },
    { CMD_PERPENDICULAR, 0xff, 2, cmd_perpendicular },
    { CMD_LOCK, 0x7f, 1, cmd_lock },
    { CMD_VERSION, 0xff, 1, cmd_version },
    { CMD_PART_ID, 0xff, 1, cmd_part_id },
    { CMD_DUMPREG, 0xff, 1, cmd_dumpreg },
};

static const FdcCommand *find_command(uint8_t byte)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        if ((byte & commands[i].mask) == commands[i].value) {
            return &commands[i];
        }
    }
    return NULL;
}

unsigned fdc_param_count(uint8_t command)
{
    const FdcCommand *found = find_command(command);
    return found ? found->bytes : 1;
}

void fdc_run(FdcState *fdc)
{
    const FdcCommand *command = find_command(fdc->params[0]);
    if (command) {
        command->run(fdc);
    } else {
        invalid(fdc);
    }
}
