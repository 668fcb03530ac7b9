/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events: from any thread to the sessions, in order, with QEMU's rate limits. */
#include <string.h>
#include "vmm/event/loop.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/schema.h"
#include "vmm/monitor/server.h"
#include "vmm/trace/trace-monitor.h"

#define MAX_QUEUED 4096 /* of events that the main thread has not sent yet; more are lost */

typedef struct QueuedEvent {
    const char *name; /* the schema's */
    json_object *event;
} QueuedEvent;

/* A rate-limited event, or one of its kinds: when it was last sent, and what waits. */
typedef struct Limit {
    char *key;
    int64_t sent_at;
    json_object *waiting;
    Timer timer;
} Limit;

static const char *const limited[] = { "BALLOON_CHANGE", "RTC_CHANGE", "WATCHDOG",
                                       "VSERPORT_CHANGE" };

static GMutex queue_lock; /* a leaf */
static GQueue queue = G_QUEUE_INIT;
static GHashTable *limits; /* main thread */

static bool is_limited(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(limited); i++) {
        if (strcmp(limited[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *schema_name(const char *name)
{
    for (const char *const *event = qmp_event_names; *event; event++) {
        if (strcmp(*event, name) == 0) {
            return *event;
        }
    }
    return NULL;
}

static void limit_send(Limit *limit)
{
    json_object *event = g_steal_pointer(&limit->waiting);
    if (event) {
        limit->sent_at = clock_now(VM_CLOCK_REALTIME);
        qmp_sessions_send_event(event);
        json_object_put(event);
    }
}

static void limit_fired(void *opaque)
{
    limit_send(opaque);
}

static void limit_free(gpointer data)
{
    Limit *limit = data;
    timer_cancel(&limit->timer);
    json_object_put(limit->waiting);
    g_free(limit->key);
    g_free(limit);
}

/* One limit for each event, and for VSERPORT_CHANGE for each port. */
static Limit *find_limit(const QueuedEvent *item)
{
    json_object *data;
    json_object *id;
    const char *kind = "";
    if (strcmp(item->name, "VSERPORT_CHANGE") == 0 &&
        json_object_object_get_ex(item->event, "data", &data) &&
        json_object_object_get_ex(data, "id", &id)) {
        kind = json_object_get_string(id);
    }
    g_autofree char *key = g_strdup_printf("%s/%s", item->name, kind);
    if (!limits) {
        limits = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, limit_free);
    }
    Limit *limit = g_hash_table_lookup(limits, key);
    if (!limit) {
        limit = g_new0(Limit, 1);
        limit->key = g_steal_pointer(&key);
        limit->sent_at = INT64_MIN / 2;
        timer_init(&limit->timer, event_loop_main(), VM_CLOCK_REALTIME, NULL, limit_fired, limit);
        g_hash_table_insert(limits, limit->key, limit);
    }
    return limit;
}

static void deliver(const QueuedEvent *item)
{
    if (!is_limited(item->name)) {
        qmp_sessions_send_event(item->event);
        return;
    }
    Limit *limit = find_limit(item);
    bool waiting = limit->waiting != NULL;
    json_object_put(limit->waiting);
    limit->waiting = json_object_get(item->event);
    int64_t due = limit->sent_at + NS_PER_SEC;
    if (clock_now(VM_CLOCK_REALTIME) >= due) {
        limit_send(limit);
    } else if (!waiting) {
        timer_arm(&limit->timer, due);
    }
}

void events_flush(void)
{
    for (;;) {
        g_mutex_lock(&queue_lock);
        QueuedEvent *item = g_queue_pop_head(&queue);
        g_mutex_unlock(&queue_lock);
        if (!item) {
            return;
        }
        deliver(item);
        json_object_put(item->event);
        g_free(item);
    }
}

static void flush_task(void *opaque)
{
    events_flush();
}

void monitor_emit(const char *name, json_object *data)
{
    static LoopTask task = LOOP_TASK_INIT(flush_task, NULL);
    const char *known = schema_name(name);
    g_assert(known);
    int64_t now = g_get_real_time();
    json_object *stamp = json_object_new_object();
    json_add_int(stamp, "seconds", now / G_USEC_PER_SEC);
    json_add_int(stamp, "microseconds", now % G_USEC_PER_SEC);
    QueuedEvent *item = g_new(QueuedEvent, 1);
    item->name = known;
    item->event = json_object_new_object();
    json_object_object_add(item->event, "timestamp", stamp);
    json_add_string(item->event, "event", known);
    if (data) {
        json_object_object_add(item->event, "data", data);
    }
    trace_qmp_event(known, data ? json_object_to_json_string(data) : NULL);
    g_mutex_lock(&queue_lock);
    bool room = queue.length < MAX_QUEUED;
    if (room) {
        g_queue_push_tail(&queue, item);
    }
    g_mutex_unlock(&queue_lock);
    if (!room) {
        trace_qmp_event_lost(known);
        json_object_put(item->event);
        g_free(item);
        return;
    }
    EventLoop *loop = event_loop_main();
    if (event_loop_is_current(loop)) {
        events_flush(); /* before the answer of the command that made it */
    } else {
        event_loop_post(loop, &task);
    }
}

void events_close(void)
{
    events_flush();
    g_clear_pointer(&limits, g_hash_table_unref);
}

void monitors_close(void)
{
    dump_commands_end();
    events_close();
    hmp_sessions_close();
    qmp_sessions_close();
}
