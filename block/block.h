/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block layer as devices and the monitor see it (DESIGN, section 6).
 *
 * A disk is a graph of BlockNodes: formats over protocols, with filters between. A device holds a
 * BlockBackend, which adds what belongs to the attachment: the write-cache setting, error policies,
 * statistics, queues. Requests are embedded in the device's own and complete exactly once, on the
 * loop that submitted them, never inside the submitting call.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "vmm/cli/opts.h"
#include "vmm/error.h"
#include "vmm/event/aio.h"
#include "vmm/event/loop.h"

typedef struct BlockNode BlockNode;
typedef struct BlockBackend BlockBackend;
typedef struct BlockRequest BlockRequest;

typedef enum BlockOp {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,
    BLOCK_DISCARD,
    BLOCK_WRITE_ZEROES,
    BLOCK_STATUS,   /* where the data of the range is; no data moves */
    BLOCK_POPULATE, /* what the backing node decides of the range comes into this node */
} BlockOp;

enum {
    BLOCK_REQ_FUA = 1 << 0,   /* on stable storage before completion */
    BLOCK_REQ_UNMAP = 1 << 1, /* write zeroes: may deallocate */
    BLOCK_REQ_NO_FALLBACK = 1 << 2,
    BLOCK_REQ_COMPRESSED = 1 << 3, /* write: store compressed; whole clusters, nothing there yet */
};

/* What BLOCK_STATUS tells of the first bytes of its range. */
enum {
    BLOCK_STATUS_DATA = 1 << 0,      /* may be other than zeroes */
    BLOCK_STATUS_ZERO = 1 << 1,      /* reads as zeroes */
    BLOCK_STATUS_ALLOCATED = 1 << 2, /* decided by this node, not by its backing */
    BLOCK_STATUS_OFFSET = 1 << 3,    /* host_offset holds: plain data in `file` */
    BLOCK_STATUS_COMPRESSED = 1 << 4,
};
typedef struct BlockStatus {
    unsigned flags;
    uint64_t bytes; /* of the range that are so; at least 1 */
    uint64_t host_offset;
    BlockNode *file;
} BlockStatus;

struct BlockRequest {
    BlockOp op;
    unsigned flags;
    uint64_t offset; /* bytes */
    uint64_t bytes;  /* of iov, or of the range */
    const struct iovec *iov;
    int iov_count;
    BlockStatus *status; /* BLOCK_STATUS: the answer */
    /* 0 or -errno, on the loop that submitted. */
    void (*done)(BlockRequest *request, int ret);
    void *opaque;
    /* private to the block layer */
    BlockBackend *backend;
    struct BlockQueue *queue;
    BlockNode *node; /* whose driver has it now */
    EventLoop *loop;
    BlockRequest *next;
    /* How it ends: the back end's way, or that of the driver whose child this is. */
    void (*complete)(BlockRequest *request, int ret);
    LoopTask task;   /* ends or goes on later, from any thread */
    BlockOp kind;    /* op, after detect-zeroes */
    unsigned kflags; /* flags, after write cache and discard options */
    int ret;
    uint64_t position; /* offset in node */
    uint64_t progress; /* bytes transferred */
    int64_t start_ns;
    AioRequest aio;
    const struct iovec *kiov; /* iov, or what stands for it */
    int kiov_count;
    struct iovec *rest; /* what a short transfer left */
    void *guard;        /* private copy of a guarded sector */
    /* A format on the way that has to know when the request ends, and how it goes on then. */
    void *format;
    void (*format_complete)(BlockRequest *request, int ret);
    unsigned format_epoch;
    /* The same for a job that follows what is written. */
    void *tracked;
    void (*tracked_complete)(BlockRequest *request, int ret);
    uint64_t tracked_offset; /* in the node that is followed */
};

typedef enum BlockErrorAction {
    BLOCK_ERROR_REPORT,
    BLOCK_ERROR_IGNORE,
    BLOCK_ERROR_STOP,
    BLOCK_ERROR_ENOSPC
} BlockErrorAction;

typedef struct BlockLimits {
    uint32_t request_alignment; /* of offset, length and memory the node wants (1 to 4096); others
                                   are bounced by the layer */
    uint32_t logical_block, physical_block; /* probed, bytes; 512 when unknown */
    uint64_t max_transfer;                  /* bytes, 0: none */
    int max_iov;
    uint64_t discard_granularity; /* 0: discard not supported */
    uint64_t opt_io;              /* optimal transfer, 0: unknown */
    bool has_write_zeroes;
    bool rotational;
    bool fixed_size; /* a device: it does not grow by writing behind its end */
} BlockLimits;

typedef struct BlockStats {
    uint64_t rd_bytes, wr_bytes, unmap_bytes;
    uint64_t rd_ops, wr_ops, flush_ops, unmap_ops;
    uint64_t rd_time_ns, wr_time_ns, flush_time_ns, unmap_time_ns;
    uint64_t failed_rd, failed_wr, failed_flush, failed_unmap;
    uint64_t invalid_rd, invalid_wr, invalid_flush, invalid_unmap; /* refused unseen */
    uint64_t last_access_ns; /* realtime clock, 0: none; as the next, not a sum */
    uint64_t wr_highest_offset;
} BlockStats;

/* ---- Nodes: main thread ---- */
/* From -blockdev / blockdev-add options (driver, node-name, file..., cache.direct, cache.no-flush,
 * discard, detect-zeroes, read-only, auto-read-only, force-share, aio, locking ...). Nested nodes
 * come as "file.driver" or a reference "file=NODE". */
BlockNode *block_node_open(Opts *options, GError **error);
BlockNode *block_node_find(const char *node_name);
BlockNode *block_node_ref(BlockNode *node);
void block_node_unref(BlockNode *node); /* the last one closes: flushes, unlocks */
bool block_node_delete(const char *node_name, GError **error); /* blockdev-del */
void block_close_all(void);                                    /* at exit: flushes every node */
void block_jobs_end(void); /* at exit, while the monitor still hears: cancels all */
const char *block_node_name(const BlockNode *node);
const char *block_node_driver(const BlockNode *node);
const char *block_node_filename(const BlockNode *node); /* may be NULL */
uint64_t block_node_length(BlockNode *node);            /* bytes; any thread */
bool block_node_readonly(const BlockNode *node);
void block_node_foreach(void (*fn)(BlockNode *node, void *opaque), void *opaque);
void block_drivers_help(GString *out);

/* ---- Drives (-drive, drive properties) ---- */
/* -drive: opens the nodes, keeps id, if, index, cache (writeback, none, writethrough, directsync,
 * unsafe), werror, rerror ... */
typedef struct Drive {
    char *id;
    char *interface; /* "virtio", "none", "ide" ... */
    int index, bus, unit;
    bool is_cdrom, readonly;
    BlockNode *node;             /* NULL: empty drive */
    bool writethrough;           /* the device's write cache starts off */
    bool cache_direct, no_flush; /* what a changed medium inherits */
    BlockErrorAction rerror, werror;
    struct ThrottleGroup *throttle; /* its I/O limits, or NULL */
    bool claimed;
} Drive;
extern const char *const drive_options[]; /* its keys, NULL-terminated */
Drive *drive_add(Opts *options, const char *default_interface, GError **error);
/* Units of a bus of if=ide on this machine (2 when never said): what index= means. */
void drive_set_ide_units(unsigned units);
/* What snapshot= means where a drive does not say: writes go to a temporary file. */
void drive_set_snapshots(bool on);
Drive *drive_find(const char *id);
bool drive_remove(const char *id, GError **error); /* fails while a device has it */
void drives_close(void);                           /* all that no device has */
void drive_foreach(void (*fn)(Drive *drive, void *opaque), void *opaque);

/* ---- Back ends: what a device holds ---- */
typedef struct BlockBackendEvents {
    void (*resized)(void *opaque); /* main thread */
    /* A removable medium became readable (loaded: inserted, and the tray closed) or went. No
     * request is in flight when it goes by removal. Main thread, no lock held. May be NULL. */
    void (*media_changed)(void *opaque, bool loaded);
    /* The user asks the guest to let a locked medium go; with `force` it goes anyhow, at once. Main
     * thread. May be NULL. */
    void (*eject_request)(void *opaque, bool force);
} BlockBackendEvents;

/* `drive` is a drive id or a node name. Takes permissions: writable unless readonly is asked for;
 * `share_rw` lets others write. Main thread. */
BlockBackend *block_backend_attach(const char *drive, const char *device_id, bool readonly,
                                   bool share_rw, GError **error);
/* For a drive with removable media: `drive` may be empty, or NULL: no drive of the user's is behind
 * it. Media can be changed by QMP from then on. Main thread. */
BlockBackend *block_backend_attach_removable(const char *drive, const char *device_id,
                                             bool readonly, bool has_tray, GError **error);
void block_backend_detach(BlockBackend *backend); /* drained; main thread */
void block_backend_set_events(BlockBackend *backend, const BlockBackendEvents *events,
                              void *opaque);
/* The device's path in the object tree, which BLOCK_IO_ERROR names. Before requests; main thread.
 */
void block_backend_set_qom_path(BlockBackend *backend, const char *path);
void block_backend_set_error_actions(BlockBackend *backend, BlockErrorAction rerror,
                                     BlockErrorAction werror);
BlockNode *block_backend_node(BlockBackend *backend);    /* NULL: no medium; main thread */
const Drive *block_backend_drive(BlockBackend *backend); /* NULL when a node was named */
uint64_t block_backend_length(BlockBackend *backend);    /* 0: no medium; any thread */
bool block_backend_readonly(const BlockBackend *backend);
const BlockLimits *block_backend_limits(BlockBackend *backend); /* of the medium; main thread */
/* The volatile write cache as the guest sees it: off makes every write FUA. Any thread. */
bool block_backend_write_cache(const BlockBackend *backend);
void block_backend_set_write_cache(BlockBackend *backend, bool on);

/* Tells the back end that `loop` will submit to it: engines are made ready. Main thread, before the
 * first request from that loop. */
bool block_backend_add_loop(BlockBackend *backend, EventLoop *loop, GError **error);

/* Submits. The range must lie inside the length and iov sum to bytes (the device checked; else
 * -EINVAL in done). The error policy is applied: a request whose policy is "stop" is kept and
 * submitted again when the machine continues. Loop thread. */
void block_submit(BlockBackend *backend, BlockRequest *request);

/* Waits until no request is in flight; the caller has stopped the sources. Requests kept by a
 * "stop" policy stay kept. Main thread; it runs callbacks of the main loop only. */
void block_backend_drain(BlockBackend *backend);
/* Completes the kept requests with -ECANCELED on their loops and drains: for a device's reset and
 * unplug, which forget them. Main thread. */
void block_backend_cancel_kept(BlockBackend *backend);
void block_backend_stats(BlockBackend *backend, BlockStats *stats); /* any thread */
/* Submits again all requests that "stop" policies kept: the machine continues. Main thread. */
void block_resume_stopped(void);

/* ---- SCSI commands to a device of the host (sg.c) ---- */
typedef struct BlockScsi BlockScsi;
struct BlockScsi {
    uint8_t cdb[16];
    unsigned cdb_len;
    void *data; /* of length bytes; stays until done */
    uint32_t length;
    bool to_device;
    unsigned timeout_ms;
    /* What the device answered; valid when the result is 0. */
    uint8_t status, sense_len;
    uint8_t sense[96];
    uint32_t residual; /* bytes of length that did not move */
    /* 0, or -errno: the host could not have it done. On the loop that submitted. */
    void (*done)(BlockScsi *command, int ret);
    void *opaque;
    /* private to the block layer */
    BlockBackend *backend;
    int fd;
    AioRequest aio;
};
/* Whether the medium is a SCSI device of the host, whole; says why not. Main thread. */
bool block_scsi_check(BlockBackend *backend, GError **error);
/* Bytes that one command may move; after block_scsi_check(). Main thread. */
uint32_t block_scsi_max_transfer(BlockBackend *backend);
/* Runs a command and waits for it: at start. Main thread. */
int block_scsi_run(BlockBackend *backend, BlockScsi *command);
/* Runs it in a worker thread; a drain waits for it. Loop thread. */
void block_scsi_submit(BlockBackend *backend, BlockScsi *command);

/* ---- Removable media (media.c) ---- */
/* Requests without a medium end with -ENOMEDIUM, without an error policy; whether an open tray
 * hides the medium is the device's to say. */
bool block_backend_inserted(const BlockBackend *backend);  /* a medium is there; any thread */
bool block_backend_loaded(const BlockBackend *backend);    /* and the tray is closed; any thread */
bool block_backend_tray_open(const BlockBackend *backend); /* any thread */
/* The guest, or a loaded state, opens or closes the tray: DEVICE_TRAY_MOVED when it moved; the
 * medium stays in it. The device's callbacks are not called. Any thread. */
void block_backend_set_tray(BlockBackend *backend, bool open);
/* The guest locks the door (PREVENT ALLOW MEDIUM REMOVAL). Any thread. */
void block_backend_set_locked(BlockBackend *backend, bool locked);
bool block_backend_locked(const BlockBackend *backend);
/* By drive id (`device`) or the device's id or path (`id`); exactly one of them. Main thread. */
BlockBackend *block_backend_find(const char *device, const char *id, GError **error);
typedef enum BlockReadonlyMode {
    BLOCK_READONLY_RETAIN,
    BLOCK_READONLY_ON,
    BLOCK_READONLY_OFF
} BlockReadonlyMode;
/* The monitor's commands, with QEMU's rules and messages. Main thread. */
bool block_media_open_tray(BlockBackend *backend, bool force, GError **error);
bool block_media_close_tray(BlockBackend *backend, GError **error);
bool block_media_insert(BlockBackend *backend, const char *node_name, GError **error);
bool block_media_remove(BlockBackend *backend, GError **error);
bool block_media_eject(BlockBackend *backend, bool force, GError **error);
bool block_media_change(BlockBackend *backend, const char *filename, const char *format, bool force,
                        BlockReadonlyMode mode, GError **error);

/* What an error policy does outside of the block layer; installed by main before devices are made.
 * Both may be called on any loop's thread. */
typedef struct BlockErrorHooks {
    void (*emit)(const char *event, json_object *data); /* takes the reference of data */
    void (*stop)(void); /* stop the machine with RUN_STATE_IO_ERROR */
} BlockErrorHooks;
void block_set_error_hooks(const BlockErrorHooks *hooks);

/* ---- Blocking access for tools, boot and tests (sync.c): 0 or -errno ----
 * Any thread that no event loop runs on, several at once; not an I/O thread's. */
int block_pread(BlockNode *node, uint64_t offset, void *data, uint64_t bytes);
int block_pwrite(BlockNode *node, uint64_t offset, const void *data, uint64_t bytes);
int block_pwrite_compressed(BlockNode *node, uint64_t offset, const void *data, uint64_t bytes);
/* flags: BLOCK_REQ_UNMAP. */
int block_pwrite_zeroes(BlockNode *node, uint64_t offset, uint64_t bytes, unsigned flags);
int block_discard(BlockNode *node, uint64_t offset, uint64_t bytes);
/* What backing nodes decide of the range is copied into this node; what is written meanwhile stays.
 */
int block_populate(BlockNode *node, uint64_t offset, uint64_t bytes);
int block_flush(BlockNode *node);
/* Lets the host copy between files, which may share their space then. -ENOTSUP where the source's
 * range is not plain in one file, or `to` is not a raw image in another: nothing is copied. */
int block_copy_range(BlockNode *from, uint64_t from_offset, BlockNode *to, uint64_t to_offset,
                     uint64_t bytes);
/* Of this node alone. */
int block_status(BlockNode *node, uint64_t offset, uint64_t bytes, BlockStatus *status);
/* Of the chain from node down to, but without, base (NULL: to its end). ALLOCATED says that a node
 * of that part decides; *depth (may be NULL) how far down: 0 for node itself. */
int block_status_above(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t bytes,
                       BlockStatus *status, int *depth);

/* Main thread. New requests wait meanwhile, those under way are waited for. */
bool block_resize(BlockNode *node, uint64_t size, GError **error);

/* query-block, query-named-block-nodes, query-blockstats: values as QEMU's. Main thread. */
json_object *block_query(void);
json_object *block_query_nodes(bool flat); /* flat: without the images below */
json_object *block_query_stats(bool nodes);

#endif
