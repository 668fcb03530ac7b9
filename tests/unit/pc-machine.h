/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine in the test's own process, on the qtest accelerator: for state and fuzzing. */
#ifndef TESTS_UNIT_PC_MACHINE_H
#define TESTS_UNIT_PC_MACHINE_H

#include "hw/devices.h"
#include "vmm/event/clock.h"
#include "vmm/machine/machine.h"
#include "vmm/memory/address_space.h"
#include "vmm/memory/rcu.h"
#include "vmm/util/bytes.h"

/* devices: command-line forms "class,prop=value,...", NULL-terminated. */
static inline Machine *pc_machine_new(const char *board, const char *const *devices)
{
    static MachineConfig config;
    static bool registered;
    GError *error = NULL;

    if (!registered) {
        rcu_thread_register();
        event_loop_main();
        device_classes_register(device_classes);
        machine_classes_register(machine_classes);
        registered = true;
    }
    config = (MachineConfig){
        .cls = machine_class_find(board),
        .accel = "qtest",
        .ram_size = 32 * MIB,
        .ram_max = 64 * MIB,
        .ram_slots = 2,
        .smp = { .cpus = 1, .maxcpus = 4, .sockets = 1, .dies = 1, .cores = 4, .threads = 1 },
        .rtc_clock = VM_CLOCK_VIRTUAL,
        .rtc_base = 1709164798, /* 2024-02-28 23:59:58 */
        .nodefaults = true,
        .actions.panic = PANIC_NONE,
    };
    Machine *machine = machine_new(&config, &error);
    g_assert_no_error(error);
    for (; devices && *devices; devices++) {
        g_auto(GStrv) words = g_strsplit(*devices, ",", -1);
        Device *dev = device_new(device_class_find(words[0]), NULL);
        for (unsigned i = 1; words[i]; i++) {
            char *value = strchr(words[i], '=');
            *value++ = '\0';
            device_set_prop(dev, words[i], value, &error);
            g_assert_no_error(error);
        }
        device_realize(dev, machine, NULL, &error);
        g_assert_no_error(error);
    }
    machine_finish(machine, &error);
    g_assert_no_error(error);
    return machine;
}

static inline uint64_t pc_read(AddressSpace *space, uint64_t addr, unsigned size)
{
    uint8_t data[8] = { 0 };

    address_space_read(space, addr, data, size);
    return load_le(data, size);
}

static inline void pc_write(AddressSpace *space, uint64_t addr, uint64_t value, unsigned size)
{
    uint8_t data[8];

    store_le64(data, value);
    address_space_write(space, addr, data, size);
}

static inline uint32_t pc_config_read(Machine *machine, uint16_t bdf, uint8_t reg)
{
    pc_write(machine->io, 0xcf8, 0x80000000u | (uint32_t)bdf << 8 | reg, 4);
    return pc_read(machine->io, 0xcfc, 4);
}

static inline void pc_config_write(Machine *machine, uint16_t bdf, uint8_t reg, uint32_t value)
{
    pc_write(machine->io, 0xcf8, 0x80000000u | (uint32_t)bdf << 8 | reg, 4);
    pc_write(machine->io, 0xcfc, value, 4);
}

#endif
