/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aio=native: Linux AIO (libaio) for O_DIRECT files. Each loop has a context of its own, made at
 * its first request; what one round queued is handed over by one io_submit(2), completions ring an
 * eventfd and are read from the ring in user memory.
 */
#include "config.h"
#include "vmm/error.h"
#include "vmm/event/internal.h"

#ifdef HAVE_LIBAIO
#include <errno.h>
#include <libaio.h>

#define NATIVE_EVENTS 256

struct AioNative {
    io_context_t context;
    EventNotifier notifier;
    FdWatch watch;
    AioRequest *queued, **queued_tail;
    unsigned in_kernel;
};

static_assert(sizeof(struct iocb) <= sizeof(((AioRequest *)0)->engine_data), "iocb fits");

static void native_ready(void *opaque, unsigned revents)
{
    aio_native_collect(opaque);
}

static AioNative *native_get(EventLoop *loop)
{
    if (loop->native) {
        return loop->native;
    }
    AioNative *native = g_new0(AioNative, 1);
    if (io_setup(NATIVE_EVENTS, &native->context) < 0) {
        g_free(native);
        return NULL;
    }
    if (!event_notifier_init(&native->notifier, NULL)) {
        io_destroy(native->context);
        g_free(native);
        return NULL;
    }
    native->queued_tail = &native->queued;
    loop->native = native;
    fd_watch_start(&native->watch, loop, native->notifier.fd, POLLIN | FD_WATCH_EDGE, native_ready,
                   loop);
    return native;
}

void aio_native_free(EventLoop *loop)
{
    AioNative *native = loop->native;
    if (native) {
        io_destroy(native->context);
        event_notifier_cleanup(&native->notifier);
        g_free(native);
        loop->native = NULL;
    }
}

bool aio_native_available(GError **error)
{
    io_context_t context = 0;
    int ret = io_setup(1, &context);
    if (ret < 0) {
        return error_set_errno(error, -ret, "aio=native: cannot set up Linux AIO%s",
                               ret == -EAGAIN ? " (see /proc/sys/fs/aio-max-nr)" : "");
    }
    io_destroy(context);
    return true;
}

void aio_native_submit(EventLoop *loop, AioRequest *request)
{
    AioNative *native = native_get(loop);
    if (!native) {
        worker_submit(request);
        return;
    }
    struct iocb *cb = (struct iocb *)request->engine_data;
    if (request->op == AIO_FSYNC) {
        io_prep_fdsync(cb, request->fd);
    } else if (request->op == AIO_READ) {
        io_prep_preadv(cb, request->fd, request->iov, request->iov_count, request->offset);
    } else {
        io_prep_pwritev(cb, request->fd, request->iov, request->iov_count, request->offset);
    }
    cb->aio_rw_flags = request->op == AIO_FSYNC ? 0 : request->rw_flags;
    cb->data = request;
    io_set_eventfd(cb, native->notifier.fd);
    request->next = NULL;
    *native->queued_tail = request;
    native->queued_tail = &request->next;
}

static AioRequest *dequeue(AioNative *native)
{
    AioRequest *request = native->queued;
    native->queued = request->next;
    if (!native->queued) {
        native->queued_tail = &native->queued;
    }
    return request;
}

void aio_native_flush(EventLoop *loop)
{
    AioNative *native = loop->native;
    while (native->queued && native->in_kernel < NATIVE_EVENTS) {
        struct iocb *batch[64];
        int n = 0;
        for (AioRequest *r = native->queued;
             r && n < (int)G_N_ELEMENTS(batch) && native->in_kernel + n < NATIVE_EVENTS;
             r = r->next) {
            batch[n++] = (struct iocb *)r->engine_data;
        }
        int ret = io_submit(native->context, n, batch);
        if (ret == -EINTR) {
            continue;
        }
        if (ret == -EAGAIN && native->in_kernel) {
            return; /* again after a completion */
        }
        for (int i = 0; i < ret; i++) {
            dequeue(native);
            native->in_kernel++;
        }
        if (ret <= 0) { /* the kernel does not take the first one (an old one no fsync) */
            worker_submit(dequeue(native));
        }
    }
}

bool aio_native_pending(EventLoop *loop)
{
    return loop->native->queued && loop->native->in_kernel < NATIVE_EVENTS;
}

bool aio_native_ready(EventLoop *loop)
{
    /* struct aio_ring, as the kernel maps it at the context's address */
    const struct {
        unsigned id, nr, head, tail;
    } *ring = (const void *)loop->native->context;
    return loop->native->in_kernel && ring->head != __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
}

bool aio_native_collect(EventLoop *loop)
{
    AioNative *native = loop->native;
    struct io_event events[64];
    bool work = false;
    while (native->in_kernel && aio_native_ready(loop)) {
        struct timespec zero = { 0 };
        int n = io_getevents(native->context, 0, G_N_ELEMENTS(events), events, &zero);
        if (n <= 0) {
            break;
        }
        native->in_kernel -= n;
        work = true;
        for (int i = 0; i < n; i++) {
            aio_complete(events[i].data, (ssize_t)events[i].res);
        }
    }
    return work;
}

#else

void aio_native_submit(EventLoop *loop, AioRequest *request)
{
    worker_submit(request);
}

void aio_native_flush(EventLoop *loop)
{
}

bool aio_native_pending(EventLoop *loop)
{
    return false;
}

bool aio_native_ready(EventLoop *loop)
{
    return false;
}

bool aio_native_collect(EventLoop *loop)
{
    return false;
}

void aio_native_free(EventLoop *loop)
{
}

bool aio_native_available(GError **error)
{
    return error_set(error, "aio=native is not built in (libaio was not found by configure)");
}
#endif
