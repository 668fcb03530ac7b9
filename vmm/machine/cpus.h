/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's places for vCPUs: as many as -smp's maxcpus, the first `cpus` of them filled from
 * the start. A place's number is the vCPU's index. Main thread; changes under the topology lock.
 */
#ifndef VMM_MACHINE_CPUS_H
#define VMM_MACHINE_CPUS_H

#include "vmm/machine/machine.h"
#include "vmm/util/host_cpus.h"

typedef struct CpuPlace {
    unsigned socket, die, core, thread;
} CpuPlace;

CpuPlace smp_place(const SmpConfig *smp, unsigned index);
/* The place's index; maxcpus when there is no such place. */
unsigned smp_index(const SmpConfig *smp, const CpuPlace *place);

typedef struct MachineCpu {
    bool present; /* atomic */
    Device *dev;  /* NULL: made with the machine */
} MachineCpu;

void machine_cpus_init(Machine *machine);
unsigned machine_cpu_count(const Machine *machine);
/* False: the firmware relies on the vCPUs that there are. Main thread. */
bool machine_cpus_may_change(const Machine *machine, GError **error);
/* A device fills a place: the accelerator makes the vCPU, at once or with the others. Topology
 * lock. */
bool machine_cpu_plug(Machine *machine, unsigned index, Device *dev, GError **error);
/* Stops the vCPU of the device for good. Without the topology lock where vCPUs run: it may be the
 * one that the vCPU waits for. */
void machine_cpu_stop(Machine *machine, const Device *dev);
void machine_cpu_unplug(Machine *machine, const Device *dev);
bool machine_cpu_present(const Machine *machine, unsigned index); /* any thread */
/* The device_add type of the machine's vCPUs: "EPYC-x86_64-cpu". To be freed. */
char *machine_cpu_type(const Machine *machine);
/* Where the vCPU stands in the tree of objects. To be freed. */
char *machine_cpu_path(const Machine *machine, unsigned index);

/* -vcpu: where the threads of these vCPUs run. */
typedef struct VcpuPin {
    HostCpus vcpus; /* the machine's numbers */
    HostCpus cpus;  /* the host's */
} VcpuPin;
/* The host's CPUs for a vCPU; NULL: wherever the process may run. */
const HostCpus *machine_cpu_affinity(const MachineConfig *config, unsigned index);

#endif
