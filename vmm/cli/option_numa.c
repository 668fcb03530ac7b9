/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -numa node, dist, cpu, hmat-lb and hmat-cache. */
#include <string.h>
#include "vmm/cli/option_handlers.h"
#include "vmm/machine/numa.h"
#include "vmm/object/object.h"
#include "vmm/util/bytes.h"

#define MAX_CPU_INDEX 1023
#define LATENCY_TYPES 3 /* of the data types, those that are latencies */

/* A node that must be there already; the key may be left out when `value` has a default. */
static bool get_node(NumaConfig *numa, Opts *opts, const char *key, bool required, unsigned *node,
                     GError **error)
{
    uint64_t number = *node;
    if (required && !opts_has(opts, key)) {
        return error_set(error, "Parameter '%s' is missing", key);
    }
    if (!opts_get_uint(opts, key, NUMA_MAX_NODES - 1, &number, error)) {
        return false;
    }
    *node = (unsigned)number;
    if (opts_has(opts, key) && !numa->nodes[number].present) {
        return error_set(error, "%s=%u: there is no such node yet; -numa node comes first", key,
                         *node);
    }
    return true;
}

typedef struct CpuRanges {
    NumaConfig *numa;
    unsigned node;
    GError **error;
    bool ok;
} CpuRanges;

/* "0-3" or "5" */
static void add_cpu_range(const char *text, void *opaque)
{
    CpuRanges *ranges = opaque;
    uint64_t first = 0, last = 0;
    const char *dash = strchr(text, '-');
    g_autofree char *head = dash ? g_strndup(text, (gsize)(dash - text)) : g_strdup(text);
    if (!ranges->ok) {
        return;
    }
    bool numbers = parse_uint(head, MAX_CPU_INDEX, &first) &&
                   parse_uint(dash ? dash + 1 : head, MAX_CPU_INDEX, &last) && last >= first;
    if (!numbers) {
        ranges->ok = error_set(ranges->error, "cpus=%s: expected N or N-M with N and M up to %u",
                               text, MAX_CPU_INDEX);
    }
    for (uint64_t i = first; ranges->ok && i <= last; i++) {
        ranges->ok = numa_assign_cpu(ranges->numa, (unsigned)i, ranges->node, ranges->error);
    }
}

static bool node_memory(NumaConfig *numa, NumaNode *node, Opts *opts, GError **error)
{
    const char *mem = opts_get(opts, "mem");
    const char *memdev = opts_get(opts, "memdev");
    bool before = numa->sized, was_memdev = before && numa_has_backends(numa);
    if (mem && memdev) {
        return error_set(error, "give mem= or memdev=: both say how much memory the node has");
    }
    if (before && ((mem && was_memdev) || (memdev && !was_memdev))) {
        return error_set(
            error, "some nodes with mem= and others with memdev=: all have to be of one kind");
    }
    if (mem && !parse_size(mem, MIB, &node->size)) {
        return error_set(error, "mem=%s: expected a size (MiB, or with a suffix)", mem);
    }
    if (node->size % (8 * KIB)) {
        return error_set(error, "mem=%s: expected a multiple of 8 KiB", mem);
    }
    node->memdev = g_strdup(memdev);
    numa->sized |= mem || memdev;
    return true;
}

static bool numa_node(NumaConfig *numa, Opts *opts, GError **error)
{
    static const char *const known[] = { "type",   "nodeid",    "cpus", "mem",
                                         "memdev", "initiator", NULL };
    uint64_t id = numa->count, initiator = 0;
    if (!opts_get_uint(opts, "nodeid", UINT32_MAX, &id, error)) {
        return false;
    }
    if (id >= NUMA_MAX_NODES) {
        return error_set(error, "a machine has at most %u NUMA nodes", NUMA_MAX_NODES);
    }
    NumaNode *node = &numa->nodes[id];
    if (node->present) {
        return error_set(error, "there is a NUMA node %u already", (unsigned)id);
    }
    node->present = true;
    node->initiator = NUMA_NO_NODE;
    numa->count = MAX(numa->count, (unsigned)id + 1);
    if (opts_has(opts, "initiator")) {
        if (!opts_get_uint(opts, "initiator", NUMA_MAX_NODES - 1, &initiator, error)) {
            return false;
        }
        node->initiator = (int)initiator;
    }
    CpuRanges ranges = { numa, (unsigned)id, error, true };
    opts_foreach(opts, "cpus", add_cpu_range, &ranges);
    return ranges.ok && node_memory(numa, node, opts, error) &&
           opts_check_unused(opts, "node", known, error);
}

static bool numa_dist(NumaConfig *numa, Opts *opts, GError **error)
{
    static const char *const known[] = { "type", "src", "dst", "val", NULL };
    unsigned src = 0, dst = 0;
    uint64_t value = 0;
    if (!get_node(numa, opts, "src", true, &src, error) ||
        !get_node(numa, opts, "dst", true, &dst, error) ||
        !opts_get_uint(opts, "val", UINT8_MAX, &value, error)) {
        return false;
    }
    if (value < NUMA_DISTANCE_LOCAL) {
        return error_set(
            error,
            "-numa dist: val=%u: another node is further away than %u (this is the node itself)",
            (unsigned)value, NUMA_DISTANCE_LOCAL);
    }
    if (src == dst && value != NUMA_DISTANCE_LOCAL) {
        return error_set(error, "-numa dist: from node %u to itself it is %u, always", src,
                         NUMA_DISTANCE_LOCAL);
    }
    numa->distance[src][dst] = (uint8_t)value;
    numa->has_distances = true;
    return opts_check_unused(opts, "dist", known, error);
}

static bool numa_cpu(NumaConfig *numa, Opts *opts, GError **error)
{
    static const char *const known[] = { "type",    "node-id",   "socket-id", "die-id",
                                         "core-id", "thread-id", NULL };
    NumaCpus cpus = { .socket = -1, .die = -1, .core = -1, .thread = -1 };
    int *const fields[] = { &cpus.socket, &cpus.die, &cpus.core, &cpus.thread };
    if (!get_node(numa, opts, "node-id", true, &cpus.node, error)) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        uint64_t number = 0;
        const char *key = known[i + 2];
        bool given = opts_has(opts, key);
        if (!opts_get_uint(opts, key, MAX_CPU_INDEX, &number, error)) {
            return false;
        }
        *fields[i] = given ? (int)number : -1;
    }
    g_array_append_val(numa->cpus, cpus);
    return opts_check_unused(opts, "cpu", known, error);
}

static bool numa_hmat_lb(NumaConfig *numa, Opts *opts, GError **error)
{
    static const char *const known[] = { "type",      "initiator", "target",    "hierarchy",
                                         "data-type", "latency",   "bandwidth", NULL };
    static const char *const hierarchies[] = { "memory", "first-level", "second-level",
                                               "third-level", NULL };
    static const char *const types[] = { "access-latency",
                                         "read-latency",
                                         "write-latency",
                                         "access-bandwidth",
                                         "read-bandwidth",
                                         "write-bandwidth",
                                         NULL };
    NumaLatency entry = { 0 };
    int hierarchy = 0, type = 0;
    if (!get_node(numa, opts, "initiator", true, &entry.initiator, error) ||
        !get_node(numa, opts, "target", true, &entry.target, error) ||
        !opts_get_enum(opts, "hierarchy", hierarchies, &hierarchy, error) ||
        !opts_get_enum(opts, "data-type", types, &type, error)) {
        return false;
    }
    entry.hierarchy = (unsigned)hierarchy;
    entry.type = (unsigned)type;
    const char *key = type < LATENCY_TYPES ? "latency" : "bandwidth";
    if (!opts_has(opts, key)) {
        return error_set(error, "Missing '%s' option: data-type=%s needs it", key, types[type]);
    }
    bool ok = type < LATENCY_TYPES ? opts_get_uint(opts, key, UINT32_MAX, &entry.value, error)
                                   : opts_get_size(opts, key, &entry.value, error);
    if (ok && type >= LATENCY_TYPES && entry.value % MIB) {
        ok = error_set(error, "bandwidth must be a multiple of 1M (bytes a second)");
    }
    g_array_append_val(numa->latencies, entry);
    return ok && opts_check_unused(opts, "hmat-lb", known, error);
}

static bool numa_hmat_cache(NumaConfig *numa, Opts *opts, GError **error)
{
    static const char *const known[] = { "type",          "node-id", "size", "level",
                                         "associativity", "policy",  "line", NULL };
    static const char *const kinds[] = { "none", "direct", "complex", NULL };
    static const char *const policies[] = { "none", "write-back", "write-through", NULL };
    NumaCache cache = { 0 };
    int kind = 0, policy = 0;
    uint64_t level = 0, line = 0;
    if (!get_node(numa, opts, "node-id", true, &cache.node, error) ||
        !opts_get_size(opts, "size", &cache.size, error) ||
        !opts_get_uint(opts, "level", NUMA_CACHE_LEVELS, &level, error) ||
        !opts_get_enum(opts, "associativity", kinds, &kind, error) ||
        !opts_get_enum(opts, "policy", policies, &policy, error) ||
        !opts_get_uint(opts, "line", UINT16_MAX, &line, error)) {
        return false;
    }
    if (level == 0 || cache.size == 0) {
        return error_set(error, "hmat-cache needs level= (1 to %u) and size=", NUMA_CACHE_LEVELS);
    }
    cache.level = (unsigned)level;
    cache.associativity = (unsigned)kind;
    cache.policy = (unsigned)policy;
    cache.line = (unsigned)line;
    for (guint i = 0; i < numa->caches->len; i++) {
        const NumaCache *other = &g_array_index(numa->caches, NumaCache, i);
        if (other->node == cache.node && other->level == cache.level) {
            return error_set(error, "node %u has a cache of level %u already", cache.node,
                             cache.level);
        }
    }
    g_array_append_val(numa->caches, cache);
    return opts_check_unused(opts, "hmat-cache", known, error);
}

bool cli_opt_numa(Cli *cli, const char *value, GError **error)
{
    static const struct {
        const char *name;
        bool (*read)(NumaConfig *numa, Opts *opts, GError **error);
    } types[] = {
        { "node", numa_node },
        { "dist", numa_dist },
        { "cpu", numa_cpu },
        { "hmat-lb", numa_hmat_lb },
        { "hmat-cache", numa_hmat_cache },
    };
    g_autoptr(Opts) opts = opts_parse(value, "type", error);
    if (!opts) {
        return false;
    }
    if (!cli->config.numa) {
        cli->config.numa = numa_new();
    }
    const char *type = opts_get(opts, "type");
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        if (g_strcmp0(type, types[i].name) == 0) {
            return types[i].read(cli->config.numa, opts, error);
        }
    }
    return error_set(error, "'%s' is none of node, dist, cpu, hmat-lb, hmat-cache",
                     type ? type : "");
}
