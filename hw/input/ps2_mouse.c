/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PS/2 mouse: commands and packets, with the wheel and buttons that ImPS/2 and Explorer added.
 */
#include "hw/input/ps2.h"
#include <string.h>

#define CMD_SCALE_1    0xe6
#define CMD_SCALE_2    0xe7
#define CMD_RESOLUTION 0xe8
#define CMD_STATUS     0xe9
#define CMD_STREAM     0xea
#define CMD_POLL       0xeb
#define CMD_WRAP_OFF   0xec
#define CMD_WRAP       0xee
#define CMD_REMOTE     0xf0
#define CMD_ID         0xf2
#define CMD_RATE       0xf3
#define CMD_ENABLE     0xf4
#define CMD_DISABLE    0xf5
#define CMD_DEFAULTS   0xf6
#define CMD_RESEND     0xfe
#define CMD_RESET      0xff

#define REPLY_ACK    0xfa
#define REPLY_PASSED 0xaa
#define REPLY_RESEND 0xfe

#define ID_PLAIN    0
#define ID_WHEEL    3
#define ID_EXPLORER 4

#define DEFAULT_RESOLUTION 2 /* 4 counts a millimetre */
#define DEFAULT_RATE       100

#define BUTTON_LEFT   0x01
#define BUTTON_RIGHT  0x02
#define BUTTON_MIDDLE 0x04
#define BUTTON_SIDE   0x08
#define BUTTON_EXTRA  0x10
#define PACKET_ALWAYS 0x08
#define PACKET_X_SIGN 0x10
#define PACKET_Y_SIGN 0x20
#define PACKET_MAX    4
#define MOVE_MAX      255
#define WHEEL_MAX     7
#define WAITING_MAX   32767 /* counts that wait for a guest that does not read */

/* ---- Packets ---- */

/* Scaling 2:1, of streamed packets only. */
static int scaled(int value)
{
    static const int8_t small[] = { 0, 1, 1, 3, 6, 9 };
    int size = ABS(value);
    int result = size < (int)G_N_ELEMENTS(small) ? small[size] : MIN(2 * size, MOVE_MAX);
    return value < 0 ? -result : result;
}

/* Takes what a packet can carry from the counters. */
static unsigned make_packet(Ps2Mouse *mouse, bool streamed, uint8_t *out)
{
    int dx = CLAMP(mouse->dx, -MOVE_MAX, MOVE_MAX), dy = CLAMP(mouse->dy, -MOVE_MAX, MOVE_MAX);
    int dz = CLAMP(mouse->dz, -WHEEL_MAX, WHEEL_MAX);
    mouse->dx -= dx;
    mouse->dy -= dy;
    mouse->dz = mouse->id == ID_PLAIN ? 0 : mouse->dz - dz;
    mouse->changed = false;
    if (streamed && mouse->scaling) {
        dx = scaled(dx);
        dy = scaled(dy);
    }
    out[0] = (uint8_t)(PACKET_ALWAYS | (mouse->buttons & 7) | (dx < 0 ? PACKET_X_SIGN : 0) |
                       (dy < 0 ? PACKET_Y_SIGN : 0));
    out[1] = (uint8_t)dx;
    out[2] = (uint8_t)dy;
    out[3] = mouse->id == ID_EXPLORER
                 ? (uint8_t)((dz & 0x0f) | (mouse->buttons & (BUTTON_SIDE | BUTTON_EXTRA)) << 1)
                 : (uint8_t)dz;
    return mouse->id == ID_PLAIN ? 3 : 4;
}

static void stream(Ps2Mouse *mouse)
{
    uint8_t packet[PACKET_MAX];
    while (mouse->reporting && !mouse->remote && !mouse->wrap &&
           mouse->queue.count + PACKET_MAX <= PS2_QUEUE &&
           (mouse->changed || mouse->dx || mouse->dy || (mouse->dz && mouse->id != ID_PLAIN))) {
        ps2_queue_put(&mouse->queue, packet, make_packet(mouse, true, packet));
    }
}

void ps2_mouse_sync(Ps2Mouse *mouse)
{
    stream(mouse);
    mouse->ready(mouse->opaque);
}

static int32_t moved(int32_t counter, int64_t by)
{
    return (int32_t)CLAMP(counter + by, -WAITING_MAX, WAITING_MAX);
}

static void button(Ps2Mouse *mouse, uint8_t bit, bool down)
{
    uint8_t buttons = down ? mouse->buttons | bit : mouse->buttons & ~bit;
    mouse->changed |= buttons != mouse->buttons;
    mouse->buttons = buttons;
}

void ps2_mouse_event(Ps2Mouse *mouse, const InputEvent *event)
{
    static const uint8_t bits[INPUT_BUTTON_COUNT] = {
        [INPUT_BUTTON_LEFT] = BUTTON_LEFT,   [INPUT_BUTTON_MIDDLE] = BUTTON_MIDDLE,
        [INPUT_BUTTON_RIGHT] = BUTTON_RIGHT, [INPUT_BUTTON_SIDE] = BUTTON_SIDE,
        [INPUT_BUTTON_EXTRA] = BUTTON_EXTRA,
    };
    if (event->kind == INPUT_KIND_RELATIVE && event->axis == INPUT_AXIS_X) {
        mouse->dx = moved(mouse->dx, event->value);
    } else if (event->kind == INPUT_KIND_RELATIVE) {
        mouse->dy = moved(mouse->dy, -(int64_t)event->value);
    } else if (event->kind == INPUT_KIND_BUTTON && bits[event->button]) {
        button(mouse, bits[event->button], event->down);
    } else if (event->kind == INPUT_KIND_BUTTON && event->down) {
        int by = event->button == INPUT_BUTTON_WHEEL_UP     ? -1
                 : event->button == INPUT_BUTTON_WHEEL_DOWN ? 1
                                                            : 0;
        mouse->dz = moved(mouse->dz, by);
    }
}

/* ---- Commands ---- */

static void forget_moves(Ps2Mouse *mouse)
{
    ps2_queue_clear(&mouse->queue);
    mouse->dx = mouse->dy = mouse->dz = 0;
    mouse->changed = false;
}

static void set_defaults(Ps2Mouse *mouse)
{
    forget_moves(mouse);
    mouse->remote = mouse->reporting = mouse->scaling = mouse->wrap = false;
    mouse->resolution = DEFAULT_RESOLUTION;
    mouse->rate = DEFAULT_RATE;
}

/* 200, 100, 80 asks for a wheel, 200, 200, 80 for five buttons as well. */
static void set_rate(Ps2Mouse *mouse, uint8_t rate)
{
    static const uint8_t wheel[] = { 200, 100, 80 }, explorer[] = { 200, 200, 80 };
    mouse->rate = rate;
    memmove(mouse->rates, mouse->rates + 1, sizeof(mouse->rates) - 1);
    mouse->rates[2] = rate;
    if (memcmp(mouse->rates, wheel, sizeof(wheel)) == 0 && mouse->id == ID_PLAIN) {
        mouse->id = ID_WHEEL;
    } else if (memcmp(mouse->rates, explorer, sizeof(explorer)) == 0) {
        mouse->id = ID_EXPLORER;
    }
}

static void reply_status(Ps2Mouse *mouse)
{
    uint8_t flags =
        (uint8_t)((mouse->remote ? 0x40 : 0) | (mouse->reporting ? 0x20 : 0) |
                  (mouse->scaling ? 0x10 : 0) | (mouse->buttons & BUTTON_LEFT ? 0x04 : 0) |
                  (mouse->buttons & BUTTON_MIDDLE ? 0x02 : 0) |
                  (mouse->buttons & BUTTON_RIGHT ? 0x01 : 0));
    ps2_queue_reply(&mouse->queue, flags);
    ps2_queue_reply(&mouse->queue, mouse->resolution);
    ps2_queue_reply(&mouse->queue, mouse->rate);
}

static void reply_packet(Ps2Mouse *mouse)
{
    uint8_t packet[PACKET_MAX];
    ps2_queue_clear(&mouse->queue);
    unsigned n = make_packet(mouse, false, packet);
    for (unsigned i = 0; i < n; i++) {
        ps2_queue_reply(&mouse->queue, packet[i]);
    }
}

static bool is_command(uint8_t byte)
{
    return byte >= CMD_SCALE_1 && byte != 0xed && byte != 0xef && byte != 0xf1 &&
           !(byte > CMD_DEFAULTS && byte < CMD_RESEND);
}

/* Commands that change how moves are told. */
static void run_mode_command(Ps2Mouse *mouse, uint8_t command)
{
    switch (command) {
    case CMD_SCALE_1:
    case CMD_SCALE_2:
        mouse->scaling = command == CMD_SCALE_2;
        break;
    case CMD_STREAM:
    case CMD_REMOTE:
        forget_moves(mouse);
        mouse->remote = command == CMD_REMOTE;
        break;
    case CMD_WRAP:
    case CMD_WRAP_OFF:
        forget_moves(mouse);
        mouse->wrap = command == CMD_WRAP;
        break;
    case CMD_ENABLE:
    case CMD_DISABLE:
        forget_moves(mouse);
        mouse->reporting = command == CMD_ENABLE;
        break;
    default:
        mouse->pending = command; /* resolution, rate */
        break;
    }
}

static void run_command(Ps2Mouse *mouse, uint8_t command)
{
    ps2_queue_reply(&mouse->queue, REPLY_ACK);
    switch (command) {
    case CMD_STATUS:
        reply_status(mouse);
        break;
    case CMD_POLL:
        reply_packet(mouse);
        break;
    case CMD_ID:
        ps2_queue_reply(&mouse->queue, mouse->id);
        break;
    case CMD_DEFAULTS:
        set_defaults(mouse);
        break;
    case CMD_RESET:
        set_defaults(mouse);
        mouse->id = ID_PLAIN;
        memset(mouse->rates, 0, sizeof(mouse->rates));
        ps2_queue_reply(&mouse->queue, REPLY_PASSED);
        ps2_queue_reply(&mouse->queue, ID_PLAIN);
        break;
    default:
        run_mode_command(mouse, command);
        break;
    }
}

void ps2_mouse_write(Ps2Mouse *mouse, uint8_t byte)
{
    uint8_t pending = mouse->pending;
    mouse->pending = 0;
    if (mouse->wrap && byte != CMD_WRAP_OFF && byte != CMD_RESET) {
        ps2_queue_reply(&mouse->queue, byte);
    } else if (pending == CMD_RATE && byte <= 200) {
        ps2_queue_reply(&mouse->queue, REPLY_ACK);
        set_rate(mouse, byte);
    } else if (pending == CMD_RESOLUTION && byte <= 3) {
        ps2_queue_reply(&mouse->queue, REPLY_ACK);
        mouse->resolution = byte;
    } else if (byte == CMD_RESEND) {
        ps2_queue_reply(&mouse->queue, mouse->last);
    } else if (is_command(byte)) {
        run_command(mouse, byte);
    } else {
        ps2_queue_reply(&mouse->queue, REPLY_RESEND);
    }
    mouse->ready(mouse->opaque);
}

bool ps2_mouse_read(Ps2Mouse *mouse, uint8_t *byte)
{
    bool got = ps2_queue_get(&mouse->queue, byte);
    if (got) {
        mouse->last = *byte;
        stream(mouse); /* there is room now */
    }
    return got;
}

/* ---- Life ---- */

void ps2_mouse_init(Ps2Mouse *mouse, void (*ready)(void *opaque), void *opaque)
{
    mouse->ready = ready;
    mouse->opaque = opaque;
}

void ps2_mouse_reset(Ps2Mouse *mouse)
{
    set_defaults(mouse);
    mouse->queue = (Ps2Queue){ 0 };
    mouse->pending = mouse->last = mouse->buttons = 0;
    mouse->id = ID_PLAIN;
    memset(mouse->rates, 0, sizeof(mouse->rates));
}

static bool mouse_post_load(void *base, uint16_t version, GError **error)
{
    Ps2Mouse *mouse = base;
    if (!ps2_queue_sane(&mouse->queue) ||
        (mouse->id != ID_PLAIN && mouse->id != ID_WHEEL && mouse->id != ID_EXPLORER)) {
        return error_set(error, "ps2-mouse: the saved state is out of range");
    }
    mouse->dx = moved(mouse->dx, 0);
    mouse->dy = moved(mouse->dy, 0);
    mouse->dz = moved(mouse->dz, 0);
    return true;
}

static const StateField mouse_fields[] = {
    STATE_STRUCT(Ps2Mouse, queue, &ps2_queue_state),
    STATE_INT(Ps2Mouse, pending),
    STATE_INT(Ps2Mouse, last),
    STATE_INT(Ps2Mouse, resolution),
    STATE_INT(Ps2Mouse, rate),
    STATE_INT(Ps2Mouse, id),
    STATE_BUFFER(Ps2Mouse, rates),
    STATE_INT(Ps2Mouse, buttons),
    STATE_BOOL(Ps2Mouse, remote),
    STATE_BOOL(Ps2Mouse, reporting),
    STATE_BOOL(Ps2Mouse, scaling),
    STATE_BOOL(Ps2Mouse, wrap),
    STATE_BOOL(Ps2Mouse, changed),
    STATE_INT(Ps2Mouse, dx),
    STATE_INT(Ps2Mouse, dy),
    STATE_INT(Ps2Mouse, dz),
    STATE_END,
};

const StateSection ps2_mouse_state = {
    .name = "ps2-mouse",
    .version = 1,
    .fields = mouse_fields,
    .post_load = mouse_post_load,
};
