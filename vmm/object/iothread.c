/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object iothread. */
#include "vmm/object/iothread.h"

typedef struct IoThread {
    Object obj;
    int64_t poll_max_ns, poll_grow, poll_shrink;
    char *cpu_affinity;
    EventLoop *loop;
} IoThread;

static void apply_polling(void *base)
{
    IoThread *thread = base;
    event_loop_set_polling(thread->loop, thread->poll_max_ns, thread->poll_grow,
                           thread->poll_shrink);
}

#define POLL_PROP(Name, Field, Default, Desc)                                                      \
    PROP_FIELD(Name, PROP_TYPE_I64, IoThread, Field, Desc, .def = (Default), .max = INT64_MAX,     \
               .live = true, .changed = apply_polling)

static const Property iothread_props[] = {
    POLL_PROP("poll-max-ns", poll_max_ns, LOOP_DEFAULT_POLL_MAX_NS,
              "longest busy polling before sleeping, nanoseconds; 0: none"),
    POLL_PROP("poll-grow", poll_grow, 0, "factor of growth of the polling time; 0: 2"),
    POLL_PROP("poll-shrink", poll_shrink, 0, "divisor when polling found nothing; 0: all"),
    PROP_STRING("cpu-affinity", IoThread, cpu_affinity, NULL,
                "CPUs of the host that it runs on, such as 2-3:6"),
    PROP_END,
};

static bool start_thread(IoThread *thread, GError **error)
{
    HostCpus cpus;
    if (thread->cpu_affinity && !host_cpus_parse(&cpus, thread->cpu_affinity, error)) {
        return false;
    }
    return event_loop_start(thread->loop, error) &&
           (!thread->cpu_affinity || event_loop_pin(thread->loop, &cpus, error));
}

static bool iothread_complete(Object *obj, GError **error)
{
    IoThread *thread = (IoThread *)obj;
    g_autofree char *name = g_strdup_printf("IO %s", obj->id);
    thread->loop = event_loop_new(name, LOOP_ENGINE_AUTO, error);
    if (!thread->loop) {
        return false;
    }
    apply_polling(obj);
    if (!start_thread(thread, error)) {
        event_loop_free(thread->loop);
        return false;
    }
    return true;
}

static void iothread_finalize(Object *obj)
{
    event_loop_free(((IoThread *)obj)->loop);
}

const ObjectClass iothread_class = {
    .name = "iothread",
    .base = "event-loop-base",
    .desc = "A thread that serves disks and network cards",
    .size = sizeof(IoThread),
    .props = iothread_props,
    .complete = iothread_complete,
    .finalize = iothread_finalize,
};

EventLoop *iothread_claim(const char *id, GError **error)
{
    IoThread *thread = (IoThread *)object_find_type(id, "iothread", error);
    if (!thread) {
        return NULL;
    }
    thread->obj.users++;
    return thread->loop;
}

void iothread_release(const char *id)
{
    IoThread *thread = (IoThread *)object_find_type(id, "iothread", NULL);
    if (thread && thread->obj.users > 0) {
        thread->obj.users--;
    }
}

IoThreadInfo iothread_info(const Object *obj)
{
    const IoThread *thread = (const IoThread *)obj;
    return (IoThreadInfo){
        .id = obj->id,
        .thread_id = event_loop_thread_id(thread->loop),
        .poll_max_ns = thread->poll_max_ns,
        .poll_grow = thread->poll_grow,
        .poll_shrink = thread->poll_shrink,
    };
}
