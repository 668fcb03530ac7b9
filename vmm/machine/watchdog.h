/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an expired watchdog does: `-action watchdog=`, watchdog-set-action. */
#ifndef VMM_MACHINE_WATCHDOG_H
#define VMM_MACHINE_WATCHDOG_H

#include "vmm/machine/machine.h"

extern const char *const watchdog_action_names[]; /* NULL-terminated */

void watchdog_set_action(int action);       /* an index into the names; any thread */
int watchdog_find_action(const char *name); /* -1: there is none */
void watchdog_expired(Machine *machine);    /* the event, then the action; any thread */

#endif
