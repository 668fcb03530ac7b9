/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packed virtqueues (VIRTIO 1.2, 2.8). */
#include "hw/virtio/virtqueue-internal.h"

#include <inttypes.h>
#include <string.h>
#include "vmm/util/bytes.h"

bool virtq_packed_map(VirtQueue *vq)
{
    if (vq->num == 0 || vq->desc_addr % 16 || vq->avail_addr % 4 || vq->used_addr % 4) {
        virtq_fault(vq, "misaligned ring or size %u", vq->num);
        return false;
    }
    AddressSpace *memory = vq->memory;
    /* The device writes descriptors: the whole ring must be writable. */
    vq->ring = dma_translate(memory, vq->desc_addr, 16ULL * vq->num, true);
    vq->driver_event = dma_translate(memory, vq->avail_addr, 4, false);
    vq->device_event = dma_translate(memory, vq->used_addr, 4, true);
    if (!vq->ring || !vq->driver_event || !vq->device_event) {
        virtq_fault(vq,
                    "ring at 0x%" PRIx64 ", events at 0x%" PRIx64 ", 0x%" PRIx64
                    " are not in one piece of RAM",
                    vq->desc_addr, vq->avail_addr, vq->used_addr);
        return false;
    }
    if (vq->last_avail >= vq->num || vq->used_idx >= vq->num) {
        virtq_fault(vq, "index %u or %u of a ring of %u", vq->last_avail, vq->used_idx, vq->num);
        return false;
    }
    if (virtq_packed_slots_held(vq) > vq->num) {
        virtq_fault(vq, "indices %u and %u that cross", vq->last_avail, vq->used_idx);
        return false;
    }
    vq->used_since = vq->used_idx;
    return true;
}

static inline bool is_avail(const VirtQueue *vq, uint16_t flags)
{
    bool avail = flags & VRING_PACKED_AVAIL;
    bool used = flags & VRING_PACKED_USED;
    return avail == vq->avail_wrap && used != vq->avail_wrap;
}

bool virtq_packed_has_work(VirtQueue *vq)
{
    return is_avail(vq, RING_LOAD(vq->ring[vq->last_avail].flags));
}

/* Copies a descriptor once, the flags (already read) apart. */
static inline ChainDesc read_desc(const VringPackedDesc *guest, uint16_t flags, uint16_t *id)
{
    VringPackedDesc copy;
    memcpy(&copy, guest, sizeof(copy));
    __asm__ volatile("" : "+m"(copy));
    *id = copy.id;
    return (ChainDesc){ .addr = copy.addr,
                        .len = copy.len,
                        .flags = flags &
                                 (VRING_DESC_NEXT | VRING_DESC_WRITE | VRING_DESC_INDIRECT) };
}

/* Reads the chain at last_avail; its id stands in its last descriptor. */
static bool read_chain(VirtQueue *vq, VirtqRequest *request, uint16_t flags)
{
    uint16_t at = vq->last_avail;
    uint16_t id;
    for (request->ndesc = 1; request->ndesc <= vq->num; request->ndesc++) {
        ChainDesc desc = read_desc(&vq->ring[at], flags, &id);
        if (!(desc.flags & VRING_DESC_INDIRECT)) {
            if (!virtq_request_add(request, &desc)) {
                return false;
            }
        } else if (request->ndesc != 1 || desc.flags & VRING_DESC_NEXT) {
            virtq_fault(vq, "an indirect descriptor in a chain");
            return false;
        } else if (!virtq_request_add_indirect(request, &desc)) {
            return false;
        }
        if (!(desc.flags & VRING_DESC_NEXT)) {
            return virtq_request_claim(request, id);
        }
        at = at + 1 == vq->num ? 0 : at + 1;
        flags = RING_LOAD(vq->ring[at].flags);
    }
    virtq_fault(vq, "a descriptor chain longer than the ring");
    return false;
}

static void advance(VirtQueue *vq, uint16_t *index, bool *wrap, unsigned by)
{
    unsigned next = *index + by;
    if (next >= vq->num) {
        next -= vq->num;
        *wrap = !*wrap;
    }
    *index = next;
}

unsigned virtq_packed_slots_held(const VirtQueue *vq)
{
    return vq->avail_wrap == vq->used_wrap ? vq->last_avail - vq->used_idx
                                           : vq->num + vq->last_avail - vq->used_idx;
}

VirtqRequest *virtq_packed_pop(VirtQueue *vq)
{
    uint16_t flags = RING_LOAD_ACQUIRE(vq->ring[vq->last_avail].flags);
    if (!is_avail(vq, flags)) {
        return NULL;
    }
    VirtqRequest *request = virtq_request_new(vq);
    if (!request) {
        return NULL;
    }
    if (!read_chain(vq, request, flags)) {
        virtq_request_free(request);
        return NULL;
    }
    if (request->ndesc > vq->num - virtq_packed_slots_held(vq)) {
        virtq_request_free(request);
        return virtq_fault(vq, "more descriptors are available than the ring holds");
    }
    advance(vq, &vq->last_avail, &vq->avail_wrap, request->ndesc);
    virtq_request_close(request);
    return request;
}

void virtq_packed_unpop(VirtQueue *vq, VirtqRequest *request)
{
    if (vq->last_avail < request->ndesc) {
        vq->last_avail += vq->num;
        vq->avail_wrap = !vq->avail_wrap;
    }
    vq->last_avail -= request->ndesc;
}

/* Writes a used descriptor behind those of this batch. The flags of the batch's first are held back
 * until virtq_packed_publish(), so that the driver sees none of it before. */
void virtq_packed_put_used(VirtQueue *vq, const VirtqRequest *request)
{
    uint16_t at = vq->used_idx;
    bool wrap = vq->used_wrap;
    advance(vq, &at, &wrap, vq->pending);
    uint16_t flags = (wrap ? VRING_PACKED_AVAIL | VRING_PACKED_USED : 0) |
                     (request->written ? VRING_DESC_WRITE : 0);
    VringPackedDesc *desc = &vq->ring[at];
    RING_STORE(desc->id, request->id);
    RING_STORE(desc->len, request->written);
    if (vq->pending == 0) {
        vq->pending_flags = flags;
    } else {
        RING_STORE_RELEASE(desc->flags, flags);
    }
    vq->pending += request->ndesc;
}

void virtq_packed_publish(VirtQueue *vq)
{
    if (G_UNLIKELY(dma_logging())) {
        dma_dirty_host(vq->memory, vq->ring, 16ULL * vq->num);
    }
    RING_STORE_RELEASE(vq->ring[vq->used_idx].flags, vq->pending_flags);
    advance(vq, &vq->used_idx, &vq->used_wrap, vq->pending);
    vq->pending = 0;
}

bool virtq_packed_should_interrupt(VirtQueue *vq, uint16_t old)
{
    /* The driver writes the two fields as one or not, as it likes: each is read once. */
    uint16_t flags = RING_LOAD(vq->driver_event->flags) & 3;
    if (flags != VRING_PACKED_EVENT_DESC || !vq->event_idx) {
        return flags != VRING_PACKED_EVENT_DISABLE;
    }
    uint16_t off_wrap = RING_LOAD(vq->driver_event->off_wrap);
    uint16_t event = off_wrap & 0x7fff;
    bool wrap = off_wrap >> 15;
    if (wrap != vq->used_wrap) {
        event -= vq->num;
    }
    if (vq->used_idx <= old) {
        old -= vq->num;
    }
    return vring_need_event(event, vq->used_idx, old);
}

void virtq_packed_set_notification(VirtQueue *vq, bool on)
{
    if (!on) {
        RING_STORE(vq->device_event->flags, VRING_PACKED_EVENT_DISABLE);
        return;
    }
    /* A manual queue may wait for more than the next descriptor. */
    if (vq->event_idx && !vq->manual) {
        RING_STORE(vq->device_event->off_wrap, vq->last_avail | (vq->avail_wrap ? 0x8000 : 0));
        RING_STORE_RELEASE(vq->device_event->flags, VRING_PACKED_EVENT_DESC);
    } else {
        RING_STORE(vq->device_event->flags, VRING_PACKED_EVENT_ENABLE);
    }
}
