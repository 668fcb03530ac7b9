/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine in the fuzzer's own process: no vCPUs, every device that a guest can reach. */
#ifndef TESTS_FUZZ_MACHINE_H
#define TESTS_FUZZ_MACHINE_H

#include <stdint.h>
#include "vmm/machine/machine.h"

/* The machine, made at the first call; configured PCI functions, stopped. board: "q35",
 * "pc" or "microvm". */
Machine *fuzz_machine(const char *board);
/* Stopped and reset, with its PCI functions set up as firmware would. */
void fuzz_machine_reset(Machine *machine);
/* Lets main loop and I/O threads do what is due, a bounded number of times. */
void fuzz_machine_settle(Machine *machine);

#endif
