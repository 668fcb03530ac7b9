/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtqueues: making, requests and their pool, completion, notification. */
#include "hw/virtio/virtqueue.h"

#include <string.h>
#include <sys/mman.h>
#include "hw/virtio/virtio.h"
#include "hw/virtio/virtqueue-internal.h"
#include "vmm/trace/trace-virtio.h"
#include "vmm/util/bytes.h"

/* Ids are heads in a split ring; in a packed one the driver picks any. */
#define ID_WORDS_PACKED (65536 / 64)

static void flush_task(void *opaque);
static void run_task(void *opaque);
static bool poller_poll(void *opaque);
static void poller_begin(void *opaque);
static bool poller_end(void *opaque);

/* ---- Making ---- */

bool virtq_init(VirtQueue *vq, VirtioDevice *vdev, uint16_t index, uint16_t max_size,
                size_t request_size, VirtqHandler *handler, GError **error)
{
    g_assert(max_size >= 1 && max_size <= VIRTQ_MAX_SIZE);
    g_assert(request_size >= sizeof(VirtqRequest));
    *vq = (VirtQueue){
        .vdev = vdev,
        .index = index,
        .max_size = max_size,
        .size = max_size,
        .vector = VIRTQ_NO_VECTOR,
        .request_size = ALIGN_UP(request_size, 64),
        .handler = handler,
        .kick = { .fd = -1 },
        .flush_task = LOOP_TASK_INIT(flush_task, vq),
        .run_task = LOOP_TASK_INIT(run_task, vq),
        .poller = { .poll = poller_poll, .begin = poller_begin, .end = poller_end, .opaque = vq },
    };
    return event_notifier_init(&vq->kick, error);
}

static size_t long_iovs_bytes(const VirtQueue *vq)
{
    return (size_t)vq->pool_size * VIRTQ_MAX_SIZE * sizeof(struct iovec);
}

static void pool_free(VirtQueue *vq)
{
    if (vq->pool_size) {
        munmap(vq->requests, vq->pool_size * vq->request_size);
        munmap(vq->long_iovs, long_iovs_bytes(vq));
    }
    g_clear_pointer(&vq->free_slots, g_free);
    g_clear_pointer(&vq->ids_busy, g_free);
    vq->pool_size = 0;
    vq->requests = NULL;
    vq->long_iovs = NULL;
}

static void *map_untouched(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Both arrays are mapped and stay untouched beyond the depth that the guest really uses: slots are
 * taken last in, first out. */
static bool pool_make(VirtQueue *vq)
{
    if (vq->pool_size == vq->num && vq->pool_packed == vq->packed) {
        return true;
    }
    pool_free(vq);
    uint8_t *requests = map_untouched(vq->num * vq->request_size);
    struct iovec *iovs = map_untouched((size_t)vq->num * VIRTQ_MAX_SIZE * sizeof(struct iovec));
    if (!requests || !iovs) {
        if (requests) {
            munmap(requests, vq->num * vq->request_size);
        }
        return false;
    }
    vq->requests = requests;
    vq->long_iovs = iovs;
    vq->pool_size = vq->num;
    vq->pool_packed = vq->packed;
    vq->free_slots = g_new(uint16_t, vq->num);
    vq->ids_busy = g_new0(uint64_t, vq->packed ? ID_WORDS_PACKED : (vq->num + 63) / 64);
    vq->free_count = vq->num;
    for (unsigned i = 0; i < vq->num; i++) {
        vq->free_slots[i] = vq->num - 1 - i;
    }
    return true;
}

void virtq_cleanup(VirtQueue *vq)
{
    pool_free(vq);
    g_clear_pointer(&vq->saved, g_free);
    event_notifier_cleanup(&vq->kick);
}

void virtq_reset(VirtQueue *vq)
{
    g_assert(!vq->started);
    vq->size = vq->max_size;
    vq->vector = VIRTQ_NO_VECTOR;
    vq->enabled = false;
    vq->desc_addr = vq->avail_addr = vq->used_addr = 0;
    vq->last_avail = vq->used_idx = vq->used_since = vq->avail_seen = 0;
    vq->avail_wrap = vq->used_wrap = true;
    vq->pending = 0;
    vq->restored = NULL;
    vq->order_head = NULL;
    vq->inflight = 0;
    g_clear_pointer(&vq->saved, g_free);
    vq->saved_len = 0;
    pool_free(vq);
    event_notifier_test_and_clear(&vq->kick);
}

VirtqRequest *virtq_fault(VirtQueue *vq, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    virtio_device_broken(vq->vdev, "queue %u: %s", vq->index, text);
    return NULL;
}

/* ---- Requests ---- */

VirtqRequest *virtq_slot(VirtQueue *vq, unsigned slot)
{
    return (VirtqRequest *)(vq->requests + slot * vq->request_size);
}

VirtqRequest *virtq_request_new(VirtQueue *vq)
{
    if (vq->free_count == 0) {
        return virtq_fault(vq, "more buffers are in use than the ring holds");
    }
    unsigned slot = vq->free_slots[--vq->free_count];
    VirtqRequest *request = virtq_slot(vq, slot);
    request->vq = vq;
    request->slot = slot;
    request->ndesc = 1;
    request->iov = request->inline_iov;
    request->iov_out = request->iov_in = 0;
    request->out_trim = request->in_trim = 0;
    request->out_bytes = request->in_bytes = 0;
    request->busy = false;
    request->done = false;
    __atomic_store_n(&vq->inflight, vq->inflight + 1, __ATOMIC_RELAXED);
    return request;
}

bool virtq_request_claim(VirtqRequest *request, uint16_t id)
{
    VirtQueue *vq = request->vq;
    if (!vq->packed && id >= vq->num) {
        virtq_fault(vq, "buffer %u of a ring of %u", id, vq->num);
        return false;
    }
    uint64_t bit = 1ULL << (id % 64);
    if (vq->ids_busy[id / 64] & bit) {
        virtq_fault(vq, "buffer %u was made available while in use", id);
        return false;
    }
    vq->ids_busy[id / 64] |= bit;
    request->id = id;
    request->busy = true;
    return true;
}

void virtq_request_free(VirtqRequest *request)
{
    VirtQueue *vq = request->vq;
    if (request->busy) {
        vq->ids_busy[request->id / 64] &= ~(1ULL << (request->id % 64));
        request->busy = false;
    }
    vq->free_slots[vq->free_count++] = request->slot;
    __atomic_store_n(&vq->inflight, vq->inflight - 1, __ATOMIC_RELEASE);
    if (G_UNLIKELY(vq->inflight == 0 && !vq->started)) {
        virtio_device_drained(vq->vdev);
    }
}

/* Long chains use the slot's long array. */
static void request_grow(VirtqRequest *request)
{
    struct iovec *longer = request->vq->long_iovs + (size_t)request->slot * VIRTQ_MAX_SIZE;
    memcpy(longer, request->inline_iov, sizeof(request->inline_iov));
    request->iov = longer;
}

bool virtq_request_add(VirtqRequest *request, const ChainDesc *desc)
{
    VirtQueue *vq = request->vq;
    bool write = desc->flags & VRING_DESC_WRITE;
    if (!write && request->iov_in) {
        virtq_fault(vq, "a readable buffer behind a writable one");
        return false;
    }
    uint32_t *bytes = write ? &request->in_bytes : &request->out_bytes;
    if (desc->len == 0 || desc->len > UINT32_MAX - *bytes) {
        virtq_fault(vq, "a buffer of length %u", desc->len);
        return false;
    }
    unsigned count = request->iov_out + request->iov_in;
    unsigned before = count;
    unsigned room = request->iov == request->inline_iov ? VIRTQ_INLINE_IOV : VIRTQ_MAX_SIZE;
    if (!dma_map(vq->memory, desc->addr, desc->len, write, request->iov, room, &count)) {
        if (room == VIRTQ_INLINE_IOV) {
            request_grow(request);
            return virtq_request_add(request, desc);
        }
        virtq_fault(vq, "buffer 0x%" PRIx64 "+0x%x is not in RAM, or the chain is too long",
                    desc->addr, desc->len);
        return false;
    }
    *bytes += desc->len;
    if (write) {
        request->iov_in += count - before;
    } else {
        request->iov_out += count - before;
    }
    return true;
}

/* One entry of an indirect table, in either format; *next is the index that follows, or -1. */
static void indirect_decode(bool packed, const uint8_t entry[16], unsigned index, unsigned count,
                            ChainDesc *desc, int *next)
{
    desc->addr = load_le64(entry);
    desc->len = load_le32(entry + 8);
    if (packed) {
        desc->flags = load_le16(entry + 14) & (VRING_DESC_WRITE | VRING_DESC_INDIRECT);
        *next = index + 1 < count ? (int)index + 1 : -1;
    } else {
        desc->flags = load_le16(entry + 12);
        *next = desc->flags & VRING_DESC_NEXT ? load_le16(entry + 14) : -1;
    }
}

bool virtq_request_add_indirect(VirtqRequest *request, const ChainDesc *table)
{
    VirtQueue *vq = request->vq;
    unsigned count = table->len / 16;
    if (!vq->indirect || count == 0 || table->len % 16 || count > 65536) {
        virtq_fault(vq, "an indirect table of %u bytes", table->len);
        return false;
    }
    const uint8_t *host = dma_translate(vq->memory, table->addr, table->len, false);
    int next = 0;
    for (unsigned seen = 0; next >= 0; seen++) {
        uint8_t entry[16];
        ChainDesc desc;
        if ((unsigned)next >= count || seen >= VIRTQ_MAX_SIZE) {
            virtq_fault(vq, "an indirect table that leaves its end or is too long");
            return false;
        }
        if (host) {
            memcpy(entry, host + next * 16, 16);
        } else if (!dma_read(vq->memory, table->addr + next * 16, entry, 16)) {
            virtq_fault(vq, "an indirect table outside RAM");
            return false;
        }
        indirect_decode(vq->packed, entry, next, count, &desc, &next);
        if (desc.flags & VRING_DESC_INDIRECT) {
            virtq_fault(vq, "an indirect table inside an indirect table");
            return false;
        }
        if (!virtq_request_add(request, &desc)) {
            return false;
        }
    }
    return true;
}

void virtq_request_close(VirtqRequest *request)
{
    request->out = request->iov;
    request->out_count = request->iov_out;
    request->in = request->iov + request->iov_out;
    request->in_count = request->iov_in;
    VirtQueue *vq = request->vq;
    if (G_UNLIKELY(vq->in_order)) {
        request->next = NULL;
        *vq->order_tail = request;
        vq->order_tail = &request->next;
    }
}

bool virtq_read(VirtqRequest *request, void *data, uint32_t len)
{
    if (request->out_bytes < len) {
        return false;
    }
    request->out_bytes -= len;
    while (len) {
        struct iovec *iov = request->out;
        size_t n = MIN(iov->iov_len, len);
        memcpy(data, iov->iov_base, n);
        data = (uint8_t *)data + n;
        len -= n;
        if (n == iov->iov_len) {
            /* What is used up stays as popped: a saved state needs it. */
            iov->iov_base = (uint8_t *)iov->iov_base - request->out_trim;
            iov->iov_len += request->out_trim;
            request->out++;
            request->out_count--;
            request->out_trim = 0;
            continue;
        }
        iov->iov_base = (uint8_t *)iov->iov_base + n;
        iov->iov_len -= n;
        request->out_trim += n;
    }
    return true;
}

uint32_t virtq_write(VirtqRequest *request, uint32_t offset, const void *data, uint32_t len)
{
    uint32_t done = 0;
    for (unsigned i = 0; i < request->in_count && done < len; i++) {
        const struct iovec *iov = &request->in[i];
        if (offset >= iov->iov_len) {
            offset -= iov->iov_len;
            continue;
        }
        size_t n = MIN(iov->iov_len - offset, len - done);
        memcpy((uint8_t *)iov->iov_base + offset, (const uint8_t *)data + done, n);
        done += n;
        offset = 0;
    }
    return done;
}

uint8_t *virtq_take_status(VirtqRequest *request)
{
    if (request->in_bytes == 0) {
        return NULL;
    }
    struct iovec *last = &request->in[request->in_count - 1];
    request->in_bytes--;
    if (last->iov_len == 1) {
        request->in_count--;
        return last->iov_base;
    }
    last->iov_len--;
    request->in_trim = 1;
    return (uint8_t *)last->iov_base + last->iov_len;
}

/* ---- Popping and pushing ---- */

bool virtq_has_work(VirtQueue *vq)
{
    if (virtio_device_is_broken(vq->vdev)) {
        return false;
    }
    return vq->restored || (vq->packed ? virtq_packed_has_work(vq) : virtq_split_has_work(vq));
}

VirtqRequest *virtq_pop(VirtQueue *vq)
{
    if (G_UNLIKELY(vq->budget == 0 || virtio_device_is_broken(vq->vdev))) {
        return NULL;
    }
    VirtqRequest *request;
    if (G_UNLIKELY(vq->restored)) {
        request = vq->restored;
        vq->restored = request->next;
        virtq_request_close(request);
    } else {
        request = vq->packed ? virtq_packed_pop(vq) : virtq_split_pop(vq);
    }
    if (request) {
        vq->budget--;
        trace_virtqueue_pop(vq->vdev->dev->cls->name, vq->vdev->dev->id, vq->index, request,
                            request->out_bytes, request->in_bytes);
    }
    return request;
}

void virtq_unpop(VirtqRequest *request)
{
    VirtQueue *vq = request->vq;
    g_assert(!vq->in_order || vq->order_tail == &request->next);
    if (vq->in_order) {
        VirtqRequest **link = &vq->order_head;
        while (*link != request) {
            link = &(*link)->next;
        }
        *link = NULL;
        vq->order_tail = link;
    }
    if (vq->packed) {
        virtq_packed_unpop(vq, request);
    } else {
        virtq_split_unpop(vq, request);
    }
    vq->budget++;
    virtq_request_free(request);
}

static void mark_dirty(VirtQueue *vq, const VirtqRequest *request)
{
    const struct iovec *in = request->iov + request->iov_out;
    for (unsigned i = 0; i < request->iov_in; i++) {
        size_t trim = i + 1u == request->iov_in ? request->in_trim : 0;
        dma_dirty_host(vq->memory, in[i].iov_base, in[i].iov_len + trim);
    }
}

static void complete(VirtQueue *vq, VirtqRequest *request)
{
    if (G_UNLIKELY(dma_logging())) {
        mark_dirty(vq, request);
    }
    if (G_LIKELY(!virtio_device_is_broken(vq->vdev))) {
        if (vq->pending == 0) {
            event_loop_defer(vq->loop, &vq->flush_task);
        }
        if (vq->packed) {
            virtq_packed_put_used(vq, request);
        } else {
            virtq_split_put_used(vq, request);
        }
    }
    virtq_request_free(request);
}

void virtq_push(VirtqRequest *request, uint32_t written)
{
    VirtQueue *vq = request->vq;
    trace_virtqueue_push(vq->vdev->dev->cls->name, vq->vdev->dev->id, vq->index, request, written);
    g_assert(request->busy && !request->done);
    request->written = written;
    request->done = true;
    if (G_LIKELY(!vq->in_order)) {
        complete(vq, request);
        return;
    }
    while (vq->order_head && vq->order_head->done) {
        VirtqRequest *first = vq->order_head;
        vq->order_head = first->next;
        if (!vq->order_head) {
            vq->order_tail = &vq->order_head;
        }
        complete(vq, first);
    }
}

void virtq_flush(VirtQueue *vq)
{
    if (vq->pending == 0 || virtio_device_is_broken(vq->vdev)) {
        return;
    }
    uint16_t old = vq->used_since;
    bool interrupt;
    if (vq->packed) {
        virtq_packed_publish(vq);
        RING_BARRIER();
        interrupt = virtq_packed_should_interrupt(vq, old);
    } else {
        virtq_split_publish(vq);
        RING_BARRIER();
        interrupt = virtq_split_should_interrupt(vq, old);
    }
    vq->used_since = vq->used_idx;
    trace_virtqueue_flush(vq->vdev->dev->cls->name, vq->vdev->dev->id, vq->index, interrupt);
    if (interrupt) {
        virtio_notify_queue(vq->vdev, vq);
    }
}

static void flush_task(void *opaque)
{
    virtq_flush(opaque);
}

unsigned virtq_inflight(const VirtQueue *vq)
{
    return __atomic_load_n(&vq->inflight, __ATOMIC_ACQUIRE);
}

/* ---- Running ---- */

bool virtq_set_notification(VirtQueue *vq, bool on)
{
    if (virtio_device_is_broken(vq->vdev)) {
        return false;
    }
    vq->notifications = on;
    if (vq->packed) {
        virtq_packed_set_notification(vq, on);
    } else {
        virtq_split_set_notification(vq, on);
    }
    if (!on) {
        return false;
    }
    RING_BARRIER();
    return virtq_has_work(vq);
}

/* Drains the ring as far as the turn's budget goes; then the next turn goes on, so that other
 * queues of the loop have theirs (HARDENING 3). */
static void virtq_run(VirtQueue *vq)
{
    if (!vq->started || vq->blocked || !virtio_device_may_run(vq->vdev)) {
        return;
    }
    vq->budget = vq->num;
    if (vq->manual) {
        vq->handler(vq);
        return;
    }
    if (vq->notifications) {
        virtq_set_notification(vq, false);
    }
    for (;;) {
        vq->handler(vq);
        if (vq->blocked || virtio_device_is_broken(vq->vdev)) {
            return;
        }
        if (vq->budget == 0) {
            event_loop_post(vq->loop, &vq->run_task);
            return;
        }
        if (vq->polling || !virtq_set_notification(vq, true)) {
            return;
        }
        virtq_set_notification(vq, false);
    }
}

static void run_task(void *opaque)
{
    virtq_run(opaque);
}

static void kicked(void *opaque, unsigned revents)
{
    VirtQueue *vq = opaque;
    trace_virtqueue_kick(vq->vdev->dev->cls->name, vq->vdev->dev->id, vq->index);
    if (virtio_device_is_broken(vq->vdev)) {
        /* The guest may ring for ever: nobody listens until the reset. */
        fd_watch_set_events(&vq->kick_watch, 0);
        return;
    }
    virtq_run(vq);
}

void virtq_block(VirtQueue *vq)
{
    vq->blocked = true;
}

void virtq_unblock(VirtQueue *vq)
{
    if (vq->blocked) {
        vq->blocked = false;
        if (vq->started) {
            event_loop_post(vq->loop, &vq->run_task);
        }
    }
}

void virtq_schedule(VirtQueue *vq)
{
    event_notifier_signal(&vq->kick);
}

static bool poller_poll(void *opaque)
{
    VirtQueue *vq = opaque;
    if (vq->blocked || !virtq_has_work(vq)) {
        return false;
    }
    virtq_run(vq);
    return true;
}

static void poller_begin(void *opaque)
{
    VirtQueue *vq = opaque;
    vq->polling = true;
    if (vq->notifications) {
        virtq_set_notification(vq, false);
    }
}

static bool poller_end(void *opaque)
{
    VirtQueue *vq = opaque;
    vq->polling = false;
    if (vq->blocked || vq->budget == 0) {
        return false;
    }
    return virtq_set_notification(vq, true);
}

/* ---- Starting and stopping ---- */

static void start_in_loop(void *opaque)
{
    VirtQueue *vq = opaque;
    vq->num = vq->size;
    vq->blocked = false;
    vq->polling = false;
    vq->notifications = true;
    if (!vq->order_head) {
        vq->order_tail = &vq->order_head;
    }
    if (!pool_make(vq)) {
        virtq_fault(vq, "no memory for %u requests", vq->num);
        return;
    }
    if (!(vq->packed ? virtq_packed_map(vq) : virtq_split_map(vq))) {
        return;
    }
    vq->started = true;
    if (!virtq_restore_saved(vq)) {
        vq->started = false;
        return;
    }
    /* A request that a "stop" policy kept may have completed on this loop before the queue ran
     * again: its used entry is not published yet, and must be. */
    virtq_flush(vq);
    fd_watch_start(&vq->kick_watch, vq->loop, vq->kick.fd, POLLIN | FD_WATCH_EDGE, kicked, vq);
    if (!vq->manual) {
        loop_poller_add(&vq->poller, vq->loop);
    }
    virtq_run(vq);
}

void virtq_start(VirtQueue *vq)
{
    trace_virtqueue_start(vq->vdev->dev->cls->name, vq->vdev->dev->id, vq->index);
    uint64_t features = vq->vdev->guest_features;
    if (vq->started || !vq->enabled) {
        return;
    }
    vq->packed = features & VIRTIO_FEATURE(VIRTIO_F_RING_PACKED);
    vq->event_idx = features & VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX);
    vq->indirect = features & VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC);
    vq->in_order = features & VIRTIO_FEATURE(VIRTIO_F_IN_ORDER);
    vq->memory = vq->vdev->memory;
    event_loop_call(vq->loop, start_in_loop, vq);
}

static void stop_in_loop(void *opaque)
{
    VirtQueue *vq = opaque;
    if (!vq->started) {
        return;
    }
    if (!vq->manual) {
        loop_poller_remove(&vq->poller);
    }
    fd_watch_stop(&vq->kick_watch);
    virtq_flush(vq);
    vq->started = false;
}

void virtq_stop(VirtQueue *vq)
{
    trace_virtqueue_stop(vq->vdev->dev->cls->name, vq->vdev->dev->id, vq->index);
    if (vq->loop) {
        event_loop_call(vq->loop, stop_in_loop, vq);
    }
}

static void finish_in_loop(void *opaque)
{
    VirtQueue *vq = opaque;
    virtq_flush(vq);
    event_loop_cancel_task(vq->loop, &vq->flush_task);
    event_loop_cancel_task(vq->loop, &vq->run_task);
}

void virtq_finish(VirtQueue *vq)
{
    if (vq->loop) {
        event_loop_call(vq->loop, finish_in_loop, vq);
    }
}
