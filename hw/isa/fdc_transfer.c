/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sectors between drive and guest. READ: the sector is read, then given; WRITE: taken, then
 * written; FORMAT: four bytes are taken, then the filler is written. Each step ends in next().
 */
#include <string.h>
#include "hw/isa/fdc.h"
#include "hw/isa/i8237.h"

#define FORMAT_ID 4 /* bytes of C, H, R, N */

static void give(FdcState *fdc);
static void take(FdcState *fdc);

void fdc_finish(FdcState *fdc, uint8_t st0, uint8_t st1, uint8_t st2)
{
    uint8_t result[] = { (uint8_t)(st0 | fdc->head << 2 | fdc->unit),
                         st1,
                         st2,
                         fdc->cylinder,
                         fdc->head,
                         fdc->record,
                         2 };
    fdc->action = FDC_IDLE;
    fdc->port_ready = fdc->wanted = false;
    fdc_answer(fdc, result, sizeof(result), true);
}

/* ---- The I/O loop ---- */

void fdc_io_want(FdcState *fdc)
{
    fdc->wanted = true;
    if (!fdc->busy && !fdc->quiet) {
        event_loop_post(fdc->loop, &fdc->task);
    }
}

void fdc_abandon(FdcState *fdc)
{
    fdc->abandoned = fdc->busy;
    fdc->wanted = false;
    fdc->action = FDC_IDLE;
    fdc->port_ready = false;
}

/* To the sector behind; false: there is none in what was asked for. */
static bool advance(FdcState *fdc)
{
    if (fdc->record < fdc->end) {
        fdc->record++;
        return true;
    }
    fdc->record = 1;
    if (fdc->multi_track && !fdc->head) {
        fdc->head = 1;
        return true;
    }
    fdc->cylinder++;
    fdc->head = fdc->multi_track ? 0 : fdc->head;
    return false;
}

/* Asks for the present sector, which must be on the medium. */
static void access_sector(FdcState *fdc)
{
    const FdcDrive *drive = &fdc->drives[fdc->unit];
    if (!fdc_drive_loaded(drive)) {
        fdc_finish(fdc, FDC_ST0_ABNORMAL, FDC_ST1_NO_ID, 0);
    } else if (!fdc_drive_offset(drive, fdc->cylinder, fdc->head, fdc->record, &fdc->offset)) {
        fdc_finish(fdc, FDC_ST0_ABNORMAL, FDC_ST1_NO_DATA, 0);
    } else {
        fdc_io_want(fdc);
    }
}

/* A sector is done with. */
static void next(FdcState *fdc)
{
    fdc->position = 0;
    if (fdc->action == FDC_FORMAT) {
        if (fdc->terminal || --fdc->todo == 0) {
            fdc_finish(fdc, 0, 0, 0);
        } else {
            take(fdc);
        }
        return;
    }
    bool more = advance(fdc);
    if (fdc->terminal) {
        fdc_finish(fdc, 0, 0, 0);
    } else if (!more) {
        fdc_finish(fdc, FDC_ST0_ABNORMAL, FDC_ST1_END, 0);
    } else if (fdc->action == FDC_READ) {
        access_sector(fdc);
    } else {
        take(fdc);
    }
}

static void io_done(BlockRequest *request, int ret)
{
    FdcState *fdc = request->opaque;
    g_mutex_lock(&fdc->dev.lock);
    bool seen = !fdc->abandoned;
    fdc->busy = fdc->abandoned = false;
    fdc->backend = NULL;
    if (seen && ret < 0) {
        fdc_finish(fdc, FDC_ST0_ABNORMAL, FDC_ST1_CRC, 0);
    } else if (seen && fdc->action == FDC_READ) {
        memcpy(fdc->sector, fdc->io, FDC_SECTOR);
        fdc->length = FDC_SECTOR;
        fdc->position = 0;
        give(fdc);
    } else if (seen && fdc->action != FDC_IDLE) {
        next(fdc);
    } else if (fdc->wanted && !fdc->quiet) {
        event_loop_post(fdc->loop, &fdc->task);
    }
    g_mutex_unlock(&fdc->dev.lock);
}

/* The sector's contents as they are to be on the medium. */
static void prepare_write(FdcState *fdc)
{
    if (fdc->action == FDC_FORMAT) {
        memset(fdc->io, fdc->filler, FDC_SECTOR);
    } else {
        memcpy(fdc->io, fdc->sector, FDC_SECTOR);
    }
}

void fdc_io_task(void *opaque)
{
    FdcState *fdc = opaque;
    BlockBackend *backend = NULL;
    g_mutex_lock(&fdc->dev.lock);
    Floppy *floppy = fdc->drives[fdc->unit].floppy;
    if (fdc->wanted && !fdc->busy && !fdc->quiet && floppy) {
        fdc->wanted = false;
        fdc->busy = true;
        backend = fdc->backend = floppy->disk.backend;
        if (fdc->action != FDC_READ) {
            prepare_write(fdc);
        }
        fdc->iov = (struct iovec){ fdc->io, FDC_SECTOR };
        fdc->request = (BlockRequest){
            .op = fdc->action == FDC_READ ? BLOCK_READ : BLOCK_WRITE,
            .offset = fdc->offset,
            .bytes = FDC_SECTOR,
            .iov = &fdc->iov,
            .iov_count = 1,
            .done = io_done,
            .opaque = fdc,
        };
    }
    g_mutex_unlock(&fdc->dev.lock);
    if (backend) {
        block_submit(backend, &fdc->request);
    }
}

/* ---- The guest's side ---- */

static void open_port(FdcState *fdc)
{
    fdc->port_ready = true;
    fdc_set_interrupt(fdc, true);
}

/* Moves what the DMA channel takes now; whether the piece is complete. */
static bool move_by_dma(FdcState *fdc, bool to_memory)
{
    bool terminal = false;
    fdc->position += i8237_transfer(fdc->dma_chip, fdc->dma, fdc->sector + fdc->position,
                                    fdc->length - fdc->position, to_memory, &terminal);
    fdc->terminal |= terminal;
    return terminal || fdc->position == fdc->length;
}

/* The sector to the guest. */
static void give(FdcState *fdc)
{
    if (fdc->pio) {
        open_port(fdc);
    } else if (move_by_dma(fdc, true)) {
        next(fdc);
    }
}

/* All bytes are there. */
static void taken(FdcState *fdc)
{
    if (fdc->action == FDC_FORMAT) {
        fdc->cylinder = fdc->sector[0];
        fdc->head = fdc->sector[1] & 1;
        fdc->record = fdc->sector[2];
    }
    access_sector(fdc);
}

/* A sector, or the next one's identity, from the guest. */
static void take(FdcState *fdc)
{
    fdc->length = fdc->action == FDC_FORMAT ? FORMAT_ID : FDC_SECTOR;
    fdc->position = 0;
    memset(fdc->sector, 0, FDC_SECTOR);
    if (fdc->pio) {
        open_port(fdc);
    } else if (move_by_dma(fdc, false)) {
        taken(fdc);
    }
}

/* The guest unmasked the channel. */
void fdc_dma_ready(void *opaque)
{
    FdcState *fdc = opaque;
    g_mutex_lock(&fdc->dev.lock);
    bool waits = fdc->phase == FDC_EXECUTE && !fdc->pio && !fdc->wanted && !fdc->busy &&
                 fdc->position < fdc->length;
    if (waits && fdc->action == FDC_READ) {
        give(fdc);
    } else if (waits && fdc->action != FDC_IDLE && move_by_dma(fdc, false)) {
        taken(fdc);
    }
    g_mutex_unlock(&fdc->dev.lock);
}

uint8_t fdc_port_read(FdcState *fdc)
{
    if (!fdc->port_ready || fdc->action != FDC_READ || fdc->position >= fdc->length) {
        return 0;
    }
    uint8_t value = fdc->sector[fdc->position++];
    fdc_set_interrupt(fdc, false);
    if (fdc->position == fdc->length) {
        fdc->port_ready = false;
        next(fdc);
    }
    return value;
}

void fdc_port_write(FdcState *fdc, uint8_t value)
{
    if (!fdc->port_ready || fdc->action == FDC_READ || fdc->position >= fdc->length) {
        return;
    }
    fdc->sector[fdc->position++] = value;
    fdc_set_interrupt(fdc, false);
    if (fdc->position == fdc->length) {
        fdc->port_ready = false;
        taken(fdc);
    }
}

void fdc_start(FdcState *fdc, FdcAction action)
{
    fdc->phase = FDC_EXECUTE;
    fdc->action = action;
    fdc->terminal = fdc->port_ready = false;
    fdc->position = fdc->length = 0;
    fdc->pio = !fdc_uses_dma(fdc);
    if (action == FDC_READ) {
        access_sector(fdc);
    } else {
        take(fdc);
    }
}
