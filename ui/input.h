/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Input routing: key and pointer events from whoever makes them (monitor, windows, VNC) to the
 * guest's keyboards, mice and tablets. A device adds an InputSink; an event goes to the one that
 * was activated last among those that take its kind. Main thread, all of it, but what says
 * otherwise; a sink takes its device's lock itself.
 */
#ifndef UI_INPUT_H
#define UI_INPUT_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "ui/input_keys.h"
#include "vmm/monitor/commands.h"

typedef enum InputKey {
#define INPUT_KEY_ENUM(name, qcode, number) INPUT_KEY_##name,
    INPUT_KEYS(INPUT_KEY_ENUM)
#undef INPUT_KEY_ENUM
        INPUT_KEY_COUNT
} InputKey;

typedef enum InputButton {
    INPUT_BUTTON_LEFT,
    INPUT_BUTTON_MIDDLE,
    INPUT_BUTTON_RIGHT,
    INPUT_BUTTON_WHEEL_UP,
    INPUT_BUTTON_WHEEL_DOWN,
    INPUT_BUTTON_SIDE,
    INPUT_BUTTON_EXTRA,
    INPUT_BUTTON_WHEEL_LEFT,
    INPUT_BUTTON_WHEEL_RIGHT,
    INPUT_BUTTON_COUNT,
} InputButton;

typedef enum InputAxis { INPUT_AXIS_X, INPUT_AXIS_Y, INPUT_AXIS_COUNT } InputAxis;

typedef enum InputKind { /* bits of InputSink.kinds */
                         INPUT_KIND_KEY = 1 << 0,
                         INPUT_KIND_BUTTON = 1 << 1,
                         INPUT_KIND_RELATIVE = 1 << 2,
                         INPUT_KIND_ABSOLUTE = 1 << 3,
} InputKind;

#define INPUT_ABSOLUTE_MAX 0x7fff /* the far edge of an absolute axis; the near one is 0 */

typedef struct InputEvent {
    InputKind kind;
    bool down;          /* keys, buttons */
    InputKey key;       /* INPUT_KIND_KEY */
    InputButton button; /* INPUT_KIND_BUTTON */
    InputAxis axis;     /* INPUT_KIND_RELATIVE, INPUT_KIND_ABSOLUTE */
    int32_t value;      /* of the axis; relative y grows downwards */
} InputEvent;

typedef struct InputSink {
    const char *name; /* as query-mice shows it */
    unsigned kinds;
    void (*event)(void *opaque, const InputEvent *event);
    void (*sync)(void *opaque); /* the events since the last one belong together; may be NULL */
    void *opaque;
    /* private */
    int index;
    bool touched;
} InputSink;

void input_sink_add(InputSink *sink);      /* the newest gets the events */
void input_sink_remove(InputSink *sink);   /* nothing when not added */
void input_sink_activate(InputSink *sink); /* before all others that take the same */
bool input_has_sink(unsigned kinds);       /* one that takes any of them */

/* Events are dropped while the machine does not run. */
void input_send(const InputEvent *event);
void input_sync(void); /* behind the events that belong together */
/* The same for a key, in its turn behind those that wait (a delay may be among them). */
void input_queue_key(InputKey key, bool down);
void input_queue_delay(int64_t ns); /* of the virtual clock */

/* Keys by QMP's name or by number; INPUT_KEY_UNMAPPED when there is none. Any thread. */
InputKey input_key_find(const char *name);
InputKey input_key_from_number(unsigned number);
unsigned input_key_number(InputKey key); /* set 1, 0x80 added for 0xe0 */
const char *input_key_name(InputKey key);

/* Lights of a keyboard, as the guest last set them: bit 0 scroll lock, 1 num lock, 2 caps lock. Any
 * thread. */
void input_set_leds(unsigned leds);
unsigned input_leds(void);

/* For the monitor. */
json_object *input_query_mice(void);
bool input_set_mouse(int index, GError **error);
extern const MonitorCommands input_commands;

#endif
