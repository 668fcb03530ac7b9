/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fd watches: the table of slots that kernel events are matched against. */
#include "vmm/event/internal.h"

static uint32_t slot_take(EventLoop *loop)
{
    if (loop->free_slots->len) {
        uint32_t slot = g_array_index(loop->free_slots, uint32_t, loop->free_slots->len - 1);
        g_array_set_size(loop->free_slots, loop->free_slots->len - 1);
        return slot;
    }
    WatchSlot empty = { .dup_fd = -1 };
    g_array_append_val(loop->slots, empty);
    return loop->slots->len - 1;
}

WatchSlot *loop_slot_find(EventLoop *loop, uint32_t slot, uint32_t generation)
{
    if (slot >= loop->slots->len) {
        return NULL;
    }
    WatchSlot *s = loop_slot(loop, slot);
    return s->watch && s->generation == generation ? s : NULL;
}

void fd_watch_start(FdWatch *watch, EventLoop *loop, int fd, unsigned events, FdReady *ready,
                    void *opaque)
{
    assert(loop_thread_ok(loop));
    uint32_t slot = slot_take(loop);
    *watch = (FdWatch){
        .loop = loop, .fd = fd, .events = events, .ready = ready, .opaque = opaque, .slot = slot
    };
    loop_slot(loop, slot)->watch = watch;
    loop->backend->watch_changed(loop, slot);
}

void fd_watch_set_events(FdWatch *watch, unsigned events)
{
    if (!watch->loop || watch->events == events) {
        return;
    }
    assert(loop_thread_ok(watch->loop));
    watch->events = events;
    watch->loop->backend->watch_changed(watch->loop, watch->slot);
}

void fd_watch_stop(FdWatch *watch)
{
    EventLoop *loop = watch->loop;
    if (!loop) {
        return;
    }
    assert(loop_thread_ok(loop));
    loop->backend->watch_removed(loop, watch->slot, watch->fd);
    WatchSlot *s = loop_slot(loop, watch->slot);
    s->watch = NULL;
    s->armed = 0;
    s->dirty = false;
    s->generation = (s->generation + 1) & 0x1fffffff;
    g_array_append_val(loop->free_slots, watch->slot);
    watch->loop = NULL;
}
