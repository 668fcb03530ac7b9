/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commit of images in the middle of a chain: what they have goes down into their base, and the
 * image above them stands on the base then. Nobody writes to them meanwhile. (The active image's
 * commit is a mirror.)
 */
#include <errno.h>
#include "block/jobs/copy.h"
#include "block/jobs/mirror.h"

#define LOOK_BYTES (64ULL << 20)

#define NAP_NS (20 * 1000 * 1000LL)

typedef struct Commit {
    Job job;
    BlockNode *active, *top, *base;
    BlockBackend *hold; /* of base: permissions and locks */
    char *backing_file;
    JobOnError on_error;
    CopyWay way;
    bool made_writable;
} Commit;

static int commit_piece(Commit *c, uint64_t offset, uint64_t bytes, uint8_t *buffer, uint64_t *done,
                        bool *reading)
{
    BlockStatus status;
    *reading = true;
    int ret = block_status_above(c->top, c->base, offset, bytes, &status, NULL);
    if (ret < 0) {
        return ret;
    }
    bool wanted = status.flags & BLOCK_STATUS_ALLOCATED;
    *done = wanted ? MIN(status.bytes, 1ULL << COPY_CHUNK_BITS) : status.bytes;
    return wanted ? copy_range(&c->way, offset, *done, buffer, reading) : 0;
}

static int commit_run(Job *job, GError **error)
{
    Commit *c = (Commit *)job;
    g_autofree uint8_t *buffer = g_malloc(1ULL << COPY_CHUNK_BITS);
    uint64_t length = block_node_length(c->top), last = 0, offset = 0;
    job_set_length(job, length);
    while (offset < length) {
        uint64_t done;
        bool reading;
        if (!job_enter(job, last)) {
            return -ECANCELED;
        }
        int ret =
            commit_piece(c, offset, MIN(length - offset, LOOK_BYTES), buffer, &done, &reading);
        job_leave(job);
        if (ret < 0) {
            if (!job_io_error(job, c->on_error, reading, ret)) {
                return ret;
            }
            job_nap(job, NAP_NS); /* and again */
            continue;
        }
        last = done <= 1ULL << COPY_CHUNK_BITS ? done : 0;
        job_add_progress(job, done);
        offset += done;
    }
    return block_flush(c->base);
}

static bool commit_finish(Job *job, GError **error)
{
    Commit *c = (Commit *)job;
    BlockNode *overlay = graph_overlay_of(c->active, graph_skip_filters(c->top));
    if (!overlay) {
        return error_set(error, "node '%s' is no longer in the chain", c->top->name);
    }
    const BlockImageOps *ops = block_node_image_ops(overlay);
    BlockNode *image = graph_skip_filters(c->base);
    const char *file = c->backing_file ? c->backing_file : image->filename;
    graph_change_begin();
    bool was_readonly = overlay->readonly;
    bool ok = graph_set_readonly(overlay, false, error) &&
              (!ops || !ops->set_backing ||
               ops->set_backing(overlay, file, image->driver->name, error)) &&
              graph_set_backing(overlay, c->base, error);
    if (was_readonly) {
        graph_set_readonly(overlay, true, NULL);
    }
    graph_change_end();
    return ok;
}

static void commit_free(Job *job)
{
    Commit *c = (Commit *)job;
    graph_change_begin();
    g_clear_pointer(&c->hold, block_backend_detach);
    if (c->made_writable) {
        graph_set_readonly(c->base, true, NULL);
    }
    graph_change_end();
    block_node_unref(c->base);
    block_node_unref(c->top);
    block_node_unref(c->active);
    g_free(c->backing_file);
}

static const JobDriver commit_driver = {
    .type = "commit",
    .size = sizeof(Commit),
    .run = commit_run,
    .finish = commit_finish,
    .free = commit_free,
};

/* The base is going to be written, and is at least as long as what comes. */
static bool prepare_base(BlockNode *base, const BlockNode *top, bool *made_writable, GError **error)
{
    uint64_t length = atomic_load(&top->length);
    bool was_readonly = base->readonly;
    graph_change_begin();
    bool ok = graph_set_readonly(base, false, error);
    *made_writable = ok && was_readonly;
    if (ok && block_node_length(base) < length && !block_resize(base, length, error)) {
        graph_set_readonly(base, was_readonly, NULL);
        ok = *made_writable = false;
    }
    graph_change_end();
    return ok;
}

static bool commit_active(BlockNode *active, BlockNode *base, const JobCommon *common,
                          GError **error)
{
    MirrorOptions options = { .common = *common, .sync = MIRROR_TOP, .commit = true };
    options.common.on_target = common->on_source;
    if (!job_check_free(active, error) || !job_check_free(base, error) ||
        !prepare_base(base, active, &options.was_readonly, error)) {
        return false;
    }
    if (mirror_start(active, base, &options, error)) {
        return true;
    }
    graph_change_begin();
    if (options.was_readonly) {
        graph_set_readonly(base, true, NULL);
    }
    graph_change_end();
    return false;
}

/* Everything from the image above top down to base. */
static bool claim(Commit *c, GError **error)
{
    BlockNode *node = graph_overlay_of(c->active, graph_skip_filters(c->top)),
              *base = graph_skip_filters(c->base);
    for (; node; node = graph_skip_filters(node->backing)) {
        if (!job_claim(&c->job, node, error)) {
            return false;
        }
        if (node == base) {
            break;
        }
    }
    if (!prepare_base(c->base, c->top, &c->made_writable, error)) {
        return false;
    }
    c->hold = backend_attach_job(c->base, c->job.id, true, error);
    return c->hold != NULL;
}

bool commit_start(BlockNode *active, BlockNode *top, BlockNode *base, const char *backing_file,
                  const JobCommon *common, GError **error)
{
    if (graph_skip_filters(top) == graph_skip_filters(base)) {
        return error_set(error, "'base' and 'top' are the same image: nothing could be committed");
    }
    if (!node_is_below(base, top)) {
        return error_set(error, "'%s' does not lie below the disk that is committed", base->name);
    }
    if (graph_skip_filters(top) == graph_skip_filters(active)) {
        return commit_active(active, base, common, error);
    }
    Job *job = job_new(&commit_driver, common->id, active, common->speed, error);
    if (!job) {
        return false;
    }
    Commit *c = (Commit *)job;
    c->active = block_node_ref(active);
    c->top = block_node_ref(top);
    c->base = block_node_ref(base);
    c->way = (CopyWay){ top, base, BLOCK_REQ_UNMAP, 0 };
    c->backing_file = g_strdup(backing_file);
    c->on_error = common->on_source;
    job->auto_finalize = common->auto_finalize;
    job->auto_dismiss = common->auto_dismiss;
    if (!job_name_filter(job, JOB_FILTER_COMMIT, common->filter, top, error) || !claim(c, error)) {
        job_discard(job);
        return false;
    }
    job_start(job);
    return true;
}
