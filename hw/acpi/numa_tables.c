/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SRAT, SLIT and HMAT: which CPUs and memory are near each other (ACPI 6.4, 5.2.16, 5.2.17,
 * 5.2.27). */
#include "hw/acpi/acpi.h"

#include "vmm/machine/apic_id.h"
#include "vmm/machine/numa.h"
#include "vmm/util/bytes.h"

#define MAX_XAPIC_ID    254
#define LEGACY_HOLE     0xa0000ULL /* memory does not show from here to 1 MiB */
#define ABOVE_4G        (4 * GIB)
#define HMAT_INITIATOR  1 /* flag: the initiator's domain is valid */
#define HMAT_NO_VALUE   0xffff
#define HMAT_LATENCIES  3 /* data types below are latencies */
#define HMAT_DATA_TYPES 6
#define HMAT_LEVELS     4
#define PS_PER_NS       1000

enum { MEMORY_ENABLED = 1 << 0, MEMORY_HOTPLUGGABLE = 1 << 1 };

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    g_byte_array_append(out, bytes, size);
}

/* ---- SRAT ---- */

static void put_cpu(GByteArray *out, uint32_t apic_id, uint32_t node)
{
    if (apic_id <= MAX_XAPIC_ID) {
        put(out, 0, 1);
        put(out, 16, 1);
        put(out, node & 0xff, 1);
        put(out, apic_id, 1);
        put(out, 1, 4); /* enabled */
        put(out, 0, 1);
        put(out, node >> 8, 3);
        put(out, 0, 4);
    } else {
        put(out, 2, 1);
        put(out, 24, 1);
        put(out, 0, 2);
        put(out, node, 4);
        put(out, apic_id, 4);
        put(out, 1, 4);
        put(out, 0, 8);
    }
}

static void put_memory(GByteArray *out, uint32_t node, uint64_t start, uint64_t end, uint32_t flags)
{
    if (end <= start) {
        return;
    }
    put(out, 1, 1);
    put(out, 40, 1);
    put(out, node, 4);
    put(out, 0, 2);
    put(out, start, 8);
    put(out, end - start, 8);
    put(out, 0, 4);
    put(out, flags, 4);
    put(out, 0, 8);
}

/* A node's part of the machine's memory, as the guest sees it: around the hole below 1 MiB and the
 * one below 4 GiB. */
static void put_node_memory(GByteArray *out, const AcpiConfig *config, uint32_t node,
                            uint64_t start, uint64_t end)
{
    uint64_t low = config->ram_below_4g;
    put_memory(out, node, start, MIN(end, LEGACY_HOLE), MEMORY_ENABLED);
    put_memory(out, node, MAX(start, MIB), MIN(end, low), MEMORY_ENABLED);
    if (end > low) {
        put_memory(out, node, ABOVE_4G + MAX(start, low) - low, ABOVE_4G + end - low,
                   MEMORY_ENABLED);
    }
}

void acpi_build_srat(const AcpiConfig *config, GByteArray *out)
{
    const NumaConfig *numa = config->numa;
    uint64_t start = 0;
    put(out, 1, 4); /* reserved, 1 for old systems */
    put(out, 0, 8);
    for (unsigned i = 0; i < config->smp->maxcpus; i++) {
        put_cpu(out, smp_apic_id(config->smp, i), (uint32_t)numa->cpu_node[i]);
    }
    for (unsigned i = 0; i < numa->count; i++) {
        put_node_memory(out, config, i, start, start + numa->nodes[i].size);
        start += numa->nodes[i].size;
    }
    if (config->hotplug_memory_size) {
        put_memory(out, numa->count - 1, config->hotplug_memory_base,
                   config->hotplug_memory_base + config->hotplug_memory_size,
                   MEMORY_ENABLED | MEMORY_HOTPLUGGABLE);
    }
}

/* ---- SLIT ---- */

void acpi_build_slit(const AcpiConfig *config, GByteArray *out)
{
    const NumaConfig *numa = config->numa;
    put(out, numa->count, 8);
    for (unsigned i = 0; i < numa->count; i++) {
        for (unsigned j = 0; j < numa->count; j++) {
            put(out, numa->distance[i][j], 1);
        }
    }
}

/* ---- HMAT ---- */

static void put_domains(const NumaConfig *numa, GByteArray *out)
{
    for (unsigned i = 0; i < numa->count; i++) {
        bool near = numa->nodes[i].initiator != NUMA_NO_NODE;
        put(out, 0, 2); /* memory proximity domain attributes */
        put(out, 0, 2);
        put(out, 40, 4);
        put(out, near ? HMAT_INITIATOR : 0, 2);
        put(out, 0, 2);
        put(out, near ? (uint32_t)numa->nodes[i].initiator : 0, 4);
        put(out, i, 4);
        put(out, 0, 4);
        put(out, 0, 8);
        put(out, 0, 8);
    }
}

static const NumaLatency *find_latency(const NumaConfig *numa, unsigned hierarchy, unsigned type,
                                       unsigned initiator, unsigned target)
{
    for (guint i = 0; i < numa->latencies->len; i++) {
        const NumaLatency *entry = &g_array_index(numa->latencies, NumaLatency, i);
        if (entry->hierarchy == hierarchy && entry->type == type &&
            (initiator == NUMA_MAX_NODES ||
             (entry->initiator == initiator && entry->target == target))) {
            return entry;
        }
    }
    return NULL;
}

/* In the unit of the table: ns, or MiB a second. */
static uint64_t plain_value(const NumaLatency *entry)
{
    return entry->type < HMAT_LATENCIES ? entry->value : entry->value / MIB;
}

/* Entries have 16 bits: the unit grows until the largest fits. */
static uint64_t entry_unit(const NumaConfig *numa, unsigned hierarchy, unsigned type)
{
    uint64_t largest = 0, unit = 1;
    for (guint i = 0; i < numa->latencies->len; i++) {
        const NumaLatency *entry = &g_array_index(numa->latencies, NumaLatency, i);
        if (entry->hierarchy == hierarchy && entry->type == type) {
            largest = MAX(largest, plain_value(entry));
        }
    }
    while (largest / unit >= HMAT_NO_VALUE) {
        unit *= type < HMAT_LATENCIES ? 10 : 2;
    }
    return unit;
}

static void put_latencies(const NumaConfig *numa, unsigned hierarchy, unsigned type,
                          GByteArray *out)
{
    unsigned initiators = 0;
    uint64_t unit = entry_unit(numa, hierarchy, type);
    for (unsigned i = 0; i < numa->count; i++) {
        initiators += numa->nodes[i].has_cpus;
    }
    put(out, 1, 2); /* system locality latency and bandwidth information */
    put(out, 0, 2);
    put(out, 32 + 4 * initiators + 4 * numa->count + 2 * initiators * numa->count, 4);
    put(out, hierarchy, 1);
    put(out, type, 1);
    put(out, 0, 2);
    put(out, initiators, 4);
    put(out, numa->count, 4);
    put(out, 0, 4);
    put(out, type < HMAT_LATENCIES ? unit * PS_PER_NS : unit, 8);
    for (unsigned i = 0; i < numa->count; i++) {
        if (numa->nodes[i].has_cpus) {
            put(out, i, 4);
        }
    }
    for (unsigned i = 0; i < numa->count; i++) {
        put(out, i, 4);
    }
    for (unsigned i = 0; i < numa->count; i++) {
        for (unsigned j = 0; numa->nodes[i].has_cpus && j < numa->count; j++) {
            const NumaLatency *entry = find_latency(numa, hierarchy, type, i, j);
            put(out, entry ? plain_value(entry) / unit : 0, 2);
        }
    }
}

static void put_cache(const NumaConfig *numa, const NumaCache *cache, GByteArray *out)
{
    unsigned levels = 0;
    for (guint i = 0; i < numa->caches->len; i++) {
        levels += g_array_index(numa->caches, NumaCache, i).node == cache->node;
    }
    put(out, 2, 2); /* memory side cache information */
    put(out, 0, 2);
    put(out, 32, 4);
    put(out, cache->node, 4);
    put(out, 0, 4);
    put(out, cache->size, 8);
    put(out,
        levels | cache->level << 4 | cache->associativity << 8 | cache->policy << 12 |
            cache->line << 16,
        4);
    put(out, 0, 4); /* no SMBIOS handles */
}

void acpi_build_hmat(const AcpiConfig *config, GByteArray *out)
{
    const NumaConfig *numa = config->numa;
    put(out, 0, 4);
    put_domains(numa, out);
    for (unsigned hierarchy = 0; hierarchy < HMAT_LEVELS; hierarchy++) {
        for (unsigned type = 0; type < HMAT_DATA_TYPES; type++) {
            if (find_latency(numa, hierarchy, type, NUMA_MAX_NODES, 0)) {
                put_latencies(numa, hierarchy, type, out);
            }
        }
    }
    for (guint i = 0; i < numa->caches->len; i++) {
        put_cache(numa, &g_array_index(numa->caches, NumaCache, i), out);
    }
}
