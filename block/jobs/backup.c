/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backup: a copy of a disk as it was when the job began. A write to a chunk that was not copied yet
 * waits until it is; a thread of its own sees to that, whether the job is paused or slowed down.
 */
#include <errno.h>
#include "block/bitmap.h"
#include "block/jobs/copy.h"
#include "vmm/util/bytes.h"
#include "block/jobs/mirror.h"
#include "vmm/memory/rcu.h"

#define NAP_NS (20 * 1000 * 1000LL)

/* A write that waits for chunks to be copied. */
typedef struct Held {
    BlockRequest *request;
    BlockNode *node;
    LoopTask task;
    struct Held *next;
} Held;

typedef struct Backup {
    Job job;
    NodeTracker tracker;
    BlockNode *source, *target;
    BlockBackend *target_backend;
    MirrorSync sync;
    BlockBitmap *bitmap; /* frozen until the end, or NULL */
    BackupBitmapMode bitmap_mode;
    bool succeeded; /* nothing is left to do */
    bool began;     /* something was copied */
    GMutex lock;    /* guards what follows */
    GCond cond;
    DirtyMap *todo, *busy;
    Held *held;
    bool stop, failed;
    uint64_t cursor;
    CopyTeam team;
    GThread *urgent;
    bool tracking;
} Backup;

/* ---- Writes of the guest's: loops' threads ---- */

static void pass_held(void *opaque)
{
    Held *held = opaque;
    BlockRequest *request = held->request;
    BlockNode *node = held->node;
    g_free(held);
    block_node_pass(node, request);
}

/* Lock held. */
static bool must_wait(Backup *b, const BlockRequest *request)
{
    uint64_t end = MIN(request->position + request->bytes, b->todo->length);
    for (uint64_t at = request->position; at < end && !b->failed;
         at = ((at >> b->todo->chunk_bits) + 1) << b->todo->chunk_bits) {
        uint64_t chunk = at >> b->todo->chunk_bits;
        if (dirty_map_get(b->todo, chunk) || dirty_map_get(b->busy, chunk)) {
            return true;
        }
    }
    return false;
}

static void track(NodeTracker *tracker, BlockNode *node, BlockRequest *request)
{
    Backup *b = container_of(tracker, Backup, tracker);
    bool writes = request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES ||
                  request->kind == BLOCK_DISCARD;
    if (writes) {
        g_mutex_lock(&b->lock);
        if (must_wait(b, request)) {
            Held *held = g_new0(Held, 1);
            held->request = request;
            held->node = node;
            held->task = (LoopTask)LOOP_TASK_INIT(pass_held, held);
            held->next = b->held;
            b->held = held;
            g_cond_broadcast(&b->cond);
            g_mutex_unlock(&b->lock);
            return;
        }
        g_mutex_unlock(&b->lock);
    }
    block_node_pass(node, request);
}

/* Those whose chunks are all copied go on. Lock held. */
static void release_held(Backup *b)
{
    for (Held **p = &b->held; *p;) {
        Held *held = *p;
        if (must_wait(b, held->request)) {
            p = &held->next;
            continue;
        }
        *p = held->next;
        event_loop_post(held->request->loop, &held->task);
    }
}

/* ---- Copying ---- */

static void copy_chunk(Backup *b, uint64_t chunk, uint8_t *buffer)
{
    uint64_t offset = chunk << b->todo->chunk_bits, bytes = dirty_map_chunk_bytes(b->todo, chunk);
    int ret = copy_range(b->source, b->target, offset, bytes, buffer);
    if (ret < 0) {
        copy_team_fail(&b->team, ret, "cannot copy to the target");
    }
    job_add_progress(&b->job, bytes);
    g_mutex_lock(&b->lock);
    dirty_map_clear(b->busy, chunk);
    b->failed |= ret < 0;
    b->began |= ret == 0;
    if (ret < 0) {
        dirty_map_set(b->todo, offset, bytes); /* it was not */
    }
    release_held(b);
    g_cond_broadcast(&b->cond);
    g_mutex_unlock(&b->lock);
}

/* Lock held. A chunk that a write waits for, and that nobody copies yet. */
static bool take_urgent(Backup *b, uint64_t *chunk)
{
    for (const Held *held = b->held; held; held = held->next) {
        uint64_t first = held->request->position >> b->todo->chunk_bits;
        uint64_t last = (held->request->position + held->request->bytes - 1) >> b->todo->chunk_bits;
        for (uint64_t i = first; i <= last && i < b->todo->chunks; i++) {
            if (dirty_map_get(b->todo, i)) {
                dirty_map_clear(b->todo, i);
                dirty_map_set(b->busy, i << b->busy->chunk_bits, 1);
                *chunk = i;
                return true;
            }
        }
    }
    return false;
}

static void *urgent_thread(void *opaque)
{
    Backup *b = opaque;
    g_autofree uint8_t *buffer = g_malloc(1ULL << b->todo->chunk_bits);
    rcu_thread_register();
    g_mutex_lock(&b->lock);
    while (!b->stop) {
        uint64_t chunk;
        if (!b->failed && take_urgent(b, &chunk)) {
            g_mutex_unlock(&b->lock);
            copy_chunk(b, chunk, buffer);
            g_mutex_lock(&b->lock);
        } else {
            g_cond_wait(&b->cond, &b->lock);
        }
    }
    g_mutex_unlock(&b->lock);
    rcu_thread_unregister();
    return NULL;
}

static bool backup_step(CopyTeam *team, uint8_t *buffer)
{
    Backup *b = container_of(team, Backup, team);
    uint64_t chunk;
    if (!job_enter(&b->job, 1ULL << b->todo->chunk_bits)) {
        return false;
    }
    g_mutex_lock(&b->lock);
    bool found = dirty_map_take(b->todo, NULL, b->cursor, &chunk);
    if (found) {
        dirty_map_set(b->busy, chunk << b->busy->chunk_bits, 1);
        b->cursor = chunk + 1;
    }
    g_mutex_unlock(&b->lock);
    if (found) {
        copy_chunk(b, chunk, buffer);
    }
    job_leave(&b->job);
    return found;
}

static int backup_run(Job *job, GError **error)
{
    Backup *b = (Backup *)job;
    int ret;
    job_set_length(job, dirty_map_count(b->todo) << b->todo->chunk_bits);
    if (b->sync == MIRROR_NONE) {
        while (!job_should_end(job) && !atomic_load(&b->team.ret)) {
            job_nap(job, NAP_NS);
        }
        ret = atomic_load(&b->team.ret);
    } else {
        b->team.step = backup_step;
        b->team.buffer_bytes = 1ULL << b->todo->chunk_bits;
        ret = copy_team_run(&b->team, COPY_THREADS);
        /* The urgent thread may have the last ones. */
        while (ret == 0 && dirty_map_count(b->busy)) {
            job_nap(job, NAP_NS / 10);
        }
        ret = ret ? ret : atomic_load(&b->team.ret);
    }
    ret = ret ? ret : block_flush(b->target);
    if (ret < 0) {
        error_set_errno(error, -ret, "%s", b->team.what ? b->team.what : "cannot flush the target");
    }
    return ret;
}

static bool backup_finish(Job *job, GError **error)
{
    Backup *b = (Backup *)job;
    b->succeeded = true;
    return true;
}

/* What was not copied stays dirty. Nothing tracks writes any more. */
static void mark_rest(Backup *b)
{
    for (uint64_t chunk = 0; chunk < b->todo->chunks; chunk++) {
        if (dirty_map_get(b->todo, chunk)) {
            bitmap_mark(b->bitmap->successor, chunk << b->todo->chunk_bits,
                        1ULL << b->todo->chunk_bits);
        }
    }
}

/* Writes go to the bitmap itself again. */
static void give_bitmap_back(Backup *b)
{
    if (!b->bitmap) {
        return;
    }
    graph_change_begin();
    bool always = b->bitmap_mode == BACKUP_BITMAP_ALWAYS && b->began;
    if (always && !b->succeeded) {
        mark_rest(b);
    }
    bitmap_thaw(b->bitmap, b->bitmap_mode != BACKUP_BITMAP_NEVER && (b->succeeded || always));
    graph_change_end();
}

static void stop_tracking(Backup *b)
{
    if (b->tracking) {
        graph_change_begin();
        b->source->tracker = NULL;
        b->tracking = false;
        graph_change_end();
    }
    if (b->urgent) {
        g_mutex_lock(&b->lock);
        b->stop = true;
        g_cond_broadcast(&b->cond);
        g_mutex_unlock(&b->lock);
        g_thread_join(b->urgent);
        b->urgent = NULL;
    }
}

static void backup_free(Job *job)
{
    Backup *b = (Backup *)job;
    g_mutex_lock(&b->lock);
    b->failed = true; /* whoever waits goes on */
    release_held(b);
    g_mutex_unlock(&b->lock);
    stop_tracking(b);
    give_bitmap_back(b);
    g_clear_pointer(&b->target_backend, block_backend_detach);
    block_node_unref(b->target);
    block_node_unref(b->source);
    dirty_map_free(b->todo);
    dirty_map_free(b->busy);
    g_mutex_clear(&b->lock);
    g_cond_clear(&b->cond);
}

static const JobDriver backup_driver = {
    .type = "backup",
    .size = sizeof(Backup),
    .run = backup_run,
    .finish = backup_finish,
    .free = backup_free,
};

static void mark_bitmap(Backup *b)
{
    BlockBitmap *bitmap = b->bitmap;
    for (uint64_t at = bitmap_next(bitmap, 0, true), end; at < bitmap->bits;
         at = bitmap_next(bitmap, end, true)) {
        end = bitmap_next(bitmap, at, false);
        dirty_map_set(b->todo, at << bitmap->granularity_bits,
                      (end - at) << bitmap->granularity_bits);
    }
}

/* Whole clusters of the target's, so that none of them is left half empty; as little as that where
 * only parts are copied. */
static unsigned chunk_bits(BlockNode *target, MirrorSync sync)
{
    const BlockImageOps *ops = block_node_image_ops(target);
    BlockImageInfo info = { 0 };
    unsigned bits = sync == MIRROR_BITMAP ? 16 : COPY_CHUNK_BITS;
    if (ops && ops->info) {
        ops->info(target, &info);
        json_object_put(info.specific);
    }
    while (1ULL << bits < info.cluster_size) {
        bits++;
    }
    return bits;
}

/* What is to be copied; before the first write is let through. */
static bool mark(Backup *b, GError **error)
{
    uint64_t length = block_node_length(b->source);
    if (b->sync == MIRROR_BITMAP) {
        mark_bitmap(b);
        return true;
    }
    if (b->sync != MIRROR_TOP) {
        dirty_map_set(b->todo, 0, length);
        return true;
    }
    for (uint64_t offset = 0; offset < length;) {
        BlockStatus status;
        int ret = block_status(b->source, offset, MIN(length - offset, 1ULL << 30), &status);
        if (ret < 0) {
            return error_set_errno(error, -ret, "cannot find out what is to be copied");
        }
        if (status.flags & BLOCK_STATUS_ALLOCATED) {
            dirty_map_set(b->todo, offset, status.bytes);
        }
        offset += status.bytes;
    }
    return true;
}

static bool check_nodes(BlockNode *source, BlockNode *target, GError **error)
{
    if (source == target) {
        return error_set(error, "Source and target cannot be the same");
    }
    if (source->tracker) {
        return error_set(error, "Node '%s' is busy: a job follows it already", source->name);
    }
    if (target->readonly) {
        return error_set(error, "Block node '%s' is read-only", target->name);
    }
    return block_node_length(target) == block_node_length(source) ||
           error_set(error, "Source and target image have different sizes");
}

bool backup_start(BlockNode *source, BlockNode *target, MirrorSync sync, BlockBitmap *bitmap,
                  BackupBitmapMode bitmap_mode, const char *device, const JobCommon *common,
                  GError **error)
{
    if (!check_nodes(source, target, error)) {
        return false;
    }
    Job *job = job_new(&backup_driver, common->id, device, common->speed, error);
    if (!job) {
        return false;
    }
    Backup *b = (Backup *)job;
    g_mutex_init(&b->lock);
    g_cond_init(&b->cond);
    b->sync = sync;
    b->tracker.submit = track;
    b->source = block_node_ref(source);
    b->target = block_node_ref(target);
    b->bitmap_mode = bitmap_mode;
    b->todo = dirty_map_new(block_node_length(source), chunk_bits(target, sync));
    b->busy = dirty_map_new(block_node_length(source), b->todo->chunk_bits);
    job->auto_finalize = common->auto_finalize;
    job->auto_dismiss = common->auto_dismiss;
    b->target_backend = block_backend_attach(target->name, job->id, false, false, error);
    graph_change_begin();
    bool ok = b->target_backend && (!bitmap || bitmap_freeze(bitmap, error));
    b->bitmap = ok ? bitmap : NULL;
    ok = ok && mark(b, error);
    if (ok) {
        b->source->tracker = &b->tracker;
        b->tracking = true;
    }
    graph_change_end();
    if (!ok) {
        job_discard(job);
        return false;
    }
    b->urgent = g_thread_new("block backup", urgent_thread, b);
    job_start(job);
    return true;
}
