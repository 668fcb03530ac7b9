/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File requests on every engine of a loop, straight at the AIO interface. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "vmm/event/aio.h"

typedef struct Engine {
    const char *name;
    LoopEngine loop;
    AioEngine aio;
    int flags;
    bool lane;
} Engine;

static const Engine engines[] = {
    { "io_uring", LOOP_ENGINE_IO_URING, AIO_ENGINE_IO_URING, 0 },
    { "native", LOOP_ENGINE_IO_URING, AIO_ENGINE_NATIVE, O_DIRECT },
    { "native-epoll", LOOP_ENGINE_EPOLL, AIO_ENGINE_NATIVE, O_DIRECT },
    { "threads", LOOP_ENGINE_IO_URING, AIO_ENGINE_THREADS, 0 },
    { "threads-epoll", LOOP_ENGINE_EPOLL, AIO_ENGINE_THREADS, 0 },
    { "lane", LOOP_ENGINE_IO_URING, AIO_ENGINE_IO_URING, 0, .lane = true },
    { "lane-epoll", LOOP_ENGINE_EPOLL, AIO_ENGINE_THREADS, 0, .lane = true },
};

#define HANDED_OVER 32

typedef struct Bed {
    EventLoop *loop;
    AioEngine engine;
    AioLane *lane; /* or NULL: the engine takes requests itself */
    int fd;
    char *path;
    GMutex lock;
    GCond cond;
    int pending;
} Bed;

typedef struct Job {
    AioRequest request;
    struct iovec iov;
    Bed *bed;
    ssize_t res;
    int calls;
    bool submitting;
} Job;

static bool bed_make(Bed *bed, const Engine *engine)
{
    g_autoptr(GError) error = NULL;
    memset(bed, 0, sizeof(*bed));
    bed->loop = event_loop_new("aio", engine->loop, &error);
    if (!bed->loop && engine->loop == LOOP_ENGINE_IO_URING) {
        g_test_skip(error->message);
        return false;
    }
    g_assert_no_error(error);
    if (!aio_engine_usable(bed->loop, engine->aio, &error)) {
        g_test_skip(error->message);
        event_loop_free(bed->loop);
        return false;
    }
    g_assert_true(event_loop_start(bed->loop, &error));
    bed->engine = engine->aio;
    bed->lane = engine->lane ? aio_lane_new() : NULL;
    bed->path = g_strdup("test-aio-XXXXXX");
    bed->fd = g_mkstemp_full(bed->path, O_RDWR | engine->flags, 0600);
    g_assert_cmpint(bed->fd, >=, 0);
    g_assert_cmpint(ftruncate(bed->fd, 1 << 22), ==, 0);
    return true;
}

static void bed_free(Bed *bed)
{
    aio_lane_unref(bed->lane);
    event_loop_free(bed->loop);
    close(bed->fd);
    unlink(bed->path);
    g_free(bed->path);
}

static void job_done(AioRequest *request, ssize_t res)
{
    Job *job = request->opaque;
    g_mutex_lock(&job->bed->lock);
    job->res = res;
    job->calls++;
    g_assert_false(job->submitting);
    g_assert_true(event_loop_is_current(job->bed->loop));
    job->bed->pending--;
    g_cond_signal(&job->bed->cond);
    g_mutex_unlock(&job->bed->lock);
}

static void bed_submit(Bed *bed, AioRequest *request)
{
    if (bed->lane) {
        aio_submit_lane(bed->loop, bed->lane, request);
    } else {
        aio_submit(bed->loop, bed->engine, request);
    }
}

static void job_submit(void *opaque)
{
    Job *job = opaque;
    job->submitting = true;
    bed_submit(job->bed, &job->request);
    job->submitting = false;
}

static void job_make(Bed *bed, Job *job, AioOp op, void *data, uint64_t offset, uint64_t length)
{
    *job = (Job){ .bed = bed, .iov = { data, length } };
    job->request = (AioRequest){ .op = op,
                                 .fd = bed->fd,
                                 .iov = &job->iov,
                                 .iov_count = 1,
                                 .offset = offset,
                                 .length = length,
                                 .done = job_done,
                                 .opaque = job };
    g_mutex_lock(&bed->lock);
    bed->pending++;
    g_mutex_unlock(&bed->lock);
}

static void job_start(Bed *bed, Job *job, AioOp op, void *data, uint64_t offset, uint64_t length)
{
    job_make(bed, job, op, data, offset, length);
    event_loop_call(bed->loop, job_submit, job);
}

static void bed_wait(Bed *bed)
{
    g_mutex_lock(&bed->lock);
    while (bed->pending) {
        g_cond_wait(&bed->cond, &bed->lock);
    }
    g_mutex_unlock(&bed->lock);
}

static ssize_t job_run(Bed *bed, AioOp op, void *data, uint64_t offset, uint64_t length)
{
    Job job;
    job_start(bed, &job, op, data, offset, length);
    bed_wait(bed);
    g_assert_cmpint(job.calls, ==, 1);
    return job.res;
}

static void every_operation_does_its_work(gconstpointer engine)
{
    Bed bed;
    if (!bed_make(&bed, engine)) {
        return;
    }
    char *data = aligned_alloc(4096, 65536), *back = aligned_alloc(4096, 65536);
    memset(data, 'x', 65536);
    g_assert_cmpint(job_run(&bed, AIO_WRITE, data, 65536, 65536), ==, 65536);
    g_assert_cmpint(job_run(&bed, AIO_FSYNC, NULL, 0, 0), ==, 0);
    g_assert_cmpint(job_run(&bed, AIO_PUNCH_HOLE, NULL, 65536 + 4096, 4096), ==, 0);
    g_assert_cmpint(job_run(&bed, AIO_ZERO_RANGE, NULL, 65536 + 16384, 8192), ==, 0);
    g_assert_cmpint(job_run(&bed, AIO_READ, back, 65536, 65536), ==, 65536);
    memset(data + 4096, 0, 4096);
    memset(data + 16384, 0, 8192);
    g_assert_cmpmem(back, 65536, data, 65536);
    g_assert_cmpint(job_run(&bed, AIO_ALLOCATE, NULL, 1 << 22, 4096), ==, 0);
    g_assert_cmpint(lseek(bed.fd, 0, SEEK_END), ==, (1 << 22) + 4096);
    g_assert_cmpint(job_run(&bed, AIO_READ, back, 1 << 23, 4096), ==, 0); /* past the end */
    free(data);
    free(back);
    bed_free(&bed);
}

static void errors_come_back_as_negative_errno(gconstpointer engine)
{
    Bed bed;
    if (!bed_make(&bed, engine)) {
        return;
    }
    char *data = aligned_alloc(4096, 4096);
    int fd = bed.fd;
    bed.fd = open(bed.path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(job_run(&bed, AIO_READ, data, 0, 4096), ==, -EBADF);
    close(bed.fd);
    bed.fd = fd;
    g_assert_cmpint(job_run(&bed, AIO_READ, data, 0, 4096), ==, 4096);
    free(data);
    bed_free(&bed);
}

static void more_requests_than_any_ring_holds_all_complete(gconstpointer engine)
{
    enum { COUNT = 4000 };
    Bed bed;
    if (!bed_make(&bed, engine)) {
        return;
    }
    g_autofree Job *jobs = g_new(Job, COUNT);
    char *data = aligned_alloc(4096, 4096 * 64);
    memset(data, 1, 4096 * 64);
    for (int i = 0; i < COUNT; i++) {
        job_start(&bed, &jobs[i], i % 2 ? AIO_WRITE : AIO_READ, data + i % 64 * 4096,
                  i % 1024 * 4096, 4096);
    }
    bed_wait(&bed);
    for (int i = 0; i < COUNT; i++) {
        g_assert_cmpint(jobs[i].calls, ==, 1);
        g_assert_cmpint(jobs[i].res, ==, 4096);
    }
    free(data);
    bed_free(&bed);
}

/* A request's done submits it again: as a device under load does. */
typedef struct Chain {
    Job job;
    int left;
} Chain;

static void chain_done(AioRequest *request, ssize_t res)
{
    Chain *chain = request->opaque;
    g_assert_cmpint(res, ==, 4096);
    if (chain->left-- > 0) {
        bed_submit(chain->job.bed, request);
        return;
    }
    request->opaque = &chain->job;
    job_done(request, res);
}

static void chain_begin(void *opaque)
{
    Chain *chain = opaque;
    chain->job.request.opaque = chain;
    chain->job.request.done = chain_done;
    bed_submit(chain->job.bed, &chain->job.request);
}

static void resubmission_from_done_works_with_polling(gconstpointer engine)
{
    enum { COUNT = 50 };
    Bed bed;
    if (!bed_make(&bed, engine)) {
        return;
    }
    event_loop_set_polling(bed.loop, 32000, 0, 0);
    g_autofree Chain *chains = g_new0(Chain, COUNT);
    char *data = aligned_alloc(4096, 4096 * COUNT);
    for (int i = 0; i < COUNT; i++) {
        Job *job = &chains[i].job;
        *job = (Job){ .bed = &bed, .iov = { data + i * 4096, 4096 } };
        job->request = (AioRequest){
            .op = AIO_READ, .fd = bed.fd, .iov = &job->iov, .iov_count = 1, .offset = i * 4096
        };
        chains[i].left = 100;
        g_mutex_lock(&bed.lock);
        bed.pending++;
        g_mutex_unlock(&bed.lock);
        event_loop_call(bed.loop, chain_begin, &chains[i]);
    }
    bed_wait(&bed);
    for (int i = 0; i < COUNT; i++) {
        g_assert_cmpint(chains[i].job.calls, ==, 1);
    }
    free(data);
    bed_free(&bed);
}

/* Requests are handed over in the middle of a round, and none is lost or done twice. */
static void hand_over_begin(void *opaque)
{
    Job *jobs = opaque;
    for (int i = 0; i < HANDED_OVER; i++) {
        job_submit(&jobs[i]);
        if (i % 8 == 7) {
            event_loop_hand_over(jobs[i].bed->loop);
        }
    }
}

static void requests_handed_over_early_complete(gconstpointer engine)
{
    Bed bed;
    if (!bed_make(&bed, engine)) {
        return;
    }
    g_autofree Job *jobs = g_new0(Job, HANDED_OVER);
    char *data = aligned_alloc(4096, 4096 * HANDED_OVER);
    for (int i = 0; i < HANDED_OVER; i++) {
        job_make(&bed, &jobs[i], AIO_READ, data + i * 4096, (uint64_t)i * 4096, 4096);
    }
    event_loop_call(bed.loop, hand_over_begin, jobs);
    bed_wait(&bed);
    for (int i = 0; i < HANDED_OVER; i++) {
        g_assert_cmpint(jobs[i].calls, ==, 1);
        g_assert_cmpint(jobs[i].res, ==, 4096);
    }
    free(data);
    bed_free(&bed);
}

static int worker_call(AioRequest *request)
{
    g_assert_null(event_loop_current());
    return 77;
}

static void call_start(void *opaque)
{
    Job *job = opaque;
    job->request.call = worker_call;
    aio_run_worker(job->bed->loop, &job->request);
}

static void call_runs_in_a_worker_and_ends_on_the_loop(gconstpointer engine)
{
    Bed bed;
    if (!bed_make(&bed, engine)) {
        return;
    }
    Job job = { .bed = &bed };
    job.request = (AioRequest){ .done = job_done, .opaque = &job };
    bed.pending = 1;
    event_loop_call(bed.loop, call_start, &job);
    bed_wait(&bed);
    g_assert_cmpint(job.res, ==, 77);
    bed_free(&bed);
}

static void main_loop_completes_requests(void)
{
    EventLoop *loop = event_loop_main();
    Bed bed = { .loop = loop, .engine = AIO_ENGINE_IO_URING, .path = g_strdup("test-aio-XXXXXX") };
    char data[512];
    Job job;
    g_autoptr(GError) error = NULL;
    bed.fd = g_mkstemp(bed.path);
    g_assert_cmpint(ftruncate(bed.fd, 4096), ==, 0);
    g_assert_false(aio_engine_usable(loop, AIO_ENGINE_IO_URING, &error)); /* it is an epoll loop */
    g_assert_nonnull(error);
    job_start(&bed, &job, AIO_READ, data, 0, 512); /* and workers stand in */
    while (!job.calls) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpint(job.res, ==, 512);
    close(bed.fd);
    unlink(bed.path);
    g_free(bed.path);
}

/* Two loops share a lane, which its owner gives up while it works: each request is carried out
 * once, alone, a loop's own in their order. */
enum { LANE_LOOPS = 2, LANE_REQUESTS = 500 };

typedef struct Walk {
    Bed bed;
    Job jobs[LANE_REQUESTS];
} Walk;

static _Atomic int lane_users, lane_next[LANE_LOOPS];

static int lane_call(AioRequest *request)
{
    g_assert_cmpint(atomic_fetch_add(&lane_users, 1), ==, 0);
    g_assert_cmpint(atomic_fetch_add(&lane_next[request->offset], 1), ==, request->length);
    atomic_fetch_sub(&lane_users, 1);
    return (int)request->length;
}

static void walk_begin(void *opaque)
{
    Walk *walk = opaque;
    for (int i = 0; i < LANE_REQUESTS; i++) {
        walk->jobs[i].request.call = lane_call;
        job_submit(&walk->jobs[i]);
    }
}

static void a_lane_of_two_loops_takes_turns(void)
{
    Walk *walks = g_new0(Walk, LANE_LOOPS);
    AioLane *lane = aio_lane_new();
    for (int i = 0; i < LANE_LOOPS; i++) {
        Bed *bed = &walks[i].bed;
        lane_next[i] = 0;
        bed->loop = event_loop_new("lane", LOOP_ENGINE_AUTO, NULL);
        g_assert_true(event_loop_start(bed->loop, NULL));
        bed->lane = lane;
        for (int j = 0; j < LANE_REQUESTS; j++) {
            job_make(bed, &walks[i].jobs[j], AIO_CALL, NULL, (uint64_t)i, (uint64_t)j);
        }
        event_loop_call(bed->loop, walk_begin, &walks[i]);
    }
    aio_lane_unref(lane);
    for (int i = 0; i < LANE_LOOPS; i++) {
        bed_wait(&walks[i].bed);
        for (int j = 0; j < LANE_REQUESTS; j++) {
            g_assert_cmpint(walks[i].jobs[j].res, ==, j);
        }
        event_loop_free(walks[i].bed.loop);
    }
    g_free(walks);
}

#define ADD(test)                                                                                  \
    do {                                                                                           \
        for (size_t e = 0; e < G_N_ELEMENTS(engines); e++) {                                       \
            g_autofree char *path = g_strdup_printf("/aio/%s/" #test, engines[e].name);            \
            g_test_add_data_func(path, &engines[e], test);                                         \
        }                                                                                          \
    } while (0)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(every_operation_does_its_work);
    ADD(errors_come_back_as_negative_errno);
    ADD(more_requests_than_any_ring_holds_all_complete);
    ADD(resubmission_from_done_works_with_polling);
    ADD(requests_handed_over_early_complete);
    ADD(call_runs_in_a_worker_and_ends_on_the_loop);
    g_test_add_func("/aio/lane/two-loops", a_lane_of_two_loops_takes_turns);
    g_test_add_func("/aio/main/requests", main_loop_completes_requests);
    return g_test_run();
}
