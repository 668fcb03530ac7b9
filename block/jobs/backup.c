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
    CopyWay way;
    JobOnError on_source, on_target;
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

/* `urgent`: a write of the guest's waits for it, and never for the user: a failure ends the job
 * whatever its policies are. False: it failed, and is to be copied again. */
static bool copy_chunk(Backup *b, uint64_t chunk, uint8_t *buffer, bool urgent)
{
    uint64_t offset = chunk << b->todo->chunk_bits, bytes = dirty_map_chunk_bytes(b->todo, chunk);
    bool reading, again = false;
    int ret = copy_range(&b->way, offset, bytes, buffer, &reading);
    if (ret < 0) {
        JobOnError policy = urgent ? JOB_ON_ERROR_REPORT : reading ? b->on_source : b->on_target;
        again = job_io_error(&b->job, policy, reading, ret);
    } else {
        job_add_progress(&b->job, bytes);
    }
    if (ret < 0 && !again) {
        copy_team_fail(&b->team, ret);
    }
    g_mutex_lock(&b->lock);
    dirty_map_clear(b->busy, chunk);
    b->failed |= ret < 0 && !again;
    b->began |= ret == 0;
    if (ret < 0) {
        dirty_map_set(b->todo, offset, bytes); /* it was not */
    }
    release_held(b);
    g_cond_broadcast(&b->cond);
    g_mutex_unlock(&b->lock);
    return !again;
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
    g_autofree uint8_t *buffer = g_malloc(b->team.buffer_bytes);
    rcu_thread_register();
    g_mutex_lock(&b->lock);
    while (!b->stop) {
        uint64_t chunk;
        if (!b->failed && take_urgent(b, &chunk)) {
            g_mutex_unlock(&b->lock);
            copy_chunk(b, chunk, buffer, true);
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
    bool copied = !found || copy_chunk(b, chunk, buffer, false);
    job_leave(&b->job);
    if (!copied) {
        job_nap(&b->job, NAP_NS);
    }
    return found;
}

/* Others may still copy the last chunks, and one that failed may have come back. */
static bool is_copied(Backup *b)
{
    g_mutex_lock(&b->lock);
    bool copied = !dirty_map_count(b->todo) && !dirty_map_count(b->busy);
    g_mutex_unlock(&b->lock);
    return copied;
}

/* Nothing is copied but what is about to be overwritten, until a cancel. */
static void wait_for_end(Backup *b)
{
    while (!atomic_load(&b->team.ret) && job_enter(&b->job, 0)) {
        job_leave(&b->job);
        job_nap(&b->job, NAP_NS);
    }
}

static int backup_run(Job *job, GError **error)
{
    Backup *b = (Backup *)job;
    if (b->sync == MIRROR_NONE) {
        wait_for_end(b);
    } else {
        b->team.step = backup_step;
    }
    while (b->sync != MIRROR_NONE && !atomic_load(&b->team.ret) && !is_copied(b)) {
        if (!job_enter(job, 0)) {
            return -ECANCELED;
        }
        job_leave(job);
        copy_team_run(&b->team, COPY_THREADS);
        if (!is_copied(b)) {
            job_nap(job, NAP_NS / 10);
        }
    }
    int ret = atomic_load(&b->team.ret);
    return ret ? ret : block_flush(b->target);
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
    for (uint64_t at = bitmap_next(bitmap, 0, bitmap->bits, true), end; at < bitmap->bits;
         at = bitmap_next(bitmap, end, bitmap->bits, true)) {
        end = bitmap_next(bitmap, at, bitmap->bits, false);
        dirty_map_set(b->todo, at << bitmap->granularity_bits,
                      (end - at) << bitmap->granularity_bits);
    }
}

/* Whole clusters of the target's, so that none of them is left half empty; as little as that where
 * only parts are copied. */
static unsigned chunk_bits(BlockNode *target, MirrorSync sync)
{
    BlockNode *image = graph_skip_filters(target);
    const BlockImageOps *ops = block_node_image_ops(image);
    BlockImageInfo info = { 0 };
    unsigned bits = sync == MIRROR_BITMAP ? 16 : COPY_CHUNK_BITS;
    if (ops && ops->info) {
        ops->info(image, &info);
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
    BlockNode *below = graph_skip_filters(b->source)->backing;
    if (b->sync == MIRROR_BITMAP) {
        mark_bitmap(b);
        return true;
    }
    if (b->sync != MIRROR_TOP || !below) {
        dirty_map_set(b->todo, 0, length);
        return true;
    }
    for (uint64_t offset = 0; offset < length;) {
        BlockStatus status;
        int ret = block_status_above(b->source, below, offset, MIN(length - offset, 1ULL << 30),
                                     &status, NULL);
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

/* Of a bitmap's backup the job's length is what the bitmap says; else it is the disk's, of which a
 * part may need no copying. */
static void tell_length(Backup *b)
{
    uint64_t todo = dirty_map_bytes(b->todo), whole = b->todo->length;
    job_set_length(&b->job, b->sync == MIRROR_BITMAP ? todo : whole);
    job_add_progress(&b->job, b->sync == MIRROR_TOP ? whole - todo : 0);
}

static bool check_nodes(BlockNode *source, BlockNode *target, GError **error)
{
    if (source == target) {
        return error_set(error, "the target is the disk itself: a backup needs another node");
    }
    if (target->readonly) {
        return error_set(error, "the target was opened read-only: a backup is written to");
    }
    return block_node_length(target) == block_node_length(source) ||
           error_set(
               error,
               "source and target are not of the same size: make the target as large as the disk");
}

/* What the target compresses in; 0: it does not. */
static uint32_t compressed_cluster(BlockNode *target)
{
    BlockNode *image = graph_skip_filters(target);
    const BlockImageOps *ops = block_node_image_ops(image);
    if (!ops || !ops->can_compress || image->data_file) {
        return 0;
    }
    BlockImageInfo info = block_image_describe(image);
    json_object_put(info.specific);
    return info.encrypted ? 0 : info.cluster_size;
}

static bool check_compress(BlockNode *target, bool compress, uint32_t *cluster, GError **error)
{
    *cluster = compress ? compressed_cluster(target) : 0;
    return !compress || *cluster ||
           error_set(error, "compress: the target '%s' is not of a format that compresses",
                     job_node_label(target));
}

static Backup *backup_new(BlockNode *source, BlockNode *target, const BackupOptions *options,
                          GError **error)
{
    const JobCommon *common = &options->common;
    unsigned bits = copy_target_bits(target, chunk_bits(target, options->sync));
    Job *job = job_new(&backup_driver, common->id, source, common->speed, error);
    if (!job) {
        return NULL;
    }
    Backup *b = (Backup *)job;
    g_mutex_init(&b->lock);
    g_cond_init(&b->cond);
    b->sync = options->sync;
    b->tracker.submit = track;
    b->source = block_node_ref(source);
    b->target = block_node_ref(target);
    b->bitmap_mode = options->bitmap_mode;
    b->todo = dirty_map_new(block_node_length(source), bits);
    b->busy = dirty_map_new(block_node_length(source), bits);
    job->auto_finalize = common->auto_finalize;
    job->auto_dismiss = common->auto_dismiss;
    b->way = (CopyWay){ source, target, BLOCK_REQ_UNMAP, 0 };
    b->on_source = common->on_source;
    b->on_target = common->on_target;
    b->team.buffer_bytes = 1ULL << bits;
    return b;
}

bool backup_start(BlockNode *source, BlockNode *target, const BackupOptions *options,
                  GError **error)
{
    BlockBitmap *bitmap = options->bitmap;
    uint32_t cluster;
    Backup *b = check_nodes(source, target, error) &&
                        check_compress(target, options->compress, &cluster, error)
                    ? backup_new(source, target, options, error)
                    : NULL;
    if (!b) {
        return false;
    }
    Job *job = &b->job;
    b->way.compressed = cluster;
    if (job_name_filter(job, JOB_FILTER_BACKUP, options->common.filter, source, error) &&
        job_claim(job, target, error)) {
        b->target_backend = backend_attach_job(target, job->id, false, error);
    }
    graph_change_begin();
    bool ok = b->target_backend && (!bitmap || bitmap_freeze(bitmap, error));
    b->bitmap = ok ? bitmap : NULL;
    ok = ok && mark(b, error);
    if (ok) {
        tell_length(b);
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
