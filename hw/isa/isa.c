/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What ISA devices share: port windows. */
#include "hw/isa/isa.h"
#include "vmm/machine/machine.h"

void isa_map_ports(Device *dev, MemRegion *region, uint16_t port)
{
    machine_topology_lock(dev->machine);
    address_space_begin(dev->machine->io);
    address_space_map(dev->machine->io, region, port, 0);
    address_space_commit(dev->machine->io);
    machine_topology_unlock(dev->machine);
}

void isa_unmap_ports(Device *dev, MemRegion *region)
{
    machine_topology_lock(dev->machine);
    address_space_begin(dev->machine->io);
    address_space_unmap(region);
    address_space_commit(dev->machine->io);
    machine_topology_unlock(dev->machine);
}
