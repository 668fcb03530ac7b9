/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtqueue's state, with the requests that were in flight: for each its id, its ring slots and
 * its buffers by guest address (a packed ring may already hold other things where the descriptors
 * stood). After a load they are popped once more, before the ring.
 */
#include "hw/virtio/virtqueue-internal.h"

#include "hw/virtio/virtio.h"
#include "vmm/util/bytes.h"

#define SAVED_HEAD 8  /* id, ndesc, readable buffers, writable buffers: 16 bits each */
#define SAVED_IOV  12 /* address 64, length 32 bits */
#define SAVED_MAX  (VIRTQ_MAX_SIZE * (SAVED_HEAD + SAVED_IOV * VIRTQ_MAX_SIZE))

static void append16(GByteArray *out, uint16_t value)
{
    uint8_t bytes[2];
    store_le16(bytes, value);
    g_byte_array_append(out, bytes, 2);
}

static void save_iov(VirtQueue *vq, const VirtqRequest *request, unsigned i, GByteArray *out)
{
    struct iovec iov = request->iov[i];
    if (i == (unsigned)(request->out - request->iov) && request->out_count) {
        iov.iov_base = (uint8_t *)iov.iov_base - request->out_trim;
        iov.iov_len += request->out_trim;
    }
    if (i + 1u == (unsigned)request->iov_out + request->iov_in) {
        iov.iov_len += request->in_trim;
    }
    uint64_t addr = 0;
    if (!dma_guest_address(vq->memory, iov.iov_base, &addr)) {
        /* RAM does not leave the map while requests are in flight; address 0 then fails to load. */
        iov.iov_len = 0;
    }
    uint8_t bytes[SAVED_IOV];
    store_le64(bytes, addr);
    store_le32(bytes + 8, iov.iov_len);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

static void save_request(VirtQueue *vq, const VirtqRequest *request, GByteArray *out)
{
    append16(out, request->id);
    append16(out, request->ndesc);
    append16(out, request->iov_out);
    append16(out, request->iov_in);
    for (unsigned i = 0; i < (unsigned)request->iov_out + request->iov_in; i++) {
        save_iov(vq, request, i, out);
    }
}

static void pre_save(void *base)
{
    VirtQueue *vq = base;
    if (!vq->pool_size) {
        /* Never started since it was loaded, or since the reset: what was saved stays. */
        return;
    }
    g_autoptr(GByteArray) out = g_byte_array_new();
    for (unsigned slot = 0; vq->inflight && slot < vq->pool_size; slot++) {
        const VirtqRequest *request = virtq_slot(vq, slot);
        if (request->busy) {
            save_request(vq, request, out);
        }
    }
    g_free(vq->saved);
    vq->saved_len = out->len;
    vq->saved = g_byte_array_steal(out, NULL);
}

static bool post_load(void *base, uint16_t version, GError **error)
{
    VirtQueue *vq = base;
    if (vq->size > vq->max_size) {
        return error_set(error, "queue %u: size %u above its maximum of %u", vq->index, vq->size,
                         vq->max_size);
    }
    return true;
}

static VirtqRequest *load_request(VirtQueue *vq, const uint8_t **cursor, const uint8_t *end)
{
    if (end - *cursor < SAVED_HEAD) {
        return virtq_fault(vq, "saved requests are cut off");
    }
    const uint8_t *head = *cursor;
    unsigned out_count = load_le16(head + 4);
    unsigned count = out_count + load_le16(head + 6);
    *cursor += SAVED_HEAD;
    if (count > VIRTQ_MAX_SIZE || (size_t)(end - *cursor) < (size_t)count * SAVED_IOV) {
        return virtq_fault(vq, "a saved request of %u buffers", count);
    }
    VirtqRequest *request = virtq_request_new(vq);
    bool ok = request && virtq_request_claim(request, load_le16(head));
    for (unsigned i = 0; ok && i < count; i++, *cursor += SAVED_IOV) {
        ChainDesc desc = { .addr = load_le64(*cursor),
                           .len = load_le32(*cursor + 8),
                           .flags = i < out_count ? 0 : VRING_DESC_WRITE };
        ok = virtq_request_add(request, &desc);
    }
    if (!ok) {
        if (request) {
            virtq_request_free(request);
        }
        return NULL;
    }
    request->ndesc = load_le16(head + 2);
    return request;
}

bool virtq_restore_saved(VirtQueue *vq)
{
    /* A queue that only paused has its requests still. */
    if (!vq->saved || vq->inflight) {
        g_clear_pointer(&vq->saved, g_free);
        vq->saved_len = 0;
        return true;
    }
    const uint8_t *cursor = vq->saved;
    const uint8_t *end = vq->saved + vq->saved_len;
    VirtqRequest **tail = &vq->restored;
    unsigned slots = 0;
    while (cursor < end) {
        VirtqRequest *request = load_request(vq, &cursor, end);
        if (!request) {
            return false;
        }
        slots += request->ndesc;
        request->next = NULL;
        *tail = request;
        tail = &request->next;
    }
    g_clear_pointer(&vq->saved, g_free);
    vq->saved_len = 0;
    if (vq->packed && slots != virtq_packed_slots_held(vq)) {
        virtq_fault(vq, "saved requests hold %u slots, the ring %u", slots,
                    virtq_packed_slots_held(vq));
        return false;
    }
    return true;
}

static const StateField virtq_fields[] = {
    STATE_INT(VirtQueue, size),
    STATE_INT(VirtQueue, vector),
    STATE_BOOL(VirtQueue, enabled),
    STATE_INT(VirtQueue, desc_addr),
    STATE_INT(VirtQueue, avail_addr),
    STATE_INT(VirtQueue, used_addr),
    STATE_INT(VirtQueue, last_avail),
    STATE_INT(VirtQueue, used_idx),
    STATE_BOOL(VirtQueue, avail_wrap),
    STATE_BOOL(VirtQueue, used_wrap),
    STATE_INT(VirtQueue, saved_len),
    STATE_VBUFFER(VirtQueue, saved, saved_len, SAVED_MAX),
    STATE_END,
};

const StateSection virtq_state = {
    .name = "virtqueue",
    .version = 1,
    .fields = virtq_fields,
    .pre_save = pre_save,
    .post_load = post_load,
};
