/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Back ends: what a device holds. Each loop that submits has a BlockQueue of its own with the
 * counters of its requests, so that several loops share no line of memory on the way of a request.
 */
#include <errno.h>
#include "block/backend.h"
#include "block/latency.h"
#include "vmm/trace/trace-block.h"
#include "vmm/util/bytes.h"

static GPtrArray *backends;

#define STAT_ADD(field, n) __atomic_store_n(&(field), (field) + (n), __ATOMIC_RELAXED)
#define STAT_GET(field)    __atomic_load_n(&(field), __ATOMIC_RELAXED)

void backend_foreach(void (*fn)(BlockBackend *backend, void *opaque), void *opaque)
{
    for (guint i = 0; backends && i < backends->len; i++) {
        fn(backends->pdata[i], opaque);
    }
}

/* ---- Queues ---- */

static BlockQueue *find_queue(BlockBackend *backend, EventLoop *loop)
{
    int count = atomic_load_explicit(&backend->queue_count, memory_order_acquire);
    for (int i = 0; i < count; i++) {
        BlockQueue *queue = atomic_load_explicit(&backend->queues[i], memory_order_relaxed);
        if (queue->loop == loop) {
            return queue;
        }
    }
    return NULL;
}

static bool check_loop(BlockBackend *backend, BlockNode *node, EventLoop *loop, GError **error)
{
    BlockNode *protocol = node ? node_protocol(node) : NULL;
    if (protocol && protocol->driver->check_loop &&
        !protocol->driver->check_loop(protocol, loop, error)) {
        g_prefix_error(error, "disk of device '%s': ", backend->device_id);
        return false;
    }
    return true;
}

bool block_backend_add_loop(BlockBackend *backend, EventLoop *loop, GError **error)
{
    if (find_queue(backend, loop)) {
        return true;
    }
    int count = atomic_load(&backend->queue_count);
    if (count == G_N_ELEMENTS(backend->queues)) {
        return error_set(error, "device '%s': more than %d loops submit to its disk",
                         backend->device_id, count);
    }
    if (!check_loop(backend, backend->node, loop, error)) {
        return false;
    }
    BlockQueue *queue = g_new0(BlockQueue, 1);
    queue->loop = loop;
    queue->backend = backend;
    queue->node = backend->node;
    queue->throttle = backend->throttle.group ? &backend->throttle : NULL;
    queue->kept_tail = &queue->kept;
    queue->held_tail = &queue->held;
    latency_add_queue(queue);
    atomic_store(&backend->queues[count], queue);
    atomic_store_explicit(&backend->queue_count, count + 1, memory_order_release);
    return true;
}

/* ---- Requests ---- */

/* Range, vector and permission; 0 or -errno. */
static int check_request(BlockBackend *backend, BlockNode *node, const BlockRequest *request)
{
    bool write = request->op != BLOCK_READ && request->op != BLOCK_FLUSH &&
                 request->op != BLOCK_STATUS;
    if (G_UNLIKELY(!node)) {
        return -ENOMEDIUM;
    }
    if (request->op == BLOCK_FLUSH) {
        return 0;
    }
    if (!range_inside(request->offset, request->bytes, block_node_length(node)) ||
        (request->op <= BLOCK_WRITE && request->bytes > INT32_MAX)) {
        return -EINVAL;
    }
    return write && (block_backend_readonly(backend) || node->readonly) ? -EPERM : 0;
}

/* Requests that are done without their driver: true and *ret. */
static bool is_trivial(const BlockNode *node, const BlockRequest *request, int *ret)
{
    *ret = 0;
    return (request->kind != BLOCK_FLUSH && request->bytes == 0) ||
           (request->kind == BLOCK_DISCARD && !node->discard_unmap) ||
           (request->kind == BLOCK_FLUSH && node->readonly);
}

static void complete_request(BlockRequest *request, int ret);

static void prepare(BlockBackend *backend, BlockNode *node, BlockRequest *request)
{
    request->node = node;
    request->complete = complete_request;
    request->kind = request->op;
    request->kflags = request->flags;
    request->position = request->offset;
    request->progress = 0;
    request->kiov = request->iov;
    request->kiov_count = request->iov_count;
    request->rest = NULL;
    request->guard = NULL;
    request->format = NULL;
    request->tracked = NULL;
    if (request->op == BLOCK_READ || G_UNLIKELY(!node)) {
        return;
    }
    if (!atomic_load_explicit(&backend->write_cache, memory_order_relaxed)) {
        request->kflags |= BLOCK_REQ_FUA;
    }
    if (G_UNLIKELY(node->detect_zeroes) && request->op == BLOCK_WRITE &&
        iov_is_zero(request->iov, request->iov_count)) {
        request->kind = BLOCK_WRITE_ZEROES;
        request->kflags |= node->detect_zeroes == DETECT_ZEROES_UNMAP ? BLOCK_REQ_UNMAP : 0;
    }
    if (!node->discard_unmap) {
        request->kflags &= ~(unsigned)BLOCK_REQ_UNMAP;
    }
}

/* The limits let it go. */
static void go_on(void *opaque)
{
    BlockRequest *request = opaque;
    block_node_submit(request->node, request);
}

static void start_request(BlockBackend *backend, BlockRequest *request)
{
    BlockQueue *queue = request->queue;
    BlockNode *node = queue->node;
    if (G_UNLIKELY(queue->paused)) {
        request->next = NULL;
        *queue->held_tail = request;
        queue->held_tail = &request->next;
        return;
    }
    int ret = check_request(backend, node, request);
    prepare(backend, node, request);
    queue->in_flight++;
    if (G_UNLIKELY(ret < 0)) {
        trace_block_refused(request, request->op, ret);
        request->kflags |= BLOCK_REQ_REFUSED;
        block_request_complete_later(request, ret);
    } else if (G_UNLIKELY(is_trivial(node, request, &ret))) {
        block_request_complete_later(request, ret);
    } else if (!G_UNLIKELY(queue->throttle) || throttle_pass(queue->throttle, request, go_on)) {
        block_node_submit(node, request);
    } else {
        trace_block_throttled(request, request->op, request->bytes);
    }
}

void block_submit(BlockBackend *backend, BlockRequest *request)
{
    BlockQueue *queue = find_queue(backend, event_loop_current());
    g_assert(queue); /* block_backend_add_loop() was forgotten */
    request->backend = backend;
    request->queue = queue;
    request->loop = queue->loop;
    request->start_ns = event_loop_now(queue->loop);
    trace_block_submit(request, queue->node ? queue->node->name : NULL, request->op,
                       request->offset, request->bytes, request->flags);
    start_request(backend, request);
}

/* One of the kinds of requests: how it went. */
#define ACCOUNT(s, kind, ns, failed, refused)                                                      \
    do {                                                                                           \
        STAT_ADD((s)->kind##_time_ns, ns);                                                         \
        STAT_ADD((s)->failed_##kind, (failed) && !(refused));                                      \
        STAT_ADD((s)->invalid_##kind, refused);                                                    \
        STAT_ADD((s)->kind##_ops, !(failed));                                                      \
    } while (0)

static void account(BlockQueue *queue, const BlockRequest *request, int ret)
{
    BlockStats *s = &queue->stats;
    int64_t now = event_loop_now(queue->loop);
    uint64_t ns = now - request->start_ns, done = ret < 0 ? 0 : request->bytes;
    trace_block_complete(request, request->op, request->offset, request->bytes, ret, ns);
    bool failed = ret < 0, refused = request->kflags & BLOCK_REQ_REFUSED;
    __atomic_store_n(&s->last_access_ns, (uint64_t)now, __ATOMIC_RELAXED);
    if (G_UNLIKELY(queue->latency) && !refused) {
        latency_count(queue->latency, request->op, ns);
    }
    switch (request->op) {
    case BLOCK_READ:
        ACCOUNT(s, rd, ns, failed, refused);
        STAT_ADD(s->rd_bytes, done);
        break;
    case BLOCK_WRITE:
    case BLOCK_WRITE_ZEROES:
        ACCOUNT(s, wr, ns, failed, refused);
        STAT_ADD(s->wr_bytes, done);
        if (!failed && request->offset + request->bytes > s->wr_highest_offset) {
            __atomic_store_n(&s->wr_highest_offset, request->offset + request->bytes,
                             __ATOMIC_RELAXED);
        }
        break;
    case BLOCK_FLUSH:
        ACCOUNT(s, flush, ns, failed, refused);
        break;
    case BLOCK_STATUS:
        break;
    default:
        ACCOUNT(s, unmap, ns, failed, refused);
        STAT_ADD(s->unmap_bytes, done);
        break;
    }
}

/* ---- Completion ---- */

static void leave_queue(BlockQueue *queue)
{
    queue->in_flight--;
    if (G_UNLIKELY(queue->drain) && !queue->in_flight) {
        queue_drained(queue);
    }
}

void block_backend_enter(BlockBackend *backend)
{
    BlockQueue *queue = find_queue(backend, event_loop_current());
    g_assert(queue); /* block_backend_add_loop() was forgotten */
    queue->in_flight++;
}

void block_backend_leave(BlockBackend *backend)
{
    leave_queue(find_queue(backend, event_loop_current()));
}

static void complete_request(BlockRequest *request, int ret)
{
    BlockQueue *queue = request->queue;
    block_request_release(request);
    if (G_UNLIKELY(ret < 0) && ret != -ECANCELED && !(request->kflags & BLOCK_REQ_REFUSED) &&
        backend_handle_error(queue->backend, request, &ret)) {
        trace_block_kept(request, request->op, ret);
        request->next = NULL;
        *queue->kept_tail = request;
        queue->kept_tail = &request->next;
    } else {
        account(queue, request, ret);
        request->done(request, ret);
    }
    leave_queue(queue);
}

void queue_submit(BlockQueue *queue, BlockRequest *list)
{
    while (list) {
        BlockRequest *request = list;
        list = request->next;
        start_request(queue->backend, request);
    }
}

/* ---- Limits ---- */

static void throttle_queue(void *opaque)
{
    BlockQueue *queue = opaque;
    queue->throttle = queue->backend->throttle.group ? &queue->backend->throttle : NULL;
}

static void unthrottle_queue(void *opaque)
{
    ((BlockQueue *)opaque)->throttle = NULL;
}

void block_backend_set_throttle(BlockBackend *backend, ThrottleGroup *group)
{
    if (backend->throttle.group != group) {
        backend_call_queues(backend, unthrottle_queue);
        throttle_member_leave(&backend->throttle);
        if (group) {
            throttle_member_join(&backend->throttle, group);
        }
        backend_call_queues(backend, throttle_queue);
    }
}

/* ---- Media ---- */

typedef struct NodeSwitch {
    BlockQueue *queue;
    BlockNode *node;
} NodeSwitch;

static void switch_queue(void *opaque)
{
    NodeSwitch *to = opaque;
    to->queue->node = to->node;
}

static void switch_queues(BlockBackend *backend, BlockNode *node)
{
    int count = atomic_load(&backend->queue_count);
    for (int i = 0; i < count; i++) {
        NodeSwitch to = { atomic_load(&backend->queues[i]), node };
        event_loop_call(to.queue->loop, switch_queue, &to);
    }
}

bool backend_check_loops(BlockBackend *backend, BlockNode *node, GError **error)
{
    int count = atomic_load(&backend->queue_count);
    for (int i = 0; i < count; i++) {
        BlockQueue *queue = atomic_load(&backend->queues[i]);
        if (!check_loop(backend, node, queue->loop, error)) {
            return false;
        }
    }
    return true;
}

/* The medium is in its place; takes the permissions for it. */
static bool backend_permit(BlockBackend *backend, GError **error)
{
    if (!node_check_conflict(backend, error)) {
        return false;
    }
    if (!node_update_permissions(backend->node, error)) {
        g_prefix_error(error, "device '%s': ", backend->device_id);
        return false;
    }
    return true;
}

bool backend_insert(BlockBackend *backend, BlockNode *node, GError **error)
{
    bool readonly = backend->readonly_wanted || node->readonly ||
                    (backend->drive && backend->drive->readonly);
    g_assert(!backend->node);
    if (!backend_check_loops(backend, node, error)) {
        return false;
    }
    atomic_store(&backend->readonly, readonly);
    backend->node = node;
    if (!backend_permit(backend, error)) {
        backend->node = NULL;
        node_update_permissions(node, NULL); /* gives back what it got of them */
        return false;
    }
    block_node_ref(node);
    backend->limits = node->limits;
    atomic_store(&backend->length, block_node_length(node));
    switch_queues(backend, node);
    return true;
}

bool backend_replace(BlockBackend *backend, BlockNode *to, GError **error)
{
    BlockNode *from = backend->node;
    if (!backend_check_loops(backend, to, error)) {
        return false;
    }
    backend->node = to;
    if (!backend_permit(backend, error)) {
        backend->node = from;
        node_update_permissions(to, NULL);
        return false;
    }
    block_node_ref(to);
    backend->limits = to->limits;
    atomic_store(&backend->length, block_node_length(to));
    switch_queues(backend, to);
    node_update_permissions(from, NULL);
    block_node_unref(from);
    return true;
}

void backend_remove(BlockBackend *backend)
{
    BlockNode *node = backend->node;
    switch_queues(backend, NULL);
    block_backend_cancel_kept(backend);
    if (!node) {
        return;
    }
    backend->node = NULL;
    atomic_store(&backend->length, 0);
    node_update_permissions(node, NULL); /* gives back only */
    if (!backend->readonly) {
        block_flush(node);
    }
    block_node_unref(node);
}

/* ---- Attaching ---- */

static bool find_target(const char *name, Drive **drive, BlockNode **node, const char *device_id,
                        GError **error)
{
    *drive = drive_find(name);
    if (!*drive) {
        *node = block_node_find(name);
        return *node || error_set(error, "device '%s': there is no drive or block node '%s'",
                                  device_id, name);
    }
    *node = (*drive)->node;
    return !(*drive)->claimed ||
           error_set(error, "device '%s': drive '%s' belongs to another device already", device_id,
                     name);
}

static void backend_free(BlockBackend *backend)
{
    int count = atomic_load(&backend->queue_count);
    throttle_member_leave(&backend->throttle);
    g_ptr_array_remove(backends, backend);
    latency_free(backend);
    for (int i = 0; i < count; i++) {
        g_free(atomic_load(&backend->queues[i]));
    }
    g_free(backend->device_id);
    g_free(backend->qom_path);
    g_free(backend);
}

static BlockBackend *backend_new(const char *device_id, Drive *drive, bool readonly, bool share_rw)
{
    BlockBackend *backend = g_new0(BlockBackend, 1);
    backend->drive = drive;
    backend->device_id = g_strdup(device_id);
    backend->readonly_wanted = readonly;
    backend->readonly = readonly || (drive && drive->readonly);
    backend->share_rw = share_rw;
    backend->limits =
        (BlockLimits){ .request_alignment = 1, .logical_block = 512, .physical_block = 512 };
    atomic_store(&backend->write_cache, !(drive && drive->writethrough));
    atomic_store(&backend->rerror, drive ? drive->rerror : BLOCK_ERROR_REPORT);
    atomic_store(&backend->werror, drive ? drive->werror : BLOCK_ERROR_ENOSPC);
    if (!backends) {
        backends = g_ptr_array_new();
    }
    g_ptr_array_add(backends, backend);
    return backend;
}

static BlockBackend *attach(const char *device_id, Drive *drive, BlockNode *node, bool readonly,
                            bool share_rw, GError **error)
{
    BlockBackend *backend = backend_new(device_id, drive, readonly, share_rw);
    if (node && !backend_insert(backend, node, error)) {
        backend_free(backend);
        return NULL;
    }
    if (drive) {
        drive->claimed = true;
        block_backend_set_throttle(backend, drive->throttle);
    }
    return backend;
}

BlockBackend *block_backend_attach(const char *drive_name, const char *device_id, bool readonly,
                                   bool share_rw, GError **error)
{
    Drive *drive;
    BlockNode *node;
    const char *id = device_id && *device_id ? device_id : drive_name;
    if (!find_target(drive_name, &drive, &node, id, error)) {
        return NULL;
    }
    if (!node) {
        error_set(error, "device '%s': drive '%s' is empty: give it file=", id, drive_name);
        return NULL;
    }
    return attach(id, drive, node, readonly, share_rw, error);
}

BlockBackend *block_backend_attach_removable(const char *drive_name, const char *device_id,
                                             bool readonly, bool has_tray, GError **error)
{
    Drive *drive = NULL;
    BlockNode *node = NULL;
    const char *id = device_id && *device_id ? device_id : drive_name ? drive_name : "";
    if (drive_name && !find_target(drive_name, &drive, &node, id, error)) {
        return NULL;
    }
    BlockBackend *backend = attach(id, drive, node, readonly, false, error);
    if (backend) {
        backend->removable = true;
        backend->has_tray = has_tray;
    }
    return backend;
}

BlockBackend *backend_attach_job(BlockNode *node, const char *job_id, bool inside, GError **error)
{
    BlockBackend *backend = backend_new(job_id, NULL, false, false);
    backend->of_job = true;
    backend->inside = inside;
    if (!backend_insert(backend, node, error)) {
        backend_free(backend);
        return NULL;
    }
    return backend;
}

void block_backend_detach(BlockBackend *backend)
{
    backend_remove(backend);
    if (backend->drive) {
        backend->drive->claimed = false;
    }
    backend_free(backend);
}

/* ---- Attributes ---- */

void block_backend_set_events(BlockBackend *backend, const BlockBackendEvents *events, void *opaque)
{
    backend->events = events;
    backend->events_opaque = opaque;
}

void block_backend_set_error_actions(BlockBackend *backend, BlockErrorAction rerror,
                                     BlockErrorAction werror)
{
    atomic_store(&backend->rerror, rerror);
    atomic_store(&backend->werror, werror);
}

BlockNode *block_backend_node(BlockBackend *backend)
{
    return backend->node;
}

const Drive *block_backend_drive(BlockBackend *backend)
{
    return backend->drive;
}

uint64_t block_backend_length(BlockBackend *backend)
{
    return atomic_load_explicit(&backend->length, memory_order_relaxed);
}

bool block_backend_readonly(const BlockBackend *backend)
{
    return atomic_load_explicit(&backend->readonly, memory_order_relaxed);
}

const BlockLimits *block_backend_limits(BlockBackend *backend)
{
    return &backend->limits;
}

bool block_backend_write_cache(const BlockBackend *backend)
{
    return atomic_load(&backend->write_cache);
}

void block_backend_set_write_cache(BlockBackend *backend, bool on)
{
    atomic_store(&backend->write_cache, on);
}

void block_backend_stats(BlockBackend *backend, BlockStats *stats)
{
    int count = atomic_load(&backend->queue_count);
    memset(stats, 0, sizeof(*stats));
    for (int i = 0; i < count; i++) {
        /* All fields are uint64_t; all but the last two are sums. */
        uint64_t *from = (uint64_t *)&atomic_load(&backend->queues[i])->stats;
        uint64_t *to = (uint64_t *)stats;
        size_t fields = sizeof(*stats) / sizeof(uint64_t);
        for (size_t f = 0; f < fields; f++) {
            uint64_t value = STAT_GET(from[f]);
            to[f] = f + 2 < fields ? to[f] + value : MAX(to[f], value);
        }
    }
}
