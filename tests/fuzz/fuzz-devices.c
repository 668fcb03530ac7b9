/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that writes nonsense to every register of every device. The input is a list of
 * operations: reads and writes of all widths inside and across the windows that the machine shows,
 * PCI configuration cycles, bytes for guest memory (descriptors!), steps of the clock.
 */
#include <string.h>
#include "tests/fuzz/machine.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef BOARD
#define BOARD "q35"
#endif
#define MAX_OPERATIONS 400
#define MAX_WINDOWS    256
#define LOW_MEMORY     0x10000 /* where rings and buffers are likely */

typedef struct Window {
    AddressSpace *space;
    uint64_t start, length;
} Window;

typedef struct Input {
    const uint8_t *at, *end;
} Input;

static Window windows[MAX_WINDOWS];
static unsigned window_count;
static AddressSpace *listed;

static uint64_t take(Input *in, unsigned size)
{
    uint64_t value = 0;
    size_t left = (size_t)(in->end - in->at);
    size = (unsigned)MIN(size, left);
    memcpy(&value, in->at, size);
    in->at += size;
    return value;
}

static void add_window(const FlatRange *range, void *opaque)
{
    if (range->region->kind == REGION_IO && window_count < MAX_WINDOWS) {
        windows[window_count++] = (Window){ .space = listed,
                                            .start = range->start,
                                            .length = range->last - range->start + 1 };
    }
}

/* Windows come and go with BARs: looked up again for each input. */
static void list_windows(Machine *machine)
{
    window_count = 0;
    listed = machine->memory;
    address_space_foreach(machine->memory, add_window, NULL);
    listed = machine->io;
    address_space_foreach(machine->io, add_window, NULL);
}

static void access_window(Input *in, bool write)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    const Window *window = &windows[take(in, 1) % window_count];
    DispatchCache cache = { 0 };
    unsigned size = sizes[take(in, 1) % 4];
    uint64_t addr = window->start + take(in, 2) % window->length;
    if (write) {
        address_space_store(window->space, &cache, addr, take(in, size), size);
    } else {
        address_space_load(window->space, &cache, addr, size);
    }
}

static void configuration(Machine *machine, Input *in)
{
    uint32_t select = 0x80000000u | (uint32_t)(take(in, 2) & 0xfffc);
    DispatchCache cache = { 0 };
    address_space_store(machine->io, &cache, 0xcf8, select, 4);
    address_space_store(machine->io, &cache, 0xcfc, take(in, 4), 4);
}

/* A value at a place in memory, by preference one that looks like a pointer into it. */
static void fill_memory(Machine *machine, Input *in)
{
    uint64_t addr = take(in, 2) % LOW_MEMORY;
    uint8_t data[8];
    store_le64(data, take(in, 1) & 1 ? take(in, 2) : take(in, 8));
    dma_write(machine->memory, addr, data, sizeof(data));
}

static void step_clock(Input *in)
{
    clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + (int64_t)take(in, 3));
}

static void operate(Machine *machine, Input *in)
{
    switch (take(in, 1) % 8) {
    case 0:
    case 1:
        access_window(in, false);
        break;
    case 2:
    case 3:
    case 4:
        access_window(in, true);
        break;
    case 5:
        configuration(machine, in);
        list_windows(machine);
        break;
    case 6:
        fill_memory(machine, in);
        break;
    default:
        step_clock(in);
        fuzz_machine_settle(machine);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Machine *machine = fuzz_machine(BOARD);
    Input in = { .at = data, .end = data + size };
    machine_cont(machine, NULL);
    list_windows(machine);
    for (int i = 0; i < MAX_OPERATIONS && in.at < in.end && window_count; i++) {
        operate(machine, &in);
    }
    fuzz_machine_settle(machine);
    fuzz_machine_reset(machine);
    return 0;
}
