/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The empty machine: no memory, no vCPUs, no devices. Programs ask the monitor on it what there is.
 */
#include "hw/devices.h"

static bool none_build(Machine *machine, GError **error)
{
    return true;
}

const MachineClass none_machine_class = {
    .name = "none",
    .desc = "empty machine",
    .bare = true,
    .max_cpus = 1,
    .build = none_build,
    .finish = none_build,
    .virtio_suffix = "-pci",
};
