/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O limits: how requests wait in a throttle group, and the filter "throttle". */
#include "block/internal.h"

/* ---- Requests ---- */

static_assert(sizeof(ThrottleTicket) <= sizeof(((AioRequest *)0)->engine_data), "it fits");

bool throttle_pass(ThrottleMember *member, BlockRequest *request, void (*go)(void *request))
{
    if (request->kind == BLOCK_FLUSH || request->kind == BLOCK_STATUS) {
        return true;
    }
    ThrottleTicket *ticket = (ThrottleTicket *)request->aio.engine_data;
    *ticket = (ThrottleTicket){ .task = LOOP_TASK_INIT(go, request),
                                .loop = request->loop,
                                .bytes = request->bytes };
    return throttle_member_pass(member, request->kind != BLOCK_READ, ticket);
}

/* ---- The filter ---- */

static void throttle_refresh(BlockNode *node)
{
    atomic_store(&node->length, block_node_length(node->file));
}

static bool throttle_open(BlockNode *node, Opts *options, GError **error)
{
    const char *name = opts_get(options, "throttle-group");
    if (!name) {
        return error_set(error, "driver 'throttle' needs 'throttle-group': the id of an object");
    }
    ThrottleGroup *group = throttle_group_get(name, false, error);
    if (!group) {
        return false;
    }
    throttle_member_join(node->state, group);
    throttle_group_unref(group);
    node->filename = g_strdup(node->file->filename);
    node->limits = node->file->limits;
    throttle_refresh(node);
    return true;
}

static void throttle_close(BlockNode *node)
{
    throttle_member_leave(node->state);
}

static void go_below(void *opaque)
{
    BlockRequest *request = opaque;
    block_node_submit(request->node->file, request);
}

static void throttle_submit(BlockNode *node, BlockRequest *request)
{
    request->node = node;
    if (throttle_pass(node->state, request, go_below)) {
        block_node_submit(node->file, request);
    }
}

/* What tools and the main thread do by themselves knows no limits. */
static int throttle_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes,
                             bool write)
{
    return write ? node_pwrite(node->file, offset, data, bytes)
                 : node_pread(node->file, offset, data, bytes);
}

static int throttle_flush(BlockNode *node)
{
    return node_flush(node->file);
}

static void throttle_drain(BlockNode *node, bool begin)
{
    throttle_member_drain(node->state, begin);
}

static bool throttle_resize(BlockNode *node, uint64_t size, GError **error)
{
    return block_resize(node->file, size, error);
}

static const char *const throttle_options[] = { "file", "throttle-group", NULL };

const BlockDriver throttle_driver = {
    .name = "throttle",
    .desc = "I/O limits of a throttle-group",
    .state_size = sizeof(ThrottleMember),
    .has_file = true,
    .is_filter = true,
    .options = throttle_options,
    .open = throttle_open,
    .close = throttle_close,
    .submit = throttle_submit,
    .transfer = throttle_transfer,
    .flush = throttle_flush,
    .drain = throttle_drain,
    .resize = throttle_resize,
    .refresh = throttle_refresh,
};
