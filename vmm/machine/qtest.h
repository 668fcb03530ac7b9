/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Test mode: QEMU's qtest protocol (docs/devel/testing/qtest) on a character device. */
#ifndef VMM_MACHINE_QTEST_H
#define VMM_MACHINE_QTEST_H

#include "vmm/chardev/chardev.h"
#include "vmm/machine/machine.h"

/* Serves the protocol from now on; log NULL: none, else a file ("/dev/null" too) that gets every
 * line. Main thread. */
bool qtest_server_start(Machine *machine, Chardev *chardev, const char *log, GError **error);

/* Detaches it; nothing when it was not started. Before the machine is freed. Main thread. */
void qtest_server_stop(void);

#endif
