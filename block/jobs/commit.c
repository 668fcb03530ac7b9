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

typedef struct Commit {
    Job job;
    BlockNode *active, *top, *base;
    char *backing_file;
    bool made_writable;
} Commit;

static int commit_piece(Commit *c, uint64_t offset, uint64_t bytes, uint8_t *buffer, uint64_t *done)
{
    BlockStatus status;
    int ret = block_status_above(c->top, c->base, offset, bytes, &status, NULL);
    if (ret < 0) {
        return ret;
    }
    bool wanted = status.flags & BLOCK_STATUS_ALLOCATED;
    *done = wanted ? MIN(status.bytes, 1ULL << COPY_CHUNK_BITS) : status.bytes;
    return wanted ? copy_range(c->top, c->base, offset, *done, buffer) : 0;
}

static int commit_run(Job *job, GError **error)
{
    Commit *c = (Commit *)job;
    g_autofree uint8_t *buffer = g_malloc(1ULL << COPY_CHUNK_BITS);
    uint64_t length = block_node_length(c->top), last = 0;
    job_set_length(job, length);
    for (uint64_t offset = 0, done; offset < length; offset += done) {
        if (!job_enter(job, last)) {
            return -ECANCELED;
        }
        int ret = commit_piece(c, offset, MIN(length - offset, LOOK_BYTES), buffer, &done);
        job_leave(job);
        if (ret < 0) {
            error_set_errno(error, -ret, "cannot copy into '%s'", c->base->name);
            return ret;
        }
        last = done <= 1ULL << COPY_CHUNK_BITS ? done : 0;
        job_add_progress(job, done);
    }
    int ret = block_flush(c->base);
    if (ret < 0) {
        error_set_errno(error, -ret, "cannot flush '%s'", c->base->name);
    }
    return ret;
}

static bool commit_finish(Job *job, GError **error)
{
    Commit *c = (Commit *)job;
    BlockNode *overlay = graph_overlay_of(c->active, c->top);
    if (!overlay) {
        return error_set(error, "node '%s' is no longer in the chain", c->top->name);
    }
    const BlockImageOps *ops = block_node_image_ops(overlay);
    const char *file = c->backing_file ? c->backing_file : c->base->filename;
    graph_change_begin();
    bool was_readonly = overlay->readonly;
    bool ok = graph_set_readonly(overlay, false, error) &&
              (!ops || !ops->set_backing ||
               ops->set_backing(overlay, file, c->base->driver->name, error)) &&
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
    if (c->made_writable) {
        graph_change_begin();
        graph_set_readonly(c->base, true, NULL);
        graph_change_end();
    }
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
    *made_writable = base->readonly;
    graph_change_begin();
    bool ok = graph_set_readonly(base, false, error);
    graph_change_end();
    return ok && (block_node_length(base) >= length || block_resize(base, length, error));
}

static bool commit_active(BlockNode *active, BlockNode *base, const char *device,
                          const JobCommon *common, GError **error)
{
    MirrorOptions options = { .common = *common, .sync = MIRROR_TOP, .commit = true };
    bool made_writable;
    return prepare_base(base, active, &made_writable, error) &&
           mirror_start(active, base, device, &options, error);
}

bool commit_start(BlockNode *active, BlockNode *top, BlockNode *base, const char *device,
                  const char *backing_file, const JobCommon *common, GError **error)
{
    if (top == base || !node_is_below(base, top)) {
        return error_set(error, "'%s' is not in this backing file chain", base->name);
    }
    if (top == active) {
        return commit_active(active, base, device, common, error);
    }
    Job *job = job_new(&commit_driver, common->id, device, common->speed, error);
    if (!job) {
        return false;
    }
    Commit *c = (Commit *)job;
    c->active = block_node_ref(active);
    c->top = block_node_ref(top);
    c->base = block_node_ref(base);
    c->backing_file = g_strdup(backing_file);
    job->auto_finalize = common->auto_finalize;
    job->auto_dismiss = common->auto_dismiss;
    if (!prepare_base(base, top, &c->made_writable, error)) {
        job_discard(job);
        return false;
    }
    job_start(job);
    return true;
}
