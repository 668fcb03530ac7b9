/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's places for vCPUs. */
#include "vmm/machine/cpus.h"

#include <string.h>

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
    return index < machine->config->smp.cpus;
}

char *machine_cpu_type(const Machine *machine)
{
    const char *model = machine->config->cpu_model ? machine->config->cpu_model : "host";
    return g_strdup_printf("%.*s-x86_64-cpu", (int)strcspn(model, ","), model);
}

char *machine_cpu_path(const Machine *machine, unsigned index)
{
    return g_strdup_printf("/machine/cpu[%u]", index);
}
