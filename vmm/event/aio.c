/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File requests: which engine carries one out, and completions that worker threads hand back. */
#include "vmm/event/aio.h"

#include "vmm/error.h"
#include "vmm/event/internal.h"
#include "vmm/trace/trace-event.h"

static const char *engine_name(AioEngine engine)
{
    return engine == AIO_ENGINE_IO_URING ? "io_uring"
           : engine == AIO_ENGINE_NATIVE ? "native"
                                         : "threads";
}

static void trace_submit(const EventLoop *loop, AioEngine engine, const AioRequest *request)
{
    uint64_t bytes = request->length;
    for (int i = 0; i < request->iov_count; i++) {
        bytes += request->iov[i].iov_len;
    }
    trace_aio_submit(request, loop->name, engine_name(engine), request->op, request->fd,
                     request->offset, bytes);
}

static bool native_takes(const AioRequest *request)
{
    return request->op == AIO_READ || request->op == AIO_WRITE || request->op == AIO_FSYNC;
}

void aio_submit(EventLoop *loop, AioEngine engine, AioRequest *request)
{
    assert(event_loop_is_current(loop));
    request->loop = loop;
    loop->aio_inflight++;
    if (G_UNLIKELY(TRACE_ON_AIO_SUBMIT)) {
        trace_submit(loop, engine, request);
    }
    bool worker = request->op == AIO_CALL || (request->block_device && request->op > AIO_FSYNC);
    if (!worker && engine == AIO_ENGINE_IO_URING && loop->backend->aio) {
        loop->backend->aio(loop, request);
    } else if (!worker && engine == AIO_ENGINE_NATIVE && native_takes(request)) {
        aio_native_submit(loop, request);
    } else {
        worker_submit(request);
    }
}

void aio_run_worker(EventLoop *loop, AioRequest *request)
{
    request->op = AIO_CALL;
    aio_submit(loop, AIO_ENGINE_THREADS, request);
}

bool aio_engine_usable(EventLoop *loop, AioEngine engine, GError **error)
{
    if (engine == AIO_ENGINE_IO_URING && !loop->backend->aio) {
        return error_set(error, "aio=io_uring: event loop '%s' runs on %s, not on io_uring",
                         loop->name, loop->backend->name);
    }
    return engine != AIO_ENGINE_NATIVE || aio_native_available(error);
}

bool aio_run_completed(EventLoop *loop)
{
    if (!atomic_load_explicit(&loop->completed, memory_order_relaxed)) {
        return false;
    }
    AioRequest *list = atomic_exchange(&loop->completed, NULL), *ordered = NULL;
    while (list) {
        AioRequest *next = list->next;
        list->next = ordered;
        ordered = list;
        list = next;
    }
    while (ordered) {
        AioRequest *next = ordered->next;
        aio_complete(ordered, ordered->res);
        ordered = next;
    }
    return true;
}
