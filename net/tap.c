/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network back ends "tap" and "bridge": frames of a kernel interface, read and written in the
 * loops of the NIC's queues, with the virtio-net header when the NIC speaks it.
 */
#include "net/tap.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define READ_BUDGET  64 /* frames in one turn of the loop */
#define MAX_SEND_IOV 64

static TapQueue *tap_queue(NetQueue *q)
{
    return &((TapBackend *)q->backend)->taps[q->index];
}

/* ---- From the kernel ---- */

/* Whether the NIC took the frame in the buffer. */
static bool deliver(TapQueue *tq, size_t len)
{
    TapBackend *t = tq->tap;
    NetQueue *q = &t->base.queues[tq - t->taps];
    size_t skip = t->nic_header ? 0 : t->header_len;
    if (len <= skip) {
        return true;
    }
    struct iovec iov = { .iov_base = tq->buffer + skip, .iov_len = len - skip };
    return net_queue_deliver(q, &iov, 1, iov.iov_len);
}

/* Level-triggered: what the budget leaves comes in the next turn. */
static void tap_readable(void *opaque, unsigned revents)
{
    TapQueue *tq = opaque;
    NetQueue *q = &tq->tap->base.queues[tq - tq->tap->taps];
    for (int i = 0; i < READ_BUDGET; i++) {
        if (!net_queue_can_deliver(q)) {
            fd_watch_set_events(&tq->reading, 0);
            return;
        }
        ssize_t n = read(tq->fd, tq->buffer, TAP_BUFFER);
        if (n <= 0) {
            if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                fd_watch_set_events(&tq->reading, 0); /* the interface is gone: quiet */
            }
            return;
        }
        if (!deliver(tq, n)) {
            tq->waiting = n;
            fd_watch_set_events(&tq->reading, 0);
            return;
        }
    }
}

static void tap_resume(NetQueue *q)
{
    TapQueue *tq = tap_queue(q);
    if (tq->waiting) {
        if (!deliver(tq, tq->waiting)) {
            return;
        }
        tq->waiting = 0;
    }
    fd_watch_set_events(&tq->reading, POLLIN);
}

/* ---- To the kernel ---- */

static void flush_batch(TapQueue *tq);

static void tap_writable(void *opaque, unsigned revents)
{
    TapQueue *tq = opaque;
    fd_watch_set_events(&tq->writing, 0);
    tq->send_blocked = false;
    flush_batch(tq);
    if (!tq->send_blocked && tq->nic_waits) {
        tq->nic_waits = false;
        net_queue_send_ready(&tq->tap->base.queues[tq - tq->tap->taps]);
    }
}

static void wait_writable(TapQueue *tq)
{
    EventLoop *loop = tq->tap->base.queues[tq - tq->tap->taps].loop;
    if (!tq->writing.loop) {
        fd_watch_start(&tq->writing, loop, tq->fd, POLLOUT, tap_writable, tq);
    } else {
        fd_watch_set_events(&tq->writing, POLLOUT);
    }
    tq->send_blocked = true;
}

static void flush_batch(TapQueue *tq)
{
    if (!tq->send_blocked && !tap_batch_empty(tq->batch) && !tap_batch_flush(tq->batch)) {
        wait_writable(tq);
    }
}

/* At the end of a round of the loop. */
static void flush_task(void *opaque)
{
    flush_batch(opaque);
}

static NetSendResult busy(TapQueue *tq)
{
    tq->nic_waits = true;
    return NET_SEND_BUSY;
}

/* Parts with the kernel's header in front, all in the guest's memory but that. */
static NetSendResult send_small(TapQueue *tq, EventLoop *loop, const struct iovec *iov, int count)
{
    tap_batch_add(tq->batch, iov, count);
    if (tap_batch_full(tq->batch)) {
        flush_batch(tq);
    } else {
        event_loop_defer(loop, &tq->flush);
    }
    return NET_SENT;
}

static NetSendResult send_large(TapQueue *tq, const struct iovec *iov, int count)
{
    ssize_t n;
    flush_batch(tq); /* frames stay in order */
    if (tq->send_blocked) {
        return busy(tq);
    }
    do {
        n = writev(tq->fd, iov, count);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        return NET_SENT;
    }
    if (errno == EAGAIN) {
        wait_writable(tq);
        return busy(tq);
    }
    return NET_SEND_DROPPED; /* a header that the kernel refuses, an interface that is down */
}

/* The frame's parts behind an empty header of the kernel's, when it wants one and the NIC has none;
 * parts beyond the bound are joined. */
static int build_iov(TapQueue *tq, struct iovec *out, const struct iovec *iov, int count)
{
    static const uint8_t no_header[TAP_HEADER_MAX];
    TapBackend *t = tq->tap;
    int n = 0;
    if (t->header_len && !t->nic_header) {
        out[n++] = (struct iovec){ .iov_base = (void *)no_header, .iov_len = t->header_len };
    }
    memcpy(out + n, iov, count * sizeof(*iov));
    return n + count;
}

static NetSendResult tap_send(NetQueue *q, const struct iovec *iov, int iov_count, size_t size)
{
    TapQueue *tq = tap_queue(q);
    struct iovec parts[MAX_SEND_IOV + 1], joined;
    g_autofree uint8_t *copy = NULL;
    if (tq->send_blocked) {
        return busy(tq);
    }
    if (size > TAP_BUFFER) {
        return NET_SEND_DROPPED;
    }
    if (iov_count > MAX_SEND_IOV) {
        copy = g_malloc(size);
        joined = (struct iovec){ .iov_base = copy,
                                 .iov_len = net_iov_gather(copy, size, iov, iov_count) };
        iov = &joined;
        iov_count = 1;
    }
    int count = build_iov(tq, parts, iov, iov_count);
    return size + TAP_HEADER_MAX <= TAP_BATCH_FRAME_MAX ? send_small(tq, q->loop, parts, count)
                                                        : send_large(tq, parts, count);
}

/* ---- Life ---- */

static void tap_start(NetQueue *q)
{
    TapQueue *tq = tap_queue(q);
    if (!tq->buffer) {
        bool use_ring = !strcmp(event_loop_engine_name(q->loop), "io_uring");
        tq->buffer = g_malloc(TAP_BUFFER);
        tq->batch = tap_batch_new(tq->fd, use_ring);
        tq->flush = (LoopTask)LOOP_TASK_INIT(flush_task, tq);
    }
    tq->send_blocked = tq->nic_waits = false;
    fd_watch_start(&tq->reading, q->loop, tq->fd, tq->waiting ? 0 : POLLIN, tap_readable, tq);
    if (tq->waiting) {
        tap_resume(q);
    }
    flush_batch(tq);
}

static void tap_stop(NetQueue *q)
{
    TapQueue *tq = tap_queue(q);
    event_loop_cancel_task(q->loop, &tq->flush);
    flush_batch(tq); /* what does not go now, goes after the next start */
    fd_watch_stop(&tq->reading);
    fd_watch_stop(&tq->writing);
}

static void tap_close(NetBackend *b)
{
    TapBackend *t = (TapBackend *)b;
    g_autoptr(GError) error = NULL;
    if (t->downscript && !tap_run_script(t->downscript, t->ifname, &error)) {
        report_warning("netdev '%s': network script: %s", b->id, error->message);
    }
    for (unsigned i = 0; i < t->count; i++) {
        close(t->taps[i].fd);
        tap_batch_free(t->taps[i].batch);
        g_free(t->taps[i].buffer);
    }
    g_free(t->taps);
    g_free(t->ifname);
    g_free(t->downscript);
}

static char *tap_info(NetBackend *b)
{
    TapBackend *t = (TapBackend *)b;
    return g_strdup_printf("ifname=%s,queues=%u,vnet_hdr=%s", t->ifname, t->count,
                           t->vnet_hdr ? "on" : "off");
}

/* ---- virtio-net headers ---- */

static bool tap_has_vnet_header(const NetBackend *b)
{
    return ((const TapBackend *)b)->vnet_hdr;
}

static bool tap_has_ufo(const NetBackend *b)
{
    return ((const TapBackend *)b)->ufo;
}

static void tap_set_vnet_header(NetBackend *b, unsigned header_len)
{
    TapBackend *t = (TapBackend *)b;
    if (!t->vnet_hdr) {
        return;
    }
    unsigned wanted = header_len == TAP_HEADER_MAX ? TAP_HEADER_MAX : TAP_HEADER_MIN;
    for (unsigned i = 0; i < t->count; i++) {
        if (wanted != t->header_len && !tap_set_header_len(t->taps[i].fd, wanted)) {
            report_warning("netdev '%s': the kernel refuses a header of %u bytes", b->id, wanted);
        }
        if (wanted != t->header_len || !!header_len != !!t->nic_header) {
            /* What waits has the old header. */
            t->taps[i].waiting = 0;
            if (t->taps[i].batch) {
                tap_batch_drop(t->taps[i].batch);
            }
        }
    }
    t->header_len = wanted;
    t->nic_header = header_len ? wanted : 0;
}

static void tap_set_offload(NetBackend *b, bool csum, bool tso4, bool tso6, bool ecn, bool ufo)
{
    TapBackend *t = (TapBackend *)b;
    for (unsigned i = 0; t->vnet_hdr && i < t->count; i++) {
        tap_set_offloads(t->taps[i].fd, csum, tso4, tso6, ecn, ufo && t->ufo);
    }
}

const NetBackendClass net_tap_class = {
    .type = "tap",
    .desc = "a tap interface of the host (ifname=, script=no, queues=, fd=, vnet_hdr=)",
    .size = sizeof(TapBackend),
    .options = tap_options,
    .open = tap_open,
    .close = tap_close,
    .info = tap_info,
    .start = tap_start,
    .stop = tap_stop,
    .resume = tap_resume,
    .send = tap_send,
    .has_vnet_header = tap_has_vnet_header,
    .set_vnet_header = tap_set_vnet_header,
    .has_ufo = tap_has_ufo,
    .set_offload = tap_set_offload,
};

const NetBackendClass net_bridge_class = {
    .type = "bridge",
    .desc = "a tap on a bridge of the host, made by a helper (br=, helper=)",
    .size = sizeof(TapBackend),
    .options = bridge_options,
    .open = bridge_open,
    .close = tap_close,
    .info = tap_info,
    .start = tap_start,
    .stop = tap_stop,
    .resume = tap_resume,
    .send = tap_send,
    .has_vnet_header = tap_has_vnet_header,
    .set_vnet_header = tap_set_vnet_header,
    .has_ufo = tap_has_ufo,
    .set_offload = tap_set_offload,
};
