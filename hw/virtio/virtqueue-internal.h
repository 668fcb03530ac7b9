/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two ring formats and the common part of virtqueues share. Loop thread. */
#ifndef HW_VIRTIO_VIRTQUEUE_INTERNAL_H
#define HW_VIRTIO_VIRTQUEUE_INTERNAL_H

#include "hw/virtio/virtqueue.h"

/* A shared 16-bit field, read or written once. */
#define RING_LOAD(p)             __atomic_load_n(&(p), __ATOMIC_RELAXED)
#define RING_LOAD_ACQUIRE(p)     __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define RING_STORE(p, v)         __atomic_store_n(&(p), (v), __ATOMIC_RELAXED)
#define RING_STORE_RELEASE(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)
#define RING_BARRIER()           __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* A descriptor as copied from guest memory, in either format. */
typedef struct ChainDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
} ChainDesc;

/* The guest broke the queue's rules: reports, marks the device broken; returns NULL. */
VirtqRequest *virtq_fault(VirtQueue *vq, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A free request for a chain; NULL after virtq_fault(). */
VirtqRequest *virtq_request_new(VirtQueue *vq);
/* Gives it its id, which no other in flight may have; false after virtq_fault(). */
bool virtq_request_claim(VirtqRequest *request, uint16_t id);
void virtq_request_free(VirtqRequest *request);
/* Appends a buffer to the chain; false after virtq_fault(). */
bool virtq_request_add(VirtqRequest *request, const ChainDesc *desc);
/* An indirect table of the format's 16-byte descriptors; false after virtq_fault(). */
bool virtq_request_add_indirect(VirtqRequest *request, const ChainDesc *table);
/* The chain is complete. */
void virtq_request_close(VirtqRequest *request);

/* What a loaded state had in flight becomes what is popped first; false after virtq_fault(). */
bool virtq_restore_saved(VirtQueue *vq);
VirtqRequest *virtq_slot(VirtQueue *vq, unsigned slot);

bool virtq_split_map(VirtQueue *vq);
bool virtq_split_has_work(VirtQueue *vq);
VirtqRequest *virtq_split_pop(VirtQueue *vq);
void virtq_split_unpop(VirtQueue *vq, VirtqRequest *request);
void virtq_split_put_used(VirtQueue *vq, const VirtqRequest *request);
void virtq_split_publish(VirtQueue *vq);
bool virtq_split_should_interrupt(VirtQueue *vq, uint16_t old);
void virtq_split_set_notification(VirtQueue *vq, bool on);

bool virtq_packed_map(VirtQueue *vq);
/* The ring slots of requests in flight and of unpublished completions. */
unsigned virtq_packed_slots_held(const VirtQueue *vq);
bool virtq_packed_has_work(VirtQueue *vq);
VirtqRequest *virtq_packed_pop(VirtQueue *vq);
void virtq_packed_unpop(VirtQueue *vq, VirtqRequest *request);
void virtq_packed_put_used(VirtQueue *vq, const VirtqRequest *request);
void virtq_packed_publish(VirtQueue *vq);
bool virtq_packed_should_interrupt(VirtQueue *vq, uint16_t old);
void virtq_packed_set_notification(VirtQueue *vq, bool on);

#endif
