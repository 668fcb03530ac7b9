/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The main loop: an epoll EventLoop as one source of the GLib main context. */
#include <stdlib.h>
#include <unistd.h>
#include "vmm/event/internal.h"
#include "vmm/error.h"

static EventLoop *main_loop;

typedef struct LoopSource {
    GSource source;
    EventLoop *loop;
    void *fd_tag;
} LoopSource;

static bool has_work(EventLoop *loop)
{
    return loop_has_queued(loop) || epoll_engine_has_always(loop) ||
           (loop->native && aio_native_pending(loop));
}

static gboolean source_prepare(GSource *source, gint *timeout)
{
    EventLoop *loop = ((LoopSource *)source)->loop;
    *timeout = -1;
    atomic_store(&loop->sleeping, true);
    if (has_work(loop)) {
        return TRUE;
    }
    int64_t left = loop_timer_timeout(loop);
    if (left == 0) {
        return TRUE;
    }
    epoll_engine_arm_timer(loop, left);
    return FALSE;
}

static gboolean source_check(GSource *source)
{
    LoopSource *self = (LoopSource *)source;
    return g_source_query_unix_fd(source, self->fd_tag) || has_work(self->loop) ||
           loop_timer_timeout(self->loop) == 0;
}

static gboolean source_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    EventLoop *loop = ((LoopSource *)source)->loop;
    atomic_store(&loop->sleeping, false);
    loop->backend->submit(loop); /* looks for events without waiting */
    loop->backend->collect(loop);
    loop_run_queued(loop);
    loop_run_deferred(loop);
    if (loop->native) {
        aio_native_flush(loop);
    }
    return G_SOURCE_CONTINUE;
}

EventLoop *event_loop_main(void)
{
    static GSourceFuncs funcs = { .prepare = source_prepare,
                                  .check = source_check,
                                  .dispatch = source_dispatch };
    if (main_loop) {
        return main_loop;
    }
    g_autoptr(GError) error = NULL;
    EventLoop *loop = loop_alloc("main");
    if (!loop_setup(loop, &epoll_backend, &error)) {
        report_error("main event loop: %s", error->message);
        exit(1);
    }
    LoopSource *source = (LoopSource *)g_source_new(&funcs, sizeof(*source));
    source->loop = loop;
    source->fd_tag = g_source_add_unix_fd(&source->source, epoll_engine_fd(loop), G_IO_IN);
    g_source_set_name(&source->source, "vireo main loop");
    g_source_set_can_recurse(&source->source, TRUE);
    g_source_attach(&source->source, NULL);
    g_source_unref(&source->source);
    loop->is_main = true;
    atomic_store(&loop->tid, getpid());
    loop_set_current(loop);
    main_loop = loop;
    return loop;
}
