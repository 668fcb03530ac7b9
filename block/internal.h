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
    const char *const *options; /* its own, NULL-terminated, for suggestions */
    /* Options are read with opts_get*(); the layer has read the common ones and opened `file`. Sets
     * length, limits and filename. Main thread, as all below but submit. */
    bool (*open)(BlockNode *node, Opts *options, GError **error);
    void (*close)(BlockNode *node);
    void (*submit)(BlockNode *node, BlockRequest *request); /* loop thread */
    /* Blocking; bytes stay inside the length. 0 or -errno. */
    int (*transfer)(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write);
    int (*flush)(BlockNode *node);
    bool (*resize)(BlockNode *node, uint64_t size, GError **error);
    void (*refresh)(BlockNode *node); /* the node below has a new length; may be NULL */
    /* Protocols: takes and gives back what others see as locks; may be NULL. */
    bool (*set_permissions)(BlockNode *node, unsigned perm, unsigned shared, GError **error);
    /* Whether requests from the loop can be carried out as the options want; may be NULL. */
    bool (*check_loop)(BlockNode *node, EventLoop *loop, GError **error);
    uint64_t (*allocated)(BlockNode *node); /* bytes on the host; may be NULL */
} BlockDriver;

struct BlockNode {
    char *name;
    const BlockDriver *driver;
    void *state;
    char *filename;
    BlockNode *file;
    int refs;
    bool monitor_owned; /* made by -blockdev or blockdev-add */
    bool readonly, auto_readonly, force_share;
    bool cache_direct, no_flush;
    bool discard_unmap;
    bool probed; /* raw because nothing said otherwise: the guest must not make it another format */
    DetectZeroes detect_zeroes;
    unsigned perm, shared; /* as set in the driver */
    bool permitted;        /* set_permissions was called and holds */
    _Atomic uint64_t length;
    BlockLimits limits;
};

/* What a node inherits from the one above or from -drive. */
typedef struct NodeDefaults {
    bool readonly, auto_readonly, force_share;
    bool cache_direct, no_flush;
    bool discard_unmap;
} NodeDefaults;

/* driver.c */
const BlockDriver *block_driver_find(const char *name);
extern const BlockDriver *block_test_driver; /* found last; set by unit tests only */
extern const BlockDriver raw_driver, file_driver, host_device_driver, null_co_driver,
    null_aio_driver;

/* node.c */
BlockNode *node_open(Opts *options, const char *driver, const NodeDefaults *defaults,
                     GError **error);
static inline void block_node_submit(BlockNode *node, BlockRequest *request)
{
    node->driver->submit(node, request);
}
bool node_update_permissions(BlockNode *node, GError **error);
void node_length_changed(BlockNode *node); /* tells the nodes above and the back ends */
BlockNode *node_protocol(BlockNode *node);

/* probe.c: the name of the format whose signature stands in the first bytes, or NULL. */
#define PROBE_BYTES 512
const char *block_probe_format(const uint8_t *data, size_t length);

/* iov.c */
void iov_zero_from(const struct iovec *iov, int count, uint64_t skip);
bool iov_is_zero(const struct iovec *iov, int count);
void iov_copy(const struct iovec *iov, int count, uint64_t skip, void *data, uint64_t bytes,
              bool to_iov);
/* A new vector (g_free) of at most max parts without the first skip bytes. */
struct iovec *iov_rest(const struct iovec *iov, int count, uint64_t skip, int max, int *rest_count);

/* backend.c */
typedef struct BlockQueue BlockQueue;
void block_request_complete(BlockRequest *request, int ret);
void block_request_complete_later(BlockRequest *request, int ret);
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
    bool share_rw, removable, has_tray;
    _Atomic bool tray_open, locked;
    _Atomic bool write_cache;
    _Atomic int rerror, werror; /* BlockErrorAction */
    _Atomic bool io_failed;     /* query-block's io-status */
    _Atomic bool io_nospace;
    const BlockBackendEvents *events;
    void *events_opaque;
    BlockQueue *_Atomic queues[64];
    _Atomic int queue_count;
};

/* Something that is no BlockRequest is with the host: drains wait for it. Loop thread. */
void block_backend_enter(BlockBackend *backend);
void block_backend_leave(BlockBackend *backend);

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

/* drive.c: what -drive makes of file= and its options, with the common settings given. */
BlockNode *drive_open_image(Opts *options, const NodeDefaults *defaults, GError **error);

/* backend_errors.c */
const BlockErrorHooks *block_error_hooks(void); /* may be NULL */
/* True when the request is kept; else *ret is what the device sees. */
bool backend_handle_error(BlockBackend *backend, BlockRequest *request, int *ret);

#endif
