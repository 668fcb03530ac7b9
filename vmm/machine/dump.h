/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's memory and registers as an ELF core file (System V gABI, chapters 4 and 5): a note
 * segment, and a loadable segment for each piece of RAM or ROM with its guest-physical address as
 * both addresses. readelf, gdb and crash read it.
 */
#ifndef VMM_MACHINE_DUMP_H
#define VMM_MACHINE_DUMP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Machine Machine;
typedef struct Dump Dump;

/* What [begin, begin + length) holds of the memory, or all of it with length 0; registers are taken
 * now. Takes fd. NULL when no memory is there (fd is closed then, too). Main thread, the machine
 * stopped; it stays so until the dump has been written. */
Dump *dump_new(Machine *machine, int fd, uint64_t begin, uint64_t length, GError **error);
/* Writes it all and closes; memory that leaves meanwhile ends it with an error. Once, in a thread
 * of the caller's choice. */
bool dump_write(Dump *dump, GError **error);
/* Returns when dump_write(), which runs or will run in another thread, has given up. */
void dump_cancel(Dump *dump);
void dump_free(Dump *dump);

/* Bytes of memory in it, and those written; any thread. */
uint64_t dump_total(const Dump *dump);
uint64_t dump_written(const Dump *dump);

#endif
