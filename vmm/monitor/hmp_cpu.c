/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's looks at vCPUs: which one is meant, its registers, its interrupts. */
#include "vmm/monitor/hmp.h"

#include <string.h>
#include "vmm/device/parse.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/monitor.h"
#include "vmm/util/bytes.h"

#define BLANKS " \t\r\n\v\f"

/* ---- Which one ---- */

unsigned hmp_cpu(void)
{
    Machine *machine = machine_get();
    unsigned cpu = hmp_context()->cpu, count = machine->config->smp.maxcpus;
    if (cpu < count && machine_cpu_present(machine, cpu)) {
        return cpu;
    }
    for (cpu = 0; cpu + 1 < count && !machine_cpu_present(machine, cpu); cpu++) {
    }
    return cpu;
}

/* A vCPU's number; false when there is none of it (error). */
static bool parse_cpu(const char *text, unsigned *cpu, GError **error)
{
    Machine *machine = machine_get();
    uint64_t index;
    if (!value_parse_uint(text, &index)) {
        return error_set(error, "'%s' is not a vCPU's number", text);
    }
    if (index >= machine->config->smp.maxcpus || !machine_cpu_present(machine, (unsigned)index)) {
        return error_set(error, "there is no vCPU %s: info cpus lists them", text);
    }
    *cpu = (unsigned)index;
    return true;
}

static bool need_vcpus(GError **error)
{
    Machine *machine = machine_get();
    return (machine->accel->debug && machine->config->smp.maxcpus) ||
           error_set(error, "the machine has no vCPUs to be looked at (accelerator '%s')",
                     machine->accel->name);
}

/* Runs while vCPUs are out of the guest. */
static bool vcpus_hold(Machine *machine)
{
    bool running = machine_is_running(machine);
    if (running) {
        machine->accel->vcpus_pause(machine);
    }
    return running;
}

static void vcpus_release(Machine *machine, bool held)
{
    if (held) {
        machine->accel->vcpus_resume(machine);
    }
}

bool hmp_registers(DebugRegs *regs, unsigned groups, GError **error)
{
    Machine *machine = machine_get();
    if (!need_vcpus(error)) {
        return false;
    }
    bool held = vcpus_hold(machine);
    bool ok = machine->accel->debug->regs_get(machine, hmp_cpu(), regs, groups);
    vcpus_release(machine, held);
    return ok || error_set(error, "the registers of vCPU %u cannot be read", hmp_cpu());
}

/* ---- Registers in expressions, by QEMU's names and by gdb's ---- */

typedef struct RegisterName {
    const char *name;
    unsigned group;
    unsigned size;
    size_t offset;
} RegisterName;

#define ROW(name_, group_, field_)                                                                 \
    {                                                                                              \
        name_, DEBUG_REGS_##group_, sizeof(((DebugRegs *)0)->field_), offsetof(DebugRegs, field_)  \
    }
#define GENERAL(name_, n) ROW("e" name_, GENERAL, gpr[n]), ROW("r" name_, GENERAL, gpr[n])
#define EXTENDED(n)       ROW("r" #n, GENERAL, gpr[n])
#define SEGMENT(name_, n)                                                                          \
    ROW(name_, SYSTEM, selector[n]), ROW(name_ ".base", SYSTEM, segment_base[n]),                  \
        ROW(name_ ".limit", SYSTEM, segment_limit[n])

static const RegisterName register_names[] = {
    GENERAL("ax", 0),
    GENERAL("bx", 1),
    GENERAL("cx", 2),
    GENERAL("dx", 3),
    GENERAL("si", 4),
    GENERAL("di", 5),
    GENERAL("bp", 6),
    GENERAL("sp", 7),
    ROW("fp", GENERAL, gpr[6]),
    ROW("sp", GENERAL, gpr[7]),
    EXTENDED(8),
    EXTENDED(9),
    EXTENDED(10),
    EXTENDED(11),
    EXTENDED(12),
    EXTENDED(13),
    EXTENDED(14),
    EXTENDED(15),
    ROW("eflags", GENERAL, rflags),
    ROW("eip", GENERAL, rip),
    ROW("rip", GENERAL, rip),
    SEGMENT("cs", SEG_CS),
    SEGMENT("ds", SEG_DS),
    SEGMENT("es", SEG_ES),
    SEGMENT("ss", SEG_SS),
    SEGMENT("fs", SEG_FS),
    SEGMENT("gs", SEG_GS),
    ROW("cr0", SYSTEM, cr0),
    ROW("cr2", SYSTEM, cr2),
    ROW("cr3", SYSTEM, cr3),
    ROW("cr4", SYSTEM, cr4),
    ROW("cr8", SYSTEM, cr8),
    ROW("efer", SYSTEM, efer),
};

static uint64_t program_counter(const DebugRegs *regs)
{
    return regs->code_64 ? regs->rip : (uint32_t)(regs->segment_base[SEG_CS] + regs->rip);
}

static bool read_register(void *opaque, const char *name, uint64_t *value)
{
    DebugRegs regs = { 0 };
    if (g_str_equal(name, "pc")) { /* the address that x wants */
        bool ok = hmp_registers(&regs, DEBUG_REGS_GENERAL | DEBUG_REGS_SYSTEM, NULL);
        *value = program_counter(&regs);
        return ok;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(register_names); i++) {
        const RegisterName *row = &register_names[i];
        if (g_str_equal(name, row->name)) {
            bool ok = hmp_registers(&regs, row->group, NULL);
            *value = 0;
            memcpy(value, (const uint8_t *)&regs + row->offset, row->size); /* little-endian */
            return ok;
        }
    }
    return false;
}

bool hmp_value(const char **text, uint64_t *value, bool last, GError **error)
{
    int64_t result;
    if (!hmp_expression(text, read_register, NULL, &result, error)) {
        return false;
    }
    *text += strspn(*text, BLANKS);
    if (last && **text) {
        return error_set(error, "the expression ends before '%.32s'", *text);
    }
    *value = (uint64_t)result;
    return true;
}

/* ---- Commands ---- */

static void hmp_set_cpu(GString *out, char **args)
{
    GError *error = NULL;
    parse_cpu(args[0], &hmp_context()->cpu, &error);
    hmp_error(out, error);
}

static void hmp_info_cpus(GString *out, char **args)
{
    json_object *list = qmp_execute("query-cpus-fast", NULL, NULL);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *cpu = json_object_array_get_idx(list, i);
        int index = json_object_get_int(json_object_object_get(cpu, "cpu-index"));
        g_string_append_printf(out, "%c CPU #%d: thread_id=%d\n",
                               (unsigned)index == hmp_cpu() ? '*' : ' ', index,
                               json_object_get_int(json_object_object_get(cpu, "thread-id")));
    }
    json_object_put(list);
}

static void hmp_info_registers(GString *out, char **args)
{
    Machine *machine = machine_get();
    GError *error = NULL;
    bool all = g_strcmp0(args[0], "-a") == 0;
    unsigned first = hmp_cpu();
    if (args[0] && !all && !parse_cpu(args[0], &first, &error)) {
        hmp_error(out, error);
        return;
    }
    bool held = vcpus_hold(machine);
    unsigned last = all ? machine->config->smp.maxcpus : first + 1;
    for (unsigned i = all ? 0 : first; i < last && i < machine->config->smp.maxcpus; i++) {
        if (machine_cpu_present(machine, i)) {
            machine->accel->vcpu_dump(machine, i, out);
        }
    }
    vcpus_release(machine, held);
}

static bool find_apic(const char *text, unsigned *cpu, GError **error)
{
    Machine *machine = machine_get();
    uint64_t id;
    if (!value_parse_uint(text, &id)) {
        return error_set(error, "'%s' is not an APIC ID", text);
    }
    for (unsigned i = 0; i < machine->config->smp.maxcpus; i++) {
        if (machine_cpu_present(machine, i) && machine->accel->debug->apic_id(machine, i) == id) {
            *cpu = i;
            return true;
        }
    }
    return error_set(error, "no vCPU has the APIC ID %s", text);
}

static void hmp_info_lapic(GString *out, char **args)
{
    Machine *machine = machine_get();
    GError *error = NULL;
    unsigned cpu = hmp_cpu();
    if (!need_vcpus(&error) || (args[0] && !find_apic(args[0], &cpu, &error))) {
        hmp_error(out, error);
        return;
    }
    bool held = vcpus_hold(machine);
    machine->accel->debug->lapic_dump(machine, cpu, out);
    vcpus_release(machine, held);
}

static void list_cpus(GPtrArray *words)
{
    json_object *list = qmp_execute("query-cpus-fast", NULL, NULL);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *cpu = json_object_array_get_idx(list, i);
        g_ptr_array_add(words,
                        g_strdup(json_object_get_string(json_object_object_get(cpu, "cpu-index"))));
    }
    json_object_put(list);
}

static const HmpCommand hmp[] = {
    { "cpu", "CPU", "the vCPU that this session's commands look at from now on", hmp_set_cpu, 1,
      1 },
    { "info cpus", NULL, "the vCPUs and their threads; * is the one that commands look at",
      hmp_info_cpus },
    { "info registers", "[-a|CPU]", "a vCPU's registers; -a: all vCPUs'", hmp_info_registers, 0,
      1 },
    { "info lapic", "[APICID]", "a vCPU's local APIC", hmp_info_lapic, 0, 1 },
    { NULL },
};

static const HmpWordKind words[] = { { "CPU", list_cpus }, { NULL } };

const MonitorCommands hmp_cpu_commands = { .hmp = hmp, .words = words };
