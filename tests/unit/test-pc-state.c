/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saving and restoring the PC's devices in the middle of their work, and refusing bad streams. */
#include <string.h>
#include "hw/pci/pci.h"
#include "tests/unit/pc-machine.h"

#define LPC   0x00f8
#define PORT  0x0008 /* the root port, 01.0 */
#define PANIC 0x0010 /* pvpanic-pci, 02.0 */
#define PM    0x600
#define BAR   0xc1000000u

static const char *const devices[] = { "pcie-root-port,addr=1,chassis=1",
                                       "pvpanic-pci,addr=2,events=1", NULL };

static uint8_t cmos(Machine *machine, uint8_t index)
{
    pc_write(machine->io, 0x70, index, 1);
    return pc_read(machine->io, 0x71, 1);
}

static void set_cmos(Machine *machine, uint8_t index, uint8_t value)
{
    pc_write(machine->io, 0x70, index, 1);
    pc_write(machine->io, 0x71, value, 1);
}

/* Every chip has something under way. */
static void set_to_work(Machine *machine)
{
    pc_config_write(machine, LPC, 0x40, PM);
    pc_config_write(machine, LPC, 0x44, 0x80);
    pc_config_write(machine, LPC, 0x60, 0x0b0a0b0a);
    pc_config_write(machine, LPC, 0xf0, 0xfed1c001);
    pc_config_write(machine, 0, 0x60, 0xb0000001);
    pc_write(machine->memory, 0xfed1c000 + 0x3140, 0x4567, 2);
    pc_config_write(machine, PANIC, 0x10, BAR);
    pc_config_write(machine, PANIC, 0x04, 2);
    pc_config_write(machine, PORT, 0x18, 0x00050500);
    pc_write(machine->io, PM + 2, 0x101, 2); /* power button and timer enabled */
    pc_write(machine->io, PM + 4, 1, 2);
    pc_write(machine->io, 0xb3, 0x5a, 1);
    pc_write(machine->io, 0x64, 0xd1, 1); /* the output port's new value is awaited */
    pc_write(machine->io, 0x92, 0x02, 1);
    set_cmos(machine, 0x0b, 0x12); /* an interrupt each second */
    set_cmos(machine, 0x50, 0x77);
}

static GByteArray *saved(Machine *machine)
{
    GByteArray *out = g_byte_array_new();

    devices_save(machine, out);
    return out;
}

static void restore(Machine *machine, const GByteArray *state)
{
    GError *error = NULL;

    devices_load(machine, state->data, state->len, &error);
    g_assert_no_error(error);
}

static void test_everything_survives(void)
{
    Machine *machine = pc_machine_new("q35", devices);

    set_to_work(machine);
    g_autoptr(GByteArray) state = saved(machine);
    machine_free(machine);

    machine = pc_machine_new("q35", devices);
    g_assert_cmphex(pc_config_read(machine, LPC, 0x40), ==, 1);
    restore(machine, state);
    g_assert_cmphex(pc_config_read(machine, LPC, 0x40), ==, PM | 1);
    g_assert_cmphex(pc_config_read(machine, LPC, 0x60), ==, 0x0b0a0b0a);
    g_assert_cmphex(pc_read(machine->memory, 0xb0000000, 4), ==, 0x29c08086);
    g_assert_cmphex(pc_read(machine->memory, 0xfed1c000 + 0x3140, 2), ==, 0x4567);
    g_assert_cmphex(pc_read(machine->memory, BAR, 1), ==, 1);
    g_assert_cmphex(pc_config_read(machine, PORT, 0x18), ==, 0x00050500);
    g_assert_cmphex(pc_read(machine->io, PM + 2, 2), ==, 0x101);
    g_assert_cmphex(pc_read(machine->io, PM + 4, 2), ==, 1);
    g_assert_cmphex(pc_read(machine->io, 0xb3, 1), ==, 0x5a);
    g_assert_cmphex(pc_read(machine->io, 0x92, 1), ==, 0x02);
    g_assert_cmphex(cmos(machine, 0x50), ==, 0x77);
    g_autoptr(GByteArray) again = saved(machine);
    g_assert_cmpmem(again->data, again->len, state->data, state->len);
    machine_free(machine);
}

static void test_timers_go_on(void)
{
    Machine *machine = pc_machine_new("q35", devices);
    int64_t start = clock_now(VM_CLOCK_VIRTUAL);

    set_to_work(machine);
    g_autoptr(GByteArray) state = saved(machine);
    machine_free(machine);
    machine = pc_machine_new("q35", devices);
    restore(machine, state);
    g_assert_cmphex(cmos(machine, 0x0c), ==, 0);
    clock_virtual_step(start + NS_PER_SEC);
    g_assert_cmphex(cmos(machine, 0x0c) & 0x90, ==, 0x90);
    clock_virtual_step(start + 3 * NS_PER_SEC);
    g_assert_cmphex(pc_read(machine->io, PM, 2) & 1, ==, 1);
    machine_free(machine);
}

static void reset_one(Device *dev, void *opaque)
{
    device_reset(dev);
}

/* Whatever a stream holds, loading ends with an answer and the machine can be reset and used. */
static void test_broken_streams(void)
{
    Machine *machine = pc_machine_new("q35", devices);

    set_to_work(machine);
    g_autoptr(GByteArray) state = saved(machine);
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    for (unsigned i = 0; i < 2000; i++) {
        g_autofree uint8_t *copy = g_memdup2(state->data, state->len);
        gsize len = i % 4 ? state->len : (gsize)g_rand_int_range(random, 0, state->len);
        for (unsigned n = 0; n < 1 + i % 8; n++) {
            copy[g_rand_int_range(random, 0, state->len)] = g_rand_int(random);
        }
        devices_load(machine, copy, len, NULL);
        clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + NS_PER_SEC);
    }
    device_foreach(machine, reset_one, NULL);
    restore(machine, state);
    g_assert_cmphex(pc_config_read(machine, LPC, 0x40), ==, PM | 1);
    machine_free(machine);
}

static void test_identity_is_fixed(void)
{
    Machine *machine = pc_machine_new("q35", devices);
    GError *error = NULL;
    static const uint8_t mine[] = { 0x36, 0x1b, 0x11, 0x00 }; /* 1b36:0011 */

    g_autoptr(GByteArray) state = saved(machine);
    uint8_t *at = memmem(state->data, state->len, mine, sizeof(mine));
    g_assert_nonnull(at);
    at[2] = 0x12;
    g_assert_false(devices_load(machine, state->data, state->len, &error));
    g_assert_nonnull(strstr(error->message, "1b36:0012"));
    g_error_free(error);
    machine_free(machine);
}

static void test_microvm_survives(void)
{
    Machine *machine = pc_machine_new("microvm", NULL);

    pc_write(machine->memory, 0xfea00200, 0x14, 1);
    g_autoptr(GByteArray) state = saved(machine);
    machine_free(machine);
    machine = pc_machine_new("microvm", NULL);
    g_assert_cmphex(pc_read(machine->memory, 0xfea00200, 1), ==, 0);
    restore(machine, state);
    g_assert_cmphex(pc_read(machine->memory, 0xfea00200, 1), ==, 0x14);
    machine_free(machine);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pc-state/everything-survives", test_everything_survives);
    g_test_add_func("/pc-state/timers-go-on", test_timers_go_on);
    g_test_add_func("/pc-state/broken-streams-are-survived", test_broken_streams);
    g_test_add_func("/pc-state/another-function-is-refused", test_identity_is_fixed);
    g_test_add_func("/pc-state/microvm-survives", test_microvm_survives);
    return g_test_run();
}
