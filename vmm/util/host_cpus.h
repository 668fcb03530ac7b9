/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of the host's CPUs, as options name them, and threads that run on these only. Any thread. */
#ifndef VMM_UTIL_HOST_CPUS_H
#define VMM_UTIL_HOST_CPUS_H

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>

#define HOST_CPUS_MAX 8192 /* Linux's own limit on x86 */

typedef struct HostCpus {
    unsigned long bits[HOST_CPUS_MAX / (8 * sizeof(unsigned long))];
} HostCpus;

/* "3", "0-3", "0-3:6": numbers and ranges with ':' or ',' between; at least one, false and error.
 */
bool host_cpus_parse(HostCpus *cpus, const char *list, GError **error);
bool host_cpus_has(const HostCpus *cpus, unsigned cpu);
unsigned host_cpus_last(const HostCpus *cpus); /* of a set that is not empty */
/* False and error when one of them is not in `present` or not in `online`, which are lists as those
 * of /sys/devices/system/cpu; NULL: not known. */
bool host_cpus_check(const HostCpus *cpus, const char *present, const char *online, GError **error);
/* From now on the thread runs on these CPUs only; all of them have to be there for it. */
bool host_cpus_pin(const HostCpus *cpus, pthread_t thread, GError **error);

#endif
