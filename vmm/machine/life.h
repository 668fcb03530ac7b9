/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between machine.c and life.c: the machine's life as state. Main thread. */
#ifndef VMM_MACHINE_LIFE_H
#define VMM_MACHINE_LIFE_H

#include "vmm/machine/machine.h"

void machine_life_init(Machine *machine);
void machine_life_free(Machine *machine);

/* Around changes that nothing of the machine may see half done: vCPUs out, then what devices have
 * in flight. Nothing while the machine does not run. */
void machine_halt(Machine *machine);
void machine_unhalt(Machine *machine);

/* Resets devices, vCPUs and boot data. The vCPUs are paused meanwhile. */
void machine_reset_now(Machine *machine);

#endif
