/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every device of a machine, saved in the middle of nonsense, reset and loaded again, has the state
 * it had: a second save gives the same bytes. A field that is missing from a device's table and
 * feeds one that is not shows up here.
 */
#include "tests/fuzz/machine.h"
#include "vmm/machine/life.h"

typedef struct Poke {
    GRand *random;
    AddressSpace *space;
} Poke;

static void poke_window(const FlatRange *range, void *opaque)
{
    static const unsigned sizes[] = { 1, 2, 4 };
    Poke *poke = opaque;
    DispatchCache cache = { 0 };
    if (range->region->kind != REGION_IO) {
        return;
    }
    for (int i = 0; i < 16; i++) {
        uint64_t length = range->last - range->start + 1;
        uint64_t addr = range->start + g_rand_int(poke->random) % length;
        unsigned size = sizes[g_rand_int(poke->random) % G_N_ELEMENTS(sizes)];
        address_space_store(poke->space, &cache, addr, g_rand_int(poke->random), size);
    }
}

static void poke_all(Machine *machine, unsigned seed)
{
    Poke poke = { .random = g_rand_new_with_seed(seed), .space = machine->memory };
    address_space_foreach(machine->memory, poke_window, &poke);
    poke.space = machine->io;
    address_space_foreach(machine->io, poke_window, &poke);
    g_rand_free(poke.random);
}

/* What each device has, as text, for messages. */
static void dump_device(Device *dev, void *opaque)
{
    if (dev->cls->state) {
        g_autofree char *path = device_path(dev);
        g_string_append_printf(opaque, "%s (%s)\n", path, dev->cls->name);
        state_dump(dev->cls->state, dev, opaque);
    }
}

static char *dump_all(Machine *machine)
{
    GString *text = g_string_new(NULL);
    device_foreach(machine, dump_device, text);
    return g_string_free(text, FALSE);
}

/* The first line that differs, with its device. */
static void explain(const char *before, const char *after)
{
    g_auto(GStrv) old = g_strsplit(before, "\n", -1);
    g_auto(GStrv) now = g_strsplit(after, "\n", -1);
    const char *device = "";
    for (int i = 0; old[i] && now[i]; i++) {
        if (old[i][0] == '/') {
            device = old[i];
        }
        if (g_strcmp0(old[i], now[i]) != 0) {
            g_test_message("%s: saved '%s', then '%s'", device, old[i], now[i]);
        }
    }
}

static void test_round_trip(gconstpointer board)
{
    Machine *machine = fuzz_machine(board);
    for (unsigned seed = 0; seed < 40; seed++) {
        GError *error = NULL;
        g_autoptr(GByteArray) first = g_byte_array_new();
        g_autoptr(GByteArray) second = g_byte_array_new();
        machine_cont(machine, NULL);
        poke_all(machine, seed);
        clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + 12345678);
        fuzz_machine_settle(machine); /* timers that are due: lines follow them */
        machine_stop(machine, RUN_STATE_PAUSED);
        devices_save(machine, first);
        g_autofree char *before = dump_all(machine);
        machine_reset_now(machine);
        devices_load(machine, first->data, first->len, &error);
        g_assert_no_error(error);
        devices_save(machine, second);
        g_autofree char *after = dump_all(machine);
        explain(before, after);
        g_assert_cmpmem(first->data, first->len, second->data, second->len);
        fuzz_machine_reset(machine);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(argc, ==, 2);
    g_autofree char *path = g_strdup_printf("/state/%s/save-reset-load-save", argv[1]);
    g_test_add_data_func(path, argv[1], test_round_trip);
    return g_test_run();
}
