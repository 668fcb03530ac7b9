/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI as host adapters see it: logical units, requests, the bus (SAM-5, SPC-4).
 *
 * A ScsiLun is a disk, a CD drive or a passed-through device. It is a device of its own on a
 * BUS_SCSI (scsi-hd, scsi-cd, scsi-block, scsi-generic), or part of a device that has one unit
 * (usb-storage, ide-cd). A ScsiRequest is embedded in the adapter's own request; nothing is
 * allocated for reading and writing.
 *
 * A request's life, all of it on one loop, which block_backend_add_loop() made known:
 *
 *     scsi_request_init()      zeroes it and takes the unit
 *     cdb, next, done          the adapter fills in
 *     scsi_request_prepare()   direction and length, from the CDB alone
 *     in / out                 the adapter gives memory
 *     scsi_request_submit()    done is called once, later, never inside the call
 *
 * Data. A transfer moves through windows. An adapter that has all the memory at once gives it in
 * `in` or `out` and leaves `next` NULL: the window is the transfer. One that gets memory piece by
 * piece (PIO, USB packets) sets `next`: it is called whenever more is to move than the window had;
 * it sets `in` or `out` to the next window (any length above 0; the same memory may serve again)
 * and calls scsi_request_continue(), inside next or later. An empty first window means that next is
 * called first. Data-in: a window that next is called for has been filled whole; at done the last
 * one holds the rest. `moved` always says how many bytes moved in all. The window's iovec array
 * must stay until next or done.
 */
#ifndef HW_SCSI_SCSI_H
#define HW_SCSI_SCSI_H

#include "block/block.h"
#include "hw/disk_conf.h"
#include "vmm/device/device.h"

#define SCSI_CDB_MAX      32
#define SCSI_SENSE_SIZE   18 /* fixed format, what an emulated unit gives */
#define SCSI_SENSE_MAX    96
#define SCSI_LUN_MAX      16383
#define SCSI_IDENTITY_MAX 252

typedef struct ScsiLun ScsiLun;
typedef struct ScsiRequest ScsiRequest;
typedef struct ScsiLunClass ScsiLunClass;

/* Status codes (SAM-5, 5.3.1). */
enum {
    SCSI_GOOD = 0x00,
    SCSI_CHECK_CONDITION = 0x02,
    SCSI_BUSY = 0x08,
    SCSI_RESERVATION_CONFLICT = 0x18,
    SCSI_TASK_SET_FULL = 0x28,
    SCSI_TASK_ABORTED = 0x40,
};

/* Sense keys (SPC-4, 4.5.6). */
enum {
    SCSI_NO_SENSE = 0x0,
    SCSI_NOT_READY = 0x2,
    SCSI_MEDIUM_ERROR = 0x3,
    SCSI_HARDWARE_ERROR = 0x4,
    SCSI_ILLEGAL_REQUEST = 0x5,
    SCSI_UNIT_ATTENTION = 0x6,
    SCSI_DATA_PROTECT = 0x7,
    SCSI_ABORTED_COMMAND = 0xb,
};

typedef struct ScsiSense {
    uint8_t key, asc, ascq;
} ScsiSense;

#define SENSE(k, a, q)          ((ScsiSense){ (k), (a), (q) })
#define SENSE_NONE              SENSE(SCSI_NO_SENSE, 0, 0)
#define SENSE_NO_MEDIUM         SENSE(SCSI_NOT_READY, 0x3a, 0)
#define SENSE_NOT_READY         SENSE(SCSI_NOT_READY, 0x04, 0)
#define SENSE_INVALID_OPCODE    SENSE(SCSI_ILLEGAL_REQUEST, 0x20, 0)
#define SENSE_LBA_RANGE         SENSE(SCSI_ILLEGAL_REQUEST, 0x21, 0)
#define SENSE_INVALID_FIELD     SENSE(SCSI_ILLEGAL_REQUEST, 0x24, 0)
#define SENSE_INVALID_LUN       SENSE(SCSI_ILLEGAL_REQUEST, 0x25, 0)
#define SENSE_INVALID_PARAM     SENSE(SCSI_ILLEGAL_REQUEST, 0x26, 0)
#define SENSE_PARAM_LENGTH      SENSE(SCSI_ILLEGAL_REQUEST, 0x1a, 0)
#define SENSE_SAVING_PARAM      SENSE(SCSI_ILLEGAL_REQUEST, 0x39, 0)
#define SENSE_INCOMPATIBLE      SENSE(SCSI_ILLEGAL_REQUEST, 0x30, 0)
#define SENSE_REMOVAL_PREVENTED SENSE(SCSI_ILLEGAL_REQUEST, 0x53, 2)
#define SENSE_READ_ERROR        SENSE(SCSI_MEDIUM_ERROR, 0x11, 0)
#define SENSE_WRITE_ERROR       SENSE(SCSI_MEDIUM_ERROR, 0x0c, 0)
#define SENSE_TARGET_FAILURE    SENSE(SCSI_HARDWARE_ERROR, 0x44, 0)
#define SENSE_WRITE_PROTECTED   SENSE(SCSI_DATA_PROTECT, 0x27, 0)
#define SENSE_SPACE_ALLOC       SENSE(SCSI_DATA_PROTECT, 0x27, 7)
#define SENSE_IO_ERROR          SENSE(SCSI_ABORTED_COMMAND, 0, 6)
#define SENSE_POWER_ON          SENSE(SCSI_UNIT_ATTENTION, 0x29, 0)
#define SENSE_DEVICE_RESET      SENSE(SCSI_UNIT_ATTENTION, 0x29, 3)
#define SENSE_MEDIUM_CHANGED    SENSE(SCSI_UNIT_ATTENTION, 0x28, 0)
#define SENSE_CAPACITY_CHANGED  SENSE(SCSI_UNIT_ATTENTION, 0x2a, 9)
#define SENSE_MODE_CHANGED      SENSE(SCSI_UNIT_ATTENTION, 0x2a, 1)
#define SENSE_LUNS_CHANGED      SENSE(SCSI_UNIT_ATTENTION, 0x3f, 0xe)

/* ---- Requests ---- */

typedef enum ScsiDirection {
    SCSI_NO_DATA,
    SCSI_DATA_IN,  /* to the initiator */
    SCSI_DATA_OUT, /* from the initiator */
} ScsiDirection;

typedef struct ScsiAddress {
    uint8_t channel;
    uint16_t target;
    uint32_t lun;
} ScsiAddress;

/* A window: host memory of the initiator's; the vector's sum is bytes. */
typedef struct ScsiWindow {
    const struct iovec *iov;
    int count;
    uint64_t bytes;
} ScsiWindow;

struct ScsiRequest {
    /* The adapter's. */
    ScsiLun *lun;
    ScsiAddress address; /* the one that was addressed; scsi_bus_find() fills it in */
    uint8_t cdb[SCSI_CDB_MAX];
    ScsiWindow in, out;
    void (*next)(ScsiRequest *request); /* may be NULL; on the loop, never inside submit */
    void (*done)(ScsiRequest *request); /* on the loop, never inside submit */
    void *opaque;
    /* From prepare on. */
    ScsiDirection direction;
    uint64_t length; /* bytes: transfer or allocation length of the CDB */
    /* Results. */
    uint64_t moved; /* bytes */
    uint8_t status;
    bool cancelled;    /* ended by scsi_request_cancel(): status is SCSI_TASK_ABORTED */
    uint8_t sense_len; /* 0, or bytes in sense: with SCSI_CHECK_CONDITION */
    uint8_t sense[SCSI_SENSE_MAX];
    /* private to hw/scsi */
    const struct ScsiCommand *command;
    uint8_t stage;
    uint8_t aux;    /* a command's own */
    bool with_host; /* a block or worker request is out */
    bool waiting;   /* for scsi_request_continue() */
    bool in_next;
    bool started;      /* submitted, not done */
    uint64_t offset;   /* bytes: where on the medium a transfer begins */
    uint64_t total;    /* bytes that are to move, at most length */
    uint64_t position; /* progress of a command without data */
    uint64_t in_window;
    uint8_t *reply; /* data of a command that is no plain read or write */
    uint32_t reply_len;
    uint32_t reply_base; /* what of reply has moved before */
    BlockRequest block;
    LoopTask task;
    struct iovec *part; /* of the window; part_inline, or on the heap */
    struct iovec part_inline[2];
};

/* Loop thread, all of them. */
void scsi_request_init(ScsiRequest *request, ScsiLun *lun);
void scsi_request_prepare(ScsiRequest *request);
void scsi_request_submit(ScsiRequest *request);
void scsi_request_continue(ScsiRequest *request);
/* Ends it early: what is with the host completes first, then done is called with `cancelled`. Not
 * after done. */
void scsi_request_cancel(ScsiRequest *request);
/* What a state was loaded into (scsi_request_state, machine paused): init, done, next and the
 * window (what was left of it: from `moved` on) are the adapter's again; then this goes on. */
void scsi_request_resume(ScsiRequest *request);
/* A saved or running request is forgotten, its memory freed: it is not with the host. Main thread,
 * or the loop. */
void scsi_request_cleanup(ScsiRequest *request);
/* Of a request that is between windows, or whose unit was drained. */
extern const StateSection scsi_request_state;

/* The length of a CDB by its first byte (SPC-4, 4.2.5.1): 6, 10, 12, 16; 0: not known by it. */
unsigned scsi_cdb_length(uint8_t opcode);

/* ---- Logical units ---- */

typedef struct ScsiIdentity {
    char *vendor, *product, *version; /* NULL: the class's */
    char *device_id;                  /* VPD page 83; NULL: the serial number, or the drive's id */
    uint64_t wwn, port_wwn;
    uint16_t port_index;
    uint16_t rotation_rate; /* 0: not said, 1: solid state, else turns a minute */
    uint64_t max_unmap_size, max_io_size;
    int32_t scsi_version; /* ANSI version of INQUIRY, 0 to 7 */
    bool removable, dpofua;
} ScsiIdentity;

#define SCSI_IDENTITY_PROPS(Type, field)                                                           \
    PROP_STRING("ver", Type, field.version, NULL, "Revision of INQUIRY, up to 4 characters"),      \
        PROP_STRING("vendor", Type, field.vendor, NULL, "Vendor of INQUIRY, up to 8 characters"),  \
        PROP_STRING("product", Type, field.product, NULL,                                          \
                    "Product of INQUIRY, up to 16 characters"),                                    \
        PROP_STRING("device_id", Type, field.device_id, NULL,                                      \
                    "Designator of VPD page 83; the serial number when unset"),                    \
        PROP_U64("wwn", Type, field.wwn, 0, "World wide name of the unit; 0: none"),               \
        PROP_U64("port_wwn", Type, field.port_wwn, 0, "World wide name of its port; 0: none"),     \
        PROP_U16("port_index", Type, field.port_index, 0, "Number of its port; 0: none"),          \
        PROP_SIZE("max_io_size", Type, field.max_io_size, INT32_MAX,                               \
                  "Bytes of one request at most"),                                                 \
        PROP_FIELD("scsi_version", PROP_TYPE_I32, Type, field.scsi_version,                        \
                   "Version of the command set that INQUIRY claims", .def = 5, .min = 0, .max = 7)

/* Unit attentions that wait to be told, the first of them first. */
enum {
    SCSI_UA_POWER_ON = 1 << 0,
    SCSI_UA_RESET = 1 << 1,
    SCSI_UA_MEDIUM = 1 << 2,
    SCSI_UA_CAPACITY = 1 << 3,
    SCSI_UA_MODE = 1 << 4,
    SCSI_UA_LUNS = 1 << 5,
};

/* The part of a unit that the guest changes and a snapshot keeps. */
typedef struct ScsiMode {
    uint8_t sense[SCSI_SENSE_SIZE]; /* for REQUEST SENSE, when the transport has no autosense */
    uint8_t sense_len;
    bool prevented; /* medium removal */
    bool stopped;   /* START STOP UNIT */
    bool write_cache;
    bool tray_open; /* as saved; the back end has it */
    uint8_t event;  /* what GET EVENT STATUS NOTIFICATION tells next */
} ScsiMode;

struct ScsiLun {
    const ScsiLunClass *cls;
    Device *dev;    /* that it is part of */
    DiskConf *disk; /* that dev embeds; attached */
    const ScsiIdentity *identity;
    Bus *bus; /* NULL: not on a SCSI bus */
    ScsiAddress address;
    bool autosense; /* the adapter delivers sense with the status (not USB bulk-only, not ATAPI) */
    bool atapi;     /* no power-on attention, MMC timing of tray events */
    uint32_t ua;    /* SCSI_UA_*; atomic. One I_T nexus: every adapter is one initiator. */
    GMutex lock;    /* leaf: mode */
    ScsiMode mode;
    uint32_t block_size;
    bool has_tray;
    void *opaque; /* the class's own */
};

/* What a unit is. */
extern const ScsiLunClass scsi_disk_lun; /* direct access (SBC-3) */
extern const ScsiLunClass scsi_cd_lun;   /* CD/DVD drive (MMC-5) */

/* Makes a unit; disk is attached and has its sizes (disk_conf_sizes). A unit that is not on a bus:
 * its owner adds the loops that submit (block_backend_add_loop), quiesces with scsi_lun_drain(),
 * resets with scsi_lun_reset(). Main thread. */
bool scsi_lun_init(ScsiLun *lun, const ScsiLunClass *cls, Device *dev, DiskConf *disk,
                   const ScsiIdentity *identity, GError **error);
void scsi_lun_cleanup(ScsiLun *lun); /* no request is there; harmless when never made */
/* Mode pages, prevention and sense to power-on values, one attention pending (power_on or reset).
 * The adapter has cancelled the requests. Loop, or main with the requests drained. */
void scsi_lun_reset(ScsiLun *lun, bool power_on);
/* Waits until no request is with the host; those that an error policy keeps stay, `cancel` ends
 * them. Main thread; the adapter has stopped submitting. */
void scsi_lun_drain(ScsiLun *lun, bool cancel);
void scsi_lun_attention(ScsiLun *lun, uint32_t ua); /* any thread */
extern const StateSection scsi_lun_state;

/* ---- The bus (BUS_SCSI): what an adapter with several units makes ---- */

typedef struct ScsiHba {
    unsigned max_channel, max_target, max_lun; /* inclusive */
    const char *name;                          /* of the bus, when the device has no id: "scsi" */
    bool autosense;
    /* The unit is complete: the adapter adds its loops to the unit's back end. Main thread. */
    bool (*attach)(void *opaque, ScsiLun *lun, GError **error);
    /* The unit can be found (dev->hotplugged says when it came). Main thread. May be NULL. */
    void (*plugged)(void *opaque, ScsiLun *lun);
    /* The unit cannot be found any more: cancels its requests and waits for them. Main thread. */
    void (*detach)(void *opaque, ScsiLun *lun);
    /* Returns when every loop that calls scsi_bus_find() has left the callback that it is in. Main
     * thread. */
    void (*barrier)(void *opaque);
    /* A unit attention that the guest has not asked for came up (medium, capacity). Any thread. May
     * be NULL. */
    void (*changed)(void *opaque, ScsiLun *lun, ScsiSense sense);
} ScsiHba;

/* "ID.0", or "scsi.N". The adapter's unrealize frees it, empty. Main thread. */
Bus *scsi_bus_new(const ScsiHba *hba, void *opaque, Device *dev);
void scsi_bus_free(Bus *bus); /* NULL: nothing */
/* The unit at an address for a request on the calling loop; it stays until the adapter's detach has
 * returned. A target that is there answers for units that are not; NULL: no such target. Any loop
 * of the adapter. */
ScsiLun *scsi_bus_find(Bus *bus, ScsiAddress address);
/* The units of the addressed target, ascending; 0 is always among them. Like scsi_bus_find(). */
unsigned scsi_bus_luns(Bus *bus, ScsiAddress address, uint32_t *luns, unsigned max);
/* All units; main thread. */
void scsi_bus_foreach(Bus *bus, void (*fn)(ScsiLun *lun, void *opaque), void *opaque);

#endif
