/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's places for vCPUs. */
#include "vmm/machine/cpus.h"

#include <string.h>
#include "vmm/machine/accel.h"
#include "vmm/machine/apic_id.h"

CpuPlace smp_place(const SmpConfig *smp, unsigned index)
{
    return (CpuPlace){
        .socket = index / (smp->threads * smp->cores * smp->dies),
        .die = index / (smp->threads * smp->cores) % smp->dies,
        .core = index / smp->threads % smp->cores,
        .thread = index % smp->threads,
    };
}

unsigned smp_index(const SmpConfig *smp, const CpuPlace *place)
{
    if (place->socket >= smp->sockets || place->die >= smp->dies || place->core >= smp->cores ||
        place->thread >= smp->threads) {
        return smp->maxcpus;
    }
    return ((place->socket * smp->dies + place->die) * smp->cores + place->core) * smp->threads +
           place->thread;
}

bool machine_cpu_present(const Machine *machine, unsigned index)
{
    return index < machine->config->smp.maxcpus &&
           __atomic_load_n(&machine->cpus[index].present, __ATOMIC_ACQUIRE);
}

void machine_cpus_init(Machine *machine)
{
    const SmpConfig *smp = &machine->config->smp;
    machine->cpus = g_new0(MachineCpu, MAX(smp->maxcpus, 1));
    for (unsigned i = 0; i < smp->cpus && !machine->cls->bare; i++) {
        machine->cpus[i].present = true;
    }
}

unsigned machine_cpu_count(const Machine *machine)
{
    unsigned count = 0;
    for (unsigned i = 0; i < machine->config->smp.maxcpus; i++) {
        count += machine_cpu_present(machine, i);
    }
    return count;
}

bool machine_cpus_may_change(const Machine *machine, GError **error)
{
    return !__atomic_load_n(&machine->cpus_fixed, __ATOMIC_ACQUIRE) ||
           error_set(error, "the firmware manages system management mode of the vCPUs that it has "
                            "found, others cannot come or go: set their number with -smp, or "
                            "start without -machine smm=on");
}

bool machine_cpu_plug(Machine *machine, unsigned index, Device *dev, GError **error)
{
    MachineCpu *cpu = &machine->cpus[index];
    if (cpu->present) {
        return error_set(error, "CPU %u (APIC ID %u) is there already", index,
                         smp_apic_id(&machine->config->smp, index));
    }
    if (machine->finished && !machine_cpus_may_change(machine, error)) {
        return false;
    }
    if (machine->finished && machine->accel->vcpu_add &&
        !machine->accel->vcpu_add(machine, index, error)) {
        return false;
    }
    cpu->dev = dev;
    __atomic_store_n(&cpu->present, true, __ATOMIC_RELEASE);
    return true;
}

static MachineCpu *find_cpu(Machine *machine, const Device *dev)
{
    for (unsigned i = 0; i < machine->config->smp.maxcpus; i++) {
        if (machine->cpus[i].dev == dev) {
            return &machine->cpus[i];
        }
    }
    return NULL;
}

void machine_cpu_stop(Machine *machine, const Device *dev)
{
    const MachineCpu *cpu = find_cpu(machine, dev);
    if (cpu && machine->accel->vcpu_remove) {
        machine->accel->vcpu_remove(machine, (unsigned)(cpu - machine->cpus));
    }
}

void machine_cpu_unplug(Machine *machine, const Device *dev)
{
    MachineCpu *cpu = find_cpu(machine, dev);
    if (cpu) {
        machine_cpu_stop(machine, dev);
        cpu->dev = NULL;
        __atomic_store_n(&cpu->present, false, __ATOMIC_RELEASE);
    }
}

char *machine_cpu_type(const Machine *machine)
{
    const char *model = machine->config->cpu_model ? machine->config->cpu_model : "host";
    return g_strdup_printf("%.*s-x86_64-cpu", (int)strcspn(model, ","), model);
}

char *machine_cpu_path(const Machine *machine, unsigned index)
{
    const Device *dev = index < machine->config->smp.maxcpus ? machine->cpus[index].dev : NULL;
    return dev ? device_path(dev) : g_strdup_printf("/machine/unattached/cpu[%u]", index);
}

const HostCpus *machine_cpu_affinity(const MachineConfig *config, unsigned index)
{
    for (guint i = 0; config->vcpu_pins && i < config->vcpu_pins->len; i++) {
        const VcpuPin *pin = g_ptr_array_index(config->vcpu_pins, i);
        if (host_cpus_has(&pin->vcpus, index)) {
            return &pin->cpus;
        }
    }
    return NULL;
}
