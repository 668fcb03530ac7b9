/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shared memory layouts of VIRTIO 1.2: split rings (2.7), packed rings (2.8), feature and
 * status bits. All fields are little-endian, in guest RAM, and can change at any moment.
 */
#ifndef HW_VIRTIO_RING_H
#define HW_VIRTIO_RING_H

#include <stdint.h>

typedef struct VringDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} VringDesc;

typedef struct VringPackedDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t id;
    uint16_t flags;
} VringPackedDesc;

enum {
    VRING_DESC_NEXT = 1 << 0,
    VRING_DESC_WRITE = 1 << 1,
    VRING_DESC_INDIRECT = 1 << 2,
    VRING_PACKED_AVAIL = 1 << 7,
    VRING_PACKED_USED = 1 << 15,
};

/* Followed by used_event when VIRTIO_F_EVENT_IDX was negotiated. */
typedef struct VringAvail {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[];
} VringAvail;

typedef struct VringUsedElem {
    uint32_t id;
    uint32_t len;
} VringUsedElem;

/* Followed by avail_event when VIRTIO_F_EVENT_IDX was negotiated. */
typedef struct VringUsed {
    uint16_t flags;
    uint16_t idx;
    VringUsedElem ring[];
} VringUsed;

enum { VRING_AVAIL_NO_INTERRUPT = 1, VRING_USED_NO_NOTIFY = 1 };

/* Event suppression structure of a packed ring (2.8.14). */
typedef struct VringPackedEvent {
    uint16_t off_wrap;
    uint16_t flags;
} VringPackedEvent;

enum { VRING_PACKED_EVENT_ENABLE = 0, VRING_PACKED_EVENT_DISABLE = 1, VRING_PACKED_EVENT_DESC = 2 };

/* Device status (2.1). */
enum {
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128,
};

#define VIRTIO_F_ANY_LAYOUT      27
#define VIRTIO_F_INDIRECT_DESC   28
#define VIRTIO_F_EVENT_IDX       29
#define VIRTIO_F_VERSION_1       32
#define VIRTIO_F_ACCESS_PLATFORM 33
#define VIRTIO_F_RING_PACKED     34
#define VIRTIO_F_IN_ORDER        35
#define VIRTIO_FEATURE(bit)      (1ULL << (bit))

/* Whether moving an index from old to now passed event (2.7.10). */
static inline int vring_need_event(uint16_t event, uint16_t now, uint16_t old)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

#endif
