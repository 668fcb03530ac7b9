/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of the host's CPUs, and pinning threads to them. */
#include "vmm/util/host_cpus.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include "vmm/cli/opts.h"
#include "vmm/error.h"

#define WORD_BITS (8 * sizeof(unsigned long))
#define SYSFS     "/sys/devices/system/cpu/"

bool host_cpus_has(const HostCpus *cpus, unsigned cpu)
{
    return cpu < HOST_CPUS_MAX && (cpus->bits[cpu / WORD_BITS] >> (cpu % WORD_BITS) & 1);
}

unsigned host_cpus_last(const HostCpus *cpus)
{
    unsigned cpu = HOST_CPUS_MAX - 1;
    while (cpu > 0 && !host_cpus_has(cpus, cpu)) {
        cpu--;
    }
    return cpu;
}

/* "N" or "N-M" */
static bool add_range(HostCpus *cpus, const char *text)
{
    uint64_t first = 0, last = 0;
    const char *dash = strchr(text, '-');
    g_autofree char *head = dash ? g_strndup(text, (gsize)(dash - text)) : g_strdup(text);
    if (!parse_uint(head, HOST_CPUS_MAX - 1, &first) ||
        !parse_uint(dash ? dash + 1 : head, HOST_CPUS_MAX - 1, &last) || last < first) {
        return false;
    }
    for (uint64_t cpu = first; cpu <= last; cpu++) {
        cpus->bits[cpu / WORD_BITS] |= 1UL << (cpu % WORD_BITS);
    }
    return true;
}

bool host_cpus_parse(HostCpus *cpus, const char *list, GError **error)
{
    memset(cpus, 0, sizeof(*cpus));
    g_auto(GStrv) ranges = g_strsplit_set(list, ":,", -1);
    bool ok = ranges[0] != NULL;
    for (char **range = ranges; ok && *range; range++) {
        ok = add_range(cpus, *range);
    }
    return ok || error_set(error,
                           "'%s' is not a list of CPUs: numbers and ranges up to %d with ':' "
                           "between them, such as 0-3:6",
                           list, HOST_CPUS_MAX - 1);
}

/* The first CPU that is not in a list of /sys; -1: there is none, or no such list. */
static int first_outside(const HostCpus *cpus, const char *list)
{
    HostCpus known;
    if (!list || !host_cpus_parse(&known, list, NULL)) {
        return -1;
    }
    for (unsigned cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
        if (host_cpus_has(cpus, cpu) && !host_cpus_has(&known, cpu)) {
            return (int)cpu;
        }
    }
    return -1;
}

bool host_cpus_check(const HostCpus *cpus, const char *present, const char *online, GError **error)
{
    int missing = first_outside(cpus, present), offline = first_outside(cpus, online);
    if (missing >= 0) {
        return error_set(error, "the host has no CPU %d: it has %s", missing, present);
    }
    if (offline >= 0) {
        return error_set(error, "the host's CPU %d is offline: those online are %s", offline,
                         online);
    }
    return true;
}

static char *read_sysfs(const char *path)
{
    char *text = NULL;
    return g_file_get_contents(path, &text, NULL, NULL) ? g_strchomp(text) : NULL;
}

/* The kernel drops CPUs that the cpuset does not have, and says nothing unless none is left. */
static bool check_pinned(const HostCpus *cpus, pthread_t thread, GError **error)
{
    HostCpus now = { 0 };
    if (pthread_getaffinity_np(thread, sizeof(now), (cpu_set_t *)now.bits) != 0) {
        return true;
    }
    for (unsigned cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
        if (host_cpus_has(cpus, cpu) && !host_cpus_has(&now, cpu)) {
            return error_set(error, "CPU %u is not among those that this process may use (cpuset)",
                             cpu);
        }
    }
    return true;
}

bool host_cpus_pin(const HostCpus *cpus, pthread_t thread, GError **error)
{
    g_autofree char *present = read_sysfs(SYSFS "present");
    g_autofree char *online = read_sysfs(SYSFS "online");
    if (!host_cpus_check(cpus, present, online, error)) {
        return false;
    }
    int result = pthread_setaffinity_np(thread, sizeof(*cpus), (const cpu_set_t *)cpus->bits);
    if (result == EINVAL) {
        return error_set(error,
                         "none of these CPUs is among those that this process may use (cpuset)");
    }
    if (result) {
        return error_set_errno(error, result, "cannot pin the thread");
    }
    return check_pinned(cpus, thread, error);
}
