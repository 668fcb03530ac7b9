/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The accelerator "qtest": no vCPUs. The test makes the accesses, steps the clock and watches the
 * interrupt lines. Messages are plain 4-byte writes to guest memory, so that a test can aim them at
 * RAM and look there.
 */
#include <string.h>
#include <unistd.h>
#include "vmm/machine/accel.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

static bool qtest_init(Machine *machine, GError **error)
{
    static int present;
    machine->accel_data = &present;
    machine->irqchip = IRQCHIP_OFF;
    clock_set_manual();
    return true;
}

static bool qtest_create_vcpus(Machine *machine, GError **error)
{
    return true;
}

static void qtest_nothing(Machine *machine)
{
}

static bool qtest_smm_enable(Machine *machine, GError **error)
{
    return true;
}

/* No vCPU takes it: the chipset's status register tells of it. */
static void qtest_smi(Machine *machine, bool all)
{
}

static void qtest_set_boot(Machine *machine, const BootCpu *boot)
{
}

static void qtest_gsi_set(Machine *machine, unsigned gsi, int level)
{
    if (gsi < machine->gsi_count) {
        irq_set(&machine->gsi[gsi], level);
    }
}

static void qtest_msi_send(Machine *machine, MsiMessage message)
{
    uint8_t data[4];
    store_le32(data, message.data);
    /* Aimed at anything but RAM, the message is lost: there is no CPU to take it. */
    dma_write(machine->memory, message.address, data, sizeof(data));
}

static bool qtest_attach_irqfd(Machine *machine, unsigned gsi, int fd, int resample_fd,
                               GError **error)
{
    return error_set(error, "the qtest accelerator has no irqfd");
}

static void qtest_detach_irqfd(Machine *machine, unsigned gsi, int fd)
{
}

static void route_signalled(void *opaque, unsigned revents)
{
    MsiRoute *route = opaque;
    if (event_notifier_test_and_clear(&route->notifier)) {
        qtest_msi_send(route->machine, route->message);
    }
}

static bool qtest_route_bind(Machine *machine, MsiRoute *route, GError **error)
{
    fd_watch_start(&route->watch, event_loop_main(), route->notifier.fd, POLLIN, route_signalled,
                   route);
    return true;
}

static void qtest_route_update(Machine *machine, MsiRoute *route)
{
}

static void qtest_route_unbind(Machine *machine, MsiRoute *route)
{
    fd_watch_stop(&route->watch);
}

static void qtest_dump(Machine *machine, unsigned index, GString *out)
{
    g_string_append_printf(out, "CPU#%u: none, the test drives the machine\n", index);
}

static void qtest_save(Machine *machine, GByteArray *out)
{
}

static bool qtest_load(Machine *machine, const uint8_t **cursor, const uint8_t *end, GError **error)
{
    return true;
}

static int qtest_thread_id(Machine *machine, unsigned index)
{
    return (int)getpid();
}

const AccelOps qtest_accel = {
    .name = "qtest",
    .init = qtest_init,
    .create_vcpus = qtest_create_vcpus,
    .destroy = qtest_nothing,
    .vcpus_resume = qtest_nothing,
    .vcpus_pause = qtest_nothing,
    .vcpus_reset = qtest_nothing,
    .vcpu_set_boot = qtest_set_boot,
    .gsi_set = qtest_gsi_set,
    .msi_send = qtest_msi_send,
    .gsi_attach_irqfd = qtest_attach_irqfd,
    .gsi_detach_irqfd = qtest_detach_irqfd,
    .msi_route_bind = qtest_route_bind,
    .msi_route_update = qtest_route_update,
    .msi_route_unbind = qtest_route_unbind,
    .nmi = qtest_nothing,
    .smm_enable = qtest_smm_enable,
    .smi = qtest_smi,
    .vcpu_dump = qtest_dump,
    .save = qtest_save,
    .load = qtest_load,
    .vcpu_thread_id = qtest_thread_id,
};
