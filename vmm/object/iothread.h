/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object iothread: an event loop with a thread, for devices that name it. */
#ifndef VMM_OBJECT_IOTHREAD_H
#define VMM_OBJECT_IOTHREAD_H

#include "vmm/event/loop.h"
#include "vmm/object/object.h"

extern const ObjectClass iothread_class;

/* The loop of the iothread of that id, marked as used (iothread_release() undoes it). Main thread.
 */
EventLoop *iothread_claim(const char *id, GError **error);
void iothread_release(const char *id);

/* For query-iothreads. Main thread. */
typedef struct IoThreadInfo {
    const char *id;
    int thread_id;
    int64_t poll_max_ns, poll_grow, poll_shrink;
} IoThreadInfo;
IoThreadInfo iothread_info(const Object *obj);

#endif
