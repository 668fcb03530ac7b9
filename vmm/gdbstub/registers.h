/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers by GDB's numbers: one table gives the target description (GDB manual, appendix
 * "Target Descriptions"), the `g` packet and single registers. Pure. */
#ifndef VMM_GDBSTUB_REGISTERS_H
#define VMM_GDBSTUB_REGISTERS_H

#include "vmm/machine/debug.h"

#define GDB_REGISTER_MAX 16 /* bytes of the widest */

unsigned gdb_register_count(void);
unsigned gdb_register_size(unsigned number);  /* bytes */
unsigned gdb_register_group(unsigned number); /* DEBUG_REGS_... */
/* In guest byte order, gdb_register_size() bytes. */
void gdb_register_get(const DebugRegs *regs, unsigned number, uint8_t *data);
void gdb_register_set(DebugRegs *regs, unsigned number, const uint8_t *data);
/* target.xml. */
void gdb_target_xml(GString *out);

#endif
