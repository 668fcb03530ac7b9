/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD_CMD_BLOCK_STATUS: the nodes of the chain are asked one after the other, from the top, until
 * one decides; equal neighbours become one extent.
 */
#include <errno.h>
#include "block/nbd/internal.h"

#define MAX_STEPS 4096

typedef struct Extent {
    uint32_t length, flags;
} Extent;

typedef struct NbdStatus {
    BlockNode *node; /* asked now */
    unsigned depth, steps;
    uint64_t bytes; /* from the position, still undecided */
    BlockStatus answer;
    GArray *extents[NBD_CONTEXTS]; /* of those that the client wants */
} NbdStatus;

static void ask_top(NbdSlot *slot);

void nbd_status_free(NbdSlot *slot)
{
    NbdStatus *s = slot->status;
    if (s) {
        for (unsigned i = 0; i < NBD_CONTEXTS; i++) {
            g_clear_pointer(&s->extents[i], g_array_unref);
        }
        g_clear_pointer(&slot->status, g_free);
    }
}

static bool wants(const NbdSlot *slot, unsigned context)
{
    return slot->client->contexts & 1U << context;
}

/* ---- The reply ---- */

static void put_chunk(NbdSlot *slot, uint8_t **at, unsigned context, bool last)
{
    const GArray *extents = slot->status->extents[context];
    uint8_t *p = *at;
    store_be32(p, NBD_STRUCTURED_REPLY_MAGIC);
    store_be16(p + 4, last ? NBD_REPLY_FLAG_DONE : 0);
    store_be16(p + 6, NBD_REPLY_TYPE_BLOCK_STATUS);
    store_be64(p + 8, slot->cookie);
    store_be32(p + 16, 4 + extents->len * NBD_EXTENT_SIZE);
    store_be32(p + 20, context);
    p += NBD_CHUNK_SIZE + 4;
    for (guint i = 0; i < extents->len; i++, p += NBD_EXTENT_SIZE) {
        store_be32(p, g_array_index(extents, Extent, i).length);
        store_be32(p + 4, g_array_index(extents, Extent, i).flags);
    }
    *at = p;
}

/* ---- Extents ---- */

/* False when the list is full. */
static bool add_extent(NbdSlot *slot, unsigned context, uint32_t bytes, uint32_t flags)
{
    GArray *list = slot->status->extents[context];
    guint max = slot->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : NBD_STATUS_EXTENTS;
    Extent *last = list->len ? &g_array_index(list, Extent, list->len - 1) : NULL;
    if (last && last->flags == flags) {
        last->length += bytes;
        return true;
    }
    if (list->len == max) {
        return false;
    }
    Extent extent = { bytes, flags };
    g_array_append_val(list, extent);
    return true;
}

/* The range as the bitmap has it now. */
static void add_bitmap(NbdSlot *slot, unsigned context)
{
    BlockBitmap *bitmap = slot->client->export->bitmaps[context - NBD_CONTEXT_BITMAP];
    uint64_t at = slot->offset, end = at + slot->length;
    while (at < end) {
        uint64_t bit = at >> bitmap->granularity_bits, next = end;
        uint64_t last = MIN(((end - 1) >> bitmap->granularity_bits) + 1, bitmap->bits);
        bool set = bit < last && bitmap_next(bitmap, bit, bit + 1, true) == bit;
        uint64_t other = bit < last ? bitmap_next(bitmap, bit, last, !set) : last;
        if (other < last) {
            next = MIN(end, other << bitmap->granularity_bits);
        }
        if (!add_extent(slot, context, (uint32_t)(next - at), set ? NBD_STATE_DIRTY : 0)) {
            return;
        }
        at = next;
    }
}

static void reply(NbdSlot *slot, int ret)
{
    size_t bytes = 0;
    for (unsigned i = NBD_CONTEXT_BITMAP; i < NBD_CONTEXTS; i++) {
        if (wants(slot, i)) {
            add_bitmap(slot, i);
        }
    }
    for (unsigned i = 0; i < NBD_CONTEXTS; i++) {
        if (wants(slot, i)) {
            bytes += NBD_CHUNK_SIZE + 4 + slot->status->extents[i]->len * NBD_EXTENT_SIZE;
        }
    }
    slot->error = nbd_error_of(ret);
    if (!slot->error && !nbd_slot_buffer(slot, bytes)) {
        slot->error = NBD_ENOMEM;
    }
    if (!slot->error) {
        uint8_t *at = slot->data;
        unsigned contexts = slot->client->contexts;
        for (unsigned i = 0; i < NBD_CONTEXTS; i++) {
            if (wants(slot, i)) {
                put_chunk(slot, &at, i, !(contexts >> (i + 1)));
            }
        }
        slot->payload_len = at - slot->data;
    }
    nbd_slot_reply(slot);
}

/* `bytes` from the position are decided. */
static void decided(NbdSlot *slot, unsigned status_flags, unsigned depth, uint64_t bytes)
{
    NbdStatus *s = slot->status;
    uint32_t flags = (status_flags & BLOCK_STATUS_DATA ? 0 : NBD_STATE_HOLE) |
                     (status_flags & BLOCK_STATUS_ZERO ? NBD_STATE_ZERO : 0);
    bool room =
        (!wants(slot, NBD_CONTEXT_ALLOCATION) ||
         add_extent(slot, NBD_CONTEXT_ALLOCATION, bytes, flags)) &&
        (!wants(slot, NBD_CONTEXT_DEPTH) || add_extent(slot, NBD_CONTEXT_DEPTH, bytes, depth));
    slot->position += room ? bytes : 0;
    if (!room || slot->position == slot->offset + slot->length || ++s->steps == MAX_STEPS ||
        slot->client->phase == NBD_CLOSED) {
        reply(slot, 0);
    } else {
        ask_top(slot);
    }
}

/* ---- Asking ---- */

static void answered(NbdSlot *slot, int ret);

static void below_answered(BlockRequest *request, int ret)
{
    NbdSlot *slot = request->opaque;
    BlockBackend *backend = slot->client->export->backend;
    block_request_release(request);
    answered(slot, ret);
    block_backend_leave(backend);
}

/* The drain of the back end waits for this too. */
static void ask_below(NbdSlot *slot)
{
    NbdStatus *s = slot->status;
    uint64_t length = block_node_length(s->node);
    if (slot->position >= length) { /* shorter than its overlay */
        decided(slot, BLOCK_STATUS_ZERO, 0, s->bytes);
        return;
    }
    s->bytes = MIN(s->bytes, length - slot->position);
    block_request_init(&slot->request, slot->client->server->loop, BLOCK_STATUS, slot->position,
                       s->bytes, NULL, 0, 0, below_answered, slot);
    slot->request.status = &s->answer;
    block_backend_enter(slot->client->export->backend);
    block_node_submit(s->node, &slot->request);
}

static void answered(NbdSlot *slot, int ret)
{
    NbdStatus *s = slot->status;
    if (ret < 0 || slot->client->phase == NBD_CLOSED) {
        reply(slot, ret < 0 ? ret : -ESHUTDOWN);
        return;
    }
    s->bytes = MIN(MAX(s->answer.bytes, 1), s->bytes);
    if (s->answer.flags & BLOCK_STATUS_ALLOCATED) {
        decided(slot, s->answer.flags, s->depth + 1, s->bytes);
        return;
    }
    while (s->node->driver->is_filter && s->node->file) {
        s->node = s->node->file;
    }
    if (s->node->backing) {
        s->node = s->node->backing;
        s->depth++;
        ask_below(slot);
        return;
    }
    /* The end of a chain reads as zeroes; what something else leaves open may be anything. */
    bool zero = s->node->driver->has_backing || s->answer.flags & BLOCK_STATUS_ZERO;
    decided(slot, zero ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA, 0, s->bytes);
}

static void top_answered(BlockRequest *request, int ret)
{
    answered(request->opaque, ret);
}

static void ask_top(NbdSlot *slot)
{
    NbdStatus *s = slot->status;
    s->node = slot->client->export->node;
    s->depth = 0;
    s->bytes = slot->offset + slot->length - slot->position;
    slot->request = (BlockRequest){ .op = BLOCK_STATUS,
                                    .offset = slot->position,
                                    .bytes = s->bytes,
                                    .status = &s->answer,
                                    .done = top_answered,
                                    .opaque = slot };
    block_submit(slot->client->export->backend, &slot->request);
}

void nbd_status_start(NbdSlot *slot)
{
    NbdStatus *s = g_new0(NbdStatus, 1);
    slot->status = s;
    slot->position = slot->offset;
    for (unsigned i = 0; i < NBD_CONTEXTS; i++) {
        s->extents[i] = wants(slot, i) ? g_array_new(FALSE, FALSE, sizeof(Extent)) : NULL;
    }
    if (wants(slot, NBD_CONTEXT_ALLOCATION) || wants(slot, NBD_CONTEXT_DEPTH)) {
        ask_top(slot);
    } else {
        reply(slot, 0);
    }
}
