/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU as a device: `-device EPYC-x86_64-cpu,socket-id=1,core-id=0,thread-id=0` and device_add
 * fill one of the places that -smp's maxcpus leaves. */
#include "hw/acpi/cpu_hotplug.h"
#include "hw/devices.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/numa.h"

typedef struct X86Cpu {
    Device dev;
    int32_t socket, die, core, thread, node;
} X86Cpu;

static bool check_id(const char *name, int32_t value, unsigned count, GError **error)
{
    if (value < 0) {
        return error_set(error, "CPU %s is not set", name);
    }
    if ((unsigned)value >= count) {
        return error_set(error, "Invalid CPU %s: %d must be in range 0:%u", name, value, count - 1);
    }
    return true;
}

static bool find_place(X86Cpu *cpu, unsigned *index, GError **error)
{
    const MachineConfig *config = cpu->dev.machine->config;
    const SmpConfig *smp = &config->smp;
    if (cpu->die < 0 && smp->dies == 1) {
        cpu->die = 0;
    }
    if (!check_id("socket-id", cpu->socket, smp->sockets, error) ||
        !check_id("die-id", cpu->die, smp->dies, error) ||
        !check_id("core-id", cpu->core, smp->cores, error) ||
        !check_id("thread-id", cpu->thread, smp->threads, error)) {
        return false;
    }
    CpuPlace place = { (unsigned)cpu->socket, (unsigned)cpu->die, (unsigned)cpu->core,
                       (unsigned)cpu->thread };
    *index = smp_index(smp, &place);
    int node = machine_cpu_node(config, *index);
    if (cpu->node >= 0 && cpu->node != node) {
        return error_set(error, "node-id=%d must match numa node specified with -numa option: %d",
                         cpu->node, node);
    }
    return true;
}

static bool x86_cpu_realize(Device *dev, GError **error)
{
    Machine *machine = dev->machine;
    AcpiSlots *slots = cpu_hotplug_slots(machine);
    unsigned index = 0;
    if (!slots) {
        return error_set(error, "machine '%s' has no places for more vCPUs", machine->cls->name);
    }
    if (!find_place((X86Cpu *)dev, &index, error) ||
        !machine_cpu_plug(machine, index, dev, error)) {
        return false;
    }
    acpi_slots_fill(slots, index, dev, machine->finished);
    return true;
}

static void x86_cpu_unrealize(Device *dev)
{
    AcpiSlots *slots = cpu_hotplug_slots(dev->machine);
    if (slots) {
        acpi_slots_clear(slots, dev);
    }
    machine_cpu_unplug(dev->machine, dev);
}

static bool x86_cpu_request_unplug(Device *dev, GError **error)
{
    AcpiSlots *slots = cpu_hotplug_slots(dev->machine);
    return slots && machine_cpus_may_change(dev->machine, error) &&
           acpi_slots_request(slots, dev, error);
}

static const Property x86_cpu_props[] = {
    PROP_I32("socket-id", X86Cpu, socket, -1, "socket of the place"),
    PROP_I32("die-id", X86Cpu, die, -1, "die of the place; 0 where sockets have one"),
    PROP_I32("core-id", X86Cpu, core, -1, "core of the place"),
    PROP_I32("thread-id", X86Cpu, thread, -1, "thread of the place"),
    PROP_I32("node-id", X86Cpu, node, -1, "NUMA node of the place, as -numa has it"),
    PROP_END,
};

const DeviceClass x86_cpu_class = {
    .name = "x86_64-cpu",
    .desc = "A vCPU, as MODEL-x86_64-cpu",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_CPU,
    .size = sizeof(X86Cpu),
    .props = x86_cpu_props,
    .hotpluggable = true,
    .realize = x86_cpu_realize,
    .unrealize = x86_cpu_unrealize,
    .request_unplug = x86_cpu_request_unplug,
};
