/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ISA devices that boards make and set up: clock, keyboard controller. */
#ifndef HW_ISA_ISA_H
#define HW_ISA_ISA_H

#include "vmm/device/device.h"
#include "vmm/memory/address_space.h"

/* Places and removes a port window; takes the topology lock. Main thread. */
void isa_map_ports(Device *dev, MemRegion *region, uint16_t port);
void isa_unmap_ports(Device *dev, MemRegion *region);

/* CMOS bytes that firmware and operating systems read: memory sizes, number of CPUs. Main thread,
 * before the machine runs; they survive a reset. */
void mc146818_set_cmos(Device *rtc, uint8_t index, uint8_t value);
void mc146818_set_memory(Device *rtc, uint64_t below_4g, uint64_t above_4g, unsigned cpus);

/* CMOS bytes of the floppy drives that the machine has (or of none). Main thread. */
void isa_fdc_set_cmos(Machine *machine, Device *rtc);
/* What a device of isa_fdc_class takes; false for others. */
bool isa_fdc_resources(const Device *dev, uint16_t *iobase, unsigned *irq, unsigned *dma);

/* What a device of isa_parallel_class takes; false for others. */
bool isa_parallel_resources(const Device *dev, uint16_t *iobase, unsigned *irq, unsigned *index);

uint16_t pvpanic_port(const Device *dev); /* of a device of pvpanic_class */

#endif
