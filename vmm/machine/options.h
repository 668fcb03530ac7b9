/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What -machine takes on every board, besides the board's own properties. Constant; main thread. */
#ifndef VMM_MACHINE_OPTIONS_H
#define VMM_MACHINE_OPTIONS_H

#include "vmm/machine/machine.h"

typedef struct MachineOption {
    const char *name; /* NULL ends the table */
    const char *type, *desc;
    const char *preset;                               /* as help shows it, or NULL */
    json_object *(*get)(const MachineConfig *config); /* as it is now; new reference */
} MachineOption;

extern const MachineOption machine_options[];

#endif
