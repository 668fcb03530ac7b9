/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of the block layer: nodes, the drivers' interface and what drivers may call.
 *
 * A driver is a constant table. A request walks down: the format's submit() maps `position` and
 * hands the request to the node below with block_node_submit(); the protocol's submits it to the
 * loop's engine and, later, calls block_request_complete(). Never inside submit(): what needs no
 * I/O ends with block_request_complete_later().
 */
#ifndef BLOCK_INTERNAL_H
#define BLOCK_INTERNAL_H

#include <assert.h>
#include <stdatomic.h>
#include "block/block.h"
#include "block/image.h"
#include "vmm/object/throttle_group.h"

/* QEMU's permission bits, which are also its locking bytes. */
enum {
    BLOCK_PERM_CONSISTENT_READ = 1 << 0,
    BLOCK_PERM_WRITE = 1 << 1,
    BLOCK_PERM_WRITE_UNCHANGED = 1 << 2,
    BLOCK_PERM_RESIZE = 1 << 3,
    BLOCK_PERM_ALL = 0xf,
};

/* In a request's kflags: it failed the layer's own checks; no error policy applies. */
#define BLOCK_REQ_REFUSED (1u << 16)

typedef enum DetectZeroes { DETECT_ZEROES_OFF, DETECT_ZEROES_ON, DETECT_ZEROES_UNMAP } DetectZeroes;

typedef struct BlockDriver {
    const char *name;
    const char *desc;
    size_t state_size;
    bool has_file;              /* a format or filter over a node "file" */
    bool has_backing;           /* may stand on a backing node */
    bool is_filter;             /* shows the data of the node below, without a format */
    const char *file_option;    /* what options call the node below; NULL: "file" */
    const char *const *options; /* its own, NULL-terminated, for suggestions */
    /* Options are read with opts_get*(); the layer has read the common ones and opened `file`. Sets
     * length, limits and filename. Main thread, as all below but submit. */
    bool (*open)(BlockNode *node, Opts *options, GError **error);
    void (*close)(BlockNode *node);
    void (*submit)(BlockNode *node, BlockRequest *request); /* loop thread */
    /* Blocking forms without an event loop; 0 or -errno. NULL: requests on the layer's own loop
     * stand in. Any thread. */
    int (*transfer)(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write);
    int (*flush)(BlockNode *node);
    /* Until the end, requests that the driver holds back go at once. May be NULL. */
    void (*drain)(BlockNode *node, bool begin);
    /* Waits until the driver does nothing of its own accord: requests have ended. May be NULL. */
    void (*quiesce)(BlockNode *node);
    /* Like flush, and what a flush leaves for later too: at exit. NULL: flush. No request is in
     * flight; main thread. */
    int (*settle)(BlockNode *node);
    /* Writes what the image has only while nobody works on it, its bitmaps: at exit, and before it
     * becomes read-only. No request is in flight, and none that writes follows before reopen(). May
     * be NULL. On failure what the image had stays in memory, and is in use on the disk. */
    bool (*retire)(BlockNode *node, GError **error);
    /* Makes it writable, or read-only; `file` is so already. NULL: nothing to do. No request is in
     * flight. */
    bool (*reopen)(BlockNode *node, bool readonly, GError **error);
    /* No request is in flight. */
    bool (*resize)(BlockNode *node, uint64_t size, GError **error);
    /* The node below, or the file, has a new length; may be NULL. */
    void (*refresh)(BlockNode *node);
    /* Protocols: takes and gives back what others see as locks; may be NULL. */
    bool (*set_permissions)(BlockNode *node, unsigned perm, unsigned shared, GError **error);
    /* Whether requests from the loop can be carried out as the options want; may be NULL. */
    bool (*check_loop)(BlockNode *node, EventLoop *loop, GError **error);
    uint64_t (*allocated)(BlockNode *node); /* bytes on the host; may be NULL */
    /* query-blockstats' "driver-specific"; may be NULL. */
    void (*add_stats)(const BlockNode *node, json_object *info);
    const BlockImageOps *image; /* what tools do with images of this format; may be NULL */
} BlockDriver;

/* Who looks at every request to a node before its driver does; passes it on by
 * block_node_pass(). Set and taken away while all back ends are paused. */
typedef struct NodeTracker NodeTracker;
struct NodeTracker {
    void (*submit)(NodeTracker *tracker, BlockNode *node, BlockRequest *request);
};

struct BlockNode {
    char *name;
    const BlockDriver *driver;
    NodeTracker *tracker; /* of a job, or NULL */
    /* Writes that end above it are looked at: the smaller of the next two. */
    _Atomic uint64_t watermark;
    _Atomic uint64_t written_to; /* end of the highest write */
    _Atomic uint64_t threshold;  /* a write behind it is an event, once; 0: none */
    GPtrArray *bitmaps;          /* of BlockBitmap (bitmap.h), or NULL; main thread */
    /* Those that writes go to, up to a NULL; NULL: none. Changed while no request is under way. */
    struct BlockBitmap **recording;
    void *state;
    char *filename;
    BlockNode *file;
    BlockNode *backing;   /* what is not allocated here; NULL: zeroes */
    BlockNode *data_file; /* of formats whose data is apart from their tables; else NULL */
    GPtrArray *extents;   /* of BlockNode: of formats whose data is in several files; else NULL */
    /* The image's own words on its backing file, set by open(); NULL: it has none. */
    char *backing_file, *backing_format;
    int refs;
    bool monitor_owned; /* made by -blockdev or blockdev-add */
    bool readonly, auto_readonly, force_share;
    bool cache_direct, no_flush;
    bool discard_unmap;
    bool guessed; /* nobody said that it is of this format */
    bool trusting;
    bool no_backing, for_check, no_io;
    BlockNode *above; /* while a chain is opened: the overlay */
    Opts *given;      /* options of its own and of nested nodes, as they were given */
    bool probed; /* raw because nothing said otherwise: the guest must not make it another format */
    DetectZeroes detect_zeroes;
    unsigned perm, shared; /* as set in the driver */
    bool permitted;        /* set_permissions was called and holds */
    _Atomic uint64_t length;
    /* Of a file that formats make longer: where it ends by now. UINT64_MAX: it has no end to write
     * behind, or nobody knows. */
    _Atomic uint64_t reach;
    BlockLimits limits;
};

/* What a node inherits from the one above or from -drive. */
typedef struct NodeDefaults {
    bool readonly, auto_readonly, force_share;
    bool cache_direct, no_flush;
    bool discard_unmap;
    bool guessed;     /* the format was found out: the image may not name other files */
    bool for_check;   /* see BlockOpenMode */
    bool trusting;    /* ... nevertheless: it may */
    bool no_backing;  /* leave this node's backing file alone */
    bool no_io;       /* see BlockOpenMode */
    BlockNode *above; /* whose backing file this becomes, or NULL */
} NodeDefaults;

/* driver.c */
const BlockDriver *block_driver_find(const char *name);
/* False, and an error that says so of the `what` ("format") and names the nearest there is. */
bool block_driver_unknown(const char *what, const char *name, GError **error);
extern const BlockDriver *block_test_driver; /* found last; set by unit tests only */
extern const BlockDriver raw_driver, file_driver, host_device_driver, null_co_driver,
    null_aio_driver, qcow2_driver, vdi_driver, vhdx_driver, vmdk_driver, vpc_driver, nbd_driver,
    throttle_driver, blkdebug_driver, copy_on_read_driver, copy_before_write_driver, luks_driver;

/* nbd/filename.c: "nbd:..." and its like as options of the nbd driver. */
bool block_nbd_is_filename(const char *file);
bool block_nbd_parse_filename(Opts *options, const char *file, GError **error);

/* nbd/qmp.c: ends the monitor's NBD server. Main thread. */
void block_exports_close(void);

/* node.c */
BlockNode *node_open(Opts *options, const char *driver, const NodeDefaults *defaults,
                     GError **error);
/* A filter that no options name, over a node: takes a reference of that. Main thread. */
BlockNode *node_put_filter(const BlockDriver *driver, const char *name, BlockNode *below,
                           GError **error);
static inline void block_node_pass(BlockNode *node, BlockRequest *request)
{
    node->driver->submit(node, request);
}
/* Writes beyond the highest one until now, or beyond a threshold. */
void node_note_write(BlockNode *node, uint64_t end);
/* bitmap.c: the bitmaps in `recording` hear of a write. Any thread. */
void node_record_write(BlockNode *node, uint64_t offset, uint64_t bytes);
static inline void block_node_submit(BlockNode *node, BlockRequest *request)
{
    if (G_UNLIKELY(request->position + request->bytes >
                   atomic_load_explicit(&node->watermark, memory_order_relaxed)) &&
        (request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES)) {
        node_note_write(node, request->position + request->bytes);
    }
    if (G_UNLIKELY(node->recording) &&
        (request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES ||
         request->kind == BLOCK_DISCARD)) {
        node_record_write(node, request->position, request->bytes);
    }
    if (G_UNLIKELY(node->tracker)) {
        node->tracker->submit(node->tracker, node, request);
    } else {
        block_node_pass(node, request);
    }
}
/* Looks how long the files below are now: writes behind the end made them longer. */
void node_refresh_length(BlockNode *node);
void node_length_changed(BlockNode *node); /* tells the nodes above and the back ends */
BlockNode *node_protocol(BlockNode *node);
/* What decides where this node does not: its backing node, or what a filter stands on. */
BlockNode *node_below(const BlockNode *node);
bool node_is_below(const BlockNode *node, const BlockNode *top); /* or is it */

/* permissions.c: main thread. */
/* Takes what the back ends want from the protocols below node, or gives it back. */
bool node_update_permissions(BlockNode *node, GError **error);
/* Whether the back end can have its node beside the other back ends. */
bool node_check_conflict(BlockBackend *backend, GError **error);

/* sync.c: blocking access to a node below, whatever its length: reads behind the end give zeroes,
 * writes make it longer. 0 or -errno. Any thread that no event loop runs on. */
int node_pread(BlockNode *node, uint64_t offset, void *data, uint64_t bytes);
int node_pwrite(BlockNode *node, uint64_t offset, const void *data, uint64_t bytes);
int node_flush(BlockNode *node);
/* The layer's own loop, for what belongs to no device; NULL where it cannot be had. The first call
 * is the main thread's. */
EventLoop *sync_loop_get(void);
void sync_loop_stop(void); /* at exit */

/* chain.c: opens the backing node that options or the image name; main thread. */
bool node_open_backing(BlockNode *node, Opts *options, GError **error);
/* Puts a temporary qcow2 image over *node, which is only read from then on (snapshot=on). Its file
 * has no name any more when this returns, and ends with the node. Takes over the reference. */
bool node_put_overlay(BlockNode **node, GError **error);
/* Both are the same file of the host, by whatever names. */
bool node_same_file(const BlockNode *a, const BlockNode *b);
/* A name that an image says, seen from its folder (g_free). */
char *node_relative_path(const BlockNode *node, const char *name);

/* probe.c: the name of the format whose signature stands in the first bytes, or NULL. */
#define PROBE_BYTES 512
const char *block_probe_format(const uint8_t *data, size_t length);

/* iov.c */
void iov_zero_from(const struct iovec *iov, int count, uint64_t skip);
bool iov_is_zero(const struct iovec *iov, int count);
void iov_copy(const struct iovec *iov, int count, uint64_t skip, void *data, uint64_t bytes,
              bool to_iov);
/* A new vector (g_free) of the bytes from skip on. */
struct iovec *iov_slice(const struct iovec *iov, int count, uint64_t skip, uint64_t bytes,
                        int *slice_count);
/* A new vector (g_free) of at most max parts without the first skip bytes. */
struct iovec *iov_rest(const struct iovec *iov, int count, uint64_t skip, int max, int *rest_count);

/* request.c: loop thread. */
static inline void block_request_complete(BlockRequest *request, int ret)
{
    request->complete(request, ret);
}
void block_request_complete_later(BlockRequest *request, int ret);
/* Makes a request of the driver's own on loop; `complete` is called there, never inside submit. The
 * caller sets position (= offset), bytes, kiov as given here and may change them until it submits.
 */
void block_request_init(BlockRequest *request, EventLoop *loop, BlockOp op, uint64_t offset,
                        uint64_t bytes, const struct iovec *iov, int iov_count, unsigned flags,
                        void (*complete)(BlockRequest *request, int ret), void *opaque);
/* Gives back what the layer attached to the request on its way: in each `complete`. */
static inline void block_request_release(BlockRequest *request)
{
    if (G_UNLIKELY(request->rest || request->guard)) {
        g_clear_pointer(&request->rest, g_free);
        g_clear_pointer(&request->guard, g_free);
    }
}

/* backend.c */
typedef struct BlockQueue BlockQueue;
/* Requests of all back ends above node wait from here on; those under way have ended when it
 * returns. Nests; the tree of nodes may change only between the two where no back end's view of it
 * does. Main thread. */
void block_node_pause(BlockNode *node);
void block_node_resume(BlockNode *node);
/* The same for all back ends there are: the tree may change in any way between the two. */
void block_pause_all(void);
void block_resume_all(void);
/* The back end goes on with another node. Paused. On failure nothing has changed. */
bool backend_replace(BlockBackend *backend, BlockNode *to, GError **error);
void backend_foreach(void (*fn)(BlockBackend *backend, void *opaque), void *opaque);

struct BlockBackend {
    BlockNode *node; /* NULL: no medium; main thread: queues have their own */
    Drive *drive;    /* NULL: a node was named, or nothing */
    char *device_id;
    char *qom_path;          /* NULL: not set */
    bool readonly_wanted;    /* by the device, whatever the medium */
    _Atomic bool readonly;   /* with the present medium */
    _Atomic uint64_t length; /* of the medium, 0: none */
    BlockLimits limits;      /* of the medium */
    ThrottleMember throttle; /* group NULL: no limits */
    bool share_rw, removable, has_tray;
    bool of_job; /* no device's: the monitor does not show it */
    bool inside; /* its writes are no conflict for those who stand on the node */
    _Atomic bool tray_open, locked;
    _Atomic bool write_cache;
    _Atomic int rerror, werror; /* BlockErrorAction */
    _Atomic bool io_failed;     /* query-block's io-status */
    _Atomic bool io_nospace;
    struct LatencyBounds *latency[3]; /* by LatencyKind, or NULL; main thread */
    const BlockBackendEvents *events;
    void *events_opaque;
    BlockQueue *_Atomic queues[64];
    _Atomic int queue_count;
};

/* Whether all loops of the back end can submit to the node. Main thread. */
bool backend_check_loops(BlockBackend *backend, BlockNode *node, GError **error);
/* A job's hold of a node that it writes to: permissions and locks as a device has them. `inside`:
 * the node is part of a chain that is in use, whose users keep what they see. Ended by
 * block_backend_detach(). */
BlockBackend *backend_attach_job(BlockNode *node, const char *job_id, bool inside, GError **error);

/* Something that is no BlockRequest is with the host: drains wait for it. Loop thread. */
void block_backend_enter(BlockBackend *backend);
void block_backend_leave(BlockBackend *backend);

/* file.c: space for a range of a file, by writing zeroes (full) or by fallocate. Blocking. */
bool file_preallocate(BlockNode *node, uint64_t offset, uint64_t bytes, bool full, GError **error);

/* sg.c: ioctl(2); set by unit tests only. */
extern int (*block_sg_ioctl)(int fd, unsigned long request, void *arg);
/* The descriptor takes SCSI commands. */
bool file_is_sg(int fd);

/* Makes node the medium: conflicts, permissions, engines; then requests go to it. Takes a
 * reference. On failure nothing has changed. */
bool backend_insert(BlockBackend *backend, BlockNode *node, GError **error);
/* New requests fail with -ENOMEDIUM, those in flight have ended; gives permissions and the
 * reference back. */
void backend_remove(BlockBackend *backend);

/* open.c: an image from file= and format= (none: found out) and the options of its nodes, with the
 * common settings given. */
BlockNode *node_open_image(Opts *options, const NodeDefaults *defaults, GError **error);

/* Joins a group of I/O limits (NULL: none), for which it takes a reference. Main thread. */
void block_backend_set_throttle(BlockBackend *backend, ThrottleGroup *group);

/* threshold.c: an event when something is written behind it; 0: none. Main thread. */
void node_set_threshold(BlockNode *node, uint64_t threshold);

/* drive_limits.c */
bool drive_read_limits(Drive *drive, Opts *options, GError **error);
void block_add_limits(json_object *info, BlockBackend *backend); /* may be NULL */

/* throttle.c: false when the request waits; then `go` runs with it, on its loop. */
bool throttle_pass(ThrottleMember *member, BlockRequest *request, void (*go)(void *request));

/* backend_errors.c */
const BlockErrorHooks *block_error_hooks(void); /* may be NULL */
/* True when the request is kept; else *ret is what the device sees. */
bool backend_handle_error(BlockBackend *backend, BlockRequest *request, int *ret);

#endif
