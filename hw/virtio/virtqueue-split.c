/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Split virtqueues (VIRTIO 1.2, 2.7). */
#include "hw/virtio/virtqueue-internal.h"

#include <inttypes.h>
#include <string.h>
#include "vmm/util/bytes.h"

static inline uint16_t *used_event(VirtQueue *vq)
{
    return &vq->avail->ring[vq->num];
}

static inline uint16_t *avail_event(VirtQueue *vq)
{
    return (uint16_t *)&vq->used->ring[vq->num];
}

bool virtq_split_map(VirtQueue *vq)
{
    unsigned num = vq->num;
    if (num == 0 || (num & (num - 1))) {
        virtq_fault(vq, "size %u is not a power of two", num);
        return false;
    }
    if (vq->desc_addr % 16 || vq->avail_addr % 2 || vq->used_addr % 4) {
        virtq_fault(vq, "misaligned rings");
        return false;
    }
    AddressSpace *memory = vq->memory;
    vq->desc = dma_translate(memory, vq->desc_addr, 16ULL * num, false);
    vq->avail = dma_translate(memory, vq->avail_addr, 6 + 2ULL * num, false);
    vq->used = dma_translate(memory, vq->used_addr, 6 + 8ULL * num, true);
    if (!vq->desc || !vq->avail || !vq->used) {
        virtq_fault(
            vq, "rings at 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64 " are not in one piece of RAM",
            vq->desc_addr, vq->avail_addr, vq->used_addr);
        return false;
    }
    vq->avail_seen = vq->last_avail;
    vq->used_since = vq->used_idx;
    return true;
}

bool virtq_split_has_work(VirtQueue *vq)
{
    return vq->avail_seen != vq->last_avail || RING_LOAD(vq->avail->idx) != vq->last_avail;
}

/* Reads the driver's index anew when what was seen is used up; false: nothing there. */
static bool see_avail(VirtQueue *vq)
{
    if (vq->avail_seen != vq->last_avail) {
        return true;
    }
    uint16_t idx = RING_LOAD_ACQUIRE(vq->avail->idx);
    if ((uint16_t)(idx - vq->last_avail) > vq->num) {
        virtq_fault(vq, "available index jumped from %u to %u", vq->last_avail, idx);
        return false;
    }
    vq->avail_seen = idx;
    return idx != vq->last_avail;
}

/* Copies a descriptor once. */
static inline ChainDesc read_desc(const VringDesc *guest, uint16_t *next)
{
    VringDesc copy;
    memcpy(&copy, guest, sizeof(copy));
    /* Decoded from the copy only: the guest's may change meanwhile. */
    __asm__ volatile("" : "+m"(copy));
    *next = copy.next;
    return (ChainDesc){ .addr = copy.addr, .len = copy.len, .flags = copy.flags };
}

static bool read_chain(VirtQueue *vq, VirtqRequest *request, uint16_t index)
{
    for (unsigned seen = 0;; seen++) {
        if (index >= vq->num || seen >= vq->num) {
            virtq_fault(vq, "a descriptor chain that loops or leaves the table");
            return false;
        }
        ChainDesc desc = read_desc(&vq->desc[index], &index);
        if (desc.flags & VRING_DESC_INDIRECT) {
            if (desc.flags & VRING_DESC_NEXT) {
                virtq_fault(vq, "an indirect descriptor with a next one");
                return false;
            }
            return virtq_request_add_indirect(request, &desc);
        }
        if (!virtq_request_add(request, &desc)) {
            return false;
        }
        if (!(desc.flags & VRING_DESC_NEXT)) {
            return true;
        }
    }
}

VirtqRequest *virtq_split_pop(VirtQueue *vq)
{
    if (!see_avail(vq)) {
        return NULL;
    }
    uint16_t head = RING_LOAD(vq->avail->ring[vq->last_avail & (vq->num - 1)]);
    if (head >= vq->num) {
        return virtq_fault(vq, "head %u of a ring of %u", head, vq->num);
    }
    VirtqRequest *request = virtq_request_new(vq);
    if (!request) {
        return NULL;
    }
    if (!virtq_request_claim(request, head) || !read_chain(vq, request, head)) {
        virtq_request_free(request);
        return NULL;
    }
    vq->last_avail++;
    virtq_request_close(request);
    return request;
}

void virtq_split_unpop(VirtQueue *vq, VirtqRequest *request)
{
    vq->last_avail--;
}

void virtq_split_put_used(VirtQueue *vq, const VirtqRequest *request)
{
    VringUsedElem *elem = &vq->used->ring[(uint16_t)(vq->used_idx + vq->pending) & (vq->num - 1)];
    RING_STORE(elem->id, request->id);
    RING_STORE(elem->len, request->written);
    vq->pending++;
}

void virtq_split_publish(VirtQueue *vq)
{
    if (G_UNLIKELY(dma_logging())) {
        dma_dirty_host(vq->memory, vq->used, 6 + 8ULL * vq->num);
    }
    vq->used_idx += vq->pending;
    vq->pending = 0;
    RING_STORE_RELEASE(vq->used->idx, vq->used_idx);
}

bool virtq_split_should_interrupt(VirtQueue *vq, uint16_t old)
{
    if (vq->event_idx) {
        return vring_need_event(RING_LOAD(*used_event(vq)), vq->used_idx, old);
    }
    return !(RING_LOAD(vq->avail->flags) & VRING_AVAIL_NO_INTERRUPT);
}

void virtq_split_set_notification(VirtQueue *vq, bool on)
{
    if (!vq->event_idx) {
        RING_STORE(vq->used->flags, on ? 0 : VRING_USED_NO_NOTIFY);
        return;
    }
    /* An event index left behind is as good as "no": it is passed once in 65536 entries. */
    if (on) {
        /* Not last_avail: a device may leave buffers that are too few for it, and wait for more. */
        RING_STORE(*avail_event(vq), RING_LOAD(vq->avail->idx));
    }
}
