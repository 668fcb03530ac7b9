/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -device and device_add: from options to a realized device. Main thread. */
#ifndef VMM_CLI_DEVICE_ADD_H
#define VMM_CLI_DEVICE_ADD_H

#include "vmm/cli/opts.h"
#include "vmm/device/device.h"

/* -global driver.property=value, or driver=D,property=P,value=V: of every device made later. */
bool device_add_global(const char *text, GError **error);

/* options: driver, id, bus and the class's properties. The topology lock is taken. NULL and error
 * when refused. */
Device *device_add(Machine *machine, Opts *options, GError **error);

#endif
