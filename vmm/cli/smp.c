/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -smp: completing the topology. */
#include "vmm/cli/cli.h"

/* The one of sockets and cores that was not said takes what is left; when neither was, the other is
 * 1. */
static void share_out(SmpConfig *smp, unsigned maxcpus, bool prefer_sockets)
{
    bool sockets_last = prefer_sockets ? !smp->sockets : smp->cores != 0;
    smp->threads = smp->threads ? smp->threads : 1;
    if (sockets_last) {
        smp->cores = smp->cores ? smp->cores : 1;
        smp->sockets = maxcpus / (smp->dies * smp->cores * smp->threads);
    } else {
        smp->sockets = smp->sockets ? smp->sockets : 1;
        smp->cores = maxcpus / (smp->sockets * smp->dies * smp->threads);
    }
}

bool smp_complete(SmpConfig *smp, bool prefer_sockets, GError **error)
{
    unsigned maxcpus = smp->maxcpus ? smp->maxcpus : smp->cpus;
    smp->dies = smp->dies ? smp->dies : 1;
    if (maxcpus && (!smp->cores || !smp->sockets)) {
        share_out(smp, maxcpus, prefer_sockets);
    } else if (maxcpus && !smp->threads) {
        smp->threads = maxcpus / (smp->sockets * smp->dies * smp->cores);
    }
    smp->sockets = smp->sockets ? smp->sockets : 1;
    smp->cores = smp->cores ? smp->cores : 1;
    smp->threads = smp->threads ? smp->threads : 1;
    uint64_t product = (uint64_t)smp->sockets * smp->dies * smp->cores * smp->threads;
    smp->maxcpus = maxcpus ? maxcpus : (unsigned)product;
    smp->cpus = smp->cpus ? smp->cpus : smp->maxcpus;
    if (product != smp->maxcpus) {
        return error_set(error,
                         "the parts do not make up maxcpus: sockets "
                         "(%u) * dies (%u) * cores (%u) * threads (%u) != maxcpus (%u)",
                         smp->sockets, smp->dies, smp->cores, smp->threads, smp->maxcpus);
    }
    if (smp->cpus > smp->maxcpus) {
        return error_set(error,
                         "maxcpus (%u) counts every CPU that may ever be there, and cpus "
                         "(%u) are there from the start",
                         smp->maxcpus, smp->cpus);
    }
    return true;
}
