/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of network back ends: a NIC on an I/O thread that keeps the frames it gets. */
#ifndef TESTS_UNIT_FAKE_NIC_H
#define TESTS_UNIT_FAKE_NIC_H

#include <string.h>
#include "net/net.h"

#define FRAME_MAX 2048

typedef struct Frame {
    size_t len;
    uint8_t data[FRAME_MAX];
} Frame;

typedef struct Nic {
    NetBackend *backend;
    NetQueue *queue;
    EventLoop *loop;
    GMutex lock; /* of frames: GLib's own queue hides its locks from ThreadSanitizer */
    GCond arrived;
    GQueue frames;
    int room; /* atomic: frames that receive takes; -1: any */
    int link_changes;
    uint8_t gateway_mac[6];
} Nic;

static bool nic_can_receive(void *opaque, unsigned queue)
{
    return g_atomic_int_get(&((Nic *)opaque)->room) != 0;
}

static bool nic_receive(void *opaque, unsigned queue, const struct iovec *iov, int count,
                        size_t size)
{
    Nic *nic = opaque;
    int room = g_atomic_int_get(&nic->room);
    if (room == 0) {
        return false;
    }
    if (room > 0) {
        g_atomic_int_add(&nic->room, -1);
    }
    Frame *f = g_new0(Frame, 1);
    for (int i = 0; i < count; i++) {
        memcpy(f->data + f->len, iov[i].iov_base, MIN(iov[i].iov_len, FRAME_MAX - f->len));
        f->len += MIN(iov[i].iov_len, FRAME_MAX - f->len);
    }
    g_assert_cmpuint(size, ==, f->len);
    g_mutex_lock(&nic->lock);
    g_queue_push_tail(&nic->frames, f);
    g_cond_signal(&nic->arrived);
    g_mutex_unlock(&nic->lock);
    return true;
}

static void nic_link_changed(void *opaque, bool up)
{
    ((Nic *)opaque)->link_changes++;
}

static const NicOps nic_ops = {
    .can_receive = nic_can_receive,
    .receive = nic_receive,
    .link_changed = nic_link_changed,
};

static inline NetBackend *make(const char *text, GError **error)
{
    g_autoptr(Opts) o = opts_parse(text, "type", error);
    return o ? net_backend_new(o, error) : NULL;
}

static inline void assert_refused(const char *text, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(make(text, &error));
    g_assert_nonnull(error);
    if (!strstr(error->message, expected)) {
        g_error("%s: '%s' does not say '%s'", text, error->message, expected);
    }
    g_assert_null(net_backend_find("n"));
}

static LoopEngine engine;

static inline Nic *nic_new(const char *text)
{
    g_autoptr(GError) error = NULL;
    Nic *nic = g_new0(Nic, 1);
    nic->room = -1;
    g_queue_init(&nic->frames);
    g_mutex_init(&nic->lock);
    g_cond_init(&nic->arrived);
    nic->backend = make(text, &error);
    g_assert_no_error(error);
    nic->loop = event_loop_new("net", engine, &error);
    g_assert_no_error(error);
    g_assert_true(event_loop_start(nic->loop, &error));
    g_assert_true(net_backend_attach(nic->backend, "nic0", &nic_ops, nic, &error));
    nic->queue = net_backend_queue(nic->backend, 0);
    net_queue_start(nic->queue, nic->loop);
    return nic;
}

static inline void nic_free(Nic *nic)
{
    g_autofree char *id = g_strdup(net_backend_id(nic->backend));
    g_assert_false(net_backend_delete(id, NULL)); /* in use */
    net_backend_detach(nic->backend);
    event_loop_free(nic->loop);
    g_assert_true(net_backend_delete(id, NULL));
    g_queue_clear_full(&nic->frames, g_free);
    g_mutex_clear(&nic->lock);
    g_cond_clear(&nic->arrived);
    g_free(nic);
}

typedef struct Send {
    Nic *nic;
    const Frame *frame;
    size_t split;
    NetSendResult result;
} Send;

static void send_in_loop(void *opaque)
{
    Send *s = opaque;
    struct iovec iov[2] = {
        { .iov_base = (void *)s->frame->data, .iov_len = s->split },
        { .iov_base = (void *)(s->frame->data + s->split), .iov_len = s->frame->len - s->split },
    };
    s->result = net_queue_send(s->nic->queue, iov, 2, s->frame->len);
}

static inline NetSendResult nic_send(Nic *nic, const Frame *frame)
{
    Send s = { .nic = nic, .frame = frame, .split = MIN(frame->len, 13u) };
    event_loop_call(nic->loop, send_in_loop, &s);
    return s.result;
}

static inline void resume_in_loop(void *opaque)
{
    net_queue_resume(((Nic *)opaque)->queue);
}

static inline unsigned frames_waiting(Nic *nic)
{
    g_mutex_lock(&nic->lock);
    unsigned count = nic->frames.length;
    g_mutex_unlock(&nic->lock);
    return count;
}

/* Waits for it while the main loop runs. */
static inline Frame *next_frame(Nic *nic)
{
    for (;;) {
        g_mutex_lock(&nic->lock);
        if (!nic->frames.length) {
            g_cond_wait_until(&nic->arrived, &nic->lock, g_get_monotonic_time() + 10000);
        }
        Frame *f = g_queue_pop_head(&nic->frames);
        g_mutex_unlock(&nic->lock);
        if (f) {
            return f;
        }
        while (g_main_context_iteration(NULL, FALSE)) {
        }
    }
}

#endif
