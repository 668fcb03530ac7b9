/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86 instructions in words, AT&T's as gdb and QEMU write them (libcapstone). */
#ifndef VMM_MONITOR_DISASSEMBLE_H
#define VMM_MONITOR_DISASSEMBLE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSTRUCTION_MAX 15 /* bytes: Intel SDM, volume 2, section 2.3.11 */

typedef struct Disassembler Disassembler;

/* For code of 16, 32 or 64 bits. NULL: the library is not there, or not built in. Main thread, as
 * all of these. */
Disassembler *disassembler_new(unsigned bits, GError **error);
void disassembler_free(Disassembler *disassembler);

/* The first instruction of size bytes that stand at addr, into out; its length, or 0 when they are
 * none. */
size_t disassemble(Disassembler *disassembler, const uint8_t *data, size_t size, uint64_t addr,
                   GString *out);

#endif
