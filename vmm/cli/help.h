/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What -machine, -accel and -cpu print when asked for help; to standard output, main thread. */
#ifndef VMM_CLI_HELP_H
#define VMM_CLI_HELP_H

#include "vmm/error.h"
#include "vmm/machine/machine.h"

void help_machines(void);
void help_machine(const MachineClass *cls);         /* its options */
bool help_accel(const char *accel, GError **error); /* its options; NULL: kvm's */
void help_cpus(void);                               /* models, properties, flags */
bool help_cpu(const char *text, GError **error);    /* "MODEL,...,help": its properties */

#endif
