/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stream: what images below have comes up into an image, which needs them no more. The image itself
 * brings clusters in (BLOCK_POPULATE), so that a write of the guest's is never overwritten.
 */
#include <errno.h>
#include "block/jobs/copy.h"
#include "block/jobs/mirror.h"

#define LOOK_BYTES (64ULL << 20)
#define SKIP_BYTES (64 << 10) /* what an ignored error leaves out */

typedef struct Stream {
    Job job;
    BlockNode *top, *base; /* base NULL: everything */
    char *backing_file;
    JobOnError on_error;
    BlockBackend *hold; /* of top: permissions and locks */
    bool was_readonly;
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

/* One step: false when the job ends here, with *ret. An error that is ignored is the result all
 * the same, when the rest has been copied. */
static bool stream_step(Stream *s, uint64_t *offset, uint64_t length, uint64_t *last, int *ret)
{
    uint64_t done = 0;
    if (!job_enter(&s->job, *last)) {
        *ret = -ECANCELED;
        return false;
    }
    int failed = stream_piece(s, *offset, MIN(length - *offset, LOOK_BYTES), &done);
    job_leave(&s->job);
    if (failed < 0) {
        if (!job_io_error(&s->job, s->on_error, true, failed)) {
            *ret = *ret ? *ret : failed;
            return false;
        }
        if (job_is_stopped(&s->job)) {
            return true; /* again, when it goes on */
        }
        *ret = *ret ? *ret : failed;
        done = MIN(length - *offset, (uint64_t)SKIP_BYTES);
    }
    *last = done <= 1ULL << COPY_CHUNK_BITS ? done : 0;
    *offset += done;
    job_add_progress(&s->job, done);
    return *offset < length;
}

static int stream_run(Job *job, GError **error)
{
    Stream *s = (Stream *)job;
    uint64_t length = s->top->backing ? block_node_length(s->top) : 0, offset = 0, last = 0;
    int ret = 0;
    job_set_length(job, length);
    while (length && stream_step(s, &offset, length, &last, &ret)) {
    }
    return ret;
}

static bool stream_finish(Job *job, GError **error)
{
    Stream *s = (Stream *)job;
    const BlockImageOps *ops = block_node_image_ops(s->top);
    BlockNode *base = graph_skip_filters(s->base);
    const char *file = s->backing_file ? s->backing_file : base ? base->filename : NULL;
    if (!s->top->backing) {
        return true;
    }
    graph_change_begin();
    bool ok = (!ops || !ops->set_backing ||
               ops->set_backing(s->top, file, base ? base->driver->name : NULL, error)) &&
              graph_set_backing(s->top, s->base, error);
    graph_change_end();
    return ok;
}

static void stream_free(Job *job)
{
    Stream *s = (Stream *)job;
    graph_change_begin();
    g_clear_pointer(&s->hold, block_backend_detach);
    if (s->was_readonly) {
        graph_set_readonly(s->top, true, NULL);
    }
    graph_change_end();
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

/* Every image that goes, and the top, which can be written from here on. */
static bool claim(Stream *s, GError **error)
{
    BlockNode *base = graph_skip_filters(s->base);
    for (BlockNode *node = s->top; node && node != base; node = graph_skip_filters(node->backing)) {
        if (!job_claim(&s->job, node, error)) {
            return false;
        }
    }
    graph_change_begin();
    bool was_readonly = s->top->readonly;
    bool ok = graph_set_readonly(s->top, false, error);
    s->was_readonly = ok && was_readonly;
    if (ok) {
        s->hold = backend_attach_job(s->top, s->job.id, true, error);
    }
    graph_change_end();
    return s->hold != NULL;
}

bool stream_start(BlockNode *device, BlockNode *base, const char *backing_file,
                  const JobCommon *common, GError **error)
{
    BlockNode *top = graph_skip_filters(device), *image = graph_skip_filters(base);
    if (base && (image == top || !node_is_below(image, top))) {
        return error_set(error, "node '%s' does not lie below '%s': there is nothing to stop at",
                         base->name, job_node_label(device));
    }
    Job *job = job_new(&stream_driver, common->id, device, common->speed, error);
    if (!job) {
        return false;
    }
    Stream *s = (Stream *)job;
    s->top = block_node_ref(top);
    s->base = base ? block_node_ref(base) : NULL;
    s->backing_file = g_strdup(backing_file);
    s->on_error = common->on_source;
    job->auto_finalize = common->auto_finalize;
    job->auto_dismiss = common->auto_dismiss;
    if (!job_name_filter(job, JOB_FILTER_STREAM, common->filter, device, error) ||
        !claim(s, error)) {
        job_discard(job);
        return false;
    }
    job_start(job);
    return true;
}
