/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit's virtio driver (Virtio 1.2): modern PCI and MMIO transports, split and packed
 * rings, indirect descriptors, event index. Rings are plain memory that tests may also break by
 * hand. */
#pragma once

#include "pci.h"

#define VIRTIO_NET     1
#define VIRTIO_BLK     2
#define VIRTIO_CONSOLE 3
#define VIRTIO_RNG     4
#define VIRTIO_BALLOON 5

#define F_INDIRECT  (1ull << 28)
#define F_EVENT_IDX (1ull << 29)
#define F_VERSION_1 (1ull << 32)
#define F_PACKED    (1ull << 34)
#define F_IN_ORDER  (1ull << 35)

#define BLK_F_FLUSH (1ull << 9)
#define NET_F_MAC   (1ull << 5)

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER      2
#define STATUS_DRIVER_OK   4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 64
#define STATUS_FAILED      128

#define DESC_NEXT     1
#define DESC_WRITE    2
#define DESC_INDIRECT 4
#define PACKED_AVAIL  (1 << 7)
#define PACKED_USED   (1 << 15)

typedef struct VringDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next; /* packed: id, flags in this order */
} VringDesc;

typedef struct VirtioDev {
    bool is_mmio;
    Bdf bdf;
    uint32_t id;     /* virtio device id */
    uint64_t common; /* PCI: common configuration; MMIO: the register page */
    uint64_t notify, isr, config;
    uint32_t notify_multiplier;
    uint64_t features; /* those agreed */
} VirtioDev;

typedef struct VirtQueue {
    VirtioDev *dev;
    uint16_t index, size;
    VringDesc *desc;          /* packed: the ring itself */
    volatile uint16_t *avail; /* flags, idx, ring[size], used_event; packed: driver event */
    volatile uint16_t *used;  /* flags, idx, {id, len}[size], avail_event; packed: device event */
    uint64_t doorbell;
    uint16_t avail_idx, used_idx;
    bool packed, wrap, used_wrap;
} VirtQueue;

/* Finds the nth device with this virtio id on PCI, else on the microvm MMIO slots. */
bool virtio_find(VirtioDev *dev, uint32_t id, uint32_t nth);
void virtio_reset(VirtioDev *dev);
uint8_t virtio_status(VirtioDev *dev);
void virtio_set_status(VirtioDev *dev, uint8_t status);
uint64_t virtio_device_features(VirtioDev *dev);

/* Reset, ACKNOWLEDGE, DRIVER, features & wanted, FEATURES_OK. */
void virtio_begin(VirtioDev *dev, uint64_t wanted);
void virtio_driver_ok(VirtioDev *dev);

/* The largest size the device offers for the queue, 0 if it has none. */
uint16_t virtio_queue_max(VirtioDev *dev, uint16_t index);
void virtio_queue_setup(VirtioDev *dev, VirtQueue *q, uint16_t index, uint16_t max_size);
/* Sets the queue up again after a device reset, with its memory emptied. */
void virtio_queue_restart(VirtQueue *q);
/* MSI-X entry for the queue (PCI); 0xffff for none. */
void virtio_queue_vector(VirtQueue *q, uint16_t entry);

static inline void virtio_notify(VirtQueue *q)
{
    if (q->dev->is_mmio) {
        write32(q->doorbell, q->index);
    } else {
        write16(q->doorbell, q->index);
    }
}
static inline volatile uint16_t *queue_avail_event(VirtQueue *q)
{
    return &q->used[2 + q->size * 4];
}
static inline volatile uint16_t *queue_used_event(VirtQueue *q)
{
    return &q->avail[2 + q->size];
}

typedef struct Part {
    void *data;
    uint32_t len;
    bool write; /* the device writes it */
} Part;

/* Puts one chain of parts into the ring at descriptor `head` (head + count <= size) and makes it
 * available; with `table` the chain goes there as an indirect table. */
void queue_add(VirtQueue *q, uint16_t head, const Part *parts, uint32_t count, VringDesc *table);
/* Rings the doorbell if the device wants it; `added` is the number of chains since the last time.
 */
void queue_kick(VirtQueue *q, uint16_t added);
/* True if a chain was used; its id and length. */
bool queue_used(VirtQueue *q, uint32_t *id, uint32_t *len);
/* Waits (polling) for one used chain; false when the patience ended. */
bool queue_wait(VirtQueue *q, uint32_t *id, uint32_t *len);

/* -- The legacy interface of a transitional PCI device; its queues are driven by hand: queue_add(),
 * legacy_notify(), queue_wait() -- */
bool legacy_find(VirtioDev *dev, uint32_t id, uint32_t nth);
void legacy_begin(VirtioDev *dev, uint64_t wanted);
void legacy_queue_setup(VirtioDev *dev, VirtQueue *q, uint16_t index);
void legacy_driver_ok(VirtioDev *dev);
void legacy_notify(VirtQueue *q);
uint32_t legacy_config(VirtioDev *dev, uint32_t offset);

/* -- Small helpers for the devices -- */
typedef struct BlkHeader {
    uint32_t type, reserved;
    uint64_t sector;
} BlkHeader;
#define BLK_IN     0
#define BLK_OUT    1
#define BLK_FLUSH  4
#define BLK_GET_ID 8

/* One synchronous request with split or packed rings as set up; the status byte, or 0xff. */
uint8_t blk_request(VirtQueue *q, uint32_t type, uint64_t sector, void *data, uint32_t len);
