/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a parsed command line to a machine that is ready to run. Main thread. */
#ifndef VMM_START_H
#define VMM_START_H

#include "vmm/cli/cli.h"
#include "vmm/machine/machine.h"

/* Prints what `-netdev help` and its like ask for; true when there was something. */
bool start_help(const Cli *cli);

/* Back ends, machine, devices, monitors, in this order. The machine is left stopped; NULL and error
 * name the option at fault. */
Machine *start_machine(Cli *cli, GError **error);

/* Undoes it all: devices, disks flushed and closed, network, character devices, objects. */
void start_undo(Machine *machine);

#endif
