/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The io_uring engine: watches are polls, file requests are SQEs of the same ring, and one
 * io_uring_enter(2) hands over a batch and waits. The ring is made disabled, and enabled by the
 * loop's thread, which is then its single issuer (Linux 6.1); older kernels do without.
 */
#include <errno.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "vmm/error.h"
#include "vmm/event/internal.h"

#define SQ_ENTRIES  256
#define CQ_ENTRIES  1024
#define AIO_IN_RING (CQ_ENTRIES - 128) /* the rest is for polls */
#define TAG_MASK    7u
#define TAG_AIO     0u
#define TAG_WATCH   1u
#define TAG_IGNORE  2u
#define COLLECT_MAX CQ_ENTRIES /* events handled in one round */

struct UringEngine {
    struct io_uring ring;
    GArray *dirty;                       /* uint32_t: slots to be armed */
    GArray *removes;                     /* uint64_t: polls to be taken back */
    AioRequest *waiting, **waiting_tail; /* no room in the ring yet */
    unsigned in_ring;
};

static uint64_t watch_tag(uint32_t slot, uint32_t generation)
{
    return (uint64_t)generation << 35 | (uint64_t)slot << 3 | TAG_WATCH;
}

static int ring_setup(struct io_uring *ring)
{
    static const unsigned flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
            IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        0,
    };
    int ret = -EINVAL;
    for (unsigned i = 0; i < G_N_ELEMENTS(flags) && ret == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
            .cq_entries = CQ_ENTRIES,
        };
        ret = io_uring_queue_init_params(SQ_ENTRIES, ring, &params);
    }
    return ret;
}

static bool uring_init(EventLoop *loop, GError **error)
{
    UringEngine *engine = g_new0(UringEngine, 1);
    int ret = ring_setup(&engine->ring);
    if (ret < 0) {
        g_free(engine);
        return error_set_errno(error, -ret, "cannot set up io_uring%s",
                               ret == -EPERM ? " (see /proc/sys/kernel/io_uring_disabled)" : "");
    }
    unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
    if ((engine->ring.features & needed) != needed) {
        io_uring_queue_exit(&engine->ring);
        g_free(engine);
        return error_set(error, "io_uring of this kernel is too old (Linux 5.11 is needed)");
    }
    engine->dirty = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    engine->removes = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    engine->waiting_tail = &engine->waiting;
    loop->uring = engine;
    return true;
}

static bool uring_enter_thread(EventLoop *loop)
{
    UringEngine *engine = loop->uring;
    /* io_uring_enable_rings() is not exported by liburing 2.3 */
    if (syscall(SYS_io_uring_register, engine->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
                0) < 0) {
        report_error("event loop '%s': cannot enable its io_uring: %s", loop->name,
                     g_strerror(errno));
        return false;
    }
    io_uring_register_ring_fd(&engine->ring); /* saves a look-up a call where the kernel has it */
    return true;
}

static void uring_leave_thread(EventLoop *loop)
{
    io_uring_unregister_ring_fd(&loop->uring->ring);
}

static void uring_fini(EventLoop *loop)
{
    UringEngine *engine = loop->uring;
    io_uring_queue_exit(&engine->ring);
    g_array_unref(engine->dirty);
    g_array_unref(engine->removes);
    g_free(engine);
}

/* ---- Watches ---- */

static void mark_dirty(EventLoop *loop, uint32_t slot)
{
    WatchSlot *s = loop_slot(loop, slot);
    if (!s->dirty) {
        s->dirty = true;
        g_array_append_val(loop->uring->dirty, slot);
    }
}

static void disarm(EventLoop *loop, uint32_t slot)
{
    WatchSlot *s = loop_slot(loop, slot);
    if (s->armed) {
        uint64_t tag = watch_tag(slot, s->generation);
        g_array_append_val(loop->uring->removes, tag);
        s->armed = 0;
        s->generation = (s->generation + 1) & 0x1fffffff;
    }
}

static void uring_watch_changed(EventLoop *loop, uint32_t slot)
{
    disarm(loop, slot);
    if (loop_slot(loop, slot)->watch->events) {
        mark_dirty(loop, slot);
    }
}

static void uring_watch_removed(EventLoop *loop, uint32_t slot, int fd)
{
    disarm(loop, slot);
}

static struct io_uring_sqe *get_sqe(UringEngine *engine)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&engine->ring);
    if (!sqe) {
        io_uring_submit(&engine->ring);
        sqe = io_uring_get_sqe(&engine->ring);
    }
    return sqe;
}

static bool arm(EventLoop *loop, uint32_t slot)
{
    WatchSlot *s = loop_slot(loop, slot);
    s->dirty = false;
    if (!s->watch || !s->watch->events || s->armed) {
        return true;
    }
    struct io_uring_sqe *sqe = get_sqe(loop->uring);
    if (!sqe) {
        s->dirty = true;
        return false;
    }
    unsigned events = s->watch->events;
    /* A poll that fires once and is armed again has level-triggered semantics. */
    if (events & FD_WATCH_EDGE) {
        io_uring_prep_poll_multishot(sqe, s->watch->fd, events & ~FD_WATCH_EDGE);
    } else {
        io_uring_prep_poll_add(sqe, s->watch->fd, events);
    }
    io_uring_sqe_set_data64(sqe, watch_tag(slot, s->generation));
    s->armed = events;
    return true;
}

static void flush_watches(EventLoop *loop)
{
    UringEngine *engine = loop->uring;
    guint done = 0;
    for (; done < engine->removes->len; done++) {
        struct io_uring_sqe *sqe = get_sqe(engine);
        if (!sqe) {
            break;
        }
        io_uring_prep_poll_remove(sqe, g_array_index(engine->removes, uint64_t, done));
        io_uring_sqe_set_data64(sqe, TAG_IGNORE);
    }
    if (done) {
        g_array_remove_range(engine->removes, 0, done);
    }
    for (done = 0; done < engine->dirty->len; done++) {
        if (!arm(loop, g_array_index(engine->dirty, uint32_t, done))) {
            break;
        }
    }
    if (done) {
        g_array_remove_range(engine->dirty, 0, done);
    }
}

/* A wake-up's mask can promise more than there is: TCP wakes its readers with EPOLLPRI for any
 * data. Where it matters, poll(2) is asked. */
static int checked_events(const FdWatch *watch, int res)
{
    if (!(res & POLLPRI)) {
        return res;
    }
    struct pollfd p = { .fd = watch->fd, .events = (short)(watch->events & ~FD_WATCH_EDGE) };
    return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static void watch_event(EventLoop *loop, uint64_t tag, int res, unsigned flags)
{
    uint32_t slot = (uint32_t)(tag >> 3);
    uint32_t generation = (uint32_t)(tag >> 35);
    WatchSlot *s = loop_slot_find(loop, slot, generation);
    if (!s) {
        return;
    }
    FdWatch *watch = s->watch;
    if (!(flags & IORING_CQE_F_MORE)) {
        s->armed = 0;
        mark_dirty(loop, slot);
    }
    if (res < 0) {
        if (res != -ECANCELED && res != -EINTR) {
            watch->events = 0; /* not a file that can be watched: say so once */
            watch->ready(watch->opaque, POLLERR | POLLNVAL);
        }
        return;
    }
    unsigned wanted = (watch->events & ~FD_WATCH_EDGE) | POLLERR | POLLHUP;
    res = checked_events(watch, res);
    if (res & wanted) {
        watch->ready(watch->opaque, res & wanted);
    }
}

/* ---- File requests ---- */

static bool prepare_aio(UringEngine *engine, AioRequest *request)
{
    struct io_uring_sqe *sqe = get_sqe(engine);
    if (!sqe) {
        return false;
    }
    const struct iovec *iov = request->iov;
    switch (request->op) {
    case AIO_READ:
        if (request->iov_count == 1) {
            io_uring_prep_read(sqe, request->fd, iov->iov_base, iov->iov_len, request->offset);
        } else {
            io_uring_prep_readv(sqe, request->fd, iov, request->iov_count, request->offset);
        }
        sqe->rw_flags = request->rw_flags;
        break;
    case AIO_WRITE:
        if (request->iov_count == 1) {
            io_uring_prep_write(sqe, request->fd, iov->iov_base, iov->iov_len, request->offset);
        } else {
            io_uring_prep_writev(sqe, request->fd, iov, request->iov_count, request->offset);
        }
        sqe->rw_flags = request->rw_flags;
        break;
    case AIO_FSYNC:
        io_uring_prep_fsync(sqe, request->fd, IORING_FSYNC_DATASYNC);
        break;
    case AIO_PUNCH_HOLE:
        io_uring_prep_fallocate(sqe, request->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                request->offset, request->length);
        break;
    case AIO_ZERO_RANGE:
        io_uring_prep_fallocate(sqe, request->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                request->offset, request->length);
        break;
    default:
        io_uring_prep_fallocate(sqe, request->fd, 0, request->offset, request->length);
        break;
    }
    io_uring_sqe_set_data(sqe, request);
    engine->in_ring++;
    return true;
}

static void uring_aio(EventLoop *loop, AioRequest *request)
{
    UringEngine *engine = loop->uring;
    if (engine->waiting || engine->in_ring >= AIO_IN_RING || !prepare_aio(engine, request)) {
        request->next = NULL;
        *engine->waiting_tail = request;
        engine->waiting_tail = &request->next;
    }
}

static void start_waiting(UringEngine *engine)
{
    while (engine->waiting && engine->in_ring < AIO_IN_RING) {
        AioRequest *request = engine->waiting;
        AioRequest *next = request->next;
        if (!prepare_aio(engine, request)) {
            return;
        }
        engine->waiting = next;
        if (!next) {
            engine->waiting_tail = &engine->waiting;
        }
    }
}

/* What the kernel does not take now it gets at the end of the round, as it gets watches that are
 * armed again. */
static void uring_aio_hand_over(EventLoop *loop)
{
    if (io_uring_sq_ready(&loop->uring->ring)) {
        io_uring_submit(&loop->uring->ring);
    }
}

/* ---- Rounds ---- */

static bool needs_enter(const UringEngine *engine)
{
    return __atomic_load_n(engine->ring.sq.kflags, __ATOMIC_RELAXED) &
           (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static bool uring_ready(EventLoop *loop)
{
    return io_uring_cq_ready(&loop->uring->ring) || needs_enter(loop->uring);
}

static bool uring_collect(EventLoop *loop)
{
    UringEngine *engine = loop->uring;
    struct io_uring *ring = &engine->ring;
    if (needs_enter(engine)) {
        io_uring_submit_and_get_events(ring);
    }
    unsigned count = MIN(io_uring_cq_ready(ring), COLLECT_MAX);
    for (unsigned i = 0; i < count; i++) {
        struct io_uring_cqe *cqe = &ring->cq.cqes[*ring->cq.khead & ring->cq.ring_mask];
        uint64_t data = cqe->user_data;
        int res = cqe->res;
        unsigned flags = cqe->flags;
        io_uring_cq_advance(ring, 1);
        if ((data & TAG_MASK) == TAG_AIO) {
            engine->in_ring--;
            aio_complete((AioRequest *)(uintptr_t)data, res);
        } else if ((data & TAG_MASK) == TAG_WATCH) {
            watch_event(loop, data, res, flags);
        }
    }
    if (engine->waiting) {
        start_waiting(engine);
    }
    return count > 0;
}

static void uring_submit(EventLoop *loop)
{
    flush_watches(loop);
    if (io_uring_sq_ready(&loop->uring->ring)) {
        io_uring_submit_and_get_events(&loop->uring->ring);
    }
}

static void uring_wait(EventLoop *loop, int64_t timeout)
{
    struct io_uring_cqe *cqe;
    if (timeout == 0) {
        uring_submit(loop);
        return;
    }
    flush_watches(loop);
    struct __kernel_timespec ts = { .tv_sec = timeout / NS_PER_SEC,
                                    .tv_nsec = timeout % NS_PER_SEC };
    io_uring_submit_and_wait_timeout(&loop->uring->ring, &cqe, 1, timeout < 0 ? NULL : &ts, NULL);
}

const LoopBackend uring_backend = {
    .name = "io_uring",
    .init = uring_init,
    .enter_thread = uring_enter_thread,
    .leave_thread = uring_leave_thread,
    .fini = uring_fini,
    .watch_changed = uring_watch_changed,
    .watch_removed = uring_watch_removed,
    .ready = uring_ready,
    .collect = uring_collect,
    .submit = uring_submit,
    .wait = uring_wait,
    .aio = uring_aio,
    .aio_hand_over = uring_aio_hand_over,
};
