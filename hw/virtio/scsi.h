/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-scsi (VIRTIO 1.2, 5.6): between its files. */
#ifndef HW_VIRTIO_SCSI_H
#define HW_VIRTIO_SCSI_H

#include "hw/scsi/scsi.h"
#include "hw/virtio/loops.h"
#include "hw/virtio/virtio.h"

enum { VIRTIO_SCSI_F_HOTPLUG = 1, VIRTIO_SCSI_F_CHANGE = 2 };

enum { SCSI_VQ_CONTROL = 0, SCSI_VQ_EVENT = 1, SCSI_VQ_REQUEST = 2 };

/* struct virtio_scsi_config, by offset. */
enum {
    SCSI_CONFIG_NUM_QUEUES = 0,
    SCSI_CONFIG_SEG_MAX = 4,
    SCSI_CONFIG_MAX_SECTORS = 8,
    SCSI_CONFIG_CMD_PER_LUN = 12,
    SCSI_CONFIG_EVENT_SIZE = 16,
    SCSI_CONFIG_SENSE_SIZE = 20,
    SCSI_CONFIG_CDB_SIZE = 24,
    SCSI_CONFIG_MAX_CHANNEL = 28,
    SCSI_CONFIG_MAX_TARGET = 30,
    SCSI_CONFIG_MAX_LUN = 32,
    SCSI_CONFIG_LEN = 36,
};

/* Response codes. */
enum {
    VIRTIO_SCSI_S_OK = 0,
    VIRTIO_SCSI_S_OVERRUN = 1,
    VIRTIO_SCSI_S_ABORTED = 2,
    VIRTIO_SCSI_S_BAD_TARGET = 3,
    VIRTIO_SCSI_S_RESET = 4,
    VIRTIO_SCSI_S_FAILURE = 9,
    VIRTIO_SCSI_S_SUCCEEDED = 10,
    VIRTIO_SCSI_S_REJECTED = 11,
    VIRTIO_SCSI_S_INCORRECT_LUN = 12,
};

#define VIRTIO_SCSI_DEFAULT_SENSE 96
#define VIRTIO_SCSI_DEFAULT_CDB   32
#define VIRTIO_SCSI_MAX_SENSE     4096 /* that a driver may ask for: padded with zeroes */
#define VIRTIO_SCSI_MAX_CDB       255
#define VIRTIO_SCSI_EVENTS        64 /* that wait for the driver's buffers */
#define VIRTIO_SCSI_EVENT_SIZE    16
#define VIRTIO_SCSI_MAX_TARGET    255

typedef struct VirtioScsi VirtioScsi;

typedef struct ScsiCommandRequest {
    VirtqRequest vr;
    ScsiRequest scsi;
    struct ScsiCommandRequest *next, **link; /* in flight on this queue */
    uint64_t tag;
    uint32_t head;         /* bytes of the response in front of data-in */
    bool by_reset;         /* cancelled by a reset, not an abort */
    struct iovec *data_in; /* on the heap: the response and the data share a buffer */
    GSList *waiters;       /* task management functions that wait for its end */
} ScsiCommandRequest;

typedef struct ScsiEvent {
    uint32_t event, reason;
    ScsiAddress address;
} ScsiEvent;

struct VirtioScsi {
    VirtioDevice vdev;
    /* properties */
    VirtioLoops loops;
    uint32_t num_queues, queue_size, max_sectors, cmd_per_lun;
    bool hotplug, param_change, seg_max_adjust;
    /* as realized */
    Bus *bus;
    EventLoop **queue_loops;       /* one for each request queue */
    ScsiCommandRequest **inflight; /* likewise; the loop's */
    uint32_t cdb_size, sense_size; /* as the driver set them; constant while queues run */
    GMutex event_lock;             /* leaf: events */
    ScsiEvent events[VIRTIO_SCSI_EVENTS];
    unsigned event_count;
    bool events_missed;
};

/* scsi-request.c */
void virtio_scsi_handle_request(VirtQueue *vq);
/* The address in a request's 8 bytes; false: of no kind that this adapter has. */
bool virtio_scsi_parse_lun(const uint8_t *bytes, ScsiAddress *address);
ScsiLun *virtio_scsi_find(VirtioScsi *scsi, const uint8_t *bytes, ScsiAddress *address);

/* scsi-control.c */
void virtio_scsi_handle_control(VirtQueue *vq);
void virtio_scsi_handle_event(VirtQueue *vq);
void virtio_scsi_command_ended(ScsiCommandRequest *command);
/* Queues an event for the driver. Any thread. */
void virtio_scsi_send_event(VirtioScsi *scsi, uint32_t event, uint32_t reason, ScsiAddress address);
extern const ScsiHba virtio_scsi_hba;
size_t virtio_scsi_control_size(void);
/* Cancels a unit's requests on all loops, or all (NULL). Main thread. */
void virtio_scsi_barrier(VirtioScsi *scsi);

#endif
