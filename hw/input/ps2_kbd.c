/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PS/2 keyboard: commands, scan codes, typematic repetition. */
#include "hw/input/ps2.h"
#include "hw/input/ps2_codes.h"
#include <string.h>

#define CMD_LEDS          0xed
#define CMD_ECHO          0xee
#define CMD_SET           0xf0
#define CMD_ID            0xf2
#define CMD_TYPEMATIC     0xf3
#define CMD_ENABLE        0xf4
#define CMD_DISABLE       0xf5 /* and defaults */
#define CMD_DEFAULTS      0xf6
#define CMD_ALL_FIRST     0xf7 /* all keys: typematic, make-break, make, all */
#define CMD_ALL_LAST      0xfa
#define CMD_KEY_TYPEMATIC 0xfb /* those that follow */
#define CMD_KEY_BREAK     0xfc
#define CMD_KEY_MAKE      0xfd
#define CMD_RESEND        0xfe
#define CMD_RESET         0xff

#define REPLY_ACK    0xfa
#define REPLY_PASSED 0xaa
#define REPLY_RESEND 0xfe
#define ID_FIRST     0xab
#define ID_SECOND    0x83

#define LEDS_MASK         0x07
#define TYPEMATIC_DEFAULT 0x2b /* after 500 ms, 10.9 a second */
#define TYPEMATIC_MASK    0x7f
#define REPEAT_UNIT_NS    4170000LL /* 8 of them is the shortest period */
#define DELAY_UNIT_NS     (250 * NS_PER_MS)
#define DEFAULT_SET       2

/* ---- Keys ---- */

static bool is_held(const Ps2Kbd *kbd, InputKey key)
{
    unsigned number = input_key_number(key);
    return kbd->held[number / 8] >> number % 8 & 1;
}

static Ps2Modifiers modifiers(const Ps2Kbd *kbd)
{
    return (Ps2Modifiers){
        .ctrl = is_held(kbd, INPUT_KEY_CTRL) || is_held(kbd, INPUT_KEY_CTRL_R),
        .shift = is_held(kbd, INPUT_KEY_SHIFT) || is_held(kbd, INPUT_KEY_SHIFT_R),
        .alt = is_held(kbd, INPUT_KEY_ALT) || is_held(kbd, INPUT_KEY_ALT_R),
    };
}

/* In set 3 the system says of each key whether it repeats and tells its release. */
static bool key_does(const Ps2Kbd *kbd, InputKey key, bool repeat)
{
    uint8_t bytes[PS2_SEQUENCE_MAX];
    if (kbd->set != 3) {
        return !repeat || key != INPUT_KEY_PAUSE;
    }
    unsigned n = ps2_sequence(key, true, 3, (Ps2Modifiers){ 0 }, bytes);
    uint8_t type = n && bytes[0] < PS2_SET3_CODES ? kbd->types[bytes[0]] : PS2_KEY_ALL;
    return type == PS2_KEY_ALL || type == (repeat ? PS2_KEY_TYPEMATIC : PS2_KEY_MAKE_BREAK);
}

static void send(Ps2Kbd *kbd, InputKey key, bool down)
{
    uint8_t bytes[PS2_SEQUENCE_MAX];
    unsigned n = ps2_sequence(key, down, kbd->set, modifiers(kbd), bytes);
    if (n && ps2_queue_put(&kbd->queue, bytes, n)) {
        kbd->ready(kbd->opaque);
    }
}

static void repeat_stop(Ps2Kbd *kbd)
{
    kbd->repeating = INPUT_KEY_UNMAPPED;
    timer_cancel(&kbd->repeat);
}

static int64_t repeat_delay(const Ps2Kbd *kbd)
{
    return ((kbd->typematic >> 5) + 1) * DELAY_UNIT_NS;
}

static int64_t repeat_period(const Ps2Kbd *kbd)
{
    return (8 + (kbd->typematic & 7)) * (REPEAT_UNIT_NS << (kbd->typematic >> 3 & 3));
}

static void repeat_fire(void *opaque)
{
    Ps2Kbd *kbd = opaque;
    if (!kbd->scanning || kbd->repeating == INPUT_KEY_UNMAPPED) {
        repeat_stop(kbd);
        return;
    }
    send(kbd, (InputKey)kbd->repeating, true);
    timer_arm(&kbd->repeat, clock_now(VM_CLOCK_VIRTUAL) + repeat_period(kbd));
}

void ps2_kbd_key(Ps2Kbd *kbd, InputKey key, bool down)
{
    unsigned number = input_key_number(key);
    if (!number || down == is_held(kbd, key)) {
        return; /* the keyboard repeats by itself */
    }
    if (!down && kbd->repeating == key) {
        repeat_stop(kbd);
    }
    kbd->held[number / 8] ^= 1u << number % 8;
    if (!kbd->scanning) {
        return;
    }
    if (down || key_does(kbd, key, false)) {
        send(kbd, key, down);
    }
    if (down && key_does(kbd, key, true)) {
        kbd->repeating = key;
        timer_arm(&kbd->repeat, clock_now(VM_CLOCK_VIRTUAL) + repeat_delay(kbd));
    }
}

/* ---- Commands ---- */

static void set_leds(Ps2Kbd *kbd, uint8_t leds)
{
    kbd->leds = leds & LEDS_MASK;
    input_set_leds(kbd->leds);
}

static void set_defaults(Ps2Kbd *kbd)
{
    repeat_stop(kbd);
    ps2_queue_clear(&kbd->queue);
    kbd->typematic = TYPEMATIC_DEFAULT;
    kbd->set = DEFAULT_SET;
    for (unsigned i = 0; i < PS2_SET3_CODES; i++) {
        kbd->types[i] = ps2_default_type((uint8_t)i);
    }
}

static void parameter_set(Ps2Kbd *kbd, uint8_t value)
{
    if (value > 3) {
        ps2_queue_reply(&kbd->queue, REPLY_RESEND);
        return;
    }
    ps2_queue_reply(&kbd->queue, REPLY_ACK);
    if (value == 0) {
        ps2_queue_reply(&kbd->queue, kbd->set);
    } else {
        repeat_stop(kbd);
        ps2_queue_clear(&kbd->queue);
        kbd->set = value;
    }
}

/* The byte behind a command; false: it is a command itself. */
static bool take_parameter(Ps2Kbd *kbd, uint8_t value)
{
    uint8_t command = kbd->pending;
    if (!command || value >= CMD_LEDS) {
        kbd->pending = 0;
        return false;
    }
    switch (command) {
    case CMD_SET:
        kbd->pending = 0;
        parameter_set(kbd, value);
        return true;
    case CMD_LEDS:
        kbd->pending = 0;
        set_leds(kbd, value);
        break;
    case CMD_TYPEMATIC:
        kbd->pending = 0;
        kbd->typematic = value & TYPEMATIC_MASK;
        break;
    default: /* keys, until the next command */
        if (value < PS2_SET3_CODES) {
            kbd->types[value] = command == CMD_KEY_TYPEMATIC ? PS2_KEY_TYPEMATIC
                                : command == CMD_KEY_BREAK   ? PS2_KEY_MAKE_BREAK
                                                             : PS2_KEY_MAKE;
        }
        break;
    }
    ps2_queue_reply(&kbd->queue, REPLY_ACK);
    return true;
}

static void all_keys(Ps2Kbd *kbd, uint8_t command)
{
    static const uint8_t types[] = { PS2_KEY_TYPEMATIC, PS2_KEY_MAKE_BREAK, PS2_KEY_MAKE,
                                     PS2_KEY_ALL };
    memset(kbd->types, types[command - CMD_ALL_FIRST], sizeof(kbd->types));
}

static void set_scanning(Ps2Kbd *kbd, bool scanning)
{
    repeat_stop(kbd);
    ps2_queue_clear(&kbd->queue);
    kbd->scanning = scanning;
}

/* What a command does behind its acknowledgement. */
static void run_command(Ps2Kbd *kbd, uint8_t command)
{
    switch (command) {
    case CMD_ID:
        ps2_queue_reply(&kbd->queue, ID_FIRST);
        ps2_queue_reply(&kbd->queue, ID_SECOND);
        break;
    case CMD_ENABLE:
        set_scanning(kbd, true);
        break;
    case CMD_DISABLE:
        set_defaults(kbd);
        set_scanning(kbd, false);
        break;
    case CMD_DEFAULTS:
        set_defaults(kbd);
        break;
    case CMD_RESET:
        set_defaults(kbd);
        set_leds(kbd, 0);
        kbd->scanning = true;
        ps2_queue_reply(&kbd->queue, REPLY_PASSED);
        break;
    default:
        kbd->pending = command;
        break;
    }
}

void ps2_kbd_write(Ps2Kbd *kbd, uint8_t byte)
{
    if (!take_parameter(kbd, byte)) {
        if (byte == CMD_ECHO) {
            ps2_queue_reply(&kbd->queue, CMD_ECHO);
        } else if (byte == CMD_RESEND) {
            ps2_queue_reply(&kbd->queue, kbd->last);
        } else if (byte >= CMD_ALL_FIRST && byte <= CMD_ALL_LAST) {
            ps2_queue_reply(&kbd->queue, REPLY_ACK);
            all_keys(kbd, byte);
        } else if (byte < CMD_LEDS || byte == 0xef || byte == 0xf1) {
            ps2_queue_reply(&kbd->queue, REPLY_RESEND);
        } else {
            ps2_queue_reply(&kbd->queue, REPLY_ACK);
            run_command(kbd, byte);
        }
    }
    kbd->ready(kbd->opaque);
}

bool ps2_kbd_read(Ps2Kbd *kbd, uint8_t *byte)
{
    bool got = ps2_queue_get(&kbd->queue, byte);
    if (got) {
        kbd->last = *byte;
    }
    return got;
}

/* ---- Life ---- */

void ps2_kbd_init(Ps2Kbd *kbd, GMutex *lock, void (*ready)(void *opaque), void *opaque)
{
    kbd->ready = ready;
    kbd->opaque = opaque;
    timer_init(&kbd->repeat, event_loop_main(), VM_CLOCK_VIRTUAL, lock, repeat_fire, kbd);
}

void ps2_kbd_cleanup(Ps2Kbd *kbd)
{
    timer_cancel(&kbd->repeat);
}

void ps2_kbd_reset(Ps2Kbd *kbd)
{
    set_defaults(kbd);
    kbd->queue = (Ps2Queue){ 0 };
    kbd->pending = kbd->last = 0;
    kbd->scanning = true;
    memset(kbd->held, 0, sizeof(kbd->held));
    set_leds(kbd, 0);
}

static bool kbd_post_load(void *base, uint16_t version, GError **error)
{
    Ps2Kbd *kbd = base;
    if (!ps2_queue_sane(&kbd->queue) || kbd->set < 1 || kbd->set > 3 ||
        kbd->repeating >= INPUT_KEY_COUNT) {
        return error_set(error, "ps2-kbd: the saved state is out of range");
    }
    kbd->typematic &= TYPEMATIC_MASK;
    set_leds(kbd, kbd->leds);
    return true;
}

static const StateField kbd_fields[] = {
    STATE_STRUCT(Ps2Kbd, queue, &ps2_queue_state),
    STATE_INT(Ps2Kbd, set),
    STATE_INT(Ps2Kbd, pending),
    STATE_INT(Ps2Kbd, leds),
    STATE_INT(Ps2Kbd, typematic),
    STATE_INT(Ps2Kbd, last),
    STATE_BOOL(Ps2Kbd, scanning),
    STATE_BUFFER(Ps2Kbd, held),
    STATE_BUFFER(Ps2Kbd, types),
    STATE_INT(Ps2Kbd, repeating),
    STATE_TIMER(Ps2Kbd, repeat),
    STATE_END,
};

const StateSection ps2_kbd_state = {
    .name = "ps2-kbd",
    .version = 1,
    .fields = kbd_fields,
    .post_load = kbd_post_load,
};
