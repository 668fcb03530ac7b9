/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Throttle groups: leaky buckets, members' rows of waiting requests, and who goes next. */
#include "vmm/object/throttle_group.h"

#include <string.h>
#include "vmm/event/clock.h"

#define MAX_SLEEP_NS NS_PER_SEC /* looks again after this, whatever was computed */

typedef struct Bucket {
    double level; /* leaks at avg */
    double burst; /* leaks at max */
} Bucket;

struct ThrottleGroup {
    char *name;
    unsigned refs; /* main thread */
    GMutex lock;   /* leaf; all below */
    ThrottleConfig config;
    Bucket buckets[THROTTLE_LIMITS];
    int64_t leaked_at;
    ThrottleMember *members;
    ThrottleMember *turn[2]; /* whose request goes next */
    unsigned waiting[2];
    Timer timers[2];
};

static GPtrArray *groups; /* main thread */
static EventLoop *loop;   /* of all groups; lives while there are some */

/* ---- Buckets: lock held ---- */

static void leak(ThrottleGroup *g, int64_t now)
{
    double seconds = (double)MAX(now - g->leaked_at, 0) / NS_PER_SEC;
    g->leaked_at = now;
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        const ThrottleLimit *limit = &g->config.limits[i];
        Bucket *bucket = &g->buckets[i];
        bucket->level = MAX(bucket->level - (double)limit->avg * seconds, 0);
        bucket->burst = MAX(bucket->burst - (double)limit->max * seconds, 0);
    }
}

/* Nanoseconds until the bucket has room. */
static int64_t bucket_wait(const ThrottleLimit *limit, const Bucket *bucket)
{
    if (!limit->avg) {
        return 0;
    }
    double room = limit->max ? (double)limit->max * (double)MAX(limit->length, 1)
                             : (double)limit->avg / 10;
    double wait = MAX(bucket->level - room, 0) / (double)limit->avg;
    if (limit->length > 1) {
        double burst = MAX(bucket->burst - (double)limit->max / 10, 0) / (double)limit->max;
        wait = MAX(wait, burst);
    }
    return (int64_t)(MIN(wait, 1.0) * (double)NS_PER_SEC);
}

static bool concerns(int limit, bool write)
{
    return limit % 3 == 0 || limit % 3 == (write ? 2 : 1);
}

static int64_t group_wait(ThrottleGroup *g, bool write)
{
    int64_t wait = 0;
    leak(g, clock_now(VM_CLOCK_REALTIME));
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        if (concerns(i, write)) {
            wait = MAX(wait, bucket_wait(&g->config.limits[i], &g->buckets[i]));
        }
    }
    return wait;
}

static void charge(ThrottleGroup *g, bool write, uint64_t bytes)
{
    uint64_t size = g->config.iops_size;
    double operations = size && bytes > size ? (double)bytes / (double)size : 1;
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        if (concerns(i, write)) {
            double units = i < THROTTLE_IOPS_TOTAL ? (double)bytes : operations;
            g->buckets[i].level += units;
            g->buckets[i].burst += units;
        }
    }
}

/* ---- Rows: lock held ---- */

static void enqueue(ThrottleMember *m, bool write, ThrottleTicket *ticket)
{
    ticket->next = NULL;
    *m->waiting_tail[write] = ticket;
    m->waiting_tail[write] = &ticket->next;
    m->group->waiting[write]++;
}

static void let_first_go(ThrottleMember *m, bool write)
{
    ThrottleTicket *ticket = m->waiting[write];
    m->waiting[write] = ticket->next;
    if (!m->waiting[write]) {
        m->waiting_tail[write] = &m->waiting[write];
    }
    m->group->waiting[write]--;
    charge(m->group, write, ticket->bytes);
    event_loop_post(ticket->loop, &ticket->task);
}

static ThrottleMember *next_member(ThrottleGroup *g, bool write)
{
    ThrottleMember *m = g->turn[write] ? g->turn[write] : g->members;
    while (!m->waiting[write]) {
        m = m->next ? m->next : g->members;
    }
    g->turn[write] = m->next;
    return m;
}

static void dispatch(ThrottleGroup *g, bool write)
{
    while (g->waiting[write]) {
        int64_t wait = group_wait(g, write);
        if (wait) {
            timer_arm(&g->timers[write], g->leaked_at + MIN(wait, MAX_SLEEP_NS));
            return;
        }
        let_first_go(next_member(g, write), write);
    }
}

static void reads_due(void *opaque)
{
    dispatch(opaque, false);
}

static void writes_due(void *opaque)
{
    dispatch(opaque, true);
}

static void let_all_go(ThrottleMember *m)
{
    for (int write = 0; write < 2; write++) {
        while (m->waiting[write]) {
            let_first_go(m, write);
        }
    }
}

/* ---- Members ---- */

void throttle_member_join(ThrottleMember *m, ThrottleGroup *g)
{
    g->refs++;
    g_mutex_lock(&g->lock);
    for (int write = 0; write < 2; write++) {
        m->waiting[write] = NULL;
        m->waiting_tail[write] = &m->waiting[write];
    }
    m->group = g;
    m->prev = NULL;
    m->next = g->members;
    if (g->members) {
        g->members->prev = m;
    }
    g->members = m;
    g_mutex_unlock(&g->lock);
}

void throttle_member_leave(ThrottleMember *m)
{
    ThrottleGroup *g = m->group;
    if (!g) {
        return;
    }
    g_mutex_lock(&g->lock);
    let_all_go(m);
    if (m->prev) {
        m->prev->next = m->next;
    } else {
        g->members = m->next;
    }
    if (m->next) {
        m->next->prev = m->prev;
    }
    g->turn[0] = g->turn[1] = NULL;
    m->group = NULL;
    g_mutex_unlock(&g->lock);
    throttle_group_unref(g);
}

void throttle_member_drain(ThrottleMember *m, bool begin)
{
    ThrottleGroup *g = m->group;
    if (!g) {
        m->drained += begin ? 1 : -1;
        return;
    }
    g_mutex_lock(&g->lock);
    m->drained += begin ? 1 : -1;
    if (begin) {
        let_all_go(m);
    }
    g_mutex_unlock(&g->lock);
}

bool throttle_member_pass(ThrottleMember *m, bool write, ThrottleTicket *ticket)
{
    ThrottleGroup *g = m->group;
    g_mutex_lock(&g->lock);
    int64_t wait = m->drained ? 0 : group_wait(g, write);
    bool pass = m->drained || (!g->waiting[write] && !wait);
    if (pass) {
        charge(g, write, ticket->bytes);
    } else {
        enqueue(m, write, ticket);
        if (g->waiting[write] == 1) {
            timer_arm(&g->timers[write], clock_now(VM_CLOCK_REALTIME) + MIN(wait, MAX_SLEEP_NS));
        }
    }
    g_mutex_unlock(&g->lock);
    return pass;
}

/* ---- Groups: main thread ---- */

static ThrottleGroup *find(const char *name)
{
    for (guint i = 0; groups && i < groups->len; i++) {
        ThrottleGroup *g = groups->pdata[i];
        if (!strcmp(g->name, name)) {
            return g;
        }
    }
    return NULL;
}

static bool need_loop(GError **error)
{
    if (loop) {
        return true;
    }
    loop = event_loop_new("I/O limits", LOOP_ENGINE_AUTO, error);
    if (!loop || !event_loop_start(loop, error)) {
        g_clear_pointer(&loop, event_loop_free);
        return false;
    }
    event_loop_set_polling(loop, 0, 0, 0);
    return true;
}

ThrottleGroup *throttle_group_get(const char *name, bool create, GError **error)
{
    ThrottleGroup *g = find(name);
    if (g) {
        g->refs++;
        return g;
    }
    if (!create) {
        error_set(error, "there is no throttle group '%s' (-object throttle-group,id=%s makes one)",
                  name, name);
        return NULL;
    }
    if (!need_loop(error)) {
        return NULL;
    }
    g = g_new0(ThrottleGroup, 1);
    g->name = g_strdup(name);
    g->refs = 1;
    g->leaked_at = clock_now(VM_CLOCK_REALTIME);
    g_mutex_init(&g->lock);
    timer_init(&g->timers[0], loop, VM_CLOCK_REALTIME, &g->lock, reads_due, g);
    timer_init(&g->timers[1], loop, VM_CLOCK_REALTIME, &g->lock, writes_due, g);
    groups = groups ? groups : g_ptr_array_new();
    g_ptr_array_add(groups, g);
    return g;
}

static void cancel_timers(void *opaque)
{
    ThrottleGroup *g = opaque;
    g_mutex_lock(&g->lock);
    timer_cancel(&g->timers[0]);
    timer_cancel(&g->timers[1]);
    g_mutex_unlock(&g->lock);
}

void throttle_group_unref(ThrottleGroup *g)
{
    if (--g->refs) {
        return;
    }
    event_loop_call(loop, cancel_timers, g); /* on its thread: none is firing any more */
    g_ptr_array_remove(groups, g);
    g_mutex_clear(&g->lock);
    g_free(g->name);
    g_free(g);
    if (!groups->len) {
        g_clear_pointer(&groups, g_ptr_array_unref);
        g_clear_pointer(&loop, event_loop_free);
    }
}

const char *throttle_group_name(const ThrottleGroup *g)
{
    return g->name;
}

void throttle_group_config(ThrottleGroup *g, ThrottleConfig *config)
{
    g_mutex_lock(&g->lock);
    *config = g->config;
    g_mutex_unlock(&g->lock);
}

void throttle_group_set(ThrottleGroup *g, const ThrottleConfig *config)
{
    g_mutex_lock(&g->lock);
    g->config = *config;
    memset(g->buckets, 0, sizeof(g->buckets));
    g->leaked_at = clock_now(VM_CLOCK_REALTIME);
    dispatch(g, false);
    dispatch(g, true);
    g_mutex_unlock(&g->lock);
}
