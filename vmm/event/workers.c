/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker threads: blocking file work. One pool for the process; a thread starts when there is
 * work and none idle, up to a maximum, and ends after some seconds without.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <urcu.h>
#include "vmm/error.h"
#include "vmm/event/internal.h"
#include "vmm/trace/trace-event.h"

#define WORKERS_MAX  64
#define IDLE_SECONDS 10

static struct {
    GMutex lock;
    GCond cond;
    AioRequest *head, **tail;
    unsigned threads, idle;
} pool;

static ssize_t do_ioctl_range(AioRequest *request, unsigned long op)
{
    uint64_t range[2] = { request->offset, request->length };
    if (ioctl(request->fd, op, range) == 0) {
        return 0;
    }
    return errno == ENOTTY || errno == EOPNOTSUPP ? -ENOTSUP : -errno;
}

static ssize_t do_fallocate(AioRequest *request, int mode)
{
    return fallocate(request->fd, mode, request->offset, request->length) == 0 ? 0 : -errno;
}

static ssize_t perform_once(AioRequest *request)
{
    ssize_t n;
    switch (request->op) {
    case AIO_READ:
        n = preadv2(request->fd, request->iov, request->iov_count, request->offset,
                    request->rw_flags);
        return n < 0 ? -errno : n;
    case AIO_WRITE:
        n = pwritev2(request->fd, request->iov, request->iov_count, request->offset,
                     request->rw_flags);
        return n < 0 ? -errno : n;
    case AIO_FSYNC:
        return fdatasync(request->fd) < 0 ? -errno : 0;
    case AIO_PUNCH_HOLE:
        return request->block_device
                   ? do_ioctl_range(request, BLKDISCARD)
                   : do_fallocate(request, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    case AIO_ZERO_RANGE:
        return request->block_device
                   ? do_ioctl_range(request, BLKZEROOUT)
                   : do_fallocate(request, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
    case AIO_ALLOCATE:
        return do_fallocate(request, 0);
    default:
        return request->call(request);
    }
}

ssize_t aio_perform(AioRequest *request)
{
    ssize_t ret;
    do {
        ret = perform_once(request);
    } while (ret == -EINTR && request->op != AIO_CALL);
    return ret;
}

void aio_post_completed(AioRequest *newest, AioRequest *oldest)
{
    EventLoop *loop = newest->loop;
    AioRequest *head = atomic_load(&loop->completed);
    atomic_fetch_add(&loop->wakers, 1);
    do {
        oldest->next = head;
    } while (!atomic_compare_exchange_weak(&loop->completed, &head, newest));
    loop_wake(loop);
    atomic_fetch_sub(&loop->wakers, 1);
}

/* The next request, or NULL when it is time for the thread to end. Called with the lock. */
static AioRequest *next_request(void)
{
    int64_t until = g_get_monotonic_time() + IDLE_SECONDS * G_USEC_PER_SEC;
    while (!pool.head) {
        pool.idle++;
        bool more = g_cond_wait_until(&pool.cond, &pool.lock, until);
        pool.idle--;
        if (!more && !pool.head) {
            return NULL;
        }
    }
    AioRequest *request = pool.head;
    pool.head = request->next;
    if (!pool.head) {
        pool.tail = &pool.head;
    }
    return request;
}

/* The turn of a lane has no loop, and may be on its way again when the call has ended. */
static void worker_carry_out(AioRequest *request)
{
    bool awaited = request->loop != NULL;
    trace_worker_run(request, request->op);
    ssize_t res = aio_perform(request);
    if (awaited) {
        request->res = res;
        aio_post_completed(request, request);
    }
}

static void *worker_thread(void *opaque)
{
    pthread_setname_np(pthread_self(), "worker");
    rcu_register_thread();
    g_mutex_lock(&pool.lock);
    AioRequest *request;
    while ((request = next_request())) {
        g_mutex_unlock(&pool.lock);
        worker_carry_out(request);
        g_mutex_lock(&pool.lock);
    }
    pool.threads--;
    g_mutex_unlock(&pool.lock);
    rcu_unregister_thread();
    return NULL;
}

/* With the lock. A request is carried out later by the threads there are if none can be added. */
static bool add_worker(void)
{
    pthread_t thread;
    if (pool.threads >= WORKERS_MAX || loop_create_thread(&thread, worker_thread, NULL) != 0) {
        return pool.threads > 0;
    }
    pthread_detach(thread);
    pool.threads++;
    return true;
}

void worker_submit(AioRequest *request)
{
    g_mutex_lock(&pool.lock);
    if (!pool.tail) {
        pool.tail = &pool.head;
    }
    request->next = NULL;
    *pool.tail = request;
    pool.tail = &request->next;
    bool ok = true;
    if (pool.idle) {
        g_cond_signal(&pool.cond);
    } else {
        ok = add_worker();
    }
    if (!ok) { /* not a single thread to be had: nobody else can have taken it */
        pool.head = NULL;
        pool.tail = &pool.head;
    }
    g_mutex_unlock(&pool.lock);
    if (!ok) {
        worker_carry_out(request);
    }
}
