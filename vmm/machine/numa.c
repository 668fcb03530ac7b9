/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NUMA: checking and completing what -numa said; the nodes' memory. */
#include "vmm/machine/numa.h"

#include "vmm/error.h"
#include "vmm/machine/cpus.h"
#include "vmm/object/memory_backend.h"
#include "vmm/util/bytes.h"

NumaConfig *numa_new(void)
{
    NumaConfig *numa = g_new0(NumaConfig, 1);
    numa->latencies = g_array_new(FALSE, FALSE, sizeof(NumaLatency));
    numa->caches = g_array_new(FALSE, FALSE, sizeof(NumaCache));
    numa->cpus = g_array_new(FALSE, FALSE, sizeof(NumaCpus));
    return numa;
}

void numa_free(NumaConfig *numa)
{
    if (!numa) {
        return;
    }
    for (unsigned i = 0; i < NUMA_MAX_NODES; i++) {
        g_free(numa->nodes[i].memdev);
    }
    g_array_unref(numa->latencies);
    g_array_unref(numa->caches);
    g_array_unref(numa->cpus);
    g_free(numa->cpu_node);
    g_free(numa);
}

int machine_cpu_node(const MachineConfig *config, unsigned index)
{
    const NumaConfig *numa = config->numa;
    return numa && index < numa->cpu_nodes ? numa->cpu_node[index] : NUMA_NO_NODE;
}

bool numa_assign_cpu(NumaConfig *numa, unsigned index, unsigned node, GError **error)
{
    while (numa->cpu_nodes <= index) {
        numa->cpu_node = g_renew(int16_t, numa->cpu_node, numa->cpu_nodes + 1);
        numa->cpu_node[numa->cpu_nodes++] = NUMA_NO_NODE;
    }
    int before = numa->cpu_node[index];
    if (before != NUMA_NO_NODE && before != (int)node) {
        return error_set(error, "CPU %u belongs to node %d already", index, before);
    }
    numa->cpu_node[index] = (int16_t)node;
    return true;
}

/* ---- CPUs ---- */

static bool place_matches(const NumaCpus *cpus, const CpuPlace *place)
{
    return (cpus->socket < 0 || (unsigned)cpus->socket == place->socket) &&
           (cpus->die < 0 || (unsigned)cpus->die == place->die) &&
           (cpus->core < 0 || (unsigned)cpus->core == place->core) &&
           (cpus->thread < 0 || (unsigned)cpus->thread == place->thread);
}

static bool assign_places(NumaConfig *numa, const SmpConfig *smp, GError **error)
{
    for (guint i = 0; i < numa->cpus->len; i++) {
        const NumaCpus *cpus = &g_array_index(numa->cpus, NumaCpus, i);
        bool any = false;
        for (unsigned index = 0; index < smp->maxcpus; index++) {
            CpuPlace place = smp_place(smp, index);
            if (place_matches(cpus, &place)) {
                any = true;
                if (!numa_assign_cpu(numa, index, cpus->node, error)) {
                    return false;
                }
            }
        }
        if (!any) {
            return error_set(error,
                             "cpu: -smp has no such place for a CPU (sockets %u, dies %u, "
                             "cores %u, threads %u)",
                             smp->sockets, smp->dies, smp->cores, smp->threads);
        }
    }
    return true;
}

/* Without cpus= sockets go to the nodes in turn, so that no socket is on two nodes. */
static bool complete_cpus(NumaConfig *numa, const SmpConfig *smp, GError **error)
{
    if (!assign_places(numa, smp, error)) {
        return false;
    }
    if (numa->cpu_nodes > smp->maxcpus) {
        return error_set(error, "-numa node,cpus=: there is no CPU %u: maxcpus is %u",
                         numa->cpu_nodes - 1, smp->maxcpus);
    }
    bool given = numa->cpu_nodes > 0;
    for (unsigned i = 0; i < smp->maxcpus; i++) {
        if (!given) {
            CpuPlace place = smp_place(smp, i);
            numa_assign_cpu(numa, i, place.socket % numa->count, NULL);
        } else if (i >= numa->cpu_nodes || numa->cpu_node[i] == NUMA_NO_NODE) {
            return error_set(error,
                             "CPU %u is on no node: all CPUs up to maxcpus (%u) must be given one",
                             i, smp->maxcpus);
        }
        numa->nodes[numa->cpu_node[i]].has_cpus = true;
    }
    return true;
}

/* ---- Memory ---- */

static bool complete_memory(NumaConfig *numa, const MachineConfig *config, GError **error)
{
    uint64_t total = 0;
    if (config->memory_backend && numa_has_backends(numa)) {
        return error_set(error, "memdev= and -machine memory-backend= exclude each other");
    }
    for (unsigned i = 0; i < numa->count; i++) {
        NumaNode *node = &numa->nodes[i];
        if (node->memdev && !memory_backend_size(node->memdev, &node->size, error)) {
            return false;
        }
        if (node->size > config->ram_size - total) {
            total = UINT64_MAX;
            break;
        }
        total += node->size;
    }
    if (total != config->ram_size) {
        return error_set(error,
                         "the nodes' memory (mem=, memdev=) must add up to the machine's (-m), "
                         "%" G_GUINT64_FORMAT " MiB",
                         (uint64_t)(config->ram_size / MIB));
    }
    return true;
}

bool numa_has_backends(const NumaConfig *numa)
{
    for (unsigned i = 0; i < numa->count; i++) {
        if (numa->nodes[i].memdev) {
            return true;
        }
    }
    return false;
}

RamBlock *numa_create_ram(const MachineConfig *config, GError **error)
{
    const NumaConfig *numa = config->numa;
    RamBlock *parts[NUMA_MAX_NODES];
    unsigned count = 0;
    for (unsigned i = 0; i < numa->count; i++) {
        const NumaNode *node = &numa->nodes[i];
        if (node->size) {
            parts[count] = memory_backend_claim(node->memdev, node->size, error);
            if (!parts[count++]) {
                g_prefix_error(error, "-numa node,nodeid=%u,memdev=%s: ", i, node->memdev);
                return NULL;
            }
        }
    }
    return ram_block_join("pc.ram", parts, count, error);
}

/* ---- Distances and HMAT ---- */

static bool complete_distances(NumaConfig *numa, GError **error)
{
    if (!numa->has_distances) {
        return true;
    }
    for (unsigned i = 0; i < numa->count; i++) {
        if (numa->distance[i][i] == 0) {
            numa->distance[i][i] = NUMA_DISTANCE_LOCAL;
        }
        for (unsigned j = 0; j < numa->count; j++) {
            if (numa->distance[i][j] == 0) {
                numa->distance[i][j] = numa->distance[j][i];
            }
            if (numa->distance[i][j] == 0) {
                return error_set(error,
                                 "the distance between node %u and %u is missing: give one for "
                                 "every pair, in at least one direction",
                                 i, j);
            }
        }
    }
    return true;
}

static bool complete_hmat(NumaConfig *numa, const MachineConfig *config, GError **error)
{
    bool used = numa->latencies->len || numa->caches->len;
    for (unsigned i = 0; i < numa->count; i++) {
        NumaNode *node = &numa->nodes[i];
        used |= node->initiator != NUMA_NO_NODE;
        if (config->hmat && node->has_cpus && node->initiator == NUMA_NO_NODE) {
            node->initiator = (int)i;
        }
        if (config->hmat && node->initiator == NUMA_NO_NODE) {
            return error_set(error, "node %u has no CPU: initiator= says whose are nearest", i);
        }
        if (config->hmat && !numa->nodes[node->initiator].has_cpus) {
            return error_set(error, "node %u: its initiator, node %d, has no CPU", i,
                             node->initiator);
        }
    }
    if (used && !config->hmat) {
        return error_set(error, "ACPI HMAT is disabled, enable it with -machine hmat=on before "
                                "using initiator=, hmat-lb or hmat-cache");
    }
    for (guint i = 0; i < numa->latencies->len; i++) {
        const NumaLatency *entry = &g_array_index(numa->latencies, NumaLatency, i);
        if (entry->initiator >= numa->count || entry->target >= numa->count ||
            !numa->nodes[entry->initiator].has_cpus) {
            return error_set(error,
                             "hmat-lb: initiator %u must be a node with CPUs, target %u a node",
                             entry->initiator, entry->target);
        }
    }
    return true;
}

bool numa_complete(NumaConfig *numa, const MachineConfig *config, GError **error)
{
    for (unsigned i = 0; i < numa->count; i++) {
        if (!numa->nodes[i].present) {
            return error_set(error, "numa: Node ID missing: %u", i);
        }
        if (numa->nodes[i].initiator >= (int)numa->count) {
            return error_set(error, "numa: node %u: there is no node %d", i,
                             numa->nodes[i].initiator);
        }
    }
    if (numa->count == 0) {
        return error_set(error, "-numa: there is no node: -numa node makes one");
    }
    if (!complete_cpus(numa, &config->smp, error) || !complete_memory(numa, config, error) ||
        !complete_distances(numa, error) || !complete_hmat(numa, config, error)) {
        g_prefix_error(error, "-numa: ");
        return false;
    }
    return true;
}
