/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request on its way: from submit through its command to done, with the data moving through the
 * adapter's windows. Everything on the request's loop.
 */
#include <errno.h>
#include "hw/scsi/internal.h"
#include "vmm/trace/trace-device.h"

/* Of one block request: keeps its iovecs and lengths within what the block layer takes. */
#define MAX_CHUNK (1ULL << 30)
/* Of a parameter list, and of a reply: more makes no sense in any command. */
#define MAX_REPLY (4U << 20)

static void run_task(void *opaque);
static void fill_raw(ScsiRequest *request);

void scsi_request_init(ScsiRequest *request, ScsiLun *lun)
{
    memset(request, 0, sizeof(*request));
    request->lun = lun;
}

static void part_free(ScsiRequest *request)
{
    if (request->part && request->part != request->part_inline) {
        g_free(request->part);
    }
    request->part = NULL;
}

void scsi_request_cleanup(ScsiRequest *request)
{
    part_free(request);
    g_clear_pointer(&request->reply, g_free);
    request->reply_len = request->reply_base = 0;
    request->started = false;
}

void scsi_request_prepare(ScsiRequest *request)
{
    const ScsiLun *lun = request->lun;
    request->command = NULL;
    request->direction = SCSI_NO_DATA;
    request->length = 0;
    if (!lun->cls->commands) {
        lun->cls->prepare(request);
        return;
    }
    const ScsiCommand *command = &lun->cls->commands[request->cdb[0]];
    if (!command->run || (command->has_action && (request->cdb[1] & 0x1f) != command->action)) {
        return;
    }
    request->command = command;
    request->length = scsi_format_length(command->format, request->cdb, lun->block_size);
    request->direction = request->length ? command->direction : SCSI_NO_DATA;
}

/* ---- Windows ---- */

void scsi_window_copy(const ScsiWindow *window, uint64_t skip, void *data, uint64_t len, bool out)
{
    uint8_t *at = data;
    for (int i = 0; i < window->count && len; i++) {
        uint64_t size = window->iov[i].iov_len;
        if (skip >= size) {
            skip -= size;
            continue;
        }
        uint64_t n = MIN(size - skip, len);
        uint8_t *host = (uint8_t *)window->iov[i].iov_base + skip;
        if (out) {
            memcpy(at, host, n);
        } else {
            memcpy(host, at, n);
        }
        at += n;
        len -= n;
        skip = 0;
    }
}

static const ScsiWindow *window_of(const ScsiRequest *request)
{
    return request->direction == SCSI_DATA_OUT ? &request->out : &request->in;
}

static uint64_t window_left(const ScsiRequest *request)
{
    return window_of(request)->bytes - request->in_window;
}

struct iovec *scsi_part_new(ScsiRequest *request, int count)
{
    part_free(request);
    request->part = count > (int)G_N_ELEMENTS(request->part_inline) ? g_new(struct iovec, count)
                                                                    : request->part_inline;
    request->block.iov = request->part;
    request->block.iov_count = count;
    return request->part;
}

/* [skip, skip + len) of the window as an array of its own. */
static void cut_window(ScsiRequest *request, uint64_t skip, uint64_t len)
{
    const ScsiWindow *window = window_of(request);
    struct iovec *part = scsi_part_new(request, window->count);
    int count = 0;
    for (int i = 0; i < window->count && len; i++) {
        uint64_t size = window->iov[i].iov_len;
        if (skip >= size) {
            skip -= size;
            continue;
        }
        uint64_t n = MIN(size - skip, len);
        part[count++] = (struct iovec){ (uint8_t *)window->iov[i].iov_base + skip, n };
        len -= n;
        skip = 0;
    }
    request->block.iov_count = count;
}

/* ---- Ending ---- */

ScsiSense scsi_sense_of_errno(int error)
{
    switch (error) {
    case ENOMEDIUM:
        return SENSE_NO_MEDIUM;
    case ENOMEM:
        return SENSE_TARGET_FAILURE;
    case EINVAL:
        return SENSE_INVALID_FIELD;
    case ENOSPC:
        return SENSE_SPACE_ALLOC;
    case EPERM:
        return SENSE_WRITE_PROTECTED;
    default:
        return SENSE_IO_ERROR;
    }
}

void scsi_set_sense(ScsiRequest *request, ScsiSense sense)
{
    ScsiLun *lun = request->lun;
    scsi_build_sense(request->sense, sense);
    request->sense_len = SCSI_SENSE_SIZE;
    request->status = SCSI_CHECK_CONDITION;
    if (!lun->autosense) {
        g_mutex_lock(&lun->lock);
        memcpy(lun->mode.sense, request->sense, SCSI_SENSE_SIZE);
        lun->mode.sense_len = SCSI_SENSE_SIZE;
        g_mutex_unlock(&lun->lock);
    }
}

void scsi_good(ScsiRequest *request)
{
    request->status = SCSI_GOOD;
    request->stage = STAGE_STATUS;
}

void scsi_fail(ScsiRequest *request, ScsiSense sense)
{
    scsi_set_sense(request, sense);
    request->stage = STAGE_STATUS;
}

static void finish(ScsiRequest *request)
{
    request->stage = STAGE_DONE;
    part_free(request);
    if (G_UNLIKELY(request->reply)) {
        g_clear_pointer(&request->reply, g_free);
        request->reply_len = request->reply_base = 0;
    }
    request->started = false;
    request->done(request);
}

/* ---- What commands start ---- */

uint8_t *scsi_reply_new(ScsiRequest *request, uint32_t size)
{
    g_assert(size <= MAX_REPLY);
    g_free(request->reply);
    request->reply = g_malloc0(size);
    request->reply_len = size;
    request->reply_base = 0;
    return request->reply;
}

void scsi_reply(ScsiRequest *request, uint32_t len)
{
    request->reply_len = len;
    request->total = MIN(len, request->length);
    request->stage = STAGE_REPLY;
}

void scsi_collect(ScsiRequest *request)
{
    if (request->length > MAX_REPLY) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    scsi_reply_new(request, MAX(request->length, 1));
    request->total = request->length;
    request->stage = STAGE_COLLECT;
}

void scsi_move(ScsiRequest *request, uint64_t offset, uint64_t total)
{
    request->offset = offset;
    request->total = total;
    request->stage = request->direction == SCSI_DATA_OUT ? STAGE_WRITE : STAGE_READ;
}

void scsi_work(ScsiRequest *request, BlockOp op, unsigned flags, uint64_t offset, uint64_t bytes,
               void (*done)(BlockRequest *block, int ret))
{
    BlockRequest *block = &request->block;
    request->stage = STAGE_WORK;
    block->op = op;
    block->flags = flags;
    block->offset = offset;
    block->bytes = bytes;
    if (op != BLOCK_READ && op != BLOCK_WRITE) {
        block->iov = NULL;
        block->iov_count = 0;
    }
    block->done = done;
    block->opaque = request;
    request->with_host = true;
    block_submit(request->lun->disk->backend, block);
}

bool scsi_work_done(ScsiRequest *request, int ret)
{
    request->with_host = false;
    if (G_UNLIKELY(request->cancelled || ret == -ECANCELED)) {
        request->cancelled = true;
        return false;
    }
    if (G_UNLIKELY(ret < 0)) {
        scsi_fail(request, scsi_sense_of_errno(-ret));
        return false;
    }
    return true;
}

/* ---- Moving ---- */

static void moved(ScsiRequest *request, uint64_t bytes)
{
    request->moved += bytes;
    request->in_window += bytes;
}

static void data_done(BlockRequest *block, int ret)
{
    ScsiRequest *request = block->opaque;
    if (G_LIKELY(scsi_work_done(request, ret))) {
        moved(request, block->bytes);
    }
    scsi_request_step(request);
}

static void start_block(ScsiRequest *request)
{
    BlockRequest *block = &request->block;
    const ScsiWindow *window = window_of(request);
    uint64_t bytes = MIN(window_left(request), request->total - request->moved);
    bytes = MIN(bytes, MAX_CHUNK);
    if (G_LIKELY(request->in_window == 0 && bytes == window->bytes)) {
        block->iov = window->iov;
        block->iov_count = window->count;
    } else {
        cut_window(request, request->in_window, bytes);
    }
    bool write = request->stage == STAGE_WRITE;
    uint8_t stage = request->stage;
    scsi_work(request, write ? BLOCK_WRITE : BLOCK_READ, write && request->aux ? BLOCK_REQ_FUA : 0,
              request->offset + request->moved, bytes, data_done);
    request->stage = stage;
}

static void copy_some(ScsiRequest *request)
{
    uint64_t at = request->moved - request->reply_base;
    uint64_t bytes = MIN(window_left(request), request->total - request->moved);
    bytes = MIN(bytes, request->reply_len - at);
    scsi_window_copy(window_of(request), request->in_window, request->reply + at, bytes,
                     request->stage == STAGE_COLLECT);
    moved(request, bytes);
}

/* All has moved, or the adapter has no more memory. */
static void end_of_data(ScsiRequest *request)
{
    if (request->stage == STAGE_COLLECT) {
        request->command->collected(request);
    } else {
        scsi_good(request);
    }
}

/* A window is used up. False: the adapter has the next word. */
static bool next_window(ScsiRequest *request)
{
    if (!request->next) {
        end_of_data(request);
        return true;
    }
    request->waiting = request->in_next = true;
    request->next(request);
    request->in_next = false;
    return !request->waiting;
}

static bool raw_is_empty(const ScsiRequest *request)
{
    return request->stage == STAGE_RAW &&
           request->moved - request->reply_base >= request->reply_len;
}

void scsi_request_step(ScsiRequest *request)
{
    while (!request->with_host) {
        if (G_UNLIKELY(request->cancelled)) {
            request->status = SCSI_TASK_ABORTED;
            request->sense_len = 0;
            request->stage = STAGE_STATUS;
        }
        if (request->stage == STAGE_STATUS) {
            trace_scsi_command_done(request->cdb[0], request->status);
            finish(request);
            return;
        }
        if (request->moved >= request->total) {
            end_of_data(request);
        } else if (raw_is_empty(request)) {
            fill_raw(request);
        } else if (window_left(request) == 0) {
            if (!next_window(request)) {
                return;
            }
        } else if (request->stage == STAGE_READ || request->stage == STAGE_WRITE) {
            start_block(request);
        } else {
            copy_some(request);
        }
    }
}

static void fill_raw(ScsiRequest *request)
{
    request->command->collected(request);
}

static void run_task(void *opaque)
{
    scsi_request_step(opaque);
}

/* Goes on from a call of the adapter's, which must not be called back inside it. */
static void step_later(ScsiRequest *request)
{
    request->task.run = run_task;
    request->task.opaque = request;
    event_loop_defer(event_loop_current(), &request->task);
}

static void go_on(ScsiRequest *request)
{
    bool data = request->stage == STAGE_READ || request->stage == STAGE_WRITE;
    if (request->with_host) {
        return;
    }
    if (G_LIKELY(data && window_left(request) && request->moved < request->total)) {
        start_block(request);
    } else {
        step_later(request);
    }
}

/* ---- Submitting ---- */

static bool attention_pending(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    if (G_LIKELY(!__atomic_load_n(&lun->ua, __ATOMIC_RELAXED)) ||
        (request->command && request->command->flags & COMMAND_NO_UA)) {
        return false;
    }
    ScsiSense sense = scsi_take_attention(lun);
    if (sense.key != SCSI_UNIT_ATTENTION) {
        return false;
    }
    scsi_fail(request, sense);
    return true;
}

static void forget_sense(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    if (!lun->autosense && request->cdb[0] != OP_REQUEST_SENSE) {
        g_mutex_lock(&lun->lock);
        lun->mode.sense_len = 0;
        g_mutex_unlock(&lun->lock);
    }
}

static void run_command(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    const ScsiCommand *command = request->command;
    forget_sense(request);
    if (attention_pending(request)) {
        return;
    }
    if (!lun->cls->commands) {
        lun->cls->submit(request);
    } else if (!command) {
        bool known = lun->cls->commands[request->cdb[0]].run != NULL;
        scsi_fail(request, known ? SENSE_INVALID_FIELD : SENSE_INVALID_OPCODE);
    } else if (!(command->flags & COMMAND_NO_MEDIA) && !scsi_medium_loaded(lun)) {
        scsi_fail(request, scsi_no_medium_sense(lun));
    } else if (command->flags & COMMAND_WRITES && scsi_write_protected(lun)) {
        scsi_fail(request, SENSE_WRITE_PROTECTED);
    } else {
        command->run(request);
    }
}

static void begin(ScsiRequest *request)
{
    request->moved = request->in_window = request->position = 0;
    request->total = 0;
    request->aux = 0;
    request->started = true;
    run_command(request);
    go_on(request);
}

void scsi_request_submit(ScsiRequest *request)
{
    trace_scsi_command(request->lun->dev->id, request->cdb[0], scsi_cdb_length(request->cdb[0]));
    request->status = SCSI_GOOD;
    request->sense_len = 0;
    request->cancelled = request->waiting = request->with_host = false;
    begin(request);
}

void scsi_request_continue(ScsiRequest *request)
{
    if (!request->waiting) {
        return;
    }
    request->waiting = false;
    request->in_window = 0;
    if (!request->in_next) {
        go_on(request);
    }
}

void scsi_request_cancel(ScsiRequest *request)
{
    if (!request->started) {
        return;
    }
    request->cancelled = true;
    if (request->waiting) {
        request->waiting = false;
        if (!request->in_next) {
            step_later(request);
        }
    }
}

/* ---- State ---- */

void scsi_request_resume(ScsiRequest *request)
{
    if (!request->started) {
        return;
    }
    request->with_host = request->waiting = false;
    request->in_window = 0;
    switch (request->stage) {
    case STAGE_READ:
    case STAGE_WRITE:
    case STAGE_REPLY:
    case STAGE_COLLECT:
    case STAGE_STATUS:
        go_on(request);
        break;
    case STAGE_RAW: /* the buffer again, from where it stood */
        request->reply_base = request->moved;
        request->reply_len = 0;
        step_later(request);
        break;
    case STAGE_WORK:
        request->position = 0;
        if (request->reply && request->command->collected) {
            request->command->collected(request);
            go_on(request);
        } else {
            begin(request);
        }
        break;
    default:
        begin(request);
        break;
    }
}

static bool request_post_load(void *base, uint16_t version, GError **error)
{
    ScsiRequest *request = base;
    if (!request->started) {
        scsi_request_cleanup(request);
        return true;
    }
    uint8_t direction = request->direction;
    uint64_t length = request->length;
    if (!request->lun) {
        return error_set(error, "a saved SCSI request has no unit");
    }
    scsi_request_prepare(request);
    bool data = request->stage == STAGE_REPLY || request->stage == STAGE_COLLECT ||
                request->stage == STAGE_RAW;
    bool needs_command = request->stage != STAGE_STATUS && request->lun->cls->commands;
    if (request->stage > STAGE_STATUS || direction != request->direction ||
        length != request->length || request->total > request->length ||
        request->moved > request->total || request->sense_len > sizeof(request->sense) ||
        request->reply_base > request->moved || (needs_command && !request->command) ||
        (request->stage != STAGE_RAW && request->stage != STAGE_WORK && request->reply_base) ||
        (data && request->stage != STAGE_RAW && request->total > request->reply_len) ||
        ((request->stage == STAGE_COLLECT || request->stage == STAGE_RAW) &&
         !request->command->collected)) {
        return error_set(error, "a saved SCSI request (command 0x%02x, stage %u) is impossible",
                         request->cdb[0], request->stage);
    }
    return true;
}

static const StateField request_fields[] = {
    STATE_BUFFER(ScsiRequest, cdb),
    STATE_INT(ScsiRequest, direction),
    STATE_INT(ScsiRequest, length),
    STATE_INT(ScsiRequest, moved),
    STATE_INT(ScsiRequest, status),
    STATE_INT(ScsiRequest, sense_len),
    STATE_BUFFER(ScsiRequest, sense),
    STATE_INT(ScsiRequest, stage),
    STATE_INT(ScsiRequest, aux),
    STATE_BOOL(ScsiRequest, started),
    STATE_INT(ScsiRequest, offset),
    STATE_INT(ScsiRequest, total),
    STATE_INT(ScsiRequest, reply_base),
    STATE_INT(ScsiRequest, reply_len),
    STATE_VBUFFER(ScsiRequest, reply, reply_len, MAX_REPLY),
    STATE_END,
};

const StateSection scsi_request_state = {
    .name = "scsi-request",
    .version = 1,
    .fields = request_fields,
    .post_load = request_post_load,
};
