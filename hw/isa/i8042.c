/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042: the keyboard and mouse controller (IBM PS/2 Hardware Interface, "8042"; its RAM and
 * commands as PC firmware knows them), with a PS/2 keyboard and a PS/2 mouse. One byte at a time
 * stands in the output buffer; IRQ 1 or 12 is high while it is full, so that each byte makes an
 * edge. The reset line and A20 are here too: most operating systems restart a PC through it.
 */
#include "hw/devices.h"
#include "hw/input/ps2.h"
#include "hw/input/ps2_codes.h"
#include "hw/isa/isa.h"
#include "vmm/machine/machine.h"

#define DATA_PORT    0x60
#define COMMAND_PORT 0x64
#define KBD_IRQ      1
#define AUX_IRQ      12

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM      0x04
#define STATUS_COMMAND     0x08
#define STATUS_UNLOCKED    0x10
#define STATUS_AUX         0x20 /* the byte is the mouse's */

#define CMD_READ_RAM     0x20 /* to 0x3f: the address is in the low bits */
#define CMD_WRITE_RAM    0x60 /* to 0x7f */
#define CMD_PASSWORD     0xa4
#define CMD_AUX_DISABLE  0xa7
#define CMD_AUX_ENABLE   0xa8
#define CMD_AUX_TEST     0xa9
#define CMD_SELF_TEST    0xaa
#define CMD_KBD_TEST     0xab
#define CMD_KBD_DISABLE  0xad
#define CMD_KBD_ENABLE   0xae
#define CMD_READ_INPUT   0xc0
#define CMD_READ_OUTPUT  0xd0
#define CMD_WRITE_OUTPUT 0xd1
#define CMD_KBD_LOOP     0xd2 /* the next byte comes back as the keyboard's */
#define CMD_AUX_LOOP     0xd3
#define CMD_AUX_WRITE    0xd4
#define CMD_A20_OFF      0xdd
#define CMD_A20_ON       0xdf
#define CMD_TEST_INPUTS  0xe0
#define CMD_PULSE_FIRST  0xf0 /* the low four bits: lines not to pulse; bit 0 is the reset */

#define RAM_SIZE         32
#define RAM_MASK         0x1f
#define MODE             0 /* the byte of the RAM that is a register */
#define MODE_KBD_IRQ     0x01
#define MODE_AUX_IRQ     0x02
#define MODE_SYSTEM      0x04
#define MODE_DISABLE_KBD 0x10
#define MODE_DISABLE_AUX 0x20
#define MODE_TRANSLATE   0x40

#define OUTPUT_RESET     0x01 /* low: reset */
#define OUTPUT_A20       0x02
#define OUTPUT_KBD_FULL  0x10
#define OUTPUT_AUX_FULL  0x20
#define OUTPUT_CLOCKS    0xcc /* of the two interfaces: idle */
#define INPUT_UNLOCKED   0x80
#define SELF_TEST_PASSED 0x55
#define INTERFACE_OK     0x00
#define NO_PASSWORD      0xf1

typedef struct I8042State {
    Device dev;
    MemRegion data, command;
    IrqLine *kbd_irq, *aux_irq;
    InputSink kbd_sink, mouse_sink;
    Ps2Kbd kbd;
    Ps2Mouse mouse;
    uint8_t ram[RAM_SIZE];
    uint8_t status; /* STATUS_SYSTEM, STATUS_COMMAND */
    uint8_t output_port, out;
    uint8_t pending; /* command whose byte comes next, 0: none */
    uint8_t reply;   /* the controller's own, waiting for the buffer */
    bool full, aux, has_reply, reply_aux;
    bool released; /* 0xf0 was swallowed by the translation */
} I8042State;

static void update_irq(I8042State *s)
{
    irq_set(s->kbd_irq, s->full && !s->aux && (s->ram[MODE] & MODE_KBD_IRQ));
    irq_set(s->aux_irq, s->full && s->aux && (s->ram[MODE] & MODE_AUX_IRQ));
}

/* ---- The output buffer ---- */

static void put(I8042State *s, uint8_t value, bool aux)
{
    s->out = value;
    s->aux = aux;
    s->full = true;
}

/* A byte of the keyboard, translated when that is on: 0xf0 becomes bit 7 of what follows. */
static bool next_of_keyboard(I8042State *s, uint8_t *out)
{
    uint8_t byte;
    while (ps2_kbd_read(&s->kbd, &byte)) {
        if (!(s->ram[MODE] & MODE_TRANSLATE)) {
            *out = byte;
            return true;
        }
        if (byte == PS2_RELEASE) {
            s->released = true;
            continue;
        }
        *out = ps2_translate(byte) | (s->released ? 0x80 : 0);
        s->released = false;
        return true;
    }
    return false;
}

static void fill(I8042State *s)
{
    uint8_t byte;
    if (s->full) {
        return;
    }
    if (s->has_reply) {
        s->has_reply = false;
        put(s, s->reply, s->reply_aux);
    } else if (!(s->ram[MODE] & MODE_DISABLE_KBD) && next_of_keyboard(s, &byte)) {
        put(s, byte, false);
    } else if (!(s->ram[MODE] & MODE_DISABLE_AUX) && ps2_mouse_read(&s->mouse, &byte)) {
        put(s, byte, true);
    }
}

static void pump(void *opaque)
{
    fill(opaque);
    update_irq(opaque);
}

static void reply(I8042State *s, uint8_t value, bool aux)
{
    s->reply = value;
    s->reply_aux = aux;
    s->has_reply = true;
}

/* ---- Ports ---- */

static void set_output_port(I8042State *s, uint8_t value)
{
    s->output_port = value;
    if (!(value & OUTPUT_RESET)) {
        machine_request_reset(s->dev.machine, SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

static uint8_t get_output_port(const I8042State *s)
{
    uint8_t value = s->output_port & ~(OUTPUT_KBD_FULL | OUTPUT_AUX_FULL);
    return value | (!s->full ? 0 : s->aux ? OUTPUT_AUX_FULL : OUTPUT_KBD_FULL);
}

static void write_ram(I8042State *s, uint8_t address, uint8_t value)
{
    s->ram[address] = value;
    if (address == MODE) {
        s->status = (s->status & ~STATUS_SYSTEM) | (value & MODE_SYSTEM ? STATUS_SYSTEM : 0);
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    I8042State *s = opaque;
    uint8_t value = s->out;
    s->full = false;
    update_irq(s); /* low, before the next byte */
    pump(s);
    return value;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8042State *s = opaque;
    uint8_t pending = s->pending, byte = (uint8_t)value;
    s->status &= ~STATUS_COMMAND;
    s->pending = 0;
    if (pending == CMD_WRITE_OUTPUT) {
        set_output_port(s, byte);
    } else if (pending == CMD_KBD_LOOP || pending == CMD_AUX_LOOP) {
        reply(s, byte, pending == CMD_AUX_LOOP);
    } else if (pending == CMD_AUX_WRITE) {
        s->ram[MODE] &= ~MODE_DISABLE_AUX;
        ps2_mouse_write(&s->mouse, byte);
    } else if (pending) {
        write_ram(s, pending & RAM_MASK, byte);
    } else {
        s->ram[MODE] &= ~MODE_DISABLE_KBD; /* sending needs the clock */
        ps2_kbd_write(&s->kbd, byte);
    }
    pump(s);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    const I8042State *s = opaque;
    return s->status | STATUS_UNLOCKED | (s->full ? STATUS_OUTPUT_FULL : 0) |
           (s->full && s->aux ? STATUS_AUX : 0);
}

/* Commands that answer or change the mode; the rest of the page is reserved and ignored. */
static void run_command(I8042State *s, uint8_t command)
{
    switch (command) {
    case CMD_PASSWORD:
        reply(s, NO_PASSWORD, false);
        break;
    case CMD_AUX_DISABLE:
        s->ram[MODE] |= MODE_DISABLE_AUX;
        break;
    case CMD_AUX_ENABLE:
        s->ram[MODE] &= ~MODE_DISABLE_AUX;
        break;
    case CMD_SELF_TEST:
        s->status |= STATUS_SYSTEM;
        s->ram[MODE] |= MODE_SYSTEM;
        reply(s, SELF_TEST_PASSED, false);
        break;
    case CMD_AUX_TEST:
    case CMD_KBD_TEST:
        reply(s, INTERFACE_OK, false);
        break;
    case CMD_KBD_DISABLE:
        s->ram[MODE] |= MODE_DISABLE_KBD;
        break;
    case CMD_KBD_ENABLE:
        s->ram[MODE] &= ~MODE_DISABLE_KBD;
        break;
    case CMD_READ_INPUT:
        reply(s, INPUT_UNLOCKED, false);
        break;
    case CMD_READ_OUTPUT:
        reply(s, get_output_port(s), false);
        break;
    case CMD_WRITE_OUTPUT:
    case CMD_KBD_LOOP:
    case CMD_AUX_LOOP:
    case CMD_AUX_WRITE:
        s->pending = command;
        break;
    case CMD_A20_OFF:
        s->output_port &= ~OUTPUT_A20;
        break;
    case CMD_A20_ON:
        s->output_port |= OUTPUT_A20;
        break;
    case CMD_TEST_INPUTS:
        reply(s, 0, false);
        break;
    default:
        break;
    }
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8042State *s = opaque;
    uint8_t command = (uint8_t)value;
    s->status |= STATUS_COMMAND;
    s->pending = 0;
    if ((command & ~RAM_MASK) == CMD_READ_RAM) {
        reply(s, s->ram[command & RAM_MASK], false);
    } else if ((command & ~RAM_MASK) == CMD_WRITE_RAM) {
        s->pending = command;
    } else if (command >= CMD_PULSE_FIRST) {
        if (!(command & OUTPUT_RESET)) {
            machine_request_reset(s->dev.machine, SHUTDOWN_CAUSE_GUEST_RESET);
        }
    } else {
        run_command(s, command);
    }
    pump(s);
}

static const MemOps data_ops = { .read = data_read, .write = data_write, .max_size = 1 };
static const MemOps command_ops = { .read = status_read, .write = command_write, .max_size = 1 };

/* ---- Input ---- */

static void kbd_event(void *opaque, const InputEvent *event)
{
    I8042State *s = opaque;
    g_mutex_lock(&s->dev.lock);
    ps2_kbd_key(&s->kbd, event->key, event->down);
    g_mutex_unlock(&s->dev.lock);
}

static void mouse_event(void *opaque, const InputEvent *event)
{
    I8042State *s = opaque;
    g_mutex_lock(&s->dev.lock);
    ps2_mouse_event(&s->mouse, event);
    g_mutex_unlock(&s->dev.lock);
}

static void mouse_sync(void *opaque)
{
    I8042State *s = opaque;
    g_mutex_lock(&s->dev.lock);
    ps2_mouse_sync(&s->mouse);
    g_mutex_unlock(&s->dev.lock);
}

/* ---- Life ---- */

static bool i8042_realize(Device *dev, GError **error)
{
    I8042State *s = (I8042State *)dev;
    s->kbd_irq = &dev->machine->gsi[KBD_IRQ];
    s->aux_irq = &dev->machine->gsi[AUX_IRQ];
    ps2_kbd_init(&s->kbd, &dev->lock, pump, s);
    ps2_mouse_init(&s->mouse, pump, s);
    s->kbd_sink = (InputSink){
        .name = "QEMU PS/2 Keyboard", .kinds = INPUT_KIND_KEY, .event = kbd_event, .opaque = s
    };
    s->mouse_sink = (InputSink){ .name = "QEMU PS/2 Mouse",
                                 .kinds = INPUT_KIND_BUTTON | INPUT_KIND_RELATIVE,
                                 .event = mouse_event,
                                 .sync = mouse_sync,
                                 .opaque = s };
    input_sink_add(&s->kbd_sink);
    input_sink_add(&s->mouse_sink);
    mem_region_init_io(&s->data, "i8042-data", 1, &data_ops, s, &dev->lock);
    mem_region_init_io(&s->command, "i8042-cmd", 1, &command_ops, s, &dev->lock);
    isa_map_ports(dev, &s->data, DATA_PORT);
    isa_map_ports(dev, &s->command, COMMAND_PORT);
    return true;
}

static void i8042_unrealize(Device *dev)
{
    I8042State *s = (I8042State *)dev;
    input_sink_remove(&s->kbd_sink);
    input_sink_remove(&s->mouse_sink);
    isa_unmap_ports(dev, &s->data);
    isa_unmap_ports(dev, &s->command);
    g_mutex_lock(&dev->lock);
    ps2_kbd_cleanup(&s->kbd);
    g_mutex_unlock(&dev->lock);
}

static void i8042_reset(Device *dev)
{
    I8042State *s = (I8042State *)dev;
    g_mutex_lock(&dev->lock);
    memset(s->ram, 0, sizeof(s->ram));
    s->ram[MODE] = MODE_KBD_IRQ | MODE_AUX_IRQ;
    s->status = STATUS_COMMAND;
    s->output_port = OUTPUT_RESET | OUTPUT_A20 | OUTPUT_CLOCKS;
    s->out = s->pending = s->reply = 0;
    s->full = s->aux = s->has_reply = s->reply_aux = s->released = false;
    ps2_kbd_reset(&s->kbd);
    ps2_mouse_reset(&s->mouse);
    update_irq(s);
    g_mutex_unlock(&dev->lock);
}

static bool i8042_post_load(void *base, uint16_t version, GError **error)
{
    I8042State *s = base;
    s->status &= STATUS_SYSTEM | STATUS_COMMAND;
    g_mutex_lock(&s->dev.lock);
    update_irq(s);
    g_mutex_unlock(&s->dev.lock);
    return true;
}

static const StateField i8042_fields[] = {
    STATE_BUFFER(I8042State, ram),
    STATE_INT(I8042State, status),
    STATE_INT(I8042State, output_port),
    STATE_INT(I8042State, out),
    STATE_INT(I8042State, pending),
    STATE_INT(I8042State, reply),
    STATE_BOOL(I8042State, full),
    STATE_BOOL(I8042State, aux),
    STATE_BOOL(I8042State, has_reply),
    STATE_BOOL(I8042State, reply_aux),
    STATE_BOOL(I8042State, released),
    STATE_STRUCT(I8042State, kbd, &ps2_kbd_state),
    STATE_STRUCT(I8042State, mouse, &ps2_mouse_state),
    STATE_END,
};

static const StateSection i8042_state = {
    .name = "i8042",
    .version = 2,
    .fields = i8042_fields,
    .post_load = i8042_post_load,
};

const DeviceClass i8042_class = {
    .name = "i8042",
    .desc = "Keyboard and mouse controller (Intel 8042), with a PS/2 keyboard and mouse",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_INPUT,
    .size = sizeof(I8042State),
    .state = &i8042_state,
    .internal = true,
    .realize = i8042_realize,
    .unrealize = i8042_unrealize,
    .reset = i8042_reset,
};
