/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What ram.c and the address spaces share. */
#ifndef VMM_MEMORY_RAM_PRIVATE_H
#define VMM_MEMORY_RAM_PRIVATE_H

#define RAM_DIRTY_PAGE 4096

/* How many blocks log: when 0, writers need not find out where they wrote. */
extern unsigned ram_dirty_logs;

#endif
