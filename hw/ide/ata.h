/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATA and ATAPI drives (ATA/ATAPI-7, ACS-2) apart from their controllers: task file, command
 * decoding, identification, SMART; and the jobs that move a command's data.
 *
 * A controller (a legacy channel, an AHCI port) fills the task file, calls ata_decode(), and
 * carries out the AtaPlan that it made with an IdeJob: windows of guest memory (DMA, everything of
 * AHCI) or the drive's buffer, one DRQ block at a time (PIO). A job keeps its own address and
 * length, so that a reset, which changes the task file, cannot redirect it; a reset ends when the
 * job has.
 *
 * Everything here runs with the controller's lock, jobs on the machine's I/O loop.
 */
#ifndef HW_IDE_ATA_H
#define HW_IDE_ATA_H

#include "hw/disk_conf.h"
#include "hw/scsi/scsi.h"
#include "vmm/device/device.h"
#include "vmm/memory/address_space.h"

#define ATA_SECTOR      512
#define ATA_MULT_MAX    16
#define ATA_BUFFER_SIZE (ATA_MULT_MAX * 4096)
#define ATA_CDB_BYTES   12
#define ATA_TRIM_BLOCKS 8 /* 512-byte blocks of ranges in one DATA SET MANAGEMENT */
#define ATA_NCQ_DEPTH   32

enum {
    ATA_STATUS_ERR = 0x01,
    ATA_STATUS_DRQ = 0x08,
    ATA_STATUS_DSC = 0x10,
    ATA_STATUS_DF = 0x20,
    ATA_STATUS_DRDY = 0x40,
    ATA_STATUS_BSY = 0x80,
    ATA_STATUS_IDLE = ATA_STATUS_DRDY | ATA_STATUS_DSC,
};

enum {
    ATA_ERROR_DIAG_PASSED = 0x01,
    ATA_ERROR_ABRT = 0x04,
    ATA_ERROR_IDNF = 0x10,
    ATA_ERROR_UNC = 0x40,
};

enum { ATA_DEVICE_UNIT = 0x10, ATA_DEVICE_LBA = 0x40, ATA_DEVICE_FUA = 0x80 };

/* Interrupt reason of PACKET, in the count register. */
enum { ATAPI_REASON_COD = 1, ATAPI_REASON_IO = 2 };

/* Registers that are a FIFO of two for 48-bit commands. */
enum { ATA_FEATURE, ATA_COUNT, ATA_LBA_LOW, ATA_LBA_MID, ATA_LBA_HIGH, ATA_FIFOS };

typedef struct AtaRegs {
    uint8_t now[ATA_FIFOS];
    uint8_t before[ATA_FIFOS]; /* the high-order bytes */
    uint8_t device, command, status, error;
} AtaRegs;

typedef enum AtaProtocol {
    ATA_NO_DATA,
    ATA_PIO_IN,
    ATA_PIO_OUT,
    ATA_DMA_IN,
    ATA_DMA_OUT,
    ATA_PACKET,
    ATA_PROTOCOLS,
} AtaProtocol;

typedef enum AtaAction {
    ATA_DONE,   /* decoding did it all */
    ATA_BUFFER, /* `bytes` of the drive's buffer to the host */
    ATA_READ,
    ATA_WRITE,
    ATA_VERIFY, /* reads, moves nothing */
    ATA_FLUSH,
    ATA_TRIM, /* ranges from the host */
    ATA_SCSI, /* PACKET */
    ATA_ACTIONS,
} AtaAction;

/* What a command is about to do. */
typedef struct AtaPlan {
    uint8_t protocol; /* AtaProtocol */
    uint8_t action;   /* AtaAction */
    bool lba48, fua, ncq;
    bool packet_dma; /* PACKET: its data move by DMA */
    uint8_t tag;
    uint64_t offset;      /* bytes on the disk */
    uint64_t bytes;       /* to move */
    uint32_t block_bytes; /* of one DRQ data block */
} AtaPlan;

#define ATA_SELF_TESTS       21
#define ATA_SELF_TEST_LENGTH 24

/* The NCQ command that failed: log page 10h. */
typedef struct AtaQueuedError {
    uint8_t tag, status, error;
    uint64_t lba;
    uint16_t count;
    bool valid;
} AtaQueuedError;

typedef struct IdePort IdePort;

typedef struct IdeDrive {
    Device dev;
    /* properties */
    DiskConf disk;
    char *model, *version;
    uint64_t wwn;
    uint16_t rotation_rate;
    uint32_t cyls, heads, secs;
    int32_t unit;
    /* as realized */
    IdePort *port;
    bool is_cd;
    char serial[21];
    const struct IdePacketOps *packet; /* CD drives */
    uint8_t sense_key;                 /* of the PACKET that ended */
    /* state */
    AtaRegs regs;
    uint8_t mult;                         /* sectors of SET MULTIPLE MODE, 0: off */
    uint32_t current_heads, current_secs; /* INITIALIZE DEVICE PARAMETERS */
    uint8_t mwdma, udma, swdma;           /* selected modes, a bit each */
    bool look_ahead, standby;
    bool smart_enabled, smart_autosave;
    uint8_t self_test_status;
    uint8_t self_test_count, self_test_next;
    uint8_t self_tests[ATA_SELF_TESTS][ATA_SELF_TEST_LENGTH];
    AtaQueuedError queued_error;
    uint8_t cdb[ATA_CDB_BYTES];
    uint8_t buffer[ATA_BUFFER_SIZE];
} IdeDrive;

/* ---- Where a drive is plugged in ---- */

struct IdePort {
    Bus *bus;
    unsigned number; /* of the bus */
    unsigned units;
    bool sata; /* queued commands; no interrupt for a device that is not there */
    IdeDrive *drives[2];
    GMutex *lock; /* the controller's */
    EventLoop *loop;
    /* Main thread; the drive is complete, or no longer to be used: what runs on it has ended when
     * unplugged returns. */
    void (*plugged)(IdePort *port, IdeDrive *drive);
    void (*unplugged)(IdePort *port, IdeDrive *drive);
    void *opaque;
};

/* "ID.N" or "ide.N"; freed with the controller. Main thread. */
bool ide_port_init(IdePort *port, Device *controller, unsigned number, unsigned units,
                   GError **error);

/* ---- Commands (ata.c and its siblings) ---- */
/* Makes a plan of the task file's command. False: refused, the registers say why. */
bool ata_decode(IdeDrive *drive, AtaPlan *plan);
/* Ends a command: registers after success, or after ret < 0. */
void ata_finish(IdeDrive *drive, const AtaPlan *plan, uint64_t moved, int ret);
void ata_abort(IdeDrive *drive, uint8_t error); /* status ERR, error register */
void ata_signature(IdeDrive *drive);            /* what a reset or diagnostic leaves */
void ata_reset(IdeDrive *drive, bool power_on);
uint64_t ata_sectors(const IdeDrive *drive); /* logical */
/* The registers as one LBA and back. */
void ata_set_lba(IdeDrive *drive, uint64_t lba, bool lba48);
bool ata_post_load(IdeDrive *drive, GError **error);

/* Fills the drive's buffer with 512 bytes. */
void ata_identify(IdeDrive *drive);
void ata_identify_packet(IdeDrive *drive);
bool ata_set_features(IdeDrive *drive, AtaPlan *plan);
bool ata_smart(IdeDrive *drive, AtaPlan *plan);
bool ata_read_log(IdeDrive *drive, AtaPlan *plan);
/* `bytes` of the buffer go to the host as one PIO transfer. */
bool ata_plan_buffer(AtaPlan *plan, uint64_t bytes);

/* ---- Scattered guest memory (sg.c) ---- */

typedef enum IdeSgKind { IDE_SG_BMDMA, IDE_SG_AHCI } IdeSgKind;

typedef struct IdeSg {
    AddressSpace *space;
    IdeSgKind kind;
    uint64_t table; /* of descriptors in guest memory */
    uint32_t count; /* descriptors at most */
    uint32_t index, offset;
} IdeSg;

void ide_sg_init(IdeSg *sg, IdeSgKind kind, AddressSpace *space, uint64_t table, uint32_t count);
/* The next pieces, up to `want` bytes and whole units of them: bytes, with *count pieces in iov; 0:
 * the table ends before a unit; -EFAULT: not RAM, or in pieces too small. */
int64_t ide_sg_map(IdeSg *sg, uint64_t want, uint32_t unit, bool write, struct iovec *iov,
                   unsigned max, unsigned *count);
/* Copies up to `bytes` between data and memory: bytes copied, or -EFAULT. */
int64_t ide_sg_copy(IdeSg *sg, void *data, uint64_t bytes, bool to_guest);
bool ide_sg_ended(const IdeSg *sg);

/* ---- Jobs (job.c) ---- */

typedef struct IdeJob IdeJob;
struct IdeJob {
    IdeDrive *drive;
    AtaPlan plan;
    IdeSg sg;
    bool active;    /* between start and done */
    bool windows;   /* moves through sg; else through the drive's buffer */
    uint64_t moved; /* bytes of the plan */
    uint64_t step;  /* bytes of the request that runs */
    struct iovec *iov;
    unsigned iov_max, iov_count;
    struct iovec one;
    BlockRequest block;
    ScsiRequest scsi;
    /* 0 or -errno; -ENODATA: sg was too short. On the loop, lock held, never inside start. */
    void (*done)(IdeJob *job, int ret);
    /* PIO of PACKET: memory for more is wanted (IdePacketOps.proceed). */
    void (*packet_next)(IdeJob *job);
    void *opaque;
};

void ide_job_init(IdeJob *job, unsigned iov_max);
void ide_job_cleanup(IdeJob *job);
void ide_job_finish(IdeJob *job, int ret); /* for packets */
void ide_job_mark_dirty(IdeJob *job);
/* With windows: the whole plan through sg. Without: one DRQ block, FLUSH, VERIFY or TRIM whole.
 * Loop, lock held. */
void ide_job_start(IdeJob *job);

/* ---- Packet devices (cd.c) ---- */

typedef struct IdePacketOps {
    /* On the loop; start with the lock held, the others not. */
    void (*start)(IdeJob *job);
    void (*proceed)(IdeJob *job, uint64_t bytes); /* the buffer's first bytes are the next window */
    void (*cancel)(IdeJob *job);
    /* Main thread, lock not held. */
    void (*drain)(IdeDrive *drive, bool cancel);
} IdePacketOps;

/* ---- Drives (drive.c) ---- */
/* The common part of realizing, after the back end was attached and before it is used. */
bool ide_drive_plug(IdeDrive *drive, GError **error);
extern const StateSection ide_drive_state;
/* Waits for what is with the host; `cancel` ends what an error policy keeps. Main thread. */
void ide_drive_drain(IdeDrive *drive, bool cancel);

#define IDE_DRIVE_PROPS                                                                            \
    DISK_CONF_PROPS(IdeDrive, disk),                                                               \
        PROP_STRING("model", IdeDrive, model, NULL, "Model of IDENTIFY, up to 40 characters"),     \
        PROP_STRING("ver", IdeDrive, version, NULL, "Firmware revision, up to 8 characters"),      \
        PROP_U64("wwn", IdeDrive, wwn, 0, "World wide name; 0: none"),                             \
        PROP_I32("unit", IdeDrive, unit, -1, "0: master, 1: slave; -1: the first free place")

/* Whether a loaded plan could have been made by ata_decode(). */
bool ata_plan_ok(const AtaPlan *plan);
extern const StateSection ata_plan_state;

#endif
