/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -smp: completing the topology. -vcpu: which CPUs of the host run the vCPUs. */
#include "vmm/cli/cli.h"
#include "vmm/cli/option_handlers.h"
#include "vmm/machine/cpus.h"

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

bool cli_opt_vcpu(Cli *cli, const char *value, GError **error)
{
    static const char *const known[] = { "vcpunum", "affinity", NULL };
    g_autoptr(Opts) opts = opts_parse(value, NULL, error);
    if (!opts) {
        return false;
    }
    const char *vcpus = opts_get(opts, "vcpunum"), *cpus = opts_get(opts, "affinity");
    if (!opts_check_unused(opts, "-vcpu", known, error)) {
        return false;
    }
    if (!vcpus || !cpus) {
        return error_set(error, "Parameter '%s' is missing", vcpus ? "affinity" : "vcpunum");
    }
    g_autofree VcpuPin *pin = g_new0(VcpuPin, 1);
    if (!host_cpus_parse(&pin->vcpus, vcpus, error) || !host_cpus_parse(&pin->cpus, cpus, error)) {
        return false;
    }
    for (unsigned i = 0; i <= host_cpus_last(&pin->vcpus); i++) {
        if (host_cpus_has(&pin->vcpus, i) && machine_cpu_affinity(&cli->config, i)) {
            return error_set(error, "another -vcpu is about vCPU %u already", i);
        }
    }
    g_ptr_array_add(cli->config.vcpu_pins, g_steal_pointer(&pin));
    return true;
}

bool smp_check_pins(const MachineConfig *config, GError **error)
{
    for (guint i = 0; i < config->vcpu_pins->len; i++) {
        const VcpuPin *pin = g_ptr_array_index(config->vcpu_pins, i);
        unsigned last = host_cpus_last(&pin->vcpus);
        if (!g_str_equal(config->accel, "kvm") || config->cls->bare) {
            return error_set(error, "-vcpu: there are no vCPUs to pin: %s '%s' has none",
                             config->cls->bare ? "machine" : "the accelerator",
                             config->cls->bare ? config->cls->name : config->accel);
        }
        if (last >= config->smp.maxcpus) {
            return error_set(error, "-vcpu vcpunum=%u: the machine has vCPUs 0 to %u (-smp)", last,
                             config->smp.maxcpus - 1);
        }
    }
    return true;
}
