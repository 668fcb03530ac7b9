/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The raw format: the node below as it is, or a window of it ("offset", "size"). Where the format
 * was guessed, a write that would put another format's signature into the first sector is refused:
 * the guest would else decide how its image is opened the next time. The sector is checked in a
 * private copy, which is what is then written.
 */
#include <errno.h>
#include "block/file.h"
#include "vmm/util/bytes.h"

typedef struct RawState {
    uint64_t offset;
    uint64_t size;
    bool has_size;
} RawState;

static bool raw_set_length(BlockNode *node, GError **error)
{
    RawState *s = node->state;
    uint64_t below = block_node_length(node->file);
    if (s->offset > below || (s->has_size && s->size > below - s->offset)) {
        return error_set(error,
                         "offset %" G_GUINT64_FORMAT " and size %" G_GUINT64_FORMAT
                         " do not fit into '%s' of %" G_GUINT64_FORMAT " bytes",
                         s->offset, s->size, node->file->name, below);
    }
    atomic_store(&node->length, s->has_size ? s->size : (below - s->offset) / 512 * 512);
    return true;
}

static bool raw_open(BlockNode *node, Opts *options, GError **error)
{
    RawState *s = node->state;
    s->has_size = opts_has(options, "size");
    if (!opts_get_size(options, "offset", &s->offset, error) ||
        !opts_get_size(options, "size", &s->size, error)) {
        return false;
    }
    if (s->has_size && s->size % 512) {
        return error_set(error, "size %" G_GUINT64_FORMAT " is not a multiple of 512", s->size);
    }
    node->filename = g_strdup(node->file->filename);
    node->limits = node->file->limits;
    return raw_set_length(node, error);
}

static void raw_close(BlockNode *node)
{
}

static void raw_refresh(BlockNode *node)
{
    /* A window that no longer fits keeps its length: what lies beyond fails or reads as zeroes. */
    raw_set_length(node, NULL);
}

/* ---- The guarded first sector ---- */

typedef struct GuardedWrite {
    uint8_t sector[PROBE_BYTES];
    struct iovec iov[];
} GuardedWrite;

static void raw_guarded_write(BlockNode *node, BlockRequest *request)
{
    if (request->position != 0 || request->bytes < PROBE_BYTES) {
        block_request_complete_later(request, -EPERM);
        return;
    }
    uint8_t sector[PROBE_BYTES];
    iov_copy(request->iov, request->iov_count, 0, sector, PROBE_BYTES, false);
    const char *format = block_probe_format(sector, PROBE_BYTES);
    if (format) {
        block_request_complete_later(request, -EPERM);
        return;
    }
    int count;
    g_autofree struct iovec *tail =
        iov_rest(request->iov, request->iov_count, PROBE_BYTES, request->iov_count, &count);
    request->guard = g_malloc(sizeof(GuardedWrite) + (count + 1) * sizeof(struct iovec));
    GuardedWrite *guard = request->guard;
    memcpy(guard->sector, sector, PROBE_BYTES);
    guard->iov[0] = (struct iovec){ guard->sector, PROBE_BYTES };
    memcpy(guard->iov + 1, tail, count * sizeof(*tail));
    request->kiov = guard->iov;
    request->kiov_count = count + 1;
    request->position += ((RawState *)node->state)->offset;
    block_node_submit(node->file, request);
}

static void raw_submit(BlockNode *node, BlockRequest *request)
{
    RawState *s = node->state;
    if (G_UNLIKELY(node->probed) && request->kind == BLOCK_WRITE &&
        request->position < PROBE_BYTES) {
        raw_guarded_write(node, request);
        return;
    }
    request->position += s->offset;
    block_node_submit(node->file, request);
}

static int raw_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write)
{
    RawState *s = node->state;
    return write ? node_pwrite(node->file, offset + s->offset, data, bytes)
                 : node_pread(node->file, offset + s->offset, data, bytes);
}

static int raw_flush(BlockNode *node)
{
    return node_flush(node->file);
}

static bool raw_resize(BlockNode *node, uint64_t size, GError **error)
{
    RawState *s = node->state;
    if (s->has_size || s->offset) {
        return error_set(error, "a raw node with an offset or a size cannot be resized");
    }
    return block_resize(node->file, size, error);
}

/* ---- Copying by the host ---- */

int block_copy_range(BlockNode *from, uint64_t from_offset, BlockNode *to, uint64_t to_offset,
                     uint64_t bytes)
{
    BlockStatus status;
    if (to->driver != &raw_driver || to->file->driver != &file_driver || to->probed ||
        to->tracker || to->file->tracker ||
        !range_inside(to_offset, bytes, block_node_length(to))) {
        return -ENOTSUP;
    }
    int ret = block_status_above(from, NULL, from_offset, bytes, &status, NULL);
    if (ret < 0) {
        return ret;
    }
    if (status.bytes < bytes || !(status.flags & BLOCK_STATUS_DATA) ||
        !(status.flags & BLOCK_STATUS_OFFSET) || status.file->driver != &file_driver ||
        status.file == to->file) {
        return -ENOTSUP;
    }
    uint64_t at = to_offset + ((RawState *)to->state)->offset;
    node_note_write(to->file, at + bytes);
    return file_copy_range(status.file, status.host_offset, to->file, at, bytes);
}

/* ---- Images ---- */

static const BlockCreateOption raw_create_options[] = {
    { "size", BLOCK_OPTION_SIZE, "Size of the disk that the guest sees", NULL },
    { "preallocation", BLOCK_OPTION_STRING, "What is allocated now: off, falloc, full", "off" },
    { NULL },
};

static bool raw_create(BlockNode *file, Opts *options, GError **error)
{
    static const char *const modes[] = { "off", "falloc", "full", NULL };
    uint64_t size = 0;
    int mode = 0;
    if (!opts_get_size(options, "size", &size, error) ||
        !opts_get_enum(options, "preallocation", modes, &mode, error) ||
        !block_resize(file, ALIGN_UP(size, 512), error)) {
        return false;
    }
    return mode == 0 || file_preallocate(file, 0, size, mode == 2, error);
}

static bool raw_measure(Opts *options, BlockNode *in, BlockMeasure *measure, GError **error)
{
    uint64_t size = in ? block_node_length(in) : 0;
    opts_get(options, "preallocation");
    if (!opts_get_size(options, "size", &size, error)) {
        return false;
    }
    *measure = (BlockMeasure){ .required = size, .fully_allocated = size, .bitmaps = UINT64_MAX };
    return true;
}

static bool raw_preallocate(BlockNode *node, uint64_t offset, uint64_t bytes, const char *mode,
                            GError **error)
{
    bool full = !strcmp(mode, "full");
    if (!full && strcmp(mode, "falloc") != 0) {
        return error_set(error, "a raw image has no preallocation=%s", mode);
    }
    return file_preallocate(node_protocol(node), offset, bytes, full, error);
}

static const BlockImageOps raw_image_ops = {
    .create_options = raw_create_options,
    .create = raw_create,
    .measure = raw_measure,
    .preallocate = raw_preallocate,
};

static const char *const raw_options[] = { "file", "offset", "size", NULL };

const BlockDriver raw_driver = {
    .name = "raw",
    .desc = "Plain image, or a window of one",
    .state_size = sizeof(RawState),
    .has_file = true,
    .options = raw_options,
    .open = raw_open,
    .close = raw_close,
    .submit = raw_submit,
    .transfer = raw_transfer,
    .flush = raw_flush,
    .resize = raw_resize,
    .refresh = raw_refresh,
    .image = &raw_image_ops,
};
