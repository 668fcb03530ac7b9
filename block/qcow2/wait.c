/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for tables and clusters: lists of those who go on when an object is ready. */
#include "block/qcow2/qcow2.h"

static void run_waiter(void *opaque)
{
    Qcow2Waiter *waiter = opaque;
    waiter->run(waiter->opaque);
}

void qcow2_wait(Qcow2WaitList *list, Qcow2Waiter *waiter)
{
    waiter->next = NULL;
    waiter->error = 0;
    if (list->last) {
        list->last->next = waiter;
    } else {
        list->first = waiter;
    }
    list->last = waiter;
}

void qcow2_wake(Qcow2WaitList *list, int error)
{
    Qcow2Waiter *waiter = list->first;
    list->first = list->last = NULL;
    while (waiter) {
        Qcow2Waiter *next = waiter->next; /* it may be gone once it is posted */
        waiter->error = error;
        waiter->task = (LoopTask)LOOP_TASK_INIT(run_waiter, waiter);
        event_loop_post(waiter->loop, &waiter->task);
        waiter = next;
    }
}
