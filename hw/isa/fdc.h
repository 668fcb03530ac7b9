/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floppy controller in parts: fdc.c has the ports, phases and life, fdc_command.c the commands,
 * fdc_transfer.c the data on its way, fdc_drive.c drives and media. All of it with the controller's
 * lock, but what says otherwise.
 *
 * A command comes byte by byte (COMMAND), moves sectors (EXECUTE), and is answered byte by byte
 * (RESULT). Sectors are read and written on the I/O loop, one at a time, through `io`; between the
 * drive and the guest stands `sector`.
 */
#ifndef HW_ISA_FDC_H
#define HW_ISA_FDC_H

#include "hw/disk_conf.h"
#include "vmm/device/device.h"
#include "vmm/machine/machine.h"
#include "vmm/memory/address_space.h"

#define FDC_DRIVES     2 /* that can be there, of four that can be addressed */
#define FDC_ADDRESSED  4
#define FDC_SECTOR     512
#define FDC_PARAMS_MAX 16
#define FDC_RESULT_MAX 10

#define FDC_ST0_ABNORMAL 0x40
#define FDC_ST0_INVALID  0x80
#define FDC_ST0_POLLED   0xc0
#define FDC_ST0_SEEK_END 0x20
#define FDC_ST0_EQUIP    0x10
#define FDC_ST1_NO_ID    0x01 /* no address mark */
#define FDC_ST1_READONLY 0x02
#define FDC_ST1_NO_DATA  0x04
#define FDC_ST1_CRC      0x20
#define FDC_ST1_END      0x80 /* of the cylinder, and nobody said terminal count */

#define FDC_DOR_SELECT 0x03
#define FDC_DOR_RUN    0x04 /* low: reset */
#define FDC_DOR_DMA    0x08

#define FDC_LOCK_FIFO      0x80
#define FDC_CONFIG_IMPLIED 0x40
#define FDC_CONFIG_NO_POLL 0x10
#define FDC_CONFIG_DEFAULT 0x60

typedef enum FloppyType { /* QEMU's names: 144, 288, 120, none, auto */
                          FLOPPY_144,
                          FLOPPY_288,
                          FLOPPY_120,
                          FLOPPY_NONE,
                          FLOPPY_AUTO,
} FloppyType;

typedef struct FloppyFormat {
    uint8_t drive; /* FloppyType */
    uint8_t sectors, tracks, heads;
    uint8_t rate; /* of CCR: 0 500, 1 300, 2 250, 3 1000 kbit/s */
} FloppyFormat;

typedef struct FdcState FdcState;

typedef struct Floppy {
    Device dev;
    DiskConf disk;
    int32_t unit; /* -1: the first free one */
    int type;     /* as asked for */
    FdcState *fdc;
    int drive_type; /* as found; never auto */
    bool attached;
} Floppy;

typedef struct FdcDrive {
    Floppy *floppy;             /* NULL: none */
    const FloppyFormat *format; /* of the medium; NULL: none */
    uint8_t track;              /* where the heads are */
    bool changed;               /* the disk change line */
} FdcDrive;

typedef enum FdcPhase { FDC_COMMAND, FDC_EXECUTE, FDC_RESULT, FDC_PHASES } FdcPhase;
typedef enum FdcAction { FDC_IDLE, FDC_READ, FDC_WRITE, FDC_FORMAT, FDC_ACTIONS } FdcAction;

struct FdcState {
    Device dev;
    MemRegion ports, dir_port;
    uint32_t iobase, irq, dma; /* properties */
    int fallback;
    Bus *bus;
    IrqLine *irq_line;
    Device *dma_chip;
    EventLoop *loop;
    FdcDrive drives[FDC_ADDRESSED];

    uint8_t dor, tdr, dsr;
    uint8_t phase; /* FdcPhase */
    uint8_t params[FDC_PARAMS_MAX];
    uint8_t param_count, param_need;
    uint8_t result[FDC_RESULT_MAX];
    uint8_t result_pos, result_count;
    uint8_t seeking;      /* drives whose seek nobody asked about yet, a bit each */
    uint8_t sense_status; /* ST0 of it */
    uint8_t reset_senses; /* answers after a reset still to be given */
    bool interrupt;       /* the line */
    uint8_t timing[2];    /* SPECIFY */
    uint8_t config, precompensation, perpendicular, last_sector;
    bool locked;

    /* EXECUTE */
    uint8_t action; /* FdcAction */
    uint8_t unit, cylinder, head, record, end, filler;
    bool multi_track, deleted;
    uint8_t todo;              /* sectors still to be formatted */
    bool pio;                  /* bytes through the port */
    bool port_ready;           /* EXECUTE: the port takes or gives bytes */
    bool terminal;             /* terminal count came */
    uint16_t position, length; /* in sector */
    uint8_t sector[FDC_SECTOR];

    /* I/O: `wanted` is asked for, `busy` is in the block layer */
    bool wanted, busy, abandoned, quiet;
    uint64_t offset;
    LoopTask task;
    BlockRequest request;
    BlockBackend *backend; /* that has the request */
    struct iovec iov;
    uint8_t io[FDC_SECTOR];
};

/* ---- fdc.c ---- */
void fdc_set_interrupt(FdcState *fdc, bool on);
void fdc_answer(FdcState *fdc, const uint8_t *bytes, unsigned count, bool interrupt);
void fdc_to_command(FdcState *fdc);
bool fdc_uses_dma(const FdcState *fdc);

/* ---- fdc_command.c ---- */
unsigned fdc_param_count(uint8_t command); /* with the command byte */
void fdc_run(FdcState *fdc);               /* params are complete */

/* ---- fdc_transfer.c ---- */
void fdc_start(FdcState *fdc, FdcAction action);
/* Ends the command with ST0 to ST2 and the place; ST0 gets drive and head. */
void fdc_finish(FdcState *fdc, uint8_t st0, uint8_t st1, uint8_t st2);
uint8_t fdc_port_read(FdcState *fdc);
void fdc_port_write(FdcState *fdc, uint8_t value);
void fdc_dma_ready(void *opaque); /* takes the lock */
void fdc_io_task(void *opaque);   /* takes the lock; I/O loop */
void fdc_abandon(FdcState *fdc);  /* what is in flight ends unseen */
void fdc_io_want(FdcState *fdc);

/* ---- fdc_drive.c ---- */
extern const char *const floppy_type_names[];
void fdc_drive_revalidate(FdcState *fdc, unsigned unit, bool changed);
bool fdc_drive_loaded(const FdcDrive *drive);
bool fdc_drive_readonly(const FdcDrive *drive);
/* Where a sector is, in bytes; false: not on the medium. */
bool fdc_drive_offset(const FdcDrive *drive, uint8_t cylinder, uint8_t head, uint8_t record,
                      uint64_t *offset);
bool fdc_bus_plug(Bus *bus, Device *child, GError **error);

#endif
