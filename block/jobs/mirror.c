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
#include "block/jobs/mirror_state.h"
#include "vmm/util/bytes.h"

#define NAP_NS       (20 * 1000 * 1000LL)
#define LAST_BYTES   (64ULL << 20) /* so many may be copied while the guest's disk stands still */
#define DEFAULT_BITS 16
#define MOST_BUFFER  (16ULL << 20) /* of a thread, whatever buf-size says */

/* ---- Following writes: loops' threads ---- */

static void tracked_done(BlockRequest *request, int ret)
{
    Mirror *m = request->tracked;
    dirty_map_set(m->dirty, request->tracked_offset, request->bytes);
    request->tracked = NULL;
    request->complete = request->tracked_complete;
    request->complete(request, ret);
}

static void track(NodeTracker *tracker, BlockNode *node, BlockRequest *request)
{
    Mirror *m = container_of(tracker, Mirror, tracker);
    if (request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES ||
        request->kind == BLOCK_DISCARD) {
        if (m->options.write_blocking && mirror_write_both(m, node, request)) {
            return;
        }
        request->tracked = m;
        request->tracked_offset = request->position;
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

typedef struct Run {
    uint64_t first, count; /* chunks */
} Run;

static bool take_next(Mirror *m, uint64_t chunk)
{
    if (chunk >= m->dirty->chunks || !dirty_map_get(m->dirty, chunk) ||
        dirty_map_get(m->busy, chunk)) {
        return false;
    }
    dirty_map_clear(m->dirty, chunk);
    return true;
}

/* Neighbours that are dirty, as many as a buffer takes. */
static bool take_run(Mirror *m, Run *run)
{
    g_mutex_lock(&m->lock);
    bool found = dirty_map_take(m->dirty, m->busy, m->cursor, &run->first);
    if (found) {
        run->count = 1;
        while (((run->count + 1) << m->dirty->chunk_bits) <= m->team.buffer_bytes &&
               take_next(m, run->first + run->count)) {
            run->count++;
        }
        for (uint64_t i = 0; i < run->count; i++) {
            dirty_map_set(m->busy, (run->first + i) << m->busy->chunk_bits, 1);
        }
        m->cursor = run->first + run->count;
    }
    g_mutex_unlock(&m->lock);
    return found;
}

static uint64_t run_bytes(const Mirror *m, const Run *run)
{
    uint64_t offset = run->first << m->dirty->chunk_bits;
    return MIN(run->count << m->dirty->chunk_bits, m->dirty->length - offset);
}

static int copy_run(Mirror *m, const Run *run, uint8_t *buffer, bool *reading)
{
    uint64_t offset = run->first << m->dirty->chunk_bits, bytes = run_bytes(m, run);
    int ret = copy_range(&m->way, offset, bytes, buffer, reading);
    if (ret < 0) {
        dirty_map_set(m->dirty, offset, bytes);
    } else {
        job_add_progress(&m->job, bytes);
    }
    for (uint64_t i = 0; i < run->count; i++) {
        dirty_map_clear(m->busy, run->first + i);
    }
    return ret;
}

/* Both sides are the same as far as is known. */
static bool is_clean(Mirror *m)
{
    g_mutex_lock(&m->lock);
    bool clean = !dirty_map_count(m->dirty) &&
                 dirty_map_count(m->busy) == atomic_load(&m->both_chunks);
    g_mutex_unlock(&m->lock);
    return clean;
}

/* Some chunks; false: none are to be had now. */
static bool copy_some(Mirror *m, uint8_t *buffer)
{
    const JobCommon *common = &m->options.common;
    bool reading;
    Run run;
    if (!take_run(m, &run)) {
        return false;
    }
    int ret = copy_run(m, &run, buffer, &reading);
    if (ret == 0) {
        return true;
    }
    if (!job_io_error(&m->job, reading ? common->on_source : common->on_target, reading, ret)) {
        copy_team_fail(&m->team, ret);
    }
    return false;
}

/* Somebody asked for the end, and what is left can be copied while the guest's disk stands still:
 * so a guest that never rests does not keep the job. */
static bool may_end(Mirror *m)
{
    return job_is_ready(&m->job) && job_should_end(&m->job) &&
           dirty_map_count(m->dirty) <= LAST_BYTES >> m->dirty->chunk_bits;
}

static bool mirror_step(CopyTeam *team, uint8_t *buffer)
{
    Mirror *m = container_of(team, Mirror, team);
    uint64_t waiting = dirty_map_count(m->dirty) << m->dirty->chunk_bits;
    if (!job_enter(&m->job, MIN(waiting, m->team.buffer_bytes))) {
        return false;
    }
    bool copied = !may_end(m) && copy_some(m, buffer);
    job_leave(&m->job);
    if (!copied && is_clean(m)) {
        job_set_ready(&m->job);
    }
    if (may_end(m)) {
        return false;
    }
    if (copied || atomic_load(&team->ret)) {
        return true;
    }
    job_nap(&m->job, NAP_NS);
    return true;
}

/* The image that decides what need not be copied; NULL: none. */
static BlockNode *initial_base(Mirror *m)
{
    if (m->options.commit) {
        return m->target;
    }
    return m->options.sync == MIRROR_TOP ? graph_skip_filters(m->source)->backing : NULL;
}

/* What has to be copied at first. */
static int mark_initial(Mirror *m)
{
    uint64_t length = m->dirty->length;
    for (uint64_t offset = 0; offset < length && m->options.sync != MIRROR_NONE;) {
        BlockStatus status;
        if (!job_enter(&m->job, 0)) {
            return -ECANCELED;
        }
        BlockNode *base = initial_base(m);
        int ret = block_status_above(m->source, base, offset, MIN(length - offset, 1ULL << 30),
                                     &status, NULL);
        job_leave(&m->job);
        if (ret < 0) {
            return ret;
        }
        bool wanted = base ? status.flags & BLOCK_STATUS_ALLOCATED
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
    if (!m->options.commit && block_node_length(m->target) != m->dirty->length) {
        error_set(
            error,
            "source and target are not of the same size: make the target as large as the disk");
        return -EINVAL;
    }
    int ret = mark_initial(m);
    job_set_length(job, dirty_map_bytes(m->dirty));
    m->team.step = mirror_step;
    return ret ? ret : copy_team_run(&m->team, COPY_THREADS);
}

/* ---- The end: main thread ---- */

/* The guest's disk stands still. */
static int copy_rest(Mirror *m)
{
    g_autofree uint8_t *buffer = g_malloc(m->team.buffer_bytes);
    bool reading;
    Run run;
    int ret = 0;
    while (ret == 0 && take_run(m, &run)) {
        ret = copy_run(m, &run, buffer, &reading);
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

static bool take_place(Mirror *m, GError **error)
{
    BlockNode *image = graph_skip_filters(m->target);
    g_clear_pointer(&m->target_backend, block_backend_detach);
    if (m->options.set_backing && image->backing != m->options.backing &&
        !graph_set_backing(image, m->options.backing, error)) {
        return false;
    }
    m->replaced =
        graph_replace(m->options.replaces ? m->options.replaces : m->source, m->target, error);
    return m->replaced;
}

static bool mirror_finish(Job *job, GError **error)
{
    Mirror *m = (Mirror *)job;
    graph_change_begin();
    int ret = copy_rest(m);
    bool ok = ret == 0 || error_set(error, "%s", g_strerror(-ret));
    stop_tracking(m);
    if (ok && job->complete_asked) {
        ok = take_place(m, error);
    }
    graph_change_end();
    return ok;
}

static void unref_node(BlockNode *node)
{
    if (node) {
        block_node_unref(node);
    }
}

static void mirror_free(Job *job)
{
    Mirror *m = (Mirror *)job;
    graph_change_begin();
    stop_tracking(m);
    g_clear_pointer(&m->target_backend, block_backend_detach);
    if (m->options.was_readonly && !m->replaced) {
        graph_set_readonly(m->target, true, NULL);
    }
    graph_change_end();
    unref_node(m->target);
    unref_node(m->source);
    unref_node(m->options.backing);
    unref_node(m->options.replaces);
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

/* ---- The beginning: main thread ---- */

static bool check_nodes(BlockNode *source, BlockNode *target, const MirrorOptions *options,
                        GError **error)
{
    if (source == target) {
        return error_set(error, "the target is the disk itself: a mirror needs another node");
    }
    if (options->replaces && graph_skip_filters(source) != graph_skip_filters(options->replaces)) {
        return error_set(error,
                         "'%s' cannot give its place to a copy of '%s': something between the two "
                         "changes what is read",
                         options->replaces->name, source->name);
    }
    return !target->readonly ||
           error_set(error, "the target was opened read-only: a mirror is written to");
}

static unsigned granularity_bits(const MirrorOptions *options)
{
    return options->granularity ? (unsigned)__builtin_ctzll(options->granularity) : DEFAULT_BITS;
}

/* The job has the nodes, and holds what it needs of the target. */
static bool claim(Mirror *m, GError **error)
{
    BlockNode *source = m->source, *target = m->target;
    for (BlockNode *node = m->options.commit ? graph_skip_filters(source) : NULL; node;
         node = graph_skip_filters(node->backing)) {
        if (!job_claim(&m->job, node, error)) {
            return false;
        }
        if (node == graph_skip_filters(target)) {
            break;
        }
    }
    if (!job_claim(&m->job, target, error)) {
        return false;
    }
    m->target_backend = backend_attach_job(target, m->job.id, m->options.commit, error);
    return m->target_backend && mirror_prepare_loops(m, error);
}

/* A thread's: whole chunks of the map. */
static size_t buffer_bytes(const MirrorOptions *options, uint64_t chunk)
{
    uint64_t wanted = options->buf_size ? options->buf_size / COPY_THREADS
                                        : 1ULL << COPY_CHUNK_BITS;
    return CLAMP(ALIGN_DOWN(wanted, chunk), chunk, MAX(chunk, MOST_BUFFER));
}

static void mirror_init(Mirror *m, BlockNode *source, BlockNode *target,
                        const MirrorOptions *options)
{
    unsigned bits = copy_target_bits(target, granularity_bits(options));
    g_mutex_init(&m->lock);
    m->options = *options;
    m->options.common.id = m->options.common.filter = NULL; /* the caller's strings */
    m->tracker.submit = track;
    m->source = block_node_ref(source);
    m->target = block_node_ref(target);
    m->options.backing = options->backing ? block_node_ref(options->backing) : NULL;
    m->options.replaces = options->replaces ? block_node_ref(options->replaces) : NULL;
    m->way = (CopyWay){ source, target, options->keep_zeroes ? 0 : BLOCK_REQ_UNMAP, 0 };
    m->dirty = dirty_map_new(block_node_length(source), bits);
    m->busy = dirty_map_new(block_node_length(source), bits);
    m->team.buffer_bytes = buffer_bytes(options, 1ULL << bits);
    m->job.auto_finalize = options->common.auto_finalize;
    m->job.auto_dismiss = options->common.auto_dismiss;
}

bool mirror_start(BlockNode *source, BlockNode *target, const MirrorOptions *options,
                  GError **error)
{
    if (!check_nodes(source, target, options, error)) {
        return false;
    }
    Job *job = job_new(options->commit ? &active_commit_driver : &mirror_driver, options->common.id,
                       source, options->common.speed, error);
    if (!job) {
        return false;
    }
    Mirror *m = (Mirror *)job;
    mirror_init(m, source, target, options);
    if (!job_name_filter(job, JOB_FILTER_MIRROR, options->common.filter, source, error) ||
        !claim(m, error)) {
        job_discard(job);
        return false;
    }
    start_tracking(m);
    job_start(job);
    return true;
}
