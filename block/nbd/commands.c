/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD client's requests: each goes to the server in pieces that it takes, one after the other.
 * libnbd's callbacks only note the outcome (they may not call libnbd); nbd_commands_collect() goes
 * on.
 */
#include "block/nbd/commands.h"

#include <errno.h>

#define BOUNCE_MAX (1 * MIB) /* of a vector's bytes at a time */
#define RANGE_MAX  (1 * GIB) /* of one trim or write of zeroes */
#define ZEROES_MAX (1 * MIB) /* written where the server has no write of zeroes */

struct NbdCommand {
    NbdConnection *connection;
    BlockRequest *request;
    NbdCommand *next, *prev; /* in flight; waiting and free: next only */
    uint64_t done, piece;    /* bytes */
    bool completed, flushing;
    int error;
    uint8_t *bounce;
    uint64_t status_bytes;
    uint32_t status_flags;
};

static void start(NbdCommand *command);

static void collect(void *opaque)
{
    nbd_commands_collect(opaque);
}

void nbd_commands_init(NbdConnection *c)
{
    c->waiting_tail = &c->waiting;
    c->collect_task = (LoopTask)LOOP_TASK_INIT(collect, c);
}

void nbd_commands_free(NbdConnection *c)
{
    while (c->free_commands) {
        NbdCommand *command = c->free_commands;
        c->free_commands = command->next;
        g_free(command);
    }
}

/* ---- Lists ---- */

static NbdCommand *take_command(NbdConnection *c)
{
    NbdCommand *command = c->free_commands;
    if (command) {
        c->free_commands = command->next;
    } else {
        command = g_new(NbdCommand, 1);
    }
    *command = (NbdCommand){ .connection = c };
    return command;
}

static void link_in_flight(NbdCommand *command)
{
    NbdConnection *c = command->connection;
    command->prev = NULL;
    command->next = c->in_flight;
    if (c->in_flight) {
        c->in_flight->prev = command;
    }
    c->in_flight = command;
}

static void unlink_in_flight(NbdCommand *command)
{
    if (command->prev) {
        command->prev->next = command->next;
    } else {
        command->connection->in_flight = command->next;
    }
    if (command->next) {
        command->next->prev = command->prev;
    }
}

static void wait_for_connection(NbdCommand *command)
{
    NbdConnection *c = command->connection;
    command->next = NULL;
    *c->waiting_tail = command;
    c->waiting_tail = &command->next;
}

/* ---- The end of a request ---- */

static void complete_there(void *opaque)
{
    BlockRequest *request = opaque;
    block_request_complete(request, request->ret);
}

static void finish(NbdCommand *command, int ret)
{
    NbdConnection *c = command->connection;
    BlockRequest *request = command->request;
    g_free(command->bounce);
    command->next = c->free_commands;
    c->free_commands = command;
    request->ret = ret;
    request->task = (LoopTask)LOOP_TASK_INIT(complete_there, request);
    event_loop_post(request->loop, &request->task);
}

/* ---- Pieces ---- */

static int completed(void *opaque, int *error)
{
    NbdCommand *command = opaque;
    command->completed = true;
    command->error = *error;
    return 1; /* libnbd may forget it */
}

static int extents(void *opaque, const char *context, uint64_t offset, uint32_t *entries,
                   size_t count, int *error)
{
    NbdCommand *command = opaque;
    if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0) {
        return 0;
    }
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (i && entries[i + 1] != command->status_flags) {
            break;
        }
        command->status_flags = entries[i + 1];
        command->status_bytes += entries[i];
    }
    return 0;
}

/* The caller's memory for a piece, or a copy of it. */
static uint8_t *piece_memory(NbdCommand *command, uint64_t max)
{
    const BlockRequest *request = command->request;
    uint64_t left = request->bytes - command->done;
    if (request->kiov_count == 1) {
        command->piece = MIN(left, max);
        return (uint8_t *)request->kiov[0].iov_base + command->done;
    }
    command->piece = MIN(left, MIN(max, BOUNCE_MAX));
    if (!command->bounce) {
        command->bounce = g_malloc(MIN(request->bytes, BOUNCE_MAX));
    }
    return command->bounce;
}

static int64_t start_read(NbdCommand *command, nbd_completion_callback callback)
{
    NbdConnection *c = command->connection;
    uint8_t *data = piece_memory(command, c->info.max_request);
    return libnbd.aio_pread(c->handle, data, command->piece,
                            command->request->position + command->done, callback, 0);
}

static unsigned fua_flag(const NbdCommand *command)
{
    return command->request->kflags & BLOCK_REQ_FUA && command->connection->info.fua
               ? LIBNBD_CMD_FLAG_FUA
               : 0;
}

static int64_t start_write(NbdCommand *command, nbd_completion_callback callback)
{
    NbdConnection *c = command->connection;
    BlockRequest *request = command->request;
    uint8_t *data = piece_memory(command, c->info.max_request);
    if (data == command->bounce) {
        iov_copy(request->kiov, request->kiov_count, command->done, data, command->piece, false);
    }
    return libnbd.aio_pwrite(c->handle, data, command->piece, request->position + command->done,
                             callback, fua_flag(command));
}

static int64_t start_zeroes(NbdCommand *command, nbd_completion_callback callback)
{
    static const uint8_t zeroes[ZEROES_MAX];
    NbdConnection *c = command->connection;
    const BlockRequest *request = command->request;
    uint64_t offset = request->position + command->done, left = request->bytes - command->done;
    if (!c->info.zero) {
        command->piece = MIN(left, MIN(ZEROES_MAX, c->info.max_request));
        return libnbd.aio_pwrite(c->handle, zeroes, command->piece, offset, callback,
                                 fua_flag(command));
    }
    command->piece = MIN(left, RANGE_MAX);
    unsigned flags = fua_flag(command) |
                     (request->kflags & BLOCK_REQ_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE) |
                     (request->kflags & BLOCK_REQ_NO_FALLBACK ? LIBNBD_CMD_FLAG_FAST_ZERO : 0);
    return libnbd.aio_zero(c->handle, command->piece, offset, callback, flags);
}

static int64_t start_status(NbdCommand *command, nbd_completion_callback callback)
{
    const BlockRequest *request = command->request;
    nbd_extent_callback extent = { .callback = extents, .user_data = command };
    command->piece = MIN(request->bytes, RANGE_MAX);
    command->status_bytes = 0;
    return libnbd.aio_block_status(command->connection->handle, command->piece, request->position,
                                   extent, callback, 0);
}

static int64_t start_piece(NbdCommand *command)
{
    NbdConnection *c = command->connection;
    const BlockRequest *request = command->request;
    nbd_completion_callback callback = { .callback = completed, .user_data = command };
    if (command->flushing || request->kind == BLOCK_FLUSH) {
        return libnbd.aio_flush(c->handle, callback, 0);
    }
    switch (request->kind) {
    case BLOCK_READ:
        return start_read(command, callback);
    case BLOCK_WRITE:
        return start_write(command, callback);
    case BLOCK_WRITE_ZEROES:
        return start_zeroes(command, callback);
    case BLOCK_STATUS:
        return start_status(command, callback);
    default:
        command->piece = MIN(request->bytes - command->done, RANGE_MAX);
        return libnbd.aio_trim(c->handle, command->piece, request->position + command->done,
                               callback, fua_flag(command));
    }
}

/* ---- Requests ---- */

static void answer_status(NbdCommand *command)
{
    const BlockRequest *request = command->request;
    uint32_t flags = command->status_flags;
    uint64_t bytes = command->status_bytes;
    bool known = bytes > 0;
    *request->status = (BlockStatus){
        .flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET |
                 (known && flags & LIBNBD_STATE_HOLE ? 0 : BLOCK_STATUS_DATA) |
                 (known && flags & LIBNBD_STATE_ZERO ? BLOCK_STATUS_ZERO : 0),
        .bytes = known ? MIN(bytes, request->bytes) : request->bytes,
        .host_offset = request->position,
        .file = request->node,
    };
    if (known && !(request->status->flags & BLOCK_STATUS_ZERO)) {
        request->status->flags |= BLOCK_STATUS_DATA; /* a hole of unknown content */
    }
}

/* What the server cannot do and need not: true and *ret. */
static bool ends_here(const NbdCommand *command, int *ret)
{
    const NbdConnectionInfo *info = &command->connection->info;
    const BlockRequest *request = command->request;
    *ret = 0;
    switch (request->kind) {
    case BLOCK_FLUSH:
        return !info->flush;
    case BLOCK_DISCARD:
        return !info->trim;
    case BLOCK_WRITE_ZEROES:
        *ret = request->kflags & BLOCK_REQ_NO_FALLBACK && !info->fast_zero ? -ENOTSUP : 0;
        return *ret < 0;
    case BLOCK_STATUS:
        return !info->status;
    default:
        return false;
    }
}

static void start(NbdCommand *command)
{
    NbdConnection *c = command->connection;
    int ret;
    if (c->state != NBD_CONNECTION_READY) {
        if (c->failing) {
            finish(command, -EIO);
        } else {
            wait_for_connection(command);
        }
        return;
    }
    if (ends_here(command, &ret)) {
        if (command->request->kind == BLOCK_STATUS) {
            answer_status(command);
        }
        finish(command, ret);
        return;
    }
    command->completed = false;
    command->error = 0;
    if (start_piece(command) < 0 && !command->completed) {
        command->completed = true;
        command->error = libnbd.get_errno() ? libnbd.get_errno() : EIO;
    }
    link_in_flight(command);
    event_loop_defer(c->loop, &c->collect_task);
}

static void piece_done(NbdCommand *command)
{
    BlockRequest *request = command->request;
    bool flush = !command->connection->info.fua && command->connection->info.flush &&
                 request->kflags & BLOCK_REQ_FUA &&
                 (request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES);
    if (request->kind == BLOCK_FLUSH || command->flushing) {
        finish(command, 0);
        return;
    }
    if (request->kind == BLOCK_STATUS) {
        answer_status(command);
        finish(command, 0);
        return;
    }
    if (request->kind == BLOCK_READ && command->bounce) {
        iov_copy(request->kiov, request->kiov_count, command->done, command->bounce, command->piece,
                 true);
    }
    command->done += command->piece;
    command->flushing = command->done == request->bytes && flush;
    if (command->done < request->bytes || command->flushing) {
        start(command);
    } else {
        finish(command, 0);
    }
}

static bool connection_is_gone(const NbdConnection *c)
{
    return !c->handle || libnbd.aio_is_dead(c->handle) || libnbd.aio_is_closed(c->handle);
}

void nbd_commands_collect(NbdConnection *c)
{
    bool gone = connection_is_gone(c);
    for (NbdCommand *command = c->in_flight, *next; command; command = next) {
        next = command->next;
        if (!command->completed || (gone && command->error)) {
            continue; /* the latter is nbd_commands_lost()'s */
        }
        unlink_in_flight(command);
        if (command->error) {
            finish(command, -command->error);
        } else {
            piece_done(command);
        }
    }
    nbd_connection_update(c);
}

/* The handle is closed: what was on its way is done again, or fails. */
void nbd_commands_lost(NbdConnection *c)
{
    while (c->in_flight) {
        NbdCommand *command = c->in_flight;
        unlink_in_flight(command);
        if (command->completed && !command->error) {
            piece_done(command);
        } else if (c->failing) {
            finish(command, -EIO);
        } else {
            wait_for_connection(command);
        }
    }
}

static NbdCommand *take_waiting(NbdConnection *c)
{
    NbdCommand *list = c->waiting;
    c->waiting = NULL;
    c->waiting_tail = &c->waiting;
    return list;
}

void nbd_commands_fail_waiting(NbdConnection *c)
{
    for (NbdCommand *command = take_waiting(c), *next; command; command = next) {
        next = command->next;
        finish(command, -EIO);
    }
}

void nbd_commands_resume(NbdConnection *c)
{
    for (NbdCommand *command = take_waiting(c), *next; command; command = next) {
        next = command->next;
        start(command);
    }
}

/* ---- From other loops ---- */

static void start_here(void *opaque)
{
    BlockRequest *request = opaque;
    NbdCommand *command = take_command((NbdConnection *)request->aio.opaque);
    command->request = request;
    start(command);
}

void nbd_connection_submit(NbdConnection *c, BlockRequest *request)
{
    request->aio.opaque = c;
    request->task = (LoopTask)LOOP_TASK_INIT(start_here, request);
    event_loop_post(c->loop, &request->task);
}
