/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that drivers make of their own, and the end of those that need no I/O. */
#include "block/internal.h"

static void complete_now(void *opaque)
{
    BlockRequest *request = opaque;
    request->complete(request, request->ret);
}

void block_request_complete_later(BlockRequest *request, int ret)
{
    request->ret = ret;
    request->task = (LoopTask)LOOP_TASK_INIT(complete_now, request);
    event_loop_defer(request->loop, &request->task);
}

void block_request_init(BlockRequest *request, EventLoop *loop, BlockOp op, uint64_t offset,
                        uint64_t bytes, const struct iovec *iov, int iov_count, unsigned flags,
                        void (*complete)(BlockRequest *request, int ret), void *opaque)
{
    request->op = request->kind = op;
    request->flags = request->kflags = flags;
    request->offset = request->position = offset;
    request->bytes = bytes;
    request->iov = request->kiov = iov;
    request->iov_count = request->kiov_count = iov_count;
    request->status = NULL;
    request->done = NULL;
    request->opaque = opaque;
    request->backend = NULL;
    request->queue = NULL;
    request->node = NULL;
    request->loop = loop;
    request->complete = complete;
    request->next = NULL;
    request->progress = 0;
    request->rest = NULL;
    request->guard = NULL;
    request->format = NULL;
    request->tracked = NULL;
}
