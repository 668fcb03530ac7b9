/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042: the keyboard controller's own commands (IBM PS/2 Hardware Interface, "8042"), with no
 * keyboard and no mouse behind it: self-tests, the command byte, A20 and the reset line, which is
 * how most operating systems restart a PC.
 */
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "vmm/machine/machine.h"

#define I8042_DATA_PORT    0x60
#define I8042_COMMAND_PORT 0x64

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM      0x04
#define STATUS_COMMAND     0x08
#define STATUS_UNLOCKED    0x10

#define CMD_READ_MODE    0x20
#define CMD_WRITE_MODE   0x60
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
#define CMD_PULSE_FIRST  0xf0 /* the low four bits: lines not to pulse; bit 0 is the reset */

#define MODE_DISABLE_KBD 0x10
#define MODE_DISABLE_AUX 0x20
#define OUTPUT_RESET     0x01 /* low: reset */
#define OUTPUT_A20       0x02
#define SELF_TEST_PASSED 0x55
#define INTERFACE_OK     0x00
#define CLOCK_STUCK_HIGH 0x02 /* of the mouse interface: nobody is connected */

typedef struct I8042State {
    Device dev;
    MemRegion data, command;
    uint8_t status, mode, output_port, out, pending;
} I8042State;

static void put(I8042State *s, uint8_t value)
{
    s->out = value;
    s->status |= STATUS_OUTPUT_FULL;
}

static void set_output_port(I8042State *s, uint8_t value)
{
    s->output_port = value;
    if (!(value & OUTPUT_RESET)) {
        machine_request_reset(s->dev.machine, SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    I8042State *s = opaque;

    s->status &= ~STATUS_OUTPUT_FULL;
    return s->out;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8042State *s = opaque;
    uint8_t pending = s->pending;

    s->status &= ~STATUS_COMMAND;
    s->pending = 0;
    if (pending == CMD_WRITE_MODE) {
        s->mode = value;
    } else if (pending == CMD_WRITE_OUTPUT) {
        set_output_port(s, value);
    }
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((I8042State *)opaque)->status;
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8042State *s = opaque;

    s->status |= STATUS_COMMAND;
    s->pending = 0;
    switch (value) {
    case CMD_READ_MODE:
        put(s, s->mode);
        break;
    case CMD_WRITE_MODE:
    case CMD_WRITE_OUTPUT:
        s->pending = value;
        break;
    case CMD_AUX_DISABLE:
        s->mode |= MODE_DISABLE_AUX;
        break;
    case CMD_AUX_ENABLE:
        s->mode &= ~MODE_DISABLE_AUX;
        break;
    case CMD_KBD_DISABLE:
        s->mode |= MODE_DISABLE_KBD;
        break;
    case CMD_KBD_ENABLE:
        s->mode &= ~MODE_DISABLE_KBD;
        break;
    case CMD_AUX_TEST:
        put(s, CLOCK_STUCK_HIGH);
        break;
    case CMD_SELF_TEST:
        s->status |= STATUS_SYSTEM;
        put(s, SELF_TEST_PASSED);
        break;
    case CMD_KBD_TEST:
        put(s, INTERFACE_OK);
        break;
    case CMD_READ_INPUT:
        put(s, 0x80); /* the keyboard lock is open */
        break;
    case CMD_READ_OUTPUT:
        put(s, s->output_port);
        break;
    default:
        if (value >= CMD_PULSE_FIRST && !(value & OUTPUT_RESET)) {
            machine_request_reset(s->dev.machine, SHUTDOWN_CAUSE_GUEST_RESET);
        }
        break;
    }
}

static const MemOps data_ops = { .read = data_read, .write = data_write, .max_size = 1 };
static const MemOps command_ops = { .read = status_read, .write = command_write, .max_size = 1 };

static bool i8042_realize(Device *dev, GError **error)
{
    I8042State *s = (I8042State *)dev;

    mem_region_init_io(&s->data, "i8042-data", 1, &data_ops, s, &dev->lock);
    mem_region_init_io(&s->command, "i8042-cmd", 1, &command_ops, s, &dev->lock);
    isa_map_ports(dev, &s->data, I8042_DATA_PORT);
    isa_map_ports(dev, &s->command, I8042_COMMAND_PORT);
    return true;
}

static void i8042_unrealize(Device *dev)
{
    I8042State *s = (I8042State *)dev;

    isa_unmap_ports(dev, &s->data);
    isa_unmap_ports(dev, &s->command);
}

static void i8042_reset(Device *dev)
{
    I8042State *s = (I8042State *)dev;

    s->status = STATUS_UNLOCKED | STATUS_COMMAND;
    s->mode = MODE_DISABLE_KBD | MODE_DISABLE_AUX;
    s->output_port = OUTPUT_RESET | OUTPUT_A20;
    s->out = s->pending = 0;
}

static const StateField i8042_fields[] = {
    STATE_INT(I8042State, status),      STATE_INT(I8042State, mode),
    STATE_INT(I8042State, output_port), STATE_INT(I8042State, out),
    STATE_INT(I8042State, pending),     STATE_END,
};

static const StateSection i8042_state = { .name = "i8042", .version = 1, .fields = i8042_fields };

const DeviceClass i8042_class = {
    .name = "i8042",
    .desc = "Keyboard controller (reset, A20), nothing connected",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(I8042State),
    .state = &i8042_state,
    .internal = true,
    .realize = i8042_realize,
    .unrealize = i8042_unrealize,
    .reset = i8042_reset,
};
