/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Read-only formats: requests. What is in one place is handed to the node it is in; a request over
 * several places goes through them one after the other, as requests of its own. Tables that are not
 * in the cache and compressed data are read by worker threads.
 */
#include "block/mapped.h"

#include <errno.h>
#include "vmm/util/bytes.h"

#define MERGE_MAX 1024 /* extents looked at for one answer */

const BlockCreateOption mapped_no_options[] = { { NULL } };

/* ---- Opening ---- */

bool mapped_read_header(BlockNode *file, const char *what, uint64_t offset, void *data,
                        uint64_t bytes, GError **error)
{
    uint64_t length = block_node_length(file);
    if (!range_inside(offset, bytes, length)) {
        return error_set(error,
                         "%s (%" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT
                         ") is not inside the file of %" G_GUINT64_FORMAT
                         " bytes: the image is truncated or corrupt",
                         what, bytes, offset, length);
    }
    int ret = node_pread(file, offset, data, bytes);
    return !ret || error_set_errno(error, -ret, "cannot read %s", what);
}

static bool set_readonly(BlockNode *node, GError **error)
{
    if (node->readonly) {
        return true;
    }
    if (!node->auto_readonly) {
        return error_set(error, "%s images can only be read: use read-only=on", node->driver->name);
    }
    node->readonly = true;
    return true;
}

bool mapped_open(BlockNode *node, const MappedOps *ops, Opts *options, GError **error)
{
    Mapped *m = node->state;
    m->ops = ops;
    m->pages = g_new0(MappedPage, MAPPED_PAGES);
    g_mutex_init(&m->lock);
    node->filename = g_strdup(node->file->filename);
    node->limits = node->file->limits;
    node->limits.discard_granularity = 0;
    node->limits.has_write_zeroes = false;
    if (set_readonly(node, error) && ops->open(node, options, error)) {
        return true;
    }
    g_prefix_error(error, "'%s' (%s): ", node->filename ? node->filename : node->file->name,
                   node->driver->name);
    mapped_close(node);
    return false;
}

void mapped_close(BlockNode *node)
{
    Mapped *m = node->state;
    m->ops->close(node);
    for (int i = 0; i < MAPPED_PAGES; i++) {
        g_free(m->pages[i].data);
    }
    g_clear_pointer(&m->pages, g_free);
    g_mutex_clear(&m->lock);
}

int mapped_corrupt(BlockNode *node, const char *format, ...)
{
    Mapped *m = node->state;
    if (!atomic_exchange(&m->complained, true)) {
        va_list args;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);
        report_warning("'%s' (%s): the image is corrupt: %s", node->filename, node->driver->name,
                       text);
    }
    return -EIO;
}

/* ---- Tables ---- */

static MappedPage *page_slot(Mapped *m, const BlockNode *file, uint64_t index)
{
    return &m->pages[(index + ((uintptr_t)file >> 6)) % MAPPED_PAGES];
}

/* A part of one page. */
static bool copy_cached(Mapped *m, const BlockNode *file, uint64_t offset, void *data, unsigned n)
{
    uint64_t index = offset / MAPPED_PAGE_BYTES;
    g_mutex_lock(&m->lock);
    MappedPage *page = page_slot(m, file, index);
    bool hit = page->data && page->file == file && page->index == index;
    if (hit) {
        memcpy(data, page->data + offset % MAPPED_PAGE_BYTES, n);
    }
    g_mutex_unlock(&m->lock);
    return hit;
}

static int load_page(Mapped *m, BlockNode *file, uint64_t offset, void *data, unsigned n)
{
    uint64_t index = offset / MAPPED_PAGE_BYTES, start = index * MAPPED_PAGE_BYTES;
    uint64_t length = block_node_length(file);
    uint8_t *fresh = g_malloc0(MAPPED_PAGE_BYTES);
    int ret = node_pread(file, start, fresh, MIN(MAPPED_PAGE_BYTES, length - start));
    if (ret < 0) {
        g_free(fresh);
        return ret;
    }
    memcpy(data, fresh + (offset - start), n);
    g_mutex_lock(&m->lock);
    MappedPage *page = page_slot(m, file, index);
    uint8_t *old = page->data;
    *page = (MappedPage){ file, index, fresh };
    g_mutex_unlock(&m->lock);
    g_free(old);
    return 0;
}

int mapped_read_table(Mapped *mapped, BlockNode *file, uint64_t offset, void *data, unsigned bytes,
                      bool wait)
{
    uint8_t *to = data;
    if (!range_inside(offset, bytes, block_node_length(file))) {
        return -EIO;
    }
    while (bytes) {
        unsigned n = (unsigned)MIN(bytes, MAPPED_PAGE_BYTES - offset % MAPPED_PAGE_BYTES);
        int ret = copy_cached(mapped, file, offset, to, n) ? 0
                  : wait                                   ? load_page(mapped, file, offset, to, n)
                                                           : -EAGAIN;
        if (ret < 0) {
            return ret;
        }
        to += n;
        offset += n;
        bytes -= n;
    }
    return 0;
}

/* ---- Mapping ---- */

/* The first bytes of a range; behind the end there are zeroes. */
static int map_one(BlockNode *node, uint64_t offset, uint64_t bytes, bool wait, MappedExtent *e)
{
    Mapped *m = node->state;
    uint64_t length = block_node_length(node);
    if (offset >= length) {
        *e = (MappedExtent){ .kind = MAPPED_ZERO, .bytes = bytes };
        return 0;
    }
    *e = (MappedExtent){ 0 };
    int ret = m->ops->map(node, offset, wait, e);
    if (ret < 0) {
        return ret;
    }
    e->bytes = MIN(e->bytes, MIN(bytes, length - offset));
    if (e->kind == MAPPED_DATA &&
        !range_inside(e->host_offset, e->bytes, block_node_length(e->file))) {
        return mapped_corrupt(node,
                              "data of offset %" G_GUINT64_FORMAT " would be at %" G_GUINT64_FORMAT
                              ", behind the end of '%s'",
                              offset, e->host_offset, e->file->filename);
    }
    return 0;
}

static bool goes_on(const MappedExtent *e, const MappedExtent *next)
{
    return e->kind == next->kind && e->holes == next->holes &&
           (e->kind != MAPPED_DATA ||
            (e->file == next->file && e->host_offset + e->bytes == next->host_offset));
}

/* The same, with the neighbours that continue it. Compressed data is merged for status only. */
static int map_range(BlockNode *node, uint64_t offset, uint64_t bytes, bool wait, bool packed,
                     MappedExtent *e)
{
    int ret = map_one(node, offset, bytes, wait, e);
    if (ret < 0) {
        return ret;
    }
    for (int i = 0; i < MERGE_MAX && e->bytes < bytes; i++) {
        MappedExtent next;
        if ((e->kind == MAPPED_PACKED && !packed) ||
            map_one(node, offset + e->bytes, bytes - e->bytes, wait, &next) < 0 ||
            !goes_on(e, &next)) {
            break;
        }
        e->bytes += next.bytes;
    }
    return 0;
}

/* How much of the extent the backing node has: 0: zeroes. -EIO: it is another image's. */
static int backing_bytes(BlockNode *node, uint64_t offset, const MappedExtent *e, uint64_t *bytes)
{
    Mapped *m = node->state;
    *bytes = 0;
    if (e->kind != MAPPED_NONE || !node->backing) {
        return 0;
    }
    if (m->ops->backing_fits && !m->ops->backing_fits(node)) {
        return -EIO;
    }
    uint64_t length = block_node_length(node->backing);
    *bytes = offset < length ? MIN(e->bytes, length - offset) : 0;
    return 0;
}

/* ---- A request over several places ---- */

typedef struct MappedRead {
    BlockNode *node;
    BlockRequest *parent; /* whose aio is used for worker threads */
    BlockRequest child;
    struct iovec *part;
    uint64_t done;
    MappedExtent extent; /* of what comes next */
} MappedRead;

static void read_step(MappedRead *r);

static void read_finish(MappedRead *r, int ret)
{
    BlockRequest *parent = r->parent;
    g_free(r->part);
    g_free(r);
    block_request_complete_later(parent, ret);
}

static void read_moved_on(MappedRead *r, int ret)
{
    if (ret < 0) {
        read_finish(r, ret);
        return;
    }
    r->done += r->extent.bytes;
    read_step(r);
}

static void read_child_done(BlockRequest *child, int ret)
{
    MappedRead *r = child->opaque;
    block_request_release(child);
    read_moved_on(r, ret);
}

/* From a node below. */
static void read_below(MappedRead *r, BlockNode *below, uint64_t offset)
{
    BlockRequest *parent = r->parent;
    int count;
    g_free(r->part);
    r->part = iov_rest(parent->kiov, parent->kiov_count, r->done, parent->kiov_count, &count);
    uint64_t left = r->extent.bytes;
    int used = 0;
    for (; used < count && left; used++) {
        r->part[used].iov_len = MIN(r->part[used].iov_len, left);
        left -= r->part[used].iov_len;
    }
    block_request_init(&r->child, parent->loop, BLOCK_READ, offset, r->extent.bytes, r->part, used,
                       0, read_child_done, r);
    block_node_submit(below, &r->child);
}

static void call_worker(MappedRead *r, int (*call)(AioRequest *aio),
                        void (*done)(AioRequest *aio, ssize_t res))
{
    AioRequest *aio = &r->parent->aio;
    aio->call = call;
    aio->done = done;
    aio->opaque = r;
    aio_run_worker(r->parent->loop, aio);
}

static int unpack_call(AioRequest *aio)
{
    MappedRead *r = aio->opaque;
    BlockRequest *parent = r->parent;
    Mapped *m = r->node->state;
    g_autofree void *data = g_try_malloc(r->extent.bytes);
    int ret = data ? m->ops->unpack(r->node, parent->position + r->done, data, r->extent.bytes)
                   : -ENOMEM;
    if (ret == 0) {
        iov_copy(parent->kiov, parent->kiov_count, r->done, data, r->extent.bytes, true);
    }
    return ret;
}

static void unpack_done(AioRequest *aio, ssize_t res)
{
    read_moved_on(aio->opaque, (int)res);
}

static void zero_part(const struct iovec *iov, int count, uint64_t skip, uint64_t bytes)
{
    for (int i = 0; i < count && bytes; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        uint64_t n = MIN(bytes, iov[i].iov_len - skip);
        memset((char *)iov[i].iov_base + skip, 0, n);
        bytes -= n;
        skip = 0;
    }
}

/* The extent is known: gets its data. 0: done, 1: under way, or -errno. */
static int read_extent(MappedRead *r)
{
    BlockRequest *parent = r->parent;
    MappedExtent *e = &r->extent;
    uint64_t offset = parent->position + r->done, backing;
    if (e->kind == MAPPED_PACKED) {
        call_worker(r, unpack_call, unpack_done);
        return 1;
    }
    if (e->kind == MAPPED_DATA) {
        read_below(r, e->file, e->host_offset);
        return 1;
    }
    int ret = backing_bytes(r->node, offset, e, &backing);
    if (ret < 0) {
        return ret;
    }
    if (backing) {
        e->bytes = backing;
        read_below(r, r->node->backing, offset);
        return 1;
    }
    zero_part(parent->kiov, parent->kiov_count, r->done, e->bytes);
    r->done += e->bytes;
    return 0;
}

static int load_call(AioRequest *aio)
{
    MappedRead *r = aio->opaque;
    BlockRequest *parent = r->parent;
    return map_range(r->node, parent->position + r->done, parent->bytes - r->done, true, false,
                     &r->extent);
}

/* What was found is used at once: other requests may have taken the page out of the cache again. */
static void load_done(AioRequest *aio, ssize_t res)
{
    MappedRead *r = aio->opaque;
    int ret = res < 0 ? (int)res : read_extent(r);
    if (ret < 0) {
        read_finish(r, ret);
    } else if (ret == 0) {
        read_step(r);
    }
}

static void read_step(MappedRead *r)
{
    BlockRequest *parent = r->parent;
    int ret = 0;
    while (r->done < parent->bytes && ret == 0) {
        ret = map_range(r->node, parent->position + r->done, parent->bytes - r->done, false, false,
                        &r->extent);
        if (ret == -EAGAIN) {
            call_worker(r, load_call, load_done);
            return;
        }
        ret = ret < 0 ? ret : read_extent(r);
    }
    if (ret <= 0) {
        read_finish(r, ret);
    }
}

static void submit_read(BlockNode *node, BlockRequest *request)
{
    MappedExtent e;
    uint64_t backing = 0;
    int ret = map_range(node, request->position, request->bytes, false, false, &e);
    bool whole = ret == 0 && e.bytes == request->bytes && e.kind != MAPPED_PACKED;
    ret = whole ? backing_bytes(node, request->position, &e, &backing) : ret;
    if ((ret < 0 && ret != -EAGAIN) || !request->bytes) {
        block_request_complete_later(request, request->bytes ? ret : 0);
    } else if (whole && e.kind == MAPPED_DATA) {
        request->position = e.host_offset;
        block_node_submit(e.file, request);
    } else if (whole && backing == request->bytes) {
        block_node_submit(node->backing, request);
    } else if (whole && !backing) {
        iov_zero_from(request->kiov, request->kiov_count, 0);
        block_request_complete_later(request, 0);
    } else {
        MappedRead *r = g_new0(MappedRead, 1);
        r->node = node;
        r->parent = request;
        read_step(r);
    }
}

/* ---- Status ---- */

static void fill_status(BlockNode *node, const MappedExtent *e, BlockStatus *status)
{
    *status = (BlockStatus){ .flags = BLOCK_STATUS_ALLOCATED, .bytes = e->bytes };
    switch (e->kind) {
    case MAPPED_DATA:
        status->flags |= BLOCK_STATUS_DATA | BLOCK_STATUS_OFFSET;
        status->file = e->file;
        status->host_offset = e->host_offset;
        break;
    case MAPPED_PACKED:
        status->flags |= BLOCK_STATUS_DATA | BLOCK_STATUS_COMPRESSED;
        break;
    case MAPPED_ZERO:
        status->flags |= BLOCK_STATUS_ZERO;
        break;
    default:
        status->flags = node->driver->has_backing ? 0 : BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_ZERO;
    }
}

static void status_child_done(BlockRequest *child, int ret)
{
    MappedRead *r = child->opaque;
    BlockRequest *parent = r->parent;
    block_request_release(child);
    g_free(r);
    if (ret == 0) {
        parent->status->flags |= BLOCK_STATUS_DATA; /* there is a place for it, as QEMU says too */
    }
    block_request_complete(parent, ret);
}

static void status_found(MappedRead *r)
{
    BlockRequest *parent = r->parent;
    if (r->extent.kind == MAPPED_DATA && r->extent.holes) {
        block_request_init(&r->child, parent->loop, BLOCK_STATUS, r->extent.host_offset,
                           r->extent.bytes, NULL, 0, 0, status_child_done, r);
        r->child.status = parent->status;
        block_node_submit(r->extent.file, &r->child);
        return;
    }
    fill_status(r->node, &r->extent, parent->status);
    read_finish(r, 0);
}

static int status_call(AioRequest *aio)
{
    MappedRead *r = aio->opaque;
    return map_range(r->node, r->parent->position, r->parent->bytes, true, true, &r->extent);
}

static void status_done(AioRequest *aio, ssize_t res)
{
    MappedRead *r = aio->opaque;
    if (res < 0) {
        read_finish(r, (int)res);
    } else {
        status_found(r);
    }
}

static void submit_status(BlockNode *node, BlockRequest *request)
{
    MappedRead *r = g_new0(MappedRead, 1);
    r->node = node;
    r->parent = request;
    int ret = map_range(node, request->position, request->bytes, false, true, &r->extent);
    if (ret == -EAGAIN) {
        call_worker(r, status_call, status_done);
    } else if (ret < 0) {
        read_finish(r, ret);
    } else {
        status_found(r);
    }
}

void mapped_submit(BlockNode *node, BlockRequest *request)
{
    switch (request->kind) {
    case BLOCK_READ:
        submit_read(node, request);
        break;
    case BLOCK_STATUS:
        submit_status(node, request);
        break;
    case BLOCK_FLUSH:
        block_request_complete_later(request, 0);
        break;
    default:
        block_request_complete_later(request, -EPERM);
        break;
    }
}

/* ---- Blocking access ---- */

int mapped_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write)
{
    Mapped *m = node->state;
    char *to = data;
    int ret = write ? -EPERM : 0;
    while (bytes && ret == 0) {
        MappedExtent e;
        uint64_t backing = 0;
        ret = map_range(node, offset, bytes, true, false, &e);
        ret = ret < 0 ? ret : backing_bytes(node, offset, &e, &backing);
        if (ret < 0) {
            break;
        }
        if (e.kind == MAPPED_DATA) {
            ret = node_pread(e.file, e.host_offset, to, e.bytes);
        } else if (e.kind == MAPPED_PACKED) {
            ret = m->ops->unpack(node, offset, to, e.bytes);
        } else if (backing) {
            e.bytes = backing;
            ret = node_pread(node->backing, offset, to, backing);
        } else {
            memset(to, 0, e.bytes);
        }
        to += e.bytes;
        offset += e.bytes;
        bytes -= e.bytes;
    }
    return ret;
}

int mapped_flush(BlockNode *node)
{
    return 0;
}
