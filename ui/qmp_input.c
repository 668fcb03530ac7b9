/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that press keys and move the mouse. */
#include <string.h>
#include "ui/input.h"
#include "vmm/event/clock.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/qmp-schema.h"

#define DEFAULT_HOLD_MS 100
#define MAX_HOLD_MS     (1000 * 1000)
#define MAX_KEYS        16

static const char *const button_names[] = { "left",     "middle",     "right",
                                            "wheel-up", "wheel-down", "side",
                                            "extra",    "wheel-left", "wheel-right" };
static const char *const axis_names[] = { "x", "y" };

static json_object *member(json_object *object, const char *name, json_type type, GError **error)
{
    json_object *value;
    if (!json_object_is_type(object, json_type_object) ||
        !json_object_object_get_ex(object, name, &value)) {
        error_set(error, "Parameter '%s' is missing", name);
        return NULL;
    }
    if (!json_object_is_type(value, type)) {
        error_set(error, "'%s' has to be of type %s", name,
                  type == json_type_int ? "integer" : json_type_to_name(type));
        return NULL;
    }
    return value;
}

/* {"type": "number" or "qcode", "data": ...} */
static bool parse_key(json_object *value, InputKey *key, GError **error)
{
    json_object *type = member(value, "type", json_type_string, error), *data;
    if (!type) {
        return false;
    }
    const char *kind = json_object_get_string(type);
    if (g_str_equal(kind, "number")) {
        data = member(value, "data", json_type_int, error);
        if (data) {
            *key = input_key_from_number((unsigned)json_object_get_int64(data));
        }
        return data != NULL;
    }
    if (!g_str_equal(kind, "qcode")) {
        return error_set(error, "Invalid parameter '%s'", kind);
    }
    data = member(value, "data", json_type_string, error);
    if (!data) {
        return false;
    }
    const char *name = json_object_get_string(data);
    *key = input_key_find(name);
    if (*key == INPUT_KEY_UNMAPPED && !g_str_equal(name, "unmapped")) {
        return error_set(error, "Invalid parameter '%s'", name);
    }
    return true;
}

static void press(const InputKey *keys, unsigned count, int64_t hold_ms)
{
    for (unsigned i = 0; i < count; i++) {
        input_queue_key(keys[i], true);
    }
    input_queue_delay(hold_ms * NS_PER_MS);
    for (unsigned i = count; i > 0; i--) {
        input_queue_key(keys[i - 1], false);
    }
    input_queue_delay(hold_ms * NS_PER_MS / 10); /* before what is pressed next */
}

static json_object *send_key(const void *args, GError **error)
{
    const QmpSendKeyArgs *in = args;
    InputKey keys[MAX_KEYS];
    size_t count = json_object_array_length(in->keys);
    int64_t hold = in->has_hold_time ? in->hold_time : DEFAULT_HOLD_MS;
    if (count > MAX_KEYS) {
        error_set(error, "%zu keys at once are too many, at most %d", count, MAX_KEYS);
        return NULL;
    }
    if (hold < 0 || hold > MAX_HOLD_MS) {
        error_set(error, "hold-time=%" G_GINT64_FORMAT " is not from 0 to %d ms", hold,
                  MAX_HOLD_MS);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!parse_key(json_object_array_get_idx(in->keys, i), &keys[i], error)) {
            return NULL;
        }
    }
    press(keys, (unsigned)count, hold);
    return qmp_ok();
}

static int find_name(const char *const *names, size_t count, json_object *name)
{
    for (size_t i = 0; i < count; i++) {
        if (g_str_equal(names[i], json_object_get_string(name))) {
            return (int)i;
        }
    }
    return -1;
}

static bool parse_button(json_object *data, InputEvent *event, GError **error)
{
    json_object *down = member(data, "down", json_type_boolean, error);
    json_object *button = down ? member(data, "button", json_type_string, error) : NULL;
    if (!button) {
        return false;
    }
    int found = find_name(button_names, G_N_ELEMENTS(button_names), button);
    if (found < 0) {
        return error_set(error, "Invalid parameter '%s'", json_object_get_string(button));
    }
    *event = (InputEvent){ .kind = INPUT_KIND_BUTTON,
                           .button = (InputButton)found,
                           .down = json_object_get_boolean(down) };
    return true;
}

static bool parse_move(json_object *data, InputKind kind, InputEvent *event, GError **error)
{
    json_object *axis = member(data, "axis", json_type_string, error);
    json_object *value = axis ? member(data, "value", json_type_int, error) : NULL;
    if (!value) {
        return false;
    }
    int found = find_name(axis_names, G_N_ELEMENTS(axis_names), axis);
    if (found < 0) {
        return error_set(error, "Invalid parameter '%s'", json_object_get_string(axis));
    }
    int64_t limit = kind == INPUT_KIND_ABSOLUTE ? INPUT_ABSOLUTE_MAX : INT32_MAX;
    int64_t least = kind == INPUT_KIND_ABSOLUTE ? 0 : INT32_MIN;
    *event = (InputEvent){ .kind = kind,
                           .axis = (InputAxis)found,
                           .value = (int32_t)CLAMP(json_object_get_int64(value), least, limit) };
    return true;
}

/* {"type": "key", "btn", "rel" or "abs", "data": {...}} */
static bool parse_event(json_object *value, InputEvent *event, GError **error)
{
    json_object *type = member(value, "type", json_type_string, error);
    json_object *data = type ? member(value, "data", json_type_object, error) : NULL;
    if (!data) {
        return false;
    }
    const char *kind = json_object_get_string(type);
    if (g_str_equal(kind, "btn")) {
        return parse_button(data, event, error);
    }
    if (g_str_equal(kind, "rel") || g_str_equal(kind, "abs")) {
        return parse_move(data, kind[0] == 'r' ? INPUT_KIND_RELATIVE : INPUT_KIND_ABSOLUTE, event,
                          error);
    }
    if (!g_str_equal(kind, "key")) {
        return error_set(error, "Invalid parameter '%s'", kind);
    }
    json_object *down = member(data, "down", json_type_boolean, error);
    json_object *key = down ? member(data, "key", json_type_object, error) : NULL;
    *event = (InputEvent){ .kind = INPUT_KIND_KEY, .down = json_object_get_boolean(down) };
    return key && parse_key(key, &event->key, error);
}

static json_object *input_send_event(const void *args, GError **error)
{
    const QmpInputSendEventArgs *in = args;
    size_t count = json_object_array_length(in->events);
    InputEvent event;
    if (in->device) {
        error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND,
                       "there is no input device '%s': input goes to the machine; leave it out",
                       in->device);
        return NULL;
    }
    RunState state = machine_run_state(machine_get());
    if (state != RUN_STATE_RUNNING && state != RUN_STATE_SUSPENDED) {
        error_set(error, "the machine does not run: nobody takes input");
        return NULL;
    }
    for (size_t i = 0; i < count; i++) { /* all are checked before one is sent */
        if (!parse_event(json_object_array_get_idx(in->events, i), &event, error)) {
            return NULL;
        }
        if (!input_has_sink(event.kind)) {
            error_set(error,
                      "event %zu reaches nobody: the machine has no device that takes its kind", i);
            return NULL;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (parse_event(json_object_array_get_idx(in->events, i), &event, NULL)) {
            input_send(&event);
        }
    }
    input_sync();
    return qmp_ok();
}

static json_object *query_mice(const void *args, GError **error)
{
    return input_query_mice();
}

/* ---- The human monitor ---- */

static bool parse_key_name(const char *name, InputKey *key)
{
    if (g_str_has_prefix(name, "0x")) {
        *key = input_key_from_number((unsigned)g_ascii_strtoull(name, NULL, 16));
        return true;
    }
    *key = input_key_find(g_str_equal(name, "<") ? "less" : name);
    return *key != INPUT_KEY_UNMAPPED;
}

static void hmp_sendkey(GString *out, char **args)
{
    g_auto(GStrv) names = g_strsplit(args[0], "-", -1);
    unsigned count = g_strv_length(names);
    InputKey keys[MAX_KEYS];
    int64_t hold = args[1] ? g_ascii_strtoll(args[1], NULL, 10) : DEFAULT_HOLD_MS;
    if (count > MAX_KEYS) {
        g_string_append_printf(out, "too many keys, at most %d\n", MAX_KEYS);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (!parse_key_name(names[i], &keys[i])) {
            g_string_append_printf(out, "invalid parameter: %s\n", names[i]);
            return;
        }
    }
    press(keys, count, CLAMP(hold, 0, MAX_HOLD_MS));
}

static void move(InputAxis axis, const char *text)
{
    int64_t value = g_ascii_strtoll(text, NULL, 10);
    input_send(&(InputEvent){ .kind = INPUT_KIND_RELATIVE,
                              .axis = axis,
                              .value = (int32_t)CLAMP(value, INT32_MIN, INT32_MAX) });
}

static void button(InputButton which, bool down)
{
    input_send(&(InputEvent){ .kind = INPUT_KIND_BUTTON, .button = which, .down = down });
}

static void hmp_mouse_move(GString *out, char **args)
{
    move(INPUT_AXIS_X, args[0]);
    move(INPUT_AXIS_Y, args[1]);
    if (args[2]) {
        int64_t dz = g_ascii_strtoll(args[2], NULL, 10);
        InputButton wheel = dz > 0 ? INPUT_BUTTON_WHEEL_UP : INPUT_BUTTON_WHEEL_DOWN;
        if (dz) {
            button(wheel, true);
            input_sync();
            button(wheel, false);
        }
    }
    input_sync();
}

/* A number: 1 left, 2 middle, 4 right. */
static void hmp_mouse_button(GString *out, char **args)
{
    static const InputButton buttons[] = { INPUT_BUTTON_LEFT, INPUT_BUTTON_MIDDLE,
                                           INPUT_BUTTON_RIGHT };
    static unsigned pressed;
    unsigned now = (unsigned)g_ascii_strtoull(args[0], NULL, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(buttons); i++) {
        if ((now ^ pressed) >> i & 1) {
            button(buttons[i], now >> i & 1);
        }
    }
    pressed = now;
    input_sync();
}

static void hmp_mouse_set(GString *out, char **args)
{
    GError *error = NULL;
    input_set_mouse((int)CLAMP(g_ascii_strtoll(args[0], NULL, 10), -1, INT32_MAX), &error);
    hmp_error(out, error);
}

static void hmp_info_mice(GString *out, char **args)
{
    json_object *list = input_query_mice();
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *mouse = json_object_array_get_idx(list, i);
        bool current = json_object_get_boolean(json_object_object_get(mouse, "current"));
        bool absolute = json_object_get_boolean(json_object_object_get(mouse, "absolute"));
        g_string_append_printf(out, "%c Mouse #%d: %s%s\n", current ? '*' : ' ',
                               json_object_get_int(json_object_object_get(mouse, "index")),
                               json_object_get_string(json_object_object_get(mouse, "name")),
                               absolute ? " (absolute)" : "");
    }
    if (!json_object_array_length(list)) {
        g_string_append(out, "The machine has no mouse and no tablet.\n");
    }
    json_object_put(list);
}

static const QmpHandler qmp[] = {
    { "send-key", send_key },
    { "input-send-event", input_send_event },
    { "query-mice", query_mice },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "sendkey", "KEYS [HOLD_MS]", "press keys, as ctrl-alt-f1, and let them go", hmp_sendkey, 1,
      2 },
    { "mouse_move", "DX DY [DZ]", "move the mouse", hmp_mouse_move, 2, 3 },
    { "mouse_button", "STATE", "press and release mouse buttons: 1 left, 2 middle, 4 right",
      hmp_mouse_button, 1, 1 },
    { "mouse_set", "INDEX", "choose which mouse moves", hmp_mouse_set, 1, 1 },
    { "info mice", NULL, "the mice", hmp_info_mice },
    { NULL },
};

const MonitorCommands input_commands = { .qmp = qmp, .hmp = hmp };
