/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transmission phase: requests of a client, and the replies to them. */
#include <errno.h>
#include <stdlib.h>
#include "block/nbd/internal.h"

#define CACHE_CHUNK (256 * KIB)

static void request_arrived(NbdClient *client);

int nbd_error_of(int ret)
{
    switch (-ret) {
    case 0:
        return 0;
    case EPERM:
    case EROFS:
    case EACCES:
        return NBD_EPERM;
    case ENOMEM:
        return NBD_ENOMEM;
    case EINVAL:
        return NBD_EINVAL;
    case ENOSPC:
    case EFBIG:
    case EDQUOT:
        return NBD_ENOSPC;
    case EOVERFLOW:
        return NBD_EOVERFLOW;
    case ENOTSUP:
        return NBD_ENOTSUP;
    case ECANCELED:
    case ENOMEDIUM:
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}

uint16_t nbd_export_flags(const NbdClient *client, const NbdExport *e)
{
    unsigned flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
                     NBD_FLAG_SEND_CACHE | (client->structured ? NBD_FLAG_SEND_DF : 0);
    flags |= e->writable ? NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO
                         : NBD_FLAG_READ_ONLY;
    /* All connections share one node: a flush on one of them is a flush of all. */
    return flags | (client->server->max_connections == 1 ? 0 : NBD_FLAG_CAN_MULTI_CONN);
}

/* ---- Slots ---- */

static bool has_room(const NbdClient *client)
{
    return client->free_slots && client->bytes < NBD_CLIENT_BYTES;
}

static void expect_request(NbdClient *client)
{
    nbd_client_expect(client, client->header, NBD_REQUEST_SIZE, request_arrived);
    if (!has_room(client)) {
        nbd_client_pause_input(client);
    }
}

static NbdSlot *take_slot(NbdClient *client)
{
    NbdSlot *slot = client->free_slots;
    client->free_slots = slot->next;
    client->in_flight++;
    slot->busy = true;
    slot->error = 0;
    slot->header_len = 0;
    slot->payload_len = 0;
    return slot;
}

void nbd_slot_release(NbdSlot *slot)
{
    NbdClient *client = slot->client;
    client->bytes -= slot->counted;
    slot->counted = 0;
    if (slot->capacity > NBD_SLOT_KEEP) {
        free(slot->data);
        slot->data = NULL;
        slot->capacity = 0;
    }
    nbd_status_free(slot);
    slot->busy = false;
    slot->next = client->free_slots;
    client->free_slots = slot;
    client->in_flight--;
    if (client->phase == NBD_TRANSMISSION && has_room(client)) {
        nbd_client_resume_input(client);
    } else {
        nbd_client_send_later(client); /* it may be the last */
    }
}

bool nbd_slot_buffer(NbdSlot *slot, size_t bytes)
{
    if (slot->capacity < bytes) {
        size_t size = ALIGN_UP(bytes, 4096);
        free(slot->data);
        slot->capacity = 0;
        slot->data = aligned_alloc(4096, size);
        if (!slot->data) {
            return false;
        }
        slot->capacity = size;
    }
    slot->client->bytes += bytes - slot->counted;
    slot->counted = bytes;
    return true;
}

/* ---- Replies ---- */

static void make_simple_reply(NbdSlot *slot)
{
    store_be32(slot->header, NBD_SIMPLE_REPLY_MAGIC);
    store_be32(slot->header + 4, (uint32_t)slot->error);
    store_be64(slot->header + 8, slot->cookie);
    slot->header_len = NBD_SIMPLE_REPLY_SIZE;
}

static void make_chunk(NbdSlot *slot, uint16_t type, uint32_t length)
{
    store_be32(slot->header, NBD_STRUCTURED_REPLY_MAGIC);
    store_be16(slot->header + 4, NBD_REPLY_FLAG_DONE);
    store_be16(slot->header + 6, type);
    store_be64(slot->header + 8, slot->cookie);
    store_be32(slot->header + 16, length);
    slot->header_len = NBD_CHUNK_SIZE;
}

static void make_error_chunk(NbdSlot *slot)
{
    const char *text = slot->error == NBD_EPERM    ? "not permitted"
                       : slot->error == NBD_EINVAL ? "the request is not valid"
                       : slot->error == NBD_ENOSPC ? "no space"
                                                   : "the operation failed";
    uint16_t len = strlen(text);
    static_assert(sizeof(slot->header) >= NBD_CHUNK_SIZE + 6 + 32, "the messages fit");
    make_chunk(slot, NBD_REPLY_TYPE_ERROR, 6 + len);
    store_be32(slot->header + 20, (uint32_t)slot->error);
    store_be16(slot->header + 24, len);
    memcpy(slot->header + 26, text, len);
    slot->header_len += 6 + len;
}

static void make_reply(NbdSlot *slot)
{
    bool structured = slot->client->structured;
    slot->payload_len = slot->error ? 0 : slot->payload_len;
    if (structured && slot->error) {
        make_error_chunk(slot);
    } else if (structured && slot->command == NBD_CMD_READ && slot->payload_len) {
        make_chunk(slot, NBD_REPLY_TYPE_OFFSET_DATA, 8 + slot->payload_len);
        store_be64(slot->header + slot->header_len, slot->offset);
        slot->header_len += 8;
    } else if (structured && slot->command == NBD_CMD_READ) {
        make_chunk(slot, NBD_REPLY_TYPE_NONE, 0);
    } else if (slot->command != NBD_CMD_BLOCK_STATUS || slot->error) {
        make_simple_reply(slot);
    }
}

void nbd_slot_reply(NbdSlot *slot)
{
    NbdClient *client = slot->client;
    if (client->phase == NBD_CLOSED) {
        nbd_slot_release(slot);
        return;
    }
    make_reply(slot);
    slot->next = NULL;
    *client->replies_tail = slot;
    client->replies_tail = &slot->next;
    nbd_client_send_later(client);
}

static void reply_error(NbdSlot *slot, int error)
{
    slot->error = error;
    nbd_slot_reply(slot);
}

/* ---- Commands ---- */

void nbd_slot_submit(NbdSlot *slot, BlockOp op, uint64_t offset, uint64_t bytes, unsigned flags,
                     void (*done)(BlockRequest *request, int ret))
{
    bool data = op == BLOCK_READ || op == BLOCK_WRITE;
    slot->iov = (struct iovec){ slot->data, bytes };
    slot->request.op = op;
    slot->request.flags = flags;
    slot->request.offset = offset;
    slot->request.bytes = bytes;
    slot->request.iov = data ? &slot->iov : NULL;
    slot->request.iov_count = data;
    slot->request.status = NULL;
    slot->request.done = done;
    slot->request.opaque = slot;
    block_submit(slot->client->export->backend, &slot->request);
}

static void command_done(BlockRequest *request, int ret)
{
    NbdSlot *slot = request->opaque;
    slot->error = nbd_error_of(ret);
    nbd_slot_reply(slot);
}

static void trim_done(BlockRequest *request, int ret)
{
    NbdSlot *slot = request->opaque;
    if (ret < 0 || slot->client->phase == NBD_CLOSED) {
        command_done(request, ret);
        return;
    }
    nbd_slot_submit(slot, BLOCK_FLUSH, 0, 0, 0, command_done);
}

static void cache_step(NbdSlot *slot);

static void cache_done(BlockRequest *request, int ret)
{
    NbdSlot *slot = request->opaque;
    slot->position += request->bytes;
    if (ret < 0 || slot->client->phase == NBD_CLOSED ||
        slot->position == slot->offset + slot->length) {
        command_done(request, ret);
        return;
    }
    cache_step(slot);
}

/* Reads the range: it is in the host's page cache then. */
static void cache_step(NbdSlot *slot)
{
    uint64_t left = slot->offset + slot->length - slot->position;
    nbd_slot_submit(slot, BLOCK_READ, slot->position, MIN(left, CACHE_CHUNK), 0, cache_done);
}

static void start_cache(NbdSlot *slot)
{
    slot->position = slot->offset;
    if (!slot->length) {
        nbd_slot_reply(slot);
    } else if (!nbd_slot_buffer(slot, MIN(slot->length, CACHE_CHUNK))) {
        reply_error(slot, NBD_ENOMEM);
    } else {
        cache_step(slot);
    }
}

static void start_read(NbdSlot *slot)
{
    if (!nbd_slot_buffer(slot, slot->length)) {
        reply_error(slot, NBD_ENOMEM);
        return;
    }
    slot->payload_len = slot->length;
    nbd_slot_submit(slot, BLOCK_READ, slot->offset, slot->length, 0, command_done);
}

static void start_write_zeroes(NbdSlot *slot, unsigned fua)
{
    unsigned flags = fua | (slot->flags & NBD_CMD_FLAG_NO_HOLE ? 0 : BLOCK_REQ_UNMAP) |
                     (slot->flags & NBD_CMD_FLAG_FAST_ZERO ? BLOCK_REQ_NO_FALLBACK : 0);
    nbd_slot_submit(slot, BLOCK_WRITE_ZEROES, slot->offset, slot->length, flags, command_done);
}

static void start_command(NbdSlot *slot)
{
    unsigned fua = slot->flags & NBD_CMD_FLAG_FUA ? BLOCK_REQ_FUA : 0;
    switch (slot->command) {
    case NBD_CMD_READ:
        start_read(slot);
        break;
    case NBD_CMD_WRITE:
        nbd_slot_submit(slot, BLOCK_WRITE, slot->offset, slot->length, fua, command_done);
        break;
    case NBD_CMD_FLUSH:
        nbd_slot_submit(slot, BLOCK_FLUSH, 0, 0, 0, command_done);
        break;
    case NBD_CMD_TRIM:
        nbd_slot_submit(slot, BLOCK_DISCARD, slot->offset, slot->length, 0,
                        fua ? trim_done : command_done);
        break;
    case NBD_CMD_WRITE_ZEROES:
        start_write_zeroes(slot, fua);
        break;
    case NBD_CMD_CACHE:
        start_cache(slot);
        break;
    default:
        nbd_status_start(slot);
        break;
    }
}

/* ---- Requests ---- */

static unsigned allowed_flags(const NbdSlot *slot)
{
    switch (slot->command) {
    case NBD_CMD_READ:
        return NBD_CMD_FLAG_FUA | (slot->client->structured ? NBD_CMD_FLAG_DF : 0);
    case NBD_CMD_WRITE_ZEROES:
        return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
    case NBD_CMD_BLOCK_STATUS:
        return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE;
    default:
        return NBD_CMD_FLAG_FUA;
    }
}

/* 0, or the wire's error. */
static int check_request(const NbdSlot *slot)
{
    const NbdClient *client = slot->client;
    bool write = slot->command == NBD_CMD_WRITE || slot->command == NBD_CMD_TRIM ||
                 slot->command == NBD_CMD_WRITE_ZEROES;
    bool data = slot->command == NBD_CMD_READ || slot->command == NBD_CMD_WRITE;
    if (slot->command > NBD_CMD_BLOCK_STATUS || slot->flags & ~allowed_flags(slot) ||
        (data && slot->length > NBD_MAX_REQUEST)) {
        return NBD_EINVAL;
    }
    if (write && !client->export->writable) {
        return NBD_EPERM;
    }
    if (slot->command == NBD_CMD_FLUSH) {
        return slot->offset || slot->length ? NBD_EINVAL : 0;
    }
    if (!range_inside(slot->offset, slot->length, client->size)) {
        return slot->command == NBD_CMD_WRITE || slot->command == NBD_CMD_WRITE_ZEROES ? NBD_ENOSPC
                                                                                       : NBD_EINVAL;
    }
    bool status = slot->command == NBD_CMD_BLOCK_STATUS;
    return status && (!client->contexts || !slot->length) ? NBD_EINVAL : 0;
}

static void payload_arrived(NbdClient *client)
{
    NbdSlot *slot = client->incoming;
    client->incoming = NULL;
    if (slot->error) {
        nbd_slot_reply(slot);
    } else {
        start_command(slot);
    }
    expect_request(client);
}

static void expect_payload(NbdClient *client, NbdSlot *slot)
{
    if (!slot->error && !nbd_slot_buffer(slot, slot->length)) {
        slot->error = NBD_ENOMEM;
    }
    client->incoming = slot;
    nbd_client_expect(client, slot->error ? NULL : slot->data, slot->length, payload_arrived);
}

static void request_arrived(NbdClient *client)
{
    const uint8_t *h = client->header;
    if (load_be32(h) != NBD_REQUEST_MAGIC) {
        nbd_client_close(client);
        return;
    }
    if (load_be16(h + 6) == NBD_CMD_DISC) {
        nbd_client_end(client);
        return;
    }
    NbdSlot *slot = take_slot(client);
    slot->flags = load_be16(h + 4);
    slot->command = load_be16(h + 6);
    slot->cookie = load_be64(h + 8);
    slot->offset = load_be64(h + 16);
    slot->length = load_be32(h + 24);
    slot->error = check_request(slot);
    if (slot->command == NBD_CMD_WRITE) {
        expect_payload(client, slot);
        return;
    }
    if (slot->error) {
        nbd_slot_reply(slot);
    } else {
        start_command(slot);
    }
    expect_request(client);
}

void nbd_transmission_start(NbdClient *client)
{
    client->phase = NBD_TRANSMISSION;
    expect_request(client);
}
