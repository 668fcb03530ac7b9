/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SCSI units: between their files. */
#ifndef HW_SCSI_INTERNAL_H
#define HW_SCSI_INTERNAL_H

#include "hw/scsi/scsi.h"
#include "vmm/util/bytes.h"

/* Operation codes (SPC-4, SBC-3, MMC-5). */
enum {
    OP_TEST_UNIT_READY = 0x00,
    OP_REZERO_UNIT = 0x01,
    OP_REQUEST_SENSE = 0x03,
    OP_READ_6 = 0x08,
    OP_WRITE_6 = 0x0a,
    OP_SEEK_6 = 0x0b,
    OP_INQUIRY = 0x12,
    OP_MODE_SELECT_6 = 0x15,
    OP_RESERVE_6 = 0x16,
    OP_RELEASE_6 = 0x17,
    OP_MODE_SENSE_6 = 0x1a,
    OP_START_STOP_UNIT = 0x1b,
    OP_SEND_DIAGNOSTIC = 0x1d,
    OP_PREVENT_ALLOW = 0x1e,
    OP_READ_CAPACITY_10 = 0x25,
    OP_READ_10 = 0x28,
    OP_WRITE_10 = 0x2a,
    OP_SEEK_10 = 0x2b,
    OP_WRITE_VERIFY_10 = 0x2e,
    OP_VERIFY_10 = 0x2f,
    OP_PREFETCH_10 = 0x34,
    OP_SYNC_CACHE_10 = 0x35,
    OP_READ_DEFECTS_10 = 0x37,
    OP_WRITE_SAME_10 = 0x41,
    OP_UNMAP = 0x42, /* a disk's; a CD drive's is READ SUB-CHANNEL */
    OP_READ_SUBCHANNEL = 0x42,
    OP_READ_TOC = 0x43,
    OP_READ_HEADER = 0x44,
    OP_GET_CONFIGURATION = 0x46,
    OP_GET_EVENT_STATUS = 0x4a,
    OP_LOG_SENSE = 0x4d,
    OP_READ_DISC_INFO = 0x51,
    OP_READ_TRACK_INFO = 0x52,
    OP_MODE_SELECT_10 = 0x55,
    OP_RESERVE_10 = 0x56,
    OP_RELEASE_10 = 0x57,
    OP_MODE_SENSE_10 = 0x5a,
    OP_READ_BUFFER_CAPACITY = 0x5c,
    OP_PERSISTENT_RESERVE_IN = 0x5e,
    OP_PERSISTENT_RESERVE_OUT = 0x5f,
    OP_READ_16 = 0x88,
    OP_WRITE_16 = 0x8a,
    OP_WRITE_VERIFY_16 = 0x8e,
    OP_VERIFY_16 = 0x8f,
    OP_PREFETCH_16 = 0x90,
    OP_SYNC_CACHE_16 = 0x91,
    OP_WRITE_SAME_16 = 0x93,
    OP_SERVICE_ACTION_IN_16 = 0x9e,
    OP_REPORT_LUNS = 0xa0,
    OP_MAINTENANCE_IN = 0xa3,
    OP_REPORT_KEY = 0xa4,
    OP_READ_12 = 0xa8,
    OP_WRITE_12 = 0xaa,
    OP_READ_DVD_STRUCTURE = 0xad,
    OP_WRITE_VERIFY_12 = 0xae,
    OP_VERIFY_12 = 0xaf,
    OP_READ_CD_MSF = 0xb9,
    OP_SET_CD_SPEED = 0xbb,
    OP_MECHANISM_STATUS = 0xbd,
    OP_READ_CD = 0xbe,
};

enum { SAI_READ_CAPACITY_16 = 0x10, MI_REPORT_OPCODES = 0x0c };

enum { TYPE_DISK = 0x00, TYPE_CD = 0x05, TYPE_NOT_THERE = 0x7f };

/* Where a CDB has its numbers. */
typedef enum ScsiFormat {
    FORMAT_NONE,      /* no data */
    FORMAT_ALLOC_6,   /* bytes 4: a length in bytes */
    FORMAT_INQUIRY,   /* bytes 3, 4 */
    FORMAT_ALLOC_10,  /* bytes 7, 8 */
    FORMAT_ALLOC_12,  /* bytes 6 to 9 */
    FORMAT_ALLOC_12S, /* bytes 8, 9 */
    FORMAT_ALLOC_16,  /* bytes 10 to 13 */
    FORMAT_CAPACITY,  /* always 8 bytes */
    FORMAT_BLOCKS_6,  /* a block address, and a number of blocks that move */
    FORMAT_BLOCKS_10,
    FORMAT_BLOCKS_12,
    FORMAT_BLOCKS_16,
    FORMAT_RANGE_10, /* the same, but nothing moves */
    FORMAT_RANGE_12,
    FORMAT_RANGE_16,
    FORMAT_SAME_10, /* the same, but one block moves */
    FORMAT_SAME_16,
    FORMAT_CD,     /* READ CD: 3 bytes at 6, of a size that byte 9 says */
    FORMAT_CD_MSF, /* from and to as minute, second, frame */
    FORMAT_COUNT,
} ScsiFormat;

typedef struct ScsiRange {
    uint64_t lba, blocks;
} ScsiRange;

enum {
    COMMAND_NO_UA = 1 << 0,    /* runs with a unit attention pending */
    COMMAND_NO_MEDIA = 1 << 1, /* runs without a medium */
    COMMAND_WRITES = 1 << 2,   /* refused on a write-protected medium */
};

typedef struct ScsiCommand {
    ScsiFormat format;
    ScsiDirection direction;
    uint8_t flags;   /* COMMAND_* */
    uint8_t byte1;   /* bits of byte 1 that have a meaning */
    uint8_t byte2;   /* of byte 2, when the format has no number there */
    bool has_action; /* byte 1, bits 0 to 4: only this one */
    uint8_t action;
    /* Ends the command, or starts what ends it: one of the functions below. */
    void (*run)(ScsiRequest *request);
    /* The parameter list is there: request->reply, request->moved bytes. */
    void (*collected)(ScsiRequest *request);
} ScsiCommand;

struct ScsiLunClass {
    uint8_t type;
    const char *product;
    const ScsiCommand *commands; /* 256, by operation code; NULL: the class does all by itself */
    bool (*init)(ScsiLun *lun, GError **error);
    void (*cleanup)(ScsiLun *lun);
    void (*reset)(ScsiLun *lun);
    void (*drain)(ScsiLun *lun);
    void (*prepare)(ScsiRequest *request); /* without commands */
    void (*submit)(ScsiRequest *request);
    /* Puts a mode page's bytes from 2 on, returns how many; 0: no such page. changeable: the mask.
     */
    unsigned (*mode_page)(ScsiLun *lun, unsigned page, bool changeable, uint8_t *data);
    uint8_t mode_pages[8];
};

enum {
    STAGE_NEW,
    STAGE_READ,    /* medium to windows */
    STAGE_WRITE,   /* windows to medium */
    STAGE_REPLY,   /* reply to windows */
    STAGE_RAW,     /* the same; the command fills reply again and again (READ CD) */
    STAGE_COLLECT, /* windows to reply */
    STAGE_WORK,    /* block requests without data of the initiator's */
    STAGE_STATUS,
    STAGE_DONE,
};

/* ---- cdb.c ---- */
unsigned scsi_format_cdb_length(ScsiFormat format);
uint64_t scsi_format_length(ScsiFormat format, const uint8_t *cdb, uint32_t block_size);
ScsiRange scsi_format_range(ScsiFormat format, const uint8_t *cdb);
/* What of a CDB has a meaning, a bit each (SPC-4, 6.27.3). */
void scsi_command_usage(const ScsiCommand *command, uint8_t opcode, uint8_t *usage);

/* ---- request.c: from a command's run, collected or block completion ---- */
void scsi_good(ScsiRequest *request);
void scsi_fail(ScsiRequest *request, ScsiSense sense);
void scsi_set_sense(ScsiRequest *request, ScsiSense sense);
ScsiSense scsi_sense_of_errno(int error);
/* `size` zeroed bytes in request->reply, to be filled. */
uint8_t *scsi_reply_new(ScsiRequest *request, uint32_t size);
/* `count` iovecs of the request's own, also in block.iov. */
struct iovec *scsi_part_new(ScsiRequest *request, int count);
/* Sends the first len bytes of reply, at most the allocation length. */
void scsi_reply(ScsiRequest *request, uint32_t len);
/* Takes the parameter list, then command->collected. */
void scsi_collect(ScsiRequest *request);
/* Moves total bytes at offset of the medium. */
void scsi_move(ScsiRequest *request, uint64_t offset, uint64_t total);
/* A block request of the command's own, in request->block; done calls scsi_work_done() first: false
 * when the command has ended (error, cancelled). */
void scsi_work(ScsiRequest *request, BlockOp op, unsigned flags, uint64_t offset, uint64_t bytes,
               void (*done)(BlockRequest *block, int ret));
bool scsi_work_done(ScsiRequest *request, int ret);
/* Goes on, outside of submit. */
void scsi_request_step(ScsiRequest *request);
/* To or from a window; the bytes copied. */
void scsi_window_copy(const ScsiWindow *window, uint64_t skip, void *data, uint64_t len, bool out);

/* ---- Commands that several kinds have ---- */
void scsi_run_nothing(ScsiRequest *request); /* GOOD */
void scsi_run_request_sense(ScsiRequest *request);
void scsi_run_report_luns(ScsiRequest *request);
void scsi_run_report_opcodes(ScsiRequest *request);
void scsi_run_inquiry(ScsiRequest *request); /* inquiry.c */
void scsi_run_mode_sense(ScsiRequest *request);
void scsi_run_mode_select(ScsiRequest *request);
void scsi_mode_selected(ScsiRequest *request);
void scsi_run_start_stop(ScsiRequest *request); /* media.c */
void scsi_run_prevent_allow(ScsiRequest *request);
void scsi_run_test_ready(ScsiRequest *request);
void scsi_run_get_event_status(ScsiRequest *request);
void scsi_run_read(ScsiRequest *request); /* disk.c */
void scsi_run_verify(ScsiRequest *request);
void scsi_run_sync(ScsiRequest *request);
void scsi_run_unmap(ScsiRequest *request); /* provision.c */
void scsi_unmap_collected(ScsiRequest *request);
void scsi_run_write_same(ScsiRequest *request);
void scsi_write_same_collected(ScsiRequest *request);
void scsi_run_read_toc(ScsiRequest *request); /* cd_disc.c */
void scsi_run_read_disc_info(ScsiRequest *request);
void scsi_run_read_track_info(ScsiRequest *request);
void scsi_run_read_dvd_structure(ScsiRequest *request);
void scsi_run_get_configuration(ScsiRequest *request);

#define SCSI_COMMON_COMMANDS                                                                       \
    [OP_TEST_UNIT_READY] = { FORMAT_NONE, .run = scsi_run_test_ready },                            \
    [OP_REQUEST_SENSE] = { FORMAT_ALLOC_6, SCSI_DATA_IN, COMMAND_NO_UA | COMMAND_NO_MEDIA,         \
                           .byte1 = 1, .run = scsi_run_request_sense },                            \
    [OP_INQUIRY] = { FORMAT_INQUIRY, SCSI_DATA_IN,  COMMAND_NO_UA | COMMAND_NO_MEDIA,              \
                     .byte1 = 1,     .byte2 = 0xff, .run = scsi_run_inquiry },                     \
    [OP_MODE_SENSE_6] = { FORMAT_ALLOC_6, SCSI_DATA_IN,  COMMAND_NO_MEDIA,                         \
                          .byte1 = 0x08,  .byte2 = 0xff, .run = scsi_run_mode_sense },             \
    [OP_MODE_SENSE_10] = { FORMAT_ALLOC_10, SCSI_DATA_IN,  COMMAND_NO_MEDIA,                       \
                           .byte1 = 0x18,   .byte2 = 0xff, .run = scsi_run_mode_sense },           \
    [OP_MODE_SELECT_6] = { FORMAT_ALLOC_6,                                                         \
                           SCSI_DATA_OUT,                                                          \
                           COMMAND_NO_MEDIA,                                                       \
                           .byte1 = 0x11,                                                          \
                           .run = scsi_run_mode_select,                                            \
                           .collected = scsi_mode_selected },                                      \
    [OP_MODE_SELECT_10] = { FORMAT_ALLOC_10,                                                       \
                            SCSI_DATA_OUT,                                                         \
                            COMMAND_NO_MEDIA,                                                      \
                            .byte1 = 0x11,                                                         \
                            .run = scsi_run_mode_select,                                           \
                            .collected = scsi_mode_selected },                                     \
    [OP_RESERVE_6] = { FORMAT_NONE, .flags = COMMAND_NO_MEDIA, .run = scsi_run_nothing },          \
    [OP_RELEASE_6] = { FORMAT_NONE, .flags = COMMAND_NO_UA | COMMAND_NO_MEDIA,                     \
                       .run = scsi_run_nothing },                                                  \
    [OP_START_STOP_UNIT] = { FORMAT_NONE, .flags = COMMAND_NO_MEDIA, .byte1 = 1,                   \
                             .run = scsi_run_start_stop },                                         \
    [OP_PREVENT_ALLOW] = { FORMAT_NONE, .flags = COMMAND_NO_MEDIA,                                 \
                           .run = scsi_run_prevent_allow },                                        \
    [OP_REPORT_LUNS] = { FORMAT_ALLOC_12, SCSI_DATA_IN, COMMAND_NO_UA | COMMAND_NO_MEDIA,          \
                         .byte2 = 0xff, .run = scsi_run_report_luns },                             \
    [OP_MAINTENANCE_IN] = { FORMAT_ALLOC_12,                                                       \
                            SCSI_DATA_IN,                                                          \
                            COMMAND_NO_MEDIA,                                                      \
                            .byte1 = 0x1f,                                                         \
                            .byte2 = 0x87,                                                         \
                            .has_action = true,                                                    \
                            .action = MI_REPORT_OPCODES,                                           \
                            .run = scsi_run_report_opcodes }

/* The sense for a unit attention, which is not pending any more; key 0: none was. */
ScsiSense scsi_take_attention(ScsiLun *lun);
void scsi_build_sense(uint8_t *data, ScsiSense sense); /* SCSI_SENSE_SIZE bytes, fixed format */
bool scsi_medium_loaded(const ScsiLun *lun);
uint64_t scsi_block_count(const ScsiLun *lun);
bool scsi_write_protected(const ScsiLun *lun);
ScsiSense scsi_no_medium_sense(const ScsiLun *lun);
/* The blocks lie on the medium. */
bool scsi_range_ok(const ScsiLun *lun, ScsiRange range);
void scsi_media_events_init(ScsiLun *lun); /* media.c */

/* Units whose commands go to a device of the host; lun->opaque is a ScsiPass. */
typedef struct ScsiPass {
    uint32_t timeout; /* s, of one command */
    bool reservations;
    uint32_t max_transfer; /* bytes of one command */
    unsigned running;      /* commands that are with the host; atomic */
} ScsiPass;
extern const ScsiLunClass scsi_generic_disk_lun; /* everything goes to the host */
extern const ScsiLunClass scsi_block_disk_lun;   /* reading and writing is the block layer's */
extern const ScsiLunClass scsi_pass_cd_lun;
/* pass_commands.c: the command goes to the host as it is, or is refused. */
void scsi_run_pass(ScsiRequest *request);
void scsi_pass_collected(ScsiRequest *request);
void scsi_run_pass_reservation(ScsiRequest *request);
void scsi_run_pass_verify(ScsiRequest *request);
void scsi_run_pass_unsaved(ScsiRequest *request);

/* What hangs on a bus in its device struct: cls->ops of the BUS_SCSI classes. */
typedef struct ScsiBusDevice {
    Device dev;
    ScsiLun lun;
    /* properties */
    uint32_t channel;
    int32_t target, lun_number; /* -1: the next free */
} ScsiBusDevice;
/* For a class's realize, when the unit is made, and unrealize, before it is unmade. */
bool scsi_bus_attach(ScsiBusDevice *device, GError **error);
void scsi_bus_detach(ScsiBusDevice *device);
void scsi_bus_changed(ScsiLun *lun, ScsiSense sense);

extern const Property scsi_bus_device_props[]; /* of ScsiBusDevice */

#endif
