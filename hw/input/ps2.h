/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 keyboard and mouse (IBM PS/2 Hardware Interface Technical Reference), parts of the
 * controller they are plugged into (hw/isa/i8042.c): they live under its lock, and call `ready`
 * with it held when they have something to send. Any thread with the lock.
 */
#ifndef HW_INPUT_PS2_H
#define HW_INPUT_PS2_H

#include "ui/input.h"
#include "vmm/device/state.h"
#include "vmm/event/loop.h"

#define PS2_QUEUE   16 /* bytes of events that a device keeps, as the real ones */
#define PS2_REPLIES 8

/* Answers go before events. */
typedef struct Ps2Queue {
    uint8_t data[PS2_QUEUE];
    uint8_t reply[PS2_REPLIES];
    uint8_t head, count;
    uint8_t reply_head, reply_count;
} Ps2Queue;

extern const StateSection ps2_queue_state;

bool ps2_queue_put(Ps2Queue *queue, const uint8_t *bytes, unsigned count); /* all or nothing */
void ps2_queue_reply(Ps2Queue *queue, uint8_t byte); /* dropped when there are too many */
bool ps2_queue_get(Ps2Queue *queue, uint8_t *byte);
bool ps2_queue_has(const Ps2Queue *queue);
void ps2_queue_clear(Ps2Queue *queue); /* the events */
bool ps2_queue_sane(const Ps2Queue *queue);

/* ---- Keyboard: 101 keys and more, scan code sets 1, 2 and 3, typematic ---- */
#define PS2_SET3_CODES 0x90

typedef struct Ps2Kbd {
    Ps2Queue queue;
    uint8_t set;       /* 1 to 3 */
    uint8_t pending;   /* command whose parameter comes next, 0: none */
    uint8_t leds;      /* scroll, num, caps lock */
    uint8_t typematic; /* delay and rate as written */
    uint8_t last;      /* byte sent */
    bool scanning;
    uint8_t held[32];              /* a bit for each key number */
    uint8_t types[PS2_SET3_CODES]; /* of set 3's keys */
    uint16_t repeating;            /* the key that does; INPUT_KEY_UNMAPPED: none */
    Timer repeat;
    /* wiring */
    void (*ready)(void *opaque);
    void *opaque;
} Ps2Kbd;

extern const StateSection ps2_kbd_state;

void ps2_kbd_init(Ps2Kbd *kbd, GMutex *lock, void (*ready)(void *opaque), void *opaque);
void ps2_kbd_cleanup(Ps2Kbd *kbd); /* lock held */
void ps2_kbd_reset(Ps2Kbd *kbd);
void ps2_kbd_write(Ps2Kbd *kbd, uint8_t byte);
bool ps2_kbd_read(Ps2Kbd *kbd, uint8_t *byte);
void ps2_kbd_key(Ps2Kbd *kbd, InputKey key, bool down);

/* ---- Mouse: three buttons, then wheel (ImPS/2), then five buttons (Explorer) ---- */
typedef struct Ps2Mouse {
    Ps2Queue queue;
    uint8_t pending, last;
    uint8_t resolution, rate;
    uint8_t id;       /* 0, 3 or 4 */
    uint8_t rates[3]; /* the last three set: the way to the other ids */
    uint8_t buttons;  /* as in a packet; bits 3, 4: side, extra */
    bool remote, reporting, scaling, wrap, changed;
    int32_t dx, dy, dz; /* not told yet; y grows upwards */
    /* wiring */
    void (*ready)(void *opaque);
    void *opaque;
} Ps2Mouse;

extern const StateSection ps2_mouse_state;

void ps2_mouse_init(Ps2Mouse *mouse, void (*ready)(void *opaque), void *opaque);
void ps2_mouse_reset(Ps2Mouse *mouse);
void ps2_mouse_write(Ps2Mouse *mouse, uint8_t byte);
bool ps2_mouse_read(Ps2Mouse *mouse, uint8_t *byte);
void ps2_mouse_event(Ps2Mouse *mouse, const InputEvent *event);
void ps2_mouse_sync(Ps2Mouse *mouse); /* behind events that belong together */

#endif
