/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mirror: a copy of a disk that follows what is written to it until both are the same, and then
 * takes its place, or not. Committing the active image is a mirror into its own chain.
 *
 * A write marks its chunks when it has ended and before the guest hears of it; a thread takes a
 * mark away before it reads. So a chunk that changed while it was copied is copied again.
 */
#include "block/jobs/mirror.h"

#include <errno.h>
#include "block/jobs/copy.h"
#include "vmm/util/bytes.h"

#define NAP_NS      (20 * 1000 * 1000LL)
#define LAST_CHUNKS 64 /* so many may be copied while the guest's disk stands still */

typedef struct Mirror {
    Job job;
    NodeTracker tracker;
    BlockNode *source, *target;
    BlockBackend *target_backend; /* holds the permissions and locks */
    MirrorOptions options;
    DirtyMap *dirty, *busy;
    GMutex lock; /* taking a chunk and marking it busy is one step */
    uint64_t cursor;
    CopyTeam team;
    bool tracking;
} Mirror;

/* ---- Following writes: loops' threads ---- */

static void tracked_done(BlockRequest *request, int ret)
{
    Mirror *m = request->tracked;
    dirty_map_set(m->dirty, request->offset, request->bytes);
    request->tracked = NULL;
    request->complete = request->tracked_complete;
    request->complete(request, ret);
}

static void track(NodeTracker *tracker, BlockNode *node, BlockRequest *request)
{
    Mirror *m = container_of(tracker, Mirror, tracker);
    if (request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES ||
        request->kind == BLOCK_DISCARD) {
        request->tracked = m;
        request->tracked_complete = request->complete;
        request->complete = tracked_done;
    }
    block_node_pass(node, request);
}

static void start_tracking(Mirror *m)
{
    graph_change_begin();
    m->source->tracker = &m->tracker;
    m->tracking = true;
    graph_change_end();
}

/* ---- Copying: the job's threads ---- */

static bool take_chunk(Mirror *m, uint64_t *chunk)
{
    g_mutex_lock(&m->lock);
    bool found = dirty_map_take(m->dirty, m->busy, m->cursor, chunk);
    if (found) {
        dirty_map_set(m->busy, *chunk << m->busy->chunk_bits, 1);
        m->cursor = *chunk + 1;
    }
    g_mutex_unlock(&m->lock);
    return found;
}

static int copy_chunk(Mirror *m, uint64_t chunk, uint8_t *buffer)
{
    uint64_t offset = chunk << m->dirty->chunk_bits;
    uint64_t bytes = dirty_map_chunk_bytes(m->dirty, chunk);
    int ret = copy_range(m->source, m->target, offset, bytes, buffer);
    if (ret < 0) {
        dirty_map_set(m->dirty, offset, bytes);
    }
    dirty_map_clear(m->busy, chunk);
    return ret;
}

/* Both sides are the same as far as is known. */
static bool is_clean(Mirror *m)
{
    g_mutex_lock(&m->lock);
    bool clean = !dirty_map_count(m->dirty) && !dirty_map_count(m->busy);
    g_mutex_unlock(&m->lock);
    return clean;
}

/* One chunk; false: none is to be had now. */
static bool copy_one(Mirror *m, uint8_t *buffer)
{
    uint64_t chunk;
    if (!take_chunk(m, &chunk)) {
        return false;
    }
    int ret = copy_chunk(m, chunk, buffer);
    if (ret < 0) {
        copy_team_fail(&m->team, ret, "cannot copy to the target");
    }
    job_add_progress(&m->job, dirty_map_chunk_bytes(m->dirty, chunk));
    return true;
}

static bool mirror_step(CopyTeam *team, uint8_t *buffer)
{
    Mirror *m = container_of(team, Mirror, team);
    if (!job_enter(&m->job, dirty_map_count(m->dirty) ? 1ULL << m->dirty->chunk_bits : 0)) {
        return false;
    }
    bool copied = copy_one(m, buffer);
    job_leave(&m->job);
    if (copied) {
        return true;
    }
    if (is_clean(m)) {
        job_set_ready(&m->job);
    }
    if (m->job.ready && job_should_end(&m->job) && dirty_map_count(m->dirty) <= LAST_CHUNKS) {
        return false;
    }
    job_nap(&m->job, NAP_NS);
    return true;
}

/* What has to be copied at first. */
static int mark_initial(Mirror *m)
{
    uint64_t length = block_node_length(m->source);
    BlockNode *base =
        m->options.sync == MIRROR_TOP ? (m->options.commit ? m->target : m->source->backing) : NULL;
    if (m->options.sync == MIRROR_NONE) {
        return 0;
    }
    for (uint64_t offset = 0; offset < length;) {
        BlockStatus status;
        if (!job_enter(&m->job, 0)) {
            return -ECANCELED;
        }
        int ret = block_status_above(m->source, base, offset, MIN(length - offset, 1ULL << 30),
                                     &status, NULL);
        job_leave(&m->job);
        if (ret < 0) {
            return ret;
        }
        bool wanted = base || m->options.commit
                          ? status.flags & BLOCK_STATUS_ALLOCATED
                          : status.flags & BLOCK_STATUS_DATA || !m->options.target_is_zero;
        if (wanted) {
            dirty_map_set(m->dirty, offset, status.bytes);
        }
        offset += status.bytes;
    }
    return 0;
}

static int mirror_run(Job *job, GError **error)
{
    Mirror *m = (Mirror *)job;
    int ret = mark_initial(m);
    job_set_length(job, dirty_map_count(m->dirty) << m->dirty->chunk_bits);
    m->team.step = mirror_step;
    m->team.buffer_bytes = 1ULL << m->dirty->chunk_bits;
    ret = ret ? ret : copy_team_run(&m->team, COPY_THREADS);
    if (ret < 0) {
        error_set_errno(error, -ret, "%s",
                        m->team.what ? m->team.what : "cannot find out what is to be copied");
    }
    return ret;
}

/* ---- The end: main thread ---- */

/* The guest's disk stands still. */
static int copy_rest(Mirror *m)
{
    g_autofree uint8_t *buffer = g_malloc(1ULL << m->dirty->chunk_bits);
    uint64_t chunk;
    int ret = 0;
    while (ret == 0 && take_chunk(m, &chunk)) {
        ret = copy_chunk(m, chunk, buffer);
    }
    return ret ? ret : block_flush(m->target);
}

static void stop_tracking(Mirror *m)
{
    if (m->tracking) {
        m->source->tracker = NULL;
        m->tracking = false;
    }
}

static void drop_target_backend(Mirror *m)
{
    g_clear_pointer(&m->target_backend, block_backend_detach);
}

static bool mirror_finish(Job *job, GError **error)
{
    Mirror *m = (Mirror *)job;
    graph_change_begin();
    int ret = copy_rest(m);
    bool ok = ret == 0 || error_set_errno(error, -ret, "cannot copy the last of the disk");
    stop_tracking(m);
    if (ok && job->complete_asked) {
        drop_target_backend(m);
        ok = graph_replace(m->source, m->target, error);
    }
    graph_change_end();
    return ok;
}

static void mirror_free(Job *job)
{
    Mirror *m = (Mirror *)job;
    if (m->tracking) {
        graph_change_begin();
        stop_tracking(m);
        graph_change_end();
    }
    drop_target_backend(m);
    if (m->target) {
        block_node_unref(m->target);
    }
    if (m->source) {
        block_node_unref(m->source);
    }
    dirty_map_free(m->dirty);
    dirty_map_free(m->busy);
    g_mutex_clear(&m->lock);
}

static const JobDriver mirror_driver = {
    .type = "mirror",
    .size = sizeof(Mirror),
    .run = mirror_run,
    .finish = mirror_finish,
    .free = mirror_free,
    .can_complete = true,
};

static const JobDriver active_commit_driver = {
    .type = "commit",
    .size = sizeof(Mirror),
    .run = mirror_run,
    .finish = mirror_finish,
    .free = mirror_free,
    .can_complete = true,
};

static bool check_nodes(BlockNode *source, BlockNode *target, const MirrorOptions *options,
                        GError **error)
{
    if (source == target) {
        return error_set(error, "Can't mirror node into itself");
    }
    if (source->tracker) {
        return error_set(error, "Node '%s' is busy: a job follows it already", source->name);
    }
    if (target->readonly) {
        return error_set(error, "Block node '%s' is read-only", target->name);
    }
    if (!options->commit && block_node_length(target) != block_node_length(source)) {
        return error_set(error, "Source and target image have different sizes");
    }
    return true;
}

bool mirror_start(BlockNode *source, BlockNode *target, const char *device,
                  const MirrorOptions *options, GError **error)
{
    unsigned bits = COPY_CHUNK_BITS;
    if (!check_nodes(source, target, options, error)) {
        return false;
    }
    Job *job = job_new(options->commit ? &active_commit_driver : &mirror_driver, options->common.id,
                       device, options->common.speed, error);
    if (!job) {
        return false;
    }
    Mirror *m = (Mirror *)job;
    g_mutex_init(&m->lock);
    m->options = *options;
    m->tracker.submit = track;
    m->source = block_node_ref(source);
    m->target = block_node_ref(target);
    while (options->granularity && bits > 9 && 1ULL << bits > options->granularity) {
        bits--;
    }
    m->dirty = dirty_map_new(block_node_length(source), bits);
    m->busy = dirty_map_new(block_node_length(source), bits);
    job->auto_finalize = options->common.auto_finalize;
    job->auto_dismiss = options->common.auto_dismiss;
    if (!options->commit) {
        m->target_backend = block_backend_attach(target->name, job->id, false, false, error);
        if (!m->target_backend) {
            job_discard(job);
            return false;
        }
    }
    start_tracking(m);
    job_start(job);
    return true;
}
