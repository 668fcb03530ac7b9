/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues (VIRTIO 1.2, 2.6 to 2.8), the device's side.
 *
 * A queue is owned by one EventLoop. Its rings are translated to host memory once, when it starts.
 * virtq_pop() reads a descriptor chain exactly once into a VirtqRequest: host ranges of RAM,
 * readable ones first, bounded and checked; what is malformed breaks the device and nothing else.
 * Requests come from a pool that holds as many as the ring; nothing is allocated on the way.
 * virtq_push() gives a request back; what one round of the loop pushed is published with one index
 * update and at most one interrupt.
 *
 * Functions are for the queue's loop thread unless said otherwise. Configuration fields belong to
 * the device's lock and are read by the loop only while it starts.
 */
#ifndef HW_VIRTIO_VIRTQUEUE_H
#define HW_VIRTIO_VIRTQUEUE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "hw/virtio/ring.h"
#include "vmm/device/state.h"
#include "vmm/event/loop.h"
#include "vmm/memory/dma.h"

#define VIRTQ_MAX_SIZE   1024 /* of a ring, and of a chain in iovecs */
#define VIRTQ_MAX_QUEUES 1024
#define VIRTQ_INLINE_IOV 6
#define VIRTQ_NO_VECTOR  0xffff

typedef struct VirtQueue VirtQueue;
typedef struct VirtioDevice VirtioDevice;

/* One descriptor chain in the device's hands. A device's own request struct begins with it. */
typedef struct VirtqRequest {
    VirtQueue *vq;
    struct iovec *out; /* what the driver wrote */
    struct iovec *in;  /* what the device writes */
    uint16_t out_count, in_count;
    uint32_t out_bytes, in_bytes;
    /* private */
    uint16_t slot;
    uint16_t id;              /* split: the head; packed: the buffer id */
    uint16_t ndesc;           /* packed: ring slots taken */
    uint16_t iov_out, iov_in; /* counts as popped */
    bool busy, done;
    uint32_t out_trim, in_trim; /* bytes cut off the first of out, the last of in */
    uint32_t written;
    struct iovec *iov; /* inline_iov, or the slot's long array; as popped: out, then in */
    struct VirtqRequest *next;
    struct iovec inline_iov[VIRTQ_INLINE_IOV];
} VirtqRequest;

typedef void VirtqHandler(VirtQueue *vq);

struct VirtQueue {
    /* Hot: the loop's. */
    VirtioDevice *vdev;
    AddressSpace *memory;
    EventLoop *loop;
    bool started;
    bool packed, event_idx, indirect, in_order;
    bool avail_wrap, used_wrap; /* packed */
    bool notifications;         /* the driver is asked to notify */
    bool polling;
    bool blocked; /* the device takes no more now */
    uint16_t num;
    uint16_t last_avail;    /* next to pop */
    uint16_t avail_seen;    /* split: the driver's index as last read */
    uint16_t used_idx;      /* published */
    uint16_t pending;       /* split: used entries, packed: ring slots, written behind used_idx */
    uint16_t used_since;    /* index at the last interrupt decision */
    uint16_t pending_flags; /* packed: flags of the first unpublished slot */
    unsigned budget;        /* requests left in this turn */
    unsigned inflight;      /* popped, not pushed; read by other threads */
    VringDesc *desc;
    VringAvail *avail;
    VringUsed *used;
    VringPackedDesc *ring;
    VringPackedEvent *driver_event, *device_event;
    /* The pool. */
    uint8_t *requests;
    struct iovec *long_iovs;
    size_t request_size;
    uint16_t pool_size;
    bool pool_packed;
    uint16_t *free_slots;
    uint16_t free_count;
    uint64_t *ids_busy;                     /* bitmap of ids in flight */
    VirtqRequest *restored;                 /* to be popped first: from a saved state */
    VirtqRequest *order_head, **order_tail; /* VIRTIO_F_IN_ORDER: as popped */
    LoopTask flush_task, run_task;
    LoopPoller poller;
    FdWatch kick_watch;
    EventNotifier kick; /* the doorbell */
    VirtqHandler *handler;
    bool manual; /* the device asks for notifications itself; handler runs on a kick only */
    uint16_t index;
    uint16_t max_size;
    /* Configuration, saved. */
    uint16_t size;
    uint16_t vector;
    bool enabled;
    uint64_t desc_addr, avail_addr, used_addr; /* packed: ring, driver event, device event */
    uint32_t saved_len;
    uint8_t *saved; /* requests in flight, as saved */
};

extern const StateSection virtq_state;

/* ---- Making: main thread ---- */
bool virtq_init(VirtQueue *vq, VirtioDevice *vdev, uint16_t index, uint16_t max_size,
                size_t request_size, VirtqHandler *handler, GError **error);
void virtq_cleanup(VirtQueue *vq);
void virtq_reset(VirtQueue *vq); /* stopped; configuration to power-on values */

/* ---- Starting and stopping: any thread that the loop's thread does not wait for ---- */
/* Takes the configuration, maps the rings, watches the doorbell and runs the handler once. A bad
 * configuration breaks the device. */
void virtq_start(VirtQueue *vq);
/* The handler runs no more; requests in flight still complete. */
void virtq_stop(VirtQueue *vq);
/* After a stop, when none is in flight: the last completions are published, nothing of the queue is
 * left in the loop. */
void virtq_finish(VirtQueue *vq);
/* Requests in flight; any thread. */
unsigned virtq_inflight(const VirtQueue *vq);

/* ---- The loop's thread ---- */
/* The next request, or NULL: none is there, the turn's budget is spent, or the device is broken. */
VirtqRequest *virtq_pop(VirtQueue *vq);
/* Completes a request: `written` bytes of its in part were written. */
void virtq_push(VirtqRequest *request, uint32_t written);
/* Takes back the last pops, newest first: as if never popped. */
void virtq_unpop(VirtqRequest *request);
/* Publishes what was pushed now, not at the end of the round. */
void virtq_flush(VirtQueue *vq);
/* Whether the ring has something to pop. */
bool virtq_has_work(VirtQueue *vq);
/* Asks the driver to notify, or not to; true: there is work that came before it could know. */
bool virtq_set_notification(VirtQueue *vq, bool on);
/* The device takes no more until virtq_unblock(), which runs the handler again soon. */
void virtq_block(VirtQueue *vq);
void virtq_unblock(VirtQueue *vq);
/* Runs the handler soon; any thread. */
void virtq_schedule(VirtQueue *vq);

/* ---- Request contents ---- */
/* Copies the first len readable bytes and takes them off; false when there are fewer. */
bool virtq_read(VirtqRequest *request, void *data, uint32_t len);
/* Copies to the writable part at offset; returns how much fitted. */
uint32_t virtq_write(VirtqRequest *request, uint32_t offset, const void *data, uint32_t len);
/* Takes the last byte off the writable part, a status byte's place, and gives it; NULL when the
 * part is empty. */
uint8_t *virtq_take_status(VirtqRequest *request);

#endif
