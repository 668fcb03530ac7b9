/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stub for GDB: the machine as a target of GDB's remote serial protocol (GDB manual, appendix
 * "GDB Remote Serial Protocol"). vCPUs are its threads, numbered from 1. One client at a time; the
 * stub lives on the main loop.
 *
 *   packet.c     bytes to packets and back       registers.c  registers by number, target.xml
 *   session.c    a client: dispatch, replies     control.c    continue, step, stop, detach
 *   data.c       registers and memory            breaks.c     break- and watchpoints
 *   query.c      q and Q packets                 gdbstub.c    the character device
 */
#ifndef VMM_GDBSTUB_GDBSTUB_H
#define VMM_GDBSTUB_GDBSTUB_H

#include "vmm/error.h"
#include "vmm/machine/machine.h"

#define GDBSTUB_DEFAULT "tcp::1234" /* -s */

/* Serves gdb on the device, in place of the one before; "none": on no device. The forms are those
 * of -serial; a TCP address is listened at, and nobody is waited for unless wait=on says so. Main
 * thread. */
bool gdbstub_start(Machine *machine, const char *device, GError **error);
/* Tells a client that the machine is gone, and ends the service; nothing when there is none. Main
 * thread. */
void gdbstub_stop(void);

#endif
