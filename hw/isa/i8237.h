/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ISA DMA controllers for the devices that use them. Its lock is a leaf: it may be called with
 * a device's lock held, and calls nobody with its own. */
#ifndef HW_ISA_I8237_H
#define HW_ISA_I8237_H

#include "vmm/device/device.h"

#define I8237_CHANNELS 8

Device *i8237_find(Machine *machine); /* NULL when the board has none; main thread */

/* The device of a channel: `ready` is called on the main loop, without a lock, when the guest made
 * the channel usable. NULL ends it: after that `ready` is not called again. Main thread. */
void i8237_connect(Device *dma, unsigned channel, void (*ready)(void *opaque), void *opaque);

/* Moves up to len bytes (words on channels 4 to 7: len is even) between data and guest memory, as
 * the guest programmed the channel; the number moved. 0: the channel is masked, off, or goes the
 * other way. *terminal: the count ran out. Any registered thread. */
unsigned i8237_transfer(Device *dma, unsigned channel, void *data, unsigned len, bool to_memory,
                        bool *terminal);

#endif
