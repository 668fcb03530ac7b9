/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qtest server without its character device: for the fuzz target. Main thread. */
#ifndef VMM_MACHINE_QTEST_PRIVATE_H
#define VMM_MACHINE_QTEST_PRIVATE_H

#include "vmm/machine/machine.h"

void qtest_server_init(Machine *machine);
void qtest_input(const uint8_t *data, size_t len);

#endif
