/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives a whole q35 in this process as a hostile guest would: ports, registers and configuration
 * space in any width and order, time passing, saving and loading on the way. An input is a list of
 * 8-byte operations.
 */
#include "tests/unit/pc-machine.h"

#define OP_BYTES 8
#define MAX_OPS  512

typedef struct Window {
    bool port;
    uint32_t start, size;
} Window;

static const Window windows[] = {
    { true, 0x20, 2 },
    { true, 0xa0, 2 },
    { true, 0x4d0, 2 },
    { true, 0x40, 4 },
    { true, 0x60, 5 },
    { true, 0x70, 2 },
    { true, 0x92, 1 },
    { true, 0xb2, 2 },
    { true, 0x3f8, 8 },
    { true, 0x501, 4 },
    { true, 0x505, 1 },
    { true, 0xcf8, 8 },
    { true, 0xcd8, 12 },
    { true, 0xa00, 24 },
    { true, 0x510, 12 },
    { false, 0xb0000090, 7 },
    { false, 0xc0000, 0x40000 },
    { true, 0x600, 128 },
    { false, 0xfec00000, 64 },
    { false, 0xfed1f000, 0x1000 },
    { false, 0xc1000000, 32 },
    { false, 0xb0000000, 0x10 },
    { false, 0xb0008000, 0x1000 },
    { false, 0xb00f8000, 256 },
    { false, 0xb0100000, 256 },
};

static const char *const devices[] = { "pcie-root-port,addr=1,chassis=1",
                                       "pvpanic-pci,addr=2",
                                       "pvpanic",
                                       "isa-debug-exit,iobase=0x501,iosize=4",
                                       "isa-serial",
                                       "x86_64-cpu,socket-id=0,core-id=2,thread-id=0",
                                       NULL };

static void reset_one(Device *dev, void *opaque)
{
    device_reset(dev);
}

/* The state that firmware would leave, so that the windows above are where they say. */
static void prepare(Machine *machine)
{
    device_foreach(machine, reset_one, NULL);
    pc_config_write(machine, 0, 0x60, 0xb0000001);
    pc_config_write(machine, 0xf8, 0x40, 0x600);
    pc_config_write(machine, 0xf8, 0x44, 0x80);
    pc_config_write(machine, 0xf8, 0xf0, 0xfed1c001);
    pc_config_write(machine, 0x08, 0x18, 0x00010100);
    pc_config_write(machine, 0x08, 0x10, 0xc2000000);
    pc_config_write(machine, 0x08, 0x04, 7);
    pc_config_write(machine, 0x10, 0x10, 0xc1000000);
    pc_config_write(machine, 0x10, 0x04, 7);
}

static GByteArray *save_and_load(Machine *machine)
{
    GByteArray *state = g_byte_array_new();
    GError *error = NULL;

    devices_save(machine, state);
    devices_load(machine, state->data, state->len, &error);
    g_assert_no_error(error);
    return state;
}

/* What was saved loads. The first load may bring lines up to date that a timer was to change; the
 * second has nothing to do. */
static void check_state(Machine *machine)
{
    g_autoptr(GByteArray) first = save_and_load(machine);
    g_autoptr(GByteArray) second = save_and_load(machine);
    g_autoptr(GByteArray) third = save_and_load(machine);

    g_assert_cmpuint(first->len, ==, second->len);
    g_assert_cmpmem(second->data, second->len, third->data, third->len);
}

static void operate(Machine *machine, const uint8_t *op)
{
    const Window *window = &windows[op[1] % G_N_ELEMENTS(windows)];
    AddressSpace *space = window->port ? machine->io : machine->memory;
    uint32_t at = window->start + load_le16(op + 2) % window->size;
    unsigned size = 1U << (op[0] >> 4) % 4;
    uint32_t value = load_le32(op + 4);

    if (window->port) {
        size = MIN(size, 4);
    }
    switch (op[0] & 15) {
    case 0:
    case 1:
    case 2:
        pc_read(space, at, size);
        break;
    case 3:
        clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + value);
        break;
    case 4:
        check_state(machine);
        break;
    case 5:
        pc_config_write(machine, load_le16(op + 2), op[1], value);
        break;
    default:
        pc_write(space, at, value, size);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Machine *machine;

    if (!machine) {
        machine = pc_machine_new("q35", devices);
    }
    prepare(machine);
    for (unsigned i = 0; i < MAX_OPS && size >= OP_BYTES; i++, data += OP_BYTES, size -= OP_BYTES) {
        operate(machine, data);
    }
    return 0;
}
