/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stream: what images below have comes up into an image, which needs them no more. The image itself
 * brings clusters in (BLOCK_POPULATE), so that a write of the guest's is never overwritten.
 */
#include <errno.h>
#include "block/jobs/copy.h"
#include "block/jobs/mirror.h"

#define LOOK_BYTES (64ULL << 20)

typedef struct Stream {
    Job job;
    BlockNode *top, *base; /* base NULL: everything */
    char *backing_file;
} Stream;

/* The next bytes: 0 and *done of them, or -errno. */
static int stream_piece(Stream *s, uint64_t offset, uint64_t bytes, uint64_t *done)
{
    BlockStatus status;
    int depth;
    int ret = block_status_above(s->top, s->base, offset, bytes, &status, &depth);
    if (ret < 0) {
        return ret;
    }
    bool wanted = status.flags & BLOCK_STATUS_ALLOCATED && depth > 0;
    *done = wanted ? MIN(status.bytes, 1ULL << COPY_CHUNK_BITS) : status.bytes;
    return wanted ? block_populate(s->top, offset, *done) : 0;
}

static int stream_run(Job *job, GError **error)
{
    Stream *s = (Stream *)job;
    uint64_t length = block_node_length(s->top), last = 0;
    job_set_length(job, length);
    for (uint64_t offset = 0, done; offset < length; offset += done) {
        if (!job_enter(job, last)) {
            return -ECANCELED;
        }
        int ret = stream_piece(s, offset, MIN(length - offset, LOOK_BYTES), &done);
        job_leave(job);
        if (ret < 0) {
            error_set_errno(error, -ret, "cannot copy into '%s'", s->top->name);
            return ret;
        }
        last = done <= 1ULL << COPY_CHUNK_BITS ? done : 0;
        job_add_progress(job, done);
    }
    return 0;
}

static bool stream_finish(Job *job, GError **error)
{
    Stream *s = (Stream *)job;
    const BlockImageOps *ops = block_node_image_ops(s->top);
    const char *file = s->backing_file ? s->backing_file : s->base ? s->base->filename : NULL;
    graph_change_begin();
    bool ok = (!ops || !ops->set_backing ||
               ops->set_backing(s->top, file, s->base ? s->base->driver->name : NULL, error)) &&
              graph_set_backing(s->top, s->base, error);
    graph_change_end();
    return ok;
}

static void stream_free(Job *job)
{
    Stream *s = (Stream *)job;
    if (s->base) {
        block_node_unref(s->base);
    }
    block_node_unref(s->top);
    g_free(s->backing_file);
}

static const JobDriver stream_driver = {
    .type = "stream",
    .size = sizeof(Stream),
    .run = stream_run,
    .finish = stream_finish,
    .free = stream_free,
};

bool stream_start(BlockNode *top, BlockNode *base, const char *device, const char *backing_file,
                  const JobCommon *common, GError **error)
{
    if (top->readonly) {
        return error_set(error, "Block node '%s' is read-only", top->name);
    }
    if (base && (base == top || !node_is_below(base, top))) {
        return error_set(error, "Node '%s' is not a backing image of '%s'", base->name, top->name);
    }
    Job *job = job_new(&stream_driver, common->id, device, common->speed, error);
    if (!job) {
        return false;
    }
    Stream *s = (Stream *)job;
    s->top = block_node_ref(top);
    s->base = base ? block_node_ref(base) : NULL;
    s->backing_file = g_strdup(backing_file);
    job->auto_finalize = common->auto_finalize;
    job->auto_dismiss = common->auto_dismiss;
    job_start(job);
    return true;
}
