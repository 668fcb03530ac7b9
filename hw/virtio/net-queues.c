/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net: packets out (VIRTIO 1.2, 5.1.6.2) and in (5.1.6.4). On the device's loop. */
#include <string.h>
#include "hw/virtio/net.h"
#include "hw/virtio/virtqueue-internal.h"
#include "vmm/util/bytes.h"

#define NUM_BUFFERS_OFFSET 10
#define FILTER_BYTES       18 /* addresses, type, VLAN tag */

/* ---- Out ---- */

/* True when the request is done with. */
static bool send_one(VirtioNet *net, NetPair *pair, VirtqRequest *request)
{
    if (request->out_count && pair->backend &&
        net_queue_send(pair->backend, request->out, request->out_count, request->out_bytes) ==
            NET_SEND_BUSY) {
        return false;
    }
    virtq_push(request, 0);
    return true;
}

/* Whether a frame stands behind the header, which is taken off when the back end wants none. */
static bool check_header(VirtioNet *net, VirtqRequest *request)
{
    uint8_t header[NET_HDR_MAX];
    if (request->out_bytes <= net->header_len) {
        return false;
    }
    return net->vnet || virtq_read(request, header, net->header_len);
}

void virtio_net_handle_tx(VirtQueue *vq)
{
    VirtioNet *net = (VirtioNet *)vq->vdev;
    NetPair *pair = &net->pairs[vq->index / 2];
    VirtqRequest *request;
    if (pair->tx_pending) {
        request = pair->tx_pending;
        if (!send_one(net, pair, request)) {
            virtq_block(vq);
            return;
        }
        pair->tx_pending = NULL;
    }
    while ((request = virtq_pop(vq))) {
        if (!check_header(net, request)) {
            virtq_fault(vq, "a packet of %u bytes is not longer than its header",
                        request->out_bytes);
            virtq_request_free(request);
            return;
        }
        if (!send_one(net, pair, request)) {
            pair->tx_pending = request;
            virtq_block(vq);
            return;
        }
    }
}

static void send_ready(void *nic, unsigned queue)
{
    VirtioNet *net = nic;
    virtq_unblock(&net->vdev.queues[2 * queue + 1]);
}

/* ---- In ---- */

/* Whether there is a buffer; if not, the driver is asked to tell of the next. */
static bool has_buffers(VirtQueue *vq)
{
    if (virtq_has_work(vq)) {
        return true;
    }
    if (!virtq_set_notification(vq, true)) {
        return false;
    }
    virtq_set_notification(vq, false);
    return true;
}

void virtio_net_handle_rx(VirtQueue *vq)
{
    VirtioNet *net = (VirtioNet *)vq->vdev;
    NetPair *pair = &net->pairs[vq->index / 2];
    if (!has_buffers(vq)) {
        return;
    }
    virtq_set_notification(vq, false);
    if (pair->backend && vq->index / 2 < net->current_pairs) {
        net_queue_resume(pair->backend);
    }
}

static VirtQueue *rx_queue(VirtioNet *net, unsigned queue)
{
    VirtQueue *vq = &net->vdev.queues[2 * queue];
    return vq->started && virtio_device_may_run(&net->vdev) ? vq : NULL;
}

static bool can_receive(void *nic, unsigned queue)
{
    VirtQueue *vq = rx_queue(nic, queue);
    return vq && has_buffers(vq);
}

/* The part of the frame not yet copied. */
typedef struct FrameCursor {
    const struct iovec *iov;
    int count;
    size_t offset; /* in *iov */
    size_t left;
} FrameCursor;

static void cursor_skip(FrameCursor *frame, size_t len)
{
    frame->left -= len;
    while (frame->count && len >= frame->iov->iov_len - frame->offset) {
        len -= frame->iov->iov_len - frame->offset;
        frame->iov++;
        frame->count--;
        frame->offset = 0;
    }
    frame->offset += len;
}

static size_t cursor_peek(const FrameCursor *frame, void *data, size_t len)
{
    FrameCursor copy = *frame;
    size_t done = 0;
    while (done < len && copy.left) {
        size_t n = MIN(copy.iov->iov_len - copy.offset, MIN(copy.left, len - done));
        memcpy((uint8_t *)data + done, (const uint8_t *)copy.iov->iov_base + copy.offset, n);
        done += n;
        cursor_skip(&copy, n);
    }
    return done;
}

/* Fills the request from its byte `at` on; how many bytes stand in it then. */
static uint32_t fill(VirtqRequest *request, uint32_t at, FrameCursor *frame)
{
    uint32_t written = at;
    for (unsigned i = 0; i < request->in_count && frame->left; i++) {
        uint8_t *base = request->in[i].iov_base;
        size_t room = request->in[i].iov_len;
        if (at >= room) {
            at -= room;
            continue;
        }
        base += at;
        room -= at;
        at = 0;
        while (room && frame->left) {
            size_t n = MIN(frame->iov->iov_len - frame->offset, MIN(room, frame->left));
            memcpy(base, (const uint8_t *)frame->iov->iov_base + frame->offset, n);
            cursor_skip(frame, n);
            base += n;
            room -= n;
            written += n;
        }
    }
    return written;
}

typedef enum RxResult { RX_DONE, RX_DROP, RX_NO_BUFFERS } RxResult;

#define RX_MAX_BUFFERS VIRTQ_MAX_SIZE

/* The first buffer begins with the header. */
static uint32_t put_header(VirtioNet *net, VirtqRequest *request, FrameCursor *frame)
{
    uint8_t header[NET_HDR_MAX] = { 0 };
    if (net->vnet) {
        cursor_peek(frame, header, net->header_len);
        cursor_skip(frame, net->header_len);
    }
    if (net->header_len == NET_HDR_MAX) {
        store_le16(header + NUM_BUFFERS_OFFSET, 1);
    }
    return virtq_write(request, 0, header, net->header_len);
}

static RxResult take_back(VirtqRequest **requests, unsigned count, RxResult result)
{
    while (count) {
        virtq_unpop(requests[--count]);
    }
    return result;
}

static RxResult receive_into(VirtioNet *net, VirtQueue *vq, FrameCursor frame)
{
    VirtqRequest *requests[RX_MAX_BUFFERS];
    uint32_t lengths[RX_MAX_BUFFERS];
    unsigned count = 0;
    vq->budget = vq->num + 1;
    do {
        if (count == vq->num) {
            return take_back(requests, count, RX_DROP);
        }
        VirtqRequest *request = virtq_pop(vq);
        if (!request) {
            return take_back(requests, count, RX_NO_BUFFERS);
        }
        requests[count++] = request;
        if (request->in_bytes < (count == 1 ? net->header_len : 1u)) {
            virtq_fault(vq, "a receive buffer of %u bytes has no room for the header",
                        request->in_bytes);
            return take_back(requests, count, RX_DROP);
        }
        uint32_t at = count == 1 ? put_header(net, request, &frame) : 0;
        lengths[count - 1] = fill(request, at, &frame);
        if (frame.left && !net->mergeable) {
            return take_back(requests, count, RX_DROP);
        }
    } while (frame.left);
    if (net->mergeable) {
        uint8_t num_buffers[2];
        store_le16(num_buffers, count);
        virtq_write(requests[0], NUM_BUFFERS_OFFSET, num_buffers, 2);
    }
    for (unsigned i = 0; i < count; i++) {
        virtq_push(requests[i], lengths[i]);
    }
    return RX_DONE;
}

static bool passes(VirtioNet *net, const FrameCursor *frame)
{
    uint8_t head[NET_HDR_MAX + FILTER_BYTES];
    unsigned skip = net->vnet ? net->header_len : 0;
    size_t len = cursor_peek(frame, head, skip + FILTER_BYTES);
    return len > skip && virtio_net_filter_passes(net, head + skip, len - skip);
}

static bool receive(void *nic, unsigned queue, const struct iovec *iov, int iov_count, size_t size)
{
    VirtioNet *net = nic;
    VirtQueue *vq = rx_queue(net, queue);
    FrameCursor frame = { .iov = iov, .count = iov_count, .left = size };
    if (!vq || !passes(net, &frame)) {
        return true;
    }
    /* Without enough buffers it is tried once more after the driver was asked to tell of new ones:
     * some may have come just before. */
    for (bool asked = false;; asked = true) {
        RxResult result = receive_into(net, vq, frame);
        if (result == RX_NO_BUFFERS && !virtio_device_is_broken(&net->vdev)) {
            if (asked) {
                return false;
            }
            virtq_set_notification(vq, true);
            continue;
        }
        if (asked) {
            virtq_set_notification(vq, false);
        }
        return true;
    }
}

/* ---- The link; main thread ---- */

static void link_changed(void *nic, bool up)
{
    VirtioNet *net = nic;
    uint8_t status[2];
    virtio_config_get(&net->vdev, NET_CONFIG_STATUS, status, 2);
    uint16_t value = load_le16(status) & ~NET_S_LINK_UP;
    store_le16(status, value | (up ? NET_S_LINK_UP : 0));
    virtio_config_set(&net->vdev, NET_CONFIG_STATUS, status, 2, true);
}

const NicOps virtio_net_nic_ops = {
    .can_receive = can_receive,
    .receive = receive,
    .send_ready = send_ready,
    .link_changed = link_changed,
};
