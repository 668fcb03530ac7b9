/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input routing: sinks, keys, and the queue of key events with pauses between. */
#include "ui/input.h"
#include "vmm/event/loop.h"
#include "vmm/machine/machine.h"

#define QUEUE_MAX 1024 /* events and delays; what comes then is dropped */

typedef struct QueueItem {
    int64_t delay; /* 0: the event */
    InputKey key;
    bool down;
} QueueItem;

static GPtrArray *sinks; /* the one that is asked first is first */
static int next_index;
static GQueue queue = G_QUEUE_INIT;
static Timer queue_timer;
static bool queue_waits;
static unsigned leds; /* atomic */

/* ---- Keys ---- */

static const struct {
    const char *name;
    uint8_t number;
} keys[INPUT_KEY_COUNT] = {
#define INPUT_KEY_ROW(name, qcode, number) [INPUT_KEY_##name] = { qcode, number },
    INPUT_KEYS(INPUT_KEY_ROW)
#undef INPUT_KEY_ROW
};

InputKey input_key_find(const char *name)
{
    for (unsigned i = 0; i < INPUT_KEY_COUNT; i++) {
        if (g_str_equal(keys[i].name, name)) {
            return (InputKey)i;
        }
    }
    return INPUT_KEY_UNMAPPED;
}

InputKey input_key_from_number(unsigned number)
{
    for (unsigned i = 1; i < INPUT_KEY_COUNT; i++) {
        if (keys[i].number == number) {
            return (InputKey)i;
        }
    }
    return INPUT_KEY_UNMAPPED;
}

unsigned input_key_number(InputKey key)
{
    return keys[key].number;
}

const char *input_key_name(InputKey key)
{
    return keys[key].name;
}

/* ---- Sinks ---- */

void input_sink_add(InputSink *sink)
{
    if (!sinks) {
        sinks = g_ptr_array_new();
    }
    sink->index = next_index++;
    sink->touched = false;
    g_ptr_array_insert(sinks, 0, sink);
}

void input_sink_remove(InputSink *sink)
{
    if (sinks) {
        g_ptr_array_remove(sinks, sink);
    }
}

void input_sink_activate(InputSink *sink)
{
    if (g_ptr_array_remove(sinks, sink)) {
        g_ptr_array_insert(sinks, 0, sink);
    }
}

static InputSink *find_sink(unsigned kinds)
{
    for (guint i = 0; sinks && i < sinks->len; i++) {
        InputSink *sink = g_ptr_array_index(sinks, i);
        if (sink->kinds & kinds) {
            return sink;
        }
    }
    return NULL;
}

bool input_has_sink(unsigned kinds)
{
    return find_sink(kinds) != NULL;
}

static bool guest_listens(void)
{
    const Machine *machine = machine_get();
    return machine && machine_is_running(machine);
}

void input_send(const InputEvent *event)
{
    InputSink *sink = find_sink(event->kind);
    if (sink && guest_listens()) {
        sink->touched = true;
        sink->event(sink->opaque, event);
    }
}

void input_sync(void)
{
    for (guint i = 0; sinks && i < sinks->len; i++) {
        InputSink *sink = g_ptr_array_index(sinks, i);
        if (sink->touched && sink->sync) {
            sink->sync(sink->opaque);
        }
        sink->touched = false;
    }
}

/* ---- The queue ---- */

static void send_key(InputKey key, bool down)
{
    input_send(&(InputEvent){ .kind = INPUT_KIND_KEY, .key = key, .down = down });
    input_sync();
}

/* Up to the next delay. */
static void queue_run(void *opaque)
{
    queue_waits = false;
    while (!queue_waits && !g_queue_is_empty(&queue)) {
        g_autofree QueueItem *item = g_queue_pop_head(&queue);
        if (item->delay) {
            queue_waits = true;
            timer_arm(&queue_timer, clock_now(VM_CLOCK_VIRTUAL) + item->delay);
        } else {
            send_key(item->key, item->down);
        }
    }
}

static void queue_push(QueueItem item)
{
    if (!queue_timer.fire) {
        timer_init(&queue_timer, event_loop_main(), VM_CLOCK_VIRTUAL, NULL, queue_run, NULL);
    }
    if (g_queue_get_length(&queue) < QUEUE_MAX) {
        g_queue_push_tail(&queue, g_memdup2(&item, sizeof(item)));
    }
    if (!queue_waits) {
        queue_run(NULL);
    }
}

void input_queue_key(InputKey key, bool down)
{
    queue_push((QueueItem){ .key = key, .down = down });
}

void input_queue_delay(int64_t ns)
{
    if (ns > 0) {
        queue_push((QueueItem){ .delay = ns });
    }
}

/* ---- Lights, mice ---- */

void input_set_leds(unsigned value)
{
    __atomic_store_n(&leds, value, __ATOMIC_RELAXED);
}

unsigned input_leds(void)
{
    return __atomic_load_n(&leds, __ATOMIC_RELAXED);
}

static bool is_mouse(const InputSink *sink)
{
    return sink->kinds & (INPUT_KIND_RELATIVE | INPUT_KIND_ABSOLUTE);
}

json_object *input_query_mice(void)
{
    json_object *list = json_object_new_array();
    bool current = true;
    for (guint i = 0; sinks && i < sinks->len; i++) {
        const InputSink *sink = g_ptr_array_index(sinks, i);
        if (!is_mouse(sink)) {
            continue;
        }
        json_object *mouse = json_object_new_object();
        json_add_string(mouse, "name", sink->name);
        json_add_int(mouse, "index", sink->index);
        json_add_bool(mouse, "current", current);
        json_add_bool(mouse, "absolute", sink->kinds & INPUT_KIND_ABSOLUTE);
        json_object_array_add(list, mouse);
        current = false;
    }
    return list;
}

bool input_set_mouse(int index, GError **error)
{
    for (guint i = 0; sinks && i < sinks->len; i++) {
        InputSink *sink = g_ptr_array_index(sinks, i);
        if (sink->index == index && is_mouse(sink)) {
            input_sink_activate(sink);
            return true;
        }
    }
    return error_set(error, "there is no mouse %d: `info mice` lists them", index);
}
