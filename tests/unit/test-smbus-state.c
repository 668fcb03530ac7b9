/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBus controllers saved in the middle of a transaction go on. */
#include "tests/unit/pc-machine.h"

#define SMB    0x00fb
#define Q35_IO 0x700
#define PC_IO  0xb100

enum { STS = 0, CNT = 2, CMD = 3, ADDR = 4, D0 = 5, BLOCK = 7, AUX = 13 };

static uint16_t set_up(Machine *machine, const char *board)
{
    if (*board == 'p') {
        return PC_IO;
    }
    pc_config_write(machine, SMB, 0x20, Q35_IO);
    pc_config_write(machine, SMB, 0x04, 1);
    pc_config_write(machine, SMB, 0x40, 1);
    return Q35_IO;
}

static Machine *moved(Machine *machine, const char *board)
{
    GError *error = NULL;
    g_autoptr(GByteArray) state = g_byte_array_new();
    devices_save(machine, state);
    machine_free(machine);
    machine = pc_machine_new(board, NULL);
    devices_load(machine, state->data, state->len, &error);
    g_assert_no_error(error);
    return machine;
}

static void test_blocks_go_on(gconstpointer board)
{
    Machine *machine = pc_machine_new(board, NULL);
    uint16_t io = set_up(machine, board);
    pc_write(machine->io, io + AUX, 0, 1);
    pc_write(machine->io, io + ADDR, 0xa6, 1);
    pc_write(machine->io, io + CMD, 0x80, 1);
    pc_write(machine->io, io + D0, 3, 1);
    pc_write(machine->io, io + BLOCK, 0x11, 1);
    pc_write(machine->io, io + CNT, 0x54, 1);
    machine = moved(machine, board); /* started, nobody has looked yet */
    g_assert_cmphex(pc_read(machine->io, io + STS, 1), ==, 0x01);
    machine = moved(machine, board); /* the first byte is gone */
    g_assert_cmphex(pc_read(machine->io, io + STS, 1), ==, 0x81);
    pc_write(machine->io, io + BLOCK, 0x22, 1);
    pc_write(machine->io, io + STS, 0x80, 1);
    machine = moved(machine, board);
    pc_write(machine->io, io + BLOCK, 0x33, 1);
    pc_write(machine->io, io + STS, 0x80, 1);
    pc_write(machine->io, io + STS, 0x80, 1);
    g_assert_cmphex(pc_read(machine->io, io + STS, 1), ==, 0x02);
    pc_write(machine->io, io + STS, 0x02, 1);
    /* The module's contents and pointer moved with it: receive byte. */
    pc_write(machine->io, io + CMD, 0x82, 1);
    pc_write(machine->io, io + CNT, 0x44, 1);
    pc_read(machine->io, io + STS, 1);
    pc_write(machine->io, io + STS, 0x02, 1);
    machine = moved(machine, board);
    pc_write(machine->io, io + ADDR, 0xa7, 1);
    pc_write(machine->io, io + CNT, 0x44, 1);
    pc_read(machine->io, io + STS, 1);
    g_assert_cmphex(pc_read(machine->io, io + D0, 1), ==, 0x22);
    machine_free(machine);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/smbus-state/q35/blocks-go-on", "q35", test_blocks_go_on);
    g_test_add_data_func("/smbus-state/pc/blocks-go-on", "pc", test_blocks_go_on);
    return g_test_run();
}
