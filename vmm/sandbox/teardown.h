/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -run-with async-teardown=on: memory of a machine that has ended is given back by another process.
 */
#ifndef VMM_SANDBOX_TEARDOWN_H
#define VMM_SANDBOX_TEARDOWN_H

#include "vmm/error.h"

/* Starts a process that shares this one's memory, has no descriptors and no system calls but to
 * wait for this one's end. To be called once, as the user that the machine runs as. Main thread. */
bool async_teardown_start(GError **error);

#endif
