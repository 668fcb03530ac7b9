/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine with vCPUs that gdb can look at and that never run: for the stub's packets. */
#ifndef TESTS_UNIT_GDB_KIT_H
#define TESTS_UNIT_GDB_KIT_H

#include "tests/unit/pc-machine.h"
#include "vmm/gdbstub/session.h"
#include "vmm/machine/accel.h"

#define KIT_CPUS 4

typedef struct GdbKit {
    DebugRegs regs[KIT_CPUS];
    DebugRun run[KIT_CPUS];
    DebugStop stop[KIT_CPUS];
    DebugSlot slots[DEBUG_SLOTS];
    unsigned slot_count, software_count;
    bool refuse_breaks;
} GdbKit;

static GdbKit kit;

static bool kit_check(Machine *machine, GError **error)
{
    return true;
}

static bool kit_regs_get(Machine *machine, unsigned cpu, DebugRegs *regs, unsigned groups)
{
    g_assert_cmpuint(cpu, <, KIT_CPUS);
    *regs = kit.regs[cpu];
    return true;
}

static bool kit_regs_put(Machine *machine, unsigned cpu, const DebugRegs *regs, unsigned groups)
{
    g_assert_cmpuint(cpu, <, KIT_CPUS);
    kit.regs[cpu] = *regs;
    return true;
}

static bool kit_set_breaks(Machine *machine, const DebugBreaks *breaks, GError **error)
{
    if (breaks && kit.refuse_breaks) {
        return error_set(error, "refused");
    }
    kit.slot_count = breaks ? breaks->count : 0;
    kit.software_count = breaks && breaks->software ? breaks->software->len : 0;
    if (breaks) {
        memcpy(kit.slots, breaks->slots, sizeof(kit.slots));
    }
    return true;
}

static bool kit_set_run(Machine *machine, unsigned cpu, DebugRun run, GError **error)
{
    g_assert_cmpuint(cpu, <, KIT_CPUS);
    kit.run[cpu] = run;
    return true;
}

static DebugStop kit_take_stop(Machine *machine, unsigned cpu)
{
    DebugStop stop = kit.stop[cpu];
    kit.stop[cpu] = (DebugStop){ DEBUG_STOP_NONE, 0 };
    return stop;
}

static bool kit_no_irqs(Machine *machine)
{
    return true;
}

/* The machine of pc_machine_new(): one vCPU of four places is there. */
static inline Machine *gdb_kit_machine(void)
{
    static const AccelDebugOps ops = {
        .check = kit_check,
        .regs_get = kit_regs_get,
        .regs_put = kit_regs_put,
        .set_breaks = kit_set_breaks,
        .set_run = kit_set_run,
        .take_stop = kit_take_stop,
        .step_keeps_irqs_away = kit_no_irqs,
    };
    static AccelOps accel;
    Machine *machine = pc_machine_new("microvm", NULL);
    accel = *machine->accel;
    accel.debug = &ops;
    machine->accel = &accel;
    kit = (GdbKit){ .refuse_breaks = false };
    return machine;
}

#endif
