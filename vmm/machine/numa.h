/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NUMA: which CPUs and how much memory belong to which node, how far nodes are from each other.
 * `-numa` fills a NumaConfig (vmm/cli/option_numa.c); completed it is constant. Main thread.
 */
#ifndef VMM_MACHINE_NUMA_H
#define VMM_MACHINE_NUMA_H

#include "vmm/machine/machine.h"

#define NUMA_MAX_NODES      128
#define NUMA_NO_NODE        (-1)
#define NUMA_DISTANCE_LOCAL 10
#define NUMA_DISTANCE_FAR   20 /* of nodes that nobody gave one */
#define NUMA_CACHE_LEVELS   3

typedef struct NumaNode {
    bool present;
    bool has_cpus;
    uint64_t size; /* bytes */
    char *memdev;  /* its memory back end, NULL: a part of the machine's memory */
    int initiator; /* the node whose CPUs are nearest, or NUMA_NO_NODE */
} NumaNode;

/* ACPI's HMAT: what each initiator gets of each target (5.2.27.4). */
typedef struct NumaLatency {
    unsigned initiator, target;
    unsigned hierarchy; /* 0: memory, 1 to 3: its caches */
    unsigned type;      /* 0 to 2: latency, 3 to 5: bandwidth; of access, read, write */
    uint64_t value;     /* ns, or bytes a second */
} NumaLatency;

typedef struct NumaCache {
    unsigned node, level;
    uint64_t size;
    unsigned associativity, policy, line;
} NumaCache;

/* -numa cpu: places of these ids; -1: any. */
typedef struct NumaCpus {
    unsigned node;
    int socket, die, core, thread;
} NumaCpus;

typedef struct NumaConfig {
    NumaNode nodes[NUMA_MAX_NODES];
    unsigned count; /* nodes are 0 to count - 1 */
    bool sized;     /* some have mem= or memdev= */
    bool has_distances;
    uint8_t distance[NUMA_MAX_NODES][NUMA_MAX_NODES];
    GArray *latencies; /* NumaLatency */
    GArray *caches;    /* NumaCache */
    GArray *cpus;      /* NumaCpus, until completed */
    int16_t *cpu_node; /* by vCPU index; cpu_nodes of them */
    unsigned cpu_nodes;
} NumaConfig;

NumaConfig *numa_new(void);
void numa_free(NumaConfig *numa);
/* The CPU of this index belongs to the node. */
bool numa_assign_cpu(NumaConfig *numa, unsigned index, unsigned node, GError **error);
/* All options were read: fills in what they left open and checks the rest. */
bool numa_complete(NumaConfig *numa, const MachineConfig *config, GError **error);
/* The node of a vCPU; NUMA_NO_NODE without -numa. */
int machine_cpu_node(const MachineConfig *config, unsigned index);
/* The machine's memory made of the nodes' back ends; NULL and error. */
RamBlock *numa_create_ram(const MachineConfig *config, GError **error);
bool numa_has_backends(const NumaConfig *numa);

#endif
