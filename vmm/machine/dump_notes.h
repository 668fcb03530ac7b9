/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU's registers as notes of an ELF core file; see dump.h. */
#ifndef VMM_MACHINE_DUMP_NOTES_H
#define VMM_MACHINE_DUMP_NOTES_H

#include "vmm/machine/debug.h"

/* Appends two notes: CORE's NT_PRSTATUS with the vCPU's number as thread, which gdb reads, and
 * QEMU's, with control registers and tables, which crash reads. Any thread. */
void dump_add_cpu_notes(GByteArray *out, unsigned cpu, const DebugRegs *regs);

#endif
