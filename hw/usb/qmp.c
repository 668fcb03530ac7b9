/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about USB: `info usb`. */
#include "hw/usb/qmp.h"
#include "hw/usb/usb.h"
#include "vmm/machine/machine.h"

static void hmp_info_usb(GString *out, char **args)
{
    machine_topology_lock(machine_get());
    usb_info_dump(machine_get(), out);
    machine_topology_unlock(machine_get());
}

static const HmpCommand hmp[] = {
    { "info usb", NULL, "which USB devices are plugged in", hmp_info_usb },
    { NULL },
};

const MonitorCommands usb_commands = { .hmp = hmp };
