/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lane: writes through the page cache to one file, one after another. Most file systems let one
 * such write in at a time, and io_uring gives each to a kernel thread of its own and back; here a
 * worker thread takes all that are there and hands them back in groups.
 */
#include "vmm/event/internal.h"

#define GROUP_MAX   16                /* requests handed back at once */
#define GROUP_TIME  (100 * NS_PER_US) /* or when the first has waited so long */
#define TURN_ROUNDS 16                /* then other work of the pool has its turn */

struct AioLane {
    AioRequest turn;             /* of the worker threads' queue */
    _Atomic unsigned references; /* its user's, and one of the turn while there is work */
    GMutex lock;                 /* leaf */
    AioRequest *head, **tail;
    bool busy;
};

/* Done requests of one loop, newest first, as the loop wants them. */
typedef struct LaneGroup {
    AioRequest *newest, *oldest;
    unsigned count;
    int64_t since;
} LaneGroup;

static int lane_turn(AioRequest *turn);

AioLane *aio_lane_new(void)
{
    AioLane *lane = g_new0(AioLane, 1);
    lane->turn.op = AIO_CALL;
    lane->turn.call = lane_turn;
    lane->turn.opaque = lane;
    atomic_store(&lane->references, 1);
    g_mutex_init(&lane->lock);
    lane->tail = &lane->head;
    return lane;
}

void aio_lane_unref(AioLane *lane)
{
    if (lane && atomic_fetch_sub(&lane->references, 1) == 1) {
        g_mutex_clear(&lane->lock);
        g_free(lane);
    }
}

static void group_post(LaneGroup *group)
{
    if (group->count) {
        aio_post_completed(group->newest, group->oldest);
    }
    *group = (LaneGroup){ 0 };
}

static void group_add(LaneGroup *group, AioRequest *request)
{
    int64_t now = clock_now(VM_CLOCK_REALTIME);
    if (group->count && group->newest->loop != request->loop) {
        group_post(group);
    }
    if (!group->count) {
        group->oldest = request;
        group->since = now;
    }
    request->next = group->newest;
    group->newest = request;
    if (++group->count == GROUP_MAX || now - group->since > GROUP_TIME) {
        group_post(group);
    }
}

/* All that is queued, or NULL; then the lane is idle. */
static AioRequest *lane_take(AioLane *lane)
{
    g_mutex_lock(&lane->lock);
    AioRequest *list = lane->head;
    lane->head = NULL;
    lane->tail = &lane->head;
    lane->busy = list != NULL;
    g_mutex_unlock(&lane->lock);
    return list;
}

static void lane_run(AioRequest *list)
{
    LaneGroup group = { 0 };
    while (list) {
        AioRequest *next = list->next;
        list->res = aio_perform(list);
        group_add(&group, list);
        list = next;
    }
    group_post(&group);
}

/* In a worker thread. Whose turn it is has no loop: nobody waits for its end. */
static int lane_turn(AioRequest *turn)
{
    AioLane *lane = turn->opaque;
    for (unsigned i = 0; i < TURN_ROUNDS; i++) {
        AioRequest *list = lane_take(lane);
        if (!list) {
            aio_lane_unref(lane);
            return 0;
        }
        lane_run(list);
    }
    worker_submit(turn);
    return 0;
}

void aio_submit_lane(EventLoop *loop, AioLane *lane, AioRequest *request)
{
    assert(event_loop_is_current(loop));
    request->loop = loop;
    request->next = NULL;
    loop->aio_inflight++;
    g_mutex_lock(&lane->lock);
    *lane->tail = request;
    lane->tail = &request->next;
    bool start = !lane->busy;
    lane->busy = true;
    g_mutex_unlock(&lane->lock);
    if (start) {
        atomic_fetch_add(&lane->references, 1);
        worker_submit(&lane->turn);
    }
}
